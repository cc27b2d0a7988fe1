//! The spaces of the kernels of `matmul`, for the tuner.

use super::Precision;
use super::point::{Direct, Panel, Stream, Tile, chunk, is_cpu, rated};
use super::units::{self, Kind, Unit};
use crate::array::{DeviceArray, RawArray};
use crate::device::{Backing, Device, DeviceKind};
use crate::element::DType;
use crate::error::Result;
use crate::expr::node::Node;
use crate::opencl::ClDevice;
use crate::ops::map;
use crate::tune::space::{Case, Checked, Class, Depth, Space, Start, Values, parameter};

/// The class of a tile's calls: few, some or many tiles along each axis, one product or several.
pub(super) fn class(m: usize, n: usize, k: usize, batches: usize) -> Class {
    let size = |d: usize| match d {
        0..=128 => 0,
        129..=1024 => 1,
        _ => 2,
    };
    Class(size(m) + 3 * size(n) + 9 * size(k) + 27 * u32::from(batches > 1))
}

/// The same for a matrix unit.
pub(super) fn unit_class(kind: Kind, m: usize, n: usize, k: usize, batches: usize) -> Class {
    Class(class(m, n, k, batches).0 + 54 * kind as u32)
}

pub(crate) static TILED: Space = Space {
    family: "matmul",
    name: "matmul_tiled",
    source: super::opencl::SOURCE,
    parameters: &[
        parameter("tm", &[32, 64, 128, 256]),
        parameter("tn", &[32, 64, 128, 256]),
        parameter("tk", &[4, 8, 16, 32]),
        parameter("rm", &[2, 4, 8, 16]),
        parameter("rn", &[2, 4, 8, 16]),
        parameter("stages", &[1, 2]),
        parameter("steps", &[1, 2, 4, 8, 16]),
        parameter("band", &[1, 4, 8, 16]),
        parameter("pad", &[0, 2, 4]),
    ],
    fits: |device, dtype, v| Tile::of_values(v).fits(device, dtype),
    known: |device, dtype, _| {
        let mut known: Vec<Values> = rated(device, dtype).map(|r| r.tile.values()).collect();
        known.extend(MORE_TILES.iter().map(|t| Values::from_slice(t)));
        known
    },
    check: |device, dtype, _, depth| {
        check_products(device, dtype, Precision::Full, &AWKWARD, depth)
    },
    cases: |device| match on_gpu(device) {
        false => Vec::new(),
        true => vec![
            product(device, DType::F32, [4096, 4096, 4096, 1], Precision::Full),
            product(device, DType::F32, [512, 512, 512, 1], Precision::Full),
        ],
    },
    model: Some(|device, case, values| Tile::model(device, case.dtype, case.shape, values)),
};

/// Points worth a try on any GPU.
const MORE_TILES: &[[u32; 9]] = &[
    [128, 128, 16, 8, 8, 2, 8, 8, 4],
    [64, 128, 16, 8, 4, 2, 8, 8, 4],
    [64, 64, 16, 8, 4, 1, 4, 8, 0],
    [128, 128, 8, 8, 8, 2, 8, 8, 4],
    [128, 128, 8, 16, 8, 1, 8, 8, 4],
    [64, 128, 16, 8, 8, 2, 8, 8, 4],
    [128, 64, 16, 8, 8, 2, 8, 8, 4],
    [256, 128, 8, 8, 16, 2, 8, 4, 4],
];

