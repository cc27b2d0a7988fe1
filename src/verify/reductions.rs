//! The cases of `reduce`.

use super::oracle::{
    Rng, Sample, Wide, arg_extreme, float_sum, groups as split, integer_fold, ulp,
};
use super::{Group, Outcome, each_type, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{DType, Element, Float, Number};
use crate::error::{ErrorKind, Result};
use crate::ops::reduction::Reduction;
use half::{bf16, f16};
use ndarray::{ArrayD, Axis, IxDyn};

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T in [i8, i16, i32, i64, u8, u16, u32, u64] => numbers::<T>(&mut groups));
    each_type!(T in [f16, bf16, f32, f64] => {
        numbers::<T>(&mut groups);
        groups.push(norm_case::<T>());
    });
    groups.push(case(
        "any",
        |r: &Reduction<bool>| r.any(),
        mostly(false),
        |x, got| exactly(got, Wide::Int(i128::from(x.contains(&true)))),
        Empty::Is(Wide::Int(0)),
    ));
    groups.push(case(
        "all",
        |r: &Reduction<bool>| r.all(),
        mostly(true),
        |x, got| exactly(got, Wide::Int(i128::from(!x.contains(&false)))),
        Empty::Is(Wide::Int(1)),
    ));
    groups
}

/// What a reduction of nothing gives.
#[derive(Clone, Copy)]
enum Empty {
    Is(Wide),
    Error,
}

type Checked = std::result::Result<(), String>;

fn exactly<U: Sample>(got: U, want: Wide) -> Checked {
    match got.wide().same(want) {
        true => Ok(()),
        false => Err(format!("{}, expected {want}", got.wide())),
    }
}

fn within<U: Sample>(got: U, want: f64, bound: f64) -> Checked {
    let got = got.wide().float();
    let ok = match want.is_finite() {
        true => (got - want).abs() <= bound,
        false => got == want || got.is_nan() && want.is_nan(),
    };
    if ok { Ok(()) } else { Err(format!("{got:e}, expected {want:e} within {bound:e}")) }
}

/// Values of moderate size; among the short ones also a NaN and infinities.
fn moderate<T: Sample>(rng: &mut Rng, n: usize) -> Vec<T> {
    let mut values = rng.moderate::<T>(n);
    if T::DTYPE.is_float() && (1000..10_000).contains(&n) {
        for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            values[rng.below(n)] = T::of(Wide::Float(special));
        }
    }
    values
}

/// Powers of two for floats, so that products are exact in any order; any integers.
fn factors<T: Sample>(rng: &mut Rng, n: usize) -> Vec<T> {
    let mut one = || match T::DTYPE.is_float() {
        true => {
            let bits = rng.bits();
            // A long product must stay in range: most factors are ±1.
            let e = if bits & 0x3f0 != 0 { 0 } else { 1 - (bits & 2) as i32 };
            let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
            T::of(Wide::Float(sign * 2f64.powi(e)))
        }
        // Odd ones, or the product is soon zero.
        false => T::of(Wide::Int(T::random(rng).wide().int() | 1)),
    };
    (0..n).map(|_| one()).collect()
}

fn mostly(value: bool) -> fn(&mut Rng, usize) -> Vec<bool> {
    match value {
        true => |rng, n| (0..n).map(|_| rng.below(64) != 0).collect(),
        false => |rng, n| (0..n).map(|_| rng.below(64) == 0).collect(),
    }
}

fn floats<T: Sample>(x: &[T]) -> Vec<f64> {
    x.iter().map(|v| v.wide().float()).collect()
}

fn wides<T: Sample>(x: &[T]) -> Vec<Wide> {
    x.iter().map(|v| v.wide()).collect()
}

/// One unit in the last place of Σ|x|, in the type of sums.
fn unit_of_sum(dtype: DType, x: &[f64]) -> f64 {
    ulp(dtype, float_sum(x.iter().map(|v| v.abs())))
}

