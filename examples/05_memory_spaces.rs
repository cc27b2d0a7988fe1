//! What each memory of a device is worth: the same matrix product, again and again, each time with
//! one more memory in use. Prints a table and draws it, and checks every answer.
//!
//! `cargo run --release --example 05_memory_spaces [-- --device NAME,NAME] [--size N] [--out FOLDER]`
//!
//! The kernels are in `cl/ladder.cl`, and tell what they keep where; on the host the same steps are
//! loops. The last rungs are clan's own product. On a device with matrix units it uses them, and
//! `CLAN_MATRIX_UNITS=off` shows what it reaches without.

use clan::{Device, DeviceArray, DeviceKind, Precision, limits};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

/// Rows and columns come in this multiple, so that the ladder's kernels need no code for edges.
const MULTIPLE: usize = 128;

fn main() -> Result<(), Error> {
    let arguments = Arguments::read()?;
    std::fs::create_dir_all(&arguments.folder)?;
    let mut wrong = 0;
    for device in &arguments.devices {
        let n = arguments.size.unwrap_or(match device.kind() {
            DeviceKind::Gpu => 4096,
            _ => 1024,
        });
        let peak = peak(device)?;
        println!("{device}: {n} × {n}, at most {} in multiply-adds", speed(peak));
        let task = Task::new(n);
        let mut rungs = match device.is_host() {
            true => host::ladder(&task),
            false => opencl::ladder(&task, device)?,
        };
        rungs.extend(clan_products(&task, device)?);
        print(&rungs, peak);
        let path = arguments.folder.join(format!("memory_spaces-{}.svg", device.index()));
        std::fs::write(&path, picture(&format!("{device}"), n, &rungs, peak))?;
        println!("   {}\n", path.display());
        wrong += rungs.iter().filter(|r| r.outcome.is_err()).count();
    }
    match wrong {
        0 => Ok(()),
        n => Err(format!("{n} rungs failed").into()),
    }
}

/// The product to compute, and what some of its elements must be.
struct Task {
    n: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    samples: Vec<Sample>,
}

struct Sample {
    at: usize,
    /// Computed in `f64`.
    want: f64,
    /// Σ|a||b|, which rounding errors are proportional to.
    magnitude: f64,
}

impl Task {
    fn new(n: usize) -> Task {
        // Numbers in [−1, 1) that look random; the multipliers are those of `splitmix64`.
        let random = |i: usize| {
            let z = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z >> 40) as f32) / (1 << 23) as f32 - 1.0
        };
        let a: Vec<f32> = (0..n * n).map(random).collect();
        let b: Vec<f32> = (n * n..2 * n * n).map(random).collect();
        // One in each of 64 stripes of rows, in columns all over the result; and the corners.
        let samples = (0..64)
            .map(|s| (s * n / 64, (s * 37 + 11) * n / 64 % n))
            .chain([(0, 0), (0, n - 1), (n - 1, 0), (n - 1, n - 1)])
            .map(|(row, column)| {
                let (mut want, mut magnitude) = (0.0, 0.0);
                for k in 0..n {
                    let p = f64::from(a[row * n + k]) * f64::from(b[k * n + column]);
                    want += p;
                    magnitude += p.abs();
                }
                Sample { at: row * n + column, want, magnitude }
            })
            .collect();
        Task { n, a, b, samples }
    }

    /// The error of the samples, relative to their norm. `rounding` is how far the operands may be
    /// from what they were.
    fn check(&self, got: &[f32], rounding: f64) -> Result<f64, String> {
        if got.len() != self.n * self.n {
            return Err(format!("{} elements instead of {}", got.len(), self.n * self.n));
        }
        let (mut errors, mut norm) = (0.0, 0.0);
        // A sum of n products in any order is within n · ε/2 · Σ|a||b|.
        let slack = self.n as f64 * f64::from(f32::EPSILON) / 2.0 + 2.0 * rounding;
        for s in &self.samples {
            let error = (f64::from(got[s.at]) - s.want).abs();
            if error.is_nan() || error > slack * s.magnitude {
                let (row, column) = (s.at / self.n, s.at % self.n);
                return Err(format!("({row}, {column}) is {}, not {}", got[s.at], s.want));
            }
            errors += error * error;
            norm += s.want * s.want;
        }
        Ok((errors / norm).sqrt())
    }

    /// Checks an answer of `run`, then times it. `run` ends when the product is there, and `answer`
    /// takes it out.
    fn rung(
        &self,
        name: &'static str,
        kept: &'static str,
        rounding: f64,
        mut run: impl FnMut() -> Result<(), Error>,
        answer: impl FnOnce() -> Result<Vec<f32>, Error>,
    ) -> Rung {
        let measure = || -> Result<Measured, Error> {
            let mut timed = || -> Result<f64, Error> {
                let start = Instant::now();
                run()?;
                Ok(start.elapsed().as_secs_f64())
            };
            // The first run may also compile; of a slow one that does not matter.
            let first = timed()?;
            let error = self.check(&answer()?, rounding)?;
            let mut times = if first > 4.0 { vec![first] } else { Vec::new() };
            while times.is_empty() || (times.iter().sum::<f64>() < 0.5 && times.len() < 50) {
                times.push(timed()?);
            }
            times.sort_by(f64::total_cmp);
            let seconds = times[times.len() / 2];
            let flops = 2.0 * (self.n as f64).powi(3);
            Ok(Measured { seconds, gflops: flops / seconds / 1e9, error })
        };
        Rung { name, kept, outcome: measure().map_err(|e| e.to_string()) }
    }
}

