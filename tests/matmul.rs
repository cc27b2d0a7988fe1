//! Matrix products against sums of products, on every device.

use clan::ndarray::{ArrayD, ArrayView, Axis, Dimension, IxDyn, s};
use clan::verify::oracle::{self, Rng, Sample};
use clan::{Device, DeviceArray, Number};

fn random<T: Sample>(rng: &mut Rng, shape: &[usize]) -> ArrayD<T> {
    let n = shape.iter().product();
    ArrayD::from_shape_vec(IxDyn(shape), rng.moderate(n)).unwrap()
}

#[track_caller]
fn check<T: Number + Sample, D: Dimension, E: Dimension>(
    got: &DeviceArray<T>,
    a: ArrayView<'_, T, D>,
    b: ArrayView<'_, T, E>,
) {
    let want = oracle::matmul(&a.view().into_dyn(), &b.view().into_dyn());
    assert_eq!(got.shape(), want.shape(), "{:?} · {:?}", a.shape(), b.shape());
    for (k, (&g, w)) in got.to_vec().unwrap().iter().zip(&want).enumerate() {
        assert!(
            w.allows(g),
            "{:?} · {:?} on {}, element {k}: {}, not {w:?}",
            a.shape(),
            b.shape(),
            got.device(),
            g.wide()
        );
    }
}

fn shapes<T: Number + Sample>(device: &Device, shapes: &[(&[usize], &[usize])]) {
    let mut rng = Rng::new(7);
    for &(sa, sb) in shapes {
        let (a, b) = (random::<T>(&mut rng, sa), random::<T>(&mut rng, sb));
        let x = DeviceArray::from_ndarray(device, &a).unwrap();
        let y = DeviceArray::from_ndarray(device, &b).unwrap();
        check(&x.matmul(&y).unwrap(), a.view(), b.view());
    }
}

const AWKWARD: &[(&[usize], &[usize])] = &[
    (&[1, 1], &[1, 1]),
    (&[2, 3], &[3, 2]),
    (&[17, 63], &[63, 64]),
    (&[64, 65], &[65, 129]),
    (&[129, 1], &[1, 17]),
    (&[128, 256], &[256, 128]),
    (&[3, 1000], &[1000, 5]),
    (&[7], &[7]),
    (&[33], &[33, 65]),
    (&[65, 33], &[33]),
    (&[200, 300], &[300, 1]),
    (&[1, 300], &[300, 200]),
    (&[5, 2, 3], &[5, 3, 4]),
    (&[5, 20, 30], &[30, 40]),
    (&[20, 30], &[4, 30, 40]),
    (&[2, 1, 9, 8], &[3, 8, 7]),
    (&[4, 3], &[6, 3, 2]),
    (&[6, 1, 4], &[4]),
    (&[4], &[6, 4, 3]),
    (&[0, 3], &[3, 2]),
    (&[2, 0], &[0, 3]),
    (&[0], &[0]),
    (&[3, 0, 2], &[2, 2]),
];

#[test]
fn quick() {
    for device in Device::all() {
        eprintln!("{device}");
        shapes::<f32>(&device, AWKWARD);
        shapes::<i32>(&device, &AWKWARD[..6]);
        shapes::<clan::half::f16>(&device, &AWKWARD[2..6]);
        if device.info().fp64 {
            shapes::<f64>(&device, AWKWARD);
        }
    }
}

#[test]
fn views() {
    for device in Device::all() {
        let mut rng = Rng::new(3);
        let a =
            random::<f32>(&mut rng, &[70, 90]).into_dimensionality::<clan::ndarray::Ix2>().unwrap();
        let b =
            random::<f32>(&mut rng, &[70, 90]).into_dimensionality::<clan::ndarray::Ix2>().unwrap();
        let x = DeviceArray::from_ndarray(&device, &a).unwrap();
        let y = DeviceArray::from_ndarray(&device, &b).unwrap();
        check(&x.matmul(&y.t()).unwrap(), a.view(), b.t());
        check(&x.t().matmul(&y).unwrap(), a.t(), b.view());
        let (p, q) = (s![..;2, ..;-3], s![..;-1, 1..;2]);
        let got = x.slice(p).unwrap().matmul(&y.slice(s![..30, ..;3]).unwrap()).unwrap();
        check(&got, a.slice(p), b.slice(s![..30, ..;3]));
        let got = x.slice(q).unwrap().t().matmul(&y.slice(q).unwrap()).unwrap();
        check(&got, a.slice(q).t(), b.slice(q));
        // A row that is repeated.
        let wide = y.index_axis(Axis(0), 3).unwrap().broadcast((90, 90)).unwrap();
        let row = b.index_axis(Axis(0), 3);
        check(&x.matmul(&wide).unwrap(), a.view(), row.broadcast((90, 90)).unwrap());
        check(&wide.matmul(&x.t()).unwrap(), row.broadcast((90, 90)).unwrap(), a.t());
    }
}

#[test]
fn epilogues() {
    for device in Device::all() {
        let mut rng = Rng::new(5);
        let (a, b) = (random::<f32>(&mut rng, &[2, 33, 20]), random::<f32>(&mut rng, &[2, 20, 65]));
        let (bias, c) = (random::<f32>(&mut rng, &[65]), random::<f32>(&mut rng, &[2, 33, 65]));
        let up = |x: &ArrayD<f32>| DeviceArray::from_ndarray(&device, x).unwrap();
        let (x, y, v, w) = (up(&a), up(&b), up(&bias), up(&c));
        let want = oracle::matmul(&a.view(), &b.view());
        let got = x
            .product(&y)
            .alpha(2.0)
            .add(-0.5, &v)
            .map(|p| p.maximum(0.0))
            .map(|p| p * &w + 1.0)
            .eval()
            .unwrap();
        for ((k, w), g) in want.indexed_iter().zip(got.to_vec().unwrap()) {
            let p = 2.0 * w.sum.float() - 0.5 * f64::from(bias[k[2]]);
            let want = p.max(0.0) * f64::from(c[&k]) + 1.0;
            assert!((f64::from(g) - want).abs() < 1e-5, "{device} {k:?}: {g}, not {want}");
        }
        // Into arrays: its own memory, shared memory, an operand.
        let mut out = DeviceArray::<f32>::zeros(&device, (2, 33, 65)).unwrap();
        x.product(&y).into_array(&mut out).unwrap();
        check(&out, a.view(), b.view());
        let kept = out.clone();
        x.product(&y).add(1.0, &kept).into_array(&mut out).unwrap();
        check(&kept, a.view(), b.view());
        let twice = (&out - &kept).eval().unwrap();
        check(&twice, a.view(), b.view());
        let square = random::<f32>(&mut rng, &[40, 40]);
        let mut z = up(&square);
        let view = z.clone();
        view.product(&view).into_array(&mut z).unwrap();
        check(&z, square.view(), square.view());
        assert_eq!(view.to_ndarray().unwrap(), square);
    }
}
