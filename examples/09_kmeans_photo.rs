//! The colours of a photograph of galaxies: every member of a group sorts its part of the pixels by the
//! nearest of some colours, an all_reduce adds up what belongs together, and the colours move to
//! the middles. Prints the palette, and paints the photograph with it alone.
//!
//! `cargo run --release --example 09_kmeans_photo [-- --devices NAME,NAME,…]`
//!
//! Writes to `target/kmeans`. The palette must be the same, bit for bit, for one member, for all of them, and
//! in plain Rust: pixels are integers, whose sums are exact in any order, and distances are made of
//! `+ - *`, which all devices round alike.

#[path = "common/members.rs"]
mod members;

use clan::ndarray::{Axis, s};
use clan::{Device, DeviceArray, Group, IntoExpr, ReduceOp};
use image::{Rgb, RgbImage};
use std::path::PathBuf;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;
type Colour = [f32; 3];

const COLOURS: usize = 8;
/// One of so many rows, and of so many columns, is learned from.
const EVERY: isize = 8;
/// It ends when no colour moves by more than this many of 255 levels, or after so many moves.
const STILL: f32 = 1.0;
const MOST: usize = 50;

fn main() -> Result<(), Error> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let photo = image::open(root.join("examples/data/hubble_deep_field.jpg"))?.into_rgb8();
    let group = members::group()?;
    members::print(&group);

    let alone = Group::new([group.members()[0].clone()])?;
    let mut palettes = Vec::new();
    for (who, group) in
        [("member 0 alone", Some(&alone)), ("all", Some(&group)), ("plain Rust", None)]
    {
        let start = Instant::now();
        let (palette, moves) = match group {
            Some(group) => together(group, &photo)?,
            None => learn(spread(&photo), |colours| Ok(plain_sums(&photo, colours)))?,
        };
        println!("{who}: {moves} moves in {:.2} s", start.elapsed().as_secs_f64());
        palettes.push(palette);
    }
    if palettes.iter().any(|p| *p != palettes[0]) {
        return Err(format!("the palettes are not the same: {palettes:?}").into());
    }
    let palette = &palettes[0];

    let painted = paint(&group, &photo, palette)?;
    println!("the same palette:");
    for (k, colour) in palette.iter().enumerate() {
        let [r, g, b] = levels(colour);
        let share = painted.iter().filter(|&&p| usize::from(p) == k).count() as f64;
        let share = share / painted.len() as f64 * 100.0;
        println!("   #{r:02x}{g:02x}{b:02x} {share:5.1} % of the pixels");
    }
    // Pixel by pixel in plain Rust.
    let wanted = photo.pixels().map(|p| nearest(&p.0.map(f32::from), palette).0);
    let wrong = wanted.zip(&painted).filter(|&(want, &got)| want != usize::from(got)).count();
    if wrong > 0 || painted.len() != (photo.width() * photo.height()) as usize {
        return Err(format!("{wrong} pixels are not painted in the nearest colour").into());
    }

    let folder = root.join("target/kmeans");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("galaxies.png");
    draw(&photo, &painted, palette).save(&path)?;
    println!("{}", path.display());
    Ok(())
}

fn levels(colour: &Colour) -> [u8; 3] {
    colour.map(|v| v.round() as u8)
}

/// The photograph in its colours, and beneath it all of them.
fn draw(photo: &RgbImage, painted: &[u8], palette: &[Colour]) -> RgbImage {
    let (width, height) = photo.dimensions();
    RgbImage::from_fn(width, height + height / 10, |x, y| {
        let k = match painted.get((y * width + x) as usize) {
            Some(&k) => usize::from(k),
            None => x as usize * palette.len() / width as usize,
        };
        Rgb(levels(&palette[k]))
    })
}

/// Moves colours to the middles of the pixels that they are nearest to, again and again. `sums` has for each
/// colour how many those are, and their sums of red, green and blue. Returns the colours from dark to bright,
/// and how often they moved.
fn learn(
    mut colours: Vec<Colour>,
    sums: impl Fn(&[Colour]) -> clan::Result<Vec<u64>>,
) -> clan::Result<(Vec<Colour>, usize)> {
    let (mut moves, mut farthest) = (0, f32::INFINITY);
    while farthest > STILL && moves < MOST {
        (moves, farthest) = (moves + 1, 0.0);
        let sums = sums(&colours)?;
        for (colour, sums) in colours.iter_mut().zip(sums.chunks(4)) {
            // A colour that no pixel is nearest to stays where it is.
            for (old, &sum) in colour.iter_mut().zip(&sums[1..]).filter(|_| sums[0] > 0) {
                let middle = (sum as f64 / sums[0] as f64) as f32;
                farthest = farthest.max((middle - *old).abs());
                *old = middle;
            }
        }
    }
    colours.sort_by(|a, b| a.iter().sum::<f32>().total_cmp(&b.iter().sum()));
    Ok((colours, moves))
}

