//! `merge`: two sorted vectors made one.

#[cfg(feature = "opencl")]
use super::Shape;
use super::{ascending, vector};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element, with_bits};
use crate::error::{Error, Result};
use crate::host::eval::SharedOut;
use crate::host::for_tasks;
use crate::host::sort::{Key, Ranking};
use crate::layout::{Layout, count};
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
use crate::ops::sort::Visit;
use crate::ops::{Op, run};
use std::sync::Arc;

impl<T: Element> DeviceArray<T> {
    /// The elements of two vectors, both sorted in ascending order, as one sorted vector. Of equal
    /// elements those of `self` come first. The order is that of [`Sort`](crate::Sort). Of vectors that
    /// are not sorted the result is any of their elements.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let host = Device::host();
    /// let a = DeviceArray::from_slice(&host, &[1.0f32, 4.0, f32::INFINITY])?;
    /// let b = DeviceArray::from_slice(&host, &[-2.0f32, 5.0])?;
    /// assert_eq!(a.merge(&b)?.to_vec()?, [-2.0, 1.0, 4.0, 5.0, f32::INFINITY]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Arrays of other than one axis or on different devices; out of memory.
    pub fn merge(&self, other: &DeviceArray<T>) -> Result<DeviceArray<T>> {
        let op = "merge";
        let (a, b) = both(op, self, other)?;
        let mut out = empty(op, &a, &b, T::DTYPE)?;
        start(op, [&a, &b], None, &mut out.0, None, false)?;
        Ok(made(out, T::DTYPE))
    }

    /// As [`DeviceArray::merge`], and what goes with each element: `own` with those of `self`, `others`
    /// with those of `other`.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let host = Device::host();
    /// let array = |x: &[i32]| DeviceArray::from_slice(&host, x);
    /// let (a, b) = (array(&[1, 4, 4])?, array(&[2, 4])?);
    /// let (keys, loads) = a.merge_with(&array(&[10, 40, 41])?, &b, &array(&[20, 42])?)?;
    /// assert_eq!(keys.to_vec()?, [1, 2, 4, 4, 4]);
    /// assert_eq!(loads.to_vec()?, [10, 20, 40, 41, 42]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A payload of another shape than its keys; else as [`DeviceArray::merge`].
    pub fn merge_with<P: Element>(
        &self,
        own: &DeviceArray<P>,
        other: &DeviceArray<T>,
        others: &DeviceArray<P>,
    ) -> Result<(DeviceArray<T>, DeviceArray<P>)> {
        let op = "merge";
        let (a, b) = both(op, self, other)?;
        let (pa, pb) = (payload(op, self, own)?, payload(op, other, others)?);
        let mut out = empty(op, &a, &b, T::DTYPE)?;
        let mut out_loads = empty(op, &a, &b, P::DTYPE)?;
        start(op, [&a, &b], Some([&pa, &pb]), &mut out.0, Some(&mut out_loads.0), false)?;
        Ok((made(out, T::DTYPE), made(out_loads, P::DTYPE)))
    }
}

fn both<T: Element>(
    op: &'static str,
    a: &DeviceArray<T>,
    b: &DeviceArray<T>,
) -> Result<(RawArray, RawArray)> {
    a.device().require_same(op, "the first array lives", b.device(), "the second")?;
    Ok((vector(op, "the first array", a)?, vector(op, "the second array", b)?))
}

fn payload<T: Element, P: Element>(
    op: &'static str,
    keys: &DeviceArray<T>,
    payload: &DeviceArray<P>,
) -> Result<RawArray> {
    let (mine, theirs) = ("the keys live", "what goes with them");
    keys.device().require_same(op, mine, payload.device(), theirs)?;
    if payload.shape() != keys.shape() {
        let text = format!(
            "keys of shape {:?} and what goes with them of {:?}; each key needs one element",
            keys.shape(),
            payload.shape()
        );
        return Err(Error::shape(op, text));
    }
    vector(op, "the payload", payload)
}

