//! Views of every kind, and writing through them.

use super::*;
use clan::ndarray::{Array, Array2, arr0, s};

on_every_device!(views_of_views, |device| {
    property(device, 6, (shapes(), recipes()), |(shape, recipe)| {
        let a = counted::<i32>(&shape);
        let (x, a) = view(on(device, &a), a, &recipe);
        assert_same(&x, &a);
        let copy = x.to_contiguous().unwrap();
        assert!(copy.is_contiguous());
        assert_same(&copy, &a);
        assert_eq!(x.len(), a.len());
        assert_eq!(x.is_empty(), a.is_empty());
    });
});

on_every_device!(writes_change_their_part_alone, |device| {
    property(device, 5, (shapes(), vec(any::<u32>(), 4)), |(shape, numbers)| {
        let mut a = counted::<i32>(&shape);
        let mut x = on(device, &a);
        let (before, old) = (x.clone(), a.clone());
        let seen = x.expr() + 1;
        let parts: Vec<SliceInfoElem> = shape
            .iter()
            .zip(&numbers)
            .map(|(&n, &r)| {
                let start = r as usize % (n + 1);
                let end = start + (r as usize / 16) % (n + 1 - start);
                let step = [1, 2, -1, -2][r as usize / 256 % 4];
                match n > 0 && r % 5 == 0 {
                    true => SliceInfoElem::Index((r as usize / 8 % n) as isize),
                    false => SliceInfoElem::Slice {
                        start: start as isize,
                        end: Some(end as isize),
                        step,
                    },
                }
            })
            .collect();
        let part = a.slice(parts.as_slice()).to_owned();
        let value = part.mapv(|v| -v - 1);
        let mut target = x.slice_mut(&parts).unwrap();
        assert_eq!(target.shape(), part.shape());
        target.assign(on(device, &value)).unwrap();
        a.slice_mut(parts.as_slice()).assign(&value);
        assert_same(&x, &a);
        // Whoever saw the array before still sees what it was.
        assert_same(&before, &old);
        assert_same(&seen.eval().unwrap(), &(old + 1));
    });
});

on_every_device!(a_part_written_from_itself, |device| {
    let mut a = Array::from_iter(0..40i32);
    let mut x = on(device, &a);
    // Overlapping source and target: the source is what it was before.
    let source = x.slice(s![..39]).unwrap();
    x.slice_mut(s![1..]).unwrap().assign(&source).unwrap();
    let before = a.clone();
    a.slice_mut(s![1..]).assign(&before.slice(s![..39]));
    assert_same(&x, &a);
    let reversed = x.slice(s![..;-1]).unwrap();
    x.slice_mut(s![..]).unwrap().assign(&reversed + 0).unwrap();
    a.invert_axis(Axis(0));
    assert_same(&x, &a);
});

on_every_device!(writing_to_views, |device| {
    // A view that is written becomes an array of its own, also one whose elements share memory.
    let a = Array2::from_shape_fn((4, 6), |(i, j)| (i * 6 + j) as i32);
    let x = on(device, &a);
    let mut wide = on(device, &arr0(7i32)).broadcast((2, 3)).unwrap();
    wide.slice_mut(s![1, ..2]).unwrap().fill(9).unwrap();
    assert_eq!(wide.to_vec().unwrap(), [7, 7, 7, 9, 9, 7]);
    let mut t = x.t();
    t.slice_mut(s![2, ..]).unwrap().fill(-1).unwrap();
    let mut want = a.clone();
    want.slice_mut(s![.., 2]).fill(-1);
    assert_same(&t, &want.t());
    assert_same(&x, &a);
    let mut part = x.slice(s![1..3, 1..;2]).unwrap();
    part.fill(5).unwrap();
    assert_eq!(part.to_vec().unwrap(), [5; 6]);
    assert_same(&x, &a);
});

on_every_device!(offsets_that_are_not_aligned, |device| {
    // Vector loads need alignment; whatever they do, element k stays element k.
    let a = Array::from_shape_fn(300, |k| (k as f32) * 0.5 - 7.0);
    let x = on(device, &a);
    for from in 0..9usize {
        for n in [0, 1, 3, 15, 16, 17, 64, 129, 290] {
            let (y, b) = (x.slice(s![from..from + n]).unwrap(), a.slice(s![from..from + n]));
            assert_same(&(&y * 2.0).eval().unwrap(), &b.mapv(|v| v * 2.0));
            let sum: f32 = b.sum();
            assert_eq!(y.sum().unwrap().item().unwrap(), sum, "{from} {n}");
        }
    }
});

on_every_device!(axes_that_come_and_go, |device| {
    let a = counted::<u8>(&[2, 3, 4]);
    let x = on(device, &a);
    let y = x.insert_axis(Axis(3)).unwrap().insert_axis(Axis(0)).unwrap();
    assert_eq!(y.shape(), [1, 2, 3, 4, 1]);
    assert_same(&y.reshape((2, 3, 4)).unwrap(), &a);
    assert_same(
        &x.reshape(24).unwrap().reshape((4, 1, 6)).unwrap().reshape((2, 3, 4)).unwrap(),
        &a,
    );
    let parts = [
        SliceInfoElem::from(1..),
        SliceInfoElem::Index(1),
        SliceInfoElem::NewAxis,
        SliceInfoElem::Slice { start: 0, end: None, step: -2 },
    ];
    assert_same(&x.slice(parts).unwrap(), &a.slice(parts.as_slice()));
    assert_same(&x.index_axis(Axis(1), 2).unwrap(), &a.index_axis(Axis(1), 2));
    // An element by itself has no axes.
    let one = x.slice(s![1, 2, 3]).unwrap();
    assert_eq!((one.ndim(), one.len(), one.item().unwrap()), (0, 1, 23));
    assert_same(&one.reshape((1, 1)).unwrap(), &Array2::from_elem((1, 1), 23));
});
