//! Linear algebra: Cholesky, LU with partial pivoting, triangular systems, QR. Kernels:
//! `cl/linalg.cl` for what is small, `cl/matmul.cl` for the rest.
//!
//! Each algorithm is written once, over parts of a matrix ([`block`]): halves of halves, down to
//! leaves ([`leaf`]) that each backend has for itself. What lies between is matrix products, taken
//! from the matrix in place. Nothing waits until the end, where one word tells what went wrong.

mod block;
mod cholesky;
mod leaf;
mod lu;
mod panel;
mod plain;
mod plain_qr;
mod qr;
pub(crate) mod shape;
mod sides;
mod solve;
mod status;
#[cfg(all(test, feature = "opencl"))]
mod tests;
mod triangular;

use crate::array::{DeviceArray, RawArray};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::ops::copy;
use block::Work;
use leaf::{Keep, Side, run};
pub use solve::{Diagonal, Lu, Triangle};
use status::{Status, owned};
use std::ops::{Add, Mul};

/// The types of linear algebra: `f32` and `f64`. Half floats are cast first.
pub trait Real: Float + Add<Output = Self> + Mul<Output = Self> {}
impl Real for f32 {}
impl Real for f64 {}

/// Factorisations and linear systems.
///
/// All work on the last two axes; leading axes number matrices, which are worked on one after the
/// other. On an OpenCL device they wait for the result where they have to know how it went:
/// [`DeviceArray::cholesky`], [`DeviceArray::lu`] and what uses it, and
/// [`DeviceArray::solve_triangular`] with [`Diagonal::NonUnit`].
impl<T: Real> DeviceArray<T> {
    /// The Cholesky factor of a symmetric positive definite matrix: the lower triangular L with
    /// L·Lᵀ = self, zeros above the diagonal. Only the lower triangle of `self` is read.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let host = Device::host();
    /// let a = DeviceArray::from_ndarray(&host, &array![[4.0f32, 2.0], [2.0, 5.0]])?;
    /// assert_eq!(a.cholesky()?.to_ndarray()?, array![[2.0, 0.0], [1.0, 2.0]].into_dyn());
    /// let b = DeviceArray::from_ndarray(&host, &array![[1.0f32, 2.0], [2.0, 1.0]])?;
    /// let error = b.cholesky().unwrap_err().to_string();
    /// assert!(error.contains("leading minor of order 2"), "{error}");
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A matrix that is not square; one that is not positive definite within the rounding of the
    /// type, or has NaN in the lower triangle: the message names the first leading minor that is not
    /// positive. A type that the device does not compute in; out of memory.
    pub fn cholesky(&self) -> Result<DeviceArray<T>> {
        const OP: &str = "cholesky";
        let a = self.raw()?;
        let n = square(OP, a)?;
        let device = a.device().clone();
        device.require(OP, T::DTYPE)?;
        let copied = copy::contiguous_copy(a)?;
        let layout = copied.layout.clone();
        let mut w = Work { op: OP, buffer: copied.buffer, dtype: T::DTYPE, offset: 0, row: n };
        let count = if n == 0 { 0 } else { layout.len() / (n * n) };
        let leaf = shape::leaf(&device, T::DTYPE);
        let mut statuses = Vec::with_capacity(count);
        for t in 0..count {
            w.offset = t * n * n;
            let mut status = Status::new(OP, &device)?;
            cholesky::factor(&mut w, &mut status, n, leaf)?;
            let (dtype, at, keep) = (T::DTYPE, w.offset, Keep::Lower);
            let out = w.owned()?;
            let side =
                Side { op: OP, dtype, out, at, rows: n, columns: n, from: None, keep, scale: None };
            run(side, &device)?;
            statuses.push(status);
        }
        for (t, status) in statuses.iter().enumerate() {
            if let (Some(i), _) = status.read()? {
                return Err(Error::argument(
                    OP,
                    format!(
                        "{} is not positive definite: its leading minor of order {} is not positive, or has NaN; `lu` and `qr` take every matrix",
                        which(a, t),
                        i + 1
                    ),
                ));
            }
        }
        Ok(DeviceArray::from_raw(RawArray { buffer: w.buffer, layout, dtype: T::DTYPE }))
    }

    /// The QR factorisation in reduced form: `self = Q·R` with Q of m × k elements whose columns are
    /// orthonormal, R of k × n elements with zeros below the diagonal, k the smaller of m and n. The
    /// signs on R's diagonal are what Householder's reflections give: either. With NaN or infinities
    /// in a matrix, factors have NaN.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let host = Device::host();
    /// let a = DeviceArray::from_ndarray(&host, &array![[3.0f64, 1.0], [4.0, 2.0], [0.0, 2.0]])?;
    /// let (q, r) = a.qr()?;
    /// assert_eq!((q.shape(), r.shape()), (&[3, 2][..], &[2, 2][..]));
    /// let off = (q.matmul(&r)? - &a).abs().max()?.item()?;
    /// assert!(off < 1e-14);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer axes than two; a type that the device does not compute in; out of memory.
    pub fn qr(&self) -> Result<(DeviceArray<T>, DeviceArray<T>)> {
        const OP: &str = "qr";
        let a = self.raw()?;
        matrix(OP, a)?;
        a.device().require(OP, T::DTYPE)?;
        let (q, r) = qr::factor(OP, a)?;
        Ok((DeviceArray::from_raw(q), DeviceArray::from_raw(r)))
    }
}

/// The rows and columns of matrices.
fn matrix(op: &'static str, a: &RawArray) -> Result<[usize; 2]> {
    match *a.layout.shape.as_slice() {
        [.., m, n] => Ok([m, n]),
        _ => Err(Error::shape(
            op,
            format!("shape {:?} is no matrix; two axes or more are needed", a.layout.shape),
        )),
    }
}

/// The rows of square matrices.
fn square(op: &'static str, a: &RawArray) -> Result<usize> {
    let [m, n] = matrix(op, a)?;
    if m == n {
        return Ok(n);
    }
    Err(Error::shape(
        op,
        format!(
            "shape {:?}: the matrix has {m} rows and {n} columns; it must be square. `qr` takes others",
            a.layout.shape
        ),
    ))
}

/// How errors speak of matrix `t` of an array.
fn which(a: &RawArray, t: usize) -> String {
    match a.layout.shape.len() {
        0..=2 => "the matrix".to_string(),
        _ => format!("matrix {t} of the array"),
    }
}

/// The identity as one matrix.
fn identity(op: &'static str, like: &RawArray, n: usize) -> Result<RawArray> {
    let (device, dtype) = (like.device(), like.dtype);
    let mut buffer = match dtype {
        crate::DType::F64 => status::filled(device, n * n, 0f64)?,
        _ => status::filled(device, n * n, 0f32)?,
    };
    if n > 0 {
        let out = owned(op, &mut buffer)?;
        let keep = Keep::UnitLower;
        let side =
            Side { op, dtype, out, at: 0, rows: n, columns: n, from: None, keep, scale: None };
        run(side, device)?;
    }
    Ok(RawArray { buffer, layout: crate::layout::Layout::contiguous(&[n, n]), dtype })
}
