//! From one split to another.

use super::{Replicated, ShardedArray, Split, from_front_pending, to_front};
use crate::array::DeviceArray;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layout::check_axis;
use crate::ops::copy;
use crate::split::overlap;
use ndarray::Axis;

/// Splitting anew. Every member sends to every other what that is to have.
impl<T: Element> ShardedArray<T> {
    /// The same array, split along an axis as [`Group::shard`](crate::Group::shard) splits it.
    ///
    /// ```
    /// # use clan::{Device, DeviceArray, Group, ndarray::Axis};
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let x = DeviceArray::<i32>::arange(&Device::host(), 0, 6, 1)?.reshape((2, 3))?;
    /// let columns = group.shard(&x, Axis(0))?.reshard(Axis(1))?;
    /// assert_eq!(columns.parts()[0].to_vec()?, [0, 1, 3, 4]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis outside the array; out of memory; a failure of a device.
    pub fn reshard(&self, axis: Axis) -> Result<ShardedArray<T>> {
        const OP: &str = "reshard";
        let n = self.shape[check_axis(OP, axis, &self.shape)?];
        self.moved(OP, axis.0, &self.group().shares(n))
    }

    /// The same array, split by weights as [`Group::shard_by`](crate::Group::shard_by) splits it.
    ///
    /// # Errors
    /// As [`ShardedArray::reshard`]; not one weight a member; weights that are negative, not finite or
    /// all 0.
    pub fn reshard_by(&self, axis: Axis, weights: &[f64]) -> Result<ShardedArray<T>> {
        const OP: &str = "reshard_by";
        let n = self.shape[check_axis(OP, axis, &self.shape)?];
        self.moved(OP, axis.0, &self.group().weighted(OP, n, weights)?)
    }

    /// The same array: member `i` gets `counts[i]` rows of the axis.
    ///
    /// # Errors
    /// As [`ShardedArray::reshard`]; counts that are not one a member, or do not add up to the axis.
    pub fn reshard_v(&self, axis: Axis, counts: &[usize]) -> Result<ShardedArray<T>> {
        const OP: &str = "reshard_v";
        let n = self.shape[check_axis(OP, axis, &self.shape)?];
        self.group().check_counts(OP, counts, n)?;
        self.moved(OP, axis.0, counts)
    }

    /// The same array, split so that it stands beside another one in an expression.
    ///
    /// # Errors
    /// When the axis that the other is split along, counted from the last, has another length or does
    /// not exist; arrays of two groups; as [`ShardedArray::reshard`].
    pub fn reshard_like<U: Element>(&self, other: &ShardedArray<U>) -> Result<ShardedArray<T>> {
        const OP: &str = "reshard_like";
        super::replicated::same_members(OP, self.group(), other.group())?;
        let axis = (self.ndim() + other.axis).checked_sub(other.ndim());
        let n = other.shape[other.axis];
        match axis.filter(|&axis| self.shape[axis] == n) {
            Some(axis) => {
                let counts: Vec<usize> = other.ranges().iter().map(|r| r.len()).collect();
                self.moved(OP, axis, &counts)
            }
            None => {
                let text = format!(
                    "shape {:?} has nothing like axis {} of shape {:?}, along which the other is split",
                    self.shape, other.axis, other.shape
                );
                Err(Error::shape(OP, text))
            }
        }
    }

    /// The whole array on every member.
    ///
    /// # Errors
    /// Out of memory; a failure of a device.
    pub fn all_gather(&self) -> Result<Replicated<T>> {
        let rows = self.rows()?;
        let whole = self.group().mover().all_gather(&rows)?.into_results();
        let whole = whole.iter().map(|all| from_front_pending(all, self.axis)).collect();
        Ok(Replicated::new(self.group(), whole))
    }

    /// The parts with the split axis first.
    pub(super) fn rows(&self) -> Result<Vec<DeviceArray<T>>> {
        self.parts.iter().map(|part| to_front(part, self.axis)).collect()
    }

    fn moved(&self, op: &'static str, axis: usize, counts: &[usize]) -> Result<ShardedArray<T>> {
        let split = Split::new(self.group(), counts);
        if axis != self.axis {
            return self.turned(op, axis, split);
        }
        if split.same(&self.split) {
            return Ok(self.clone());
        }
        let give = |own| split.ranges.iter().map(|new| overlap(own, new).len()).collect();
        let counts: Vec<Vec<usize>> = self.ranges().iter().map(give).collect();
        let dealt = self.group().mover().all_to_all_as(op, &self.rows()?, &counts)?.into_results();
        let parts = dealt.iter().map(|part| from_front_pending(part, axis)).collect();
        Ok(ShardedArray { split, axis, shape: self.shape.clone(), parts })
    }

    /// Split along another axis. What one member sends to another is a block: some rows of the new axis by
    /// some of the old one. Blocks travel as plain elements, because their rows differ from member to
    /// member.
    fn turned(&self, op: &'static str, axis: usize, split: Split) -> Result<ShardedArray<T>> {
        let others = (0..self.ndim()).filter(|&a| a != axis && a != self.axis);
        let order: Vec<usize> = [axis, self.axis].into_iter().chain(others).collect();
        let rest: Vec<usize> = order[2..].iter().map(|&a| self.shape[a]).collect();
        let row: usize = rest.iter().product();
        let flat = self.split.each(op, |m| {
            let part = self.parts[m].permute(&order)?;
            part.reshape(part.len())
        })?;
        let elements = |new: usize, old: usize| new * old * row;
        let give = |own: &std::ops::Range<usize>| {
            split.ranges.iter().map(|new| elements(new.len(), own.len())).collect()
        };
        let counts: Vec<Vec<usize>> = self.ranges().iter().map(give).collect();
        let dealt = self.group().mover().all_to_all_as(op, &flat, &counts)?.into_results();
        let mut back = vec![0; self.ndim()];
        for (k, &a) in order.iter().enumerate() {
            back[a] = k;
        }
        let parts = split.each(op, |m| {
            let new = split.ranges[m].len();
            let shape = |old: usize| [&[new, old], rest.as_slice()].concat();
            let mut blocks = Vec::with_capacity(self.parts.len());
            let mut at = 0;
            for own in self.ranges() {
                let n = elements(new, own.len());
                let block = dealt[m].slice(super::along(1, 0, at..at + n))?;
                blocks.push(block.reshape(shape(own.len()))?.raw()?.clone());
                at += n;
            }
            let device = &self.group().members()[m];
            let whole = copy::concatenated(op, device, &shape(self.split.len()), 1, &blocks)?;
            DeviceArray::from_raw(whole).permute(&back)
        })?;
        Ok(ShardedArray { split, axis, shape: self.shape.clone(), parts })
    }
}
