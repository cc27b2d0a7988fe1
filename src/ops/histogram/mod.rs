//! `histogram`: how many elements lie in each bin. Kernels: `cl/histogram.cl`.

mod bins;
pub(crate) mod count;

use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Integer, Number};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::Expr;
use crate::expr::fuse_somewhere;
use crate::expr::node::Operand;
use crate::host::source::Elements;
use crate::layout::{Layout, count};
use crate::ops::run;
use bins::Bins;
use count::Count;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The most bins: their numbers are 32-bit words on a device.
const MOST: usize = 1 << 30;

impl<T: Number> Expr<T> {
    /// Counts the elements in `bins` bins of equal width over a range, as NumPy's `histogram`: bin `k`
    /// holds `low + k · width` and what is above, up to the next bin; the last one also holds
    /// `high`. Elements outside the range and NaN are in no bin. The counts have shape `[bins]`.
    ///
    /// Edges are computed in the type of the elements, in `f32` for the half floats; those of integers
    /// are exact fractions. The expression is not computed first.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let x = DeviceArray::from_slice(&Device::host(), &[0.5f32, 1.0, 2.0, 3.9, 4.0, 9.0, f32::NAN])?;
    /// assert_eq!(x.histogram(4, 0.0..=4.0)?.to_vec()?, [1, 1, 1, 2]);
    /// assert_eq!((&x * 2.0).histogram(2, 0.0..=4.0)?.to_vec()?, [1, 2]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// No bins or more than 2³⁰; a range that is empty or infinite; floats between whose edges there are
    /// less than some dozens of others; mistakes kept in the expression; out of memory.
    pub fn histogram(&self, bins: usize, range: RangeInclusive<T>) -> Result<DeviceArray<u64>> {
        even::<T>(Operand::Node(self.node()?), bins, &range)
    }

    /// Counts the elements between given edges: bin `k` holds `edges[k]` and what is above, up to
    /// `edges[k + 1]`; the last one also holds the last edge. Elements outside and NaN are in no
    /// bin. The counts have shape `[edges.len() - 1]`.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let ages = DeviceArray::from_slice(&Device::host(), &[3u8, 17, 18, 40, 65, 99])?;
    /// assert_eq!(ages.histogram_edges(&[0, 18, 65, 120])?.to_vec()?, [2, 2, 2]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Less than two edges; an edge that is NaN or below the one before it; else as
    /// [`Expr::histogram`].
    pub fn histogram_edges(&self, edges: &[T]) -> Result<DeviceArray<u64>> {
        given(Operand::Node(self.node()?), edges)
    }
}

fn even<T: Number>(
    input: Operand<'_>,
    bins: usize,
    range: &RangeInclusive<T>,
) -> Result<DeviceArray<u64>> {
    let op = "histogram";
    let (low, high) = (range.start().to_scalar(), range.end().to_scalar());
    counted(op, input, &Bins::even(op, T::DTYPE, bins, low, high)?)
}

fn given<T: Number>(input: Operand<'_>, edges: &[T]) -> Result<DeviceArray<u64>> {
    let op = "histogram_edges";
    counted(op, input, &Bins::edges(op, edges)?)
}

fn counted(op: &'static str, input: Operand<'_>, bins: &Bins) -> Result<DeviceArray<u64>> {
    let n = count(op, input.shape())?;
    // Memory of the host is read as it is: small arrays would spend their time on an expression.
    let in_order = input.in_order_on_host().filter(|x| n > 0 && x.dtype.compute() == x.dtype);
    if let Some(values) = in_order {
        return counters(op, values.device(), bins.len(), |counts| {
            count::on_host(&Elements::Memory(values), n, bins, 1, counts);
        });
    }
    let (fused, device) = fuse_somewhere(&input.to_node())?;
    device.require(op, input.dtype())?;
    if n == 0 {
        return DeviceArray::zeros(&device, bins.len());
    }
    run(Count { op, bins, fused: &fused, device: &device }, &device)
}

/// An array of the host with so many counters, 0 until `fill` gets them.
fn counters(
    op: &'static str,
    host: &Device,
    bins: usize,
    fill: impl FnOnce(&mut [u64]),
) -> Result<DeviceArray<u64>> {
    let layout = Layout::contiguous(&[bins]);
    let mut out = RawArray::alloc(op, host, &layout, DType::U64)?;
    if let Some(block) = out.host_mut() {
        let start = block.ptr_mut().cast::<u64>();
        // SAFETY: the block is as long, aligned, and nobody else's.
        fill(unsafe {
            start.write_bytes(0, bins);
            std::slice::from_raw_parts_mut(start, bins)
        });
    }
    Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(out), layout, dtype: DType::U64 }))
}

