//! How a value gets from one member of a group to all, and how a sum comes together: the communication
//! tree, drawn while it runs.
//!
//! `cargo run --release --example 06_broadcast_reduce [-- --devices NAME,NAME,…]`
//!
//! A group's algorithms are data, a list of steps from member to member. `walk` takes them one by one
//! and really moves the values between the devices; then `at_once` has the library do the same for a
//! million numbers, in one call.
//!
//! How to read the drawings: members stand side by side and time runs downwards. An arrow ends in what the
//! receiver has then, and a line downwards says that a member still has what it had.

#[path = "common/members.rs"]
mod members;

use clan::group::schedule::{Action, Algorithm, Collective, Schedule, Step};
use clan::{Device, DeviceArray, Group, ReduceOp};

type Error = Box<dyn std::error::Error>;

/// The member that broadcasts, and that sums come to.
const ROOT: usize = 0;
/// Every round doubles the members that have the value (halves those that have a part of the sum).
const TREE: Algorithm = Algorithm::Tree { radix: 2 };

fn main() -> Result<(), Error> {
    let groups = match members::asked()? {
        Some(devices) => vec![Group::new(devices)?],
        // Eight members on one CPU, and all devices together if there are several.
        None => {
            let together = Some(Device::all()).filter(|all| all.len() > 1);
            let groups = std::iter::once(vec![Device::host(); 8]).chain(together);
            groups.map(Group::new).collect::<Result<_, _>>()?
        }
    };
    for (i, group) in groups.iter().enumerate() {
        if i > 0 {
            println!();
        }
        members::print(group);
        for collective in [
            Collective::Broadcast { root: ROOT },
            Collective::Reduce { root: ROOT },
            Collective::AllReduce,
        ] {
            walk(group, collective)?;
            at_once(group, collective)?;
        }
    }
    Ok(())
}

/// What a member has before.
fn before(member: usize) -> i32 {
    42 + member as i32
}

/// What a member has to have afterwards; `None` where that is up to the schedule.
fn after(collective: Collective, member: usize, members: usize) -> Option<i32> {
    match collective {
        Collective::Broadcast { root } => Some(before(root)),
        Collective::Reduce { root } if member != root => None,
        _ => Some((0..members).map(before).sum()),
    }
}

