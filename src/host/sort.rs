//! Radix sort on the host, stable: by digits from the lowest that matters on, in parallel where rows are long, then by
//! insertion.

mod first;
#[cfg(test)]
mod tests;

pub(crate) use first::first;

use super::eval::SharedOut;
use super::lanes::vectorized;
use super::{LIGHT, PARALLEL_ABOVE, each_task, map_tasks};
use smallvec::SmallVec;
use std::ops::{BitOr, BitXor};
use std::sync::atomic::{AtomicBool, Ordering};

const BITS: usize = 8;
const DIGITS: usize = 1 << BITS;

/// Keys that a comparing sort of the standard library puts in order: alone or in short words with their places, and in
/// wide ones.
const FEW_ALONE: usize = 128;
const FEW: usize = 48;

/// Keys of a row that passes by their two highest digits nearly sort.
const SHORT: usize = 2048;

/// Keys of a digit that are put in order by insertion.
const CLOSE: usize = 24;

/// Keys from which threads share a row: they meet twice in each pass, and what one has written another reads.
const SHARED_ABOVE: usize = 2 * LIGHT;

/// Keys of a long row that are looked at to know its digits.
const SAMPLE: usize = 8192;

/// An unsigned integer that keys are sorted by.
pub(crate) trait Key:
    Copy + Default + Ord + BitXor<Output = Self> + BitOr<Output = Self> + Send + Sync + 'static
{
    const SIZE: usize;
    fn digit(self, shift: usize) -> usize;
    /// Bits up to the highest that is set.
    fn width(self) -> usize;
    /// The next greater one.
    fn next(self) -> Option<Self>;
    /// From and to its bits; those beyond its size are 0.
    #[cfg(feature = "opencl")]
    fn of_bits(bits: u64) -> Self;
    #[cfg(feature = "opencl")]
    fn bits(self) -> u64;

    /// A key and its place, which is below 2³² if keys are shorter than eight bytes: in the order of keys, and of
    /// places where these are equal.
    type Word: Copy + Default + Ord + Send;
    fn word(self, place: usize) -> Self::Word;
    fn of_word(word: Self::Word) -> (Self, usize);
}

