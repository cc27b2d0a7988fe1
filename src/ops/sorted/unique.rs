//! `unique`: the distinct elements of an array.

use super::order::heads;
use super::search::{Side, search};
use crate::array::{DeviceArray, RawArray};
use crate::element::Element;
use crate::error::Result;
use crate::expr::node::Node;
use crate::expr::{Expr, IntoExpr};
use crate::ops::{copy, map, sort};
use ndarray::s;

/// All elements in order, and flags where another one starts.
fn runs<T: Element>(op: &'static str, array: &RawArray) -> Result<[RawArray; 2]> {
    let flat = copy::contiguous(array)?;
    let flat = DeviceArray::<T>::from_raw(flat).reshape(array.layout.len())?;
    let sorted = sort::keys(op, flat.raw()?, false)?;
    let flags = heads(&sorted)?.raw()?.clone();
    Ok([sorted, flags])
}

/// Distinct elements, in order.
pub(super) fn distinct<T: Element>(op: &'static str, array: &RawArray) -> Result<DeviceArray<T>> {
    let [sorted, flags] = runs::<T>(op, array)?;
    DeviceArray::from_raw(sorted).masked_select(DeviceArray::from_raw(flags))
}

/// Which of the distinct elements each element is, in row-major order under the array's shape.
pub(super) fn inverse<T: Element>(
    op: &'static str,
    values: &DeviceArray<T>,
    array: &RawArray,
) -> Result<Expr<u64>> {
    // −0 and 0 are one value, which stands where −0 would: the last that is not greater.
    let upto = search(op, values.raw()?, &copy::contiguous(array)?, Side::Right, false)?;
    Ok(Expr::<u64>::from_node(Ok(Node::leaf(upto))) - 1)
}

/// Distinct elements of arrays and of expressions.
macro_rules! uniques {
    ($($of:ident)*) => {$(
        impl<T: Element> $of<T> {
            /// The distinct elements of the whole array in ascending order, as a vector. All NaNs are one,
            /// the last; −0 and 0 are one. Waits for their number.
            ///
            /// ```
            /// use clan::{Device, DeviceArray};
            /// let x = DeviceArray::from_slice(&Device::host(), &[3, 1, 3, 2])?;
            /// assert_eq!(x.unique()?.to_vec()?, [1, 2, 3]);
            /// # Ok::<(), clan::Error>(())
            /// ```
            ///
            /// # Errors
            /// Mistakes kept in an expression; out of memory.
            pub fn unique(&self) -> Result<DeviceArray<T>> {
                distinct("unique", &map::array(self.into_expr().node()?)?)
            }

            /// The distinct elements, and how often each occurs. See `unique`.
            ///
            /// ```
            /// use clan::{Device, DeviceArray};
            /// let x = DeviceArray::from_slice(&Device::host(), &[3, 1, 3, 2])?;
            /// let (values, counts) = x.unique_counts()?;
            /// assert_eq!(values.to_vec()?, [1, 2, 3]);
            /// assert_eq!(counts.to_vec()?, [1, 1, 2]);
            /// # Ok::<(), clan::Error>(())
            /// ```
            ///
            /// # Errors
            /// As `unique`.
            pub fn unique_counts(&self) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
                counts("unique_counts", &map::array(self.into_expr().node()?)?)
            }

            /// The distinct elements, and in the shape of the array which of them each element is. See
            /// `unique`.
            ///
            /// ```
            /// use clan::{Device, DeviceArray};
            /// let x = DeviceArray::from_slice(&Device::host(), &[3, 1, 3, 2])?;
            /// let (values, inverse) = x.unique_inverse()?;
            /// assert_eq!(inverse.to_vec()?, [2, 0, 2, 1]);
            /// assert_eq!(values.take(&inverse)?.to_vec()?, x.to_vec()?);
            /// # Ok::<(), clan::Error>(())
            /// ```
            ///
            /// # Errors
            /// As `unique`.
            pub fn unique_inverse(&self) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
                let op = "unique_inverse";
                let array = map::array(self.into_expr().node()?)?;
                let values = distinct(op, &array)?;
                let inverse = inverse(op, &values, &array)?.eval()?;
                Ok((values, inverse))
            }
        }
    )*};
}
uniques!(DeviceArray Expr);

fn counts<T: Element>(
    op: &'static str,
    array: &RawArray,
) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
    let [sorted, flags] = runs::<T>(op, array)?;
    let (n, flags) = (flags.layout.len(), DeviceArray::<bool>::from_raw(flags));
    let values = DeviceArray::from_raw(sorted).masked_select(&flags)?;
    let k = values.len();
    let starts = flags.nonzero()?.reshape(k)?;
    let mut ends = DeviceArray::<u64>::full(values.device(), k, n as u64)?;
    if k > 1 {
        ends.slice_mut(s![..k - 1])?.assign(&starts.slice(s![1..])?)?;
    }
    Ok((values, (&ends - &starts).eval()?))
}
