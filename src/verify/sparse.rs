//! The cases of `sparse`: triplets one after the other into plain sums in `f64`.

use super::oracle::{Rng, Sample, Wide, ulp};
use super::{Group, Outcome, seed};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::error::Result;
use crate::ops::linalg::Real;
use crate::ops::sparse::SparseMatrix;

const ROWS: usize = 300;
/// Beyond the longest row that is not cut into parts.
const COLUMNS: usize = 2600;
/// Columns of the dense matrix.
const WIDTH: usize = 5;

type Checked = std::result::Result<(), String>;

pub(super) fn groups() -> Vec<Group> {
    let mut groups = all::<f32>();
    groups.extend(all::<f64>());
    groups
}

fn all<T: Real + Sample>() -> Vec<Group> {
    let case = |op: &'static str, run: fn(&Device, &Triplets<T>, &mut Rng) -> Result<Checked>| {
        Group::one("sparse", op, T::DTYPE, move |device| {
            let mut rng = Rng::new(seed(op, T::DTYPE));
            let triplets = Triplets::random(&mut rng);
            Outcome::of(device, &[T::DTYPE], run(device, &triplets, &mut rng))
        })
    };
    vec![
        case("sparse_vector", |device, t, rng| product(device, t, rng, false)),
        case("sparse_matrix", |device, t, rng| product(device, t, rng, true)),
        case("sparse_transpose", transpose),
        case("sparse_dense", dense),
    ]
}

/// Out of order, with duplicates, empty rows and a full one.
struct Triplets<T> {
    rows: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<T>,
}

impl<T: Real + Sample> Triplets<T> {
    fn random(rng: &mut Rng) -> Triplets<T> {
        let mut places: Vec<(u32, u32)> = (0..COLUMNS).map(|c| (41, c as u32)).collect();
        for _ in 0..2000 {
            let row = rng.below(ROWS);
            let place = (row as u32, rng.below(COLUMNS) as u32);
            if row % 7 != 3 {
                places.push(place);
            }
            if rng.below(4) == 0 && row % 7 != 3 {
                places.push(place);
            }
        }
        for k in (1..places.len()).rev() {
            places.swap(k, rng.below(k + 1));
        }
        let values = rng.moderate(places.len());
        let (rows, columns) = places.into_iter().unzip();
        Triplets { rows, columns, values }
    }

    fn on(&self, device: &Device) -> Result<SparseMatrix<T>> {
        let shape = (ROWS, COLUMNS);
        SparseMatrix::from_triplets(device, shape, &self.rows, &self.columns, &self.values)
    }

    fn each(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        let places = self.rows.iter().zip(&self.columns).zip(&self.values);
        places.map(|((&r, &c), v)| (r as usize, c as usize, v.wide().float()))
    }

    /// The product with a matrix of `width` columns, and the magnitudes of what was added.
    fn times(&self, x: &[f64], width: usize) -> Vec<(f64, f64, usize)> {
        let mut sums = vec![(0.0, 0.0, 0); ROWS * width];
        for (r, c, v) in self.each() {
            for j in 0..width {
                let product = v * x[c * width + j];
                let (sum, magnitude, terms) = &mut sums[r * width + j];
                *sum += product;
                *magnitude += product.abs();
                *terms += 1;
            }
        }
        sums
    }
}

/// Each addition and each product errs by half a unit of what has been summed up in magnitude.
fn near<T: Sample>(got: &[T], want: &[(f64, f64, usize)], width: usize) -> Checked {
    if got.len() != want.len() {
        return Err(format!("{} elements, expected {}", got.len(), want.len()));
    }
    for (k, (got, &(want, magnitude, terms))) in got.iter().zip(want).enumerate() {
        let (got, bound) = (got.wide().float(), terms as f64 * ulp(T::DTYPE, magnitude));
        let off = (got - want).abs();
        if off.is_nan() || off > bound {
            let at = (k / width, k % width);
            return Err(format!("{at:?}: {got:e}, expected {want:e} within {bound:e}"));
        }
    }
    Ok(())
}

fn product<T: Real + Sample>(
    device: &Device,
    triplets: &Triplets<T>,
    rng: &mut Rng,
    dense: bool,
) -> Result<Checked> {
    let width = if dense { WIDTH } else { 1 };
    let x: Vec<T> = rng.moderate(COLUMNS * width);
    let wide: Vec<f64> = x.iter().map(|v| v.wide().float()).collect();
    let x = match dense {
        true => DeviceArray::from_shape_slice(device, (COLUMNS, width), &x)?,
        false => DeviceArray::from_slice(device, &x)?,
    };
    let a = triplets.on(device)?;
    let got = a.matmul(&x)?.to_vec()?;
    let again = a.matmul(&x)?.to_vec()?;
    if got.iter().zip(&again).any(|(a, b)| !a.wide().same(b.wide())) {
        return Ok(Err("other bits when it is computed again".into()));
    }
    Ok(near(&got, &triplets.times(&wide, width), width))
}

fn transpose<T: Real + Sample>(
    device: &Device,
    triplets: &Triplets<T>,
    rng: &mut Rng,
) -> Result<Checked> {
    let x: Vec<T> = rng.moderate(ROWS);
    let mut want = vec![(0.0, 0.0, 0); COLUMNS];
    for (r, c, v) in triplets.each() {
        let product = v * x[r].wide().float();
        let (sum, magnitude, terms) = &mut want[c];
        (*sum, *magnitude, *terms) = (*sum + product, *magnitude + product.abs(), *terms + 1);
    }
    let x = DeviceArray::from_slice(device, &x)?;
    let got = triplets.on(device)?.transpose()?.matmul(&x)?.to_vec()?;
    Ok(near(&got, &want, 1))
}

/// Duplicates in the given order are an exact matter.
fn dense<T: Real + Sample>(
    device: &Device,
    triplets: &Triplets<T>,
    _: &mut Rng,
) -> Result<Checked> {
    let mut want = vec![T::of(Wide::Int(0)); ROWS * COLUMNS];
    let places = triplets.rows.iter().zip(&triplets.columns);
    for ((&r, &c), &v) in places.zip(&triplets.values) {
        let sum = &mut want[r as usize * COLUMNS + c as usize];
        *sum = *sum + v;
    }
    let got = triplets.on(device)?.to_dense()?.to_vec()?;
    Ok(match got.iter().zip(&want).position(|(g, w)| g != w) {
        None => Ok(()),
        Some(k) => {
            let at = (k / COLUMNS, k % COLUMNS);
            Err(format!("{at:?}: {}, expected {}", got[k].wide(), want[k].wide()))
        }
    })
}
