//! `scan`: every element joined with all before it along an axis. Kernels: `cl/scan.cl`.

mod api;
#[cfg(feature = "opencl")]
pub(crate) mod opencl;

pub use api::Scan;

use super::combine::Combine;
use super::{Op, copy, map, run};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Scalar, with_bits, with_compute};
use crate::error::{Error, Result};
use crate::expr::fuse_somewhere;
use crate::expr::fused::Fused;
use crate::expr::node::{Node, Operand};
use crate::host::eval::{Evaluator, SharedOut};
use crate::host::scan::{self as host, Block, FloatSum, IntegerSum, Joiner, Plain};
use crate::host::source::{Elements, Source};
use crate::host::{maximum, minimum};
use crate::layout::{Dims, Layout, check_axis, count};
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
use half::{bf16, f16};
use ndarray::Axis;
use std::borrow::Cow;
use std::sync::Arc;

/// What joins elements.
#[derive(Clone, Debug)]
pub(crate) enum Join {
    /// In the type of sums.
    Sum,
    /// In the type of sums.
    Prod,
    Min,
    Max,
    /// Any operator, in the type of the elements.
    Other(Arc<Combine>),
}

impl Join {
    /// The type of the results.
    fn result(&self, dtype: DType) -> DType {
        match self {
            Join::Sum | Join::Prod => dtype.sum(),
            _ => dtype,
        }
    }
}

/// How segments are marked beside the ends of the axis: nothing, or an array of the input's shape.
pub(crate) type Flags<'a> = Option<&'a RawArray>;

/// Scans along an axis. For an exclusive scan `before` is what every segment starts with.
pub(crate) fn scan(
    op: &'static str,
    join: &Join,
    input: Operand<'_>,
    axis: usize,
    flags: Flags<'_>,
    before: Option<Scalar>,
) -> Result<RawArray> {
    let shape = input.shape();
    check_axis(op, Axis(axis), shape)?;
    count(op, shape)?;
    let dtype = join.result(input.dtype());
    let length = |axes: &[usize]| axes.iter().product::<usize>();
    let block = Block {
        outer: length(&shape[..axis]),
        len: shape[axis],
        inner: length(&shape[axis + 1..]),
    };
    let layout = Layout::contiguous(shape);
    // Memory of the host is read as it is: small arrays would spend their time on an expression.
    if let Some(values) = in_order(input, join, dtype) {
        let device = values.device();
        let flags = flags.map(|flags| marks(op, flags, shape, device)).transpose()?;
        let mut out = RawArray::alloc(op, device, &layout, dtype)?;
        if let Some(memory) = out.host_mut() {
            let (flags, out) = (flags.as_deref(), SharedOut(memory.ptr_mut()));
            let scan = OnHost { join, block, flags, before, out, dtype, weight: 1 };
            scan.elements(&Elements::Memory(values));
        }
        return Ok(RawArray { buffer: Arc::new(out), layout, dtype });
    }
    let root = Node::cast(input.to_node(), dtype);
    let (fused, device) = fuse_somewhere(&root)?;
    let flags = flags.map(|flags| marks(op, flags, &fused.shape, &device)).transpose()?;
    let mut out = RawArray::alloc(op, &device, &layout, dtype)?;
    if layout.len() > 0 {
        let (fused, flags) = (&fused, flags.as_deref());
        run(
            Scanning { op, join, root: &root, fused, block, flags, before, out: &mut out, dtype },
            &device,
        )?;
    }
    Ok(RawArray { buffer: Arc::new(out), layout, dtype })
}

/// An array of the host in row-major order whose elements are joined as they are, or after an extension that the
/// loops make.
fn in_order<'a>(input: Operand<'a>, join: &Join, dtype: DType) -> Option<&'a RawArray> {
    let array = input.in_order_on_host()?;
    let extended = matches!(array.dtype, DType::I32 | DType::U32) && matches!(join, Join::Sum);
    let fits = dtype == array.dtype && dtype.compute() == dtype || extended;
    (fits && !matches!(join, Join::Other(_))).then_some(array)
}

