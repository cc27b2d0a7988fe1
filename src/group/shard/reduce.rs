//! Reductions of split arrays: every member reduces its part; where the split axis is among the reduced
//! ones, the group combines the results.

use super::expr::{IntoSharded, Operand};
use super::{Replicated, ShardedArray, ShardedExpr};
use crate::array::DeviceArray;
use crate::element::{DType, Element, Number, Scalar};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::group::ReduceOp;
use crate::ops::reduction::Reduction;
use crate::ops::reproducible::Join;
use ndarray::{ArrayD, Axis};

/// A reduction over some axes of a sharded array or expression, made by `over`; as
/// [`Reduction`], which each member computes for its part.
///
/// ```
/// use clan::{Device, DeviceArray, Group, ndarray::Axis};
/// let group = Group::new(vec![Device::host(); 2])?;
/// let x = DeviceArray::<i32>::arange(&Device::host(), 0, 6, 1)?.reshape((3, 2))?;
/// let a = group.shard(&x, Axis(0))?;
/// // Along the split axis all members get the result, along another it is split as before.
/// assert_eq!(a.sum_axis(Axis(0))?.replicated()?.to_vec()?, [6, 9]);
/// assert_eq!(a.sum_axis(Axis(1))?.sharded()?.to_vec()?, [1, 5, 9]);
/// // With `keepdims` it broadcasts against the array.
/// let centred = (&a - &a.over(&[Axis(1)]).keepdims().min()?).eval()?;
/// assert_eq!(centred.to_vec()?, [0, 1, 0, 1, 0, 1]);
/// # Ok::<(), clan::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a reduction does nothing until a method such as `sum` computes it"]
pub struct ShardedReduction<T: Element> {
    pub(super) input: ShardedExpr<T>,
    /// `None` for all axes.
    axes: Option<Vec<Axis>>,
    keepdims: bool,
}

/// What a reduction along axes leaves: an array that is still split, or one that every member has.
#[derive(Clone, Debug)]
pub enum Reduced<T: Element> {
    /// The split axis is still there.
    Sharded(ShardedArray<T>),
    /// The split axis was reduced.
    Replicated(Replicated<T>),
}

impl<T: Element> Reduced<T> {
    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Reduced::Sharded(a) => a.shape(),
            Reduced::Replicated(a) => a.shape(),
        }
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// As [`DeviceArray::to_vec`].
    pub fn to_vec(&self) -> Result<Vec<T>> {
        match self {
            Reduced::Sharded(a) => a.to_vec(),
            Reduced::Replicated(a) => a.to_vec(),
        }
    }

    /// The array as an ndarray.
    ///
    /// # Errors
    /// As [`DeviceArray::to_vec`].
    pub fn to_ndarray(&self) -> Result<ArrayD<T>> {
        match self {
            Reduced::Sharded(a) => a.to_ndarray(),
            Reduced::Replicated(a) => a.to_ndarray(),
        }
    }

    /// The array that is still split.
    ///
    /// # Errors
    /// When the split axis was reduced.
    pub fn sharded(self) -> Result<ShardedArray<T>> {
        match self {
            Reduced::Sharded(a) => Ok(a),
            Reduced::Replicated(_) => Err(Error::argument(
                "sharded",
                "the split axis was reduced, so all members have the result; take `replicated`",
            )),
        }
    }

    /// The array that every member has. What is still split is brought together.
    ///
    /// # Errors
    /// Out of memory; a failure of a device.
    pub fn replicated(self) -> Result<Replicated<T>> {
        match self {
            Reduced::Sharded(a) => a.all_gather(),
            Reduced::Replicated(a) => Ok(a),
        }
    }
}

impl<T: Element> IntoSharded<T> for Reduced<T> {
    fn into_operand(self) -> Operand<T> {
        match self {
            Reduced::Sharded(a) => a.into_operand(),
            Reduced::Replicated(a) => a.into_operand(),
        }
    }
}

impl<T: Element> IntoSharded<T> for &Reduced<T> {
    fn into_operand(self) -> Operand<T> {
        self.clone().into_operand()
    }
}

/// An array under another name of its type, as with the sum type of a sum type.
fn renamed<A: Element, B: Element>(array: &DeviceArray<A>) -> Result<DeviceArray<B>> {
    debug_assert_eq!(A::DTYPE, B::DTYPE);
    Ok(DeviceArray::from_raw(array.raw()?.clone()))
}

