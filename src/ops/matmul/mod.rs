//! `matmul`: products of matrices, of batches of them, and with vectors. Kernels: `cl/matmul.cl`,
//! `cl/matvec.cl`.
//!
//! A call becomes one [`Gemm`], made here after the check: lengths, strides, types, precision and
//! epilogue. [`host`] and [`opencl`] take it from there; `opencl::choose` picks the kernel.

pub(crate) mod gemm;
mod host;
#[cfg(feature = "opencl")]
pub(crate) mod opencl;
#[cfg(feature = "opencl")]
mod point;
pub(crate) mod shapes;
#[cfg(feature = "opencl")]
pub(crate) mod tuning;
#[cfg(feature = "opencl")]
mod units;

use super::{copy, map, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::element::{DType, Element, Number, Scalar};
use crate::error::{Error, Result};
use crate::expr::fused::{self, Fused};
use crate::expr::node::Node;
use crate::expr::{Expr, fits, fuse, replace};
use crate::layout::{Layout, coalesce, row_major};
use gemm::{Batch, Epilogue, Gemm, Matrix};
use shapes::Shapes;
use std::sync::Arc;

/// How exact a product of `f32` matrices has to be: permissions to be less exact, not demands. A
/// device without units for a shorter type computes in `Full`, and so do all other element types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As exact as products and sums in the element type: the error of an element is at most about
    /// k · ε · Σ|a||b| over its k products. On matrix units long products of `f32` take 22 of the 24
    /// bits of an operand; over the whole result the error stays below that of fused multiply-adds.
    #[default]
    Full,
    /// Operands may be cut to 11 significant bits (TensorFloat-32), sums are `f32`.
    Tf32,
    /// Operands may be rounded to `bf16`, 8 significant bits, sums are `f32`.
    Bf16,
    /// Operands may be rounded to `f16`: 11 significant bits, magnitudes beyond 65,504 become
    /// infinite and below 2⁻²⁴ zero; sums are `f32`.
    Half,
}

impl<T: Number> DeviceArray<T> {
    /// The matrix product, as NumPy's `matmul`: of the last two axes, while leading axes number
    /// matrices and broadcast. A first operand of one axis is a row, a second one a column; the
    /// result is without that axis. A product over no elements is 0.
    ///
    /// Integers wrap in their type; half floats are multiplied and summed in `f32` and rounded
    /// once. See [`DeviceArray::product`] for scaled products, sums and epilogues.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let host = Device::host();
    /// let a = DeviceArray::from_ndarray(&host, &array![[1.0f32, 2.0], [3.0, 4.0]])?;
    /// let b = DeviceArray::from_ndarray(&host, &array![[5.0f32], [6.0]])?;
    /// assert_eq!(a.matmul(&b)?.to_ndarray()?, array![[17.0], [39.0]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inner lengths that differ; leading axes that do not broadcast; an operand without axes;
    /// arrays of two devices; an element type that the device does not compute in; out of memory.
    pub fn matmul(&self, other: &DeviceArray<T>) -> Result<DeviceArray<T>> {
        self.product(other).eval()
    }

    /// A matrix product with more to it: `map(alpha · self·other + beta · c)`, in one pass.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let host = Device::host();
    /// let x = DeviceArray::from_ndarray(&host, &array![[1.0f32, 2.0], [3.0, 4.0]])?;
    /// let w = DeviceArray::from_ndarray(&host, &array![[1.0f32, -1.0], [0.5, 0.0]])?;
    /// let bias = DeviceArray::from_slice(&host, &[-3.0f32, 2.0])?;
    /// let y = x.product(&w).add(1.0, &bias).map(|p| p.maximum(0.0)).eval()?;
    /// assert_eq!(y.to_ndarray()?, array![[0.0, 1.0], [2.0, 0.0]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    pub fn product<'a>(&'a self, other: &'a DeviceArray<T>) -> Product<'a, T> {
        Product {
            a: self,
            b: other,
            alpha: None,
            add: None,
            maps: Vec::new(),
            precision: Precision::Full,
        }
    }
}

type Map<'a, T> = Box<dyn FnOnce(Expr<T>) -> Expr<T> + 'a>;

/// A matrix product to be computed, made by [`DeviceArray::product`].
#[must_use = "a product does nothing until `eval` or `into_array` computes it"]
pub struct Product<'a, T: Element> {
    a: &'a DeviceArray<T>,
    b: &'a DeviceArray<T>,
    alpha: Option<T>,
    add: Option<(T, &'a DeviceArray<T>)>,
    maps: Vec<Map<'a, T>>,
    precision: Precision,
}

