//! Several calls made one: their elements are packed, sent once, and the results are views of it.

use super::{Call, Group, Operator};
use crate::array::{DeviceArray, RawArray};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layout::{Layout, count};
use crate::ops::copy;
use std::sync::Arc;

/// Many small arrays at once: one transfer in place of many, whose latencies would be all their time.
impl Group {
    /// As [`Group::all_reduce`] of every list of arrays, one a member each; a handle for each list.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Group, ReduceOp};
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let weights = vec![DeviceArray::<f32>::ones(&Device::host(), (3, 2))?; 2];
    /// let bias = vec![DeviceArray::<f32>::ones(&Device::host(), 3)?; 2];
    /// let calls = group.all_reduce_many(&[weights, bias], ReduceOp::Average)?;
    /// assert_eq!(calls[0].results()[1].shape(), [3, 2]);
    /// assert_eq!(calls[1].results()[0].to_vec()?, [1.0; 3]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Group::all_reduce`].
    pub fn all_reduce_many<T: Element>(
        &self,
        lists: &[Vec<DeviceArray<T>>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Vec<Call<T>>> {
        const OP: &str = "all_reduce_many";
        let mut shapes = Vec::with_capacity(lists.len());
        for parts in lists {
            self.fits(OP, parts)?;
            shapes.push(self.one_shape(OP, parts)?);
        }
        let mut packed = Vec::with_capacity(self.len());
        for m in 0..self.len() {
            packed.push(self.pack(OP, m, lists.iter().map(|parts| &parts[m]))?);
        }
        let inputs = lists.iter().map(Clone::clone).collect();
        unpack(&self.all_reduce(&packed, operator)?, &shapes, inputs)
    }

    /// As [`Group::broadcast`] of every array of the root; a handle for each array.
    ///
    /// # Errors
    /// As [`Group::broadcast`].
    pub fn broadcast_many<T: Element>(
        &self,
        arrays: &[DeviceArray<T>],
        root: usize,
    ) -> Result<Vec<Call<T>>> {
        const OP: &str = "broadcast_many";
        self.is_member(OP, "root", root)?;
        arrays.iter().try_for_each(|array| self.on_member(OP, array, root))?;
        let packed = self.pack(OP, root, arrays.iter())?;
        let shapes: Vec<Vec<usize>> = arrays.iter().map(|a| a.shape().to_vec()).collect();
        let inputs = arrays.iter().map(|a| vec![a.clone()]).collect();
        unpack(&self.broadcast(&packed, root)?, &shapes, inputs)
    }

    /// One member's arrays, one after the other.
    fn pack<'a, T: Element>(
        &self,
        op: &'static str,
        member: usize,
        arrays: impl Iterator<Item = &'a DeviceArray<T>> + Clone,
    ) -> Result<DeviceArray<T>> {
        let (device, size) = (&self.members()[member], T::DTYPE.size());
        let of = |e: Error| e.of_member(op, member, &device.to_string());
        let lens: Vec<usize> = arrays.clone().map(DeviceArray::len).collect();
        let all = lens.iter().fold(0usize, |sum, &n| sum.saturating_add(n));
        let layout = Layout::contiguous(&[all]);
        let mut buffer = RawArray::alloc(op, device, &layout, T::DTYPE).map_err(of)?;
        let mut at = 0;
        for (array, n) in arrays.zip(lens) {
            let raw = copy::contiguous(array.raw().map_err(of)?).map_err(of)?;
            let from = raw.layout.offset * size;
            buffer.copy_from(at * size, &raw.buffer, from, n * size).map_err(of)?;
            at += n;
        }
        Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE }))
    }
}

/// The parts of every result, under their shapes.
fn unpack<T: Element>(
    call: &Call<T>,
    shapes: &[Vec<usize>],
    inputs: Vec<Vec<DeviceArray<T>>>,
) -> Result<Vec<Call<T>>> {
    let mut calls = Vec::with_capacity(shapes.len());
    let mut at = 0;
    for (shape, inputs) in shapes.iter().zip(inputs) {
        let part = |whole: &DeviceArray<T>| whole.part(at, shape);
        calls.push(Call {
            completion: call.completion.clone(),
            results: call.results.iter().map(part).collect(),
            inputs,
        });
        at += count("unpack", shape)?;
    }
    Ok(calls)
}
