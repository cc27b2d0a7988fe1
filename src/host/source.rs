//! Where operations on the host read their elements.

use super::eval::{CHUNK, Evaluator};
use crate::array::RawArray;
use crate::element::DType;

/// Elements in the order in which they are read.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a, I> {
    Memory(&'a [I]),
    /// From an expression whose compute type is `I`.
    Computed(&'a Evaluator<'a>),
}

impl<I> Source<'_, I> {
    /// Calls `f` with `n` elements from `start` on, in pieces of at most a chunk, one after the other: the stretches
    /// that are joined without a carry where grouping matters.
    pub fn pieces(&self, start: usize, n: usize, mut f: impl FnMut(&[I])) {
        match self {
            Source::Memory(xs) => xs[start..][..n].chunks(CHUNK).for_each(f),
            Source::Computed(eval) => {
                let mut scratch = eval.scratch();
                for at in (0..n).step_by(CHUNK) {
                    let m = CHUNK.min(n - at);
                    // SAFETY: the range lies inside the expression, whose compute type is `I`.
                    f(unsafe {
                        let values = eval.chunk(start + at, m, &mut scratch, None);
                        std::slice::from_raw_parts(values.cast::<I>(), m)
                    });
                }
            }
        }
    }
}

/// The same of whatever type.
pub(crate) enum Elements<'a> {
    /// In row-major order.
    Memory(&'a RawArray),
    Computed(&'a Evaluator<'a>, DType),
}

impl Elements<'_> {
    pub fn dtype(&self) -> DType {
        match self {
            Elements::Memory(array) => array.dtype,
            Elements::Computed(_, dtype) => *dtype,
        }
    }

    /// As the type that they are computed in.
    pub fn of<T>(&self) -> Source<'_, T> {
        debug_assert_eq!(size_of::<T>(), self.dtype().compute().size());
        match self {
            // SAFETY: of this type, or of one with as many bytes that takes any of them.
            Elements::Memory(array) => Source::Memory(unsafe { array.host_values() }),
            Elements::Computed(eval, _) => Source::Computed(eval),
        }
    }
}
