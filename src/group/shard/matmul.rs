//! Matrix products of split matrices.

use super::replicated::same_members;
use super::{Replicated, ShardedArray};
use crate::element::Number;
use crate::error::{Error, Result};
use crate::group::ReduceOp;

impl<T: Number> ShardedArray<T> {
    /// The matrix product with a matrix, or a vector, that all members have: split as `self` is, for
    /// every member multiplies its rows. See [`DeviceArray::matmul`](crate::DeviceArray::matmul).
    ///
    /// # Errors
    /// When `self` is split along its last axis (see [`ShardedArray::matmul_sum`]); a second operand of
    /// more than two axes; arrays of two groups; as [`DeviceArray::matmul`](crate::DeviceArray::matmul).
    pub fn matmul(&self, other: &Replicated<T>) -> Result<ShardedArray<T>> {
        const OP: &str = "matmul";
        same_members(OP, self.group(), other.group())?;
        if self.axis + 1 == self.ndim() {
            let text = format!(
                "shape {:?} is split along its last axis, over which the product sums; `matmul_sum` multiplies by a matrix that is split along the same axis, `reshard` splits along another",
                self.shape()
            );
            return Err(Error::shape(OP, text));
        }
        if other.shape().len() > 2 {
            let text = format!(
                "the replicated operand has shape {:?}; a matrix or a vector is multiplied with every part",
                other.shape()
            );
            return Err(Error::shape(OP, text));
        }
        let parts = self.split.each(OP, |m| self.parts[m].matmul(&other.parts()[m]))?;
        Ok(ShardedArray::new(self.split.clone(), self.axis, parts))
    }

    /// The matrix product of two matrices that are split along the axis over which it sums: every member
    /// multiplies what it has, and the products are added up by `all_reduce`.
    ///
    /// So the gradient of weights is made where the rows of a batch are split:
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Group, ndarray::{Axis, array}};
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let x = group.shard_ndarray(&array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]], Axis(0))?;
    /// let error = group.shard_ndarray(&array![[1.0f32], [0.0], [2.0]], Axis(0))?;
    /// let gradient = x.t().matmul_sum(&error)?;
    /// assert_eq!(gradient.to_ndarray()?, array![[11.0], [14.0]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// Half floats are rounded once a member more than they would be on one device.
    ///
    /// # Errors
    /// Operands that are not split in the same way along the last axis of the first and the first of the
    /// second; more than two axes; as [`DeviceArray::matmul`](crate::DeviceArray::matmul).
    pub fn matmul_sum(&self, other: &ShardedArray<T>) -> Result<Replicated<T>> {
        const OP: &str = "matmul_sum";
        same_members(OP, self.group(), other.group())?;
        let flat = |x: &ShardedArray<T>| (1..=2).contains(&x.ndim());
        let along = self.axis + 1 == self.ndim() && other.axis == 0;
        if !(flat(self) && flat(other) && along) {
            let text = format!(
                "shapes {:?} and {:?}, split along axes {} and {}; the first is a matrix or vector split along its last axis, the second along its first",
                self.shape(),
                other.shape(),
                self.axis,
                other.axis
            );
            return Err(Error::shape(OP, text));
        }
        if !self.split.same(&other.split) {
            let text = format!(
                "operands are split as {:?} and as {:?}; `reshard_v` brings one to the split of the other",
                self.split.ranges, other.split.ranges
            );
            return Err(Error::shape(OP, text));
        }
        let parts = self.split.each(OP, |m| self.parts[m].matmul(&other.parts[m]))?;
        let sums = self.group().all_reduce(&parts, ReduceOp::Sum)?.into_results();
        Ok(Replicated::new(self.group(), sums))
    }
}
