//! The tuner on the first OpenCL device there is.

use super::space::{Start, parameter};
use super::*;
use crate::array::DeviceArray;
use crate::backend::Buffer;
use crate::opencl::{Launch, codegen};
use std::collections::HashMap;

fn device() -> Option<Device> {
    let found = Device::all().into_iter().find(|d| !d.is_host());
    if found.is_none() {
        let required = std::env::var("CLAN_TEST_REQUIRE").is_ok_and(|v| v.contains("opencl"));
        assert!(!required, "CLAN_TEST_REQUIRE asks for an OpenCL device");
        println!("skipped: no OpenCL device");
    }
    found
}

fn cl(device: &Device) -> &ClDevice {
    match device.backing() {
        Backing::OpenCl(cl) => cl,
        Backing::Host(_) => unreachable!("an OpenCL device"),
    }
}

/// A kernel whose only parameter decides what it does: writes what it should (0 slowly, 1, 2), a
/// wrong value (3), too much before (4) and after (5), or does not compile (6).
static FAKE: Space = Space {
    family: "fake",
    name: "fake",
    source: "fake",
    parameters: &[parameter("kind", &[0, 1, 2, 3, 4, 5, 6, 7])],
    fits: |_, _, v| v[0] != 7,
    known: |_, _, _| vec![Values::from_slice(&[3]), Values::from_slice(&[7])],
    check: |device, _, _, _| {
        let got = fake(device, 1000)?.to_vec()?;
        Ok(match got.iter().position(|&x| x != 1.0) {
            Some(k) => Err(format!("element {k}: {}", got[k])),
            None => Ok(()),
        })
    },
    cases: |_| Vec::new(),
    model: None,
};

const TEXT: &str = "
__kernel void fake(__global float* out, const uint n) {
  const uint i = get_global_id(0);
#if KIND == 0
  float s = 0;
  for (uint k = 0; k < 20000; k++) s = s * 0.5f + (float)(k % 3);
  out[i] = s > -1 ? 1 : 0;
#elif KIND == 3
  out[i] = i == 77 ? 2 : 1;
#elif KIND == 6
  out[i] = nothing;
#else
  out[i] = 1;
#endif
#if KIND == 4
  if (i == 0) out[-3] = 7;
#elif KIND == 5
  if (i == 0) out[n + 2] = 7;
#endif
}
";

fn fake(device: &Device, n: usize) -> Result<DeviceArray<f32>> {
    let kind = find(device, &FAKE, DType::F32, Class::ALL).map_or(0, |f| f.values[0]);
    let cl = cl(device);
    let layout = crate::layout::Layout::contiguous(&[n]);
    let out = Buffer::new(device, n * 4)?;
    let text = || format!("#define KIND {kind}\n{TEXT}");
    let program = cl.programs.get(cl, "fake", ("fake", vec![kind as u8]), text)?;
    let mut launch = Launch::new(cl, &program, "fake", "fake")?;
    launch.output(&out)?;
    codegen::bind_index(&mut launch, n, false)?;
    // SAFETY: one work-item an element; what kinds 4 and 5 write beside it lies in guard bands,
    // outside of which they do not run.
    unsafe { launch.run([n, 1, 1], [1, 1, 1])? };
    let buffer = std::sync::Arc::new(out);
    let raw = crate::array::RawArray { buffer, layout, dtype: DType::F32 };
    Ok(DeviceArray::from_raw(raw))
}

fn case() -> Case {
    Case {
        dtype: DType::F32,
        class: Class::ALL,
        label: "fake".into(),
        shape: [1000, 1, 1, 1],
        work: 1.0,
        unit: "calls/s",
        prepare: |device, [n, ..]| -> Result<Start> {
            let device = device.clone();
            Ok(Box::new(move || fake(&device, n).map(drop)))
        },
    }
}

