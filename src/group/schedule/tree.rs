//! Trees and chains.

use super::Action::{After, Before, Copy};
use super::Schedule;

/// The parent, child and width of every edge of a tree over ranks 0 to p − 1: the child `child`
/// stands for the ranks `child .. child + width`. From the root downwards.
fn edges(members: usize, radix: usize) -> Vec<Vec<(usize, usize, usize)>> {
    let mut width = 1;
    while width < members {
        width = width.saturating_mul(radix);
    }
    let mut levels = Vec::new();
    while width > 1 {
        let part = width / radix;
        // The farthest child first: it has the most to pass on.
        for child in (1..radix).rev() {
            let level = (0..members.div_ceil(width))
                .map(|g| (g * width, g * width + child * part, part))
                .filter(|&(_, child, _)| child < members)
                .map(|(parent, child, part)| (parent, child, part.min(members - child)))
                .collect::<Vec<_>>();
            if !level.is_empty() {
                levels.push(level);
            }
        }
        width = part;
    }
    levels
}

/// A radix that makes one level of all members.
fn radix_for(s: &Schedule, radix: usize) -> usize {
    radix.clamp(2, s.members.max(2))
}

pub(super) fn broadcast(s: &mut Schedule, root: usize, radix: usize) {
    let (p, blocks) = (s.members, s.blocks);
    for level in edges(p, radix_for(s, radix)) {
        let round = s.next();
        for (parent, child, _) in level {
            s.push(round, (parent + root) % p, (child + root) % p, 0..blocks, Copy);
        }
    }
}

/// Combines in the order of the members: at member 0, which sends the result to the root.
pub(super) fn reduce(s: &mut Schedule, root: usize, radix: usize) {
    let (p, blocks) = (s.members, s.blocks);
    for level in edges(p, radix_for(s, radix)).into_iter().rev() {
        let round = s.next();
        for (parent, child, _) in level {
            s.push(round, child, parent, 0..blocks, After);
        }
    }
    if root != 0 {
        s.push(s.next(), 0, root, 0..blocks, Copy);
    }
}

/// Deals out blocks from the root, or brings them back to it.
pub(super) fn deal(s: &mut Schedule, root: usize, radix: usize, back: bool) {
    let p = s.members;
    let mut levels = edges(p, radix_for(s, radix));
    if back {
        levels.reverse();
    }
    for level in levels {
        let round = s.next();
        for (parent, child, width) in level {
            let (upper, lower) = ((parent + root) % p, (child + root) % p);
            let (from, to) = if back { (lower, upper) } else { (upper, lower) };
            s.push_around(round, from, to, child + root, width, Copy);
        }
    }
}

pub(super) fn chain(s: &mut Schedule, root: usize, segments: usize) {
    let p = s.members;
    s.blocks = segments;
    let start = s.next();
    for segment in 0..segments {
        for k in 0..p - 1 {
            let round = start + (segment + k) as u32;
            s.push(round, (root + k) % p, (root + k + 1) % p, segment..segment + 1, Copy);
        }
    }
    s.sort(start);
}

/// From the last member to the first.
fn down(s: &mut Schedule, segments: usize) {
    let p = s.members;
    let start = s.next();
    for segment in 0..segments {
        for k in 0..p - 1 {
            let round = start + (segment + k) as u32;
            s.push(round, p - 1 - k, p - 2 - k, segment..segment + 1, After);
        }
    }
    s.sort(start);
}

pub(super) fn chain_reduce(s: &mut Schedule, root: usize, segments: usize) {
    s.blocks = segments;
    down(s, segments);
    if root != 0 {
        s.push(s.next(), 0, root, 0..segments, Copy);
    }
}

/// Down the chain and up again; a segment turns as soon as it has arrived.
pub(super) fn chain_all_reduce(s: &mut Schedule, segments: usize) {
    let p = s.members;
    s.blocks = segments;
    down(s, segments);
    for segment in 0..segments {
        for k in 0..p - 1 {
            let round = (segment + p - 1 + k) as u32;
            s.push(round, k, k + 1, segment..segment + 1, Copy);
        }
    }
    s.sort(0);
}

/// Over the members from `first` on.
pub(super) fn chain_scan(s: &mut Schedule, first: usize, segments: usize) {
    let p = s.members;
    let start = s.next();
    s.split(segments);
    for segment in 0..segments {
        for k in first..p.saturating_sub(1) {
            let round = start + (segment + k - first) as u32;
            s.push(round, k, k + 1, segment..segment + 1, Before);
        }
    }
    s.sort(start);
}

impl Schedule {
    /// Cuts the only block there was until now.
    fn split(&mut self, segments: usize) {
        for step in &mut self.steps {
            step.count = segments as u32;
        }
        self.blocks = segments;
    }
}
