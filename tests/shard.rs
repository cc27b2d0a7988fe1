//! Sharded arrays against plain ndarray code: what a group computes part by part is what one loop over the
//! whole array computes. Floats are small integers, so that sums are exact in any order.

#[path = "shard/chunks.rs"]
mod chunks;
mod support;

use clan::ndarray::{Array, ArrayD, Axis, Dimension, IxDyn, Slice, s};
use clan::{
    Boundary, Device, DeviceArray, Element, ErrorKind, Expr, Group, Number, Reduced, ShardedArray,
};

/// Groups of 1 to 5 host members, evenly and with weights.
fn hosts() -> Vec<(Group, Vec<f64>)> {
    let mut all = Vec::new();
    for p in 1..=5usize {
        let group = Group::new(vec![Device::host(); p]).unwrap();
        let uneven: Vec<f64> = (0..p).map(|m| [3.0, 0.0, 1.0, 5.5, 0.2][m]).collect();
        all.push((group.clone(), vec![1.0; p]));
        all.push((group, uneven));
    }
    all
}

/// OpenCL devices and the host in one group, where there are any: the first two and the last, which belongs
/// to another driver where several are installed.
fn mixed() -> Vec<(Group, Vec<f64>)> {
    let mut devices = support::opencl_devices();
    if devices.len() > 3 {
        devices.drain(2..devices.len() - 1);
    }
    if devices.is_empty() {
        return Vec::new();
    }
    devices.insert(1, Device::host());
    let weights = (1..=devices.len()).map(|k| k as f64).collect();
    let twice = [&devices[0], &devices[0], &devices[1]].map(Clone::clone);
    vec![(Group::new(devices).unwrap(), weights), (Group::new(twice).unwrap(), vec![2.0, 1.0, 2.0])]
}

/// Small whole numbers that repeat and go below zero where the type does.
fn values(shape: &[usize]) -> ArrayD<i64> {
    let n: usize = shape.iter().product();
    let at = |i: usize| ((i * i + 3 * i) % 17) as i64;
    Array::from_shape_vec(IxDyn(shape), (0..n).map(at).collect()).unwrap()
}

fn of<T: Number>(shape: &[usize], convert: fn(i64) -> T) -> ArrayD<T> {
    values(shape).mapv(convert)
}

fn upload<T: Element>(group: &Group, x: &ArrayD<T>) -> DeviceArray<T> {
    DeviceArray::from_ndarray(&group.members()[0], x).unwrap()
}

const SHAPES: [&[usize]; 9] =
    [&[0], &[1], &[3], &[23], &[4, 3], &[7, 5], &[0, 4], &[3, 4, 5], &[2, 1, 9]];

/// The parts must be the slices of the whole.
#[track_caller]
fn parts_fit<T: Element>(a: &ShardedArray<T>, whole: &ArrayD<T>) {
    assert_eq!(a.shape(), whole.shape());
    for (part, range) in a.parts().iter().zip(a.ranges()) {
        let rows = Slice::new(range.start as isize, Some(range.end as isize), 1);
        assert_eq!(part.to_ndarray().unwrap(), whole.slice_axis(a.axis(), rows), "{a:?}");
    }
    assert_eq!(a.to_ndarray().unwrap(), *whole, "{a:?}");
    assert_eq!(a.to_vec().unwrap(), whole.iter().copied().collect::<Vec<_>>(), "{a:?}");
}

