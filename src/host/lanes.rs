//! Element-wise loops over slices, one a function and type, written so that the compiler
//! vectorises them.

use crate::element::{DType, with_compute};
use crate::expr::node::{Binary, Unary};
use half::{bf16, f16};

/// A type that expressions are computed in on the host; `bool` is a `u8` of 0 or 1.
pub(crate) trait Lane: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// Functions that keep the type.
    fn unary(op: Unary, a: &[Self], out: &mut [Self]);
    /// Functions that ask a question.
    fn test(op: Unary, a: &[Self], out: &mut [u8]);
    fn binary(op: Binary, a: &[Self], b: &[Self], out: &mut [Self]);
    fn fused_mul_add(a: &[Self], b: &[Self], c: &[Self], out: &mut [Self]);
}

/// Defines loops twice: for the processor that the program was compiled for, and on x86-64 with
/// 256-bit vectors and fused multiply-add, used where the processor has them. Both give the same
/// bits: Rust never contracts, and `mul_add` rounds once however it is computed.
macro_rules! loops {
    ($($name:ident $narrow:ident $wide:ident <$($g:ident $(: $bound:path)?),*>
        ($($arg:ident: $type:ty),*) $body:block)*) => {$(
        #[inline(always)]
        fn $narrow<$($g $(: $bound)?),*>($($arg: $type),*) $body

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn $wide<$($g $(: $bound)?),*>($($arg: $type),*) {
            $narrow($($arg),*)
        }

        #[inline(always)]
        pub(crate) fn $name<$($g $(: $bound)?),*>($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the processor has the features.
                return unsafe { $wide($($arg),*) };
            }
            $narrow($($arg),*)
        }
    )*};
}

loops! {
    map1 map1_narrow map1_wide<A: Copy, B>(a: &[A], out: &mut [B], f: impl Fn(A) -> B) {
        for (o, &x) in out.iter_mut().zip(a) {
            *o = f(x);
        }
    }
    map2 map2_narrow map2_wide<A: Copy, B>(a: &[A], b: &[A], out: &mut [B], f: impl Fn(A, A) -> B) {
        for ((o, &x), &y) in out.iter_mut().zip(a).zip(b) {
            *o = f(x, y);
        }
    }
    map3 map3_narrow map3_wide<A: Copy, B: Copy>(
        a: &[A], b: &[B], c: &[B], out: &mut [B], f: impl Fn(A, B, B) -> B
    ) {
        for (((o, &x), &y), &z) in out.iter_mut().zip(a).zip(b).zip(c) {
            *o = f(x, y, z);
        }
    }
}

/// Runs loops, which the compiler vectorises, in 256-bit vectors on x86-64 where the processor has them. The same
/// bits come out: Rust never contracts, nor changes the order of additions.
#[inline(always)]
pub(crate) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn wide<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the features.
        return unsafe { wide(f) };
    }
    f()
}

pub(crate) fn compare<T: Lane>(op: Binary, a: &[T], b: &[T], out: &mut [u8]) {
    match op {
        Binary::Eq => map2(a, b, out, |x, y| u8::from(x == y)),
        Binary::Ne => map2(a, b, out, |x, y| u8::from(x != y)),
        Binary::Lt => map2(a, b, out, |x, y| u8::from(x < y)),
        Binary::Le => map2(a, b, out, |x, y| u8::from(x <= y)),
        Binary::Gt => map2(a, b, out, |x, y| u8::from(x > y)),
        _ => map2(a, b, out, |x, y| u8::from(x >= y)),
    }
}

pub(crate) fn select<T: Copy>(cond: &[u8], yes: &[T], no: &[T], out: &mut [T]) {
    map3(cond, yes, no, out, |c, y, n| if c != 0 { y } else { n });
}

/// The smaller value, NaN when either is.
#[inline(always)]
pub(crate) fn minimum<T: PartialOrd + Copy>(x: T, y: T) -> T {
    #[allow(clippy::eq_op)]
    if x < y || x != x { x } else { y }
}

