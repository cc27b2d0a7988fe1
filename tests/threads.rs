//! Many threads, one device, shared arrays.

mod support;

use clan::{Device, DeviceArray};
use std::sync::Barrier;

const THREADS: usize = 8;

#[test]
fn threads_share_devices_and_arrays() {
    support::opencl_devices();
    for d in Device::all() {
        let shared = DeviceArray::<i32>::arange(&d, 0, 5000, 1).unwrap();
        let expression = &shared * 2 + 1;
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for t in 0..THREADS as i32 {
                let (shared, expression, start, d) = (&shared, &expression, &start, &d);
                scope.spawn(move || {
                    // All ask for programs that nobody has compiled yet.
                    start.wait();
                    for round in 0..15 {
                        let k = t * 100 + round;
                        let y = (expression - k).eval().unwrap();
                        let z = (&y ^ shared).eval().unwrap();
                        // Memory goes back to the pool while its kernels may still run.
                        drop(y);
                        let mut own = shared.clone();
                        own += k;
                        let sum = own.sum().unwrap();
                        let got = z.to_vec().unwrap();
                        for (i, v) in got.into_iter().enumerate() {
                            let i = i as i32;
                            assert_eq!(v, (2 * i + 1 - k) ^ i, "{d}, thread {t}, round {round}");
                        }
                        let want = 4999 * 2500 + 5000 * i64::from(k);
                        assert_eq!(sum.item().unwrap(), want, "{d}, thread {t}, round {round}");
                        if round % 5 == 0 {
                            d.trim();
                        }
                    }
                });
            }
        });
        let want: Vec<i32> = (0..5000).collect();
        assert_eq!(shared.to_vec().unwrap(), want, "{d}");
    }
}

/// Every thread sends the array around all devices, and reads it after every step while others enqueue.
#[test]
fn threads_copy_between_devices() {
    support::opencl_devices();
    let devices = Device::all();
    let data: Vec<u16> = (0..3001u32).map(|i| (i * 37) as u16).collect();
    let home = DeviceArray::from_slice(&devices[0], &data).unwrap();
    std::thread::scope(|scope| {
        for t in 0..4 {
            let (devices, home, data) = (&devices, &home, &data);
            scope.spawn(move || {
                for _ in 0..20 {
                    let mut x = home.clone();
                    for round in 0..2 * devices.len() {
                        let next = &devices[(t + round) % devices.len()];
                        x = x.to_device(next).unwrap();
                        assert_eq!(x.device(), next);
                        x += 1;
                        let added = round as u16 + 1;
                        let want: Vec<u16> = data.iter().map(|v| v.wrapping_add(added)).collect();
                        assert_eq!(x.to_vec().unwrap(), want, "{next}");
                    }
                }
            });
        }
    });
    assert_eq!(home.to_vec().unwrap(), data);
}

/// Devices of one kind have the same kernels. PoCL's cache of loaded kernels must not mix them up when
/// they run side by side in ranges of different lengths.
#[test]
fn equal_devices_side_by_side() {
    support::opencl_devices();
    std::thread::scope(|scope| {
        for (k, d) in Device::all().into_iter().enumerate() {
            scope.spawn(move || {
                // Nothing is waited for before the end.
                let sums: Vec<_> = (0..600)
                    .map(|round| {
                        let n = 1 + round * 97 + k * 31;
                        let x = DeviceArray::<u32>::arange(&d, 0, n as u32, 1).unwrap();
                        ((&x * 3 + 1).eval().unwrap().sum().unwrap(), n as u64)
                    })
                    .collect();
                for (sum, n) in sums {
                    assert_eq!(sum.item().unwrap(), 3 * n * (n - 1) / 2 + n, "{d}, {n} elements");
                }
            });
        }
    });
}
