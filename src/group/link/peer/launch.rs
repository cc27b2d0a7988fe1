//! Hands a collective's kernels to the members' queues.

use super::call::{Call, Lines, Slot, Work};
use super::text::Form;
use super::{SHORT_BYTES, SLOT_UNITS, Team, opencl};
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
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How members' kernels are shaped.
const POINT: Point = Point { group: 512, vector_bytes: 16, unroll: 2, groups: 64 };
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

fn missing(op: &'static str) -> Error {
    Error::new(ErrorKind::Argument, op, "a slot has no memory of an OpenCL device")
}

fn nanoseconds(patience: Duration) -> u64 {
    u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX)
}

impl Team {
    fn member(&self, op: &'static str, member: usize) -> Result<&ClDevice> {
        opencl(&self.devices[member]).ok_or_else(|| missing(op))
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

    /// Hands a collective over to all members and returns at once.
    ///
    /// # Errors
    /// Slots that do not fit the collective, before anything is enqueued; out of memory; a failure
    /// of a driver, or an earlier one of the team.
    pub fn run(&self, call: &Call<'_>) -> Result<()> {
        call.check(self.members())?;
        if call.total() == 0 {
            return Ok(());
        }
        if call.collective == Collective::AllReduce
            && call.total() * call.dtype.size() <= SHORT_BYTES
        {
            return self.run_short(call);
        }
        // A window for what others cannot reach. What takes no part is never touched: the control
        // block stands for it.
        let (mut ins, mut outs) = (Vec::new(), Vec::new());
        let mut windows = Vec::new();
        for member in 0..self.members() {
            for result in [false, true] {
                let n = call.elements(member, result).unwrap_or(0);
                let slots = if result { call.outs } else { call.ins };
                let slot = slots[member].filter(|_| n > 0);
                if slot.is_some_and(|s| s.block().is_some_and(|b| !b.is_shared())) {
                    let bytes = (n * call.dtype.size()).max(SMALLEST);
                    windows.push((member, result, n, Buffer::new(&self.devices[member], bytes)?));
                }
                let slots = if result { &mut outs } else { &mut ins };
                slots.push(slot.unwrap_or(Slot::new(&self.controls[member], 0)));
            }
        }
        for (member, result, n, window) in &windows {
            let slot = if *result { &mut outs[*member] } else { &mut ins[*member] };
            let own = std::mem::replace(slot, Slot::new(window, 0));
            if !result {
                self.copy(call, *member, own, *slot, *n)?;
            }
        }
        self.run_over(call, &ins, &outs)?;
        for (member, _, n, window) in windows.iter().filter(|w| w.1) {
            if let Some(own) = call.outs[*member] {
                self.copy(call, *member, Slot::new(window, 0), own, *n)?;
            }
        }
        Ok(())
    }

    /// Over slots that all members reach.
    fn run_over(&self, call: &Call<'_>, ins: &[Slot<'_>], outs: &[Slot<'_>]) -> Result<()> {
        let slots = [ins, outs].concat();
        let parts = call.parts(&slots);
        let size = call.dtype.size();
        let combines = call.combines();
        let form = Form {
            members: self.members(),
            // Whoever does not combine moves bits: a type a size.
            dtype: match size {
                _ if combines => call.dtype,
                1 => DType::U8,
                2 => DType::U16,
                4 => DType::U32,
                _ => DType::U64,
            },
            body: call.body.filter(|_| combines),
            takes: call.takes(),
            wide: parts * size == 16,
            point: POINT,
        };
        // Everything that may fail or take time comes before the first launch.
        let ready = (0..self.members())
            .map(|me| self.prepare(call, &form, me, call.work(me, ins, outs, parts)))
            .collect::<Result<Vec<_>>>()?;
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls += 1;
        for (me, ready) in ready.iter().enumerate() {
            let handed = self.hand_over(call, ready, me, &ins[me], &outs[me], state.calls);
            if let Err(e) = handed {
                // The members before wait for this one in vain.
                state.broken = Some(e.clone());
                return Err(e);
            }
        }
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        call: &Call<'a>,
        form: &Form<'_>,
        me: usize,
        work: Work<'a>,
    ) -> Result<Ready<'a>> {
        let device = self.member(call.op, me)?;
        let program = form.program(device, call.op)?;
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
                let own = slot.buffer.device == self.devices[me];
                let block = slot.block().ok_or_else(|| missing(call.op))?;
                let mem = if own { None } else { Some(block.seen_by(call.op, device)?) };
                Ok((slot, mem))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Ready { device, program, work, seen })
    }

    /// `own` memory of the member is marked as used, also where only others use it.
    fn hand_over(
        &self,
        call: &Call<'_>,
        ready: &Ready<'_>,
        me: usize,
        own_in: &Slot<'_>,
        own_out: &Slot<'_>,
        number: u64,
    ) -> Result<()> {
        let (name, range) = match &ready.work {
            Work::Combine { range, .. } => ("peer_combine", *range),
            Work::Spread { range, .. } => ("peer_spread", *range),
            Work::Exchange { range, .. } => ("peer_exchange", *range),
        };
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
        for (slot, written) in [(own_in, false), (own_out, true)] {
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
            Work::Exchange { stride, .. } => {
                launch.value(range.hi)?;
                launch.value(range.rest)?;
                launch.value(*stride as u64)?;
            }
        }
        launch.value(number)?;
        launch.value(nanoseconds(call.patience))?;
        let groups = groups(&range);
        // SAFETY: the arguments of `cl/peer.cl`, in its order. The slots lie inside their buffers (the
        // caller's promise) and `Call::work` keeps inside the slots. The kernel ends when no member
        // uses another's memory any more, so the marks of each queue stand for all uses.
        unsafe { launch.run([groups, 1, 1], [POINT.group, 1, 1])? };
        ready.device.flush(call.op)
    }

    /// An all_reduce of few elements, which nobody needs to reach: they are sent.
    fn run_short(&self, call: &Call<'_>) -> Result<()> {
        let form = Form {
            members: self.members(),
            dtype: call.dtype,
            body: call.body,
            takes: call.takes(),
            wide: true,
            point: SHORT_POINT,
        };
        let n = call.total();
        let mut ready = Vec::new();
        for me in 0..self.members() {
            let device = self.member(call.op, me)?;
            let program = form.program(device, call.op)?;
            let seen = (0..self.members())
                .map(|m| match (m == me, &self.controls[m].memory) {
                    (true, _) => Ok(None),
                    (false, crate::backend::Memory::Cl(block)) => {
                        block.seen_by(call.op, device).map(Some)
                    }
                    _ => Err(missing(call.op)),
                })
                .collect::<Result<Vec<_>>>()?;
            ready.push((device, program, seen));
        }
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
        for (me, (device, program, seen)) in ready.iter().enumerate() {
            let hand_over = || {
                let mut launch = Launch::new(device, program, call.op, "peer_combine_short")?;
                for (slot, result) in [(call.ins[me], false), (call.outs[me], true)] {
                    let slot = slot.ok_or_else(|| missing(call.op))?;
                    match result {
                        true => launch.output(slot.buffer)?,
                        false => launch.input(slot.buffer)?,
                    }
                    launch.value(slot.offset as u64)?;
                }
                for (m, mem) in seen.iter().enumerate() {
                    match mem {
                        Some(mem) => launch.remote(mem)?,
                        None => launch.own(&self.controls[m])?,
                    }
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
            if let Err(e) = hand_over() {
                state.broken = Some(e.clone());
                return Err(e);
            }
        }
        Ok(())
    }
}

/// Enough groups for the lines, and one even for none: every member has to arrive and leave.
fn groups(range: &Lines) -> usize {
    range.len().div_ceil(POINT.group * POINT.unroll).clamp(1, POINT.groups)
}
