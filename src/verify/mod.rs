//! Does a device compute what this crate documents? Every operation × every element type against
//! naive sequential functions: what the command `clan verify` runs.
//!
//! ```
//! use clan::{Device, verify};
//! // A part of the table, to be quick.
//! let report = verify::run_where(&Device::host(), |case| case.op == "sqrt", &mut |_| {});
//! assert_eq!((report.passed, report.failed), (4, 0), "{:?}", report.failures);
//! ```
//!
//! The expected values come from the [`oracle`] functions and never from another device. Exact
//! operations (`+ - *`, comparisons, everything on integers, casts, copies) must give the same
//! bits. Functions have the error bounds of the OpenCL 1.2 specification, section 7.4, table
//! "ULP values for single precision built-in math functions" (full profile); division and square
//! root are exact where [`DeviceInfo::exact_division`](crate::DeviceInfo::exact_division) says so.
//! Where [`DeviceInfo::denormals`](crate::DeviceInfo::denormals) is false, subnormal `f32` operands
//! and results may be zeros.
//!
//! To keep compile times down, the element-wise operations of one type run as one kernel that
//! picks by an index; when a device refuses that kernel, each runs by itself, so that a failure
//! always names its operation. On the host, which compiles nothing, each runs by itself at once.

mod elementwise;
mod gather;
mod groupby;
mod histogram;
mod images;
mod layouts;
mod linalg;
pub mod oracle;
mod products;
mod random;
mod reductions;
mod scans;
mod selects;
mod sorts;
mod sparse;
mod stencil;

use crate::device::Device;
use crate::element::DType;
use crate::error::{Error, ErrorKind};
use std::fmt;

/// One row of the table: an operation on an element type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// The family, as in `"map"` or `"reduce"`.
    pub family: &'static str,
    /// The operation.
    pub op: String,
    /// The element type that it works on.
    pub dtype: DType,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}<{}>", self.op, self.dtype)
    }
}

/// A case that gave something else than documented.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The operation.
    pub op: String,
    /// The element type.
    pub dtype: DType,
    /// The device.
    pub device: String,
    /// Operands, the value that came and the one expected; or the error.
    pub detail: String,
}

/// A case that a device cannot run.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The operation.
    pub op: String,
    /// The element type.
    pub dtype: DType,
    /// Why.
    pub reason: String,
}

/// What [`run`] found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Cases that gave what is documented.
    pub passed: usize,
    /// Cases that did not; the same number as `failures`.
    pub failed: usize,
    /// Cases that the device cannot run, as `f64` without fp64; the same number as `skips`. The
    /// device must have refused them with the documented error, else they count as failed.
    pub skipped: usize,
    /// What failed.
    pub failures: Vec<Failure>,
    /// What was skipped, and why.
    pub skips: Vec<Skipped>,
}

/// Where [`run`] is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Cases finished.
    pub done: usize,
    /// Cases in all.
    pub total: usize,
    /// The case that has just finished.
    pub case: &'a Case,
    /// Whether it passed; skipped ones do.
    pub ok: bool,
}

/// How one case ended.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(r: Result<(), String>) -> Outcome {
        match r {
            Ok(()) => Outcome::Passed,
            Err(detail) => Outcome::Failed(detail),
        }
    }
}

impl Outcome {
    /// An error: where the device cannot compute in a needed type, refusing is right.
    fn of_error(device: &Device, needs: &[DType], e: &Error) -> Outcome {
        let missing = needs.iter().find(|&&d| !device.supports(d));
        match missing {
            Some(d) if e.kind() == ErrorKind::Type => {
                Outcome::Skipped(format!("the device does not compute in {d}, and says so"))
            }
            Some(d) => Outcome::Failed(format!(
                "the device does not compute in {d}; expected an error of kind Type, got {e:?}"
            )),
            None => Outcome::Failed(e.to_string()),
        }
    }

    /// A result; it is wrong to have one where the device lacks a needed type.
    fn of(device: &Device, needs: &[DType], result: Result<Result<(), String>, Error>) -> Outcome {
        match result {
            Err(e) => Outcome::of_error(device, needs, &e),
            Ok(checked) => match needs.iter().find(|&&d| !device.supports(d)) {
                Some(d) => Outcome::Failed(format!(
                    "the device does not compute in {d}, and still gave a result"
                )),
                None => checked.into(),
            },
        }
    }
}