#[test]
fn only_points_that_are_right_and_stay_inside_win() {
    let Some(device) = device() else { return };
    let cl = cl(&device);
    let checked = |kind| {
        let point = Some(Values::from_slice(&[kind]));
        check(&device, cl, &FAKE, DType::F32, Class::ALL, point, Depth::All)
    };
    for (kind, what) in [(3, "element 77: 2"), (4, "byte -9 "), (5, "byte 4008 ")] {
        let got = checked(kind);
        let said = got.unwrap().expect_err("is wrong");
        assert!(said.contains(what), "{said}");
    }
    for kind in [0, 1, 2] {
        let got = checked(kind);
        assert_eq!(got.unwrap(), Ok(()), "kind {kind}");
    }
    let found =
        search::run(&device, cl, &FAKE, &case(), Duration::from_secs(30), None, &mut |_, _| {});
    let found = found.unwrap();
    assert_eq!((found.tried, found.refused), (7, 4), "all that fit, and those that are wrong");
    let best = found.best.expect("kind 0 is much slower than 1 and 2");
    assert!([1, 2].contains(&best.values[0]), "{:?}", best.values);
    assert!(best.time < found.before && best.cost < 1.0);
    // Nothing is on trial any more.
    assert!(!on_trial() && !guard::active());
    assert!(find(&device, &FAKE, DType::F32, Class::ALL).is_none());
}

#[test]
fn no_budget_measures_the_default_alone() {
    let Some(device) = device() else { return };
    let run = |current| {
        search::run(&device, cl(&device), &FAKE, &case(), Duration::ZERO, current, &mut |_, _| {})
    };
    let found = run(None).unwrap();
    assert!(found.best.is_none() && found.tried == 0 && found.before > 0.0);
    // What is in use is measured again, not forgotten.
    let found = run(Some(Values::from_slice(&[2]))).unwrap();
    assert_eq!((found.best.unwrap().values[0], found.tried), (2, 1));
}

fn entry(driver: String, values: &[u32]) -> Entry {
    let values = Values::from_slice(values);
    Entry { values, driver, cost: 0.5, before: 1.0, after: 2.0, unit: "GB/s".into() }
}

#[test]
fn another_driver_has_points_checked_again() {
    let Some(device) = device() else { return };
    let cl = cl(&device);
    let file = format!("clan-table-{}.txt", std::process::id());
    let store = Store::at(std::env::temp_dir().join(file));
    let key = (streams::MAP.name, DType::F32, Class::ALL);
    let fits = |_: &Space, _: DType, _: &[u32]| true;

    // Right under the new driver: used, and from now on of that driver.
    store.write(&HashMap::from([(key, entry("an old driver".into(), &[64, 16, 2]))])).unwrap();
    let table = Table::with(cl, Some(store.clone()));
    let point = Some(Values::from_slice(&[64, 16, 2]));
    assert_eq!(check(&device, cl, &streams::MAP, key.1, key.2, point, Depth::All).unwrap(), Ok(()));
    let found = table.find(&device, cl, &streams::MAP, key).expect("is right");
    assert_eq!(found.values.as_slice(), [64, 16, 2]);
    assert_eq!(store.read(&fits).unwrap()[&key].driver, cl.driver());

    // Wrong: not used, and forgotten.
    let wrong = ("fake", DType::F32, Class::ALL);
    let table = Table::with(cl, Some(store.clone()));
    for (kind, known) in [(3, false), (6, false), (1, true)] {
        // In memory alone: the store knows no space of this name.
        table.change(cl, wrong, Some(entry("an old driver".into(), &[kind]))).unwrap();
        assert_eq!(table.find(&device, cl, &FAKE, wrong).is_some(), known, "kind {kind}");
        assert_eq!(table.current(&wrong).is_some(), known, "kind {kind}");
    }
    // The other entry is still there.
    assert_eq!(store.read(&fits).unwrap().len(), 1);
    std::fs::remove_file(&store.path).unwrap();
}

#[test]
fn every_known_point_is_one_that_can_be_stored() {
    for device in Device::kinds() {
        let Backing::OpenCl(cl) = device.backing() else { continue };
        for space in spaces() {
            for case in (space.cases)(&device) {
                for point in (space.known)(cl, case.dtype, case.class) {
                    let read = space.read(&space.write(&point));
                    assert_eq!(read.as_ref(), Some(&point), "{}", space.name);
                    if !(space.fits)(cl, case.dtype, &point) {
                        continue;
                    }
                    let listed = |(p, v): (&space::Parameter, &u32)| p.values.contains(v);
                    let all = space.parameters.iter().zip(&point).all(listed);
                    assert!(all, "{}: {} is not of the space", space.name, space.write(&point));
                }
            }
        }
    }
}

#[test]
fn a_tuner_names_what_is_wrong() {
    let error = Tuner::new(&Device::host()).run(&mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("host"), "{error}");
    let Some(device) = device() else { return };
    let error = Tuner::new(&device).only(["sums"]).run(&mut |_| {}).unwrap_err();
    assert!(
        error.to_string().contains("\"sums\"") && error.to_string().contains("reduce"),
        "{error}"
    );
}
