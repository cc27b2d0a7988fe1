//! Running sums: of everything, down columns, along rows, in segments, of integers.

use super::data::{self, EPSILON};
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::ndarray::Axis;
use clan::{DType, DeviceArray};

pub const FAMILY: Family = Family {
    name: "scan",
    ops: &["cumsum", "cumsum_i32", "cumsum_axis0", "cumsum_axis1", "cumsum_segments"],
    run,
};

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, n, side) = (bench.data, bench.data.n(), bench.data.side());
    let (device, xs) = (bench.device, data.x());
    let case = |op, dtype, shape: &[usize], bytes| Case {
        op,
        dtype,
        shape: shape.to_vec(),
        bytes,
        flops: shape.iter().product(),
    };
    let x = &DeviceArray::from_slice(device, xs)?;
    bench.case(
        case("cumsum", DType::F32, &[n], 8 * n),
        || x.cumsum(Axis(0)),
        |got| Ok(running(&got.to_vec()?, xs, n, 1, |_| false)),
    );
    if bench.wants("cumsum_i32") {
        let integers = &(x * 1000.0f32).cast::<i32>().eval()?;
        bench.case(
            case("cumsum_i32", DType::I32, &[n], 12 * n),
            || integers.cumsum(Axis(0)),
            |got| {
                let mut sum = 0;
                let want: Vec<i64> = integers
                    .to_vec()?
                    .into_iter()
                    .map(|v| {
                        sum += i64::from(v);
                        sum
                    })
                    .collect();
                Ok(data::exactly(&got.to_vec()?, n, |i| want[i]))
            },
        );
    }
    let square = data.square();
    let matrix = &DeviceArray::from_shape_slice(device, (side, side), square)?;
    let shape = [side, side];
    for (op, axis, apart) in [("cumsum_axis0", 0, side), ("cumsum_axis1", 1, 1)] {
        bench.case(
            case(op, DType::F32, &shape, 8 * side * side),
            || matrix.cumsum(Axis(axis)),
            |got| Ok(running(&got.to_vec()?, square, side, apart, |_| false)),
        );
    }
    if bench.wants("cumsum_segments") {
        // Segments of 1 to some thousand elements.
        let starts = |i: usize| data::value(i, 3 << 40) > 0.998;
        let flags: Vec<bool> = (0..n).map(starts).collect();
        let flags = &DeviceArray::from_slice(device, &flags)?;
        bench.case(
            case("cumsum_segments", DType::F32, &[n], 9 * n),
            || x.scan(Axis(0)).segments(flags).sum(),
            |got| Ok(running(&got.to_vec()?, xs, n, 1, starts)),
        );
    }
    Ok(())
}

/// Compares running sums along lanes of `len` elements that are `apart`, which begin anew where
/// `starts` says. The tolerance is a few ULP of the greatest sum of some thousand neighbours and of the
/// sum so far.
fn running(
    got: &[f32],
    x: &[f32],
    len: usize,
    apart: usize,
    starts: impl Fn(usize) -> bool,
) -> Result<(), String> {
    if got.len() != x.len() {
        return Err(format!("it has {} elements, not {}", got.len(), x.len()));
    }
    // Lanes that are apart lie side by side.
    let (outer, width) = if apart == 1 { (x.len() / len, 1) } else { (1, apart) };
    for lane in 0..outer * width {
        let first = if apart == 1 { lane * len } else { lane };
        let (mut sum, mut most) = (0.0f64, 0.0f64);
        for r in 0..len {
            let i = first + r * apart;
            let v = f64::from(x[i]);
            sum = if starts(i) { v } else { sum + v };
            most = most.max(sum.abs()).max(64.0);
            let off = (f64::from(got[i]) - sum).abs();
            if off.is_nan() || off > 16.0 * EPSILON * most {
                return Err(format!("element {i} is {}, not {sum}", got[i]));
            }
        }
    }
    Ok(())
}
