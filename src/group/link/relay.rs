//! The hub's transfers: all devices at once, three chunks on their way.
//!
//! Each slot has pinned memory for what comes down from every device that is a source, and for what
//! goes up to devices. A chunk comes down while the one before is combined and the one before that
//! goes up.

use super::super::cut::{At, Region};
use super::super::engine::{Job, Stop};
use super::super::hub::{Chunk, Item};
use super::staged::{chunk_bytes, opencl, wait};
use crate::host::eval::SharedOut;
use crate::opencl::stream::{Pinned, Ticket};
use std::sync::Arc;

const SLOTS: usize = 3;

/// Who carries a hub's items out.
const WORKER: usize = 0;

/// A command, the member whose device it is on.
type Started = (usize, Ticket);

#[derive(Default)]
struct Slot {
    /// With the member whose device made it; in the order of their use by a chunk.
    pinned: Vec<(usize, Pinned)>,
    down: Vec<Started>,
    up: Vec<Started>,
}

/// A chunk of an item.
struct Cut<'a> {
    item: &'a Item,
    skip: usize,
    len: usize,
}

struct Relay<'a> {
    job: &'a Arc<Job>,
    slots: [Slot; SLOTS],
}

pub(crate) fn run(job: &Arc<Job>, items: &[Item]) -> Result<(), Stop> {
    let total: usize = items.iter().map(|i| i.len).sum();
    let most = (chunk_bytes(job, total * job.size) / job.size).next_multiple_of(64);
    let mut cuts = Vec::new();
    for item in items {
        let mut skip = 0;
        while skip < item.len {
            let len = most.min(item.len - skip);
            cuts.push(Cut { item, skip, len });
            skip += len;
        }
    }
    let mut relay = Relay { job, slots: Default::default() };
    for k in 0..cuts.len() + 1 {
        if let Some(cut) = cuts.get(k) {
            // What went up from this slot has to be gone.
            relay.gone(k % SLOTS)?;
            relay.come(cut, k % SLOTS)?;
        }
        if let Some(b) = k.checked_sub(1) {
            relay.pass(&cuts[b], b % SLOTS)?;
        }
    }
    (0..SLOTS).try_for_each(|slot| relay.gone(slot))
}

