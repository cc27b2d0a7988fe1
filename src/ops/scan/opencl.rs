//! How the kernels of `cl/scan.cl` are shaped for a device, and launched.

use super::{Join, Scanning};
use crate::array::DeviceArray;
use crate::backend::Buffer;
use crate::device::{Device, DeviceKind};
use crate::element::{DType, Scalar};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::fused::{Fused, Nest};
use crate::group::ReduceOp;
use crate::host::scan::Block;
use crate::opencl::program::{self, Program};
use crate::opencl::{ClDevice, Launch, Point, Verdict, codegen};
use crate::ops::combine::Combine;
use std::sync::Arc;

/// The kernels' text.
pub(crate) const SOURCE: &str = include_str!("../../../cl/scan.cl");
const LANES_SOURCE: &str = include_str!("../../../cl/scan_lanes.cl");
const MAIL: &str = include_str!("../../../cl/scan_mail.cl");
const BY_GROUP: &str = include_str!("../../../cl/scan_group.cl");
const BY_WARP: &str = include_str!("../../../cl/scan_warp.cl");

/// Bytes of local memory for a tile of rows: many groups have to fit into a compute unit, as those wait
/// whose carry has not come. With what else a group keeps, two fit into 64 KiB.
const TILE_BYTES: usize = 30 << 10;

/// The same where warps look back, who keep less.
///
/// H200, a bare kernel with 256 work-items, 2^28 f32, GB/s, 23 / 29 / 31 / 39 / 47 elements each: 3223 / 3317 /
/// 3376 / 3279 / 3346. These bytes make 31, and seven groups fit into a unit.
const WARP_TILE_BYTES: usize = 31 << 10;

/// The same along one row in words of four bytes, and registers that a work-item then may have.
///
/// The shipped kernel, calls one after the other, 31 elements with 40 registers as compiled: 3405 to 3530 GB/s; 35 with
/// 48: 3550; 35 held to 40, so that six groups fit as before: 3560 to 3636. 31 held to 32: 3440.
const ROW_TILE_BYTES: usize = 35 << 10;
const ROW_REGISTERS: usize = 40;

/// Bytes of input that a compute unit has fetched into the cache before their tiles start, where warps look back.
///
/// H200 with 132 units, the same kernel, GB/s, 32 / 132 / 300 / 380 / 460 / 540 / 620 / 800 tiles ahead: 3371 / 3455 /
/// 3678 / 3703 / 3716 / 3662 / 3552 / 3123; 3416 without. These bytes are 400 of its tiles.
const AHEAD_BYTES: usize = 96 << 10;

/// Bytes of the vectors in which tiles go through local memory.
const VECTOR_BYTES: usize = 16;

/// Tiles that a group of few columns looks back over.
///
/// H200, sums down the columns of 16384² f32, GB/s, 64 columns × 32 elements, windows of 4 / 8 / 32 tiles:
/// 3238 / 3015 / 2040; 64 × 16 2664, 32 × 32 3117, 128 × 32 2384.
const WINDOW: usize = 64;

/// Groups that run at a time on a large device, about.
const IN_FLIGHT: usize = 1024;

/// Polls before a group makes itself what it waits for: about a millisecond.
const SPINS: u32 = 1 << 11;

/// Tiles whose totals are posted together as well, where warps look back: `CLAN_BLOCK`.
const BLOCK: usize = 32;

/// Neighbours along a row that a CPU joins by themselves: enough of them to hide the latency of a sum.
const LANES: usize = 8;

/// Columns side by side that a CPU joins at a time.
const STRIP: usize = 64;

/// Elements up to which a CPU makes no sums first: one work-item has done them before a second launch starts.
const ALONE: usize = 1 << 17;

/// How tiles lie, for one type and one device.
#[derive(Clone, Copy, Debug)]
struct Shape {
    group: usize,
    /// Elements of a work-item.
    each: usize,
    /// Columns side by side.
    columns: usize,
    /// Tiles that a work-item looks at when it looks back.
    depth: usize,
    /// From 1 on for lone work-items: elements of a run, `each` of them in a tile, and each row is a chain of its
    /// own.
    lanes: usize,
}

