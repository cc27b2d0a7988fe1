//! The entry points themselves: every name that a program can link against, each of them a step to
//! the library.

use std::ffi::{c_char, c_uchar, c_void};
use std::mem::transmute;
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::code::{self, INVALID_OPERATION, PLATFORM_NOT_FOUND, SUCCESS};
use crate::library;

/// Any `cl_*` object: a pointer that only the library looks behind.
type Handle = *mut c_void;

/// Any callback. It passes through unseen, and all function pointers are passed alike.
type Callback = Option<unsafe extern "C" fn()>;

/// The type of an entry point, from its kind and the types of its parameters.
macro_rules! signature {
    (create($($ty:ty),*)) => { unsafe extern "system" fn($($ty,)* *mut i32) -> Handle };
    (binary($($ty:ty),*)) => { signature!(create($($ty),*)) };
    (pointer($($ty:ty),*)) => { unsafe extern "system" fn($($ty),*) -> *mut c_void };
    (void($($ty:ty),*)) => { unsafe extern "system" fn($($ty),*) };
    ($kind:ident($($ty:ty),*)) => { unsafe extern "system" fn($($ty),*) -> i32 };
}

/// Calls the library's function of this name, or answers with `$absent` when there is none.
// SAFETY, wherever it is used: the address was found under this name in an OpenCL library, the
// signature is that of the OpenCL headers, and the arguments are the caller's own, who promised the
// same to us as to the library.
macro_rules! forward {
    ($name:ident($($arg:expr),*) else $absent:expr) => {
        match table().$name {
            // SAFETY: see above.
            Some(function) => unsafe { function($($arg),*) },
            None => $absent,
        }
    };
}

/// One entry point. The kinds are described at the table.
macro_rules! entry_point {
    (code $name:ident($($arg:ident: $ty:ty),*)) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($arg: $ty),*) -> i32 {
            let name = stringify!($name);
            code::tame(name, forward!($name($($arg),*) else return absent(name)))
        }
    };
    (discover $name:ident($($arg:ident: $ty:ty),*)) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($arg: $ty),*) -> i32 {
            let name = stringify!($name);
            let _one_at_a_time = discovery();
            code::tame(name, forward!($name($($arg),*) else return absent(name)))
        }
    };
    (platforms $name:ident($entries:ident: $e:ty, $platforms:ident: $p:ty, $count:ident: $c:ty)) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($entries: $e, $platforms: $p, $count: $c) -> i32 {
            let _one_at_a_time = discovery();
            let name = stringify!($name);
            let code = forward!($name($entries, $platforms, $count) else PLATFORM_NOT_FOUND);
            if code != PLATFORM_NOT_FOUND {
                return code::tame(name, code);
            }
            // No platforms is an answer, not an error. ocl-core would take the error for a loader
            // that is still waking up, sleep for ten seconds and panic.
            if !$count.is_null() {
                // SAFETY: the caller passes null or a place for the number.
                unsafe { $count.write(0) };
            }
            SUCCESS
        }
    };
    (release $name:ident($($arg:ident: $ty:ty),*)) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($arg: $ty),*) -> i32 {
            let name = stringify!($name);
            code::tame_release(name, forward!($name($($arg),*) else absent(name)))
        }
    };
    (create $name:ident($($arg:ident: $ty:ty),*)) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($arg: $ty,)* errcode_ret: *mut i32) -> Handle {
            let name = stringify!($name);
            // A local, so that the code is seen here even when the caller did not ask for it.
            let mut code = SUCCESS;
            let object = forward!($name($($arg,)* &mut code) else {
                code = absent(name);
                ptr::null_mut()
            });
            let code = code::tame_created(name, object.is_null(), code);
            if !errcode_ret.is_null() {
                // SAFETY: the caller passes null or a place for the code.
                unsafe { errcode_ret.write(code) };
            }
            object
        }
    };
    (binary $name:ident(
        $context:ident: $c:ty, $count:ident: $n:ty, $devices:ident: $d:ty,
        $lengths:ident: $l:ty, $binaries:ident: $b:ty, $statuses:ident: $s:ty
    )) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name(
            $context: $c, $count: $n, $devices: $d, $lengths: $l, $binaries: $b, $statuses: $s,
            errcode_ret: *mut i32,
        ) -> Handle {
            let name = stringify!($name);
            let mut code = SUCCESS;
            let object = forward!(
                $name($context, $count, $devices, $lengths, $binaries, $statuses, &mut code) else {
                    code = absent(name);
                    ptr::null_mut()
                }
            );
            let code = code::tame_created(name, object.is_null(), code);
            // Only a success promises that every status has been written.
            if code == SUCCESS && !$statuses.is_null() {
                for index in 0..$count as usize {
                    // SAFETY: the caller has room for one status a device, and the library has
                    // written them.
                    unsafe {
                        let status = $statuses.add(index);
                        status.write(code::tame(name, status.read()));
                    }
                }
            }
            if !errcode_ret.is_null() {
                // SAFETY: the caller passes null or a place for the code.
                unsafe { errcode_ret.write(code) };
            }
            object
        }
    };
    (pointer $name:ident($($arg:ident: $ty:ty),*)) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($arg: $ty),*) -> *mut c_void {
            forward!($name($($arg),*) else {
                absent(stringify!($name));
                ptr::null_mut()
            })
        }
    };
    (void $name:ident($($arg:ident: $ty:ty),*)) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($arg: $ty),*) {
            forward!($name($($arg),*) else {
                absent(stringify!($name));
            })
        }
    };
}

