//! One draw: elements of a stream into an array.

use super::philox::{self, LANES, Purpose, Words};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::host::eval::{SharedOut, for_each_piece};
use crate::ops::Op;
#[cfg(feature = "opencl")]
use crate::{
    array::DeviceArray,
    device::DeviceKind,
    opencl::{ClDevice, Launch, Verdict, codegen},
};
use half::{bf16, f16};

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../../cl/random.cl");

/// What is drawn; floats are in the compute type of the elements.
#[derive(Clone, Copy)]
pub(super) enum What {
    /// `[0, 1)`
    Uniform,
    /// `[low, high)`
    Between(f64, f64),
    /// Mean and standard deviation.
    Normal(f64, f64),
    /// `low + [0, span)` in the bits of the type; a span of 0 stands for all values.
    Integers { low: u64, span: u64 },
    /// True for words below it.
    Bernoulli(u64),
}

/// So many blocks fill every GPU with groups that make sixteen a work-item.
#[cfg(feature = "opencl")]
const MANY_BLOCKS: usize = 1 << 22;

/// Where a stream is.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub key: [u32; 2],
    pub stream: u32,
    /// The number of the first element.
    pub position: u64,
}

pub(super) struct Draw<'a> {
    pub op: &'static str,
    pub what: What,
    pub dtype: DType,
    pub n: usize,
    pub from: Source,
    /// Owned alone by the caller, with room for `n` elements.
    pub out: &'a mut Buffer,
}

impl Draw<'_> {
    /// Whether an element takes two words.
    fn is_wide(&self) -> bool {
        self.dtype.size() == 8
    }

    /// Lower halves of products below this are drawn again: 2³² or 2⁶⁴ modulo the span.
    fn threshold(&self, span: u64) -> u64 {
        match (span, self.is_wide()) {
            (0, _) => 0,
            (_, true) => span.wrapping_neg() % span,
            (_, false) => (1 << 32) % span,
        }
    }

    fn fill<T: Copy + Default>(self, make: impl Make<T>) {
        let Some(block) = self.out.host_mut() else { return };
        let (out, from, n) = (SharedOut(block.ptr_mut()), self.from, self.n);
        for_each_piece(n, |start, end| {
            // SAFETY: pieces are disjoint ranges of the output, which has room for `n` elements and is
            // aligned to a cache line; no bit pattern is wrong, whatever the memory held.
            let out =
                unsafe { std::slice::from_raw_parts_mut(out.at::<T>(start as isize), end - start) };
            let position = from.position.wrapping_add(start as u64);
            piece(&make, Source { position, ..from }, out);
        });
    }

    fn floats<T: Real>(self) {
        let wide = self.is_wide();
        match self.what {
            What::Between(low, high) if wide => {
                self.fill(Wide(move |w: u64, _, _| T::between(T::unit(w, true), low, high)));
            }
            What::Between(low, high) => {
                self.fill(Narrow(move |w: u32, _, _| {
                    T::between(T::unit(w.into(), false), low, high)
                }));
            }
            What::Normal(mean, deviation) => self.fill(Normals::<T> {
                mean: T::compute(mean),
                deviation: T::compute(deviation),
                wide,
            }),
            _ if wide => self.fill(Wide(|w: u64, _, _| T::uniform(w))),
            _ => self.fill(Narrow(|w: u32, _, _| T::uniform(w.into()))),
        }
    }

    fn integers<T: Copy + Default>(self, cast: impl Fn(u64) -> T + Sync + Copy) {
        let What::Integers { low, span } = self.what else { return };
        let (threshold, from) = (self.threshold(span), self.from);
        let (key, stream) = (from.key, from.stream);
        if self.is_wide() {
            return self.fill(Wide(move |mut w: u64, block, at| {
                if span == 0 {
                    return cast(low.wrapping_add(w));
                }
                let mut tries = 0;
                while w.wrapping_mul(span) < threshold && tries < 255 {
                    tries += 1;
                    let again = again(block, stream, Purpose::WideWords, tries, key);
                    w = u64::from(again[2 * at]) | u64::from(again[2 * at + 1]) << 32;
                }
                let high = (u128::from(w) * u128::from(span)) >> 64;
                cast(low.wrapping_add(high as u64))
            }));
        }
        self.fill(Narrow(move |mut w: u32, block, at: usize| {
            if span == 0 {
                return cast(low.wrapping_add(w.into()));
            }
            let mut tries = 0;
            while u64::from((u64::from(w) * span) as u32) < threshold && tries < 255 {
                tries += 1;
                w = again(block, stream, Purpose::Words, tries, key)[at];
            }
            cast(low.wrapping_add((u64::from(w) * span) >> 32))
        }));
    }
}

