//! The few functions of NVIDIA's driver that OpenCL has no counterpart for: memory that can be
//! handed to other contexts. libcuda lies beside every NVIDIA driver and is looked for when the
//! program runs.

use libloading::Library;
use std::ffi::{c_int, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

/// What a call answered instead of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub c_int);

impl Status {
    pub const OUT_OF_MEMORY: Status = Status(2);

    fn of(code: c_int) -> Result<(), Status> {
        if code == 0 { Ok(()) } else { Err(Status(code)) }
    }
}

/// Where memory is made and how it can be handed on: `CUmemAllocationProp`.
#[repr(C)]
struct Properties {
    kind: c_int,
    handle_types: c_int,
    location_kind: c_int,
    location: c_int,
    windows: *mut c_void,
    flags: [u8; 8],
}

/// `CU_MEM_ALLOCATION_TYPE_PINNED`: memory of the device itself.
const PINNED: c_int = 1;
/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`
const FILE_DESCRIPTOR: c_int = 1;
/// `CU_MEM_LOCATION_TYPE_DEVICE`
const DEVICE: c_int = 1;
/// `CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED`
const EXPORTS_FILES: c_int = 103;

impl Properties {
    fn on(device: c_int) -> Properties {
        Properties {
            kind: PINNED,
            handle_types: FILE_DESCRIPTOR,
            location_kind: DEVICE,
            location: device,
            windows: ptr::null_mut(),
            flags: [0; 8],
        }
    }
}

macro_rules! functions {
    ($($name:ident($($argument:ty),*);)*) => {
        /// Addresses of the functions, with the signatures of cuda.h.
        #[allow(non_snake_case, reason = "the functions have the names of cuda.h")]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> c_int,)*
            /// The functions are code of this library.
            _library: Library,
        }

        impl Functions {
            fn of(library: Library) -> Result<Functions, libloading::Error> {
                // SAFETY: symbols of these names have these signatures in every libcuda.
                unsafe {
                    Ok(Functions {
                        $($name: *library.get(concat!(stringify!($name), "\0").as_bytes())?,)*
                        _library: library,
                    })
                }
            }
        }
    };
}
functions! {
    cuInit(u32);
    cuDeviceGetCount(*mut c_int);
    cuDeviceGet(*mut c_int, c_int);
    cuDeviceGetUuid(*mut [u8; 16], c_int);
    cuDeviceGetAttribute(*mut c_int, c_int, c_int);
    cuDeviceCanAccessPeer(*mut c_int, c_int, c_int);
    cuMemGetAllocationGranularity(*mut usize, *const Properties, c_int);
    cuMemCreate(*mut u64, usize, *const Properties, u64);
    cuMemRelease(u64);
    cuMemExportToShareableHandle(*mut c_void, u64, c_int, u64);
}

/// The driver, loaded and initialised.
pub(super) struct Cuda(Functions);

impl Cuda {
    /// The driver, if there is one; never unloaded.
    pub fn get() -> Option<&'static Cuda> {
        static CUDA: OnceLock<Option<Cuda>> = OnceLock::new();
        let load = || {
            // SAFETY: the initialisers of a vendor's driver, which OpenCL has loaded already.
            let library = unsafe { Library::new("libcuda.so.1") }.map_err(|e| e.to_string())?;
            let functions = Functions::of(library).map_err(|e| e.to_string())?;
            // SAFETY: flags must be zero; called before any other function.
            Status::of(unsafe { (functions.cuInit)(0) })
                .map_err(|s| format!("cuInit answered {}", s.0))?;
            Ok::<_, String>(Cuda(functions))
        };
        let loaded =
            || load().inspect_err(|e| log::debug!("no memory is shared between GPUs: {e}")).ok();
        CUDA.get_or_init(loaded).as_ref()
    }

    fn number(&self, get: impl FnOnce(*mut c_int) -> c_int) -> Option<c_int> {
        let mut value = 0;
        (get(&mut value) == 0).then_some(value)
    }

    /// The device with this UUID, if its memory can be handed on as files.
    pub fn device(&self, uuid: [u8; 16]) -> Option<c_int> {
        let f = &self.0;
        // SAFETY: here and below a place for the answer is given, and devices come from cuDeviceGet.
        let count = self.number(|n| unsafe { (f.cuDeviceGetCount)(n) })?;
        (0..count).find_map(|ordinal| {
            let device = self.number(|d| unsafe { (f.cuDeviceGet)(d, ordinal) })?;
            let mut its = [0; 16];
            Status::of(unsafe { (f.cuDeviceGetUuid)(&mut its, device) }).ok()?;
            let exports =
                self.number(|n| unsafe { (f.cuDeviceGetAttribute)(n, EXPORTS_FILES, device) })?;
            (its == uuid && exports != 0).then_some(device)
        })
    }

    /// Whether `from` can load from and store to memory of `to`.
    pub fn reaches(&self, from: c_int, to: c_int) -> bool {
        // SAFETY: a place for the answer; devices come from `device`.
        self.number(|n| unsafe { (self.0.cuDeviceCanAccessPeer)(n, from, to) }) == Some(1)
    }

    /// What lengths of memory must be multiples of.
    pub fn granularity(&self, device: c_int) -> Option<usize> {
        let mut bytes = 0;
        let properties = Properties::on(device);
        // SAFETY: a place for the answer; 0 asks for the least granularity.
        let code = unsafe { (self.0.cuMemGetAllocationGranularity)(&mut bytes, &properties, 0) };
        (code == 0 && bytes > 0).then_some(bytes)
    }

    /// Memory of `bytes`, a multiple of the granularity, that can be exported.
    pub fn create(&'static self, device: c_int, bytes: usize) -> Result<Allocation, Status> {
        let mut handle = 0;
        let properties = Properties::on(device);
        // SAFETY: a place for the handle, and properties that the call only reads.
        Status::of(unsafe { (self.0.cuMemCreate)(&mut handle, bytes, &properties, 0) })?;
        Ok(Allocation { cuda: self, handle })
    }
}

/// Memory that the driver made. It exists until this and everything imported from it is gone.
pub(super) struct Allocation {
    cuda: &'static Cuda,
    handle: u64,
}

impl Allocation {
    /// A file that stands for the memory. Each import takes one of its own.
    pub fn export(&self) -> Result<OwnedFd, Status> {
        let mut fd: c_int = -1;
        // SAFETY: for handles of this type the call writes an `int`.
        Status::of(unsafe {
            (self.cuda.0.cuMemExportToShareableHandle)(
                (&raw mut fd).cast(),
                self.handle,
                FILE_DESCRIPTOR,
                0,
            )
        })?;
        // SAFETY: the driver has just made it for the caller to own.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: a handle from cuMemCreate that is released once.
        let code = unsafe { (self.cuda.0.cuMemRelease)(self.handle) };
        if code != 0 {
            log::debug!("cuMemRelease answered {code}");
        }
    }
}
