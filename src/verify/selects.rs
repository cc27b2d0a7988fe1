//! The cases of `select`: against plain loops.

use super::oracle::{Rng, Sample};
use super::sorts::same;
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use half::{bf16, f16};

/// One tile and many, in two axes.
const SHAPES: [[usize; 2]; 3] = [[1, 1], [9, 80], [3, 6001]];

type Checked = std::result::Result<(), String>;

/// A case: device, elements and flags under a shape.
type Run<T> = fn(&Device, [usize; 2], &[T], &[bool]) -> Result<Checked>;

fn array<T: Sample>(device: &Device, shape: [usize; 2], x: &[T]) -> Result<DeviceArray<T>> {
    DeviceArray::from_shape_slice(device, shape, x)
}

fn picked<T: Sample>(x: &[T], flags: &[bool], which: bool) -> Vec<T> {
    x.iter().zip(flags).filter(|(_, f)| **f == which).map(|(&v, _)| v).collect()
}

/// Elements that come several times in a row: how often, from 1 to 5, says their position.
fn spread<T: Sample>(x: &[T]) -> (Vec<T>, Vec<u64>) {
    let lengths: Vec<u64> = (0..x.len() as u64).map(|i| i * i % 5 + 1).collect();
    let runs = x.iter().zip(&lengths);
    (runs.flat_map(|(&v, &n)| std::iter::repeat_n(v, n as usize)).collect(), lengths)
}

fn of_type<T: Sample>() -> Vec<Group> {
    let ops: [(&'static str, Run<T>); 5] = [
        ("masked_select", |device, shape, x, flags| {
            let mask = array(device, shape, flags)?;
            let got = array(device, shape, x)?.masked_select(&mask)?;
            same("kept", &got, &picked(x, flags, true))
        }),
        ("masked_partition", |device, shape, x, flags| {
            let mask = array(device, shape, flags)?;
            let (kept, others) = array(device, shape, x)?.masked_partition(&mask)?;
            match same("kept", &kept, &picked(x, flags, true))? {
                Ok(()) => same("others", &others, &picked(x, flags, false)),
                wrong => Ok(wrong),
            }
        }),
        ("nonzero", |device, shape, x, _| {
            let found = x.iter().enumerate().filter(|(_, v)| **v != T::default());
            let want: Vec<u64> =
                found.flat_map(|(i, _)| [(i / shape[1]) as u64, (i % shape[1]) as u64]).collect();
            same("indices", &array(device, shape, x)?.nonzero()?, &want)
        }),
        ("run_length_encode", |device, _, x, _| {
            let mut runs: Vec<(T, u64)> = Vec::new();
            let long = spread(x).0;
            for &v in &long {
                match runs.last_mut() {
                    // No NaN equals another.
                    Some((last, count)) if *last == v => *count += 1,
                    _ => runs.push((v, 1)),
                }
            }
            let (mut values, lengths): (Vec<T>, Vec<u64>) = runs.into_iter().unzip();
            let got = DeviceArray::from_slice(device, &long)?.run_length_encode()?;
            // A run of zeros of both signs may have either.
            let either = |(want, got): (&mut T, T)| {
                if *want == got {
                    *want = got;
                }
            };
            values.iter_mut().zip(got.0.to_vec()?).for_each(either);
            match same("values", &got.0, &values)? {
                Ok(()) => same("lengths", &got.1, &lengths),
                wrong => Ok(wrong),
            }
        }),
        ("run_length_decode", |device, _, x, _| {
            let (want, lengths) = spread(x);
            let lengths = DeviceArray::from_slice(device, &lengths)?;
            let got = DeviceArray::from_slice(device, x)?.run_length_decode(&lengths)?;
            same("values", &got, &want)
        }),
    ];
    let case = |(op, run): (&'static str, Run<T>)| {
        Group::one("select", op, T::DTYPE, move |device| {
            let mut rng = Rng::new(seed(op, T::DTYPE));
            let specials = T::specials();
            let checked = SHAPES.into_iter().try_for_each(|shape| {
                let n = shape[0] * shape[1];
                let mut value = || match rng.below(3) {
                    0 => specials[rng.below(specials.len())],
                    1 => T::default(),
                    _ => T::random(&mut rng),
                };
                let x: Vec<T> = (0..n).map(|_| value()).collect();
                let flags: Vec<bool> = (0..n).map(|_| rng.below(3) == 0).collect();
                match run(device, shape, &x, &flags) {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(e)) => Err(Ok(Err(format!("{shape:?}: {e}")))),
                    Err(e) => Err(Err(e)),
                }
            });
            // Bits are moved, which every device can; these compare values.
            let compares = op == "nonzero" || op == "run_length_encode";
            let needs: &[DType] = if compares { &[T::DTYPE] } else { &[] };
            Outcome::of(device, needs, checked.err().unwrap_or(Ok(Ok(()))))
        })
    };
    ops.into_iter().map(case).collect()
}

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T => {
        groups.extend(of_type::<T>());
    });
    groups
}
