//! Where the blocks of a schedule lie in the memory of every member.

use super::schedule::{Collective, Schedule};

/// Kinds of memory that a member has in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// What the user passed. Never written.
    Input,
    /// What the user gets.
    Result,
    /// Blocks that only pass through.
    Scratch,
    /// Elements that have come, until nobody needs the ones in their place any more.
    Temp,
}

/// A place in a member's memory, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub region: Region,
    pub offset: usize,
}

/// All places, by member and block.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// Elements of a block.
    pub len: Vec<Vec<usize>>,
    /// Where it lies in the input, when it does.
    pub input: Vec<Vec<Option<usize>>>,
    /// Where it is written to.
    pub work: Vec<Vec<At>>,
    /// Elements of the member's result, when it has one.
    pub result: Vec<Option<usize>>,
}

/// Elements of the collective's parts.
#[derive(Clone, Debug)]
pub(crate) enum Counts {
    /// Everybody's array has so many.
    Whole(usize),
    /// The block of every member.
    Blocks(Vec<usize>),
    /// What every member has for every other, row by row.
    Pairs(Vec<Vec<usize>>),
}

impl Counts {
    /// Elements that a schedule's blocks have together, at the member that has the most.
    pub fn total(&self) -> usize {
        match self {
            Counts::Whole(n) => *n,
            Counts::Blocks(counts) => counts.iter().sum(),
            Counts::Pairs(rows) => rows.iter().map(|row| row.iter().sum()).max().unwrap_or(0),
        }
    }
}

pub(crate) use crate::split::even;

/// Blocks that only the engine sees start at whole vectors, where there are enough elements.
fn aligned(n: usize, parts: usize) -> Vec<usize> {
    const UNIT: usize = 64;
    if n < parts * UNIT * 4 {
        return even(n, parts);
    }
    let mut lens: Vec<usize> = even(n / UNIT, parts).into_iter().map(|u| u * UNIT).collect();
    lens[parts - 1] += n % UNIT;
    lens
}

/// The sums of all before.
fn starts(lens: &[usize]) -> Vec<usize> {
    let mut at = 0;
    lens.iter()
        .map(|len| {
            at += len;
            at - len
        })
        .collect()
}

/// Elements of every member's result, where it has one.
pub(crate) fn results(collective: Collective, p: usize, counts: &Counts) -> Vec<Option<usize>> {
    use Collective as C;
    let result = |m: usize| match (collective, counts) {
        (C::Reduce { root } | C::Gather { root }, counts) => (m == root).then(|| counts.total()),
        (C::AllGather, counts) => Some(counts.total()),
        (_, Counts::Whole(n)) => Some(*n),
        (_, Counts::Blocks(counts)) => Some(counts[m]),
        (_, Counts::Pairs(rows)) => Some(rows.iter().map(|row| row[m]).sum()),
    };
    (0..p).map(result).collect()
}

fn at(region: Region, offset: usize) -> At {
    At { region, offset }
}

impl Cut {
    /// For blocks that are cut from one array that everybody has, or a share of.
    pub fn new(s: &Schedule, counts: &Counts) -> Cut {
        let result = results(s.collective, s.members, counts);
        match counts {
            Counts::Whole(n) => Cut::whole(s, *n, result),
            Counts::Blocks(counts) => Cut::shares(s, counts, result),
            Counts::Pairs(rows) => Cut::pairs(s, rows, result),
        }
    }

    fn whole(s: &Schedule, n: usize, result: Vec<Option<usize>>) -> Cut {
        use Collective as C;
        let p = s.members;
        let lens = aligned(n, s.blocks);
        let offsets = starts(&lens);
        let has = |m: usize| match s.collective {
            C::Broadcast { root } => m == root,
            _ => true,
        };
        let region = |m: usize| match result[m] {
            Some(_) => Region::Result,
            None => Region::Scratch,
        };
        Cut {
            len: vec![lens; p],
            input: (0..p).map(|m| offsets.iter().map(|&o| has(m).then_some(o)).collect()).collect(),
            work: (0..p).map(|m| offsets.iter().map(|&o| at(region(m), o)).collect()).collect(),
            result,
        }
    }

    fn shares(s: &Schedule, counts: &[usize], result: Vec<Option<usize>>) -> Cut {
        use Collective as C;
        let p = s.members;
        let offsets = starts(counts);
        // Whether everybody, or somebody, has all blocks before; else each has its own.
        let input = |m: usize, b: usize| match s.collective {
            C::ReduceScatter => Some(offsets[b]),
            C::Scatter { root } => (m == root).then_some(offsets[b]),
            _ => (m == b).then_some(0),
        };
        let work = |m: usize, b: usize| match s.collective {
            C::AllGather => at(Region::Result, offsets[b]),
            C::Gather { root } if m == root => at(Region::Result, offsets[b]),
            C::Gather { .. } => at(Region::Scratch, offsets[b]),
            _ if m == b => at(Region::Result, 0),
            _ => at(Region::Scratch, offsets[b]),
        };
        Cut {
            len: vec![counts.to_vec(); p],
            input: (0..p).map(|m| (0..p).map(|b| input(m, b)).collect()).collect(),
            work: (0..p).map(|m| (0..p).map(|b| work(m, b)).collect()).collect(),
            result,
        }
    }

    /// Blocks 0 to p − 1 are sent, the next p received, and slots of any content pass through the rest.
    fn pairs(s: &Schedule, rows: &[Vec<usize>], result: Vec<Option<usize>>) -> Cut {
        let p = s.members;
        let slot = rows.iter().flatten().copied().max().unwrap_or(0);
        let columns: Vec<Vec<usize>> =
            (0..p).map(|m| rows.iter().map(|row| row[m]).collect()).collect();
        let width = s.blocks * (s.spare + 1);
        let slots = width - 2 * p;
        let lens = |m: usize| {
            let all = rows[m].iter().chain(&columns[m]).copied();
            all.chain(std::iter::repeat_n(slot, slots)).collect::<Vec<_>>()
        };
        let input = |m: usize| {
            let sent = starts(&rows[m]).into_iter().map(Some);
            sent.chain(std::iter::repeat_n(None, width - p)).collect::<Vec<_>>()
        };
        let work = |m: usize| {
            // The first p are never written.
            let sent = starts(&rows[m]).into_iter().map(|o| at(Region::Input, o));
            let received = starts(&columns[m]).into_iter().map(|o| at(Region::Result, o));
            let passing = (0..slots).map(|k| at(Region::Scratch, k * slot));
            sent.chain(received).chain(passing).collect::<Vec<_>>()
        };
        Cut {
            len: (0..p).map(lens).collect(),
            input: (0..p).map(input).collect(),
            work: (0..p).map(work).collect(),
            result,
        }
    }
}
