//! Scans down columns: tiles of rows are scanned by themselves, then joined to what is above them.

use super::super::eval::CHUNK;
use super::super::{LIGHT, run_tasks};
use super::tiles::in_tiles;
use super::{Block, Joiner, Scan, TILE};

/// Rows of a tile at least.
const DOWN: usize = 32;

/// Tiles a thread whose totals are kept at a time, unless these have too many columns in all.
const ROUND: usize = 16;

/// Columns of such tiles together: some tens of megabytes.
const KEPT: usize = 1 << 21;

/// Columns of a strip at most.
const ACROSS: usize = 1024;

/// Columns of an outer index that one task scans.
#[derive(Clone, Copy)]
struct Strip {
    outer: usize,
    first: usize,
    width: usize,
}

/// Columns from which short rows are joined to those above them together.
pub(super) const NEIGHBOURS: usize = 8;

/// What comes before a tile, a place a column.
enum Above<'a, T, C> {
    Nothing,
    /// By [`Joiner::parts`].
    Parts(&'a [T], &'a [T]),
    Carries(&'a [C]),
}

/// How rows are joined.
#[derive(Clone, Copy)]
enum Way {
    /// Only what all of them give is wanted.
    Totals,
    /// Short rows, all at once.
    Together,
    Rows,
}

/// Some rows of a tile, the first of which is its row `above` and begins at `start`.
struct Rows<'a, T, C> {
    way: Way,
    above: usize,
    start: usize,
    width: usize,
    before: &'a Above<'a, T, C>,
    carries: &'a [C],
}

/// What [`Scan::advance`] needs of a tile, a place a column.
struct Totals<T> {
    sums: Vec<T>,
    open: Vec<bool>,
}

/// What a task keeps from strip to strip, a place a column.
struct Work<T, C> {
    /// Sums since the tile's top, or the last head in it.
    sums: Vec<T>,
    /// Whether a tile's elements so far follow the carry; not kept where there are no segments.
    open: Vec<bool>,
    /// What comes before the tile; empty in the beginning.
    carries: Vec<C>,
    /// The carries' parts, where all have them.
    highs: Vec<T>,
    lows: Vec<T>,
    spare: Vec<T>,
}

impl<T: Copy + Default, C> Work<T, C> {
    fn new() -> Work<T, C> {
        Work {
            sums: Vec::new(),
            open: Vec::new(),
            carries: Vec::new(),
            highs: Vec::new(),
            lows: Vec::new(),
            spare: Vec::new(),
        }
    }
}

