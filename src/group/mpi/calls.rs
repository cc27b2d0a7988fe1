//! The collectives of groups over ranks.

use super::MpiGroup;
use super::staged::{Room, Staged, To, reduce, scan_before};
use crate::array::{DeviceArray, RawArray};
use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::group::cut::even;
use crate::group::start::{row, rows, with_rows};
use crate::group::{Operator, ReduceOp};
use crate::layout::Layout;
use crate::ops::combine::{Combine, Combining, Part};
use std::sync::Arc;

/// What every rank tells before MPI moves elements: a call that would not fit fails on all of them.
#[derive(Clone, Copy, Default)]
struct Header {
    operator: u64,
    root: u64,
    /// What must be the same everywhere.
    shape: u64,
    /// What may differ: rows.
    rows: u64,
}

/// FNV-1a: ranks compare names and shapes by it.
fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn shape_digest(shape: &[usize]) -> u64 {
    digest(shape.iter().flat_map(|n| n.to_le_bytes()))
}

/// Most axes of an array that comes from another rank.
const AXES: usize = 16;

/// Collectives. All ranks make the same calls in the same order.
///
/// Arrays and results are those of this rank's members, in their order; roots are numbered among all
/// members. Everything else is as in [`Group`](crate::Group), but for the waiting: results are complete when
/// the call returns.
impl MpiGroup {
    /// Agrees with the other ranks on a call: what this rank has prepared, and the headers of all.
    fn agree<T: Element, X>(
        &self,
        op: &'static str,
        header: Header,
        prepared: Result<X>,
    ) -> Result<(X, Vec<Header>)> {
        let Header { operator, root, shape, rows } = header;
        let name = digest(op.bytes());
        let mine =
            [u64::from(prepared.is_ok()), name, T::DTYPE as u64, operator, root, shape, rows];
        let all = self.wire.all_gather_words(op, mine)?;
        let prepared = prepared?;
        if let Some(rank) = all.iter().position(|words| words[0] == 0) {
            let text = format!("rank {rank} refused its part of the call, and says why itself");
            return Err(Error::new(ErrorKind::Argument, op, text));
        }
        let what = [
            "",
            "another collective",
            "another element type",
            "another operator",
            "another root",
            "another shape",
        ];
        for (k, what) in what.iter().enumerate().skip(1) {
            if let Some(rank) = all.iter().position(|words| words[k] != all[0][k]) {
                let text = format!("rank {rank} calls it with {what} than rank 0");
                return Err(Error::new(ErrorKind::Argument, op, text));
            }
        }
        let headers = all
            .into_iter()
            .map(|[_, _, _, operator, root, shape, rows]| Header { operator, root, shape, rows })
            .collect();
        Ok((prepared, headers))
    }

    fn room<T: Element>(&self, op: &'static str, shape: &[usize]) -> Result<Room> {
        Room::new(op, &self.host, shape, T::DTYPE)
    }

    /// What is on the host, on every member of this rank.
    fn fan_out<T: Element>(&self, staged: Staged) -> Result<Vec<DeviceArray<T>>> {
        let array: DeviceArray<T> = staged.into_array();
        match self.local.members() {
            [only] => Ok(vec![array.to_device(only)?]),
            _ => Ok(self.relay.broadcast(&array, 0)?.wait()?.split_off(1)),
        }
    }

    /// Ranges of rows of what is on the host, one a member of this rank.
    fn deal_out<T: Element>(
        &self,
        staged: Staged,
        counts: &[usize],
    ) -> Result<Vec<DeviceArray<T>>> {
        let array: DeviceArray<T> = staged.into_array();
        let counts: Vec<usize> = std::iter::once(0).chain(counts.iter().copied()).collect();
        Ok(self.relay.scatter_v(&array, &counts, 0)?.wait()?.split_off(1))
    }

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

    /// The rank and the number there of a root.
    fn root(&self, op: &'static str, what: &str, member: usize) -> Result<(usize, usize)> {
        self.place(member).ok_or_else(|| {
            let text = format!(
                "{what} {member} is none of the {} members of all ranks; they are numbered from 0",
                self.len()
            );
            Error::new(ErrorKind::Index, op, text)
        })
    }

