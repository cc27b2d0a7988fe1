//! From a checked call to a job: choice of the schedule, memory, hand-over.

use super::call::{Call, Route};
use super::completion::Completion;
use super::cut::{Counts, Cut};
use super::engine::{Job, Progress, Store};
use super::plan::Plan;
use super::schedule::{Algorithm, Collective, Schedule};
use super::{Group, Operator, link};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::ops::copy;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A collective with all that it needs; nothing has moved yet.
pub(super) struct Request<'a, T: Element> {
    pub op: &'static str,
    pub collective: Collective,
    /// Of every member that gives something.
    pub inputs: Vec<Option<&'a DeviceArray<T>>>,
    pub counts: Counts,
    /// Of every member that gets something.
    pub shapes: Vec<Option<Vec<usize>>>,
    pub operator: Option<Operator<T>>,
}

impl Group {
    /// Checks that there is one array a member, each on its member's device.
    pub(super) fn fits<T: Element>(
        &self,
        op: &'static str,
        parts: &[DeviceArray<T>],
    ) -> Result<()> {
        if parts.len() != self.len() {
            let text = format!("{} arrays for {} members", parts.len(), self.len());
            return Err(Error::argument(op, text));
        }
        (0..self.len()).try_for_each(|m| self.on_member(op, &parts[m], m))
    }

    pub(super) fn on_member<T: Element>(
        &self,
        op: &'static str,
        part: &DeviceArray<T>,
        member: usize,
    ) -> Result<()> {
        let device = &self.members()[member];
        if part.device() == device {
            return Ok(());
        }
        let text = format!(
            "its array is on {}; move it with `to_device`, or list the members in the order of the arrays",
            part.device()
        );
        let error = Error::new(ErrorKind::DeviceMismatch, op, text);
        Err(error.of_member(op, member, &device.to_string()))
    }

    /// The schedule of a collective over so many elements.
    fn schedule(
        &self,
        op: &'static str,
        collective: Collective,
        algorithm: Option<Algorithm>,
        bytes: usize,
        ordered: bool,
    ) -> Result<Schedule> {
        let p = self.len();
        let algorithm = match algorithm {
            Some(forced) => forced,
            None => self.choose(collective, bytes, ordered),
        };
        let made = Schedule::new(collective, algorithm, p);
        match made {
            Some(s) if s.ordered || !ordered => Ok(s),
            Some(_) => {
                let text = format!(
                    "{algorithm:?} does not keep the order of {p} members, which an operator that does not commute needs; take Tree"
                );
                Err(Error::argument(op, text))
            }
            None => {
                let text = format!(
                    "{algorithm:?} is not made for it; there are {:?}",
                    Schedule::candidates(collective, p)
                );
                Err(Error::argument(op, text))
            }
        }
    }

    /// Starts a call. Everything that can be wrong with it is found before any element moves.
    pub(super) fn start<T: Element>(&self, request: Request<'_, T>) -> Result<Call<T>> {
        self.start_with(self.settings.algorithm, request)
    }

