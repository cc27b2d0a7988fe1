//! The cases of `sort`: against the standard library's stable sort.

use super::oracle::{Rng, Sample, Wide};
use super::{Group, Outcome, each_type, seed};
use crate::Side;
use crate::array::DeviceArray;
use crate::device::Device;
use crate::error::Result;
use half::{bf16, f16};
use ndarray::Axis;
use std::cmp::Ordering;

/// Few, as many as a group takes, and more.
const LENGTHS: [usize; 3] = [2, 700, 9001];

type Checked = std::result::Result<(), String>;

/// The order of sorts: integers by value; floats by value, −0 before 0, every NaN last.
pub fn order(a: Wide, b: Wide) -> Ordering {
    match (a, b) {
        (Wide::Int(a), Wide::Int(b)) => a.cmp(&b),
        (a, b) => {
            let (a, b) = (a.float(), b.float());
            match (a.is_nan(), b.is_nan()) {
                (false, false) => a.total_cmp(&b),
                (a, b) => a.cmp(&b),
            }
        }
    }
}

/// Elements and their positions in order.
fn sorted<T: Sample>(x: &[T]) -> Vec<(T, u64)> {
    let mut both: Vec<(T, u64)> = x.iter().copied().zip(0..).collect();
    both.sort_by(|a, b| order(a.0.wide(), b.0.wide()));
    both
}

pub(super) fn same<T: Sample>(what: &str, got: &DeviceArray<T>, want: &[T]) -> Result<Checked> {
    let got = got.to_vec()?;
    if got.len() != want.len() {
        return Ok(Err(format!("{what}: {} elements, expected {}", got.len(), want.len())));
    }
    let wrong = got.iter().zip(want).position(|(g, w)| !g.wide().same(w.wide()));
    Ok(wrong.map_or(Ok(()), |i| {
        let (got, want) = (got[i].wide(), want[i].wide());
        Err(format!("{what}: element {i} is {got}, expected {want}"))
    }))
}

/// A case: device and elements.
type Run<T> = fn(&Device, &[T]) -> Result<Checked>;

fn array<T: Sample>(device: &Device, x: &[T]) -> Result<DeviceArray<T>> {
    DeviceArray::from_slice(device, x)
}

fn both(a: Checked, b: impl FnOnce() -> Result<Checked>) -> Result<Checked> {
    if a.is_err() { Ok(a) } else { b() }
}

fn keys<T: Sample>(both: &[(T, u64)]) -> Vec<T> {
    both.iter().map(|p| p.0).collect()
}

fn positions<T>(both: &[(T, u64)]) -> Vec<u64> {
    both.iter().map(|p| p.1).collect()
}

