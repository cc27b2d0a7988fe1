//! Making arrays, and getting them back.

use super::*;
use clan::half::{bf16, f16};
use clan::ndarray::{Array, IxDyn, arr0};

on_every_device!(every_type_goes_there_and_back, |device| {
    macro_rules! check {
        ($($t:ty)*) => {$({
            let values = <$t>::specials();
            let x = DeviceArray::from_slice(device, &values).unwrap();
            assert_eq!(x.dtype().name(), stringify!($t));
            assert_same(&x, &Array::from(values.clone()));
            // Reading keeps every bit: what NaN carries and what is subnormal.
            let bits = |v: &[$t]| -> Vec<String> { v.iter().map(|v| format!("{v:?}")).collect() };
            assert_eq!(bits(&x.to_vec().unwrap()), bits(&values));
            assert_same(&on(device, &arr0(values[1])), &arr0(values[1]));
            let none = DeviceArray::<$t>::from_shape_slice(device, (3, 0, 2), &[]).unwrap();
            assert_eq!(none.to_ndarray().unwrap().shape(), [3, 0, 2]);
            assert_eq!(none.t().to_ndarray().unwrap().shape(), [2, 0, 3]);
        })*};
    }
    check!(bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
});

on_every_device!(any_ndarray_goes_there_and_back, |device| {
    // Orders, steps and gaps are the ndarray's own here.
    let strategy = (shapes(), any::<bool>(), any::<u32>(), vec(-2isize..3, 4));
    property(device, 5, strategy, |(shape, reversed, seed, steps)| {
        let base = counted::<i32>(&shape);
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        if reversed {
            axes.reverse();
        } else if !axes.is_empty() {
            axes.rotate_left(seed as usize % shape.len());
        }
        let mut a = base.view().permuted_axes(axes);
        a.slice_each_axis_inplace(|ax| {
            let step = steps[ax.axis.index()];
            clan::ndarray::Slice { start: 0, end: None, step: if step == 0 { 1 } else { step } }
        });
        assert_same(&on(device, &a), &a);
    });
});

on_every_device!(alone constants, |device| {
    let shape = IxDyn(&[3, 1, 4]);
    let x = DeviceArray::full(device, shape.clone(), -2.5f32).unwrap();
    assert_same(&x, &Array::from_elem(shape.clone(), -2.5f32));
    // A new constant is not a new program, nor is a new shape.
    let compiles = device.compiles();
    for v in [0.0, -0.0, f32::NAN, f32::INFINITY, f32::MAX] {
        for n in [1, 2, 65, 1000] {
            let x = DeviceArray::full(device, n, v).unwrap();
            assert_same(&x, &Array::from_elem(n, v));
        }
    }
    assert_eq!(device.compiles(), compiles);
    assert_same(&DeviceArray::<f32>::zeros(device, ()).unwrap(), &arr0(0.0));
    assert_same(&DeviceArray::<f32>::ones(device, 5).unwrap(), &Array::from_elem(5, 1.0));
    assert_same(&DeviceArray::<bool>::ones(device, 3).unwrap(), &Array::from_elem(3, true));
    assert_eq!(DeviceArray::<u16>::ones(device, (0, 7)).unwrap().shape(), [0, 7]);
    let eye = DeviceArray::<u8>::eye(device, 7).unwrap();
    assert_same(&eye, &Array::from_shape_fn((7, 7), |(i, j)| u8::from(i == j)));
});

on_every_device!(ranges, |device| {
    property(device, 40, (-50i32..50, -50i32..50, -7i32..8), |(start, end, step)| {
        let got = DeviceArray::arange(device, start, end, step);
        if step == 0 {
            return assert_error(got, ErrorKind::Argument, "arange", &["step"]);
        }
        let mut want = Vec::new();
        let mut v = start;
        while (step > 0 && v < end) || (step < 0 && v > end) {
            want.push(v);
            v += step;
        }
        assert_same(&got.unwrap(), &Array::from(want));
    });
    // Bounds whose distance no i32 holds.
    let ends = DeviceArray::arange(device, i32::MIN, i32::MAX, i32::MAX).unwrap();
    assert_same(&ends, &Array::from(vec![i32::MIN, -1, i32::MAX - 1]));
    let tenths = DeviceArray::<f32>::arange(device, 0.0, 1.0, 0.1).unwrap();
    assert_same(&tenths, &Array::from_shape_fn(10, |k| k as f32 * 0.1));
});

on_every_device!(linspaces, |device| {
    property(device, 40, (-9f32..9.0, -9f32..9.0, 0usize..40), |(from, to, n)| {
        let got = DeviceArray::linspace(device, from, to, n).unwrap().to_vec().unwrap();
        assert_eq!(got.len(), n);
        for (k, &v) in got.iter().enumerate() {
            let at = k as f64 / (n - 1).max(1) as f64;
            let want = f64::from(from) + (f64::from(to) - f64::from(from)) * at;
            // The step, its product and the sum are rounded once each, at the scale of the span.
            let scale = from.abs().max(to.abs()).max((to - from).abs());
            let bound = 3.0 * f64::from(scale) * f64::from(f32::EPSILON);
            assert!((f64::from(v) - want).abs() <= bound, "{from}..{to}: {k} of {n}: {v}");
        }
        if n > 1 {
            assert_eq!((got[0], got[n - 1]), (from, to));
        }
    });
});
