//! Matrix products against sums of products.

use clan::half::{bf16, f16};
use clan::ndarray::{ArrayD, ArrayView, Axis, Dimension, Ix2, IxDyn, s};
use clan::verify::oracle::{self, Rng, Sample, Wide};
use clan::{Device, DeviceArray, DeviceKind, ErrorKind, Number, Precision};

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
    let place = format!("{:?} · {:?} on {}", a.shape(), b.shape(), got.device());
    assert_eq!(got.shape(), want.shape(), "{place}");
    for (k, (&g, w)) in got.to_vec().unwrap().iter().zip(&want).enumerate() {
        assert!(w.allows(g), "{place}, element {k}: {}, not {w:?}", g.wide());
    }
}

type Shapes = [(&'static [usize], &'static [usize])];

fn products<T: Number + Sample>(device: &Device, shapes: &Shapes) {
    let mut rng = Rng::new(7);
    for &(sa, sb) in shapes {
        let (a, b) = (random::<T>(&mut rng, sa), random::<T>(&mut rng, sb));
        let x = DeviceArray::from_ndarray(device, &a).unwrap();
        let y = DeviceArray::from_ndarray(device, &b).unwrap();
        check(&x.matmul(&y).unwrap(), a.view(), b.view());
    }
}

const AWKWARD: &Shapes = &[
    (&[1, 1], &[1, 1]),
    (&[2, 3], &[3, 2]),
    (&[17, 63], &[63, 64]),
    (&[64, 65], &[65, 129]),
    (&[129, 1], &[1, 17]),
    (&[3, 1000], &[1000, 5]),
    (&[7], &[7]),
    (&[33], &[33, 65]),
    (&[65, 33], &[33]),
    (&[65, 33], &[33, 1]),
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
    (&[2, 0, 2], &[2]),
];

/// Larger than what one task takes, or a tile, or a part of k.
const LARGE: &Shapes = &[
    (&[200, 140], &[140, 260]),
    (&[3, 40_000], &[40_000, 5]),
    (&[2, 70_000], &[70_000]),
    (&[70_000], &[70_000, 3]),
    (&[5000, 40], &[40]),
    (&[300, 8, 8], &[300, 8, 8]),
];

// The other types are in the table of `clan verify`; on OpenCL every form of a shape may be a
// program of its own.
on_every_device!(shapes, |device| {
    products::<f32>(device, AWKWARD);
    products::<f32>(device, LARGE);
    if device.is_host() {
        macro_rules! each {
            ($($t:ty)*) => {$( products::<$t>(device, AWKWARD); )*};
        }
        each!(i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f64);
        products::<f64>(device, LARGE);
        products::<i32>(device, LARGE);
        products::<bf16>(device, &LARGE[..1]);
        return;
    }
    products::<u8>(device, &AWKWARD[3..4]);
    products::<f16>(device, &AWKWARD[3..4]);
    if device.info().fp64 {
        products::<f64>(device, &AWKWARD[3..4]);
    }
});

/// Large enough for matrix units. Elsewhere they would meet the kernels of the shapes above.
const UNITS: &Shapes = &[
    (&[150, 420], &[420, 70]),
    (&[128, 1024], &[1024, 128]),
    (&[65, 2051], &[2051, 33]),
    (&[3, 96, 301], &[3, 301, 80]),
    (&[3, 96, 300], &[300, 80]),
    (&[64, 20_000], &[20_000, 17]),
];

on_every_device!(shapes_for_matrix_units, |device| {
    if device.kind() != DeviceKind::Gpu {
        return products::<f32>(device, &UNITS[..1]);
    }
    products::<f32>(device, UNITS);
    products::<f16>(device, UNITS);
    products::<bf16>(device, UNITS);
    if device.info().fp64 {
        products::<f64>(device, UNITS);
    }
});

// On GPUs the first operand is turned before such a product; some rows tell.
on_every_device!(large_results, |device| {
    let mut rng = Rng::new(13);
    let (a, b) = (random::<f32>(&mut rng, &[1030, 33]), random::<f32>(&mut rng, &[33, 1025]));
    let x = DeviceArray::from_ndarray(device, &a).unwrap();
    let y = DeviceArray::from_ndarray(device, &b).unwrap();
    let got = x.matmul(&y).unwrap().slice(s![..;103, ..]).unwrap();
    check(&got, a.slice(s![..;103, ..]), b.view());
});

