//! Input that makes no sense: an error that names the operation, what it met and the way out, and
//! never a panic.

mod support;

use clan::{
    Device, DeviceArray, Error, ErrorKind,
    ndarray::{Axis, SliceInfoElem},
};
use proptest::prelude::*;

fn expect<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
    assert!(!error.op().is_empty());
}

#[test]
fn shapes_and_axes() {
    support::opencl_devices();
    for d in Device::all() {
        let a = DeviceArray::<f32>::ones(&d, (2, 3)).unwrap();
        let b = DeviceArray::<f32>::ones(&d, (4, 3)).unwrap();
        use ErrorKind::*;
        expect((&a + &b).eval(), Shape, &["add", "[2, 3]", "[4, 3]", "bad_input.rs"]);
        expect((&a + &b).sqrt().sum(), Shape, &["add", "[2, 3]", "[4, 3]"]);
        // The place where it was built, also when it was built by a method.
        let line = line!() + 1;
        let late = (&a * 2.0).minimum(&b);
        let place = format!("bad_input.rs:{line}");
        expect(late.clone().eval(), Shape, &["minimum", "[2, 3]", "[4, 3]", &place]);
        expect((late.abs() + 1.0).gt(0.0).if_else(&a, &a).mean(), Shape, &[&place]);
        let line = line!() + 1;
        let late = a.gt(0.0f32).if_else(&a, &b);
        expect(late.eval(), Shape, &["[4, 3]", &format!("bad_input.rs:{line}")]);
        let mut c = a.clone();
        let line = line!() + 1;
        c += &b;
        expect(c.to_vec(), Shape, &["add", &format!("bad_input.rs:{line}")]);
        expect(a.sum_axis(Axis(2)), Index, &["sum", "axis 2", "[2, 3]"]);
        expect(a.over(&[Axis(0), Axis(0)]).max(), Index, &["max", "axis 0", "twice"]);
        expect(a.over(&[Axis(usize::MAX)]).mean(), Index, &["mean"]);
        expect(a.permute(&[0]), Index, &["permute", "[0]", "[2, 3]"]);
        expect(a.permute(&[0, 1, 2]), Index, &["permute"]);
        expect(a.reshape((7, 1)), Shape, &["reshape", "[2, 3]", "[7, 1]"]);
        expect(a.broadcast((3, 3)), Shape, &["broadcast", "[2, 3]", "[3, 3]"]);
        expect(a.broadcast(3), Shape, &["broadcast"]);
        expect(a.index_axis(Axis(5), 0), Index, &["index_axis", "5", "[2, 3]"]);
        expect(a.index_axis(Axis(0), 2), Index, &["index_axis", "2", "[2, 3]"]);
        expect(a.insert_axis(Axis(3)), Index, &["insert_axis", "3"]);
        expect(a.dot(&b), Shape, &["dot", "[2, 3]", "[4, 3]"]);
        expect(a.item(), Shape, &["item", "[2, 3]"]);
        expect(DeviceArray::from_shape_slice(&d, (2, 2), &[1u8]), Shape, &["[2, 2]", "1"]);
        let mut c = a.clone();
        expect(c.assign(&b), Shape, &["assign", "[4, 3]", "[2, 3]"]);
        // Nothing to choose from.
        let empty = DeviceArray::<f32>::zeros(&d, (0, 3)).unwrap();
        expect(empty.max(), Argument, &["max"]);
        expect(empty.argmin_axis(Axis(0)), Argument, &["argmin"]);
        assert_eq!(empty.sum().unwrap().item().unwrap(), 0.0);
        // Other arguments without meaning.
        expect(DeviceArray::<i32>::arange(&d, 0, 5, 0), Argument, &["arange", "step"]);
        expect(DeviceArray::<f32>::arange(&d, 0.0, f32::NAN, 1.0), Argument, &["arange"]);
        expect(DeviceArray::<f32>::arange(&d, 0.0, f32::INFINITY, 1.0), Argument, &["arange"]);
        expect(DeviceArray::<f32>::arange(&d, 0.0, 1e38, 1e-38), TooLarge, &["arange"]);
        // Everything is as it was.
        assert_eq!(a.to_vec().unwrap(), [1.0; 6]);
        assert_eq!(c.to_vec().unwrap(), [1.0; 6]);
    }
}

#[test]
fn two_devices() {
    let devices = Device::all();
    let [first, .., last] = devices.as_slice() else {
        return support::skip("there is one device only");
    };
    let a = DeviceArray::<i32>::ones(first, 3).unwrap();
    let b = DeviceArray::<i32>::ones(last, 3).unwrap();
    let words = ["host", "to_device"];
    expect((&a + &b).eval(), ErrorKind::DeviceMismatch, &words);
    expect(a.clone().assign(&b), ErrorKind::DeviceMismatch, &words);
    let c = (&a + &b.to_device(first).unwrap()).eval().unwrap();
    assert_eq!(c.to_vec().unwrap(), [2, 2, 2]);
}

