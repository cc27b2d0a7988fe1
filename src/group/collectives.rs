//! The collectives, as users call them: checks, shapes, counts.

use super::cut::{Counts, even};
use super::schedule::Collective;
use super::start::{Request, row, rows, with_rows};
use super::{Call, Group, Operator};
use crate::array::DeviceArray;
use crate::element::Element;
use crate::error::{Error, Result};

/// Collectives.
///
/// All of them check everything before the first element moves: as many arrays as members, each on its
/// member's device, shapes that fit, a root that exists, an operator that is made for the type and,
/// where it is the user's, compiles on every member. Views are copied into row-major order first. Lengths
/// may be 0.
///
/// The calls that end in `_in_place` put the results in the place of the arrays, which are pending
/// until the call ends. If it fails they return its error when they are read, and
/// [`Call::into_inputs`] gives back what was there before.
impl Group {
    /// Every member gets the array of the root, under its shape.
    ///
    /// # Errors
    /// A root that is no member; an array that is not on the root's device; out of memory.
    pub fn broadcast<T: Element>(&self, array: &DeviceArray<T>, root: usize) -> Result<Call<T>> {
        self.broadcast_as("broadcast", array, root)
    }

    /// The arrays of all members become that of the root, whatever they were.
    ///
    /// # Errors
    /// As [`Group::broadcast`]; another number of arrays than of members.
    pub fn broadcast_in_place<T: Element>(
        &self,
        parts: &mut [DeviceArray<T>],
        root: usize,
    ) -> Result<Call<T>> {
        const OP: &str = "broadcast_in_place";
        self.is_member(OP, "root", root)?;
        self.fits(OP, parts)?;
        let call = self.broadcast_as(OP, &parts[root], root)?;
        Ok(Self::in_place(parts, 0..self.len(), call))
    }

    fn broadcast_as<T: Element>(
        &self,
        op: &'static str,
        array: &DeviceArray<T>,
        root: usize,
    ) -> Result<Call<T>> {
        self.is_member(op, "root", root)?;
        self.on_member(op, array, root)?;
        self.start(Request {
            op,
            collective: Collective::Broadcast { root },
            inputs: self.only(root, array),
            counts: Counts::Whole(array.len()),
            shapes: vec![Some(array.shape().to_vec()); self.len()],
            operator: None,
        })
    }

