//! `stencil`: every element from its neighbourhood, by a rule of the user's. Kernels: `cl/stencil.cl`.
//! Filters with weights ([`filter`]) are convolutions and go their way.

mod filter;
mod host;
#[cfg(feature = "opencl")]
mod opencl;

pub use filter::ConvMode;
#[cfg(all(test, feature = "opencl"))]
pub(crate) use opencl::types;

use super::conv2d::Border;
use super::{Op, copy, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::Number;
use crate::error::{Error, Result};
use crate::layout::Layout;
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
pub use host::Around;
use host::Lines;
use std::fmt;
use std::sync::Arc;

/// A rule that makes an element from its neighbourhood on an array of N axes, one to three: a piece of
/// OpenCL C for devices and its Rust twin for the host. [`DeviceArray::stencil`] applies it.
///
/// ```
/// use clan::{Border, Device, DeviceArray, Stencil};
/// // Conway's game of life. A cell lives with three neighbours, and stays with two.
/// let life = Stencil::new(
///     "life",
///     [1, 1],
///     "uchar n = 0;
///      for (int y = -1; y <= 1; y++)
///        for (int x = -1; x <= 1; x++) n += at(y, x);
///      n -= at(0, 0);
///      return n == 3 || (n == 2 && at(0, 0));",
///     |at| {
///         let near = (-1..=1).flat_map(|y| (-1..=1).map(move |x| at.get([y, x]))).sum::<u8>();
///         let own = at.get([0, 0]);
///         u8::from(near - own == 3 || (near - own == 2 && own == 1))
///     },
/// );
/// let mut cells = DeviceArray::<u8>::zeros(&Device::host(), (5, 5))?;
/// for place in [[2, 1], [2, 2], [2, 3]] {
///     cells.slice_mut(clan::ndarray::s![place[0], place[1]])?.fill(1)?;
/// }
/// // Three in a row turn.
/// let next = cells.stencil(&life, Border::Wrap)?;
/// assert_eq!(next.to_ndarray()?, cells.t().to_ndarray()?);
/// # Ok::<(), clan::Error>(())
/// ```
#[derive(Clone)]
pub struct Stencil<T, const N: usize> {
    name: Arc<str>,
    radius: [usize; N],
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    rule: Arc<str>,
    lines: Lines<T, N>,
}

impl<T: Number, const N: usize> fmt::Debug for Stencil<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stencil<{}, {N}>({}, radius {:?})", T::DTYPE, self.name, self.radius)
    }
}

