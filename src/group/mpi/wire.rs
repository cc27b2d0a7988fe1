//! MPI itself: the few calls that groups over ranks are made of, on host memory.

use crate::element::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::group::ReduceOp;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use std::ffi::{c_char, c_int, c_void};

/// A communicator of the group's own, so that no message of the program's is taken for one of ours.
///
/// The methods that move elements take pointers: what a call reads and writes are ranges of host
/// memory, as long as their counts say, that nobody else touches until it returns.
pub(super) struct Wire {
    comm: SimpleCommunicator,
    pub rank: usize,
    pub ranks: usize,
}

/// What MPI counts with.
const MOST: usize = c_int::MAX as usize;

/// Elements at once where a call can be cut.
const PIECE: usize = 1 << 30;

impl Wire {
    pub fn new(op: &'static str, comm: &impl Communicator) -> Result<Wire> {
        let comm = comm.duplicate();
        let (rank, ranks) = (comm.rank() as usize, comm.size() as usize);
        let wire = Wire { comm, rank, ranks };
        // Failures are values, not the end of the program.
        // SAFETY: a live communicator.
        wire.call(op, "MPI_Comm_set_errhandler", |comm| unsafe {
            ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_RETURN)
        })?;
        Ok(wire)
    }

    fn call(
        &self,
        op: &'static str,
        name: &str,
        f: impl FnOnce(ffi::MPI_Comm) -> c_int,
    ) -> Result<()> {
        let code = f(self.comm.as_raw());
        if code == ffi::MPI_SUCCESS as c_int {
            return Ok(());
        }
        let mut text = [0u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
        let mut len = 0;
        // SAFETY: the text has the room that the standard asks for.
        unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast::<c_char>(), &mut len) };
        let len = (len.max(0) as usize).min(text.len());
        let what = String::from_utf8_lossy(&text[..len]);
        let text = format!("{name} failed on rank {}: {what}", self.rank);
        Err(Error::new(ErrorKind::Driver, op, text))
    }

    pub fn barrier(&self, op: &'static str) -> Result<()> {
        // SAFETY: a live communicator.
        self.call(op, "MPI_Barrier", |comm| unsafe { ffi::MPI_Barrier(comm) })
    }

    /// The words of all ranks, which give equally many.
    pub fn all_gather_words<const N: usize>(
        &self,
        op: &'static str,
        mine: [u64; N],
    ) -> Result<Vec<[u64; N]>> {
        let mut all = vec![[0u64; N]; self.ranks];
        // SAFETY: N words of this rank, and room for as many of each.
        self.call(op, "MPI_Allgather", |comm| unsafe {
            let (n, word) = (N as c_int, ffi::RSMPI_UINT64_T);
            ffi::MPI_Allgather(
                mine.as_ptr().cast(),
                n,
                word,
                all.as_mut_ptr().cast(),
                n,
                word,
                comm,
            )
        })?;
        Ok(all)
    }

    pub fn broadcast(
        &self,
        op: &'static str,
        at: *mut u8,
        n: usize,
        size: usize,
        root: usize,
    ) -> Result<()> {
        pieces(n, |from, n| {
            // SAFETY: elements `from .. from + n` of a range that has them.
            self.call(op, "MPI_Bcast", |comm| unsafe {
                let at = at.add(from * size).cast();
                ffi::MPI_Bcast(at, n, plain(size), root as c_int, comm)
            })
        })
    }

    /// The ranks' elements combined, on one rank or on all.
    pub fn reduce(
        &self,
        op: &'static str,
        (from, to): (*const u8, *mut u8),
        n: usize,
        (dtype, by): (DType, ReduceOp),
        root: Option<usize>,
    ) -> Result<()> {
        pieces(n, |first, n| {
            let at = first * dtype.size();
            // SAFETY: elements `first .. first + n` of ranges that have them; where only the root gets
            // something, the others' `to` is not looked at.
            unsafe {
                let (from, to) = (from.wrapping_add(at).cast(), to.wrapping_add(at).cast());
                let (kind, by) = (number(dtype), operator(by));
                match root {
                    None => self.call(op, "MPI_Allreduce", |comm| {
                        ffi::MPI_Allreduce(from, to, n, kind, by, comm)
                    }),
                    Some(root) => self.call(op, "MPI_Reduce", |comm| {
                        ffi::MPI_Reduce(from, to, n, kind, by, root as c_int, comm)
                    }),
                }
            }
        })
    }

    /// Rank r gets the r-th of the ranges that `counts` cuts the combined elements into.
    pub fn reduce_scatter(
        &self,
        op: &'static str,
        (from, to): (*const u8, *mut u8),
        counts: &[usize],
        (dtype, by): (DType, ReduceOp),
    ) -> Result<()> {
        let counts = ints(op, counts)?;
        // SAFETY: as many elements as the counts say together, and room for this rank's.
        self.call(op, "MPI_Reduce_scatter", |comm| unsafe {
            let (kind, by) = (number(dtype), operator(by));
            ffi::MPI_Reduce_scatter(from.cast(), to.cast(), counts.as_ptr(), kind, by, comm)
        })
    }

    /// The elements of the ranks before this one combined; `to` stays as it is on the first.
    pub fn scan_before(
        &self,
        op: &'static str,
        (from, to): (*const u8, *mut u8),
        n: usize,
        (dtype, by): (DType, ReduceOp),
    ) -> Result<()> {
        pieces(n, |first, n| {
            let at = first * dtype.size();
            // SAFETY: elements `first .. first + n` of ranges that have them.
            self.call(op, "MPI_Exscan", |comm| unsafe {
                let (from, to) = (from.wrapping_add(at).cast(), to.wrapping_add(at).cast());
                ffi::MPI_Exscan(from, to, n, number(dtype), operator(by), comm)
            })
        })
    }

    /// `counts[r]` elements of rank r, one after the other, on one rank or on all.
    pub fn gather(
        &self,
        op: &'static str,
        (from, to): (*const u8, *mut u8),
        counts: &[usize],
        size: usize,
        root: Option<usize>,
    ) -> Result<()> {
        let (n, starts) = (ints(op, counts)?, starts(op, counts)?);
        let (own, kind) = (n[self.rank], plain(size));
        // SAFETY: this rank's elements, and room for all where they are gathered.
        unsafe {
            let (from, to) = (from.cast::<c_void>(), to.cast::<c_void>());
            match root {
                None => self.call(op, "MPI_Allgatherv", |comm| {
                    let (n, starts) = (n.as_ptr(), starts.as_ptr());
                    ffi::MPI_Allgatherv(from, own, kind, to, n, starts, kind, comm)
                }),
                Some(root) => self.call(op, "MPI_Gatherv", |comm| {
                    let (n, starts) = (n.as_ptr(), starts.as_ptr());
                    ffi::MPI_Gatherv(from, own, kind, to, n, starts, kind, root as c_int, comm)
                }),
            }
        }
    }

    /// Rank r gets the r-th range of the root's elements.
    pub fn scatter(
        &self,
        op: &'static str,
        (from, to): (*const u8, *mut u8),
        counts: &[usize],
        size: usize,
        root: usize,
    ) -> Result<()> {
        let (n, starts) = (ints(op, counts)?, starts(op, counts)?);
        let (own, kind) = (n[self.rank], plain(size));
        // SAFETY: all elements on the root, and room for this rank's.
        self.call(op, "MPI_Scatterv", |comm| unsafe {
            let (from, to) = (from.cast(), to.cast());
            let (n, starts) = (n.as_ptr(), starts.as_ptr());
            ffi::MPI_Scatterv(from, n, starts, kind, to, own, kind, root as c_int, comm)
        })
    }

    /// `sends[r]` elements go to rank r, `receives[r]` come from it; both lie by ranks.
    pub fn all_to_all(
        &self,
        op: &'static str,
        (from, to): (*const u8, *mut u8),
        (sends, receives): (&[usize], &[usize]),
        size: usize,
    ) -> Result<()> {
        let (out, out_starts) = (ints(op, sends)?, starts(op, sends)?);
        let (come, come_starts) = (ints(op, receives)?, starts(op, receives)?);
        // SAFETY: as many elements as the counts say, on both sides.
        self.call(op, "MPI_Alltoallv", |comm| unsafe {
            ffi::MPI_Alltoallv(
                from.cast(),
                out.as_ptr(),
                out_starts.as_ptr(),
                plain(size),
                to.cast(),
                come.as_ptr(),
                come_starts.as_ptr(),
                plain(size),
                comm,
            )
        })
    }

    pub fn send(
        &self,
        op: &'static str,
        from: *const u8,
        n: usize,
        size: usize,
        (to, tag): (usize, u16),
    ) -> Result<()> {
        pieces(n, |first, n| {
            // SAFETY: elements `first .. first + n` of a range that has them.
            self.call(op, "MPI_Send", |comm| unsafe {
                let at = from.add(first * size).cast();
                ffi::MPI_Send(at, n, plain(size), to as c_int, c_int::from(tag), comm)
            })
        })
    }

    pub fn receive(
        &self,
        op: &'static str,
        to: *mut u8,
        n: usize,
        size: usize,
        (from, tag): (usize, u16),
    ) -> Result<()> {
        pieces(n, |first, n| {
            // SAFETY: room for elements `first .. first + n`; nobody asks for the status.
            self.call(op, "MPI_Recv", |comm| unsafe {
                let at = to.add(first * size).cast();
                let none = ffi::RSMPI_STATUS_IGNORE;
                ffi::MPI_Recv(at, n, plain(size), from as c_int, c_int::from(tag), comm, none)
            })
        })
    }
}

