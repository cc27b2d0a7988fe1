//! Arrays that live on a device.

use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element, Float, Number, Scalar};
use crate::error::{Error, Result};
use crate::expr::node::{Kind, Node};
use crate::expr::{Expr, IntoExpr};
use crate::layout::{Layout, count};
use crate::ops::{copy, map};
use ndarray::{ArrayBase, ArrayD, Axis, Data, Dimension, IntoDimension, IxDyn, SliceInfoElem};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// An array without its type: what expressions and operations work on.
#[derive(Clone)]
pub(crate) struct RawArray {
    pub buffer: Arc<Buffer>,
    pub layout: Layout,
    pub dtype: DType,
}

impl RawArray {
    pub fn device(&self) -> &Device {
        &self.buffer.device
    }

    /// The elements of an array in the host's memory that has no gaps.
    ///
    /// # Safety
    /// `T` has the size of the elements, and takes any bits that they have. Nobody writes them: so it
    /// is for whoever holds the array.
    pub unsafe fn host_values<T>(&self) -> &[T] {
        match self.buffer.host().filter(|_| self.layout.len() > 0) {
            None => &[],
            // SAFETY: as promised; blocks are aligned for every element type.
            Some(block) => unsafe {
                let start = block.ptr().cast::<T>().add(self.layout.offset);
                std::slice::from_raw_parts(start, self.layout.len())
            },
        }
    }

    /// Memory for `layout`, which starts at 0 and has no gaps.
    pub fn alloc(
        op: &'static str,
        device: &Device,
        layout: &Layout,
        dtype: DType,
    ) -> Result<Buffer> {
        Self::alloc_elements(op, device, layout, count(op, &layout.shape)?, dtype)
    }

    /// Memory for a layout that starts at 0 and may have gaps.
    #[cfg(feature = "opencl")]
    pub fn alloc_reaching(
        op: &'static str,
        device: &Device,
        layout: &Layout,
        dtype: DType,
    ) -> Result<Buffer> {
        count(op, &layout.shape)?;
        let first = layout.shape.first().zip(layout.strides.first());
        let n = first.map_or(1, |(&d, &s)| d.saturating_mul(s.unsigned_abs()));
        Self::alloc_elements(op, device, layout, n, dtype)
    }

    fn alloc_elements(
        op: &'static str,
        device: &Device,
        layout: &Layout,
        n: usize,
        dtype: DType,
    ) -> Result<Buffer> {
        let bytes = n.checked_mul(dtype.size()).filter(|&b| b <= isize::MAX as usize);
        let bytes = bytes.ok_or_else(|| {
            Error::new(
                crate::ErrorKind::TooLarge,
                op,
                format!(
                    "an array of shape {:?} and type {dtype} has more bytes than the address space; use a smaller shape",
                    layout.shape
                ),
            )
        })?;
        Buffer::new(device, bytes)
    }
}

/// An n-dimensional array on one [`Device`].
///
/// Arrays are values: a clone or a view shares memory until one of them is written, and then only
/// the writer changes. Slicing, reshaping (where strides allow), permuting and broadcasting make
/// views without copying. Arithmetic builds an [`Expr`]; calls that compute return a `Result`.
///
/// ```
/// use clan::{Device, DeviceArray};
/// let x = DeviceArray::<f32>::arange(&Device::host(), 0.0, 6.0, 1.0)?.reshape((2, 3))?;
/// let y = (&x * 2.0 + 1.0).eval()?;
/// assert_eq!(y.to_vec()?, [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
/// # Ok::<(), clan::Error>(())
/// ```
pub struct DeviceArray<T> {
    raw: RawArray,
    /// Set when an assigning operator failed; see [`DeviceArray::take_error`].
    failed: Option<Error>,
    _type: PhantomData<fn() -> T>,
}

impl<T> Clone for DeviceArray<T> {
    fn clone(&self) -> Self {
        DeviceArray { raw: self.raw.clone(), failed: self.failed.clone(), _type: PhantomData }
    }
}

impl<T: Element> fmt::Debug for DeviceArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceArray<{}>{:?} on {}", T::DTYPE, self.shape(), self.device())
    }
}

pub(crate) fn bytes<T: Element>(slice: &[T]) -> &[u8] {
    // SAFETY: element types have no padding, and any of their bytes may be read.
    unsafe { std::slice::from_raw_parts(slice.as_ptr().cast(), size_of_val(slice)) }
}

