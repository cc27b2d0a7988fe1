use super::*;
use Algorithm as A;
use Collective as C;

pub(in crate::group) const ALGORITHMS: [A; 13] = [
    A::Star,
    A::Tree { radix: 2 },
    A::Tree { radix: 3 },
    A::Tree { radix: 8 },
    A::Chain { segments: 1 },
    A::Chain { segments: 2 },
    A::Chain { segments: 5 },
    A::Ring,
    A::Doubling,
    A::Halving,
    A::ScatterGather,
    A::Pairwise,
    A::Bruck,
];

fn collectives(root: usize) -> [C; 10] {
    [
        C::Broadcast { root },
        C::Reduce { root },
        C::AllReduce,
        C::ReduceScatter,
        C::AllGather,
        C::Scatter { root },
        C::Gather { root },
        C::AllToAll,
        C::Scan,
        C::ExclusiveScan,
    ]
}

/// A function x → a x + b over 64-bit integers. Combined one after the other they do not commute.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Map(u64, u64);

impl Map {
    fn then(self, next: Map) -> Map {
        let Map(a, b) = next;
        Map(self.0.wrapping_mul(a), self.1.wrapping_mul(a).wrapping_add(b))
    }

    /// Sums, which commute.
    fn plus(self, other: Map) -> Map {
        Map(self.0.wrapping_add(other.0), self.1.wrapping_add(other.1))
    }
}

