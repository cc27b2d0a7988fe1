//! Reductions of split floats whose bits depend on the whole array alone: not on the members, their
//! number, or where the array is cut. The order is that of
//! [`Reduction::reproducible`](crate::Reduction::reproducible).

use super::reduce::{Reduced, ShardedReduction};
use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Element, Number};
use crate::error::{Error, Result};
use crate::layout::{Layout, check_axis};
use crate::ops::copy;
use crate::ops::reproducible::{self, BLOCK, Join, Real};
use ndarray::Axis;
use std::ops::Range;

/// What one member adds to each row of elements that are reduced together.
struct Share<W> {
    /// Which elements of a row it has.
    range: Range<usize>,
    /// Its elements before the first and behind the last block that it has all of, row by row.
    head: Vec<W>,
    tail: Vec<W>,
    /// The values of the blocks that it has all of, row by row.
    blocks: Vec<W>,
}

impl<W> Share<W> {
    /// The blocks that it has all of.
    fn whole(&self) -> Range<usize> {
        whole_blocks(&self.range)
    }
}

fn whole_blocks(range: &Range<usize>) -> Range<usize> {
    let first = range.start.div_ceil(BLOCK);
    first..(range.end / BLOCK).max(first)
}

impl<T: Number> ShardedReduction<T> {
    /// Whether the bits of the result are promised.
    pub(super) fn one_order(&self) -> Result<bool> {
        let (split, _) = self.input.split()?;
        Ok(split.group.is_reproducible() && T::DTYPE.is_float())
    }

    /// Refuses what would not have the same bits everywhere.
    pub(super) fn not_reproducible(&self, op: &'static str) -> Result<()> {
        if !self.one_order()? {
            return Ok(());
        }
        let text = "divisions differ between devices in the last place; a reproducible group reduces floats by sum, prod, min and max";
        Err(Error::argument(op, text))
    }

    /// The reduction in the order that depends on nothing but the array.
    pub(super) fn in_one_order<U: Element>(
        &self,
        op: &'static str,
        by: Join,
    ) -> Result<Reduced<U>> {
        match T::DTYPE.compute() {
            DType::F64 => self.in_order_of::<f64, U>(op, by),
            _ => self.in_order_of::<f32, U>(op, by),
        }
    }

    fn in_order_of<W: Real + Element, U: Element>(
        &self,
        op: &'static str,
        by: Join,
    ) -> Result<Reduced<U>> {
        let (split, axis) = self.input.split()?;
        let (shape, axes) = (self.input.shape()?.to_vec(), self.picked()?);
        axes.iter().try_for_each(|&a| check_axis(op, Axis(a), &shape).map(drop))?;
        let picked: Vec<bool> = (0..shape.len()).map(|a| axes.contains(&a)).collect();
        let mut results = if axes.first() == Some(&axis) {
            // Every member has one stretch of each row.
            let behind: usize = axes.iter().filter(|&&a| a > axis).map(|&a| shape[a]).product();
            let shares = split.each(op, |m| {
                let range = &split.ranges[m];
                self.share::<W>(op, by, m, range.start * behind..range.end * behind, &picked)
            })?;
            let rows = picked.iter().zip(&shape).filter(|(p, _)| !**p).map(|(_, &n)| n).product();
            join(by, rows, &shares)
        } else {
            // A row goes from member to member and back: brought together first.
            let whole = self.input.cast::<W>().eval()?.gather(&Device::host())?;
            let root = whole.expr();
            let kept = self.kept()?;
            let raw = reproducible::reduce(op, by, root.node()?, &picked, &kept, W::DTYPE)?;
            DeviceArray::<W>::from_raw(raw).to_vec()?
        };
        results.shrink_to_fit();
        let host =
            DeviceArray::from_shape_slice(&Device::host(), self.kept()?.as_slice(), &results)?;
        Ok(Reduced::Replicated(split.group.replicate(&host.expr().cast::<U>().eval()?)?))
    }

    /// A member's share, of `range` of every row.
    fn share<W: Real + Element>(
        &self,
        op: &'static str,
        by: Join,
        member: usize,
        range: Range<usize>,
        picked: &[bool],
    ) -> Result<Share<W>> {
        let part = &self.input.parts()?[member];
        reproducible::fits(op, &self.input.split()?.0.group.members()[member])?;
        if range.is_empty() {
            return Ok(Share { range, head: Vec::new(), tail: Vec::new(), blocks: Vec::new() });
        }
        let values = reproducible::rows(part.cast::<W>().node()?, picked)?;
        let whole = whole_blocks(&range);
        // Within the rows of this member.
        let at = |i: usize| i.clamp(range.start, range.end) - range.start;
        let (from, to) = match whole.is_empty() {
            true => (range.len(), range.len()),
            false => (at(whole.start * BLOCK), at(whole.end * BLOCK)),
        };
        let columns = |columns: Range<usize>| -> Result<RawArray> {
            let layout = &values.layout;
            let layout = Layout {
                shape: [layout.shape[0], columns.len()].as_slice().into(),
                strides: layout.strides.clone(),
                offset: layout.offset + columns.start,
            };
            copy::contiguous(&RawArray { layout, ..values.clone() })
        };
        let read = |raw: RawArray| DeviceArray::<W>::from_raw(raw).to_vec();
        let blocks = match whole.is_empty() {
            true => Vec::new(),
            false => read(reproducible::blocks_to_one(op, by, &columns(from..to)?)?)?,
        };
        let (head, tail) = (read(columns(0..from)?)?, read(columns(to..range.len())?)?);
        Ok(Share { range, head, tail, blocks })
    }
}

/// Every row's value, from what the members have of it.
fn join<W: Real>(by: Join, rows: usize, shares: &[Share<W>]) -> Vec<W> {
    let mut results = Vec::with_capacity(rows);
    for row in 0..rows {
        let of = |all: &[W], n: usize| all[row * n..(row + 1) * n].to_vec();
        let mut blocks = Vec::new();
        // Elements of a block that no member has all of.
        let mut open: Vec<W> = Vec::new();
        for share in shares.iter().filter(|s| !s.range.is_empty()) {
            let (head, tail) = (share.head.len() / rows, share.tail.len() / rows);
            for v in of(&share.head, head) {
                open.push(v);
                if open.len() == BLOCK {
                    blocks.push(reproducible::block(by, &std::mem::take(&mut open)));
                }
            }
            blocks.extend(of(&share.blocks, share.whole().len()));
            open.extend(of(&share.tail, tail));
        }
        if !open.is_empty() {
            blocks.push(reproducible::block(by, &open));
        }
        results.push(reproducible::whole(by, blocks));
    }
    results
}
