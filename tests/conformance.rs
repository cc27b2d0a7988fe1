//! Every operation against naive sequential functions, on the host and on every OpenCL device.
//!
//! Each test is two: `…::host` and `…::opencl`. Without an OpenCL device the second prints
//! `skipped`; `CLAN_TEST_REQUIRE=opencl` makes that a failure. `CLAN_TEST_DEVICE=NAME` keeps to the
//! devices whose platform or name contains it. Of several devices of one name the first is tested:
//! they run the same kernels, and `tests/threads.rs` and `tests/group.rs` use them all. `CLAN_TEST_FULL=1` runs the whole table of
//! `clan verify` also on CPUs through OpenCL, whose compilers take minutes for it.

use clan::ndarray::{ArrayBase, ArrayD, Axis, Data, Dimension, SliceInfoElem};
use clan::verify::oracle::{Rng, Sample, Wide};
use clan::{Device, DeviceArray, Error, ErrorKind};
use proptest::collection::vec;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::HashSet;
use std::sync::RwLock;

/// The OpenCL devices to test; says so when there are none.
fn opencl_devices() -> Vec<Device> {
    let only = std::env::var("CLAN_TEST_DEVICE").unwrap_or_default().to_lowercase();
    let mut devices: Vec<Device> = Device::all().into_iter().filter(|d| !d.is_host()).collect();
    devices.retain(|d| d.to_string().to_lowercase().contains(&only));
    // Of devices that are the same the first one stands for all.
    let mut seen = HashSet::new();
    devices.retain(|d| seen.insert((d.info().platform.clone(), d.info().name.clone())));
    if devices.is_empty() {
        let reason = Device::opencl_status().reason.unwrap_or_else(|| format!("none is {only:?}"));
        let required = std::env::var("CLAN_TEST_REQUIRE").is_ok_and(|v| v.contains("opencl"));
        assert!(!required, "CLAN_TEST_REQUIRE asks for an OpenCL device: {reason}");
        eprintln!("skipped: no OpenCL device: {reason}");
    }
    devices
}

/// Held by every test on OpenCL devices; alone by those that count compiled programs.
static COUNTING: RwLock<()> = RwLock::new(());

/// Makes one test a backend of a piece of code that takes a device. With `alone`, no other test
/// compiles programs meanwhile.
macro_rules! on_every_device {
    (alone $name:ident, |$device:ident| $body:expr) => {
        on_every_device!(@ $name, $device, $body, write);
    };
    ($name:ident, |$device:ident| $body:expr) => {
        on_every_device!(@ $name, $device, $body, read);
    };
    (@ $name:ident, $device:ident, $body:expr, $lock:ident) => {
        mod $name {
            #[allow(unused_imports, reason = "not every test needs what its file imports")]
            use super::*;
            fn test($device: &clan::Device) {
                $body
            }
            #[test]
            fn host() {
                test(&clan::Device::host());
            }
            #[test]
            fn opencl() {
                // A test that failed says so itself.
                let _held = crate::COUNTING.$lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                for device in crate::opencl_devices() {
                    eprintln!("on {device}");
                    test(&device);
                }
            }
        }
    };
}

/// Runs a property on 200 cases on the host, and on `few` where each may need a program of its own.
fn property<S: Strategy>(device: &Device, few: u32, strategy: S, check: impl Fn(S::Value))
where
    S::Value: std::fmt::Debug,
{
    let cases = if device.is_host() { 200 } else { few };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    // The same cases in every run.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(&strategy, |value| {
        check(value);
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("on {device}: {e}");
    }
}

/// Equal shapes and values; NaN equals NaN, and zeros have their signs.
#[track_caller]
fn assert_same<T: Sample, S: Data<Elem = T>, D: Dimension>(
    got: &DeviceArray<T>,
    want: &ArrayBase<S, D>,
) {
    assert_eq!(got.shape(), want.shape());
    let values = got.to_vec().unwrap();
    for (k, (got, want)) in values.iter().zip(want.iter()).enumerate() {
        let (got, want) = (got.wide(), want.wide());
        assert!(got.same(want), "element {k} of {}: {got}, expected {want}", values.len());
    }
}

/// Copies an array to a device; in tests that cannot fail.
#[track_caller]
fn on<T: Sample, S: Data<Elem = T>, D: Dimension>(
    device: &Device,
    array: &ArrayBase<S, D>,
) -> DeviceArray<T> {
    DeviceArray::from_ndarray(device, array).unwrap()
}

/// Shapes of no to four axes of lengths 0 to 6; most of them not empty.
fn shapes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1 => Just(0usize), 3 => Just(1), 12 => 2usize..7], 0..5)
}

/// What [`view`] does, each number a step.
fn recipes() -> impl Strategy<Value = Vec<u32>> {
    vec(any::<u32>(), 0..4)
}

