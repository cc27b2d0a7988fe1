//! A real workload: a small network learns to read hand-written digits, and is then asked about some
//! that it has not seen. Its training is that of the example `04_digits`.

#[path = "../../../../examples/common/digits.rs"]
mod network;

use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, Device, Result};
use network::{CLASSES, Digits, HIDDEN, Network, PIXELS};
use std::cell::OnceCell;
use std::time::Instant;

pub const FAMILY: Family = Family { name: "digits", ops: &["digits"], run };

const EPOCHS: usize = 15;
/// The worst of twelve seeds reached 96.4 %.
const ENOUGH: f64 = 0.95;

/// What came of the training.
struct Trained {
    /// Seconds an epoch takes.
    median: f64,
    right: usize,
}

fn run(bench: &mut Bench<'_>) -> std::result::Result<(), Failure> {
    let (training, held_out) =
        Digits::load().map_err(|e| Failure::Failed(format!("the digits: {e}")))?;
    let (device, asked) = (bench.device, held_out.len());
    let learned = training.learned();
    // Forward a product a layer, back one a layer to the weights, and one to the hidden layer.
    let flops = learned * 2 * (2 * PIXELS * HIDDEN + 3 * HIDDEN * CLASSES);
    let trained = OnceCell::new();
    bench.timed(
        Case {
            op: "digits",
            dtype: DType::F32,
            shape: vec![learned, PIXELS],
            bytes: learned * (PIXELS * size_of::<f32>() + 1),
            flops,
        },
        || {
            let done = train(device, &training, &held_out)?;
            let right = trained.get_or_init(|| done).right;
            Ok(match right as f64 >= ENOUGH * asked as f64 {
                true => Ok(()),
                false => Err(format!("{right} of {asked} held-out digits are right")),
            })
        },
        || Ok(trained.get().map_or(f64::NAN, |t: &Trained| t.median)),
    );
    if let Some(Trained { median, right }) = trained.get() {
        bench.remark(format!(
            "{:.0} digits a second in training, {:.1} % of {asked} held-out digits right",
            learned as f64 / median,
            100.0 * *right as f64 / asked as f64
        ));
    }
    Ok(())
}

fn train(device: &Device, training: &Digits, held_out: &Digits) -> Result<Trained> {
    let mut network = Network::new(device, 1)?;
    let mut times = Vec::new();
    for epoch in 0..EPOCHS {
        let start = Instant::now();
        network.epoch(training, network::rate(epoch, EPOCHS))?.item()?;
        // The first one compiles.
        if epoch > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    let answers = network.read(&held_out.upload(device, 0..held_out.len())?.pixels)?;
    let right = answers.iter().zip(&held_out.labels).filter(|&(&a, &l)| a == u64::from(l)).count();
    Ok(Trained { median: times[times.len() / 2], right })
}
