//! Parts with some rows of their neighbours, for stencils.

use super::{ShardedArray, ShardedExpr, Split, along, from_front};
use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::conv2d::Border;
use crate::ops::copy;
use std::fmt;

/// What lies beyond the ends of an axis. For a row `a b c d`:
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boundary {
    /// `0 0 | a b c d | 0 0`
    Zero,
    /// `a a | a b c d | d d`
    Nearest,
    /// `c b | a b c d | c b`, repeated where the halo reaches further. An axis of length 1 repeats its
    /// element.
    Reflect,
    /// `c d | a b c d | a b`, as on a ring.
    Wrap,
}

impl From<Border> for Boundary {
    fn from(border: Border) -> Boundary {
        match border {
            Border::Zero => Boundary::Zero,
            Border::Nearest => Boundary::Nearest,
            Border::Reflect => Boundary::Reflect,
            Border::Wrap => Boundary::Wrap,
        }
    }
}

impl Boundary {
    /// The row of an axis of length `n > 0` that stands at position `at`; `None` for zeros.
    fn row(self, at: isize, n: usize) -> Option<usize> {
        let last = n as isize - 1;
        if (0..=last).contains(&at) {
            return Some(at as usize);
        }
        match self {
            Boundary::Zero => None,
            Boundary::Nearest => Some(at.clamp(0, last) as usize),
            Boundary::Reflect if last == 0 => Some(0),
            Boundary::Reflect => {
                let k = at.rem_euclid(2 * last);
                Some(k.min(2 * last - k) as usize)
            }
            Boundary::Wrap => Some(at.rem_euclid(n as isize) as usize),
        }
    }
}

/// A [`ShardedArray`] whose parts have rows of their neighbours before and after their own, made by
/// [`ShardedArray::with_halo`].
pub struct Halo<T> {
    split: Split,
    axis: usize,
    width: usize,
    parts: Vec<DeviceArray<T>>,
}

impl<T: Element> fmt::Debug for Halo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Halo { split, axis, width, .. } = self;
        write!(f, "Halo<{}> of {width} along axis {axis} as {:?}", T::DTYPE, split.ranges)
    }
}

/// Rows that a member needs: one after the other of one member, or zeros.
#[derive(Clone, Copy)]
struct Piece {
    /// The member that has them and the first of its rows.
    from: Option<(usize, usize)>,
    len: usize,
}

impl<T: Element> ShardedArray<T> {
    /// Gives every part `width` rows more at both ends of the split axis: those that lie there in the
    /// whole array, whichever members have them, or what the boundary says beyond its ends.
    ///
    /// ```
    /// use clan::{Boundary, Device, DeviceArray, Group, ndarray::Axis};
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let x = DeviceArray::from_slice(&Device::host(), &[1.0f32, 2.0, 4.0, 8.0])?;
    /// let halo = group.shard(&x, Axis(0))?.with_halo(1, Boundary::Wrap)?;
    /// assert_eq!(halo.parts()[0].to_vec()?, [8.0, 1.0, 2.0, 4.0]);
    /// // The differences of neighbours.
    /// let slope = (halo.shifted(1)? - halo.shifted(-1)?).eval()?;
    /// assert_eq!(slope.to_vec()?, [-6.0, 3.0, 6.0, -3.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis of length 0 with a boundary that repeats rows; a width beyond the address space; out of
    /// memory; a failure of a device.
    pub fn with_halo(&self, width: usize, boundary: impl Into<Boundary>) -> Result<Halo<T>> {
        const OP: &str = "with_halo";
        let (n, boundary) = (self.split.len(), boundary.into());
        if n == 0 && width > 0 && boundary != Boundary::Zero {
            let text = format!(
                "shape {:?} has no rows along axis {} that {boundary:?} could repeat; take Boundary::Zero",
                self.shape, self.axis
            );
            return Err(Error::argument(OP, text));
        }
        let most = width.checked_mul(2).and_then(|w| w.checked_add(n));
        if most.is_none_or(|rows| rows > isize::MAX as usize) {
            let text = format!("a halo of {width} rows is beyond the address space");
            return Err(Error::new(ErrorKind::TooLarge, OP, text));
        }
        let needs: Vec<[Vec<Piece>; 2]> = self
            .ranges()
            .iter()
            .map(|own| {
                let (start, end, w) = (own.start as isize, own.end as isize, width as isize);
                [self.pieces(start - w..start, boundary), self.pieces(end..end + w, boundary)]
            })
            .collect();
        let rows = self.rows()?;
        let came = self.exchange(OP, &rows, &needs)?;
        let parts = self.split.each(OP, |m| {
            let [before, _] = &needs[m];
            let (before, after) = came[m].split_at(before.len());
            let all = before.iter().chain([&rows[m]]).chain(after);
            let all = all.map(|rows| Ok(rows.raw()?.clone())).collect::<Result<Vec<_>>>()?;
            let mut shape = rows[m].shape().to_vec();
            shape[0] += 2 * width;
            let device = &self.group().members()[m];
            let whole = copy::concatenated(OP, device, &shape, 0, &all)?;
            from_front(&DeviceArray::from_raw(whole), self.axis)
        })?;
        Ok(Halo { split: self.split.clone(), axis: self.axis, width, parts })
    }

