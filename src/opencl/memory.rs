//! Memory of a device: blocks, their pool, and what goes to and from the host.

use super::{ClDevice, failure, is_out_of_memory, notes, peer};
use crate::backend::{Backend, Memory, MemoryUsage};
use crate::device::DeviceKind;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use ocl::core::{self, Event, Mem, MemFlags};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last uses of a block by the compute queue, as positions in it. Commands of the transfer
/// queue block, so they leave no mark. Since the queue runs in order, the last use stands for all
/// before it.
///
/// Positions instead of events: a launch with an event costs NVIDIA's driver twice as much
/// (see `Runtime::event_after`).
#[derive(Clone, Copy, Default)]
pub(crate) struct History {
    pub(super) write: u64,
    pub(super) read: u64,
    /// The operation that wrote, for the message when it turns out to have failed.
    op: Option<&'static str>,
}

/// A block of device memory. Goes back to the pool with its history: the next user waits on it
/// where another queue is involved.
pub(crate) struct ClBlock {
    pub(super) mem: Mem,
    pub(super) size: usize,
    history: Mutex<History>,
    doubts: Mutex<notes::Doubts>,
    /// What other devices need to reach it.
    shared: Option<peer::Shared>,
}

/// A buffer made while a kernel is on trial: a part of a larger one, all of which was filled with
/// one byte before.
pub(crate) struct GuardedBlock {
    whole: Mem,
    /// Bytes before and after.
    band: usize,
    pub bytes: usize,
}

impl GuardedBlock {
    pub const FILL: u8 = 0xa5;
    /// Wider than a row of any tile.
    const BAND: usize = 4096;
}

impl ClBlock {
    fn new(mem: Mem, size: usize, shared: Option<peer::Shared>) -> ClBlock {
        ClBlock { mem, size, history: Mutex::default(), doubts: Mutex::default(), shared }
    }

    /// Whether kernels on other devices may be given it.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The block as a buffer of another device.
    pub fn seen_by(&self, op: &'static str, device: &ClDevice) -> Result<Mem> {
        let seen = self.shared.as_ref().map(|shared| shared.seen_by(device));
        match seen {
            Some(Ok(mem)) => Ok(mem),
            Some(Err(peer::Refusal::OutOfMemory)) => Err(device.out_of_memory(op, self.size)),
            Some(Err(peer::Refusal::Other(call, code))) => Err(Error::new(
                ErrorKind::Driver,
                op,
                format!(
                    "{call} answered {code} when {} imported a peer's memory",
                    device.info.name
                ),
            )),
            None => Err(Error::new(
                ErrorKind::Driver,
                op,
                format!("{} cannot reach this memory of a peer", device.info.name),
            )),
        }
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn doubts(&self) -> MutexGuard<'_, notes::Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Several threads may note their uses of one block, parts of which belong to each: the latest
    /// position counts, whoever notes it first.
    pub(super) fn after_read(&self, position: u64) {
        let mut history = self.history();
        history.read = history.read.max(position);
    }

    pub(super) fn after_write(&self, position: u64, op: &'static str) {
        let mut history = self.history();
        if position > history.write {
            (history.write, history.op) = (position, Some(op));
        }
    }
}

impl ClDevice {
    fn create(&self, bytes: usize) -> Result<Option<Mem>> {
        let runtime = self.runtime()?;
        // SAFETY: no host memory is given.
        let made = unsafe {
            core::create_buffer(
                &runtime.context,
                MemFlags::new().read_write(),
                bytes,
                None::<&[u8]>,
            )
        };
        let mem = match made {
            Ok(mem) => mem,
            Err(e) if is_out_of_memory(&e) => return Ok(None),
            Err(e) => return Err(failure("alloc", "clCreateBuffer", &e)),
        };
        // Drivers of GPUs allocate at first use: use it now, where running out can be handled.
        if self.info.kind == DeviceKind::Gpu && bytes >= 1 << 20 {
            let touched = core::enqueue_fill_buffer(
                &runtime.compute,
                &mem,
                0u8,
                0,
                4,
                None::<&Event>,
                None::<&mut Event>,
                None,
            );
            match touched {
                Ok(()) => {}
                Err(e) if is_out_of_memory(&e) => return Ok(None),
                Err(e) => return Err(failure("alloc", "clEnqueueFillBuffer", &e)),
            }
        }
        Ok(Some(mem))
    }

