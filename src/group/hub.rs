//! Collectives through the host's memory, which is no member: every element comes down once from those who
//! have it, is combined there in the order of the members, and goes up once to those who get it.
//!
//! Every collective is a list of items. One worker carries all of them out in chunks: while one is
//! combined, the next one comes down and the one before goes up. Host members' memory is read and
//! written where it is.

use super::cut::Counts;
use super::engine::{Job, Stop};
use super::schedule::Collective;
use crate::host::{eval::SharedOut, past};
use crate::ops::combine::host_share;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Elements that lie together at all of their members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Who has them, and where in the input. Combined in this order.
    pub sources: Vec<(usize, usize)>,
    pub targets: Vec<Target>,
    pub len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// How many sources are combined for it.
    pub after: usize,
    pub member: usize,
    /// Where in the result.
    pub offset: usize,
}

/// What a collective does, apart from members whose result is their input.
pub(crate) fn items(collective: Collective, p: usize, counts: &Counts) -> Vec<Item> {
    use Collective as C;
    let target = |after: usize, member: usize, offset: usize| Target { after, member, offset };
    let starts = |counts: &[usize]| -> Vec<usize> {
        let sums = counts.iter().scan(0, |sum, &c| {
            *sum += c;
            Some(*sum - c)
        });
        sums.collect()
    };
    let everybody = |offset: usize| (0..p).map(|m| (m, offset)).collect::<Vec<_>>();
    let mut items = match (collective, counts) {
        (C::AllToAll, Counts::Pairs(rows)) => {
            let mut items = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                for (j, (&len, from)) in row.iter().zip(starts(row)).enumerate() {
                    let to = rows[..i].iter().map(|row| row[j]).sum();
                    items.push(Item {
                        sources: vec![(i, from)],
                        targets: vec![target(1, j, to)],
                        len,
                    });
                }
            }
            items
        }
        (_, Counts::Blocks(blocks)) => {
            let of = |(m, (&len, at)): (usize, (&usize, usize))| {
                let (sources, targets) = match collective {
                    C::ReduceScatter => (everybody(at), vec![target(p, m, 0)]),
                    C::Scatter { root } => (vec![(root, at)], vec![target(1, m, 0)]),
                    C::Gather { root } => (vec![(m, 0)], vec![target(1, root, at)]),
                    _ => (vec![(m, 0)], (0..p).map(|to| target(1, to, at)).collect()),
                };
                Item { sources, targets, len }
            };
            blocks.iter().zip(starts(blocks)).enumerate().map(of).collect()
        }
        (_, counts) => {
            let len = counts.total();
            let (sources, targets) = match collective {
                C::Broadcast { root } => {
                    let others = (0..p).filter(|&m| m != root);
                    (vec![(root, 0)], others.map(|m| target(1, m, 0)).collect())
                }
                C::Reduce { root } => (everybody(0), vec![target(p, root, 0)]),
                C::Scan => (everybody(0), (1..p).map(|m| target(m + 1, m, 0)).collect()),
                C::ExclusiveScan => (everybody(0), (1..p).map(|m| target(m, m, 0)).collect()),
                _ => (everybody(0), (0..p).map(|m| target(p, m, 0)).collect()),
            };
            vec![Item { sources, targets, len }]
        }
    };
    items.retain(|item| item.len > 0 && !item.targets.is_empty());
    for item in &mut items {
        let most = item.targets.iter().map(|t| t.after).max().unwrap_or(0);
        item.sources.truncate(most);
    }
    items
}

/// Bytes that a thread combines at a time: all that it touches stays in its caches meanwhile.
const BLOCK: usize = 32 << 10;

/// Results of so many bytes in all go past the caches, where little of them would stay. All_reduce over
/// four members of 64 MiB by two cores, in turns, time of the processor, ms: 18.4 to 20, by ordinary
/// stores 20.8; reading one source after another 23 and 25, and a plain loop that writes one array 10.6.
const PAST_CACHES: usize = 16 << 20;

/// Where what goes past the caches is combined.
#[repr(align(64))]
struct Scratch(MaybeUninit<[u8; BLOCK]>);

/// Memory of the host for one chunk: where it comes from and where it goes.
pub(crate) struct Chunk<'a> {
    pub sources: &'a [SharedOut],
    /// With how many sources are combined for it.
    pub targets: &'a [(usize, SharedOut)],
    pub len: usize,
}

