//! Between a device and the host, and between devices through pinned memory of the host.
//!
//! Elements go in chunks. While one is on its way to the receiver the next one is on its way from the
//! sender: two chunks have room at a time. A worker never waits in the driver: it asks its
//! tickets, so it notices when its job is cancelled or late, and what is then still on its way goes
//! into quarantine with all that it touches.

use super::super::engine::{Job, Stop};
use super::super::plan::{Piece, Task};
use super::super::schedule::Action;
use super::host::{combining, copy};
use crate::backend::Buffer;
use crate::device::{Backing, DeviceKind};
use crate::host::eval::SharedOut;
use crate::opencl::ClDevice;
use crate::opencl::stream::{Pinned, Ticket};
use crate::ops::combine::{Part, host_combine};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Elements that go at once.
struct Chunk {
    piece: Piece,
    /// How far from the beginning of the piece they lie.
    skip: usize,
    len: usize,
}

/// Chunks on their way: what has to outlive an early end.
struct Flight<'a> {
    job: &'a Arc<Job>,
    from: usize,
    to: usize,
    /// Of both slots.
    down: [Option<Ticket>; 2],
    up: [Option<Ticket>; 2],
    pinned: [Option<Pinned>; 2],
    /// Where elements wait on the receiving device until they are combined.
    landing: [Option<Buffer>; 2],
}

pub(super) fn opencl(job: &Job, member: usize) -> Option<&ClDevice> {
    match job.stores[member].device.backing() {
        Backing::OpenCl(cl) => Some(cl),
        Backing::Host(_) => None,
    }
}

/// Carries out a task that starts or ends on an OpenCL device.
pub(super) fn carry(job: &Arc<Job>, task: &Task) -> Result<(), Stop> {
    let same = job.stores[task.from].device == job.stores[task.to].device;
    if same && let Some(cl) = opencl(job, task.to) {
        return within(job, task, cl);
    }
    let mut flight = Flight {
        job,
        from: task.from,
        to: task.to,
        down: [None, None],
        up: [None, None],
        pinned: [None, None],
        landing: [None, None],
    };
    flight.fly(task)
}

/// Within one device everything is a command of its queue.
fn within(job: &Job, task: &Task, cl: &ClDevice) -> Result<(), Stop> {
    let (op, size) = (job.completion.op(), job.size);
    for piece in &task.pieces {
        let from = job.part(task.from, piece.from)?;
        let (own, to) = (job.part(task.to, piece.own)?, job.part(task.to, piece.to)?);
        match &job.combine {
            Some(combine) if task.action != Action::Copy => {
                combining(op, combine, task.action, from, own, to, piece.len)?;
            }
            _ => {
                let (a, b) = ((from.buffer, from.offset * size), (to.buffer, to.offset * size));
                cl.start_copy(op, a, b, piece.len * size)?;
            }
        }
        job.go_on()?;
    }
    Ok(())
}

/// Asks until a member's ticket is done; `worker` is who asks. The first questions follow each other
/// closely, for most chunks take microseconds.
pub(crate) fn wait(job: &Job, worker: usize, member: usize, ticket: &Ticket) -> Result<(), Stop> {
    let begun = Instant::now();
    // A GPU leaves the processor to us, and a thread that sleeps wakes late: 50 µs for every chunk.
    let patient = opencl(job, member).is_some_and(|cl| cl.info.kind == DeviceKind::Gpu);
    let awake = Duration::from_micros(if patient { 2000 } else { 100 });
    while !ticket.done().map_err(|e| job.completion.blame(member, e))? {
        job.done.waits(worker, Some(member));
        match job.go_on() {
            Err(Stop::Late) => return Err(Stop::Failed(job.late(member))),
            other => other?,
        }
        match begun.elapsed() {
            t if t < awake => std::thread::yield_now(),
            t if t < Duration::from_millis(10) => std::thread::sleep(Duration::from_micros(20)),
            _ => std::thread::sleep(Duration::from_micros(500)),
        }
    }
    job.done.waits(worker, None);
    Ok(())
}

/// The same for a ticket in its place, which is empty afterwards when it has succeeded.
fn wait_in(
    job: &Job,
    worker: usize,
    member: usize,
    place: &mut Option<Ticket>,
) -> Result<(), Stop> {
    if let Some(ticket) = place {
        wait(job, worker, member, ticket)?;
        *place = None;
    }
    Ok(())
}

