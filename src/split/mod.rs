//! Shares of work: a length cut into ranges, one a member, evenly or by weights, and chunks handed out
//! while the work goes on. Plain arithmetic: nothing here knows a device.

mod guided;
#[cfg(test)]
mod tests;

pub(crate) use guided::Guided;

use std::ops::Range;

/// `n` in so many parts: the first ones get one more where it does not divide.
pub(crate) fn even(n: usize, parts: usize) -> Vec<usize> {
    (0..parts).map(|k| n / parts + usize::from(k < n % parts)).collect()
}

/// Whether numbers can be weights: finite, not negative, one of them positive.
pub(crate) fn are_weights(weights: &[f64]) -> bool {
    weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().any(|w| *w > 0.0)
}

/// `n` in parts as the weights are to each other, each less than one off its exact share. A weight of
/// 0 gets nothing. What rounding leaves goes to those it took most from, the first of equals first.
pub(crate) fn weighted(n: usize, weights: &[f64]) -> Vec<usize> {
    debug_assert!(are_weights(weights));
    // Relative to the greatest, so that no sum overflows or vanishes.
    let greatest = weights.iter().copied().fold(0.0, f64::max);
    let relative: Vec<f64> = weights.iter().map(|w| w / greatest).collect();
    let total: f64 = relative.iter().sum();
    let exact: Vec<f64> = relative.iter().map(|w| n as f64 * (w / total)).collect();
    let mut lens: Vec<usize> = exact.iter().map(|&e| e as usize).collect();
    let mut order: Vec<usize> = (0..lens.len()).filter(|&k| relative[k] > 0.0).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    // Products beyond 2⁵³ are rounded, so that the sum may be off by more than the parts: everything
    // is settled here, whichever way it is off.
    let mut sum: u128 = lens.iter().map(|&l| l as u128).sum();
    let (mut turn, n) = (0, n as u128);
    while sum < n {
        let left = (n - sum) / order.len() as u128;
        let more = (left as usize).max(1);
        lens[order[turn % order.len()]] += more;
        sum += more as u128;
        turn += 1;
    }
    while sum > n {
        let k = order[order.len() - 1 - turn % order.len()];
        let less = lens[k].min((sum - n) as usize);
        lens[k] -= less;
        sum -= less as u128;
        turn += 1;
    }
    lens
}

/// Consecutive ranges of given lengths, from 0 on.
pub(crate) fn ranges(lens: &[usize]) -> Vec<Range<usize>> {
    let mut at = 0;
    lens.iter()
        .map(|len| {
            at += len;
            at - len..at
        })
        .collect()
}

/// What two ranges have in common; an empty range inside the first where that is nothing.
pub(crate) fn overlap(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = b.start.clamp(a.start, a.end);
    start..b.end.clamp(start, a.end)
}
