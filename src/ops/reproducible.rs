//! `reproducible`: reductions of floats with the same bits on every device.
//! Kernels: `cl/reproducible.cl`, whose head says in which order elements are joined.

use super::{Op, run};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::node::Node;
use crate::group::ReduceOp;
use crate::host::each_task;
use crate::host::eval::SharedOut;
use crate::layout::{Dims, Layout, Strides};
use crate::ops::{copy, map};
#[cfg(feature = "opencl")]
use crate::{
    device::DeviceKind,
    opencl::{ClDevice, Launch, Point, codegen},
};
use std::sync::Arc;

/// The kernel's text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../cl/reproducible.cl");

const LANES: usize = 32;

/// Elements of a block: `CLAN_LANES * CLAN_EACH`.
pub(crate) const BLOCK: usize = LANES * 128;

/// The operators, numbered as in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    Sum = 0,
    Prod = 1,
    Min = 2,
    Max = 3,
}

impl Join {
    /// The operator of collectives, if it is one of these.
    pub fn of(op: ReduceOp) -> Option<Join> {
        match op {
            ReduceOp::Sum => Some(Join::Sum),
            ReduceOp::Product => Some(Join::Prod),
            ReduceOp::Min => Some(Join::Min),
            ReduceOp::Max => Some(Join::Max),
            _ => None,
        }
    }
}

/// A float that blocks are made of.
pub(crate) trait Real: Copy + Default + Send + Sync + 'static {
    fn join(by: Join, a: Self, b: Self) -> Self;
    /// The one NaN.
    fn settle(self) -> Self;
}

macro_rules! real {
    ($T:ty) => {
        impl Real for $T {
            #[inline]
            fn join(by: Join, a: Self, b: Self) -> Self {
                let first = match by {
                    Join::Sum => return a + b,
                    Join::Prod => return a * b,
                    _ if a.is_nan() || b.is_nan() => return <$T>::NAN,
                    // Of zeros the negative one is less.
                    Join::Min => a < b || (a == b && a.is_sign_negative()),
                    Join::Max => a > b || (a == b && a.is_sign_positive()),
                };
                if first { a } else { b }
            }

            fn settle(self) -> Self {
                if self.is_nan() { <$T>::NAN } else { self }
            }
        }
    };
}
real!(f32);
real!(f64);

/// Joins a block of up to `BLOCK` elements, one at least.
pub(crate) fn block<T: Real>(by: Join, x: &[T]) -> T {
    let lanes = x.len().min(LANES);
    let mut acc = [T::default(); LANES];
    acc[..lanes].copy_from_slice(&x[..lanes]);
    for chunk in x[lanes..].chunks(LANES) {
        acc.iter_mut().zip(chunk).for_each(|(acc, &v)| *acc = T::join(by, *acc, v));
    }
    let mut apart = LANES / 2;
    while apart > 0 {
        for l in 0..apart.min(lanes.saturating_sub(apart)) {
            acc[l] = T::join(by, acc[l], acc[l + apart]);
        }
        apart /= 2;
    }
    acc[0].settle()
}

/// Joins all elements, one at least, as a device does.
pub(crate) fn whole<T: Real>(by: Join, mut x: Vec<T>) -> T {
    loop {
        x = x.chunks(BLOCK).map(|x| block(by, x)).collect();
        if let [only] = x[..] {
            return only;
        }
    }
}

/// Refuses devices whose arithmetic is not that of the others.
pub(crate) fn fits(op: &'static str, device: &Device) -> Result<()> {
    if device.info().denormals {
        return Ok(());
    }
    let text = format!(
        "{device} flushes subnormal f32 numbers to zero, so its results are not those of other devices; use another device, or leave `reproducible` out"
    );
    Err(Error::new(ErrorKind::Argument, op, text))
}

/// Reduces the picked axes of an expression of floats, of which there is an element at least.
pub(crate) fn reduce(
    op: &'static str,
    by: Join,
    root: &Arc<Node>,
    picked: &[bool],
    shape: &[usize],
    out: DType,
) -> Result<RawArray> {
    let wide = root.dtype.compute();
    let values = rows(&Node::cast(root.clone(), wide), picked)?;
    fits(op, values.device())?;
    let joined = rows_to_one(op, by, values)?;
    let result = RawArray { layout: Layout::contiguous(shape), ..joined };
    match out == wide {
        true => Ok(result),
        false => map::eval(&Node::cast(Node::leaf(result), out)),
    }
}

