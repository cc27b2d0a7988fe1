//! Collective operations as data: who sends which blocks to whom, and what the receiver does with
//! them.
//!
//! A [`Schedule`] is a list of [`Step`]s over the *blocks* that every member's buffer is cut into.
//! It knows neither lengths nor devices: the same schedule moves real memory, runs in tests on
//! plain vectors, and runs on a [simulated clock](super::clock) whose links have any speed.
//!
//! Within a round all steps read before any of them writes. Between rounds there is no barrier: a
//! step needs what its blocks need, no more.
//!
//! | algorithm | collectives | messages in a row | elements through a member |
//! |---|---|---|---|
//! | [`Star`](Algorithm::Star) | from or to a root, all_reduce | p − 1 | (p − 1) n |
//! | [`Tree`](Algorithm::Tree) of radix 2 | the same | log p | n log p; scatter and gather n |
//! | [`Chain`](Algorithm::Chain) of s segments | broadcast, reduce, scan; all_reduce | p − 2 + s; twice | n; 2 n |
//! | [`Ring`](Algorithm::Ring) | all_reduce, reduce_scatter, all_gather | 2 (p − 1), p − 1 | 2 n, n |
//! | [`Doubling`](Algorithm::Doubling) | all_reduce, all_gather, scan | log p | n log p; all_gather n |
//! | [`Halving`](Algorithm::Halving) | all_reduce, reduce_scatter | 2 log p, log p | 2 n, n |
//! | [`ScatterGather`](Algorithm::ScatterGather) | broadcast | log p + p − 1 | 2 n |
//! | [`Pairwise`](Algorithm::Pairwise) | all_to_all | p − 1 | n |
//! | [`Bruck`](Algorithm::Bruck) | all_to_all, all_gather | log p | n/2 log p, n |
//!
//! Sources: Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication Operations in
//! MPICH" (2005); Bruck and others, "Efficient Algorithms for All-to-All Communications in
//! Multiport Message-Passing Systems" (1997); Hillis and Steele, "Data Parallel Algorithms" (1986).

mod doubling;
mod exchange;
mod ring;
mod tree;

use std::fmt;
use std::ops::Range;

/// What every member has afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collective {
    /// The root's elements.
    Broadcast {
        /// Who has them before.
        root: usize,
    },
    /// The root has the members' elements combined; what the others have is not defined.
    Reduce {
        /// Who has them afterwards.
        root: usize,
    },
    /// The members' elements combined.
    AllReduce,
    /// Its own block of the members' elements combined.
    ReduceScatter,
    /// Every member's block.
    AllGather,
    /// Its own block of the root's elements.
    Scatter {
        /// Who has all blocks before.
        root: usize,
    },
    /// The root has every member's block.
    Gather {
        /// Who has all blocks afterwards.
        root: usize,
    },
    /// In block p + j what member j had in the block that is numbered like this member. Blocks 0 to
    /// p − 1 are what is sent.
    AllToAll,
    /// The elements of the members up to and including itself combined.
    Scan,
    /// The elements of the members before it combined. That of the first member is not defined.
    ExclusiveScan,
}

impl Collective {
    /// The name of the call.
    pub fn name(self) -> &'static str {
        match self {
            Collective::Broadcast { .. } => "broadcast",
            Collective::Reduce { .. } => "reduce",
            Collective::AllReduce => "all_reduce",
            Collective::ReduceScatter => "reduce_scatter",
            Collective::AllGather => "all_gather",
            Collective::Scatter { .. } => "scatter",
            Collective::Gather { .. } => "gather",
            Collective::AllToAll => "all_to_all",
            Collective::Scan => "scan",
            Collective::ExclusiveScan => "exclusive_scan",
        }
    }
}

/// How it comes about; the table at [the top](self) has the costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The root deals with every other member itself.
    Star,
    /// Members that have a value pass it on, `radix − 1` times a level: binomial for 2.
    Tree {
        /// 2 or more.
        radix: usize,
    },
    /// From member to member, the elements in `segments` parts that follow one another.
    Chain {
        /// 1 or more.
        segments: usize,
    },
    /// A block a round to the next member, around.
    Ring,
    /// All elements to a partner at distances 1, 2, 4, …
    Doubling,
    /// Half of the elements to a partner at distances p/2, p/4, …, and back.
    Halving,
    /// A tree deals out blocks, a ring passes them around.
    ScatterGather,
    /// In round t with the members at distance t.
    Pairwise,
    /// Blocks travel in log p messages, of many blocks each, to members at distances 1, 2, 4, …
    Bruck,
    /// No schedule: the host's memory, which is no member, takes every element once from those who have it,
    /// combines, and gives the result to those who get it. For members that have no other way to each
    /// other than the host.
    Hub,
    /// No schedule: every member's kernel loads from the others' memory and stores to it, with no host in
    /// between. For GPUs that reach each other's memory, which take all collectives so.
    Peer,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Star => "star",
            Algorithm::Tree { radix } => return write!(f, "tree of radix {radix}"),
            Algorithm::Chain { segments: 1 } => "chain",
            Algorithm::Chain { segments } => return write!(f, "chain of {segments} segments"),
            Algorithm::Ring => "ring",
            Algorithm::Doubling => "doubling",
            Algorithm::Halving => "halving",
            Algorithm::ScatterGather => "scatter + all_gather",
            Algorithm::Pairwise => "pairwise",
            Algorithm::Bruck => "Bruck",
            Algorithm::Hub => "hub",
            Algorithm::Peer => "peer",
        })
    }
}

