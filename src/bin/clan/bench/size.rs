//! `--size`: a number of elements.

use crate::output::{self, Failure};
use clan::Device;

/// Elements of an array: digits, and K, M or G for powers of 1024.
pub fn parse(text: &str) -> Result<usize, String> {
    let hint = "write a number of elements as 1000, 64K, 16M or 1G (K is 1024)";
    let text = text.trim();
    let (digits, unit) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 1usize << 10),
        Some('m' | 'M') => (&text[..text.len() - 1], 1 << 20),
        Some('g' | 'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("it is no size; {hint}"));
    }
    match digits.parse::<usize>().ok().and_then(|n| n.checked_mul(unit)) {
        Some(0) => Err(format!("there is nothing to measure in 0 elements; {hint}")),
        Some(n) => Ok(n),
        None => Err(format!("it is more than any machine holds; {hint}")),
    }
}

/// Arrays of `f32` that a family holds on the device at once, results included.
const ARRAYS: u64 = 4;

/// How many `f32` the device can hold in each of the arrays that a family needs.
fn most(device: &Device) -> usize {
    (room(device, ARRAYS) / 4) as usize
}

/// How many bytes each of so many arrays may have.
pub fn room(device: &Device, arrays: u64) -> u64 {
    let memory = device.memory();
    // A part of the memory belongs to others; on a CPU also to what answers are checked with.
    let share = if output::is_large(device) { 10 } else { 5 };
    memory.max_alloc_bytes.min(memory.global_bytes / 10 * share / arrays)
}

/// The number of elements to measure with on a device.
pub fn choose(device: &Device, asked: Option<usize>) -> Result<usize, Failure> {
    let most = most(device);
    match asked {
        Some(n) if n > most => Err(Failure::Usage(format!(
            "--size {n}: arrays of {n} f32 are {} each, and {device} has room for {ARRAYS} of {}; use --size {} or less, or another --device",
            output::bytes(n as u64 * 4),
            output::bytes(most as u64 * 4),
            written(most),
        ))),
        Some(n) => Ok(n),
        None => Ok(default(device).min(most.max(1))),
    }
}

/// 2^26 elements on GPUs, 2^24 elsewhere: beyond every cache, and a whole run takes a minute.
fn default(device: &Device) -> usize {
    if output::is_large(device) { 1 << 26 } else { 1 << 24 }
}

/// A size just below `n` as the command line writes it.
pub fn written(n: usize) -> String {
    match n {
        n if n >= 1 << 30 => format!("{}G", n >> 30),
        n if n >= 1 << 20 => format!("{}M", n >> 20),
        n if n >= 1 << 10 => format!("{}K", n >> 10),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, written};

    #[test]
    fn sizes() {
        assert_eq!(parse("1000"), Ok(1000));
        assert_eq!(parse("64K"), Ok(65536));
        assert_eq!(parse("16m"), Ok(1 << 24));
        assert_eq!(parse("1G"), Ok(1 << 30));
        for bad in ["", "0", "0K", "K", "1X", "-1", "+1", "1.5M", "1KK", "1é", "99999999999G"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(written((1 << 20) + 7), "1M");
    }
}
