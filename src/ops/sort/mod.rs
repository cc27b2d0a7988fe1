//! `sort`: rows in order, with what goes with them. Kernels: `cl/sort.cl`.

mod api;
#[cfg(feature = "opencl")]
pub(crate) mod opencl;
#[cfg(feature = "opencl")]
mod sweep;
pub(crate) mod top_k;

pub use api::Sort;

use super::{Op, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::host::{PARALLEL_ABOVE, sort as host};
use crate::layout::Layout;
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
use std::sync::Arc;

/// By what keys are sorted: the order of their values, floats from −∞ over −0 and 0 to ∞, then every
/// NaN; or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub dtype: DType,
    pub descending: bool,
}

/// What goes with keys.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    Nothing,
    /// Positions in the row, as `u32`.
    Positions,
    /// Values of an array of the same shape in row-major order.
    Values(&'a RawArray),
}

impl Payload<'_> {
    fn dtype(&self) -> Option<DType> {
        match self {
            Payload::Nothing => None,
            Payload::Positions => Some(DType::U32),
            Payload::Values(values) => Some(values.dtype),
        }
    }
}

/// The rows, along the last axis, of an array in row-major order, sorted.
pub(crate) fn keys(op: &'static str, keys: &RawArray, descending: bool) -> Result<RawArray> {
    let layout = Layout::contiguous(&keys.layout.shape);
    let mut out = RawArray::alloc(op, keys.device(), &layout, keys.dtype)?;
    start(op, keys, descending, Payload::Nothing, &mut out, None)?;
    Ok(RawArray { buffer: Arc::new(out), layout, dtype: keys.dtype })
}

/// As [`keys`], and what goes with them: values of this array of the same shape in row-major order, or
/// positions in the row, as `u32`.
pub(crate) fn pairs(
    op: &'static str,
    keys: &RawArray,
    descending: bool,
    values: Option<&RawArray>,
) -> Result<(RawArray, RawArray)> {
    let layout = Layout::contiguous(&keys.layout.shape);
    let payload = values.map_or(Payload::Positions, Payload::Values);
    let dtype = values.map_or(DType::U32, |values| values.dtype);
    let mut out = RawArray::alloc(op, keys.device(), &layout, keys.dtype)?;
    let mut loads = RawArray::alloc(op, keys.device(), &layout, dtype)?;
    start(op, keys, descending, payload, &mut out, Some(&mut loads))?;
    let made = |buffer, dtype| RawArray { buffer: Arc::new(buffer), layout: layout.clone(), dtype };
    Ok((made(out, keys.dtype), made(loads, dtype)))
}

/// Positions of 32 bits as what users get.
fn widened(op: &'static str, positions: RawArray) -> Result<DeviceArray<u64>> {
    if positions.device().is_host() && positions.layout.len() <= PARALLEL_ABOVE {
        // Small arrays would spend their time on an expression.
        let layout = Layout::contiguous(&positions.layout.shape);
        let mut out = RawArray::alloc(op, positions.device(), &layout, DType::U64)?;
        if let Some(block) = out.host_mut() {
            // SAFETY: positions are `u32` without gaps, and the result has as many places.
            unsafe {
                let to = block.ptr_mut().cast::<u64>();
                for (i, &at) in positions.host_values::<u32>().iter().enumerate() {
                    to.add(i).write(at.into());
                }
            }
        }
        let raw = RawArray { buffer: Arc::new(out), layout, dtype: DType::U64 };
        return Ok(DeviceArray::from_raw(raw));
    }
    DeviceArray::<u32>::from_raw(positions).expr().cast::<u64>().eval()
}

fn start(
    op: &'static str,
    keys: &RawArray,
    descending: bool,
    payload: Payload<'_>,
    out: &mut Buffer,
    loads: Option<&mut Buffer>,
) -> Result<()> {
    if keys.layout.len() == 0 {
        return Ok(());
    }
    let len = keys.layout.shape.last().copied().unwrap_or(1);
    let order = Order { dtype: keys.dtype, descending };
    let device = keys.device().clone();
    run(Sorting { op, keys, order, payload, len, out, loads }, &device)
}

struct Sorting<'a> {
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    op: &'static str,
    keys: &'a RawArray,
    order: Order,
    payload: Payload<'a>,
    /// Of a row.
    len: usize,
    out: &'a mut Buffer,
    loads: Option<&'a mut Buffer>,
}

/// Integers, as bits: ranks are the bits, some of them turned.
#[derive(Clone, Copy)]
struct Integers<K>(K);

/// Floats, as bits.
#[derive(Clone, Copy)]
struct Floats<K> {
    flip: K,
    infinity: K,
}

