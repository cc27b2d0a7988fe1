//! Collectives over host members, against plain loops over vectors. Floats are small integers, so
//! that any order of combining is exact.

use super::schedule::tests::ALGORITHMS;
use super::schedule::{Algorithm as A, Collective as C, Schedule};
use super::*;
use crate::array::DeviceArray;
use crate::element::Element;

const HOST: fn() -> Device = Device::host;

/// All that have a schedule, and the hub.
fn algorithms() -> impl Iterator<Item = A> {
    std::iter::once(A::Hub).chain(ALGORITHMS)
}

fn hosts(p: usize) -> Group {
    Group::new(vec![HOST(); p]).unwrap()
}

/// What member `m` has in place `i`.
fn value(m: usize, i: usize) -> i64 {
    ((m * 7 + i * 3 + m * i) % 11) as i64 - 3
}

fn values(m: usize, n: usize) -> Vec<f32> {
    (0..n).map(|i| value(m, i) as f32).collect()
}

fn parts(group: &Group, n: usize) -> Vec<DeviceArray<f32>> {
    let part = |(m, d)| DeviceArray::from_slice(d, &values(m, n)).unwrap();
    group.members().iter().enumerate().map(part).collect()
}

/// Sums of the members in a range, for every place.
fn sums(members: std::ops::Range<usize>, n: usize) -> Vec<f32> {
    (0..n).map(|i| members.clone().map(|m| value(m, i) as f32).sum()).collect()
}

fn all<T: Element>(arrays: &[DeviceArray<T>]) -> Vec<Vec<T>> {
    arrays.iter().map(|a| a.to_vec().unwrap()).collect()
}

/// The rows of member `m` when `n` are dealt out.
fn share(n: usize, p: usize, m: usize) -> std::ops::Range<usize> {
    let start = |m: usize| m * (n / p) + m.min(n % p);
    start(m)..start(m + 1)
}

/// A call in place.
type InPlace = fn(&Group, &mut [DeviceArray<f32>], C) -> Result<Call<f32>>;

/// Runs one collective of `n` elements a member and checks every result.
fn check(group: &Group, c: C, n: usize, in_place: bool) {
    let p = group.len();
    let mut x = parts(group, n);
    let before = all(&x);
    let what =
        format!("{c:?} of {n} over {p} by {:?}, in place {in_place}", group.settings.algorithm);
    let sum = ReduceOp::Sum;
    let got = |call: Result<Call<f32>>| {
        let call = call.unwrap_or_else(|e| panic!("{what}: {e}"));
        all(&call.wait().unwrap_or_else(|e| panic!("{what}: {e}")))
    };
    let mut placed = |call: InPlace| {
        let call = call(group, &mut x, c).unwrap_or_else(|e| panic!("{what}: {e}"));
        // Read before the end was waited for.
        let now = all(&x);
        assert_eq!(all(&call.into_inputs()), before, "{what}: the inputs");
        now
    };
    let whole = |m: usize| sums(m..m + 1, n);
    let joined: Vec<f32> = (0..p).flat_map(whole).collect();
    let (result, want): (Vec<Vec<f32>>, Vec<Vec<f32>>) = match (c, in_place) {
        (C::Broadcast { root }, false) => {
            (got(group.broadcast(&x[root], root)), vec![whole(root); p])
        }
        (C::Broadcast { root }, true) => (
            placed(|g, x, c| match c {
                C::Broadcast { root } => g.broadcast_in_place(x, root),
                _ => unreachable!(),
            }),
            vec![whole(root); p],
        ),
        (C::Reduce { root }, false) => (got(group.reduce(&x, root, sum)), vec![sums(0..p, n)]),
        (C::Reduce { root }, true) => {
            let mut want: Vec<_> = (0..p).map(whole).collect();
            want[root] = sums(0..p, n);
            let call = |g: &Group, x: &mut [DeviceArray<f32>], c| match c {
                C::Reduce { root } => g.reduce_in_place(x, root, ReduceOp::Sum),
                _ => unreachable!(),
            };
            (placed(call), want)
        }
        (C::AllReduce, false) => (got(group.all_reduce(&x, sum)), vec![sums(0..p, n); p]),
        (C::AllReduce, true) => {
            (placed(|g, x, _| g.all_reduce_in_place(x, ReduceOp::Sum)), vec![sums(0..p, n); p])
        }
        (C::ReduceScatter, _) => {
            let want = (0..p).map(|m| sums(0..p, n)[share(n, p, m)].to_vec()).collect();
            let got = match in_place {
                false => got(group.reduce_scatter(&x, sum)),
                true => placed(|g, x, _| g.reduce_scatter_in_place(x, ReduceOp::Sum)),
            };
            (got, want)
        }
        (C::AllGather, false) => (got(group.all_gather(&x)), vec![joined; p]),
        (C::AllGather, true) => (placed(|g, x, _| g.all_gather_in_place(x)), vec![joined; p]),
        (C::Scatter { root }, _) => {
            let want = (0..p).map(|m| whole(root)[share(n, p, m)].to_vec()).collect();
            (got(group.scatter(&x[root], root)), want)
        }
        (C::Gather { root }, _) => (got(group.gather(&x, root)), vec![joined]),
        (C::AllToAll, _) => {
            let want = (0..p)
                .map(|m| (0..p).flat_map(|i| whole(i)[share(n, p, m)].to_vec()).collect())
                .collect();
            let got = match in_place {
                false => got(group.all_to_all(&x)),
                true => placed(|g, x, _| g.all_to_all_in_place(x)),
            };
            (got, want)
        }
        (C::Scan, false) => (got(group.scan(&x, sum)), (0..p).map(|m| sums(0..m + 1, n)).collect()),
        (C::Scan, true) => (
            placed(|g, x, _| g.scan_in_place(x, ReduceOp::Sum)),
            (0..p).map(|m| sums(0..m + 1, n)).collect(),
        ),
        (C::ExclusiveScan, false) => {
            (got(group.exclusive_scan(&x, sum)), (0..p).map(|m| sums(0..m, n)).collect())
        }
        (C::ExclusiveScan, true) => (
            placed(|g, x, _| g.exclusive_scan_in_place(x, ReduceOp::Sum)),
            (0..p).map(|m| sums(0..m, n)).collect(),
        ),
    };
    assert!(result == want, "{what}: {result:?}, not {want:?}");
    if !in_place {
        assert_eq!(all(&x), before, "{what}: the inputs");
    }
}

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