impl<T: Integer> Expr<T> {
    /// How often each of the numbers 0, 1, 2, … occurs: result `k` counts the elements that are `k`. It
    /// is as long as the greatest element demands, and `least` elements at least. Waits for the device,
    /// to know the greatest element, unless `least` is beyond what the type holds.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1u32, 3, 3, 0])?;
    /// assert_eq!(x.bincount(0)?.to_vec()?, [1, 1, 0, 2]);
    /// assert_eq!(x.bincount(6)?.shape(), [6]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A negative element, of which the first is named; one of 2³⁰ and more; mistakes kept in the
    /// expression; out of memory.
    pub fn bincount(&self, least: usize) -> Result<DeviceArray<u64>> {
        let op = "bincount";
        let bins = Bins::index(T::DTYPE, self.extent(op, least)?);
        counted(op, Operand::Node(self.node()?), &bins)
    }

    /// How many bins the elements need, `least` or more.
    pub(in crate::ops) fn extent(&self, op: &'static str, least: usize) -> Result<usize> {
        if let Some(known) = known_extent(op, Operand::Node(self.node()?), least)? {
            return Ok(known);
        }
        if T::DTYPE.is_signed() {
            let first = self.min()?.item()?;
            if bins::integer(first.to_scalar()) < 0 {
                let negative = self.lt(T::default()).cast::<u8>();
                let at = negative.argmax()?.item()?;
                return Err(Error::index(
                    op,
                    format!(
                        "element {at} in row-major order is negative (the least is {first:?}); only 0, 1, 2, … are counted"
                    ),
                ));
            }
        }
        let greatest = bins::integer(self.max()?.item()?.to_scalar());
        if greatest >= MOST as i128 {
            return Err(too_many(op, greatest as u128 + 1));
        }
        Ok(least.max(greatest as usize + 1))
    }
}

/// How many bins the elements need, where that takes no look at them.
fn known_extent(op: &'static str, input: Operand<'_>, least: usize) -> Result<Option<usize>> {
    if least > MOST {
        return Err(too_many(op, least as u128));
    }
    // No element is beyond what its type holds.
    let holds = match input.dtype() {
        DType::U8 => 1 << 8,
        DType::U16 => 1 << 16,
        _ => usize::MAX,
    };
    Ok((least >= holds || count(op, input.shape())? == 0).then_some(least))
}

/// How often each number below `bins` occurs among keys that are all below it.
pub(super) fn indexed(op: &'static str, keys: &RawArray, bins: usize) -> Result<DeviceArray<u64>> {
    if bins > MOST {
        return Err(too_many(op, bins as u128));
    }
    counted(op, Operand::Array(keys), &Bins::index(DType::U32, bins))
}

fn too_many(op: &'static str, bins: u128) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        op,
        format!("{bins} bins are more than {MOST}; divide the elements first, or sort them"),
    )
}

impl<T: Number> DeviceArray<T> {
    /// Counts the elements in bins of equal width; see [`Expr::histogram`].
    ///
    /// # Errors
    /// As [`Expr::histogram`].
    pub fn histogram(&self, bins: usize, range: RangeInclusive<T>) -> Result<DeviceArray<u64>> {
        even(Operand::Array(self.raw()?), bins, &range)
    }

    /// Counts the elements between given edges; see [`Expr::histogram_edges`].
    ///
    /// # Errors
    /// As [`Expr::histogram_edges`].
    pub fn histogram_edges(&self, edges: &[T]) -> Result<DeviceArray<u64>> {
        given(Operand::Array(self.raw()?), edges)
    }
}

impl<T: Integer> DeviceArray<T> {
    /// How often each of the numbers 0, 1, 2, … occurs; see [`Expr::bincount`].
    ///
    /// # Errors
    /// As [`Expr::bincount`].
    pub fn bincount(&self, least: usize) -> Result<DeviceArray<u64>> {
        let (op, input) = ("bincount", Operand::Array(self.raw()?));
        let bins = match known_extent(op, input, least)? {
            Some(known) => known,
            None => self.expr().extent(op, least)?,
        };
        counted(op, input, &Bins::index(T::DTYPE, bins))
    }
}
