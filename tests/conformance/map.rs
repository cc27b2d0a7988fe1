//! Element-wise expressions. Every function on every type is in the table; here are their forms.

use super::*;
use clan::half::f16;
use clan::ndarray::{Array, IxDyn, Zip, arr0, s};
use clan::{Expr, IntoExpr};

on_every_device!(operands_broadcast, |device| {
    // Two views of arrays of one shape, some of its axes cut to length 1.
    let strategy = (shapes(), any::<u8>(), recipes(), any::<u32>());
    property(device, 5, strategy, |(shape, ones, recipe, seed)| {
        let one = |bit: usize, n: usize| if ones >> bit & 1 == 1 { 1 } else { n };
        let (x, a) = view(on(device, &counted(&shape)), counted(&shape), &recipe);
        let small: Vec<usize> = a.shape().iter().enumerate().map(|(k, &n)| one(k, n)).collect();
        let mut rng = Rng::new(seed.into());
        let mut b = ArrayD::from_shape_simple_fn(small, || i32::random(&mut rng));
        if ones >= 128 && b.ndim() > 0 && b.shape()[0] == 1 {
            b = b.index_axis_move(Axis(0), 0);
        }
        let y = on(device, &b);
        let c = rng.bits() as i32;
        let got = (&x * c - &y + (&x ^ &y)).eval().unwrap();
        let wide = b.broadcast(a.raw_dim()).unwrap();
        let want = Zip::from(&a)
            .and(&wide)
            .map_collect(|&x: &i32, &y| x.wrapping_mul(c).wrapping_sub(y).wrapping_add(x ^ y));
        assert_same(&got, &want);
    });
});

on_every_device!(both_operands_broadcast, |device| {
    let (a, b) = (counted::<i16>(&[4, 1, 3]), counted::<i16>(&[5, 1]));
    let got = (on(device, &a) * 10 + on(device, &b)).eval().unwrap();
    let want = Array::from_shape_fn(IxDyn(&[4, 5, 3]), |i| a[[i[0], 0, i[2]]] * 10 + b[[i[1], 0]]);
    assert_same(&got, &want);
    let none = on(device, &counted::<i16>(&[0, 1, 3]));
    assert_eq!((none * 10 + on(device, &b)).eval().unwrap().shape(), [0, 5, 3]);
    let scalar = (on(device, &arr0(3i16)) * 10 + on(device, &arr0(4))).eval().unwrap();
    assert_eq!((scalar.ndim(), scalar.item().unwrap()), (0, 34));
});

on_every_device!(alone constants_and_lengths_are_not_compiled, |device| {
    let value = |n: usize, c: f32| {
        let x = Array::from_shape_fn(n, |k| k as f32);
        let got = ((on(device, &x) + c) * -c).eval().unwrap();
        assert_same(&got, &x.mapv(|x| (x + c) * -c));
    };
    value(10, 1.5);
    let compiles = device.compiles();
    for n in [1, 2, 63, 64, 65, 1000, 4097] {
        value(n, n as f32);
        value(n, -0.0);
    }
    assert_eq!(device.compiles(), compiles);
});

on_every_device!(integer_division, |device| {
    // By zero it gives 0, and the least value by -1 wraps; a CPU's instruction dies of either.
    let s = [0, 1, -1, 2, -2, 7, -7, i32::MIN, i32::MAX, i32::MIN + 1];
    let x = Array::from_shape_fn((s.len(), 1), |(i, _)| s[i]);
    let y = Array::from(s.to_vec());
    let (dx, dy) = (on(device, &x), on(device, &y));
    let each =
        |f: fn(i32, i32) -> i32| Array::from_shape_fn((s.len(), s.len()), |(i, j)| f(s[i], s[j]));
    let quotient = |x: i32, y: i32| if y == 0 { 0 } else { x.wrapping_div(y) };
    let rest = |x: i32, y: i32| if y == 0 { 0 } else { x.wrapping_rem(y) };
    assert_same(&(&dx / &dy).eval().unwrap(), &each(quotient));
    assert_same(&(&dx % &dy).eval().unwrap(), &each(rest));
    assert_same(&(&dx / 0).eval().unwrap(), &x.mapv(|_| 0));
    // Shifts take the distance modulo the width, so a negative one too.
    assert_same(&(&dx << &dy).eval().unwrap(), &each(|x, y| x.wrapping_shl(y as u32)));
});

