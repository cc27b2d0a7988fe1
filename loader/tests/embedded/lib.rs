//! A plugin, say of Python, that computes with `ocl`: for `tests/embedded.rs`.

// Naming the package links it.
use clan_opencl_loader as _;

/// The number of devices on all platforms.
#[unsafe(no_mangle)]
pub extern "C" fn embedded_devices() -> usize {
    let platforms = ocl::Platform::list();
    platforms.iter().map(|p| ocl::Device::list_all(p).map_or(0, |devices| devices.len())).sum()
}
