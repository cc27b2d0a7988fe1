//! A matrix with a vector: every element of the matrix is used once, so the loops only have to
//! stream it.

use super::{Block, PARALLEL_ABOVE};
use crate::error::{Error, ErrorKind, Result};
use crate::host::each_task;
use crate::host::eval::SharedOut;
use crate::ops::matmul::gemm::Gemm;

/// A type that products are summed in; integers wrap.
pub(super) trait Lanes: Copy + Send + Sync + 'static {
    const ZERO: Self;
    fn add_product(self, a: Self, b: Self) -> Self;
    fn add(self, other: Self) -> Self;
}
macro_rules! lanes {
    ($($t:ident: $zero:expr, $add_product:expr, $add:expr;)*) => {$(
        impl Lanes for $t {
            const ZERO: $t = $zero;
            #[inline(always)]
            #[allow(clippy::redundant_closure_call, reason = "a row of a table")]
            fn add_product(self, a: $t, b: $t) -> $t {
                ($add_product)(self, a, b)
            }
            #[inline(always)]
            #[allow(clippy::redundant_closure_call, reason = "a row of a table")]
            fn add(self, other: $t) -> $t {
                ($add)(self, other)
            }
        }
    )*};
    (floats: $($f:ident)*; integers: $($i:ident)*) => {
        lanes! {$($f: 0.0, |s: $f, a: $f, b: $f| s + a * b, |s: $f, x: $f| s + x;)*}
        lanes! {$(
            $i: 0,
            |s: $i, a: $i, b: $i| s.wrapping_add(a.wrapping_mul(b)),
            |s: $i, x: $i| s.wrapping_add(x);
        )*}
    };
}
lanes! { floats: f32 f64; integers: i8 i16 i32 i64 u8 u16 u32 u64 }

/// Sums that run side by side in a row.
const WIDE: usize = 32;
/// Results that are summed together down the columns: they stay in the first level cache, and their
/// part of a row is long enough for the memory to stream.
const TALL: usize = 4096;
/// Parts into which the work is cut where it is large, and the least elements of one. Where there
/// are fewer results than that, the sums themselves are cut: by the shape alone, so that a result
/// does not depend on the number of threads.
const PARTS: usize = 64;
const LEAST: usize = 1 << 16;

/// `result[i] = Σ matrix[i, l] · vector[l]`.
#[derive(Clone, Copy)]
struct Streamed<T> {
    rows: usize,
    len: usize,
    matrix: *const T,
    row: isize,
    column: isize,
    vector: *const T,
    step: isize,
    out: *mut T,
    out_step: isize,
}

// SAFETY: threads write disjoint results; the operands are only read.
unsafe impl<T> Send for Streamed<T> {}
unsafe impl<T> Sync for Streamed<T> {}

impl<T: Lanes> Streamed<T> {
    fn new(p: Block<T>) -> Streamed<T> {
        if p.n == 1 {
            return Streamed {
                rows: p.m,
                len: p.k,
                matrix: p.a,
                row: p.a_row,
                column: p.a_column,
                vector: p.b,
                step: p.b_row,
                out: p.out,
                out_step: p.out_row,
            };
        }
        Streamed {
            rows: p.n,
            len: p.k,
            matrix: p.b,
            row: p.b_column,
            column: p.b_row,
            vector: p.a,
            step: p.a_column,
            out: p.out,
            out_step: 1,
        }
    }

    fn by_columns(&self) -> bool {
        self.rows > 1 && self.row.unsigned_abs() < self.column.unsigned_abs()
    }

    /// The sums over elements `from .. from + x.len()` of rows `first .. first + sums.len()`, added
    /// to `sums`; `x` is the vector's part.
    ///
    /// # Safety
    /// They lie inside the matrix.
    #[inline(always)]
    unsafe fn add(&self, sums: &mut [T], first: usize, x: &[T], from: usize) {
        // SAFETY (all): the caller's promise.
        let start =
            unsafe { self.matrix.offset(first as isize * self.row + from as isize * self.column) };
        if self.by_columns() {
            let n = sums.len();
            let column = |l: usize| unsafe { start.offset(l as isize * self.column) };
            if self.row != 1 {
                for (l, &x) in x.iter().enumerate() {
                    for (i, s) in sums.iter_mut().enumerate() {
                        *s = s.add_product(unsafe { *column(l).offset(i as isize * self.row) }, x);
                    }
                }
                return;
            }
            let column = |l: usize| unsafe { std::slice::from_raw_parts(column(l), n) };
            // Four columns at a time, so that the sums are loaded and stored less often.
            let (fours, rest) = x.as_chunks::<4>();
            for (l, x) in fours.iter().enumerate() {
                let [a, b, c, d] = [0, 1, 2, 3].map(|k| column(4 * l + k));
                for (i, s) in sums.iter_mut().enumerate() {
                    let first = s.add_product(a[i], x[0]).add_product(b[i], x[1]);
                    *s = first.add_product(c[i], x[2]).add_product(d[i], x[3]);
                }
            }
            for (l, &x) in rest.iter().enumerate() {
                for (s, &v) in sums.iter_mut().zip(column(4 * fours.len() + l)) {
                    *s = s.add_product(v, x);
                }
            }
            return;
        }
        for (i, sum) in sums.iter_mut().enumerate() {
            let row = unsafe { start.offset(i as isize * self.row) };
            let mut wide = [T::ZERO; WIDE];
            if self.column == 1 {
                wide = dot(unsafe { std::slice::from_raw_parts(row, x.len()) }, x);
            } else {
                for (l, &x) in x.iter().enumerate() {
                    let v = unsafe { *row.offset(l as isize * self.column) };
                    wide[l % WIDE] = wide[l % WIDE].add_product(v, x);
                }
            }
            let mut n = WIDE / 2;
            while n > 0 {
                for k in 0..n {
                    wide[k] = wide[k].add(wide[k + n]);
                }
                n /= 2;
            }
            *sum = sum.add(wide[0]);
        }
    }

