//! The cases of `map`: operations on elements, comparisons, choices and casts.

use super::oracle::{Rng, Sample, Wide, close, fused};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Float, Integer};
use crate::error::Result;
use crate::expr::{Expr, IntoExpr, Logic, Signed};
use half::{bf16, f16};

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [f16, bf16, f32, f64] => {
        groups.push(map_group(float_ops::<T>()));
        groups.push(map_group(float_tests::<T>()));
    });
    each_type!(T in [i8, i16, i32, i64] => {
        groups.push(map_group([integer_ops::<T>(), signed_ops::<T>()].into_iter().flatten().collect()));
        groups.push(map_group(comparisons::<T>()));
    });
    each_type!(T in [u8, u16, u32, u64] => {
        groups.push(map_group(integer_ops::<T>()));
        groups.push(map_group(comparisons::<T>()));
    });
    groups.push(map_group(bool_ops()));
    each_type!(U in [bool, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => {
        groups.push(cast_group::<U>());
    });
    groups
}

/// How far a result may lie from the exact one.
#[derive(Clone, Copy)]
enum Bound {
    /// Not at all: the exact value, rounded.
    Exact,
    /// Units in the last place of the type that is computed in.
    Ulps(f64),
    /// That, or not at all where `f32` division and square root are exact; always exact in `f64`.
    Division(f64),
    /// As `Ulps`, and only results of ordinary size count.
    Ordinary(f64),
    /// As `Exact`, and the sign of a zero does not count.
    AnyZero,
}

/// Makes an expression from three operands.
type Build<T, U> = fn(&Expr<T>, &Expr<T>, &Expr<T>) -> Expr<U>;

/// An operation on up to three operands and what it should give; the last argument says that it is
/// computed in `f32`.
struct MapOp<T, U> {
    name: &'static str,
    build: Build<T, U>,
    want: fn([Wide; 3], bool) -> Wide,
    bound: Bound,
}

macro_rules! float_table {
    ($($name:literal $bound:expr, |$x:ident, $y:ident, $z:ident| $build:expr, |$narrow:pat_param| $want:expr;)*) => {
        vec![$(MapOp {
            name: $name,
            build: |$x, $y, $z| { let _ = ($y, $z); $build },
            want: |operands, $narrow| {
                let [$x, $y, $z] = operands.map(Wide::float);
                let _ = ($x, $y, $z);
                Wide::Float($want)
            },
            bound: $bound,
        }),*]
    };
}

/// asinh without the cancellation of the textbook's formula.
fn asinh(x: f64) -> f64 {
    let a = x.abs();
    let v = match a {
        _ if a > 1e150 => a.ln() + std::f64::consts::LN_2,
        _ => (a + a * a / (1.0 + (a * a + 1.0).sqrt())).ln_1p(),
    };
    v.copysign(x)
}

fn acosh(x: f64) -> f64 {
    if x < 1.0 {
        return f64::NAN;
    }
    let t = x - 1.0;
    if x > 1e150 {
        return x.ln() + std::f64::consts::LN_2;
    }
    (t + (t * (t + 2.0)).sqrt()).ln_1p()
}

fn atanh(x: f64) -> f64 {
    let a = x.abs();
    (0.5 * (2.0 * a / (1.0 - a)).ln_1p()).copysign(x)
}

fn minimum(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) }
}

fn maximum(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }
}

