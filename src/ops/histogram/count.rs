//! One pass over the elements.

use super::bins::{Bins, By, Finder, Place};
use super::counters;
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::with_compute;
use crate::error::Result;
use crate::expr::fused::Fused;
use crate::host::eval::{CHUNK, Evaluator};
use crate::host::source::{Elements, Source};
use crate::host::{LIGHT, PARALLEL_ABOVE, map_tasks};
use crate::ops::Op;
#[cfg(feature = "opencl")]
use crate::{
    array::RawArray,
    backend::Buffer,
    device::DeviceKind,
    element::DType,
    layout::Layout,
    opencl::{ClDevice, Launch, Maker, Point, codegen},
};
#[cfg(feature = "opencl")]
use {ndarray::Axis, std::sync::Arc};

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../../cl/histogram.cl");

pub(super) struct Count<'a> {
    pub op: &'static str,
    pub bins: &'a Bins,
    /// One element at least.
    pub fused: &'a Fused,
    pub device: &'a Device,
}

impl Op for Count<'_> {
    type Output = DeviceArray<u64>;

    fn check(&self, device: &Device) -> Result<()> {
        self.fused.check(self.op, device)
    }

    fn host(self) -> Result<DeviceArray<u64>> {
        let order = self.fused.memory_order();
        let nest = self.fused.nest(&order, None);
        let eval = Evaluator::new(self.fused, &nest);
        let elements = Elements::Computed(&eval, self.fused.dtype());
        counters(self.op, self.device, self.bins.len(), |counts| {
            on_host(&elements, eval.len(), self.bins, self.fused.weight(), counts);
        })
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<DeviceArray<u64>> {
        let partial = self.partial(device)?;
        // Integers may be added in any order.
        DeviceArray::<u32>::from_raw(partial).sum_axis(Axis(1))
    }
}

/// Copies of the counts of a thread, so that equal neighbours do not wait for each other's stores.
const COPIES: usize = 4;

/// Bins up to which there are copies: then all of them stay in the first-level cache.
const FEW: usize = 1024;

/// Elements whose bins are known before they are counted.
const SOME: usize = 256;

/// Bytes that are counted in less time than copies are cleared and added.
const FEW_BYTES: usize = 4096;

/// Elements of a part at most, so that no counter of 32 bits overflows.
const PART: usize = 1 << 31;

/// Adds the counts of `n` elements, one at least, each of which costs so many additions, to one counter a bin.
pub(super) fn on_host(x: &Elements<'_>, n: usize, bins: &Bins, weight: usize, counts: &mut [u64]) {
    debug_assert_eq!(counts.len(), bins.len());
    if x.dtype().compute().size() == 1 {
        return of_bytes(x.of::<u8>(), n, bins, weight, counts);
    }
    with_compute!(x.dtype(), T => of_others::<T>(x.of(), n, bins, counts))
}

/// Adds how often each byte occurs. `count(k, x)`: notes byte `x`, the `k`th of eight.
#[inline(always)]
fn each_byte(x: &[u8], mut count: impl FnMut(usize, u8)) {
    // Eight with one load: bytes are counted at the rate of loads and stores.
    let (words, rest) = x.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word);
        for k in 0..8 {
            count(k, word as u8);
            word >>= 8;
        }
    }
    rest.iter().for_each(|&x| count(0, x));
}

/// How often each byte occurs among elements `from .. to`.
fn byte_counts(x: Source<'_, u8>, from: usize, to: usize) -> [u32; 256] {
    let mut counts = [[0u32; 256]; COPIES];
    x.pieces(from, to - from, |x| {
        each_byte(x, |k, x| counts[k % COPIES][x as usize] += 1);
    });
    let [mut all, others @ ..] = counts;
    for copy in others {
        all.iter_mut().zip(copy).for_each(|(all, count)| *all += count);
    }
    all
}