fn splits_and_gathers<T: Number>(groups: &[(Group, Vec<f64>)], convert: fn(i64) -> T) {
    for (group, weights) in groups {
        for shape in SHAPES {
            let x = of(shape, convert);
            let foreign = Device::host();
            for axis in (0..shape.len()).map(Axis) {
                let even = group.shard(&upload(group, &x), axis).unwrap();
                parts_fit(&even, &x);
                let spread = |r: &[std::ops::Range<usize>]| {
                    r.iter().map(|r| r.len()).max().unwrap()
                        - r.iter().map(|r| r.len()).min().unwrap()
                };
                assert!(spread(even.ranges()) <= 1);
                let from_host = DeviceArray::from_ndarray(&foreign, &x).unwrap();
                let uneven = group.shard_by(&from_host, axis, weights).unwrap();
                parts_fit(&uneven, &x);
                parts_fit(&group.shard_ndarray(&x, axis).unwrap(), &x);
                for device in [&foreign, &group.members()[group.len() - 1]] {
                    let all = uneven.gather(device).unwrap();
                    assert_eq!(all.device(), device);
                    assert_eq!(all.to_ndarray().unwrap(), x);
                }
                let everywhere = uneven.all_gather().unwrap();
                for part in everywhere.parts() {
                    assert_eq!(part.to_ndarray().unwrap(), x);
                }
                for to in (0..shape.len()).map(Axis) {
                    let moved = uneven.reshard(to).unwrap();
                    assert_eq!(moved.axis(), to);
                    parts_fit(&moved, &x);
                    parts_fit(&even.reshard_by(to, weights).unwrap(), &x);
                }
                parts_fit(&even.reshard_like(&uneven).unwrap(), &x);
                parts_fit(&uneven.t(), &x.t().to_owned());
            }
        }
    }
}

#[test]
fn splits_and_gathers_f32() {
    splits_and_gathers(&hosts(), |v| v as f32);
}

#[test]
fn splits_and_gathers_i64() {
    splits_and_gathers(&hosts(), |v| v - 5);
}

#[test]
fn splits_and_gathers_u8() {
    splits_and_gathers(&hosts(), |v| (v * 15) as u8);
}

#[test]
fn splits_and_gathers_on_devices() {
    for (group, weights) in mixed() {
        let x = of(&[7, 5], |v| v as f32);
        for axis in [Axis(0), Axis(1)] {
            let a = group.shard(&upload(&group, &x), axis).unwrap();
            parts_fit(&a, &x);
            let b = group.shard_by(&upload(&group, &x), axis, &weights).unwrap();
            parts_fit(&b, &x);
            parts_fit(&b.reshard(Axis(1 - axis.0)).unwrap(), &x);
            parts_fit(&a.reshard_like(&b).unwrap(), &x);
            for device in [Device::host(), group.members()[0].clone()] {
                assert_eq!(b.gather(&device).unwrap().to_ndarray().unwrap(), x);
            }
        }
    }
}

/// Large enough for transfers on threads.
#[test]
fn large_arrays_on_devices() {
    for (group, weights) in mixed() {
        let x = Array::from_shape_fn(IxDyn(&[1021, 1031]), |i| (i[0] * 1031 + i[1]) as f32);
        let there = DeviceArray::from_ndarray(&Device::host(), &x).unwrap();
        let a = Group::new(group.members().iter().filter(|d| !d.is_host()).cloned()).unwrap();
        let a = a.shard(&there, Axis(1)).unwrap();
        assert_eq!(a.to_ndarray().unwrap(), x);
        let b = group.shard_ndarray(&x.t(), Axis(0)).unwrap();
        assert_eq!(b.to_ndarray().unwrap(), x.t());
        let c = group.shard_by(&there, Axis(0), &weights).unwrap();
        assert!(c.to_vec().unwrap().iter().eq(x.iter()));
        assert_eq!(c.gather(&Device::host()).unwrap().to_ndarray().unwrap(), x);
    }
}