on_every_device!(views, |device| {
    let mut rng = Rng::new(3);
    let mut matrix = |n, m| random(&mut rng, &[n, m]).into_dimensionality::<Ix2>().unwrap();
    let (a, b) = (matrix(70, 90), matrix(70, 90));
    let x = DeviceArray::<f32>::from_ndarray(device, &a).unwrap();
    let y = DeviceArray::from_ndarray(device, &b).unwrap();
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
    // Columns and rows with gaps, as vectors.
    let (column, line) = (x.slice(s![.., 7]).unwrap(), y.slice(s![5, ..;-1]).unwrap());
    check(&column.matmul(&y).unwrap(), a.slice(s![.., 7]), b.view());
    check(&x.matmul(&line).unwrap(), a.view(), b.slice(s![5, ..;-1]));
    check(&x.t().matmul(&column).unwrap(), a.t(), a.slice(s![.., 7]));
    // Large and scattered: gathered first.
    let (a, b) = (matrix(520, 301), matrix(520, 301));
    let x = DeviceArray::<f32>::from_ndarray(device, &a).unwrap();
    let y = DeviceArray::from_ndarray(device, &b).unwrap();
    let got = x.slice(s![..;2, ..;-2]).unwrap().matmul(&y.slice(s![..151, ..9]).unwrap());
    check(&got.unwrap(), a.slice(s![..;2, ..;-2]), b.slice(s![..151, ..9]));
});

on_every_device!(mixed_magnitudes_and_special_values, |device| {
    special_values(device, (20, 700, 33));
    // The same on matrix units.
    if device.kind() == DeviceKind::Gpu {
        special_values(device, (160, 700, 66));
    }
});

fn special_values(device: &Device, (m, k, n): (usize, usize, usize)) {
    let mut rng = Rng::new(11);
    let mut scaled = |shape: [usize; 2]| {
        let mut values = random::<f32>(&mut rng, &shape);
        values.mapv_inplace(|v| v * 2f32.powi(rng.below(40) as i32 - 20));
        values
    };
    let (mut a, mut b) = (scaled([m, k]), scaled([k, n]));
    let x = DeviceArray::from_ndarray(device, &a).unwrap();
    let y = DeviceArray::from_ndarray(device, &b).unwrap();
    let exact = x.matmul(&y).unwrap();
    check(&exact, a.view(), b.view());
    // Permissions to be less exact may be used or not. Cutting loses up to twice what rounding does.
    for (precision, bits) in [(Precision::Tf32, 9), (Precision::Bf16, 7), (Precision::Full, 23)] {
        let got = x.product(&y).precision(precision).eval().unwrap().to_vec().unwrap();
        for (g, w) in got.iter().zip(&oracle::matmul(&a.view(), &b.view())) {
            let slack = w.magnitude * 2.5 * 2f64.powi(-bits - 1).max(k as f64 * 2f64.powi(-24));
            assert!((f64::from(*g) - w.sum.float()).abs() <= slack, "{device} {precision:?}");
        }
    }
    // A NaN spoils its row, infinities theirs; no other element changes.
    a[[3, 5]] = f32::NAN;
    a[[4, 6]] = f32::INFINITY;
    b[[6, 2]] = 0.0;
    b[[8, 1]] = f32::NEG_INFINITY;
    a[[5, 8]] = 0.0;
    let x = DeviceArray::from_ndarray(device, &a).unwrap();
    let y = DeviceArray::from_ndarray(device, &b).unwrap();
    let got = x.matmul(&y).unwrap().to_ndarray().unwrap();
    let want = oracle::matmul(&a.view(), &b.view());
    assert!(got.index_axis(Axis(0), 3).iter().all(|v| v.is_nan()));
    assert!(got[[4, 2]].is_nan() && got[[4, 0]].is_infinite() && got[[5, 1]].is_nan());
    for (g, w) in got.iter().zip(&want) {
        assert!(w.allows(*g), "{device}: {g}, not {w:?}");
    }
}

