//! Threads that hand a call's kernels over, each to another queue: the driver takes microseconds for a
//! launch, and those of several devices at a time.
//!
//! Waking a thread takes as long as the launches that it would save, so hands wait for the next call
//! with their eyes open, but only for [`AWAKE`]; then they sleep. Nobody waits for a hand to come: whoever
//! calls does what is left.

use crate::error::Result;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a hand looks for the next call before it sleeps.
const AWAKE: Duration = Duration::from_micros(100);

type Work<'a> = dyn Fn(usize) -> Result<()> + Sync + 'a;

/// Work for each of several members.
struct Task {
    work: NonNull<Work<'static>>,
    members: usize,
    /// The next member that nobody has taken.
    next: AtomicUsize,
    /// Members whose work is not done.
    left: AtomicUsize,
    /// The first error.
    outcome: OnceLock<crate::Error>,
}

// SAFETY: the work may be called from any thread, for it is `Sync`; `Task::help` says when it is there.
unsafe impl Send for Task {}
unsafe impl Sync for Task {}

/// Counts a member as done, also when its work panics.
struct Done<'a>(&'a Task);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.left.fetch_sub(1, Ordering::Release);
    }
}

impl Task {
    /// Does what nobody has taken.
    fn help(&self) {
        loop {
            let member = self.next.fetch_add(1, Ordering::Relaxed);
            if member >= self.members {
                return;
            }
            let _done = Done(self);
            // SAFETY: `Hands::each` keeps the work until all members are done, and this one is not.
            let outcome = unsafe { self.work.as_ref() }(member);
            if let Err(e) = outcome {
                let _ = self.outcome.set(e);
            }
        }
    }
}

/// Stays until all members are done, also when the caller's own part panics.
struct Whole<'a>(&'a Task);

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        // Where the caller itself panicked, nobody may be left for the rest.
        let taken = self.0.next.swap(self.0.members, Ordering::Relaxed).min(self.0.members);
        self.0.left.fetch_sub(self.0.members - taken, Ordering::Relaxed);
        let mut looks = 0u32;
        while self.0.left.load(Ordering::Acquire) > 0 {
            looks += 1;
            match looks < 10_000 {
                true => std::hint::spin_loop(),
                false => thread::yield_now(),
            }
        }
    }
}

#[derive(Default)]
struct Board {
    task: Option<Arc<Task>>,
    asleep: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    /// Counts tasks, so that who is awake sees the next one without the lock.
    number: AtomicU64,
    board: Mutex<Board>,
    changed: Condvar,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_and_help(&self) {
        let mut seen = 0;
        loop {
            let since = Instant::now();
            while self.number.load(Ordering::Acquire) == seen && since.elapsed() < AWAKE {
                std::hint::spin_loop();
            }
            let mut board = self.board();
            while self.number.load(Ordering::Relaxed) == seen && !board.closed {
                board.asleep += 1;
                board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                board.asleep -= 1;
            }
            if board.closed {
                return;
            }
            seen = self.number.load(Ordering::Relaxed);
            let task = board.task.clone();
            drop(board);
            if let Some(task) = task {
                task.help();
            }
        }
    }
}

/// The threads of a team.
pub(super) struct Hands {
    shared: Arc<Shared>,
    threads: usize,
}

impl Hands {
    /// For so many members, one of whom the caller serves. None where threads that look for work would
    /// be in the way of others.
    pub fn new(members: usize) -> Hands {
        let room = thread::available_parallelism().is_ok_and(|n| n.get() > members);
        Hands::with_threads(if room { members - 1 } else { 0 })
    }

    pub fn with_threads(threads: usize) -> Hands {
        let shared = Arc::new(Shared::default());
        let one = |k: &usize| {
            let shared = shared.clone();
            let named = thread::Builder::new().name(format!("clan-hand-{k}"));
            let made = named.spawn(move || shared.wait_and_help());
            made.inspect_err(|e| log::debug!("a team has a hand less: {e}")).is_ok()
        };
        let threads = (0..threads).filter(one).count();
        Hands { shared, threads }
    }

    /// Does the work of members `0..members`, several at a time; the first error.
    pub fn each(&self, members: usize, work: &Work<'_>) -> Result<()> {
        // SAFETY: only the lifetime is changed. The work is called while some member is not done, and
        // until then `whole` keeps this call from returning.
        let work = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let task = Arc::new(Task {
            work: NonNull::from(work),
            members,
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(members),
            outcome: OnceLock::new(),
        });
        let whole = Whole(&task);
        if self.threads > 0 {
            // Another thread's task may be there: that thread does the rest of it.
            let mut board = self.shared.board();
            board.task = Some(task.clone());
            self.shared.number.fetch_add(1, Ordering::Release);
            let asleep = board.asleep > 0;
            drop(board);
            if asleep {
                self.shared.changed.notify_all();
            }
        }
        task.help();
        drop(whole);
        task.outcome.get().cloned().map_or(Ok(()), Err)
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.shared.board().closed = true;
        self.shared.number.fetch_add(1, Ordering::Release);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_once() {
        let hands = Hands::with_threads(4);
        for round in 0..2000 {
            let counts = [const { AtomicUsize::new(0) }; 5];
            let outcome = hands.each(5, &|m| {
                counts[m].fetch_add(1, Ordering::Relaxed);
                match m == round % 7 {
                    true => Err(crate::Error::argument("test", "a mistake")),
                    false => Ok(()),
                }
            });
            assert_eq!(outcome.is_err(), round % 7 < 5);
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{counts:?}");
            if round % 500 == 0 {
                // Asleep meanwhile.
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
