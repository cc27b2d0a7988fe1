//! Stores that leave the caches alone.

/// Copies bytes that nobody reads soon. A line of a cache that is written whole this way is not read from
/// memory first, which is a third of the traffic of a copy.
///
/// What was stored is there for whoever is told later, as with any other copy.
///
/// # Safety
/// As [`std::ptr::copy_nonoverlapping`].
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    const LINE: usize = 64;
    let head = to.align_offset(LINE).min(bytes);
    let lines = (bytes - head) / LINE;
    let tail = head + lines * LINE;
    // SAFETY: everything lies below `bytes`; lines are aligned in `to`, so 16 bytes are, too.
    // SSE2 is part of x86-64.
    unsafe {
        to.copy_from_nonoverlapping(from, head);
        for line in 0..lines {
            let (from, to) = (from.add(head + line * LINE), to.add(head + line * LINE));
            let part = |k| _mm_loadu_si128(from.cast::<__m128i>().add(k));
            let parts = [part(0), part(1), part(2), part(3)];
            for (k, part) in parts.into_iter().enumerate() {
                _mm_stream_si128(to.cast::<__m128i>().add(k), part);
            }
        }
        to.add(tail).copy_from_nonoverlapping(from.add(tail), bytes - tail);
        // These stores keep no order with later ones, such as of a lock that is given back.
        _mm_sfence();
    }
}

/// On other processors an ordinary copy.
///
/// # Safety
/// As [`std::ptr::copy_nonoverlapping`].
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { to.copy_from_nonoverlapping(from, bytes) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn copies_at_any_place() {
        let from: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        for at in [0, 1, 63, 64, 65] {
            for n in [0, 1, 15, 64, 127, 128, 700] {
                let mut to = vec![255; 1000];
                // SAFETY: both have 1,000 bytes.
                unsafe { super::copy(from[7..].as_ptr(), to[at..].as_mut_ptr(), n) };
                for (i, &byte) in to.iter().enumerate() {
                    let inside = i >= at && i < at + n;
                    assert_eq!(byte, if inside { from[7 + i - at] } else { 255 }, "{at} {n} {i}");
                }
            }
        }
    }
}