/// One way to compute the product.
struct Rung {
    name: &'static str,
    /// What is kept where.
    kept: &'static str,
    outcome: Result<Measured, String>,
}

#[derive(Clone, Copy)]
struct Measured {
    /// The median.
    seconds: f64,
    gflops: f64,
    error: f64,
}

/// The steps up through the memories of an OpenCL device.
#[cfg(feature = "opencl")]
mod opencl {
    use super::{Error, MULTIPLE, Rung, Task};
    use clan::{Device, DeviceKind};
    use ocl::{Buffer, Context, Kernel, MemFlags, Platform, Program, Queue};

    const SOURCE: &str = include_str!("../cl/ladder.cl");
    /// Columns of a slab in constant memory.
    const SLAB: usize = MULTIPLE;

    pub fn ladder(task: &Task, device: &Device) -> Result<Vec<Rung>, Error> {
        let n = task.n;
        let (platform, id) = find(device)?;
        let context = Context::builder().platform(platform).devices(id).build()?;
        let queue = &Queue::new(&context, id, None)?;
        let Shape { side, tile, rows } = Shape::of(device);
        let source = format!(
            "#define CLAN_SIDE {side}\n#define CLAN_TILE {tile}\n#define CLAN_ROWS {rows}\n#define CLAN_SLAB {SLAB}\n{SOURCE}"
        );
        let program = &Program::builder().src(source).devices(id).build(&context)?;

        let buffer = |flags: MemFlags, len: usize| {
            Buffer::<f32>::builder().queue(queue.clone()).flags(flags).len(len).build()
        };
        let (input, both) = (MemFlags::new().read_only(), MemFlags::new().read_write());
        let a = &buffer(input, n * n)?;
        let b = &buffer(input, n * n)?;
        let c = &buffer(both, n * n)?;
        a.write(&task.a).enq()?;
        b.write(&task.b).enq()?;
        let answer = || -> Result<Vec<f32>, Error> {
            let mut result = vec![0.0; n * n];
            c.read(&mut result).enq()?;
            Ok(result)
        };
        // What a kernel leaves out must not be right by what the one before left behind.
        let forget = || c.cmd().fill(f32::NAN, None).enq();

        let mut rungs = Vec::new();
        let simple = [
            ("global", "nothing kept: a row and a column read a result", [n, n], line(side)),
            ("local", "tiles of both operands", [n, n], [side, side]),
            ("private", "8 × 8 sums an item, tiles in local", [n * 8 / 64; 2], [tile / 8; 2]),
        ];
        for (name, kept, global, local) in simple {
            let kernel = Kernel::builder()
                .program(program)
                .name(format!("ladder_{name}"))
                .queue(queue.clone())
                .global_work_size(global)
                .local_work_size(local)
                .arg(n as u32)
                .arg(a)
                .arg(b)
                .arg(c)
                .build()?;
            let run = || -> Result<(), Error> {
                // SAFETY: the arguments are those of the kernels of the ladder, all buffers have
                // n × n floats, and work-items cover the result once.
                unsafe { kernel.enq()? };
                Ok(queue.finish()?)
            };
            forget()?;
            rungs.push(task.rung(name, kept, 0.0, run, answer));
        }

        // Constant memory is too small for an operand: slab after slab is copied to one buffer there.
        let slabs = &buffer(both, n * n)?;
        let slab = &buffer(input, rows * SLAB)?;
        let pack = Kernel::builder()
            .program(program)
            .name("ladder_slabs")
            .queue(queue.clone())
            .global_work_size([n, n])
            .arg(n as u32)
            .arg(a)
            .arg(slabs)
            .build()?;
        let multiply = Kernel::builder()
            .program(program)
            .name("ladder_constant")
            .queue(queue.clone())
            .global_work_size([n, rows])
            .local_work_size(line(side))
            .arg(n as u32)
            .arg(0u32)
            .arg(0u32)
            .arg(slab)
            .arg(b)
            .arg(c)
            .build()?;
        let run = || -> Result<(), Error> {
            // SAFETY: both matrices have n × n floats, and work-items cover them.
            unsafe { pack.enq()? };
            let mut from = 0;
            for row in (0..n).step_by(rows) {
                for k in (0..n).step_by(SLAB) {
                    slabs.cmd().offset(from).copy(slab, Some(0), Some(rows * SLAB)).enq()?;
                    from += rows * SLAB;
                    multiply.set_arg(1, row as u32)?;
                    multiply.set_arg(2, k as u32)?;
                    // SAFETY: `rows` rows from `row` and SLAB columns from `k` lie inside, and the
                    // queue keeps the order of copies and kernels.
                    unsafe { multiply.enq()? };
                }
            }
            Ok(queue.finish()?)
        };
        forget()?;
        let kept = "one operand, slab by slab";
        rungs.insert(1, task.rung("constant", kept, 0.0, run, answer));
        Ok(rungs)
    }