/// Walks the same way through views of an array and through copies of an ndarray: parts with steps
/// in both directions, permutations, broadcasts, single indices, new axes, other shapes.
fn view<T: Sample>(
    mut x: DeviceArray<T>,
    mut a: ArrayD<T>,
    recipe: &[u32],
) -> (DeviceArray<T>, ArrayD<T>) {
    for &number in recipe {
        let mut rng = Rng::new(number.into());
        let rank = a.ndim();
        match number % 7 {
            0..=2 => {
                let mut part = |&n: &usize| {
                    let start = rng.below(n + 1);
                    let end = start + rng.below(n + 1 - start);
                    // Mostly the whole axis, or hardly anything is left after two steps.
                    let (start, end) = if rng.below(3) == 0 { (start, end) } else { (0, n) };
                    let step = [1, 1, -1, 2, -2, 3][rng.below(6)];
                    SliceInfoElem::Slice { start: start as isize, end: Some(end as isize), step }
                };
                let parts: Vec<SliceInfoElem> = a.shape().iter().map(&mut part).collect();
                x = x.slice(&parts).unwrap();
                a = a.slice(parts.as_slice()).to_owned();
            }
            3 => {
                let mut axes: Vec<usize> = (0..rank).collect();
                for k in (1..rank).rev() {
                    axes.swap(k, rng.below(k + 1));
                }
                x = x.permute(&axes).unwrap();
                a = a.permuted_axes(axes);
            }
            4 => {
                let long = 1 + rng.below(4);
                let mut shape: Vec<usize> =
                    a.shape().iter().map(|&n| if n == 1 { long } else { n }).collect();
                if rank < 4 && rng.below(2) == 0 {
                    shape.insert(0, 2);
                }
                x = x.broadcast(shape.as_slice()).unwrap();
                a = a.broadcast(shape).unwrap().to_owned();
            }
            5 if rank > 0 && a.shape()[rank - 1] > 0 => {
                let (axis, last) = (Axis(rank - 1), a.shape()[rank - 1] - 1);
                let at = rng.below(last + 1);
                x = x.index_axis(axis, at).unwrap();
                a = a.index_axis_move(axis, at);
            }
            5 => {
                x = x.insert_axis(Axis(rank / 2)).unwrap();
                a = a.insert_axis(Axis(rank / 2));
            }
            _ => {
                let n = a.len();
                let shape = if n.is_multiple_of(2) { vec![2, n / 2] } else { vec![n] };
                x = x.reshape(shape.as_slice()).unwrap();
                a = ArrayD::from_shape_vec(shape, a.iter().copied().collect()).unwrap();
            }
        }
    }
    (x, a)
}

/// An error of this kind, of this operation, whose message has all of these words.
#[track_caller]
fn assert_error<T>(got: Result<T, Error>, kind: ErrorKind, op: &str, words: &[&str]) {
    let Err(e) = got else { panic!("a result where an error of {op} was expected") };
    assert_eq!(e.kind(), kind, "{e}");
    assert_eq!(e.op(), op, "{e}");
    for word in words {
        assert!(e.to_string().contains(word), "{word:?} is missing in: {e}");
    }
}

/// 0, 1, 2, … under a shape.
fn counted<T: Sample>(shape: &[usize]) -> ArrayD<T> {
    let mut k = -1;
    ArrayD::from_shape_simple_fn(shape, || {
        k += 1;
        T::of(Wide::Int(k))
    })
}

#[path = "conformance/cast.rs"]
mod cast;
#[path = "conformance/conv2d.rs"]
mod conv2d;
#[path = "conformance/copy.rs"]
mod copy;
#[path = "conformance/create.rs"]
mod create;
#[path = "conformance/errors.rs"]
mod errors;
#[path = "conformance/gather.rs"]
mod gather;
#[path = "conformance/groupby.rs"]
mod groupby;
#[path = "conformance/histogram.rs"]
mod histogram;
#[path = "conformance/join.rs"]
mod join;
#[path = "conformance/layout.rs"]
mod layout;
#[path = "conformance/linalg.rs"]
mod linalg;
#[path = "conformance/map.rs"]
mod map;
#[path = "conformance/matmul.rs"]
mod matmul;
#[path = "conformance/random.rs"]
mod random;
#[path = "conformance/reduce.rs"]
mod reduce;
#[path = "conformance/scan.rs"]
mod scan;
#[path = "conformance/scatter.rs"]
mod scatter;
#[path = "conformance/select.rs"]
mod select;
#[path = "conformance/sort.rs"]
mod sort;
#[path = "conformance/sorted.rs"]
mod sorted;
#[path = "conformance/sparse.rs"]
mod sparse;
#[path = "conformance/stencil.rs"]
mod stencil;
#[path = "conformance/table.rs"]
mod table;
