//! What users say about a reduction: over which axes, and which one. `reduce` computes it.

use super::reduce::{Kind, pick_axes, reduce, reduced_shape};
use super::reproducible::{self, Join};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Element, Float, Number, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::node::Unary;
use crate::expr::{Expr, IntoExpr};
use crate::layout::count;
use ndarray::Axis;

/// A reduction over some axes of an array or expression, made by `over`. The axes may be given in
/// any order; none at all leaves every element by itself.
///
/// ```
/// use clan::{Device, DeviceArray, ndarray::Axis};
/// let x = DeviceArray::<i32>::arange(&Device::host(), 0, 24, 1)?.reshape((2, 3, 4))?;
/// let s = x.over(&[Axis(0), Axis(2)]).keepdims().sum()?;
/// assert_eq!(s.shape(), [1, 3, 1]);
/// assert_eq!(s.to_vec()?, [60, 92, 124]);
/// # Ok::<(), clan::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a reduction does nothing until a method such as `sum` computes it"]
pub struct Reduction<T> {
    input: Expr<T>,
    /// `None` for all axes.
    axes: Option<Vec<usize>>,
    keepdims: bool,
    reproducible: bool,
}

impl<T: Element> Reduction<T> {
    fn new(input: Expr<T>, axes: Option<&[Axis]>) -> Reduction<T> {
        Reduction {
            input,
            axes: axes.map(|a| a.iter().map(|a| a.0).collect()),
            keepdims: false,
            reproducible: false,
        }
    }

    /// Keeps the reduced axes with length 1, so that the result broadcasts against the input.
    pub fn keepdims(mut self) -> Self {
        self.keepdims = true;
        self
    }

    /// The same bits on every device, host included, however many compute it: elements are joined in an
    /// order that depends on their number alone (`cl/reproducible.cl` says which). For sums, products,
    /// least and greatest elements; the error of a sum is then up to 150 rounding errors of Σ|x|.
    /// Integers need no order. An expression inside has the same bits where its operators do: `+ - *`,
    /// comparisons and the like, not divisions or functions.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let x = (DeviceArray::<f32>::arange(&Device::host(), 0.0, 100_000.0, 1.0)? * 0.1).eval()?;
    /// let sum = x.over(&[clan::ndarray::Axis(0)]).reproducible().sum()?;
    /// assert_eq!(sum.item()?.to_bits(), 0x4dee_6a8c);
    /// # Ok::<(), clan::Error>(())
    /// ```
    pub fn reproducible(mut self) -> Self {
        self.reproducible = true;
        self
    }

    /// Refuses what would not have the same bits everywhere.
    fn not_reproducible(&self, op: &'static str) -> Result<()> {
        if !self.reproducible {
            return Ok(());
        }
        let text = "divisions and roots differ between devices in the last place; reproducible are sum, prod, min and max";
        Err(Error::new(ErrorKind::Argument, op, text))
    }

    /// The same axes of another input.
    fn with<U: Element>(&self, input: Expr<U>, keepdims: bool) -> Reduction<U> {
        Reduction { input, axes: self.axes.clone(), keepdims, reproducible: false }
    }

    fn compute<U: Element>(
        &self,
        op: &'static str,
        kind: Kind,
        out: DType,
        mean: bool,
    ) -> Result<DeviceArray<U>> {
        let join = match kind {
            Kind::Sum => Some(Join::Sum),
            Kind::Prod => Some(Join::Prod),
            Kind::Min => Some(Join::Min),
            Kind::Max => Some(Join::Max),
            _ => None,
        };
        if let (true, Some(by)) = (self.reproducible && T::DTYPE.is_float(), join) {
            let root = self.input.node()?;
            let picked = pick_axes(op, self.axes.as_deref(), &root.shape)?;
            // Nothing at all is the same everywhere.
            if count(op, &root.shape)? > 0 {
                let shape = reduced_shape(&root.shape, &picked, self.keepdims);
                let raw = reproducible::reduce(op, by, root, &picked, &shape, out)?;
                return Ok(DeviceArray::from_raw(raw));
            }
        }
        let raw =
            reduce(op, kind, self.input.node()?, self.axes.as_deref(), self.keepdims, out, mean)?;
        Ok(DeviceArray::from_raw(raw))
    }
}