/// Bytes of a chunk of so many: what the latencies of its two halves are worth. The time of n bytes in
/// chunks of c is about (n / c + 1) (latency + c / bandwidth), which is least at c² = n · latency ·
/// bandwidth; 20 µs at 10 GB/s, which differ less between machines than the square root shows.
pub(super) fn chunk_bytes(job: &Job, bytes: usize) -> usize {
    match job.chunk {
        0 => ((bytes as f64 * 20e-6 * 10e9).sqrt() as usize).clamp(64 << 10, 16 << 20),
        given => given,
    }
}

impl Flight<'_> {
    fn fly(&mut self, task: &Task) -> Result<(), Stop> {
        let job = self.job;
        // Whole vectors, so that chunks of aligned blocks are aligned.
        let bytes = chunk_bytes(job, task.elements() * job.size);
        let most = (bytes / job.size).next_multiple_of(64);
        let mut chunks = Vec::new();
        for &piece in &task.pieces {
            let mut skip = 0;
            while skip < piece.len {
                let len = most.min(piece.len - skip);
                chunks.push(Chunk { piece, skip, len });
                skip += len;
            }
        }
        let combines = job.combine.is_some() && task.action != Action::Copy;
        let largest = chunks.iter().map(|c| c.len).max().unwrap_or(0) * job.size;
        let slots = chunks.len().min(2);
        // A device's elements land in the host's memory for another device, or to be combined.
        let (source, target) = (opencl(job, self.from), opencl(job, self.to));
        if let Some(cl) = source
            && (target.is_some() || combines)
        {
            for slot in &mut self.pinned[..slots] {
                *slot = Some(cl.pinned(job.completion.op(), largest)?);
            }
        }
        if target.is_some() && combines {
            for slot in &mut self.landing[..slots] {
                *slot = Some(Buffer::new(&job.stores[self.to].device, largest)?);
            }
        }
        if let Some(first) = chunks.first() {
            self.download(first, 0)?;
        }
        for (k, chunk) in chunks.iter().enumerate() {
            let slot = k % 2;
            if let Some(next) = chunks.get(k + 1) {
                // Its room is free when the chunk before has left it.
                self.arrive(task, k.checked_sub(1).map(|b| &chunks[b]), 1 - slot)?;
                self.download(next, 1 - slot)?;
            }
            wait_in(job, self.to, self.from, &mut self.down[slot])?;
            self.deliver(task, chunk, slot, combines)?;
        }
        let last = chunks.len().saturating_sub(2);
        for (k, chunk) in chunks.iter().enumerate().skip(last) {
            self.arrive(task, Some(chunk), k % 2)?;
        }
        Ok(())
    }

    /// The part of a member's memory that a chunk is.
    fn part(
        &self,
        member: usize,
        mut at: super::super::cut::At,
        skip: usize,
    ) -> Result<Part<'_>, Stop> {
        at.offset += skip;
        Ok(self.job.part(member, at)?)
    }

    /// Starts a chunk's way from a device into its slot, or into the receiver where that is the host.
    fn download(&mut self, chunk: &Chunk, slot: usize) -> Result<(), Stop> {
        let Some(cl) = opencl(self.job, self.from) else { return Ok(()) };
        let (op, size) = (self.job.completion.op(), self.job.size);
        let from = self.part(self.from, chunk.piece.from, chunk.skip)?;
        let target = match &self.pinned[slot] {
            Some(pinned) => pinned.ptr(),
            None => self.part(self.to, chunk.piece.to, chunk.skip)?.host(size).0,
        };
        let (at, bytes) = (from.offset * size, chunk.len * size);
        // SAFETY: the slot, or the receiver's part, has room for the chunk and is this task's alone;
        // tasks wait for each other, so the sender's part is not written; `drop` keeps both until
        // the ticket is done.
        let ticket = unsafe { cl.start_download(op, from.buffer, at, target, bytes) };
        self.down[slot] = Some(ticket.map_err(|e| self.job.completion.blame(self.from, e))?);
        Ok(())
    }

    /// Brings a chunk that has come to the host to its receiver; to a device it is then on its way.
    fn deliver(
        &mut self,
        task: &Task,
        chunk: &Chunk,
        slot: usize,
        combines: bool,
    ) -> Result<(), Stop> {
        let (job, op, size) = (self.job, self.job.completion.op(), self.job.size);
        let source = match &self.pinned[slot] {
            Some(pinned) => SharedOut(pinned.ptr()),
            None => self.part(self.from, chunk.piece.from, chunk.skip)?.host(size),
        };
        let to = self.part(self.to, chunk.piece.to, chunk.skip)?;
        let Some(cl) = opencl(job, self.to) else {
            if let Some(combine) = job.combine.as_ref().filter(|_| combines) {
                let own = self.part(self.to, chunk.piece.own, chunk.skip)?.host(size);
                let (a, b) = match task.action {
                    Action::Before => (source, own),
                    _ => (own, source),
                };
                let to = to.host(size);
                job.crew(chunk.len, || host_combine(combine, a, b, to, chunk.len));
            } else if self.pinned[slot].is_some() {
                copy(job, source, to.host(size), chunk.len * size);
            }
            return Ok(());
        };
        let (buffer, at) = match &self.landing[slot] {
            Some(landing) => (landing, 0),
            None => (to.buffer, to.offset * size),
        };
        // SAFETY: the slot is not written before `arrive`, and a host sender's part not before the
        // task is done; the target is this task's alone; `drop` keeps both until the ticket is done.
        let ticket = unsafe { cl.start_upload(op, buffer, at, source.0, chunk.len * size)? };
        self.up[slot] = Some(ticket);
        Ok(())
    }

    /// Waits until a chunk has left its slot for the receiving device, and combines it there.
    fn arrive(&mut self, task: &Task, chunk: Option<&Chunk>, slot: usize) -> Result<(), Stop> {
        let Some(chunk) = chunk.filter(|_| self.up[slot].is_some()) else { return Ok(()) };
        wait_in(self.job, self.to, self.to, &mut self.up[slot])?;
        if let (Some(landing), Some(combine)) = (&self.landing[slot], &self.job.combine) {
            let from = Part { buffer: landing, offset: 0 };
            let own = self.part(self.to, chunk.piece.own, chunk.skip)?;
            let to = self.part(self.to, chunk.piece.to, chunk.skip)?;
            combining(self.job.completion.op(), combine, task.action, from, own, to, chunk.len)?;
        }
        Ok(())
    }
}

