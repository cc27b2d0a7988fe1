//! Carries out plans: a worker thread a member, and jobs that they share.
//!
//! A worker does its member's tasks in their order. A task that has to wait for others sleeps on the
//! job's condition variable; whatever fails, or a deadline that passes, cancels the job, and all of
//! its workers leave it. Workers take jobs in one order, in which they were handed in, so no two
//! jobs wait for each other.
//!
//! A job ends when its last worker lets go of it: only then are its arrays the caller's alone.

use super::completion::Completion;
use super::crew::Crew;
use super::cut::Region;
use super::hub::{self, Item};
use super::link;
use super::plan::{Plan, Task};
use crate::backend::Buffer;
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::combine::{Combine, Part, Share};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a member has in a job.
pub(crate) struct Store {
    pub device: Device,
    /// What the user passed, and its first element in the buffer.
    pub input: Option<(Arc<Buffer>, usize)>,
    pub result: Option<Arc<Buffer>>,
    pub scratch: Option<Buffer>,
    pub temp: Option<Buffer>,
}

pub(crate) struct Job {
    pub plan: Plan,
    /// What the first worker does for all, in place of a plan's tasks.
    pub hub: Option<Vec<Item>>,
    pub stores: Vec<Store>,
    /// Absent where nothing is combined.
    pub combine: Option<Arc<Combine>>,
    /// What results are divided by in the end, where that is more than 1.
    pub divisor: usize,
    /// Bytes of an element.
    pub size: usize,
    /// Bytes that are on their way at once; 0 lets the link choose.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "hosts need no chunks"))]
    pub chunk: usize,
    /// Who shares out the host's work.
    pub crew: Arc<Crew>,
    /// Concerns everybody, for there is something to wait for.
    pub fence: bool,
    pub completion: Arc<Completion>,
    pub done: Progress,
    #[cfg(test)]
    pub fault: Option<super::fault::Fault>,
}

/// Which tasks are done.
#[derive(Default)]
pub(crate) struct Progress {
    tasks: Mutex<Vec<bool>>,
    changed: Condvar,
    cancelled: AtomicBool,
    /// For every worker the member whose device it waits for, plus one; 0 for none.
    device: Vec<AtomicUsize>,
}

impl Progress {
    pub fn new(tasks: usize, members: usize) -> Progress {
        let device = (0..members).map(|_| AtomicUsize::new(0)).collect();
        Progress { tasks: Mutex::new(vec![false; tasks]), device, ..Progress::default() }
    }

    /// Notes whose device a worker waits for.
    #[cfg(feature = "opencl")]
    pub fn waits(&self, worker: usize, member: Option<usize>) {
        self.device[worker].store(member.map_or(0, |m| m + 1), Ordering::Relaxed);
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<bool>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, task: usize) {
        self.tasks()[task] = true;
        self.changed.notify_all();
    }

    /// Lets everybody who waits go.
    fn cancel(&self) {
        let guard = self.tasks();
        self.cancelled.store(true, Ordering::Release);
        drop(guard);
        self.changed.notify_all();
    }

    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// Why a worker leaves a job before its end.
pub(crate) enum Stop {
    /// Somebody else failed.
    Cancelled,
    /// The deadline has passed; this member is, or was waiting for, the one that is late.
    Late,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Failed(e)
    }
}

impl Job {
    /// Runs something that is shared out among threads above a number of elements.
    pub fn crew<R: Send>(&self, n: usize, f: impl FnOnce() -> R + Send) -> R {
        if n <= crate::host::PARALLEL_ABOVE {
            return f();
        }
        self.crew.run(f)
    }

    /// Whether to go on.
    pub fn go_on(&self) -> Result<(), Stop> {
        if self.done.cancelled() {
            return Err(Stop::Cancelled);
        }
        match self.completion.time_left() {
            Some(_) => Ok(()),
            None => Err(Stop::Late),
        }
    }

