//! `map`: evaluates a whole element-wise expression in one pass. Kernel: `cl/map.cl`.

use super::{Op, run};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::expr::fuse_somewhere;
use crate::expr::fused::Fused;
use crate::expr::node::{Node, Operand};
use crate::host;
use crate::layout::{Dims, Layout, Strides, count, row_major};
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, Point, codegen};
#[cfg(feature = "opencl")]
use crate::tune::streams;
#[cfg(feature = "opencl")]
use crate::{device::DeviceKind, expr::fused::Nest};
use smallvec::smallvec;
use std::sync::Arc;

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../cl/map.cl");

/// Evaluates an expression into a new array, in parts where one kernel does not suffice.
pub(crate) fn eval(root: &Arc<Node>) -> Result<RawArray> {
    let (fused, _) = fuse_somewhere(root)?;
    let order = fused.memory_order();
    eval_ordered(&fused, &order)
}

/// The elements of an operand: an array as it is, with its strides.
pub(crate) fn array<'a>(input: impl Into<Operand<'a>>) -> Result<RawArray> {
    match input.into() {
        Operand::Array(array) => Ok(array.clone()),
        Operand::Node(root) => match root.array() {
            Some(array) => Ok(array.clone()),
            None => eval(root),
        },
    }
}

/// Evaluates an expression that is known to fit into one kernel.
pub(crate) fn eval_fitting(root: &Arc<Node>) -> Result<RawArray> {
    let fused = Fused::new(root);
    let order = fused.memory_order();
    eval_ordered(&fused, &order)
}

/// Evaluates an expression that is known to fit into one kernel into a row-major array.
pub(crate) fn eval_row_major(root: &Arc<Node>) -> Result<RawArray> {
    let fused = Fused::new(root);
    let order: Dims = (0..fused.shape.len()).collect();
    eval_ordered(&fused, &order)
}

fn eval_ordered(fused: &Fused, order: &[usize]) -> Result<RawArray> {
    let device = fused.device.clone().map_or_else(Device::best, Ok)?;
    count("eval", &fused.shape)?;
    let layout = ordered(&fused.shape, order);
    let dtype = fused.dtype();
    let mut buffer = RawArray::alloc("eval", &device, &layout, dtype)?;
    run(Map { fused, out: &mut buffer, layout: &layout, dtype, order }, &device)?;
    Ok(RawArray { buffer: Arc::new(buffer), layout, dtype })
}

/// Evaluates an expression of the layout's shape into a part of a buffer.
pub(crate) fn eval_into(
    fused: &Fused,
    out: &mut Buffer,
    layout: &Layout,
    dtype: DType,
) -> Result<()> {
    let device = out.device.clone();
    let order: Dims = (0..layout.shape.len()).collect();
    run(Map { fused, out, layout, dtype, order: &order }, &device)
}

/// Copies an array into a row-major buffer of its own.
#[cfg(feature = "opencl")]
pub(crate) fn copy_into(array: &RawArray, out: &mut Buffer) -> Result<()> {
    let layout = Layout::contiguous(&array.layout.shape);
    eval_into(&Fused::new(&Node::leaf(array.clone())), out, &layout, array.dtype)
}

/// The layout of `shape` whose rows start at multiples of `line` elements.
#[cfg(feature = "opencl")]
pub(crate) fn padded_layout(shape: &[usize], line: usize) -> Layout {
    let mut lengths = Dims::from_slice(shape);
    if let Some(last) = lengths.last_mut() {
        *last = last.next_multiple_of(line);
    }
    Layout { shape: Dims::from_slice(shape), strides: row_major(&lengths), offset: 0 }
}

/// Evaluates an expression that is known to fit into one kernel into such a layout. What lies
/// between the rows is not defined.
#[cfg(feature = "opencl")]
pub(crate) fn eval_padded(root: &Arc<Node>, line: usize) -> Result<RawArray> {
    let fused = Fused::new(root);
    let device = fused.device.clone().map_or_else(Device::best, Ok)?;
    let (layout, dtype) = (padded_layout(&fused.shape, line), fused.dtype());
    let mut buffer = RawArray::alloc_reaching("eval", &device, &layout, dtype)?;
    eval_into(&fused, &mut buffer, &layout, dtype)?;
    Ok(RawArray { buffer: Arc::new(buffer), layout, dtype })
}

/// The expression broadcast to `shape` on `device`.
pub(crate) fn as_shape(
    root: &Arc<Node>,
    op: &'static str,
    shape: &[usize],
    device: &Device,
) -> Result<Arc<Node>> {
    if let Some(other) = &root.device {
        device.require_same(op, "the array lives", other, "the value")?;
    }
    let value = Layout::contiguous(&root.shape);
    value.broadcast(op, shape)?;
    Ok(root.with(root.dtype, shape, Some(device)))
}

