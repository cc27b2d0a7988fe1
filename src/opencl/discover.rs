//! Finds the OpenCL devices of this machine, once a process (the caller holds the lock: drivers
//! return nothing, or crash, when they are asked from several threads at once).

use super::{ClDevice, quirks};
use crate::device::{DeviceInfo, DeviceKind, MemorySpaces, OpenClStatus};
use ocl::core::{self, DeviceId, DeviceInfo as Query, PlatformId, PlatformInfo};
use ocl::ffi;
use std::ptr;

/// The devices, and what to say when there are none. Three absences differ, because what helps
/// against them differs: no library, a library without drivers, drivers without devices.
pub(crate) fn discover() -> (Vec<(DeviceInfo, ClDevice)>, OpenClStatus) {
    #[cfg(feature = "loader")]
    let loader = match clan_opencl_loader::status() {
        clan_opencl_loader::Status::Loaded { path } => Some(path.clone()),
        missing @ clan_opencl_loader::Status::Missing { .. } => {
            let reason = format!(
                "{missing}; install a driver together with the OpenCL loader (on Debian and Ubuntu ocl-icd-libopencl1), or name the library in CLAN_OPENCL_LIBRARY"
            );
            return (Vec::new(), OpenClStatus { loader: None, reason: Some(reason) });
        }
    };
    #[cfg(not(feature = "loader"))]
    let loader = Some(std::path::PathBuf::from("libOpenCL (linked)"));

    let platforms = platforms();
    if platforms.is_empty() {
        let reason = format!(
            "{}; install the driver of your device (the GPU vendor's, or pocl-opencl-icd for the CPU), and unset OCL_ICD_VENDORS if it leads elsewhere",
            without_platforms()
        );
        return (Vec::new(), OpenClStatus { loader, reason: Some(reason) });
    }
    // An absurd value is the error of whatever works on a device first.
    let assumed = crate::env::assume_kind().unwrap_or_else(|e| {
        log::warn!("{e}");
        None
    });
    let mut found = Vec::new();
    let mut drivers = Vec::new();
    for platform in platforms {
        let name = platform_text(&platform, PlatformInfo::Name);
        let version = platform_text(&platform, PlatformInfo::Version);
        let mut left_out = Vec::new();
        for id in devices(&platform, &name) {
            let info = describe(id, &name);
            if let Some(why) = unusable(id, &info) {
                log::info!("{} [{name}] is left out: {why}", info.name);
                left_out.push(format!("{} is left out, {why}", info.name));
                continue;
            }
            let launch_kind = assumed.unwrap_or(info.kind);
            let device = ClDevice::new(id, platform, version.clone(), &info, launch_kind);
            found.push((info, device));
        }
        drivers.push(match left_out.is_empty() {
            true => name,
            false => format!("{name}: {}", left_out.join("; ")),
        });
    }
    let reason = found.is_empty().then(|| {
        format!(
            "the OpenCL drivers found ({}) have no usable device on this machine; is it switched on, and may this user open it (group `render` or `video`)?{}",
            drivers.join(", "),
            // Mesa shows its devices only to those who ask for them.
            match drivers.iter().any(|d| d.contains("rusticl")) {
                true => " rusticl lists the devices that RUSTICL_ENABLE names, such as radeonsi, iris or llvmpipe",
                false => "",
            }
        )
    });
    (found, OpenClStatus { loader, reason })
}

/// What the loader says about its empty list.
fn without_platforms() -> String {
    #[cfg(feature = "loader")]
    return clan_opencl_loader::platforms().to_string();
    #[cfg(not(feature = "loader"))]
    return "no OpenCL driver is installed (no ICD was found)".to_string();
}

/// Asked without `ocl`, which takes an empty list for a loader that is still waking up, sleeps ten
/// seconds over it, and panics over status codes that it has no name for.
fn platforms() -> Vec<PlatformId> {
    let mut count = 0;
    // SAFETY: no entries are asked for, so none are written; `count` outlives the call.
    let status = unsafe { ffi::clGetPlatformIDs(0, ptr::null_mut(), &mut count) };
    if status != ffi::CL_SUCCESS || count == 0 {
        log::debug!("clGetPlatformIDs answered {status}, {count} platforms");
        return Vec::new();
    }
    let mut list = vec![ptr::null_mut(); count as usize];
    // SAFETY: room for `count` entries.
    let status = unsafe { ffi::clGetPlatformIDs(count, list.as_mut_ptr(), ptr::null_mut()) };
    if status != ffi::CL_SUCCESS {
        log::warn!("clGetPlatformIDs answered {status} after it had counted {count} platforms");
        return Vec::new();
    }
    // SAFETY: platforms that the driver has just listed.
    list.into_iter().filter(|p| !p.is_null()).map(|p| unsafe { PlatformId::from_raw(p) }).collect()
}

