//! The cases of `scan`: against plain loops over every lane.

use super::oracle::{Rng, Sample, Wide};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::{Device, DeviceKind};
use crate::error::Result;
use crate::ops::scan::Scan;
use crate::{DType, Number};
use half::{bf16, f16};
use ndarray::{ArrayD, Axis, IxDyn};

/// An array, the axis it is scanned along, whether exclusively, and whether in segments: short rows, long
/// ones, columns, few and many.
fn shapes(device: &Device) -> [(Vec<usize>, usize, bool, bool); 9] {
    // On GPUs totals of tiles go together by 32, and several such blocks are wanted.
    let long = if device.kind() == DeviceKind::Gpu { 600_011 } else { 30_011 };
    [
        (vec![1], 0, false, false),
        (vec![70_001], 0, true, true),
        (vec![300, 7], 1, false, false),
        (vec![3, 10_000], 1, true, false),
        (vec![2500, 3], 0, false, true),
        (vec![9000, 2], 0, true, false),
        (vec![2, 300, 70], 1, false, false),
        (vec![long], 0, false, false),
        (vec![long], 0, true, false),
    ]
}

type Checked = std::result::Result<(), String>;

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => numbers::<T>(&mut groups));
    groups
}

fn numbers<T: Number + Sample>(groups: &mut Vec<Group>)
where
    T::Sum: Sample,
{
    groups.push(case::<T, T::Sum>("cumsum", Wide::Int(0), |s| s.sum(), small, add));
    groups.push(case::<T, T::Sum>("cumprod", Wide::Int(1), |s| s.prod(), signs, multiply));
    let (least, greatest) = extremes(T::DTYPE);
    groups.push(case::<T, T>("cummin", greatest, |s| s.min(), Rng::sample::<T>, lesser));
    groups.push(case::<T, T>("cummax", least, |s| s.max(), Rng::sample::<T>, greater));
}

impl Rng {
    /// Any value; of floats also NaN now and then.
    fn sample<T: Sample>(&mut self) -> T {
        match T::DTYPE.is_float() && self.below(5000) == 0 {
            true => T::of(Wide::Float(f64::NAN)),
            false => T::random(self),
        }
    }
}

/// Whole numbers whose sums are exact in any order, also of floats.
fn small<T: Sample>(rng: &mut Rng) -> T {
    match T::DTYPE.is_float() {
        true => T::of(Wide::Int(rng.below(7) as i128 - 3)),
        false => T::random(rng),
    }
}

/// Of floats 1 and -1, of integers any odd number, or products are soon 0.
fn signs<T: Sample>(rng: &mut Rng) -> T {
    match T::DTYPE.is_float() {
        true => T::of(Wide::Int(rng.below(2) as i128 * 2 - 1)),
        false => T::of(Wide::Int(T::random(rng).wide().int() | 1)),
    }
}

fn add(a: Wide, b: Wide) -> Wide {
    match (a, b) {
        (Wide::Int(a), Wide::Int(b)) => Wide::Int(a.wrapping_add(b)),
        (a, b) => Wide::Float(a.float() + b.float()),
    }
}

/// Results are cut to 64 bits, so nothing is lost when 128 overflow.
fn multiply(a: Wide, b: Wide) -> Wide {
    match (a, b) {
        (Wide::Int(a), Wide::Int(b)) => Wide::Int(a.wrapping_mul(b)),
        (a, b) => Wide::Float(a.float() * b.float()),
    }
}

fn lesser(a: Wide, b: Wide) -> Wide {
    pick(a, b, |a, b| b < a)
}

fn greater(a: Wide, b: Wide) -> Wide {
    pick(a, b, |a, b| b > a)
}

