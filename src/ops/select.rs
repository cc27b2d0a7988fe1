//! `select`: what a mask keeps, where it is true, and runs of equal elements. Kernels: `cl/select.cl`.

use super::{Op, copy, map, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element, with_bits};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::fuse_somewhere;
use crate::expr::node::Node;
use crate::expr::{Expr, IntoExpr};
use crate::host::eval::SharedOut;
use crate::host::{LIGHT, for_tasks, map_tasks, run_tasks};
use crate::layout::{Layout, count};
#[cfg(feature = "opencl")]
use crate::{
    device::DeviceKind,
    expr::node::Operand,
    layout::Dims,
    opencl::{ClDevice, Launch, Point, codegen, program::Program},
    ops::scan,
};
use ndarray::{Axis, s};
use std::sync::Arc;

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../cl/select.cl");

/// Bytes that a work-item of a GPU loads at a time for its flags, which are as many or a multiple.
#[cfg(feature = "opencl")]
const VECTOR_BYTES: usize = 16;

/// Flags that a task of the host takes.
const PART: usize = 32 * 1024;

/// Flags of a part that are looked at before what they keep is written.
const BLOCK: usize = 512;

/// What is written of the elements.
#[derive(Clone, Copy)]
enum What<'a> {
    /// Their positions in row-major order, as `u64`.
    Positions,
    /// Those that are kept, of an array in row-major order.
    Kept(&'a RawArray),
    /// Those that are kept, then all others.
    All(&'a RawArray),
}

impl<'a> What<'a> {
    fn values(self) -> Option<&'a RawArray> {
        match self {
            What::Positions => None,
            What::Kept(values) | What::All(values) => Some(values),
        }
    }

    fn dtype(self) -> DType {
        self.values().map_or(DType::U64, |values| values.dtype)
    }
}

/// A vector of what the mask keeps, and how many that are. Waits for the number.
fn select(op: &'static str, mask: &Arc<Node>, what: What<'_>) -> Result<(RawArray, usize)> {
    let n = count(op, &mask.shape)?;
    let device = mask.device.clone().map_or_else(Device::best, Ok)?;
    if let Some(values) = what.values() {
        values.device().require_same(op, "the values live", &device, "the mask")?;
    }
    let empty = Layout::contiguous(&[0]);
    let mut out = RawArray::alloc(op, &device, &empty, what.dtype())?;
    let kept = match n {
        0 => 0,
        _ => run(Select { op, mask, n, what, out: &mut out }, &device)?,
    };
    let len = if matches!(what, What::All(_)) { n } else { kept };
    let layout = Layout::contiguous(&[len]);
    Ok((RawArray { buffer: Arc::new(out), layout, dtype: what.dtype() }, kept))
}

struct Select<'a> {
    op: &'static str,
    mask: &'a Arc<Node>,
    n: usize,
    what: What<'a>,
    /// Made here, when the number of elements is known.
    out: &'a mut Buffer,
}

impl Select<'_> {
    /// Memory for the result.
    fn make(&mut self, kept: usize) -> Result<()> {
        let len = if matches!(self.what, What::All(_)) { self.n } else { kept };
        let device = self.out.device.clone();
        *self.out =
            RawArray::alloc(self.op, &device, &Layout::contiguous(&[len]), self.what.dtype())?;
        Ok(())
    }

    /// Puts what is kept of each part where it belongs.
    fn parts<V: Copy + Default + Send + Sync>(
        &self,
        out: SharedOut,
        flags: &[u8],
        starts: &[usize],
        value: impl Fn(usize) -> V + Sync + Copy,
    ) {
        let all = matches!(self.what, What::All(_));
        let total = starts[starts.len() - 1];
        let part = |k: usize| {
            let (from, value) = (k * PART, value);
            let flags = &flags[from..flags.len().min(from + PART)];
            let (mut to, mut rest) = (starts[k], total + from - starts[k]);
            // SAFETY: the places of a part are its own: as many as it keeps from its start on, and, where all
            // are written, as many as it does not from its rest on.
            let put = |at: usize, values: &[V]| unsafe {
                out.at::<V>(at as isize).copy_from_nonoverlapping(values.as_ptr(), values.len());
            };
            // Every element is written behind those that are kept and stays if it is one: no jump depends
            // on a flag.
            let mut kept = [V::default(); BLOCK + 1];
            let mut others = vec![V::default(); if all { BLOCK + 1 } else { 0 }];
            for (b, flags) in flags.chunks(BLOCK).enumerate() {
                let first = from + b * BLOCK;
                let (mut n, mut m) = (0, 0);
                if !all {
                    for (k, flags) in flags.chunks(8).enumerate() {
                        if flags.len() == 8 && *flags == [0; 8] {
                            continue;
                        }
                        for (i, &flag) in flags.iter().enumerate() {
                            kept[n] = value(first + 8 * k + i);
                            n += usize::from(flag != 0);
                        }
                    }
                } else {
                    for (i, &flag) in flags.iter().enumerate() {
                        let v = value(first + i);
                        (kept[n], others[m]) = (v, v);
                        n += usize::from(flag != 0);
                        m += usize::from(flag == 0);
                    }
                }
                put(to, &kept[..n]);
                to += n;
                if all {
                    put(rest, &others[..m]);
                    rest += m;
                }
            }
        };
        run_tasks(flags.len().div_ceil(PART), flags.len() <= LIGHT, part);
    }
}

