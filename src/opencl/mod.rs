//! The OpenCL backend, and the only place that names `ocl`.

pub(crate) mod codegen;
mod discover;
#[cfg(test)]
mod kernels;
pub(crate) mod launch;
pub(crate) mod notes;
mod partition;
#[cfg(target_os = "linux")]
pub(crate) mod peer;
#[cfg(not(target_os = "linux"))]
#[path = "peer/elsewhere.rs"]
pub(crate) mod peer;
pub(crate) mod program;
mod quirks;
pub(crate) mod stream;
pub(crate) mod watch;

pub(crate) use discover::discover;
pub(crate) use launch::Launch;

use crate::backend::{Backend, Memory, MemoryUsage};
use crate::device::{DeviceInfo, DeviceKind};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use ocl::core::{self, CommandQueue, Context, DeviceId, Event, Mem, MemFlags, PlatformId};
use program::Programs;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// One OpenCL device: its context and queues (made at first use), memory pool and programs.
pub(crate) struct ClDevice {
    id: DeviceId,
    platform: PlatformId,
    pub info: DeviceInfo,
    /// The kind of processor that kernels are chosen and shaped for: the device's own, or what
    /// `CLAN_ASSUME_KIND` says. Memory goes by `info.kind`.
    pub launch_kind: DeviceKind,
    pub maker: Maker,
    /// Names the driver in the keys of the disk cache.
    pub platform_version: String,
    pub point: Point,
    runtime: OnceLock<Result<Runtime>>,
    pool: Pool<ClBlock>,
    /// Once set, large blocks are made so that other devices can reach them.
    exporter: OnceLock<peer::Exporter>,
    event_per_launch: bool,
    /// Tells programs from those of others of the same name where the driver mixes them up.
    twin: usize,
    pub programs: Programs,
    /// Points that the tuner found, read from disk at first use.
    pub tuned: OnceLock<crate::tune::Table>,
    /// What was found out about the device by trying, by name.
    probes: Mutex<HashMap<&'static str, bool>>,
    streams: stream::Streams,
    watch: watch::Watch,
    pub notes: notes::Notes,
}

/// How element-wise and reducing kernels are shaped for a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Work-items in a work-group.
    pub group: usize,
    /// Bytes that a work-item loads at once; 0 for one element.
    pub vector_bytes: usize,
    /// Loads in flight a work-item.
    pub unroll: usize,
    /// Work-groups that fill the device.
    pub groups: usize,
}

/// What a trial says about what was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Works,
    /// Results are right, but so many groups had to do the work of others, which did not run in time.
    Late(u32),
    Wrong,
}

impl Verdict {
    pub fn of(right: bool) -> Verdict {
        if right { Verdict::Works } else { Verdict::Wrong }
    }

    pub fn with_late(late: u32) -> Verdict {
        if late == 0 { Verdict::Works } else { Verdict::Late(late) }
    }
}

/// Who made a device, as far as defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Nvidia,
    Intel,
    Other,
}

impl Maker {
    fn of(info: &DeviceInfo) -> Maker {
        let names = format!("{} {}", info.vendor, info.platform).to_lowercase();
        match () {
            () if names.contains("nvidia") => Maker::Nvidia,
            () if names.contains("intel") => Maker::Intel,
            () => Maker::Other,
        }
    }
}

impl Point {
    /// What the text of a program depends on.
    pub fn key(&self, key: &mut Vec<u8>) {
        key.extend((self.group as u16).to_le_bytes());
        key.extend([self.vector_bytes as u8, self.unroll as u8]);
    }
}

/// Both queues run in order. What one writes and the other uses is ordered by events.
pub(crate) struct Runtime {
    pub context: Context,
    compute: CommandQueue,
    transfer: CommandQueue,
    /// Commands given to the compute queue so far: a command's position is this number after it
    /// was enqueued, so all commands up to the number are in the queue.
    issued: AtomicU64,
    /// Commands up to this position have finished.
    finished: AtomicU64,
}

