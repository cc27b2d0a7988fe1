//! Inputs that look random and can be computed again at any position, and plain checks.

use rayon::prelude::*;
use std::sync::OnceLock;

/// A number in [−1, 1) from a position; the multipliers are those of `splitmix64`.
pub fn value(position: usize, seed: u64) -> f32 {
    let mut z = (position as u64).wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // 24 bits: every value is exact.
    ((z >> 40) as f32) / (1 << 23) as f32 - 1.0
}

/// A normally distributed number from a position (Box and Muller, 1958): what the benchmarks of
/// other libraries multiply. How many bits change decides a device's power, and that its speed.
pub fn normal(position: usize, seed: u64) -> f32 {
    let radius = (-2.0 * (0.5 + 0.5 * value(2 * position, seed)).max(1e-7).ln()).sqrt();
    radius * (std::f32::consts::PI * value(2 * position + 1, seed)).cos()
}

/// `n` normally distributed numbers.
pub fn normals(n: usize, seed: u64) -> Vec<f32> {
    (0..n).into_par_iter().map(|i| normal(i, seed)).collect()
}

/// The inputs of all families, made when they are first asked for.
pub struct Data {
    n: usize,
    x: OnceLock<Vec<f32>>,
    y: OnceLock<Vec<f32>>,
}

impl Data {
    pub fn new(n: usize) -> Data {
        Data { n, x: OnceLock::new(), y: OnceLock::new() }
    }

    pub fn n(&self) -> usize {
        self.n
    }

    /// The rows of the largest square matrix of at most `n` elements.
    pub fn side(&self) -> usize {
        self.n.isqrt()
    }

    pub fn x(&self) -> &[f32] {
        self.x.get_or_init(|| random(self.n, 1))
    }

    pub fn y(&self) -> &[f32] {
        self.y.get_or_init(|| random(self.n, 2 << 40))
    }

    /// The elements of `x` that fill a square matrix.
    pub fn square(&self) -> &[f32] {
        &self.x()[..self.side() * self.side()]
    }
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    (0..n).into_par_iter().map(|i| value(i, seed)).collect()
}

/// Compares every element with what `want` computes; `tolerance` is for that element.
pub fn each(
    got: &[f32],
    n: usize,
    want: impl Fn(usize) -> (f64, f64) + Sync,
) -> Result<(), String> {
    same_length(got.len(), n)?;
    let bad = got.par_iter().enumerate().position_first(|(i, &g)| {
        let (want, tolerance) = want(i);
        // Not ≤, so that NaN is bad.
        {
            let distance = (f64::from(g) - want).abs();
            distance.is_nan() || distance > tolerance
        }
    });
    match bad {
        None => Ok(()),
        Some(i) => {
            let (want, tolerance) = want(i);
            Err(format!("element {i} is {}, not {want} (± {tolerance:.1e})", got[i]))
        }
    }
}

/// Compares every element with what `want` says, exactly.
pub fn exactly<T: PartialEq + Copy + Sync + std::fmt::Debug>(
    got: &[T],
    n: usize,
    want: impl Fn(usize) -> T + Sync,
) -> Result<(), String> {
    same_length(got.len(), n)?;
    match got.par_iter().enumerate().position_first(|(i, g)| *g != want(i)) {
        None => Ok(()),
        Some(i) => Err(format!("element {i} is {:?}, not {:?}", got[i], want(i))),
    }
}

/// Compares two pictures: values may be rounded to neighbouring levels.
pub fn within_a_level(got: &[u8], want: &[u8]) -> Result<(), String> {
    same_length(got.len(), want.len())?;
    match got.iter().zip(want).position(|(&g, &w)| g.abs_diff(w) > 1) {
        None => Ok(()),
        Some(i) => Err(format!("value {i} is {}, not {} (± 1)", got[i], want[i])),
    }
}

/// Compares one number.
pub fn close(got: f64, want: f64, tolerance: f64) -> Result<(), String> {
    match (got - want).abs() <= tolerance {
        true => Ok(()),
        false => Err(format!("it is {got}, not {want} (± {tolerance:.1e})")),
    }
}

fn same_length(got: usize, want: usize) -> Result<(), String> {
    match got == want {
        true => Ok(()),
        false => Err(format!("it has {got} elements, not {want}")),
    }
}

/// The distance from 1 to the next `f32`.
pub const EPSILON: f64 = f32::EPSILON as f64;
