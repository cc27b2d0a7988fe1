//! Scans, sorts, selections and histograms on one device, and by the best sequential form that the standard library
//! or `ndarray` has, in turns, at sizes from a hundred elements on: a table of microseconds and ratios, medians of rounds.
//!
//! `cargo bench --bench against_std -- [NAME [SIZE,SIZE…]]`; `CLAN_DEVICE` names another device than the host.
//! Rows of what is only moved tell how near a scan may come: the same loop without its sums.

mod common;

use clan::{Device, DeviceArray, Element, Result, ndarray};
use common::value;
use ndarray::{Array2, Axis};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::fmt::Debug;
use std::hint::black_box;
use std::time::Instant;

/// Times calls in rounds of a few milliseconds.
struct Clock<'a> {
    run: &'a dyn Fn(),
    calls: usize,
    /// Seconds of one call.
    one: f64,
}

impl<'a> Clock<'a> {
    fn new(run: &'a dyn Fn()) -> Clock<'a> {
        run();
        let start = Instant::now();
        run();
        let one = start.elapsed().as_secs_f64().max(1e-8);
        Clock { run, calls: ((2e-3 / one) as usize).clamp(1, 20_000), one }
    }

    /// Microseconds of a call.
    fn round(&self) -> f64 {
        let start = Instant::now();
        (0..self.calls).for_each(|_| (self.run)());
        start.elapsed().as_secs_f64() / self.calls as f64 * 1e6
    }
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    x[x.len() / 2]
}

struct Table {
    device: Device,
    only: String,
    rows: Vec<(&'static str, Vec<String>)>,
}

impl Table {
    /// Checks that both give the same, then times them.
    fn row<T: Element + PartialEq + Debug>(
        &mut self,
        name: &'static str,
        plain: impl Fn() -> Vec<T>,
        ours: impl Fn() -> Result<DeviceArray<T>>,
    ) {
        if !name.contains(&self.only) {
            return;
        }
        assert!(ours().unwrap().to_vec().unwrap() == plain(), "{name}");
        let device = self.device.clone();
        self.times(
            name,
            || drop(black_box(plain())),
            || {
                drop(black_box(ours().unwrap()));
                device.wait().unwrap();
            },
        );
    }

    /// Times two forms in turns.
    fn times(&mut self, name: &'static str, run_plain: impl Fn(), run_ours: impl Fn()) {
        if !name.contains(&self.only) {
            return;
        }
        let clocks = [Clock::new(&run_plain), Clock::new(&run_ours)];
        // In turns, so that both see the processor's clock as it changes.
        let rounds = if clocks.iter().any(|clock| clock.one > 0.05) { 3 } else { 25 };
        let times: Vec<[f64; 2]> = (0..rounds).map(|_| [0, 1].map(|k| clocks[k].round())).collect();
        let of = |f: &dyn Fn(&[f64; 2]) -> f64| median(times.iter().map(f).collect());
        let [us, own, times_as_fast] = [of(&|t| t[0]), of(&|t| t[1]), of(&|t| t[0] / t[1])];
        let cell = format!("{us:>9.2} {own:>9.2} {times_as_fast:>5.2}");
        match self.rows.iter_mut().find(|row| row.0 == name) {
            Some(row) => row.1.push(cell),
            None => self.rows.push((name, vec![cell])),
        }
    }

