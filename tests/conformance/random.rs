//! Random numbers: against the numbers one at a time, against each other, and whether they look random.

use super::*;
use clan::half::{bf16, f16};
use clan::verify::oracle::{Stream, philox};
use clan::{DType, Random};

/// The known answers that come with the generator (Random123's `kat_vectors`).
#[test]
fn the_oracle_knows_its_answers() {
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(philox([!0; 4], [!0; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    let (counter, key) =
        ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
    assert_eq!(philox(counter, key), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
}

on_every_device!(words, |device| {
    // Key and counter are zero: the first known answer.
    let got = Random::new(0).integers::<u32>(device, 4, ..).unwrap();
    assert_eq!(got.to_vec().unwrap(), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    // Blocks across a 32-bit boundary of their number.
    let mut random = Random::new(11).stream(3);
    random.skip((1 << 34) - 9);
    let want = Stream { seed: 11, stream: 3 };
    for (k, got) in
        random.integers::<u32>(device, 1001, ..).unwrap().to_vec().unwrap().into_iter().enumerate()
    {
        assert_eq!(u64::from(got), want.word((1 << 34) - 9 + k as u64, false, 0), "word {k}");
    }
});

on_every_device!(however_many_at_a_time, |device| {
    let whole = Random::new(5).standard_normal::<f32>(device, 1000).unwrap().to_vec().unwrap();
    let (mut random, mut at) = (Random::new(5), 0);
    for n in [1, 2, 0, 3, 4, 5, 64, 127, 794] {
        assert_eq!(random.position(), at as u64);
        let part = random.standard_normal::<f32>(device, n).unwrap();
        assert_eq!(part.to_vec().unwrap(), whole[at..at + n], "{n} elements from {at}");
        at += n;
    }
    // The shape is nothing but a shape.
    let same = Random::new(5).standard_normal::<f32>(device, (10, 20, 5)).unwrap();
    assert_eq!(same.shape(), [10, 20, 5]);
    assert_eq!(same.to_vec().unwrap(), whole);
    assert_eq!(
        Random::new(5).standard_normal::<f32>(device, ()).unwrap().item().unwrap(),
        whole[0]
    );
    // Other streams and other seeds have other numbers.
    for mut other in [random.stream(1), Random::new(6), random.clone()] {
        let other = other.standard_normal::<f32>(device, 1000).unwrap().to_vec().unwrap();
        assert!(other.iter().zip(&whole).filter(|(a, b)| a == b).count() < 3);
    }
});

// Numbers of blocks of which the lower 32 bits begin anew in the middle of a draw, and of a group.
on_every_device!(beyond_32_bits_of_blocks, |device| {
    let n = 50_000;
    for before in [1 << 14, 20_004, 4 * 300 + 1] {
        let from = || {
            let mut random = Random::new(3);
            random.skip((1 << 34) - before);
            random
        };
        let host = Device::host();
        let got = from().uniform::<f32>(device, n).unwrap().to_vec().unwrap();
        assert_eq!(got, from().uniform::<f32>(&host, n).unwrap().to_vec().unwrap());
        if device.info().exact_division {
            let got = from().standard_normal::<f32>(device, n).unwrap().to_vec().unwrap();
            assert_eq!(got, from().standard_normal::<f32>(&host, n).unwrap().to_vec().unwrap());
        }
    }
    // The host's own order of things: blocks of the oracle around the place.
    let mut random = Random::new(3);
    random.skip((1 << 34) - 8);
    let got = random.uniform::<f32>(device, 16).unwrap().to_vec().unwrap();
    let want = Stream { seed: 3, stream: 0 };
    for (k, got) in got.into_iter().enumerate() {
        let word = want.word((1 << 34) - 8 + k as u64, false, 0);
        assert_eq!(got, (word >> 8) as f32 / (1 << 24) as f32);
    }
});

on_every_device!(normals, |device| {
    if device.info().exact_division {
        // The bits that every version and every device gives.
        let got = Random::new(42).standard_normal::<f32>(device, 6).unwrap().to_vec().unwrap();
        assert_eq!(got.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), PINNED);
    }
    let n = 100_000;
    let got = Random::new(9).standard_normal::<f32>(device, n).unwrap().to_vec().unwrap();
    let want = Stream { seed: 9, stream: 0 };
    let mut worst = 0f64;
    for (i, &got) in got.iter().enumerate() {
        let want = want.normal(i as u64, false);
        let unit = f64::from((want as f32).abs().next_up() - (want as f32).abs());
        worst = worst.max((f64::from(got) - want).abs() / unit);
    }
    eprintln!("the worst is off by {worst:.2} units in the last place");
    assert!(worst <= 4.0, "{worst} units");
    // Moments, each within five standard errors.
    let moment = |k: i32| got.iter().map(|&v| f64::from(v).powi(k)).sum::<f64>() / n as f64;
    for (k, want, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let error = 5.0 * f64::sqrt(variance / n as f64);
        assert!((moment(k) - want).abs() < error, "moment {k} is {}", moment(k));
    }
    // Neighbours have nothing to do with each other.
    let product = got.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / n as f64;
    assert!(product.abs() < 5.0 / f64::sqrt(n as f64), "neighbours correlate by {product}");
});

/// Normal numbers of seed 42.
const PINNED: [u32; 6] =
    [0x3f44_1c8c, 0x3f02_e5e2, 0x3ee4_cea2, 0x3dd6_cd8d, 0x3f27_4174, 0xbebf_f197];

/// Pearson's test; 1 in 10⁷ random results is above the bound.
#[track_caller]
fn evenly(counts: &[u64]) {
    let want = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    let chi: f64 = counts.iter().map(|&c| (c as f64 - want).powi(2) / want).sum();
    let k = counts.len() as f64 - 1.0;
    // Wilson and Hilferty's approximation at 5.2 standard deviations.
    let bound = k * (1.0 - 2.0 / (9.0 * k) + 5.2 * (2.0 / (9.0 * k)).sqrt()).powi(3);
    assert!(chi < bound, "χ² is {chi}, not below {bound}: {counts:?}");
}

on_every_device!(uniform, |device| {
    let n = 200_000;
    let mut counts = [0; 64];
    for v in Random::new(1).uniform::<f32>(device, n).unwrap().to_vec().unwrap() {
        assert!((0.0..1.0).contains(&v));
        counts[(v * 64.0) as usize] += 1;
    }
    evenly(&counts);
    // A type whose rounding would reach the end of the range.
    let got = Random::new(2).uniform_in(device, n, bf16::ONE..bf16::from_f32(1.0625)).unwrap();
    let got = got.to_vec().unwrap();
    assert!(got.iter().all(|v| (1.0..1.0625).contains(&v.to_f32())));
    if device.is_host() {
        let halves = Random::new(3).uniform::<f16>(device, n).unwrap().to_vec().unwrap();
        let mut counts = vec![0; 2048];
        halves.iter().for_each(|v| counts[(v.to_f32() * 2048.0) as usize] += 1);
        evenly(&counts);
    }
});

on_every_device!(integers, |device| {
    let n = 100_000;
    let mut counts = [0; 6];
    for v in Random::new(1).integers(device, n, 1..=6i32).unwrap().to_vec().unwrap() {
        counts[v as usize - 1] += 1;
    }
    evenly(&counts);
    // Three quarters of all words: a method without refusals would favour some by half.
    let mut counts = [0; 3];
    for v in Random::new(2).integers(device, n, -(1 << 30)..=i32::MAX).unwrap().to_vec().unwrap() {
        counts[((i64::from(v) + (1 << 30)) % 3) as usize] += 1;
    }
    evenly(&counts);
    let one = Random::new(3).integers(device, 10, 5..=5i32).unwrap();
    assert_eq!(one.to_vec().unwrap(), [5; 10]);
});

on_every_device!(bernoulli, |device| {
    let n = 100_000;
    let got = Random::new(4).bernoulli(device, n, 0.25).unwrap().to_vec().unwrap();
    let hits = got.iter().filter(|&&v| v).count() as f64;
    let (want, error) = (0.25 * n as f64, 5.0 * f64::sqrt(0.1875 * n as f64));
    assert!((hits - want).abs() < error, "{hits} of {n}, not {want} ± {error}");
});

on_every_device!(permutations, |device| {
    for n in [0, 1, 2, 100, 65_536, 65_537, 100_003] {
        let mut random = Random::new(8);
        let got = random.permutation(device, n).unwrap();
        assert_eq!((got.shape(), random.position()), (&[n][..], n as u64));
        let got = got.to_vec().unwrap();
        let host = Random::new(8).permutation(&Device::host(), n).unwrap().to_vec().unwrap();
        assert!(got == host, "{n} numbers: other ones than on the host");
        let mut seen = vec![false; n];
        got.iter().for_each(|&v| seen[v as usize] = true);
        assert!(seen.iter().all(|&s| s), "{n} numbers: not all are there");
        if n > 1000 {
            // Where the numbers of the first sixteenth went, and how many neighbours stayed together.
            let mut counts = [0; 16];
            got[..n / 16].iter().for_each(|&v| counts[v as usize * 16 / n] += 1);
            evenly(&counts);
            let together = got.windows(2).filter(|w| w[1] == w[0].wrapping_add(1)).count();
            assert!(together < 12, "{together} neighbours stayed together");
        }
        let other = random.permutation(device, n).unwrap().to_vec().unwrap();
        assert!(n < 100 || other != got);
    }
    if device.is_host() {
        // Every order of three, equally often.
        let mut counts = [0; 27];
        let mut random = Random::new(77);
        for _ in 0..6000 {
            let p = random.permutation(device, 3).unwrap().to_vec().unwrap();
            counts[(9 * p[0] + 3 * p[1] + p[2]) as usize] += 1;
        }
        let there: Vec<u64> = counts.into_iter().filter(|&c| c > 0).collect();
        assert_eq!(there.len(), 6);
        evenly(&there);
    }
});

on_every_device!(mistakes, |device| {
    let mut random = Random::new(1);
    let argument = ErrorKind::Argument;
    assert_error(random.uniform_in(device, 3, 1.0..1.0f32), argument, "uniform_in", &["1..1"]);
    assert_error(random.uniform_in(device, 3, 0.0..f32::NAN), argument, "uniform_in", &["NaN"]);
    let all = f32::MIN..f32::MAX;
    assert_error(random.uniform_in(device, 3, all), argument, "uniform_in", &["f32"]);
    assert_error(random.normal(device, 3, 0.0, -1.0f32), argument, "normal", &["-1"]);
    assert_error(random.normal(device, 3, f32::INFINITY, 1.0), argument, "normal", &["inf"]);
    assert_error(random.integers(device, 3, 7..7u8), argument, "integers", &["7", "6"]);
    assert_error(random.integers(device, 3, ..i8::MIN), argument, "integers", &["-129"]);
    for p in [-0.1, 1.5, f64::NAN] {
        assert_error(random.bernoulli(device, 3, p), argument, "bernoulli", &["probability"]);
    }
    let large = [1 << 40, 1 << 40];
    let got = random.uniform::<f32>(device, large.as_slice());
    assert_error(got, ErrorKind::TooLarge, "uniform", &["shape"]);
    if !device.supports(DType::F64) {
        assert_error(random.uniform::<f64>(device, 3), ErrorKind::Type, "uniform", &["f64"]);
    }
    // Nothing was drawn.
    assert_eq!(random.position(), 0);
});
