//! `std::ops` for sharded arrays and expressions.

use super::expr::{IntoSharded, Operand, ShardedExpr, zip};
use super::{Reduced, Replicated, ShardedArray};
use crate::element::{Element, Integer, Number};
use crate::expr::node::{Binary, Unary};
use crate::expr::{Expr, Logic, Signed};
use std::ops;
use std::panic::Location;

#[track_caller]
fn binary<T: Element>(
    op: Binary,
    a: impl IntoSharded<T>,
    b: impl IntoSharded<T>,
) -> ShardedExpr<T> {
    let here = Location::caller();
    let apply = |a: Expr<T>, b: Expr<T>| a.map2(op, b);
    zip(op.name(), a.into_operand(), b.into_operand(), apply).at(here)
}

macro_rules! binary_operators {
    ($($trait:ident $method:ident $op:ident $bound:ident;)*) => {$(
        binary_operators!(@any $trait $method $op $bound;
            ShardedArray<T>, &ShardedArray<T>, ShardedExpr<T>, &ShardedExpr<T>);
        binary_operators!(@replicated $trait $method $op $bound;
            ShardedArray<T>, &ShardedArray<T>, ShardedExpr<T>, &ShardedExpr<T>);
    )*};
    (@any $trait:ident $method:ident $op:ident $bound:ident; $($lhs:ty),*) => {$(
        impl<T: $bound, R: IntoSharded<T>> ops::$trait<R> for $lhs {
            type Output = ShardedExpr<T>;
            #[track_caller]
            fn $method(self, rhs: R) -> ShardedExpr<T> {
                binary(Binary::$op, self, rhs)
            }
        }
    )*};
    // On the left of an operator, what is replicated needs a sharded array on the right.
    (@replicated $trait:ident $method:ident $op:ident $bound:ident; $($rhs:ty),*) => {$(
        impl<T: $bound> ops::$trait<$rhs> for &Replicated<T> {
            type Output = ShardedExpr<T>;
            #[track_caller]
            fn $method(self, rhs: $rhs) -> ShardedExpr<T> {
                binary(Binary::$op, self, rhs)
            }
        }
        impl<T: $bound> ops::$trait<$rhs> for &Reduced<T> {
            type Output = ShardedExpr<T>;
            #[track_caller]
            fn $method(self, rhs: $rhs) -> ShardedExpr<T> {
                binary(Binary::$op, self, rhs)
            }
        }
    )*};
}
binary_operators! {
    Add add Add Number;
    Sub sub Sub Number;
    Mul mul Mul Number;
    Div div Div Number;
    Rem rem Rem Number;
    BitAnd bitand And Logic;
    BitOr bitor Or Logic;
    BitXor bitxor Xor Logic;
    Shl shl Shl Integer;
    Shr shr Shr Integer;
}

macro_rules! unary_operators {
    ($($trait:ident $method:ident $op:ident $bound:ident: $($lhs:ty),*;)*) => {$($(
        impl<T: $bound> ops::$trait for $lhs {
            type Output = ShardedExpr<T>;
            fn $method(self) -> ShardedExpr<T> {
                self.map(|x| x.map1(Unary::$op))
            }
        }
    )*)*};
}
unary_operators! {
    Neg neg Neg Signed: ShardedArray<T>, &ShardedArray<T>, ShardedExpr<T>, &ShardedExpr<T>;
    Not not Not Logic: ShardedArray<T>, &ShardedArray<T>, ShardedExpr<T>, &ShardedExpr<T>;
}

/// Scalars on the left: `2.0 * &x`.
macro_rules! scalar_left {
    ($($t:ty: $($trait:ident $method:ident $op:ident)*;)*) => {$($(
        scalar_left!(@one $t, $trait $method $op;
            ShardedArray<$t>, &ShardedArray<$t>, ShardedExpr<$t>, &ShardedExpr<$t>);
    )*)*};
    (@one $t:ty, $trait:ident $method:ident $op:ident; $($rhs:ty),*) => {$(
        impl ops::$trait<$rhs> for $t {
            type Output = ShardedExpr<$t>;
            #[track_caller]
            fn $method(self, rhs: $rhs) -> ShardedExpr<$t> {
                binary(Binary::$op, Operand::Scalar(self), rhs)
            }
        }
    )*};
}
macro_rules! scalar_left_for {
    ($($t:ty)*) => {
        scalar_left! {$(
            $t: Add add Add Sub sub Sub Mul mul Mul Div div Div Rem rem Rem;
        )*}
    };
}
scalar_left_for! { half::f16 half::bf16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 }
