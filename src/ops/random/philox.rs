//! The arithmetic of `cl/random.cl` on the host, several blocks side by side so that the compiler
//! vectorises across them. Both give the same bits.

/// Blocks side by side: with 32-bit words a vector of 512 bits, or two of 256.
pub(super) const LANES: usize = 16;

/// What words are for: the last byte of the counter.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Purpose {
    Words = 0,
    WideWords = 1,
    Normals = 2,
    WideNormals = 3,
    Permutation = 4,
}

/// Words `k` of the blocks side by side.
pub(super) type Words = [[u32; LANES]; 4];

/// One block of Philox4x32-10.
pub(super) fn block(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(c[0]) * 0xd251_1f53;
        let b = u64::from(c[2]) * 0xcd9e_8d57;
        c = [
            (b >> 32) as u32 ^ c[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ c[3] ^ key[1],
            a as u32,
        ];
        key = next(key);
    }
    c
}

/// The blocks from number `first` on.
#[allow(clippy::needless_range_loop, reason = "the lane is an index of several arrays")]
#[inline(always)]
pub(super) fn blocks(first: u64, stream: u32, purpose: u32, mut key: [u32; 2]) -> Words {
    let mut c: Words = [[0; LANES], [0; LANES], [stream; LANES], [purpose; LANES]];
    for l in 0..LANES {
        let number = first.wrapping_add(l as u64);
        (c[0][l], c[1][l]) = (number as u32, (number >> 32) as u32);
    }
    for _ in 0..10 {
        for l in 0..LANES {
            let a = u64::from(c[0][l]) * 0xd251_1f53;
            let b = u64::from(c[2][l]) * 0xcd9e_8d57;
            c[0][l] = (b >> 32) as u32 ^ c[1][l] ^ key[0];
            c[1][l] = b as u32;
            c[2][l] = (a >> 32) as u32 ^ c[3][l] ^ key[1];
            c[3][l] = a as u32;
        }
        key = next(key);
    }
    c
}

macro_rules! horner {
    ($x:expr; $last:expr $(, $c:expr)*) => {{
        let (x, p) = ($x, $last);
        $(let p = p.mul_add(x, $c);)*
        p
    }};
}

/// A pair of standard normal numbers; the kernel says how. The coefficients are the same numbers.
#[inline(always)]
pub(super) fn normals(w: u32, v: u32) -> (f32, f32) {
    // Towards 0: the digits that a float has no room for are dropped.
    let exact = f64::from((w | 1) as i32);
    let bits = (f64::from_bits(exact.to_bits() & !((1 << 29) - 1)) as f32).to_bits();
    let t = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000) - 1.0;
    let q = horner!(t; -2.0086772_f32, -2.2979474, -1.6855253, -0.23445876, -0.3735546, 0.3525558,
        -0.48125437, 0.72134304, -std::f32::consts::LOG2_E);
    let e = ((bits & 0x7f80_0000) as i32 as f32).mul_add(-1.0 / 8_388_608.0, 157.0);
    let radius = q.mul_add(t, e).sqrt();
    let x = v as i32 as f32;
    let z = (x * -(2.0f32.powi(-62))).mul_add(x, 1.0);
    let s =
        horner!(z; 8.219234e-14_f32, 2.2320958e-12, 3.650141e-11, 2.7413724e-10, 5.4827426e-10) * x;
    let c = horner!(z; 2.729631e-5_f32, 0.0009419163, 0.020521134, 0.231184, 0.92473567) * z;
    (radius * f32::from_bits(c.to_bits() ^ (w & 0x8000_0000)), radius * s)
}

/// The keys of the rounds, as the kernel has them.
#[cfg(feature = "opencl")]
pub(super) fn round_keys(mut key: [u32; 2]) -> [[u32; 2]; 10] {
    std::array::from_fn(|_| {
        let now = key;
        key = next(key);
        now
    })
}

/// The next round's keys.
#[inline(always)]
fn next(key: [u32; 2]) -> [u32; 2] {
    [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)]
}

/// The same in `f64`.
#[inline(always)]
pub(super) fn wide_normals(w: u64, v: u64) -> (f64, f64) {
    let bits = ((w | 1) as f64).to_bits() as i64;
    let e = (bits - 0x3fe6_a09e_667f_3bcd) >> 52;
    let t = f64::from_bits((bits - (e << 52)) as u64) - 1.0;
    let q = horner!(t; 0.056601062822219106_f64, -0.12650283517793212, 0.13574145683321331,
        -0.11947056196983348, 0.12082232324308824, -0.13243214775318002, 0.14320522747135836,
        -0.15395421475986737, 0.1666510398131458, -0.18181166578009245, 0.20000036379570338,
        -0.22222244036652863, 0.24999999659427638, -0.28571428174330754, 0.33333333332535325,
        -0.4000000000348355, 0.5000000000002472, -0.6666666666665619, 0.9999999999999994);
    let square =
        ((e - 64) as f64).mul_add(-2.0 * std::f64::consts::LN_2, (t * t).mul_add(q, -2.0 * t));
    let radius = square.sqrt();
    let x = (v << 2) as i64 as f64 * (0.5 / 4_611_686_018_427_387_904.0);
    let y = x * x;
    let s = horner!(y; -2.0225916545262184e-14_f64, 6.948154150625982e-12, -1.757247420530745e-09,
        3.1336168891931586e-07, -3.65762041821471e-05, 0.0024903945701927163,
        -0.08074551218828079, std::f64::consts::FRAC_PI_4)
        * x;
    let c = horner!(y; 9.929060793634513e-16_f64, -3.897906665189053e-13, 1.150115746706954e-10,
        -2.461136949532938e-08, 3.5908604485882677e-06, -0.0003259918869273894,
        0.015854344243815502, -0.30842513753404244, 1.0);
    let c = f64::from_bits(c.to_bits() ^ (v & 1 << 63));
    let turned = v & 1 << 62 != 0;
    (radius * if turned { s } else { c }, radius * if turned { c } else { s })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the paper's program (Random123, `kat_vectors`).
    #[test]
    fn known_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, want) in cases {
            assert_eq!(block(counter, key), want);
            let first = u64::from(counter[0]) | u64::from(counter[1]) << 32;
            let many = blocks(first, counter[2], counter[3], key);
            assert_eq!(many.map(|w| w[0]), want);
        }
    }
}
