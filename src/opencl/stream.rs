//! Transfers that do not wait: what links of groups are made of.
//!
//! They run on two queues of their own, one a direction, so that both directions of the bus work at
//! once. Whoever starts a transfer holds its [`Ticket`], asks it until it is done, and keeps all memory
//! alive that it touches; what must be given up before that goes to [`ClDevice::quarantine`].
//!
//! A transfer waits, by an event, for what the compute queue does with the block until now. Commands of
//! the compute queue that follow are ordered behind it by the host: they are enqueued when its
//! ticket is done.

use super::memory::block;
use super::{ClBlock, ClDevice, Runtime, failure, is_out_of_memory};
use crate::backend::Buffer;
use crate::error::{Error, ErrorKind, Result};
use ocl::core::{self, CommandQueue, Event, MapFlags, Mem, MemFlags, MemMap};
use ocl::ffi;
use std::any::Any;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What a device has for its links, made at first use.
#[derive(Default)]
pub(crate) struct Streams {
    queues: OnceLock<Result<[CommandQueue; 2]>>,
    /// Pinned memory that nobody uses.
    pinned: Mutex<Vec<Pinned>>,
    quarantine: Mutex<Vec<Held>>,
}

/// What is kept until commands have finished.
type Held = (Vec<Ticket>, Box<dyn Any + Send>);

/// Pinned memory beyond which blocks go back to the system.
const PINNED_LIMIT: usize = 256 << 20;

/// A command on its way.
pub(crate) struct Ticket {
    event: Event,
    op: &'static str,
    call: &'static str,
}

// SAFETY: OpenCL's events may be used from any thread.
unsafe impl Send for Ticket {}

impl Ticket {
    /// Whether the command has finished.
    pub fn done(&self) -> Result<bool> {
        let mut status: i32 = 0;
        // SAFETY: the event is alive, and the answer to this question is an `i32`.
        let code = unsafe {
            ffi::clGetEventInfo(
                *self.event.as_ptr_ref(),
                ffi::CL_EVENT_COMMAND_EXECUTION_STATUS,
                size_of::<i32>(),
                (&raw mut status).cast(),
                std::ptr::null_mut(),
            )
        };
        if code != 0 || status < 0 {
            let what = if code != 0 { code } else { status };
            let text = format!("{} ended with status {what}", self.call);
            return Err(Error::new(ErrorKind::Driver, self.op, text));
        }
        Ok(status == ffi::CL_COMPLETE)
    }
}

/// Memory of the host that a device reads and writes at the full speed of the bus.
pub(crate) struct Pinned {
    mem: Mem,
    map: MemMap<u8>,
    pub size: usize,
    queue: CommandQueue,
}

// SAFETY: the pointer is to memory that stays mapped as long as this lives, and is only used through
// `ptr`, whose callers see to it that transfers and loops over it take turns.
unsafe impl Send for Pinned {}
unsafe impl Sync for Pinned {}

