//! Reductions. Every operator on every type is in the table; here are their forms and their edges.

use super::*;
use clan::half::f16;
use clan::ndarray::{Array, Array2, IxDyn, arr1, arr2, s};
use clan::verify::oracle::{arg_extreme, float_sum, groups, integer_fold, ulp};
use clan::{DType, Number, Reduction};

/// Which axes a number picks.
fn pick(ndim: usize, bits: u8) -> Vec<Axis> {
    let mut axes: Vec<Axis> = (0..ndim).filter(|k| bits >> k & 1 == 1).map(Axis).collect();
    if bits >= 128 {
        axes.reverse();
    }
    axes
}

/// The reduction of an array over these axes, and what belongs together in it.
fn over<T: Sample>(
    x: &DeviceArray<T>,
    a: &ArrayD<T>,
    axes: &[Axis],
    keepdims: bool,
) -> (Reduction<T>, Vec<usize>, Vec<Vec<T>>) {
    let (shape, parts) = groups(a, axes, keepdims);
    let reduction = x.over(axes);
    (if keepdims { reduction.keepdims() } else { reduction }, shape, parts)
}

fn expected<T: Sample, U>(shape: Vec<usize>, parts: &[Vec<T>], f: impl Fn(&[T]) -> U) -> ArrayD<U> {
    ArrayD::from_shape_vec(shape, parts.iter().map(|p| f(p)).collect()).unwrap()
}

fn wides<T: Sample>(values: &[T]) -> Vec<Wide> {
    values.iter().map(|v| v.wide()).collect()
}

// More elements than the loops of llvmpipe's work-items have rounds: see the quirks table.
on_every_device!(long_reductions, |device| {
    let n = 6_000_011;
    let values: Vec<f32> = (0..n).map(|k| (k * 7 % 31) as f32 - 15.0).collect();
    let want = values.iter().map(|&v| f64::from(v)).sum::<f64>() as f32;
    let x = DeviceArray::from_slice(device, &values).unwrap();
    assert_eq!(x.sum().unwrap().item().unwrap(), want);
    let ones = DeviceArray::<f32>::ones(device, n).unwrap();
    assert_eq!(x.matmul(&ones).unwrap().item().unwrap(), want);
});

on_every_device!(sums_of_views, |device| {
    let strategy = (shapes(), recipes(), any::<u8>(), any::<bool>());
    property(device, 4, strategy, |(shape, recipe, bits, keepdims)| {
        let (x, a) = view(on(device, &counted::<i32>(&shape)), counted(&shape), &recipe);
        let (r, shape, parts) = over(&x, &a, &pick(a.ndim(), bits), keepdims);
        let sum = |p: &[i32]| integer_fold(DType::I32, &wides(p), false) as i64;
        assert_same(&r.sum().unwrap(), &expected(shape, &parts, sum));
    });
});

on_every_device!(axes_of_every_length, |device| {
    // Rows, columns and what lies between, from nothing to several groups a result.
    let shapes = [
        [3, 5, 7],
        [1, 1, 1],
        [64, 33, 65],
        [2, 7000, 3],
        [1, 1, 10001],
        [300, 2, 64],
        [0, 4, 5],
        [4, 0, 5],
        [2, 3, 0],
    ];
    for shape in shapes {
        let mut rng = Rng::new(5);
        let a = ArrayD::from_shape_simple_fn(IxDyn(&shape), || rng.below(999) as f32 - 500.0);
        let x = on(device, &a);
        for bits in 0..8 {
            let axes = pick(3, bits);
            // Small integers, so that every order of additions is exact.
            let (r, shape, parts) = over(&x, &a, &axes, false);
            let got = r.sum().unwrap();
            assert_same(&got, &expected(shape.clone(), &parts, |p| p.iter().sum::<f32>() + 0.0));
            // The same sum again has the same bits.
            assert_eq!(r.sum().unwrap().to_vec().unwrap(), got.to_vec().unwrap());
            let nothing = parts.iter().any(Vec::is_empty);
            if nothing {
                assert_error(r.argmax(), ErrorKind::Argument, "argmax", &["nothing"]);
                continue;
            }
            let place = |p: &[f32]| arg_extreme(&wides(p), true) as u64;
            assert_same(&r.argmax().unwrap(), &expected(shape, &parts, place));
        }
    }
});

