use clan::{Device, DeviceArray, ndarray::Axis};
use std::time::Instant;
fn time(d: &Device, mut f: impl FnMut()) -> f64 {
    for _ in 0..3 {
        f();
    }
    d.wait().unwrap();
    let t = Instant::now();
    f();
    d.wait().unwrap();
    let one = t.elapsed().as_secs_f64();
    let reps = ((4e-3 / one) as usize).clamp(1, 200);
    let mut ts: Vec<f64> = (0..9)
        .map(|_| {
            let t = Instant::now();
            for _ in 0..reps {
                f();
            }
            d.wait().unwrap();
            t.elapsed().as_secs_f64() / reps as f64
        })
        .collect();
    ts.sort_by(f64::total_cmp);
    ts[4]
}
fn main() {
    let d = Device::select(std::env::args().nth(1).unwrap_or("nvidia".into()).as_str()).unwrap();
    let log: u32 = std::env::args().nth(2).map_or(28, |s| s.parse().unwrap());
    let n = 1usize << log;
    let side = 1usize << (log / 2);
    println!("{d:?} {:?}", d.info());
    let t = Instant::now();
    let seed = DeviceArray::<u32>::arange(&d, 0, n as u32, 1).unwrap();
    let h = |k: u32| {
        ((&seed * 2654435761u32 ^ (&seed >> 13u32)) * k >> 8u32).cast::<f32>()
            * (1.0 / 8388608.0f32)
            - 1.0f32
    };
    let x = h(747796405).eval().unwrap();
    let y = h(277803737).eval().unwrap();
    d.wait().unwrap();
    println!("setup {:?}", t.elapsed());
    let hx = x.to_vec().unwrap();
    let hy = y.to_vec().unwrap();
    // checks
    let z = (&x * 2.5f32 + &y).eval().unwrap().to_vec().unwrap();
    let bad = z.iter().zip(hx.iter().zip(&hy)).filter(|(z, (a, b))| **z != **a * 2.5 + **b).count();
    println!("axpy wrong {bad}");
    let want: f64 = hx.iter().map(|&v| v as f64).sum();
    let abs: f64 = hx.iter().map(|&v| v.abs() as f64).sum();
    let got = x.sum().unwrap().item().unwrap() as f64;
    println!(
        "sum {got} want {want} err/ulp(sum|x|) {}",
        (got - want).abs() / (abs * f32::EPSILON as f64)
    );
    let am = hx
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |b, (i, &v)| if v > b.1 { (i, v) } else { b })
        .0 as u64;
    println!("argmax {} want {am}", x.argmax().unwrap().item().unwrap());
    let m = x.reshape((side, side)).unwrap();
    let c0 = m.sum_axis(Axis(0)).unwrap().to_vec().unwrap();
    let c1 = m.sum_axis(Axis(1)).unwrap().to_vec().unwrap();
    let mut w0 = vec![0f64; side];
    let mut w1 = vec![0f64; side];
    for i in 0..side {
        for j in 0..side {
            let v = hx[i * side + j] as f64;
            w0[j] += v;
            w1[i] += v;
        }
    }
    let worst = |a: &[f32], w: &[f64]| {
        a.iter().zip(w).map(|(a, w)| (*a as f64 - w).abs()).fold(0.0, f64::max)
    };
    println!("axis err {} {}", worst(&c0, &w0), worst(&c1, &w1));
    let tr = m.t().to_contiguous().unwrap().to_vec().unwrap();
    let bad = (0..side)
        .map(|i| (0..side).filter(|&j| tr[i * side + j] != hx[j * side + i]).count())
        .sum::<usize>();
    println!("transpose wrong {bad}");
    let b = 4.0 * n as f64 / 1e9;
    let row = |name: &str, bytes: f64, s: f64| {
        println!("{name:24} {:9.1} GB/s  {:8.1} us", bytes / s, s * 1e6)
    };
    row(
        "copy buffer",
        2.0 * b,
        time(&d, || {
            x.copy_for_bench().unwrap();
        }),
    );
    row(
        "a*x+y",
        3.0 * b,
        time(&d, || {
            (&x * 2.5f32 + &y).eval().unwrap();
        }),
    );
    row(
        "sqrt(abs(2x+y))",
        3.0 * b,
        time(&d, || {
            (&x * 2.0f32 + &y).abs().sqrt().eval().unwrap();
        }),
    );
    row(
        "x+1",
        2.0 * b,
        time(&d, || {
            (&x + 1.0f32).eval().unwrap();
        }),
    );
    row(
        "fill",
        b,
        time(&d, || {
            DeviceArray::full(&d, n, 1.0f32).unwrap();
        }),
    );
    row(
        "m + row",
        2.0 * b,
        time(&d, || {
            (&m + m.index_axis(Axis(0), 0).unwrap()).eval().unwrap();
        }),
    );
    row(
        "sum",
        b,
        time(&d, || {
            x.sum().unwrap();
        }),
    );
    row(
        "max",
        b,
        time(&d, || {
            x.max().unwrap();
        }),
    );
    row(
        "argmax",
        b,
        time(&d, || {
            x.argmax().unwrap();
        }),
    );
    row(
        "dot",
        2.0 * b,
        time(&d, || {
            x.dot(&y).unwrap();
        }),
    );
    row(
        "norm",
        b,
        time(&d, || {
            x.norm().unwrap();
        }),
    );
    row(
        "sum columns (axis0)",
        b,
        time(&d, || {
            m.sum_axis(Axis(0)).unwrap();
        }),
    );
    row(
        "sum rows (axis1)",
        b,
        time(&d, || {
            m.sum_axis(Axis(1)).unwrap();
        }),
    );
    row(
        "argmax rows",
        b,
        time(&d, || {
            m.argmax_axis(Axis(1)).unwrap();
        }),
    );
    row(
        "transpose",
        2.0 * b,
        time(&d, || {
            m.t().to_contiguous().unwrap();
        }),
    );
    let s = DeviceArray::<f32>::ones(&d, 4096).unwrap();
    for _ in 0..100 {
        (&s + 1.0f32).eval().unwrap();
    }
    d.wait().unwrap();
    let t = Instant::now();
    for _ in 0..2000 {
        (&s + 1.0f32).eval().unwrap();
    }
    let host = t.elapsed();
    d.wait().unwrap();
    let all = t.elapsed();
    println!(
        "launch host {:.2} us, with device {:.2} us",
        host.as_secs_f64() / 2000.0 * 1e6,
        all.as_secs_f64() / 2000.0 * 1e6
    );
    let t = Instant::now();
    for _ in 0..200 {
        s.sum().unwrap().item().unwrap();
    }
    println!("sum+item {:?}", t.elapsed() / 200);
    let t = Instant::now();
    let mut c = s.clone();
    for _ in 0..1000 {
        c = (&c * 1.0001f32).eval().unwrap();
    }
    let host = t.elapsed();
    d.wait().unwrap();
    println!("1000 dependent: host {:?} all {:?}", host, t.elapsed());
    println!("usage {:?} compiles {}", d.usage(), d.compiles());
}