macro_rules! key {
    ($($T:ty, $Word:ty;)*) => {$(
        impl Key for $T {
            const SIZE: usize = size_of::<$T>();
            #[inline]
            fn digit(self, shift: usize) -> usize {
                (self >> shift) as usize & (DIGITS - 1)
            }
            fn width(self) -> usize {
                (<$T>::BITS - self.leading_zeros()) as usize
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            #[cfg(feature = "opencl")]
            fn of_bits(bits: u64) -> Self {
                bits as $T
            }
            #[cfg(feature = "opencl")]
            fn bits(self) -> u64 {
                self.into()
            }
            type Word = $Word;
            #[inline]
            fn word(self, place: usize) -> $Word {
                <$Word>::from(self) << (<$Word>::BITS / 2) | place as $Word
            }
            #[inline]
            fn of_word(word: $Word) -> (Self, usize) {
                let place = word & (<$Word>::MAX >> (<$Word>::BITS / 2));
                ((word >> (<$Word>::BITS / 2)) as $T, place as usize)
            }
        }
    )*};
}
key! { u8, u64; u16, u64; u32, u64; u64, u128; }

/// An order of keys: the integer by which each is sorted. Different keys have different ranks, but for keys of the
/// first or of the last rank.
pub(crate) trait Ranking<K>: Copy + Send + Sync {
    /// Whether different keys have different ranks, all of them.
    const ONE_EACH: bool = false;

    /// Whether ranks are the keys themselves.
    fn is_plain(self) -> bool {
        false
    }

    fn rank(self, key: K) -> K;
    /// A key of this rank.
    fn key(self, rank: K) -> K;
}

/// Sorts rows of `len` keys, and what goes with them, by their ranks.
pub(crate) fn rows<K: Key, P: Copy + Default + Send + Sync>(
    keys: &mut [K],
    loads: &mut [P],
    len: usize,
    ranking: impl Ranking<K>,
) {
    debug_assert_eq!(keys.len(), loads.len());
    if !one_each(keys, ranking) {
        return each_row(keys, loads, len, &|keys, loads, threads| {
            row_of_many(keys, loads, threads, ranking);
        });
    }
    if ranking.is_plain() {
        return each_row(keys, loads, len, &row);
    }
    // Ranks lie where keys did until they are sorted.
    pieces(keys, |keys| vectorized(|| keys.iter_mut().for_each(|k| *k = ranking.rank(*k))));
    each_row(keys, loads, len, &row);
    pieces(keys, |keys| vectorized(|| keys.iter_mut().for_each(|k| *k = ranking.key(*k))));
}

/// Whether keys can be told from their ranks.
fn one_each<K: Key, R: Ranking<K>>(keys: &mut [K], ranking: R) -> bool {
    if R::ONE_EACH {
        return true;
    }
    let one_each = AtomicBool::new(true);
    pieces(keys, |keys| {
        let same = |same, &k: &K| same & (ranking.key(ranking.rank(k)) == k);
        // In parts, all of which are looked at: no jump depends on a key.
        if !keys.chunks(PARALLEL_ABOVE / 8).all(|keys| vectorized(|| keys.iter().fold(true, same)))
        {
            one_each.store(false, Ordering::Relaxed);
        }
    });
    one_each.into_inner()
}

/// A row in which different keys have one rank, the first or the last of all: NaN has many bits. They keep their
/// order beside the others, which are sorted by themselves.
fn row_of_many<K: Key, P: Copy + Default + Send + Sync>(
    keys: &mut [K],
    loads: &mut [P],
    threads: usize,
    ranking: impl Ranking<K>,
) {
    let odd = keys.iter().map(|&k| (k, ranking.rank(k))).find(|&(k, rank)| ranking.key(rank) != k);
    let Some((_, shared)) = odd else {
        keys.iter_mut().for_each(|k| *k = ranking.rank(*k));
        row(keys, loads, threads);
        return keys.iter_mut().for_each(|k| *k = ranking.key(*k));
    };
    let mut aside = Vec::new();
    let mut n = 0;
    for i in 0..keys.len() {
        let (key, load) = (keys[i], loads[i]);
        match ranking.rank(key) {
            rank if rank == shared => aside.push((key, load)),
            rank => {
                (keys[n], loads[n]) = (rank, load);
                n += 1;
            }
        }
    }
    row(&mut keys[..n], &mut loads[..n], threads);
    let comes_last = n == 0 || shared > keys[n - 1];
    keys[..n].iter_mut().for_each(|k| *k = ranking.key(*k));
    let first = match comes_last {
        true => n,
        false => {
            keys.copy_within(..n, aside.len());
            loads.copy_within(..n, aside.len());
            0
        }
    };
    for (i, (key, load)) in aside.into_iter().enumerate() {
        (keys[first + i], loads[first + i]) = (key, load);
    }
}

/// Runs `f` for parts of the keys, in parallel where they are many.
fn pieces<K: Key>(keys: &mut [K], f: impl Fn(&mut [K]) + Sync) {
    let n = keys.len();
    if n <= SHARED_ABOVE {
        return f(keys);
    }
    let all = SharedOut(keys.as_mut_ptr().cast());
    each_task(n.div_ceil(PARALLEL_ABOVE), 1, &|k| {
        let from = k * PARALLEL_ABOVE;
        let part = PARALLEL_ABOVE.min(n - from);
        // SAFETY: part `k`, which is in this task alone.
        f(unsafe { std::slice::from_raw_parts_mut(all.at::<K>(from as isize), part) });
    });
}

/// What is done with a row: its keys, what goes with them, and how many threads may share it.
type Row<'a, K, P> = dyn Fn(&mut [K], &mut [P], usize) + Sync + 'a;

/// Calls `f` for every row, several at a time or with the number of threads that may share it.
fn each_row<K: Key, P: Copy + Send + Sync>(
    keys: &mut [K],
    loads: &mut [P],
    len: usize,
    f: &Row<'_, K, P>,
) {
    let n = keys.len();
    if n / len > 1
        && n > PARALLEL_ABOVE
        && (n / len >= rayon::current_num_threads() || len <= SHARED_ABOVE)
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
            f(keys, loads, 1);
        });
        return;
    }
    for (keys, loads) in keys.chunks_mut(len).zip(loads.chunks_mut(len)) {
        let threads = if len > SHARED_ABOVE { rayon::current_num_threads() } else { 1 };
        f(keys, loads, threads);
    }
}

