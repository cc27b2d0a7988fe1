//! Hands a collective's kernels to the members' queues.

use super::call::{Call, Slot, Work};
use super::text::{Form, Kernel};
use super::{SHORT_BYTES, SLOT_UNITS, State, Team, opencl};
use crate::backend::Buffer;
use crate::element::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::group::schedule::Collective;
use crate::opencl::program::Program;
use crate::opencl::{ClDevice, Launch, Point, peer::SMALLEST};
use ocl::core::Mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Held while the kernels of a call are handed over. Kernels wait for those of other queues, so two
/// calls must not lie in two queues in different orders.
pub(super) static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How members' kernels are shaped. Four H200, GB/s by groups of 512 and unroll 1: all_reduce of
/// 256 MiB in place 16 / 64 / 132 groups 214 / 212 / 210; 1024 work-items or unroll 2 or 4: 200 to
/// 211. Broadcast 64 / 132 groups 308 / 320, reduce 276 / 283.
const POINT: Point = Point { group: 512, vector_bytes: 16, unroll: 1, groups: 132 };
/// Of blocks for each other. All_gather, GB/s into each: 32 / 64 / 132 groups 343 / 356 / 361; unroll
/// 1 / 2 / 4 / 8 358 / 361 / 361 / 361.
const EXCHANGE_POINT: Point = Point { unroll: 4, ..POINT };
/// What goes through memory of its own goes in pieces of so many bytes.
const PIECE_BYTES: usize = 64 << 20;
/// Of calls so short that only their distance counts.
const SHORT_POINT: Point = Point { group: 256, vector_bytes: 8, unroll: 1, groups: 32 };

/// A member's kernel, ready to be handed over.
struct Ready<'a> {
    device: &'a ClDevice,
    program: Arc<Program>,
    work: Work<'a>,
    /// Other members' memory as this device sees it, in the order of the arguments; `None` where it is
    /// the member's own.
    seen: Vec<(Slot<'a>, Option<Mem>)>,
}

pub(super) fn missing(op: &'static str) -> Error {
    Error::new(ErrorKind::Argument, op, "a slot has no memory of an OpenCL device")
}

pub(super) fn nanoseconds(patience: Duration) -> u64 {
    u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX)
}

/// Whoever does not combine moves bits: a type a size.
pub(super) fn bits(dtype: DType) -> DType {
    match dtype.size() {
        1 => DType::U8,
        2 => DType::U16,
        4 => DType::U32,
        _ => DType::U64,
    }
}

impl Work<'_> {
    fn point(&self) -> Point {
        match self {
            Work::Exchange { .. } => EXCHANGE_POINT,
            _ => POINT,
        }
    }
}

impl Team {
    fn member(&self, op: &'static str, member: usize) -> Result<&ClDevice> {
        opencl(&self.devices[member]).ok_or_else(|| missing(op))
    }

    /// All members' devices.
    pub(super) fn opencl(&self, op: &'static str) -> Result<Vec<&ClDevice>> {
        (0..self.members()).map(|m| self.member(op, m)).collect()
    }

    /// A slot's memory as a member sees it; `None` where it is the member's own.
    pub(super) fn seen(
        &self,
        op: &'static str,
        member: usize,
        slot: Slot<'_>,
    ) -> Result<Option<Mem>> {
        if slot.buffer.device == self.devices[member] {
            return Ok(None);
        }
        let block = slot.block().ok_or_else(|| missing(op))?;
        block.seen_by(op, self.member(op, member)?).map(Some)
    }

    /// Copies within a member's memory, in its queue; `to` is the caller's alone.
    fn copy(
        &self,
        call: &Call<'_>,
        member: usize,
        from: Slot<'_>,
        to: Slot<'_>,
        n: usize,
    ) -> Result<()> {
        let (src, dst) = from.block().zip(to.block()).ok_or_else(|| missing(call.op))?;
        let size = call.dtype.size();
        let device = self.member(call.op, member)?;
        device.copy_block(src, from.offset * size, dst, to.offset * size, n * size)
    }

    /// Hands a collective over to all members and returns at once, with the number of such calls so far.
    ///
    /// # Errors
    /// Slots that do not fit the collective, before anything is enqueued; out of memory; a failure
    /// of a driver, or an earlier one of the team.
    pub fn run(&self, call: &Call<'_>) -> Result<u64> {
        self.run_as(call, None)?;
        let mut state = self.state();
        state.handed += 1;
        Ok(state.handed)
    }

