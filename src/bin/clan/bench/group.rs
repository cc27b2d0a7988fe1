//! `clan bench group`: how fast the members of a group exchange and combine their arrays.

use super::size;
use super::timing;
use crate::output::{self, Failure, Outcome};
use clan::{Call, Device, DeviceArray, Group, ReduceOp};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Instant;

/// Measure the collectives of a group of devices, in the manner of nccl-tests.
///
/// The time is that of one call of up to 20 that are started one after the other, until every member has
/// all results: a median of several
/// after a warm-up. The numbers are small integers in 32-bit floats, so that any order of adding is exact;
/// "wrong" counts the elements, of all members, that differ from a plain computation.
#[derive(clap::Args)]
#[command(after_help = "\
Columns:
  size   bytes of what a member gives or what it gets, whichever is more; all_gather and gather: of
         all members' arrays together
  count  the numbers in it
  algbw  size / time, in GB/s
  busbw  algbw times a factor that makes collectives comparable with each other and with the wires,
         as nccl-tests has it for p members:
           all_reduce                                              2 (p - 1) / p
           all_gather, reduce_scatter, all_to_all, scatter, gather (p - 1) / p
           broadcast, reduce, send                                 1
           scan, exclusive_scan (nccl-tests has none)              1
  link   host: from or into the host's memory; device: within a device that is several members;
         staged: from device to device through the host; none: nothing moves between members

Examples:
  clan bench group
  clan bench group --devices host,host,host --ops all_reduce --sizes 1K..64M
  clan bench group --devices nvidia,nvidia:1 --sizes 1K,256M --json

Exits with 1 when an answer was wrong or a call failed, with 2 for a wrong command line.")]
pub struct Args {
    /// The members, separated by commas: indices, "host", "gpu", or parts of names, as in pocl:1; one
    /// device may come several times. Default: all OpenCL devices, or the host.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    devices: Vec<String>,
    /// The collectives, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", help = ops_help())]
    ops: Vec<String>,
    /// Sizes in bytes, separated by commas; 1K..256M goes from one to the other in steps of ×4 (K is
    /// 1024). Default: 1K..256M among GPUs, 1K..16M elsewhere, less where memory is short.
    #[arg(long, value_parser = sizes, value_name = "SIZES")]
    sizes: Option<Sizes>,
    /// Write one JSON object to stdout: {"devices": […], "rows": […]}.
    #[arg(long)]
    json: bool,
}

/// What there is, in the order in which it runs. Those from `USUAL` on only run when they are named.
const OPS: [&str; 11] = [
    "all_reduce",
    "broadcast",
    "reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "scatter",
    "gather",
    "scan",
    "exclusive_scan",
    "send",
];
const USUAL: usize = 6;

/// Who gives in a broadcast, and gets in a reduction.
const ROOT: usize = 0;

fn ops_help() -> String {
    let (usual, others) = OPS.split_at(USUAL);
    format!(
        "The collectives, separated by commas. Default: {}. There are also: {}",
        usual.join(", "),
        others.join(", ")
    )
}

/// Bytes, ascending as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sizes(Vec<usize>);

/// The factor from one size of a range to the next.
const STEP: usize = 4;
const ELEMENT: usize = size_of::<f32>();

fn sizes(text: &str) -> Result<Sizes, String> {
    let one = |text: &str| match size::parse(text) {
        Ok(n) if n < ELEMENT => Err(format!("{n} bytes hold no number of {ELEMENT} bytes")),
        Ok(n) => Ok(n),
        Err(_) => Err(format!(
            "{text:?} is no size; write bytes as 1000, 64K, 16M or 1G (K is 1024), or a range as 1K..256M"
        )),
    };
    let mut all = Vec::new();
    for part in text.split(',') {
        match part.split_once("..") {
            None => all.push(one(part)?),
            Some((from, to)) => {
                let (from, to) = (one(from)?, one(to)?);
                if from > to {
                    return Err(format!("{part:?} ends before it begins"));
                }
                all.extend(range(from, to));
            }
        }
    }
    Ok(Sizes(all))
}

