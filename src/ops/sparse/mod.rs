//! `sparse`: matrices in compressed rows. Kernels: `cl/sparse.cl`, whose head says how work is dealt out.

mod build;
mod dense;
mod plan;
mod product;
#[cfg(test)]
mod tests;

#[cfg(all(test, feature = "opencl"))]
pub(crate) use product::types;

use super::linalg::Real;
use super::{copy, run};
use crate::array::{DeviceArray, RawArray, bytes};
use crate::device::Device;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layout::Layout;
use build::Rows;
use ndarray::{ArrayBase, Data, Ix2};
use plan::Plan;
use std::fmt;
use std::sync::Arc;

/// A matrix of which only the elements that are not zero are stored, row by row (CSR): each with its value
/// and its column, in rising order. Types are `f32` and `f64`.
///
/// ```
/// use clan::{Device, DeviceArray, SparseMatrix, ndarray::array};
/// let host = Device::host();
/// // Row, column and value of every element; what falls on one place is added up.
/// let a = SparseMatrix::from_triplets(&host, (2, 3), &[1, 0, 1], &[2, 0, 2], &[4.0f32, 2.0, 1.0])?;
/// assert_eq!(a.nnz(), 2);
/// let x = DeviceArray::from_slice(&host, &[1.0, 10.0, 100.0])?;
/// assert_eq!(a.matmul(&x)?.to_vec()?, [2.0, 500.0]);
/// assert_eq!(a.to_dense()?.to_ndarray()?, array![[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]].into_dyn());
/// # Ok::<(), clan::Error>(())
/// ```
///
/// Sums are made in the same order every time: the same matrix and vector on the same device give the
/// same bits.
#[derive(Clone)]
pub struct SparseMatrix<T> {
    shape: (usize, usize),
    /// Where each row begins among the elements, and the end of the last: `u32` or `u64`, as are
    /// blocks and joins.
    starts: RawArray,
    /// Columns and values, as [`by_fours`] makes them.
    columns: DeviceArray<u32>,
    values: DeviceArray<T>,
    /// As [`Plan`] has them.
    blocks: RawArray,
    joins: RawArray,
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    tile: usize,
    partials: usize,
    /// Whether every row is short enough for one work-item.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    short: bool,
    /// Whether positions of elements need 64 bits.
    wide: bool,
}

impl<T: Real> fmt::Debug for SparseMatrix<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, columns) = self.shape;
        write!(
            f,
            "SparseMatrix<{}>[{rows}, {columns}] with {} elements on {}",
            T::DTYPE,
            self.nnz(),
            self.device()
        )
    }
}

/// Making and reading.
impl<T: Real> SparseMatrix<T> {
    /// A matrix from triplets: element `k` adds `values[k]` at row `rows[k]` and column `columns[k]`.
    /// Triplets come in any order; those of one place are added up in theirs. Zeros are stored
    /// like other values.
    ///
    /// # Errors
    /// Slices of different lengths; a row or column outside the shape (the first one is named); an axis
    /// beyond 2³² − 1; an element type that the device does not compute in; out of memory.
    pub fn from_triplets(
        device: &Device,
        shape: (usize, usize),
        rows: &[u32],
        columns: &[u32],
        values: &[T],
    ) -> Result<Self> {
        const OP: &str = "from_triplets";
        let rows = build::from_triplets(OP, shape, rows, columns, values)?;
        Self::upload(OP, device, shape, &rows.starts, &rows.columns, &rows.values)
    }

