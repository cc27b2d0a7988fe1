//! The collectives of groups over ranks that only move.

use super::MpiGroup;
use super::agree::{Header, digest, first, shape_digest};
use super::staged::{Room, Staged};
use crate::array::DeviceArray;
use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::group::cut::even;
use crate::group::start::{row, rows, with_rows};

/// Most axes of an array that comes from another rank.
const AXES: usize = 16;

/// Collectives that only move. All ranks make the same calls in the same order.
///
/// Arrays and results are those of this rank's members, in their order; roots are numbered among all
/// members. Everything else is as in [`Group`](crate::Group), but for the waiting: results are complete
/// when the call returns.
impl MpiGroup {
    /// Waits until all ranks have come here.
    ///
    /// # Errors
    /// A failure of MPI or of a member.
    pub fn barrier(&self) -> Result<()> {
        self.local.barrier()?;
        self.wire.barrier("barrier")
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
        // The root has the elements already.
        let gets = |shape: &[usize]| if array.is_some() { vec![0] } else { shape.to_vec() };
        let (given, mut room, rank, _) = self.received(OP, array, root, gets)?;
        let (at, n) = match &given {
            // Only read.
            Some(staged) => (staged.ptr().cast_mut(), staged.len()),
            None => (room.ptr(), room.len()),
        };
        self.wire.broadcast(OP, at, n, T::DTYPE.size(), rank)?;
        self.fan_out(given.unwrap_or_else(|| room.full()))
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
