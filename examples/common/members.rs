//! The members of the groups that examples run on.

#![allow(dead_code, reason = "not every example uses all of it")]

use clan::{Device, DeviceKind, Group};
use std::error::Error;

/// The devices of `--devices NAME,NAME,…`, when it is given; one device may come several times.
pub fn asked() -> Result<Option<Vec<Device>>, Box<dyn Error>> {
    let mut devices = None;
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name != "--devices" {
            return Err(format!("{name}: there is --devices NAME,NAME,…").into());
        }
        let names = args.next().ok_or("--devices needs names, as in --devices host,host,gpu")?;
        devices = Some(names.split(',').map(Device::select).collect::<Result<_, _>>()?);
    }
    Ok(devices)
}

/// The group of `--devices`; without it all GPUs if there are several, else the best device three
/// times.
pub fn group() -> Result<Group, Box<dyn Error>> {
    if let Some(devices) = asked()? {
        return Ok(Group::new(devices)?);
    }
    let mut devices = Device::all();
    devices.retain(|d| d.kind() == DeviceKind::Gpu);
    if devices.len() < 2 {
        devices = vec![Device::best()?; 3];
    }
    Ok(Group::new(devices)?)
}

/// One line a member.
pub fn print(group: &Group) {
    for (m, device) in group.members().iter().enumerate() {
        println!("member {m}: {device}");
    }
}
