//! The cases of `matmul`.

use super::oracle::{self, Rng, Sample};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::Number;
use crate::error::Result;
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        // A batch of matrices by one matrix, and by matrices that broadcast.
        groups.push(case::<T>("matmul", &[(&[2, 19, 70], &[70, 33]), (&[2, 1, 19, 70], &[3, 70, 33])]));
        groups.push(case::<T>("matvec", &[(&[65, 300], &[300]), (&[0, 3], &[3]), (&[3, 0], &[0])]));
    });
    groups
}

type Shapes = &'static [(&'static [usize], &'static [usize])];

fn case<T: Number + Sample>(op: &'static str, shapes: Shapes) -> Group {
    Group::one("matmul", op, T::DTYPE, move |device| {
        let run = |device: &Device| -> Result<std::result::Result<(), String>> {
            let mut rng = Rng::new(seed(op, T::DTYPE));
            for &(sa, sb) in shapes {
                let mut random = |shape: &[usize]| {
                    let mut values = rng.moderate::<T>(shape.iter().product()).into_iter();
                    ArrayD::from_shape_simple_fn(IxDyn(shape), || values.next().unwrap_or_default())
                };
                let (a, b) = (random(sa), random(sb));
                let x = DeviceArray::from_ndarray(device, &a)?;
                let got = x.matmul(&DeviceArray::from_ndarray(device, &b)?)?;
                let want = oracle::matmul(&a.view(), &b.view());
                let place = format!("{sa:?} · {sb:?}");
                if got.shape() != want.shape() {
                    let (got, want) = (got.shape(), want.shape());
                    return Ok(Err(format!("{place}: shape {got:?}, expected {want:?}")));
                }
                for (k, (got, want)) in got.to_vec()?.into_iter().zip(&want).enumerate() {
                    if !want.allows(got) {
                        let got = got.wide();
                        return Ok(Err(format!("{place}, element {k}: {got}, expected {want:?}")));
                    }
                }
            }
            Ok(Ok(()))
        };
        Outcome::of(device, &[T::DTYPE], run(device))
    })
}
