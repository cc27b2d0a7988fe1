//! Sparse matrices against sums over their triplets. The values are small integers, so that every order
//! of additions gives the same float.

use super::*;
use clan::ndarray::{Array1, Array2, s};
use clan::{DType, Real, SparseMatrix};

/// Row, column and value of every element.
type Triplets = Vec<(usize, usize, i64)>;

fn value(k: usize) -> i64 {
    ((k * 7919 + 13) % 9) as i64 - 4
}

fn split<T: Sample>(triplets: &Triplets) -> (Vec<u32>, Vec<u32>, Vec<T>) {
    let rows = triplets.iter().map(|t| t.0 as u32).collect();
    let columns = triplets.iter().map(|t| t.1 as u32).collect();
    (rows, columns, triplets.iter().map(|t| T::of(Wide::Int(t.2.into()))).collect())
}

fn make<T: Real + Sample>(
    device: &Device,
    shape: (usize, usize),
    triplets: &Triplets,
) -> SparseMatrix<T> {
    let (rows, columns, values) = split::<T>(triplets);
    SparseMatrix::from_triplets(device, shape, &rows, &columns, &values).unwrap()
}

/// Products with a vector and with matrices of several widths; the other way round; written out.
fn check<T: Real + Sample>(device: &Device, shape: (usize, usize), triplets: &Triplets) {
    let a = make::<T>(device, shape, triplets);
    let to = |v: i64| T::of(Wide::Int(v.into()));
    let mut dense = Array2::<i64>::zeros(shape);
    for &(r, c, v) in triplets {
        dense[[r, c]] += v;
    }
    // Plain loops over the triplets, apart from any matrix.
    let times = |x: &Array2<i64>| {
        let mut y = Array2::<i64>::zeros((shape.0, x.ncols()));
        for &(r, c, v) in triplets {
            for j in 0..x.ncols() {
                y[[r, j]] += v * x[[c, j]];
            }
        }
        y
    };
    let x = Array2::from_shape_fn((shape.1, 1), |(i, _)| value(i + 5));
    let vector = a.matmul(&on(device, &x.column(0).mapv(to))).unwrap();
    assert_same(&vector, &times(&x).column(0).mapv(to));
    for width in [3, 70] {
        let x = Array2::from_shape_fn((shape.1, width), |(i, j)| value(i * 3 + j));
        let got = a.matmul(&on(device, &x.mapv(to))).unwrap();
        assert_same(&got, &times(&x).mapv(to));
    }
    let none = DeviceArray::<T>::zeros(device, (shape.1, 0)).unwrap();
    assert_eq!(a.matmul(&none).unwrap().shape(), [shape.0, 0]);
    assert_same(&a.to_dense().unwrap(), &dense.mapv(to));
    let transposed = a.transpose().unwrap();
    assert_eq!(transposed.shape(), (shape.1, shape.0));
    assert_same(&transposed.to_dense().unwrap(), &dense.t().mapv(to));
    let other = SparseMatrix::from_ndarray(device, &dense.mapv(to)).unwrap();
    assert_same(&other.to_dense().unwrap(), &dense.mapv(to));
    assert_eq!(other.nnz(), dense.iter().filter(|&&v| v != 0).count());
    let (starts, columns, values) = a.to_csr().unwrap();
    let again = SparseMatrix::from_csr(device, shape, &starts, &columns, &values).unwrap();
    assert_eq!(again.to_csr().unwrap(), (starts, columns, values));
}

/// As many elements as rows say, spread over the columns.
fn rows_of(lengths: &[usize], columns: usize) -> Triplets {
    let row = |(r, &n): (usize, &usize)| {
        (0..n).map(move |i| (r, (i * columns / n + r) % columns, value(r + i * 3)))
    };
    lengths.iter().enumerate().flat_map(row).collect()
}

