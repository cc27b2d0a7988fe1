//! Reductions on the host: the same two walks as the kernels, by rows or by columns.

use super::eval::{CHUNK, Evaluator, SharedOut};
use super::lanes::{Lane, maximum, minimum};
use super::{for_tasks, map_tasks};

/// One reducing operator over values of type `T`.
pub(crate) trait Reducer<T: Lane>: Copy + Send + Sync {
    type Acc: Copy + Send + Sync;
    type Out;

    fn identity(&self) -> Self::Acc;
    /// Takes in one element at position `r` of its row; positions rise.
    fn push(&self, acc: &mut Self::Acc, x: T, r: usize);
    /// Joins two parts.
    fn join(&self, a: Self::Acc, b: Self::Acc) -> Self::Acc;
    fn finish(&self, acc: Self::Acc) -> Self::Out;

    /// Takes in neighbouring elements of one row, the first at position `r`.
    fn slice(&self, acc: &mut Self::Acc, xs: &[T], r: usize) {
        for (k, &x) in xs.iter().enumerate() {
            self.push(acc, x, r + k);
        }
    }
}

/// Elements of one row that one task takes. Fixed, so that the order of additions, and with it
/// the result, does not depend on the number of threads.
const PIECE: usize = 32 * CHUNK;

/// Reduces a matrix of `rows` results by `len` elements, `len > 0`; `store(k, value)` gets each
/// result once.
pub(crate) fn reduce<T: Lane, R: Reducer<T>>(
    eval: &Evaluator<'_>,
    by_columns: bool,
    rows: usize,
    len: usize,
    op: R,
    store: impl Fn(usize, R::Out) + Sync,
) {
    if by_columns {
        columns::<T, R>(eval, rows, len, op, store);
    } else if rows == 1 || (len > PIECE && rows < 4 * rayon::current_num_threads()) {
        for row in 0..rows {
            store(row, op.finish(long_row::<T, R>(eval, row * len, len, op)));
        }
    } else {
        let per_task = (PIECE / len).max(1);
        let task = |first: usize| {
            let mut scratch = eval.scratch();
            for row in first..(first + per_task).min(rows) {
                store(
                    row,
                    op.finish(part_of_row::<T, R>(eval, &mut scratch, row * len, 0, len, op)),
                );
            }
        };
        for_tasks(rows.div_ceil(per_task), rows * len, |k| task(k * per_task));
    }
}

/// One row in parallel pieces, joined in order.
fn long_row<T: Lane, R: Reducer<T>>(
    eval: &Evaluator<'_>,
    base: usize,
    len: usize,
    op: R,
) -> R::Acc {
    let piece = |k: usize| {
        let mut scratch = eval.scratch();
        part_of_row::<T, R>(eval, &mut scratch, base, k * PIECE, ((k + 1) * PIECE).min(len), op)
    };
    let pieces = len.div_ceil(PIECE);
    if pieces == 1 {
        return piece(0);
    }
    let parts = map_tasks(pieces, &piece);
    parts.into_iter().fold(op.identity(), |a, b| op.join(a, b))
}

fn part_of_row<T: Lane, R: Reducer<T>>(
    eval: &Evaluator<'_>,
    scratch: &mut super::eval::Scratch,
    base: usize,
    from: usize,
    to: usize,
    op: R,
) -> R::Acc {
    let mut acc = op.identity();
    let mut r = from;
    while r < to {
        let n = CHUNK.min(to - r);
        // SAFETY: the range lies inside the expression; values have its compute type, `T`.
        let xs = unsafe {
            std::slice::from_raw_parts(eval.chunk(base + r, n, scratch, None).cast::<T>(), n)
        };
        op.slice(&mut acc, xs, r);
        r += n;
    }
    acc
}

