//! Arrays put together, repeated, rolled and flipped: by views where there is one, else by the copies of
//! `ops/copy.rs` and `ops/map.rs`.

use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::node::{Kind, Node};
use crate::expr::{Expr, IntoExpr, fuse};
use crate::layout::{Dims, Layout, Strides, check_axis, count, row_major};
use crate::ops::{copy, map};
use ndarray::{Axis, SliceInfoElem};
use std::sync::Arc;

/// Putting together and repeating.
impl<T: Element> DeviceArray<T> {
    /// Arrays or expressions one after the other along an axis; their other axes have the same lengths.
    /// An expression is computed into its place.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::Axis};
    /// let x = DeviceArray::<i32>::arange(&Device::host(), 0, 3, 1)?;
    /// let y = DeviceArray::concatenate(Axis(0), [x.expr(), &x * 10])?;
    /// assert_eq!(y.to_vec()?, [0, 1, 2, 0, 10, 20]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// No arrays; shapes that do not fit; an axis that they do not have; several devices; out of memory.
    pub fn concatenate<A: IntoExpr<T>>(
        axis: Axis,
        arrays: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let op = "concatenate";
        let parts: Vec<Expr<T>> = arrays.into_iter().map(IntoExpr::into_expr).collect();
        let parts = parts.iter().map(|p| p.node().cloned()).collect::<Result<Vec<_>>>()?;
        let Some(first) = parts.first() else {
            return Err(Error::argument(op, "no arrays to put together; give one at least"));
        };
        let axis = check_axis(op, axis, &first.shape)?;
        let mut shape = first.shape.clone();
        shape[axis] = 0;
        for part in &parts {
            let mut own = part.shape.clone();
            let fits = own.len() == shape.len() && {
                let n = std::mem::replace(&mut own[axis], shape[axis]);
                let fits = own == shape;
                shape[axis] = shape[axis].saturating_add(n);
                fits
            };
            if !fits {
                let text = format!(
                    "shapes {:?} and {:?} differ elsewhere than along axis {axis}",
                    first.shape, part.shape
                );
                return Err(Error::shape(op, text));
            }
        }
        joined::<T>(op, &parts, axis, &shape)
    }

    /// Arrays or expressions of one shape along a new axis.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::{Axis, array}};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1, 2])?;
    /// let y = DeviceArray::from_slice(&Device::host(), &[3, 4])?;
    /// let z = DeviceArray::stack(Axis(1), [&x, &y])?;
    /// assert_eq!(z.to_ndarray()?, array![[1, 3], [2, 4]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// No arrays; different shapes; an axis above their number of axes; several devices; out of memory.
    pub fn stack<A: IntoExpr<T>>(axis: Axis, arrays: impl IntoIterator<Item = A>) -> Result<Self> {
        let op = "stack";
        let parts: Vec<Expr<T>> = arrays.into_iter().map(IntoExpr::into_expr).collect();
        let parts = parts.iter().map(|p| p.node().cloned()).collect::<Result<Vec<_>>>()?;
        let Some(first) = parts.first() else {
            return Err(Error::argument(op, "no arrays to put together; give one at least"));
        };
        if let Some(other) = parts.iter().find(|p| p.shape != first.shape) {
            let text = format!("shapes {:?} and {:?} differ", first.shape, other.shape);
            return Err(Error::shape(op, text));
        }
        if axis.0 > first.shape.len() {
            let text = format!(
                "a new axis {} is above the {} axes of shape {:?}",
                axis.0,
                first.shape.len(),
                first.shape
            );
            return Err(Error::index(op, text));
        }
        // One after the other in front of the axis, which is then cut.
        let mut shape = first.shape.clone();
        shape.insert(axis.0, parts.len());
        stacked::<T>(op, &parts, axis.0, &shape)
    }

    /// Every element, or sub-array along `axis`, `times` times in a row.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::Axis};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1, 2])?;
    /// assert_eq!(x.repeat(Axis(0), 3)?.to_vec()?, [1, 1, 1, 2, 2, 2]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis that the array does not have; a shape beyond the address space; out of memory.
    pub fn repeat(&self, axis: Axis, times: usize) -> Result<Self> {
        let op = "repeat";
        let raw = self.raw()?;
        let axis = check_axis(op, axis, self.shape())?;
        let mut layout = raw.layout.clone();
        layout.shape.insert(axis + 1, times);
        layout.strides.insert(axis + 1, 0);
        let mut shape = raw.layout.shape.clone();
        shape[axis] = shape[axis].saturating_mul(times);
        spread(op, raw, layout, shape)
    }

    /// The array `reps[k]` times along axis `k`; missing leading axes count as 1, as with NumPy's
    /// `tile`.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1, 2])?;
    /// let y = x.tile(&[2, 2])?;
    /// assert_eq!(y.to_ndarray()?, array![[1, 2, 1, 2], [1, 2, 1, 2]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A shape beyond the address space; out of memory.
    pub fn tile(&self, reps: &[usize]) -> Result<Self> {
        let raw = self.raw()?;
        let rank = reps.len().max(self.ndim());
        let missing = rank - self.ndim();
        let mut layout =
            Layout { shape: Dims::new(), strides: Strides::new(), offset: raw.layout.offset };
        let mut shape = Dims::new();
        for k in 0..rank {
            let times = (k + reps.len()).checked_sub(rank).map_or(1, |k| reps[k]);
            let own = k.checked_sub(missing);
            let (d, s) = own.map_or((1, 0), |k| (raw.layout.shape[k], raw.layout.strides[k]));
            layout.shape.extend([times, d]);
            layout.strides.extend([0, s]);
            shape.push(times.saturating_mul(d));
        }
        spread("tile", raw, layout, shape)
    }

