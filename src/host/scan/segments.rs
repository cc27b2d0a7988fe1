//! Where segments start, and running sums of floats in segments: as those of `wide`, with masks that keep what is
//! before a segment out of it.

use super::wide;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Flags that are looked at together. Most are not set.
const SOME: usize = 8;

fn any(flags: &[u8; SOME]) -> bool {
    u64::from_ne_bytes(*flags) != 0
}

/// The place of the first flag that is set.
fn first_head(flags: &[u8]) -> Option<usize> {
    let (groups, _) = flags.as_chunks::<SOME>();
    let from = groups.iter().position(any).unwrap_or(groups.len()) * SOME;
    let head = flags[from..].iter().position(|flag| *flag != 0)?;
    Some(from + head)
}

/// The place of the last flag that is set.
pub(super) fn last_head(flags: &[u8]) -> Option<usize> {
    let (rest, groups) = flags.as_rchunks::<SOME>();
    let to = groups.iter().rposition(any).map_or(rest.len(), |k| rest.len() + (k + 1) * SOME);
    flags[..to].iter().rposition(|flag| *flag != 0)
}

/// Calls `f` with the place of every flag that is set, in order.
pub(super) fn each_head(flags: &[u8], mut f: impl FnMut(usize)) {
    let mut from = 0;
    while let Some(head) = first_head(&flags[from..]) {
        f(from + head);
        from += head + 1;
    }
}