#[test]
fn every_collective_by_every_algorithm() {
    let mut made = 0;
    for p in 1..=9 {
        let group = hosts(p);
        for a in algorithms() {
            let group = group.with_algorithm(a);
            for root in [0, p / 2, p - 1] {
                for (k, c) in collectives(root).into_iter().enumerate() {
                    let rooted = !matches!(
                        c,
                        C::AllReduce
                            | C::ReduceScatter
                            | C::AllGather
                            | C::AllToAll
                            | C::Scan
                            | C::ExclusiveScan
                    );
                    if (a != A::Hub && Schedule::new(c, a, p).is_none()) || (root > 0 && !rooted) {
                        continue;
                    }
                    for n in [0, 1, p - 1, p, 3 * p + 2, 301] {
                        check(&group, c, n, (n + k + root) % 2 == 0);
                        made += 1;
                    }
                }
            }
        }
    }
    assert!(made > 2000, "{made}");
}

#[test]
fn the_algorithm_that_is_picked() {
    for p in 1..=9 {
        let group = hosts(p);
        for c in collectives(p / 2) {
            for n in [0, 1, p - 1, 1000] {
                check(&group, c, n, false);
                check(&group, c, n, true);
            }
        }
    }
}

#[test]
fn many_elements() {
    let group = hosts(3);
    for c in collectives(1) {
        check(&group, c, 1_000_003, c == C::AllReduce);
    }
    let group = hosts(5).with_algorithm(A::Doubling);
    check(&group, C::AllReduce, 1_000_003, true);
}

/// Results that are long enough to be stored past the caches.
#[test]
fn long_results() {
    let group = hosts(5).with_algorithm(A::Hub);
    let n = 1_050_001;
    for c in [C::AllReduce, C::Scan, C::ExclusiveScan, C::Broadcast { root: 1 }] {
        check(&group, c, n, false);
    }
    let averages = group.all_reduce(&parts(&group, n), ReduceOp::Average).unwrap();
    let want: Vec<f32> = sums(0..5, n).into_iter().map(|sum| sum / 5.0).collect();
    assert!(all(&averages.wait().unwrap()).iter().all(|got| *got == want));
}

