//! Which algorithm a call takes, from what the links between the members' devices are worth.
//!
//! A pair of devices is measured once, when its group first has to choose: a few milliseconds. Schedules
//! are timed by the [`clock`](super::clock); the hub, which is no schedule, by what passes through the
//! host's memory.

use super::clock::{self, Link, Machine, Timing};
use super::cut::Counts;
use super::hub;
use super::schedule::{Algorithm, Collective, Schedule};
use super::{Group, Settings};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::error::Result;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What was measured, by the positions of two devices. Groups that come from one share it.
#[derive(Default)]
pub(crate) struct Links {
    known: Mutex<HashMap<(usize, usize), Link>>,
}

/// What was chosen: by collective, size class and whether the order counts.
pub(super) type Choices = Mutex<HashMap<(Collective, u32, bool), Algorithm>>;

/// Bytes of the large transfer.
const LARGE: usize = 4 << 20;

/// For pairs that cannot be measured; their calls will say why.
const UNKNOWN: Link = Link { latency: 50e-6, bandwidth: 5e9 };

impl Links {
    /// The link between two devices, measured when it is not known.
    fn between(&self, a: &Device, b: &Device, patience: Duration) -> Link {
        // Both directions of a pair are about the same.
        let key = (a.index().min(b.index()), a.index().max(b.index()));
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&link) = known().get(&key) {
            return link;
        }
        // Measured without a lock: twice at worst.
        let link = measure(a, b, patience).unwrap_or_else(|e| {
            log::debug!("the link from {a} to {b} cannot be measured: {e}");
            UNKNOWN
        });
        log::debug!(
            "from {a} to {b}: {:.1} µs, {:.2} GB/s",
            link.latency * 1e6,
            link.bandwidth / 1e9
        );
        *known().entry(key).or_insert(link)
    }
}

