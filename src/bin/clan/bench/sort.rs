//! Sorts of keys, of keys with values, and of positions.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::ndarray::Axis;
use clan::{DType, DeviceArray, Side};
use rayon::prelude::*;

pub const FAMILY: Family = Family {
    name: "sort",
    ops: &[
        "sort",
        "sort_f32",
        "sort_pairs",
        "argsort",
        "sort_rows",
        "top_k",
        "searchsorted",
        "merge",
        "unique",
    ],
    run,
};

/// Any 32 bits from a position.
fn key(i: usize) -> u32 {
    let z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z >> 32) as u32 ^ z as u32
}

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, n, device) = (bench.data, bench.data.n(), bench.device);
    let keys: Vec<u32> = (0..n).into_par_iter().map(key).collect();
    // Keys are counted as operations: GFLOP/s are thousands of millions of keys a second.
    let case = |op, dtype, bytes| Case { op, dtype, shape: vec![n], bytes, flops: n };
    let x = &DeviceArray::from_slice(device, &keys)?;
    let sorted: Vec<u32> = match ["sort", "sort_pairs", "searchsorted", "merge", "unique"]
        .iter()
        .any(|op| bench.wants(op))
    {
        true => {
            let mut sorted = keys.clone();
            sorted.par_sort_unstable();
            sorted
        }
        false => Vec::new(),
    };
    bench.case(
        case("sort", DType::U32, 8 * n),
        || x.sort(Axis(0)),
        |got| Ok(data::exactly(&got.to_vec()?, n, |i| sorted[i])),
    );
    if bench.wants("sort_f32") {
        let xs = data.x();
        let floats = &DeviceArray::from_slice(device, xs)?;
        let mut sorted = xs.to_vec();
        sorted.par_sort_unstable_by(f32::total_cmp);
        bench.case(
            case("sort_f32", DType::F32, 8 * n),
            || floats.sort(Axis(0)),
            |got| Ok(data::exactly(&got.to_vec()?, n, |i| sorted[i])),
        );
    }
    if bench.wants("sort_pairs") {
        let values: Vec<u32> = (0..n as u32).collect();
        let values = &DeviceArray::from_slice(device, &values)?;
        bench.case(
            case("sort_pairs", DType::U32, 16 * n),
            || x.sorted(Axis(0)).with(values),
            |(got, from)| {
                let from = from.to_vec()?;
                Ok(data::exactly(&got.to_vec()?, n, |i| sorted[i])
                    .and_then(|()| in_order(&keys, from.into_iter().map(u64::from).collect())))
            },
        );
    }
    bench.case(
        case("argsort", DType::U32, 12 * n),
        || x.argsort(Axis(0)),
        |got| Ok(in_order(&keys, got.to_vec()?)),
    );
    if bench.wants("top_k") {
        let (xs, k) = (data.x(), 100.min(n));
        let floats = &DeviceArray::from_slice(device, xs)?;
        let mut sorted = xs.to_vec();
        sorted.par_sort_unstable_by(|a, b| b.total_cmp(a));
        bench.case(
            case("top_k", DType::F32, 4 * n),
            || floats.top_k(k, Axis(0)),
            |(got, from)| {
                let from = from.to_vec()?;
                Ok(data::exactly(&got.to_vec()?, k, |i| sorted[i]).and_then(|()| {
                    match (0..k).find(|&i| xs[from[i] as usize] != sorted[i]) {
                        None => Ok(()),
                        Some(i) => Err(format!("place {i} is {}", from[i])),
                    }
                }))
            },
        );
    }
    if bench.wants("sort_rows") {
        let len = 1000.min(n);
        let rows = n / len;
        let matrix = &x.slice(clan::ndarray::s![..rows * len])?.reshape((rows, len))?;
        bench.case(
            Case { shape: vec![rows, len], ..case("sort_rows", DType::U32, 8 * rows * len) },
            || matrix.sort(Axis(1)),
            |got| {
                let got = got.to_vec()?;
                let wrong =
                    got.par_chunks(len).zip(keys.par_chunks(len)).position_first(|(g, k)| {
                        let mut want = k.to_vec();
                        want.sort_unstable();
                        g != want
                    });
                Ok(wrong.map_or(Ok(()), |row| Err(format!("row {row} is not in order"))))
            },
        );
    }
    in_sorted(bench, x, &sorted)
}

/// What works on sorted vectors, or makes them of others.
fn in_sorted(bench: &mut Bench<'_>, x: &DeviceArray<u32>, sorted: &[u32]) -> Result<(), Failure> {
    let (n, device) = (sorted.len(), bench.device);
    let case =
        |op, shape, bytes, flops| Case { op, dtype: DType::U32, shape: vec![shape], bytes, flops };
    if bench.wants("searchsorted") {
        // Searches are counted as operations.
        let wanted: Vec<u32> = (n..n + n.div_ceil(4)).into_par_iter().map(key).collect();
        let m = wanted.len();
        let keys = &DeviceArray::from_slice(device, sorted)?;
        let values = &DeviceArray::from_slice(device, &wanted)?;
        bench.case(
            case("searchsorted", m, 4 * n + 12 * m, m),
            || keys.searchsorted(values, Side::Left),
            |got| {
                let place = |i: usize| sorted.partition_point(|&k| k < wanted[i]) as u64;
                Ok(data::exactly(&got.to_vec()?, m, place))
            },
        );
    }
    if bench.wants("merge") {
        // Two vectors of every third key and of all others.
        let part = |first: bool| -> Vec<u32> {
            let keys = sorted.iter().enumerate();
            keys.filter(|(i, _)| (i % 3 == 0) == first).map(|(_, &k)| k).collect()
        };
        let a = &DeviceArray::from_slice(device, &part(true))?;
        let b = &DeviceArray::from_slice(device, &part(false))?;
        bench.case(
            case("merge", n, 8 * n, n),
            || a.merge(b),
            |got| Ok(data::exactly(&got.to_vec()?, n, |i| sorted[i])),
        );
    }
    if bench.wants("unique") {
        // A million values at most.
        let x = &(x >> 12u32).eval()?;
        let mut want: Vec<u32> = sorted.iter().map(|k| k >> 12).collect();
        want.dedup();
        bench.case(
            case("unique", n, 8 * n, n),
            || x.unique(),
            |got| Ok(data::exactly(&got.to_vec()?, want.len(), |i| want[i])),
        );
    }
    Ok(())
}

/// Whether positions sort keys, equal ones by position, and each is there once.
fn in_order(keys: &[u32], positions: Vec<u64>) -> Result<(), String> {
    if positions.len() != keys.len() {
        return Err(format!("{} positions of {} keys", positions.len(), keys.len()));
    }
    if positions.par_iter().any(|&p| p >= keys.len() as u64) {
        return Err("a position outside".to_string());
    }
    // Strictly rising pairs: no position twice.
    let pair = |p: u64| (keys[p as usize], p);
    match positions.par_windows(2).position_first(|w| pair(w[0]) >= pair(w[1])) {
        None => Ok(()),
        Some(i) => Err(format!("positions {i} and {} are not in order", i + 1)),
    }
}
