//! What members' elements are combined with.

use crate::element::{DType, Element};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::combine::{self, Combine};
use std::fmt;
use std::sync::Arc;

/// The operators of reducing collectives.
///
/// | operator | types |
/// |---|---|
/// | `Sum`, `Product`, `Average` | all but `bool` |
/// | `Min`, `Max` | all; for `bool` they are "all" and "any" |
/// | `And`, `Or`, `Xor` | integers, bit by bit, and `bool` |
///
/// The result has the type of the elements: integers wrap, and an average of integers is the wrapped sum
/// divided towards zero. `f16` and `bf16` are combined in `f32` and rounded after every step, or
/// once in the end where members reach each other's memory. NaN wins in minima and maxima, as everywhere
/// in the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// a + b
    Sum,
    /// a × b
    Product,
    /// The lesser; NaN when there is one.
    Min,
    /// The greater; NaN when there is one.
    Max,
    /// The sum, in the end divided by the number of members.
    Average,
    /// Bitwise, logical for `bool`.
    And,
    /// Bitwise, logical for `bool`.
    Or,
    /// Bitwise, logical for `bool`.
    Xor,
}

impl ReduceOp {
    /// All of them.
    pub const ALL: [ReduceOp; 8] = [
        ReduceOp::Sum,
        ReduceOp::Product,
        ReduceOp::Min,
        ReduceOp::Max,
        ReduceOp::Average,
        ReduceOp::And,
        ReduceOp::Or,
        ReduceOp::Xor,
    ];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "sum",
            ReduceOp::Product => "product",
            ReduceOp::Min => "min",
            ReduceOp::Max => "max",
            ReduceOp::Average => "average",
            ReduceOp::And => "and",
            ReduceOp::Or => "or",
            ReduceOp::Xor => "xor",
        }
    }

    /// Whether it is made for elements of this type.
    pub fn takes(self, dtype: DType) -> bool {
        match self {
            ReduceOp::Sum | ReduceOp::Product | ReduceOp::Average => dtype != DType::Bool,
            ReduceOp::Min | ReduceOp::Max => true,
            ReduceOp::And | ReduceOp::Or | ReduceOp::Xor => !dtype.is_float(),
        }
    }

    /// The type's value that changes nothing when it is combined; for an average that of sums.
    pub(crate) fn identity<T: Element>(self) -> T {
        let bytes = combine::identity(self, T::DTYPE);
        // SAFETY: eight bytes, of which the first are a value of this very type: for `bool` 0 or 1,
        // for the others any bytes are one.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    }
}

/// An operator of the user's own: a piece of OpenCL C for devices and its Rust twin for the host.
///
/// It must be associative, for nobody promises how members are paired. One that does not commute says so
/// with [`UserOp::ordered`]: elements are then combined in the order of the members, by the
/// algorithms that can.
///
/// ```
/// use clan::{Device, DeviceArray, Group, UserOp};
/// // The root of the sum of squares.
/// let hypot = UserOp::new("hypot", "sqrt(a * a + b * b)", |a: f32, b: f32| (a * a + b * b).sqrt());
/// let group = Group::new([Device::host(), Device::host()])?;
/// let parts = [3.0f32, 4.0].map(|v| DeviceArray::full(&Device::host(), 1, v));
/// let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(group.all_reduce(&parts, &hypot)?.wait()?[1].to_vec()?, [5.0]);
/// # Ok::<(), clan::Error>(())
/// ```
pub struct UserOp<T> {
    combine: Arc<Combine>,
    identity: Option<T>,
}

impl<T: Copy> Clone for UserOp<T> {
    fn clone(&self) -> Self {
        UserOp { combine: self.combine.clone(), identity: self.identity }
    }
}

impl<T: Element> fmt::Debug for UserOp<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserOp<{}>({})", T::DTYPE, self.combine.name)
    }
}

impl<T: Element> UserOp<T> {
    /// An operator with a name for messages, an expression in OpenCL C of `a` and `b`, and the function
    /// that computes the same on the host.
    ///
    /// `a` and `b` have the type that `T` is computed in: `float` for `f16` and `bf16`, `uchar` of
    /// 0 or 1 for `bool`. Text with a `return` is taken for the body of a function of them.
    ///
    /// The function runs in threads that share a loop and may wait for each other, so it must not call rayon, nor
    /// operations of this crate: a scan by one that does may never end.
    pub fn new(
        name: impl Into<String>,
        opencl: impl Into<String>,
        host: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) -> UserOp<T> {
        let text = opencl.into();
        let body = match text.contains("return") {
            true => text,
            false => format!("return ({text});"),
        };
        UserOp { combine: Arc::new(Combine::user(name.into(), body, host)), identity: None }
    }

    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.combine.name
    }

    /// The same operator, which must be applied in the order of the members.
    pub fn ordered(self) -> UserOp<T> {
        UserOp { combine: Arc::new(self.combine.in_order()), ..self }
    }

    /// The same operator with the value that changes nothing: what the first member gets from an
    /// exclusive scan.
    pub fn identity(self, value: T) -> UserOp<T> {
        UserOp { identity: Some(value), ..self }
    }
}

/// An operator of either kind: what collectives take.
#[derive(Clone, Debug)]
pub enum Operator<T: Element> {
    /// One of the crate's.
    Own(ReduceOp),
    /// The user's.
    User(UserOp<T>),
}

impl<T: Element> From<ReduceOp> for Operator<T> {
    fn from(op: ReduceOp) -> Self {
        Operator::Own(op)
    }
}

impl<T: Element> From<UserOp<T>> for Operator<T> {
    fn from(op: UserOp<T>) -> Self {
        Operator::User(op)
    }
}

impl<T: Element> From<&UserOp<T>> for Operator<T> {
    fn from(op: &UserOp<T>) -> Self {
        Operator::User(op.clone())
    }
}

impl<T: Element> Operator<T> {
    /// What the engine works with.
    pub(crate) fn combine(&self, op: &'static str) -> Result<Arc<Combine>> {
        let own = match self {
            Operator::User(user) => return Ok(user.combine.clone()),
            Operator::Own(own) => *own,
        };
        if own.takes(T::DTYPE) {
            return Ok(Arc::new(Combine::own(own, T::DTYPE)));
        }
        let way_out = match T::DTYPE {
            DType::Bool => "use Or, And or Xor, or cast to an integer type",
            _ => "cast to an integer type",
        };
        let text = format!("{} is not made for elements of {}; {way_out}", own.name(), T::DTYPE);
        Err(Error::new(ErrorKind::Type, op, text))
    }

    /// Whether results are divided by the number of members.
    pub(crate) fn averages(&self) -> bool {
        matches!(self, Operator::Own(ReduceOp::Average))
    }

    pub(crate) fn identity(&self) -> Option<T> {
        match self {
            Operator::Own(own) => Some(own.identity()),
            Operator::User(user) => user.identity,
        }
    }
}
