//! `reduce`: sums, products, extremes and their positions, of whole arrays or along axes.
//! Kernels: `cl/reduce.cl`.

use super::{Op, run};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Scalar, with_compute};
use crate::error::{Error, Result};
use crate::expr::fuse_somewhere;
use crate::expr::fused::Fused;
use crate::expr::node::Node;
use crate::host::eval::{Evaluator, SharedOut};
use crate::host::reduce as host;
use crate::layout::{Layout, check_axis, count};
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
#[cfg(feature = "opencl")]
use crate::tune::streams;
use half::{bf16, f16};
use ndarray::Axis;
use std::sync::Arc;

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../cl/reduce.cl");

/// The reducing operators. The numbers are those of `cl/reduce.cl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sum = 0,
    Prod = 1,
    Min = 2,
    Max = 3,
    ArgMin = 4,
    ArgMax = 5,
    Any = 6,
    All = 7,
}

impl Kind {
    fn is_arg(self) -> bool {
        matches!(self, Kind::ArgMin | Kind::ArgMax)
    }

    /// Whether nothing at all has a result.
    fn has_identity(self) -> bool {
        !matches!(self, Kind::Min | Kind::Max | Kind::ArgMin | Kind::ArgMax)
    }
}

/// Which axes are reduced.
pub(super) fn pick_axes(
    op: &'static str,
    axes: Option<&[usize]>,
    shape: &[usize],
) -> Result<Vec<bool>> {
    let Some(axes) = axes else { return Ok(vec![true; shape.len()]) };
    let mut picked = vec![false; shape.len()];
    for &axis in axes {
        check_axis(op, Axis(axis), shape)?;
        if std::mem::replace(&mut picked[axis], true) {
            return Err(Error::index(op, format!("axis {axis} is named twice")));
        }
    }
    Ok(picked)
}

pub(super) fn reduce(
    op: &'static str,
    kind: Kind,
    root: &Arc<Node>,
    axes: Option<&[usize]>,
    keepdims: bool,
    dtype: DType,
    mean: bool,
) -> Result<RawArray> {
    let picked = pick_axes(op, axes, &root.shape)?;
    count(op, &root.shape)?;
    let (fused, device) = fuse_somewhere(root)?;
    let plan = Plan::new(&fused, kind, &picked);
    if plan.len == 0 && plan.rows > 0 && !kind.has_identity() {
        return Err(Error::argument(
            op,
            format!(
                "nothing to choose from: shape {:?} has no elements along the reduced axes",
                fused.shape
            ),
        ));
    }
    let shape = reduced_shape(&fused.shape, &picked, keepdims);
    let layout = plan.output(&shape, &picked, keepdims);
    let divisor = if mean { Some(plan.len) } else { None };
    if plan.len == 0 && plan.rows > 0 {
        return of_nothing(op, kind, &device, layout, dtype, divisor);
    }
    let mut buffer = RawArray::alloc(op, &device, &layout, dtype)?;
    if plan.rows > 0 {
        run(
            Reduce { op, kind, fused: &fused, plan: &plan, out: &mut buffer, dtype, divisor },
            &device,
        )?;
    }
    Ok(RawArray { buffer: Arc::new(buffer), layout, dtype })
}

/// The shape of the result.
pub(super) fn reduced_shape(shape: &[usize], picked: &[bool], keepdims: bool) -> Vec<usize> {
    let kept = |(&d, &p): (&usize, &bool)| match (p, keepdims) {
        (false, _) => Some(d),
        (true, true) => Some(1),
        (true, false) => None,
    };
    shape.iter().zip(picked).filter_map(kept).collect()
}

/// What operators with an identity give for no elements.
fn of_nothing(
    op: &'static str,
    kind: Kind,
    device: &Device,
    layout: Layout,
    dtype: DType,
    divisor: Option<usize>,
) -> Result<RawArray> {
    device.require(op, dtype)?;
    let value = match kind {
        Kind::Any => Scalar::Bool(false),
        Kind::All => Scalar::Bool(true),
        _ => {
            let v = if divisor.is_some() { f64::NAN } else { f64::from(kind == Kind::Prod) };
            match dtype {
                DType::I64 => Scalar::I64(v as i64),
                DType::U64 => Scalar::U64(v as u64),
                DType::F64 => Scalar::F64(v),
                _ => Scalar::F32(v as f32),
            }
        }
    };
    let node = Node::scalar(value, dtype).with(dtype, &layout.shape, Some(device));
    super::map::eval_fitting(&node)
}

