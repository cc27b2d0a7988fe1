//! `copy`: arrays of any strides into row-major order. Kernels: `cl/copy.cl` for transposes,
//! `cl/map.cl` for the rest.

use super::{Op, map, run};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::{Error, Result};
use crate::expr::fused::Fused;
use crate::expr::node::Node;
use crate::host;
use crate::host::eval::SharedOut;
use crate::layout::{Layout, coalesce};
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
#[cfg(feature = "opencl")]
use crate::tune::streams;
use std::sync::Arc;

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../cl/copy.cl");

/// The array itself when it is in row-major order without gaps, else a copy that is.
pub(crate) fn contiguous(array: &RawArray) -> Result<RawArray> {
    if array.layout.is_contiguous() { Ok(array.clone()) } else { contiguous_copy(array) }
}

/// The same of an array that nobody else needs.
pub(crate) fn into_contiguous(array: RawArray) -> Result<RawArray> {
    if array.layout.is_contiguous() { Ok(array) } else { contiguous_copy(&array) }
}

/// A copy in row-major order.
pub(crate) fn contiguous_copy(array: &RawArray) -> Result<RawArray> {
    let device = array.device().clone();
    let layout = Layout::contiguous(&array.layout.shape);
    let dtype = array.dtype;
    if array.layout.is_contiguous() {
        let mut buffer = RawArray::alloc("copy", &device, &layout, dtype)?;
        let size = dtype.size();
        buffer.copy_from(0, &array.buffer, array.layout.offset * size, layout.len() * size)?;
        return Ok(RawArray { buffer: Arc::new(buffer), layout, dtype });
    }
    let Some(shape) = Transpose::of(&array.layout, &layout.strides).filter(|t| t.pays_on(&device))
    else {
        let bits = RawArray { dtype: unsigned(dtype), ..array.clone() };
        return Ok(RawArray { dtype, ..map::eval_row_major(&Node::leaf(bits))? });
    };
    let mut buffer = RawArray::alloc("copy", &device, &layout, dtype)?;
    run(Copy { array, out: &mut buffer, shape: &shape, dtype }, &device)?;
    Ok(RawArray { buffer: Arc::new(buffer), layout, dtype })
}

/// A copy whose rows, the last axis, start at multiples of `line` elements. What lies between them is
/// not defined.
#[cfg(feature = "opencl")]
pub(crate) fn padded(array: &RawArray, line: usize) -> Result<RawArray> {
    let shape = &array.layout.shape;
    if shape.last().is_none_or(|d| d.is_multiple_of(line)) {
        return contiguous_copy(array);
    }
    let device = array.device().clone();
    let dtype = array.dtype;
    let layout = map::padded_layout(shape, line);
    let mut buffer = RawArray::alloc_reaching("copy", &device, &layout, dtype)?;
    match Transpose::of(&array.layout, &layout.strides).filter(|t| t.pays_on(&device)) {
        Some(shape) => run(Copy { array, out: &mut buffer, shape: &shape, dtype }, &device)?,
        None => {
            let bits = RawArray { dtype: unsigned(dtype), ..array.clone() };
            let fused = Fused::new(&Node::leaf(bits));
            map::eval_into(&fused, &mut buffer, &layout, unsigned(dtype))?;
        }
    }
    Ok(RawArray { buffer: Arc::new(buffer), layout, dtype })
}

/// Arrays one after the other along an axis, as one of `shape` in row-major order: their lengths along
/// it add up to that of `shape`, and all others are the same.
pub(crate) fn concatenated(
    op: &'static str,
    device: &Device,
    shape: &[usize],
    axis: usize,
    parts: &[RawArray],
) -> Result<RawArray> {
    let layout = Layout::contiguous(shape);
    let Some(dtype) = parts.first().map(|part| part.dtype) else {
        return Err(Error::argument(op, "no arrays to put together"));
    };
    let mut buffer = RawArray::alloc(op, device, &layout, dtype)?;
    let mut target = layout.clone();
    let mut at = 0;
    for part in parts {
        let n = part.layout.shape[axis];
        target.shape[axis] = n;
        if target.len() > 0 {
            target.offset = at * layout.strides[axis].unsigned_abs();
            let bits = RawArray { dtype: unsigned(dtype), ..part.clone() };
            map::eval_into(&Fused::new(&Node::leaf(bits)), &mut buffer, &target, unsigned(dtype))?;
        }
        at += n;
    }
    debug_assert_eq!(at, shape[axis]);
    Ok(RawArray { buffer: Arc::new(buffer), layout, dtype })
}

