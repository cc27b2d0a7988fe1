//! Groups over MPI ranks: the program starts itself under `mpirun`, and every rank compares what its
//! members get with a naive computation over the members of all ranks.
//!
//! `CLAN_TEST_REQUIRE` containing `mpi` makes a missing `mpirun` a failure.

use clan::group::MpiGroup;
use clan::{Device, DeviceArray, Element, Group, Operator, ReduceOp, UserOp};
use mpi::traits::Communicator;
use std::process::{Command, ExitCode};

const RANK: &str = "CLAN_TEST_MPI_RANK";

fn main() -> ExitCode {
    if std::env::var_os(RANK).is_some() {
        ranks();
        return ExitCode::SUCCESS;
    }
    let own = std::env::current_exe().expect("the program has a path");
    for ranks in ["1", "3"] {
        let mut mpirun = Command::new("mpirun");
        mpirun.args(["-n", ranks]).arg(&own).env(RANK, "1");
        // Open MPI refuses root and more ranks than cores unless it is told; MPICH ignores both.
        for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
            mpirun.env(name, "1");
        }
        mpirun.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
        match mpirun.status() {
            Ok(status) if status.success() => println!("{ranks} ranks: ok"),
            Ok(status) => {
                eprintln!("{ranks} ranks: {status}");
                return ExitCode::FAILURE;
            }
            Err(e) => {
                let required = std::env::var("CLAN_TEST_REQUIRE").is_ok_and(|r| r.contains("mpi"));
                println!("skipped: mpirun does not start: {e}");
                return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            }
        }
    }
    ExitCode::SUCCESS
}

/// What every rank does.
fn ranks() {
    let universe = mpi::initialize().expect("MPI starts");
    let world = universe.world();
    let rank = world.rank() as usize;
    // Rank r has r + 1 host members, or one OpenCL device beside the host.
    let mut groups = vec![vec![Device::host(); rank + 1], vec![Device::host()]];
    if let Some(device) = Device::all().into_iter().find(|d| !d.is_host()) {
        groups.push(vec![device, Device::host()]);
    }
    // All ranks of one machine have the same devices, so this is the same number everywhere.
    for devices in groups {
        let local = Group::new(devices).unwrap();
        let group = local.join_over_mpi(&world).unwrap();
        assert_eq!(group.local().len(), local.len());
        assert_eq!((group.rank(), group.ranks()), (rank, world.size() as usize));
        for n in [0, 1, 2, 37, 4099] {
            numbers(&group, n, |i| i as f32, &[ReduceOp::Sum, ReduceOp::Average, ReduceOp::Max]);
            numbers(&group, n, |i| i, &[ReduceOp::Sum, ReduceOp::Min, ReduceOp::Xor]);
            numbers(&group, n, |i| i as u8, &[ReduceOp::Product, ReduceOp::Or]);
            numbers(&group, n, |i| half::f16::from_f32(i as f32), &[ReduceOp::Sum, ReduceOp::Min]);
            numbers(&group, n, |i| i % 2 == 1, &[ReduceOp::And, ReduceOp::Xor]);
            moves(&group, n);
        }
        matrices(&group);
        points(&group);
        mistakes(&group);
        group.barrier().unwrap();
    }
}

/// The element of a member: small integers, so that sums are exact in any order and type.
fn value(member: usize, i: usize) -> usize {
    (member * 3 + i * 7) % 4
}

/// The members of this rank, by their numbers among all.
fn own(group: &MpiGroup) -> std::ops::Range<usize> {
    group.first()..group.first() + group.local().len()
}

fn parts<T: Element>(
    group: &MpiGroup,
    n: usize,
    of: impl Fn(usize, usize) -> T,
) -> Vec<DeviceArray<T>> {
    own(group)
        .zip(group.local().members())
        .map(|(m, device)| {
            let values: Vec<T> = (0..n).map(|i| of(m, i)).collect();
            DeviceArray::from_slice(device, &values).unwrap()
        })
        .collect()
}

/// A naive fold in `f64` or by the operator's meaning on small integers.
fn fold(op: ReduceOp, values: impl Iterator<Item = usize>) -> i64 {
    let values: Vec<i64> = values.map(|v| v as i64).collect();
    let f: fn(i64, i64) -> i64 = match op {
        ReduceOp::Sum | ReduceOp::Average => |a, b| a + b,
        ReduceOp::Product => |a, b| a * b,
        ReduceOp::Min => i64::min,
        ReduceOp::Max => i64::max,
        ReduceOp::And => |a, b| a & b,
        ReduceOp::Or => |a, b| a | b,
        ReduceOp::Xor => |a, b| a ^ b,
    };
    values.into_iter().reduce(f).unwrap()
}

