//! Two ways to try the kernels. On any device: all members are that one device, whose queue runs their
//! kernels one after another, and the flags say that everybody else has been there already. And on
//! GPUs that reach each other: as they are meant to be.

use super::{Call, Slot, Team};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element};
use crate::group::schedule::Collective;
use crate::opencl::ClDevice;
use half::{bf16, f16};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// A team and, where its members are one device, what its flags have to say before each call.
struct Tried {
    team: Team,
    alone: bool,
    /// Whether everything goes through windows.
    through: bool,
    /// Whether every call is made twice, because of windows that only then are full.
    twice: bool,
}

impl Tried {
    fn alone(device: &Device, members: usize) -> Tried {
        let mut team = Team::new(&vec![device.clone(); members]).unwrap();
        team.window.lines = 2048;
        Tried { team, alone: true, through: false, twice: false }
    }

    /// Makes nobody wait in the next call.
    fn prepare(&mut self) {
        if self.alone {
            for control in &mut self.team.controls {
                // Flags of members, and of their groups; numbers of calls are below this.
                control.upload(0, &[0x7f; 8 * 512]).unwrap();
                control.upload(8 * 1024, &[0x7f; 8 * 4096]).unwrap();
            }
        }
    }
}

fn bytes<T: Element>(values: &[T]) -> Vec<u8> {
    // SAFETY: numbers have no padding, and the slice stays borrowed.
    let raw =
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    raw.to_vec()
}

fn values<T: Element>(raw: &[u8]) -> Vec<T> {
    // SAFETY: numbers may be any bytes.
    raw.chunks_exact(size_of::<T>())
        .map(|c| unsafe { c.as_ptr().cast::<T>().read_unaligned() })
        .collect()
}

/// A number type of the tests: small integers, which combine exactly in any order.
trait Sample: Element {
    fn of(v: i64) -> Self;
}
macro_rules! samples {
    ($($t:ty, $from:expr;)*) => {$(impl Sample for $t {
        fn of(v: i64) -> $t { $from(v) }
    })*};
}
samples! {
    f32, |v| v as f32; u8, |v| v as u8;
    u64, |v| v as u64; f16, |v| f16::from_f32(v as f32); bf16, |v| bf16::from_f32(v as f32);
}

/// One case, laid out at `at` elements into the buffers.
struct Case {
    collective: Collective,
    blocks: Vec<usize>,
    at: usize,
    in_place: bool,
    /// Whether buffers are large enough to be reached by others.
    large: bool,
}

/// What everybody has: element `i` of a member, as small integers.
fn element(member: usize, i: usize) -> i64 {
    ((i * 7 + member * 5 + i / 64) % 11) as i64
}

/// Element `i` of a member's result by the definition; `None` where it is not defined.
fn expected(case: &Case, member: usize, i: usize, f: fn(i64, i64) -> i64) -> Option<i64> {
    use Collective as C;
    let p = case.blocks.len();
    let start = |m: usize| case.blocks[..m].iter().sum::<usize>();
    let combined = |i, n: usize| (0..n).map(|m| element(m, i)).reduce(f);
    let owner = |i: usize| (0..p).rfind(|&m| start(m) <= i && case.blocks[m] > 0).unwrap();
    match case.collective {
        C::Broadcast { root } => Some(element(root, i)),
        C::Reduce { root } => (member == root).then(|| combined(i, p)).flatten(),
        C::AllReduce => combined(i, p),
        C::ReduceScatter => combined(start(member) + i, p),
        C::AllGather => Some(element(owner(i), i - start(owner(i)))),
        C::Gather { root } => (member == root).then(|| element(owner(i), i - start(owner(i)))),
        C::Scatter { root } => Some(element(root, start(member) + i)),
        C::AllToAll => Some(element(i / case.blocks[0], start(member) + i % case.blocks[0])),
        C::Scan => combined(i, member + 1),
        C::ExclusiveScan => combined(i, member),
    }
}

