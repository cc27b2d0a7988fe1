//! Right-hand sides: their shapes beside that of the matrices, and where each lies.

use super::Real;
use super::block::Work;
use crate::array::{DeviceArray, RawArray};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, broadcast_shapes, count, row_major};
use crate::ops::matmul::shapes::batch_strides;

/// Right-hand sides that fit a matrix.
pub(super) struct Sides {
    /// Rows of the matrix.
    pub n: usize,
    /// Right-hand sides of a matrix.
    pub k: usize,
    is_vector: bool,
    /// The leading axes of the result, and how many matrices they number.
    batch: Dims,
    pub count: usize,
}

impl Sides {
    pub fn check(op: &'static str, a: &RawArray, b: &RawArray) -> Result<Sides> {
        let (sa, sb) = (&a.layout.shape, &b.layout.shape);
        a.device().require_same(op, "the matrix lives", b.device(), "the right-hand side")?;
        let n = sa[sa.len() - 1];
        let (lead, rows, k, is_vector) = match sb.as_slice() {
            [rows] => (&[][..], *rows, 1, true),
            [lead @ .., rows, k] => (lead, *rows, *k, false),
            [] => {
                return Err(Error::shape(
                    op,
                    format!("shapes {sa:?} and {sb:?}: the right-hand side has no axes"),
                ));
            }
        };
        if rows != n {
            return Err(Error::shape(
                op,
                format!(
                    "shapes {sa:?} and {sb:?}: the matrix has {n} rows and the right-hand side {rows}; they must be equal"
                ),
            ));
        }
        let batch = broadcast_shapes(&sa[..sa.len() - 2], lead).ok_or_else(|| {
            Error::shape(
                op,
                format!(
                    "shapes {sa:?} and {sb:?}: the leading axes do not broadcast: aligned at the last, lengths must be equal or 1"
                ),
            )
        })?;
        let all: Dims = batch.iter().copied().chain([n, k]).collect();
        count(op, &all)?;
        Ok(Sides { n, k, is_vector, count: batch.iter().product(), batch })
    }

    /// The shape of the result, a vector as a column.
    pub fn wide(&self) -> Dims {
        self.batch.iter().copied().chain([self.n, self.k]).collect()
    }

    /// A right-hand side as matrices.
    pub fn b_layout(&self, b: &Layout) -> Layout {
        let mut b = b.clone();
        if self.is_vector {
            b.shape.push(1);
            b.strides.push(1);
        }
        b
    }

    /// Where the matrices of an array start, one for each of the result.
    pub fn matrices(&self, layout: &Layout) -> Vec<isize> {
        let strides = batch_strides(layout, &self.batch);
        let steps = row_major(&self.batch);
        (0..self.count)
            .map(|t| {
                let along = self.batch.iter().zip(&steps).zip(&strides);
                let index = |(&d, &step): (&usize, &isize)| (t / step as usize % d) as isize;
                layout.offset as isize + along.map(|(x, &s)| index(x) * s).sum::<isize>()
            })
            .collect()
    }

    pub fn work(&self, op: &'static str, x: RawArray) -> Work {
        Work { op, buffer: x.buffer, dtype: x.dtype, offset: 0, row: self.k }
    }

    pub fn result<T: Real>(&self, x: Work) -> DeviceArray<T> {
        let mut shape = self.wide();
        if self.is_vector {
            shape.pop();
        }
        let layout = Layout::contiguous(&shape);
        DeviceArray::from_raw(RawArray { buffer: x.buffer, layout, dtype: T::DTYPE })
    }
}
