//! `random`: numbers that are a function of seed, stream and position. Kernels: `cl/random.cl`.

pub(crate) mod draw;
mod permutation;
mod philox;

use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Element, Float, Integer, Scalar};
use crate::error::{Error, Result};
use crate::layout::{Layout, count};
use crate::ops::run;
use draw::{Draw, Source, What};
use ndarray::IntoDimension;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

/// Random numbers: the same bits for a seed on every device.
///
/// The generator is Philox4x32-10 (Salmon and others, 2011), which needs no state but a position:
/// element number `i` of a stream depends on the seed, the stream, `i`, and on what is drawn (type and
/// distribution). A draw takes as many elements as its result has, so ten numbers and then twenty are
/// the thirty that one draw gives, and several devices draw parts of one array when each is told
/// where its part starts ([`Random::skip`]).
///
/// Bits are the same everywhere, those of normal numbers where square roots are rounded correctly
/// ([`DeviceInfo::exact_division`](crate::DeviceInfo::exact_division)); elsewhere they are within
/// 4 units in the last place. Not for cryptography.
///
/// ```
/// use clan::{Device, Random};
/// let device = Device::host();
/// let mut random = Random::new(42);
/// let x = random.uniform::<f32>(&device, (2, 3))?;
/// assert!(x.to_vec()?.iter().all(|v| (0.0..1.0).contains(v)));
/// let dice = random.integers(&device, 1000, 1..=6u8)?;
/// assert_eq!((dice.min()?.item()?, dice.max()?.item()?), (1, 6));
///
/// // In parts, in any order, on any device: the same numbers.
/// let whole = Random::new(7).standard_normal::<f32>(&device, 100)?.to_vec()?;
/// let mut second_half = Random::new(7);
/// second_half.skip(50);
/// assert_eq!(second_half.standard_normal::<f32>(&device, 50)?.to_vec()?, whole[50..]);
/// # Ok::<(), clan::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    seed: u64,
    stream: u32,
    position: u64,
}

impl Random {
    /// The numbers of a seed, from the first one of stream 0 on.
    pub fn new(seed: u64) -> Random {
        Random { seed, stream: 0, position: 0 }
    }

    /// Another stream of the same seed, from its first number on. Streams share no numbers.
    pub fn stream(&self, stream: u32) -> Random {
        Random { seed: self.seed, stream, position: 0 }
    }

    /// The number of the next element.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Leaves out `n` elements.
    pub fn skip(&mut self, n: u64) {
        self.position = self.position.wrapping_add(n);
    }

    /// Floats in `[0, 1)`, at equal distances: multiples of 2⁻²⁴ for `f32`, 2⁻⁵³ for `f64`, 2⁻¹¹ for
    /// `f16`, 2⁻⁸ for `bf16`, all of them equally likely.
    ///
    /// # Errors
    /// `f64` on a device without it; out of memory.
    pub fn uniform<T: Float>(
        &mut self,
        device: &Device,
        shape: impl IntoDimension,
    ) -> Result<DeviceArray<T>> {
        self.draw("uniform", What::Uniform, device, shape)
    }

    /// Floats in `[low, high)`: `low + u · (high − low)` with `u` in `[0, 1)`.
    ///
    /// ```
    /// use clan::{Device, Random};
    /// let angle = Random::new(1).uniform_in(&Device::host(), 100, -180.0..180.0f32)?;
    /// assert!(angle.to_vec()?.iter().all(|v| (-180.0..180.0).contains(v)));
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A range that is empty, infinite, or longer than the greatest float; else as
    /// [`Random::uniform`].
    pub fn uniform_in<T: Float>(
        &mut self,
        device: &Device,
        shape: impl IntoDimension,
        range: Range<T>,
    ) -> Result<DeviceArray<T>> {
        let (low, high) = (float(range.start), float(range.end));
        let length = match T::DTYPE {
            DType::F64 => high - low,
            _ => f64::from(high as f32 - low as f32),
        };
        if length <= 0.0 || !length.is_finite() {
            return Err(Error::argument(
                "uniform_in",
                format!(
                    "no numbers in {low}..{high}: the range must be finite, start below its end, and have a length below the greatest {}",
                    T::DTYPE
                ),
            ));
        }
        self.draw("uniform_in", What::Between(low, high), device, shape)
    }

    /// Normally distributed floats of mean 0 and standard deviation 1, by the method of Box and
    /// Muller (1958). None is further than 6.6 from the mean (9.5 for `f64`).
    ///
    /// # Errors
    /// As [`Random::uniform`].
    pub fn standard_normal<T: Float>(
        &mut self,
        device: &Device,
        shape: impl IntoDimension,
    ) -> Result<DeviceArray<T>> {
        self.draw("standard_normal", What::Normal(0.0, 1.0), device, shape)
    }