/// `n` elements of zero bytes; an error, rather than an abort, when there is no memory for them.
fn zeroed<T: Element>(op: &'static str, n: usize) -> Result<Vec<T>> {
    let none = || {
        Error::new(
            crate::ErrorKind::OutOfMemory,
            op,
            format!(
                "the host has no memory for {n} elements of {}; work in parts, as with `slice`",
                T::DTYPE
            ),
        )
    };
    let layout = std::alloc::Layout::array::<T>(n).map_err(|_| none())?;
    if layout.size() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not empty.
    let start = unsafe { std::alloc::alloc_zeroed(layout) };
    if start.is_null() {
        return Err(none());
    }
    // SAFETY: allocated by the global allocator for `n` elements of `T`, and for every element type
    // zero bytes are a value.
    Ok(unsafe { Vec::from_raw_parts(start.cast(), n, n) })
}

fn shape_of(shape: impl IntoDimension) -> Vec<usize> {
    shape.into_dimension().slice().to_vec()
}

/// Making arrays.
impl<T: Element> DeviceArray<T> {
    /// A vector of `n` elements in memory for as many.
    #[cfg(feature = "opencl")]
    pub(crate) fn of_buffer(buffer: Buffer, n: usize) -> DeviceArray<T> {
        let layout = Layout::contiguous(&[n]);
        Self::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE })
    }

    pub(crate) fn from_raw(raw: RawArray) -> DeviceArray<T> {
        debug_assert_eq!(raw.dtype, T::DTYPE);
        DeviceArray { raw, failed: None, _type: PhantomData }
    }

    /// Copies an ndarray of any rank, order and stride to `device`; has finished reading it when
    /// it returns.
    ///
    /// # Errors
    /// Out of memory; an array above the device's largest buffer.
    pub fn from_ndarray<S: Data<Elem = T>, D: Dimension>(
        device: &Device,
        array: &ArrayBase<S, D>,
    ) -> Result<Self> {
        let shape = array.shape();
        // Memory order is kept where the array has no gaps, so nothing is rearranged on the way.
        if let Some(slice) = array.as_slice_memory_order() {
            let mut layout =
                Layout { shape: shape.into(), strides: array.strides().into(), offset: 0 };
            // The slice starts at the lowest address; with negative strides the first element is
            // further on. Axes of length one have strides that mean nothing.
            for (&d, s) in shape.iter().zip(&mut layout.strides) {
                if d <= 1 {
                    *s = 0;
                } else if *s < 0 {
                    layout.offset += (d - 1) * s.unsigned_abs();
                }
            }
            if array.is_empty() {
                layout = Layout::contiguous(shape);
            }
            return Self::upload(device, layout, slice);
        }
        let packed = array.as_standard_layout();
        Self::upload(device, Layout::contiguous(shape), packed.as_slice().unwrap_or(&[]))
    }

    fn upload(device: &Device, layout: Layout, data: &[T]) -> Result<Self> {
        let mut buffer = RawArray::alloc("from_ndarray", device, &layout, T::DTYPE)?;
        buffer.upload(0, bytes(data))?;
        Ok(Self::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE }))
    }

    /// Copies a slice to `device`, as an array of one axis.
    ///
    /// # Errors
    /// As [`DeviceArray::from_ndarray`].
    pub fn from_slice(device: &Device, data: &[T]) -> Result<Self> {
        Self::upload(device, Layout::contiguous(&[data.len()]), data)
    }

    /// Copies `data`, in row-major order, to `device` under a shape.
    ///
    /// # Errors
    /// When `data` has another length than the shape; else as [`DeviceArray::from_ndarray`].
    pub fn from_shape_slice(
        device: &Device,
        shape: impl IntoDimension,
        data: &[T],
    ) -> Result<Self> {
        let shape = shape_of(shape);
        if count("from_shape_slice", &shape)? != data.len() {
            return Err(Error::shape(
                "from_shape_slice",
                format!("shape {shape:?} does not hold {} elements", data.len()),
            ));
        }
        Self::upload(device, Layout::contiguous(&shape), data)
    }

    /// An array of `shape` with every element `value`.
    ///
    /// # Errors
    /// Out of memory; more elements than the device can hold.
    pub fn full(device: &Device, shape: impl IntoDimension, value: T) -> Result<Self> {
        let shape = shape_of(shape);
        count("full", &shape)?;
        let node = Node {
            kind: Kind::Scalar(value.to_scalar()),
            dtype: T::DTYPE,
            shape: shape.into(),
            device: Some(device.clone()),
        };
        Expr::from_node(Ok(Arc::new(node))).eval()
    }

    /// An array of zeros (`false` for `bool`).
    ///
    /// # Errors
    /// As [`DeviceArray::full`].
    pub fn zeros(device: &Device, shape: impl IntoDimension) -> Result<Self> {
        Self::full(device, shape, T::default())
    }

    /// An array of ones (`true` for `bool`).
    ///
    /// # Errors
    /// As [`DeviceArray::full`].
    pub fn ones(device: &Device, shape: impl IntoDimension) -> Result<Self> {
        let shape = shape_of(shape);
        count("ones", &shape)?;
        let one = Node {
            kind: Kind::Scalar(Scalar::U8(1)),
            dtype: DType::U8,
            shape: shape.into(),
            device: Some(device.clone()),
        };
        Expr::from_node(Ok(Node::cast(Arc::new(one), T::DTYPE))).eval()
    }
}