/// The last uses of a block by the compute queue, as positions in it. Commands of the transfer
/// queue block, so they leave no mark. Since the queue runs in order, the last use stands for all
/// before it.
///
/// Positions instead of events: a launch with an event costs NVIDIA's driver twice as much
/// (see `Runtime::event_after`).
#[derive(Clone, Copy, Default)]
pub(crate) struct History {
    write: u64,
    read: u64,
    /// The operation that wrote, for the message when it turns out to have failed.
    op: Option<&'static str>,
}

/// A block of device memory. Goes back to the pool with its history: the next user waits on it
/// where another queue is involved.
pub(crate) struct ClBlock {
    mem: Mem,
    size: usize,
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

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubts(&self) -> MutexGuard<'_, notes::Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Several threads may note their uses of one block, parts of which belong to each: the latest
    /// position counts, whoever notes it first.
    fn after_read(&self, position: u64) {
        let mut history = self.history();
        history.read = history.read.max(position);
    }

    fn after_write(&self, position: u64, op: &'static str) {
        let mut history = self.history();
        if position > history.write {
            (history.write, history.op) = (position, Some(op));
        }
    }
}

impl ClDevice {
    pub fn new(
        id: DeviceId,
        platform: PlatformId,
        platform_version: String,
        info: &DeviceInfo,
        launch_kind: DeviceKind,
    ) -> ClDevice {
        // Trees, tiles and lanes divide groups by powers of two.
        let group = 1 << info.max_work_group.clamp(1, 256).ilog2();
        let units = info.compute_units.max(1);
        let maker = Maker::of(info);
        // What Intel counts are vector engines of eight threads of 16 work-items; not measured.
        let a_unit = if maker == Maker::Intel { 4 } else { 16 };
        // H200, 2^28 f32, GB/s, unroll 1 / 2 / 4: a*x+y 4370 / 4347 / 4306, x+1 4227 / 4076 / 4034;
        // groups of 512 instead of 256: within 1 %.
        let point = match launch_kind {
            // A CPU vectorises across the work-items of a group; explicit vectors hinder it.
            DeviceKind::Cpu => Point { group, vector_bytes: 0, unroll: 1, groups: units * 8 },
            _ => Point { group, vector_bytes: 16, unroll: 1, groups: units * a_unit },
        };
        ClDevice {
            id,
            platform,
            info: info.clone(),
            launch_kind,
            maker,
            platform_version,
            point,
            runtime: OnceLock::new(),
            // A GPU's memory has no other use while the program runs, so all of it may be kept; a
            // CPU's memory belongs to others.
            pool: Pool::new(match info.kind {
                DeviceKind::Cpu => crate::host::CACHE_LIMIT,
                _ => usize::MAX,
            }),
            exporter: OnceLock::new(),
            event_per_launch: quirks::event_per_launch(info),
            twin: quirks::twin(info),
            programs: Programs::default(),
            tuned: OnceLock::new(),
            probes: Mutex::default(),
            streams: stream::Streams::default(),
            watch: watch::Watch::default(),
            notes: notes::Notes::default(),
        }
    }

    /// Whether `try_it` found something to work, such as kernels that OpenCL does not promise to: it runs
    /// once for each name unless two threads ask at a time.
    pub fn probe(&self, name: &'static str, try_it: impl FnOnce() -> Result<Verdict>) -> bool {
        let probes = || self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = probes().get(name) {
            return known;
        }
        // No lock is held meanwhile: trying launches kernels.
        let verdict = try_it();
        let device = &self.info.name;
        match &verdict {
            Ok(Verdict::Works) => log::debug!("{device}: {name} works"),
            Ok(Verdict::Late(n)) => {
                log::info!("{device}: {name} is not used: {n} groups did not run in time");
            }
            Ok(Verdict::Wrong) => log::warn!("{device}: {name} is wrong, and not used"),
            Err(e) => log::info!("{device}: {name} does not run: {e}"),
        }
        let answer = matches!(verdict, Ok(Verdict::Works));
        probes().insert(name, answer);
        answer
    }