impl Shape {
    /// `word` is the size of the type that is computed in.
    fn of(device: &ClDevice, block: Block, word: usize) -> Shape {
        let Block { inner, .. } = block;
        if device.launch_kind == DeviceKind::Cpu {
            let columns = if inner > 1 { inner.next_power_of_two().min(16) } else { 1 };
            return Shape { group: columns, each: 32, columns, depth: 1, lanes: 0 };
        }
        let group = device.point.group;
        if inner > 1 {
            let columns = inner.next_power_of_two().min(64).min(group);
            let each = if word > 4 { 16 } else { 32 };
            // With many chains the tiles before have long been there.
            let chains = block.outer * inner.div_ceil(columns);
            let window = (IN_FLIGHT / chains).min(WINDOW);
            // A word of local memory for each tile seen and each column; half of it is for others.
            let room = device.local_bytes() as usize / 2 / (group * word);
            let depth = (window * columns / group).clamp(1, room.clamp(1, 16));
            return Shape { group, each, columns, depth, lanes: 0 };
        }
        let room = TILE_BYTES.min(device.local_bytes() as usize * 3 / 4);
        // A bit for the head of each.
        let each = odd((room / (group * word)).min(31));
        Shape { group, each, columns: 1, depth: 1, lanes: 0 }
    }

    /// The same where warps look back; `one_row` of words of four bytes has no heads.
    fn by_warps(self, one_row: bool, word: usize) -> Shape {
        let most = if one_row { ROW_TILE_BYTES } else { WARP_TILE_BYTES };
        let each = odd(most / (self.group * word));
        Shape { each: if one_row { each } else { each.min(31) }, ..self }
    }

    /// The same for lone work-items.
    fn alone(self, block: Block) -> Shape {
        let columns = block.inner.next_power_of_two().min(STRIP);
        let lanes = if columns == 1 { LANES } else { 1 };
        Shape { group: 1, columns, lanes, ..self }
    }

    /// Elements of a tile along the axis.
    fn tile(&self) -> usize {
        match self.lanes {
            0 => self.group / self.columns * self.each,
            lanes => self.each * lanes,
        }
    }
}

/// So many or one less: an odd number, so that neighbours find different banks of local memory.
fn odd(n: usize) -> usize {
    (n.max(1) - 1) | 1
}

/// Chains of tiles.
#[derive(Clone, Copy, Debug)]
struct Chains {
    /// Elements in all.
    n: usize,
    strips: usize,
    chains: usize,
    tiles: usize,
}

impl Chains {
    fn of(block: Block, shape: &Shape) -> Chains {
        let Block { outer, len, inner } = block;
        let n = outer * len * inner;
        if inner == 1 && shape.lanes > 0 {
            return Chains { n, strips: 1, chains: outer, tiles: len.div_ceil(shape.tile()) };
        }
        if inner == 1 {
            // One chain of all rows, whose beginnings are heads.
            return Chains { n, strips: 1, chains: 1, tiles: n.div_ceil(shape.tile()) };
        }
        let strips = inner.div_ceil(shape.columns);
        Chains { n, strips, chains: outer * strips, tiles: len.div_ceil(shape.tile()) }
    }
}

/// How totals come from one tile to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As is best on the device.
    Best,
    /// By mail; after this many polls without, a group helps itself. With `mute` some groups never post.
    Mail { by: By, spins: u32, mute: bool },
    /// A group walks over a span.
    Spans,
}

/// Who looks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Group,
    /// 32 work-items that go together, along rows.
    Warp,
}

