//! `histogram`: how many elements lie in each bin. Kernels: `cl/histogram.cl`.

mod bins;
pub(crate) mod count;

use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Integer, Number};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::Expr;
use crate::expr::fuse_somewhere;
use crate::expr::node::Node;
use crate::layout::count;
use crate::ops::run;
use bins::Bins;
use count::Count;
use std::ops::RangeInclusive;

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
        let op = "histogram";
        self.node()?;
        let bins =
            Bins::even(op, T::DTYPE, bins, range.start().to_scalar(), range.end().to_scalar())?;
        self.counted(op, &bins)
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
        let op = "histogram_edges";
        self.node()?;
        self.counted(op, &Bins::edges(op, edges)?)
    }

    fn counted(&self, op: &'static str, bins: &Bins) -> Result<DeviceArray<u64>> {
        let root = self.node()?;
        count(op, &root.shape)?;
        let (fused, device) = fuse_somewhere(root)?;
        device.require(op, T::DTYPE)?;
        if fused.len() == 0 {
            return DeviceArray::zeros(&device, bins.len());
        }
        run(Count { op, bins, fused: &fused, device: &device }, &device)
    }
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
        let n = self.extent(op, least)?;
        if count(op, &self.node()?.shape)? == 0 {
            let device = self.node()?.device.clone().map_or_else(Device::best, Ok)?;
            return DeviceArray::zeros(&device, n);
        }
        self.counted(op, &Bins::index(T::DTYPE, n))
    }

    /// How many bins the elements need, `least` or more.
    pub(in crate::ops) fn extent(&self, op: &'static str, least: usize) -> Result<usize> {
        if least > MOST {
            return Err(too_many(op, least as u128));
        }
        if count(op, &self.node()?.shape)? == 0 {
            return Ok(least);
        }
        // No element is beyond what its type holds.
        let holds = match T::DTYPE {
            DType::U8 => 1 << 8,
            DType::U16 => 1 << 16,
            _ => usize::MAX,
        };
        if least >= holds {
            return Ok(least);
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

/// How often each number below `bins` occurs among keys that are all below it.
pub(super) fn indexed(op: &'static str, keys: &RawArray, bins: usize) -> Result<DeviceArray<u64>> {
    if bins > MOST {
        return Err(too_many(op, bins as u128));
    }
    let keys = Expr::<u32>::from_node(Ok(Node::leaf(keys.clone())));
    keys.counted(op, &Bins::index(DType::U32, bins))
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
        self.expr().histogram(bins, range)
    }

    /// Counts the elements between given edges; see [`Expr::histogram_edges`].
    ///
    /// # Errors
    /// As [`Expr::histogram_edges`].
    pub fn histogram_edges(&self, edges: &[T]) -> Result<DeviceArray<u64>> {
        self.expr().histogram_edges(edges)
    }
}

impl<T: Integer> DeviceArray<T> {
    /// How often each of the numbers 0, 1, 2, … occurs; see [`Expr::bincount`].
    ///
    /// # Errors
    /// As [`Expr::bincount`].
    pub fn bincount(&self, least: usize) -> Result<DeviceArray<u64>> {
        self.expr().bincount(least)
    }
}
