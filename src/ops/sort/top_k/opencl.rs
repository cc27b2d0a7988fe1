//! The passes of `cl/top_k.cl`, and how their thresholds are guessed.

use super::{First, Order, Rank};
use crate::array::{DeviceArray, RawArray};
use crate::device::DeviceKind;
use crate::element::{DType, Element, with_bits};
use crate::error::Result;
use crate::host::sort::Key;
use crate::layout::Layout;
use crate::opencl::program::Program;
use crate::opencl::{ClDevice, Launch, Point, codegen};
use crate::ops::copy;
use crate::ops::sort::{keys, opencl, pairs};
use ndarray::{Axis, s};
use smallvec::smallvec;
use std::sync::Arc;

/// The kernel's text.
pub(crate) const SOURCE: &str = include_str!("../../../../cl/top_k.cl");

/// Keys of a sample at most.
const SAMPLE: usize = 1 << 20;

/// Keys of a sample at least, on CPUs.
const FEW: usize = 2048;

/// Up to so many keys are sorted here where a CPU is the device: its memory is ours, and the launches of a sort take
/// longer.
const HERE: usize = 1 << 14;

/// Keys that a pass keeps at most where few are asked for.
const ROOM: usize = 1 << 16;

/// What a pass over the keys found.
struct Found {
    /// What was kept, in any order: as much as there was room for.
    keys: RawArray,
    positions: RawArray,
    kept: usize,
    /// Before the threshold.
    before: usize,
    /// Equal to it.
    equal: usize,
}

pub(super) fn search(first: First<'_>, device: &ClDevice) -> Result<(RawArray, RawArray)> {
    let First { op, x, order, .. } = first;
    let k = first.k();
    let n = x.layout.len();
    let room = n.min(ROOM.max(4 * k));
    let program = program(device, op, order)?;
    let pass = |rank, end| collect(&first, device, &program, rank, end, room);
    let enough = |kept: usize| (k..=room).contains(&kept);

    let near = device.launch_kind == DeviceKind::Cpu;
    let few = if near { (n / 1024).max(FEW) } else { SAMPLE };
    let step = n.div_ceil(few.min(n.div_ceil(16)));
    let sample = sample(op, x, order, step, near)?;
    let rank = |place: usize| sample.rank(order, place);
    // Each of the sample stands for `step` keys: where in it the `k`th lies on average, three times what
    // that is off by, and some.
    let last = n.div_ceil(step) - 1;
    let mean = k as f64 / step as f64;
    let mut place = ((mean + 3.0 * mean.sqrt()) as usize + 6).min(last);
    let mut guess = rank(place)?;
    // The rank of the `k`th is from `low` to `high`, and each pass makes that less.
    let (mut low, mut high) = (0, u64::MAX >> (64 - 8 * x.dtype.size()));
    let found = loop {
        let found = pass(guess, n)?;
        if enough(found.kept) {
            break found;
        }
        if found.before < k && k <= found.before + found.equal {
            break ties(&found, n, k, |end| pass(guess, end), enough)?;
        }
        if found.before >= k {
            high = guess - 1;
            place /= 2;
            guess = if found.before <= room { high } else { rank(place)? };
        } else {
            low = guess + 1;
            place = (2 * place + 1).min(last);
            guess = rank(place)?;
        }
        if !(low..=high).contains(&guess) {
            guess = low + (high - low) / 2;
        }
    };
    if near && found.kept <= HERE {
        return finish(&first, &found);
    }
    // What is equal is in the order of its positions.
    let kept = Layout::contiguous(&[found.kept]);
    let keys = RawArray { layout: kept.clone(), ..found.keys };
    let positions = RawArray { layout: kept, ..found.positions };
    let (positions, keys) = pairs(op, &positions, false, Some(&keys))?;
    let (keys, positions) = pairs(op, &keys, order.descending, Some(&positions))?;
    let positions = DeviceArray::<u32>::from_raw(positions).slice(s![..k])?;
    let positions = positions.expr().cast::<u64>().eval()?;
    let keys = RawArray { layout: Layout::contiguous(&[k]), ..keys };
    Ok((keys, positions.raw()?.clone()))
}

/// The first `k` where more than there is room for are equal to the last of them: those that lie before
/// some position.
fn ties(
    all: &Found,
    n: usize,
    k: usize,
    pass: impl Fn(usize) -> Result<Found>,
    enough: impl Fn(usize) -> bool,
) -> Result<Found> {
    // Before `low` there are too few, before `high` too many. Each position adds one at most, so what is
    // between them has a position that is right.
    let (mut low, mut high) = (0, n);
    let each = n as f64 / all.equal as f64;
    let mut end = (2.0 * each * (k - all.before) as f64) as usize + 1024;
    loop {
        if !(low < end && end < high) {
            end = low + (high - low) / 2;
        }
        let found = pass(end)?;
        if enough(found.kept) {
            return Ok(found);
        }
        match found.kept < k {
            true => (low, end) = (end, end.saturating_mul(4)),
            false => (high, end) = (end, low + (end - low) / 2),
        }
    }
}

/// Some of the keys, sorted: their ranks, or on the device the keys.
enum Sample {
    Ranks(Vec<u64>),
    Keys(RawArray),
}

impl Sample {
    /// The rank of key `place` in their order.
    fn rank(&self, order: Order, place: usize) -> Result<u64> {
        match self {
            Sample::Ranks(ranks) => Ok(ranks[place]),
            Sample::Keys(keys) => with_bits!(keys.dtype, B => {
                let bits = RawArray { dtype: B::DTYPE, ..keys.clone() };
                let bits = DeviceArray::<B>::from_raw(bits).index_axis(Axis(0), place)?.item()?;
                Ok(order.visit(Rank(bits.bits())))
            }),
        }
    }
}

