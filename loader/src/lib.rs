#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

#[cfg_attr(target_os = "macos", allow(dead_code, reason = "nothing is translated there"))]
mod code;
// On macOS the OpenCL framework is part of the system and programs link to it as ever.
#[cfg(not(target_os = "macos"))]
#[allow(non_snake_case, reason = "the entry points have the names of the OpenCL specification")]
#[allow(clippy::too_many_arguments, reason = "and its parameters")]
mod entry;
mod library;

use std::ffi::{CStr, c_void};
use std::{fmt, ptr};

pub use library::Status;

/// Tells whether an OpenCL library was found, and where. The first call looks for it.
///
/// On macOS this is about the system's framework, which is there even when no call was ever made.
pub fn status() -> &'static Status {
    library::status()
}

/// Takes the status code behind the last failed call of this thread, if the caller was told
/// another.
///
/// `None` when that failure had a code of its own name, or when it was taken before. `Some(0)` when
/// the driver claimed success but made no object. Ask at once when an error arrives, on the thread
/// that made the call: successful calls and releases in between do no harm, another failure
/// replaces it.
pub fn take_raw_status() -> Option<i32> {
    code::take_raw()
}

/// The address of a function of the loaded library, such as an extension that its entry points do
/// not cover. `None` without a library or when it has no such symbol.
///
/// Extensions of one platform are found with `clGetExtensionFunctionAddressForPlatform` instead.
/// The address stays valid for the life of the process; calls through it bypass this package, so
/// their status codes are the driver's own.
pub fn symbol(name: &CStr) -> Option<*mut c_void> {
    library::symbol(name)
}

/// What there is to compute with, before devices are asked for. See [`platforms()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Platforms {
    /// There is no OpenCL library; [`status()`] tells which were tried.
    NoLibrary,
    /// There is a library, and it knows of no driver (−1001, `CL_PLATFORM_NOT_FOUND_KHR`, or a
    /// count of zero): the usual state of a machine with an ICD loader and no driver installed.
    NoDriver,
    /// The library could not say; this is its status code, untranslated.
    Failed(i32),
    /// So many platforms, at least one. Whether they have devices is theirs to tell.
    Found(u32),
}

impl fmt::Display for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLibrary => write!(f, "{}", status()),
            Self::NoDriver => write!(
                f,
                "{}, but no OpenCL driver is installed for it (no ICD was found)",
                status()
            ),
            Self::Failed(code) => {
                write!(f, "{}, but listing its platforms failed with {code}", status())
            }
            Self::Found(1) => write!(f, "{} with 1 platform", status()),
            Self::Found(count) => write!(f, "{} with {count} platforms", status()),
        }
    }
}

/// Asks the library for its platforms and tells apart what `clGetPlatformIDs` reports alike.
///
/// Its `Display` form explains an empty list to a user.
pub fn platforms() -> Platforms {
    type GetPlatformIds = unsafe extern "system" fn(u32, *mut *mut c_void, *mut u32) -> i32;

    let Some(address) = library::symbol(c"clGetPlatformIDs") else {
        return Platforms::NoLibrary;
    };
    // SAFETY: the address is not null, and the symbol of this name is this function in every OpenCL
    // library, which is never unloaded.
    let get_platform_ids = unsafe { std::mem::transmute::<*mut c_void, GetPlatformIds>(address) };
    let mut count = 0;
    #[cfg(not(target_os = "macos"))]
    let _one_at_a_time = entry::discovery();
    // SAFETY: no entries are asked for, so none are written; `count` outlives the call.
    match unsafe { get_platform_ids(0, ptr::null_mut(), &mut count) } {
        code::SUCCESS if count > 0 => Platforms::Found(count),
        code::SUCCESS | code::PLATFORM_NOT_FOUND => Platforms::NoDriver,
        failure => Platforms::Failed(failure),
    }
}