impl<T: Element> std::fmt::Debug for Product<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Product<{}>({:?} · {:?})", T::DTYPE, self.a.shape(), self.b.shape())
    }
}

impl<'a, T: Number> Product<'a, T> {
    /// Scales the product; 1 when not called.
    pub fn alpha(mut self, alpha: T) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// Adds `beta · c`. `c` broadcasts to the result's shape: a bias for each column, one for each
    /// row as a column of length 1, or a matrix of the result's shape. `c` is read even where
    /// `beta` is 0, so that NaN stays NaN.
    pub fn add(mut self, beta: T, c: &'a DeviceArray<T>) -> Self {
        self.add = Some((beta, c));
        self
    }

    /// Applies an expression to every element of the result before it is stored; other arrays in
    /// it broadcast against the result. Called again, it applies to what the call before gave.
    pub fn map(mut self, f: impl FnOnce(Expr<T>) -> Expr<T> + 'a) -> Self {
        self.maps.push(Box::new(f));
        self
    }

    /// Permits to be less exact; see [`Precision`].
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Computes the product into a new array in row-major order.
    ///
    /// # Errors
    /// As [`DeviceArray::matmul`]; `c` or an epilogue that does not broadcast to the result's
    /// shape; mistakes kept in the epilogue.
    pub fn eval(self) -> Result<DeviceArray<T>> {
        let plan = self.plan()?;
        let layout = Layout::contiguous(&plan.shapes.out);
        let mut raw = RawArray {
            buffer: Arc::new(RawArray::alloc(OP, plan.a.device(), &layout, T::DTYPE)?),
            layout,
            dtype: T::DTYPE,
        };
        plan.run(&mut raw)?;
        Ok(DeviceArray::from_raw(raw))
    }

    /// Computes the product into an existing array of the result's shape. Its memory is used again
    /// where nobody else sees it; clones and views of it, the operands among them, keep the old
    /// elements.
    ///
    /// # Errors
    /// As [`Product::eval`]; an array of another shape or device. It is then unchanged, unless the
    /// device failed.
    pub fn into_array(self, out: &mut DeviceArray<T>) -> Result<()> {
        let plan = self.plan()?;
        if out.shape() != plan.shapes.out.as_slice() {
            return Err(Error::shape(
                OP,
                format!(
                    "the product has shape {:?}, the array to write {:?}; they must be the same",
                    plan.shapes.out,
                    out.shape()
                ),
            ));
        }
        plan.a.device().require_same(
            OP,
            "the operands live",
            out.device(),
            "the array to write",
        )?;
        let raw = out.raw_mut();
        let sound = raw.buffer.settled().is_ok() && raw.layout.is_contiguous();
        if sound && Arc::get_mut(&mut raw.buffer).is_some() {
            return plan.run(raw);
        }
        let layout = Layout::contiguous(&plan.shapes.out);
        let buffer = Arc::new(RawArray::alloc(OP, plan.a.device(), &layout, T::DTYPE)?);
        let mut fresh = RawArray { buffer, layout, dtype: T::DTYPE };
        plan.run(&mut fresh)?;
        *raw = fresh;
        Ok(())
    }

    /// Checks everything and builds the epilogue.
    fn plan(self) -> Result<Plan> {
        let (a, b) = (self.a.raw()?, self.b.raw()?);
        let shapes = shapes::check(OP, a, b)?;
        let device = a.device();
        device.require(OP, T::DTYPE)?;
        let plain = self.alpha.is_none() && self.add.is_none() && self.maps.is_empty();
        let mut epilogue = None;
        if !plain {
            let (node, id) = Node::result(device, &shapes.out, T::DTYPE);
            let mut p: Expr<T> = Expr::from_node(Ok(node));
            if let Some(alpha) = self.alpha {
                p *= alpha;
            }
            if let Some((beta, c)) = self.add {
                p += c * beta;
            }
            for f in self.maps {
                p = f(p);
            }
            let root = map::as_shape(p.node()?, OP, &shapes.out, device)?;
            Fused::new(&root).check_epilogue(OP, device, Some(id))?;
            epilogue = Some((root, id));
        }
        Ok(Plan {
            a: a.clone(),
            b: b.clone(),
            shapes,
            dtype: T::DTYPE,
            precision: if T::DTYPE == DType::F32 { self.precision } else { Precision::Full },
            epilogue,
        })
    }
}

/// What errors name.
const OP: &str = "matmul";

/// A product that has been checked.
struct Plan {
    a: RawArray,
    b: RawArray,
    shapes: Shapes,
    dtype: DType,
    #[cfg_attr(not(feature = "opencl"), expect(dead_code, reason = "the host computes in full"))]
    precision: Precision,
    /// The expression that is stored, and the number of the result in it.
    epilogue: Option<(Arc<Node>, u64)>,
}