/// The palette as the members of a group find it.
fn together(group: &Group, photo: &RgbImage) -> clan::Result<(Vec<Colour>, usize)> {
    let samples = upload(&group.members()[0], photo)?.slice(s![..;EVERY, ..;EVERY, ..])?;
    // Every member gets a share of the rows, and keeps four numbers a pixel: 1, red, green and blue.
    let mut parts = Vec::new();
    for pixels in group.scatter(&samples, 0)?.wait()? {
        let (rows, columns) = (pixels.shape()[0], pixels.shape()[1]);
        let mut part = DeviceArray::ones(pixels.device(), (4, rows, columns))?;
        part.slice_mut(s![1.., .., ..])?.assign(pixels.permute(&[2, 0, 1])?)?;
        parts.push(part);
    }
    learn(spread(photo), |colours| {
        let sums: Vec<DeviceArray<u64>> =
            parts.iter().map(|part| sums(part, colours)).collect::<Result<_, _>>()?;
        // The only place where the members meet.
        group.all_reduce(&sums, ReduceOp::Sum)?.wait()?[0].to_vec()
    })
}

/// The pixels that are learned from.
fn samples(photo: &RgbImage) -> impl Iterator<Item = [u8; 3]> {
    let every = EVERY as usize;
    photo.rows().step_by(every).flat_map(move |row| row.step_by(every)).map(|p| p.0)
}

fn plain_sums(photo: &RgbImage, colours: &[Colour]) -> Vec<u64> {
    let mut sums = vec![0; 4 * COLOURS];
    for pixel in samples(photo) {
        let (k, _) = nearest(&pixel.map(f32::from), colours);
        sums[4 * k] += 1;
        for c in 0..3 {
            sums[4 * k + 1 + c] += u64::from(pixel[c]);
        }
    }
    sums
}

/// Colours to begin with: each is the pixel that is farthest from those before it.
fn spread(photo: &RgbImage) -> Vec<Colour> {
    let mut colours: Vec<Colour> = vec![[0.0; 3]];
    while colours.len() < COLOURS {
        let distance = |p: &Colour| nearest(p, &colours).1;
        let pixels = samples(photo).map(|p| p.map(f32::from));
        let far = pixels.max_by(|a, b| distance(a).total_cmp(&distance(b)));
        colours.extend(far);
    }
    colours
}

/// The position of the nearest colour and the square of its distance, in plain Rust.
fn nearest(pixel: &Colour, colours: &[Colour]) -> (usize, f32) {
    let square = |c: &Colour| {
        let [r, g, b] = [0, 1, 2].map(|k| (pixel[k] - c[k]) * (pixel[k] - c[k]));
        r + g + b
    };
    let all = colours.iter().map(square).enumerate();
    // The first of equals, as below.
    all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f32::INFINITY))
}

fn upload(device: &Device, photo: &RgbImage) -> clan::Result<DeviceArray<u8>> {
    let shape = (photo.height() as usize, photo.width() as usize, 3);
    DeviceArray::from_shape_slice(device, shape, photo.as_raw())
}

/// The same on a device, for all pixels at once: planes of red, green and blue in, positions out. One
/// pass over the pixels, whatever the colours are.
fn sort(planes: [DeviceArray<u8>; 3], colours: &[Colour]) -> clan::Result<DeviceArray<u8>> {
    let planes = planes.map(|plane| plane.cast::<f32>());
    let distance = |colour: &Colour| {
        let [r, g, b] = [0, 1, 2].map(|k| (&planes[k] - colour[k]).square());
        r + g + b
    };
    let mut least = distance(&colours[0]);
    let mut position = 0u8.into_expr();
    for (k, colour) in colours.iter().enumerate().skip(1) {
        let distance = distance(colour);
        position = distance.lt(&least).if_else(k as u8, position);
        least = least.minimum(distance);
    }
    position.eval()
}

/// The same as `plain_sums`, on a device: sums of 1, red, green and blue for each colour, 8 × 4.
fn sums(part: &DeviceArray<u8>, colours: &[Colour]) -> clan::Result<DeviceArray<u64>> {
    let plane = |k: usize| part.index_axis(Axis(0), k);
    let positions = sort([plane(1)?, plane(2)?, plane(3)?], colours)?;
    // 8 × 1 × 1 × 1 against rows × columns, and against 4 × rows × columns, without storing any of it.
    let colours = DeviceArray::arange(part.device(), 0, COLOURS as u8, 1)?;
    let belongs = positions.eq(&colours.reshape((COLOURS, 1, 1, 1))?);
    belongs.if_else(part, 0).over(&[Axis(2), Axis(3)]).sum()
}

/// The number of the nearest colour for every pixel of the photograph. Every member paints its rows.
fn paint(group: &Group, photo: &RgbImage, palette: &[Colour]) -> clan::Result<Vec<u8>> {
    let whole = upload(&group.members()[0], photo)?;
    let mut painted = Vec::new();
    for rows in group.scatter(&whole, 0)?.wait()? {
        let plane = |k: usize| rows.index_axis(Axis(2), k);
        painted.push(sort([plane(0)?, plane(1)?, plane(2)?], palette)?);
    }
    group.gather(&painted, 0)?.wait()?[0].to_vec()
}