/// How the elements are walked: a matrix of `rows` results by `len` elements.
struct Plan {
    rows: usize,
    len: usize,
    /// Neighbouring elements belong to neighbouring results, not to the same one.
    by_columns: bool,
    /// All axes from the outermost loop to the innermost, reduced and kept ones apart.
    order: Vec<usize>,
    /// The kept axes in the order in which results lie in memory.
    kept: Vec<usize>,
}

impl Plan {
    fn new(fused: &Fused, kind: Kind, picked: &[bool]) -> Plan {
        let memory = fused.memory_order();
        let kept: Vec<usize> = memory.iter().copied().filter(|&a| !picked[a]).collect();
        let mut reduced: Vec<usize> = memory.iter().copied().filter(|&a| picked[a]).collect();
        if kind.is_arg() {
            // Positions count in row-major order, and the first of equals wins.
            reduced.sort_unstable();
        }
        let length = |axes: &[usize]| axes.iter().map(|&a| fused.shape[a]).product::<usize>();
        let (rows, len) = (length(&kept), length(&reduced));
        // The axis along which the widest leaf steps least decides.
        let widest = fused.leaves.iter().max_by_key(|l| l.layout.len());
        let finest = widest.and_then(|leaf| {
            let strides = leaf.layout.broadcast_strides(&fused.shape);
            (0..fused.shape.len())
                .filter(|&a| fused.shape[a] > 1 && strides[a] != 0)
                .min_by_key(|&a| strides[a].unsigned_abs())
        });
        let by_columns = rows > 1 && len > 1 && finest.is_some_and(|a| !picked[a]);
        let order = match by_columns {
            true => reduced.iter().chain(&kept).copied().collect(),
            false => kept.iter().chain(&reduced).copied().collect(),
        };
        Plan { rows, len, by_columns, order, kept }
    }

    /// The result's layout: `shape` with its axes in memory as the input's.
    fn output(&self, shape: &[usize], picked: &[bool], keepdims: bool) -> Layout {
        // Position of every input axis in the result.
        let mut at = vec![0; picked.len()];
        let mut next = 0;
        for (axis, &p) in picked.iter().enumerate() {
            at[axis] = next;
            next += usize::from(!p || keepdims);
        }
        let mut strides = vec![0isize; shape.len()];
        let mut step = 1isize;
        for &axis in self.kept.iter().rev() {
            strides[at[axis]] = step;
            step *= shape[at[axis]].max(1) as isize;
        }
        Layout { shape: shape.into(), strides: strides.into(), offset: 0 }
    }
}

struct Reduce<'a> {
    op: &'static str,
    kind: Kind,
    fused: &'a Fused,
    plan: &'a Plan,
    out: &'a mut Buffer,
    /// Type of the result.
    dtype: DType,
    /// For means: what sums are divided by.
    divisor: Option<usize>,
}