    /// Names the driver: what is measured or checked under one may not hold under another.
    pub fn driver(&self) -> String {
        format!("{}, {}", self.platform_version, self.info.driver)
    }

    /// The point for element-wise kernels that load one element at a time.
    ///
    /// H200, matrix + row of 2^28 f32, GB/s, unroll 1 / 2 / 4: 2576 / 3709 / 4174.
    pub fn scalar_point(&self) -> Point {
        match self.launch_kind {
            DeviceKind::Cpu => self.point,
            _ => Point { unroll: 4, ..self.point },
        }
    }

    /// The point for reductions: on a CPU one work-item walks a stretch of its own.
    ///
    /// H200, 2^28 f32, GB/s, unroll 1 / 2 / 4: sum 4320 / 4396 / 4412, argmax 4288 / 4377 / 4390,
    /// sum of rows 4329 / 4525 / 4574, of columns 4179 / 4213 / 4219. Groups a compute unit
    /// 8 / 16 / 32: sum 4196 / 4412 / 4319, of columns 4332 / 4219 / 4067.
    pub fn reduce_point(&self) -> Point {
        match self.launch_kind {
            DeviceKind::Cpu => Point { group: 1, vector_bytes: 64, unroll: 1, ..self.point },
            _ => Point { unroll: 4, ..self.point },
        }
    }

    /// The point for reductions of columns, `tall` ones of 1,024 and more elements.
    ///
    /// H200, sums of f32, GB/s by groups of 256 and of 1024 with loads of 8 bytes and one group a
    /// compute unit: 2^22 × 8 168 and 708, 2^20 × 64 385 and 2878, 2^17 × 1000 2209 and 4002,
    /// 16384 × 16384 4245 and 4485, 4096 × 65536 4369 and 4375, 64 × 2^20 3792 and 1367.
    pub fn columns_point(&self, tall: bool) -> Point {
        let units = self.info.compute_units.max(1);
        match (self.launch_kind, self.maker) {
            (DeviceKind::Cpu, _) => self.reduce_point(),
            (_, Maker::Nvidia) if tall && self.info.max_work_group >= 1024 => {
                Point { group: 1024, vector_bytes: 8, unroll: 4, groups: units }
            }
            _ => self.reduce_point(),
        }
    }

    pub fn runtime(&self) -> Result<&Runtime> {
        let made = self.runtime.get_or_init(|| {
            // Absurd settings are told before the first work rather than ignored.
            crate::env::cache_dir()?;
            crate::env::assume_kind()?;
            let properties = core::ContextProperties::new().platform(self.platform);
            let context = core::create_context(Some(&properties), &[self.id], None, None)
                .map_err(|e| failure("context", "clCreateContext", &e))?;
            let queue = || {
                core::create_command_queue(&context, self.id, None)
                    .map_err(|e| failure("context", "clCreateCommandQueue", &e))
            };
            let (compute, transfer) = (queue()?, queue()?);
            Ok(Runtime {
                context,
                compute,
                transfer,
                issued: AtomicU64::new(0),
                finished: AtomicU64::new(0),
            })
        });
        made.as_ref().map_err(Error::clone)
    }

    /// Local memory that a kernel may use, in bytes.
    pub fn local_bytes(&self) -> u64 {
        quirks::usable_local(&self.info)
    }

    /// Elements that a work-item may walk over, for every one of them may be a round of a loop. Half
    /// of what the driver bears.
    pub fn loop_rounds(&self) -> usize {
        quirks::loop_rounds(&self.info).map_or(usize::MAX, |n| n / 2)
    }

