//! The search for one kernel: known points, then neighbours of the best, now and then a jump.

use super::space::{Case, Depth, Space, Values};
use super::{check, trial};
use crate::device::Device;
use crate::error::Result;
use crate::opencl::ClDevice;
use crate::verify::oracle::Rng;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// What a search found.
pub(super) struct Outcome {
    /// Seconds of a call with the default.
    pub before: f64,
    /// A point that is faster.
    pub best: Option<Best>,
    pub tried: usize,
    pub refused: usize,
}

pub(super) struct Best {
    pub values: Values,
    /// Seconds of a call.
    pub time: f64,
    pub cost: f64,
}

/// A point has to be this much faster than the default to replace it: less may be chance.
const GAIN: f64 = 0.98;

/// Searches until `budget` is used up or nothing is left to try. The point in use until now, if any,
/// is tried whatever the budget.
pub(super) fn run(
    device: &Device,
    cl: &ClDevice,
    space: &'static Space,
    case: &Case,
    budget: Duration,
    current: Option<Values>,
    progress: &mut dyn FnMut(usize, f64),
) -> Result<Outcome> {
    let start = Instant::now();
    let call = (case.prepare)(device, case.shape)?;
    let timed = |values: Option<&Values>, limit: f64| {
        trial::with(space, values.cloned(), || time(device, &call, limit))
    };
    let before = timed(None, f64::INFINITY)?;
    progress(0, 1.0);
    let mut outcome = Outcome { before, best: None, tried: 0, refused: 0 };
    // Points that were right, the fastest first.
    let mut right: Vec<(Values, f64)> = Vec::new();
    let mut seen = HashSet::new();
    let mut rng = Rng::new(0x5eed);
    let mut queue: Vec<Values> = (space.known)(cl, case.dtype, case.class);
    queue.retain(|v| (space.fits)(cl, case.dtype, v));
    queue.reverse();
    let origin = queue.last().cloned();
    let mut first = current.is_some();
    queue.extend(current);
    while std::mem::take(&mut first) || start.elapsed() < budget {
        let next = queue.pop().or_else(|| {
            let from = right.first().map(|b| &b.0).or(origin.as_ref());
            explore(cl, space, case, from, &seen, &mut rng)
        });
        let Some(values) = next else { break };
        if !seen.insert(values.clone()) {
            continue;
        }
        outcome.tried += 1;
        let limit = right.first().map_or(before, |b| b.1.min(before)) * 1.5;
        let tried = cl.programs.forgetting(|| -> Result<Option<f64>> {
            let point = Some(values.clone());
            if let Err(what) =
                check(device, cl, space, case.dtype, case.class, point, Depth::Timed)?
            {
                log::info!("{}: {} is refused: {what}", space.name, space.write(&values));
                return Ok(None);
            }
            timed(Some(&values), limit).map(Some)
        });
        match tried {
            Ok(Some(time)) => {
                log::debug!("{}: {}: {time:.3e} s", space.name, space.write(&values));
                let at = right.partition_point(|b| b.1 <= time);
                right.insert(at, (values, time));
            }
            Ok(None) => outcome.refused += 1,
            Err(e) => {
                outcome.refused += 1;
                log::info!("{}: {} does not run: {e}", space.name, space.write(&values));
                // A kernel that faults may have taken the device with it.
                check(device, cl, space, case.dtype, case.class, None, Depth::Timed).map_err(|dead| {
                    crate::Error::new(
                        crate::ErrorKind::Driver,
                        super::OP,
                        format!(
                            "{device} fails since {} was tried with {} ({e}): {dead}. What was found before is kept; start again",
                            space.name,
                            space.write(&values)
                        ),
                    )
                })?.ok();
            }
        }
        progress(outcome.tried, right.first().map_or(1.0, |b| before / b.1).max(1.0));
    }
    for (values, time) in right {
        if time >= before * GAIN || (space.model.is_none() && Some(&values) == origin.as_ref()) {
            break;
        }
        let all = Some(values.clone());
        match check(device, cl, space, case.dtype, case.class, all, Depth::All) {
            Ok(Ok(())) => {}
            wrong => {
                outcome.refused += 1;
                log::info!("{}: {} is refused: {wrong:?}", space.name, space.write(&values));
                continue;
            }
        }
        // In turns, so that clocks and other work on the device meet both alike.
        let (mut old, mut new) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..3 {
            old = old.min(timed(None, f64::INFINITY)?);
            new = new.min(timed(Some(&values), f64::INFINITY)?);
        }
        outcome.before = old;
        if new < old * GAIN {
            let cost = match space.model {
                None => new / old,
                Some(model) => {
                    // The cost with which the model sees the same ratio as the clock.
                    let (default, rest) = model(cl, case, None);
                    let (at_one, own) = model(cl, case, Some(&values));
                    (((default + rest) * new / old - own) / at_one).max(1e-3)
                }
            };
            outcome.best = Some(Best { values, time: new, cost });
        }
        break;
    }
    Ok(outcome)
}

/// A point that was not tried: one or two parameters of `from` changed, or a random one; `None`
/// when none is found.
fn explore(
    cl: &ClDevice,
    space: &Space,
    case: &Case,
    from: Option<&Values>,
    seen: &HashSet<Values>,
    rng: &mut Rng,
) -> Option<Values> {
    let pick = |rng: &mut Rng, k: usize| {
        let choices = space.parameters[k].values;
        choices[rng.below(choices.len())]
    };
    for _ in 0..2000 {
        let mut values: Values = match from {
            Some(from) if rng.below(5) > 0 => from.clone(),
            _ => (0..space.parameters.len()).map(|k| pick(rng, k)).collect(),
        };
        for _ in 0..1 + rng.below(2) {
            let k = rng.below(values.len());
            values[k] = pick(rng, k);
        }
        if !seen.contains(&values) && (space.fits)(cl, case.dtype, &values) {
            return Some(values);
        }
    }
    None
}

/// Seconds of one call: the least of several samples, for what slows a sample down is never the
/// kernel. Gives up when the first shows more than `limit`.
fn time(device: &Device, call: &dyn Fn() -> Result<()>, limit: f64) -> Result<f64> {
    const SAMPLE: f64 = 4e-3;
    const SAMPLES: usize = 5;
    let sample = |runs: usize| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..runs {
            call()?;
        }
        device.wait()?;
        Ok(start.elapsed().as_secs_f64() / runs as f64)
    };
    // The first builds the program.
    sample(1)?;
    let once = sample(1)?;
    if once > limit && once > SAMPLE {
        return Ok(once);
    }
    let runs = (SAMPLE / once).clamp(1.0, 1000.0) as usize;
    let mut least = if runs == 1 { once } else { f64::INFINITY };
    for _ in 0..SAMPLES {
        least = least.min(sample(runs)?);
        if least > limit {
            break;
        }
    }
    Ok(least)
}