/// The words that take the place of those that were refused.
#[cold]
fn again(block: u64, stream: u32, purpose: Purpose, tries: u32, key: [u32; 2]) -> [u32; 4] {
    let counter = [block as u32, (block >> 32) as u32, stream, purpose as u32 | tries << 8];
    philox::block(counter, key)
}

impl Op for Draw<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        match self.dtype {
            DType::Bool => {
                let What::Bernoulli(below) = self.what else { return Ok(()) };
                self.fill(Narrow(move |w: u32, _, _| u8::from(u64::from(w) < below)));
            }
            DType::I8 | DType::U8 => self.integers(|v| v as u8),
            DType::I16 | DType::U16 => self.integers(|v| v as u16),
            DType::I32 | DType::U32 => self.integers(|v| v as u32),
            DType::I64 | DType::U64 => self.integers(|v| v),
            DType::F16 => self.floats::<f16>(),
            DType::BF16 => self.floats::<bf16>(),
            DType::F32 => self.floats::<f32>(),
            DType::F64 => self.floats::<f64>(),
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let steps = matches!(self.what, What::Normal(..))
            && self.dtype != DType::F64
            && roots_work(&self.out.device, device);
        self.launch(device, steps)
    }
}

/// Whether roots can be had by NVIDIA's instructions with the bits of the host's, tried once a device.
#[cfg(feature = "opencl")]
fn roots_work(device: &Device, cl: &ClDevice) -> bool {
    if !cl.takes_ptx() || !cl.info.exact_division {
        return false;
    }
    cl.probe("roots by steps", || {
        let n = 1 << 16;
        let draw = |out| Draw {
            op: "standard_normal",
            what: What::Normal(0.0, 1.0),
            dtype: DType::F32,
            n,
            from: Source { key: [1, 2], stream: 3, position: 0 },
            out,
        };
        let bits = |buffer: Buffer| DeviceArray::<u32>::of_buffer(buffer, n).to_vec();
        let mut ours = Buffer::new(device, n * 4)?;
        draw(&mut ours).launch(cl, true)?;
        let mut want = Buffer::new(&Device::host(), n * 4)?;
        draw(&mut want).host()?;
        Ok(Verdict::of(bits(ours)? == bits(want)?))
    })
}

#[cfg(feature = "opencl")]
impl Draw<'_> {
    /// `steps`: roots by NVIDIA's instructions.
    fn launch(self, device: &ClDevice, steps: bool) -> Result<()> {
        let each = if self.is_wide() { 2 } else { 4 };
        let skip = (self.from.position % each) as usize;
        let (draw, [p, q, r]) = self.arguments();
        // A CPU makes vectors of blocks side by side.
        let lanes = device.launch_kind == DeviceKind::Cpu;
        let point = device.walking_point();
        let group = point.group;
        let blocks = (self.n + skip).div_ceil(each as usize);
        // H200, 2^28 f32, GB/s, 1 / 2 / 4 / 8 blocks: uniform 3587 / 4279 / 4530 / 4496; in groups of 128 3351 /
        // 4217 / 4463 / 4453. Normal, by an earlier kernel, 2 / 4 / 8 / 16: 2750 / 2875 / 2950 / 2974.
        let per_item: usize = match self.what {
            _ if lanes => 1024,
            What::Normal(..) if self.is_wide() => 8,
            What::Normal(..) if blocks >= MANY_BLOCKS => 16,
            _ => 4,
        };
        // Wide ones may have a radius of 0, and then a zero whose sign the host does not have.
        let standard = matches!(self.what, What::Normal(0.0, 1.0)) && !self.is_wide();
        let key = vec![
            draw,
            self.dtype as u8,
            u8::from(steps),
            u8::from(standard),
            per_item.ilog2() as u8,
        ];
        let program = device.programs.get(device, self.op, ("random", key), || {
            [
                codegen::defines(device, false, point),
                codegen::PRELUDE.to_string(),
                types(self.dtype, draw),
                format!("#define CLAN_BLOCKS {per_item}\n"),
                if lanes { format!("#define CLAN_LANES {LANES}\n") } else { String::new() },
                if steps { "#define CLAN_PTX\n" } else { "" }.to_string(),
                if standard { "#define CLAN_STANDARD\n" } else { "" }.to_string(),
                SOURCE.to_string(),
            ]
            .concat()
        })?;
        let mut launch = Launch::new(device, &program, self.op, "random")?;
        launch.output(self.out)?;
        launch.value(self.n as u64)?;
        launch.value(self.from.position / each)?;
        launch.value(skip as u32)?;
        launch.value(self.from.stream)?;
        for key in philox::round_keys(self.from.key).into_iter().flatten() {
            launch.value(key)?;
        }
        for v in [p, q, r] {
            launch.value(v)?;
        }
        // SAFETY: the arguments follow the kernel's parameters; elements beyond `n` are not stored.
        unsafe { launch.run([blocks.div_ceil(group * per_item), 1, 1], [group, 1, 1]) }
    }

    /// The number of the draw in the kernel, and its arguments.
    fn arguments(&self) -> (u8, [u64; 3]) {
        let bits = |v: f64| match self.dtype {
            DType::F64 => v.to_bits(),
            _ => (v as f32).to_bits().into(),
        };
        match self.what {
            What::Uniform => (0, [0; 3]),
            What::Between(low, high) => (1, [bits(low), bits(high), 0]),
            What::Normal(mean, deviation) => (2, [bits(mean), bits(deviation), 0]),
            What::Integers { low, span } => (3, [low, span, self.threshold(span)]),
            What::Bernoulli(below) => (4, [below, 0, 0]),
        }
    }
}

