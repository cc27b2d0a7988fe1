//! Every entry point that the bindings declare is there. The proof is that this file links.
#![cfg(not(target_os = "macos"))]

use clan_opencl_loader as _;

macro_rules! addresses {
    ($crate_:ident: $($name:ident)*) => {
        [$(($crate_::$name as *const () as usize, stringify!($name))),*]
    };
}

fn check(addresses: &[(usize, &str)]) {
    let mut seen = std::collections::HashMap::new();
    for &(address, name) in addresses {
        // `black_box` keeps the reference: an optimiser may know that no function is at null.
        assert_ne!(std::hint::black_box(address), 0, "{name}");
        seen.insert(name, address);
    }
    assert_eq!(seen.len(), addresses.len(), "a name is there twice");
}

#[test]
#[rustfmt::skip]
fn all_of_cl_sys() {
    check(&addresses! { cl_sys:
        clBuildProgram clCloneKernel clCompileProgram clCreateBuffer clCreateCommandQueue
        clCreateCommandQueueWithProperties clCreateContext clCreateContextFromType
        clCreateFromGLBuffer clCreateFromGLRenderbuffer clCreateFromGLTexture
        clCreateFromGLTexture2D clCreateFromGLTexture3D clCreateImage clCreateImage2D
        clCreateImage3D clCreateKernel clCreateKernelsInProgram clCreatePipe
        clCreateProgramWithBinary clCreateProgramWithBuiltInKernels clCreateProgramWithIL
        clCreateProgramWithSource clCreateSampler clCreateSamplerWithProperties
        clCreateSubBuffer clCreateSubDevices clCreateUserEvent clEnqueueAcquireGLObjects
        clEnqueueBarrier clEnqueueBarrierWithWaitList clEnqueueCopyBuffer
        clEnqueueCopyBufferRect clEnqueueCopyBufferToImage clEnqueueCopyImage
        clEnqueueCopyImageToBuffer clEnqueueFillBuffer clEnqueueFillImage clEnqueueMapBuffer
        clEnqueueMapImage clEnqueueMarker clEnqueueMarkerWithWaitList
        clEnqueueMigrateMemObjects clEnqueueNDRangeKernel clEnqueueNativeKernel
        clEnqueueReadBuffer clEnqueueReadBufferRect clEnqueueReadImage
        clEnqueueReleaseGLObjects clEnqueueSVMFree clEnqueueSVMMap clEnqueueSVMMemFill
        clEnqueueSVMMemcpy clEnqueueSVMMigrateMem clEnqueueSVMUnmap clEnqueueTask
        clEnqueueUnmapMemObject clEnqueueWaitForEvents clEnqueueWriteBuffer
        clEnqueueWriteBufferRect clEnqueueWriteImage clFinish clFlush clGetCommandQueueInfo
        clGetContextInfo clGetDeviceAndHostTimer clGetDeviceIDs clGetDeviceInfo
        clGetEventInfo clGetEventProfilingInfo clGetExtensionFunctionAddress
        clGetExtensionFunctionAddressForPlatform clGetGLContextInfoKHR clGetGLObjectInfo
        clGetGLTextureInfo clGetHostTimer clGetImageInfo clGetKernelArgInfo clGetKernelInfo
        clGetKernelSubGroupInfo clGetKernelWorkGroupInfo clGetMemObjectInfo clGetPipeInfo
        clGetPlatformIDs clGetPlatformInfo clGetProgramBuildInfo clGetProgramInfo
        clGetSamplerInfo clGetSupportedImageFormats clLinkProgram clReleaseCommandQueue
        clReleaseContext clReleaseDevice clReleaseEvent clReleaseKernel clReleaseMemObject
        clReleaseProgram clReleaseSampler clRetainCommandQueue clRetainContext
        clRetainDevice clRetainEvent clRetainKernel clRetainMemObject clRetainProgram
        clRetainSampler clSVMAlloc clSVMFree clSetDefaultDeviceCommandQueue
        clSetEventCallback clSetKernelArg clSetKernelArgSVMPointer clSetKernelExecInfo
        clSetMemObjectDestructorCallback clSetUserEventStatus clUnloadCompiler
        clWaitForEvents
    });
}