fn devices(platform: &PlatformId, name: &str) -> Vec<DeviceId> {
    let mut count = 0;
    let all = ffi::CL_DEVICE_TYPE_ALL;
    // SAFETY: as in `platforms`; the platform comes from there.
    let status =
        unsafe { ffi::clGetDeviceIDs(platform.as_ptr(), all, 0, ptr::null_mut(), &mut count) };
    if status != ffi::CL_SUCCESS || count == 0 {
        // "No device of this type" is the ordinary answer of a driver without hardware.
        log::debug!("{name}: clGetDeviceIDs answered {status}, {count} devices");
        return Vec::new();
    }
    let mut list = vec![ptr::null_mut(); count as usize];
    // SAFETY: room for `count` entries.
    let status = unsafe {
        ffi::clGetDeviceIDs(platform.as_ptr(), all, count, list.as_mut_ptr(), ptr::null_mut())
    };
    if status != ffi::CL_SUCCESS {
        log::warn!("{name}: clGetDeviceIDs answered {status} after it had counted {count} devices");
        return Vec::new();
    }
    // SAFETY: devices that the driver has just listed.
    list.into_iter().filter(|d| !d.is_null()).map(|d| unsafe { DeviceId::from_raw(d) }).collect()
}

/// Why the device must not be used: what it lacks, or a known fault.
fn unusable(id: DeviceId, info: &DeviceInfo) -> Option<String> {
    // A `cl_bool` of zero; a query that fails says nothing.
    let denied = |q: Query| {
        let bytes = core::get_device_info_raw(id, q as u32).unwrap_or_default();
        !bytes.is_empty() && bytes.iter().all(|&b| b == 0)
    };
    if let Some(evidence) = quirks::unusable(info) {
        return Some(evidence.to_string());
    }
    if denied(Query::Available) {
        return Some("its driver says that it is not available".to_string());
    }
    if denied(Query::CompilerAvailable) {
        return Some("its driver has no compiler".to_string());
    }
    let version = text(id, Query::OpenclCVersion);
    if opencl_c(&version).is_some_and(|v| v < (1, 2)) {
        return Some(format!("it speaks {version}, and kernels are written in OpenCL C 1.2"));
    }
    (info.memory.max_alloc_bytes == 0).then(|| "its driver does not describe it".to_string())
}

/// The numbers in "OpenCL C 1.2 PoCL".
fn opencl_c(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.strip_prefix("OpenCL C ")?.split(' ').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn platform_text(platform: &PlatformId, what: PlatformInfo) -> String {
    core::get_platform_info(platform, what)
        .map_or_else(|_| String::new(), |v| v.to_string().trim().to_string())
}

fn text(id: DeviceId, what: Query) -> String {
    let bytes = core::get_device_info_raw(id, what as u32).unwrap_or_default();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_string()
}

pub(super) fn describe(id: DeviceId, platform: &str) -> DeviceInfo {
    // Raw bytes: the typed form of some answers panics on values it does not know.
    let raw = |q: Query| core::get_device_info_raw(id, q as u32).unwrap_or_default();
    let number = |q: Query| -> u64 {
        let bytes = raw(q);
        let mut word = [0u8; 8];
        let n = bytes.len().min(8);
        word[..n].copy_from_slice(&bytes[..n]);
        u64::from_le_bytes(word)
    };
    let text = |q: Query| text(id, q);
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

#[cfg(test)]
mod tests {
    use super::opencl_c;

    #[test]
    fn language_versions() {
        assert_eq!(opencl_c("OpenCL C 1.2 PoCL"), Some((1, 2)));
        assert_eq!(opencl_c("OpenCL C 3.0"), Some((3, 0)));
        assert_eq!(opencl_c("CUDA"), None);
        assert!(opencl_c("OpenCL C 1.1 ") < Some((1, 2)));
    }
}
