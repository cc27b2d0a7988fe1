//! The cases of `stencil`: rules and filters over one to three axes.

use super::oracle::{Edge, Rng, Sample, Wide, beyond};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::Number;
use crate::error::Result;
use crate::ops::conv2d::Border;
use crate::ops::stencil::{Around, ConvMode, Stencil};
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

type Checked = std::result::Result<(), String>;

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        groups.push(case::<T>("stencil_1d", |device, rng| rule::<T, 1>(device, rng, &[700])));
        groups.push(case::<T>("stencil_2d", |device, rng| rule::<T, 2>(device, rng, &[2, 37, 70])));
        groups.push(case::<T>("stencil_3d", |device, rng| rule::<T, 3>(device, rng, &[9, 10, 40])));
    });
    each_type!(T in [i32, f32] => {
        groups.push(case::<T>("correlate", correlate::<T>));
        groups.push(case::<T>("conv1d", conv1d::<T>));
    });
    groups
}

fn case<T: Number + Sample>(
    op: &'static str,
    run: impl Fn(&Device, &mut Rng) -> Result<Checked> + 'static,
) -> Group {
    Group::one("stencil", op, T::DTYPE, move |device| {
        let mut rng = Rng::new(seed(op, T::DTYPE));
        Outcome::of(device, &[T::DTYPE], run(device, &mut rng))
    })
}

/// Small integers, of which sums are exact in every type.
fn small(rng: &mut Rng, shape: &[usize]) -> ArrayD<i64> {
    ArrayD::from_shape_simple_fn(shape, || rng.below(7) as i64)
}

fn to<T: Sample>(v: i64) -> T {
    T::of(Wide::Int(v.into()))
}

/// What lies at an index that may be outside.
fn look(x: &ArrayD<i64>, edge: Edge, index: &[isize]) -> i64 {
    let places = index.iter().zip(x.shape()).map(|(&i, &n)| beyond(i, n, edge));
    places.collect::<Option<Vec<_>>>().map_or(0, |places| x[IxDyn(&places)])
}

fn same<T: Sample>(got: &DeviceArray<T>, want: &ArrayD<i64>) -> Result<Checked> {
    if got.shape() != want.shape() {
        return Ok(Err(format!("shape {:?}, expected {:?}", got.shape(), want.shape())));
    }
    let got = got.to_vec()?;
    let pairs = want.indexed_iter().zip(&got);
    for ((index, &want), got) in pairs {
        if *got != to::<T>(want) {
            return Ok(Err(format!("{index:?}: {}, expected {want}", got.wide())));
        }
    }
    Ok(Ok(()))
}

/// The sum of the elements one step ahead along each axis, and of the one two steps back along all.
fn rule<T: Number + Sample, const N: usize>(
    device: &Device,
    rng: &mut Rng,
    shape: &[usize],
) -> Result<Checked> {
    let offsets = || {
        let ahead = (0..N).map(|a| std::array::from_fn(|b| isize::from(a == b)));
        ahead.chain([[-2; N]])
    };
    let terms: Vec<String> = offsets()
        .map(|o: [isize; N]| format!("at({})", o.map(|o| o.to_string()).join(", ")))
        .collect();
    let host = move |at: &Around<'_, T, N>| {
        T::of(Wide::Float(offsets().map(|o| at.get(o).wide().float()).sum()))
    };
    let stencil = Stencil::<T, N>::new("ahead", [2; N], terms.join(" + "), host);
    let x = small(rng, shape);
    let on_device = DeviceArray::from_ndarray(device, &x.mapv(to::<T>))?;
    let borders = [(Border::Wrap, Edge::Wrap), (Border::Zero, Edge::Zero)];
    // Programs take their time: both where there are most.
    for &(border, edge) in &borders[..if N == 2 { 2 } else { 1 }] {
        let want = ArrayD::from_shape_fn(shape, |index| {
            offsets()
                .map(|o| {
                    let leading = shape.len() - N;
                    let step = |a: usize| a.checked_sub(leading).map_or(0, |b| o[b]);
                    let index: Vec<isize> =
                        (0..shape.len()).map(|a| index[a] as isize + step(a)).collect();
                    look(&x, edge, &index)
                })
                .sum()
        });
        if let Err(e) = same(&on_device.stencil(&stencil, border)?, &want)? {
            return Ok(Err(format!("{border:?}: {e}")));
        }
    }
    Ok(Ok(()))
}

/// A filter of three axes.
fn correlate<T: Number + Sample>(device: &Device, rng: &mut Rng) -> Result<Checked> {
    let (x, w) = (small(rng, &[2, 5, 9, 66]), small(rng, &[3, 2, 3]));
    let want = ArrayD::from_shape_fn(x.shape(), |at| {
        w.indexed_iter()
            .map(|(k, w_k)| {
                let step = |a: usize| k[a] as isize - (w.shape()[a] / 2) as isize;
                let index: [isize; 4] =
                    std::array::from_fn(|a| at[a] as isize + if a == 0 { 0 } else { step(a - 1) });
                w_k * look(&x, Edge::Nearest, &index)
            })
            .sum()
    });
    let w = DeviceArray::from_ndarray(device, &w.mapv(to::<T>))?;
    let x = DeviceArray::from_ndarray(device, &x.mapv(to::<T>))?;
    same(&x.correlate(&w, Border::Nearest)?, &want)
}

fn conv1d<T: Number + Sample>(device: &Device, rng: &mut Rng) -> Result<Checked> {
    let (n, k) = (300, 4);
    let (x, w) = (small(rng, &[n]), small(rng, &[k]));
    let on_device = DeviceArray::from_ndarray(device, &x.mapv(to::<T>))?;
    let line = DeviceArray::from_ndarray(device, &w.mapv(to::<T>))?;
    for (mode, len, lead) in [
        (ConvMode::Full, n + k - 1, k - 1),
        (ConvMode::Same, n, k / 2),
        (ConvMode::Valid, n - k + 1, 0),
    ] {
        let want = ArrayD::from_shape_fn(vec![len], |at| {
            let place = |j: usize| at[0] as isize + j as isize - lead as isize;
            (0..k).map(|j| w[j] * look(&x, Edge::Zero, &[place(j)])).sum()
        });
        if let Err(e) = same(&on_device.conv1d(&line, mode)?, &want)? {
            return Ok(Err(format!("{mode:?}: {e}")));
        }
    }
    Ok(Ok(()))
}
