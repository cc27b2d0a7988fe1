//! Guard bands: buffers made while a kernel is on trial lie between bytes that it must not touch.

use std::cell::{Cell, RefCell};

use crate::error::Result;
use crate::opencl::{ClDevice, GuardedBlock};

thread_local! {
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
    static BLOCKS: RefCell<Vec<GuardedBlock>> = const { RefCell::new(Vec::new()) };
}

/// Whether this thread's buffers get guard bands.
pub(crate) fn active() -> bool {
    ACTIVE.get()
}

/// Notes a buffer with bands, to be looked at later.
pub(crate) fn note(block: GuardedBlock) {
    BLOCKS.with_borrow_mut(|b| b.push(block));
}

/// Runs `f` with guard bands around every buffer that it makes on the device, then waits and looks
/// at them.
pub(super) fn watch(
    device: &ClDevice,
    f: impl FnOnce() -> super::space::Checked,
) -> super::space::Checked {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ACTIVE.set(false);
            BLOCKS.with_borrow_mut(Vec::clear);
        }
    }
    let _off = Off;
    ACTIVE.set(true);
    let checked = f()?;
    ACTIVE.set(false);
    let blocks = BLOCKS.take();
    if checked.is_err() {
        return Ok(checked);
    }
    for block in &blocks {
        if let Some(at) = touched(device, block)? {
            return Ok(Err(format!("wrote byte {at} of a buffer of {} bytes", block.bytes)));
        }
    }
    Ok(checked)
}

fn touched(device: &ClDevice, block: &GuardedBlock) -> Result<Option<i64>> {
    let bands = device.read_bands(block)?;
    let front = bands[0].iter().rposition(|&b| b != GuardedBlock::FILL);
    let back = bands[1].iter().position(|&b| b != GuardedBlock::FILL);
    Ok(front
        .map(|at| at as i64 - bands[0].len() as i64)
        .or(back.map(|at| (block.bytes + at) as i64)))
}