/// Sorts ranks.
fn row<K: Key, P: Copy + Default + Send + Sync>(keys: &mut [K], loads: &mut [P], threads: usize) {
    if keys.is_sorted() {
        return;
    }
    let n = keys.len();
    let most = if size_of::<P>() == 0 || K::SIZE <= 4 { FEW_ALONE } else { FEW };
    if n <= most {
        return few(keys, loads);
    }
    if n <= SHORT && K::SIZE > 1 {
        return short(keys, loads);
    }
    // What is left of a long row, without its NaNs, may be short.
    let threads = if n > SHARED_ABOVE { threads } else { 1 };
    let mut other_keys = vec![K::default(); n];
    let mut other_loads = vec![P::default(); n];
    // A single thread counts all digits at once.
    let known = (threads == 1).then(|| counts(keys));
    let lowest = match &known {
        Some(known) => lowest_pass(known, n),
        None => {
            let sample: Vec<K> = keys.iter().step_by(n / SAMPLE).copied().collect();
            lowest_pass(&counts(&sample), n)
        }
    };
    let mut passes = |keys: &mut [K], loads: &mut [P], lowest: usize| {
        let mut swapped = false;
        for number in lowest..K::SIZE {
            let from_to = match swapped {
                false => ((&*keys, &*loads), (&mut other_keys[..], &mut other_loads[..])),
                true => ((&other_keys[..], &other_loads[..]), (&mut *keys, &mut *loads)),
            };
            swapped ^= match &known {
                Some(known) => pass(from_to, number * BITS, &known[number]),
                None => shared_pass(from_to, number * BITS, threads),
            };
        }
        if swapped {
            keys.copy_from_slice(&other_keys);
            loads.copy_from_slice(&other_loads);
        }
    };
    passes(keys, loads, lowest);
    // Keys whose digits hang together may be far from their order still, and are in a stable one.
    if lowest > 0 && !settle_parts(keys, loads, lowest * BITS, threads) {
        passes(keys, loads, 0);
    }
}

/// The first pass that is needed before insertion moves few keys, one in sixteen: with which odds two keys agree in a
/// digit is known, and as if digits had nothing to do with each other.
fn lowest_pass(counts: &[[usize; DIGITS]], n: usize) -> usize {
    let mut pairs = n as f64;
    for (number, counts) in counts.iter().enumerate().rev() {
        let keys = counts.iter().sum::<usize>() as f64;
        pairs *= counts.iter().map(|&c| c as f64 * c.saturating_sub(1) as f64).sum::<f64>()
            / (keys * (keys - 1.0));
        if pairs <= 0.25 {
            return number;
        }
    }
    0
}

/// Puts keys in order that are sorted from bit `shift` on, in parts that differ there; `false` where that takes many
/// steps.
fn settle_parts<K: Key, P: Copy + Send + Sync>(
    keys: &mut [K],
    loads: &mut [P],
    shift: usize,
    threads: usize,
) -> bool {
    let n = keys.len();
    let mut bounds = vec![0];
    for t in 1..threads {
        let first = (t * n / threads).max(bounds[t - 1]).max(1);
        let differs = |&i: &usize| (keys[i] ^ keys[i - 1]).width() > shift;
        bounds.push((first..n).find(differs).unwrap_or(n));
    }
    bounds.push(n);
    if threads == 1 {
        return settle(keys, loads);
    }
    let (keys, loads) = (SharedOut(keys.as_mut_ptr().cast()), SharedOut(loads.as_mut_ptr().cast()));
    let part = |t: usize| {
        let (from, n) = (bounds[t] as isize, bounds[t + 1] - bounds[t]);
        // SAFETY: part `t`, which is in this task alone.
        unsafe {
            settle(
                std::slice::from_raw_parts_mut(keys.at::<K>(from), n),
                std::slice::from_raw_parts_mut(loads.at::<P>(from), n),
            )
        }
    };
    map_tasks(threads, &part).into_iter().all(|settled| settled)
}

