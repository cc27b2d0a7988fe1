//! The `CLAN_*` environment variables, read in one place.

#[cfg(feature = "opencl")]
use crate::device::DeviceKind;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "opencl")]
use std::path::PathBuf;

/// `CLAN_DEVICE`: the device of `Device::best`.
pub(crate) fn device() -> Result<Option<String>> {
    text("CLAN_DEVICE")
}

/// Where binaries of programs are kept; `None` when they are not.
#[cfg(feature = "opencl")]
pub(crate) fn cache_dir() -> Result<Option<PathBuf>> {
    match text("CLAN_CACHE")?.as_deref() {
        None | Some("on") => {}
        Some("off") => return Ok(None),
        Some(other) => {
            return Err(Error::new(
                ErrorKind::Config,
                "CLAN_CACHE",
                format!(
                    "{other:?} is neither \"on\" nor \"off\"; unset it to keep compiled kernels on disk"
                ),
            ));
        }
    }
    if let Some(dir) = std::env::var_os("CLAN_CACHE_DIR").filter(|d| !d.is_empty()) {
        let dir = PathBuf::from(dir);
        if !dir.is_absolute() {
            return Err(Error::new(
                ErrorKind::Config,
                "CLAN_CACHE_DIR",
                format!(
                    "{dir:?} is not an absolute path; name one, or unset it to use the user's cache directory"
                ),
            ));
        }
        return Ok(Some(dir));
    }
    Ok(dirs::cache_dir().map(|d| d.join("clan")))
}

/// `CLAN_ASSUME_KIND`, for tests: the kind of processor that kernels are chosen and shaped for on
/// every OpenCL device, in place of what the device is.
#[cfg(feature = "opencl")]
pub(crate) fn assume_kind() -> Result<Option<DeviceKind>> {
    match text("CLAN_ASSUME_KIND")?.as_deref() {
        None => Ok(None),
        Some("gpu") => Ok(Some(DeviceKind::Gpu)),
        Some("cpu") => Ok(Some(DeviceKind::Cpu)),
        Some(other) => Err(Error::new(
            ErrorKind::Config,
            "CLAN_ASSUME_KIND",
            format!(
                "{other:?} is neither \"gpu\" nor \"cpu\"; unset it to let every device be what it is"
            ),
        )),
    }
}

/// `CLAN_MATRIX_UNITS`: whether products may use them; `off` for comparison, or to get around one
/// that is wrong.
#[cfg(feature = "opencl")]
pub(crate) fn matrix_units() -> Result<bool> {
    switch("CLAN_MATRIX_UNITS", "use matrix units")
}

/// `CLAN_TUNED`: whether points that the tuner stored are used; `off` for comparison.
#[cfg(feature = "opencl")]
pub(crate) fn tuned() -> Result<bool> {
    switch("CLAN_TUNED", "use tuned points")
}

/// `CLAN_PEERS`: whether groups use memory that devices reach from each other; `off` for comparison, or
/// to get around a driver that is wrong.
#[cfg(feature = "opencl")]
pub(crate) fn peers() -> Result<bool> {
    switch("CLAN_PEERS", "let devices reach each other's memory")
}

#[cfg(feature = "opencl")]
fn switch(name: &'static str, purpose: &str) -> Result<bool> {
    match text(name)?.as_deref() {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(Error::new(
            ErrorKind::Config,
            name,
            format!("{other:?} is neither \"on\" nor \"off\"; unset it to {purpose}"),
        )),
    }
}

/// A variable's value; set to nothing counts as not set.
fn text(name: &'static str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(v) if v.trim().is_empty() => Ok(None),
        Ok(v) => Ok(Some(v)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::new(
            ErrorKind::Config,
            name,
            "its value is not valid Unicode; set it again, or unset it",
        )),
    }
}
