//! Tiles of a scan that threads share.

use super::super::each_task;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What is known of a tile.
struct Tile<A, C> {
    total: OnceLock<A>,
    /// All that comes before it.
    before: OnceLock<C>,
}

/// Tells those that wait, where an operator of the user's panics.
struct Lost<'a>(&'a AtomicBool);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Does tiles in several threads, with a state each: the `total` of a tile, then, when all that comes before it is
/// known, `finish`. `add` puts a total behind what comes before it. Gives what comes after all.
///
/// Nobody waits for a tile to be finished, nor for what comes before it to be passed on: who needs that looks back to
/// the last tile of which it is known, and adds the totals since, in the same order whoever does it (after Merrill and
/// Garland, "Single-pass Parallel Prefix Scan with Decoupled Look-back", 2016). Tiles are taken in order and totals wait
/// for nothing, unless an operator of the user's calls rayon (see `UserOp::new`), so each that is waited for comes. `None` after a panic, which the caller sees anyway.
pub(super) fn in_tiles<S, A: Send + Sync, C: Clone + Send + Sync>(
    tiles: usize,
    first: C,
    state: impl Fn() -> S + Sync,
    total: impl Fn(usize, &mut S) -> A + Sync,
    add: impl Fn(&mut C, &A) + Sync,
    finish: impl Fn(usize, &mut S, &C) + Sync,
) -> Option<C> {
    let tile = |_| Tile { total: OnceLock::new(), before: OnceLock::new() };
    let mut all: Vec<Tile<A, C>> = (0..=tiles).map(tile).collect();
    let _ = all[0].before.set(first);
    let (next, lost) = (AtomicUsize::new(0), AtomicBool::new(false));
    // What comes before tile `k`, if it can be known by now.
    let known = |k: usize| {
        let (mut from, mut before) = (k, all[k].before.get());
        while before.is_none() {
            from -= 1;
            all[from].total.get()?;
            before = all[from].before.get();
        }
        let mut before = before?.clone();
        all[from..k].iter().filter_map(|tile| tile.total.get()).for_each(|a| add(&mut before, a));
        Some(before)
    };
    let work = |_| {
        let mut state = state();
        loop {
            let k = next.fetch_add(1, Ordering::Relaxed);
            if k >= tiles {
                return;
            }
            let here = Lost(&lost);
            let total = all[k].total.get_or_init(|| total(k, &mut state));
            let mut polls = 0u32;
            let before = loop {
                if let Some(before) = known(k) {
                    break before;
                }
                if lost.load(Ordering::Acquire) {
                    return;
                }
                polls = polls.saturating_add(1);
                if polls < 1 << 10 { std::hint::spin_loop() } else { std::thread::yield_now() }
            };
            let mut after = before.clone();
            add(&mut after, total);
            // Of no use to who knows it already.
            let _ = all[k + 1].before.set(after);
            finish(k, &mut state, &before);
            std::mem::forget(here);
        }
    };
    each_task(rayon::current_num_threads().min(tiles), 1, &work);
    all.pop().and_then(|tile| tile.before.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Some tiles are slow in either half, so that others have to look back over several.
    #[test]
    fn what_comes_before_a_tile_is_in_order() {
        let slow = |k: usize, every: usize| {
            if k % every == 2 {
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        for tiles in [1, 2, 3, 40, 100] {
            let seen = Mutex::new(vec![None; tiles]);
            let after = in_tiles(
                tiles,
                "start".to_string(),
                || 0,
                |k, count| {
                    slow(k, 7);
                    *count += 1;
                    format!(",{k}")
                },
                |before, own| before.push_str(own),
                |k, _, before| {
                    slow(k, 5);
                    let old = seen.lock().unwrap()[k].replace(before.clone());
                    assert_eq!(old, None, "tile {k} twice");
                },
            );
            let mut want = "start".to_string();
            for (k, got) in seen.into_inner().unwrap().into_iter().enumerate() {
                assert_eq!(got.as_deref(), Some(&want[..]), "{k} of {tiles}");
                want += &format!(",{k}");
            }
            assert_eq!(after, Some(want));
        }
    }
}