impl Plan {
    /// Computes into `out`: row-major, and its buffer shared with nobody.
    fn run(self, out: &mut RawArray) -> Result<()> {
        let device = self.a.device().clone();
        if out.layout.len() == 0 {
            return Ok(());
        }
        if self.shapes.k == 0 {
            let zero = Node::scalar(Scalar::F32(0.0), DType::F32);
            let zero = Node::cast(zero, self.dtype.compute());
            return self.finish(zero.with(self.dtype, &self.shapes.out, Some(&device)), out);
        }
        let fused = self.epilogue.as_ref().map(|(root, _)| Fused::new(root));
        let unused = |f: &Fused| !f.insts.iter().any(|i| matches!(i.op, fused::Op::Result(_)));
        if let (Some((root, _)), true) = (&self.epilogue, fused.as_ref().is_some_and(unused)) {
            return self.finish(root.clone(), out);
        }
        // The host's products come from a crate that has no epilogue and no half floats.
        let direct = match device.is_host() {
            true => fused.is_none() && self.dtype.compute() == self.dtype,
            false => fused.as_ref().is_none_or(|f| fits(f, &device, gemm::ARGUMENT_BYTES)),
        };
        if direct {
            let epilogue = fused
                .as_ref()
                .zip(self.epilogue.as_ref())
                .map(|(fused, e)| Epilogue { fused, id: e.1 });
            #[cfg(feature = "opencl")]
            if let Some(unit) = units::choose(&self.shapes, self.precision, &self.a, &self.b)? {
                let (a, b) = units::operands(&unit, &self.a, &self.b)?;
                let mut gemm = self.gemm(&a, &b, out, epilogue)?;
                gemm.unit = Some(unit);
                return run(gemm, &device);
            }
            let (a, b) = (gathered(&self.a)?, gathered(&self.b)?);
            #[cfg(feature = "opencl")]
            let a = opencl::arrange(a, &self.shapes)?;
            return run(self.gemm(&a, &b, out, epilogue)?, &device);
        }
        // In two passes; half floats are rounded by the second.
        let compute = self.dtype.compute();
        let mut temporary = RawArray {
            buffer: Arc::new(RawArray::alloc(OP, &device, &out.layout, compute)?),
            layout: Layout::contiguous(&out.layout.shape),
            dtype: compute,
        };
        let operand = |x: &RawArray| match device.is_host() && x.dtype != compute {
            true => map::eval(&Node::cast(Node::leaf(x.clone()), compute)),
            false => gathered(x),
        };
        let (a, b) = (operand(&self.a)?, operand(&self.b)?);
        run(self.gemm(&a, &b, &mut temporary, None)?, &device)?;
        let value = Node::leaf(temporary);
        self.finish(value.with(self.dtype, &self.shapes.out, Some(&device)), out)
    }

    /// Stores the epilogue of `value`, in the place of the product.
    fn finish(&self, value: Arc<Node>, out: &mut RawArray) -> Result<()> {
        let root = match &self.epilogue {
            Some((root, id)) => replace(root, *id, &value)?,
            None => value,
        };
        let fused = fuse(&root)?;
        let (layout, dtype) = (out.layout.clone(), out.dtype);
        map::eval_into(&fused, owned(out)?, &layout, dtype)
    }

    fn gemm<'a>(
        &self,
        a: &'a RawArray,
        b: &'a RawArray,
        out: &'a mut RawArray,
        epilogue: Option<Epilogue<'a>>,
    ) -> Result<Gemm<'a>> {
        let Shapes { m, n, k, ref batch, .. } = self.shapes;
        let (dtype, out_dtype, offset) = (a.dtype, out.dtype, out.layout.offset);
        let strides = [
            shapes::batch_strides(&a.layout, batch),
            shapes::batch_strides(&b.layout, batch),
            row_major(batch).iter().map(|&s| s * (m * n) as isize).collect(),
        ];
        let (lengths, strides) = coalesce(batch, &strides);
        let batch = lengths
            .iter()
            .enumerate()
            .map(|(k, &len)| Batch { len, a: strides[0][k], b: strides[1][k], out: strides[2][k] })
            .collect();
        let (a_row, a_column) = shapes::matrix_strides(&a.layout, true);
        let (b_row, b_column) = shapes::matrix_strides(&b.layout, false);
        let mut gemm = Gemm {
            op: OP,
            m,
            n,
            k,
            batch,
            a: Matrix {
                buffer: Some(&a.buffer),
                offset: a.layout.offset,
                row: a_row,
                column: a_column,
            },
            b: Matrix {
                buffer: Some(&b.buffer),
                offset: b.layout.offset,
                row: b_row,
                column: b_column,
            },
            dtype,
            out: owned(out)?,
            out_offset: offset,
            out_row: n as isize,
            out_dtype,
            #[cfg(feature = "opencl")]
            unit: None,
            epilogue,
            subtract: false,
        };
        gemm.simplify();
        Ok(gemm)
    }
}

