//! Arrays by arrays of indices, and arrays put together from arrays, against plain loops over ndarrays.

use super::*;
use clan::ndarray::{Array1, Array2, ArrayViewD, IxDyn, arr0, arr1, arr2, s};
use clan::verify::oracle;
use clan::{DType, IndexElement, Pad};

/// Indices into an axis; half of them count from its end, where the type has a sign.
fn random_indices<I: IndexElement + Sample>(
    rng: &mut Rng,
    shape: &[usize],
    len: usize,
) -> ArrayD<I> {
    ArrayD::from_shape_simple_fn(shape, || {
        let at = rng.below(len) as i128;
        let back = I::DTYPE.is_signed() && rng.below(2) == 0;
        I::of(Wide::Int(if back { at - len as i128 } else { at }))
    })
}

fn random<T: Sample>(rng: &mut Rng, shape: &[usize]) -> ArrayD<T> {
    ArrayD::from_shape_simple_fn(shape, || T::random(rng))
}

/// Every form where a form costs no program, and else those of one type.
fn axes(device: &Device, seed: u64) -> std::ops::Range<usize> {
    match (device.is_host(), seed) {
        (true, _) => 0..3,
        (false, 1) => 1..3,
        _ => 0..0,
    }
}

fn takes<T: Sample, I: IndexElement + Sample>(device: &Device, seed: u64) {
    let mut rng = Rng::new(seed);
    let a = random::<T>(&mut rng, &[5, 7, 6]);
    let x = on(device, &a);
    // On, below and above what a work-item, a group and a vector take; more than one of the host's pieces
    // where that costs little.
    let many: &[usize] = if device.is_host() { &[0, 1, 3, 1025, 40_000] } else { &[1, 1023, 2051] };
    for &n in many {
        let i = random_indices::<I>(&mut rng, &[n], a.len());
        assert_same(&x.take(&on(device, &i)).unwrap(), &oracle::take(&a.view(), &i.view()));
    }
    let i = random_indices::<I>(&mut rng, &[2, 3], a.len());
    assert_same(&x.take(&on(device, &i)).unwrap(), &oracle::take(&a.view(), &i.view()));
    for axis in axes(device, seed) {
        let i = random_indices::<I>(&mut rng, &[4, 2], a.shape()[axis]);
        let want = oracle::take_axis(&a.view(), axis, &i.view());
        assert_same(&x.take_axis(Axis(axis), &on(device, &i)).unwrap(), &want);
        let mut shape = a.shape().to_vec();
        shape[axis] = 3;
        let i = random_indices::<I>(&mut rng, &shape, a.shape()[axis]);
        let want = oracle::take_along_axis(&a.view(), axis, &i.view());
        assert_same(&x.take_along_axis(Axis(axis), &on(device, &i)).unwrap(), &want);
    }
}

on_every_device!(elements_by_index, |device| {
    takes::<f32, u32>(device, 1);
    takes::<u8, i64>(device, 2);
    if device.is_host() {
        takes::<f64, i32>(device, 3);
        takes::<bool, u64>(device, 4);
        takes::<half::bf16, u32>(device, 5);
        takes::<i64, i64>(device, 6);
    } else if device.supports(DType::F64) {
        takes::<f64, i32>(device, 3);
    }
});

on_every_device!(rows_by_index, |device| {
    // Rows of every alignment: moved in elements of 1 to 16 bytes.
    let mut rng = Rng::new(1);
    let widths: &[usize] =
        if device.is_host() { &[1, 2, 3, 4, 6, 8, 20, 1500] } else { &[3, 4, 8] };
    for &width in widths {
        let a = random::<u16>(&mut rng, &[9, width + 4]);
        let x = on(device, &a);
        let i = random_indices::<u32>(&mut rng, &[70], 9);
        for skip in [0, 1, 4] {
            let (y, b) =
                (x.slice(s![.., skip..skip + width]).unwrap(), a.slice(s![.., skip..skip + width]));
            let want = oracle::take_axis(&b.into_dyn(), 0, &i.view());
            assert_same(&y.take_axis(Axis(0), &on(device, &i)).unwrap(), &want);
        }
    }
});

