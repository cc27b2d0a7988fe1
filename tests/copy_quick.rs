use clan::{
    Device, DeviceArray, Element,
    ndarray::{Array3, s},
};
fn go<T: Element>(d: &Device, f: impl Fn(usize) -> T) {
    for shape in [(3usize, 65usize, 70usize), (1, 64, 128), (130, 9, 8), (17, 1, 200), (40, 50, 1)]
    {
        let mut n = 0;
        let a = Array3::from_shape_simple_fn(shape, || {
            n += 1;
            f(n)
        });
        let x = DeviceArray::from_ndarray(d, &a).unwrap();
        for p in [[0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1], [1, 0, 2]] {
            assert_eq!(
                x.permute(&p).unwrap().to_ndarray().unwrap(),
                a.view().permuted_axes(p).to_owned().into_dyn(),
                "{p:?}"
            );
        }
        assert_eq!(
            x.t().slice(s![..;-2, 1.., ..;3]).ok().map(|v| v.to_ndarray().unwrap()),
            if shape.1 > 0 {
                Some(a.t().slice(s![..;-2, 1.., ..;3]).to_owned().into_dyn())
            } else {
                None
            }
        );
    }
}
#[test]
fn copy_quick() {
    for d in Device::all() {
        eprintln!("{d}");
        go::<f32>(&d, |i| i as f32);
        go::<f64>(&d, |i| i as f64);
        go::<u8>(&d, |i| i as u8);
        go::<i16>(&d, |i| i as i16);
    }
}
