//! The link between GPUs that load from and store to each other's memory: whole collectives as one
//! kernel a member, with no host in between. Kernels: `cl/peer.cl`, `cl/peer_windows.cl`.
//!
//! Where members reach each other's arrays, the arrays are arguments of every member's kernel, and
//! nothing is copied into or out of them. That is memory which a device made since it became a peer, of
//! [`SMALLEST`](crate::opencl::peer::SMALLEST) bytes and more; all else goes through windows ([`pass`]).
//! Results are ordered by the queues: whatever a member's device does next finds them there.
//!
//! A member that does not come is waited for as long as the call says, then all kernels end, and
//! [`Team::check`] and every later call tell it.

pub(crate) mod call;
mod hands;
mod launch;
mod long;
mod note;
mod pass;
mod probe;
pub(crate) mod text;

pub(crate) use call::{Call, Slot};

use crate::backend::Buffer;
use crate::device::{Backing, Device};
use crate::error::{Error, Result};
use crate::opencl::{ClDevice, Maker, peer::SMALLEST};
use hands::Hands;
use ocl::core::Mem;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use text::Windows;

/// GPUs whose memory each of them reaches.
pub(crate) struct Team {
    devices: Vec<Device>,
    /// Each member's control block; what lies where is in `cl/peer.cl`.
    controls: Vec<Buffer>,
    window: Windows,
    /// An all_reduce of so many bytes goes through windows and back in one kernel.
    long_bytes: usize,
    /// Members' control blocks as a member sees them.
    seen_controls: OnceLock<Vec<Vec<Option<Mem>>>>,
    hands: Hands,
    /// Memory that others fill for this member; see [`pass`].
    windows: OnceLock<Vec<Buffer>>,
    state: Mutex<State>,
}

struct State {
    /// Calls so far: what flags count.
    calls: u64,
    /// Short calls so far.
    short_calls: u32,
    /// Rounds through windows so far.
    rounds: u64,
    /// Collectives handed over so far, and how many of them are known to have succeeded.
    handed: u64,
    checked: u64,
    /// Why the team is of no use any more.
    broken: Option<Error>,
}

/// Bytes of a control block before its slots: `CLAN_SLOTS` words.
const FLAGS_BYTES: usize = 8 * 5120;
/// Where a member notes the call that failed: `CLAN_STATUS`.
const STATUS_AT: usize = 8 * 528;

/// [`Team::long_bytes`]. Four H200, GB/s there and back in one kernel, and by loads beside stores:
/// 4 MiB 92 and 87, 16 MiB 180 and 166, 64 MiB 219 and 199, 256 MiB 227 and 211.
const LONG_BYTES: usize = 4 << 20;

/// Most bytes that are combined by sending all to all.
const SHORT_BYTES: usize = 64 << 10;
/// Units of eight bytes in a slot for such a call.
const SLOT_UNITS: usize = SHORT_BYTES / 8;

/// 128 MiB of windows a member, or less.
///
/// A group that waits or empties its windows sends nothing: with two in a compute unit the other one does.
/// Two H200, 1 GiB, GB/s into each of all_gather, all_to_all and reduce_scatter by lines × groups:
/// 8192 × 128 335, 325, 317; 16384 × 128 341, 338, 322; 2048 × 256 319, 318, 316; 4096 × 256 356, 355,
/// 355; 8192 × 256 354, 354, 355. Four, all_gather by one in a unit: 1024 × 128 231, 4096 × 64 276,
/// 4096 × 128 318, 8192 × 128 327, 16384 × 64 309. All_reduce of 256 MiB is the same by all of them.
fn windows_of(members: usize) -> Windows {
    match members {
        // With more, two groups a unit have not been measured, and their registers do not hold all pointers.
        ..=2 => Windows { lines: 4096, groups: 256, close: true },
        _ => Windows { lines: (32768 / members).min(8192), groups: 128, close: false },
    }
}

fn control_bytes(members: usize) -> usize {
    // Two sets of a slot for each member; a unit and its flags take 16 bytes.
    FLAGS_BYTES + 2 * members * SLOT_UNITS * 16
}

fn opencl(device: &Device) -> Option<&ClDevice> {
    match device.backing() {
        Backing::OpenCl(cl) => Some(cl),
        _ => None,
    }
}

fn distinct(devices: &[Device]) -> bool {
    (1..devices.len()).all(|i| !devices[..i].contains(&devices[i]))
}

impl Team {
    /// Whether these may be a team; if so, memory that their devices make from now on can be reached.
    pub fn make_reachable(devices: &[Device]) -> bool {
        if !distinct(devices) || !(2..=text::MOST).contains(&devices.len()) {
            return false;
        }
        // The kernels' flags need what only NVIDIA's compiler is known to have.
        let nvidia = |cl: &ClDevice| cl.maker == Maker::Nvidia;
        devices.iter().all(|d| opencl(d).is_some_and(nvidia))
            && devices.iter().all(|d| opencl(d).is_some_and(ClDevice::make_reachable))
    }

    /// A team of these members, if each of them reaches the memory of all others: which is tried.
    pub fn open(devices: &[Device]) -> Option<Team> {
        if !Team::make_reachable(devices) {
            return None;
        }
        let members: Vec<&ClDevice> = devices.iter().map(opencl).collect::<Option<_>>()?;
        let reach = |a: &ClDevice| members.iter().all(|b| std::ptr::eq(a, *b) || a.reaches(b));
        if !members.iter().all(|a| reach(a)) {
            log::debug!("not all of {devices:?} reach each other's memory");
            return None;
        }
        match Team::new(devices).and_then(|team| probe::proven(&team).map(|sound| (team, sound))) {
            Ok((team, true)) => Some(team),
            Ok((_, false)) => {
                log::warn!(
                    "{devices:?} reach each other's memory, but what one wrote another did not read: they go through the host"
                );
                None
            }
            Err(e) => {
                log::warn!("{devices:?} do not share memory and go through the host: {e}");
                None
            }
        }
    }

    fn new(devices: &[Device]) -> Result<Team> {
        let bytes = control_bytes(devices.len());
        let mut controls = Vec::new();
        for device in devices {
            let mut control = Buffer::new(device, bytes.max(SMALLEST))?;
            // Memory of the pool has old contents, which may be flags.
            control.upload(0, &vec![0; bytes])?;
            controls.push(control);
        }
        let state =
            State { calls: 0, short_calls: 0, rounds: 0, handed: 0, checked: 0, broken: None };
        let windows = OnceLock::new();
        let window = windows_of(devices.len());
        // Kernels in one queue keep the order of the members.
        let hands =
            if distinct(devices) { Hands::new(devices.len()) } else { Hands::with_threads(0) };
        Ok(Team {
            devices: devices.to_vec(),
            controls,
            seen_controls: OnceLock::new(),
            hands,
            window,
            long_bytes: LONG_BYTES,
            windows,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The members.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// How many there are.
    pub fn members(&self) -> usize {
        self.devices.len()
    }
}

#[cfg(test)]
mod tests;
