//! The naive sequential oracles: plain loops in wider types, written from the documentation and
//! independent of both backends. The conformance tests use the same.

pub use super::histogram::{bin_of, even_edges};
pub use super::random::{Stream, philox};
pub use super::sorts::order;
use crate::element::{DType, Element};
use half::{bf16, f16};
use ndarray::{ArrayD, ArrayViewD, Axis, Dimension, IxDyn};
use std::fmt;

/// A value of any element type, widened without loss.
#[derive(Clone, Copy, PartialEq)]
pub enum Wide {
    /// An integer, or a `bool` as 0 or 1.
    Int(i128),
    /// A float.
    Float(f64),
}

impl Wide {
    /// The value as a float, rounded to nearest where it is a large integer.
    pub fn float(self) -> f64 {
        match self {
            Wide::Int(v) => v as f64,
            Wide::Float(v) => v,
        }
    }

    /// The value as an integer; a float is cut off.
    pub fn int(self) -> i128 {
        match self {
            Wide::Int(v) => v,
            Wide::Float(v) => v as i128,
        }
    }

    /// Equal, and of the same sign where both are zero; NaN is the same as NaN.
    pub fn same(self, other: Wide) -> bool {
        match (self, other) {
            (Wide::Int(a), Wide::Int(b)) => a == b,
            (Wide::Float(a), Wide::Float(b)) => {
                a.is_nan() && b.is_nan() || a == b && a.is_sign_negative() == b.is_sign_negative()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wide::Int(v) => write!(f, "{v}"),
            Wide::Float(v) => write!(f, "{v:e}"),
        }
    }
}

/// Element types as the oracles see them.
pub trait Sample: Element {
    /// The value without loss.
    fn wide(self) -> Wide;
    /// The conversion that [`Expr::cast`](crate::Expr::cast) documents: Rust's `as`.
    fn of(value: Wide) -> Self;
    /// Values at which implementations go wrong.
    fn specials() -> Vec<Self>;
    /// Any value; floats mostly of ordinary size, integers of every number of digits.
    fn random(rng: &mut Rng) -> Self;
}

macro_rules! integer_samples {
    ($($t:ident)*) => {$(
        impl Sample for $t {
            fn wide(self) -> Wide {
                Wide::Int(self as i128)
            }
            fn of(value: Wide) -> $t {
                match value {
                    Wide::Int(v) => v as $t,
                    Wide::Float(v) => v as $t,
                }
            }
            fn specials() -> Vec<$t> {
                let bits = $t::BITS as $t;
                vec![0, 1, (0 as $t).wrapping_sub(1), $t::MIN, $t::MAX, $t::MIN.wrapping_add(1), 2, 7, bits - 1, bits]
            }
            fn random(rng: &mut Rng) -> $t {
                (rng.bits() as $t) >> (rng.below($t::BITS as usize))
            }
        }
    )*};
}
integer_samples!(i8 i16 i32 i64 u8 u16 u32 u64);

impl Sample for bool {
    fn wide(self) -> Wide {
        Wide::Int(i128::from(self))
    }
    fn of(value: Wide) -> bool {
        match value {
            Wide::Int(v) => v != 0,
            Wide::Float(v) => v != 0.0,
        }
    }
    fn specials() -> Vec<bool> {
        vec![false, true]
    }
    fn random(rng: &mut Rng) -> bool {
        rng.bits() & 1 == 1
    }
}

macro_rules! float_samples {
    ($($t:ident $to:expr, $of:expr;)*) => {$(
        impl Sample for $t {
            fn wide(self) -> Wide {
                let to: fn($t) -> f64 = $to;
                Wide::Float(to(self))
            }
            fn of(value: Wide) -> $t {
                let of: fn(f64) -> $t = $of;
                of(match value {
                    // Integers reach the half floats through the `f32` they are computed in.
                    Wide::Int(v) if Self::DTYPE.compute() == DType::F32 => round_to(Self::DTYPE, f64::from(v as f32)),
                    Wide::Int(v) => v as f64,
                    Wide::Float(v) => round_to(Self::DTYPE, v),
                })
            }
            fn specials() -> Vec<$t> {
                let p = Format::of(Self::DTYPE);
                let least = scale(1.0, p.emin - (p.digits - 1));
                let normal = 2f64.powi(p.emin);
                let values = [
                    0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN,
                    least, -least, normal, normal - least, p.max, -p.max,
                ];
                values.map(|v| Self::of(Wide::Float(v))).to_vec()
            }
            fn random(rng: &mut Rng) -> $t {
                let p = Format::of(Self::DTYPE);
                let unit = rng.unit() * 2.0 - 1.0;
                Self::of(Wide::Float(match rng.below(6) {
                    0 => unit,
                    1 | 2 => unit * 10.0,
                    // Close to 1 and -1, where many functions are nearly 0 or infinite.
                    3 => (1.0 + scale(unit, -(rng.below(p.digits as usize) as i32))).copysign(unit),
                    _ => {
                        let span = (p.emax - p.emin + p.digits) as usize;
                        scale(unit, p.emax - rng.below(span) as i32)
                    }
                }))
            }
        }
    )*};
}
float_samples! {
    f16 f16::to_f64, f16::from_f64;
    bf16 bf16::to_f64, bf16::from_f64;
    f32 f64::from, |v| v as f32;
    f64 |v| v, |v| v;
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
/// small, and the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of one sequence.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`; 0 for `n` = 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % (n as u64).max(1)) as usize
    }

