//! Factorisations and linear systems. What is checked are residuals, computed by plain loops in f64,
//! in units of n · ε · ‖·‖: backward stable algorithms stay below a small number there, whatever the
//! condition of the matrix.

use super::*;
use clan::ndarray::{Array2, ArrayView2, Ix2, s};
use clan::verify::oracle::Rng;
use clan::{DType, Diagonal, Real, Triangle};

/// The greatest residual that counts as right. Bounds of theory have small constants (Higham,
/// "Accuracy and Stability of Numerical Algorithms", 2002, chapters 8, 9, 10 and 19), and what is
/// measured is far below 1.
const SMALL: f64 = 4.0;

fn epsilon<T: Real>() -> f64 {
    if T::DTYPE == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() }
}

fn wide<T: Real + Sample>(x: &DeviceArray<T>) -> Array2<f64> {
    let values = x.to_ndarray().unwrap().into_dimensionality::<Ix2>().unwrap();
    values.mapv(|v| v.wide().float())
}

fn narrow<T: Real + Sample>(x: &Array2<f64>) -> Array2<T> {
    x.mapv(|v| T::of(Wide::Float(v)))
}

/// The plain product.
fn product(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let b = b.as_standard_layout();
    for (mut row, a) in out.outer_iter_mut().zip(a.outer_iter()) {
        let row = row.as_slice_mut().unwrap();
        for (&x, b) in a.iter().zip(b.outer_iter()) {
            if x != 0.0 {
                row.iter_mut().zip(b.as_slice().unwrap()).for_each(|(r, &y)| *r += x * y);
            }
        }
    }
    out
}

/// The greatest sum of magnitudes of a row.
fn norm(a: &Array2<f64>) -> f64 {
    a.outer_iter().map(|r| r.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max)
}

#[track_caller]
fn assert_small<T: Real>(what: &str, off: &Array2<f64>, scale: f64, n: usize) {
    let residual = norm(off) / (scale * n.max(1) as f64 * epsilon::<T>());
    let none = norm(off) == 0.0;
    assert!(none || residual < SMALL, "{what}, n = {n}: residual {residual}");
}

fn random(m: usize, n: usize, seed: u64) -> Array2<f64> {
    let mut rng = Rng::new(seed);
    // Numbers that T has.
    Array2::from_shape_simple_fn((m, n), || f64::from(rng.below(1 << 20) as f32 / 524_288.0 - 1.0))
}

fn definite<T: Real + Sample>(n: usize, seed: u64) -> Array2<f64> {
    let x = random(n, n, seed);
    let mut a = product(x.view(), x.t()) / n as f64;
    a.diag_mut().iter_mut().for_each(|d| *d += 0.5);
    wide_of::<T>(&a)
}

/// Rounded to T.
fn wide_of<T: Real + Sample>(a: &Array2<f64>) -> Array2<f64> {
    wide(&on::<T, _, _>(&Device::host(), &narrow::<T>(a)))
}

/// Skips `f64` where the device has none.
macro_rules! for_reals {
    ($device:expr, $T:ident => $body:block) => {{
        {
            type $T = f32;
            $body
        }
        if $device.supports(DType::F64) {
            type $T = f64;
            $body
        }
    }};
}

/// Larger ones where they cost little.
fn sizes(device: &Device) -> &'static [usize] {
    if device.is_host() { &[0, 1, 2, 31, 64, 65, 130, 300] } else { &[1, 2, 31, 65, 130, 200] }
}

#[track_caller]
fn check_cholesky<T: Real + Sample>(a: &Array2<f64>, x: &DeviceArray<T>) {
    let n = a.nrows();
    let l = wide(&x.cholesky().unwrap());
    assert_eq!(l.dim(), (n, n));
    for ((i, j), &v) in l.indexed_iter() {
        assert!(j <= i || v == 0.0, "element ({i}, {j}) above the diagonal is {v}");
        assert!(i != j || v > 0.0);
    }
    assert_small::<T>("cholesky", &(product(l.view(), l.t()) - a), norm(a), n);
}

