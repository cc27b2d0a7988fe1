//! A process looks for OpenCL once, so each test that wants it its own way runs itself again as a
//! child with another environment.
#![allow(dead_code, reason = "each test file uses some of these")]

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const CHILD: &str = "CLAN_LOADER_TEST_CHILD";

/// True in a child made by [`run_child`]. The child's test does nothing otherwise: it is only
/// there when somebody runs the ignored tests.
pub fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs the ignored test `name` of this file in a process of its own, and gives its time.
pub fn run_child(name: &str, environment: &[(&str, &str)]) -> Duration {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_remove("CLAN_OPENCL_LIBRARY").env(CHILD, "1").envs(environment.iter().copied());
    let start = Instant::now();
    let output = command.output().unwrap();
    let time = start.elapsed();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {environment:?}: {}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "{name} did not run:\n{out}\n{err}");
    time
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