impl Drop for Flight<'_> {
    /// Gives back what was borrowed. When the flight ended early, also by a panic of the user's
    /// operator, it is kept until nothing that is still on its way can touch it.
    fn drop(&mut self) {
        let (source, target) = (opencl(self.job, self.from), opencl(self.job, self.to));
        let take = |tickets: &mut [Option<Ticket>; 2]| -> Vec<Ticket> {
            tickets.iter_mut().filter_map(Option::take).collect()
        };
        let (down, up) = (take(&mut self.down), take(&mut self.up));
        let pinned = std::mem::take(&mut self.pinned);
        if !(down.is_empty() && up.is_empty()) {
            let landing = std::mem::take(&mut self.landing);
            let kept = Arc::new((pinned, landing, self.job.clone()));
            // Each device holds it until its own commands are done.
            for (device, tickets) in [(source, down), (target, up)] {
                if let Some(cl) = device.filter(|_| !tickets.is_empty()) {
                    cl.quarantine(tickets, Box::new(kept.clone()));
                }
            }
            return;
        }
        for pinned in pinned.into_iter().flatten() {
            if let Some(cl) = source {
                cl.unpin(pinned);
            }
        }
    }
}

/// Returns when the device has finished what it was given: a failure that comes late is the call's, not
/// that of whoever reads the result.
pub(super) fn settle(job: &Arc<Job>, member: usize, cl: &ClDevice) -> Result<(), Stop> {
    cl.sweep();
    let Some((ticket, position)) = cl.all_so_far(job.completion.op())? else { return Ok(()) };
    match wait(job, member, member, &ticket) {
        Ok(()) => Ok(cl.passed(position)?),
        Err(stop) => {
            cl.quarantine(vec![ticket], Box::new(job.clone()));
            Err(stop)
        }
    }
}
