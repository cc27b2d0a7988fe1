//! How the kernels of `cl/sort.cl` are shaped for a device, and launched.

use super::{Order, Payload, Sorting, sweep};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::DeviceKind;
use crate::element::DType;
use crate::error::Result;
use crate::expr::node::Operand;
use crate::layout::Layout;
use crate::opencl::program::Program;
use crate::opencl::{ClDevice, Launch, Point, codegen};
use crate::ops::scan::{self, Join};
use std::sync::Arc;

/// The kernels' text.
pub(crate) const SOURCE: &str = include_str!("../../../cl/sort.cl");

/// Keys that a work-item of a CPU takes at least.
const SPAN: usize = 4096;

/// How keys are shared among work-items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    group: usize,
    /// Keys of a work-item of a group.
    each: usize,
    /// Bits of a digit.
    digit: usize,
}

impl Shape {
    fn of(device: &ClDevice, key: usize) -> Shape {
        if device.launch_kind == DeviceKind::Cpu {
            // A work-item has its counters to itself.
            return Shape { group: 1, each: 1, digit: 8 };
        }
        let (group, digit) = (device.point.group, 4);
        // Keys and where they came from, counters, sums, places of digits.
        let bytes = |each: usize| group * (each * (key + 2) + (2 << digit) + 2) + (8 << digit);
        let room = (device.local_bytes() as usize).min(44 << 10);
        let each = [16, 8, 4, 2].into_iter().find(|&each| bytes(each) <= room).unwrap_or(1);
        Shape { group, each, digit }
    }

    /// Keys of a tile of a row of `len`.
    fn tile(&self, device: &ClDevice, rows: usize, len: usize) -> usize {
        if self.group > 1 {
            return self.group * self.each;
        }
        let spans = (device.point.groups / rows).clamp(1, len.div_ceil(SPAN));
        // A key is a round of two loops, a digit one of two.
        let most = (device.loop_rounds().saturating_sub(2 << self.digit) / 2).max(1);
        len.div_ceil(spans).min(most)
    }
}

/// What a kernel makes of what goes with keys: CLAN_PAYLOAD, and the size of an element in bytes.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub kind: u8,
    pub size: usize,
}

impl Payload<'_> {
    /// In the first pass, which makes positions, and in those after it, which move them.
    pub(super) fn loads(&self) -> [Load; 2] {
        let size = self.dtype().map_or(4, DType::size);
        let load = |kind| Load { kind, size };
        match self {
            Payload::Nothing => [load(0); 2],
            Payload::Values(_) => [load(1); 2],
            Payload::Positions => [load(2), load(1)],
        }
    }
}

/// The arrays that passes read and write in turns: the result and another one, so that the last pass
/// writes the result.
pub(super) struct Turns<'a> {
    sorting: &'a Sorting<'a>,
    passes: usize,
    spare: Buffer,
    spare_loads: Buffer,
    none: Buffer,
}

/// What one pass reads and writes, and from which element on it reads.
pub(super) struct Turn<'a> {
    from: &'a Buffer,
    at: usize,
    to: &'a Buffer,
    loads: Option<Moved<'a>>,
}

/// What goes with keys: as in [`Turn`].
struct Moved<'a> {
    from: &'a Buffer,
    at: usize,
    to: &'a Buffer,
}

impl<'a> Turns<'a> {
    pub fn new(sorting: &'a Sorting<'a>, passes: usize) -> Result<Turns<'a>> {
        let device = &sorting.out.device;
        let layout = Layout::contiguous(&[sorting.keys.layout.len()]);
        let spare = |dtype: Option<DType>| match dtype.filter(|_| passes > 1) {
            Some(dtype) => RawArray::alloc(sorting.op, device, &layout, dtype),
            None => Buffer::new(device, 0),
        };
        Ok(Turns {
            sorting,
            passes,
            spare: spare(Some(sorting.keys.dtype))?,
            spare_loads: spare(sorting.payload.dtype())?,
            none: Buffer::new(device, 0)?,
        })
    }

    pub fn turn(&self, pass: usize) -> Turn<'_> {
        let Sorting { keys, payload, out, loads, .. } = self.sorting;
        let last = (self.passes - 1 - pass).is_multiple_of(2);
        let order = |a, b| if last { (a, b) } else { (b, a) };
        let (from, to) = order(&self.spare, &**out);
        let (from, at) = match pass {
            0 => (&*keys.buffer, keys.layout.offset),
            _ => (from, 0),
        };
        let loads = loads.as_deref().map(|loads| {
            let (from, to) = order(&self.spare_loads, loads);
            let (from, at) = match (pass, payload) {
                (0, Payload::Values(values)) => (&*values.buffer, values.layout.offset),
                // Positions are made.
                (0, _) => (&self.none, 0),
                _ => (from, 0),
            };
            Moved { from, at, to }
        });
        Turn { from, at, to, loads }
    }
}

impl<'a> Turn<'a> {
    /// The parameters that all kernels end with: `loads_out`, `loads` and `loads_at`.
    pub fn bind_loads(&self, launch: &mut Launch<'a>) -> Result<()> {
        let Some(Moved { from, at, to }) = self.loads else { return Ok(()) };
        launch.output(to)?;
        launch.input(from)?;
        launch.value(at as u64)
    }

    pub fn bind_out(&self, launch: &mut Launch<'a>) -> Result<()> {
        launch.output(self.to)
    }

    /// `keys` and `keys_at`.
    pub fn bind_keys(&self, launch: &mut Launch<'a>) -> Result<()> {
        launch.input(self.from)?;
        launch.value(self.at as u64)
    }
}