    /// Takes memory for reached by all members, or not, without asking it.
    pub(super) fn run_as(&self, call: &Call<'_>, assumed: Option<bool>) -> Result<()> {
        call.check(self.members())?;
        if call.total() == 0 {
            return Ok(());
        }
        let bytes = call.total() * call.dtype.size();
        if call.collective == Collective::AllReduce && bytes <= SHORT_BYTES {
            return self.run_short(call);
        }
        // What takes no part is never touched: the control block stands for it.
        let (mut ins, mut outs) = (Vec::new(), Vec::new());
        let mut reached = true;
        for member in 0..self.members() {
            for result in [false, true] {
                let n = call.elements(member, result).unwrap_or(0);
                let given = if result { call.outs[member] } else { call.ins[member] };
                let slot = given.filter(|_| n > 0);
                reached &= slot.and_then(|s| s.block()).is_none_or(|block| block.is_shared());
                let slots = if result { &mut outs } else { &mut ins };
                slots.push(slot.unwrap_or(Slot::new(&self.controls[member], 0)));
            }
        }
        let reached = assumed.unwrap_or(reached);
        match call.collective {
            Collective::Scan | Collective::ExclusiveScan if !reached => {
                self.run_pieces(call, &ins, &outs)
            }
            _ if !reached => self.run_through(call, &ins, &outs),
            Collective::AllReduce
                if bytes >= self.long_bytes && call.parts(&[&ins[..], &outs].concat()) > 1 =>
            {
                self.run_long(call, &ins, &outs)
            }
            _ => self.run_over(call, &ins, &outs),
        }
    }

    /// Piece by piece through memory that all members reach, for what has no other way.
    fn run_pieces(&self, call: &Call<'_>, ins: &[Slot<'_>], outs: &[Slot<'_>]) -> Result<()> {
        let (p, n) = (self.members(), call.total());
        let most = PIECE_BYTES / call.dtype.size();
        let windows = self
            .devices
            .iter()
            .map(|d| Buffer::new(d, (n.min(most) * call.dtype.size()).max(SMALLEST)))
            .collect::<Result<Vec<_>>>()?;
        let reached: Vec<_> = windows.iter().map(|w| Slot::new(w, 0)).collect();
        if reached.iter().any(|s| s.block().is_none_or(|block| !block.is_shared())) {
            let text = "there is no memory left that the members reach from each other";
            return Err(Error::new(ErrorKind::OutOfMemory, call.op, text));
        }
        let mut blocks = vec![0; p];
        for at in (0..n).step_by(most) {
            blocks[0] = most.min(n - at);
            for me in 0..p {
                self.copy(call, me, ins[me].after(at), reached[me], blocks[0])?;
            }
            self.run_over(&Call { blocks: &blocks, ..*call }, &reached, &reached)?;
            let first = usize::from(call.collective == Collective::ExclusiveScan);
            for me in first..p {
                self.copy(call, me, reached[me], outs[me].after(at), blocks[0])?;
            }
        }
        Ok(())
    }

    /// Over slots that all members reach.
    fn run_over(&self, call: &Call<'_>, ins: &[Slot<'_>], outs: &[Slot<'_>]) -> Result<()> {
        let slots = [ins, outs].concat();
        let parts = call.parts(&slots);
        let combines = call.combines();
        let works: Vec<_> = (0..self.members()).map(|me| call.work(me, ins, outs, parts)).collect();
        let form = Form {
            // The same for all.
            kernel: works[0].kernel(),
            members: self.members(),
            dtype: if combines { call.dtype } else { bits(call.dtype) },
            body: call.body.filter(|_| combines),
            takes: call.takes(),
            wide: parts * call.dtype.size() == 16,
            windows: None,
            point: works[0].point(),
        };
        // Everything that may fail or take time comes before the first launch.
        let ready = form
            .programs(&self.opencl(call.op)?, call.op)?
            .into_iter()
            .zip(works)
            .enumerate()
            .map(|(me, (program, work))| self.prepare(call, program, me, work))
            .collect::<Result<Vec<_>>>()?;
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls += 1;
        let number = state.calls;
        let launch = |me: usize| self.launch(call, &ready[me], me, &ins[me], &outs[me], number);
        self.hand_over(&mut state, &launch)
    }

    /// Hands the members' kernels over, several at a time; the caller has the turn.
    pub(super) fn hand_over(
        &self,
        state: &mut State,
        launch: &(dyn Fn(usize) -> Result<()> + Sync),
    ) -> Result<()> {
        // Where one fails, the others wait for it in vain.
        let handed = self.hands.each(self.members(), launch);
        handed.inspect_err(|e| state.broken = Some(e.clone()))
    }

