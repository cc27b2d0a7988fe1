//! Positions of 64 bits, which only matrices of 2³¹ elements and more have by themselves.

use super::*;
use crate::ops::sparse::build;

#[test]
fn wide_positions_give_the_same_bits() {
    let (rows, columns) = (600, 5000);
    let mut starts = vec![0];
    let (mut at, mut values) = (Vec::new(), Vec::new());
    for r in 0..rows {
        // Empty rows, short ones, and one that is cut into parts.
        let step = if r == 78 { 1 } else { 700 + 17 * (r % 9) };
        for c in (r % 5..columns).step_by(step).filter(|_| r % 11 != 0) {
            at.push(c as u32);
            values.push(((r * 31 + c * 7) % 101) as f32 / 8.0 - 6.0);
        }
        starts.push(at.len());
    }
    build::check("test", (rows, columns), &starts, &at, values.len()).unwrap();
    let x: Vec<f32> = (0..columns * 3).map(|i| ((i * 13) % 97) as f32 / 4.0 - 12.0).collect();
    for device in Device::kinds() {
        let make = |wide| {
            SparseMatrix::with_width("test", &device, (rows, columns), &starts, &at, &values, wide)
        };
        let (narrow, wide) = (make(false).unwrap(), make(true).unwrap());
        assert!(wide.partials > 1 && wide.wide);
        let vector = DeviceArray::from_slice(&device, &x[..columns]).unwrap();
        let dense = DeviceArray::from_shape_slice(&device, (columns, 3), &x).unwrap();
        for x in [vector, dense] {
            let [a, b] = [&narrow, &wide].map(|m| m.matmul(&x).unwrap().to_vec().unwrap());
            assert_eq!(a, b, "on {device}");
        }
        assert_eq!(wide.to_csr().unwrap(), (starts.clone(), at.clone(), values.clone()));
        let [a, b] = [&narrow, &wide].map(|m| m.to_dense().unwrap().to_vec().unwrap());
        assert_eq!(a, b, "on {device}");
        assert_eq!(wide.to_device(&Device::host()).unwrap().to_csr().unwrap().1, at);
    }
}
