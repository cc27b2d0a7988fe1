//! The program `clan` as its users run it: answers on stdout, exit codes, messages on stderr.
#![cfg(feature = "cli")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

fn clan(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clan"));
    command.args(args).env_remove("CLAN_DEVICE").env_remove("RUST_LOG");
    command
}

fn run(args: &[&str]) -> Output {
    clan(args).output().unwrap()
}

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

/// The only thing on stdout, as JSON.
fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", stdout(out)))
}

fn keys(v: &Value) -> BTreeSet<&str> {
    v.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Fails with code 2, says all of `words`, and writes nothing to stdout.
fn refused(out: &Output, words: &[&str]) {
    let err = stderr(out);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(out.stdout.is_empty(), "{}", stdout(out));
    for word in words {
        assert!(err.contains(word), "{word:?} is missing in {err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn help_names_commands_exit_codes_and_examples() {
    let out = run(&["--help"]);
    assert_eq!(out.status.code(), Some(0));
    for word in ["devices", "verify", "bench", "tune", "Exit codes", "CLAN_DEVICE", "CLAN_TUNED"] {
        assert!(stdout(&out).contains(word), "{word}");
    }
    for command in ["devices", "verify", "bench", "tune"] {
        let out = run(&[command, "--help"]);
        assert_eq!(out.status.code(), Some(0));
        assert!(stdout(&out).contains("Examples:"), "{command}");
        assert!(stdout(&out).contains("--json"), "{command}");
    }
    let out = run(&["bench", "group", "--help"]);
    for word in ["Examples:", "--json", "busbw", "2 (p - 1) / p", "all_to_all", "\"host\""] {
        assert!(stdout(&out).contains(word), "{word}");
    }
    refused(&run(&[]), &["Usage"]);
    refused(&run(&["nonsense"]), &["nonsense"]);
    refused(&run(&["devices", "--nonsense"]), &["--nonsense"]);
}

#[test]
fn devices_as_json() {
    let out = run(&["devices", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let v = json(&out);
    assert_eq!(keys(&v), ["default", "devices", "opencl"].into());
    assert_eq!(keys(&v["opencl"]), ["loader", "reason"].into());
    let devices = v["devices"].as_array().unwrap();
    assert!(v["default"].as_u64().unwrap() < devices.len() as u64);
    // Either there are OpenCL devices, or it says why not.
    assert_eq!(devices.len() > 1, v["opencl"]["reason"].is_null(), "{v}");
    for (i, d) in devices.iter().enumerate() {
        assert_eq!(d["index"], i);
        assert_eq!(
            keys(d),
            [
                "index",
                "name",
                "platform",
                "vendor",
                "driver",
                "kind",
                "compute_units",
                "global_bytes",
                "max_alloc_bytes",
                "constant_bytes",
                "local_bytes",
                "max_work_group",
                "fp64",
                "fp16",
            ]
            .into()
        );
        assert!(d["compute_units"].as_u64().unwrap() > 0);
        assert!(d["max_alloc_bytes"].as_u64().unwrap() > 0);
        assert!(d["fp64"].is_boolean() && d["fp16"].is_boolean());
    }
    assert_eq!(devices[0]["kind"], "host");
    assert_eq!(devices.iter().filter(|d| d["kind"] == "host").count(), 1);
}

#[test]
fn devices_as_a_table() {
    let out = clan(&["devices"]).env("CLAN_DEVICE", "host").output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let text = stdout(&out);
    assert!(text.contains("0*") && text.contains("CLAN_DEVICE=host"), "{text}");
}

#[test]
fn unknown_devices_are_refused_with_the_list() {
    for command in ["bench", "verify"] {
        let out = run(&[command, "--device", "no such device"]);
        refused(&out, &["no such device", "0: host"]);
    }
    refused(&run(&["bench", "--device", "4711"]), &["4711", "0: host"]);
    let out = clan(&["devices", "--json"]).env("CLAN_DEVICE", "nonsense").output().unwrap();
    refused(&out, &["CLAN_DEVICE", "nonsense", "0: host"]);
}

#[test]
fn absurd_sizes_are_refused() {
    for size in ["0", "0K", "1X", "", "1.5M", "-5", "99999999999999999999", "17179869184G"] {
        refused(&run(&["bench", "--device", "host", &format!("--size={size}")]), &["--size"]);
    }
    // A size, but more than the device holds.
    let out = run(&["bench", "--device", "host", "--size", "1048576G"]);
    refused(&out, &["--size", "host", "or less"]);
}

#[test]
fn unknown_families_are_refused_with_the_list() {
    let out = run(&["bench", "--device", "host", "--only", "map,nonsense"]);
    refused(&out, &["nonsense", "map", "reduce", "conv2d", "photo", "transpose"]);
    let out = run(&["verify", "--device", "host", "--only", "scan,nonsense"]);
    refused(&out, &["nonsense", "map", "scan", "groupby", "transpose"]);
}

#[test]
fn a_part_of_the_table_is_verified() {
    let out = run(&["verify", "--device", "host", "--only", "select, sum", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let report: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
    let cases = clan::verify::cases();
    let wanted = cases.iter().filter(|case| case.family == "select" || case.op == "sum").count();
    assert!(0 < wanted && wanted < cases.len());
    assert_eq!(report["passed"], wanted);
    assert_eq!(report["failed"], 0);
}

#[test]
fn a_small_bench_as_json() {
    // What a default device would be does not matter when one is named.
    let only = "a*x+y,sum,argmax,sum_axis0,sum_axis1,transpose,conv2d,launch,edges,digits";
    let out = clan(&["bench", "--device", "host", "--size", "4K", "--json", "--only", only])
        .env("CLAN_DEVICE", "nonsense")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let v = json(&out);
    assert_eq!(keys(&v), ["devices", "rows"].into());
    let limits = v["devices"].as_array().unwrap();
    assert_eq!(limits.len(), 1);
    for limit in ["copy_gb_per_s", "fma_gflop_per_s"] {
        assert!(limits[0][limit].as_f64().unwrap() > 0.01, "{limit}");
    }
    let rows = v["rows"].as_array().unwrap();
    for row in rows {
        assert_eq!(
            keys(row),
            [
                "op",
                "dtype",
                "shape",
                "device",
                "median_s",
                "bytes",
                "flops",
                "gb_per_s",
                "gflop_per_s",
                "of_limit",
                "vs_host",
                "ok",
            ]
            .into_iter()
            .chain((row["op"] == "digits").then_some("note"))
            .collect()
        );
        assert_eq!(row["ok"], true, "{row}");
        assert_eq!(row["device"], limits[0]["device"]);
        assert!(row["vs_host"].is_null());
        let (s, bytes) = (row["median_s"].as_f64().unwrap(), row["bytes"].as_f64().unwrap());
        assert!(s > 0.0);
        let rate = row["gb_per_s"].as_f64().unwrap();
        assert!((rate - bytes / s / 1e9).abs() <= 1e-6 * rate, "{row}");
        assert_eq!(row["of_limit"].is_number(), bytes > 0.0);
    }
    let ops: BTreeSet<&str> = rows.iter().map(|r| r["op"].as_str().unwrap()).collect();
    for op in
        ["a*x+y", "sum", "sum_axis0", "sum_axis1", "argmax", "transpose", "conv2d_5x5", "launch"]
    {
        assert!(ops.contains(op), "{op}");
    }
    assert_eq!(ops.len(), rows.len());
    // It ends with the photograph and the digits.
    assert_eq!(rows[rows.len() - 2]["op"], "edges");
    let digits = &rows[rows.len() - 1];
    assert_eq!(digits["op"], "digits");
    assert!(digits["note"].as_str().unwrap().contains("held-out digits right"), "{digits}");
    let sum = rows.iter().find(|r| r["op"] == "sum").unwrap();
    assert_eq!((&sum["shape"][0], &sum["bytes"]), (&Value::from(4096), &Value::from(4 * 4096)));
}

#[test]
fn single_operations_as_a_table() {
    let out = run(&["bench", "--device", "0", "--size", "1", "--only", "sum,create"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let text = stdout(&out);
    for word in ["limits:", "│ sum ", "│ full ", "│ arange "] {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    assert!(!text.contains("transpose") && !text.contains("sum_axis0"), "{text}");
}

#[test]
fn a_group_bench_as_json() {
    let out = run(&[
        "bench",
        "group",
        "--devices",
        "host,0,host",
        "--sizes",
        "12,1K..2000",
        "--json",
        "--ops",
        "all_reduce,broadcast,reduce,all_gather,reduce_scatter,all_to_all,scatter,gather,scan,exclusive_scan,send",
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let v = json(&out);
    assert_eq!(keys(&v), ["devices", "rows"].into());
    assert_eq!(v["devices"].as_array().unwrap().len(), 3);
    let rows = v["rows"].as_array().unwrap();
    let fields =
        ["op", "bytes", "members", "median_s", "algbw", "busbw", "wrong", "schedule", "link"];
    for row in rows {
        assert_eq!(keys(row), fields.into());
        assert_eq!((&row["wrong"], &row["members"]), (&0.into(), &3.into()), "{row}");
        assert_eq!(row["link"], "host", "{row}");
        assert!(!row["schedule"].as_str().unwrap().is_empty());
        let number = |name: &str| row[name].as_f64().unwrap();
        let algbw = number("bytes") / number("median_s") / 1e9;
        assert!(number("median_s") > 0.0);
        assert!((number("algbw") - algbw).abs() <= 1e-6 * algbw, "{row}");
        // For three members.
        let factor = match row["op"].as_str().unwrap() {
            "all_reduce" => 4.0 / 3.0,
            "all_gather" | "reduce_scatter" | "all_to_all" | "scatter" | "gather" => 2.0 / 3.0,
            _ => 1.0,
        };
        assert!((number("busbw") - factor * algbw).abs() <= 1e-6 * algbw, "{row}");
    }
    let rows: Vec<_> = rows.iter().map(|r| (r["op"].as_str().unwrap(), &r["bytes"])).collect();
    assert_eq!(rows.len(), 11 * 3);
    let first: Vec<_> = rows[..3].iter().map(|(_, bytes)| bytes.as_u64().unwrap()).collect();
    // 2000 ends the range though no step leads there.
    assert_eq!(first, [12, 1024, 2000]);
    assert_eq!((rows[0].0, rows[32].0), ("all_reduce", "send"));
}

#[test]
fn a_group_bench_as_a_table() {
    let out =
        run(&["bench", "group", "--devices", "host", "--sizes", "1K", "--ops", "broadcast,reduce"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let text = stdout(&out);
    for word in
        ["member 0: host", "algbw", "busbw", "wrong", "1 KiB", " 256 ", " none ", "broadcast"]
    {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    assert!(!text.contains("all_reduce"), "{text}");
}

#[test]
fn group_benches_that_make_no_sense_are_refused() {
    let group = |args: &[&str]| run(&[&["bench", "group"], args].concat());
    let ops = group(&["--devices", "host", "--ops", "reduce,sum"]);
    refused(&ops, &["--ops sum", "all_reduce", "exclusive_scan", "send"]);
    refused(&group(&["--devices", "host,no such device"]), &["no such device", "0: host"]);
    for sizes in ["0", "3", "", "1X", "1M..1K", "1K..", "..", "-5", "1K;2K", "17179869184G"] {
        refused(&group(&["--devices", "host", &format!("--sizes={sizes}")]), &["--sizes"]);
    }
    let large = group(&["--devices", "host,host", "--sizes", "1K..1048576G"]);
    refused(&large, &["--sizes", "host", "or less"]);
    // What one device is measured with does not go with a group.
    refused(&run(&["bench", "--size", "4K", "group"]), &["--size", "group"]);
}

#[test]
fn tuning_keeps_what_it_finds() {
    refused(&run(&["tune", "--device", "host"]), &["host", "--device"]);
    refused(&run(&["tune", "--device", "nonsense"]), &["nonsense"]);
    refused(&run(&["tune", "--budget", "soon"]), &["soon", "90s"]);
    refused(&run(&["tune", "--budget", "5y"]), &["\"y\"", "s, m or h"]);
    let devices = json(&run(&["devices", "--json"]));
    let Some(device) = devices["devices"].as_array().unwrap().iter().find(|d| d["kind"] != "host")
    else {
        println!("skipped: no OpenCL device");
        return;
    };
    let device = device["index"].to_string();
    refused(&run(&["tune", "--device", &device, "--only", "sums"]), &["sums", "reduce", "matmul"]);
    let folder = std::env::temp_dir().join(format!("clan-tune-{}", std::process::id()));
    let tune = |cache: Option<&str>| {
        let mut command = clan(&["tune", "--device", &device, "--budget", "1s", "--json"]);
        command.args(["--only", "map_strided"]).env("CLAN_CACHE_DIR", &folder);
        command.env_remove("CLAN_TUNED").env_remove("CLAN_CACHE");
        cache.map(|c| command.env("CLAN_CACHE", c));
        command.output().unwrap()
    };
    refused(&tune(Some("off")), &["CLAN_CACHE=off", "keep"]);
    let out = tune(None);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let v = json(&out);
    assert_eq!(keys(&v), ["device", "store", "rows"].into());
    let rows = v["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{v}");
    let fields =
        ["kernel", "dtype", "call", "unit", "before", "after", "point", "tried", "refused"];
    assert_eq!(keys(&rows[0]), fields.into());
    assert_eq!((&rows[0]["kernel"], &rows[0]["dtype"]), (&"map_strided".into(), &"f32".into()));
    let speed = |name: &str| rows[0][name].as_f64().unwrap();
    assert!(speed("before") > 0.0 && speed("after") >= speed("before"), "{v}");
    assert_eq!(rows[0]["point"].is_null(), speed("after") == speed("before"), "{v}");
    assert_eq!(rows[0]["refused"], 0, "{v}");
    let store = v["store"].as_str().unwrap();
    // A store that somebody edited is told and replaced.
    std::fs::write(store, "nonsense").unwrap();
    let out = tune(None);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(stderr(&out).contains("clan tune"), "{}", stderr(&out));
    assert!(std::fs::read_to_string(store).unwrap().contains("\nsum\t"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_closed_pipe_is_no_panic() {
    for args in [&["devices"][..], &["devices", "--json"], &["bench", "--help"]] {
        let mut child = clan(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert!(!stderr(&out).contains("panicked"), "{}", stderr(&out));
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", stderr(&out));
    }
}