/// Bounds: OpenCL 1.2 specification, section 7.4; `to_degrees` and `to_radians`, which that table
/// lacks, as in the one of OpenCL 3.0. Products of several roundings count each.
fn float_ops<T: Float + Sample + Signed>() -> Vec<MapOp<T, T>> {
    use Bound::*;
    float_table! {
        "add" Exact, |x, y, z| x + y, |_| x + y;
        "sub" Exact, |x, y, z| x - y, |_| x - y;
        "mul" Exact, |x, y, z| x * y, |_| x * y;
        "div" Division(2.5), |x, y, z| x / y, |_| x / y;
        "rem" Exact, |x, y, z| x % y, |_| x % y;
        "neg" Exact, |x, y, z| -x, |_| -x;
        "abs" Exact, |x, y, z| x.abs(), |_| x.abs();
        "signum" Exact, |x, y, z| x.signum(), |_| if x.is_nan() { x } else { 1f64.copysign(x) };
        "recip" Division(2.5), |x, y, z| x.recip(), |_| 1.0 / x;
        "sqrt" Division(3.0), |x, y, z| x.sqrt(), |_| x.sqrt();
        "cbrt" Ulps(2.0), |x, y, z| x.cbrt(), |_| x.cbrt();
        "exp" Ulps(3.0), |x, y, z| x.exp(), |_| x.exp();
        "exp2" Ulps(3.0), |x, y, z| x.exp2(), |_| x.exp2();
        "exp_m1" Ulps(3.0), |x, y, z| x.exp_m1(), |_| x.exp_m1();
        "ln" Ulps(3.0), |x, y, z| x.ln(), |_| x.ln();
        "log2" Ulps(3.0), |x, y, z| x.log2(), |_| x.log2();
        "log10" Ulps(3.0), |x, y, z| x.log10(), |_| x.log10();
        "ln_1p" Ulps(2.0), |x, y, z| x.ln_1p(), |_| x.ln_1p();
        "sin" Ulps(4.0), |x, y, z| x.sin(), |_| x.sin();
        "cos" Ulps(4.0), |x, y, z| x.cos(), |_| x.cos();
        "tan" Ulps(5.0), |x, y, z| x.tan(), |_| x.tan();
        "asin" Ulps(4.0), |x, y, z| x.asin(), |_| x.asin();
        "acos" Ulps(4.0), |x, y, z| x.acos(), |_| x.acos();
        "atan" Ulps(5.0), |x, y, z| x.atan(), |_| x.atan();
        "sinh" Ulps(4.0), |x, y, z| x.sinh(), |_| x.sinh();
        "cosh" Ulps(4.0), |x, y, z| x.cosh(), |_| x.cosh();
        "tanh" Ulps(5.0), |x, y, z| x.tanh(), |_| x.tanh();
        "asinh" Ulps(4.0), |x, y, z| x.asinh(), |_| asinh(x);
        "acosh" Ulps(4.0), |x, y, z| x.acosh(), |_| acosh(x);
        "atanh" Ulps(5.0), |x, y, z| x.atanh(), |_| atanh(x);
        "floor" Exact, |x, y, z| x.floor(), |_| x.floor();
        "ceil" Exact, |x, y, z| x.ceil(), |_| x.ceil();
        "round" Exact, |x, y, z| x.round(), |_| x.round();
        "round_ties_even" Exact, |x, y, z| x.round_ties_even(), |_| x.round_ties_even();
        "trunc" Exact, |x, y, z| x.trunc(), |_| x.trunc();
        "fract" Exact, |x, y, z| x.fract(), |_| x - x.trunc();
        "to_degrees" Ulps(2.0), |x, y, z| x.to_degrees(), |_| x * (180.0 / std::f64::consts::PI);
        "to_radians" Ulps(2.0), |x, y, z| x.to_radians(), |_| x * (std::f64::consts::PI / 180.0);
        "minimum" AnyZero, |x, y, z| x.minimum(y), |_| minimum(x, y);
        "maximum" AnyZero, |x, y, z| x.maximum(y), |_| maximum(x, y);
        "clamp" AnyZero, |x, y, z| x.clamp(y, z), |_| minimum(maximum(x, y), z);
        "powf" Ulps(16.0), |x, y, z| x.powf(y), |_| x.powf(y);
        "powi" Ordinary(5.0), |x, y, z| x.powi(5), |_| x * x * x * x * x;
        "powi_negative" Ordinary(8.0), |x, y, z| x.powi(-3), |_| 1.0 / (x * x * x);
        "powi_large" Ulps(16.0), |x, y, z| x.powi(17), |_| x.powf(17.0);
        "powi_zero" Exact, |x, y, z| x.powi(0), |_| 1.0;
        "square" Exact, |x, y, z| x.square(), |_| x * x;
        "log" Ordinary(17.0), |x, y, z| x.log(y), |_| x.ln() / y.ln();
        "atan2" Ulps(6.0), |x, y, z| x.atan2(y), |_| x.atan2(y);
        "hypot" Ulps(4.0), |x, y, z| x.hypot(y), |_| x.hypot(y);
        "copysign" Exact, |x, y, z| x.copysign(y), |_| x.copysign(y);
        "mul_add" Exact, |x, y, z| x.mul_add(y, z), |narrow| if narrow { fused(x, y, z) } else { x.mul_add(y, z) };
        "if_else" Exact, |x, y, z| x.lt(y).if_else(y, z), |_| if x < y { y } else { z };
    }
}

