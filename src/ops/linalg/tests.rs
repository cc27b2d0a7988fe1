//! What the public API cannot reach: panels that are given up.

use super::lu::{Together, factor};
use crate::{Device, DeviceArray};

/// Enough rows for several groups, of which each waits for no letter at all.
#[test]
fn panels_that_are_given_up_are_made_again() {
    let (m, n) = (2500, 40);
    let values: Vec<f32> =
        (0..m * n).map(|i| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32).collect();
    for device in Device::kinds().into_iter().filter(|d| !d.is_host()) {
        let a = DeviceArray::from_shape_slice(&device, (m, n), &values).unwrap();
        let raw = a.raw().unwrap();
        let want = factor("lu", raw, Together::Never).unwrap();
        let got = factor("lu", raw, Together::Spins(0)).unwrap();
        assert_eq!(got.orders, want.orders, "{device}");
        // Two groups: they run at a time, or the panel is given up.
        let few = a.slice(ndarray::s![..100, ..]).unwrap();
        let few = few.raw().unwrap();
        let alone = factor("lu", few, Together::Never).unwrap();
        let shared = factor("lu", few, Together::Spins(1 << 14)).unwrap();
        assert_eq!(shared.orders, alone.orders, "{device}");
        let factors = |x| DeviceArray::<f32>::from_raw(x).to_vec().unwrap();
        assert!(factors(got.lu) == factors(want.lu), "{device}");
        assert!(a.to_vec().unwrap() == values, "the input is untouched");
        for (a, b) in factors(shared.lu).into_iter().zip(factors(alone.lu)) {
            assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{device}: {a} {b}");
        }
    }
}
