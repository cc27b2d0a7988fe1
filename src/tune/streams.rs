//! The spaces of the kernels that stream through memory: `map`, `reduce`, `copy`.
//!
//! They are tuned in `f32`, and what is found holds for all element types of 4 bytes.

use super::space::{Case, Checked, Class, Space, Start, Values, parameter};
use super::table::find;
use crate::array::DeviceArray;
use crate::device::{Device, DeviceKind};
use crate::element::DType;
use crate::error::Result;
use crate::opencl::{ClDevice, Point};
use crate::ops::{copy, map, reduce};
use crate::verify::oracle::Rng;
use ndarray::Axis;

const GROUPS: &[u32] = &[1, 16, 32, 64, 128, 256, 512, 1024];
const VECTORS: &[u32] = &[0, 4, 8, 16, 32, 64];
const UNROLLS: &[u32] = &[1, 2, 4, 8];
const PER_UNIT: &[u32] = &[1, 2, 4, 8, 12, 16, 24, 32];

pub(crate) static MAP: Space = Space {
    family: "map",
    name: "map",
    source: map::SOURCE,
    parameters: &[
        parameter("group", GROUPS),
        parameter("vector", VECTORS),
        parameter("unroll", UNROLLS),
    ],
    fits: |device, _, v| group_fits(device, v[0]) && v[1] * v[2] <= 128,
    known: |device, _, _| {
        let p = device.point;
        let mut known = vec![values(&[p.group, p.vector_bytes, p.unroll])];
        for group in [256, 512, 64] {
            known.extend([[group, 16, 1], [group, 16, 2]].map(|v| values(&v)));
        }
        known
    },
    check: |device, _, _, _| {
        both(
            compare_map(device, &[100_003], |x| (x * 2.0 + 1.0).eval(), |v, _| 2.0 * v + 1.0)?,
            compare_map(device, &[4096], |x| (x * 2.0 + 1.0).eval(), |v, _| 2.0 * v + 1.0)?,
        )
    },
    cases: |device| {
        vec![stream(device, "a * x + y", 12.0, |device, [n, ..]| {
            let (x, y) = (ramp(device, &[n])?, ramp(device, &[n])?);
            Ok(Box::new(move || (&x * 3.0 + &y).eval().map(drop)))
        })]
    },
    model: None,
};

pub(crate) static MAP_STRIDED: Space = Space {
    family: "map",
    name: "map_strided",
    source: map::SOURCE,
    parameters: &[parameter("group", GROUPS), parameter("unroll", UNROLLS)],
    fits: |device, _, v| group_fits(device, v[0]),
    known: |device, _, _| {
        let p = device.scalar_point();
        vec![values(&[p.group, p.unroll]), values(&[256, 4]), values(&[256, 8]), values(&[128, 4])]
    },
    check: |device, _, _, _| {
        let row = ramp(device, &[517])?;
        compare_map(device, &[203, 517], |x| (x + &row).eval(), |v, k| v + wave(k % 517))
    },
    cases: |device| {
        vec![stream(device, "matrix + row", 8.0, |device, [n, ..]| {
            let (x, row) = (ramp(device, &[n / 4096, 4096])?, ramp(device, &[4096])?);
            Ok(Box::new(move || (&x + &row).eval().map(drop)))
        })]
    },
    model: None,
};

pub(crate) static REDUCE_ROWS: Space = Space {
    family: "reduce",
    name: "reduce_rows",
    source: reduce::SOURCE,
    parameters: &[
        parameter("group", GROUPS),
        parameter("vector", VECTORS),
        parameter("unroll", UNROLLS),
        parameter("per_unit", PER_UNIT),
    ],
    fits: |device, _, v| group_fits(device, v[0]) && v[1] * v[2] <= 256,
    known: |device, _, _| {
        let p = device.reduce_point();
        let per_unit = p.groups / device.info.compute_units.max(1);
        let mut known = vec![values(&[p.group, p.vector_bytes, p.unroll, per_unit])];
        for per_unit in [16, 8, 4] {
            known.extend([[256, 16, 4, per_unit], [512, 16, 2, per_unit]].map(|v| values(&v)));
        }
        known
    },
    check: |device, _, _, _| {
        both(compare_sums(device, &[100_003], 0)?, compare_sums(device, &[37, 1003], 1)?)
    },
    cases: |device| {
        vec![stream(device, "sum", 4.0, |device, [n, ..]| {
            let x = ramp(device, &[n])?;
            Ok(Box::new(move || x.sum().map(drop)))
        })]
    },
    model: None,
};