impl<T: Number> Reduction<T> {
    /// The sum. Integers are added in 64 bits and wrap; float sums are accurate to a few units in
    /// the last place of Σ|x|. The sum of nothing is 0.
    ///
    /// # Errors
    /// An axis outside the array or named twice; mistakes kept in the expression; out of memory.
    pub fn sum(&self) -> Result<DeviceArray<T::Sum>> {
        self.compute("sum", Kind::Sum, T::DTYPE.sum(), false)
    }

    /// The product. Integers are multiplied in 64 bits and wrap. The product of nothing is 1.
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn prod(&self) -> Result<DeviceArray<T::Sum>> {
        self.compute("prod", Kind::Prod, T::DTYPE.sum(), false)
    }

    /// The least element; NaN when there is one.
    ///
    /// # Errors
    /// When there is nothing to choose from; else as [`Reduction::sum`].
    pub fn min(&self) -> Result<DeviceArray<T>> {
        self.compute("min", Kind::Min, T::DTYPE, false)
    }

    /// The greatest element; NaN when there is one.
    ///
    /// # Errors
    /// As [`Reduction::min`].
    pub fn max(&self) -> Result<DeviceArray<T>> {
        self.compute("max", Kind::Max, T::DTYPE, false)
    }

    /// The position of the least element, the first of equal ones, or of the first NaN. Over
    /// several axes: the position among the reduced elements in row-major order.
    ///
    /// # Errors
    /// As [`Reduction::min`].
    pub fn argmin(&self) -> Result<DeviceArray<u64>> {
        self.compute("argmin", Kind::ArgMin, DType::U64, false)
    }

    /// The position of the greatest element; see [`Reduction::argmin`].
    ///
    /// # Errors
    /// As [`Reduction::min`].
    pub fn argmax(&self) -> Result<DeviceArray<u64>> {
        self.compute("argmax", Kind::ArgMax, DType::U64, false)
    }

    /// The mean, for integers in `f64`. The mean of nothing is NaN.
    ///
    /// # Errors
    /// Integers on a device without `f64`; else as [`Reduction::sum`].
    pub fn mean(&self) -> Result<DeviceArray<T::Mean>> {
        self.not_reproducible("mean")?;
        if T::DTYPE.is_float() {
            return self.compute("mean", Kind::Sum, T::DTYPE.sum(), true);
        }
        let wide = self.with(self.input.cast::<T::Mean>(), self.keepdims);
        wide.compute("mean", Kind::Sum, DType::F64, true)
    }

    /// The variance: the sum of squared distances from the mean, divided by the number of elements
    /// less `ddof` (0 for the population, 1 for a sample). Two passes, so that values far from
    /// zero do not cancel. NaN where there are not more elements than `ddof`.
    ///
    /// # Errors
    /// As [`Reduction::mean`].
    pub fn var(&self, ddof: f64) -> Result<DeviceArray<T::Mean>> {
        self.spread("var", ddof)?.eval()
    }

    /// The standard deviation: the square root of [`Reduction::var`].
    ///
    /// # Errors
    /// As [`Reduction::mean`].
    pub fn std(&self, ddof: f64) -> Result<DeviceArray<T::Mean>> {
        self.spread("std", ddof)?.sqrt().eval()
    }

    fn spread(&self, op: &'static str, ddof: f64) -> Result<Expr<T::Mean>> {
        self.not_reproducible(op)?;
        let shape = self.input.shape()?.to_vec();
        let picked = pick_axes(op, self.axes.as_deref(), &shape)?;
        let n: usize = shape.iter().zip(&picked).filter(|&(_, &p)| p).map(|(&d, _)| d).product();
        let wide = self.input.cast::<T::Mean>();
        let mean: DeviceArray<T::Mean> =
            self.with(wide.clone(), true).compute(op, Kind::Sum, T::Mean::DTYPE, true)?;
        let squares = self.with((wide - mean).square(), self.keepdims);
        let total: DeviceArray<T::Mean> = squares.compute(op, Kind::Sum, T::Mean::DTYPE, false)?;
        // Without freedom there is no spread to know, also where the squares do not vanish.
        let freedom = n as f64 - ddof;
        let divisor = if freedom > 0.0 { freedom } else { f64::NAN };
        Ok(total / float_constant::<T::Mean>(divisor))
    }
}