macro_rules! test_table {
    ($($name:literal |$x:ident, $y:ident| $build:expr, $want:expr;)*) => {
        vec![$(MapOp {
            name: $name,
            build: |$x, $y, _| { let _ = $y; $build },
            want: |[$x, $y, _], _| { let _ = $y; Wide::Int(i128::from($want)) },
            bound: Bound::Exact,
        }),*]
    };
}

fn comparisons<T: Sample>() -> Vec<MapOp<T, bool>> {
    fn ordering(x: Wide, y: Wide) -> Option<std::cmp::Ordering> {
        match (x, y) {
            (Wide::Int(a), Wide::Int(b)) => Some(a.cmp(&b)),
            _ => x.float().partial_cmp(&y.float()),
        }
    }
    test_table! {
        "eq" |x, y| x.eq(y), ordering(x, y).is_some_and(|o| o.is_eq());
        "ne" |x, y| x.ne(y), !ordering(x, y).is_some_and(|o| o.is_eq());
        "lt" |x, y| x.lt(y), ordering(x, y).is_some_and(|o| o.is_lt());
        "le" |x, y| x.le(y), ordering(x, y).is_some_and(|o| o.is_le());
        "gt" |x, y| x.gt(y), ordering(x, y).is_some_and(|o| o.is_gt());
        "ge" |x, y| x.ge(y), ordering(x, y).is_some_and(|o| o.is_ge());
    }
}

fn float_tests<T: Float + Sample>() -> Vec<MapOp<T, bool>> {
    let mut ops = comparisons::<T>();
    ops.extend::<Vec<MapOp<T, bool>>>(test_table! {
        "is_nan" |x, y| x.is_nan(), x.float().is_nan();
        "is_infinite" |x, y| x.is_infinite(), x.float().is_infinite();
        "is_finite" |x, y| x.is_finite(), x.float().is_finite();
    });
    ops
}

fn bool_ops() -> Vec<MapOp<bool, bool>> {
    let mut ops = comparisons::<bool>();
    ops.extend::<Vec<MapOp<bool, bool>>>(test_table! {
        "not" |x, y| !x, x.int() == 0;
        "bitand" |x, y| x & y, x.int() * y.int() == 1;
        "bitor" |x, y| x | y, x.int() + y.int() > 0;
        "bitxor" |x, y| x ^ y, x.int() != y.int();
    });
    ops.push(MapOp {
        name: "if_else",
        build: |x, y, z| x.if_else(y, z),
        want: |[x, y, z], _| if x.int() == 1 { y } else { z },
        bound: Bound::Exact,
    });
    ops
}

macro_rules! integer_table {
    ($($name:literal |$x:ident, $y:ident, $z:ident| $build:expr, $want:expr;)*) => {
        vec![$(MapOp {
            name: $name,
            build: |$x, $y, $z| { let _ = ($y, $z); $build },
            want: |operands, _| {
                let [$x, $y, $z] = operands.map(Wide::int);
                let _ = ($y, $z);
                // Everything wraps: only the low bits count.
                T::of(Wide::Int($want)).wide()
            },
            bound: Bound::Exact,
        }),*]
    };
}