    fn of(&mut self, n: usize) {
        let device = self.device.clone();
        // Whole eighths, whose sums are exact, and numbers with all their digits.
        let eighths: Vec<f32> = (0..n).map(|i| (value(i, 1) * 8.0).trunc() / 8.0).collect();
        let floats: Vec<f32> = (0..n).map(|i| value(i, 1)).collect();
        let words: Vec<u32> = (0..n).map(|i| value(i, 2).to_bits().rotate_left(9)).collect();
        let bytes: Vec<u8> = (0..n).map(|i| (value(i, 3) * 128.0) as i8 as u8).collect();
        let half: Vec<bool> = (0..n).map(|i| value(i, 4) > 0.0).collect();
        let rare: Vec<bool> = (0..n).map(|i| value(i, 4) > 0.96).collect();
        fn on<T: Element>(device: &Device, x: &[T]) -> DeviceArray<T> {
            DeviceArray::from_slice(device, x).unwrap()
        }
        let [x, y] = [&eighths, &floats].map(|x| on(&device, x));
        let (w, b) = (on(&device, &words), on(&device, &bytes));
        let [m, r] = [&half, &rare].map(|m| on(&device, m));

        let running = |x: &[f32]| {
            let mut sum = 0.0;
            x.iter().map(|x| (sum += x, sum).1).collect::<Vec<f32>>()
        };
        self.row("cumsum f32", || running(&eighths), || x.cumsum(Axis(0)));
        let running = || {
            let mut sum = 0u64;
            words.iter().map(|&x| (sum += u64::from(x), sum).1).collect::<Vec<u64>>()
        };
        self.row("cumsum u32", running, || w.cumsum(Axis(0)));
        // What no scan can take less than: the same elements read, and as many stored.
        let sums = RefCell::new(vec![0u64; n]);
        let moved = |from: &[u32], to: &mut [u64]| {
            to.iter_mut().zip(from).for_each(|(to, &x)| *to = x.into());
        };
        let alone = || moved(&words, black_box(&mut sums.borrow_mut()));
        let by_two = || {
            let (from, mut to) = (words.split_at(n / 2), sums.borrow_mut());
            let (first, second) = black_box(&mut to[..]).split_at_mut(n / 2);
            rayon::join(|| moved(from.0, first), || moved(from.1, second));
        };
        self.times("  moved by one thread", || drop(black_box(running())), alone);
        self.times("  moved by two", || drop(black_box(running())), by_two);
        let starts: Vec<bool> = (0..n).map(|i| value(i, 5) > 0.98).collect();
        let s = on(&device, &starts);
        let in_segments = || {
            let mut sum = 0.0;
            let add = |(x, &start): (&f32, _)| {
                sum = if start { *x } else { sum + x };
                sum
            };
            eighths.iter().zip(&starts).map(add).collect::<Vec<f32>>()
        };
        self.row("cumsum in segments", in_segments, || x.scan(Axis(0)).segments(&s).sum());
        let side = n.isqrt();
        let matrix = Array2::from_shape_vec((side, side), eighths[..side * side].to_vec()).unwrap();
        let square = DeviceArray::from_ndarray(&device, &matrix).unwrap();
        for (name, axis) in [("cumsum of columns", 0), ("cumsum of rows", 1)] {
            let plain = || {
                let mut sums = matrix.clone();
                sums.accumulate_axis_inplace(Axis(axis), |&above, x| *x += above);
                sums.into_raw_vec_and_offset().0
            };
            self.row(name, plain, || square.cumsum(Axis(axis)));
        }

        let sorted = || {
            let mut keys = words.clone();
            keys.sort_unstable();
            keys
        };
        self.row("sort u32", sorted, || w.sort(Axis(0)));
        let by_total = || {
            let mut keys = floats.clone();
            keys.sort_unstable_by(f32::total_cmp);
            keys
        };
        self.row("sort f32", by_total, || y.sort(Axis(0)));
        let places = || {
            let mut places: Vec<u64> = (0..n as u64).collect();
            places.sort_by_key(|&i| words[i as usize]);
            places
        };
        self.row("argsort u32", places, || w.argsort(Axis(0)));
        let k = 100.min(n);
        let first = || {
            let mut keys: Vec<(Reverse<u32>, u32)> =
                words.iter().copied().map(Reverse).zip(0..).collect();
            if k < n {
                keys.select_nth_unstable(k - 1);
            }
            keys.truncate(k);
            keys.sort_unstable();
            black_box(keys.iter().map(|key| u64::from(key.1)).collect::<Vec<_>>());
            keys.iter().map(|key| key.0.0).collect::<Vec<_>>()
        };
        self.row("top 100 u32", first, || Ok(w.sorted(Axis(0)).descending().first(k)?.0));

        for (name, mask, flags) in [("select half", &half, &m), ("select rare", &rare, &r)] {
            let kept = || floats.iter().zip(mask).filter(|(_, m)| **m).map(|(x, _)| *x).collect();
            self.row(name, kept, || y.masked_select(flags));
        }
        let nonzero = || (0..n as u64).filter(|&i| half[i as usize]).collect();
        self.row("nonzero", nonzero, || m.nonzero());

        let counted = || {
            let mut counts = vec![0u64; 256];
            for x in floats.iter().filter(|x| (-1.0..=1.0).contains(*x)) {
                counts[(((x + 1.0) * 128.0) as usize).min(255)] += 1;
            }
            counts
        };
        self.row("histogram f32", counted, || y.histogram(256, -1.0..=1.0));
        let counted = || {
            let mut counts = vec![0u64; 256];
            bytes.iter().for_each(|&x| counts[usize::from(x)] += 1);
            counts
        };
        self.row("bincount u8", counted, || b.bincount(256));
    }
}

fn main() {
    // Cargo's own flags come first.
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let only = words.next().unwrap_or_default();
    let sizes = words.next().unwrap_or("100,1000,10000,100000,1000000,16000000".into());
    let sizes: Vec<usize> = sizes.split(',').map(|size| size.parse().expect("a size")).collect();
    let device = match std::env::var_os("CLAN_DEVICE") {
        None => Device::host(),
        Some(_) => Device::best().unwrap(),
    };
    println!("{device}: the standard library's µs, clan's, and how many times as fast it is");
    let mut table = Table { device, only, rows: Vec::new() };
    sizes.iter().for_each(|&n| table.of(n));
    let heads: String = sizes.iter().map(|n| format!("{n:>27}")).collect();
    println!("{:>21}{heads}", "elements");
    for (name, cells) in &table.rows {
        println!("{name:>21}  {}", cells.join("  "));
    }
}
