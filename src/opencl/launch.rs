//! The crate's own launch builder: arguments in order, then one enqueue that returns at once.

use super::notes::Slot;
use super::program::Program;
use super::{ClBlock, ClDevice, failure, is_out_of_memory};
use crate::backend::{Buffer, Memory};
use crate::error::Result;
use ocl::OclPrm;
use ocl::core::{self, ArgVal, Event, Kernel, Mem};
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
    note: Option<(&'a ClBlock, u64)>,
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
            note: None,
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

    /// A buffer that the kernel writes; the caller owns it alone, or its other uses follow in the compute queue.
    pub fn output(&mut self, buffer: &'a Buffer) -> Result<()> {
        match &buffer.memory {
            Memory::Cl(block) => {
                self.writes.push(block);
                self.set(ArgVal::mem(&block.mem))
            }
            _ => self.set(ArgVal::mem_null()),
        }
    }

    /// A buffer of this device whose uses are noted by [`Launch::exposes`], or by nobody where no
    /// other command uses it.
    pub fn own(&mut self, buffer: &Buffer) -> Result<()> {
        match &buffer.memory {
            Memory::Cl(block) => self.set(ArgVal::mem(&block.mem)),
            _ => self.set(ArgVal::mem_null()),
        }
    }

    /// A peer's buffer as this device sees it. Who orders its uses is the kernel's business.
    pub fn remote(&mut self, mem: &Mem) -> Result<()> {
        self.set(ArgVal::mem(mem))
    }

    /// Memory that is no argument, but that peers read or write until the kernel ends.
    pub fn exposes(&mut self, block: &'a ClBlock, written: bool) {
        match written {
            true => self.writes.push(block),
            false => self.reads.push(block),
        }
    }

    /// Where the kernel notes what is wrong with its indices: a buffer and the place in it.
    pub fn note(&mut self, slot: &'a Slot) -> Result<()> {
        if let Memory::Cl(block) = &slot.words.memory {
            self.note = Some((block, slot.number));
            self.set(ArgVal::mem(&block.mem))?;
        }
        self.value(slot.index as u32)
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
        let dims = if global[2] > 1 {
            3
        } else if global[1] > 1 {
            2
        } else {
            1
        };
        // The event is only made where a driver needs it; in-order execution does the rest.
        let with_event = self.device.event_per_launch;
        let enqueue = || {
            let mut event = Event::null();
            // SAFETY: the caller's promise.
            unsafe {
                core::enqueue_kernel(
                    &runtime.compute,
                    &self.kernel,
                    dims,
                    None,
                    &global,
                    Some(local),
                    None::<&Event>,
                    with_event.then_some(&mut event),
                )
            }
        };
        let mut started = enqueue();
        if started.as_ref().is_err_and(is_out_of_memory) {
            // Memory that the driver promised may be missing only now: free the cache and retry.
            self.device.release_cache();
            started = enqueue();
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
        let position = runtime.issue();
        for block in &self.reads {
            block.after_read(position);
        }
        for block in &self.writes {
            block.after_write(position, self.op);
        }
        if let Some((block, _)) = self.note {
            block.after_write(position, self.op);
        }
        self.device.pass_doubts(&self.reads, &self.writes, self.note.map(|(_, number)| number));
        // OpenCL copies the arguments when it enqueues, so the kernel object is free again.
        self.program.give_back(self.name, self.kernel);
        Ok(())
    }
}