    /// A float in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-53)
    }

    /// `n` values of [`Sample::random`].
    pub fn values<T: Sample>(&mut self, n: usize) -> Vec<T> {
        (0..n).map(|_| T::random(self)).collect()
    }

    /// `n` values of moderate size for sums: floats in −1..1, integers of all sizes.
    pub fn moderate<T: Sample>(&mut self, n: usize) -> Vec<T> {
        let mut one = || match T::DTYPE.is_float() {
            true => T::of(Wide::Float(self.unit() * 2.0 - 1.0)),
            false => T::random(self),
        };
        (0..n).map(|_| one()).collect()
    }
}

/// A binary floating-point format.
struct Format {
    /// Binary digits, the hidden one included.
    digits: i32,
    emin: i32,
    emax: i32,
    max: f64,
}

impl Format {
    fn of(dtype: DType) -> Format {
        let (digits, emax) = match dtype {
            DType::F16 => (11, 15),
            DType::BF16 => (8, 127),
            DType::F32 => (24, 127),
            _ => (53, 1023),
        };
        let max = (2.0 - 2f64.powi(1 - digits)) * 2f64.powi(emax);
        Format { digits, emin: 1 - emax, emax, max }
    }
}

/// ⌊log₂ |v|⌋ of a finite value other than zero.
fn exponent(v: f64) -> i32 {
    let bits = v.abs().to_bits();
    match bits >> 52 {
        0 => -1011 - bits.leading_zeros() as i32,
        e => e as i32 - 1023,
    }
}

/// `v` · 2ᵏ, exact where the result is a normal number.
fn scale(v: f64, k: i32) -> f64 {
    // Two steps, because 2ᵏ itself may be out of range.
    v * 2f64.powi(k / 2) * 2f64.powi(k - k / 2)
}

/// `v` rounded once to a float type: to nearest, ties to even, with overflow and subnormals.
pub fn round_to(dtype: DType, v: f64) -> f64 {
    if dtype == DType::F64 || v == 0.0 || !v.is_finite() {
        return v;
    }
    let p = Format::of(dtype);
    let step = exponent(v).max(p.emin) - (p.digits - 1);
    let rounded = scale(scale(v, -step).round_ties_even(), step);
    if rounded.abs() > p.max { f64::INFINITY.copysign(v) } else { rounded }
}

/// The distance of neighbouring values of a float type at `v` (that of the smallest normal
/// numbers below them, that of the largest above them).
pub fn ulp(dtype: DType, v: f64) -> f64 {
    let p = Format::of(dtype);
    if !v.is_finite() {
        return 2f64.powi(p.emax - (p.digits - 1));
    }
    let e = if v == 0.0 { p.emin } else { exponent(v).clamp(p.emin, p.emax) };
    scale(1.0, e - (p.digits - 1))
}