/// A gapless layout whose axes lie in memory in this order, outermost first.
fn ordered(shape: &[usize], order: &[usize]) -> Layout {
    let lengths: Dims = order.iter().map(|&a| shape[a]).collect();
    let mut strides: Strides = smallvec![0; shape.len()];
    for (&axis, step) in order.iter().zip(row_major(&lengths)) {
        strides[axis] = step;
    }
    Layout { shape: Dims::from_slice(shape), strides, offset: 0 }
}

struct Map<'a> {
    fused: &'a Fused,
    /// Owned alone by the caller; no leaf reads it.
    out: &'a mut Buffer,
    layout: &'a Layout,
    dtype: DType,
    /// Axes from the outermost loop to the innermost.
    order: &'a [usize],
}

impl Op for Map<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        self.fused.check("eval", device)
    }

    fn host(self) -> Result<()> {
        let nest = self.fused.nest(self.order, Some(self.layout));
        let at = self.layout.offset * self.dtype.size();
        if self.fused.len() == 0 {
            return Ok(());
        }
        if let Some(block) = self.out.host_mut() {
            // SAFETY: the layout lies inside the buffer, which the caller owns alone, and layouts
            // that are written have no two indices for one element.
            unsafe {
                host::eval::eval_into(self.fused, &nest, self.dtype, block.ptr_mut().add(at))
            };
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let n = self.fused.len();
        if n == 0 {
            return Ok(());
        }
        let nest = self.fused.nest(self.order, Some(self.layout));
        let strides = nest.strides[self.fused.leaves.len()].as_slice();
        let on = &self.out.device;
        let point = streams::map_point(on, &streams::MAP, self.dtype, device.point);
        let mut input = codegen::Input::new(self.fused, &nest, point);
        // Vectors need the result to be contiguous and aligned as well.
        if strides != [1] || !self.layout.offset.is_multiple_of(input.vec) {
            input.vec = 1;
        }
        let rows = row_tasks(device, &nest, input.vec, n);
        let point = match input.vec {
            _ if rows.is_some() => Point { group: 1, unroll: 1, ..point },
            1 => streams::map_point(on, &streams::MAP_STRIDED, self.dtype, device.scalar_point()),
            _ => point,
        };
        input.wide |= self.layout.offset + n > i32::MAX as usize;
        let mut key = vec![self.dtype as u8, u8::from(rows.is_some())];
        point.key(&mut key);
        codegen::stride_key(&mut key, strides);
        input.key(&mut key);
        let program = device.programs.get(device, "eval", ("map", key), || {
            let dims = nest.dims.len();
            let place = |name: &str, of: &str, coordinates: String| {
                let at = codegen::position("oo", "so_", strides);
                format!(
                    "static inline clan_off {name}({of} CLAN_OUT_PARAMS CLAN_PARAMS) {{\n{coordinates}  return {at};\n}}\n"
                )
            };
            let (params, args) = (codegen::output_params(strides), codegen::output_args(strides));
            let mut text = codegen::defines(device, input.wide, point);
            text += codegen::PRELUDE;
            text += &codegen::output_type(self.dtype, input.vec);
            text += &input.text();
            text += &format!("#define CLAN_OUT_PARAMS {params}\n");
            if rows.is_some() {
                let of = "const clan_ix row, const clan_ix j";
                text += &input.row_text();
                text += &place("clan_out_row_at", of, codegen::row_coordinates(dims));
                text += &format!("#define CLAN_ROW d{}\n", dims - 1);
                text += &format!("#define CLAN_OUT_ROW_AT(row, j) clan_out_row_at(row, j{args} CLAN_ARGS)\n");
            } else {
                text += &place("clan_out_at", "const clan_ix i", codegen::coordinates("i", dims));
                text += &format!("#define CLAN_OUT_AT(i) clan_out_at(i{args} CLAN_ARGS)\n");
            }
            text + SOURCE
        })?;
        let mut launch = Launch::new(device, &program, "eval", "map")?;
        launch.output(self.out)?;
        codegen::bind_index(&mut launch, n, input.wide)?;
        codegen::bind_output(&mut launch, self.layout.offset, strides, input.wide)?;
        input.bind(&mut launch)?;
        let groups = rows.unwrap_or(n.div_ceil(point.group * point.unroll * input.vec));
        // SAFETY: the arguments follow `map`'s parameters; it stays below n, and layouts stay
        // inside their buffers.
        unsafe { launch.run([groups, 1, 1], [point.group, 1, 1]) }
    }
}

/// Tasks of lone work-items that take whole rows, the innermost axis, where that is of use: on a CPU, whose compiler
/// makes vectors of a loop along a row but finds every element's coordinates otherwise.
#[cfg(feature = "opencl")]
pub(crate) fn row_tasks(device: &ClDevice, nest: &Nest, vec: usize, n: usize) -> Option<usize> {
    const LEAST: usize = 16;
    let (&row, outer) = nest.dims.split_last()?;
    let most = device.loop_rounds() / 2;
    let fits = device.launch_kind == DeviceKind::Cpu && vec == 1 && !outer.is_empty();
    if !fits || row < LEAST || row > most {
        return None;
    }
    let tasks = (device.info.compute_units * 4).max(n.div_ceil(most));
    Some(tasks.min(n / row))
}