impl Op for Select<'_> {
    type Output = usize;

    fn check(&self, _: &Device) -> Result<()> {
        // The mask is checked where it is computed.
        Ok(())
    }

    fn host(mut self) -> Result<usize> {
        let mask = match self.mask.array() {
            Some(mask) => mask.clone(),
            None => {
                let (fused, device) = fuse_somewhere(self.mask)?;
                fused.check(self.op, &device)?;
                map::eval(self.mask)?
            }
        };
        let mask = copy::into_contiguous(mask)?;
        // SAFETY: a byte an element.
        let flags = unsafe { mask.host_values::<u8>() };
        let of = |k: usize| {
            let flags = &flags[k * PART..flags.len().min((k + 1) * PART)];
            // Bytes are added as bytes as long as they can be.
            let few =
                |flags: &[u8]| usize::from(flags.iter().map(|&f| u8::from(f != 0)).sum::<u8>());
            flags.chunks(128).map(few).sum::<usize>()
        };
        let counts: Vec<usize> = match self.n <= LIGHT {
            true => (0..self.n.div_ceil(PART)).map(of).collect(),
            false => map_tasks(self.n.div_ceil(PART), &of),
        };
        let mut starts = Vec::with_capacity(counts.len() + 1);
        starts.push(0);
        let mut sum = 0;
        for count in counts {
            sum += count;
            starts.push(sum);
        }
        self.make(sum)?;
        let Some(block) = self.out.host_mut() else { return Ok(0) };
        let out = SharedOut(block.ptr_mut());
        let Some(values) = self.what.values() else {
            self.parts(out, flags, &starts, |i| i as u64);
            return Ok(sum);
        };
        with_bits!(values.dtype, T => {
            // SAFETY: bits of this size.
            let values = unsafe { values.host_values::<T>() };
            self.parts(out, flags, &starts, move |i| values[i]);
        });
        Ok(sum)
    }

    #[cfg(feature = "opencl")]
    fn opencl(mut self, device: &ClDevice) -> Result<usize> {
        let shape = Shape::of(device);
        let (fused, _) = fuse_somewhere(self.mask)?;
        fused.check(self.op, &self.out.device)?;
        let order: Dims = (0..fused.shape.len()).collect();
        let nest = fused.nest(&order, None);
        let vector_bytes = if shape.group > 1 { VECTOR_BYTES } else { 0 };
        let point = Point { vector_bytes, group: shape.group, ..device.point };
        let mut input = codegen::Input::new(&fused, &nest, point);
        let values_at = self.what.values().map_or(0, |values| values.layout.offset);
        input.wide |= self.n + values_at > i32::MAX as usize / 2;
        let program = self.program(device, &input, shape)?;
        let wide = input.wide;
        let tiles = self.n.div_ceil(shape.tile());

        let owner = self.out.device.clone();
        let layout = Layout::contiguous(&[tiles]);
        let counts = RawArray::alloc(self.op, &owner, &layout, DType::U64)?;
        let mut launch = Launch::new(device, &program, self.op, "select_count")?;
        launch.output(&counts)?;
        codegen::bind_index(&mut launch, self.n, wide)?;
        input.bind(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; a count for each tile.
        unsafe { launch.run([tiles, 1, 1], [shape.group, 1, 1])? };
        let counts = RawArray { buffer: Arc::new(counts), layout, dtype: DType::U64 };
        let ends = scan::scan(self.op, &scan::Join::Sum, Operand::Array(&counts), 0, None, None)?;
        let last = DeviceArray::<u64>::from_raw(ends.clone()).index_axis(Axis(0), tiles - 1)?;
        let total = last.item()? as usize;
        self.make(total)?;
        if matches!(self.out.memory, crate::backend::Memory::Empty) {
            return Ok(total);
        }

        let mut launch = Launch::new(device, &program, self.op, "select_write")?;
        launch.output(self.out)?;
        launch.input(&ends.buffer)?;
        launch.value(total as u64)?;
        codegen::bind_index(&mut launch, self.n, wide)?;
        if let Some(values) = self.what.values() {
            launch.input(&values.buffer)?;
            codegen::bind_index(&mut launch, values_at, wide)?;
        }
        input.bind(&mut launch)?;
        // SAFETY: the arguments follow the kernel's parameters; tiles write where the counts of the same
        // flags say, which add up to the size of the result.
        unsafe { launch.run([tiles, 1, 1], [shape.group, 1, 1])? };
        Ok(total)
    }
}