    /// From now on large blocks are made so that other devices can reach them. False where that
    /// cannot be.
    pub fn make_reachable(&self) -> bool {
        if self.exporter.get().is_some() {
            return true;
        }
        let Some(exporter) = peer::Exporter::of(self) else { return false };
        if self.exporter.set(exporter).is_ok() {
            // What is cached was made the ordinary way.
            self.release_cache();
        }
        true
    }

    /// Hands everything over that was enqueued: kernels that wait for other devices' must not wait
    /// in the host.
    pub fn flush(&self, op: &'static str) -> Result<()> {
        core::flush(&self.runtime()?.compute).map_err(|e| failure(op, "clFlush", &e))
    }

    /// Whether kernels of this device can use memory of the other; both have been made reachable.
    pub fn reaches(&self, other: &ClDevice) -> bool {
        let both = self.exporter.get().zip(other.exporter.get());
        both.is_some_and(|(own, other)| own.reaches(other))
    }

    /// A block for the pool; `None` when there is no memory.
    fn create_block(&self, class: usize) -> Result<Option<ClBlock>> {
        if let Some(exporter) = self.exporter.get().filter(|_| peer::is_shareable(class)) {
            match exporter.create(self, class) {
                Ok((mem, shared)) => return Ok(Some(ClBlock::new(mem, class, Some(shared)))),
                Err(peer::Refusal::OutOfMemory) => return Ok(None),
                // An ordinary block serves everything but collectives without a copy.
                Err(peer::Refusal::Other(call, code)) => {
                    log::debug!("{}: {call} answered {code} for {class} bytes", self.info.name);
                }
            }
        }
        Ok(self.create(class)?.map(|mem| ClBlock::new(mem, class, None)))
    }

    /// A buffer between guard bands, outside of the pool.
    fn guarded(&self, bytes: usize) -> Result<Memory> {
        // A part of a buffer starts at a multiple of this; 4096 bits are the most that is known.
        let align = match core::get_device_info(self.id, core::DeviceInfo::MemBaseAddrAlign) {
            Ok(core::DeviceInfoResult::MemBaseAddrAlign(bits)) => bits as usize / 8,
            _ => 512,
        };
        let band = GuardedBlock::BAND.next_multiple_of(align.max(1));
        let whole =
            self.create(bytes + 2 * band)?.ok_or_else(|| self.out_of_memory("tune", bytes))?;
        let runtime = self.runtime()?;
        core::enqueue_fill_buffer(
            &runtime.compute,
            &whole,
            GuardedBlock::FILL,
            0,
            bytes + 2 * band,
            None::<&Event>,
            None::<&mut Event>,
            None,
        )
        .map_err(|e| failure("tune", "clEnqueueFillBuffer", &e))?;
        let part = core::BufferRegion::<u8>::new(band, bytes);
        let mem = core::create_sub_buffer(&whole, MemFlags::new().read_write(), &part)
            .map_err(|e| failure("tune", "clCreateSubBuffer", &e))?;
        // An upload takes the other queue and would not wait for it.
        runtime.finish_queue(&runtime.compute).map_err(|e| failure("tune", "clFinish", &e))?;
        crate::tune::guard::note(GuardedBlock { whole, band, bytes });
        Ok(Memory::Cl(Box::new(ClBlock::new(mem, 0, None))))
    }

