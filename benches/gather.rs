//! Arrays by arrays of indices on every device.
//!
//! `cargo bench --bench gather`

mod common;

use clan::{Device, DeviceArray};
use common::{N, time, value, values};
use criterion::{Criterion, criterion_group, criterion_main};

/// Places that values are added to.
const BINS: usize = N / 256;

fn indices(below: usize) -> Vec<u32> {
    (0..N).map(|k| ((f64::from(value(k, 9)) + 1.0) / 2.0 * below as f64) as u32).collect()
}

fn take(c: &mut Criterion) {
    let (data, places) = (values(N, 1), indices(N));
    let mut group = common::group(c, "gather/take", 12 * N);
    for device in Device::all() {
        let x = common::array(&device, &[N], &data);
        let i = DeviceArray::from_slice(&device, &places).unwrap();
        let got = x.take(&i).unwrap().to_vec().unwrap();
        assert!(got.iter().zip(&places).all(|(got, &i)| *got == data[i as usize]));
        time(&mut group, &device, || x.take(&i));
    }
    group.finish();
}

fn scatter_add(c: &mut Criterion) {
    let (data, places) = (values(N, 1), indices(BINS));
    let mut want = vec![(0f64, 0f64); BINS];
    for (&i, &v) in places.iter().zip(&data) {
        let (sum, size) = &mut want[i as usize];
        *sum += f64::from(v);
        *size += f64::from(v.abs());
    }
    for exact in [false, true] {
        let name = if exact { "gather/scatter_add_exact" } else { "gather/scatter_add" };
        let mut group = common::group(c, name, 8 * N);
        for device in Device::all() {
            let x = common::array(&device, &[N], &data);
            let i = DeviceArray::from_slice(&device, &places).unwrap();
            let add = || {
                let mut sums = DeviceArray::<f32>::zeros(&device, BINS)?;
                let scatter = sums.scatter(&i);
                let scatter = if exact { scatter.reproducible() } else { scatter };
                scatter.add(&x)?;
                Ok(sums)
            };
            common::check(&add().unwrap().to_vec().unwrap(), BINS, 16.0, |k| want[k]);
            time(&mut group, &device, add);
        }
        group.finish();
    }
}

criterion_group!(benches, take, scatter_add);
criterion_main!(benches);