impl Op for Reduce<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        self.fused.check(self.op, device)
    }

    fn host(self) -> Result<()> {
        let nest = self.fused.nest(&self.plan.order, None);
        let eval = Evaluator::new(self.fused, &nest);
        let Plan { rows, len, by_columns, .. } = *self.plan;
        let Some(block) = self.out.host_mut() else { return Ok(()) };
        let out = SharedOut(block.ptr_mut());
        let dtype = self.dtype;
        // SAFETY (both): each result is stored once, at its own place inside the output.
        let put = |k: usize, bytes: &[u8]| unsafe {
            out.add(k * bytes.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        };
        let greatest = matches!(self.kind, Kind::Max | Kind::ArgMax);
        let input = self.fused.dtype();
        match self.kind {
            Kind::Sum | Kind::Prod if input.is_float() => {
                let divisor = self.divisor.unwrap_or(1);
                match (input.compute(), self.kind) {
                    (DType::F64, Kind::Sum) => host::reduce::<f64, _>(
                        &eval,
                        by_columns,
                        rows,
                        len,
                        host::FloatSum { divisor: divisor as f64 },
                        |k, v| put(k, &v.to_ne_bytes()),
                    ),
                    (DType::F64, _) => host::reduce::<f64, _>(
                        &eval,
                        by_columns,
                        rows,
                        len,
                        host::FloatProd,
                        |k, v| put(k, &v.to_ne_bytes()),
                    ),
                    (_, Kind::Sum) => host::reduce::<f32, _>(
                        &eval,
                        by_columns,
                        rows,
                        len,
                        host::FloatSum { divisor: divisor as f32 },
                        |k, v| put(k, &v.to_ne_bytes()),
                    ),
                    (_, _) => host::reduce::<f32, _>(
                        &eval,
                        by_columns,
                        rows,
                        len,
                        host::FloatProd,
                        |k, v| put(k, &v.to_ne_bytes()),
                    ),
                }
            }
            Kind::Sum | Kind::Prod => {
                let fold = host::IntFold { product: self.kind == Kind::Prod };
                with_integer!(input, T => host::reduce::<T, _>(
                    &eval, by_columns, rows, len, fold, |k, v| put(k, &v.to_ne_bytes())));
            }
            Kind::Min | Kind::Max => with_compute!(input, T => {
                let op = extreme::<T>(greatest);
                #[allow(clippy::unnecessary_cast, reason = "of one of the types that T stands for")]
                host::reduce::<T, _>(&eval, by_columns, rows, len, op, |k, v| match dtype {
                    DType::F16 => put(k, &f16::from_f32(v as f32).to_ne_bytes()),
                    DType::BF16 => put(k, &bf16::from_f32(v as f32).to_ne_bytes()),
                    _ => put(k, &v.to_ne_bytes()),
                });
            }),
            Kind::ArgMin | Kind::ArgMax => with_compute!(input, T => {
                let op = host::ArgExtreme { extreme: extreme::<T>(greatest) };
                host::reduce::<T, _>(&eval, by_columns, rows, len, op, |k, v| put(k, &v.to_ne_bytes()));
            }),
            Kind::Any | Kind::All => {
                let op = host::Logical { all: self.kind == Kind::All };
                host::reduce::<u8, _>(&eval, by_columns, rows, len, op, |k, v| put(k, &[v]));
            }
        }
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let Plan { rows, len, by_columns, .. } = *self.plan;
        let nest = self.fused.nest(&self.plan.order, None);
        let (point, columns) =
            streams::reduce_point(&self.out.device, device, by_columns, len, self.fused.dtype());
        let mut input = codegen::Input::new(self.fused, &nest, point);
        input.wide |= rows as u128 * len as u128 > i32::MAX as u128 / 2;
        let wide = input.wide;
        let mut key = vec![self.kind as u8, self.dtype as u8, columns as u8];
        point.key(&mut key);
        input.key(&mut key);
        let program = device.programs.get(device, self.op, ("reduce", key), || {
            [
                codegen::defines(device, wide, point),
                codegen::PRELUDE.to_string(),
                codegen::output_type(self.dtype, 1),
                input.text(),
                self.accumulator(),
                format!("#define CLAN_COLS {columns}\n"),
                SOURCE.to_string(),
            ]
            .concat()
        })?;
        let group = point.group;
        // Enough groups to fill the device, but each with a few rounds of work.
        let (blocks, per_round) = if by_columns {
            let vec = if rows % input.vec == 0 { input.vec } else { 1 };
            (rows.div_ceil(columns * vec), (group / columns) * point.unroll)
        } else {
            (0, group * point.unroll * input.vec)
        };
        let lanes =
            if by_columns { group } else { lanes(rows, len, input.vec, group, point.groups) };
        let blocks = match by_columns {
            true => blocks,
            // Rounds for elements that are no vectors as well.
            false if group == 1 => {
                let most = device.loop_rounds() / (len + 2 * input.vec);
                rows.min(point.groups.max(rows.div_ceil(most.max(1))))
            }
            false => rows.div_ceil(group / lanes),
        };
        let wanted = if lanes == group { (point.groups / blocks).max(1) } else { 1 };
        let splits = wanted.min(len.div_ceil(per_round * 4)).max(1);
        let (side_by_side, width) =
            if by_columns { (group / columns, input.vec) } else { (lanes, 1) };
        let most = device.loop_rounds().saturating_mul(side_by_side) / width;
        let splits = splits.max(len.div_ceil(most));
        let part = len.div_ceil(splits).next_multiple_of(if by_columns { 1 } else { input.vec });
        let splits = len.div_ceil(part);
        let partial = if splits > 1 {
            let bytes = (rows * splits).saturating_mul(16);
            Some(Buffer::new(&self.out.device, bytes)?)
        } else {
            None
        };
        let name = match (by_columns, input.vec > 1 && rows % input.vec == 0) {
            (false, _) => "reduce_rows",
            (true, true) => "reduce_columns_vec",
            (true, false) => "reduce_columns",
        };
        let mut launch = Launch::new(device, &program, self.op, name)?;
        // The pass that writes partial results does not touch the output, but needs an argument.
        launch.output(self.out)?;
        launch.output(partial.as_ref().unwrap_or(self.out))?;
        codegen::bind_index(&mut launch, rows, wide)?;
        codegen::bind_index(&mut launch, len, wide)?;
        launch.value(splits as u32)?;
        codegen::bind_index(&mut launch, part, wide)?;
        if !by_columns {
            launch.value(lanes as u32)?;
        }
        self.bind_divisor(&mut launch)?;
        input.bind(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; rows, len and part keep it inside
        // the input, and partial results take at most 16 bytes each.
        unsafe { launch.run([blocks * splits, 1, 1], [group, 1, 1])? };
        let Some(partial) = partial else { return Ok(()) };
        let mut launch = Launch::new(device, &program, self.op, "reduce_partials")?;
        launch.output(self.out)?;
        launch.input(&partial)?;
        codegen::bind_index(&mut launch, rows, wide)?;
        launch.value(splits as u32)?;
        let (across, along) = if by_columns { (1, rows) } else { (splits, 1) };
        codegen::bind_index(&mut launch, across, wide)?;
        codegen::bind_index(&mut launch, along, wide)?;
        let lanes = if by_columns { 1 } else { splits.next_power_of_two().min(group) };
        launch.value(lanes as u32)?;
        self.bind_divisor(&mut launch)?;
        // SAFETY: as above.
        unsafe { launch.run([rows.div_ceil(group / lanes), 1, 1], [group, 1, 1]) }
    }
}

/// Work-items for a row: all of a group where there are few rows, else about as many as a row has
/// vectors.
#[cfg(feature = "opencl")]
fn lanes(rows: usize, len: usize, vec: usize, group: usize, groups: usize) -> usize {
    if rows < groups && len >= group {
        return group;
    }
    let wanted = (len / (vec * 4)).max(1);
    (wanted.next_power_of_two()).min(group)
}

/// Calls a generic function with an integer type.
macro_rules! with_integer {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::I8 => {
                type $T = i8;
                $body
            }
            DType::I16 => {
                type $T = i16;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::U16 => {
                type $T = u16;
                $body
            }
            DType::U32 => {
                type $T = u32;
                $body
            }
            DType::U64 => {
                type $T = u64;
                $body
            }
            _ => {
                type $T = u8;
                $body
            }
        }
    };
}
use with_integer;

