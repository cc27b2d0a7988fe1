//! Tuned points on disk: a file a device, lines of text with a checksum at the end, replaced whole.
//!
//! A line holds everything that the validity of its point depends on: kernel, hash of the kernel's
//! text, element type, class of calls, driver. Lines of a kernel whose text has changed are void;
//! those of another driver are checked before they are used (see `table`). A file whose checksum is
//! not right was cut short or edited and is not believed at all.

use super::space::{Class, Space, Values};
use super::table::{Key, space_named};
use crate::element::DType;
use crate::error::Result;
use crate::opencl::ClDevice;
use crate::opencl::program::{fnv, replace};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;

const HEAD: &str = "clan tuned points 1";

/// A point with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub values: Values,
    /// The driver under which the point was last found right.
    pub driver: String,
    /// In terms of the space's model; without one, time compared with the default.
    pub cost: f64,
    /// What was measured, in `unit` a second.
    pub before: f64,
    pub after: f64,
    pub unit: String,
}

/// Whether a device can run a kernel with a point.
pub(super) type Fits<'a> = &'a dyn Fn(&Space, DType, &[u32]) -> bool;

#[derive(Clone)]
pub(crate) struct Store {
    pub path: PathBuf,
    /// The device, as the file names it.
    device: String,
}

impl Store {
    /// Where the device's points are kept; `None` when nothing is kept on disk.
    pub fn of(cl: &ClDevice) -> Result<Option<Store>> {
        if !crate::env::tuned()? {
            return Ok(None);
        }
        let Some(dir) = crate::env::cache_dir()? else { return Ok(None) };
        let kind = cl.launch_kind.name();
        let device = clean(&format!("{}, {}, {kind}", cl.info.platform, cl.info.name));
        let name = format!("tuned-{:016x}.txt", fnv(device.as_bytes(), 0));
        Ok(Some(Store { path: dir.join(name), device }))
    }

    #[cfg(test)]
    pub fn at(path: PathBuf) -> Store {
        Store { path, device: "a device".into() }
    }

    /// The entries that can be valid, of points that `fits` accepts; none when there is no file.
    /// `Err` says why the file is not believed.
    pub fn read(&self, fits: Fits<'_>) -> std::result::Result<HashMap<Key, Entry>, String> {
        let text = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
            Err(e) => return Err(format!("{}: {e}", self.path.display())),
        };
        let text = String::from_utf8(text).unwrap_or_default();
        let unsound = || {
            format!(
                "{} was cut short or edited; `clan tune` writes it anew, or delete it",
                self.path.display()
            )
        };
        let body = text.strip_suffix('\n').and_then(|t| t.rsplit_once('\n')).ok_or_else(unsound)?;
        if body.1 != format!("sum\t{:016x}", fnv(body.0.as_bytes(), 0)) {
            return Err(unsound());
        }
        let mut lines = body.0.lines();
        if lines.next() != Some(HEAD) || lines.next() != Some(&format!("device\t{}", self.device)) {
            return Err(format!(
                "{} is of another version of clan or another device; `clan tune` writes it anew",
                self.path.display()
            ));
        }
        Ok(lines.filter_map(|line| entry(fits, line)).collect())
    }

    /// Replaces the file: readers see the old one or the new one.
    pub fn write(&self, entries: &HashMap<Key, Entry>) -> std::io::Result<()> {
        let mut lines: Vec<String> = entries.iter().filter_map(|(k, e)| line(k, e)).collect();
        lines.sort();
        let mut text = format!("{HEAD}\ndevice\t{}\n", self.device);
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        let body = text.trim_end_matches('\n');
        let text = format!("{body}\nsum\t{:016x}\n", fnv(body.as_bytes(), 0));
        replace(&self.path, text.as_bytes())
    }
}

/// Without what separates fields and lines.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn line(&(name, dtype, Class(class)): &Key, e: &Entry) -> Option<String> {
    let space = space_named(name)?;
    let source = fnv(space.source.as_bytes(), 0);
    Some(format!(
        "{name}\t{dtype}\t{class}\t{source:016x}\t{}\t{}\t{:.4}\t{:.4}\t{:.4}\t{}",
        clean(&e.driver),
        space.write(&e.values),
        e.cost,
        e.before,
        e.after,
        e.unit,
    ))
}

/// One line; `None` when it is of an older kernel, or names what the device cannot run.
fn entry(fits: Fits<'_>, line: &str) -> Option<(Key, Entry)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let &[name, dtype, class, source, driver, values, cost, before, after, unit] =
        fields.as_slice()
    else {
        return None;
    };
    let space = space_named(name)?;
    let dtype = DType::ALL.into_iter().find(|d| d.name() == dtype)?;
    if u64::from_str_radix(source, 16).ok()? != fnv(space.source.as_bytes(), 0) {
        return None;
    }
    let values = space.read(values)?;
    let number = |text: &str| text.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0);
    let known = space.parameters.iter().zip(&values).all(|(p, v)| p.values.contains(v));
    let entry = Entry {
        driver: driver.to_string(),
        cost: number(cost).filter(|&x| x > 0.0)?,
        before: number(before)?,
        after: number(after)?,
        unit: unit.to_string(),
        values,
    };
    (known && fits(space, dtype, &entry.values))
        .then_some(((space.name, dtype, Class(class.parse().ok()?)), entry))
}

#[cfg(test)]
mod tests;
