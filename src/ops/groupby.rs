//! `groupby`: sums, extremes and counts of elements that have the same key. Kernel: `cl/groupby.cl`.

use super::reduce::Kind;
#[cfg(feature = "opencl")]
use super::reduce::reduce;
use super::{Op, copy, map, run};
use crate::array::{DeviceArray, RawArray};
use crate::device::Device;
use crate::element::{DType, Integer, Number, Scalar, with_compute};
use crate::error::{Error, Result};
use crate::expr::fused::Fused;
use crate::expr::node::Node;
use crate::expr::{Expr, IntoExpr};
use crate::host::eval::{CHUNK, Evaluator};
use crate::host::{PARALLEL_ABOVE, map_tasks};
use crate::layout::{Dims, count};
#[cfg(feature = "opencl")]
use crate::{
    device::DeviceKind,
    layout::Layout,
    opencl::{ClDevice, Launch, codegen},
};
use std::marker::PhantomData;
use std::sync::Arc;

/// The kernel's text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../cl/groupby.cl");

/// The elements of an array by their keys, made by `group_by`.
#[must_use = "groups do nothing until a method such as `sum` computes something of them"]
pub struct GroupBy<T> {
    values: Arc<Node>,
    /// `u32`, in row-major order without gaps, below `groups`.
    keys: RawArray,
    groups: usize,
    _type: PhantomData<fn() -> T>,
}

impl<T: Number> Expr<T> {
    /// The elements by their keys, which are the numbers of `groups` groups. Keys broadcast to the shape
    /// of the elements. Waits for the device, to know that all keys are below `groups`.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let device = Device::host();
    /// let pay = DeviceArray::from_slice(&device, &[3.0f32, 5.0, 4.0, 8.0])?;
    /// let team = DeviceArray::from_slice(&device, &[0u32, 2, 0, 2])?;
    /// let teams = pay.group_by(&team, 3)?;
    /// assert_eq!(teams.sum()?.to_vec()?, [7.0, 0.0, 13.0]);
    /// assert_eq!(teams.count()?.to_vec()?, [2, 0, 2]);
    /// assert!(pay.group_by(&team, 2).is_err());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A key that is negative or not below `groups`, of which the first is named; keys that do not
    /// broadcast to the shape, or live on another device; mistakes kept in the expressions; out of memory.
    pub fn group_by<K: Integer>(
        &self,
        keys: impl IntoExpr<K>,
        groups: usize,
    ) -> Result<GroupBy<T>> {
        let op = "group_by";
        let values = self.node()?.clone();
        let n = count(op, &values.shape)?;
        let device = values.device.clone().map_or_else(Device::best, Ok)?;
        let values = values.with(values.dtype, &values.shape, Some(&device));
        let keys = keys.into_expr();
        let keys = map::as_shape(keys.node()?, op, &values.shape, &device)?;
        if groups > u32::MAX as usize {
            let text = format!("{groups} groups are more than {}", u32::MAX);
            return Err(Error::new(crate::ErrorKind::TooLarge, op, text));
        }
        if n > 0 {
            let keys = Expr::<K>::from_node(Ok(keys.clone()));
            within(op, &keys, groups)?;
        }
        GroupBy::of(op, &values, &Node::cast(keys, DType::U32), groups, &device)
    }
}

/// Refuses keys outside `0..groups`.
fn within<K: Integer>(op: &'static str, keys: &Expr<K>, groups: usize) -> Result<()> {
    let outside = |v: K| {
        let v = match v.to_scalar() {
            Scalar::U64(v) => i128::from(v),
            Scalar::I64(v) => v.into(),
            Scalar::I32(v) => v.into(),
            Scalar::U32(v) => v.into(),
            Scalar::I16(v) => v.into(),
            Scalar::U16(v) => v.into(),
            Scalar::I8(v) => v.into(),
            Scalar::U8(v) => v.into(),
            _ => -1,
        };
        v < 0 || v >= groups as i128
    };
    let negative = K::DTYPE.is_signed() && outside(keys.min()?.item()?) && groups > 0;
    if !negative && !outside(keys.max()?.item()?) {
        return Ok(());
    }
    // Only now the trouble to find the first one, on the host.
    let list = keys.eval()?.to_vec()?;
    let at = list.iter().position(|&k| outside(k)).unwrap_or(0);
    Err(Error::index(
        op,
        format!(
            "key {at} in row-major order is {:?}, and there are {groups} groups, numbered from 0",
            list.get(at)
        ),
    ))
}

