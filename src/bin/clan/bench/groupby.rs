//! Elements joined by random keys, into few groups and into many.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, DeviceArray};
use rayon::prelude::*;

pub const FAMILY: Family =
    Family { name: "groupby", ops: &["group_sum", "group_sum_many", "group_max"], run };

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (device, data, n) = (bench.device, bench.data, bench.data.n());
    let case = |op| Case { op, dtype: DType::F32, shape: vec![n], bytes: 8 * n, flops: n };
    let xs = data.x();
    let x = &DeviceArray::from_slice(device, xs)?;
    for (op, groups) in [("group_sum", 256), ("group_max", 256), ("group_sum_many", 1 << 16)] {
        if !bench.wants(op) {
            continue;
        }
        let place = |v: &f32| ((v + 1.0) * 0.5 * groups as f32) as u32;
        let keys: Vec<u32> = data.y().par_iter().map(place).collect();
        let by = x.group_by(&DeviceArray::from_slice(device, &keys)?, groups)?;
        let greatest = op == "group_max";
        bench.case(
            case(op),
            || if greatest { by.max() } else { by.sum() },
            |got| {
                let mut want = vec![if greatest { f64::NEG_INFINITY } else { 0.0 }; groups];
                let mut size = vec![0f64; groups];
                for (&x, &k) in xs.iter().zip(&keys) {
                    let (want, x) = (&mut want[k as usize], f64::from(x));
                    *want = if greatest { want.max(x) } else { *want + x };
                    size[k as usize] += x.abs();
                }
                // Devices without `f64` add plainly.
                let slack = if greatest { 0.0 } else { 64.0 * data::EPSILON };
                Ok(data::each(&got.to_vec()?, groups, |k| (want[k], slack * size[k])))
            },
        );
    }
    Ok(())
}