macro_rules! entry_points {
    ($($kind:ident $name:ident($($arg:ident: $ty:ty),* $(,)?);)*) => {
        /// Where each entry point of the loaded library is; `None` where it has none.
        struct Table {
            $($name: Option<signature!($kind($($ty),*))>,)*
        }

        impl Table {
            fn fill() -> Self {
                Self {
                    $($name: library::symbol(
                        // A literal with its own terminator: no name is built when the program
                        // runs.
                        const { nul_terminated(concat!(stringify!($name), "\0")) }
                    ).map(|address| {
                        // SAFETY: `symbol` never answers null, the symbol of this name in an OpenCL
                        // library is a function of this signature, and the library is never
                        // unloaded.
                        unsafe { transmute::<*mut c_void, signature!($kind($($ty),*))>(address) }
                    }),)*
                }
            }
        }

        $(
            entry_point! { $kind $name($($arg: $ty),*) }

            // A shared library that embeds this package must not offer OpenCL to the rest of its
            // process: the program or the real library could bind to it.
            #[cfg(not(windows))]
            std::arch::global_asm!(concat!(".hidden ", stringify!($name)));
        )*
    };
}

const fn nul_terminated(name: &str) -> &std::ffi::CStr {
    match std::ffi::CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a name without its terminator"),
    }
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(Table::fill)
}

/// Held while platforms or devices are listed. ICD loaders and drivers set themselves up in these
/// calls, and not all of them bear two threads there. No callback of the caller's runs below it, so
/// it cannot be taken twice.
pub(crate) fn discovery() -> MutexGuard<'static, ()> {
    static DISCOVERY: Mutex<()> = Mutex::new(());
    // It guards no data, so a thread that panicked with it has left nothing behind.
    DISCOVERY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a call answers that leads nowhere.
#[cold]
fn absent(name: &'static str) -> i32 {
    let status = library::status();
    log::debug!("{name} is not available: {status}");
    match status {
        library::Status::Missing { .. } => code::tame(name, PLATFORM_NOT_FOUND),
        library::Status::Loaded { .. } => code::tame(name, INVALID_OPERATION),
    }
}

