//! Weights, chunks and streams.

use crate::support;
use clan::ndarray::Axis;
use clan::{Chunks, Device, DeviceArray, Element, Error, ErrorKind, Group, Work};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn hosts(p: usize) -> Group {
    Group::new(vec![Device::host(); p]).unwrap()
}

/// Ranges of all members, in order, must be 0..len without gaps.
#[track_caller]
fn covers(work: &[Work], len: usize) {
    let mut all: Vec<Range<usize>> = work.iter().flat_map(|w| w.ranges.clone()).collect();
    all.sort_by_key(|r| r.start);
    let mut at = 0;
    for range in all {
        assert_eq!(range.start, at);
        assert!(!range.is_empty());
        at = range.end;
    }
    assert_eq!(at, len);
}

#[test]
fn chunks_cover_everything_once() {
    for p in 1..=5 {
        let group = hosts(p);
        for len in [0, 1, 2, 7, 1000, 100_003] {
            for chunks in
                [Chunks::from(len), Chunks::from(len).at_least(64), Chunks::from(len).at_most(300)]
            {
                let hits: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
                let seen = Mutex::new(vec![Vec::new(); p]);
                let work = group
                    .for_each_chunk(chunks, |m, range| {
                        hits[range.clone()].iter().for_each(|h| {
                            h.fetch_add(1, Ordering::Relaxed);
                        });
                        seen.lock().unwrap()[m].push(range);
                        Ok(())
                    })
                    .unwrap();
                assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
                covers(&work, len);
                let told: Vec<_> = work.into_iter().map(|w| w.ranges).collect();
                assert_eq!(told, seen.into_inner().unwrap());
            }
        }
    }
}

#[test]
fn chunks_go_along_the_first_axis_of_an_array() {
    let x = DeviceArray::<f32>::ones(&Device::host(), (10, 3)).unwrap();
    let rows = AtomicUsize::new(0);
    let work = hosts(2).for_each_chunk(&x, |_, range| {
        let part = x.slice(clan::ndarray::s![range, ..])?;
        rows.fetch_add(part.sum()?.item()? as usize / 3, Ordering::Relaxed);
        Ok(())
    });
    covers(&work.unwrap(), 10);
    assert_eq!(rows.into_inner(), 10);
}

/// A member that takes ten times as long gets less of the work.
#[test]
fn a_slow_member_gets_little() {
    let group = hosts(2);
    let work = group
        .for_each_chunk(10_000, |m, range| {
            let each = if m == 0 { 10 } else { 100 };
            std::thread::sleep(Duration::from_micros(each * range.len() as u64));
            Ok(())
        })
        .unwrap();
    covers(&work, 10_000);
    let (fast, slow) = (work[0].elements() as f64, work[1].elements() as f64);
    // How much more depends on what else the machine does; `split` tells exactly, on a simulated clock.
    assert!(fast > 1.5 * slow, "{fast} {slow}");
}

#[test]
fn errors_stop_the_others() {
    let group = hosts(3);
    let begun = AtomicUsize::new(0);
    let error = group
        .for_each_chunk(Chunks::from(1_000_000).at_most(100), |m, range| {
            begun.fetch_add(1, Ordering::Relaxed);
            if m == 1 {
                // A shape that does not fit.
                let x = DeviceArray::<f32>::ones(&Device::host(), 2)?;
                return x.reshape(3).map(drop);
            }
            std::thread::sleep(Duration::from_micros(range.len() as u64));
            Ok(())
        })
        .unwrap_err();
    assert_eq!(
        (error.member(), error.kind(), error.op()),
        (Some(1), ErrorKind::Shape, "for_each_chunk")
    );
    assert!(begun.into_inner() < 10_000);
}

/// All of rayon's threads wait for chunks that need rayon's threads.
#[test]
fn tasks_of_rayon_may_wait_for_chunks() {
    use rayon::prelude::*;
    let group = hosts(2);
    let x = DeviceArray::<i32>::ones(&Device::host(), 200_000).unwrap();
    (0..16).into_par_iter().with_max_len(1).for_each(|_| {
        let total = AtomicUsize::new(0);
        let work = group.for_each_chunk(Chunks::from(&x).at_least(50_000), |_, range| {
            let sum = (x.slice(clan::ndarray::s![range])? + 1).sum()?.item()?;
            total.fetch_add(sum as usize, Ordering::Relaxed);
            Ok(())
        });
        covers(&work.unwrap(), 200_000);
        assert_eq!(total.into_inner(), 400_000);
    });
}

#[test]
fn panics_are_carried_on() {
    let group = hosts(2);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        group.for_each_chunk(100, |_, range| {
            assert!(!range.contains(&50), "the middle");
            Ok(())
        })
    }));
    let said = caught.unwrap_err();
    let said = said
        .downcast_ref::<&str>()
        .map(|s| (*s).to_string())
        .or(said.downcast_ref::<String>().cloned());
    assert!(said.unwrap().contains("the middle"));
    // The group works on.
    covers(&group.for_each_chunk(100, |_, _| Ok(())).unwrap(), 100);
}