fn integer_ops<T: Integer + Logic + Sample>() -> Vec<MapOp<T, T>> {
    /// The low bits of `x`, which is sign-extended, as T's bits.
    fn bits<T: Sample>(x: i128) -> u64 {
        let n = T::DTYPE.size() * 8;
        (x as u64) & (u64::MAX >> (64 - n))
    }
    fn width<T: Sample>() -> i128 {
        T::DTYPE.size() as i128 * 8
    }
    integer_table! {
        "add" |x, y, z| x + y, x + y;
        "sub" |x, y, z| x - y, x - y;
        "mul" |x, y, z| x * y, x.wrapping_mul(y);
        "div" |x, y, z| x / y, if y == 0 { 0 } else { x / y };
        "rem" |x, y, z| x % y, if y == 0 { 0 } else { x % y };
        "bitand" |x, y, z| x & y, x & y;
        "bitor" |x, y, z| x | y, x | y;
        "bitxor" |x, y, z| x ^ y, x ^ y;
        "not" |x, y, z| !x, -x - 1;
        "shl" |x, y, z| x << y, x.wrapping_mul(1 << y.rem_euclid(width::<T>()));
        "shr" |x, y, z| x >> y, x.div_euclid(1 << y.rem_euclid(width::<T>()));
        "abs" |x, y, z| x.abs(), x.abs();
        "signum" |x, y, z| x.signum(), i128::from(x > 0) - i128::from(x < 0);
        "square" |x, y, z| x.square(), x.wrapping_mul(x);
        "minimum" |x, y, z| x.minimum(y), if x < y { x } else { y };
        "maximum" |x, y, z| x.maximum(y), if x > y { x } else { y };
        "clamp" |x, y, z| x.clamp(y, z), x.max(y).min(z);
        "if_else" |x, y, z| x.lt(y).if_else(y, z), if x < y { y } else { z };
        "count_ones" |x, y, z| x.count_ones(), (0..64).map(|k| i128::from(bits::<T>(x) >> k & 1)).sum::<i128>();
        "leading_zeros" |x, y, z| x.leading_zeros(),
            (0..width::<T>()).rev().take_while(|k| bits::<T>(x) >> k & 1 == 0).count() as i128;
        "trailing_zeros" |x, y, z| x.trailing_zeros(),
            (0..width::<T>()).take_while(|k| bits::<T>(x) >> k & 1 == 0).count() as i128;
    }
}

fn signed_ops<T: Integer + Signed + Sample>() -> Vec<MapOp<T, T>> {
    integer_table! {
        "neg" |x, y, z| -x, -x;
    }
}

/// Every pair of special values, then random ones, for three operands.
fn operands<T: Sample>() -> [Vec<T>; 3] {
    let mut rng = Rng::new(seed("operands", T::DTYPE));
    let s = T::specials();
    let k = s.len();
    let n = (k * k + 250).next_multiple_of(64);
    let pick = |f: &dyn Fn(usize) -> usize, rng: &mut Rng| -> Vec<T> {
        (0..n).map(|i| if i < k * k { s[f(i) % k] } else { T::random(rng) }).collect()
    };
    [
        pick(&|i| i / k, &mut rng),
        pick(&|i| i % k, &mut rng),
        pick(&|i| i / k + 2 * (i % k) + 1, &mut rng),
    ]
}

/// The value of expression number `index`, which has an axis for it.
fn choose<U: Sample>(mut list: Vec<Expr<U>>, index: &DeviceArray<u8>) -> Expr<U> {
    let one: Expr<u8> = 1u8.into_expr();
    let mut rest = index.expr();
    // Halves the list by one bit of the index after the other.
    while list.len() > 1 {
        let odd = (&rest & &one).cast::<bool>();
        list = list
            .chunks(2)
            .map(|pair| match pair {
                [even, other] => odd.if_else(other, even),
                _ => pair[0].clone(),
            })
            .collect();
        rest >>= &one;
    }
    list.remove(0)
}