on_every_device!(keepdims_broadcast_back, |device| {
    let a = counted::<f32>(&[3, 4, 5]);
    let x = on(device, &a);
    for bits in 0..8 {
        let axes = pick(3, bits);
        let mean = x.over(&axes).keepdims().mean().unwrap();
        let centred = (&x - &mean).eval().unwrap();
        let rest = centred.over(&axes).sum().unwrap().to_vec().unwrap();
        assert!(rest.iter().all(|v| v.abs() < 1e-3), "{axes:?}: {rest:?}");
        let want: Vec<usize> =
            (0..3).map(|k| if axes.contains(&Axis(k)) { 1 } else { a.shape()[k] }).collect();
        assert_eq!(mean.shape(), want);
    }
    // No axes at all leave every element by itself.
    assert_same(&x.over(&[]).sum().unwrap(), &a);
});

on_every_device!(the_first_of_equals_and_the_first_nan, |device| {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let mut long = vec![0.0; 3000];
    long[1234] = -1.0;
    long[2345] = -1.0;
    let mut late = long.clone();
    late[2999] = nan;
    late[17] = nan;
    let rows = [
        vec![1.0, 0.0, 2.0, 0.0, 2.0],
        vec![0.0, -0.0, 0.0],
        vec![-0.0, 0.0],
        vec![3.0; 70],
        vec![inf; 40],
        vec![-inf; 40],
        vec![-inf, inf, -inf, inf],
        vec![1.0, nan, 0.0, nan],
        vec![nan],
        vec![inf, -inf, nan],
        vec![7.0],
        long,
        late,
    ];
    for row in &rows {
        let x = on(device, &arr1(row));
        for (greatest, got, value) in [(false, x.argmin(), x.min()), (true, x.argmax(), x.max())] {
            let at = arg_extreme(&wides(row), greatest);
            assert_eq!(got.unwrap().item().unwrap(), at as u64, "{greatest} of {row:?}");
            let (got, want) = (value.unwrap().item().unwrap(), row[at]);
            assert!(got == want || got.is_nan() && want.is_nan(), "{greatest} of {row:?}: {got}");
        }
        // Backwards, the last of equals is the first.
        let back: Vec<f32> = row.iter().rev().copied().collect();
        let got = x.slice(s![..;-1]).unwrap().argmin().unwrap().item().unwrap();
        assert_eq!(got, arg_extreme(&wides(&back), false) as u64, "{back:?}");
    }
    // Over several axes the position counts in row-major order, however they lie in memory.
    let a = Array::from_shape_fn((7, 5), |(i, j)| ((i * 3 + j * 5) % 8) as f32);
    let x = on(device, &a);
    for (x, a) in [(x.clone(), a.view()), (x.t(), a.t())] {
        let flat: Vec<f32> = a.iter().copied().collect();
        let got = x.argmax().unwrap().item().unwrap();
        assert_eq!(got, arg_extreme(&wides(&flat), true) as u64);
    }
});

