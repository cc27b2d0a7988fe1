//! Groups over the ranks of an MPI program.
//!
//! Every rank runs the same program and has devices of its own. An [`MpiGroup`] makes one group of
//! all of them: the members are numbered rank by rank. A collective is called by every rank, with the
//! arrays of its own members; it is done within the rank first, then between the ranks by the MPI
//! library on host memory, then passed on to the rank's members.
//!
//! The calls wait: MPI may only be allowed on the thread that made the group. A rank that refuses its
//! arguments, or asks for something else than the others, makes the call fail on all of them before MPI
//! moves elements. The loss of a rank is MPI's to tell.

mod agree;
mod moves;
mod reduce;
mod staged;
mod wire;

use super::Group;
use crate::device::Device;
use crate::error::Result;
use mpi::traits::Communicator;
use std::fmt;
use wire::Wire;

/// One group of the devices of all ranks.
///
/// ```no_run
/// use clan::{Device, DeviceArray, Group, ReduceOp};
/// // Under `mpirun -n 3`: three ranks, each with the devices of its machine.
/// let universe = mpi::initialize().expect("MPI has not been initialised before");
/// let group = Group::over_mpi(&universe.world())?;
/// let own = group.local().members();
/// let parts: Vec<_> = own.iter().map(|d| DeviceArray::full(d, 4, 1.0f32)).collect::<Result<_, _>>()?;
/// // The sum over the members of all ranks, on each of them.
/// let sums = group.all_reduce(&parts, ReduceOp::Sum)?;
/// assert_eq!(sums[0].to_vec()?, [group.len() as f32; 4]);
/// # Ok::<(), clan::Error>(())
/// ```
pub struct MpiGroup {
    wire: Wire,
    local: Group,
    /// The host and then the members: what came over MPI is passed on from there.
    relay: Group,
    host: Device,
    /// Members of every rank.
    sizes: Vec<usize>,
}

impl fmt::Debug for MpiGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rank, ranks) = (self.rank(), self.ranks());
        write!(f, "MpiGroup(rank {rank} of {ranks}: {:?})", self.local)
    }
}

impl Group {
    /// One group of all devices of all ranks of a communicator: [`Group::all`] on every rank. All
    /// ranks call it.
    ///
    /// # Errors
    /// A failure of MPI.
    pub fn over_mpi(comm: &impl Communicator) -> Result<MpiGroup> {
        Group::all()?.join_over_mpi(comm)
    }

    /// One group of these devices and those that the other ranks call it with.
    ///
    /// # Errors
    /// A failure of MPI.
    pub fn join_over_mpi(&self, comm: &impl Communicator) -> Result<MpiGroup> {
        const OP: &str = "over_mpi";
        let wire = Wire::new(OP, comm)?;
        let host = Device::host();
        let relay =
            Group::new(std::iter::once(host.clone()).chain(self.members().iter().cloned()))?;
        let sizes = wire.all_gather_words(OP, [self.len() as u64])?;
        let sizes = sizes.into_iter().map(|[n]| n as usize).collect();
        Ok(MpiGroup { wire, local: self.clone(), relay, host, sizes })
    }
}

impl MpiGroup {
    /// This rank's members.
    pub fn local(&self) -> &Group {
        &self.local
    }

    /// The number, among all members, of this rank's first.
    pub fn first(&self) -> usize {
        self.sizes[..self.rank()].iter().sum()
    }

    /// How many members all ranks have together.
    #[allow(clippy::len_without_is_empty, reason = "a group has members")]
    pub fn len(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// This rank.
    pub fn rank(&self) -> usize {
        self.wire.rank
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> usize {
        self.wire.ranks
    }

    /// The rank of a member, and its number there.
    fn place(&self, member: usize) -> Option<(usize, usize)> {
        let mut left = member;
        for (rank, &size) in self.sizes.iter().enumerate() {
            if left < size {
                return Some((rank, left));
            }
            left -= size;
        }
        None
    }
}
