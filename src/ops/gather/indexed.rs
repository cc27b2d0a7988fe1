//! What indices name: the one description that both halves of gather and scatter work from.

use crate::device::Device;
use crate::element::{DType, Integer};
use crate::error::{Error, Result};
use crate::expr::fuse;
use crate::expr::fused::{Fused, Nest};
use crate::expr::node::Node;
use crate::host::eval::{CHUNK, Evaluator, Scratch};
use crate::host::{PARALLEL_ABOVE, map_tasks};
use crate::layout::{Dims, Layout, Strides, broadcast_shapes, check_axis, coalesce, count};
use ndarray::Axis;
use smallvec::SmallVec;
use std::sync::Arc;

/// The types of arrays of indices: `u32`, `i32`, `u64` and `i64`. Negative ones count from the end of
/// the axis, −1 is its last element.
pub trait IndexElement: Integer {}
impl IndexElement for u32 {}
impl IndexElement for i32 {}
impl IndexElement for u64 {}
impl IndexElement for i64 {}

/// An index as the host reads it.
pub(super) trait Key: Copy + Send + Sync + 'static {
    /// The place on an axis of `len`, where it is inside.
    fn place(self, len: usize) -> Option<usize>;
    fn bits(self) -> u64;
}

macro_rules! key {
    ($($t:ty)*) => {$(
        impl Key for $t {
            #[inline]
            fn place(self, len: usize) -> Option<usize> {
                #[allow(unused_comparisons, reason = "half of the types have no sign")]
                let at = if self < 0 { (self as i64 as u64).wrapping_add(len as u64) } else { self as u64 };
                (at < len as u64).then_some(at as usize)
            }
            fn bits(self) -> u64 {
                self as i64 as u64
            }
        }
    )*};
}
key!(u32 i32 u64 i64);

/// Calls a generic function with the type of indices.
macro_rules! with_key {
    ($dtype:expr, $I:ident => $body:expr) => {
        match $dtype {
            DType::I32 => {
                type $I = i32;
                $body
            }
            DType::I64 => {
                type $I = i64;
                $body
            }
            DType::U64 => {
                type $I = u64;
                $body
            }
            _ => {
                type $I = u32;
                $body
            }
        }
    };
}
pub(super) use with_key;

/// Which places indices name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Elements in row-major order.
    Flat,
    /// Every index a whole sub-array at a position of the axis.
    Axis(Axis),
    /// Every index an element of the line along the axis that it lies in.
    Along(Axis),
}

/// What an index outside was meant for.
#[derive(Clone, Copy)]
pub(super) struct Range {
    op: &'static str,
    axis: Option<usize>,
    len: usize,
    dtype: DType,
    /// Elements of the result that share an index, and the indices.
    inner: usize,
    indices: usize,
    /// Elements that are moved as one.
    times: usize,
}

impl Range {
    /// The error about the index of element `at` of the result.
    pub fn outside(&self, at: usize, index: u64) -> Error {
        let index = match self.dtype {
            DType::I32 => i128::from(index as i32),
            DType::I64 => i128::from(index as i64),
            _ => i128::from(index),
        };
        let (at, len) = (at * self.times / self.inner % self.indices, self.len);
        let of = match self.axis {
            Some(axis) => format!("axis {axis} of length {len}"),
            None => format!("the {len} elements"),
        };
        let least = if self.dtype.is_signed() { -(len as i128) } else { 0 };
        Error::index(
            self.op,
            format!(
                "index {index}, at position {at} of the indices, is outside {of}; indices go from {least} to {}",
                len as i128 - 1
            ),
        )
    }
}

/// Indices, and where the elements lie that they name: index i of the loops names
/// `base(i) + place * step`.
pub(super) struct Indexed {
    pub fused: Fused,
    /// The last strides are those of the base.
    pub nest: Nest,
    pub offset: usize,
    pub step: isize,
    pub len: usize,
    pub range: Range,
    /// How far elements of the array lie apart at most.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    pub reach: u128,
}

/// How a call indexes an array: the shape that indices make of it, and the description.
pub(super) struct Plan {
    pub shape: Dims,
    pub indexed: Indexed,
}