fn numbers<T: Number + Sample>(groups: &mut Vec<Group>)
where
    T::Sum: Sample,
    T::Mean: Sample,
{
    fn sum_of<T: Sample, S: Sample>(x: &[T], got: S) -> Checked {
        if !T::DTYPE.is_float() {
            return exactly(got, Wide::Int(integer_fold(T::DTYPE, &wides(x), false)));
        }
        let x = floats(x);
        within(got, float_sum(x.iter().copied()), 4.0 * unit_of_sum(S::DTYPE, &x))
    }
    let one = if T::DTYPE.is_float() { Wide::Float(1.0) } else { Wide::Int(1) };
    let zero = if T::DTYPE.is_float() { Wide::Float(0.0) } else { Wide::Int(0) };
    let nan = Empty::Is(Wide::Float(f64::NAN));
    groups.push(case("sum", |r: &Reduction<T>| r.sum(), moderate, sum_of, Empty::Is(zero)));
    groups.push(case(
        "prod",
        |r: &Reduction<T>| r.prod(),
        factors,
        |x, got| match T::DTYPE.is_float() {
            true => exactly(got, Wide::Float(floats(x).iter().product())),
            false => exactly(got, Wide::Int(integer_fold(T::DTYPE, &wides(x), true))),
        },
        Empty::Is(one),
    ));
    fn extreme<T: Sample>(x: &[T], greatest: bool) -> Wide {
        x[arg_extreme(&wides(x), greatest)].wide()
    }
    groups.push(case(
        "min",
        |r: &Reduction<T>| r.min(),
        moderate,
        |x, got| exactly(got, extreme(x, false)),
        Empty::Error,
    ));
    groups.push(case(
        "max",
        |r: &Reduction<T>| r.max(),
        moderate,
        |x, got| exactly(got, extreme(x, true)),
        Empty::Error,
    ));
    groups.push(case(
        "argmin",
        |r: &Reduction<T>| r.argmin(),
        moderate,
        |x, got| exactly(got, Wide::Int(arg_extreme(&wides(x), false) as i128)),
        Empty::Error,
    ));
    groups.push(case(
        "argmax",
        |r: &Reduction<T>| r.argmax(),
        moderate,
        |x, got| exactly(got, Wide::Int(arg_extreme(&wides(x), true) as i128)),
        Empty::Error,
    ));
    groups.push(case(
        "mean",
        |r: &Reduction<T>| r.mean(),
        moderate,
        |x, got| {
            let (x, n) = (floats(x), x.len() as f64);
            let sum = float_sum(x.iter().copied());
            within(got, sum / n, 6.0 * unit_of_sum(T::Mean::DTYPE, &x) / n)
        },
        nan,
    ));
    groups.push(case(
        "var",
        |r: &Reduction<T>| r.var(1.0),
        Rng::moderate,
        |x, got| {
            let (want, bound) = variance(&floats(x), 1.0, T::Mean::DTYPE);
            within(got, want, bound)
        },
        nan,
    ));
    groups.push(case(
        "std",
        |r: &Reduction<T>| r.std(0.0),
        Rng::moderate,
        |x, got| {
            let (want, bound) = variance(&floats(x), 0.0, T::Mean::DTYPE);
            let root = want.sqrt();
            let bound = if root > 0.0 { bound / root } else { bound.sqrt() };
            within(got, root, bound + 3.0 * ulp(T::Mean::DTYPE, root))
        },
        nan,
    ));
    groups.push(dot_case::<T>());
}

/// The variance, and how far one computed in `dtype` may lie from it: every distance from the mean
/// is rounded at the scale of the values.
fn variance(x: &[f64], ddof: f64, dtype: DType) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = float_sum(x.iter().copied()) / n;
    let squares = float_sum(x.iter().map(|v| (v - mean) * (v - mean)));
    let want = squares / (n - ddof);
    let scale = x.iter().fold(0f64, |a, v| a.max(v.abs()));
    let distance = 2.0 * ulp(dtype, scale);
    let bound = 8.0 * ulp(dtype, want)
        + (2.0 * (squares / n).sqrt() + distance) * distance * n / (n - ddof);
    (want, bound)
}

/// The shapes and axes that every reduction meets: one long row cut into parts, short rows,
/// columns, everything, nothing at all to reduce.
fn settings() -> Vec<(Vec<usize>, Vec<usize>, bool)> {
    vec![
        (vec![40_000], vec![0], false),
        (vec![37, 64], vec![0, 1], true),
        (vec![37, 64], vec![1], false),
        (vec![37, 64], vec![0], true),
        (vec![70, 3], vec![1], true),
        (vec![3, 70], vec![0], false),
        (vec![5], vec![], false),
        (vec![], vec![], false),
        (vec![1, 1], vec![1], false),
    ]
}

