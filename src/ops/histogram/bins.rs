//! Which bin an element belongs to: the parameters that both halves read, and the host's arithmetic,
//! which gives the same bins as `clan_bin` in `cl/histogram.cl`.

use super::{MOST, too_many};
use crate::element::{DType, Number, Scalar};
use crate::error::{Error, Result};
use crate::host::map1;

/// Bins over elements of one type.
pub(crate) struct Bins {
    pub dtype: DType,
    len: usize,
    pub by: By,
}

pub(crate) enum By {
    Even(Even<f64>),
    EvenInteger(EvenInteger),
    /// In the compute type, ascending.
    Edges(Vec<Scalar>),
    Index,
}

/// Floats at equal distances, as numbers of their compute type.
#[derive(Clone, Copy)]
pub(crate) struct Even<F> {
    pub low: F,
    pub high: F,
    /// Bins in a distance of 1.
    pub scale: F,
    pub width: F,
}

impl Even<f64> {
    /// Whether the nearest integer to `(x − low) · scale` may be another one than the bin or the next:
    /// rounding errors are below a tenth of a bin elsewhere.
    #[cfg(feature = "opencl")]
    pub fn is_close(&self, dtype: DType) -> bool {
        let digits = if dtype == DType::F64 { -46 } else { -17 };
        self.width < self.low.abs().max(self.high.abs()) * 2f64.powi(digits)
    }
}

/// Integers at equal distances: element d above `low` is in bin ⌊d · bins / span⌋, where bins is
/// `whole · span + part`.
#[derive(Clone, Copy)]
pub(crate) struct EvenInteger {
    pub low: u64,
    pub span: u64,
    pub whole: u64,
    pub part: u64,
    /// 2⁶⁴ · part / span, the next number below; for types of 32 bits and less the next one above.
    pub factor: u64,
}

