//! The cases of `gather`: arrays by arrays of indices, and arrays put together from arrays.

use super::layouts::{Checked, check, computed, cube, storage};
use super::oracle::{self, Rng, Sample, Wide};
use super::{Group, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::Number;
use crate::error::Result;
use crate::ops::gather::{IndexElement, Pad};
use half::{bf16, f16};
use ndarray::{Array1, ArrayD, Axis, IxDyn, concatenate, s, stack};

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T => {
        moves::<T>(&mut groups);
    });
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        groups.push(computed::<T>("gather", "scatter_add", |device| sums::<T>(device, false)));
    });
    each_type!(T in [f16, bf16, f32, f64] => {
        groups.push(computed::<T>("gather", "scatter_add_exact", |device| sums::<T>(device, true)));
    });
    groups
}

/// Indices into an axis, from its end where the type has a sign.
fn indices<I: IndexElement + Sample>(rng: &mut Rng, shape: &[usize], len: usize) -> ArrayD<I> {
    let last = if I::DTYPE.is_signed() { len as i128 } else { 0 };
    ArrayD::from_shape_simple_fn(shape, || I::of(Wide::Int(rng.below(len) as i128 - last)))
}

fn moves<T: Sample>(groups: &mut Vec<Group>) {
    groups.push(storage::<T>("gather", "take", |device| {
        let mut rng = Rng::new(seed("take", T::DTYPE));
        let a = cube::<T>("take", (5, 6, 7)).into_dyn();
        let x = DeviceArray::from_ndarray(device, &a)?;
        let i = indices::<u32>(&mut rng, &[1100], a.len());
        let there = DeviceArray::from_ndarray(device, &i)?;
        check!("flat", &x.take(&there)?, oracle::take(&a.view(), &i.view()));
        for axis in 0..3 {
            let i = indices::<i64>(&mut rng, &[3, 4], a.shape()[axis]);
            let there = DeviceArray::from_ndarray(device, &i)?;
            let want = oracle::take_axis(&a.view(), axis, &i.view());
            check!(&format!("axis {axis}"), &x.take_axis(Axis(axis), &there)?, want);
        }
        let i = indices::<i32>(&mut rng, &[5, 2, 7], 6);
        let there = DeviceArray::from_ndarray(device, &i)?;
        let want = oracle::take_along_axis(&a.view(), 1, &i.view());
        check!("along axis 1", &x.take_along_axis(Axis(1), &there)?, want);
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("gather", "put", |device| {
        let mut rng = Rng::new(seed("put", T::DTYPE));
        let mut want = cube::<T>("put", (5, 6, 7)).into_dyn();
        let mut x = DeviceArray::from_ndarray(device, &want)?;
        let (i, v) = (indices::<i32>(&mut rng, &[900], want.len()), rng.values::<T>(900));
        let v = Array1::from(v).into_dyn();
        let there = [DeviceArray::from_ndarray(device, &i)?];
        x.put(&there[0], DeviceArray::from_ndarray(device, &v)?)?;
        oracle::put(&mut want, None, &i.view(), &v.view(), |_, new| new);
        check!("flat", &x, want);
        let (i, v) = (indices::<i32>(&mut rng, &[5, 9, 7], 6), rng.values::<T>(5 * 9 * 7));
        let mut v = v.into_iter();
        let v = ArrayD::from_shape_simple_fn(IxDyn(&[5, 9, 7]), || v.next().unwrap_or_default());
        let there = DeviceArray::from_ndarray(device, &i)?;
        x.put_along_axis(Axis(1), &there, DeviceArray::from_ndarray(device, &v)?)?;
        oracle::put(&mut want, Some((1, true)), &i.view(), &v.view(), |_, new| new);
        check!("along axis 1", &x, want);
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("gather", "join", together::<T>));
}

fn together<T: Sample>(device: &Device) -> Result<Checked> {
    let a = cube::<T>("join", (4, 5, 6));
    let x = DeviceArray::from_ndarray(device, &a)?;
    let by = |axis: usize, places: Vec<usize>| a.select(Axis(axis), &places);
    for axis in 0..3 {
        let n = a.shape()[axis];
        let name = |what: &str| format!("{what}, axis {axis}");
        let parts = [a.view(), a.slice(s![..;-1, .., ..])];
        let Ok(want) = concatenate(Axis(axis), &parts) else { continue };
        let got = DeviceArray::concatenate(Axis(axis), [&x, &x.flip(&[Axis(0)])?])?;
        check!(&name("concatenate"), &got, want);
        let Ok(want) = stack(Axis(axis), &parts) else { continue };
        let got = DeviceArray::stack(Axis(axis), [&x, &x.flip(&[Axis(0)])?])?;
        check!(&name("stack"), &got, want);
        let want = by(axis, (0..3 * n).map(|k| k / 3).collect());
        check!(&name("repeat"), &x.repeat(Axis(axis), 3)?, want);
        let mut reps = [1; 3];
        reps[axis] = 2;
        check!(&name("tile"), &x.tile(&reps)?, by(axis, (0..2 * n).map(|k| k % n).collect()));
        let want = by(axis, (0..n).map(|k| (k + n - 1) % n).collect());
        check!(&name("roll"), &x.roll(Axis(axis), 1)?, want);
        let mut widths = [(0, 0); 3];
        widths[axis] = (2, 3);
        let places = |f: fn(isize, isize) -> isize| {
            let n = n as isize;
            by(axis, (-2..n + 3).map(|k| f(k, n) as usize).collect())
        };
        let want = places(|k, n| k.clamp(0, n - 1));
        check!(&name("pad, edge"), &x.pad(&widths, Pad::Edge)?, want);
        let want = places(|k, n| k.rem_euclid(n));
        check!(&name("pad, wrap"), &x.pad(&widths, Pad::Wrap)?, want);
        let want = places(|k, n| (n - 1) - ((n - 1) - k.abs()).abs());
        check!(&name("pad, reflect"), &x.pad(&widths, Pad::Reflect)?, want);
        let mut want = places(|k, n| k.clamp(0, n - 1));
        want.slice_axis_mut(Axis(axis), (..2).into()).fill(a[[0, 0, 1]]);
        want.slice_axis_mut(Axis(axis), (n + 2..).into()).fill(a[[0, 0, 1]]);
        check!(&name("pad, constant"), &x.pad(&widths, Pad::Constant(a[[0, 0, 1]]))?, want);
    }
    Ok(Ok(()))
}

/// Sums of small integers: every order gives the same.
fn sums<T: Number + Sample>(device: &Device, exact: bool) -> Result<Checked> {
    let mut rng = Rng::new(seed("scatter_add", T::DTYPE));
    let n = 700;
    let mut want: ArrayD<T> = ArrayD::from_shape_simple_fn(IxDyn(&[30]), || T::of(Wide::Int(2)));
    let i = indices::<u32>(&mut rng, &[n], 30);
    let v = ArrayD::from_shape_simple_fn(IxDyn(&[n]), || T::of(Wide::Int(rng.below(4) as i128)));
    let mut x = DeviceArray::from_ndarray(device, &want)?;
    let (at, values) =
        (DeviceArray::from_ndarray(device, &i)?, DeviceArray::from_ndarray(device, &v)?);
    let scatter = x.scatter(&at);
    let scatter = if exact { scatter.reproducible() } else { scatter };
    scatter.add(&values)?;
    oracle::put(&mut want, None, &i.view(), &v.view(), |a, b| {
        T::of(match (a.wide(), b.wide()) {
            (Wide::Int(a), Wide::Int(b)) => Wide::Int(a + b),
            (a, b) => Wide::Float(a.float() + b.float()),
        })
    });
    check!("sums", &x, want);
    Ok(Ok(()))
}