/// What comes between the prelude and the file, with the number of a draw.
#[cfg(feature = "opencl")]
pub(crate) fn types(dtype: DType, draw: u8) -> String {
    let wide = dtype.size() == 8;
    let (digits, round, of) = match dtype {
        DType::F16 => (11, "clan_round_f16(x)", "as_float((uint)(bits))"),
        DType::BF16 => (8, "clan_round_bf16(x)", "as_float((uint)(bits))"),
        DType::F64 => (53, "(x)", "as_double(bits)"),
        _ => (24, "(x)", "as_float((uint)(bits))"),
    };
    // Half floats between bounds are made of a float.
    let digits = if draw == 1 && dtype.size() == 2 { 24 } else { digits };
    let (shift, suffix) = if wide { (64 - digits, "") } else { (32 - digits, "f") };
    format!(
        "typedef {} clan_t;\n{}#define CLAN_DRAW {draw}\n{}#define CLAN_SHIFT {shift}\n#define CLAN_SCALE 0x1p-{digits}{suffix}\n#define CLAN_ROUND(x) {round}\n#define CLAN_OF(bits) {of}\n",
        codegen::compute(dtype),
        codegen::output_type(dtype, if wide { 2 } else { 4 }),
        if wide { "#define CLAN_WIDE_WORDS\n" } else { "" },
    )
}

/// Turns words into elements.
trait Make<T>: Sync {
    /// Elements of a block.
    fn each(&self) -> usize;
    fn purpose(&self) -> Purpose;
    /// The elements of all blocks side by side, the first of them number `first`.
    fn make(&self, words: &Words, first: u64, out: &mut [T]);
}

/// Four elements a block, from a word, the block's number and the element's place in it.
struct Narrow<F>(F);

impl<T, F: Fn(u32, u64, usize) -> T + Sync> Make<T> for Narrow<F> {
    fn each(&self) -> usize {
        4
    }
    fn purpose(&self) -> Purpose {
        Purpose::Words
    }
    #[inline(always)]
    fn make(&self, words: &Words, first: u64, out: &mut [T]) {
        for (l, out) in out.chunks_exact_mut(4).enumerate().take(LANES) {
            for k in 0..4 {
                out[k] = (self.0)(words[k][l], first.wrapping_add(l as u64), k);
            }
        }
    }
}

/// Two elements a block.
struct Wide<F>(F);

impl<T, F: Fn(u64, u64, usize) -> T + Sync> Make<T> for Wide<F> {
    fn each(&self) -> usize {
        2
    }
    fn purpose(&self) -> Purpose {
        Purpose::WideWords
    }
    #[inline(always)]
    fn make(&self, words: &Words, first: u64, out: &mut [T]) {
        for (l, out) in out.chunks_exact_mut(2).enumerate().take(LANES) {
            for k in 0..2 {
                let w = u64::from(words[2 * k][l]) | u64::from(words[2 * k + 1][l]) << 32;
                out[k] = (self.0)(w, first.wrapping_add(l as u64), k);
            }
        }
    }
}

/// Pairs of normal numbers.
struct Normals<T: Real> {
    mean: T::Compute,
    deviation: T::Compute,
    wide: bool,
}

impl<T: Real> Make<T> for Normals<T> {
    fn each(&self) -> usize {
        if self.wide { 2 } else { 4 }
    }
    fn purpose(&self) -> Purpose {
        if self.wide { Purpose::WideNormals } else { Purpose::Normals }
    }
    #[inline(always)]
    fn make(&self, words: &Words, _: u64, out: &mut [T]) {
        T::normals(words, self.mean, self.deviation, out);
    }
}

