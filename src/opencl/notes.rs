//! Indices that kernels found to be outside: noted on the device, told by whoever reads what came of it.
//!
//! Every launch that is given indices has a note of its own. The block that it writes is in doubt about
//! the note, and so is every block that a command writes that reads one in doubt. A read of a block in
//! doubt looks at the notes. So a mistake shows in what was made of it, and in nothing else.

use super::{ClBlock, ClDevice};
use crate::backend::{Buffer, Memory};
use crate::device::Device;
use crate::element::DType;
use crate::error::{Error, Result};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Text of `cl/index.cl`.
const SOURCE: &str = include_str!("../../cl/index.cl");

/// What kernels that are given indices start with, behind the text of the input that computes them.
pub(crate) fn text(dtype: DType, wide: bool) -> String {
    let wide = if is_wide(dtype, wide) { "#define CLAN_KEY_WIDE\n" } else { "" };
    let signed = if dtype.is_signed() { "#define CLAN_SIGNED\n" } else { "" };
    [wide, signed, SOURCE].concat()
}

/// Whether places that indices of a type name need 64 bits.
pub(crate) fn is_wide(indices: DType, wide: bool) -> bool {
    wide || indices.size() == 8
}

/// Numbers of the launches that a block depends on and that nobody has looked at.
pub(super) type Doubts = SmallVec<[u64; 2]>;

/// A block's doubts beyond which a command looks at them first, so that a long chain has few.
const MANY: usize = 16;

/// Makes the error from the position in the launch and the index.
pub(crate) type Tell = Box<dyn FnOnce(usize, u64) -> Error + Send>;

/// The notes of a device's launches.
#[derive(Default)]
pub(crate) struct Notes {
    /// Whether there ever was one: other programs pay nothing.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    number: u64,
    page: Option<Page>,
    /// Launches that nobody has looked at.
    open: BTreeMap<u64, (Slot, Tell)>,
    failed: VecDeque<(u64, Error)>,
}

/// Zeros, of which each launch gets four words.
struct Page {
    words: Arc<Buffer>,
    used: usize,
}

/// Where a launch notes.
#[derive(Clone)]
pub(crate) struct Slot {
    pub words: Arc<Buffer>,
    pub index: usize,
    pub number: u64,
}

const SLOTS: usize = 1024;
const BYTES: usize = 16;

/// Launches without a look, and failures that are remembered.
const MOST: usize = 4096;

impl Notes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a launch that notes in the slot that it is given.
    pub fn launch(
        &self,
        device: &ClDevice,
        on: &Device,
        tell: Tell,
        run: impl FnOnce(&Slot) -> Result<()>,
    ) -> Result<()> {
        self.any.store(true, Ordering::Release);
        let slot = self.slot(device, on)?;
        run(&slot)?;
        // What was written is not yet anybody else's to read.
        self.state().open.insert(slot.number, (slot, tell));
        Ok(())
    }

    fn slot(&self, device: &ClDevice, on: &Device) -> Result<Slot> {
        let mut state = self.state();
        if state.open.len() >= MOST {
            state.look(device)?;
        }
        state.number += 1;
        let number = state.number;
        let page = match &mut state.page {
            Some(page) if page.used < SLOTS => page,
            page => {
                let mut words = Buffer::new(on, SLOTS * BYTES)?;
                words.upload(0, &[0; SLOTS * BYTES])?;
                page.insert(Page { words: Arc::new(words), used: 0 })
            }
        };
        page.used += 1;
        Ok(Slot { words: page.words.clone(), index: page.used - 1, number })
    }
}

impl State {
    /// Looks at all notes. Waits for the launches.
    fn look(&mut self, device: &ClDevice) -> Result<()> {
        let mut page: Option<(Arc<Buffer>, Vec<u8>)> = None;
        while let Some((number, (slot, tell))) = self.open.pop_first() {
            // Numbers follow the pages, nearly.
            let seen = match &page {
                Some((words, bytes)) if Arc::ptr_eq(words, &slot.words) => bytes,
                _ => {
                    let mut bytes = vec![0; SLOTS * BYTES];
                    if let Memory::Cl(block) = &slot.words.memory {
                        device.read(block, 0, &mut bytes)?;
                    }
                    &page.insert((slot.words.clone(), bytes)).1
                }
            };
            let word = |k: usize| {
                let b = &seen[slot.index * BYTES + k * 4..][..4];
                u32::from_ne_bytes([b[0], b[1], b[2], b[3]])
            };
            if word(0) == 0 {
                continue;
            }
            let index = u64::from(word(1)) | u64::from(word(2)) << 32;
            self.failed.push_back((number, tell(!word(0) as usize, index)));
            if self.failed.len() > MOST {
                self.failed.pop_front();
            }
        }
        Ok(())
    }

    fn failure(&self, number: u64) -> Option<&Error> {
        self.failed.iter().find(|(failed, _)| *failed == number).map(|(_, e)| e)
    }
}

impl ClDevice {
    /// A block fresh from the pool has nothing of what it held.
    pub(super) fn forget_doubts(&self, block: &ClBlock) {
        if self.notes.any.load(Ordering::Acquire) {
            block.doubts().clear();
        }
    }

    /// Blocks that a command writes are in doubt about what those that it reads are, and about its own
    /// note.
    pub(super) fn pass_doubts(&self, reads: &[&ClBlock], writes: &[&ClBlock], own: Option<u64>) {
        if !self.notes.any.load(Ordering::Acquire) {
            return;
        }
        let mut all: Doubts = own.into_iter().collect();
        for block in reads {
            all.extend_from_slice(&block.doubts());
        }
        if all.is_empty() {
            return;
        }
        for block in writes {
            let mut doubts = block.doubts();
            doubts.extend_from_slice(&all);
            doubts.sort_unstable();
            doubts.dedup();
            if doubts.len() <= MANY {
                continue;
            }
            let mut state = self.notes.state();
            if let Err(e) = state.look(self) {
                log::debug!("{}: {e}", self.info.name);
            }
            doubts.retain(|number| state.failure(*number).is_some());
            // One mistake is enough to tell.
            doubts.truncate(1);
            // The command's own launch is not among those that can be looked at yet.
            doubts.extend(own);
        }
    }

    /// The error of a launch that a block depends on, if one failed.
    pub(super) fn undoubted(&self, block: &ClBlock) -> Result<()> {
        if !self.notes.any.load(Ordering::Acquire) || block.doubts().is_empty() {
            return Ok(());
        }
        let mut doubts = block.doubts();
        let mut state = self.notes.state();
        if doubts.iter().any(|number| state.open.contains_key(number)) {
            state.look(self)?;
        }
        doubts.retain(|number| state.failure(*number).is_some());
        doubts.first().and_then(|&number| state.failure(number)).map_or(Ok(()), |e| Err(e.clone()))
    }
}