// The kind of an entry point says how its answer reaches the caller:
//
//   code       a status is returned
//   platforms  the same, and no platforms is a success
//   discover   the same, and one call at a time
//   release    a status is returned, and it is always success
//   create     an object is returned; one more parameter, `errcode_ret: *mut i32`, comes last
//   binary     the same, and one status a device is written
//   pointer    an address is returned, null without the library
//   void       nothing is returned
//
// Structures are `c_void` and enumerations their integers: nothing but handles and numbers passes
// in registers.
entry_points! {
    // OpenCL 1.0
    platforms clGetPlatformIDs(num_entries: u32, platforms: *mut Handle, num_platforms: *mut u32);
    code clGetPlatformInfo(
        platform: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    discover clGetDeviceIDs(
        platform: Handle, device_type: u64, num_entries: u32, devices: *mut Handle,
        num_devices: *mut u32
    );
    code clGetDeviceInfo(
        device: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );

    create clCreateContext(
        properties: *const isize, num_devices: u32, devices: *const Handle, pfn_notify: Callback,
        user_data: *mut c_void
    );
    create clCreateContextFromType(
        properties: *const isize, device_type: u64, pfn_notify: Callback, user_data: *mut c_void
    );
    code clRetainContext(context: Handle);
    release clReleaseContext(context: Handle);
    code clGetContextInfo(
        context: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );

    create clCreateCommandQueue(context: Handle, device: Handle, properties: u64);
    code clSetCommandQueueProperty(
        queue: Handle, properties: u64, enable: u32, old_properties: *mut u64
    );
    code clRetainCommandQueue(queue: Handle);
    release clReleaseCommandQueue(queue: Handle);
    code clGetCommandQueueInfo(
        queue: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );

    create clCreateBuffer(context: Handle, flags: u64, size: usize, host_ptr: *mut c_void);
    create clCreateImage2D(
        context: Handle, flags: u64, format: *const c_void, width: usize, height: usize,
        row_pitch: usize, host_ptr: *mut c_void
    );
    create clCreateImage3D(
        context: Handle, flags: u64, format: *const c_void, width: usize, height: usize,
        depth: usize, row_pitch: usize, slice_pitch: usize, host_ptr: *mut c_void
    );
    code clRetainMemObject(memobj: Handle);
    release clReleaseMemObject(memobj: Handle);
    code clGetMemObjectInfo(
        memobj: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    code clGetImageInfo(
        image: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    code clGetSupportedImageFormats(
        context: Handle, flags: u64, image_type: u32, num_entries: u32,
        image_formats: *mut c_void, num_image_formats: *mut u32
    );

    create clCreateSampler(
        context: Handle, normalize_coords: u32, addressing_mode: u32, filter_mode: u32
    );
    code clRetainSampler(sampler: Handle);
    release clReleaseSampler(sampler: Handle);
    code clGetSamplerInfo(
        sampler: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );

    create clCreateProgramWithSource(
        context: Handle, count: u32, strings: *const *const c_char, lengths: *const usize
    );
    binary clCreateProgramWithBinary(
        context: Handle, num_devices: u32, device_list: *const Handle, lengths: *const usize,
        binaries: *const *const c_uchar, binary_status: *mut i32
    );
    code clRetainProgram(program: Handle);
    release clReleaseProgram(program: Handle);
    code clBuildProgram(
        program: Handle, num_devices: u32, device_list: *const Handle, options: *const c_char,
        pfn_notify: Callback, user_data: *mut c_void
    );
    code clUnloadCompiler();
    code clGetProgramInfo(
        program: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    code clGetProgramBuildInfo(
        program: Handle, device: Handle, param: u32, size: usize, value: *mut c_void,
        size_ret: *mut usize
    );

    create clCreateKernel(program: Handle, kernel_name: *const c_char);
    code clCreateKernelsInProgram(
        program: Handle, num_kernels: u32, kernels: *mut Handle, num_kernels_ret: *mut u32
    );
    code clRetainKernel(kernel: Handle);
    release clReleaseKernel(kernel: Handle);
    code clSetKernelArg(kernel: Handle, arg_index: u32, arg_size: usize, arg_value: *const c_void);
    code clGetKernelInfo(
        kernel: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    code clGetKernelWorkGroupInfo(
        kernel: Handle, device: Handle, param: u32, size: usize, value: *mut c_void,
        size_ret: *mut usize
    );

    code clWaitForEvents(num_events: u32, event_list: *const Handle);
    code clGetEventInfo(
        event: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    code clRetainEvent(event: Handle);
    release clReleaseEvent(event: Handle);
    code clGetEventProfilingInfo(
        event: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );

    code clFlush(queue: Handle);
    code clFinish(queue: Handle);

    code clEnqueueReadBuffer(
        queue: Handle, buffer: Handle, blocking_read: u32, offset: usize, cb: usize,
        ptr: *mut c_void, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueWriteBuffer(
        queue: Handle, buffer: Handle, blocking_write: u32, offset: usize, cb: usize,
        ptr: *const c_void, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueCopyBuffer(
        queue: Handle, src_buffer: Handle, dst_buffer: Handle, src_offset: usize,
        dst_offset: usize, cb: usize, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueReadImage(
        queue: Handle, image: Handle, blocking_read: u32, origin: *const usize,
        region: *const usize, row_pitch: usize, slice_pitch: usize, ptr: *mut c_void, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueWriteImage(
        queue: Handle, image: Handle, blocking_write: u32, origin: *const usize,
        region: *const usize, input_row_pitch: usize, input_slice_pitch: usize,
        ptr: *const c_void, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueCopyImage(
        queue: Handle, src_image: Handle, dst_image: Handle, src_origin: *const usize,
        dst_origin: *const usize, region: *const usize, waits: u32, wait_list: *const Handle,
        event: *mut Handle
    );
    code clEnqueueCopyImageToBuffer(
        queue: Handle, src_image: Handle, dst_buffer: Handle, src_origin: *const usize,
        region: *const usize, dst_offset: usize, waits: u32, wait_list: *const Handle,
        event: *mut Handle
    );
    code clEnqueueCopyBufferToImage(
        queue: Handle, src_buffer: Handle, dst_image: Handle, src_offset: usize,
        dst_origin: *const usize, region: *const usize, waits: u32, wait_list: *const Handle,
        event: *mut Handle
    );
    create clEnqueueMapBuffer(
        queue: Handle, buffer: Handle, blocking_map: u32, map_flags: u64, offset: usize,
        size: usize, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    create clEnqueueMapImage(
        queue: Handle, image: Handle, blocking_map: u32, map_flags: u64, origin: *const usize,
        region: *const usize, image_row_pitch: *mut usize, image_slice_pitch: *mut usize,
        waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueUnmapMemObject(
        queue: Handle, memobj: Handle, mapped_ptr: *mut c_void, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueNDRangeKernel(
        queue: Handle, kernel: Handle, work_dim: u32, global_work_offset: *const usize,
        global_work_dims: *const usize, local_work_dims: *const usize, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueTask(
        queue: Handle, kernel: Handle, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueNativeKernel(
        queue: Handle, user_func: Callback, args: *mut c_void, cb_args: usize,
        num_mem_objects: u32, mem_list: *const Handle, args_mem_loc: *const *const c_void,
        waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueMarker(queue: Handle, event: *mut Handle);
    code clEnqueueWaitForEvents(queue: Handle, num_events: u32, event_list: *mut Handle);
    code clEnqueueBarrier(queue: Handle);

    pointer clGetExtensionFunctionAddress(name: *const c_char);


    // OpenCL 1.1
    create clCreateSubBuffer(
        buffer: Handle, flags: u64, buffer_create_type: u32, buffer_create_info: *const c_void
    );
    code clSetMemObjectDestructorCallback(
        memobj: Handle, pfn_notify: Callback, user_data: *mut c_void
    );
    create clCreateUserEvent(context: Handle);
    code clSetUserEventStatus(event: Handle, execution_status: i32);
    code clSetEventCallback(
        event: Handle, command_exec_callback_type: i32, pfn_notify: Callback,
        user_data: *mut c_void
    );
    code clEnqueueReadBufferRect(
        queue: Handle, buffer: Handle, blocking_read: u32, buffer_origin: *const usize,
        host_origin: *const usize, region: *const usize, buffer_row_pitch: usize,
        buffer_slice_pitch: usize, host_row_pitch: usize, host_slice_pitch: usize,
        ptr: *mut c_void, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueWriteBufferRect(
        queue: Handle, buffer: Handle, blocking_write: u32, buffer_origin: *const usize,
        host_origin: *const usize, region: *const usize, buffer_row_pitch: usize,
        buffer_slice_pitch: usize, host_row_pitch: usize, host_slice_pitch: usize,
        ptr: *const c_void, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueCopyBufferRect(
        queue: Handle, src_buffer: Handle, dst_buffer: Handle, src_origin: *const usize,
        dst_origin: *const usize, region: *const usize, src_row_pitch: usize,
        src_slice_pitch: usize, dst_row_pitch: usize, dst_slice_pitch: usize, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );

    // OpenCL 1.2
    code clCreateSubDevices(
        in_device: Handle, properties: *const isize, num_devices: u32, out_devices: *mut Handle,
        num_devices_ret: *mut u32
    );
    code clRetainDevice(device: Handle);
    release clReleaseDevice(device: Handle);
    create clCreateImage(
        context: Handle, flags: u64, image_format: *const c_void, image_desc: *const c_void,
        host_ptr: *mut c_void
    );
    create clCreateProgramWithBuiltInKernels(
        context: Handle, num_devices: u32, device_list: *const Handle, kernel_names: *const c_char
    );
    code clCompileProgram(
        program: Handle, num_devices: u32, device_list: *const Handle, options: *const c_char,
        num_input_headers: u32, input_headers: *const Handle,
        header_include_names: *const *const c_char, pfn_notify: Callback, user_data: *mut c_void
    );
    create clLinkProgram(
        context: Handle, num_devices: u32, device_list: *const Handle, options: *const c_char,
        num_input_programs: u32, input_programs: *const Handle, pfn_notify: Callback,
        user_data: *mut c_void
    );
    code clUnloadPlatformCompiler(platform: Handle);
    code clGetKernelArgInfo(
        kernel: Handle, arg_index: u32, param: u32, size: usize, value: *mut c_void,
        size_ret: *mut usize
    );
    code clEnqueueFillBuffer(
        queue: Handle, buffer: Handle, pattern: *const c_void, pattern_size: usize, offset: usize,
        size: usize, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueFillImage(
        queue: Handle, image: Handle, fill_color: *const c_void, origin: *const usize,
        region: *const usize, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueMigrateMemObjects(
        queue: Handle, num_mem_objects: u32, mem_objects: *const Handle, flags: u64, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueMarkerWithWaitList(
        queue: Handle, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueBarrierWithWaitList(
        queue: Handle, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    pointer clGetExtensionFunctionAddressForPlatform(platform: Handle, name: *const c_char);

    // OpenCL 2.0
    create clCreateCommandQueueWithProperties(
        context: Handle, device: Handle, properties: *const u64
    );
    create clCreatePipe(
        context: Handle, flags: u64, pipe_packet_size: u32, pipe_max_packets: u32,
        properties: *const isize
    );
    code clGetPipeInfo(
        pipe: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    pointer clSVMAlloc(context: Handle, flags: u64, size: usize, alignment: u32);
    void clSVMFree(context: Handle, svm_pointer: *mut c_void);
    code clEnqueueSVMFree(
        queue: Handle, num_svm_pointers: u32, svm_pointers: *const *const c_void,
        pfn_free_func: Callback, user_data: *mut c_void, waits: u32, wait_list: *const Handle,
        event: *mut Handle
    );
    code clEnqueueSVMMemcpy(
        queue: Handle, blocking_copy: u32, dst_ptr: *mut c_void, src_ptr: *const c_void,
        size: usize, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueSVMMemFill(
        queue: Handle, svm_ptr: *mut c_void, pattern: *const c_void, pattern_size: usize,
        size: usize, waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueSVMMap(
        queue: Handle, blocking_map: u32, flags: u64, svm_ptr: *mut c_void, size: usize,
        waits: u32, wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueSVMUnmap(
        queue: Handle, svm_ptr: *mut c_void, waits: u32, wait_list: *const Handle,
        event: *mut Handle
    );
    create clCreateSamplerWithProperties(context: Handle, normalized_coords: *const u64);
    code clSetKernelArgSVMPointer(kernel: Handle, arg_index: u32, arg_value: *const c_void);
    code clSetKernelExecInfo(kernel: Handle, param: u32, size: usize, value: *const c_void);

    // OpenCL 2.1
    code clSetDefaultDeviceCommandQueue(context: Handle, device: Handle, queue: Handle);
    code clGetDeviceAndHostTimer(
        device: Handle, device_timestamp: *mut u64, host_timestamp: *mut u64
    );
    code clGetHostTimer(device: Handle, host_timestamp: *mut u64);
    create clCreateProgramWithIL(context: Handle, il: *const c_void, length: usize);
    create clCloneKernel(source_kernel: Handle);
    code clGetKernelSubGroupInfo(
        kernel: Handle, device: Handle, param: u32, input_value_size: usize,
        input_value: *const c_void, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    code clEnqueueSVMMigrateMem(
        queue: Handle, num_svm_pointers: u32, svm_pointers: *const *const c_void,
        sizes: *const usize, flags: u64, waits: u32, wait_list: *const Handle, event: *mut Handle
    );

    // OpenCL 2.2
    code clSetProgramReleaseCallback(program: Handle, pfn_notify: Callback, user_data: *mut c_void);
    code clSetProgramSpecializationConstant(
        program: Handle, spec_id: u32, spec_size: usize, spec_value: *const c_void
    );

    // OpenCL 3.0
    code clSetContextDestructorCallback(
        context: Handle, pfn_notify: Callback, user_data: *mut c_void
    );
    create clCreateBufferWithProperties(
        context: Handle, properties: *const u64, flags: u64, size: usize, host_ptr: *mut c_void
    );
    create clCreateImageWithProperties(
        context: Handle, properties: *const u64, flags: u64, image_format: *const c_void,
        image_desc: *const c_void, host_ptr: *mut c_void
    );

    // OpenCL 3.1
    code clGetKernelSuggestedLocalWorkSize(
        queue: Handle, kernel: Handle, work_dim: u32, global_work_offset: *const usize,
        global_work_size: *const usize, suggested_local_work_size: *mut usize
    );

    // cl_khr_gl_sharing, cl_khr_gl_event
    create clCreateFromGLBuffer(context: Handle, flags: u64, bufobj: u32);
    create clCreateFromGLTexture(
        context: Handle, flags: u64, target: u32, miplevel: i32, texture: u32
    );
    create clCreateFromGLTexture2D(
        context: Handle, flags: u64, texture_target: u32, miplevel: i32, texture: u32
    );
    create clCreateFromGLTexture3D(
        context: Handle, flags: u64, texture_target: u32, miplevel: i32, texture: u32
    );
    create clCreateFromGLRenderbuffer(context: Handle, flags: u64, renderbuffer: u32);
    code clGetGLObjectInfo(memobj: Handle, gl_object_type: *mut u32, gl_object_name: *mut u32);
    code clGetGLTextureInfo(
        memobj: Handle, param: u32, size: usize, value: *mut c_void, size_ret: *mut usize
    );
    code clEnqueueAcquireGLObjects(
        queue: Handle, num_objects: u32, mem_objects: *const Handle, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueReleaseGLObjects(
        queue: Handle, num_objects: u32, mem_objects: *const Handle, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    discover clGetGLContextInfoKHR(
        properties: *const isize, param: u32, size: usize, value: *mut c_void,
        size_ret: *mut usize
    );
    create clCreateEventFromGLsyncKHR(context: Handle, sync: Handle);

    // cl_khr_egl_image, cl_khr_egl_event
    create clCreateFromEGLImageKHR(
        context: Handle, display: Handle, image: Handle, flags: u64, properties: *const isize
    );
    code clEnqueueAcquireEGLObjectsKHR(
        queue: Handle, num_objects: u32, mem_objects: *const Handle, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    code clEnqueueReleaseEGLObjectsKHR(
        queue: Handle, num_objects: u32, mem_objects: *const Handle, waits: u32,
        wait_list: *const Handle, event: *mut Handle
    );
    create clCreateEventFromEGLSyncKHR(context: Handle, sync: Handle, display: Handle);

    // other extensions whose entry points common ICD loaders export
    code clCreateSubDevicesEXT(
        in_device: Handle, properties: *const u64, num_entries: u32, out_devices: *mut Handle,
        num_devices: *mut u32
    );
    code clRetainDeviceEXT(device: Handle);
    release clReleaseDeviceEXT(device: Handle);
    code clGetKernelSubGroupInfoKHR(
        in_kernel: Handle, in_device: Handle, param: u32, input_value_size: usize,
        input_value: *const c_void, size: usize, value: *mut c_void, size_ret: *mut usize
    );
}