/// Bytes, by their bits, are counted in half the time of others.
fn of_bytes(x: Source<'_, u8>, n: usize, bins: &Bins, weight: usize, counts: &mut [u64]) {
    // Whether bytes are their bins, all of which are there.
    let plain = matches!(bins.by, By::Index) && !bins.dtype.is_signed();
    if let Some(counts) = counts.first_chunk_mut::<256>().filter(|_| plain && n <= FEW_BYTES) {
        return x.pieces(0, n, |x| each_byte(x, |_, x| counts[x as usize] += 1));
    }
    let alone = (LIGHT / weight).max(PARALLEL_ABOVE);
    let length = n.div_ceil(rayon::current_num_threads()).max(alone).min(PART);
    let part = |k: usize| byte_counts(x, k * length, ((k + 1) * length).min(n));
    let mut add = |part: [u32; 256]| match plain {
        true => counts.iter_mut().zip(part).for_each(|(all, count)| *all += u64::from(count)),
        false => {
            for (place, count) in bins.byte_places().into_iter().zip(part) {
                // Some bytes may have no bin.
                if let Some(all) = counts.get_mut(place as usize) {
                    *all += u64::from(count);
                }
            }
        }
    };
    match n <= length {
        true => add(part(0)),
        false => map_tasks(n.div_ceil(length), &part).into_iter().for_each(add),
    }
}

fn of_others<T: Place>(x: Source<'_, T>, len: usize, bins: &Bins, counts: &mut [u64]) {
    let n = bins.len();
    // Copies are cleared and added as well.
    let copies = if n <= FEW && len >= 8 * n { COPIES } else { 1 };
    // A place more for elements that have no bin.
    let row = n + 1;
    let finder = Finder::of(bins);
    let part = |from: usize, to: usize| {
        let mut counts = vec![0u32; row * copies];
        let mut places = [0u32; SOME];
        x.pieces(from, to - from, |x| {
            for x in x.chunks(SOME) {
                let places = &mut places[..x.len()];
                finder.places(x, places);
                count(places, &mut counts, n, copies);
            }
        });
        let (first, others) = counts.split_at_mut(row);
        for copy in others.chunks(row) {
            first.iter_mut().zip(copy).for_each(|(a, b)| *a += b);
        }
        counts
    };
    let mut add = |part: Vec<u32>| {
        counts.iter_mut().zip(part).for_each(|(all, count)| *all += u64::from(count));
    };
    if len <= PARALLEL_ABOVE {
        return add(part(0, len));
    }
    // A part costs a pass over its counts: a few of them a thread, and not shorter than that.
    let parts = (4 * rayon::current_num_threads()).min(len.div_ceil(PARALLEL_ABOVE.max(8 * n)));
    let length = len.div_ceil(parts).next_multiple_of(CHUNK).min(PART);
    map_tasks(len.div_ceil(length), &|k| part(k * length, ((k + 1) * length).min(len)))
        .into_iter()
        .for_each(add);
}

/// Adds elements to the copies, rows of `n + 1` counters, in turns.
fn count(places: &[u32], counts: &mut [u32], n: usize, copies: usize) {
    assert_eq!(counts.len(), copies * (n + 1));
    let rows: [usize; COPIES] = std::array::from_fn(|copy| copy % copies * (n + 1));
    let mut add = |place: u32, row: usize| {
        // SAFETY: a place of the row of one of the copies, all of which are there.
        unsafe { *counts.get_unchecked_mut((place as usize).min(n) + row) += 1 };
    };
    let (quads, rest) = places.as_chunks::<COPIES>();
    for quad in quads {
        quad.iter().zip(rows).for_each(|(&place, row)| add(place, row));
    }
    rest.iter().for_each(|&place| add(place, 0));
}

/// Counters in local memory: 32 KiB, which every GPU has.
#[cfg(feature = "opencl")]
const SLOTS: usize = 8192;

/// So few elements a counter that none overflows.
#[cfg(feature = "opencl")]
const LAUNCH: usize = 1 << 31;