fn expressions(group: &Group, weights: &[f64], shape: &[usize]) {
    let x = of(shape, |v| v as f32);
    let y = x.mapv(|v| 16.0 - v);
    let up = |x: &ArrayD<f32>| DeviceArray::from_ndarray(&Device::host(), x).unwrap();
    for axis in (0..shape.len()).map(Axis) {
        let a = group.shard_by(&up(&x), axis, weights).unwrap();
        let b = group.shard_by(&up(&y), axis, weights).unwrap();
        parts_fit(&(&a + &b).eval().unwrap(), &(&x + &y));
        parts_fit(&(2.0 * (&a - &b) / 4.0).eval().unwrap(), &((&x - &y) / 2.0));
        parts_fit(&(-&a).eval().unwrap(), &x.mapv(|v| -v));
        let f = a.map(|x| (x * 2.0 + 1.0).sqrt()).eval().unwrap();
        parts_fit(&f, &x.mapv(|v| (v * 2.0 + 1.0).sqrt()));
        let larger = a.zip_with(&b, |x, y| x.gt(y));
        parts_fit(&larger.eval().unwrap(), &Array::from_shape_fn(x.raw_dim(), |i| x[&i] > y[&i]));
        let chosen = larger.if_else(&a, &b).eval().unwrap();
        parts_fit(&chosen, &Array::from_shape_fn(x.raw_dim(), |i| x[&i].max(y[&i])));
        // Replicated operands: the whole shape, one row, one column, a scalar.
        let whole = group.replicate(&up(&y)).unwrap();
        parts_fit(&(&a * &whole).eval().unwrap(), &(&x * &y));
        parts_fit(&(&whole - &a).eval().unwrap(), &(&y - &x));
        for (lone, &len) in shape.iter().enumerate() {
            let row = y.slice_axis(Axis(lone), Slice::from(..1.min(len)));
            if len > 0 {
                let row = row.to_owned();
                let r = group.replicate(&up(&row)).unwrap();
                parts_fit(&(&a + &r).eval().unwrap(), &(&x + &row));
            }
        }
        let scalar = group.replicate(&DeviceArray::full(&Device::host(), (), 3.0).unwrap());
        parts_fit(&(&a * &scalar.unwrap()).eval().unwrap(), &(&x * 3.0));
    }
}

#[test]
fn expressions_on_hosts() {
    for (group, weights) in hosts() {
        for shape in SHAPES {
            expressions(&group, &weights, shape);
        }
    }
}

#[test]
fn expressions_on_devices() {
    for (group, weights) in mixed() {
        expressions(&group, &weights, &[6, 5]);
    }
}

#[test]
fn shapes_broadcast_from_the_last_axis() {
    let group = Group::new(vec![Device::host(); 3]).unwrap();
    let x = of(&[5], |v| v as f32);
    let y = of(&[4, 5], |v| v as f32);
    let a = group.shard(&upload(&group, &x), Axis(0)).unwrap();
    let b = group.shard(&upload(&group, &y), Axis(1)).unwrap();
    parts_fit(&(&a + &b).eval().unwrap(), &(&x + &y));
    parts_fit(&(&b + &a).eval().unwrap(), &(&y + &x));
    // One axis from the end is another from the beginning, and the lengths differ.
    let c = group.shard(&upload(&group, &y), Axis(0)).unwrap();
    let error = (&a + &c).eval().unwrap_err();
    assert!(error.is_shape() && error.to_string().contains("reshard"), "{error}");
    let fits = c.reshard_like(&a).unwrap();
    parts_fit(&(&a + &fits).eval().unwrap(), &(&x + &y));
}

/// What a plain loop finds along some axes; `f` sees the lane's elements in row-major order.
fn lanes<T: Copy, U>(x: &ArrayD<T>, axes: &[usize], f: impl Fn(&[T]) -> U) -> ArrayD<U> {
    let kept: Vec<usize> = (0..x.ndim()).filter(|a| !axes.contains(a)).collect();
    let shape: Vec<usize> = kept.iter().map(|&a| x.shape()[a]).collect();
    Array::from_shape_fn(IxDyn(&shape), |at| {
        let mut view = x.view();
        for (k, &a) in kept.iter().enumerate().rev() {
            view = view.index_axis_move(Axis(a), at.slice()[k]);
        }
        f(&view.iter().copied().collect::<Vec<T>>())
    })
}

fn first<T: PartialOrd + Copy>(v: &[T], better: fn(&T, &T) -> bool) -> u64 {
    let mut best = 0;
    for k in 1..v.len() {
        if better(&v[k], &v[best]) {
            best = k;
        }
    }
    best as u64
}

