//! Status codes: what callers may see, and what is kept back from them.

use std::cell::Cell;

pub(crate) const SUCCESS: i32 = 0;
pub(crate) const OUT_OF_RESOURCES: i32 = -5;
pub(crate) const INVALID_OPERATION: i32 = -59;
pub(crate) const PLATFORM_NOT_FOUND: i32 = -1001;

thread_local! {
    /// What the driver said in the last failed call of this thread, where the caller was told
    /// something else.
    static RAW: Cell<Option<i32>> = const { Cell::new(None) };
}

pub(crate) fn take_raw() -> Option<i32> {
    RAW.take()
}

/// The codes that `Status` of ocl-core 0.11.5 has a name for. It panics on all others.
fn is_known(code: i32) -> bool {
    matches!(code, -19..=0 | -70..=-30 | -1000 | PLATFORM_NOT_FOUND | -9999)
}

/// What the caller of `name` is told when the driver answered `code`.
#[inline]
pub(crate) fn tame(name: &'static str, code: i32) -> i32 {
    if code == SUCCESS { SUCCESS } else { failed(name, code) }
}

// A success leaves the raw code alone: ocl-core asks for names and build logs between a failure and
// its report.
#[cold]
fn failed(name: &'static str, code: i32) -> i32 {
    if is_known(code) {
        RAW.set(None);
        return code;
    }
    RAW.set(Some(code));
    log::debug!("{name} answered {code}, which has no name: passed on as CL_OUT_OF_RESOURCES");
    OUT_OF_RESOURCES
}

/// [`tame`] for the functions that make an object: no object is a failure, whatever the code says.
/// ocl-core would panic on a null handle that comes with success.
#[inline]
pub(crate) fn tame_created(name: &'static str, is_null: bool, code: i32) -> i32 {
    if is_null && code == SUCCESS { nothing_created(name) } else { tame(name, code) }
}

#[cold]
fn nothing_created(name: &'static str) -> i32 {
    RAW.set(Some(SUCCESS));
    log::debug!("{name} answered success without an object: passed on as CL_OUT_OF_RESOURCES");
    OUT_OF_RESOURCES
}

/// What the caller of a release is told: success, for Rust's `drop` has nobody to tell and would
/// have to panic.
#[inline]
pub(crate) fn tame_release(name: &'static str, code: i32) -> i32 {
    if code != SUCCESS {
        release_failed(name, code);
    }
    SUCCESS
}

// Leaves the raw code alone: releases happen while the error that matters is on its way to the
// caller.
#[cold]
fn release_failed(name: &'static str, code: i32) {
    log::warn!("{name} answered {code}: the object may leak");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list above is a copy of somebody else's; this compares it with the original.
    #[test]
    fn known_codes_are_those_of_ocl_core() {
        use num_traits::FromPrimitive;
        for code in (-20_000..20_000).chain([i32::MIN, i32::MAX]) {
            let named = ocl::core::Status::from_i32(code).is_some();
            assert_eq!(is_known(code), named, "{code}");
        }
    }

    #[test]
    fn raw_code_belongs_to_the_last_failure() {
        assert_eq!(tame("clTest", -71), OUT_OF_RESOURCES);
        assert_eq!(tame("clTest", SUCCESS), SUCCESS);
        assert_eq!(tame_release("clRelease", -1234), SUCCESS);
        assert_eq!(take_raw(), Some(-71));
        assert_eq!(take_raw(), None);

        tame("clTest", -71);
        assert_eq!(tame("clTest", -30), -30);
        assert_eq!(take_raw(), None, "a named failure replaces an unnamed one");

        assert_eq!(tame_created("clTest", true, SUCCESS), OUT_OF_RESOURCES);
        assert_eq!(take_raw(), Some(SUCCESS));
        assert_eq!(tame_created("clTest", false, SUCCESS), SUCCESS);
    }
}