/// Whether `got`, computed in `dtype.compute()` and stored as `dtype`, can come from a result
/// within `ulps` units in the last place of `want`. `ulps` = 0 asks for `want` rounded, with its
/// sign where it is zero.
pub fn close(dtype: DType, got: f64, want: f64, ulps: f64) -> bool {
    if want.is_nan() || got.is_nan() {
        return want.is_nan() && got.is_nan();
    }
    let compute = dtype.compute();
    let stored = |v: f64| round_to(dtype, round_to(compute, v));
    if ulps == 0.0 || want.is_infinite() {
        return Wide::Float(got).same(Wide::Float(stored(want)));
    }
    let reach = ulps * ulp(compute, want);
    // The least and the greatest value of the compute type in the interval.
    let inward = |edge: f64, outside: fn(f64, f64) -> bool, next: fn(f64) -> f64| {
        let near = round_to(compute, edge);
        if compute == DType::F32 && outside(near, edge) {
            return f64::from(next(near) as f32);
        }
        near
    };
    let low = inward(want - reach, |a, b| a < b, |v| f64::from((v as f32).next_up()));
    let high = inward(want + reach, |a, b| a > b, |v| f64::from((v as f32).next_down()));
    // A value beyond the largest one rounds to infinity, and may be it.
    let nearest = stored(want);
    (stored(low)..=stored(high)).contains(&got) || got == nearest
}

/// Splits the elements of an array into those that are reduced together: for every index of the
/// kept axes (in row-major order) its elements in row-major order. Also the result's shape.
pub fn groups<T: Clone>(
    array: &ArrayD<T>,
    axes: &[Axis],
    keepdims: bool,
) -> (Vec<usize>, Vec<Vec<T>>) {
    let reduced: Vec<bool> = (0..array.ndim()).map(|k| axes.contains(&Axis(k))).collect();
    let full: Vec<usize> =
        array.shape().iter().zip(&reduced).map(|(&d, &r)| if r { 1 } else { d }).collect();
    let mut out: Vec<Vec<T>> = vec![Vec::new(); full.iter().product()];
    for (index, value) in array.indexed_iter() {
        let mut at = 0;
        for (k, &d) in full.iter().enumerate() {
            at = at * d + if reduced[k] { 0 } else { index.as_array_view()[k] };
        }
        out[at].push(value.clone());
    }
    let shape =
        full.iter().zip(&reduced).filter(|&(_, &r)| keepdims || !r).map(|(&d, _)| d).collect();
    (shape, out)
}

/// Where an index points on an axis of `len`; `None` outside.
pub fn place<I: Sample>(index: I, len: usize) -> Option<usize> {
    let at = index.wide().int();
    let at = if at < 0 { at + len as i128 } else { at };
    (0..len as i128).contains(&at).then_some(at as usize)
}

/// The elements at positions in row-major order. All indices are inside, here and below.
pub fn take<T: Sample, I: Sample>(a: &ArrayViewD<'_, T>, indices: &ArrayViewD<'_, I>) -> ArrayD<T> {
    let flat: Vec<T> = a.iter().copied().collect();
    indices.map(|&i| place(i, flat.len()).map_or_else(T::default, |at| flat[at]))
}

/// The sub-arrays at positions of an axis.
pub fn take_axis<T: Sample, I: Sample>(
    a: &ArrayViewD<'_, T>,
    axis: usize,
    indices: &ArrayViewD<'_, I>,
) -> ArrayD<T> {
    let rank = indices.ndim();
    let mut shape = a.shape()[..axis].to_vec();
    shape.extend(indices.shape());
    shape.extend(&a.shape()[axis + 1..]);
    ArrayD::from_shape_fn(shape, |at| {
        let at = at.slice();
        let mut from = at[..axis].to_vec();
        let index = indices[IxDyn(&at[axis..axis + rank])];
        from.extend(place(index, a.shape()[axis]));
        from.extend(&at[axis + rank..]);
        a[IxDyn(&from)]
    })
}

/// Along an axis the elements that indices of the result's shape name.
pub fn take_along_axis<T: Sample, I: Sample>(
    a: &ArrayViewD<'_, T>,
    axis: usize,
    indices: &ArrayViewD<'_, I>,
) -> ArrayD<T> {
    ArrayD::from_shape_fn(indices.shape(), |at| {
        let mut from = at.clone();
        from[axis] = place(indices[&at], a.shape()[axis]).unwrap_or(usize::MAX);
        a[&from]
    })
}

