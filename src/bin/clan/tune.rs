//! `clan tune`: better points for the kernels of a device.

use crate::output::{self, Failure, Outcome};
use clan::Device;
use clan::tune::Tuner;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::time::Duration;

/// Search tile sizes, group sizes and the like that make kernels faster on a device, and keep them.
///
/// Every point must first give right results on awkward shapes and must not write outside of them.
/// What is found is used from then on by every program of this user, until the kernel changes;
/// after a change of the driver it is checked once more. CLAN_TUNED=off ignores it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  clan tune
  clan tune --device nvidia --only matmul --budget 10m
  clan tune --only reduce,copy --json

Exits with 1 when the device fails, with 2 when there is no such device or family. It may be stopped
at any time: what was found so far is kept.")]
pub struct Args {
    /// The device: an index, "gpu", or a part of a name, as in pocl:1. Default: the best one.
    #[arg(long, short)]
    device: Option<String>,
    /// Only these families or kernels, separated by commas: matmul, reduce, copy, map, or names as in
    /// the table.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The time to search, as in 90s, 10m or 1h, shared out over the kernels.
    #[arg(long, default_value = "60s", value_parser = duration)]
    budget: Duration,
    /// Write one JSON object to stdout: {"device", "store", "rows": […]}.
    #[arg(long)]
    json: bool,
}

/// `90s`, `10m`, `1h`; a number alone counts seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("{other:?} is no unit of time; use s, m or h, as in 90s")),
    };
    let count: f64 =
        digits.parse().map_err(|_| format!("{text:?} is no time; write it as 90s or 10m"))?;
    Duration::try_from_secs_f64(count * seconds)
        .map_err(|_| format!("{text:?} is not a time that can be waited for"))
}

pub fn run(args: &Args) -> Outcome {
    let device = match args.device.as_deref() {
        Some(name) => Device::select(name)?,
        None => Device::best()?,
    };
    if device.is_host() {
        return Err(Failure::Usage(
            "the host backend has no parameters to tune; name an OpenCL device with --device (see `clan devices`)".into(),
        ));
    }
    let title = output::title(&device);
    let target =
        if args.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(title.clone());
    let report =
        Tuner::new(&device).only(args.only.iter().cloned()).budget(args.budget).run(&mut |p| {
            bar.set_length(p.total as u64);
            bar.set_position(p.done as u64);
            bar.set_message(format!("{}: {} points, {:.2}x", p.kernel, p.tried, p.gain));
        });
    bar.finish_and_clear();
    let report = report?;
    if args.json {
        let rows: Vec<_> = report
            .rows
            .iter()
            .map(|r| {
                json!({
                    "kernel": r.kernel,
                    "dtype": r.dtype.name(),
                    "call": r.call,
                    "unit": r.unit,
                    "before": r.before,
                    "after": r.after,
                    "point": r.point,
                    "tried": r.tried,
                    "refused": r.refused,
                })
            })
            .collect();
        output::line(json!({ "device": title, "store": report.store, "rows": rows }))?;
        return Ok(true);
    }
    let mut table =
        output::table(&["kernel", "call", "default", "tuned", "", "gain", "tried", "point"]);
    for r in &report.rows {
        table.add_row([
            r.kernel.to_string(),
            r.call.clone(),
            output::number(r.before),
            output::number(r.after),
            r.unit.to_string(),
            format!("{:.2}x", r.after / r.before),
            match r.refused {
                0 => r.tried.to_string(),
                n => format!("{} ({n} refused)", r.tried),
            },
            r.point.clone().unwrap_or_else(|| "the default stays".into()),
        ]);
    }
    output::line(table)?;
    output::line(format_args!("kept in {}", report.store.display()))?;
    Ok(true)
}
