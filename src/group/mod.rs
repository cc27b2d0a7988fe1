//! Collective communication: devices that work together.
//!
//! A [`Group`] has members, each of them a [`Device`]; one device may be several members. Every collective
//! takes one array a member and returns a [`Call`] at once, whose results can be used right away.
//!
//! | call | every member gives | every member gets |
//! |---|---|---|
//! | [`Group::broadcast`] | the root an array | that array |
//! | [`Group::reduce`] | an array | the root all of them combined |
//! | [`Group::all_reduce`] | an array | all of them combined |
//! | [`Group::reduce_scatter`] | an array | its share of axis 0 of all of them combined |
//! | [`Group::scatter`] | the root an array | its share of axis 0 |
//! | [`Group::gather`] | an array | the root all of them, one after the other along axis 0 |
//! | [`Group::all_gather`] | an array | all of them, one after the other along axis 0 |
//! | [`Group::all_to_all`] | an array | its share of axis 0 of each of them, one after the other |
//! | [`Group::scan`] | an array | those up to its own combined |
//! | [`Group::exclusive_scan`] | an array | those before its own combined |
//! | [`Group::send`] | one an array | another that array |
//!
//! A share of axis 0 is a range of rows, as even as can be: the first members get one more where the
//! number of rows does not divide. The calls that end in `_v` take the numbers of rows.
//!
//! Above the collectives are arrays that live on several members and work that is dealt out:
//!
//! | call | |
//! |---|---|
//! | [`Group::shard`] | a [`ShardedArray`], split along an axis, with expressions, reductions, products, halos |
//! | [`Group::replicate`] | a [`Replicated`] array, which every member has |
//! | [`Group::balance`], [`Group::balanced`] | weights for splits, by how fast members are |
//! | [`Group::for_each_chunk`] | a range of work in chunks, to whichever member is free |
//! | [`Group::stream`] | arrays of the host that no device has room for, chunk by chunk |
//!
//! Below are the algorithms as data in [`schedule`], and [`clock`], which says how long they take. The
//! example `06_broadcast_reduce` draws a tree while it runs, `clan bench group` measures all of them.

mod balance;
mod call;
mod choice;
mod chunks;
pub mod clock;
mod collectives;
mod completion;
mod crew;
mod cut;
mod engine;
mod explain;
#[cfg(test)]
mod fault;
mod hub;
pub(crate) mod link;
mod many;
#[cfg(feature = "mpi")]
mod mpi;
mod operator;
mod plan;
mod ragged;
mod reproducible;
pub mod schedule;
mod shard;
mod start;
mod stream;
#[cfg(test)]
mod tests;

pub use call::Call;
pub use chunks::{Chunks, Work};
pub(crate) use completion::Completion;
pub use explain::Explanation;
#[cfg(feature = "mpi")]
pub use mpi::MpiGroup;
pub use operator::{Operator, ReduceOp, UserOp};
pub use shard::{
    Boundary, Halo, IntoSharded, Reduced, Replicated, ShardedArray, ShardedExpr, ShardedReduction,
};

use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use engine::Workers;
use schedule::Algorithm;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Devices that work together: arrays on them are broadcast, gathered and combined.
///
/// Cheap to clone. Its threads start with the first call and end with the last clone, after the calls
/// that are running.
///
/// ```
/// use clan::{Device, DeviceArray, Group, ReduceOp};
/// // Any devices, also one several times: three members that are all the host.
/// let group = Group::new(vec![Device::host(); 3])?;
/// let mut parts = Vec::new();
/// for (i, device) in group.members().iter().enumerate() {
///     parts.push(DeviceArray::from_slice(device, &[i as f32, 1.0])?);
/// }
/// // Returns at once. The sums can be used in the next line, which waits for what it reads.
/// let sums = group.all_reduce(&parts, ReduceOp::Sum)?.into_results();
/// assert_eq!((&sums[2] * 2.0).eval()?.to_vec()?, [6.0, 6.0]);
///
/// // In place the arrays become the results.
/// group.broadcast_in_place(&mut parts, 2)?.finish()?;
/// assert_eq!(parts[0].to_vec()?, [2.0, 1.0]);
/// # Ok::<(), clan::Error>(())
/// ```
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
    settings: Settings,
}

/// What all clones have in common.
struct Shared {
    members: Vec<Device>,
    workers: Workers,
    ways: link::Ways,
    choices: choice::Choices,
    /// The last call of a collective and a class of sizes.
    last: Mutex<HashMap<(&'static str, u32), Arc<Completion>>>,
}

#[derive(Clone)]
struct Settings {
    deadline: Duration,
    algorithm: Option<Algorithm>,
    chunk: usize,
    /// Floats are combined in one order.
    reproducible: bool,
    links: Arc<choice::Links>,
    crew: Arc<crew::Crew>,
    /// How much of an axis each member gets; evenly without it.
    weights: Option<Arc<[f64]>>,
    #[cfg(test)]
    fault: Option<fault::Fault>,
}

impl Settings {
    fn new() -> Settings {
        Settings {
            deadline: DEADLINE,
            algorithm: None,
            chunk: 0,
            reproducible: false,
            links: Arc::default(),
            crew: Arc::default(),
            weights: None,
            #[cfg(test)]
            fault: None,
        }
    }
}

/// A group that nobody gave a deadline: far beyond any transfer, and yet nothing hangs for ever.
const DEADLINE: Duration = Duration::from_secs(300);

/// More members need more threads than a process should have.
const MOST_MEMBERS: usize = 1024;

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members()).finish()
    }
}