/// Memory for the elements of both.
pub(super) fn empty(
    op: &'static str,
    a: &RawArray,
    b: &RawArray,
    dtype: DType,
) -> Result<(Buffer, Layout)> {
    let n = a.layout.len().saturating_add(b.layout.len());
    count(op, &[n])?;
    let layout = Layout::contiguous(&[n]);
    Ok((RawArray::alloc(op, a.device(), &layout, dtype)?, layout))
}

pub(super) fn made<T: Element>((buffer, layout): (Buffer, Layout), dtype: DType) -> DeviceArray<T> {
    DeviceArray::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype })
}

/// Merges into memory for the elements of both. With `wide` positions have 64 bits also where 32 suffice.
pub(super) fn start(
    op: &'static str,
    [a, b]: [&RawArray; 2],
    loads: Option<[&RawArray; 2]>,
    out: &mut Buffer,
    out_loads: Option<&mut Buffer>,
    wide: bool,
) -> Result<()> {
    let device = out.device.clone();
    let merge = Merge { op, a, b, loads, out, out_loads, wide };
    if merge.len() > 0 { run(merge, &device) } else { Ok(()) }
}

/// Vectors without gaps.
struct Merge<'a> {
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "errors of OpenCL name it"))]
    op: &'static str,
    a: &'a RawArray,
    b: &'a RawArray,
    loads: Option<[&'a RawArray; 2]>,
    out: &'a mut Buffer,
    out_loads: Option<&'a mut Buffer>,
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    wide: bool,
}

/// Elements that a task of the host merges.
const PART: usize = 32 * 1024;

impl Merge<'_> {
    fn len(&self) -> usize {
        self.a.layout.len() + self.b.layout.len()
    }

    fn on_host<K: Key, P: Copy + Send + Sync>(
        self,
        [own, others]: [&[P]; 2],
        loads: *mut u8,
        order: impl Fn(K) -> K + Sync,
    ) {
        let n = self.len();
        // SAFETY: bits of this size.
        let (a, b) = unsafe { (self.a.host_values::<K>(), self.b.host_values::<K>()) };
        let Some(block) = self.out.host_mut() else { return };
        let (out, loads) = (SharedOut(block.ptr_mut()), SharedOut(loads));
        let part = |k: usize| {
            let (from, to) = (k * PART, n.min((k + 1) * PART));
            let i0 = cut(a, b, from, &order);
            // Of vectors that are not sorted the next cut may lie too near or too far. Within these
            // bounds both ends stay inside both vectors.
            let i1 = cut(a, b, to, &order).clamp(i0, i0 + (to - from));
            let (j0, j1) = (from - i0, to - i1);
            // SAFETY (both): places `from` to `to` are this part's own, inside the results.
            let (keys, loads) = unsafe {
                (
                    std::slice::from_raw_parts_mut(out.at::<K>(from as isize), to - from),
                    std::slice::from_raw_parts_mut(loads.at::<P>(from as isize), to - from),
                )
            };
            join((&a[i0..i1], &own[i0..i1]), (&b[j0..j1], &others[j0..j1]), keys, loads, &order);
        };
        for_tasks(n.div_ceil(PART), n, part);
    }
}

impl Visit for Merge<'_> {
    type Output = ();

    fn visit<K: Key>(self, ranking: impl Ranking<K>) {
        let order = move |key: K| ranking.rank(key);
        let start = |buffer: Option<&mut Buffer>| {
            let block = buffer.and_then(|buffer| buffer.host_mut());
            block.map_or(std::ptr::NonNull::dangling().as_ptr(), |block| block.ptr_mut())
        };
        let mut this = self;
        let to = start(this.out_loads.take());
        match this.loads {
            // Slices of nothing take no memory.
            None => {
                let (own, others) = (vec![(); this.a.layout.len()], vec![(); this.b.layout.len()]);
                this.on_host::<K, ()>([&own, &others], to, order);
            }
            Some([own, others]) => with_bits!(own.dtype, P => {
                // SAFETY: bits of this size.
                let loads = unsafe { [own.host_values::<P>(), others.host_values::<P>()] };
                this.on_host::<K, P>(loads, to, order);
            }),
        }
    }
}

