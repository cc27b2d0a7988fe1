//! OpenCL C for each operation of an expression, with the results that Rust's have.

use super::compute;
use crate::element::DType;
use crate::expr::node::{Binary, Unary};

/// The unsigned type in which integers of `dtype` wrap.
fn unsigned(dtype: DType) -> &'static str {
    if dtype.size() == 8 { "ulong" } else { "uint" }
}

fn one(dtype: DType) -> &'static str {
    if dtype == DType::F64 { "1.0" } else { "1.0f" }
}

pub(super) fn unary(op: Unary, dtype: DType, a: &str) -> String {
    use Unary::*;
    let c = compute(dtype);
    let float = dtype.is_float();
    let call = |name: &str| format!("{name}({a})");
    match op {
        Neg if float => format!("-{a}"),
        Neg => format!("({c})(0 - ({}){a})", unsigned(dtype)),
        Not if dtype == DType::Bool => format!("(uchar)({a} ^ 1)"),
        Not => format!("({c})(~{a})"),
        Abs if float => call("fabs"),
        Abs if dtype.is_signed() => {
            format!("({c})({a} < 0 ? 0 - ({u}){a} : ({u}){a})", u = unsigned(dtype))
        }
        Abs => a.to_string(),
        Signum if float => format!("(isnan({a}) ? {a} : copysign({}, {a}))", one(dtype)),
        Signum => format!("({c})(({a} > 0) - ({a} < 0))"),
        Recip => format!("({} / {a})", one(dtype)),
        Sqrt => call("sqrt"),
        Cbrt => call("cbrt"),
        Exp => call("exp"),
        Exp2 => call("exp2"),
        ExpM1 => call("expm1"),
        Ln => call("log"),
        Log2 => call("log2"),
        Log10 => call("log10"),
        Ln1p => call("log1p"),
        Sin => call("sin"),
        Cos => call("cos"),
        Tan => call("tan"),
        Asin => call("asin"),
        Acos => call("acos"),
        Atan => call("atan"),
        Sinh => call("sinh"),
        Cosh => call("cosh"),
        Tanh => call("tanh"),
        Asinh => call("asinh"),
        Acosh => call("acosh"),
        Atanh => call("atanh"),
        Floor => call("floor"),
        Ceil => call("ceil"),
        Round => call("round"),
        RoundTiesEven => call("rint"),
        Trunc => call("trunc"),
        Fract => format!("({a} - trunc({a}))"),
        ToDegrees => call("degrees"),
        ToRadians => call("radians"),
        IsNan => format!("(uchar)(isnan({a}) ? 1 : 0)"),
        IsInfinite => format!("(uchar)(isinf({a}) ? 1 : 0)"),
        IsFinite => format!("(uchar)(isfinite({a}) ? 1 : 0)"),
        CountOnes => call("popcount"),
        LeadingZeros => call("clz"),
        // The zeros below the lowest one are the ones of (x & -x) - 1; all of them for zero.
        TrailingZeros => format!("popcount(({c})(({a} & (0 - {a})) - 1))"),
    }
}

pub(crate) fn binary(op: Binary, dtype: DType, a: &str, b: &str) -> String {
    use Binary::*;
    let c = compute(dtype);
    let float = dtype.is_float();
    let infix = |sign: &str| match float {
        true => format!("({a} {sign} {b})"),
        false => format!("({c})(({u}){a} {sign} ({u}){b})", u = unsigned(dtype)),
    };
    let bits = dtype.size() * 8 - 1;
    match op {
        Add => infix("+"),
        Sub => infix("-"),
        Mul => infix("*"),
        Div if float => format!("({a} / {b})"),
        Div => format!("clan_div_{c}({a}, {b})"),
        Rem if float => format!("fmod({a}, {b})"),
        Rem => format!("clan_rem_{c}({a}, {b})"),
        And => format!("({c})({a} & {b})"),
        Or => format!("({c})({a} | {b})"),
        Xor => format!("({c})({a} ^ {b})"),
        Shl => format!("({c})(({}){a} << ({b} & {bits}))", unsigned(dtype)),
        Shr => format!("({c})({a} >> ({b} & {bits}))"),
        Min if float => format!("(({a} < {b} || isnan({a})) ? {a} : {b})"),
        Max if float => format!("(({a} > {b} || isnan({a})) ? {a} : {b})"),
        Min => format!("min({a}, {b})"),
        Max => format!("max({a}, {b})"),
        Pow => format!("pow({a}, {b})"),
        Atan2 => format!("atan2({a}, {b})"),
        Hypot => format!("hypot({a}, {b})"),
        Copysign => format!("copysign({a}, {b})"),
        Eq => format!("(uchar)({a} == {b})"),
        Ne => format!("(uchar)({a} != {b})"),
        Lt => format!("(uchar)({a} < {b})"),
        Le => format!("(uchar)({a} <= {b})"),
        Gt => format!("(uchar)({a} > {b})"),
        Ge => format!("(uchar)({a} >= {b})"),
    }
}

pub(super) fn cast(from: DType, to: DType, a: &str, c: &str) -> String {
    match to {
        DType::Bool => format!("(uchar)({a} != 0)"),
        DType::F16 if from == DType::F64 => format!("clan_round_f16(clan_to_odd({a}))"),
        DType::BF16 if from == DType::F64 => format!("clan_round_bf16(clan_to_odd({a}))"),
        DType::F16 => format!("clan_round_f16((float){a})"),
        DType::BF16 => format!("clan_round_bf16((float){a})"),
        _ if from.is_float() && !to.is_float() => format!("clan_sat_{c}_{}({a})", compute(from)),
        _ => format!("({c}){a}"),
    }
}
