//! What the robustness tests share: children with an environment of their own (a process looks for
//! OpenCL and reads its settings once), and what to do without OpenCL.
#![allow(dead_code, reason = "each test file uses some of these")]

use clan::Device;
use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CHILD: &str = "CLAN_TEST_CHILD";

/// True in a child made by [`run_child`]. The child's test does nothing otherwise: it is only there
/// when somebody runs the ignored tests.
pub fn is_child() -> bool {
    let child = env::var_os(CHILD).is_some();
    if child {
        // The test harness has begun a line.
        println!();
    }
    child
}

/// What a child printed, and how long it lived.
pub struct Done {
    pub out: String,
    pub time: Duration,
}

impl Done {
    /// The numbers in lines that start with `label`.
    pub fn numbers(&self, label: &str) -> Vec<usize> {
        let lines = self.out.lines().filter_map(|l| l.strip_prefix(label));
        lines.flat_map(|l| l.split_whitespace()).filter_map(|n| n.parse().ok()).collect()
    }
}

/// Runs the ignored test `name` of this file in a process of its own, without the `CLAN_*` settings
/// of this one. Fails when the child does.
pub fn run_child(name: &str, environment: &[(&str, &OsStr)]) -> Done {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    let settings =
        ["CLAN_OPENCL_LIBRARY", "CLAN_DEVICE", "CLAN_CACHE", "CLAN_CACHE_DIR", "CLAN_ASSUME_KIND"];
    for variable in settings {
        command.env_remove(variable);
    }
    command.env(CHILD, "1").envs(environment.iter().copied());
    let start = Instant::now();
    let output = command.output().unwrap();
    let time = start.elapsed();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {environment:?}: {}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "{name} did not run:\n{out}\n{err}");
    for line in out.lines().filter(|l| l.starts_with("skipped")) {
        println!("{line}");
    }
    Done { out, time }
}

/// An empty directory, removed with what is in it at the end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Directory {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("clan-test-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// The files in it, in the order of their names.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A library that Cargo built from an example of this package.
pub fn example(name: &str) -> PathBuf {
    // target/debug/deps/test-0123 → target/debug/examples
    let test = env::current_exe().unwrap();
    let file = format!("{}{name}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(file);
    assert!(
        path.exists(),
        "{} is missing: a whole `cargo test` builds it, before `cargo test --test …` use `cargo build --examples`",
        path.display()
    );
    path
}

/// Says that there is nothing to test with, or fails where that is not accepted.
pub fn skip(why: impl std::fmt::Display) {
    let required = env::var("CLAN_TEST_REQUIRE").is_ok_and(|list| list.contains("opencl"));
    assert!(!required, "CLAN_TEST_REQUIRE=opencl, but {why}");
    println!("skipped: {why}");
}

/// The OpenCL devices, or none after a word about it.
pub fn opencl_devices() -> Vec<Device> {
    let devices: Vec<Device> = Device::all().into_iter().filter(|d| !d.is_host()).collect();
    if devices.is_empty() {
        skip(Device::opencl_status().reason.unwrap_or_default());
    }
    devices
}
