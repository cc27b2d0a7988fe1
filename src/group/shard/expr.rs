//! Element-wise expressions over parts.

use super::{Replicated, ShardedArray, Split, along};
use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::{Expr, IntoExpr};
use std::fmt;
use std::ops::Range;

/// An element-wise expression over sharded arrays that has not been computed yet: an [`Expr`] a member.
///
/// Operators on [`ShardedArray`]s build it, and [`ShardedExpr::map`] and [`ShardedExpr::zip_with`] apply
/// whatever an [`Expr`] can do. Operands are sharded arrays and expressions, split over the same
/// members in the same way; [`Replicated`] arrays; scalars. Shapes broadcast as everywhere. A
/// replicated array that is as long as the split axis is cut along with it.
///
/// As an [`Expr`] it keeps mistakes until somebody asks for the result.
pub struct ShardedExpr<T> {
    inner: Result<Inner<T>>,
}

struct Inner<T> {
    split: Split,
    /// The split axis, counted from the last: 1 is the last one.
    from_end: usize,
    shape: Vec<usize>,
    parts: Vec<Expr<T>>,
}

impl<T> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Inner {
            split: self.split.clone(),
            from_end: self.from_end,
            shape: self.shape.clone(),
            parts: self.parts.clone(),
        }
    }
}

impl<T> Clone for ShardedExpr<T> {
    fn clone(&self) -> Self {
        ShardedExpr { inner: self.inner.clone() }
    }
}

impl<T: Element> fmt::Debug for ShardedExpr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Ok(inner) => write!(f, "ShardedExpr<{}>{:?}", T::DTYPE, inner.shape),
            Err(e) => write!(f, "ShardedExpr<{}>({e})", T::DTYPE),
        }
    }
}

/// What can stand beside a sharded array in an expression: sharded arrays and expressions, replicated
/// arrays, results of reductions, each by value or by reference, and scalars.
pub trait IntoSharded<T: Element> {
    #[doc(hidden)]
    fn into_operand(self) -> Operand<T>;
}

#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum Operand<T: Element> {
    Sharded(ShardedExpr<T>),
    Replicated(Replicated<T>),
    Scalar(T),
}

impl<T: Element> IntoSharded<T> for Operand<T> {
    fn into_operand(self) -> Operand<T> {
        self
    }
}

impl<T: Element> IntoSharded<T> for T {
    fn into_operand(self) -> Operand<T> {
        Operand::Scalar(self)
    }
}

impl<T: Element> IntoSharded<T> for ShardedExpr<T> {
    fn into_operand(self) -> Operand<T> {
        Operand::Sharded(self)
    }
}

impl<T: Element> IntoSharded<T> for &ShardedExpr<T> {
    fn into_operand(self) -> Operand<T> {
        Operand::Sharded(self.clone())
    }
}

impl<T: Element> IntoSharded<T> for ShardedArray<T> {
    fn into_operand(self) -> Operand<T> {
        Operand::Sharded(self.expr())
    }
}

impl<T: Element> IntoSharded<T> for &ShardedArray<T> {
    fn into_operand(self) -> Operand<T> {
        Operand::Sharded(self.expr())
    }
}

impl<T: Element> IntoSharded<T> for Replicated<T> {
    fn into_operand(self) -> Operand<T> {
        Operand::Replicated(self)
    }
}

impl<T: Element> IntoSharded<T> for &Replicated<T> {
    fn into_operand(self) -> Operand<T> {
        Operand::Replicated(self.clone())
    }
}

impl<T: Element> ShardedArray<T> {
    /// The array as an expression.
    pub fn expr(&self) -> ShardedExpr<T> {
        let parts = self.parts.iter().map(|part| part.expr()).collect();
        ShardedExpr {
            inner: Ok(Inner {
                split: self.split.clone(),
                from_end: self.ndim() - self.axis,
                shape: self.shape.clone(),
                parts,
            }),
        }
    }

    /// As [`ShardedExpr::map`].
    pub fn map<U: Element>(&self, f: impl Fn(Expr<T>) -> Expr<U>) -> ShardedExpr<U> {
        self.expr().map(f)
    }

    /// As [`ShardedExpr::zip_with`].
    pub fn zip_with<U: Element, V: Element>(
        &self,
        other: impl IntoSharded<U>,
        f: impl Fn(Expr<T>, Expr<U>) -> Expr<V>,
    ) -> ShardedExpr<V> {
        self.expr().zip_with(other, f)
    }
}

impl<T: Element> ShardedExpr<T> {
    fn inner(&self) -> Result<&Inner<T>> {
        self.inner.as_ref().map_err(Error::clone)
    }

