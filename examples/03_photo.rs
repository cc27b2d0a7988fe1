//! A photograph in, two pictures out, on each device: sharpened by an unsharp mask, and its edges
//! by Sobel's filters. The pictures of all devices are compared.
//!
//! `cargo run --release --example 03_photo [PHOTO [FOLDER]]`
//!
//! Without arguments it takes `examples/data/astronaut.png` and writes to `target/photo`.

use clan::ndarray::Axis;
use clan::{Border, Device, DeviceArray, Expr};
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let input = args.next().unwrap_or_else(|| root.join("examples/data/astronaut.png"));
    let folder = args.next().unwrap_or_else(|| root.join("target/photo"));
    std::fs::create_dir_all(&folder)?;

    let photo = image::open(&input)?.into_rgb8();
    let (width, height) = photo.dimensions();
    println!("{}: {width} × {height} pixels", input.display());

    let mut first: Option<(Device, Pictures)> = None;
    for device in Device::all() {
        let shape = (height as usize, width as usize, 3);
        // The first run also compiles the kernels, or reads them from the cache.
        process(&device, shape, photo.as_raw())?;
        let start = Instant::now();
        let pictures = process(&device, shape, photo.as_raw())?;
        let time = start.elapsed().as_secs_f64() * 1e3;

        let path = |what: &str| folder.join(format!("{what}-{}.png", device.index()));
        let (sharp, edges) = (path("sharp"), path("edges"));
        image::save_buffer(&sharp, &pictures.sharp, width, height, image::ColorType::Rgb8)?;
        image::save_buffer(&edges, &pictures.edges, width, height, image::ColorType::L8)?;
        println!("{device}: {time:.2} ms");
        println!("   {}\n   {}", sharp.display(), edges.display());

        match &first {
            None => first = Some((device, pictures)),
            Some((other, theirs)) => {
                let apart = largest_difference(&pictures.sharp, &theirs.sharp)
                    .max(largest_difference(&pictures.edges, &theirs.edges));
                println!("   at most {apart} of 255 levels from {other}");
                // A value halfway between two levels may be rounded to either.
                if apart > 1 {
                    return Err(format!("{device} and {other} disagree").into());
                }
            }
        }
    }
    Ok(())
}

struct Pictures {
    /// Red, green, blue, red, …
    sharp: Vec<u8>,
    /// Brightness.
    edges: Vec<u8>,
}

fn process(device: &Device, shape: (usize, usize, usize), pixels: &[u8]) -> clan::Result<Pictures> {
    // Three planes of numbers from 0 to 1: the axes are moved by a view, and the conversion is a
    // part of the pass that writes the planes.
    let pixels = DeviceArray::from_shape_slice(device, shape, pixels)?;
    let x = (pixels.permute(&[2, 0, 1])?.cast::<f32>() / 255.0).eval()?;

    // Sharpen: add the difference to a blurred copy. The filter goes over all three planes.
    let binomial = [1.0f32, 4.0, 6.0, 4.0, 1.0].map(|v| v / 16.0);
    let row = DeviceArray::from_shape_slice(device, (1, 5), &binomial)?;
    let gaussian = (row.t() * &row).eval()?;
    let blurred = x.conv2d(&gaussian, Border::Nearest)?;
    let sharp = levels(&x + (&x - blurred) * 1.5).eval()?;

    // Edges: how fast the brightness changes across and down.
    let weights = DeviceArray::from_shape_slice(device, (3, 1, 1), &[0.299f32, 0.587, 0.114])?;
    let luma = (&x * weights).sum_axis(Axis(0))?;
    let sobel = [-1.0f32, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
    let across = DeviceArray::from_shape_slice(device, (3, 3), &sobel)?;
    let gx = luma.conv2d(&across, Border::Nearest)?;
    let gy = luma.conv2d(&across.t(), Border::Nearest)?;
    let edges = levels((gx.square() + gy.square()).sqrt()).eval()?;

    Ok(Pictures { sharp: sharp.permute(&[1, 2, 0])?.to_vec()?, edges: edges.to_vec()? })
}

/// Numbers from 0 to 1 as levels from 0 to 255.
fn levels(x: Expr<f32>) -> Expr<u8> {
    (x.clamp(0.0, 1.0) * 255.0).round().cast()
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}
