//! Stencils on every device.
//!
//! `cargo bench --bench stencil`

mod common;

use clan::{Border, Device, Stencil};
use common::{SIDE, check, group, time, values};
use criterion::{Criterion, criterion_group, criterion_main};

/// A step of heat on a plate.
fn heat(c: &mut Criterion) {
    let xs = values(SIDE * SIDE, 1);
    let text = "at(0, 0) + 0.2f * (at(-1, 0) + at(1, 0) + at(0, -1) + at(0, 1) - 4 * at(0, 0))";
    let rule = Stencil::<f32, 2>::new("heat", [1, 1], text, |at| {
        let here = at.get([0, 0]);
        let around = at.get([-1, 0]) + at.get([1, 0]) + at.get([0, -1]) + at.get([0, 1]);
        here + 0.2 * (around - 4.0 * here)
    });
    let mut plates = group(c, "stencil/heat", 2 * 4 * SIDE * SIDE);
    for device in Device::all() {
        let x = common::array(&device, &[SIDE, SIDE], &xs);
        let run = || x.stencil(&rule, Border::Zero);
        let got = run().unwrap().to_vec().unwrap();
        // Every element of some rows, the first and the last among them.
        for row in [0, 1, SIDE / 3, SIDE - 1] {
            check(&got[row * SIDE..(row + 1) * SIDE], SIDE, 8.0, |column| {
                let at = |y: Option<usize>, x: Option<usize>| match (y, x) {
                    (Some(y), Some(x)) if y < SIDE && x < SIDE => f64::from(xs[y * SIDE + x]),
                    _ => 0.0,
                };
                let (y, x) = (Some(row), Some(column));
                let around = at(row.checked_sub(1), x)
                    + at(Some(row + 1), x)
                    + at(y, column.checked_sub(1))
                    + at(y, Some(column + 1));
                (at(y, x) + 0.2 * (around - 4.0 * at(y, x)), 1.0)
            });
        }
        time(&mut plates, &device, run);
    }
    plates.finish();
}

criterion_group!(benches, heat);
criterion_main!(benches);
