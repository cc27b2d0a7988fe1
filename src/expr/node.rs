//! The graph behind an expression: untyped, immutable, shared by `Arc`.

use crate::array::RawArray;
use crate::device::Device;
use crate::element::{DType, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout, broadcast_shapes};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One step of an expression. Immutable, so sharing a node shares its value.
pub(crate) struct Node {
    pub kind: Kind,
    /// Type of the value; the half floats are computed in `f32` and rounded only when stored or
    /// cast to.
    pub dtype: DType,
    pub shape: Dims,
    /// Where the leaves live; `None` while there are only scalars.
    pub device: Option<Device>,
}

pub(crate) enum Kind {
    /// An array, as it was when the expression was built.
    Leaf(RawArray),
    /// The position itself: a leaf over an imaginary buffer 0, 1, 2, …
    Iota(Layout),
    Scalar(Scalar),
    /// The element that an operation is about to store: what its epilogue starts from. The number
    /// tells one operation from another.
    Result(u64),
    Unary(Unary, Arc<Node>),
    Binary(Binary, [Arc<Node>; 2]),
    Ternary(Ternary, [Arc<Node>; 3]),
    Cast(Arc<Node>),
}

/// What an operation reads: an array as it is, which needs no node, or an expression.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    Array(&'a RawArray),
    Node(&'a Arc<Node>),
}

impl<'a> From<&'a Arc<Node>> for Operand<'a> {
    fn from(node: &'a Arc<Node>) -> Self {
        Operand::Node(node)
    }
}

impl<'a> Operand<'a> {
    pub fn shape(self) -> &'a [usize] {
        match self {
            Operand::Array(array) => &array.layout.shape,
            Operand::Node(node) => &node.shape,
        }
    }

    pub fn dtype(self) -> DType {
        match self {
            Operand::Array(array) => array.dtype,
            Operand::Node(node) => node.dtype,
        }
    }

    pub fn to_node(self) -> Arc<Node> {
        match self {
            Operand::Array(array) => Node::leaf(array.clone()),
            Operand::Node(node) => node.clone(),
        }
    }

    /// The array that it is, where that lies in the host's memory in row-major order.
    pub fn in_order_on_host(self) -> Option<&'a RawArray> {
        let array = match self {
            Operand::Array(array) => array,
            Operand::Node(node) => node.array()?,
        };
        (array.device().is_host() && array.layout.is_contiguous()).then_some(array)
    }
}

/// Functions of one value; the names are those of `f32` and the integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Unary {
    Neg,
    Not,
    Abs,
    Signum,
    Recip,
    Sqrt,
    Cbrt,
    Exp,
    Exp2,
    ExpM1,
    Ln,
    Log2,
    Log10,
    Ln1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Floor,
    Ceil,
    Round,
    RoundTiesEven,
    Trunc,
    Fract,
    ToDegrees,
    ToRadians,
    IsNan,
    IsInfinite,
    IsFinite,
    CountOnes,
    LeadingZeros,
    TrailingZeros,
}

/// Functions of two values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Min,
    Max,
    Pow,
    Atan2,
    Hypot,
    Copysign,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Ternary {
    /// `if a { b } else { c }`
    Select,
    /// `a * b + c`, rounded once.
    MulAdd,
}

impl Unary {
    /// Whether the operation exists for values of `dtype`.
    pub fn takes(self, dtype: DType) -> bool {
        use Unary::*;
        match self {
            Not => !dtype.is_float(),
            Neg => dtype != DType::Bool && !dtype.is_unsigned(),
            Abs | Signum => dtype != DType::Bool,
            CountOnes | LeadingZeros | TrailingZeros => dtype.is_signed() || dtype.is_unsigned(),
            _ => dtype.is_float(),
        }
    }

    pub fn result(self, dtype: DType) -> DType {
        match self {
            Unary::IsNan | Unary::IsInfinite | Unary::IsFinite => DType::Bool,
            _ => dtype,
        }
    }
}