/// Insertion; `false` where that takes many steps.
fn settle<K: Key, P: Copy>(keys: &mut [K], loads: &mut [P]) -> bool {
    let mut steps = 8 * keys.len();
    for i in 1..keys.len() {
        let (key, load) = (keys[i], loads[i]);
        if keys[i - 1] <= key {
            continue;
        }
        let mut at = i;
        while at > 0 && keys[at - 1] > key {
            (keys[at], loads[at]) = (keys[at - 1], loads[at - 1]);
            at -= 1;
        }
        (keys[at], loads[at]) = (key, load);
        steps = steps.saturating_sub(i - at);
        if steps == 0 {
            return false;
        }
    }
    true
}

/// How many keys have each digit, for all digits in one pass: moving keys does not change it.
fn counts<K: Key>(keys: &[K]) -> Vec<[usize; DIGITS]> {
    let mut all = vec![[0; DIGITS]; K::SIZE];
    // A length that the compiler knows.
    let counts = &mut all[..K::SIZE];
    for &rank in keys {
        for (pass, count) in counts.iter_mut().enumerate() {
            count[rank.digit(pass * BITS)] += 1;
        }
    }
    all
}

/// Sorts a short row by the highest digit in which its keys differ, or two, then by insertion.
fn short<K: Key, P: Copy + Default>(keys: &mut [K], loads: &mut [P]) {
    let first = keys[0];
    let differ = keys.iter().fold(K::default(), |differ, &k| differ | (k ^ first));
    let high = differ.width().saturating_sub(BITS);
    let counts = count(keys, high);
    let (mut near, mut loads_near) =
        (vec![K::default(); keys.len()], vec![P::default(); keys.len()]);
    let between = (&mut near[..], &mut loads_near[..]);
    if high == 0 || counts.iter().all(|&count| count <= CLOSE) {
        // SAFETY (all): the counts of these keys, which are the same in any order.
        unsafe { scatter_all((keys, loads), &counts, between, high) };
        keys.copy_from_slice(&near);
        loads.copy_from_slice(&loads_near);
    } else {
        let low = high.saturating_sub(BITS);
        unsafe {
            scatter_all((keys, loads), &count(keys, low), between, low);
            scatter_all((&near, &loads_near), &counts, (keys, loads), high);
        }
    }
    if !settle(keys, loads) {
        // A comparing sort finds most in order as well.
        few(keys, loads);
    }
}

fn few<K: Key, P: Copy>(keys: &mut [K], loads: &mut [P]) {
    if size_of::<P>() == 0 {
        return keys.sort_unstable();
    }
    let words = keys.iter().zip(0..).map(|(&key, place)| key.word(place));
    let mut words: SmallVec<[K::Word; FEW_ALONE]> = words.collect();
    words.sort_unstable();
    let old: SmallVec<[P; FEW_ALONE]> = loads.iter().copied().collect();
    for ((key, load), word) in keys.iter_mut().zip(loads).zip(words) {
        let (rank, place) = K::of_word(word);
        (*key, *load) = (rank, old[place]);
    }
}

/// What is moved, and where to.
type FromTo<'a, K, P> = ((&'a [K], &'a [P]), (&'a mut [K], &'a mut [P]));

