use clan::{
    Device, DeviceArray,
    ndarray::{Array2, s},
};
#[test]
fn smoke() {
    for d in Device::all() {
        eprintln!("{d:?} {:?}", d.info());
        let x = DeviceArray::<f32>::arange(&d, 0.0, 1003.0, 1.0).unwrap();
        let y = (&x * 2.0 + 1.0).sqrt().eval().unwrap().to_vec().unwrap();
        for (i, v) in y.iter().enumerate() {
            assert_eq!(*v, (i as f32 * 2.0 + 1.0).sqrt(), "{i}");
        }
        let a = Array2::from_shape_fn((17, 23), |(i, j)| (i * 31 + j) as i32);
        let b = DeviceArray::from_ndarray(&d, &a).unwrap();
        let c = (b.t() + 7i32).eval().unwrap();
        assert_eq!(c.to_ndarray().unwrap(), (a.t().to_owned() + 7).into_dyn());
        let mut e = b.clone();
        e.slice_mut(s![1..;3, ..;-2])
            .unwrap()
            .assign(&b.slice(s![..;3, ..;2]).unwrap().slice(s![..6, ..]).unwrap() * 100)
            .unwrap();
        let mut want = a.clone();
        want.slice_mut(s![1..;3, ..;-2])
            .assign(&(a.slice(s![..;3, ..;2]).slice(s![..6, ..]).to_owned() * 100));
        assert_eq!(e.to_ndarray().unwrap(), want.into_dyn());
        assert_eq!(b.to_ndarray().unwrap(), a.clone().into_dyn());
        assert_eq!(
            DeviceArray::<i32>::eye(&d, 4).unwrap().to_ndarray().unwrap(),
            Array2::<i32>::eye(4).into_dyn()
        );
    }
}
