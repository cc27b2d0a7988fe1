//! A schedule laid out in memory: who moves which elements when, and what it waits for.
//!
//! Every member carries out the tasks that bring elements to it, in order; the sender does nothing. A
//! task reads its elements where they lie at the sender, combines or keeps them, and is then done.
//! It waits for the tasks that wrote what it reads, and for those that read what it writes.
//!
//! Steps of one round read before any of them writes. Where one writes what another of its round reads,
//! it becomes two tasks: one that fetches into memory of its own, and one that applies what was
//! fetched. A member's tasks of a round are all fetches, then all whole steps, then all that are
//! applied. So nobody waits in a circle: fetches and whole steps wait for earlier rounds only, and what is
//! applied waits for fetches and whole steps of its own round at most.

use super::cut::{At, Cut, Region};
use super::schedule::{Action, Collective, Schedule};

/// Elements that are moved from one place to one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// At the sender.
    pub from: At,
    /// At the receiver: what they are combined with.
    pub own: At,
    /// At the receiver: where they, or what they are combined to, go.
    pub to: At,
    pub len: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub from: usize,
    pub to: usize,
    pub action: Action,
    pub pieces: Vec<Piece>,
    /// Tasks of other members that have to be done first.
    pub after: Vec<usize>,
}

impl Task {
    #[cfg(feature = "opencl")]
    pub fn elements(&self) -> usize {
        self.pieces.iter().map(|p| p.len).sum()
    }
}

pub(crate) struct Plan {
    pub tasks: Vec<Task>,
    /// The tasks of every member, in order.
    pub of: Vec<Vec<usize>>,
    /// Elements that a member needs beside its input and result.
    pub scratch: Vec<usize>,
    pub temp: Vec<usize>,
    /// Elements of its result, when it has one.
    pub result: Vec<Option<usize>>,
    /// Members whose result is their input, as it is.
    pub kept: Vec<bool>,
}

/// Who wrote a block of a member last, and who has read it since.
#[derive(Clone, Default)]
struct Block {
    written: bool,
    writer: Option<usize>,
    readers: Vec<usize>,
}

struct Planner<'a> {
    cut: &'a Cut,
    blocks: Vec<Vec<Block>>,
    plan: Plan,
}

/// One step on its way to a task.
struct Draft {
    from: usize,
    to: usize,
    action: Action,
    pieces: Vec<Piece>,
    after: Vec<usize>,
    /// Blocks that are read where others write, and blocks that are written.
    reads: Vec<usize>,
    writes: Vec<usize>,
}

impl Plan {
    /// Without tasks, for what is done by the hub: the results, and who has it without a transfer.
    pub fn idle(collective: Collective, result: Vec<Option<usize>>) -> Plan {
        let p = result.len();
        let kept = |m: usize| match collective {
            Collective::Broadcast { root } => m == root,
            // That of an exclusive scan is put in its place.
            Collective::Scan | Collective::ExclusiveScan => m == 0,
            _ => false,
        };
        let kept = (0..p).map(kept).collect();
        Plan { result, kept, ..Plan::nothing(p) }
    }

    /// Neither tasks nor results.
    pub fn nothing(members: usize) -> Plan {
        Plan {
            tasks: Vec::new(),
            of: vec![Vec::new(); members],
            scratch: vec![0; members],
            temp: vec![0; members],
            result: vec![None; members],
            kept: vec![false; members],
        }
    }

    pub fn new(s: &Schedule, cut: &Cut) -> Plan {
        let p = s.members;
        let plan = Plan { result: cut.result.clone(), ..Plan::nothing(p) };
        let blocks = vec![vec![Block::default(); s.blocks * (s.spare + 1)]; p];
        let mut planner = Planner { cut, blocks, plan };
        for round in s.by_round() {
            planner.round(round);
        }
        planner.finish();
        planner.plan
    }
}

/// Adds a piece, to the one before it where they continue each other.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    if piece.len == 0 {
        return;
    }
    let follows = |a: At, b: At, len: usize| a.region == b.region && a.offset + len == b.offset;
    if let Some(last) = pieces.last_mut() {
        let n = last.len;
        if follows(last.from, piece.from, n)
            && follows(last.own, piece.own, n)
            && follows(last.to, piece.to, n)
        {
            last.len += piece.len;
            return;
        }
    }
    pieces.push(piece);
}

