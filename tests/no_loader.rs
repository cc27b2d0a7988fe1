//! The crate starts and computes where OpenCL is missing, and says in words what is missing.
#![cfg_attr(not(feature = "opencl"), allow(dead_code, unused_imports))]

mod support;

use clan::{Device, DeviceArray, ErrorKind};
use std::ffi::OsStr;
use std::time::Instant;
use support::{Directory, is_child, run_child};

/// Lists the devices, computes on the chosen one, and gives the reason why it is the host.
fn computes_on_the_host() -> String {
    let start = Instant::now();
    let devices = Device::all();
    println!("devices listed after {:?}", start.elapsed());
    assert_eq!(devices, [Device::host()]);
    let choice = Device::choose().unwrap();
    assert!(choice.device.is_host());
    let x = DeviceArray::<f32>::arange(&choice.device, 0.0, 1000.0, 1.0).unwrap();
    let y = (&x * 2.0 + 1.0).eval().unwrap().to_vec().unwrap();
    assert!(y.iter().enumerate().all(|(i, &v)| v == 2.0 * i as f32 + 1.0));
    assert_eq!(x.sum().unwrap().item().unwrap(), 499_500.0);
    let reason = Device::opencl_status().reason.expect("a reason for no devices");
    assert!(choice.reason.contains(&reason), "{}", choice.reason);
    println!("first result after {:?}", start.elapsed());

    // Errors say it as well.
    let error = Device::select("gpu").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoDevice);
    assert!(error.to_string().contains(&reason), "{error}");
    reason
}

fn shown(name: &str, environment: &[(&str, &OsStr)]) {
    let done = run_child(name, environment);
    for line in done.out.lines().filter(|l| l.contains(" after ") || l.starts_with("reason")) {
        println!("{line}");
    }
    println!("the whole process took {:?}", done.time);
}

#[test]
#[cfg(feature = "loader")]
fn no_loader() {
    shown("child_no_loader", &[("CLAN_OPENCL_LIBRARY", OsStr::new("/nonexistent"))]);
}

#[test]
#[ignore = "run by no_loader in its own process"]
fn child_no_loader() {
    if !is_child() {
        return;
    }
    let reason = computes_on_the_host();
    println!("reason: {reason}");
    assert_eq!(Device::opencl_status().loader, None);
    for word in ["no OpenCL library", "/nonexistent", "CLAN_OPENCL_LIBRARY"] {
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
#[cfg(all(feature = "opencl", target_os = "linux"))]
fn loader_without_drivers() {
    let empty = Directory::new();
    let environment =
        [("OCL_ICD_VENDORS", empty.0.as_os_str()), ("OCL_ICD_FILENAMES", OsStr::new(""))];
    shown("child_without_drivers", &environment);
}

#[test]
#[ignore = "run by loader_without_drivers in its own process"]
fn child_without_drivers() {
    if !is_child() {
        return;
    }
    let reason = computes_on_the_host();
    if Device::opencl_status().loader.is_none() {
        return support::skip(reason);
    }
    println!("reason: {reason}");
    assert!(reason.contains("no ICD") && reason.contains("install"), "{reason}");
}

/// Mesa's rusticl has no devices until it is told which to show.
#[test]
#[cfg(all(feature = "opencl", target_os = "linux"))]
fn drivers_without_devices() {
    let Ok(icd) = std::fs::read("/etc/OpenCL/vendors/rusticl.icd") else {
        return support::skip("rusticl, a driver that can be without devices, is not installed");
    };
    let vendors = Directory::new();
    std::fs::write(vendors.0.join("rusticl.icd"), icd).unwrap();
    let environment = [
        ("OCL_ICD_VENDORS", vendors.0.as_os_str()),
        ("OCL_ICD_FILENAMES", OsStr::new("")),
        ("RUSTICL_ENABLE", OsStr::new("")),
    ];
    shown("child_without_devices", &environment);
}

#[test]
#[ignore = "run by drivers_without_devices in its own process"]
fn child_without_devices() {
    if !is_child() {
        return;
    }
    let reason = computes_on_the_host();
    if Device::opencl_status().loader.is_none() {
        return support::skip(reason);
    }
    println!("reason: {reason}");
    assert!(reason.contains("rusticl") && reason.contains("no usable device"), "{reason}");
    assert!(reason.contains("RUSTICL_ENABLE"), "{reason}");
}

#[test]
#[cfg(not(feature = "opencl"))]
fn built_without_opencl() {
    let reason = computes_on_the_host();
    assert!(reason.contains("feature `opencl`"), "{reason}");
}
