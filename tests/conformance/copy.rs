//! Copies of any strides into row-major order, and between devices.

use super::*;
use clan::ndarray::{Array3, s};

fn check<T: Sample>(device: &Device, axes: &[[usize; 3]]) {
    // Tiles have edges of 8 to 64 elements: sizes on, below and above them.
    let shapes = [(3, 65, 70), (1, 64, 128), (130, 9, 8), (17, 1, 200), (40, 50, 1), (2, 0, 3)];
    for shape in shapes {
        let mut rng = Rng::new(1);
        let a = Array3::from_shape_simple_fn(shape, || T::random(&mut rng));
        let x = on(device, &a);
        for &p in axes {
            let (y, b) = (x.permute(&p).unwrap(), a.view().permuted_axes(p));
            assert_same(&y, &b);
            let packed = y.to_contiguous().unwrap();
            assert!(packed.is_contiguous());
            assert_same(&packed, &b);
        }
    }
}

on_every_device!(permuted, |device| {
    check::<u32>(device, &[[0, 2, 1], [2, 1, 0], [1, 2, 0], [1, 0, 2]]);
    check::<u8>(device, &[[0, 2, 1]]);
    check::<i16>(device, &[[0, 2, 1]]);
    check::<f64>(device, &[[0, 2, 1]]);
    if device.is_host() {
        check::<f32>(device, &[[2, 0, 1], [0, 1, 2]]);
        check::<bool>(device, &[[0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1], [1, 0, 2]]);
        check::<i64>(device, &[[0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1], [1, 0, 2]]);
    }
});

on_every_device!(parts_of_permuted, |device| {
    let a = counted::<f32>(&[40, 70, 33]);
    let x = on(device, &a);
    // A part that begins within a tile, with gaps between its rows.
    let part = (s![3.., 1..66, 2..], s![1..;2, .., ..;-3]);
    let (y, b) = (x.slice(part.0).unwrap(), a.slice(part.0));
    assert_same(&y.permute(&[0, 2, 1]).unwrap(), &b.view().permuted_axes([0, 2, 1]));
    assert_same(&x.t().slice(part.1).unwrap(), &a.t().slice(part.1));
    // Every axis backwards, and a row that repeats.
    let back = s![..;-1, ..;-1, ..;-1];
    assert_same(&x.slice(back).unwrap(), &a.slice(back));
    let row = x.slice(s![1, .., 3]).unwrap().broadcast((5, 70)).unwrap();
    assert_same(&row, &a.slice(s![1, .., 3]).broadcast((5, 70)).unwrap());
});

on_every_device!(between_devices, |device| {
    let a = counted::<u32>(&[6, 5, 4]);
    for other in Device::all() {
        let x = on(&other, &a).t().slice(s![1..;2, ..;-1, ..]).unwrap();
        let want = a.t().slice_move(s![1..;2, ..;-1, ..]);
        let y = x.to_device(device).unwrap();
        assert_eq!(y.device(), device);
        assert_same(&y, &want);
        assert_same(&y.to_device(&other).unwrap(), &want);
        // They share no memory: writing to one leaves the other alone.
        let mut z = y.clone();
        z.fill(0).unwrap();
        assert_same(&x, &want);
        assert_eq!(on(&other, &counted::<u8>(&[3, 0])).to_device(device).unwrap().shape(), [3, 0]);
        assert_eq!(on(&other, &counted::<u8>(&[])).to_device(device).unwrap().item().unwrap(), 0);
    }
});