impl<T: Number> DeviceArray<T> {
    /// The values `start`, `start + step`, … before `end`, as NumPy's `arange`.
    ///
    /// # Errors
    /// A step of zero or NaN; bounds that are not finite; else as [`DeviceArray::full`].
    pub fn arange(device: &Device, start: T, end: T, step: T) -> Result<Self> {
        let n = steps(start.to_scalar(), end.to_scalar(), step.to_scalar())?;
        count("arange", &[n])?;
        // In the type of sums: the half floats cannot count far.
        let wide = |v: T| -> Expr<T::Sum> { v.into_expr().cast() };
        let positions = Expr::<u64>::positions(device, &[n]).cast::<T::Sum>();
        (positions * wide(step) + wide(start)).cast::<T>().eval()
    }

    /// The square matrix of `n` rows with ones on its diagonal and zeros elsewhere.
    ///
    /// # Errors
    /// As [`DeviceArray::full`].
    pub fn eye(device: &Device, n: usize) -> Result<Self> {
        count("eye", &[n, n])?;
        let position = Expr::<u64>::positions(device, &[n, n]);
        let rows = n as u64;
        (&position / rows).eq(&position % rows).cast::<T>().eval()
    }
}

impl<T: Float> DeviceArray<T> {
    /// `n` values from `start` to `end`, both included, at equal distances.
    ///
    /// # Errors
    /// As [`DeviceArray::full`].
    pub fn linspace(device: &Device, start: T, end: T, n: usize) -> Result<Self> {
        let position = Expr::<u64>::positions(device, &[n]);
        let last = n.saturating_sub(1) as u64;
        // In the type of sums: the half floats cannot count far.
        let wide = |v: T| -> Expr<T::Sum> { v.into_expr().cast() };
        // The step is a 0-d expression: computed with the rest.
        let parts: Expr<T::Sum> = last.max(1).into_expr().cast();
        let step = (wide(end) - wide(start)) / parts;
        let inner = (position.cast::<T::Sum>() * step + wide(start)).cast::<T>();
        let is_last = position.eq(last);
        let value = if n > 1 { is_last.if_else(end, inner) } else { inner };
        value.eval()
    }
}

/// How many steps `arange` makes.
fn steps(start: Scalar, end: Scalar, step: Scalar) -> Result<usize> {
    let integer = |s: Scalar| match s {
        Scalar::I8(v) => Some(i128::from(v)),
        Scalar::I16(v) => Some(i128::from(v)),
        Scalar::I32(v) => Some(i128::from(v)),
        Scalar::I64(v) => Some(i128::from(v)),
        Scalar::U8(v) => Some(i128::from(v)),
        Scalar::U16(v) => Some(i128::from(v)),
        Scalar::U32(v) => Some(i128::from(v)),
        Scalar::U64(v) => Some(i128::from(v)),
        _ => None,
    };
    let float = |s: Scalar| match s {
        Scalar::F32(v) => f64::from(v),
        Scalar::F64(v) => v,
        _ => f64::NAN,
    };
    let zero_step = || Error::argument("arange", "the step is zero; any other step ends");
    if let (Some(start), Some(end), Some(step)) = (integer(start), integer(end), integer(step)) {
        if step == 0 {
            return Err(zero_step());
        }
        let span = if step > 0 { end - start } else { start - end };
        return Ok(
            usize::try_from((span.max(0) + step.abs() - 1) / step.abs()).unwrap_or(usize::MAX)
        );
    }
    let (start, end, step) = (float(start), float(end), float(step));
    if step == 0.0 {
        return Err(zero_step());
    }
    let n = ((end - start) / step).ceil();
    if !n.is_finite() || !start.is_finite() {
        return Err(Error::argument(
            "arange",
            format!("from {start} to {end} by {step} has no length; use finite values"),
        ));
    }
    Ok(n.max(0.0) as usize)
}

