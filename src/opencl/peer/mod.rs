//! Memory that other GPUs can reach. OpenCL cannot make it, but it can import it: NVIDIA's driver
//! makes the memory and hands out a file for it, and each context that is to use it, that of its own
//! device too, imports the file as a buffer. Loads and stores through the buffer go over NVLink.
//!
//! Nothing of this is there on other systems and devices: then [`Exporter::of`] is `None`.

mod cuda;

use super::{ClDevice, is_out_of_memory_code};
use cuda::{Allocation, Cuda, Status};
use ocl::core::{self, Mem};
use ocl::ffi;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Blocks from this size on are made so that they can be shared. The driver makes them in
/// multiples of 2 MiB.
pub(crate) const SMALLEST: usize = 2 << 20;

/// Larger blocks are made the ordinary way: NVIDIA's driver (580.159 on an H200) crashes when it
/// imports 512 MiB or more, whatever the granularity, flags or stack; 510 MiB are well.
const LARGEST: usize = 510 << 20;

/// Whether blocks of this size are made so that they can be shared.
pub(crate) fn is_shareable(bytes: usize) -> bool {
    (SMALLEST..=LARGEST).contains(&bytes)
}

/// Makes memory of one device that others can import.
pub(crate) struct Exporter {
    cuda: &'static Cuda,
    device: c_int,
    granularity: usize,
}

/// The part of a block that makes it reachable for other devices.
pub(crate) struct Shared {
    /// What contexts of other devices have imported it as, by the device's address: devices live as
    /// long as the process.
    imports: Mutex<Vec<(usize, Mem)>>,
    bytes: usize,
    allocation: Allocation,
}

/// Why memory could not be shared.
pub(crate) enum Refusal {
    OutOfMemory,
    /// The call and its status.
    Other(&'static str, i32),
}

impl Refusal {
    fn driver(call: &'static str, status: Status) -> Refusal {
        match status {
            Status::OUT_OF_MEMORY => Refusal::OutOfMemory,
            Status(code) => Refusal::Other(call, code),
        }
    }
}

type CreateBufferWithProperties = unsafe extern "system" fn(
    ffi::cl_context,
    *const u64,
    u64,
    usize,
    *mut c_void,
    *mut i32,
) -> ffi::cl_mem;

/// The function of OpenCL 3.0, which older libraries do not have.
fn create_buffer_with_properties() -> Option<CreateBufferWithProperties> {
    static ADDRESS: OnceLock<Option<CreateBufferWithProperties>> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let name = c"clCreateBufferWithProperties";
        #[cfg(feature = "loader")]
        let address = clan_opencl_loader::symbol(name)?;
        #[cfg(not(feature = "loader"))]
        let address = {
            // SAFETY: the program is linked to this library, so it is loaded already; leaked, so that it
            // stays so.
            let library =
                Box::leak(Box::new(unsafe { libloading::Library::new("libOpenCL.so.1") }.ok()?));
            // SAFETY: an address is read as an address.
            *unsafe { library.get::<*mut c_void>(name) }.ok().filter(|a| !a.is_null())?
        };
        // SAFETY: the symbol of this name is this function in every OpenCL library, and the library
        // is never unloaded.
        Some(unsafe { std::mem::transmute::<*mut c_void, CreateBufferWithProperties>(address) })
    })
}

impl Exporter {
    /// What makes memory of this device that others can reach; `None` where that is not to be had.
    pub fn of(device: &ClDevice) -> Option<Exporter> {
        const EXTERNAL_MEMORY_FILE: &str = "cl_khr_external_memory_opaque_fd";
        /// `CL_DEVICE_UUID_KHR`
        const UUID: u32 = 0x106a;
        let extensions =
            core::get_device_info_raw(device.id, core::DeviceInfo::Extensions as u32).ok()?;
        if !String::from_utf8_lossy(&extensions).contains(EXTERNAL_MEMORY_FILE) {
            return None;
        }
        create_buffer_with_properties()?;
        let uuid = core::get_device_info_raw(device.id, UUID).ok()?;
        let cuda = Cuda::get()?;
        let cuda_device = cuda.device(uuid.try_into().ok()?)?;
        let granularity = cuda.granularity(cuda_device)?;
        Some(Exporter { cuda, device: cuda_device, granularity })
    }

    /// What lengths of its memory are multiples of.
    pub fn granularity(&self) -> usize {
        self.granularity
    }

    /// Whether this device can load from and store to memory of the other.
    pub fn reaches(&self, other: &Exporter) -> bool {
        self.device != other.device && self.cuda.reaches(self.device, other.device)
    }

    /// Memory of this device as a buffer of it.
    pub fn create(&self, device: &ClDevice, bytes: usize) -> Result<(Mem, Shared), Refusal> {
        let bytes = bytes.next_multiple_of(self.granularity);
        let allocation =
            self.cuda.create(self.device, bytes).map_err(|s| Refusal::driver("cuMemCreate", s))?;
        let shared = Shared { imports: Mutex::default(), bytes, allocation };
        let mem = shared.import(device)?;
        Ok((mem, shared))
    }
}

impl Shared {
    /// The memory as a buffer of another device, imported at its first use.
    pub fn seen_by(&self, device: &ClDevice) -> Result<Mem, Refusal> {
        let key = ptr::from_ref(device) as usize;
        let mut imports = self.imports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mem)) = imports.iter().find(|(k, _)| *k == key) {
            return Ok(mem.clone());
        }
        let mem = self.import(device)?;
        imports.push((key, mem.clone()));
        Ok(mem)
    }

    fn import(&self, device: &ClDevice) -> Result<Mem, Refusal> {
        const CALL: &str = "clCreateBufferWithProperties";
        /// `CL_EXTERNAL_MEMORY_HANDLE_OPAQUE_FD_KHR`
        const FILE: u64 = 0x2060;
        let Ok(runtime) = device.runtime() else {
            return Err(Refusal::Other("clCreateContext", 0));
        };
        let Some(create) = create_buffer_with_properties() else {
            return Err(Refusal::Other(CALL, 0));
        };
        let file = self
            .allocation
            .export()
            .map_err(|s| Refusal::driver("cuMemExportToShareableHandle", s))?;
        let properties = [FILE, file.as_raw_fd() as u64, 0];
        let mut status = 0;
        // SAFETY: a context of this process, properties that end in 0, a file that stands for as many
        // bytes, and no host memory.
        let mem = unsafe {
            create(
                runtime.context.as_ptr(),
                properties.as_ptr(),
                ffi::CL_MEM_READ_WRITE,
                self.bytes,
                ptr::null_mut(),
                &mut status,
            )
        };
        if status != 0 || mem.is_null() {
            return Err(match is_out_of_memory_code(status) {
                true => Refusal::OutOfMemory,
                false => Refusal::Other(CALL, status),
            });
        }
        // A successful import takes the file over.
        let _ = file.into_raw_fd();
        // SAFETY: the call has just made it, with one reference for the caller.
        Ok(unsafe { Mem::from_raw_create_ptr(mem) })
    }
}