/// How flags are cut into tiles.
#[cfg(feature = "opencl")]
#[derive(Clone, Copy)]
struct Shape {
    group: usize,
    each: usize,
}

#[cfg(feature = "opencl")]
impl Shape {
    fn of(device: &ClDevice) -> Shape {
        match device.launch_kind {
            DeviceKind::Cpu => Shape { group: 1, each: 8192 },
            _ => Shape { group: device.point.group, each: 16 },
        }
    }

    fn tile(self) -> usize {
        self.group * self.each
    }
}

#[cfg(feature = "opencl")]
impl Select<'_> {
    fn program(
        &self,
        device: &ClDevice,
        input: &codegen::Input<'_>,
        shape: Shape,
    ) -> Result<Arc<Program>> {
        let kind = match self.what {
            What::Positions => 0,
            What::Kept(_) => 1,
            What::All(_) => 2,
        };
        let size = self.what.dtype().size();
        let mut key = vec![kind, size as u8, shape.each as u8];
        key.extend((shape.group as u16).to_le_bytes());
        input.key(&mut key);
        device.programs.get(device, self.op, ("select", key), || {
            let point = Point { group: shape.group, ..device.point };
            [
                codegen::defines(device, input.wide, point),
                codegen::PRELUDE.to_string(),
                input.text(),
                types(size, matches!(self.what, What::Positions)),
                format!("#define CLAN_EACH {}\n#define CLAN_REST {}\n", shape.each, kind / 2),
                SOURCE.to_string(),
            ]
            .concat()
        })
    }
}

/// What comes between the input and the file, for values of so many bytes.
#[cfg(feature = "opencl")]
pub(crate) fn types(size: usize, positions: bool) -> String {
    let value = codegen::word(size);
    let positions = if positions { "#define CLAN_POSITIONS\n" } else { "" };
    format!("#define CLAN_TYPED\ntypedef {value} clan_item;\n{positions}")
}

impl<T: Element> DeviceArray<T> {
    /// A mask's flags, which must be as many as elements and in the same shape.
    fn mask(&self, op: &'static str, mask: impl IntoExpr<bool>) -> Result<Arc<Node>> {
        let mask = mask.into_expr();
        let node = mask.node()?;
        if node.shape[..] != *self.shape() {
            return Err(Error::shape(
                op,
                format!(
                    "the mask has shape {:?}, the array {:?}; one flag an element is needed",
                    &node.shape[..],
                    self.shape()
                ),
            ));
        }
        match &node.device {
            Some(device) => {
                self.device().require_same(op, "the values live", device, "the mask")?;
                Ok(node.clone())
            }
            None => Ok(node.with(node.dtype, &node.shape, Some(self.device()))),
        }
    }

    /// The elements that a mask of the same shape keeps, in row-major order: `x[x > 0]` of NumPy. Waits
    /// for their number.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let x = DeviceArray::from_slice(&Device::host(), &[3.0f32, -1.0, 4.0, -1.0, 5.0])?;
    /// assert_eq!(x.masked_select(x.expr().gt(0.0f32))?.to_vec()?, [3.0, 4.0, 5.0]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A mask of another shape or on another device; mistakes kept in it; out of memory.
    pub fn masked_select(&self, mask: impl IntoExpr<bool>) -> Result<DeviceArray<T>> {
        let op = "masked_select";
        let mask = self.mask(op, mask)?;
        let values = copy::contiguous(self.raw()?)?;
        let (kept, _) = select(op, &mask, What::Kept(&values))?;
        Ok(DeviceArray::from_raw(kept))
    }