/// Making groups.
impl Group {
    /// A group of devices: of any platforms, the host among them, one device several times.
    ///
    /// # Errors
    /// No devices; more than 1,024; a `CLAN_PEERS` that means nothing.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Result<Group> {
        Group::of(devices.into_iter().collect(), Settings::new())
    }

    fn of(members: Vec<Device>, settings: Settings) -> Result<Group> {
        let p = members.len();
        if p == 0 || p > MOST_MEMBERS {
            let text = format!("{p} devices; a group has 1 to {MOST_MEMBERS} members");
            return Err(Error::argument("group", text));
        }
        let workers = Workers::new(p);
        let ways = link::Ways::new(&members)?;
        let (choices, last) = Default::default();
        let shared = Shared { members, workers, ways, choices, last };
        Ok(Group { shared: Arc::new(shared), settings })
    }

    /// All OpenCL devices of this machine, or the host where there are none.
    ///
    /// # Errors
    /// More than 1,024 devices.
    pub fn all() -> Result<Group> {
        let all = Device::all();
        let devices: Vec<Device> = all.iter().filter(|d| !d.is_host()).cloned().collect();
        Group::new(if devices.is_empty() { all } else { devices })
    }

    /// The members, by number.
    pub fn members(&self) -> &[Device] {
        &self.shared.members
    }

    /// How many members there are.
    #[allow(clippy::len_without_is_empty, reason = "a group has members")]
    pub fn len(&self) -> usize {
        self.members().len()
    }

    /// A group for every colour, in the order of the colours; the members with it keep their order.
    ///
    /// ```
    /// # use clan::{Device, Group};
    /// let group = Group::new(vec![Device::host(); 5])?;
    /// let halves = group.split(&[0, 1, 0, 1, 0])?;
    /// assert_eq!((halves[0].len(), halves[1].len()), (3, 2));
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Not one colour a member.
    pub fn split(&self, colours: &[usize]) -> Result<Vec<Group>> {
        if colours.len() != self.len() {
            let text = format!("{} colours for {} members", colours.len(), self.len());
            return Err(Error::argument("split", text));
        }
        let mut by_colour: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (m, &colour) in colours.iter().enumerate() {
            by_colour.entry(colour).or_default().push(m);
        }
        by_colour.into_values().map(|members| self.some(&members)).collect()
    }

    /// The other members, as after the loss of one.
    ///
    /// # Errors
    /// A number that no member has; the only member.
    pub fn without(&self, member: usize) -> Result<Group> {
        self.is_member("without", "member", member)?;
        let others: Vec<usize> = (0..self.len()).filter(|&m| m != member).collect();
        self.some(&others)
    }

    /// A group of some of the members, with the same settings.
    fn some(&self, members: &[usize]) -> Result<Group> {
        let devices = members.iter().map(|&m| self.members()[m].clone()).collect();
        let of = |all: &Arc<[f64]>| members.iter().map(|&m| all[m]).collect::<Arc<[f64]>>();
        let weights = self.settings.weights.as_ref().map(of);
        // Members that were to get nothing have to do it now.
        let weights = weights.filter(|w| crate::split::are_weights(w));
        Group::of(devices, Settings { weights, ..self.settings.clone() })
    }

    /// The same group, whose calls fail when they have not ended so long after they were made. Without it
    /// that is five minutes.
    ///
    /// OpenCL cannot stop what a device has begun: what it still works on is kept until it is done
    /// with it, or for ever.
    pub fn with_deadline(&self, deadline: Duration) -> Group {
        let settings = Settings { deadline, ..self.settings.clone() };
        Group { shared: self.shared.clone(), settings }
    }

    /// The same group, whose calls take this algorithm. A collective that it is not made for returns an
    /// error.
    pub fn with_algorithm(&self, algorithm: Algorithm) -> Group {
        let settings = Settings { algorithm: Some(algorithm), ..self.settings.clone() };
        Group { shared: self.shared.clone(), settings }
    }

    /// The same group, whose links move so many bytes at a time where they have to cut. Without it, and
    /// with 0, the size follows from the links.
    pub fn with_chunk(&self, bytes: usize) -> Group {
        let settings = Settings { chunk: bytes, ..self.settings.clone() };
        Group { shared: self.shared.clone(), settings }
    }

    /// Refuses numbers that no member has.
    fn is_member(&self, op: &'static str, what: &str, member: usize) -> Result<()> {
        if member < self.len() {
            return Ok(());
        }
        let text = format!(
            "{what} {member} is none of the {} members; they are numbered from 0",
            self.len()
        );
        Err(Error::new(ErrorKind::Index, op, text))
    }
}
