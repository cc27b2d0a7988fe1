//! `limits`: what a device can do at most, for `clan bench` to hold everything else against: bytes
//! copied and fused multiply-adds. Not an operation for users. Kernel: `cl/limits.cl`.

use super::{Op, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::Result;
use crate::host::map_tasks;
use crate::layout::Layout;
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
use std::sync::Arc;

/// A copy of an array; one without gaps goes through the driver's own copy command.
///
/// # Errors
/// Out of memory; a failure of the device.
#[doc(hidden)]
pub fn copy<T: Element>(x: &DeviceArray<T>) -> Result<DeviceArray<T>> {
    Ok(DeviceArray::from_raw(super::copy::contiguous_copy(x.raw()?)?))
}

/// The result of [`fma`].
#[doc(hidden)]
#[derive(Debug)]
pub struct FmaChains {
    /// One sum for each independent worker (work-item or thread).
    pub sums: DeviceArray<f32>,
    /// What each sum must be.
    pub expected: f32,
    /// Multiplications and additions done by all workers together.
    pub flops: u64,
}

/// Chains of `8 * rounds` fused multiply-adds in registers, on every processor of the device.
///
/// # Errors
/// Out of memory; a failure of the device.
#[doc(hidden)]
pub fn fma(device: &Device, rounds: u32) -> Result<FmaChains> {
    let shape = Shape::of(device);
    let layout = Layout::contiguous(&[shape.workers]);
    let mut buffer = RawArray::alloc("fma", device, &layout, DType::F32)?;
    run(Fma { out: &mut buffer, rounds, shape }, device)?;
    let sums =
        DeviceArray::from_raw(RawArray { buffer: Arc::new(buffer), layout, dtype: DType::F32 });
    let (chains, lanes) = (shape.chains as u64, shape.lanes as u64);
    Ok(FmaChains {
        sums,
        // An even number of steps x → 1 − x leaves chain c at the c it started from.
        expected: (chains * (chains - 1) / 2 * lanes) as f32,
        flops: 2 * 8 * u64::from(rounds) * shape.workers as u64 * chains * lanes,
    })
}

/// How the work is laid out: enough independent chains to hide the latency of one operation.
#[derive(Clone, Copy)]
struct Shape {
    workers: usize,
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "the host has no groups"))]
    group: usize,
    chains: usize,
    lanes: usize,
}

impl Shape {
    fn of(device: &Device) -> Shape {
        let units = device.info().compute_units.max(1);
        let groups = |group: usize| group.min(device.info().max_work_group.max(1));
        match device.launch_kind() {
            crate::DeviceKind::Host => {
                Shape { workers: units * 4, group: 1, chains: HOST_CHAINS, lanes: HOST_LANES }
            }
            crate::DeviceKind::Cpu => {
                Shape { workers: units * 4 * groups(8), group: groups(8), chains: 10, lanes: 16 }
            }
            // Eight full groups a compute unit keep every scheduler busy.
            _ => Shape {
                workers: units * 8 * 4 * groups(256),
                group: groups(256),
                chains: 4,
                lanes: 4,
            },
        }
    }
}

/// Ten chains of eight floats: two operations a cycle of latency four or five, in the sixteen
/// registers of AVX2.
const HOST_CHAINS: usize = 10;
const HOST_LANES: usize = 8;

struct Fma<'a> {
    out: &'a mut Buffer,
    rounds: u32,
    shape: Shape,
}

impl Op for Fma<'_> {
    type Output = ();

    fn check(&self, _: &Device) -> Result<()> {
        Ok(())
    }

    fn host(self) -> Result<()> {
        // Opaque values, or the compiler would see that the chains go in circles.
        let (a, b) = std::hint::black_box((-1.0, 1.0));
        let sums = map_tasks(self.shape.workers, &|_| host_chains(self.rounds, a, b));
        // SAFETY: floats may be read as bytes.
        let bytes = unsafe {
            std::slice::from_raw_parts(sums.as_ptr().cast::<u8>(), size_of_val(sums.as_slice()))
        };
        self.out.upload(0, bytes)
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let Shape { workers, group, chains, lanes } = self.shape;
        let key = [group, chains, lanes].iter().flat_map(|v| v.to_le_bytes()).collect();
        let program = device.programs.get(device, "fma", ("limits", key), || {
            let mut text = codegen::defines(device, false, device.point);
            text.push_str(&format!(
                "#undef CLAN_GROUP\n#define CLAN_GROUP {group}\n#define CLAN_CHAINS {chains}\n#define CLAN_LANES {lanes}\n"
            ));
            [text.as_str(), codegen::PRELUDE, include_str!("../../cl/limits.cl")].concat()
        })?;
        let mut launch = Launch::new(device, &program, "fma", "fma_chains")?;
        launch.output(self.out)?;
        launch.value(self.rounds)?;
        launch.value(-1.0f32)?;
        launch.value(1.0f32)?;
        // SAFETY: the arguments are those of `fma_chains`, which writes one float a work-item, and
        // the buffer holds `workers` of them.
        unsafe { launch.run([workers / group, 1, 1], [group, 1, 1]) }
    }
}

fn host_chains(rounds: u32, a: f32, b: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both, as was asked just now.
        return unsafe { x86_chains(rounds, a, b) };
    }
    chains(rounds, |x| if cfg!(target_arch = "aarch64") { x.mul_add(a, b) } else { x * a + b })
}

#[inline(always)]
fn chains(rounds: u32, step: impl Fn(f32) -> f32) -> f32 {
    let mut x = [[0f32; HOST_LANES]; HOST_CHAINS];
    for (c, x) in x.iter_mut().enumerate() {
        *x = [c as f32; HOST_LANES];
    }
    for _ in 0..u64::from(rounds) * 8 {
        for x in &mut x {
            for x in x {
                *x = step(*x);
            }
        }
    }
    x.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn x86_chains(rounds: u32, a: f32, b: f32) -> f32 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm256_storeu_ps};
    let (a, b) = (_mm256_set1_ps(a), _mm256_set1_ps(b));
    let mut x = [_mm256_set1_ps(0.0); HOST_CHAINS];
    for (c, x) in x.iter_mut().enumerate() {
        *x = _mm256_set1_ps(c as f32);
    }
    for _ in 0..u64::from(rounds) * 8 {
        for x in &mut x {
            *x = _mm256_fmadd_ps(*x, a, b);
        }
    }
    let mut sum = 0.0;
    for x in x {
        let mut lanes = [0f32; HOST_LANES];
        // SAFETY: room for eight floats.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), x) };
        sum += lanes.iter().sum::<f32>();
    }
    sum
}

#[cfg(test)]
mod tests {
    #[test]
    fn chains_come_back_to_where_they_started() {
        for device in crate::Device::kinds() {
            let done = super::fma(&device, 3).unwrap();
            assert!(done.sums.to_vec().unwrap().iter().all(|&s| s == done.expected), "{device}");
        }
    }

    #[test]
    fn copies_are_equal() {
        for device in crate::Device::kinds() {
            let x = crate::DeviceArray::<i32>::arange(&device, 0, 1000, 1).unwrap();
            assert_eq!(super::copy(&x).unwrap().to_vec().unwrap(), x.to_vec().unwrap());
            let part = x.slice(ndarray::s![10..20]).unwrap();
            assert_eq!(super::copy(&part).unwrap().to_vec().unwrap(), (10..20).collect::<Vec<_>>());
        }
    }
}