/// `n` elements by calls that MPI can count, of which there is one at least: all ranks make equally
/// many.
fn pieces(n: usize, mut f: impl FnMut(usize, c_int) -> Result<()>) -> Result<()> {
    let mut from = 0;
    loop {
        let count = (n - from).min(PIECE);
        f(from, count as c_int)?;
        from += count;
        if from >= n {
            return Ok(());
        }
    }
}

fn ints(op: &'static str, counts: &[usize]) -> Result<Vec<c_int>> {
    match counts.iter().sum::<usize>() {
        total if total <= MOST => Ok(counts.iter().map(|&n| n as c_int).collect()),
        total => {
            let text = format!(
                "{total} elements; MPI counts to {MOST} in this call: cut the arrays into several"
            );
            Err(Error::argument(op, text))
        }
    }
}

/// The sums of all before.
fn starts(op: &'static str, counts: &[usize]) -> Result<Vec<c_int>> {
    let mut at = 0;
    let next = |n: c_int| {
        let start = at;
        at += n;
        start
    };
    Ok(ints(op, counts)?.into_iter().map(next).collect())
}

/// Elements of a size that are only moved.
fn plain(size: usize) -> ffi::MPI_Datatype {
    number(match size {
        1 => DType::U8,
        2 => DType::U16,
        4 => DType::U32,
        _ => DType::U64,
    })
}