on_every_device!(views_and_expressions, |device| {
    let mut rng = Rng::new(7);
    let a = random::<i32>(&mut rng, &[6, 8, 10]);
    let x = on(device, &a);
    let part = s![..;-2, 1.., 3..;3];
    let (y, b) = (x.slice(part).unwrap().t(), a.slice(part).reversed_axes());
    let b = b.into_dyn();
    for axis in 0..3 {
        let n = b.shape()[axis];
        let i = random_indices::<i32>(&mut rng, &[8, 5], n);
        // Every other index, backwards.
        let (j, view) = (on(device, &i).slice(s![..;-2, ..]).unwrap(), i.slice(s![..;-2, ..]));
        let want = oracle::take_axis(&b, axis, &view.into_dyn());
        assert_same(&y.take_axis(Axis(axis), &j).unwrap(), &want);
    }
    let i = random_indices::<i32>(&mut rng, &[30], b.len());
    assert_same(&y.take(&on(device, &i)).unwrap(), &oracle::take(&b, &i.view()));
    // Computed on the way; and one index.
    let n = b.len() as i32;
    let want = oracle::take(&b, &i.mapv(|i| (i * 3) % n).view());
    assert_same(&y.take((on(device, &i) * 3) % n).unwrap(), &want);
    assert_same(&x.take_axis(Axis(1), -1i32).unwrap(), &a.index_axis(Axis(1), 7));
    // Along an axis lengths broadcast both ways.
    let i = random_indices::<i32>(&mut rng, &[1, 4, 10], 8);
    let want = oracle::take_along_axis(&a.view(), 1, &i.broadcast(IxDyn(&[6, 4, 10])).unwrap());
    assert_same(&x.take_along_axis(Axis(1), &on(device, &i)).unwrap(), &want);
    let row = x.slice(s![.., 2..3, ..]).unwrap();
    let i = random_indices::<i32>(&mut rng, &[6, 8, 2], 10);
    let wide = a.slice(s![.., 2..3, ..]);
    let want =
        oracle::take_along_axis(&wide.broadcast((6, 8, 10)).unwrap().into_dyn(), 2, &i.view());
    assert_same(&row.take_along_axis(Axis(2), &on(device, &i)).unwrap(), &want);
});

on_every_device!(nothing_to_take, |device| {
    let x = on(device, &counted::<f32>(&[0, 3]));
    let none = on(device, &Array1::<u32>::zeros(0));
    assert_eq!(x.take(&none).unwrap().shape(), [0]);
    assert_eq!(x.take_axis(Axis(0), &none).unwrap().shape(), [0, 3]);
    assert_eq!(x.take_axis(Axis(1), &on(device, &arr1(&[2u32]))).unwrap().shape(), [0, 1]);
    let words = ["length 0", "[0, 3]"];
    assert_error(x.take_axis(Axis(0), 0u32), ErrorKind::Index, "take_axis", &words);
    let mut y = x.clone();
    y.put(&none, 1.0).unwrap();
    y.scatter_add(&none, 1.0).unwrap();
    assert_eq!(y.shape(), [0, 3]);
});

/// An error at the call, or, where a device finds it, at the next read.
#[track_caller]
fn assert_outside<T: clan::Element>(got: Result<DeviceArray<T>, Error>, op: &str, words: &[&str]) {
    let got = got.and_then(|x| x.to_vec());
    assert_error(got, ErrorKind::Index, op, words);
}

