//! The host backend: memory of this process, loops through rayon. Finishes within each call.

pub(crate) mod eval;
mod front;
mod lanes;
pub(crate) mod past;
pub(crate) mod reduce;
pub(crate) mod scan;
pub(crate) mod sort;
pub(crate) mod source;
mod threads;

pub(crate) use lanes::{map1, maximum, minimum};
pub(crate) use threads::{LIGHT, PARALLEL_ABOVE, each_task, for_tasks, map_tasks, run_tasks};

use crate::backend::{Backend, Memory, MemoryUsage};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use front::Front;
use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

/// Cached memory beyond which blocks go back to the system: the host's memory belongs to others.
pub(crate) const CACHE_LIMIT: usize = 1 << 30;

/// Every block starts on a cache line.
const ALIGN: usize = 64;

pub(crate) struct Host {
    pool: Pool<HostBlock>,
    front: Front,
}

/// Raw memory, aligned to a cache line.
pub(crate) struct HostBlock {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: the block owns its memory, and hands it out under the usual rules of & and &mut.
unsafe impl Send for HostBlock {}
unsafe impl Sync for HostBlock {}

impl HostBlock {
    fn new(size: usize) -> Option<HostBlock> {
        let layout = Layout::from_size_align(size, ALIGN).ok()?;
        // SAFETY: sizes are those of `Pool::size_class`, never zero.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        Some(HostBlock { start, size })
    }

    pub fn ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    pub fn ptr_mut(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for HostBlock {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this size and alignment.
        unsafe { dealloc(self.start.as_ptr(), Layout::from_size_align_unchecked(self.size, ALIGN)) }
    }
}

impl Host {
    pub fn new() -> Host {
        Host { pool: Pool::new(CACHE_LIMIT), front: Front::new() }
    }

    /// Frees what is kept.
    fn release(&self) {
        for block in self.front.drain() {
            self.pool.forget(block.size);
        }
        drop(self.pool.drain());
    }
}

fn block(memory: &Memory) -> &HostBlock {
    match memory {
        Memory::Host(block) => block,
        _ => unreachable!("memory of another backend"),
    }
}

fn block_mut(memory: &mut Memory) -> &mut HostBlock {
    match memory {
        Memory::Host(block) => block,
        _ => unreachable!("memory of another backend"),
    }
}

impl Backend for Host {
    fn alloc(&self, bytes: usize) -> Result<Memory> {
        let class = Pool::<HostBlock>::size_class(bytes);
        if let Some(block) = self.front.take(class).or_else(|| self.pool.take(class)) {
            return Ok(Memory::Host(block));
        }
        let block = HostBlock::new(class).or_else(|| {
            self.release();
            HostBlock::new(class)
        });
        let block = block.ok_or_else(|| {
            let usage = self.usage();
            Error::new(
                ErrorKind::OutOfMemory,
                "alloc",
                format!(
                    "the host has no {bytes} bytes left; arrays hold {} bytes. Drop some, or work in parts",
                    usage.held
                ),
            )
        })?;
        self.pool.add(class);
        Ok(Memory::Host(block))
    }

    fn recycle(&self, memory: Memory) {
        if let Memory::Host(block) = memory
            && let Some(block) = self.front.put(block)
        {
            drop(self.pool.put(block.size, block));
        }
    }

    fn upload(&self, dst: &mut Memory, offset: usize, src: &[u8]) -> Result<()> {
        let dst = block_mut(dst);
        debug_assert!(offset + src.len() <= dst.size);
        // SAFETY: inside the block by the caller's layout; `dst` is borrowed mutably, so it
        // overlaps nothing.
        unsafe { dst.ptr_mut().add(offset).copy_from_nonoverlapping(src.as_ptr(), src.len()) };
        Ok(())
    }

    fn download(&self, src: &Memory, offset: usize, dst: &mut [u8]) -> Result<()> {
        let src = block(src);
        debug_assert!(offset + dst.len() <= src.size);
        // SAFETY: as in `upload`.
        unsafe { dst.as_mut_ptr().copy_from_nonoverlapping(src.ptr().add(offset), dst.len()) };
        Ok(())
    }

    fn copy(
        &self,
        src: &Memory,
        src_at: usize,
        dst: &mut Memory,
        dst_at: usize,
        bytes: usize,
    ) -> Result<()> {
        let (src, dst) = (block(src), block_mut(dst));
        debug_assert!(src_at + bytes <= src.size && dst_at + bytes <= dst.size);
        // SAFETY: as in `upload`; two blocks never overlap.
        unsafe {
            dst.ptr_mut().add(dst_at).copy_from_nonoverlapping(src.ptr().add(src_at), bytes);
        }
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        Ok(())
    }

    fn trim(&self) {
        self.release();
    }

    fn usage(&self) -> MemoryUsage {
        let MemoryUsage { held, cached } = self.pool.usage();
        // The pool takes these for blocks in use.
        let front = self.front.bytes().min(held);
        MemoryUsage { held: held - front, cached: cached + front }
    }
}