fn number(dtype: DType) -> ffi::MPI_Datatype {
    // SAFETY: constants of the MPI library.
    unsafe {
        match dtype {
            DType::Bool | DType::U8 => ffi::RSMPI_UINT8_T,
            DType::F16 | DType::BF16 | DType::U16 => ffi::RSMPI_UINT16_T,
            DType::I8 => ffi::RSMPI_INT8_T,
            DType::I16 => ffi::RSMPI_INT16_T,
            DType::I32 => ffi::RSMPI_INT32_T,
            DType::I64 => ffi::RSMPI_INT64_T,
            DType::U32 => ffi::RSMPI_UINT32_T,
            DType::U64 => ffi::RSMPI_UINT64_T,
            DType::F32 => ffi::RSMPI_FLOAT,
            DType::F64 => ffi::RSMPI_DOUBLE,
        }
    }
}

fn operator(by: ReduceOp) -> ffi::MPI_Op {
    // SAFETY: constants of the MPI library.
    unsafe {
        match by {
            ReduceOp::Sum | ReduceOp::Average => ffi::RSMPI_SUM,
            ReduceOp::Product => ffi::RSMPI_PROD,
            ReduceOp::Min => ffi::RSMPI_MIN,
            ReduceOp::Max => ffi::RSMPI_MAX,
            ReduceOp::And => ffi::RSMPI_BAND,
            ReduceOp::Or => ffi::RSMPI_BOR,
            ReduceOp::Xor => ffi::RSMPI_BXOR,
        }
    }
}

/// Whether MPI combines these elements as this crate does. Not half floats and `bool`, of which it knows
/// nothing, and not the least and the greatest of floats, where it promises nothing about NaN.
pub(super) fn knows(dtype: DType, by: ReduceOp) -> bool {
    match dtype {
        DType::Bool | DType::F16 | DType::BF16 => false,
        DType::F32 | DType::F64 => {
            matches!(by, ReduceOp::Sum | ReduceOp::Product | ReduceOp::Average)
        }
        _ => true,
    }
}
