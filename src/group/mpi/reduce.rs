//! The collectives of groups over ranks that combine.

use super::MpiGroup;
use super::agree::{Header, digest, first, shape_digest};
use super::staged::{Room, Staged, To, reduce, scan_before};
use crate::array::{DeviceArray, RawArray};
use crate::element::Element;
use crate::error::Result;
use crate::group::cut::even;
use crate::group::start::{row, rows, with_rows};
use crate::group::{Operator, ReduceOp};
use crate::layout::Layout;
use crate::ops::combine::{Combine, Combining, Part};
use std::sync::Arc;

/// Collectives that combine. All ranks make the same calls in the same order.
///
/// Arrays and results are those of this rank's members, in their order; roots are numbered among all
/// members. Everything else is as in [`Group`](crate::Group), but for the waiting: results are complete
/// when the call returns.
impl MpiGroup {
    /// The rank's members' arrays combined, on the host.
    fn combined<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
        operator: &Operator<T>,
    ) -> Result<(Staged, Arc<Combine>)> {
        self.local.fits(op, parts)?;
        self.local.one_shape(op, parts)?;
        let combine = operator.combine(op)?;
        let array = match parts {
            [only] => only.clone(),
            _ => first(self.local.reduce(parts, 0, whole(operator))?.wait()?, op)?,
        };
        Ok((Staged::of(&self.host, &array)?, combine))
    }

    /// What a reducing call says to the other ranks.
    fn reducing<T: Element>(
        operator: &Operator<T>,
        parts: &[DeviceArray<T>],
        root: usize,
    ) -> Header {
        let shape = parts.first().map_or(0, |part| shape_digest(part.shape()));
        let operator = match operator {
            Operator::Own(own) => digest(own.name().bytes()),
            Operator::User(user) => digest(user.name().bytes()),
        };
        Header { operator, shape, root: root as u64, rows: 0 }
    }

    /// Every member gets the arrays of all members combined.
    ///
    /// # Errors
    /// As [`Group::all_reduce`](crate::Group::all_reduce); a rank that calls something else, or refuses its part.
    pub fn all_reduce<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Vec<DeviceArray<T>>> {
        const OP: &str = "all_reduce";
        let operator = operator.into();
        let header = Self::reducing(&operator, parts, 0);
        let prepared = self.combined(OP, parts, &operator).and_then(|(x, combine)| {
            let y = self.room::<T>(OP, x.shape())?;
            Ok((x, y, combine))
        });
        let ((x, mut y, combine), _) = self.agree::<T, _>(OP, header, prepared)?;
        reduce(OP, &self.wire, (&x, &mut y), &combine, &To::All)?;
        self.averaged(OP, &operator, &combine, &y)?;
        self.fan_out(y.full())
    }

    /// As [`MpiGroup::all_reduce`], in place of the arrays, which stay as they are when it fails.
    ///
    /// # Errors
    /// As [`MpiGroup::all_reduce`].
    pub fn all_reduce_in_place<T: Element>(
        &self,
        parts: &mut [DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<()> {
        let results = self.all_reduce(parts, operator)?;
        parts.iter_mut().zip(results).for_each(|(part, result)| *part = result);
        Ok(())
    }

    fn averaged<T: Element>(
        &self,
        op: &'static str,
        operator: &Operator<T>,
        combine: &Combine,
        y: &Room,
    ) -> Result<()> {
        match operator.averages() {
            true => y.share(op, combine, self.len()),
            false => Ok(()),
        }
    }

    /// The arrays of all members combined, for the root alone: its rank gets the result.
    ///
    /// # Errors
    /// As [`MpiGroup::all_reduce`]; a root that is no member.
    pub fn reduce<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        root: usize,
        operator: impl Into<Operator<T>>,
    ) -> Result<Option<DeviceArray<T>>> {
        const OP: &str = "reduce";
        let operator = operator.into();
        let header = Self::reducing(&operator, parts, root);
        let prepared = self.root(OP, "root", root).and_then(|place| {
            let (x, combine) = self.combined(OP, parts, &operator)?;
            let shape = if place.0 == self.rank() { x.shape().to_vec() } else { vec![0] };
            let y = self.room::<T>(OP, &shape)?;
            Ok((x, y, combine, place))
        });
        let ((x, mut y, combine, (rank, member)), _) = self.agree::<T, _>(OP, header, prepared)?;
        reduce(OP, &self.wire, (&x, &mut y), &combine, &To::Root(rank))?;
        if rank != self.rank() {
            return Ok(None);
        }
        self.averaged(OP, &operator, &combine, &y)?;
        let result: DeviceArray<T> = y.full().into_array();
        result.to_device(&self.local.members()[member]).map(Some)
    }

    /// Combines the arrays of all members, of which each gets its share of axis 0.
    ///
    /// # Errors
    /// As [`MpiGroup::all_reduce`].
    pub fn reduce_scatter<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Vec<DeviceArray<T>>> {
        const OP: &str = "reduce_scatter";
        let operator = operator.into();
        let header = Self::reducing(&operator, parts, 0);
        let prepared = self.combined(OP, parts, &operator).and_then(|(x, combine)| {
            let shares = self.shares(even(rows(x.shape()), self.len()));
            let own = shares[self.rank()].iter().sum();
            let y = self.room::<T>(OP, &with_rows(x.shape(), own))?;
            Ok((x, y, combine, shares))
        });
        let ((x, mut y, combine, shares), _) = self.agree::<T, _>(OP, header, prepared)?;
        let each = row(x.shape());
        let counts: Vec<usize> = shares.iter().map(|s| s.iter().sum::<usize>() * each).collect();
        reduce(OP, &self.wire, (&x, &mut y), &combine, &To::Ranges(&counts))?;
        self.averaged(OP, &operator, &combine, &y)?;
        self.deal_out(y.full(), &shares[self.rank()])
    }

    /// Every member gets the arrays of the members up to and with itself combined.
    ///
    /// # Errors
    /// As [`MpiGroup::all_reduce`]; an average.
    pub fn scan<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Vec<DeviceArray<T>>> {
        self.scanned("scan", parts, operator.into())
    }

    /// Every member gets the arrays of the members before it combined, the first one the value that
    /// changes nothing.
    ///
    /// # Errors
    /// As [`MpiGroup::scan`]; an operator of the user's without an identity.
    pub fn exclusive_scan<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Vec<DeviceArray<T>>> {
        self.scanned("exclusive_scan", parts, operator.into())
    }

    fn scanned<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
        operator: Operator<T>,
    ) -> Result<Vec<DeviceArray<T>>> {
        let header = Self::reducing(&operator, parts, 0);
        let prepared = (|| {
            let scan = |exclusive: bool| match exclusive {
                true => self.local.exclusive_scan(parts, operator.clone()),
                false => self.local.scan(parts, operator.clone()),
            };
            let own = scan(op == "exclusive_scan")?.wait()?;
            let (x, combine) = self.combined(op, parts, &operator)?;
            let y = self.room::<T>(op, x.shape())?;
            Ok((own, x, y, combine))
        })();
        let ((own, x, mut y, combine), _) = self.agree::<T, _>(op, header, prepared)?;
        scan_before(op, &self.wire, (&x, &mut y), &combine)?;
        if self.rank() == 0 {
            return Ok(own);
        }
        let before: Vec<DeviceArray<T>> = self.fan_out(y.full())?;
        before.iter().zip(&own).map(|(a, b)| combine_arrays(op, &combine, a, b)).collect()
    }
}

/// What members combine with before the whole is averaged.
fn whole<T: Element>(operator: &Operator<T>) -> Operator<T> {
    match operator {
        Operator::Own(ReduceOp::Average) => Operator::Own(ReduceOp::Sum),
        other => other.clone(),
    }
}

/// `a ∘ b`, where they are.
fn combine_arrays<T: Element>(
    op: &'static str,
    combine: &Combine,
    a: &DeviceArray<T>,
    b: &DeviceArray<T>,
) -> Result<DeviceArray<T>> {
    let (a, b) = (a.to_contiguous()?, b.to_contiguous()?);
    let (a, b) = (a.raw()?, b.raw()?);
    let layout = Layout::contiguous(&a.layout.shape);
    let buffer = RawArray::alloc(op, a.device(), &layout, T::DTYPE)?;
    let part = |raw| -> Part<'_> {
        let raw: &RawArray = raw;
        Part { buffer: &raw.buffer, offset: raw.layout.offset }
    };
    let n = a.layout.shape.iter().product();
    if n > 0 {
        let out = Part { buffer: &buffer, offset: 0 };
        Combining { op, combine, out, a: part(a), b: part(b), n }.run()?;
    }
    Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: T::DTYPE }))
}
