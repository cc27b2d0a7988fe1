//! Against a library that answers what `ocl` has no name for: errors, never a panic.
#![cfg(not(target_os = "macos"))]

mod common;

use clan_opencl_loader::{Platforms, Status, platforms, status, symbol, take_raw_status};
use common::{is_child, run_child};
use ocl::core::{self, CommandQueueProperties as Queue, DeviceType, Status as Code};
use ocl::ffi;

#[test]
fn unknown_codes() {
    let fake = common::example("loader_fake_opencl");
    run_child("child_unknown_codes", &[("CLAN_OPENCL_LIBRARY", fake.to_str().unwrap())]);
}

#[test]
fn discovery_is_one_at_a_time() {
    let fake = common::example("loader_fake_opencl");
    run_child("child_discovery", &[("CLAN_OPENCL_LIBRARY", fake.to_str().unwrap())]);
}

/// The fake library fails when two threads list at once, as real ones do with fewer words.
#[test]
#[ignore = "run by discovery_is_one_at_a_time in its own process"]
fn child_discovery() {
    if !is_child() {
        return;
    }
    let start = std::sync::Barrier::new(16);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                start.wait();
                let platforms = core::get_platform_ids().unwrap();
                let devices = core::get_device_ids(platforms[0], Some(DeviceType::GPU), None);
                assert_eq!(devices.unwrap().len(), 1);
                assert_eq!(clan_opencl_loader::platforms(), Platforms::Found(1));
            });
        }
    });
}

fn code<T>(result: Result<T, core::Error>) -> Option<Code> {
    result.err().expect("the fake library fails here").api_status()
}

#[test]
#[ignore = "run by unknown_codes in its own process"]
fn child_unknown_codes() {
    if !is_child() {
        return;
    }
    let Status::Loaded { path } = status() else { panic!("{}", status()) };
    assert_eq!(path, &common::example("loader_fake_opencl").canonicalize().unwrap());
    assert_eq!(platforms(), Platforms::Found(1));
    assert!(symbol(c"clMakeCoffeeFAKE").is_some());

    // Returned codes: without a name, with one, positive.
    let platform = core::get_platform_ids().unwrap()[0];
    let devices = |kind| core::get_device_ids(platform, Some(kind), None);
    assert_eq!(code(devices(DeviceType::CPU)), Some(Code::CL_OUT_OF_RESOURCES));
    assert_eq!(take_raw_status(), Some(-71));
    assert_eq!(take_raw_status(), None);
    assert_eq!(code(devices(DeviceType::ACCELERATOR)), Some(Code::CL_NV_INVALID_MEM_ACCESS));
    assert_eq!(take_raw_status(), None);
    assert_eq!(code(devices(DeviceType::CUSTOM)), Some(Code::CL_OUT_OF_RESOURCES));
    assert_eq!(take_raw_status(), Some(3));
    let device = devices(DeviceType::GPU).unwrap()[0];

    // Written codes.
    let context = core::create_context(None, &[device], None, None).unwrap();
    let queue = |flags| core::create_command_queue(&context, device, Some(flags));
    assert_eq!(code(queue(Queue::OUT_OF_ORDER_EXEC_MODE_ENABLE)), Some(Code::CL_OUT_OF_RESOURCES));
    assert_eq!(take_raw_status(), Some(-72));
    assert_eq!(code(queue(Queue::PROFILING_ENABLE)), Some(Code::CL_OUT_OF_RESOURCES));
    assert_eq!(take_raw_status(), Some(0), "success without an object");
    let binary = core::create_program_with_binary(&context, &[device], &[&[1, 2, 3]]);
    assert_eq!(code(binary), Some(Code::CL_OUT_OF_RESOURCES));
    assert_eq!(take_raw_status(), Some(-1234));

    // Events that ended in an unknown failure. The failure of an event is passed on as it is: ocl
    // makes an error of every negative number there, and none of them panics.
    // SAFETY: the fake library looks behind no handle.
    let event = unsafe { core::Event::from_raw_create_ptr(0x1000 as ffi::cl_event) };
    assert!(core::event_status(&event).is_err());
    assert!(!core::event_is_complete(&event).unwrap());
    assert_eq!(code(core::wait_for_event(&event)), Some(Code::CL_OUT_OF_RESOURCES));
    assert_eq!(take_raw_status(), Some(i32::MIN));

    // Functions that an old library lacks.
    let mut status = 0;
    // SAFETY: the library has no such functions, so nobody looks behind the handles.
    unsafe {
        let null = std::ptr::null_mut;
        assert!(
            opencl_sys::clCreateBufferWithProperties(
                null(),
                std::ptr::null(),
                0,
                1,
                null(),
                &mut status
            )
            .is_null()
        );
        assert_eq!(status, ffi::CL_INVALID_OPERATION);
        assert_eq!(cl_sys::clFinish(null()), ffi::CL_INVALID_OPERATION);
        assert_eq!(cl_sys::clReleaseKernel(null()), ffi::CL_SUCCESS);
    }

    // Drops, all of which fail in the library and would panic in ocl.
    let _ = core::wait_for_event(&event);
    drop(event);
    drop(queue(Queue::empty()).unwrap());
    drop(context);
    assert_eq!(take_raw_status(), Some(i32::MIN), "a release keeps the code of the error before");
}