on_every_device!(not_a_number_and_zeros, |device| {
    let s = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0, f32::MAX];
    let n = s.len();
    let x = on(device, &Array::from_shape_fn((n, 1), |(i, _)| s[i]));
    let y = on(device, &Array::from(s.to_vec()));
    let check = |what: &str, got: Expr<f32>, want: fn(f32, f32) -> f32| {
        for (k, got) in got.eval().unwrap().to_vec().unwrap().into_iter().enumerate() {
            let (x, y) = (s[k / n], s[k % n]);
            let want = want(x, y);
            // Which zero is less is left open.
            let zeros = what == "least" && got == 0.0 && want == 0.0;
            assert!(
                zeros || got.wide().same(want.wide()),
                "{what} of {x} and {y}: {got}, not {want}"
            );
        }
    };
    let least = |x: f32, y: f32| match () {
        _ if x.is_nan() || y.is_nan() => f32::NAN,
        _ => x.min(y),
    };
    check("least", x.minimum(&y), least);
    check("sum and difference", (&x + &y) - &y, |x, y| (x + y) - y);
    // NaN is not equal and not less: the choice falls to the other side.
    check("choice", x.le(&y).if_else(&x, -&y), |x, y| if x <= y { x } else { -y });
});

on_every_device!(subnormals_where_the_device_has_them, |device| {
    let tiny = f32::from_bits(1);
    let s = [tiny, -tiny, f32::MIN_POSITIVE, f32::MIN_POSITIVE - tiny, f32::from_bits(0x40_0001)];
    let x = on(device, &Array::from(s.to_vec()));
    for (got, x) in (&x * 0.5 + &x).eval().unwrap().to_vec().unwrap().into_iter().zip(s) {
        let want = x * 0.5 + x;
        let flushed = !device.info().denormals && got == 0.0;
        assert!(flushed || got.to_bits() == want.to_bits(), "{x:e}: {got:e}, not {want:e}");
    }
    // Copies keep them everywhere, and what NaN carries.
    let bits = [1u32, 0x8000_0001, 0x7fa0_0001, 0xffc1_2345, 0x8000_0000, 0x7f80_0000];
    let odd = on(device, &Array::from(bits.map(f32::from_bits).to_vec()));
    let back = odd.slice(s![..;-1]).unwrap().to_contiguous().unwrap().to_vec().unwrap();
    assert_eq!(back.iter().rev().map(|v| v.to_bits()).collect::<Vec<_>>(), bits);
});

on_every_device!(operands_are_seen_as_they_were, |device| {
    let a = Array::from_iter(0..100i32);
    let mut x = on(device, &a);
    let e = &x * 3 + 1;
    x.fill(7).unwrap();
    let f = &x * 3 + 1;
    x.slice_mut(s![10..20]).unwrap().fill(8).unwrap();
    x += 1;
    assert_same(&e.eval().unwrap(), &a.mapv(|v| v * 3 + 1));
    assert_same(&f.eval().unwrap(), &a.mapv(|_| 22));
    drop(f);
    let mut want = a.mapv(|_| 8);
    want.slice_mut(s![10..20]).fill(9);
    assert_same(&x, &want);
    // Evaluating twice computes the same again.
    assert_same(&e.eval().unwrap(), &a.mapv(|v| v * 3 + 1));
});

on_every_device!(a_shared_operand_is_computed_once, |device| {
    let a = Array::from_iter(-20..20i64);
    let mut e = on(device, &a) + 0;
    for _ in 0..40 {
        e = &e + &e;
    }
    // A tree of it would have 2^40 nodes.
    assert_same(&e.eval().unwrap(), &a.mapv(|v| v << 40));
    assert_eq!(e.sum().unwrap().item().unwrap(), -20 << 40);
});

