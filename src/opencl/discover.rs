//! Finds the OpenCL devices of this machine, once a process (the caller holds the lock: drivers
//! return nothing, or crash, when they are asked from several threads at once).

use super::{ClDevice, quirks};
use crate::device::{DeviceInfo, DeviceKind, MemorySpaces, OpenClStatus};
use ocl::core::{self, DeviceId, DeviceInfo as Query, DeviceType, PlatformId, PlatformInfo};

/// The devices, and what to say when there are none.
pub(crate) fn discover() -> (Vec<(DeviceInfo, ClDevice)>, OpenClStatus) {
    #[cfg(feature = "loader")]
    let loader = match clan_opencl_loader::status() {
        clan_opencl_loader::Status::Loaded { path, .. } => Some(path.clone()),
        clan_opencl_loader::Status::Missing { tried, reason, .. } => {
            let reason = format!(
                "no OpenCL loader: none of {} could be loaded ({reason}); install a driver, or ocl-icd-libopencl1, or name a library in CLAN_OPENCL_LIBRARY",
                tried.join(", ")
            );
            return (Vec::new(), OpenClStatus { loader: None, reason: Some(reason) });
        }
    };
    #[cfg(not(feature = "loader"))]
    let loader = Some(std::path::PathBuf::from("libOpenCL (linked)"));

    let platforms = platforms();
    if platforms.is_empty() {
        let reason = "the OpenCL loader found no driver (no ICD): install one for your device, such as the GPU vendor's, or pocl-opencl-icd for the CPU".to_string();
        return (Vec::new(), OpenClStatus { loader, reason: Some(reason) });
    }
    let mut found = Vec::new();
    let mut names = Vec::new();
    for platform in platforms {
        let name = platform_text(&platform, PlatformInfo::Name);
        let version = platform_text(&platform, PlatformInfo::Version);
        let devices = match core::get_device_ids(platform, Some(DeviceType::ALL), Some(256)) {
            Ok(devices) => devices,
            Err(e) => {
                // "No device of this type" is the ordinary answer of a driver without hardware.
                log::debug!("platform {name}: {e}");
                Vec::new()
            }
        };
        for id in devices {
            let info = describe(id, &name);
            if let Some(why) = quirks::unusable(&info) {
                log::info!("{} [{name}] is left out: {why}", info.name);
                continue;
            }
            let device = ClDevice::new(id, platform, version.clone(), &info);
            found.push((info, device));
        }
        names.push(name);
    }
    let reason = found.is_empty().then(|| {
        format!("the OpenCL drivers ({}) have no devices on this machine", names.join(", "))
    });
    (found, OpenClStatus { loader, reason })
}

fn platforms() -> Vec<PlatformId> {
    // Without the feature `loader`, `ocl` itself would sleep and panic when there is no ICD.
    match core::get_platform_ids() {
        Ok(list) => list,
        Err(e) => {
            log::debug!("clGetPlatformIDs: {e}");
            Vec::new()
        }
    }
}

fn platform_text(platform: &PlatformId, what: PlatformInfo) -> String {
    core::get_platform_info(platform, what)
        .map_or_else(|_| String::new(), |v| v.to_string().trim().to_string())
}

fn describe(id: DeviceId, platform: &str) -> DeviceInfo {
    // Raw bytes: the typed form of some answers panics on values it does not know.
    let raw = |q: Query| core::get_device_info_raw(id, q as u32).unwrap_or_default();
    let number = |q: Query| -> u64 {
        let bytes = raw(q);
        let mut word = [0u8; 8];
        let n = bytes.len().min(8);
        word[..n].copy_from_slice(&bytes[..n]);
        u64::from_le_bytes(word)
    };
    let text = |q: Query| -> String {
        let bytes = raw(q);
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).trim().to_string()
    };
    const CPU: u64 = 1 << 1;
    const GPU: u64 = 1 << 2;
    const DENORM: u64 = 1;
    const EXACT_DIVISION: u64 = 1 << 7;
    const LOCAL: u64 = 1;
    let kind = match number(Query::Type) {
        t if t & GPU != 0 => DeviceKind::Gpu,
        t if t & CPU != 0 => DeviceKind::Cpu,
        _ => DeviceKind::Accelerator,
    };
    let extensions = text(Query::Extensions);
    let has = |name: &str| extensions.split_whitespace().any(|e| e == name);
    let fp = number(Query::SingleFpConfig);
    DeviceInfo {
        name: text(Query::Name),
        platform: platform.to_string(),
        vendor: text(Query::Vendor),
        driver: text(Query::DriverVersion),
        kind,
        compute_units: number(Query::MaxComputeUnits) as usize,
        max_work_group: number(Query::MaxWorkGroupSize) as usize,
        argument_bytes: number(Query::MaxParameterSize) as usize,
        memory: MemorySpaces {
            global_bytes: number(Query::GlobalMemSize),
            max_alloc_bytes: number(Query::MaxMemAllocSize),
            constant_bytes: number(Query::MaxConstantBufferSize),
            local_bytes: number(Query::LocalMemSize),
            local_dedicated: number(Query::LocalMemType) == LOCAL,
        },
        fp64: number(Query::DoubleFpConfig) != 0 || has("cl_khr_fp64"),
        fp16: has("cl_khr_fp16"),
        denormals: fp & DENORM != 0,
        atomics64: has("cl_khr_int64_base_atomics"),
        exact_division: fp & EXACT_DIVISION != 0,
    }
}
