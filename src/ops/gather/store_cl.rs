//! The OpenCL half of scatter: claims, atomics, exact words.

use super::exact::Exact;
use super::kernel::Kernel;
use super::store::{Act, PARTS, Store};
use crate::backend::Buffer;
use crate::device::{Device, DeviceKind};
use crate::element::DType;
use crate::error::Result;
use crate::host::PARALLEL_ABOVE;
use crate::opencl::codegen::word;
use crate::opencl::program::Program;
use crate::opencl::{ClDevice, Launch, Maker, Verdict, codegen};
use std::sync::Arc;

/// The kernels' text.
pub(crate) const SOURCE: &str = include_str!("../../../cl/scatter.cl");

/// `CLAN_SPARE` in `cl/scatter.cl`: bytes where a lone work-item writes what is not its own. On an Intel with its 8 work-items 64 bytes apart, 2^20
/// additions to 4,096 places take 9.4 ms, and 5.0 with 256; a work-item alone takes 2.4.
const SPARE: usize = 256;

/// Bytes of places from which on another work-item is worth that it goes through all elements.
const PART: usize = 128 << 10;

/// The steps of the kernel, as `CLAN_ACT` counts them.
const CLEAR: u8 = 1;
const CLAIM: u8 = 2;
const PUT: u8 = 3;
const ADD: u8 = 4;
const ADD_EXACTLY: u8 = 5;
const PUT_ALONE: u8 = 6;
const ADD_ALONE: u8 = 7;

pub(super) fn store(op: Store<'_>, device: &ClDevice, size: usize) -> Result<()> {
    let on = op.out.device.clone();
    if op.act != Act::AddExactly
        && let Some(tasks) = lone_tasks(&op, device, size)
    {
        return store_alone(op, device, &on, size, tasks);
    }
    match op.act {
        Act::Put => put(op, device, &on, size),
        Act::Add => match means(device, &on, op.dtype) {
            Some(means) => add(op, device, &on, means),
            // Doubles without atomics of their size.
            None => add_exactly(op, device, &on),
        },
        Act::AddExactly => add_exactly(op, device, &on),
    }
}

/// What stands before the file for a step on values of a type.
pub(crate) fn types(act: u8, value: &str, means: u8, words: usize, single: bool) -> String {
    let mut text = format!("#define CLAN_ACT {act}\n");
    if act > CLAIM || act == 0 {
        text.push_str(&format!("typedef {value} clan_item;\n"));
    }
    if means > 0 {
        let low = u8::from(cfg!(target_endian = "big"));
        text.push_str(&format!("#define CLAN_ADD {means}\n#define CLAN_LOW {low}\n"));
    }
    if words > 0 {
        text.push_str(&format!("#define CLAN_WORDS {words}\n"));
    }
    if single {
        text.push_str("#define CLAN_ONE_VALUE\n");
    }
    text
}

/// The kernel `scatter` for a step.
fn program(
    op: &Store<'_>,
    device: &ClDevice,
    kernel: &Kernel<'_>,
    [act, means]: [u8; 2],
    value: &str,
    words: usize,
) -> Result<Arc<Program>> {
    let single = op.single();
    // Types of one size differ in their first letter.
    let more = [act, means, words as u8, u8::from(single), value.as_bytes()[0]];
    device.programs.get(device, op.op, ("scatter", kernel.key(&more)), || {
        kernel.text(device, &types(act, value, means, words, single), value, SOURCE)
    })
}

/// The kernel, with vectors only where values can be loaded in vectors, too.
fn kernel_of<'a>(op: &'a Store<'_>, device: &ClDevice, size: usize, times: usize) -> Kernel<'a> {
    let mut kernel = Kernel::new(device, &op.indexed, size);
    let start = op.values.layout.offset / times;
    if !op.single() && !start.is_multiple_of(kernel.input.vec) {
        kernel.scalar(device);
    }
    kernel.input.wide |= start + op.values.layout.len() > i32::MAX as usize;
    kernel
}