    /// Whose rows lie at these positions.
    fn pieces(&self, at: std::ops::Range<isize>, boundary: Boundary) -> Vec<Piece> {
        let n = self.split.len();
        let mut pieces: Vec<Piece> = Vec::new();
        for position in at {
            let row = if n == 0 { None } else { boundary.row(position, n) };
            let from = row.map(|row| {
                // The first whose rows do not end before: it has this one.
                let m = self.ranges().partition_point(|r| r.end <= row);
                (m, row - self.ranges()[m].start)
            });
            let follows = |p: &Piece| match (p.from, from) {
                (None, None) => true,
                (Some((a, first)), Some((b, row))) => a == b && first + p.len == row,
                _ => false,
            };
            match pieces.last_mut() {
                Some(last) if follows(last) => last.len += 1,
                _ => pieces.push(Piece { from, len: 1 }),
            }
        }
        pieces
    }

    /// Brings all pieces to the members that need them, in their order.
    fn exchange(
        &self,
        op: &'static str,
        rows: &[DeviceArray<T>],
        needs: &[[Vec<Piece>; 2]],
    ) -> Result<Vec<Vec<DeviceArray<T>>>> {
        let p = rows.len();
        let members = self.group().members();
        let ndim = self.ndim();
        let part = |from: usize, first: usize, len: usize| {
            rows[from].slice(along(ndim, 0, first..first + len))
        };
        // What is on another device travels; all that one member sends to another at once.
        let travels = |to: usize, from: usize| members[to] != members[from];
        let mut sent: Vec<Vec<Vec<RawArray>>> = vec![vec![Vec::new(); p]; p];
        let mut counts = vec![vec![0; p]; p];
        for (to, need) in needs.iter().enumerate() {
            for piece in need.iter().flatten() {
                if let Some((from, first)) = piece.from
                    && travels(to, from)
                {
                    sent[from][to].push(part(from, first, piece.len)?.raw()?.clone());
                    counts[from][to] += piece.len;
                }
            }
        }
        let mut dealt = Vec::new();
        if counts.iter().flatten().any(|&c| c > 0) {
            let packed = self.split.each(op, |m| {
                let mut shape = rows[m].shape().to_vec();
                shape[0] = counts[m].iter().sum();
                let all: Vec<RawArray> = sent[m].concat();
                if all.is_empty() {
                    return part(m, 0, 0);
                }
                let raw = copy::concatenated(op, &members[m], &shape, 0, &all)?;
                Ok(DeviceArray::from_raw(raw))
            })?;
            dealt = self.group().mover().all_to_all_as(op, &packed, &counts)?.into_results();
        }
        self.split.each(op, |to| {
            // Where the next piece of each member lies in what came from all.
            let mut next: Vec<usize> =
                (0..p).map(|m| (0..m).map(|i| counts[i][to]).sum()).collect();
            let mut came = Vec::new();
            for piece in needs[to].iter().flatten() {
                came.push(match piece.from {
                    Some((from, _)) if travels(to, from) => {
                        let at = next[from];
                        next[from] += piece.len;
                        dealt[to].slice(along(ndim, 0, at..at + piece.len))?
                    }
                    Some((from, first)) => part(from, first, piece.len)?,
                    None => {
                        let mut shape = rows[to].shape().to_vec();
                        shape[0] = piece.len;
                        zeros(&members[to], shape)?
                    }
                });
            }
            Ok(came)
        })
    }
}

