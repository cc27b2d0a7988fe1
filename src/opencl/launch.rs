//! The crate's own launch builder: arguments in order, then one enqueue that returns at once.

use super::program::Program;
use super::{ClBlock, ClDevice, Queue, failure, is_out_of_memory, wait_list};
use crate::backend::{Buffer, Memory};
use crate::error::Result;
use ocl::OclPrm;
use ocl::core::{self, ArgVal, Event, Kernel};
use std::sync::Arc;

/// One launch of a kernel. Arguments are set in the order of the calls.
pub(crate) struct Launch<'a> {
    device: &'a ClDevice,
    program: &'a Arc<Program>,
    op: &'static str,
    name: &'static str,
    kernel: Kernel,
    next: u32,
    reads: Vec<&'a ClBlock>,
    writes: Vec<&'a ClBlock>,
}

impl<'a> Launch<'a> {
    /// `op` is what errors name, `name` the kernel.
    pub fn new(
        device: &'a ClDevice,
        program: &'a Arc<Program>,
        op: &'static str,
        name: &'static str,
    ) -> Result<Launch<'a>> {
        let kernel = program.kernel(op, name)?;
        Ok(Launch {
            device,
            program,
            op,
            name,
            kernel,
            next: 0,
            reads: Vec::new(),
            writes: Vec::new(),
        })
    }

    fn set(&mut self, value: ArgVal<'_>) -> Result<()> {
        core::set_kernel_arg(&self.kernel, self.next, value)
            .map_err(|e| failure(self.op, "clSetKernelArg", &e))?;
        self.next += 1;
        Ok(())
    }

    /// A buffer that the kernel reads.
    pub fn input(&mut self, buffer: &'a Buffer) -> Result<()> {
        match &buffer.memory {
            Memory::Cl(block) => {
                self.reads.push(block);
                self.set(ArgVal::mem(&block.mem))
            }
            _ => self.set(ArgVal::mem_null()),
        }
    }

    /// A buffer that the kernel writes; the caller owns it alone.
    pub fn output(&mut self, buffer: &'a Buffer) -> Result<()> {
        match &buffer.memory {
            Memory::Cl(block) => {
                self.writes.push(block);
                self.set(ArgVal::mem(&block.mem))
            }
            _ => self.set(ArgVal::mem_null()),
        }
    }

    /// A value, in exactly the type that the kernel declares.
    pub fn value<T: OclPrm>(&mut self, v: T) -> Result<()> {
        self.set(ArgVal::primitive(&v))
    }

    /// Enqueues `groups` work-groups of `local` work-items along each axis.
    ///
    /// # Safety
    /// The arguments are those that the kernel declares, in number, order and type, and with this
    /// range the kernel stays inside the buffers it was given.
    pub unsafe fn run(self, groups: [usize; 3], local: [usize; 3]) -> Result<()> {
        let runtime = self.device.runtime()?;
        let global = [groups[0] * local[0], groups[1] * local[1], groups[2] * local[2]];
        if global.contains(&0) {
            return Ok(());
        }
        let mut waits = Vec::new();
        for block in &self.reads {
            block.before_read(Queue::Compute, &mut waits);
        }
        for block in &self.writes {
            block.before_write(Queue::Compute, &mut waits);
        }
        runtime.before_waiting(&waits)?;
        let dims = if global[2] > 1 {
            3
        } else if global[1] > 1 {
            2
        } else {
            1
        };
        let enqueue = |event: &mut Event| {
            // SAFETY: the caller's promise.
            unsafe {
                core::enqueue_kernel(
                    &runtime.compute,
                    &self.kernel,
                    dims,
                    None,
                    &global,
                    Some(local),
                    wait_list(&waits),
                    Some(event),
                )
            }
        };
        let mut event = Event::null();
        let mut started = enqueue(&mut event);
        if started.as_ref().is_err_and(is_out_of_memory) {
            // Memory that the driver promised may be missing only now: free the cache and retry.
            self.device.release_cache();
            event = Event::null();
            started = enqueue(&mut event);
        }
        started.map_err(|e| {
            let bytes = self.writes.iter().map(|b| b.size).sum();
            match is_out_of_memory(&e) && self.device.pool.usage().held > 0 {
                true => {
                    log::debug!(
                        "{}: {}: {}",
                        self.op,
                        self.name,
                        failure(self.op, "clEnqueueNDRangeKernel", &e)
                    );
                    self.device.out_of_memory(self.op, bytes)
                }
                false => failure(self.op, "clEnqueueNDRangeKernel", &e),
            }
        })?;
        let mark = runtime.mark(Queue::Compute, event, self.op);
        for block in &self.reads {
            block.after_read(&mark);
        }
        for block in &self.writes {
            block.after_write(mark.clone());
        }
        // OpenCL copies the arguments when it enqueues, so the kernel object is free again.
        self.program.give_back(self.name, self.kernel);
        Ok(())
    }
}
