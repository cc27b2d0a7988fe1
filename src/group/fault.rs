//! Faults for tests: a member that fails or hangs.

use super::engine::{Job, Stop};
use crate::error::{Error, ErrorKind};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// As a driver that reports an error.
    Fails,
    /// As a link whose elements never come, watched by the worker.
    Hangs,
    /// As a call of a driver that does not return for so long: the worker notices nothing.
    Stuck(Duration),
    /// As a user's operator that panics.
    Panics,
}

/// Strikes at every task of a member.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub member: usize,
    pub kind: Kind,
}

impl Fault {
    pub fn strike(&self, job: &Job, member: usize, _task: usize) -> Result<(), Stop> {
        if member != self.member {
            return Ok(());
        }
        match self.kind {
            Kind::Fails => {
                let text = "the link broke, as the test wanted";
                Err(Stop::Failed(Error::new(ErrorKind::Driver, job.completion.op(), text)))
            }
            Kind::Hangs => loop {
                job.go_on()?;
                std::thread::sleep(Duration::from_millis(1));
            },
            Kind::Stuck(time) => {
                std::thread::sleep(time);
                Ok(())
            }
            Kind::Panics => panic!("as the test wanted"),
        }
    }
}
