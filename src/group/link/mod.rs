//! Ways for elements to move from one member to another.
//!
//! | from | to | how |
//! |---|---|---|
//! | host | host | combined or copied from the sender's memory by rayon |
//! | a device | the same device | a kernel or a copy on its queue |
//! | host | device | uploaded from the sender's memory |
//! | device | host | downloaded into the receiver's memory |
//! | device | another device | through pinned memory of the host, in chunks that overlap |

mod host;
#[cfg(feature = "opencl")]
pub(crate) mod peer;
#[cfg(feature = "opencl")]
pub(crate) mod relay;
#[cfg(feature = "opencl")]
mod staged;
mod ways;

pub(crate) use ways::{Check, Ways, Whole};

use super::engine::{Job, Stop};
use super::plan::{Plan, Task};
use super::schedule::Action;
#[cfg(feature = "opencl")]
use crate::device::Backing;
use crate::device::Device;
use crate::error::Result;
use crate::ops::combine::Combine;
use std::sync::Arc;

/// Carries a task out; its elements have arrived when this returns, or are ordered before all that
/// the receiver's device does from now on.
pub(crate) fn carry(job: &Arc<Job>, task: &Task) -> Result<(), Stop> {
    #[cfg(feature = "opencl")]
    if !(job.stores[task.from].device.is_host() && job.stores[task.to].device.is_host()) {
        return staged::carry(job, task);
    }
    host::carry(job, task)
}

/// The kind of link between two members' devices.
pub(crate) fn kind(from: &Device, to: &Device) -> &'static str {
    match (from.is_host() || to.is_host(), from == to) {
        (true, _) => "host",
        (false, true) => "device",
        (false, false) => "staged",
    }
}

/// The kind of link that takes whole collectives.
pub(crate) const WHOLE: &str = "peer";

/// Builds what a member's device needs to combine, so that an operator that is refused is refused before
/// anything moves. A user's operator is built on every device that has its type; the crate's own where they
/// combine.
pub(crate) fn prepare(
    op: &'static str,
    combine: &Combine,
    plan: &Plan,
    divides: bool,
    member: usize,
    device: &Device,
) -> Result<()> {
    let combines = |&t: &usize| plan.tasks[t].action != Action::Copy;
    let computes = divides || plan.of[member].iter().any(combines);
    if computes {
        device.require(op, combine.dtype)?;
    }
    #[cfg(feature = "opencl")]
    if let Backing::OpenCl(cl) = device.backing()
        && (computes || (combine.own.is_none() && device.supports(combine.dtype)))
    {
        combine.build(op, cl)?;
    }
    Ok(())
}

/// Returns when a member's device has finished all that it was given.
pub(crate) fn settle(job: &Arc<Job>, member: usize) -> Result<(), Stop> {
    #[cfg(feature = "opencl")]
    if let Backing::OpenCl(cl) = job.stores[member].device.backing() {
        return staged::settle(job, member, cl);
    }
    let _ = (job, member);
    Ok(())
}