    /// A matrix from compressed rows: the elements of row `r` are those from `row_starts[r]` up to
    /// `row_starts[r + 1]`, their columns rise, and each is there once.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, SparseMatrix};
    /// let host = Device::host();
    /// // 2 0 0
    /// // 0 1 5
    /// let a = SparseMatrix::from_csr(&host, (2, 3), &[0, 1, 3], &[0, 1, 2], &[2.0f64, 1.0, 5.0])?;
    /// assert_eq!(a.transpose()?.to_csr()?, (vec![0, 1, 2, 3], vec![0, 1, 1], vec![2.0, 1.0, 5.0]));
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Parts whose lengths do not fit; starts that fall; columns that do not rise or lie outside the
    /// shape; else as [`SparseMatrix::from_triplets`].
    pub fn from_csr(
        device: &Device,
        shape: (usize, usize),
        row_starts: &[usize],
        columns: &[u32],
        values: &[T],
    ) -> Result<Self> {
        build::check("from_csr", shape, row_starts, columns, values.len())?;
        Self::upload("from_csr", device, shape, row_starts, columns, values)
    }

    /// The elements of an ndarray that are not zero.
    ///
    /// # Errors
    /// As [`SparseMatrix::from_triplets`].
    pub fn from_ndarray<S: Data<Elem = T>>(
        device: &Device,
        array: &ArrayBase<S, Ix2>,
    ) -> Result<Self> {
        const OP: &str = "from_ndarray";
        let shape = array.dim();
        build::fits(OP, shape)?;
        let mut rows = Rows { starts: vec![0], columns: Vec::new(), values: Vec::new() };
        for row in array.outer_iter() {
            for (c, &v) in row.iter().enumerate().filter(|&(_, &v)| v != T::default()) {
                rows.columns.push(c as u32);
                rows.values.push(v);
            }
            rows.starts.push(rows.columns.len());
        }
        Self::upload(OP, device, shape, &rows.starts, &rows.columns, &rows.values)
    }

    fn upload(
        op: &'static str,
        device: &Device,
        shape: (usize, usize),
        starts: &[usize],
        columns: &[u32],
        values: &[T],
    ) -> Result<Self> {
        let wide = values.len().max(shape.0) > i32::MAX as usize;
        Self::with_width(op, device, shape, starts, columns, values, wide)
    }

    fn with_width(
        op: &'static str,
        device: &Device,
        shape: (usize, usize),
        starts: &[usize],
        columns: &[u32],
        values: &[T],
        wide: bool,
    ) -> Result<Self> {
        device.require(op, T::DTYPE)?;
        let plan = Plan::new(starts);
        let numbers = |list: &mut dyn Iterator<Item = u64>| -> Result<RawArray> {
            let array = match wide {
                true => {
                    DeviceArray::from_slice(device, &list.collect::<Vec<u64>>())?.raw()?.clone()
                }
                false => {
                    let list: Vec<u32> = list.map(|n| n as u32).collect();
                    DeviceArray::from_slice(device, &list)?.raw()?.clone()
                }
            };
            Ok(array)
        };
        Ok(SparseMatrix {
            shape,
            starts: numbers(&mut starts.iter().map(|&n| n as u64))?,
            columns: by_fours(op, device, columns)?,
            values: by_fours(op, device, values)?,
            blocks: numbers(&mut plan.blocks.iter().copied())?,
            joins: numbers(&mut plan.joins.iter().copied())?,
            tile: plan.tile,
            partials: plan.partials,
            short: plan.short,
            wide,
        })
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// The number of stored elements.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// Where the matrix lives.
    pub fn device(&self) -> &Device {
        self.values.device()
    }

    /// The stored elements, row by row. Shares memory with the matrix.
    pub fn values(&self) -> DeviceArray<T> {
        self.values.clone()
    }

    /// Starts of the rows, columns and values, as [`SparseMatrix::from_csr`] takes them. Waits for the
    /// device.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn to_csr(&self) -> Result<(Vec<usize>, Vec<u32>, Vec<T>)> {
        let starts: Vec<usize> = match self.wide {
            true => numbers::<u64>(&self.starts)?.into_iter().map(|n| n as usize).collect(),
            false => numbers::<u32>(&self.starts)?.into_iter().map(|n| n as usize).collect(),
        };
        Ok((starts, self.columns.to_vec()?, self.values.to_vec()?))
    }

