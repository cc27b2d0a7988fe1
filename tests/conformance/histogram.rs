//! Histograms: elements on and beside edges, equal elements, few and many bins, views.

use super::*;
use clan::half::f16;
use clan::ndarray::s;
use clan::verify::oracle::{bin_of, even_edges};
use clan::{DType, Element, Integer, Number};

fn want<T: Number + Sample>(x: &[T], edges: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; edges.len() - 1];
    for v in x {
        if let Some(k) = bin_of(edges, v.wide().float()) {
            counts[k] += 1;
        }
    }
    counts
}

/// The same histogram of the elements as they are, as a strided view, and as an expression.
#[track_caller]
fn check(device: &Device, x: &[f32], bins: usize, low: f32, high: f32) {
    let edges = even_edges(DType::F32, bins, low.into(), high.into());
    let array = DeviceArray::from_slice(device, x).unwrap();
    let got = array.histogram(bins, low..=high).unwrap();
    assert_eq!(got.to_vec().unwrap(), want(x, &edges), "{bins} bins over {low}..={high}");
}

on_every_device!(beside_edges, |device| {
    for (bins, low, high) in
        [(10, 0.0, 1.0), (100, -3.3, 7.7), (49, 1e-3, 1e3), (1000, 1000.0, 1001.0)]
    {
        let mut x: Vec<f32> = Vec::new();
        for e in even_edges(DType::F32, bins, f64::from(low), f64::from(high)) {
            let e = e as f32;
            x.extend([e.next_down(), e, e.next_up()]);
        }
        x.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0]);
        check(device, &x, bins, low, high);
    }
});

on_every_device!(lengths, |device| {
    let mut rng = Rng::new(1);
    let all: Vec<f32> = (0..100_000).map(|_| rng.unit() as f32).collect();
    for n in [0, 1, 2, 3, 5, 255, 1024, 1025, 40_003, 100_000] {
        check(device, &all[..n], 8, 0.0, 1.0);
    }
    // Bins beyond the copies, beyond local memory.
    for bins in [1, 300, 5000, 20_000] {
        check(device, &all[..2000], bins, 0.25, 0.75);
    }
    // All in one bin.
    for bins in [256, 20_000] {
        let x = DeviceArray::full(device, 100_000, 0.5f32).unwrap();
        let got = x.histogram(bins, 0.0..=1.0).unwrap().to_vec().unwrap();
        assert!(got.iter().enumerate().all(|(k, &c)| c == if k == bins / 2 { 100_000 } else { 0 }));
    }
});

on_every_device!(views_and_expressions, |device| {
    let a = counted::<i32>(&[40, 31, 7]);
    let x = on(device, &a);
    let edges: Vec<f64> = (0..=10).map(|k| 700.0 * f64::from(k)).collect();
    let part = s![1..;2, ..;-3, 2..];
    let values: Vec<i32> = a.slice(part).iter().copied().collect();
    let view = x.slice(part).unwrap();
    assert_eq!(view.histogram(10, 0..=7000).unwrap().to_vec().unwrap(), want(&values, &edges));
    let doubled: Vec<i32> = values.iter().map(|v| v * 2).collect();
    let got = (&view * 2).histogram(10, 0..=7000).unwrap();
    assert_eq!(got.to_vec().unwrap(), want(&doubled, &edges));
    // One element that repeats, and part of a row.
    let one = x.slice(s![3, 2, 1..2]).unwrap().broadcast((100, 1000)).unwrap();
    assert_eq!(one.bincount(0).unwrap().to_vec().unwrap()[3 * 217 + 15], 100_000);
    let row = x.slice(s![0, 1, 1..6]).unwrap();
    assert_eq!(row.bincount(14).unwrap().to_vec().unwrap()[8..], [1, 1, 1, 1, 1, 0]);
    // A mistake that was made before.
    let wrong = &x + &view;
    assert_error(wrong.histogram(3, 0..=1), ErrorKind::Shape, "add", &["40"]);
});