/// Joins values one after the other to the elements that indices name: in row-major order, or those of an
/// axis; with `true` along it, else whole sub-arrays.
pub fn put<T: Sample, I: Sample>(
    a: &mut ArrayD<T>,
    axis: Option<(usize, bool)>,
    indices: &ArrayViewD<'_, I>,
    values: &ArrayViewD<'_, T>,
    join: impl Fn(T, T) -> T,
) {
    let shape = a.shape().to_vec();
    for (at, &value) in values.indexed_iter() {
        let at = at.slice();
        let to: Vec<usize> = match axis {
            None => {
                let mut flat = place(indices[IxDyn(at)], a.len()).unwrap_or(usize::MAX);
                let mut to = vec![0; shape.len()];
                for k in (0..shape.len()).rev() {
                    to[k] = flat % shape[k];
                    flat /= shape[k];
                }
                to
            }
            Some((axis, true)) => {
                let mut to = at.to_vec();
                to[axis] = place(indices[IxDyn(at)], shape[axis]).unwrap_or(usize::MAX);
                to
            }
            Some((axis, false)) => {
                let rank = indices.ndim();
                let mut to = at[..axis].to_vec();
                to.extend(place(indices[IxDyn(&at[axis..axis + rank])], shape[axis]));
                to.extend(&at[axis + rank..]);
                to
            }
        };
        let element = &mut a[IxDyn(&to)];
        *element = join(*element, value);
    }
}

/// Knuth's TwoSum: the rounded sum and its error, exactly.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let bb = s - a;
    (s, (a - (s - bb)) + (b - bb))
}

/// The sum of floats in twice the precision of `f64`.
pub fn float_sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut error) = (0.0, 0.0);
    for v in values {
        let (s, e) = two_sum(sum, v);
        sum = s;
        error += e;
    }
    if sum.is_finite() { sum + error } else { sum }
}

/// `a · b + c` of `f32` values, rounded once to `f32`: the product is exact in `f64`, and the sum
/// is rounded to odd there, so that the second rounding is the only one that counts (Boldo and
/// Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
/// odd", 2008).
pub fn fused(a: f64, b: f64, c: f64) -> f64 {
    let (s, e) = two_sum(a * b, c);
    if e == 0.0 || !s.is_finite() || s.to_bits() & 1 == 1 {
        return round_to(DType::F32, s);
    }
    // The error points from the even value to the other neighbour.
    let odd = if e > 0.0 { s.next_up() } else { s.next_down() };
    round_to(DType::F32, odd)
}

/// The position of the least (or greatest) value: the first of equals, the first NaN before all.
pub fn arg_extreme(values: &[Wide], greatest: bool) -> usize {
    if let Some(at) = values.iter().position(|v| v.float().is_nan()) {
        return at;
    }
    let before = |a: Wide, b: Wide| match (a, b) {
        (Wide::Int(a), Wide::Int(b)) => a < b,
        _ => a.float() < b.float(),
    };
    let mut best = 0;
    for (k, &v) in values.iter().enumerate() {
        let better = if greatest { before(values[best], v) } else { before(v, values[best]) };
        if better {
            best = k;
        }
    }
    best
}

/// Sums and products of integers: in 64 bits, wrapping, as `i64` for signed types and `u64` else.
pub fn integer_fold(dtype: DType, values: &[Wide], product: bool) -> i128 {
    let mut acc: u64 = u64::from(product);
    for v in values {
        let v = v.int() as u64;
        acc = if product { acc.wrapping_mul(v) } else { acc.wrapping_add(v) };
    }
    if dtype.is_signed() { i128::from(acc as i64) } else { i128::from(acc) }
}

/// An element of a matrix product.
#[derive(Clone, Copy, Debug)]
pub struct Dot {
    /// The sum of its products: integers in so many bits that the lowest 64 are exact, floats in
    /// twice the precision of `f64`.
    pub sum: Wide,
    /// The sum of their magnitudes.
    pub magnitude: f64,
    /// Their number.
    pub terms: usize,
}

