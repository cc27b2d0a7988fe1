//! The loops of the host for the small parts of factorisations.

use super::leaf::{Gather, Keep, Lower, Place, Vectors};
use super::shape::PANEL;
use crate::host::each_task;
use crate::host::eval::SharedOut;

/// What the loops compute in.
pub(super) trait Word: num_traits::Float + Send + Sync + 'static {
    /// Sums of squares below it, beside elements near 1, count as zero.
    const DROP: Self;
    fn power_of_two(exponent: i32) -> Self;
}

impl Word for f32 {
    const DROP: f32 = 1e-30;
    fn power_of_two(exponent: i32) -> f32 {
        2f32.powi(exponent)
    }
}

impl Word for f64 {
    const DROP: f64 = 1e-280;
    fn power_of_two(exponent: i32) -> f64 {
        2f64.powi(exponent)
    }
}

/// Multiplications below which a loop stays on its thread.
const PARALLEL_ABOVE: usize = 1 << 16;

/// Calls `f(from, to)` for parts of `0..n`, in parallel where `work` for each is worth it.
pub(super) fn parts(n: usize, work: usize, f: impl Fn(usize, usize) + Sync + Send) {
    let threads = rayon::current_num_threads();
    if threads == 1 || n.saturating_mul(work) < PARALLEL_ABOVE {
        return f(0, n);
    }
    let part = n.div_ceil(threads * 4).next_multiple_of(16);
    each_task(n.div_ceil(part), 1, &|k| f(k * part, n.min((k + 1) * part)));
}

/// Lowers the first word of a status to `index`.
///
/// # Safety
/// The status has that word, and nobody else uses it.
unsafe fn note(status: SharedOut, index: i32) {
    // SAFETY: the caller's promise.
    unsafe {
        let word = status.at::<i32>(0);
        *word = index.min(*word);
    }
}

/// # Safety
/// Vectors and triangle lie inside their buffers and beside each other; the status is there.
pub(super) unsafe fn substitute<T: Word>(
    x: SharedOut,
    v: &Vectors,
    t: SharedOut,
    lower: &Lower<'_>,
    size: usize,
    status: SharedOut,
) {
    // SAFETY (of all blocks): positions inside the triangle and the vectors; threads have vectors
    // of their own.
    let element = |j: usize, k: usize| unsafe {
        *t.at::<T>(lower.at as isize + j as isize * lower.row + k as isize * lower.column)
    };
    let mut triangle = vec![T::zero(); size * size];
    for j in 0..size {
        for k in 0..=j {
            triangle[j * size + k] = element(j, k);
        }
        if !lower.unit && triangle[j * size + j] == T::zero() {
            unsafe { note(status, lower.base as i32 + lower.direction * j as i32) };
        }
    }
    let at = |j: usize, i: usize| v.at as isize + j as isize * v.step + i as isize * v.next;
    if v.next == 1 {
        // Right-hand sides are neighbours: rows of them at a time.
        return parts(v.count, size * size / 2, |from, to| {
            let row = |j: usize| unsafe {
                std::slice::from_raw_parts_mut(x.at::<T>(at(j, from)), to - from)
            };
            for j in 0..size {
                let mine = row(j);
                for k in 0..j {
                    let f = triangle[j * size + k];
                    for (a, &b) in mine.iter_mut().zip(&*row(k)) {
                        *a = *a - f * b;
                    }
                }
                if !lower.unit {
                    let d = triangle[j * size + j];
                    mine.iter_mut().for_each(|a| *a = *a / d);
                }
            }
        });
    }
    // Right-hand sides that lie along rows are turned, some at a time, so that what is computed for
    // one after the other is computed for neighbours.
    const SOME: usize = 16;
    parts(v.count, size * size / 2, |from, to| {
        let mut block = vec![[T::zero(); SOME]; size];
        for first in (from..to).step_by(SOME) {
            let some = SOME.min(to - first);
            for (j, line) in block.iter_mut().enumerate() {
                for (e, value) in line[..some].iter_mut().enumerate() {
                    *value = unsafe { *x.at::<T>(at(j, first + e)) };
                }
            }
            for j in 0..size {
                let (known, rest) = block.split_at_mut(j);
                let mine = &mut rest[0];
                for (line, &f) in known.iter().zip(&triangle[j * size..]) {
                    for e in 0..SOME {
                        mine[e] = mine[e] - f * line[e];
                    }
                }
                if !lower.unit {
                    let d = triangle[j * size + j];
                    mine.iter_mut().for_each(|a| *a = *a / d);
                }
            }
            for (j, line) in block.iter().enumerate() {
                for (e, &value) in line[..some].iter().enumerate() {
                    unsafe { *x.at::<T>(at(j, first + e)) = value };
                }
            }
        }
    });
}