pub(crate) static REDUCE_COLUMNS: Space = Space {
    family: "reduce",
    name: "reduce_columns",
    source: reduce::SOURCE,
    parameters: &[
        parameter("group", GROUPS),
        parameter("vector", VECTORS),
        parameter("unroll", UNROLLS),
        parameter("per_unit", PER_UNIT),
        parameter("columns", &[1, 8, 16, 32, 64]),
    ],
    fits: |device, _, v| group_fits(device, v[0]) && v[1] * v[2] <= 256 && v[4] <= v[0],
    known: |device, _, class| {
        let p = device.columns_point(class == TALL);
        let per_unit = p.groups / device.info.compute_units.max(1);
        let columns = 32.min(p.group);
        let mut known = vec![values(&[p.group, p.vector_bytes, p.unroll, per_unit, columns])];
        known.push(values(&[1024, 8, 4, 1, 32]));
        for per_unit in [16, 8, 4] {
            known.extend(
                [[256, 16, 4, per_unit, 32], [256, 16, 4, per_unit, 16]].map(|v| values(&v)),
            );
        }
        known
    },
    check: |device, _, _, _| {
        both(compare_sums(device, &[1003, 517], 0)?, compare_sums(device, &[515, 64], 0)?)
    },
    cases: |device| {
        let case = stream(device, "sums of columns", 4.0, |device, [n, rows, ..]| {
            let x = ramp(device, &[rows, n / rows])?;
            Ok(Box::new(move || x.sum_axis(Axis(0)).map(drop)))
        });
        let n = case.shape[0];
        [(TALL, 1 << (n.ilog2() / 2)), (FLAT, 64)]
            .map(|(class, rows)| Case {
                class,
                label: format!("{}, {rows} rows", case.label),
                shape: [n, rows, 1, 1],
                ..case
            })
            .into()
    },
    model: None,
};

/// Columns of many elements, and of few.
const TALL: Class = Class(1);
const FLAT: Class = Class(0);

pub(crate) static TRANSPOSE: Space = Space {
    family: "copy",
    name: "transpose",
    source: copy::SOURCE,
    parameters: &[parameter("group", GROUPS), parameter("tile", &[8, 16, 32, 64, 128])],
    fits: |device, dtype, v| {
        let [group, tile] = [v[0] as u64, v[1] as u64];
        group_fits(device, v[0])
            && group.is_multiple_of(tile)
            && tile * tile >= group
            && tile * tile / group <= 64
            && tile * (tile + 1) * dtype.size() as u64 <= device.local_bytes()
    },
    known: |_, _, _| {
        [[256, 64], [256, 32], [512, 64], [128, 32], [64, 32], [256, 16]]
            .map(|v| values(&v))
            .to_vec()
    },
    check: |device, _, _, _| {
        both(compare_transposed(device, [203, 517])?, compare_transposed(device, [256, 128])?)
    },
    cases: |device| match device.launch_kind() {
        // There the kernel is not used.
        DeviceKind::Cpu => Vec::new(),
        _ => vec![stream(device, "transpose", 8.0, |device, [n, ..]| {
            let side = 1 << (n.ilog2() / 2);
            let x = ramp(device, &[side, n / side])?;
            let turned = x.permute(&[1, 0])?;
            Ok(Box::new(move || copy::contiguous_copy(turned.raw()?).map(drop)))
        })],
    },
    model: None,
};

/// The point for a kernel with the parameters of [`MAP`] (or [`MAP_STRIDED`]).
pub(crate) fn map_point(
    device: &Device,
    space: &'static Space,
    dtype: DType,
    default: Point,
) -> Point {
    let Some(found) = find_for(device, space, dtype, Class::ALL) else { return default };
    let v: Vec<usize> = found.iter().map(|&v| v as usize).collect();
    match *v.as_slice() {
        [group, vector_bytes, unroll] => Point { group, vector_bytes, unroll, ..default },
        [group, unroll] => Point { group, unroll, ..default },
        _ => default,
    }
}

/// The point for reductions of rows or columns of `len` elements, and the columns of a group
/// (`CLAN_COLS`).
pub(crate) fn reduce_point(
    device: &Device,
    cl: &ClDevice,
    by_columns: bool,
    len: usize,
    dtype: DType,
) -> (Point, usize) {
    let tall = len >= 1024;
    let (space, class, default) = match by_columns {
        true => (&REDUCE_COLUMNS, if tall { TALL } else { FLAT }, cl.columns_point(tall)),
        false => (&REDUCE_ROWS, Class::ALL, cl.reduce_point()),
    };
    let columns = 32.min(default.group);
    let Some(found) = find_for(device, space, dtype, class) else { return (default, columns) };
    let v: Vec<usize> = found.iter().map(|&v| v as usize).collect();
    let [group, vector_bytes, unroll, per_unit, ..] = *v.as_slice() else {
        return (default, columns);
    };
    let point =
        Point { group, vector_bytes, unroll, groups: cl.info.compute_units.max(1) * per_unit };
    (point, v.get(4).copied().unwrap_or(32.min(group)))
}