/// The OpenCL devices that are there, or none after a word about it.
fn devices() -> Vec<Device> {
    let devices: Vec<Device> = Device::all().into_iter().filter(|d| !d.is_host()).collect();
    if devices.is_empty() {
        let required = std::env::var("CLAN_TEST_REQUIRE").is_ok_and(|v| v.contains("opencl"));
        assert!(!required, "CLAN_TEST_REQUIRE asks for an OpenCL device");
        println!("skipped: no OpenCL device");
    }
    devices
}

/// Groups of whatever devices there are: several, with the host between them, one twice.
fn mixed() -> Vec<Group> {
    let devices = devices();
    let Some(first) = devices.first().cloned() else { return Vec::new() };
    let mut with_host: Vec<Device> = devices.iter().take(3).cloned().collect();
    with_host.insert(1, HOST());
    with_host.push(HOST());
    let some = devices.into_iter().cycle().take(3).collect::<Vec<_>>();
    let groups = [some, with_host, vec![first.clone(), HOST(), first]];
    groups.into_iter().map(|g| Group::new(g).unwrap()).collect()
}

#[test]
fn devices_by_every_algorithm() {
    for group in mixed() {
        let p = group.len();
        for a in algorithms() {
            // Chunks of 64 elements: the lengths below are several.
            let group = group.with_algorithm(a).with_chunk(256);
            for c in collectives(p - 1) {
                if a == A::Hub || Schedule::new(c, a, p).is_some() {
                    check(&group, c, 2, true);
                    check(&group, c, 1003, false);
                }
            }
        }
        for c in collectives(1) {
            check(&group, c, 0, false);
            check(&group, c, 300_001, false);
        }
    }
}

fn with_fault(group: &Group, member: usize, kind: fault::Kind) -> Group {
    let mut group = group.clone();
    group.settings.fault = Some(fault::Fault { member, kind });
    group
}

/// A call that must fail, by the fault of a member, which the group then goes on without.
fn loses(group: &Group, member: usize, kind: fault::Kind, expected: ErrorKind) {
    let broken = with_fault(group, member, kind);
    let p = group.len();
    let mut x = parts(group, 50);
    let start = std::time::Instant::now();
    let call = broken.all_reduce_in_place(&mut x, ReduceOp::Sum).unwrap();
    let error = call.finish().unwrap_err();
    let what = format!("{kind:?} of {member}: {error}");
    assert_eq!((error.member(), error.kind()), (Some(member), expected), "{what}");
    assert!(start.elapsed() < Duration::from_secs(5), "{what}: after {:?}", start.elapsed());
    assert_eq!(error.op(), "all_reduce_in_place");
    // The results say so as well, as often as they are asked.
    for _ in 0..2 {
        let read = x[(member + 1) % p].to_vec().unwrap_err();
        assert_eq!(read.member(), Some(member), "{what}");
        assert!((&x[0] + 1.0).eval().is_err(), "{what}");
    }
    // An array that is set anew is whole again.
    x[0].fill(1.0).unwrap();
    assert_eq!(x[0].to_vec().unwrap(), vec![1.0; 50]);
    let inputs = call.into_inputs();
    assert_eq!(all(&inputs), (0..p).map(|m| values(m, 50)).collect::<Vec<_>>(), "{what}");
    // The same group can be used again, and the rest of it without the one that was lost.
    check(group, C::AllReduce, 50, false);
    let rest = group.without(member).unwrap();
    let mut left = inputs;
    left.remove(member);
    let got = all(&rest.all_reduce(&left, ReduceOp::Sum).unwrap().wait().unwrap());
    let want: Vec<f32> = (0..50)
        .map(|i| (0..p).filter(|&m| m != member).map(|m| value(m, i) as f32).sum())
        .collect();
    assert_eq!(got, vec![want; p - 1], "{what}");
}

#[test]
fn a_member_that_fails_is_named() {
    for a in [A::Hub, A::Star, A::Ring, A::Doubling, A::Chain { segments: 2 }] {
        let group = hosts(4).with_algorithm(a);
        for member in 0..4 {
            loses(&group, member, fault::Kind::Fails, ErrorKind::Driver);
            if a != A::Hub {
                loses(&group, member, fault::Kind::Panics, ErrorKind::Argument);
            }
        }
    }
}