    /// How large groups and tiles are.
    struct Shape {
        /// Of a tile in `ladder_local`.
        side: usize,
        /// Of the results of a group in `ladder_private`.
        tile: usize,
        /// Of a slab in constant memory.
        rows: usize,
    }

    impl Shape {
        fn of(device: &Device) -> Shape {
            let (items, memory) = (device.info().max_work_group, device.memory());
            // The first that fit: 16 · 2 · tile floats in local memory, and a little to spare.
            let fits = |&tile: &usize| {
                (tile / 8).pow(2) <= items && 4 * 16 * (2 * tile + 4) <= memory.local_bytes as usize
            };
            // A CPU has its registers and its first cache for local memory.
            let tiles =
                if device.kind() == DeviceKind::Cpu { &[64, 32][..] } else { &[128, 64, 32] };
            let rows = memory.constant_bytes as usize / (4 * SLAB);
            Shape {
                side: if items >= 256 { 16 } else { 8 },
                tile: tiles.iter().copied().find(fits).unwrap_or(32),
                rows: [128, 64, 32, 16].into_iter().find(|&r| r <= rows).unwrap_or(16),
            }
        }
    }

    /// As many items as a tile of `ladder_local` has, as rows that are as long as a warp: its items
    /// read one element of A and neighbours of B.
    fn line(side: usize) -> [usize; 2] {
        [32, side * side / 32]
    }

