//! Random numbers written to memory, against the numbers one at a time.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::verify::oracle::Stream;
use clan::{DType, Random};

pub const FAMILY: Family =
    Family { name: "random", ops: &["uniform", "standard_normal", "integers", "permutation"], run };

const STREAM: Stream = Stream { seed: 42, stream: 0 };

/// Elements are compared at this distance: one at a time takes its time.
const APART: usize = 61;

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (device, n) = (bench.device, bench.data.n());
    let random = Random::new(STREAM.seed);
    let case =
        |op, dtype: DType| Case { op, dtype, shape: vec![n], bytes: dtype.size() * n, flops: 0 };
    let some = n.div_ceil(APART);
    bench.case(
        case("uniform", DType::F32),
        || random.clone().uniform::<f32>(device, n),
        |got| {
            let got: Vec<f32> = got.to_vec()?.into_iter().step_by(APART).collect();
            let want = |i: usize| (STREAM.word((i * APART) as u64, false, 0) >> 8) as f32;
            Ok(data::exactly(&got, some, |i| want(i) / (1 << 24) as f32))
        },
    );
    bench.case(
        case("standard_normal", DType::F32),
        || random.clone().standard_normal::<f32>(device, n),
        |got| {
            let got: Vec<f32> = got.to_vec()?.into_iter().step_by(APART).collect();
            Ok(data::each(&got, some, |i| {
                let want = STREAM.normal((i * APART) as u64, false);
                (want, 4.0 * data::EPSILON * want.abs())
            }))
        },
    );
    bench.case(
        case("integers", DType::U32),
        || random.clone().integers(device, n, 0..1_000_000u32),
        |got| {
            let got: Vec<u32> = got.to_vec()?.into_iter().step_by(APART).collect();
            let want = |i: usize| STREAM.integer((i * APART) as u64, false, 0, 1_000_000);
            Ok(data::exactly(&got, some, |i| want(i) as u32))
        },
    );
    bench.case(
        case("permutation", DType::U64),
        || random.clone().permutation(device, n),
        |got| {
            let mut seen = vec![false; n];
            for (i, v) in got.to_vec()?.into_iter().enumerate() {
                match seen.get_mut(v as usize) {
                    Some(seen) if !*seen => *seen = true,
                    _ => return Ok(Err(format!("element {i} is {v}, a second time or too large"))),
                }
            }
            Ok(Ok(()))
        },
    );
    Ok(())
}