impl Planner<'_> {
    /// Where the value of a block is, when there is one.
    fn value(&self, member: usize, block: usize) -> Option<At> {
        match self.blocks[member][block].written {
            true => Some(self.cut.work[member][block]),
            false => {
                let offset = self.cut.input[member][block]?;
                Some(At { region: Region::Input, offset })
            }
        }
    }

    fn draft(&self, step: &super::schedule::Step) -> Draft {
        let (from, to) = (step.from as usize, step.to as usize);
        let mut draft = Draft {
            from,
            to,
            action: step.action,
            pieces: Vec::new(),
            after: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
        };
        for k in 0..step.count as usize {
            let (block, into) = (step.block as usize + k, step.into as usize + k);
            let len = self.cut.len[from][block].min(self.cut.len[to][into]);
            let target = self.cut.work[to][into];
            // A schedule sends what it has: its tests see to that.
            let Some(source) = self.value(from, block) else { continue };
            let own = match step.action {
                Action::Copy => Some(target),
                _ => self.value(to, into),
            };
            let Some(own) = own else { continue };
            push(&mut draft.pieces, Piece { from: source, own, to: target, len });
            if source.region != Region::Input {
                draft.reads.push(block);
                draft.after.extend(self.blocks[from][block].writer);
            }
            draft.writes.push(into);
        }
        draft
    }

    fn add(
        &mut self,
        draft: &Draft,
        pieces: Vec<Piece>,
        after: Vec<usize>,
        action: Action,
        from: usize,
    ) -> usize {
        let to = draft.to;
        let task = self.plan.tasks.len();
        for piece in &pieces {
            let end = piece.to.offset + piece.len;
            match piece.to.region {
                Region::Scratch => self.plan.scratch[to] = self.plan.scratch[to].max(end),
                Region::Temp => self.plan.temp[to] = self.plan.temp[to].max(end),
                _ => {}
            }
        }
        self.plan.tasks.push(Task { from, to, action, pieces, after });
        self.plan.of[to].push(task);
        task
    }

    fn round(&mut self, steps: &[super::schedule::Step]) {
        let mut drafts: Vec<Draft> = steps.iter().map(|s| self.draft(s)).collect();
        drafts.retain(|d| !d.pieces.is_empty());
        // Who reads a block in this round, where others may write it.
        let mut reading = vec![false; drafts.len()];
        for (k, d) in drafts.iter().enumerate() {
            reading[k] = d.writes.iter().any(|&w| {
                drafts.iter().any(|other| other.from == d.to && other.reads.contains(&w))
            });
        }
        let mut temp = vec![0; self.blocks.len()];
        let mut fetched: Vec<Vec<Piece>> = vec![Vec::new(); drafts.len()];
        // Fetches first, then whole steps; both are the tasks that read.
        for wanted in [true, false] {
            for k in 0..drafts.len() {
                if reading[k] != wanted {
                    continue;
                }
                let d = &mut drafts[k];
                let mut after = std::mem::take(&mut d.after);
                let mut pieces = d.pieces.clone();
                let action = match wanted {
                    true => {
                        let mut apply = Vec::new();
                        for piece in &mut pieces {
                            let at = At { region: Region::Temp, offset: temp[d.to] };
                            temp[d.to] += piece.len;
                            apply.push(Piece { from: at, ..*piece });
                            (piece.to, piece.own) = (at, at);
                        }
                        fetched[k] = apply;
                        Action::Copy
                    }
                    false => {
                        let blocks = &self.blocks[d.to];
                        after.extend(d.writes.iter().flat_map(|&w| blocks[w].readers.clone()));
                        d.action
                    }
                };
                let task = {
                    let d = &drafts[k];
                    self.add(d, pieces, after, action, d.from)
                };
                let d = &drafts[k];
                for &block in &d.reads {
                    self.blocks[d.from][block].readers.push(task);
                }
                if !wanted {
                    self.wrote(k, &drafts, task);
                }
            }
        }
        for k in 0..drafts.len() {
            if reading[k] {
                let d = &drafts[k];
                let blocks = &self.blocks[d.to];
                let after = d.writes.iter().flat_map(|&w| blocks[w].readers.clone()).collect();
                let task = self.add(d, std::mem::take(&mut fetched[k]), after, d.action, d.to);
                self.wrote(k, &drafts, task);
            }
        }
        for d in &drafts {
            for &w in &d.writes {
                self.blocks[d.to][w].written = true;
            }
        }
    }

    fn wrote(&mut self, k: usize, drafts: &[Draft], task: usize) {
        let d = &drafts[k];
        for &w in &d.writes {
            let block = &mut self.blocks[d.to][w];
            block.writer = Some(task);
            block.readers.clear();
        }
    }

    /// Results get what no step has written, and tasks wait for other members' alone: one's own are
    /// done in order.
    fn finish(&mut self) {
        for m in 0..self.blocks.len() {
            let Some(n) = self.plan.result[m] else { continue };
            let in_result = |b: &usize| self.cut.work[m][*b].region == Region::Result;
            let blocks: Vec<usize> = (0..self.blocks[m].len()).filter(in_result).collect();
            let untouched = |b: &usize| !self.blocks[m][*b].written;
            let in_place = |b: &usize| self.cut.input[m][*b] == Some(self.cut.work[m][*b].offset);
            let covered: usize = blocks.iter().map(|&b| self.cut.len[m][b]).sum();
            if blocks.iter().all(|b| untouched(b) && in_place(b)) && covered == n {
                let input: usize = (0..self.blocks[m].len())
                    .filter_map(|b| self.cut.input[m][b].map(|o| o + self.cut.len[m][b]))
                    .max()
                    .unwrap_or(0);
                if input == n {
                    self.plan.kept[m] = true;
                    continue;
                }
            }
            let mut pieces = Vec::new();
            for b in blocks.into_iter().filter(untouched) {
                let Some(offset) = self.cut.input[m][b] else { continue };
                let from = At { region: Region::Input, offset };
                let to = self.cut.work[m][b];
                push(&mut pieces, Piece { from, own: to, to, len: self.cut.len[m][b] });
            }
            if !pieces.is_empty() {
                let task = self.plan.tasks.len();
                let (action, after) = (Action::Copy, Vec::new());
                self.plan.tasks.push(Task { from: m, to: m, action, pieces, after });
                // Nobody waits for it, and it for nobody: while others still send, it has time.
                self.plan.of[m].insert(0, task);
            }
        }
        let to: Vec<usize> = self.plan.tasks.iter().map(|t| t.to).collect();
        for task in &mut self.plan.tasks {
            task.after.retain(|&other| to[other] != task.to);
            task.after.sort_unstable();
            task.after.dedup();
        }
    }
}
