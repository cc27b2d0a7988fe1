//! What users say about sorting.

use super::top_k::first;
use super::{keys, pairs, widened};
use crate::array::{DeviceArray, RawArray};
use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::node::Operand;
use crate::expr::{Expr, Input};
use crate::layout::{check_axis, count};
use crate::ops::sorted::order;
use crate::ops::{copy, map};
use ndarray::Axis;

/// A sort along one axis, made by `sorted`. It is stable: what is equal stays in its order. Floats are
/// sorted from −∞ over −0 and 0 to ∞, and after these every NaN, whatever its sign; `descending` is
/// exactly the other way round, so there NaNs come first.
///
/// ```
/// use clan::{Device, DeviceArray, ndarray::Axis};
/// let x = DeviceArray::from_slice(&Device::host(), &[3.0f32, f32::NAN, -1.0, 2.0])?;
/// assert_eq!(x.argsort(Axis(0))?.to_vec()?, [2, 3, 0, 1]);
/// assert_eq!(x.sorted(Axis(0)).descending().indices()?.to_vec()?, [1, 0, 3, 2]);
/// let names = DeviceArray::from_slice(&Device::host(), b"adcb")?;
/// let (_, names) = x.sorted(Axis(0)).with(&names)?;
/// assert_eq!(names.to_vec()?, *b"cbad");
/// # Ok::<(), clan::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a sort does nothing until a method such as `values` computes it"]
pub struct Sort<T> {
    input: Input<T>,
    axis: Axis,
    descending: bool,
}

impl<T: Element> Sort<T> {
    /// The greatest first.
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// The values in order.
    ///
    /// # Errors
    /// An axis outside the array; mistakes kept in the expression; out of memory.
    pub fn values(&self) -> Result<DeviceArray<T>> {
        sorted(self.input.operand()?, self.axis, self.descending)
    }

    /// Where along the axis the values in order come from.
    ///
    /// # Errors
    /// As [`Sort::values`]; an axis of more than 2³² elements.
    pub fn indices(&self) -> Result<DeviceArray<u64>> {
        self.values_and_indices().map(|(_, indices)| indices)
    }

    /// The values in order, and where along the axis they come from.
    ///
    /// # Errors
    /// As [`Sort::indices`].
    pub fn values_and_indices(&self) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
        with_places(self.input.operand()?, self.axis, self.descending)
    }

    /// Whether the values are in this order along the axis already. One pass over them; waits for the
    /// device.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::Axis};
    /// let x = DeviceArray::from_slice(&Device::host(), &[3, 2, 2])?;
    /// assert!(!x.is_sorted(Axis(0))?);
    /// assert!(x.sorted(Axis(0)).descending().is_sorted()?);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Sort::values`].
    pub fn is_sorted(&self) -> Result<bool> {
        let array = map::array(self.input.operand()?)?;
        order::holds("is_sorted", &array, self.axis, self.descending)
    }

    /// The first `k` values in order, and where along the axis they come from: less work than a sort
    /// where `k` is small. `descending` gives the greatest, which [`DeviceArray::top_k`] is short for.
    ///
    /// # Errors
    /// A `k` above the axis' length; as [`Sort::values`].
    pub fn first(&self, k: usize) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
        picked("first", self.input.operand()?, self.axis, self.descending, k)
    }

    /// The values in order, and another array's elements in the same order: the sort by key.
    ///
    /// # Errors
    /// As [`Sort::values`]; a payload of another shape or on another device.
    pub fn with<P: Element>(
        &self,
        payload: &DeviceArray<P>,
    ) -> Result<(DeviceArray<T>, DeviceArray<P>)> {
        let op = "sort";
        let rows = rows::<T>(op, self.input.operand()?, self.axis)?;
        let shape = self.input.operand()?.shape();
        if payload.shape() != shape {
            return Err(Error::shape(
                op,
                format!(
                    "keys of shape {shape:?} and what goes with them of {:?}; each key needs one element",
                    payload.shape()
                ),
            ));
        }
        rows.device().require_same(op, "the keys live", payload.device(), "what goes with them")?;
        let moved = payload.permute(&order_of_axes(shape.len(), self.axis, false))?;
        let values = copy::contiguous(moved.raw()?)?;
        let (keys, values) = pairs(op, &rows, self.descending, Some(&values))?;
        let (keys, values) = (DeviceArray::from_raw(keys), DeviceArray::from_raw(values));
        Ok((back(keys, self.axis)?, back(values, self.axis)?))
    }
}

/// The input in row-major order with the axis last.
fn rows<T: Element>(op: &'static str, input: Operand<'_>, axis: Axis) -> Result<RawArray> {
    let rank = input.shape().len();
    check_axis(op, axis, input.shape())?;
    count(op, input.shape())?;
    let x = map::array(input)?;
    if axis.0 + 1 == rank {
        return copy::into_contiguous(x);
    }
    let x = DeviceArray::<T>::from_raw(x);
    copy::contiguous(x.permute(&order_of_axes(rank, axis, false))?.raw()?)
}

