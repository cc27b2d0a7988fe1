//! Elements on the host, and how the ranks' are combined.

use super::wire::{Wire, knows};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::Result;
use crate::group::ReduceOp;
use crate::group::cut::even;
use crate::layout::Layout;
use crate::ops::combine::{Combine, Combining, Part, Share};
use std::sync::Arc;

/// Elements to read: on the host, in row-major order without gaps.
pub(super) struct Staged {
    raw: RawArray,
}

impl Staged {
    /// The array itself where it is on the host, else a copy.
    pub fn of<T: Element>(host: &Device, array: &DeviceArray<T>) -> Result<Staged> {
        Ok(Staged { raw: array.to_device(host)?.to_contiguous()?.raw()?.clone() })
    }

    pub fn shape(&self) -> &[usize] {
        &self.raw.layout.shape
    }

    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    pub fn ptr(&self) -> *const u8 {
        let start = self.raw.buffer.host().map_or(std::ptr::null(), |block| block.ptr());
        start.wrapping_add(self.raw.layout.offset * self.raw.dtype.size())
    }

    pub fn into_array<T: Element>(self) -> DeviceArray<T> {
        DeviceArray::from_raw(self.raw)
    }
}

/// Room for elements on the host, which nobody else has.
pub(super) struct Room {
    buffer: Buffer,
    shape: Vec<usize>,
    dtype: DType,
}

impl Room {
    pub fn new(op: &'static str, host: &Device, shape: &[usize], dtype: DType) -> Result<Room> {
        let buffer = RawArray::alloc(op, host, &Layout::contiguous(shape), dtype)?;
        Ok(Room { buffer, shape: shape.to_vec(), dtype })
    }

    pub fn ptr(&mut self) -> *mut u8 {
        self.buffer.host_mut().map_or(std::ptr::null_mut(), |block| block.ptr_mut())
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Divides the elements by the number of members: the end of an average.
    pub fn share(&self, op: &'static str, combine: &Combine, count: usize) -> Result<()> {
        if self.len() == 0 {
            return Ok(());
        }
        let part = Part { buffer: &self.buffer, offset: 0 };
        Share { op, combine, part, n: self.len(), count }.run()
    }

    /// `first ∘ second` of two ranges of `n` elements, in place of the first.
    fn combine(
        &self,
        op: &'static str,
        combine: &Combine,
        [first, second]: [usize; 2],
        n: usize,
    ) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        let part = |offset| Part { buffer: &self.buffer, offset };
        let (out, b) = (part(first), part(second));
        Combining { op, combine, out, a: out, b, n }.run()
    }

    /// What is there now, for all to read.
    pub fn full(self) -> Staged {
        let layout = Layout::contiguous(&self.shape);
        Staged { raw: RawArray { buffer: Arc::new(self.buffer), layout, dtype: self.dtype } }
    }
}

/// Who gets what the ranks have combined.
pub(super) enum To<'a> {
    All,
    Root(usize),
    /// Each its range.
    Ranges(&'a [usize]),
}

/// Combines the ranks' elements, in the order of the ranks where that matters, into `to`, which has room
/// for what this rank gets.
pub(super) fn reduce(
    op: &'static str,
    wire: &Wire,
    (from, to): (&Staged, &mut Room),
    combine: &Combine,
    who: &To<'_>,
) -> Result<()> {
    let (dtype, size, n) = (combine.dtype, combine.dtype.size(), from.len());
    if let Some(by) = known(combine) {
        let ends = (from.ptr(), to.ptr());
        return match *who {
            To::All => wire.reduce(op, ends, n, (dtype, by), None),
            To::Root(root) => wire.reduce(op, ends, n, (dtype, by), Some(root)),
            To::Ranges(counts) => wire.reduce_scatter(op, ends, counts, (dtype, by)),
        };
    }
    // Every rank combines one range of the elements of all.
    let shares = match *who {
        To::Ranges(counts) => counts.to_vec(),
        _ => even(n, wire.ranks),
    };
    let own = shares[wire.rank];
    let host = to.buffer.device.clone();
    let mut come = Room::new(op, &host, &[own * wire.ranks], dtype)?;
    let ends = (from.ptr(), come.ptr());
    wire.all_to_all(op, ends, (&shares, &vec![own; wire.ranks]), size)?;
    for rank in 1..wire.ranks {
        come.combine(op, combine, [0, rank * own], own)?;
    }
    let ends = (come.ptr().cast_const(), to.ptr());
    match *who {
        To::All => wire.gather(op, ends, &shares, size, None),
        To::Root(root) => wire.gather(op, ends, &shares, size, Some(root)),
        To::Ranges(_) => {
            // SAFETY: both have the elements of this rank's range, and are not the same memory.
            unsafe { std::ptr::copy_nonoverlapping(ends.0, ends.1, own * size) };
            Ok(())
        }
    }
}

/// The elements of the ranks before this one combined; not defined on the first rank.
pub(super) fn scan_before(
    op: &'static str,
    wire: &Wire,
    (from, to): (&Staged, &mut Room),
    combine: &Combine,
) -> Result<()> {
    let (dtype, size, n) = (combine.dtype, combine.dtype.size(), from.len());
    if let Some(by) = known(combine) {
        return wire.scan_before(op, (from.ptr(), to.ptr()), n, (dtype, by));
    }
    let host = to.buffer.device.clone();
    let mut all = Room::new(op, &host, &[n * wire.ranks], dtype)?;
    wire.gather(op, (from.ptr(), all.ptr()), &vec![n; wire.ranks], size, None)?;
    for rank in 1..wire.rank {
        all.combine(op, combine, [0, rank * n], n)?;
    }
    // SAFETY: both have `n` elements, and are not the same memory.
    unsafe { std::ptr::copy_nonoverlapping(all.ptr().cast_const(), to.ptr(), n * size) };
    Ok(())
}

/// The operator as MPI has it, if it has.
fn known(combine: &Combine) -> Option<ReduceOp> {
    combine.own.filter(|&by| knows(combine.dtype, by) && combine.commutes)
}