    /// As [`Group::start`], by an algorithm if it is given.
    pub(super) fn start_with<T: Element>(
        &self,
        algorithm: Option<Algorithm>,
        request: Request<'_, T>,
    ) -> Result<Call<T>> {
        let Request { op, collective, inputs, counts, shapes, operator } = request;
        let combine = match &operator {
            Some(operator) => Some(operator.combine(op)?),
            None => None,
        };
        let ordered = combine.as_ref().is_some_and(|c| !c.commutes);
        let size = T::DTYPE.size();
        let bytes = counts.total().saturating_mul(size);
        let schedule = self.schedule(op, collective, algorithm, bytes, ordered)?;
        let plan = Plan::new(&schedule, &Cut::new(&schedule, &counts));
        let name = |m: usize| self.members()[m].to_string();
        let of = |m: usize| move |e: Error| e.of_member(op, m, &self.members()[m].to_string());
        if let Some(combine) = &combine {
            for m in 0..self.len() {
                link::prepare(op, combine, &plan, m, &self.members()[m]).map_err(of(m))?;
            }
        }

        let working = (0..self.len()).filter(|&m| !plan.of[m].is_empty());
        let working = working.map(|m| (m, name(m))).collect();
        let completion = Arc::new(Completion::new(op, self.settings.deadline, working));
        let divisor = match operator.as_ref().is_some_and(Operator::averages) {
            true => self.len(),
            false => 1,
        };
        let mut stores = Vec::with_capacity(self.len());
        let mut results = Vec::new();
        for (m, device) in self.members().iter().enumerate() {
            let input = match inputs[m] {
                Some(part) => Some(copy::contiguous(part.raw().map_err(of(m))?).map_err(of(m))?),
                None => None,
            };
            let memory = |n: usize| -> Result<Buffer> {
                let layout = Layout::contiguous(&[n]);
                RawArray::alloc(op, device, &layout, T::DTYPE).map_err(of(m))
            };
            let some = |n: usize| if n > 0 { memory(n).map(Some) } else { Ok(None) };
            let mut result = None;
            if let (Some(n), Some(shape)) = (plan.result[m], &shapes[m]) {
                let layout = Layout::contiguous(shape);
                match inputs[m] {
                    // The very array, which nobody changes.
                    Some(part) if plan.kept[m] && divisor == 1 && part.shape() == shape => {
                        results.push(part.clone());
                    }
                    _ => {
                        let mut buffer = memory(n)?;
                        buffer.pending = Some(completion.clone());
                        let buffer = Arc::new(buffer);
                        let raw = RawArray { buffer: buffer.clone(), layout, dtype: T::DTYPE };
                        results.push(DeviceArray::from_raw(raw));
                        result = Some(buffer);
                    }
                }
            }
            let input = input.map(|raw| (raw.buffer, raw.layout.offset));
            stores.push(Store {
                device: device.clone(),
                input,
                result,
                scratch: some(plan.scratch[m])?,
                temp: some(plan.temp[m])?,
            });
        }
        let route = self.route(&schedule, &plan);
        let job = Job {
            done: Progress::new(plan.tasks.len()),
            plan,
            stores,
            combine,
            divisor,
            size,
            chunk: self.settings.chunk,
            completion: completion.clone(),
            #[cfg(test)]
            fault: self.settings.fault.clone(),
        };
        self.shared.workers.submit(job)?;
        let inputs = inputs.into_iter().flatten().cloned().collect();
        Ok(Call { completion, route, results, inputs })
    }

    /// As [`Group::start`], for one array a member whose results take the arrays' places.
    pub(super) fn in_place<T: Element>(
        parts: &mut [DeviceArray<T>],
        targets: impl Iterator<Item = usize>,
        mut call: Call<T>,
    ) -> Call<T> {
        call.inputs = parts.to_vec();
        for (m, result) in targets.zip(std::mem::take(&mut call.results)) {
            parts[m] = result;
        }
        call
    }

    fn route(&self, schedule: &Schedule, plan: &Plan) -> Route {
        let between = plan.tasks.iter().filter(|t| t.from != t.to);
        let kinds: BTreeSet<&str> =
            between.map(|t| link::kind(&self.members()[t.from], &self.members()[t.to])).collect();
        let link = match kinds.is_empty() {
            true => "none".to_string(),
            false => kinds.into_iter().collect::<Vec<_>>().join("+"),
        };
        Route { schedule: schedule.algorithm.to_string(), link }
    }

    fn choose(&self, collective: Collective, bytes: usize, ordered: bool) -> Algorithm {
        let link = |_, _| super::clock::Link { latency: 5e-6, bandwidth: 5e9 };
        let machine = super::clock::Machine { link: &link, combine: 5e9 };
        let picked = super::clock::pick(collective, self.len(), bytes, ordered, &machine);
        picked.map_or(Algorithm::Star, |(algorithm, _)| algorithm)
    }
}

/// The first axis of an array without axes is as if it had one element.
pub(super) fn rows(shape: &[usize]) -> usize {
    shape.first().copied().unwrap_or(1)
}

/// The shape with another number of rows.
pub(super) fn with_rows(shape: &[usize], rows: usize) -> Vec<usize> {
    let rest = shape.get(1..).unwrap_or(&[]);
    std::iter::once(rows).chain(rest.iter().copied()).collect()
}

/// Elements of a row.
pub(super) fn row(shape: &[usize]) -> usize {
    shape.get(1..).unwrap_or(&[]).iter().product()
}
