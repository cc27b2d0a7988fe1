//! The cases of `linalg`: residuals by plain loops in `f64`, in units of n · ε · ‖·‖.

use super::oracle::{Rng, Sample, Wide};
use super::{Group, Outcome, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::ops::linalg::{Diagonal, Real, Triangle};

/// Larger than a leaf and a panel, and no multiple of either.
const N: usize = 97;

/// The greatest residual that counts as right; what is measured is far below 1.
const SMALL: f64 = 4.0;

type Checked = std::result::Result<(), String>;

pub(super) fn groups() -> Vec<Group> {
    let mut groups = all::<f32>();
    groups.extend(all::<f64>());
    groups
}

fn all<T: Real + Sample>() -> Vec<Group> {
    vec![
        case::<T>("cholesky", cholesky::<T>),
        case::<T>("lu", lu::<T>),
        case::<T>("solve", solve::<T>),
        case::<T>("solve_triangular", solve_triangular::<T>),
        case::<T>("qr", qr::<T>),
    ]
}

fn case<T: Real + Sample>(
    op: &'static str,
    run: fn(&Device, &mut Rng) -> Result<Checked>,
) -> Group {
    Group::one("linalg", op, T::DTYPE, move |device| {
        let mut rng = Rng::new(seed(op, T::DTYPE));
        Outcome::of(device, &[T::DTYPE], run(device, &mut rng))
    })
}

/// A matrix of this module: row-major.
#[derive(Clone)]
struct Plain {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Plain {
    fn new(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> Plain {
        let at = |k: usize| value(k / columns.max(1), k % columns.max(1));
        Plain { rows, columns, values: (0..rows * columns).map(at).collect() }
    }

    /// Values that `f32` has too.
    fn random(rng: &mut Rng, rows: usize, columns: usize) -> Plain {
        let values: Vec<f64> =
            (0..rows * columns).map(|_| rng.below(1 << 20) as f64 / 524_288.0 - 1.0).collect();
        Plain { rows, columns, values }
    }

    fn of<T: Real + Sample>(x: &DeviceArray<T>) -> Result<Plain> {
        let values = x.to_vec()?.into_iter().map(|v| v.wide().float()).collect();
        let (rows, columns) = match *x.shape() {
            [rows, columns] => (rows, columns),
            _ => (x.len(), 1),
        };
        Ok(Plain { rows, columns, values })
    }

    fn to<T: Real + Sample>(&self, device: &Device) -> Result<DeviceArray<T>> {
        let values: Vec<T> = self.values.iter().map(|&v| T::of(Wide::Float(v))).collect();
        DeviceArray::from_shape_slice(device, (self.rows, self.columns), &values)
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.columns + j]
    }

    fn t(&self) -> Plain {
        Plain::new(self.columns, self.rows, |i, j| self.at(j, i))
    }

    fn times(&self, other: &Plain) -> Plain {
        Plain::new(self.rows, other.columns, |i, j| {
            (0..self.columns).map(|l| self.at(i, l) * other.at(l, j)).sum()
        })
    }

    /// The greatest sum of magnitudes of a row.
    fn norm(&self) -> f64 {
        let rows = self.values.chunks(self.columns.max(1));
        rows.map(|r| r.iter().map(|x| x.abs()).sum()).fold(0.0, f64::max)
    }

    /// Whether `self` is `want` up to rounding errors beside `scale`.
    fn near<T: Real>(&self, want: &Plain, scale: f64, what: &str) -> Checked {
        if (self.rows, self.columns) != (want.rows, want.columns) {
            return Err(format!(
                "{what}: {} × {} elements, expected {} × {}",
                self.rows, self.columns, want.rows, want.columns
            ));
        }
        let epsilon = if T::DTYPE == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() };
        let off = Plain::new(self.rows, self.columns, |i, j| self.at(i, j) - want.at(i, j)).norm();
        let residual = off / (scale * N as f64 * epsilon);
        // NaN is not below either; `norm` skips it, so the elements are asked.
        match residual < SMALL && self.values.iter().all(|v| v.is_finite()) {
            true => Ok(()),
            false => Err(format!("{what}: the residual is {residual}, not below {SMALL}")),
        }
    }
}

fn cholesky<T: Real + Sample>(device: &Device, rng: &mut Rng) -> Result<Checked> {
    let x = Plain::random(rng, N, N);
    let product = x.times(&x.t());
    // Rounded to `f32`, so that both types have it.
    let a = Plain::new(N, N, |i, j| {
        let diagonal = if i == j { 1.0 } else { 0.0 };
        f64::from((product.at(i, j) / N as f64 + diagonal) as f32)
    });
    let l = Plain::of(&a.to::<T>(device)?.cholesky()?)?;
    if (0..N).any(|i| (i + 1..N).any(|j| l.at(i, j) != 0.0)) {
        return Ok(Err("elements above the diagonal are not zero".into()));
    }
    Ok(l.times(&l.t()).near::<T>(&a, a.norm(), "L·Lᵀ"))
}

fn lu<T: Real + Sample>(device: &Device, rng: &mut Rng) -> Result<Checked> {
    for (m, n) in [(N, N), (N, 40), (40, N)] {
        let a = Plain::random(rng, m, n);
        let lu = a.to::<T>(device)?.lu()?;
        let (l, u) = (Plain::of(&lu.l()?)?, Plain::of(&lu.u()?)?);
        if l.values.iter().any(|x| x.abs() > 1.0) {
            return Ok(Err("an element of L is above 1: the pivot was not the greatest".into()));
        }
        let order = lu.permutation()?.to_vec()?;
        let moved = Plain::new(m, n, |i, j| a.at(order[i] as usize % m, j));
        if let Err(e) = l.times(&u).near::<T>(&moved, a.norm(), "L·U") {
            return Ok(Err(format!("{m} × {n}: {e}")));
        }
    }
    Ok(Ok(()))
}

fn solve<T: Real + Sample>(device: &Device, rng: &mut Rng) -> Result<Checked> {
    let (a, b) = (Plain::random(rng, N, N), Plain::random(rng, N, 5));
    let x = Plain::of(&a.to::<T>(device)?.solve(&b.to(device)?)?)?;
    Ok(a.times(&x).near::<T>(&b, a.norm() * x.norm(), "A·x"))
}

fn solve_triangular<T: Real + Sample>(device: &Device, rng: &mut Rng) -> Result<Checked> {
    let (values, b) = (Plain::random(rng, N, N), Plain::random(rng, N, 5));
    for (side, diagonal) in [
        (Triangle::Lower, Diagonal::NonUnit),
        (Triangle::Upper, Diagonal::NonUnit),
        (Triangle::Lower, Diagonal::Unit),
        (Triangle::Upper, Diagonal::Unit),
    ] {
        let element = |i: usize, j: usize| match i == j {
            true => values.at(i, i) + values.at(i, i).signum(),
            false => values.at(i, j) / 8.0,
        };
        let read = |i: usize, j: usize| match side {
            Triangle::Lower => j < i,
            Triangle::Upper => j > i,
        };
        let want = Plain::new(N, N, |i, j| match (i == j, diagonal) {
            (true, Diagonal::Unit) => 1.0,
            (true, Diagonal::NonUnit) => element(i, j),
            (false, _) if read(i, j) => element(i, j),
            (false, _) => 0.0,
        });
        let a = Plain::new(N, N, element).to::<T>(device)?;
        let x = Plain::of(&a.solve_triangular(&b.to(device)?, side, diagonal)?)?;
        let near = want.times(&x).near::<T>(&b, want.norm() * x.norm(), "T·x");
        if let Err(e) = near {
            return Ok(Err(format!("{side:?}, {diagonal:?}: {e}")));
        }
    }
    Ok(Ok(()))
}

fn qr<T: Real + Sample>(device: &Device, rng: &mut Rng) -> Result<Checked> {
    for (m, n) in [(N, N), (N, 40), (40, N)] {
        let a = Plain::random(rng, m, n);
        let (q, r) = a.to::<T>(device)?.qr()?;
        let (q, r) = (Plain::of(&q)?, Plain::of(&r)?);
        let k = m.min(n);
        let one = Plain::new(k, k, |i, j| if i == j { 1.0 } else { 0.0 });
        let checked = q
            .times(&r)
            .near::<T>(&a, a.norm(), "Q·R")
            .and_then(|()| q.t().times(&q).near::<T>(&one, 1.0, "Qᵀ·Q"));
        if let Err(e) = checked {
            return Ok(Err(format!("{m} × {n}: {e}")));
        }
    }
    Ok(Ok(()))
}