#[test]
fn nobody_waits_longer_than_the_deadline() {
    for a in [A::Hub, A::Tree { radix: 2 }, A::Ring] {
        for member in [0, 2] {
            // What is repeated after the fault has time.
            let mut group = hosts(3).with_algorithm(a).with_deadline(Duration::from_millis(400));
            loses(&group, member, fault::Kind::Hangs, ErrorKind::Deadline);
            group = group.with_deadline(Duration::from_millis(300));
            let stuck = fault::Kind::Stuck(Duration::from_secs(1));
            let broken = with_fault(&group, member, stuck);
            let call = broken.all_reduce(&parts(&group, 9), ReduceOp::Sum).unwrap();
            let start = std::time::Instant::now();
            let error = call.finish().unwrap_err();
            assert_eq!(
                (error.member(), error.kind()),
                (Some(member), ErrorKind::Deadline),
                "{error}"
            );
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        }
    }
}

#[cfg(feature = "opencl")]
#[test]
fn a_device_that_hangs_keeps_its_memory() {
    use crate::device::Backing;
    let Some(device) = devices().pop() else { return };
    let Backing::OpenCl(cl) = device.backing() else { return };
    let group = Group::new([HOST(), device.clone(), HOST()]).unwrap();
    let x = parts(&group, 70_000);
    check(&group, C::AllReduce, 70_000, false);
    device.wait().unwrap();
    let stalled = cl.stall().unwrap();
    let mut y = x.clone();
    // The input has to be computed first, which never happens.
    y[1] = (&x[1] + 0.0).eval().unwrap();
    for a in [A::Ring, A::Hub] {
        // Where the machine does other work hosts may be late too, but not for ever.
        let mut said = Vec::new();
        let named = [2, 8, 32].map(Duration::from_secs).into_iter().any(|deadline| {
            let group = group.with_algorithm(a).with_deadline(deadline);
            let error = group.all_reduce(&y, ReduceOp::Sum).unwrap().finish().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Deadline, "{error}");
            said.push(error.to_string());
            error.member() == Some(1)
        });
        assert!(named, "{a:?}: the device that hangs is not named: {said:?}");
    }
    let rest = group.without(1).unwrap();
    let left = [x[0].clone(), x[2].clone()];
    let sums = all(&rest.all_reduce(&left, ReduceOp::Sum).unwrap().wait().unwrap());
    assert_eq!(sums[1][9], (value(0, 9) + value(2, 9)) as f32);
    std::thread::sleep(Duration::from_millis(100));
    cl.sweep();
    assert!(cl.quarantined() > 0, "what the device may still touch is kept");
    drop(stalled);
    device.wait().unwrap();
    cl.sweep();
    assert_eq!(cl.quarantined(), 0);
    check(&group, C::AllReduce, 70_000, false);
}

#[test]
fn a_barrier_waits_for_calls_that_are_running() {
    let group = hosts(3);
    let slow = with_fault(&group, 1, fault::Kind::Stuck(Duration::from_millis(300)));
    let call = slow.all_reduce(&parts(&group, 10), ReduceOp::Sum).unwrap();
    assert!(!call.is_done());
    group.barrier().unwrap();
    assert!(call.is_done());
    call.finish().unwrap();
    for group in mixed() {
        group.barrier().unwrap();
    }
}

#[test]
fn plans_never_wait_in_a_circle() {
    use super::cut::{Counts, Cut, even};
    use super::plan::Plan;
    let mut made = 0;
    for p in [2, 3, 5, 8, 12, 17, 33] {
        for a in algorithms() {
            for c in collectives(p / 3) {
                let Some(s) = Schedule::new(c, a, p) else { continue };
                let n = 10 * p + 3;
                let counts = match c {
                    C::ReduceScatter | C::AllGather | C::Scatter { .. } | C::Gather { .. } => {
                        Counts::Blocks(even(n, p))
                    }
                    C::AllToAll => Counts::Pairs(vec![even(n, p); p]),
                    _ => Counts::Whole(n),
                };
                let plan = Plan::new(&s, &Cut::new(&s, &counts));
                let mut done = vec![false; plan.tasks.len()];
                let mut next = vec![0; p];
                // Every member does what it can, the last one first, until nobody can.
                loop {
                    let before = next.clone();
                    for m in (0..p).rev() {
                        while let Some(&t) = plan.of[m].get(next[m]) {
                            if !plan.tasks[t].after.iter().all(|&b| done[b]) {
                                break;
                            }
                            done[t] = true;
                            next[m] += 1;
                        }
                    }
                    if before == next {
                        break;
                    }
                }
                assert!(done.iter().all(|&d| d), "{c:?} {a:?} of {p}");
                made += 1;
            }
        }
    }
    assert!(made > 150, "{made}");
}
