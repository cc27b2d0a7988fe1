//! Finds the numbers (tile sizes, group sizes, unrolling) that make kernels fast on a device, and
//! keeps them: what the command `clan tune` runs.
//!
//! Every device has defaults. The tuner starts from points that are known to be good on some device,
//! then changes the best one parameter at a time and now and then jumps. A point is timed only after it
//! has given the results of a plain computation on awkward shapes, with guard bands around every
//! buffer that would show a write outside of it. The winner is compared with the default once more,
//! in turns, and stored when it is faster.
//!
//! The store is a file a device in the cache directory (`CLAN_CACHE_DIR`), written after every kernel and replaced whole,
//! so a tuner that is killed leaves what it had found so far. A stored point holds for one kernel
//! text, element type, class of shapes and driver: a new kernel text voids it, a new driver has it
//! checked again before its first use. `CLAN_TUNED=off` ignores the store.
//!
//! ```no_run
//! use clan::{Device, tune::Tuner};
//! use std::time::Duration;
//! let report = Tuner::new(&Device::best()?)
//!     .only(["matmul"])
//!     .budget(Duration::from_secs(60))
//!     .run(&mut |p| println!("{} of {}: {}", p.done, p.total, p.kernel))?;
//! for row in &report.rows {
//!     println!("{} {}: {:.1} -> {:.1} {}", row.kernel, row.call, row.before, row.after, row.unit);
//! }
//! # Ok::<(), clan::Error>(())
//! ```

pub(crate) mod guard;
mod search;
pub(crate) mod space;
mod store;
pub(crate) mod streams;
mod table;
pub(crate) mod trial;

pub(crate) use table::{Table, find};

use crate::device::{Backing, Device};
use crate::element::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::opencl::ClDevice;
use crate::ops;
use space::{Case, Checked, Class, Depth, Space, Values};
use std::path::PathBuf;
use std::time::Duration;
use store::{Entry, Store};

/// Every kernel with parameters.
fn spaces() -> &'static [&'static Space] {
    static SPACES: &[&Space] = &[
        &ops::matmul::tuning::TILED,
        &ops::matmul::tuning::UNITS,
        &ops::matmul::tuning::PANEL,
        &ops::matmul::tuning::DIRECT,
        &ops::matmul::tuning::ROWS,
        &ops::matmul::tuning::COLUMNS,
        &streams::REDUCE_ROWS,
        &streams::REDUCE_COLUMNS,
        &streams::TRANSPOSE,
        &streams::MAP,
        &streams::MAP_STRIDED,
    ];
    SPACES
}

/// Whether this thread has a point on trial.
pub(crate) fn on_trial() -> bool {
    trial::space().is_some()
}

/// The kernels that can be tuned; [`Tuner::only`] takes them too.
pub fn kernels() -> Vec<&'static str> {
    spaces().iter().map(|s| s.name).collect()
}

/// The families that can be tuned, as [`Tuner::only`] takes them.
pub fn families() -> Vec<&'static str> {
    let mut names: Vec<&str> = spaces().iter().map(|s| s.family).collect();
    names.dedup();
    names
}

/// A search for better points on one device.
#[derive(Clone, Debug)]
#[must_use = "a tuner does nothing until `run` is called"]
pub struct Tuner {
    device: Device,
    only: Vec<String>,
    budget: Duration,
}

/// Where [`Tuner::run`] is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Kernels finished.
    pub done: usize,
    /// Kernels in all.
    pub total: usize,
    /// The kernel at work.
    pub kernel: &'a str,
    /// What it computes.
    pub call: &'a str,
    /// Points tried so far, those included that gave wrong results.
    pub tried: usize,
    /// The best speed so far, compared with the default.
    pub gain: f64,
}

/// What [`Tuner::run`] found for one kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The kernel.
    pub kernel: &'static str,
    /// The element type.
    pub dtype: DType,
    /// What was timed.
    pub call: String,
    /// In units of this a second.
    pub unit: &'static str,
    /// The default's speed.
    pub before: f64,
    /// The speed of the point that is used from now on.
    pub after: f64,
    /// That point; `None` where the default stays.
    pub point: Option<String>,
    /// Points tried.
    pub tried: usize,
    /// Points that did not compile, did not run, gave a wrong result or wrote outside.
    pub refused: usize,
}