    /// The part of a member's memory at a place.
    pub fn part(&self, member: usize, at: super::cut::At) -> Result<Part<'_>> {
        let store = &self.stores[member];
        let (buffer, first) = match at.region {
            Region::Input => match &store.input {
                Some((buffer, first)) => (Some(&**buffer), *first),
                None => (None, 0),
            },
            Region::Result => (store.result.as_deref(), 0),
            Region::Scratch => (store.scratch.as_ref(), 0),
            Region::Temp => (store.temp.as_ref(), 0),
        };
        let buffer = buffer.ok_or_else(|| {
            let text = format!("member {member} has no {:?} in this plan", at.region);
            Error::new(ErrorKind::Argument, self.completion.op(), text)
        })?;
        Ok(Part { buffer, offset: first + at.offset })
    }

    /// Sleeps until the tasks are done.
    fn wait_for(&self, after: &[usize]) -> Result<(), Stop> {
        let mut tasks = self.done.tasks();
        while !after.iter().all(|&t| tasks[t]) {
            if self.done.cancelled() {
                return Err(Stop::Cancelled);
            }
            let Some(left) = self.completion.time_left() else {
                // Late is who was to do the first task that is missing and waits for nobody itself.
                let mut late = after.iter().copied().find(|&t| !tasks[t]);
                while let Some(t) = late {
                    let before = self.before(t);
                    match before.iter().copied().find(|&b| !tasks[b]) {
                        Some(b) => late = Some(b),
                        None => break,
                    }
                }
                let worker = late.map_or(0, |t| self.plan.tasks[t].to);
                let device = self.done.device[worker].load(Ordering::Relaxed);
                let member = device.checked_sub(1).unwrap_or(worker);
                return Err(Stop::Failed(self.late(member)));
            };
            let slice = left.min(Duration::from_millis(100));
            let waited = self.done.changed.wait_timeout(tasks, slice);
            tasks = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// All that a task waits for: others', and its member's own before it.
    fn before(&self, task: usize) -> Vec<usize> {
        let own = &self.plan.of[self.plan.tasks[task].to];
        let earlier = own.iter().copied().take_while(|&t| t != task);
        earlier.chain(self.plan.tasks[task].after.iter().copied()).collect()
    }

    /// The error of a member that is late.
    pub fn late(&self, member: usize) -> Error {
        self.completion.late(member)
    }

    fn work(self: &Arc<Job>, member: usize) -> Result<(), Stop> {
        if let Some(items) = &self.hub {
            return hub::run(self, items);
        }
        for &t in &self.plan.of[member] {
            let task: &Task = &self.plan.tasks[t];
            self.wait_for(&task.after)?;
            self.go_on()?;
            #[cfg(test)]
            if let Some(fault) = &self.fault {
                fault.strike(self, member, t)?;
            }
            link::carry(self, task)?;
            self.done.mark(t);
        }
        self.end(member)
    }

    /// What a member does once all its elements have come.
    fn end(self: &Arc<Job>, member: usize) -> Result<(), Stop> {
        let store = &self.stores[member];
        if let (Some(combine), Some(buffer), Some(n)) =
            (&self.combine, &store.result, self.plan.result[member])
            && self.divisor > 1
            && n > 0
        {
            // Nobody reads a result that is complete but not divided: this runs after all tasks.
            self.wait_for_readers(member)?;
            let part = Part { buffer, offset: 0 };
            let (op, count) = (self.completion.op(), self.divisor);
            self.crew(n, || Share { op, combine, part, n, count }.run())?;
        }
        link::settle(self, member)
    }

    /// Until nobody will read this member's memory any more.
    fn wait_for_readers(&self, member: usize) -> Result<(), Stop> {
        let tasks = self.plan.tasks.iter().enumerate();
        let readers: Vec<usize> =
            tasks.filter(|(_, t)| t.from == member && t.to != member).map(|(k, _)| k).collect();
        self.wait_for(&readers)
    }

    /// Does a member's part and tells what came of it.
    fn run(self: &Arc<Job>, member: usize) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(member)));
        let op = self.completion.op();
        let error = match worked {
            Ok(Ok(())) => {
                self.completion.finished(member);
                return;
            }
            Ok(Err(Stop::Cancelled)) => {
                self.completion.finished(member);
                return;
            }
            Ok(Err(Stop::Late)) => self.late(member),
            Ok(Err(Stop::Failed(e))) => self.completion.blame(member, e),
            Err(panic) => {
                let said = panic
                    .downcast_ref::<&str>()
                    .map(|s| (*s).to_string())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                let operator = self.combine.as_ref().map_or("", |c| c.name.as_str());
                let text = format!("the operator {operator:?} panicked: {said}");
                let error = Error::new(ErrorKind::Argument, op, text);
                // In the hub the host combines for all, so it is nobody's.
                match self.hub {
                    Some(_) => error,
                    None => self.completion.blame(member, error),
                }
            }
        };
        log::debug!("{error}");
        self.completion.set(Err(error));
        self.done.cancel();
        self.completion.finished(member);
    }

    /// Lets go of a job; whoever is the last tells that it has ended.
    fn release(job: Arc<Job>) {
        if let Some(job) = Arc::into_inner(job) {
            let completion = job.completion.clone();
            // The arrays first, so that who was waiting for them has them alone.
            drop(job);
            completion.set(Ok(()));
        }
    }
}

