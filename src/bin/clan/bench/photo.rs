//! A real workload: a photograph is sharpened, and its edges are found; from the pixels in the
//! program's memory to the new pixels there.

use super::data;
use super::timing;
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::ndarray::Axis;
use clan::{Border, DType, Device, DeviceArray, Expr, Result};

pub const FAMILY: Family = Family { name: "photo", ops: &["unsharp_mask", "edges"], run };

/// See `examples/data/README.md`.
const PHOTO: &[u8] = include_bytes!("../../../../examples/data/astronaut.png");

/// A Gaussian of σ = 1 along one axis, from a row of Pascal's triangle.
const BINOMIAL: [f32; 5] = [1.0 / 16.0, 4.0 / 16.0, 6.0 / 16.0, 4.0 / 16.0, 1.0 / 16.0];
/// How much of the difference to the blurred photograph is added.
const AMOUNT: f32 = 1.5;
/// Sobel's filter for changes along a row.
const SOBEL: [f32; 9] = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
/// What the eye makes of red, green and blue (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Interleaved red, green and blue.
struct Photo {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

fn run(bench: &mut Bench<'_>) -> std::result::Result<(), Failure> {
    let image = image::load_from_memory(PHOTO)
        .map_err(|e| Failure::Failed(format!("the photograph: {e}")))?
        .into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let photo = &Photo { height, width, pixels: image.into_raw() };
    let device = bench.device;
    let n = height * width;
    let gaussian: Vec<f32> = (0..25).map(|k| BINOMIAL[k / 5] * BINOMIAL[k % 5]).collect();
    let gaussian = &DeviceArray::from_shape_slice(device, (5, 5), &gaussian)?;
    let across = &DeviceArray::from_shape_slice(device, (3, 3), &SOBEL)?;
    let down = &across.t().to_contiguous()?;

    let sharp = || unsharp_mask(device, photo, gaussian);
    let edge = || edges(device, photo, across, down);
    let mut case = |op,
                    out_channels: usize,
                    flops,
                    run: &dyn Fn() -> Result<Vec<u8>>,
                    want: fn(&Photo) -> Vec<u8>| {
        if !bench.wants(op) {
            return;
        }
        let got = run();
        let elsewhere = match &got {
            Ok(picture) => bench.as_elsewhere(op, picture),
            Err(_) => Ok(()),
        };
        bench.timed(
            Case {
                op,
                dtype: DType::U8,
                shape: vec![height, width, 3],
                bytes: (3 + out_channels) * n,
                flops,
            },
            || Ok(data::within_a_level(&got?, &want(photo)).and(elsewhere)),
            || timing::median(device, || run().map(drop)),
        );
    };
    // Scaling, the filter, and four operations to mix.
    case("unsharp_mask", 3, 3 * n * (1 + 50 + 4), &sharp, naive_unsharp_mask);
    // Scaling, brightness, two filters and the length of a vector.
    case("edges", 1, n * (3 + 5 + 2 * 18 + 4), &edge, naive_edges);
    Ok(())
}

/// The photograph on the device, as three planes of numbers from 0 to 1. Not computed yet: what
/// reads it converts the pixels on the way.
fn planes(device: &Device, photo: &Photo) -> Result<Expr<f32>> {
    let shape = (photo.height, photo.width, 3);
    let pixels = DeviceArray::from_shape_slice(device, shape, &photo.pixels)?;
    Ok(pixels.permute(&[2, 0, 1])?.cast::<f32>() * (1.0 / 255.0))
}

fn levels(x: Expr<f32>) -> Expr<u8> {
    (x.clamp(0.0, 1.0) * 255.0).round().cast()
}

fn unsharp_mask(device: &Device, photo: &Photo, gaussian: &DeviceArray<f32>) -> Result<Vec<u8>> {
    let x = planes(device, photo)?.eval()?;
    let blurred = x.conv2d(gaussian, Border::Nearest)?;
    let sharp = levels(&x + (&x - blurred) * AMOUNT).eval()?;
    sharp.permute(&[1, 2, 0])?.to_vec()
}

fn edges(
    device: &Device,
    photo: &Photo,
    across: &DeviceArray<f32>,
    down: &DeviceArray<f32>,
) -> Result<Vec<u8>> {
    let weights = DeviceArray::from_shape_slice(device, (3, 1, 1), &LUMA)?;
    let luma = (planes(device, photo)? * weights).sum_axis(Axis(0))?;
    let (gx, gy) = (luma.conv2d(across, Border::Nearest)?, luma.conv2d(down, Border::Nearest)?);
    levels((gx.square() + gy.square()).sqrt()).eval()?.to_vec()
}

impl Photo {
    /// A channel of the pixel nearest to a position that may lie outside.
    fn at(&self, row: isize, column: isize, channel: usize) -> f64 {
        let row = row.clamp(0, self.height as isize - 1) as usize;
        let column = column.clamp(0, self.width as isize - 1) as usize;
        f64::from(self.pixels[(row * self.width + column) * 3 + channel]) / 255.0
    }

    fn positions(&self) -> impl Iterator<Item = (isize, isize)> {
        let (height, width) = (self.height as isize, self.width as isize);
        (0..height).flat_map(move |i| (0..width).map(move |j| (i, j)))
    }
}

fn level(x: f64) -> u8 {
    (x.clamp(0.0, 1.0) * 255.0).round() as u8
}

fn naive_unsharp_mask(photo: &Photo) -> Vec<u8> {
    let mut out = Vec::with_capacity(photo.pixels.len());
    for (i, j) in photo.positions() {
        for channel in 0..3 {
            let mut blurred = 0.0;
            for (di, a) in (-2..).zip(BINOMIAL) {
                for (dj, b) in (-2..).zip(BINOMIAL) {
                    blurred += f64::from(a) * f64::from(b) * photo.at(i + di, j + dj, channel);
                }
            }
            let x = photo.at(i, j, channel);
            out.push(level(x + f64::from(AMOUNT) * (x - blurred)));
        }
    }
    out
}

fn naive_edges(photo: &Photo) -> Vec<u8> {
    let luma = |i, j| -> f64 {
        LUMA.iter().enumerate().map(|(c, &w)| f64::from(w) * photo.at(i, j, c)).sum()
    };
    let edge = |(i, j)| {
        let (mut gx, mut gy) = (0.0, 0.0);
        for (k, &w) in SOBEL.iter().enumerate() {
            let (a, b) = (k as isize / 3 - 1, k as isize % 3 - 1);
            gx += f64::from(w) * luma(i + a, j + b);
            gy += f64::from(w) * luma(i + b, j + a);
        }
        level((gx * gx + gy * gy).sqrt())
    };
    photo.positions().map(edge).collect()
}
