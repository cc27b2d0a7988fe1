//! Reductions on every device, and beside ndarray on the host.
//!
//! `cargo bench --bench reduce`

mod common;

use clan::Device;
use clan::ndarray::{Array1, Axis};
use common::{N, SIDE, check, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// The sum and the sum of the magnitudes, in `f64`.
fn sum<'a>(values: impl IntoIterator<Item = &'a f32>) -> (f64, f64) {
    values.into_iter().fold((0.0, 0.0), |(s, m), &v| (s + f64::from(v), m + f64::from(v.abs())))
}

fn whole(c: &mut Criterion) {
    let xs = values(N, 1);
    let mut sums = group(c, "reduce/sum", 4 * N);
    for device in Device::all() {
        let x = common::array(&device, &[N], &xs);
        check(&x.sum().unwrap().to_vec().unwrap(), 1, 4.0, |_| sum(&xs));
        time(&mut sums, &device, || x.sum());
    }
    let nx = Array1::from(xs.clone());
    sums.bench_function("ndarray", |b| b.iter(|| black_box(&nx).sum()));
    sums.finish();

    let mut argmax = group(c, "reduce/argmax", 4 * N);
    let first = (0..N).rev().max_by(|&a, &b| xs[a].total_cmp(&xs[b])).unwrap();
    for device in Device::all() {
        let x = common::array(&device, &[N], &xs);
        assert_eq!(x.argmax().unwrap().item().unwrap(), first as u64);
        time(&mut argmax, &device, || x.argmax());
    }
    argmax.finish();

    let mut var = group(c, "reduce/var", 4 * N);
    let mean = sum(&xs).0 / N as f64;
    let variance = xs.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / N as f64;
    for device in Device::all() {
        let x = common::array(&device, &[N], &xs);
        check(&x.var(0.0).unwrap().to_vec().unwrap(), 1, 8.0, |_| (variance, variance));
        time(&mut var, &device, || x.var(0.0));
    }
    var.finish();
}

fn axes(c: &mut Criterion) {
    let xs = values(SIDE * SIDE, 1);
    for axis in [0, 1] {
        let mut sums = group(c, &format!("reduce/sum axis {axis}"), 4 * SIDE * (SIDE + 1));
        for device in Device::all() {
            let x = common::array(&device, &[SIDE, SIDE], &xs);
            let got = x.sum_axis(Axis(axis)).unwrap().to_vec().unwrap();
            check(&got, SIDE, 4.0, |k| match axis {
                0 => sum(xs[k..].iter().step_by(SIDE)),
                _ => sum(&xs[k * SIDE..(k + 1) * SIDE]),
            });
            time(&mut sums, &device, || x.sum_axis(Axis(axis)));
        }
        sums.finish();
    }
}

/// Arrays that fit into a cache, where what counts is what a call costs.
fn small(c: &mut Criterion) {
    let host = Device::host();
    for n in [16, 256, 4096] {
        let xs = values(n, 1);
        let x = common::array(&host, &[n], &xs);
        check(&x.sum().unwrap().to_vec().unwrap(), 1, 4.0, |_| sum(&xs));
        let nx = Array1::from(xs);
        let mut small = group(c, &format!("reduce/small sum {n}"), 4 * n);
        small.bench_function("clan", |b| b.iter(|| black_box(&x).sum().unwrap().item().unwrap()));
        small.bench_function("ndarray", |b| b.iter(|| black_box(&nx).sum()));
        small.finish();
    }
}

criterion_group!(benches, whole, axes, small);
criterion_main!(benches);