on_every_device!(edges, |device| {
    let mut rng = Rng::new(2);
    let x: Vec<f32> = (0..1500).map(|_| (rng.unit() * 4.0 - 1.0) as f32).collect();
    let array = DeviceArray::from_slice(device, &x).unwrap();
    let many: Vec<f32> = (0..9000).map(|k| (k as f32 / 9000.0).powi(2) * 3.0).collect();
    for edges in [&[0.0, 0.1, 1.0, 2.5][..], &[-1.0, 3.0], &[0.0, 0.0, 1.0, 1.0, 1.0], &many] {
        let got = array.histogram_edges(edges).unwrap().to_vec().unwrap();
        let floats: Vec<f64> = edges.iter().map(|&e| e.into()).collect();
        assert_eq!(got, want(&x, &floats), "{} edges", edges.len());
    }
    if device.is_host() {
        let h: Vec<f16> = x.iter().map(|&v| f16::from_f32(v)).collect();
        let edges = [-0.5, 0.25, 0.75, 2.0].map(f16::from_f32);
        let got = DeviceArray::from_slice(device, &h).unwrap().histogram_edges(&edges).unwrap();
        assert_eq!(got.to_vec().unwrap(), want(&h, &[-0.5, 0.25, 0.75, 2.0]));
    }
});

fn bytes<T: Integer + Sample>(device: &Device) {
    let mut rng = Rng::new(3);
    let x: Vec<T> = (0..40_001).map(|_| T::of(Wide::Int(rng.below(256) as i128))).collect();
    let array = DeviceArray::from_slice(device, &x).unwrap();
    let signed = <T as Element>::DTYPE.is_signed();
    let (least, greatest) = if signed { (-128, 127) } else { (0, 255) };
    let of = |v: i128| T::of(Wide::Int(v));
    for (bins, low, high) in [(256, least, greatest), (10, 5, 104), (300, 0, 100), (1, 3, 4)] {
        let edges: Vec<f64> = (0..=bins)
            .map(|k| low as f64 + (k as f64) * (high - low) as f64 / bins as f64)
            .collect();
        let got = array.histogram(bins, of(low)..=of(high)).unwrap().to_vec().unwrap();
        assert_eq!(got, want(&x, &edges), "{bins} bins over {low}..={high}");
    }
    let got = array.histogram_edges(&[of(1), of(7), of(7), of(100)]).unwrap().to_vec().unwrap();
    assert_eq!(got, want(&x, &[1.0, 7.0, 7.0, 100.0]));
}

on_every_device!(of_bytes, |device| {
    bytes::<u8>(device);
    bytes::<i8>(device);
    let x = DeviceArray::from_slice(device, &[0u8, 255, 255, 3]).unwrap().bincount(0).unwrap();
    let x = x.to_vec().unwrap();
    assert_eq!((x.len(), x[0], x[3], x[255], x.iter().sum::<u64>()), (256, 1, 1, 2, 4));
});

on_every_device!(mistakes, |device| {
    let argument = ErrorKind::Argument;
    let x = DeviceArray::from_slice(device, &[1.0f32, 2.0]).unwrap();
    assert_error(x.histogram(0, 0.0..=1.0), argument, "histogram", &["no bins"]);
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
        assert_error(x.histogram(3, low..=high), argument, "histogram", &["no bins in"]);
    }
    assert_error(x.histogram(3, f32::MIN..=f32::MAX), argument, "histogram", &["finite"]);
    assert_error(x.histogram(1000, 1e6..=1e6 + 1.0), argument, "histogram", &["f64", "1000 bins"]);
    assert_error(x.histogram(1 << 31, 0.0..=1.0), ErrorKind::TooLarge, "histogram", &["bins"]);
    assert_error(x.histogram_edges(&[1.0]), argument, "histogram_edges", &["two"]);
    let got = x.histogram_edges(&[1.0, 2.0, 1.5, 0.0]);
    assert_error(got, argument, "histogram_edges", &["edge 2 is 1.5", "2.0"]);
    let got = x.histogram_edges(&[1.0, f32::NAN, 3.0]);
    assert_error(got, argument, "histogram_edges", &["edge 1 is NaN"]);
    let x = DeviceArray::from_slice(device, &[3i32, 5, -2, 7, -9]).unwrap();
    assert_error(x.bincount(0), ErrorKind::Index, "bincount", &["element 2", "-9"]);
    let x = DeviceArray::from_slice(device, &[3i64, 1 << 40]).unwrap();
    assert_error(x.bincount(0), ErrorKind::TooLarge, "bincount", &["bins"]);
    // Nothing at all is counted.
    let none = DeviceArray::<u32>::zeros(device, (3, 0)).unwrap();
    assert_eq!(none.bincount(0).unwrap().shape(), [0]);
    assert_eq!(none.bincount(2).unwrap().to_vec().unwrap(), [0, 0]);
    assert_eq!(none.histogram(2, 0..=1).unwrap().to_vec().unwrap(), [0, 0]);
});
