//! Compiled kernels on disk: a second process compiles nothing, and whatever happened to the files
//! costs time at most.
#![cfg(feature = "opencl")]

mod support;

use clan::{Device, DeviceArray, ErrorKind};
use std::ffi::OsStr;
use std::time::Instant;
use support::{Directory, Done, is_child, run_child};

fn run(directory: &Directory) -> Done {
    run_child("child_computes", &[("CLAN_CACHE_DIR", directory.0.as_os_str())])
}

/// Computes on every device, and prints how many programs it compiled for that.
#[test]
#[ignore = "run by the others in its own process"]
fn child_computes() {
    if is_child() {
        compute();
    }
}

fn compute() {
    let start = Instant::now();
    let mut first = true;
    for device in support::opencl_devices() {
        let device = &device;
        let x = DeviceArray::<i32>::from_slice(device, &[1, 2, 3, 4, 5]).unwrap();
        let y = (&x * 3 - 1).eval().unwrap();
        assert_eq!(y.to_vec().unwrap(), [2, 5, 8, 11, 14]);
        if std::mem::take(&mut first) {
            println!("first result after {:?}", start.elapsed());
        }
        assert_eq!(y.sum().unwrap().item().unwrap(), 40);
        println!("compiles {}", device.compiles());
        println!("devices 1");
    }
}

/// One device of each kind compiles; those that are alike share its programs.
fn compiles(done: &Done) -> usize {
    done.numbers("compiles").iter().sum()
}

#[test]
fn a_second_process_compiles_nothing() {
    let directory = Directory::new();
    let first = run(&directory);
    if first.numbers("devices").is_empty() {
        return;
    }
    let programs = directory.files().len();
    assert!(compiles(&first) >= 2, "{}", first.out);
    assert_eq!(compiles(&first), programs, "{}", first.out);
    let second = run(&directory);
    assert_eq!(compiles(&second), 0, "{}", second.out);
    for (name, done) in [("first", &first), ("second", &second)] {
        let line = done.out.lines().find(|l| l.starts_with("first result")).unwrap_or_default();
        println!("{name} process: {line}, {:?} in all", done.time);
    }

    // The same with one driver alone: the others' share of the start is not ours to shorten.
    if let Ok(icd) = std::fs::read("/etc/OpenCL/vendors/pocl.icd") {
        let vendors = Directory::new();
        std::fs::write(vendors.0.join("pocl.icd"), icd).unwrap();
        let environment = [
            ("CLAN_CACHE_DIR", directory.0.as_os_str()),
            ("OCL_ICD_VENDORS", vendors.0.as_os_str()),
        ];
        let done = run_child("child_computes", &environment);
        assert_eq!(compiles(&done), 0, "{}", done.out);
        let line = done.out.lines().find(|l| l.starts_with("first result")).unwrap_or_default();
        println!("PoCL alone: {line}, {:?} in all", done.time);
    }

    // Files that are cut short, made by somebody else, or each other's are no files.
    for (n, file) in directory.files().iter().enumerate() {
        let whole = std::fs::read(file).unwrap();
        match n % 3 {
            0 => std::fs::write(file, &whole[..whole.len() / 2]).unwrap(),
            1 => std::fs::write(file, b"something else entirely").unwrap(),
            _ => std::fs::write(file, b"").unwrap(),
        }
    }
    let third = run(&directory);
    assert_eq!(compiles(&third), programs, "{}", third.out);
    assert_eq!(directory.files().len(), programs, "they are replaced");
    let names = directory.files();
    let contents: Vec<_> = names.iter().map(|f| std::fs::read(f).unwrap()).collect();
    for (name, content) in names.iter().zip(contents.iter().cycle().skip(1)) {
        std::fs::write(name, content).unwrap();
    }
    assert_eq!(compiles(&run(&directory)), programs);
    assert_eq!(compiles(&run(&directory)), 0);
}

#[test]
fn off_leaves_no_trace() {
    let directory = Directory::new();
    let environment =
        [("CLAN_CACHE", OsStr::new("off")), ("CLAN_CACHE_DIR", directory.0.as_os_str())];
    let done = run_child("child_computes", &environment);
    assert!(directory.files().is_empty());
    assert!(done.numbers("devices").is_empty() || compiles(&done) >= 2, "{}", done.out);
}

/// A place that cannot be written, also by root: below a file.
#[test]
fn unwritable_places_cost_time_only() {
    let directory = Directory::new();
    let file = directory.0.join("file");
    std::fs::write(&file, b"").unwrap();
    let done = run_child("child_computes", &[("CLAN_CACHE_DIR", file.join("sub").as_os_str())]);
    assert!(done.numbers("devices").is_empty() || compiles(&done) >= 2, "{}", done.out);
}

#[test]
fn absurd_settings_are_errors() {
    let mut cases = vec![
        ("CLAN_CACHE", OsStr::new("maybe")),
        ("CLAN_CACHE_DIR", OsStr::new("not/absolute")),
        ("CLAN_ASSUME_KIND", OsStr::new("tpu")),
    ];
    if cfg!(unix) {
        // SAFETY: no bytes are absurd to a `OsStr` of Unix; elsewhere the case is left out.
        cases.push(("CLAN_CACHE", unsafe { OsStr::from_encoded_bytes_unchecked(b"\xff") }));
    }
    for (variable, value) in cases {
        run_child("child_refuses", &[(variable, value), ("VARIABLE", OsStr::new(variable))]);
    }
}

#[test]
#[ignore = "run by absurd_settings_are_errors in its own process"]
fn child_refuses() {
    if !is_child() {
        return;
    }
    let variable = std::env::var("VARIABLE").unwrap();
    for device in support::opencl_devices() {
        for _ in 0..2 {
            let error = DeviceArray::<i32>::ones(&device, 3).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert_eq!(error.op(), variable);
            assert!(error.to_string().contains("unset"), "{error}");
        }
        assert_eq!(device.usage(), Default::default());
    }
    // The host compiles nothing, so it does not read them.
    assert_eq!(DeviceArray::<i32>::ones(&Device::host(), 3).unwrap().to_vec().unwrap(), [1, 1, 1]);
}

/// Set to nothing is as good as not set.
#[test]
fn empty_settings_are_none() {
    let home = Directory::new();
    let environment = [
        ("CLAN_CACHE", OsStr::new("")),
        ("CLAN_CACHE_DIR", OsStr::new("")),
        ("CLAN_ASSUME_KIND", OsStr::new("")),
        ("XDG_CACHE_HOME", home.0.as_os_str()),
        ("HOME", home.0.as_os_str()),
    ];
    run_child("child_computes", &environment);
}