fn try_case<T: Sample>(tried: &mut Tried, case: &Case, body: &str, f: fn(i64, i64) -> i64) {
    let team = &tried.team;
    let p = team.members();
    let shape = Call {
        op: "test",
        collective: case.collective,
        dtype: T::DTYPE,
        ins: &[],
        outs: &[],
        blocks: &case.blocks,
        body: Some(body),
        patience: PATIENCE,
    };
    // Around results lies what must not change.
    let buffer = |member: usize, n: usize, fill: &dyn Fn(usize) -> i64| {
        let least = if case.large { 1 << 21 } else { 1 };
        let all: Vec<T> =
            (0..case.at + n + 5).map(|i| T::of(fill(i.wrapping_sub(case.at)))).collect();
        let raw = bytes(&all);
        let mut buffer = Buffer::new(&team.devices()[member], raw.len().max(least)).unwrap();
        buffer.upload(0, &raw).unwrap();
        buffer
    };
    let given = |member: usize| {
        let n = shape.elements(member, false)?;
        Some(buffer(member, n, &|i| if i < n { element(member, i) } else { 9 }))
    };
    let ins: Vec<Option<Buffer>> = (0..p).map(given).collect();
    let fresh = |member: usize| {
        let kept = case.in_place && ins[member].is_some();
        let n = shape.elements(member, true).filter(|_| !kept)?;
        Some(buffer(member, n, &|_| 9))
    };
    let own: Vec<Option<Buffer>> = (0..p).map(fresh).collect();
    let gets = |member: usize| shape.elements(member, true);
    let out = |m: usize| gets(m).and_then(|_| own[m].as_ref().or(ins[m].as_ref()));
    let in_slots: Vec<_> = ins.iter().map(|b| b.as_ref().map(|b| Slot::new(b, case.at))).collect();
    let out_slots: Vec<_> = (0..p).map(|m| out(m).map(|b| Slot::new(b, case.at))).collect();
    let call = Call { ins: &in_slots, outs: &out_slots, ..shape };
    let reached = if tried.through { Some(false) } else { tried.alone.then_some(true) };
    // Kernels that run one after another find in their windows what was sent the time before.
    let times = if tried.twice { 2 } else { 1 };
    let rounds = team.state().rounds;
    for _ in 0..times {
        tried.prepare();
        tried.team.state().rounds = rounds;
        tried.team.run_as(&call, reached).unwrap();
        tried.team.check("test").unwrap();
    }
    for member in 0..p {
        let Some((out, n)) = out(member).zip(call.elements(member, true)) else { continue };
        let mut raw = vec![0; (case.at + n + 5) * size_of::<T>()];
        out.download(0, &mut raw).unwrap();
        for (i, v) in values::<T>(&raw).into_iter().enumerate() {
            let inside = i >= case.at && i < case.at + n;
            let want = match inside {
                true => match expected(case, member, i - case.at, f) {
                    Some(want) => want,
                    // The first member's exclusive scan is not defined.
                    None => continue,
                },
                false => 9,
            };
            assert_eq!(
                v,
                T::of(want),
                "{:?} of {} {:?} at {}, in place {}: member {member}, position {i}",
                case.collective,
                T::DTYPE,
                case.blocks,
                case.at,
                case.in_place
            );
        }
    }
}

/// All collectives over blocks, in place where that is allowed.
fn try_all<T: Sample>(tried: &mut Tried, blocks: &[usize], at: usize, large: bool) {
    use Collective as C;
    let p = tried.team.members();
    let even = blocks.iter().all(|&b| b == blocks[0]);
    let mut list = vec![C::AllReduce, C::ReduceScatter, C::AllGather, C::Scan, C::ExclusiveScan];
    for root in [0, p - 1] {
        list.extend([
            C::Broadcast { root },
            C::Reduce { root },
            C::Scatter { root },
            C::Gather { root },
        ]);
    }
    if even {
        list.push(C::AllToAll);
    }
    for collective in list {
        let same_length = matches!(
            collective,
            C::AllReduce | C::Broadcast { .. } | C::Reduce { .. } | C::Scan | C::ExclusiveScan
        );
        let one_step = !same_length;
        for in_place in [false, true] {
            // Members that run one after another can make one step together.
            if in_place && !same_length || tried.twice && !one_step {
                continue;
            }
            let case = Case { collective, blocks: blocks.to_vec(), at, in_place, large };
            try_case::<T>(tried, &case, "return a + b;", |a, b| a + b);
        }
    }
}

