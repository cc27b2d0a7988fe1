//! The operators and methods of expressions and arrays.

use super::{Expr, IntoExpr};
use crate::array::DeviceArray;
use crate::element::{Element, Float, Integer, Number, Scalar};
use crate::expr::node::{Binary, Ternary, Unary};
use std::ops;

/// Writes the same inherent methods for `Expr` and `DeviceArray`; both start from `self.lift()`.
macro_rules! methods {
    ($($(#[$meta:meta])* [$bound:ident] fn $name:ident(&self $(, $arg:ident: $ty:ty)*) -> $out:ty = $body:expr;)*) => {
        methods!(@on Expr: $($(#[$meta])* [$bound] fn $name(&self $(, $arg: $ty)*) -> $out = $body;)*);
        methods!(@on DeviceArray: $($(#[$meta])* [$bound] fn $name(&self $(, $arg: $ty)*) -> $out = $body;)*);
    };
    (@on $target:ident: $($(#[$meta:meta])* [$bound:ident] fn $name:ident(&self $(, $arg:ident: $ty:ty)*) -> $out:ty = $body:expr;)*) => {$(
        impl<T: $bound> $target<T> {
            $(#[$meta])*
            #[track_caller]
            pub fn $name(&self $(, $arg: $ty)*) -> $out {
                let this: Expr<T> = self.into_expr();
                #[allow(clippy::redundant_closure_call)]
                ($body)(this $(, $arg)*).built_here()
            }
        }
    )*};
}

macro_rules! unary_methods {
    ($($(#[$meta:meta])* [$bound:ident] $name:ident: $op:ident -> $out:ty;)*) => {
        methods! {$(
            $(#[$meta])* [$bound] fn $name(&self) -> Expr<$out> = |x: Expr<T>| x.map1(Unary::$op);
        )*}
    };
}

unary_methods! {
    /// Absolute value; that of an integer type's least value wraps to itself.
    [Number] abs: Abs -> T;
    /// −1, 0 or 1 for integers. For floats 1 with the sign of the value (also of a zero), or NaN.
    [Number] signum: Signum -> T;
    /// `1 / x`.
    [Float] recip: Recip -> T;
    /// Square root; NaN for negative values.
    [Float] sqrt: Sqrt -> T;
    /// Cube root.
    [Float] cbrt: Cbrt -> T;
    /// eˣ.
    [Float] exp: Exp -> T;
    /// 2ˣ.
    [Float] exp2: Exp2 -> T;
    /// eˣ − 1, accurate near zero.
    [Float] exp_m1: ExpM1 -> T;
    /// Natural logarithm.
    [Float] ln: Ln -> T;
    /// Logarithm to base 2.
    [Float] log2: Log2 -> T;
    /// Logarithm to base 10.
    [Float] log10: Log10 -> T;
    /// ln(1 + x), accurate near zero.
    [Float] ln_1p: Ln1p -> T;
    /// Sine of an angle in radians.
    [Float] sin: Sin -> T;
    /// Cosine of an angle in radians.
    [Float] cos: Cos -> T;
    /// Tangent of an angle in radians.
    [Float] tan: Tan -> T;
    /// Arc sine in radians.
    [Float] asin: Asin -> T;
    /// Arc cosine in radians.
    [Float] acos: Acos -> T;
    /// Arc tangent in radians.
    [Float] atan: Atan -> T;
    /// Hyperbolic sine.
    [Float] sinh: Sinh -> T;
    /// Hyperbolic cosine.
    [Float] cosh: Cosh -> T;
    /// Hyperbolic tangent.
    [Float] tanh: Tanh -> T;
    /// Inverse hyperbolic sine.
    [Float] asinh: Asinh -> T;
    /// Inverse hyperbolic cosine.
    [Float] acosh: Acosh -> T;
    /// Inverse hyperbolic tangent.
    [Float] atanh: Atanh -> T;
    /// The largest integer not above the value.
    [Float] floor: Floor -> T;
    /// The smallest integer not below the value.
    [Float] ceil: Ceil -> T;
    /// The nearest integer, halves away from zero.
    [Float] round: Round -> T;
    /// The nearest integer, halves to the even one.
    [Float] round_ties_even: RoundTiesEven -> T;
    /// The integer part.
    [Float] trunc: Trunc -> T;
    /// `x - x.trunc()`.
    [Float] fract: Fract -> T;
    /// Radians to degrees.
    [Float] to_degrees: ToDegrees -> T;
    /// Degrees to radians.
    [Float] to_radians: ToRadians -> T;
    /// Whether the value is NaN.
    [Float] is_nan: IsNan -> bool;
    /// Whether the value is infinite.
    [Float] is_infinite: IsInfinite -> bool;
    /// Whether the value is neither infinite nor NaN.
    [Float] is_finite: IsFinite -> bool;
    /// The number of ones in the binary form.
    [Integer] count_ones: CountOnes -> T;
    /// The number of zeros before the first one in the binary form.
    [Integer] leading_zeros: LeadingZeros -> T;
    /// The number of zeros after the last one in the binary form.
    [Integer] trailing_zeros: TrailingZeros -> T;
}

macro_rules! binary_methods {
    ($($(#[$meta:meta])* [$bound:ident] $name:ident: $op:ident -> $out:ty;)*) => {
        methods! {$(
            $(#[$meta])* [$bound] fn $name(&self, other: impl IntoExpr<T>) -> Expr<$out> =
                |x: Expr<T>, other: _| x.map2(Binary::$op, IntoExpr::<T>::into_expr(other));
        )*}
    };
}

binary_methods! {
    /// The smaller of two values; NaN when either is.
    [Number] minimum: Min -> T;
    /// The larger of two values; NaN when either is.
    [Number] maximum: Max -> T;
    /// `self` raised to a floating-point power.
    [Float] powf: Pow -> T;
    /// The angle of the point (other, self) in radians, in (−π, π].
    [Float] atan2: Atan2 -> T;
    /// √(self² + other²) without overflow between.
    [Float] hypot: Hypot -> T;
    /// The magnitude of `self` with the sign of `other`.
    [Float] copysign: Copysign -> T;
    /// Whether the values are equal. NaN equals nothing.
    [Element] eq: Eq -> bool;
    /// Whether the values differ.
    [Element] ne: Ne -> bool;
    /// Whether `self` is less.
    [Element] lt: Lt -> bool;
    /// Whether `self` is less or equal.
    [Element] le: Le -> bool;
    /// Whether `self` is greater.
    [Element] gt: Gt -> bool;
    /// Whether `self` is greater or equal.
    [Element] ge: Ge -> bool;
}

methods! {
    /// The value held between `low` and `high`: `self.maximum(low).minimum(high)`. NaN stays NaN.
    [Number] fn clamp(&self, low: impl IntoExpr<T>, high: impl IntoExpr<T>) -> Expr<T> =
        |x: Expr<T>, low: _, high: _| x
            .map2::<T>(Binary::Max, IntoExpr::<T>::into_expr(low))
            .map2(Binary::Min, IntoExpr::<T>::into_expr(high));
    /// `self * factor + addend`, rounded once.
    [Float] fn mul_add(&self, factor: impl IntoExpr<T>, addend: impl IntoExpr<T>) -> Expr<T> =
        |x: Expr<T>, f: _, a: _| Expr::map3(
            Ternary::MulAdd, x, IntoExpr::<T>::into_expr(f), IntoExpr::<T>::into_expr(a));
    /// `self * self`.
    [Number] fn square(&self) -> Expr<T> = |x: Expr<T>| x.clone().map2(Binary::Mul, x);
    /// `self` raised to an integer power: products for small powers, else as `powf`.
    [Float] fn powi(&self, n: i32) -> Expr<T> = powi;
    /// Logarithm to any base: `ln(self) / ln(base)`.
    [Float] fn log(&self, base: impl IntoExpr<T>) -> Expr<T> =
        |x: Expr<T>, base: _| x.map1::<T>(Unary::Ln)
            .map2(Binary::Div, IntoExpr::<T>::into_expr(base).map1(Unary::Ln));
}

#[track_caller]
fn powi<T: Float>(x: Expr<T>, n: i32) -> Expr<T> {
    let constant = |v: f64| {
        Expr::<T>::constant(match T::DTYPE {
            crate::DType::F64 => Scalar::F64(v),
            _ => Scalar::F32(v as f32),
        })
    };
    // 0 goes to `powf` too: x⁰ is 1 for every x, NaN included, and keeps the shape of x.
    if n == 0 || n.unsigned_abs() > 16 {
        return x.map2(Binary::Pow, constant(f64::from(n)));
    }
    let mut left = n.unsigned_abs();
    let mut power = x;
    let mut product: Option<Expr<T>> = None;
    loop {
        if left & 1 == 1 {
            product = Some(match product {
                Some(p) => p.map2(Binary::Mul, power.clone()),
                None => power.clone(),
            });
        }
        left >>= 1;
        match product {
            Some(p) if left == 0 => return if n < 0 { p.map1(Unary::Recip) } else { p },
            _ => power = power.clone().map2(Binary::Mul, power),
        }
    }
}

/// `cond.if_else(a, b)` for both kinds of conditions; the type of the choice is free.
macro_rules! if_else {
    ($($target:ident)*) => {$(
        impl $target<bool> {
            /// Takes the element of `yes` where the condition holds and that of `no` elsewhere.
            #[track_caller]
            pub fn if_else<T: Element>(&self, yes: impl IntoExpr<T>, no: impl IntoExpr<T>) -> Expr<T> {
                Expr::map3(Ternary::Select, self.into_expr(), yes.into_expr(), no.into_expr())
                    .built_here()
            }
        }
    )*};
}
if_else!(Expr DeviceArray);

impl<T: Element> DeviceArray<T> {
    /// Converts every element; see [`Expr::cast`].
    pub fn cast<U: Element>(&self) -> Expr<U> {
        self.expr().cast()
    }
}

macro_rules! binary_operators {
    ($($trait:ident $method:ident $assign:ident $assign_method:ident $op:ident $bound:ident;)*) => {$(
        binary_operators!(@one $trait $method $op $bound; DeviceArray<T>, &DeviceArray<T>, Expr<T>, &Expr<T>);
        impl<T: $bound, R: IntoExpr<T>> ops::$assign<R> for Expr<T> {
            #[track_caller]
            fn $assign_method(&mut self, rhs: R) {
                *self = (&*self).into_expr().map2(Binary::$op, rhs.into_expr()).built_here();
            }
        }
        /// A failure (shapes that do not fit, out of memory) leaves the array as it was and is
        /// returned by the next call that reads it, until [`DeviceArray::take_error`] clears it.
        impl<T: $bound, R: IntoExpr<T>> ops::$assign<R> for DeviceArray<T> {
            #[track_caller]
            fn $assign_method(&mut self, rhs: R) {
                let value = self.expr().map2(Binary::$op, rhs.into_expr()).built_here();
                self.assign_or_keep(value);
            }
        }
    )*};
    (@one $trait:ident $method:ident $op:ident $bound:ident; $($lhs:ty),*) => {$(
        impl<T: $bound, R: IntoExpr<T>> ops::$trait<R> for $lhs {
            type Output = Expr<T>;
            #[track_caller]
            fn $method(self, rhs: R) -> Expr<T> {
                self.into_expr().map2(Binary::$op, rhs.into_expr()).built_here()
            }
        }
    )*};
}
binary_operators! {
    Add add AddAssign add_assign Add Number;
    Sub sub SubAssign sub_assign Sub Number;
    Mul mul MulAssign mul_assign Mul Number;
    Div div DivAssign div_assign Div Number;
    Rem rem RemAssign rem_assign Rem Number;
    BitAnd bitand BitAndAssign bitand_assign And Logic;
    BitOr bitor BitOrAssign bitor_assign Or Logic;
    BitXor bitxor BitXorAssign bitxor_assign Xor Logic;
    Shl shl ShlAssign shl_assign Shl Integer;
    Shr shr ShrAssign shr_assign Shr Integer;
}

/// The types with `&`, `|`, `^` and `!`: the integers and `bool`.
pub trait Logic: Element {}

/// The types with unary minus: signed integers and floats.
pub trait Signed: Number {}

macro_rules! unary_operators {
    ($($trait:ident $method:ident $op:ident $bound:ident: $($lhs:ty),*;)*) => {$($(
        impl<T: $bound> ops::$trait for $lhs {
            type Output = Expr<T>;
            fn $method(self) -> Expr<T> {
                self.into_expr().map1(Unary::$op)
            }
        }
    )*)*};
}
unary_operators! {
    Neg neg Neg Signed: DeviceArray<T>, &DeviceArray<T>, Expr<T>, &Expr<T>;
    Not not Not Logic: DeviceArray<T>, &DeviceArray<T>, Expr<T>, &Expr<T>;
}

macro_rules! markers {
    ($marker:ident: $($t:ty)*) => {$(impl $marker for $t {})*};
}
markers!(Logic: bool i8 i16 i32 i64 u8 u16 u32 u64);
markers!(Signed: i8 i16 i32 i64 half::f16 half::bf16 f32 f64);

/// Scalars on the left: `2.0 * &x`.
macro_rules! scalar_left {
    ($($t:ty: $($trait:ident $method:ident $op:ident)*;)*) => {$($(
        scalar_left!(@one $t, $trait $method $op; DeviceArray<$t>, &DeviceArray<$t>, Expr<$t>, &Expr<$t>);
    )*)*};
    (@one $t:ty, $trait:ident $method:ident $op:ident; $($rhs:ty),*) => {$(
        impl ops::$trait<$rhs> for $t {
            type Output = Expr<$t>;
            #[track_caller]
            fn $method(self, rhs: $rhs) -> Expr<$t> {
                IntoExpr::<$t>::into_expr(self).map2(Binary::$op, rhs.into_expr()).built_here()
            }
        }
    )*};
}
macro_rules! scalar_left_for {
    (floats: $($f:ty)*; integers: $($i:ty)*) => {
        scalar_left! {$(
            $f: Add add Add Sub sub Sub Mul mul Mul Div div Div Rem rem Rem;
        )*}
        scalar_left! {$(
            $i: Add add Add Sub sub Sub Mul mul Mul Div div Div Rem rem Rem
                BitAnd bitand And BitOr bitor Or BitXor bitxor Xor Shl shl Shl Shr shr Shr;
        )*}
    };
}
scalar_left_for! {
    floats: half::f16 half::bf16 f32 f64;
    integers: i8 i16 i32 i64 u8 u16 u32 u64
}
scalar_left! { bool: BitAnd bitand And BitOr bitor Or BitXor bitxor Xor; }