/// Reading.
impl<T: Element> DeviceArray<T> {
    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.raw.layout.shape
    }

    /// Signed strides in elements.
    pub fn strides(&self) -> &[isize] {
        &self.raw.layout.strides
    }

    /// Number of axes.
    pub fn ndim(&self) -> usize {
        self.shape().len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.raw.layout.len()
    }

    /// True when there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the array lives.
    pub fn device(&self) -> &Device {
        self.raw.device()
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        T::DTYPE
    }

    /// True when the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.raw.layout.is_contiguous()
    }

    /// What operations read. An array that a group still fills is waited for.
    pub(crate) fn raw(&self) -> Result<&RawArray> {
        match &self.failed {
            Some(e) => Err(e.clone()),
            None => self.raw.buffer.settled().map(|()| &self.raw),
        }
    }

    /// Elements from one on under a shape, of an array in row-major order that may be pending.
    pub(crate) fn part(&self, at: usize, shape: &[usize]) -> Self {
        let mut layout = Layout::contiguous(shape);
        layout.offset = self.raw.layout.offset + at;
        Self::from_raw(RawArray { layout, ..self.raw.clone() })
    }

    /// For operations that set every element: what an earlier failure left is gone after them.
    pub(crate) fn raw_mut(&mut self) -> &mut RawArray {
        self.failed = None;
        &mut self.raw
    }

    /// The array as an expression.
    pub fn expr(&self) -> Expr<T> {
        Expr::from_node(self.raw().map(|raw| Node::leaf(raw.clone())))
    }

    /// The elements in row-major order. Waits for the device.
    ///
    /// # Errors
    /// A failure of the device, also of an earlier operation that the array comes from.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let raw = copy::contiguous(self.raw()?)?;
        let mut data: Vec<T> = zeroed("to_vec", raw.layout.len())?;
        let n = size_of_val(data.as_slice());
        // SAFETY: element types have no padding; for `bool` the bytes are normalised below before
        // anything reads them as `bool`.
        let dst = unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast::<u8>(), n) };
        let result = raw.buffer.download(raw.layout.offset * T::DTYPE.size(), dst);
        if T::DTYPE == DType::Bool {
            for b in dst {
                *b = u8::from(*b != 0);
            }
        }
        result.map(|()| data)
    }

    /// The array as an ndarray in row-major order. Waits for the device.
    ///
    /// # Errors
    /// As [`DeviceArray::to_vec`].
    pub fn to_ndarray(&self) -> Result<ArrayD<T>> {
        ArrayD::from_shape_vec(IxDyn(self.shape()), self.to_vec()?)
            .map_err(|e| Error::shape("to_ndarray", e.to_string()))
    }

    /// The only element. Waits for the device.
    ///
    /// # Errors
    /// When the array has another number of elements than one; else as [`DeviceArray::to_vec`].
    pub fn item(&self) -> Result<T> {
        match self.to_vec_if_one()? {
            Some(v) => Ok(v),
            None => Err(Error::shape(
                "item",
                format!(
                    "shape {:?} has {} elements, not one; use to_ndarray",
                    self.shape(),
                    self.len()
                ),
            )),
        }
    }

    fn to_vec_if_one(&self) -> Result<Option<T>> {
        if self.len() == 1 { Ok(self.to_vec()?.pop()) } else { Ok(None) }
    }

    /// Takes the error that a failed assigning operator (`x += …`) left behind. The array is then
    /// what it was before that operator.
    pub fn take_error(&mut self) -> Option<Error> {
        self.failed.take()
    }
}

/// Views: other ways to see the same memory, without copying.
impl<T: Element> DeviceArray<T> {
    fn view(&self, layout: Result<Layout>) -> Result<Self> {
        let raw = self.raw()?;
        let mut layout = layout?;
        if layout.len() == 0 {
            // An empty view starts nowhere: strides of empty arrays may lead anywhere.
            layout.offset = 0;
        }
        Ok(Self::from_raw(RawArray { buffer: raw.buffer.clone(), layout, dtype: raw.dtype }))
    }

