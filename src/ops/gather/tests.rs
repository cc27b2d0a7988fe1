//! What only large arrays need, made to happen on small ones: positions of 64 bits, several launches.

use super::indexed::{Plan, Way};
use super::store::{Act, Store};
use super::take::Take;
use crate::array::RawArray;
use crate::layout::Layout;
use crate::ops::run;
use crate::{Device, DeviceArray, Element};
use ndarray::Axis;
use std::sync::Arc;

/// Takes by `i` with positions of 64 bits, 1,000 elements a launch.
fn take(x: &DeviceArray<u16>, i: &DeviceArray<i32>, way: Way) -> crate::Result<DeviceArray<u16>> {
    let (raw, indices) = (x.raw()?, i.expr());
    let mut plan = Plan::new("take", x.device(), &raw.layout, indices.node()?, way, false)?;
    plan.indexed.reach = u128::MAX;
    let layout = Layout::contiguous(&plan.shape);
    let mut out = RawArray::alloc("take", x.device(), &layout, u16::DTYPE)?;
    let op = Take { op: "take", array: raw, indexed: plan.indexed, out: &mut out, most: 1000 };
    run(op, x.device())?;
    let raw = RawArray { buffer: Arc::new(out), layout, dtype: u16::DTYPE };
    Ok(DeviceArray::from_raw(raw))
}

/// The same of values that are written.
fn store<T: Element>(
    x: &mut DeviceArray<T>,
    act: Act,
    i: &DeviceArray<i32>,
    values: &DeviceArray<T>,
) -> crate::Result<()> {
    let device = x.device().clone();
    let layout = x.raw()?.layout.clone();
    let indices = i.expr();
    let mut plan = Plan::new("put", &device, &layout, indices.node()?, Way::Flat, true)?;
    plan.indexed.reach = u128::MAX;
    let out = Arc::get_mut(&mut x.raw_mut().buffer).expect("not shared");
    let store = Store {
        op: "put",
        act,
        out,
        origin: layout.offset,
        places: layout.len(),
        dtype: T::DTYPE,
        indexed: plan.indexed,
        values: values.raw()?,
        most: 1000,
    };
    run(store, &device)
}

#[test]
fn many_launches_with_wide_positions() {
    for device in Device::kinds() {
        let n = 2500;
        let x = DeviceArray::<u16>::arange(&device, 0, 300, 1).unwrap();
        let mut at: Vec<i32> = (0..n).map(|k| (k * 7 % 600) - 300).collect();
        let i = DeviceArray::from_slice(&device, &at).unwrap();
        let want: Vec<u16> = at.iter().map(|&i| i.rem_euclid(300) as u16).collect();
        assert_eq!(take(&x, &i, Way::Flat).unwrap().to_vec().unwrap(), want, "{device}");
        let rows = x.reshape((30, 10)).unwrap();
        let few = DeviceArray::from_slice(&device, &[-1, 3, 0, 29].repeat(75)).unwrap();
        let got = take(&rows, &few, Way::Axis(Axis(0))).unwrap();
        let want: Vec<u16> =
            [29, 3, 0, 29].repeat(75).iter().flat_map(|r| r * 10..r * 10 + 10).collect();
        assert_eq!(got.to_vec().unwrap(), want, "{device}");

        // The last value stays, whichever launch it belongs to.
        let values = DeviceArray::<u64>::arange(&device, 0, n as u64, 1).unwrap();
        let mut y = DeviceArray::<u64>::zeros(&device, 300).unwrap();
        store(&mut y, Act::Put, &i, &values).unwrap();
        let (mut put, mut sum) = (vec![0; 300], vec![0; 300]);
        for (k, i) in at.iter().enumerate() {
            put[i.rem_euclid(300) as usize] = k as u64;
            sum[i.rem_euclid(300) as usize] += k as u64;
        }
        assert_eq!(y.to_vec().unwrap(), put, "{device}");
        let mut y = DeviceArray::<u64>::zeros(&device, 300).unwrap();
        store(&mut y, Act::Add, &i, &values).unwrap();
        assert_eq!(y.to_vec().unwrap(), sum, "{device}");
        let floats = DeviceArray::<f32>::arange(&device, 0.0, n as f32, 1.0).unwrap();
        let mut y = DeviceArray::<f32>::zeros(&device, 300).unwrap();
        store(&mut y, Act::AddExactly, &i, &floats).unwrap();
        let sum: Vec<f32> = sum.iter().map(|&s| s as f32).collect();
        assert_eq!(y.to_vec().unwrap(), sum, "{device}");

        // Positions count through all launches.
        at[2301] = 300;
        at[2450] = -500;
        let i = DeviceArray::from_slice(&device, &at).unwrap();
        let error = take(&x, &i, Way::Flat).and_then(|x| x.to_vec()).unwrap_err();
        assert!(error.to_string().contains("index 300, at position 2301 "), "{device}: {error}");
    }
}
