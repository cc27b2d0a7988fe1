//! `a * x + y` for sixteen million elements, on each device: in from ndarray, one fused pass, out
//! to ndarray, checked.
//!
//! `cargo run --release --example 02_axpy`

use clan::ndarray::{Array1, Zip};
use clan::{Device, DeviceArray};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let n = 1 << 24;
    let a = 2.5f32;
    let x = Array1::from_shape_fn(n, |i| (i % 1000) as f32 / 1000.0);
    let y = Array1::from_shape_fn(n, |i| (i % 777) as f32);

    for device in Device::all() {
        let dx = DeviceArray::from_ndarray(&device, &x)?;
        let dy = DeviceArray::from_ndarray(&device, &y)?;
        // Operators build an expression; `eval` computes all of it in one pass. The first time on
        // a device the kernel is compiled, or read from the cache.
        (a * &dx + &dy).eval()?;
        device.wait()?;

        let start = Instant::now();
        let dz = (a * &dx + &dy).eval()?;
        device.wait()?;
        let time = start.elapsed();

        let z = dz.to_ndarray()?.into_dimensionality()?;
        let mut wrong = 0;
        Zip::from(&z).and(&x).and(&y).for_each(|&z: &f32, &x, &y| {
            wrong += usize::from(z != a * x + y);
        });
        println!(
            "{device}: {n} elements in {:.2} ms, {:.1} GB/s, {wrong} wrong",
            time.as_secs_f64() * 1e3,
            (3 * 4 * n) as f64 / time.as_secs_f64() / 1e9
        );
        if wrong > 0 {
            return Err(format!("{device} computed {wrong} elements wrong").into());
        }
    }
    Ok(())
}