    /// Waits until all ranks have come here.
    ///
    /// # Errors
    /// A failure of MPI or of a member.
    pub fn barrier(&self) -> Result<()> {
        self.local.barrier()?;
        self.wire.barrier("barrier")
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

    /// What members have, by ranks.
    fn shares(&self, of_members: Vec<usize>) -> Vec<Vec<usize>> {
        let mut left = of_members.as_slice();
        self.sizes
            .iter()
            .map(|&size| {
                let (own, rest) = left.split_at(size);
                left = rest;
                own.to_vec()
            })
            .collect()
    }

    /// Every member gets the array of the root, which the root's rank passes and the others do not.
    ///
    /// # Errors
    /// As [`Group::broadcast`](crate::Group::broadcast); an array that is not passed by the root's rank alone.
    pub fn broadcast<T: Element>(
        &self,
        array: Option<&DeviceArray<T>>,
        root: usize,
    ) -> Result<Vec<DeviceArray<T>>> {
        const OP: &str = "broadcast";
        let (given, mut room, rank, _) = self.received(OP, array, root, |shape| shape.to_vec())?;
        let n = room.len();
        let at = room.ptr();
        if let Some(staged) = given {
            let ends = staged.ptr().cast_mut();
            // The root's memory is only read.
            self.wire.broadcast(OP, ends, n, T::DTYPE.size(), rank)?;
            return self.fan_out(staged);
        }
        self.wire.broadcast(OP, at, n, T::DTYPE.size(), rank)?;
        self.fan_out(room.full())
    }

    /// Every member gets its share of axis 0 of the root's array, which the root's rank passes and the
    /// others do not.
    ///
    /// # Errors
    /// As [`MpiGroup::broadcast`].
    pub fn scatter<T: Element>(
        &self,
        array: Option<&DeviceArray<T>>,
        root: usize,
    ) -> Result<Vec<DeviceArray<T>>> {
        const OP: &str = "scatter";
        let own_rows =
            |shape: &[usize]| self.shares(even(rows(shape), self.len()))[self.rank()].iter().sum();
        let (given, mut room, rank, shape) =
            self.received(OP, array, root, |shape| with_rows(shape, own_rows(shape)))?;
        let shares = self.shares(even(rows(&shape), self.len()));
        let counts: Vec<usize> =
            shares.iter().map(|s| s.iter().sum::<usize>() * row(&shape)).collect();
        let from = given.as_ref().map_or(std::ptr::null(), Staged::ptr);
        self.wire.scatter(OP, (from, room.ptr()), &counts, T::DTYPE.size(), rank)?;
        self.deal_out(room.full(), &shares[self.rank()])
    }

    /// The root's array where it is, room for what this rank gets, the root's rank, and the shape of the
    /// array.
    #[allow(clippy::type_complexity, reason = "four things that belong to one call")]
    fn received<T: Element>(
        &self,
        op: &'static str,
        array: Option<&DeviceArray<T>>,
        root: usize,
        gets: impl Fn(&[usize]) -> Vec<usize>,
    ) -> Result<(Option<Staged>, Room, usize, Vec<usize>)> {
        let prepared = self.root(op, "root", root).and_then(|(rank, member)| {
            if array.is_some() != (rank == self.rank()) {
                let text = format!(
                    "member {root} is on rank {rank}, this is rank {}: that rank passes the array, the others None",
                    self.rank()
                );
                return Err(Error::argument(op, text));
            }
            let Some(array) = array else { return Ok((None, rank)) };
            self.local.on_member(op, array, member)?;
            if array.shape().len() > AXES {
                let text = format!("{} axes; over MPI arrays have up to {AXES}", array.shape().len());
                return Err(Error::argument(op, text));
            }
            Ok((Some(Staged::of(&self.host, array)?), rank))
        });
        let header = Header { root: root as u64, ..Header::default() };
        let ((given, rank), _) = self.agree::<T, _>(op, header, prepared)?;
        // The others learn the shape, and may then find that they have no room for it.
        let mut words = [0u64; AXES + 1];
        if let Some(staged) = &given {
            words[0] = staged.shape().len() as u64;
            words[1..].iter_mut().zip(staged.shape()).for_each(|(w, &n)| *w = n as u64);
        }
        self.wire.broadcast(op, words.as_mut_ptr().cast(), AXES + 1, 8, rank)?;
        let shape: Vec<usize> =
            words[1..].iter().take(words[0] as usize).map(|&n| n as usize).collect();
        let room = self.room::<T>(op, &gets(&shape));
        let (room, _) = self.agree::<T, _>(op, header, room)?;
        Ok((given, room, rank, shape))
    }

    /// Every member gets the arrays of all members, one after the other along axis 0. Their numbers of
    /// rows may differ.
    ///
    /// # Errors
    /// As [`Group::all_gather`](crate::Group::all_gather); a rank that calls something else, or refuses its part.
    pub fn all_gather<T: Element>(&self, parts: &[DeviceArray<T>]) -> Result<Vec<DeviceArray<T>>> {
        const OP: &str = "all_gather";
        let (x, mut y, counts) = self.gathering(OP, parts, 0, true)?;
        self.wire.gather(OP, (x.ptr(), y.ptr()), &counts, T::DTYPE.size(), None)?;
        self.fan_out(y.full())
    }

    /// The arrays of all members, one after the other along axis 0, for the root alone: its rank gets
    /// the result.
    ///
    /// # Errors
    /// As [`MpiGroup::all_gather`]; a root that is no member.
    pub fn gather<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        root: usize,
    ) -> Result<Option<DeviceArray<T>>> {
        const OP: &str = "gather";
        let place = self.root(OP, "root", root);
        let mine = place.as_ref().is_ok_and(|p| p.0 == self.rank());
        let gathering = self.gathering(OP, parts, root, mine);
        let (rank, member) = place?;
        let (x, mut y, counts) = gathering?;
        self.wire.gather(OP, (x.ptr(), y.ptr()), &counts, T::DTYPE.size(), Some(rank))?;
        if !mine {
            return Ok(None);
        }
        let result: DeviceArray<T> = y.full().into_array();
        result.to_device(&self.local.members()[member]).map(Some)
    }

