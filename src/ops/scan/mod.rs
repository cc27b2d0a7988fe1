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
use crate::expr::node::Node;
use crate::host::eval::{Evaluator, SharedOut};
use crate::host::scan::{self as host, Block, FloatSum, Joiner, Pieces, Plain};
use crate::host::{maximum, minimum};
use crate::layout::{Dims, Layout, check_axis, count};
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
use half::{bf16, f16};
use ndarray::Axis;
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
    root: &Arc<Node>,
    axis: usize,
    flags: Flags<'_>,
    before: Option<Scalar>,
) -> Result<RawArray> {
    check_axis(op, Axis(axis), &root.shape)?;
    count(op, &root.shape)?;
    let dtype = join.result(root.dtype);
    let root = Node::cast(root.clone(), dtype);
    let (fused, device) = fuse_somewhere(&root)?;
    let flags = flags.map(|flags| marks(op, flags, &fused.shape, &device)).transpose()?;
    let layout = Layout::contiguous(&fused.shape);
    let length = |axes: &[usize]| axes.iter().product::<usize>();
    let block = Block {
        outer: length(&fused.shape[..axis]),
        len: fused.shape[axis],
        inner: length(&fused.shape[axis + 1..]),
    };
    let mut out = RawArray::alloc(op, &device, &layout, dtype)?;
    if layout.len() > 0 {
        let (fused, flags) = (&fused, flags.as_ref());
        run(
            Scanning { op, join, root: &root, fused, block, flags, before, out: &mut out, dtype },
            &device,
        )?;
    }
    Ok(RawArray { buffer: Arc::new(out), layout, dtype })
}

/// Flags in row-major order.
fn marks(op: &'static str, flags: &RawArray, shape: &[usize], device: &Device) -> Result<RawArray> {
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
    copy::contiguous(flags)
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

    fn on_host<T, J>(
        &self,
        joiner: &J,
        load: impl Fn(usize, usize, Pieces<'_, T>) + Sync,
        out: SharedOut,
    ) where
        T: Copy + Default + Send + Sync,
        J: Joiner<T>,
    {
        let identity = self.before.map(|v| {
            let bytes =
                bytes(v, if size_of::<T>() == self.dtype.size() { self.dtype } else { DType::F32 });
            // SAFETY: eight bytes, of which the first are a `T`: a number of the type of elements or,
            // for half floats, that which they are computed in.
            unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
        });
        // SAFETY: one byte an element.
        let flags = self.flags.map(|flags| unsafe { flags.host_values::<u8>() });
        let block = self.block;
        let weight = match self.join {
            // A call through a pointer for every element.
            Join::Other(_) => 8,
            _ => self.fused.weight(),
        };
        match self.dtype {
            DType::F16 | DType::BF16 if size_of::<T>() == 4 => {
                let half = self.dtype;
                let store = |start: usize, values: &[T]| {
                    for (k, v) in values.iter().enumerate() {
                        // SAFETY: `T` is the compute type of half floats; each place is inside the
                        // result and stored once.
                        unsafe {
                            let v = (&raw const *v).cast::<f32>().read();
                            let at = (start + k) as isize;
                            match half {
                                DType::F16 => out.at::<f16>(at).write(f16::from_f32(v)),
                                _ => out.at::<bf16>(at).write(bf16::from_f32(v)),
                            }
                        }
                    }
                };
                let direct = None;
                host::Scan { joiner, block, load, flags, identity, store, direct, weight }.run();
            }
            _ => {
                // SAFETY: the result has a place for each element, and only this writes it.
                let store = unsafe { host::storer::<T>(out) };
                let direct = Some(out);
                host::Scan { joiner, block, load, flags, identity, store, direct, weight }.run();
            }
        }
    }

    /// Any operator, over elements as they are stored.
    fn by_user(&self, combine: &Combine, out: SharedOut) -> Result<()> {
        let values = copy::contiguous(&map::eval(self.root)?)?;
        with_bits!(self.dtype, T => {
            let join = |a: T, b: T| {
                let mut v: T = 0;
                let at = |x: *const T| SharedOut(x.cast_mut().cast());
                combine.block(at(&raw const a), at(&raw const b), at(&raw mut v), 1);
                v
            };
            // SAFETY: bits of this size.
            let x = unsafe { values.host_values::<T>() };
            let load = |start: usize, n: usize, f: Pieces<'_, T>| f(&x[start..][..n]);
            self.on_host::<T, _>(&Plain::<_, false>(join), load, out);
        });
        Ok(())
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
        let Some(block) = self.out.host_mut() else { return Ok(()) };
        let out = SharedOut(block.ptr_mut());
        if let Join::Other(combine) = self.join {
            return self.by_user(combine, out);
        }
        let nest = self.fused.nest(&self.order(), None);
        let eval = Evaluator::new(self.fused, &nest);
        macro_rules! plain {
            ($T:ty, $f:expr) => {
                plain!($T, $f, false)
            };
            ($T:ty, $f:expr, $slow:literal) => {
                self.on_host::<$T, _>(&Plain::<_, $slow>($f), host::loader(&eval), out)
            };
        }
        match (self.join, self.dtype) {
            (Join::Sum, DType::F64) => self.on_host::<f64, _>(&FloatSum, host::loader(&eval), out),
            (Join::Sum, DType::I64) => plain!(i64, |a: i64, b| a.wrapping_add(b)),
            (Join::Sum, DType::U64) => plain!(u64, |a: u64, b| a.wrapping_add(b)),
            (Join::Sum, _) => self.on_host::<f32, _>(&FloatSum, host::loader(&eval), out),
            (Join::Prod, DType::F64) => plain!(f64, |a, b| a * b, true),
            (Join::Prod, DType::I64) => plain!(i64, |a: i64, b| a.wrapping_mul(b), true),
            (Join::Prod, DType::U64) => plain!(u64, |a: u64, b| a.wrapping_mul(b), true),
            (Join::Prod, _) => plain!(f32, |a, b| a * b, true),
            // NaN makes a step of floats longer than an addition.
            (Join::Min, DType::F64) => plain!(f64, minimum, true),
            (Join::Min, dtype) if dtype.is_float() => plain!(f32, minimum, true),
            (Join::Min, dtype) => with_compute!(dtype, T => plain!(T, minimum)),
            (_, DType::F64) => plain!(f64, maximum, true),
            (_, dtype) if dtype.is_float() => plain!(f32, maximum, true),
            (_, dtype) => with_compute!(dtype, T => plain!(T, maximum)),
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        opencl::launch(self, device, opencl::Way::Best).map(drop)
    }
}

#[cfg(all(test, feature = "opencl"))]
mod tests;
