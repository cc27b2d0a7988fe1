//! A clock that runs schedules over links of given speeds: what a collective will take on machines
//! that are not here, and which algorithm to take.
//!
//! The model is that of the textbooks (Hockney, 1994; Thakur, Rabenseifner, Gropp, 2005): a message
//! of n bytes takes `latency + n / bandwidth`, every member sends one message at a time and receives one at
//! a time, both at once; combining takes time for every byte. A message starts when its blocks have
//! arrived at the sender and both sides are free, whatever other members do.
//!
//! What it predicts for `all_reduce`: GPUs that share memory over NVLink (10 µs, 368 GB/s, as
//! measured between two H200), hosts with 200 Gbit/s between any two (3 µs, 25 GB/s), 2 TB/s combined.
//! Bytes of one member ÷ time:
//!
//! | members | 16 KiB | 256 MiB |
//! |---|---|---|
//! | 2 GPUs | Doubling, 10 µs, 1.63 GB/s | Ring, 817 µs, 328.74 GB/s |
//! | 8 GPUs | Doubling, 30 µs, 0.54 GB/s | Halving, 1454 µs, 184.62 GB/s |
//! | 8 hosts | Doubling, 11 µs, 1.49 GB/s | Halving, 18926 µs, 14.18 GB/s |
//! | 64 hosts | Doubling, 22 µs, 0.75 GB/s | Halving, 21307 µs, 12.60 GB/s |
//! | 1024 hosts | Doubling, 37 µs, 0.45 GB/s | Halving, 21648 µs, 12.40 GB/s |

use super::schedule::{Action, Algorithm, Collective, Schedule, Step};

/// A link from one member to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Seconds until the first byte has arrived.
    pub latency: f64,
    /// Bytes a second.
    pub bandwidth: f64,
}

impl Link {
    /// Seconds for a message of so many bytes.
    pub fn time(&self, bytes: f64) -> f64 {
        self.latency + bytes / self.bandwidth
    }
}

/// Links between all members, and how fast they combine.
pub struct Machine<'a> {
    /// The link from one member to another.
    pub link: &'a dyn Fn(usize, usize) -> Link,
    /// Bytes a second that a member combines; infinite to leave it out.
    pub combine: f64,
}

/// What the clock says about a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// Until the last message has arrived and been combined.
    pub seconds: f64,
    /// The most messages that one member sends.
    pub messages: usize,
    /// The most bytes that one member sends.
    pub bytes: f64,
}

/// The bytes of some blocks when `bytes` are cut into `blocks` as evenly as can be.
fn bytes_of(schedule: &Schedule, bytes: usize, first: usize, count: usize) -> f64 {
    let blocks = schedule.blocks;
    let at = |b: usize| (b / blocks * bytes) as f64 + (b % blocks * bytes / blocks) as f64;
    at(first + count) - at(first)
}

/// Runs a schedule over `bytes` a member (of all blocks together).
pub fn simulate(schedule: &Schedule, bytes: usize, machine: &Machine<'_>) -> Timing {
    let (p, width) = (schedule.members, schedule.blocks * (schedule.spare + 1));
    // When a block has arrived, and when a member is free to send and to receive.
    let mut ready = vec![0.0f64; p * width];
    let (mut sends, mut receives) = (vec![0.0f64; p], vec![0.0f64; p]);
    let (mut messages, mut sent) = (vec![0usize; p], vec![0.0f64; p]);
    let mut end = 0.0f64;
    for round in schedule.by_round() {
        // All of a round reads what was there before it.
        let mut arrivals: Vec<(&Step, f64)> = Vec::with_capacity(round.len());
        for message in round.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to)) {
            let (from, to) = (message[0].from as usize, message[0].to as usize);
            let mut start = 0.0f64;
            let (mut size, mut combined) = (0.0, 0.0);
            for step in message {
                let (first, count) = (step.block as usize, step.count as usize);
                let have = &ready[from * width..][first..first + count];
                start = have.iter().copied().fold(start, f64::max);
                let part = bytes_of(schedule, bytes, first, count);
                size += part;
                if step.action != Action::Copy {
                    let own = &ready[to * width..][step.into as usize..][..count];
                    start = own.iter().copied().fold(start, f64::max);
                    combined += part;
                }
            }
            let mut done = start;
            if from != to {
                start = start.max(sends[from]).max(receives[to]);
                done = start + (machine.link)(from, to).time(size);
                (sends[from], receives[to]) = (done, done);
                messages[from] += 1;
                sent[from] += size;
            }
            done += combined / machine.combine;
            end = end.max(done);
            arrivals.extend(message.iter().map(|step| (step, done)));
        }
        for (step, done) in arrivals {
            let at = step.to as usize * width + step.into as usize;
            ready[at..at + step.count as usize].fill(done);
        }
    }
    Timing {
        seconds: end,
        messages: messages.into_iter().max().unwrap_or(0),
        bytes: sent.into_iter().fold(0.0, f64::max),
    }
}

