//! Evaluates a fused expression chunk by chunk: every instruction is one vectorised loop over a
//! chunk that stays in the first-level cache.

use super::lanes::{self, Lane};
use super::{LIGHT, PARALLEL_ABOVE, each_task};
use crate::element::{DType, Scalar, with_compute};
use crate::expr::fused::{Fused, Nest, Op};
use crate::expr::node::{Ternary, Unary};
use half::{bf16, f16};
use smallvec::{SmallVec, smallvec};
use std::cell::Cell;
use std::mem::MaybeUninit;

/// Elements in one chunk.
pub(crate) const CHUNK: usize = 1024;

/// Where an instruction's value is found.
#[derive(Clone, Copy)]
enum Place {
    /// In this slot of the scratch memory.
    Slot(usize),
    /// In the leaf's own memory, which has the right type and order already.
    Direct(usize),
}

/// An expression with its loops, ready to give any range of its elements.
pub(crate) struct Evaluator<'a> {
    fused: &'a Fused,
    nest: &'a Nest,
    /// The first element of every leaf; null for positions.
    bases: SmallVec<[*const u8; 4]>,
    places: SmallVec<[Place; 8]>,
    slots: usize,
    len: usize,
}

// SAFETY: the pointers are to leaves that `fused` keeps alive and that nobody writes while they
// are shared.
unsafe impl Sync for Evaluator<'_> {}
unsafe impl Send for Evaluator<'_> {}

/// One thread's slots.
pub(crate) struct Scratch {
    /// Never read before an instruction has written it, so it is not cleared.
    memory: Vec<MaybeUninit<u64>>,
    chunk: usize,
}

thread_local! {
    /// The memory of the last scratch of this thread: small expressions would spend most of their
    /// time in the allocator.
    static SPARE: Cell<Vec<MaybeUninit<u64>>> = const { Cell::new(Vec::new()) };
}

/// Words that a thread keeps between expressions: 32 slots.
const SPARE_LIMIT: usize = 32 * CHUNK;

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.memory.len() <= SPARE_LIMIT {
            SPARE.set(std::mem::take(&mut self.memory));
        }
    }
}

impl Scratch {
    fn slot(&mut self, k: usize) -> *mut u8 {
        self.memory[k * self.chunk..].as_mut_ptr().cast()
    }
}