/// Moves keys to the places of their digits, of which so many have each; `false` when all have the same, and stay.
fn pass<K: Key, P: Copy>(
    ((keys, loads), (keys_out, loads_out)): FromTo<'_, K, P>,
    shift: usize,
    counts: &[usize; DIGITS],
) -> bool {
    let moves = !counts.contains(&keys.len());
    if moves {
        // SAFETY: as many keys of each digit as were counted, whatever their order.
        unsafe { scatter_all((keys, loads), counts, (keys_out, loads_out), shift) };
    }
    moves
}

/// The same by several threads, which count first.
fn shared_pass<K: Key, P: Copy + Send + Sync>(
    ((keys, loads), (keys_out, loads_out)): FromTo<'_, K, P>,
    shift: usize,
    threads: usize,
) -> bool {
    let n = keys.len();
    let part = n.div_ceil(threads);
    let range = |t: usize| t * part..n.min((t + 1) * part);
    let count = |t: usize| count(&keys[range(t)], shift);
    let parts = n.div_ceil(part);
    let mut starts: Vec<[usize; DIGITS]> = map_tasks(parts, &count);
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
        // SAFETY: the places of a part's digits are its own, as many as it counted, and all of them lie
        // inside the row.
        unsafe {
            let out = (keys_out.at::<K>(0), loads_out.at::<P>(0));
            scatter(&keys[range(t)], &loads[range(t)], starts[t], out, shift);
        }
    };
    each_task(parts, 1, &scatter);
    true
}

fn count<K: Key>(keys: &[K], shift: usize) -> [usize; DIGITS] {
    let mut count = [0; DIGITS];
    keys.iter().for_each(|&k| count[k.digit(shift)] += 1);
    count
}

/// Writes keys and loads to the places that follow `to` of their digits.
///
/// All that it reads is its own, so that nothing but `to` is loaded between two stores: a load waits until the
/// address of every store before it is known where processors do not guess (15 cycles a key instead of 5).
///
/// # Safety
/// There are those places, and nobody else uses them.
unsafe fn scatter<K: Key, P: Copy>(
    keys: &[K],
    loads: &[P],
    mut to: [usize; DIGITS],
    (keys_out, loads_out): (*mut K, *mut P),
    shift: usize,
) {
    for (&key, &load) in keys.iter().zip(loads) {
        let at = &mut to[key.digit(shift)];
        // SAFETY: the caller's promise.
        unsafe {
            keys_out.add(*at).write(key);
            loads_out.add(*at).write(load);
        }
        *at += 1;
    }
}

/// All keys and loads of a row, of which so many have each digit: from both ends at once, so that keys of one
/// digit wait for each other half as often.
///
/// # Safety
/// `counts` are those of the keys' digits.
unsafe fn scatter_all<K: Key, P: Copy>(
    (keys, loads): (&[K], &[P]),
    counts: &[usize; DIGITS],
    (keys_out, loads_out): (&mut [K], &mut [P]),
    shift: usize,
) {
    let n = keys.len();
    assert!(loads.len() == n && keys_out.len() == n && loads_out.len() == n);
    let (mut to, mut end, mut sum) = ([0; DIGITS], [0; DIGITS], 0);
    for (d, &count) in counts.iter().enumerate() {
        to[d] = sum;
        sum += count;
        end[d] = sum;
    }
    debug_assert_eq!(sum, n);
    let (keys_out, loads_out) = (keys_out.as_mut_ptr(), loads_out.as_mut_ptr());
    let put = |at: usize, from: usize| {
        // SAFETY: both are below `n`: digits begin and end where their counts say, which add up to `n`.
        unsafe {
            keys_out.add(at).write(*keys.get_unchecked(from));
            loads_out.add(at).write(*loads.get_unchecked(from));
        }
    };
    let half = n / 2;
    for i in 0..half {
        let first = &mut to[keys[i].digit(shift)];
        put(*first, i);
        *first += 1;
        let last = &mut end[keys[n - 1 - i].digit(shift)];
        *last -= 1;
        put(*last, n - 1 - i);
    }
    if n % 2 == 1 {
        put(to[keys[half].digit(shift)], half);
    }
}