on_every_device!(epilogues, |device| {
    let mut rng = Rng::new(5);
    let (a, b) = (random::<f32>(&mut rng, &[2, 33, 20]), random::<f32>(&mut rng, &[2, 20, 65]));
    let (bias, c) = (random::<f32>(&mut rng, &[65]), random::<f32>(&mut rng, &[2, 33, 65]));
    let up = |x: &ArrayD<f32>| DeviceArray::from_ndarray(device, x).unwrap();
    let (x, y, v, w) = (up(&a), up(&b), up(&bias), up(&c));
    let want = oracle::matmul(&a.view(), &b.view());
    let near = |got: DeviceArray<f32>, f: &dyn Fn(f64, f64, f64) -> f64| {
        assert_eq!(got.shape(), want.shape());
        for ((k, w), g) in want.indexed_iter().zip(got.to_vec().unwrap()) {
            let want = f(w.sum.float(), f64::from(bias[k[2]]), f64::from(c[&k]));
            let slack = 1e-5 * (1.0 + want.abs());
            assert!((f64::from(g) - want).abs() < slack, "{device} {k:?}: {g}, not {want}");
        }
    };
    let got = x.product(&y).map(|p| p.maximum(0.0)).alpha(2.0).add(-0.5, &v);
    let got = got.map(|p| p * &w + 1.0).eval().unwrap();
    near(got, &|p, b, c| (2.0 * p - 0.5 * b).max(0.0) * c + 1.0);
    near(x.product(&y).alpha(-3.0).eval().unwrap(), &|p, _, _| -3.0 * p);
    near(x.product(&y).map(|_| &w * 2.0).eval().unwrap(), &|_, _, c| 2.0 * c);
    // More arrays than one kernel takes.
    let many = x
        .product(&y)
        .map(|p| (0..70).fold(p, |p, k| p + x.slice(s![0, 0..1, 0..1]).unwrap() * k as f32));
    let first = f64::from(a[[0, 0, 0]]);
    near(many.eval().unwrap(), &|p, _, _| p + first * 2415.0);
    // After a sum in parts, and with nothing to sum.
    let (long, tall) = (random(&mut rng, &[3, 40_000]), random(&mut rng, &[40_000, 5]));
    let got = up(&long).product(&up(&tall)).map(|p| p * 0.0 + 7.0).eval().unwrap();
    assert_eq!(got.to_vec().unwrap(), [7.0; 15]);
    let none = DeviceArray::<f32>::zeros(device, (4, 0)).unwrap();
    let got = none.product(&none.t()).map(|p| p + 2.0).eval().unwrap();
    assert_eq!(got.to_vec().unwrap(), [2.0; 16]);
    // Integers wrap; half floats are rounded once, after the epilogue.
    let i = DeviceArray::from_slice(device, &[100i8, 100, 3]).unwrap();
    let got = i.product(&i).alpha(2).map(|p| p + 1).eval().unwrap().item().unwrap();
    assert_eq!(got, (20_009i32 * 2 + 1) as i8);
    let h = DeviceArray::from_slice(device, &[f16::from_f32(1.0), f16::from_f32(2049.0)]);
    let (h, one) = (h.unwrap(), DeviceArray::<f16>::ones(device, 2).unwrap());
    let minus = f16::from_f32(-2048.0);
    let got = h.product(&one).map(|p| p + minus).eval().unwrap().item().unwrap();
    // 2049 itself is stored as 2048.
    assert_eq!(got.to_f32(), 1.0);
});

on_every_device!(into_arrays, |device| {
    let mut rng = Rng::new(6);
    let (a, b) = (random::<f32>(&mut rng, &[33, 20]), random::<f32>(&mut rng, &[20, 65]));
    let up = |x: &ArrayD<f32>| DeviceArray::from_ndarray(device, x).unwrap();
    let (x, y) = (up(&a), up(&b));
    // Its own memory, memory that a clone sees, a view with gaps, an operand.
    let mut out = DeviceArray::<f32>::zeros(device, (33, 65)).unwrap();
    x.product(&y).into_array(&mut out).unwrap();
    check(&out, a.view(), b.view());
    let kept = out.clone();
    x.product(&y).add(1.0, &kept).into_array(&mut out).unwrap();
    check(&kept, a.view(), b.view());
    check(&(&out - &kept).eval().unwrap(), a.view(), b.view());
    let mut gaps = DeviceArray::<f32>::zeros(device, (65, 33)).unwrap().t();
    x.product(&y).into_array(&mut gaps).unwrap();
    check(&gaps, a.view(), b.view());
    let inner = DeviceArray::<f32>::zeros(device, (3, 33, 65)).unwrap();
    let mut inner = inner.index_axis(Axis(0), 1).unwrap();
    x.product(&y).into_array(&mut inner).unwrap();
    check(&inner, a.view(), b.view());
    x.product(&y).map(|p| p + 1.0).into_array(&mut inner).unwrap();
    check(&(&inner - 1.0).eval().unwrap(), a.view(), b.view());
    let square = random::<f32>(&mut rng, &[40, 40]);
    let mut z = up(&square);
    let view = z.clone();
    view.product(&view.t()).into_array(&mut z).unwrap();
    check(&z, square.view(), square.t());
    assert_eq!(view.to_ndarray().unwrap(), square);
    // Another shape is refused and nothing changes.
    let e = x.product(&y).into_array(&mut z).unwrap_err();
    assert!(e.is_shape() && e.to_string().contains("[33, 65]"), "{e}");
    check(&z, square.view(), square.t());
});