fn constant<T: Element>(v: f64) -> Expr<T> {
    Expr::constant(if T::DTYPE == DType::F64 { Scalar::F64(v) } else { Scalar::F32(v as f32) })
}

impl<T: Element> ShardedReduction<T> {
    pub(super) fn new(input: ShardedExpr<T>, axes: Option<&[Axis]>) -> ShardedReduction<T> {
        ShardedReduction { input, axes: axes.map(<[Axis]>::to_vec), keepdims: false }
    }

    /// Keeps the reduced axes with length 1, so that the result broadcasts against the input.
    pub fn keepdims(mut self) -> Self {
        self.keepdims = true;
        self
    }

    /// The same reduction of something else of that shape.
    fn of<U: Element>(&self, input: ShardedExpr<U>) -> ShardedReduction<U> {
        ShardedReduction { input, axes: self.axes.clone(), keepdims: self.keepdims }
    }

    /// The reduced axes, in order. Those that do not exist are refused by the members' reductions.
    pub(super) fn picked(&self) -> Result<Vec<usize>> {
        let ndim = self.input.shape()?.len();
        let mut axes: Vec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(|a| a.0).collect(),
            None => (0..ndim).collect(),
        };
        axes.sort_unstable();
        Ok(axes)
    }

    fn reduces_split(&self) -> Result<bool> {
        let (_, axis) = self.input.split()?;
        Ok(self.picked()?.contains(&axis))
    }

    /// One member's reduction.
    fn part(&self, part: &Expr<T>) -> Result<Reduction<T>> {
        let axes: Vec<Axis> = self.picked()?.into_iter().map(Axis).collect();
        let reduction = part.over(&axes);
        Ok(if self.keepdims { reduction.keepdims() } else { reduction })
    }

    /// The shape of the result.
    pub(super) fn kept(&self) -> Result<Vec<usize>> {
        let picked = self.picked()?;
        let kept = |(a, &d): (usize, &usize)| match (picked.contains(&a), self.keepdims) {
            (false, _) => Some(d),
            (true, true) => Some(1),
            (true, false) => None,
        };
        Ok(self.input.shape()?.iter().enumerate().filter_map(kept).collect())
    }

    /// Reduces every part. A member without rows has `empty`, where it would have nothing to choose
    /// from while others have.
    fn each<U: Element>(
        &self,
        op: &'static str,
        empty: Option<U>,
        f: impl Fn(usize, Reduction<T>) -> Result<DeviceArray<U>>,
    ) -> Result<Vec<DeviceArray<U>>> {
        let (split, _) = self.input.split()?;
        let parts = self.input.parts()?;
        let reduces = self.reduces_split()?;
        split.each(op, |m| match empty {
            // Axes that do not exist, and an empty array, are refused by members that have rows.
            Some(value) if reduces && split.len() > 0 && split.ranges[m].is_empty() => {
                DeviceArray::full(&split.group.members()[m], self.kept()?.as_slice(), value)
            }
            _ => f(m, self.part(&parts[m])?),
        })
    }

    /// What the members' results are together.
    fn join<U: Element>(&self, parts: Vec<DeviceArray<U>>, by: ReduceOp) -> Result<Reduced<U>> {
        let (split, axis) = self.input.split()?;
        if self.reduces_split()? {
            let all = split.group.all_reduce(&parts, by)?.into_results();
            return Ok(Reduced::Replicated(Replicated::new(&split.group, all)));
        }
        let before = self.picked()?.iter().filter(|&&a| a < axis).count();
        let axis = if self.keepdims { axis } else { axis - before };
        Ok(Reduced::Sharded(ShardedArray::new(split.clone(), axis, parts)))
    }

    fn reduce<U: Element>(
        &self,
        op: &'static str,
        by: ReduceOp,
        empty: Option<U>,
        f: impl Fn(Reduction<T>) -> Result<DeviceArray<U>>,
    ) -> Result<Reduced<U>> {
        self.join(self.each(op, empty, |_, part| f(part))?, by)
    }
}

impl<T: Number> ShardedReduction<T> {
    /// A reduction that a reproducible group makes in one order.
    fn number<U: Element>(
        &self,
        op: &'static str,
        by: ReduceOp,
        empty: Option<U>,
        f: impl Fn(Reduction<T>) -> Result<DeviceArray<U>>,
    ) -> Result<Reduced<U>> {
        if !self.one_order()? {
            return self.reduce(op, by, empty, f);
        }
        let n: usize = self.input.shape()?.iter().product();
        if let (true, Some(join)) = (self.reduces_split()? && n > 0, Join::of(by)) {
            return self.in_one_order(op, join);
        }
        self.reduce(op, by, empty, |part| f(part.reproducible()))
    }

