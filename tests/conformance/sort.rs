//! Sorts, against the standard library's stable one.

use super::*;
use clan::verify::oracle::order;

/// Every lane in order, and where its elements come from.
fn sorted<T: Sample>(x: &ArrayD<T>, axis: usize, down: bool) -> (ArrayD<T>, ArrayD<u64>) {
    let (mut values, mut from) = (x.clone(), ArrayD::zeros(x.raw_dim()));
    let lanes = x.lanes(Axis(axis)).into_iter().zip(values.lanes_mut(Axis(axis)));
    for ((x, mut values), mut from) in lanes.zip(from.lanes_mut(Axis(axis))) {
        let mut places: Vec<usize> = (0..x.len()).collect();
        places.sort_by(|&a, &b| {
            let order = order(x[a].wide(), x[b].wide());
            if down { order.reverse() } else { order }
        });
        for (k, place) in places.into_iter().enumerate() {
            values[k] = x[place];
            from[k] = place as u64;
        }
    }
    (values, from)
}

fn check<T: Sample>(device: &Device, x: &DeviceArray<T>, a: &ArrayD<T>, axis: usize, down: bool) {
    let (values, from) = sorted(a, axis, down);
    let mut sort = x.sorted(Axis(axis));
    if down {
        sort = sort.descending();
    }
    assert_same(&sort.values().unwrap(), &values);
    let (got, places) = sort.values_and_indices().unwrap();
    assert_same(&got, &values);
    assert_same(&places, &from);
    // The same as a payload.
    let mut k = 0;
    let numbers = ArrayD::from_shape_simple_fn(a.raw_dim(), || {
        k += 1;
        k as i16
    });
    let (_, moved) = sort.with(&on(device, &numbers)).unwrap();
    let mut want = numbers.clone();
    let lanes = numbers.lanes(Axis(axis)).into_iter().zip(from.lanes(Axis(axis)));
    for ((numbers, from), mut want) in lanes.zip(want.lanes_mut(Axis(axis))) {
        want.iter_mut().zip(from).for_each(|(w, &f)| *w = numbers[f as usize]);
    }
    assert_same(&moved, &want);
}

on_every_device!(any_view_along_any_axis, |device| {
    let cases = (shapes(), recipes(), any::<u32>());
    property(device, 4, cases, |(shape, recipe, number)| {
        let mut rng = Rng::new(number.into());
        let a = ArrayD::from_shape_simple_fn(shape, || f32::random(&mut rng).trunc());
        let (x, a) = view(on(device, &a), a, &recipe);
        if a.ndim() > 0 {
            check(device, &x, &a, number as usize % a.ndim(), number & 64 != 0);
        }
    });
});

/// Rows shorter and longer than what a group takes, of every type, with equal and special values.
fn of_type<T: Sample>(device: &Device, rows: &[usize]) {
    if !device.supports(T::DTYPE) {
        return;
    }
    let specials = T::specials();
    for &len in rows {
        let mut rng = Rng::new(len as u64);
        let mut value = || match rng.below(4) {
            0 => specials[rng.below(specials.len())],
            _ => T::random(&mut rng),
        };
        let a = ArrayD::from_shape_simple_fn(vec![2, len], &mut value);
        check(device, &on(device, &a), &a, 1, len % 2 == 0);
    }
}

on_every_device!(floats, |device| {
    of_type::<f32>(device, &[1, 700, 9001]);
});
on_every_device!(small_integers, |device| {
    of_type::<i8>(device, &[5000]);
});
on_every_device!(wide_integers, |device| {
    of_type::<i64>(device, &[300, 9000]);
});

#[test]
fn every_type_on_the_host() {
    let device = Device::host();
    macro_rules! each {
        ($($t:ty)*) => {$( of_type::<$t>(&device, &[0, 1, 2, 511, 2000, 33_001]); )*};
    }
    each!(bool u8 u16 u32 u64 i8 i16 i32 i64 clan::half::f16 clan::half::bf16 f32 f64);
}

on_every_device!(in_order_backwards_and_all_equal, |device| {
    let n = 50_000u32;
    let forward: Vec<u32> = (0..n).collect();
    let backward: Vec<u32> = (0..n).rev().collect();
    for keys in [&forward, &backward] {
        let got = DeviceArray::from_slice(device, keys).unwrap().sort(Axis(0)).unwrap();
        assert_eq!(got.to_vec().unwrap(), forward);
    }
    let equal = DeviceArray::full(device, n as usize, 7u32).unwrap();
    let want: Vec<u64> = (0..u64::from(n)).collect();
    assert_eq!(equal.argsort(Axis(0)).unwrap().to_vec().unwrap(), want);
    assert_eq!(equal.sorted(Axis(0)).descending().indices().unwrap().to_vec().unwrap(), want);
});

