//! The seam between arrays and devices: memory and order, nothing else. Operations choose their
//! backend themselves (see `ops`).

use crate::device::Device;
use crate::error::Result;
use crate::group::Completion;
use crate::host::HostBlock;
#[cfg(feature = "opencl")]
use crate::opencl::ClBlock;
use std::sync::Arc;

/// Memory and order on one device.
pub(crate) trait Backend {
    /// `bytes > 0` of memory with unspecified contents.
    fn alloc(&self, bytes: usize) -> Result<Memory>;
    /// Takes back what `alloc` gave; work in flight may still use it.
    fn recycle(&self, memory: Memory);
    /// Has finished reading `src` when it returns.
    fn upload(&self, dst: &mut Memory, offset: usize, src: &[u8]) -> Result<()>;
    /// Waits for what writes `src`, then fills all of `dst`.
    fn download(&self, src: &Memory, offset: usize, dst: &mut [u8]) -> Result<()>;
    /// Copies bytes within the device, in order with everything else that uses them.
    fn copy(
        &self,
        src: &Memory,
        src_at: usize,
        dst: &mut Memory,
        dst_at: usize,
        bytes: usize,
    ) -> Result<()>;
    /// Returns when everything started so far has finished.
    fn wait(&self) -> Result<()>;
    /// Gives cached memory back to the system.
    fn trim(&self);
    fn usage(&self) -> MemoryUsage;
}

/// What an array's bytes live in.
pub(crate) enum Memory {
    /// Of no bytes at all: drivers refuse buffers of length zero.
    Empty,
    Host(HostBlock),
    #[cfg(feature = "opencl")]
    Cl(Box<ClBlock>),
}

/// What a device's memory pool holds, in bytes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// In use by arrays.
    pub held: usize,
    /// Kept for reuse; given back by [`Device::trim`] and before any out-of-memory error.
    pub cached: usize,
}

/// Memory of one device. Shared by clones and views of an array through `Arc`; whoever writes
/// owns it alone (`&mut`), so readers never see a change.
pub(crate) struct Buffer {
    pub device: Device,
    pub memory: Memory,
    /// What fills it in the background. Until that is done, nobody but it may touch the memory.
    pub pending: Option<Arc<Completion>>,
}

impl Buffer {
    pub fn new(device: &Device, bytes: usize) -> Result<Buffer> {
        let memory = if bytes == 0 { Memory::Empty } else { device.backend().alloc(bytes)? };
        Ok(Buffer { device: device.clone(), memory, pending: None })
    }

    /// Waits for what fills the buffer in the background; its error, if it failed.
    pub fn settled(&self) -> Result<()> {
        self.pending.as_ref().map_or(Ok(()), |pending| pending.wait())
    }

    pub fn upload(&mut self, offset: usize, src: &[u8]) -> Result<()> {
        if src.is_empty() {
            return Ok(());
        }
        self.device.backend().upload(&mut self.memory, offset, src)
    }

    pub fn download(&self, offset: usize, dst: &mut [u8]) -> Result<()> {
        if dst.is_empty() {
            return Ok(());
        }
        self.device.backend().download(&self.memory, offset, dst)
    }

    pub fn copy_from(
        &mut self,
        at: usize,
        src: &Buffer,
        src_at: usize,
        bytes: usize,
    ) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.device.backend().copy(&src.memory, src_at, &mut self.memory, at, bytes)
    }

    /// The host's bytes; `None` when the buffer is empty.
    pub fn host(&self) -> Option<&HostBlock> {
        match &self.memory {
            Memory::Host(block) => Some(block),
            _ => None,
        }
    }

    pub fn host_mut(&mut self) -> Option<&mut HostBlock> {
        match &mut self.memory {
            Memory::Host(block) => Some(block),
            _ => None,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.memory, Memory::Empty) {
            Memory::Empty => {}
            memory => self.device.backend().recycle(memory),
        }
    }
}