impl By {
    /// Whether it can be for rows, or else columns, in groups of `group`.
    pub fn suits(self, device: &ClDevice, rows: bool, group: usize) -> bool {
        match self {
            By::Group => true,
            By::Warp => rows && device.takes_ptx() && group.is_multiple_of(32),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// What a test wants instead of the best way.
    pub(super) static FORCED: std::cell::Cell<Option<Way>> = const { std::cell::Cell::new(None) };
}

/// Gives the number of tiles that groups made for others, where mail was asked for.
pub(super) fn launch(scanning: Scanning<'_>, device: &ClDevice, way: Way) -> Result<Option<u32>> {
    let word = scanning.dtype.compute().size();
    let shape = Shape::of(device, scanning.block, word);
    let chains = Chains::of(scanning.block, &shape);
    let nest = scanning.fused.nest(&scanning.order(), None);
    #[cfg(test)]
    let way = FORCED.get().unwrap_or(way);
    let tried = way != Way::Best;
    let way = match way {
        Way::Best if chains.tiles > 2 => {
            let suits = |by: &By| by.suits(device, shape.columns == 1, shape.group);
            let mut ways = [By::Warp, By::Group].into_iter().filter(suits);
            ways.find(|by| mail_works(&scanning.out.device, device, *by))
                .map_or(Way::Spans, |by| Way::Mail { by, spins: SPINS, mute: false })
        }
        Way::Best => Way::Spans,
        way => way,
    };
    let call = Call { scanning, device, shape, chains, nest: &nest };
    match way {
        Way::Mail { by, spins, mute } => call.by_mail(by, spins, mute, tried),
        _ => call.by_spans().map(|()| None),
    }
}

/// Whether groups hear of each other in time, tried once a device: where they do not the result is
/// right as well, but slow.
fn mail_works(device: &Device, cl: &ClDevice, by: By) -> bool {
    // Processors run few groups at a time: spans are as good, also where a test gives them kernels of GPUs.
    if cl.info.kind != DeviceKind::Gpu {
        return false;
    }
    let name = match by {
        By::Group => "scan by mail",
        By::Warp => "scan by mail of warps",
    };
    cl.probe(name, || try_mail(device, cl, Way::Mail { by, spins: SPINS, mute: false }))
}

/// Scans the numbers 0, 1, 2, ….
fn try_mail(device: &Device, cl: &ClDevice, way: Way) -> Result<Verdict> {
    let n = 300_000;
    let numbers = Expr::<u64>::positions(device, &[n]);
    let fused = Fused::new(numbers.node()?);
    let mut out = Buffer::new(device, n * 8)?;
    let scanning = Scanning {
        op: "scan",
        join: &Join::Sum,
        root: numbers.node()?,
        fused: &fused,
        block: Block { outer: 1, len: n, inner: 1 },
        flags: None,
        before: None,
        out: &mut out,
        dtype: DType::U64,
    };
    let late = launch(scanning, cl, way)?;
    let sums = DeviceArray::<u64>::of_buffer(out, n).to_vec()?;
    if sums.iter().zip(0u64..).any(|(&sum, k)| sum != k * (k + 1) / 2) {
        return Ok(Verdict::Wrong);
    }
    Ok(Verdict::with_late(late.unwrap_or(0)))
}

struct Call<'a> {
    scanning: Scanning<'a>,
    device: &'a ClDevice,
    shape: Shape,
    chains: Chains,
    nest: &'a Nest,
}

impl Call<'_> {
    fn input(&self) -> codegen::Input<'_> {
        let Shape { group, columns, .. } = self.shape;
        let word = self.scanning.dtype.compute().size();
        let in_local = columns == 1 && group.is_multiple_of(VECTOR_BYTES);
        let vector_bytes = if in_local { self.device.point.vector_bytes } else { 0 };
        let point = Point { vector_bytes, group, ..self.device.point };
        let mut input = codegen::Input::new(self.scanning.fused, self.nest, point);
        input.vec = input.vec.min(VECTOR_BYTES / word);
        input.wide |= self.chains.n > i32::MAX as usize / 2;
        if self.shape.lanes > 0 { input.walked(self.device) } else { input }
    }

    /// The bits of `CLAN_HEADS`.
    fn heads(&self) -> u8 {
        let Block { outer, inner, .. } = self.scanning.block;
        u8::from(inner == 1 && outer > 1 && self.shape.lanes == 0)
            | u8::from(self.scanning.flags.is_some()) << 1
    }

    fn program(
        &self,
        input: &codegen::Input<'_>,
        mail: Option<By>,
        mute: bool,
        limited: bool,
    ) -> Result<Arc<Program>> {
        let Scanning { op, join, dtype, before, .. } = &self.scanning;
        let Shape { group, each, columns, depth, lanes } = self.shape;
        let heads = self.heads();
        let exclusive = before.is_some();
        let mut key = vec![*dtype as u8, heads, each as u8, columns as u8, depth as u8];
        let by = mail.map_or(0, |by| 1 + by as u8);
        key.extend([by, u8::from(mute), u8::from(limited), u8::from(exclusive), lanes as u8]);
        key.extend((group as u16).to_le_bytes());
        input.key(&mut key);
        match join {
            Join::Sum => key.push(0),
            Join::Prod => key.push(1),
            Join::Min => key.push(2),
            Join::Max => key.push(3),
            Join::Other(combine) => {
                key.push(4);
                key.extend(combine.text().as_bytes());
            }
        }
        self.device.programs.get(self.device, op, ("scan", key), || {
            let point = Point { group, ..self.device.point };
            let mut text = if limited { program::registers(ROW_REGISTERS) } else { String::new() };
            text += &codegen::defines(self.device, input.wide, point);
            text += codegen::PRELUDE;
            text += &codegen::output_type(*dtype, input.vec);
            text += &input.text();
            text += &types(join, *dtype, &combine(join, *dtype), input.vec);
            text += &format!(
                "#define CLAN_EACH {each}\n#define CLAN_COLS {columns}\n#define CLAN_HEADS {heads}\n#define CLAN_DEPTH {depth}\n#define CLAN_LANES {lanes}\n"
            );
            for (wanted, define) in [
                (self.device.info.kind == DeviceKind::Cpu, "#define CLAN_ROLLED\n"),
                (mute, "#define CLAN_POSTS(tile) ((tile) % 3 != 1)\n"),
                (exclusive, "#define CLAN_EXCLUSIVE\n"),
            ] {
                text += if wanted { define } else { "" };
            }
            let parts: &[&str] = match mail {
                None if lanes > 0 => &[SOURCE, LANES_SOURCE],
                None => &[SOURCE],
                Some(By::Group) => &[SOURCE, MAIL, BY_GROUP],
                Some(By::Warp) => &[
                    &codegen::streaming(*dtype, input.vec),
                    codegen::WARP,
                    &input.fetches(),
                    SOURCE,
                    MAIL,
                    BY_WARP,
                ],
            };
            text + &parts.concat()
        })
    }

    /// The arguments that all kernels have, from the flags on to the number of tiles.
    fn sizes<'l>(&'l self, launch: &mut Launch<'l>, none: &'l Buffer, wide: bool) -> Result<()> {
        launch.input(self.scanning.flags.map_or(none, |flags| &flags.buffer))?;
        let at = self.scanning.flags.map_or(0, |flags| flags.layout.offset);
        let Block { len, inner, .. } = self.scanning.block;
        let Chains { n, strips, chains, tiles } = self.chains;
        [at, n, len, inner, strips, chains, tiles]
            .into_iter()
            .try_for_each(|v| codegen::bind_index(launch, v, wide))
    }

    /// Gives the number of tiles that groups made for others, where it was tried.
    fn by_mail(mut self, by: By, spins: u32, mute: bool, tried: bool) -> Result<Option<u32>> {
        let word = self.scanning.dtype.compute().size();
        let limited = by == By::Warp && self.heads() == 0 && word == 4;
        if by == By::Warp {
            self.shape = self.shape.by_warps(limited, word);
            self.chains = Chains::of(self.scanning.block, &self.shape);
        }
        let Chains { chains, tiles, .. } = self.chains;
        let Scanning { op, dtype, out, .. } = &self.scanning;
        let input = self.input();
        let program = self.program(&input, Some(by), mute, limited)?;
        let halves = word.div_ceil(4);
        let carry = halves * parts(self.scanning.join, *dtype);
        let words = 2 + match by {
            By::Group => tiles * chains * self.shape.columns * (halves + carry),
            By::Warp => tiles * halves + (tiles / BLOCK + 1) * (halves + carry),
        };
        let (mail, number) = match by {
            By::Warp if !tried => self.device.mail.take(self.device, &out.device, words)?,
            _ => (DeviceArray::<u64>::zeros(&out.device, words)?.raw()?.buffer.clone(), 1),
        };
        let none = Buffer::new(&out.device, 0)?;
        let mut launch = Launch::new(self.device, &program, op, "scan")?;
        launch.output(out)?;
        launch.output(&mail)?;
        self.sizes(&mut launch, &none, input.wide)?;
        launch.value(spins)?;
        self.bind_identity(&mut launch)?;
        if by == By::Warp {
            launch.value(number)?;
            let units = if self.device.large_cache { self.device.info.compute_units } else { 0 };
            let bytes = AHEAD_BYTES * units;
            let ahead = bytes / (self.shape.tile() * input.fetched_bytes()).max(1);
            codegen::bind_index(&mut launch, ahead.min(tiles), input.wide)?;
        }
        input.bind(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; there is a group for each tile, and
        // tiles end where the sizes say.
        unsafe { launch.run([tiles * chains, 1, 1], [self.shape.group, 1, 1])? };
        if !tried {
            return Ok(None);
        }
        let mut late = [0; 4];
        mail.download(8, &mut late)?;
        Ok(Some(u32::from_ne_bytes(late)))
    }

    fn by_spans(mut self) -> Result<()> {
        let cpu = self.device.launch_kind == DeviceKind::Cpu;
        if cpu && (self.scanning.flags.is_none() || self.scanning.block.inner == 1) {
            self.shape = self.shape.alone(self.scanning.block);
            self.chains = Chains::of(self.scanning.block, &self.shape);
        }
        let Chains { chains, tiles, .. } = self.chains;
        let Scanning { op, dtype, out, .. } = &self.scanning;
        let input = self.input();
        let program = self.program(&input, None, false, false)?;
        // Enough groups to fill the device; where loops have to be short, short spans: a tile has some
        // ten loops over elements.
        let alone = cpu && self.chains.n <= ALONE;
        let groups = if alone { 1 } else { self.device.point.groups };
        let wanted = (groups / chains).clamp(1, tiles.div_ceil(2));
        // A lone work-item has all elements of a tile.
        let elements = match self.shape.lanes {
            0 => self.shape.each,
            lanes => self.shape.each * lanes * self.shape.columns,
        };
        let most = (self.device.loop_rounds() / (elements * 10)).max(1);
        let each = tiles.div_ceil(wanted).min(most);
        let spans = tiles.div_ceil(each);
        // Rows or strips that a group does one after the other.
        let rows = match self.shape.lanes > 0 && spans == 1 {
            true => chains.div_ceil(groups).min(most.div_ceil(tiles)),
            false => 1,
        };
        let none = Buffer::new(&out.device, 0)?;
        let totals = spans * chains * self.shape.columns;
        let carry = dtype.compute().size() * parts(self.scanning.join, *dtype);
        let [sums, cuts] = [totals * carry, totals]
            .map(|bytes| Buffer::new(&out.device, if spans > 1 { bytes } else { 0 }));
        let (sums, cuts) = (sums?, cuts?);
        if spans > 1 {
            let mut launch = Launch::new(self.device, &program, op, "scan_sums")?;
            launch.output(&sums)?;
            launch.output(&cuts)?;
            self.sizes(&mut launch, &none, input.wide)?;
            codegen::bind_index(&mut launch, each, input.wide)?;
            input.bind(&mut launch)?;
            // SAFETY: the arguments follow the kernel's parameters; a total a group and column.
            unsafe { launch.run([spans * chains, 1, 1], [self.shape.group, 1, 1])? };
        }
        let mut launch = Launch::new(self.device, &program, op, "scan_spans")?;
        launch.output(out)?;
        launch.input(&sums)?;
        launch.input(&cuts)?;
        self.sizes(&mut launch, &none, input.wide)?;
        codegen::bind_index(&mut launch, each, input.wide)?;
        self.bind_identity(&mut launch)?;
        if self.shape.lanes > 0 {
            codegen::bind_index(&mut launch, rows, input.wide)?;
        }
        input.bind(&mut launch)?;
        let groups = spans * chains.div_ceil(rows);
        // SAFETY: the arguments follow the kernel's parameters; spans and rows end where the sizes say.
        unsafe { launch.run([groups, 1, 1], [self.shape.group, 1, 1]) }
    }

    fn bind_identity(&self, launch: &mut Launch<'_>) -> Result<()> {
        let Scanning { before, dtype, .. } = &self.scanning;
        // Where it is not used, anything of the right type.
        codegen::bind_scalar(launch, before.unwrap_or(Scalar::zero(dtype.compute())))
    }
}

