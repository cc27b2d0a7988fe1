//! Threads that combine and copy on the host for a group's workers.
//!
//! They are not those of rayon's global pool, where the program's own tasks run: one of these may wait for
//! a result of the group. If it ran above a part of the very work that makes the result, on the stack of
//! a thread that helps while it waits, neither would ever end.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// Made at first use; groups that come from one share it.
#[derive(Default)]
pub(crate) struct Crew {
    pool: OnceLock<Option<ThreadPool>>,
}

impl Crew {
    /// Runs something that rayon shares out.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        let made = self.pool.get_or_init(|| {
            let named = |k| format!("clan-crew-{k}");
            let pool = ThreadPoolBuilder::new().thread_name(named).build();
            pool.map_err(|e| log::warn!("a group has no threads of its own: {e}")).ok()
        });
        match made {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }
}