    /// The bytes before and after a buffer with guard bands, once all work has finished.
    pub fn read_bands(&self, block: &GuardedBlock) -> Result<[Vec<u8>; 2]> {
        let runtime = self.runtime()?;
        let read = |at: usize| {
            let mut band = vec![0; block.band];
            // SAFETY: the call blocks until `band` is filled, from a range inside the buffer.
            let read = runtime.blocking(|block_now, event| unsafe {
                core::enqueue_read_buffer(
                    &runtime.compute,
                    &block.whole,
                    block_now,
                    at,
                    &mut band,
                    None::<&Event>,
                    event,
                )
            });
            read.map_err(|e| failure("tune", "clEnqueueReadBuffer", &e))?;
            Ok(band)
        };
        Ok([read(0)?, read(block.band + block.bytes)?])
    }

    /// Frees the cache once nothing in flight uses it.
    pub(super) fn release_cache(&self) {
        if let Err(e) = self.wait() {
            log::debug!("{}: {e}", self.info.name);
        }
        drop(self.pool.drain());
    }

    pub(super) fn out_of_memory(&self, op: &'static str, bytes: usize) -> Error {
        let usage = self.pool.usage();
        Error::new(
            ErrorKind::OutOfMemory,
            op,
            format!(
                "{} has no room for {bytes} bytes: its arrays hold {} bytes, {} are cached, and it has {} in all. Drop arrays, or work in parts",
                self.info.name, usage.held, usage.cached, self.info.memory.global_bytes
            ),
        )
    }

    /// Copies bytes within the device; the caller owns `dst` alone.
    pub fn copy_block(
        &self,
        src: &ClBlock,
        src_at: usize,
        dst: &ClBlock,
        dst_at: usize,
        bytes: usize,
    ) -> Result<()> {
        let runtime = self.runtime()?;
        core::enqueue_copy_buffer::<u8, _, _, _>(
            &runtime.compute,
            &src.mem,
            &dst.mem,
            src_at,
            dst_at,
            bytes,
            None::<&Event>,
            None::<&mut Event>,
        )
        .map_err(|e| match is_out_of_memory(&e) {
            true => self.out_of_memory("copy", bytes),
            false => failure("copy", "clEnqueueCopyBuffer", &e),
        })?;
        let position = runtime.issue();
        src.after_read(position);
        dst.after_write(position, "copy");
        self.pass_doubts(&[src], &[dst], None);
        Ok(())
    }

    /// Fills all of `dst` from a block, once what writes that has finished.
    pub(super) fn read(&self, block: &ClBlock, offset: usize, dst: &mut [u8]) -> Result<()> {
        let runtime = self.runtime()?;
        // When the newest command wrote the block, the compute queue is as early as the other and
        // needs no event. Else the transfer queue waits for what was issued until now, and not for
        // what other threads issue meanwhile.
        let newest = runtime.issued.load(Ordering::Acquire);
        let written = block.history().write;
        let (queue, wait) = match written == newest {
            true => (&runtime.compute, None),
            false => (&runtime.transfer, runtime.event_after(written)?),
        };
        // SAFETY: the call blocks until `dst` is filled; the range is inside the block.
        let done = runtime.blocking(|block_now, event| unsafe {
            core::enqueue_read_buffer(
                queue,
                &block.mem,
                block_now,
                offset,
                dst,
                wait.as_ref(),
                event,
            )
        });
        if done.is_ok() {
            runtime.finished.fetch_max(written, Ordering::AcqRel);
        }
        done.map_err(|e| self.late_failure(block, "clEnqueueReadBuffer", &e))
    }