    /// The elements that a mask of the same shape keeps, and all others, both in row-major order. They
    /// are parts of one array. Waits for their number.
    ///
    /// # Errors
    /// As [`DeviceArray::masked_select`].
    pub fn masked_partition(
        &self,
        mask: impl IntoExpr<bool>,
    ) -> Result<(DeviceArray<T>, DeviceArray<T>)> {
        let op = "masked_partition";
        let mask = self.mask(op, mask)?;
        let values = copy::contiguous(self.raw()?)?;
        let (all, kept) = select(op, &mask, What::All(&values))?;
        let all = DeviceArray::from_raw(all);
        Ok((all.slice(s![..kept])?, all.slice(s![kept..])?))
    }

    /// Where elements differ from zero (are true; NaN does): a row of indices for each, in row-major
    /// order, as `argwhere` of NumPy. For the positions under a condition ask the condition:
    /// `x.expr().gt(0.0).eval()?.nonzero()`. Waits for their number.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, ndarray::array};
    /// let x = DeviceArray::from_ndarray(&Device::host(), &array![[0, 7], [5, 0]])?;
    /// assert_eq!(x.nonzero()?.to_ndarray()?, array![[0, 1], [1, 0]].into_dyn());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Out of memory.
    pub fn nonzero(&self) -> Result<DeviceArray<u64>> {
        let mask = self.expr().cast::<bool>();
        let (flat, kept) = select("nonzero", mask.node()?, What::Positions)?;
        let flat = DeviceArray::<u64>::from_raw(flat);
        let rank = self.ndim();
        if rank == 1 {
            return flat.reshape((kept, 1));
        }
        let mut rows = DeviceArray::<u64>::zeros(self.device(), (kept, rank))?;
        let mut step = 1;
        for (axis, &d) in self.shape().iter().enumerate().rev() {
            let index = &flat / step % d as u64;
            rows.slice_mut(s![.., axis])?.assign(index)?;
            step *= d as u64;
        }
        Ok(rows)
    }

    /// Runs of equal neighbours in a vector: the value of each and how long it is. Every NaN is a run of
    /// its own. Waits for their number.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let x = DeviceArray::from_slice(&Device::host(), &[7u8, 7, 7, 1, 7, 7])?;
    /// let (values, lengths) = x.run_length_encode()?;
    /// assert_eq!(values.to_vec()?, [7, 1, 7]);
    /// assert_eq!(lengths.to_vec()?, [3, 1, 2]);
    /// assert_eq!(values.run_length_decode(&lengths)?.to_vec()?, x.to_vec()?);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// An array of other than one axis; out of memory.
    pub fn run_length_encode(&self) -> Result<(DeviceArray<T>, DeviceArray<u64>)> {
        let op = "run_length_encode";
        self.vector(op)?;
        let (n, device) = (self.len(), self.device());
        if n == 0 {
            return Ok((self.clone(), DeviceArray::zeros(device, 0)?));
        }
        // The last element of every run, of which the last is always one.
        let last = self.slice(s![..n - 1])?.expr().ne(&self.slice(s![1..])?);
        let (inner, kept) = select(op, last.node()?, What::Positions)?;
        let mut ends = DeviceArray::<u64>::full(device, kept + 1, n as u64)?;
        ends.slice_mut(s![..kept])?.assign(DeviceArray::<u64>::from_raw(inner).expr() + 1)?;
        let head = copy::contiguous(self.slice(s![..n - 1])?.raw()?)?;
        let (inner, _) = select(op, last.node()?, What::Kept(&head))?;
        // All but the last value, which fills the array.
        let mut values = DeviceArray::<T>::zeros(device, kept + 1)?;
        values.slice_mut(s![kept..])?.assign(&self.slice(s![n - 1..])?)?;
        values.slice_mut(s![..kept])?.assign(DeviceArray::from_raw(inner))?;
        let mut lengths = ends.to_contiguous()?;
        lengths.slice_mut(s![1..])?.assign(&ends.slice(s![1..])? - &ends.slice(s![..kept])?)?;
        Ok((values, lengths))
    }

