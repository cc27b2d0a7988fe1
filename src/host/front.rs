//! Free blocks before the pool: one of each small size, which takes one exchange to get or to leave where the pool
//! takes a lock. Small arrays spend their time there.

use super::HostBlock;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes of the smallest and, but for less than a power of two, of the largest blocks, as powers of two.
const LOWEST: u32 = 8;
const HIGHEST: u32 = 15;

const PLACES: usize = 8 * (HIGHEST - LOWEST + 1) as usize;

/// A place for a block of each size class below 64 KiB; 0.7 MiB if all are taken.
pub(super) struct Front {
    places: [AtomicPtr<u8>; PLACES],
}

/// The place of blocks of a class of `Pool::size_class`: eight in each power of two.
fn place(class: usize) -> Option<usize> {
    let log = class.checked_ilog2().filter(|log| (LOWEST..=HIGHEST).contains(log))?;
    let eighth = class >> (log - 3) & 7;
    // Only classes have a place, none of the sizes between them.
    (class & ((1 << (log - 3)) - 1) == 0).then_some(8 * (log - LOWEST) as usize + eighth)
}

/// The class whose place it is.
fn class(place: usize) -> usize {
    (8 + place % 8) << (place / 8 + LOWEST as usize - 3)
}

impl Front {
    pub fn new() -> Front {
        Front { places: [const { AtomicPtr::new(null_mut()) }; PLACES] }
    }

    pub fn take(&self, class: usize) -> Option<HostBlock> {
        let place = self.places.get(place(class)?)?;
        // Most often there is none where there was none.
        if place.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Acquires what the block's last user did, which `put` releases.
        let start = NonNull::new(place.swap(null_mut(), Ordering::Acquire))?;
        Some(HostBlock { start, size: class })
    }

    /// Keeps a block, or hands it back where there is one already.
    pub fn put(&self, block: HostBlock) -> Option<HostBlock> {
        let Some(place) = place(block.size).and_then(|place| self.places.get(place)) else {
            return Some(block);
        };
        let start = block.start.as_ptr();
        let kept = place.load(Ordering::Relaxed).is_null()
            && place
                .compare_exchange(null_mut(), start, Ordering::Release, Ordering::Relaxed)
                .is_ok();
        if kept {
            std::mem::forget(block);
            return None;
        }
        Some(block)
    }

    /// All blocks, for the caller to free.
    pub fn drain(&self) -> Vec<HostBlock> {
        (0..PLACES).filter_map(|k| self.take(class(k))).collect()
    }

    /// The size of what is kept, as other threads take and leave it.
    pub fn bytes(&self) -> usize {
        let kept = |(k, place): (usize, &AtomicPtr<u8>)| {
            if place.load(Ordering::Relaxed).is_null() { 0 } else { class(k) }
        };
        self.places.iter().enumerate().map(kept).sum()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.drain());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    #[test]
    fn each_class_has_a_place_of_its_own() {
        let mut before = None;
        for bytes in 1..1 << 16 {
            let size = Pool::<()>::size_class(bytes);
            match place(size) {
                Some(k) => {
                    assert_eq!(class(k), size, "{bytes}");
                    assert!(before.is_none_or(|b| b == k || b + 1 == k), "{bytes}");
                    before = Some(k);
                }
                None => assert!(size >= 1 << 16, "{bytes} {size}"),
            }
        }
        assert_eq!(before, Some(PLACES - 1));
        assert_eq!([place(0), place(64), place(1 << 16), place(257)], [None; 4]);
    }

    #[test]
    fn keeps_one_of_each() {
        let front = Front::new();
        assert!(front.take(512).is_none());
        let block = || HostBlock::new(512).unwrap();
        let first = block();
        let at = first.ptr();
        assert!(front.put(first).is_none());
        assert!(front.put(block()).is_some());
        assert!(front.put(HostBlock::new(1 << 20).unwrap()).is_some());
        assert_eq!(front.bytes(), 512);
        assert!(front.take(576).is_none());
        let got = front.take(512).unwrap();
        assert_eq!((got.ptr(), got.size, front.bytes()), (at, 512, 0));
        assert!(front.put(got).is_none());
        assert_eq!(front.drain().len(), 1);
        assert!(front.take(512).is_none());
    }
}