impl<'a> Evaluator<'a> {
    pub fn new(fused: &'a Fused, nest: &'a Nest) -> Evaluator<'a> {
        let bases = fused
            .leaves
            .iter()
            .map(|leaf| match leaf.array.as_ref().and_then(|a| a.buffer.host()) {
                // SAFETY: a layout's offset lies inside its buffer.
                Some(block) => unsafe { block.ptr().add(leaf.layout.offset * leaf.dtype.size()) },
                None => std::ptr::null(),
            })
            .collect();
        let mut eval = Evaluator {
            fused,
            nest,
            bases,
            places: SmallVec::with_capacity(fused.insts.len()),
            slots: 0,
            len: nest.dims.iter().product(),
        };
        eval.assign_places();
        eval
    }

    /// A slot is used again once the last reader of its value has run; scalars keep theirs, which
    /// are filled once. A result never shares a slot with an operand.
    fn assign_places(&mut self) {
        let insts = &self.fused.insts;
        let mut last_use: SmallVec<[usize; 8]> = smallvec![usize::MAX; insts.len()];
        for (k, inst) in insts.iter().enumerate() {
            for a in operands(&inst.op) {
                if !matches!(insts[a].op, Op::Scalar(_)) {
                    last_use[a] = k;
                }
            }
        }
        let mut free: SmallVec<[usize; 8]> = SmallVec::new();
        for (k, inst) in insts.iter().enumerate() {
            let direct = match inst.op {
                Op::Leaf(leaf) => self.is_direct(leaf as usize).then_some(leaf as usize),
                _ => None,
            };
            let place = match direct {
                Some(leaf) => Place::Direct(leaf),
                None => Place::Slot(
                    match inst.op {
                        Op::Scalar(_) => None,
                        _ => free.pop(),
                    }
                    .unwrap_or_else(|| {
                        self.slots += 1;
                        self.slots - 1
                    }),
                ),
            };
            self.places.push(place);
            let mut released: SmallVec<[usize; 3]> = operands(&inst.op).collect();
            released.dedup();
            for a in released {
                if last_use[a] == k {
                    last_use[a] = usize::MAX;
                    if let Place::Slot(s) = self.places[a] {
                        free.push(s);
                    }
                }
            }
        }
    }

    fn is_direct(&self, leaf: usize) -> bool {
        let l = &self.fused.leaves[leaf];
        let unit = match self.nest.strides[leaf].as_slice() {
            [] => true,
            [s] => *s == 1,
            _ => false,
        };
        unit && l.array.is_some() && l.dtype.compute() == l.dtype
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn scratch(&self) -> Scratch {
        let chunk = CHUNK.min(self.len.max(1));
        let mut memory = SPARE.take();
        memory.resize(self.slots * chunk, MaybeUninit::uninit());
        let mut scratch = Scratch { memory, chunk };
        for (inst, place) in self.fused.insts.iter().zip(&self.places) {
            if let (Op::Scalar(s), Place::Slot(slot)) = (inst.op, place) {
                // SAFETY: a slot has room for a chunk of any type.
                unsafe { fill(scratch.slot(*slot), self.fused.scalars[s as usize], chunk) };
            }
        }
        scratch
    }

    /// Computes elements `start .. start + n`, `n` at most [`CHUNK`], and returns where they are:
    /// in `into` when given and the value has to be computed anyway, else in the scratch or in a
    /// leaf. Values have the compute type of the expression.
    ///
    /// # Safety
    /// The range lies inside the expression; `into` has room for `n` values.
    pub unsafe fn chunk(
        &self,
        start: usize,
        n: usize,
        scratch: &mut Scratch,
        into: Option<*mut u8>,
    ) -> *const u8 {
        debug_assert!(n <= scratch.chunk && start + n <= self.len);
        let root = self.fused.insts.len() - 1;
        let mut value: *const u8 = std::ptr::null();
        for (k, inst) in self.fused.insts.iter().enumerate() {
            let at = |k: u32, scratch: &mut Scratch| -> *const u8 {
                match self.places[k as usize] {
                    Place::Slot(s) => scratch.slot(s),
                    // SAFETY: the leaf is contiguous and covers the range.
                    Place::Direct(leaf) => unsafe {
                        self.bases[leaf].add(start * self.fused.leaves[leaf].dtype.size())
                    },
                }
            };
            let slot = match self.places[k] {
                Place::Slot(s) => scratch.slot(s),
                Place::Direct(_) => {
                    value = at(k as u32, scratch);
                    continue;
                }
            };
            let out = match into {
                Some(into) if k == root && !matches!(inst.op, Op::Scalar(_)) => into,
                _ => slot,
            };
            value = out;
            // SAFETY (all below): operands and result are chunks of `n` values of the types that
            // the instructions name, results never overlap operands (see `assign_places`).
            unsafe {
                match inst.op {
                    // `Fused::check` refuses results: they are replaced before anything is evaluated.
                    Op::Scalar(_) | Op::Result(_) => {}
                    Op::Leaf(leaf) => self.gather(leaf as usize, start, out, n),
                    Op::Unary(op, a) => {
                        let from = self.fused.insts[a as usize].dtype;
                        unary(op, from, at(a, scratch), out, n);
                    }
                    Op::Binary(op, [a, b]) => {
                        let from = self.fused.insts[a as usize].dtype;
                        let (a, b) = (at(a, scratch), at(b, scratch));
                        with_compute!(from, T => {
                            let (a, b) = (slice::<T>(a, n), slice::<T>(b, n));
                            if op.is_comparison() {
                                lanes::compare(op, a, b, slice_mut(out, n));
                            } else {
                                T::binary(op, a, b, slice_mut(out, n));
                            }
                        });
                    }
                    Op::Ternary(op, [a, b, c]) => {
                        let (a, b, c) = (at(a, scratch), at(b, scratch), at(c, scratch));
                        with_compute!(inst.dtype, T => match op {
                            Ternary::Select => lanes::select(
                                slice::<u8>(a, n), slice::<T>(b, n), slice(c, n), slice_mut(out, n)),
                            Ternary::MulAdd => T::fused_mul_add(
                                slice(a, n), slice(b, n), slice(c, n), slice_mut(out, n)),
                        });
                    }
                    Op::Cast(a) => {
                        let from = self.fused.insts[a as usize].dtype;
                        lanes::cast(from, inst.dtype, at(a, scratch), out, n);
                    }
                }
            }
        }
        value
    }

    /// Copies a range of a leaf into a chunk, in the compute type.
    unsafe fn gather(&self, leaf: usize, start: usize, out: *mut u8, n: usize) {
        let l = &self.fused.leaves[leaf];
        let strides = &self.nest.strides[leaf];
        let dims = &self.nest.dims;
        let base = self.bases[leaf];
        if l.array.is_none() {
            let first = l.layout.offset as isize;
            // SAFETY: the caller's promise on `out`.
            let out = unsafe { slice_mut::<u64>(out, n) };
            walk(dims, strides, start, n, |at, from, step, count| {
                for (j, o) in out[at..at + count].iter_mut().enumerate() {
                    *o = (first + from + j as isize * step) as u64;
                }
            });
            return;
        }
        // SAFETY (all three): strides and lengths are those of the leaf's layout, inside its buffer.
        match l.dtype {
            DType::F16 => unsafe {
                gather_as(base.cast::<f16>(), dims, strides, start, slice_mut(out, n), f16::to_f32);
            },
            DType::BF16 => unsafe {
                gather_as(
                    base.cast::<bf16>(),
                    dims,
                    strides,
                    start,
                    slice_mut(out, n),
                    bf16::to_f32,
                );
            },
            // Only the size matters for a plain copy.
            _ => unsafe {
                match l.dtype.size() {
                    1 => gather_as(base, dims, strides, start, slice_mut::<u8>(out, n), |x| x),
                    2 => gather_as(
                        base.cast(),
                        dims,
                        strides,
                        start,
                        slice_mut::<u16>(out, n),
                        |x| x,
                    ),
                    4 => gather_as(
                        base.cast(),
                        dims,
                        strides,
                        start,
                        slice_mut::<u32>(out, n),
                        |x| x,
                    ),
                    _ => gather_as(
                        base.cast(),
                        dims,
                        strides,
                        start,
                        slice_mut::<u64>(out, n),
                        |x| x,
                    ),
                }
            },
        }
    }
}

