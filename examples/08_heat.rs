//! Heat spreads over a plate that is split over several members: each computes its rows, and gets the
//! rows at its edges from its neighbours before every step. The result is compared with that of one
//! device alone, and pictures of the plate are written.
//!
//! `cargo run --release --example 08_heat -- [--members host,host,…] [--size N] [--steps N] [FOLDER]`
//!
//! Members are named as in `Device::select`; without the option they are all OpenCL devices, or two
//! halves of the host where there are none. Pictures go to `target/heat`.

use clan::ndarray::{Array2, ArrayD, Axis, Slice, s};
use clan::{Boundary, Device, DeviceArray, Expr, Group, ShardedArray};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How much of the difference to its neighbours a point gains in a step: below ¼, or it oscillates.
const DIFFUSION: f32 = 0.2;

/// Pictures of a run.
const FRAMES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse()?;
    let Options { size, steps, .. } = options;
    let group = Group::new(options.members)?;
    std::fs::create_dir_all(&options.folder)?;

    // Rows follow the measured speed of the members.
    let group = group.balanced()?;
    let start = plate(size);
    let mut heat = group.shard_ndarray(&start, Axis(0))?;
    println!("a plate of {size} × {size} points, {steps} steps");
    for (member, rows) in group.members().iter().zip(heat.ranges()) {
        println!("   rows {:>5} to {:>5}: {member}", rows.start, rows.end);
    }

    // Once to compile the kernels, or to read them from the cache.
    step(&heat)?;
    let clock = Instant::now();
    let mut drawing = 0.0;
    for done in 0..=steps {
        if done * (FRAMES - 1) % steps < FRAMES - 1 {
            // Waits for the members, which counts; what follows does not.
            let plate = heat.to_ndarray()?;
            let begin = Instant::now();
            draw(&options.folder.join(format!("{:02}.png", done * (FRAMES - 1) / steps)), &plate)?;
            drawing += begin.elapsed().as_secs_f64();
        }
        if done < steps {
            heat = step(&heat)?;
        }
    }
    group.barrier()?;
    let seconds = clock.elapsed().as_secs_f64() - drawing;
    let updates = (size * size * steps) as f64 / seconds / 1e6;
    println!("{seconds:.2} s, {updates:.0} million points a second");
    println!("pictures: {}", options.folder.display());

    // The mean stays: nothing leaves a plate whose edges mirror.
    let mean = heat.mean()?.item()?;
    println!("mean temperature {mean:.4}, in the beginning {:.4}", start.mean().unwrap_or(0.0));

    let alone = alone(&group.members()[0], &start, steps)?;
    let apart = heat.to_ndarray()? - alone.to_ndarray()?;
    let apart = apart.iter().fold(0.0f32, |most, d| most.max(d.abs()));
    println!("at most {apart:e} from {} alone", group.members()[0]);
    // Every element is computed by the same operations in the same order, in f32.
    if apart > 1e-5 {
        return Err("the members disagree with one device".into());
    }
    Ok(())
}

/// One step over the parts, each with a row of its neighbours at both ends.
fn step(heat: &ShardedArray<f32>) -> clan::Result<ShardedArray<f32>> {
    heat.with_halo(1, Boundary::Nearest)?.map(|rows| spread(rows)?.eval())
}

/// The same on one device: the array gets its border itself.
fn alone(device: &Device, start: &Array2<f32>, steps: usize) -> clan::Result<DeviceArray<f32>> {
    let mut heat = DeviceArray::from_ndarray(device, start)?;
    let n = start.nrows();
    for _ in 0..steps {
        let mut rows = DeviceArray::zeros(device, (n + 2, n))?;
        rows.slice_mut(s![1..n + 1, ..])?.assign(&heat)?;
        rows.slice_mut(s![0, ..])?.assign(heat.index_axis(Axis(0), 0)?)?;
        rows.slice_mut(s![n + 1, ..])?.assign(heat.index_axis(Axis(0), n - 1)?)?;
        heat = spread(&rows)?.eval()?;
    }
    Ok(heat)
}

/// What becomes of all rows but the first and the last.
fn spread(rows: &DeviceArray<f32>) -> clan::Result<Expr<f32>> {
    let (height, width) = (rows.shape()[0], rows.shape()[1]);
    let middle = rows.slice(s![1..height - 1, ..])?;
    let (above, below) = (rows.slice(s![..height - 2, ..])?, rows.slice(s![2.., ..])?);
    // Columns next to the edge have themselves for a neighbour.
    let mut left = middle.clone();
    left.slice_mut(s![.., 1..])?.assign(middle.slice(s![.., ..width - 1])?)?;
    let mut right = middle.clone();
    right.slice_mut(s![.., ..width - 1])?.assign(middle.slice(s![.., 1..])?)?;
    let around = (&above + &below) + (&left + &right);
    Ok(&middle + (around - &middle * 4.0) * DIFFUSION)
}

/// Cold, with a hot disc and a hot corner.
fn plate(size: usize) -> Array2<f32> {
    let n = size as f32;
    Array2::from_shape_fn((size, size), |(y, x)| {
        let (y, x) = (y as f32 / n, x as f32 / n);
        let disc = (y - 0.45).hypot(x - 0.55) < 0.2;
        if disc || (y > 0.8 && x < 0.3) { 1.0 } else { 0.0 }
    })
}

/// Black, red, yellow, white.
fn draw(path: &Path, plate: &ArrayD<f32>) -> Result<(), Box<dyn std::error::Error>> {
    // At most 512 points a side.
    let every = plate.shape()[0].div_ceil(512) as isize;
    let few = plate.slice_axis(Axis(0), Slice::new(0, None, every));
    let few = few.slice_axis(Axis(1), Slice::new(0, None, every));
    let level = |v: f32| (v.clamp(0.0, 1.0) * 255.0) as u8;
    let pixels: Vec<u8> = few
        .iter()
        .flat_map(|&v| [level(v * 3.0), level(v * 3.0 - 1.0), level(v * 3.0 - 2.0)])
        .collect();
    let (height, width) = (few.shape()[0] as u32, few.shape()[1] as u32);
    image::save_buffer(path, &pixels, width, height, image::ColorType::Rgb8)?;
    Ok(())
}

struct Options {
    members: Vec<Device>,
    size: usize,
    steps: usize,
    folder: PathBuf,
}

impl Options {
    fn parse() -> Result<Options, Box<dyn std::error::Error>> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let (mut members, mut size, mut steps) = (Vec::new(), 256, 100);
        let mut folder = root.join("target/heat");
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--members" => {
                    let names = value()?;
                    members = names.split(',').map(Device::select).collect::<Result<_, _>>()?;
                }
                "--size" => size = value()?.parse()?,
                "--steps" => steps = value()?.parse()?,
                other if other.starts_with('-') => return Err(format!("no option {other}").into()),
                other => folder = PathBuf::from(other),
            }
        }
        if size < 2 || steps < FRAMES {
            return Err(format!("--size is at least 2, --steps at least {FRAMES}").into());
        }
        if members.is_empty() {
            members = Device::all().into_iter().filter(|d| !d.is_host()).collect();
        }
        if members.is_empty() {
            members = vec![Device::host(); 2];
        }
        Ok(Options { members, size, steps, folder })
    }
}
