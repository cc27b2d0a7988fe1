//! Arrays split over the members of a group, and what is computed on them part by part.
//!
//! | file | what |
//! |---|---|
//! | `mod` | splitting, reading back |
//! | `replicated` | arrays that every member has |
//! | `expr`, `operators` | element-wise expressions |
//! | `reduce`, `matmul` | what needs the group in the end |
//! | `halo`, `reshard` | what needs other members' elements in the beginning |
//!
//! A part is an ordinary array on its member's device, and everything here is made of calls on parts
//! and of collectives. Split axes are counted from the last axis while expressions are built, because
//! that is how shapes are aligned when they broadcast.

mod expr;
mod halo;
mod matmul;
mod operators;
mod reduce;
mod replicated;
mod reproducible;
mod reshard;

pub use expr::{IntoSharded, ShardedExpr};
pub use halo::{Boundary, Halo};
pub use reduce::{Reduced, ShardedReduction};
pub use replicated::Replicated;

use super::{Group, Settings, chunks};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::{Error, Result};
use crate::layout::check_axis;
use crate::split;
use ndarray::{ArrayBase, ArrayD, Axis, Data, Dimension, Slice, SliceInfoElem};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a transfer from which threads of its own are worth their start.
const AT_ONCE: usize = 4 << 20;

/// Which rows of a split axis each member has.
#[derive(Clone)]
struct Split {
    group: Group,
    /// One a member, following each other.
    ranges: Arc<[Range<usize>]>,
}

impl Split {
    fn new(group: &Group, lens: &[usize]) -> Split {
        Split { group: group.clone(), ranges: split::ranges(lens).into() }
    }

    /// Length of the axis.
    fn len(&self) -> usize {
        self.ranges.last().map_or(0, |r| r.end)
    }

    fn same(&self, other: &Split) -> bool {
        self.group.members() == other.group.members() && self.ranges == other.ranges
    }

    /// Calls `f` for every member, for the host's last: other devices go on by themselves, the host
    /// computes within the call.
    fn each<U>(&self, op: &'static str, f: impl FnMut(usize) -> Result<U>) -> Result<Vec<U>> {
        self.group.each(op, f)
    }
}

impl Group {
    /// See [`Split::each`].
    fn each<U>(&self, op: &'static str, mut f: impl FnMut(usize) -> Result<U>) -> Result<Vec<U>> {
        let mut made: Vec<Option<U>> = (0..self.len()).map(|_| None).collect();
        for host in [false, true] {
            for (m, device) in self.members().iter().enumerate() {
                if device.is_host() == host {
                    let done = f(m).map_err(|e| e.of_member(op, m, &device.to_string()));
                    made[m] = Some(done?);
                }
            }
        }
        // Every member is the host or is not.
        Ok(made.into_iter().flatten().collect())
    }

    /// As [`Group::each`], for transfers of `bytes` from or to the host's memory, in which the calls wait: on a
    /// thread a member where there is something to gain.
    fn each_at_once<U: Send>(
        &self,
        op: &'static str,
        bytes: usize,
        f: impl Fn(usize) -> Result<U> + Sync,
    ) -> Result<Vec<U>> {
        let members = self.members();
        let away = members.iter().filter(|d| !d.is_host()).count();
        if away < 2 || bytes < AT_ONCE {
            return self.each(op, f);
        }
        let of = |m: usize| f(m).map_err(|e| e.of_member(op, m, &members[m].to_string()));
        chunks::at_once(0..members.len(), of).into_iter().collect()
    }

    /// The group that moves parts: an algorithm that the user named is meant for combining, and may not be
    /// made for this.
    fn mover(&self) -> Group {
        let settings = Settings { algorithm: None, ..self.settings.clone() };
        Group { shared: self.shared.clone(), settings }
    }

    /// How many of `n` rows each member gets when nobody says it.
    fn shares(&self, n: usize) -> Vec<usize> {
        match &self.settings.weights {
            Some(weights) => split::weighted(n, weights),
            None => split::even(n, self.len()),
        }
    }

    fn weighted(&self, op: &'static str, n: usize, weights: &[f64]) -> Result<Vec<usize>> {
        self.check_weights(op, weights)?;
        Ok(split::weighted(n, weights))
    }

