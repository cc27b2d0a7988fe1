//! Rules over neighbourhoods, and filters along axes.

use super::data::{self, EPSILON, value};
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{Border, ConvMode, DType, DeviceArray, Stencil};

pub const FAMILY: Family =
    Family { name: "stencil", ops: &["heat_2d", "heat_3d", "separable_9x9", "conv1d_9"], run };

/// How much of the difference to its neighbours a point gains.
const DIFFUSION: f32 = 0.1;

/// Weights of a line.
const K: usize = 9;

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, side) = (bench.data, bench.data.side());
    let device = bench.device;
    let case = |op, shape: Vec<usize>, flops: usize| {
        let n = shape.iter().product::<usize>();
        Case { op, dtype: DType::F32, shape, bytes: 2 * 4 * n, flops: flops * n }
    };
    if bench.wants("heat_2d") {
        let text = "at(0, 0) + 0.1f * (at(-1, 0) + at(1, 0) + at(0, -1) + at(0, 1) - 4 * at(0, 0))";
        let rule = Stencil::<f32, 2>::new("heat", [1, 1], text, |at| {
            let here = at.get([0, 0]);
            let around = at.get([-1, 0]) + at.get([1, 0]) + at.get([0, -1]) + at.get([0, 1]);
            here + DIFFUSION * (around - 4.0 * here)
        });
        let x = &DeviceArray::from_shape_slice(device, (side, side), data.square())?;
        bench.case(
            case("heat_2d", vec![side, side], 7),
            || x.stencil(&rule, Border::Nearest),
            |got| Ok(heat(&got.to_vec()?, data.square(), [1, side, side])),
        );
    }
    if bench.wants("heat_3d") {
        let edge = (bench.data.n() as f64).cbrt() as usize;
        let cube = &data.x()[..edge * edge * edge];
        let text = "at(0, 0, 0) + 0.1f * (at(-1, 0, 0) + at(1, 0, 0) + at(0, -1, 0) + at(0, 1, 0) + at(0, 0, -1) + at(0, 0, 1) - 6 * at(0, 0, 0))";
        let rule = Stencil::<f32, 3>::new("heat", [1, 1, 1], text, |at| {
            let here = at.get([0, 0, 0]);
            let sides = at.get([0, 0, -1]) + at.get([0, 0, 1]);
            let around = at.get([-1, 0, 0]) + at.get([1, 0, 0]) + at.get([0, -1, 0]);
            here + DIFFUSION * (around + at.get([0, 1, 0]) + sides - 6.0 * here)
        });
        let x = &DeviceArray::from_shape_slice(device, (edge, edge, edge), cube)?;
        bench.case(
            case("heat_3d", vec![edge; 3], 9),
            || x.stencil(&rule, Border::Nearest),
            |got| Ok(heat(&got.to_vec()?, cube, [edge; 3])),
        );
    }
    let line: Vec<f32> = (0..K).map(|i| value(i, 6 << 40)).collect();
    let weights = &DeviceArray::from_slice(device, &line)?;
    // Weight and element of every product of a result, along one axis.
    let products = |at: usize, n: usize| {
        let place = move |j: usize| (at + j).checked_sub(K / 2).filter(|&i| i < n);
        line.iter().enumerate().filter_map(move |(j, &w)| Some((w, place(j)?)))
    };
    if bench.wants("separable_9x9") {
        let pixels = data.square();
        let x = &DeviceArray::from_shape_slice(device, (side, side), pixels)?;
        bench.case(
            case("separable_9x9", vec![side, side], 4 * K),
            || x.separable(&[weights, weights], Border::Zero),
            |got| {
                Ok(data::each(&got.to_vec()?, side * side, |at| {
                    let (mut sum, mut magnitude) = (0f64, 0f64);
                    for (v, i) in products(at / side, side) {
                        for (w, j) in products(at % side, side) {
                            let x = pixels[i * side + j];
                            let product = f64::from(v) * f64::from(w) * f64::from(x);
                            sum += product;
                            magnitude += product.abs();
                        }
                    }
                    (sum, 2.0 * K as f64 * EPSILON * magnitude)
                }))
            },
        );
    }
    if bench.wants("conv1d_9") {
        let (signal, n) = (data.x(), data.n());
        let x = &DeviceArray::from_slice(device, signal)?;
        bench.case(
            case("conv1d_9", vec![n], 2 * K),
            || x.conv1d(weights, ConvMode::Same),
            |got| {
                Ok(data::each(&got.to_vec()?, n, |at| {
                    let (mut sum, mut magnitude) = (0f64, 0f64);
                    for (w, i) in products(at, n) {
                        let product = f64::from(w) * f64::from(signal[i]);
                        sum += product;
                        magnitude += product.abs();
                    }
                    (sum, K as f64 * EPSILON * magnitude)
                }))
            },
        );
    }
    Ok(())
}

/// A step of heat on a solid, or on a plate of depth 1; neighbours outside are the nearest inside.
fn heat(got: &[f32], x: &[f32], [depth, height, width]: [usize; 3]) -> Result<(), String> {
    data::each(got, x.len(), |at| {
        let (z, y, column) = (at / width / height, at / width % height, at % width);
        let mut sum = 0f64;
        let mut add = |z: usize, y: usize, column: usize| {
            let (z, y, column) = (z.min(depth - 1), y.min(height - 1), column.min(width - 1));
            sum += f64::from(x[(z * height + y) * width + column]) - f64::from(x[at]);
        };
        // A plate has no neighbours above and below: they would be itself.
        add(z.saturating_sub(1), y, column);
        add(z + 1, y, column);
        add(z, y.saturating_sub(1), column);
        add(z, y + 1, column);
        add(z, y, column.saturating_sub(1));
        add(z, y, column + 1);
        // Values are at most 1 in magnitude.
        (f64::from(x[at]) + f64::from(DIFFUSION) * sum, 8.0 * EPSILON)
    })
}