/// An integer; 0 for what is none.
pub(super) fn integer(v: Scalar) -> i128 {
    match v {
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

fn float(v: Scalar) -> f64 {
    match v {
        Scalar::F64(v) => v,
        Scalar::F32(v) => v.into(),
        _ => f64::NAN,
    }
}

impl Bins {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn even(
        op: &'static str,
        dtype: DType,
        bins: usize,
        low: Scalar,
        high: Scalar,
    ) -> Result<Bins> {
        if bins == 0 {
            return Err(Error::argument(op, "no bins; ask for one at least"));
        }
        if bins > MOST {
            return Err(too_many(op, bins as u128));
        }
        let by = match dtype.is_float() {
            true => By::Even(even_floats(op, dtype, bins, float(low), float(high))?),
            false => By::EvenInteger(even_integers(op, dtype, bins, integer(low), integer(high))?),
        };
        Ok(Bins { dtype, len: bins, by })
    }

    pub fn edges<T: Number>(op: &'static str, edges: &[T]) -> Result<Bins> {
        if edges.len() < 2 {
            return Err(Error::argument(
                op,
                format!("{} edges make no bin; give two at least", edges.len()),
            ));
        }
        if edges.len() > MOST {
            return Err(too_many(op, edges.len() as u128 - 1));
        }
        // NaN compares with nothing.
        #[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is to be found")]
        let bad = edges.windows(2).position(|w| !(w[0] <= w[1]));
        if let Some(k) = bad {
            return Err(Error::argument(
                op,
                format!(
                    "edges must ascend: edge {} is {:?}, after {:?}",
                    k + 1,
                    edges[k + 1],
                    edges[k]
                ),
            ));
        }
        let list = edges.iter().map(|e| e.to_scalar()).collect();
        Ok(Bins { dtype: T::DTYPE, len: edges.len() - 1, by: By::Edges(list) })
    }

    pub fn index(dtype: DType, bins: usize) -> Bins {
        Bins { dtype, len: bins, by: By::Index }
    }

    /// For elements of 8 bits: the bin of each, by its bits.
    pub fn byte_places(&self) -> [u32; 256] {
        let mut places = [u32::MAX; 256];
        let bytes: [u8; 256] = std::array::from_fn(|k| k as u8);
        match self.dtype.is_signed() {
            true => Finder::of(self).places(&bytes.map(|byte| byte as i8), &mut places),
            false => Finder::of(self).places(&bytes, &mut places),
        }
        places
    }

    /// For elements of 8 bits: with their values in order, number `starts[b]` is the first one in bin `b`,
    /// and `starts[len]` is one past the last.
    #[cfg(feature = "opencl")]
    pub fn starts(&self) -> Vec<u32> {
        let flip = if self.dtype.is_signed() { 0x80 } else { 0 };
        let places = self.byte_places();
        let place = |k: usize| places[k ^ flip] as usize;
        let mut next = (0..256).position(|k| place(k) < self.len).unwrap_or(0);
        let mut starts = vec![next as u32];
        for b in 0..self.len {
            while next < 256 && place(next) == b {
                next += 1;
            }
            starts.push(next as u32);
        }
        starts
    }
}

fn even_floats(
    op: &'static str,
    dtype: DType,
    bins: usize,
    low: f64,
    high: f64,
) -> Result<Even<f64>> {
    let narrow = dtype != DType::F64;
    let even = match narrow {
        true => {
            let length = high as f32 - low as f32;
            let (scale, width) = (bins as f32 / length, length / bins as f32);
            Even { low, high, scale: scale.into(), width: width.into() }
        }
        false => {
            let length = high - low;
            Even { low, high, scale: bins as f64 / length, width: length / bins as f64 }
        }
    };
    let ascends = low < high;
    if !ascends || !(even.width * bins as f64).is_finite() || !even.width.is_finite() {
        return Err(Error::argument(
            op,
            format!("no bins in {low}..={high}: the range must be finite and start below its end"),
        ));
    }
    // Rounding errors of scale, product and edges then add up to less than a bin.
    let least = low.abs().max(high.abs()) * if narrow { 2f64.powi(-20) } else { 2f64.powi(-49) };
    if even.width < least || !even.scale.is_finite() {
        return Err(Error::argument(
            op,
            format!(
                "{bins} bins over {low}..={high} are narrower ({:e}) than {} can tell apart; use less of them{}",
                even.width,
                if narrow { "f32" } else { "f64" },
                if narrow { ", or cast to f64" } else { "" },
            ),
        ));
    }
    Ok(even)
}

fn even_integers(
    op: &'static str,
    dtype: DType,
    bins: usize,
    low: i128,
    high: i128,
) -> Result<EvenInteger> {
    if low >= high {
        return Err(Error::argument(
            op,
            format!("no bins in {low}..={high}: the range must start below its end"),
        ));
    }
    let (span, bins) = ((high - low) as u64, bins as u64);
    let (whole, part) = (bins / span, bins % span);
    let below = ((u128::from(part) << 64) / u128::from(span)) as u64;
    let factor = if dtype.size() == 8 { below } else { below.wrapping_add(1) };
    Ok(EvenInteger { low: low as u64, span, whole, part, factor })
}

/// A compute type whose elements have bins.
pub(crate) trait Place: Copy + Default + PartialOrd + Send + Sync + 'static {
    fn from_scalar(v: Scalar) -> Self;

    /// As [`Finder::places`], where bins have no edges of their own.
    fn places(bins: &Bins, x: &[Self], out: &mut [u32]);
}

/// Finds the bins of elements.
pub(crate) struct Finder<'a, T> {
    bins: &'a Bins,
    search: Option<Search<T>>,
}

impl<T: Place> Finder<'_, T> {
    pub fn of(bins: &Bins) -> Finder<'_, T> {
        Finder { bins, search: Search::of(bins) }
    }

    /// The bins of neighbouring elements; the number of bins or more for those that have none.
    pub fn places(&self, x: &[T], out: &mut [u32]) {
        match &self.search {
            Some(search) => search.places(x, out),
            None => T::places(self.bins, x, out),
        }
    }
}

/// A search among given edges.
struct Search<T> {
    first: T,
    last: T,
    bins: u32,
    /// The edges between, and the last again until there are 2ⁿ − 1.
    inner: Vec<T>,
}

/// Elements that go one step of the search at a time, so that none waits for another's memory.
const SIDE_BY_SIDE: usize = 16;