    /// Normally distributed floats: `mean + deviation · z` of [`Random::standard_normal`]'s `z`, rounded
    /// once.
    ///
    /// # Errors
    /// A mean or standard deviation that is not finite, a negative standard deviation; else as
    /// [`Random::uniform`].
    pub fn normal<T: Float>(
        &mut self,
        device: &Device,
        shape: impl IntoDimension,
        mean: T,
        deviation: T,
    ) -> Result<DeviceArray<T>> {
        let (mean, deviation) = (float(mean), float(deviation));
        if !mean.is_finite() || !deviation.is_finite() || deviation < 0.0 {
            return Err(Error::argument(
                "normal",
                format!(
                    "no distribution has mean {mean} and standard deviation {deviation}; use finite values, and no negative deviation"
                ),
            ));
        }
        self.draw("normal", What::Normal(mean, deviation), device, shape)
    }

    /// Integers of a range, all of them equally likely: `0..10`, `1..=6`, or `..` for every value of
    /// the type. By Lemire's method (2019), which draws again where a word would favour some values.
    ///
    /// ```
    /// use clan::{Device, Random};
    /// let bytes = Random::new(3).integers::<u8>(&Device::host(), 4096, ..)?;
    /// assert_eq!(bytes.max()?.item()?, 255);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An empty range; out of memory.
    pub fn integers<T: Integer>(
        &mut self,
        device: &Device,
        shape: impl IntoDimension,
        range: impl RangeBounds<T>,
    ) -> Result<DeviceArray<T>> {
        let (least, greatest) = extremes(T::DTYPE);
        let low = match range.start_bound() {
            Bound::Included(&v) => integer(v),
            Bound::Excluded(&v) => integer(v) + 1,
            Bound::Unbounded => least,
        };
        let high = match range.end_bound() {
            Bound::Included(&v) => integer(v),
            Bound::Excluded(&v) => integer(v) - 1,
            Bound::Unbounded => greatest,
        };
        if low > high {
            return Err(Error::argument(
                "integers",
                format!("the range from {low} to {high}, both included, has no integers"),
            ));
        }
        // All values of a word: 0 stands for their number.
        let bits = if T::DTYPE.size() == 8 { 64 } else { 32 };
        let span = (high - low + 1) % (1i128 << bits);
        let what = What::Integers { low: low as u64, span: span as u64 };
        self.draw("integers", what, device, shape)
    }

    /// `true` with probability `p`, to the next multiple of 2⁻³².
    ///
    /// # Errors
    /// A `p` outside `[0, 1]`; out of memory.
    pub fn bernoulli(
        &mut self,
        device: &Device,
        shape: impl IntoDimension,
        p: f64,
    ) -> Result<DeviceArray<bool>> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument(
                "bernoulli",
                format!("{p} is no probability; use one in [0, 1]"),
            ));
        }
        let below = (p * (1u64 << 32) as f64).round() as u64;
        self.draw("bernoulli", What::Bernoulli(below), device, shape)
    }

    fn source(&self) -> Source {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        Source { key, stream: self.stream, position: self.position }
    }

    fn draw<T: Element>(
        &mut self,
        op: &'static str,
        what: What,
        device: &Device,
        shape: impl IntoDimension,
    ) -> Result<DeviceArray<T>> {
        let shape = shape.into_dimension();
        let layout = Layout::contiguous(ndarray::Dimension::slice(&shape));
        let n = count(op, &layout.shape)?;
        let mut buffer = RawArray::alloc(op, device, &layout, T::DTYPE)?;
        run(Draw { op, what, dtype: T::DTYPE, n, from: self.source(), out: &mut buffer }, device)?;
        self.skip(n as u64);
        Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE }))
    }
}

fn float<T: Float>(v: T) -> f64 {
    match v.to_scalar() {
        Scalar::F64(v) => v,
        Scalar::F32(v) => v.into(),
        _ => f64::NAN,
    }
}

fn integer<T: Integer>(v: T) -> i128 {
    match v.to_scalar() {
        Scalar::I8(v) => v.into(),
        Scalar::I16(v) => v.into(),
        Scalar::I32(v) => v.into(),
        Scalar::I64(v) => v.into(),
        Scalar::U8(v) => v.into(),
        Scalar::U16(v) => v.into(),
        Scalar::U32(v) => v.into(),
        Scalar::U64(v) => v.into(),
        _ => 0,
    }
}

/// The least and the greatest integer of a type.
fn extremes(dtype: DType) -> (i128, i128) {
    let bits = 8 * dtype.size();
    match dtype.is_signed() {
        true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => (0, (1 << bits) - 1),
    }
}