on_every_device!(indices_outside, |device| {
    let x = on(device, &counted::<f32>(&[4, 25]));
    let mut i = Array1::<i32>::zeros(3000);
    let good = x.take(&on(device, &i)).unwrap();
    (i[2999], i[1700], i[2500]) = (100, -101, 7000);
    let words = ["index -101,", "position 1700 ", "100 elements", "from -100 to 99"];
    assert_outside(x.take(&on(device, &i)), "take", &words);
    // What is computed after an error was told is as good as ever, and so is what was before.
    assert_same(&good, &Array1::<f32>::zeros(3000));
    i.fill(-100);
    assert_same(&x.take(&on(device, &i)).unwrap(), &Array1::<f32>::zeros(3000));
    // Rows: the position is that among the indices, not among the elements moved.
    let rows = arr2(&[[0i64, 3], [-4, 4], [9, 9]]);
    let words = ["index 4,", "position 3 ", "axis 0 of length 4", "from -4 to 3"];
    assert_outside(x.take_axis(Axis(0), &on(device, &rows)), "take_axis", &words);
    let columns = arr1(&[0u64, 24, u64::MAX, 25]);
    let words = [&*format!("index {}, at position 2 ", u64::MAX), "axis 1 of length 25", "from 0"];
    assert_outside(x.take_axis(Axis(1), &on(device, &columns)), "take_axis", &words);
    let along = arr2(&[[0u32], [1], [2], [25]]);
    assert_outside(
        x.take_along_axis(Axis(1), &on(device, &along)),
        "take_along_axis",
        &["index 25,", "position 3 "],
    );
    // All of them.
    let all = Array1::<u32>::from_elem(5000, 100);
    let words = ["index 100,", "position 0 ", "from 0 to 99"];
    assert_outside(x.take(&on(device, &all)), "take", &words);
    // A mistake shows in what was made of it, also when it is known, and in nothing else.
    let bad = [555i32, 777].map(|i| x.take(&on(device, &arr1(&[1, i]))));
    let fine = (x.take(&on(device, &arr1(&[2i32]))).unwrap() + 1.0).eval().unwrap();
    for (bad, index) in bad.into_iter().zip(["index 555,", "index 777,"]) {
        let Ok(bad) = bad else {
            assert_outside(bad, "take", &[index]);
            continue;
        };
        for _ in 0..2 {
            let sum = (&bad + &fine).sum().unwrap();
            let copy = DeviceArray::concatenate(Axis(0), [&bad, &fine]).unwrap();
            assert_error(sum.item(), ErrorKind::Index, "take", &[index, "position 1 "]);
            assert_error(copy.to_vec(), ErrorKind::Index, "take", &[index]);
            assert_error(bad.to_device(&Device::host()), ErrorKind::Index, "take", &[index]);
        }
    }
    assert_same(&fine, &arr1(&[3f32]));
    // A long chain, each link with indices of its own.
    let mut chain = x.take(&on(device, &arr1(&[3i32, 100]))).unwrap_or_else(|_| fine.clone());
    for _ in 0..40 {
        chain = (&chain + x.take(0u32).unwrap()).eval().unwrap();
    }
    match device.is_host() {
        true => assert_same(&chain, &arr1(&[3f32])),
        false => assert_error(chain.to_vec(), ErrorKind::Index, "take", &["index 100,"]),
    }
    assert_same(&x, &counted::<f32>(&[4, 25]));
    for op in ["put", "scatter_add"] {
        let mut y = x.clone();
        let bad = on(device, &arr1(&[3i32, -101, 100]));
        let done = if op == "put" { y.put(&bad, 1.0) } else { y.scatter_add(&bad, 1.0) };
        let words = ["index -101,", "position 1 "];
        assert_outside(done.and_then(|()| Ok(y.clone())), op, &words);
        if device.is_host() {
            assert_same(&y, &counted::<f32>(&[4, 25]));
        }
    }
});

