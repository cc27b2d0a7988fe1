//! `searchsorted`: where values belong in a sorted vector.

#[cfg(feature = "opencl")]
use super::Shape;
use super::{ascending, vector};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::Result;
use crate::expr::{Expr, IntoExpr};
use crate::host::eval::SharedOut;
use crate::host::for_tasks;
use crate::host::sort::{Key, Ranking};
use crate::layout::{Layout, count};
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
use crate::ops::sort::Visit;
use crate::ops::{Op, copy, map, run};
use std::sync::Arc;

/// On which side of elements that equal it a value belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Before them: how many elements are less.
    Left,
    /// After them: how many elements are less or equal.
    Right,
}

impl<T: Element> DeviceArray<T> {
    /// Where values belong in this vector, which is sorted in ascending order: at which position each
    /// can be inserted so that the order stays. The result has the shape of `values`. The order is that
    /// of [`Sort`](crate::Sort): −0 before 0, every NaN last and all of them equal. Where the vector is
    /// not sorted, positions are any of 0 to its length.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Side};
    /// let host = Device::host();
    /// let x = DeviceArray::from_slice(&host, &[1.0f32, 2.0, 2.0, 5.0])?;
    /// let v = DeviceArray::from_slice(&host, &[2.0f32, 0.5, 9.0])?;
    /// assert_eq!(x.searchsorted(&v, Side::Left)?.to_vec()?, [1, 0, 4]);
    /// assert_eq!(x.searchsorted(&v, Side::Right)?.to_vec()?, [3, 0, 4]);
    /// assert_eq!(x.searchsorted(4.0, Side::Left)?.item()?, 3);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An array of other than one axis; values on another device; mistakes kept in their expression; out
    /// of memory.
    pub fn searchsorted(&self, values: impl IntoExpr<T>, side: Side) -> Result<DeviceArray<u64>> {
        let op = "searchsorted";
        let keys = vector(op, "the sorted array", self)?;
        let values = values.into_expr();
        count(op, values.shape()?)?;
        let values = placed(op, &values, self.device())?;
        Ok(DeviceArray::from_raw(search(op, &keys, &values, side, false)?))
    }
}

/// An expression's elements without gaps on a device.
fn placed<T: Element>(op: &'static str, values: &Expr<T>, device: &Device) -> Result<RawArray> {
    let node = values.node()?;
    copy::into_contiguous(map::array(&map::as_shape(node, op, &node.shape, device)?)?)
}

/// How many of the keys of a sorted vector lie before each value; both have no gaps. With `wide`
/// positions have 64 bits also where 32 suffice.
pub(super) fn search(
    op: &'static str,
    keys: &RawArray,
    values: &RawArray,
    side: Side,
    wide: bool,
) -> Result<RawArray> {
    let device = keys.device().clone();
    let layout = Layout::contiguous(&values.layout.shape);
    let mut out = RawArray::alloc(op, &device, &layout, DType::U64)?;
    if layout.len() > 0 {
        run(Search { op, keys, values, side, out: &mut out, wide }, &device)?;
    }
    Ok(RawArray { buffer: Arc::new(out), layout, dtype: DType::U64 })
}

struct Search<'a> {
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "errors of OpenCL name it"))]
    op: &'static str,
    keys: &'a RawArray,
    values: &'a RawArray,
    side: Side,
    out: &'a mut Buffer,
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    wide: bool,
}

/// Values looked for at a time, so that their loads are in flight together.
const AT_ONCE: usize = 16;

/// Keys up to which values are looked for one by one: caches hold them, and nothing waits for loads.
///
/// Nanoseconds a search of `u32` on one core, one by one and so many at once: 14 and 17 to 33 of 2,000
/// keys, 33 and 24 of 2¹⁶, 770 and 260 of 2²².
const FEW: usize = 1 << 15;

/// Values that a task takes.
const PART: usize = 1024;

impl Op for Search<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        // Bits are compared, which every device has.
        Ok(())
    }

    fn host(self) -> Result<()> {
        ascending(self.keys.dtype).visit(self);
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let Search { op, keys, values, side, out, wide } = self;
        let shape = Shape::of(device, keys.dtype.size(), None);
        let (n, count) = (keys.layout.len(), values.layout.len());
        let wide = wide || Shape::wide(n.max(count));
        let program = shape.program(device, op, keys.dtype, None, wide)?;
        let mut launch = Launch::new(device, &program, op, "searchsorted")?;
        launch.output(out)?;
        launch.input(&keys.buffer)?;
        launch.value(keys.layout.offset as u64)?;
        codegen::bind_index(&mut launch, n, wide)?;
        launch.input(&values.buffer)?;
        launch.value(values.layout.offset as u64)?;
        codegen::bind_index(&mut launch, count, wide)?;
        launch.value(u32::from(side == Side::Right))?;
        let tile = shape.group * shape.searches * shape.rounds;
        // SAFETY: the arguments follow the kernel's parameters; it reads keys below `n` only, and values
        // and places below `count`.
        unsafe { launch.run([count.div_ceil(tile), 1, 1], [shape.group, 1, 1]) }
    }
}

impl Visit for Search<'_> {
    type Output = ();

    fn visit<K: Key>(self, ranking: impl Ranking<K>) {
        let order = move |key: K| ranking.rank(key);
        let Some(block) = self.out.host_mut() else { return };
        let out = SharedOut(block.ptr_mut());
        // SAFETY: bits of this size.
        let (keys, values) =
            unsafe { (self.keys.host_values::<K>(), self.values.host_values::<K>()) };
        let upto = self.side == Side::Right;
        // A value costs as many steps as the number of keys has bits.
        let steps = values.len() * (usize::BITS - keys.len().leading_zeros()) as usize;
        for_tasks(values.len().div_ceil(PART), steps, |k| {
            let values = &values[k * PART..values.len().min((k + 1) * PART)];
            // SAFETY: a place a value, which are this task's own.
            let out = unsafe {
                std::slice::from_raw_parts_mut(out.at::<u64>((k * PART) as isize), values.len())
            };
            some(keys, values, out, upto, order);
        });
    }
}

fn some<K: Key>(keys: &[K], values: &[K], out: &mut [u64], upto: bool, order: impl Fn(K) -> K) {
    let before = |key: K, value: K| {
        let key = order(key);
        (key < value) | (upto & (key == value))
    };
    if keys.len() <= FEW {
        for (out, &value) in out.iter_mut().zip(values) {
            let value = order(value);
            *out = keys.partition_point(|&key| before(key, value)) as u64;
        }
        return;
    }
    for (values, out) in values.chunks(AT_ONCE).zip(out.chunks_mut(AT_ONCE)) {
        let (mut value, mut low) = ([K::default(); AT_ONCE], [0usize; AT_ONCE]);
        value.iter_mut().zip(values).for_each(|(value, &v)| *value = order(v));
        // The answer lies in low ..= low + len.
        let mut len = keys.len();
        while len > 0 {
            let step = (len / 2).max(1);
            for (low, &value) in low.iter_mut().zip(&value) {
                *low += step * usize::from(before(keys[*low + step - 1], value));
            }
            len -= step;
        }
        out.iter_mut().zip(low).for_each(|(out, low)| *out = low as u64);
    }
}
