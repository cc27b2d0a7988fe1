//! The clock.

use crate::output;
use clan::{Device, Result};
use std::time::{Duration, Instant};

/// A sample lasts about this long: waiting for a device costs some ten microseconds, which may not
/// count in an operation that takes as long.
const SAMPLE: Duration = Duration::from_millis(5);
/// Sampling ends after this time and `FEW` samples, or after `MANY`.
const BUDGET: Duration = Duration::from_millis(250);
/// The same for devices that lower their clocks under load. Benchmarks of other libraries make some
/// twenty calls, and so end before that: on an H200 bf16 products of 8192² fall from 477 to 405
/// TFLOP/s after 50 ms, those of cuBLAS from 800 to 655.
const BURST: Duration = Duration::from_millis(35);
const FEW: usize = 5;
const MANY: usize = 31;
/// Slow operations are not worth `FEW` samples.
const SLOW: Duration = Duration::from_secs(1);

/// The median time of one `run` in seconds. A sample is several runs that are started one after
/// the other, and ends when the device is idle again.
pub fn median(device: &Device, run: impl Fn() -> Result<()>) -> Result<f64> {
    median_on(std::slice::from_ref(device), run)
}

/// As [`median`], of what runs on several devices.
pub fn median_on(devices: &[Device], run: impl Fn() -> Result<()>) -> Result<f64> {
    let idle = || devices.iter().try_for_each(Device::wait);
    let sample = |runs: u32| -> Result<f64> {
        idle()?;
        let start = Instant::now();
        for _ in 0..runs {
            run()?;
        }
        idle()?;
        Ok(start.elapsed().as_secs_f64() / f64::from(runs))
    };
    // The first run builds programs and fills the pool, the second tells how many make a sample.
    sample(1)?;
    let once = sample(1)?;
    let runs = (SAMPLE.as_secs_f64() / once).clamp(1.0, 1000.0) as u32;
    if runs > 1 {
        // Clocks rise only under load.
        sample(runs)?;
    }
    // A slow operation is not run again for nothing.
    let budget = if devices.iter().all(output::is_large) { BURST } else { BUDGET };
    more_samples(budget, if runs > 1 { Vec::new() } else { vec![once] }, || sample(runs))
}

/// The median of several samples, as many as time allows.
pub fn sampled(sample: impl Fn() -> Result<f64>) -> Result<f64> {
    more_samples(BUDGET, Vec::new(), sample)
}

fn more_samples(
    budget: Duration,
    mut times: Vec<f64>,
    sample: impl Fn() -> Result<f64>,
) -> Result<f64> {
    let start = Instant::now();
    while times.len() < MANY && (times.len() < FEW || start.elapsed() < budget) {
        times.push(sample()?);
        if start.elapsed() > SLOW && times.len() >= 2 {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
