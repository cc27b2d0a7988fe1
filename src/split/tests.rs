use super::*;

#[test]
fn even_shares_differ_by_one_at_most() {
    for n in [0, 1, 2, 5, 6, 7, 1000, usize::MAX] {
        for p in 1..8 {
            let lens = even(n, p);
            assert_eq!(lens.iter().map(|&l| l as u128).sum::<u128>(), n as u128);
            assert!(lens.windows(2).all(|w| w[0] >= w[1]) && lens[0] - lens[p - 1] <= 1);
        }
    }
}

#[test]
fn weights_are_kept_to_within_one() {
    let all: [&[f64]; 7] = [
        &[1.0],
        &[1.0, 1.0, 1.0],
        &[3.0, 1.0],
        &[0.0, 1.0, 0.0],
        &[50.0, 1.0, 0.1],
        &[1e300, 1e300],
        &[1e-300, 3e-300],
    ];
    for weights in all {
        let greatest = weights.iter().copied().fold(0.0, f64::max);
        let total: f64 = weights.iter().map(|w| w / greatest).sum();
        for n in [0usize, 1, 2, 3, 7, 100, 1_000_003] {
            let lens = weighted(n, weights);
            assert_eq!(lens.iter().sum::<usize>(), n, "{weights:?} {n}");
            for (k, &len) in lens.iter().enumerate() {
                let exact = n as f64 * (weights[k] / greatest / total);
                assert!((len as f64 - exact).abs() < 1.0 + 1e-6, "{weights:?} {n}: {lens:?}");
                assert!(weights[k] > 0.0 || len == 0, "{weights:?} {n}: {lens:?}");
            }
        }
        // Beyond what floats can count.
        let sum: u128 = weighted(usize::MAX, weights).iter().map(|&l| l as u128).sum();
        assert_eq!(sum, usize::MAX as u128, "{weights:?}");
    }
    assert_eq!(weighted(7, &[1.0, 1.0]), [4, 3]);
    assert_eq!(weighted(10, &[3.0, 1.0, 1.0]), [6, 2, 2]);
}

#[test]
fn absurd_weights_are_none() {
    for bad in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN, 1.0], &[f64::INFINITY]] {
        assert!(!are_weights(bad), "{bad:?}");
    }
}

#[test]
fn ranges_follow_each_other() {
    assert_eq!(ranges(&[2, 0, 3]), [0..2, 2..2, 2..5]);
    assert_eq!(overlap(&(2..5), &(0..3)), 2..3);
    assert_eq!(overlap(&(2..5), &(0..9)), 2..5);
    assert!(overlap(&(2..5), &(7..9)).is_empty() && overlap(&(2..5), &(0..1)).is_empty());
    assert!(overlap(&(2..2), &(0..9)).is_empty());
}

/// Workers of given speeds on a simulated clock: when each is done, and what each did.
fn run(len: usize, speeds: &[f64], least: usize, most: usize) -> (Vec<f64>, Vec<usize>) {
    let mut guided = Guided::new(len, speeds.len(), least, most);
    let mut clock = vec![0.0f64; speeds.len()];
    let mut did = vec![0; speeds.len()];
    let mut busy: Vec<usize> = (0..speeds.len()).collect();
    let mut at = 0;
    let mut pending: Vec<Option<(usize, f64)>> = vec![None; speeds.len()];
    // Whoever is done first asks next.
    while let Some(&w) = busy.iter().min_by(|&&a, &&b| clock[a].total_cmp(&clock[b])) {
        if let Some((n, seconds)) = pending[w].take() {
            guided.done(w, n, seconds);
        }
        match guided.next(w) {
            None => busy.retain(|&b| b != w),
            Some(range) => {
                assert_eq!(range.start, at, "chunks follow each other");
                assert!(!range.is_empty() && range.len() <= most.max(least));
                assert!(range.len() >= least || range.end == len, "{range:?} of {len}");
                at = range.end;
                let seconds = range.len() as f64 / speeds[w];
                clock[w] += seconds;
                did[w] += range.len();
                pending[w] = Some((range.len(), seconds));
            }
        }
    }
    assert_eq!(at, len, "everything was handed out");
    (clock, did)
}

#[test]
fn everybody_finishes_together() {
    for speeds in [&[1.0, 1.0][..], &[100.0, 1.0], &[1.0, 100.0], &[7.0, 3.0, 1.0], &[1.0]] {
        let (clock, did) = run(1_000_000, speeds, 100, usize::MAX);
        let ideal = 1_000_000.0 / speeds.iter().sum::<f64>();
        let last = clock.iter().copied().fold(0.0, f64::max);
        assert!(last < 1.05 * ideal, "{speeds:?}: {last} of ideally {ideal}, {did:?}");
    }
}

#[test]
fn few_elements_and_narrow_bounds() {
    for n in [0, 1, 2, 3, 99, 100, 101] {
        for least in [0, 1, 7, 1000] {
            for most in [1, 10, usize::MAX] {
                run(n, &[2.0, 1.0, 1.0], least, most);
            }
        }
    }
}
