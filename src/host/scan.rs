//! Scans on the host. Where threads share a row, the total of each of its tiles is made first; what comes before
//! a tile is then found by looking back over them.

mod columns;
mod join;
mod segments;
#[cfg(test)]
mod tests;
mod tiles;
mod wide;

pub(crate) use join::{FloatSum, IntegerSum, Joiner, Plain};

use self::columns::NEIGHBOURS;
use self::segments::{each_head, last_head};
use self::tiles::in_tiles;
use super::eval::{CHUNK, SharedOut};
use super::source::Source;
use super::{LIGHT, PARALLEL_ABOVE, run_tasks};

/// Elements of a tile: half of a small second-level cache.
const TILE: usize = 16 * CHUNK;

/// What is scanned, as a block of `outer` by `len` by `inner` elements along the middle axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
}

/// `store(start, values)`: puts results from `start` on where they belong; each once.
pub(crate) type Store<'a, T> = &'a (dyn Fn(usize, &[T]) + Sync);

/// A scan: where elements come from, how they are joined, where segments start, where results go.
pub(crate) struct Scan<'a, T, I, J> {
    pub joiner: &'a J,
    pub block: Block,
    pub source: Source<'a, I>,
    /// One flag an element, other than 0 where a segment starts.
    pub flags: Option<&'a [u8]>,
    /// For exclusive scans: what comes before everything.
    pub identity: Option<T>,
    /// A place for each result, as it is, unless they are stored.
    pub out: SharedOut,
    pub store: Option<Store<'a, T>>,
    /// What an element costs beside the scan, in additions.
    pub weight: usize,
}

/// What comes before an element of a row: all until a tile or the last start of a segment in it, then the stretches
/// since.
#[derive(Clone, Copy)]
struct Before<C> {
    tile: Option<C>,
    stretches: Option<C>,
}

impl<C> Before<C> {
    fn tile(tile: Option<C>) -> Before<C> {
        Before { tile, stretches: None }
    }
}