/// Copies move bits: no arithmetic, so every type works on every device, and types of one size
/// share a program.
pub(crate) fn unsigned(dtype: DType) -> DType {
    match dtype.size() {
        1 => DType::U8,
        2 => DType::U16,
        4 => DType::U32,
        _ => DType::U64,
    }
}

/// A copy as a batch of transposes: the output is contiguous along `x`, the input along `y`.
struct Transpose {
    offset: usize,
    height: usize,
    width: usize,
    /// Elements between neighbours along x in the input, along y in the output.
    in_step: isize,
    out_step: isize,
    /// The other axes: length, input stride, output stride; outermost first.
    batch: Vec<(usize, isize, isize)>,
}

impl Transpose {
    /// The copy of `layout` into one of the same shape and the strides `out`, contiguous along the
    /// last axis.
    fn of(layout: &Layout, out: &[isize]) -> Option<Transpose> {
        let (dims, strides) = coalesce(&layout.shape, &[layout.strides.as_slice(), out]);
        let (strides, out) = (&strides[0], &strides[1]);
        let x = dims.len().checked_sub(1)?;
        if layout.len() == 0 || strides[x].unsigned_abs() <= 1 {
            return None;
        }
        let y = strides[..x].iter().position(|&s| s == 1)?;
        let batch =
            (0..x).filter(|&a| a != y).map(|a| (dims[a], strides[a], out[a])).collect::<Vec<_>>();
        Some(Transpose {
            offset: layout.offset,
            height: dims[y],
            width: dims[x],
            in_step: strides[x],
            out_step: out[y],
            batch,
        })
    }

    /// A CPU through OpenCL has no local memory of its own to gain from; thin matrices fill no
    /// tiles.
    fn pays_on(&self, device: &Device) -> bool {
        let tiled = device.launch_kind() != crate::DeviceKind::Cpu;
        tiled && self.height >= 8 && self.width >= 8
    }

    fn batches(&self) -> usize {
        self.batch.iter().map(|b| b.0).product()
    }

    /// Input and output offsets of one batch index.
    fn origin(&self, mut index: usize) -> (isize, isize) {
        let (mut from, mut to) = (self.offset as isize, 0);
        for &(len, si, so) in self.batch.iter().rev() {
            let q = (index % len) as isize;
            index /= len;
            from += q * si;
            to += q * so;
        }
        (from, to)
    }
}

struct Copy<'a> {
    array: &'a RawArray,
    /// Row-major, owned alone by the caller.
    out: &'a mut Buffer,
    shape: &'a Transpose,
    dtype: DType,
}

/// Side of the tiles that the host moves: a tile of 8-byte elements and its target fit the first
/// level cache.
const HOST_TILE: usize = 32;

