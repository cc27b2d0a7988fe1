//! NumPy's rules for the shapes of a matrix product.

use crate::array::RawArray;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Dims, Layout, Strides, broadcast_shapes, count};

/// The lengths of a product: `m` rows by `n` columns, each element a sum of `k` products.
pub(super) struct Shapes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// The leading axes that both operands broadcast to.
    pub batch: Dims,
    /// The result's shape.
    pub out: Dims,
}

pub(super) fn check(op: &'static str, a: &RawArray, b: &RawArray) -> Result<Shapes> {
    let (sa, sb) = (&a.layout.shape, &b.layout.shape);
    if sa.is_empty() || sb.is_empty() {
        return Err(Error::shape(
            op,
            format!(
                "shapes {sa:?} and {sb:?}: an operand has no axes; a matrix product needs one or more, `*` scales"
            ),
        ));
    }
    if b.device() != a.device() {
        return Err(Error::new(
            ErrorKind::DeviceMismatch,
            op,
            format!(
                "operands live on {} and on {}; copy one with `to_device` first",
                a.device(),
                b.device()
            ),
        ));
    }
    // An operand of one axis is a row on the left and a column on the right.
    let (lead_a, m, k) = match sa.as_slice() {
        [k] => (&[][..], None, *k),
        [lead @ .., m, k] => (lead, Some(*m), *k),
        [] => (&[][..], None, 0),
    };
    let (lead_b, inner, n) = match sb.as_slice() {
        [k] => (&[][..], *k, None),
        [lead @ .., k, n] => (lead, *k, Some(*n)),
        [] => (&[][..], 0, None),
    };
    if k != inner {
        return Err(Error::shape(
            op,
            format!(
                "shapes {sa:?} and {sb:?}: the last axis of the first ({k}) and {} axis of the second ({inner}) differ; they must be equal",
                if sb.len() == 1 { "the only" } else { "the last but one" }
            ),
        ));
    }
    let batch = broadcast_shapes(lead_a, lead_b).ok_or_else(|| {
        Error::shape(
            op,
            format!(
                "shapes {sa:?} and {sb:?}: the leading axes {lead_a:?} and {lead_b:?} do not broadcast: aligned at the last, lengths must be equal or 1"
            ),
        )
    })?;
    let out: Dims = batch.iter().copied().chain(m).chain(n).collect();
    count(op, &out)?;
    Ok(Shapes { m: m.unwrap_or(1), n: n.unwrap_or(1), k, batch, out })
}

/// Strides along rows and columns; a vector has one of them.
pub(super) fn matrix_strides(layout: &Layout, is_left: bool) -> (isize, isize) {
    match *layout.strides.as_slice() {
        [.., row, column] => (row, column),
        [only] if is_left => (0, only),
        [only] => (only, 0),
        [] => (0, 0),
    }
}

/// Strides along the batch's axes, of an array whose last two axes are those of a matrix.
pub(crate) fn batch_strides(layout: &Layout, batch: &[usize]) -> Strides {
    let lead = layout.shape.len().saturating_sub(2);
    let leading = Layout {
        shape: Dims::from_slice(&layout.shape[..lead]),
        strides: Strides::from_slice(&layout.strides[..lead]),
        offset: 0,
    };
    leading.broadcast_strides(batch)
}
