//! Searches, merges, distinct elements and groups by any keys, against plain loops in the order of sorts.

use super::*;
use clan::Side;
use clan::ndarray::{Array1, arr1, s};
use clan::verify::oracle::order;
use std::cmp::Ordering;

/// Any values, of which many are special or equal to others.
fn values<T: Sample>(n: usize, seed: u64) -> Vec<T> {
    let mut rng = Rng::new(seed + n as u64);
    let specials = T::specials();
    let mut value = || match rng.below(3) {
        0 => specials[rng.below(specials.len())],
        _ => T::random(&mut rng),
    };
    (0..n).map(|_| value()).collect()
}

fn before<T: Sample>(a: T, b: T) -> Ordering {
    order(a.wide(), b.wide())
}

fn in_order<T: Sample>(mut x: Vec<T>) -> Vec<T> {
    x.sort_by(|&a, &b| before(a, b));
    x
}

/// NumPy's equality of distinct elements.
fn alike<T: Sample>(a: T, b: T) -> bool {
    a == b || a.wide().float().is_nan() && b.wide().float().is_nan()
}

fn search<T: Sample>(device: &Device, n: usize, m: usize) {
    let (keys, wanted) = (in_order(values::<T>(n, 1)), values::<T>(m, 2));
    let (x, v) = (on(device, &arr1(&keys)), on(device, &arr1(&wanted)));
    for (side, until) in [(Side::Left, Ordering::Less), (Side::Right, Ordering::Equal)] {
        let count = |v: T| keys.iter().take_while(|&&k| before(k, v) <= until).count() as u64;
        let want: Array1<u64> = wanted.iter().map(|&v| count(v)).collect();
        assert_same(&x.searchsorted(&v, side).unwrap(), &want);
    }
}

/// Merges the first `n` and the other keys, each sorted, alone and with their numbers.
fn merges<T: Sample>(device: &Device, keys: &[T], n: usize) {
    let sorted = |keys: &[T], from: usize| {
        let mut both: Vec<(T, u16)> =
            keys.iter().enumerate().map(|(i, &k)| (k, (from + i) as u16)).collect();
        both.sort_by(|a, b| before(a.0, b.0));
        both
    };
    let (a, b) = (sorted(&keys[..n], 0), sorted(&keys[n..], n));
    let mut want = [a.clone(), b.clone()].concat();
    want.sort_by(|a, b| before(a.0, b.0));
    let split = |x: Vec<(T, u16)>| -> (Array1<T>, Array1<u16>) {
        (x.iter().map(|p| p.0).collect(), x.iter().map(|p| p.1).collect())
    };
    let ((a, pa), (b, pb), (keys, loads)) = (split(a), split(b), split(want));
    let (a, b) = (on(device, &a), on(device, &b));
    assert_same(&a.merge(&b).unwrap(), &keys);
    let (got, moved) = a.merge_with(&on(device, &pa), &b, &on(device, &pb)).unwrap();
    assert_same(&got, &keys);
    assert_same(&moved, &loads);
}

fn distinct<T: Sample>(device: &Device, n: usize) {
    let x = values::<T>(n, 3);
    let mut want: Vec<(T, u64)> = Vec::new();
    for v in in_order(x.clone()) {
        match want.last_mut() {
            Some((last, count)) if alike(*last, v) => *count += 1,
            _ => want.push((v, 1)),
        }
    }
    let values: Array1<T> = want.iter().map(|p| p.0).collect();
    let counts: Array1<u64> = want.iter().map(|p| p.1).collect();
    let inverse = x.iter().map(|&v| want.iter().position(|p| alike(p.0, v)).unwrap() as u64);
    let inverse: Array1<u64> = inverse.collect();
    let x = on(device, &arr1(&x));
    assert_same(&x.unique().unwrap(), &values);
    let (got, number) = x.unique_counts().unwrap();
    assert_same(&got, &values);
    assert_same(&number, &counts);
    let (got, which) = x.unique_inverse().unwrap();
    assert_same(&got, &values);
    assert_same(&which, &inverse);
}