#[test]
fn sizes_that_overflow() {
    const HUGE: usize = 1 << 62;
    for d in Device::all() {
        use ErrorKind::TooLarge;
        expect(DeviceArray::<f32>::zeros(&d, [HUGE, 8]), TooLarge, &["full"]);
        expect(DeviceArray::<u64>::ones(&d, [usize::MAX]), TooLarge, &["ones"]);
        expect(DeviceArray::<u8>::zeros(&d, [HUGE, 8, 0]), TooLarge, &["full"]);
        expect(DeviceArray::<i32>::eye(&d, usize::MAX), TooLarge, &["eye"]);
        expect(DeviceArray::<i64>::arange(&d, i64::MIN, i64::MAX, 1), TooLarge, &["arange"]);
        expect(DeviceArray::<f32>::linspace(&d, 0.0, 1.0, usize::MAX), TooLarge, &[]);
        // Two views that are fine give a product that is not.
        let one = DeviceArray::<f32>::ones(&d, (1, 1)).unwrap();
        let wide = one.broadcast((1, HUGE)).unwrap();
        let tall = one.broadcast((HUGE, 1)).unwrap();
        expect((&wide + &tall).eval(), TooLarge, &[]);
        expect((&wide + &tall).sum(), TooLarge, &[]);
        expect((&wide + &tall).sum_axis(Axis(0)), TooLarge, &[]);
        assert!(
            (&wide + &tall).shape().is_ok_and(|s| s == [HUGE, HUGE])
                || (&wide + &tall).shape().is_err()
        );
        expect(one.broadcast((HUGE, 4)), TooLarge, &["broadcast"]);
        expect(wide.reshape((HUGE, 4)), TooLarge, &["reshape"]);
        // An empty array of long axes is an array.
        let empty = DeviceArray::<u64>::zeros(&d, [HUGE, 0]).unwrap();
        assert_eq!(empty.to_vec().unwrap(), []);
        assert_eq!((&empty + 1).eval().unwrap().shape(), [HUGE, 0]);
        assert_eq!(empty.t().sum_axis(Axis(1)).unwrap().shape(), [0]);
        let end = [SliceInfoElem::Index(-1)];
        assert_eq!(empty.slice(end).unwrap().to_device(&Device::host()).unwrap().len(), 0);
        let empty = DeviceArray::<u64>::zeros(&d, [4, HUGE / 4, 0]).unwrap();
        let part = empty.slice([SliceInfoElem::Index(3), SliceInfoElem::Index(-1)]).unwrap();
        assert_eq!(part.to_vec().unwrap(), []);
        assert_eq!(part.to_device(&Device::host()).unwrap().shape(), [0]);
        assert!(empty.sum_axis(Axis(2)).is_err(), "so many zeros fit nowhere");
    }
}

#[test]
fn types_that_a_device_lacks() {
    for d in Device::all().into_iter().filter(|d| !d.info().fp64) {
        let x = DeviceArray::from_slice(&d, &[1.0f64, 2.0, 3.0]).unwrap();
        // Stored, moved and viewed, but not computed.
        assert_eq!(x.slice([SliceInfoElem::Index(1)]).unwrap().item().unwrap(), 2.0);
        let way_out = ["f64", "cast", "Device::host()"];
        expect((&x + 1.0).eval(), ErrorKind::Type, &way_out);
        expect(x.sum(), ErrorKind::Type, &way_out);
        let n = DeviceArray::<i32>::ones(&d, 4).unwrap();
        expect(n.mean(), ErrorKind::Type, &["f64"]);
        assert_eq!(n.sum().unwrap().item().unwrap(), 4);
        assert_eq!(x.to_vec().unwrap(), [1.0, 2.0, 3.0]);
    }
}

/// Ends, indices and steps from where arithmetic overflows.
fn extreme() -> impl Strategy<Value = isize> {
    let corners = [isize::MIN, isize::MIN + 1, -1, 0, 1, isize::MAX - 1, isize::MAX];
    prop_oneof![4 => -8isize..8, 1 => proptest::sample::select(corners.to_vec()), 1 => any::<isize>()]
}

fn part() -> impl Strategy<Value = SliceInfoElem> {
    prop_oneof![
        4 => (extreme(), proptest::option::of(extreme()), extreme())
            .prop_map(|(start, end, step)| SliceInfoElem::Slice { start, end, step }),
        1 => extreme().prop_map(SliceInfoElem::Index),
        1 => Just(SliceInfoElem::NewAxis),
    ]
}

proptest! {
    // Failures are printed with their input; no file of them is kept.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any slicing of any view gives a view inside the array, or an error; never a panic.
    #[test]
    fn slices_of_anything(
        shape in proptest::collection::vec(0usize..6, 0..4),
        first in proptest::collection::vec(part(), 0..4),
        second in proptest::collection::vec(part(), 0..4),
        axes in proptest::collection::vec(0usize..5, 0..4),
        to in proptest::collection::vec(0usize..5, 0..4),
        reshaped in proptest::collection::vec(prop_oneof![0usize..5, Just(usize::MAX)], 0..4),
    ) {
        let n: usize = shape.iter().product();
        let data: Vec<u32> = (0..n as u32).collect();
        let mut x = DeviceArray::from_shape_slice(&Device::host(), shape.as_slice(), &data).unwrap();
        for parts in [&first, &second] {
            if let Ok(y) = x.slice(parts) { x = y; }
            if let Ok(y) = x.permute(&axes) { x = y; }
            if let Ok(y) = x.broadcast(to.as_slice()) { x = y; }
            if let Ok(y) = x.reshape(reshaped.as_slice()) { x = y; }
            let values = x.to_vec().unwrap();
            prop_assert_eq!(values.len(), x.len());
            prop_assert!(values.iter().all(|&v| (v as usize) < n));
            let sum: u64 = values.iter().map(|&v| u64::from(v)).sum();
            prop_assert_eq!(x.sum().unwrap().item().unwrap(), sum);
            // Writing to any part of any view works, and changes that part alone.
            let mut copy = x.clone();
            if let Ok(mut view) = copy.slice_mut(&first) {
                let part: usize = view.shape().iter().product();
                view.fill(1000).unwrap();
                let changed = copy.to_vec().unwrap().iter().filter(|&&v| v == 1000).count();
                prop_assert_eq!(changed, part);
            }
            prop_assert_eq!(x.to_vec().unwrap(), values);
        }
    }
}
