//! Arrays made on the device.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, DeviceArray};

pub const FAMILY: Family = Family { name: "create", ops: &["full", "arange"], run };

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (device, n) = (bench.device, bench.data.n());
    bench.case(
        Case { op: "full", dtype: DType::F32, shape: vec![n], bytes: 4 * n, flops: 0 },
        || DeviceArray::full(device, n, 2.5f32),
        |got| Ok(data::exactly(&got.to_vec()?, n, |_| 2.5)),
    );
    // Integers: every value is exact at every length.
    bench.case(
        Case { op: "arange", dtype: DType::I64, shape: vec![n], bytes: 8 * n, flops: 0 },
        || DeviceArray::arange(device, 7, 7 + 3 * n as i64, 3),
        |got| Ok(data::exactly(&got.to_vec()?, n, |i| 7 + 3 * i as i64)),
    );
    Ok(())
}
