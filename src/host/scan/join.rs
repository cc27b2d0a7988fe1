//! What joins the elements of a scan, and the loops over elements of one segment.

use super::super::lanes::vectorized;
use super::segments::{each_head, f32s_in_segments, f64s_in_segments};
use super::wide;
use num_traits::Float;

/// Elements of a quarter at least, where four are scanned at a time.
const QUARTER: usize = 16;

/// An associative operator that gives values of type `T`, over elements of type `I`.
pub(crate) trait Joiner<T: Copy, I: Copy + Into<T> = T>: Sync {
    /// What goes from stretch to stretch.
    type Carry: Copy + Send + Sync;

    /// Whether results are the same however elements are grouped. Else a stretch is joined by itself, and its
    /// total to what is before it: the same way however many threads there are.
    const EXACT: bool;

    /// Down columns.
    fn join(&self, a: T, x: I) -> T;
    fn first(&self, total: T) -> Self::Carry;
    #[inline(always)]
    fn push(&self, carry: Self::Carry, total: T) -> Self::Carry {
        self.merge(carry, self.first(total))
    }
    /// The carry joined with what comes after it.
    fn after(&self, carry: Self::Carry, x: T) -> T;
    /// A carry in values of the results' type, unless these may be out of range where what comes after it is not.
    fn parts(&self, carry: Self::Carry) -> Option<[T; 2]>;
    /// As `after`, by them.
    fn after_parts(&self, parts: [T; 2], x: T) -> T;
    fn whole(&self, carry: Self::Carry) -> T;
    fn merge(&self, carry: Self::Carry, total: Self::Carry) -> Self::Carry;
    /// What comes `before`, and elements, of which there is one at least.
    fn total(&self, before: Option<Self::Carry>, xs: &[I]) -> Self::Carry;
    /// The results for elements of one segment, a stretch at most unless they are exact. One at least.
    fn run(&self, before: Option<Self::Carry>, xs: &[I], out: &mut [T]);
    /// The same where segments start at all elements whose flag is not 0.
    fn run_in_segments(&self, before: Option<Self::Carry>, xs: &[I], flags: &[u8], out: &mut [T]) {
        let mut sum = before.map(|before| self.whole(before));
        for ((&x, &flag), to) in xs.iter().zip(flags).zip(out) {
            let joined = match sum {
                Some(sum) if flag == 0 => self.join(sum, x),
                _ => x.into(),
            };
            sum = Some(joined);
            *to = joined;
        }
    }
}

/// Least and greatest elements, products, users' operators. Where grouping does not matter four chains are joined side
/// by side, for each step waits for the one before it.
#[derive(Clone, Copy)]
pub(crate) struct Plain<F, const EXACT: bool>(pub F);

impl<T, F, const EXACT: bool> Joiner<T> for Plain<F, EXACT>
where
    T: Copy + Send + Sync,
    F: Fn(T, T) -> T + Sync,
{
    type Carry = T;
    const EXACT: bool = EXACT;

    #[inline(always)]
    fn join(&self, a: T, x: T) -> T {
        (self.0)(a, x)
    }

    #[inline(always)]
    fn first(&self, total: T) -> T {
        total
    }

    #[inline(always)]
    fn after(&self, carry: T, x: T) -> T {
        (self.0)(carry, x)
    }

    #[inline(always)]
    fn parts(&self, carry: T) -> Option<[T; 2]> {
        Some([carry; 2])
    }

    #[inline(always)]
    fn after_parts(&self, [carry, _]: [T; 2], x: T) -> T {
        (self.0)(carry, x)
    }

    #[inline(always)]
    fn whole(&self, carry: T) -> T {
        carry
    }

    fn merge(&self, carry: T, total: T) -> T {
        (self.0)(carry, total)
    }

    fn total(&self, before: Option<T>, xs: &[T]) -> T {
        let quarter = xs.len() / 4;
        if !EXACT || quarter == 0 {
            // One after the other: products of parts may be out of range where those of all are not.
            let (first, rest) = (before.map_or(xs[0], |before| (self.0)(before, xs[0])), &xs[1..]);
            return rest.iter().fold(first, |a, &x| (self.0)(a, x));
        }
        let [mut a, mut b, mut c, mut d] = [0, 1, 2, 3].map(|k| xs[k * quarter]);
        for k in 1..quarter {
            a = (self.0)(a, xs[k]);
            b = (self.0)(b, xs[quarter + k]);
            c = (self.0)(c, xs[2 * quarter + k]);
            d = (self.0)(d, xs[3 * quarter + k]);
        }
        let d = xs[4 * quarter..].iter().fold(d, |d, &x| (self.0)(d, x));
        let total = (self.0)((self.0)(a, b), (self.0)(c, d));
        before.map_or(total, |before| (self.0)(before, total))
    }

    #[inline]
    fn run(&self, before: Option<T>, xs: &[T], out: &mut [T]) {
        let quarter = xs.len() / 4;
        if EXACT && quarter >= QUARTER {
            return vectorized(|| by_quarters(&self.0, before, xs, out));
        }
        let mut sum = before.map_or(xs[0], |before| (self.0)(before, xs[0]));
        out[0] = sum;
        for (to, &x) in out[1..].iter_mut().zip(&xs[1..]) {
            sum = (self.0)(sum, x);
            *to = sum;
        }
    }
}

