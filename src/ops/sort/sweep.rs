//! Sorts in one pass a digit, on NVIDIA. Kernels: `cl/sort_sweep.cl`.

use super::opencl::{Load, Turns, types};
use super::{Order, Payload, Sorting};
use crate::array::DeviceArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Scalar};
use crate::error::Result;
use crate::expr::node::Operand;
use crate::opencl::program::Program;
use crate::opencl::{ClDevice, Launch, Point, Verdict, codegen};
use crate::ops::scan::{self, Join};
use std::sync::Arc;

/// The kernels' text.
const SOURCE: &str = include_str!("../../../cl/sort_sweep.cl");

/// Work-items of a group, without and with a payload, and bytes of keys or values of each.
///
/// H200, `u32`, thousands of millions a second, groups of 256 × 16 / 384 × 16 / 384 × 20 / 384 × 24 /
/// 512 × 16 / 512 × 20 keys, 2^28 of them: 40.8 / 37.5 / 42.1 / 30.8 / 42.2 / 32.5. With `u32` values,
/// passes alone over 2^26, 256 × 20 / 384 × 20 / 512 × 16: 23.9 / 20.1 / 21.7; values loaded after the
/// wait for other groups 19.9 and 20.5 of the last two. Peers found by ballots and by one `match.any`:
/// 40.2 and 22.3.
const GROUP: usize = 384;
const GROUP_WITH_LOADS: usize = 256;
const BYTES: usize = 80;

/// Groups a compute unit that count digits.
const COUNTING: usize = 4;

/// Polls before a group counts itself what it waits for: about a millisecond.
const SPINS: u32 = 1 << 11;

/// Counts have 30 bits.
const MOST: usize = (1 << 30) - 1;

/// Keys below which passes of two kernels do not matter.
const LEAST: usize = 1 << 15;

/// Whether a sort goes this way.
pub(super) fn fits(device: &Device, cl: &ClDevice, rows: usize, len: usize) -> bool {
    rows == 1 && (LEAST..=MOST).contains(&len) && works(device, cl)
}

/// Whether sweeps are right and groups hear of each other in time, tried once a device. Elsewhere than on
/// NVIDIA the instructions do not compile.
fn works(device: &Device, cl: &ClDevice) -> bool {
    if !cl.takes_ptx() || cl.info.max_work_group < GROUP {
        return false;
    }
    cl.probe("sort by sweeps", || try_it(device, cl, SPINS, false))
}

/// Sorts numbers with their positions.
fn try_it(device: &Device, cl: &ClDevice, spins: u32, mute: bool) -> Result<Verdict> {
    let n = 400_001;
    let value = |k: usize| (k as u32 + 1).wrapping_mul(2_654_435_761) >> 3;
    let values: Vec<u32> = (0..n).map(value).collect();
    let x = DeviceArray::from_slice(device, &values)?;
    let keys = x.raw()?;
    let (mut out, mut loads) = (Buffer::new(device, n * 4)?, Buffer::new(device, n * 4)?);
    let sorting = Sorting {
        op: "sort",
        keys,
        order: Order { dtype: DType::U32, descending: false },
        payload: Payload::Positions,
        len: n,
        out: &mut out,
        loads: Some(&mut loads),
    };
    let mut trial = Trial { spins, mute, late: 0 };
    launch(sorting, cl, Some(&mut trial))?;
    let read = |buffer: Buffer| DeviceArray::<u32>::of_buffer(buffer, n).to_vec();
    let (got, from) = (read(out)?, read(loads)?);
    let rising = got.windows(2).zip(from.windows(2)).all(|(k, p)| (k[0], p[0]) < (k[1], p[1]));
    let moved = got.iter().zip(&from).all(|(&key, &at)| values.get(at as usize) == Some(&key));
    Ok(if rising && moved { Verdict::with_late(trial.late) } else { Verdict::Wrong })
}

/// What probes and tests want of a sort.
pub(super) struct Trial {
    /// Polls before a group helps itself.
    spins: u32,
    /// Some groups never post.
    mute: bool,
    /// Counts made by groups whose they are not.
    late: u32,
}

