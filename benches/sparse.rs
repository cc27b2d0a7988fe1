//! Sparse matrices on every device.
//!
//! `cargo bench --bench sparse`

mod common;

use clan::{Device, SparseMatrix};
use common::{check, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};

/// Rows and columns of the square whose points are the rows of the matrix.
const SIDE: usize = 1024;

/// The five-point Laplacian times a vector.
fn laplacian(c: &mut Criterion) {
    let n = SIDE * SIDE;
    let (mut starts, mut columns, mut elements) = (vec![0], Vec::new(), Vec::new());
    for r in 0..n {
        let (y, x) = (r / SIDE, r % SIDE);
        for (there, column, value) in [
            (y > 0, r.wrapping_sub(SIDE), -1.0f32),
            (x > 0, r.wrapping_sub(1), -1.0),
            (true, r, 4.0),
            (x + 1 < SIDE, r + 1, -1.0),
            (y + 1 < SIDE, r + SIDE, -1.0),
        ] {
            if there {
                columns.push(column as u32);
                elements.push(value);
            }
        }
        starts.push(columns.len());
    }
    let xs = values(n, 1);
    let bytes = 8 * elements.len() + 3 * 4 * n;
    let mut products = group(c, "sparse/laplacian", bytes);
    for device in Device::all() {
        let a = SparseMatrix::from_csr(&device, (n, n), &starts, &columns, &elements).unwrap();
        let x = common::array(&device, &[n], &xs);
        let run = || a.matmul(&x);
        check(&run().unwrap().to_vec().unwrap(), n, 4.0, |r| {
            let row = starts[r]..starts[r + 1];
            row.fold((0.0, 0.0), |(sum, magnitude), k| {
                let product = f64::from(elements[k]) * f64::from(xs[columns[k] as usize]);
                (sum + product, magnitude + product.abs())
            })
        });
        time(&mut products, &device, run);
    }
    products.finish();
}

criterion_group!(benches, laplacian);
criterion_main!(benches);
