//! Arrays put together from arrays, against plain loops over ndarrays.

use super::gather::random;
use super::*;
use clan::Pad;
use clan::ndarray::{Array2, ArrayViewD, s};

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
                let mut at = [0; 3];
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
