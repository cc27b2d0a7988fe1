//! A shared library with clan inside, loaded beside the real OpenCL library: each keeps its own
//! functions, and both work.
#![cfg(all(feature = "loader", not(any(target_os = "macos", windows))))]

mod support;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::c_void;
use support::{is_child, run_child};

fn has(library: &Library, name: &str) -> bool {
    // SAFETY: an address is read as an address.
    unsafe { library.get::<*mut c_void>(name) }.is_ok_and(|address| !address.is_null())
}

#[test]
fn exports_no_opencl() {
    // SAFETY: it has no initialisers of its own.
    let library = unsafe { Library::new(support::example("clan_embedded")) }.unwrap();
    assert!(has(&library, "embedded_devices"));
    for name in ["clGetPlatformIDs", "clCreateContext", "clReleaseEvent", "clEnqueueNDRangeKernel"]
    {
        assert!(!has(&library, name), "{name} is visible");
    }
}

#[test]
fn beside_the_real_library() {
    run_child("child_beside_the_real_library", &[]);
}

#[test]
#[ignore = "run by beside_the_real_library in its own process"]
fn child_beside_the_real_library() {
    if !is_child() {
        return;
    }
    // SAFETY: the initialisers of OpenCL libraries ask nothing of the program.
    let real = unsafe { Library::open(Some("libOpenCL.so.1"), RTLD_NOW | RTLD_GLOBAL) };
    if let Err(e) = &real {
        return support::skip(e);
    }
    // SAFETY: as in `exports_no_opencl`.
    let library = unsafe { Library::new(support::example("clan_embedded")) }.unwrap();
    // SAFETY: the signature is that of the function in `tests/embedded/lib.rs`.
    let theirs = unsafe { library.get::<extern "C" fn() -> usize>("embedded_devices").unwrap()() };
    // This test has a copy of clan as well: two of them beside the real library.
    let ours = support::opencl_devices().len();
    assert_eq!(theirs, ours);
}