#[track_caller]
fn reduced_fits<T: Element>(got: clan::Result<Reduced<T>>, want: ArrayD<T>, split_stays: bool) {
    match got.unwrap() {
        Reduced::Sharded(a) => {
            assert!(split_stays);
            parts_fit(&a, &want);
            for part in Reduced::Sharded(a).replicated().unwrap().parts() {
                assert_eq!(part.to_ndarray().unwrap(), want);
            }
        }
        Reduced::Replicated(a) => {
            assert!(!split_stays);
            for part in a.parts() {
                assert_eq!(part.to_ndarray().unwrap(), want);
            }
        }
    }
}

fn reductions<T: Number<Sum: Element>>(
    groups: &[(Group, Vec<f64>)],
    shapes: &[&[usize]],
    convert: fn(i64) -> T,
    sum: fn(&[T]) -> T::Sum,
) {
    for (group, weights) in groups {
        for &shape in shapes {
            let x = of(shape, convert);
            let there = DeviceArray::from_ndarray(&Device::host(), &x).unwrap();
            for split in 0..shape.len() {
                let a = group.shard_by(&there, Axis(split), weights).unwrap();
                let all: Vec<usize> = (0..shape.len()).collect();
                let mut picks: Vec<Vec<usize>> = all.iter().map(|&k| vec![k]).collect();
                picks.push(all.clone());
                if shape.len() == 3 {
                    picks.extend([vec![0, 1], vec![0, 2], vec![1, 2]]);
                }
                for axes in picks {
                    let list: Vec<Axis> = axes.iter().map(|&k| Axis(k)).collect();
                    let over = || a.over(&list);
                    let stays = !axes.contains(&split);
                    reduced_fits(over().sum(), lanes(&x, &axes, sum), stays);
                    if axes.iter().all(|&k| shape[k] > 0) {
                        let least = |v: &[T]| v[first(v, |a, b| a < b) as usize];
                        let most = |v: &[T]| v[first(v, |a, b| a > b) as usize];
                        reduced_fits(over().min(), lanes(&x, &axes, least), stays);
                        reduced_fits(over().max(), lanes(&x, &axes, most), stays);
                        let place = |v: &[T]| first(v, |a, b| a < b);
                        reduced_fits(over().argmin(), lanes(&x, &axes, place), stays);
                        let place = |v: &[T]| first(v, |a, b| a > b);
                        reduced_fits(over().argmax(), lanes(&x, &axes, place), stays);
                    }
                    let kept = over().keepdims().sum().unwrap();
                    let mut flat = x.shape().to_vec();
                    axes.iter().for_each(|&k| flat[k] = 1);
                    assert_eq!(kept.shape(), flat);
                    let want: Vec<T::Sum> = lanes(&x, &axes, sum).iter().copied().collect();
                    assert_eq!(kept.to_vec().unwrap(), want);
                }
                assert_eq!(a.sum().unwrap().item().unwrap(), sum(x.as_slice().unwrap()));
                if x.is_empty() {
                    assert_eq!(a.max().unwrap_err().kind(), ErrorKind::Argument);
                    assert_eq!(a.argmin().unwrap_err().kind(), ErrorKind::Argument);
                }
            }
        }
    }
}

#[test]
fn reductions_f32() {
    reductions(&hosts(), &SHAPES, |v| (v - 6) as f32, |v| v.iter().sum());
}

#[test]
fn reductions_i64() {
    reductions(&hosts(), &SHAPES, |v| 6 - v, |v| v.iter().sum());
}

#[test]
fn reductions_u8() {
    let sum = |v: &[u8]| v.iter().map(|&v| u64::from(v)).sum();
    reductions(&hosts(), &SHAPES, |v| (v * 15) as u8, sum);
}

#[test]
fn reductions_on_devices() {
    reductions(&mixed(), &[&[5, 3]], |v| (v - 6) as f32, |v| v.iter().sum());
}