/// Element `r` of result `k` lies at `r * rows + k`.
fn columns<T: Lane, R: Reducer<T>>(
    eval: &Evaluator<'_>,
    rows: usize,
    len: usize,
    op: R,
    store: impl Fn(usize, R::Out) + Sync,
) {
    // Blocks of columns are independent; long ones are cut as well, at places that do not depend
    // on the number of threads.
    let block = rows.min(CHUNK);
    let blocks = rows.div_ceil(block);
    let at_once = (CHUNK / rows).max(1);
    let cut = (PIECE / block).max(1).next_multiple_of(at_once);
    let cuts = if blocks >= 16 { 1 } else { len.div_ceil(cut) };
    let cut = if cuts == 1 { len } else { cut };
    let mut parts: Vec<R::Acc> = vec![op.identity(); cuts * rows];
    let shared = SharedOut(parts.as_mut_ptr().cast());
    for_tasks(blocks * cuts, rows * len, |task| {
        let (b, c) = (task % blocks, task / blocks);
        let (k0, k1) = (b * block, ((b + 1) * block).min(rows));
        let (mut r, to) = (c * cut, ((c + 1) * cut).min(len));
        // SAFETY: every task has a range of `parts` of its own.
        let acc = unsafe {
            let start = shared.add((c * rows + k0) * size_of::<R::Acc>());
            std::slice::from_raw_parts_mut(start.cast::<R::Acc>(), k1 - k0)
        };
        let mut scratch = eval.scratch();
        while r < to {
            // Several whole rows at once where they are short.
            let height = if blocks == 1 { at_once.min(to - r) } else { 1 };
            let n = height * (k1 - k0);
            // SAFETY: as in `part_of_row`.
            let xs = unsafe {
                let p = eval.chunk(r * rows + k0, n, &mut scratch, None);
                std::slice::from_raw_parts(p.cast::<T>(), n)
            };
            for (j, line) in xs.chunks_exact(k1 - k0).enumerate() {
                for (a, &x) in acc.iter_mut().zip(line) {
                    op.push(a, x, r + j);
                }
            }
            r += height;
        }
    });
    for k in 0..rows {
        let acc = (0..cuts).fold(op.identity(), |a, c| op.join(a, parts[c * rows + k]));
        store(k, op.finish(acc));
    }
}

/// Sums and means of floats: plain additions in blocks of a few hundred, between the blocks a
/// second word carries what rounding lost (TwoSum).
#[derive(Clone, Copy)]
pub(crate) struct FloatSum<T> {
    /// 1, or the length of the row for a mean.
    pub divisor: T,
}

macro_rules! float_sum {
    ($($t:ident)*) => {$(
        impl Reducer<$t> for FloatSum<$t> {
            type Acc = ($t, $t);
            type Out = $t;
            fn identity(&self) -> ($t, $t) {
                (0.0, 0.0)
            }
            #[inline(always)]
            fn push(&self, acc: &mut ($t, $t), x: $t, _: usize) {
                let t = acc.0 + x;
                let b = t - acc.0;
                acc.1 += (acc.0 - (t - b)) + (x - b);
                acc.0 = t;
            }
            fn join(&self, a: ($t, $t), b: ($t, $t)) -> ($t, $t) {
                let mut sum = a;
                self.push(&mut sum, b.0, 0);
                (sum.0, sum.1 + b.1)
            }
            fn finish(&self, acc: ($t, $t)) -> $t {
                // The second word of an infinite sum is NaN; the sum itself is right.
                (if acc.1.is_nan() { acc.0 } else { acc.0 + acc.1 }) / self.divisor
            }
            fn slice(&self, acc: &mut ($t, $t), xs: &[$t], r: usize) {
                const LANES: usize = 32;
                let mut blocks = xs.chunks_exact(16 * LANES);
                for block in &mut blocks {
                    let mut lanes = [0.0; LANES];
                    for line in block.chunks_exact(LANES) {
                        for (l, &x) in lanes.iter_mut().zip(line) {
                            *l += x;
                        }
                    }
                    let mut width = LANES;
                    while width > 1 {
                        width /= 2;
                        for k in 0..width {
                            lanes[k] += lanes[k + width];
                        }
                    }
                    self.push(acc, lanes[0], r);
                }
                for &x in blocks.remainder() {
                    self.push(acc, x, r);
                }
            }
        }

        impl Reducer<$t> for FloatProd {
            type Acc = $t;
            type Out = $t;
            fn identity(&self) -> $t { 1.0 }
            fn push(&self, acc: &mut $t, x: $t, _: usize) { *acc *= x; }
            fn join(&self, a: $t, b: $t) -> $t { a * b }
            fn finish(&self, acc: $t) -> $t { acc }
        }
    )*};
}
float_sum!(f32 f64);

#[derive(Clone, Copy)]
pub(crate) struct FloatProd;

/// Sums or products of integers, modulo 2⁶⁴.
#[derive(Clone, Copy)]
pub(crate) struct IntFold {
    pub product: bool,
}

impl IntFold {
    #[inline(always)]
    fn fold(self, a: u64, b: u64) -> u64 {
        if self.product { a.wrapping_mul(b) } else { a.wrapping_add(b) }
    }
}

macro_rules! int_fold {
    ($($t:ident)*) => {$(
        impl Reducer<$t> for IntFold {
            type Acc = u64;
            type Out = u64;
            fn identity(&self) -> u64 { u64::from(self.product) }
            #[inline(always)]
            fn push(&self, acc: &mut u64, x: $t, _: usize) {
                // Sign extension, then arithmetic modulo 2⁶⁴: the same bits for both signs.
                *acc = self.fold(*acc, x as i64 as u64);
            }
            #[inline(always)]
            fn join(&self, a: u64, b: u64) -> u64 {
                self.fold(a, b)
            }
            fn finish(&self, acc: u64) -> u64 { acc }
            fn slice(&self, acc: &mut u64, xs: &[$t], _: usize) {
                let part = if self.product {
                    xs.iter().fold(1u64, |a, &x| a.wrapping_mul(x as i64 as u64))
                } else {
                    xs.iter().fold(0u64, |a, &x| a.wrapping_add(x as i64 as u64))
                };
                *acc = self.fold(*acc, part);
            }
        }
    )*};
}
int_fold!(i8 i16 i32 i64 u8 u16 u32 u64);

