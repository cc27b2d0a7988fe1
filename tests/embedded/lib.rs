//! A plugin, say of Python, that computes with clan: for `tests/loader_embed.rs`.

use clan::{Device, DeviceArray};

/// The number of OpenCL devices on which the plugin computed a right answer.
#[unsafe(no_mangle)]
pub extern "C" fn embedded_devices() -> usize {
    let right = |device: &Device| -> clan::Result<bool> {
        let x = DeviceArray::<i32>::arange(device, 0, 1000, 1)?;
        let y = (&x * 3 + 1).eval()?.to_vec()?;
        Ok(y.iter().enumerate().all(|(i, &v)| v == 3 * i as i32 + 1))
    };
    Device::all().iter().filter(|d| !d.is_host() && right(d).unwrap_or(false)).count()
}
