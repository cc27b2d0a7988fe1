//! What each member's kernel has to do for a collective.

use super::text::Kernel;
use crate::backend::{Buffer, Memory};
use crate::element::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::group::schedule::Collective;
use crate::opencl::ClBlock;
use std::time::Duration;

/// A place in a member's memory.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub buffer: &'a Buffer,
    /// In elements.
    pub offset: usize,
}

impl<'a> Slot<'a> {
    pub fn new(buffer: &'a Buffer, offset: usize) -> Slot<'a> {
        Slot { buffer, offset }
    }

    pub(super) fn after(self, elements: usize) -> Slot<'a> {
        Slot { offset: self.offset + elements, ..self }
    }

    /// The memory, of an OpenCL device and not empty.
    pub(super) fn block(&self) -> Option<&'a ClBlock> {
        match &self.buffer.memory {
            Memory::Cl(block) => Some(block),
            _ => None,
        }
    }

    pub(super) fn is(&self, other: &Slot<'_>) -> bool {
        std::ptr::eq(self.buffer, other.buffer) && self.offset == other.offset
    }
}

/// A collective over the members' memory.
///
/// | collective | in | out |
/// |---|---|---|
/// | broadcast, scatter | the root's | every member's |
/// | reduce, gather | every member's | the root's |
/// | the others | every member's | every member's |
///
/// Slots that the table does not name may be `None`. Results may take the place of the same member's
/// elements (same buffer, same offset) where all have the same length, and in `AllGather` a member's
/// block may lie in its place already; they overlap nothing else.
/// The caller owns the buffers of `outs` alone.
pub(crate) struct Call<'a> {
    /// What errors name.
    pub op: &'static str,
    pub collective: Collective,
    pub dtype: DType,
    pub ins: &'a [Option<Slot<'a>>],
    pub outs: &'a [Option<Slot<'a>>],
    /// Elements of the members' blocks, in their order. Collectives that know no blocks go by the
    /// sum; those of `AllToAll` have one length.
    pub blocks: &'a [usize],
    /// The body of a function of `a` and `b` in OpenCL C, of the type that `dtype` is computed in.
    pub body: Option<&'a str>,
    /// How long members wait for each other, work before the call included.
    pub patience: Duration,
}

/// Who gets what of the members' elements. The numbers are those of `cl/peer.cl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    All = 0,
    UpToItself = 1,
    Before = 2,
}

/// One member's kernel.
pub(super) enum Work<'a> {
    /// Elements of all, combined, to some.
    Combine { ins: Vec<Slot<'a>>, outs: Vec<Slot<'a>>, to: u32, range: Lines },
    /// Elements of one to some.
    Spread { from: Slot<'a>, outs: Vec<Slot<'a>>, to: u32, range: Lines },
    /// A block to each, or the same one to all where `stride` is 0. `outs` begin with the member's own,
    /// which gets its block only if `own`.
    Exchange { from: Slot<'a>, outs: Vec<Slot<'a>>, own: bool, stride: usize, range: Lines },
}

/// Lines `lo .. hi`, and `rest` elements after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    pub lo: u64,
    pub hi: u64,
    pub rest: u32,
}

impl Lines {
    /// All of `n` elements, `parts` to a line.
    fn all(n: usize, parts: usize) -> Lines {
        Lines { lo: 0, hi: (n / parts) as u64, rest: (n % parts) as u32 }
    }

    /// The share of one in `sharers` of `n` elements; the last one's has what is no line.
    fn share(n: usize, parts: usize, sharer: usize, sharers: usize) -> Lines {
        let lines = n / parts;
        // The first ones have one more where it does not divide; nothing overflows.
        let start = |s: usize| (lines / sharers * s + (lines % sharers).min(s)) as u64;
        let rest = if sharer + 1 == sharers { n % parts } else { 0 };
        Lines { lo: start(sharer), hi: start(sharer + 1), rest: rest as u32 }
    }

    const NONE: Lines = Lines { lo: 0, hi: 0, rest: 0 };

    pub fn len(&self) -> usize {
        (self.hi - self.lo) as usize
    }
}

impl Work<'_> {
    pub fn kernel(&self) -> Kernel {
        match self {
            Work::Combine { .. } => Kernel::Combine,
            Work::Spread { .. } => Kernel::Spread,
            Work::Exchange { .. } => Kernel::Exchange,
        }
    }
}

impl<'a> Call<'a> {
    pub fn members(&self) -> usize {
        self.blocks.len()
    }

    /// Elements of all blocks.
    pub fn total(&self) -> usize {
        self.blocks.iter().sum()
    }

    /// Elements before a member's block.
    pub(super) fn start(&self, member: usize) -> usize {
        self.blocks[..member].iter().sum()
    }

    pub fn root(&self) -> Option<usize> {
        match self.collective {
            Collective::Broadcast { root }
            | Collective::Reduce { root }
            | Collective::Scatter { root }
            | Collective::Gather { root } => Some(root),
            _ => None,
        }
    }

