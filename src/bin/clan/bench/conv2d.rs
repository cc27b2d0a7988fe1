//! Filters of images.

use super::data::{self, EPSILON};
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{Border, DType, DeviceArray};

pub const FAMILY: Family = Family { name: "conv2d", ops: &["conv2d_5x5"], run };

/// Rows and columns of the filter.
const F: usize = 5;

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, side) = (bench.data, bench.data.side());
    let pixels = data.square();
    let image = &DeviceArray::from_shape_slice(bench.device, (side, side), pixels)?;
    let weights: Vec<f32> = (0..F * F).map(|i| data::value(i, 5)).collect();
    let filter = &DeviceArray::from_shape_slice(bench.device, (F, F), &weights)?;
    bench.case(
        Case {
            op: "conv2d_5x5",
            dtype: DType::F32,
            shape: vec![side, side],
            bytes: 2 * 4 * side * side,
            flops: 2 * F * F * side * side,
        },
        || image.conv2d(filter, Border::Zero),
        |got| {
            Ok(data::each(&got.to_vec()?, side * side, |at| {
                let (row, column) = (at / side, at % side);
                let (mut sum, mut magnitude) = (0f64, 0f64);
                for (k, &w) in weights.iter().enumerate() {
                    // Half a filter further down and right, so that nothing is negative.
                    let (i, j) = (row + k / F, column + k % F);
                    let half = F / 2;
                    if (half..side + half).contains(&i) && (half..side + half).contains(&j) {
                        let product =
                            f64::from(pixels[(i - half) * side + j - half]) * f64::from(w);
                        sum += product;
                        magnitude += product.abs();
                    }
                }
                // Each of the sums is rounded.
                (sum, (F * F) as f64 / 2.0 * EPSILON * magnitude)
            }))
        },
    );
    Ok(())
}
