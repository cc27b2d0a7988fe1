//! Sparse matrices times vectors and dense matrices.

use super::data::{self, EPSILON, value};
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, DeviceArray, SparseMatrix};
use rayon::prelude::*;

pub const FAMILY: Family =
    Family { name: "sparse", ops: &["laplacian", "uneven_rows", "sparse_dense"], run };

/// Columns of the dense matrix.
const WIDTH: usize = 32;

/// Compressed rows.
struct Rows {
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    /// Rows of known lengths; `element` gives column and value of a row's element.
    fn new(
        rows: usize,
        length: impl Fn(usize) -> usize + Sync,
        element: impl Fn(usize, usize) -> (u32, f32) + Sync,
    ) -> Rows {
        let mut starts = vec![0; rows + 1];
        for r in 0..rows {
            starts[r + 1] = starts[r] + length(r);
        }
        let all = (0..rows).into_par_iter().flat_map_iter(|r| {
            let element = &element;
            (0..length(r)).map(move |i| element(r, i))
        });
        let (columns, values) = all.unzip();
        Rows { starts, columns, values }
    }

    fn on(&self, bench: &Bench<'_>) -> clan::Result<SparseMatrix<f32>> {
        let n = self.starts.len() - 1;
        SparseMatrix::from_csr(bench.device, (n, n), &self.starts, &self.columns, &self.values)
    }

    /// Bytes of the matrix: positions of rows have four.
    fn bytes(&self) -> usize {
        8 * self.values.len() + 4 * self.starts.len()
    }

    /// An element of the product in `f64`, and the rounding errors that it may have.
    fn times(&self, r: usize, x: impl Fn(usize) -> f32) -> (f64, f64) {
        let (mut sum, mut magnitude) = (0f64, 0f64);
        for k in self.starts[r]..self.starts[r + 1] {
            let product = f64::from(self.values[k]) * f64::from(x(self.columns[k] as usize));
            sum += product;
            magnitude += product.abs();
        }
        let terms = (self.starts[r + 1] - self.starts[r]) as f64;
        (sum, terms / 2.0 * EPSILON * magnitude)
    }
}

/// The five-point Laplacian of a square of `side` rows.
fn laplacian(side: usize) -> Rows {
    let n = side * side;
    // Below, left, itself, right, above: those that there are.
    let places = move |r: usize| {
        let (y, x) = (r / side, r % side);
        [
            (y > 0, r.wrapping_sub(side), -1.0),
            (x > 0, r.wrapping_sub(1), -1.0),
            (true, r, 4.0),
            (x + 1 < side, r + 1, -1.0),
            (y + 1 < side, r + side, -1.0),
        ]
    };
    let there = move |r: usize| places(r).into_iter().filter(|p| p.0);
    Rows::new(
        n,
        move |r| there(r).count(),
        move |r, i| there(r).nth(i).map_or((0, 0.0), |(_, c, v)| (c as u32, v)),
    )
}

/// Lengths by a power law, from 1 to thousands, and a row that is full.
fn uneven(n: usize) -> Rows {
    let length = move |r: usize| match r {
        0 => n,
        _ => {
            let u = f64::from(value(r, 7 << 40)) * 0.5 + 0.5;
            ((3.0 / (u + 1e-4).powf(0.8)) as usize).clamp(1, n)
        }
    };
    Rows::new(n, length, move |r, i| {
        // One in each of as many parts of the row, anywhere in it.
        let (part, of) = (n as u64, length(r) as u64);
        let (from, to) = (i as u64 * part / of, (i as u64 + 1) * part / of);
        let u = f64::from(value(r.wrapping_mul(0x9e37) + i, 8 << 40)) * 0.5 + 0.5;
        let column = from + ((to - from) as f64 * u) as u64;
        (column as u32, value(r + i, 9 << 40))
    })
}

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let side = (bench.data.n() / 16).isqrt().max(2);
    if bench.wants("laplacian") {
        vector(bench, "laplacian", &laplacian(side))?;
    }
    if bench.wants("uneven_rows") {
        vector(bench, "uneven_rows", &uneven(side * side))?;
    }
    if bench.wants("sparse_dense") {
        dense(bench, &laplacian(side / 2))?;
    }
    Ok(())
}

fn vector(bench: &mut Bench<'_>, op: &'static str, rows: &Rows) -> Result<(), Failure> {
    let n = rows.starts.len() - 1;
    let data = bench.data.x();
    let x = &DeviceArray::from_slice(bench.device, &data[..n])?;
    let a = &rows.on(bench)?;
    bench.case(
        Case {
            op,
            dtype: DType::F32,
            shape: vec![n, n],
            bytes: rows.bytes() + 2 * 4 * n,
            flops: 2 * rows.values.len(),
        },
        || a.matmul(x),
        |got| Ok(data::each(&got.to_vec()?, n, |r| rows.times(r, |c| data[c]))),
    );
    let longest = rows.starts.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
    bench.remark(format!("{} elements, at most {longest} in a row", rows.values.len()));
    Ok(())
}

fn dense(bench: &mut Bench<'_>, rows: &Rows) -> Result<(), Failure> {
    let n = rows.starts.len() - 1;
    let data = bench.data.x();
    let data = &data[..(n * WIDTH).min(data.len())];
    let width = data.len() / n;
    let x = &DeviceArray::from_shape_slice(bench.device, (n, width), &data[..n * width])?;
    let a = &rows.on(bench)?;
    bench.case(
        Case {
            op: "sparse_dense",
            dtype: DType::F32,
            shape: vec![n, n, width],
            bytes: rows.bytes() + 2 * 4 * n * width,
            flops: 2 * rows.values.len() * width,
        },
        || a.matmul(x),
        |got| {
            let got = got.to_vec()?;
            Ok(data::each(&got, n * width, |at| {
                rows.times(at / width, |c| data[c * width + at % width])
            }))
        },
    );
    Ok(())
}