    /// The sum; see [`Reduction::sum`].
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn sum(&self) -> Result<Reduced<T::Sum>> {
        self.number("sum", ReduceOp::Sum, None, |part| part.sum())
    }

    /// The product; see [`Reduction::prod`].
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn prod(&self) -> Result<Reduced<T::Sum>> {
        self.number("prod", ReduceOp::Product, None, |part| part.prod())
    }

    /// The least element; see [`Reduction::min`].
    ///
    /// # Errors
    /// As [`Reduction::min`].
    pub fn min(&self) -> Result<Reduced<T>> {
        let empty = Some(ReduceOp::Min.identity());
        self.number("min", ReduceOp::Min, empty, |part| part.min())
    }

    /// The greatest element; see [`Reduction::max`].
    ///
    /// # Errors
    /// As [`Reduction::min`].
    pub fn max(&self) -> Result<Reduced<T>> {
        let empty = Some(ReduceOp::Max.identity());
        self.number("max", ReduceOp::Max, empty, |part| part.max())
    }

    /// The position of the least element in the whole array; see [`Reduction::argmin`].
    ///
    /// # Errors
    /// As [`Reduction::min`].
    pub fn argmin(&self) -> Result<Reduced<u64>> {
        self.position("argmin", ReduceOp::Min, |part| part.min(), |part| part.argmin())
    }

    /// The position of the greatest element in the whole array; see [`Reduction::argmax`].
    ///
    /// # Errors
    /// As [`Reduction::min`].
    pub fn argmax(&self) -> Result<Reduced<u64>> {
        self.position("argmax", ReduceOp::Max, |part| part.max(), |part| part.argmax())
    }

    fn position(
        &self,
        op: &'static str,
        by: ReduceOp,
        value: impl Fn(&Reduction<T>) -> Result<DeviceArray<T>>,
        position: impl Fn(&Reduction<T>) -> Result<DeviceArray<u64>>,
    ) -> Result<Reduced<u64>> {
        if !self.reduces_split()? {
            // The positions count along other axes.
            return self.reduce(op, ReduceOp::Min, None, |part| position(&part));
        }
        let (split, axis) = self.input.split()?;
        let values = self.each(op, Some(by.identity::<T>()), |_, part| value(&part))?;
        // From the position within the part to that within the whole: the reduced axes behind the
        // split one are the same, those before it step over all rows.
        let shape = self.input.shape()?;
        let behind: usize =
            self.picked()?.iter().filter(|&&a| a > axis).map(|&a| shape[a]).product();
        let places = self.each(op, Some(u64::MAX), |m, part| {
            let range = &split.ranges[m];
            let (rows, first) = ((range.len() * behind) as u64, (range.start * behind) as u64);
            let local = position(&part)?;
            let all = (split.len() * behind) as u64;
            (&local / rows * all + &local % rows + first).eval()
        })?;
        let best = split.group.all_reduce(&values, by)?.into_results();
        // Of members that have it, the first position. NaN wins, and differs from itself.
        let candidates = split.each(op, |m| {
            let (own, best) = (&values[m], &best[m]);
            let has = own.eq(best) | (own.ne(own) & best.ne(best));
            has.if_else(&places[m], u64::MAX).eval()
        })?;
        self.join(candidates, ReduceOp::Min)
    }

    /// The mean; see [`Reduction::mean`].
    ///
    /// # Errors
    /// As [`Reduction::mean`].
    pub fn mean(&self) -> Result<Reduced<T::Mean>> {
        self.not_reproducible("mean")?;
        if !self.reduces_split()? {
            return self.reduce("mean", ReduceOp::Sum, None, |part| part.mean());
        }
        let n = self.count()?;
        let sums = self.of(self.input.cast::<T::Mean>());
        let total = sums.reduce("mean", ReduceOp::Sum, None, |part| renamed(&part.sum()?))?;
        Ok(Reduced::Replicated(total.replicated()?.map(|sum| sum / constant(n as f64))?))
    }

    /// Elements behind each result.
    fn count(&self) -> Result<usize> {
        let shape = self.input.shape()?;
        Ok(self.picked()?.iter().filter_map(|&a| shape.get(a)).product())
    }

