//! What all commands share: failures, choosing devices, writing that survives a closed pipe.

use clan::{Device, DeviceKind, ErrorKind};
use comfy_table::{ContentArrangement, Table, presets};
use std::fmt;
use std::io::{ErrorKind as Io, Write, stderr, stdout};

/// Why a command ended early.
pub enum Failure {
    /// The command line asks for something that does not exist. Exit code 2.
    Usage(String),
    /// Exit code 1.
    Failed(String),
    /// The reader of stdout has gone.
    Gone,
}

/// `true` when everything that was checked was right.
pub type Outcome = Result<bool, Failure>;

impl From<clan::Error> for Failure {
    fn from(e: clan::Error) -> Failure {
        match e.kind() {
            ErrorKind::NoDevice | ErrorKind::Config => Failure::Usage(e.to_string()),
            _ => Failure::Failed(e.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Failure {
        match e.kind() {
            Io::BrokenPipe => Failure::Gone,
            _ => Failure::Failed(format!("stdout: {e}")),
        }
    }
}

/// Writes a line to stdout at once.
pub fn line(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Writes a line to stderr; nobody may be listening.
pub fn note(text: impl fmt::Display) {
    let _ = writeln!(stderr(), "{text}");
}

/// The device of `--device`, or all of them.
pub fn chosen(device: Option<&str>) -> Result<Vec<Device>, Failure> {
    Ok(match device {
        Some(name) => vec![Device::select(name)?],
        None => Device::all(),
    })
}

/// The device as tables and JSON call it: several devices may have one name, so those carry their
/// position too.
pub fn title(device: &Device) -> String {
    let name = device.to_string();
    // There is one host, and it needs no look at the others.
    if device.is_host() {
        return name;
    }
    match Device::all().iter().filter(|d| d.to_string() == name).count() {
        0 | 1 => name,
        _ => format!("{name} #{}", device.index()),
    }
}

/// True for processors with memory of their own and many more work-items than a CPU has.
pub fn is_large(device: &Device) -> bool {
    matches!(device.kind(), DeviceKind::Gpu | DeviceKind::Accelerator)
}

/// An empty table in the program's style.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// A number of bytes with a binary unit.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A duration in seconds with a unit.
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s if s < 1.0 => format!("{:.3} ms", s * 1e3),
        s => format!("{s:.3} s"),
    }
}

fn scaled(mut n: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while n >= step && unit + 1 < units.len() {
        n /= step;
        unit += 1;
    }
    match n {
        n if n.fract() == 0.0 || n >= 100.0 => format!("{n:.0} {}", units[unit]),
        n => format!("{n:.1} {}", units[unit]),
    }
}

/// Three significant digits, more before the point.
pub fn number(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    }
}
