//! The one OpenCL library of the process: looked for once, on first use, and never unloaded.

use std::env;
use std::ffi::{CStr, OsString, c_void};
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::Library;

/// The environment variable that names the library to load instead of the usual ones.
pub(crate) const VARIABLE: &str = "CLAN_OPENCL_LIBRARY";

#[cfg(windows)]
const NAMES: &[&str] = &["OpenCL.dll"];
#[cfg(target_os = "macos")]
const NAMES: &[&str] = &["/System/Library/Frameworks/OpenCL.framework/OpenCL"];
// Vendors ship the library outside the search path of applications there.
#[cfg(target_os = "android")]
const NAMES: &[&str] = &[
    "libOpenCL.so",
    "/vendor/lib64/libOpenCL.so",
    "/system/vendor/lib64/libOpenCL.so",
    "/vendor/lib/libOpenCL.so",
];
// The name with the version is what a system without development packages has.
#[cfg(not(any(windows, target_os = "macos", target_os = "android")))]
const NAMES: &[&str] = &["libOpenCL.so.1", "libOpenCL.so"];

/// Whether an OpenCL library was found. See [`status()`](crate::status).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Calls go to this library.
    Loaded {
        /// The file, links resolved; the name it was asked for by where the system does not tell.
        path: PathBuf,
    },
    /// There is no library: every call fails, and there are no platforms.
    Missing {
        /// The names that were tried, in this order.
        tried: Vec<String>,
        /// What the system said to the first of them that it had something to say about.
        reason: String,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { path } => write!(f, "OpenCL library {}", path.display()),
            Self::Missing { tried, reason } => {
                write!(
                    f,
                    "no OpenCL library on this machine (tried {}: {reason})",
                    tried.join(", ")
                )
            }
        }
    }
}

struct Opened {
    status: Status,
    library: Option<Library>,
}

/// Opens the library, or answers from memory. Concurrent first calls wait for one of them.
fn opened() -> &'static Opened {
    static OPENED: OnceLock<Opened> = OnceLock::new();
    OPENED.get_or_init(|| {
        let opened = open(candidates());
        match &opened.status {
            found @ Status::Loaded { .. } => log::debug!("{found}"),
            // Not a warning: a machine without OpenCL is an ordinary machine.
            missing @ Status::Missing { .. } => log::info!("{missing}"),
        }
        opened
    })
}

fn candidates() -> Vec<OsString> {
    // On macOS the calls are linked to the framework, so asking another library would describe one
    // that is not used.
    let named = if cfg!(target_os = "macos") { None } else { env::var_os(VARIABLE) };
    match named {
        Some(name) if !name.is_empty() => vec![name],
        _ => NAMES.iter().map(OsString::from).collect(),
    }
}

fn open(names: Vec<OsString>) -> Opened {
    let mut tried = Vec::new();
    let mut reasons: Vec<(bool, String)> = Vec::new();
    for name in names {
        tried.push(name.to_string_lossy().into_owned());
        // SAFETY: loading runs the library's initialisers. Those of an OpenCL library make no
        // demand on the program, and the user who names another library in the environment could as
        // well preload it.
        let library = match unsafe { Library::new(&name) } {
            Ok(library) => library,
            Err(error) => {
                let text = error_text(&error);
                // A file that exists but cannot be loaded explains more than one that does not
                // exist.
                let absent = text.contains("No such file");
                reasons.push((absent, text));
                continue;
            }
        };
        match symbol_in(&library, c"clGetPlatformIDs") {
            Some(known) => {
                let path = path_of(known).unwrap_or_else(|| PathBuf::from(&name));
                return Opened { status: Status::Loaded { path }, library: Some(library) };
            }
            None => reasons
                .push((false, "it is not an OpenCL library: clGetPlatformIDs is missing".into())),
        }
    }
    let best = reasons.iter().find(|(absent, _)| !absent).or(reasons.first());
    let reason = best.map(|(_, text)| text.clone()).unwrap_or_default();
    Opened { status: Status::Missing { tried, reason }, library: None }
}

/// The system's own words, which libloading keeps one level down.
fn error_text(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

fn symbol_in(library: &Library, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: an address is read as an address; nothing is called or dereferenced through it here.
    let symbol = unsafe { library.get::<*mut c_void>(name) }.ok()?;
    Some(*symbol).filter(|address| !address.is_null())
}

#[cfg(unix)]
fn path_of(address: *mut c_void) -> Option<PathBuf> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `info` has the size that dladdr fills, and dladdr accepts any address.
    if unsafe { libc::dladdr(address, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: dladdr succeeded and filled it; all zeroes, its state before, is valid as well.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a string that lives as long as the object it names stays loaded, and the caller holds
    // that object.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    Some(path.canonicalize().unwrap_or(path))
}

#[cfg(not(unix))]
fn path_of(_address: *mut c_void) -> Option<PathBuf> {
    None
}

pub(crate) fn status() -> &'static Status {
    &opened().status
}

pub(crate) fn symbol(name: &CStr) -> Option<*mut c_void> {
    symbol_in(opened().library.as_ref()?, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_all_that_was_tried() {
        let Opened { status, library } =
            open(vec!["/nonexistent/a.so".into(), "/nonexistent/b.so".into()]);
        assert!(library.is_none());
        let Status::Missing { tried, reason } = &status else { panic!("{status}") };
        assert_eq!(tried, &["/nonexistent/a.so", "/nonexistent/b.so"]);
        assert!(!reason.is_empty());
        assert!(status.to_string().contains("/nonexistent/b.so"), "{status}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_library_is_not_taken_for_opencl() {
        let Opened { status, library } = open(vec!["/nonexistent/a.so".into(), "libc.so.6".into()]);
        assert!(library.is_none());
        assert!(status.to_string().contains("clGetPlatformIDs"), "{status}");
    }
}