fn measure(a: &Device, b: &Device, patience: Duration) -> Result<Link> {
    let group = Group::of(vec![a.clone(), b.clone()], Settings::new())?;
    let group = group.with_deadline(patience);
    let best = |bytes: usize, times: usize| -> Result<f64> {
        let x = DeviceArray::<u8>::zeros(a, bytes)?;
        a.wait()?;
        let mut best = f64::INFINITY;
        for _ in 0..times {
            let start = Instant::now();
            group.send(&x, 0, 1)?.finish()?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    };
    let latency = best(64, 4)?;
    let large = best(LARGE, 3)?;
    Ok(Link { latency, bandwidth: LARGE as f64 / (large - latency).max(1e-6) })
}

impl Group {
    /// The algorithm for a call, with what it is expected to take.
    pub(super) fn choose(
        &self,
        collective: Collective,
        counts: &Counts,
        size: usize,
        ordered: bool,
    ) -> Algorithm {
        if self.len() == 1 {
            return Schedule::candidates(collective, 1).first().copied().unwrap_or(Algorithm::Star);
        }
        if self.has_peers() {
            return Algorithm::Peer;
        }
        // In one memory nothing beats touching every element once; links that are measured one by one look
        // as if they could all be busy at a time.
        if self.members().iter().all(Device::is_host) {
            return Algorithm::Hub;
        }
        let bytes = counts.total().saturating_mul(size);
        // Sizes within a factor of the square root of 2 are one class.
        let class = (bytes.max(1) as f64).log2().mul_add(2.0, 0.5) as u32;
        let key = (collective, class, ordered);
        let chosen = || self.shared.choices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&algorithm) = chosen().get(&key) {
            return algorithm;
        }
        let schedule = self.timed(collective, bytes, ordered);
        let hub = self.hub_seconds(collective, counts, size);
        let algorithm = match schedule {
            Some((algorithm, timing)) if timing.seconds < hub => algorithm,
            _ => Algorithm::Hub,
        };
        chosen().insert(key, algorithm);
        algorithm
    }

    /// A link, measured when it is not known; a device that does not answer holds nobody up for long.
    fn link(&self, a: &Device, b: &Device) -> Link {
        self.settings.links.between(a, b, self.settings.deadline.min(Duration::from_secs(2)))
    }

    /// The best schedule.
    fn timed(
        &self,
        collective: Collective,
        bytes: usize,
        ordered: bool,
    ) -> Option<(Algorithm, Timing)> {
        self.on_machine(|machine| clock::pick(collective, self.len(), bytes, ordered, machine))
    }

    /// The machine that the members are.
    pub(super) fn on_machine<R>(&self, f: impl FnOnce(&Machine<'_>) -> R) -> R {
        let (p, members) = (self.len(), self.members());
        let mut links = vec![UNKNOWN; p * p];
        for a in 0..p {
            for b in 0..p {
                let mut link = self.link(&members[a], &members[b]);
                // Whatever is not within one device shares the memory of the host.
                if members[a] != members[b] || members[a].is_host() {
                    link.bandwidth /= (p as f64 / 2.0).max(1.0);
                }
                links[a * p + b] = link;
            }
        }
        // What combines at most as fast as it copies.
        let own = members.iter().map(|d| self.link(d, d).bandwidth);
        let combine = own.fold(f64::INFINITY, f64::min);
        f(&Machine { link: &|a, b| links[a * p + b], combine })
    }

    /// What the hub takes: the latencies of both ways, and the slowest of what comes down, what is
    /// combined and what goes up, which all happen at once.
    pub(super) fn hub_seconds(&self, collective: Collective, counts: &Counts, size: usize) -> f64 {
        let host = Device::host();
        let memory = self.link(&host, &host);
        let mut latency = [memory.latency, 0.0];
        let (mut ways, mut touched) = ([0.0; 2], 0.0);
        for item in hub::items(collective, self.len(), counts) {
            let bytes = (item.len * size) as f64;
            let sources = item.sources.iter().map(|s| (0, s.0));
            for (way, member) in sources.chain(item.targets.iter().map(|t| (1, t.member))) {
                touched += bytes;
                let device = &self.members()[member];
                if !device.is_host() {
                    let link = self.link(device, &host);
                    ways[way] += bytes / link.bandwidth;
                    latency[way] = f64::max(latency[way], link.latency);
                }
            }
        }
        // A copy touches every byte twice.
        let combined = touched / (2.0 * memory.bandwidth);
        latency[0] + latency[1] + combined.max(ways[0]).max(ways[1])
    }

    /// Kernels that load from each other's memory: 30 µs until all have come and gone, then the bytes that
    /// come to the member that gets the most, at 340 GB/s. Measured on four H200.
    fn peer_timing(&self, collective: Collective, counts: &Counts, size: usize) -> Timing {
        use Collective as C;
        let (p, all) = (self.len() as f64, (counts.total() * size) as f64);
        let others = all * (p - 1.0) / p;
        let bytes = match collective {
            C::AllReduce => 2.0 * others,
            C::ReduceScatter | C::AllGather | C::AllToAll | C::Gather { .. } => others,
            C::Scatter { .. } => all / p,
            C::Broadcast { .. } | C::Reduce { .. } => all,
            C::Scan | C::ExclusiveScan => all * (p - 1.0),
        };
        Timing { seconds: 30e-6 + bytes / 340e9, messages: self.len() - 1, bytes }
    }

    /// What an algorithm is expected to take.
    pub(super) fn predict(
        &self,
        collective: Collective,
        algorithm: Algorithm,
        counts: &Counts,
        size: usize,
    ) -> Option<Timing> {
        if algorithm == Algorithm::Hub {
            let seconds = self.hub_seconds(collective, counts, size);
            return Some(Timing { seconds, messages: 1, bytes: (counts.total() * size) as f64 });
        }
        if algorithm == Algorithm::Peer {
            return self.has_peers().then(|| self.peer_timing(collective, counts, size));
        }
        let schedule = Schedule::new(collective, algorithm, self.len())?;
        let bytes = counts.total() * size;
        Some(self.on_machine(|machine| clock::simulate(&schedule, bytes, machine)))
    }
}