/// Four parts at a time: each step waits for the one before it, and processors can do several.
#[inline(always)]
fn by_quarters<T: Copy>(join: &impl Fn(T, T) -> T, before: Option<T>, xs: &[T], out: &mut [T]) {
    let quarter = xs.len() / 4;
    let part = |k: usize| &xs[k * quarter..][..quarter];
    let [a, b, c, d] = [part(0), part(1), part(2), part(3)];
    let (to_a, rest) = out.split_at_mut(quarter);
    let (to_b, rest) = rest.split_at_mut(quarter);
    let (to_c, to_d) = rest.split_at_mut(quarter);
    let first = before.map_or(a[0], |before| join(before, a[0]));
    let mut sums = [first, b[0], c[0], d[0]];
    (to_a[0], to_b[0], to_c[0], to_d[0]) = (first, b[0], c[0], d[0]);
    let from = a[1..].iter().zip(&b[1..]).zip(c[1..].iter().zip(&d[1..]));
    let to = to_a[1..].iter_mut().zip(&mut to_b[1..]);
    let to = to.zip(to_c[1..].iter_mut().zip(&mut to_d[1..]));
    for (((a, b), (c, d)), ((to_a, to_b), (to_c, to_d))) in from.zip(to) {
        sums = [join(sums[0], *a), join(sums[1], *b), join(sums[2], *c), join(sums[3], *d)];
        (*to_a, *to_b, *to_c, *to_d) = (sums[0], sums[1], sums[2], sums[3]);
    }
    for (to, &x) in to_d[quarter..].iter_mut().zip(&xs[4 * quarter..]) {
        sums[3] = join(sums[3], x);
        *to = sums[3];
    }
    let before_c = join(sums[0], sums[1]);
    let before_d = join(before_c, sums[2]);
    to_b.iter_mut().for_each(|x| *x = join(sums[0], *x));
    to_c.iter_mut().for_each(|x| *x = join(before_c, *x));
    to_d.iter_mut().for_each(|x| *x = join(before_d, *x));
}

/// Sums of integers in 64 bits, which wrap.
#[derive(Clone, Copy)]
pub(crate) struct IntegerSum;

