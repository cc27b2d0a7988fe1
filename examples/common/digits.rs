//! Hand-written digits, and a network that learns to read them: what `examples/04_digits.rs`,
//! `examples/07_digits_data_parallel.rs` and the last workload of `clan bench` have in common.

#![allow(dead_code, reason = "not every program uses all of it")]

use clan::ndarray::{Axis, s};
use clan::{Device, DeviceArray, Expr, Result};

/// 1,797 digits of 8 × 8 grey levels side by side, and what their writers meant; see
/// `examples/data/README.md`.
const PICTURE: &[u8] = include_bytes!("../data/digits.png");
const LABELS: &str = include_str!("../data/digits.txt");
/// Digits in a row of the picture.
const COLUMNS: usize = 60;

pub const SIDE: usize = 8;
pub const PIXELS: usize = SIDE * SIDE;
pub const CLASSES: usize = 10;
/// Neurons of the hidden layer.
pub const HIDDEN: usize = 64;

/// Digits that are learned from together.
pub const BATCH: usize = 64;
/// How much of the step before a step repeats.
const MOMENTUM: f32 = 0.9;

/// How far steps go: less far from epoch to epoch (they count from 0), so that the last ones settle.
pub fn rate(epoch: usize, epochs: usize) -> f32 {
    0.2 * (1.0 - epoch as f32 / epochs as f32)
}

/// Digits in the program's memory.
pub struct Digits {
    /// A row of `PIXELS` for each digit: 0 where the paper is bare, 1 where the ink is darkest.
    pub pixels: Vec<f32>,
    pub labels: Vec<u8>,
}

impl Digits {
    /// The digits to learn from, and every fifth one held out to be asked about later.
    pub fn load() -> image::ImageResult<(Digits, Digits)> {
        let picture = image::load_from_memory(PICTURE)?.into_luma8();
        let mut parts = [(); 2].map(|()| Digits { pixels: Vec::new(), labels: Vec::new() });
        for (i, label) in LABELS.bytes().filter(u8::is_ascii_digit).enumerate() {
            let part = &mut parts[usize::from(i % 5 == 4)];
            let (top, left) = (i / COLUMNS * SIDE, i % COLUMNS * SIDE);
            part.pixels.extend((0..PIXELS).map(|p| {
                let at = ((left + p % SIDE) as u32, (top + p / SIDE) as u32);
                f32::from(picture.get_pixel(at.0, at.1).0[0]) / 255.0
            }));
            part.labels.push(label - b'0');
        }
        let [training, held_out] = parts;
        Ok((training, held_out))
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// How many of them an epoch learns from: whole batches.
    pub fn learned(&self) -> usize {
        self.len() / BATCH * BATCH
    }

    /// The digits on a device, in the given order.
    pub fn upload(
        &self,
        device: &Device,
        order: impl Iterator<Item = usize> + Clone,
    ) -> Result<Batch> {
        let rows = order.clone().map(|i| &self.pixels[i * PIXELS..][..PIXELS]);
        let pixels: Vec<f32> = rows.flatten().copied().collect();
        let labels: Vec<u8> = order.map(|i| self.labels[i]).collect();
        Ok(Batch {
            pixels: DeviceArray::from_shape_slice(device, (labels.len(), PIXELS), &pixels)?,
            labels: DeviceArray::from_shape_slice(device, (labels.len(), 1), &labels)?,
        })
    }
}

/// Digits on a device.
pub struct Batch {
    /// n × `PIXELS`.
    pub pixels: DeviceArray<f32>,
    /// n × 1.
    pub labels: DeviceArray<u8>,
}

impl Batch {
    /// A part of the digits. Views: nothing is copied.
    pub fn part(&self, from: usize, to: usize) -> Result<Batch> {
        Ok(Batch {
            pixels: self.pixels.slice(s![from..to, ..])?,
            labels: self.labels.slice(s![from..to, ..])?,
        })
    }
}

/// Weights, biases, and the last step of each.
struct Layer {
    w: DeviceArray<f32>,
    b: DeviceArray<f32>,
    w_step: DeviceArray<f32>,
    b_step: DeviceArray<f32>,
}

impl Layer {
    /// Small weights at random: of inputs to outputs, neither fading nor growing on the way.
    fn new(device: &Device, random: &mut Random, inputs: usize, outputs: usize) -> Result<Layer> {
        let reach = (6.0 / inputs as f32).sqrt();
        let w: Vec<f32> = (0..inputs * outputs).map(|_| random.within(reach)).collect();
        Ok(Layer {
            w: DeviceArray::from_shape_slice(device, (inputs, outputs), &w)?,
            b: DeviceArray::zeros(device, outputs)?,
            w_step: DeviceArray::zeros(device, (inputs, outputs))?,
            b_step: DeviceArray::zeros(device, outputs)?,
        })
    }

