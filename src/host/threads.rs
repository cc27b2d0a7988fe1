//! Loops that threads share: the calling one and those of rayon.
//!
//! A thread of the program's own begins at once, and rayon's take tasks from it as they come. It never waits for one
//! that has not come yet, as it would for a call into rayon: to wake a thread takes up to tens of microseconds, and
//! all of them may be at work elsewhere.

use rayon::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};

/// Elements below which work stays on the calling thread: to call others costs microseconds.
pub(crate) const PARALLEL_ABOVE: usize = 32 * 1024;

/// The same for loops of a few instructions: some 20 µs, of which a call for others takes up to 5.
pub(crate) const LIGHT: usize = 2 * PARALLEL_ABOVE;

/// Runs `f` for each of some tasks, in parallel where they have many elements in all.
pub(crate) fn for_tasks(tasks: usize, elements: usize, f: impl Fn(usize) + Sync) {
    run_tasks(tasks, elements <= PARALLEL_ABOVE, f);
}

/// Runs `f` for each of some tasks, in this thread alone or in parallel.
pub(crate) fn run_tasks(tasks: usize, alone: bool, f: impl Fn(usize) + Sync) {
    if tasks <= 1 || alone {
        (0..tasks).for_each(f);
    } else {
        each_task(tasks, 1, &f);
    }
}

/// Runs `f` for each of some tasks in parallel, `least` at least one after the other.
///
/// By a pointer: otherwise all of this is compiled for every closure, of every type of elements.
pub(crate) fn each_task(tasks: usize, least: usize, f: &(dyn Fn(usize) + Sync)) {
    let threads = rayon::current_num_threads();
    if tasks <= least || threads == 1 {
        (0..tasks).for_each(f);
    } else if rayon::current_thread_index().is_some() {
        // One of rayon's threads has others at hand, and takes back what they do not come for.
        (0..tasks).into_par_iter().with_min_len(least).for_each(f);
    } else {
        let some = (tasks / (threads * TURNS)).max(least);
        shared(tasks, some, tasks.div_ceil(some).min(threads) - 1, f);
    }
}

/// What `f` gives for each of some tasks that run in parallel.
pub(crate) fn map_tasks<R: Send>(tasks: usize, f: &(dyn Fn(usize) -> R + Sync)) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = (0..tasks).map(|_| Mutex::new(None)).collect();
    each_task(tasks, 1, &|k| {
        let result = f(k);
        *results[k].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    });
    let result = |slot: Mutex<Option<R>>| slot.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().filter_map(result).collect()
}

/// How often a thread takes tasks at most, were all equally fast.
const TURNS: usize = 8;

/// Calls that nobody has answered, of all loops, beyond which no more are made: rayon's threads are busy elsewhere.
const UNANSWERED: usize = 256;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// In [`Loop::inside`]: nobody may enter any more.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// There, too: whoever leaves last wakes the caller.
const ASLEEP: usize = CLOSED >> 1;

/// Threads that one calls: with some hundred of them a caller is soon at its own work.
const CALLS: usize = 16;

/// Looks at the helpers inside before the caller sleeps.
const LOOKS: u32 = 1 << 12;

struct Loop {
    /// The first task that nobody has taken.
    next: AtomicUsize,
    tasks: usize,
    /// Tasks that are taken at a time.
    some: usize,
    /// Threads that may still be called.
    calls: AtomicUsize,
    /// Helpers that run tasks, [`CLOSED`] and [`ASLEEP`].
    inside: AtomicUsize,
    /// Lives until the loop is closed and nobody is inside.
    f: *const (dyn Fn(usize) + Sync),
    /// Of a task.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    caller: Thread,
}

// SAFETY: `f` may be called by several threads, and only is by those inside.
unsafe impl Send for Loop {}
unsafe impl Sync for Loop {}