impl Plan {
    /// Indexes an array, which is contiguous where `way` is flat. With `whole` the indices are broadcast
    /// to the array, else both to each other.
    pub fn new(
        op: &'static str,
        device: &Device,
        layout: &Layout,
        indices: &Arc<Node>,
        way: Way,
        whole: bool,
    ) -> Result<Plan> {
        let same = |shape: &[usize]| on_device(op, indices, shape, device);
        let (pre, post, root, axis) = match way {
            Way::Flat => (0, 0, same(&indices.shape)?, None),
            Way::Axis(axis) => {
                let axis = check_axis(op, axis, &layout.shape)?;
                (axis, layout.shape.len() - axis - 1, same(&indices.shape)?, Some(axis))
            }
            Way::Along(axis) => {
                let axis = check_axis(op, axis, &layout.shape)?;
                (0, 0, same(&along(op, layout, &indices.shape, axis, whole)?)?, Some(axis))
            }
        };
        let rank = layout.shape.len();
        let ones = |n: usize| std::iter::repeat_n(0isize, n);
        let mut shape: Dims = layout.shape[..pre].into();
        shape.extend_from_slice(&root.shape);
        shape.extend_from_slice(&layout.shape[rank - post..]);
        count(op, &shape)?;
        // Where the array is longer than one along an axis that indices do not name, it is walked.
        let base: Strides = match way {
            Way::Flat => ones(shape.len()).collect(),
            Way::Axis(_) => layout.strides[..pre]
                .iter()
                .copied()
                .chain(ones(root.shape.len()))
                .chain(layout.strides[rank - post..].iter().copied())
                .collect(),
            Way::Along(axis) => (0..rank)
                .map(|k| if k == axis.0 || layout.shape[k] == 1 { 0 } else { layout.strides[k] })
                .collect(),
        };
        let fused = fuse(&root)?;
        let mut operands: SmallVec<[Strides; 4]> = fused
            .leaves
            .iter()
            .map(|leaf| {
                let own = leaf.layout.broadcast_strides(&root.shape);
                ones(pre).chain(own).chain(ones(post)).collect()
            })
            .collect();
        operands.push(base);
        let (mut dims, mut strides) = coalesce(&shape, &operands);
        if dims.is_empty() {
            dims.push(1);
            strides.iter_mut().for_each(|s| s.push(0));
        }
        let (len, step) = match axis {
            Some(axis) => (layout.shape[axis], layout.strides[axis]),
            None => (layout.len(), 1),
        };
        let range = Range {
            op,
            axis,
            len,
            dtype: root.dtype,
            inner: layout.shape[rank - post..].iter().product::<usize>().max(1),
            indices: root.shape.iter().product::<usize>().max(1),
            times: 1,
        };
        let walks = layout.shape.iter().zip(&layout.strides);
        let reach = walks.map(|(&d, &s)| d as u128 * s.unsigned_abs() as u128).sum::<u128>();
        let nest = Nest { dims, strides };
        let reach = reach + layout.offset as u128 + layout.len() as u128;
        let indexed = Indexed { fused, nest, offset: layout.offset, step, len, range, reach };
        if len == 0 && indexed.count() > 0 {
            let text = format!(
                "an axis of length 0 of shape {:?} has no elements that {} indices could name",
                layout.shape, indexed.range.indices
            );
            return Err(Error::index(op, text));
        }
        Ok(Plan { shape, indexed })
    }
}

/// The shape that indices along an axis have in full.
fn along(
    op: &'static str,
    layout: &Layout,
    indices: &[usize],
    axis: usize,
    whole: bool,
) -> Result<Dims> {
    let mut own = layout.shape.clone();
    let mut full = None;
    if indices.len() == own.len() {
        // Along the axis the indices have a length of their own.
        own[axis] = indices[axis];
        full = broadcast_shapes(&own, indices).filter(|full| !whole || *full == own);
    }
    full.ok_or_else(|| {
        let but = if whole { "equal or 1" } else { "equal, or one of them 1" };
        Error::shape(
            op,
            format!(
                "indices of shape {indices:?} do not fit an array of shape {:?}: along axis {axis} any length, along the others lengths must be {but}",
                layout.shape
            ),
        )
    })
}

/// The expression under `shape` on the array's device.
pub(super) fn on_device(
    op: &'static str,
    root: &Arc<Node>,
    shape: &[usize],
    device: &Device,
) -> Result<Arc<Node>> {
    if let Some(other) = &root.device {
        device.require_same(op, "the array lives", other, "the indices or values")?;
    }
    Ok(root.with(root.dtype, shape, Some(device)))
}

