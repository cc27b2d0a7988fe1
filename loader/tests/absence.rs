//! Programs start, list nothing and say why, where OpenCL or its drivers are missing.
#![cfg(not(target_os = "macos"))]

mod common;

use std::time::Duration;

use clan_opencl_loader::{Platforms, Status, platforms, status, symbol, take_raw_status};
use common::{is_child, run_child, skip};

// ocl sleeps ten seconds over an empty list when it comes as an error.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn no_library() {
    let time = run_child("child_no_library", &[("CLAN_OPENCL_LIBRARY", "/nonexistent")]);
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
#[ignore = "run by no_library in its own process"]
fn child_no_library() {
    if !is_child() {
        return;
    }
    assert!(ocl::Platform::list().is_empty());
    let Status::Missing { tried, reason } = status() else { panic!("{}", status()) };
    assert_eq!(tried, &["/nonexistent"]);
    assert!(!reason.is_empty());
    assert_eq!(platforms(), Platforms::NoLibrary);
    assert!(platforms().to_string().contains("no OpenCL library"), "{}", platforms());
    assert_eq!(symbol(c"clGetPlatformIDs"), None);

    // What returns an object answers null and writes the code, what returns a code returns one.
    let mut code = 7;
    // SAFETY: null objects are for the library to refuse, and there is none to look at them.
    unsafe {
        use cl_sys::*;
        use std::ptr::null_mut;
        assert!(clCreateUserEvent(null_mut(), &mut code).is_null());
        assert_eq!(code, CL_PLATFORM_NOT_FOUND_KHR);
        assert!(clCreateUserEvent(null_mut(), null_mut()).is_null());
        assert_eq!(clFinish(null_mut()), CL_PLATFORM_NOT_FOUND_KHR);
        assert_eq!(clReleaseEvent(null_mut()), CL_SUCCESS);
        assert!(clSVMAlloc(null_mut(), 0, 1, 0).is_null());
        clSVMFree(null_mut(), null_mut());
        assert_eq!(clGetPlatformIDs(0, null_mut(), null_mut()), CL_SUCCESS);
    }
    assert_eq!(take_raw_status(), None);
    // The same through the safe wrapper: an error, not a panic.
    // SAFETY: never looked behind.
    let device = unsafe { ocl::core::DeviceId::from_raw(0x1000 as ocl::ffi::cl_device_id) };
    assert!(ocl::core::get_device_info_raw(device, ocl::ffi::CL_DEVICE_NAME).is_err());
}

#[test]
fn no_driver() {
    let environment = [("OCL_ICD_VENDORS", "/nonexistent/"), ("OCL_ICD_FILENAMES", "")];
    let time = run_child("child_no_driver", &environment);
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
#[ignore = "run by no_driver in its own process"]
fn child_no_driver() {
    if !is_child() {
        return;
    }
    if let missing @ Status::Missing { .. } = status() {
        return skip(missing);
    }
    if let Platforms::Found(_) = platforms() {
        return println!("skipped: this OpenCL library brings its driver along");
    }
    assert!(ocl::Platform::list().is_empty());
    assert_eq!(platforms(), Platforms::NoDriver);
    assert!(platforms().to_string().contains("driver"), "{}", platforms());
    assert!(symbol(c"clGetPlatformIDs").is_some());
    assert!(symbol(c"clNoSuchFunction").is_none());
}