on_every_device!(mistakes, |device| {
    let x = on(device, &counted::<f32>(&[4, 5]));
    let i = on(device, &arr1(&[0u32, 1]));
    assert_error(x.take_axis(Axis(2), &i), ErrorKind::Index, "take_axis", &["axis 2", "[4, 5]"]);
    let words = ["[2]", "[4, 5]"];
    assert_error(x.take_along_axis(Axis(0), &i), ErrorKind::Shape, "take_along_axis", &words);
    let wide = on(device, &Array2::<u32>::zeros((3, 3)));
    let words = ["[3, 3]", "[4, 5]", "axis 0"];
    assert_error(x.take_along_axis(Axis(0), &wide), ErrorKind::Shape, "take_along_axis", &words);
    let mut y = x.clone();
    let three = on(device, &arr1(&[1f32, 2.0, 3.0]));
    assert_error(y.put(&i, &three), ErrorKind::Shape, "put", &["[3]", "[2]"]);
    assert_error(y.scatter_add(&i, &three), ErrorKind::Shape, "scatter_add", &["[3]", "[2]"]);
    let tall = on(device, &Array2::<u32>::zeros((1, 9)));
    let put = y.put_along_axis(Axis(0), &tall, 0.0);
    assert_error(put, ErrorKind::Shape, "put_along_axis", &["[1, 9]", "[4, 5]"]);
    assert_same(&y, &counted::<f32>(&[4, 5]));
    if let Some(other) = Device::all().into_iter().find(|d| d != device) {
        let there = on(&other, &arr1(&[0u32, 1]));
        assert_error(x.take(&there), ErrorKind::DeviceMismatch, "take", &["to_device"]);
        assert_error(y.put(&there, 1.0), ErrorKind::DeviceMismatch, "put", &["to_device"]);
    }
    type A = DeviceArray<f32>;
    let concatenate = "concatenate";
    assert_error(
        A::concatenate(Axis(0), [&x; 0]),
        ErrorKind::Argument,
        concatenate,
        &["no arrays"],
    );
    assert_error(A::concatenate(Axis(2), [&x]), ErrorKind::Index, concatenate, &["axis 2"]);
    let words = ["[4, 5]", "[3]"];
    assert_error(A::concatenate(Axis(0), [&x, &three]), ErrorKind::Shape, concatenate, &words);
    let words = ["[4, 5]", "[5, 4]"];
    assert_error(A::concatenate(Axis(0), [&x, &x.t()]), ErrorKind::Shape, concatenate, &words);
    assert_error(A::stack(Axis(0), [&x, &x.t()]), ErrorKind::Shape, "stack", &words);
    assert_error(A::stack(Axis(3), [&x]), ErrorKind::Index, "stack", &["axis 3"]);
    assert_error(x.pad(&[(1, 1)], Pad::Edge), ErrorKind::Shape, "pad", &["1 widths", "[4, 5]"]);
    let empty = x.slice(s![..0, ..]).unwrap();
    let padded = empty.pad(&[(1, 0), (0, 0)], Pad::Wrap);
    assert_error(padded, ErrorKind::Argument, "pad", &["axis 0", "Constant"]);
    let huge = [(usize::MAX, 1), (0, 0)];
    assert_error(x.pad(&huge, Pad::Edge), ErrorKind::TooLarge, "pad", &["smaller"]);
    assert_error(x.repeat(Axis(0), usize::MAX), ErrorKind::TooLarge, "repeat", &["smaller"]);
    assert_error(x.tile(&[usize::MAX, 2]), ErrorKind::TooLarge, "tile", &["smaller"]);
    assert_error(x.roll(Axis(2), 1), ErrorKind::Index, "roll", &["axis 2"]);
    assert_error(x.flip(&[Axis(1), Axis(1)]), ErrorKind::Index, "flip", &["twice"]);
});