/// A CPU's threads share the places, for atomics cost it as much as ten elements: how many do.
fn lone_tasks(op: &Store<'_>, device: &ClDevice, size: usize) -> Option<usize> {
    if device.launch_kind != DeviceKind::Cpu || device.short_loops() {
        return None;
    }
    let tasks = match op.indexed.count() <= PARALLEL_ABOVE {
        true => 1,
        false => device.info.compute_units.min(PARTS).min(op.places * size / PART).max(1),
    };
    Some(tasks)
}

/// Every work-item goes through all elements, and stores those of its own places.
fn store_alone(
    op: Store<'_>,
    device: &ClDevice,
    on: &Device,
    size: usize,
    tasks: usize,
) -> Result<()> {
    let times = size / op.dtype.size();
    let (act, item) = match op.act {
        Act::Put => (PUT_ALONE, word(size)),
        _ => (ADD_ALONE, value(op.dtype)),
    };
    let kernel = kernel_of(&op, device, size, times).alone(tasks);
    let program = program(&op, device, &kernel, [act, 0], item, 0)?;
    let wide = kernel.input.wide;
    let spare = Buffer::new(on, tasks * SPARE)?;
    kernel.launches(device, on, op.most, |slot, range| {
        let mut launch = Launch::new(device, &program, op.op, "scatter_alone")?;
        launch.output(op.out)?;
        launch.output(&spare)?;
        codegen::bind_offset(&mut launch, op.origin as isize, wide)?;
        codegen::bind_offset(&mut launch, op.places.div_ceil(tasks) as isize, wide)?;
        launch.input(&op.values.buffer)?;
        codegen::bind_offset(&mut launch, (op.values.layout.offset / times) as isize, wide)?;
        bind_range(&mut launch, range, wide)?;
        // SAFETY: the arguments follow the kernel's parameters; a work-item writes places of the array that
        // are its own, and items of its own in the spare ones.
        unsafe { kernel.run(launch, slot, range) }
    })
}

fn put(op: Store<'_>, device: &ClDevice, on: &Device, size: usize) -> Result<()> {
    let times = size / op.dtype.size();
    let kernel = kernel_of(&op, device, size, times);
    let step = |act| program(&op, device, &kernel, [act, 0], word(size), 0);
    let [claim, put] = [step(CLAIM)?, step(PUT)?];
    // Zeros everywhere cost less than zeros at random places, unless these are few.
    let few = op.indexed.count() < op.places / 8;
    let clear = if few { Some(step(CLEAR)?) } else { None };
    let wide = kernel.input.wide;
    kernel.launches(device, on, op.most, |slot, range| {
        let claims = match few {
            true => Arc::new(Buffer::new(on, op.places * 4)?),
            false => crate::DeviceArray::<u32>::zeros(on, op.places)?.raw()?.buffer.clone(),
        };
        for program in clear.iter().chain([&claim]) {
            let mut launch = Launch::new(device, program, op.op, "scatter")?;
            launch.output(&claims)?;
            codegen::bind_offset(&mut launch, op.origin as isize, wide)?;
            bind_range(&mut launch, range, wide)?;
            // SAFETY: the arguments follow the kernel's parameters for these steps; it touches claims of
            // places that it has checked, of which there is one each.
            unsafe { kernel.run(launch, slot, range)? };
        }
        let mut launch = Launch::new(device, &put, op.op, "scatter")?;
        launch.output(op.out)?;
        launch.input(&claims)?;
        codegen::bind_offset(&mut launch, op.origin as isize, wide)?;
        launch.input(&op.values.buffer)?;
        codegen::bind_offset(&mut launch, (op.values.layout.offset / times) as isize, wide)?;
        bind_range(&mut launch, range, wide)?;
        // SAFETY: as above; it writes such places of the array.
        unsafe { kernel.run(launch, slot, range) }
    })
}

