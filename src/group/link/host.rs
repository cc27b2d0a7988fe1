//! Between host members: everything is memory of this process.

use super::super::engine::{Job, Stop};
use super::super::plan::Task;
use super::super::schedule::Action;
use crate::error::Result;
use crate::host::eval::SharedOut;
use crate::ops::combine::{Combine, Combining, Part};
use rayon::prelude::*;

/// Bytes that one thread copies at a time.
const COPIED: usize = 1 << 20;

/// Carries out a task between two host members, or within one.
pub(super) fn carry(job: &Job, task: &Task) -> Result<(), Stop> {
    for piece in &task.pieces {
        let from = job.part(task.from, piece.from)?;
        let (own, to) = (job.part(task.to, piece.own)?, job.part(task.to, piece.to)?);
        apply(job, task.action, from, own, to, piece.len)?;
        job.go_on()?;
    }
    Ok(())
}

/// Copies or combines within one backend.
fn apply(
    job: &Job,
    action: Action,
    from: Part<'_>,
    own: Part<'_>,
    to: Part<'_>,
    n: usize,
) -> Result<()> {
    match &job.combine {
        Some(combine) if action != Action::Copy => {
            let op = job.completion.op();
            job.crew(n, || combining(op, combine, action, from, own, to, n))
        }
        _ => {
            copy(job, from.host(job.size), to.host(job.size), n * job.size);
            Ok(())
        }
    }
}

pub(super) fn combining(
    op: &'static str,
    combine: &Combine,
    action: Action,
    from: Part<'_>,
    own: Part<'_>,
    out: Part<'_>,
    n: usize,
) -> Result<()> {
    let (a, b) = if action == Action::Before { (from, own) } else { (own, from) };
    Combining { op, combine, out, a, b, n }.run()
}

/// Copies bytes that do not overlap.
pub(super) fn copy(job: &Job, from: SharedOut, to: SharedOut, bytes: usize) {
    let part = |k: usize| {
        let at = k * COPIED;
        // SAFETY: plans keep both inside their buffers and apart, and parts do not overlap; nobody
        // writes `from` or touches `to` meanwhile, for tasks wait for each other.
        unsafe { to.add(at).copy_from_nonoverlapping(from.add(at), COPIED.min(bytes - at)) }
    };
    match bytes.div_ceil(COPIED) {
        0 => {}
        1 => part(0),
        parts => job.crew.run(|| (0..parts).into_par_iter().for_each(part)),
    }
}
