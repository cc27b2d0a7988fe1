//! What a mask keeps, and where it is true.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, DeviceArray};

pub const FAMILY: Family =
    Family { name: "select", ops: &["masked_select", "nonzero", "run_length_encode"], run };

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, n, device) = (bench.data, bench.data.n(), bench.device);
    let xs = data.x();
    let kept = xs.iter().filter(|&&v| v > 0.0).count();
    let x = &DeviceArray::from_slice(device, xs)?;
    let mask = &x.expr().gt(0.0f32).eval()?;
    let case = |op, dtype, bytes| Case { op, dtype, shape: vec![n], bytes, flops: 0 };
    bench.case(
        case("masked_select", DType::F32, 5 * n + 4 * kept),
        || x.masked_select(mask),
        |got| {
            let want: Vec<f32> = xs.iter().copied().filter(|&v| v > 0.0).collect();
            Ok(data::exactly(&got.to_vec()?, kept, |i| want[i]))
        },
    );
    bench.case(
        case("nonzero", DType::Bool, n + 8 * kept),
        || mask.nonzero(),
        |got| {
            let want: Vec<u64> = (0..n as u64).filter(|&i| xs[i as usize] > 0.0).collect();
            Ok(data::exactly(&got.to_vec()?, kept, |i| want[i]))
        },
    );
    if bench.wants("run_length_encode") {
        // Runs of four on the average.
        let value = |i: usize| u8::from(xs[i] > 0.5);
        let runs = 1 + (1..n).filter(|&i| value(i) != value(i - 1)).count();
        let bits = &x.expr().gt(0.5f32).cast::<u8>().eval()?;
        bench.case(
            case("run_length_encode", DType::U8, n + 9 * runs),
            || bits.run_length_encode(),
            |(values, lengths)| {
                let (values, lengths) = (values.to_vec()?, lengths.to_vec()?);
                let mut at = 0;
                for (&v, &len) in values.iter().zip(&lengths) {
                    let end = at + len as usize;
                    if end > n || (at..end).any(|i| value(i) != v) || len == 0 {
                        return Ok(Err(format!("a run of {len} times {v} at {at}")));
                    }
                    at = end;
                }
                Ok(data::exactly(&[at, values.len()], 2, |k| [n, runs][k]))
            },
        );
    }
    Ok(())
}
