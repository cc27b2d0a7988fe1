//! What this machine can compute on, and one sum computed by each device.
//!
//! `cargo run --release --example 01_devices`

use clan::{Device, DeviceArray};

fn main() -> clan::Result<()> {
    let choice = Device::choose()?;
    for device in Device::all() {
        let (info, memory) = (device.info(), device.memory());
        println!("{}: {device}", device.index());
        println!("   kind      {}, {} compute units", info.kind, info.compute_units);
        println!("   driver    {} ({})", info.driver, info.vendor);
        println!("   global    {}", size(memory.global_bytes));
        println!("   largest   {}", size(memory.max_alloc_bytes));
        println!("   constant  {}", size(memory.constant_bytes));
        println!(
            "   local     {}{}",
            size(memory.local_bytes),
            if memory.local_dedicated { ", memory of its own" } else { "" }
        );
        println!("   f64       {}", if info.fp64 { "yes" } else { "no" });

        let numbers = DeviceArray::<i32>::arange(&device, 1, 1_000_001, 1)?;
        println!("   1 + 2 + … + 1,000,000 = {}", numbers.sum()?.item()?);
    }
    println!("default: {} ({})", choice.device, choice.reason);
    if let Some(why) = Device::opencl_status().reason {
        println!("no OpenCL device: {why}");
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    match bytes {
        0 => "none".to_string(),
        b if b >= isize::MAX as u64 => "as much as there is".to_string(),
        b if b >= 1 << 30 => format!("{:.1} GiB", b as f64 / (1u64 << 30) as f64),
        b => format!("{} KiB", b >> 10),
    }
}
