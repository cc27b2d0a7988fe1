//! Matrix units: which a device has, found by running them, and which product goes to which.
//! Kernels: `cl/matmul_mma.cl`.

use super::Precision;
use super::gemm::{Gemm, Matrix};
use super::point::{Grid, Tile, least};
use super::shapes::Shapes;
use super::tuning;
use crate::array::RawArray;
use crate::device::{Backing, Device};
use crate::element::DType;
use crate::error::Result;
use crate::expr::node::Node;
use crate::layout::{Dims, Layout};
use crate::opencl::{ClDevice, Verdict};
use crate::ops::{copy, map, run};
use crate::tune::space::Case;
use crate::tune::{self, trial};
use std::fmt::Write;
use std::sync::Arc;

/// What a unit multiplies, as `CLAN_MMA` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tf32 = 1,
    /// Three products of TensorFloat-32 make one as exact as `f32`.
    Tf32Thrice = 2,
    Bf16 = 3,
    F16 = 4,
    F64 = 5,
}

/// One way to compute a product on matrix units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    /// Names the probe in the log.
    name: &'static str,
    pub kind: Kind,
    pub bm: usize,
    pub bn: usize,
    pub bk: usize,
    pub wm: usize,
    pub wn: usize,
    pub stages: usize,
    /// Rows of tiles that groups walk together.
    pub band: usize,
    /// Time for an element of the result and of k, compared with the best of its kind.
    cost: f64,
}

/// A family of devices with units that the kernel file knows how to use.
pub(super) struct Family {
    /// Part of the platform's name: elsewhere the kernels do not compile, so nothing is tried.
    platform: &'static str,
    pub units: &'static [Unit],
}

/// A new vendor's units are a row here and a kernel file.
///
/// TFLOP/s of the kernels alone on an H200 (driver 580.159.04), n × n × n:
/// f32 in three products: tile 128 × 64 at 8192 75.7, 64 × 32 at 512 20.7, at 1024 44.9, at 2048
/// 52.9; tf32 at 8192 233.9; bf16 466.7; f16 456.5; f64 46.0. All of `mma.sync`: tf32 318, bf16 636.
/// Other tiles for three products at 8192: 128 × 128 with 8 warps 71.7, 64 × 64 69.9; tf32 with
/// 128 × 128 by 8 warps 121; bf16 with 8 warps 327, with tiles of 256 × 128 292.
const FAMILIES: &[Family] = &[Family {
    platform: "NVIDIA CUDA",
    units: &[
        unit("mma tf32x3 128x64", Kind::Tf32Thrice, [128, 64, 32], [64, 32], 2, 1.0),
        unit("mma tf32x3 64x32", Kind::Tf32Thrice, [64, 32, 32], [32, 16], 3, 1.4),
        unit("mma tf32x3 128x16", Kind::Tf32Thrice, [128, 16, 32], [32, 16], 2, 1.7),
        unit("mma tf32 128x128", Kind::Tf32, [128, 128, 16], [64, 64], 3, 1.0),
        unit("mma tf32 64x64", Kind::Tf32, [64, 64, 32], [32, 32], 2, 1.4),
        unit("mma tf32 128x16", Kind::Tf32, [128, 16, 32], [32, 16], 2, 2.0),
        unit("mma bf16 128x128", Kind::Bf16, [128, 128, 32], [64, 64], 3, 1.0),
        unit("mma bf16 64x64", Kind::Bf16, [64, 64, 32], [32, 32], 3, 1.4),
        unit("mma f16 128x128", Kind::F16, [128, 128, 32], [64, 64], 3, 1.0),
        unit("mma f16 64x64", Kind::F16, [64, 64, 32], [32, 32], 3, 1.4),
        unit("mma f64 64x64", Kind::F64, [64, 64, 16], [32, 32], 2, 1.0),
        unit("mma f64 32x32", Kind::F64, [32, 32, 16], [16, 16], 3, 1.5),
    ],
}];

const fn unit(
    name: &'static str,
    kind: Kind,
    [bm, bn, bk]: [usize; 3],
    [wm, wn]: [usize; 2],
    stages: usize,
    cost: f64,
) -> Unit {
    Unit { name, kind, bm, bn, bk, wm, wn, stages, band: 8, cost }
}

/// Below this k three products of 11-bit parts are less exact than fused multiply-adds, whose error
/// grows with k: the units cut what they add. Error compared with fused multiply-adds on an H200,
/// random elements: k 32 2.46, 64 1.68, 96 1.37, 128 1.17, 192 0.98, 256 0.88, 512 0.63, 1024 0.46.
/// Rounding the low part too changes nothing.
const THRICE_FROM: usize = 192;

/// From this k the high part may be the next below: half of the error is spent to save time (on an
/// H200 at 8192 75.7 instead of 67.2 TFLOP/s; error 0.40 of that of fused multiply-adds).
const CUT_FROM: usize = 2048;

