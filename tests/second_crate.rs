//! Another crate of the same program calls OpenCL on its own while clan computes: both see the same
//! devices, and neither disturbs the other.
#![cfg(all(feature = "opencl", not(target_os = "macos")))]

mod support;

use clan::DeviceArray;
use opencl_sys::*;
use std::ptr::{null, null_mut};

/// Every device that the other crate sees.
fn their_devices() -> Vec<cl_device_id> {
    let mut all = Vec::new();
    let mut count = 0;
    // SAFETY: each list is asked for its length, and then filled to that length.
    unsafe {
        assert_eq!(clGetPlatformIDs(0, null_mut(), &mut count), CL_SUCCESS);
        let mut platforms = vec![null_mut(); count as usize];
        assert_eq!(clGetPlatformIDs(count, platforms.as_mut_ptr(), null_mut()), CL_SUCCESS);
        for platform in platforms {
            let kind = CL_DEVICE_TYPE_ALL;
            if clGetDeviceIDs(platform, kind, 0, null_mut(), &mut count) != CL_SUCCESS {
                continue;
            }
            let mut list = vec![null_mut(); count as usize];
            let status = clGetDeviceIDs(platform, kind, count, list.as_mut_ptr(), null_mut());
            assert_eq!(status, CL_SUCCESS);
            all.extend(list);
        }
    }
    all
}

/// Writes 1,000 numbers to a buffer of the other crate's own and reads them back.
fn round_trip(device: cl_device_id) {
    let data: Vec<u32> = (0..1000).map(|i| i * 7 + 3).collect();
    let mut back = vec![0u32; data.len()];
    let bytes = size_of_val(data.as_slice());
    let mut status = 1;
    // SAFETY: the objects are made here and released once; both calls block, and the slices have
    // `bytes` bytes.
    unsafe {
        let context = clCreateContext(null(), 1, &device, None, null_mut(), &mut status);
        assert_eq!(status, CL_SUCCESS);
        #[allow(deprecated, reason = "the queue of OpenCL 1.2, which every driver has")]
        let queue = clCreateCommandQueue(context, device, 0, &mut status);
        assert_eq!(status, CL_SUCCESS);
        let buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, bytes, null_mut(), &mut status);
        assert_eq!(status, CL_SUCCESS);
        let from = data.as_ptr().cast();
        let wrote =
            clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, bytes, from, 0, null(), null_mut());
        assert_eq!(wrote, CL_SUCCESS);
        let to = back.as_mut_ptr().cast();
        let read = clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, bytes, to, 0, null(), null_mut());
        assert_eq!(read, CL_SUCCESS);
        assert_eq!(clReleaseMemObject(buffer), CL_SUCCESS);
        assert_eq!(clReleaseCommandQueue(queue), CL_SUCCESS);
        assert_eq!(clReleaseContext(context), CL_SUCCESS);
    }
    assert_eq!(back, data);
}

#[test]
fn both_compute_at_once() {
    let ours = support::opencl_devices();
    let theirs = their_devices();
    // clan leaves some out (Mesa's Clover), so it may see fewer.
    assert!(ours.len() <= theirs.len(), "{ours:?}");
    if ours.is_empty() {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for device in &ours {
                let x = DeviceArray::<u32>::arange(device, 0, 1000, 1).unwrap();
                for k in 0..20 {
                    let y = (&x + k).eval().unwrap().to_vec().unwrap();
                    assert!(y.iter().enumerate().all(|(i, &v)| v == i as u32 + k), "{device}");
                }
            }
        });
        for _ in 0..5 {
            theirs.iter().for_each(|&d| round_trip(d));
        }
    });
}
