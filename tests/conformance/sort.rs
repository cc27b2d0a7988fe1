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
        ($($t:ty)*) => {$( of_type::<$t>(&device, &[0, 1, 2, 511, 4096, 70_001]); )*};
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