impl Relay<'_> {
    /// The next piece of pinned memory of a slot that a member's device made.
    fn pinned(
        &mut self,
        slot: usize,
        next: &mut usize,
        member: usize,
        bytes: usize,
    ) -> Result<*mut u8, Stop> {
        let (job, list) = (self.job, &mut self.slots[slot].pinned);
        let fits = list.get(*next).is_some_and(|(m, p)| *m == member && p.size >= bytes);
        if !fits {
            let Some(cl) = opencl(job, member) else { return Ok(std::ptr::null_mut()) };
            let made = cl.pinned(job.completion.op(), bytes)?;
            // Nothing is on its way from or to this slot, so what lies there may go.
            if *next < list.len() {
                let (m, old) = std::mem::replace(&mut list[*next], (member, made));
                if let Some(cl) = opencl(job, m) {
                    cl.unpin(old);
                }
            } else {
                list.push((member, made));
            }
        }
        *next += 1;
        Ok(list[*next - 1].1.ptr())
    }

    /// Starts a chunk's way down.
    fn come(&mut self, cut: &Cut<'_>, slot: usize) -> Result<(), Stop> {
        let (job, size) = (self.job, self.job.size);
        let mut next = 0;
        for &(member, offset) in &cut.item.sources {
            let Some(cl) = opencl(job, member) else { continue };
            let to = self.pinned(slot, &mut next, member, cut.len * size)?;
            let from = job.part(member, At { region: Region::Input, offset: offset + cut.skip })?;
            let (at, bytes, op) = (from.offset * size, cut.len * size, job.completion.op());
            job.completion.serves(member);
            // SAFETY: the pinned memory is this chunk's until `gone`; inputs are not written; on every
            // way out both outlive the ticket, by `gone` or by quarantine.
            let ticket = unsafe { cl.start_download(op, from.buffer, at, to, bytes) };
            let ticket = ticket.map_err(|e| job.completion.blame(member, e))?;
            self.slots[slot].down.push((member, ticket));
        }
        Ok(())
    }

    /// Waits until a chunk has come down, combines it, and starts its way up.
    fn pass(&mut self, cut: &Cut<'_>, slot: usize) -> Result<(), Stop> {
        let (job, size) = (self.job, self.job.size);
        while let Some((member, ticket)) = self.slots[slot].down.first() {
            wait(job, WORKER, *member, ticket)?;
            self.slots[slot].down.remove(0);
        }
        job.go_on()?;
        let mut next = 0;
        let mut sources = Vec::with_capacity(cut.item.sources.len());
        for &(member, offset) in &cut.item.sources {
            sources.push(match opencl(job, member) {
                Some(_) => SharedOut(self.pinned(slot, &mut next, member, cut.len * size)?),
                None => {
                    let at = At { region: Region::Input, offset: offset + cut.skip };
                    job.part(member, at)?.host(size)
                }
            });
        }
        // Host members' memory is written at once. Devices that get the same elements share them: in
        // a source where nothing is combined, else in pinned memory.
        let mut targets: Vec<(usize, SharedOut)> = Vec::new();
        let mut shared: Option<(usize, SharedOut)> = None;
        let mut ups = Vec::new();
        for t in &cut.item.targets {
            if opencl(job, t.member).is_none() {
                let at = At { region: Region::Result, offset: t.offset + cut.skip };
                targets.push((t.after, job.part(t.member, at)?.host(size)));
                continue;
            }
            let from = match shared {
                _ if t.after == 1 && job.divisor == 1 => sources[0],
                Some((after, memory)) if after == t.after => memory,
                _ => {
                    let memory =
                        SharedOut(self.pinned(slot, &mut next, t.member, cut.len * size)?);
                    shared = Some((t.after, memory));
                    targets.push((t.after, memory));
                    memory
                }
            };
            ups.push((t, from));
        }
        targets.sort_by_key(|t| t.0);
        if !targets.is_empty() {
            Chunk { sources: &sources, targets: &targets, len: cut.len }.combine(job);
        }
        for (t, from) in ups {
            let Some(cl) = opencl(job, t.member) else { continue };
            let at = At { region: Region::Result, offset: t.offset + cut.skip };
            let to = job.part(t.member, at)?;
            let (at, bytes, op) = (to.offset * size, cut.len * size, job.completion.op());
            job.completion.serves(t.member);
            // SAFETY: as in `come`; the result is written by this worker alone.
            let ticket = unsafe { cl.start_upload(op, to.buffer, at, from.0, bytes) };
            let ticket = ticket.map_err(|e| job.completion.blame(t.member, e))?;
            self.slots[slot].up.push((t.member, ticket));
        }
        Ok(())
    }

    /// Waits until a slot's chunk has gone up.
    fn gone(&mut self, slot: usize) -> Result<(), Stop> {
        while let Some((member, ticket)) = self.slots[slot].up.first() {
            wait(self.job, WORKER, *member, ticket)?;
            self.slots[slot].up.remove(0);
        }
        Ok(())
    }
}

impl Drop for Relay<'_> {
    /// Gives pinned memory back. After an early end, also a panic, it stays with the job as long as
    /// commands may touch either.
    fn drop(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        let mut left: Vec<Started> = Vec::new();
        let mut pinned = Vec::new();
        for slot in slots {
            left.extend(slot.down);
            left.extend(slot.up);
            pinned.extend(slot.pinned);
        }
        if left.is_empty() {
            for (member, pinned) in pinned {
                if let Some(cl) = opencl(self.job, member) {
                    cl.unpin(pinned);
                }
            }
            return;
        }
        let kept = Arc::new((pinned, self.job.clone()));
        for (member, ticket) in left {
            if let Some(cl) = opencl(self.job, member) {
                cl.quarantine(vec![ticket], Box::new(kept.clone()));
            }
        }
    }
}
