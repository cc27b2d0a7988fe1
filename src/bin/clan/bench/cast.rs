//! Conversions between element types.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::half::f16;
use clan::{DType, DeviceArray};

pub const FAMILY: Family =
    Family { name: "cast", ops: &["f32_to_f16", "f32_to_i32", "u8_to_f32"], run };

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, n) = (bench.data, bench.data.n());
    let xs = data.x();
    let x = &DeviceArray::from_slice(bench.device, xs)?;
    let case =
        |op, dtype, bytes: usize| Case { op, dtype, shape: vec![n], bytes: bytes * n, flops: 0 };
    bench.case(
        case("f32_to_f16", DType::F32, 4 + 2),
        || x.cast::<f16>().eval(),
        |got| Ok(data::exactly(&got.to_vec()?, n, |i| f16::from_f32(xs[i]))),
    );
    bench.case(
        case("f32_to_i32", DType::F32, 4 + 4),
        || (x * 1e6).cast::<i32>().eval(),
        |got| Ok(data::exactly(&got.to_vec()?, n, |i| (xs[i] * 1e6) as i32)),
    );
    if bench.wants("u8_to_f32") {
        let bytes: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
        let b = &DeviceArray::from_slice(bench.device, &bytes)?;
        bench.case(
            case("u8_to_f32", DType::U8, 1 + 4),
            || b.cast::<f32>().eval(),
            |got| Ok(data::exactly(&got.to_vec()?, n, |i| f32::from(bytes[i]))),
        );
    }
    Ok(())
}