on_every_device!(cholesky_factors, |device| {
    for_reals!(device, T => {
        for &n in sizes(device) {
            let a = definite::<T>(n, 1);
            check_cholesky::<T>(&a, &on(device, &narrow::<T>(&a)));
        }
        // What lies above the diagonal is not read; views of every stride.
        let a = definite::<T>(70, 2);
        let mut upper = a.clone();
        for ((i, j), v) in upper.indexed_iter_mut() {
            if j > i {
                *v = f64::NAN;
            }
        }
        let x = on(device, &narrow::<T>(&upper));
        check_cholesky::<T>(&a, &x);
        let turned = on(device, &narrow::<T>(&upper.t().to_owned())).t();
        check_cholesky::<T>(&a, &turned);
        let back = on(device, &narrow::<T>(&upper.slice(s![..;-1, ..;-1]).to_owned()));
        check_cholesky::<T>(&a, &back.slice(s![..;-1, ..;-1]).unwrap());
        // Rows and columns of very different sizes: each element is as exact as its row and column.
        let mut graded = a.clone();
        for ((i, j), v) in graded.indexed_iter_mut() {
            *v *= 2f64.powi(-((i + j) as i32 / 2));
        }
        let graded = wide_of::<T>(&graded);
        let l = wide(&on(device, &narrow::<T>(&graded)).cholesky().unwrap());
        let mut off = product(l.view(), l.t()) - &graded;
        for ((i, j), v) in off.indexed_iter_mut() {
            *v /= (graded[[i, i]] * graded[[j, j]]).sqrt();
        }
        assert_small::<T>("graded", &off, 1.0, 70);
    });
});

on_every_device!(cholesky_refuses, |device| {
    let argument = ErrorKind::Argument;
    for bad in [0usize, 1, 63, 64, 99] {
        let mut a = definite::<f32>(100, 3);
        a[[bad, bad]] = -1.0;
        let x = on(device, &narrow::<f32>(&a));
        let words = [format!("order {} ", bad + 1)];
        assert_error(x.cholesky(), argument, "cholesky", &[&words[0]]);
        a[[bad, bad]] = f64::NAN;
        let x = on(device, &narrow::<f32>(&a));
        assert_error(x.cholesky(), argument, "cholesky", &[&words[0]]);
    }
    let x = DeviceArray::<f32>::ones(device, (2, 3)).unwrap();
    assert_error(x.cholesky(), ErrorKind::Shape, "cholesky", &["[2, 3]", "square"]);
    let x = DeviceArray::<f32>::ones(device, 4).unwrap();
    assert_error(x.cholesky(), ErrorKind::Shape, "cholesky", &["[4]", "two axes"]);
    // The second of a batch.
    let both = DeviceArray::from_shape_slice(device, (2, 1, 1), &[1.0f32, -1.0]).unwrap();
    assert_error(both.cholesky(), argument, "cholesky", &["matrix 1 "]);
    let none = DeviceArray::<f32>::zeros(device, (3, 0, 0)).unwrap();
    assert_eq!(none.cholesky().unwrap().shape(), [3, 0, 0]);
});

#[track_caller]
fn check_lu<T: Real + Sample>(a: &Array2<f64>, x: &DeviceArray<T>) {
    let (m, n) = a.dim();
    let lu = x.lu().unwrap();
    let (l, u) = (wide(&lu.l().unwrap()), wide(&lu.u().unwrap()));
    let order = lu.permutation().unwrap().to_vec().unwrap();
    assert_eq!((l.dim(), u.dim()), ((m, m.min(n)), (m.min(n), n)));
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..m as u64).collect::<Vec<_>>());
    for ((i, j), &v) in l.indexed_iter() {
        assert!(v.abs() <= 1.0 && (i != j || v == 1.0) && (j <= i || v == 0.0), "L ({i}, {j}) {v}");
    }
    for ((i, j), &v) in u.indexed_iter() {
        assert!(j >= i || v == 0.0, "U ({i}, {j}) is {v}");
    }
    let moved = Array2::from_shape_fn((m, n), |(i, j)| a[[order[i] as usize, j]]);
    assert_small::<T>("lu", &(product(l.view(), u.view()) - moved), norm(a), m.max(n));
}

on_every_device!(lu_factors, |device| {
    for_reals!(device, T => {
        for &n in sizes(device) {
            let a = random(n, n, 4);
            check_lu::<T>(&a, &on(device, &narrow::<T>(&a)));
        }
        for (m, n) in [(150, 40), (40, 150), (1, 5), (5, 1), (64, 65)] {
            let a = random(m, n, 5);
            check_lu::<T>(&a, &on(device, &narrow::<T>(&a)));
            check_lu::<T>(&a.t().to_owned(), &on(device, &narrow::<T>(&a)).t());
        }
        // Rows of very different sizes, and pivots in reverse order.
        let mut a = random(90, 90, 6);
        for ((i, _), v) in a.indexed_iter_mut() {
            *v *= 2f64.powi(i as i32 / 2);
        }
        check_lu::<T>(&a, &on(device, &narrow::<T>(&a)));
        let back = a.slice(s![..;-1, ..]).to_owned();
        check_lu::<T>(&a, &on(device, &narrow::<T>(&back)).slice(s![..;-1, ..]).unwrap());
    });
});

