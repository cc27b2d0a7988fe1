//! Memory in which groups of one launch leave word for each other, kept from launch to launch.
//!
//! Clearing it first is a launch of its own: on an H200 14 of 610 µs for the running sum of 2²⁸ numbers. So
//! it is not cleared. Every launch has a number, which is part of every word that it leaves, and what has
//! another number has not come.

use super::ClDevice;
use crate::array::DeviceArray;
use crate::backend::{Buffer, Memory};
use crate::device::Device;
use crate::error::Result;
use std::sync::{Arc, Mutex, PoisonError};

/// Words beyond which memory is not kept: 4 MiB.
const MOST_KEPT: usize = 1 << 19;

/// The last number that fits beside a flag into half a word.
const LAST: u32 = (1 << 31) - 1;

/// What a device keeps.
#[derive(Default)]
pub(crate) struct Mail(Mutex<Option<Kept>>);

struct Kept {
    words: Arc<Buffer>,
    count: usize,
    launch: u32,
}

impl Mail {
    /// Memory for `count` words of 64 bits, and a number from 1 on that no word in it has. The compute queue
    /// runs in order, so launches may share the memory, and start in another order than they ask.
    pub fn take(&self, cl: &ClDevice, on: &Device, count: usize) -> Result<(Arc<Buffer>, u32)> {
        if count > MOST_KEPT || crate::tune::on_trial() {
            return Ok((zeros(on, count)?, 1));
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_mut() {
            Some(kept) if kept.count >= count && kept.launch < LAST => {
                kept.launch += 1;
                // As of memory from the pool: what the last launch left says nothing about this one.
                if let Memory::Cl(block) = &kept.words.memory {
                    cl.forget_doubts(block);
                }
                Ok((kept.words.clone(), kept.launch))
            }
            _ => {
                let count = count.next_power_of_two();
                let words = zeros(on, count)?;
                *kept = Some(Kept { words: words.clone(), count, launch: 1 });
                Ok((words, 1))
            }
        }
    }

    /// Keeps nothing any more.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn zeros(on: &Device, count: usize) -> Result<Arc<Buffer>> {
    Ok(DeviceArray::<u64>::zeros(on, count)?.raw()?.buffer.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Backing;

    /// Whether anybody wrote a number into memory that this test never wrote to.
    fn clear(words: &Arc<Buffer>) -> bool {
        let mut bytes = vec![1; 64];
        words.download(0, &mut bytes).unwrap();
        bytes.iter().all(|&b| b == 0)
    }

    #[test]
    fn every_launch_has_a_number_of_its_own() {
        for on in Device::kinds() {
            let Backing::OpenCl(cl) = on.backing() else { continue };
            let mail = Mail::default();
            let (first, one) = mail.take(cl, &on, 100).unwrap();
            let (second, two) = mail.take(cl, &on, 8).unwrap();
            assert!(Arc::ptr_eq(&first, &second) && clear(&first), "{on}");
            assert_eq!((one, two), (1, 2), "{on}");
            // More than there is: other memory, whose numbers begin again.
            let (third, three) = mail.take(cl, &on, 1000).unwrap();
            assert!(!Arc::ptr_eq(&first, &third) && clear(&third), "{on}");
            assert_eq!(three, 1, "{on}");
            mail.0.lock().unwrap().as_mut().unwrap().launch = LAST;
            let (fourth, four) = mail.take(cl, &on, 1000).unwrap();
            assert!(!Arc::ptr_eq(&third, &fourth) && clear(&fourth), "{on}");
            assert_eq!(four, 1, "{on}");
            // So much is not kept.
            let (large, number) = mail.take(cl, &on, MOST_KEPT + 1).unwrap();
            assert!(!Arc::ptr_eq(&fourth, &large) && number == 1, "{on}");
            let (_, five) = mail.take(cl, &on, 1).unwrap();
            assert_eq!(five, 2, "{on}");
            mail.forget();
            assert_eq!(mail.take(cl, &on, 1).unwrap().1, 1, "{on}");
        }
    }
}