    /// The matrix on another device. Waits for its own.
    ///
    /// # Errors
    /// An element type that the device does not compute in; out of memory; a failure of a device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        const OP: &str = "to_device";
        let (starts, columns, values) = self.to_csr()?;
        Self::with_width(OP, device, self.shape, &starts, &columns, &values, self.wide)
    }

    /// The transposed matrix. It is sorted anew by the host, so this waits for the device: keep it where it
    /// is needed more than once.
    ///
    /// # Errors
    /// Out of memory; a failure of the device.
    pub fn transpose(&self) -> Result<Self> {
        const OP: &str = "transpose";
        let (starts, columns, values) = self.to_csr()?;
        let rows = Rows { starts, columns, values };
        let rows = build::transposed(OP, &rows, self.shape.1)?;
        let shape = (self.shape.1, self.shape.0);
        Self::upload(OP, self.device(), shape, &rows.starts, &rows.columns, &rows.values)
    }

    /// The matrix with all its zeros.
    ///
    /// # Errors
    /// Out of memory; more elements than the device can hold.
    pub fn to_dense(&self) -> Result<DeviceArray<T>> {
        dense::to_dense(self)
    }

    /// The product with a vector, or with a dense matrix: shapes (n, k) and (k) give (n), (n, k) and
    /// (k, m) give (n, m). Rows of a dense matrix may lie anywhere; what has gaps within its rows is
    /// copied first.
    ///
    /// Only stored elements are multiplied: a NaN that meets none is not seen.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, SparseMatrix, ndarray::array};
    /// let host = Device::host();
    /// let a = SparseMatrix::from_ndarray(&host, &array![[0.0f32, 2.0], [1.0, 0.0]])?;
    /// let b = DeviceArray::from_ndarray(&host, &array![[1.0f32, 2.0], [3.0, 4.0]])?;
    /// assert_eq!(a.matmul(&b)?.to_ndarray()?, array![[6.0, 8.0], [1.0, 2.0]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An operand of another length, or of other than one or two axes; arrays of two devices; out of memory.
    pub fn matmul(&self, other: &DeviceArray<T>) -> Result<DeviceArray<T>> {
        const OP: &str = "sparse_matmul";
        let (rows, columns) = self.shape;
        let shape = other.shape();
        if !(1..=2).contains(&shape.len()) || shape[0] != columns {
            let text = format!(
                "a matrix of shape [{rows}, {columns}] with {shape:?}; it takes [{columns}] or [{columns}, m]"
            );
            return Err(Error::shape(OP, text));
        }
        self.device().require_same(OP, "the matrix lives", other.device(), "the other operand")?;
        product::product(OP, self, other.raw()?)
    }
}

/// An array with zeros behind it, up to a multiple of four elements: kernels load four at a time.
fn by_fours<E: Element>(op: &'static str, device: &Device, data: &[E]) -> Result<DeviceArray<E>> {
    let whole = Layout::contiguous(&[data.len().next_multiple_of(4)]);
    let mut buffer = RawArray::alloc(op, device, &whole, E::DTYPE)?;
    buffer.upload(0, bytes(data))?;
    buffer.upload(size_of_val(data), bytes(&vec![E::default(); whole.len() - data.len()]))?;
    let layout = Layout::contiguous(&[data.len()]);
    Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: E::DTYPE }))
}

/// The elements of an array of this very type.
fn numbers<N: Element>(raw: &RawArray) -> Result<Vec<N>> {
    DeviceArray::<N>::from_raw(raw.clone()).to_vec()
}

/// The elements of an array without gaps on the host.
///
/// # Safety
/// The array has this element type, is in row-major order, and nobody writes it meanwhile.
unsafe fn on_host<N>(raw: &RawArray) -> &[N] {
    match raw.buffer.host() {
        // SAFETY: the caller's promise; the layout lies inside the block.
        Some(block) => unsafe {
            let start = block.ptr().cast::<N>().add(raw.layout.offset);
            std::slice::from_raw_parts(start, raw.layout.len())
        },
        None => &[],
    }
}