/// The algorithm that the clock finds fastest for `bytes` a member, with its time; only those that keep the
/// order of the members when `ordered`.
pub fn pick(
    collective: Collective,
    members: usize,
    bytes: usize,
    ordered: bool,
    machine: &Machine<'_>,
) -> Option<(Algorithm, Timing)> {
    Schedule::candidates(collective, members)
        .into_iter()
        .filter_map(|a| Schedule::new(collective, a, members))
        .filter(|s| s.ordered || !ordered)
        .map(|s| (s.algorithm, simulate(&s, bytes, machine)))
        .min_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Algorithm as A;
    use Collective as C;

    const ALPHA: f64 = 3e-6;
    const BETA: f64 = 1.0 / 25e9;

    fn seconds(c: C, a: A, p: usize, bytes: usize) -> f64 {
        let link = |_, _| Link { latency: ALPHA, bandwidth: 1.0 / BETA };
        let machine = Machine { link: &link, combine: f64::INFINITY };
        simulate(&Schedule::new(c, a, p).unwrap(), bytes, &machine).seconds
    }

    fn log2(p: usize) -> f64 {
        p.next_power_of_two().ilog2() as f64
    }

    /// The formulas of the literature, for lengths that divide.
    #[test]
    fn times_are_those_of_the_textbook() {
        let near = |got: f64, want: f64, what: &str| {
            assert!((got - want).abs() <= 1e-9 * want, "{what}: {got:e}, not {want:e}");
        };
        for p in [2usize, 3, 4, 5, 7, 8, 12, 16, 33, 64, 100, 128, 256, 1024] {
            // Divides by all segments and members.
            let bytes = p * 1024 * 64;
            let (n, q) = (bytes as f64 * BETA, p as f64);
            let name = |c: C, a: A| format!("{c:?} {a:?} of {p}");
            let is = |c: C, a: A, want: f64| near(seconds(c, a, p, bytes), want, &name(c, a));
            let (broadcast, reduce) = (C::Broadcast { root: 0 }, C::Reduce { root: 0 });
            for c in [broadcast, reduce] {
                is(c, A::Star, (q - 1.0) * (ALPHA + n));
                is(c, A::Tree { radix: 2 }, log2(p) * (ALPHA + n));
                for segments in [1, 4, 64] {
                    let s = segments as f64;
                    is(c, A::Chain { segments }, (q - 2.0 + s) * (ALPHA + n / s));
                }
            }
            for c in [C::Scatter { root: 0 }, C::Gather { root: 0 }] {
                is(c, A::Star, (q - 1.0) * (ALPHA + n / q));
            }
            is(C::AllReduce, A::Tree { radix: 2 }, 2.0 * log2(p) * (ALPHA + n));
            is(C::AllReduce, A::Ring, 2.0 * (q - 1.0) * (ALPHA + n / q));
            for c in [C::ReduceScatter, C::AllGather] {
                is(c, A::Ring, (q - 1.0) * (ALPHA + n / q));
            }
            is(C::AllGather, A::Bruck, log2(p) * ALPHA + n * (q - 1.0) / q);
            is(C::AllToAll, A::Pairwise, (q - 1.0) * (ALPHA + n / q));
            is(C::Scan, A::Chain { segments: 1 }, (q - 1.0) * (ALPHA + n));
            is(C::Scan, A::Doubling, log2(p) * (ALPHA + n));
            if p.is_power_of_two() {
                let share = n * (q - 1.0) / q;
                is(C::Scatter { root: 0 }, A::Tree { radix: 2 }, log2(p) * ALPHA + share);
                is(C::Gather { root: 0 }, A::Tree { radix: 2 }, log2(p) * ALPHA + share);
                is(C::AllReduce, A::Doubling, log2(p) * (ALPHA + n));
                is(C::AllReduce, A::Halving, 2.0 * (log2(p) * ALPHA + share));
                is(C::ReduceScatter, A::Halving, log2(p) * ALPHA + share);
                is(C::AllGather, A::Doubling, log2(p) * ALPHA + share);
                is(C::AllToAll, A::Bruck, log2(p) * (ALPHA + n / 2.0));
                let dealt = log2(p) * ALPHA + share + (q - 1.0) * (ALPHA + n / q);
                is(broadcast, A::ScatterGather, dealt);
            } else {
                // Two rounds more: the pairs that speak as one.
                is(C::AllReduce, A::Doubling, (log2(p) + 1.0) * (ALPHA + n));
            }
        }
    }

    #[test]
    fn segments_hide_one_another() {
        let c = C::Broadcast { root: 0 };
        let times: Vec<f64> =
            [1, 4, 16, 64].map(|segments| seconds(c, A::Chain { segments }, 8, 1 << 26)).to_vec();
        assert!(times.windows(2).all(|w| w[1] < w[0]), "{times:?}");
    }

    #[test]
    fn the_choice_follows_the_size_and_the_links() {
        let fast = |_, _| Link { latency: ALPHA, bandwidth: 1.0 / BETA };
        let machine = Machine { link: &fast, combine: 1e12 };
        let all_reduce =
            |bytes, ordered, m: &Machine<'_>| pick(C::AllReduce, 8, bytes, ordered, m).unwrap().0;
        assert_eq!(all_reduce(64, false, &machine), A::Doubling);
        assert_eq!(all_reduce(1 << 28, false, &machine), A::Halving);
        // What does not commute must not go around.
        let ordered = all_reduce(1 << 28, true, &machine);
        assert!(Schedule::new(C::AllReduce, ordered, 8).unwrap().ordered, "{ordered:?}");
        // Links between neighbours alone are fast: around the ring.
        let ring = |a: usize, b: usize| {
            let near = (a + 1) % 8 == b || (b + 1) % 8 == a;
            Link { latency: ALPHA, bandwidth: if near { 25e9 } else { 1e9 } }
        };
        let machine = Machine { link: &ring, combine: 1e12 };
        assert_eq!(all_reduce(1 << 28, false, &machine), A::Ring);
    }

    /// The table at the top of the file.
    #[test]
    fn the_published_predictions_are_those_of_the_clock() {
        let mut rows = String::new();
        for (name, link, members) in LINKS {
            let between = |_, _| link;
            let machine = Machine { link: &between, combine: 2e12 };
            for &p in members {
                let cells: Vec<String> = [16 << 10, 256 << 20]
                    .map(|bytes| {
                        let (a, t) = pick(C::AllReduce, p, bytes, false, &machine).unwrap();
                        let rate = bytes as f64 / t.seconds / 1e9;
                        format!("{a:?}, {:.0} µs, {rate:.2} GB/s", t.seconds * 1e6)
                    })
                    .to_vec();
                rows += &format!("//! | {p} {name} | {} |\n", cells.join(" | "));
            }
        }
        let text = include_str!("clock.rs");
        assert!(text.contains(&rows), "the table should be:\n{rows}");
    }

    /// Memory shared over NVLink, as measured between two H200; hosts with 200 Gbit/s.
    const LINKS: [(&str, Link, &[usize]); 2] = [
        ("GPUs", Link { latency: 10e-6, bandwidth: 368e9 }, &[2, 8]),
        ("hosts", Link { latency: 3e-6, bandwidth: 25e9 }, &[8, 64, 1024]),
    ];

    #[test]
    fn combining_takes_time() {
        let link = |_, _| Link { latency: 0.0, bandwidth: 1e9 };
        let schedule = Schedule::new(C::Reduce { root: 0 }, A::Star, 3).unwrap();
        let timed = |combine| simulate(&schedule, 1_000_000, &Machine { link: &link, combine });
        let got = timed(1e9);
        assert!((got.seconds - 4e-3).abs() < 1e-12, "{got:?}");
        assert_eq!((got.messages, got.bytes), (1, 1e6));
        assert!((timed(f64::INFINITY).seconds - 2e-3).abs() < 1e-12);
    }
}