/// The larger value, NaN when either is.
#[inline(always)]
pub(crate) fn maximum<T: PartialOrd + Copy>(x: T, y: T) -> T {
    #[allow(clippy::eq_op)]
    if x > y || x != x { x } else { y }
}

/// The inverse hyperbolic functions. Those of `std` overflow for large values and lose digits near
/// 1 and −1.
trait InverseHyperbolic {
    fn asinh_accurate(self) -> Self;
    fn acosh_accurate(self) -> Self;
    fn atanh_accurate(self) -> Self;
}

/// Above it x² + 1 = x².
const LARGE: f64 = (1u64 << 28) as f64;

impl InverseHyperbolic for f64 {
    fn asinh_accurate(self) -> f64 {
        let a = self.abs();
        let v = if a > LARGE {
            a.ln() + std::f64::consts::LN_2
        } else {
            (a + a * a / (1.0 + (a * a + 1.0).sqrt())).ln_1p()
        };
        v.copysign(self)
    }

    fn acosh_accurate(self) -> f64 {
        // Without this the root of a large square cancels a large negative value.
        if self < 1.0 {
            return f64::NAN;
        }
        if self > LARGE {
            return self.ln() + std::f64::consts::LN_2;
        }
        let t = self - 1.0;
        (t + (t * (t + 2.0)).sqrt()).ln_1p()
    }

    fn atanh_accurate(self) -> f64 {
        let a = self.abs();
        (0.5 * (2.0 * a / (1.0 - a)).ln_1p()).copysign(self)
    }
}

impl InverseHyperbolic for f32 {
    fn asinh_accurate(self) -> f32 {
        f64::from(self).asinh_accurate() as f32
    }

    fn acosh_accurate(self) -> f32 {
        f64::from(self).acosh_accurate() as f32
    }

    fn atanh_accurate(self) -> f32 {
        f64::from(self).atanh_accurate() as f32
    }
}

/// `f64` to `f32`, inexact results to the odd neighbour: a second rounding to a shorter type is
/// then the same as one rounding (Boldo and Melquiond, "Emulation of FMA", 2008). `half` itself
/// drops the low bits before it rounds.
fn to_odd(x: f64) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    if back == x || x.is_nan() || near.to_bits() & 1 == 1 {
        return near;
    }
    let bits = near.to_bits();
    f32::from_bits(if back.abs() < x.abs() { bits + 1 } else { bits - 1 })
}