/// Whether sorted in both directions, in order, out of order at a seam and at the end.
fn order_holds<T: Sample>(device: &Device, n: usize) {
    let mut x = in_order(values::<T>(n, 4));
    let holds = |x: &[T], down: bool| {
        let x = on(device, &arr1(x));
        let sort = x.sorted(Axis(0));
        if down { sort.descending().is_sorted().unwrap() } else { x.is_sorted(Axis(0)).unwrap() }
    };
    assert!(holds(&x, false));
    let turned = |x: &[T]| x.windows(2).any(|w| before(w[0], w[1]) != Ordering::Equal);
    assert_eq!(holds(&x, true), !turned(&x));
    x.reverse();
    assert!(holds(&x, true));
    assert_eq!(holds(&x, false), !turned(&x));
    x.reverse();
    for at in [n.saturating_sub(1) / 2, n.saturating_sub(2)] {
        // The first element after the others is out of order unless all are equal.
        if n > 1 && before(x[0], x[at]) == Ordering::Less {
            let mut y = x.clone();
            y[at + 1] = y[0];
            assert!(!holds(&y, false), "{n} at {at}");
        }
    }
}

fn of_type<T: Sample>(device: &Device, sizes: &[usize]) {
    for &n in sizes {
        search::<T>(device, n, 300);
        let keys = values::<T>(n, 5);
        merges(device, &keys, n / 3);
        merges(device, &keys, n);
        distinct::<T>(device, n);
        order_holds::<T>(device, n);
    }
}

on_every_device!(floats, |device| {
    of_type::<f32>(device, &[1, 20_001]);
});
on_every_device!(small_integers, |device| {
    of_type::<i8>(device, &[9000]);
});
on_every_device!(halves, |device| {
    of_type::<clan::half::f16>(device, &[3000]);
});
on_every_device!(wide_integers, |device| {
    of_type::<i64>(device, &[0, 5001]);
});

#[test]
fn every_type_on_the_host() {
    let device = Device::host();
    macro_rules! each {
        ($($t:ty)*) => {$( of_type::<$t>(&device, &[0, 1, 2, 3, 511, 4096, 9001]); )*};
    }
    each!(bool u8 u16 u32 u64 i8 i16 i32 i64 clan::half::f16 clan::half::bf16 f32 f64);
}

// Over many tiles: apart, interleaved, equal, one in the midst of the other, one empty.
on_every_device!(long_merges, |device| {
    let n = 100_003u32;
    let vector = |x: &[u32]| DeviceArray::from_slice(device, x).unwrap();
    let all: Vec<u32> = (0..n).collect();
    let (even, odd): (Vec<u32>, Vec<u32>) = all.iter().partition(|&k| k % 2 == 0);
    let (low, high) = all.split_at(777);
    let inner: Vec<u32> = low.iter().chain(&high[50_000..]).copied().collect();
    for (a, b) in [
        (&even[..], &odd[..]),
        (low, high),
        (high, low),
        (&inner, &high[..50_000]),
        (&all, &[]),
        (&[], &all),
    ] {
        assert_eq!(vector(a).merge(&vector(b)).unwrap().to_vec().unwrap(), all);
    }
    // Of equal keys those of the first come first.
    let keys = DeviceArray::full(device, 50_001, 3u32).unwrap();
    let own: Vec<u32> = (0..50_001).collect();
    let others: Vec<u32> = (50_001..100_002).collect();
    let (_, loads) = keys.merge_with(&vector(&own), &keys, &vector(&others)).unwrap();
    assert_eq!(loads.to_vec().unwrap(), (0..100_002).collect::<Vec<_>>());
    // Unsorted ones end, with elements that are there.
    let mixed: Vec<u32> = all.iter().map(|k| k.wrapping_mul(2_654_435_761) % 1000).collect();
    let got = vector(&mixed).merge(&vector(&all)).unwrap().to_vec().unwrap();
    assert_eq!(got.len(), 2 * n as usize);
    assert!(got.iter().all(|&k| k < n));
    let places = vector(&mixed).searchsorted(vector(&all), Side::Left).unwrap().to_vec().unwrap();
    assert!(places.iter().all(|&p| p <= u64::from(n)));
    // A long search, with an expression of values.
    let got = vector(&even).searchsorted(vector(&all) + 1, Side::Left).unwrap().to_vec().unwrap();
    assert_eq!(
        got,
        (0..n).map(|k| u64::from(k / 2 + 1)).map(|k| k.min(even.len() as u64)).collect::<Vec<_>>()
    );
    let got = vector(&even).searchsorted(vector(&all), Side::Right).unwrap().to_vec().unwrap();
    assert_eq!(got, (0..n).map(|k| u64::from(k / 2 + 1)).collect::<Vec<_>>());
});

