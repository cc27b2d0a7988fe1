//! The training of `04_digits`, shared out: every member of a group looks at its part of each batch, an
//! all_reduce adds up what they learned, and all of them take the same step.
//!
//! `cargo run --release --example 07_digits_data_parallel [-- --devices NAME,NAME,…]`
//!
//! In the end all members must have the same weights, bit for bit, and the weights must be those that one
//! device comes to alone. Sums of floats depend on their order, and so on the number of members. So two
//! things are done differently from `04_digits`:
//!
//! 1. A batch is cut into the same small blocks however many members there are. A block's slopes come
//!    from the same calls with arrays of the same shapes, so they are the same wherever that happens.
//! 2. The slopes of blocks are added as integers, in units of 2⁻⁴⁰, which is exact in any order. Rounding
//!    to the unit is done once a block, before anything is added.
//!
//! What is left is what unlike devices compute differently: the last bits of `exp` and `ln`, of which
//! OpenCL permits three, and the order of the sums in a matrix product. A group of unlike devices still
//! keeps one set of weights, which may be within `TOLERANCE` of those that one of them finds alone.

#[path = "common/digits.rs"]
mod digits;
#[path = "common/members.rs"]
mod members;

use clan::{DeviceArray, Expr, Group, ReduceOp};
use digits::{BATCH, Batch, Digits, Network};
use std::ops::Range;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

const EPOCHS: usize = 6;
/// Digits that are looked at together: as many members as a batch has of these can help.
const BLOCK: usize = 16;
/// How many of the integers make 1. Slopes are far below 2²³, where 64 bits would overflow.
const UNITS: f32 = (1u64 << 40) as f32;
/// The least share of digits to be read right.
const ENOUGH: f64 = 0.93;
/// How far weights may be apart a step of training. Slopes are at most about 1, and rounded to some 8 ε;
/// with momentum an error goes on to ten times the rate, 0.2, of itself.
const TOLERANCE: f32 = 2.0 * 8.0 * f32::EPSILON;

fn main() -> Result<(), Error> {
    let group = members::group()?;
    members::print(&group);
    let (training, held_out) = Digits::load()?;
    let alone = Group::new([group.members()[0].clone()])?;

    println!("member 0 alone:");
    let (one, right_alone) = train(&alone, &training, &held_out)?;
    println!("{} members together:", group.len());
    let (all, right) = train(&group, &training, &held_out)?;

    let weights = all.iter().map(values).collect::<Result<Vec<_>, _>>()?;
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    if let Some(m) = (1..group.len()).find(|&m| bits(&weights[m]) != bits(&weights[0])) {
        return Err(format!("members 0 and {m} have different weights").into());
    }
    println!("all members have the same {} weights", weights[0].len());

    let want = values(&one[0])?;
    let name = |m: usize| group.members()[m].to_string();
    if bits(&weights[0]) == bits(&want) {
        println!("bit for bit those that member 0 found alone");
    } else if (0..group.len()).all(|m| name(m) == name(0)) {
        return Err("like devices found other weights together than one of them alone".into());
    } else {
        let apart = weights[0].iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let steps = EPOCHS * training.learned() / BATCH;
        let permitted = steps as f32 * TOLERANCE;
        println!(
            "at most {apart:.1e} from those that member 0 found alone; unlike devices may be {permitted:.1e} apart"
        );
        if apart.is_nan() || apart > permitted {
            return Err("the weights are too far apart".into());
        }
    }
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    println!("read {} of the held-out digits, alone {}", percent(right), percent(right_alone));
    match right >= ENOUGH && right_alone >= ENOUGH {
        true => Ok(()),
        false => Err(format!("less than {}", percent(ENOUGH)).into()),
    }
}

/// Trains a copy of the same network on every member, and returns them with the share of held-out digits
/// that they read right.
fn train(
    group: &Group,
    training: &Digits,
    held_out: &Digits,
) -> Result<(Vec<Network>, f64), Error> {
    let devices = group.members();
    let mut networks =
        devices.iter().map(|device| Network::new(device, 1)).collect::<Result<Vec<_>, _>>()?;
    let mut right = 0.0;
    let start = Instant::now();
    for epoch in 0..EPOCHS {
        let order = networks[0].order(training);
        let batches = devices
            .iter()
            .map(|device| training.upload(device, order.iter().copied()))
            .collect::<Result<Vec<_>, _>>()?;
        for from in (0..order.len()).step_by(BATCH) {
            // Calls on OpenCL devices return before they are done, so devices work at the same time.
            let mut parts: [Vec<DeviceArray<i64>>; 4] = Default::default();
            for (m, network) in networks.iter().enumerate() {
                let sums = add_blocks(network, &batches[m], from, share(m, group.len()))?;
                parts.iter_mut().zip(sums).for_each(|(list, sum)| list.push(sum));
            }
            // Four small sums in one message.
            let calls = group.all_reduce_many(&parts, ReduceOp::Sum)?;
            for (m, network) in networks.iter_mut().enumerate() {
                let total = |k: usize| calls[k].results()[m].cast::<f32>() / UNITS;
                network.step(&[0, 1, 2, 3].map(total), digits::rate(epoch, EPOCHS))?;
            }
        }
        let questions = held_out.upload(&devices[0], 0..held_out.len())?.pixels;
        let answers = networks[0].read(&questions)?;
        let labels = held_out.labels.iter().map(|&l| u64::from(l));
        right = answers.iter().zip(labels).filter(|&(&a, l)| a == l).count() as f64
            / held_out.len() as f64;
        println!("   epoch {}: {:.1} % of the held-out digits right", epoch + 1, right * 100.0);
    }
    let learned = EPOCHS * training.learned();
    println!("   {:.0} digits a second", learned as f64 / start.elapsed().as_secs_f64());
    Ok((networks, right))
}

/// The blocks of a batch that a member looks at, as even as can be.
fn share(member: usize, members: usize) -> Range<usize> {
    let start = |m: usize| m * (BATCH / BLOCK) / members;
    start(member)..start(member + 1)
}

/// The slopes of some blocks, as integers, added up. The batch begins at digit `from`.
fn add_blocks(
    network: &Network,
    all: &Batch,
    from: usize,
    blocks: Range<usize>,
) -> clan::Result<[DeviceArray<i64>; 4]> {
    let mut sums = Vec::new();
    for block in blocks {
        let at = from + block * BLOCK;
        let slopes = network.slopes(&all.part(at, at + BLOCK)?, BATCH)?;
        for (k, slope) in slopes.iter().enumerate() {
            let units: Expr<i64> = (slope * UNITS).round().cast();
            match sums.get_mut(k) {
                None => sums.push(units.eval()?),
                Some(sum) => *sum += units,
            }
        }
    }
    // A member without a block adds nothing.
    for weights in &network.weights()[sums.len()..] {
        sums.push(DeviceArray::zeros(weights.device(), weights.shape())?);
    }
    Ok(sums.try_into().expect("four sums"))
}

/// All weights and biases.
fn values(network: &Network) -> clan::Result<Vec<f32>> {
    let all = network.weights().map(DeviceArray::to_vec);
    Ok(all.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}