fn case<T: Sample, U: Sample>(
    op: &'static str,
    reduce: fn(&Reduction<T>) -> Result<DeviceArray<U>>,
    input: fn(&mut Rng, usize) -> Vec<T>,
    check: fn(&[T], U) -> Checked,
    empty: Empty,
) -> Group {
    Group::one("reduce", op, T::DTYPE, move |device| {
        let run = || -> Result<Checked> {
            let mut rng = Rng::new(seed(op, T::DTYPE));
            for (shape, axes, keepdims) in settings() {
                let n: usize = shape.iter().product();
                let host = array(&shape, input(&mut rng, n));
                let axes: Vec<Axis> = axes.iter().map(|&a| Axis(a)).collect();
                let x = DeviceArray::from_ndarray(device, &host)?;
                let mut reduction = x.over(&axes);
                if keepdims {
                    reduction = reduction.keepdims();
                }
                let got = reduce(&reduction)?;
                let (want_shape, parts) = split(&host, &axes, keepdims);
                let place = format!("{shape:?} over {axes:?}");
                if got.shape() != want_shape {
                    return Ok(Err(format!(
                        "{place}: shape {:?}, expected {want_shape:?}",
                        got.shape()
                    )));
                }
                for (k, (part, got)) in parts.iter().zip(got.to_vec()?).enumerate() {
                    if let Err(e) = check(part, got) {
                        return Ok(Err(format!("{place}, result {k}: {e}")));
                    }
                }
            }
            let nothing = DeviceArray::<T>::from_slice(device, &[])?;
            let got = reduce(&nothing.over(&[Axis(0)])).and_then(|a| a.item());
            Ok(match (empty, got) {
                (Empty::Is(want), got) => {
                    exactly(got?, want).map_err(|e| format!("of nothing: {e}"))
                }
                (Empty::Error, Err(e)) if e.kind() == ErrorKind::Argument => Ok(()),
                (Empty::Error, got) => {
                    Err(format!("of nothing: {got:?}, expected an error of kind Argument"))
                }
            })
        };
        Outcome::of(device, &[T::DTYPE, U::DTYPE], run())
    })
}

fn array<T: Sample>(shape: &[usize], values: Vec<T>) -> ArrayD<T> {
    let mut values = values.into_iter();
    ArrayD::from_shape_simple_fn(IxDyn(shape), || values.next().unwrap_or_default())
}

fn dot_case<T: Number + Sample>() -> Group
where
    T::Sum: Sample,
{
    Group::one("reduce", "dot", T::DTYPE, |device| {
        let run = |device: &Device| -> Result<Checked> {
            let mut rng = Rng::new(seed("dot", T::DTYPE));
            for n in [5000, 1, 0] {
                let (a, b) = (rng.moderate::<T>(n), rng.moderate::<T>(n));
                let x = DeviceArray::from_slice(device, &a)?;
                let got = x.dot(&DeviceArray::from_slice(device, &b)?)?.item()?;
                let checked = if T::DTYPE.is_float() {
                    let products: Vec<f64> =
                        floats(&a).iter().zip(floats(&b)).map(|(x, y)| x * y).collect();
                    let bound = 6.0 * unit_of_sum(T::Sum::DTYPE, &products);
                    within(got, float_sum(products), bound)
                } else {
                    let products = wides(&a).into_iter().zip(wides(&b));
                    let products: Vec<Wide> =
                        products.map(|(x, y)| Wide::Int(x.int().wrapping_mul(y.int()))).collect();
                    exactly(got, Wide::Int(integer_fold(T::DTYPE, &products, false)))
                };
                if let Err(e) = checked {
                    return Ok(Err(format!("{n} elements: {e}")));
                }
            }
            Ok(Ok(()))
        };
        Outcome::of(device, &[T::DTYPE, T::Sum::DTYPE], run(device))
    })
}

fn norm_case<T: Float + Sample>() -> Group
where
    T::Sum: Sample,
{
    Group::one("reduce", "norm", T::DTYPE, |device| {
        let run = |device: &Device| -> Result<Checked> {
            let mut rng = Rng::new(seed("norm", T::DTYPE));
            // As long values as squares could overflow or vanish; f16's cannot in f32.
            let (large, small) = match T::DTYPE {
                DType::F64 => (1e200, 1e-200),
                DType::F16 => (1e4, 1e-4),
                _ => (1e30, 1e-30),
            };
            for (n, size) in [(5000, 1.0), (300, large), (300, small), (1, -2.0), (0, 1.0)] {
                let x: Vec<T> = rng
                    .moderate::<T>(n)
                    .iter()
                    .map(|v| T::of(Wide::Float(v.wide().float() * size)))
                    .collect();
                let got = DeviceArray::from_slice(device, &x)?.norm()?.item()?;
                let scaled = floats(&x).into_iter().map(|v| (v / size) * (v / size));
                let want = float_sum(scaled).sqrt() * size.abs();
                let bound = 8.0 * ulp(T::Sum::DTYPE, want);
                if let Err(e) = within(got, want, bound) {
                    return Ok(Err(format!("{n} elements about {size:e}: {e}")));
                }
            }
            Ok(Ok(()))
        };
        Outcome::of(device, &[T::DTYPE, T::Sum::DTYPE], run(device))
    })
}