impl Binary {
    /// The name of the method, or of the operator's trait.
    pub fn name(self) -> &'static str {
        use Binary::*;
        match self {
            Add => "add",
            Sub => "sub",
            Mul => "mul",
            Div => "div",
            Rem => "rem",
            And => "bitand",
            Or => "bitor",
            Xor => "bitxor",
            Shl => "shl",
            Shr => "shr",
            Min => "minimum",
            Max => "maximum",
            Pow => "powf",
            Atan2 => "atan2",
            Hypot => "hypot",
            Copysign => "copysign",
            Eq => "eq",
            Ne => "ne",
            Lt => "lt",
            Le => "le",
            Gt => "gt",
            Ge => "ge",
        }
    }

    pub fn takes(self, dtype: DType) -> bool {
        use Binary::*;
        match self {
            Add | Sub | Mul | Div | Rem | Min | Max => dtype != DType::Bool,
            And | Or | Xor => !dtype.is_float(),
            Shl | Shr => dtype.is_signed() || dtype.is_unsigned(),
            Pow | Atan2 | Hypot | Copysign => dtype.is_float(),
            Eq | Ne | Lt | Le | Gt | Ge => true,
        }
    }

    pub fn is_comparison(self) -> bool {
        use Binary::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }

    pub fn result(self, dtype: DType) -> DType {
        if self.is_comparison() { DType::Bool } else { dtype }
    }
}

impl Ternary {
    pub fn name(self) -> &'static str {
        match self {
            Ternary::Select => "if_else",
            Ternary::MulAdd => "mul_add",
        }
    }
}

impl Node {
    pub fn leaf(array: RawArray) -> Arc<Node> {
        Arc::new(Node {
            dtype: array.dtype,
            shape: Dims::from_slice(&array.layout.shape),
            device: Some(array.device().clone()),
            kind: Kind::Leaf(array),
        })
    }

    pub fn iota(device: &Device, shape: &[usize]) -> Arc<Node> {
        Arc::new(Node {
            dtype: DType::U64,
            shape: Dims::from_slice(shape),
            device: Some(device.clone()),
            kind: Kind::Iota(Layout::contiguous(shape)),
        })
    }

    /// What the epilogue of an operation starts from: an element of `shape` on `device`, and the
    /// number by which [`super::split::replace`] finds it again.
    pub fn result(device: &Device, shape: &[usize], dtype: DType) -> (Arc<Node>, u64) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let node = Node {
            kind: Kind::Result(id),
            dtype,
            shape: Dims::from_slice(shape),
            device: Some(device.clone()),
        };
        (Arc::new(node), id)
    }

    /// A scalar of storage type `dtype`; it broadcasts to any shape.
    pub fn scalar(value: Scalar, dtype: DType) -> Arc<Node> {
        Arc::new(Node { dtype, shape: Dims::new(), device: None, kind: Kind::Scalar(value) })
    }

    pub fn unary(op: Unary, a: Arc<Node>) -> Arc<Node> {
        debug_assert!(op.takes(a.dtype));
        Arc::new(Node {
            dtype: op.result(a.dtype),
            shape: Dims::from_slice(&a.shape),
            device: a.device.clone(),
            kind: Kind::Unary(op, a),
        })
    }

    pub fn binary(op: Binary, a: Arc<Node>, b: Arc<Node>) -> Result<Arc<Node>> {
        debug_assert!(op.takes(a.dtype) && a.dtype == b.dtype);
        let shape = join(op.name(), &[&a, &b])?;
        let device = same_device(op.name(), &[&a, &b])?;
        Ok(Arc::new(Node {
            dtype: op.result(a.dtype),
            shape,
            device,
            kind: Kind::Binary(op, [a, b]),
        }))
    }

    pub fn ternary(op: Ternary, abc: [Arc<Node>; 3]) -> Result<Arc<Node>> {
        let [a, b, c] = &abc;
        let shape = join(op.name(), &[a, b, c])?;
        let device = same_device(op.name(), &[a, b, c])?;
        Ok(Arc::new(Node { dtype: b.dtype, shape, device, kind: Kind::Ternary(op, abc) }))
    }

    pub fn cast(a: Arc<Node>, to: DType) -> Arc<Node> {
        if a.dtype == to {
            return a;
        }
        Arc::new(Node {
            dtype: to,
            shape: Dims::from_slice(&a.shape),
            device: a.device.clone(),
            kind: Kind::Cast(a),
        })
    }

    /// The same operation under another type or shape; for the root of an expression.
    pub fn with(&self, dtype: DType, shape: &[usize], device: Option<&Device>) -> Arc<Node> {
        let kind = match &self.kind {
            Kind::Leaf(a) => Kind::Leaf(a.clone()),
            Kind::Iota(l) => Kind::Iota(l.clone()),
            Kind::Scalar(s) => Kind::Scalar(*s),
            Kind::Result(id) => Kind::Result(*id),
            Kind::Unary(op, a) => Kind::Unary(*op, a.clone()),
            Kind::Binary(op, ab) => Kind::Binary(*op, ab.clone()),
            Kind::Ternary(op, abc) => Kind::Ternary(*op, abc.clone()),
            Kind::Cast(a) => Kind::Cast(a.clone()),
        };
        Arc::new(Node { kind, dtype, shape: Dims::from_slice(shape), device: device.cloned() })
    }

    /// The array that it is, where it is one as it stands.
    pub fn array(&self) -> Option<&RawArray> {
        match &self.kind {
            Kind::Leaf(array) if array.dtype == self.dtype && array.layout.shape == self.shape => {
                Some(array)
            }
            _ => None,
        }
    }

    pub fn children(&self) -> &[Arc<Node>] {
        match &self.kind {
            Kind::Leaf(_) | Kind::Iota(_) | Kind::Scalar(_) | Kind::Result(_) => &[],
            Kind::Unary(_, a) | Kind::Cast(a) => std::slice::from_ref(a),
            Kind::Binary(_, ab) => ab,
            Kind::Ternary(_, abc) => abc,
        }
    }
}

