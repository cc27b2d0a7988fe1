//! Every way in which totals come from tile to tile, on every device: by mail, by mail that never comes,
//! and by spans.

use super::opencl::{By, FORCED, Way};
use crate::array::DeviceArray;
use crate::device::{Backing, Device};
use crate::element::DType;
use crate::group::{Operator, UserOp};
use ndarray::{ArrayD, Axis, IxDyn};

/// Mail that comes, and mail of which a third never comes.
fn mail(by: By) -> [Way; 2] {
    [Way::Mail { by, spins: 1, mute: true }, Way::Mail { by, spins: 1 << 11, mute: false }]
}

/// Ways that a device can take along rows, or down columns. llvmpipe (Mesa 22.3) does atomics in loops under
/// conditions wrongly, and none of its devices is a GPU, to which mail is offered.
fn ways(device: &Device, rows: bool) -> Vec<Way> {
    let Backing::OpenCl(cl) = device.backing() else { return vec![] };
    let mut ways = vec![Way::Spans];
    if device.to_string().contains("llvmpipe") {
        eprintln!("skipped: no mail on {device}, whose driver does atomics wrongly");
        return ways;
    }
    // So it did before `scan_group.cl` was a file of its own; 3.1 runs it.
    if !rows
        && device.to_string().contains("Portable Computing Language")
        && device.info().driver.starts_with("5.0")
    {
        eprintln!(
            "skipped: no mail down columns on {device}, where PoCL 5.0 crashes in the kernel"
        );
        return ways;
    }
    for by in [By::Group, By::Warp] {
        if by.suits(cl, rows, cl.point.group) {
            ways.extend(mail(by));
        } else {
            eprintln!("skipped: no mail by {by:?} on {device}, rows: {rows}");
        }
    }
    ways
}

/// Runs on this thread in one way.
fn forced<R>(way: Way, f: impl FnOnce() -> R) -> R {
    FORCED.set(Some(way));
    let result = f();
    FORCED.set(None);
    result
}

fn devices() -> Vec<Device> {
    let devices: Vec<Device> = Device::kinds().into_iter().filter(|d| !d.is_host()).collect();
    if devices.is_empty() {
        let required = std::env::var("CLAN_TEST_REQUIRE").is_ok_and(|v| v.contains("opencl"));
        assert!(!required, "CLAN_TEST_REQUIRE asks for an OpenCL device");
        eprintln!("skipped: no OpenCL device");
    }
    devices
}

/// Values that look random.
fn value(k: usize) -> u64 {
    (k as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

#[test]
fn rows_in_segments() {
    for device in devices() {
        // In the shapes of GPUs several windows of tiles.
        let n = 1_300_011;
        let x: Vec<i64> = (0..n).map(|k| value(k) as i64 - (1 << 23)).collect();
        // Segments of very different lengths.
        let starts: Vec<bool> =
            (0..n).map(|k| value(k).is_multiple_of(90_000) || k % 200_000 < 3).collect();
        let mut sum = 0i64;
        let want: Vec<i64> = x
            .iter()
            .zip(&starts)
            .map(|(x, &start)| {
                sum = if start { *x } else { sum + x };
                sum
            })
            .collect();
        let x = DeviceArray::from_slice(&device, &x).unwrap();
        let starts = DeviceArray::from_slice(&device, &starts).unwrap();
        for way in ways(&device, true) {
            let got = forced(way, || x.scan(Axis(0)).segments(&starts).sum()).unwrap();
            assert!(got.to_vec().unwrap() == want, "{way:?} on {device}");
        }
    }
}

#[test]
fn columns_by_an_operator_that_does_not_commute() {
    for device in devices() {
        // x ↦ a·x + b, one after the other, in 16 bits each.
        let after = |f: u32, g: u32| {
            let (a, b, c, d) = (f >> 16, f & 0xffff, g >> 16, g & 0xffff);
            (a * c) << 16 | ((c * b + d) & 0xffff)
        };
        let text =
            "((a >> 16) * (b >> 16)) << 16 | (((b >> 16) * (a & 0xffff) + (b & 0xffff)) & 0xffff)";
        let op: Operator<u32> = UserOp::new("after", text, after).identity(1 << 16).into();
        for shape in [[2, 900, 70], [2, 5000, 3], [1, 9000, 2]] {
            let axis = Axis(1);
            let mut k = 0;
            let x = ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
                k += 1;
                value(k) as u32
            });
            let mut want = ArrayD::from_elem(IxDyn(&shape), 0u32);
            for (x, mut want) in x.lanes(axis).into_iter().zip(want.lanes_mut(axis)) {
                let mut so_far = 1 << 16;
                for (x, want) in x.iter().zip(&mut want) {
                    *want = so_far;
                    so_far = after(so_far, *x);
                }
            }
            let x = DeviceArray::from_ndarray(&device, &x).unwrap();
            for way in ways(&device, false) {
                let scan = || x.scan(axis).exclusive().by(op.clone());
                let got = forced(way, scan).unwrap().to_ndarray().unwrap();
                assert!(got == want, "{shape:?}, {way:?} on {device}");
            }
        }
    }
}

