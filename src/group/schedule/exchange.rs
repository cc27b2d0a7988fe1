//! Everybody with everybody.

use super::Action::Copy;
use super::Schedule;

/// In round t every member sends to the one at distance t.
pub(super) fn pairwise(s: &mut Schedule) {
    let p = s.members;
    (s.blocks, s.spare) = (p, 1);
    for t in 0..p {
        let round = s.next();
        for i in 0..p {
            let to = (i + t) % p;
            s.push_into(round, i, to, to..to + 1, p + i, Copy);
        }
    }
}

/// Block t of the third set of blocks is on its way to the member at distance t from where it
/// started; in the round of bit b all blocks whose t has it go 2^b members further.
pub(super) fn bruck(s: &mut Schedule) {
    let p = s.members;
    (s.blocks, s.spare) = (p, 2);
    let round = s.next();
    for i in 0..p {
        s.push_into(round, i, i, i..p, 2 * p, Copy);
        s.push_into(round, i, i, 0..i, 3 * p - i, Copy);
    }
    let mut bit = 1;
    while bit < p {
        let round = s.next();
        for i in 0..p {
            let mut t = bit;
            while t < p {
                let run = t..(t + bit).min(p);
                s.push(round, i, (i + bit) % p, 2 * p + run.start..2 * p + run.end, Copy);
                t += 2 * bit;
            }
        }
        bit *= 2;
    }
    // What came over distance t is from member i − t.
    let round = s.next();
    for i in 0..p {
        for t in 0..p {
            s.push_into(round, i, i, 2 * p + t..2 * p + t + 1, p + (i + p - t) % p, Copy);
        }
    }
}

/// Every member has the blocks of itself and those after it, twice as many each round.
pub(super) fn bruck_all_gather(s: &mut Schedule) {
    let p = s.members;
    s.blocks = p;
    let mut have = 1;
    while have < p {
        let round = s.next();
        for i in 0..p {
            s.push_around(round, i, (i + p - have) % p, i, have.min(p - have), Copy);
        }
        have *= 2;
    }
}

/// Everybody's elements to the next member, those of the last to nobody.
pub(super) fn shift(s: &mut Schedule) {
    let round = s.next();
    for i in 1..s.members {
        s.push(round, i - 1, i, 0..1, Copy);
    }
}
