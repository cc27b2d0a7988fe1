//! Sorts of the host against the standard library's stable one.

use super::*;

#[derive(Clone, Copy)]
struct Plain;

impl<K: Key> Ranking<K> for Plain {
    fn rank(self, key: K) -> K {
        key
    }
    fn key(self, rank: K) -> K {
        rank
    }
}

/// Keys below 4 have one rank, the first of all, or the last: as those of NaN have.
#[derive(Clone, Copy)]
struct Joined {
    last: bool,
}

impl Ranking<u32> for Joined {
    fn rank(self, key: u32) -> u32 {
        let rank = if key < 4 { 0 } else { key };
        if self.last { !rank } else { rank }
    }
    fn key(self, rank: u32) -> u32 {
        if self.last { !rank } else { rank }
    }
}

fn check<K: Key + std::fmt::Debug>(keys: &[K], len: usize, ranking: impl Ranking<K>, what: &str) {
    let mut want: Vec<(K, u32)> = keys.iter().copied().zip(0..).collect();
    want.chunks_mut(len).for_each(|row| row.sort_by_key(|&(k, _)| ranking.rank(k)));
    let mut got = keys.to_vec();
    rows(&mut got, &mut vec![(); keys.len()], len, ranking);
    assert!(got.iter().eq(want.iter().map(|(k, _)| k)), "{what}");
    let (mut got, mut loads) = (keys.to_vec(), (0..keys.len() as u32).collect::<Vec<_>>());
    rows(&mut got, &mut loads, len, ranking);
    assert!(got.into_iter().zip(loads).eq(want), "{what}, with loads");
}

#[test]
fn every_way_is_the_stable_order() {
    let bits = |i: u64| i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    type Make<'a> = &'a dyn Fn(u64) -> u64;
    let kinds: [(&str, Make<'_>); 8] = [
        ("twelve bits, mostly few", &|i| {
            let high = [1, 2, 3, bits(i + 2) % 16][bits(i + 1) as usize % 4];
            (high << 60) | (bits(i) % 256) << 52
        }),
        ("random", &bits),
        ("few", &|i| (bits(i) % 5) << 33),
        ("equal but one", &|i| u64::from(i == 40) << 20),
        ("many small", &|i| bits(i) >> (bits(i + 1) % 64)),
        ("two heaps", &|i| (bits(i) >> 40) | (i % 2) << 63),
        ("sorted", &|i| i << 8),
        ("reversed", &|i| u64::MAX - (i << 8)),
    ];
    for (what, make) in kinds {
        for n in [1, 2, 47, 48, 49, 50, 999, 2047, 2048, 2049, 5000] {
            let keys: Vec<u64> = (0..n).map(make).collect();
            let what = format!("{what}, {n}");
            check(&keys, keys.len(), Plain, &what);
            check(
                &keys.iter().map(|&k| (k >> 32) as u32).collect::<Vec<_>>(),
                keys.len(),
                Plain,
                &what,
            );
            check(
                &keys.iter().map(|&k| (k >> 20) as u16).collect::<Vec<_>>(),
                keys.len(),
                Plain,
                &what,
            );
            check(
                &keys.iter().map(|&k| (k >> 8) as u8).collect::<Vec<_>>(),
                keys.len(),
                Plain,
                &what,
            );
            check(
                &keys.iter().map(|&k| (k >> 60) as u32).collect::<Vec<_>>(),
                keys.len(),
                Joined { last: n % 2 == 0 },
                &what,
            );
        }
    }
    // Rows at a time, and one that threads share.
    let keys: Vec<u32> = (0..2 * SHARED_ABOVE as u64).map(|i| (bits(i) >> 40) as u32).collect();
    for len in [100, 1 << 11, 1 << 13, keys.len()] {
        let keys = &keys[..keys.len() / len * len];
        let more = |shift: u32| keys.iter().map(move |&k| u64::from(k) << shift | u64::from(k));
        check(&more(17).collect::<Vec<_>>(), len, Plain, &format!("u64, rows of {len}"));
        let short: Vec<u16> = more(0).map(|k| (k >> 3) as u16).collect();
        check(&short, len, Plain, &format!("u16, rows of {len}"));
        check(keys, len, Plain, &format!("rows of {len}"));
        check(keys, len, Joined { last: false }, &format!("rows of {len}"));
    }
}

/// Highest digits that are equal to each other: many keys agree in all of them, though few seem to.
#[test]
fn digits_that_hang_together() {
    let bits = |i: u64| i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let key = |i: u64| (((bits(i) >> 56) * 0x0101_0101) << 32) | (bits(i + 7) >> 32);
    for n in [40_000, SHARED_ABOVE as u64 + 9] {
        let keys: Vec<u64> = (0..n).map(key).collect();
        let short: Vec<u32> = keys.iter().map(|&k| (k >> 16) as u32).collect();
        let known = counts(&keys);
        assert!(lowest_pass(&known, keys.len()) > 2, "insertion is tried");
        check(&keys, keys.len(), Plain, &format!("u64, {n}"));
        check(&short, keys.len(), Plain, &format!("u32, {n}"));
    }
}

/// A row that threads share, of which most keys wait aside.
#[test]
fn few_keys_of_a_long_row() {
    let n = SHARED_ABOVE as u32 + 40_000;
    for kept in [2, 60, 5000, 9000] {
        let keys: Vec<u32> = (0..n)
            .map(|i| if i % (n / kept) == 7 { i.wrapping_mul(0x9e37_79b9) | 8 } else { i % 4 })
            .collect();
        check(&keys, keys.len(), Joined { last: false }, &format!("{kept} of {n}"));
    }
}

fn check_first(keys: &[u32], k: usize, ranking: impl Ranking<u32>, what: &str) {
    let mut want: Vec<usize> = (0..keys.len()).collect();
    want.sort_by_key(|&i| ranking.rank(keys[i]));
    want.truncate(k);
    for threads in [1, 3] {
        assert!(first(keys, k, ranking, threads) == want, "{what}, {k} of {}", keys.len());
    }
}

#[test]
fn the_first_are_those_of_a_stable_sort() {
    type Make<'a> = &'a dyn Fn(u32) -> u32;
    let bits = |i: u32| (i + 1).wrapping_mul(0x9e37_79b9).rotate_left(13);
    for n in [1usize, 9, 130, 4096, 4097, 16384, 100_001] {
        // Keys that a sample of every so many-th has alone, or lacks.
        let step = n as u32 / 1024;
        let kinds: [(&str, Make<'_>); 8] = [
            ("random", &bits),
            ("few", &|i| bits(i) % 3),
            ("mostly the last", &|i| if bits(i) % 50 == 0 { i } else { u32::MAX }),
            ("equal", &|_| u32::MAX),
            ("sorted", &|i| i),
            ("reversed", &|i| u32::MAX - i),
            ("the sample has the first", &|i| {
                if step > 1 && i % step == 0 { 0 } else { bits(i) | 8 }
            }),
            ("the sample lacks the first", &|i| {
                if step > 1 && i % step == 1 { 0 } else { bits(i) | 8 }
            }),
        ];
        for (what, make) in kinds {
            let keys: Vec<u32> = (0..n as u32).map(make).collect();
            for k in [0, 1, 7, 100, n / 9, n / 2, n] {
                check_first(&keys, k.min(n), Plain, what);
                check_first(&keys, k.min(n), Joined { last: k % 2 == 0 }, what);
            }
        }
    }
}