/// The reducing collectives, elements being small integers in any type.
fn numbers<T: Element + PartialEq + std::fmt::Debug>(
    group: &MpiGroup,
    n: usize,
    to: impl Fn(i64) -> T + Copy,
    ops: &[ReduceOp],
) {
    let p = group.len();
    let bits = T::DTYPE == clan::DType::Bool;
    // `bool`s have 0 and 1 alone.
    let value = |m: usize, i: usize| if bits { value(m, i) % 2 } else { value(m, i) };
    for &op in ops {
        let input = parts(group, n, |m, i| to(value(m, i) as i64));
        let want =
            |i: usize, members: std::ops::Range<usize>| fold(op, members.map(|m| value(m, i)));
        // An average of small integers is exact in no type; whole numbers need p to divide.
        let shown = |v: i64| {
            if op == ReduceOp::Average && T::DTYPE.is_float() {
                return None;
            }
            Some(to(if op == ReduceOp::Average { v / p as i64 } else { v }))
        };
        let same = |got: &T, v: i64, what: &str| match shown(v) {
            Some(want) => assert_eq!(*got, want, "{what} {op:?} n {n}"),
            None => {
                let want = v as f64 / p as f64;
                let got = format!("{got:?}").parse::<f64>().unwrap();
                assert!((got - want).abs() < 1e-6 * (1.0 + want), "{what}: {got} {want}");
            }
        };
        let all = group.all_reduce(&input, op).unwrap();
        for result in &all {
            assert_eq!(result.shape(), [n]);
            result
                .to_vec()
                .unwrap()
                .iter()
                .enumerate()
                .for_each(|(i, g)| same(g, want(i, 0..p), "all_reduce"));
        }
        for root in [0, p - 1, p / 2] {
            let result = group.reduce(&input, root, op).unwrap();
            assert_eq!(result.is_some(), own(group).contains(&root));
            if let Some(result) = result {
                result
                    .to_vec()
                    .unwrap()
                    .iter()
                    .enumerate()
                    .for_each(|(i, g)| same(g, want(i, 0..p), "reduce"));
            }
        }
        let shares = group.reduce_scatter(&input, op).unwrap();
        for (m, share) in own(group).zip(&shares) {
            let from: usize = (0..m).map(|k| n / p + usize::from(k < n % p)).sum();
            assert_eq!(share.len(), n / p + usize::from(m < n % p));
            let got = share.to_vec().unwrap();
            got.iter()
                .enumerate()
                .for_each(|(i, g)| same(g, want(from + i, 0..p), "reduce_scatter"));
        }
        if op != ReduceOp::Average {
            let scans = group.scan(&input, op).unwrap();
            let before = group.exclusive_scan(&input, op).unwrap();
            for (k, m) in own(group).enumerate() {
                let got = scans[k].to_vec().unwrap();
                got.iter().enumerate().for_each(|(i, g)| same(g, want(i, 0..m + 1), "scan"));
                let got = before[k].to_vec().unwrap();
                if m > 0 {
                    got.iter()
                        .enumerate()
                        .for_each(|(i, g)| same(g, want(i, 0..m), "exclusive_scan"));
                }
            }
        }
    }
}

/// The collectives that only move.
fn moves(group: &MpiGroup, n: usize) {
    let p = group.len();
    let value = |m: usize, i: usize| (m * 100_000 + i) as u32;
    let input = parts(group, n, value);
    for root in [0, p - 1] {
        let mine = own(group).contains(&root);
        let given = mine.then(|| &input[root - group.first()]);
        let want: Vec<u32> = (0..n).map(|i| value(root, i)).collect();
        for result in group.broadcast(given, root).unwrap() {
            assert_eq!(result.to_vec().unwrap(), want);
        }
        let shares = group.scatter(given, root).unwrap();
        for (m, share) in own(group).zip(shares) {
            let from: usize = (0..m).map(|k| n / p + usize::from(k < n % p)).sum();
            let len = n / p + usize::from(m < n % p);
            assert_eq!(share.to_vec().unwrap(), want[from..from + len]);
        }
    }
    // Member m has n + m rows of two.
    let ragged: Vec<DeviceArray<u32>> = own(group)
        .zip(group.local().members())
        .map(|(m, device)| {
            let values: Vec<u32> = (0..(n + m) * 2).map(|i| value(m, i)).collect();
            DeviceArray::from_shape_slice(device, (n + m, 2), &values).unwrap()
        })
        .collect();
    let want: Vec<u32> = (0..p).flat_map(|m| (0..(n + m) * 2).map(move |i| value(m, i))).collect();
    for result in group.all_gather(&ragged).unwrap() {
        assert_eq!(result.shape(), [want.len() / 2, 2]);
        assert_eq!(result.to_vec().unwrap(), want);
    }
    let gathered = group.gather(&ragged, p - 1).unwrap();
    assert_eq!(gathered.is_some(), own(group).contains(&(p - 1)));
    if let Some(gathered) = gathered {
        assert_eq!(gathered.to_vec().unwrap(), want);
    }
    let results = group.all_to_all(&input).unwrap();
    for (m, result) in own(group).zip(results) {
        let from: usize = (0..m).map(|k| n / p + usize::from(k < n % p)).sum();
        let len = n / p + usize::from(m < n % p);
        let want: Vec<u32> =
            (0..p).flat_map(|s| (from..from + len).map(move |i| value(s, i))).collect();
        assert_eq!(result.to_vec().unwrap(), want, "all_to_all to {m}, n {n}");
    }
}

