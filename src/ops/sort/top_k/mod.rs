//! `top_k`: the first of an order, found without sorting the rest. Kernel: `cl/top_k.cl`.
//!
//! Few of many on an OpenCL device: a sample is sorted, and tells a key that probably a few times as many
//! as are asked for come before; one pass gathers those, and they alone are sorted. The pass counts what
//! it met, so a bad guess costs another pass and never a wrong result. Between two guesses that failed
//! the next halves what is between them. Where too many keys are equal to the last one that is asked for,
//! their positions are cut in the same way.

use super::{Order, Visit, pairs};
use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::{Error, Result};
use crate::host::sort as host;
use crate::layout::Layout;
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
use crate::ops::{Op, run};
use ndarray::{Axis, s};
use std::sync::Arc;

#[cfg(feature = "opencl")]
pub(crate) mod opencl;

/// Rows shorter than this are sorted: it takes less time than a search.
const SEARCHED: usize = 1 << 16;

/// Up to so many rows are searched one by one; more are sorted together.
const ROWS: usize = 16;

/// Elements that one search has: their positions have 32 bits.
const PART: usize = 1 << 31;

/// The first `k` of each row, along the last axis, of an array in row-major order, and where in the row
/// they come from.
pub(super) fn first<T: Element>(
    op: &'static str,
    x: &DeviceArray<T>,
    descending: bool,
    k: usize,
) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
    let mut shape = x.shape().to_vec();
    let last = Axis(shape.len() - 1);
    let len = shape[last.0];
    if k > len {
        let text =
            format!("the first {k} of {len} elements along axis {last:?} of shape {shape:?}");
        return Err(Error::argument(op, text));
    }
    shape[last.0] = k;
    let device = x.device();
    if shape.contains(&0) {
        return Ok((
            DeviceArray::zeros(device, &shape[..])?,
            DeviceArray::zeros(device, &shape[..])?,
        ));
    }
    let order = Order { dtype: T::DTYPE, descending };
    let rows = x.len() / len;
    let few = k <= len / 8;
    let x = x.reshape((rows, len))?;
    if few && (device.is_host() || rows <= ROWS && len >= SEARCHED) {
        let found = (0..rows)
            .map(|row| search(op, order, k, &x.index_axis(Axis(0), row)?))
            .collect::<Result<Vec<_>>>()?;
        let (values, positions): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let values = DeviceArray::stack(Axis(0), &values)?.reshape(&shape[..])?;
        let positions = DeviceArray::stack(Axis(0), &positions)?.reshape(&shape[..])?;
        return Ok((values, positions));
    }
    let (values, positions) = pairs(op, x.raw()?, descending, None)?;
    let values = DeviceArray::<T>::from_raw(values).slice(s![.., ..k])?;
    let positions = DeviceArray::<u32>::from_raw(positions).slice(s![.., ..k])?;
    let positions = positions.expr().cast::<u64>().eval()?;
    Ok((values.to_contiguous()?.reshape(&shape[..])?, positions.reshape(&shape[..])?))
}

/// As [`first`], of a vector.
fn search<T: Element>(
    op: &'static str,
    order: Order,
    k: usize,
    x: &DeviceArray<T>,
) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
    let device = x.device().clone();
    let part = |x: &DeviceArray<T>| {
        let (values, positions) =
            run(First { op, x: x.raw()?, order, k: k.min(x.len()) }, &device)?;
        Ok((DeviceArray::<T>::from_raw(values), DeviceArray::<u64>::from_raw(positions)))
    };
    if x.len() <= PART {
        return part(x);
    }
    let (mut values, mut positions) = (Vec::new(), Vec::new());
    for from in (0..x.len()).step_by(PART) {
        let (v, p) = part(&x.slice(s![from..x.len().min(from + PART)])?)?;
        values.push(v);
        positions.push((&p + from as u64).eval()?);
    }
    let values = DeviceArray::concatenate(Axis(0), &values)?;
    let positions = DeviceArray::concatenate(Axis(0), &positions)?;
    // Parts come one after the other, so what is equal stays in its order.
    let sorted = pairs(op, values.raw()?, order.descending, Some(positions.raw()?))?;
    let values = DeviceArray::<T>::from_raw(sorted.0).slice(s![..k])?;
    let positions = DeviceArray::<u64>::from_raw(sorted.1).slice(s![..k])?;
    Ok((values.to_contiguous()?, positions.to_contiguous()?))
}

/// The search in a vector of at most [`PART`] elements.
struct First<'a> {
    op: &'static str,
    x: &'a RawArray,
    order: Order,
    k: usize,
}

impl Op for First<'_> {
    type Output = (RawArray, RawArray);

    fn check(&self, _: &Device) -> Result<()> {
        // Keys are bits, which every device has.
        Ok(())
    }

    fn host(self) -> Result<Self::Output> {
        self.order.visit(self)
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<Self::Output> {
        opencl::search(self, device)
    }
}

impl Visit for First<'_> {
    type Output = Result<(RawArray, RawArray)>;

    fn visit<K: host::Key>(self, ranking: impl host::Ranking<K>) -> Self::Output {
        let First { op, x, k, .. } = self;
        let layout = Layout::contiguous(&[k]);
        let mut values = RawArray::alloc(op, x.device(), &layout, x.dtype)?;
        let mut positions = RawArray::alloc(op, x.device(), &layout, DType::U64)?;
        // SAFETY: `K` is the bits of the keys.
        let keys = unsafe { x.host_values::<K>() };
        let found = host::first(keys, k, ranking);
        if let (Some(values), Some(positions)) = (values.host_mut(), positions.host_mut()) {
            for (i, (_, at)) in found.into_iter().enumerate() {
                // SAFETY: both have `k` elements of these sizes, which nobody else uses.
                unsafe {
                    values.ptr_mut().cast::<K>().add(i).write(keys[at]);
                    positions.ptr_mut().cast::<u64>().add(i).write(at as u64);
                }
            }
        }
        let made =
            |buffer, dtype| RawArray { buffer: Arc::new(buffer), layout: layout.clone(), dtype };
        Ok((made(values, x.dtype), made(positions, DType::U64)))
    }
}

/// The bits of a key as the integer by which it is sorted.
#[cfg(feature = "opencl")]
struct Rank(u64);

#[cfg(feature = "opencl")]
impl Visit for Rank {
    type Output = u64;

    fn visit<K: host::Key>(self, ranking: impl host::Ranking<K>) -> u64 {
        ranking.rank(K::of_bits(self.0)).bits()
    }
}
