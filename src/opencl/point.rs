//! How kernels are shaped for a device, where no tuner says more.

use super::ClDevice;
use crate::device::{DeviceInfo, DeviceKind};
use ocl::core::{self, DeviceId};

/// Who made a device, as far as defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Nvidia,
    Intel,
    Other,
}

impl Maker {
    pub fn of(info: &DeviceInfo) -> Maker {
        let names = format!("{} {}", info.vendor, info.platform).to_lowercase();
        match () {
            () if names.contains("nvidia") => Maker::Nvidia,
            () if names.contains("intel") => Maker::Intel,
            () => Maker::Other,
        }
    }
}

/// Whether the cache that all compute units share has room for a few hundred KiB a unit, by NVIDIA's compute
/// capability, where the device tells it: 8.0 has 40 MB for 108 units, those from 8.9 on 24 MB for 24 or more, and
/// the others 6 MB for up to 82 (NVIDIA's architecture whitepapers). OpenCL's `GLOBAL_MEM_CACHE_SIZE` is that of all
/// units' own caches: 4.1 MiB on an H200 whose units share 50 MB.
pub(super) fn large_cache(id: DeviceId, maker: Maker) -> bool {
    let ask = |what: u32| {
        let bytes = core::get_device_info_raw(id, what).ok()?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    // CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV and MINOR_NV, of cl_nv_device_attribute_query.
    let capability = [0x4000, 0x4001];
    if maker != Maker::Nvidia {
        return false;
    }
    match capability.map(ask) {
        [Some(major), Some(minor)] => (major, minor) == (8, 0) || (major, minor) >= (8, 9),
        _ => false,
    }
}

/// How element-wise and reducing kernels are shaped for a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Work-items in a work-group.
    pub group: usize,
    /// Bytes that a work-item loads at once; 0 for one element.
    pub vector_bytes: usize,
    /// Loads in flight a work-item.
    pub unroll: usize,
    /// Work-groups that fill the device.
    pub groups: usize,
}

impl Point {
    pub fn of(info: &DeviceInfo, launch_kind: DeviceKind, maker: Maker) -> Point {
        // Trees, tiles and lanes divide groups by powers of two.
        let group = 1 << info.max_work_group.clamp(1, 256).ilog2();
        let units = info.compute_units.max(1);
        // What Intel counts are vector engines of eight threads of 16 work-items; not measured.
        let a_unit = if maker == Maker::Intel { 4 } else { 16 };
        // H200, 2^28 f32, GB/s, unroll 1 / 2 / 4: a*x+y 4370 / 4347 / 4306, x+1 4227 / 4076 / 4034;
        // groups of 512 instead of 256: within 1 %.
        match launch_kind {
            // A CPU vectorises across the work-items of a group; explicit vectors hinder it.
            DeviceKind::Cpu => Point { group, vector_bytes: 0, unroll: 1, groups: units * 8 },
            _ => Point { group, vector_bytes: 16, unroll: 1, groups: units * a_unit },
        }
    }

    /// What the text of a program depends on.
    pub fn key(&self, key: &mut Vec<u8>) {
        key.extend((self.group as u16).to_le_bytes());
        key.extend([self.vector_bytes as u8, self.unroll as u8]);
    }
}

impl ClDevice {
    /// The point for element-wise kernels that load one element at a time.
    ///
    /// H200, matrix + row of 2^28 f32, GB/s, unroll 1 / 2 / 4: 2576 / 3709 / 4174.
    pub fn scalar_point(&self) -> Point {
        match self.launch_kind {
            DeviceKind::Cpu => self.point,
            _ => Point { unroll: 4, ..self.point },
        }
    }

    /// The point for kernels whose work-items share nothing, walking along stretches of their own on CPUs,
    /// whose threads take whole groups.
    pub fn walking_point(&self) -> Point {
        match self.launch_kind {
            DeviceKind::Cpu => Point { group: 1, ..self.point },
            _ => self.point,
        }
    }

    /// The point for reductions: on a CPU one work-item walks a stretch of its own.
    ///
    /// H200, 2^28 f32, GB/s, unroll 1 / 2 / 4: sum 4320 / 4396 / 4412, argmax 4288 / 4377 / 4390,
    /// sum of rows 4329 / 4525 / 4574, of columns 4179 / 4213 / 4219. Groups a compute unit
    /// 8 / 16 / 32: sum 4196 / 4412 / 4319, of columns 4332 / 4219 / 4067.
    pub fn reduce_point(&self) -> Point {
        match self.launch_kind {
            DeviceKind::Cpu => Point { vector_bytes: 64, ..self.walking_point() },
            _ => Point { unroll: 4, ..self.point },
        }
    }

    /// The point for reductions of columns, `tall` ones of 1,024 and more elements.
    ///
    /// H200, sums of f32, GB/s by groups of 256 and of 1024 with loads of 8 bytes and one group a
    /// compute unit: 2^22 × 8 168 and 708, 2^20 × 64 385 and 2878, 2^17 × 1000 2209 and 4002,
    /// 16384 × 16384 4245 and 4485, 4096 × 65536 4369 and 4375, 64 × 2^20 3792 and 1367.
    pub fn columns_point(&self, tall: bool) -> Point {
        let units = self.info.compute_units.max(1);
        match (self.launch_kind, self.maker) {
            (DeviceKind::Cpu, _) => self.reduce_point(),
            (_, Maker::Nvidia) if tall && self.info.max_work_group >= 1024 => {
                Point { group: 1024, vector_bytes: 8, unroll: 4, groups: units }
            }
            _ => self.reduce_point(),
        }
    }
}