on_every_device!(deep_graphs_are_walked_without_recursion, |device| {
    let depth = if device.is_host() { 20_000 } else { 600 };
    let a = Array::from_iter(0..5i32);
    let mut e = on(device, &a).expr();
    let one: Expr<i32> = 1.into_expr();
    for _ in 0..depth {
        e += &one;
    }
    assert_same(&e.eval().unwrap(), &a.mapv(|v| v + depth));
    drop(e);
});

on_every_device!(more_leaves_than_a_kernel_takes, |device| {
    // PoCL has 1,024 bytes for all arguments of a kernel; half floats are not rounded at a cut.
    let many = 70;
    let arrays: Vec<Array<f16, _>> = (0..many)
        .map(|k| {
            Array::from_shape_fn(33, |i| f16::from_f32(((k * 37 + i * 11) % 512) as f32 / 64.0))
        })
        .collect();
    let mut e = on(device, &arrays[0]).expr();
    let mut want = arrays[0].mapv(f16::to_f32);
    for a in &arrays[1..] {
        e += on(device, a);
        want += &a.mapv(f16::to_f32);
    }
    let want = want.mapv(f16::from_f32);
    assert_same(&e.eval().unwrap(), &want);
    let total: f32 = arrays.iter().flatten().map(|v| v.to_f32()).sum();
    assert_eq!(e.sum().unwrap().item().unwrap(), total);
});

on_every_device!(assigning_operators, |device| {
    let a = counted::<u8>(&[5, 7]);
    let mut x = on(device, &a);
    let (shared, row) = (x.clone(), on(device, &counted::<u8>(&[7])));
    x *= 100;
    x -= &row;
    x >>= 1;
    let want = Array::from_shape_fn(IxDyn(&[5, 7]), |i| {
        a[[i[0], i[1]]].wrapping_mul(100).wrapping_sub(i[1] as u8) >> 1
    });
    assert_same(&x, &want);
    assert_same(&shared, &a);
    // A mistake stays with the array until it is taken, and leaves its elements alone.
    x += &on(device, &counted::<u8>(&[6]));
    assert_error(x.to_vec(), ErrorKind::Shape, "add", &["[5, 7]", "[6]"]);
    assert_error((&x + 1).eval(), ErrorKind::Shape, "add", &["[6]"]);
    assert!(x.take_error().is_some() && x.take_error().is_none());
    assert_same(&x, &want);
});

on_every_device!(questions_give_booleans, |device| {
    let a = Array::from_iter(-3..4i32);
    let x = on(device, &a);
    let odd = (&x & 1).cast::<bool>();
    let both = (&odd & x.gt(0)).eval().unwrap();
    assert_same(&both, &a.mapv(|v| v & 1 != 0 && v > 0));
    // A boolean array is 0 or 1 in arithmetic, whatever it was made from.
    let twos = on(device, &Array::from(vec![2u8, 0, 255])).cast::<bool>();
    assert_eq!(twos.cast::<i32>().sum().unwrap().item().unwrap(), 2);
    assert_same(&(!both).eval().unwrap(), &a.mapv(|v| v & 1 == 0 || v <= 0));
});

on_every_device!(rounding_once, |device| {
    // `mul_add` rounds once, and a product and a sum round twice: contraction is off.
    let (a, b, c) = (1.0 + f32::EPSILON, 1.0 - f32::EPSILON, -1.0f32);
    let x = on(device, &Array::from(vec![a; 20]));
    let apart = (&x * b + c).eval().unwrap();
    assert_same(&apart, &Array::from(vec![a * b + c; 20]));
    let once = x.mul_add(b, c).eval().unwrap();
    assert_same(&once, &Array::from(vec![-f32::EPSILON * f32::EPSILON; 20]));
    assert_eq!(apart.to_vec().unwrap()[0], 0.0);
});
