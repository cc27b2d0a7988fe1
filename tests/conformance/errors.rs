//! Mistakes on every device: values that name the operation and what it met, and no harm to the
//! arrays. What concerns one family is in its file; `tests/bad_input.rs` has sizes and slices.

use super::*;
use clan::Border;
use clan::ndarray::{Slice, arr1, arr2, s};

on_every_device!(mistakes_are_kept_until_the_result, |device| {
    let (x, y) = (on(device, &arr1(&[1f32, 2.0])), on(device, &arr1(&[1f32, 2.0, 3.0])));
    let wrong = (&x + &y).sqrt();
    let words = ["[2]", "[3]", "errors.rs"];
    assert_error(wrong.shape(), ErrorKind::Shape, "add", &words);
    assert_error(wrong.eval(), ErrorKind::Shape, "add", &words);
    assert_error(wrong.sum_axis(Axis(0)), ErrorKind::Shape, "add", &words);
    assert_error((&wrong * &x).lt(1.0).any(), ErrorKind::Shape, "add", &words);
    assert_error(x.lt(0.0).if_else(&wrong, 1.0).norm(), ErrorKind::Shape, "add", &words);
    let mut z = x.clone();
    assert_error(z.assign(&wrong), ErrorKind::Shape, "add", &words);
    let mut part = z.slice_mut(s![..1]).unwrap();
    assert_error(part.assign(&y), ErrorKind::Shape, "assign", &["[3]", "[1]"]);
    assert_same(&z, &arr1(&[1f32, 2.0]));
});

on_every_device!(views_stay_inside, |device| {
    let x = on(device, &arr2(&[[1u8, 2, 3], [4, 5, 6]]));
    let part = |start, end, step| [SliceInfoElem::Slice { start, end, step }];
    for parts in [part(0, Some(3), 1), part(3, None, 1), part(-3, None, 1), part(0, Some(-3), 1)] {
        assert_error(x.slice(parts), ErrorKind::Index, "slice", &["[2, 3]"]);
    }
    assert_error(x.slice(part(0, None, 0)), ErrorKind::Argument, "slice", &["step"]);
    assert_error(x.slice([SliceInfoElem::Index(2)]), ErrorKind::Index, "slice", &["2"]);
    let all = SliceInfoElem::from(Slice::from(..));
    assert_error(x.slice([all; 3]), ErrorKind::Index, "slice", &["[2, 3]"]);
    let mut y = x.clone();
    assert_error(
        y.slice_mut([SliceInfoElem::Index(-3)]).map(|_| ()),
        ErrorKind::Index,
        "slice_mut",
        &[],
    );
    assert_error(x.permute(&[1, 1]), ErrorKind::Index, "permute", &["[1, 1]"]);
    assert_same(&y, &arr2(&[[1u8, 2, 3], [4, 5, 6]]));
});

on_every_device!(reductions_name_their_axes, |device| {
    let x = on(device, &counted::<f32>(&[2, 0, 3]));
    assert_error(x.sum_axis(Axis(3)), ErrorKind::Index, "sum", &["axis 3", "[2, 0, 3]"]);
    assert_error(x.over(&[Axis(1), Axis(1)]).mean(), ErrorKind::Index, "mean", &["twice"]);
    assert_error(x.var_axis(Axis(7), 0.0), ErrorKind::Index, "var", &["axis 7"]);
    assert_error(x.over(&[Axis(9)]).norm(), ErrorKind::Index, "norm", &["axis 9"]);
    for axis in [Axis(1), Axis(0)] {
        let got = x.max_axis(axis);
        match axis {
            Axis(1) => assert_error(got, ErrorKind::Argument, "max", &["[2, 0, 3]"]),
            // No result needs an element, so none is missing.
            _ => assert_eq!(got.unwrap().shape(), [0, 3]),
        }
    }
    assert_error(x.argmin(), ErrorKind::Argument, "argmin", &["nothing"]);
    assert_error(x.item(), ErrorKind::Shape, "item", &["[2, 0, 3]"]);
});

on_every_device!(devices_do_not_mix, |device| {
    let Some(other) = Device::all().into_iter().find(|d| d != device) else {
        return eprintln!("skipped: there is one device only");
    };
    let (x, y) = (on(device, &arr1(&[1i32, 2])), on(&other, &arr1(&[1i32, 2])));
    let kind = ErrorKind::DeviceMismatch;
    assert_error((&x + &y).eval(), kind, "add", &["to_device"]);
    assert_error(x.dot(&y), kind, "dot", &["to_device"]);
    assert_error(x.clone().assign(&y), kind, "assign", &["to_device"]);
    let (image, filter) = (on(device, &counted::<f32>(&[3, 3])), on(&other, &counted(&[1, 1])));
    assert_error(image.conv2d(&filter, Border::Zero), kind, "conv2d", &["to_device"]);
    assert_same(&x, &arr1(&[1, 2]));
});

on_every_device!(types_that_a_device_lacks, |device| {
    let x = on(device, &arr1(&[1.0f64, 2.0, 3.0]));
    let n = on(device, &arr1(&[1i32, 2]));
    if device.info().fp64 {
        assert_eq!(x.sum().unwrap().item().unwrap(), 6.0);
        return assert_eq!(n.mean().unwrap().item().unwrap(), 1.5);
    }
    let words = ["f64", "cast"];
    assert_error((&x + 1.0).eval(), ErrorKind::Type, "eval", &words);
    assert_error(x.cast::<f32>().eval(), ErrorKind::Type, "eval", &words);
    assert_error(x.sum(), ErrorKind::Type, "sum", &words);
    assert_error(n.mean(), ErrorKind::Type, "mean", &words);
    assert_error(n.var(1.0), ErrorKind::Type, "var", &words);
    // Moving them needs no arithmetic.
    assert_same(&x.slice(s![..;-1]).unwrap(), &arr1(&[3.0f64, 2.0, 1.0]));
});
