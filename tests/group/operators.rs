//! Operators: averages, NaN, identities, and those of users.

use super::*;

const PRIME: u64 = 65_521;

/// Two by two matrices of 16-bit numbers modulo a prime, row by row in 64 bits.
fn product(a: u64, b: u64) -> u64 {
    let at = |m: u64, k: u64| m >> (16 * k) & 0xffff;
    let mut out = 0;
    for k in 0..4 {
        let (row, column) = (k / 2 * 2, k % 2);
        let v = at(a, row) * at(b, column) + at(a, row + 1) * at(b, column + 2);
        out |= (v % PRIME) << (16 * k);
    }
    out
}

const PRODUCT: &str = "
    ulong out = 0; // row by row
    for (int k = 0; k < 4; k++) {
        const int row = k / 2 * 2, column = k % 2;
        const ulong v = ((a >> 16 * row) & 0xffff) * ((b >> 16 * column) & 0xffff)
                      + ((a >> 16 * (row + 1)) & 0xffff) * ((b >> 16 * (column + 2)) & 0xffff);
        out |= v % 65521 << 16 * k;
    }
    return out;
";

const UNIT: u64 = 1 | 1 << 48;

fn matrices(p: usize, n: usize) -> Vec<Vec<u64>> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (0..4).fold(0, |m, k| m | ((((state >> (k * 13)) & 0xffff) % PRIME) << (16 * k)))
    };
    (0..p).map(|_| (0..n).map(|_| next()).collect()).collect()
}

#[test]
fn operators_that_do_not_commute_keep_the_order() {
    let op = UserOp::new("matrix product", PRODUCT, product).ordered().identity(UNIT);
    let mut all: Vec<Group> = (1..=9).map(hosts).collect();
    all.extend(with_devices());
    for group in all {
        let p = group.len();
        let values = matrices(p, 21);
        let parts = put(&group, &values);
        let so_far: Vec<Vec<u64>> = (1..=p).map(|m| fold(&values[..m], product)).collect();
        if p > 1 {
            let back: Vec<Vec<u64>> = values.iter().rev().cloned().collect();
            assert_ne!(fold(&back, product), so_far[p - 1], "the test would see another order");
        }
        let whole = &so_far[p - 1];
        assert_eq!(get(group.all_reduce(&parts, &op)), vec![whole.clone(); p], "{group:?}");
        for root in [0, p / 2, p - 1] {
            assert_eq!(get(group.reduce(&parts, root, &op)), [whole.as_slice()]);
        }
        assert_eq!(get(group.scan(&parts, &op)), so_far);
        let mut before = vec![vec![UNIT; 21]];
        before.extend_from_slice(&so_far[..p - 1]);
        assert_eq!(get(group.exclusive_scan(&parts, &op)), before);
        for algorithm in [
            Algorithm::Star,
            Algorithm::Tree { radix: 3 },
            Algorithm::Chain { segments: 4 },
            Algorithm::Doubling,
            Algorithm::Hub,
        ] {
            let got = get(group.with_algorithm(algorithm).all_reduce(&parts, &op));
            assert_eq!(got, vec![whole.clone(); p], "{algorithm:?} {group:?}");
        }
        if p > 2 {
            let error = group.with_algorithm(Algorithm::Ring).all_reduce(&parts, &op);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Argument);
        }
    }
}

#[test]
fn exclusive_scans_begin_with_what_changes_nothing() {
    let group = hosts(2);
    let parts = put(&group, &[vec![-3i8, 100], vec![5, 5]]);
    let wants = [
        (ReduceOp::Sum, 0),
        (ReduceOp::Product, 1),
        (ReduceOp::Min, i8::MAX),
        (ReduceOp::Max, i8::MIN),
        (ReduceOp::And, -1),
        (ReduceOp::Or, 0),
        (ReduceOp::Xor, 0),
    ];
    for (op, first) in wants {
        assert_eq!(get(group.exclusive_scan(&parts, op)), [[first; 2], [-3, 100]], "{op:?}");
    }
    let parts = put(&group, &[vec![f16::ONE], vec![f16::ONE]]);
    let got = get(group.exclusive_scan(&parts, ReduceOp::Min));
    assert_eq!(got, [[f16::INFINITY], [f16::ONE]]);
    let parts = put(&group, &[vec![false], vec![false]]);
    assert_eq!(get(group.exclusive_scan(&parts, ReduceOp::And)), [[true], [false]]);
    let user = UserOp::new("max", "max(a, b)", |a: bool, b: bool| a | b);
    let error = group.exclusive_scan(&parts, &user).unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");
}