#[test]
fn means_spreads_and_logic() {
    for (group, weights) in hosts() {
        let x = of(&[8, 4], |v| v as f32);
        let there = upload(&group, &x);
        for split in [0, 1] {
            let a = group.shard_by(&there, Axis(split), &weights).unwrap();
            for axis in [0, 1] {
                // Divisions by powers of two are exact.
                let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
                reduced_fits(a.mean_axis(Axis(axis)), lanes(&x, &[axis], mean), split != axis);
                let some = |v: &[f32]| v.iter().any(|&v| v > 14.0);
                reduced_fits(
                    a.map(|x| x.gt(14.0)).over(&[Axis(axis)]).any(),
                    lanes(&x, &[axis], some),
                    split != axis,
                );
            }
            let n = x.len() as f32;
            assert_eq!(a.mean().unwrap().item().unwrap(), x.sum() / n);
            let mean = f64::from(x.sum()) / 32.0;
            let var = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 31.0;
            let got = f64::from(a.var(1.0).unwrap().item().unwrap());
            assert!((got - var).abs() < 4.0 * f64::from(f32::EPSILON) * var, "{got} {var}");
            assert_eq!(a.dot(&a).unwrap().item().unwrap(), x.iter().map(|v| v * v).sum::<f32>());
            assert!(a.map(|x| x.ge(0.0)).all().unwrap().item().unwrap());
            assert!(!a.map(|x| x.lt(0.0)).any().unwrap().item().unwrap());
        }
        // Integers have means in f64.
        let i = group.shard_ndarray(&of(&[5], |v| v), Axis(0)).unwrap();
        let want = values(&[5]).sum() as f64 / 5.0;
        assert_eq!(i.mean().unwrap().item().unwrap(), want);
    }
}

#[test]
fn nan_wins_at_its_first_place() {
    let group = Group::new(vec![Device::host(); 3]).unwrap();
    let x = Array::from_vec(vec![4.0f32, 1.0, 2.0, 1.0, f32::NAN, 9.0, f32::NAN]).into_dyn();
    let a = group.shard(&upload(&group, &x), Axis(0)).unwrap();
    assert!(a.max().unwrap().item().unwrap().is_nan());
    assert_eq!(a.argmax().unwrap().item().unwrap(), 4);
    assert_eq!(a.argmin().unwrap().item().unwrap(), 4);
    // Where everything is what an empty part stands in with.
    let x = Array::from_elem(IxDyn(&[2]), f32::INFINITY);
    let a = group.shard_v(&upload(&group, &x), Axis(0), &[0, 0, 2]).unwrap();
    assert_eq!(a.argmin().unwrap().item().unwrap(), 0);
    assert_eq!(a.min().unwrap().item().unwrap(), f32::INFINITY);
}

fn product(a: &ArrayD<f32>, b: &ArrayD<f32>) -> ArrayD<f32> {
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    Array::from_shape_fn(IxDyn(&[m, n]), |at| (0..k).map(|q| a[[at[0], q]] * b[[q, at[1]]]).sum())
}

fn products(group: &Group, weights: &[f64], [m, k, n]: [usize; 3]) {
    let x = of(&[m, k], |v| v as f32);
    let w = of(&[k, n], |v| (v - 8) as f32);
    let e = of(&[m, n], |v| (v - 3) as f32);
    let rows = |x| group.shard_by(&upload(group, x), Axis(0), weights).unwrap();
    let (a, r) = (rows(&x), group.replicate(&upload(group, &w)).unwrap());
    let y = a.matmul(&r).unwrap();
    assert_eq!((y.axis(), y.ranges()), (Axis(0), a.ranges()));
    parts_fit(&y, &product(&x, &w));
    let gradient = a.t().matmul_sum(&rows(&e)).unwrap();
    for part in gradient.parts() {
        assert_eq!(part.to_ndarray().unwrap(), product(&x.t().to_owned(), &e));
    }
    let back = rows(&e).matmul(&r.t()).unwrap();
    parts_fit(&back, &product(&e, &w.t().to_owned()));
}

#[test]
fn products_on_hosts() {
    for (group, weights) in hosts() {
        for lengths in [[1, 1, 1], [7, 4, 3], [2, 9, 5], [40, 3, 17], [0, 3, 2], [3, 0, 2]] {
            products(&group, &weights, lengths);
        }
    }
}

