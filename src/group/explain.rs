//! What a call will do, in words and numbers.

use super::Group;
use super::clock::Timing;
use super::cut::{Counts, even};
use super::schedule::{Algorithm, Collective, Schedule};
use crate::error::{Error, Result};
use std::fmt;
use std::sync::PoisonError;

/// How a group carries a collective out: what [`Group::explain`] gives. Its text has all of it.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What.
    pub collective: Collective,
    /// Bytes of a member.
    pub bytes: usize,
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// How many take part.
    pub members: usize,
    /// Rounds of messages.
    pub rounds: usize,
    /// Steps of the schedule.
    pub steps: usize,
    /// The most bytes that one step moves.
    pub bytes_a_hop: usize,
    /// What links there are between members, and how many pairs have each.
    pub links: Vec<(&'static str, usize)>,
    /// What it is expected to take.
    pub predicted_seconds: f64,
    /// What the last such call took: the same collective of about as many bytes.
    pub measured_seconds: Option<f64>,
}

fn amount(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} over {} members by {:?}",
            self.collective.name(),
            amount(self.bytes),
            self.members,
            self.algorithm
        )?;
        writeln!(
            f,
            "  {} rounds, {} steps, {} a hop at most",
            self.rounds,
            self.steps,
            amount(self.bytes_a_hop)
        )?;
        let links = self.links.iter().map(|(kind, n)| format!("{n} {kind}"));
        writeln!(f, "  links: {}", links.collect::<Vec<_>>().join(", "))?;
        let rate = |s: f64| self.bytes as f64 / s / 1e9;
        let p = self.predicted_seconds;
        write!(f, "  predicted {:.1} µs, {:.2} GB/s", p * 1e6, rate(p))?;
        match self.measured_seconds {
            Some(s) => write!(f, "; measured {:.1} µs, {:.2} GB/s", s * 1e6, rate(s)),
            None => write!(f, "; not measured yet"),
        }
    }
}

/// Sizes that differ by less than a factor of two are one class.
pub(super) fn class(bytes: usize) -> u32 {
    bytes.max(1).ilog2()
}

impl Group {
    /// How a call of `bytes` a member would be carried out, and what that is expected to take. The links are
    /// measured when they are not known.
    ///
    /// ```
    /// use clan::{Device, Group, group::schedule::Collective};
    /// let group = Group::new(vec![Device::host(); 4])?;
    /// let how = group.explain(Collective::AllReduce, 1 << 20)?;
    /// assert!(how.predicted_seconds > 0.0);
    /// assert!(how.to_string().contains("all_reduce of 1.0 MiB over 4 members"));
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// A root that is no member; an algorithm, of [`Group::with_algorithm`], that is not made for it.
    pub fn explain(&self, collective: Collective, bytes: usize) -> Result<Explanation> {
        use Collective as C;
        const OP: &str = "explain";
        let p = self.len();
        if let C::Broadcast { root }
        | C::Reduce { root }
        | C::Scatter { root }
        | C::Gather { root } = collective
        {
            self.is_member(OP, "root", root)?;
        }
        let counts = match collective {
            C::ReduceScatter | C::Scatter { .. } => Counts::Blocks(even(bytes, p)),
            C::AllGather | C::Gather { .. } => Counts::Blocks(vec![bytes; p]),
            C::AllToAll => Counts::Pairs(vec![even(bytes, p); p]),
            _ => Counts::Whole(bytes),
        };
        let algorithm = match self.settings.algorithm {
            Some(forced) => forced,
            None => self.choose(collective, &counts, 1, false),
        };
        let Some(Timing { seconds, .. }) = self.predict(collective, algorithm, &counts, 1) else {
            let text = format!(
                "{algorithm:?} is not made for {}; there are {:?}",
                collective.name(),
                Schedule::candidates(collective, p)
            );
            return Err(Error::argument(OP, text));
        };
        let (rounds, steps, bytes_a_hop) = match Schedule::new(collective, algorithm, p) {
            Some(s) => {
                let count = s.steps.iter().map(|t| t.count as usize).max().unwrap_or(0);
                let block = counts.total().div_ceil(s.blocks);
                (s.rounds(), s.steps.len(), (count * block).min(counts.total()))
            }
            None => {
                let items = super::hub::items(collective, p, &counts);
                let steps = items.iter().map(|i| i.sources.len() + i.targets.len()).sum();
                let most = items.iter().map(|i| i.len).max().unwrap_or(0);
                (2, steps, most)
            }
        };
        let last = self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
        let measured = last.get(&(collective.name(), class(bytes)));
        Ok(Explanation {
            collective,
            bytes,
            algorithm,
            members: p,
            rounds,
            steps,
            bytes_a_hop,
            links: self.link_kinds(),
            predicted_seconds: seconds,
            measured_seconds: measured.and_then(|c| c.seconds()),
        })
    }

    fn link_kinds(&self) -> Vec<(&'static str, usize)> {
        let mut kinds: Vec<(&'static str, usize)> = Vec::new();
        for (k, a) in self.members().iter().enumerate() {
            for b in &self.members()[k + 1..] {
                let kind = match (a.is_host(), b.is_host()) {
                    (true, true) => "host memory",
                    _ if a == b => "within a device",
                    (false, false) => "staged",
                    _ => "device and host",
                };
                match kinds.iter_mut().find(|(name, _)| *name == kind) {
                    Some((_, n)) => *n += 1,
                    None => kinds.push((kind, 1)),
                }
            }
        }
        kinds
    }
}
