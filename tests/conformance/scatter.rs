//! Writing by arrays of indices, against loops that do one value after the other.

use super::gather::{axes, random, random_indices};
use super::*;
use clan::ndarray::{Array1, IxDyn, arr0, arr1, s};
use clan::verify::oracle;
use clan::{DType, IndexElement};

fn puts<T: Sample, I: IndexElement + Sample>(device: &Device, seed: u64) {
    let mut rng = Rng::new(seed);
    let a = random::<T>(&mut rng, &[6, 7, 8]);
    // Many for few places: the last of each stays.
    let sizes: &[usize] = if device.is_host() { &[0, 1, 500, 70_000] } else { &[1, 3000, 40_000] };
    for &n in sizes {
        let (mut x, mut want) = (on(device, &a), a.clone());
        let i = random_indices::<I>(&mut rng, &[n], a.len());
        let v = random::<T>(&mut rng, &[n]);
        x.put(on(device, &i), on(device, &v)).unwrap();
        oracle::put(&mut want, None, &i.view(), &v.view(), |_, new| new);
        assert_same(&x, &want);
        let one = T::random(&mut rng);
        x.put(on(device, &i), one).unwrap();
        oracle::put(
            &mut want,
            None,
            &i.view(),
            &arr0(one).broadcast(IxDyn(&[n])).unwrap(),
            |_, new| new,
        );
        assert_same(&x, &want);
    }
    for axis in axes(device, seed).skip(usize::from(!device.is_host())) {
        let (mut x, mut want) = (on(device, &a), a.clone());
        let mut shape = a.shape().to_vec();
        shape[axis] = 4;
        let i = random_indices::<I>(&mut rng, &shape, a.shape()[axis]);
        let v = random::<T>(&mut rng, &shape);
        x.put_along_axis(Axis(axis), on(device, &i), on(device, &v)).unwrap();
        oracle::put(&mut want, Some((axis, true)), &i.view(), &v.view(), |_, new| new);
        assert_same(&x, &want);
        // Whole sub-arrays, some of them more than once.
        let i = random_indices::<I>(&mut rng, &[9], a.shape()[axis]);
        shape[axis] = 9;
        let v = random::<T>(&mut rng, &shape);
        x.scatter(on(device, &i)).axis(Axis(axis)).put(on(device, &v)).unwrap();
        oracle::put(&mut want, Some((axis, false)), &i.view(), &v.view(), |_, new| new);
        assert_same(&x, &want);
    }
}

on_every_device!(the_last_value_stays, |device| {
    puts::<f32, i32>(device, 1);
    puts::<u8, u64>(device, 2);
    if device.is_host() {
        puts::<f64, u32>(device, 3);
        puts::<i16, i64>(device, 4);
        puts::<bool, u32>(device, 5);
    }
});

on_every_device!(few_values_for_many_places, |device| {
    let mut x = on(device, &Array1::<u16>::zeros(5000));
    let (i, v) = (arr1(&[4999i32, 3, -1, 3]), arr1(&[1u16, 2, 3, 4]));
    x.put(on(device, &i), on(device, &v)).unwrap();
    let mut want = Array1::<u16>::zeros(5000);
    (want[4999], want[3]) = (3, 4);
    assert_same(&x, &want);
});

on_every_device!(others_keep_what_they_see, |device| {
    let a = counted::<i32>(&[5, 6]);
    let mut x = on(device, &a);
    let (clone, view, sum) = (x.clone(), x.slice(s![.., ..;-1]).unwrap(), &x + 1);
    // The values and the indices are the array itself.
    x.put(x.clone(), x.t().reshape((5, 6)).unwrap()).unwrap();
    let turned = a.t().as_standard_layout().into_owned().into_shape_with_order((5, 6)).unwrap();
    assert_same(&x, &turned.mapv(|v| v));
    assert_same(&clone, &a);
    assert_same(&view, &a.slice(s![.., ..;-1]));
    assert_same(&sum.eval().unwrap(), &(&a + 1));
    // A view with gaps becomes an array of its own.
    let mut part = clone.slice(s![1..;2, ..;-2]).unwrap();
    part.scatter_add(0u32, 100).unwrap();
    let mut want = a.slice(s![1..;2, ..;-2]).to_owned();
    want[[0, 0]] += 100;
    assert_same(&part, &want);
    assert_same(&clone, &a);
});

on_every_device!(many_places, |device| {
    let mut rng = Rng::new(11);
    let n = 100_000;
    let a = random::<f32>(&mut rng, &[n]);
    let i = random_indices::<i32>(&mut rng, &[40_000], n);
    let v = random::<f32>(&mut rng, &[40_000]);
    let (mut x, mut want) = (on(device, &a), a.clone());
    x.put(on(device, &i), on(device, &v)).unwrap();
    oracle::put(&mut want, None, &i.view(), &v.view(), |_, new| new);
    assert_same(&x, &want);
    // Small integers, whose sums are exact in every order.
    let small = |n: usize| Array1::from_shape_fn(n, |k| (k * 7919 % 13) as f32 - 6.0).into_dyn();
    let (a, v) = (small(n), small(40_000));
    let (mut x, mut want) = (on(device, &a), a.clone());
    x.scatter(on(device, &i)).add(on(device, &v)).unwrap();
    oracle::put(&mut want, None, &i.view(), &v.view(), |old, new| old + new);
    assert_same(&x, &want);
});