/// What has the axis last with it where it was.
fn back<T: Element>(x: DeviceArray<T>, axis: Axis) -> Result<DeviceArray<T>> {
    let rank = x.shape().len();
    if axis.0 + 1 == rank { Ok(x) } else { x.permute(&order_of_axes(rank, axis, true)) }
}

/// The order of axes that puts the sorted one last, or that which puts it back.
fn order_of_axes(rank: usize, Axis(axis): Axis, back: bool) -> Vec<usize> {
    match back {
        false => (0..rank).filter(|&a| a != axis).chain([axis]).collect(),
        true => (0..rank)
            .map(|a| if a == axis { rank - 1 } else { a - usize::from(a > axis) })
            .collect(),
    }
}

fn sorted<T: Element>(input: Operand<'_>, axis: Axis, descending: bool) -> Result<DeviceArray<T>> {
    let op = "sort";
    back(DeviceArray::from_raw(keys(op, &rows::<T>(op, input, axis)?, descending)?), axis)
}

fn picked<T: Element>(
    op: &'static str,
    input: Operand<'_>,
    axis: Axis,
    descending: bool,
    k: usize,
) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
    let rows = DeviceArray::<T>::from_raw(rows::<T>(op, input, axis)?);
    let (values, positions) = first(op, &rows, descending, k)?;
    Ok((back(values, axis)?, back(positions, axis)?))
}

fn with_places<T: Element>(
    input: Operand<'_>,
    axis: Axis,
    descending: bool,
) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
    let op = "argsort";
    let rows = rows::<T>(op, input, axis)?;
    let len = rows.layout.shape.last().copied().unwrap_or(1);
    if u32::try_from(len.saturating_sub(1)).is_err() {
        return Err(Error::new(
            ErrorKind::TooLarge,
            op,
            format!(
                "the axis has {len} elements, and positions are sorted up to 2^32; sort parts and merge them"
            ),
        ));
    }
    let (keys, positions) = pairs(op, &rows, descending, None)?;
    Ok((back(DeviceArray::from_raw(keys), axis)?, back(widened(op, positions)?, axis)?))
}

/// Sorts of arrays and of expressions.
macro_rules! sorts {
    ($($of:ident $input:ident $operand:ident $raw:ident)*) => {$(
        impl<T: Element> $of<T> {
            /// A sort along an axis: ascending or descending, values, indices or both, with a payload.
            /// See [`Sort`].
            pub fn sorted(&self, axis: Axis) -> Sort<T> {
                Sort { input: Input::$input(self.clone()), axis, descending: false }
            }

            /// The values in ascending order along an axis, NaNs last. See [`Sort`].
            ///
            /// # Errors
            /// An axis outside the array; out of memory.
            pub fn sort(&self, axis: Axis) -> Result<DeviceArray<T>> {
                sorted(Operand::$operand(self.$raw()?), axis, false)
            }

            /// Where along an axis the values in ascending order come from. See [`Sort`].
            ///
            /// # Errors
            /// As `sort`.
            pub fn argsort(&self, axis: Axis) -> Result<DeviceArray<u64>> {
                Ok(with_places::<T>(Operand::$operand(self.$raw()?), axis, false)?.1)
            }

            /// Whether every line along an axis is in ascending order, NaNs last. See
            /// [`Sort::is_sorted`].
            ///
            /// # Errors
            /// As `sort`.
            pub fn is_sorted(&self, axis: Axis) -> Result<bool> {
                self.sorted(axis).is_sorted()
            }

            /// The `k` greatest values along an axis, the greatest first, and where they come from; NaN is
            /// greater than any number. Of equal values the first count. [`Sort::first`] gives the least.
            ///
            /// ```
            /// use clan::{Device, DeviceArray, ndarray::Axis};
            /// let x = DeviceArray::from_slice(&Device::host(), &[3, 9, 5, 9])?;
            /// let (values, places) = x.top_k(3, Axis(0))?;
            /// assert_eq!((values.to_vec()?, places.to_vec()?), (vec![9, 9, 5], vec![1, 3, 2]));
            /// # Ok::<(), clan::Error>(())
            /// ```
            ///
            /// # Errors
            /// A `k` above the axis' length; an axis outside the array; out of memory.
            pub fn top_k(
                &self,
                k: usize,
                axis: Axis,
            ) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
                picked("top_k", Operand::$operand(self.$raw()?), axis, true, k)
            }
        }
    )*};
}
sorts!(DeviceArray Array Array raw Expr Expr Node node);