on_every_device!(rows_of_many_lengths, |device| {
    // Two elements a row in the mean: the smallest blocks. More rows than work-items, empty ones at
    // both ends, one that needs several blocks.
    let mut lengths: Vec<usize> = (0..600).map(|r| r % 3).collect();
    lengths[300] = 1500;
    lengths[302] = 256;
    lengths[303] = 257;
    (lengths[0], lengths[599]) = (0, 0);
    check::<f32>(device, (600, 1600), &rows_of(&lengths, 1600));
    // Eight and more: the largest blocks.
    let mut lengths: Vec<usize> = (0..90).map(|r| 20 + r * 7 % 50).collect();
    lengths[0] = 5000;
    lengths[89] = 1025;
    check::<f32>(device, (90, 5003), &rows_of(&lengths, 5003));
});

on_every_device!(small_and_empty, |device| {
    check::<f32>(device, (1, 1), &vec![(0, 0, 3)]);
    check::<f32>(device, (3, 2), &vec![]);
    check::<f32>(device, (0, 4), &vec![]);
    check::<f32>(device, (4, 0), &vec![]);
    check::<f32>(device, (1, 7), &rows_of(&[7], 7));
    check::<f32>(device, (7, 1), &rows_of(&[1; 7], 1));
});

on_every_device!(doubles, |device| {
    let lengths: Vec<usize> = (0..40).map(|r| if r == 7 { 600 } else { r % 3 }).collect();
    let triplets = rows_of(&lengths, 700);
    if device.supports(DType::F64) {
        check::<f64>(device, (40, 700), &triplets);
    } else {
        let (rows, columns, values) = split::<f64>(&triplets);
        let got = SparseMatrix::from_triplets(device, (40, 700), &rows, &columns, &values);
        assert_error(got, ErrorKind::Type, "from_triplets", &["f64"]);
    }
});

on_every_device!(duplicates_in_their_order, |device| {
    // (2^24 + 1) + 1 is not 2^24 + (1 + 1) in f32.
    let big = (1 << 24) as f32;
    let (rows, columns) = ([1, 0, 1, 1], [2, 1, 2, 2]);
    let a = SparseMatrix::from_triplets(device, (2, 3), &rows, &columns, &[big, 5.0, 1.0, 1.0]);
    let a = a.unwrap();
    assert_eq!(a.to_csr().unwrap(), (vec![0, 1, 2], vec![1, 2], vec![5.0, big]));
    let a = SparseMatrix::from_triplets(device, (2, 3), &rows, &columns, &[1.0, 5.0, 1.0, big]);
    assert_eq!(a.unwrap().to_csr().unwrap().2, [5.0, big + 2.0]);
});

on_every_device!(random_matrices, |device| {
    property(device, 6, (1usize..60, 1usize..60, any::<u32>()), |(rows, columns, number)| {
        let mut rng = Rng::new(number.into());
        let n = rng.below(3 * rows);
        let triplets: Triplets =
            (0..n).map(|k| (rng.below(rows), rng.below(columns), value(k))).collect();
        check::<f32>(device, (rows, columns), &triplets);
    });
});

on_every_device!(views, |device| {
    let triplets = rows_of(&[3, 0, 5, 9], 9);
    let a = make::<f32>(device, (4, 9), &triplets);
    let x = Array2::from_shape_fn((20, 18), |(i, j)| value(i * 5 + j) as f32);
    let on_device = on(device, &x);
    let naive = |x: &Array2<f32>| {
        let mut y = Array2::<f32>::zeros((4, x.ncols()));
        for &(r, c, v) in &triplets {
            for j in 0..x.ncols() {
                y[[r, j]] += v as f32 * x[[c, j]];
            }
        }
        y
    };
    for part in [s![1..10, 2..7], s![1..18;-2, ..5], s![..9, ..;-3]] {
        let got = a.matmul(&on_device.slice(part).unwrap()).unwrap();
        assert_same(&got, &naive(&x.slice(part).to_owned()));
    }
    let got = a.matmul(&on_device.t().slice(s![9.., ..]).unwrap()).unwrap();
    assert_same(&got, &naive(&x.t().slice(s![9.., ..]).to_owned()));
    let row = x.slice(s![3..4, ..9]).to_owned();
    let same = on_device.slice(s![3, ..9]).unwrap().insert_axis(Axis(1)).unwrap();
    let got = a.matmul(&same.broadcast((9, 4)).unwrap()).unwrap();
    assert_same(&got, &naive(&row.t().broadcast((9, 4)).unwrap().to_owned()));
    let column = on_device.slice(s![2..20;2, 1]).unwrap();
    let got = a.matmul(&column).unwrap();
    let want: Array1<f32> = naive(&x.slice(s![2..20;2, 1..2]).to_owned()).column(0).to_owned();
    assert_same(&got, &want);
    let moved = a.to_device(&Device::host()).unwrap();
    assert_same(&moved.to_dense().unwrap(), &a.to_dense().unwrap().to_ndarray().unwrap());
});

