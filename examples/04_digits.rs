//! Learns to read hand-written digits: a network of two layers, trained with matrix products,
//! expressions and reductions, and asked about digits that it has not seen.
//!
//! `cargo run --release --example 04_digits [-- --device NAME] [--epochs N]`
//!
//! The network is in `examples/common/digits.rs`: read `Network::learn` there first. Its hundred lines
//! are the same on the host and on a GPU; only the `Device` differs.

#[path = "common/digits.rs"]
mod digits;

use clan::Device;
use digits::{CLASSES, Digits, HIDDEN, Network, PIXELS, SIDE};
use std::time::{Duration, Instant};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let (device, epochs) = arguments()?;
    let (training, held_out) = Digits::load()?;
    println!(
        "{device}: {PIXELS} pixels → {HIDDEN} neurons → {CLASSES} classes, {} digits to learn from, {} held out",
        training.len(),
        held_out.len()
    );

    let mut network = Network::new(&device, 1)?;
    let questions = held_out.upload(&device, 0..held_out.len())?.pixels;
    let mut took = Duration::ZERO;
    let mut learned = 0;
    for epoch in 0..epochs {
        let start = Instant::now();
        let loss = network.epoch(&training, digits::rate(epoch, epochs))?;
        // The only place of an epoch that waits for the device.
        let loss = loss.item()? / training.learned() as f32;
        // The first epoch also compiles the kernels, or reads them from the cache.
        if epoch > 0 {
            took += start.elapsed();
            learned += training.learned();
        }
        let right = share_right(&network.read(&questions)?, &held_out.labels);
        println!(
            "epoch {:2}: loss {loss:.4}, {:.1} % of the held-out digits right",
            epoch + 1,
            right * 100.0
        );
    }
    if learned > 0 {
        println!("{:.0} digits a second in training", learned as f64 / took.as_secs_f64());
    }

    let answers = network.read(&questions)?;
    let wrong: Vec<usize> =
        (0..answers.len()).filter(|&i| answers[i] != u64::from(held_out.labels[i])).collect();
    let right = share_right(&answers, &held_out.labels);
    println!("read {:.1} % of {} held-out digits", right * 100.0, held_out.len());
    for row in wrong.chunks(4).take(2) {
        println!();
        show(row, &answers, &held_out);
    }
    match right >= 0.95 {
        true => Ok(()),
        false => Err(format!("{:.1} % is less than 95 %", right * 100.0).into()),
    }
}

fn share_right(answers: &[u64], labels: &[u8]) -> f64 {
    let right = answers.iter().zip(labels).filter(|&(&a, &l)| a == u64::from(l)).count();
    right as f64 / labels.len() as f64
}

/// Some digits side by side, in the darkness of letters.
fn show(which: &[usize], answers: &[u64], digits: &Digits) {
    let titles: Vec<String> = which
        .iter()
        .map(|&i| format!("{:20}", format!("{} read as {}", digits.labels[i], answers[i])))
        .collect();
    println!("  {}", titles.concat().trim_end());
    for y in 0..SIDE {
        let mut line = String::new();
        for &i in which {
            for x in 0..SIDE {
                let ink = digits.pixels[i * PIXELS + y * SIDE + x];
                let letter = b" .:-=+*%#@"[(ink * 9.0).round() as usize] as char;
                line.extend([letter, letter]);
            }
            line.push_str("    ");
        }
        println!("  {}", line.trim_end());
    }
}

/// `--device NAME` and `--epochs N`.
fn arguments() -> Result<(Device, usize), Error> {
    let mut device = None;
    let mut epochs = 15;
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--device" => device = Some(Device::select(value.as_str())?),
            "--epochs" => {
                epochs = value.parse().map_err(|_| format!("--epochs {value}: not a number"))?;
            }
            _ => return Err(format!("{name}: there are --device NAME and --epochs N").into()),
        }
    }
    Ok((device.map_or_else(Device::best, Ok)?, epochs))
}