#[test]
fn products_on_devices() {
    for (group, weights) in mixed() {
        products(&group, &weights, [9, 4, 3]);
    }
}

/// Row `at` of an axis of `n` rows, by walking there step by step.
fn beyond(boundary: Boundary, at: isize, n: isize) -> Option<usize> {
    let mut at = at;
    while !(0..n).contains(&at) {
        at = match boundary {
            Boundary::Zero => return None,
            Boundary::Nearest => at + if at < 0 { 1 } else { -1 },
            Boundary::Wrap => at + if at < 0 { n } else { -n },
            _ if n == 1 => 0,
            _ if at < 0 => -at,
            _ => 2 * (n - 1) - at,
        };
    }
    Some(at as usize)
}

fn halos(group: &Group, weights: &[f64], shape: &[usize], width: usize) {
    let x = of(shape, |v| (v + 1) as f32);
    let there = DeviceArray::from_ndarray(&Device::host(), &x).unwrap();
    let all = [Boundary::Zero, Boundary::Nearest, Boundary::Reflect, Boundary::Wrap];
    for boundary in all {
        for axis in 0..shape.len() {
            let a = group.shard_by(&there, Axis(axis), weights).unwrap();
            let halo = match a.with_halo(width, boundary) {
                Ok(halo) => halo,
                Err(e) => {
                    assert!(shape[axis] == 0 && boundary != Boundary::Zero && width > 0, "{e}");
                    continue;
                }
            };
            let at = |g: isize, rest: &[usize]| {
                let row = beyond(boundary, g, shape[axis] as isize);
                let mut place = rest.to_vec();
                row.map_or(0.0, |row| {
                    place[axis] = row;
                    x[IxDyn(&place)]
                })
            };
            for (part, range) in halo.parts().iter().zip(a.ranges()) {
                let mut wide = shape.to_vec();
                wide[axis] = range.len() + 2 * width;
                let want = Array::from_shape_fn(IxDyn(&wide), |place| {
                    let g = (range.start + place[axis]) as isize - width as isize;
                    at(g, place.slice())
                });
                assert_eq!(part.to_ndarray().unwrap(), want, "{boundary:?} {width} {a:?}");
            }
            for by in [-(width as isize), 0, width as isize] {
                let moved = halo.shifted(by).unwrap().eval().unwrap();
                let want = Array::from_shape_fn(IxDyn(shape), |place| {
                    at(place[axis] as isize + by, place.slice())
                });
                parts_fit(&moved, &want);
            }
            assert!(halo.shifted(width as isize + 1).is_err());
        }
    }
}

#[test]
fn halos_on_hosts() {
    for (group, weights) in hosts() {
        for shape in SHAPES {
            for width in [0, 1, 2, 7] {
                halos(&group, &weights, shape, width);
            }
        }
    }
}

#[test]
fn halos_on_devices() {
    for (group, weights) in mixed() {
        halos(&group, &weights, &[6, 4], 1);
        // Several rows of one member, in another order than they have there.
        halos(&group, &weights, &[6, 3], 4);
    }
}

/// Moving elements asks nothing of a device, also where it does not compute in their type.
#[test]
fn every_type_moves_on_devices() {
    for (group, weights) in mixed() {
        let x = of(&[5, 3], |v| v as f64 + 0.1);
        let a = group.shard_by(&upload(&group, &x), Axis(0), &weights).unwrap();
        parts_fit(&a, &x);
        let halo = a.with_halo(1, Boundary::Zero).unwrap();
        for (part, range) in halo.parts().iter().zip(a.ranges()) {
            let want = Array::from_shape_fn(IxDyn(&[range.len() + 2, 3]), |i| {
                let row = (range.start + i[0]).wrapping_sub(1);
                if row < 5 { x[[row, i[1]]] } else { 0.0 }
            });
            assert_eq!(part.to_ndarray().unwrap(), want);
        }
        parts_fit(&a.reshard(Axis(1)).unwrap(), &x);
        let flags = x.mapv(|v| v > 8.0);
        let b = group.shard_by(&upload(&group, &flags), Axis(1), &weights).unwrap();
        parts_fit(&b.reshard(Axis(0)).unwrap(), &flags);
    }
}