    /// The device by the names that clan has it by, among equal ones the same in order.
    fn find(device: &Device) -> Result<(Platform, ocl::Device), Error> {
        let (info, all) = (device.info(), Device::all());
        let same = |d: &&Device| d.info().platform == info.platform && d.name() == device.name();
        let order = all[..device.index()].iter().filter(same).count();
        let mut found = Vec::new();
        for platform in Platform::list() {
            if platform.name()?.trim() == info.platform {
                for id in ocl::Device::list_all(platform)? {
                    if id.name()?.trim() == device.name() {
                        found.push((platform, id));
                    }
                }
            }
        }
        found.get(order).copied().ok_or_else(|| format!("{device} is not found again").into())
    }
}

#[cfg(not(feature = "opencl"))]
mod opencl {
    pub fn ladder(_: &super::Task, _: &clan::Device) -> Result<Vec<super::Rung>, super::Error> {
        Ok(Vec::new())
    }
}

/// The same steps on the host, where nothing but the order of the loops tells the caches what to keep.
mod host {
    use super::{Rung, Task};
    use rayon::prelude::*;
    use std::cell::RefCell;

    /// Rows of the result that a thread works on at once, columns of them, and depth of a block: the
    /// block of B has 64 KiB, for the second cache.
    const ROWS: usize = 32;
    const COLUMNS: usize = 128;
    const DEPTH: usize = 128;
    /// The tile of results in registers.
    const TALL: usize = 4;
    const WIDE: usize = 8;

    type Loop = fn(&Task, &mut [f32]);

    pub fn ladder(task: &Task) -> Vec<Rung> {
        let steps: [(_, _, Loop); 4] = [
            ("columns", "nothing kept: a column of B read a result", columns),
            ("rows", "a row of the result in the first cache", rows),
            ("blocks", "blocks of both operands in the caches", blocks),
            ("registers", "4 × 8 sums in registers, blocks in the caches", registers),
        ];
        let c = RefCell::new(vec![0.0; task.n * task.n]);
        let mut rungs = Vec::new();
        for (name, kept, step) in steps {
            c.borrow_mut().fill(f32::NAN);
            let run = || {
                step(task, &mut c.borrow_mut());
                Ok(())
            };
            rungs.push(task.rung(name, kept, 0.0, run, || Ok(c.borrow().clone())));
        }
        rungs
    }

    fn columns(task: &Task, c: &mut [f32]) {
        let n = task.n;
        c.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
            for (j, c) in row.iter_mut().enumerate() {
                *c = (0..n).map(|k| task.a[i * n + k] * task.b[k * n + j]).sum();
            }
        });
    }

    /// `c += a * b` for neighbours, which the compiler makes vector operations of.
    fn add_scaled(c: &mut [f32], a: f32, b: &[f32]) {
        for (c, b) in c.iter_mut().zip(b) {
            *c += a * b;
        }
    }

    fn rows(task: &Task, c: &mut [f32]) {
        let n = task.n;
        c.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
            row.fill(0.0);
            for k in 0..n {
                add_scaled(row, task.a[i * n + k], &task.b[k * n..][..n]);
            }
        });
    }

    fn blocks(task: &Task, c: &mut [f32]) {
        let n = task.n;
        c.par_chunks_mut(ROWS * n).enumerate().for_each(|(block, c)| {
            c.fill(0.0);
            for k0 in (0..n).step_by(DEPTH) {
                for j in (0..n).step_by(COLUMNS) {
                    for (i, row) in c.chunks_mut(n).enumerate() {
                        for k in k0..k0 + DEPTH {
                            let a = task.a[(block * ROWS + i) * n + k];
                            add_scaled(
                                &mut row[j..j + COLUMNS],
                                a,
                                &task.b[k * n + j..][..COLUMNS],
                            );
                        }
                    }
                }
            }
        });
    }

    fn registers(task: &Task, c: &mut [f32]) {
        let n = task.n;
        c.par_chunks_mut(ROWS * n).enumerate().for_each(|(block, c)| {
            c.fill(0.0);
            let mut packed = [[0.0; WIDE]; DEPTH];
            for k0 in (0..n).step_by(DEPTH) {
                for j in (0..n).step_by(WIDE) {
                    // Side by side, so that the tile walks over one piece of memory.
                    for (k, line) in packed.iter_mut().enumerate() {
                        line.copy_from_slice(&task.b[(k0 + k) * n + j..][..WIDE]);
                    }
                    for i in (0..ROWS).step_by(TALL) {
                        let mut sums = [[0.0; WIDE]; TALL];
                        let a = &task.a[(block * ROWS + i) * n + k0..];
                        let a: [&[f32]; TALL] = std::array::from_fn(|r| &a[r * n..][..DEPTH]);
                        for (k, line) in packed.iter().enumerate() {
                            for r in 0..TALL {
                                for w in 0..WIDE {
                                    sums[r][w] += a[r][k] * line[w];
                                }
                            }
                        }
                        for (r, sums) in sums.iter().enumerate() {
                            add_scaled(&mut c[(i + r) * n + j..][..WIDE], 1.0, sums);
                        }
                    }
                }
            }
        });
    }
}