impl<T, I, J> Scan<'_, T, I, J>
where
    T: Copy + Default + Send + Sync,
    I: Copy + Into<T> + Send + Sync,
    J: Joiner<T, I>,
{
    /// Rows of a tile.
    fn tile_rows(&self) -> usize {
        (TILE / self.block.inner.min(ACROSS)).max(DOWN)
    }

    /// Strips of columns are tasks, or several outer indices; where both are few, threads share tiles of whole rows.
    pub(super) fn columns(&self) {
        let Block { outer, len, inner } = self.block;
        let threads = rayon::current_num_threads();
        let width = inner.min(ACROSS);
        let strips = inner.div_ceil(width);
        let strip = |k: usize| {
            let first = k % strips * width;
            Strip { outer: k / strips, first, width: width.min(inner - first) }
        };
        let all = outer * strips;
        let alone = threads == 1 || outer * len * inner <= 4 * LIGHT / self.weight.max(1);
        if alone || all >= 2 * threads || all >= len.div_ceil(self.tile_rows()) {
            let some = (TILE / (len * width)).max(1);
            run_tasks(all.div_ceil(some), alone, |task| {
                let mut work = Work::new();
                for k in task * some..all.min((task + 1) * some) {
                    work.carries.clear();
                    self.strip(strip(k), [0, len], &mut work, None);
                }
            });
            return;
        }
        // Neighbouring threads would share a line of the cache at every end of a strip's rows.
        (0..outer).for_each(|k| self.tiles(strips, |s| strip(k * strips + s)));
    }

    /// A few short rows, one after the other in memory.
    pub(super) fn few_columns(&self, xs: &[I]) {
        let width = self.block.inner;
        let (mut spare, mut sums) = (Vec::new(), vec![T::default(); width]);
        let (before, carries) = (&Above::Nothing, &[][..]);
        let rows = Rows { way: Way::Together, above: 0, start: 0, width, before, carries };
        self.join_rows(&rows, xs, self.tile(0, xs.len(), &mut spare), (&mut sums, &mut []));
    }

    /// One outer index by several threads.
    fn tiles(&self, strips: usize, strip: impl Fn(usize) -> Strip + Sync) {
        let (len, down) = (self.block.len, self.tile_rows());
        let all = len.div_ceil(down);
        let rows = |k: usize| [k * down, len.min((k + 1) * down)];
        let threads = rayon::current_num_threads();
        let at_a_time = (ROUND * threads).min(KEPT / self.block.inner).max(2 * threads);
        // A strip's each.
        let mut before: Vec<Vec<J::Carry>> = vec![Vec::new(); strips];
        for first in (0..all).step_by(at_a_time) {
            let after = in_tiles(
                at_a_time.min(all - first),
                before,
                Work::new,
                |k, work| {
                    let total = |s: usize| {
                        let mut totals = Totals { sums: Vec::new(), open: Vec::new() };
                        work.carries.clear();
                        self.strip(strip(s), rows(first + k), work, Some(&mut totals));
                        totals
                    };
                    (0..strips).map(total).collect::<Vec<_>>()
                },
                |before, totals| {
                    let each = before.iter_mut().zip(totals);
                    each.for_each(|(b, totals)| self.advance(b, &totals.sums, &totals.open));
                },
                |k, work, before| {
                    for (s, before) in before.iter().enumerate() {
                        work.carries.clone_from(before);
                        self.strip(strip(s), rows(first + k), work, None);
                    }
                },
            );
            let Some(after) = after else { return };
            before = after;
        }
    }

    /// The carries after a tile, from its sums and, where there are segments, whether none starts in it.
    fn advance(&self, carries: &mut Vec<J::Carry>, sums: &[T], open: &[bool]) {
        if carries.is_empty() {
            return carries.extend(sums.iter().map(|&sum| self.joiner.first(sum)));
        }
        let next = |carry, sum| self.joiner.push(carry, sum);
        let all = carries.iter_mut().zip(sums);
        match self.flags {
            None => all.for_each(|(carry, &sum)| *carry = next(*carry, sum)),
            Some(_) => all.zip(open).for_each(|((carry, &sum), &open)| {
                *carry = if open { next(*carry, sum) } else { self.joiner.first(sum) };
            }),
        }
    }

    /// Rows `from .. to` of a strip, after the carries in `work`. With `totals` what [`Scan::advance`] needs of
    /// each tile is added there, and nothing is stored.
    fn strip(
        &self,
        Strip { outer, first, width }: Strip,
        [from, to]: [usize; 2],
        work: &mut Work<T, J::Carry>,
        mut totals: Option<&mut Totals<T>>,
    ) {
        let Block { len, inner, .. } = self.block;
        let Work { sums, open, carries, highs, lows, spare } = work;
        sums.resize(width, T::default());
        let down = self.tile_rows();
        // Short rows are loaded and stored several at a time, which stay in the first-level cache.
        let some = if width == inner { (CHUNK / width).max(1) } else { 1 };
        for top in (from..to).step_by(down) {
            let rows = down.min(to - top);
            if self.flags.is_some() {
                open.clear();
                open.resize(width, true);
            }
            let before = self.before(carries, highs, lows);
            let short = some > 1 && width >= NEIGHBOURS && self.identity.is_none();
            let way = match (&self.flags, &before) {
                (None, _) if totals.is_some() => Way::Totals,
                (None, Above::Nothing) if short => Way::Together,
                _ => Way::Rows,
            };
            for above in (0..rows).step_by(some) {
                let start = (outer * len + top + above) * inner + first;
                let n = some.min(rows - above) * width;
                let part = match totals {
                    None => self.tile(start, n, spare),
                    Some(_) => {
                        spare.resize(n, T::default());
                        &mut spare[..]
                    }
                };
                let rows = Rows { way, above, start, width, before: &before, carries };
                // A chunk at most, and so one piece.
                self.source.pieces(start, n, |xs| self.join_rows(&rows, xs, part, (sums, open)));
                if totals.is_none() {
                    self.put(start, part);
                }
            }
            match &mut totals {
                Some(totals) => {
                    totals.sums.extend_from_slice(sums);
                    totals.open.extend_from_slice(open);
                }
                None if top + rows < to => self.advance(carries, sums, open),
                None => {}
            }
        }
    }

    /// Joins rows to those above them, and stores their results in `part`.
    fn join_rows(
        &self,
        rows: &Rows<'_, T, J::Carry>,
        xs: &[I],
        part: &mut [T],
        state: (&mut [T], &mut [bool]),
    ) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return unsafe { self.join_rows_wide(rows, xs, part, state) };
        }
        self.join_rows_narrow(rows, xs, part, state);
    }

    /// By itself: what `lanes::vectorized` runs is compiled for wide vectors only where it is inlined, which nothing as
    /// long as this is.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn join_rows_wide(
        &self,
        rows: &Rows<'_, T, J::Carry>,
        xs: &[I],
        part: &mut [T],
        state: (&mut [T], &mut [bool]),
    ) {
        self.join_rows_narrow(rows, xs, part, state);
    }

    #[inline(always)]
    fn join_rows_narrow(
        &self,
        rows: &Rows<'_, T, J::Carry>,
        xs: &[I],
        part: &mut [T],
        (sums, open): (&mut [T], &mut [bool]),
    ) {
        let &Rows { way, above, start, width, before, carries } = rows;
        if let Way::Together = way {
            self.row_below(above == 0, &xs[..width], &mut part[..width], sums, before);
            rows_below(self.joiner, width, xs, part);
            return sums.copy_from_slice(&part[part.len() - width..]);
        }
        for (r, (xs, row)) in xs.chunks(width).zip(part.chunks_mut(width)).enumerate() {
            let top = above + r == 0;
            let sums_and = sums.iter_mut().zip(xs);
            match (way, self.flags) {
                (Way::Totals, _) if top => sums_and.for_each(|(sum, &x)| *sum = x.into()),
                (Way::Totals, _) => {
                    sums_and.for_each(|(sum, &x)| *sum = self.joiner.join(*sum, x));
                }
                (_, None) => self.row_below(top, xs, row, sums, before),
                (_, Some(flags)) => {
                    let flags = &flags[start + r * width..][..width];
                    self.row_in_segments(top, flags, xs, row, (sums, open), carries);
                }
            }
        }
    }

    /// What comes before a tile, in parts where these will do.
    fn before<'w>(
        &self,
        carries: &'w [J::Carry],
        highs: &'w mut Vec<T>,
        lows: &'w mut Vec<T>,
    ) -> Above<'w, T, J::Carry> {
        if carries.is_empty() {
            return Above::Nothing;
        }
        if self.flags.is_some() || self.identity.is_some() {
            return Above::Carries(carries);
        }
        highs.resize(carries.len(), T::default());
        lows.resize(carries.len(), T::default());
        let mut fit = true;
        for ((&carry, high), low) in carries.iter().zip(&mut *highs).zip(&mut *lows) {
            match self.joiner.parts(carry) {
                Some(parts) => [*high, *low] = parts,
                None => fit = false,
            }
        }
        if !fit {
            return Above::Carries(carries);
        }
        Above::Parts(highs, lows)
    }

    /// One row of a tile: joins it to the sums above it.
    #[inline(always)]
    fn row_below(
        &self,
        top: bool,
        xs: &[I],
        row: &mut [T],
        sums: &mut [T],
        before: &Above<'_, T, J::Carry>,
    ) {
        let joiner = self.joiner;
        match self.identity {
            None if top => each_column(joiner, xs, row, sums, before, |sum, x| {
                *sum = x.into();
                *sum
            }),
            None => each_column(joiner, xs, row, sums, before, |sum, x| {
                *sum = joiner.join(*sum, x);
                *sum
            }),
            // What comes before goes out.
            Some(identity) if top => {
                sums.iter_mut().zip(xs).for_each(|(sum, &x)| *sum = x.into());
                row.fill(identity);
                if let Above::Carries(carries) = before {
                    row.iter_mut().zip(*carries).for_each(|(x, &c)| *x = joiner.whole(c));
                }
            }
            Some(_) => each_column(joiner, xs, row, sums, before, |sum, x| {
                std::mem::replace(sum, joiner.join(*sum, x))
            }),
        }
    }

    /// The same where flags say where segments start.
    fn row_in_segments(
        &self,
        top: bool,
        flags: &[u8],
        xs: &[I],
        row: &mut [T],
        (sums, open): (&mut [T], &mut [bool]),
        carries: &[J::Carry],
    ) {
        let joiner = self.joiner;
        for (c, (to, &x)) in row.iter_mut().zip(xs).enumerate() {
            let (head, above) = (flags[c] != 0, sums[c]);
            sums[c] = if top || head { x.into() } else { joiner.join(above, x) };
            open[c] &= !head;
            let carry = carries.get(c).filter(|_| open[c]);
            *to = match (self.identity, carry) {
                (None, None) => sums[c],
                (None, Some(&carry)) => joiner.after(carry, sums[c]),
                (Some(identity), None) if top || head => identity,
                (Some(_), None) => above,
                (Some(_), Some(&carry)) if top => joiner.whole(carry),
                (Some(_), Some(&carry)) => joiner.after(carry, above),
            };
        }
    }
}

