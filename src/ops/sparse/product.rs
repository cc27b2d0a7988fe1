//! Products of sparse matrices with vectors and dense matrices.

#[cfg(feature = "opencl")]
use super::plan::GROUP;
use super::plan::{BLOCK, JOIN};
use super::{SparseMatrix, copy, on_host, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
#[cfg(feature = "opencl")]
use crate::element::DType;
use crate::error::Result;
use crate::host;
use crate::host::eval::SharedOut;
use crate::layout::Layout;
use crate::ops::Op;
use crate::ops::linalg::Real;
#[cfg(feature = "opencl")]
use crate::{
    device::DeviceKind,
    opencl::{ClDevice, Launch, codegen, program::Program},
};
use std::sync::Arc;

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../../cl/sparse.cl");

/// `matrix` times a vector or a dense matrix of fitting shape on the same device.
pub(super) fn product<T: Real>(
    op: &'static str,
    matrix: &SparseMatrix<T>,
    other: &RawArray,
) -> Result<DeviceArray<T>> {
    let device = matrix.device().clone();
    let mut shape = other.layout.shape.clone();
    shape[0] = matrix.shape.0;
    let layout = Layout::contiguous(&shape);
    let mut out = RawArray::alloc(op, &device, &layout, T::DTYPE)?;
    if layout.len() > 0 {
        // Rows may lie anywhere, but are read without gaps.
        let width = shape.get(1).copied().unwrap_or(1);
        let other = match (shape.len(), other.layout.strides.as_slice()) {
            (2, [_, 1]) => other.clone(),
            _ => copy::contiguous(other)?,
        };
        let stride = if shape.len() == 2 { other.layout.strides[0] } else { 1 };
        let sums = Layout::contiguous(&[matrix.partials, width]);
        let mut partials = RawArray::alloc(op, &device, &sums, T::DTYPE)?;
        let product = Product {
            op,
            matrix,
            other: &other,
            stride,
            width,
            out: &mut out,
            partials: &mut partials,
        };
        run(product, &device)?;
    }
    Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(out), layout, dtype: T::DTYPE }))
}

struct Product<'a, T> {
    op: &'static str,
    matrix: &'a SparseMatrix<T>,
    other: &'a RawArray,
    /// From one row of the other operand to the next.
    stride: isize,
    /// Columns of the other operand and of the result, one at least.
    width: usize,
    out: &'a mut Buffer,
    /// A sum a part of a long row and column.
    partials: &'a mut Buffer,
}

