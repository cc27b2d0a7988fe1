//! Factorisations on every device.
//!
//! `cargo bench --bench linalg`

mod common;

use clan::{Device, DeviceArray};
use common::{time, value};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const N: usize = 1024;

/// Symmetric, and its diagonal outweighs the rows.
fn element(i: usize, j: usize) -> f32 {
    let diagonal = if i == j { N as f32 } else { 0.0 };
    value(i.min(j) * N + i.max(j), 1) + diagonal
}

/// ‖got − a·x‖ must be a small multiple of the rounding errors; elements of `x` are at most 1.
fn check(got: &DeviceArray<f32>, x: &[f32]) {
    for (i, got) in got.to_vec().unwrap().into_iter().enumerate() {
        let want: f64 = (0..N).map(|j| f64::from(element(i, j)) * f64::from(x[j])).sum();
        let bound = N as f64 * f64::from(f32::EPSILON) * 2.0 * N as f64;
        assert!((f64::from(got) - want).abs() <= bound, "element {i} is {got}, not {want}");
    }
}

fn factors(c: &mut Criterion) {
    let values: Vec<f32> = (0..N * N).map(|at| element(at / N, at % N)).collect();
    let vector: Vec<f32> = (0..N).map(|i| value(i, 2)).collect();
    for (name, flops) in
        [("cholesky", N * N * N / 3), ("lu", 2 * N * N * N / 3), ("qr", 8 * N * N * N / 3)]
    {
        let mut group = common::group(c, &format!("linalg/{name}"), 0);
        group.throughput(Throughput::Elements(flops as u64));
        for device in Device::all() {
            let a = common::array(&device, &[N, N], &values);
            let x = common::array(&device, &[N], &vector);
            match name {
                "cholesky" => {
                    let l = a.cholesky().unwrap();
                    check(&l.matmul(&l.t().matmul(&x).unwrap()).unwrap(), &vector);
                    time(&mut group, &device, || a.cholesky());
                }
                "lu" => {
                    // The diagonal outweighs the columns: rows stay where they are.
                    let lu = a.lu().unwrap();
                    let y = lu.u().unwrap().matmul(&x).unwrap();
                    check(&lu.l().unwrap().matmul(&y).unwrap(), &vector);
                    time(&mut group, &device, || a.lu());
                }
                _ => {
                    let (q, r) = a.qr().unwrap();
                    check(&q.matmul(&r.matmul(&x).unwrap()).unwrap(), &vector);
                    time(&mut group, &device, || a.qr());
                }
            }
        }
        group.finish();
    }
}

criterion_group!(benches, factors);
criterion_main!(benches);
