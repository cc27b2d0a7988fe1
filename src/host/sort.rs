//! Radix sort on the host: least significant digit first, stable, in parallel where rows are long.

use super::eval::SharedOut;
use super::{PARALLEL_ABOVE, each_task, map_tasks};

const BITS: usize = 8;
const DIGITS: usize = 1 << BITS;

/// Keys below which a comparing sort of the standard library is as fast, for each byte of a key, which
/// costs a pass.
const FEW: usize = 512;

/// An unsigned integer that keys are sorted by.
pub(crate) trait Key: Copy + Default + Ord + Send + Sync + 'static {
    const SIZE: usize;
    fn digit(self, shift: usize) -> usize;
    /// From and to its bits; those beyond its size are 0.
    #[cfg(feature = "opencl")]
    fn of_bits(bits: u64) -> Self;
    #[cfg(feature = "opencl")]
    fn bits(self) -> u64;
}

macro_rules! key {
    ($($T:ty)*) => {$(
        impl Key for $T {
            const SIZE: usize = size_of::<$T>();
            #[inline]
            fn digit(self, shift: usize) -> usize {
                (self >> shift) as usize & (DIGITS - 1)
            }
            #[cfg(feature = "opencl")]
            fn of_bits(bits: u64) -> Self {
                bits as $T
            }
            #[cfg(feature = "opencl")]
            fn bits(self) -> u64 {
                self.into()
            }
        }
    )*};
}
key!(u8 u16 u32 u64);

/// Sorts rows of `len` keys, and what goes with them, by `order(key)`.
pub(crate) fn rows<K: Key, P: Copy + Default + Send + Sync>(
    keys: &mut [K],
    loads: &mut [P],
    len: usize,
    order: impl Fn(K) -> K + Sync + Copy,
) {
    let n = keys.len();
    debug_assert_eq!(n, loads.len());
    if n / len > 1
        && n > PARALLEL_ABOVE
        && (n / len >= rayon::current_num_threads() || len <= FEW * K::SIZE)
    {
        let per_task = (PARALLEL_ABOVE / 4 / len).max(1);
        let (keys, loads) =
            (SharedOut(keys.as_mut_ptr().cast()), SharedOut(loads.as_mut_ptr().cast()));
        each_task(n / len, per_task, &|k| {
            // SAFETY: row `k`, which is in this task alone.
            let (keys, loads) = unsafe {
                let at = (k * len) as isize;
                (
                    std::slice::from_raw_parts_mut(keys.at::<K>(at), len),
                    std::slice::from_raw_parts_mut(loads.at::<P>(at), len),
                )
            };
            row(keys, loads, order, 1);
        });
        return;
    }
    for (keys, loads) in keys.chunks_mut(len).zip(loads.chunks_mut(len)) {
        let threads = if len > PARALLEL_ABOVE { rayon::current_num_threads() } else { 1 };
        row(keys, loads, order, threads);
    }
}

fn row<K: Key, P: Copy + Default + Send + Sync>(
    keys: &mut [K],
    loads: &mut [P],
    order: impl Fn(K) -> K + Sync + Copy,
    threads: usize,
) {
    if keys.len() <= FEW * K::SIZE {
        few(keys, loads, order);
        return;
    }
    let n = keys.len();
    let mut other_keys = vec![K::default(); n];
    let mut other_loads = vec![P::default(); n];
    let mut swapped = false;
    for shift in (0..K::SIZE * 8).step_by(BITS) {
        let digit = |k: K| order(k).digit(shift);
        let moved = match swapped {
            false => pass((keys, loads), (&mut other_keys, &mut other_loads), digit, threads),
            true => pass((&other_keys, &other_loads), (keys, loads), digit, threads),
        };
        swapped ^= moved;
    }
    if swapped {
        keys.copy_from_slice(&other_keys);
        loads.copy_from_slice(&other_loads);
    }
}