impl<T: Place> Search<T> {
    /// Where bins have edges of their own.
    fn of(bins: &Bins) -> Option<Search<T>> {
        let By::Edges(edges) = &bins.by else { return None };
        let edges: Vec<T> = edges.iter().map(|&e| T::from_scalar(e)).collect();
        let (&first, &last) = (edges.first()?, edges.last()?);
        let mut inner = edges[1..bins.len].to_vec();
        inner.resize(bins.len.next_power_of_two() - 1, last);
        Some(Search { first, last, bins: bins.len as u32, inner })
    }

    /// For each x the last edge but the very last that is not above it.
    fn places(&self, x: &[T], out: &mut [u32]) {
        for (x, out) in x.chunks(SIDE_BY_SIDE).zip(out.chunks_mut(SIDE_BY_SIDE)) {
            let mut side_by_side = [self.first; SIDE_BY_SIDE];
            side_by_side[..x.len()].copy_from_slice(x);
            let mut place = [0u32; SIDE_BY_SIDE];
            let mut step = (self.inner.len() as u32).div_ceil(2);
            while step > 0 {
                for (place, x) in place.iter_mut().zip(&side_by_side) {
                    let at = *place + step;
                    // SAFETY: with all steps, each half the one before, no sum is above the length.
                    let edge = unsafe { self.inner.get_unchecked(at as usize - 1) };
                    // Nobody can foresee it: jumps make this four times as long.
                    *place = std::hint::select_unpredictable(edge <= x, at, *place);
                }
                step /= 2;
            }
            for ((out, place), &x) in out.iter_mut().zip(place).zip(x) {
                let inside = (x >= self.first) & (x <= self.last);
                *out = if inside { place.min(self.bins - 1) } else { self.bins };
            }
        }
    }
}

macro_rules! float_place {
    ($($t:ident)*) => {$(
        impl Place for $t {
            fn from_scalar(v: Scalar) -> $t {
                float(v) as $t
            }

            fn places(bins: &Bins, x: &[$t], out: &mut [u32]) {
                let n = bins.len as u32;
                match &bins.by {
                    By::Even(even) => {
                        let [low, high] = [even.low as $t, even.high as $t];
                        let [scale, width] = [even.scale as $t, even.width as $t];
                        let last = n as i32 - 1;
                        map1(x, out, move |x| {
                            // NaN becomes 0, and is outside.
                            let guess = ((x - low) * scale).max(0.0).min(last as $t);
                            // SAFETY: from 0 to the number of bins, at most 2^30. Conversions that
                            // saturate are not done for several elements at a time.
                            let k = unsafe { guess.to_int_unchecked::<i32>() }.min(last);
                            let next = low + (k + 1) as $t * width;
                            let below = x < low + k as $t * width;
                            let above = (k < last) & (x >= next);
                            let k = k - i32::from(below) + i32::from(above);
                            let inside = (x >= low) & (x <= high);
                            if inside { k as u32 } else { n }
                        });
                    }
                    // Floats are no indices, and edges are searched.
                    _ => out.fill(n),
                }
            }
        }
    )*};
}
float_place!(f32 f64);

macro_rules! integer_place {
    ($($t:ident)*) => {$(
        impl Place for $t {
            fn from_scalar(v: Scalar) -> $t {
                integer(v) as $t
            }

            fn places(bins: &Bins, x: &[$t], out: &mut [u32]) {
                let n = bins.len as u32;
                match &bins.by {
                    By::EvenInteger(even) => {
                        let e = *even;
                        let high = |a: u64, b: u64| ((u128::from(a) * u128::from(b)) >> 64) as u64;
                        for (o, &x) in out.iter_mut().zip(x) {
                            let d = (x as u64).wrapping_sub(e.low);
                            let mut k = high(d, e.factor);
                            if $t::BITS == 64 {
                                let next = u128::from(k + 1) * u128::from(e.span);
                                k += u64::from(next <= u128::from(d) * u128::from(e.part));
                            }
                            let k = d.wrapping_mul(e.whole).wrapping_add(k).min(u64::from(n) - 1);
                            *o = if d <= e.span { k as u32 } else { n };
                        }
                    }
                    _ => out.iter_mut().zip(x).for_each(|(o, &x)| *o = x as u32),
                }
            }
        }
    )*};
}
integer_place!(i8 i16 i32 i64 u8 u16 u32 u64);