    /// Goes down the slope of the loss. `x` is what the layer was given, and `slope` how the loss
    /// changes with each number that it returned.
    fn learn(&mut self, x: &DeviceArray<f32>, slope: &DeviceArray<f32>, rate: f32) -> Result<()> {
        // A product can add a multiple of another matrix on the way: here the step before. `x.t()`
        // is a view.
        self.w_step = x.t().product(slope).add(MOMENTUM, &self.w_step).eval()?;
        self.b_step = (slope.sum_axis(Axis(0))? + &self.b_step * MOMENTUM).eval()?;
        self.step(rate);
        Ok(())
    }

    fn step(&mut self, rate: f32) {
        // Operators that assign return nothing: an error would come with the next use of `w`.
        self.w -= &self.w_step * rate;
        self.b -= &self.b_step * rate;
    }
}

/// Pixels → `HIDDEN` neurons → a score for each of the ten classes.
pub struct Network {
    hidden: Layer,
    output: Layer,
    classes: DeviceArray<u8>,
    random: Random,
}

impl Network {
    /// A network that knows nothing yet; the same one for the same seed.
    pub fn new(device: &Device, seed: u64) -> Result<Network> {
        let mut random = Random(seed);
        Ok(Network {
            hidden: Layer::new(device, &mut random, PIXELS, HIDDEN)?,
            output: Layer::new(device, &mut random, HIDDEN, CLASSES)?,
            classes: DeviceArray::arange(device, 0, CLASSES as u8, 1)?,
            random,
        })
    }

    /// The hidden layer's numbers, and the scores.
    fn forward(&self, x: &DeviceArray<f32>) -> Result<(DeviceArray<f32>, DeviceArray<f32>)> {
        let Network { hidden, output, .. } = self;
        // Product, bias and max(0, ·) in one kernel: each element is finished before it is stored.
        let h = x.product(&hidden.w).add(1.0, &hidden.b).map(|p| p.maximum(0.0)).eval()?;
        let scores = h.product(&output.w).add(1.0, &output.b).eval()?;
        Ok((h, scores))
    }

    /// Learns from one batch, and returns its loss: the sum of −ln(p) over its digits, where p is
    /// what the network would have bet on the right answer.
    fn learn(&mut self, batch: &Batch, rate: f32) -> Result<DeviceArray<f32>> {
        let Backward { h, loss, slope, behind } = self.backward(batch, batch.pixels.shape()[0])?;
        self.output.learn(&h, &slope, rate)?;
        self.hidden.learn(&batch.pixels, &behind, rate)?;
        Ok(loss)
    }