/// Most operations in one kernel: compilers take more than proportionally longer beyond.
const AT_ONCE: usize = 16;

fn map_group<T: Sample, U: Sample>(ops: Vec<MapOp<T, U>>) -> Group {
    let names = ops.iter().map(|op| op.name.to_string()).collect();
    let run = move |device: &Device, chosen: &[usize]| {
        let operands = operands::<T>();
        let ops: Vec<&MapOp<T, U>> = chosen.iter().map(|&k| &ops[k]).collect();
        let build = |x: &[Expr<T>; 3], op: &MapOp<T, U>| (op.build)(&x[0], &x[1], &x[2]);
        let check = |op: &&MapOp<T, U>, got: &[U]| check_map(device, op, &operands, got);
        run_together(device, &[T::DTYPE, U::DTYPE], &ops, &operands, build, check)
    };
    Group { family: "map", dtype: T::DTYPE, ops: names, run: Box::new(run) }
}

/// Runs operations in as few kernels as possible, and each by itself where one is refused.
fn run_together<Op, T: Sample, U: Sample>(
    device: &Device,
    needs: &[DType],
    ops: &[&Op],
    operands: &[Vec<T>; 3],
    build: impl Fn(&[Expr<T>; 3], &Op) -> Expr<U>,
    check: impl Fn(&&Op, &[U]) -> std::result::Result<(), String>,
) -> Vec<Outcome> {
    let n = operands[0].len();
    let upload = || -> Result<[Expr<T>; 3]> {
        let [a, b, c] = operands;
        Ok([
            DeviceArray::from_slice(device, a)?.expr(),
            DeviceArray::from_slice(device, b)?.expr(),
            DeviceArray::from_slice(device, c)?.expr(),
        ])
    };
    let uploaded = match upload() {
        Ok(x) => x,
        Err(e) => return ops.iter().map(|_| Outcome::of_error(device, needs, &e)).collect(),
    };
    let at_once = if device.is_host() { 1 } else { AT_ONCE };
    let mut outcomes = Vec::new();
    for part in ops.chunks(at_once) {
        let together = || -> Result<Vec<U>> {
            let index: Vec<u8> = (0..part.len() as u8).collect();
            let index = DeviceArray::from_shape_slice(device, (part.len(), 1), &index)?;
            let list = part.iter().map(|op| build(&uploaded, op)).collect();
            choose(list, &index).eval()?.to_vec()
        };
        if part.len() > 1 && needs.iter().all(|&d| device.supports(d)) {
            match together() {
                Ok(got) if got.len() == part.len() * n => {
                    let rows = got.chunks(n);
                    outcomes.extend(part.iter().zip(rows).map(|(op, got)| check(op, got).into()));
                    continue;
                }
                Ok(_) => log::warn!("verify: a kernel of several operations has another shape"),
                Err(e) => log::warn!("verify: a kernel of several operations failed: {e}"),
            }
        }
        for op in part {
            let result = build(&uploaded, op).eval().and_then(|a| a.to_vec());
            outcomes.push(Outcome::of(device, needs, result.map(|got| check(op, &got))));
        }
    }
    outcomes
}

/// Zero in place of a subnormal `f32`.
fn flushed(compute: DType, v: Wide) -> Wide {
    match v {
        Wide::Float(f) if compute == DType::F32 && f.abs() < f64::from(f32::MIN_POSITIVE) => {
            Wide::Float(0f64.copysign(f))
        }
        other => other,
    }
}

