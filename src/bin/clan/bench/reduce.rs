//! Reductions of whole arrays, and along the axes of a square matrix.

use super::data::{self, EPSILON};
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::ndarray::Axis;
use clan::{DType, DeviceArray};
use rayon::prelude::*;

pub const FAMILY: Family = Family {
    name: "reduce",
    ops: &["sum", "dot", "argmax", "mean", "var", "sum_axis0", "sum_axis1"],
    run,
};

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, n) = (bench.data, bench.data.n());
    let xs = data.x();
    let x = &DeviceArray::from_slice(bench.device, xs)?;
    let case = |op, flops| Case { op, dtype: DType::F32, shape: vec![n], bytes: 4 * n, flops };
    let sum = |xs: &[f32]| xs.par_iter().map(|&v| f64::from(v)).sum::<f64>();
    // What sums may be off by: a few ULP of the sum of the magnitudes.
    let slack =
        |xs: &[f32]| 4.0 * EPSILON * xs.par_iter().map(|&v| f64::from(v.abs())).sum::<f64>();

    bench.case(
        case("sum", n),
        || x.sum(),
        |got| Ok(data::close(f64::from(got.item()?), sum(xs), slack(xs))),
    );
    if bench.wants("dot") {
        let ys = data.y();
        let y = &DeviceArray::from_slice(bench.device, ys)?;
        bench.case(
            Case { bytes: 2 * 4 * n, ..case("dot", 2 * n) },
            || x.dot(y),
            |got| {
                let products = || xs.par_iter().zip(ys).map(|(&x, &y)| f64::from(x) * f64::from(y));
                let slack = 4.0 * EPSILON * products().map(f64::abs).sum::<f64>();
                Ok(data::close(f64::from(got.item()?), products().sum(), slack))
            },
        );
    }
    bench.case(
        case("argmax", 0),
        || x.argmax(),
        |got| {
            // The first of equals.
            let mut best = 0;
            for (i, &v) in xs.iter().enumerate() {
                if v > xs[best] {
                    best = i;
                }
            }
            Ok(data::exactly(&[got.item()?], 1, |_| best as u64))
        },
    );
    bench.case(
        case("mean", n),
        || x.mean(),
        |got| {
            let n = n as f64;
            Ok(data::close(f64::from(got.item()?), sum(xs) / n, slack(xs) / n))
        },
    );
    bench.case(
        case("var", 3 * n),
        || x.var(0.0),
        |got| {
            let mean = sum(xs) / n as f64;
            let var = xs.par_iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n as f64;
            Ok(data::close(f64::from(got.item()?), var, 8.0 * EPSILON * var))
        },
    );

    let side = data.side();
    let square = data.square();
    let matrix = &DeviceArray::from_shape_slice(bench.device, (side, side), square)?;
    let case = |op| Case {
        op,
        dtype: DType::F32,
        shape: vec![side, side],
        bytes: 4 * side * (side + 1),
        flops: side * side,
    };
    bench.case(
        case("sum_axis0"),
        || matrix.sum_axis(Axis(0)),
        |got| {
            // Down the columns, a row at a time.
            let (mut sums, mut magnitudes) = (vec![0f64; side], vec![0f64; side]);
            for row in square.chunks(side) {
                for ((s, m), &v) in sums.iter_mut().zip(&mut magnitudes).zip(row) {
                    *s += f64::from(v);
                    *m += f64::from(v.abs());
                }
            }
            Ok(data::each(&got.to_vec()?, side, |j| (sums[j], 4.0 * EPSILON * magnitudes[j])))
        },
    );
    bench.case(
        case("sum_axis1"),
        || matrix.sum_axis(Axis(1)),
        |got| {
            Ok(data::each(&got.to_vec()?, side, |i| {
                let row = &square[i * side..(i + 1) * side];
                let sum = |f: fn(f32) -> f32| row.iter().map(|&v| f64::from(f(v))).sum::<f64>();
                (sum(|v| v), 4.0 * EPSILON * sum(f32::abs))
            }))
        },
    );
    Ok(())
}
