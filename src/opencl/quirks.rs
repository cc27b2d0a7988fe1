//! Known faults of drivers, as data: who, what, and the evidence.

use crate::device::DeviceInfo;

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

/// Whether every launch needs an event.
pub(crate) fn event_per_launch(info: &DeviceInfo) -> bool {
    of(info).any(|q| q.effect == Effect::EventPerLaunch)
}
