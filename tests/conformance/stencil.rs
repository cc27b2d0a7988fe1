//! Rules and filters over neighbourhoods against loops over every element. The values are small integers, so that
//! every order of additions gives the same float.

use super::*;
use clan::Border::{self, Nearest, Reflect, Wrap, Zero};
use clan::half::f16;
use clan::ndarray::{Array1, Array2, IxDyn, s};
use clan::{ConvMode, Number, Stencil};

const BORDERS: [Border; 4] = [Zero, Nearest, Reflect, Wrap];

fn value(k: usize) -> i64 {
    ((k * 7919 + 13) % 9) as i64 - 4
}

/// The position that stands for `i`; walks step by step.
fn place(border: Border, i: isize, n: usize) -> Option<usize> {
    let n = n as isize;
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
        Wrap => Some((i + 1000 * n) as usize % n as usize),
    }
}

/// The element at an index that may be outside.
fn at(x: &ArrayD<i64>, border: Border, index: &[isize]) -> i64 {
    let places = index.iter().zip(x.shape()).map(|(&i, &n)| place(border, i, n));
    match places.collect::<Option<Vec<usize>>>() {
        Some(places) => x[IxDyn(&places)],
        None => 0,
    }
}

/// Applies a rule to every element: it gets a function of offsets.
fn naive<const N: usize>(
    x: &ArrayD<i64>,
    border: Border,
    rule: impl Fn(&dyn Fn([isize; N]) -> i64) -> i64,
) -> ArrayD<i64> {
    let leading = x.ndim() - N;
    ArrayD::from_shape_fn(x.shape(), |index| {
        let index: Vec<isize> = (0..x.ndim()).map(|a| index[a] as isize).collect();
        rule(&|offset| {
            let mut index = index.clone();
            index[leading..].iter_mut().zip(offset).for_each(|(i, o)| *i += o);
            at(x, border, &index)
        })
    })
}

fn filled(shape: &[usize]) -> ArrayD<i64> {
    let mut k = 0;
    ArrayD::from_shape_simple_fn(shape, || {
        k += 1;
        value(k * k + k / 7)
    })
}

fn to<T: Sample>(v: i64) -> T {
    T::of(Wide::Int(v.into()))
}

on_every_device!(one_axis, |device| {
    let rule = Stencil::new("one", [3], "at(-3) + 2 * at(1) - at(0)", |at| {
        at.get([-3]) + 2.0 * at.get([1]) - at.get([0])
    });
    for border in if device.is_host() { &BORDERS[..] } else { &[Wrap] } {
        for shape in
            [vec![1], vec![2], vec![5000], vec![3, 700], vec![0], vec![2, 0], vec![2, 9000]]
        {
            let x = filled(&shape);
            let got = on(device, &x.mapv(to::<f32>)).stencil(&rule, *border).unwrap();
            let want = naive(&x, *border, |at| at([-3]) + 2 * at([1]) - at([0]));
            assert_same(&got, &want.mapv(to::<f32>));
        }
    }
});

fn two_axes<T: Number + Sample>(device: &Device, border: Border) {
    // No symmetry, so that no two axes or directions can be taken for each other.
    let rule = Stencil::<T, 2>::new(
        "two",
        [1, 2],
        "// The farthest first.\n return at(-1, 2) + at(1, -1) - at(0, 0) + at(0, 1);",
        |at| {
            let wide = [[-1, 2], [1, -1], [0, 0], [0, 1]].map(|o| at.get(o).wide().float());
            T::of(Wide::Float(wide[0] + wide[1] - wide[2] + wide[3]))
        },
    );
    for shape in
        [vec![1, 1], vec![3, 2], vec![33, 130], vec![2, 70, 65], vec![1, 300], vec![600, 3]]
    {
        // Sums that no type takes negative.
        let x = filled(&shape).mapv(|v| 8 + v % 2);
        let got = on(device, &x.mapv(to::<T>)).stencil(&rule, border);
        if !device.supports(T::DTYPE) {
            return assert_error(got, ErrorKind::Type, "stencil", &["f64"]);
        }
        let want = naive(&x, border, |at| at([-1, 2]) + at([1, -1]) - at([0, 0]) + at([0, 1]));
        let want = want.mapv(|v| if T::DTYPE.is_unsigned() { v.max(0) } else { v });
        // Zeros beyond the border could take the sum below zero.
        if border != Zero || !T::DTYPE.is_unsigned() {
            assert_same(&got.unwrap(), &want.mapv(to::<T>));
        }
    }
}

on_every_device!(two_axes_and_types, |device| {
    for border in BORDERS {
        two_axes::<f32>(device, border);
    }
    two_axes::<u8>(device, Nearest);
    two_axes::<i64>(device, Reflect);
    two_axes::<f16>(device, Wrap);
    two_axes::<f64>(device, Zero);
    if device.is_host() {
        two_axes::<i8>(device, Reflect);
        two_axes::<u16>(device, Wrap);
        two_axes::<clan::half::bf16>(device, Nearest);
    }
});

