//! What small arrays cost: the time of the calling thread, and of a whole round trip.

use super::data::{self, EPSILON};
use super::timing;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, DeviceArray};
use std::time::Instant;

pub const FAMILY: Family =
    Family { name: "small", ops: &["launch", "launch_dependent", "round_trip"], run };

const N: usize = 1024;
/// Operations started one after the other without waiting.
const IN_A_ROW: usize = 100;

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let device = bench.device;
    let xs: Vec<f32> = (0..N).map(|i| data::value(i, 3)).collect();
    let x = &DeviceArray::from_slice(device, &xs)?;
    let case = |op| Case { op, dtype: DType::F32, shape: vec![N], bytes: 0, flops: 0 };
    // The clock stops when the calls have returned, whatever the device still does.
    let host_time = |run: &dyn Fn() -> clan::Result<DeviceArray<f32>>| {
        let sample = || -> clan::Result<f64> {
            device.wait()?;
            let start = Instant::now();
            for _ in 0..IN_A_ROW {
                run()?;
            }
            let time = start.elapsed().as_secs_f64() / IN_A_ROW as f64;
            device.wait()?;
            Ok(time)
        };
        sample()?;
        timing::sampled(sample)
    };

    let one = || (x + 1.0).eval();
    bench.timed(
        case("launch"),
        || Ok(data::exactly(&one()?.to_vec()?, N, |i| xs[i] + 1.0)),
        || host_time(&one),
    );
    // The second reads what the first writes; the host must not wait between them.
    let two = || ((x + 1.0).eval()? * 2.0).eval();
    bench.timed(
        case("launch_dependent"),
        || Ok(data::exactly(&two()?.to_vec()?, N, |i| (xs[i] + 1.0) * 2.0)),
        || host_time(&two),
    );
    // From the call to the value in the hands of the program.
    let sum = || x.sum()?.item();
    bench.timed(
        case("round_trip"),
        || {
            let want = xs.iter().map(|&v| f64::from(v)).sum();
            let slack = 4.0 * EPSILON * xs.iter().map(|&v| f64::from(v.abs())).sum::<f64>();
            Ok(data::close(f64::from(sum()?), want, slack))
        },
        || {
            timing::sampled(|| {
                let start = Instant::now();
                for _ in 0..IN_A_ROW {
                    sum()?;
                }
                Ok(start.elapsed().as_secs_f64() / IN_A_ROW as f64)
            })
        },
    );
    Ok(())
}
