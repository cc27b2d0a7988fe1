//! Matrix products.

use super::data::{self, EPSILON};
use super::{Answer, Bench, Case, Family};
use crate::output::{self, Failure};
use clan::half::bf16;
use clan::{DType, DeviceArray, Number};

pub const FAMILY: Family =
    Family { name: "matmul", ops: &["matmul", "matmul_batch", "matvec", "vecmat"], run };

/// Rows and columns of the large matrices: enough to fill a device, and a second or two on a CPU.
const LARGE: usize = 8192;
const SMALL: usize = 1024;
/// Rows and columns of the small matrices of a batch.
const TINY: usize = 64;

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, device) = (bench.data, bench.device);
    let most = if output::is_large(device) { LARGE } else { SMALL };
    let n = data.side().min(most);
    if bench.wants("matmul") {
        let (a, b) = (&data::normals(n * n, 1)[..], &data::normals(n * n, 2 << 40)[..]);
        square(bench, DType::F32, (a, b), n, EPSILON, |v| v, f64::from)?;
        if device.supports(DType::F64) {
            square(bench, DType::F64, (a, b), n, f64::EPSILON, f64::from, |v| v)?;
        }
        // Both operands are rounded before, and the result once.
        square(bench, DType::BF16, (a, b), n, EPSILON, bf16::from_f32, f64::from)?;
    }
    if bench.wants("matmul_batch") {
        let count = (data.n() / (TINY * TINY)).clamp(1, 10_000);
        let size = TINY * TINY;
        if data.n() >= size {
            let (a, b) = (data::normals(count * size, 1), data::normals(count * size, 2 << 40));
            let shape = (count, TINY, TINY);
            let x = &DeviceArray::from_shape_slice(device, shape, &a[..count * size])?;
            let y = &DeviceArray::from_shape_slice(device, shape, &b[..count * size])?;
            bench.case(
                Case {
                    op: "matmul_batch",
                    dtype: DType::F32,
                    shape: vec![count, TINY, TINY],
                    bytes: 3 * 4 * count * size,
                    flops: 2 * count * size * TINY,
                },
                || x.matmul(y),
                |got| {
                    Ok(data::each(&got.to_vec()?, count * size, |at| {
                        let (t, i, j) = (at / size, at / TINY % TINY, at % TINY);
                        let row = &a[t * size + i * TINY..][..TINY];
                        let column = b[t * size + j..].iter().step_by(TINY);
                        dot(row.iter().zip(column).map(|(&x, &y)| (x.into(), y.into())), EPSILON)
                    }))
                },
            );
        }
    }
    vectors(bench)
}

/// The exact sum of products, and how far one in another order may lie from it.
fn dot(pairs: impl Iterator<Item = (f64, f64)>, epsilon: f64) -> (f64, f64) {
    let (mut sum, mut magnitude, mut terms) = (0.0, 0.0, 2.0);
    for (x, y) in pairs {
        sum += x * y;
        magnitude += (x * y).abs();
        terms += 1.0;
    }
    (sum, terms * epsilon / 2.0 * magnitude)
}

fn square<T: Number>(
    bench: &mut Bench<'_>,
    dtype: DType,
    (a, b): (&[f32], &[f32]),
    n: usize,
    epsilon: f64,
    from: impl Fn(f32) -> T,
    to: impl Fn(T) -> f64 + Sync,
) -> Result<(), Failure> {
    let cast = |v: &[f32]| -> Vec<T> { v.iter().map(|&v| from(v)).collect() };
    let (a, b) = (cast(a), cast(b));
    let x = &DeviceArray::from_shape_slice(bench.device, (n, n), &a)?;
    let y = &DeviceArray::from_shape_slice(bench.device, (n, n), &b)?;
    bench.case(
        Case {
            op: "matmul",
            dtype,
            shape: vec![n, n],
            bytes: 3 * dtype.size() * n * n,
            flops: 2 * n * n * n,
        },
        || x.matmul(y),
        |got| -> Answer {
            // Some rows and columns; all of them would take longer than the measurement.
            let got = got.to_vec()?;
            let some: Vec<usize> = (0..n).step_by(n.div_ceil(48)).chain([n - 1]).collect();
            for &i in &some {
                for &j in &some {
                    let pairs = (0..n).map(|l| (to(a[i * n + l]), to(b[l * n + j])));
                    let (want, mut slack) = dot(pairs, epsilon);
                    if dtype == DType::BF16 {
                        slack += want.abs() / 256.0;
                    }
                    if let Err(e) = data::close(to(got[i * n + j]), want, slack) {
                        return Ok(Err(format!("element ({i}, {j}): {e}")));
                    }
                }
            }
            Ok(Ok(()))
        },
    );
    Ok(())
}

fn vectors(bench: &mut Bench<'_>) -> Result<(), Failure> {
    if !bench.wants("matvec") && !bench.wants("vecmat") {
        return Ok(());
    }
    let (data, side) = (bench.data, bench.data.side());
    let (square, v) = (data.square(), &data.y()[..side]);
    let matrix = &DeviceArray::from_shape_slice(bench.device, (side, side), square)?;
    let vector = &DeviceArray::from_slice(bench.device, v)?;
    let case = |op| Case {
        op,
        dtype: DType::F32,
        shape: vec![side, side],
        bytes: 4 * side * (side + 2),
        flops: 2 * side * side,
    };
    bench.case(
        case("matvec"),
        || matrix.matmul(vector),
        |got| {
            Ok(data::each(&got.to_vec()?, side, |i| {
                let row = square[i * side..][..side].iter();
                dot(row.zip(v).map(|(&x, &y)| (x.into(), y.into())), EPSILON)
            }))
        },
    );
    bench.case(
        case("vecmat"),
        || vector.matmul(matrix),
        |got| {
            Ok(data::each(&got.to_vec()?, side, |j| {
                let column = square[j..].iter().step_by(side);
                dot(v.iter().zip(column).map(|(&x, &y)| (x.into(), y.into())), EPSILON)
            }))
        },
    );
    Ok(())
}