/// clan's own product, as exact as `f32` first, and then with permission to be less so.
fn clan_products(task: &Task, device: &Device) -> Result<Vec<Rung>, Error> {
    let a = DeviceArray::from_shape_slice(device, (task.n, task.n), &task.a)?;
    let b = DeviceArray::from_shape_slice(device, (task.n, task.n), &task.b)?;
    let product = |precision| a.product(&b).precision(precision).eval();
    let full = product(Precision::Full)?.to_vec()?;
    let choices = [
        ("matmul", "clan's product in full precision", Precision::Full, 0.0),
        // 11 significant bits, cut; 8, rounded.
        ("tf32", "the same, Precision::Tf32", Precision::Tf32, 1.0 / 1024.0),
        ("bf16", "the same, Precision::Bf16", Precision::Bf16, 1.0 / 512.0),
    ];
    let mut rungs = Vec::new();
    for (name, kept, precision, rounding) in choices {
        // A device that cannot use the permission gives the same bits.
        if precision != Precision::Full && product(precision)?.to_vec()? == full {
            continue;
        }
        let run = || {
            product(precision)?;
            Ok(device.wait()?)
        };
        rungs.push(task.rung(name, kept, rounding, run, || Ok(product(precision)?.to_vec()?)));
    }
    Ok(rungs)
}

/// Floating-point operations a second in chains of multiply-adds that stay in registers, in 10⁹.
fn peak(device: &Device) -> clan::Result<f64> {
    let speed = |rounds| -> clan::Result<(f64, f64)> {
        let start = Instant::now();
        let flops = limits::fma(device, rounds)?.flops;
        device.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        Ok((seconds, flops as f64 / seconds / 1e9))
    };
    // Long enough that starting and ending do not count.
    let mut rounds = 256;
    while speed(rounds)?.0 < 0.02 && rounds < 1 << 22 {
        rounds *= 4;
    }
    (0..5).try_fold(0.0, |best, _| Ok(speed(rounds)?.1.max(best)))
}

/// From 10⁹ operations a second.
fn speed(gflops: f64) -> String {
    match gflops {
        g if g >= 1e4 => format!("{:.1} TFLOP/s", g / 1e3),
        g if g >= 1e3 => format!("{:.2} TFLOP/s", g / 1e3),
        g if g >= 100.0 => format!("{g:.0} GFLOP/s"),
        g => format!("{g:.1} GFLOP/s"),
    }
}

fn print(rungs: &[Rung], peak: f64) {
    println!(
        "   {:10} {:>10} {:>14} {:>7} {:>8} {:>8}  kept",
        "", "time", "speed", "×", "of peak", "error"
    );
    let first = rungs.iter().find_map(|r| r.outcome.as_ref().ok());
    for rung in rungs {
        match &rung.outcome {
            Ok(m) => println!(
                "   {:10} {:>7.2} ms {:>14} {:>7.1} {:>6.1} % {:>8.0e}  {}",
                rung.name,
                m.seconds * 1e3,
                speed(m.gflops),
                first.map_or(1.0, |f| m.gflops / f.gflops),
                100.0 * m.gflops / peak,
                m.error,
                rung.kept
            ),
            Err(e) => println!("   {:10} FAILED: {e}", rung.name),
        }
    }
}

