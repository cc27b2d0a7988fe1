//! Products on the host: floats through GEMM crates, integers by loops of our own, vectors by
//! loops that stream the matrix.

mod float;
mod integer;
mod vector;

use super::gemm::Gemm;
use crate::element::DType;
use crate::error::Result;
use crate::host::each_task;

/// Products below this many multiplications stay on the calling thread.
const PARALLEL_ABOVE: usize = 1 << 18;

pub(super) fn run(gemm: Gemm<'_>) -> Result<()> {
    match gemm.dtype {
        DType::F32 => float::run::<f32>(gemm),
        DType::F64 => float::run::<f64>(gemm),
        DType::I8 => integer::run::<i8>(gemm),
        DType::I16 => integer::run::<i16>(gemm),
        DType::I32 => integer::run::<i32>(gemm),
        DType::I64 => integer::run::<i64>(gemm),
        DType::U8 => integer::run::<u8>(gemm),
        DType::U16 => integer::run::<u16>(gemm),
        DType::U32 => integer::run::<u32>(gemm),
        DType::U64 => integer::run::<u64>(gemm),
        // `Plan::run` has made halves `f32`, and there are no products of `bool`.
        DType::F16 | DType::BF16 | DType::Bool => Ok(()),
    }
}

/// One product with pointers to the first elements.
struct Block<T> {
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    a_row: isize,
    a_column: isize,
    b: *const T,
    b_row: isize,
    b_column: isize,
    out: *mut T,
    out_row: isize,
    subtract: bool,
}

impl<T> Clone for Block<T> {
    fn clone(&self) -> Block<T> {
        *self
    }
}
impl<T> Copy for Block<T> {}

// SAFETY: blocks are handed to threads whose parts of `out` are disjoint; what they read nobody
// writes.
unsafe impl<T> Send for Block<T> {}
unsafe impl<T> Sync for Block<T> {}

impl<T> Block<T> {
    /// The whole of the first product, and a function that moves it to another of the batch;
    /// `None` when a buffer is not the host's.
    fn first(gemm: &mut Gemm<'_>) -> Option<Block<T>> {
        Some(Block {
            m: gemm.m,
            n: gemm.n,
            k: gemm.k,
            a: gemm.a.buffer.unwrap_or(gemm.out).host()?.ptr().cast(),
            a_row: gemm.a.row,
            a_column: gemm.a.column,
            b: gemm.b.buffer.unwrap_or(gemm.out).host()?.ptr().cast(),
            b_row: gemm.b.row,
            b_column: gemm.b.column,
            out: gemm.out.host_mut()?.ptr_mut().cast(),
            out_row: gemm.out_row,
            subtract: gemm.subtract,
        })
    }

    /// The product at position `t` of the batch.
    ///
    /// # Safety
    /// `self` came from [`Block::first`] of `gemm`.
    unsafe fn at(self, gemm: &Gemm<'_>, t: usize) -> Block<T> {
        let [a, b, out] = gemm.origin(t);
        // SAFETY: offsets of the batch lie inside the buffers.
        unsafe {
            Block { a: self.a.offset(a), b: self.b.offset(b), out: self.out.offset(out), ..self }
        }
    }

    /// Rows `i .. i + m` and columns `j .. j + n` of the result.
    ///
    /// # Safety
    /// They lie inside it.
    unsafe fn part(self, i: usize, m: usize, j: usize, n: usize) -> Block<T> {
        // SAFETY: the caller's promise; operands have rows and columns as the result.
        unsafe {
            Block {
                m,
                n,
                a: self.a.offset(i as isize * self.a_row),
                b: self.b.offset(j as isize * self.b_column),
                out: self.out.offset(i as isize * self.out_row + j as isize),
                ..self
            }
        }
    }
}

/// Runs `f(block)` on disjoint parts that together are the whole batch, in parallel where that
/// pays. Parts have a multiple of `rows` by `columns` elements, but for those at the edges.
fn for_parts<T>(gemm: &mut Gemm<'_>, (rows, columns): (usize, usize), f: impl Fn(Block<T>) + Sync) {
    let Some(first) = Block::<T>::first(gemm) else { return };
    let gemm = &*gemm;
    let (m, n, batches) = (gemm.m, gemm.n, gemm.batches());
    let threads = rayon::current_num_threads();
    let work = m.saturating_mul(n).saturating_mul(gemm.k);
    if threads == 1 || work.saturating_mul(batches) <= PARALLEL_ABOVE {
        for t in 0..batches {
            // SAFETY: `first` is of this product.
            f(unsafe { first.at(gemm, t) });
        }
        return;
    }
    // A few parts for each thread, so that a slow one does not keep the others waiting; but each
    // as large as cache blocking wants it.
    let wanted = (threads * 4).div_ceil(batches);
    let (mut tall, mut wide) = (m, n);
    while m.div_ceil(tall) * n.div_ceil(wide) < wanted {
        let (can_m, can_n) = (tall >= 2 * rows, wide >= 2 * columns);
        if !can_m && !can_n || (tall * wide / 2).saturating_mul(gemm.k) < PARALLEL_ABOVE / 2 {
            break;
        }
        if can_m && (tall >= wide || !can_n) {
            tall = (tall / 2).next_multiple_of(rows);
        } else {
            wide = (wide / 2).next_multiple_of(columns);
        }
    }
    let (down, across) = (m.div_ceil(tall), n.div_ceil(wide));
    let parts = down * across * batches;
    // Small products of a large batch: several a task.
    let least = (PARALLEL_ABOVE / work.max(1)).clamp(1, 1 << 16);
    each_task(parts, if down * across == 1 { least } else { 1 }, &|part| {
        let (t, part) = (part / (down * across), part % (down * across));
        let (i, j) = (part / across * tall, part % across * wide);
        // SAFETY: `first` is of this product, and parts lie inside the result.
        f(unsafe { first.at(gemm, t).part(i, tall.min(m - i), j, wide.min(n - j)) });
    });
}
