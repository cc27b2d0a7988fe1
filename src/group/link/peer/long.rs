//! A long all_reduce over memory that all members reach, in one kernel that only stores to others.

use super::Team;
use super::call::{Call, Slot, Takes};
use super::launch::{ONE_AT_A_TIME, nanoseconds};
use super::pass::{POINT, shares};
use super::text::{Form, Kernel};
use crate::error::Result;
use crate::opencl::Launch;
use ocl::core::Mem;
use std::sync::PoisonError;

/// Another member's control block, window and result as a device sees them.
type Seen = [Option<Mem>; 3];

impl Team {
    /// Every slot's elements are whole lines and begin at one, but for the last share, after which fewer
    /// than a line may follow.
    pub(super) fn run_long(
        &self,
        call: &Call<'_>,
        ins: &[Slot<'_>],
        outs: &[Slot<'_>],
    ) -> Result<()> {
        let (p, n) = (self.members(), call.total());
        let parts = 16 / call.dtype.size();
        let whole = n - n % parts;
        let shares = shares(whole, parts, p);
        let form = Form {
            kernel: Kernel::CombineLong,
            members: p,
            dtype: call.dtype,
            body: call.body,
            takes: Takes::All,
            wide: true,
            windows: Some(self.window),
            point: POINT,
        };
        let lines = shares.iter().map(|s| s.1).max().unwrap_or(0) / parts;
        let (groups, rounds) = self.rounds(lines);
        let windows = self.windows()?;
        let devices = self.opencl(call.op)?;
        let programs = form.programs(&devices, call.op)?;
        let seen = (0..p)
            .map(|me| {
                let of = |j: usize| -> Result<Seen> {
                    let all = [Slot::new(&self.controls[j], 0), Slot::new(&windows[j], 0), outs[j]];
                    let [a, b, c] = all.map(|slot| self.seen(call.op, me, slot));
                    Ok([a?, b?, c?])
                };
                (0..p).map(|k| of((me + k) % p)).collect::<Result<Vec<_>>>()
            })
            .collect::<Result<Vec<_>>>()?;
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls += 1;
        let (number, first) = (state.calls, state.rounds + 1);
        state.rounds += rounds as u64;
        let hand_over = |me: usize| {
            let (device, seen) = (devices[me], &seen[me]);
            let mut launch = Launch::new(device, &programs[me], call.op, form.kernel.name())?;
            launch.own(ins[me].buffer)?;
            launch.value(ins[me].offset as u64)?;
            for (k, seen) in seen.iter().enumerate() {
                let j = (me + k) % p;
                let own = [&self.controls[j], &windows[j], outs[j].buffer];
                for (mem, own) in seen.iter().zip(own) {
                    match mem {
                        Some(mem) => launch.remote(mem)?,
                        None => launch.own(own)?,
                    }
                }
                for v in [outs[j].offset, shares[j].0, shares[j].1] {
                    launch.value(v as u64)?;
                }
            }
            let control = Slot::new(&self.controls[me], 0);
            for (slot, written) in [(&ins[me], false), (&outs[me], true), (&control, true)] {
                if let Some(block) = slot.block() {
                    launch.exposes(block, written);
                }
            }
            launch.value(me as u32)?;
            launch.value(rounds as u32)?;
            launch.value(first)?;
            launch.value(number)?;
            launch.value(nanoseconds(call.patience))?;
            // SAFETY: the arguments of `cl/peer_windows.cl`, in its order. Shares lie inside the slots and
            // these inside their buffers; `rounds` says what keeps inside the windows. The kernel
            // ends when no member stores to another's memory any more.
            unsafe { launch.run([groups, 1, 1], [POINT.group, 1, 1])? };
            device.flush(call.op)
        };
        self.hand_over(&mut state, &hand_over)?;
        drop((turn, state));
        if whole == n {
            return Ok(());
        }
        // Few enough to be sent.
        let mut blocks = vec![0; p];
        blocks[0] = n - whole;
        let ins: Vec<_> = ins.iter().map(|s| Some(s.after(whole))).collect();
        let outs: Vec<_> = outs.iter().map(|s| Some(s.after(whole))).collect();
        self.run_short(&Call { ins: &ins, outs: &outs, blocks: &blocks, ..*call })
    }
}
