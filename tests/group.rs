//! Groups through the public interface: every element type and operator, users' operators, shapes, bad
//! input; over host members, OpenCL devices and both. Expected values are plain loops over vectors.

#[path = "group/operators.rs"]
mod operators;
mod support;

use clan::group::schedule::Algorithm;
use clan::half::{bf16, f16};
use clan::ndarray::s;
use clan::{Call, Device, DeviceArray, Element, Error, ErrorKind, Group, ReduceOp, UserOp};
use std::fmt::Debug;

fn hosts(p: usize) -> Group {
    Group::new(vec![Device::host(); p]).unwrap()
}

/// Three OpenCL devices, and two with the host between them; of one device where there is one.
fn with_devices() -> Vec<Group> {
    let devices = support::opencl_devices();
    if devices.is_empty() {
        return Vec::new();
    }
    let some: Vec<Device> = devices.iter().cycle().take(3).cloned().collect();
    // Two platforms, where there are.
    let (first, last) = (some[0].clone(), devices[devices.len() - 1].clone());
    let mixed = vec![first, Device::host(), last];
    [some, mixed].map(|members| Group::new(members).unwrap()).to_vec()
}

fn groups() -> Vec<Group> {
    let mut all = vec![hosts(3)];
    all.extend(with_devices());
    all
}

fn put<T: Element>(group: &Group, values: &[Vec<T>]) -> Vec<DeviceArray<T>> {
    let members = group.members().iter().zip(values);
    members.map(|(d, v)| DeviceArray::from_slice(d, v).unwrap()).collect()
}

fn get<T: Element>(call: Result<Call<T>, Error>) -> Vec<Vec<T>> {
    call.unwrap().wait().unwrap().iter().map(|a| a.to_vec().unwrap()).collect()
}

/// Combines place by place, in the order of the members.
fn fold<T: Copy>(values: &[Vec<T>], f: impl Fn(T, T) -> T) -> Vec<T> {
    let at = |i: usize| values[1..].iter().fold(values[0][i], |so_far, v| f(so_far, v[i]));
    (0..values[0].len()).map(at).collect()
}

/// A plain function of two elements.
type Plain<'a, T> = &'a dyn Fn(T, T) -> T;

fn every<T: Element + Debug>(
    group: &Group,
    make: impl Fn(usize) -> T,
    ops: &[(ReduceOp, Plain<T>)],
) {
    let p = group.len();
    let computed = group.members().iter().all(|d| d.supports(T::DTYPE));
    // Not a whole number of vectors.
    let values: Vec<Vec<T>> =
        (0..p).map(|m| (0..37).map(|i| make(m * 13 + i * 5)).collect()).collect();
    let parts = put(group, &values);
    for (op, f) in ops {
        let want = vec![fold(&values, f); p];
        // A tree combines on devices; the elements of the other are cut.
        // The host does what a device has no arithmetic for.
        assert_eq!(get(group.all_reduce(&parts, *op)), want, "{} {op:?} {group:?}", T::DTYPE);
        let ring = group.with_algorithm(Algorithm::Ring);
        if !computed {
            let refused = ring.all_reduce(&parts, *op).unwrap_err();
            assert!(refused.is_unsupported_type(), "{refused}");
            continue;
        }
        for algorithm in [Algorithm::Tree { radix: 2 }, Algorithm::Ring, Algorithm::Hub] {
            let got = get(group.with_algorithm(algorithm).all_reduce(&parts, *op));
            assert_eq!(got, want, "{} {op:?} {algorithm:?} {group:?}", T::DTYPE);
        }
    }
}