    /// A part of the array, as ndarray's `slice` with `s![…]`: ranges, steps (negative ones walk
    /// backwards), single indices that drop their axis, and `NewAxis`.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::s};
    /// let x = DeviceArray::<i32>::arange(&Device::host(), 0, 10, 1)?;
    /// assert_eq!(x.slice(s![2..8;-2])?.to_vec()?, [7, 5, 3]);
    /// assert!(x.slice(s![..11]).is_err());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index or an end outside its axis; a step of 0; more parts than axes.
    pub fn slice(&self, info: impl AsRef<[SliceInfoElem]>) -> Result<Self> {
        self.view(self.raw.layout.slice("slice", info.as_ref()))
    }

    /// The same elements in row-major order under another shape: a view where the strides allow
    /// it, else a copy.
    ///
    /// # Errors
    /// A shape with another number of elements; out of memory.
    pub fn reshape(&self, shape: impl IntoDimension) -> Result<Self> {
        let shape = shape_of(shape);
        if count("reshape", &shape)? != self.len() {
            return Err(Error::shape(
                "reshape",
                format!(
                    "shape {:?} has {} elements, {shape:?} another number",
                    self.shape(),
                    self.len()
                ),
            ));
        }
        if let Some(layout) = self.raw.layout.reshape(&shape) {
            return self.view(Ok(layout));
        }
        let raw = copy::contiguous(self.raw()?)?;
        Ok(Self::from_raw(RawArray {
            layout: Layout {
                shape: shape.as_slice().into(),
                strides: crate::layout::row_major(&shape),
                offset: raw.layout.offset,
            },
            ..raw
        }))
    }

    /// The axes in another order: axis `k` of the result is axis `axes[k]`.
    ///
    /// # Errors
    /// When `axes` is no permutation.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        self.view(self.raw.layout.permute("permute", axes))
    }

    /// The same elements by a layout that only orders axes anew. Does not wait for an array that a group
    /// still fills.
    pub(crate) fn rearranged(&self, change: impl FnOnce(&mut Layout)) -> Self {
        let mut view = self.clone();
        change(&mut view.raw.layout);
        view
    }

    /// The axes in reverse order.
    pub fn t(&self) -> Self {
        let mut view = self.clone();
        view.raw.layout.shape.reverse();
        view.raw.layout.strides.reverse();
        view
    }

    /// Repeats axes of length 1, and adds leading ones, to fit `shape`; the copies share memory.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn broadcast(&self, shape: impl IntoDimension) -> Result<Self> {
        self.view(self.raw.layout.broadcast("broadcast", &shape_of(shape)))
    }

    /// The sub-array at position `index` of `axis`, without that axis.
    ///
    /// # Errors
    /// An axis or index outside the array.
    pub fn index_axis(&self, axis: Axis, index: usize) -> Result<Self> {
        let layout = &self.raw.layout;
        match layout.shape.get(axis.0) {
            Some(&d) if index < d => {
                let mut layout = layout.clone();
                layout.offset =
                    (layout.offset as isize + index as isize * layout.strides[axis.0]) as usize;
                layout.shape.remove(axis.0);
                layout.strides.remove(axis.0);
                self.view(Ok(layout))
            }
            _ => Err(Error::index(
                "index_axis",
                format!("index {index} of axis {} is outside shape {:?}", axis.0, layout.shape),
            )),
        }
    }

    /// Adds an axis of length 1 before `axis`.
    ///
    /// # Errors
    /// When `axis` is above the number of axes.
    pub fn insert_axis(&self, axis: Axis) -> Result<Self> {
        let mut layout = self.raw.layout.clone();
        if axis.0 > layout.shape.len() {
            return Err(Error::index(
                "insert_axis",
                format!(
                    "axis {} is above the {} axes of shape {:?}",
                    axis.0,
                    self.ndim(),
                    self.shape()
                ),
            ));
        }
        layout.shape.insert(axis.0, 1);
        layout.strides.insert(axis.0, 0);
        self.view(Ok(layout))
    }

    /// The array in row-major order without gaps: itself where it is that already, else a copy.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_contiguous(&self) -> Result<Self> {
        Ok(Self::from_raw(copy::contiguous(self.raw()?)?))
    }

    /// The array on another device; itself (shared) when it lives there already.
    ///
    /// # Errors
    /// Out of memory; a failure of either device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if device == self.device() {
            self.raw()?;
            return Ok(self.clone());
        }
        // Between two backends the bytes pass through the host; from or to the host directly.
        let raw = copy::contiguous(self.raw()?)?;
        let layout = Layout::contiguous(self.shape());
        let mut buffer = RawArray::alloc("to_device", device, &layout, T::DTYPE)?;
        let (from, n) = (raw.layout.offset * T::DTYPE.size(), self.len() * T::DTYPE.size());
        if let Some(block) = raw.buffer.host() {
            // SAFETY: the layout lies inside the block.
            buffer.upload(0, unsafe { std::slice::from_raw_parts(block.ptr().add(from), n) })?;
        } else if let Some(block) = buffer.host_mut() {
            // SAFETY: allocated for this layout just now.
            raw.buffer
                .download(from, unsafe { std::slice::from_raw_parts_mut(block.ptr_mut(), n) })?;
        } else if n > 0 {
            let mut staged: Vec<u8> = zeroed("to_device", n)?;
            raw.buffer.download(from, &mut staged)?;
            buffer.upload(0, &staged)?;
        }
        Ok(Self::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE }))
    }
}

