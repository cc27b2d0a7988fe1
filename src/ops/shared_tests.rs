//! Arrays so long that threads of the host share the work, and what must not depend on how many they are.

use crate::{Device, DeviceArray, UserOp};
use half::f16;
use ndarray::Axis;

/// Numbers that look random.
fn bits(i: usize) -> u64 {
    let z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (z ^ (z >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(27)
}

fn host<T: crate::Element>(x: &[T]) -> DeviceArray<T> {
    DeviceArray::from_slice(&Device::host(), x).unwrap()
}

#[test]
fn selections() {
    let n = 200_003;
    let x: Vec<u32> = (0..n).map(|i| bits(i) as u32).collect();
    for often in [1, 2, 50, u64::MAX] {
        let mask: Vec<bool> = (0..n).map(|i| bits(i + 7).is_multiple_of(often) || i == 5).collect();
        let kept = |wanted: bool| -> Vec<u32> {
            x.iter().zip(&mask).filter(|(_, m)| **m == wanted).map(|(x, _)| *x).collect()
        };
        let (values, flags) = (host(&x), host(&mask));
        assert_eq!(values.masked_select(&flags).unwrap().to_vec().unwrap(), kept(true), "{often}");
        let (yes, no) = values.masked_partition(&flags).unwrap();
        assert_eq!(yes.to_vec().unwrap(), kept(true), "{often}");
        assert_eq!(no.to_vec().unwrap(), kept(false), "{often}");
        let places: Vec<u64> = (0..n as u64).filter(|&i| mask[i as usize]).collect();
        assert_eq!(flags.nonzero().unwrap().to_vec().unwrap(), places, "{often}");
    }
}

#[test]
fn histograms() {
    let x: Vec<f32> =
        (0..400_003).map(|i| (bits(i) >> 40) as f32 / (1 << 23) as f32 - 0.9).collect();
    let mut want = vec![0u64; 10];
    for &x in x.iter().filter(|x| (0.0..=1.0).contains(*x)) {
        let edge = |k: usize| k as f32 * 0.1f32;
        let k = (0..10).rfind(|&k| x >= edge(k)).unwrap();
        want[k] += 1;
    }
    assert_eq!(host(&x).histogram(10, 0.0..=1.0).unwrap().to_vec().unwrap(), want);
    let x: Vec<i8> = (0..600_001).map(|i| bits(i) as i8).collect();
    let want: Vec<u64> =
        (-100..100).map(|v| x.iter().filter(|&&x| i32::from(x) == v).count() as u64).collect();
    let edges: Vec<i8> = (-100..=100).collect();
    let mut got = host(&x).histogram_edges(&edges).unwrap().to_vec().unwrap();
    // The last bin has its end.
    got[199] -= x.iter().filter(|&&x| x == 100).count() as u64;
    assert_eq!(got, want);
    let words: Vec<u8> = x.iter().map(|&x| x as u8).collect();
    let want: Vec<u64> =
        (0..=300u32).map(|v| words.iter().filter(|&&x| u32::from(x) == v).count() as u64).collect();
    assert_eq!(host(&words).bincount(301).unwrap().to_vec().unwrap(), want);
    // Bins of some bytes only, and bytes of two bins.
    let got = host(&x).histogram(3, -10..=10).unwrap().to_vec().unwrap();
    let inside = x.iter().filter(|x| (-10..=10).contains(*x)).count() as u64;
    assert_eq!(got.iter().sum::<u64>(), inside);
    assert_eq!(got[0], x.iter().filter(|x| (-10..=-4).contains(*x)).count() as u64);
}

#[test]
fn sorts_of_floats() {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, 1e-45, -1e-45];
    let nans = [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)];
    let plain = |i: usize| match bits(i) % 50 {
        k if k < 6 => special[k as usize],
        _ => f32::from_bits(0x3000_0000 | bits(i + 1) as u32 & 0x8fff_ffff),
    };
    let some = |i: usize| if bits(i + 3).is_multiple_of(9) { nans[i % 4] } else { plain(i) };
    for n in [2, 49, 700, 5000, 300_000] {
        for with_nan in [false, true] {
            let x: Vec<f32> = (0..n).map(|i| if with_nan { some(i) } else { plain(i) }).collect();
            for down in [false, true] {
                let mut want: Vec<(u32, u64)> = x.iter().map(|x| x.to_bits()).zip(0..).collect();
                // NaN whatever its sign comes after ∞.
                let rank = |b: u32| match f32::from_bits(b) {
                    x if x.is_nan() => (1, 0.0),
                    x => (0, x),
                };
                want.sort_by(|a, b| {
                    let (a, b) = (rank(a.0), rank(b.0));
                    let order = a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
                    if down { order.reverse() } else { order }
                });
                let what = format!("{n}, {with_nan}, {down}");
                let x = host(&x);
                let sort = x.sorted(Axis(0));
                let sort = if down { sort.descending() } else { sort };
                let values = |x: DeviceArray<f32>| -> Vec<u32> {
                    x.to_vec().unwrap().into_iter().map(f32::to_bits).collect()
                };
                let keys: Vec<u32> = want.iter().map(|&(b, _)| b).collect();
                assert!(values(sort.values().unwrap()) == keys, "{what}");
                let (got, places) = sort.values_and_indices().unwrap();
                assert!(values(got) == keys, "{what}");
                assert!(
                    places.to_vec().unwrap().into_iter().eq(want.iter().map(|w| w.1)),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn scans() {
    let n = 300_001;
    let x: Vec<f16> =
        (0..n).map(|i| f16::from_f32(((bits(i) % (i as u64 + 9)) / 7) as f32)).collect();
    let mut most = f16::ZERO;
    let want: Vec<f16> = x
        .iter()
        .map(|&x| {
            most = if x > most { x } else { most };
            most
        })
        .collect();
    assert_eq!(host(&x).cummax(Axis(0)).unwrap().to_vec().unwrap(), want);
    let x: Vec<i32> = (0..n).map(|i| (bits(i) % 7) as i32).collect();
    let last = UserOp::new("last", "b != 0 ? b : a", |a: i32, b: i32| if b != 0 { b } else { a });
    let mut before = 0;
    let want: Vec<i32> = x
        .iter()
        .map(|&x| {
            before = if x != 0 { x } else { before };
            before
        })
        .collect();
    assert_eq!(host(&x).scan(Axis(0)).by(&last).unwrap().to_vec().unwrap(), want);
    let starts: Vec<bool> = (0..n).map(|i| bits(i + 1).is_multiple_of(40_000)).collect();
    let mut sum = 0;
    let want: Vec<i64> = x
        .iter()
        .zip(&starts)
        .map(|(&x, &start)| {
            sum = if start { i64::from(x) } else { sum + i64::from(x) };
            sum
        })
        .collect();
    let got = host(&x).scan(Axis(0)).segments(&host(&starts)).sum().unwrap();
    assert_eq!(got.to_vec().unwrap(), want);
}

/// Sums of fractions, whose rounding shows in what order they are added.
#[test]
fn scans_do_not_depend_on_the_number_of_threads() {
    let fraction = |i: usize| (bits(i) >> 40) as f32 / (1 << 24) as f32;
    for [rows, columns] in [[600_000, 1], [100_000, 3], [4000, 300], [200, 2500], [3, 200_000]] {
        let n = rows * columns;
        let x = host(&(0..n).map(fraction).collect::<Vec<_>>()).reshape((rows, columns)).unwrap();
        let starts = host(&(0..n).map(|i| bits(i + 1).is_multiple_of(30_000)).collect::<Vec<_>>());
        let starts = starts.reshape((rows, columns)).unwrap();
        let sums = || {
            let bits = |x: DeviceArray<f32>| -> Vec<u32> {
                x.to_vec().unwrap().into_iter().map(f32::to_bits).collect()
            };
            let plain = bits(x.cumsum(Axis(0)).unwrap());
            (plain, bits(x.scan(Axis(0)).segments(&starts).sum().unwrap()))
        };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(sums)
        };
        let one = run(1);
        assert!(sums() == one, "{rows} x {columns}, shared by this thread");
        for threads in [2, 5] {
            let many = run(threads);
            assert!(many.0 == one.0, "{rows} x {columns}, {threads} threads");
            assert!(many.1 == one.1, "{rows} x {columns} in segments, {threads} threads");
        }
    }
}

/// The others do not wait for a tile that will never come.
#[test]
fn an_operator_that_panics_ends_a_scan() {
    let x = host(&vec![1u32; 600_000]);
    let picky = UserOp::new("picky", "a + b", |a: u32, b: u32| {
        assert!(a + b < 50_000, "too much");
        a + b
    });
    let run = std::panic::AssertUnwindSafe(|| x.scan(Axis(0)).by(&picky).map(drop));
    assert!(std::panic::catch_unwind(run).is_err());
}
