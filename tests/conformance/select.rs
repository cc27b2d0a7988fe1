//! What masks keep, where they are true, and runs.

use super::*;
use clan::ndarray::s;

on_every_device!(any_view_under_any_mask, |device| {
    property(device, 6, (shapes(), recipes(), 0u32..5), |(shape, recipe, every)| {
        let a = counted::<i16>(&shape);
        let (x, a) = view(on(device, &a), a, &recipe);
        let keeps = |v: i16| every > 0 && (v as u32).is_multiple_of(every);
        let mask = on(device, &a.map(|&v| keeps(v)));
        let (yes, no): (Vec<i16>, Vec<i16>) = a.iter().partition(|v| keeps(**v));
        assert_eq!(x.masked_select(&mask).unwrap().to_vec().unwrap(), yes);
        let (kept, rest) = x.masked_partition(&mask).unwrap();
        assert_eq!(kept.to_vec().unwrap(), yes);
        assert_eq!(rest.to_vec().unwrap(), no);
        let mut want = Vec::new();
        for (at, &v) in a.indexed_iter() {
            if keeps(v) {
                want.extend(at.as_array_view().iter().map(|&i| i as u64));
            }
        }
        let rows = mask.nonzero().unwrap();
        assert_eq!(rows.shape(), [yes.len(), a.ndim()]);
        assert_eq!(rows.to_vec().unwrap(), want);
    });
});

// Over many tiles, in values of all sizes, with masks that are expressions.
on_every_device!(many_elements, |device| {
    let n = 100_003u32;
    let values: Vec<u32> = (0..n).map(|k: u32| k.wrapping_mul(2_654_435_761) >> 7).collect();
    let x = DeviceArray::from_slice(device, &values).unwrap();
    let mask = (&x % 3).eq(1);
    let want: Vec<u32> = values.iter().copied().filter(|v| v % 3 == 1).collect();
    assert_eq!(x.masked_select(&mask).unwrap().to_vec().unwrap(), want);
    let bytes = x.expr().cast::<u8>().eval().unwrap();
    let got = bytes.masked_select(&mask).unwrap().to_vec().unwrap();
    assert_eq!(got, want.iter().map(|&v| v as u8).collect::<Vec<u8>>());
    let wide = x.expr().cast::<i64>().eval().unwrap();
    let (yes, no) = wide.masked_partition(&mask).unwrap();
    assert_eq!(yes.to_vec().unwrap(), want.iter().map(|&v| i64::from(v)).collect::<Vec<_>>());
    let others = values.iter().filter(|&&v| v % 3 != 1);
    assert_eq!(no.to_vec().unwrap(), others.map(|&v| i64::from(v)).collect::<Vec<_>>());
    let all = DeviceArray::<bool>::ones(device, n as usize).unwrap();
    assert_eq!(x.masked_select(&all).unwrap().to_vec().unwrap(), values);
    let none = DeviceArray::<bool>::zeros(device, n as usize).unwrap();
    assert_eq!(x.masked_select(&none).unwrap().len(), 0);
});

on_every_device!(runs, |device| {
    for n in [0usize, 1, 2, 5000, 70_001] {
        let values: Vec<i32> = (0..n).map(|k| ((k / 3) ^ (k / 70)) as i32 % 5).collect();
        let x = DeviceArray::from_slice(device, &values).unwrap();
        let (got, lengths) = x.run_length_encode().unwrap();
        let mut want: Vec<(i32, u64)> = Vec::new();
        for &v in &values {
            match want.last_mut() {
                Some((last, len)) if *last == v => *len += 1,
                _ => want.push((v, 1)),
            }
        }
        let pairs: Vec<(i32, u64)> =
            got.to_vec().unwrap().into_iter().zip(lengths.to_vec().unwrap()).collect();
        assert_eq!(pairs, want);
        let back = got.run_length_decode(&lengths).unwrap();
        assert_eq!(back.to_vec().unwrap(), values);
    }
    // Lengths of zero are nothing.
    let x = DeviceArray::from_slice(device, &[7u8, 8, 9]).unwrap();
    let lengths = DeviceArray::from_slice(device, &[2u64, 0, 1]).unwrap();
    assert_eq!(x.run_length_decode(&lengths).unwrap().to_vec().unwrap(), [7, 7, 9]);
    // NaNs differ from each other.
    let x = DeviceArray::from_slice(device, &[f32::NAN, f32::NAN, 1.0, 1.0]).unwrap();
    assert_eq!(x.run_length_encode().unwrap().1.to_vec().unwrap(), [1, 1, 2]);
});

on_every_device!(mistakes, |device| {
    let x = on(device, &counted::<f32>(&[3, 4]));
    let short = DeviceArray::<bool>::ones(device, (3, 3)).unwrap();
    let words = ["[3, 3]", "[3, 4]"];
    assert_error(x.masked_select(&short), ErrorKind::Shape, "masked_select", &words);
    assert_error(x.run_length_encode(), ErrorKind::Shape, "run_length_encode", &["[3, 4]"]);
    let row = x.slice(s![0, ..]).unwrap();
    let lengths = DeviceArray::<u64>::ones(device, 3).unwrap();
    let words = ["[4]", "[3]"];
    assert_error(row.run_length_decode(&lengths), ErrorKind::Shape, "run_length_decode", &words);
    // A sum of lengths that begins again at 0 when it is counted in 64 bits.
    let lengths = DeviceArray::from_slice(device, &[u64::MAX, 2, 3, 0]).unwrap();
    let got = row.run_length_decode(&lengths);
    assert_error(got, ErrorKind::TooLarge, "run_length_decode", &["1.8446744e19"]);
    if !device.is_host() {
        let here = DeviceArray::<bool>::ones(&Device::host(), (3, 4)).unwrap();
        let got = x.masked_select(&here);
        assert_error(got, ErrorKind::DeviceMismatch, "masked_select", &["to_device"]);
    }
});