pub(crate) static UNITS: Space = Space {
    family: "matmul",
    name: "matmul_mma",
    source: super::opencl::UNITS_SOURCE,
    parameters: &[
        parameter("bm", &[32, 64, 128, 256]),
        parameter("bn", &[16, 32, 64, 128, 256]),
        parameter("bk", &[16, 32, 64]),
        parameter("wm", &[16, 32, 64]),
        parameter("wn", &[16, 32, 64]),
        parameter("stages", &[2, 3, 4]),
        parameter("band", &[2, 4, 8, 16]),
    ],
    // The smallest operands of a type: what fits in three products of `f32` fits in one.
    fits: |device, dtype, v| match dtype {
        DType::F64 => Unit::of_values(Kind::F64, v).fits(device),
        DType::F32 => Unit::of_values(Kind::Tf32, v).fits(device),
        DType::F16 | DType::BF16 => Unit::of_values(Kind::F16, v).fits(device),
        _ => false,
    },
    known: |device, _, Class(class)| {
        let rows = units::family(device).into_iter().flat_map(|f| f.units);
        rows.filter(|u| Some(u.kind) == kind_of(Class(class))).map(Unit::values).collect()
    },
    check: |device, dtype, Class(class), depth| {
        check_products(device, dtype, precision(Class(class)), &AWKWARD_UNITS, depth)
    },
    cases: |device| {
        let Backing::OpenCl(cl) = device.backing() else { return Vec::new() };
        if units::family(cl).is_none() {
            return Vec::new();
        }
        let cube = |n: usize| [n, n, n, 1];
        [
            (DType::F32, cube(8192), Precision::Full),
            (DType::F32, cube(512), Precision::Full),
            (DType::F32, cube(8192), Precision::Tf32),
            (DType::BF16, cube(8192), Precision::Full),
            (DType::F16, cube(8192), Precision::Full),
            (DType::F64, cube(4096), Precision::Full),
        ]
        .into_iter()
        .filter_map(|(dtype, shape, precision)| {
            let [m, n, k, batches] = shape;
            let class = unit_class(units::kind(dtype, precision, k)?, m, n, k, batches);
            Some(Case { class, ..product(device, dtype, shape, precision) })
        })
        .collect()
    },
    model: Some(units::model),
};

/// The kind that a unit's class is for.
pub(super) fn kind_of(Class(class): Class) -> Option<Kind> {
    [Kind::Tf32, Kind::Tf32Thrice, Kind::Bf16, Kind::F16, Kind::F64]
        .into_iter()
        .find(|&k| k as u32 == class / 54)
}

/// The precision that leads to a unit of this class.
fn precision(class: Class) -> Precision {
    match kind_of(class) {
        Some(Kind::Tf32) => Precision::Tf32,
        _ => Precision::Full,
    }
}

pub(crate) static PANEL: Space = Space {
    family: "matmul",
    name: "matmul_panel",
    source: super::opencl::SOURCE,
    parameters: &[
        parameter("pm", &[12, 24, 48, 96, 192]),
        parameter("pn", &[8, 16, 32, 64, 128, 256]),
        parameter("pk", &[32, 64, 128, 256, 512]),
        parameter("rm", &[2, 3, 4, 6, 8, 12]),
        parameter("rl", &[1, 2, 3, 4]),
    ],
    fits: |device, dtype, v| Panel::of_values(v).fits(device, dtype),
    known: |device, dtype, _| {
        let lanes = 16 * 4 / super::opencl::sum_bytes(dtype) as u32;
        let default = Panel::default_of(device, super::opencl::sum_bytes(dtype));
        let mut known = vec![default.values()];
        for (rm, rl) in [(6, 2), (4, 2), (8, 1), (12, 1), (4, 3)] {
            known.push(Values::from_slice(&[96, 4 * lanes, 256, rm, rl]));
            known.push(Values::from_slice(&[24, 2 * lanes, 64, rm, rl]));
        }
        known
    },
    check: |device, dtype, _, depth| {
        check_products(device, dtype, Precision::Full, &AWKWARD, depth)
    },
    cases: |device| match on_gpu(device) {
        true => Vec::new(),
        false => vec![
            product(device, DType::F32, [1024, 1024, 1024, 1], Precision::Full),
            product(device, DType::F64, [512, 512, 512, 1], Precision::Full),
        ]
        .into_iter()
        .filter(|c| device.supports(c.dtype))
        .collect(),
    },
    model: None,
};