impl<T: Number> DeviceArray<T> {
    /// The elements by their keys; see [`Expr::group_by`].
    ///
    /// # Errors
    /// As [`Expr::group_by`].
    pub fn group_by<K: Integer>(
        &self,
        keys: impl IntoExpr<K>,
        groups: usize,
    ) -> Result<GroupBy<T>> {
        self.expr().group_by(keys, groups)
    }
}

impl<T: Number> GroupBy<T> {
    /// Groups by `u32` numbers below `groups`, which broadcast to the shape of the elements.
    pub(crate) fn of(
        op: &'static str,
        values: &Arc<Node>,
        numbers: &Arc<Node>,
        groups: usize,
        device: &Device,
    ) -> Result<GroupBy<T>> {
        let values = values.with(values.dtype, &values.shape, Some(device));
        let numbers = map::as_shape(numbers, op, &values.shape, device)?;
        let keys = copy::contiguous(&map::eval(&numbers)?)?;
        Ok(GroupBy { values, keys, groups, _type: PhantomData })
    }

    /// The sum of each group, 0 where it has no elements. Integers are added in 64 bits and wrap; the
    /// error of float sums is a few rounding errors of Σ|x| where the device has `f64`, and grows with
    /// the number of elements elsewhere. The same bits every time.
    ///
    /// # Errors
    /// An element type that the device does not have; out of memory.
    pub fn sum(&self) -> Result<DeviceArray<T::Sum>> {
        self.join("sum", Kind::Sum, T::DTYPE.sum())
    }

    /// The least element of each group; NaN when there is one. A group without elements gives the
    /// greatest value of the type, ∞ for floats.
    ///
    /// # Errors
    /// As [`GroupBy::sum`].
    pub fn min(&self) -> Result<DeviceArray<T>> {
        self.join("min", Kind::Min, T::DTYPE)
    }

    /// The greatest element of each group; NaN when there is one. A group without elements gives the
    /// least value of the type, −∞ for floats.
    ///
    /// # Errors
    /// As [`GroupBy::sum`].
    pub fn max(&self) -> Result<DeviceArray<T>> {
        self.join("max", Kind::Max, T::DTYPE)
    }

    /// How many elements each group has.
    ///
    /// # Errors
    /// Out of memory.
    pub fn count(&self) -> Result<DeviceArray<u64>> {
        match self.groups {
            0 => DeviceArray::zeros(self.keys.device(), 0),
            n => super::histogram::indexed("count", &self.keys, n),
        }
    }

    /// The mean of each group, NaN where it has no elements; for integers in `f64`.
    ///
    /// # Errors
    /// Integers on a device without `f64`; else as [`GroupBy::sum`].
    pub fn mean(&self) -> Result<DeviceArray<T::Mean>> {
        self.keys.device().require("mean", <T::Mean as crate::Element>::DTYPE)?;
        (self.sum()?.cast::<T::Mean>() / self.count()?.cast::<T::Mean>()).eval()
    }

    fn join<U: crate::Element>(
        &self,
        op: &'static str,
        kind: Kind,
        out: DType,
    ) -> Result<DeviceArray<U>> {
        let device = self.keys.device().clone();
        if self.groups == 0 {
            device.require(op, T::DTYPE)?;
            return DeviceArray::zeros(&device, 0);
        }
        let call =
            Join { op, kind, values: &self.values, keys: &self.keys, groups: self.groups, out };
        Ok(DeviceArray::from_raw(run(call, &device)?))
    }
}