    pub(super) fn check_weights(&self, op: &'static str, weights: &[f64]) -> Result<()> {
        if weights.len() != self.len() {
            let text = format!("{} weights for {} members", weights.len(), self.len());
            return Err(Error::argument(op, text));
        }
        if !split::are_weights(weights) {
            let text = format!(
                "weights {weights:?}; they are finite and not negative, and one of them is positive"
            );
            return Err(Error::argument(op, text));
        }
        Ok(())
    }
}

/// All of an array, but a range of one axis.
fn along(ndim: usize, axis: usize, range: Range<usize>) -> Vec<SliceInfoElem> {
    let all = SliceInfoElem::Slice { start: 0, end: None, step: 1 };
    let mut info = vec![all; ndim];
    let (start, end) = (range.start as isize, Some(range.end as isize));
    info[axis] = SliceInfoElem::Slice { start, end, step: 1 };
    info
}

/// The axes with one of them first, for collectives, which deal out rows of axis 0.
fn to_front<T: Element>(array: &DeviceArray<T>, axis: usize) -> Result<DeviceArray<T>> {
    let others = (0..array.ndim()).filter(|&a| a != axis);
    array.permute(&std::iter::once(axis).chain(others).collect::<Vec<_>>())
}

/// What [`to_front`] was before.
fn from_front<T: Element>(array: &DeviceArray<T>, axis: usize) -> Result<DeviceArray<T>> {
    let mut axes: Vec<usize> = (1..array.ndim()).collect();
    axes.insert(axis, 0);
    array.permute(&axes)
}

/// An array that is split along one axis over the members of a [`Group`].
///
/// Made by [`Group::shard`]. Expressions, reductions and products read like those of [`DeviceArray`];
/// each member computes its part, and the group's collectives bring together what has to be.
///
/// ```
/// use clan::{Device, DeviceArray, Group, ndarray::Axis};
/// let group = Group::new(vec![Device::host(); 3])?;
/// let x = DeviceArray::<f32>::arange(&Device::host(), 0.0, 12.0, 1.0)?.reshape((6, 2))?;
///
/// // Two rows a member; other splits by weights.
/// let a = group.shard(&x, Axis(0))?;
/// let b = group.shard_by(&x, Axis(0), &[3.0, 1.0, 2.0])?;
/// assert_eq!(b.ranges(), [0..3, 3..4, 4..6]);
///
/// // Computed where the parts are.
/// let y = (&a * 2.0 + &a).map(|v| v.sqrt()).eval()?;
/// assert_eq!(y.to_vec()?, (x.clone() * 3.0).sqrt().eval()?.to_vec()?);
/// assert!((&a + &b).eval().is_err_and(|e| e.to_string().contains("reshard")));
/// assert_eq!((&a + &b.reshard_like(&a)?).sum()?.item()?, 132.0);
///
/// // Arrays that all members have are operands, too.
/// let mean = a.mean_axis(Axis(0))?;
/// assert_eq!((&a - &mean).map(|v| v.abs()).sum()?.item()?, 36.0);
///
/// // Products: rows of a stay where they are.
/// let w = group.replicate(&DeviceArray::<f32>::eye(&Device::host(), 2)?)?;
/// assert_eq!(a.matmul(&w)?.to_vec()?, x.to_vec()?);
/// # Ok::<(), clan::Error>(())
/// ```
pub struct ShardedArray<T> {
    split: Split,
    axis: usize,
    shape: Vec<usize>,
    parts: Vec<DeviceArray<T>>,
}

impl<T> Clone for ShardedArray<T> {
    fn clone(&self) -> Self {
        ShardedArray {
            split: self.split.clone(),
            axis: self.axis,
            shape: self.shape.clone(),
            parts: self.parts.clone(),
        }
    }
}

impl<T: Element> fmt::Debug for ShardedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShardedArray { shape, axis, split, .. } = self;
        write!(f, "ShardedArray<{}>{shape:?} along axis {axis} as {:?}", T::DTYPE, split.ranges)
    }
}

