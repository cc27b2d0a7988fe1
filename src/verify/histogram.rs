//! The cases of `histogram`.

use super::oracle::{Rng, Sample, Wide};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Integer, Number};
use crate::error::Result;
use half::{bf16, f16};

/// The edges of `bins` bins of equal width over floats, in the type that the elements are computed in.
pub fn even_edges(dtype: DType, bins: usize, low: f64, high: f64) -> Vec<f64> {
    let edge = |k: usize| match (k == bins, dtype.compute()) {
        (true, _) => high,
        (false, DType::F64) => low + k as f64 * ((high - low) / bins as f64),
        (false, _) => {
            let (low, high) = (low as f32, high as f32);
            f64::from(low + k as f32 * ((high - low) / bins as f32))
        }
    };
    (0..=bins).map(edge).collect()
}

/// The bin between ascending edges that holds `x`: the last one also has the last edge.
pub fn bin_of(edges: &[f64], x: f64) -> Option<usize> {
    let bins = edges.len() - 1;
    (0..bins)
        .rev()
        .find(|&k| edges[k] <= x && (x < edges[k + 1] || k == bins - 1 && x == edges[bins]))
}

/// The bin of an integer: low + k · (high − low) / bins is where bin k starts.
fn bin_of_integer(bins: usize, low: i128, high: i128, x: i128) -> Option<usize> {
    if x < low || x > high {
        return None;
    }
    let k = (x - low) * bins as i128 / (high - low);
    Some((k as usize).min(bins - 1))
}

type Checked = std::result::Result<(), String>;

fn same(what: &str, got: &DeviceArray<u64>, want: &[u64]) -> Result<Checked> {
    if got.shape() != [want.len()] {
        return Ok(Err(format!("{what}: shape {:?}, expected [{}]", got.shape(), want.len())));
    }
    let got = got.to_vec()?;
    Ok(match got.iter().zip(want).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(k) => Err(format!("{what}: {} elements in bin {k}, expected {}", got[k], want[k])),
    })
}

/// Stops at the first difference.
macro_rules! check {
    ($what:expr, $got:expr, $want:expr) => {
        if let Err(e) = same($what, $got, $want)? {
            return Ok(Err(e));
        }
    };
}

fn counts<T: Sample>(bins: usize, x: &[T], bin: impl Fn(T) -> Option<usize>) -> Vec<u64> {
    let mut counts = vec![0; bins];
    x.iter().filter_map(|&x| bin(x)).for_each(|k| counts[k] += 1);
    counts
}

/// Values of every size, moderate ones, and those at which implementations go wrong.
fn values<T: Sample>(op: &str, n: usize) -> Vec<T> {
    let mut rng = Rng::new(seed(op, T::DTYPE));
    let mut values = T::specials();
    values.extend(rng.values::<T>(n / 2));
    values.extend((values.len()..n).map(|_| match T::DTYPE.is_float() {
        true => T::of(Wide::Float(rng.unit() * 12.0 - 1.0)),
        false => T::of(Wide::Int(rng.below(130) as i128)),
    }));
    values
}

/// (bins, low, high)
fn ranges<T: Number + Sample>() -> Vec<(usize, Wide, Wide)> {
    if T::DTYPE.is_float() {
        let float = |bins, low, high| (bins, Wide::Float(low), Wide::Float(high));
        return vec![
            float(10, 0.0, 10.0),
            float(7, -1.5, 3.0),
            float(1, 0.0, 0.5),
            float(3000, -1.0, 11.0),
        ];
    }
    let integer = |bins, low: i128, high: i128| (bins, Wide::Int(low), Wide::Int(high));
    let bits = 8 * T::DTYPE.size() as u32;
    let (least, greatest) = match T::DTYPE.is_signed() {
        true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        false => (0, (1i128 << bits) - 1),
    };
    vec![
        integer(10, 0, 100),
        integer(255, least, greatest),
        integer(3000, 1, 127),
        integer(3, 7, 8),
    ]
}

fn numbers<T: Number + Sample>() -> Vec<Group> {
    let x = |op| values::<T>(op, 1501);
    let even = move |device: &Device| -> Result<Checked> {
        let x = x("histogram");
        let array = DeviceArray::from_slice(device, &x)?;
        for (bins, low, high) in ranges::<T>() {
            let want = match T::DTYPE.is_float() {
                true => {
                    let edges = even_edges(T::DTYPE, bins, low.float(), high.float());
                    counts(bins, &x, |v| bin_of(&edges, v.wide().float()))
                }
                false => counts(bins, &x, |v| {
                    bin_of_integer(bins, low.int(), high.int(), v.wide().int())
                }),
            };
            let got = array.histogram(bins, T::of(low)..=T::of(high))?;
            check!(&format!("{bins} bins over {low}..={high}"), &got, &want);
        }
        Ok(Ok(()))
    };
    let edges = move |device: &Device| -> Result<Checked> {
        let x = x("histogram_edges");
        let array = DeviceArray::from_slice(device, &x)?;
        for list in [&[0, 1, 2, 5, 50, 100][..], &[3, 3, 7, 7], &[1, 100]] {
            let edges: Vec<T> = list.iter().map(|&e| T::of(Wide::Int(e))).collect();
            let floats: Vec<f64> = list.iter().map(|&e| e as f64).collect();
            let want = counts(list.len() - 1, &x, |v| bin_of(&floats, v.wide().float()));
            check!(&format!("{list:?}"), &array.histogram_edges(&edges)?, &want);
        }
        Ok(Ok(()))
    };
    let needs = &[T::DTYPE];
    vec![
        Group::one("histogram", "histogram", T::DTYPE, move |d| Outcome::of(d, needs, even(d))),
        Group::one("histogram", "histogram_edges", T::DTYPE, move |d| {
            Outcome::of(d, needs, edges(d))
        }),
    ]
}

fn integers<T: Integer + Sample>() -> Group {
    let run = |device: &Device| -> Result<Checked> {
        let mut rng = Rng::new(seed("bincount", T::DTYPE));
        let x: Vec<T> = (0..3001).map(|_| T::of(Wide::Int(rng.below(101) as i128))).collect();
        let array = DeviceArray::from_slice(device, &x)?;
        for least in [0, 101, 120, 20_000] {
            let n = least.max(x.iter().map(|v| v.wide().int()).max().unwrap_or(0) as usize + 1);
            let want = counts(n, &x, |v| Some(v.wide().int() as usize));
            check!(&format!("at least {least}"), &array.bincount(least)?, &want);
        }
        Ok(Ok(()))
    };
    Group::one("histogram", "bincount", T::DTYPE, move |d| Outcome::of(d, &[T::DTYPE], run(d)))
}

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        groups.extend(numbers::<T>());
    });
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64] => groups.push(integers::<T>()));
    groups
}