macro_rules! integer_sum {
    ($($T:ty, $I:ty, $run:path;)*) => {$(
        impl Joiner<$T, $I> for IntegerSum {
            type Carry = $T;
            const EXACT: bool = true;

            #[inline(always)]
            fn join(&self, a: $T, x: $I) -> $T {
                a.wrapping_add(x.into())
            }

            #[inline(always)]
            fn first(&self, total: $T) -> $T {
                total
            }

            #[inline(always)]
            fn after(&self, carry: $T, x: $T) -> $T {
                carry.wrapping_add(x)
            }

            #[inline(always)]
            fn parts(&self, carry: $T) -> Option<[$T; 2]> {
                Some([carry; 2])
            }

            #[inline(always)]
            fn after_parts(&self, [carry, _]: [$T; 2], x: $T) -> $T {
                carry.wrapping_add(x)
            }

            #[inline(always)]
            fn whole(&self, carry: $T) -> $T {
                carry
            }

            fn merge(&self, carry: $T, total: $T) -> $T {
                carry.wrapping_add(total)
            }

            fn total(&self, before: Option<$T>, xs: &[$I]) -> $T {
                let add = |sum: $T, &x: &$I| sum.wrapping_add(x.into());
                before.unwrap_or(0).wrapping_add(vectorized(|| xs.iter().fold(0, add)))
            }

            fn run(&self, before: Option<$T>, xs: &[$I], out: &mut [$T]) {
                let done = $run(before.unwrap_or(0), xs, out);
                let mut sum = if done == 0 { before.unwrap_or(0) } else { out[done - 1] };
                for (to, &x) in out[done..].iter_mut().zip(&xs[done..]) {
                    sum = sum.wrapping_add(x.into());
                    *to = sum;
                }
            }
        }
    )*};
}
integer_sum! {
    u64, u64, wide::none;
    i64, i64, wide::none;
    u64, u32, wide::unsigned;
    i64, i32, wide::signed;
}

/// Sums of floats. What goes from stretch to stretch has more digits: `f64` for `f32`, the rounding errors beside
/// the sum (Knuth's TwoSum) for `f64`.
#[derive(Clone, Copy)]
pub(crate) struct FloatSum;

/// Whether sums of some of the elements, in any order, may be beyond a limit. Then they are added one after the other,
/// for parts may be infinite where a sum is not.
fn may_overflow<T: Float>(xs: &[T], limit: T) -> bool {
    // NaN is not greater.
    let greatest = |top: T, x: &T| if x.abs() > top { x.abs() } else { top };
    let (chunks, rest) = xs.as_chunks::<16>();
    let tops = vectorized(|| {
        let mut tops = [T::zero(); 16];
        for xs in chunks {
            tops.iter_mut().zip(xs).for_each(|(top, x)| *top = greatest(*top, x));
        }
        tops
    });
    let top = tops.iter().chain(rest).fold(T::zero(), greatest);
    T::from(xs.len()).is_none_or(|n| top * n > limit)
}

/// A sum in two numbers of fewer digits.
fn parts(sum: f64) -> [f32; 2] {
    let high = sum as f32;
    [high, (sum - f64::from(high)) as f32]
}

/// Runs over segments one by one.
fn each_segment<T: Copy, I: Copy + Into<T>, J: Joiner<T, I>>(
    joiner: &J,
    mut before: Option<J::Carry>,
    xs: &[I],
    flags: &[u8],
    out: &mut [T],
) {
    let mut from = 0;
    let mut run = |from: usize, to: usize, before: Option<J::Carry>| {
        if from < to {
            joiner.run(before, &xs[from..to], &mut out[from..to]);
        }
    };
    each_head(flags, |head| {
        run(from, head, before.take());
        (from, before) = (head, None);
    });
    run(from, xs.len(), before);
}

impl Joiner<f32> for FloatSum {
    type Carry = f64;
    const EXACT: bool = false;

    #[inline(always)]
    fn join(&self, a: f32, x: f32) -> f32 {
        a + x
    }

    #[inline(always)]
    fn first(&self, total: f32) -> f64 {
        total.into()
    }

    #[inline(always)]
    fn after(&self, carry: f64, x: f32) -> f32 {
        (carry + f64::from(x)) as f32
    }

    #[inline(always)]
    fn parts(&self, carry: f64) -> Option<[f32; 2]> {
        (carry.abs() < f64::from(f32::MAX / 2.0)).then(|| parts(carry))
    }

    #[inline(always)]
    fn after_parts(&self, [high, low]: [f32; 2], x: f32) -> f32 {
        high + (low + x)
    }

    #[inline(always)]
    fn whole(&self, carry: f64) -> f32 {
        carry as f32
    }

    fn merge(&self, carry: f64, total: f64) -> f64 {
        carry + total
    }