macro_rules! float_lane {
    ($($t:ident)*) => {$(
        impl Lane for $t {
            fn unary(op: Unary, a: &[$t], out: &mut [$t]) {
                match op {
                    Unary::Neg => map1(a, out, |x| -x),
                    Unary::Abs => map1(a, out, $t::abs),
                    Unary::Signum => map1(a, out, $t::signum),
                    Unary::Recip => map1(a, out, |x| 1.0 / x),
                    Unary::Sqrt => map1(a, out, $t::sqrt),
                    Unary::Cbrt => map1(a, out, $t::cbrt),
                    Unary::Exp => map1(a, out, $t::exp),
                    Unary::Exp2 => map1(a, out, $t::exp2),
                    Unary::ExpM1 => map1(a, out, $t::exp_m1),
                    Unary::Ln => map1(a, out, $t::ln),
                    Unary::Log2 => map1(a, out, $t::log2),
                    Unary::Log10 => map1(a, out, $t::log10),
                    Unary::Ln1p => map1(a, out, $t::ln_1p),
                    Unary::Sin => map1(a, out, $t::sin),
                    Unary::Cos => map1(a, out, $t::cos),
                    Unary::Tan => map1(a, out, $t::tan),
                    Unary::Asin => map1(a, out, $t::asin),
                    Unary::Acos => map1(a, out, $t::acos),
                    Unary::Atan => map1(a, out, $t::atan),
                    Unary::Sinh => map1(a, out, $t::sinh),
                    Unary::Cosh => map1(a, out, $t::cosh),
                    Unary::Tanh => map1(a, out, $t::tanh),
                    Unary::Asinh => map1(a, out, $t::asinh_accurate),
                    Unary::Acosh => map1(a, out, $t::acosh_accurate),
                    Unary::Atanh => map1(a, out, $t::atanh_accurate),
                    Unary::Floor => map1(a, out, $t::floor),
                    Unary::Ceil => map1(a, out, $t::ceil),
                    Unary::Round => map1(a, out, $t::round),
                    Unary::RoundTiesEven => map1(a, out, $t::round_ties_even),
                    Unary::Trunc => map1(a, out, $t::trunc),
                    Unary::Fract => map1(a, out, |x| x - x.trunc()),
                    Unary::ToDegrees => map1(a, out, $t::to_degrees),
                    Unary::ToRadians => map1(a, out, $t::to_radians),
                    _ => unreachable!("checked by Unary::takes"),
                }
            }
            fn test(op: Unary, a: &[$t], out: &mut [u8]) {
                match op {
                    Unary::IsNan => map1(a, out, |x| u8::from(x.is_nan())),
                    Unary::IsInfinite => map1(a, out, |x| u8::from(x.is_infinite())),
                    _ => map1(a, out, |x| u8::from(x.is_finite())),
                }
            }
            fn binary(op: Binary, a: &[$t], b: &[$t], out: &mut [$t]) {
                match op {
                    Binary::Add => map2(a, b, out, |x, y| x + y),
                    Binary::Sub => map2(a, b, out, |x, y| x - y),
                    Binary::Mul => map2(a, b, out, |x, y| x * y),
                    Binary::Div => map2(a, b, out, |x, y| x / y),
                    Binary::Rem => map2(a, b, out, |x, y| x % y),
                    Binary::Min => map2(a, b, out, minimum),
                    Binary::Max => map2(a, b, out, maximum),
                    Binary::Pow => map2(a, b, out, $t::powf),
                    Binary::Atan2 => map2(a, b, out, $t::atan2),
                    Binary::Hypot => map2(a, b, out, $t::hypot),
                    Binary::Copysign => map2(a, b, out, $t::copysign),
                    _ => unreachable!("checked by Binary::takes"),
                }
            }
            fn fused_mul_add(a: &[$t], b: &[$t], c: &[$t], out: &mut [$t]) {
                map3(a, b, c, out, $t::mul_add);
            }
        }
    )*};
}
float_lane!(f32 f64);