#[test]
#[rustfmt::skip]
#[allow(deprecated, reason = "old programs call old functions")]
fn all_of_opencl_sys() {
    check(&addresses! { opencl_sys:
        clGetPlatformIDs clGetPlatformInfo clGetDeviceIDs clGetDeviceInfo clCreateContext
        clCreateContextFromType clRetainContext clReleaseContext clGetContextInfo
        clCreateCommandQueue clRetainCommandQueue clReleaseCommandQueue
        clGetCommandQueueInfo clCreateBuffer clCreateImage2D clCreateImage3D
        clRetainMemObject clReleaseMemObject clGetMemObjectInfo clGetImageInfo
        clGetSupportedImageFormats clCreateSampler clRetainSampler clReleaseSampler
        clGetSamplerInfo clCreateProgramWithSource clCreateProgramWithBinary clRetainProgram
        clReleaseProgram clBuildProgram clUnloadCompiler clGetProgramInfo
        clGetProgramBuildInfo clCreateKernel clCreateKernelsInProgram clRetainKernel
        clReleaseKernel clSetKernelArg clGetKernelInfo clGetKernelWorkGroupInfo
        clWaitForEvents clGetEventInfo clRetainEvent clReleaseEvent clGetEventProfilingInfo
        clFlush clFinish clEnqueueReadBuffer clEnqueueWriteBuffer clEnqueueCopyBuffer
        clEnqueueReadImage clEnqueueWriteImage clEnqueueCopyImage clEnqueueCopyImageToBuffer
        clEnqueueCopyBufferToImage clEnqueueMapBuffer clEnqueueMapImage
        clEnqueueUnmapMemObject clEnqueueNDRangeKernel clEnqueueTask clEnqueueNativeKernel
        clEnqueueMarker clEnqueueWaitForEvents clEnqueueBarrier
        clGetExtensionFunctionAddress clCreateSubBuffer clSetMemObjectDestructorCallback
        clCreateUserEvent clSetUserEventStatus clSetEventCallback clEnqueueReadBufferRect
        clEnqueueWriteBufferRect clEnqueueCopyBufferRect clCreateSubDevices clRetainDevice
        clReleaseDevice clCreateImage clCreateProgramWithBuiltInKernels clCompileProgram
        clLinkProgram clUnloadPlatformCompiler clGetKernelArgInfo clEnqueueFillBuffer
        clEnqueueFillImage clEnqueueMigrateMemObjects clEnqueueMarkerWithWaitList
        clEnqueueBarrierWithWaitList clGetExtensionFunctionAddressForPlatform
        clCreateCommandQueueWithProperties clCreatePipe clGetPipeInfo clSVMAlloc clSVMFree
        clEnqueueSVMFree clEnqueueSVMMemcpy clEnqueueSVMMemFill clEnqueueSVMMap
        clEnqueueSVMUnmap clCreateSamplerWithProperties clSetKernelArgSVMPointer
        clSetKernelExecInfo clSetDefaultDeviceCommandQueue clGetDeviceAndHostTimer
        clGetHostTimer clCreateProgramWithIL clCloneKernel clGetKernelSubGroupInfo
        clEnqueueSVMMigrateMem clSetProgramReleaseCallback clSetProgramSpecializationConstant
        clSetContextDestructorCallback clCreateBufferWithProperties
        clCreateImageWithProperties clGetKernelSuggestedLocalWorkSize clCreateFromGLBuffer
        clCreateFromGLTexture clCreateFromGLTexture2D clCreateFromGLTexture3D
        clCreateFromGLRenderbuffer clGetGLObjectInfo clGetGLTextureInfo
        clEnqueueAcquireGLObjects clEnqueueReleaseGLObjects clGetGLContextInfoKHR
        clCreateEventFromGLsyncKHR
    });
}
