//! Element-wise expressions, each one pass over memory.

use super::data::{self, EPSILON};
use super::{Bench, Case, Family};
use crate::output::Failure;
use clan::{DType, DeviceArray};

pub const FAMILY: Family =
    Family { name: "map", ops: &["a*x+y", "sqrt(abs(2x+y))", "(x-y)*(x+y)/2"], run };

fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (data, n) = (bench.data, bench.data.n());
    let (xs, ys) = (data.x(), data.y());
    let x = &DeviceArray::from_slice(bench.device, xs)?;
    let y = &DeviceArray::from_slice(bench.device, ys)?;
    let at = |i: usize| (f64::from(xs[i]), f64::from(ys[i]));
    // Two arrays are read and one is written.
    let case = |op, nodes: usize| Case {
        op,
        dtype: DType::F32,
        shape: vec![n],
        bytes: 3 * 4 * n,
        flops: nodes * n,
    };
    let a = 1.5f32;
    bench.case(
        case("a*x+y", 2),
        || (x * a + y).eval(),
        |out| {
            Ok(data::each(&out.to_vec()?, n, |i| {
                let (x, y) = at(i);
                (1.5 * x + y, EPSILON * (1.5 * x.abs() + y.abs()))
            }))
        },
    );
    bench.case(
        case("sqrt(abs(2x+y))", 4),
        || (x * 2.0 + y).abs().sqrt().eval(),
        |out| {
            Ok(data::each(&out.to_vec()?, n, |i| {
                // The sum is rounded once, whatever the device; its root may be off by 3 ULP.
                let root = f64::from((2.0 * xs[i] + ys[i]).abs()).sqrt();
                (root, 4.0 * EPSILON * root)
            }))
        },
    );
    bench.case(
        case("(x-y)*(x+y)/2", 4),
        || ((x - y) * (x + y) * 0.5).eval(),
        |out| {
            Ok(data::each(&out.to_vec()?, n, |i| {
                let (x, y) = at(i);
                let product = (x - y) * (x + y) / 2.0;
                (product, 2.0 * EPSILON * product.abs())
            }))
        },
    );
    Ok(())
}