/// What the platform's units are, if any.
pub(super) fn family(device: &ClDevice) -> Option<&'static Family> {
    FAMILIES.iter().find(|f| device.info.platform.contains(f.platform))
}

impl Unit {
    /// What [`Unit::values`] gave.
    pub fn of_values(kind: Kind, v: &[u32]) -> Unit {
        let v = |k: usize| v[k] as usize;
        let (name, cost) = ("tuned", 1.0);
        let (bm, bn, bk, wm, wn) = (v(0), v(1), v(2), v(3), v(4));
        Unit { name, kind, bm, bn, bk, wm, wn, stages: v(5), band: v(6), cost }
    }

    /// Whether the kernel can be written so for the device.
    pub fn fits(&self, device: &ClDevice) -> bool {
        let size = operand_type(self.kind).size();
        let (chunks_k, chunks_n) = (self.bk * size / 16, self.bn * size / 16);
        let lines = if self.kind == Kind::F64 { 2 } else { 0 };
        let stage = self.bm * (self.bk + lines)
            + self.bn * (self.bk + lines).max(self.bk + lines * self.bk / 16);
        let group = self.group();
        let deals = |lines: usize, chunks: usize| {
            chunks <= group
                && (group / chunks).is_multiple_of(8)
                && lines.is_multiple_of(group / chunks)
        };
        family(device).is_some()
            && self.bm.is_multiple_of(self.wm)
            && self.bn.is_multiple_of(self.wn)
            && (32..=device.info.max_work_group).contains(&group)
            && self.wm * self.wn <= 64 * 64
            && deals(self.bm, chunks_k)
            && deals(self.bn, chunks_k)
            && deals(self.bk, chunks_n)
            && (self.stages * stage * size) as u64 <= device.info.memory.local_bytes
    }

    /// Work-items of a group.
    pub fn group(&self) -> usize {
        (self.bm / self.wm) * (self.bn / self.wn) * 32
    }

    /// Whether tiles cover the product exactly when k is cut into parts of `part`.
    fn covers(&self, gemm: &Gemm<'_>, part: usize) -> bool {
        gemm.m.is_multiple_of(self.bm)
            && gemm.n.is_multiple_of(self.bn)
            && gemm.k.is_multiple_of(self.bk)
            && part.is_multiple_of(self.bk)
    }

    pub fn defines(&self, gemm: &Gemm<'_>, part: usize) -> String {
        let mut text = String::new();
        let flags = [
            ("MMA", self.kind as usize),
            ("BM", self.bm),
            ("BN", self.bn),
            ("BK", self.bk),
            ("WM", self.wm),
            ("WN", self.wn),
            ("STAGES", self.stages),
            ("BAND", self.band),
            ("EDGE", usize::from(!self.covers(gemm, part))),
            ("ROUND", usize::from(gemm.k < CUT_FROM)),
        ];
        for (name, value) in flags {
            let _ = writeln!(text, "#define CLAN_{name} {value}");
        }
        text
    }

    /// What writing a partial sum and reading it again costs, in multiplications: 8 bytes (16 for
    /// `f64`) at 4.2 TB/s beside the speeds of [`FAMILIES`].
    fn join(&self) -> f64 {
        match self.kind {
            Kind::Tf32Thrice => 71.0,
            Kind::Tf32 => 224.0,
            Kind::Bf16 | Kind::F16 => 446.0,
            Kind::F64 => 88.0,
        }
    }

    /// Into how many parts k should be cut, and an estimate of the time it takes then, in
    /// multiplications of a compute unit.
    pub fn plan(&self, shape: [usize; 4], units: usize) -> (usize, f64) {
        let (splits, product, join) = self.grid().plan(shape, units);
        (splits, product * self.cost + join)
    }

    /// A part has to fill the ring first.
    fn grid(&self) -> Grid {
        let tile = [self.bm, self.bn, self.bk];
        Grid { tile, fill: 2 * self.bk, cost: self.cost, join: self.join() }
    }
}

/// The type that operands have on the units.
fn operand_type(kind: Kind) -> DType {
    match kind {
        Kind::Tf32 | Kind::Tf32Thrice => DType::F32,
        Kind::Bf16 => DType::BF16,
        Kind::F16 => DType::F16,
        Kind::F64 => DType::F64,
    }
}

/// The kind of unit for a type and precision, and products over `k` elements.
pub(super) fn kind(dtype: DType, precision: Precision, k: usize) -> Option<Kind> {
    Some(match (dtype, precision) {
        (DType::F32, Precision::Full) if k >= THRICE_FROM => Kind::Tf32Thrice,
        (DType::F32, Precision::Tf32) => Kind::Tf32,
        (DType::F32, Precision::Bf16) | (DType::BF16, _) => Kind::Bf16,
        (DType::F32, Precision::Half) | (DType::F16, _) => Kind::F16,
        (DType::F64, _) => Kind::F64,
        _ => return None,
    })
}