/// Every `step`th key, from 0 on or half a step, so that there are `n / step`, rounded up.
fn sample(op: &'static str, x: &RawArray, order: Order, step: usize, near: bool) -> Result<Sample> {
    let n = x.layout.len();
    let start = ((n - 1) % step).min((step - 1) / 2);
    let layout = Layout {
        shape: smallvec![n.div_ceil(step)],
        strides: smallvec![step as isize],
        offset: x.layout.offset + start,
    };
    let picked = copy::contiguous(&RawArray { layout, ..x.clone() })?;
    if near && picked.layout.len() <= HERE {
        return with_bits!(picked.dtype, B => {
            let bits = RawArray { dtype: B::DTYPE, ..picked };
            let bits = DeviceArray::<B>::from_raw(bits).to_vec()?;
            let rank = |bits: B| order.visit(Rank(bits.bits()));
            let mut ranks: Vec<u64> = bits.into_iter().map(rank).collect();
            ranks.sort_unstable();
            Ok(Sample::Ranks(ranks))
        });
    }
    Ok(Sample::Keys(keys(op, &picked, order.descending)?))
}

/// The first `k` of what was found, sorted here.
fn finish(first: &First<'_>, found: &Found) -> Result<(RawArray, RawArray)> {
    let First { x, order, .. } = *first;
    let k = first.k();
    let kept = Layout::contiguous(&[found.kept]);
    let keys = RawArray { layout: kept.clone(), ..found.keys.clone() };
    let positions = RawArray { layout: kept, ..found.positions.clone() };
    let positions = DeviceArray::<u32>::from_raw(positions).to_vec()?;
    with_bits!(x.dtype, B => {
        let bits = RawArray { dtype: B::DTYPE, ..keys };
        let bits = DeviceArray::<B>::from_raw(bits).to_vec()?;
        // What is equal is in the order of its positions.
        let mut sorted: Vec<(u64, u32, B)> = (bits.into_iter().zip(positions))
            .map(|(bits, position)| (order.visit(Rank(bits.bits())), position, bits))
            .collect();
        sorted.sort_unstable();
        sorted.truncate(k);
        let positions: Vec<u64> = sorted.iter().map(|&(_, position, _)| position.into()).collect();
        let bits: Vec<B> = sorted.iter().map(|&(_, _, bits)| bits).collect();
        let keys = DeviceArray::from_slice(x.device(), &bits)?.raw()?.clone();
        let positions = DeviceArray::from_slice(x.device(), &positions)?;
        Ok((RawArray { dtype: x.dtype, ..keys }, positions.raw()?.clone()))
    })
}

/// Keeps what has a rank below `rank`, and what has that rank and lies before `end`.
fn collect(
    first: &First<'_>,
    device: &ClDevice,
    program: &Arc<Program>,
    rank: u64,
    end: usize,
    room: usize,
) -> Result<Found> {
    let First { op, x, .. } = *first;
    let n = x.layout.len();
    let shape = Shape::of(device);
    let layout = Layout::contiguous(&[room]);
    let keys = RawArray::alloc(op, x.device(), &layout, x.dtype)?;
    let positions = RawArray::alloc(op, x.device(), &layout, DType::U32)?;
    let counts = DeviceArray::<u32>::zeros(x.device(), 3)?;
    let mut launch = Launch::new(device, program, op, "top_k")?;
    launch.output(&keys)?;
    launch.output(&positions)?;
    launch.output(&counts.raw()?.buffer)?;
    launch.input(&x.buffer)?;
    launch.value(x.layout.offset as u64)?;
    launch.value(n as u32)?;
    launch.value(rank)?;
    launch.value(end as u32)?;
    launch.value(room as u32)?;
    let groups = n.div_ceil(shape.group * shape.each);
    // SAFETY: the arguments follow the kernel's parameters; it writes places below `room`, reads places
    // below `n`, and the groups are as many as tiles of its size.
    unsafe { launch.run([groups, 1, 1], [shape.group, 1, 1])? };
    let made = |buffer, dtype| RawArray { buffer: Arc::new(buffer), layout: layout.clone(), dtype };
    let counts = counts.to_vec()?;
    let [kept, before, equal] = [0, 1, 2].map(|i| counts[i] as usize);
    let (keys, positions) = (made(keys, x.dtype), made(positions, DType::U32));
    Ok(Found { keys, positions, kept, before, equal })
}

/// How keys are shared among work-items.
struct Shape {
    group: usize,
    each: usize,
}

impl Shape {
    fn of(device: &ClDevice) -> Shape {
        match device.launch_kind {
            DeviceKind::Cpu => Shape { group: 1, each: 4096 },
            _ => Shape { group: device.point.group, each: 16 },
        }
    }
}

fn program(device: &ClDevice, op: &'static str, order: Order) -> Result<Arc<Program>> {
    let shape = Shape::of(device);
    let key = vec![order.dtype as u8, u8::from(order.descending)];
    device.programs.get(device, op, ("top_k", key), || {
        let point = Point { group: shape.group, ..device.point };
        [
            codegen::defines(device, false, point),
            codegen::PRELUDE.to_string(),
            opencl::types(order, 0, 4),
            format!("#define CLAN_EACH {}\n", shape.each),
            SOURCE.to_string(),
        ]
        .concat()
    })
}