macro_rules! integers {
    ($group:expr, $($T:ty)*) => {$(
        // Sums and products of the small types wrap.
        every::<$T>($group, |k| (k * 3) as $T, &[
            (ReduceOp::Sum, &|a, b| a.wrapping_add(b)),
            (ReduceOp::Product, &|a, b| a.wrapping_mul(b)),
            (ReduceOp::Min, &|a, b| a.min(b)),
            (ReduceOp::Max, &|a, b| a.max(b)),
            (ReduceOp::And, &|a, b| a & b),
            (ReduceOp::Or, &|a, b| a | b),
            (ReduceOp::Xor, &|a, b| a ^ b),
        ]);
    )*};
}

macro_rules! floats {
    ($group:expr, $($T:ty: $from:expr, $to:expr;)*) => {$(
        every::<$T>($group, |k| $from((k % 7) as f32 - 2.0), &[
            (ReduceOp::Sum, &|a, b| $from($to(a) + $to(b))),
            (ReduceOp::Product, &|a, b| $from($to(a) * $to(b))),
            (ReduceOp::Min, &|a, b| $from($to(a).min($to(b)))),
            (ReduceOp::Max, &|a, b| $from($to(a).max($to(b)))),
        ]);
    )*};
}

#[test]
fn every_type_and_operator() {
    // From four members on the host combines four at a time.
    for group in groups().into_iter().chain([hosts(6)]) {
        let g = &group;
        integers!(g, i8 i16 i32 i64 u8 u16 u32 u64);
        floats!(g,
            f32: |x| x, |x| x;
            f64: f64::from, |x| x as f32;
            f16: f16::from_f32, f16::to_f32;
            bf16: bf16::from_f32, bf16::to_f32;
        );
        every::<bool>(
            g,
            |k| k % 3 == 0,
            &[
                (ReduceOp::Min, &|a, b| a && b),
                (ReduceOp::Max, &|a, b| a || b),
                (ReduceOp::And, &|a, b| a && b),
                (ReduceOp::Or, &|a, b| a || b),
                (ReduceOp::Xor, &|a, b| a != b),
            ],
        );
    }
}

#[test]
fn shapes_and_views() {
    for group in groups() {
        let matrix = |d: &Device, first: i32| {
            DeviceArray::<i32>::arange(d, first, first + 20, 1).unwrap().reshape((5, 4)).unwrap()
        };
        let parts: Vec<_> =
            group.members().iter().map(|d| matrix(d, 0).slice(s![.., ..;-2]).unwrap()).collect();
        assert!(!parts[0].is_contiguous());
        let first = parts[0].to_vec().unwrap();
        let sums = group.all_reduce(&parts, ReduceOp::Sum).unwrap().into_results();
        assert_eq!(sums[1].shape(), [5, 2]);
        // An expression waits for what it reads.
        let back = (&sums[1] / 3).eval().unwrap();
        assert_eq!(back.to_vec().unwrap(), first);
        // The first two of three get two of the five rows.
        let shares = group.scatter(&parts[2], 2).unwrap().wait().unwrap();
        let shapes: Vec<&[usize]> = shares.iter().map(DeviceArray::shape).collect();
        assert_eq!(shapes, [[2, 2], [2, 2], [1, 2]]);
        assert_eq!(shares[1].to_vec().unwrap(), first[4..8]);
        let together = group.gather(&shares, 1).unwrap().wait().unwrap();
        assert_eq!((together.len(), together[0].shape()), (1, &[5, 2][..]));
        assert_eq!(together[0].to_vec().unwrap(), first);
        assert_eq!(together[0].device(), &group.members()[1]);
        let all = group.all_gather(&shares).unwrap().wait().unwrap();
        assert!(all.iter().all(|a| a.to_vec().unwrap() == first));
        let there = group.send(&parts[0], 0, 2).unwrap().wait().unwrap();
        assert_eq!((there[0].shape(), there[0].device()), (&[5, 2][..], &group.members()[2]));
        assert_eq!(there[0].to_vec().unwrap(), first);
        let same = group.send(&parts[0], 0, 0).unwrap().wait().unwrap();
        assert_eq!(same[0].to_vec().unwrap(), first);
        group.barrier().unwrap();
        // An array without axes.
        let points: Vec<_> =
            group.members().iter().map(|d| DeviceArray::full(d, (), 2.0f32).unwrap()).collect();
        let sums = group.all_reduce(&points, ReduceOp::Product).unwrap().into_results();
        assert_eq!(sums[0].item().unwrap(), 8.0);
        assert_eq!(group.all_gather(&points).unwrap().results()[1].shape(), [3]);
    }
}

