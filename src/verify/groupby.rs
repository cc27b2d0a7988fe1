//! The cases of `groupby`.

use super::oracle::{Rng, Sample, Wide, float_sum, integer_fold, ulp};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Element, Number};
use crate::error::Result;
use half::{bf16, f16};

const N: usize = 2001;
/// One of them has no elements.
const GROUPS: usize = 12;

type Checked = std::result::Result<(), String>;

/// The elements of each group.
fn split<T: Sample>(x: &[T], keys: &[u32]) -> Vec<Vec<Wide>> {
    let mut groups = vec![Vec::new(); GROUPS];
    x.iter().zip(keys).for_each(|(v, &k)| groups[k as usize].push(v.wide()));
    groups
}

fn sum<T: Number + Sample>(x: &[Wide], got: Wide) -> bool {
    if !T::DTYPE.is_float() {
        return got.same(Wide::Int(integer_fold(T::DTYPE, x, false)));
    }
    let want = float_sum(x.iter().map(|v| v.float()));
    let magnitude = float_sum(x.iter().map(|v| v.float().abs()));
    // Plain sums of a few hundred elements, where the device has no f64.
    (got.float() - want).abs() <= x.len().max(2) as f64 * ulp(T::DTYPE.sum(), magnitude)
}

fn extreme<T: Number + Sample>(x: &[Wide], got: Wide, greatest: bool) -> bool {
    if x.iter().any(|v| v.float().is_nan()) {
        return got.float().is_nan();
    }
    let before = |a: &Wide, b: &Wide| match (a, b) {
        (Wide::Int(a), Wide::Int(b)) => a.cmp(b),
        _ => a.float().total_cmp(&b.float()),
    };
    let best = match greatest {
        true => x.iter().copied().max_by(before),
        false => x.iter().copied().min_by(before),
    };
    let bits = 8 * T::DTYPE.size() as u32;
    let nothing = match (T::DTYPE.is_float(), greatest, T::DTYPE.is_signed()) {
        (true, true, _) => Wide::Float(f64::NEG_INFINITY),
        (true, false, _) => Wide::Float(f64::INFINITY),
        (_, true, true) => Wide::Int(-(1 << (bits - 1))),
        (_, true, false) => Wide::Int(0),
        (_, false, true) => Wide::Int((1 << (bits - 1)) - 1),
        (_, false, false) => Wide::Int((1 << bits) - 1),
    };
    // Zeros of both signs are equal.
    let want = best.unwrap_or(nothing);
    got.same(want) || got.float() == 0.0 && want.float() == 0.0
}

fn check<U: Sample>(
    got: &DeviceArray<U>,
    groups: &[Vec<Wide>],
    right: impl Fn(&[Wide], Wide) -> bool,
) -> Result<Checked> {
    let got = got.to_vec()?;
    if got.len() != GROUPS {
        return Ok(Err(format!("{} results for {GROUPS} groups", got.len())));
    }
    Ok(match got.iter().zip(groups).position(|(g, x)| !right(x, g.wide())) {
        None => Ok(()),
        Some(k) => {
            Err(format!("group {k} of {} elements gives {}", groups[k].len(), got[k].wide()))
        }
    })
}

/// A case: device, elements, keys.
type Run<T> = fn(&Device, &[T], &[u32]) -> Result<Checked>;

fn numbers<T: Number + Sample>() -> Vec<Group>
where
    T::Sum: Sample,
    T::Mean: Sample,
{
    let ops: [(&'static str, Run<T>); 5] = [
        ("group_sum", |device, x, keys| {
            let groups = split(x, keys);
            check(&by(device, x, keys)?.sum()?, &groups, sum::<T>)
        }),
        ("group_min", |device, x, keys| {
            let groups = split(x, keys);
            check(&by(device, x, keys)?.min()?, &groups, |x, got| extreme::<T>(x, got, false))
        }),
        ("group_max", |device, x, keys| {
            let groups = split(x, keys);
            check(&by(device, x, keys)?.max()?, &groups, |x, got| extreme::<T>(x, got, true))
        }),
        ("group_mean", |device, x, keys| {
            let groups = split(x, keys);
            check(&by(device, x, keys)?.mean()?, &groups, |x, got| {
                let n = x.len() as f64;
                let want = float_sum(x.iter().map(|v| v.float())) / n;
                let magnitude = float_sum(x.iter().map(|v| v.float().abs())) / n;
                // The sum's error, and that of a division.
                let bound = (n + 4.0) * ulp(<T::Mean as Element>::DTYPE, magnitude);
                x.is_empty() && got.float().is_nan() || (got.float() - want).abs() <= bound
            })
        }),
        ("bincount_weighted", |device, x, keys| {
            let groups = split(x, keys);
            let (x, keys) =
                (DeviceArray::from_slice(device, x)?, DeviceArray::from_slice(device, keys)?);
            check(&keys.bincount_weighted(&x, GROUPS)?, &groups, sum::<T>)
        }),
    ];
    let case = |(op, run): (&'static str, Run<T>)| {
        Group::one("groupby", op, T::DTYPE, move |device| {
            let mut rng = Rng::new(seed(op, T::DTYPE));
            let small = |rng: &mut Rng| match T::DTYPE.is_float() {
                true => T::of(Wide::Float(rng.unit() * 8.0 - 4.0)),
                false => T::of(Wide::Int(rng.below(200) as i128)),
            };
            let mut x: Vec<T> = (0..N).map(|_| small(&mut rng)).collect();
            let keys: Vec<u32> = (0..N).map(|_| rng.below(GROUPS - 1) as u32).collect();
            if T::DTYPE.is_float() && (op == "group_min" || op == "group_max") {
                x[N / 2] = T::of(Wide::Float(f64::NAN));
            }
            let mean = [T::DTYPE, <T::Mean as Element>::DTYPE];
            let needs = if op == "group_mean" { &mean[..] } else { &mean[..1] };
            Outcome::of(device, needs, run(device, &x, &keys))
        })
    };
    ops.into_iter().map(case).collect()
}

fn by<T: Number>(device: &Device, x: &[T], keys: &[u32]) -> Result<crate::GroupBy<T>> {
    let keys = DeviceArray::from_slice(device, keys)?;
    DeviceArray::from_slice(device, x)?.group_by(&keys, GROUPS)
}

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        groups.extend(numbers::<T>());
    });
    groups.push(Group::one("groupby", "group_count", DType::U32, |device| {
        let keys: Vec<u32> = (0..N).map(|i| (i * i % (GROUPS - 1)) as u32).collect();
        let run = || -> Result<Checked> {
            let want = split(&keys, &keys);
            check(&by(device, &keys, &keys)?.count()?, &want, |x, got| {
                got.same(Wide::Int(x.len() as i128))
            })
        };
        Outcome::of(device, &[], run())
    }));
    groups
}
