//! From a checked call to a job: choice of the schedule, memory, hand-over.

use super::call::{Call, Route};
use super::completion::Completion;
use super::cut::{self, Counts, Cut};
use super::engine::{Job, Progress, Store};
use super::explain::class;
use super::hub::{self, Item};
use super::plan::Plan;
use super::schedule::{Algorithm, Collective, Schedule};
use super::{Group, Operator, link};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::ops::copy;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

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

    /// How a collective over so many elements is laid out: by a schedule, or through the hub.
    fn plan(
        &self,
        op: &'static str,
        collective: Collective,
        algorithm: Option<Algorithm>,
        (counts, size): (&Counts, usize),
        ordered: bool,
    ) -> Result<(Algorithm, Plan, Option<Vec<Item>>)> {
        let p = self.len();
        let chosen = algorithm.unwrap_or_else(|| self.choose(collective, counts, size, ordered));
        let mut algorithm = chosen;
        // What a link takes needs no schedule either.
        if matches!(chosen, Algorithm::Hub | Algorithm::Peer) {
            if p > 1 {
                let plan = Plan::idle(collective, cut::results(collective, p, counts));
                return Ok((chosen, plan, Some(hub::items(collective, p, counts))));
            }
            // A single member has all it needs.
            let any = Schedule::candidates(collective, p).first().copied();
            algorithm = any.unwrap_or(Algorithm::Star);
        }
        match Schedule::new(collective, algorithm, p) {
            Some(s) if s.ordered || !ordered => {
                Ok((chosen, Plan::new(&s, &Cut::new(&s, counts)), None))
            }
            Some(_) => {
                let text = format!(
                    "{algorithm:?} does not keep the order of {p} members, which an operator that does not commute needs; take Tree or Hub"
                );
                Err(Error::argument(op, text))
            }
            None => {
                let text = format!(
                    "{algorithm:?} is not made for it; there are Hub and {:?}",
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
        let (combine, algorithm) = match &operator {
            Some(operator) => {
                let combine = operator.combine(op)?;
                let (combine, algorithm) = self.in_one_order(op, operator, combine, algorithm)?;
                (Some(combine), algorithm)
            }
            None => (None, algorithm),
        };
        let ordered = combine.as_ref().is_some_and(|c| !c.commutes);
        let size = T::DTYPE.size();
        // Elements that not every device computes in are combined by the host.
        let lacking = combine.is_some() && !self.members().iter().all(|d| d.supports(T::DTYPE));
        let by_peers = matches!(algorithm, None | Some(Algorithm::Peer)) && self.has_peers();
        if algorithm == Some(Algorithm::Peer) && !by_peers {
            let text =
                "the members do not reach each other's memory; leave the algorithm to the group";
            return Err(Error::argument(op, text));
        }
        let algorithm = match by_peers {
            // The plan without the link that comes first.
            true => Some(Algorithm::Hub),
            false => algorithm.or_else(|| lacking.then_some(Algorithm::Hub)),
        };
        let (algorithm, plan, hub) =
            self.plan(op, collective, algorithm, (&counts, size), ordered)?;
        let of = |m: usize| move |e: Error| e.of_member(op, m, &self.members()[m].to_string());
        let divisor = match operator.as_ref().is_some_and(Operator::averages) {
            true => self.len(),
            false => 1,
        };
        // Peers build what they need themselves, before anything moves.
        if let Some(combine) = combine.as_ref().filter(|_| !by_peers) {
            let divides = divisor > 1 && hub.is_none();
            for m in 0..self.len() {
                link::prepare(op, combine, &plan, divides, m, &self.members()[m]).map_err(of(m))?;
            }
        }

        let working = (0..self.len()).filter(|&m| !plan.of[m].is_empty()).collect();
        let deadline = self.settings.deadline;
        let completion = Arc::new(Completion::new(op, deadline, self.members(), working));
        let mine = inputs.iter().flatten().map(|part| part.len()).max().unwrap_or(0);
        let bytes = mine * size;
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
        // A link with a way of its own goes before all algorithms, unless the user named one.
        if by_peers {
            let whole = link::Whole {
                collective,
                dtype: T::DTYPE,
                counts: &counts,
                stores: &stores,
                combine: combine.as_deref(),
                divisor,
                op,
                deadline: self.settings.deadline,
            };
            if let Some(done) = self.shared.ways.try_run(self.members(), &whole) {
                match done {
                    Ok(check) => completion.set_ordered(check),
                    Err(e) => {
                        completion.set(Err(e.clone()));
                        return Err(e);
                    }
                }
                self.note(collective, bytes, &completion);
                let inputs = inputs.into_iter().flatten().cloned().collect();
                let route =
                    Route { schedule: Algorithm::Peer.to_string(), link: link::WHOLE.to_string() };
                return Ok(Call { completion, route, results, inputs });
            }
        }
        let route = Route {
            schedule: algorithm.to_string(),
            link: self.kinds_of_links(&plan, hub.as_deref()),
        };
        let job = Job {
            done: Progress::new(plan.tasks.len(), self.len()),
            plan,
            hub,
            stores,
            combine,
            divisor,
            size,
            chunk: self.settings.chunk,
            crew: self.settings.crew.clone(),
            fence: false,
            completion: completion.clone(),
            #[cfg(test)]
            fault: self.settings.fault.clone(),
        };
        self.shared.workers.submit(job)?;
        self.note(collective, bytes, &completion);
        let inputs = inputs.into_iter().flatten().cloned().collect();
        Ok(Call { completion, route, results, inputs })
    }

    /// Whether the members are GPUs that reach each other's memory, which is tried once.
    pub(super) fn has_peers(&self) -> bool {
        self.shared.ways.takes(self.members())
    }

    /// Keeps a call for [`Group::explain`].
    fn note(&self, collective: Collective, bytes: usize, completion: &Arc<Completion>) {
        let mut last = self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert((collective.name(), class(bytes)), completion.clone());
    }

    /// Waits for all workers, and for their devices.
    pub(super) fn fence(&self, op: &'static str) -> Result<()> {
        let p = self.len();
        let deadline = self.settings.deadline;
        let completion = Arc::new(Completion::new(op, deadline, self.members(), (0..p).collect()));
        let store = |device: &Device| Store {
            device: device.clone(),
            input: None,
            result: None,
            scratch: None,
            temp: None,
        };
        self.shared.workers.submit(Job {
            plan: Plan::nothing(p),
            hub: None,
            stores: self.members().iter().map(store).collect(),
            combine: None,
            divisor: 1,
            size: 1,
            chunk: 0,
            crew: self.settings.crew.clone(),
            fence: true,
            completion: completion.clone(),
            done: Progress::new(0, p),
            #[cfg(test)]
            fault: self.settings.fault.clone(),
        })?;
        completion.wait()
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

    /// The kinds of links that elements take, by name.
    fn kinds_of_links(&self, plan: &Plan, hub: Option<&[Item]>) -> String {
        let members = self.members();
        let between = plan.tasks.iter().filter(|t| t.from != t.to);
        let mut kinds: BTreeSet<&str> =
            between.map(|t| link::kind(&members[t.from], &members[t.to])).collect();
        for item in hub.unwrap_or(&[]) {
            let ends =
                item.sources.iter().map(|s| s.0).chain(item.targets.iter().map(|t| t.member));
            kinds.extend(ends.map(|m| if members[m].is_host() { "host" } else { "staged" }));
        }
        match kinds.is_empty() {
            true => "none".to_string(),
            false => kinds.into_iter().collect::<Vec<_>>().join("+"),
        }
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
