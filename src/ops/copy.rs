//! `copy`: arrays of any strides into row-major order.

use super::map;
use crate::array::RawArray;
use crate::error::Result;
use crate::expr::node::Node;

/// The array itself when it is in row-major order without gaps, else a copy that is.
pub(crate) fn contiguous(array: &RawArray) -> Result<RawArray> {
    if array.layout.is_contiguous() { Ok(array.clone()) } else { contiguous_copy(array) }
}

/// A copy in row-major order.
pub(crate) fn contiguous_copy(array: &RawArray) -> Result<RawArray> {
    map::eval_row_major(&Node::leaf(array.clone()))
}