fn operands(op: &Op) -> impl Iterator<Item = usize> + use<> {
    let (list, n) = match *op {
        Op::Leaf(_) | Op::Scalar(_) | Op::Result(_) => ([0; 3], 0),
        Op::Unary(_, a) | Op::Cast(a) => ([a, 0, 0], 1),
        Op::Binary(_, [a, b]) => ([a, b, 0], if a == b { 1 } else { 2 }),
        Op::Ternary(_, abc) => (abc, 3),
    };
    list.into_iter().take(n).map(|a| a as usize)
}

/// # Safety
/// As `std::slice::from_raw_parts`.
unsafe fn slice<'s, T>(p: *const u8, n: usize) -> &'s [T] {
    // SAFETY: the caller's promise; chunks are aligned for every element type.
    unsafe { std::slice::from_raw_parts(p.cast(), n) }
}

/// # Safety
/// As `std::slice::from_raw_parts_mut`.
unsafe fn slice_mut<'s, T>(p: *mut u8, n: usize) -> &'s mut [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(p.cast(), n) }
}

unsafe fn unary(op: Unary, from: DType, a: *const u8, out: *mut u8, n: usize) {
    // SAFETY: the caller passes chunks of `n` values.
    unsafe {
        match (op, from) {
            (Unary::Not, DType::Bool) => lanes::not_bool(slice(a, n), slice_mut(out, n)),
            (Unary::IsNan | Unary::IsInfinite | Unary::IsFinite, _) => {
                with_compute!(from, T => T::test(op, slice(a, n), slice_mut(out, n)));
            }
            _ => with_compute!(from, T => T::unary(op, slice(a, n), slice_mut(out, n))),
        }
    }
}