/// Small integers: every order of additions gives the same.
fn adds<T: clan::Number + Sample, I: IndexElement + Sample>(device: &Device, reproducible: bool) {
    let mut rng = Rng::new(9);
    let mut small = |shape: &[usize], most: usize| -> ArrayD<T> {
        let lowest = if T::DTYPE.is_unsigned() { 0 } else { 3 };
        ArrayD::from_shape_simple_fn(shape, || T::of(Wide::Int(rng.below(most) as i128 - lowest)))
    };
    let plus = |a: T, b: T| {
        T::of(match (a.wide(), b.wide()) {
            (Wide::Int(a), Wide::Int(b)) => Wide::Int(a + b),
            (a, b) => Wide::Float(a.float() + b.float()),
        })
    };
    let mut rng = Rng::new(10);
    let a = small(&[3, 4, 5], 7);
    let sizes: &[usize] = if device.is_host() { &[0, 1, 777, 70_000] } else { &[1, 777, 40_000] };
    for &n in sizes {
        // Few enough that half floats stay exact.
        let n = if T::DTYPE.size() == 2 && T::DTYPE.is_float() { n.min(777) } else { n };
        let (mut x, mut want) = (on(device, &a), a.clone());
        let (i, v) = (random_indices::<I>(&mut rng, &[n], 60), small(&[n], 5));
        let (i_there, v_there) = (on(device, &i), on(device, &v));
        let scatter = x.scatter(&i_there);
        let scatter = if reproducible { scatter.reproducible() } else { scatter };
        scatter.add(&v_there).unwrap();
        oracle::put(&mut want, None, &i.view(), &v.view(), plus);
        assert_same(&x, &want);
    }
    if reproducible || !device.is_host() && T::DTYPE != DType::F32 {
        return;
    }
    for (axis, along) in [(0, true), (2, true), (1, false), (2, false)] {
        let (mut x, mut want) = (on(device, &a), a.clone());
        let mut shape = a.shape().to_vec();
        shape[axis] = 6;
        let line = [6];
        let i = random_indices::<I>(&mut rng, if along { &shape } else { &line }, a.shape()[axis]);
        let v = small(&shape, 5);
        let (i_there, v_there) = (on(device, &i), on(device, &v));
        let scatter = x.scatter(&i_there);
        let scatter = if along { scatter.along_axis(Axis(axis)) } else { scatter.axis(Axis(axis)) };
        scatter.add(&v_there).unwrap();
        oracle::put(&mut want, Some((axis, along)), &i.view(), &v.view(), plus);
        assert_same(&x, &want);
    }
}

on_every_device!(sums_by_index, |device| {
    adds::<f32, u32>(device, false);
    adds::<i64, i32>(device, false);
    adds::<f32, u32>(device, true);
    if device.is_host() || device.supports(DType::F64) {
        adds::<f64, u32>(device, false);
        adds::<f64, u32>(device, true);
    }
    if device.is_host() {
        adds::<half::f16, u64>(device, false);
        adds::<half::bf16, u64>(device, true);
        adds::<i8, i64>(device, false);
        adds::<u16, u32>(device, false);
        adds::<u64, u32>(device, false);
        adds::<i32, u32>(device, false);
    } else {
        adds::<half::f16, i32>(device, false);
        adds::<u8, i32>(device, false);
        adds::<i32, u32>(device, false);
    }
});

on_every_device!(integers_wrap_and_carry, |device| {
    // Sums that carry from the lower half of 64 bits into the upper one many times.
    let n = 4000;
    let i = Array1::from_shape_fn(n, |k| (k % 3) as u32);
    let v =
        Array1::from_shape_fn(n, |k| (k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 0xffff_0000);
    let mut want = [1u64, u64::MAX, 0];
    i.iter().zip(&v).for_each(|(&i, &v)| want[i as usize] = want[i as usize].wrapping_add(v));
    let mut x = on(device, &arr1(&[1u64, u64::MAX, 0]));
    x.scatter_add(on(device, &i), on(device, &v)).unwrap();
    assert_eq!(x.to_vec().unwrap(), want);
    let mut x = on(device, &arr1(&[100i8, -100]));
    x.scatter_add(on(device, &arr1(&[0i32, 1, 0, 1])), on(device, &arr1(&[100i8, -100, 3, 0])))
        .unwrap();
    assert_eq!(x.to_vec().unwrap(), [100i8.wrapping_add(103), (-100i8).wrapping_sub(100)]);
});

on_every_device!(exact_sums_have_the_same_bits_everywhere, |device| {
    let mut rng = Rng::new(3);
    let n = 6000;
    let i = Array1::from_shape_simple_fn(n, || rng.below(7) as u32);
    // Numbers of all sizes that nearly cancel, so that every order but the exact one differs.
    let mut v = Array1::from_shape_simple_fn(n, || {
        let size = rng.below(60) as i32 - 30;
        (rng.unit() * 2.0 - 1.0) as f32 * 2f32.powi(size)
    });
    v[5] = f32::from_bits(3);
    let start = [0.0f32, -0.0, 1e20, f32::NAN, 1.0, f32::INFINITY, 3.0, -0.0];
    let mut want = start;
    for (k, w) in want.iter_mut().enumerate() {
        let terms: Vec<f64> =
            i.iter().zip(&v).filter(|(i, _)| **i as usize == k).map(|(_, &v)| v.into()).collect();
        if !terms.is_empty() {
            // Twice the digits of f64, so the rounding to f32 is that of the exact sum.
            *w = oracle::float_sum(terms.into_iter().chain([f64::from(*w)])) as f32;
        }
    }
    for turn in 0..2 {
        let mut x = on(device, &arr1(&start));
        // Also in another order.
        let step = if turn == 0 { s![..] } else { s![..;-1] };
        let (i, v) = (on(device, &i).slice(step).unwrap(), on(device, &v).slice(step).unwrap());
        x.scatter(&i).reproducible().add(&v).unwrap();
        assert_same(&x, &arr1(&want));
    }
});