on_every_device!(lu_pivots, |device| {
    // The first of the greatest magnitudes, as in LAPACK, worked out by hand.
    let a = [[0.0f32, 1.0, 2.0], [-4.0, 2.0, 0.0], [4.0, 6.0, 1.0]];
    let x = DeviceArray::from_shape_slice(device, (3, 3), a.as_flattened()).unwrap();
    let lu = x.lu().unwrap();
    assert_eq!(lu.permutation().unwrap().to_vec().unwrap(), [1, 2, 0]);
    assert_eq!(lu.l().unwrap().to_vec().unwrap(), [1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.125, 1.0]);
    assert_eq!(lu.u().unwrap().to_vec().unwrap(), [-4.0, 2.0, 0.0, 0.0, 8.0, 1.0, 0.0, 0.0, 1.875]);
    assert_eq!(lu.determinant().unwrap().item().unwrap(), -60.0);
    assert!(lu.determinant().unwrap().shape().is_empty());
    // A permutation takes as many exchanges as it can, and its determinant is its sign.
    let n = 100;
    let p = Array2::from_shape_fn((n, n), |(i, j)| f32::from(u8::from((i * 37 + 11) % n == j)));
    let lu = on(device, &p).lu().unwrap();
    let order = lu.permutation().unwrap().to_vec().unwrap();
    for (i, &from) in order.iter().enumerate() {
        assert_eq!((from as usize * 37 + 11) % n, i);
    }
    let mut cycles = 0;
    let mut seen = vec![false; n];
    for start in 0..n {
        let mut i = start;
        cycles += usize::from(!seen[i]);
        while !std::mem::replace(&mut seen[i], true) {
            i = (i * 37 + 11) % n;
        }
    }
    let sign = if (n - cycles) % 2 == 0 { 1.0 } else { -1.0 };
    assert_eq!(lu.determinant().unwrap().item().unwrap(), sign);
    // A column of zeros: factors that multiply to the matrix, and no solution.
    let mut a = random(80, 80, 7);
    a.column_mut(50).fill(0.0);
    let x = on(device, &narrow::<f32>(&a));
    check_lu::<f32>(&a, &x);
    assert_eq!(x.lu().unwrap().determinant().unwrap().item().unwrap(), 0.0);
    let b = DeviceArray::<f32>::ones(device, 80).unwrap();
    assert_error(x.solve(&b), ErrorKind::Argument, "solve", &["singular", "column 50 "]);
    assert_error(x.inverse(), ErrorKind::Argument, "inverse", &["singular", "column 50 "]);
    // NaN is a pivot only where there is nothing else.
    let a = [[f32::NAN, 1.0], [2.0, 3.0]];
    let x = DeviceArray::from_shape_slice(device, (2, 2), a.as_flattened()).unwrap();
    assert_eq!(x.lu().unwrap().permutation().unwrap().to_vec().unwrap(), [1, 0]);
});

