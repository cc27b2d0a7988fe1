//! `conv2d`: images and small filters. Kernels: `cl/conv2d.cl`.

mod host;

use super::{Op, copy, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Number};
use crate::error::{Error, Result};
use crate::layout::Layout;
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
use half::{bf16, f16};
use std::sync::Arc;

/// What lies outside an image. For a row `a b c d`:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Border {
    /// `0 0 | a b c d | 0 0`
    Zero,
    /// `a a | a b c d | d d`
    Nearest,
    /// `c b | a b c d | c b`, repeated where the filter reaches further. An axis of length 1
    /// repeats its element.
    Reflect,
    /// `c d | a b c d | a b`, as on a ring.
    Wrap,
}

impl<T: Number> DeviceArray<T> {
    /// Slides a filter over images: the result at (y, x) is
    /// Σᵢⱼ `filter[i, j]` · `self[.., y + i − h/2, x + j − w/2]` for a filter of h × w (halves
    /// rounded down). This is what neural networks call a convolution (PyTorch's `conv2d`); flip
    /// the filter along both axes for the mathematical one.
    ///
    /// The last two axes are the image's height and width, all before them number images. The
    /// result has the shape of the input. Integers wrap in their type; half floats are summed in
    /// `f32` and rounded once.
    ///
    /// ```
    /// use clan::{Border, Device, DeviceArray};
    /// let host = Device::host();
    /// let image = DeviceArray::<f32>::ones(&host, (4, 5))?;
    /// let blur = DeviceArray::full(&host, (3, 3), 1.0 / 9.0)?;
    /// let soft = image.conv2d(&blur, Border::Nearest)?;
    /// assert!((soft.to_vec()?[0] - 1.0).abs() < 1e-6);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An input of fewer than two axes; a filter that has not two axes or is empty; arrays of two
    /// devices; an element type that the device does not compute in; out of memory.
    pub fn conv2d(&self, filter: &DeviceArray<T>, border: Border) -> Result<DeviceArray<T>> {
        slide("conv2d", self, filter, 2, border)
    }
}

/// Slides a filter of `rank` axes, two or three, over the last of an array.
pub(crate) fn slide<T: Number>(
    op: &'static str,
    image: &DeviceArray<T>,
    filter: &DeviceArray<T>,
    rank: usize,
    border: Border,
) -> Result<DeviceArray<T>> {
    let (image, filter) = (image.raw()?, filter.raw()?);
    let device = image.device().clone();
    // Checked again with the rest, but nothing may be copied for a call that cannot work.
    check(op, image, filter, rank, &device)?;
    let image = copy::contiguous(image)?;
    let filter = copy::contiguous(filter)?;
    let layout = Layout::contiguous(&image.layout.shape);
    let mut out = RawArray::alloc(op, &device, &layout, T::DTYPE)?;
    run(Conv2d { op, image: &image, filter: &filter, border, out: &mut out }, &device)?;
    Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(out), layout, dtype: T::DTYPE }))
}

struct Conv2d<'a> {
    op: &'static str,
    /// Row-major, as the filter and the result.
    image: &'a RawArray,
    filter: &'a RawArray,
    border: Border,
    out: &'a mut Buffer,
}

/// Lengths of the problem.
#[derive(Clone, Copy)]
struct Sizes {
    /// Images, or solids.
    images: usize,
    depth: usize,
    height: usize,
    width: usize,
    filter_depth: usize,
    filter_height: usize,
    filter_width: usize,
}

fn check(
    op: &'static str,
    image: &RawArray,
    filter: &RawArray,
    rank: usize,
    device: &Device,
) -> Result<()> {
    let (is, fs) = (&image.layout.shape, &filter.layout.shape);
    if is.len() < rank {
        return Err(Error::shape(
            op,
            format!(
                "the input has shape {is:?}; a filter of shape {fs:?} takes as many axes or more"
            ),
        ));
    }
    if fs.len() != rank || fs.contains(&0) {
        let axes = if rank == 2 { "two axes, neither" } else { "three axes, none" };
        return Err(Error::shape(op, format!("the filter has shape {fs:?}; it has {axes} empty")));
    }
    device.require_same(op, "the image lives", filter.device(), "the filter")?;
    device.require(op, image.dtype)
}

impl Conv2d<'_> {
    fn sizes(&self) -> Sizes {
        let (shape, filter) = (&self.image.layout.shape, &self.filter.layout.shape);
        let (leading, last) = shape.split_at(shape.len() - filter.len());
        let from_end = |of: &[usize], k: usize| of.len().checked_sub(k).map_or(1, |at| of[at]);
        Sizes {
            images: leading.iter().product(),
            depth: from_end(last, 3),
            height: from_end(last, 2),
            width: from_end(last, 1),
            filter_depth: from_end(filter, 3),
            filter_height: from_end(filter, 2),
            filter_width: from_end(filter, 1),
        }
    }
}