/// A matrix product by NumPy's rules. The shapes fit.
pub fn matmul<T: Sample>(a: &ArrayViewD<'_, T>, b: &ArrayViewD<'_, T>) -> ArrayD<Dot> {
    // A vector is a row on the left and a column on the right.
    let left = if a.ndim() == 1 { a.view().insert_axis(Axis(0)) } else { a.view() };
    let right = if b.ndim() == 1 { b.view().insert_axis(Axis(1)) } else { b.view() };
    let (la, lb) = (left.ndim() - 2, right.ndim() - 2);
    let (m, k, n) = (left.shape()[la], left.shape()[la + 1], right.shape()[lb + 1]);
    let lead = la.max(lb);
    let mut shape: Vec<usize> = (0..lead)
        .map(|axis| {
            let of = |s: &[usize], l: usize| (axis + l).checked_sub(lead).map_or(1, |x| s[x]);
            let (x, y) = (of(left.shape(), la), of(right.shape(), lb));
            if x == 1 { y } else { x }
        })
        .collect();
    shape.extend([m, n]);
    let count = shape[..lead].iter().product::<usize>();
    let mut dots = Vec::with_capacity(count * m * n);
    for t in 0..count {
        // Rows of the one and columns of the other.
        let x = matrix(&left, &shape[..lead], t).map(|v| v.wide());
        let y = matrix(&right, &shape[..lead], t).t().map(|v| v.wide());
        let (x, y): (Vec<Wide>, Vec<Wide>) = (x.into_iter().collect(), y.into_iter().collect());
        for i in 0..m {
            for j in 0..n {
                let pairs = x[i * k..][..k].iter().zip(&y[j * k..][..k]);
                dots.push(dot(pairs.map(|(&x, &y)| (x, y)), T::DTYPE));
            }
        }
    }
    let mut dots = dots.into_iter();
    let nothing = Dot { sum: Wide::Int(0), magnitude: 0.0, terms: 0 };
    let product = ArrayD::from_shape_simple_fn(IxDyn(&shape), || dots.next().unwrap_or(nothing));
    let product = match b.ndim() {
        1 => product.index_axis_move(Axis(lead + 1), 0),
        _ => product,
    };
    if a.ndim() == 1 { product.index_axis_move(Axis(lead), 0) } else { product }
}

/// The matrix of an array at position `t` of leading axes that it broadcasts to.
fn matrix<'a, T>(array: &'a ArrayViewD<'_, T>, lead: &[usize], mut t: usize) -> ArrayViewD<'a, T> {
    let own = array.ndim() - 2;
    let mut at = vec![0; own];
    for (axis, &d) in lead.iter().enumerate().rev() {
        if let Some(k) = (axis + own).checked_sub(lead.len()) {
            at[k] = if array.shape()[k] == 1 { 0 } else { t % d };
        }
        t /= d;
    }
    let mut view = array.view();
    for &i in &at {
        view = view.index_axis_move(Axis(0), i);
    }
    view
}

fn dot(pairs: impl Iterator<Item = (Wide, Wide)>, dtype: DType) -> Dot {
    let mut dot = Dot { sum: Wide::Int(0), magnitude: 0.0, terms: 0 };
    if !dtype.is_float() {
        let mut sum = 0i128;
        for (x, y) in pairs {
            sum = sum.wrapping_add(x.int().wrapping_mul(y.int()));
            dot.terms += 1;
        }
        return Dot { sum: Wide::Int(sum), ..dot };
    }
    let products = pairs.map(|(x, y)| {
        let p = x.float() * y.float();
        dot.magnitude += p.abs();
        dot.terms += 1;
        p
    });
    let sum = float_sum(products);
    Dot { sum: Wide::Float(sum), ..dot }
}

impl Dot {
    /// Whether `got` can be this sum: integers wrapped to their type exactly, floats within
    /// (k + 2) · u · Σ|a||b|, with u half the distance from 1 to its neighbour in the type that is
    /// computed in, plus the rounding to the type that is stored.
    pub fn allows<T: Sample>(&self, got: T) -> bool {
        let Wide::Float(want) = self.sum else { return got.wide().same(T::of(self.sum).wide()) };
        let got = got.wide().float();
        if !want.is_finite() {
            return got == want || got.is_nan() && want.is_nan();
        }
        let unit = ulp(T::DTYPE.compute(), 1.0) / 2.0;
        let sums = (self.terms + 2) as f64 * unit * self.magnitude;
        let stored = if T::DTYPE.compute() == T::DTYPE { 0.0 } else { 0.5 * ulp(T::DTYPE, want) };
        (got - want).abs() <= sums + stored * 1.01 + ulp(T::DTYPE.compute(), 0.0)
    }
}

impl fmt::Debug for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What lies beyond the edge of an image in [`conv2d`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Zeros.
    Zero,
    /// The nearest element.
    Nearest,
    /// The image mirrored, its edge not repeated.
    Reflect,
    /// The image again from its other end.
    Wrap,
}