impl<T: Number, const N: usize> Stencil<T, N> {
    /// A rule with a name for messages, its reach along each axis, an expression in OpenCL C, and the function
    /// that computes the same on the host.
    ///
    /// In the text `at(dx)`, `at(dy, dx)` or `at(dz, dy, dx)` is the element so far away, in the type that
    /// `T` is computed in (`float` for `f16` and `bf16`), and so is the value of the text. Text with a
    /// `return` is taken for the body of a function. The host's function has [`Around::get`] for it. On both,
    /// offsets beyond the radius are cut to it.
    pub fn new(
        name: impl Into<String>,
        radius: [usize; N],
        opencl: impl Into<String>,
        host: impl Fn(&Around<'_, T, N>) -> T + Send + Sync + 'static,
    ) -> Stencil<T, N> {
        let text: String = opencl.into();
        let rule = match text.contains("return") {
            true => text,
            false => format!("return ({text});"),
        };
        let lines = host::lines(host);
        Stencil { name: name.into().into(), radius, rule: rule.into(), lines }
    }

    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How far it reaches along each axis.
    pub fn radius(&self) -> [usize; N] {
        self.radius
    }
}

/// The most elements of a neighbourhood.
const NEIGHBOURHOOD: usize = 1 << 20;

/// Stencils.
impl<T: Number> DeviceArray<T> {
    /// Applies a rule to every element's neighbourhood. The rule has one to three axes and works on
    /// the last of the array; leading axes number arrays. The result has the shape of the input.
    ///
    /// ```
    /// use clan::{Border, Device, DeviceArray, Stencil};
    /// let slope = Stencil::new("slope", [1], "(at(1) - at(-1)) / 2", |at| {
    ///     (at.get([1]) - at.get([-1])) / 2.0
    /// });
    /// let x = DeviceArray::from_slice(&Device::host(), &[0.0f32, 1.0, 4.0, 9.0])?;
    /// assert_eq!(x.stencil(&slope, Border::Nearest)?.to_vec()?, [0.5, 2.0, 4.0, 2.5]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A rule of another number of axes than one to three, or of more than the array has; a neighbourhood
    /// of more than 2²⁰ elements; text that the device's compiler refuses; an element type that the
    /// device does not compute in; out of memory.
    pub fn stencil<const N: usize>(
        &self,
        stencil: &Stencil<T, N>,
        border: Border,
    ) -> Result<DeviceArray<T>> {
        const OP: &str = "stencil";
        let raw = self.raw()?;
        let shape = &raw.layout.shape;
        if !(1..=3).contains(&N) {
            let text = format!("{}: a rule over {N} axes; one to three work", stencil.name);
            return Err(Error::argument(OP, text));
        }
        if shape.len() < N {
            let text = format!(
                "{}: a rule over {N} axes for an array of shape {shape:?}; use `insert_axis`, or a rule over fewer",
                stencil.name
            );
            return Err(Error::shape(OP, text));
        }
        let width = |r: usize| r.checked_mul(2)?.checked_add(1);
        let near = stencil.radius.iter().try_fold(1usize, |n, &r| n.checked_mul(width(r)?));
        if near.is_none_or(|n| n > NEIGHBOURHOOD) {
            let text = format!(
                "{}: radius {:?} is a neighbourhood of more than 2^20 elements; take a smaller one",
                stencil.name, stencil.radius
            );
            return Err(Error::argument(OP, text));
        }
        let device = raw.device().clone();
        device.require(OP, T::DTYPE)?;
        let input = copy::contiguous(raw)?;
        let layout = Layout::contiguous(shape);
        let mut out = RawArray::alloc(OP, &device, &layout, T::DTYPE)?;
        if layout.len() > 0 {
            run(Apply { stencil, border, input: &input, out: &mut out, wide: false }, &device)?;
        }
        Ok(DeviceArray::from_raw(RawArray { buffer: Arc::new(out), layout, dtype: T::DTYPE }))
    }
}

struct Apply<'a, T, const N: usize> {
    stencil: &'a Stencil<T, N>,
    border: Border,
    /// Row-major, not empty.
    input: &'a RawArray,
    /// Of the same shape, row-major.
    out: &'a mut Buffer,
    /// Positions of 64 bits also where 32 suffice.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    wide: bool,
}

impl<T, const N: usize> Apply<'_, T, N> {
    /// How many arrays there are, and the lengths of the rule's axes.
    fn sizes(&self) -> (usize, [usize; N]) {
        let shape = &self.input.layout.shape;
        let (leading, last) = shape.split_at(shape.len() - N);
        let mut lengths = [1; N];
        lengths.copy_from_slice(last);
        (leading.iter().product(), lengths)
    }
}

impl<T: Number, const N: usize> Op for Apply<'_, T, N> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require("stencil", T::DTYPE)
    }

    fn host(self) -> Result<()> {
        self.on_host()
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        self.on_opencl(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_positions_give_the_same() {
        let values: Vec<f32> = (0..3 * 40 * 70).map(|i| ((i * 37) % 101) as f32).collect();
        let rule = Stencil::new("rule", [1, 2], "at(-1, 2) - at(1, -2)", |at| {
            at.get([-1, 2]) - at.get([1, -2])
        });
        for device in Device::kinds() {
            let x = DeviceArray::from_shape_slice(&device, (3, 40, 70), &values).unwrap();
            let want = x.stencil(&rule, Border::Wrap).unwrap().to_vec().unwrap();
            let layout = Layout::contiguous(x.shape());
            let mut out = RawArray::alloc("test", &device, &layout, x.dtype()).unwrap();
            let (input, border) = (x.raw().unwrap(), Border::Wrap);
            run(Apply { stencil: &rule, border, input, out: &mut out, wide: true }, &device)
                .unwrap();
            let got = RawArray { buffer: Arc::new(out), layout, dtype: x.dtype() };
            let got = DeviceArray::<f32>::from_raw(got).to_vec().unwrap();
            assert_eq!(got, want, "on {device}");
        }
    }
}