fn join(op: &'static str, nodes: &[&Arc<Node>]) -> Result<Dims> {
    let mut shape = nodes[0].shape.clone();
    for node in &nodes[1..] {
        shape = broadcast_shapes(&shape, &node.shape).ok_or_else(|| {
            let shapes: Vec<String> = nodes.iter().map(|n| format!("{:?}", n.shape)).collect();
            Error::shape(
                op,
                format!(
                    "shapes {} do not broadcast: aligned at the last axis, lengths must be equal or 1",
                    shapes.join(" and ")
                ),
            )
        })?;
    }
    Ok(shape)
}

fn same_device(op: &'static str, nodes: &[&Arc<Node>]) -> Result<Option<Device>> {
    let mut found: Option<&Device> = None;
    for device in nodes.iter().filter_map(|n| n.device.as_ref()) {
        match found {
            Some(first) if first != device => {
                return Err(Error::new(
                    ErrorKind::DeviceMismatch,
                    op,
                    format!(
                        "operands live on {first} and on {device}; copy one with `to_device` first"
                    ),
                ));
            }
            _ => found = Some(device),
        }
    }
    Ok(found.cloned())
}

/// Nodes still to be dropped; few in an ordinary expression.
type Pending = SmallVec<[Arc<Node>; 4]>;

/// Dropping walks the graph with a list instead of the call stack, so that an expression built in
/// a long loop does not overflow it.
impl Drop for Node {
    fn drop(&mut self) {
        let mut pending = Pending::new();
        take_children(&mut self.kind, &mut pending);
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                take_children(&mut node.kind, &mut pending);
            }
        }
    }
}

fn take_children(kind: &mut Kind, into: &mut Pending) {
    // Leaves are large; they are not moved for nothing.
    if let Kind::Leaf(_) | Kind::Iota(_) | Kind::Scalar(_) = kind {
        return;
    }
    match std::mem::replace(kind, Kind::Scalar(Scalar::Bool(false))) {
        Kind::Unary(_, a) | Kind::Cast(a) => into.push(a),
        Kind::Binary(_, ab) => into.extend(ab),
        Kind::Ternary(_, abc) => into.extend(abc),
        Kind::Leaf(_) | Kind::Iota(_) | Kind::Scalar(_) | Kind::Result(_) => {}
    }
}