on_every_device!(systems, |device| {
    for_reals!(device, T => {
        for (n, k) in [(1, 1), (31, 3), (65, 70), (130, 1), (200, 33)] {
            let (a, b) = (random(n, n, 8), random(n, k, 9));
            let matrix = on(device, &narrow::<T>(&a));
            let x = wide(&matrix.solve(&on(device, &narrow::<T>(&b))).unwrap());
            let off = product(a.view(), x.view()) - &b;
            assert_small::<T>("solve", &off, norm(&a) * norm(&x), n);
            // From the other side, by views of both.
            let turned = on(device, &narrow::<T>(&b.t().to_owned())).t();
            let x = wide(&matrix.t().solve(&turned).unwrap());
            let off = product(a.t(), x.view()) - &b;
            assert_small::<T>("solve of views", &off, norm(&a.t().to_owned()) * norm(&x), n);
        }
        let n = 70;
        let mut a = random(n, n, 10);
        let values = a.clone();
        let b = random(n, 40, 11);
        let right = on(device, &narrow::<T>(&b));
        // Off the diagonal less than on it, or solutions grow beyond every bound.
        a.mapv_inplace(|v| v / 8.0);
        a.diag_mut().iter_mut().zip(values.diag()).for_each(|(d, &v)| *d = v.signum() + v);
        for (side, diagonal) in [
            (Triangle::Lower, Diagonal::NonUnit),
            (Triangle::Upper, Diagonal::NonUnit),
            (Triangle::Lower, Diagonal::Unit),
            (Triangle::Upper, Diagonal::Unit),
        ] {
            // What is not to be read would spoil everything.
            let mut full = a.clone();
            let mut want = a.clone();
            for ((i, j), v) in full.indexed_iter_mut() {
                let outside = if side == Triangle::Lower { j > i } else { j < i };
                if outside || (i == j && diagonal == Diagonal::Unit) {
                    *v = f64::NAN;
                    want[[i, j]] = if i == j { 1.0 } else { 0.0 };
                }
            }
            let t = on(device, &narrow::<T>(&full));
            let x = wide(&t.solve_triangular(&right, side, diagonal).unwrap());
            let off = product(want.view(), x.view()) - &b;
            assert_small::<T>("triangular", &off, norm(&want) * norm(&x), n);
            let turned = on(device, &narrow::<T>(&full.t().to_owned())).t();
            let again = wide(&turned.solve_triangular(&right, side, diagonal).unwrap());
            let off = product(want.view(), again.view()) - &b;
            assert_small::<T>("triangular view", &off, norm(&want) * norm(&again), n);
        }
    });
    let a = random(66, 66, 12);
    let x = on(device, &narrow::<f32>(&a));
    let inverse = wide(&x.inverse().unwrap());
    let off = product(a.view(), inverse.view()) - Array2::<f64>::eye(66);
    assert_small::<f32>("inverse", &off, norm(&a) * norm(&inverse), 66);
});

on_every_device!(batches_and_mistakes, |device| {
    let a = ArrayD::from_shape_fn(vec![2, 3, 5, 5], |at| {
        let diagonal = if at[2] == at[3] { 6.0 } else { 0.0 };
        diagonal + ((at[0] * 31 + at[1] * 17 + at[2] * 7 + at[3] * 3) % 5) as f32
    });
    let x = on(device, &a);
    let b = DeviceArray::<f32>::arange(device, 0.0, 30.0, 1.0).unwrap().reshape((3, 5, 2)).unwrap();
    let many = x.solve(&b).unwrap();
    assert_eq!(many.shape(), [2, 3, 5, 2]);
    let determinants = x.lu().unwrap().determinant().unwrap();
    assert_eq!(determinants.shape(), [2, 3]);
    for (i, j) in [(0, 0), (1, 2)] {
        let one = x.slice(s![i, j, .., ..]).unwrap();
        let right = b.slice(s![j, .., ..]).unwrap();
        let got = many.slice(s![i, j, .., ..]).unwrap();
        assert_eq!(one.solve(&right).unwrap().to_vec().unwrap(), got.to_vec().unwrap());
        let determinant = one.lu().unwrap().determinant().unwrap().item().unwrap();
        assert_eq!(determinants.to_vec().unwrap()[i as usize * 3 + j as usize], determinant);
        let (q, r) = x.qr().unwrap();
        let (q, r) = (q.slice(s![i, j, .., ..]).unwrap(), r.slice(s![i, j, .., ..]).unwrap());
        let want = wide(&one);
        assert_small::<f32>(
            "qr",
            &(product(wide(&q).view(), wide(&r).view()) - &want),
            norm(&want),
            5,
        );
    }
    // A vector goes to every matrix.
    let ones = DeviceArray::<f32>::ones(device, 5).unwrap();
    assert_eq!(x.solve(&ones).unwrap().shape(), [2, 3, 5]);
    let lower = x.solve_triangular(&ones, Triangle::Lower, Diagonal::NonUnit).unwrap();
    assert_eq!(lower.shape(), [2, 3, 5]);
    assert_eq!(lower.to_vec().unwrap()[0], 1.0 / a[[0, 0, 0, 0]]);
    let (shape, argument) = (ErrorKind::Shape, ErrorKind::Argument);
    let four = DeviceArray::<f32>::ones(device, 4).unwrap();
    assert_error(x.solve(&four), shape, "solve", &["[2, 3, 5, 5]", "[4]", "5 rows"]);
    let lead = DeviceArray::<f32>::ones(device, (4, 5, 1)).unwrap();
    assert_error(x.solve(&lead), shape, "solve", &["broadcast"]);
    let wide = DeviceArray::<f32>::ones(device, (4, 5)).unwrap();
    assert_error(wide.solve(&four), shape, "solve", &["square"]);
    assert_error(wide.lu().unwrap().determinant(), shape, "determinant", &["square"]);
    assert_error(four.lu().map(drop), shape, "lu", &["two axes"]);
    assert_error(four.qr().map(drop), shape, "qr", &["two axes"]);
    let zero = DeviceArray::<f32>::zeros(device, (5, 5)).unwrap();
    assert_error(zero.solve(&ones), argument, "solve", &["singular", "column 0 "]);
    let mut t = zero.to_ndarray().unwrap();
    for i in 0..5 {
        t[[i, i]] = if i == 3 { 0.0 } else { 1.0 };
    }
    for side in [Triangle::Lower, Triangle::Upper] {
        let got = on(device, &t).solve_triangular(&ones, side, Diagonal::NonUnit);
        assert_error(got, argument, "solve_triangular", &["(3, 3)"]);
    }
    if !device.is_host() {
        let there = DeviceArray::<f32>::ones(&Device::host(), 5).unwrap();
        assert_error(zero.solve(&there), ErrorKind::DeviceMismatch, "solve", &["to_device"]);
    }
    // Nothing in, nothing out.
    let none = DeviceArray::<f32>::zeros(device, (0, 0)).unwrap();
    let nothing = DeviceArray::<f32>::zeros(device, (0, 3)).unwrap();
    assert_eq!(none.solve(&nothing).unwrap().shape(), [0, 3]);
    assert_eq!(none.lu().unwrap().determinant().unwrap().item().unwrap(), 1.0);
    assert_eq!(none.inverse().unwrap().shape(), [0, 0]);
    let (q, r) = nothing.qr().unwrap();
    assert_eq!((q.shape(), r.shape()), (&[0, 0][..], &[0, 3][..]));
    let no_columns = DeviceArray::<f32>::zeros(device, (5, 0)).unwrap();
    assert_eq!(x.solve(&no_columns).unwrap().shape(), [2, 3, 5, 0]);
    if !device.supports(DType::F64) {
        let x = DeviceArray::from_shape_slice(device, (2, 2), &[0f64; 4]);
        assert_error(x.and_then(|x| x.lu().map(drop)), ErrorKind::Type, "lu", &["f64"]);
    }
});

