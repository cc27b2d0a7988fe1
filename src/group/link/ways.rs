//! Links that carry out whole collectives themselves, such as over memory that the members' devices
//! share. They go before all algorithms.

use super::super::cut::Counts;
use super::super::engine::Store;
use super::super::schedule::Collective;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::ops::combine::Combine;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "opencl")]
use {
    super::peer::{self, Slot, Team},
    crate::backend::Buffer,
    crate::device::Backing,
    crate::opencl::watch::Noted,
    crate::ops::combine::{Part, Share},
    std::sync::OnceLock,
};

/// What the links of a group keep between its calls.
#[derive(Default)]
pub(crate) struct Ways {
    /// GPUs that reach each other's memory, if that is what the members are.
    #[cfg(feature = "opencl")]
    peers: OnceLock<Option<Peers>>,
}

#[cfg(feature = "opencl")]
struct Peers {
    team: Arc<Team>,
    notes: Vec<Arc<dyn Noted>>,
}

/// Looks whether a call that was handed over has succeeded; waits for it.
pub(crate) type Check = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// A collective, checked and with memory for its results.
#[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "the host has one link"))]
pub(crate) struct Whole<'a> {
    pub op: &'static str,
    pub collective: Collective,
    pub dtype: DType,
    /// In elements.
    pub counts: &'a Counts,
    /// The members' inputs and results: row-major, the results fresh. Who gets no more than its own
    /// input back, such as the root of a broadcast, has no result here.
    pub stores: &'a [Store],
    pub combine: Option<&'a Combine>,
    /// What results are divided by in the end; no matter of the link.
    pub divisor: usize,
    pub deadline: Duration,
}

impl Whole<'_> {
    /// Elements of every member's block, the first of which have one more; `None` where each pair of
    /// members has a block of its own length.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "as above"))]
    pub fn blocks(&self) -> Option<Vec<usize>> {
        let p = self.stores.len();
        match self.counts {
            Counts::Whole(n) => Some(super::super::cut::even(*n, p)),
            Counts::Blocks(counts) => Some(counts.clone()),
            Counts::Pairs(rows) => {
                let one = rows[0][0];
                rows.iter().flatten().all(|&n| n == one).then(|| vec![one; p])
            }
        }
    }

    #[cfg(feature = "opencl")]
    fn divide(&self) -> Result<()> {
        let Some(combine) = self.combine.filter(|_| self.divisor > 1) else { return Ok(()) };
        let sizes = self.blocks().unwrap_or_default();
        for (m, store) in self.stores.iter().enumerate() {
            let Some(buffer) = &store.result else { continue };
            let n = match self.collective {
                Collective::ReduceScatter => sizes[m],
                _ => self.counts.total(),
            };
            let part = Part { buffer, offset: 0 };
            Share { op: self.op, combine, part, n, count: self.divisor }.run()?;
        }
        Ok(())
    }
}

impl Ways {
    /// For these members. Where they are GPUs that might reach each other's memory, what is allocated on
    /// them from now on is made so that they can.
    ///
    /// # Errors
    /// A `CLAN_PEERS` that means nothing.
    pub fn new(members: &[Device]) -> Result<Ways> {
        let ways = Ways::default();
        #[cfg(feature = "opencl")]
        if !crate::env::peers()? || !Team::make_reachable(members) {
            // Never to be tried.
            let _ = ways.peers.set(None);
        }
        let _ = members;
        Ok(ways)
    }

    #[cfg(feature = "opencl")]
    fn peers(&self, members: &[Device]) -> Option<&Peers> {
        let open = || {
            let team = Arc::new(Team::open(members)?);
            let notes = team.notes();
            Some(Peers { team, notes })
        };
        self.peers.get_or_init(open).as_ref()
    }

    /// Whether a link will take collectives of these members: no algorithm is then weighed.
    pub fn takes(&self, members: &[Device]) -> bool {
        #[cfg(feature = "opencl")]
        return self.peers(members).is_some();
        #[cfg(not(feature = "opencl"))]
        {
            let _ = members;
            false
        }
    }

    /// Lets a link carry out the call. `None` when none does, and nothing has moved; else the results
    /// are ordered behind what the members' devices were given.
    pub fn try_run(&self, members: &[Device], call: &Whole<'_>) -> Option<Result<Check>> {
        #[cfg(feature = "opencl")]
        if let Some(peers) = self.peers(members)
            && let Some(done) = peers.run(members, call)
        {
            let team = peers.team.clone();
            let op = call.op;
            let done = done.and_then(|n| call.divide().map(|()| n));
            return Some(done.map(|n| Arc::new(move || team.check_until(op, n)) as Check));
        }
        let _ = (members, call);
        None
    }
}

#[cfg(feature = "opencl")]
impl Peers {
    /// The number of the call in the team.
    fn run(&self, members: &[Device], call: &Whole<'_>) -> Option<Result<u64>> {
        let blocks = call.blocks()?;
        let ins: Vec<Option<Slot<'_>>> = call
            .stores
            .iter()
            .map(|s| slot(s.input.as_ref().map(|(buffer, at)| (&**buffer, *at))))
            .collect();
        let own = |m: usize| call.stores[m].result.as_deref().map(|buffer| (buffer, 0));
        // Who has no result gets its own elements back, where they are.
        let outs: Vec<Option<Slot<'_>>> =
            (0..members.len()).map(|m| slot(own(m)).or(ins[m])).collect();
        let body = call.combine.map(Combine::text);
        let asked = peer::Call {
            op: call.op,
            collective: call.collective,
            dtype: call.dtype,
            ins: &ins,
            outs: &outs,
            blocks: &blocks,
            body: body.as_deref(),
            patience: call.deadline,
        };
        let run = || {
            let before = members.iter().map(position).collect::<Result<Vec<u64>>>()?;
            let number = self.team.run(&asked)?;
            for ((device, note), since) in members.iter().zip(&self.notes).zip(before) {
                if let Backing::OpenCl(cl) = device.backing() {
                    cl.watch(since, note);
                }
            }
            Ok(number)
        };
        Some(run())
    }
}

#[cfg(feature = "opencl")]
fn slot<'a>(place: Option<(&'a Buffer, usize)>) -> Option<Slot<'a>> {
    place.map(|(buffer, at)| Slot::new(buffer, at))
}

/// How far a device's queue is.
#[cfg(feature = "opencl")]
fn position(device: &Device) -> Result<u64> {
    match device.backing() {
        Backing::OpenCl(cl) => cl.position(),
        Backing::Host(_) => Ok(0),
    }
}