/// What the receiver does with the elements that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keeps them in place of its own.
    Copy,
    /// Combines `incoming ∘ own`.
    Before,
    /// Combines `own ∘ incoming`.
    After,
}

/// One transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Steps of one round read before any of them writes.
    pub round: u32,
    /// The sender.
    pub from: u32,
    /// The receiver; may be the sender, for a copy in its own memory.
    pub to: u32,
    /// The first block at the sender.
    pub block: u32,
    /// The first block at the receiver.
    pub into: u32,
    /// Blocks, which are neighbours on both sides.
    pub count: u32,
    /// What the receiver does.
    pub action: Action,
}

/// A collective for a number of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What it does.
    pub collective: Collective,
    /// How.
    pub algorithm: Algorithm,
    /// How many take part.
    pub members: usize,
    /// Blocks that the elements of a member are cut into.
    pub blocks: usize,
    /// Further blocks of the same lengths, over again, that a member needs room for.
    pub spare: usize,
    /// Whether it combines in the order of the members, so that operators need not commute.
    pub ordered: bool,
    /// By rounds.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of a collective by an algorithm; `None` where that is not made for it, or for
    /// no members, or a root that is none of them.
    ///
    /// ```
    /// use clan::group::schedule::{Algorithm, Collective, Schedule};
    /// let tree = Schedule::new(Collective::Broadcast { root: 0 }, Algorithm::Tree { radix: 2 }, 5).unwrap();
    /// let hops: Vec<(u32, u32)> = tree.steps.iter().map(|s| (s.from, s.to)).collect();
    /// assert_eq!(hops, [(0, 4), (0, 2), (0, 1), (2, 3)]);
    /// ```
    pub fn new(collective: Collective, algorithm: Algorithm, members: usize) -> Option<Schedule> {
        use Algorithm as A;
        use Collective as C;
        let root = match collective {
            C::Broadcast { root }
            | C::Reduce { root }
            | C::Scatter { root }
            | C::Gather { root } => root,
            _ => 0,
        };
        let sound = match algorithm {
            A::Tree { radix } => radix >= 2,
            A::Chain { segments } => segments >= 1,
            _ => true,
        };
        // Numbers of members and blocks are 32 bits in steps, of which all_to_all needs three times p.
        if members == 0 || root >= members || !sound || members > u32::MAX as usize / 4 {
            return None;
        }
        let mut s = Schedule {
            collective,
            algorithm,
            members,
            blocks: 1,
            spare: 0,
            ordered: true,
            steps: Vec::new(),
        };
        let p = members;
        match (collective, algorithm) {
            (C::Broadcast { .. }, A::Star) => tree::broadcast(&mut s, root, p),
            (C::Broadcast { .. }, A::Tree { radix }) => tree::broadcast(&mut s, root, radix),
            (C::Broadcast { .. }, A::Chain { segments }) => tree::chain(&mut s, root, segments),
            (C::Broadcast { .. }, A::ScatterGather) => {
                s.blocks = p;
                tree::deal(&mut s, root, 2, false);
                ring::all_gather(&mut s);
            }
            (C::Reduce { .. }, A::Star) => tree::reduce(&mut s, root, p),
            (C::Reduce { .. }, A::Tree { radix }) => tree::reduce(&mut s, root, radix),
            (C::Reduce { .. }, A::Chain { segments }) => tree::chain_reduce(&mut s, root, segments),
            (C::AllReduce, A::Star) => {
                tree::reduce(&mut s, 0, p);
                tree::broadcast(&mut s, 0, p);
            }
            (C::AllReduce, A::Tree { radix }) => {
                tree::reduce(&mut s, 0, radix);
                tree::broadcast(&mut s, 0, radix);
            }
            (C::AllReduce, A::Chain { segments }) => tree::chain_all_reduce(&mut s, segments),
            (C::AllReduce, A::Ring) => {
                s.blocks = p;
                ring::reduce_scatter(&mut s);
                ring::all_gather(&mut s);
            }
            (C::AllReduce, A::Doubling) => doubling::all_reduce(&mut s),
            (C::AllReduce, A::Halving) => doubling::halving_all_reduce(&mut s),
            (C::ReduceScatter, A::Ring) => {
                s.blocks = p;
                ring::reduce_scatter(&mut s);
            }
            (C::ReduceScatter, A::Halving) => doubling::reduce_scatter(&mut s),
            (C::AllGather, A::Ring) => {
                s.blocks = p;
                ring::all_gather(&mut s);
            }
            (C::AllGather, A::Doubling) => doubling::all_gather(&mut s),
            (C::AllGather, A::Bruck) => exchange::bruck_all_gather(&mut s),
            (C::Scatter { .. }, A::Star) => {
                s.blocks = p;
                tree::deal(&mut s, root, p, false);
            }
            (C::Scatter { .. }, A::Tree { radix }) => {
                s.blocks = p;
                tree::deal(&mut s, root, radix, false);
            }
            (C::Gather { .. }, A::Star) => {
                s.blocks = p;
                tree::deal(&mut s, root, p, true);
            }
            (C::Gather { .. }, A::Tree { radix }) => {
                s.blocks = p;
                tree::deal(&mut s, root, radix, true);
            }
            (C::AllToAll, A::Pairwise) => exchange::pairwise(&mut s),
            (C::AllToAll, A::Bruck) => exchange::bruck(&mut s),
            (C::Scan, A::Chain { segments }) => tree::chain_scan(&mut s, 0, segments),
            (C::Scan, A::Doubling) => doubling::scan(&mut s, 0),
            (C::ExclusiveScan, A::Chain { segments }) => {
                exchange::shift(&mut s);
                tree::chain_scan(&mut s, 1, segments);
            }
            (C::ExclusiveScan, A::Doubling) => {
                exchange::shift(&mut s);
                doubling::scan(&mut s, 1);
            }
            _ => return None,
        }
        Some(s)
    }

    /// All algorithms for a collective that are worth weighing, by the number of members.
    pub fn candidates(collective: Collective, members: usize) -> Vec<Algorithm> {
        use Algorithm as A;
        let chains = (0..8).map(|s| A::Chain { segments: 1 << s });
        let trees = [2, 3, 4, 8].into_iter().filter(|&radix| radix <= members.max(2));
        [A::Star, A::Ring, A::Doubling, A::Halving, A::ScatterGather, A::Pairwise, A::Bruck]
            .into_iter()
            .chain(trees.map(|radix| A::Tree { radix }))
            .chain(chains)
            .filter(|&a| Schedule::new(collective, a, 1).is_some())
            .collect()
    }

    /// Rounds until the end.
    pub fn rounds(&self) -> usize {
        self.steps.last().map_or(0, |s| s.round as usize + 1)
    }

    /// The steps of each round, in order.
    pub fn by_round(&self) -> impl Iterator<Item = &[Step]> {
        self.steps.chunk_by(|a, b| a.round == b.round)
    }

    /// The next round's number.
    fn next(&self) -> u32 {
        self.rounds() as u32
    }

    fn push(&mut self, round: u32, from: usize, to: usize, blocks: Range<usize>, action: Action) {
        let into = blocks.start;
        self.push_into(round, from, to, blocks, into, action);
    }

    fn push_into(
        &mut self,
        round: u32,
        from: usize,
        to: usize,
        blocks: Range<usize>,
        into: usize,
        action: Action,
    ) {
        if blocks.is_empty() {
            return;
        }
        self.steps.push(Step {
            round,
            from: from as u32,
            to: to as u32,
            block: blocks.start as u32,
            into: into as u32,
            count: blocks.len() as u32,
            action,
        });
    }

    /// Blocks `first .. first + count`, counted around the number of members.
    fn push_around(
        &mut self,
        round: u32,
        from: usize,
        to: usize,
        first: usize,
        count: usize,
        action: Action,
    ) {
        let first = first % self.members;
        let end = (first + count).min(self.members);
        self.push(round, from, to, first..end, action);
        self.push(round, from, to, 0..first + count - end, action);
    }

    /// Orders what was pushed from round `from` on by rounds; within a round the order stays.
    fn sort(&mut self, from: u32) {
        let start = self.steps.partition_point(|s| s.round < from);
        self.steps[start..].sort_by_key(|s| s.round);
    }
}

#[cfg(test)]
pub(in crate::group) mod tests;
