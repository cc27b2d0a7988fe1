//! The cases of `conv2d`.

use super::oracle::{Edge, Rng, Sample, Wide, conv2d, float_sum, ulp};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::Number;
use crate::error::Result;
use crate::ops::conv2d::Border;
use half::{bf16, f16};
use ndarray::{ArrayD, Axis, IxDyn};

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        for (op, border, edge) in [
            ("conv2d_zero", Border::Zero, Edge::Zero),
            ("conv2d_nearest", Border::Nearest, Edge::Nearest),
            ("conv2d_reflect", Border::Reflect, Edge::Reflect),
            ("conv2d_wrap", Border::Wrap, Edge::Wrap),
        ] {
            groups.push(case::<T>(op, border, edge));
        }
    });
    groups
}

type Checked = std::result::Result<(), String>;

fn random<T: Sample>(rng: &mut Rng, shape: &[usize]) -> ArrayD<T> {
    let mut values = rng.moderate::<T>(shape.iter().product()).into_iter();
    ArrayD::from_shape_simple_fn(IxDyn(shape), || values.next().unwrap_or_default())
}

/// Two images larger than the filter and one that is smaller.
fn case<T: Number + Sample>(op: &'static str, border: Border, edge: Edge) -> Group {
    Group::one("conv2d", op, T::DTYPE, move |device| {
        let run = |device: &Device| -> Result<Checked> {
            let mut rng = Rng::new(seed(op, T::DTYPE));
            let filter = random::<T>(&mut rng, &[3, 5]);
            for shape in [[2, 37, 70], [1, 1, 2]] {
                let images = random::<T>(&mut rng, &shape);
                let got = DeviceArray::from_ndarray(device, &images)?
                    .conv2d(&DeviceArray::from_ndarray(device, &filter)?, border)?;
                if got.shape() != shape {
                    return Ok(Err(format!("shape {:?}, expected {shape:?}", got.shape())));
                }
                let mut got = got.to_vec()?.into_iter();
                for (k, image) in images.axis_iter(Axis(0)).enumerate() {
                    let want = conv2d(&image, &filter.view(), edge);
                    for ((index, pairs), got) in want.indexed_iter().zip(&mut got) {
                        if let Err(e) = check(pairs, got) {
                            return Ok(Err(format!("{shape:?}, image {k} at {index:?}: {e}")));
                        }
                    }
                }
            }
            Ok(Ok(()))
        };
        Outcome::of(device, &[T::DTYPE], run(device))
    })
}

/// Integers wrap. Floats may be contracted and added in any order: each addition and each product
/// errs by half a unit of what has been summed up in magnitude, and the result is rounded once
/// more when it is stored.
fn check<T: Sample>(pairs: &[(T, T)], got: T) -> Checked {
    if !T::DTYPE.is_float() {
        let sum = pairs.iter().fold(0i128, |sum, (a, b)| {
            sum.wrapping_add(a.wide().int().wrapping_mul(b.wide().int()))
        });
        let want = T::of(Wide::Int(sum)).wide();
        return match got.wide().same(want) {
            true => Ok(()),
            false => Err(format!("{}, expected {want}", got.wide())),
        };
    }
    let products = || pairs.iter().map(|(a, b)| a.wide().float() * b.wide().float());
    let want = float_sum(products());
    let magnitude = float_sum(products().map(f64::abs));
    let terms = pairs.len() as f64;
    let bound = terms * ulp(T::DTYPE.compute(), magnitude) + 0.5 * ulp(T::DTYPE, want);
    let got = got.wide().float();
    match (got - want).abs() <= bound {
        true => Ok(()),
        false => Err(format!("{got:e}, expected {want:e} within {bound:e}")),
    }
}