fn devices() -> Vec<Device> {
    let found: Vec<Device> =
        Device::kinds().into_iter().filter(|d| super::opencl(d).is_some()).collect();
    if found.is_empty() {
        println!("skipped: no OpenCL device");
    }
    found
}

#[test]
fn kernels_on_one_device() {
    for device in devices() {
        let mut tried = Tried::alone(&device, 3);
        // Long enough for the kernels that members reach each other with, and for several groups.
        try_all::<f32>(&mut tried, &[8192, 8192, 8192], 0, false);
        try_all::<f32>(&mut tried, &[20_001, 0, 7_777], 3, false);
        let max = "return a > b ? a : b;";
        for dtype_case in 0..3 {
            let blocks = vec![40_000, 30_000, 3];
            let case = Case {
                collective: Collective::AllReduce,
                blocks,
                at: 16,
                in_place: true,
                large: false,
            };
            match dtype_case {
                0 => try_case::<bf16>(&mut tried, &case, "return a + b;", |a, b| a + b),
                1 => try_case::<f16>(&mut tried, &case, max, i64::max),
                _ => try_case::<u8>(&mut tried, &case, max, i64::max),
            }
        }
        // Not associative: elements are combined in the order of the members.
        let blocks = vec![5_000, 5_000, 10_000];
        let case = Case {
            collective: Collective::AllReduce,
            blocks,
            at: 1,
            in_place: false,
            large: false,
        };
        try_case::<u64>(&mut tried, &case, "return a * 3 + b;", |a, b| a * 3 + b);
    }
}

#[test]
fn windows_on_one_device() {
    for device in devices() {
        let mut tried = Tried { through: true, twice: true, ..Tried::alone(&device, 3) };
        try_all::<f32>(&mut tried, &[40_000; 3], 0, false);
        // Blocks that begin inside of lines.
        try_all::<f32>(&mut tried, &[30_002, 0, 7_777], 0, false);
        // Two rounds.
        tried.team.window.lines = 1024;
        tried.team.windows = Default::default();
        try_all::<f32>(&mut tried, &[40_000; 3], 0, false);
        // Through windows and back at once.
        tried.through = false;
        tried.team.long_bytes = 0;
        let (collective, blocks) = (Collective::AllReduce, vec![40_000, 30_000, 4]);
        let case = Case { collective, blocks, at: 4, in_place: false, large: false };
        try_case::<f32>(&mut tried, &case, "return a + b;", |a, b| a + b);
    }
}

#[test]
fn mistakes_are_told_before_anything_moves() {
    for device in devices() {
        let team = Tried::alone(&device, 2).team;
        let buffer = Buffer::new(&device, 4096).unwrap();
        let slot = Some(Slot::new(&buffer, 0));
        let call = |collective, ins, blocks, body| {
            team.run(&Call {
                op: "test",
                collective,
                dtype: DType::F32,
                ins,
                outs: &[slot, slot],
                blocks,
                body,
                patience: PATIENCE,
            })
        };
        let both = [slot, slot];
        let body = Some("return a + b;");
        for (result, says) in [
            (call(Collective::AllReduce, &both[..1], &[8, 8], body), "slot for each"),
            (call(Collective::Reduce { root: 2 }, &both, &[8, 8], body), "root"),
            (call(Collective::AllReduce, &both, &[8, 8], None), "combine"),
            (call(Collective::AllToAll, &both, &[8, 9], None), "one length"),
            (call(Collective::AllGather, &[slot, None], &[8, 8], None), "no memory"),
        ] {
            let e = result.unwrap_err().to_string();
            assert!(e.contains(says), "{e}");
        }
        assert!(Team::open(&[device.clone(), device.clone()]).is_none());
        assert!(Team::open(std::slice::from_ref(&device)).is_none());
        assert!(Team::open(&[device.clone(), Device::host()]).is_none());
    }
}

