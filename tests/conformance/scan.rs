//! Running sums and the like; every type goes through the table of `clan verify`.

use super::*;
use clan::{ReduceOp, UserOp};

/// Sums along every lane by plain loops.
fn sums(x: &ArrayD<i32>, axis: usize, exclusive: bool) -> ArrayD<i64> {
    let mut out = ArrayD::zeros(x.raw_dim());
    for (x, mut out) in x.lanes(Axis(axis)).into_iter().zip(out.lanes_mut(Axis(axis))) {
        let mut sum = 0;
        for (x, out) in x.iter().zip(&mut out) {
            let before = sum;
            sum += i64::from(*x);
            *out = if exclusive { before } else { sum };
        }
    }
    out
}

on_every_device!(any_view_along_any_axis, |device| {
    property(device, 6, (shapes(), recipes(), any::<u32>()), |(shape, recipe, number)| {
        let a = counted::<i32>(&shape);
        let (x, a) = view(on(device, &a), a, &recipe);
        if a.ndim() == 0 {
            assert_error(x.cumsum(Axis(0)), ErrorKind::Index, "cumsum", &["0 axes"]);
            return;
        }
        let axis = number as usize % a.ndim();
        assert_same(&x.cumsum(Axis(axis)).unwrap(), &sums(&a, axis, false));
        assert_same(&x.scan(Axis(axis)).exclusive().sum().unwrap(), &sums(&a, axis, true));
    });
});

on_every_device!(expressions_are_read_as_they_are, |device| {
    let a = counted::<f32>(&[7, 5000]);
    let x = on(device, &a);
    let got = (&x * &x - 1.0).cumsum(Axis(1)).unwrap().to_ndarray().unwrap();
    for (a, got) in a.rows().into_iter().zip(got.rows()) {
        let mut sum = 0.0f64;
        for (a, got) in a.iter().zip(&got) {
            sum += f64::from(a * a - 1.0);
            // Some hundred roundings, which seldom agree, of 6e-8 each.
            assert!((f64::from(*got) - sum).abs() <= 2e-6 * sum.abs(), "{got}, {sum}");
        }
    }
});

on_every_device!(extremes_keep_nan, |device| {
    let x = [3.0f32, 5.0, -1.0, f32::NAN, 7.0, f32::NEG_INFINITY];
    let x = DeviceArray::from_slice(device, &x).unwrap();
    let max = x.cummax(Axis(0)).unwrap().to_vec().unwrap();
    assert_eq!(max[..3], [3.0, 5.0, 5.0]);
    assert!(max[3..].iter().all(|v| v.is_nan()));
    let before = x.scan(Axis(0)).exclusive().min().unwrap().to_vec().unwrap();
    assert_eq!(before[..4], [f32::INFINITY, 3.0, 3.0, -1.0]);
    assert!(before[4..].iter().all(|v| v.is_nan()));
});

on_every_device!(users_operators, |device| {
    // The last that is not zero: no element is an identity but zero, and order matters.
    let last = UserOp::new("last", "b != 0 ? b : a", |a: i16, b: i16| if b != 0 { b } else { a });
    let n = 9000;
    let values: Vec<i16> = (0..n).map(|k| if k % 7 == 3 { k as i16 } else { 0 }).collect();
    let x = DeviceArray::from_slice(device, &values).unwrap();
    let mut so_far = 0;
    let want: Vec<i16> = values
        .iter()
        .map(|&v| {
            so_far = if v != 0 { v } else { so_far };
            so_far
        })
        .collect();
    assert_eq!(x.scan(Axis(0)).by(&last).unwrap().to_vec().unwrap(), want);
    let words = ["identity", "UserOp::identity"];
    assert_error(x.scan(Axis(0)).exclusive().by(&last), ErrorKind::Argument, "scan", &words);
    let got = x.scan(Axis(0)).exclusive().by(last.identity(0)).unwrap().to_vec().unwrap();
    assert_eq!(got[1..], want[..n - 1]);
    assert_eq!(got[0], 0);
    assert_error(
        x.scan(Axis(0)).by(ReduceOp::Average),
        ErrorKind::Argument,
        "scan",
        &["associative"],
    );
});

on_every_device!(mistakes, |device| {
    let x = on(device, &counted::<i32>(&[3, 4]));
    assert_error(x.cumsum(Axis(2)), ErrorKind::Index, "cumsum", &["axis 2", "[3, 4]"]);
    let flags = DeviceArray::<bool>::zeros(device, 12).unwrap();
    let scan = x.scan(Axis(0)).segments(&flags);
    assert_error(scan.max(), ErrorKind::Shape, "cummax", &["[12]", "[3, 4]"]);
    let float = DeviceArray::<f32>::ones(device, 3).unwrap();
    assert_error(float.scan(Axis(0)).by(ReduceOp::Xor), ErrorKind::Type, "scan", &["xor", "f32"]);
});

// What is lost between stretches is carried along, so that errors do not grow with the length: along a row, in
// several rows, down columns, and exclusive.
on_every_device!(sums_of_many_floats, |device| {
    let shape = [1 << 20, 1 << 18, 3 << 10];
    let value = |i: usize| {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    for (len, rows, columns) in [(shape[0], 1, 1), (shape[1], 3, 1), (shape[2], 1, 70)] {
        let n = len * rows * columns;
        let values: Vec<f32> = (0..n).map(value).collect();
        let x = DeviceArray::from_shape_slice(device, (rows, len, columns), &values).unwrap();
        for exclusive in [false, true] {
            let scan = x.scan(Axis(1));
            let scan = if exclusive { scan.exclusive() } else { scan };
            let got = scan.sum().unwrap().to_vec().unwrap();
            for lane in 0..rows * columns {
                let first = lane / columns * len * columns + lane % columns;
                let (mut sum, mut most) = (0.0f64, 64.0f64);
                for i in (0..len).map(|r| first + r * columns) {
                    let before = sum;
                    sum += f64::from(values[i]);
                    most = most.max(sum.abs());
                    let want = if exclusive { before } else { sum };
                    let off = (f64::from(got[i]) - want).abs();
                    assert!(
                        off <= 4.0 * f64::from(f32::EPSILON) * most,
                        "{rows} × {len} × {columns}, exclusive {exclusive}: element {i} is {}, not {want}",
                        got[i]
                    );
                }
            }
        }
    }
});

// Sums beyond the type are infinite from there on, whatever they are carried in.
on_every_device!(sums_that_overflow, |device| {
    for at in [0, 700, 1500] {
        let mut x = vec![0.0f32; 5000];
        (x[at], x[at + 900]) = (3e38, 3e38);
        let sums = DeviceArray::from_slice(device, &x).unwrap().cumsum(Axis(0)).unwrap();
        for (k, sum) in sums.to_vec().unwrap().into_iter().enumerate() {
            let want = match k {
                _ if k < at => 0.0,
                _ if k < at + 900 => 3e38,
                _ => f32::INFINITY,
            };
            assert_eq!(sum, want, "element {k}");
        }
    }
});
