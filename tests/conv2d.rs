//! conv2d against the definition, on every device.

use clan::ndarray::{Array2, Array3, ArrayView2, s};
use clan::{Border, Device, DeviceArray, ErrorKind};

fn at(border: Border, i: isize, n: isize) -> Option<usize> {
    match border {
        Border::Zero => (0..n).contains(&i).then_some(i as usize),
        Border::Nearest => Some(i.clamp(0, n - 1) as usize),
        Border::Reflect => {
            // Walks step by step, turning round at both ends.
            let (mut at, mut step) = (0isize, 1isize);
            for _ in 0..i.abs() {
                if n == 1 {
                    break;
                }
                if at + step < 0 || at + step >= n {
                    step = -step;
                }
                at += step;
            }
            Some(at as usize)
        }
    }
}

fn naive(image: ArrayView2<'_, f64>, filter: &Array2<f64>, border: Border) -> Array2<f64> {
    let (h, w) = image.dim();
    let (fh, fw) = filter.dim();
    Array2::from_shape_fn((h, w), |(y, x)| {
        let mut sum = 0.0;
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

fn value(k: usize) -> f64 {
    ((k * 7919 + 13) % 17) as f64 - 8.0
}

#[test]
fn every_type_border_and_size() {
    for d in Device::all() {
        macro_rules! check {
            ($($t:ty: $from:expr, $to:expr;)*) => {$({
                for border in [Border::Zero, Border::Nearest, Border::Reflect] {
                    for (shape, filter) in [((1, 1), (3, 3)), ((2, 3), (3, 3)), ((37, 130), (3, 3)), ((5, 1), (4, 2)), ((40, 70), (4, 2)), ((20, 33), (11, 13))] {
                        let image = Array3::from_shape_fn((2, shape.0, shape.1), |(k, y, x)| value(k * 31 + y * 101 + x));
                        let taps = Array2::from_shape_fn(filter, |(i, j)| ((i * 5 + j * 3) % 4) as f64 - 1.0);
                        let x = DeviceArray::<$t>::from_ndarray(&d, &image.mapv($from)).unwrap();
                        let f = DeviceArray::<$t>::from_ndarray(&d, &taps.mapv($from)).unwrap();
                        if stringify!($t) == "f64" && !d.info().fp64 {
                            assert_eq!(x.conv2d(&f, border).unwrap_err().kind(), ErrorKind::Type);
                            continue;
                        }
                        let got = x.conv2d(&f, border).unwrap().to_ndarray().unwrap();
                        for k in 0..2 {
                            let want = naive(image.slice(s![k, .., ..]), &taps, border);
                            for ((y, x), w) in want.indexed_iter() {
                                assert_eq!(got[[k, y, x]], $to(*w), "{d} {} {border:?} {shape:?} {filter:?} at {y} {x}", stringify!($t));
                            }
                        }
                    }
                }
            })*};
        }
        // Values are small integers, so every order of additions gives the same float; unsigned
        // and narrow types wrap, as the reference does after it was summed in f64.
        check! {
            f32: |v| v as f32, |w: f64| w as f32;
            u8: |v| v as i64 as u8, |w: f64| w as i64 as u8;
            i32: |v| v as i32, |w: f64| w as i32;
            clan::half::f16: clan::half::f16::from_f64, clan::half::f16::from_f64;
            f64: |v| v, |w: f64| w;
        }
        if d.is_host() {
            check! {
                i8: |v| v as i8, |w: f64| w as i64 as i8;
                i16: |v| v as i16, |w: f64| w as i16;
                i64: |v| v as i64, |w: f64| w as i64;
                u16: |v| v as i64 as u16, |w: f64| w as i64 as u16;
                u32: |v| v as i64 as u32, |w: f64| w as i64 as u32;
                u64: |v| v as i64 as u64, |w: f64| w as i64 as u64;
                clan::half::bf16: clan::half::bf16::from_f64, clan::half::bf16::from_f64;
            }
        }
    }
}

#[test]
fn views_and_mistakes() {
    for d in Device::all() {
        let image = Array2::from_shape_fn((30, 20), |(y, x)| value(y * 101 + x) as f32);
        let taps = Array2::from_shape_fn((3, 3), |(i, j)| (i * 3 + j) as f32);
        let x = DeviceArray::from_ndarray(&d, &image).unwrap();
        let f = DeviceArray::from_ndarray(&d, &taps).unwrap();
        let got = x.t().slice(s![..;-2, 1..]).unwrap().conv2d(&f.t(), Border::Zero).unwrap();
        let view = image.t().slice_move(s![..;-2, 1..]).mapv(f64::from);
        let want = naive(view.view(), &taps.t().mapv(f64::from), Border::Zero);
        assert_eq!(got.to_ndarray().unwrap(), want.mapv(|v| v as f32).into_dyn());
        let line = DeviceArray::<f32>::ones(&d, 5).unwrap();
        let e = line.conv2d(&f, Border::Zero).unwrap_err();
        assert!(e.is_shape() && e.to_string().contains("[5]"), "{e}");
        let none = DeviceArray::<f32>::zeros(&d, (0, 3)).unwrap();
        assert!(x.conv2d(&none, Border::Zero).unwrap_err().is_shape());
        assert_eq!(none.conv2d(&f, Border::Reflect).unwrap().shape(), [0, 3]);
        if let Some(other) = Device::all().into_iter().find(|o| *o != d) {
            let f = f.to_device(&other).unwrap();
            assert_eq!(x.conv2d(&f, Border::Zero).unwrap_err().kind(), ErrorKind::DeviceMismatch);
        }
        assert_eq!(x.to_ndarray().unwrap(), image.into_dyn());
    }
}
