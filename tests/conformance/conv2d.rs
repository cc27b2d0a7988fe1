//! `conv2d` against its definition. The values are small integers, so that every order of additions
//! gives the same float, and unsigned and narrow types wrap as they are documented to.

use super::*;
use clan::Border::{self, Nearest, Reflect, Wrap, Zero};
use clan::half::{bf16, f16};
use clan::ndarray::{Array, Array2, Array3, ArrayView2, s};
use clan::{DType, Number};

/// The position that stands for `i`; walks step by step, turning round at both ends.
fn at(border: Border, i: isize, n: isize) -> Option<usize> {
    match border {
        Zero => (0..n).contains(&i).then_some(i as usize),
        Nearest => Some(i.clamp(0, n - 1) as usize),
        Reflect => {
            let (mut at, mut step) = (0isize, 1isize);
            for _ in 0..if n == 1 { 0 } else { i.abs() } {
                if at + step < 0 || at + step >= n {
                    step = -step;
                }
                at += step;
            }
            Some(at as usize)
        }
        Wrap => Some((i + 100 * n) as usize % n as usize),
    }
}

fn naive(image: ArrayView2<'_, i64>, filter: &Array2<i64>, border: Border) -> Array2<i64> {
    let (h, w) = image.dim();
    let (fh, fw) = filter.dim();
    Array2::from_shape_fn((h, w), |(y, x)| {
        let mut sum = 0;
        for i in 0..fh {
            for j in 0..fw {
                let yy = at(border, y as isize + i as isize - (fh / 2) as isize, h as isize);
                let xx = at(border, x as isize + j as isize - (fw / 2) as isize, w as isize);
                if let (Some(yy), Some(xx)) = (yy, xx) {
                    sum += filter[[i, j]] * image[[yy, xx]];
                }
            }
        }
        sum
    })
}

fn value(k: usize) -> i64 {
    ((k * 7919 + 13) % 17) as i64 - 8
}

/// Two images of several sizes, around those of the tiles, and a filter of one size.
fn check<T: Number + Sample>(device: &Device, filter: (usize, usize), border: Border) {
    let taps = Array2::from_shape_fn(filter, |(i, j)| ((i * 5 + j * 3) % 4) as i64 - 1);
    let to = |v: i64| T::of(Wide::Int(v.into()));
    for (h, w) in [(1, 1), (2, 3), (5, 1), (1, 70), (19, 130), (65, 64), (2, 1100)] {
        let image = Array3::from_shape_fn((2, h, w), |(k, y, x)| value(k * 31 + y * 101 + x));
        let got = on(device, &image.mapv(to)).conv2d(&on(device, &taps.mapv(to)), border);
        if T::DTYPE == DType::F64 && !device.info().fp64 {
            return assert_error(got, ErrorKind::Type, "conv2d", &["f64"]);
        }
        let mut want = Array3::zeros((2, h, w));
        for (mut want, image) in want.outer_iter_mut().zip(image.outer_iter()) {
            want.assign(&naive(image, &taps, border));
        }
        assert_equal(&got.unwrap(), &want.mapv(to));
    }
}

/// Equal elements; additions in any order may give either zero.
#[track_caller]
fn assert_equal<T: Sample, D: Dimension>(got: &DeviceArray<T>, want: &Array<T, D>) {
    assert_eq!(got.shape(), want.shape());
    for (k, (got, want)) in got.to_vec().unwrap().iter().zip(want).enumerate() {
        assert!(got == want, "element {k}: {got:?}, expected {want:?}");
    }
}

on_every_device!(filters_and_borders, |device| {
    check::<f32>(device, (3, 3), Zero);
    check::<f32>(device, (3, 3), Nearest);
    check::<f32>(device, (5, 5), Reflect);
    // Even sizes, lines, more coefficients than are unrolled.
    check::<f32>(device, (4, 2), Nearest);
    check::<f32>(device, (11, 13), Reflect);
    check::<f32>(device, (5, 4), Wrap);
    if device.is_host() {
        for border in [Zero, Nearest, Reflect, Wrap] {
            for filter in [(1, 1), (3, 3), (4, 2), (1, 9), (7, 1)] {
                check::<f32>(device, filter, border);
            }
        }
    }
});

on_every_device!(types, |device| {
    check::<f16>(device, (4, 2), Zero);
    check::<u8>(device, (3, 3), Nearest);
    check::<i64>(device, (2, 3), Zero);
    check::<f64>(device, (3, 3), Reflect);
    if device.is_host() {
        check::<bf16>(device, (3, 3), Reflect);
        check::<i8>(device, (3, 3), Reflect);
        check::<i16>(device, (3, 3), Reflect);
        check::<i32>(device, (3, 3), Reflect);
        check::<u16>(device, (3, 3), Reflect);
        check::<u32>(device, (3, 3), Reflect);
        check::<u64>(device, (3, 3), Reflect);
    }
});

on_every_device!(views_and_mistakes, |device| {
    let image = Array2::from_shape_fn((30, 20), |(y, x)| value(y * 101 + x));
    let taps = Array2::from_shape_fn((3, 3), |(i, j)| (i * 3 + j) as i64);
    let x = on(device, &image.mapv(|v| v as f32));
    let f = on(device, &taps.mapv(|v| v as f32));
    let got = x.t().slice(s![..;-2, 1..]).unwrap().conv2d(&f.t(), Zero).unwrap();
    let view = image.t().slice_move(s![..;-2, 1..]);
    assert_equal(&got, &naive(view, &taps.t().to_owned(), Zero).mapv(|v| v as f32));
    // Rows of an image from an offset, and a filter that is part of another array.
    let got = x.slice(s![7.., ..]).unwrap().conv2d(&x.slice(s![1..4, ..]).unwrap(), Zero);
    assert_equal(&got.unwrap(), &{
        let filter = image.slice(s![1..4, ..]).to_owned();
        naive(image.slice(s![7.., ..]), &filter, Zero).mapv(|v| v as f32)
    });
    let line = DeviceArray::<f32>::ones(device, 5).unwrap();
    assert_error(line.conv2d(&f, Zero), ErrorKind::Shape, "conv2d", &["[5]"]);
    assert_error(x.conv2d(&line, Zero), ErrorKind::Shape, "conv2d", &["[5]", "two axes"]);
    let none = DeviceArray::<f32>::zeros(device, (0, 3)).unwrap();
    assert_error(x.conv2d(&none, Zero), ErrorKind::Shape, "conv2d", &["[0, 3]"]);
    assert_eq!(none.conv2d(&f, Reflect).unwrap().shape(), [0, 3]);
    assert_same(&x, &image.mapv(|v| v as f32));
});
