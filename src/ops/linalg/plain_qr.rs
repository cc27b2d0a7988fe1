//! The loops of the host for QR.

use super::leaf::Place;
use super::plain::{Word, parts};
use super::shape::PANEL;
use crate::host::eval::SharedOut;

/// # Safety
/// The matrix and its factors lie inside their buffers, which nobody else uses.
pub(super) unsafe fn scale_columns<T: Word>(
    a: SharedOut,
    at: usize,
    [rows, columns]: [usize; 2],
    scale: SharedOut,
    scale_at: usize,
) {
    // SAFETY: inside the matrix; threads have columns of their own.
    parts(columns, rows, |from, to| unsafe {
        let line = |r: usize| {
            std::slice::from_raw_parts_mut(a.at::<T>((at + r * columns + from) as isize), to - from)
        };
        let mut most = vec![T::zero(); to - from];
        for r in 0..rows {
            for (m, x) in most.iter_mut().zip(&*line(r)) {
                *m = m.max(x.abs());
            }
        }
        for m in &mut most {
            let usable = *m > T::zero() && m.is_finite();
            let exponent = if usable { m.integer_decode() } else { (1, 0, 1) };
            let bits = 63 - exponent.0.leading_zeros() as i32 + i32::from(exponent.1);
            *m = T::power_of_two((-bits).clamp(-126, 126));
        }
        for r in 0..rows {
            for (x, &s) in line(r).iter_mut().zip(&most) {
                *x = *x * s;
            }
        }
        for (c, &s) in most.iter().enumerate() {
            *scale.at::<T>((scale_at + from + c) as isize) = s;
        }
    });
}

/// # Safety
/// Panel, vectors and triangle lie inside their buffers, which nobody else uses.
pub(super) unsafe fn qr_panel<T: Word>(
    a: SharedOut,
    place: Place,
    [rows, width]: [usize; 2],
    v: SharedOut,
    v_place: Place,
    t: SharedOut,
    t_at: usize,
) {
    // SAFETY (of all blocks): rows of the panel and of the vectors.
    let row = |i: usize| unsafe {
        std::slice::from_raw_parts_mut(a.at::<T>((place.at + i * place.row) as isize), width)
    };
    let mut tt = [[T::zero(); PANEL]; PANEL];
    let mut scale = [T::zero(); PANEL];
    for c in 0..width {
        // Products of this column, below the diagonal, with all.
        let mut z = [T::zero(); PANEL];
        for i in c + 1..rows {
            let line = row(i);
            let x = line[c];
            for (z, &y) in z.iter_mut().zip(&*line) {
                *z = *z + x * y;
            }
        }
        let top = row(c);
        let (alpha, square) = (top[c], z[c]);
        // No vector: what is below the diagonal is lost in the rounding of the column.
        let none = square <= T::DROP;
        let norm = (alpha * alpha + square).sqrt();
        let beta = if alpha < T::zero() { norm } else { -norm };
        let (mut tau, mut inverse) = (T::zero(), T::zero());
        if !none {
            tau = (beta - alpha) / beta;
            inverse = T::one() / (alpha - beta);
        }
        let (mut factor, mut gram) = ([T::zero(); PANEL], [T::zero(); PANEL]);
        for e in 0..width {
            let w = top[e] + inverse * z[e];
            if e > c {
                factor[e] = tau * w * inverse;
                top[e] = top[e] - tau * w;
            } else if e < c {
                gram[e] = scale[e] * w;
            }
        }
        scale[c] = inverse;
        if !none {
            top[c] = beta;
        }
        for (e, line) in tt.iter_mut().enumerate().take(c) {
            let s = (e..c).fold(T::zero(), |s, f| s + line[f] * gram[f]);
            line[c] = -tau * s;
        }
        tt[c][c] = tau;
        for i in c + 1..rows {
            let line = row(i);
            let x = line[c];
            for e in c + 1..width {
                line[e] = line[e] - factor[e] * x;
            }
        }
    }
    for i in 0..rows {
        let line = row(i);
        for e in 0..width {
            let value = match i.cmp(&e) {
                std::cmp::Ordering::Less => T::zero(),
                std::cmp::Ordering::Equal => T::one(),
                std::cmp::Ordering::Greater => line[e] * scale[e],
            };
            unsafe { *v.at::<T>((v_place.at + i * v_place.row + e) as isize) = value };
        }
    }
    for (e, line) in tt.iter().enumerate().take(width) {
        for (f, &value) in line[..width].iter().enumerate() {
            unsafe { *t.at::<T>((t_at + e * width + f) as isize) = value };
        }
    }
}