#[test]
fn weights_follow_what_was_measured() {
    let runs = AtomicUsize::new(0);
    let work = |_: &Device| {
        runs.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(11));
        Ok(())
    };
    let group = hosts(3);
    let weights = group.balance("sleep", work).unwrap();
    let once = runs.load(Ordering::Relaxed);
    assert!((3..=5).contains(&once), "{once}");
    // One device three times: a third of 1 / 11 ms each.
    assert!(weights.iter().all(|w| (10.0..31.0).contains(w)), "{weights:?}");
    // Another group knows it already, also with another number of members.
    let pair = hosts(2).balance("sleep", work).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), once);
    assert!((pair[0] / weights[0] - 1.5).abs() < 1e-9);
    let failed = group.balance("fails", |d| DeviceArray::<f32>::ones(d, 2)?.reshape(3).map(drop));
    assert_eq!(failed.unwrap_err().member(), Some(0));
    assert!(group.with_weights(&[1.0]).is_err());

    let x = DeviceArray::<i64>::arange(&Device::host(), 0, 12, 1).unwrap();
    let weighted = group.with_weights(&[1.0, 3.0, 2.0]).unwrap();
    let a = weighted.shard(&x, Axis(0)).unwrap();
    assert_eq!(a.ranges(), [0..2, 2..8, 8..12]);
    // Groups that come from it keep what is left of the weights.
    let two = weighted.without(0).unwrap();
    assert_eq!(two.shard(&x, Axis(0)).unwrap().ranges(), [0..7, 7..12]);
    let halves = weighted.split(&[7, 2, 7]).unwrap();
    assert_eq!(halves[1].shard(&x, Axis(0)).unwrap().ranges(), [0..4, 4..12]);
    let alone = group.with_weights(&[1.0, 0.0, 0.0]).unwrap().without(0).unwrap();
    assert_eq!(alone.shard(&x, Axis(0)).unwrap().ranges(), [0..6, 6..12]);
    let measured = hosts(2).balanced().unwrap();
    assert_eq!(measured.shard(&x, Axis(0)).unwrap().ranges(), [0..6, 6..12]);
}

fn streams(group: &Group, len: usize) {
    let input: Vec<f32> = (0..len).map(|i| (i % 1013) as f32 - 500.0).collect();
    let mut output = vec![0i64; len];
    let work = group.stream(&input, &mut output, |x| (x * 3.0 + 1.0).cast::<i64>()).unwrap();
    covers(&work, len);
    for (i, (x, y)) in input.iter().zip(&output).enumerate() {
        assert_eq!(*y, (*x * 3.0 + 1.0) as i64, "element {i} of {len}");
    }
}

fn mistakes<T: Element>(group: &Group, x: &[T]) {
    let mut short = vec![T::default(); x.len() - 1];
    assert!(group.stream(x, &mut short, |x| x).unwrap_err().is_shape());
    let mut out = vec![T::default(); x.len()];
    let lost = DeviceArray::<T>::zeros(&group.members()[0], 2).unwrap();
    let error = group.stream(x, &mut out, |_| lost.expr()).unwrap_err();
    assert!(error.is_shape() && error.member().is_some(), "{error}");
    let caught = catch_unwind(AssertUnwindSafe(|| {
        group.stream(x, &mut out, |_| -> clan::Expr<T> { panic!("no") })
    }));
    assert!(caught.is_err());
    // What was on its way is gone, and the group streams on.
    group.stream(x, &mut out, |x| x).unwrap();
    assert_eq!(out, x);
}

#[test]
fn streams_on_hosts() {
    for p in 1..=3 {
        for len in [0, 1, 1000, 300_001] {
            streams(&hosts(p), len);
        }
    }
    mistakes(&hosts(2), &[1.5f32, 2.0, 3.0]);
    mistakes(&hosts(2), &[true, false, true]);
}

#[test]
fn streams_on_devices() {
    let mut devices = support::opencl_devices();
    devices.truncate(2);
    if devices.is_empty() {
        return;
    }
    let own = Group::new(devices.clone()).unwrap();
    // More than two chunks of 16 MiB a device.
    streams(&own, 12_000_001);
    streams(&own, 1);
    mistakes(&own, &[1.5f32, 2.0, 3.0]);
    mistakes(&own, &[true, false, true]);
    devices.push(Device::host());
    streams(&Group::new(devices).unwrap(), 1_000_003);
}

#[test]
fn errors_of_streams_name_the_member() {
    let group = hosts(2);
    let mut out = vec![0u8; 100_000];
    let made = |x: clan::Expr<u8>| x.minimum(DeviceArray::<u8>::ones(&Device::host(), 7).unwrap());
    let error: Error = group.stream(&vec![1u8; 100_000], &mut out, made).unwrap_err();
    assert!(error.is_shape() && error.op() == "stream" && error.member().is_some(), "{error}");
}
