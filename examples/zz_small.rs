use clan::{Device, DeviceArray, ndarray::Array1};
use std::time::Instant;
fn med(mut f: impl FnMut()) -> f64 {
    for _ in 0..2000 {
        f();
    }
    let mut t: Vec<f64> = (0..21)
        .map(|_| {
            let t = Instant::now();
            for _ in 0..500 {
                f();
            }
            t.elapsed().as_secs_f64() / 500.0
        })
        .collect();
    t.sort_by(f64::total_cmp);
    t[10] * 1e6
}
fn main() {
    let t = Instant::now();
    let d = Device::host();
    for n in [1usize, 64, 1024, 4096] {
        let x = DeviceArray::<f32>::arange(&d, 0.0, n as f32, 1.0).unwrap();
        let a: Array1<f32> = Array1::from_iter((0..n).map(|i| i as f32));
        println!(
            "{n}: add {:.2} vs {:.2} us | 4-node {:.2} vs {:.2} | sum {:.2} vs {:.2} | sum.item {:.2}",
            med(|| {
                std::hint::black_box((&x + 1.0f32).eval().unwrap());
            }),
            med(|| {
                std::hint::black_box(&a + 1.0f32);
            }),
            med(|| {
                std::hint::black_box(((&x * 2.0f32 + &x).abs() - 3.0f32).eval().unwrap());
            }),
            med(|| {
                std::hint::black_box((&a * 2.0f32 + &a).mapv(f32::abs) - 3.0f32);
            }),
            med(|| {
                std::hint::black_box(x.sum().unwrap());
            }),
            med(|| {
                std::hint::black_box(a.sum());
            }),
            med(|| {
                std::hint::black_box(x.sum().unwrap().item().unwrap());
            })
        );
    }
    let n = 1 << 24;
    let x = DeviceArray::<f32>::arange(&d, 0.0, n as f32, 1.0).unwrap();
    let a: Array1<f32> = Array1::from_iter((0..n).map(|i| i as f32));
    let big = |f: &mut dyn FnMut()| {
        f();
        let mut t: Vec<f64> = (0..7)
            .map(|_| {
                let t = Instant::now();
                f();
                t.elapsed().as_secs_f64()
            })
            .collect();
        t.sort_by(f64::total_cmp);
        t[3] * 1e3
    };
    println!(
        "2^24 4-node {:.2} vs {:.2} ms, sum {:.2} vs {:.2}",
        big(&mut || {
            std::hint::black_box(((&x * 2.0f32 + &x).abs() - 3.0f32).eval().unwrap());
        }),
        big(&mut || {
            std::hint::black_box((&a * 2.0f32 + &a).mapv(f32::abs) - 3.0f32);
        }),
        big(&mut || {
            std::hint::black_box(x.sum().unwrap());
        }),
        big(&mut || {
            std::hint::black_box(a.sum());
        })
    );
    let _ = t;
}