/// From one to the other, which is the last one also where the steps miss it.
fn range(from: usize, to: usize) -> Vec<usize> {
    let steps = std::iter::successors(Some(from), |n| n.checked_mul(STEP));
    steps.take_while(|&n| n < to).chain([to]).collect()
}

pub fn run(args: &Args) -> Outcome {
    let ops = chosen(&args.ops)?;
    let group = match args.devices.is_empty() {
        true => Group::all()?,
        false => {
            let devices = args.devices.iter().map(|name| Device::select(name.as_str()));
            Group::new(devices.collect::<Result<Vec<_>, _>>()?)?
        }
    };
    let sizes = fitting(&group, args.sizes.as_ref())?;
    let progress = super::progress(args.json);
    let mut rows = Vec::new();
    for op in ops {
        for &bytes in &sizes {
            progress.set_message(format!("{op}, {}", output::bytes(bytes as u64)));
            rows.push(measure(&group, op, bytes, &progress));
        }
        group.members().iter().for_each(Device::trim);
    }
    progress.finish_and_clear();
    let titles: Vec<String> = group.members().iter().map(output::title).collect();
    if args.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        output::line(json!({ "devices": titles, "rows": rows }))?;
    } else {
        for (m, title) in titles.iter().enumerate() {
            output::line(format_args!("member {m}: {title}"))?;
        }
        print(&rows)?;
    }
    Ok(rows.iter().all(|r| r.outcome.as_ref().is_some_and(|o| o.wrong == 0)))
}

/// The collectives of `--ops`.
fn chosen(names: &[String]) -> Result<Vec<&'static str>, Failure> {
    let mut chosen = Vec::new();
    for name in names.iter().map(|n| n.trim()).filter(|n| !n.is_empty()) {
        let Some(&op) = OPS.iter().find(|&&op| op == name) else {
            return Err(Failure::Usage(format!(
                "--ops {name}: there is no such collective; there are {}",
                OPS.join(", ")
            )));
        };
        chosen.push(op);
    }
    Ok(if chosen.is_empty() { OPS[..USUAL].to_vec() } else { chosen })
}

/// Arrays of one size that a call may hold for a member: what it gives, what it gets, two on the way.
const ARRAYS: usize = 4;

/// The sizes to measure with, of which none is more than a member's device has room for.
fn fitting(group: &Group, asked: Option<&Sizes>) -> Result<Vec<usize>, Failure> {
    let most = |device: &Device| {
        let arrays = ARRAYS * group.members().iter().filter(|&d| d == device).count();
        size::room(device, arrays as u64) as usize
    };
    let members = || group.members().iter().map(|d| (most(d), d));
    let Some((most, least)) = members().min_by_key(|(n, _)| *n) else { return Ok(Vec::new()) };
    match asked {
        Some(Sizes(sizes)) => match sizes.iter().find(|&&n| n > most) {
            Some(n) => Err(Failure::Usage(format!(
                "--sizes: {} is more than the {} that {least} has room for in this group; use {} or less, or other --devices",
                output::bytes(*n as u64),
                output::bytes(most as u64),
                size::written(most),
            ))),
            None => Ok(sizes.clone()),
        },
        None => {
            let large = group.members().iter().all(output::is_large);
            let last = if large { 256 << 20 } else { 16 << 20 };
            let mut sizes = range(1 << 10, last);
            sizes.retain(|&n| n <= most);
            Ok(sizes)
        }
    }
}

/// One collective of one size.
struct Row {
    op: &'static str,
    /// A multiple of the size of an element.
    bytes: usize,
    members: usize,
    /// `None` when a call failed.
    outcome: Option<Measured>,
}

struct Measured {
    median: f64,
    wrong: usize,
    schedule: String,
    link: String,
}

