//! Scans on the host: tiles that stay in the cache are scanned by themselves, then joined to what
//! comes before them.

mod columns;
#[cfg(test)]
mod tests;

use super::eval::{CHUNK, Evaluator, SharedOut};
use super::{AWAKE, PARALLEL_ABOVE, each_task, run_tasks};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Elements of a tile: half of a small second-level cache.
const TILE: usize = 16 * CHUNK;

/// Elements of a stretch, which are joined without a carry, where joining loses something.
const STRETCH: usize = CHUNK;

/// Elements of a quarter at least, where four are scanned at a time.
const QUARTER: usize = 16;

/// Of a tile's stretches: where the first head is, and the total since the last.
type Opened<C> = [Option<(Option<usize>, C)>; TILE / STRETCH];

/// Instead of a number of tiles: one will never be passed.
const LOST: usize = usize::MAX;

/// Tells those that wait, where an operator of the user's panics.
struct Lost<'a>(&'a AtomicUsize);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        self.0.store(LOST, Ordering::Release);
    }
}

/// An associative operator over values of type `T`.
pub(crate) trait Joiner<T>: Sync {
    /// What goes from tile to tile.
    type Carry: Copy + Send + Sync;

    /// Whether a step takes so long that a processor can do several chains of them at a time.
    const SLOW: bool;

    /// Whether joining loses something, so that only a few are joined without a carry.
    const LOSSY: bool;

    fn join(&self, a: T, b: T) -> T;
    fn first(&self, total: T) -> Self::Carry;
    fn push(&self, carry: Self::Carry, total: T) -> Self::Carry;
    /// Of some elements, of which one after the other makes `last`.
    fn total(&self, xs: &[T], last: T) -> Self::Carry;
    fn merge(&self, carry: Self::Carry, total: Self::Carry) -> Self::Carry;
    /// The carry joined with an element.
    fn after(&self, carry: Self::Carry, x: T) -> T;
    fn whole(&self, carry: Self::Carry) -> T;
}

/// Products (slow), least and greatest elements, sums of integers, users' operators.
#[derive(Clone, Copy)]
pub(crate) struct Plain<F, const SLOW: bool>(pub F);

impl<T: Copy + Send + Sync, F: Fn(T, T) -> T + Sync, const SLOW: bool> Joiner<T>
    for Plain<F, SLOW>
{
    type Carry = T;
    const SLOW: bool = SLOW;
    const LOSSY: bool = false;

    #[inline]
    fn join(&self, a: T, b: T) -> T {
        (self.0)(a, b)
    }

    fn total(&self, _: &[T], last: T) -> T {
        last
    }

    fn merge(&self, carry: T, total: T) -> T {
        (self.0)(carry, total)
    }

    fn first(&self, total: T) -> T {
        total
    }

    #[inline]
    fn push(&self, carry: T, total: T) -> T {
        (self.0)(carry, total)
    }

    #[inline]
    fn after(&self, carry: T, x: T) -> T {
        (self.0)(carry, x)
    }

    fn whole(&self, carry: T) -> T {
        carry
    }
}

/// Sums of floats. What goes from tile to tile has more digits: `f64` for `f32`, the rounding errors beside the
/// sum (Knuth's TwoSum) for `f64`.
#[derive(Clone, Copy)]
pub(crate) struct FloatSum;

impl Joiner<f32> for FloatSum {
    type Carry = f64;
    const SLOW: bool = true;
    const LOSSY: bool = true;

    #[inline]
    fn join(&self, a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline]
    fn first(&self, total: f32) -> f64 {
        total.into()
    }

    #[inline]
    fn push(&self, carry: f64, x: f32) -> f64 {
        Joiner::<f32>::merge(self, carry, x.into())
    }