    /// One member's array, as the list of all members'.
    pub(super) fn only<'a, T>(
        &self,
        member: usize,
        array: &'a DeviceArray<T>,
    ) -> Vec<Option<&'a DeviceArray<T>>> {
        (0..self.len()).map(|m| (m == member).then_some(array)).collect()
    }

    /// The arrays of all members combined: the only result, on the root.
    ///
    /// # Errors
    /// Shapes that differ; a root that is no member; an operator that is not made for the type, or
    /// does not compile; an array that is not on its member's device; out of memory.
    pub fn reduce<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        root: usize,
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        self.is_member("reduce", "root", root)?;
        self.combined("reduce", Collective::Reduce { root }, parts, operator.into())
    }

    /// As [`Group::reduce`], in place of the root's array. The others stay as they are.
    ///
    /// # Errors
    /// As [`Group::reduce`].
    pub fn reduce_in_place<T: Element>(
        &self,
        parts: &mut [DeviceArray<T>],
        root: usize,
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        const OP: &str = "reduce_in_place";
        self.is_member(OP, "root", root)?;
        let call = self.combined(OP, Collective::Reduce { root }, parts, operator.into())?;
        Ok(Self::in_place(parts, root..root + 1, call))
    }

    /// Every member gets the arrays of all members combined.
    ///
    /// # Errors
    /// As [`Group::reduce`].
    pub fn all_reduce<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        self.combined("all_reduce", Collective::AllReduce, parts, operator.into())
    }

    /// As [`Group::all_reduce`], in place of the arrays.
    ///
    /// # Errors
    /// As [`Group::reduce`].
    pub fn all_reduce_in_place<T: Element>(
        &self,
        parts: &mut [DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        const OP: &str = "all_reduce_in_place";
        let call = self.combined(OP, Collective::AllReduce, parts, operator.into())?;
        Ok(Self::in_place(parts, 0..self.len(), call))
    }

    /// Every member gets the arrays of the members up to and with itself combined.
    ///
    /// # Errors
    /// As [`Group::reduce`]; an average.
    pub fn scan<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        self.combined("scan", Collective::Scan, parts, operator.into())
    }

    /// As [`Group::scan`], in place of the arrays.
    ///
    /// # Errors
    /// As [`Group::scan`].
    pub fn scan_in_place<T: Element>(
        &self,
        parts: &mut [DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        let call = self.combined("scan_in_place", Collective::Scan, parts, operator.into())?;
        Ok(Self::in_place(parts, 0..self.len(), call))
    }

    /// Every member gets the arrays of the members before it combined; the first one gets the value that
    /// changes nothing, such as 0 for a sum.
    ///
    /// # Errors
    /// As [`Group::scan`]; an operator of the user's without [`identity`](super::UserOp::identity).
    pub fn exclusive_scan<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        const OP: &str = "exclusive_scan";
        self.combined(OP, Collective::ExclusiveScan, parts, operator.into())
    }

    /// As [`Group::exclusive_scan`], in place of the arrays.
    ///
    /// # Errors
    /// As [`Group::exclusive_scan`].
    pub fn exclusive_scan_in_place<T: Element>(
        &self,
        parts: &mut [DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        const OP: &str = "exclusive_scan_in_place";
        let call = self.combined(OP, Collective::ExclusiveScan, parts, operator.into())?;
        Ok(Self::in_place(parts, 0..self.len(), call))
    }

    /// Collectives that combine arrays of one shape into ones of that shape.
    fn combined<T: Element>(
        &self,
        op: &'static str,
        collective: Collective,
        parts: &[DeviceArray<T>],
        operator: Operator<T>,
    ) -> Result<Call<T>> {
        self.fits(op, parts)?;
        let shape = self.one_shape(op, parts)?;
        let scans = matches!(collective, Collective::Scan | Collective::ExclusiveScan);
        if scans && operator.averages() {
            let text = "an average of so many members each is none; scan with Sum and divide";
            return Err(Error::argument(op, text));
        }
        let mut first = None;
        if collective == Collective::ExclusiveScan {
            let text = "the first member needs the operator's `identity`; set it, or use `scan`";
            let value = operator.identity().ok_or_else(|| Error::argument(op, text))?;
            first = Some(DeviceArray::full(&self.members()[0], shape.as_slice(), value)?);
        }
        let has = |m: usize| match collective {
            Collective::Reduce { root } => m == root,
            _ => true,
        };
        let mut call = self.start(Request {
            op,
            collective,
            inputs: parts.iter().map(Some).collect(),
            counts: Counts::Whole(parts[0].len()),
            shapes: (0..self.len()).map(|m| has(m).then(|| shape.clone())).collect(),
            operator: Some(operator),
        })?;
        if let Some(first) = first {
            call.results[0] = first;
        }
        Ok(call)
    }

    pub(super) fn one_shape<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
    ) -> Result<Vec<usize>> {
        let shape = parts[0].shape();
        match parts.iter().position(|part| part.shape() != shape) {
            None => Ok(shape.to_vec()),
            Some(m) => {
                let text = format!(
                    "its array has shape {:?}, that of member 0 {shape:?}; give all members one shape",
                    parts[m].shape()
                );
                Err(Error::shape(op, text).of_member(op, m, &self.members()[m].to_string()))
            }
        }
    }

    /// Combines the arrays of all members, of which each gets its share of axis 0.
    ///
    /// # Errors
    /// As [`Group::reduce`].
    pub fn reduce_scatter<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        const OP: &str = "reduce_scatter";
        self.fits(OP, parts)?;
        let counts = even(rows(parts[0].shape()), self.len());
        self.reduce_scatter_as(OP, parts, &counts, operator.into())
    }

    /// As [`Group::reduce_scatter`], in place of the arrays.
    ///
    /// # Errors
    /// As [`Group::reduce`].
    pub fn reduce_scatter_in_place<T: Element>(
        &self,
        parts: &mut [DeviceArray<T>],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        let call = self.reduce_scatter(parts, operator)?;
        Ok(Self::in_place(parts, 0..self.len(), call))
    }

    /// Every member gets its share of axis 0 of the root's array.
    ///
    /// # Errors
    /// As [`Group::broadcast`].
    pub fn scatter<T: Element>(&self, array: &DeviceArray<T>, root: usize) -> Result<Call<T>> {
        self.scatter_as("scatter", array, &even(rows(array.shape()), self.len()), root)
    }

    /// The arrays of all members, one after the other along axis 0: the only result, on the root. Their
    /// numbers of rows may differ.
    ///
    /// # Errors
    /// Rows of different shapes; a root that is no member; an array that is not on its member's
    /// device; out of memory.
    pub fn gather<T: Element>(&self, parts: &[DeviceArray<T>], root: usize) -> Result<Call<T>> {
        self.is_member("gather", "root", root)?;
        self.gathered("gather", Collective::Gather { root }, parts)
    }

    /// Every member gets the arrays of all members, one after the other along axis 0. Their numbers of
    /// rows may differ.
    ///
    /// # Errors
    /// As [`Group::gather`].
    pub fn all_gather<T: Element>(&self, parts: &[DeviceArray<T>]) -> Result<Call<T>> {
        self.gathered("all_gather", Collective::AllGather, parts)
    }

    /// As [`Group::all_gather`], in place of the arrays.
    ///
    /// # Errors
    /// As [`Group::gather`].
    pub fn all_gather_in_place<T: Element>(&self, parts: &mut [DeviceArray<T>]) -> Result<Call<T>> {
        let call = self.gathered("all_gather_in_place", Collective::AllGather, parts)?;
        Ok(Self::in_place(parts, 0..self.len(), call))
    }

    fn gathered<T: Element>(
        &self,
        op: &'static str,
        collective: Collective,
        parts: &[DeviceArray<T>],
    ) -> Result<Call<T>> {
        self.fits(op, parts)?;
        self.one_row(op, parts)?;
        let all: usize = parts.iter().map(|part| rows(part.shape())).sum();
        let shape = with_rows(parts[0].shape(), all);
        let has = |m: usize| match collective {
            Collective::Gather { root } => m == root,
            _ => true,
        };
        self.start(Request {
            op,
            collective,
            inputs: parts.iter().map(Some).collect(),
            counts: Counts::Blocks(parts.iter().map(DeviceArray::len).collect()),
            shapes: (0..self.len()).map(|m| has(m).then(|| shape.clone())).collect(),
            operator: None,
        })
    }

    /// Refuses arrays that differ in other axes than the first.
    pub(super) fn one_row<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
    ) -> Result<()> {
        let first = parts[0].shape();
        let differs = |part: &DeviceArray<T>| {
            let shape = part.shape();
            shape.len() != first.len() || shape.get(1..) != first.get(1..)
        };
        match parts.iter().position(differs) {
            None => Ok(()),
            Some(m) => {
                let text = format!(
                    "its array has shape {:?}, that of member 0 {first:?}; they may differ along axis 0 alone",
                    parts[m].shape()
                );
                Err(Error::shape(op, text).of_member(op, m, &self.members()[m].to_string()))
            }
        }
    }

    /// Every member gets its share of axis 0 of each member's array, one after the other along axis 0.
    ///
    /// # Errors
    /// As [`Group::reduce`].
    pub fn all_to_all<T: Element>(&self, parts: &[DeviceArray<T>]) -> Result<Call<T>> {
        const OP: &str = "all_to_all";
        self.fits(OP, parts)?;
        self.one_shape(OP, parts)?;
        let counts = even(rows(parts[0].shape()), self.len());
        self.all_to_all_as(OP, parts, &vec![counts; self.len()])
    }

    /// As [`Group::all_to_all`], in place of the arrays.
    ///
    /// # Errors
    /// As [`Group::reduce`].
    pub fn all_to_all_in_place<T: Element>(&self, parts: &mut [DeviceArray<T>]) -> Result<Call<T>> {
        let call = self.all_to_all(parts)?;
        Ok(Self::in_place(parts, 0..self.len(), call))
    }

    /// Member `to` gets the array of member `from`: the only result.
    ///
    /// # Errors
    /// Numbers that no members have; an array that is not on the sender's device; out of memory.
    pub fn send<T: Element>(
        &self,
        array: &DeviceArray<T>,
        from: usize,
        to: usize,
    ) -> Result<Call<T>> {
        const OP: &str = "send";
        self.is_member(OP, "sender", from)?;
        self.is_member(OP, "receiver", to)?;
        self.on_member(OP, array, from)?;
        let p = self.len();
        let shape = |m: usize| (m == to).then(|| array.shape().to_vec());
        let request = |collective, counts| Request {
            op: OP,
            collective,
            inputs: self.only(from, array),
            counts,
            shapes: (0..p).map(shape).collect(),
            operator: None,
        };
        if from != to && self.settings.algorithm.is_none() && self.has_peers() {
            // The receiver gathers one block, from the sender's memory.
            let mut blocks = vec![0; p];
            blocks[from] = array.len();
            return self.start(request(Collective::Gather { root: to }, Counts::Blocks(blocks)));
        }
        // Of a matrix of counts with one that is not 0, one transfer is left.
        let mut counts = vec![vec![0; p]; p];
        counts[from][to] = array.len();
        let pairwise = Some(super::schedule::Algorithm::Pairwise);
        self.start_with(pairwise, request(Collective::AllToAll, Counts::Pairs(counts)))
    }

    /// Returns when every member has done all that it and its device were given before.
    ///
    /// # Errors
    /// When a device failed in the meantime; when the group's deadline passes.
    pub fn barrier(&self) -> Result<()> {
        self.fence("barrier")
    }

    pub(super) fn reduce_scatter_as<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
        counts: &[usize],
        operator: Operator<T>,
    ) -> Result<Call<T>> {
        let shape = self.one_shape(op, parts)?;
        self.start(Request {
            op,
            collective: Collective::ReduceScatter,
            inputs: parts.iter().map(Some).collect(),
            counts: Counts::Blocks(counts.iter().map(|c| c * row(&shape)).collect()),
            shapes: counts.iter().map(|&c| Some(with_rows(&shape, c))).collect(),
            operator: Some(operator),
        })
    }

    pub(super) fn scatter_as<T: Element>(
        &self,
        op: &'static str,
        array: &DeviceArray<T>,
        counts: &[usize],
        root: usize,
    ) -> Result<Call<T>> {
        self.is_member(op, "root", root)?;
        self.on_member(op, array, root)?;
        let shape = array.shape();
        self.start(Request {
            op,
            collective: Collective::Scatter { root },
            inputs: self.only(root, array),
            counts: Counts::Blocks(counts.iter().map(|c| c * row(shape)).collect()),
            shapes: counts.iter().map(|&c| Some(with_rows(shape, c))).collect(),
            operator: None,
        })
    }

    pub(super) fn all_to_all_as<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
        counts: &[Vec<usize>],
    ) -> Result<Call<T>> {
        let shape = parts[0].shape();
        let elements = |c: &Vec<usize>| c.iter().map(|c| c * row(shape)).collect();
        let received = |m: usize| counts.iter().map(|c| c[m]).sum();
        self.start(Request {
            op,
            collective: Collective::AllToAll,
            inputs: parts.iter().map(Some).collect(),
            counts: Counts::Pairs(counts.iter().map(elements).collect()),
            shapes: (0..self.len()).map(|m| Some(with_rows(shape, received(m)))).collect(),
            operator: None,
        })
    }
}
