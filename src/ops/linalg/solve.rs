//! Linear systems: what `solve`, `solve_triangular`, `inverse` and the factors of LU do with
//! right-hand sides.

use super::leaf::{Gather, Keep, Side, run};
use super::lu::{Factors, Together};
use super::sides::Sides;
use super::status::Status;
use super::triangular::{self, Triangular};
use super::{Real, identity, lu, matrix, shape, square, which};
use crate::array::{DeviceArray, RawArray};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::ops::copy;
use std::sync::Arc;

/// Which side of the diagonal a triangular matrix has its elements on; the other is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Triangle {
    /// On the diagonal and below it.
    Lower,
    /// On the diagonal and above it.
    Upper,
}

/// Whether the diagonal of a triangular matrix is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagonal {
    /// It is not, and counts as ones.
    Unit,
    /// It is.
    NonUnit,
}

/// Linear systems.
impl<T: Real> DeviceArray<T> {
    /// The LU factorisation with partial pivoting, P·self = L·U, of a matrix of any shape: the pivot
    /// of a column is the first of its greatest magnitudes. A singular matrix has one too. NaN are
    /// pivots only where there is nothing else, and spread.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let host = Device::host();
    /// let a = DeviceArray::from_ndarray(&host, &array![[0.0f32, 2.0], [4.0, 6.0]])?;
    /// let lu = a.lu()?;
    /// assert_eq!(lu.permutation()?.to_vec()?, [1, 0]);
    /// assert_eq!(lu.u()?.to_vec()?, [4.0, 6.0, 0.0, 2.0]);
    /// assert_eq!(lu.determinant()?.item()?, -8.0);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer axes than two; a type that the device does not compute in; out of memory.
    pub fn lu(&self) -> Result<Lu<T>> {
        self.factored("lu")
    }

    fn factored(&self, op: &'static str) -> Result<Lu<T>> {
        let a = self.raw()?;
        matrix(op, a)?;
        a.device().require(op, T::DTYPE)?;
        let Factors { lu, orders, singular } = lu::factor(op, a, Together::IfProven)?;
        Ok(Lu { factors: DeviceArray::from_raw(lu), orders, singular })
    }

    /// Solves `self · x = b`, by LU with partial pivoting. `b` is a vector, or a matrix with a system
    /// in each column; leading axes of both broadcast. To solve for several `b` one after the other,
    /// keep [`DeviceArray::lu`].
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let host = Device::host();
    /// let a = DeviceArray::from_ndarray(&host, &array![[2.0f64, 1.0], [1.0, 3.0]])?;
    /// let b = DeviceArray::from_slice(&host, &[4.0f64, 7.0])?;
    /// assert_eq!(a.solve(&b)?.to_vec()?, [1.0, 2.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A matrix that is not square; a pivot that is exactly zero, whose column the message names;
    /// another number of rows in `b`; arrays of two devices; a type that the device does not compute
    /// in; out of memory.
    pub fn solve(&self, b: &DeviceArray<T>) -> Result<DeviceArray<T>> {
        const OP: &str = "solve";
        let (a, rhs) = (self.raw()?, b.raw()?);
        square(OP, a)?;
        Sides::check(OP, a, rhs)?;
        self.factored(OP)?.solve(b)
    }

    /// The inverse of a square matrix. To solve a system, [`DeviceArray::solve`] is faster and more
    /// exact.
    ///
    /// # Errors
    /// As [`DeviceArray::solve`].
    pub fn inverse(&self) -> Result<DeviceArray<T>> {
        const OP: &str = "inverse";
        let n = square(OP, self.raw()?)?;
        let lu = self.factored(OP)?;
        let one = DeviceArray::from_raw(identity(OP, self.raw()?, n)?);
        lu.solved(OP, &one)
    }