unsafe fn fill(out: *mut u8, value: Scalar, n: usize) {
    macro_rules! fill {
        ($v:expr) => {
            // SAFETY: a slot has room for `n` values of any type.
            unsafe { slice_mut(out, n) }.fill($v)
        };
    }
    match value {
        Scalar::Bool(v) => fill!(u8::from(v)),
        Scalar::I8(v) => fill!(v),
        Scalar::I16(v) => fill!(v),
        Scalar::I32(v) => fill!(v),
        Scalar::I64(v) => fill!(v),
        Scalar::U8(v) => fill!(v),
        Scalar::U16(v) => fill!(v),
        Scalar::U32(v) => fill!(v),
        Scalar::U64(v) => fill!(v),
        Scalar::F32(v) => fill!(v),
        Scalar::F64(v) => fill!(v),
    }
}

/// Calls `run(position in the range, memory offset, step, count)` for every run along the
/// innermost axis inside elements `start .. start + n`.
pub(crate) fn walk(
    dims: &[usize],
    strides: &[isize],
    start: usize,
    n: usize,
    mut run: impl FnMut(usize, isize, isize, usize),
) {
    let Some((&inner, outer)) = dims.split_last() else {
        run(0, 0, 0, n);
        return;
    };
    let step = strides[dims.len() - 1];
    let mut done = 0;
    while done < n {
        let mut row = (start + done) / inner;
        let at = (start + done) % inner;
        let count = (inner - at).min(n - done);
        let mut offset = at as isize * step;
        for (&d, &s) in outer.iter().zip(strides).rev() {
            offset += (row % d) as isize * s;
            row /= d;
        }
        run(done, offset, step, count);
        done += count;
    }
}

/// # Safety
/// Every element that the loops reach lies in the memory behind `base`.
unsafe fn gather_as<S: Copy, D: Copy>(
    base: *const S,
    dims: &[usize],
    strides: &[isize],
    start: usize,
    out: &mut [D],
    convert: impl Fn(S) -> D,
) {
    let n = out.len();
    walk(dims, strides, start, n, |at, from, step, count| {
        // SAFETY: the caller's promise.
        unsafe {
            let base = base.offset(from);
            let out = &mut out[at..at + count];
            match step {
                0 => out.fill(convert(*base)),
                1 => {
                    for (o, &x) in out.iter_mut().zip(std::slice::from_raw_parts(base, count)) {
                        *o = convert(x);
                    }
                }
                _ => {
                    for (j, o) in out.iter_mut().enumerate() {
                        *o = convert(*base.offset(j as isize * step));
                    }
                }
            }
        }
    });
}

/// A pointer that threads may share because they write disjoint parts behind it.
#[derive(Clone, Copy)]
pub(crate) struct SharedOut(pub *mut u8);
// SAFETY: see the type's comment; each use says why its parts are disjoint.
unsafe impl Send for SharedOut {}
unsafe impl Sync for SharedOut {}

impl SharedOut {
    /// # Safety
    /// As `pointer::offset`, in elements of `T`.
    pub unsafe fn at<T>(self, i: isize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.cast::<T>().offset(i) }
    }

    /// # Safety
    /// As `pointer::add`.
    pub unsafe fn add(self, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(bytes) }
    }
}