/// What floats of a type need between the prelude and the file.
#[cfg(feature = "opencl")]
pub(crate) fn shifted(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => {
            "#define CLAN_SHIFTED 0x1p+52\n#define CLAN_LAST_DIGITS(x) ((uint)as_ulong(x))\n"
        }
        _ => "",
    }
}

/// What bins are found by beside numbers.
#[cfg(feature = "opencl")]
enum Table {
    /// The edges, or for bytes the first values of bins.
    Array(RawArray),
    /// For bytes, where each bin has one value, that of the first bin.
    Start(u32),
    None,
}

/// Which kernel counts.
#[cfg(feature = "opencl")]
enum Way {
    Local { shift: u32 },
    Flat { copies: usize, tasks: usize, part: usize },
    Atomic { copies: usize },
}

#[cfg(feature = "opencl")]
impl Count<'_> {
    /// Counters: of values where these have 8 bits.
    fn values(&self) -> usize {
        if self.is_bytes() { 256 } else { self.bins.len() }
    }

    fn is_bytes(&self) -> bool {
        self.bins.dtype.size() == 1
    }

    /// The number of the kind of bins in the kernel.
    fn kind(&self) -> u8 {
        match &self.bins.by {
            _ if self.is_bytes() => 5,
            By::Even(even) if even.is_close(self.bins.dtype) => 6,
            By::Even(_) => 0,
            By::EvenInteger(_) if self.bins.dtype.size() < 8 => 1,
            By::EvenInteger(_) => 2,
            By::Edges(_) => 3,
            By::Index => 4,
        }
    }

    /// H200, 2^28 elements, 256 bins, GB/s. f32 by group / unroll / groups a unit / copies:
    /// 256 / 4 / 16 / 32 3872, the same with 8 copies 4098, 512 / 4 / 7 / 32 4183, 512 / 4 / 8 / 16 4206,
    /// 1024 / 2 / 4 / 32 4121; all equal within 1 % of that. u8, 32 copies: 256 / 4 / 16 1388,
    /// 256 / 1 / 7 1840, 512 / 1 / 4 2138, 1024 / 1 / 2 2264.
    fn point(&self, device: &ClDevice) -> Point {
        let point = device.reduce_point();
        let unroll = if self.is_bytes() { 1 } else { point.unroll };
        let units = device.info.compute_units.max(1);
        let large = device.maker == Maker::Nvidia && device.info.max_work_group >= 1024;
        match (device.launch_kind, self.is_bytes()) {
            (DeviceKind::Cpu, _) => device.walking_point(),
            (_, true) if large => Point { group: 1024, unroll, groups: units * 2, ..point },
            (_, false) if large => Point { group: 512, groups: units * 8, ..point },
            _ => Point { unroll, ..point },
        }
    }

    /// How it is counted, and in how many copies. H200, 2^28 u32 in bins that do not fit into local memory, 10^9 a
    /// second of random ones / of equal ones, by 1, 4, 8 and 16 copies: 20,000 bins 53 / 1.4, 77 / 5.4, 82 / 10 and
    /// 87 / 11; 2^20 bins 90 / 1.4, 91 / 5.4, 81 / 8 and 31 / 15; 2^22 bins 90 / 1.4, 30 / 5.4, 21 / 8 and 18 / 11. What
    /// the cache holds is what counts: 16 MiB there.
    fn way(&self, device: &ClDevice) -> Way {
        let (n, values) = (self.fused.len(), self.values());
        if device.launch_kind != DeviceKind::Cpu {
            let fits = values <= SLOTS && 4 * SLOTS as u64 <= device.local_bytes();
            return match fits {
                true => {
                    let most = if self.is_bytes() { 5 } else { 4 };
                    Way::Local { shift: (SLOTS / values).ilog2().min(most) }
                }
                false => {
                    let room = if device.large_cache { 4 << 20 } else { 1 << 20 };
                    Way::Atomic { copies: (room / values).clamp(1, 16) }
                }
            };
        }
        // Clearing and adding the counts are rounds of loops as well, and so is every step of a search.
        let rounds = device.loop_rounds();
        let most = if rounds == usize::MAX { 4 << 20 } else { 4096 };
        if values > most {
            return Way::Atomic { copies: 1 };
        }
        let copies = if values <= FEW { COPIES } else { 1 };
        let steps = match self.bins.by {
            By::Edges(_) => 5 + values.ilog2() as usize,
            _ => 3,
        };
        let longest = (rounds / (2 * steps)).min(LAUNCH);
        let tasks = (device.info.compute_units * 4).max(n.div_ceil(longest));
        // Tasks that take more elements than they have counts to clear.
        let tasks = tasks.min(n.div_ceil(4 * values)).max(n.div_ceil(longest));
        let part = n.div_ceil(tasks);
        Way::Flat { copies, tasks: n.div_ceil(part), part }
    }

    /// Counts of parts of the elements: shape `[bins, parts]`.
    fn partial(&self, device: &ClDevice) -> Result<RawArray> {
        let order = self.fused.memory_order();
        let nest = self.fused.nest(&order, None);
        let point = self.point(device);
        let input = codegen::Input::new(self.fused, &nest, point).walked(device);
        let way = self.way(device);
        let (number, copies) = match way {
            Way::Local { .. } => (0, 1),
            Way::Flat { copies, .. } => (1, copies),
            Way::Atomic { .. } => (2, 1),
        };
        let table = self.table()?;
        let one_each = matches!(table, Table::Start(_));
        let mut key = vec![self.kind(), number, copies as u8, u8::from(one_each)];
        point.key(&mut key);
        input.key(&mut key);
        let program = device.programs.get(device, self.op, ("histogram", key), || {
            [
                codegen::defines(device, input.wide, point),
                codegen::PRELUDE.to_string(),
                input.text(),
                shifted(self.bins.dtype).to_string(),
                format!(
                    "#define CLAN_WAY {number}\n#define CLAN_COPIES {copies}\n#define CLAN_BIN {}\n#define CLAN_SLOTS {SLOTS}\n",
                    self.kind()
                ),
                if one_each { "#define CLAN_ONE_EACH\n" } else { "" }.to_string(),
                SOURCE.to_string(),
            ]
            .concat()
        })?;
        let (n, bins, group) = (self.fused.len(), self.bins.len(), point.group);
        let filled = |columns: usize, strides: [isize; 2], buffer: Arc<Buffer>| {
            let mut layout = Layout::contiguous(&[bins, columns]);
            layout.strides = strides.as_slice().into();
            RawArray { buffer, layout, dtype: DType::U32 }
        };
        match way {
            Way::Local { shift } => {
                let per_round = group * point.unroll * input.vec;
                let groups = point.groups.min(n.div_ceil(per_round));
                let most = (device.loop_rounds() / 2).saturating_mul(group).min(LAUNCH);
                let groups = groups.max(n.div_ceil(most));
                let out = Buffer::new(self.device, bins * groups * 4)?;
                let mut launch = Launch::new(device, &program, self.op, "histogram_local")?;
                launch.output(&out)?;
                codegen::bind_index(&mut launch, n, input.wide)?;
                launch.value(bins as u32)?;
                launch.value(shift)?;
                self.bind(&mut launch, &table)?;
                input.bind(&mut launch)?;
                // SAFETY: the arguments follow the kernel's parameters; a group writes a column of
                // the output, and `values << shift` counters fit into local memory.
                unsafe { launch.run([groups, 1, 1], [group, 1, 1])? };
                Ok(filled(groups, [groups as isize, 1], Arc::new(out)))
            }
            Way::Flat { tasks, part, .. } => {
                let out = Buffer::new(self.device, bins * tasks * 4)?;
                let scratch = match copies {
                    1 => None,
                    n => Some(Buffer::new(self.device, tasks * (self.values() + 1) * n * 4)?),
                };
                let mut launch = Launch::new(device, &program, self.op, "histogram_flat")?;
                launch.output(&out)?;
                if let Some(scratch) = &scratch {
                    launch.output(scratch)?;
                }
                codegen::bind_index(&mut launch, n, input.wide)?;
                codegen::bind_index(&mut launch, part, input.wide)?;
                launch.value(tasks as u32)?;
                launch.value(bins as u32)?;
                self.bind(&mut launch, &table)?;
                input.bind(&mut launch)?;
                // SAFETY: the arguments follow the kernel's parameters; a task has a row of the
                // output and one of the scratch, which has a place for elements without a bin.
                unsafe { launch.run([tasks.div_ceil(group), 1, 1], [group, 1, 1])? };
                Ok(filled(tasks, [1, bins as isize], Arc::new(out)))
            }
            Way::Atomic { copies } => {
                let rows = copies * n.div_ceil(LAUNCH);
                let out = DeviceArray::<u32>::zeros(self.device, (rows, bins))?;
                let out = out.raw()?.clone();
                for (k, from) in (0..n).step_by(LAUNCH).enumerate() {
                    let to = n.min(from + LAUNCH);
                    let groups = point.groups.min((to - from).div_ceil(group * input.vec));
                    let most = device.loop_rounds().saturating_mul(group) / 2;
                    let groups = groups.max((to - from).div_ceil(most));
                    let mut launch = Launch::new(device, &program, self.op, "histogram_atomic")?;
                    launch.output(&out.buffer)?;
                    codegen::bind_index(&mut launch, from, input.wide)?;
                    codegen::bind_index(&mut launch, to, input.wide)?;
                    launch.value(bins as u32)?;
                    launch.value((k * copies) as u32)?;
                    launch.value(copies as u32)?;
                    self.bind(&mut launch, &table)?;
                    input.bind(&mut launch)?;
                    // SAFETY: the arguments follow the kernel's parameters; there are `rows` rows of
                    // counters, which nobody else has.
                    unsafe { launch.run([groups, 1, 1], [group, 1, 1])? };
                }
                Ok(filled(rows, [1, bins as isize], out.buffer))
            }
        }
    }

    /// What the kernel finds bins by, on the device where it is an array.
    fn table(&self) -> Result<Table> {
        fn upload<T: crate::Element>(device: &Device, list: &[T]) -> Result<Table> {
            Ok(Table::Array(DeviceArray::from_slice(device, list)?.raw()?.clone()))
        }
        match &self.bins.by {
            _ if self.is_bytes() => {
                let starts = self.bins.starts();
                match starts.windows(2).all(|w| w[1] == w[0] + 1) {
                    true => Ok(Table::Start(starts[0])),
                    false => upload(self.device, &starts),
                }
            }
            By::Edges(edges) => with_compute!(self.bins.dtype, T => {
                let edges: Vec<T> = edges.iter().map(|&e| T::from_scalar(e)).collect();
                upload(self.device, &edges)
            }),
            _ => Ok(Table::None),
        }
    }

    fn bind<'l>(&self, launch: &mut Launch<'l>, table: &'l Table) -> Result<()> {
        match table {
            Table::Array(table) => launch.input(&table.buffer)?,
            Table::Start(start) => launch.value(*start)?,
            Table::None => {}
        }
        match &self.bins.by {
            _ if self.is_bytes() => {
                launch.value(if self.bins.dtype.is_signed() { 0x80u32 } else { 0 })?;
            }
            By::Edges(_) => {
                // The greatest power of two below the number of bins.
                let half = match self.bins.len() as u32 {
                    0 | 1 => 0,
                    n => 1 << (n - 1).ilog2(),
                };
                launch.value::<u32>(half)?;
            }
            By::Even(e) => {
                for v in [e.low, e.high, e.scale, e.width] {
                    match self.bins.dtype {
                        DType::F64 => launch.value(v)?,
                        _ => launch.value(v as f32)?,
                    }
                }
            }
            By::EvenInteger(e) => {
                for v in [e.low, e.span, e.whole, e.part, e.factor] {
                    launch.value(v)?;
                }
            }
            By::Index => {}
        }
        Ok(())
    }
}
