//! What factorisations find out on the way: read once, at the end.

use super::leaf::NONE;
use crate::array::DeviceArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Two words on the device; see [`NONE`].
pub(super) struct Status {
    op: &'static str,
    words: Arc<Buffer>,
}

impl Status {
    pub fn new(op: &'static str, device: &Device) -> Result<Status> {
        Ok(Status { op, words: filled(device, 2, NONE)? })
    }

    pub fn owned(&mut self) -> Result<&mut Buffer> {
        owned(self.op, &mut self.words)
    }

    /// The least index that failed, and whether a panel was given up. Waits.
    pub fn read(&self) -> Result<(Option<usize>, bool)> {
        let mut bytes = [0; 8];
        self.words.download(0, &mut bytes)?;
        let word = |k: usize| {
            let word = &bytes[k * 4..][..4];
            i32::from_ne_bytes([word[0], word[1], word[2], word[3]])
        };
        let failed = (word(0) != NONE).then_some(word(0)).and_then(|i| usize::try_from(i).ok());
        Ok((failed, word(1) != NONE))
    }
}

/// A new buffer of equal elements.
pub(super) fn filled<T: crate::Element>(
    device: &Device,
    n: usize,
    value: T,
) -> Result<Arc<Buffer>> {
    Ok(DeviceArray::<T>::full(device, n, value)?.raw()?.buffer.clone())
}

pub(super) fn owned<'a>(op: &'static str, buffer: &'a mut Arc<Buffer>) -> Result<&'a mut Buffer> {
    Arc::get_mut(buffer).ok_or_else(|| Error::argument(op, "memory is shared while it is written"))
}