on_every_device!(mistakes, |device| {
    let x = on(device, &counted::<f32>(&[3, 4]));
    assert_error(x.sort(Axis(2)), ErrorKind::Index, "sort", &["axis 2", "[3, 4]"]);
    let payload = DeviceArray::<u8>::zeros(device, 12).unwrap();
    assert_error(x.sorted(Axis(1)).with(&payload), ErrorKind::Shape, "sort", &["[12]", "[3, 4]"]);
});

/// The first `k` of every lane, from the whole of it in order.
fn check_first<T: Sample>(x: &DeviceArray<T>, a: &ArrayD<T>, axis: usize, ks: &[usize]) {
    for down in [true, false] {
        let (values, from) = sorted(a, axis, down);
        for &k in ks {
            let (got, places) = match down {
                true => x.top_k(k, Axis(axis)).unwrap(),
                false => x.sorted(Axis(axis)).first(k).unwrap(),
            };
            assert_same(&got, &values.slice_axis(Axis(axis), (..k).into()));
            assert_same(&places, &from.slice_axis(Axis(axis), (..k).into()));
        }
    }
}

fn first_of<T: Sample>(device: &Device, shape: &[usize], ks: &[usize]) {
    if device.supports(T::DTYPE) {
        let (mut rng, specials) = (Rng::new(5), T::specials());
        let a = ArrayD::from_shape_simple_fn(shape, || match rng.below(40) {
            0 => specials[rng.below(specials.len())],
            _ => T::random(&mut rng),
        });
        check_first(&on(device, &a), &a, shape.len() - 1, ks);
    }
}

on_every_device!(first_of_rows_and_columns, |device| {
    let a = counted::<f32>(&[7, 30, 5]).mapv(|v| (v * 37.0) % 101.0);
    for axis in 0..3 {
        check_first(&on(device, &a), &a, axis, &[0, 1, a.shape()[axis]]);
    }
    let none = DeviceArray::<i32>::zeros(device, (3, 0)).unwrap();
    assert_eq!(none.top_k(0, Axis(1)).unwrap().0.shape(), [3, 0]);
    assert_eq!(none.top_k(0, Axis(0)).unwrap().1.shape(), [0, 0]);
});
on_every_device!(first_of_many, |device| {
    first_of::<f32>(device, &[2, 70_001], &[100]);
    first_of::<u8>(device, &[100_000], &[9000]);
    first_of::<i64>(device, &[100_000], &[77]);
});
#[test]
fn first_of_every_type_on_the_host() {
    let device = Device::host();
    macro_rules! each {
        ($($t:ty)*) => {$( first_of::<$t>(&device, &[33_001], &[1, 1000]); )*};
    }
    each!(bool u8 u16 u32 u64 i8 i16 i32 i64 clan::half::f16 clan::half::bf16 f32 f64);
}

// What a sample of every 16th says is wrong, in either direction, or says nothing.
on_every_device!(first_where_samples_mislead, |device| {
    let n = 135_000usize;
    let mut rng = Rng::new(11);
    let mut random = || rng.below(1 << 30) as u32 + 5;
    let spread: Vec<u32> = (0..n).map(|_| random()).collect();
    let with = |at: &dyn Fn(usize) -> Option<u32>| -> ArrayD<u32> {
        let values = spread.iter().enumerate().map(|(i, &v)| at(i).unwrap_or(v));
        ArrayD::from_shape_vec(vec![n], values.collect()).unwrap()
    };
    let sampled = |i: usize| i % 16 == 7;
    for a in [
        with(&|i| sampled(i).then_some(u32::MAX - (i as u32))),
        with(&|i| sampled(i).then_some(i as u32 % 2 * u32::MAX)),
        with(&|i| sampled(i).then_some(3)),
        with(&|_| Some(9)),
        // Equal ones at the end, where they are looked for last.
        with(&|i| Some(u32::from(i > n / 2))),
        with(&|i| Some(u32::from(i < n / 2))),
    ] {
        check_first(&on(device, &a), &a, 0, &[1, 9000]);
    }
});

on_every_device!(too_many_first, |device| {
    let x = on(device, &counted::<f32>(&[3, 4]));
    let words = ["first 5 of 4", "[3, 4]"];
    assert_error(x.top_k(5, Axis(1)), ErrorKind::Argument, "top_k", &words);
    assert_error(x.sorted(Axis(0)).first(4), ErrorKind::Argument, "first", &["[4, 3]"]);
    assert_error(x.top_k(1, Axis(2)), ErrorKind::Index, "top_k", &["axis 2", "[3, 4]"]);
});