/// The first index outside: its position and its bits.
pub(super) type Outside = Option<(usize, u64)>;

impl Indexed {
    pub fn count(&self) -> usize {
        self.nest.dims.iter().product()
    }

    pub fn base(&self) -> &[isize] {
        &self.nest.strides[self.fused.leaves.len()]
    }

    /// Whether positions need 64 bits.
    #[cfg(feature = "opencl")]
    pub fn is_wide(&self) -> bool {
        self.reach > i32::MAX as u128 || crate::opencl::codegen::is_wide(&self.fused, &self.nest)
    }

    /// True when the elements of an innermost line are neighbours that share an index.
    pub fn has_rows(&self) -> bool {
        let leaves = &self.nest.strides[..self.fused.leaves.len()];
        leaves.iter().all(|s| s.last() == Some(&0)) && self.base().last() == Some(&1)
    }

    /// Takes neighbours that share an index as one larger element, and tells of how many: of 16 bytes at
    /// most, and a divisor of all distances and of `start`, where their values begin.
    pub fn widen(&mut self, size: usize, start: usize) -> usize {
        let last = self.nest.dims.len() - 1;
        if !self.has_rows() {
            return 1;
        }
        let fits = |n: usize| {
            let (dims, base) = (&self.nest.dims, self.base());
            let distances = base[..last].iter().chain([&self.step]);
            dims[last].is_multiple_of(n)
                && start.is_multiple_of(n)
                && self.offset.is_multiple_of(n)
                && distances.map(|s| s.unsigned_abs()).all(|s| s.is_multiple_of(n))
        };
        let times = [16, 8, 4, 2, 1].into_iter().find(|&n| n * size <= 16 && fits(n)).unwrap_or(1);
        let n = times as isize;
        self.nest.dims[last] /= times;
        self.offset /= times;
        self.step /= n;
        self.range.times = times;
        let base = self.fused.leaves.len();
        self.nest.strides[base][..last].iter_mut().for_each(|s| *s /= n);
        if self.nest.dims[last] == 1 && last > 0 {
            self.nest.dims.pop();
            self.nest.strides.iter_mut().for_each(|s| {
                s.pop();
            });
        }
        times
    }

    /// Calls `f(first, indices)` for the indices of elements `from .. to`, chunk by chunk.
    pub fn each_chunk<I: Key>(
        &self,
        eval: &Evaluator<'_>,
        scratch: &mut Scratch,
        [from, to]: [usize; 2],
        mut f: impl FnMut(usize, &[I]),
    ) {
        let mut at = from;
        while at < to {
            let n = CHUNK.min(to - at);
            // SAFETY: the range lies inside the expression, whose values are indices of type `I`.
            let keys = unsafe {
                let values = eval.chunk(at, n, scratch, None);
                std::slice::from_raw_parts(values.cast::<I>(), n)
            };
            f(at, keys);
            at += n;
        }
    }

    /// Looks at all indices.
    pub fn first_outside<I: Key>(&self) -> Outside {
        let eval = Evaluator::new(&self.fused, &self.nest);
        self.pieces(|range| {
            let (mut scratch, mut found) = (eval.scratch(), None);
            self.each_chunk::<I>(&eval, &mut scratch, range, |at, keys| {
                // All at once first: this vectorises.
                if found.is_none()
                    && !keys.iter().fold(true, |ok, k| ok & k.place(self.len).is_some())
                {
                    let bad = keys.iter().position(|k| k.place(self.len).is_none());
                    found = bad.map(|j| (at + j, keys[j].bits()));
                }
            });
            found
        })
    }

    /// Runs `f` over all elements in pieces, in parallel where there are many: the first of what they
    /// found.
    pub fn pieces(&self, f: impl Fn([usize; 2]) -> Outside + Sync) -> Outside {
        const PIECE: usize = 16 * CHUNK;
        let n = self.count();
        if n <= PARALLEL_ABOVE {
            return f([0, n]);
        }
        let piece = |k: usize| f([k * PIECE, ((k + 1) * PIECE).min(n)]);
        map_tasks(n.div_ceil(PIECE), &piece).into_iter().flatten().min()
    }
}