#[test]
fn an_operator_that_panics_is_an_error() {
    let op = UserOp::new("picky", "a + b", |a: i32, b: i32| {
        assert!(a >= 0 && b >= 0, "negative");
        a + b
    });
    for group in groups() {
        let good = put(&group, &[vec![1], vec![2], vec![3]]);
        let bad = put(&group, &[vec![1], vec![-2], vec![3]]);
        let group = group.with_algorithm(Algorithm::Hub);
        let error = group.all_reduce(&bad, &op).unwrap().wait().unwrap_err();
        assert!(
            error.to_string().contains("picky") && error.to_string().contains("negative"),
            "{error}"
        );
        assert_eq!(get(group.all_reduce(&good, &op)), vec![vec![6]; 3]);
    }
}

#[test]
fn users_operators_of_small_types() {
    for group in groups() {
        // Beyond 0 and 1 before it is stored.
        let op = UserOp::new("some", "2 * a + 4 * b", |a: bool, b: bool| a | b);
        let group = group.with_algorithm(Algorithm::Tree { radix: 2 });
        let flags = [vec![false; 40], vec![false; 40], (0..40).map(|i| i % 2 == 0).collect()];
        let any = get(group.all_reduce(&put(&group, &flags), &op));
        assert_eq!(any, vec![flags[2].clone(); 3]);
        let sums = get(group.all_reduce(&put(&group, &any), ReduceOp::Xor));
        assert_eq!(sums, vec![flags[2].clone(); 3]);
        let op = UserOp::new("hypot", "sqrt(a * a + b * b)", |a: bf16, b: bf16| {
            bf16::from_f32((a.to_f32() * a.to_f32() + b.to_f32() * b.to_f32()).sqrt())
        });
        let sides = [0.0f32, 3.0, 4.0].map(|x| vec![bf16::from_f32(x); 9]);
        let got = get(group.all_reduce(&put(&group, &sides), &op));
        assert_eq!(got, vec![vec![bf16::from_f32(5.0); 9]; 3]);
    }
}

#[test]
fn averages() {
    for group in groups() {
        let parts = put(&group, &[vec![1.0f32, -4.0], vec![2.0, 0.0], vec![6.0, -5.0]]);
        for algorithm in [Algorithm::Hub, Algorithm::Ring, Algorithm::Tree { radix: 2 }] {
            let got = get(group.with_algorithm(algorithm).all_reduce(&parts, ReduceOp::Average));
            assert_eq!(got, vec![vec![3.0, -3.0]; 3], "{algorithm:?}");
        }
        assert_eq!(get(group.reduce(&parts, 1, ReduceOp::Average)), [[3.0, -3.0]]);
        let parts = put(&group, &[vec![1i32, -4], vec![2, 0], vec![7, -4]]);
        // Towards zero.
        assert_eq!(
            get(group.reduce_scatter(&parts, ReduceOp::Average)),
            [vec![3], vec![-2], vec![]]
        );
        let halves = [1.0f32, 2.0, 2.5].map(|x| vec![f16::from_f32(x)]);
        let got = get(group.all_reduce(&put(&group, &halves), ReduceOp::Average));
        assert_eq!(got[2][0], f16::from_f32(5.5 / 3.0));
    }
    let one = hosts(1);
    assert_eq!(get(one.all_reduce(&put(&one, &[vec![5.0f32]]), ReduceOp::Average)), [[5.0]]);
}

#[test]
fn nan_wins() {
    for group in groups() {
        for who in 0..3 {
            let mut values = vec![vec![1.0f32, 2.0], vec![3.0, -1.0], vec![2.0, 0.0]];
            values[who][1] = f32::NAN;
            for (op, want) in [(ReduceOp::Min, 1.0), (ReduceOp::Max, 3.0)] {
                let got = get(group.all_reduce(&put(&group, &values), op));
                assert!(got.iter().all(|v| v[0] == want && v[1].is_nan()), "{op:?} {got:?}");
            }
        }
    }
}
