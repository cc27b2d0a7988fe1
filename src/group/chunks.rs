//! Shares that are handed out while the work goes on.

use super::Group;
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::split::Guided;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// What [`Group::for_each_chunk`] hands out: a length, and bounds for the chunks.
///
/// Made from a length, or from an array, whose first axis it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    pub(super) len: usize,
    pub(super) least: Option<usize>,
    pub(super) most: usize,
}

impl From<usize> for Chunks {
    fn from(len: usize) -> Chunks {
        Chunks { len, least: None, most: usize::MAX }
    }
}

impl<T: Element> From<&DeviceArray<T>> for Chunks {
    fn from(array: &DeviceArray<T>) -> Chunks {
        super::start::rows(array.shape()).into()
    }
}

impl Chunks {
    /// No chunk is smaller, but for the last. Without it, and with 0: a 256th of a member's even share.
    pub fn at_least(self, n: usize) -> Chunks {
        Chunks { least: Some(n).filter(|&n| n > 0), ..self }
    }

    /// No chunk is larger.
    pub fn at_most(self, n: usize) -> Chunks {
        Chunks { most: n.max(1), ..self }
    }

    fn guided(self, members: usize) -> Guided {
        let least = self.least.unwrap_or(self.len / (members * 256)).max(1);
        Guided::new(self.len, members, least.min(self.most), self.most)
    }
}

/// What one member did.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Its chunks, in the order in which it got them.
    pub ranges: Vec<Range<usize>>,
    /// How long it worked on them.
    pub seconds: f64,
}

impl Work {
    /// Elements of all its chunks.
    pub fn elements(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }
}

/// What the threads of one call share.
pub(super) struct Dealer<'a> {
    op: &'static str,
    members: &'a [Device],
    guided: Mutex<Guided>,
    stop: AtomicBool,
    failed: Mutex<Option<Failed>>,
}

/// Why a call ends early.
enum Failed {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dealer<'_> {
    /// The next chunk of a member, unless all is handed out or somebody failed.
    pub fn next(&self, member: usize) -> Option<Range<usize>> {
        if self.stop.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.guided).next(member)
    }

    /// A member has done a chunk, in so many seconds.
    pub fn done(&self, member: usize, range: Range<usize>, seconds: f64, work: &mut Work) {
        lock(&self.guided).done(member, range.len(), seconds);
        work.seconds += seconds;
        work.ranges.push(range);
    }

    /// The first failure stays; but a panic goes before errors, which may come of it.
    fn fail(&self, failed: Failed) {
        let mut first = lock(&self.failed);
        if first.is_none()
            || matches!((&*first, &failed), (Some(Failed::Error(_)), Failed::Panic(_)))
        {
            *first = Some(failed);
        }
        self.stop.store(true, Ordering::Release);
    }
}

/// Dynamic shares.
impl Group {
    /// Deals out a length in chunks, to whichever member is free next, and calls `f` with the member's
    /// number and a range for each. Returns when all is done, with what each member did.
    ///
    /// Chunks are large in the beginning and small in the end, in proportion to how fast each member has
    /// turned out to be, so that a fast GPU and a slow CPU finish together. Every member has a thread
    /// that calls `f`; a chunk counts as done when the member's device has done what it was given.
    ///
    /// ```
    /// use clan::{Chunks, Device, DeviceArray, Group};
    /// use std::sync::Mutex;
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let data: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
    /// let total = Mutex::new(0.0);
    /// let work = group.for_each_chunk(Chunks::from(data.len()).at_least(1000), |member, range| {
    ///     let part = DeviceArray::from_slice(&group.members()[member], &data[range])?;
    ///     let sum = part.sum()?.item()?;
    ///     *total.lock().unwrap() += f64::from(sum);
    ///     Ok(())
    /// })?;
    /// assert_eq!(total.into_inner().unwrap(), 49_995_000.0);
    /// assert_eq!(work.iter().map(|w| w.elements()).sum::<usize>(), 10_000);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error that `f` or a member's device returned, with the member's number. Chunks that were
    /// begun are finished, the others are not.
    ///
    /// # Panics
    /// When `f` panics, with its panic, once all other threads have stopped.
    pub fn for_each_chunk(
        &self,
        chunks: impl Into<Chunks>,
        f: impl Fn(usize, Range<usize>) -> Result<()> + Sync,
    ) -> Result<Vec<Work>> {
        self.deal("for_each_chunk", chunks.into(), |dealer, m, work| {
            while let Some(range) = dealer.next(m) {
                let start = Instant::now();
                f(m, range.clone())?;
                dealer.members[m].wait()?;
                dealer.done(m, range, start.elapsed().as_secs_f64(), work);
            }
            Ok(())
        })
    }

    /// Runs `each` on a thread a member until it has dealt out everything.
    pub(super) fn deal(
        &self,
        op: &'static str,
        chunks: Chunks,
        each: impl Fn(&Dealer<'_>, usize, &mut Work) -> Result<()> + Sync,
    ) -> Result<Vec<Work>> {
        let dealer = Dealer {
            op,
            members: self.members(),
            guided: Mutex::new(chunks.guided(self.len())),
            stop: AtomicBool::new(false),
            failed: Mutex::new(None),
        };
        let mut all = vec![Work::default(); self.len()];
        at_once(all.iter_mut().enumerate(), |(m, work)| {
            match catch_unwind(AssertUnwindSafe(|| each(&dealer, m, work))) {
                Ok(Ok(())) => {}
                Ok(Err(e)) => {
                    let name = dealer.members[m].to_string();
                    dealer.fail(Failed::Error(e.of_member(dealer.op, m, &name)));
                }
                Err(panic) => dealer.fail(Failed::Panic(panic)),
            }
        });
        match dealer.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(all),
            Some(Failed::Error(e)) => Err(e),
            Some(Failed::Panic(panic)) => resume_unwind(panic),
        }
    }
}

/// Calls `f` for all of a list at once, each on a thread of its own; where no thread is to be had the
/// caller does it.
pub(super) fn at_once<A: Send, U: Send>(
    list: impl Iterator<Item = A>,
    f: impl Fn(A) -> U + Sync,
) -> Vec<U> {
    /// What was made here, or is made by a thread.
    enum Made<'scope, U> {
        Here(U),
        There(ScopedJoinHandle<'scope, U>),
    }
    std::thread::scope(|scope| {
        let f = &f;
        let mut all = Vec::new();
        for (k, item) in list.enumerate() {
            // The thread takes it; a thread that does not start leaves it.
            let place = Arc::new(Mutex::new(Some(item)));
            let taken = place.clone();
            let run = move || {
                let item = lock(&taken).take();
                item.map(f)
            };
            let thread = std::thread::Builder::new().name(format!("clan-share-{k}"));
            all.push(match thread.spawn_scoped(scope, run) {
                Ok(thread) => Made::There(thread),
                Err(e) => {
                    log::debug!("no thread for member {k}: {e}");
                    let item = lock(&place).take();
                    Made::Here(item.map(f))
                }
            });
        }
        // The host computes on rayon's threads: if this is one of them, it helps while it waits, for
        // there may be no other.
        let running = |made: &Made<'_, _>| matches!(made, Made::There(t) if !t.is_finished());
        while all.iter().any(running) {
            match rayon::yield_now() {
                None => break,
                Some(rayon::Yield::Executed) => {}
                Some(rayon::Yield::Idle) => std::thread::sleep(Duration::from_micros(50)),
            }
        }
        let made = all.into_iter().filter_map(|made| match made {
            Made::Here(made) => made,
            Made::There(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
        });
        made.collect()
    })
}