/// Group and tile of a transpose; `None` for the default.
pub(crate) fn transpose_point(device: &Device, dtype: DType) -> Option<(usize, usize)> {
    find_for(device, &TRANSPOSE, dtype, Class::ALL).map(|v| (v[0] as usize, v[1] as usize))
}

fn find_for(device: &Device, space: &'static Space, dtype: DType, class: Class) -> Option<Values> {
    match dtype.size() {
        4 => find(device, space, DType::F32, class).map(|f| f.values),
        _ => None,
    }
}

fn values<V: TryInto<u32> + Copy>(list: &[V]) -> Values {
    list.iter().map(|&v| v.try_into().unwrap_or(0)).collect()
}

/// Groups of reductions and tiles are halved until one is left.
fn group_fits(device: &ClDevice, group: u32) -> bool {
    group.is_power_of_two() && group as usize <= device.info.max_work_group
}

/// A case over an array that no cache holds; `bytes` move for an element.
fn stream(
    device: &Device,
    label: &str,
    bytes: f64,
    prepare: fn(&Device, [usize; 4]) -> Result<Start>,
) -> Case {
    let n: usize = match device.launch_kind() {
        DeviceKind::Cpu => 1 << 24,
        _ => 1 << 27,
    };
    // A small device has less room.
    let n = n.min((device.info().memory.max_alloc_bytes / 16).max(1 << 16) as usize);
    let n: usize = 1 << n.ilog2();
    Case {
        dtype: DType::F32,
        class: Class::ALL,
        label: format!("{label}, 2^{} f32", n.ilog2()),
        shape: [n, 1, 1, 1],
        work: n as f64 * bytes / 1e9,
        unit: "GB/s",
        prepare,
    }
}

/// Small integers, whose sums are exact.
fn wave(k: usize) -> f32 {
    (k * 7 % 31) as f32 - 15.0
}

fn ramp(device: &Device, shape: &[usize]) -> Result<DeviceArray<f32>> {
    let n: usize = shape.iter().product();
    // Long ones are made on the device and only timed.
    match n {
        0..=1_000_000 => {
            let values: Vec<f32> = (0..n).map(wave).collect();
            DeviceArray::from_slice(device, &values)?.reshape(shape)
        }
        _ => DeviceArray::full(device, shape, 1.5f32),
    }
}

fn both(a: std::result::Result<(), String>, b: std::result::Result<(), String>) -> Checked {
    Ok(a.and(b))
}

fn same(
    place: &str,
    got: &[f32],
    want: impl Iterator<Item = f32>,
) -> std::result::Result<(), String> {
    for (k, (got, want)) in got.iter().zip(want).enumerate() {
        if *got != want {
            return Err(format!("{place}, element {k}: {got} in place of {want}"));
        }
    }
    Ok(())
}

fn compare_map(
    device: &Device,
    shape: &[usize],
    run: impl Fn(&DeviceArray<f32>) -> Result<DeviceArray<f32>>,
    want: impl Fn(f32, usize) -> f32,
) -> Checked {
    let x = ramp(device, shape)?;
    let got = run(&x)?.to_vec()?;
    Ok(same(&format!("{shape:?}"), &got, (0..got.len()).map(|k| want(wave(k), k))))
}

fn compare_sums(device: &Device, shape: &[usize], axis: usize) -> Checked {
    let x = ramp(device, shape)?;
    let got = x.sum_axis(Axis(axis))?.to_vec()?;
    let (outer, len) = match *shape {
        [n] => (1, n),
        [rows, columns] if axis == 0 => (columns, rows),
        [rows, columns, ..] => (rows, columns),
        [] => (1, 1),
    };
    // Positions of the summed elements.
    let (along, across) = if axis == 0 && shape.len() > 1 { (outer, 1) } else { (1, len) };
    let want = (0..outer).map(|r| (0..len).map(|k| wave(r * across + k * along)).sum::<f32>());
    Ok(same(&format!("sums of {shape:?} along axis {axis}"), &got, want))
}

fn compare_transposed(device: &Device, [rows, columns]: [usize; 2]) -> Checked {
    let mut rng = Rng::new(1);
    let values: Vec<f32> = (0..rows * columns).map(|_| rng.unit() as f32).collect();
    let x = DeviceArray::from_slice(device, &values)?.reshape((rows, columns))?;
    let turned = x.permute(&[1, 0])?;
    let got = DeviceArray::<f32>::from_raw(copy::contiguous_copy(turned.raw()?)?).to_vec()?;
    let want = (0..rows * columns).map(|k| values[k % rows * columns + k / rows]);
    Ok(same(&format!("{rows} × {columns} turned"), &got, want))
}
