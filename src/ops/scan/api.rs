//! What users say about a scan.

use super::{Flags, Join, scan};
use crate::array::DeviceArray;
use crate::element::{Element, Number, Scalar};
use crate::error::{Error, Result};
use crate::expr::node::Operand;
use crate::expr::{Expr, Input};
use crate::group::{Operator, ReduceOp};
use ndarray::Axis;

/// A scan along one axis of an array or expression, made by `scan`: every element is replaced by itself
/// joined with all before it.
///
/// ```
/// use clan::{Device, DeviceArray, ndarray::Axis};
/// let x = DeviceArray::from_slice(&Device::host(), &[3, 1, 4, 1, 5])?;
/// assert_eq!(x.scan(Axis(0)).sum()?.to_vec()?, [3i64, 4, 8, 9, 14]);
/// assert_eq!(x.scan(Axis(0)).exclusive().sum()?.to_vec()?, [0i64, 3, 4, 8, 9]);
/// // Every segment starts anew.
/// let starts = DeviceArray::from_slice(&Device::host(), &[false, false, true, false, false])?;
/// assert_eq!(x.scan(Axis(0)).segments(&starts).max()?.to_vec()?, [3, 3, 4, 4, 5]);
/// # Ok::<(), clan::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a scan does nothing until a method such as `sum` computes it"]
pub struct Scan<T> {
    input: Input<T>,
    axis: Axis,
    exclusive: bool,
    segments: Option<DeviceArray<bool>>,
}

impl<T: Element> Scan<T> {
    /// Leaves every element itself out: each becomes what those before it give, and the first of an axis
    /// or segment what changes nothing (0 for sums, 1 for products, the greatest value of the type for
    /// `min`, infinity for floats, the least for `max`).
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Starts anew at every element whose flag is true, as well as at the beginning of the axis. `starts`
    /// has the shape of the input.
    pub fn segments(mut self, starts: &DeviceArray<bool>) -> Self {
        self.segments = Some(starts.clone());
        self
    }

    fn compute<U: Element>(
        &self,
        op: &'static str,
        join: &Join,
        before: impl FnOnce() -> Option<Scalar>,
    ) -> Result<DeviceArray<U>> {
        let flags: Flags<'_> = self.segments.as_ref().map(DeviceArray::raw).transpose()?;
        let before = if self.exclusive { before() } else { None };
        let raw = scan(op, join, self.input.operand()?, self.axis.0, flags, before)?;
        Ok(DeviceArray::from_raw(raw))
    }

    /// Joined by an associative operator: one of the crate's other than `Average`, or a [`UserOp`], which
    /// need not commute. Results have the type of the elements, also for sums. An exclusive scan by a
    /// user's operator needs to know its identity.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ReduceOp, UserOp, ndarray::Axis};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1u8, 2, 4, 2])?;
    /// assert_eq!(x.scan(Axis(0)).by(ReduceOp::Xor)?.to_vec()?, [1, 3, 7, 5]);
    /// // The last element that is not 0.
    /// let last = UserOp::new("last", "b != 0 ? b : a", |a: u8, b: u8| if b != 0 { b } else { a });
    /// let x = DeviceArray::from_slice(&Device::host(), &[7u8, 0, 0, 5, 0])?;
    /// assert_eq!(x.scan(Axis(0)).by(&last)?.to_vec()?, [7, 7, 7, 5, 5]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// [`UserOp`]: crate::UserOp
    ///
    /// # Errors
    /// An axis outside the array; flags of another shape or on another device; an operator that does not
    /// take the type, or does not build; an exclusive scan without an identity; mistakes kept in the
    /// expression; out of memory.
    pub fn by(&self, op: impl Into<Operator<T>>) -> Result<DeviceArray<T>> {
        let operator = op.into();
        if operator.averages() {
            return Err(Error::argument(
                "scan",
                "averages are not associative; divide a scan's sums by the positions",
            ));
        }
        let before = match (self.exclusive, operator.identity()) {
            (false, _) => None,
            (true, Some(identity)) => Some(identity.to_scalar()),
            (true, None) => {
                let text = "an exclusive scan starts with the operator's identity; give it with `UserOp::identity`";
                return Err(Error::argument("scan", text));
            }
        };
        self.compute("scan", &Join::Other(operator.combine("scan")?), || before)
    }
}

