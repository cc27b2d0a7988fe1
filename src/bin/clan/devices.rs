//! `clan devices`: what this machine can compute on.

use crate::output::{self, Outcome};
use clan::Device;
use serde_json::json;

/// List the devices of this machine and which one programs use by default.
///
/// The host is a device too, of kind "host": this process's CPU without OpenCL.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  clan devices
  clan devices --json | jq '.devices[].name'
  CLAN_DEVICE=host clan devices

Exits with 2 when CLAN_DEVICE names no device.")]
pub struct Args {
    /// Write one JSON object to stdout.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let choice = Device::choose()?;
    let devices = Device::all();
    let status = Device::opencl_status();
    if args.json {
        let list: Vec<_> = devices
            .iter()
            .map(|d| {
                let (info, memory) = (d.info(), d.memory());
                json!({
                    "index": d.index(),
                    "name": info.name,
                    "platform": info.platform,
                    "vendor": info.vendor,
                    "driver": info.driver,
                    "kind": info.kind.name(),
                    "compute_units": info.compute_units,
                    "global_bytes": memory.global_bytes,
                    "max_alloc_bytes": memory.max_alloc_bytes,
                    "constant_bytes": memory.constant_bytes,
                    "local_bytes": memory.local_bytes,
                    "max_work_group": info.max_work_group,
                    "fp64": info.fp64,
                    "fp16": info.fp16,
                })
            })
            .collect();
        output::line(json!({
            "default": choice.device.index(),
            "opencl": {
                "loader": status.loader.map(|p| p.display().to_string()),
                "reason": status.reason,
            },
            "devices": list,
        }))?;
        return Ok(true);
    }
    let mut table = output::table(&[
        "", "device", "platform", "kind", "units", "global", "largest", "constant", "local",
        "group", "fp64", "fp16", "driver",
    ]);
    for d in &devices {
        let (info, memory) = (d.info(), d.memory());
        let size = |n: u64| match n {
            0 => "–".to_string(),
            n if n >= isize::MAX as u64 => "any".to_string(),
            n => output::bytes(n),
        };
        let default = if *d == choice.device { "*" } else { "" };
        table.add_row([
            format!("{}{default}", d.index()),
            info.name.clone(),
            info.platform.clone(),
            info.kind.to_string(),
            info.compute_units.to_string(),
            size(memory.global_bytes),
            size(memory.max_alloc_bytes),
            size(memory.constant_bytes),
            size(memory.local_bytes),
            info.max_work_group.to_string(),
            (if info.fp64 { "yes" } else { "no" }).to_string(),
            (if info.fp16 { "yes" } else { "no" }).to_string(),
            info.driver.clone(),
        ]);
    }
    output::line(table)?;
    output::line(format_args!("* default: {} ({})", choice.device, choice.reason))?;
    match (&status.loader, &status.reason) {
        (Some(path), None) => output::line(format_args!("OpenCL: {}", path.display()))?,
        (Some(path), Some(why)) => {
            output::line(format_args!("OpenCL: {}: {why}", path.display()))?;
        }
        (None, Some(why)) => output::line(format_args!("OpenCL: none: {why}"))?,
        (None, None) => output::line("OpenCL: linked into the program")?,
    }
    Ok(true)
}