    /// This rank's members' arrays on the host, room for those of all if this rank `gets` them, and the
    /// elements of every rank.
    fn gathering<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
        root: usize,
        gets: bool,
    ) -> Result<(Staged, Room, Vec<usize>)> {
        let prepared = self.root(op, "root", root).and_then(|_| {
            self.local.fits(op, parts)?;
            self.local.one_row(op, parts)?;
            let array = match parts {
                [only] => only.clone(),
                _ => first(self.local.gather(parts, 0)?.wait()?, op)?,
            };
            let staged = Staged::of(&self.host, &array)?;
            let shape = with_rows(staged.shape(), rows(staged.shape()));
            Ok((staged, shape))
        });
        let (shape, own) = match &prepared {
            Ok((_, shape)) => (shape_digest(&shape[1..]), shape[0]),
            Err(_) => (0, 0),
        };
        let header = Header { root: root as u64, shape, rows: own as u64, ..Header::default() };
        let ((x, shape), headers) = self.agree::<T, _>(op, header, prepared)?;
        let rows: Vec<usize> = headers.iter().map(|h| h.rows as usize).collect();
        let all = if gets { rows.iter().sum() } else { 0 };
        let room = self.room::<T>(op, &with_rows(&shape, all));
        let (y, _) = self.agree::<T, _>(op, header, room)?;
        let each = row(&shape);
        Ok((x, y, rows.into_iter().map(|n| n * each).collect()))
    }

    /// Every member gets its share of axis 0 of each member's array, one after the other. All arrays have
    /// one shape.
    ///
    /// # Errors
    /// As [`Group::all_to_all`](crate::Group::all_to_all); a rank that calls something else, or refuses its part.
    pub fn all_to_all<T: Element>(&self, parts: &[DeviceArray<T>]) -> Result<Vec<DeviceArray<T>>> {
        const OP: &str = "all_to_all";
        let shape = parts.first().map(|p| p.shape().to_vec()).unwrap_or_default();
        let prepared = (|| {
            self.local.fits(OP, parts)?;
            self.local.one_shape(OP, parts)?;
            let each = row(&shape) * T::DTYPE.size();
            let shares = even(rows(&shape), self.len());
            let staged: Vec<Staged> =
                parts.iter().map(|p| Staged::of(&self.host, p)).collect::<Result<_>>()?;
            // By target: what every member of this rank has for it, one after the other.
            let mut packed = self.room::<T>(OP, &with_rows(&shape, rows(&shape) * parts.len()))?;
            let (mut to, mut from) = (packed.ptr(), 0);
            for &share in &shares {
                for part in &staged {
                    // SAFETY: `share` rows of each part, whose sum over all targets is its rows; the
                    // room has those of all parts.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            part.ptr().wrapping_add(from * each),
                            to,
                            share * each,
                        );
                        to = to.wrapping_add(share * each);
                    }
                }
                from += share;
            }
            let shares = self.shares(shares);
            let own: usize = shares[self.rank()].iter().sum();
            let come = self.room::<T>(OP, &with_rows(&shape, own * self.len()))?;
            Ok((packed.full(), come, shares))
        })();
        let header = Header { shape: shape_digest(&shape), ..Header::default() };
        let ((packed, mut come, shares), _) = self.agree::<T, _>(OP, header, prepared)?;
        let sum = |rank: usize| shares[rank].iter().sum::<usize>();
        let each = row(&shape);
        let sends: Vec<usize> = (0..self.ranks()).map(|r| sum(r) * parts.len() * each).collect();
        let receives: Vec<usize> =
            self.sizes.iter().map(|&size| sum(self.rank()) * size * each).collect();
        let ends = (packed.ptr(), come.ptr());
        self.wire.all_to_all(OP, ends, (&sends, &receives), T::DTYPE.size())?;
        // From every rank, by this rank's members: rows of the rank's members.
        let mine = shares[self.rank()].clone();
        let come: DeviceArray<T> = come.full().into_array();
        let come = Staged::of(&self.host, &come)?;
        let bytes = each * T::DTYPE.size();
        let mut starts = Vec::with_capacity(self.ranks());
        let mut at = 0;
        for &size in &self.sizes {
            starts.push(at);
            at += size * sum(self.rank());
        }
        let mut results = Vec::with_capacity(mine.len());
        let mut before = 0;
        for (member, &share) in mine.iter().enumerate() {
            let mut room = self.room::<T>(OP, &with_rows(&shape, share * self.len()))?;
            let mut to = room.ptr();
            for (&start, &size) in starts.iter().zip(&self.sizes) {
                // SAFETY: the rank sent `size` ranges of `share` rows for this member, after those for
                // the members before it; the room has one for every member of the group.
                unsafe {
                    let from = come.ptr().wrapping_add((start + before * size) * bytes);
                    std::ptr::copy_nonoverlapping(from, to, share * size * bytes);
                    to = to.wrapping_add(share * size * bytes);
                }
            }
            before += share;
            let result: DeviceArray<T> = room.full().into_array();
            results.push(result.to_device(&self.local.members()[member])?);
        }
        Ok(results)
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

    /// Sends an array of a member of this rank to a member of another, whose rank calls
    /// [`MpiGroup::receive`]. May wait until it does.
    ///
    /// # Errors
    /// A member that is not of this rank, or is of this rank and should not be; an array elsewhere; a
    /// failure of MPI.
    pub fn send<T: Element>(&self, array: &DeviceArray<T>, from: usize, to: usize) -> Result<()> {
        const OP: &str = "send";
        let (rank, member) = self.root(OP, "sender", from)?;
        let (target, _) = self.root(OP, "receiver", to)?;
        self.apart(OP, rank, target)?;
        self.local.on_member(OP, array, member)?;
        let axes = array.shape().len();
        if axes > AXES {
            let text = format!("{axes} axes; over MPI arrays have up to {AXES}");
            return Err(Error::argument(OP, text));
        }
        let staged = Staged::of(&self.host, array)?;
        let mut words = [0u64; AXES + 2];
        words[0] = T::DTYPE as u64;
        words[1] = axes as u64;
        words[2..].iter_mut().zip(staged.shape()).for_each(|(w, &n)| *w = n as u64);
        let way = (target, tag(from, to));
        self.wire.send(OP, words.as_ptr().cast(), AXES + 2, 8, way)?;
        self.wire.send(OP, staged.ptr(), staged.len(), T::DTYPE.size(), way)
    }

    /// The array that the rank of member `from` sends to member `to`, which is of this rank.
    ///
    /// # Errors
    /// As [`MpiGroup::send`]; elements of another type, which are then lost.
    pub fn receive<T: Element>(&self, from: usize, to: usize) -> Result<DeviceArray<T>> {
        const OP: &str = "receive";
        let (rank, member) = self.root(OP, "receiver", to)?;
        let (source, _) = self.root(OP, "sender", from)?;
        self.apart(OP, rank, source)?;
        let mut words = [0u64; AXES + 2];
        let way = (source, tag(from, to));
        self.wire.receive(OP, words.as_mut_ptr().cast(), AXES + 2, 8, way)?;
        let shape: Vec<usize> =
            words[2..].iter().take(words[1] as usize).map(|&n| n as usize).collect();
        if words[0] != T::DTYPE as u64 {
            let text = format!("member {from} sent elements of another type than {}", T::DTYPE);
            return Err(Error::new(ErrorKind::Type, OP, text));
        }
        let mut room = self.room::<T>(OP, &shape)?;
        self.wire.receive(OP, room.ptr(), room.len(), T::DTYPE.size(), way)?;
        let array: DeviceArray<T> = room.full().into_array();
        array.to_device(&self.local.members()[member])
    }

    /// Whether one end is on this rank and the other on another.
    fn apart(&self, op: &'static str, own: usize, other: usize) -> Result<()> {
        if own == self.rank() && other != self.rank() {
            return Ok(());
        }
        let text = format!(
            "the members are on ranks {own} and {other}, this is rank {}: one end is here and the other is not; within a rank use `local()`",
            self.rank()
        );
        Err(Error::argument(op, text))
    }
}

/// Messages between different pairs of members are told apart.
fn tag(from: usize, to: usize) -> u16 {
    (digest([from, to].iter().flat_map(|n| n.to_le_bytes())) % 32_000) as u16
}

/// What members combine with before the whole is averaged.
fn whole<T: Element>(operator: &Operator<T>) -> Operator<T> {
    match operator {
        Operator::Own(ReduceOp::Average) => Operator::Own(ReduceOp::Sum),
        other => other.clone(),
    }
}

fn first<T>(arrays: Vec<DeviceArray<T>>, op: &'static str) -> Result<DeviceArray<T>> {
    arrays.into_iter().next().ok_or_else(|| Error::argument(op, "a group without members"))
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