/// How often each key occurs, with weights.
impl<K: Integer> Expr<K> {
    /// The sum of the weights of each of the numbers 0, 1, 2, …: result `k` adds the weights of the
    /// elements that are `k`. As long as [`Expr::bincount`], which has no weights.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let device = Device::host();
    /// let x = DeviceArray::from_slice(&device, &[1u8, 3, 3])?;
    /// let w = DeviceArray::from_slice(&device, &[0.5f32, 2.0, 4.0])?;
    /// assert_eq!(x.bincount_weighted(&w, 0)?.to_vec()?, [0.0, 0.5, 0.0, 6.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Weights of another shape than the elements; else as [`Expr::bincount`] and [`GroupBy::sum`].
    pub fn bincount_weighted<W: Number>(
        &self,
        weights: impl IntoExpr<W>,
        least: usize,
    ) -> Result<DeviceArray<W::Sum>> {
        let op = "bincount_weighted";
        let weights = weights.into_expr();
        if weights.shape()? != self.shape()? {
            return Err(Error::shape(
                op,
                format!(
                    "weights of shape {:?} for elements of shape {:?}; there must be one for each",
                    weights.shape()?,
                    self.shape()?
                ),
            ));
        }
        weights.group_by(self, self.extent(op, least)?)?.sum()
    }
}

impl<K: Integer> DeviceArray<K> {
    /// The sum of the weights of each of the numbers 0, 1, 2, …; see [`Expr::bincount_weighted`].
    ///
    /// # Errors
    /// As [`Expr::bincount_weighted`].
    pub fn bincount_weighted<W: Number>(
        &self,
        weights: impl IntoExpr<W>,
        least: usize,
    ) -> Result<DeviceArray<W::Sum>> {
        self.expr().bincount_weighted(weights, least)
    }
}

struct Join<'a> {
    op: &'static str,
    kind: Kind,
    values: &'a Arc<Node>,
    keys: &'a RawArray,
    groups: usize,
    /// Type of the result.
    out: DType,
}

/// What a group without elements has.
fn identity(kind: Kind, dtype: DType) -> Scalar {
    let float = match kind {
        Kind::Min => f64::INFINITY,
        Kind::Max => f64::NEG_INFINITY,
        _ => 0.0,
    };
    macro_rules! least_or_greatest {
        ($t:ident, $S:ident) => {
            Scalar::$S(match kind {
                Kind::Min => $t::MAX,
                Kind::Max => $t::MIN,
                _ => 0,
            })
        };
    }
    match dtype.compute() {
        DType::F64 => Scalar::F64(float),
        DType::I8 => least_or_greatest!(i8, I8),
        DType::I16 => least_or_greatest!(i16, I16),
        DType::I32 => least_or_greatest!(i32, I32),
        DType::I64 => least_or_greatest!(i64, I64),
        DType::U8 | DType::Bool => least_or_greatest!(u8, U8),
        DType::U16 => least_or_greatest!(u16, U16),
        DType::U32 => least_or_greatest!(u32, U32),
        DType::U64 => least_or_greatest!(u64, U64),
        _ => Scalar::F32(float as f32),
    }
}