    fn prepare<'a>(
        &'a self,
        call: &Call<'a>,
        program: Arc<Program>,
        me: usize,
        work: Work<'a>,
    ) -> Result<Ready<'a>> {
        let device = self.member(call.op, me)?;
        let (from, to): (Vec<Slot<'a>>, &[Slot<'a>]) = match &work {
            Work::Combine { ins, outs, .. } => (ins.clone(), outs),
            Work::Spread { from, outs, .. } | Work::Exchange { from, outs, .. } => {
                (vec![*from], outs)
            }
        };
        let controls = self.controls.iter().map(|c| Slot::new(c, 0));
        let seen = from
            .into_iter()
            .chain(to.iter().copied())
            .chain(controls)
            .map(|slot| {
                let mem = self.seen(call.op, me, slot)?;
                Ok((slot, mem))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Ready { device, program, work, seen })
    }

    /// `own` memory of the member is marked as used, also where only others use it.
    fn launch(
        &self,
        call: &Call<'_>,
        ready: &Ready<'_>,
        me: usize,
        own_in: &Slot<'_>,
        own_out: &Slot<'_>,
        number: u64,
    ) -> Result<()> {
        let (Work::Combine { range, .. }
        | Work::Spread { range, .. }
        | Work::Exchange { range, .. }) = &ready.work;
        let name = ready.work.kernel().name();
        let mut launch = Launch::new(ready.device, &ready.program, call.op, name)?;
        for (i, (slot, mem)) in ready.seen.iter().enumerate() {
            match mem {
                Some(mem) => launch.remote(mem)?,
                None => launch.own(slot.buffer)?,
            }
            let control = i + self.members() >= ready.seen.len();
            if !control {
                launch.value(slot.offset as u64)?;
            }
        }
        let control = Slot::new(&self.controls[me], 0);
        for (slot, written) in [(own_in, false), (own_out, true), (&control, true)] {
            if let Some(block) = slot.block() {
                launch.exposes(block, written);
            }
        }
        launch.value(me as u32)?;
        match &ready.work {
            Work::Combine { to, .. } | Work::Spread { to, .. } => {
                launch.value(*to)?;
                launch.value(range.lo)?;
                launch.value(range.hi)?;
                launch.value(range.rest)?;
            }
            Work::Exchange { own, stride, .. } => {
                launch.value(u32::from(*own))?;
                launch.value(range.hi)?;
                launch.value(range.rest)?;
                launch.value(*stride as u64)?;
            }
        }
        launch.value(number)?;
        launch.value(nanoseconds(call.patience))?;
        // One even for no lines: every member has to arrive and leave.
        let point = ready.work.point();
        let groups = range.len().div_ceil(point.group * point.unroll).clamp(1, point.groups);
        // SAFETY: the arguments of `cl/peer.cl`, in its order. The slots lie inside their buffers (the
        // caller's promise) and `Call::work` keeps inside the slots. The kernel ends when no member
        // uses another's memory any more, so the marks of each queue stand for all uses.
        unsafe { launch.run([groups, 1, 1], [point.group, 1, 1])? };
        ready.device.flush(call.op)
    }

    /// An all_reduce of few elements, which nobody needs to reach: they are sent.
    pub(super) fn run_short(&self, call: &Call<'_>) -> Result<()> {
        let form = Form {
            kernel: Kernel::CombineShort,
            members: self.members(),
            dtype: call.dtype,
            body: call.body,
            takes: call.takes(),
            wide: true,
            windows: None,
            point: SHORT_POINT,
        };
        let n = call.total();
        let devices = self.opencl(call.op)?;
        let programs = form.programs(&devices, call.op)?;
        let seen = self.seen_controls(call.op)?;
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // 0 is what slots hold before the first call.
        state.short_calls = state.short_calls.checked_add(1).ok_or_else(|| {
            let text = "a team has made 2^32 short calls; make the group again";
            Error::new(ErrorKind::TooLarge, call.op, text)
        })?;
        let number = state.short_calls;
        let launch = |me: usize| {
            let device = devices[me];
            let mut launch = Launch::new(device, &programs[me], call.op, form.kernel.name())?;
            for (slot, result) in [(call.ins[me], false), (call.outs[me], true)] {
                let slot = slot.ok_or_else(|| missing(call.op))?;
                match result {
                    true => launch.output(slot.buffer)?,
                    false => launch.input(slot.buffer)?,
                }
                launch.value(slot.offset as u64)?;
            }
            for (m, mem) in seen[me].iter().enumerate() {
                match mem {
                    Some(mem) => launch.remote(mem)?,
                    None => launch.own(&self.controls[m])?,
                }
            }
            if let Some(control) = Slot::new(&self.controls[me], 0).block() {
                launch.exposes(control, true);
            }
            launch.value(me as u32)?;
            launch.value(n as u32)?;
            launch.value(SLOT_UNITS as u32)?;
            launch.value(number)?;
            launch.value(nanoseconds(call.patience))?;
            let units = (n * call.dtype.size()).div_ceil(8);
            let groups = units.div_ceil(SHORT_POINT.group).clamp(1, SHORT_POINT.groups);
            // SAFETY: the arguments of `cl/peer.cl`, in its order; both slots have n elements,
            // and slots of the control blocks have room for `SHORT_BYTES`.
            unsafe { launch.run([groups, 1, 1], [SHORT_POINT.group, 1, 1])? };
            device.flush(call.op)
        };
        self.hand_over(&mut state, &launch)
    }

    /// All members' control blocks as each of them sees them.
    fn seen_controls(&self, op: &'static str) -> Result<&[Vec<Option<Mem>>]> {
        if self.seen_controls.get().is_none() {
            let seen = |me| self.controls.iter().map(move |c| self.seen(op, me, Slot::new(c, 0)));
            let all = (0..self.members()).map(|me| seen(me).collect()).collect::<Result<_>>()?;
            // Another thread may have been faster.
            let _ = self.seen_controls.set(all);
        }
        Ok(self.seen_controls.get().map_or(&[], Vec::as_slice))
    }
}