pub(super) fn launch(
    sorting: Sorting<'_>,
    device: &ClDevice,
    mut trial: Option<&mut Trial>,
) -> Result<()> {
    let (spins, mute) = trial.as_ref().map_or((SPINS, false), |trial| (trial.spins, trial.mute));
    let Sorting { op, keys, order, payload, len: n, .. } = sorting;
    let owner = sorting.out.device.clone();
    let passes = keys.dtype.size();
    let widest = passes.max(payload.dtype().map_or(1, DType::size)).max(4);
    let each = BYTES / widest;
    let group = if payload.dtype().is_some() { GROUP_WITH_LOADS } else { GROUP };
    let tiles = n.div_ceil(group * each);
    let [first, rest] =
        payload.loads().map(|load| program(device, op, order, load, [group, each, widest], mute));
    let (first, rest) = (first?, rest?);

    let counts = DeviceArray::<u32>::zeros(&owner, (passes, 256))?;
    let mut launch = Launch::new(device, &first, op, "sort_digits")?;
    launch.output(&counts.raw()?.buffer)?;
    launch.input(&keys.buffer)?;
    launch.value(keys.layout.offset as u64)?;
    launch.value(n as u32)?;
    let groups = (device.info.compute_units * COUNTING).min(n.div_ceil(group * 4));
    // SAFETY: the arguments follow the kernel's parameters; there are 256 counts for each digit.
    unsafe { launch.run([groups, 1, 1], [group, 1, 1])? };
    let counts = Operand::Array(counts.raw()?);
    let starts = scan::scan(op, &Join::Sum, counts, 1, None, Some(Scalar::U64(0)))?;

    let turns = Turns::new(&sorting, passes)?;
    for pass in 0..passes {
        let turn = turns.turn(pass);
        let mail = DeviceArray::<u32>::zeros(&owner, tiles * 256 + 2)?;
        let program = if pass == 0 { &first } else { &rest };
        let mut launch = Launch::new(device, program, op, "sort_sweep")?;
        turn.bind_out(&mut launch)?;
        launch.input(&starts.buffer)?;
        launch.value(pass as u32 * 256)?;
        turn.bind_keys(&mut launch)?;
        launch.output(&mail.raw()?.buffer)?;
        launch.value(n as u32)?;
        launch.value(8 * pass as u32)?;
        launch.value(spins)?;
        turn.bind_loads(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; there is a group for each tile, and the
        // counts add up to `n`.
        unsafe { launch.run([tiles, 1, 1], [group, 1, 1])? };
        if let Some(trial) = &mut trial {
            trial.late += mail.slice(ndarray::s![1..2])?.to_vec()?[0];
        }
    }
    Ok(())
}

fn program(
    device: &ClDevice,
    op: &'static str,
    order: Order,
    load: Load,
    [group, each, widest]: [usize; 3],
    mute: bool,
) -> Result<Arc<Program>> {
    let key = vec![
        order.dtype as u8,
        u8::from(order.descending),
        load.kind,
        load.size as u8,
        each as u8,
        widest as u8,
        u8::from(mute),
    ];
    device.programs.get(device, op, ("sort_sweep", key), || {
        let point = Point { group, ..device.point };
        let at_once = order.dtype.size().min(4);
        let mute = if mute { "#define CLAN_POSTS(tile) ((tile) % 3 != 1)\n" } else { "" };
        [
            codegen::defines(device, false, point),
            codegen::PRELUDE.to_string(),
            types(order, load.kind, load.size),
            format!(
                "#define CLAN_EACH {each}\n#define CLAN_WIDEST {widest}\n#define CLAN_PASSES_AT_ONCE {at_once}\n{mute}"
            ),
            codegen::WARP.to_string(),
            SOURCE.to_string(),
        ]
        .concat()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Backing;

    /// A third of the groups never post, and nobody waits long for them.
    #[test]
    fn sorts_end_where_groups_do_not_post() {
        for device in Device::kinds() {
            if let Backing::OpenCl(cl) = device.backing() {
                if works(&device, cl) {
                    let verdict = try_it(&device, cl, 4, true).unwrap();
                    assert!(matches!(verdict, Verdict::Late(n) if n > 0), "{device}: {verdict:?}");
                } else {
                    eprintln!("skipped: {device} does not sweep");
                }
            }
        }
    }
}