/// Zeros also where the device cannot compute in the type, whose bits are all zero.
fn zeros<T: Element>(device: &Device, shape: Vec<usize>) -> Result<DeviceArray<T>> {
    if device.supports(T::DTYPE) {
        return DeviceArray::zeros(device, shape);
    }
    debug_assert_eq!(T::DTYPE.size(), DType::U64.size());
    let bits = DeviceArray::<u64>::zeros(device, shape)?;
    Ok(DeviceArray::from_raw(RawArray { dtype: T::DTYPE, ..bits.raw()?.clone() }))
}

impl<T: Element> Halo<T> {
    /// What every member has: its rows of the split axis, and as many more before and after as the halo is
    /// wide.
    pub fn parts(&self) -> &[DeviceArray<T>] {
        &self.parts
    }

    /// Rows at each end.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Every element's neighbour at a distance along the split axis, as an expression of the array's
    /// shape.
    ///
    /// # Errors
    /// A distance above the width.
    pub fn shifted(&self, by: isize) -> Result<ShardedExpr<T>> {
        const OP: &str = "shifted";
        if by.unsigned_abs() > self.width {
            let text = format!("a shift by {by} in a halo of {}; make it wider", self.width);
            return Err(Error::index(OP, text));
        }
        let first = (self.width as isize + by) as usize;
        let parts = self.split.each(OP, |m| {
            let own = first..first + self.split.ranges[m].len();
            self.parts[m].slice(along(self.parts[m].ndim(), self.axis, own))
        })?;
        Ok(ShardedArray::new(self.split.clone(), self.axis, parts).expr())
    }

    /// Computes every part from one with its halo: `f` gets the wider array and gives back one with as many
    /// rows as the member has.
    ///
    /// # Errors
    /// What `f` returns; a result of another length, or on another device.
    pub fn map<U: Element>(
        &self,
        f: impl Fn(&DeviceArray<T>) -> Result<DeviceArray<U>>,
    ) -> Result<ShardedArray<U>> {
        const OP: &str = "map";
        let parts = self.split.each(OP, |m| f(&self.parts[m]))?;
        let first = parts[0].shape();
        for (m, part) in parts.iter().enumerate() {
            let (device, rows) = (&self.split.group.members()[m], self.split.ranges[m].len());
            let of = |e: Error| e.of_member(OP, m, &device.to_string());
            let mut wanted = first.to_vec();
            if let Some(d) = wanted.get_mut(self.axis) {
                *d = rows;
            }
            if part.shape() != wanted || wanted.len() <= self.axis {
                let text = format!(
                    "the function made shape {:?} of {:?}; it gives back {rows} rows along axis {}, without the halo of {}",
                    part.shape(),
                    self.parts[m].shape(),
                    self.axis,
                    self.width
                );
                return Err(of(Error::shape(OP, text)));
            }
            if part.device() != device {
                let text = "the function's result is on another device";
                return Err(of(Error::new(ErrorKind::DeviceMismatch, OP, text)));
            }
        }
        Ok(ShardedArray::new(self.split.clone(), self.axis, parts))
    }
}
