//! What a call in the background comes to.

use super::link::Check;
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by a call's handle, the arrays that it fills, and those who fill them.
pub(crate) struct Completion {
    op: &'static str,
    /// When it was called: the deadline counts from here, time in the queue included.
    start: Instant,
    deadline: Duration,
    /// The members' devices.
    members: Vec<Device>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    outcome: Option<Result<()>>,
    seconds: f64,
    /// Members who have not finished, for the message when nobody answers.
    working: Vec<usize>,
    /// Results are ordered in the devices' queues; this tells whether they came about.
    check: Option<Check>,
}

/// Beyond the deadline, until those who wait no longer count on the workers to tell them.
const GRACE: Duration = Duration::from_millis(500);

impl Completion {
    pub fn new(
        op: &'static str,
        deadline: Duration,
        members: &[Device],
        working: Vec<usize>,
    ) -> Completion {
        let state = Mutex::new(State { working, ..State::default() });
        let (members, changed) = (members.to_vec(), Condvar::new());
        Completion { op, start: Instant::now(), deadline, members, state, changed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operation that users called.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// What is left until the deadline.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.checked_sub(self.start.elapsed())
    }

    /// Whether even those who notice late should have noticed.
    pub fn overdue(&self) -> bool {
        self.start.elapsed() > self.deadline + GRACE
    }

    /// The error of a member that did not finish in time.
    pub fn late(&self, member: usize) -> Error {
        let text = format!(
            "did not finish within {:?}; repeat with a longer `with_deadline`, or go on with `without({member})`",
            self.deadline
        );
        self.blame(member, Error::new(ErrorKind::Deadline, self.op, text))
    }

    /// The error as one of a member.
    pub fn blame(&self, member: usize, e: Error) -> Error {
        let name = self.members.get(member).map(ToString::to_string);
        e.of_member(self.op, member, name.as_deref().unwrap_or("?"))
    }

    /// Whose device a worker that serves them all is about to call.
    #[cfg(any(feature = "opencl", test))]
    pub fn serves(&self, member: usize) {
        self.state().working = vec![member];
    }

    /// Sets the outcome; the first one stays.
    pub fn set(&self, outcome: Result<()>) {
        let mut state = self.state();
        if state.outcome.is_none() {
            state.seconds = self.start.elapsed().as_secs_f64();
            state.outcome = Some(outcome);
            self.changed.notify_all();
        }
    }

    /// The devices have all that they need: whatever they do next finds the results. `check` waits, and
    /// tells what came of it.
    pub fn set_ordered(&self, check: Check) {
        self.state().check = Some(check);
        self.set(Ok(()));
    }

    /// As [`Completion::wait`], for results that the host is to believe.
    pub fn verified(&self) -> Result<()> {
        self.wait()?;
        let check = self.state().check.clone();
        let Some(check) = check else { return self.wait() };
        // It stays until its answer is known: who asks meanwhile waits as well.
        let outcome = check();
        let mut state = self.state();
        state.check = None;
        state.seconds = self.start.elapsed().as_secs_f64();
        state.outcome = Some(outcome.clone());
        outcome
    }

    /// A member has done its part.
    pub fn finished(&self, member: usize) {
        self.state().working.retain(|&m| m != member);
    }

    pub fn is_done(&self) -> bool {
        self.state().outcome.is_some()
    }

    pub fn failed(&self) -> bool {
        matches!(self.state().outcome, Some(Err(_)))
    }

    /// From the call to its end.
    pub fn seconds(&self) -> Option<f64> {
        let state = self.state();
        matches!(state.outcome, Some(Ok(()))).then_some(state.seconds)
    }

    /// Waits for the outcome, but never much longer than the deadline.
    pub fn wait(&self) -> Result<()> {
        let mut state = self.state();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            let left = (self.deadline + GRACE).checked_sub(self.start.elapsed());
            let Some(left) = left else {
                // Whoever should have noticed is stuck in a call of its driver.
                let member = state.working.first().copied().unwrap_or(0);
                drop(state);
                self.set(Err(self.late(member)));
                state = self.state();
                continue;
            };
            let slept = self.changed.wait_timeout(state, left);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
