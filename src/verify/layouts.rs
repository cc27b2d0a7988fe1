//! The cases of `copy` and of making arrays: everything that moves elements.

use super::oracle::{Rng, Sample, Wide, close, ulp};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Element, Float, Number};
use crate::error::Result;
use half::{bf16, f16};
use ndarray::{Array3, ArrayD, ArrayViewD, Dimension, IxDyn, s};

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T => {
        moves::<T>(&mut groups);
    });
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        ranges::<T>(&mut groups);
    });
    each_type!(T in [f16, bf16, f32, f64] => groups.push(linspace::<T>()));
    groups
}

pub(super) type Checked = std::result::Result<(), String>;

/// The same shape and the same values, signs of zeros included.
pub(super) fn same<T: Sample>(
    what: &str,
    got: &DeviceArray<T>,
    want: ArrayViewD<'_, T>,
) -> Result<Checked> {
    if got.shape() != want.shape() {
        return Ok(Err(format!("{what}: shape {:?}, expected {:?}", got.shape(), want.shape())));
    }
    let values = got.to_vec()?;
    for ((index, want), got) in want.indexed_iter().zip(&values) {
        if !got.wide().same(want.wide()) {
            return Ok(Err(format!(
                "{what}: at {:?} {}, expected {}",
                index.slice(),
                got.wide(),
                want.wide()
            )));
        }
    }
    Ok(Ok(()))
}

/// Stops at the first difference.
macro_rules! check {
    ($what:expr, $got:expr, $want:expr) => {
        if let Err(e) = $crate::verify::layouts::same($what, $got, $want.view().into_dyn())? {
            return Ok(Err(e));
        }
    };
}
pub(super) use check;

pub(super) fn cube<T: Sample>(op: &str, shape: (usize, usize, usize)) -> Array3<T> {
    let mut rng = Rng::new(seed(op, T::DTYPE));
    let mut values: Vec<T> = T::specials();
    values.truncate(shape.0 * shape.1 * shape.2);
    let more = rng.values::<T>(shape.0 * shape.1 * shape.2 - values.len());
    values.extend(more);
    let mut values = values.into_iter();
    Array3::from_shape_simple_fn(shape, || values.next().unwrap_or_default())
}

/// A case that needs no arithmetic, so every device can run it with every type.
pub(super) fn storage<T: Sample>(
    family: &'static str,
    op: &'static str,
    run: fn(&Device) -> Result<Checked>,
) -> Group {
    Group::one(family, op, T::DTYPE, move |device| Outcome::of(device, &[], run(device)))
}

/// A case that computes in `T`.
pub(super) fn computed<T: Sample>(
    family: &'static str,
    op: &'static str,
    run: fn(&Device) -> Result<Checked>,
) -> Group {
    Group::one(family, op, T::DTYPE, move |device| Outcome::of(device, &[T::DTYPE], run(device)))
}