impl Chunk<'_> {
    /// Combines the sources and writes every target.
    pub fn combine(&self, job: &Job) {
        let size = job.size;
        let step = (BLOCK / size).max(1);
        let blocks = self.len.div_ceil(step);
        let past = self.len * size * self.targets.len() >= PAST_CACHES;
        let one = |b: usize| {
            let (start, end) = (b * step, ((b + 1) * step).min(self.len));
            self.block(job, start, end - start, past);
        };
        // A few blocks are combined sooner than other threads wake.
        if blocks <= 4 {
            (0..blocks).for_each(one);
        } else {
            job.crew.run(|| (0..blocks).into_par_iter().with_min_len(4).for_each(one));
        }
    }

    fn block(&self, job: &Job, start: usize, n: usize, past: bool) {
        let size = job.size;
        let mut scratch = Scratch(MaybeUninit::uninit());
        let scratch = SharedOut(scratch.0.as_mut_ptr().cast());
        // SAFETY: `start .. start + n` lies inside every source and target, and targets are apart from
        // sources and from each other: results are fresh memory, chunks are cut once. Blocks are apart,
        // and `n` elements are no more than a block.
        let at = |memory: SharedOut| SharedOut(unsafe { memory.add(start * size) });
        let copy = |from: SharedOut, to: SharedOut| {
            // SAFETY: as above.
            unsafe {
                match past {
                    true => past::copy(from.0, to.0, n * size),
                    false => to.0.copy_from_nonoverlapping(from.0, n * size),
                }
            }
        };
        // What is combined so far: the first source, then what was combined for the target that needs the
        // least of them.
        let mut value = at(self.sources[0]);
        let mut combined = 1;
        // By the number of sources: every target starts from what the one before has.
        for &(after, target) in self.targets {
            let target = at(target);
            let Some(combine) = job.combine.as_ref().filter(|_| after > combined) else {
                copy(value, target);
                continue;
            };
            let place = if past { scratch } else { target };
            if combined == 1 && after >= 4 {
                let from = [0, 1, 2, 3].map(|k| at(self.sources[k]));
                combine.block_of_four(from, place, n);
                (value, combined) = (place, 4);
            }
            for &source in &self.sources[combined..after] {
                combine.block(value, at(source), place, n);
                value = place;
            }
            combined = after;
            // Of an average all targets have the same sources.
            if job.divisor > 1 {
                host_share(combine, place, n, job.divisor);
            }
            if past {
                copy(value, target);
            }
        }
    }
}

/// Carries all items of a job out.
pub(super) fn run(job: &std::sync::Arc<Job>, items: &[Item]) -> Result<(), Stop> {
    #[cfg(test)]
    if let Some(fault) = &job.fault {
        for member in 0..job.stores.len() {
            job.completion.serves(member);
            fault.strike(job, member, 0).map_err(|stop| match stop {
                Stop::Failed(e) => Stop::Failed(job.completion.blame(member, e)),
                Stop::Late => Stop::Failed(job.late(member)),
                Stop::Cancelled => Stop::Cancelled,
            })?;
        }
    }
    if job.stores.iter().all(|s| s.device.is_host()) {
        for item in items {
            job.go_on()?;
            on_host(job, item)?;
        }
        return Ok(());
    }
    #[cfg(feature = "opencl")]
    super::link::relay::run(job, items)?;
    Ok(())
}

/// Between host members there is nothing to wait for, and chunks are cut by the threads alone.
fn on_host(job: &Job, item: &Item) -> Result<(), Stop> {
    use super::cut::{At, Region};
    let input = |&(member, offset): &(usize, usize)| {
        let part = job.part(member, At { region: Region::Input, offset })?;
        Ok(part.host(job.size))
    };
    let sources = item.sources.iter().map(input).collect::<Result<Vec<_>, Stop>>()?;
    let mut targets = Vec::with_capacity(item.targets.len());
    for t in &item.targets {
        let part = job.part(t.member, At { region: Region::Result, offset: t.offset })?;
        targets.push((t.after, part.host(job.size)));
    }
    Chunk { sources: &sources, targets: &targets, len: item.len }.combine(job);
    Ok(())
}