/// Flags in row-major order.
fn marks<'a>(
    op: &'static str,
    flags: &'a RawArray,
    shape: &[usize],
    device: &Device,
) -> Result<Cow<'a, RawArray>> {
    if flags.layout.shape[..] != *shape {
        return Err(Error::shape(
            op,
            format!(
                "segments are marked by an array of shape {:?}, the input has {shape:?}; one flag an element is needed",
                &flags.layout.shape[..]
            ),
        ));
    }
    device.require_same(op, "the input lives", flags.device(), "the flags")?;
    if flags.layout.is_contiguous() {
        return Ok(Cow::Borrowed(flags));
    }
    copy::contiguous_copy(flags).map(Cow::Owned)
}

struct Scanning<'a> {
    op: &'static str,
    join: &'a Join,
    root: &'a Arc<Node>,
    fused: &'a Fused,
    block: Block,
    flags: Flags<'a>,
    before: Option<Scalar>,
    out: &'a mut Buffer,
    /// Type of the result, and of the expression.
    dtype: DType,
}

impl Scanning<'_> {
    fn order(&self) -> Dims {
        (0..self.fused.shape.len()).collect()
    }
}

/// A scan on the host, but for where elements come from.
struct OnHost<'a> {
    join: &'a Join,
    block: Block,
    flags: Flags<'a>,
    before: Option<Scalar>,
    out: SharedOut,
    /// Of the result.
    dtype: DType,
    weight: usize,
}

impl OnHost<'_> {
    fn run<T, I, J>(&self, joiner: &J, source: Source<'_, I>)
    where
        T: Copy + Default + Send + Sync,
        I: Copy + Into<T> + Send + Sync,
        J: Joiner<T, I>,
    {
        let &OnHost { block, out, dtype, weight, .. } = self;
        // Half floats are computed in another type.
        let half = size_of::<T>() != dtype.size();
        let identity = self.before.map(|v| {
            let bytes = bytes(v, if half { DType::F32 } else { dtype });
            // SAFETY: eight bytes, of which the first are a `T`: a number of the type of elements or,
            // for half floats, that which they are computed in.
            unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
        });
        // SAFETY: one byte an element.
        let flags = self.flags.map(|flags| unsafe { flags.host_values::<u8>() });
        let store = |start: usize, values: &[T]| {
            for (k, v) in values.iter().enumerate() {
                // SAFETY: `T` is the compute type of half floats; each place is inside the
                // result and stored once.
                unsafe {
                    let v = (&raw const *v).cast::<f32>().read();
                    let at = (start + k) as isize;
                    match dtype {
                        DType::F16 => out.at::<f16>(at).write(f16::from_f32(v)),
                        _ => out.at::<bf16>(at).write(bf16::from_f32(v)),
                    }
                }
            }
        };
        let store: Option<host::Store<'_, T>> = if half { Some(&store) } else { None };
        host::Scan { joiner, block, source, flags, identity, out, store, weight }.run();
    }

    /// By one of the operators that are no users'.
    fn elements(&self, source: &Elements<'_>) {
        macro_rules! plain {
            ($T:ty, $f:expr) => {
                plain!($T, $f, true)
            };
            ($T:ty, $f:expr, $exact:literal) => {
                self.run(&Plain::<_, $exact>($f), source.of::<$T>())
            };
        }
        match (self.join, self.dtype) {
            (Join::Sum, DType::F64) => self.run(&FloatSum, source.of::<f64>()),
            (Join::Sum, DType::I64) => match source.dtype() {
                DType::I32 => self.run::<i64, _, _>(&IntegerSum, source.of::<i32>()),
                _ => self.run::<i64, _, _>(&IntegerSum, source.of::<i64>()),
            },
            (Join::Sum, DType::U64) => match source.dtype() {
                DType::U32 => self.run::<u64, _, _>(&IntegerSum, source.of::<u32>()),
                _ => self.run::<u64, _, _>(&IntegerSum, source.of::<u64>()),
            },
            (Join::Sum, _) => self.run(&FloatSum, source.of::<f32>()),
            (Join::Prod, DType::F64) => plain!(f64, |a, b| a * b, false),
            (Join::Prod, DType::I64) => plain!(i64, |a: i64, b| a.wrapping_mul(b)),
            (Join::Prod, DType::U64) => plain!(u64, |a: u64, b| a.wrapping_mul(b)),
            (Join::Prod, _) => plain!(f32, |a, b| a * b, false),
            (Join::Min, DType::F64) => plain!(f64, minimum),
            (Join::Min, dtype) if dtype.is_float() => plain!(f32, minimum),
            (Join::Min, dtype) => with_compute!(dtype, T => plain!(T, minimum)),
            (_, DType::F64) => plain!(f64, maximum),
            (_, dtype) if dtype.is_float() => plain!(f32, maximum),
            (_, dtype) => with_compute!(dtype, T => plain!(T, maximum)),
        }
    }

    /// By any operator, over elements as they are stored, in row-major order.
    fn by_user(&self, combine: &Combine, values: &RawArray) {
        with_bits!(self.dtype, T => {
            let join = |a: T, b: T| {
                let mut v: T = 0;
                let at = |x: *const T| SharedOut(x.cast_mut().cast());
                combine.block(at(&raw const a), at(&raw const b), at(&raw mut v), 1);
                v
            };
            // SAFETY: bits of this size.
            let x = unsafe { values.host_values::<T>() };
            self.run(&Plain::<_, false>(join), Source::Memory(x));
        });
    }
}

