//! Element-wise expressions: built with operators and methods, computed in one pass by `eval`.

pub(crate) mod fused;
pub(crate) mod node;
mod ops;
pub use ops::{Logic, Signed};
mod split;

use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{Element, Scalar};
use crate::error::{Error, Result};
use node::{Binary, Node, Operand, Ternary, Unary};
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

pub(crate) use split::{fits, fuse, fuse_somewhere, replace};

/// An element-wise expression that has not been computed yet.
///
/// Operators and methods on [`DeviceArray`] and `Expr` build a graph; [`Expr::eval`] computes all
/// of it in one pass over memory, and reductions consume it directly, so
/// `(&a * &b).sum()` makes no temporary. Shapes broadcast as in NumPy: aligned at the last axis,
/// lengths equal or 1. Both operands have one type; casts are explicit.
///
/// An expression sees its arrays as they were when it was built. Mistakes made while building
/// (shapes that do not fit, arrays of two devices) are kept and returned, with the place in the
/// user's source, by [`Expr::shape`], [`Expr::eval`] and every other call that could fail.
pub struct Expr<T> {
    node: Result<Arc<Node>>,
    _type: PhantomData<fn() -> T>,
}

impl<T> Clone for Expr<T> {
    fn clone(&self) -> Self {
        Expr { node: self.node.clone(), _type: PhantomData }
    }
}

impl<T: Element> std::fmt::Debug for Expr<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.node {
            Ok(node) => write!(f, "Expr<{}>{:?}", T::DTYPE, node.shape),
            Err(e) => write!(f, "Expr<{}>({e})", T::DTYPE),
        }
    }
}

/// What can stand as an operand of type `T` in an expression: arrays and expressions, by value or
/// by reference, and scalars.
pub trait IntoExpr<T: Element> {
    /// The operand as an expression.
    fn into_expr(self) -> Expr<T>;
}

impl<T: Element> IntoExpr<T> for T {
    fn into_expr(self) -> Expr<T> {
        Expr::from_node(Ok(Node::scalar(self.to_scalar(), T::DTYPE)))
    }
}

impl<T: Element> IntoExpr<T> for Expr<T> {
    fn into_expr(self) -> Expr<T> {
        self
    }
}

impl<T: Element> IntoExpr<T> for &Expr<T> {
    fn into_expr(self) -> Expr<T> {
        self.clone()
    }
}

impl<T: Element> IntoExpr<T> for DeviceArray<T> {
    fn into_expr(self) -> Expr<T> {
        self.expr()
    }
}

impl<T: Element> IntoExpr<T> for &DeviceArray<T> {
    fn into_expr(self) -> Expr<T> {
        self.expr()
    }
}

/// What an operation that is described in several steps reads.
#[derive(Clone)]
pub(crate) enum Input<T> {
    Array(DeviceArray<T>),
    Expr(Expr<T>),
}

impl<T: Element> Input<T> {
    pub fn operand(&self) -> Result<Operand<'_>> {
        match self {
            Input::Array(array) => array.raw().map(Operand::Array),
            Input::Expr(expr) => expr.node().map(Operand::Node),
        }
    }
}

impl<T: Element> Expr<T> {
    pub(crate) fn from_node(node: Result<Arc<Node>>) -> Expr<T> {
        debug_assert!(node.as_ref().map_or(true, |n| n.dtype == T::DTYPE));
        Expr { node, _type: PhantomData }
    }

    pub(crate) fn node(&self) -> Result<&Arc<Node>> {
        self.node.as_ref().map_err(Error::clone)
    }

    /// The shape of the result.
    ///
    /// # Errors
    /// The first mistake made while the expression was built.
    pub fn shape(&self) -> Result<&[usize]> {
        Ok(&self.node()?.shape)
    }

    /// The device that will compute it; `None` while it consists of scalars alone.
    ///
    /// # Errors
    /// The first mistake made while the expression was built.
    pub fn device(&self) -> Result<Option<&Device>> {
        Ok(self.node()?.device.as_ref())
    }

    /// Computes the expression in one pass into a new array. An expression of scalars alone is
    /// computed on [`Device::best`].
    ///
    /// # Errors
    /// The first mistake made while the expression was built; an element type that the device
    /// does not have; out of memory.
    pub fn eval(&self) -> Result<DeviceArray<T>> {
        Ok(DeviceArray::from_raw(crate::ops::map::eval(self.node()?)?))
    }

    /// Converts every element as Rust's `as` does: towards zero and saturating from floats to
    /// integers (NaN gives 0), wrapping between integers, rounding to nearest towards floats;
    /// `bool` gives 0 or 1, and casting to `bool` asks whether the value differs from zero.
    pub fn cast<U: Element>(&self) -> Expr<U> {
        Expr::from_node(self.node.clone().map(|n| Node::cast(n, U::DTYPE)))
    }

    pub(crate) fn map1<U: Element>(&self, op: Unary) -> Expr<U> {
        Expr::from_node(self.node.clone().map(|n| Node::unary(op, n)))
    }

    pub(crate) fn map2<U: Element>(&self, op: Binary, other: Expr<T>) -> Expr<U> {
        Expr::from_node(self.node.clone().and_then(|a| Node::binary(op, a, other.node?)))
    }

    pub(crate) fn map3<A: Element>(op: Ternary, a: Expr<A>, b: Expr<T>, c: Expr<T>) -> Expr<T> {
        Expr::from_node(a.node.and_then(|a| Node::ternary(op, [a, b.node?, c.node?])))
    }

    /// Remembers the caller's place in a mistake that has none yet: what every public operator and
    /// method does last.
    #[track_caller]
    pub(crate) fn built_here(self) -> Expr<T> {
        // Asked for outside the closure, whose own place would be the answer there.
        let here = Location::caller();
        Expr::from_node(self.node.map_err(|e| e.at(here)))
    }

    /// The positions 0, 1, 2, … of `shape` in row-major order, computed where they are needed.
    pub(crate) fn positions(device: &Device, shape: &[usize]) -> Expr<u64> {
        Expr::from_node(Ok(Node::iota(device, shape)))
    }

    /// `value` in the compute type of `T`, for constants that a method needs.
    pub(crate) fn constant(value: Scalar) -> Expr<T> {
        Expr::from_node(Ok(Node::scalar(value, T::DTYPE)))
    }
}
