//! What a device can do at most.

use super::timing;
use crate::output;
use clan::{Device, DeviceArray, limits};
use serde_json::{Value, json};
use std::fmt;

/// The measured limits of one device.
#[derive(Clone)]
pub struct Limits {
    device: Device,
    /// Bytes read and written each second, in 10⁹.
    copy: f64,
    /// Floating-point operations (two a multiply-add) each second in `f32`, in 10⁹.
    fma: f64,
}

impl Limits {
    /// The share of the time that the bound alone would take, of the time it took. `None` when
    /// nothing is moved or computed.
    pub fn share(&self, bytes: u64, flops: u64, seconds: f64) -> Option<f64> {
        let least = (bytes as f64 / self.copy / 1e9).max(flops as f64 / self.fma / 1e9);
        (bytes + flops > 0).then_some(least / seconds)
    }

    pub fn json(&self) -> Value {
        json!({
            "device": output::title(&self.device),
            "index": self.device.index(),
            "copy_gb_per_s": self.copy,
            "fma_gflop_per_s": self.fma,
        })
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limits: copies {} GB/s, multiplies and adds {} GFLOP/s",
            output::number(self.copy),
            output::number(self.fma)
        )
    }
}

/// Measures both limits; `n` elements are copied.
pub fn measure(device: &Device, n: usize) -> clan::Result<Limits> {
    let x = DeviceArray::<f32>::ones(device, n)?;
    // The driver's own copy, and a copy by kernel (by all threads, on the host): what is faster.
    let driver = timing::median(device, || limits::copy(&x).map(drop))?;
    let kernel = timing::median(device, || x.expr().eval().map(drop))?;
    let copy = 2.0 * 4.0 * n as f64 / driver.min(kernel) / 1e9;

    // Enough rounds that starting and ending do not count.
    let mut rounds = 64;
    let fma = loop {
        let flops = limits::fma(device, rounds)?.flops;
        let s = timing::median(device, || limits::fma(device, rounds).map(drop))?;
        if s > 5e-3 || rounds > 1 << 20 {
            break flops as f64 / s / 1e9;
        }
        rounds = (f64::from(rounds) * (8e-3 / s).clamp(2.0, 64.0)) as u32;
    };
    Ok(Limits { device: device.clone(), copy, fma })
}
