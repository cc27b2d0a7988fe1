//! Shapes and strides: the arithmetic of views, broadcasting and coalescing.

use crate::error::{Error, ErrorKind, Result};
use ndarray::{Axis, SliceInfoElem};
use smallvec::{SmallVec, smallvec};

/// Lengths of axes. Up to four need no allocation: small arrays spend their time in the allocator
/// otherwise.
pub(crate) type Dims = SmallVec<[usize; 4]>;

/// Steps between neighbours along axes, in elements.
pub(crate) type Strides = SmallVec<[isize; 4]>;

/// Where the elements of an array lie in its buffer, counted in elements.
///
/// Invariant: for every index inside `shape`, `offset + Σ index·stride` lies inside the buffer.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    pub shape: Dims,
    pub strides: Strides,
    pub offset: usize,
}

impl Clone for Layout {
    /// By copies of memory: `SmallVec::clone` goes from element to element, which small arrays feel.
    fn clone(&self) -> Layout {
        Layout {
            shape: Dims::from_slice(&self.shape),
            strides: Strides::from_slice(&self.strides),
            offset: self.offset,
        }
    }
}

/// The number of elements of `shape`, or an error when it does not fit the address space.
pub(crate) fn count(op: &'static str, shape: &[usize]) -> Result<usize> {
    // A zero anywhere makes the array empty, whatever the other lengths multiply to; but the
    // strides of such an array must still be computable, so the nonzero product is checked.
    let (mut nonzero, mut empty) = (1usize, false);
    for &d in shape {
        empty |= d == 0;
        nonzero = match nonzero.checked_mul(d.max(1)) {
            Some(n) if n <= isize::MAX as usize => n,
            _ => return Err(uncountable(op, shape)),
        };
    }
    Ok(if empty { 0 } else { nonzero })
}

#[cold]
fn uncountable(op: &'static str, shape: &[usize]) -> Error {
    let text = format!(
        "shape {shape:?} has more elements than the address space can count; use a smaller shape"
    );
    Error::new(ErrorKind::TooLarge, op, text)
}

/// Refuses an axis that `shape` does not have.
pub(crate) fn check_axis(op: &'static str, axis: Axis, shape: &[usize]) -> Result<usize> {
    if axis.0 < shape.len() {
        return Ok(axis.0);
    }
    let text =
        format!("axis {} is outside shape {shape:?}, which has {} axes", axis.0, shape.len());
    Err(Error::index(op, text))
}

/// Row-major strides of `shape`.
pub(crate) fn row_major(shape: &[usize]) -> Strides {
    let mut strides = match shape.len() {
        rank @ ..=4 => Strides::from_buf_and_len([0; 4], rank),
        rank => smallvec![0; rank],
    };
    let mut step = 1isize;
    for (s, &d) in strides.iter_mut().zip(shape).rev() {
        *s = step;
        step = step.saturating_mul(d.max(1) as isize);
    }
    strides
}

impl Layout {
    /// Row-major, from the buffer's first element.
    pub fn contiguous(shape: &[usize]) -> Layout {
        Layout { shape: Dims::from_slice(shape), strides: row_major(shape), offset: 0 }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when the elements follow each other in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1isize;
        for (&d, &s) in self.shape.iter().zip(&self.strides).rev() {
            if d == 0 {
                return true;
            }
            if d != 1 {
                if s != step {
                    return false;
                }
                step *= d as isize;
            }
        }
        true
    }

    /// The first and one past the last element touched, as buffer positions.
    #[cfg(test)]
    pub fn span(&self) -> (usize, usize) {
        if self.len() == 0 {
            return (self.offset, self.offset);
        }
        let (mut low, mut high) = (self.offset as isize, self.offset as isize);
        for (&d, &s) in self.shape.iter().zip(&self.strides) {
            let reach = (d as isize - 1) * s;
            if reach < 0 { low += reach } else { high += reach }
        }
        (low as usize, high as usize + 1)
    }

    /// Strides with which this layout reads as `shape` (broadcast aligned at the last axis).
    /// The caller has checked that it fits.
    pub fn broadcast_strides(&self, shape: &[usize]) -> Strides {
        let lead = shape.len() - self.shape.len();
        let mut strides: Strides = smallvec![0; shape.len()];
        for (k, (&d, &s)) in self.shape.iter().zip(&self.strides).enumerate() {
            if d != 1 {
                strides[lead + k] = s;
            }
        }
        strides
    }

    pub fn broadcast(&self, op: &'static str, shape: &[usize]) -> Result<Layout> {
        count(op, shape)?;
        let fits = shape.len() >= self.shape.len()
            && self.shape.iter().rev().zip(shape.iter().rev()).all(|(&a, &b)| a == b || a == 1);
        if !fits {
            return Err(Error::shape(
                op,
                format!(
                    "shape {:?} does not broadcast to {shape:?}: aligned at the last axis, each length must be equal or 1",
                    self.shape
                ),
            ));
        }
        Ok(Layout {
            strides: self.broadcast_strides(shape),
            shape: Dims::from_slice(shape),
            offset: self.offset,
        })
    }

