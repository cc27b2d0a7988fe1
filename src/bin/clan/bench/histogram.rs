//! Histograms of elements that are spread over the bins, and of equal ones.

use super::data;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, DeviceArray};
use rayon::prelude::*;

pub const FAMILY: Family = Family {
    name: "histogram",
    ops: &[
        "histogram",
        "histogram_equal",
        "histogram_u8",
        "histogram_u8_equal",
        "histogram_edges",
        "bincount",
    ],
    run,
};

const BINS: usize = 256;

/// Counts the places that `place` gives.
fn counts<T: Sync>(x: &[T], bins: usize, place: impl Fn(&T) -> usize + Sync) -> Vec<u64> {
    let part = |x: &[T]| {
        let mut counts = vec![0; bins];
        x.iter().for_each(|v| counts[place(v)] += 1);
        counts
    };
    let add = |a: Vec<u64>, b: Vec<u64>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
    x.par_chunks(1 << 20).map(part).reduce(|| vec![0; bins], add)
}

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (device, data, n) = (bench.device, bench.data, bench.data.n());
    let case =
        |op, dtype: DType| Case { op, dtype, shape: vec![n], bytes: dtype.size() * n, flops: 0 };
    let right = |got: DeviceArray<u64>, want: Vec<u64>| {
        Ok(data::exactly(&got.to_vec()?, want.len(), |k| want[k]))
    };
    let wants = |bench: &Bench<'_>, ops: &[&str]| ops.iter().any(|op| bench.wants(op));
    if wants(bench, &["histogram", "histogram_edges"]) {
        let xs = data.x();
        let x = &DeviceArray::from_slice(device, xs)?;
        // The width of a bin is a power of two, so all of this is exact.
        let even = |v: &f32| ((v + 1.0) * 128.0) as usize;
        bench.case(
            case("histogram", DType::F32),
            || x.histogram(BINS, -1.0..=1.0),
            |got| right(got, counts(xs, BINS, even)),
        );
        let edges: Vec<f32> = (0..=BINS).map(|k| (k as f32 / BINS as f32).powi(2)).collect();
        bench.case(
            case("histogram_edges", DType::F32),
            || x.histogram_edges(&edges),
            |got| {
                // A bin more, for elements before all others.
                let place = |v: &f32| edges.partition_point(|e| e <= v).min(BINS);
                right(got, counts(xs, BINS + 1, place)[1..].to_vec())
            },
        );
    }
    if bench.wants("histogram_equal") {
        let x = &DeviceArray::full(device, n, 0.3f32)?;
        bench.case(
            case("histogram_equal", DType::F32),
            || x.histogram(BINS, -1.0..=1.0),
            |got| {
                right(
                    got,
                    counts(&[0.3f32], BINS, |v| ((v + 1.0) * 128.0) as usize)
                        .iter()
                        .map(|c| c * n as u64)
                        .collect(),
                )
            },
        );
    }
    if bench.wants("histogram_u8") {
        let xs: Vec<u8> = data.x().par_iter().map(|v| ((v + 1.0) * 128.0) as u8).collect();
        let x = &DeviceArray::from_slice(device, &xs)?;
        bench.case(
            case("histogram_u8", DType::U8),
            || x.histogram(BINS, 0..=255),
            |got| right(got, counts(&xs, BINS, |&v| v.into())),
        );
    }
    if bench.wants("histogram_u8_equal") {
        let x = &DeviceArray::full(device, n, 7u8)?;
        bench.case(
            case("histogram_u8_equal", DType::U8),
            || x.histogram(BINS, 0..=255),
            |got| right(got, (0..BINS).map(|k| if k == 7 { n as u64 } else { 0 }).collect()),
        );
    }
    if bench.wants("bincount") {
        const MANY: usize = 1 << 20;
        let xs: Vec<u32> = data.x().par_iter().map(|v| ((v + 1.0) * 524_288.0) as u32).collect();
        let x = &DeviceArray::from_slice(device, &xs)?;
        bench.case(
            case("bincount", DType::U32),
            || x.bincount(MANY),
            |got| right(got, counts(&xs, MANY, |&v| v as usize)),
        );
    }
    Ok(())
}