fn check_map<T: Sample, U: Sample>(
    device: &Device,
    op: &MapOp<T, U>,
    operands: &[Vec<T>; 3],
    got: &[U],
) -> std::result::Result<(), String> {
    let (from, to) = (T::DTYPE.compute(), U::DTYPE);
    let exact_division = to == DType::F64 || device.info().exact_division;
    let ulps = match op.bound {
        Bound::Division(_) if exact_division => 0.0,
        Bound::Exact | Bound::AnyZero => 0.0,
        Bound::Ulps(u) | Bound::Division(u) | Bound::Ordinary(u) => u,
    };
    // The reference for f64 functions is computed in f64 too, and errs itself.
    let ulps = if to == DType::F64 && ulps > 0.0 { ulps + 2.0 } else { ulps };
    let flush = !device.info().denormals && from == DType::F32;
    let accepts = |got: Wide, want: Wide| match (got, want) {
        (Wide::Float(g), Wide::Float(w)) => {
            let ordinary = 1e-3..1e3;
            matches!(op.bound, Bound::Ordinary(_)) && !ordinary.contains(&w.abs())
                || matches!(op.bound, Bound::AnyZero) && g == 0.0 && w == 0.0
                || close(to, g, w, ulps)
                || flush && g == 0.0 && w.abs() <= f64::from(f32::MIN_POSITIVE)
        }
        _ => got.same(want),
    };
    for (i, &got) in got.iter().enumerate() {
        let x = [0, 1, 2].map(|k| operands[k][i].wide());
        let want = (op.want)(x, from == DType::F32);
        let mut ok = accepts(got.wide(), want);
        if !ok && flush {
            // Any subset of the operands may have been flushed.
            ok = (1..8).any(|mask| {
                let x =
                    [0, 1, 2].map(|k| if mask >> k & 1 == 1 { flushed(from, x[k]) } else { x[k] });
                accepts(got.wide(), (op.want)(x, true))
            });
        }
        if !ok {
            let allowed = if ulps > 0.0 { format!(" within {ulps} ULP") } else { String::new() };
            return Err(format!(
                "of ({}, {}, {}): {}, expected {want}{allowed}",
                x[0],
                x[1],
                x[2],
                got.wide()
            ));
        }
    }
    Ok(())
}

// ---- Casts --------------------------------------------------------------------------------------