/// The unit for a product, if the device has one that is worth it and works.
pub(super) fn choose(
    shapes: &Shapes,
    precision: Precision,
    a: &RawArray,
    b: &RawArray,
) -> Result<Option<Unit>> {
    let (device, dtype) = (a.device(), a.dtype);
    let Backing::OpenCl(cl) = device.backing() else { return Ok(None) };
    let Shapes { m, n, k, ref batch, .. } = *shapes;
    let batches: usize = batch.iter().product();
    let Some(kind) = kind(dtype, precision, k) else { return Ok(None) };
    // Thin and small products are a matter of memory and latency.
    let work = m.saturating_mul(n).saturating_mul(k).saturating_mul(batches);
    if m.min(n) < 16 || k < 32 || work < 1 << 22 {
        return Ok(None);
    }
    // A portable kernel on trial is not to be passed by.
    let other =
        trial::space().is_some_and(|s| s.family == "matmul" && s.name != tuning::UNITS.name);
    if other || !crate::env::matrix_units()? {
        return Ok(None);
    }
    let Some(family) = family(cl) else { return Ok(None) };
    let units = cl.info.compute_units.max(1);
    let time = |u: &Unit| u.plan([m, n, k, batches], units).1;
    let rows = family.units.iter().filter(|u| u.kind == kind);
    let class = tuning::unit_class(kind, m, n, k, batches);
    // What the tuner found has been run, so it needs no probe.
    let tuned = tune::find(device, &tuning::UNITS, operand_type(kind), class)
        .map(|f| (f.on_trial, Unit { cost: f.cost, ..Unit::of_values(kind, &f.values) }));
    if let Some((true, unit)) = tuned {
        return Ok(Some(unit));
    }
    let row = rows.min_by(|a, b| time(a).total_cmp(&time(b)));
    let Some(row) = row else { return Ok(None) };
    let best = tuned.map(|t| t.1).filter(|t| time(t) < time(row)).unwrap_or(*row);
    // Copying a large operand for a thin product may take longer than the units save: H200, f32,
    // 16 × 8192 × 8192 5.3 TFLOP/s with units, 9.3 without. The price of bytes makes multiplications
    // of both kinds of kernel comparable.
    let copies: usize = best.copied(a, b).map(|x| x.layout.len()).sum();
    let (product, copying) = (time(&best) / best.join(), copies as f64 / units as f64);
    if copying > product / 2.0 && product + copying > Tile::estimate(cl, dtype, [m, n, k, batches])
    {
        return Ok(None);
    }
    if best.name != row.name {
        return Ok(Some(best));
    }
    Ok(Some(row).filter(|u| cl.probe(u.name, || works(device, **u))).copied())
}

/// See [`crate::tune::space::Model`].
pub(super) fn model(device: &ClDevice, case: &Case, values: Option<&[u32]>) -> (f64, f64) {
    let units = device.info.compute_units.max(1);
    let kind = tuning::kind_of(case.class);
    if let (Some(values), Some(kind)) = (values, kind) {
        let (_, product, join) = Unit::of_values(kind, values).grid().plan(case.shape, units);
        return (product, join);
    }
    let rows = family(device).map_or(&[][..], |f| f.units);
    let times = rows.iter().filter(|u| Some(u.kind) == kind).map(|u| {
        let (_, product, join) = u.grid().plan(case.shape, units);
        (product * u.cost, join)
    });
    least(times).unwrap_or((1.0, 0.0))
}

impl Unit {
    /// The operands that [`operands`] copies.
    fn copied<'x>(
        &self,
        a: &'x RawArray,
        b: &'x RawArray,
    ) -> impl Iterator<Item = &'x RawArray> + use<'x> {
        let dtype = operand_type(self.kind);
        let lines = match self.kind {
            Kind::Tf32 | Kind::Tf32Thrice => chunked(b, true),
            _ => chunked(b, true) || chunked(b, false),
        };
        let a = Some(a).filter(|a| a.dtype != dtype || !chunked(a, false));
        a.into_iter().chain(Some(b).filter(|b| b.dtype != dtype || !lines))
    }
}

/// The operands as `unit` reads them: of its type, in rows of aligned chunks of 16 bytes. Copied
/// where they are not.
pub(super) fn operands(unit: &Unit, a: &RawArray, b: &RawArray) -> Result<(RawArray, RawArray)> {
    let dtype = operand_type(unit.kind);
    let a = in_lines(a, dtype, false)?;
    let b = match unit.kind {
        // These units read f32 with neighbours along k only.
        Kind::Tf32 | Kind::Tf32Thrice => in_lines(b, dtype, true)?,
        _ if chunked(b, true) && dtype == b.dtype => b.clone(),
        _ => in_lines(b, dtype, false)?,
    };
    Ok((a, b))
}