impl Op for Copy<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        // Moving bytes is possible for every type, shape and device.
        Ok(())
    }

    fn host(self) -> Result<()> {
        if let (Some(from), Some(to)) = (self.array.buffer.host(), self.out.host_mut()) {
            let (from, to) = (SharedOut(from.ptr().cast_mut()), SharedOut(to.ptr_mut()));
            match self.dtype.size() {
                1 => transpose::<u8>(self.shape, from, to),
                2 => transpose::<u16>(self.shape, from, to),
                4 => transpose::<u32>(self.shape, from, to),
                _ => transpose::<u64>(self.shape, from, to),
            }
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let t = self.shape;
        let size = self.dtype.size();
        let mut point = device.point;
        // 256 work-items move 16 elements each; smaller groups or memories take smaller tiles.
        let fits = |tile: usize| {
            point.group.is_multiple_of(tile)
                && (tile * (tile + 1) * size) as u64 <= device.local_bytes()
        };
        let tuned = streams::transpose_point(&self.out.device, self.dtype);
        let default = [64, 32, 16, 8].into_iter().find(|&t| fits(t));
        let default = default.filter(|&t| t >= 16 || size == 8).map(|tile| (point.group, tile));
        let Some((group, tile)) = tuned.or(default) else {
            let bits = RawArray { dtype: unsigned(self.dtype), ..self.array.clone() };
            return map::copy_into(&bits, self.out);
        };
        (point.group, point.unroll) = (group, 1);
        let reach = self.array.layout.len() as u128 * 2
            + self.array.layout.offset as u128
            + self
                .array
                .layout
                .shape
                .iter()
                .zip(&self.array.layout.strides)
                .map(|(&d, &s)| d as u128 * s.unsigned_abs() as u128)
                .sum::<u128>();
        let wide = reach > i32::MAX as u128;
        let mut key = vec![size as u8, tile as u8, t.batch.len() as u8, u8::from(wide)];
        point.key(&mut key);
        let program = device.programs.get(device, "copy", ("copy", key), || {
            let name = codegen::word(size);
            let mut params = String::new();
            let mut offsets = String::new();
            for k in (0..t.batch.len()).rev() {
                params.push_str(&format!(", const clan_ix n{k}, const clan_off i{k}, const clan_off t{k}"));
                offsets.push_str(&format!(
                    " from += (clan_off)(b % n{k}) * i{k}; to += (clan_off)(b % n{k}) * t{k}; b /= n{k};"
                ));
            }
            [
                codegen::defines(device, wide, point),
                codegen::PRELUDE.to_string(),
                format!("typedef {name} clan_t;\n#define CLAN_TILE {tile}\n"),
                format!("#define CLAN_BATCH_PARAMS {params}\n#define CLAN_BATCH_OFFSETS(b, from, to) {offsets}\n"),
                SOURCE.to_string(),
            ]
            .concat()
        })?;
        let (tiles_y, tiles_x) = (t.height.div_ceil(tile), t.width.div_ceil(tile));
        let mut launch = Launch::new(device, &program, "copy", "transpose")?;
        launch.output(self.out)?;
        launch.input(&self.array.buffer)?;
        codegen::bind_offset(&mut launch, t.offset as isize, wide)?;
        codegen::bind_index(&mut launch, t.height, wide)?;
        codegen::bind_index(&mut launch, t.width, wide)?;
        codegen::bind_offset(&mut launch, t.in_step, wide)?;
        codegen::bind_offset(&mut launch, t.out_step, wide)?;
        codegen::bind_index(&mut launch, tiles_y, wide)?;
        codegen::bind_index(&mut launch, tiles_x, wide)?;
        for &(n, from, to) in t.batch.iter().rev() {
            codegen::bind_index(&mut launch, n, wide)?;
            codegen::bind_offset(&mut launch, from, wide)?;
            codegen::bind_offset(&mut launch, to, wide)?;
        }
        // SAFETY: the arguments follow the kernel's parameters; it guards the edges of the tiles,
        // and both layouts lie inside their buffers.
        unsafe { launch.run([tiles_y * tiles_x * t.batches(), 1, 1], [point.group, 1, 1]) }
    }
}

fn transpose<T: std::marker::Copy + Send + Sync>(t: &Transpose, from: SharedOut, to: SharedOut) {
    let (tiles_y, tiles_x) = (t.height.div_ceil(HOST_TILE), t.width.div_ceil(HOST_TILE));
    let strip = |s: usize| {
        // One strip of tiles: all x for HOST_TILE rows of the output.
        let (batch, ty) = (s / tiles_y, s % tiles_y);
        let (i0, o0) = t.origin(batch);
        let (y0, y1) = (ty * HOST_TILE, ((ty + 1) * HOST_TILE).min(t.height));
        for tx in 0..tiles_x {
            let (x0, x1) = (tx * HOST_TILE, ((tx + 1) * HOST_TILE).min(t.width));
            for y in y0..y1 {
                for x in x0..x1 {
                    let i = i0 + y as isize + x as isize * t.in_step;
                    let o = o0 + y as isize * t.out_step + x as isize;
                    // SAFETY: inside both layouts; strips write disjoint rows of the output.
                    unsafe { to.at::<T>(o).write(from.at::<T>(i).read()) }
                }
            }
        }
    };
    let strips = tiles_y * t.batches();
    host::for_tasks(strips, t.height * t.width * t.batches(), strip);
}
