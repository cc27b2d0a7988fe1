//! How the kernels of `cl/sort.cl` are shaped for a device, and launched.

use super::{Order, Payload, Sorting, sweep};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::DeviceKind;
use crate::element::DType;
use crate::error::Result;
use crate::expr::node::Node;
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

/// A kernel's arguments for what goes with keys.
struct Loads<'a> {
    to: &'a Buffer,
    from: Option<&'a Buffer>,
    at: usize,
}

pub(super) fn launch(sorting: Sorting<'_>, device: &ClDevice) -> Result<()> {
    let rows = sorting.keys.layout.len() / sorting.len;
    if sweep::fits(&sorting.out.device, device, rows, sorting.len) {
        return sweep::launch(sorting, device, None);
    }
    let Sorting { op, keys, order, payload, len, out, loads } = sorting;
    let bits = keys.dtype.size() * 8;
    let shape = Shape::of(device, keys.dtype.size());
    let wide = len > i32::MAX as usize / 2;
    // Positions are made in the first pass, and values after it.
    let first = program(device, op, order, &payload, shape, wide)?;
    let (from, from_at) = match payload {
        Payload::Values(values) => (Some(&*values.buffer), values.layout.offset),
        _ => (None, 0),
    };
    let sort = Passes { device, op, shape, rows, len, wide };
    if shape.group > 1 && len <= shape.group * shape.each {
        let mut launch = Launch::new(device, &first, op, "sort_rows")?;
        launch.output(out)?;
        launch.input(&keys.buffer)?;
        launch.value(keys.layout.offset as u64)?;
        codegen::bind_index(&mut launch, len, wide)?;
        launch.value(bits as u32)?;
        let none = Buffer::new(&out.device, 0)?;
        if let Some(to) = loads.as_deref() {
            launch.output(to)?;
            launch.input(from.unwrap_or(&none))?;
            launch.value(from_at as u64)?;
        }
        // SAFETY: the arguments follow the kernel's parameters; a group has a row, which fits into its
        // tile.
        return unsafe { launch.run([rows, 1, 1], [shape.group, 1, 1]) };
    }
    let rest = match payload {
        Payload::Positions => {
            let stand_in = RawArray { dtype: DType::U32, ..keys.clone() };
            program(device, op, order, &Payload::Values(&stand_in), shape, wide)?
        }
        _ => first.clone(),
    };
    let passes = bits / shape.digit;
    let n = rows * len;
    let other = |dtype: DType| RawArray::alloc(op, &out.device, &Layout::contiguous(&[n]), dtype);
    let mut other_keys = if passes > 1 { Some(other(keys.dtype)?) } else { None };
    let mut other_loads = match payload.dtype() {
        Some(dtype) if passes > 1 => Some(other(dtype)?),
        _ => None,
    };
    for pass in 0..passes {
        // The last pass writes the result.
        let last = (passes - 1 - pass).is_multiple_of(2);
        let (program, shift) = (if pass == 0 { &first } else { &rest }, pass * shape.digit);
        let (Some(spare), spare_loads) = (other_keys.as_mut(), other_loads.as_mut()) else {
            let loads = loads.as_deref().map(|to| Loads { to, from, at: from_at });
            return sort.pass(program, shift, (&keys.buffer, keys.layout.offset), out, loads);
        };
        let (read, write): (&Buffer, &Buffer) = if last { (spare, out) } else { (out, spare) };
        let (read_loads, write_loads) = match last {
            true => (spare_loads.as_deref(), loads.as_deref()),
            false => (loads.as_deref(), spare_loads.as_deref()),
        };
        let (read, at, read_loads, loads_at) = match pass {
            0 => (&*keys.buffer, keys.layout.offset, from, from_at),
            _ => (read, 0, read_loads, 0),
        };
        let loads = write_loads.map(|to| Loads { to, from: read_loads, at: loads_at });
        sort.pass(program, shift, (read, at), write, loads)?;
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
    fn pass(
        &self,
        program: &Arc<Program>,
        shift: usize,
        (keys, keys_at): (&Buffer, usize),
        out: &Buffer,
        loads: Option<Loads<'_>>,
    ) -> Result<()> {
        let Passes { device, op, shape, rows, len, wide } = *self;
        let tile = shape.tile(device, rows, len);
        let tiles = len.div_ceil(tile);
        let tasks = rows * tiles;
        let layout = Layout::contiguous(&[rows, (1 << shape.digit) * tiles]);
        let counts = RawArray::alloc(op, &out.device, &layout, DType::U64)?;
        let sizes = |launch: &mut Launch<'_>| {
            [len, tiles, tile]
                .into_iter()
                .try_for_each(|v| codegen::bind_index(launch, v, wide))?;
            launch.value(shift as u32)
        };
        let mut launch = Launch::new(device, program, op, "sort_count")?;
        launch.output(&counts)?;
        launch.input(keys)?;
        launch.value(keys_at as u64)?;
        sizes(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; a group has a tile of a row, and there are
        // counts for each.
        unsafe { launch.run([tasks, 1, 1], [shape.group, 1, 1])? };
        let counts = RawArray { buffer: Arc::new(counts), layout, dtype: DType::U64 };
        let zero = Some(crate::element::Scalar::U64(0));
        let starts = scan::scan(op, &Join::Sum, &Node::leaf(counts), 1, None, zero)?;
        let mut launch = Launch::new(device, program, op, "sort_scatter")?;
        launch.output(out)?;
        launch.input(&starts.buffer)?;
        launch.input(keys)?;
        launch.value(keys_at as u64)?;
        sizes(&mut launch)?;
        let none = Buffer::new(&out.device, 0)?;
        if let Some(loads) = &loads {
            launch.output(loads.to)?;
            launch.input(loads.from.unwrap_or(&none))?;
            launch.value(loads.at as u64)?;
        }
        // SAFETY: as above; the counts say where each tile's keys go, and add up to the row's length.
        unsafe { launch.run([tasks, 1, 1], [shape.group, 1, 1]) }
    }
}

/// A payload's number in the kernels.
pub(super) fn kind(payload: &Payload<'_>) -> u8 {
    match payload {
        Payload::Nothing => 0,
        Payload::Values(_) => 1,
        Payload::Positions => 2,
    }
}

fn program(
    device: &ClDevice,
    op: &'static str,
    order: Order,
    payload: &Payload<'_>,
    shape: Shape,
    wide: bool,
) -> Result<Arc<Program>> {
    let kind = kind(payload);
    let size = payload.dtype().map_or(4, DType::size);
    let mut key = vec![
        order.dtype as u8,
        u8::from(order.descending),
        kind,
        size as u8,
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
            types(order, kind, size),
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
