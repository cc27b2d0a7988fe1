//! Parts of a device, asked without `ocl`, which has no call for it.

use super::{ClDevice, discover};
use crate::device::DeviceInfo;
use crate::error::{Error, ErrorKind, Result};
use ocl::core::DeviceId;
use ocl::ffi;
use std::ptr;

impl ClDevice {
    /// Devices of `units` compute units each, as many as there are; units that are left over belong to
    /// none. They live as long as the process.
    pub fn partition(&self, units: usize) -> Result<Vec<(DeviceInfo, ClDevice)>> {
        let properties = [ffi::CL_DEVICE_PARTITION_EQUALLY as isize, units as isize, 0];
        let refused = |status: i32| {
            let text = format!(
                "{} with {} compute units gives no parts of {units}: clCreateSubDevices answered {status}; GPUs mostly cannot be divided",
                self.info.name, self.info.compute_units
            );
            Error::new(ErrorKind::Argument, "partition", text)
        };
        let id = self.id.as_raw();
        let mut count = 0;
        // SAFETY: a live device, properties that end with 0, and no room for answers but the number.
        let status = unsafe {
            ffi::clCreateSubDevices(id, properties.as_ptr(), 0, ptr::null_mut(), &mut count)
        };
        if status != ffi::CL_SUCCESS || count == 0 {
            return Err(refused(status));
        }
        let mut list = vec![ptr::null_mut(); count as usize];
        // SAFETY: as above, with room for `count` devices.
        let status = unsafe {
            let (room, none) = (list.as_mut_ptr(), ptr::null_mut());
            ffi::clCreateSubDevices(id, properties.as_ptr(), count, room, none)
        };
        if status != ffi::CL_SUCCESS {
            return Err(refused(status));
        }
        let parts = list.into_iter().filter(|d| !d.is_null()).map(|d| {
            // SAFETY: a device that the driver has just made, and that is never released.
            let id = unsafe { DeviceId::from_raw(d) };
            let info = discover::describe(id, &self.info.platform);
            let version = self.platform_version.clone();
            let part = ClDevice::new(id, self.platform, version, &info, self.launch_kind);
            (info, part)
        });
        Ok(parts.collect())
    }
}
