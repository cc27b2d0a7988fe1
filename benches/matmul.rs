//! Matrix products on every device.
//!
//! `cargo bench --bench matmul`

mod common;

use clan::Device;
use common::{check, time, values};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

/// A group of benches of `flops` multiplications and additions.
fn group<'a>(c: &'a mut Criterion, name: &str, flops: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = common::group(c, name, 0);
    group.throughput(Throughput::Elements(flops as u64));
    group
}

/// Element (i, j) of the first products, and the sum of the magnitudes of its products.
fn naive(a: &[f32], b: &[f32], [k, n]: [usize; 2], i: usize, j: usize) -> (f64, f64) {
    (0..k).fold((0.0, 0.0), |(sum, magnitude), l| {
        let p = f64::from(a[i * k + l]) * f64::from(b[l * n + j]);
        (sum + p, magnitude + p.abs())
    })
}

/// (m, k, n): square, awkward, few rows, a long sum, a short one.
const SHAPES: &[[usize; 3]] = &[
    [256, 256, 256],
    [1024, 1024, 1024],
    [1021, 1021, 1021],
    [16, 2048, 2048],
    [64, 1 << 16, 64],
    [2048, 64, 2048],
];

fn matrices(c: &mut Criterion) {
    for &[m, k, n] in SHAPES {
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        let mut products = group(c, &format!("matmul/{m}×{k}×{n}"), 2 * m * k * n);
        for device in Device::all() {
            let (x, y) = (common::array(&device, &[m, k], &a), common::array(&device, &[k, n], &b));
            let run = || x.matmul(&y);
            let got = run().unwrap().to_vec().unwrap();
            // Whole rows, the first and the last among them.
            for i in [0, m / 3, m - 1] {
                check(&got[i * n..(i + 1) * n], n, k as f64, |j| naive(&a, &b, [k, n], i, j));
            }
            time(&mut products, &device, run);
        }
        products.finish();
    }
}

fn batches(c: &mut Criterion) {
    for (count, side) in [(1000, 64), (10_000, 16)] {
        let size = side * side;
        let (a, b) = (values(count * size, 3), values(count * size, 4));
        let flops = 2 * count * size * side;
        let mut products = group(c, &format!("matmul/{count} of {side}"), flops);
        for device in Device::all() {
            let shape = [count, side, side];
            let (x, y) = (common::array(&device, &shape, &a), common::array(&device, &shape, &b));
            let run = || x.matmul(&y);
            let got = run().unwrap().to_vec().unwrap();
            for t in [0, count / 2, count - 1] {
                let (a, b) = (&a[t * size..], &b[t * size..]);
                check(&got[t * size..(t + 1) * size], size, side as f64, |at| {
                    naive(a, b, [side, side], at / side, at % side)
                });
            }
            time(&mut products, &device, run);
        }
        products.finish();
    }
}

fn vectors(c: &mut Criterion) {
    let (rows, columns) = (2048, 4096);
    let (a, x, y) = (values(rows * columns, 5), values(columns, 6), values(rows, 7));
    let bytes = 4 * rows * columns;
    let mut right = common::group(c, "matvec/rows", bytes);
    for device in Device::all() {
        let m = common::array(&device, &[rows, columns], &a);
        let v = common::array(&device, &[columns], &x);
        let run = || m.matmul(&v);
        let got = run().unwrap().to_vec().unwrap();
        check(&got, rows, columns as f64, |i| naive(&a, &x, [columns, 1], i, 0));
        time(&mut right, &device, run);
    }
    right.finish();
    let mut left = common::group(c, "matvec/columns", bytes);
    for device in Device::all() {
        let m = common::array(&device, &[rows, columns], &a);
        let v = common::array(&device, &[rows], &y);
        let run = || v.matmul(&m);
        let got = run().unwrap().to_vec().unwrap();
        check(&got, columns, rows as f64, |j| naive(&y, &a, [rows, columns], 0, j));
        time(&mut left, &device, run);
    }
    left.finish();
}

criterion_group!(benches, matrices, batches, vectors);
criterion_main!(benches);