impl Pinned {
    pub fn ptr(&self) -> *mut u8 {
        self.map.as_void_ptr().cast()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let none = (None::<&Event>, None::<&mut Event>);
        let unmapped =
            core::enqueue_unmap_mem_object(&self.queue, &self.mem, &self.map, none.0, none.1);
        if let Err(e) = unmapped {
            log::debug!("{}", failure("link", "clEnqueueUnmapMemObject", &e));
        }
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
enum Direction {
    Down,
    Up,
}

impl ClDevice {
    fn stream(&self, direction: Direction) -> Result<(&Runtime, &CommandQueue)> {
        let runtime = self.runtime()?;
        let made = self.streams.queues.get_or_init(|| {
            let queue = || {
                core::create_command_queue(&runtime.context, self.id, None)
                    .map_err(|e| failure("link", "clCreateCommandQueue", &e))
            };
            Ok([queue()?, queue()?])
        });
        match made {
            Ok(queues) => Ok((runtime, &queues[direction as usize])),
            Err(e) => Err(e.clone()),
        }
    }

    fn ticket(
        &self,
        op: &'static str,
        call: &'static str,
        queue: &CommandQueue,
        started: core::Result<()>,
        event: Event,
    ) -> Result<Ticket> {
        started.and_then(|()| core::flush(queue)).map_err(|e| match is_out_of_memory(&e) {
            true => self.out_of_memory(op, 0),
            false => failure(op, call, &e),
        })?;
        Ok(Ticket { event, op, call })
    }

    /// Starts to read `bytes` of a buffer from `offset` on.
    ///
    /// # Safety
    /// Until the ticket is done, `to` has room for so many bytes that nobody else touches, and the buffer
    /// lives and is not written there.
    pub unsafe fn start_download(
        &self,
        op: &'static str,
        buffer: &Buffer,
        offset: usize,
        to: *mut u8,
        bytes: usize,
    ) -> Result<Ticket> {
        let (runtime, queue) = self.stream(Direction::Down)?;
        let block: &ClBlock = block(&buffer.memory);
        self.undoubted(block)?;
        let wait = runtime.event_after(block.history().write)?;
        let mut event = Event::null();
        // SAFETY: the caller's promise; the range is inside the buffer by the caller's plan.
        let started = unsafe {
            let to = std::slice::from_raw_parts_mut(to, bytes);
            core::enqueue_read_buffer(
                queue,
                &block.mem,
                false,
                offset,
                to,
                wait.as_ref(),
                Some(&mut event),
            )
        };
        self.ticket(op, "clEnqueueReadBuffer", queue, started, event)
    }

    /// Starts to write `bytes` to a buffer from `offset` on.
    ///
    /// # Safety
    /// Until the ticket is done, nobody writes the bytes at `from`, and the buffer lives and nobody else
    /// touches that part of it.
    pub unsafe fn start_upload(
        &self,
        op: &'static str,
        buffer: &Buffer,
        offset: usize,
        from: *const u8,
        bytes: usize,
    ) -> Result<Ticket> {
        let (runtime, queue) = self.stream(Direction::Up)?;
        let block: &ClBlock = block(&buffer.memory);
        let used = *block.history();
        let wait = runtime.event_after(used.write.max(used.read))?;
        let mut event = Event::null();
        // SAFETY: the caller's promise; the range is inside the buffer by the caller's plan.
        let started = unsafe {
            let from = std::slice::from_raw_parts(from, bytes);
            core::enqueue_write_buffer(
                queue,
                &block.mem,
                false,
                offset,
                from,
                wait.as_ref(),
                Some(&mut event),
            )
        };
        self.ticket(op, "clEnqueueWriteBuffer", queue, started, event)
    }

    /// Copies between two buffers on the compute queue, or within one where the parts do not overlap.
    /// The caller sees to it that nobody else touches the target meanwhile.
    pub fn start_copy(
        &self,
        op: &'static str,
        (from, from_at): (&Buffer, usize),
        (to, to_at): (&Buffer, usize),
        bytes: usize,
    ) -> Result<()> {
        let (runtime, src, dst) = (self.runtime()?, block(&from.memory), block(&to.memory));
        core::enqueue_copy_buffer::<u8, _, _, _>(
            &runtime.compute,
            &src.mem,
            &dst.mem,
            from_at,
            to_at,
            bytes,
            None::<&Event>,
            None::<&mut Event>,
        )
        .map_err(|e| failure(op, "clEnqueueCopyBuffer", &e))?;
        let position = runtime.issue();
        src.after_read(position);
        dst.after_write(position, op);
        self.pass_doubts(&[src], &[dst], None);
        Ok(())
    }

    /// A ticket for all that the compute queue was given until now; `None` when it is known to be done.
    pub fn all_so_far(&self, op: &'static str) -> Result<Option<(Ticket, u64)>> {
        let runtime = self.runtime()?;
        let position = runtime.issued.load(std::sync::atomic::Ordering::Acquire);
        let event = runtime.event_after(position)?;
        let call = "a command before";
        Ok(event.map(|event| (Ticket { event, op, call }, position)))
    }

    /// Notes that commands up to a position have finished.
    pub fn passed(&self, position: u64) -> Result<()> {
        self.runtime()?.finished.fetch_max(position, std::sync::atomic::Ordering::AcqRel);
        Ok(())
    }

    /// At least so many bytes of pinned memory.
    pub fn pinned(&self, op: &'static str, bytes: usize) -> Result<Pinned> {
        self.sweep();
        let size = bytes.max(4096).next_power_of_two();
        {
            let mut free = lock(&self.streams.pinned);
            if let Some(k) = free.iter().position(|p| p.size == size) {
                return Ok(free.swap_remove(k));
            }
        }
        let (runtime, queue) = self.stream(Direction::Down)?;
        let flags = MemFlags::new().read_write().alloc_host_ptr();
        // SAFETY: no host memory is given.
        let made = unsafe { core::create_buffer(&runtime.context, flags, size, None::<&[u8]>) };
        let mem = made.map_err(|e| match is_out_of_memory(&e) {
            true => self.out_of_memory(op, size),
            false => failure(op, "clCreateBuffer", &e),
        })?;
        // SAFETY: the call blocks until the memory is mapped, which lives as long as the map.
        let map = runtime.blocking(|block_now, event| unsafe {
            core::enqueue_map_buffer::<u8, _, _, _>(
                queue,
                &mem,
                block_now,
                MapFlags::new().read().write(),
                0,
                size,
                None::<&Event>,
                event,
            )
        });
        let map = map.map_err(|e| failure(op, "clEnqueueMapBuffer", &e))?;
        Ok(Pinned { mem, map, size, queue: queue.clone() })
    }

    /// Takes pinned memory back that no transfer uses any more.
    pub fn unpin(&self, pinned: Pinned) {
        let mut free = lock(&self.streams.pinned);
        let kept: usize = free.iter().map(|p| p.size).sum();
        if kept + pinned.size <= PINNED_LIMIT {
            free.push(pinned);
        }
    }

    /// Keeps what commands that nobody waits for any more may still touch, until they have finished.
    pub fn quarantine(&self, tickets: Vec<Ticket>, kept: Box<dyn Any + Send>) {
        self.sweep();
        lock(&self.streams.quarantine).push((tickets, kept));
    }

    /// Lets go of what has left quarantine.
    pub fn sweep(&self) {
        let mut released = Vec::new();
        {
            let mut held = lock(&self.streams.quarantine);
            let mut k = 0;
            while k < held.len() {
                // A command that failed has ended, too.
                if held[k].0.iter().all(|t| t.done().unwrap_or(true)) {
                    released.push(held.swap_remove(k));
                } else {
                    k += 1;
                }
            }
        }
        // Outside of the lock: it may be memory of this very device.
        drop(released);
    }

    /// Frees pinned memory that nobody uses.
    pub fn trim_streams(&self) {
        self.sweep();
        let free = std::mem::take(&mut *lock(&self.streams.pinned));
        drop(free);
    }

    /// Waits for the queues of the links.
    pub fn finish_streams(&self) -> core::Result<()> {
        match (self.runtime.get(), self.streams.queues.get()) {
            (Some(Ok(runtime)), Some(Ok(queues))) => {
                queues.iter().try_for_each(|queue| runtime.finish_queue(queue))
            }
            _ => Ok(()),
        }
    }
}

/// For tests: as long as it lives, the device does nothing of what it is given.
#[cfg(test)]
pub(crate) struct Stall(Event);

#[cfg(test)]
impl Drop for Stall {
    fn drop(&mut self) {
        let done = core::CommandExecutionStatus::Complete;
        core::set_user_event_status(&self.0, done).unwrap();
    }
}

#[cfg(test)]
impl ClDevice {
    pub fn stall(&self) -> Result<Stall> {
        let runtime = self.runtime()?;
        let event = core::create_user_event(&runtime.context)
            .map_err(|e| failure("stall", "clCreateUserEvent", &e))?;
        core::enqueue_marker_with_wait_list(
            &runtime.compute,
            Some(&event),
            None::<&mut Event>,
            None,
        )
        .map_err(|e| failure("stall", "clEnqueueMarkerWithWaitList", &e))?;
        runtime.issue();
        Ok(Stall(event))
    }

    pub fn quarantined(&self) -> usize {
        lock(&self.streams.quarantine).len()
    }
}