/// The rungs as bars, and the peak as a line across them.
fn picture(device: &str, n: usize, rungs: &[Rung], peak: f64) -> String {
    const LEFT: f64 = 110.0;
    const BAR: f64 = 560.0;
    const STEP: f64 = 44.0;
    const TOP: f64 = 84.0;
    let done = || rungs.iter().filter_map(|r| r.outcome.as_ref().ok().map(|m| (r, m)));
    let most = done().map(|(_, m)| m.gflops).fold(peak, f64::max);
    let first = done().next().map_or(1.0, |(_, m)| m.gflops);
    let bottom = TOP + STEP * done().count() as f64;
    let (width, height) = (LEFT + BAR + 210.0, bottom + 44.0);
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let mut put = |line: String| writeln!(svg, "{line}").unwrap_or_default();
    let text = |x: f64, y: f64, class: &str, what: &str| {
        let what = what.replace('&', "&amp;").replace('<', "&lt;");
        format!(r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{what}</text>"#)
    };
    put(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">"#
    ));
    put("<style>text{font:14px sans-serif;fill:#24292f}.title{font-size:17px;font-weight:bold}.small{font-size:12px;fill:#57606a}.name{text-anchor:end;font-weight:bold}text{paint-order:stroke;stroke:#fff;stroke-width:5px}</style>".into());
    put(format!(r##"<rect width="{width}" height="{height}" fill="#fff"/>"##));
    put(text(24.0, 34.0, "title", &format!("One product of {n} × {n} floats, memory by memory")));
    put(text(24.0, 56.0, "small", device));
    let x = LEFT + BAR * peak / most;
    put(format!(
        r##"<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="#cf222e" stroke-dasharray="5 4"/>"##,
        TOP - 8.0
    ));
    let label = format!("multiply-adds alone: {}", speed(peak));
    put(format!(
        r#"<text x="{x:.1}" y="{:.1}" class="small" text-anchor="middle">{label}</text>"#,
        bottom + 18.0
    ));
    for (k, (rung, m)) in done().enumerate() {
        let y = TOP + STEP * k as f64;
        let long = (BAR * m.gflops / most).max(1.5);
        let color = match rung.name {
            "matmul" | "tf32" | "bf16" => "#1a7f37",
            _ => "#0969da",
        };
        put(text(LEFT - 12.0, y + 15.0, "name", rung.name));
        put(format!(
            r#"<rect x="{LEFT}" y="{y}" width="{long:.1}" height="20" rx="2" fill="{color}"/>"#
        ));
        let figures = format!("{} · {:.1} ×", speed(m.gflops), m.gflops / first);
        put(text(LEFT + long + 8.0, y + 15.0, "", &figures));
        put(text(LEFT, y + 34.0, "small", rung.kept));
    }
    put("</svg>".into());
    svg
}

struct Arguments {
    devices: Vec<Device>,
    size: Option<usize>,
    folder: PathBuf,
}

impl Arguments {
    fn read() -> Result<Arguments, Error> {
        let (mut devices, mut size) = (Vec::new(), None);
        let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--device" => {
                    for name in value.split(',') {
                        devices.push(Device::select(name)?);
                    }
                }
                "--size" => {
                    let n: usize =
                        value.parse().map_err(|_| format!("--size {value}: not a number"))?;
                    if !(1..=32768).contains(&n) {
                        return Err(format!("--size {value}: from 1 to 32768").into());
                    }
                    size = Some(n.next_multiple_of(MULTIPLE));
                }
                "--out" => folder = PathBuf::from(value),
                _ => {
                    return Err(format!(
                        "{name}: there are --device NAMES, --size N and --out FOLDER"
                    )
                    .into());
                }
            }
        }
        if devices.is_empty() {
            devices.push(Device::best()?);
        }
        Ok(Arguments { devices, size, folder })
    }
}