impl Op for Conv2d<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        check(self.op, self.image, self.filter, self.filter.layout.shape.len(), device)
    }

    fn host(self) -> Result<()> {
        macro_rules! typed {
            ($($dtype:ident: $stored:ty, $sum:ty, $load:expr, $store:expr;)*) => {
                match self.image.dtype {
                    $(DType::$dtype => host::on_host::<$stored, $sum, _, _>(self, $load, $store),)*
                    DType::Bool => {}
                }
            };
        }
        typed! {
            I8: i8, i8, |x| x, |x| x; I16: i16, i16, |x| x, |x| x;
            I32: i32, i32, |x| x, |x| x; I64: i64, i64, |x| x, |x| x;
            U8: u8, u8, |x| x, |x| x; U16: u16, u16, |x| x, |x| x;
            U32: u32, u32, |x| x, |x| x; U64: u64, u64, |x| x, |x| x;
            F16: f16, f32, f16::to_f32, f16::from_f32; BF16: bf16, f32, bf16::to_f32, bf16::from_f32;
            F32: f32, f32, |x| x, |x| x; F64: f64, f64, |x| x, |x| x;
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let s = self.sizes();
        if s.images * s.depth * s.height * s.width == 0 {
            return Ok(());
        }
        let dtype = self.image.dtype;
        let mut point = device.point;
        point.unroll = 1;
        let taps = s.filter_height * s.filter_width;
        // Sums of integers wrap in unsigned words, and are cut to their type at the end.
        let sum = match dtype {
            d if d.is_float() => codegen::compute(d),
            d if d.size() == 8 => "ulong",
            _ => "uint",
        };
        let sum_size = if sum == "double" || sum == "ulong" { 8 } else { 4 };
        // Lines fill no tile of several.
        let thin = s.height < 8;
        let tile_x = if thin { point.group } else { TILE_X.min(point.group) };
        let local = |patch: usize| {
            let tile_y = point.group / tile_x * patch;
            ((tile_x + s.filter_width - 1) * (tile_y + s.filter_height - 1) * sum_size) as u64
        };
        let patches = if thin { &[1] } else { patches(taps) };
        let patch = patches.iter().copied().find(|&p| local(p) <= device.local_bytes());
        let tile_y = point.group / tile_x * patch.unwrap_or(1);
        let in_constant =
            (s.filter_depth * taps * dtype.size()) as u64 <= device.info.memory.constant_bytes;
        let cpu = device.launch_kind == crate::DeviceKind::Cpu;
        // A stretch by large filters is many rounds of loops.
        let lanes = cpu && !device.short_loops();
        if lanes {
            point.group = 1;
        }
        let (tile_x, across) = if lanes { (STRETCH, STRETCH) } else { (tile_x, point.group) };
        let tiled = !cpu && taps <= MAX_TAPS && in_constant && patch.is_some();
        let reach = self.image.layout.offset as u128
            + self.filter.layout.offset as u128
            + 2 * self.image.layout.len() as u128
            + self.filter.layout.len() as u128
            + ((s.height + 2 * s.filter_height) as u128)
                * (s.width + 2 * s.filter_width + 64) as u128
                * s.filter_depth as u128;
        let wide = reach > i32::MAX as u128;
        // Small filters are unrolled; the lengths of large ones are arguments.
        let (fd, fh, fw) = match taps <= MAX_TAPS && s.filter_depth <= u8::MAX.into() {
            true => (s.filter_depth, s.filter_height, s.filter_width),
            false => (0, 0, 0),
        };
        let tiled = tiled && fd > 0;
        let key = vec![
            dtype as u8,
            self.border as u8,
            fd as u8,
            fh as u8,
            fw as u8,
            u8::from(tiled),
            u8::from(in_constant),
            u8::from(wide),
            u8::from(thin),
        ];
        let program = device.programs.get(device, self.op, ("conv2d", key), || {
            let stored = codegen::storage(dtype);
            let mut text = codegen::defines(device, wide, point);
            text.push_str(codegen::PRELUDE);
            text.push_str(&codegen::output_type(dtype, 1));
            text.push_str(&format!(
                "#define CLAN_STORED {stored}\n#define CLAN_LOAD(a, i) {}\ntypedef {sum} clan_sum;\ntypedef {} clan_out_c;\n",
                codegen::load(dtype, "(a)", "(i)"),
                codegen::compute(dtype),
            ));
            text.push_str(&format!(
                "#define CLAN_BORDER {}\n#define CLAN_TILE_X {tile_x}\n#define CLAN_PATCH {}\n",
                self.border as u8,
                patch.unwrap_or(1)
            ));
            // A GPU multiplies and adds in one instruction; on other processors `fma` may be slow.
            if !cpu && dtype.is_float() {
                text.push_str("#define CLAN_MAD(a, b, c) fma(a, b, c)\n");
            }
            match fh {
                0 => text.push_str("#define CLAN_FD filter_depth\n#define CLAN_FH filter_height\n#define CLAN_FW filter_width\n"),
                _ => text.push_str(&format!("#define CLAN_FD {fd}\n#define CLAN_FH {fh}\n#define CLAN_FW {fw}\n")),
            }
            match (tiled, lanes) {
                (_, true) => text.push_str(&format!("#define CLAN_LANES {LANES}\n")),
                (false, _) => text.push_str("#define CLAN_DIRECT 1\n"),
                (true, _) => {}
            }
            if !in_constant {
                text.push_str("#define CLAN_FILTER_SPACE __global\n");
            }
            text.push_str(include_str!("../../../cl/conv2d.cl"));
            text
        })?;
        let name = match (tiled, lanes) {
            (_, true) => "conv2d_lanes",
            (true, _) => "conv2d_tiled",
            (false, _) => "conv2d_direct",
        };
        let mut launch = Launch::new(device, &program, self.op, name)?;
        launch.output(self.out)?;
        launch.input(&self.image.buffer)?;
        codegen::bind_offset(&mut launch, self.image.layout.offset as isize, wide)?;
        launch.input(&self.filter.buffer)?;
        codegen::bind_offset(&mut launch, self.filter.layout.offset as isize, wide)?;
        for n in [s.depth, s.height, s.width] {
            codegen::bind_index(&mut launch, n, wide)?;
        }
        let groups = if tiled {
            let (ty, tx) = (s.height.div_ceil(tile_y), s.width.div_ceil(tile_x));
            codegen::bind_index(&mut launch, ty, wide)?;
            codegen::bind_index(&mut launch, tx, wide)?;
            ty * tx * s.depth * s.images
        } else {
            let (rows, across) = (s.images * s.depth * s.height, s.width.div_ceil(across));
            codegen::bind_index(&mut launch, rows, wide)?;
            codegen::bind_index(&mut launch, across, wide)?;
            for n in [s.filter_depth, s.filter_height, s.filter_width] {
                codegen::bind_offset(&mut launch, n as isize, wide)?;
            }
            rows * across
        };
        // SAFETY: the arguments follow the kernel's parameters; every position passes the border,
        // which keeps it inside the image, and the filter is read inside its lengths.
        unsafe { launch.run([groups, 1, 1], [point.group, 1, 1]) }
    }
}

