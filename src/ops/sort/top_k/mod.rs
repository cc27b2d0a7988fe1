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
use crate::host::eval::SharedOut;
use crate::host::{PARALLEL_ABOVE, for_tasks, sort as host};
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
    if device.is_host() && len <= PART {
        let (values, positions) = run(First { op, x: x.raw()?, order, shape: &shape }, device)?;
        return Ok((DeviceArray::from_raw(values), DeviceArray::from_raw(positions)));
    }
    let x = x.reshape((rows, len))?;
    if k <= len / 8 && rows <= ROWS && len >= SEARCHED {
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

/// As [`first`], of a vector that may be longer than [`PART`].
fn search<T: Element>(
    op: &'static str,
    order: Order,
    k: usize,
    x: &DeviceArray<T>,
) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
    let device = x.device().clone();
    let part = |x: &DeviceArray<T>| {
        let (values, positions) =
            run(First { op, x: x.raw()?, order, shape: &[k.min(x.len())] }, &device)?;
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

/// The search in rows of at most [`PART`] elements in row-major order; by OpenCL in one.
struct First<'a> {
    op: &'static str,
    x: &'a RawArray,
    order: Order,
    /// Of the results: the last axis is as long as are asked for.
    shape: &'a [usize],
}

impl First<'_> {
    fn k(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }
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
        let k = self.k();
        let First { op, x, shape, .. } = self;
        let layout = Layout::contiguous(shape);
        let rows = layout.len().checked_div(k).unwrap_or(0);
        let mut values = RawArray::alloc(op, x.device(), &layout, x.dtype)?;
        let mut positions = RawArray::alloc(op, x.device(), &layout, DType::U64)?;
        // SAFETY: `K` is the bits of the keys.
        let keys = unsafe { x.host_values::<K>() };
        if let (Some(values), Some(positions)) = (values.host_mut(), positions.host_mut()) {
            let len = keys.len() / rows;
            let (values, positions) = (SharedOut(values.ptr_mut()), SharedOut(positions.ptr_mut()));
            let row = |row: usize, threads: usize| {
                let keys = &keys[row * len..][..len];
                for (i, at) in host::first(keys, k, ranking, threads).into_iter().enumerate() {
                    let to = (row * k + i) as isize;
                    // SAFETY: both have `k` elements of these sizes a row, which this task alone uses.
                    unsafe {
                        values.at::<K>(to).write(keys[at]);
                        positions.at::<u64>(to).write(at as u64);
                    }
                }
            };
            let threads = rayon::current_num_threads();
            match rows < threads && len > PARALLEL_ABOVE {
                true => (0..rows).for_each(|k| row(k, threads)),
                false => for_tasks(rows, keys.len(), |k| row(k, 1)),
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
