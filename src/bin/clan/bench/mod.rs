//! `clan bench`: each device's own limits, then every family of operations held against them.
//!
//! A family is a file here and a row of [`FAMILIES`]. It describes its cases to [`Bench::case`],
//! which times them, has the answer checked, and makes the row.

mod cast;
mod conv2d;
mod copy;
mod create;
mod data;
mod digits;
mod gather;
mod group;
mod groupby;
mod histogram;
mod launch;
mod limits;
mod linalg;
mod map;
mod matmul;
mod photo;
mod random;
mod reduce;
mod scan;
mod select;
mod size;
mod sort;
mod sparse;
mod stencil;
mod timing;

use crate::only::{self, Only};
use crate::output::{self, Failure, Outcome};
use clan::{DType, Device};
use data::Data;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use limits::Limits;
use serde_json::{Value, json};
use std::time::Duration;

/// Measure how fast the devices of this machine are.
///
/// First measures what a device can do at most: how many bytes a second it copies (read and
/// written bytes count) and how many operations a second it does in fused multiply-adds. Then times
/// every family of operations, checks each answer against a plain computation, and says what share
/// of the limit was reached. The last two families are real workloads: a photograph is worked on, and
/// a network learns to read digits.
///
/// Times are medians of several runs after a warm-up; the device is idle before the clock stops.
/// "of limit" is the share of the bound that applies, bandwidth or arithmetic; it can pass 100 %
/// where arrays stay in a cache or are only read. "vs host" is how many times the speed of the
/// host it is (for each element, where sizes differ).
///
/// `clan bench group` measures what devices do together.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  clan bench
  clan bench --device nvidia --size 256M
  clan bench --only map,reduce --json
  clan bench --device host --only sum,transpose
  clan bench group --devices host,host,host

Exits with 1 when an answer was wrong or an operation failed, with 2 for a wrong command line.")]
pub struct Args {
    /// Only this device: an index, "host", "gpu", or a part of a name, as in pocl:1. Default: all.
    #[arg(long, short)]
    device: Option<String>,
    /// Only these families or operations, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", help = only_help())]
    only: Vec<String>,
    /// Elements of the large arrays: 1000, 64K, 16M, 1G (K is 1024). Default: 64M on GPUs, 16M
    /// elsewhere, less where memory is short.
    #[arg(long, value_parser = size::parse, value_name = "N")]
    size: Option<usize>,
    /// Write one JSON object to stdout: {"devices": […], "rows": […]}.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    Group(group::Args),
}

/// A family of operations and how to time it on one device.
pub struct Family {
    pub name: &'static str,
    /// The names of its rows.
    pub ops: &'static [&'static str],
    pub run: fn(&mut Bench<'_>) -> Result<(), Failure>,
}

/// In the order in which they run.
const FAMILIES: &[&Family] = &[
    &map::FAMILY,
    &reduce::FAMILY,
    &copy::FAMILY,
    &conv2d::FAMILY,
    &matmul::FAMILY,
    &linalg::FAMILY,
    &random::FAMILY,
    &histogram::FAMILY,
    &groupby::FAMILY,
    &gather::FAMILY,
    &scan::FAMILY,
    &select::FAMILY,
    &sort::FAMILY,
    &stencil::FAMILY,
    &sparse::FAMILY,
    &cast::FAMILY,
    &create::FAMILY,
    &launch::FAMILY,
    &photo::FAMILY,
    &digits::FAMILY,
];

/// Families and their operations.
fn families() -> Vec<(&'static str, Vec<String>)> {
    let ops = |f: &Family| f.ops.iter().map(ToString::to_string).collect();
    FAMILIES.iter().map(|f| (f.name, ops(f))).collect()
}

fn only_help() -> String {
    only::help(&families())
}

pub fn run(args: &Args) -> Outcome {
    if let Some(What::Group(args)) = &args.what {
        return group::run(args);
    }
    let only = Only::new(&args.only, &families())?;
    let devices = output::chosen(args.device.as_deref())?;
    // Every size is looked at before anything is measured.
    let sizes =
        devices.iter().map(|d| size::choose(d, args.size)).collect::<Result<Vec<_>, _>>()?;
    let mut session = Session {
        rows: Vec::new(),
        limits: Vec::new(),
        data: None,
        photos: Vec::new(),
        only,
        progress: progress(args.json),
    };
    for (device, &n) in devices.iter().zip(&sizes) {
        session.device(device, n, args.size.is_some())?;
        if !args.json {
            session.print(device)?;
        }
    }
    session.progress.finish_and_clear();
    if args.json {
        let devices: Vec<Value> = session.limits.iter().map(Limits::json).collect();
        let rows: Vec<Value> = session.rows.iter().map(Row::json).collect();
        output::line(json!({ "devices": devices, "rows": rows }))?;
    }
    Ok(session.rows.iter().all(|r| r.ok))
}