    /// In several sums side by side, for vectors of them.
    #[inline]
    fn total(&self, xs: &[f32], last: f32) -> f64 {
        if !last.is_finite() {
            return last.into();
        }
        let (wide, rest) = xs.as_chunks::<16>();
        let mut sums = [0.0f64; 16];
        for xs in wide {
            sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let rest = rest.iter().map(|&x| f64::from(x)).sum();
        Joiner::<f32>::merge(self, sums.iter().sum(), rest)
    }

    /// What is infinite as an `f32` stays so.
    #[inline]
    fn merge(&self, carry: f64, total: f64) -> f64 {
        let sum = carry + total;
        let short = sum as f32;
        if short.is_finite() { sum } else { short.into() }
    }

    #[inline]
    fn after(&self, carry: f64, x: f32) -> f32 {
        // In two floats, which loops over elements make once.
        let high = carry as f32;
        let low = (carry - f64::from(high)) as f32;
        // Of an infinite sum that is NaN.
        high + (if low.is_nan() { 0.0 } else { low } + x)
    }

    fn whole(&self, carry: f64) -> f32 {
        carry as f32
    }
}

impl Joiner<f64> for FloatSum {
    type Carry = [f64; 2];
    const SLOW: bool = true;
    const LOSSY: bool = true;

    #[inline]
    fn join(&self, a: f64, b: f64) -> f64 {
        a + b
    }

    fn first(&self, total: f64) -> [f64; 2] {
        [total, 0.0]
    }

    #[inline]
    fn push(&self, [s, c]: [f64; 2], x: f64) -> [f64; 2] {
        let t = s + x;
        let b = t - s;
        let off = (s - (t - b)) + (x - b);
        // Of an infinite sum the error is NaN.
        [t, c + if off.is_nan() { 0.0 } else { off }]
    }

    #[inline]
    fn total(&self, xs: &[f64], _: f64) -> [f64; 2] {
        let (wide, rest) = xs.as_chunks::<16>();
        let mut sums = [0.0f64; 16];
        for xs in wide {
            sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum += x);
        }
        [sums.iter().sum::<f64>() + rest.iter().sum::<f64>(), 0.0]
    }

    fn merge(&self, carry: [f64; 2], [s, c]: [f64; 2]) -> [f64; 2] {
        let [s, own] = self.push(carry, s);
        [s, own + c]
    }

    #[inline]
    fn after(&self, [s, c]: [f64; 2], x: f64) -> f64 {
        s + (c + x)
    }

    fn whole(&self, [s, c]: [f64; 2]) -> f64 {
        s + c
    }
}

/// What is scanned, as a block of `outer` by `len` by `inner` elements along the middle axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
}

/// What is called with elements, piece by piece.
pub(crate) type Pieces<'a, T> = &'a mut dyn FnMut(&[T]);

/// A scan: where elements come from, how they are joined, where segments start, where results go.
pub(crate) struct Scan<'a, T, J, L, S> {
    pub joiner: &'a J,
    pub block: Block,
    /// `load(start, n, f)`: calls `f` with `n` elements from `start` on, in pieces one after the other.
    pub load: L,
    /// One flag an element, other than 0 where a segment starts.
    pub flags: Option<&'a [u8]>,
    /// For exclusive scans: what comes before everything.
    pub identity: Option<T>,
    /// `store(start, values)`: results from `start` on; each place once.
    pub store: S,
    /// Where results lie as they are: they are then made there, and not stored.
    pub direct: Option<SharedOut>,
    /// What an element costs beside the scan, in additions.
    pub weight: usize,
}

