//! Products of integers, which wrap.
//!
//! The second operand is packed a panel of [`WIDTH`] columns at a time; a tile of [`ROWS`] rows by
//! one panel stays in registers while it walks along k.

use super::vector::{self, Lanes};
use super::{Block, for_parts};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::matmul::gemm::Gemm;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows of a register tile.
const ROWS: usize = 4;
/// Columns of a register tile.
const WIDTH: usize = 16;

pub(super) fn run<T: Lanes>(mut gemm: Gemm<'_>) -> Result<()> {
    if gemm.m == 1 || gemm.n == 1 {
        return vector::run::<T>(gemm);
    }
    let failed = AtomicBool::new(false);
    for_parts::<T>(&mut gemm, (ROWS * 16, WIDTH * 16), |block| {
        // SAFETY: `for_parts` gives parts that lie inside the operands and the result.
        if unsafe { product(block) }.is_none() {
            failed.store(true, Ordering::Relaxed);
        }
    });
    match failed.into_inner() {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::OutOfMemory,
            gemm.op,
            "the host has no memory left for packed operands; drop arrays, or work in parts",
        )),
    }
}

/// `None` when there is no memory for a panel.
///
/// # Safety
/// The block lies inside its operands and its result, which nobody else uses.
unsafe fn product<T: Lanes>(p: Block<T>) -> Option<()> {
    let mut panel: Vec<[T; WIDTH]> = Vec::new();
    panel.try_reserve_exact(p.k).ok()?;
    for j in (0..p.n).step_by(WIDTH) {
        let width = WIDTH.min(p.n - j);
        panel.clear();
        for l in 0..p.k {
            let mut line = [T::ZERO; WIDTH];
            for (c, x) in line[..width].iter_mut().enumerate() {
                // SAFETY: inside the second operand.
                *x = unsafe { *p.b.offset(l as isize * p.b_row + (j + c) as isize * p.b_column) };
            }
            panel.push(line);
        }
        for i in (0..p.m).step_by(ROWS) {
            let rows = ROWS.min(p.m - i);
            // Rows beyond the last repeat it, and are not stored.
            let starts: [*const T; ROWS] = std::array::from_fn(|r| {
                // SAFETY: inside the first operand.
                unsafe { p.a.offset((i + r.min(rows - 1)) as isize * p.a_row) }
            });
            let mut sums = [[T::ZERO; WIDTH]; ROWS];
            // SAFETY: every row has k elements a column apart.
            unsafe { tile(&mut sums, &panel, starts, p.a_column) };
            for (r, sums) in sums[..rows].iter().enumerate() {
                for (c, &sum) in sums[..width].iter().enumerate() {
                    // SAFETY: inside the result.
                    unsafe {
                        p.out.offset((i + r) as isize * p.out_row + (j + c) as isize).write(sum)
                    };
                }
            }
        }
    }
    Some(())
}

/// # Safety
/// Each of `starts` has as many elements as `panel`, `step` apart.
unsafe fn tile<T: Lanes>(
    sums: &mut [[T; WIDTH]; ROWS],
    panel: &[[T; WIDTH]],
    starts: [*const T; ROWS],
    step: isize,
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        unsafe fn wide<T: Lanes>(
            sums: &mut [[T; WIDTH]; ROWS],
            panel: &[[T; WIDTH]],
            starts: [*const T; ROWS],
            step: isize,
        ) {
            // SAFETY: the caller's promise.
            unsafe { tile_body(sums, panel, starts, step) }
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2; else the caller's promise.
            return unsafe { wide(sums, panel, starts, step) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { tile_body(sums, panel, starts, step) }
}

#[inline(always)]
unsafe fn tile_body<T: Lanes>(
    sums: &mut [[T; WIDTH]; ROWS],
    panel: &[[T; WIDTH]],
    starts: [*const T; ROWS],
    step: isize,
) {
    let mut tile = *sums;
    for (l, line) in panel.iter().enumerate() {
        for (row, start) in tile.iter_mut().zip(starts) {
            // SAFETY: the caller's promise.
            let x = unsafe { *start.offset(l as isize * step) };
            for (sum, &y) in row.iter_mut().zip(line) {
                *sum = sum.add_product(x, y);
            }
        }
    }
    *sums = tile;
}
