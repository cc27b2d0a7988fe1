//! Element-wise expressions on every device, and beside ndarray on the host.
//!
//! `cargo bench --bench map`

mod common;

use clan::ndarray::Array1;
use clan::{Device, DeviceArray};
use common::{N, check, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn devices(c: &mut Criterion) {
    let (xs, ys) = (values(N, 1), values(N, 2));
    // Two arrays are read and one is written.
    let mut axpy = group(c, "map/a*x+y", 3 * 4 * N);
    for device in Device::all() {
        let (x, y) = (common::array(&device, &[N], &xs), common::array(&device, &[N], &ys));
        let run = || (&x * 1.5 + &y).eval();
        check(&run().unwrap().to_vec().unwrap(), N, 1.0, |i| {
            let (x, y) = (1.5 * f64::from(xs[i]), f64::from(ys[i]));
            (x + y, x.abs() + y.abs())
        });
        time(&mut axpy, &device, run);
    }
    axpy.finish();

    let mut root = group(c, "map/sqrt(abs(2x+y))", 3 * 4 * N);
    for device in Device::all() {
        let (x, y) = (common::array(&device, &[N], &xs), common::array(&device, &[N], &ys));
        let run = || four_nodes(&x, &y);
        check(&run().unwrap().to_vec().unwrap(), N, 4.0, |i| {
            let root = f64::from((2.0 * xs[i] + ys[i]).abs()).sqrt();
            (root, root)
        });
        time(&mut root, &device, run);
    }
    let (x, y) = (Array1::from(xs), Array1::from(ys));
    root.bench_function("ndarray", |b| b.iter(|| ndarray_four_nodes(&x, &y)));
    root.finish();
}

fn four_nodes(x: &DeviceArray<f32>, y: &DeviceArray<f32>) -> clan::Result<DeviceArray<f32>> {
    (x * 2.0 + y).abs().sqrt().eval()
}

fn ndarray_four_nodes(x: &Array1<f32>, y: &Array1<f32>) -> Array1<f32> {
    (x * 2.0 + y).mapv_into(f32::abs).mapv_into(f32::sqrt)
}

/// Arrays that fit into a cache, where what counts is what a call costs.
fn small(c: &mut Criterion) {
    let host = Device::host();
    for n in [16, 256, 4096] {
        let (xs, ys) = (values(n, 1), values(n, 2));
        let (x, y) = (common::array(&host, &[n], &xs), common::array(&host, &[n], &ys));
        let (nx, ny) = (Array1::from(xs), Array1::from(ys));
        assert_eq!(
            four_nodes(&x, &y).unwrap().to_vec().unwrap(),
            ndarray_four_nodes(&nx, &ny).to_vec()
        );
        let mut small = group(c, &format!("map/small {n}"), 3 * 4 * n);
        small.bench_function("clan add", |b| b.iter(|| (black_box(&x) + &y).eval().unwrap()));
        small.bench_function("ndarray add", |b| b.iter(|| black_box(&nx) + &ny));
        small.bench_function("clan four nodes", |b| {
            b.iter(|| four_nodes(black_box(&x), &y).unwrap());
        });
        small.bench_function("ndarray four nodes", |b| {
            b.iter(|| ndarray_four_nodes(black_box(&nx), &ny));
        });
        small.finish();
    }
}

criterion_group!(benches, devices, small);
criterion_main!(benches);
