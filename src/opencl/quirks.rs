//! Known faults of drivers, as data: who, what, and the evidence.

use crate::device::{DeviceInfo, DeviceKind};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

struct Quirk {
    /// Part of the platform's name.
    platform: &'static str,
    effect: Effect,
    /// What was seen, and where.
    evidence: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Effect {
    /// The device is not listed.
    Unusable,
    /// A kernel may use this many bytes less local memory than reported.
    LocalReserve(u64),
    /// Launches without an event keep their buffers forever.
    EventPerLaunch,
    /// Devices of one name must not have equal programs.
    MixesTwins,
    /// A call that blocks may return before its command has finished.
    BlocksTooShort,
    /// On a CPU all loops of a work-item end, without a word, after so many rounds together.
    LoopRounds(usize),
}

const QUIRKS: &[Quirk] = &[
    Quirk {
        platform: "Clover",
        effect: Effect::Unusable,
        evidence: "Mesa's Clover was removed in Mesa 25.2 in favour of rusticl; it lacks OpenCL 1.2 features",
    },
    Quirk {
        platform: "NVIDIA CUDA",
        effect: Effect::LocalReserve(1024),
        evidence: "580.159 on H200 reports 48 KiB; a kernel with all 48 KiB fails with CL_OUT_OF_RESOURCES, 47.5 KiB works",
    },
    Quirk {
        platform: "AMD Accelerated Parallel Processing",
        effect: Effect::EventPerLaunch,
        evidence: "ocl issue 94: memory of kernels enqueued without an event is not freed",
    },
    Quirk {
        platform: "Portable Computing Language",
        effect: Effect::MixesTwins,
        evidence: "PoCL 3.1: three equal devices in tests/threads.rs, without this row: 11 of 40 runs end with Assertion `found->ref_count > 0' in pocl_release_dlhandle_cache, with it none of 40. By its source: loaded kernels of equal devices are in one list, found by the program and the size of the group, but with one entry for each longer range, so that two that run at a time give back each other's",
    },
    Quirk {
        platform: "rusticl",
        effect: Effect::BlocksTooShort,
        evidence: "Mesa 22.3.6, four threads that send arrays of 3,001 u16 to it and back (tests/threads.rs): without this row 13 of 40 runs read stale numbers or die of a broken heap, for reads went on after the call; with it none of 100. By its source: clFinish and blocking calls wait for the newest command that they themselves hand over, and there is none when another thread has flushed the queue in between; later versions remember the last",
    },
    Quirk {
        platform: "rusticl",
        effect: Effect::LoopRounds(65_536),
        evidence: "llvmpipe of Mesa 22.3.6: a sum of 60 Mi f32 by 64 work-items in vectors of 16 gives 1929.8 in place of 256.3; triangular systems likewise",
    },
];

fn of(info: &DeviceInfo) -> impl Iterator<Item = &'static Quirk> {
    let platform = info.platform.clone();
    QUIRKS.iter().filter(move |q| platform.contains(q.platform))
}

/// Why the device must not be used.
pub(crate) fn unusable(info: &DeviceInfo) -> Option<&'static str> {
    of(info).find(|q| q.effect == Effect::Unusable).map(|q| q.evidence)
}

/// Local memory that a kernel may really use, in bytes.
pub(crate) fn usable_local(info: &DeviceInfo) -> u64 {
    let reserve = of(info).find_map(|q| match q.effect {
        Effect::LocalReserve(n) => Some(n),
        _ => None,
    });
    info.memory.local_bytes.saturating_sub(reserve.unwrap_or(0))
}

/// Rounds that the loops of a work-item may have together, where that is limited.
pub(crate) fn loop_rounds(info: &DeviceInfo) -> Option<usize> {
    of(info).find_map(|q| match q.effect {
        Effect::LoopRounds(n) if info.kind == DeviceKind::Cpu => Some(n),
        _ => None,
    })
}

/// Whether one must wait for an event instead of having a call block.
pub(crate) fn blocking_returns_early(info: &DeviceInfo) -> bool {
    of(info).any(|q| q.effect == Effect::BlocksTooShort)
}

/// Whether every launch needs an event.
pub(crate) fn event_per_launch(info: &DeviceInfo) -> bool {
    of(info).any(|q| q.effect == Effect::EventPerLaunch)
}

/// A number that tells the programs of a device from those of others of its name, where they must differ.
pub(crate) fn twin(info: &DeviceInfo) -> usize {
    static SEEN: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    if !of(info).any(|q| q.effect == Effect::MixesTwins) {
        return 0;
    }
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let count = seen.entry(format!("{}\0{}", info.platform, info.name)).or_default();
    *count += 1;
    *count - 1
}
