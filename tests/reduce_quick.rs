use clan::{
    Device, DeviceArray,
    ndarray::{Array2, Array3, Axis, s},
};
#[test]
fn reduce_quick() {
    for d in Device::all() {
        eprintln!("{d}");
        for shape in [
            (3usize, 5usize, 7usize),
            (1, 1, 1),
            (64, 33, 129),
            (2, 70000, 3),
            (1, 1, 100001),
            (300, 2, 256),
        ] {
            let a = Array3::from_shape_fn(shape, |(i, j, k)| {
                ((i * 7919 + j * 104729 + k * 1299709) % 1013) as f32 - 500.0
            });
            let full = DeviceArray::from_ndarray(&d, &a).unwrap();
            for (x, a) in [
                (full.clone(), a.view()),
                (full.t(), a.t()),
                (full.slice(s![..;-1, .., ..;2]).unwrap(), a.slice(s![..;-1, .., ..;2])),
                (full.permute(&[1, 0, 2]).unwrap(), a.view().permuted_axes([1, 0, 2])),
            ] {
                let want: f64 = a.iter().map(|&v| v as f64).sum();
                let got = x.sum().unwrap().item().unwrap() as f64;
                assert!((got - want).abs() <= want.abs() * 1e-6 + 1e-3, "{shape:?} {got} {want}");
                let am = a
                    .iter()
                    .enumerate()
                    .fold((0, f32::NEG_INFINITY), |b, (i, &v)| if v > b.1 { (i, v) } else { b })
                    .0 as u64;
                assert_eq!(x.argmax().unwrap().item().unwrap(), am, "{shape:?} {:?}", x.strides());
                for ax in 0..3 {
                    let got = x.sum_axis(Axis(ax)).unwrap().to_ndarray().unwrap();
                    let want = a.sum_axis(Axis(ax)).into_dyn();
                    assert_eq!(got.shape(), want.shape());
                    for (g, w) in got.iter().zip(want.iter()) {
                        assert!((g - w).abs() <= 1e-6 * w.abs() + 1.0, "{g} {w}");
                    }
                    let got = x.argmin_axis(Axis(ax)).unwrap().to_ndarray().unwrap();
                    let want = a
                        .map_axis(Axis(ax), |l| {
                            l.iter()
                                .enumerate()
                                .fold(
                                    (0, f32::INFINITY),
                                    |b, (i, &v)| if v < b.1 { (i, v) } else { b },
                                )
                                .0 as u64
                        })
                        .into_dyn();
                    assert_eq!(got, want, "{shape:?} {ax} {:?}", x.strides());
                }
                let got = x.over(&[Axis(2), Axis(0)]).max().unwrap().to_ndarray().unwrap();
                let want = a
                    .fold_axis(Axis(2), f32::NEG_INFINITY, |a, b| a.max(*b))
                    .fold_axis(Axis(0), f32::NEG_INFINITY, |a, b| a.max(*b))
                    .into_dyn();
                assert_eq!(got, want);
            }
            let v = full.var(1.0).unwrap().item().unwrap() as f64;
            let n = a.len() as f64;
            let m = a.iter().map(|&v| v as f64).sum::<f64>() / n;
            let w = a.iter().map(|&v| (v as f64 - m).powi(2)).sum::<f64>() / (n - 1.0);
            assert!((v - w).abs() <= 1e-5 * w || n == 1.0, "{v} {w}");
            let nrm = full.norm().unwrap().item().unwrap() as f64;
            let w = a.iter().map(|&v| (v as f64).powi(2)).sum::<f64>().sqrt();
            assert!((nrm - w).abs() <= 1e-6 * w);
        }
        let b = DeviceArray::from_ndarray(
            &d,
            &Array2::from_shape_fn((100, 300), |(i, j)| (i as i8).wrapping_mul(j as i8)),
        )
        .unwrap();
        let want: i64 = b.to_vec().unwrap().iter().map(|&v| v as i64).sum();
        assert_eq!(b.sum().unwrap().item().unwrap(), want);
        assert_eq!(
            b.dot(&b).unwrap().item().unwrap(),
            b.to_vec().unwrap().iter().map(|&v| v as i64 * v as i64).sum::<i64>()
        );
        assert!(b.lt(0i8).any().unwrap().item().unwrap());
        assert!(!b.lt(0i8).all().unwrap().item().unwrap());
    }
}
