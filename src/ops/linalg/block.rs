//! A matrix that is being factored: row-major, in a buffer that nobody else holds, of which parts
//! are read and written.

use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::ops::matmul;
use std::sync::Arc;

/// One matrix, of several perhaps, in a buffer. The methods take the first row and column of a part,
/// and its lengths; parts lie inside the matrix.
pub(super) struct Work {
    /// What errors name.
    pub op: &'static str,
    pub buffer: Arc<Buffer>,
    pub dtype: DType,
    /// Of the matrix's first element.
    pub offset: usize,
    /// Elements from one row to the next.
    pub row: usize,
}

/// First row, first column, rows, columns.
pub(super) type Part = [usize; 4];

impl Work {
    pub fn device(&self) -> &Device {
        &self.buffer.device
    }

    /// Position of an element in the buffer.
    pub fn at(&self, i: usize, j: usize) -> usize {
        self.offset + i * self.row + j
    }

    pub fn layout(&self, [i, j, m, n]: Part) -> Layout {
        Layout {
            shape: [m, n].as_slice().into(),
            strides: [self.row as isize, 1].as_slice().into(),
            offset: self.at(i, j),
        }
    }

    /// A part to read. It must be gone before something is written.
    pub fn part(&self, part: Part) -> RawArray {
        RawArray { buffer: self.buffer.clone(), layout: self.layout(part), dtype: self.dtype }
    }

    /// `part −= a · b`. The operands may be other parts.
    pub fn subtract(&mut self, part: Part, a: RawArray, b: RawArray) -> Result<()> {
        let layout = self.layout(part);
        matmul::subtract(self.op, a, b, &mut self.buffer, &layout)
    }

    /// The buffer to write.
    pub fn owned(&mut self) -> Result<&mut Buffer> {
        let op = self.op;
        Arc::get_mut(&mut self.buffer)
            .ok_or_else(|| Error::argument(op, "the matrix is shared while it is factored"))
    }
}

/// The matrix on its side.
pub(super) fn transposed(mut x: RawArray) -> RawArray {
    x.layout.shape.reverse();
    x.layout.strides.reverse();
    x
}

/// Where to cut `n` rows or columns into two, in multiples of `leaf`: the first part is the larger
/// power of two, so that parts of one size repeat.
pub(super) fn cut(n: usize, leaf: usize) -> usize {
    leaf * (n.div_ceil(leaf).next_power_of_two() / 2)
}
