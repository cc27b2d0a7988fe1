//! What a member's kernels note about their calls, for those who read what they wrote.

use super::{STATUS_AT, Team};
use crate::error::{Error, ErrorKind, Result};
use crate::opencl::watch::Noted;
use std::sync::Arc;

/// One member's note.
struct Note {
    team: Arc<Team>,
    member: usize,
}

impl Noted for Note {
    fn outcome(&self) -> Result<()> {
        self.team.outcome_of("read", self.member)
    }
}

impl Team {
    /// The notes of all members.
    pub fn notes(self: &Arc<Team>) -> Vec<Arc<dyn Noted>> {
        let note = |member| Arc::new(Note { team: self.clone(), member }) as Arc<dyn Noted>;
        (0..self.members()).map(note).collect()
    }

    /// Waits for one member, and tells whether the calls so far have succeeded there.
    pub fn outcome_of(&self, op: &'static str, member: usize) -> Result<()> {
        let mut word = [0; 8];
        self.controls[member].download(STATUS_AT, &mut word)?;
        self.told(op, member, u64::from_le_bytes(word))
    }

    /// Waits for all members, and tells whether the first `handed` collectives have succeeded, which often
    /// is known since somebody asked for later ones.
    pub fn check_until(&self, op: &'static str, handed: u64) -> Result<()> {
        let state = self.state();
        if state.broken.is_none() && state.checked >= handed {
            return Ok(());
        }
        drop(state);
        self.check(op)
    }

    /// Waits for all members, and tells whether the calls so far have succeeded.
    pub fn check(&self, op: &'static str) -> Result<()> {
        let handed = self.state().handed;
        self.hands.each(self.members(), &|member| self.outcome_of(op, member))?;
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        state.checked = state.checked.max(handed);
        Ok(())
    }

    /// What a member's status means.
    fn told(&self, op: &'static str, member: usize, status: u64) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // As `clan_give_up` writes it.
        let (call, missing) = (status & ((1 << 56) - 1), (status >> 56) as usize);
        let text = format!(
            "did not come: member {member} ({}) waited in vain in call {call} of the team; make the group again, without whoever is lost",
            self.devices[member]
        );
        let mut error = Error::new(ErrorKind::Deadline, op, text);
        let missing = missing.wrapping_sub(1);
        if let Some(device) = self.devices.get(missing) {
            error = error.of_member(op, missing, &device.to_string());
        }
        self.state().broken.get_or_insert_with(|| error.clone());
        Err(error)
    }
}
