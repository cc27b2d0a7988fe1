//! What arrays cost: the pool, fusion without temporaries, errors that leak nothing.

mod support;

use clan::{
    Device, DeviceArray, Error, ErrorKind,
    ndarray::{Axis, s},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests of one process share the pools, so they take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every device, trimmed.
fn devices() -> Vec<Device> {
    support::opencl_devices();
    let devices = Device::all();
    for d in &devices {
        d.trim();
        assert_eq!(d.usage(), Default::default(), "{d}");
    }
    devices
}

/// A length whose f32 array fills its block exactly, so that sizes can be compared.
const N: usize = 1 << 16;
const BYTES: usize = N * 4;

#[test]
fn the_pool_reuses_and_trims() {
    let _turn = alone();
    for d in devices() {
        let x = DeviceArray::<f32>::full(&d, N, 1.0).unwrap();
        let usage = d.usage();
        assert_eq!((usage.held, usage.cached), (BYTES, 0), "{d}");
        // Clones and views cost nothing, and keep the memory.
        let (a, b) = (x.clone(), x.slice(s![..;-3]).unwrap());
        assert_eq!(d.usage(), usage);
        drop((x, a));
        assert_eq!(d.usage(), usage);
        drop(b);
        let usage = d.usage();
        assert_eq!((usage.held, usage.cached), (0, BYTES), "{d}");
        // The next array of about this size takes it, and starts as new.
        let y = DeviceArray::<f32>::zeros(&d, N - 100).unwrap();
        let usage = d.usage();
        assert_eq!((usage.held, usage.cached), (BYTES, 0), "{d}");
        assert!(y.to_vec().unwrap().iter().all(|&v| v == 0.0));
        drop(y);
        d.trim();
        assert_eq!(d.usage(), Default::default(), "{d}");
    }
}

#[test]
fn a_fused_expression_allocates_its_result_alone() {
    let _turn = alone();
    for d in devices() {
        let a = DeviceArray::<f32>::full(&d, N, 4.0).unwrap();
        let row = DeviceArray::<f32>::full(&d, 256, 1.0).unwrap();
        let m = a.reshape((N / 256, 256)).unwrap();
        let before = d.usage();
        let e = ((&m * 2.0 + &row).sqrt() * &m - m.t().t()).minimum(5.0f32).abs();
        let e = e.gt(0.0f32).if_else(&e, &m * &row);
        assert_eq!(d.usage(), before, "building computes nothing");
        let y = e.eval().unwrap();
        let after = d.usage();
        // Temporaries would be cached by now.
        assert_eq!(after.held + after.cached, before.held + before.cached + BYTES, "{d}");
        assert_eq!(after.held, before.held + BYTES, "{d}");
        assert!(y.to_vec().unwrap().iter().all(|&v| v == 5.0), "{d}");
        // A fused reduction makes no temporary of the expression's size.
        let s = (&a * &a).sum().unwrap();
        let usage = d.usage();
        assert!(usage.held + usage.cached < after.held + after.cached + BYTES / 4, "{d}");
        assert_eq!(s.item().unwrap(), 16.0 * N as f32);
    }
}

/// An assignment to a part writes where the array is, unless somebody else sees that memory.
#[test]
fn partial_writes_copy_when_shared() {
    let _turn = alone();
    for d in devices() {
        let mut x = DeviceArray::<f32>::zeros(&d, N).unwrap();
        x.slice_mut(s![..10]).unwrap().fill(1.0).unwrap();
        let usage = d.usage();
        assert_eq!(usage.held + usage.cached, BYTES, "{d}");
        let old = x.clone();
        x.slice_mut(s![..10]).unwrap().fill(2.0).unwrap();
        assert_eq!(d.usage().held, 2 * BYTES, "{d}");
        assert_eq!(old.slice(s![..11]).unwrap().sum().unwrap().item().unwrap(), 10.0);
        assert_eq!(x.slice(s![..11]).unwrap().sum().unwrap().item().unwrap(), 20.0);
    }
}

#[test]
fn errors_leak_nothing_and_arrays_stay_usable() {
    let _turn = alone();
    for d in devices() {
        let mut x =
            DeviceArray::<f32>::arange(&d, 0.0, 12.0, 1.0).unwrap().reshape((3, 4)).unwrap();
        let y = DeviceArray::<f32>::ones(&d, 5).unwrap();
        let held = d.usage().held;
        for _ in 0..10 {
            let failures: Vec<Error> = vec![
                (&x + &y).eval().unwrap_err(),
                (&x * 2.0 + &y).sum().unwrap_err(),
                x.sum_axis(Axis(2)).unwrap_err(),
                x.slice(s![..9, ..]).unwrap_err(),
                x.reshape((5, 5)).unwrap_err(),
                x.permute(&[0, 0]).unwrap_err(),
                x.broadcast((2, 4)).unwrap_err(),
                x.assign(&y).unwrap_err(),
                x.slice_mut(s![0, ..]).unwrap().assign(&y).unwrap_err(),
                x.dot(&y).unwrap_err(),
                x.item().unwrap_err(),
                x.slice(s![..0, ..]).unwrap().max().unwrap_err(),
                DeviceArray::<f32>::full(&d, [usize::MAX, 2], 1.0).unwrap_err(),
                DeviceArray::<f32>::full(&d, 1usize << 60, 1.0).unwrap_err(),
            ];
            drop(failures);
            x += &y;
            assert!(x.to_vec().is_err());
            assert!(x.take_error().unwrap().is_shape());
        }
        assert_eq!(d.usage().held, held, "{d}");
        let want: Vec<f32> = (0..12).map(|v| v as f32).collect();
        assert_eq!(x.to_vec().unwrap(), want, "{d}");
        assert_eq!(x.sum().unwrap().item().unwrap(), 66.0, "{d}");
    }
}

#[test]
fn above_the_largest_buffer() {
    let _turn = alone();
    for d in devices() {
        let largest = d.memory().max_alloc_bytes;
        // One element more, where the address space allows it.
        let n = if d.is_host() { 1 << 61 } else { largest as usize / 4 + 1 };
        let error = DeviceArray::<f32>::zeros(&d, n).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        println!("{error}");
        if !d.is_host() {
            for number in [n as u64 * 4, largest] {
                assert!(error.to_string().contains(&number.to_string()), "{error}");
            }
        }
        assert_eq!(d.usage(), Default::default(), "{d}");
        // A view of so many elements is fine until somebody wants them all.
        let view = DeviceArray::<f32>::ones(&d, ()).unwrap().broadcast(n.min(1 << 58)).unwrap();
        assert_eq!(view.len(), n.min(1 << 58));
        let error = view.to_vec().unwrap_err();
        let kinds = [ErrorKind::TooLarge, ErrorKind::OutOfMemory];
        assert!(kinds.contains(&error.kind()), "{error}");
        assert_eq!(view.slice(s![..3]).unwrap().to_vec().unwrap(), [1.0; 3]);
    }
}

/// The host answers at once when there is no memory, instead of ending the process.
#[test]
fn out_of_memory_on_the_host() {
    let _turn = alone();
    let host = Device::host();
    host.trim();
    let error = DeviceArray::<u8>::zeros(&host, 1usize << 60).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    assert!(error.to_string().contains(&(1usize << 60).to_string()), "{error}");
    assert_eq!(host.usage(), Default::default());
}
