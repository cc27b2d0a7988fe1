//! Whether what one GPU writes another reads: tried once for each set of devices.

use super::{Call, Slot, Team};
use crate::backend::Buffer;
use crate::element::DType;
use crate::error::Result;
use crate::group::schedule::Collective;
use crate::opencl::peer::SMALLEST;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Long for kernels of microseconds, short for whoever waits for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The answer for the team's devices, which is kept for the life of the process.
pub(super) fn proven(team: &Team) -> Result<bool> {
    static KNOWN: Mutex<Option<HashMap<Vec<usize>, bool>>> = Mutex::new(None);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key: Vec<usize> = team.devices().iter().map(|d| d.index()).collect();
    if let Some(&answer) = known().get_or_insert_default().get(&key) {
        return Ok(answer);
    }
    // No lock is held meanwhile: a second thread may try as well.
    let answer = sums(team, 1000)? && sums(team, 100_003)?;
    known().get_or_insert_default().insert(key, answer);
    Ok(answer)
}

fn firsts(buffers: &[Buffer]) -> Vec<Option<Slot<'_>>> {
    buffers.iter().map(|b| Some(Slot::new(b, 0))).collect()
}

/// Whether all members find the sum of what all of them have; short calls and long ones go different
/// ways.
fn sums(team: &Team, n: usize) -> Result<bool> {
    let value = |member: usize, i: usize| (i as u32).wrapping_mul(2_654_435_761) ^ member as u32;
    let (mut ins, mut outs) = (Vec::new(), Vec::new());
    for (member, device) in team.devices().iter().enumerate() {
        let bytes: Vec<u8> = (0..n).flat_map(|i| value(member, i).to_le_bytes()).collect();
        let mut buffer = Buffer::new(device, (4 * n).max(SMALLEST))?;
        buffer.upload(0, &bytes)?;
        ins.push(buffer);
        outs.push(Buffer::new(device, (4 * n).max(SMALLEST))?);
    }
    let mut blocks = vec![0; team.members()];
    blocks[0] = n;
    team.run(&Call {
        op: "group",
        collective: Collective::AllReduce,
        dtype: DType::U32,
        ins: &firsts(&ins),
        outs: &firsts(&outs),
        blocks: &blocks,
        body: Some("return a + b;"),
        patience: PATIENCE,
    })?;
    team.check("group")?;
    let mut bytes = vec![0; 4 * n];
    for out in &outs {
        out.download(0, &mut bytes)?;
        let right = bytes.chunks_exact(4).enumerate().all(|(i, word)| {
            let sum = (0..team.members()).fold(0u32, |sum, m| sum.wrapping_add(value(m, i)));
            word == sum.to_le_bytes()
        });
        if !right {
            return Ok(false);
        }
    }
    Ok(true)
}
