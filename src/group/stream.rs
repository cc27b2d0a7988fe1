//! Arrays larger than a device's memory: they stay on the host, and pass through the members in chunks.
//!
//! A chunk goes up while the one before is computed and the one before that comes down, where the
//! device has queues for transfers. Borrowed memory is never given to the driver: elements are copied
//! into pinned memory and out of it, which the bus reads and writes at its full speed besides.

use super::Group;
use super::chunks::{Chunks, Dealer, Work};
use crate::array::DeviceArray;
use crate::device::{Backing, Device};
use crate::element::{DType, Element};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::Expr;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Instant;

const OP: &str = "stream";

/// Bytes of a chunk, of whichever of input and output is larger: enough to hide the latency of a
/// transfer, and little enough that the last chunks do not stand alone for long.
const CHUNK: usize = 16 << 20;

/// Elements of the least chunk.
const LEAST: usize = 32 * 1024;

/// The caller's output, of which every thread writes its own chunks.
struct Output<'a, U> {
    start: *mut U,
    len: usize,
    _borrowed: PhantomData<&'a mut [U]>,
}

// SAFETY: elements are plain values, and chunks do not overlap: see `Output::fill`.
unsafe impl<U: Send> Sync for Output<'_, U> {}

impl<U: Element> Output<'_, U> {
    /// Fills the elements of a range from one of so many bytes.
    ///
    /// # Safety
    /// No other thread has the range, which the dealer hands out once.
    unsafe fn fill(
        &self,
        range: Range<usize>,
        fill: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the output, which is borrowed mutably for as long as this lives; bytes of
        // elements that are there may be overwritten by any others, but those of `bool`, which
        // nobody reads before they are normalised below.
        let bytes = unsafe {
            let start = self.start.add(range.start).cast::<u8>();
            std::slice::from_raw_parts_mut(start, range.len() * size_of::<U>())
        };
        let filled = fill(bytes);
        if U::DTYPE == DType::Bool {
            bytes.iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        filled
    }
}

/// What the threads of one call work on.
struct Job<'a, T, U, F> {
    group: &'a Group,
    input: &'a [T],
    output: Output<'a, U>,
    f: F,
}

impl Group {
    /// Applies an element-wise function to a slice of the host's memory, of any length: chunks of it go
    /// to whichever member is free, as in [`Group::for_each_chunk`], and their results into `output`.
    /// Neither slice has to fit into a device's memory.
    ///
    /// On OpenCL devices the transfers of neighbouring chunks, in both directions, run while one is
    /// computed. Returns what each member did.
    ///
    /// ```
    /// use clan::{Device, Group};
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let input: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    /// let mut even = vec![false; input.len()];
    /// group.stream(&input, &mut even, |x| (x % 2.0).eq(0.0))?;
    /// assert!(even.iter().step_by(2).all(|&e| e) && !even[99_999]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Slices of different lengths; mistakes in the expression; out of memory; a failure of a device, or a
    /// chunk that an OpenCL device has not done within the group's deadline, with the member's number. Some chunks of `output` are then new and others not.
    ///
    /// # Panics
    /// When `f` panics, with its panic.
    pub fn stream<T: Element, U: Element>(
        &self,
        input: &[T],
        output: &mut [U],
        f: impl Fn(Expr<T>) -> Expr<U> + Sync,
    ) -> Result<Vec<Work>> {
        if input.len() != output.len() {
            let text = format!(
                "an input of {} elements and an output of {}; give both one length",
                input.len(),
                output.len()
            );
            return Err(Error::shape(OP, text));
        }
        // Each device has up to four chunks at a time, and those of the expression between them.
        let room = |d: &Device| d.memory().max_alloc_bytes.min(d.memory().global_bytes / 16) / 8;
        let room = self.members().iter().map(room).min().unwrap_or(0);
        let bytes = CHUNK.min(usize::try_from(room).unwrap_or(CHUNK));
        let most = (bytes / size_of::<T>().max(size_of::<U>())).max(1);
        let chunks = Chunks { len: input.len(), least: Some(LEAST.min(most)), most };
        let output =
            Output { start: output.as_mut_ptr(), len: output.len(), _borrowed: PhantomData };
        let job = Job { group: self, input, output, f };
        self.deal(OP, chunks, |dealer, m, work| match self.members()[m].backing() {
            Backing::Host(_) => job.host(dealer, m, work),
            #[cfg(feature = "opencl")]
            Backing::OpenCl(cl) => pipeline::Pipeline::new(&job, m, cl).run(dealer, work),
        })
    }
}