    /// The shape of the whole result.
    ///
    /// # Errors
    /// The first mistake made while the expression was built.
    pub fn shape(&self) -> Result<&[usize]> {
        Ok(&self.inner()?.shape)
    }

    /// What every member is to compute.
    ///
    /// # Errors
    /// As [`ShardedExpr::shape`].
    pub fn parts(&self) -> Result<&[Expr<T>]> {
        Ok(&self.inner()?.parts)
    }

    /// How it is split, and along which axis.
    pub(super) fn split(&self) -> Result<(&Split, usize)> {
        let inner = self.inner()?;
        Ok((&inner.split, inner.shape.len() - inner.from_end))
    }

    /// Applies an element-wise function: `f` makes each part's expression from what it was.
    ///
    /// ```
    /// # use clan::{Device, DeviceArray, Group, ndarray::Axis};
    /// # let group = Group::new(vec![Device::host(); 2])?;
    /// # let x = DeviceArray::from_slice(&Device::host(), &[0.0f32, 4.0, 12.0])?;
    /// let a = group.shard(&x, Axis(0))?;
    /// assert_eq!(a.map(|x| (x * 2.0 + 1.0).sqrt()).eval()?.to_vec()?, [1.0, 3.0, 5.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    pub fn map<U: Element>(&self, f: impl Fn(Expr<T>) -> Expr<U>) -> ShardedExpr<U> {
        ShardedExpr { inner: self.mapped(f) }
    }

    fn mapped<U: Element>(&self, f: impl Fn(Expr<T>) -> Expr<U>) -> Result<Inner<U>> {
        let inner = self.inner()?;
        let parts = inner.parts.iter().map(|part| f(part.clone())).collect();
        Inner::new("map", inner.split.clone(), inner.from_end, parts)
    }

    /// Applies an element-wise function of two operands.
    ///
    /// ```
    /// # use clan::{Device, DeviceArray, Group, ndarray::Axis};
    /// # let group = Group::new(vec![Device::host(); 2])?;
    /// # let x = DeviceArray::from_slice(&Device::host(), &[3.0f32, 5.0, 8.0])?;
    /// let a = group.shard(&x, Axis(0))?;
    /// let b = (&a + 1.0).eval()?;
    /// assert_eq!(a.zip_with(&b, |x, y| x.maximum(y)).eval()?.to_vec()?, [4.0, 6.0, 9.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    pub fn zip_with<U: Element, V: Element>(
        &self,
        other: impl IntoSharded<U>,
        f: impl Fn(Expr<T>, Expr<U>) -> Expr<V>,
    ) -> ShardedExpr<V> {
        zip("zip_with", Operand::Sharded(self.clone()), other.into_operand(), f)
    }

    /// Converts every element; see [`Expr::cast`].
    pub fn cast<U: Element>(&self) -> ShardedExpr<U> {
        self.map(|x| x.cast())
    }

    /// Computes every part, each on its member's device.
    ///
    /// # Errors
    /// The first mistake made while the expression was built; as [`Expr::eval`].
    pub fn eval(&self) -> Result<ShardedArray<T>> {
        let inner = self.inner()?;
        let parts = inner.split.each("eval", |m| inner.parts[m].eval())?;
        let (split, axis) = self.split()?;
        Ok(ShardedArray { split: split.clone(), axis, shape: inner.shape.clone(), parts })
    }

    /// Remembers where a mistake was made.
    pub(super) fn at(self, here: &'static std::panic::Location<'static>) -> ShardedExpr<T> {
        ShardedExpr { inner: self.inner.map_err(|e| e.at(here)) }
    }
}

impl ShardedExpr<bool> {
    /// Takes the element of `yes` where the condition holds and that of `no` elsewhere.
    #[track_caller]
    pub fn if_else<T: Element>(
        &self,
        yes: impl IntoSharded<T>,
        no: impl IntoSharded<T>,
    ) -> ShardedExpr<T> {
        let (yes, no) = (yes.into_operand(), no.into_operand());
        let made = || {
            let condition = Operand::Sharded(self.clone());
            let (split, from_end) = place("if_else", [yes.place(), no.place(), condition.place()])?;
            let condition = condition.parts("if_else", &split, from_end)?;
            let yes = yes.parts("if_else", &split, from_end)?;
            let no = no.parts("if_else", &split, from_end)?;
            let both = yes.into_iter().zip(no);
            let parts = condition.iter().zip(both).map(|(c, (yes, no))| c.if_else(yes, no));
            Inner::new("if_else", split, from_end, parts.collect())
        };
        ShardedExpr { inner: made() }.at(std::panic::Location::caller())
    }
}

