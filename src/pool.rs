//! The free list that both backends keep of their memory.

use crate::backend::MemoryUsage;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks waiting to be used again, by size.
///
/// Sizes are rounded up to an eighth of their power of two, so arrays of nearby lengths share
/// blocks and at most an eighth is wasted.
pub(crate) struct Pool<B> {
    state: Mutex<State<B>>,
    /// Blocks beyond this many cached bytes go back to the system at once.
    cache_limit: usize,
}

struct State<B> {
    free: BTreeMap<usize, Vec<B>>,
    usage: MemoryUsage,
}

impl<B> Pool<B> {
    pub fn new(cache_limit: usize) -> Pool<B> {
        let state = State { free: BTreeMap::new(), usage: MemoryUsage::default() };
        Pool { state: Mutex::new(state), cache_limit }
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        // The state is consistent between statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size that a block for `bytes` has.
    pub fn size_class(bytes: usize) -> usize {
        let bytes = bytes.max(256);
        let step = (1usize << (usize::BITS - 1 - bytes.leading_zeros())) / 8;
        bytes.checked_next_multiple_of(step).unwrap_or(bytes)
    }

    /// A cached block of exactly this class.
    pub fn take(&self, class: usize) -> Option<B> {
        let mut state = self.state();
        let block = state.free.get_mut(&class)?.pop()?;
        state.usage.cached -= class;
        state.usage.held += class;
        Some(block)
    }

    /// Notes a block that did not come from here.
    pub fn add(&self, class: usize) {
        self.state().usage.held += class;
    }

    /// Keeps a block for later, or hands it back when enough are kept.
    pub fn put(&self, class: usize, block: B) -> Option<B> {
        let mut state = self.state();
        state.usage.held -= class;
        if state.usage.cached.saturating_add(class) > self.cache_limit {
            return Some(block);
        }
        state.usage.cached += class;
        state.free.entry(class).or_default().push(block);
        None
    }

    /// Notes that a block is gone and will not come back.
    pub fn forget(&self, class: usize) {
        self.state().usage.held -= class;
    }

    /// Everything that is cached, for the caller to free.
    pub fn drain(&self) -> Vec<B> {
        let mut state = self.state();
        state.usage.cached = 0;
        std::mem::take(&mut state.free).into_values().flatten().collect()
    }

    pub fn usage(&self) -> MemoryUsage {
        self.state().usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_an_eighth_at_most() {
        for bytes in [1, 255, 256, 257, 1000, 4096, 4097, 1 << 30, (1 << 30) + 1] {
            let class = Pool::<()>::size_class(bytes);
            assert!(
                class >= bytes && (bytes < 256 || class - bytes <= bytes / 8),
                "{bytes} {class}"
            );
        }
    }

    #[test]
    fn keeps_up_to_its_limit() {
        let pool = Pool::new(1000);
        pool.add(512);
        pool.add(768);
        assert!(pool.put(512, 1).is_none());
        assert_eq!(pool.put(768, 2), Some(2));
        assert_eq!(pool.take(768), None);
        assert_eq!(pool.take(512), Some(1));
        assert_eq!(pool.usage(), MemoryUsage { held: 512, cached: 0 });
    }
}