/// An operand of any type.
enum Source {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Calls a generic piece of code with the vector inside.
macro_rules! with_source {
    ($source:expr, $v:ident => $body:expr) => {
        match $source {
            Source::Bool($v) => $body,
            Source::I8($v) => $body,
            Source::I16($v) => $body,
            Source::I32($v) => $body,
            Source::I64($v) => $body,
            Source::U8($v) => $body,
            Source::U16($v) => $body,
            Source::U32($v) => $body,
            Source::U64($v) => $body,
            Source::F16($v) => $body,
            Source::BF16($v) => $body,
            Source::F32($v) => $body,
            Source::F64($v) => $body,
        }
    };
}

/// Values around which casts change: the bounds of every integer type, halves, ties of the
/// shorter floats.
fn edges<T: Sample>() -> Vec<T> {
    let mut list = T::specials();
    for bits in [7, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64] {
        let power = 2f64.powi(bits);
        for v in [power, power - 1.0, power + 1.0, power - 0.5, power * 1.5] {
            list.extend([T::of(Wide::Float(v)), T::of(Wide::Float(-v))]);
        }
    }
    // Ties when a float is shortened, and what lies just beside them.
    for digits in [8, 11, 24] {
        for odd in [1.0, 3.0] {
            let tie = 1.0 + odd * 2f64.powi(-digits);
            for v in [tie, tie + 2f64.powi(-45), tie - 2f64.powi(-45)] {
                list.extend([T::of(Wide::Float(v)), T::of(Wide::Float(-v * 1e-3))]);
            }
        }
    }
    list
}

fn sources() -> Vec<(DType, Source)> {
    const N: usize = 512;
    fn values<T: Sample>() -> Vec<T> {
        let mut rng = Rng::new(seed("cast", T::DTYPE));
        let mut list = edges::<T>();
        list.truncate(N);
        let more = rng.values::<T>(N - list.len());
        list.extend(more);
        list
    }
    vec![
        (DType::Bool, Source::Bool(values())),
        (DType::I8, Source::I8(values())),
        (DType::I16, Source::I16(values())),
        (DType::I32, Source::I32(values())),
        (DType::I64, Source::I64(values())),
        (DType::U8, Source::U8(values())),
        (DType::U16, Source::U16(values())),
        (DType::U32, Source::U32(values())),
        (DType::U64, Source::U64(values())),
        (DType::F16, Source::F16(values())),
        (DType::BF16, Source::BF16(values())),
        (DType::F32, Source::F32(values())),
        (DType::F64, Source::F64(values())),
    ]
}

/// Casts from every type to `U`: one kernel that picks the source by an index.
fn cast_group<U: Sample>() -> Group {
    let names = DType::ALL.iter().map(|from| format!("cast_from_{from}")).collect();
    let run = |device: &Device, chosen: &[usize]| {
        let all = sources();
        let picked: Vec<&(DType, Source)> = chosen.iter().map(|&k| &all[k]).collect();
        let expr = |s: &Source| -> Result<Expr<U>> {
            with_source!(s, v => Ok(DeviceArray::from_slice(device, v)?.cast::<U>()))
        };
        let able: Vec<&(DType, Source)> =
            picked.iter().copied().filter(|(d, _)| device.supports(*d)).collect();
        let together = || -> Result<Vec<Vec<U>>> {
            let index: Vec<u8> = (0..able.len() as u8).collect();
            let index = DeviceArray::from_shape_slice(device, (able.len(), 1), &index)?;
            let list = able.iter().map(|(_, s)| expr(s)).collect::<Result<Vec<_>>>()?;
            let got = choose(list, &index).eval()?.to_vec()?;
            let n = got.len() / able.len();
            Ok(got.chunks(n).map(<[U]>::to_vec).collect())
        };
        let batch = !device.is_host() && able.len() > 1 && device.supports(U::DTYPE);
        let mut rows = match batch.then(together) {
            Some(Ok(rows)) => rows,
            Some(Err(e)) => {
                log::warn!("verify: a kernel of several casts failed: {e}");
                Vec::new()
            }
            None => Vec::new(),
        }
        .into_iter();
        let mut outcomes = Vec::new();
        for (from, source) in picked {
            let got = match rows.next_if_able(device.supports(*from)) {
                Some(row) => Ok(row),
                None => expr(source).and_then(|e| e.eval()).and_then(|a| a.to_vec()),
            };
            let needs = [*from, U::DTYPE];
            let checked = got.map(|got| with_source!(source, v => check_cast(device, v, &got)));
            outcomes.push(Outcome::of(device, &needs, checked));
        }
        outcomes
    };
    Group { family: "cast", dtype: U::DTYPE, ops: names, run: Box::new(run) }
}

/// Rows of the common kernel exist only for the types that the device has.
trait NextIf: Iterator {
    fn next_if_able(&mut self, able: bool) -> Option<Self::Item> {
        if able { self.next() } else { None }
    }
}
impl<I: Iterator> NextIf for I {}

fn check_cast<T: Sample, U: Sample>(
    device: &Device,
    from: &[T],
    got: &[U],
) -> std::result::Result<(), String> {
    if from.len() != got.len() {
        return Err(format!("{} values became {}", from.len(), got.len()));
    }
    for (&x, &got) in from.iter().zip(got) {
        // An identity keeps the bits; everything else is what `of` says.
        let want = if T::DTYPE == U::DTYPE { x.wide() } else { U::of(x.wide()).wide() };
        let mut ok = got.wide().same(want);
        if !ok && !device.info().denormals {
            let x = flushed(T::DTYPE.compute(), x.wide());
            let short = flushed(U::DTYPE.compute(), U::of(x).wide());
            ok = got.wide().same(U::of(x).wide()) || got.wide().same(short);
        }
        if !ok {
            return Err(format!("of {}: {}, expected {want}", x.wide(), got.wide()));
        }
    }
    Ok(())
}