/// What member `m` has in block `b` before.
fn before(m: usize, b: usize) -> Map {
    let mix = |x: u64| (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = mix((m * 1_000_003 + b) as u64 + 1);
    Map(x | 1, mix(x))
}

/// Runs a schedule on one value a block. What a collective says nothing about is `None`: sending it
/// is a mistake.
fn run(s: &Schedule, combine: fn(Map, Map) -> Map) -> Vec<Vec<Option<Map>>> {
    let p = s.members;
    let has = |m: usize, b: usize| match s.collective {
        C::Broadcast { root } | C::Scatter { root } => m == root,
        C::AllGather | C::Gather { .. } => m == b,
        _ => b < s.blocks,
    };
    let width = s.blocks * (s.spare + 1);
    let mut all: Vec<Vec<Option<Map>>> =
        (0..p).map(|m| (0..width).map(|b| has(m, b).then(|| before(m, b))).collect()).collect();
    for round in s.by_round() {
        let mut reads = Vec::with_capacity(round.len());
        for t in round {
            let blocks = &all[t.from as usize][t.block as usize..][..t.count as usize];
            reads.extend(blocks.iter().map(|v| v.expect("sends what it has")));
        }
        let mut reads = reads.into_iter();
        // Receivers combine one message after the other, in the order of the schedule.
        for t in round {
            for own in &mut all[t.to as usize][t.into as usize..][..t.count as usize] {
                let v = reads.next().expect("as many as were read");
                *own = Some(match (t.action, *own) {
                    (Action::Copy, _) => v,
                    (Action::Before, Some(own)) => combine(v, own),
                    (Action::After, Some(own)) => combine(own, v),
                    (_, None) => panic!("combines with nothing: {t:?}"),
                });
            }
        }
    }
    all
}

/// What member `m` must have in block `b` afterwards; `None` where anything may be.
fn after(s: &Schedule, m: usize, b: usize, folds: &[Vec<Map>]) -> Option<Map> {
    let p = s.members;
    let own = |block: usize| b == block;
    match s.collective {
        C::Broadcast { root } => Some(before(root, b)),
        C::Reduce { root } => (m == root).then(|| folds[b][p - 1]),
        C::AllReduce => Some(folds[b][p - 1]),
        C::ReduceScatter => own(m).then(|| folds[b][p - 1]),
        C::AllGather => Some(before(b, b)),
        C::Scatter { root } => own(m).then(|| before(root, b)),
        C::Gather { root } => (m == root).then(|| before(b, b)),
        C::AllToAll => (p..2 * p).contains(&b).then(|| before(b - p, m)),
        C::Scan => Some(folds[b][m]),
        C::ExclusiveScan => (m > 0).then(|| folds[b][m - 1]),
    }
}

fn check(s: &Schedule) {
    let p = s.members;
    let combine = if s.ordered { Map::then } else { Map::plus };
    // Of every block, the members' values combined up to each of them.
    let folds: Vec<Vec<Map>> = (0..s.blocks)
        .map(|b| {
            let mut so_far = None;
            (0..p)
                .map(|m| {
                    let v = so_far.map_or(before(m, b), |f| combine(f, before(m, b)));
                    so_far = Some(v);
                    v
                })
                .collect()
        })
        .collect();
    let what = format!("{:?} {:?} of {p}", s.collective, s.algorithm);
    let got = run(s, combine);
    for (m, blocks) in got.iter().enumerate() {
        for (b, &got) in blocks.iter().enumerate() {
            if let Some(want) = after(s, m, b, &folds) {
                assert_eq!(got, Some(want), "{what}: member {m}, block {b}");
            }
        }
    }
    assert!(s.steps.is_sorted_by_key(|t| t.round), "{what}");
    // No round is empty, and nobody gets two messages for one block in one.
    assert_eq!(s.by_round().count(), s.rounds(), "{what}");
    for round in s.by_round() {
        let mut targets: Vec<(u32, u32, u32)> =
            round.iter().map(|t| (t.to, t.into, t.into + t.count)).collect();
        targets.sort_unstable();
        let apart = targets.windows(2).all(|w| w[0].0 != w[1].0 || w[0].2 <= w[1].1);
        assert!(apart, "{what}: two writes to one block in round {}", round[0].round);
    }
}

#[test]
fn every_schedule_does_what_it_is_named() {
    let mut made = 0;
    for p in (1..=9).chain([12, 16, 17, 33, 64]) {
        for root in [0, p / 2, p - 1] {
            for c in collectives(root) {
                for a in ALGORITHMS {
                    if let Some(s) = Schedule::new(c, a, p) {
                        check(&s);
                        made += 1;
                    }
                }
            }
        }
    }
    assert!(made > 1000, "{made}");
}

#[test]
fn large_groups() {
    for (p, algorithms) in [(1000, &ALGORITHMS[..2]), (1024, &ALGORITHMS)] {
        for c in collectives(p / 3) {
            for &a in algorithms {
                if let Some(s) = Schedule::new(c, a, p) {
                    check(&s);
                }
            }
        }
    }
}

#[test]
fn as_many_rounds_as_the_literature_says() {
    for p in 1..=130usize {
        let log = p.next_power_of_two().ilog2() as usize;
        let pairs = if p.is_power_of_two() { 0 } else { 2 };
        let floor = p.ilog2() as usize;
        let rounds = |c, a| Schedule::new(c, a, p).unwrap().rounds();
        assert_eq!(rounds(C::Broadcast { root: 0 }, A::Tree { radix: 2 }), log, "{p}");
        assert_eq!(rounds(C::Reduce { root: 0 }, A::Tree { radix: 2 }), log, "{p}");
        assert_eq!(rounds(C::AllReduce, A::Ring), 2 * (p - 1), "{p}");
        assert_eq!(rounds(C::AllReduce, A::Doubling), floor + pairs, "{p}");
        assert_eq!(rounds(C::AllReduce, A::Halving), 2 * floor + pairs, "{p}");
        assert_eq!(rounds(C::AllGather, A::Bruck), log, "{p}");
        assert_eq!(rounds(C::AllToAll, A::Pairwise), p, "{p}, with the copy of its own");
        assert_eq!(rounds(C::Scan, A::Doubling), log, "{p}");
    }
}

#[test]
fn what_does_not_exist_is_none() {
    assert!(Schedule::new(C::AllReduce, A::Ring, 0).is_none());
    assert!(Schedule::new(C::Broadcast { root: 3 }, A::Star, 3).is_none());
    assert!(Schedule::new(C::Broadcast { root: 0 }, A::Tree { radix: 1 }, 3).is_none());
    assert!(Schedule::new(C::Broadcast { root: 0 }, A::Chain { segments: 0 }, 3).is_none());
    assert!(Schedule::new(C::Broadcast { root: 0 }, A::Bruck, 3).is_none());
    for c in collectives(0) {
        assert!(!Schedule::candidates(c, 5).is_empty(), "{c:?}");
    }
}
