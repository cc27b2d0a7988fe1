//! Collectives between host members, beside a plain parallel loop over the same memory, and between the
//! OpenCL devices of each kind.
//!
//! `cargo bench --bench group`

mod common;

use clan::{Device, DeviceArray, DeviceKind, Group, ReduceOp};
use common::group;
use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;
use std::time::Instant;

/// Elements of a member's array: 64 MiB.
const N: usize = 1 << 24;
const MEMBERS: usize = 4;

/// What member m has at position i: small integers, whose sums are exact in any order.
fn element(m: usize, i: usize) -> usize {
    (i * 31 + m * 17) % 1009
}

fn given(m: usize) -> Vec<f32> {
    (0..N).into_par_iter().map(|i| element(m, i) as f32).collect()
}

fn check(got: &[f32], members: usize) {
    let sum = |i: usize| (0..members).map(|m| element(m, i)).sum::<usize>() as f32;
    assert_eq!(got.len(), N);
    let wrong = got.par_iter().enumerate().filter(|&(i, &g)| g != sum(i)).count();
    assert_eq!(wrong, 0, "elements that are wrong");
}

fn parts(group: &Group) -> Vec<DeviceArray<f32>> {
    let members = group.members().iter().enumerate();
    members.map(|(m, device)| DeviceArray::from_slice(device, &given(m)).unwrap()).collect()
}

fn all_reduce(group: &Group, parts: &[DeviceArray<f32>]) {
    group.all_reduce(parts, ReduceOp::Sum).unwrap().finish().unwrap();
}

/// What a program without groups would write: four arrays are read and one is written, at once.
fn plain(arrays: &[Vec<f32>], out: &mut [f32]) {
    const PIECE: usize = 1 << 14;
    out.par_chunks_mut(PIECE).enumerate().for_each(|(k, out)| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|m| &arrays[m][k * PIECE..][..out.len()]);
        for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out = (a + b) + (c + d);
        }
    });
}

fn host(c: &mut Criterion) {
    let members = Group::new(vec![Device::host(); MEMBERS]).unwrap();
    let parts = parts(&members);
    let arrays: Vec<Vec<f32>> = (0..MEMBERS).map(given).collect();
    let mut out = vec![0.0; N];
    plain(&arrays, &mut out);
    check(&out, MEMBERS);
    let call = members.all_reduce(&parts, ReduceOp::Sum).unwrap();
    let how = format!("{} over {}", call.schedule(), call.link());
    for sum in call.wait().unwrap() {
        check(&sum.to_vec().unwrap(), MEMBERS);
    }

    // In turns, so that both meet the same machine. Least bytes: the loop reads four arrays and writes one;
    // an all_reduce reads four and writes four.
    let mut times = [(); 2].map(|()| Vec::new());
    let begun = Instant::now();
    while times[0].is_empty() || times[0].len() < 21 && begun.elapsed().as_secs() < 5 {
        let start = Instant::now();
        plain(&arrays, &mut out);
        times[0].push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        all_reduce(&members, &parts);
        times[1].push(start.elapsed().as_secs_f64());
    }
    let [alone, together] = times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        t[t.len() / 2]
    });
    let rate = |arrays: usize, s: f64| (arrays * 4 * N) as f64 / s / 1e9;
    let (loops, group_rate) = (rate(MEMBERS + 1, alone), rate(2 * MEMBERS, together));
    println!(
        "4 host members of 64 MiB, {how}: {:.1} ms, {group_rate:.2} GB/s read and written; \
         a plain parallel sum: {:.1} ms, {loops:.2} GB/s; {:.0} %",
        together * 1e3,
        alone * 1e3,
        group_rate / loops * 100.0
    );

    let mut sums = group(c, "group/plain sum, 4 × 64 MiB", 4 * N * (MEMBERS + 1));
    sums.bench_function("loop", |b| b.iter(|| plain(&arrays, &mut out)));
    sums.finish();
    let mut sums = group(c, "group/all_reduce, 4 × 64 MiB", 4 * N * 2 * MEMBERS);
    sums.bench_function("host", |b| b.iter(|| all_reduce(&members, &parts)));
    sums.finish();
}

/// All OpenCL devices of a kind; a single one is two members.
fn devices(c: &mut Criterion) {
    for kind in [DeviceKind::Gpu, DeviceKind::Cpu, DeviceKind::Accelerator] {
        let mut found = Device::all();
        found.retain(|d| d.kind() == kind && !d.is_host());
        if found.len() == 1 {
            found.push(found[0].clone());
        }
        if found.is_empty() {
            continue;
        }
        let members = Group::new(found).unwrap();
        let parts = parts(&members);
        for sum in members.all_reduce(&parts, ReduceOp::Sum).unwrap().wait().unwrap() {
            check(&sum.to_vec().unwrap(), members.len());
        }
        let name = format!("group/all_reduce, {} × 64 MiB, {kind}", members.len());
        let mut sums = group(c, &name, 4 * N);
        sums.bench_function("size ÷ time", |b| b.iter(|| all_reduce(&members, &parts)));
        sums.finish();
    }
}

criterion_group!(benches, host, devices);
criterion_main!(benches);