pub(super) fn launch(sorting: Sorting<'_>, device: &ClDevice) -> Result<()> {
    let Sorting { op, keys, order, payload, len, .. } = sorting;
    let rows = keys.layout.len() / len;
    if sweep::fits(&sorting.out.device, device, rows, len) {
        return sweep::launch(sorting, device, None);
    }
    let bits = keys.dtype.size() * 8;
    let shape = Shape::of(device, keys.dtype.size());
    let wide = len > i32::MAX as usize / 2;
    let [first, rest] = payload.loads();
    let first_program = program(device, op, order, first, shape, wide)?;
    if shape.group > 1 && len <= shape.group * shape.each {
        let turns = Turns::new(&sorting, 1)?;
        let turn = turns.turn(0);
        let mut launch = Launch::new(device, &first_program, op, "sort_rows")?;
        turn.bind_out(&mut launch)?;
        turn.bind_keys(&mut launch)?;
        codegen::bind_index(&mut launch, len, wide)?;
        launch.value(bits as u32)?;
        turn.bind_loads(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; a group has a row, which fits into its
        // tile.
        return unsafe { launch.run([rows, 1, 1], [shape.group, 1, 1]) };
    }
    let program = program(device, op, order, rest, shape, wide)?;
    let passes = bits / shape.digit;
    let turns = Turns::new(&sorting, passes)?;
    let sort = Passes { device, op, shape, rows, len, wide };
    for pass in 0..passes {
        let program = if pass == 0 { &first_program } else { &program };
        sort.pass(program, pass * shape.digit, &turns.turn(pass))?;
    }
    Ok(())
}

struct Passes<'a> {
    device: &'a ClDevice,
    op: &'static str,
    shape: Shape,
    rows: usize,
    len: usize,
    wide: bool,
}

impl Passes<'_> {
    fn pass(&self, program: &Arc<Program>, shift: usize, turn: &Turn<'_>) -> Result<()> {
        let Passes { device, op, shape, rows, len, wide } = *self;
        let tile = shape.tile(device, rows, len);
        let tiles = len.div_ceil(tile);
        let tasks = rows * tiles;
        let layout = Layout::contiguous(&[rows, (1 << shape.digit) * tiles]);
        let counts = RawArray::alloc(op, &turn.to.device, &layout, DType::U64)?;
        let sizes = |launch: &mut Launch<'_>| {
            [len, tiles, tile]
                .into_iter()
                .try_for_each(|v| codegen::bind_index(launch, v, wide))?;
            launch.value(shift as u32)
        };
        let mut launch = Launch::new(device, program, op, "sort_count")?;
        launch.output(&counts)?;
        turn.bind_keys(&mut launch)?;
        sizes(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; a group has a tile of a row, and there are
        // counts for each.
        unsafe { launch.run([tasks, 1, 1], [shape.group, 1, 1])? };
        let counts = RawArray { buffer: Arc::new(counts), layout, dtype: DType::U64 };
        let zero = Some(crate::element::Scalar::U64(0));
        let starts = scan::scan(op, &Join::Sum, Operand::Array(&counts), 1, None, zero)?;
        let mut launch = Launch::new(device, program, op, "sort_scatter")?;
        turn.bind_out(&mut launch)?;
        launch.input(&starts.buffer)?;
        turn.bind_keys(&mut launch)?;
        sizes(&mut launch)?;
        turn.bind_loads(&mut launch)?;
        // SAFETY: as above; the counts say where each tile's keys go, and add up to the row's length.
        unsafe { launch.run([tasks, 1, 1], [shape.group, 1, 1]) }
    }
}

fn program(
    device: &ClDevice,
    op: &'static str,
    order: Order,
    load: Load,
    shape: Shape,
    wide: bool,
) -> Result<Arc<Program>> {
    let mut key = vec![
        order.dtype as u8,
        u8::from(order.descending),
        load.kind,
        load.size as u8,
        shape.each as u8,
        shape.digit as u8,
        u8::from(wide),
    ];
    key.extend((shape.group as u16).to_le_bytes());
    device.programs.get(device, op, ("sort", key), || {
        let point = Point { group: shape.group, ..device.point };
        [
            codegen::defines(device, wide, point),
            codegen::PRELUDE.to_string(),
            types(order, load.kind, load.size),
            format!("#define CLAN_EACH {}\n#define CLAN_DIGIT {}\n", shape.each, shape.digit),
            SOURCE.to_string(),
        ]
        .concat()
    })
}

/// What comes between the prelude and the file: keys, and a payload of a kind and size.
pub(crate) fn types(order: Order, kind: u8, size: usize) -> String {
    let key = codegen::word(order.dtype.size());
    let bits = order.dtype.size() * 8;
    let literal = |v: u64| format!("(({key}){v:#x}ul)");
    let sign = literal(1 << (bits - 1));
    let float = |infinity: u64| {
        let infinity = literal(infinity);
        format!(
            "(({key})((x) & ({key})~{sign}) > {infinity} ? ({key})~({key})0 : (x) & {sign} ? ({key})~(x) : ({key})((x) | {sign}))"
        )
    };
    let value = match order.dtype {
        DType::F16 => float(0x7c00),
        DType::BF16 => float(0x7f80),
        DType::F32 => float(0x7f80_0000),
        DType::F64 => float(0x7ff0_0000_0000_0000),
        d if d.is_signed() => format!("({key})((x) ^ {sign})"),
        _ => "(x)".to_string(),
    };
    let value = if order.descending { format!("({key})~{value}") } else { value };
    format!(
        "typedef {key} clan_key;
static inline {key} clan_order(const {key} x) {{ return {value}; }}
#define CLAN_ORDER(bits) clan_order(bits)
#define CLAN_PAYLOAD {kind}
typedef {} clan_load;
",
        codegen::word(size)
    )
}
