//! Running sums on every device, and by a plain loop.
//!
//! `cargo bench --bench scan`

mod common;

use clan::ndarray::Axis;
use clan::{Device, DeviceArray};
use common::{N, group, time, value};
use criterion::{Criterion, criterion_group, criterion_main};

/// Small integers, whose sums are exact in any order.
fn small(n: usize) -> Vec<i32> {
    (0..n).map(|i| (value(i, 1) * 100.0) as i32).collect()
}

fn plain(xs: &[i32]) -> Vec<i64> {
    let mut sum = 0;
    let running = xs.iter().map(|&x| {
        sum += i64::from(x);
        sum
    });
    running.collect()
}

fn sums(c: &mut Criterion) {
    for (name, n) in [("long", N), ("short", 2000)] {
        let xs = small(n);
        let mut sums = group(c, &format!("scan/{name}"), 12 * n);
        sums.bench_function("plain loop", |b| b.iter(|| plain(&xs)));
        let want = plain(&xs);
        for device in Device::all() {
            let x = DeviceArray::from_slice(&device, &xs).unwrap();
            assert!(x.cumsum(Axis(0)).unwrap().to_vec().unwrap() == want, "{device}");
            time(&mut sums, &device, || x.cumsum(Axis(0)));
        }
        sums.finish();
    }
}

criterion_group!(benches, sums);
criterion_main!(benches);