/// Runs all tasks in this thread and in up to so many of rayon's that come in time.
fn shared(tasks: usize, some: usize, helpers: usize, f: &(dyn Fn(usize) + Sync)) {
    let f: *const (dyn Fn(usize) + Sync + '_) = f;
    // SAFETY: the same pointer; `close` keeps to the lifetime that it had.
    let f: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(f) };
    let all = Arc::new(Loop {
        next: AtomicUsize::new(0),
        tasks,
        some,
        calls: AtomicUsize::new(helpers),
        inside: AtomicUsize::new(0),
        f,
        panic: Mutex::new(None),
        caller: thread::current(),
    });
    // SAFETY: `f` is borrowed for all of this function, which goes on after a panic, too.
    unsafe { all.work() };
    all.close();
    let panic = all.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

impl Loop {
    /// Calls helpers, who call as many each. With 16 threads that sleep, a loop whose caller calls them all ends 15 to
    /// 70 µs earlier than one whose caller calls two, who call two each.
    fn call(self: &Arc<Loop>) {
        for _ in 0..CALLS {
            let left = self.next.load(Ordering::Relaxed) < self.tasks;
            let one_less = |calls: usize| calls.checked_sub(1);
            if !left
                || WAITING.load(Ordering::Relaxed) >= UNANSWERED
                || self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err()
            {
                return;
            }
            WAITING.fetch_add(1, Ordering::Relaxed);
            let all = self.clone();
            rayon::spawn(move || {
                WAITING.fetch_sub(1, Ordering::Relaxed);
                all.help();
            });
        }
    }

    fn help(self: Arc<Loop>) {
        let enter = |inside: usize| (inside & CLOSED == 0).then_some(inside + 1);
        if self.inside.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter).is_err() {
            return;
        }
        // SAFETY: inside.
        unsafe { self.work() };
        if self.inside.fetch_sub(1, Ordering::Release) == CLOSED | ASLEEP | 1 {
            self.caller.unpark();
        }
    }

    /// Calls helpers, and runs tasks until none is left. A panic is kept, and ends the loop for all.
    ///
    /// # Safety
    /// The caller is inside, or is who made the loop.
    unsafe fn work(self: &Arc<Loop>) {
        // SAFETY: `f` is alive as long as anybody is inside.
        let f = unsafe { &*self.f };
        let work = AssertUnwindSafe(|| {
            self.call();
            loop {
                // Beyond the last task no further than every thread once.
                let from = self.next.fetch_add(self.some, Ordering::Relaxed);
                if from >= self.tasks {
                    return;
                }
                (from..self.tasks.min(from + self.some)).for_each(f);
            }
        });
        if let Err(panic) = catch_unwind(work) {
            self.next.store(self.tasks, Ordering::Relaxed);
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            match *first {
                None => *first = Some(panic),
                // To drop it runs code of the user's, which may panic in turn: never while others are inside.
                Some(_) => std::mem::forget(panic),
            }
        }
    }

    /// Lets nobody in any more, and waits until nobody is inside.
    fn close(&self) {
        let mut now = self.inside.fetch_or(CLOSED, Ordering::Acquire) | CLOSED;
        let mut looks = 0;
        while now & !(CLOSED | ASLEEP) != 0 {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
                now = self.inside.load(Ordering::Acquire);
            } else if now & ASLEEP == 0 {
                now = self.inside.fetch_or(ASLEEP, Ordering::Acquire) | ASLEEP;
            } else {
                thread::park();
                now = self.inside.load(Ordering::Acquire);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    fn runs_each_once(tasks: usize, least: usize) {
        let times: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
        each_task(tasks, least, &|k| {
            times[k].fetch_add(1, Ordering::Relaxed);
        });
        let odd = times.iter().position(|times| times.load(Ordering::Relaxed) != 1);
        assert_eq!(odd, None, "{tasks} tasks, {least} at least");
    }

    #[test]
    fn every_task_runs_once() {
        for tasks in [0, 1, 2, 3, 17, 1000, 12345] {
            [1, 2, 100, 20_000].into_iter().for_each(|least| runs_each_once(tasks, least));
        }
        // Within rayon's own threads, and within each other.
        rayon::scope(|scope| (0..8).for_each(|_| scope.spawn(|_| runs_each_once(100, 1))));
        each_task(8, 1, &|_| runs_each_once(100, 1));
        let squares = map_tasks(300, &|k| k * k);
        assert!(squares.into_iter().eq((0..300).map(|k| k * k)));
    }

    /// Held by tests of which one keeps all threads busy and another needs them.
    static THREADS: Mutex<()> = Mutex::new(());

    #[test]
    fn several_threads_share_a_loop_and_the_caller_is_one_of_them() {
        if rayon::current_num_threads() == 1 {
            return;
        }
        let _held = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Mutex::new(std::collections::HashSet::new());
        each_task(64, 1, &|_| {
            thread::sleep(Duration::from_millis(1));
            seen.lock().unwrap().insert(thread::current().id());
        });
        let seen = seen.into_inner().unwrap();
        assert!(seen.contains(&thread::current().id()));
        assert!((2..=rayon::current_num_threads()).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_have_stopped() {
        for culprit in [0, 1, 40, 99] {
            let running = AtomicU32::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                each_task(100, 1, &|k| {
                    running.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_micros(100));
                    let stop = k == culprit;
                    running.fetch_sub(1, Ordering::SeqCst);
                    assert!(!stop, "task {k}");
                });
            }));
            assert_eq!(running.load(Ordering::SeqCst), 0, "{culprit}");
            let panic = result.expect_err("it panicked");
            assert_eq!(*panic.downcast::<String>().unwrap(), format!("task {culprit}"));
        }
    }

    #[test]
    fn nobody_waits_for_threads_that_do_not_come() {
        let _held = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = Arc::new(std::sync::Barrier::new(rayon::current_num_threads() + 1));
        let done = Arc::new(std::sync::RwLock::new(()));
        let hold = done.write().unwrap();
        let (here, end) = (busy.clone(), done.clone());
        rayon::spawn_broadcast(move |_| {
            here.wait();
            drop(end.read());
        });
        busy.wait();
        // More of them than calls that wait for an answer.
        (0..2 * UNANSWERED).for_each(|_| runs_each_once(10, 1));
        assert!(WAITING.load(Ordering::Relaxed) <= UNANSWERED + 2 * rayon::current_num_threads());
        drop(hold);
    }
}