/// A five-point stencil by `map`, twice, against a loop.
#[test]
fn stencils() {
    let group = Group::new(vec![Device::host(); 3]).unwrap();
    let x = of(&[8, 6], |v| v as f32);
    let last = -1;
    let step = |p: &DeviceArray<f32>| {
        let middle = p.slice(s![1..last, 1..last])?;
        let around: Expr<f32> = p.slice(s![..-2, 1..last])? + p.slice(s![2.., 1..last])?;
        let around = around + p.slice(s![1..last, ..-2])? + p.slice(s![1..last, 2..])?;
        let mut new = p.slice(s![1..last, ..])?;
        new.slice_mut(s![.., 1..last])?.assign(around - &middle)?;
        Ok(new)
    };
    let mut a = group.shard(&upload(&group, &x), Axis(0)).unwrap();
    let mut want = x;
    for _ in 0..2 {
        a = a.with_halo(1, clan::Border::Zero).unwrap().map(step).unwrap();
        let old = want.clone();
        let get = |y: isize, c: usize| if (0..8).contains(&y) { old[[y as usize, c]] } else { 0.0 };
        for y in 0..8isize {
            for c in 1..5 {
                let around = get(y - 1, c) + get(y + 1, c) + get(y, c - 1) + get(y, c + 1);
                want[[y as usize, c]] = around - get(y, c);
            }
        }
    }
    parts_fit(&a, &want);
}

#[test]
fn algorithms_are_for_combining() {
    use clan::group::schedule::Algorithm;
    let group = Group::new(vec![Device::host(); 3]).unwrap().with_algorithm(Algorithm::Ring);
    let x = of(&[5, 4], |v| v as f32);
    let a = group.shard(&upload(&group, &x), Axis(0)).unwrap();
    parts_fit(&a.reshard(Axis(1)).unwrap(), &x);
    assert_eq!(a.gather(&Device::host()).unwrap().to_ndarray().unwrap(), x);
    assert_eq!(a.all_gather().unwrap().to_ndarray().unwrap(), x);
    a.with_halo(1, Boundary::Wrap).unwrap();
    assert_eq!(a.sum().unwrap().item().unwrap(), x.sum());
    assert_eq!(a.argmax().unwrap().item().unwrap(), first(x.as_slice().unwrap(), |a, b| a > b));
}

#[test]
fn mistakes_are_told() {
    let group = Group::new(vec![Device::host(); 2]).unwrap();
    let other = Group::new(vec![Device::host(); 3]).unwrap();
    let x = DeviceArray::<f32>::ones(&Device::host(), (4, 3)).unwrap();
    let a = group.shard(&x, Axis(0)).unwrap();
    let kind = |e: clan::Error| e.kind();
    assert_eq!(kind(group.shard(&x, Axis(2)).unwrap_err()), ErrorKind::Index);
    assert_eq!(kind(group.shard_by(&x, Axis(0), &[1.0]).unwrap_err()), ErrorKind::Argument);
    for bad in [[0.0, 0.0], [-1.0, 1.0], [f64::NAN, 1.0]] {
        assert_eq!(kind(group.shard_by(&x, Axis(0), &bad).unwrap_err()), ErrorKind::Argument);
    }
    assert!(group.shard_v(&x, Axis(0), &[1, 2]).unwrap_err().is_shape());
    assert_eq!(kind(group.shard_v(&x, Axis(0), &[4]).unwrap_err()), ErrorKind::Argument);
    let b = other.shard(&x, Axis(0)).unwrap();
    assert_eq!(kind((&a + &b).eval().unwrap_err()), ErrorKind::DeviceMismatch);
    let r = group.replicate(&DeviceArray::<f32>::ones(&Device::host(), 7).unwrap()).unwrap();
    let error = (&a + &r).eval().unwrap_err();
    assert!(error.is_shape() && error.to_string().contains("tests/shard.rs"), "{error}");
    let tall =
        group.replicate(&DeviceArray::<f32>::ones(&Device::host(), (7, 1)).unwrap()).unwrap();
    assert!((&a + &tall).eval().unwrap_err().is_shape());
    assert!(a.sum_axis(Axis(5)).is_err_and(|e| e.kind() == ErrorKind::Index));
    assert!(a.over(&[Axis(0), Axis(0)]).sum().is_err_and(|e| e.kind() == ErrorKind::Index));
    let lost = x.slice(s![..1, ..]).unwrap();
    assert!(a.map(|_| lost.expr()).eval().is_err_and(|e| e.is_shape()));
    assert!(a.matmul(&r).unwrap_err().is_shape());
    assert!(a.t().matmul(&r).unwrap_err().is_shape());
    assert!(a.matmul_sum(&a).unwrap_err().is_shape());
    let uneven = a.reshard_v(Axis(0), &[3, 1]).unwrap();
    let error = a.t().matmul_sum(&uneven).unwrap_err();
    assert!(error.is_shape() && error.to_string().contains("reshard"), "{error}");
    assert!(a.reshard(Axis(2)).is_err());
    assert!(a.with_halo(usize::MAX / 2, Boundary::Zero).is_err());
    let halo = a.with_halo(1, Boundary::Zero).unwrap();
    let error = halo.map(|part| Ok(part.clone())).unwrap_err();
    assert!(error.is_shape() && error.member() == Some(0), "{error}");
}