/// # Safety
/// The leaf lies inside its buffer, which nobody else uses; the status is there.
pub(super) unsafe fn cholesky<T: Word>(
    a: SharedOut,
    place: Place,
    size: usize,
    status: SharedOut,
    base: usize,
) {
    // SAFETY: inside the leaf.
    let row = |i: usize, n: usize| unsafe {
        std::slice::from_raw_parts_mut(a.at::<T>((place.at + i * place.row) as isize), n)
    };
    for i in 0..size {
        let mine = row(i, i + 1);
        for j in 0..i {
            let other = row(j, j + 1);
            let s = dot(&mine[..j], &other[..j]);
            mine[j] = (mine[j] - s) / other[j];
        }
        let d = mine[i] - dot(&mine[..i], &mine[..i]);
        if d.is_nan() || d <= T::zero() {
            // SAFETY: the caller's promise.
            unsafe { note(status, (base + i) as i32) };
        }
        mine[i] = d.sqrt();
    }
}

fn dot<T: Word>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::zero(); 16];
    let (wide, rest) = (a.chunks_exact(16), a.chunks_exact(16).remainder());
    let tail = b.chunks_exact(16).remainder();
    for (x, y) in wide.zip(b.chunks_exact(16)) {
        for e in 0..16 {
            sums[e] = sums[e] + x[e] * y[e];
        }
    }
    let s = rest.iter().zip(tail).fold(T::zero(), |s, (&x, &y)| s + x * y);
    sums.iter().fold(s, |s, &x| s + x)
}

/// # Safety
/// The panel lies inside its buffer, which nobody else uses; status and moves are there.
pub(super) unsafe fn lu_panel<T: Word>(
    a: SharedOut,
    place: Place,
    [rows, width]: [usize; 2],
    moves: SharedOut,
    status: SharedOut,
    base: usize,
) {
    // SAFETY (of all blocks): rows of the panel, of which two that are used at a time differ.
    let row = |i: usize| unsafe {
        std::slice::from_raw_parts_mut(a.at::<T>((place.at + i * place.row) as isize), width)
    };
    let mut pivots = [0usize; PANEL];
    for c in 0..width {
        let (mut best, mut p) = (-T::one() - T::one(), c);
        for i in c..rows {
            let x = row(i)[c].abs();
            let x = if x.is_nan() { -T::one() } else { x };
            if x > best {
                (best, p) = (x, i);
            }
        }
        pivots[c] = p;
        if p != c {
            row(p).swap_with_slice(row(c));
        }
        let mut line = [T::zero(); PANEL];
        line[..width].copy_from_slice(row(c));
        let d = line[c];
        if d == T::zero() {
            unsafe { note(status, (base + c) as i32) };
        }
        parts(rows - c - 1, width - c, |from, to| {
            for i in from + c + 1..to + c + 1 {
                let mine = row(i);
                if d != T::zero() {
                    mine[c] = mine[c] / d;
                }
                let f = mine[c];
                for (x, &y) in mine[c + 1..].iter_mut().zip(&line[c + 1..width]) {
                    *x = *x - f * y;
                }
            }
        });
    }
    // The same as in `lu_panel_one`.
    let mut top: Vec<usize> = (0..width).collect();
    let mut outside: Vec<(usize, usize)> = Vec::new();
    for c in 0..width {
        let p = pivots[c];
        if p < width {
            top.swap(c, p);
            continue;
        }
        let was = top[c];
        match outside.iter_mut().find(|(at, _)| *at == p) {
            Some((_, row)) => top[c] = std::mem::replace(row, was),
            None => {
                top[c] = p;
                outside.push((p, was));
            }
        }
    }
    let set = |k: usize, v: usize| unsafe { *moves.at::<u32>(k as isize) = v as u32 };
    for (c, &from) in top.iter().enumerate() {
        set(c, from);
        if from < width {
            set(PANEL + from, c);
        }
    }
    for (at, row) in outside {
        set(PANEL + row, at);
    }
}