#[test]
fn a_member_that_does_not_come_is_told() {
    for device in devices() {
        if super::opencl(&device).is_some_and(ClDevice::short_loops) {
            // Mesa 22.3 says itself that it takes arguments chosen by a branch for uniform, "results may be
            // incorrect", and drops the stores that tell. Teams are never made of it.
            println!("skipped: {device}");
            continue;
        }
        // Members of one device run one after another: the first waits for the second in vain.
        for (n, reached) in [(90_000, true), (90_000, false), (100, true)] {
            let team = Team::new(&[device.clone(), device.clone()]).unwrap();
            let buffers: Vec<Buffer> =
                (0..4).map(|_| Buffer::new(&device, 4 * n).unwrap()).collect();
            let slots: Vec<_> = buffers.iter().map(|b| Some(Slot::new(b, 0))).collect();
            let call = Call {
                op: "test",
                collective: Collective::AllReduce,
                dtype: DType::F32,
                ins: &slots[..2],
                outs: &slots[2..],
                blocks: &[n, 0],
                body: Some("return a + b;"),
                patience: Duration::from_micros(50),
            };
            team.run_as(&call, Some(reached)).unwrap();
            let e = team.check("test").unwrap_err();
            assert_eq!(e.member(), Some(1), "{e}");
            let e = e.to_string();
            assert!(e.contains("in vain"), "{e}");
            assert_eq!(team.run(&call).unwrap_err().to_string(), e);
        }
    }
}

/// The team of all NVIDIA GPUs, or of two.
fn gpus(most: usize) -> Option<Team> {
    let nvidia = |d: &Device| super::opencl(d).is_some_and(|cl| cl.maker == super::Maker::Nvidia);
    let devices: Vec<Device> = Device::all().into_iter().filter(nvidia).take(most).collect();
    let team = Team::open(&devices);
    if team.is_none() {
        println!("skipped: no two NVIDIA GPUs that reach each other's memory");
    }
    team
}

#[test]
fn windows_between_gpus() {
    let Some(mut team) = gpus(16) else { return };
    let p = team.members();
    // Many rounds.
    team.window.lines = 256;
    let mut tried = Tried { team, alone: false, through: true, twice: false };
    for n in [65_536, 400_003] {
        try_all::<f32>(&mut tried, &vec![n; p], 0, false);
    }
    let ragged: Vec<usize> = (0..p).map(|m| (m % 3) * 33_331).collect();
    try_all::<f32>(&mut tried, &ragged, 0, true);
}

/// All_reduces of other types than `f32`, from place 1 on; `n` elements, whoever they are said to be of.
fn try_types(tried: &mut Tried, n: usize, in_place: bool) {
    let p = tried.team.members();
    let mut blocks = vec![0; p];
    blocks[p - 1] = n;
    let case = Case { collective: Collective::AllReduce, blocks, at: 1, in_place, large: true };
    try_case::<u8>(tried, &case, "return a > b ? a : b;", i64::max);
    try_case::<bf16>(tried, &case, "return a + b;", |a, b| a + b);
    // Not associative: in the order of the members.
    try_case::<u64>(tried, &case, "return a * 3 + b;", |a, b| a * 3 + b);
}

// Every form of a kernel costs the driver a second and more, so there are few; `windows_between_gpus` has
// those of the windows.
#[test]
fn collectives_between_gpus() {
    let start = std::time::Instant::now();
    for most in [2, 16] {
        let Some(mut team) = gpus(most) else { return };
        let p = team.members();
        // What goes through windows and back at once shall do so with fewer elements, too.
        team.long_bytes = 2 << 20;
        let mut tried = Tried { team, alone: false, through: false, twice: false };
        if most > 2 {
            try_all::<f32>(&mut tried, &vec![65_536; p], 0, true);
            // Elements that are not aligned for lines.
            try_all::<f32>(&mut tried, &vec![100_003; p], 3, true);
            try_all::<f32>(&mut tried, &vec![1; p], 0, true);
        }
        // In one kernel there and back, with elements after the last line.
        for in_place in [false, true] {
            let (collective, blocks) = (Collective::AllReduce, vec![20_000_003 / p; p]);
            let case = Case { collective, blocks, at: 0, in_place, large: true };
            try_case::<f32>(&mut tried, &case, "return a + b;", |a, b| a + b);
        }
        try_types(&mut tried, 200_001, most > 2);
        // Short calls in a row use their two sets of slots in turn.
        for n in [1, 3, 255, 4096, 7000] {
            try_types(&mut tried, n, n % 2 == 0);
        }
        println!("{p} GPUs: done after {:.1} s", start.elapsed().as_secs_f32());
    }
}