fn float_constant<T: Element>(v: f64) -> Expr<T> {
    Expr::constant(if T::DTYPE == DType::F64 { Scalar::F64(v) } else { Scalar::F32(v as f32) })
}

impl<T: Float> Reduction<T> {
    /// The Euclidean norm √Σx², without overflow or underflow between.
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn norm(&self) -> Result<DeviceArray<T::Sum>> {
        self.not_reproducible("norm")?;
        let node = self.input.node()?;
        let shape = node.shape.clone();
        let picked = pick_axes("norm", self.axes.as_deref(), &shape)?;
        let device = node.device.clone().map_or_else(Device::best, Ok)?;
        if T::DTYPE != DType::F64 && device.info().fp64 {
            // Squares of every f32 are normal numbers in f64.
            let squares = self.with(self.input.cast::<f64>().square(), self.keepdims);
            let total: DeviceArray<f64> = squares.compute("norm", Kind::Sum, DType::F64, false)?;
            return total.sqrt().cast::<T::Sum>().eval();
        }
        if shape.contains(&0) {
            let zeros = self.with(self.input.clone(), self.keepdims);
            return zeros.compute("norm", Kind::Sum, T::DTYPE.sum(), false);
        }
        // Divide by the greatest magnitude first; zero, infinite and NaN ones divide by 1.
        let wide = self.input.cast::<T::Sum>();
        let greatest: DeviceArray<T::Sum> =
            self.with(wide.abs(), true).compute("norm", Kind::Max, T::DTYPE.sum(), false)?;
        let one = float_constant::<T::Sum>(1.0);
        let zero = float_constant::<T::Sum>(0.0);
        let finite = (&greatest * zero.clone()).eq(zero.clone()) & greatest.gt(zero);
        let scale = finite.if_else(&greatest, one).eval()?;
        let squares = self.with((wide / &scale).square(), true);
        let total: DeviceArray<T::Sum> =
            squares.compute("norm", Kind::Sum, T::DTYPE.sum(), false)?;
        let norm = (total.expr().map1::<T::Sum>(Unary::Sqrt) * &scale).eval()?;
        if self.keepdims {
            return Ok(norm);
        }
        let kept: Vec<usize> =
            shape.iter().zip(&picked).filter(|&(_, &p)| !p).map(|(&d, _)| d).collect();
        norm.reshape(kept.as_slice())
    }
}

impl Reduction<bool> {
    /// Whether any element is true; of nothing, false.
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn any(&self) -> Result<DeviceArray<bool>> {
        self.compute("any", Kind::Any, DType::Bool, false)
    }

    /// Whether every element is true; of nothing, true.
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn all(&self) -> Result<DeviceArray<bool>> {
        self.compute("all", Kind::All, DType::Bool, false)
    }
}

