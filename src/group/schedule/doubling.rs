//! Partners at distances that double or halve.
//!
//! They want a power of two of members. When there are r more, each of the first r pairs of
//! neighbours is one member until the end: the first of a pair gives its elements to the second,
//! which speaks for both. Pairs of neighbours, and groups of neighbouring pairs, keep the order.

use super::Action::{self, After, Before, Copy};
use super::Schedule;

/// The members that go on.
struct Fold {
    /// A power of two.
    active: usize,
    /// How many speak for two.
    pairs: usize,
}

impl Fold {
    fn of(members: usize) -> Fold {
        let active = 1 << members.ilog2();
        Fold { active, pairs: members - active }
    }

    /// The member that the active one with number `k` is.
    fn member(&self, k: usize) -> usize {
        if k < self.pairs { 2 * k + 1 } else { k + self.pairs }
    }

    /// The first member that those from number `k` on speak for.
    fn first(&self, k: usize) -> usize {
        if k < self.pairs { 2 * k } else { k + self.pairs }
    }

    /// The first of each pair gives its elements to the second.
    fn fold(&self, s: &mut Schedule, action: Action) {
        let round = s.next();
        for k in 0..self.pairs {
            let blocks = match action {
                Copy => 2 * k..2 * k + 1,
                _ => 0..s.blocks,
            };
            s.push(round, 2 * k, 2 * k + 1, blocks, action);
        }
    }

    /// The second of each pair gives the result to the first.
    fn unfold(&self, s: &mut Schedule) {
        let (round, blocks) = (s.next(), s.blocks);
        for k in 0..self.pairs {
            s.push(round, 2 * k + 1, 2 * k, 0..blocks, Copy);
        }
    }
}

pub(super) fn all_reduce(s: &mut Schedule) {
    let fold = Fold::of(s.members);
    fold.fold(s, Before);
    let mut distance = 1;
    while distance < fold.active {
        let round = s.next();
        for k in 0..fold.active {
            let partner = k ^ distance;
            let action = if k < partner { Before } else { After };
            s.push(round, fold.member(k), fold.member(partner), 0..1, action);
        }
        distance *= 2;
    }
    fold.unfold(s);
}

/// Halves the blocks between partners until every active member has the blocks of `own`.
fn halve(s: &mut Schedule, fold: &Fold, own: impl Fn(usize) -> usize) {
    // Partners at a distance combine what members between them have not seen.
    s.ordered = s.members <= 2;
    let mut distance = fold.active / 2;
    while distance > 0 {
        let round = s.next();
        for k in 0..fold.active {
            let partner = k ^ distance;
            // The partner's half.
            let first = partner & !(distance - 1);
            let action = if k < partner { Before } else { After };
            let blocks = own(first)..own(first + distance);
            s.push(round, fold.member(k), fold.member(partner), blocks, action);
        }
        distance /= 2;
    }
}

/// Doubles the blocks between partners, each starting with those of `own`.
fn double(s: &mut Schedule, fold: &Fold, own: impl Fn(usize) -> usize) {
    let mut distance = 1;
    while distance < fold.active {
        let round = s.next();
        for k in 0..fold.active {
            let first = k & !(distance - 1);
            let blocks = own(first)..own(first + distance);
            s.push(round, fold.member(k), fold.member(k ^ distance), blocks, Copy);
        }
        distance *= 2;
    }
}

pub(super) fn halving_all_reduce(s: &mut Schedule) {
    let fold = Fold::of(s.members);
    s.blocks = fold.active;
    fold.fold(s, Before);
    halve(s, &fold, |k| k);
    double(s, &fold, |k| k);
    fold.unfold(s);
}

pub(super) fn reduce_scatter(s: &mut Schedule) {
    let fold = Fold::of(s.members);
    s.blocks = s.members;
    fold.fold(s, Before);
    halve(s, &fold, |k| fold.first(k));
    let round = s.next();
    for k in 0..fold.pairs {
        s.push(round, 2 * k + 1, 2 * k, 2 * k..2 * k + 1, Copy);
    }
}

pub(super) fn all_gather(s: &mut Schedule) {
    let fold = Fold::of(s.members);
    s.blocks = s.members;
    fold.fold(s, Copy);
    double(s, &fold, |k| fold.first(k));
    fold.unfold(s);
}

/// Over the members from `first` on.
pub(super) fn scan(s: &mut Schedule, first: usize) {
    let mut distance = 1;
    while first + distance < s.members {
        let round = s.next();
        for i in first..s.members - distance {
            s.push(round, i, i + distance, 0..1, Before);
        }
        distance *= 2;
    }
}