impl<T: Number> Scan<T> {
    /// Sums. Integers are added in 64 bits and wrap. Rounding errors of floats are carried along between
    /// stretches of at most some thousands of elements, so they hardly grow with the length; results are the
    /// same in every run on a device. A sum beyond the type is infinite; on the host sums of `f32` along the
    /// last axis are finite again after it where they fit, elsewhere they need not be, and along other axes sums of some dozens of
    /// neighbours may be infinite where a running sum is not.
    ///
    /// # Errors
    /// As [`Scan::by`], except for those of operators.
    pub fn sum(&self) -> Result<DeviceArray<T::Sum>> {
        let before = || Some(ReduceOp::Sum.identity::<T::Sum>().to_scalar());
        self.compute("cumsum", &Join::Sum, before)
    }

    /// Products. Integers are multiplied in 64 bits and wrap.
    ///
    /// # Errors
    /// As [`Scan::sum`].
    pub fn prod(&self) -> Result<DeviceArray<T::Sum>> {
        let before = || Some(ReduceOp::Product.identity::<T::Sum>().to_scalar());
        self.compute("cumprod", &Join::Prod, before)
    }

    /// The least elements so far; NaN from the first NaN on.
    ///
    /// # Errors
    /// As [`Scan::sum`].
    pub fn min(&self) -> Result<DeviceArray<T>> {
        let before = || Some(ReduceOp::Min.identity::<T>().to_scalar());
        self.compute("cummin", &Join::Min, before)
    }

    /// The greatest elements so far; NaN from the first NaN on.
    ///
    /// # Errors
    /// As [`Scan::sum`].
    pub fn max(&self) -> Result<DeviceArray<T>> {
        let before = || Some(ReduceOp::Max.identity::<T>().to_scalar());
        self.compute("cummax", &Join::Max, before)
    }
}

/// A whole scan at once, which small arrays are done with in less time than it takes to describe one.
fn inclusive<U: Element>(
    op: &'static str,
    join: &Join,
    input: Operand<'_>,
    Axis(axis): Axis,
) -> Result<DeviceArray<U>> {
    scan(op, join, input, axis, None, None).map(DeviceArray::from_raw)
}

/// Scans of arrays and of expressions.
macro_rules! scans {
    ($($of:ident $input:ident $operand:ident $raw:ident)*) => {$(
        impl<T: Element> $of<T> {
            /// A scan along an axis: running sums and the like, also exclusive or in segments. See
            /// [`Scan`].
            pub fn scan(&self, axis: Axis) -> Scan<T> {
                let input = Input::$input(self.clone());
                Scan { input, axis, exclusive: false, segments: None }
            }
        }

        impl<T: Number> $of<T> {
            /// The sums of the elements so far along an axis. See [`Scan::sum`].
            ///
            /// # Errors
            /// An axis outside the array; out of memory.
            pub fn cumsum(&self, axis: Axis) -> Result<DeviceArray<T::Sum>> {
                inclusive("cumsum", &Join::Sum, Operand::$operand(self.$raw()?), axis)
            }

            /// The products of the elements so far along an axis. See [`Scan::prod`].
            ///
            /// # Errors
            /// As `cumsum`.
            pub fn cumprod(&self, axis: Axis) -> Result<DeviceArray<T::Sum>> {
                inclusive("cumprod", &Join::Prod, Operand::$operand(self.$raw()?), axis)
            }

            /// The least elements so far along an axis. See [`Scan::min`].
            ///
            /// # Errors
            /// As `cumsum`.
            pub fn cummin(&self, axis: Axis) -> Result<DeviceArray<T>> {
                inclusive("cummin", &Join::Min, Operand::$operand(self.$raw()?), axis)
            }

            /// The greatest elements so far along an axis. See [`Scan::max`].
            ///
            /// # Errors
            /// As `cumsum`.
            pub fn cummax(&self, axis: Axis) -> Result<DeviceArray<T>> {
                inclusive("cummax", &Join::Max, Operand::$operand(self.$raw()?), axis)
            }
        }
    )*};
}
scans!(DeviceArray Array Array raw Expr Expr Node node);