#[test]
fn ragged_shares() {
    for group in groups() {
        let values: Vec<Vec<u32>> = (0..3).map(|m| (0..7).map(|i| m * 10 + i).collect()).collect();
        let parts = put(&group, &values);
        let sums = fold(&values, |a, b| a + b);
        for counts in [[0, 7, 0], [1, 2, 4], [7, 0, 0]] {
            let mut want = Vec::new();
            let mut rest = &sums[..];
            for c in counts {
                let (share, others) = rest.split_at(c);
                want.push(share.to_vec());
                rest = others;
            }
            assert_eq!(get(group.reduce_scatter_v(&parts, &counts, ReduceOp::Sum)), want);
            let dealt = group.scatter_v(&parts[1], &counts, 1).unwrap().wait().unwrap();
            assert_eq!(dealt[1].to_vec().unwrap().len(), counts[1]);
            assert_eq!(get(group.all_gather(&dealt)), vec![values[1].clone(); 3]);
            assert_eq!(get(group.gather(&dealt, 0)), [values[1].as_slice()]);
        }
        let counts = vec![vec![3, 0, 4], vec![0, 7, 0], vec![1, 1, 5]];
        let want = [
            vec![0, 1, 2, 20],
            vec![10, 11, 12, 13, 14, 15, 16, 21],
            vec![3, 4, 5, 6, 22, 23, 24, 25, 26],
        ];
        assert_eq!(get(group.all_to_all_v(&parts, &counts)), want);
        // Also where blocks pass through others.
        let bruck = group.with_algorithm(Algorithm::Bruck);
        assert_eq!(get(bruck.all_to_all_v(&parts, &counts)), want);
    }
}

#[test]
fn in_place_leaves_what_others_see() {
    for group in groups() {
        let mut parts = put(&group, &vec![vec![1.0f32; 1000]; 3]);
        let (clone, view) = (parts[0].clone(), parts[1].slice(s![..3]).unwrap());
        let double = &parts[2] * 2.0;
        for _ in 0..5 {
            let _ = group.all_reduce_in_place(&mut parts, ReduceOp::Sum).unwrap();
        }
        assert_eq!(parts[2].to_vec().unwrap(), vec![243.0; 1000]);
        assert_eq!(clone.to_vec().unwrap(), vec![1.0; 1000]);
        assert_eq!(view.to_vec().unwrap(), [1.0; 3]);
        assert_eq!(double.eval().unwrap().to_vec().unwrap(), vec![2.0; 1000]);
        // Written while it is sent: who sends it has what it was.
        let mut x = parts[0].clone();
        let call = group.broadcast(&x, 0).unwrap();
        x.slice_mut(s![1..]).unwrap().fill(0.0).unwrap();
        assert!(call.wait().unwrap().iter().all(|a| a.to_vec().unwrap() == vec![243.0; 1000]));
        assert_eq!(x.to_vec().unwrap()[..2], [243.0, 0.0]);
    }
}

#[test]
fn threads_share_a_group_and_results_outlive_it() {
    for group in groups() {
        let parts = put(&group, &vec![vec![2.0f32; 500]; 3]);
        let results: Vec<_> = std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| group.all_reduce(&parts, ReduceOp::Product).unwrap());
            let threads: Vec<_> = (0..4).map(start).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap().into_results()).collect()
        });
        let again = group.clone().scan(&parts, ReduceOp::Sum).unwrap();
        drop(group);
        assert!(results.iter().all(|a| a.to_vec().unwrap() == vec![8.0; 500]));
        assert_eq!(again.wait().unwrap()[2].to_vec().unwrap(), vec![6.0; 500]);
    }
}