impl Row {
    fn algbw(&self) -> Option<f64> {
        self.outcome.as_ref().map(|o| self.bytes as f64 / o.median / 1e9)
    }

    fn busbw(&self) -> Option<f64> {
        self.algbw().map(|b| b * factor(self.op, self.members))
    }

    fn json(&self) -> Value {
        let outcome = self.outcome.as_ref();
        json!({
            "op": self.op,
            "bytes": self.bytes,
            "members": self.members,
            "median_s": outcome.map(|o| o.median),
            "algbw": self.algbw(),
            "busbw": self.busbw(),
            "wrong": outcome.map(|o| o.wrong),
            "schedule": outcome.map(|o| &o.schedule),
            "link": outcome.map(|o| &o.link),
        })
    }
}

/// From algbw to busbw.
fn factor(op: &str, members: usize) -> f64 {
    let p = members as f64;
    match op {
        "all_reduce" => 2.0 * (p - 1.0) / p,
        "all_gather" | "reduce_scatter" | "all_to_all" | "scatter" | "gather" => (p - 1.0) / p,
        _ => 1.0,
    }
}

fn print(rows: &[Row]) -> Result<(), Failure> {
    let header =
        ["size", "count", "operation", "time", "algbw", "busbw", "wrong", "schedule", "link"];
    let mut table = output::table(&header);
    for k in [0, 1, 3, 4, 5, 6] {
        if let Some(column) = table.column_mut(k) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let or_dash = |v: Option<String>| v.unwrap_or_else(|| "–".to_string());
    for row in rows {
        let outcome = row.outcome.as_ref();
        table.add_row([
            output::bytes(row.bytes as u64),
            (row.bytes / ELEMENT).to_string(),
            row.op.to_string(),
            or_dash(outcome.map(|o| output::seconds(o.median))),
            or_dash(row.algbw().map(rate)),
            or_dash(row.busbw().map(rate)),
            outcome.map_or_else(|| "FAILED".to_string(), |o| o.wrong.to_string()),
            or_dash(outcome.map(|o| o.schedule.clone())),
            or_dash(outcome.map(|o| o.link.clone())),
        ]);
    }
    output::line(table)?;
    output::line("algbw and busbw in GB/s; `clan bench group --help` says what they are")
}

/// Small messages move little a second, but not nothing.
fn rate(x: f64) -> String {
    if x >= 0.1 { output::number(x) } else { format!("{x:.4}") }
}

fn measure(group: &Group, op: &'static str, bytes: usize, progress: &ProgressBar) -> Row {
    let n = bytes / ELEMENT;
    let outcome = match timed(group, op, n) {
        Ok(measured) => {
            if measured.wrong > 0 {
                let text = format!("{op}, {bytes} bytes: {} elements are wrong", measured.wrong);
                progress.suspend(|| output::note(text));
            }
            Some(measured)
        }
        Err(e) => {
            progress.suspend(|| output::note(format_args!("{op}, {bytes} bytes: {e}")));
            None
        }
    };
    Row { op, bytes: n * ELEMENT, members: group.len(), outcome }
}

fn timed(group: &Group, op: &str, n: usize) -> clan::Result<Measured> {
    let parts = parts(group, op, n)?;
    let first = call(group, op, &parts)?;
    let (schedule, link) = (first.schedule().to_string(), first.link().to_string());
    let wrong = wrong(group, op, n, first)?;
    // Several calls are on their way at a time, as in nccl-tests; their results have to have room.
    let sample = |runs: usize| -> clan::Result<f64> {
        let start = Instant::now();
        let calls = (0..runs).map(|_| call(group, op, &parts)).collect::<Result<Vec<_>, _>>()?;
        calls.iter().try_for_each(Call::finish)?;
        Ok(start.elapsed().as_secs_f64() / runs as f64)
    };
    sample(1)?;
    let large = group.members().iter().all(output::is_large);
    let room = if large { room(group) } else { HOST_ROOM };
    let (room, time) = (room / (n * ELEMENT).max(1), (SAMPLE / sample(1)?) as usize);
    let runs = room.min(time).clamp(1, MOST_CALLS);
    sample(runs)?;
    let median = timing::sampled(|| sample(runs))?;
    Ok(Measured { median, wrong, schedule, link })
}

/// Calls that are on their way at a time, at most; bytes of a member's results of all of them on
/// processors, where new memory costs as much as a call; seconds that they may take together.
const MOST_CALLS: usize = 20;
const HOST_ROOM: usize = 16 << 20;
const SAMPLE: f64 = 0.02;

/// Bytes of a member's results of all calls that are on their way, on GPUs: a quarter of the memory.
fn room(group: &Group) -> usize {
    let share = |device: &Device| {
        let members = group.members().iter().filter(|&d| d == device).count();
        device.memory().global_bytes as usize / 4 / members
    };
    group.members().iter().map(share).min().unwrap_or(0)
}

fn parts(group: &Group, op: &str, n: usize) -> clan::Result<Vec<DeviceArray<f32>>> {
    let part = |(m, device)| {
        let given = given(op, m, n, group.len()).into_par_iter();
        let values: Vec<f32> = given.map(|i| value(m, i) as f32).collect();
        DeviceArray::from_slice(device, &values)
    };
    group.members().iter().enumerate().map(part).collect()
}

/// How many elements of all members are wrong after a call.
fn wrong(group: &Group, op: &str, n: usize, call: Call<f32>) -> clan::Result<usize> {
    let p = group.len();
    let results = call.wait()?.into_iter().zip(receivers(op, p));
    results.map(|(got, m)| Ok(differing(&got.to_vec()?, op, m, n, p))).sum()
}

fn call(group: &Group, op: &str, parts: &[DeviceArray<f32>]) -> clan::Result<Call<f32>> {
    const SUM: ReduceOp = ReduceOp::Sum;
    match op {
        "all_reduce" => group.all_reduce(parts, SUM),
        "broadcast" => group.broadcast(&parts[ROOT], ROOT),
        "reduce" => group.reduce(parts, ROOT, SUM),
        "all_gather" => group.all_gather(parts),
        "reduce_scatter" => group.reduce_scatter(parts, SUM),
        "all_to_all" => group.all_to_all(parts),
        "scatter" => group.scatter(&parts[ROOT], ROOT),
        "gather" => group.gather(parts, ROOT),
        "scan" => group.scan(parts, SUM),
        "exclusive_scan" => group.exclusive_scan(parts, SUM),
        _ => group.send(&parts[0], 0, group.len() - 1),
    }
}

/// What member m has at position i before: an integer that looks random, so that an element in another's
/// place is noticed, and so small that the sums of as many members as a group can have are exact.
fn value(m: usize, i: usize) -> i64 {
    let mixed = (i as u64 ^ (m as u64) << 44).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 53) as i64 - 1000
}

