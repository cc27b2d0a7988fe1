//! `take`: elements that indices name. Kernel: `cl/gather.cl`.

use super::indexed::{Indexed, Key, Outside, Plan, Way, with_key};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::expr::node::Node;
use crate::host::eval::{Evaluator, SharedOut, walk};
use crate::layout::Layout;
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
use crate::ops::{Op, copy, run};
use std::sync::Arc;

/// The kernel's text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../../cl/gather.cl");

/// The elements of `array` that `indices` name.
pub(super) fn take(
    op: &'static str,
    array: &RawArray,
    indices: &Arc<Node>,
    way: Way,
) -> Result<RawArray> {
    // Positions in row-major order are places in memory only where there are no gaps.
    let array = match way {
        Way::Flat => &copy::contiguous(array)?,
        _ => array,
    };
    let plan = Plan::new(op, array.device(), &array.layout, indices, way, false)?;
    let layout = Layout::contiguous(&plan.shape);
    let mut out = RawArray::alloc(op, array.device(), &layout, array.dtype)?;
    if layout.len() > 0 {
        let device = array.device().clone();
        run(Take { op, array, indexed: plan.indexed, out: &mut out, most: MOST }, &device)?;
    }
    Ok(RawArray { buffer: Arc::new(out), layout, dtype: array.dtype })
}

/// Elements of one launch: positions in it have 32 bits in a note.
pub(super) const MOST: usize = 1 << 31;

pub(super) struct Take<'a> {
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    pub op: &'static str,
    pub array: &'a RawArray,
    pub indexed: Indexed,
    pub out: &'a mut Buffer,
    /// Elements of one launch at most.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    pub most: usize,
}

impl Op for Take<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        // Bits are moved, and indices are integers: every device can.
        Ok(())
    }

    fn host(mut self) -> Result<()> {
        let size = self.array.dtype.size();
        let size = size * self.indexed.widen(size, 0);
        let (Some(from), Some(out)) = (self.array.buffer.host(), self.out.host_mut()) else {
            return Ok(());
        };
        let (from, out) = (SharedOut(from.ptr().cast_mut()), SharedOut(out.ptr_mut()));
        let outside = with_key!(self.indexed.fused.dtype(), I => match size {
            1 => on_host::<u8, I>(&self.indexed, from, out),
            2 => on_host::<u16, I>(&self.indexed, from, out),
            4 => on_host::<u32, I>(&self.indexed, from, out),
            8 => on_host::<u64, I>(&self.indexed, from, out),
            _ => on_host::<[u64; 2], I>(&self.indexed, from, out),
        });
        outside.map_or(Ok(()), |(at, index)| Err(self.indexed.range.outside(at, index)))
    }

    #[cfg(feature = "opencl")]
    fn opencl(mut self, device: &ClDevice) -> Result<()> {
        let size = self.array.dtype.size();
        let size = size * self.indexed.widen(size, 0);
        let indexed = &self.indexed;
        let kernel = super::kernel::Kernel::new(device, indexed, size);
        let kernel = kernel.by_rows(device, self.most);
        let program = device.programs.get(device, self.op, ("gather", kernel.key(&[])), || {
            let word = codegen::word(size);
            kernel.text(device, &format!("typedef {word} clan_word;\n"), word, SOURCE)
        })?;
        let on = self.out.device.clone();
        kernel.launches(device, &on, self.most, |slot, [first, end]| {
            let mut launch = Launch::new(device, &program, self.op, "gather")?;
            launch.output(self.out)?;
            launch.input(&self.array.buffer)?;
            codegen::bind_index(&mut launch, first, kernel.input.wide)?;
            codegen::bind_index(&mut launch, end, kernel.input.wide)?;
            // SAFETY: the arguments follow the kernel's parameters; it reads places of the array that it
            // has checked, and writes elements `first` to `end` of the result.
            unsafe { kernel.run(launch, slot, [first, end]) }
        })
    }
}

fn on_host<W: Copy, I: Key>(indexed: &Indexed, from: SharedOut, out: SharedOut) -> Outside {
    let eval = Evaluator::new(&indexed.fused, &indexed.nest);
    let (base, len, step) = (indexed.base(), indexed.len, indexed.step);
    let rows = indexed.has_rows();
    indexed.pieces(|range| {
        let (mut scratch, mut outside) = (eval.scratch(), None);
        indexed.each_chunk::<I>(&eval, &mut scratch, range, |start, keys| {
            if outside.is_some() {
                return;
            }
            walk(&indexed.nest.dims, base, start, keys.len(), |at, offset, stride, n| {
                let first = indexed.offset as isize + offset;
                if rows {
                    match keys[at].place(len) {
                        // SAFETY: a checked place of the array; pieces write ranges of their own.
                        Some(place) => unsafe {
                            let row = from.at::<W>(first + place as isize * step);
                            out.at::<W>((start + at) as isize).copy_from_nonoverlapping(row, n);
                        },
                        None => outside = outside.or(Some((start + at, keys[at].bits()))),
                    }
                    return;
                }
                for (j, key) in keys[at..at + n].iter().enumerate() {
                    let Some(place) = key.place(len) else {
                        outside = outside.or(Some((start + at + j, key.bits())));
                        return;
                    };
                    let place = first + j as isize * stride + place as isize * step;
                    // SAFETY: as above.
                    unsafe {
                        out.at::<W>((start + at + j) as isize).write(from.at::<W>(place).read());
                    }
                }
            });
        });
        outside
    })
}