/// An element-wise function of two operands, of which one at least is sharded.
pub(super) fn zip<T: Element, U: Element, V: Element>(
    op: &'static str,
    a: Operand<T>,
    b: Operand<U>,
    f: impl Fn(Expr<T>, Expr<U>) -> Expr<V>,
) -> ShardedExpr<V> {
    let made = || {
        let (split, from_end) = place(op, [a.place(), b.place()])?;
        let (a, b) = (a.parts(op, &split, from_end)?, b.parts(op, &split, from_end)?);
        let parts = a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect();
        Inner::new(op, split, from_end, parts)
    };
    ShardedExpr { inner: made() }
}

/// Where a sharded operand is split; nothing for the others.
type Place = Result<Option<(Split, usize)>>;

/// Where the first sharded operand is split.
fn place<const N: usize>(op: &'static str, places: [Place; N]) -> Result<(Split, usize)> {
    for place in places {
        if let Some(place) = place? {
            return Ok(place);
        }
    }
    let text = "no operand is sharded; use `map` and `zip_with` of replicated arrays";
    Err(Error::argument(op, text))
}

impl<T: Element> Operand<T> {
    fn place(&self) -> Place {
        match self {
            Operand::Sharded(e) => e.inner().map(|i| Some((i.split.clone(), i.from_end))),
            Operand::Replicated(_) | Operand::Scalar(_) => Ok(None),
        }
    }

    /// The operand as every member sees it, beside one that is split in this way.
    fn parts(&self, op: &'static str, split: &Split, from_end: usize) -> Result<Vec<Expr<T>>> {
        match self {
            Operand::Sharded(e) => {
                let own = e.inner()?;
                if own.split.same(split) && own.from_end == from_end {
                    return Ok(own.parts.clone());
                }
                super::replicated::same_members(op, &split.group, &own.split.group)?;
                let of = |s: &Split, from_end: usize| match from_end {
                    1 => format!("the last axis as {:?}", s.ranges),
                    k => format!("axis {k} from the end as {:?}", s.ranges),
                };
                let text = format!(
                    "operands are split in different ways, {} and {}; `reshard_like` brings one to the split of the other",
                    of(split, from_end),
                    of(&own.split, own.from_end)
                );
                Err(Error::shape(op, text))
            }
            Operand::Replicated(r) => {
                super::replicated::same_members(op, &split.group, r.group())?;
                let shape = r.shape();
                let n = split.len();
                // Along the split axis it has nothing, one row, or a row for each of the whole.
                let axis = shape.len().checked_sub(from_end);
                match axis.filter(|&a| shape[a] != 1) {
                    None => Ok(r.parts().iter().map(|part| part.expr()).collect()),
                    Some(a) if shape[a] == n => {
                        let cut = |(m, range): (usize, &Range<usize>)| {
                            Ok(r.parts()[m].slice(along(shape.len(), a, range.clone()))?.expr())
                        };
                        split.ranges.iter().enumerate().map(cut).collect()
                    }
                    Some(a) => {
                        let text = format!(
                            "a replicated array of shape {shape:?} beside an axis of length {n} that is split: its axis {a} has length 1 or {n}"
                        );
                        Err(Error::shape(op, text))
                    }
                }
            }
            Operand::Scalar(v) => Ok(split.ranges.iter().map(|_| v.into_expr()).collect()),
        }
    }
}

impl<T: Element> Inner<T> {
    /// Checks that the parts are what a split array of one shape has.
    fn new(
        op: &'static str,
        split: Split,
        from_end: usize,
        parts: Vec<Expr<T>>,
    ) -> Result<Inner<T>> {
        let first = parts[0].shape()?.to_vec();
        for (m, part) in parts.iter().enumerate() {
            let device = &split.group.members()[m];
            let of = |e: Error| e.of_member(op, m, &device.to_string());
            let shape = part.shape().map_err(of)?;
            let mut wanted = first.clone();
            let axis = wanted.len().checked_sub(from_end);
            if let Some(axis) = axis {
                wanted[axis] = split.ranges[m].len();
            }
            if axis.is_none() || shape != wanted {
                let text = format!(
                    "its part has shape {shape:?} instead of {} rows of the split axis; element-wise functions keep shapes",
                    split.ranges[m].len()
                );
                return Err(of(Error::shape(op, text)));
            }
            if part.device()?.is_some_and(|d| d != device) {
                let text = "its part is on another device; combine arrays by `zip_with`";
                return Err(of(Error::new(ErrorKind::DeviceMismatch, op, text)));
            }
        }
        let mut shape = first;
        let axis = shape.len() - from_end;
        shape[axis] = split.len();
        Ok(Inner { split, from_end, shape, parts })
    }
}