    /// Elements that a member passes, or gets: none where the table has no entry.
    pub fn elements(&self, member: usize, result: bool) -> Option<usize> {
        use Collective as C;
        let (all, own) = (self.total(), self.blocks[member]);
        let at_root = |root, n| (member == root).then_some(n);
        match (self.collective, result) {
            (C::Broadcast { root }, false) | (C::Reduce { root }, true) => at_root(root, all),
            (C::Scatter { root }, false) | (C::Gather { root }, true) => at_root(root, all),
            (C::ReduceScatter, true) | (C::AllGather, false) => Some(own),
            (C::Scatter { .. }, true) | (C::Gather { .. }, false) => Some(own),
            _ => Some(all),
        }
    }

    pub fn takes(&self) -> Takes {
        match self.collective {
            Collective::Scan => Takes::UpToItself,
            Collective::ExclusiveScan => Takes::Before,
            _ => Takes::All,
        }
    }

    pub fn combines(&self) -> bool {
        use Collective as C;
        matches!(
            self.collective,
            C::Reduce { .. } | C::AllReduce | C::ReduceScatter | C::Scan | C::ExclusiveScan
        )
    }

    fn mistake(&self, text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Argument, self.op, text)
    }

    /// Errors of callers, before anything is enqueued.
    pub fn check(&self, members: usize) -> Result<()> {
        if [self.ins.len(), self.outs.len(), self.blocks.len()] != [members; 3] {
            return Err(self.mistake(format!("a team of {members} members needs a slot for each")));
        }
        if self.root().is_some_and(|root| root >= members) {
            return Err(self.mistake(format!("the root is none of {members} members")));
        }
        if self.combines() && self.body.is_none() {
            return Err(self.mistake("there is nothing to combine elements with"));
        }
        let exchange = self.collective == Collective::AllToAll;
        if exchange && self.blocks.iter().any(|&b| b != self.blocks[0]) {
            return Err(self.mistake("blocks of an exchange between peers have one length"));
        }
        for member in 0..members {
            for (slots, result) in [(self.ins, false), (self.outs, true)] {
                if self.elements(member, result).is_some_and(|n| n > 0)
                    && slots[member].is_none_or(|s| s.block().is_none())
                {
                    return Err(self.mistake(format!("member {member} has no memory in the call")));
                }
            }
        }
        Ok(())
    }

    /// Elements in a line of 16 bytes, or 1 when some line would not be aligned.
    pub fn parts(&self, slots: &[Slot<'_>]) -> usize {
        use Collective as C;
        let parts = 16 / self.dtype.size();
        // Where blocks begin inside of somebody's elements.
        let blocks = match self.collective {
            C::Broadcast { .. } | C::Reduce { .. } | C::AllReduce | C::Scan | C::ExclusiveScan => {
                true
            }
            _ => (0..self.members()).all(|m| self.start(m).is_multiple_of(parts)),
        };
        let slots = slots.iter().all(|slot| slot.offset.is_multiple_of(parts));
        if blocks && slots { parts } else { 1 }
    }

    /// What the kernel of a member does, over slots that all members reach.
    pub(super) fn work(
        &self,
        me: usize,
        ins: &[Slot<'a>],
        outs: &[Slot<'a>],
        parts: usize,
    ) -> Work<'a> {
        use Collective as C;
        let (p, n) = (self.members(), self.total());
        let everyone = u32::MAX >> (32 - p);
        // All but the root work, for the wires of the root are full of its elements.
        let without = |root: usize| match me == root {
            true => Lines::NONE,
            false => Lines::share(n, parts, me - usize::from(me > root), p - 1),
        };
        let own_lines = Lines::all(self.blocks[me], parts);
        let after = |slots: &[Slot<'a>]| -> Vec<Slot<'a>> {
            slots.iter().map(|s| s.after(self.start(me))).collect()
        };
        let exchange = |stride: usize| {
            let mut outs = after(outs);
            outs.rotate_left(me);
            let own = !ins[me].is(&outs[0]);
            Work::Exchange { from: ins[me], outs, own, stride, range: own_lines }
        };
        match self.collective {
            C::AllReduce | C::Scan | C::ExclusiveScan => {
                let first = u32::from(self.collective == C::ExclusiveScan);
                let to = everyone & !first;
                let range = Lines::share(n, parts, me, p);
                Work::Combine { ins: ins.to_vec(), outs: outs.to_vec(), to, range }
            }
            C::Reduce { root } => Work::Combine {
                ins: ins.to_vec(),
                outs: vec![outs[root]; p],
                to: 1 << root,
                range: without(root),
            },
            C::ReduceScatter => Work::Combine {
                ins: after(ins),
                outs: vec![outs[me]; p],
                to: 1 << me,
                range: own_lines,
            },
            C::Broadcast { root } => {
                // The root's own copy does not go over wires.
                let (to, range) = match (me == root, ins[root].is(&outs[root])) {
                    (true, true) => (0, Lines::NONE),
                    (true, false) => (1 << root, Lines::all(n, parts)),
                    (false, _) => (everyone & !(1 << root), without(root)),
                };
                Work::Spread { from: ins[root], outs: outs.to_vec(), to, range }
            }
            C::AllGather => exchange(0),
            C::Scatter { root } => Work::Spread {
                from: ins[root].after(self.start(me)),
                outs: vec![outs[me]; p],
                to: 1 << me,
                range: own_lines,
            },
            C::Gather { root } => Work::Spread {
                from: ins[me],
                outs: vec![outs[root].after(self.start(me)); p],
                to: 1 << root,
                range: own_lines,
            },
            C::AllToAll => exchange(self.blocks[me]),
        }
    }
}