/// Fills a part of the output; `from` is where its first element is.
#[inline(always)]
fn piece_narrow<T: Copy + Default, M: Make<T>>(make: &M, from: Source, out: &mut [T]) {
    let each = make.each() as u64;
    let mut first = from.position / each;
    let mut skip = (from.position % each) as usize;
    let mut room = [T::default(); 4 * LANES];
    let room = &mut room[..make.each() * LANES];
    let mut at = 0;
    while at < out.len() {
        let words = philox::blocks(first, from.stream, make.purpose() as u32, from.key);
        let n = (room.len() - skip).min(out.len() - at);
        if n == room.len() {
            make.make(&words, first, &mut out[at..at + n]);
        } else {
            make.make(&words, first, room);
            out[at..at + n].copy_from_slice(&room[skip..skip + n]);
        }
        at += n;
        skip = 0;
        first = first.wrapping_add(LANES as u64);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn piece_wide<T: Copy + Default, M: Make<T>>(make: &M, from: Source, out: &mut [T]) {
    piece_narrow(make, from, out);
}

fn piece<T: Copy + Default, M: Make<T>>(make: &M, from: Source, out: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the features.
        return unsafe { piece_wide(make, from, out) };
    }
    piece_narrow(make, from, out);
}

/// A float that is drawn.
trait Real: Copy + Default + Send + Sync + 'static {
    type Compute: Copy + Send + Sync;
    fn compute(v: f64) -> Self::Compute;
    /// `[0, 1)` with as many digits as the type has, so that nothing is rounded.
    fn uniform(w: u64) -> Self;
    /// `[0, 1)` in the compute type.
    fn unit(w: u64, wide: bool) -> Self::Compute;
    /// Stretched; what rounding moves to the end, which is not a part, becomes `low`.
    fn between(unit: Self::Compute, low: f64, high: f64) -> Self;
    fn normals(words: &Words, mean: Self::Compute, deviation: Self::Compute, out: &mut [Self]);
}

macro_rules! narrow_real {
    ($T:ty, $digits:literal, $of:expr) => {
        impl Real for $T {
            type Compute = f32;
            #[inline(always)]
            fn compute(v: f64) -> f32 {
                v as f32
            }
            #[inline(always)]
            fn uniform(w: u64) -> $T {
                ($of)((w as u32 >> (32 - $digits)) as f32 * (1.0 / (1u32 << $digits) as f32))
            }
            #[inline(always)]
            fn unit(w: u64, _: bool) -> f32 {
                (w as u32 >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
            }
            #[inline(always)]
            fn between(unit: f32, low: f64, high: f64) -> $T {
                let (low, high) = (($of)(low as f32), ($of)(high as f32));
                let v = ($of)(f32::from(low) + unit * (f32::from(high) - f32::from(low)));
                if v < high { v } else { low }
            }
            #[inline(always)]
            fn normals(words: &Words, mean: f32, deviation: f32, out: &mut [$T]) {
                let mut made = [[0.0f32; LANES]; 4];
                for k in [0, 2] {
                    // Of this the compiler makes vectors.
                    for l in 0..LANES {
                        let (a, b) = philox::normals(words[k][l], words[k + 1][l]);
                        made[k][l] = a.mul_add(deviation, mean);
                        made[k + 1][l] = b.mul_add(deviation, mean);
                    }
                }
                for (l, out) in out.chunks_exact_mut(4).enumerate().take(LANES) {
                    for (out, made) in out.iter_mut().zip(&made) {
                        *out = ($of)(made[l]);
                    }
                }
            }
        }
    };
}
narrow_real!(f32, 24, |v| v);
narrow_real!(f16, 11, f16::from_f32);
narrow_real!(bf16, 8, bf16::from_f32);

impl Real for f64 {
    type Compute = f64;
    #[inline(always)]
    fn compute(v: f64) -> f64 {
        v
    }
    #[inline(always)]
    fn uniform(w: u64) -> f64 {
        Self::unit(w, true)
    }
    #[inline(always)]
    fn unit(w: u64, _: bool) -> f64 {
        (w >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
    #[inline(always)]
    fn between(unit: f64, low: f64, high: f64) -> f64 {
        let v = low + unit * (high - low);
        if v < high { v } else { low }
    }
    #[inline(always)]
    fn normals(words: &Words, mean: f64, deviation: f64, out: &mut [f64]) {
        let mut made = [[0.0f64; LANES]; 2];
        for l in 0..LANES {
            let word = |k: usize| u64::from(words[k][l]) | u64::from(words[k + 1][l]) << 32;
            let (a, b) = philox::wide_normals(word(0), word(2));
            made[0][l] = a.mul_add(deviation, mean);
            made[1][l] = b.mul_add(deviation, mean);
        }
        for (l, out) in out.chunks_exact_mut(2).enumerate().take(LANES) {
            (out[0], out[1]) = (made[0][l], made[1][l]);
        }
    }
}
