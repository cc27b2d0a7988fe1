//! Casts are Rust's `as`. All pairs of types are in the table; here are random bits and what it
//! costs to get them wrong.

use super::*;
use clan::half::{bf16, f16};
use clan::ndarray::Array;

on_every_device!(floats_saturate, |device| {
    let mut rng = Rng::new(11);
    let s = [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.0,
        -0.9,
        0.99999994,
        127.5,
        128.0,
        255.99998,
        256.0,
        -128.99999,
        -129.0,
        2147483520.0,
        2147483648.0,
        -2147483648.0,
        -2147483904.0,
        4294967040.0,
        4294967296.0,
        9.223371e18,
        9.223372e18,
        1.8446743e19,
        1.8446744e19,
    ];
    let mut a = s.to_vec();
    a.extend((0..4000).map(|_| f32::from_bits(rng.bits() as u32)));
    let a = Array::from(a);
    let x = on(device, &a);
    macro_rules! check {
        ($($t:ty)*) => {$(
            assert_same(&x.cast::<$t>().eval().unwrap(), &a.mapv(|v| v as $t));
        )*};
    }
    check!(i8 u8 i32 u64);
    if device.is_host() {
        check!(i16 i64 u16 u32);
    }
});

on_every_device!(integers_wrap_and_round, |device| {
    let mut rng = Rng::new(12);
    let mut a = i64::specials();
    // Neighbours of ties in the 24 bits of a float.
    for bit in [24, 25, 31, 40, 62] {
        for near in -2..=2 {
            a.extend([(1 << bit) + near, -((1 << bit) + (1 << (bit - 24)) + near)]);
        }
    }
    a.extend(rng.values::<i64>(2000));
    let a = Array::from(a);
    let x = on(device, &a);
    assert_same(&x.cast::<i8>().eval().unwrap(), &a.mapv(|v| v as i8));
    assert_same(&x.cast::<f32>().eval().unwrap(), &a.mapv(|v| v as f32));
    assert_same(&x.cast::<bool>().eval().unwrap(), &a.mapv(|v| v != 0));
    let wide = a.mapv(|v| v as u64);
    assert_same(&x.cast::<u64>().cast::<f32>().eval().unwrap(), &wide.mapv(|v| v as f32));
});

on_every_device!(every_half_float_there_and_back, |device| {
    let bits = Array::from_iter(0..=u16::MAX);
    let (a, b) = (bits.mapv(f16::from_bits), bits.mapv(bf16::from_bits));
    let flush = |got: f32, want: f32| {
        !device.info().denormals && got == 0.0 && want.abs() < f32::MIN_POSITIVE
    };
    let widened = on(device, &a).cast::<f32>().eval().unwrap();
    assert_same(&widened, &a.mapv(f16::to_f32));
    assert_same(&widened.cast::<f16>().eval().unwrap(), &a);
    let widened = on(device, &b).cast::<f32>().eval().unwrap();
    for (got, b) in widened.to_vec().unwrap().into_iter().zip(&b) {
        let want = b.to_f32();
        assert!(got.wide().same(want.wide()) || flush(got, want), "{b:e}: {got:e}");
    }
    let x = on(device, &b.mapv(bf16::to_f32));
    for (got, b) in x.cast::<bf16>().eval().unwrap().to_vec().unwrap().into_iter().zip(&b) {
        let (got, want) = (got.to_f32(), b.to_f32());
        assert!(got.wide().same(want.wide()) || flush(got, want), "{b:e}: {got:e}");
    }
});

on_every_device!(a_cast_rounds_where_it_stands, |device| {
    // Through a short type inside of an expression: the digits are gone, although all of it is
    // computed in `f32`.
    let a = Array::from_shape_fn(500, |k| 1.0 + k as f32 / 4096.0);
    let got = (on(device, &a).cast::<f16>().cast::<f32>() - 1.0).eval().unwrap();
    assert_same(&got, &a.mapv(|v| f16::from_f32(v).to_f32() - 1.0));
    if device.info().fp64 {
        // Rounded once from f64: through f32 first, this one would be a tie and go down to even.
        let v = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        let x = on(device, &Array::from(vec![v, -v]));
        let up = 1.0 + 2f64.powi(-10);
        assert_eq!(x.cast::<f16>().eval().unwrap().to_vec().unwrap(), [up, -up].map(f16::from_f64));
    }
});