macro_rules! int_lane {
    ($($t:ident $abs:expr, $signum:expr, $neg:expr, $not:expr;)*) => {$(
        impl Lane for $t {
            fn unary(op: Unary, a: &[$t], out: &mut [$t]) {
                match op {
                    Unary::Neg => map1(a, out, $neg),
                    Unary::Not => map1(a, out, $not),
                    Unary::Abs => map1(a, out, $abs),
                    Unary::Signum => map1(a, out, $signum),
                    Unary::CountOnes => map1(a, out, |x| x.count_ones() as $t),
                    Unary::LeadingZeros => map1(a, out, |x| x.leading_zeros() as $t),
                    Unary::TrailingZeros => map1(a, out, |x| x.trailing_zeros() as $t),
                    _ => unreachable!("checked by Unary::takes"),
                }
            }
            fn test(_: Unary, _: &[$t], _: &mut [u8]) {
                unreachable!("checked by Unary::takes")
            }
            fn binary(op: Binary, a: &[$t], b: &[$t], out: &mut [$t]) {
                match op {
                    Binary::Add => map2(a, b, out, $t::wrapping_add),
                    Binary::Sub => map2(a, b, out, $t::wrapping_sub),
                    Binary::Mul => map2(a, b, out, $t::wrapping_mul),
                    Binary::Div => map2(a, b, out, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
                    Binary::Rem => map2(a, b, out, |x, y| if y == 0 { 0 } else { x.wrapping_rem(y) }),
                    Binary::And => map2(a, b, out, |x, y| x & y),
                    Binary::Or => map2(a, b, out, |x, y| x | y),
                    Binary::Xor => map2(a, b, out, |x, y| x ^ y),
                    Binary::Shl => map2(a, b, out, |x, y| x.wrapping_shl(y as u32)),
                    Binary::Shr => map2(a, b, out, |x, y| x.wrapping_shr(y as u32)),
                    Binary::Min => map2(a, b, out, |x, y| x.min(y)),
                    Binary::Max => map2(a, b, out, |x, y| x.max(y)),
                    _ => unreachable!("checked by Binary::takes"),
                }
            }
            fn fused_mul_add(_: &[$t], _: &[$t], _: &[$t], _: &mut [$t]) {
                unreachable!("only floats have mul_add")
            }
        }
    )*};
}
int_lane! {
    i8 i8::wrapping_abs, i8::signum, i8::wrapping_neg, |x: i8| !x;
    i16 i16::wrapping_abs, i16::signum, i16::wrapping_neg, |x: i16| !x;
    i32 i32::wrapping_abs, i32::signum, i32::wrapping_neg, |x: i32| !x;
    i64 i64::wrapping_abs, i64::signum, i64::wrapping_neg, |x: i64| !x;
    u8 |x| x, |x: u8| u8::from(x > 0), u8::wrapping_neg, |x: u8| !x;
    u16 |x| x, |x: u16| u16::from(x > 0), u16::wrapping_neg, |x: u16| !x;
    u32 |x| x, |x: u32| u32::from(x > 0), u32::wrapping_neg, |x: u32| !x;
    u64 |x| x, |x: u64| u64::from(x > 0), u64::wrapping_neg, |x: u64| !x;
}

/// Logical not of 0 and 1.
pub(crate) fn not_bool(a: &[u8], out: &mut [u8]) {
    map1(a, out, |x| x ^ 1);
}

/// Converts `n` values as `Expr::cast` documents.
///
/// # Safety
/// `a` points to `n` values of `from.compute()` and `out` to room for `n` of `to.compute()`;
/// they do not overlap.
#[allow(clippy::unnecessary_cast, reason = "necessary for most pairs of types")]
pub(crate) unsafe fn cast(from: DType, to: DType, a: *const u8, out: *mut u8, n: usize) {
    with_compute!(from, F => {
        // SAFETY: the caller's promise.
        let a = unsafe { std::slice::from_raw_parts(a.cast::<F>(), n) };
        match to {
            DType::Bool => {
                // SAFETY: the caller's promise.
                let out = unsafe { std::slice::from_raw_parts_mut(out, n) };
                map1(a, out, |x: F| u8::from(x != F::default()));
            }
            #[allow(clippy::unnecessary_cast, reason = "of one of the types that F stands for")]
            DType::F16 | DType::BF16 => {
                // SAFETY: the caller's promise.
                let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<f32>(), n) };
                if from == DType::F64 {
                    if to == DType::F16 {
                        map1(a, out, |x: F| f16::from_f32(to_odd(x as f64)).to_f32());
                    } else {
                        map1(a, out, |x: F| bf16::from_f32(to_odd(x as f64)).to_f32());
                    }
                } else if to == DType::F16 {
                    map1(a, out, |x: F| f16::from_f32(x as f32).to_f32());
                } else {
                    map1(a, out, |x: F| bf16::from_f32(x as f32).to_f32());
                }
            }
            _ => with_compute!(to, T => {
                // SAFETY: the caller's promise.
                let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<T>(), n) };
                map1(a, out, |x: F| x as T);
            }),
        }
    });
}