    pub fn permute(&self, op: &'static str, axes: &[usize]) -> Result<Layout> {
        let mut seen: SmallVec<[bool; 8]> = smallvec![false; self.shape.len()];
        let valid = axes.len() == self.shape.len()
            && axes.iter().all(|&a| a < seen.len() && !std::mem::replace(&mut seen[a], true));
        if !valid {
            return Err(Error::index(
                op,
                format!(
                    "axes {axes:?} are no permutation of the {} axes of shape {:?}",
                    self.shape.len(),
                    self.shape
                ),
            ));
        }
        Ok(Layout {
            shape: axes.iter().map(|&a| self.shape[a]).collect(),
            strides: axes.iter().map(|&a| self.strides[a]).collect(),
            offset: self.offset,
        })
    }

    /// The same elements under another shape without moving them, or `None` when that is
    /// impossible. The caller has checked that the counts agree.
    pub fn reshape(&self, shape: &[usize]) -> Option<Layout> {
        if self.len() == 0 {
            return Some(Layout {
                shape: Dims::from_slice(shape),
                strides: row_major(shape),
                offset: self.offset,
            });
        }
        // Runs of old axes that can be walked with one stride, outermost first.
        let (dims, strides) = coalesce(&self.shape, &[&self.strides]);
        let strides = &strides[0];
        let mut new: Strides = smallvec![0; shape.len()];
        let mut axis = shape.len();
        for (&d, &s) in dims.iter().zip(strides).rev() {
            // Fill this run with trailing new axes until it is used up.
            let mut left = d;
            let mut step = s;
            while left > 1 {
                axis = axis.checked_sub(1)?;
                let want = shape[axis];
                new[axis] = step;
                if left % want != 0 {
                    return None;
                }
                left /= want;
                step *= want as isize;
            }
        }
        // What is left are axes of length one.
        Some(Layout { shape: Dims::from_slice(shape), strides: new, offset: self.offset })
    }

    /// NumPy's basic slicing; out-of-range ends are errors, as in ndarray.
    pub fn slice(&self, op: &'static str, info: &[SliceInfoElem]) -> Result<Layout> {
        let mut out = Layout { shape: Dims::new(), strides: Strides::new(), offset: self.offset };
        let mut axis = 0;
        let outside = |what: String, axis: usize| {
            Error::index(op, format!("{what} is outside axis {axis} of shape {:?}", self.shape))
        };
        for elem in info {
            if matches!(elem, SliceInfoElem::NewAxis) {
                out.shape.push(1);
                out.strides.push(0);
                continue;
            }
            let (Some(&dim), Some(&stride)) = (self.shape.get(axis), self.strides.get(axis)) else {
                return Err(Error::index(
                    op,
                    format!(
                        "more slices than the {} axes of shape {:?}",
                        self.shape.len(),
                        self.shape
                    ),
                ));
            };
            let d = dim as isize;
            match *elem {
                SliceInfoElem::Index(i) => {
                    let at = if i < 0 { i + d } else { i };
                    if at < 0 || at >= d {
                        return Err(outside(format!("index {i}"), axis));
                    }
                    out.offset = (out.offset as isize + at * stride) as usize;
                }
                SliceInfoElem::Slice { start, end, step } => {
                    if step == 0 {
                        return Err(Error::argument(
                            op,
                            format!("step 0 on axis {axis}; a step is any other integer"),
                        ));
                    }
                    let from = if start < 0 { start + d } else { start };
                    let to = end.map_or(d, |e| if e < 0 { e + d } else { e });
                    if from < 0 || from > d || to < 0 || to > d {
                        return Err(outside(
                            format!(
                                "slice {start}..{}",
                                end.map_or(String::new(), |e| e.to_string())
                            ),
                            axis,
                        ));
                    }
                    let span = (to - from).max(0);
                    // `isize::MIN` has no absolute value; as a step it takes one element.
                    let width = step.checked_abs().unwrap_or(isize::MAX);
                    let len = if span == 0 { 0 } else { (span - 1) / width + 1 };
                    if len > 0 {
                        // A negative step walks the same range from its end, as in ndarray.
                        let first = if step > 0 { from } else { to - 1 };
                        out.offset = (out.offset as isize + first * stride) as usize;
                    }
                    out.shape.push(len as usize);
                    out.strides.push(if len > 1 { stride * step } else { 0 });
                }
                SliceInfoElem::NewAxis => {}
            }
            axis += 1;
        }
        out.shape.extend_from_slice(&self.shape[axis..]);
        out.strides.extend_from_slice(&self.strides[axis..]);
        Ok(out)
    }
}