impl Op for Join<'_> {
    type Output = RawArray;

    fn check(&self, device: &Device) -> Result<()> {
        Fused::new(self.values).check(self.op, device)
    }

    fn host(self) -> Result<RawArray> {
        let fused = crate::expr::fuse(self.values)?;
        let order: Dims = (0..fused.shape.len()).collect();
        let nest = fused.nest(&order, None);
        let eval = Evaluator::new(&fused, &nest);
        let n = fused.len();
        let keys: &[u32] = match self.keys.buffer.host() {
            // SAFETY: `n` keys from the offset on, which nobody writes.
            Some(block) if n > 0 => unsafe {
                std::slice::from_raw_parts(
                    block.ptr().cast::<u32>().add(self.keys.layout.offset),
                    n,
                )
            },
            _ => &[],
        };
        let device = self.keys.device();
        let (kind, groups) = (self.kind, self.groups);
        macro_rules! joined {
            ($T:ty, $A:ty, $add:expr) => {{
                let start = <$A as Host>::of(identity(kind, <$A as crate::Element>::DTYPE));
                let joined = each::<$T, $A>(&eval, keys, groups, start, kind, $add);
                DeviceArray::from_slice(device, &joined)?.raw()?.clone()
            }};
        }
        let input = fused.dtype();
        let joined = match kind {
            Kind::Sum => match input.compute() {
                DType::F32 => joined!(f32, f64, |x: f32| f64::from(x)),
                DType::F64 => joined!(f64, f64, |x: f64| x),
                DType::U8 | DType::Bool => joined!(u8, u64, |x: u8| u64::from(x)),
                DType::U16 => joined!(u16, u64, |x: u16| u64::from(x)),
                DType::U32 => joined!(u32, u64, |x: u32| u64::from(x)),
                DType::U64 => joined!(u64, u64, |x: u64| x),
                DType::I8 => joined!(i8, i64, |x: i8| i64::from(x)),
                DType::I16 => joined!(i16, i64, |x: i16| i64::from(x)),
                DType::I32 => joined!(i32, i64, |x: i32| i64::from(x)),
                _ => joined!(i64, i64, |x: i64| x),
            },
            _ => with_compute!(input, T => joined!(T, T, |x: T| x)),
        };
        match joined.dtype == self.out {
            true => Ok(joined),
            false => map::eval(&Node::cast(Node::leaf(joined), self.out)),
        }
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<RawArray> {
        let values = copy::contiguous(&map::eval(self.values)?)?;
        let on = values.device();
        let (n, groups, dtype) = (values.layout.len(), self.groups, values.dtype);
        // Floats are added in `f64` where the device has it.
        let acc = match self.kind {
            Kind::Sum if dtype.is_float() && on.supports(DType::F64) => DType::F64,
            Kind::Sum => dtype.sum(),
            _ => dtype.compute(),
        };
        let (tasks, each, [stride, step, across, along]) = self.tasks(device, n, acc);
        let start = Node::scalar(identity(self.kind, acc), acc);
        let rows = map::eval(&start.with(acc, &[tasks * groups], Some(on)))?;
        if n > 0 {
            let point = device.walking_point();
            let group = point.group;
            let key = vec![self.kind as u8, dtype as u8, acc as u8];
            let program = device.programs.get(device, self.op, ("groupby", key), || {
                [
                    codegen::defines(device, false, point),
                    codegen::PRELUDE.to_string(),
                    types(dtype, acc, self.kind as u8),
                    SOURCE.to_string(),
                ]
                .concat()
            })?;
            let mut launch = Launch::new(device, &program, self.op, "groupby")?;
            launch.output(&rows.buffer)?;
            launch.input(&self.keys.buffer)?;
            launch.value(self.keys.layout.offset as u64)?;
            launch.input(&values.buffer)?;
            for v in [values.layout.offset, n, tasks, each, stride, step, across, along] {
                launch.value(v as u64)?;
            }
            // SAFETY: the arguments follow the kernel's parameters; keys are below `groups`, so a task
            // stays in its accumulators, of which there are `tasks * groups`.
            unsafe { launch.run([tasks.div_ceil(group), 1, 1], [group, 1, 1])? };
        }
        let mut layout = Layout::contiguous(&[groups, tasks]);
        layout.strides = [across as isize, along as isize].as_slice().into();
        let rows = Node::leaf(RawArray { layout, ..rows });
        let joined = reduce(self.op, self.kind, &rows, Some(&[1]), false, acc, false)?;
        match acc == self.out {
            true => Ok(joined),
            false => map::eval(&Node::cast(Node::leaf(joined), self.out)),
        }
    }
}

#[cfg(feature = "opencl")]
impl Join<'_> {
    /// How many tasks, elements of each, and the kernel's stride, step, across and along.
    fn tasks(&self, device: &ClDevice, n: usize, acc: DType) -> (usize, usize, [usize; 4]) {
        let flat = device.launch_kind == DeviceKind::Cpu;
        let units = device.info.compute_units.max(1);
        let memory = device.info.memory;
        // Accumulators take a sixteenth of the memory at most, and not many times that of the elements.
        let bytes = (memory.global_bytes / 16).min(memory.max_alloc_bytes) as usize;
        let room = (bytes / acc.size()).min(n.saturating_mul(16).max(1 << 20)) / self.groups;
        // A CPU's tasks take more elements than they have groups.
        let wanted = if flat { (4 * units).min(n / (4 * self.groups)) } else { 512 * units };
        let tasks = wanted.min(room).min(n).max(1).max(n.div_ceil(device.loop_rounds()));
        let each = n.div_ceil(tasks);
        match flat {
            true => (tasks, each, [each, 1, 1, self.groups]),
            false => (tasks, each, [1, tasks, tasks, 1]),
        }
    }
}