impl<T: Element, U: Element, F: Fn(Expr<T>) -> Expr<U>> Job<'_, T, U, F> {
    /// The result of a chunk, checked.
    fn compute(&self, x: &DeviceArray<T>) -> Result<DeviceArray<U>> {
        let y = (self.f)(x.expr());
        if y.shape()? != x.shape() {
            let text = format!(
                "the function made shape {:?} of {:?}; element-wise functions keep shapes",
                y.shape()?,
                x.shape()
            );
            return Err(Error::shape(OP, text));
        }
        if y.device()?.is_some_and(|d| d != x.device()) {
            let text = "the function's result is on another device than its argument";
            return Err(Error::new(ErrorKind::DeviceMismatch, OP, text));
        }
        y.eval()
    }

    fn host(&self, dealer: &Dealer<'_>, m: usize, work: &mut Work) -> Result<()> {
        let device = &self.group.members()[m];
        while let Some(range) = dealer.next(m) {
            let start = Instant::now();
            let x = DeviceArray::from_slice(device, &self.input[range.clone()])?;
            let y = self.compute(&x)?;
            let raw = y.raw()?;
            let at = raw.layout.offset * size_of::<U>();
            // SAFETY: the dealer handed this range to this thread alone.
            unsafe { self.output.fill(range.clone(), |bytes| raw.buffer.download(at, bytes)) }?;
            dealer.done(m, range, start.elapsed().as_secs_f64(), work);
        }
        Ok(())
    }
}

#[cfg(feature = "opencl")]
mod pipeline {
    use super::*;
    use crate::array::RawArray;
    use crate::backend::Buffer;
    use crate::layout::Layout;
    use crate::opencl::ClDevice;
    use crate::opencl::stream::{Pinned, Ticket};
    use rayon::prelude::*;
    use std::sync::Arc;