#[track_caller]
fn check_qr<T: Real + Sample>(a: &Array2<f64>, x: &DeviceArray<T>) {
    let (m, n) = a.dim();
    let k = m.min(n);
    let (q, r) = x.qr().unwrap();
    let (q, r) = (wide(&q), wide(&r));
    assert_eq!((q.dim(), r.dim()), ((m, k), (k, n)));
    for ((i, j), &v) in r.indexed_iter() {
        assert!(j >= i || v == 0.0, "R ({i}, {j}) is {v}");
    }
    assert_small::<T>("qr", &(product(q.view(), r.view()) - a), norm(a), m.max(n));
    let off = product(q.t(), q.view()) - Array2::<f64>::eye(k);
    assert_small::<T>("orthogonality", &off, 1.0, m.max(n));
}

on_every_device!(qr_factors, |device| {
    for_reals!(device, T => {
        for &n in sizes(device) {
            let a = random(n, n, 13);
            check_qr::<T>(&a, &on(device, &narrow::<T>(&a)));
        }
        for (m, n) in [(150, 40), (40, 150), (1, 5), (5, 1), (97, 96)] {
            let a = random(m, n, 14);
            check_qr::<T>(&a, &on(device, &narrow::<T>(&a)));
            check_qr::<T>(&a.t().to_owned(), &on(device, &narrow::<T>(&a)).t());
        }
        // Columns of very different sizes, a column of zeros, two that are equal.
        let mut a = random(60, 50, 15);
        for ((_, j), v) in a.indexed_iter_mut() {
            *v *= 2f64.powi(2 * j as i32 - 60);
        }
        a.column_mut(7).fill(0.0);
        let twin = a.column(3).to_owned();
        a.column_mut(40).assign(&twin);
        check_qr::<T>(&a, &on(device, &narrow::<T>(&a)));
        // Rows of very different sizes.
        let mut a = random(60, 50, 16);
        for ((i, _), v) in a.indexed_iter_mut() {
            *v *= 2f64.powi(40 - 2 * i as i32);
        }
        check_qr::<T>(&a, &on(device, &narrow::<T>(&a)));
    });
});