    /// Whether there is such a limit at all.
    pub fn short_loops(&self) -> bool {
        quirks::loop_rounds(&self.info).is_some()
    }

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
        core::finish(&runtime.compute).map_err(|e| failure("tune", "clFinish", &e))?;
        crate::tune::guard::note(GuardedBlock { whole, band, bytes });
        Ok(Memory::Cl(ClBlock::new(mem, 0, None)))
    }

    /// The bytes before and after a buffer with guard bands, once all work has finished.
    pub fn read_bands(&self, block: &GuardedBlock) -> Result<[Vec<u8>; 2]> {
        let runtime = self.runtime()?;
        let read = |at: usize| {
            let mut band = vec![0; block.band];
            // SAFETY: the call blocks until `band` is filled, from a range inside the buffer.
            unsafe {
                core::enqueue_read_buffer(
                    &runtime.compute,
                    &block.whole,
                    true,
                    at,
                    &mut band,
                    None::<&Event>,
                    None::<&mut Event>,
                )
            }
            .map_err(|e| failure("tune", "clEnqueueReadBuffer", &e))?;
            Ok(band)
        };
        Ok([read(0)?, read(block.band + block.bytes)?])
    }

    /// Frees the cache once nothing in flight uses it.
    fn release_cache(&self) {
        if let Err(e) = self.wait() {
            log::debug!("{}: {e}", self.info.name);
        }
        drop(self.pool.drain());
    }

    fn out_of_memory(&self, op: &'static str, bytes: usize) -> Error {
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
    fn read(&self, block: &ClBlock, offset: usize, dst: &mut [u8]) -> Result<()> {
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
        let done = unsafe {
            core::enqueue_read_buffer(
                queue,
                &block.mem,
                true,
                offset,
                dst,
                wait.as_ref(),
                None::<&mut Event>,
            )
        };
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

impl Runtime {
    /// Notes one more command in the compute queue, after it was enqueued.
    fn issue(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// An event for the transfer queue to wait on: the compute queue has passed `position`.
    fn event_after(&self, position: u64) -> Result<Option<Event>> {
        if position <= self.finished.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut event = Event::null();
        core::enqueue_marker_with_wait_list(&self.compute, None::<&Event>, Some(&mut event), None)
            .and_then(|()| core::flush(&self.compute))
            .map_err(|e| failure("wait", "clEnqueueMarkerWithWaitList", &e))?;
        Ok(Some(event))
    }

    /// Waits for the compute queue.
    fn finish(&self) -> core::Result<()> {
        let issued = self.issued.load(Ordering::Acquire);
        core::finish(&self.compute)?;
        self.finished.fetch_max(issued, Ordering::AcqRel);
        Ok(())
    }
}

fn block(memory: &Memory) -> &ClBlock {
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
        Ok(Memory::Cl(block))
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
        let done = unsafe {
            core::enqueue_write_buffer(
                &runtime.transfer,
                &block.mem,
                true,
                offset,
                src,
                wait.as_ref(),
                None::<&mut Event>,
            )
        };
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
            .and_then(|()| core::finish(&runtime.transfer))
            .and_then(|()| self.finish_streams())
            .map_err(|e| failure("wait", "clFinish", &e))
    }

    fn trim(&self) {
        self.trim_streams();
        self.release_cache();
    }

    fn usage(&self) -> MemoryUsage {
        self.pool.usage()
    }
}

/// The same of a status that did not come through `ocl`.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing is imported there"))]
fn is_out_of_memory_code(status: i32) -> bool {
    // CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY
    matches!(status, -6..=-4)
}

fn is_out_of_memory(e: &core::Error) -> bool {
    use core::Status::{
        CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES,
    };
    matches!(
        e.api_status(),
        Some(CL_MEM_OBJECT_ALLOCATION_FAILURE | CL_OUT_OF_RESOURCES | CL_OUT_OF_HOST_MEMORY)
    )
}

/// What the driver said, as an error of `op`.
pub(crate) fn failure(op: &'static str, call: &'static str, e: &core::Error) -> Error {
    let status = e.api_status().map_or_else(|| e.to_string(), |s| format!("{s:?} ({})", s as i32));
    #[cfg(feature = "loader")]
    let status = match clan_opencl_loader::take_raw_status() {
        Some(raw) => format!("{status}, in truth status {raw}"),
        None => status,
    };
    Error::new(ErrorKind::Driver, op, format!("{call} answered {status}"))
}
