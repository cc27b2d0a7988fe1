//! One group of the devices of all ranks of an MPI program: π by the midpoint rule, its parts computed
//! wherever there is a device, summed over all of them.
//!
//! `cargo build --release --features mpi --example 10_over_mpi`, then
//! `mpirun -n 3 target/release/examples/10_over_mpi` (one rank when it is started alone). Each rank
//! takes all OpenCL devices of its machine, or the host where there are none; `--host` takes the host.

use clan::{Device, DeviceArray, Group, ReduceOp};
use mpi::collective::SystemOperation;
use mpi::traits::CommunicatorCollectives;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let universe = mpi::initialize().ok_or("MPI has been initialised before")?;
    let world = universe.world();
    let host = std::env::args().any(|a| a == "--host");
    let group = match host {
        true => Group::new([Device::host()])?.join_over_mpi(&world)?,
        false => Group::over_mpi(&world)?,
    };
    let first = group.rank() == 0;
    if first {
        println!("{} members on {} ranks", group.len(), group.ranks());
    }

    // Every member has its share of the steps.
    let steps = 1 << 20;
    let mut parts = Vec::new();
    for (k, device) in group.local().members().iter().enumerate() {
        let member = group.first() + k;
        // In f32, for not every device has double precision.
        let x: Vec<f32> = (0..steps)
            .filter(|i| i % group.len() == member)
            .map(|i| (i as f32 + 0.5) / steps as f32)
            .collect();
        let x = DeviceArray::from_slice(device, &x)?;
        let part = (4.0 / (&x * &x + 1.0)).sum()? / steps as f32;
        parts.push(part.eval()?);
    }
    let sums = group.all_reduce(&parts, ReduceOp::Sum)?;
    let pi = sums[0].item()?;
    if (pi - std::f32::consts::PI).abs() > 1e-5 {
        return Err(format!("π came out as {pi}").into());
    }
    if first {
        println!("π = {pi:.5}, the same on every member");
    }

    // How much of MPI's own speed is left.
    let n = 16 << 20;
    let own: Vec<DeviceArray<f32>> = group
        .local()
        .members()
        .iter()
        .map(|device| DeviceArray::full(device, n, 1.0f32))
        .collect::<Result<_, _>>()?;
    let (from, mut to) = (vec![1.0f32; n], vec![0.0f32; n]);
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for _ in 0..5 {
        group.barrier()?;
        let start = Instant::now();
        let sums = group.all_reduce(&own, ReduceOp::Sum)?;
        group.local().members().iter().try_for_each(Device::wait)?;
        ours = ours.min(start.elapsed().as_secs_f64());
        let sum = sums[0].to_vec()?;
        if sum.iter().any(|&v| v != group.len() as f32) {
            return Err("a sum is wrong".into());
        }
        world.barrier();
        let start = Instant::now();
        world.all_reduce_into(&from[..], &mut to[..], SystemOperation::sum());
        theirs = theirs.min(start.elapsed().as_secs_f64());
    }
    if first {
        println!(
            "all_reduce of 64 MiB: {:.1} ms; MPI alone, on memory that it is given: {:.1} ms; {:.2} of its speed",
            ours * 1e3,
            theirs * 1e3,
            theirs / ours
        );
    }
    Ok(())
}