/// An operand as kernels read it fast: a copy of a large one whose elements are neighbours along
/// neither of its last axes. One that broadcasts stays as it is, for the copy would be larger.
fn gathered(x: &RawArray) -> Result<RawArray> {
    const LARGE: usize = 1 << 16;
    let Layout { shape, strides, .. } = &x.layout;
    let scattered = shape.iter().zip(strides).rev().take(2).all(|(&d, &s)| d > 1 && s != 1);
    let dense = shape.iter().zip(strides).all(|(&d, &s)| d == 1 || s != 0);
    match !x.device().is_host() && scattered && dense && x.layout.len() >= LARGE {
        true => copy::contiguous_copy(x),
        false => Ok(x.clone()),
    }
}

fn owned(array: &mut RawArray) -> Result<&mut Buffer> {
    Arc::get_mut(&mut array.buffer)
        .ok_or_else(|| Error::argument(OP, "the array to write is shared after it was made"))
}

/// `a · b` as a new array. Without checks; see [`subtract`].
pub(crate) fn multiply(op: &'static str, a: RawArray, b: RawArray) -> Result<RawArray> {
    let (device, dtype) = (a.device().clone(), a.dtype);
    let layout = Layout::contiguous(&[a.layout.shape[0], b.layout.shape[1]]);
    let mut buffer = Arc::new(RawArray::alloc(op, &device, &layout, dtype)?);
    pair(op, a, b, &mut buffer, &layout, false)?;
    Ok(RawArray { buffer, layout, dtype })
}

/// `out −= a · b`, where `out` is the part `layout` of a buffer; both operands may be parts of it
/// that lie beside.
///
/// In full precision and without checks: the operands are matrices of `f32` or `f64` of the buffer's
/// device, their inner lengths agree and are not zero, the columns of `out` are neighbours, and
/// nobody else holds the buffer.
pub(crate) fn subtract(
    op: &'static str,
    a: RawArray,
    b: RawArray,
    out: &mut Arc<Buffer>,
    layout: &Layout,
) -> Result<()> {
    pair(op, a, b, out, layout, true)
}

fn pair(
    op: &'static str,
    a: RawArray,
    b: RawArray,
    out: &mut Arc<Buffer>,
    layout: &Layout,
    subtract: bool,
) -> Result<()> {
    let (m, n, k) = (layout.shape[0], layout.shape[1], a.layout.shape[1]);
    if m * n == 0 {
        return Ok(());
    }
    let (device, dtype) = (a.device().clone(), a.dtype);
    #[cfg(feature = "opencl")]
    let shapes = Shapes { m, n, k, batch: crate::layout::Dims::new(), out: layout.shape.clone() };
    #[cfg(feature = "opencl")]
    let unit = units::choose(&shapes, Precision::Full, &a, &b)?;
    #[cfg(feature = "opencl")]
    let (a, b) = {
        // Here the holds that the caller gave end.
        let (a, b) = (a, b);
        match unit {
            Some(unit) => units::operands(&unit, &a, &b)?,
            None => (gathered(&a)?, gathered(&b)?),
        }
    };
    // Operands that are parts of the result's buffer give up their hold of it.
    let part = |x: RawArray, out: &Arc<Buffer>| -> (Option<Arc<Buffer>>, Layout) {
        (Some(x.buffer).filter(|buffer| !Arc::ptr_eq(buffer, out)), x.layout)
    };
    let ((a, la), (b, lb)) = (part(a, out), part(b, out));
    fn matrix<'a>(buffer: &'a Option<Arc<Buffer>>, layout: &Layout) -> Matrix<'a> {
        let Layout { strides, offset, .. } = layout;
        Matrix { buffer: buffer.as_deref(), offset: *offset, row: strides[0], column: strides[1] }
    }
    let mut gemm = Gemm {
        op,
        m,
        n,
        k,
        batch: Vec::new(),
        a: matrix(&a, &la),
        b: matrix(&b, &lb),
        dtype,
        out: Arc::get_mut(out)
            .ok_or_else(|| Error::argument(op, "the array to write is shared"))?,
        out_offset: layout.offset,
        out_row: layout.strides[0],
        out_dtype: dtype,
        #[cfg(feature = "opencl")]
        unit,
        epilogue: None,
        subtract,
    };
    gemm.simplify();
    run(gemm, &device)
}
