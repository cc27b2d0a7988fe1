//! What a mask keeps on every device, and by a plain loop.
//!
//! `cargo bench --bench select`

mod common;

use clan::Device;
use common::{N, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};

fn plain(xs: &[f32]) -> Vec<f32> {
    xs.iter().copied().filter(|&x| x > 0.0).collect()
}

fn masks(c: &mut Criterion) {
    for (name, n) in [("long", N), ("short", 2000)] {
        let xs = values(n, 1);
        let want = plain(&xs);
        let mut kept = group(c, &format!("select/{name}"), 4 * (n + want.len()));
        kept.bench_function("plain loop", |b| b.iter(|| plain(&xs)));
        for device in Device::all() {
            let x = common::array(&device, &[n], &xs);
            let keep = || x.masked_select(x.expr().gt(0.0f32));
            assert!(keep().unwrap().to_vec().unwrap() == want, "{device}");
            time(&mut kept, &device, keep);
        }
        kept.finish();
    }
}

criterion_group!(benches, masks);
criterion_main!(benches);
