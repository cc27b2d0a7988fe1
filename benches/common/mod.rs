//! What all benches share: the devices, inputs, and a clock that stops when the device is idle.

#![allow(dead_code)]

use clan::{Device, DeviceArray, Result};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::time::{Duration, Instant};

/// Elements of the large arrays: beyond every cache.
pub const N: usize = 1 << 24;
/// Rows and columns of the large matrices.
pub const SIDE: usize = 1 << 12;

/// A number in [−1, 1) that looks random, with 24 bits, so that it is exact.
pub fn value(position: usize, seed: u64) -> f32 {
    let mut z = (position as u64 ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^= z >> 27;
    ((z >> 40) as f32) / (1 << 23) as f32 - 1.0
}

pub fn values(n: usize, seed: u64) -> Vec<f32> {
    (0..n).map(|i| value(i, seed)).collect()
}

pub fn array(device: &Device, shape: &[usize], data: &[f32]) -> DeviceArray<f32> {
    DeviceArray::from_shape_slice(device, shape, data).unwrap()
}

/// A group of benches of one operation, each of which moves `bytes`.
pub fn group<'a>(c: &'a mut Criterion, name: &str, bytes: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    group
}

/// Times `run`, which may return before the device has finished.
pub fn time<R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    device: &Device,
    run: impl Fn() -> Result<R>,
) {
    let id = BenchmarkId::from_parameter(format!("{}: {device}", device.index()));
    group.bench_function(id, |b| {
        b.iter_custom(|runs| {
            device.wait().unwrap();
            let start = Instant::now();
            for _ in 0..runs {
                run().unwrap();
            }
            device.wait().unwrap();
            start.elapsed()
        });
    });
}

/// Compares with what `want` gives, relative to a magnitude that it gives too.
pub fn check(got: &[f32], n: usize, ulps: f64, want: impl Fn(usize) -> (f64, f64)) {
    assert_eq!(got.len(), n);
    for (i, &g) in got.iter().enumerate() {
        let (want, magnitude) = want(i);
        let slack = ulps * f64::from(f32::EPSILON) * magnitude;
        assert!((f64::from(g) - want).abs() <= slack, "element {i} is {g}, not {want} ± {slack:e}");
    }
}