on_every_device!(the_same_bits_every_time, |device| {
    let mut rng = Rng::new(9);
    for (sa, sb) in
        [([3, 50_000], [50_000, 5]), ([200, 140], [140, 260]), ([2, 70_000], [70_000, 1])]
    {
        let x = DeviceArray::from_ndarray(device, &random::<f32>(&mut rng, &sa)).unwrap();
        let y = DeviceArray::from_ndarray(device, &random::<f32>(&mut rng, &sb)).unwrap();
        let bits = || -> Vec<u32> {
            x.matmul(&y).unwrap().to_vec().unwrap().iter().map(|v| v.to_bits()).collect()
        };
        let first = bits();
        assert!((0..3).all(|_| bits() == first), "{device} {sa:?}");
    }
});

on_every_device!(mistakes, |device| {
    let zeros = |shape: &[usize]| DeviceArray::<f32>::zeros(device, shape).unwrap();
    let (a, b) = (zeros(&[4, 3]), zeros(&[2, 5]));
    let e = a.matmul(&b).unwrap_err();
    assert!(e.is_shape() && e.op() == "matmul", "{e}");
    assert!(e.to_string().contains("[4, 3]") && e.to_string().contains("[2, 5]"), "{e}");
    assert!(zeros(&[3]).matmul(&zeros(&[4])).unwrap_err().is_shape());
    assert!(zeros(&[]).matmul(&a).unwrap_err().is_shape());
    let e = zeros(&[2, 4, 3]).matmul(&zeros(&[3, 3, 4])).unwrap_err();
    assert!(e.is_shape() && e.to_string().contains("[2]"), "{e}");
    let c = zeros(&[3, 6]);
    assert!(a.product(&c).add(1.0, &zeros(&[5])).eval().unwrap_err().is_shape());
    assert!(a.product(&c).map(|p| p + zeros(&[2, 4, 6])).eval().unwrap_err().is_shape());
    // The placeholder is worth nothing outside its product.
    let mut kept = None;
    a.product(&c).map(|p| kept.insert(p).clone() * 2.0).eval().unwrap();
    let kept = kept.unwrap();
    assert_eq!((&kept + 1.0).eval().unwrap_err().kind(), ErrorKind::Argument);
    assert_eq!(kept.sum().unwrap_err().kind(), ErrorKind::Argument);
    let e = a.product(&c).map(|p| p + &kept).eval().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Argument);
    if let Some(other) = Device::all().into_iter().find(|o| o != device) {
        let there = c.to_device(&other).unwrap();
        assert_eq!(a.matmul(&there).unwrap_err().kind(), ErrorKind::DeviceMismatch);
        let mut out = DeviceArray::<f32>::zeros(&other, (4, 6)).unwrap();
        let e = a.product(&c).into_array(&mut out).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::DeviceMismatch);
    }
    if !device.info().fp64 {
        let x = DeviceArray::from_slice(device, &[1.0f64]).unwrap();
        assert_eq!(x.matmul(&x).unwrap_err().kind(), ErrorKind::Type);
    }
});

#[test]
fn the_oracle_can_say_no() {
    let a = ArrayD::from_shape_vec(IxDyn(&[1, 2]), vec![1.0f32, 2.0]).unwrap();
    let b = ArrayD::from_shape_vec(IxDyn(&[2, 1]), vec![3.0f32, 4.0]).unwrap();
    let want = oracle::matmul(&a.view(), &b.view())[[0, 0]];
    assert!(want.sum.same(Wide::Float(11.0)) && want.allows(11.0f32) && !want.allows(11.0001f32));
    let i = oracle::matmul(&a.mapv(|v| v as i8 * 50).view(), &b.mapv(|v| v as i8).view());
    assert!(i[[0, 0]].allows(550i32 as i8) && !i[[0, 0]].allows(0i8));
}