#[test]
fn bad_input_is_refused_before_anything_moves() {
    let host = Device::host();
    let group = hosts(3);
    let of = |n: usize| DeviceArray::full(&host, n, 1.0f32).unwrap();
    let refused =
        |got: Result<Call<f32>, Error>, kind: ErrorKind, member: Option<usize>, part: &str| {
            let e = got.err().unwrap_or_else(|| panic!("{part}: was taken"));
            assert_eq!((e.kind(), e.member()), (kind, member), "{e}");
            assert!(e.to_string().contains(part), "{e} lacks {part:?}");
        };
    use ErrorKind as K;
    let sum = ReduceOp::Sum;
    let mut uneven = vec![of(4), of(4), of(5)];
    refused(group.all_reduce(&uneven, sum), K::Shape, Some(2), "[5]");
    refused(group.all_reduce_in_place(&mut uneven, sum), K::Shape, Some(2), "[4]");
    assert_eq!(uneven[2].to_vec().unwrap(), [1.0; 5]);
    let two = vec![of(4), of(4)];
    refused(group.scan(&two, sum), K::Argument, None, "2 arrays for 3 members");
    let three = vec![of(4); 3];
    refused(group.broadcast(&of(4), 3), K::Index, None, "root 3");
    refused(group.reduce(&three, 7, sum), K::Index, None, "root 7");
    refused(group.send(&of(4), 0, 3), K::Index, None, "receiver 3");
    refused(group.scatter_v(&of(4), &[1, 1, 1], 0), K::Shape, None, "4 rows");
    refused(group.scatter_v(&of(4), &[4], 0), K::Argument, None, "1 counts");
    refused(group.scatter_v(&of(4), &[usize::MAX, 5, 0], 0), K::Shape, None, "add up");
    refused(group.all_to_all_v(&three, &[vec![4]]), K::Argument, None, "lists");
    let counts = [vec![4, 0, 0], vec![1, 1, 1], vec![0, 0, 4]];
    refused(group.all_to_all_v(&three, &counts), K::Shape, Some(1), "4 rows");
    refused(group.all_reduce(&three, ReduceOp::Xor), K::Type, None, "cast");
    refused(group.scan(&three, ReduceOp::Average), K::Argument, None, "average");
    let forced = group.with_algorithm(Algorithm::Bruck);
    refused(forced.all_reduce(&three, sum), K::Argument, None, "Ring");
    let bools = vec![DeviceArray::full(&host, 2, true).unwrap(); 3];
    assert!(group.all_reduce(&bools, sum).is_err_and(|e| e.is_unsupported_type()));
    assert!(Group::new([]).is_err());
    assert!(Group::new(vec![host.clone(); 1025]).is_err());
    assert!(group.split(&[0, 1]).is_err());
    assert!(group.without(3).is_err());
    assert!(hosts(1).without(0).is_err());
    let rows = [of(4), of(4), of(4).reshape((2, 2)).unwrap()];
    refused(group.all_gather(&rows), K::Shape, Some(2), "axis 0");

    for group in with_devices() {
        let strangers = vec![of(4); 3];
        refused(group.all_reduce(&strangers, sum), K::DeviceMismatch, Some(0), "to_device");
        let parts = put(&group, &vec![vec![1.0f32]; 3]);
        let wrong = UserOp::new("wrong", "a + no_such_name", |a: f32, b: f32| a + b);
        refused(group.all_reduce(&parts, &wrong), K::Build, Some(0), "no_such_name");
    }
}