pub(crate) static DIRECT: Space = Space {
    family: "matmul",
    name: "matmul_direct",
    source: super::opencl::SOURCE,
    parameters: &[
        parameter("group", &[16, 32, 64, 128, 256]),
        parameter("rm", &[1, 2, 4, 8]),
        parameter("rn", &[1, 2, 4, 8]),
    ],
    fits: |device, _, v| v[0] as usize <= device.info.max_work_group && v[1] * v[2] <= 32,
    known: |device, _, _| {
        let Direct { group, rm, rn } = Direct::default_of(device);
        vec![values([group, rm, rn]), values([64, 2, 2]), values([128, 4, 2])]
    },
    check: |device, dtype, _, depth| {
        check_products(device, dtype, Precision::Full, &[[13, 11, 9, 7], [16, 16, 16, 20]], depth)
    },
    cases: |device| match on_gpu(device) {
        true => vec![product(device, DType::F32, [16, 16, 16, 50_000], Precision::Full)],
        false => vec![product(device, DType::F32, [16, 16, 16, 2_000], Precision::Full)],
    },
    model: None,
};

pub(crate) static ROWS: Space = Space {
    family: "matmul",
    name: "matvec_rows",
    source: super::opencl::SOURCE,
    parameters: STREAM,
    fits: stream_fits,
    known: |device, _, _| known_streams(device, false),
    check: |device, dtype, _, depth| {
        check_products(device, dtype, Precision::Full, &[[67, 1, 1003, 1], [2048, 1, 64, 1]], depth)
    },
    cases: |device| vec![vector_product(device, false)],
    model: None,
};

pub(crate) static COLUMNS: Space = Space {
    family: "matmul",
    name: "matvec_columns",
    source: super::opencl::SOURCE,
    parameters: STREAM,
    fits: stream_fits,
    known: |device, _, _| known_streams(device, true),
    check: |device, dtype, _, depth| {
        check_products(device, dtype, Precision::Full, &[[1, 67, 1003, 1], [1, 2048, 64, 1]], depth)
    },
    cases: |device| vec![vector_product(device, true)],
    model: None,
};

const STREAM: &[crate::tune::space::Parameter] = &[
    parameter("group", &[1, 32, 64, 128, 256, 512, 1024]),
    parameter("unroll", &[1, 2, 4, 8]),
    parameter("per_unit", &[1, 2, 4, 8, 16, 32]),
    parameter("columns", &[1, 8, 16, 32, 64]),
];

fn stream_fits(device: &ClDevice, _: DType, v: &[u32]) -> bool {
    v[0] as usize <= device.info.max_work_group && v[3] <= v[0]
}

fn known_streams(device: &ClDevice, by_columns: bool) -> Vec<Values> {
    let s = Stream::default_of(device, by_columns);
    let per_unit = s.groups / device.info.compute_units.max(1);
    vec![
        values([s.group, s.unroll, per_unit, s.columns]),
        values([256, 4, 8, 32]),
        values([256, 8, 8, 32]),
        values([128, 4, 16, 32]),
    ]
}

fn values<const N: usize>(list: [usize; N]) -> Values {
    list.iter().map(|&v| v as u32).collect()
}

fn on_gpu(device: &Device) -> bool {
    device.launch_kind() != DeviceKind::Cpu
}

/// Shapes that no tile divides, one that all do, and a batch.
const AWKWARD: [[usize; 4]; 4] =
    [[19, 33, 70, 1], [131, 259, 45, 1], [256, 256, 64, 1], [37, 70, 21, 3]];

/// The same, large enough for units.
const AWKWARD_UNITS: [[usize; 4]; 3] = [[147, 163, 250, 1], [256, 256, 256, 1], [70, 150, 203, 3]];