/// A value as it lies in memory.
fn bytes(v: Scalar, dtype: DType) -> [u8; 8] {
    let mut bytes = [0; 8];
    let mut put = |v: &[u8]| bytes[..v.len()].copy_from_slice(v);
    match v {
        Scalar::Bool(v) => put(&[u8::from(v)]),
        Scalar::I8(v) => put(&v.to_ne_bytes()),
        Scalar::I16(v) => put(&v.to_ne_bytes()),
        Scalar::I32(v) => put(&v.to_ne_bytes()),
        Scalar::I64(v) => put(&v.to_ne_bytes()),
        Scalar::U8(v) => put(&v.to_ne_bytes()),
        Scalar::U16(v) => put(&v.to_ne_bytes()),
        Scalar::U32(v) => put(&v.to_ne_bytes()),
        Scalar::U64(v) => put(&v.to_ne_bytes()),
        Scalar::F32(v) if dtype == DType::F16 => put(&f16::from_f32(v).to_ne_bytes()),
        Scalar::F32(v) if dtype == DType::BF16 => put(&bf16::from_f32(v).to_ne_bytes()),
        Scalar::F32(v) => put(&v.to_ne_bytes()),
        Scalar::F64(v) => put(&v.to_ne_bytes()),
    }
    bytes
}

impl Op for Scanning<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        self.fused.check(self.op, device)
    }

    fn host(self) -> Result<()> {
        let order = self.order();
        let Scanning { join, block, flags, before, dtype, .. } = self;
        let Some(memory) = self.out.host_mut() else { return Ok(()) };
        let out = SharedOut(memory.ptr_mut());
        if let Join::Other(combine) = join {
            // A call through a pointer for every element.
            let scan = OnHost { join, block, flags, before, out, dtype, weight: 8 };
            scan.by_user(combine, &copy::contiguous(&map::eval(self.root)?)?);
            return Ok(());
        }
        let weight = self.fused.weight();
        let scan = OnHost { join, block, flags, before, out, dtype, weight };
        let nest = self.fused.nest(&order, None);
        scan.elements(&Elements::Computed(&Evaluator::new(self.fused, &nest), dtype));
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        opencl::launch(self, device, opencl::Way::Best).map(drop)
    }
}

#[cfg(all(test, feature = "opencl"))]
mod tests;
