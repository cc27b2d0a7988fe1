//! Reading by arrays of indices, and mistakes of the whole family; `scatter.rs` has writing, `join.rs`
//! arrays put together from arrays.

use super::*;
use clan::ndarray::{Array1, Array2, IxDyn, arr1, arr2, s};
use clan::verify::oracle;
use clan::{DType, IndexElement, Pad};

/// Indices into an axis; half of them count from its end, where the type has a sign.
pub(crate) fn random_indices<I: IndexElement + Sample>(
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

pub(crate) fn random<T: Sample>(rng: &mut Rng, shape: &[usize]) -> ArrayD<T> {
    ArrayD::from_shape_simple_fn(shape, || T::random(rng))
}

/// Every form where a form costs no program, and else those of one type.
pub(crate) fn axes(device: &Device, seed: u64) -> std::ops::Range<usize> {
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
        assert_same(&x.take(on(device, &i)).unwrap(), &oracle::take(&a.view(), &i.view()));
    }
    let i = random_indices::<I>(&mut rng, &[2, 3], a.len());
    assert_same(&x.take(on(device, &i)).unwrap(), &oracle::take(&a.view(), &i.view()));
    for axis in axes(device, seed) {
        let i = random_indices::<I>(&mut rng, &[4, 2], a.shape()[axis]);
        let want = oracle::take_axis(&a.view(), axis, &i.view());
        assert_same(&x.take_axis(Axis(axis), on(device, &i)).unwrap(), &want);
        let mut shape = a.shape().to_vec();
        shape[axis] = 3;
        let i = random_indices::<I>(&mut rng, &shape, a.shape()[axis]);
        let want = oracle::take_along_axis(&a.view(), axis, &i.view());
        assert_same(&x.take_along_axis(Axis(axis), on(device, &i)).unwrap(), &want);
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
            assert_same(&y.take_axis(Axis(0), on(device, &i)).unwrap(), &want);
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
    assert_same(&y.take(on(device, &i)).unwrap(), &oracle::take(&b, &i.view()));
    // Computed on the way; and one index.
    let n = b.len() as i32;
    let want = oracle::take(&b, &i.mapv(|i| (i * 3) % n).view());
    assert_same(&y.take((on(device, &i) * 3) % n).unwrap(), &want);
    assert_same(&x.take_axis(Axis(1), -1i32).unwrap(), &a.index_axis(Axis(1), 7));
    // Along an axis lengths broadcast both ways.
    let i = random_indices::<i32>(&mut rng, &[1, 4, 10], 8);
    let want = oracle::take_along_axis(&a.view(), 1, &i.broadcast(IxDyn(&[6, 4, 10])).unwrap());
    assert_same(&x.take_along_axis(Axis(1), on(device, &i)).unwrap(), &want);
    let row = x.slice(s![.., 2..3, ..]).unwrap();
    let i = random_indices::<i32>(&mut rng, &[6, 8, 2], 10);
    let wide = a.slice(s![.., 2..3, ..]);
    let want =
        oracle::take_along_axis(&wide.broadcast((6, 8, 10)).unwrap().into_dyn(), 2, &i.view());
    assert_same(&row.take_along_axis(Axis(2), on(device, &i)).unwrap(), &want);
});

on_every_device!(nothing_to_take, |device| {
    let x = on(device, &counted::<f32>(&[0, 3]));
    let none = on(device, &Array1::<u32>::zeros(0));
    assert_eq!(x.take(&none).unwrap().shape(), [0]);
    assert_eq!(x.take_axis(Axis(0), &none).unwrap().shape(), [0, 3]);
    assert_eq!(x.take_axis(Axis(1), on(device, &arr1(&[2u32]))).unwrap().shape(), [0, 1]);
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

// Rows so long that a CPU takes them whole, with the axis before others and in the middle.
on_every_device!(long_rows, |device| {
    let mut rng = Rng::new(5);
    let a = random::<f32>(&mut rng, &[3, 40, 132]);
    let x = on(device, &a);
    for axis in [0, 1] {
        let i = random_indices::<i32>(&mut rng, &[70], a.shape()[axis]);
        let want = oracle::take_axis(&a.view(), axis, &i.view());
        assert_same(&x.take_axis(Axis(axis), on(device, &i)).unwrap(), &want);
    }
    let rows = arr1(&[2i32, 39, -41, 7, 50]);
    let words = ["index -41", "position 2", "axis 1"];
    assert_outside(x.take_axis(Axis(1), on(device, &rows)), "take_axis", &words);
});

on_every_device!(indices_outside, |device| {
    let x = on(device, &counted::<f32>(&[4, 25]));
    let mut i = Array1::<i32>::zeros(3000);
    let good = x.take(on(device, &i)).unwrap();
    (i[2999], i[1700], i[2500]) = (100, -101, 7000);
    let words = ["index -101,", "position 1700 ", "100 elements", "from -100 to 99"];
    assert_outside(x.take(on(device, &i)), "take", &words);
    // What is computed after an error was told is as good as ever, and so is what was before.
    assert_same(&good, &Array1::<f32>::zeros(3000));
    i.fill(-100);
    assert_same(&x.take(on(device, &i)).unwrap(), &Array1::<f32>::zeros(3000));
    // Rows: the position is that among the indices, not among the elements moved.
    let rows = arr2(&[[0i64, 3], [-4, 4], [9, 9]]);
    let words = ["index 4,", "position 3 ", "axis 0 of length 4", "from -4 to 3"];
    assert_outside(x.take_axis(Axis(0), on(device, &rows)), "take_axis", &words);
    let columns = arr1(&[0u64, 24, u64::MAX, 25]);
    let words = [&*format!("index {}, at position 2 ", u64::MAX), "axis 1 of length 25", "from 0"];
    assert_outside(x.take_axis(Axis(1), on(device, &columns)), "take_axis", &words);
    let along = arr2(&[[0u32], [1], [2], [25]]);
    assert_outside(
        x.take_along_axis(Axis(1), on(device, &along)),
        "take_along_axis",
        &["index 25,", "position 3 "],
    );
    // All of them.
    let all = Array1::<u32>::from_elem(5000, 100);
    let words = ["index 100,", "position 0 ", "from 0 to 99"];
    assert_outside(x.take(on(device, &all)), "take", &words);
    // A mistake shows in what was made of it, also when it is known, and in nothing else.
    let bad = [555i32, 777].map(|i| x.take(on(device, &arr1(&[1, i]))));
    let fine = (x.take(on(device, &arr1(&[2i32]))).unwrap() + 1.0).eval().unwrap();
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
    let mut chain = x.take(on(device, &arr1(&[3i32, 100]))).unwrap_or_else(|_| fine.clone());
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
        assert_outside(done.map(|()| y.clone()), op, &words);
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