    /// [`Streamed::add`] with the vector instructions that the processor has.
    ///
    /// # Safety
    /// As [`Streamed::add`].
    unsafe fn add_fast(&self, sums: &mut [T], first: usize, x: &[T], from: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2")]
            unsafe fn wide<T: Lanes>(
                p: &Streamed<T>,
                sums: &mut [T],
                first: usize,
                x: &[T],
                from: usize,
            ) {
                // SAFETY: the caller's promise.
                unsafe { p.add(sums, first, x, from) }
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2; else the caller's promise.
                return unsafe { wide(self, sums, first, x, from) };
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.add(sums, first, x, from) }
    }

    /// # Safety
    /// Results `first ..` exist, and nobody else writes them.
    unsafe fn store(&self, first: usize, sums: &[T]) {
        for (i, &s) in sums.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { self.out.offset((first + i) as isize * self.out_step).write(s) };
        }
    }
}

/// The products of two slices of one length in [`WIDE`] sums, which stay in registers.
#[inline(always)]
fn dot<T: Lanes>(a: &[T], b: &[T]) -> [T; WIDE] {
    let mut sums = [T::ZERO; WIDE];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<WIDE>(), b.as_chunks::<WIDE>());
    for (a, b) in a.iter().zip(b) {
        for k in 0..WIDE {
            sums[k] = sums[k].add_product(a[k], b[k]);
        }
    }
    for (s, (&a, &b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *s = s.add_product(a, b);
    }
    sums
}

pub(super) fn run<T: Lanes>(mut gemm: Gemm<'_>) -> Result<()> {
    let Some(first) = Block::<T>::first(&mut gemm) else { return Ok(()) };
    let gemm = &gemm;
    let none = |_| {
        Error::new(ErrorKind::OutOfMemory, gemm.op, "the host has no memory left for partial sums")
    };
    let batches = gemm.batches();
    // SAFETY: `first` is of this product.
    let of = |t: usize| Streamed::new(unsafe { first.at(gemm, t) });
    let shape = of(0);
    let (rows, len) = (shape.rows, shape.len);
    // A vector with gaps is copied once; a batch of them for every use.
    let mut copy: Vec<T> = Vec::new();
    let shared = gemm.batch.iter().all(|b| if gemm.n == 1 { b.b == 0 } else { b.a == 0 });
    if shape.step != 1 && shared {
        copy.try_reserve_exact(len).map_err(none)?;
        // SAFETY: inside the vector.
        copy.extend((0..len).map(|l| unsafe { *shape.vector.offset(l as isize * shape.step) }));
    }
    let tall = match shape.by_columns() {
        true => rows.min(TALL),
        false => (LEAST / len).clamp(1, 64).min(rows),
    };
    let chunks = rows.div_ceil(tall);
    let pieces = (PARTS / (chunks * batches)).min(tall * len / LEAST).min(len).max(1);
    let piece = len.div_ceil(pieces).next_multiple_of(WIDE);
    let pieces = len.div_ceil(piece);
    let mut partial: Vec<T> = Vec::new();
    if pieces > 1 {
        partial.try_reserve_exact(pieces * rows * batches).map_err(none)?;
        partial.resize(pieces * rows * batches, T::ZERO);
    }
    let parts = SharedOut(partial.as_mut_ptr().cast());
    let task = |k: usize| {
        let (t, k) = (k / (chunks * pieces), k % (chunks * pieces));
        let (i, part) = (k / pieces * tall, k % pieces);
        let p = of(t);
        let mut sums = [T::ZERO; TALL];
        let sums = &mut sums[..tall.min(rows - i)];
        let (from, to) = (part * piece, ((part + 1) * piece).min(len));
        // SAFETY (all): tasks have disjoint results and partial sums, inside what they index.
        unsafe {
            if !copy.is_empty() {
                p.add_fast(sums, i, &copy[from..to], from);
            } else if p.step == 1 {
                let x = std::slice::from_raw_parts(p.vector.add(from), to - from);
                p.add_fast(sums, i, x, from);
            } else {
                let mut x = [T::ZERO; 256];
                for at in (from..to).step_by(x.len()) {
                    let x = &mut x[..256.min(to - at)];
                    for (l, x) in x.iter_mut().enumerate() {
                        *x = *p.vector.offset((at + l) as isize * p.step);
                    }
                    p.add_fast(sums, i, x, at);
                }
            }
            if pieces == 1 {
                p.store(i, sums);
            } else {
                let to = parts.at::<T>((((t * pieces) + part) * rows + i) as isize);
                to.copy_from_nonoverlapping(sums.as_ptr(), sums.len());
            }
        }
    };
    let tasks = chunks * pieces * batches;
    if (rows * len).saturating_mul(batches) <= PARALLEL_ABOVE {
        (0..tasks).for_each(task);
    } else {
        let least = (LEAST / (tall * piece)).max(1);
        each_task(tasks, least, &task);
    }
    if pieces > 1 {
        for (t, parts) in partial.chunks(pieces * rows).enumerate() {
            let (sums, more) = parts.split_at(rows);
            let mut sums = sums.to_vec();
            for part in more.chunks(rows) {
                for (s, &x) in sums.iter_mut().zip(part) {
                    *s = s.add(x);
                }
            }
            // SAFETY: the only writer of these results.
            unsafe { of(t).store(0, &sums) };
        }
    }
    Ok(())
}
