//! The first of an order on the host, without sorting the rest.

use super::super::lanes::vectorized;
use super::super::{PARALLEL_ABOVE, map_tasks};
use super::{Key, Ranking, row};

/// Keys all of which are looked at together: more are told apart by a bound that a sample gives.
const TOGETHER: usize = 4096;

/// Keys that a bound is held against at a time.
const SIDE_BY_SIDE: usize = 32;

/// The positions of the first `k` of `keys`, which are as many at least and 2³² at most, by their ranks; what is equal by
/// its position.
pub(crate) fn first<K: Key>(
    keys: &[K],
    k: usize,
    ranking: impl Ranking<K>,
    threads: usize,
) -> Vec<usize> {
    if k == 0 {
        return Vec::new();
    }
    if k > keys.len() / 8 && keys.len() > TOGETHER {
        let mut ranks: Vec<K> = keys.iter().map(|&key| ranking.rank(key)).collect();
        let mut places: Vec<usize> = (0..keys.len()).collect();
        row(&mut ranks, &mut places, threads);
        places.truncate(k);
        return places;
    }
    let mut kept: Vec<K::Word> = match keys.len() > TOGETHER {
        true => {
            let bound = bound(keys, k, ranking);
            let kept = below(keys, k, ranking, bound, threads);
            // A sample may mislead.
            if kept.len() < k { below(keys, k, ranking, None, threads) } else { kept }
        }
        false => keys.iter().enumerate().map(|(at, &key)| ranking.rank(key).word(at)).collect(),
    };
    cut::<K>(&mut kept, k);
    kept.sort_unstable();
    kept.into_iter().map(|word| K::of_word(word).1).collect()
}

/// Leaves the first `k` of as many at least; the last of their ranks.
fn cut<K: Key>(kept: &mut Vec<K::Word>, k: usize) -> K {
    let last = *kept.select_nth_unstable(k - 1).1;
    kept.truncate(k);
    K::of_word(last).0
}

/// A rank that some more than `k` come before, probably, as a sample has it; `None` where that may be none or all.
fn bound<K: Key>(keys: &[K], k: usize, ranking: impl Ranking<K>) -> Option<K> {
    let n = keys.len();
    let size = (n / 256).clamp(1024, 8192);
    let mut sample: Vec<K> = keys.iter().step_by(n / size).map(|&key| ranking.rank(key)).collect();
    // As many of a sample as are expected among the first `k`, and three times what that varies by.
    let expected = sample.len() as f64 * k as f64 / n as f64;
    let at = (expected + 3.0 * expected.sqrt() + 3.0) as usize;
    if at >= sample.len() {
        return None;
    }
    sample.select_nth_unstable(at).1.next()
}

/// Keys of ranks below a bound, if there is one: the first `k` of them and some others. Many are thrown away from time
/// to time; what comes later than the first `k` of those before it has to be better than the last of these.
fn below<K: Key>(
    keys: &[K],
    k: usize,
    ranking: impl Ranking<K>,
    bound: Option<K>,
    threads: usize,
) -> Vec<K::Word> {
    let most = 2 * k + 1024;
    let part = |from: usize, keys: &[K]| {
        // Places for all that are looked at side by side, so that no jump depends on a rank.
        let room = most.min(keys.len()) + SIDE_BY_SIDE;
        let mut kept = vec![K::Word::default(); room];
        let (mut bound, mut n, mut at) = (bound, 0, 0);
        loop {
            if let Some(bound) = bound {
                at += SIDE_BY_SIDE * vectorized(|| without(&keys[at..], ranking, bound));
            }
            let Some(some) = keys.get(at..keys.len().min(at + SIDE_BY_SIDE)) else { break };
            for (i, &key) in some.iter().enumerate() {
                let rank = ranking.rank(key);
                kept[n] = rank.word(from + at + i);
                n += usize::from(bound.is_none_or(|bound| rank < bound));
            }
            at += some.len();
            if n >= most {
                kept.truncate(n);
                bound = Some(cut(&mut kept, k));
                n = kept.len();
                kept.resize(room, K::Word::default());
            }
            if at == keys.len() {
                break;
            }
        }
        kept.truncate(n);
        kept
    };
    if threads == 1 || keys.len() <= PARALLEL_ABOVE {
        return part(0, keys);
    }
    let each = keys.len().div_ceil(4 * threads).max(PARALLEL_ABOVE / 2);
    let kept = map_tasks(keys.len().div_ceil(each), &|i| {
        part(i * each, &keys[i * each..keys.len().min((i + 1) * each)])
    });
    kept.concat()
}

/// How many groups of keys that lie side by side have none of a rank below the bound, the rest counted as a group.
#[inline(always)]
fn without<K: Key>(keys: &[K], ranking: impl Ranking<K>, bound: K) -> usize {
    let (groups, rest) = keys.as_chunks::<SIDE_BY_SIDE>();
    let has = |any, &key: &K| any | (ranking.rank(key) < bound);
    let first = groups.iter().position(|group| group.iter().fold(false, has));
    first.unwrap_or_else(|| groups.len() + usize::from(!rest.iter().fold(false, has)))
}