    /// After a blocking call failed: names the operation that really did, when it is known.
    fn late_failure(&self, block: &ClBlock, call: &'static str, e: &core::Error) -> Error {
        let op = block.history().op.unwrap_or("read");
        let error = failure(op, call, e);
        Error::new(
            ErrorKind::Driver,
            op.to_string(),
            format!("failed on {} after it was started: {error}", self.info.name),
        )
    }
}

pub(super) fn block(memory: &Memory) -> &ClBlock {
    match memory {
        Memory::Cl(block) => block,
        _ => unreachable!("memory of another backend"),
    }
}

impl Backend for ClDevice {
    fn alloc(&self, bytes: usize) -> Result<Memory> {
        let largest = self.info.memory.max_alloc_bytes;
        if bytes as u64 > largest {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "alloc",
                format!(
                    "an array of {bytes} bytes is above the largest buffer of {}, {largest} bytes; split it into several arrays",
                    self.info.name
                ),
            ));
        }
        if crate::tune::guard::active() {
            return self.guarded(bytes);
        }
        let mut class = Pool::<ClBlock>::size_class(bytes);
        if let Some(exporter) = self.exporter.get().filter(|_| peer::is_shareable(class)) {
            // Else several classes would hold blocks of one size.
            class = class.next_multiple_of(exporter.granularity());
        }
        if class as u64 > largest {
            class = bytes;
        }
        if let Some(block) = self.pool.take(class) {
            self.forget_doubts(&block);
            return Ok(Memory::Cl(block));
        }
        let block = match self.create_block(class)? {
            Some(block) => block,
            None => {
                self.release_cache();
                self.create_block(class)?.ok_or_else(|| self.out_of_memory("alloc", bytes))?
            }
        };
        self.pool.add(class);
        Ok(Memory::Cl(Box::new(block)))
    }

    fn recycle(&self, memory: Memory) {
        match memory {
            // Not the pool's: see `guarded`.
            Memory::Cl(block) if block.size == 0 => drop(block),
            // Made before the device was a peer's: the next of its size shall be reachable.
            Memory::Cl(block)
                if self.exporter.get().is_some()
                    && peer::is_shareable(block.size)
                    && !block.is_shared() =>
            {
                self.pool.forget(block.size);
            }
            Memory::Cl(block) => drop(self.pool.put(block.size, block)),
            _ => {}
        }
    }

    fn upload(&self, dst: &mut Memory, offset: usize, src: &[u8]) -> Result<()> {
        let (runtime, block) = (self.runtime()?, block(dst));
        let used = *block.history();
        let wait = runtime.event_after(used.write.max(used.read))?;
        // SAFETY: the call blocks until `src` has been read; the range is inside the block.
        let done = runtime.blocking(|block_now, event| unsafe {
            core::enqueue_write_buffer(
                &runtime.transfer,
                &block.mem,
                block_now,
                offset,
                src,
                wait.as_ref(),
                event,
            )
        });
        done.map_err(|e| match is_out_of_memory(&e) {
            true => self.out_of_memory("upload", src.len()),
            false => self.late_failure(block, "clEnqueueWriteBuffer", &e),
        })?;
        // Everything before the write has finished, and so has the write.
        *block.history() = History::default();
        Ok(())
    }

    fn download(&self, src: &Memory, offset: usize, dst: &mut [u8]) -> Result<()> {
        let block = block(src);
        self.read(block, offset, dst)?;
        self.undoubted(block)?;
        self.believed(block)
    }

    fn copy(
        &self,
        src: &Memory,
        src_at: usize,
        dst: &mut Memory,
        dst_at: usize,
        bytes: usize,
    ) -> Result<()> {
        self.copy_block(block(src), src_at, block(dst), dst_at, bytes)
    }

    fn wait(&self) -> Result<()> {
        let Some(Ok(runtime)) = self.runtime.get() else { return Ok(()) };
        runtime
            .finish()
            .and_then(|()| runtime.finish_queue(&runtime.transfer))
            .and_then(|()| self.finish_streams())
            .map_err(|e| failure("wait", "clFinish", &e))
    }

    fn trim(&self) {
        self.trim_streams();
        self.mail.forget();
        self.release_cache();
    }

    fn usage(&self) -> MemoryUsage {
        self.pool.usage()
    }
}