fn moves<T: Sample>(groups: &mut Vec<Group>) {
    groups.push(storage::<T>("copy", "from_ndarray", |device| {
        let a = cube::<T>("from_ndarray", (5, 6, 7));
        check!("row-major", &DeviceArray::from_ndarray(device, &a)?, a);
        let t = a.t();
        check!("column-major", &DeviceArray::from_ndarray(device, &t)?, t);
        let back = a.slice(s![..;-1, .., ..]);
        check!("backwards", &DeviceArray::from_ndarray(device, &back)?, back);
        let part = a.slice(s![1..4, ..;2, 1..;-3]);
        check!("a part", &DeviceArray::from_ndarray(device, &part)?, part);
        let wide = a.slice(s![..1, .., ..]);
        let wide = wide.broadcast((4, 6, 7)).unwrap_or(wide);
        check!("broadcast", &DeviceArray::from_ndarray(device, &wide)?, wide);
        let empty = a.slice(s![2..2, .., ..]);
        check!("empty", &DeviceArray::from_ndarray(device, &empty)?, empty);
        let scalar = ndarray::arr0(a[[0, 0, 1]]);
        check!("0-d", &DeviceArray::from_ndarray(device, &scalar)?, scalar);
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("copy", "strided", |device| {
        let a = cube::<T>("strided", (9, 10, 33));
        let x = DeviceArray::from_ndarray(device, &a)?;
        check!("last axis", &x.slice(s![.., .., 1..;3])?, a.slice(s![.., .., 1..;3]));
        check!("all axes", &x.slice(s![1..;2, ..;3, ..;2])?, a.slice(s![1..;2, ..;3, ..;2]));
        check!("rows", &x.slice(s![2, ..;4, ..])?, a.slice(s![2, ..;4, ..]));
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("copy", "negative", |device| {
        let a = cube::<T>("negative", (9, 10, 33));
        let x = DeviceArray::from_ndarray(device, &a)?;
        check!("last axis", &x.slice(s![.., .., ..;-1])?, a.slice(s![.., .., ..;-1]));
        check!("first axis", &x.slice(s![..;-1, .., ..])?, a.slice(s![..;-1, .., ..]));
        check!(
            "all axes",
            &x.slice(s![..;-2, ..;-1, 3..30;-4])?,
            a.slice(s![..;-2, ..;-1, 3..30;-4])
        );
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("copy", "permuted", |device| {
        let a = cube::<T>("permuted", (9, 10, 33));
        let x = DeviceArray::from_ndarray(device, &a)?;
        for axes in [[0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let want = a.view().permuted_axes(axes);
            check!(&format!("{axes:?}"), &x.permute(&axes)?, want);
            check!(&format!("{axes:?}, copied"), &x.permute(&axes)?.to_contiguous()?, want);
        }
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("copy", "transposed", |device| {
        let a = cube::<T>("transposed", (2, 67, 131));
        let x = DeviceArray::from_ndarray(device, &a)?;
        check!("matrix", &x.slice(s![1, .., ..])?.t(), a.slice(s![1, .., ..]).t());
        check!("batch", &x.permute(&[0, 2, 1])?, a.view().permuted_axes([0, 2, 1]));
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("copy", "broadcast", |device| {
        let a = cube::<T>("broadcast", (4, 1, 9));
        let x = DeviceArray::from_ndarray(device, &a)?;
        for shape in [vec![4, 5, 9], vec![3, 4, 1, 9], vec![2, 4, 2, 9]] {
            let Some(want) = a.broadcast(IxDyn(&shape)) else { continue };
            check!(&format!("{shape:?}"), &x.broadcast(shape.as_slice())?, want);
        }
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("copy", "reshape", |device| {
        let a = cube::<T>("reshape", (4, 6, 10));
        let x = DeviceArray::from_ndarray(device, &a)?;
        let flat = a.iter().copied().collect::<Vec<T>>();
        let want = |shape: &[usize], values: &[T]| array(shape, values);
        check!("a view", &x.reshape((24, 2, 5))?, want(&[24, 2, 5], &flat));
        let moved: Vec<T> = a.t().iter().copied().collect();
        check!("a copy", &x.t().reshape((60, 4))?, want(&[60, 4], &moved));
        Ok(Ok(()))
    }));
    groups.push(storage::<T>("copy", "to_device", |device| {
        let a = cube::<T>("to_device", (5, 6, 7));
        let host = DeviceArray::from_ndarray(&Device::host(), &a.slice(s![.., ..;2, ..]))?;
        let there = host.t().to_device(device)?;
        check!("there", &there, a.slice(s![.., ..;2, ..]).t());
        check!("and back", &there.t().to_device(&Device::host())?, a.slice(s![.., ..;2, ..]));
        Ok(Ok(()))
    }));
    groups.push(computed::<T>("copy", "slice_assign", |device| {
        let mut want = cube::<T>("slice_assign", (6, 7, 8));
        let new = cube::<T>("new", (3, 7, 4));
        let mut x = DeviceArray::from_ndarray(device, &want)?;
        let before = x.clone();
        let old = want.clone();
        let value = DeviceArray::from_ndarray(device, &new)?;
        x.slice_mut(s![..;2, .., ..;-2])?.assign(&value)?;
        want.slice_mut(s![..;2, .., ..;-2]).assign(&new);
        check!("a part", &x, want);
        x.slice_mut(s![1, .., 2])?.fill(new[[0, 0, 0]])?;
        want.slice_mut(s![1, .., 2]).fill(new[[0, 0, 0]]);
        check!("filled", &x, want);
        check!("the clone", &before, old);
        Ok(Ok(()))
    }));
    groups.push(computed::<T>("create", "full", |device| {
        for value in T::specials() {
            let got = DeviceArray::full(device, (3, 4), value)?;
            check!("full", &got, ndarray::Array2::from_elem((3, 4), value));
        }
        let zero = T::of(Wide::Int(0));
        let one = T::of(Wide::Int(1));
        check!("zeros", &DeviceArray::<T>::zeros(device, 5)?, ndarray::Array1::from_elem(5, zero));
        check!("ones", &DeviceArray::<T>::ones(device, ())?, ndarray::arr0(one));
        check!(
            "none",
            &DeviceArray::<T>::ones(device, (0, 3))?,
            ndarray::Array2::from_elem((0, 3), one)
        );
        Ok(Ok(()))
    }));
}

fn array<T: Sample>(shape: &[usize], values: &[T]) -> ArrayD<T> {
    let mut values = values.iter();
    ArrayD::from_shape_simple_fn(IxDyn(shape), || values.next().copied().unwrap_or_default())
}

fn ranges<T: Number + Sample>(groups: &mut Vec<Group>) {
    groups.push(computed::<T>("create", "eye", |device| {
        let want =
            ndarray::Array2::from_shape_fn((9, 9), |(i, j)| T::of(Wide::Int(i128::from(i == j))));
        check!("eye", &DeviceArray::<T>::eye(device, 9)?, want);
        check!(
            "empty",
            &DeviceArray::<T>::eye(device, 0)?,
            ndarray::Array2::from_elem((0, 0), T::default())
        );
        Ok(Ok(()))
    }));
    groups.push(computed::<T>("create", "arange", |device| {
        let value = |v: i128| T::of(Wide::Int(v));
        let signed = !T::DTYPE.is_unsigned();
        let wide = T::DTYPE.size() > 1;
        // From, to, step, and how many there are.
        let mut list = vec![(0, 10, 1, 10), (3, 100, 7, 14), (5, 5, 1, 0), (9, 3, 2, 0)];
        if signed {
            list.extend([(10, -10, -3, 7), (-120, 120, 1, 240), (100, -100, -1, 200)]);
        }
        if wide && T::DTYPE != DType::BF16 {
            list.extend([(0, 2000, 1, 2000)]);
        }
        if signed && wide {
            // More steps than the half floats can count exactly, on values that they have.
            list.extend([(-250, 250, 1, 500)]);
        }
        for (from, to, step, n) in list {
            let got = DeviceArray::arange(device, value(from), value(to), value(step))?;
            let want: Vec<T> = (0..n).map(|k| value(from + k * step)).collect();
            check!(&format!("{from}..{to} by {step}"), &got, ndarray::Array1::from(want));
        }
        Ok(Ok(()))
    }));
}

/// The step and the products with it are rounded once each, at the scale of the whole range.
fn linspace<T: Float + Sample>() -> Group {
    computed::<T>("create", "linspace", |device| {
        for (from, to, n) in [
            (0.0, 1.0, 11),
            (-1.0, 1.0, 1000),
            (5.0, -3.0, 7),
            (2.0, 2.0, 3),
            (1.5, 9.0, 1),
            (1.0, 2.0, 0),
        ] {
            let [a, b] = [from, to].map(|v| T::of(Wide::Float(v)));
            let got = DeviceArray::linspace(device, a, b, n)?;
            if got.shape() != [n] {
                return Ok(Err(format!("shape {:?}, expected [{n}]", got.shape())));
            }
            let compute = <T as Element>::DTYPE.compute();
            let reach = 4.0 * ulp(compute, f64::max(from.abs(), to.abs()).max((to - from).abs()));
            for (k, got) in got.to_vec()?.into_iter().enumerate() {
                let got = got.wide().float();
                let exact = match k {
                    0 => from,
                    _ if k == n - 1 => to,
                    _ => from + (to - from) * k as f64 / (n - 1) as f64,
                };
                let ends = k == 0 || k == n - 1;
                let ulps = if ends { 0.0 } else { reach / ulp(compute, exact) };
                if !close(T::DTYPE, got, exact, ulps) {
                    return Ok(Err(format!(
                        "{from}..={to}, {n} values: number {k} is {got:e}, expected {exact:e}"
                    )));
                }
            }
        }
        Ok(Ok(()))
    })
}