fn puts<T: Sample, I: IndexElement + Sample>(device: &Device, seed: u64) {
    let mut rng = Rng::new(seed);
    let a = random::<T>(&mut rng, &[6, 7, 8]);
    // Many for few places: the last of each stays.
    let sizes: &[usize] = if device.is_host() { &[0, 1, 500, 70_000] } else { &[1, 3000] };
    for &n in sizes {
        let (mut x, mut want) = (on(device, &a), a.clone());
        let i = random_indices::<I>(&mut rng, &[n], a.len());
        let v = random::<T>(&mut rng, &[n]);
        x.put(&on(device, &i), &on(device, &v)).unwrap();
        oracle::put(&mut want, None, &i.view(), &v.view(), |_, new| new);
        assert_same(&x, &want);
        let one = T::random(&mut rng);
        x.put(&on(device, &i), one).unwrap();
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
        x.put_along_axis(Axis(axis), &on(device, &i), &on(device, &v)).unwrap();
        oracle::put(&mut want, Some((axis, true)), &i.view(), &v.view(), |_, new| new);
        assert_same(&x, &want);
        // Whole sub-arrays, some of them more than once.
        let i = random_indices::<I>(&mut rng, &[9], a.shape()[axis]);
        shape[axis] = 9;
        let v = random::<T>(&mut rng, &shape);
        x.scatter(&on(device, &i)).axis(Axis(axis)).put(&on(device, &v)).unwrap();
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

on_every_device!(others_keep_what_they_see, |device| {
    let a = counted::<i32>(&[5, 6]);
    let mut x = on(device, &a);
    let (clone, view, sum) = (x.clone(), x.slice(s![.., ..;-1]).unwrap(), &x + 1);
    // The values and the indices are the array itself.
    x.put(&x.clone(), &x.t().reshape((5, 6)).unwrap()).unwrap();
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
    let sizes: &[usize] = if device.is_host() { &[0, 1, 777, 70_000] } else { &[1, 777] };
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
    x.scatter_add(&on(device, &i), &on(device, &v)).unwrap();
    assert_eq!(x.to_vec().unwrap(), want);
    let mut x = on(device, &arr1(&[100i8, -100]));
    x.scatter_add(&on(device, &arr1(&[0i32, 1, 0, 1])), &on(device, &arr1(&[100i8, -100, 3, 0])))
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

on_every_device!(put_together, |device| {
    let mut rng = Rng::new(11);
    let a = random::<f32>(&mut rng, &[3, 4, 5]);
    let x = on(device, &a);
    for axis in 0..3 {
        let parts = [a.view(), a.slice(s![..;-1, .., ..;-1]).into_dyn(), a.view()];
        let arrays = [x.clone(), x.slice(s![..;-1, .., ..;-1]).unwrap(), x.clone()];
        let want = clan::ndarray::concatenate(Axis(axis), &parts).unwrap();
        assert_same(&DeviceArray::concatenate(Axis(axis), &arrays).unwrap(), &want);
        assert_same(&DeviceArray::concatenate(Axis(axis), [&x]).unwrap(), &a);
        let (before, after) =
            (a.slice_axis(Axis(axis), (..1).into()), a.slice_axis(Axis(axis), (1..).into()));
        let none = a.slice_axis(Axis(axis), (..0).into());
        let arrays = [&before, &none, &after].map(|part| on(device, part));
        assert_same(&DeviceArray::concatenate(Axis(axis), &arrays).unwrap(), &a);
    }
    for axis in 0..4 {
        let want = clan::ndarray::stack(Axis(axis), &[a.view(), a.view()]).unwrap();
        assert_same(&DeviceArray::stack(Axis(axis), [&x, &x]).unwrap(), &want);
    }
    let sums = DeviceArray::stack(Axis(1), [&x + 1.0, &x * 2.0]).unwrap();
    assert_same(
        &sums,
        &clan::ndarray::stack(Axis(1), &[(&a + 1.0).view(), (&a * 2.0).view()]).unwrap(),
    );
    let b = random::<half::f16>(&mut rng, &[7]);
    let y = on(device, &b);
    let want = clan::ndarray::concatenate(Axis(0), &[b.view(), b.view()]).unwrap();
    assert_same(&DeviceArray::concatenate(Axis(0), [&y, &y]).unwrap(), &want);
});

fn by_places<T: Clone>(a: &ArrayViewD<'_, T>, axis: usize, places: &[usize]) -> ArrayD<T> {
    a.select(Axis(axis), places)
}

on_every_device!(repeated_rolled_and_flipped, |device| {
    let mut rng = Rng::new(12);
    let a = random::<i16>(&mut rng, &[3, 4, 5]);
    let x = on(device, &a);
    for axis in 0..3 {
        let n = a.shape()[axis];
        for times in [0, 1, 3] {
            let places: Vec<usize> = (0..n * times).map(|k| k / times).collect();
            assert_same(
                &x.repeat(Axis(axis), times).unwrap(),
                &by_places(&a.view(), axis, &places),
            );
        }
        for shift in [0, 1, -1, 7, -1000, isize::MIN] {
            let from = (-(shift as i128)).rem_euclid(n as i128) as usize;
            let places: Vec<usize> = (0..n).map(|k| (k + from) % n).collect();
            assert_same(&x.roll(Axis(axis), shift).unwrap(), &by_places(&a.view(), axis, &places));
        }
        let mut back = a.view();
        back.invert_axis(Axis(axis));
        assert_same(&x.flip(&[Axis(axis)]).unwrap(), &back);
    }
    for reps in [&[][..], &[2], &[2, 1, 3], &[2, 1, 1, 2], &[1, 0, 1]] {
        let mut want = a.clone();
        while want.ndim() < reps.len() {
            want.insert_axis_inplace(Axis(0));
        }
        for (k, &times) in reps.iter().enumerate() {
            let axis = want.ndim() - reps.len() + k;
            let n = want.shape()[axis];
            let places: Vec<usize> = (0..n * times).map(|k| k % n).collect();
            want = by_places(&want.view(), axis, &places);
        }
        assert_same(&x.tile(reps).unwrap(), &want);
    }
    let none = x.slice(s![..0, .., ..]).unwrap();
    assert_eq!(none.roll(Axis(0), 3).unwrap().shape(), [0, 4, 5]);
    assert_eq!(none.tile(&[2, 2, 2]).unwrap().shape(), [0, 8, 10]);
    assert_eq!(none.flip(&[Axis(0), Axis(2)]).unwrap().shape(), [0, 4, 5]);
});

/// The place in an axis of `n` elements that place `k` beyond its ends continues.
fn continued<T>(with: Pad<T>, k: isize, n: isize) -> Option<usize> {
    let at = match with {
        Pad::Constant(_) => return (0..n).contains(&k).then_some(k as usize),
        Pad::Edge => k.clamp(0, n - 1),
        Pad::Wrap => k.rem_euclid(n),
        Pad::Reflect if n == 1 => 0,
        Pad::Reflect => {
            let k = k.rem_euclid(2 * (n - 1));
            k.min(2 * (n - 1) - k)
        }
    };
    Some(at as usize)
}

on_every_device!(padded, |device| {
    let mut rng = Rng::new(13);
    let a = random::<f32>(&mut rng, &[3, 1, 5]);
    let x = on(device, &a).slice(s![..;-1, .., ..]).unwrap();
    let a = a.slice(s![..;-1, .., ..]);
    // Narrow, not at all, and wider than the array many times.
    for widths in [[(1, 2), (0, 0), (2, 1)], [(0, 0), (3, 2), (4, 0)], [(17, 5), (1, 1), (0, 40)]] {
        for with in [Pad::Constant(-0.0), Pad::Edge, Pad::Reflect, Pad::Wrap] {
            let shape: Vec<usize> = a
                .shape()
                .iter()
                .zip(widths)
                .map(|(&d, (before, after))| d + before + after)
                .collect();
            let want = ArrayD::from_shape_fn(shape, |index| {
                let mut at = vec![0; 3];
                for k in 0..3 {
                    let place = index[k] as isize - widths[k].0 as isize;
                    match continued(with, place, a.shape()[k] as isize) {
                        Some(place) => at[k] = place,
                        None => return -0.0,
                    }
                }
                a[[at[0], at[1], at[2]]]
            });
            assert_same(&x.pad(&widths, with).unwrap(), &want);
        }
    }
    let none = on(device, &counted::<bool>(&[0, 2]));
    let full = none.pad(&[(2, 1), (0, 1)], Pad::Constant(true)).unwrap();
    assert_same(&full, &Array2::from_elem((3, 3), true));
    assert_same(&x.pad(&[(0, 0); 3], Pad::Edge).unwrap(), &a);
});