on_every_device!(any_and_all, |device| {
    let a = arr2(&[[true, false], [true, true]]);
    let x = on(device, &a);
    assert!(x.any().unwrap().item().unwrap() && !x.all().unwrap().item().unwrap());
    assert_same(&x.all_axis(Axis(0)).unwrap(), &arr1(&[true, false]));
    assert_same(&x.any_axis(Axis(1)).unwrap(), &arr1(&[true, true]));
    let none = DeviceArray::<bool>::zeros(device, (0, 3)).unwrap();
    assert!(!none.any().unwrap().item().unwrap() && none.all().unwrap().item().unwrap());
    assert_same(&none.all_axis(Axis(0)).unwrap(), &arr1(&[true; 3]));
    assert_eq!(none.any_axis(Axis(1)).unwrap().shape(), [0]);
    // One in a great many, at the ends and in the middle.
    for at in [0, 1, 31_337, 99_999] {
        let mut a = vec![false; 100_000];
        a[at] = true;
        assert!(on(device, &arr1(&a)).any().unwrap().item().unwrap(), "{at}");
        a.iter_mut().for_each(|v| *v = !*v);
        assert!(!on(device, &arr1(&a)).all().unwrap().item().unwrap(), "{at}");
    }
});

/// Within so many units in the last place of Σ|x|.
#[track_caller]
fn assert_sum(got: f32, x: &[f64], ulps: f64) {
    let want = float_sum(x.iter().copied());
    let bound = ulps * ulp(DType::F32, float_sum(x.iter().map(|v| v.abs())));
    assert!((f64::from(got) - want).abs() <= bound, "{} values: {got}, not {want}", x.len());
}

on_every_device!(float_sums_do_not_lose_digits, |device| {
    let mut rng = Rng::new(6);
    for n in [1, 2, 17, 1000, 65_537, 1 << 20] {
        // All of one sign: the sum is where plain additions lose most.
        let a: Vec<f32> = (0..n).map(|_| rng.unit() as f32).collect();
        let x = on(device, &arr1(&a));
        let wide: Vec<f64> = a.iter().map(|&v| f64::from(v)).collect();
        assert_sum(x.sum().unwrap().item().unwrap(), &wide, 2.0);
        let mean = f64::from(x.mean().unwrap().item().unwrap());
        let want = float_sum(wide.iter().copied()) / n as f64;
        assert!((mean - want).abs() <= 3.0 * ulp(DType::F32, want), "mean of {n}: {mean}");
        // Large values that cancel: a few units of Σ|x| whatever the sum.
        let b: Vec<f32> = (0..n).map(|k| if k % 2 == 0 { 1e6 } else { -1e6 } + a[k]).collect();
        let wide: Vec<f64> = b.iter().map(|&v| f64::from(v)).collect();
        let y = on(device, &arr1(&b));
        assert_sum(y.sum().unwrap().item().unwrap(), &wide, 4.0);
        let rows = n / 16;
        if rows > 0 {
            let m = y.slice(s![..rows * 16]).unwrap().reshape((16, rows)).unwrap();
            for (k, got) in m.sum_axis(Axis(1)).unwrap().to_vec().unwrap().into_iter().enumerate() {
                assert_sum(got, &wide[k * rows..(k + 1) * rows], 4.0);
            }
        }
    }
    let special = |v: &[f32]| on(device, &arr1(v)).sum().unwrap().item().unwrap();
    let inf = f32::INFINITY;
    assert_eq!(special(&[1.0, inf, 2.0, inf]), inf);
    assert_eq!(special(&[-inf, 3.0]), -inf);
    assert!(special(&[inf, 1.0, -inf]).is_nan() && special(&[1.0, f32::NAN]).is_nan());
    assert_eq!(special(&[f32::MAX, f32::MAX]), inf);
});

on_every_device!(integer_sums_wrap_in_64_bits, |device| {
    let fold = |x: &[i64], product| integer_fold(DType::I64, &wides(x), product) as i64;
    let mut rng = Rng::new(7);
    let a: Vec<i64> = (0..5000).map(|_| rng.bits() as i64 | 1).collect();
    let x = on(device, &arr1(&a));
    assert_eq!(x.sum().unwrap().item().unwrap(), fold(&a, false));
    assert_eq!(x.prod().unwrap().item().unwrap(), fold(&a, true));
    let ends = on(device, &arr1(&[i64::MAX, 1, i64::MIN, i64::MIN]));
    // (2^63 - 1) + 1 - 2^63 - 2^63, modulo 2^64.
    assert_eq!(ends.sum().unwrap().item().unwrap(), i64::MIN);
    // Narrow types are widened first, by their sign.
    let narrow = on(device, &Array::from_elem(1000, -128i8));
    assert_eq!(narrow.sum().unwrap().item().unwrap(), -128_000);
    assert_eq!(narrow.dot(&narrow).unwrap().item().unwrap(), 16_384_000);
});

