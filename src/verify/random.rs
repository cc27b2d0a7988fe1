//! The cases of `random`, and its numbers one at a time.

use super::oracle::{Sample, Wide, close};
use super::{Group, Outcome, each_type};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Element, Float, Integer};
use crate::error::Result;
use crate::ops::random::Random;
use half::{bf16, f16};

/// Philox4x32-10 as its authors define it: the halves of two products, keys that grow by a constant.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut r0, mut l0, mut r1, mut l1] = counter;
    for round in 0..10u32 {
        let k0 = key[0].wrapping_add(round.wrapping_mul(0x9e37_79b9));
        let k1 = key[1].wrapping_add(round.wrapping_mul(0xbb67_ae85));
        let halves = |m: u64, x: u32| ((m * u64::from(x)) / (1 << 32), (m * u64::from(x)) as u32);
        let (high0, low0) = halves(0xd251_1f53, r0);
        let (high1, low1) = halves(0xcd9e_8d57, r1);
        (r0, l0, r1, l1) = (high1 as u32 ^ l0 ^ k0, low1, high0 as u32 ^ l1 ^ k1, low0);
    }
    [r0, l0, r1, l1]
}

/// The numbers of a seed and a stream, one at a time.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// As in [`Random::new`].
    pub seed: u64,
    /// As in [`Random::stream`].
    pub stream: u32,
}

impl Stream {
    fn block(self, number: u64, last: u32) -> [u32; 4] {
        let counter = [number as u32, (number >> 32) as u32, self.stream, last];
        philox(counter, [self.seed as u32, (self.seed >> 32) as u32])
    }

    /// The word of element `i`, drawn again `tries` times: 32 bits, or 64 where `wide`.
    pub fn word(self, i: u64, wide: bool, tries: u32) -> u64 {
        let each = if wide { 2 } else { 4 };
        let (w, k) = (self.block(i / each, u32::from(wide) | tries << 8), (i % each) as usize);
        match wide {
            true => u64::from(w[2 * k]) | u64::from(w[2 * k + 1]) << 32,
            false => w[k].into(),
        }
    }

    /// Element `i` of `low .. low + span`, where `span` is at most the number of words.
    pub fn integer(self, i: u64, wide: bool, low: i128, span: u128) -> i128 {
        let words = 1u128 << if wide { 64 } else { 32 };
        let mut tries = 0;
        loop {
            let product = u128::from(self.word(i, wide, tries)) * span;
            if product % words >= words % span {
                return low + (product / words) as i128;
            }
            tries += 1;
        }
    }

    /// Standard normal number `i`, by functions of `f64`.
    pub fn normal(self, i: u64, wide: bool) -> f64 {
        let each = if wide { 2 } else { 4 };
        let w = self.block(i / each, 2 + u32::from(wide));
        let pair = 2 * (i % each / 2) as usize;
        let join = |k: usize| u64::from(w[k]) | u64::from(w[k + 1]) << 32;
        if !wide {
            // The radius from a float that is rounded towards 0, the angle from an integer of half a turn, and
            // on which side it is from the first word's sign.
            let (odd, angle) = ((w[pair] | 1) as i32, w[pair + 1] as i32);
            let size = odd.unsigned_abs();
            let dropped = 8u32.saturating_sub(size.leading_zeros());
            let u = f64::from(size >> dropped << dropped) * 2f64.powi(-31);
            let radius = (-2.0 * u.ln()).sqrt();
            // As integers and floats round to nearest, the angle's float is even at half a turn's end.
            let part = f64::from(angle as f32) * 2f64.powi(-31);
            return match i % 2 {
                0 => radius * quarter_cos(part) * f64::from(odd.signum()),
                _ => radius * (part * std::f64::consts::FRAC_PI_2).sin(),
            };
        }
        let (u, angle) = ((join(0) | 1) as f64 * 2f64.powi(-64), join(2));
        let turned = angle >> 62 & 1;
        let radius = (-2.0 * u.ln()).sqrt();
        // Two bits choose the quarter: the sign of the cosine, and whether sine and cosine change places.
        let part = ((angle << 2) as i64) as f64 * 2f64.powi(-63) * std::f64::consts::FRAC_PI_4;
        let cosine = if angle >> 63 == 1 { -part.cos() } else { part.cos() };
        radius * if (turned == 1) == (i % 2 == 1) { cosine } else { part.sin() }
    }
}

/// The cosine of x quarter turns, |x| up to 1, of which no digits are lost at the ends.
fn quarter_cos(x: f64) -> f64 {
    ((1.0 - x.abs()) * std::f64::consts::FRAC_PI_2).sin()
}

type Checked = std::result::Result<(), String>;

/// From the start, from the middle of a block, of another stream beyond 32 bits: element counts.
const DRAWS: [(u32, u64, usize); 4] =
    [(0, 0, 1000), (0, 3, 517), (7, (1 << 34) - 5, 300), (u32::MAX, 2, 1)];

const SEED: u64 = 0x1234_5678_9abc_def0;

fn case<T: Element>(
    op: &'static str,
    run: impl Fn(&Device, &mut Random, Stream, u64, usize) -> Result<Checked> + 'static,
) -> Group {
    Group::one("random", op, T::DTYPE, move |device| {
        let all = || -> Result<Checked> {
            for (stream, position, n) in DRAWS {
                let mut random = Random::new(SEED).stream(stream);
                random.skip(position);
                let checked = run(device, &mut random, Stream { seed: SEED, stream }, position, n)?;
                if let Err(e) = checked {
                    return Ok(Err(format!(
                        "{n} elements of stream {stream} from {position}: {e}"
                    )));
                }
                if random.position() != position + n as u64 {
                    return Ok(Err(format!("the position is then {}", random.position())));
                }
            }
            Ok(Ok(()))
        };
        Outcome::of(device, &[T::DTYPE], all())
    })
}