/// What [`Tuner::run`] found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// A row a kernel and case.
    pub rows: Vec<Row>,
    /// The file that keeps the points.
    pub store: PathBuf,
}

impl Tuner {
    /// A search over all families of a device, with a budget of one minute.
    pub fn new(device: &Device) -> Tuner {
        Tuner { device: device.clone(), only: Vec::new(), budget: Duration::from_secs(60) }
    }

    /// Only these families or kernels; see [`families`] and [`kernels`].
    pub fn only<S: Into<String>>(mut self, families: impl IntoIterator<Item = S>) -> Tuner {
        self.only = families.into_iter().map(Into::into).collect();
        self
    }

    /// The time for all kernels together, shared out evenly. Measuring the defaults is not cut short, so very
    /// small budgets are exceeded.
    pub fn budget(mut self, budget: Duration) -> Tuner {
        self.budget = budget;
        self
    }

    /// Searches, and stores what is better than the defaults; `progress` hears of every point.
    ///
    /// # Errors
    /// The host, which has no parameters; a family that there is not; nowhere to keep results; a
    /// device that fails even with its defaults. What was stored before the error stays.
    pub fn run(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Report> {
        let Backing::OpenCl(cl) = self.device.backing() else {
            return Err(Error::new(
                ErrorKind::Argument,
                OP,
                "the host backend has no parameters to tune; name an OpenCL device",
            ));
        };
        let (known, kernels) = (families(), kernels());
        let there = |o: &&String| known.contains(&o.as_str()) || kernels.contains(&o.as_str());
        if let Some(unknown) = self.only.iter().find(|o| !there(o)) {
            return Err(Error::new(
                ErrorKind::Config,
                OP,
                format!(
                    "no family or kernel {unknown:?} has parameters; families: {}; kernels: {}",
                    known.join(", "),
                    kernels.join(", ")
                ),
            ));
        }
        let Some(store) = Store::of(cl)? else {
            return Err(Error::new(
                ErrorKind::Config,
                OP,
                "CLAN_CACHE=off or CLAN_TUNED=off: there is nowhere to keep what is found; unset them",
            ));
        };
        let mut work: Vec<(&'static Space, Case)> = Vec::new();
        for space in spaces().iter().copied() {
            if self.only.is_empty()
                || self.only.iter().any(|o| o == space.family || o == space.name)
            {
                work.extend((space.cases)(&self.device).into_iter().map(|c| (space, c)));
            }
        }
        let total = work.len();
        let mut report = Report { rows: Vec::new(), store: store.path.clone() };
        let start = std::time::Instant::now();
        for (done, (space, case)) in work.iter().enumerate() {
            let left = self.budget.saturating_sub(start.elapsed()) / (total - done) as u32;
            let key = (space.name, case.dtype, case.class);
            let current = Table::of(cl).current(&key).map(|e| e.values);
            let found =
                search::run(&self.device, cl, space, case, left, current, &mut |tried, gain| {
                    let (kernel, call) = (space.name, case.label.as_str());
                    progress(Progress { done, total, kernel, call, tried, gain });
                })?;
            let entry = found.best.as_ref().map(|b| Entry {
                values: b.values.clone(),
                driver: cl.driver(),
                cost: b.cost,
                before: case.work / found.before,
                after: case.work / b.time,
                unit: case.unit.to_string(),
            });
            Table::of(cl).change(cl, key, entry).map_err(|why| {
                Error::new(ErrorKind::Config, OP, format!("the result cannot be kept: {why}"))
            })?;
            report.rows.push(Row {
                kernel: space.name,
                dtype: case.dtype,
                call: case.label.clone(),
                unit: case.unit,
                before: case.work / found.before,
                after: case.work / found.best.as_ref().map_or(found.before, |b| b.time),
                point: found.best.map(|b| space.write(&b.values)),
                tried: found.tried,
                refused: found.refused,
            });
        }
        Ok(report)
    }
}

/// What errors name.
const OP: &str = "tune";

/// Runs a point on awkward shapes, between guard bands; `None` for the default.
fn check(
    device: &Device,
    cl: &ClDevice,
    space: &'static Space,
    dtype: DType,
    class: Class,
    values: Option<Values>,
    depth: Depth,
) -> Checked {
    trial::with(space, values, || guard::watch(cl, || (space.check)(device, dtype, class, depth)))
}

#[cfg(test)]
mod tests;
