//! An OpenCL library that answers what no sound driver would, for `tests/taming.rs`.
//!
//! It is as old as OpenCL 1.0 and older: most entry points are missing.
#![allow(non_snake_case, reason = "the names are those of the OpenCL specification")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Handle = *mut c_void;

const OBJECT: Handle = 0x1000 as Handle;

static DISCOVERING: AtomicBool = AtomicBool::new(false);

/// Runs `call`, and fails when another thread is in here: a driver that bears one thread at a time.
fn alone(call: impl FnOnce() -> i32) -> i32 {
    if DISCOVERING.swap(true, Ordering::SeqCst) {
        return -2;
    }
    std::thread::sleep(Duration::from_millis(1));
    let code = call();
    DISCOVERING.store(false, Ordering::SeqCst);
    code
}

/// # Safety
/// As in the OpenCL specification, like all below.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clGetPlatformIDs(n: u32, list: *mut Handle, count: *mut u32) -> i32 {
    // SAFETY: the caller passes null or room for what it says.
    alone(|| unsafe { one_object(n, list, count) })
}

/// # Safety
/// Both pointers are null or have room for what they are for.
unsafe fn one_object(n: u32, list: *mut Handle, count: *mut u32) -> i32 {
    // SAFETY: by the contract above.
    unsafe {
        if n > 0 && !list.is_null() {
            list.write(OBJECT);
        }
        if !count.is_null() {
            count.write(1);
        }
    }
    0
}

/// Each device type fails in a way of its own.
///
/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clGetDeviceIDs(
    _platform: Handle,
    device_type: u64,
    n: u32,
    list: *mut Handle,
    count: *mut u32,
) -> i32 {
    match device_type {
        2 => -71,
        8 => -9999,
        16 => 3,
        // SAFETY: as above.
        _ => alone(|| unsafe { one_object(n, list, count) }),
    }
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clCreateContext(
    _properties: *const isize,
    _count: u32,
    _devices: *const Handle,
    _notify: *const c_void,
    _data: *mut c_void,
    errcode_ret: *mut i32,
) -> Handle {
    // Unlike callers of the real thing, the loader always wants to know.
    // SAFETY: as above.
    unsafe { errcode_ret.write(0) };
    OBJECT
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clGetContextInfo(
    _context: Handle,
    _param: u32,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> i32 {
    // SAFETY: as above. One device, whatever the question.
    unsafe {
        if !value.is_null() && size >= size_of::<Handle>() {
            value.cast::<Handle>().write(OBJECT);
        }
        if !size_ret.is_null() {
            size_ret.write(size_of::<Handle>());
        }
    }
    0
}

/// Fails for the first property, and gives nothing with success for the second.
///
/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clCreateCommandQueue(
    _context: Handle,
    _device: Handle,
    properties: u64,
    errcode_ret: *mut i32,
) -> Handle {
    let (object, code) = match properties {
        1 => (null_mut(), -72),
        2 => (null_mut(), 0),
        _ => (OBJECT, 0),
    };
    // SAFETY: as above.
    unsafe { errcode_ret.write(code) };
    object
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clCreateProgramWithBinary(
    _context: Handle,
    count: u32,
    _devices: *const Handle,
    _lengths: *const usize,
    _binaries: *const *const u8,
    statuses: *mut i32,
    errcode_ret: *mut i32,
) -> Handle {
    for index in 0..count as usize {
        // SAFETY: as above.
        unsafe { statuses.add(index).write(-1234) };
    }
    // SAFETY: as above.
    unsafe { errcode_ret.write(0) };
    OBJECT
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clGetEventInfo(
    _event: Handle,
    _param: u32,
    _size: usize,
    value: *mut c_void,
    _size_ret: *mut usize,
) -> i32 {
    // SAFETY: as above; the test asks for an `i32`.
    unsafe { value.cast::<i32>().write(-9998) };
    0
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clWaitForEvents(_count: u32, _events: *const Handle) -> i32 {
    i32::MIN
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clReleaseContext(_context: Handle) -> i32 {
    -36
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clReleaseCommandQueue(_queue: Handle) -> i32 {
    -71
}

/// # Safety
/// See above.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clReleaseEvent(_event: Handle) -> i32 {
    -9998
}

/// An extension that the loader has not heard of.
///
/// # Safety
/// None needed.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn clMakeCoffeeFAKE() -> *const c_void {
    null()
}
