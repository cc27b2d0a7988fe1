//! The table of `clan verify`: every operation × every element type. A CPU through OpenCL, which
//! compiles for seconds what a GPU's driver does in one, gets a part of it; the other files of this
//! test see to the families that it lacks.

use clan::{DType, DeviceKind, verify};

/// Every operation on one type of each kind, and casts to as many.
fn sample(case: &verify::Case) -> bool {
    use DType::{Bool, F16, F32, I8, I64, U16};
    let types: &[DType] = match case.family {
        "map" => &[Bool, I8, U16, F32],
        "cast" => &[I8, I64, F16],
        "conv2d" => &[U16],
        "random" | "histogram" | "groupby" => &[F16, I64],
        _ => &[],
    };
    types.contains(&case.dtype)
}

on_every_device!(every_case_passes, |device| {
    let full = std::env::var("CLAN_TEST_FULL").is_ok_and(|v| v == "1");
    let all = full || device.kind() != DeviceKind::Cpu;
    let chosen = |case: &verify::Case| all || sample(case);
    let report = verify::run_where(device, chosen, &mut |_| {});
    for f in &report.failures {
        eprintln!("{}<{}> on {}: {}", f.op, f.dtype, f.device, f.detail);
    }
    eprintln!("{} passed, {} programs", report.passed, device.compiles());
    assert_eq!(report.failed, 0);
    let cases = verify::cases().iter().filter(|c| chosen(c)).count();
    assert_eq!(report.passed + report.skipped, cases);
    // Only a missing f64 is a reason to skip.
    assert!(report.skips.is_empty() || !device.info().fp64, "{:?}", report.skips);
});