on_every_device!(three_axes, |device| {
    let text = "at(-2, 0, 1) + 3 * at(1, -1, 0) - at(0, 1, -1)";
    let rule = Stencil::new("three", [2, 1, 1], text, |at| {
        at.get([-2, 0, 1]) + 3 * at.get([1, -1, 0]) - at.get([0, 1, -1])
    });
    for border in if device.is_host() { &BORDERS[..] } else { &[Reflect] } {
        for shape in [vec![1, 1, 1], vec![9, 10, 33], vec![2, 5, 17, 40], vec![3, 1, 150]] {
            let x = filled(&shape);
            let got = on(device, &x.mapv(to::<i32>)).stencil(&rule, *border).unwrap();
            let want =
                naive(&x, *border, |at| at([-2, 0, 1]) + 3 * at([1, -1, 0]) - at([0, 1, -1]));
            assert_same(&got, &want.mapv(to::<i32>));
        }
    }
});

on_every_device!(far_and_cut_and_views, |device| {
    // More than the local memory of most devices holds.
    let far = Stencil::new("far", [90, 100], "at(-90, 100) - at(90, -99)", |at| {
        at.get([-90, 100]) - at.get([90, -99])
    });
    let x = filled(&[150, 260]);
    let on_device = on(device, &x.mapv(to::<f32>));
    let want = naive(&x, Wrap, |at| at([-90, 100]) - at([90, -99]));
    assert_same(&on_device.stencil(&far, Wrap).unwrap(), &want.mapv(to::<f32>));
    // Offsets end at the radius.
    let cut = Stencil::new("cut", [1, 0], "at(-7, 3)", |at| at.get([-7, 3]));
    let view = x.slice(s![5..90;-3, ..;2]).reversed_axes().to_owned().into_dyn();
    let got = on_device.slice(s![5..90;-3, ..;2]).unwrap().t().stencil(&cut, Zero).unwrap();
    assert_same(&got, &naive(&view, Zero, |at| at([-1, 0])).mapv(to::<f32>));
    assert_same(&on_device, &x.mapv(to::<f32>));
});

on_every_device!(mistakes, |device| {
    let x = DeviceArray::<f32>::ones(device, (3, 4)).unwrap();
    let rule = Stencil::new("cube", [1, 1, 1], "at(0, 0, 0)", |at| at.get([0, 0, 0]));
    let got = x.stencil(&rule, Zero);
    assert_error(got, ErrorKind::Shape, "stencil", &["cube", "3 axes", "[3, 4]"]);
    let rule = Stencil::new("huge", [600, 600], "at(0, 0)", |at| at.get([0, 0]));
    assert_error(x.stencil(&rule, Zero), ErrorKind::Argument, "stencil", &["huge", "2^20"]);
    let rule = Stencil::new("endless", [usize::MAX], "at(0)", |at| at.get([0]));
    assert_error(x.stencil(&rule, Zero), ErrorKind::Argument, "stencil", &["endless"]);
    if !device.is_host() {
        let rule = Stencil::new("broken", [1], "at(0) +", |at| at.get([0]));
        let e = x.stencil(&rule, Zero).unwrap_err();
        assert_eq!((e.kind(), e.op()), (ErrorKind::Build, "stencil"), "{e}");
    }
    let shape = ErrorKind::Shape;
    let line = |n: usize| DeviceArray::<f32>::ones(device, n).unwrap();
    let none = DeviceArray::<f32>::ones(device, ()).unwrap();
    assert_error(x.correlate(&none, Zero), shape, "correlate", &["one to three"]);
    assert_error(x.correlate(&line(0), Zero), shape, "correlate", &["at least"]);
    assert_error(line(3).correlate(&x, Zero), shape, "correlate", &["[3]", "[3, 4]"]);
    assert_error(x.convolve(&none, Zero), shape, "convolve", &["one to three"]);
    let got = x.correlate_axis(Axis(2), &line(1), Zero);
    assert_error(got, ErrorKind::Index, "correlate_axis", &["axis 2"]);
    assert_error(x.correlate_axis(Axis(0), &x, Zero), shape, "correlate_axis", &["[3, 4]"]);
    let three = line(2);
    let got = x.separable(&[&three, &three, &three], Zero);
    assert_error(got, shape, "separable", &["3 lines", "[3, 4]"]);
    assert_error(none.conv1d(&line(1), ConvMode::Same), shape, "conv1d", &["without axes"]);
    assert_error(x.conv1d(&line(0), ConvMode::Full), shape, "conv1d", &["at least"]);
});

/// Weights over the last axes, by the definition.
fn weighted(x: &ArrayD<i64>, w: &ArrayD<i64>, border: Border) -> ArrayD<i64> {
    let leading = x.ndim() - w.ndim();
    ArrayD::from_shape_fn(x.shape(), |index| {
        w.indexed_iter().fold(0, |sum, (k, &w_k)| {
            let index: Vec<isize> = (0..x.ndim())
                .map(|a| match a.checked_sub(leading) {
                    None => index[a] as isize,
                    Some(b) => index[a] as isize + k[b] as isize - (w.shape()[b] / 2) as isize,
                })
                .collect();
            sum + w_k * at(x, border, &index)
        })
    })
}