/// Writing.
impl<T: Element> DeviceArray<T> {
    /// Sets every element to the value of an expression that broadcasts to the array's shape.
    ///
    /// # Errors
    /// A shape that does not fit; another device; out of memory. The array is then unchanged.
    #[track_caller]
    pub fn assign(&mut self, value: impl IntoExpr<T>) -> Result<()> {
        let value = value.into_expr();
        let shaped = map::as_shape(value.node()?, "assign", self.shape(), self.device())?;
        self.raw = map::eval(&shaped)?;
        self.failed = None;
        Ok(())
    }

    /// Sets every element to `value`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fill(&mut self, value: T) -> Result<()> {
        self.assign(value)
    }

    /// A part of the array to write to; see [`DeviceArray::slice`] for what `info` is.
    ///
    /// # Errors
    /// As [`DeviceArray::slice`].
    pub fn slice_mut(
        &mut self,
        info: impl AsRef<[SliceInfoElem]>,
    ) -> Result<DeviceArrayViewMut<'_, T>> {
        self.raw()?;
        let parts = info.as_ref().to_vec();
        let layout = self.raw.layout.slice("slice_mut", &parts)?;
        Ok(DeviceArrayViewMut { array: self, parts, layout })
    }

    /// For the assigning operators, which cannot return an error.
    #[track_caller]
    pub(crate) fn assign_or_keep(&mut self, value: Expr<T>) {
        if let Err(e) = self.assign(value) {
            self.failed = Some(e);
        }
    }
}

/// A part of a [`DeviceArray`] that can be written.
pub struct DeviceArrayViewMut<'a, T: Element> {
    array: &'a mut DeviceArray<T>,
    parts: Vec<SliceInfoElem>,
    layout: Layout,
}

impl<T: Element> DeviceArrayViewMut<'_, T> {
    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// Sets the part to the value of an expression that broadcasts to its shape. Clones and views
    /// of the array, and expressions built from it before, keep the old elements.
    ///
    /// # Errors
    /// A shape that does not fit; another device; out of memory. The array is then unchanged.
    #[track_caller]
    pub fn assign(&mut self, value: impl IntoExpr<T>) -> Result<()> {
        let value = value.into_expr();
        let array = &mut *self.array;
        let shaped =
            map::as_shape(value.node()?, "assign", &self.layout.shape, array.raw.device())?;
        let fused = crate::expr::fuse(&shaped)?;
        drop(shaped);
        if self.layout.len() == 0 {
            return Ok(());
        }
        // The expression may read this very buffer: it then counts as shared, and is copied. So is
        // a broadcast array, whose elements share memory.
        let dense =
            !array.raw.layout.strides.iter().zip(array.shape()).any(|(&s, &d)| s == 0 && d > 1);
        if !dense || Arc::get_mut(&mut array.raw.buffer).is_none() {
            array.raw = copy::contiguous_copy(&array.raw)?;
            self.layout = array.raw.layout.slice("assign", &self.parts)?;
        }
        match Arc::get_mut(&mut array.raw.buffer) {
            Some(buffer) => map::eval_into(&fused, buffer, &self.layout, T::DTYPE),
            None => Err(Error::argument("assign", "the array is shared after it was copied")),
        }
    }

    /// Sets every element of the part to `value`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fill(&mut self, value: T) -> Result<()> {
        self.assign(value)
    }
}