/// The least or greatest element; NaN when there is one.
#[derive(Clone, Copy)]
pub(crate) struct Extreme<T> {
    pub greatest: bool,
    /// What every element beats or equals.
    pub worst: T,
}

impl<T: Lane> Reducer<T> for Extreme<T> {
    type Acc = T;
    type Out = T;
    fn identity(&self) -> T {
        self.worst
    }
    #[inline(always)]
    fn push(&self, acc: &mut T, x: T, _: usize) {
        *acc = self.join(*acc, x);
    }
    #[inline(always)]
    fn join(&self, a: T, b: T) -> T {
        if self.greatest { maximum(a, b) } else { minimum(a, b) }
    }
    fn finish(&self, acc: T) -> T {
        acc
    }
    fn slice(&self, acc: &mut T, xs: &[T], _: usize) {
        // Several lanes, so that one comparison does not wait for the one before.
        let mut lanes = [self.worst; 16];
        let mut lines = xs.chunks_exact(16);
        if self.greatest {
            for line in &mut lines {
                for (l, &x) in lanes.iter_mut().zip(line) {
                    *l = maximum(*l, x);
                }
            }
        } else {
            for line in &mut lines {
                for (l, &x) in lanes.iter_mut().zip(line) {
                    *l = minimum(*l, x);
                }
            }
        }
        for &x in lanes.iter().chain(lines.remainder()) {
            self.push(acc, x, 0);
        }
    }
}

/// The position of the first least or greatest element; of the first NaN when there is one.
#[derive(Clone, Copy)]
pub(crate) struct ArgExtreme<T> {
    pub extreme: Extreme<T>,
}

impl<T: Lane> ArgExtreme<T> {
    #[inline(always)]
    fn before(&self, a: T, b: T) -> bool {
        if self.extreme.greatest { a > b } else { a < b }
    }
}

#[allow(clippy::eq_op)]
fn is_nan<T: PartialOrd>(x: T) -> bool {
    x != x
}

impl<T: Lane> Reducer<T> for ArgExtreme<T> {
    /// The position is `usize::MAX` while every element equals the identity.
    type Acc = (T, usize);
    type Out = u64;
    fn identity(&self) -> (T, usize) {
        (self.extreme.worst, usize::MAX)
    }
    #[inline(always)]
    fn push(&self, acc: &mut (T, usize), x: T, r: usize) {
        if (self.before(x, acc.0) || is_nan(x)) && !is_nan(acc.0) {
            *acc = (x, r);
        }
    }
    fn join(&self, a: (T, usize), b: (T, usize)) -> (T, usize) {
        let first = a.1 < b.1;
        let a_wins = match (is_nan(a.0), is_nan(b.0)) {
            (true, true) => first,
            (true, false) => true,
            (false, true) => false,
            (false, false) => self.before(a.0, b.0) || (a.0 == b.0 && first),
        };
        if a_wins { a } else { b }
    }
    fn finish(&self, acc: (T, usize)) -> u64 {
        if acc.1 == usize::MAX { 0 } else { acc.1 as u64 }
    }
    fn slice(&self, acc: &mut (T, usize), xs: &[T], r: usize) {
        // The best value first, at full speed; only when it wins is its position looked for.
        let mut best = self.extreme.worst;
        self.extreme.slice(&mut best, xs, r);
        if (self.before(best, acc.0) || is_nan(best)) && !is_nan(acc.0) {
            let at = xs.iter().position(|&x| x == best || (is_nan(x) && is_nan(best)));
            if let Some(at) = at {
                *acc = (best, r + at);
            }
        }
    }
}

/// Whether any, or every, element is true.
#[derive(Clone, Copy)]
pub(crate) struct Logical {
    pub all: bool,
}

impl Reducer<u8> for Logical {
    type Acc = u8;
    type Out = u8;
    fn identity(&self) -> u8 {
        u8::from(self.all)
    }
    #[inline(always)]
    fn push(&self, acc: &mut u8, x: u8, _: usize) {
        *acc = self.join(*acc, u8::from(x != 0));
    }
    #[inline(always)]
    fn join(&self, a: u8, b: u8) -> u8 {
        if self.all { a & b } else { a | b }
    }
    fn finish(&self, acc: u8) -> u8 {
        acc
    }
}