/// The bounds of a type, for operators whose identity they are.
trait Bounds {
    const LEAST: Self;
    const GREATEST: Self;
}
macro_rules! bounds {
    ($($t:ident: $low:expr, $high:expr;)*) => {$(
        impl Bounds for $t { const LEAST: $t = $low; const GREATEST: $t = $high; }
    )*};
}
bounds! {
    i8: i8::MIN, i8::MAX; i16: i16::MIN, i16::MAX; i32: i32::MIN, i32::MAX; i64: i64::MIN, i64::MAX;
    u8: 0, u8::MAX; u16: 0, u16::MAX; u32: 0, u32::MAX; u64: 0, u64::MAX;
    f32: f32::NEG_INFINITY, f32::INFINITY; f64: f64::NEG_INFINITY, f64::INFINITY;
}

fn extreme<T: Bounds>(greatest: bool) -> host::Extreme<T> {
    host::Extreme { greatest, worst: if greatest { T::LEAST } else { T::GREATEST } }
}

#[cfg(feature = "opencl")]
impl Reduce<'_> {
    /// Integer sums and products are folded in 64 unsigned bits: the same bits for both signs.
    fn word(&self) -> &'static str {
        let input = self.fused.dtype();
        match self.kind {
            Kind::Sum | Kind::Prod if !input.is_float() => "ulong",
            _ => codegen::compute(input),
        }
    }

    /// The text that chooses the operator.
    fn accumulator(&self) -> String {
        let input = self.fused.dtype().compute();
        let (least, greatest) = match input {
            DType::I8 => ("CHAR_MIN", "CHAR_MAX"),
            DType::I16 => ("SHRT_MIN", "SHRT_MAX"),
            DType::I32 => ("INT_MIN", "INT_MAX"),
            DType::I64 => ("LONG_MIN", "LONG_MAX"),
            DType::U16 => ("0", "USHRT_MAX"),
            DType::U32 => ("0", "UINT_MAX"),
            DType::U64 => ("0", "ULONG_MAX"),
            DType::F32 | DType::F64 => ("(-INFINITY)", "INFINITY"),
            _ => ("0", "UCHAR_MAX"),
        };
        format!(
            "#define CLAN_OP {}\n#define CLAN_IS_FLOAT {}\ntypedef {} clan_word;\n#define CLAN_LEAST {least}\n#define CLAN_GREATEST {greatest}\n",
            self.kind as u8,
            u8::from(input.is_float()),
            self.word(),
        )
    }

    fn bind_divisor(&self, launch: &mut Launch<'_>) -> Result<()> {
        let n = self.divisor.unwrap_or(1);
        match self.word() {
            "float" => launch.value(n as f32),
            "double" => launch.value(n as f64),
            "long" | "ulong" => launch.value(1u64),
            "int" | "uint" => launch.value(1u32),
            "short" | "ushort" => launch.value(1u16),
            _ => launch.value(1u8),
        }
    }
}
