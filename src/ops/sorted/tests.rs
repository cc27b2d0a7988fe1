//! What the public API cannot reach: positions of 64 bits where 32 suffice.

use super::merge;
use super::search::{Side, search};
use crate::{DType, Device, DeviceArray};

#[test]
fn wide_positions() {
    let n = 30_000u32;
    let (a, b): (Vec<u32>, Vec<u32>) = (0..n).partition(|k| k % 3 > 0);
    for device in Device::kinds() {
        let array = |x: &[u32]| DeviceArray::from_slice(&device, x).unwrap();
        let (x, y) = (array(&a), array(&b));
        let (x, y) = (x.raw().unwrap(), y.raw().unwrap());
        let places = search("searchsorted", x, y, Side::Right, true).unwrap();
        let places = DeviceArray::<u64>::from_raw(places).to_vec().unwrap();
        // Before 3k lie two of each three.
        assert!(places.iter().enumerate().all(|(k, &p)| p == 2 * k as u64), "{device}");
        let mut out = merge::empty("merge", x, y, DType::U32).unwrap();
        let mut loads = merge::empty("merge", x, y, DType::U32).unwrap();
        let with = Some([x, y]);
        merge::start("merge", [x, y], with, &mut out.0, Some(&mut loads.0), true).unwrap();
        for made in [out, loads] {
            let got = merge::made::<u32>(made, DType::U32).to_vec().unwrap();
            assert!(got.iter().copied().eq(0..n), "{device}");
        }
    }
}