on_every_device!(spreads, |device| {
    // Far from zero, where one pass would cancel.
    let a = Array2::from_shape_fn((40, 6), |(i, j)| 1e4 + ((i * 7 + j * 11) % 13) as f32);
    let x = on(device, &a);
    let naive = |v: &[f32], ddof: f64| {
        let n = v.len() as f64;
        let mean = v.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        v.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / (n - ddof)
    };
    let near = |got: f32, want: f64| {
        // The mean is rounded at its own size, 1e4, and stands in every distance.
        let reach = ulp(DType::F32, 1e4);
        let bound = reach * (2.0 * want.sqrt() + reach) + 8.0 * ulp(DType::F32, want);
        assert!((f64::from(got) - want).abs() <= bound, "{got}, not {want}");
    };
    for ddof in [0.0, 1.0, 2.5] {
        for (k, got) in x.var_axis(Axis(0), ddof).unwrap().to_vec().unwrap().into_iter().enumerate()
        {
            near(got, naive(&a.column(k).to_vec(), ddof));
        }
        let all: Vec<f32> = a.iter().copied().collect();
        near(x.var(ddof).unwrap().item().unwrap(), naive(&all, ddof));
        near(x.std(ddof).unwrap().item().unwrap().powi(2), naive(&all, ddof));
    }
    // Without freedom: NaN, and not infinity.
    let few = on(device, &arr1(&[1.0f32, 2.0]));
    for ddof in [2.0, 3.0, f64::INFINITY, f64::NAN] {
        assert!(few.var(ddof).unwrap().item().unwrap().is_nan(), "{ddof}");
        assert!(few.std(ddof).unwrap().item().unwrap().is_nan(), "{ddof}");
    }
    let one = on(device, &arr1(&[5.0f32]));
    assert_eq!(one.var(0.0).unwrap().item().unwrap(), 0.0);
    assert!(one.var(1.0).unwrap().item().unwrap().is_nan());
    let none = DeviceArray::<f32>::zeros(device, 0).unwrap();
    assert!(none.var(0.0).unwrap().item().unwrap().is_nan());
    assert!(none.mean().unwrap().item().unwrap().is_nan());
});

on_every_device!(norms_without_overflow, |device| {
    let norm = |v: &[f32]| on(device, &arr1(v)).norm().unwrap().item().unwrap();
    for size in [1.0, 1e30, 1e-30] {
        let got = f64::from(norm(&[3.0 * size, -4.0 * size, 12.0 * size])) / f64::from(size);
        assert!((got - 13.0).abs() < 13.0 * 4.0 * f64::from(f32::EPSILON), "{size:e}: {got}");
    }
    assert_eq!((norm(&[]), norm(&[0.0, -0.0])), (0.0, 0.0));
    assert_eq!(norm(&[1.0, f32::NEG_INFINITY]), f32::INFINITY);
    assert!(norm(&[1.0, f32::NAN]).is_nan());
    let m = on(device, &arr2(&[[3.0f32, 4.0], [0.0, 0.0], [6.0, -8.0]]));
    let rows = m.over(&[Axis(1)]).keepdims().norm().unwrap();
    assert_same(&rows, &arr2(&[[5.0f32], [0.0], [10.0]]));
});