#[test]
fn groups_of_groups() {
    let group = hosts(5);
    let parts = put(&group, &(0..5).map(|m| vec![m as f32]).collect::<Vec<_>>());
    let halves = group.split(&[7, 3, 7, 3, 7]).unwrap();
    assert_eq!((halves[0].len(), halves[1].len()), (2, 3));
    let odd = [parts[1].clone(), parts[3].clone()];
    assert_eq!(get(halves[0].all_reduce(&odd, ReduceOp::Sum)), [[4.0], [4.0]]);
    let rest = group.without(2).unwrap();
    assert_eq!(
        get(rest.all_gather(&[&parts[..2], &parts[3..]].concat())),
        vec![vec![0.0, 1.0, 3.0, 4.0]; 4]
    );
    // Every thread of the pool waits for what needs threads of the pool.
    use rayon::prelude::*;
    let large = put(&group, &vec![vec![1.0f32; 500_000]; 5]);
    for _ in 0..4 {
        let sums = group.all_reduce(&large, ReduceOp::Sum).unwrap().into_results();
        let whole = |a: &DeviceArray<f32>| a.to_vec().unwrap().iter().all(|&v| v == 5.0);
        assert!((0..50).into_par_iter().all(|k| whole(&sums[k % 5])));
    }
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&group);
    assert!(!Group::all().unwrap().members().is_empty());
}

#[test]
fn many_calls_in_one() {
    for group in groups() {
        let lists: Vec<Vec<DeviceArray<f32>>> = [3usize, 0, 70]
            .iter()
            .map(|&n| put(&group, &[vec![1.0; n], vec![2.0; n], vec![n as f32; n]]))
            .collect();
        let calls = group.all_reduce_many(&lists, ReduceOp::Sum).unwrap();
        for (call, n) in calls.into_iter().zip([3usize, 0, 70]) {
            assert_eq!(get(Ok(call)), vec![vec![3.0 + n as f32; n]; 3]);
        }
        let roots: Vec<_> = lists.iter().map(|list| list[2].clone()).collect();
        let calls = group.broadcast_many(&roots, 2).unwrap();
        assert_eq!(calls[2].results()[0].to_vec().unwrap(), vec![70.0; 70]);
        assert_eq!(calls[0].results()[1].to_vec().unwrap(), vec![3.0; 3]);
        assert!(group.all_reduce_many::<f32>(&[], ReduceOp::Sum).unwrap().is_empty());
        let uneven = vec![lists[0].clone(), vec![lists[0][0].clone(); 2]];
        assert!(group.all_reduce_many(&uneven, ReduceOp::Sum).is_err());
    }
}

#[test]
fn explanations_have_numbers() {
    use clan::group::schedule::Collective;
    for group in groups() {
        let parts = put(&group, &vec![vec![1.0f32; 4096]; 3]);
        let before = group.explain(Collective::AllReduce, 16384).unwrap();
        assert!(before.predicted_seconds > 0.0 && before.measured_seconds.is_none());
        group.all_reduce(&parts, ReduceOp::Sum).unwrap().finish().unwrap();
        let after = group.explain(Collective::AllReduce, 16384).unwrap();
        assert!(after.measured_seconds.is_some_and(|s| s > 0.0), "{after}");
        println!("{after}");
        let forced = group.with_algorithm(Algorithm::Ring);
        let ring = forced.explain(Collective::AllReduce, 30_000).unwrap();
        assert_eq!((ring.rounds, ring.steps, ring.bytes_a_hop), (4, 12, 10_000));
        assert!(forced.explain(Collective::Broadcast { root: 0 }, 10).is_err());
        assert!(group.explain(Collective::Broadcast { root: 3 }, 10).is_err());
    }
}

