//! Outcomes that a kernel notes in memory itself, such as of a collective between devices: looked at
//! when something is read that the device wrote since.

use super::{ClBlock, ClDevice};
use crate::error::Error;
use crate::error::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that tells later whether it went well.
pub(crate) trait Noted: Send + Sync {
    /// Waits for it, and says what came of it.
    fn outcome(&self) -> Result<()>;
}

#[derive(Default)]
pub(super) struct Watch {
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What has not been looked at, and the position in the compute queue that it began after.
    open: Vec<(u64, Arc<dyn Noted>)>,
    /// What was written between these positions is not to be believed.
    spoilt: Vec<(u64, u64, Error)>,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClDevice {
    /// From `position` in the compute queue on, what is written may depend on `noted`.
    pub fn watch(&self, position: u64, noted: &Arc<dyn Noted>) {
        let mut state = self.watch.state();
        // Until somebody looks, the first call of one kind stands for all that follow.
        if !state.open.iter().any(|(_, known)| Arc::ptr_eq(known, noted)) {
            state.open.push((position, noted.clone()));
        }
        self.watch.any.store(true, Ordering::Release);
    }

    /// The position of the newest command.
    pub fn position(&self) -> Result<u64> {
        Ok(self.runtime()?.issued.load(Ordering::Acquire))
    }

    /// Whether a block may be believed, as far as what was watched tells.
    pub(super) fn believed(&self, block: &ClBlock) -> Result<()> {
        if !self.watch.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let written = block.history().write;
        loop {
            let next = {
                let mut state = self.watch.state();
                let found = state.open.iter().position(|&(since, _)| written > since);
                found.map(|k| state.open.swap_remove(k))
            };
            let Some((since, noted)) = next else { break };
            // No lock is held: this reads memory of the device.
            if let Err(e) = noted.outcome() {
                let until = self.position()?;
                self.watch.state().spoilt.push((since, until, e));
            }
        }
        let state = self.watch.state();
        let spoilt = state.spoilt.iter().find(|(from, to, _)| written > *from && written <= *to);
        spoilt.map_or(Ok(()), |(_, _, e)| Err(e.clone()))
    }
}