/// Member m's share of n elements: the first ones get one more where it does not divide.
fn share(m: usize, n: usize, p: usize) -> Range<usize> {
    let start = |m: usize| m * (n / p) + m.min(n % p);
    start(m)..start(m + 1)
}

/// The positions, among all n, of what member m gives.
fn given(op: &str, m: usize, n: usize, p: usize) -> Range<usize> {
    match op {
        "all_gather" | "gather" => share(m, n, p),
        _ => 0..n,
    }
}

/// Who gets results, in their order.
fn receivers(op: &str, p: usize) -> Range<usize> {
    match op {
        "reduce" | "gather" => ROOT..ROOT + 1,
        "send" => p - 1..p,
        _ => 0..p,
    }
}

/// How many elements member m gets.
fn wanted(op: &str, m: usize, n: usize, p: usize) -> usize {
    match op {
        "reduce_scatter" | "scatter" => share(m, n, p).len(),
        "all_to_all" => p * share(m, n, p).len(),
        _ => n,
    }
}

/// How many elements of what member m got are not what they should be, or missing, or too many.
fn differing(got: &[f32], op: &str, m: usize, n: usize, p: usize) -> usize {
    let wanted = wanted(op, m, n, p);
    let differs =
        |i: &usize| got.get(*i).is_none_or(|&g| f64::from(g) != expected(op, m, *i, n, p));
    (0..wanted).into_par_iter().filter(differs).count() + got.len().saturating_sub(wanted)
}