    /// Solves `self · x = b` for a triangular matrix, of which only the named parts are read. `b` is as
    /// for [`DeviceArray::solve`].
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Diagonal, Triangle, ndarray::array};
    /// let host = Device::host();
    /// let a = DeviceArray::from_ndarray(&host, &array![[2.0f32, 9.0], [1.0, 4.0]])?;
    /// let b = DeviceArray::from_slice(&host, &[2.0f32, 9.0])?;
    /// let x = a.solve_triangular(&b, Triangle::Lower, Diagonal::NonUnit)?;
    /// assert_eq!(x.to_vec()?, [1.0, 2.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A zero on the diagonal, whose index the message names; else as [`DeviceArray::solve`].
    pub fn solve_triangular(
        &self,
        b: &DeviceArray<T>,
        triangle: Triangle,
        diagonal: Diagonal,
    ) -> Result<DeviceArray<T>> {
        const OP: &str = "solve_triangular";
        let (a, b) = (self.raw()?, b.raw()?);
        square(OP, a)?;
        let sides = Sides::check(OP, a, b)?;
        let device = a.device().clone();
        device.require(OP, T::DTYPE)?;
        // All right-hand sides, broadcast, in the order of the result.
        let mut b = b.clone();
        b.layout = Layout {
            shape: sides.wide(),
            strides: sides.b_layout(&b.layout).broadcast_strides(&sides.wide()),
            offset: b.layout.offset,
        };
        let mut x = sides.work(OP, copy::contiguous_copy(&b)?);
        let leaf = shape::leaf(&device, T::DTYPE);
        let strides = &a.layout.strides;
        let rank = strides.len();
        let mut statuses = Vec::new();
        for (t, at) in sides.matrices(&a.layout).into_iter().enumerate() {
            x.offset = t * sides.n * sides.k;
            let mut status = Status::new(OP, &device)?;
            let triangular = Triangular {
                array: Some(a),
                at,
                row: strides[rank - 2],
                column: strides[rank - 1],
                lower: triangle == Triangle::Lower,
                unit: diagonal == Diagonal::Unit,
                base: 0,
            };
            let part = [0, 0, sides.n, sides.k];
            triangular::solve(&mut x, part, triangular, &mut status, leaf)?;
            statuses.push(status);
        }
        if diagonal == Diagonal::NonUnit {
            for (t, status) in statuses.iter().enumerate() {
                if let (Some(i), _) = status.read()? {
                    return Err(Error::argument(
                        OP,
                        format!("{}: element ({i}, {i}) of the diagonal is zero", which(a, t)),
                    ));
                }
            }
        }
        Ok(sides.result(x))
    }
}

/// The factors of P·A = L·U, made by [`DeviceArray::lu`]. Leading axes number matrices.
#[derive(Clone, Debug)]
pub struct Lu<T: Element> {
    /// L below the diagonal, U on and above it.
    factors: DeviceArray<T>,
    orders: Vec<Vec<u32>>,
    singular: Vec<Option<usize>>,
}

impl<T: Real> Lu<T> {
    /// Rows, columns and matrices.
    fn lengths(&self) -> [usize; 3] {
        match *self.factors.shape() {
            [.., m, n] => [m, n, self.orders.len()],
            _ => [0, 0, 0],
        }
    }

