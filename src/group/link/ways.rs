//! Links that carry out whole collectives themselves, such as over memory that the members' devices
//! share. They go before all algorithms.

use super::super::cut::Counts;
use super::super::engine::Store;
use super::super::schedule::Collective;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::ops::combine::{Combine, Part, Share};
use std::time::Duration;

/// What the links of a group keep between its calls.
#[derive(Default)]
pub(crate) struct Ways {}

/// A collective, checked and with memory for its results.
#[allow(dead_code, reason = "read by links that take whole collectives")]
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
    #[allow(dead_code, reason = "as above")]
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
    /// Whether a link will take collectives of these members: no algorithm is then weighed.
    pub fn takes(&self, _members: &[Device]) -> bool {
        false
    }

    /// Lets a link carry out the call. `None` when none does, and nothing has moved; else the results
    /// are ordered behind what the members' devices were given.
    pub fn try_run(&self, members: &[Device], call: &Whole<'_>) -> Option<Result<()>> {
        let done = self.run(members, call)?;
        Some(done.and_then(|()| call.divide()))
    }

    fn run(&self, _members: &[Device], _call: &Whole<'_>) -> Option<Result<()>> {
        None
    }
}