impl<T, I, J> Scan<'_, T, I, J>
where
    T: Copy + Default + Send + Sync,
    I: Copy + Into<T> + Send + Sync,
    J: Joiner<T, I>,
{
    pub fn run(&self) {
        let Block { outer, len, inner } = self.block;
        if outer * len * inner == 0 {
            return;
        }
        if let (Source::Memory(xs), None, None) = (self.source, self.identity, self.store)
            && outer == 1
            && len * inner <= CHUNK
        {
            // Little more than what a loop of one's own would do.
            let (xs, mut spare) = (&xs[..len * inner], Vec::new());
            match self.flags {
                None if inner == 1 => {
                    return self.joiner.run(None, xs, self.tile(0, len, &mut spare));
                }
                Some(flags) if inner == 1 => {
                    let out = self.tile(0, len, &mut spare);
                    return self.joiner.run_in_segments(None, xs, &flags[..len], out);
                }
                None if inner >= NEIGHBOURS => return self.few_columns(xs),
                _ => {}
            }
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
        outer * len * inner <= (LIGHT / self.weight.max(1)).max(PARALLEL_ABOVE)
    }

    /// Memory for the results of `n` elements from `start` on.
    fn tile<'t>(&self, start: usize, n: usize, spare: &'t mut Vec<T>) -> &'t mut [T] {
        match self.store {
            Some(_) => {
                spare.resize(n, T::default());
                spare
            }
            // SAFETY: the results' own places, which only the task that has these elements uses.
            None => unsafe { std::slice::from_raw_parts_mut(self.out.at::<T>(start as isize), n) },
        }
    }

    fn put(&self, start: usize, tile: &[T]) {
        if let Some(store) = self.store {
            store(start, tile);
        }
    }

    /// Rows that fit into one tile together.
    fn rows(&self, first: usize, rows: usize) {
        let len = self.block.len;
        let mut spare = Vec::new();
        let tile = self.tile(first * len, rows * len, &mut spare);
        // Short rows are loaded several at a time.
        let some = CHUNK / len;
        for (k, part) in tile.chunks_mut(some.max(1) * len).enumerate() {
            let start = (first + k * some.max(1)) * len;
            if some == 0 {
                self.span(start, part, &mut Before::tile(None), false);
                self.shift(start, part, None);
                continue;
            }
            self.source.pieces(start, part.len(), |xs| {
                let rows = xs.chunks(len).zip(part.chunks_mut(len));
                for (row, (xs, part)) in rows.enumerate() {
                    let start = start + row * len;
                    self.piece(start, xs, part, &mut Before::tile(None), false);
                    self.shift(start, part, None);
                }
            });
        }
        self.put(first * len, tile);
    }

    /// A row by one thread.
    fn row(&self, start: usize) {
        let len = self.block.len;
        let mut spare = Vec::new();
        let mut before = Before::tile(None);
        for at in (0..len).step_by(TILE) {
            let tile = self.tile(start + at, TILE.min(len - at), &mut spare);
            let carry = self.close(&mut before);
            self.span(start + at, tile, &mut before, at + TILE < len);
            self.shift(start + at, tile, carry);
            self.put(start + at, tile);
        }
    }

    /// Ends a tile: all before the next one, which is joined to this.
    fn close(&self, before: &mut Before<J::Carry>) -> Option<J::Carry> {
        *before = Before::tile(self.all(*before));
        before.tile
    }

    fn all(&self, before: Before<J::Carry>) -> Option<J::Carry> {
        match (before.tile, before.stretches) {
            (Some(tile), Some(stretches)) => Some(self.joiner.merge(tile, stretches)),
            (tile, stretches) => tile.or(stretches),
        }
    }

    /// A part of a row, into the places of its results. Unless there is `more`, what comes before that may be left
    /// open.
    fn span(&self, start: usize, out: &mut [T], before: &mut Before<J::Carry>, more: bool) {
        let (mut at, n) = (0, out.len());
        self.source.pieces(start, n, |xs| {
            let more = more || at + xs.len() < n;
            self.piece(start + at, xs, &mut out[at..][..xs.len()], before, more);
            at += xs.len();
        });
    }

    /// The same of elements that are there, with nothing more.
    fn known(&self, start: usize, xs: &[I], out: &mut [T], before: &mut Before<J::Carry>) {
        for (k, (piece, out)) in xs.chunks(CHUNK).zip(out.chunks_mut(CHUNK)).enumerate() {
            let more = (k + 1) * CHUNK < xs.len();
            self.piece(start + k * CHUNK, piece, out, before, more);
        }
    }

    /// The same of a chunk at most.
    fn piece(
        &self,
        start: usize,
        xs: &[I],
        out: &mut [T],
        before: &mut Before<J::Carry>,
        more: bool,
    ) {
        let Some(last) = xs.len().checked_sub(1) else { return };
        let all = self.all(*before);
        let mut open = xs;
        match self.flags {
            None => self.joiner.run(all, xs, out),
            Some(flags) => {
                let flags = &flags[start..][..xs.len()];
                self.joiner.run_in_segments(all, xs, flags, out);
                if more && let Some(head) = last_head(flags) {
                    *before = Before::tile(None);
                    open = &xs[head..];
                }
            }
        }
        if more && J::EXACT {
            *before = Before::tile(Some(self.joiner.first(out[last])));
        } else if more {
            self.add(before, open);
        }
    }

    /// Adds a stretch's total.
    fn add(&self, before: &mut Before<J::Carry>, xs: &[I]) {
        before.stretches = Some(self.joiner.total(before.stretches, xs));
    }

    /// The total of a tile since the last start of a segment in it, and whether there is one. Computed elements are
    /// `kept`.
    fn total(&self, start: usize, n: usize, kept: &mut Vec<I>) -> (Before<J::Carry>, bool) {
        kept.clear();
        let mut at = start;
        let (mut before, mut headed) = (Before::tile(None), false);
        self.source.pieces(start, n, |xs| {
            if let Source::Computed(_) = self.source {
                kept.extend_from_slice(xs);
            }
            let flags = self.flags.map(|flags| &flags[at..][..xs.len()]);
            let head = flags.and_then(last_head);
            if head.is_some() {
                (before, headed) = (Before::tile(None), true);
            }
            self.add(&mut before, &xs[head.unwrap_or(0)..]);
            at += xs.len();
        });
        (before, headed)
    }

    /// Moves an exclusive scan to its place.
    fn shift(&self, start: usize, xs: &mut [T], carry: Option<J::Carry>) {
        let Some(identity) = self.identity else { return };
        let n = xs.len();
        xs.copy_within(..n - 1, 1);
        xs[0] = carry.map_or(identity, |carry| self.joiner.whole(carry));
        if let Some(flags) = self.flags {
            each_head(&flags[start..][..n], |k| xs[k] = identity);
        }
    }

    /// One row by several threads.
    fn shared_row(&self, start: usize) {
        let len = self.block.len;
        let place = |k: usize| (start + k * TILE, TILE.min(len - k * TILE));
        in_tiles(
            len.div_ceil(TILE),
            Before::tile(None),
            || (Vec::new(), Vec::new()),
            |k, (_, kept)| {
                let (start, n) = place(k);
                self.total(start, n, kept)
            },
            |before, &(total, headed)| {
                let all = self.close(before);
                *before = if headed { total } else { Before { tile: all, ..total } };
            },
            |k, (spare, kept), before| {
                let before = self.all(*before);
                let (start, n) = place(k);
                let tile = self.tile(start, n, spare);
                let xs = match self.source {
                    Source::Memory(xs) => &xs[start..][..n],
                    Source::Computed(_) => kept,
                };
                self.known(start, xs, tile, &mut Before::tile(before));
                self.shift(start, tile, before);
                self.put(start, tile);
            },
        );
    }
}
