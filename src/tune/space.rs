//! What a family declares so that its kernels can be tuned.

use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::opencl::ClDevice;
use smallvec::SmallVec;

/// A point of a space: a number for each of its parameters, in their order.
pub(crate) type Values = SmallVec<[u32; 10]>;

/// A parameter of a kernel: its name, and the numbers that a search may try.
pub(crate) struct Parameter {
    pub name: &'static str,
    pub values: &'static [u32],
}

/// Shorthand for the lists of parameters.
pub(crate) const fn parameter(name: &'static str, values: &'static [u32]) -> Parameter {
    Parameter { name, values }
}

/// The parameters of one kernel, and everything that a search needs to know about it.
pub(crate) struct Space {
    /// What `--only` names.
    pub family: &'static str,
    /// Names the space in the store.
    pub name: &'static str,
    /// The kernel's text: when it changes, measurements of it are void.
    pub source: &'static str,
    pub parameters: &'static [Parameter],
    /// Whether the device can run the kernel so. A `true` that is wrong costs time, no more: whatever does
    /// not compile or gives a wrong result is dropped.
    pub fits: fn(&ClDevice, DType, &[u32]) -> bool,
    /// Points that are good on some device, this device's default first.
    pub known: fn(&ClDevice, DType, Class) -> Vec<Values>,
    /// Runs the kernel on awkward shapes and compares with a plain computation. `Err` inside says
    /// what differs.
    pub check: fn(&Device, DType, Class, Depth) -> Checked,
    /// What is timed.
    pub cases: fn(&Device) -> Vec<Case>,
    /// For kernels whose choice weighs several points by a model of their time.
    pub model: Option<Model>,
}

/// The outcome of a comparison: an error of the device, or the difference in words.
pub(crate) type Checked = Result<std::result::Result<(), String>>;

/// How much a check looks at. Every point is compiled for it, which is what takes the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The forms of the kernel that are timed.
    Timed,
    /// All forms.
    All,
}

/// Which calls a point was measured for. It is used for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class(pub u32);

impl Class {
    pub const ALL: Class = Class(0);
}

/// The estimated time for a call with a point, `None` for the default: the part that grows with the
/// point's cost, at cost 1 (at the default's cost for the default), and the rest.
pub(crate) type Model = fn(&ClDevice, &Case, Option<&[u32]>) -> (f64, f64);

/// A call that is timed, and that stands for a class.
pub(crate) struct Case {
    pub dtype: DType,
    pub class: Class,
    /// In words.
    pub label: String,
    /// m, n, k and batch of products.
    pub shape: [usize; 4],
    /// What `unit` counts, of one call, in 10⁹.
    pub work: f64,
    pub unit: &'static str,
    /// Makes the operands, and what starts one call.
    pub prepare: fn(&Device, [usize; 4]) -> Result<Start>,
}

/// Starts one call.
pub(crate) type Start = Box<dyn Fn() -> Result<()>>;

impl Space {
    /// Points as text, `tm=128 tn=64`.
    pub fn write(&self, values: &[u32]) -> String {
        let pairs: Vec<String> =
            self.parameters.iter().zip(values).map(|(p, v)| format!("{}={v}", p.name)).collect();
        pairs.join(" ")
    }

    /// What [`Space::write`] wrote; `None` for anything else.
    pub fn read(&self, text: &str) -> Option<Values> {
        let mut parts = text.split(' ');
        let mut values = Values::new();
        for p in self.parameters {
            let (name, value) = parts.next()?.split_once('=')?;
            if name != p.name {
                return None;
            }
            values.push(value.parse().ok()?);
        }
        parts.next().is_none().then_some(values)
    }
}
