//! `put` and `scatter_add`: values to places that indices name.

use super::indexed::{IndexElement, Plan, Way, on_device};
use super::store::{Act, Store};
use super::take::MOST;
use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Element, Number};
use crate::error::{Error, Result};
use crate::expr::node::{Kind, Node};
use crate::expr::{Expr, IntoExpr};
use crate::layout::{Dims, Layout};
use crate::ops::{copy, map, run};
use ndarray::Axis;
use std::sync::Arc;

/// Writing by arrays of indices, which are what [`DeviceArray::take`] says. A write that fails on the
/// host leaves the array as it was; where an OpenCL device finds an index outside, the others have been
/// written, and the next read returns the error.
impl<T: Element> DeviceArray<T> {
    /// Sets the elements at positions in row-major order to values that broadcast to the indices. Of
    /// several values for one element the last stays, on every device.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let host = Device::host();
    /// let mut x = DeviceArray::<i32>::zeros(&host, (2, 3))?;
    /// let i = DeviceArray::from_slice(&host, &[1i32, -1, 1])?;
    /// x.put(&i, DeviceArray::from_slice(&host, &[7, 8, 9])?)?;
    /// assert_eq!(x.to_vec()?, [0, 9, 0, 0, 0, 8]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Values that do not broadcast to the indices; else as [`DeviceArray::take`].
    pub fn put<I: IndexElement>(
        &mut self,
        indices: impl IntoExpr<I>,
        values: impl IntoExpr<T>,
    ) -> Result<()> {
        self.scatter(indices).put(values)
    }

    /// Sets along `axis` the element that the index at each place names: the counterpart of
    /// [`DeviceArray::take_along_axis`], with indices that broadcast to the array's other axes, and
    /// values that broadcast to them. Of several values for one element the last stays.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::{Axis, array}};
    /// let host = Device::host();
    /// let mut x = DeviceArray::<i32>::zeros(&host, (2, 3))?;
    /// let i = DeviceArray::from_ndarray(&host, &array![[2u32], [0]])?;
    /// x.put_along_axis(Axis(1), &i, 5)?;
    /// assert_eq!(x.to_vec()?, [0, 0, 5, 5, 0, 0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not fit; else as [`DeviceArray::put`].
    pub fn put_along_axis<I: IndexElement>(
        &mut self,
        axis: Axis,
        indices: impl IntoExpr<I>,
        values: impl IntoExpr<T>,
    ) -> Result<()> {
        self.scatter(indices).along_axis(axis).put(values)
    }

    /// Values to places that indices name, in the way that the methods of [`Scatter`] choose.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::{Axis, array}};
    /// let host = Device::host();
    /// let mut x = DeviceArray::<f32>::zeros(&host, (3, 2))?;
    /// let rows = DeviceArray::from_slice(&host, &[2i64, 0, 2])?;
    /// let y = DeviceArray::from_ndarray(&host, &array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]])?;
    /// x.scatter(&rows).axis(Axis(0)).add(&y)?;
    /// assert_eq!(x.to_vec()?, [3.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    #[must_use = "nothing is written until `put` or `add`"]
    pub fn scatter<I: IndexElement>(&mut self, indices: impl IntoExpr<I>) -> Scatter<'_, T, I> {
        Scatter { indices: indices.into_expr(), way: Way::Flat, reproducible: false, array: self }
    }
}

impl<T: Number> DeviceArray<T> {
    /// Adds values to the elements at positions in row-major order; every value counts, also where
    /// several are for one element. See [`Scatter::add`].
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let host = Device::host();
    /// let mut x = DeviceArray::<f32>::zeros(&host, 3)?;
    /// x.scatter_add(DeviceArray::from_slice(&host, &[2u32, 0, 2])?, 1.5)?;
    /// assert_eq!(x.to_vec()?, [1.5, 0.0, 3.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scatter::add`].
    pub fn scatter_add<I: IndexElement>(
        &mut self,
        indices: impl IntoExpr<I>,
        values: impl IntoExpr<T>,
    ) -> Result<()> {
        self.scatter(indices).add(values)
    }
}

/// A write by indices that has not been made yet: see [`DeviceArray::scatter`].
pub struct Scatter<'a, T: Element, I> {
    array: &'a mut DeviceArray<T>,
    indices: Expr<I>,
    way: Way,
    reproducible: bool,
}