/// However an array is cut, a reproducible group gives the bits that one device gives, which
/// `conformance/reduce.rs` holds against a naive loop.
#[test]
fn reproducible_reductions_do_not_depend_on_the_split() {
    let value = |i: usize| {
        let bits = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (bits as f32 / 4_294_967_296.0 - 0.5) * [1e-3f32, 1.0, 300.0, 1e5][i % 4]
    };
    let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let host = Device::host();
    let mut groups: Vec<Group> =
        (1..=5).map(|p| Group::new(vec![host.clone(); p]).unwrap()).collect();
    let devices = support::opencl_devices();
    let exact: Vec<Device> = devices.into_iter().filter(|d| d.info().denormals).collect();
    if let Some(device) = exact.first() {
        groups.push(Group::new(vec![device.clone(), host.clone(), device.clone()]).unwrap());
    }
    for (shape, axes) in [
        (vec![40_000], vec![0]),
        (vec![5000], vec![0]),
        (vec![7], vec![0]),
        (vec![30, 411], vec![0, 1]),
        (vec![9000, 3], vec![0]),
        (vec![3, 9000], vec![1]),
        (vec![4, 50, 60], vec![0, 2]),
    ] {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(value).collect();
        let x = DeviceArray::from_shape_slice(&host, shape.as_slice(), &values).unwrap();
        let over: Vec<Axis> = axes.iter().copied().map(Axis).collect();
        let r = x.over(&over).reproducible();
        let [sum, prod, min, max] =
            [r.sum(), r.prod(), r.min(), r.max()].map(|v| bits(v.unwrap().to_vec().unwrap()));
        for group in &groups {
            let group = group.reproducible();
            let p = group.len();
            for axis in 0..shape.len() {
                let weights: Vec<f64> = (0..p).map(|m| (m * m + 1) as f64).collect();
                for a in [
                    group.shard(&x, Axis(axis)).unwrap(),
                    group.shard_by(&x, Axis(axis), &weights).unwrap(),
                ] {
                    let r = a.over(&over);
                    let got = [r.sum(), r.prod(), r.min(), r.max()]
                        .map(|v| bits(v.unwrap().to_vec().unwrap()));
                    assert_eq!(
                        got,
                        [sum.clone(), prod.clone(), min.clone(), max.clone()],
                        "{shape:?} over {axes:?} split along {axis} of {p}"
                    );
                }
            }
            let a = group.shard(&x, Axis(0)).unwrap();
            assert!(a.mean().unwrap_err().to_string().contains("reproducible"));
        }
    }
}