/// The carry is made in one order whoever makes it: the same bits by mail that comes and by mail that
/// does not.
#[test]
fn floats_have_the_same_bits_in_every_run() {
    for device in devices() {
        let n = 2_500_000;
        let x: Vec<f32> = (0..n).map(|k| value(k) as f32 / 1e6 - 8.39).collect();
        let exact: Vec<f64> = x
            .iter()
            .scan(0.0, |sum: &mut f64, x| {
                *sum += f64::from(*x);
                Some(*sum)
            })
            .collect();
        let x = DeviceArray::from_slice(&device, &x).unwrap();
        let mut first: Vec<(By, Vec<u32>)> = vec![];
        for way in ways(&device, true) {
            let got = forced(way, || x.cumsum(Axis(0))).unwrap().to_vec().unwrap();
            for (k, (got, want)) in got.iter().zip(&exact).enumerate() {
                // A few roundings of sums within a tile, whose values stay below 10^5.
                let off = (f64::from(*got) - want).abs();
                assert!(off < 0.1, "{k}: {got}, {want}, {way:?} on {device}");
            }
            let bits: Vec<u32> = got.iter().map(|v| v.to_bits()).collect();
            if let Way::Mail { by, .. } = way {
                match first.iter().find(|(other, _)| *other == by) {
                    Some((_, first)) => assert!(first == &bits, "{way:?} on {device}"),
                    None => first.push((by, bits)),
                }
            }
        }
        if device.supports(DType::F64) {
            let x = x.expr().cast::<f64>();
            let got = forced(Way::Spans, || x.cumsum(Axis(0))).unwrap().to_vec().unwrap();
            for (got, want) in got.iter().zip(&exact) {
                assert!((got - want).abs() < 1e-7, "{got}, {want} on {device}");
            }
        }
    }
}

#[test]
fn rows_of_a_matrix() {
    for device in devices() {
        let [rows, len] = [230, 16_384];
        let x: Vec<f32> = (0..rows * len).map(|k| (value(k) % 16) as f32).collect();
        let mut want = vec![0.0f32; x.len()];
        for (x, want) in x.chunks(len).zip(want.chunks_mut(len)) {
            let mut sum = 0.0;
            for (x, want) in x.iter().zip(want) {
                sum += x;
                *want = sum;
            }
        }
        let x = DeviceArray::from_slice(&device, &x).unwrap().reshape((rows, len)).unwrap();
        for way in ways(&device, true) {
            let got = forced(way, || x.cumsum(Axis(1))).unwrap().to_vec().unwrap();
            let wrong = got.iter().zip(&want).position(|(a, b)| a != b);
            assert_eq!(wrong, None, "{way:?} on {device}");
        }
    }
}

/// Launches share the memory in which groups leave word for each other.
#[test]
fn threads_that_scan_at_a_time() {
    for device in devices() {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let device = &device;
                scope.spawn(move || {
                    // Shorter and longer in turns, of words of four and eight bytes.
                    for round in 0..6 {
                        let n = 40_000 + (round * 5 + thread * 3) % 7 * 90_000;
                        let x: Vec<u32> = (0..n).map(|k| value(k + thread) as u32).collect();
                        let mut sum = 0u64;
                        let sums: Vec<u64> = x
                            .iter()
                            .map(|x| {
                                sum += u64::from(*x);
                                sum
                            })
                            .collect();
                        let mut most = 0;
                        let greatest: Vec<u32> = x
                            .iter()
                            .map(|x| {
                                most = most.max(*x);
                                most
                            })
                            .collect();
                        let x = DeviceArray::from_slice(device, &x).unwrap();
                        let got = x.cumsum(Axis(0)).unwrap().to_vec().unwrap();
                        assert!(got == sums, "{n} sums on {device}");
                        let got = x.scan(Axis(0)).max().unwrap().to_vec().unwrap();
                        assert!(got == greatest, "{n} maxima on {device}");
                    }
                });
            }
        });
    }
}