    /// One member's chunks on their way.
    pub(super) struct Pipeline<'a, T: Element, U: Element, F> {
        job: &'a Job<'a, T, U, F>,
        member: usize,
        cl: &'a ClDevice,
        /// Of even and odd chunks.
        up: [Option<Pinned>; 2],
        down: [Option<Pinned>; 2],
        /// The chunk that goes up and the one that comes down.
        rising: Option<Rising>,
        falling: Option<Falling<U>>,
        last_done: Instant,
    }

    struct Rising {
        range: Range<usize>,
        begun: Instant,
        buffer: Buffer,
        ticket: Ticket,
    }

    struct Falling<U> {
        range: Range<usize>,
        begun: Instant,
        result: DeviceArray<U>,
        ticket: Ticket,
        slot: usize,
    }

    impl<T: Element, U: Element, F> Drop for Pipeline<'_, T, U, F> {
        fn drop(&mut self) {
            let mut tickets = Vec::new();
            let rising = self.rising.take().map(|r| {
                tickets.push(r.ticket);
                r.buffer
            });
            let falling = self.falling.take().map(|f| {
                tickets.push(f.ticket);
                f.result
            });
            let pinned: Vec<Pinned> =
                self.up.iter_mut().chain(&mut self.down).filter_map(Option::take).collect();
            if tickets.is_empty() {
                pinned.into_iter().for_each(|p| self.cl.unpin(p));
            } else {
                // An early end: the commands may still read and write all of it.
                self.cl.quarantine(tickets, Box::new((rising, falling, pinned)));
            }
        }
    }

    impl<'a, T: Element, U: Element, F: Fn(Expr<T>) -> Expr<U>> Pipeline<'a, T, U, F> {
        pub fn new(job: &'a Job<'a, T, U, F>, member: usize, cl: &'a ClDevice) -> Self {
            Pipeline {
                job,
                member,
                cl,
                up: [None, None],
                down: [None, None],
                rising: None,
                falling: None,
                last_done: Instant::now(),
            }
        }

        pub fn run(mut self, dealer: &Dealer<'_>, work: &mut Work) -> Result<()> {
            for k in 0usize.. {
                let (slot, before) = (k % 2, (k + 1) % 2);
                let next = match dealer.next(self.member) {
                    Some(range) => Some(self.raise(range, slot)?),
                    None => None,
                };
                // The chunk before: up by now, or soon.
                let risen = std::mem::replace(&mut self.rising, next);
                let falls = match risen {
                    Some(risen) => Some(self.turn(risen, before)?),
                    None => None,
                };
                if let Some(fallen) = std::mem::replace(&mut self.falling, falls) {
                    self.land(fallen, dealer, work)?;
                }
                if self.rising.is_none() && self.falling.is_none() {
                    break;
                }
            }
            Ok(())
        }

        /// Copies bytes, by several threads where there are many.
        fn copy(&self, from: &[u8], to: &mut [u8]) {
            const PIECE: usize = 1 << 20;
            if from.len() <= PIECE {
                return to.copy_from_slice(from);
            }
            self.job.group.settings.crew.run(|| {
                let pieces = to.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE));
                pieces.for_each(|(to, from)| to.copy_from_slice(from));
            });
        }

        fn wait(&self, ticket: &Ticket) -> Result<()> {
            let start = Instant::now();
            while !ticket.done()? {
                let waited = start.elapsed();
                if waited > self.job.group.settings.deadline {
                    let text = format!(
                        "a chunk did not get through within {:?}; repeat with a longer `with_deadline`",
                        self.job.group.settings.deadline
                    );
                    return Err(Error::new(ErrorKind::Deadline, OP, text));
                }
                // Sleeping costs 50 µs at least.
                if waited.as_micros() < 200 {
                    std::hint::spin_loop();
                } else {
                    std::thread::sleep(std::time::Duration::from_micros(20));
                }
            }
            Ok(())
        }

        fn pinned(&mut self, up: bool, slot: usize, bytes: usize) -> Result<*mut u8> {
            let cl = self.cl;
            let place = if up { &mut self.up[slot] } else { &mut self.down[slot] };
            if place.as_ref().is_none_or(|p| p.size < bytes) {
                // No command uses it: the slot's chunk has gone up, or come down, before the next one.
                if let Some(old) = place.take() {
                    cl.unpin(old);
                }
                *place = Some(cl.pinned(OP, bytes)?);
            }
            Ok(place.as_ref().map_or(std::ptr::null_mut(), Pinned::ptr))
        }

        /// Starts a chunk's way up.
        fn raise(&mut self, range: Range<usize>, slot: usize) -> Result<Rising> {
            let begun = Instant::now();
            let chunk = &self.job.input[range.clone()];
            let bytes = size_of_val(chunk);
            let to = self.pinned(true, slot, bytes)?;
            // SAFETY: elements have no padding; the pinned memory has so many bytes, and no command uses
            // it since the chunk before last has been computed.
            unsafe {
                let from = std::slice::from_raw_parts(chunk.as_ptr().cast::<u8>(), bytes);
                self.copy(from, std::slice::from_raw_parts_mut(to, bytes));
            }
            let device = &self.job.group.members()[self.member];
            let layout = Layout::contiguous(&[range.len()]);
            let buffer = RawArray::alloc(OP, device, &layout, T::DTYPE)?;
            // SAFETY: until the ticket is done, `rising` keeps the buffer and `up` the memory, or
            // quarantine does; nobody else has either.
            let ticket = unsafe { self.cl.start_upload(OP, &buffer, 0, to, bytes) }?;
            Ok(Rising { range, begun, buffer, ticket })
        }

        /// Computes a chunk that has gone up, and starts its way down.
        fn turn(&mut self, risen: Rising, slot: usize) -> Result<Falling<U>> {
            let Rising { range, begun, buffer, ticket } = risen;
            if let Err(e) = self.wait(&ticket) {
                self.cl.quarantine(vec![ticket], Box::new((buffer, self.up[slot].take())));
                return Err(e);
            }
            let layout = Layout::contiguous(&[range.len()]);
            let x = RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE };
            let result = self.job.compute(&DeviceArray::from_raw(x))?;
            let raw = result.raw()?;
            let (at, bytes) = (raw.layout.offset * size_of::<U>(), range.len() * size_of::<U>());
            let to = self.pinned(false, slot, bytes)?;
            // SAFETY: until the ticket is done, `falling` keeps the result and `down` the memory, or
            // quarantine does; the result is not written by anybody.
            let ticket = unsafe { self.cl.start_download(OP, &raw.buffer, at, to, bytes) }?;
            Ok(Falling { range, begun, result, ticket, slot })
        }

        /// Takes a chunk that has come down.
        fn land(&mut self, fallen: Falling<U>, dealer: &Dealer<'_>, work: &mut Work) -> Result<()> {
            if let Err(e) = self.wait(&fallen.ticket) {
                let kept = (fallen.result, self.down[fallen.slot].take());
                self.cl.quarantine(vec![fallen.ticket], Box::new(kept));
                return Err(e);
            }
            let Falling { range, begun, slot, .. } = fallen;
            if let Some(pinned) = &self.down[slot] {
                // SAFETY: the transfer has filled so many bytes, and none is under way in this slot; the
                // dealer handed the range to this thread alone.
                unsafe {
                    let n = range.len() * size_of::<U>();
                    let from = std::slice::from_raw_parts(pinned.ptr(), n);
                    self.job.output.fill(range.clone(), |to| {
                        self.copy(from, to);
                        Ok(())
                    })?;
                }
            }
            // Chunks overlap: only the time since the one before is this one's.
            let seconds = begun.max(self.last_done).elapsed().as_secs_f64();
            self.last_done = Instant::now();
            dealer.done(self.member, range, seconds, work);
            Ok(())
        }
    }
}