/// Where position `at` of an axis of length `n` reads: `None` for a zero.
pub(super) fn beyond(at: isize, n: usize, edge: Edge) -> Option<usize> {
    let last = n as isize - 1;
    match edge {
        _ if (0..=last).contains(&at) => Some(at as usize),
        Edge::Zero => None,
        Edge::Nearest => Some(at.clamp(0, last) as usize),
        Edge::Reflect if n == 1 => Some(0),
        Edge::Reflect => {
            let m = at.rem_euclid(2 * last);
            Some(m.min(2 * last - m) as usize)
        }
        Edge::Wrap => Some(at.rem_euclid(n as isize) as usize),
    }
}

/// The cross-correlation of one image `[H, W]` with a filter centred at (h / 2, w / 2): for every
/// element the pairs (image, filter) that are multiplied and added.
pub fn conv2d<T: Copy>(
    image: &ArrayViewD<'_, T>,
    filter: &ArrayViewD<'_, T>,
    edge: Edge,
) -> ArrayD<Vec<(T, T)>> {
    let (rows, columns) = (image.shape()[0], image.shape()[1]);
    let (h, w) = (filter.shape()[0] as isize, filter.shape()[1] as isize);
    ArrayD::from_shape_fn(IxDyn(&[rows, columns]), |index| {
        let (y, x) = (index[0] as isize, index[1] as isize);
        let mut pairs = Vec::new();
        for j in 0..h {
            for i in 0..w {
                let from =
                    (beyond(y + j - h / 2, rows, edge), beyond(x + i - w / 2, columns, edge));
                if let (Some(r), Some(c)) = from {
                    pairs.push((
                        image[[r, c].as_slice()],
                        filter[[j as usize, i as usize].as_slice()],
                    ));
                }
            }
        }
        pairs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_agrees_with_hardware_and_with_half() {
        let mut rng = Rng::new(1);
        for _ in 0..20_000 {
            let v = f64::from_bits(rng.bits());
            let want = f64::from(v as f32);
            assert!(Wide::Float(round_to(DType::F32, v)).same(Wide::Float(want)), "{v:e}");
            let single = v as f32;
            for (dtype, want) in [
                (DType::F16, f16::from_f32(single).to_f64()),
                (DType::BF16, bf16::from_f32(single).to_f64()),
            ] {
                let got = round_to(dtype, f64::from(single));
                assert!(Wide::Float(got).same(Wide::Float(want)), "{single:e} as {dtype}");
            }
        }
    }

    #[test]
    fn fused_agrees_with_std() {
        let mut rng = Rng::new(2);
        for _ in 0..20_000 {
            let [a, b, c] = [0; 3].map(|_| f32::random(&mut rng));
            let want = f64::from(a.mul_add(b, c));
            let got = fused(a.into(), b.into(), c.into());
            assert!(Wide::Float(got).same(Wide::Float(want)), "{a:e} * {b:e} + {c:e}");
        }
    }

    #[test]
    fn closeness_counts_units() {
        let up = |v: f32, n: u32| f64::from(f32::from_bits(v.to_bits() + n));
        assert!(close(DType::F32, up(1.5, 2), 1.5, 2.0));
        assert!(!close(DType::F32, up(1.5, 3), 1.5, 2.0));
        assert!(close(DType::F32, 0.0, -0.0, 1.0) && !close(DType::F32, 0.0, -0.0, 0.0));
        assert!(close(DType::F32, f64::INFINITY, 1e39, 3.0));
        assert!(!close(DType::F32, f64::from(f32::MAX), 1e39, 3.0));
        assert!(close(DType::F64, 1.0 + f64::EPSILON, 1.0, 1.0));
        assert!(!close(DType::F64, 1.0 + 2.0 * f64::EPSILON, 1.0, 1.0));
        // A half float stores what rounds from the f32 result: neighbours only at a boundary.
        assert!(
            close(DType::F16, 1.0, 1.0002, 2.0) && !close(DType::F16, 1.0009765625, 1.0002, 2.0)
        );
    }

    #[test]
    fn mirrors_do_not_repeat_the_edge() {
        let at = |k| beyond(k, 4, Edge::Reflect).unwrap();
        assert_eq!((-4..8).map(at).collect::<Vec<_>>(), [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
    }
}