/// Matrices of type `dtype` with rows, or `by_columns` columns, in aligned chunks of 16 bytes.
pub(super) fn in_lines(x: &RawArray, dtype: DType, by_columns: bool) -> Result<RawArray> {
    if x.dtype == dtype && chunked(x, by_columns) {
        return Ok(x.clone());
    }
    let rank = x.layout.shape.len();
    let turn = |x: &RawArray| -> Result<RawArray> {
        let mut axes: Dims = (0..rank).collect();
        if by_columns {
            axes.swap(rank - 1, rank - 2);
        }
        Ok(RawArray { layout: x.layout.permute(super::OP, &axes)?, ..x.clone() })
    };
    // Matrices that a batch repeats are copied once.
    let whole = x.layout.clone();
    let mut once = x.clone();
    for axis in 0..rank - 2 {
        if whole.strides[axis] == 0 && whole.shape[axis] > 1 {
            once.layout.shape[axis] = 1;
        }
    }
    let line = 16 / dtype.size();
    let made = match x.dtype == dtype {
        true => copy::padded(&turn(&once)?, line)?,
        false => map::eval_padded(&Node::cast(Node::leaf(turn(&once)?), dtype), line)?,
    };
    let mut made = turn(&made)?;
    for axis in 0..rank - 2 {
        if whole.strides[axis] == 0 && whole.shape[axis] > 1 {
            made.layout.shape[axis] = whole.shape[axis];
            made.layout.strides[axis] = 0;
        }
    }
    Ok(made)
}

/// Whether the lines of all matrices of an array, its columns or its rows, start on 16 bytes.
fn chunked(x: &RawArray, by_columns: bool) -> bool {
    let Layout { strides, offset, .. } = &x.layout;
    let line = 16 / x.dtype.size();
    let rank = strides.len();
    let (unit, other) = match by_columns {
        true => (strides[rank - 2], strides[rank - 1]),
        false => (strides[rank - 1], strides[rank - 2]),
    };
    let aligned = |s: isize| s % line as isize == 0;
    unit == 1
        && offset.is_multiple_of(line)
        && aligned(other)
        && strides[..rank - 2].iter().all(|&s| aligned(s))
}

/// Multiplies small integers, whose product is exact, and compares with a plain loop.
fn works(device: &Device, unit: Unit) -> Result<Verdict> {
    // Neither tiles nor stages divide them.
    let (m, n, k) = (unit.bm + 19, unit.bn + 18, unit.bk * 3 + 8);
    let a: Vec<f32> = (0..m * k).map(|i| (i * 7 % 15) as f32 - 7.0).collect();
    let b: Vec<f32> = (0..k * n).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
    let got = multiply(device, unit, [m, n, k], &a, &b)?;
    Ok(Verdict::of((0..m * n).all(|at| {
        let (i, j) = (at / n, at % n);
        let want: f32 = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        got[at] == want
    })))
}

fn multiply(
    device: &Device,
    unit: Unit,
    [m, n, k]: [usize; 3],
    a: &[f32],
    b: &[f32],
) -> Result<Vec<f32>> {
    let dtype = operand_type(unit.kind);
    let upload = |values: &[f32], shape: [usize; 2]| -> Result<RawArray> {
        let x = crate::DeviceArray::<f32>::from_slice(device, values)?.reshape(shape)?;
        map::eval(&Node::cast(Node::leaf(x.raw()?.clone()), dtype))
    };
    let (a, b) = operands(&unit, &upload(a, [m, k])?, &upload(b, [k, n])?)?;
    let out_dtype = dtype.compute();
    let layout = Layout::contiguous(&[m, n]);
    let mut out = RawArray::alloc(super::OP, device, &layout, out_dtype)?;
    fn matrix(x: &RawArray) -> Matrix<'_> {
        let Layout { strides, offset, .. } = &x.layout;
        Matrix { buffer: Some(&x.buffer), offset: *offset, row: strides[0], column: strides[1] }
    }
    let gemm = Gemm {
        op: super::OP,
        m,
        n,
        k,
        batch: Vec::new(),
        a: matrix(&a),
        b: matrix(&b),
        dtype,
        out: &mut out,
        out_offset: 0,
        out_row: n as isize,
        out_dtype,
        unit: Some(unit),
        epilogue: None,
        subtract: false,
    };
    run(gemm, device)?;
    let out = RawArray { buffer: Arc::new(out), layout, dtype: out_dtype };
    let out = map::eval(&Node::cast(Node::leaf(out), DType::F32))?;
    crate::DeviceArray::<f32>::from_raw(out).to_vec()
}
