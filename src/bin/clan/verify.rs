//! `clan verify`: does every device compute what is documented?

use crate::only::{self, Only};
use crate::output::{self, Outcome};
use clan::verify;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

/// Check every operation on every element type against plain sequential functions.
///
/// Exact operations must give the same bits, functions must stay within the error bounds of the
/// OpenCL specification. What a device cannot do (as f64 without fp64) must be refused, and counts
/// as skipped.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  clan verify
  clan verify --device pocl:1
  clan verify --only scan,sort,matmul
  clan verify --json | jq '.failures[] | .op'

Exits with 1 when anything failed, with 2 when there is no such device or name.")]
pub struct Args {
    /// Only this device: an index, "host", "gpu", or a part of a name, as in pocl:1. Default: all.
    #[arg(long, short)]
    device: Option<String>,
    /// Only these families or operations, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", help = only_help())]
    only: Vec<String>,
    /// Write one JSON object to stdout: {"passed", "failed", "skipped", "failures": […]}.
    #[arg(long)]
    json: bool,
}

/// Families and their operations.
fn families() -> Vec<(&'static str, Vec<String>)> {
    let mut families: Vec<(&'static str, Vec<String>)> = Vec::new();
    for case in verify::cases() {
        let at = families.iter().position(|(family, _)| *family == case.family);
        let at = at.unwrap_or_else(|| {
            families.push((case.family, Vec::new()));
            families.len() - 1
        });
        let ops = &mut families[at].1;
        if !ops.contains(&case.op) {
            ops.push(case.op);
        }
    }
    families
}

fn only_help() -> String {
    only::help(&families())
}

pub fn run(args: &Args) -> Outcome {
    let only = Only::new(&args.only, &families())?;
    let devices = output::chosen(args.device.as_deref())?;
    let mut reports = Vec::new();
    let mut table = output::table(&["", "device", "passed", "failed", "skipped"]);
    for device in &devices {
        let title = output::title(device);
        let wanted = |case: &verify::Case| only.wants(case.family, &case.op);
        let report = with_progress(args.json, &title, |progress| {
            verify::run_where(device, wanted, progress)
        });
        table.add_row([
            device.index().to_string(),
            title.clone(),
            report.passed.to_string(),
            report.failed.to_string(),
            report.skipped.to_string(),
        ]);
        reports.push((title, report));
    }
    let total = |count: fn(&verify::Report) -> usize| -> usize {
        reports.iter().map(|(_, r)| count(r)).sum()
    };
    let (passed, failed, skipped) =
        (total(|r| r.passed), total(|r| r.failed), total(|r| r.skipped));
    if args.json {
        let failures: Vec<_> = reports
            .iter()
            .flat_map(|(title, r)| r.failures.iter().map(move |f| (title, f)))
            .map(|(title, f)| {
                json!({
                    "op": f.op,
                    "dtype": f.dtype.name(),
                    "device": title,
                    "detail": f.detail,
                })
            })
            .collect();
        output::line(json!({
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "failures": failures,
        }))?;
    } else {
        output::line(table)?;
        for (title, report) in &reports {
            for f in &report.failures {
                output::line(format_args!(
                    "FAILED {}<{}> on {title}: {}",
                    f.op, f.dtype, f.detail
                ))?;
            }
        }
        output::line(format_args!("{passed} passed, {failed} failed, {skipped} skipped"))?;
    }
    Ok(failed == 0)
}

/// Runs with a progress bar on stderr, hidden where that is not a terminal.
fn with_progress<R>(
    hidden: bool,
    title: &str,
    run: impl FnOnce(&mut dyn FnMut(verify::Progress<'_>)) -> R,
) -> R {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(title.to_string());
    let report = run(&mut |p| {
        bar.set_length(p.total as u64);
        bar.set_position(p.done as u64);
        bar.set_message(p.case.to_string());
    });
    bar.finish_and_clear();
    report
}