impl<T: Real> Op for Product<'_, T> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, T::DTYPE)
    }

    fn host(self) -> Result<()> {
        match self.matrix.wide {
            true => self.in_memory(|&n: &u64| n as usize),
            false => self.in_memory(|&n: &u32| n as usize),
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let (m, width) = (self.matrix, self.width);
        let blocks = m.blocks.layout.len() / BLOCK;
        let joins = m.joins.layout.len() / JOIN;
        let shape = Shape::of(device, width, self.other.layout.shape.len() == 1);
        let reach = (m.shape.0.max(m.partials) as u128 * width as u128)
            .max(self.other.layout.offset as u128)
            + m.shape.1 as u128 * self.stride.unsigned_abs() as u128
            + width as u128
            + 1024;
        let wide = m.wide || reach > i32::MAX as u128;
        let mut key = shape.key();
        key.extend([T::DTYPE as u8, u8::from(m.wide), u8::from(wide)]);
        // Only where blocks lie in local memory do their sizes show in the text.
        let tile = if shape.vector && !shape.flat { m.tile } else { 1024 };
        key.extend((tile as u16).to_le_bytes());
        let one_lane = shape.vector && !shape.flat && m.short;
        // With an offset the compiler of NVIDIA no longer takes the vector for constant: 3431 instead of
        // 4213 GB/s on an H200, and with several lanes 3381 instead of 3624.
        let no_offset = shape.vector && self.other.layout.offset == 0;
        key.extend([u8::from(one_lane), u8::from(no_offset)]);
        let program: Arc<Program> =
            device.programs.get(device, self.op, ("sparse", key), || {
                let mut point = device.point;
                (point.group, point.unroll) = (shape.group, 1);
                let types = types(T::DTYPE, m.wide, tile);
                let defines = codegen::defines(device, wide, point);
                let one_lane = if one_lane { "#define CLAN_ONE_LANE\n" } else { "" };
                let no_offset = if no_offset { "#define CLAN_NO_OFFSET\n" } else { "" };
                let shape = shape.text();
                [&defines, codegen::PRELUDE, &types, &shape, one_lane, no_offset, SOURCE].concat()
            })?;
        let name = if shape.vector { "csr_vector" } else { "csr_matrix" };
        let mut launch = Launch::new(device, &program, self.op, name)?;
        launch.output(self.out)?;
        launch.output(self.partials)?;
        launch.input(&m.blocks.buffer)?;
        launch.input(&m.starts.buffer)?;
        launch.input(&m.columns.raw()?.buffer)?;
        launch.input(&m.values.raw()?.buffer)?;
        launch.input(&self.other.buffer)?;
        codegen::bind_offset(&mut launch, self.other.layout.offset as isize, wide)?;
        let groups = if shape.vector {
            codegen::bind_index(&mut launch, blocks, wide)?;
            if shape.flat { blocks.div_ceil(shape.group) } else { blocks }
        } else {
            let strips = width.div_ceil(shape.lanes * shape.columns);
            codegen::bind_offset(&mut launch, self.stride, wide)?;
            codegen::bind_index(&mut launch, width, wide)?;
            codegen::bind_index(&mut launch, strips, wide)?;
            blocks * strips
        };
        // SAFETY: the arguments follow the kernel's parameters. Blocks, starts and columns were
        // checked or made when the matrix was, and nobody has written them since: rows lie inside the
        // result, elements inside the matrix, columns inside the other operand.
        unsafe { launch.run([groups, 1, 1], [shape.group, 1, 1]) }?;
        if joins == 0 {
            return Ok(());
        }
        let mut launch = Launch::new(device, &program, self.op, "csr_join")?;
        launch.output(self.out)?;
        launch.input(self.partials)?;
        launch.input(&m.joins.buffer)?;
        codegen::bind_index(&mut launch, width, wide)?;
        // SAFETY: as above; joins name rows of the result and sums that were just made.
        unsafe { launch.run([joins * width, 1, 1], [shape.group, 1, 1]) }
    }
}

/// How kernels are shaped for a call.
#[cfg(feature = "opencl")]
struct Shape {
    vector: bool,
    flat: bool,
    group: usize,
    /// `CLAN_LANES` and `CLAN_COLS`.
    lanes: usize,
    columns: usize,
}

#[cfg(feature = "opencl")]
impl Shape {
    fn of(device: &ClDevice, width: usize, vector: bool) -> Shape {
        // Blocks are made for groups of this size.
        let flat = device.launch_kind == DeviceKind::Cpu || device.point.group < GROUP;
        // On CPUs a work-item has a block or a row: small groups, so that all threads get some.
        let group = if flat { device.point.group.min(8) } else { GROUP };
        let fit = width.next_power_of_two();
        let (lanes, columns) = match (vector, flat) {
            (true, _) => (1, 1),
            (false, true) => (1, fit.min(16)),
            // Lanes read neighbouring elements; with more columns an element of the matrix is read less often.
            (false, false) => {
                let lanes = fit.min(32).min(group);
                (lanes, (fit / lanes).min(4))
            }
        };
        Shape { vector, flat, group, lanes, columns }
    }

    fn key(&self) -> Vec<u8> {
        let flags = u8::from(self.vector) | u8::from(self.flat) << 1;
        let mut key = vec![flags, self.lanes as u8, self.columns as u8];
        key.extend((self.group as u16).to_le_bytes());
        key
    }

    fn text(&self) -> String {
        let flat = if self.flat { "#define CLAN_FLAT\n" } else { "" };
        let Shape { lanes, columns, .. } = self;
        format!("{flat}#define CLAN_LANES {lanes}\n#define CLAN_COLS {columns}\n")
    }
}

/// What comes between the prelude and the file for an element type and positions of 32 or 64 bits.
#[cfg(feature = "opencl")]
pub(crate) fn types(dtype: DType, wide: bool, tile: usize) -> String {
    let (element, start) = (codegen::storage(dtype), if wide { "ulong" } else { "uint" });
    format!(
        "typedef {element} clan_t;\ntypedef {element}4 clan_t4;\ntypedef {start} clan_start;\ntypedef {start}4 clan_start4;\n#define CLAN_TILE {tile}\n",
    )
}

/// Blocks that a thread takes at a time.
const BLOCKS_A_TASK: usize = 8;