/// Members' elements of wild magnitudes, signs, infinities and NaN: in any other order, or with another
/// rounding, the bits would be others.
#[test]
fn reproducible_groups() {
    fn wild(m: usize, i: usize) -> f32 {
        let bits = ((m * 1009 + i + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        match i % 97 {
            3 => [f32::NAN, -f32::NAN, 1.0][m % 3],
            5 => [f32::INFINITY, f32::NEG_INFINITY, 2.0][m % 3],
            7 => [0.0, -0.0, 0.0][m % 3],
            11 => [1e-40, 3e-39, -2e-40][m % 3],
            _ => (bits as f32 / 4_294_967_296.0 - 0.5) * [1e-6, 1.0, 1e6][(i + m) % 3],
        }
    }
    fn settle(v: f32) -> f32 {
        if v.is_nan() { f32::NAN } else { v }
    }
    fn extreme(a: f32, b: f32, less: bool) -> f32 {
        if a.is_nan() || b.is_nan() {
            return f32::NAN;
        }
        // Total order: -0 is less than +0.
        if (a.total_cmp(&b) == std::cmp::Ordering::Less) == less { a } else { b }
    }
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for group in groups() {
        let n = 5000;
        let values: Vec<Vec<f32>> = (0..3).map(|m| (0..n).map(|i| wild(m, i)).collect()).collect();
        let parts = put(&group, &values);
        let own = group.reproducible();
        assert!(own.is_reproducible() && !group.is_reproducible());
        let ops: [(ReduceOp, Plain<f32>); 4] = [
            (ReduceOp::Sum, &|a, b| settle(a + b)),
            (ReduceOp::Product, &|a, b| settle(a * b)),
            (ReduceOp::Min, &|a, b| extreme(a, b, true)),
            (ReduceOp::Max, &|a, b| extreme(a, b, false)),
        ];
        for (op, f) in ops {
            let want = fold(&values, f);
            for result in get(own.all_reduce(&parts, op)) {
                assert_eq!(bits(&result), bits(&want), "{op:?} on {group:?}");
            }
            let root = get(own.with_algorithm(Algorithm::Hub).reduce(&parts, 1, op));
            assert_eq!(bits(&root[0]), bits(&want), "{op:?}");
            let shares = get(own.reduce_scatter(&parts, op)).concat();
            assert_eq!(bits(&shares), bits(&want), "{op:?}");
            let scans = get(own.scan(&parts, op));
            assert_eq!(bits(&scans[1]), bits(&fold(&values[..2], f)), "{op:?}");
        }
        for refused in [
            own.all_reduce(&parts, ReduceOp::Average),
            own.with_algorithm(Algorithm::Ring).all_reduce(&parts, ReduceOp::Sum),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Argument);
        }
        let halves: Vec<Vec<f16>> =
            values.iter().map(|v| v.iter().map(|&v| f16::from_f32(v)).collect()).collect();
        let sums = get(own.all_reduce(&put(&group, &halves), ReduceOp::Sum));
        let want = fold(&halves, |a, b| f16::from_f32(settle(a.to_f32() + b.to_f32())));
        assert!(sums[2].iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()));
        // Integers need no order.
        let whole = put(&group, &[vec![1i32], vec![2], vec![3]]);
        assert_eq!(
            get(own.with_algorithm(Algorithm::Ring).all_reduce(&whole, ReduceOp::Average))[0],
            [2]
        );
    }
}

/// A CPU through OpenCL can be divided; its parts are members like any others.
#[test]
fn parts_of_a_device_are_members() {
    let told = Device::host().partition(1).unwrap_err().to_string();
    assert!(told.contains("host"), "{told}");
    for device in support::opencl_devices() {
        let Ok(parts) = device.partition(1) else {
            println!("skipped: {device} is not divided");
            continue;
        };
        assert_eq!(parts.len(), device.info().compute_units);
        assert!(parts.iter().all(|p| p.info().compute_units == 1 && p != &device));
        let group = Group::new(parts.into_iter().cycle().take(3)).unwrap();
        let values = put(&group, &[vec![1.0f32; 1000], vec![2.0; 1000], vec![4.0; 1000]]);
        assert_eq!(get(group.all_reduce(&values, ReduceOp::Sum)), vec![vec![7.0; 1000]; 3]);
        assert!(device.partition(0).is_err());
        assert!(device.partition(1_000_000).is_err());
        return;
    }
}
