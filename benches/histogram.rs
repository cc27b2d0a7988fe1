//! Histograms on every device, and by a plain loop.
//!
//! `cargo bench --bench histogram`

mod common;

use clan::{Device, DeviceArray};
use common::{N, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};

const BINS: usize = 256;

/// The bin of a value in [−1, 1): a multiplication by a power of two, which is exact.
fn place(v: f32) -> usize {
    ((v + 1.0) * 128.0) as usize
}

fn plain(xs: &[f32]) -> Vec<u64> {
    let mut counts = vec![0; BINS];
    xs.iter().for_each(|&v| counts[place(v)] += 1);
    counts
}

fn histograms(c: &mut Criterion) {
    for (name, xs) in
        [("spread", values(N, 1)), ("equal", vec![0.3; N]), ("short", values(2000, 1))]
    {
        let mut counts = group(c, &format!("histogram/{name}"), 4 * xs.len());
        counts.bench_function("plain loop", |b| b.iter(|| plain(&xs)));
        let want = plain(&xs);
        for device in Device::all() {
            let x = common::array(&device, &[xs.len()], &xs);
            let count = || -> clan::Result<DeviceArray<u64>> { x.histogram(BINS, -1.0..=1.0) };
            assert_eq!(count().unwrap().to_vec().unwrap(), want);
            time(&mut counts, &device, count);
        }
        counts.finish();
    }
}

criterion_group!(benches, histograms);
criterion_main!(benches);
