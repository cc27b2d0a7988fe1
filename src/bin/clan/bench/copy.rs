//! Copies that leave the order of the elements, and that change it.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::ndarray::s;
use clan::{DType, DeviceArray, limits};

pub const FAMILY: Family = Family { name: "copy", ops: &["copy", "transpose", "reverse"], run };

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, side) = (bench.data, bench.data.side());
    let square = data.square();
    let matrix = &DeviceArray::from_shape_slice(bench.device, (side, side), square)?;
    let case = |op| Case {
        op,
        dtype: DType::F32,
        shape: vec![side, side],
        bytes: 2 * 4 * side * side,
        flops: 0,
    };
    bench.case(
        case("copy"),
        || limits::copy(matrix),
        |got| Ok(data::exactly(&got.to_vec()?, side * side, |i| square[i])),
    );
    bench.case(
        case("transpose"),
        || matrix.t().to_contiguous(),
        |got| {
            Ok(data::exactly(&got.to_vec()?, side * side, |i| square[i % side * side + i / side]))
        },
    );
    let reversed = &matrix.slice(s![.., ..;-1])?;
    bench.case(
        case("reverse"),
        || reversed.to_contiguous(),
        |got| {
            Ok(data::exactly(&got.to_vec()?, side * side, |i| {
                square[i / side * side + (side - 1 - i % side)]
            }))
        },
    );
    Ok(())
}
