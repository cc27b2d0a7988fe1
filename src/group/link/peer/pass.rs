//! Blocks for each other through windows: for memory that other members do not reach, and for long
//! reductions, which go faster when nobody loads from another.

use super::Team;
use super::call::{Call, Slot, Takes};
use super::launch::{ONE_AT_A_TIME, bits, nanoseconds};
use super::text::{Form, Kernel, Windows};
use crate::backend::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::group::schedule::Collective;
use crate::opencl::program::Program;
use crate::opencl::{ClDevice, Launch, Point};
use ocl::core::Mem;
use std::sync::{Arc, PoisonError};

pub(super) const POINT: Point = Point { group: 512, vector_bytes: 16, unroll: 1, groups: 0 };

/// Bytes of the windows of a member: two sets of one a group and member.
fn window_bytes(members: usize, window: Windows) -> usize {
    window.groups * 2 * members * window.lines * 16
}

/// Elements that one member has for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Where they lie in the sender's slot.
    pub from: usize,
    /// Where they go in the receiver's.
    pub to: usize,
    pub len: usize,
}

/// What everybody has for everybody.
pub(super) struct Pass<'a> {
    pub ins: Vec<Slot<'a>>,
    pub outs: Vec<Slot<'a>>,
    /// By sender, then receiver. What a member has for itself moves, too.
    pub blocks: Vec<Vec<Block>>,
    /// Whether what comes is combined with the own block; all blocks of a receiver have its length.
    pub fold: bool,
}

impl<'a> Pass<'a> {
    /// The same with the first elements of every block, as many as `at` says, or with those after them.
    fn cut(&self, at: impl Fn(&Block) -> usize, first: bool) -> Pass<'a> {
        let part = |b: &Block| match (at(b), first) {
            (n, true) => Block { len: n, ..*b },
            (n, false) => Block { from: b.from + n, to: b.to + n, len: b.len - n },
        };
        let blocks = self.blocks.iter().map(|row| row.iter().map(part).collect()).collect();
        Pass { ins: self.ins.clone(), outs: self.outs.clone(), blocks, fold: self.fold }
    }
}

/// A member's program, and other members' control blocks and windows as its device sees them.
struct Ready<'a> {
    device: &'a ClDevice,
    program: Arc<Program>,
    /// In the order of the arguments; `None` for its own.
    peers: Vec<(Option<Mem>, Option<Mem>)>,
}

impl Team {
    /// Made at the first use, for most calls need none.
    pub(super) fn windows(&self) -> Result<&[Buffer]> {
        if self.windows.get().is_none() {
            let bytes = window_bytes(self.members(), self.window);
            let made = self.devices.iter().map(|d| Buffer::new(d, bytes)).collect::<Result<_>>()?;
            // Another thread may have been faster.
            let _ = self.windows.set(made);
        }
        Ok(self.windows.get().map_or(&[], Vec::as_slice))
    }

    /// How many groups take so many lines, one and more, and in how many rounds. A round costs 5 µs, so
    /// as much as windows hold goes in each.
    pub(super) fn rounds(&self, lines: usize) -> (usize, usize) {
        let groups = lines.div_ceil(POINT.group * 4).min(self.window.groups);
        (groups, lines.div_ceil(groups).div_ceil(self.window.lines))
    }