/// The shape that several operands broadcast to, or `None`.
pub(crate) fn broadcast_shapes(a: &[usize], b: &[usize]) -> Option<Dims> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut out = Dims::from_slice(long);
    let lead = long.len() - short.len();
    for (o, &d) in out[lead..].iter_mut().zip(short) {
        if *o == 1 {
            *o = d;
        } else if d != 1 && d != *o {
            return None;
        }
    }
    Some(out)
}

/// Merges neighbouring axes that every operand walks with one stride, and drops axes of length
/// one: fewer axes, the same elements in the same order. An array of one element has no axes.
pub(crate) fn coalesce(
    shape: &[usize],
    operands: &[impl AsRef<[isize]>],
) -> (Dims, SmallVec<[Strides; 4]>) {
    let mut dims = Dims::new();
    let mut out: SmallVec<[Strides; 4]> = smallvec![Strides::new(); operands.len()];
    for (axis, &d) in shape.iter().enumerate() {
        if d == 1 {
            continue;
        }
        let merge = !dims.is_empty()
            && operands.iter().zip(&out).all(|(s, o)| {
                let s = s.as_ref();
                o.last().is_some_and(|&last| s[axis].checked_mul(d as isize) == Some(last))
            });
        if merge {
            if let Some(last) = dims.last_mut() {
                *last *= d;
            }
            for (s, o) in operands.iter().zip(&mut out) {
                if let Some(last) = o.last_mut() {
                    *last = s.as_ref()[axis];
                }
            }
        } else {
            dims.push(d);
            for (s, o) in operands.iter().zip(&mut out) {
                o.push(s.as_ref()[axis]);
            }
        }
    }
    (dims, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l(shape: &[usize]) -> Layout {
        Layout::contiguous(shape)
    }

    #[test]
    fn reshape_of_views() {
        let a = l(&[4, 6]);
        assert_eq!(a.reshape(&[2, 2, 3, 2]).unwrap().strides[..], [12, 6, 2, 1]);
        assert_eq!(a.reshape(&[24, 1]).unwrap().strides[0], 1);
        let t = a.permute("t", &[1, 0]).unwrap();
        assert!(t.reshape(&[24]).is_none());
        assert_eq!(t.reshape(&[2, 3, 4]).unwrap().strides[..], [3, 1, 6]);
        let every_other =
            a.slice("s", &[SliceInfoElem::Slice { start: 0, end: None, step: 2 }]).unwrap();
        assert!(every_other.reshape(&[12]).is_none());
        assert_eq!(every_other.reshape(&[2, 2, 3]).unwrap().strides[..], [12, 3, 1]);
        assert_eq!(l(&[]).reshape(&[1, 1]).unwrap().shape[..], [1, 1]);
    }

    #[test]
    fn negative_steps_follow_ndarray() {
        let x = ndarray::Array1::from_iter(0..10usize);
        for (start, end, step) in
            [(0, None, -1), (2, Some(9), -3), (1, Some(-1), 2), (5, Some(5), -2), (7, Some(3), -1)]
        {
            let elem = SliceInfoElem::Slice { start, end, step };
            let got = l(&[10]).slice("s", &[elem]).unwrap();
            let want = x.slice(ndarray::Slice::new(start, end, step).pipe());
            let got: Vec<usize> = (0..got.shape[0])
                .map(|i| (got.offset as isize + i as isize * got.strides[0]) as usize)
                .collect();
            assert_eq!(got, want.to_vec(), "{start} {end:?} {step}");
        }
    }

    trait Pipe {
        fn pipe(self) -> ndarray::SliceInfo<[SliceInfoElem; 1], ndarray::Ix1, ndarray::Ix1>;
    }
    impl Pipe for ndarray::Slice {
        fn pipe(self) -> ndarray::SliceInfo<[SliceInfoElem; 1], ndarray::Ix1, ndarray::Ix1> {
            ndarray::SliceInfo::try_from([SliceInfoElem::from(self)]).unwrap()
        }
    }

    #[test]
    fn coalesces_what_can_be_walked_at_once() {
        let (d, s) = coalesce(&[2, 1, 3, 4], &[&[12, 7, 4, 1], &[0, 0, 4, 1]]);
        assert_eq!((d, s), (smallvec![2, 12], smallvec![smallvec![12, 1], smallvec![0, 1]]));
        assert_eq!(coalesce(&[1, 1], &[[5, 5]]).0, Dims::new());
    }

    #[test]
    fn span_stays_inside() {
        let v = l(&[5, 4])
            .slice(
                "s",
                &[
                    SliceInfoElem::Slice { start: 1, end: Some(4), step: -2 },
                    SliceInfoElem::Index(-1),
                ],
            )
            .unwrap();
        assert_eq!(v.span(), (7, 16));
    }

    #[test]
    fn counts_overflow() {
        assert!(count("zeros", &[usize::MAX, 2]).is_err());
        assert!(count("zeros", &[usize::MAX, 2, 0]).is_err());
        assert_eq!(count("zeros", &[3, 0]).unwrap(), 0);
    }
}