/// What member m has at position i afterwards, from integers.
fn expected(op: &str, m: usize, i: usize, n: usize, p: usize) -> f64 {
    let sum = |members: Range<usize>, i| members.map(|k| value(k, i)).sum::<i64>();
    let whole = match op {
        "broadcast" => value(ROOT, i),
        "scatter" => value(ROOT, share(m, n, p).start + i),
        "send" => value(0, i),
        // Whose share it is.
        "all_gather" | "gather" => {
            let owner = (0..p).find(|&k| share(k, n, p).contains(&i));
            owner.map_or(i64::MIN, |k| value(k, i))
        }
        "reduce_scatter" => sum(0..p, share(m, n, p).start + i),
        "all_to_all" => {
            let mine = share(m, n, p);
            value(i / mine.len(), mine.start + i % mine.len())
        }
        "scan" => sum(0..m + 1, i),
        "exclusive_scan" => sum(0..m, i),
        _ => sum(0..p, i),
    };
    whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_lists_and_ranges() {
        let parsed = |text| sizes(text).map(|s| s.0);
        assert_eq!(parsed("64K"), Ok(vec![65536]));
        assert_eq!(parsed("1K..16K,1M"), Ok(vec![1024, 4096, 16384, 1 << 20]));
        assert_eq!(parsed("1K..5000"), Ok(vec![1024, 4096, 5000]));
        assert_eq!(parsed("8..8"), Ok(vec![8]));
        for bad in ["", "3", "0", "1K..", "..1M", "1M..1K", "1K..1X", "1K,,2K", "1K-2K"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn busbw_is_that_of_nccl_tests() {
        assert_eq!(factor("all_reduce", 4), 1.5);
        assert_eq!(factor("all_gather", 4), 0.75);
        assert_eq!((factor("broadcast", 4), factor("reduce", 9)), (1.0, 1.0));
    }

    #[test]
    fn every_element_counts() {
        let group = Group::new(vec![Device::host(); 3]).unwrap();
        for op in OPS {
            for n in [1, 2, 7] {
                let call = call(&group, op, &parts(&group, op, n).unwrap()).unwrap();
                assert_eq!(wrong(&group, op, n, call).unwrap(), 0, "{op} of {n}");
            }
        }
        let sums = [0, 1, 2, 3].map(|i| (value(0, i) + value(1, i)) as f32);
        let differing = |got: &[f32]| differing(got, "all_reduce", 1, 4, 2);
        assert_eq!(differing(&sums), 0);
        assert_eq!(differing(&[sums[0], sums[1] + 1.0, sums[2], f32::NAN]), 2);
        assert_eq!((differing(&sums[..3]), differing(&[&sums[..], &[0.0]].concat())), (1, 1));
    }

    #[test]
    fn what_is_expected() {
        // Shares of 7 elements for 3 members: 3, 2, 2.
        assert_eq!(share(1, 7, 3), 3..5);
        let at = |op, m, i| expected(op, m, i, 7, 3) as i64;
        assert_eq!(at("all_to_all", 1, 3), value(1, 4));
        assert_eq!(at("all_gather", 0, 5), value(2, 5));
        assert_eq!(at("reduce_scatter", 2, 1), value(0, 6) + value(1, 6) + value(2, 6));
        assert_eq!(at("scan", 1, 4), value(0, 4) + value(1, 4));
        assert_eq!((at("exclusive_scan", 0, 4), at("exclusive_scan", 1, 4)), (0, value(0, 4)));
    }
}