/// The threads of a group. They start when they have something to do, and end with the group.
pub(crate) struct Workers {
    threads: Mutex<Vec<Option<Worker>>>,
}

struct Worker {
    jobs: Sender<Arc<Job>>,
    thread: JoinHandle<()>,
    /// What it works on.
    now: Arc<Mutex<Option<Arc<Completion>>>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    pub fn new(members: usize) -> Workers {
        Workers { threads: Mutex::new((0..members).map(|_| None).collect()) }
    }

    /// Hands a job to all whom it concerns, and returns.
    pub fn submit(&self, job: Job) -> Result<()> {
        let (op, job) = (job.completion.op(), Arc::new(job));
        // Sooner done than handed to another thread; a user's operator may take any time.
        if job.is_small() {
            job.run(0);
            Job::release(job);
            return Ok(());
        }
        let mut threads = lock(&self.threads);
        let busy: Vec<usize> = (0..job.stores.len()).filter(|&m| job.concerns(m)).collect();
        for &m in &busy {
            if threads[m].is_none() {
                threads[m] = Some(start(op, m)?);
            }
        }
        // One lock for all sends: every worker gets jobs in the same order.
        for &m in &busy {
            let sent = threads[m].as_ref().map(|worker| worker.jobs.send(job.clone()));
            if !matches!(sent, Some(Ok(()))) {
                let text = "its worker thread has ended; make a new group";
                let error = job.completion.blame(m, Error::new(ErrorKind::Driver, op, text));
                job.completion.set(Err(error.clone()));
                job.done.cancel();
                return Err(error);
            }
        }
        drop(threads);
        Job::release(job);
        Ok(())
    }
}

/// Bytes of a call between hosts that is done within the call.
const SMALL: usize = 16 << 10;

impl Job {
    fn is_small(&self) -> bool {
        #[cfg(test)]
        if self.fault.is_some() {
            return false;
        }
        let Some(items) = &self.hub else { return false };
        let touched = |item: &Item| item.len * (item.sources.len() + item.targets.len());
        self.combine.as_ref().is_none_or(|c| c.own.is_some())
            && self.stores.iter().all(|s| s.device.is_host())
            && items.iter().map(touched).sum::<usize>() * self.size <= SMALL
    }

    fn concerns(&self, member: usize) -> bool {
        if let Some(items) = &self.hub {
            return member == 0 && !items.is_empty();
        }
        if self.fence {
            return true;
        }
        let divides = self.divisor > 1 && self.plan.result[member].is_some_and(|n| n > 0);
        !self.plan.of[member].is_empty() || divides
    }
}

fn start(op: &'static str, member: usize) -> Result<Worker> {
    let (jobs, queue) = channel::<Arc<Job>>();
    let now: Arc<Mutex<Option<Arc<Completion>>>> = Arc::default();
    let current = now.clone();
    let thread = std::thread::Builder::new().name(format!("clan-member-{member}"));
    let spawned = thread.spawn(move || {
        while let Ok(job) = queue.recv() {
            *lock(&current) = Some(job.completion.clone());
            job.run(member);
            Job::release(job);
            *lock(&current) = None;
        }
    });
    let thread = spawned.map_err(|e| {
        Error::new(ErrorKind::OutOfMemory, op, format!("no thread for member {member}: {e}"))
    })?;
    Ok(Worker { jobs, thread, now })
}

impl Worker {
    /// Waits for the end of the thread. One that is stuck in a call of its driver beyond the deadline is
    /// left to itself, with all that it may touch.
    fn join(thread: JoinHandle<()>, now: &Mutex<Option<Arc<Completion>>>) {
        let mut pause = Duration::from_micros(20);
        while !thread.is_finished() {
            if lock(now).as_ref().is_some_and(|completion| completion.overdue()) {
                log::warn!("a group's worker is stuck in a call of its driver and is left behind");
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        // Panics of jobs were caught.
        if thread.join().is_err() {
            log::debug!("a group's worker ended by a panic");
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        // All are told before any is waited for: they wait for each other.
        let told: Vec<_> = threads
            .into_iter()
            .flatten()
            .map(|Worker { jobs, thread, now }| {
                drop(jobs);
                (thread, now)
            })
            .collect();
        for (thread, now) in told {
            Worker::join(thread, &now);
        }
    }
}
