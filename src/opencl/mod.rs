//! The OpenCL backend, and the only place that names `ocl`.

pub(crate) mod codegen;
mod discover;
#[cfg(test)]
mod kernels;
pub(crate) mod launch;
mod mail;
mod memory;
pub(crate) mod notes;
mod partition;
#[cfg(target_os = "linux")]
pub(crate) mod peer;
#[cfg(not(target_os = "linux"))]
#[path = "peer/elsewhere.rs"]
pub(crate) mod peer;
mod point;
pub(crate) mod program;
mod quirks;
pub(crate) mod stream;
pub(crate) mod watch;

pub(crate) use discover::discover;
pub(crate) use launch::Launch;
pub(crate) use memory::{ClBlock, GuardedBlock};
pub(crate) use point::{Maker, Point};

use crate::device::{DeviceInfo, DeviceKind};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use ocl::core::{self, CommandQueue, Context, DeviceId, Event, PlatformId};
use program::Programs;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

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
    /// Whether the cache that all units share has room for a few hundred KiB a unit.
    pub large_cache: bool,
    runtime: OnceLock<Result<Runtime>>,
    pool: Pool<Box<ClBlock>>,
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
    pub mail: mail::Mail,
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
    /// Calls that block return early at times; waiting for events is reliable.
    waits_by_event: bool,
}

impl ClDevice {
    pub fn new(
        id: DeviceId,
        platform: PlatformId,
        platform_version: String,
        info: &DeviceInfo,
        launch_kind: DeviceKind,
    ) -> ClDevice {
        let maker = Maker::of(info);
        ClDevice {
            id,
            platform,
            info: info.clone(),
            launch_kind,
            maker,
            platform_version,
            point: Point::of(info, launch_kind, maker),
            large_cache: point::large_cache(id, maker),
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
            mail: mail::Mail::default(),
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

    /// Whether the compiler takes NVIDIA's assembly in OpenCL C.
    pub fn takes_ptx(&self) -> bool {
        self.info.platform.contains("NVIDIA CUDA")
    }

    /// Names the driver: what is measured or checked under one may not hold under another.
    pub fn driver(&self) -> String {
        format!("{}, {}", self.platform_version, self.info.driver)
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
                waits_by_event: quirks::blocking_returns_early(&self.info),
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
        self.finish_queue(&self.compute)?;
        self.finished.fetch_max(issued, Ordering::AcqRel);
        Ok(())
    }

    /// Waits for all that a queue was given until now.
    fn finish_queue(&self, queue: &CommandQueue) -> core::Result<()> {
        if !self.waits_by_event {
            return core::finish(queue);
        }
        self.blocking(|_, event| {
            core::enqueue_marker_with_wait_list(queue, None::<&Event>, event, None)
        })
    }

    /// Enqueues a command and returns when it has finished. The command is told whether to block, and the
    /// event to give.
    fn blocking<T>(
        &self,
        enqueue: impl FnOnce(bool, Option<&mut Event>) -> core::Result<T>,
    ) -> core::Result<T> {
        if !self.waits_by_event {
            return enqueue(true, None);
        }
        let mut event = Event::null();
        let made = enqueue(false, Some(&mut event))?;
        core::wait_for_event(&event)?;
        Ok(made)
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
