//! Factorisations. Answers are checked by rows of `A·x`, from the factors and from the matrix, both
//! computed plainly in `f64`.

use super::data::{EPSILON, value};
use super::{Answer, Bench, Case, Family};
use crate::output::{self, Failure};
use clan::{DType, DeviceArray, Real};
use rayon::prelude::*;

pub const FAMILY: Family = Family { name: "linalg", ops: &["cholesky", "lu", "qr"], run };

/// Rows of the matrices, and of those of `qr`.
const LARGE: [usize; 2] = [8192, 4096];
const SMALL: [usize; 2] = [1024, 512];

/// The greatest residual, in units of n · ε · ‖A‖ · ‖x‖, that counts as right.
const RESIDUAL: f64 = 4.0;

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let most = if output::is_large(bench.device) { LARGE } else { SMALL };
    let [n, side] = most.map(|n| n.min(bench.data.side()));
    let random: Vec<f32> = bench.data.x()[..n * n].to_vec();
    // Symmetric, and its diagonal outweighs the rows: positive definite.
    let definite: Vec<f32> = if bench.wants("cholesky") {
        let element = |at: usize| {
            let (i, j) = (at / n, at % n);
            let diagonal = if i == j { n as f32 } else { 0.0 };
            (random[at] + random[j * n + i]) / 2.0 + diagonal
        };
        (0..n * n).into_par_iter().map(element).collect()
    } else {
        Vec::new()
    };
    each::<f32>(bench, [n, side], &random, &definite, EPSILON, |v| v)?;
    if bench.device.supports(DType::F64) {
        each::<f64>(bench, [n, side], &random, &definite, f64::EPSILON, f64::from)?;
    }
    Ok(())
}

/// A matrix on the host, row-major.
struct Plain {
    columns: usize,
    values: Vec<f64>,
}

impl Plain {
    fn of<T: Real + Into<f64>>(x: &DeviceArray<T>) -> clan::Result<Plain> {
        let columns = x.shape().last().copied().unwrap_or(1);
        Ok(Plain { columns, values: x.to_vec()?.into_par_iter().map(Into::into).collect() })
    }

    fn times(&self, x: &[f64]) -> Vec<f64> {
        let rows = self.values.par_chunks(self.columns);
        rows.map(|r| r.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }

    fn transposed_times(&self, x: &[f64]) -> Vec<f64> {
        let part = |rows: &[f64], x: &[f64]| {
            let mut sums = vec![0.0; self.columns];
            for (row, x) in rows.chunks(self.columns).zip(x) {
                sums.iter_mut().zip(row).for_each(|(s, a)| *s += a * x);
            }
            sums
        };
        let rows = self.values.par_chunks(self.columns * 256).zip(x.par_chunks(256));
        rows.map(|(rows, x)| part(rows, x)).reduce(
            || vec![0.0; self.columns],
            |a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect(),
        )
    }

    /// Compares with a vector that should be `self · x`, whose elements are at most 1.
    fn near(&self, x: &[f64], got: &[f64], epsilon: f64) -> Result<(), String> {
        let norm = self.values.par_chunks(self.columns);
        let norm = norm.map(|r| r.iter().map(|v| v.abs()).sum::<f64>()).reduce(|| 0.0, f64::max);
        let bound = RESIDUAL * self.columns as f64 * epsilon * norm;
        for (i, (got, want)) in got.iter().zip(self.times(x)).enumerate() {
            let off = (got - want).abs();
            if off.is_nan() || off > bound {
                return Err(format!("element {i} of A·x is {got}, not {want} (± {bound:.1e})"));
            }
        }
        Ok(())
    }
}

fn each<T: Real + Into<f64>>(
    bench: &mut Bench<'_>,
    [n, side]: [usize; 2],
    random: &[f32],
    definite: &[f32],
    epsilon: f64,
    from: impl Fn(f32) -> T + Sync + Copy,
) -> Result<(), Failure> {
    let device = bench.device;
    let size = T::DTYPE.size();
    let array = |values: &[f32], n: usize| -> clan::Result<DeviceArray<T>> {
        let values: Vec<T> = values[..n * n].par_iter().map(|&v| from(v)).collect();
        DeviceArray::from_shape_slice(device, (n, n), &values)
    };
    let plain = |values: &[f32], n: usize| Plain {
        columns: n,
        values: values[..n * n].par_iter().map(|&v| v.into()).collect(),
    };
    let vector = |n: usize| -> Vec<f64> { (0..n).map(|i| value(i, 5 << 40).into()).collect() };
    let case = |op, n: usize, bytes, flops| Case {
        op,
        dtype: T::DTYPE,
        shape: vec![n, n],
        bytes: bytes * size * n * n,
        flops,
    };
    if bench.wants("cholesky") {
        let a = &array(definite, n)?;
        bench.case(
            case("cholesky", n, 2, n * n * n / 3),
            || a.cholesky(),
            |l| -> Answer {
                let (l, x) = (Plain::of(&l)?, vector(n));
                let got = l.times(&l.transposed_times(&x));
                Ok(plain(definite, n).near(&x, &got, epsilon))
            },
        );
    }
    if bench.wants("lu") {
        let a = &array(random, n)?;
        bench.case(
            case("lu", n, 2, 2 * n * n * n / 3),
            || a.lu(),
            |lu| -> Answer {
                let (l, u) = (Plain::of(&lu.l()?)?, Plain::of(&lu.u()?)?);
                let order = lu.permutation()?.to_vec()?;
                let x = vector(n);
                let mut got = vec![f64::NAN; n];
                for (&value, &row) in l.times(&u.times(&x)).iter().zip(&order) {
                    got[row as usize] = value;
                }
                Ok(plain(random, n).near(&x, &got, epsilon))
            },
        );
    }
    if bench.wants("qr") {
        let a = &array(random, side)?;
        bench.case(
            // R, and Q from the reflections.
            case("qr", side, 3, 8 * side * side * side / 3),
            || a.qr(),
            |(q, r)| -> Answer {
                let (q, r, x) = (Plain::of(&q)?, Plain::of(&r)?, vector(side));
                let got = q.times(&r.times(&x));
                Ok(plain(random, side).near(&x, &got, epsilon))
            },
        );
    }
    Ok(())
}
