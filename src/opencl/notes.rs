//! Indices that kernels found to be outside: noted on the device, told when something is read.

use super::ClDevice;
use super::watch::{Noted, Told};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::{Error, Result};
use std::collections::VecDeque;
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

/// Makes the error from the position in the launch and the index.
pub(crate) type Tell = Box<dyn FnOnce(usize, u64) -> Error + Send>;

/// The note of a device's calls; see `cl/index.cl`.
#[derive(Default)]
pub(crate) struct Notes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where kernels write. `None` before the first call, and after one has failed.
    words: Option<Arc<Buffer>>,
    tag: u32,
    /// The launches since somebody looked: tag, position in the queue before, error.
    log: VecDeque<(u32, u64, Tell)>,
    /// What was seen when the log was cut.
    failed: Option<Told>,
}

/// Launches without a look at what they noted; then one waits for them, so the log has an end.
const LOG: usize = 4096;

impl Notes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a launch that is given the note and its tag.
    pub fn launch(
        self: &Arc<Notes>,
        device: &ClDevice,
        on: &Device,
        tell: Tell,
        run: impl FnOnce(&Buffer, u32) -> Result<()>,
    ) -> Result<()> {
        if self.state().log.len() >= LOG
            && let Err(told) = self.outcome()
        {
            self.state().failed.get_or_insert(told);
        }
        let since;
        {
            let mut state = self.state();
            let words = match &state.words {
                Some(words) => words.clone(),
                None => {
                    let mut words = Buffer::new(on, 16)?;
                    words.upload(0, &[0; 16])?;
                    state.words.insert(Arc::new(words)).clone()
                }
            };
            state.tag = state.tag.checked_add(1).unwrap_or(1);
            // The lock is held until the launch is in the queue, so tags follow its order.
            since = device.position()?;
            run(&words, state.tag)?;
            let tag = state.tag;
            state.log.push_back((tag, since, tell));
        }
        let noted: Arc<dyn Noted> = self.clone();
        device.watch(since, &noted);
        Ok(())
    }
}

impl Noted for Notes {
    fn outcome(&self) -> Result<(), Told> {
        let (words, mut log) = {
            let mut state = self.state();
            if let Some(told) = state.failed.take() {
                return Err(told);
            }
            (state.words.take(), std::mem::take(&mut state.log))
        };
        let Some(words) = words else { return Ok(()) };
        let mut bytes = [0; 16];
        // No lock is held: this looks at what else is watched, too.
        words.download(0, &mut bytes).map_err(|error| Told { since: None, error })?;
        let word = |k: usize| {
            let b = &bytes[k * 4..][..4];
            u32::from_ne_bytes([b[0], b[1], b[2], b[3]])
        };
        let Some(at) = log.iter().position(|(tag, ..)| *tag == word(0)) else {
            // Still as new.
            let mut state = self.state();
            if word(0) == 0 {
                state.words.get_or_insert(words);
            }
            return Ok(());
        };
        let index = u64::from(word(2)) | u64::from(word(3)) << 32;
        match log.remove(at) {
            Some((_, since, tell)) => {
                let error = tell(!word(1) as usize, index);
                Err(Told { since: Some(since), error })
            }
            None => Ok(()),
        }
    }
}