/// An operator that does not commute: 2 × 2 matrices of integers modulo 251, packed.
fn matrices(group: &MpiGroup) {
    let product = |a: u32, b: u32| {
        let at = |x: u32, k: u32| (x >> (8 * k)) & 255;
        let cell =
            |i: u32, j: u32| (at(a, 2 * i) * at(b, j) + at(a, 2 * i + 1) * at(b, 2 + j)) % 251;
        cell(0, 0) | cell(0, 1) << 8 | cell(1, 0) << 16 | cell(1, 1) << 24
    };
    let text = "uint m = 255; uint r = 0; \
        for (uint i = 0; i < 2; i++) for (uint j = 0; j < 2; j++) { \
          uint v = (((a >> (16 * i)) & m) * ((b >> (8 * j)) & m) + ((a >> (16 * i + 8)) & m) * ((b >> (16 + 8 * j)) & m)) % 251; \
          r |= v << (16 * i + 8 * j); } return r;";
    let op: UserOp<u32> = UserOp::new("product", text, product).ordered();
    let value = |m: usize, i: usize| {
        let mut x = 0;
        for k in 0..4 {
            x |= (((m * 31 + i * 17 + k * 57 + 11) % 251) as u32) << (8 * k);
        }
        x
    };
    let input = parts(group, 100, value);
    let all = |i: usize, end: usize| (0..end).map(|m| value(m, i)).reduce(product).unwrap();
    for result in group.all_reduce(&input, &op).unwrap() {
        let want: Vec<u32> = (0..100).map(|i| all(i, group.len())).collect();
        assert_eq!(result.to_vec().unwrap(), want);
    }
    for (m, result) in own(group).zip(group.scan(&input, &op).unwrap()) {
        let want: Vec<u32> = (0..100).map(|i| all(i, m + 1)).collect();
        assert_eq!(result.to_vec().unwrap(), want);
    }
}

/// From the last rank's last member to the first rank's first.
fn points(group: &MpiGroup) {
    if group.ranks() == 1 {
        return;
    }
    let (from, to) = (group.len() - 1, 0);
    if group.rank() == group.ranks() - 1 {
        let device = group.local().members().last().unwrap();
        let array = DeviceArray::from_shape_slice(device, (2, 3), &[1u16, 2, 3, 4, 5, 6]).unwrap();
        group.send(&array, from, to).unwrap();
    } else if group.rank() == 0 {
        let array: DeviceArray<u16> = group.receive(from, to).unwrap();
        assert_eq!(array.shape(), [2, 3]);
        assert_eq!(array.to_vec().unwrap(), [1, 2, 3, 4, 5, 6]);
    }
    let wrong =
        group.send(&DeviceArray::zeros(&Device::host(), 1).unwrap() as &DeviceArray<f32>, 0, 0);
    assert!(wrong.is_err(), "both ends on one rank");
}

/// What one rank does wrong fails on all, and the next call works.
fn mistakes(group: &MpiGroup) {
    let last = group.rank() == group.ranks() - 1;
    let good = parts(group, 5, |m, _| m as f32);
    // The last rank has other lengths.
    let input = parts(group, if last { 6 } else { 5 }, |m, _| m as f32);
    let result = group.all_reduce(&input, ReduceOp::Sum);
    assert_eq!(result.is_err(), group.ranks() > 1, "{result:?}");
    // The last rank passes no arrays at all.
    let result = group.all_reduce(if last { &[] } else { &good }, ReduceOp::Sum);
    assert!(result.is_err());
    // Another operator, another collective, another root, a root that is none.
    let op = if last { ReduceOp::Max } else { ReduceOp::Sum };
    assert_eq!(group.all_reduce(&good, op).is_err(), group.ranks() > 1);
    assert_eq!(
        group.reduce(&good, usize::from(last), op).is_err(),
        group.ranks() > 1 || group.len() == 1
    );
    assert!(group.reduce(&good, group.len(), ReduceOp::Sum).is_err());
    assert!(group.gather(&good, group.len()).is_err());
    assert!(group.broadcast(None::<&DeviceArray<f32>>, 0).is_err(), "nobody has an array");
    assert!(group.broadcast(Some(&good[0]), group.len()).is_err());
    let op: Operator<f32> = ReduceOp::And.into();
    assert!(group.all_reduce(&good, op).is_err(), "bits of floats");
    let sums = group.all_reduce(&good, ReduceOp::Sum).unwrap();
    let want = (0..group.len()).sum::<usize>() as f32;
    assert_eq!(sums[0].to_vec().unwrap(), [want; 5]);
}