/// How many of the first `d` elements of the result come from `a`.
fn cut<K: Key>(a: &[K], b: &[K], d: usize, order: &impl Fn(K) -> K) -> usize {
    let (mut low, mut high) = (d.saturating_sub(b.len()), d.min(a.len()));
    while low < high {
        let middle = low + (high - low) / 2;
        match order(b[d - 1 - middle]) < order(a[middle]) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

/// Merges two parts into as many places as they have elements.
fn join<K: Key, P: Copy>(
    (a, own): (&[K], &[P]),
    (b, others): (&[K], &[P]),
    keys: &mut [K],
    loads: &mut [P],
    order: &impl Fn(K) -> K,
) {
    let (own, others) = (&own[..a.len()], &others[..b.len()]);
    let (mut i, mut j) = (0, 0);
    let mut places = keys.iter_mut().zip(loads.iter_mut());
    while i < a.len() && j < b.len() {
        let Some((key, load)) = places.next() else { return };
        let second = order(b[j]) < order(a[i]);
        *key = if second { b[j] } else { a[i] };
        *load = if second { others[j] } else { own[i] };
        i += usize::from(!second);
        j += usize::from(second);
    }
    let rest = a[i..].iter().zip(&own[i..]).chain(b[j..].iter().zip(&others[j..]));
    places.zip(rest).for_each(|((key, load), (&k, &p))| (*key, *load) = (k, p));
}

impl Op for Merge<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        // Bits are compared and moved, which every device can.
        Ok(())
    }

    fn host(self) -> Result<()> {
        ascending(self.a.dtype).visit(self);
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let n = self.len();
        let Merge { op, a, b, loads, out, out_loads, wide } = self;
        let size = loads.map(|[own, _]| own.dtype.size());
        let shape = Shape::of(device, a.dtype.size(), size);
        let wide = wide || Shape::wide(n);
        let program = shape.program(device, op, a.dtype, size, wide)?;
        let (tile, cuts) = match shape.group {
            1 => {
                // A round finds a place, another merges an element.
                let most = device.loop_rounds().saturating_sub(256).max(1);
                (n.div_ceil(device.point.groups).max(SPAN).min(most), None)
            }
            group => (group * shape.each, Some(group)),
        };
        let tiles = n.div_ceil(tile);
        let cuts = match cuts {
            None => None,
            Some(group) => {
                let layout = Layout::contiguous(&[tiles + 1]);
                let cuts = RawArray::alloc(op, &out.device, &layout, DType::U64)?;
                let mut launch = Launch::new(device, &program, op, "merge_cuts")?;
                launch.output(&cuts)?;
                bind(&mut launch, a, b, wide)?;
                codegen::bind_index(&mut launch, tiles, wide)?;
                // SAFETY: the arguments follow the kernel's parameters; there is a place for each tile
                // and one more.
                unsafe { launch.run([(tiles + 1).div_ceil(group), 1, 1], [group, 1, 1])? };
                Some(cuts)
            }
        };
        let mut launch = Launch::new(device, &program, op, "merge")?;
        launch.output(out)?;
        bind(&mut launch, a, b, wide)?;
        match &cuts {
            Some(cuts) => launch.input(cuts)?,
            None => codegen::bind_index(&mut launch, tile, wide)?,
        }
        if let (Some([own, others]), Some(to)) = (loads, &out_loads) {
            launch.output(to)?;
            for load in [own, others] {
                launch.input(&load.buffer)?;
                launch.value(load.layout.offset as u64)?;
            }
        }
        // SAFETY: the arguments follow the kernel's parameters; a group has a tile of the result, and reads
        // what its cuts say, which lie inside the vectors.
        unsafe { launch.run([tiles, 1, 1], [shape.group, 1, 1]) }
    }
}

/// Elements that a work-item of a CPU merges at least.
#[cfg(feature = "opencl")]
const SPAN: usize = 4096;

#[cfg(feature = "opencl")]
fn bind<'a>(launch: &mut Launch<'a>, a: &'a RawArray, b: &'a RawArray, wide: bool) -> Result<()> {
    for keys in [a, b] {
        launch.input(&keys.buffer)?;
        launch.value(keys.layout.offset as u64)?;
        codegen::bind_index(launch, keys.layout.len(), wide)?;
    }
    Ok(())
}
