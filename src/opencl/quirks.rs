//! Known faults of drivers, as data: who, what, and the evidence.

use crate::device::{DeviceInfo, DeviceKind};

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

/// Whether every launch needs an event.
pub(crate) fn event_per_launch(info: &DeviceInfo) -> bool {
    of(info).any(|q| q.effect == Effect::EventPerLaunch)
}