/// An expression's elements as a matrix without gaps: what is reduced together is a row.
pub(crate) fn rows(root: &Arc<Node>, picked: &[bool]) -> Result<RawArray> {
    let values = map::eval(root)?;
    // Kept axes, then those to reduce, both in their order.
    let axes = |reduced: bool| (0..picked.len()).filter(move |&a| picked[a] == reduced);
    let order: Vec<usize> = axes(false).chain(axes(true)).collect();
    let of = |axes: &mut dyn Iterator<Item = usize>| {
        axes.map(|a| values.layout.shape[a]).product::<usize>()
    };
    let (rows, len) = (of(&mut axes(false)), of(&mut axes(true)));
    let layout = Layout {
        shape: order.iter().map(|&a| values.layout.shape[a]).collect::<Dims>(),
        strides: order.iter().map(|&a| values.layout.strides[a]).collect::<Strides>(),
        offset: values.layout.offset,
    };
    let mut values = copy::contiguous(&RawArray { layout, ..values })?;
    values.layout = Layout { offset: values.layout.offset, ..Layout::contiguous(&[rows, len]) };
    Ok(values)
}

/// Every row of a matrix to one value.
fn rows_to_one(op: &'static str, by: Join, mut values: RawArray) -> Result<RawArray> {
    loop {
        values = blocks_to_one(op, by, &values)?;
        if values.layout.shape[1] <= 1 {
            return Ok(values);
        }
    }
}

/// Every block of the rows of a matrix to one value; the matrix has no gaps.
pub(crate) fn blocks_to_one(op: &'static str, by: Join, values: &RawArray) -> Result<RawArray> {
    let device = values.device().clone();
    let (rows, len) = (values.layout.shape[0], values.layout.shape[1]);
    let layout = Layout::contiguous(&[rows, len.div_ceil(BLOCK)]);
    let mut out = RawArray::alloc(op, &device, &layout, values.dtype)?;
    if rows * len > 0 {
        run(Blocks { op, by, values, out: &mut out }, &device)?;
    }
    Ok(RawArray { buffer: Arc::new(out), layout, dtype: values.dtype })
}

struct Blocks<'a> {
    op: &'static str,
    by: Join,
    values: &'a RawArray,
    out: &'a mut Buffer,
}

impl Blocks<'_> {
    fn size(&self) -> [usize; 3] {
        let (rows, len) = (self.values.layout.shape[0], self.values.layout.shape[1]);
        [len, len.div_ceil(BLOCK), rows * len.div_ceil(BLOCK)]
    }

    fn on_host<T: Real>(self) {
        let [len, blocks, tasks] = self.size();
        // SAFETY: `T` is the type of the elements, a float.
        let x = unsafe { self.values.host_values::<T>() };
        let out = self.out.host_mut().map_or(std::ptr::null_mut(), |block| block.ptr_mut());
        let (out, by) = (SharedOut(out), self.by);
        each_task(tasks, 16, &|task| {
            let row = &x[task / blocks * len..][..len];
            let from = task % blocks * BLOCK;
            let v = block(by, &row[from..len.min(from + BLOCK)]);
            // SAFETY: a place a task, inside the result.
            unsafe { out.at::<T>(task as isize).write(v) };
        });
    }
}

impl Op for Blocks<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.values.dtype)
    }

    fn host(self) -> Result<()> {
        match self.values.dtype {
            DType::F64 => self.on_host::<f64>(),
            _ => self.on_host::<f32>(),
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let [len, blocks, tasks] = self.size();
        let flat = device.launch_kind == DeviceKind::Cpu || device.point.group < LANES;
        let group = device.point.group;
        let each = if flat { group } else { group / LANES };
        let head = [u8::from(flat), self.by as u8, self.values.dtype as u8];
        let program =
            device.programs.get(device, self.op, ("reproducible", head.to_vec()), || {
                let point = Point { group, ..device.point };
                let flat = if flat { "#define CLAN_FLAT\n" } else { "" };
                let types = types(self.values.dtype, self.by);
                [&codegen::defines(device, false, point), codegen::PRELUDE, flat, &types, SOURCE]
                    .concat()
            })?;
        let mut launch = Launch::new(device, &program, self.op, "reproducible")?;
        launch.output(self.out)?;
        launch.input(&self.values.buffer)?;
        for v in [self.values.layout.offset, len, blocks, tasks] {
            launch.value(v as u64)?;
        }
        // SAFETY: the arguments follow the kernel's parameters; tasks beyond the last touch nothing.
        unsafe { launch.run([tasks.div_ceil(each), 1, 1], [group, 1, 1]) }
    }
}

/// What comes between the prelude and the file.
#[cfg(feature = "opencl")]
pub(crate) fn types(dtype: DType, by: Join) -> String {
    let types = match dtype {
        DType::F64 => {
            "typedef double clan_t;\ntypedef ulong clan_bits;\n#define CLAN_AS(x) as_double(x)\n#define CLAN_NAN 0x7ff8000000000000ul\n"
        }
        _ => {
            "typedef float clan_t;\ntypedef uint clan_bits;\n#define CLAN_AS(x) as_float(x)\n#define CLAN_NAN 0x7fc00000u\n"
        }
    };
    format!("{types}#define CLAN_OP {}\n", by as u8)
}