/// What comes between the prelude and the file.
#[cfg(feature = "opencl")]
pub(crate) fn types(dtype: DType, acc: DType, kind: u8) -> String {
    let join = match (kind, acc.is_float()) {
        (0, _) => "((a) + (x))",
        (2, true) => "(((x) < (a) || isnan(x)) ? (x) : (a))",
        (3, true) => "(((x) > (a) || isnan(x)) ? (x) : (a))",
        (2, false) => "min((a), (x))",
        _ => "max((a), (x))",
    };
    format!(
        "typedef {} clan_acc;\ntypedef {} clan_in_t;\n#define CLAN_LOAD(a, i) {}\n#define CLAN_JOIN(a, x) {join}\n",
        codegen::storage(acc),
        codegen::storage(dtype),
        codegen::load(dtype, "(a)", "(i)"),
    )
}

/// An accumulator of the host.
trait Host: crate::Element + PartialOrd {
    fn of(v: Scalar) -> Self;
    fn plus(self, x: Self) -> Self;
}
macro_rules! host {
    ($($t:ident $S:ident $plus:expr;)*) => {$(
        impl Host for $t {
            fn of(v: Scalar) -> $t {
                match v {
                    Scalar::$S(v) => v,
                    _ => $t::default(),
                }
            }
            #[inline(always)]
            fn plus(self, x: $t) -> $t {
                ($plus)(self, x)
            }
        }
    )*};
}
host! {
    i8 I8 i8::wrapping_add; i16 I16 i16::wrapping_add; i32 I32 i32::wrapping_add;
    i64 I64 i64::wrapping_add; u8 U8 u8::wrapping_add; u16 U16 u16::wrapping_add;
    u32 U32 u32::wrapping_add; u64 U64 u64::wrapping_add;
    f32 F32 |a: f32, b: f32| a + b; f64 F64 |a: f64, b: f64| a + b;
}

/// Joins on the host; the parts depend on the lengths alone, so that results do as well.
fn each<T: Copy, A: Host>(
    eval: &Evaluator<'_>,
    keys: &[u32],
    groups: usize,
    start: A,
    kind: Kind,
    widen: impl Fn(T) -> A + Sync,
) -> Vec<A> {
    let n = eval.len();
    let join = |a: A, x: A| match kind {
        Kind::Min => crate::host::minimum(x, a),
        Kind::Max => crate::host::maximum(x, a),
        _ => a.plus(x),
    };
    let part = |from: usize, to: usize| {
        let mut acc = vec![start; groups];
        let mut scratch = eval.scratch();
        let mut at = from;
        while at < to {
            let m = CHUNK.min(to - at);
            // SAFETY: the range lies inside the expression, whose values have its compute type, `T`.
            let x = unsafe {
                std::slice::from_raw_parts(eval.chunk(at, m, &mut scratch, None).cast::<T>(), m)
            };
            for (&x, &k) in x.iter().zip(&keys[at..at + m]) {
                let acc = &mut acc[k as usize];
                *acc = join(*acc, widen(x));
            }
            at += m;
        }
        acc
    };
    if n <= PARALLEL_ABOVE {
        return part(0, n);
    }
    let parts = n.div_ceil(PARALLEL_ABOVE.max(8 * groups)).min(16);
    let length = n.div_ceil(parts).next_multiple_of(CHUNK);
    let all = map_tasks(n.div_ceil(length), &|k| part(k * length, ((k + 1) * length).min(n)));
    let mut acc = vec![start; groups];
    for part in all {
        acc.iter_mut().zip(part).for_each(|(a, x)| *a = join(*a, x));
    }
    acc
}