    /// Looks at digits, which are learned from together with others, `n` in all.
    fn backward(&self, batch: &Batch, n: usize) -> Result<Backward> {
        let (h, scores) = self.forward(&batch.pixels)?;

        // ln(p) of each class, from the scores: z − max − ln Σ exp(z − max). What stands between two
        // reductions is an expression, computed where it is read and never stored.
        let z = &scores - scores.over(&[Axis(1)]).keepdims().max()?;
        let total = z.exp().over(&[Axis(1)]).keepdims().sum()?;
        let ln_p = (z - total.ln()).eval()?;

        // 1 in the column of the right answer: (n × 1) against (10) broadcasts to n × 10.
        let right: Expr<f32> = batch.labels.eq(&self.classes).cast();
        let loss = (-(&ln_p * &right)).sum()?;

        // How the loss changes with each score, and, back through the weights, with each number of
        // the hidden layer; those that max(0, ·) held at 0 had no part in it.
        let slope = ((ln_p.exp() - right) / n as f32).eval()?;
        let behind = slope.product(&self.output.w.t()).map(|g| h.gt(0.0).if_else(g, 0.0)).eval()?;
        Ok(Backward { h, loss, slope, behind })
    }

    /// Learns from every digit once, in a new order, but for a few at its end that fill no batch.
    /// Returns the sum of their losses, still on the device: nothing has waited yet.
    pub fn epoch(&mut self, digits: &Digits, rate: f32) -> Result<DeviceArray<f32>> {
        let order = self.order(digits);
        let device = self.classes.device().clone();
        let all = digits.upload(&device, order.into_iter())?;
        let mut loss = DeviceArray::zeros(&device, ())?;
        for from in (0..digits.learned()).step_by(BATCH) {
            loss += self.learn(&all.part(from, from + BATCH)?, rate)?;
        }
        Ok(loss)
    }

    /// The digits of an epoch, whole batches in a new order.
    pub fn order(&mut self, digits: &Digits) -> Vec<usize> {
        let mut order: Vec<usize> = (0..digits.len()).collect();
        self.random.shuffle(&mut order);
        order.truncate(digits.learned());
        order
    }

    /// What the network takes each digit for.
    pub fn read(&self, x: &DeviceArray<f32>) -> Result<Vec<u64>> {
        let (_, scores) = self.forward(x)?;
        scores.argmax_axis(Axis(1))?.to_vec()
    }
}

/// What a look at some digits tells about the network.
struct Backward {
    /// The hidden layer's numbers.
    h: DeviceArray<f32>,
    loss: DeviceArray<f32>,
    /// How the loss changes with each score,
    slope: DeviceArray<f32>,
    /// and with each number of the hidden layer.
    behind: DeviceArray<f32>,
}

/// Looking and learning apart, for networks that learn together.
impl Network {
    /// How the loss changes with the weights and biases of the output layer and the hidden layer, as far as
    /// it is due to these digits of `n` that are learned from together.
    pub fn slopes(&self, batch: &Batch, n: usize) -> Result<[DeviceArray<f32>; 4]> {
        let Backward { h, slope, behind, .. } = self.backward(batch, n)?;
        Ok([
            h.t().product(&slope).eval()?,
            slope.sum_axis(Axis(0))?,
            batch.pixels.t().product(&behind).eval()?,
            behind.sum_axis(Axis(0))?,
        ])
    }

    /// Goes down those slopes, as learning does.
    pub fn step(&mut self, slopes: &[Expr<f32>; 4], rate: f32) -> Result<()> {
        let Network { output: o, hidden: h, .. } = self;
        let steps = [&mut o.w_step, &mut o.b_step, &mut h.w_step, &mut h.b_step];
        for (step, slope) in steps.into_iter().zip(slopes) {
            *step = (slope + &*step * MOMENTUM).eval()?;
        }
        o.step(rate);
        h.step(rate);
        Ok(())
    }

    /// The weights and biases, in the same order.
    pub fn weights(&self) -> [&DeviceArray<f32>; 4] {
        [&self.output.w, &self.output.b, &self.hidden.w, &self.hidden.b]
    }
}

/// Numbers that look random and are the same in every run (`splitmix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between −reach and reach.
    fn within(&mut self, reach: f32) -> f32 {
        ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0) * reach
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}
