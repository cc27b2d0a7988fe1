//! Running sums of a stretch in vectors: neighbours are added by shifts, which takes a processor fewer steps that wait
//! for each other than one addition an element. On x86-64 with AVX2; elsewhere in the same order, element by element.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Adds `before`, the high and the low part of a sum, to the running sums of `xs`, so that rounding errors are those
/// of the stretch alone.
///
/// Eight neighbours are summed by themselves (Hillis and Steele, "Data Parallel Algorithms", 1986), then joined to
/// the sum of those before them.
pub(super) fn f32s(before: [f32; 2], xs: &[f32], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has it.
        return unsafe { f32s_wide(before, xs, out) };
    }
    f32s_narrow(before, xs, out);
}

/// As [`f32s`], with four neighbours.
pub(super) fn f64s(before: [f64; 2], xs: &[f64], out: &mut [f64]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has it.
        return unsafe { f64s_wide(before, xs, out) };
    }
    f64s_narrow(before, xs, out);
}

macro_rules! narrow {
    ($name:ident $rest:ident $T:ty, $WIDTH:literal, $HALF:literal) => {
        fn $name(before: [$T; 2], xs: &[$T], out: &mut [$T]) {
            let [high, low] = before;
            let (wide, rest) = xs.as_chunks::<$WIDTH>();
            let (to, to_rest) = out.as_chunks_mut::<$WIDTH>();
            let mut sum = 0.0;
            for (x, to) in wide.iter().zip(to) {
                let mut part = *x;
                let mut step = 1;
                while step < $HALF {
                    let from = part;
                    for k in 0..$WIDTH {
                        part[k] += if k % $HALF >= step { from[k - step] } else { 0.0 };
                    }
                    step *= 2;
                }
                for k in $HALF..$WIDTH {
                    part[k] += part[$HALF - 1];
                }
                *to = part.map(|x| high + (low + (sum + x)));
                sum += part[$WIDTH - 1];
            }
            $rest(before, sum, rest, to_rest);
        }

        fn $rest([high, low]: [$T; 2], mut sum: $T, xs: &[$T], out: &mut [$T]) {
            for (x, to) in xs.iter().zip(out) {
                sum += *x;
                *to = high + (low + sum);
            }
        }
    };
}
narrow!(f32s_narrow f32s_rest f32, 8, 4);
narrow!(f64s_narrow f64s_rest f64, 4, 2);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn f32s_wide(before: [f32; 2], xs: &[f32], out: &mut [f32]) {
    let [high, low] = before.map(|x| _mm256_set1_ps(x));
    let (wide, rest) = xs.as_chunks::<8>();
    let (to, to_rest) = out.as_chunks_mut::<8>();
    let mut sum = _mm256_setzero_ps();
    let shifted = |x: __m256i| _mm256_castsi256_ps(x);
    for (x, to) in wide.iter().zip(to) {
        // SAFETY: eight elements.
        let x = unsafe { _mm256_loadu_ps(x.as_ptr()) };
        let x = _mm256_add_ps(shifted(_mm256_slli_si256::<4>(_mm256_castps_si256(x))), x);
        let x = _mm256_add_ps(shifted(_mm256_slli_si256::<8>(_mm256_castps_si256(x))), x);
        // The last of the first four; zeros for these themselves.
        let first = _mm256_permute2f128_ps::<0x08>(x, x);
        let x = _mm256_add_ps(x, _mm256_shuffle_ps::<0xff>(first, first));
        let result = _mm256_add_ps(high, _mm256_add_ps(low, _mm256_add_ps(sum, x)));
        // SAFETY: places for eight.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), result) };
        sum = _mm256_add_ps(sum, _mm256_permutevar8x32_ps(x, _mm256_set1_epi32(7)));
    }
    f32s_rest(before, _mm256_cvtss_f32(sum), rest, to_rest);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn f64s_wide(before: [f64; 2], xs: &[f64], out: &mut [f64]) {
    let [high, low] = before.map(|x| _mm256_set1_pd(x));
    let (wide, rest) = xs.as_chunks::<4>();
    let (to, to_rest) = out.as_chunks_mut::<4>();
    let mut sum = _mm256_setzero_pd();
    for (x, to) in wide.iter().zip(to) {
        // SAFETY: four elements.
        let x = unsafe { _mm256_loadu_pd(x.as_ptr()) };
        let shifted = _mm256_castsi256_pd(_mm256_slli_si256::<8>(_mm256_castpd_si256(x)));
        let x = _mm256_add_pd(shifted, x);
        let first = _mm256_permute2f128_pd::<0x08>(x, x);
        let x = _mm256_add_pd(x, _mm256_permute_pd::<0b1111>(first));
        let result = _mm256_add_pd(high, _mm256_add_pd(low, _mm256_add_pd(sum, x)));
        // SAFETY: places for four.
        unsafe { _mm256_storeu_pd(to.as_mut_ptr(), result) };
        sum = _mm256_add_pd(sum, _mm256_permute4x64_pd::<0xff>(x));
    }
    f64s_rest(before, _mm256_cvtsd_f64(sum), rest, to_rest);
}

/// Integers of 64 bits: an addition takes a processor no longer than to store its result.
pub(super) fn none<T>(_: T, _: &[T], _: &mut [T]) -> usize {
    0
}

macro_rules! integers {
    ($($name:ident $wide:ident $T:ty, $I:ty, $even:expr, $odd:expr;)*) => {$(
        /// The sums of as many elements as make whole vectors: how many these are.
        pub(super) fn $name(before: $T, xs: &[$I], out: &mut [$T]) -> usize {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                let done = xs.len() / INTEGERS * INTEGERS;
                // SAFETY: the processor has it.
                unsafe { $wide(before, &xs[..done], &mut out[..done]) };
                return done;
            }
            let _ = (before, xs, out);
            0
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn $wide(mut before: $T, xs: &[$I], out: &mut [$T]) {
            for (xs, out) in xs.chunks(2 * PART).zip(out.chunks_mut(2 * PART)) {
                // Two parts, each in a half of the vectors.
                let part = xs.len() / 2;
                let (low, high) = xs.split_at(part);
                let (to_low, to_high) = out.split_at_mut(part);
                let middle = low.iter().fold(before, |sum, &x| sum.wrapping_add(x.into()));
                let ahead = [before, before, middle, middle].map(|sum| sum as i64);
                let mut sum = _mm256_setr_epi64x(ahead[0], ahead[1], ahead[2], ahead[3]);
                let from = low.as_chunks::<4>().0.iter().zip(high.as_chunks::<4>().0);
                let to = to_low.as_chunks_mut::<4>().0.iter_mut();
                for ((low, high), (to_low, to_high)) in from.zip(to.zip(to_high.as_chunks_mut::<4>().0)) {
                    // SAFETY: four elements each.
                    let x = unsafe {
                        let low = _mm_loadu_si128(low.as_ptr().cast());
                        let high = _mm_loadu_si128(high.as_ptr().cast());
                        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
                    };
                    let (even, odd): (__m256i, __m256i) = ($even(x), $odd(x));
                    let pairs = _mm256_add_epi64(even, odd);
                    let pairs = _mm256_add_epi64(pairs, _mm256_slli_si256::<8>(pairs));
                    let second = _mm256_add_epi64(sum, pairs);
                    let first = _mm256_sub_epi64(second, odd);
                    sum = _mm256_unpackhi_epi64(second, second);
                    let left = _mm256_unpacklo_epi64(first, second);
                    let right = _mm256_unpackhi_epi64(first, second);
                    // SAFETY: places for four each.
                    unsafe {
                        let (to_low, to_high) = (to_low.as_mut_ptr(), to_high.as_mut_ptr());
                        _mm_storeu_si128(to_low.cast(), _mm256_castsi256_si128(left));
                        _mm_storeu_si128(to_low.add(2).cast(), _mm256_castsi256_si128(right));
                        _mm_storeu_si128(to_high.cast(), _mm256_extracti128_si256::<1>(left));
                        _mm_storeu_si128(to_high.add(2).cast(), _mm256_extracti128_si256::<1>(right));
                    }
                }
                before = out[out.len() - 1];
            }
        }
    )*};
}

/// Elements that make whole vectors of both parts.
#[cfg(target_arch = "x86_64")]
const INTEGERS: usize = 8;

/// Elements of a part: both and their results stay in the first-level cache.
#[cfg(target_arch = "x86_64")]
const PART: usize = 512;

integers! {
    unsigned unsigned_wide u64, u32,
        |x| _mm256_and_si256(x, _mm256_set1_epi64x(0xffff_ffff)),
        |x| _mm256_srli_epi64::<32>(x);
    // The upper half of a word with its sign: no shift of 64 bits keeps signs.
    signed signed_wide i64, i32,
        |x| extended(_mm256_slli_epi64::<32>(x)),
        |x| extended(x);
}

/// The upper halves of words, as signed integers of 64 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn extended(x: __m256i) -> __m256i {
    let signs = _mm256_srai_epi32::<31>(x);
    // The halves of each word: its upper, and that one's sign above it.
    _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(x), signs)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Both give the same bits, and what a loop gives where sums are exact.
    #[test]
    fn vectors_add_in_the_same_order() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        let value = |i: usize| (i.wrapping_mul(0x9e37_79b9) >> 5) as f64 / 1e5 - 300.0;
        for n in [1, 7, 8, 9, 31, 1000, 1024] {
            let x: Vec<f32> = (0..n).map(|i| value(i) as f32).collect();
            let (mut a, mut b) = (vec![0.0; n], vec![1.0; n]);
            f32s_narrow([7e5, 1e-3], &x, &mut a);
            // SAFETY: the processor has it.
            unsafe { f32s_wide([7e5, 1e-3], &x, &mut b) };
            assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{n} f32");
            let x: Vec<f64> = (0..n).map(value).collect();
            let (mut a, mut b) = (vec![0.0; n], vec![1.0; n]);
            f64s_narrow([7e5, 1e-3], &x, &mut a);
            // SAFETY: the processor has it.
            unsafe { f64s_wide([7e5, 1e-3], &x, &mut b) };
            assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{n} f64");
        }
    }

    #[test]
    fn integers_in_vectors() {
        for n in [0, 5, 8, 24, 1023, 1024, 3001] {
            let x: Vec<u32> = (0..n as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
            let mut out = vec![0; n];
            let done = unsigned(u64::MAX - 9, &x, &mut out);
            let mut sum = u64::MAX - 9;
            for (x, got) in x.iter().zip(&out[..done]) {
                sum = sum.wrapping_add(u64::from(*x));
                assert_eq!(sum, *got, "{n}");
            }
            let x: Vec<i32> = x.iter().map(|&x| x as i32).collect();
            let mut out = vec![0; n];
            let done = signed(-5, &x, &mut out);
            let mut sum = -5;
            for (x, got) in x.iter().zip(&out[..done]) {
                sum += i64::from(*x);
                assert_eq!(sum, *got, "{n}");
            }
        }
    }
}