/// Splitting arrays.
impl Group {
    /// Splits an array along an axis: a part a member. The array may be on any device. Where all
    /// members are on the array's own device, the parts are views of it.
    ///
    /// The lengths are as even as can be, or follow the weights that [`Group::with_weights`] or
    /// [`Group::balanced`] gave the group. Members may get nothing.
    ///
    /// # Errors
    /// An axis outside the array; out of memory; a failure of the array's device. What goes wrong on the
    /// way to a member is returned by whoever reads its part.
    pub fn shard<T: Element>(&self, array: &DeviceArray<T>, axis: Axis) -> Result<ShardedArray<T>> {
        let n = array.shape()[check_axis("shard", axis, array.shape())?];
        self.shard_as("shard", array, axis, &self.shares(n))
    }

    /// As [`Group::shard`], with lengths that are to each other as the weights are.
    ///
    /// # Errors
    /// As [`Group::shard`]; not one weight a member; weights that are negative, not finite or all 0.
    pub fn shard_by<T: Element>(
        &self,
        array: &DeviceArray<T>,
        axis: Axis,
        weights: &[f64],
    ) -> Result<ShardedArray<T>> {
        const OP: &str = "shard_by";
        let n = array.shape()[check_axis(OP, axis, array.shape())?];
        self.shard_as(OP, array, axis, &self.weighted(OP, n, weights)?)
    }

    /// As [`Group::shard`]: member `i` gets `counts[i]` rows of the axis.
    ///
    /// # Errors
    /// As [`Group::shard`]; counts that are not one a member, or do not add up to the axis.
    pub fn shard_v<T: Element>(
        &self,
        array: &DeviceArray<T>,
        axis: Axis,
        counts: &[usize],
    ) -> Result<ShardedArray<T>> {
        const OP: &str = "shard_v";
        let n = array.shape()[check_axis(OP, axis, array.shape())?];
        self.check_counts(OP, counts, n)?;
        self.shard_as(OP, array, axis, counts)
    }

    fn check_counts(&self, op: &'static str, counts: &[usize], n: usize) -> Result<()> {
        if counts.len() != self.len() {
            let text = format!("{} counts for {} members", counts.len(), self.len());
            return Err(Error::argument(op, text));
        }
        let sum = counts.iter().try_fold(0usize, |sum, &c| sum.checked_add(c));
        if sum != Some(n) {
            let text = format!("the counts {counts:?} do not add up to an axis of length {n}");
            return Err(Error::shape(op, text));
        }
        Ok(())
    }

    fn shard_as<T: Element>(
        &self,
        op: &'static str,
        array: &DeviceArray<T>,
        axis: Axis,
        counts: &[usize],
    ) -> Result<ShardedArray<T>> {
        let axis = axis.0;
        array.raw()?;
        let split = Split::new(self, counts);
        let home = array.device();
        let part = |m: usize| array.slice(along(array.ndim(), axis, split.ranges[m].clone()));
        let root = self.members().iter().position(|d| d == home);
        let parts = match root {
            Some(root) if self.members().iter().any(|d| d != home) => {
                let rows = to_front(array, axis)?;
                let dealt = self.mover().scatter_as(op, &rows, counts, root)?.into_results();
                dealt.iter().map(|part| from_front_pending(part, axis)).collect()
            }
            Some(_) => self.each(op, part)?,
            None => {
                let bytes = array.len() * T::DTYPE.size();
                self.each_at_once(op, bytes, |m| part(m)?.to_device(&self.members()[m]))?
            }
        };
        Ok(ShardedArray { split, axis, shape: array.shape().to_vec(), parts })
    }

    /// Splits an ndarray, or a view of one, along an axis, as [`Group::shard`] does.
    ///
    /// # Errors
    /// As [`Group::shard`].
    pub fn shard_ndarray<T: Element, S: Data<Elem = T>, D: Dimension>(
        &self,
        array: &ArrayBase<S, D>,
        axis: Axis,
    ) -> Result<ShardedArray<T>> {
        const OP: &str = "shard_ndarray";
        let shape = array.shape().to_vec();
        let axis = check_axis(OP, axis, &shape)?;
        let split = Split::new(self, &self.shares(shape[axis]));
        // Views of it may not cross threads for every kind of storage; these may.
        let array = array.view();
        let parts = self.each_at_once(OP, array.len() * T::DTYPE.size(), |m| {
            let Range { start, end } = split.ranges[m];
            let rows = Slice::new(start as isize, Some(end as isize), 1);
            DeviceArray::from_ndarray(&self.members()[m], &array.slice_axis(Axis(axis), rows))
        })?;
        Ok(ShardedArray { split, axis, shape, parts })
    }
}