fn add(op: Store<'_>, device: &ClDevice, on: &Device, means: u8) -> Result<()> {
    let kernel = kernel_of(&op, device, op.dtype.size(), 1);
    let program = program(&op, device, &kernel, [ADD, means], value(op.dtype), 0)?;
    let wide = kernel.input.wide;
    kernel.launches(device, on, op.most, |slot, range| {
        let mut launch = Launch::new(device, &program, op.op, "scatter")?;
        launch.output(op.out)?;
        launch.input(&op.values.buffer)?;
        codegen::bind_offset(&mut launch, op.values.layout.offset as isize, wide)?;
        bind_range(&mut launch, range, wide)?;
        // SAFETY: the arguments follow the kernel's parameters for this step; it adds to places of the
        // array that it has checked.
        unsafe { kernel.run(launch, slot, range) }
    })
}

fn add_exactly(op: Store<'_>, device: &ClDevice, on: &Device) -> Result<()> {
    let each = match op.dtype {
        DType::F64 => f64::WORDS,
        _ => f32::WORDS,
    };
    let kernel = kernel_of(&op, device, op.dtype.size(), 1);
    let program = program(&op, device, &kernel, [ADD_EXACTLY, 0], value(op.dtype), each)?;
    let zeros = crate::DeviceArray::<u32>::zeros(on, (op.places, each + 1))?;
    let words = &zeros.raw()?.buffer;
    let wide = kernel.input.wide;
    kernel.launches(device, on, op.most, |slot, range| {
        let mut launch = Launch::new(device, &program, op.op, "scatter")?;
        launch.output(words)?;
        codegen::bind_offset(&mut launch, op.origin as isize, wide)?;
        launch.input(&op.values.buffer)?;
        codegen::bind_offset(&mut launch, op.values.layout.offset as isize, wide)?;
        bind_range(&mut launch, range, wide)?;
        // SAFETY: the arguments follow the kernel's parameters for this step; every place that it has
        // checked has its words, of a buffer that nobody else has seen.
        unsafe { kernel.run(launch, slot, range) }
    })?;
    let mut launch = Launch::new(device, &program, op.op, "settle")?;
    launch.output(op.out)?;
    launch.value(op.origin as u64)?;
    launch.input(words)?;
    launch.value(op.places as u64)?;
    let group = device.point.group;
    // SAFETY: the arguments follow the kernel's parameters; it stays below the number of places.
    unsafe { launch.run([op.places.div_ceil(group), 1, 1], [group, 1, 1]) }
}

fn bind_range(launch: &mut Launch<'_>, [first, end]: [usize; 2], wide: bool) -> Result<()> {
    codegen::bind_index(launch, first, wide)?;
    codegen::bind_index(launch, end, wide)
}

/// The type that values are added in.
fn value(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        d if d.size() == 8 => "ulong",
        _ => "uint",
    }
}

/// The means to add to memory, as `CLAN_ADD` counts them.
fn means(device: &ClDevice, on: &Device, dtype: DType) -> Option<u8> {
    let atomics64 = device.info.atomics64;
    let nvidia = device.maker == Maker::Nvidia;
    match dtype {
        DType::F32 if nvidia && device.probe("red f32", || has::<f32>(device, on, 6)) => Some(6),
        DType::F64 if nvidia && device.probe("red f64", || has::<f64>(device, on, 7)) => Some(7),
        DType::F32 => Some(4),
        DType::F64 => atomics64.then_some(5),
        d if d.size() == 8 => Some(if atomics64 { 2 } else { 3 }),
        _ => Some(1),
    }
}

/// Whether the device adds by these means: sixty-four work-items add 1 to two numbers.
fn has<T: crate::Number + From<u8>>(device: &ClDevice, on: &Device, means: u8) -> Result<Verdict> {
    let key = ("scatter", vec![u8::MAX, means]);
    let program = device.programs.get(device, "scatter_add", key, || {
        let types = types(0, value(T::DTYPE), means, 0, true);
        [&codegen::defines(device, false, device.point), codegen::PRELUDE, &types, SOURCE].concat()
    })?;
    let sums = crate::DeviceArray::<T>::zeros(on, 2)?;
    let mut launch = Launch::new(device, &program, "scatter_add", "means")?;
    launch.output(&sums.raw()?.buffer)?;
    // SAFETY: the kernel has this one argument, and touches its two elements.
    unsafe { launch.run([1, 1, 1], [64, 1, 1])? };
    Ok(Verdict::of(sums.to_vec()? == [T::from(32), T::from(32)]))
}