/// Multiplies small integers, which every type and unit does exactly, and compares with a plain
/// loop: both operands as they are, and where all forms count, both turned.
fn check_products(
    device: &Device,
    dtype: DType,
    precision: Precision,
    shapes: &[[usize; 4]],
    depth: Depth,
) -> Checked {
    let both = [false, true];
    for &[m, n, k, batches] in shapes {
        for &turned in if depth == Depth::All { &both[..] } else { &both[..1] } {
            let a: Vec<f32> = (0..batches * m * k).map(|i| (i * 7 % 15) as f32 - 7.0).collect();
            let b: Vec<f32> = (0..batches * k * n).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
            let got = match dtype {
                DType::F64 => {
                    multiplied::<f64>(device, [m, n, k, batches], &a, &b, turned, precision)
                }
                DType::F16 => {
                    multiplied::<half::f16>(device, [m, n, k, batches], &a, &b, turned, precision)
                }
                DType::BF16 => {
                    multiplied::<half::bf16>(device, [m, n, k, batches], &a, &b, turned, precision)
                }
                _ => multiplied::<f32>(device, [m, n, k, batches], &a, &b, turned, precision),
            }?;
            // With operands turned, element (i, j) of both is that of (j, i) above.
            let (at_a, at_b) = match turned {
                false => ((k, 1), (n, 1)),
                true => ((1, m), (1, k)),
            };
            for (at, &got) in got.iter().enumerate() {
                let (t, i, j) = (at / (m * n), at / n % m, at % n);
                let sum: f32 = (0..k)
                    .map(|l| {
                        a[t * m * k + i * at_a.0 + l * at_a.1]
                            * b[t * k * n + l * at_b.0 + j * at_b.1]
                    })
                    .sum();
                let want = match dtype {
                    DType::F16 => half::f16::from_f32(sum).to_f32(),
                    DType::BF16 => half::bf16::from_f32(sum).to_f32(),
                    _ => sum,
                };
                if got != want {
                    let turned = if turned { ", turned" } else { "" };
                    return Ok(Err(format!(
                        "{batches} × {m} × {n} × {k}{turned}, element {at}: {got} in place of {want}"
                    )));
                }
            }
        }
    }
    Ok(Ok(()))
}

fn multiplied<T: crate::element::Number>(
    device: &Device,
    [m, n, k, batches]: [usize; 4],
    a: &[f32],
    b: &[f32],
    turned: bool,
    precision: Precision,
) -> Result<Vec<f32>> {
    let array = |values: &[f32], rows: usize, columns: usize| -> Result<DeviceArray<T>> {
        let shape = if turned { [batches, columns, rows] } else { [batches, rows, columns] };
        let x = DeviceArray::<f32>::from_slice(device, values)?.reshape(shape)?;
        let x = cast::<T>(&x)?;
        if turned { x.permute(&[0, 2, 1]) } else { Ok(x) }
    };
    let (a, b) = (array(a, m, k)?, array(b, k, n)?);
    let c = a.product(&b).precision(precision).eval()?;
    let node = Node::cast(Node::leaf(c.raw()?.clone()), DType::F32);
    DeviceArray::<f32>::from_raw(map::eval(&node)?).to_vec()
}

fn cast<T: crate::element::Number>(x: &DeviceArray<f32>) -> Result<DeviceArray<T>> {
    let raw: RawArray = map::eval(&Node::cast(Node::leaf(x.raw()?.clone()), T::DTYPE))?;
    Ok(DeviceArray::from_raw(raw))
}

/// A product to be timed.
fn product(_: &Device, dtype: DType, shape: [usize; 4], precision: Precision) -> Case {
    let [m, n, k, batches] = shape;
    let times = if batches > 1 { format!("{batches} × ") } else { String::new() };
    let less =
        if precision == Precision::Full { String::new() } else { format!(", {precision:?}") };
    let prepare: fn(&Device, [usize; 4]) -> Result<Start> = match (dtype, precision) {
        (DType::F64, _) => |d, s| start::<f64>(d, s, Precision::Full),
        (DType::F16, _) => |d, s| start::<half::f16>(d, s, Precision::Full),
        (DType::BF16, _) => |d, s| start::<half::bf16>(d, s, Precision::Full),
        (_, Precision::Tf32) => |d, s| start::<f32>(d, s, Precision::Tf32),
        _ => |d, s| start::<f32>(d, s, Precision::Full),
    };
    Case {
        dtype,
        class: class(m, n, k, batches),
        label: format!("{times}{m} × {n} × {k} {dtype}{less}"),
        shape,
        work: 2.0 * (m * n * k * batches) as f64 / 1e9,
        unit: "GFLOP/s",
        prepare,
    }
}