/// The operator as a function of two.
fn combine(join: &Join, dtype: DType) -> Arc<Combine> {
    match join {
        Join::Other(combine) => combine.clone(),
        Join::Sum => Arc::new(Combine::own(ReduceOp::Sum, dtype)),
        Join::Prod => Arc::new(Combine::own(ReduceOp::Product, dtype)),
        Join::Min => Arc::new(Combine::own(ReduceOp::Min, dtype)),
        Join::Max => Arc::new(Combine::own(ReduceOp::Max, dtype)),
    }
}

/// Words of a carry.
fn parts(join: &Join, dtype: DType) -> usize {
    1 + usize::from(matches!(join, Join::Sum) && dtype.is_float())
}

/// What comes between the input and the file.
pub(crate) fn types(join: &Join, dtype: DType, combine: &Combine, vec: usize) -> String {
    let dtype = dtype.compute();
    let word = codegen::storage(dtype);
    let (bits, of_bits) = match dtype {
        DType::F32 => ("((ulong)as_uint(x))".to_string(), "as_float((uint)(u))".to_string()),
        DType::F64 => ("as_ulong(x)".to_string(), "as_double((ulong)(u))".to_string()),
        _ => {
            let plain = codegen::word(dtype.size());
            (format!("((ulong)({plain})(x))"), format!("(({word})({plain})(u))"))
        }
    };
    // Whatever a user's text computes of `bool`s is made 0 or 1.
    let checked = if dtype == DType::Bool { "(clan_word)(v != 0)" } else { "v" };
    let list = |f: &dyn Fn(usize) -> String| (0..vec).map(f).collect::<Vec<_>>().join(", ");
    let vectors = if vec > 1 {
        format!(
            "typedef {word}{vec} clan_words;
#define CLAN_WORDS(v) (clan_words)({})
#define CLAN_SPREAD(w) {{{}}}
",
            list(&|k| format!("(v)[{k}]")),
            list(&|k| format!("(w).s{k:x}")),
        )
    } else {
        String::new()
    };
    format!(
        "typedef {word} clan_word;
{vectors}static inline clan_word clan_joined(const clan_word a, const clan_word b) {{
{}
}}
static inline clan_word clan_checked(const clan_word v) {{ return {checked}; }}
#define CLAN_JOIN(a, b) clan_checked(clan_joined((a), (b)))
#define CLAN_BITS(x) {bits}
#define CLAN_OF_BITS(u) {of_bits}
#define CLAN_HALVES {}
{}",
        combine.text(),
        dtype.size().div_ceil(4),
        if parts(join, dtype) == 2 { "#define CLAN_PAIR\n" } else { "" },
    )
}
