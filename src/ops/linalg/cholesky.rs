//! Cholesky: halves of the columns. The left half is factored, its product with itself taken from the
//! right half, and that factored.

use super::block::{Work, cut, transposed};
use super::leaf::{CholeskyLeaf, Lower, Place, Substitute, Vectors, run};
use super::status::Status;
use crate::error::Result;

/// Columns of the strips by which the lower triangle of a half is updated: what a strip computes
/// above the diagonal is in vain, while thin strips fill a device badly.
///
/// H200, f32, n = 8192, ms: 512 8.46, 1024 8.22, 2048 8.53.
const STRIP: usize = 1024;

/// Factors the lower triangle of the `n` by `n` matrix in place.
pub(super) fn factor(w: &mut Work, status: &mut Status, n: usize, leaf: usize) -> Result<()> {
    columns(w, status, [0, n], n, leaf)
}

/// Factors columns `j .. j + width`, from which those before have been taken.
fn columns(
    w: &mut Work,
    status: &mut Status,
    [j, width]: [usize; 2],
    n: usize,
    leaf: usize,
) -> Result<()> {
    let device = w.device().clone();
    let (op, dtype, row) = (w.op, w.dtype, w.row);
    if width <= leaf {
        let place = Place { at: w.at(j, j), row };
        let t = Lower {
            buffer: None,
            at: place.at,
            row: row as isize,
            column: 1,
            unit: false,
            base: j,
            direction: 1,
        };
        let below = j + width;
        let at = w.at(below, j);
        let status = status.owned()?;
        let out = w.owned()?;
        run(CholeskyLeaf { op, dtype, out, place, size: width, status, base: j }, &device)?;
        if below == n {
            return Ok(());
        }
        let out = w.owned()?;
        // A row of L below is a solution with the leaf's triangle.
        let x = Vectors { at, step: 1, next: row as isize, count: n - below };
        return run(Substitute { op, dtype, out, x, t, size: width, status }, &device);
    }
    let half = cut(width, leaf);
    columns(w, status, [j, half], n, leaf)?;
    let end = j + width;
    for c in (j + half..end).step_by(STRIP) {
        let wide = STRIP.min(end - c);
        let (a, b) = (w.part([c, j, n - c, half]), w.part([c, j, wide, half]));
        w.subtract([c, c, n - c, wide], a, transposed(b))?;
    }
    columns(w, status, [j + half, width - half], n, leaf)
}