on_every_device!(expressions_are_taken_in, |device| {
    let (a, b) = (counted::<f32>(&[30, 40]), counted::<f32>(&[40]));
    let (x, y) = (on(device, &a), on(device, &b));
    let sum = (&x * &y).sum_axis(Axis(0)).unwrap();
    let want = Array::from_shape_fn(40, |j| (0..30).map(|i| a[[i, j]] * b[j]).sum::<f32>());
    assert_same(&sum, &want);
    assert_eq!(x.gt(100.0).cast::<u8>().sum().unwrap().item().unwrap(), 1099);
    // A half float inside is computed, and summed, in f32.
    let h = on(device, &a.mapv(f16::from_f32));
    assert_eq!((&h + f16::ONE).sum().unwrap().item().unwrap(), {
        a.iter().map(|&v| f16::from_f32(v).to_f32() + 1.0).sum::<f32>()
    });
    // One element that stands for all.
    let wide = on(device, &arr1(&[2i32])).broadcast((100, 30)).unwrap();
    assert_eq!(wide.sum().unwrap().item().unwrap(), 6000);
    assert_same(&wide.sum_axis(Axis(0)).unwrap(), &Array::from_elem(30, 200i64));
});

/// Where all of an array is one result, its type is that of the documentation.
fn same_type<T: Number<Sum = S, Mean = M>, S: Number, M>() {}

#[test]
fn result_types() {
    same_type::<i8, i64, f64>();
    same_type::<u32, u64, f64>();
    same_type::<f16, f32, f32>();
    same_type::<f64, f64, f64>();
}

/// The order that `Reduction::reproducible` promises, element by element: blocks of 4,096, in them 32
/// lanes, lanes at distances 16, 8, 4, 2, 1, and so on with the blocks' results.
fn in_order(x: &[f32], f: fn(f32, f32) -> f32) -> f32 {
    let mut values = x.to_vec();
    loop {
        let mut next = Vec::new();
        let mut from = 0;
        while from < values.len() {
            let block = &values[from..values.len().min(from + 4096)];
            let mut lanes: Vec<f32> = Vec::new();
            for (i, &v) in block.iter().enumerate() {
                if i < 32 { lanes.push(v) } else { lanes[i % 32] = f(lanes[i % 32], v) }
            }
            for apart in [16, 8, 4, 2, 1] {
                for l in 0..apart {
                    if l + apart < lanes.len() {
                        lanes[l] = f(lanes[l], lanes[l + apart]);
                    }
                }
            }
            next.push(lanes[0]);
            from += 4096;
        }
        values = next;
        if values.len() == 1 {
            return values[0];
        }
    }
}