fn few<K: Key, P: Copy>(keys: &mut [K], loads: &mut [P], order: impl Fn(K) -> K) {
    if size_of::<P>() == 0 {
        keys.sort_by_key(|&k| order(k));
        return;
    }
    let mut both: Vec<(K, P)> = keys.iter().copied().zip(loads.iter().copied()).collect();
    both.sort_by_key(|&(k, _)| order(k));
    for ((key, load), (k, p)) in keys.iter_mut().zip(loads).zip(both) {
        (*key, *load) = (k, p);
    }
}

/// Moves keys to the places of their digits; `false` when all have the same, and stay.
fn pass<K: Key, P: Copy + Send + Sync>(
    (keys, loads): (&[K], &[P]),
    (keys_out, loads_out): (&mut [K], &mut [P]),
    digit: impl Fn(K) -> usize + Sync,
    threads: usize,
) -> bool {
    let n = keys.len();
    let part = n.div_ceil(threads);
    let range = |t: usize| t * part..n.min((t + 1) * part);
    let count = |t: usize| {
        let mut count = [0usize; DIGITS];
        keys[range(t)].iter().for_each(|&k| count[digit(k)] += 1);
        count
    };
    let parts = n.div_ceil(part);
    let mut starts: Vec<[usize; DIGITS]> = match parts {
        1 => vec![count(0)],
        _ => map_tasks(parts, &count),
    };
    let mut sum = 0;
    for d in 0..DIGITS {
        let before = sum;
        for start in &mut starts {
            sum += std::mem::replace(&mut start[d], sum);
        }
        if sum - before == n {
            return false;
        }
    }
    let (keys_out, loads_out) =
        (SharedOut(keys_out.as_mut_ptr().cast()), SharedOut(loads_out.as_mut_ptr().cast()));
    let scatter = |t: usize| {
        let mut to = starts[t];
        for (&key, &load) in keys[range(t)].iter().zip(&loads[range(t)]) {
            let at = &mut to[digit(key)];
            // SAFETY: the places of a part's digits are its own, as many as it counted, and all of them
            // lie inside the row.
            unsafe {
                keys_out.at::<K>(*at as isize).write(key);
                loads_out.at::<P>(*at as isize).write(load);
            }
            *at += 1;
        }
    };
    match parts {
        1 => scatter(0),
        _ => each_task(parts, 1, &scatter),
    }
    true
}

/// The first `k` keys by `order(key)`, what is equal by its position: that integer, and the position.
pub(crate) fn first<K: Key>(
    keys: &[K],
    k: usize,
    order: impl Fn(K) -> K + Sync + Copy,
) -> Vec<(K, usize)> {
    // A part keeps some more than `k`, and throws away the worst from time to time. What comes later has
    // to be better than the worst that it kept then.
    let part = |(from, keys): (usize, &[K])| {
        let most = 2 * k + 1024;
        let mut kept: Vec<(K, usize)> = Vec::with_capacity(most.min(keys.len()));
        let mut worst = None;
        for (i, &key) in keys.iter().enumerate() {
            let rank = order(key);
            if worst.is_some_and(|worst| rank >= worst) {
                continue;
            }
            if kept.len() == most {
                kept.select_nth_unstable(k - 1);
                kept.truncate(k);
                worst = Some(kept[k - 1].0);
                if rank >= kept[k - 1].0 {
                    continue;
                }
            }
            kept.push((rank, from + i));
        }
        kept
    };
    let mut kept = match keys.len() > PARALLEL_ABOVE {
        false => part((0, keys)),
        true => {
            let each =
                keys.len().div_ceil(4 * rayon::current_num_threads()).max(PARALLEL_ABOVE / 2);
            let parts = keys.len().div_ceil(each);
            let kept = |i: usize| part((i * each, &keys[i * each..keys.len().min((i + 1) * each)]));
            map_tasks(parts, &kept).concat()
        }
    };
    if kept.len() > k {
        kept.select_nth_unstable(k - 1);
        kept.truncate(k);
    }
    kept.sort_unstable();
    kept
}
