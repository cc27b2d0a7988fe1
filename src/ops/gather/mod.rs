//! `gather`: arrays by arrays of indices, and arrays put together from arrays.
//! Kernels: `cl/gather.cl`, `cl/scatter.cl`, which `cl/index.cl` begins.

mod exact;
mod indexed;
mod join;
#[cfg(feature = "opencl")]
mod kernel;
mod pad;
mod scatter;
mod store;
#[cfg(feature = "opencl")]
pub(crate) mod store_cl;
pub(crate) mod take;
#[cfg(test)]
mod tests;

pub use indexed::IndexElement;
pub use pad::Pad;
pub use scatter::Scatter;

use crate::array::DeviceArray;
use crate::element::Element;
use crate::error::Result;
use crate::expr::IntoExpr;
use indexed::Way;
use ndarray::Axis;

/// By arrays of indices, which may be expressions. Indices are `u32`, `i32`, `u64` or `i64`; negative
/// ones count from the end. One that is outside is an error that names the first such index and its
/// position among the indices. The host finds it at once. On an OpenCL device the kernel finds it, and
/// the next read of what was computed from there on returns it, as with every late failure.
impl<T: Element> DeviceArray<T> {
    /// The elements at positions in row-major order; the result has the shape of `indices`, as with
    /// NumPy's `take` without an axis. An array with gaps is copied first.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let host = Device::host();
    /// let x = DeviceArray::from_ndarray(&host, &array![[1.5f32, 2.5], [3.5, 4.5]])?;
    /// let i = DeviceArray::from_ndarray(&host, &array![[3i32, 0, -1]])?;
    /// assert_eq!(x.take(&i)?.to_ndarray()?, array![[4.5, 1.5, 4.5]].into_dyn());
    /// // An expression of indices is computed on the way.
    /// assert_eq!(x.take((&i + 4) % 3)?.to_vec()?, [2.5, 2.5, 1.5]);
    /// let error = x.take(DeviceArray::from_slice(&host, &[0i32, 4])?).unwrap_err();
    /// assert!(error.to_string().contains("index 4, at position 1"), "{error}");
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside (see above), indices on another device, out of memory.
    pub fn take<I: IndexElement>(&self, indices: impl IntoExpr<I>) -> Result<Self> {
        self.taken("take", indices, Way::Flat)
    }

    /// The sub-arrays at positions of `axis`: the axis is replaced by those of `indices`, as with
    /// NumPy's `take`. `x.take_axis(Axis(0), &rows)` are rows of a matrix.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::{Axis, array}};
    /// let host = Device::host();
    /// let x = DeviceArray::from_ndarray(&host, &array![[1, 2, 3], [4, 5, 6]])?;
    /// let i = DeviceArray::from_slice(&host, &[2u32, 0])?;
    /// assert_eq!(x.take_axis(Axis(1), &i)?.to_ndarray()?, array![[3, 1], [6, 4]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis that the array does not have; else as [`DeviceArray::take`].
    pub fn take_axis<I: IndexElement>(
        &self,
        axis: Axis,
        indices: impl IntoExpr<I>,
    ) -> Result<Self> {
        self.taken("take_axis", indices, Way::Axis(axis))
    }

    /// Along `axis` the element that the index at each place names, as with NumPy's `take_along_axis`:
    /// `indices` has as many axes as the array, any length along `axis`, and elsewhere lengths that
    /// broadcast with the array's. What `argsort` gives is what this takes.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::{Axis, array}};
    /// let host = Device::host();
    /// let x = DeviceArray::from_ndarray(&host, &array![[1, 2, 3], [4, 5, 6]])?;
    /// let i = DeviceArray::from_ndarray(&host, &array![[2u64], [1]])?;
    /// assert_eq!(x.take_along_axis(Axis(1), &i)?.to_ndarray()?, array![[3], [5]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not fit; else as [`DeviceArray::take_axis`].
    pub fn take_along_axis<I: IndexElement>(
        &self,
        axis: Axis,
        indices: impl IntoExpr<I>,
    ) -> Result<Self> {
        self.taken("take_along_axis", indices, Way::Along(axis))
    }

    fn taken<I: IndexElement>(
        &self,
        op: &'static str,
        indices: impl IntoExpr<I>,
        way: Way,
    ) -> Result<Self> {
        let indices = indices.into_expr();
        Ok(Self::from_raw(take::take(op, self.raw()?, indices.node()?, way)?))
    }
}
