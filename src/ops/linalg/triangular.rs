//! Triangular systems: halves of the unknowns. One half is solved, its product with the block beside
//! the triangles taken from the other, and that solved.

use super::block::{Part, Work, cut};
use super::leaf::{Lower, Substitute, Vectors, run};
use super::status::Status;
use crate::array::RawArray;
use crate::error::Result;
use crate::layout::Layout;

/// A triangle, by its first element and its strides.
#[derive(Clone, Copy)]
pub(super) struct Triangular<'a> {
    /// `None`: it is another part of the matrix that is solved for.
    pub array: Option<&'a RawArray>,
    pub at: isize,
    pub row: isize,
    pub column: isize,
    pub lower: bool,
    pub unit: bool,
    /// What its first unknown is called in messages.
    pub base: usize,
}

impl Triangular<'_> {
    /// The triangle from unknown `i` on.
    fn from(self, i: usize) -> Self {
        let at = self.at + i as isize * (self.row + self.column);
        Triangular { at, base: self.base + i, ..self }
    }

    /// A block of it, for a product.
    fn block(&self, x: &Work, [i, j, m, n]: Part) -> RawArray {
        let offset = (self.at + i as isize * self.row + j as isize * self.column) as usize;
        let layout = Layout {
            shape: [m, n].as_slice().into(),
            strides: [self.row, self.column].as_slice().into(),
            offset,
        };
        let buffer = self.array.map_or(&x.buffer, |a| &a.buffer).clone();
        RawArray { buffer, layout, dtype: x.dtype }
    }
}

/// Solves `T · X = X` for a part X of a matrix, in place.
pub(super) fn solve(
    x: &mut Work,
    [i, j, m, n]: Part,
    t: Triangular<'_>,
    status: &mut Status,
    leaf: usize,
) -> Result<()> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    if m > leaf {
        let half = cut(m, leaf);
        let (top, bottom) = ([i, j, half, n], [i + half, j, m - half, n]);
        if t.lower {
            solve(x, top, t, status, leaf)?;
            let (a, b) = (t.block(x, [half, 0, m - half, half]), x.part(top));
            x.subtract(bottom, a, b)?;
            return solve(x, bottom, t.from(half), status, leaf);
        }
        solve(x, bottom, t.from(half), status, leaf)?;
        let (a, b) = (t.block(x, [0, half, half, m - half]), x.part(bottom));
        x.subtract(top, a, b)?;
        return solve(x, top, t, status, leaf);
    }
    let device = x.device().clone();
    let (op, dtype, row) = (x.op, x.dtype, x.row as isize);
    // An upper triangle read backwards is a lower one.
    let last = if t.lower { 0 } else { m - 1 };
    let sign = if t.lower { 1 } else { -1 };
    let lower = Lower {
        buffer: t.array.map(|a| &*a.buffer),
        at: (t.at + last as isize * (t.row + t.column)) as usize,
        row: sign * t.row,
        column: sign * t.column,
        unit: t.unit,
        base: t.base + last,
        direction: sign as i32,
    };
    let vectors = Vectors { at: x.at(i + last, j), step: sign * row, next: 1, count: n };
    let status = status.owned()?;
    let out = x.owned()?;
    run(Substitute { op, dtype, out, x: vectors, t: lower, size: m, status }, &device)
}
