//! Exact sums of floats: every order gives the same bits. `cl/scatter.cl` says how.

/// A float that exact sums are made of.
pub(super) trait Exact: Copy + Send + Sync + 'static {
    /// Words of 32 bits that hold any sum; one of flags follows.
    const WORDS: usize;
    /// Digits after the point, and the greatest exponent as it is stored.
    const DIGITS: u32;
    const EXPONENTS: u64;
    fn bits(self) -> u64;
    fn of_bits(bits: u64) -> Self;
}

impl Exact for f32 {
    // 2¹⁴⁹ · 2¹²⁸ · 2³² and a sign.
    const WORDS: usize = 10;
    const DIGITS: u32 = 23;
    const EXPONENTS: u64 = 0xff;
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
    fn of_bits(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
}

impl Exact for f64 {
    // 2¹⁰⁷⁴ · 2¹⁰²⁴ · 2³² and a sign.
    const WORDS: usize = 67;
    const DIGITS: u32 = 52;
    const EXPONENTS: u64 = 0x7ff;
    fn bits(self) -> u64 {
        self.to_bits()
    }
    fn of_bits(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
}

const NAN: u32 = 1;
const INFINITE: u32 = 2;
const MINUS_INFINITE: u32 = 4;

fn sign<F: Exact>() -> u64 {
    (F::EXPONENTS + 1) << F::DIGITS
}

/// Adds `x` to the words and flags of one place.
pub(super) fn add<F: Exact>(words: &mut [u32], x: F) {
    let bits = x.bits();
    let e = bits >> F::DIGITS & F::EXPONENTS;
    let fraction = bits & ((1 << F::DIGITS) - 1);
    let minus = bits & sign::<F>() != 0;
    if e == F::EXPONENTS {
        words[F::WORDS] |= match (fraction, minus) {
            (0, false) => INFINITE,
            (0, true) => MINUS_INFINITE,
            _ => NAN,
        };
        return;
    }
    let m = if e > 0 { fraction | 1 << F::DIGITS } else { fraction };
    let shift = e.saturating_sub(1);
    let mut digits = u128::from(m) << (shift & 31);
    let mut carry = 0;
    for word in &mut words[(shift >> 5) as usize..F::WORDS] {
        if digits == 0 && carry == 0 {
            break;
        }
        let part = u64::from(digits as u32) + carry;
        digits >>= 32;
        let (new, wrapped) = match minus {
            true => word.overflowing_sub(part as u32),
            false => word.overflowing_add(part as u32),
        };
        *word = new;
        carry = (part >> 32) + u64::from(wrapped);
    }
}

/// The element plus the sum, rounded once. What nothing was added to stays as it is.
pub(super) fn settle<F: Exact>(words: &mut [u32], before: F) -> F {
    if words.iter().all(|&w| w == 0) {
        return before;
    }
    add(words, before);
    let (words, flags) = words.split_at_mut(F::WORDS);
    let infinity = F::EXPONENTS << F::DIGITS;
    match flags[0] {
        0 => {}
        INFINITE => return F::of_bits(infinity),
        MINUS_INFINITE => return F::of_bits(infinity | sign::<F>()),
        _ => return F::of_bits(infinity | infinity >> 1),
    }
    let minus = words[F::WORDS - 1] >> 31 != 0;
    if minus {
        let mut carry = true;
        for w in words.iter_mut() {
            (*w, carry) = (!*w).overflowing_add(u32::from(carry));
        }
    }
    let negative = if minus { sign::<F>() } else { 0 };
    let Some(top) = words.iter().rposition(|&w| w != 0) else { return F::of_bits(negative) };
    let high = top as u32 * 32 + 31 - words[top].leading_zeros();
    let low = high.saturating_sub(F::DIGITS);
    if u64::from(low) >= F::EXPONENTS - 1 {
        return F::of_bits(negative | infinity);
    }
    let bit = |k: u32| words[k as usize / 32] >> (k % 32) & 1 == 1;
    let mut bits = (low..=high).rev().fold(0, |bits, k| bits << 1 | u64::from(bit(k)));
    if low > 0 {
        let half = low - 1;
        let rest = (0..half).any(bit);
        bits += u64::from(low) << F::DIGITS;
        bits += u64::from(bit(half) && (rest || bits & 1 == 1));
    }
    F::of_bits(negative | bits.min(infinity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum<F: Exact>(values: &[F], before: F) -> F {
        let mut words = vec![0; F::WORDS + 1];
        values.iter().for_each(|&v| add(&mut words, v));
        settle(&mut words, before)
    }

    #[test]
    fn sums_are_rounded_once() {
        let tiny = f32::from_bits(1);
        assert_eq!(sum(&[1e30f32, 1.0, -1e30], 0.5), 1.5);
        assert_eq!(sum(&[f32::MAX, tiny, -f32::MAX], 0.0), tiny);
        assert_eq!(sum(&[f32::MAX, f32::MAX], 0.0), f32::INFINITY);
        assert_eq!(sum(&[f32::MAX, f32::MAX, -f32::MAX], 0.0), f32::MAX);
        assert_eq!(sum(&[-tiny], -0.0), -tiny);
        assert_eq!(sum::<f32>(&[], -0.0).to_bits(), (-0.0f32).to_bits());
        // Halfway between neighbours, and just beside.
        let next = 1.0 + f32::EPSILON;
        assert_eq!(sum(&[1.0, f32::EPSILON / 2.0], 0.0), 1.0);
        assert_eq!(sum(&[next, f32::EPSILON / 2.0], 0.0), next + f32::EPSILON);
        assert_eq!(sum(&[1.0, f32::EPSILON / 2.0, tiny], 0.0), next);
        assert_eq!(sum(&[-1.0, -f32::EPSILON / 2.0, -tiny], 0.0), -next);
        assert!(sum(&[f32::INFINITY, f32::NEG_INFINITY], 0.0).is_nan());
        assert_eq!(sum(&[f32::NEG_INFINITY, 1.0], f32::MAX), f32::NEG_INFINITY);
    }

    #[test]
    fn as_one_rounding_of_a_wider_sum() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as i64 - (1 << 23)
        };
        for scale in [1.0f64, 2f64.powi(-149), 2f64.powi(-130), 2f64.powi(80)] {
            for n in 1..40 {
                // Integers below 2²⁴: their sums are exact in 64 bits.
                let values: Vec<i64> = (0..n).map(|_| next()).collect();
                let floats: Vec<f32> = values.iter().map(|&v| (v as f64 * scale) as f32).collect();
                let want = (values.iter().sum::<i64>() as f64 * scale) as f32;
                assert_eq!(sum(&floats, 0.0), want);
                let wide: Vec<f64> = floats.iter().map(|&v| v.into()).collect();
                assert_eq!(sum(&wide, 0.0), values.iter().sum::<i64>() as f64 * scale);
            }
        }
        assert_eq!(sum(&[f64::MAX, f64::from_bits(1), -f64::MAX], 0.0), f64::from_bits(1));
    }
}