/// # Safety
/// Rows that moves name lie inside the matrix and the list, which nobody else uses.
pub(super) unsafe fn exchange<T: Word>(
    a: SharedOut,
    place: Place,
    [columns, skip, width]: [usize; 3],
    moves: SharedOut,
    order: SharedOut,
    order_at: usize,
) {
    // SAFETY: two words a row of the panel.
    let word = |k: usize| unsafe { *moves.at::<u32>(k as isize) as usize };
    // SAFETY: rows that moves name; threads have columns of their own.
    unsafe fn shift<V: Copy>(
        p: *mut V,
        row: usize,
        [from, to]: [usize; 2],
        width: usize,
        word: &impl Fn(usize) -> usize,
        kept: &mut Vec<V>,
    ) {
        let n = to - from;
        // SAFETY: the caller's promise.
        let line = |i: usize| unsafe { std::slice::from_raw_parts_mut(p.add(i * row + from), n) };
        // All that is read first: rows that come up, and rows that leave.
        kept.clear();
        for i in 0..width {
            kept.extend_from_slice(line(word(i)));
        }
        for i in 0..width {
            kept.extend_from_slice(line(i));
        }
        for i in 0..width {
            line(i).copy_from_slice(&kept[i * n..][..n]);
            let to = word(PANEL + i);
            if to >= width {
                line(to).copy_from_slice(&kept[(width + i) * n..][..n]);
            }
        }
    }
    for (from, to) in [(0, skip), (skip + width, columns)] {
        parts(to - from, width * 8, |x, y| {
            // Parts that stay in a cache.
            let mut kept = Vec::new();
            for x in (from + x..from + y).step_by(256) {
                let end = (x + 256).min(from + y);
                // SAFETY: the caller's promise.
                unsafe {
                    let p = a.at::<T>(place.at as isize);
                    shift(p, place.row, [x, end], width, &word, &mut kept);
                }
            }
        });
    }
    // SAFETY: the caller's promise; the list is a matrix of one column.
    unsafe { shift(order.at::<u32>(order_at as isize), 1, [0, 1], width, &word, &mut Vec::new()) };
}

/// # Safety
/// All parts lie inside their buffers; nobody else uses the result.
pub(super) unsafe fn side<T: Word>(
    out: SharedOut,
    at: usize,
    [rows, columns]: [usize; 2],
    from: Option<(SharedOut, Place)>,
    keep: Keep,
    scale: Option<(SharedOut, usize)>,
) {
    // SAFETY (of all blocks): rows of both matrices; threads have rows of their own.
    parts(rows, columns, |first, last| {
        for r in first..last {
            let line = unsafe {
                std::slice::from_raw_parts_mut(out.at::<T>((at + r * columns) as isize), columns)
            };
            for (c, to) in line.iter_mut().enumerate() {
                if keep == Keep::UnitLower && c == r {
                    *to = T::one();
                } else if (keep == Keep::Upper && c < r) || (keep != Keep::Upper && c > r) {
                    *to = T::zero();
                } else if let Some((from, place)) = from {
                    *to = unsafe { *from.at::<T>((place.at + r * place.row + c) as isize) };
                    if let Some((scale, first)) = scale {
                        *to = *to / unsafe { *scale.at::<T>((first + c) as isize) };
                    }
                }
            }
        }
    });
}

/// # Safety
/// The list has rows of the matrix; all parts lie inside their buffers.
pub(super) unsafe fn gather<T: Word>(mut g: Gather<'_>, from: SharedOut, order: SharedOut) {
    let out = g.target();
    let (at, columns) = (g.at, g.columns);
    let (from_at, row, column) = (g.from_at as isize, g.from_row, g.from_column);
    let order_at = g.order_at;
    // SAFETY: the caller's promise; threads have rows of their own.
    parts(g.rows, columns, |first, last| unsafe {
        for r in first..last {
            let source = *order.at::<u64>((order_at + r) as isize) as isize;
            for c in 0..columns {
                *out.at::<T>((at + r * columns + c) as isize) =
                    *from.at::<T>(from_at + source * row + c as isize * column);
            }
        }
    });
}