impl<T: Real> Product<'_, T> {
    /// The host half; `wide` reads a position.
    fn in_memory<N: Sync>(self, number: impl Fn(&N) -> usize + Sync) {
        let Product { matrix: m, other, stride, width, out, partials, .. } = self;
        // SAFETY: of these types, made without gaps, and never written again.
        let (blocks, joins, starts, columns, values) = unsafe {
            let (Ok(columns), Ok(values)) = (m.columns.raw(), m.values.raw()) else { return };
            (
                on_host::<N>(&m.blocks),
                on_host::<N>(&m.joins),
                on_host::<N>(&m.starts),
                on_host::<u32>(columns),
                on_host::<T>(values),
            )
        };
        // An operand without elements meets none of the matrix.
        let x = other.buffer.host().map_or(std::ptr::null(), |block| {
            // SAFETY: a layout's offset lies inside its buffer.
            unsafe { block.ptr().cast::<T>().add(other.layout.offset) }
        });
        let x = SharedOut(x.cast_mut().cast());
        let start = |block: &mut Buffer| {
            SharedOut(block.host_mut().map_or(std::ptr::null_mut(), |block| block.ptr_mut()))
        };
        let (out, partials) = (start(out), start(partials));
        // One row or a part of one into `width` elements at `to`.
        let sum = |from: usize, end: usize, to: *mut T| {
            let (columns, values) = (&columns[from..end], &values[from..end]);
            if width == 1 {
                // SAFETY: columns lie inside the operand, which nobody writes; the place is the caller's.
                unsafe { to.write(row(columns, values, |c| *x.at::<T>(c as isize * stride))) };
                return;
            }
            // SAFETY: the place of one row, which is the caller's alone.
            let to = unsafe {
                to.write_bytes(0, width);
                std::slice::from_raw_parts_mut(to, width)
            };
            for (&c, &v) in columns.iter().zip(values) {
                // SAFETY: a row of the operand, inside of it, which nobody writes.
                let line = unsafe {
                    std::slice::from_raw_parts(x.at::<T>(c as isize * stride).cast_const(), width)
                };
                to.iter_mut().zip(line).for_each(|(to, &b)| *to = *to + v * b);
            }
        };
        let each = |block: &[N]| {
            let [first, end, from, to] = [0, 1, 2, 3].map(|i| number(&block[i]));
            if first == end {
                // SAFETY: the place of this part's sums, inside the partial sums.
                return sum(from, to, unsafe { partials.at((first * width) as isize) });
            }
            let mut from = from;
            for r in first..end {
                let to = number(&starts[r + 1]);
                // SAFETY: the place of row `r`, which is in this block alone.
                sum(from, to, unsafe { out.at((r * width) as isize) });
                from = to;
            }
        };
        let join = |join: &[N]| {
            let [row, from, to] = [0, 1, 2].map(|i| number(&join[i]));
            for column in 0..width {
                let mut sum = T::default();
                for slot in from..to {
                    // SAFETY: the sums of the row's parts, which have all been made.
                    sum = sum + unsafe { *partials.at::<T>((slot * width + column) as isize) };
                }
                // SAFETY: a long row is in no block.
                unsafe { out.at::<T>((row * width + column) as isize).write(sum) };
            }
        };
        let task = BLOCK * BLOCKS_A_TASK;
        host::for_tasks(blocks.len().div_ceil(task), (m.nnz() + m.shape.0) * width, |k| {
            let blocks = &blocks[k * task..blocks.len().min((k + 1) * task)];
            blocks.chunks(BLOCK).for_each(each);
        });
        joins.chunks(JOIN).for_each(join);
    }
}

/// Elements from which a row has four sums: their additions need not wait for each other.
const LONG: usize = 16;

#[inline(always)]
fn row<T: Real>(columns: &[u32], values: &[T], x: impl Fn(u32) -> T) -> T {
    let mut sum = T::default();
    if columns.len() < LONG {
        for (&c, &v) in columns.iter().zip(values) {
            sum = sum + v * x(c);
        }
        return sum;
    }
    let mut sums = [sum; 4];
    let (by_four, rest) = columns.as_chunks::<4>();
    let (values, values_left) = values.as_chunks::<4>();
    for (c, v) in by_four.iter().zip(values) {
        for i in 0..4 {
            sums[i] = sums[i] + v[i] * x(c[i]);
        }
    }
    sum = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    for (&c, &v) in rest.iter().zip(values_left) {
        sum = sum + v * x(c);
    }
    sum
}