impl<T: Element, I: IndexElement> Scatter<'_, T, I> {
    /// Indices name sub-arrays at positions of an axis: the counterpart of
    /// [`DeviceArray::take_axis`].
    pub fn axis(mut self, axis: Axis) -> Self {
        self.way = Way::Axis(axis);
        self
    }

    /// Indices name elements of the line along an axis that they lie in: the counterpart of
    /// [`DeviceArray::take_along_axis`].
    pub fn along_axis(mut self, axis: Axis) -> Self {
        self.way = Way::Along(axis);
        self
    }

    /// Sums of floats get the same bits every time, on every device: they are exact and rounded once.
    /// That takes 44 bytes of memory an element of the array (272 for `f64`) and several times as long.
    /// Sums of integers are so anyway.
    pub fn reproducible(mut self) -> Self {
        self.reproducible = true;
        self
    }

    /// Sets the elements. Of several values for one element the last stays.
    ///
    /// # Errors
    /// An axis that the array does not have; shapes that do not fit; an index outside; another device;
    /// out of memory.
    pub fn put(self, values: impl IntoExpr<T>) -> Result<()> {
        let values = values.into_expr();
        let op = if let Way::Along(_) = self.way { "put_along_axis" } else { "put" };
        self.store(op, Act::Put, values.node()?)
    }

    /// Adds to the elements. Integers wrap. Floats are added in the order in which the device gets to
    /// them, so where more than two numbers meet the last bits may differ from run to run, unless
    /// [`Scatter::reproducible`] is asked for. On the host the order is always the same.
    ///
    /// `f16` and `bf16` are added in `f32` and rounded once at the end. These, and integers of 8 and 16
    /// bits, are added in a copy of the array in 32 bits.
    ///
    /// # Errors
    /// As [`Scatter::put`]; a type that the device does not compute in.
    #[allow(clippy::should_implement_trait, reason = "it writes, and says whether it could")]
    pub fn add(self, values: impl IntoExpr<T>) -> Result<()>
    where
        T: Number,
    {
        let values = values.into_expr();
        let act = if self.reproducible && T::DTYPE.is_float() { Act::AddExactly } else { Act::Add };
        self.store("scatter_add", act, values.node()?)
    }

    fn store(self, op: &'static str, act: Act, values: &Arc<Node>) -> Result<()> {
        let device = self.array.raw()?.device().clone();
        let raw = self.array.raw_mut();
        let dtype = if act == Act::Put { T::DTYPE } else { sums(T::DTYPE) };
        let call = Call { op, act, indices: self.indices.node()?, way: self.way, dtype };
        // Shapes first: nothing is copied in vain.
        let shape = call.plan(&device, &Layout::contiguous(&raw.layout.shape))?.shape;
        if act != Act::Put {
            device.require(op, dtype)?;
        }
        let values = Node::cast(values.clone(), dtype);
        let values = evaluated(op, &on_device(op, &values, &values.shape, &device)?, &shape)?;
        if shape.contains(&0) {
            return Ok(());
        }
        if dtype != T::DTYPE {
            let mut wide = map::eval_row_major(&Node::cast(Node::leaf(raw.clone()), dtype))?;
            call.write(&device, &mut wide, &values)?;
            *raw = map::eval_row_major(&Node::cast(Node::leaf(wide), T::DTYPE))?;
            return Ok(());
        }
        // Views, expressions, the indices and the values may see the same memory.
        if !raw.layout.is_contiguous() || Arc::get_mut(&mut raw.buffer).is_none() {
            *raw = copy::contiguous_copy(raw)?;
        }
        call.write(&device, raw, &values)
    }
}

struct Call<'a> {
    op: &'static str,
    act: Act,
    indices: &'a Arc<Node>,
    way: Way,
    /// What is stored, or added in.
    dtype: DType,
}

impl Call<'_> {
    fn plan(&self, device: &Device, layout: &Layout) -> Result<Plan> {
        Plan::new(self.op, device, layout, self.indices, self.way, true)
    }

    /// Writes into an array in row-major order that nobody else sees.
    fn write(&self, device: &Device, target: &mut RawArray, values: &RawArray) -> Result<()> {
        let &Call { op, act, dtype, .. } = self;
        let indexed = self.plan(device, &target.layout)?.indexed;
        let (origin, places) = (target.layout.offset, target.layout.len());
        let Some(out) = Arc::get_mut(&mut target.buffer) else {
            return Err(Error::argument(op, "the array is shared while it is written"));
        };
        run(Store { op, act, out, origin, places, dtype, indexed, values, most: MOST }, device)
    }
}

/// The type that elements are added in.
fn sums(dtype: DType) -> DType {
    match dtype {
        DType::I8 | DType::I16 => DType::I32,
        DType::U8 | DType::U16 => DType::U32,
        other => other.compute(),
    }
}

/// The values in row-major order under `shape`, or the only one.
fn evaluated(op: &'static str, values: &Arc<Node>, shape: &Dims) -> Result<RawArray> {
    let layout = Layout::contiguous(&values.shape).broadcast(op, shape)?;
    if values.shape.iter().all(|&d| d == 1) {
        return map::eval(values);
    }
    match &values.kind {
        Kind::Leaf(array) if array.layout.shape == values.shape => {
            let layout = array.layout.broadcast(op, shape)?;
            copy::contiguous(&RawArray { layout, ..array.clone() })
        }
        _ => {
            let evaluated = map::eval(values)?;
            let layout = evaluated.layout.broadcast(op, &layout.shape)?;
            copy::contiguous(&RawArray { layout, ..evaluated })
        }
    }
}
