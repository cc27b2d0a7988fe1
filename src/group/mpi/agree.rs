//! What ranks tell each other before MPI moves elements, and the ways between the host and a rank's members.

use super::MpiGroup;
use super::staged::{Room, Staged};
use crate::array::DeviceArray;
use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};

/// What every rank tells before MPI moves elements: a call that would not fit fails on all of them.
#[derive(Clone, Copy, Default)]
pub(super) struct Header {
    pub operator: u64,
    pub root: u64,
    /// What must be the same everywhere.
    pub shape: u64,
    /// What may differ: rows.
    pub rows: u64,
}

/// FNV-1a: ranks compare names and shapes by it.
pub(super) fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) fn shape_digest(shape: &[usize]) -> u64 {
    digest(shape.iter().flat_map(|n| n.to_le_bytes()))
}

pub(super) fn first<T>(arrays: Vec<DeviceArray<T>>, op: &'static str) -> Result<DeviceArray<T>> {
    arrays.into_iter().next().ok_or_else(|| Error::argument(op, "a group without members"))
}

impl MpiGroup {
    /// Agrees with the other ranks on a call: what this rank has prepared, and the headers of all.
    pub(super) fn agree<T: Element, X>(
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

    pub(super) fn room<T: Element>(&self, op: &'static str, shape: &[usize]) -> Result<Room> {
        Room::new(op, &self.host, shape, T::DTYPE)
    }

    /// What is on the host, on every member of this rank.
    pub(super) fn fan_out<T: Element>(&self, staged: Staged) -> Result<Vec<DeviceArray<T>>> {
        let array: DeviceArray<T> = staged.into_array();
        match self.local.members() {
            [only] => Ok(vec![array.to_device(only)?]),
            _ => Ok(self.relay.broadcast(&array, 0)?.wait()?.split_off(1)),
        }
    }

    /// Ranges of rows of what is on the host, one a member of this rank.
    pub(super) fn deal_out<T: Element>(
        &self,
        staged: Staged,
        counts: &[usize],
    ) -> Result<Vec<DeviceArray<T>>> {
        let array: DeviceArray<T> = staged.into_array();
        let counts: Vec<usize> = std::iter::once(0).chain(counts.iter().copied()).collect();
        Ok(self.relay.scatter_v(&array, &counts, 0)?.wait()?.split_off(1))
    }

    /// The rank and the number there of a root.
    pub(super) fn root(
        &self,
        op: &'static str,
        what: &str,
        member: usize,
    ) -> Result<(usize, usize)> {
        self.place(member).ok_or_else(|| {
            let text = format!(
                "{what} {member} is none of the {} members of all ranks; they are numbered from 0",
                self.len()
            );
            Error::new(ErrorKind::Index, op, text)
        })
    }

    /// What members have, by ranks.
    pub(super) fn shares(&self, of_members: Vec<usize>) -> Vec<Vec<usize>> {
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
}
