//! Sorts, searches and merges on every device, and by the standard library.
//!
//! `cargo bench --bench sort`

mod common;

use clan::ndarray::Axis;
use clan::{Device, DeviceArray, Side};
use common::{N, group, time, values};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn in_order(n: usize, seed: u64) -> Vec<f32> {
    let mut xs = values(n, seed);
    xs.sort_unstable_by(f32::total_cmp);
    xs
}

fn sorts(c: &mut Criterion) {
    for (name, n) in [("long", N), ("short", 2000)] {
        let (xs, want) = (values(n, 1), in_order(n, 1));
        let mut sorts = group(c, &format!("sort/{name}"), 8 * n);
        let plain = |mut xs: Vec<f32>| {
            xs.sort_unstable_by(f32::total_cmp);
            xs
        };
        sorts
            .bench_function("std", |b| b.iter_batched(|| xs.clone(), plain, BatchSize::LargeInput));
        for device in Device::all() {
            let x = common::array(&device, &[n], &xs);
            assert!(x.sort(Axis(0)).unwrap().to_vec().unwrap() == want, "{device}");
            time(&mut sorts, &device, || x.sort(Axis(0)));
        }
        sorts.finish();
    }
}

fn searches(c: &mut Criterion) {
    for (name, n) in [("long", N), ("short", 2000)] {
        let (keys, wanted) = (in_order(n, 1), values(n / 4, 2));
        let mut searches = group(c, &format!("searchsorted/{name}"), 3 * n);
        let place = |v: &f32| keys.partition_point(|k| k < v) as u64;
        let plain = || -> Vec<u64> { wanted.iter().map(place).collect() };
        searches.bench_function("std", |b| b.iter(plain));
        let want = plain();
        for device in Device::all() {
            let x = common::array(&device, &[n], &keys);
            let v = common::array(&device, &[wanted.len()], &wanted);
            let search = || -> clan::Result<DeviceArray<u64>> { x.searchsorted(&v, Side::Left) };
            assert!(search().unwrap().to_vec().unwrap() == want, "{device}");
            time(&mut searches, &device, search);
        }
        searches.finish();
    }
}

/// Two sorted vectors, one element at a time.
fn merged(a: &[f32], b: &[f32]) -> Vec<f32> {
    let (mut out, mut i, mut j) = (Vec::with_capacity(a.len() + b.len()), 0, 0);
    while i < a.len() && j < b.len() {
        let second = b[j] < a[i];
        out.push(if second { b[j] } else { a[i] });
        i += usize::from(!second);
        j += usize::from(second);
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    out
}

fn merges(c: &mut Criterion) {
    for (name, n) in [("long", N), ("short", 2000)] {
        let (a, b) = (in_order(n / 2, 1), in_order(n - n / 2, 2));
        let mut merges = group(c, &format!("merge/{name}"), 8 * n);
        merges.bench_function("plain loop", |bench| bench.iter(|| merged(&a, &b)));
        let want = merged(&a, &b);
        for device in Device::all() {
            let x = common::array(&device, &[a.len()], &a);
            let y = common::array(&device, &[b.len()], &b);
            assert!(x.merge(&y).unwrap().to_vec().unwrap() == want, "{device}");
            time(&mut merges, &device, || x.merge(&y));
        }
        merges.finish();
    }
}

criterion_group!(benches, sorts, searches, merges);
criterion_main!(benches);
