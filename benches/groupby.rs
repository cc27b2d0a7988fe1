//! Sums by key on every device.
//!
//! `cargo bench --bench groupby`

mod common;

use clan::{Device, DeviceArray};
use common::{N, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};

const GROUPS: usize = 256;

fn sums(c: &mut Criterion) {
    let xs = values(N, 1);
    let keys: Vec<u32> = values(N, 2).iter().map(|v| ((v + 1.0) * 128.0) as u32).collect();
    let mut sums = group(c, "groupby/sum", 8 * N);
    let mut want = vec![0f64; GROUPS];
    xs.iter().zip(&keys).for_each(|(&x, &k)| want[k as usize] += f64::from(x));
    for device in Device::all() {
        let keys = DeviceArray::from_slice(&device, &keys).unwrap();
        let by = common::array(&device, &[N], &xs).group_by(&keys, GROUPS).unwrap();
        let per_group = (N / GROUPS) as f64;
        common::check(&by.sum().unwrap().to_vec().unwrap(), GROUPS, 64.0, |k| (want[k], per_group));
        time(&mut sums, &device, || by.sum());
    }
    sums.finish();
}

criterion_group!(benches, sums);
criterion_main!(benches);