fn each<T: Sample>(
    got: &DeviceArray<T>,
    position: u64,
    want: impl Fn(u64) -> Wide,
    same: impl Fn(Wide, Wide) -> bool,
) -> Result<Checked> {
    for (k, got) in got.to_vec()?.into_iter().enumerate() {
        let want = want(position + k as u64);
        if !same(got.wide(), want) {
            return Ok(Err(format!("element {k} is {}, expected {want}", got.wide())));
        }
    }
    Ok(Ok(()))
}

fn floats<T: Float + Sample>() -> Vec<Group> {
    let wide = T::DTYPE == DType::F64;
    let digits = |half| match T::DTYPE {
        DType::F64 => 53,
        DType::F16 if half => 11,
        DType::BF16 if half => 8,
        _ => 24,
    };
    let unit = move |s: Stream, i: u64, digits: i32| {
        let bits = if wide { 64 } else { 32 };
        (s.word(i, wide, 0) >> (bits - digits)) as f64 * 2f64.powi(-digits)
    };
    vec![
        case::<T>("uniform", move |device, random, s, at, n| {
            let got = random.uniform::<T>(device, n)?;
            each(&got, at, |i| Wide::Float(unit(s, i, digits(true))), Wide::same)
        }),
        case::<T>("uniform_in", move |device, random, s, at, n| {
            let of = |v| T::of(Wide::Float(v));
            let (low, high) = (-2.625, 7.5);
            let got = random.uniform_in(device, n, of(low)..of(high))?;
            let want = |i| {
                let u = unit(s, i, digits(false));
                let v = match T::DTYPE {
                    DType::F64 => low + u * (high - low),
                    _ => (low as f32 + u as f32 * (high - low) as f32).into(),
                };
                let v = of(v).wide();
                if v.float() < high { v } else { Wide::Float(low) }
            };
            each(&got, at, want, Wide::same)
        }),
        case::<T>("standard_normal", move |device, random, s, at, n| {
            let got = random.standard_normal::<T>(device, n)?;
            let same = |a: Wide, b: Wide| close(T::DTYPE, a.float(), b.float(), 4.0);
            each(&got, at, |i| Wide::Float(s.normal(i, wide)), same)
        }),
        case::<T>("normal", move |device, random, s, at, n| {
            let of = |v| T::of(Wide::Float(v));
            let got = random.normal(device, n, of(8.0), of(0.75))?;
            let same = |a: Wide, b: Wide| close(T::DTYPE, a.float(), b.float(), 4.0);
            each(&got, at, |i| Wide::Float(8.0 + 0.75 * s.normal(i, wide)), same)
        }),
    ]
}

fn integers<T: Integer + Sample>() -> Group {
    case::<T>("integers", |device, random, s, at, n| {
        let wide = T::DTYPE.size() == 8;
        let bits = 8 * T::DTYPE.size() as u32;
        let least = if T::DTYPE.is_signed() { -(1i128 << (bits - 1)) } else { 0 };
        let of = |v: i128| T::of(Wide::Int(v));
        let all = 1u128 << bits;
        // The last one's products are refused nearly every other time.
        for (low, span) in [(least, all), (1, 6), (least + 1, all / 2 + 1)] {
            let mut random = random.clone();
            let got = match span == all {
                true => random.integers::<T>(device, n, ..)?,
                false => random.integers(device, n, of(low)..of(low + span as i128))?,
            };
            let want = |i| Wide::Int(s.integer(i, wide, low, span));
            if let Err(e) = each(&got, at, want, Wide::same)? {
                return Ok(Err(format!("{low} and {span} values: {e}")));
            }
        }
        random.skip(n as u64);
        Ok(Ok(()))
    })
}

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [f16, bf16, f32, f64] => groups.extend(floats::<T>()));
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64] => groups.push(integers::<T>()));
    groups.push(case::<bool>("bernoulli", |device, random, s, at, n| {
        for p in [0.0, 0.3, 1.0] {
            let got = random.clone().bernoulli(device, n, p)?;
            let want = |i| {
                let below = (p * 4_294_967_296.0).round();
                Wide::Int(i128::from((s.word(i, false, 0) as f64) < below))
            };
            if let Err(e) = each(&got, at, want, Wide::same)? {
                return Ok(Err(format!("p = {p}: {e}")));
            }
        }
        random.skip(n as u64);
        Ok(Ok(()))
    }));
    groups.push(case::<u64>("permutation", |device, random, _, _, n| {
        // Short ones and long ones go different ways.
        for n in [n, 66_000 + n] {
            let mut got = random.clone().permutation(device, n)?.to_vec()?;
            let fixed = got.iter().enumerate().filter(|&(i, &v)| i as u64 == v).count();
            got.sort_unstable();
            if got.iter().enumerate().any(|(i, &v)| i as u64 != v) || n > 1 && fixed > 10 {
                return Ok(Err(format!("{n} numbers are no permutation, or a poor one")));
            }
        }
        random.skip(n as u64);
        Ok(Ok(()))
    }));
    groups
}