    /// In several sums side by side, for vectors of them.
    fn total(&self, before: Option<f64>, xs: &[f32]) -> f64 {
        let (chunks, rest) = xs.as_chunks::<16>();
        let sums = vectorized(|| {
            let mut sums = [0.0f64; 16];
            for xs in chunks {
                sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            sums
        });
        let rest = rest.iter().map(|&x| f64::from(x)).sum::<f64>();
        before.unwrap_or(0.0) + (sums.iter().sum::<f64>() + rest)
    }

    #[inline]
    fn run(&self, before: Option<f64>, xs: &[f32], out: &mut [f32]) {
        let mut sum = before.unwrap_or(0.0);
        if may_overflow(xs, f32::MAX - sum.abs() as f32) {
            return xs.iter().zip(out).for_each(|(&x, to)| {
                sum += f64::from(x);
                *to = sum as f32;
            });
        }
        wide::f32s(parts(sum), xs, out);
    }

    fn run_in_segments(&self, before: Option<f64>, xs: &[f32], flags: &[u8], out: &mut [f32]) {
        let sum = before.unwrap_or(0.0);
        match may_overflow(xs, f32::MAX - sum.abs() as f32) {
            true => each_segment(self, before, xs, flags, out),
            false => f32s_in_segments(parts(sum), xs, flags, out),
        }
    }
}

impl Joiner<f64> for FloatSum {
    type Carry = [f64; 2];
    const EXACT: bool = false;

    #[inline(always)]
    fn join(&self, a: f64, x: f64) -> f64 {
        a + x
    }

    #[inline(always)]
    fn first(&self, total: f64) -> [f64; 2] {
        [total, 0.0]
    }

    #[inline(always)]
    fn push(&self, [s, c]: [f64; 2], x: f64) -> [f64; 2] {
        let t = s + x;
        let b = t - s;
        let off = (s - (t - b)) + (x - b);
        // Of an infinite sum the error is NaN.
        [t, c + if off.is_nan() { 0.0 } else { off }]
    }

    #[inline(always)]
    fn after(&self, carry: [f64; 2], x: f64) -> f64 {
        self.after_parts(carry, x)
    }

    #[inline(always)]
    fn parts(&self, carry: [f64; 2]) -> Option<[f64; 2]> {
        Some(carry)
    }

    #[inline(always)]
    fn after_parts(&self, [s, c]: [f64; 2], x: f64) -> f64 {
        s + (c + x)
    }

    #[inline(always)]
    fn whole(&self, [s, c]: [f64; 2]) -> f64 {
        s + c
    }

    fn merge(&self, carry: [f64; 2], [s, c]: [f64; 2]) -> [f64; 2] {
        let [s, own] = self.push(carry, s);
        [s, own + c]
    }

    fn total(&self, before: Option<[f64; 2]>, xs: &[f64]) -> [f64; 2] {
        if may_overflow(xs, f64::MAX) {
            return xs.iter().fold(before.unwrap_or_default(), |sum, &x| self.push(sum, x));
        }
        let (chunks, rest) = xs.as_chunks::<16>();
        let sums = vectorized(|| {
            let mut sums = [0.0f64; 16];
            for xs in chunks {
                sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum += x);
            }
            sums
        });
        let total = [sums.iter().sum::<f64>() + rest.iter().sum::<f64>(), 0.0];
        before.map_or(total, |before| Joiner::<f64>::merge(self, before, total))
    }

    #[inline]
    fn run(&self, before: Option<[f64; 2]>, xs: &[f64], out: &mut [f64]) {
        let mut sum = before.unwrap_or_default();
        if may_overflow(xs, f64::MAX - sum[0].abs()) {
            return xs.iter().zip(out).for_each(|(&x, to)| {
                sum = self.push(sum, x);
                *to = self.whole(sum);
            });
        }
        wide::f64s(sum, xs, out);
    }

    fn run_in_segments(&self, before: Option<[f64; 2]>, xs: &[f64], flags: &[u8], out: &mut [f64]) {
        let sum = before.unwrap_or_default();
        match may_overflow(xs, f64::MAX - sum[0].abs()) {
            true => each_segment(self, before, xs, flags, out),
            false => f64s_in_segments(sum, xs, flags, out),
        }
    }
}