/// The short forms, on arrays and expressions alike.
macro_rules! short_forms {
    ($($target:ident)*) => {$(
        impl<T: Element> $target<T> {
            /// Reductions over several axes; see [`Reduction`].
            pub fn over(&self, axes: &[Axis]) -> Reduction<T> {
                Reduction::new(self.into_expr(), Some(axes))
            }
        }
        short_forms!(@each $target, Number:
            sum sum_axis -> T::Sum, prod prod_axis -> T::Sum, min min_axis -> T, max max_axis -> T,
            argmin argmin_axis -> u64, argmax argmax_axis -> u64, mean mean_axis -> T::Mean);
        short_forms!(@each $target, Float: norm norm_axis -> T::Sum);
        impl<T: Number> $target<T> {
            /// The variance of all elements; see [`Reduction::var`].
            ///
            /// # Errors
            /// As [`Reduction::var`].
            pub fn var(&self, ddof: f64) -> Result<DeviceArray<T::Mean>> {
                Reduction::new(self.into_expr(), None).var(ddof)
            }
            /// The variance along one axis; see [`Reduction::var`].
            ///
            /// # Errors
            /// As [`Reduction::var`].
            pub fn var_axis(&self, axis: Axis, ddof: f64) -> Result<DeviceArray<T::Mean>> {
                self.over(&[axis]).var(ddof)
            }
            /// The standard deviation of all elements; see [`Reduction::std`].
            ///
            /// # Errors
            /// As [`Reduction::var`].
            pub fn std(&self, ddof: f64) -> Result<DeviceArray<T::Mean>> {
                Reduction::new(self.into_expr(), None).std(ddof)
            }
            /// The standard deviation along one axis; see [`Reduction::std`].
            ///
            /// # Errors
            /// As [`Reduction::var`].
            pub fn std_axis(&self, axis: Axis, ddof: f64) -> Result<DeviceArray<T::Mean>> {
                self.over(&[axis]).std(ddof)
            }
            /// Σ self·other over all elements, in the type of sums (integers are widened before
            /// they are multiplied), in one pass without a temporary.
            ///
            /// # Errors
            /// Shapes that differ; else as [`Reduction::sum`].
            #[track_caller]
            pub fn dot(&self, other: impl IntoExpr<T>) -> Result<DeviceArray<T::Sum>> {
                let (a, b) = (self.into_expr(), other.into_expr());
                if a.shape()? != b.shape()? {
                    return Err(Error::shape(
                        "dot",
                        format!("shapes {:?} and {:?} differ; both operands have the same", a.shape()?, b.shape()?),
                    ));
                }
                if let (Some(x), Some(y)) = (a.device()?, b.device()?) {
                    x.require_same("dot", "one operand lives", y, "the other")?;
                }
                let product = a.cast::<T::Sum>() * b.cast::<T::Sum>();
                // The sum of a sum type has that type again.
                let raw = reduce("dot", Kind::Sum, product.node()?, None, false, T::DTYPE.sum(), false)?;
                Ok(DeviceArray::from_raw(raw))
            }
        }
        impl $target<bool> {
            /// Whether any element is true.
            ///
            /// # Errors
            /// As [`Reduction::any`].
            pub fn any(&self) -> Result<DeviceArray<bool>> {
                Reduction::new(self.into_expr(), None).any()
            }
            /// Whether any element along the axis is true.
            ///
            /// # Errors
            /// As [`Reduction::any`].
            pub fn any_axis(&self, axis: Axis) -> Result<DeviceArray<bool>> {
                self.over(&[axis]).any()
            }
            /// Whether every element is true.
            ///
            /// # Errors
            /// As [`Reduction::all`].
            pub fn all(&self) -> Result<DeviceArray<bool>> {
                Reduction::new(self.into_expr(), None).all()
            }
            /// Whether every element along the axis is true.
            ///
            /// # Errors
            /// As [`Reduction::all`].
            pub fn all_axis(&self, axis: Axis) -> Result<DeviceArray<bool>> {
                self.over(&[axis]).all()
            }
        }
    )*};
    (@each $target:ident, $bound:ident: $($name:ident $axis_name:ident -> $out:ty),*) => {
        impl<T: $bound> $target<T> {$(
            #[doc = concat!("Over all elements; see [`Reduction::", stringify!($name), "`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`Reduction::", stringify!($name), "`].")]
            pub fn $name(&self) -> Result<DeviceArray<$out>> {
                Reduction::new(self.into_expr(), None).$name()
            }
            #[doc = concat!("Along one axis; see [`Reduction::", stringify!($name), "`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`Reduction::", stringify!($name), "`].")]
            pub fn $axis_name(&self, axis: Axis) -> Result<DeviceArray<$out>> {
                self.over(&[axis]).$name()
            }
        )*}
    };
}
short_forms!(DeviceArray Expr);