/// Puts what `step` gives for each column's sum and element, after its carry where there are any, into `row`.
#[inline(always)]
fn each_column<T: Copy, I: Copy + Into<T>, J: Joiner<T, I>>(
    joiner: &J,
    xs: &[I],
    row: &mut [T],
    sums: &mut [T],
    before: &Above<'_, T, J::Carry>,
    step: impl Fn(&mut T, I) -> T,
) {
    let columns = xs.iter().zip(row).zip(sums);
    match *before {
        Above::Nothing => columns.for_each(|((&x, to), sum)| *to = step(sum, x)),
        Above::Parts(highs, lows) => {
            columns.zip(highs).zip(lows).for_each(|((((&x, to), sum), &high), &low)| {
                *to = joiner.after_parts([high, low], step(sum, x));
            });
        }
        Above::Carries(carries) => columns.zip(carries).for_each(|(((&x, to), sum), &carry)| {
            *to = joiner.after(carry, step(sum, x));
        }),
    }
}

/// Joins rows to those above them, the first of which is there: down some columns at a time, whose sums stay in
/// registers. The last of these may be done twice, in the same way.
#[inline(always)]
fn rows_below<T: Copy, I: Copy + Into<T>, J: Joiner<T, I>>(
    joiner: &J,
    width: usize,
    xs: &[I],
    out: &mut [T],
) {
    match width >= 2 * NEIGHBOURS {
        true => down::<_, _, _, { 2 * NEIGHBOURS }>(joiner, width, xs, out),
        false => down::<_, _, _, NEIGHBOURS>(joiner, width, xs, out),
    }
}

#[inline(always)]
fn down<T: Copy, I: Copy + Into<T>, J: Joiner<T, I>, const N: usize>(
    joiner: &J,
    width: usize,
    xs: &[I],
    out: &mut [T],
) {
    for first in (0..width).step_by(N) {
        let first = first.min(width - N);
        let rows = xs.chunks_exact(width).zip(out.chunks_exact_mut(width));
        let mut sums: Option<[T; N]> = None;
        for (xs, out) in rows {
            if let (Some(xs), Some(to)) =
                (xs[first..].first_chunk::<N>(), out[first..].first_chunk_mut::<N>())
            {
                if let Some(sums) = sums {
                    *to = std::array::from_fn(|k| joiner.join(sums[k], xs[k]));
                }
                sums = Some(*to);
            }
        }
    }
}
