//! Arrays by random indices, and arrays put together from arrays.

use super::data;
use super::{Answer, Bench, Case, Family};
use crate::output::Failure;
use clan::ndarray::Axis;
use clan::{DType, DeviceArray, Pad};
use rayon::prelude::*;

pub const FAMILY: Family = Family {
    name: "gather",
    ops: &[
        "take",
        "take_rows",
        "put",
        "scatter_add",
        "scatter_add_exact",
        "concatenate",
        "pad",
        "roll",
        "flip",
        "tile",
    ],
    run,
};

/// Elements for each place that is added to.
const EACH: usize = 256;
/// Columns of the matrix that rows are taken of.
const ROW: usize = 128;

/// A random index below `n`.
fn index(position: usize, n: usize) -> u32 {
    let unit = (f64::from(data::value(2 * position, 6 << 40)) + 1.0) / 2.0;
    let fine = (f64::from(data::value(2 * position + 1, 6 << 40)) + 1.0) / (1u64 << 25) as f64;
    ((unit + fine) * n as f64) as u32
}

fn indices(n: usize, below: usize) -> Vec<u32> {
    (0..n).into_par_iter().map(|k| index(k, below)).collect()
}

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    by_index(bench)?;
    together(bench)
}

fn by_index(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (device, data) = (bench.device, bench.data);
    let n = data.n();
    let case =
        |op, shape: Vec<usize>, bytes| Case { op, dtype: DType::F32, shape, bytes, flops: 0 };
    let x = &DeviceArray::from_slice(device, data.x())?;
    if bench.wants("take") || bench.wants("put") {
        let places = indices(n, n);
        let i = &DeviceArray::from_slice(device, &places)?;
        bench.case(
            case("take", vec![n], 12 * n),
            || x.take(i),
            |got| Ok(data::exactly(&got.to_vec()?, n, |k| data.x()[places[k] as usize])),
        );
        if bench.wants("put") {
            let y = std::cell::RefCell::new(DeviceArray::<f32>::zeros(device, n)?);
            bench.case(
                case("put", vec![n], 12 * n),
                || y.borrow_mut().put(i, x),
                |()| -> Answer {
                    let mut want = vec![0.0; n];
                    places.iter().zip(data.x()).for_each(|(&i, &v)| want[i as usize] = v);
                    Ok(data::exactly(&y.borrow().to_vec()?, n, |k| want[k]))
                },
            );
        }
    }
    if bench.wants("take_rows") && n >= ROW {
        let rows = n / ROW;
        let places = indices(rows, rows);
        let i = &DeviceArray::from_slice(device, &places)?;
        let matrix = &DeviceArray::from_shape_slice(device, (rows, ROW), &data.x()[..rows * ROW])?;
        bench.case(
            case("take_rows", vec![rows, ROW], 8 * rows * ROW + 4 * rows),
            || matrix.take_axis(Axis(0), i),
            |got| {
                Ok(data::exactly(&got.to_vec()?, rows * ROW, |k| {
                    data.x()[places[k / ROW] as usize * ROW + k % ROW]
                }))
            },
        );
    }
    if bench.wants("scatter_add") || bench.wants("scatter_add_exact") {
        let bins = (n / EACH).max(1);
        let places = indices(n, bins);
        let i = &DeviceArray::from_slice(device, &places)?;
        let add = |exact: bool| -> clan::Result<DeviceArray<f32>> {
            let mut sums = DeviceArray::zeros(device, bins)?;
            let scatter = sums.scatter(i);
            let scatter = if exact { scatter.reproducible() } else { scatter };
            scatter.add(x)?;
            Ok(sums)
        };
        let near = |got: DeviceArray<f32>| -> Answer {
            let (mut want, mut size) = (vec![0f64; bins], vec![0f64; bins]);
            for (&i, &v) in places.iter().zip(data.x()) {
                want[i as usize] += f64::from(v);
                size[i as usize] += f64::from(v.abs());
            }
            let each = |k: usize| (want[k], size[k] * data::EPSILON * 16.0);
            Ok(data::each(&got.to_vec()?, bins, each))
        };
        bench.case(case("scatter_add", vec![n], 8 * n + 4 * bins), || add(false), near);
        bench.case(case("scatter_add_exact", vec![n], 8 * n + 4 * bins), || add(true), near);
    }
    Ok(())
}

fn together(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, side) = (bench.data, bench.data.side());
    let square = data.square();
    let matrix = &DeviceArray::from_shape_slice(bench.device, (side, side), square)?;
    let case = |op, rows: usize, columns: usize| Case {
        op,
        dtype: DType::F32,
        shape: vec![rows, columns],
        bytes: 2 * 4 * rows * columns,
        flops: 0,
    };
    let half = &matrix.slice(clan::ndarray::s![..side / 2, ..])?;
    bench.case(
        case("concatenate", side / 2, 2 * side),
        || DeviceArray::concatenate(Axis(1), [half, half]),
        |got| {
            Ok(data::exactly(&got.to_vec()?, side / 2 * 2 * side, |k| {
                square[k / (2 * side) * side + k % side]
            }))
        },
    );
    const WIDTH: usize = 3;
    let wide = side + 2 * WIDTH;
    bench.case(
        case("pad", wide, wide),
        || matrix.pad(&[(WIDTH, WIDTH); 2], Pad::Edge),
        |got| {
            Ok(data::exactly(&got.to_vec()?, wide * wide, |k| {
                let at = |k: usize| k.saturating_sub(WIDTH).min(side - 1);
                square[at(k / wide) * side + at(k % wide)]
            }))
        },
    );
    bench.case(
        case("roll", side, side),
        || matrix.roll(Axis(1), 5),
        |got| {
            Ok(data::exactly(&got.to_vec()?, side * side, |k| {
                square[k / side * side + (k % side + side - 5 % side) % side]
            }))
        },
    );
    bench.case(
        case("flip", side, side),
        || matrix.flip(&[Axis(0), Axis(1)])?.to_contiguous(),
        |got| Ok(data::exactly(&got.to_vec()?, side * side, |k| square[side * side - 1 - k])),
    );
    let quarter = side / 2;
    let part = &matrix.slice(clan::ndarray::s![..quarter, ..quarter])?;
    bench.case(
        case("tile", 2 * quarter, 2 * quarter),
        || part.tile(&[2, 2]),
        |got| {
            let n = 2 * quarter;
            Ok(data::exactly(&got.to_vec()?, n * n, |k| {
                square[k / n % quarter.max(1) * side + k % n % quarter.max(1)]
            }))
        },
    );
    Ok(())
}
