//! Random numbers on every device.
//!
//! `cargo bench --bench random`

mod common;

use clan::verify::oracle::Stream;
use clan::{Device, Random};
use common::{N, group, time};
use criterion::{Criterion, criterion_group, criterion_main};

const STREAM: Stream = Stream { seed: 42, stream: 0 };

fn draws(c: &mut Criterion) {
    let random = Random::new(STREAM.seed);
    for name in ["uniform", "standard_normal"] {
        let mut draws = group(c, &format!("random/{name}"), 4 * N);
        for device in Device::all() {
            let draw = || match name {
                "uniform" => random.clone().uniform::<f32>(&device, N),
                _ => random.clone().standard_normal::<f32>(&device, N),
            };
            let got = draw().unwrap().to_vec().unwrap();
            for (i, &v) in got.iter().enumerate().step_by(1009) {
                let want = match name {
                    "uniform" => (STREAM.word(i as u64, false, 0) >> 8) as f64 / f64::from(1 << 24),
                    _ => STREAM.normal(i as u64, false),
                };
                let slack = 4.0 * f64::from(f32::EPSILON) * want.abs();
                assert!((f64::from(v) - want).abs() <= slack, "element {i} is {v}, not {want}");
            }
            time(&mut draws, &device, draw);
        }
        draws.finish();
    }
}

criterion_group!(benches, draws);
criterion_main!(benches);