on_every_device!(views, |device| {
    let a = counted::<i16>(&[6, 50]);
    let x = on(device, &a);
    let keys = x.slice(s![2, ..;3]).unwrap();
    let want: Vec<i16> = a.slice(s![2, ..;3]).to_vec();
    // Every second value, backwards and transposed.
    let (v, w) = (x.slice(s![..;-1, ..;2]).unwrap().t(), a.slice(s![..;-1, ..;2]).reversed_axes());
    let places = w.map(|&v| want.iter().filter(|&&k| k < v).count() as u64);
    assert_same(&keys.searchsorted(&v, Side::Left).unwrap(), &places);
    let other = x.slice(s![.., 1]).unwrap();
    let mut both = [want, a.slice(s![.., 1]).to_vec()].concat();
    both.sort();
    assert_eq!(keys.merge(&other).unwrap().to_vec().unwrap(), both);
    // Rows rise, columns rise, and backwards both fall.
    for axis in [0, 1] {
        assert!(x.is_sorted(Axis(axis)).unwrap());
        let back = x.slice(s![..;-1, ..;-1]).unwrap();
        assert!(!back.is_sorted(Axis(axis)).unwrap());
        assert!(back.sorted(Axis(axis)).descending().is_sorted().unwrap());
        assert!((&x / 7).is_sorted(Axis(axis)).unwrap());
        assert!(!(&x % 7).is_sorted(Axis(1)).unwrap());
    }
    let wide = x.slice(s![.., ..3]).unwrap().insert_axis(Axis(0)).unwrap();
    let wide = wide.broadcast((4, 6, 3)).unwrap();
    let (values, counts) = wide.unique_counts().unwrap();
    let mut distinct: Vec<i16> = a.slice(s![.., ..3]).iter().copied().collect();
    distinct.sort();
    assert_eq!(values.to_vec().unwrap(), distinct);
    assert_eq!(counts.to_vec().unwrap(), [4; 18]);
    let (values, inverse) = (wide.t() % 5).unique_inverse().unwrap();
    assert_eq!(inverse.shape(), [3, 6, 4]);
    let back = values.take(&inverse).unwrap().to_vec().unwrap();
    assert_eq!(back, (wide.t() % 5).eval().unwrap().to_vec().unwrap());
});

on_every_device!(zeros_and_nans, |device| {
    let nan = f32::from_bits(0xffc0_0001);
    let x =
        DeviceArray::from_slice(device, &[0.0, nan, -0.0, f32::NAN, 0.0, f32::INFINITY]).unwrap();
    let (values, counts) = x.unique_counts().unwrap();
    let got = values.to_vec().unwrap();
    assert!(got[0] == 0.0 && got[1] == f32::INFINITY && got[2].is_nan() && got.len() == 3);
    assert_eq!(counts.to_vec().unwrap(), [3, 1, 2]);
    assert_eq!(x.unique_inverse().unwrap().1.to_vec().unwrap(), [0, 2, 0, 2, 0, 1]);
    let signed = DeviceArray::from_slice(device, &[-0.0f32, 0.0, nan, f32::NAN]).unwrap();
    assert!(signed.is_sorted(Axis(0)).unwrap());
    let flipped = DeviceArray::from_slice(device, &[0.0f32, -0.0]).unwrap();
    assert!(!flipped.is_sorted(Axis(0)).unwrap());
    assert_eq!(signed.searchsorted(&signed, Side::Left).unwrap().to_vec().unwrap(), [0, 1, 2, 2]);
    assert_eq!(signed.searchsorted(&signed, Side::Right).unwrap().to_vec().unwrap(), [1, 2, 4, 4]);
});