fn pick(a: Wide, b: Wide, second: fn(f64, f64) -> bool) -> Wide {
    match (a, b) {
        (Wide::Int(x), Wide::Int(y)) => {
            // Beyond 2^53 floats do not tell integers apart: only the sign of the difference matters.
            if second(0.0, (y - x).signum() as f64) { b } else { a }
        }
        (x, _) if x.float().is_nan() => a,
        (_, y) if y.float().is_nan() => b,
        (x, y) => {
            if second(x.float(), y.float()) {
                b
            } else {
                a
            }
        }
    }
}

fn extremes(dtype: DType) -> (Wide, Wide) {
    let bits = dtype.size() as u32 * 8;
    match dtype {
        d if d.is_float() => (Wide::Float(f64::NEG_INFINITY), Wide::Float(f64::INFINITY)),
        d if d.is_signed() => (Wide::Int(-(1 << (bits - 1))), Wide::Int((1 << (bits - 1)) - 1)),
        _ => (Wide::Int(0), Wide::Int((1 << bits) - 1)),
    }
}

/// Every lane by itself. With `before` exclusive, starting from it.
fn naive<T: Sample>(
    x: &ArrayD<T>,
    starts: &ArrayD<bool>,
    axis: Axis,
    before: Option<Wide>,
    join: fn(Wide, Wide) -> Wide,
) -> ArrayD<Option<Wide>> {
    let mut out = ArrayD::from_elem(x.raw_dim(), None);
    let lanes = x.lanes(axis).into_iter().zip(starts.lanes(axis));
    for ((x, starts), mut out) in lanes.zip(out.lanes_mut(axis)) {
        let mut sum = None;
        for ((x, &start), out) in x.iter().zip(starts).zip(&mut out) {
            let so_far = if start { None } else { sum };
            let with = so_far.map_or(x.wide(), |sum| join(sum, x.wide()));
            *out = match before {
                Some(before) => Some(so_far.unwrap_or(before)),
                None => Some(with),
            };
            sum = Some(with);
        }
    }
    out
}

fn case<T: Sample, U: Sample>(
    op: &'static str,
    identity: Wide,
    run: fn(&Scan<T>) -> Result<DeviceArray<U>>,
    value: fn(&mut Rng) -> T,
    join: fn(Wide, Wide) -> Wide,
) -> Group {
    Group::one("scan", op, T::DTYPE, move |device| {
        let mut rng = Rng::new(seed(op, T::DTYPE));
        let checked = check(device, &mut rng, identity, run, value, join);
        Outcome::of(device, &[T::DTYPE, U::DTYPE], checked)
    })
}

fn check<T: Sample, U: Sample>(
    device: &Device,
    rng: &mut Rng,
    identity: Wide,
    run: fn(&Scan<T>) -> Result<DeviceArray<U>>,
    value: fn(&mut Rng) -> T,
    join: fn(Wide, Wide) -> Wide,
) -> Result<Checked> {
    for (shape, axis, exclusive, segments) in shapes(device) {
        let values = ArrayD::from_shape_simple_fn(IxDyn(&shape), || value(rng));
        let x = DeviceArray::from_ndarray(device, &values)?;
        let starts =
            ArrayD::from_shape_simple_fn(IxDyn(&shape), || segments && rng.below(900) == 0);
        let before = exclusive.then_some(identity);
        let mut scan = x.scan(Axis(axis));
        if segments {
            scan = scan.segments(&DeviceArray::from_ndarray(device, &starts)?);
        }
        if before.is_some() {
            scan = scan.exclusive();
        }
        let got = run(&scan)?.to_vec()?;
        let want = naive(&values, &starts, Axis(axis), before, join);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let want = want.map_or(U::default(), U::of).wide();
            // Which zero comes first depends on the order.
            let zeros = got.wide().float() == 0.0 && want.float() == 0.0;
            if !got.wide().same(want) && !zeros {
                let got = got.wide();
                return Ok(Err(format!(
                    "{shape:?} along axis {axis}: element {i} is {got}, expected {want}"
                )));
            }
        }
    }
    Ok(Ok(()))
}
