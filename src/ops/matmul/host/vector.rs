//! A matrix with a vector: every element of the matrix is used once, so the loops only have to
//! stream it.

use super::{Block, PARALLEL_ABOVE};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::matmul::gemm::Gemm;
use rayon::prelude::*;

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

/// Elements of a row or rows of a column that are summed apart when there are few results. Fixed,
/// so that a result does not depend on the number of threads.
const PIECE: usize = 1 << 16;
/// Results up to which the sums are cut into pieces.
const FEW: usize = 64;
/// Sums that run side by side in a row.
const WIDE: usize = 32;
/// Results that are summed together down the columns: they stay in the first level cache.
const TALL: usize = 1024;

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
            for (l, &x) in x.iter().enumerate() {
                let column = unsafe { start.offset(l as isize * self.column) };
                if self.row == 1 {
                    let column = unsafe { std::slice::from_raw_parts(column, sums.len()) };
                    for (s, &v) in sums.iter_mut().zip(column) {
                        *s = s.add_product(v, x);
                    }
                } else {
                    for (i, s) in sums.iter_mut().enumerate() {
                        *s = s.add_product(unsafe { *column.offset(i as isize * self.row) }, x);
                    }
                }
            }
            return;
        }
        for (i, sum) in sums.iter_mut().enumerate() {
            let row = unsafe { start.offset(i as isize * self.row) };
            let mut wide = [T::ZERO; WIDE];
            if self.column == 1 {
                let row = unsafe { std::slice::from_raw_parts(row, x.len()) };
                let (a, b) = (row.chunks_exact(WIDE), x.chunks_exact(WIDE));
                for (s, (&v, &x)) in wide.iter_mut().zip(a.remainder().iter().zip(b.remainder())) {
                    *s = s.add_product(v, x);
                }
                for (a, b) in a.zip(b) {
                    for (s, (&v, &x)) in wide.iter_mut().zip(a.iter().zip(b)) {
                        *s = s.add_product(v, x);
                    }
                }
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

    /// Results `first .. first + n`, n at most [`TALL`], over one piece, into `sums`.
    ///
    /// # Safety
    /// They lie inside the matrix.
    unsafe fn sums(&self, sums: &mut [T], first: usize, from: usize, to: usize) {
        // A short part of the vector at a time, without gaps.
        let mut part = [T::ZERO; TALL];
        for at in (from..to).step_by(TALL) {
            let x = &mut part[..TALL.min(to - at)];
            for (l, x) in x.iter_mut().enumerate() {
                // SAFETY: inside the vector.
                *x = unsafe { *self.vector.offset((at + l) as isize * self.step) };
            }
            // SAFETY: the caller's promise.
            unsafe { self.add_fast(sums, first, x, at) };
        }
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

pub(super) fn run<T: Lanes>(mut gemm: Gemm<'_>) -> Result<()> {
    let Some(first) = Block::<T>::first(&mut gemm) else { return Ok(()) };
    let gemm = &gemm;
    let batches = gemm.batches();
    // SAFETY: `first` is of this product.
    let of = |t: usize| Streamed::new(unsafe { first.at(gemm, t) });
    let shape = of(0);
    let pieces = if shape.rows <= FEW { shape.len.div_ceil(PIECE) } else { 1 };
    if pieces > 1 && batches == 1 {
        return in_pieces(gemm.op, shape, pieces);
    }
    // Rows a task: enough to be worth one, few enough to share.
    let most = if shape.by_columns() { TALL } else { 64 };
    let tall = (PARALLEL_ABOVE / 4 / shape.len).clamp(1, most).max(if shape.by_columns() {
        64
    } else {
        1
    });
    let tasks = shape.rows.div_ceil(tall);
    let task = |k: usize| {
        let p = of(k / tasks);
        let i = k % tasks * tall;
        let mut sums = [T::ZERO; TALL];
        let sums = &mut sums[..tall.min(p.rows - i)];
        // SAFETY: tasks have disjoint results inside the product.
        unsafe {
            p.sums(sums, i, 0, p.len);
            p.store(i, sums);
        }
    };
    let work = shape.rows.saturating_mul(shape.len);
    if work.saturating_mul(batches) <= PARALLEL_ABOVE {
        (0..tasks * batches).for_each(task);
    } else {
        let least = (PARALLEL_ABOVE / 4 / (tall * shape.len)).clamp(1, 1 << 16);
        (0..tasks * batches).into_par_iter().with_min_len(least).for_each(task);
    }
    Ok(())
}

/// Few long sums: each is cut into pieces, joined in their order.
fn in_pieces<T: Lanes>(op: &'static str, p: Streamed<T>, pieces: usize) -> Result<()> {
    let mut parts: Vec<[T; FEW]> = Vec::new();
    parts.try_reserve_exact(pieces).map_err(|_| {
        Error::new(ErrorKind::OutOfMemory, op, "the host has no memory left for partial sums")
    })?;
    (0..pieces)
        .into_par_iter()
        .map(|piece| {
            let mut sums = [T::ZERO; FEW];
            // SAFETY: the piece lies inside the product.
            unsafe {
                p.sums(&mut sums[..p.rows], 0, piece * PIECE, ((piece + 1) * PIECE).min(p.len));
            }
            sums
        })
        .collect_into_vec(&mut parts);
    let mut sums = [T::ZERO; FEW];
    for part in &parts {
        for (s, &x) in sums.iter_mut().zip(part) {
            *s = s.add(x);
        }
    }
    // SAFETY: the only writer of the results.
    unsafe { p.store(0, &sums[..p.rows]) };
    Ok(())
}