fn start<T: crate::element::Number>(
    device: &Device,
    [m, n, k, batches]: [usize; 4],
    precision: Precision,
) -> Result<Start> {
    let array = |rows: usize, columns: usize| -> Result<DeviceArray<T>> {
        // Numbers of many bits: arithmetic on zeros draws less power and so runs faster.
        let x = DeviceArray::<f32>::arange(device, 0.0, (batches * rows * columns) as f32, 1.0)?;
        let x = (&x * 0.618_034).sin().eval()?;
        match batches {
            1 => cast(&x.reshape([rows, columns])?),
            _ => cast(&x.reshape([batches, rows, columns])?),
        }
    };
    let (a, b) = (array(m, k)?, array(k, n)?);
    Ok(Box::new(move || a.product(&b).precision(precision).eval().map(drop)))
}

/// A matrix with a vector; by columns, a vector with a matrix.
fn vector_product(device: &Device, by_columns: bool) -> Case {
    let side: usize = if on_gpu(device) { 16_384 } else { 4_096 };
    let shape = if by_columns { [1, side, side, 1] } else { [side, 1, side, 1] };
    Case {
        class: Class::ALL,
        work: (side * side * 4) as f64 / 1e9,
        unit: "GB/s",
        ..product(device, DType::F32, shape, Precision::Full)
    }
}

impl Tile {
    pub fn values(&self) -> Values {
        values([
            self.tm,
            self.tn,
            self.tk,
            self.rm,
            self.rn,
            self.stages,
            self.steps,
            self.band,
            self.pad,
        ])
    }

    pub fn of_values(v: &[u32]) -> Tile {
        let v = |k: usize| v[k] as usize;
        Tile {
            tm: v(0),
            tn: v(1),
            tk: v(2),
            rm: v(3),
            rn: v(4),
            stages: v(5),
            steps: v(6),
            band: v(7),
            pad: v(8),
        }
    }

    fn fits(&self, device: &ClDevice, dtype: DType) -> bool {
        let (bytes, chunk) = (super::opencl::sum_bytes(dtype), chunk(dtype));
        let group = self.group();
        self.can_run(device, bytes)
            && (16..=1024).contains(&group)
            && self.rm.is_multiple_of(chunk)
            && self.rn.is_multiple_of(chunk)
            && self.pad.is_multiple_of(chunk)
            && self.steps <= self.tk
            && (self.tm * self.tk).is_multiple_of(group)
            && (self.tn * self.tk).is_multiple_of(group)
            // Sums and what is read and fetched at a time stay in registers.
            && (self.rm * self.rn + self.rm + self.rn + (self.tm + self.tn) * self.tk / group) * bytes <= 800
    }
}

impl Unit {
    pub fn values(&self) -> Values {
        values([self.bm, self.bn, self.bk, self.wm, self.wn, self.stages, self.band])
    }
}

impl Panel {
    pub fn values(&self) -> Values {
        values([self.pm, self.pn, self.pk, self.rm, self.rl])
    }

    pub fn of_values(v: &[u32]) -> Panel {
        let v = |k: usize| v[k] as usize;
        Panel { pm: v(0), pn: v(1), pk: v(2), rm: v(3), rl: v(4) }
    }

    fn fits(&self, device: &ClDevice, dtype: DType) -> bool {
        let bytes = super::opencl::sum_bytes(dtype);
        let local =
            (self.pk * self.pn + self.pm.next_multiple_of(self.rm) * self.pn + self.rm * self.pk)
                * bytes;
        is_cpu(device)
            && self.pn.is_multiple_of(self.rl * 64 / bytes)
            && self.rm * self.rl <= 16
            && local as u64 <= device.local_bytes()
    }
}
