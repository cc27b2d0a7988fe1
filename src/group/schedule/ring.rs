//! Blocks that go around.

use super::Action::{After, Copy};
use super::Schedule;

/// Every member ends with its own block of the members' elements combined, not in their order.
pub(super) fn reduce_scatter(s: &mut Schedule) {
    let p = s.members;
    s.ordered = p == 1;
    for t in 1..p {
        let round = s.next();
        for i in 0..p {
            s.push_around(round, i, (i + 1) % p, i + p - t, 1, After);
        }
    }
}

/// Every member starts with its own block.
pub(super) fn all_gather(s: &mut Schedule) {
    let p = s.members;
    for t in 0..p - 1 {
        let round = s.next();
        for i in 0..p {
            s.push_around(round, i, (i + 1) % p, i + p - t, 1, Copy);
        }
    }
}