/// On stderr, and hidden where that is not a terminal.
fn progress(hidden: bool) -> ProgressBar {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// One measured case.
struct Row {
    op: &'static str,
    dtype: DType,
    shape: Vec<usize>,
    device: Device,
    /// `None` when the operation failed.
    median: Option<f64>,
    bytes: u64,
    flops: u64,
    of_limit: Option<f64>,
    vs_host: Option<f64>,
    ok: bool,
    /// What the figures do not say.
    note: Option<String>,
}

impl Row {
    fn gb_per_s(&self) -> Option<f64> {
        self.median.map(|s| self.bytes as f64 / s / 1e9)
    }

    fn gflop_per_s(&self) -> Option<f64> {
        self.median.map(|s| self.flops as f64 / s / 1e9)
    }

    /// Work a second, to compare rows of one operation by, also of different sizes.
    fn speed(&self) -> Option<f64> {
        let work = match self.bytes.max(self.flops) {
            0 => 1.0,
            n => n as f64,
        };
        self.median.map(|s| work / s)
    }

    fn json(&self) -> Value {
        let mut row = json!({
            "op": self.op,
            "dtype": self.dtype.name(),
            "shape": self.shape,
            "device": output::title(&self.device),
            "median_s": self.median,
            "bytes": self.bytes,
            "flops": self.flops,
            "gb_per_s": self.gb_per_s(),
            "gflop_per_s": self.gflop_per_s(),
            "of_limit": self.of_limit,
            "vs_host": self.vs_host,
            "ok": self.ok,
        });
        if let Some(note) = &self.note {
            row["note"] = note.as_str().into();
        }
        row
    }

    fn cells(&self) -> [String; 9] {
        let or_dash = |v: Option<String>| v.unwrap_or_else(|| "–".to_string());
        let rate = |v: Option<f64>| or_dash(v.filter(|&v| v > 0.0).map(output::number));
        let shape: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        [
            self.op.to_string(),
            self.dtype.to_string(),
            shape.join("×"),
            or_dash(self.median.map(output::seconds)),
            rate(self.gb_per_s()),
            rate(self.gflop_per_s()),
            or_dash(self.of_limit.map(|x| format!("{:.0} %", x * 100.0))),
            or_dash(self.vs_host.map(|x| format!("{}×", output::number(x)))),
            (if self.ok { "ok" } else { "WRONG" }).to_string(),
        ]
    }
}

/// One run of the program: what has been measured so far.
struct Session {
    rows: Vec<Row>,
    limits: Vec<Limits>,
    data: Option<Data>,
    /// What the photograph became on the devices before.
    photos: Vec<(&'static str, Vec<u8>)>,
    only: Only,
    progress: ProgressBar,
}

impl Session {
    fn device(&mut self, device: &Device, n: usize, asked: bool) -> Result<(), Failure> {
        self.progress.set_message(format!("{}: limits", output::title(device)));
        let most = if asked { size::choose(device, None)? } else { n };
        let limits = limits::measure(device, n.max(most))?;
        self.limits.push(limits.clone());
        if self.data.as_ref().is_none_or(|d| d.n() != n) {
            self.data = None;
            self.data = Some(Data::new(n));
        }
        let data = self.data.take().unwrap_or_else(|| Data::new(n));
        for family in FAMILIES {
            if !family.ops.iter().any(|op| self.only.wants(family.name, op)) {
                continue;
            }
            let mut bench = Bench { session: self, family, device, limits: &limits, data: &data };
            (family.run)(&mut bench)?;
            // The next device may live in the same memory.
            device.trim();
        }
        self.data = Some(data);
        Ok(())
    }

    fn print(&self, device: &Device) -> Result<(), Failure> {
        let Some(limits) = self.limits.last() else { return Ok(()) };
        let mut table = output::table(&[
            "operation",
            "type",
            "shape",
            "time",
            "GB/s",
            "GFLOP/s",
            "of limit",
            "vs host",
            "answer",
        ]);
        for k in 3..8 {
            if let Some(column) = table.column_mut(k) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        for row in self.rows.iter().filter(|r| r.device == *device) {
            table.add_row(row.cells());
        }
        self.progress.suspend(|| {
            output::line(format_args!("\n{}: {}", device.index(), output::title(device)))?;
            output::line(limits)?;
            output::line(table)?;
            for row in self.rows.iter().filter(|r| r.device == *device) {
                if let Some(note) = &row.note {
                    output::line(format_args!("{}: {note}", row.op))?;
                }
            }
            Ok(())
        })
    }
}

/// What a case is; its times and its answer come from the closures of [`Bench::case`].
pub struct Case {
    pub op: &'static str,
    /// Type of the elements that are read, or made where nothing is read.
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Least bytes that have to be read and written.
    pub bytes: usize,
    /// Least floating-point operations; 0 where there are none.
    pub flops: usize,
}

/// What is wrong with an answer, if anything.
pub type Answer = clan::Result<Result<(), String>>;

/// One family on one device.
pub struct Bench<'a> {
    session: &'a mut Session,
    family: &'static Family,
    pub device: &'a Device,
    limits: &'a Limits,
    pub data: &'a Data,
}

impl Bench<'_> {
    /// Whether the row is asked for; families use it to make no inputs in vain.
    pub fn wants(&self, op: &str) -> bool {
        debug_assert!(self.family.ops.contains(&op), "{op} is missing in its family's list");
        self.session.only.wants(self.family.name, op)
    }

    /// Checks the answer of `run`, then times it.
    pub fn case<R>(
        &mut self,
        case: Case,
        run: impl Fn() -> clan::Result<R>,
        check: impl FnOnce(R) -> Answer,
    ) {
        let device = self.device;
        self.timed(case, || check(run()?), || timing::median(device, || run().map(drop)));
    }

    /// A case with a clock of its own; it is started after the answer was found right.
    pub fn timed(
        &mut self,
        case: Case,
        check: impl FnOnce() -> Answer,
        time: impl FnOnce() -> clan::Result<f64>,
    ) {
        if !self.wants(case.op) {
            return;
        }
        let title = output::title(self.device);
        self.session.progress.set_message(format!("{title}: {} {}", self.family.name, case.op));
        let (median, ok) = match check() {
            Ok(right) => {
                if let Err(what) = &right {
                    self.note(format_args!("{title}: {}: wrong answer: {what}", case.op));
                }
                match time() {
                    Ok(s) => (Some(s), right.is_ok()),
                    Err(e) => {
                        self.note(format_args!("{title}: {}: {e}", case.op));
                        (None, false)
                    }
                }
            }
            Err(e) => {
                self.note(format_args!("{title}: {}: {e}", case.op));
                (None, false)
            }
        };
        let mut row = Row {
            op: case.op,
            dtype: case.dtype,
            shape: case.shape,
            device: self.device.clone(),
            median,
            bytes: case.bytes as u64,
            flops: case.flops as u64,
            of_limit: None,
            vs_host: None,
            ok,
            note: None,
        };
        row.of_limit = median.and_then(|s| self.limits.share(row.bytes, row.flops, s));
        if !self.device.is_host() {
            let same = |r: &&Row| {
                r.device.is_host()
                    && (r.op, r.dtype, r.shape.len()) == (row.op, row.dtype, row.shape.len())
            };
            // The same size where there is one.
            let rows = &self.session.rows;
            let exact = rows.iter().filter(same).find(|r| r.shape == row.shape);
            let host = exact.or_else(|| rows.iter().find(same)).and_then(Row::speed);
            row.vs_host = row.speed().zip(host).map(|(device, host)| device / host);
        }
        self.session.rows.push(row);
    }

    /// Says something about the last case, beneath the table.
    pub fn remark(&mut self, text: String) {
        if let Some(row) = self.session.rows.last_mut() {
            row.note = Some(text);
        }
    }

    /// Compares a picture with what the first device made of it: at most one level apart.
    pub fn as_elsewhere(&mut self, op: &'static str, picture: &[u8]) -> Result<(), String> {
        match self.session.photos.iter().find(|(name, _)| *name == op) {
            Some((_, first)) => data::within_a_level(picture, first)
                .map_err(|e| format!("it differs from the first device's: {e}")),
            None => {
                self.session.photos.push((op, picture.to_vec()));
                Ok(())
            }
        }
    }

    /// Something for stderr, beside the progress bar.
    fn note(&self, text: impl std::fmt::Display) {
        self.session.progress.suspend(|| output::note(text));
    }
}

#[cfg(test)]
mod tests {
    use super::FAMILIES;
    use std::collections::HashSet;

    #[test]
    fn every_name_is_unique() {
        let mut seen = HashSet::new();
        for f in FAMILIES {
            for name in f.ops.iter().chain([&f.name]) {
                // A family may be called like its first operation.
                assert!(seen.insert(*name) || *name == f.name && f.ops[0] == f.name, "{name}");
            }
        }
    }
}