/// `CLAN_TILE_X` in `cl/conv2d.cl`: results of a group along x.
#[cfg(feature = "opencl")]
const TILE_X: usize = 64;

/// `CLAN_LANES` in `cl/conv2d.cl`: neighbours that a CPU works on side by side. PoCL on 2 cores of an
/// EPYC, 1024² f32, milliseconds by 16 / 32 / 64 lanes: 9 taps along rows 1.3 / 1.1 / 1.3, along columns 1.6 / 1.1 /
/// 1.0; a result a work-item, which is not vectorised, 6.0 and 10.
#[cfg(feature = "opencl")]
const LANES: usize = 32;

/// `CLAN_TILE_X` on CPUs: results of a work-item along x.
#[cfg(feature = "opencl")]
const STRETCH: usize = 1024;

/// `CLAN_PATCH` in `cl/conv2d.cl`, the results of a work-item along y: the best first, then what
/// needs less local memory.
///
/// H200, 8192², f32, microseconds, patch 4 / 8 / 16: 3×3 194 / 166 / 175, 5×5 285 / 254 / 192,
/// 7×7 386 / 408 / 255, 9×9 528 / 631 / 2126 (registers spill). Tiles 32 or 128 wide instead of
/// 64: within 4 % at these patches.
#[cfg(feature = "opencl")]
fn patches(taps: usize) -> &'static [usize] {
    match taps {
        0..=9 => &[8, 4, 2],
        10..=49 => &[16, 8, 4, 2],
        _ => &[4, 2],
    }
}

/// Coefficients up to which a filter is unrolled.
#[cfg(feature = "opencl")]
const MAX_TAPS: usize = 81;

/// The position that stands for `i` on an axis of `n`; `None` where the border is zero.
pub(crate) fn border_index(border: Border, i: isize, n: usize) -> Option<usize> {
    let n = n as isize;
    let at = match border {
        Border::Zero if i < 0 || i >= n => return None,
        Border::Zero => i,
        Border::Nearest => i.clamp(0, n - 1),
        Border::Reflect if n == 1 => 0,
        Border::Reflect => {
            let period = 2 * (n - 1);
            let i = i.unsigned_abs() as isize % period;
            if i < n { i } else { period - i }
        }
        Border::Wrap => i.rem_euclid(n),
    };
    Some(at as usize)
}