/// Runs `f(start, end)` over `0..len` in pieces of whole chunks, in parallel when there is enough.
pub(crate) fn for_each_piece(len: usize, f: impl Fn(usize, usize) + Sync) {
    if len <= PARALLEL_ABOVE {
        f(0, len);
        return;
    }
    let threads = rayon::current_num_threads();
    let piece = (len / (threads * 8)).clamp(CHUNK, 256 * CHUNK).next_multiple_of(CHUNK);
    each_task(len.div_ceil(piece), 1, &|k| f(k * piece, ((k + 1) * piece).min(len)));
}

/// Evaluates all of an expression into memory laid out by the last strides of `nest`.
///
/// # Safety
/// `out` points to the output's first element, all of its layout lies in memory that nobody else
/// uses, and no two indices of it share an element.
pub(crate) unsafe fn eval_into(fused: &Fused, nest: &Nest, dtype: DType, out: *mut u8) {
    let eval = Evaluator::new(fused, nest);
    let strides = &nest.strides[fused.leaves.len()];
    let contiguous = matches!(strides.as_slice(), [] | [1]);
    let direct = contiguous && dtype.compute() == dtype;
    let size = dtype.size();
    let out = SharedOut(out);
    let light = eval.len() <= 2 * LIGHT / fused.weight().max(1);
    let pieces = |f: &(dyn Fn(usize, usize) + Sync)| match light {
        true => f(0, eval.len()),
        false => for_each_piece(eval.len(), f),
    };
    pieces(&|from, to| {
        let mut scratch = eval.scratch();
        let mut at = from;
        while at < to {
            let n = CHUNK.min(to - at);
            // SAFETY: pieces are disjoint ranges of the output.
            unsafe {
                if direct {
                    let into = out.add(at * size);
                    let value = eval.chunk(at, n, &mut scratch, Some(into));
                    if !std::ptr::eq(value, into) {
                        into.copy_from_nonoverlapping(value, n * size);
                    }
                } else {
                    let value = eval.chunk(at, n, &mut scratch, None);
                    scatter(&nest.dims, strides, at, value, n, dtype, out.0);
                }
            }
            at += n;
        }
    });
}

/// Stores a chunk of compute values through strides, in the storage type.
unsafe fn scatter(
    dims: &[usize],
    strides: &[isize],
    start: usize,
    value: *const u8,
    n: usize,
    dtype: DType,
    out: *mut u8,
) {
    // SAFETY: the promises of `eval_into`.
    unsafe {
        match dtype {
            DType::F16 => {
                scatter_as(dims, strides, start, slice(value, n), out.cast(), f16::from_f32)
            }
            DType::BF16 => {
                scatter_as(dims, strides, start, slice(value, n), out.cast(), bf16::from_f32)
            }
            _ => match dtype.size() {
                1 => scatter_as(dims, strides, start, slice::<u8>(value, n), out, |x| x),
                2 => scatter_as(dims, strides, start, slice::<u16>(value, n), out.cast(), |x| x),
                4 => scatter_as(dims, strides, start, slice::<u32>(value, n), out.cast(), |x| x),
                _ => scatter_as(dims, strides, start, slice::<u64>(value, n), out.cast(), |x| x),
            },
        }
    }
}

unsafe fn scatter_as<S: Copy, D>(
    dims: &[usize],
    strides: &[isize],
    start: usize,
    value: &[S],
    out: *mut D,
    convert: impl Fn(S) -> D,
) {
    walk(dims, strides, start, value.len(), |at, to, step, count| {
        for (j, &x) in value[at..at + count].iter().enumerate() {
            // SAFETY: inside the output's layout, written once.
            unsafe { out.offset(to + j as isize * step).write(convert(x)) };
        }
    });
}
