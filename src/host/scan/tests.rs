//! Scans of the host against the definition.

use super::*;

/// Numbers whose sums are exact in every type.
fn input(n: usize) -> (Vec<f64>, Vec<u8>) {
    let x = |i: usize| (i.wrapping_mul(0x9e37_79b9) >> 7) % 1000;
    ((0..n).map(|i| x(i) as f64).collect(), (0..n).map(|i| u8::from(x(i) < 9)).collect())
}

/// Sums by the definition.
fn want(x: &[f64], flags: Option<&[u8]>, block: Block, exclusive: bool) -> Vec<f64> {
    let Block { len, inner, .. } = block;
    let mut out = vec![0.0; x.len()];
    for (i, &v) in x.iter().enumerate() {
        let starts = i / inner % len == 0 || flags.is_some_and(|flags| flags[i] != 0);
        let before = match (starts, exclusive) {
            (true, _) => 0.0,
            (false, true) => out[i - inner] + x[i - inner],
            (false, false) => out[i - inner],
        };
        out[i] = if exclusive { before } else { before + v };
    }
    out
}

#[test]
fn every_block_in_every_way() {
    let shapes = [
        [1, 1, 1],
        [3, 70, 1],
        [500, 600, 1],
        [2, 40_000, 1],
        [1, 300_000, 1],
        [3, 700, 5],
        [1, 100_000, 3],
        [1, 2000, 300],
        [1, 200, 2500],
        [2, 70, 1500],
        [1, 5, 70_000],
        [700, 3, 200],
    ];
    for [outer, len, inner] in shapes {
        let block = Block { outer, len, inner };
        let n = outer * len * inner;
        let (x, marks) = input(n);
        let short: Vec<i32> = x.iter().map(|&x| x as i32).collect();
        for (flags, exclusive, direct) in [
            (None, false, true),
            (None, true, true),
            (None, false, false),
            (None, true, false),
            (Some(&marks[..]), false, true),
            (Some(&marks[..]), true, false),
        ] {
            let want = want(&x, flags, block, exclusive);
            let what = format!("{block:?}, {exclusive}, {direct}, {}", flags.is_some());
            let mut out = vec![-1.0; n];
            let to = SharedOut(out.as_mut_ptr().cast());
            // SAFETY: there is a place for each element, which is stored once.
            let store = |start: usize, values: &[f64]| unsafe {
                let to = to.at::<f64>(start as isize);
                to.copy_from_nonoverlapping(values.as_ptr(), values.len());
            };
            let identity = exclusive.then_some(0.0);
            let store: Option<Store<'_, f64>> = if direct { None } else { Some(&store) };
            let (joiner, source) = (&FloatSum, Source::Memory(&x));
            Scan { joiner, block, source, flags, identity, out: to, store, weight: 1 }.run();
            assert!(out == want, "sums of floats, {what}");

            let mut out = vec![-1i64; n];
            let to = SharedOut(out.as_mut_ptr().cast());
            let (identity, store) = (exclusive.then_some(0), None);
            let (joiner, source) = (&IntegerSum, Source::Memory(&short));
            Scan { joiner, block, source, flags, identity, out: to, store, weight: 1 }.run();
            assert!(out.iter().zip(&want).all(|(&a, &b)| a as f64 == b), "sums, {what}");
        }
    }
}

fn cumulated<T: Copy + Default + Send + Sync>(joiner: &impl Joiner<T>, x: &[T]) -> Vec<T> {
    let block = Block { outer: 1, len: x.len(), inner: 1 };
    let mut out = vec![T::default(); x.len()];
    let (source, to) = (Source::Memory(x), SharedOut(out.as_mut_ptr().cast()));
    let (flags, identity, store) = (None, None, None);
    Scan { joiner, block, source, flags, identity, out: to, store, weight: 1 }.run();
    out
}

/// Parts that are beyond the type where no sum is.
#[test]
fn large_numbers() {
    let sums = cumulated(&FloatSum, &[-3e38f32, 3e38, 3e38, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(sums, [-3e38, 0.0, 3e38, 3e38, 3e38, 3e38, 3e38, 3e38]);
    let mut x = [[3e38f32; 8], [-3e38; 8]].concat();
    x.resize(3000, 0.0);
    let sums = cumulated(&FloatSum, &x);
    assert!(
        sums[0] == 3e38 && sums[14] == 3e38 && sums[1..14].iter().all(|&sum| sum == f32::INFINITY)
    );
    assert!(sums[15..].iter().all(|&sum| sum == 0.0));
    let x: Vec<f64> = (0..3000).map(|i| if i % 2 == 0 { 1.5e308 } else { -1.5e308 }).collect();
    let sums = cumulated(&FloatSum, &x);
    assert!(sums.iter().enumerate().all(|(k, &sum)| sum == if k % 2 == 0 { 1.5e308 } else { 0.0 }));
}

/// Products of whose stretches some are beyond the type, and none of all before them.
#[test]
fn products_of_many() {
    let x = [vec![1.08f32; 1024], vec![0.9; 1024], vec![1.0; 3000]].concat();
    let product = Plain::<_, false>(|a: f32, b: f32| a * b);
    let mut want = 1.0;
    for (k, (x, got)) in x.iter().zip(cumulated(&product, &x)).enumerate() {
        want *= f64::from(*x);
        assert!((f64::from(got) - want).abs() <= 2e-4 * want, "{k}: {got} for {want}");
    }
}
