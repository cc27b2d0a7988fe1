//! Listing and choosing devices: from many threads at once, and by what `CLAN_DEVICE` says.

mod support;

use clan::{Device, ErrorKind};
use std::ffi::OsStr;
use std::sync::Barrier;
use support::{is_child, run_child};

#[test]
fn sixteen_threads_get_the_same_list() {
    run_child("child_sixteen_threads", &[]);
}

#[test]
#[ignore = "run by sixteen_threads_get_the_same_list in its own process"]
fn child_sixteen_threads() {
    if !is_child() {
        return;
    }
    let start = Barrier::new(16);
    let lists: Vec<Vec<Device>> = std::thread::scope(|scope| {
        let list = |k: usize| {
            let start = &start;
            move || {
                start.wait();
                // Not all through the same door.
                match k % 4 {
                    0 => drop(Device::best()),
                    1 => drop(Device::select("gpu")),
                    2 => drop(Device::opencl_status()),
                    _ => {}
                }
                Device::all()
            }
        };
        let threads: Vec<_> = (0..16).map(|k| scope.spawn(list(k))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(lists[0][0], Device::host());
    assert!(lists.iter().all(|l| *l == lists[0]), "{lists:?}");
    if support::opencl_devices().is_empty() {
        assert!(Device::opencl_status().reason.is_some());
    } else {
        assert_eq!(Device::opencl_status().reason, None);
    }
}

#[test]
fn select_finds_what_it_lists() {
    let devices = Device::all();
    for (i, d) in devices.iter().enumerate() {
        assert_eq!(d.index(), i);
        assert_eq!(Device::select(i).unwrap(), *d);
        assert_eq!(Device::select(i.to_string().as_str()).unwrap(), *d);
        let found = Device::select(d.kind().name()).unwrap();
        assert_eq!(found.kind(), d.kind());
    }
    let pocl: Vec<&Device> =
        devices.iter().filter(|d| d.info().platform == "Portable Computing Language").collect();
    for (i, d) in pocl.iter().enumerate() {
        assert_eq!(Device::select(format!("pocl:{i}").as_str()).unwrap(), **d);
        assert_eq!(Device::select(format!("POCL:{i}").as_str()).unwrap(), **d);
    }
    let beyond = format!("pocl:{}", pocl.len());
    for name in
        ["", " ", ":", ":0", "host:1", "no such device", "-1", "99999999999999999999", &beyond]
    {
        let error = Device::select(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoDevice, "{name:?}");
        // The way out: what there is.
        assert!(error.to_string().contains("0: host"), "{error}");
    }
    let error = Device::select(devices.len()).unwrap_err();
    assert!(error.is_no_device() && error.to_string().contains("0: host"), "{error}");
}

#[test]
fn capabilities_are_plausible() {
    for d in Device::all() {
        let info = d.info();
        assert!(!info.name.is_empty() && !info.platform.is_empty(), "{info:?}");
        assert!(info.compute_units > 0 && info.max_work_group > 0, "{info:?}");
        assert!(info.argument_bytes >= 1024, "{info:?}");
        let memory = d.memory();
        assert!(memory.max_alloc_bytes > 0 && memory.global_bytes > 0, "{info:?}");
        if !d.is_host() {
            assert!(memory.max_alloc_bytes <= memory.global_bytes, "{info:?}");
            // OpenCL promises no less to a device of the full profile.
            assert!(
                memory.constant_bytes >= 64 << 10 && memory.local_bytes >= 32 << 10,
                "{info:?}"
            );
        }
    }
}

#[test]
fn clan_device_decides() {
    for (value, child) in [
        ("host", "child_host"),
        (" ", "child_unset"),
        ("no such device", "child_unknown"),
        ("4096", "child_unknown"),
    ] {
        run_child(child, &[("CLAN_DEVICE", OsStr::new(value))]);
    }
}

#[test]
#[cfg(unix)]
fn clan_device_in_no_encoding() {
    use std::os::unix::ffi::OsStrExt;
    run_child("child_no_encoding", &[("CLAN_DEVICE", OsStr::from_bytes(b"gp\xff"))]);
}

#[test]
#[ignore = "run by clan_device_decides in its own process"]
fn child_host() {
    if is_child() {
        let choice = Device::choose().unwrap();
        assert!(choice.device.is_host());
        assert_eq!(choice.reason, "CLAN_DEVICE=host");
    }
}

#[test]
#[ignore = "run by clan_device_decides in its own process"]
fn child_unset() {
    if is_child() {
        assert!(!Device::choose().unwrap().reason.contains("CLAN_DEVICE"));
    }
}

#[test]
#[ignore = "run by clan_device_decides in its own process"]
fn child_unknown() {
    if is_child() {
        for error in [Device::best().unwrap_err(), Device::choose().unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::NoDevice);
            assert_eq!(error.op(), "CLAN_DEVICE");
            assert!(error.to_string().contains("0: host"), "{error}");
        }
        // What names its device does not care.
        let x = clan::DeviceArray::<i32>::ones(&Device::host(), 3).unwrap();
        assert_eq!(x.to_vec().unwrap(), [1, 1, 1]);
    }
}

#[test]
#[ignore = "run by clan_device_in_no_encoding in its own process"]
fn child_no_encoding() {
    if is_child() {
        let error = Device::best().unwrap_err();
        assert_eq!((error.kind(), error.op()), (ErrorKind::Config, "CLAN_DEVICE"));
    }
}