on_every_device!(filters, |device| {
    let f = to::<f32>;
    // Lines, planes and cubes, odd and even, with and without leading axes.
    for (shape, weights, border) in [
        (vec![70], vec![3], Reflect),
        (vec![2, 300], vec![4], Wrap),
        (vec![9, 40], vec![3, 3], Nearest),
        (vec![6, 9, 70], vec![3, 3, 3], Reflect),
        (vec![2, 3, 1, 20], vec![3, 3, 3], Reflect),
        (vec![2, 4, 5, 70], vec![2, 1, 4], Zero),
    ] {
        let (x, w) = (filled(&shape), filled(&weights));
        let (a, b) = (on(device, &x.mapv(f)), on(device, &w.mapv(f)));
        let got = a.correlate(&b, border).unwrap();
        assert_equal(&got, &weighted(&x, &w, border).mapv(f));
        let mut reversed = w.clone();
        (0..w.ndim()).for_each(|a| reversed.invert_axis(Axis(a)));
        let got = a.convolve(&b, border).unwrap();
        assert_equal(&got, &weighted(&x, &reversed, border).mapv(f));
    }
    // A filter of many layers, and integers that wrap.
    let (x, w) = (filled(&[4, 5, 6]), filled(&[7, 2, 3]));
    let got = on(device, &x.mapv(to::<u8>)).correlate(&on(device, &w.mapv(to::<u8>)), Wrap);
    assert_same(&got.unwrap(), &weighted(&x, &w, Wrap).mapv(to::<u8>));
});

/// Equal elements; additions in any order may give either zero.
#[track_caller]
fn assert_equal<T: Sample>(got: &DeviceArray<T>, want: &ArrayD<T>) {
    assert_eq!(got.shape(), want.shape());
    for (k, (got, want)) in got.to_vec().unwrap().iter().zip(want).enumerate() {
        assert!(got == want, "element {k}: {got:?}, expected {want:?}");
    }
}

on_every_device!(lines_along_axes, |device| {
    let f = to::<f32>;
    let x = filled(&[5, 8, 6]);
    let line = filled(&[3]);
    let (a, w) = (on(device, &x.mapv(f)), on(device, &line.mapv(f)));
    for axis in 0..3 {
        let got = a.correlate_axis(Axis(axis), &w, Nearest).unwrap();
        let mut shape = [1; 3];
        shape[axis] = 3;
        let solid = line.clone().into_shape_with_order(IxDyn(&shape)).unwrap();
        assert_equal(&got, &weighted(&x, &solid, Nearest).mapv(f));
    }
    // A product of lines is the filter of their products.
    let other = Array1::from_vec(vec![2, -1, 0, 5]).into_dyn();
    let product = Array2::from_shape_fn((4, 3), |(i, j)| other[i] * line[j]).into_dyn();
    let b = on(device, &other.mapv(f));
    let got = a.separable(&[&b, &w], Zero).unwrap();
    assert_equal(&got, &weighted(&x, &product, Zero).mapv(f));
    assert_same(&a.separable(&[], Zero).unwrap(), &x.mapv(f));
    // Views: transposed, with a step.
    let view = x.slice(s![.., ..;-2, 1]).reversed_axes().to_owned().into_dyn();
    let got = a.slice(s![.., ..;-2, 1]).unwrap().t().correlate_axis(Axis(0), &w, Zero).unwrap();
    let solid = line.clone().into_shape_with_order(IxDyn(&[3, 1])).unwrap();
    assert_equal(&got, &weighted(&view, &solid, Zero).mapv(f));
});

on_every_device!(modes_of_conv1d, |device| {
    for (n, k) in [(9, 3), (9, 4), (3, 5), (5, 5), (4, 1), (1, 1), (0, 3), (700, 6)] {
        let (x, w) = (filled(&[2, n]), filled(&[k]));
        let (a, b) = (on(device, &x.mapv(to::<i32>)), on(device, &w.mapv(to::<i32>)));
        // Result o sees the elements from o - lead on.
        let naive = |len: usize, lead: usize| {
            ArrayD::from_shape_fn(vec![2, len], |index| {
                (0..k).fold(0, |sum, j| {
                    let i = index[1] as isize + j as isize - lead as isize;
                    sum + w[j] * at(&x, Zero, &[index[0] as isize, i])
                })
            })
        };
        let len = if k > n { 0 } else { n - k + 1 };
        for (mode, len, lead) in [
            (ConvMode::Full, n + k - 1, k - 1),
            (ConvMode::Same, n, k / 2),
            (ConvMode::Valid, len, 0),
        ] {
            let got = a.conv1d(&b, mode).unwrap();
            assert_same(&got, &naive(len, lead).mapv(to::<i32>));
        }
    }
});
