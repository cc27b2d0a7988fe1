//! With a driver: `ocl` computes, a second crate sees the same devices, threads do not disturb each
//! other.
#![cfg(not(target_os = "macos"))]

mod common;

use std::ffi::c_void;
use std::ptr;
use std::sync::Barrier;

use clan_opencl_loader::{Platforms, Status, platforms, status};
use common::{is_child, run_child, skip};

/// All devices as (platform, device), or none after a word about it.
fn devices() -> Vec<(ocl::Platform, ocl::Device)> {
    let list: Vec<_> = ocl::Platform::list()
        .into_iter()
        .flat_map(|platform| {
            let devices = ocl::Device::list_all(platform).unwrap_or_default();
            devices.into_iter().map(move |device| (platform, device))
        })
        .collect();
    match platforms() {
        Platforms::Found(_) if list.is_empty() => skip("no platform has a device"),
        Platforms::Found(_) => {}
        none => skip(none),
    }
    list
}

#[test]
fn computes() {
    // Mesa's software device stays hidden without this.
    run_child("child_computes", &[("RUSTICL_ENABLE", "llvmpipe")]);
}

#[test]
#[ignore = "run by computes in its own process"]
fn child_computes() {
    if !is_child() {
        return;
    }
    for (platform, device) in devices() {
        let source = "kernel void triple(global int* x) { x[get_global_id(0)] *= 3; }";
        let queue = ocl::ProQue::builder()
            .platform(platform)
            .device(device)
            .src(source)
            .dims(1000)
            .build()
            .unwrap();
        let data: Vec<i32> = (0..1000).collect();
        let buffer = queue.buffer_builder::<i32>().copy_host_slice(&data).build().unwrap();
        let kernel = queue.kernel_builder("triple").arg(&buffer).build().unwrap();
        // SAFETY: one work-item an element, and the buffer has as many.
        unsafe { kernel.enq().unwrap() };
        let mut result = vec![0; 1000];
        buffer.read(&mut result).enq().unwrap();
        assert!(result.iter().zip(&data).all(|(&r, &d)| r == 3 * d));
        println!("computed on {} with {}", device.name().unwrap(), status());
    }
    if let Status::Loaded { path } = status() {
        assert!(path.is_absolute(), "{}", path.display());
    }
}

#[test]
fn a_second_crate_sees_the_same() {
    use opencl_sys::*;

    let ours = devices();
    if ours.is_empty() {
        return;
    }
    let mut theirs = Vec::new();
    let mut count = 0;
    // SAFETY: each list is asked for its length, and then filled to that length; the context is made
    // of a device just listed and released once.
    unsafe {
        assert_eq!(clGetPlatformIDs(0, ptr::null_mut(), &mut count), CL_SUCCESS);
        let mut platforms = vec![ptr::null_mut(); count as usize];
        assert_eq!(clGetPlatformIDs(count, platforms.as_mut_ptr(), ptr::null_mut()), CL_SUCCESS);
        for platform in platforms {
            let all = CL_DEVICE_TYPE_ALL;
            if clGetDeviceIDs(platform, all, 0, ptr::null_mut(), &mut count) != CL_SUCCESS {
                continue;
            }
            let mut list = vec![ptr::null_mut(); count as usize];
            let code = clGetDeviceIDs(platform, all, count, list.as_mut_ptr(), ptr::null_mut());
            assert_eq!(code, CL_SUCCESS);
            theirs.extend(list.into_iter().map(|device| (platform, device)));
        }
        for &(_, device) in &theirs {
            let mut code = 1;
            let context =
                clCreateContext(ptr::null(), 1, &device, None, ptr::null_mut(), &mut code);
            assert_eq!(code, CL_SUCCESS);
            assert!(!context.is_null());
            assert_eq!(clReleaseContext(context), CL_SUCCESS);
        }
    }
    let ours: Vec<_> = ours
        .iter()
        .map(|(platform, device)| (platform.as_ptr(), device.as_raw()))
        .collect::<Vec<(*mut c_void, *mut c_void)>>();
    assert_eq!(ours, theirs);
}

#[test]
fn sixteen_threads_at_once() {
    run_child("child_sixteen_threads", &[]);
}

/// Without the lock of this package, some drivers show no devices to some of the threads.
#[test]
#[ignore = "run by sixteen_threads_at_once in its own process"]
fn child_sixteen_threads() {
    if !is_child() {
        return;
    }
    let start = Barrier::new(16);
    let lists: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let list = || {
            start.wait();
            let platforms = ocl::Platform::list();
            let devices = platforms.iter().map(|p| ocl::Device::list_all(p).map_or(0, |d| d.len()));
            devices.collect()
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(list)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(lists.iter().all(|list| list == &lists[0]), "{lists:?}");
    assert_eq!(lists[0], {
        let platforms = ocl::Platform::list();
        let devices = platforms.iter().map(|p| ocl::Device::list_all(p).map_or(0, |d| d.len()));
        devices.collect::<Vec<_>>()
    });
}
