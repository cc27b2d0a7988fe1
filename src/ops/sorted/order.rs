//! Elements as expressions that are compared as sorts compare them, for every type on every device: bits.

use crate::array::{DeviceArray, RawArray};
use crate::element::{DType, Scalar};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::node::{Binary, Node, Ternary, Unary};
use crate::layout::check_axis;
use ndarray::{Axis, Slice, SliceInfoElem};
use std::sync::Arc;

/// The bits of floats, and what is the same in all of them.
struct Bits {
    bits: Arc<Node>,
    sign: Arc<Node>,
    zero: Arc<Node>,
    /// Whether it is a NaN.
    nan: Arc<Node>,
    greatest: Arc<Node>,
}

impl Bits {
    /// Of floats alone.
    fn of(array: &RawArray) -> Result<Option<Bits>> {
        let (dtype, infinity) = match array.dtype {
            DType::F16 => (DType::U16, 0x7c00),
            DType::BF16 => (DType::U16, 0x7f80),
            DType::F32 => (DType::U32, 0x7f80_0000),
            DType::F64 => (DType::U64, 0x7ff0_0000_0000_0000),
            _ => return Ok(None),
        };
        let scalar = |v: u64| {
            let v = match dtype {
                DType::U16 => Scalar::U16(v as u16),
                DType::U32 => Scalar::U32(v as u32),
                _ => Scalar::U64(v),
            };
            Node::scalar(v, dtype)
        };
        let sign = 1 << (8 * dtype.size() - 1);
        let bits = Node::leaf(RawArray { dtype, ..array.clone() });
        let size = Node::binary(Binary::And, bits.clone(), scalar(!sign))?;
        let nan = Node::binary(Binary::Gt, size, scalar(infinity))?;
        Ok(Some(Bits {
            bits,
            sign: scalar(sign),
            zero: scalar(0),
            nan,
            greatest: scalar(u64::MAX),
        }))
    }
}

/// Integers in the order of [`Sort`](crate::Sort).
fn ordered(array: &RawArray) -> Result<Arc<Node>> {
    let Some(Bits { bits, sign, nan, greatest, .. }) = Bits::of(array)? else {
        return Ok(Node::leaf(array.clone()));
    };
    let less = Node::binary(Binary::Ge, bits.clone(), sign.clone())?;
    let (below, above) =
        (Node::unary(Unary::Not, bits.clone()), Node::binary(Binary::Or, bits, sign)?);
    let number = Node::ternary(Ternary::Select, [less, below, above])?;
    Node::ternary(Ternary::Select, [nan, greatest, number])
}

/// Integers that are equal where elements are, and where both are NaN.
fn same(array: &RawArray) -> Result<Arc<Node>> {
    let Some(Bits { bits, sign, zero, nan, greatest }) = Bits::of(array)? else {
        return Ok(Node::leaf(array.clone()));
    };
    let minus = Node::binary(Binary::Eq, bits.clone(), sign)?;
    let number = Node::ternary(Ternary::Select, [minus, zero, bits])?;
    Node::ternary(Ternary::Select, [nan, greatest, number])
}

/// Neighbours along an axis of two elements at least, compared.
fn neighbours(
    array: &RawArray,
    axis: usize,
    key: fn(&RawArray) -> Result<Arc<Node>>,
    compare: Binary,
) -> Result<Expr<bool>> {
    let part = |range: Slice| {
        let all = SliceInfoElem::from(..);
        let mut parts = vec![all; array.layout.shape.len()];
        parts[axis] = range.into();
        let layout = array.layout.slice("slice", &parts)?;
        key(&RawArray { layout, ..array.clone() })
    };
    let (before, after) = (part(Slice::from(..-1))?, part(Slice::from(1..))?);
    Ok(Expr::from_node(Ok(Node::binary(compare, before, after)?)))
}

/// Whether every line along an axis is in order.
pub(crate) fn holds(
    op: &'static str,
    array: &RawArray,
    axis: Axis,
    descending: bool,
) -> Result<bool> {
    let axis = check_axis(op, axis, &array.layout.shape)?;
    if array.layout.shape[axis] < 2 || array.layout.len() == 0 {
        return Ok(true);
    }
    let wrong = if descending { Binary::Lt } else { Binary::Gt };
    Ok(!neighbours(array, axis, ordered, wrong)?.any()?.item()?)
}

/// Flags where runs of equal neighbours start in a vector; NaNs are equal, and so are −0 and 0.
pub(super) fn heads(vector: &RawArray) -> Result<DeviceArray<bool>> {
    let n = vector.layout.len();
    let mut flags = DeviceArray::ones(vector.device(), n)?;
    if n > 1 {
        flags.slice_mut(ndarray::s![1..])?.assign(neighbours(vector, 0, same, Binary::Ne)?)?;
    }
    Ok(flags)
}
