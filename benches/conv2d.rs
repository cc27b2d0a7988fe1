//! Filters of images on every device.
//!
//! `cargo bench --bench conv2d`

mod common;

use clan::{Border, Device};
use common::{check, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};

/// Rows and columns of the image.
const SIDE: usize = 2048;

fn filters(c: &mut Criterion) {
    let xs = values(SIDE * SIDE, 1);
    for size in [3, 5, 9] {
        let weights = values(size * size, 2);
        let mut filters = group(c, &format!("conv2d/{size}×{size}"), 2 * 4 * SIDE * SIDE);
        for device in Device::all() {
            let image = common::array(&device, &[SIDE, SIDE], &xs);
            let filter = common::array(&device, &[size, size], &weights);
            let run = || image.conv2d(&filter, Border::Nearest);
            // Every element of some rows, the first and the last among them.
            let got = run().unwrap().to_vec().unwrap();
            for row in [0, 1, SIDE / 3, SIDE - 1] {
                check(&got[row * SIDE..(row + 1) * SIDE], SIDE, size as f64, |column| {
                    naive(&xs, &weights, size, row, column)
                });
            }
            time(&mut filters, &device, run);
        }
        filters.finish();
    }
}

/// One element in `f64`, and the sum of the magnitudes of its products.
fn naive(xs: &[f32], weights: &[f32], size: usize, row: usize, column: usize) -> (f64, f64) {
    // Positions outside take the nearest inside.
    let inside = |at: usize, k: usize| (at + k).saturating_sub(size / 2).min(SIDE - 1);
    weights.iter().enumerate().fold((0.0, 0.0), |(sum, magnitude), (k, &w)| {
        let x = xs[inside(row, k / size) * SIDE + inside(column, k % size)];
        let product = f64::from(x) * f64::from(w);
        (sum + product, magnitude + product.abs())
    })
}

criterion_group!(benches, filters);
criterion_main!(benches);