on_every_device!(mistakes, |device| {
    type M = SparseMatrix<f32>;
    let triplets = |rows: &[u32], columns: &[u32], values: &[f32]| {
        M::from_triplets(device, (2, 3), rows, columns, values)
    };
    let index = ErrorKind::Index;
    let got = triplets(&[0, 1, 2, 9], &[0, 1, 1, 9], &[1.0; 4]);
    assert_error(got, index, "from_triplets", &["triplet 2", "(2, 1)", "[2, 3]"]);
    let got = triplets(&[0, 1], &[0, 3], &[1.0; 2]);
    assert_error(got, index, "from_triplets", &["triplet 1", "(1, 3)"]);
    let got = triplets(&[0], &[0, 1], &[1.0; 2]);
    assert_error(got, ErrorKind::Shape, "from_triplets", &["1 rows", "2 columns", "2 values"]);
    if usize::BITS > 32 {
        let got = M::from_triplets(device, (1, 1 << 32), &[], &[], &[]);
        assert_error(got, ErrorKind::TooLarge, "from_triplets", &["2^32"]);
    }
    let csr = |starts: &[usize], columns: &[u32]| {
        M::from_csr(device, (2, 3), starts, columns, &vec![1.0; columns.len()])
    };
    let argument = ErrorKind::Argument;
    assert_error(csr(&[0, 1], &[0]), ErrorKind::Shape, "from_csr", &["2 row starts", "2 rows"]);
    assert_error(csr(&[0, 1, 3], &[0]), argument, "from_csr", &["0 to 3", "1 elements"]);
    assert_error(csr(&[0, 5, 1], &[0]), argument, "from_csr", &["row 1", "5", "1"]);
    assert_error(csr(&[0, 2, 3], &[0, 1, 7]), index, "from_csr", &["row 1", "column 7"]);
    assert_error(csr(&[0, 2, 2], &[1, 1]), argument, "from_csr", &["row 0", "rise"]);
    assert_error(csr(&[0, 2, 2], &[2, 0]), argument, "from_csr", &["2 and 0", "from_triplets"]);
    let a = csr(&[0, 1, 2], &[0, 2]).unwrap();
    let x = |shape: &[usize]| DeviceArray::<f32>::zeros(device, shape).unwrap();
    for shape in [&[2][..], &[], &[2, 3], &[3, 1, 1]] {
        let words = [format!("{shape:?}"), "[2, 3]".into(), "[3, m]".into()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_error(a.matmul(&x(shape)), ErrorKind::Shape, "sparse_matmul", &words);
    }
    let other = Device::all().into_iter().find(|d| d != device);
    if let Some(other) = other {
        let x = DeviceArray::<f32>::zeros(&other, 3).unwrap();
        assert_error(a.matmul(&x), ErrorKind::DeviceMismatch, "sparse_matmul", &["to_device"]);
    }
    // NaN where it meets an element, and only there.
    let x = DeviceArray::from_slice(device, &[1.0, f32::NAN, 2.0]).unwrap();
    assert_eq!(a.matmul(&x).unwrap().to_vec().unwrap(), [1.0, 2.0]);
});