/// Carries a schedule out one step after the other, and draws it.
fn walk(group: &Group, collective: Collective) -> Result<(), Error> {
    let p = group.len();
    let schedule = Schedule::new(collective, TREE, p).ok_or("a tree is not made for that")?;
    let what = match collective {
        Collective::Broadcast { root } => format!("broadcast from member {root}"),
        Collective::Reduce { root } => format!("reduce to member {root}"),
        _ => "all_reduce".to_string(),
    };
    println!("\n{what} by a {TREE}: {} rounds", schedule.rounds());

    // A number on every member's device; in a broadcast on the root's alone.
    let has = |m| !matches!(collective, Collective::Broadcast { root } if root != m);
    let mut values: Vec<Option<DeviceArray<i32>>> = Vec::new();
    for (m, device) in group.members().iter().enumerate() {
        values.push(if has(m) { Some(DeviceArray::full(device, 1, before(m))?) } else { None });
    }
    let mut drawing = Drawing::new(&values)?;

    for (round, steps) in schedule.by_round().enumerate() {
        // All steps of a round read before any of them writes.
        let mut sent = Vec::new();
        for step in steps {
            let (from, to) = (step.from as usize, step.to as usize);
            let value = values[from].as_ref().ok_or("a member sends what it does not have")?;
            sent.extend(group.send(value, from, to)?.into_results());
        }
        for (step, incoming) in steps.iter().zip(sent) {
            let own = &mut values[step.to as usize];
            *own = Some(match (step.action, own.as_ref()) {
                (Action::Before, Some(own)) => (&incoming + own).eval()?,
                (Action::After, Some(own)) => (own + &incoming).eval()?,
                _ => incoming,
            });
        }
        drawing.round(round + 1, steps, &values)?;
    }

    for (m, value) in values.iter().enumerate() {
        let got = value.as_ref().map(DeviceArray::item).transpose()?;
        match after(collective, m, p) {
            Some(want) if got != Some(want) => {
                return Err(format!("member {m} has {got:?} instead of {want}").into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The same for a million numbers in one call.
fn at_once(group: &Group, collective: Collective) -> Result<(), Error> {
    const N: usize = 1 << 20;
    let mut parts = Vec::new();
    for (m, device) in group.members().iter().enumerate() {
        parts.push(DeviceArray::full(device, N, before(m))?);
    }
    let by_tree = group.with_algorithm(TREE);
    let start = |group: &Group| match collective {
        Collective::Broadcast { root } => group.broadcast(&parts[root], root),
        Collective::Reduce { root } => group.reduce(&parts, root, ReduceOp::Sum),
        _ => group.all_reduce(&parts, ReduceOp::Sum),
    };
    let call = start(&by_tree)?;
    // The call runs in the background; here the program waits for it.
    call.finish()?;
    let seconds = call.seconds().unwrap_or(f64::NAN);
    // A reduction has one result, the root's, and the others one a member.
    for (m, result) in call.results().iter().enumerate() {
        let want = after(collective, m, group.len());
        let wrong = result.to_vec()?.iter().filter(|&&v| Some(v) != want).count();
        if result.len() != N || wrong > 0 {
            return Err(format!("{wrong} numbers of member {m} are wrong").into());
        }
    }
    let own = start(group)?;
    println!(
        "{N} numbers at once: {:.2} ms over links of kind {}, all right; the group itself chooses: {}",
        seconds * 1e3,
        call.link(),
        own.schedule(),
    );
    Ok(own.finish()?)
}

/// Letters between two members.
const WIDTH: usize = 8;
/// Letters before the first one.
const MARGIN: usize = 14;

/// Where a member stands.
fn column(member: usize) -> usize {
    MARGIN + member * WIDTH
}

struct Drawing {
    /// Members whose value counts. Who has given its part of a sum away is out until it gets the sum.
    alive: Vec<bool>,
}

impl Drawing {
    fn new(values: &[Option<DeviceArray<i32>>]) -> Result<Drawing, Error> {
        let drawing = Drawing { alive: values.iter().map(Option::is_some).collect() };
        let (mut head, mut line) = (Line::new("member"), Line::new("before"));
        for (m, value) in values.iter().enumerate() {
            head.text(m, &m.to_string());
            let value = value.as_ref().map(DeviceArray::item).transpose()?;
            line.text(m, &value.map_or("·".to_string(), |v| v.to_string()));
        }
        head.print();
        line.print();
        Ok(drawing)
    }

    fn round(
        &mut self,
        round: usize,
        steps: &[Step],
        values: &[Option<DeviceArray<i32>>],
    ) -> Result<(), Error> {
        let mut title = format!("round {round}");
        let mut left: Vec<&Step> = steps.iter().collect();
        while !left.is_empty() {
            let mut line = Line::new(&title);
            title.clear();
            for m in (0..values.len()).filter(|&m| self.alive[m]) {
                line.text(m, "│");
            }
            // As many arrows as fit beside each other.
            let mut taken: Vec<(usize, usize)> = Vec::new();
            let mut later = Vec::new();
            for step in left {
                let (from, to) = (step.from as usize, step.to as usize);
                let (low, high) = (from.min(to), from.max(to));
                if taken.iter().any(|&(l, h)| low <= h && l <= high) {
                    later.push(step);
                    continue;
                }
                taken.push((low, high));
                self.alive[from] = step.action == Action::Copy;
                self.alive[to] = true;
                let value = values[to].as_ref().ok_or("nothing arrived")?.item()?;
                line.arrow(from, to, &value.to_string(), self.alive[from]);
            }
            line.print();
            left = later;
        }
        Ok(())
    }
}

/// A line of a drawing, letter by letter.
struct Line(Vec<char>);

impl Line {
    fn new(title: &str) -> Line {
        Line(title.chars().collect())
    }

    fn put(&mut self, at: usize, letter: char) {
        if self.0.len() <= at {
            self.0.resize(at + 1, ' ');
        }
        self.0[at] = letter;
    }

    /// A text that ends where a member stands.
    fn text(&mut self, member: usize, text: &str) {
        for (k, letter) in text.chars().rev().enumerate() {
            self.put(column(member) - k, letter);
        }
    }

    fn arrow(&mut self, from: usize, to: usize, value: &str, sender_goes_on: bool) {
        let right = from < to;
        let head = if right { column(to) - value.len() } else { column(to) + 1 };
        let (start, end) = (column(from).min(head), column(from).max(head));
        for at in start..end {
            let crossed = self.0.get(at) == Some(&'│');
            self.put(at, if crossed { '┼' } else { '─' });
        }
        self.put(head, if right { '▶' } else { '◀' });
        self.text(to, value);
        let tail = match (right, sender_goes_on) {
            (true, true) => '├',
            (true, false) => '└',
            (false, true) => '┤',
            (false, false) => '┘',
        };
        self.put(column(from), tail);
    }

    fn print(&self) {
        println!("{}", self.0.iter().collect::<String>());
    }
}