    /// Hands a pass over to all members and returns at once.
    pub(super) fn pass(&self, call: &Call<'_>, pass: &Pass<'_>) -> Result<()> {
        let p = self.members();
        let parts = 16 / call.dtype.size();
        let even = |n: usize| n.is_multiple_of(parts);
        let all = || pass.blocks.iter().flatten();
        let longest = all().map(|b| b.len).max().unwrap_or(0);
        let aligned = pass.ins.iter().chain(&pass.outs).all(|s| even(s.offset))
            && all().all(|b| even(b.from) && even(b.to));
        let wide = aligned && all().all(|b| even(b.len));
        if aligned && !wide && longest >= parts {
            // First what is whole lines, then the elements after them.
            let whole = |b: &Block| b.len - b.len % parts;
            self.pass(call, &pass.cut(whole, true))?;
            return self.pass(call, &pass.cut(whole, false));
        }
        let form = Form {
            kernel: Kernel::Pass,
            members: p,
            dtype: if pass.fold { call.dtype } else { bits(call.dtype) },
            body: call.body.filter(|_| pass.fold),
            takes: Takes::All,
            wide,
            windows: Some(self.window),
            point: POINT,
        };
        let lines = if wide { longest / parts } else { longest };
        if lines == 0 {
            return Ok(());
        }
        let (groups, rounds) = self.rounds(lines);
        let windows = self.windows()?;
        let devices = self.opencl(call.op)?;
        let ready = (0..p)
            .zip(devices.iter().zip(form.programs(&devices, call.op)?))
            .map(|(me, (&device, program))| {
                let seen = |buffer| self.seen(call.op, me, Slot::new(buffer, 0));
                let peers = (0..p)
                    .map(|k| (me + k) % p)
                    .map(|j| Ok((seen(&self.controls[j])?, seen(&windows[j])?)))
                    .collect::<Result<Vec<_>>>()?;
                Ok(Ready { device, program, peers })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.rounds + 1;
        state.rounds += rounds as u64;
        let hand_over = |me: usize| {
            let ready = &ready[me];
            let mut launch =
                Launch::new(ready.device, &ready.program, call.op, form.kernel.name())?;
            for slot in [&pass.ins[me], &pass.outs[me]] {
                launch.own(slot.buffer)?;
                launch.value(slot.offset as u64)?;
            }
            let control = Slot::new(&self.controls[me], 0);
            let own = [(&pass.ins[me], false), (&pass.outs[me], true), (&control, true)];
            for (slot, written) in own {
                if let Some(block) = slot.block() {
                    launch.exposes(block, written);
                }
            }
            for (k, (control, window)) in ready.peers.iter().enumerate() {
                let j = (me + k) % p;
                for (mem, own) in [(control, &self.controls[j]), (window, &windows[j])] {
                    match mem {
                        Some(mem) => launch.remote(mem)?,
                        None => launch.own(own)?,
                    }
                }
                let (gives, gets) = (pass.blocks[me][j], pass.blocks[j][me]);
                for v in [gives.from, gives.len, gets.to, gets.len] {
                    launch.value(v as u64)?;
                }
            }
            launch.value(me as u32)?;
            launch.value(u32::from(pass.fold))?;
            launch.value(rounds as u32)?;
            launch.value(first)?;
            launch.value(nanoseconds(call.patience))?;
            // SAFETY: the arguments of `cl/peer_windows.cl`, in its order. Blocks lie inside the slots
            // and these inside their buffers; `groups` and `rounds` keep inside the windows, of which
            // each group has `window.lines` lines from each member.
            unsafe { launch.run([groups, 1, 1], [POINT.group, 1, 1])? };
            ready.device.flush(call.op)
        };
        self.hand_over(&mut state, &hand_over)
    }

    /// A collective whose slots need not be reached by anybody; scans have no such way.
    pub(super) fn run_through(
        &self,
        call: &Call<'_>,
        ins: &[Slot<'_>],
        outs: &[Slot<'_>],
    ) -> Result<()> {
        use Collective as C;
        let (p, n) = (self.members(), call.total());
        let none = vec![vec![Block::default(); p]; p];
        let pass = |ins: &[Slot<'_>], outs: &[Slot<'_>], blocks, fold| {
            self.pass(call, &Pass { ins: ins.to_vec(), outs: outs.to_vec(), blocks, fold })
        };
        let table = |block: &dyn Fn(usize, usize) -> Block| -> Vec<Vec<Block>> {
            (0..p).map(|m| (0..p).map(|j| block(m, j)).collect()).collect()
        };
        match call.collective {
            C::AllReduce | C::Reduce { .. } | C::Broadcast { .. } => {
                let shares = shares(n, 16 / call.dtype.size(), p);
                let start: Vec<usize> = shares.iter().map(|s| s.0).collect();
                let len: Vec<usize> = shares.iter().map(|s| s.1).collect();
                let gather = |m: usize, j: usize| match call.root() {
                    Some(root) if j != root && call.combines() => Block::default(),
                    _ => Block { from: start[m], to: start[m], len: len[m] },
                };
                if let C::Broadcast { root } = call.collective {
                    let mut blocks = none;
                    for (j, block) in blocks[root].iter_mut().enumerate() {
                        *block = Block { from: start[j], to: start[j], len: len[j] };
                    }
                    pass(ins, outs, blocks, false)?;
                    return pass(outs, outs, table(&gather), false);
                }
                let scatter = |_, j: usize| Block { from: start[j], to: start[j], len: len[j] };
                match call.root() {
                    None => {
                        pass(ins, outs, table(&scatter), true)?;
                        pass(outs, outs, table(&gather), false)?;
                    }
                    Some(root) => {
                        // The others have no result to keep their share in.
                        let bytes = len.iter().max().copied().unwrap_or(0) * call.dtype.size();
                        let kept = self
                            .devices
                            .iter()
                            .map(|d| Buffer::new(d, bytes.max(1)))
                            .collect::<Result<Vec<_>>>()?;
                        let kept: Vec<_> = kept.iter().map(|b| Slot::new(b, 0)).collect();
                        let to_kept = |m, j| Block { to: 0, ..scatter(m, j) };
                        pass(ins, &kept, table(&to_kept), true)?;
                        let from_kept = |m, j| Block { from: 0, ..gather(m, j) };
                        let mut to = kept.clone();
                        to[root] = outs[root];
                        pass(&kept, &to, table(&from_kept), false)?;
                    }
                }
            }
            C::ReduceScatter => {
                let block = |_, j| Block { from: call.start(j), to: 0, len: call.blocks[j] };
                pass(ins, outs, table(&block), true)?;
            }
            C::AllGather => {
                let block = |m, _| Block { from: 0, to: call.start(m), len: call.blocks[m] };
                pass(ins, outs, table(&block), false)?;
            }
            C::Gather { root } => {
                let block = |m: usize, j: usize| match j == root {
                    true => Block { from: 0, to: call.start(m), len: call.blocks[m] },
                    false => Block::default(),
                };
                pass(ins, outs, table(&block), false)?;
            }
            C::Scatter { root } => {
                let block = |m: usize, j: usize| match m == root {
                    true => Block { from: call.start(j), to: 0, len: call.blocks[j] },
                    false => Block::default(),
                };
                pass(ins, outs, table(&block), false)?;
            }
            C::AllToAll => {
                let len = call.blocks[0];
                let block = |m: usize, j: usize| Block { from: j * len, to: m * len, len };
                pass(ins, outs, table(&block), false)?;
            }
            C::Scan | C::ExclusiveScan => {
                let text = "scans need memory that members reach from each other";
                return Err(Error::new(ErrorKind::Argument, call.op, text));
            }
        }
        Ok(())
    }
}

/// Where each member's share of `n` elements begins, and its length. All begin at whole lines, and
/// elements that are no line are with the last.
pub(super) fn shares(n: usize, parts: usize, members: usize) -> Vec<(usize, usize)> {
    let lines = n / parts;
    let start = |s: usize| (lines / members * s + (lines % members).min(s)) * parts;
    (0..members)
        .map(|s| match s + 1 == members {
            true => (start(s), n - start(s)),
            false => (start(s), start(s + 1) - start(s)),
        })
        .collect()
}