// Wild magnitudes, so that every other order gives other bits.
on_every_device!(reproducible_bits, |device| {
    let value = |i: usize| {
        let bits = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (bits as f32 / (1u64 << 32) as f32 - 0.5) * [1e-3, 1.0, 300.0, 1e5][i % 4]
    };
    let make = |n: usize| (0..n).map(value).collect::<Vec<f32>>();
    let same = |got: f32, want: f32| assert_eq!(got.to_bits(), want.to_bits(), "{got} {want}");
    if !device.info().denormals {
        let x = DeviceArray::from_slice(device, &make(3)).unwrap();
        let told = x.over(&[Axis(0)]).reproducible().sum().unwrap_err().to_string();
        assert!(told.contains("subnormal"), "{told}");
        return;
    }
    for n in [1, 2, 3, 31, 32, 33, 63, 100, 4095, 4096, 4097, 8192, 300_007] {
        let values = make(n);
        let x = DeviceArray::from_slice(device, &values).unwrap();
        let r = x.over(&[Axis(0)]).reproducible();
        same(r.sum().unwrap().item().unwrap(), in_order(&values, |a, b| a + b));
        same(
            r.min().unwrap().item().unwrap(),
            values.iter().copied().fold(f32::INFINITY, f32::min),
        );
        // An expression inside, of operators that are exact everywhere.
        let e = (&x * &x - 0.5).over(&[Axis(0)]).reproducible().sum().unwrap();
        let squares: Vec<f32> = values.iter().map(|v| v * v - 0.5).collect();
        same(e.item().unwrap(), in_order(&squares, |a, b| a + b));
        let near: Vec<f32> = values.iter().map(|v| 1.0 + v * 1e-9).collect();
        let x = DeviceArray::from_slice(device, &near).unwrap();
        same(
            x.over(&[Axis(0)]).reproducible().prod().unwrap().item().unwrap(),
            in_order(&near, |a, b| a * b),
        );
    }
    // Axes, and a view that is not contiguous.
    let a = Array::from_shape_vec((70, 3, 150), make(70 * 3 * 150)).unwrap();
    let x = on(device, &a);
    let view = x.slice(s![..;2, .., 7..]).unwrap();
    let part = a.slice(s![..;2, .., 7..]);
    let got = view.over(&[Axis(0), Axis(2)]).reproducible().keepdims().sum().unwrap();
    assert_eq!(got.shape(), [1, 3, 1]);
    for (j, got) in got.to_vec().unwrap().into_iter().enumerate() {
        let row: Vec<f32> = part.slice(s![.., j, ..]).iter().copied().collect();
        same(got, in_order(&row, |a, b| a + b));
    }
    // Subnormal numbers, signed zeros, NaN, infinities.
    let tiny = vec![1e-40f32; 5000];
    let x = DeviceArray::from_slice(device, &tiny).unwrap();
    same(
        x.over(&[Axis(0)]).reproducible().sum().unwrap().item().unwrap(),
        in_order(&tiny, |a, b| a + b),
    );
    let reduced = |values: &[f32]| {
        let x = DeviceArray::from_slice(device, values).unwrap();
        let r = x.over(&[Axis(0)]).reproducible();
        [r.sum(), r.prod(), r.min(), r.max()].map(|v| v.unwrap().item().unwrap().to_bits())
    };
    let (zero, minus, nan) = (0.0f32.to_bits(), (-0.0f32).to_bits(), f32::NAN.to_bits());
    assert_eq!(reduced(&[0.0, -0.0]), [zero, minus, minus, zero]);
    assert_eq!(reduced(&[-0.0, 0.0]), [zero, minus, minus, zero]);
    assert_eq!(reduced(&[-f32::NAN, 1.0]), [nan; 4]);
    assert_eq!(reduced(&[f32::INFINITY, f32::NEG_INFINITY])[0], nan);
    // Nothing at all, integers, what is refused.
    let none = DeviceArray::<f32>::zeros(device, 0).unwrap();
    assert_eq!(none.over(&[Axis(0)]).reproducible().sum().unwrap().item().unwrap(), 0.0);
    assert!(none.over(&[Axis(0)]).reproducible().max().is_err());
    let whole = DeviceArray::from_slice(device, &[3i32, 4]).unwrap();
    assert_eq!(whole.over(&[Axis(0)]).reproducible().sum().unwrap().item().unwrap(), 7);
    let told = x.over(&[Axis(0)]).reproducible().mean().unwrap_err().to_string();
    assert!(told.contains("reproducible are sum"), "{told}");
});

// Half floats are summed in f32, extremes stay what they were.
on_every_device!(reproducible_halves, |device| {
    if !device.info().denormals {
        return;
    }
    let values: Vec<f16> = (0..9000).map(|i| f16::from_f32((i * 37 % 1001) as f32 / 7.0)).collect();
    let x = DeviceArray::from_slice(device, &values).unwrap();
    let r = x.over(&[Axis(0)]).reproducible();
    let wide: Vec<f32> = values.iter().map(|v| v.to_f32()).collect();
    assert_eq!(r.sum().unwrap().item().unwrap(), in_order(&wide, |a, b| a + b));
    assert_eq!(r.max().unwrap().item().unwrap(), f16::from_f32(1000.0 / 7.0));
});