/// As [`from_front`], for arrays that are still on their way: only the layout changes.
fn from_front_pending<T: Element>(array: &DeviceArray<T>, axis: usize) -> DeviceArray<T> {
    array.rearranged(|layout| {
        let (d, s) = (layout.shape.remove(0), layout.strides.remove(0));
        layout.shape.insert(axis, d);
        layout.strides.insert(axis, s);
    })
}

/// Reading.
impl<T: Element> ShardedArray<T> {
    /// Parts that fit a split, as one array.
    fn new(split: Split, axis: usize, parts: Vec<DeviceArray<T>>) -> ShardedArray<T> {
        let mut shape = parts[0].shape().to_vec();
        shape[axis] = split.len();
        debug_assert!(parts.iter().zip(&split.ranges[..]).all(|(p, r)| p.shape()[axis] == r.len()));
        ShardedArray { split, axis, shape, parts }
    }

    /// Lengths of the axes of the whole array.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of axes.
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements of the whole array.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        T::DTYPE
    }

    /// The axis along which it is split.
    pub fn axis(&self) -> Axis {
        Axis(self.axis)
    }

    /// What every member has: an array on its device.
    pub fn parts(&self) -> &[DeviceArray<T>] {
        &self.parts
    }

    /// Where the parts lie along the axis.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.split.ranges
    }

    /// The group whose members have the parts.
    pub fn group(&self) -> &Group {
        &self.split.group
    }

    /// The whole array on one device, of the group or not.
    ///
    /// # Errors
    /// Out of memory; a failure of a device.
    pub fn gather(&self, device: &Device) -> Result<DeviceArray<T>> {
        let group = self.group();
        match group.members().iter().position(|d| d == device) {
            Some(root) => {
                let rows = |part| to_front(part, self.axis);
                let rows = self.parts.iter().map(rows).collect::<Result<Vec<_>>>()?;
                let whole = group.mover().gather(&rows, root)?.into_results();
                Ok(from_front_pending(&whole[0], self.axis))
            }
            None => DeviceArray::from_shape_slice(device, self.shape(), &self.to_vec()?),
        }
    }

    /// The elements in row-major order. Waits for all members.
    ///
    /// # Errors
    /// Out of memory; a failure of a device, also of an earlier operation.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        if self.shape[..self.axis].iter().all(|&d| d == 1) {
            // The parts follow each other in memory.
            let bytes = self.len() * T::DTYPE.size();
            let part = |m: usize| self.parts[m].to_vec();
            return Ok(self.group().each_at_once("to_vec", bytes, part)?.concat());
        }
        Ok(self.to_ndarray()?.into_raw_vec_and_offset().0)
    }

    /// The whole array as an ndarray in row-major order. Waits for all members.
    ///
    /// # Errors
    /// As [`ShardedArray::to_vec`].
    pub fn to_ndarray(&self) -> Result<ArrayD<T>> {
        let bytes = self.len() * T::DTYPE.size();
        let part = |m: usize| self.parts[m].to_ndarray();
        let parts = self.group().each_at_once("to_ndarray", bytes, part)?;
        let mut whole = ArrayD::from_elem(self.shape(), T::default());
        for (part, range) in parts.iter().zip(self.ranges()) {
            let rows = Slice::new(range.start as isize, Some(range.end as isize), 1);
            whole.slice_axis_mut(Axis(self.axis), rows).assign(part);
        }
        Ok(whole)
    }

    /// The axes in reverse order: every part is transposed where it is.
    pub fn t(&self) -> ShardedArray<T> {
        ShardedArray {
            split: self.split.clone(),
            axis: self.ndim() - 1 - self.axis,
            shape: self.shape.iter().rev().copied().collect(),
            parts: self.parts.iter().map(DeviceArray::t).collect(),
        }
    }
}