    /// A vector with every element as often as its length says: what
    /// [`DeviceArray::run_length_encode`] came from. Waits for the sum of the lengths.
    ///
    /// # Errors
    /// Arrays of other than one axis, of different lengths, or on different devices; out of memory.
    pub fn run_length_decode(&self, lengths: &DeviceArray<u64>) -> Result<DeviceArray<T>> {
        let op = "run_length_decode";
        self.vector(op)?;
        self.device().require_same(op, "the values live", lengths.device(), "the lengths")?;
        if lengths.shape() != self.shape() {
            return Err(Error::shape(
                op,
                format!(
                    "values of shape {:?}, lengths of {:?}; each value needs one length",
                    self.shape(),
                    lengths.shape()
                ),
            ));
        }
        let device = self.device().clone();
        let runs = self.len();
        // Sums wrap. One that does is far beyond what any array has, so a rough sum tells.
        let rough = lengths.expr().cast::<f32>().sum()?.item()?;
        if rough >= isize::MAX as f32 {
            let text = format!("the lengths add up to {rough:e}, more than an array can have");
            return Err(Error::new(ErrorKind::TooLarge, op, text));
        }
        let ends = lengths.cumsum(Axis(0))?;
        let n = match runs {
            0 => 0,
            _ => ends.index_axis(Axis(0), runs - 1)?.item()? as usize,
        };
        count(op, &[n])?;
        let layout = Layout::contiguous(&[n]);
        let mut out = RawArray::alloc(op, &device, &layout, T::DTYPE)?;
        if n > 0 {
            let values = copy::contiguous(self.raw()?)?;
            run(Spread { op, values: &values, ends: ends.raw()?, n, out: &mut out }, &device)?;
        }
        Ok(Self::from_raw(RawArray { buffer: Arc::new(out), layout, dtype: T::DTYPE }))
    }

    /// Refuses arrays that are no vectors.
    fn vector(&self, op: &'static str) -> Result<()> {
        match self.ndim() {
            1 => Ok(()),
            _ => Err(Error::shape(
                op,
                format!("shape {:?} is not of one axis; use `reshape`", self.shape()),
            )),
        }
    }
}

/// Runs spread out.
struct Spread<'a> {
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "errors of OpenCL name it"))]
    op: &'static str,
    /// In row-major order.
    values: &'a RawArray,
    /// Where each run ends.
    ends: &'a RawArray,
    n: usize,
    out: &'a mut Buffer,
}

impl Op for Spread<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        Ok(())
    }

    fn host(self) -> Result<()> {
        // SAFETY: `u64`s.
        let ends = unsafe { self.ends.host_values::<u64>() };
        let Some(block) = self.out.host_mut() else { return Ok(()) };
        let out = SharedOut(block.ptr_mut());
        with_bits!(self.values.dtype, T => {
            // SAFETY: bits of this size.
            let values = unsafe { self.values.host_values::<T>() };
            let part = |k: usize| {
                let (mut at, to) = (k * PART, self.n.min((k + 1) * PART));
                let mut run = ends.partition_point(|&end| end <= at as u64);
                while at < to {
                    let end = to.min(ends[run] as usize);
                    // SAFETY: the part's own places.
                    let out =
                        unsafe { std::slice::from_raw_parts_mut(out.at::<T>(at as isize), end - at) };
                    out.fill(values[run]);
                    at = end;
                    run += 1;
                }
            };
            for_tasks(self.n.div_ceil(PART), self.n, part);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let size = self.values.dtype.size();
        let wide = self.n.max(self.values.layout.offset) > i32::MAX as usize / 2;
        let point = Point { unroll: 1, ..device.point };
        let key = vec![3, size as u8, u8::from(wide)];
        let program = device.programs.get(device, self.op, ("select", key), || {
            [
                codegen::defines(device, wide, point),
                codegen::PRELUDE.to_string(),
                // The file's own mask.
                types(size, false),
                SOURCE.to_string(),
            ]
            .concat()
        })?;
        let mut launch = Launch::new(device, &program, self.op, "select_runs")?;
        launch.output(self.out)?;
        launch.input(&self.ends.buffer)?;
        codegen::bind_index(&mut launch, self.values.layout.len(), wide)?;
        codegen::bind_index(&mut launch, self.n, wide)?;
        launch.input(&self.values.buffer)?;
        codegen::bind_index(&mut launch, self.values.layout.offset, wide)?;
        let group = point.group;
        // SAFETY: the arguments follow the kernel's parameters; it stops at `n`, and the last run ends
        // there.
        unsafe { launch.run([self.n.div_ceil(group), 1, 1], [group, 1, 1]) }
    }
}

impl<T: Element> Expr<T> {
    /// As [`DeviceArray::masked_select`], of an expression, which is computed first.
    ///
    /// # Errors
    /// As [`DeviceArray::masked_select`].
    pub fn masked_select(&self, mask: impl IntoExpr<bool>) -> Result<DeviceArray<T>> {
        self.eval()?.masked_select(mask)
    }
}