macro_rules! rankings {
    ($($T:ty)*) => {$(
        impl host::Ranking<$T> for Integers<$T> {
            const ONE_EACH: bool = true;

            fn is_plain(self) -> bool {
                self.0 == 0
            }

            #[inline]
            fn rank(self, key: $T) -> $T {
                key ^ self.0
            }

            #[inline]
            fn key(self, rank: $T) -> $T {
                rank ^ self.0
            }
        }

        impl host::Ranking<$T> for Floats<$T> {
            #[inline]
            fn rank(self, key: $T) -> $T {
                let sign = 1 << (<$T>::BITS - 1);
                // All bits of negative numbers are turned, and the sign of others: no jump depends on it.
                let turned = (key >> (<$T>::BITS - 1)).wrapping_neg() | sign;
                let nan = key & !sign > self.infinity;
                self.flip ^ if nan { <$T>::MAX } else { key ^ turned }
            }

            #[inline]
            fn key(self, rank: $T) -> $T {
                let sign = 1 << (<$T>::BITS - 1);
                let rank = rank ^ self.flip;
                rank ^ ((rank >> (<$T>::BITS - 1)).wrapping_sub(1) | sign)
            }
        }
    )*};
}
rankings!(u8 u16 u32 u64);

/// What is done with keys of some type.
pub(crate) trait Visit {
    type Output;
    fn visit<K: host::Key>(self, ranking: impl host::Ranking<K>) -> Self::Output;
}

impl Order {
    pub fn visit<V: Visit>(self, visitor: V) -> V::Output {
        let Order { dtype, descending } = self;
        // Few forms of the loops: what differs between integers is a constant.
        macro_rules! by {
            ($T:ty, integer) => {{
                let sign: $T = if dtype.is_signed() { 1 << (<$T>::BITS - 1) } else { 0 };
                let flip: $T = if descending { <$T>::MAX } else { 0 } ^ sign;
                visitor.visit::<$T>(Integers(flip))
            }};
            ($T:ty, $infinity:expr) => {{
                let flip = if descending { <$T>::MAX } else { 0 };
                visitor.visit::<$T>(Floats { flip, infinity: $infinity })
            }};
        }
        match dtype {
            DType::F16 => by!(u16, 0x7c00),
            DType::BF16 => by!(u16, 0x7f80),
            DType::F32 => by!(u32, 0x7f80_0000),
            DType::F64 => by!(u64, 0x7ff0_0000_0000_0000),
            _ => match dtype.size() {
                1 => by!(u8, integer),
                2 => by!(u16, integer),
                4 => by!(u32, integer),
                _ => by!(u64, integer),
            },
        }
    }
}

impl Sorting<'_> {
    fn of<K: host::Key, P: Copy + Default + Send + Sync>(self, ranking: impl host::Ranking<K>) {
        let n = self.keys.layout.len();
        let Some(block) = self.out.host_mut() else { return };
        // SAFETY: `K` is the bits of the keys, of which the result has as many, that nobody else uses.
        let keys = unsafe {
            let to = std::slice::from_raw_parts_mut(block.ptr_mut().cast::<K>(), n);
            to.copy_from_slice(self.keys.host_values());
            to
        };
        let mut none = vec![P::default(); if self.loads.is_none() { n } else { 0 }];
        let mut kept = self.loads;
        let loads: &mut [P] = match (kept.as_mut().and_then(|loads| loads.host_mut()), self.payload)
        {
            (None, _) => &mut none,
            (Some(block), Payload::Values(values)) => {
                // SAFETY: as for the keys.
                unsafe {
                    let to = std::slice::from_raw_parts_mut(block.ptr_mut().cast::<P>(), n);
                    to.copy_from_slice(values.host_values());
                    to
                }
            }
            (Some(block), _) => {
                // SAFETY: the result has `n` positions of four bytes, which nobody else uses; `P` is
                // that type.
                unsafe {
                    let to = block.ptr_mut();
                    for i in 0..n {
                        to.cast::<u32>().add(i).write((i % self.len) as u32);
                    }
                    std::slice::from_raw_parts_mut(to.cast::<P>(), n)
                }
            }
        };
        host::rows(keys, loads, self.len, ranking);
    }
}

impl Visit for Sorting<'_> {
    type Output = ();

    fn visit<K: host::Key>(self, ranking: impl host::Ranking<K>) {
        match self.payload.dtype().map(DType::size) {
            None => self.of::<K, ()>(ranking),
            Some(1) => self.of::<K, u8>(ranking),
            Some(2) => self.of::<K, u16>(ranking),
            Some(4) => self.of::<K, u32>(ranking),
            Some(_) => self.of::<K, u64>(ranking),
        }
    }
}

impl Op for Sorting<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        // Keys are bits, which every device has.
        Ok(())
    }

    fn host(self) -> Result<()> {
        self.order.visit(self);
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        opencl::launch(self, device)
    }
}