/// Elements of an expression whose compute type is `T`.
pub(crate) fn loader<'a, T: Copy>(
    eval: &'a Evaluator<'a>,
) -> impl Fn(usize, usize, Pieces<'_, T>) + Sync + 'a {
    |start, n, f| {
        let mut scratch = eval.scratch();
        for at in (0..n).step_by(CHUNK) {
            let m = CHUNK.min(n - at);
            // SAFETY: the range lies inside the expression, whose compute type is `T`.
            f(unsafe {
                let values = eval.chunk(start + at, m, &mut scratch, None);
                std::slice::from_raw_parts(values.cast::<T>(), m)
            });
        }
    }
}

/// Stores values of `T` as they are.
///
/// # Safety
/// `out` has room for all that will be stored, and nobody else uses it.
pub(crate) unsafe fn storer<T: Copy>(out: SharedOut) -> impl Fn(usize, &[T]) + Sync {
    move |start, values: &[T]| {
        // SAFETY: the caller's promise; every place is stored once.
        unsafe {
            out.at::<T>(start as isize).copy_from_nonoverlapping(values.as_ptr(), values.len())
        }
    }
}

impl<T, J, L, S> Scan<'_, T, J, L, S>
where
    T: Copy + Default + Send + Sync,
    J: Joiner<T>,
    L: Fn(usize, usize, Pieces<'_, T>) + Sync,
    S: Fn(usize, &[T]) + Sync,
{
    pub fn run(&self) {
        let Block { outer, len, inner } = self.block;
        if outer * len * inner == 0 {
            return;
        }
        if inner > 1 {
            self.columns();
        } else if len <= TILE {
            // A task takes as many whole rows as make a tile.
            let rows = TILE / len;
            run_tasks(outer.div_ceil(rows), self.is_short(), |k| {
                self.rows(k * rows, rows.min(outer - k * rows));
            });
        } else if outer >= 4 * rayon::current_num_threads() || self.is_short() {
            run_tasks(outer, self.is_short(), |row| self.row(row * len));
        } else {
            (0..outer).for_each(|row| self.shared_row(row * len));
        }
    }

    /// Whether it is done before other threads are awake.
    fn is_short(&self) -> bool {
        let Block { outer, len, inner } = self.block;
        outer * len * inner <= (2 * AWAKE / self.weight.max(1)).max(PARALLEL_ABOVE)
    }

    /// Memory for the results of `n` elements from `start` on.
    fn tile<'t>(&self, start: usize, n: usize, spare: &'t mut Vec<T>) -> &'t mut [T] {
        match self.direct {
            None => {
                spare.resize(n, T::default());
                spare
            }
            // SAFETY: the results' own places, which only the task that has these elements uses.
            Some(out) => unsafe { std::slice::from_raw_parts_mut(out.at::<T>(start as isize), n) },
        }
    }

    /// Elements from `start` on, as they are.
    fn fill(&self, start: usize, into: &mut [T]) {
        let mut at = 0;
        (self.load)(start, into.len(), &mut |xs| {
            into[at..][..xs.len()].copy_from_slice(xs);
            at += xs.len();
        });
    }

    fn put(&self, start: usize, tile: &[T]) {
        if self.direct.is_none() {
            (self.store)(start, tile);
        }
    }

    /// Rows that fit into one tile together.
    fn rows(&self, first: usize, rows: usize) {
        let len = self.block.len;
        let mut spare = Vec::new();
        let tile = self.tile(first * len, rows * len, &mut spare);
        // What is loaded at a time stays in the first-level cache.
        let some = (CHUNK / len).max(1);
        let mut copy = [T::default(); CHUNK];
        for (k, part) in tile.chunks_mut(some * len).enumerate() {
            let start = (first + k * some) * len;
            if some == 1 {
                let opened = self.open(start, part);
                self.finish(start, part, None, &opened);
                continue;
            }
            self.fill(start, part);
            for (row, xs) in part.chunks_mut(len).enumerate() {
                let start = start + row * len;
                let head = self.scan(start, xs, &mut copy);
                self.close(start, xs, None, head);
            }
        }
        self.put(first * len, tile);
    }

    /// A row by one thread.
    fn row(&self, start: usize) {
        let len = self.block.len;
        let mut spare = Vec::new();
        let mut carry = None;
        for at in (0..len).step_by(TILE) {
            let tile = self.tile(start + at, TILE.min(len - at), &mut spare);
            let opened = self.open(start + at, tile);
            carry = self.finish(start + at, tile, carry, &opened);
            self.put(start + at, tile);
        }
    }

    /// Elements of a stretch.
    const EACH: usize = if J::LOSSY { STRETCH } else { TILE };

    /// Loads a tile and scans its stretches, each by itself: where their first heads are, and their totals
    /// since the last.
    fn open(&self, start: usize, tile: &mut [T]) -> Opened<J::Carry> {
        let mut opened = [None; TILE / STRETCH];
        let mut copy = [T::default(); CHUNK];
        for (k, part) in tile.chunks_mut(Self::EACH).enumerate() {
            let start = start + k * Self::EACH;
            let Some(flags) = self.flags else {
                let (mut at, mut before, mut all) = (0, None, None);
                (self.load)(start, part.len(), &mut |xs| {
                    before = self.inclusive(before, xs, &mut part[at..][..xs.len()]);
                    at += xs.len();
                    let total = before.map(|last| self.joiner.total(xs, last));
                    // Where nothing is lost, the last has all.
                    all = match all.zip(total) {
                        Some((all, total)) if J::LOSSY => Some(self.joiner.merge(all, total)),
                        _ => total,
                    };
                });
                opened[k] = all.map(|all| (None, all));
                continue;
            };
            self.fill(start, part);
            let flags = &flags[start..][..part.len()];
            let open = flags.iter().rposition(|flag| *flag != 0).unwrap_or(0);
            // Where something is lost, of the elements: their last sum is of no use.
            let all = J::LOSSY.then(|| self.joiner.total(&part[open..], part[open]));
            let head = self.scan(start, part, &mut copy);
            let last = part[part.len() - 1];
            opened[k] = Some((head, all.unwrap_or_else(|| self.joiner.total(&[], last))));
        }
        opened
    }

    /// The carry after a tile.
    fn after(&self, carry: Option<J::Carry>, opened: &Opened<J::Carry>) -> Option<J::Carry> {
        let parts = opened.iter().flatten();
        parts.fold(carry, |carry, (head, total)| Some(self.next(carry, *head, *total)))
    }

    fn next(&self, carry: Option<J::Carry>, head: Option<usize>, total: J::Carry) -> J::Carry {
        match carry {
            Some(carry) if head.is_none() => self.joiner.merge(carry, total),
            _ => total,
        }
    }

    /// Scans elements between heads, each by itself; gives the first head's place.
    fn scan(&self, start: usize, xs: &mut [T], copy: &mut [T; CHUNK]) -> Option<usize> {
        let Some(flags) = self.flags else {
            self.in_place(xs, copy);
            return None;
        };
        let flags = &flags[start..start + xs.len()];
        let mut first = None;
        let mut from = 0;
        for (k, _) in flags.iter().enumerate().filter(|(_, f)| **f != 0) {
            first = first.or(Some(k));
            self.in_place(&mut xs[from..k], copy);
            from = k;
        }
        self.in_place(&mut xs[from..], copy);
        first
    }

    /// The same as [`Scan::inclusive`] of what is in the result's place.
    fn in_place(&self, xs: &mut [T], copy: &mut [T; CHUNK]) {
        if !J::SLOW || xs.len() < 4 * QUARTER {
            let Some((first, rest)) = xs.split_first_mut() else { return };
            let mut sum = *first;
            for x in rest {
                sum = self.joiner.join(sum, *x);
                *x = sum;
            }
            return;
        }
        let mut before = None;
        for xs in xs.chunks_mut(CHUNK) {
            let copy = &mut copy[..xs.len()];
            copy.copy_from_slice(xs);
            before = self.inclusive(before, copy, xs);
        }
    }

    /// Scans elements of one segment, of which others may have come `before`; gives the last result.
    fn inclusive(&self, before: Option<T>, xs: &[T], out: &mut [T]) -> Option<T> {
        let (Some(&first), Some(to)) = (xs.first(), out.first_mut()) else { return before };
        let first = before.map_or(first, |before| self.joiner.join(before, first));
        *to = first;
        if J::SLOW {
            return Some(self.by_quarters(first, xs, out));
        }
        let mut sum = first;
        for (to, &x) in out[1..].iter_mut().zip(&xs[1..]) {
            sum = self.joiner.join(sum, x);
            *to = sum;
        }
        Some(sum)
    }

    /// Four parts at a time: each step waits for the one before it, and processors can do several. The
    /// first result is known.
    fn by_quarters(&self, first: T, xs: &[T], out: &mut [T]) -> T {
        let join = |a, b| self.joiner.join(a, b);
        let mut sum = first;
        for (k, (xs, out)) in xs.chunks(CHUNK).zip(out.chunks_mut(CHUNK)).enumerate() {
            let first = if k == 0 { first } else { join(sum, xs[0]) };
            out[0] = first;
            let quarter = xs.len() / 4;
            if quarter < QUARTER {
                sum = first;
                for (to, &x) in out[1..].iter_mut().zip(&xs[1..]) {
                    sum = join(sum, x);
                    *to = sum;
                }
                continue;
            }
            let part = |k: usize| &xs[k * quarter..][..quarter];
            let [a, b, c, d] = [part(0), part(1), part(2), part(3)];
            let (to_a, rest) = out.split_at_mut(quarter);
            let (to_b, rest) = rest.split_at_mut(quarter);
            let (to_c, to_d) = rest.split_at_mut(quarter);
            let mut sums = [first, b[0], c[0], d[0]];
            (to_b[0], to_c[0], to_d[0]) = (b[0], c[0], d[0]);
            let from = a[1..].iter().zip(&b[1..]).zip(c[1..].iter().zip(&d[1..]));
            let to = to_a[1..].iter_mut().zip(&mut to_b[1..]);
            let to = to.zip(to_c[1..].iter_mut().zip(&mut to_d[1..]));
            for (((a, b), (c, d)), ((to_a, to_b), (to_c, to_d))) in from.zip(to) {
                sums = [join(sums[0], *a), join(sums[1], *b), join(sums[2], *c), join(sums[3], *d)];
                (*to_a, *to_b, *to_c, *to_d) = (sums[0], sums[1], sums[2], sums[3]);
            }
            for (to, &x) in to_d[quarter..].iter_mut().zip(&xs[4 * quarter..]) {
                sums[3] = join(sums[3], x);
                *to = sums[3];
            }
            let before_c = join(sums[0], sums[1]);
            let before_d = join(before_c, sums[2]);
            to_b.iter_mut().for_each(|x| *x = join(sums[0], *x));
            to_c.iter_mut().for_each(|x| *x = join(before_c, *x));
            to_d.iter_mut().for_each(|x| *x = join(before_d, *x));
            sum = join(before_d, sums[3]);
        }
        sum
    }

    /// Joins in what comes before a tile; gives the carry after it.
    fn finish(
        &self,
        start: usize,
        tile: &mut [T],
        mut carry: Option<J::Carry>,
        opened: &Opened<J::Carry>,
    ) -> Option<J::Carry> {
        let parts = tile.chunks_mut(Self::EACH).zip(opened.iter().flatten());
        for (k, (part, (head, total))) in parts.enumerate() {
            self.close(start + k * Self::EACH, part, carry, *head);
            carry = Some(self.next(carry, *head, *total));
        }
        carry
    }

    /// Joins in what comes before, up to the first head; moves an exclusive scan to its place.
    fn close(&self, start: usize, xs: &mut [T], carry: Option<J::Carry>, head: Option<usize>) {
        if let Some(carry) = carry {
            let open = head.unwrap_or(xs.len());
            xs[..open].iter_mut().for_each(|x| *x = self.joiner.after(carry, *x));
        }
        let Some(identity) = self.identity else { return };
        let n = xs.len();
        xs.copy_within(..n - 1, 1);
        xs[0] = carry.map_or(identity, |carry| self.joiner.whole(carry));
        if let Some(flags) = self.flags {
            for (x, _) in xs.iter_mut().zip(&flags[start..]).filter(|(_, flag)| **flag != 0) {
                *x = identity;
            }
        }
    }

    /// One row by several threads. Tiles are taken in order, so every one that is waited for is
    /// being worked on, by a thread that waits for earlier ones alone.
    fn shared_row(&self, start: usize) {
        let len = self.block.len;
        let tiles = len.div_ceil(TILE);
        let (next, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let carry: Mutex<Option<J::Carry>> = Mutex::new(None);
        let work = |_| {
            let mut spare = Vec::new();
            loop {
                let k = next.fetch_add(1, Ordering::Relaxed);
                if k >= tiles {
                    return;
                }
                let at = k * TILE;
                let tile = self.tile(start + at, TILE.min(len - at), &mut spare);
                let lost = Lost(&passed);
                let opened = self.open(start + at, tile);
                let mut polls = 0u32;
                loop {
                    match passed.load(Ordering::Acquire) {
                        now if now == k => break,
                        LOST => return,
                        _ => polls += 1,
                    }
                    if polls < 1 << 10 { std::hint::spin_loop() } else { std::thread::yield_now() }
                }
                // Only tile k is here: the others wait for its number or have passed.
                let before = {
                    let mut carry = carry.lock().unwrap_or_else(PoisonError::into_inner);
                    let before = *carry;
                    *carry = self.after(before, &opened);
                    before
                };
                std::mem::forget(lost);
                passed.store(k + 1, Ordering::Release);
                self.finish(start + at, tile, before, &opened);
                self.put(start + at, tile);
            }
        };
        let threads = rayon::current_num_threads().min(tiles);
        each_task(threads, 1, &work);
    }
}
