//! Permutations: by exchanges on the host while they are short, else a bijection computed for each
//! position on its own.

use super::philox::{self, Purpose};
use super::{Random, Source};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::host::eval::{SharedOut, for_each_piece};
use crate::layout::{Layout, count};
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
use crate::ops::{Op, run};
use std::sync::Arc;

const OP: &str = "permutation";

/// Up to this length all orders are equally likely, as far as 64 bits of seed reach.
const SHORT: usize = 1 << 16;

impl Random {
    /// The numbers `0..n` in random order.
    ///
    /// Up to n = 65,536 by Fisher and Yates's exchanges, so all orders are equally likely (for a random
    /// seed). Beyond, each position is mapped by a Feistel network of eight rounds with random keys: a
    /// good shuffle that needs no memory and no sorting, but only one of 2²⁵⁶ orders. A draw takes
    /// `n` elements of the stream.
    ///
    /// ```
    /// use clan::{Device, Random};
    /// let mut order = Random::new(5).permutation(&Device::host(), 100)?.to_vec()?;
    /// assert_ne!(order, Vec::from_iter(0..100));
    /// order.sort();
    /// assert_eq!(order, Vec::from_iter(0..100));
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Out of memory.
    pub fn permutation(&mut self, device: &Device, n: usize) -> Result<DeviceArray<u64>> {
        let op = OP;
        let from = self.source();
        let layout = Layout::contiguous(&[n]);
        let order = if n <= SHORT {
            DeviceArray::from_slice(device, &exchanged(from, n))?
        } else {
            count(op, &[n])?;
            let mut buffer = RawArray::alloc(op, device, &layout, DType::U64)?;
            run(Permutation { n, keys: keys(from), out: &mut buffer }, device)?;
            let raw = RawArray { buffer: Arc::new(buffer), layout, dtype: DType::U64 };
            DeviceArray::from_raw(raw)
        };
        self.skip(n as u64);
        Ok(order)
    }
}

/// Block `k` of those that a permutation drawn at this position has.
fn words(from: Source, k: u32) -> [u32; 4] {
    let at = [from.position as u32, (from.position >> 32) as u32];
    // The counter's last byte is the purpose; no other draw numbers its blocks in this way.
    philox::block([at[0], at[1], from.stream, Purpose::Permutation as u32 | k << 8], from.key)
}

fn keys(from: Source) -> [u32; 8] {
    let (a, b) = (words(from, 0), words(from, 1));
    std::array::from_fn(|k| if k < 4 { a[k] } else { b[k - 4] })
}

/// Fisher and Yates's exchanges ("Statistical tables", 1938), from the end.
fn exchanged(from: Source, n: usize) -> Vec<u64> {
    let mut order: Vec<u64> = (0..n as u64).collect();
    for i in (1..n).rev() {
        let w = words(from, i as u32);
        // 64 bits, so that no place is favoured by more than 2⁻⁴⁸ of its share.
        let word = u64::from(w[0]) | u64::from(w[1]) << 32;
        order.swap(i, ((u128::from(word) * (i as u128 + 1)) >> 64) as usize);
    }
    order
}

struct Permutation<'a> {
    n: usize,
    keys: [u32; 8],
    out: &'a mut Buffer,
}

impl Permutation<'_> {
    /// Bits of the numbers that the network permutes.
    fn bits(&self) -> u32 {
        usize::BITS - (self.n - 1).leading_zeros()
    }
}

impl Op for Permutation<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        Ok(())
    }

    fn host(self) -> Result<()> {
        let (n, keys, low) = (self.n, self.keys, self.bits() / 2);
        let high_mask = ((1u64 << (self.bits() - low)) - 1) as u32;
        let low_mask = ((1u64 << low) - 1) as u32;
        let Some(block) = self.out.host_mut() else { return Ok(()) };
        let out = SharedOut(block.ptr_mut());
        for_each_piece(n, |start, end| {
            for i in start..end {
                let mut x = i as u64;
                loop {
                    let (mut a, mut b) = ((x >> low) as u32, x as u32 & low_mask);
                    for round in (0..8).step_by(2) {
                        a ^= mix(b ^ keys[round]) & high_mask;
                        b ^= mix(a ^ keys[round + 1]) & low_mask;
                    }
                    x = u64::from(a) << low | u64::from(b);
                    if x < n as u64 {
                        break;
                    }
                }
                // SAFETY: below `n`, for which there is room; each place is written once.
                unsafe { out.at::<u64>(i as isize).write(x) };
            }
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let group = device.point.group;
        let program = device.programs.get(device, OP, ("random", Vec::new()), || {
            let head = codegen::defines(device, false, device.point);
            [&head, codegen::PRELUDE, super::draw::SOURCE].concat()
        })?;
        let mut launch = Launch::new(device, &program, OP, "permutation")?;
        launch.output(self.out)?;
        launch.value(self.n as u64)?;
        launch.value(self.bits())?;
        for key in self.keys {
            launch.value(key)?;
        }
        // SAFETY: the arguments follow the kernel's parameters; it stays below `n`.
        unsafe { launch.run([self.n.div_ceil(group), 1, 1], [group, 1, 1]) }
    }
}

/// The last steps of MurmurHash3.
#[inline(always)]
fn mix(mut h: u32) -> u32 {
    h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}
