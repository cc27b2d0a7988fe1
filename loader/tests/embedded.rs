//! A shared library with the loader inside keeps OpenCL to itself.
#![cfg(not(any(target_os = "macos", windows)))]

mod common;

use std::ffi::c_void;

use common::{is_child, run_child};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

fn has(library: &Library, name: &str) -> bool {
    // SAFETY: an address is read as an address.
    unsafe { library.get::<*mut c_void>(name) }.is_ok_and(|address| !address.is_null())
}

#[test]
fn exports_nothing() {
    // SAFETY: it has no initialisers of its own.
    let library = unsafe { Library::new(common::example("loader_embedded")) }.unwrap();
    assert!(has(&library, "embedded_devices"));
    for name in ["clGetPlatformIDs", "clCreateContext", "clReleaseEvent", "clCreateFromGLBuffer"] {
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
    if let Err(error) = &real {
        common::skip(error);
    }
    // SAFETY: as in `exports_nothing`.
    let library = unsafe { Library::new(common::example("loader_embedded")) }.unwrap();
    // SAFETY: the signature is that of the function in `tests/embedded/lib.rs`.
    let devices = unsafe { library.get::<extern "C" fn() -> usize>("embedded_devices").unwrap()() };
    // This test has a loader of its own, so now there are two beside the real library.
    let ours: usize = ocl::Platform::list()
        .iter()
        .map(|platform| ocl::Device::list_all(platform).map_or(0, |devices| devices.len()))
        .sum();
    assert_eq!(devices, ours, "with {}", clan_opencl_loader::platforms());
    println!("{devices} devices");
}