on_every_device!(groups_by_key, |device| {
    for n in [0usize, 1, 40_001] {
        let keys: Vec<f32> = (0..n).map(|i| (i * i % 1009) as f32 * -0.75).collect();
        let x: Vec<i32> = (0..n as i32).map(|i| i * 7 % 1000 - 500).collect();
        let mut want = std::collections::BTreeMap::<i64, (i64, i32, u64)>::new();
        for (&k, &x) in keys.iter().zip(&x) {
            let group = want.entry((k * 4.0) as i64).or_insert((0, i32::MAX, 0));
            *group = (group.0 + i64::from(x), group.1.min(x), group.2 + 1);
        }
        let (got, groups) = on(device, &arr1(&x)).group_by_key(on(device, &arr1(&keys))).unwrap();
        let distinct: Vec<f32> = want.keys().map(|&k| k as f32 / 4.0).collect();
        assert_eq!(got.to_vec().unwrap(), distinct);
        let of = |f: fn(&(i64, i32, u64)) -> i64| want.values().map(f).collect::<Vec<_>>();
        assert_eq!(groups.sum().unwrap().to_vec().unwrap(), of(|g| g.0));
        let least = groups.min().unwrap().to_vec().unwrap();
        assert_eq!(least.into_iter().map(i64::from).collect::<Vec<_>>(), of(|g| i64::from(g.1)));
        let counts = groups.count().unwrap().to_vec().unwrap();
        assert_eq!(counts.into_iter().map(|c| c as i64).collect::<Vec<_>>(), of(|g| g.2 as i64));
    }
    // Keys of columns for all rows.
    let x = on(device, &counted::<i32>(&[2, 3]));
    let (keys, groups) = x.group_by_key(on(device, &arr1(&[5i64 << 40, -1, 5 << 40]))).unwrap();
    assert_eq!(keys.to_vec().unwrap(), [-1, 5 << 40]);
    assert_eq!(groups.sum().unwrap().to_vec().unwrap(), [5, 10]);
});

on_every_device!(groups_by_runs, |device| {
    for n in [0usize, 1, 30_001] {
        let keys: Vec<u16> = (0..n).map(|i| (i / 7 % 3) as u16 + u16::from(i % 50 == 0)).collect();
        let mut want: Vec<(u16, i64)> = Vec::new();
        for (i, &k) in keys.iter().enumerate() {
            match want.last_mut() {
                Some((last, sum)) if *last == k => *sum += i as i64,
                _ => want.push((k, i as i64)),
            }
        }
        let x = on(device, &counted::<i32>(&[n]));
        let (runs, groups) = x.group_by_runs(&on(device, &arr1(&keys))).unwrap();
        let (keys, sums): (Vec<u16>, Vec<i64>) = want.into_iter().unzip();
        assert_eq!(runs.to_vec().unwrap(), keys);
        assert_eq!(groups.sum().unwrap().to_vec().unwrap(), sums);
    }
});

on_every_device!(mistakes, |device| {
    let x = on(device, &counted::<f32>(&[3, 4]));
    let row = x.slice(s![0, ..]).unwrap();
    let words = ["[3, 4]", "one axis"];
    assert_error(x.searchsorted(&row, Side::Left), ErrorKind::Shape, "searchsorted", &words);
    assert_error(row.merge(&x), ErrorKind::Shape, "merge", &words);
    assert_error(x.merge(&row), ErrorKind::Shape, "merge", &words);
    let short = DeviceArray::<u8>::zeros(device, 3).unwrap();
    let own = DeviceArray::<u8>::zeros(device, 4).unwrap();
    let got = row.merge_with(&own, &row, &short);
    assert_error(got, ErrorKind::Shape, "merge", &["[4]", "[3]"]);
    assert_error(x.is_sorted(Axis(2)), ErrorKind::Index, "is_sorted", &["axis 2", "[3, 4]"]);
    assert_error(x.group_by_key(&short), ErrorKind::Shape, "group_by_key", &["[3]", "[3, 4]"]);
    assert_error(row.group_by_runs(&short), ErrorKind::Shape, "group_by_runs", &["[4]", "[3]"]);
    assert_error(row.group_by_runs(&x), ErrorKind::Shape, "group_by_runs", &["[3, 4]"]);
    let wrong = x.expr() + on(device, &arr1(&[1f32, 2.0]));
    assert!(row.searchsorted(&wrong, Side::Left).is_err_and(|e| e.is_shape()));
    assert!(wrong.unique().is_err_and(|e| e.is_shape()));
    if !device.is_host() {
        let here = DeviceArray::<f32>::ones(&Device::host(), 4).unwrap();
        let kind = ErrorKind::DeviceMismatch;
        let words = ["to_device"];
        assert_error(row.searchsorted(&here, Side::Left), kind, "searchsorted", &words);
        assert_error(row.merge(&here), kind, "merge", &words);
        assert_error(row.group_by_key(&here), kind, "group_by_key", &words);
        assert_error(row.group_by_runs(&here), kind, "group_by_runs", &words);
    }
});
