//! Copies and transposes on every device.
//!
//! `cargo bench --bench copy`

mod common;

use clan::ndarray::s;
use clan::{Device, DeviceArray, Result};
use common::{SIDE, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};

type View = fn(&DeviceArray<f32>) -> Result<DeviceArray<f32>>;

/// Where element (i, j) of a view is in its matrix.
type Position = fn(usize, usize) -> usize;

fn views(c: &mut Criterion) {
    let xs = values(SIDE * SIDE, 1);
    // What is copied, and where its element (i, j) is in the matrix.
    let cases: [(&str, View, Position); 3] = [
        ("transpose", |x| Ok(x.t()), |i, j| j * SIDE + i),
        ("reversed rows", |x| x.slice(s![.., ..;-1]), |i, j| i * SIDE + SIDE - 1 - j),
        ("half the columns", |x| x.slice(s![.., ..SIDE / 2]), |i, j| i * SIDE + j),
    ];
    for (name, view, position) in cases {
        let columns = if name == "half the columns" { SIDE / 2 } else { SIDE };
        let mut copies = group(c, &format!("copy/{name}"), 2 * 4 * SIDE * columns);
        for device in Device::all() {
            let view = view(&common::array(&device, &[SIDE, SIDE], &xs)).unwrap();
            let got = view.to_contiguous().unwrap().to_vec().unwrap();
            for (k, &v) in got.iter().enumerate() {
                assert_eq!(v, xs[position(k / columns, k % columns)], "element {k}");
            }
            time(&mut copies, &device, || view.to_contiguous());
        }
        copies.finish();
    }
}

criterion_group!(benches, views);
criterion_main!(benches);