macro_rules! in_segments {
    ($name:ident $plain:ident $narrow:ident $wide:ident $rest:ident $T:ty, $WIDTH:literal, $HALF:literal) => {
        /// The running sums of segments, which start where a flag is not 0. What comes `before`, in two parts, is
        /// for elements ahead of the first of them.
        pub(super) fn $name(before: [$T; 2], xs: &[$T], flags: &[u8], out: &mut [$T]) {
            let head = first_head(flags).unwrap_or(flags.len());
            let (open, out) = out.split_at_mut(head);
            wide::$plain(before, &xs[..head], open);
            let (xs, flags) = (&xs[head..], &flags[head..]);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has it.
                return unsafe { $wide(xs, flags, out) };
            }
            $narrow(xs, flags, out);
        }

        fn $narrow(xs: &[$T], flags: &[u8], out: &mut [$T]) {
            let (wide, rest) = xs.as_chunks::<$WIDTH>();
            let (heads, heads_rest) = flags.as_chunks::<$WIDTH>();
            let (to, to_rest) = out.as_chunks_mut::<$WIDTH>();
            let mut sum = 0.0;
            for ((x, heads), to) in wide.iter().zip(heads).zip(to) {
                // Whether a segment starts among those that are added to an element, or with it.
                let (mut part, mut cut) = (*x, heads.map(|head| head != 0));
                let mut step = 1;
                while step < $HALF {
                    let (from, cuts) = (part, cut);
                    for k in 0..$WIDTH {
                        let left = k % $HALF >= step;
                        part[k] += if left && !cuts[k] { from[k - step] } else { 0.0 };
                        cut[k] |= left && cuts[k - step];
                    }
                    step *= 2;
                }
                for k in $HALF..$WIDTH {
                    part[k] += if cut[k] { 0.0 } else { part[$HALF - 1] };
                    cut[k] |= cut[$HALF - 1];
                }
                for k in 0..$WIDTH {
                    to[k] = if cut[k] { 0.0 } else { sum } + part[k];
                }
                sum = if cut[$WIDTH - 1] { 0.0 } else { sum } + part[$WIDTH - 1];
            }
            $rest(sum, rest, heads_rest, to_rest);
        }

        fn $rest(mut sum: $T, xs: &[$T], flags: &[u8], out: &mut [$T]) {
            for ((x, flag), to) in xs.iter().zip(flags).zip(out) {
                sum = if *flag != 0 { 0.0 } else { sum } + *x;
                *to = sum;
            }
        }
    };
}
in_segments!(f32s_in_segments f32s narrow_f32s wide_f32s rest_f32s f32, 8, 4);
in_segments!(f64s_in_segments f64s narrow_f64s wide_f64s rest_f64s f64, 4, 2);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn wide_f32s(xs: &[f32], flags: &[u8], out: &mut [f32]) {
    let (wide, rest) = xs.as_chunks::<8>();
    let (heads, heads_rest) = flags.as_chunks::<8>();
    let (to, to_rest) = out.as_chunks_mut::<8>();
    let mut sum = _mm256_setzero_ps();
    let (bits, floats) = (|x| _mm256_castps_si256(x), |x| _mm256_castsi256_ps(x));
    // The last of the first four; zeros for these themselves.
    let first = |x| {
        let first = _mm256_permute2f128_ps::<0x08>(x, x);
        _mm256_shuffle_ps::<0xff>(first, first)
    };
    let last = |x| _mm256_permutevar8x32_ps(x, _mm256_set1_epi32(7));
    for ((x, heads), to) in wide.iter().zip(heads).zip(to) {
        // SAFETY: eight elements.
        let x = unsafe { _mm256_loadu_ps(x.as_ptr()) };
        let result;
        if any(heads) {
            let heads = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(*heads)));
            // All bits where a segment starts among those that are added to an element, or with it.
            let cut = _mm256_cmpgt_epi32(heads, _mm256_setzero_si256());
            let left = floats(_mm256_slli_si256::<4>(bits(x)));
            let x = _mm256_add_ps(_mm256_andnot_ps(floats(cut), left), x);
            let cut = _mm256_or_si256(cut, _mm256_slli_si256::<4>(cut));
            let left = floats(_mm256_slli_si256::<8>(bits(x)));
            let x = _mm256_add_ps(_mm256_andnot_ps(floats(cut), left), x);
            let cut = floats(_mm256_or_si256(cut, _mm256_slli_si256::<8>(cut)));
            let x = _mm256_add_ps(x, _mm256_andnot_ps(cut, first(x)));
            let cut = _mm256_or_ps(cut, first(cut));
            result = _mm256_add_ps(_mm256_andnot_ps(cut, sum), x);
            sum = _mm256_add_ps(_mm256_andnot_ps(last(cut), sum), last(x));
        } else {
            let x = _mm256_add_ps(floats(_mm256_slli_si256::<4>(bits(x))), x);
            let x = _mm256_add_ps(floats(_mm256_slli_si256::<8>(bits(x))), x);
            let x = _mm256_add_ps(x, first(x));
            result = _mm256_add_ps(sum, x);
            sum = _mm256_add_ps(sum, last(x));
        }
        // SAFETY: places for eight.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), result) };
    }
    rest_f32s(_mm256_cvtss_f32(sum), rest, heads_rest, to_rest);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn wide_f64s(xs: &[f64], flags: &[u8], out: &mut [f64]) {
    let (wide, rest) = xs.as_chunks::<4>();
    let (heads, heads_rest) = flags.as_chunks::<4>();
    let (to, to_rest) = out.as_chunks_mut::<4>();
    let mut sum = _mm256_setzero_pd();
    let (bits, floats) = (|x| _mm256_castpd_si256(x), |x| _mm256_castsi256_pd(x));
    let first = |x| _mm256_permute_pd::<0b1111>(_mm256_permute2f128_pd::<0x08>(x, x));
    let last = |x| _mm256_permute4x64_pd::<0xff>(x);
    for ((x, heads), to) in wide.iter().zip(heads).zip(to) {
        // SAFETY: four elements.
        let x = unsafe { _mm256_loadu_pd(x.as_ptr()) };
        let heads = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(i32::from_le_bytes(*heads)));
        let cut = _mm256_cmpgt_epi64(heads, _mm256_setzero_si256());
        let left = floats(_mm256_slli_si256::<8>(bits(x)));
        let x = _mm256_add_pd(_mm256_andnot_pd(floats(cut), left), x);
        let cut = floats(_mm256_or_si256(cut, _mm256_slli_si256::<8>(cut)));
        let x = _mm256_add_pd(x, _mm256_andnot_pd(cut, first(x)));
        let cut = _mm256_or_pd(cut, first(cut));
        let result = _mm256_add_pd(_mm256_andnot_pd(cut, sum), x);
        // SAFETY: places for four.
        unsafe { _mm256_storeu_pd(to.as_mut_ptr(), result) };
        sum = _mm256_add_pd(_mm256_andnot_pd(last(cut), sum), last(x));
    }
    rest_f64s(_mm256_cvtsd_f64(sum), rest, heads_rest, to_rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(n: usize, every: usize) -> Vec<u8> {
        (0..n).map(|i| u8::from((i * i + 3) % every == 1) * 255).collect()
    }

    #[test]
    fn heads() {
        for (n, every) in [(0, 1), (1, 1), (7, 4), (64, 3), (1000, 7), (1001, 600), (129, 9999)] {
            let flags = flags(n, every);
            let all: Vec<usize> = (0..n).filter(|&i| flags[i] != 0).collect();
            let mut found = Vec::new();
            each_head(&flags, |head| found.push(head));
            assert_eq!(found, all, "{n} {every}");
            assert_eq!(first_head(&flags), all.first().copied(), "{n} {every}");
            assert_eq!(last_head(&flags), all.last().copied(), "{n} {every}");
        }
    }

    /// Vectors and loops give the same bits, and what one addition after the other gives in more digits.
    #[test]
    fn sums_in_short_segments_and_long_ones() {
        let value = |i: usize| (i.wrapping_mul(0x9e37_79b9) >> 5) as f64 / 1e5 - 300.0;
        for (n, every) in [(1, 1), (5, 3), (31, 2), (1000, 7), (1024, 61), (999, 500), (64, 9999)] {
            let flags = flags(n, every);
            macro_rules! alike {
                ($T:ty, $all:ident, $narrow:ident, $wide:ident, $close:expr) => {
                    let x: Vec<$T> = (0..n).map(|i| value(i) as $T).collect();
                    let mut a = vec![0.0; n];
                    #[cfg(target_arch = "x86_64")]
                    if is_x86_feature_detected!("avx2") {
                        let mut b = vec![1.0; n];
                        $narrow(&x, &flags, &mut a);
                        // SAFETY: the processor has it.
                        unsafe { $wide(&x, &flags, &mut b) };
                        let bits = |x: &[$T]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&a), bits(&b), "{n} {every}");
                    }
                    $all([7e4, 1e-3], &x, &flags, &mut a);
                    let mut sum = 7e4 + 1e-3;
                    for i in 0..n {
                        sum = f64::from(x[i]) + if flags[i] != 0 { 0.0 } else { sum };
                        let off = (f64::from(a[i]) - sum).abs();
                        assert!(off <= $close * sum.abs().max(3e4), "{n} {every}: {i}, {off}");
                    }
                };
            }
            alike!(f32, f32s_in_segments, narrow_f32s, wide_f32s, 1e-6);
            alike!(f64, f64s_in_segments, narrow_f64s, wide_f64s, 1e-14);
        }
    }
}
