//! Sums, extremes and counts by key.

use super::*;
use clan::ndarray::{arr1, s};

/// Small integers, whose sums are exact in any order.
fn data(n: usize, groups: usize) -> (Vec<f32>, Vec<u32>) {
    let mut rng = Rng::new(n as u64);
    (0..n).map(|_| (rng.below(100) as f32 - 50.0, rng.below(groups) as u32)).unzip()
}

on_every_device!(lengths, |device| {
    for (n, groups) in
        [(0, 3), (1, 1), (2, 5), (1000, 7), (40_001, 300), (60_000, 1), (3000, 50_000)]
    {
        let (x, keys) = data(n, groups);
        let (mut sums, mut least) = (vec![0f32; groups], vec![f32::INFINITY; groups]);
        let mut counts = vec![0u64; groups];
        for (&x, &k) in x.iter().zip(&keys) {
            let k = k as usize;
            (sums[k], least[k], counts[k]) = (sums[k] + x, least[k].min(x), counts[k] + 1);
        }
        let by = on(device, &arr1(&x)).group_by(on(device, &arr1(&keys)), groups).unwrap();
        assert_eq!(by.sum().unwrap().to_vec().unwrap(), sums, "{n} elements, {groups} groups");
        assert_eq!(by.min().unwrap().to_vec().unwrap(), least);
        assert_eq!(by.count().unwrap().to_vec().unwrap(), counts);
    }
    let none = on(device, &arr1(&[0f32; 0])).group_by(on(device, &arr1(&[0u32; 0])), 0).unwrap();
    assert_eq!(none.sum().unwrap().shape(), [0]);
    assert_eq!(none.count().unwrap().shape(), [0]);
});

on_every_device!(views_and_expressions, |device| {
    let a = counted::<i32>(&[6, 9]);
    let x = on(device, &a);
    // Keys of rows, for all columns of a transposed part.
    let keys = on(device, &arr1(&[1i8, 0, 1, 2, 2, 0]));
    let by = (x.slice(s![.., 2..;3]).unwrap().t() * 2).group_by(&keys, 3).unwrap();
    let mut want = [0i64; 3];
    for (i, k) in [1, 0, 1, 2, 2, 0].into_iter().enumerate() {
        want[k] += (2..9).step_by(3).map(|j| 2 * i64::from(a[[i, j]])).sum::<i64>();
    }
    assert_eq!(by.sum().unwrap().to_vec().unwrap(), want);
    let bins =
        on(device, &arr1(&[3u64, 1, 3])).bincount_weighted(on(device, &arr1(&[1i16, 2, -5])), 0);
    assert_eq!(bins.unwrap().to_vec().unwrap(), [0, 2, 0, -4]);
});

on_every_device!(mistakes, |device| {
    let x = on(device, &arr1(&[1f32, 2.0, 3.0, 4.0]));
    let keys = on(device, &arr1(&[0i32, 5, -1, 2]));
    let got = x.group_by(&keys, 6);
    assert_error(got, ErrorKind::Index, "group_by", &["key 2", "-1", "6 groups"]);
    assert_error(x.group_by(&keys, 5), ErrorKind::Index, "group_by", &["key 1", "5 groups"]);
    assert_error(x.group_by(&keys, 0), ErrorKind::Index, "group_by", &["key 0", "0 groups"]);
    let short = on(device, &arr1(&[0u8, 1, 0]));
    assert_error(x.group_by(&short, 2), ErrorKind::Shape, "group_by", &["[3]", "[4]"]);
    let got = short.bincount_weighted(&x, 0);
    assert_error(got, ErrorKind::Shape, "bincount_weighted", &["[4]", "[3]"]);
});