/// Runs the chosen cases of a group and gives the outcome of each, in the order of the choice.
type RunGroup = Box<dyn Fn(&Device, &[usize]) -> Vec<Outcome>>;

/// Cases that run together.
struct Group {
    family: &'static str,
    dtype: DType,
    ops: Vec<String>,
    run: RunGroup,
}

impl Group {
    /// A group of one case.
    fn one(
        family: &'static str,
        op: impl Into<String>,
        dtype: DType,
        run: impl Fn(&Device) -> Outcome + 'static,
    ) -> Group {
        Group { family, dtype, ops: vec![op.into()], run: Box::new(move |d, _| vec![run(d)]) }
    }

    fn cases(&self) -> impl Iterator<Item = Case> + '_ {
        self.ops.iter().map(|op| Case { family: self.family, op: op.clone(), dtype: self.dtype })
    }
}

fn groups() -> Vec<Group> {
    let mut groups = elementwise::groups();
    groups.extend(reductions::groups());
    groups.extend(layouts::groups());
    groups.extend(images::groups());
    groups.extend(products::groups());
    groups.extend(linalg::groups());
    groups.extend(random::groups());
    groups.extend(histogram::groups());
    groups.extend(groupby::groups());
    groups.extend(gather::groups());
    groups.extend(scans::groups());
    groups.extend(selects::groups());
    groups.extend(sorts::groups());
    groups.extend(stencil::groups());
    groups.extend(sparse::groups());
    groups
}

/// The whole table, in the order in which [`run`] goes through it.
pub fn cases() -> Vec<Case> {
    groups().iter().flat_map(|g| g.cases().collect::<Vec<_>>()).collect()
}

/// Runs every case on `device`; `progress` hears of each.
pub fn run(device: &Device, progress: &mut dyn FnMut(Progress<'_>)) -> Report {
    run_where(device, |_| true, progress)
}

/// Runs the cases that `choose` takes.
pub fn run_where(
    device: &Device,
    choose: impl Fn(&Case) -> bool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Report {
    let mut report = Report::default();
    let groups: Vec<(Group, Vec<(usize, Case)>)> = groups()
        .into_iter()
        .map(|g| {
            let chosen = g.cases().enumerate().filter(|(_, c)| choose(c)).collect();
            (g, chosen)
        })
        .collect();
    let total = groups.iter().map(|(_, cases)| cases.len()).sum();
    let mut done = 0;
    for (group, chosen) in groups.iter().filter(|(_, cases)| !cases.is_empty()) {
        let positions: Vec<usize> = chosen.iter().map(|(k, _)| *k).collect();
        let outcomes = (group.run)(device, &positions);
        for ((_, case), outcome) in chosen.iter().zip(outcomes) {
            let (op, dtype) = (case.op.clone(), case.dtype);
            let ok = !matches!(outcome, Outcome::Failed(_));
            match outcome {
                Outcome::Passed => report.passed += 1,
                Outcome::Failed(detail) => {
                    report.failed += 1;
                    let device = device.to_string();
                    report.failures.push(Failure { op, dtype, device, detail });
                }
                Outcome::Skipped(reason) => {
                    report.skipped += 1;
                    report.skips.push(Skipped { op, dtype, reason });
                }
            }
            done += 1;
            progress(Progress { done, total, case, ok });
        }
    }
    report
}

/// A seed of its own for every case, the same in every run.
fn seed(op: &str, dtype: DType) -> u64 {
    op.bytes().fold(dtype as u64 + 1, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Calls a generic function with each of the listed element types, or with all.
macro_rules! each_type {
    ($T:ident => $body:expr) => {
        each_type!($T in [bool, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64] => $body)
    };
    ($T:ident in [$($t:ty),*] => $body:expr) => {$({ type $T = $t; $body })*};
}
use each_type;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let mut seen = HashSet::new();
        for case in cases() {
            assert!(seen.insert(case.clone()), "{case} twice");
        }
    }

    #[test]
    fn the_host_passes() {
        let mut last = 0;
        let report = run(&Device::host(), &mut |p| {
            assert_eq!(p.done, last + 1);
            last = p.done;
        });
        for f in &report.failures {
            eprintln!("{}<{}>: {}", f.op, f.dtype, f.detail);
        }
        assert_eq!(report.failed, 0);
        assert_eq!((report.skipped, report.passed), (0, cases().len()));
    }
}