fn of_type<T: Sample>() -> Vec<Group> {
    let ops: [(&'static str, Run<T>); 8] = [
        ("sort", |device, x| same("values", &array(device, x)?.sort(Axis(0))?, &keys(&sorted(x)))),
        ("argsort", |device, x| {
            same("positions", &array(device, x)?.argsort(Axis(0))?, &positions(&sorted(x)))
        }),
        ("sort_with", |device, x| {
            let want = sorted(x);
            let numbers: Vec<u64> = (0..x.len() as u64).collect();
            let sort = array(device, x)?.sorted(Axis(0));
            let (values, moved) = sort.with(&array(device, &numbers)?)?;
            both(same("values", &values, &keys(&want))?, || {
                same("payload", &moved, &positions(&want))
            })
        }),
        ("top_k", |device, x| {
            // Many are searched, few sorted.
            let many = if x.len() > 5000 { 70_001 } else { x.len() };
            let x: Vec<T> = (0..many).map(|i| x[i * 7919 % x.len()]).collect();
            let want = sorted(&x);
            let k = x.len().min(100);
            let (values, places) = array(device, &x)?.sorted(Axis(0)).first(k)?;
            both(same("values", &values, &keys(&want[..k]))?, || {
                same("positions", &places, &positions(&want[..k]))
            })
        }),
        ("searchsorted", |device, x| {
            let (a, v) = x.split_at(x.len() / 2);
            // Looked for one key after the other.
            let v = &v[..v.len().min(300)];
            let a = keys(&sorted(a));
            let count = |v: T, until: Ordering| {
                let upto = a.iter().position(|k| order(k.wide(), v.wide()) > until);
                upto.unwrap_or(a.len()) as u64
            };
            let (keys, values) = (array(device, &a)?, array(device, v)?);
            let left: Vec<u64> = v.iter().map(|&v| count(v, Ordering::Less)).collect();
            let right: Vec<u64> = v.iter().map(|&v| count(v, Ordering::Equal)).collect();
            both(same("left", &keys.searchsorted(&values, Side::Left)?, &left)?, || {
                same("right", &keys.searchsorted(&values, Side::Right)?, &right)
            })
        }),
        ("merge", |device, x| {
            let (a, b) = x.split_at(x.len() / 3);
            let (a, b) = (keys(&sorted(a)), keys(&sorted(b)));
            let want = sorted(&[&a[..], &b].concat());
            let number = |x: &[T], from: usize| -> Result<DeviceArray<u64>> {
                let numbers: Vec<u64> = (from as u64..(from + x.len()) as u64).collect();
                array(device, &numbers)
            };
            let (own, others) = (number(&a, 0)?, number(&b, a.len())?);
            let (x, y) = (array(device, &a)?, array(device, &b)?);
            let (merged, moved) = x.merge_with(&own, &y, &others)?;
            let alone = x.merge(&y)?;
            both(same("values alone", &alone, &keys(&want))?, || {
                both(same("values", &merged, &keys(&want))?, || {
                    same("payload", &moved, &positions(&want))
                })
            })
        }),
        ("unique", |device, x| {
            let alike = |a: Wide, b: Wide| a == b || a.float().is_nan() && b.float().is_nan();
            let mut want: Vec<(T, u64)> = Vec::new();
            for (v, _) in sorted(x) {
                match want.last_mut() {
                    Some((last, count)) if alike(last.wide(), v.wide()) => *count += 1,
                    _ => want.push((v, 1)),
                }
            }
            let x = array(device, x)?;
            let (values, counts) = x.unique_counts()?;
            let (_, inverse) = x.unique_inverse()?;
            // What the distinct elements are taken back to: of zeros the sign may differ.
            let back = values.to_vec()?;
            let back: Vec<T> = inverse.to_vec()?.iter().map(|&i| back[i as usize]).collect();
            let differs =
                back.iter().zip(x.to_vec()?).position(|(b, x)| !alike(b.wide(), x.wide()));
            both(same("values", &values, &keys(&want))?, || {
                both(same("counts", &counts, &positions(&want))?, || {
                    Ok(differs.map_or(Ok(()), |i| Err(format!("inverse: element {i} differs"))))
                })
            })
        }),
        ("is_sorted", |device, x| {
            let mut y = keys(&sorted(x));
            let up = |x: &[T]| x.windows(2).all(|w| order(w[0].wide(), w[1].wide()).is_le());
            let down = |x: &[T]| x.windows(2).all(|w| order(w[0].wide(), w[1].wide()).is_ge());
            for turn in 0..3 {
                let a = array(device, &y)?;
                let got = (a.is_sorted(Axis(0))?, a.sorted(Axis(0)).descending().is_sorted()?);
                if got != (up(&y), down(&y)) {
                    return Ok(Err(format!("ascending and descending are {got:?} at turn {turn}")));
                }
                // In the other direction, then with one element out of order.
                y.reverse();
                if turn == 1 {
                    y.rotate_left(x.len() / 2);
                }
            }
            Ok(Ok(()))
        }),
    ];
    let case = |(op, run): (&'static str, Run<T>)| {
        Group::one("sort", op, T::DTYPE, move |device| {
            let mut rng = Rng::new(seed(op, T::DTYPE));
            let specials = T::specials();
            let checked = LENGTHS.into_iter().try_for_each(|n| {
                let mut value = || match rng.below(4) {
                    0 => specials[rng.below(specials.len())],
                    _ => T::random(&mut rng),
                };
                let x: Vec<T> = (0..n).map(|_| value()).collect();
                match run(device, &x) {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(e)) => Err(Ok(Err(format!("{n} elements: {e}")))),
                    Err(e) => Err(Err(e)),
                }
            });
            // Keys are bits, which every device has.
            Outcome::of(device, &[], checked.err().unwrap_or(Ok(Ok(()))))
        })
    };
    ops.into_iter().map(case).collect()
}

pub(super) fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    each_type!(T => {
        groups.extend(of_type::<T>());
    });
    groups
}