    /// The variance; see [`Reduction::var`].
    ///
    /// # Errors
    /// As [`Reduction::mean`].
    pub fn var(&self, ddof: f64) -> Result<Reduced<T::Mean>> {
        self.not_reproducible("var")?;
        if !self.reduces_split()? {
            return self.reduce("var", ReduceOp::Sum, None, |part| part.var(ddof));
        }
        let wide = self.input.cast::<T::Mean>();
        let mean = self.of(wide.clone()).keepdims().mean()?;
        let mean = mean.replicated()?;
        let parts = mean.parts().iter().map(renamed).collect::<Result<Vec<_>>>()?;
        let mean = Replicated::<T::Mean>::new(mean.group(), parts);
        let squares = self.of((wide - &mean).map(|d| d.square()));
        let total = squares.reduce("var", ReduceOp::Sum, None, |part| renamed(&part.sum()?))?;
        let freedom = self.count()? as f64 - ddof;
        let divisor = if freedom > 0.0 { freedom } else { f64::NAN };
        Ok(Reduced::Replicated(total.replicated()?.map(|sum| sum / constant(divisor))?))
    }
}

impl ShardedReduction<bool> {
    /// Whether any element is true; see [`Reduction::any`].
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn any(&self) -> Result<Reduced<bool>> {
        self.reduce("any", ReduceOp::Max, None, |part| part.any())
    }

    /// Whether every element is true; see [`Reduction::all`].
    ///
    /// # Errors
    /// As [`Reduction::sum`].
    pub fn all(&self) -> Result<Reduced<bool>> {
        self.reduce("all", ReduceOp::Min, None, |part| part.all())
    }
}

/// The short forms, on arrays and expressions alike.
macro_rules! short_forms {
    ($($target:ident)*) => {$(
        impl<T: Element> $target<T> {
            /// Reductions over several axes; see [`ShardedReduction`].
            pub fn over(&self, axes: &[Axis]) -> ShardedReduction<T> {
                ShardedReduction::new(self.map(|x| x), Some(axes))
            }

            /// Over all axes.
            fn whole(&self) -> ShardedReduction<T> {
                ShardedReduction::new(self.map(|x| x), None)
            }
        }
        short_forms!(@each $target, Number, T:
            sum sum_axis -> T::Sum, prod prod_axis -> T::Sum, min min_axis -> T, max max_axis -> T,
            argmin argmin_axis -> u64, argmax argmax_axis -> u64, mean mean_axis -> T::Mean);
        impl $target<bool> {
            /// Whether any element is true.
            ///
            /// # Errors
            /// As [`Reduction::any`].
            pub fn any(&self) -> Result<Replicated<bool>> {
                self.whole().any()?.replicated()
            }

            /// Whether every element is true.
            ///
            /// # Errors
            /// As [`Reduction::all`].
            pub fn all(&self) -> Result<Replicated<bool>> {
                self.whole().all()?.replicated()
            }
        }
        impl<T: Number> $target<T> {
            /// The variance of all elements; see [`Reduction::var`].
            ///
            /// # Errors
            /// As [`Reduction::var`].
            pub fn var(&self, ddof: f64) -> Result<Replicated<T::Mean>> {
                self.whole().var(ddof)?.replicated()
            }

            /// Σ self·other over all elements, in the type of sums.
            ///
            /// # Errors
            /// Operands that do not fit; as [`Reduction::sum`].
            pub fn dot(&self, other: impl IntoSharded<T>) -> Result<Replicated<T::Sum>> {
                let product = self.zip_with(other.into_operand(), |a: Expr<T>, b: Expr<T>| {
                    a.cast::<T::Sum>() * b.cast::<T::Sum>()
                });
                let all = product.whole();
                all.number("dot", ReduceOp::Sum, None, |part| renamed(&part.sum()?))?.replicated()
            }
        }
    )*};
    (@each $target:ident, $bound:ident, $T:ident: $($name:ident $axis_name:ident -> $out:ty),*) => {
        impl<$T: $bound> $target<$T> {$(
            #[doc = concat!("Over all elements; see [`Reduction::", stringify!($name), "`]. All members get it.")]
            ///
            /// # Errors
            #[doc = concat!("As [`Reduction::", stringify!($name), "`].")]
            pub fn $name(&self) -> Result<Replicated<$out>> {
                self.whole().$name()?.replicated()
            }
            #[doc = concat!("Along one axis; see [`Reduction::", stringify!($name), "`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`Reduction::", stringify!($name), "`].")]
            pub fn $axis_name(&self, axis: Axis) -> Result<Reduced<$out>> {
                self.over(&[axis]).$name()
            }
        )*}
    };
}
short_forms!(ShardedArray ShardedExpr);