    fn side(&self, keep: Keep) -> Result<DeviceArray<T>> {
        const OP: &str = "lu";
        let raw = self.factors.raw()?;
        let device = raw.device().clone();
        let [m, n, count] = self.lengths();
        let k = m.min(n);
        let (rows, columns) = if keep == Keep::Upper { (k, n) } else { (m, k) };
        let mut shape = raw.layout.shape.clone();
        let rank = shape.len();
        (shape[rank - 2], shape[rank - 1]) = (rows, columns);
        let layout = Layout::contiguous(&shape);
        let mut buffer = RawArray::alloc(OP, &device, &layout, T::DTYPE)?;
        for t in 0..if rows * columns == 0 { 0 } else { count } {
            let place = super::leaf::Place { at: t * m * n, row: n };
            let side = Side {
                op: OP,
                dtype: T::DTYPE,
                out: &mut buffer,
                at: t * rows * columns,
                rows,
                columns,
                from: Some((&raw.buffer, place)),
                keep,
                scale: None,
            };
            run(side, &device)?;
        }
        Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE }))
    }

    /// L: m × k elements, ones on the diagonal, zeros above it, nothing greater than 1 in magnitude.
    ///
    /// # Errors
    /// Out of memory.
    pub fn l(&self) -> Result<DeviceArray<T>> {
        self.side(Keep::UnitLower)
    }

    /// U: k × n elements, zeros below the diagonal.
    ///
    /// # Errors
    /// Out of memory.
    pub fn u(&self) -> Result<DeviceArray<T>> {
        self.side(Keep::Upper)
    }

    /// The order of the rows: row `i` of P·A is row `permutation[i]` of A.
    ///
    /// # Errors
    /// Out of memory.
    pub fn permutation(&self) -> Result<DeviceArray<u64>> {
        let order: Vec<u64> = self.orders.iter().flatten().map(|&i| i.into()).collect();
        let shape = self.factors.shape();
        let shape = &shape[..shape.len() - 1];
        DeviceArray::from_shape_slice(self.factors.device(), shape, &order)
    }

    /// The determinant of every matrix, a 0-d array for one; infinite or 0 where it has no place in
    /// the type.
    ///
    /// # Errors
    /// A matrix that is not square; out of memory.
    pub fn determinant(&self) -> Result<DeviceArray<T>> {
        const OP: &str = "determinant";
        let raw = self.factors.raw()?;
        let n = square(OP, raw)?;
        let lead = &raw.layout.shape[..raw.layout.shape.len() - 2];
        let mut diagonals = raw.clone();
        diagonals.layout = Layout {
            shape: [self.orders.len(), n].as_slice().into(),
            strides: [(n * n) as isize, n as isize + 1].as_slice().into(),
            offset: raw.layout.offset,
        };
        // On the host, because not every device computes in `f64`.
        let values = DeviceArray::<T>::from_raw(diagonals).to_device(&crate::Device::host())?;
        let values = values.expr().cast::<f64>().eval()?.to_vec()?;
        let products: Vec<f64> = self
            .orders
            .iter()
            .enumerate()
            .map(|(t, order)| {
                // Mantissa and exponent apart, so that the order of the factors does not matter.
                let (mut product, mut exponent) = (if is_odd(order) { -1.0 } else { 1.0 }, 0i64);
                for &x in &values[t * n..][..n] {
                    product *= x;
                    if product.is_normal() {
                        let e = ((product.to_bits() >> 52) & 0x7ff) as i64 - 1023;
                        product *= 2f64.powi(-(e as i32).clamp(-1022, 1022));
                        exponent += e.clamp(-1022, 1022);
                    }
                }
                // Twice half of it, for one power may be out of range where the product is not.
                let half = (exponent / 2).clamp(-1022, 1022) as i32;
                let rest = (exponent - i64::from(half)).clamp(-1022, 1022) as i32;
                product * 2f64.powi(half) * 2f64.powi(rest)
            })
            .collect();
        let wide = DeviceArray::from_shape_slice(&crate::Device::host(), lead, &products)?;
        wide.expr().cast::<T>().eval()?.to_device(raw.device())
    }

    /// Solves `A · x = b`; see [`DeviceArray::solve`].
    ///
    /// # Errors
    /// As [`DeviceArray::solve`].
    pub fn solve(&self, b: &DeviceArray<T>) -> Result<DeviceArray<T>> {
        self.solved("solve", b)
    }

    fn solved(&self, op: &'static str, b: &DeviceArray<T>) -> Result<DeviceArray<T>> {
        let (a, b) = (self.factors.raw()?, b.raw()?);
        let n = square(op, a)?;
        let sides = Sides::check(op, a, b)?;
        if let Some((t, Some(column))) = self.singular.iter().enumerate().find(|(_, s)| s.is_some())
        {
            return Err(Error::argument(
                op,
                format!(
                    "{} is singular: the pivot of column {column} is zero; there is no solution, or more than one",
                    which(a, t)
                ),
            ));
        }
        let device = a.device().clone();
        let layout = Layout::contiguous(&sides.wide());
        let buffer = Arc::new(RawArray::alloc(op, &device, &layout, T::DTYPE)?);
        let mut x = sides.work(op, RawArray { buffer, layout, dtype: T::DTYPE });
        if sides.n * sides.k * sides.count == 0 {
            return Ok(sides.result(x));
        }
        let order = self.permutation()?;
        let order = order.raw()?;
        let b_layout = sides.b_layout(&b.layout);
        let rank = b_layout.strides.len();
        let leaf = shape::leaf(&device, T::DTYPE);
        // One for all: there is nothing to be found out any more.
        let mut status = Status::new(op, &device)?;
        let places = sides.matrices(&a.layout).into_iter().zip(sides.matrices(&b_layout));
        for (t, (a_at, b_at)) in places.enumerate() {
            x.offset = t * sides.n * sides.k;
            let at = x.offset;
            let gather = Gather {
                op,
                dtype: T::DTYPE,
                out: x.owned()?,
                at,
                rows: sides.n,
                columns: sides.k,
                from: &b.buffer,
                from_at: b_at as usize,
                from_row: b_layout.strides[rank - 2],
                from_column: b_layout.strides[rank - 1],
                order: &order.buffer,
                order_at: a_at as usize / (n * n) * n,
            };
            run(gather, &device)?;
            for lower in [true, false] {
                let row = n as isize;
                let (array, unit) = (Some(a), lower);
                let t = Triangular { array, at: a_at, row, column: 1, lower, unit, base: 0 };
                triangular::solve(&mut x, [0, 0, n, sides.k], t, &mut status, leaf)?;
            }
        }
        Ok(sides.result(x))
    }
}

/// Whether an order of rows is an odd number of exchanges.
fn is_odd(order: &[u32]) -> bool {
    let mut seen = vec![false; order.len()];
    let mut odd = false;
    for start in 0..order.len() {
        let (mut at, mut length) = (start, 0);
        while !std::mem::replace(&mut seen[at], true) {
            at = order[at] as usize;
            length += 1;
        }
        odd ^= length > 0 && length % 2 == 0;
    }
    odd
}