    /// The elements moved on by `shift` places along `axis`; those that leave at one end come in at the
    /// other. A negative shift moves them back.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::Axis};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1, 2, 3, 4])?;
    /// assert_eq!(x.roll(Axis(0), 1)?.to_vec()?, [4, 1, 2, 3]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis that the array does not have; out of memory.
    pub fn roll(&self, axis: Axis, shift: isize) -> Result<Self> {
        let op = "roll";
        let raw = self.raw()?;
        let axis = check_axis(op, axis, self.shape())?;
        let n = self.shape()[axis];
        let from = match n {
            0 => 0,
            _ => (n as i128 - shift as i128).rem_euclid(n as i128) as usize,
        };
        if from == 0 {
            return Ok(self.clone());
        }
        let parts = [(from, n), (0, from)].map(|(from, to)| {
            let layout = part(&raw.layout, axis, from, to);
            Node::leaf(RawArray { layout, ..raw.clone() })
        });
        joined::<T>(op, &parts, axis, self.shape())
    }

    /// The array with the order along some axes reversed; a view.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::Axis};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1, 2, 3])?;
    /// assert_eq!(x.flip(&[Axis(0)])?.to_vec()?, [3, 2, 1]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis that the array does not have, or one given twice.
    pub fn flip(&self, axes: &[Axis]) -> Result<Self> {
        let all = SliceInfoElem::Slice { start: 0, end: None, step: 1 };
        let mut parts = vec![all; self.ndim()];
        for &axis in axes {
            let k = check_axis("flip", axis, self.shape())?;
            if parts[k] != all {
                return Err(Error::index("flip", format!("axis {k} twice")));
            }
            parts[k] = SliceInfoElem::Slice { start: 0, end: None, step: -1 };
        }
        self.slice(parts)
    }
}

/// Positions `from .. to` of an axis.
fn part(layout: &Layout, axis: usize, from: usize, to: usize) -> Layout {
    let mut part = layout.clone();
    part.offset = (part.offset as isize + from as isize * part.strides[axis]) as usize;
    part.shape[axis] = to - from;
    part
}

/// A layout with the elements of `shape` in row-major order, copied into an array of it.
fn spread<T: Element>(
    op: &'static str,
    raw: &RawArray,
    layout: Layout,
    shape: Dims,
) -> Result<DeviceArray<T>> {
    count(op, &shape)?;
    let spread = copy::contiguous_copy(&RawArray { layout, ..raw.clone() })?;
    let layout = Layout { strides: row_major(&shape), shape, ..spread.layout };
    Ok(DeviceArray::from_raw(RawArray { layout, ..spread }))
}

/// The one device of all parts.
fn device_of(op: &'static str, parts: &[Arc<Node>]) -> Result<Device> {
    let mut devices = parts.iter().filter_map(|p| p.device.as_ref());
    let Some(first) = devices.next() else { return Device::best() };
    match devices.find(|&d| d != first) {
        None => Ok(first.clone()),
        Some(other) => {
            let text =
                format!("arrays live on {first} and on {other}; copy one with `to_device` first");
            Err(Error::new(ErrorKind::DeviceMismatch, op, text))
        }
    }
}

/// Writes expressions into an array, each under its layout.
pub(super) struct Pieces {
    out: crate::backend::Buffer,
    layout: Layout,
    dtype: DType,
}

impl Pieces {
    pub fn new(op: &'static str, device: &Device, shape: &[usize], dtype: DType) -> Result<Pieces> {
        let layout = Layout::contiguous(shape);
        let out = RawArray::alloc(op, device, &layout, dtype)?;
        Ok(Pieces { out, layout, dtype })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn put(&mut self, node: &Arc<Node>, target: &Layout) -> Result<()> {
        if target.len() == 0 {
            return Ok(());
        }
        // What is only moved is moved as bits.
        let (node, dtype) = match &node.kind {
            Kind::Leaf(array) if array.layout.shape == node.shape => {
                let dtype = copy::unsigned(self.dtype);
                (&Node::leaf(RawArray { dtype, ..array.clone() }), dtype)
            }
            _ => (node, self.dtype),
        };
        let shaped = node.with(node.dtype, &target.shape, Some(&self.out.device));
        map::eval_into(&fuse(&shaped)?, &mut self.out, target, dtype)
    }

    pub fn done<T: Element>(self) -> DeviceArray<T> {
        let Pieces { out, layout, dtype } = self;
        DeviceArray::from_raw(RawArray { buffer: Arc::new(out), layout, dtype })
    }
}

/// Parts one after the other along an axis.
fn joined<T: Element>(
    op: &'static str,
    parts: &[Arc<Node>],
    axis: usize,
    shape: &[usize],
) -> Result<DeviceArray<T>> {
    let mut out = Pieces::new(op, &device_of(op, parts)?, shape, T::DTYPE)?;
    let mut at = 0;
    for node in parts {
        let n = node.shape[axis];
        let target = part(out.layout(), axis, at, at + n);
        out.put(node, &target)?;
        at += n;
    }
    Ok(out.done())
}

/// Parts at positions of a new axis.
fn stacked<T: Element>(
    op: &'static str,
    parts: &[Arc<Node>],
    axis: usize,
    shape: &[usize],
) -> Result<DeviceArray<T>> {
    let mut out = Pieces::new(op, &device_of(op, parts)?, shape, T::DTYPE)?;
    for (k, node) in parts.iter().enumerate() {
        let mut target = part(out.layout(), axis, k, k + 1);
        target.shape.remove(axis);
        target.strides.remove(axis);
        out.put(node, &target)?;
    }
    Ok(out.done())
}
