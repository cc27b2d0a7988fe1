//! The tunable parameters of the kernels in `cl/matmul.cl`, and what a device gets by default.

use super::gemm::Gemm;
use super::opencl::sum_bytes;
use super::tuning;
use crate::device::DeviceKind;
use crate::element::DType;
use crate::opencl::{ClDevice, Maker};
use crate::tune::find;
use crate::tune::space::Class;

/// Whether kernels are shaped for a CPU.
pub(super) fn is_cpu(device: &ClDevice) -> bool {
    device.launch_kind == DeviceKind::Cpu
}

/// `matmul_tiled`: see the macros of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub tm: usize,
    pub tn: usize,
    pub tk: usize,
    pub rm: usize,
    pub rn: usize,
    pub stages: usize,
    /// Steps along k that are unrolled. All 16 of a tile of 128 × 128 make LLVM's compiler for AMD
    /// (clang 15, gfx1030) spill 242 registers; 8 none.
    pub steps: usize,
    pub band: usize,
    pub pad: usize,
}

/// A tile, and how much time an element of its results takes compared with the best.
#[derive(Clone, Copy)]
pub(super) struct Rated {
    pub tile: Tile,
    pub cost: f64,
}

/// `CLAN_CHUNK`: sums in 16 bytes.
pub(super) fn chunk(dtype: DType) -> usize {
    16 / sum_bytes(dtype)
}

const fn tile(tm: usize, tn: usize, tk: usize, rm: usize, rn: usize, cost: f64) -> Rated {
    Rated { tile: Tile { tm, tn, tk, rm, rn, stages: 2, steps: 8, band: 8, pad: 0 }, cost }
}

/// Tiles for sums of 4 bytes on NVIDIA's GPUs, with the times that `clan tune` measured on an H200
/// (driver 580.159.04), f32, 4096 × 4096 × 4096, compared with the best, 2.861 ms or 48.0 TFLOP/s.
///
/// Others of 128 × 128: 8 × 8 sums a work-item 1.05, without padding 1.17, with 16 elements along k
/// 1.12; 8 × 16 sums 1.12; the best with two stages 1.02, with 4 steps unrolled 1.08, with one 1.19.
/// 256 × 128 by 16 × 8 1.13. At 512 × 512 × 512 64 × 128 is the best: 15.0 µs in place of 16.9.
const FOUR_NVIDIA: &[Rated] = &[
    Rated {
        tile: Tile { tm: 128, tn: 128, tk: 8, rm: 16, rn: 8, stages: 1, steps: 8, band: 8, pad: 4 },
        cost: 1.0,
    },
    Rated {
        tile: Tile { tm: 64, tn: 128, tk: 16, rm: 8, rn: 8, stages: 2, steps: 8, band: 8, pad: 4 },
        cost: 1.13,
    },
    Rated {
        tile: Tile { tm: 128, tn: 64, tk: 16, rm: 8, rn: 8, stages: 2, steps: 8, band: 8, pad: 4 },
        cost: 1.15,
    },
    tile(64, 64, 16, 4, 4, 1.4),
    tile(128, 32, 16, 4, 4, 1.45),
    tile(32, 128, 16, 4, 4, 1.45),
    tile(32, 32, 16, 4, 4, 1.56),
    tile(16, 128, 16, 4, 4, 1.56),
    tile(128, 16, 16, 4, 4, 1.56),
];

/// The same for GPUs that nobody has measured. The costs are estimates from the loads of local
/// memory that a multiplication needs. On AMD (gfx1030, clang 15) a tile of 128 × 128 with 8 steps
/// unrolled is compiled without spilling.
const FOUR: &[Rated] = &[
    Rated {
        tile: Tile { tm: 128, tn: 128, tk: 8, rm: 8, rn: 8, stages: 2, steps: 8, band: 8, pad: 4 },
        cost: 1.0,
    },
    tile(128, 64, 16, 8, 4, 1.25),
    tile(64, 128, 16, 4, 8, 1.25),
    tile(64, 64, 16, 4, 4, 1.6),
    tile(128, 32, 16, 4, 4, 1.7),
    tile(32, 128, 16, 4, 4, 1.7),
    tile(32, 32, 16, 4, 4, 2.0),
];

/// The same for Intel's GPUs, not measured: a work-item of 16 that run together has 64 words of
/// registers (128 registers of 32 bytes a thread), so 64 sums do not fit and 32 do.
const FOUR_INTEL: &[Rated] = &[
    tile(128, 64, 8, 8, 4, 1.0),
    tile(64, 128, 8, 4, 8, 1.0),
    tile(64, 64, 8, 4, 4, 1.3),
    tile(32, 128, 16, 4, 4, 1.4),
    tile(32, 32, 16, 4, 4, 1.7),
];

/// Tiles for sums of 8 bytes; not measured, for the H200 has units for `f64`.
const EIGHT: &[Rated] = &[
    tile(64, 64, 16, 4, 4, 1.0),
    tile(64, 32, 16, 4, 2, 1.3),
    tile(32, 64, 16, 2, 4, 1.3),
    tile(32, 32, 16, 2, 2, 1.7),
];

/// The tiles that a device has by default, and can run.
pub(super) fn rated(device: &ClDevice, dtype: DType) -> impl Iterator<Item = Rated> + '_ {
    let bytes = sum_bytes(dtype);
    let table = match (bytes, device.maker) {
        (8, _) => EIGHT,
        (_, Maker::Nvidia) => FOUR_NVIDIA,
        (_, Maker::Intel) => FOUR_INTEL,
        _ => FOUR,
    };
    table
        .iter()
        .copied()
        .filter(move |r| r.tile.group() <= device.point.group && r.tile.can_run(device, bytes))
}

/// What writing a partial sum and reading it again costs, in multiplications: 8 bytes at 4.2 TB/s
/// beside 22 T/s on an H200.
const JOIN: f64 = 45.0;

impl Tile {
    /// Work-items of a group.
    pub fn group(&self) -> usize {
        (self.tm / self.rm) * (self.tn / self.rn)
    }

    pub fn can_run(&self, device: &ClDevice, sum_bytes: usize) -> bool {
        let local = self.stages * self.tk * (self.tm + self.tn + 2 * self.pad) * sum_bytes;
        self.group() <= device.info.max_work_group && local as u64 <= device.local_bytes()
    }

    pub fn defines(&self) -> String {
        format!(
            "#define CLAN_TM {}\n#define CLAN_TN {}\n#define CLAN_TK {}\n#define CLAN_RM {}\n#define CLAN_RN {}\n#define CLAN_STAGES {}\n#define CLAN_STEPS {}\n#define CLAN_BAND {}\n#define CLAN_PAD {}\n",
            self.tm,
            self.tn,
            self.tk,
            self.rm,
            self.rn,
            self.stages,
            self.steps,
            self.band,
            self.pad
        )
    }

    /// The tile and the number of parts of k that should finish first, among those that the device
    /// can run; `None` when it can run none.
    pub fn of(device: &ClDevice, gemm: &Gemm<'_>) -> Option<(Tile, usize)> {
        let (m, n, k, batches) = (gemm.m, gemm.n, gemm.k, gemm.batches());
        let class = tuning::class(m, n, k, batches);
        let tuned = find(&gemm.out.device, &tuning::TILED, gemm.dtype, class);
        let tuned =
            tuned.map(|f| (f.on_trial, Rated { tile: Tile::of_values(&f.values), cost: f.cost }));
        let defaults = match tuned {
            Some((true, _)) => None,
            _ => Some(rated(device, gemm.dtype)),
        };
        let candidates = defaults.into_iter().flatten().chain(tuned.map(|t| t.1));
        candidates
            .map(|r| {
                let (splits, product, join) = r.tile.plan(device, [m, n, k, batches], r.cost);
                (product * r.cost + join, r.tile, splits)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, tile, splits)| (tile, splits))
    }

    fn plan(&self, device: &ClDevice, shape: [usize; 4], cost: f64) -> (usize, f64, f64) {
        let units = device.info.compute_units.max(1);
        Grid { tile: [self.tm, self.tn, self.tk], fill: 0, cost, join: JOIN }.plan(shape, units)
    }

    /// The times of the default's parts, `None` where no tile runs.
    fn default_times(device: &ClDevice, dtype: DType, shape: [usize; 4]) -> Option<(f64, f64)> {
        least(rated(device, dtype).map(|r| {
            let (_, product, join) = r.tile.plan(device, shape, r.cost);
            (product * r.cost, join)
        }))
    }

    /// The time of a product by default, in passes over 8 bytes of each element of an array, an
    /// element for each compute unit; infinite where no tile runs.
    pub fn estimate(device: &ClDevice, dtype: DType, shape: [usize; 4]) -> f64 {
        Tile::default_times(device, dtype, shape).map_or(f64::INFINITY, |(p, j)| (p + j) / JOIN)
    }

    /// See [`crate::tune::space::Model`].
    pub fn model(
        device: &ClDevice,
        dtype: DType,
        shape: [usize; 4],
        values: Option<&[u32]>,
    ) -> (f64, f64) {
        if let Some(values) = values {
            let (_, product, join) = Tile::of_values(values).plan(device, shape, 1.0);
            return (product, join);
        }
        Tile::default_times(device, dtype, shape).unwrap_or((1.0, 0.0))
    }
}

/// What the model of a product's time knows of a kernel that gives a tile to each work-group.
pub(super) struct Grid {
    /// Rows, columns, and elements along k that are taken at a time.
    pub tile: [usize; 3],
    /// Elements along k that a part takes time for beside its own.
    pub fill: usize,
    /// Time for an element of the result and of k, compared with the best.
    pub cost: f64,
    /// Time to write a partial sum and read it again, in multiplications.
    pub join: f64,
}

impl Grid {
    /// Into how many parts k should be cut, and the time it takes then, in multiplications of a
    /// compute unit: of the product at cost 1, and of the pass that adds the parts.
    pub fn plan(&self, [m, n, k, batches]: [usize; 4], units: usize) -> (usize, f64, f64) {
        let [tm, tn, tk] = self.tile;
        let tiles = (m.div_ceil(tm) * n.div_ceil(tn)) as f64 * batches as f64;
        let mut best = (1, f64::INFINITY, 0.0);
        let mut splits = 1;
        // A part is long enough to be worth its start.
        while splits == 1 || (splits * 8 * tk <= k && splits < 4 * units) {
            let part = k.div_ceil(splits).next_multiple_of(tk);
            // A unit runs two groups at a time and is idle in the last round of an uneven number
            // of them.
            let rounds = (tiles * splits as f64 / units as f64).ceil().max(1.0);
            let product = rounds * (tm * tn * (part + self.fill)) as f64;
            let join = match splits {
                1 => 0.0,
                _ => (m * n * splits) as f64 * batches as f64 / units as f64 * self.join,
            };
            if product * self.cost + join < best.1 * self.cost + best.2 {
                best = (splits, product, join);
            }
            splits *= 2;
        }
        best
    }
}

/// The pair of the least sum.
pub(super) fn least(times: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    times.min_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)))
}

/// `matmul_direct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direct {
    pub group: usize,
    pub rm: usize,
    pub rn: usize,
}

impl Direct {
    pub fn of(device: &ClDevice, gemm: &Gemm<'_>) -> Direct {
        let class = tuning::class(gemm.m, gemm.n, gemm.k, gemm.batches());
        match find(&gemm.out.device, &tuning::DIRECT, gemm.dtype, class) {
            Some(f) => Direct {
                group: f.values[0] as usize,
                rm: f.values[1] as usize,
                rn: f.values[2] as usize,
            },
            None => Direct::default_of(device),
        }
    }

    /// H200, f32, GFLOP/s with 64 work-items and 4 × 4 sums, and with 32 and 8 × 1: 100,000
    /// products of 4³ 499 and 842, of 8³ 1231 and 2664, 50,000 of 16³ 4364 and 6020.
    pub fn default_of(device: &ClDevice) -> Direct {
        match device.maker {
            Maker::Nvidia => Direct { group: 32, rm: 8, rn: 1 },
            _ => Direct { group: device.point.group.min(64), rm: 4, rn: 4 },
        }
    }

    pub fn defines(&self) -> String {
        format!("#define CLAN_RM {}\n#define CLAN_RN {}\n", self.rm, self.rn)
    }
}

/// `matmul_panel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panel {
    pub pm: usize,
    pub pn: usize,
    pub pk: usize,
    pub rm: usize,
    /// Vectors of 64 bytes along a row of the register tile.
    pub rl: usize,
}

impl Panel {
    pub fn of(device: &ClDevice, gemm: &Gemm<'_>) -> Panel {
        let bytes = sum_bytes(gemm.dtype);
        let class = tuning::class(gemm.m, gemm.n, gemm.k, gemm.batches());
        let tuned = find(&gemm.out.device, &tuning::PANEL, gemm.dtype, class);
        if let Some(f) = &tuned {
            return Panel::of_values(&f.values);
        }
        let mut p = Panel::default_of(device, bytes);
        let lanes = 64 / bytes;
        if gemm.n <= lanes {
            (p.pn, p.rl) = (lanes, 1);
        }
        p
    }

    pub fn default_of(device: &ClDevice, sum_bytes: usize) -> Panel {
        let lanes = 64 / sum_bytes;
        match device.local_bytes() >= 256 << 10 {
            true => Panel { pm: 96, pn: 4 * lanes, pk: 256, rm: 6, rl: 2 },
            false => Panel { pm: 24, pn: 2 * lanes, pk: 64, rm: 6, rl: 2 },
        }
    }

    pub fn defines(&self) -> String {
        format!(
            "#define CLAN_PM {}\n#define CLAN_PN {}\n#define CLAN_PK {}\n#define CLAN_RM {}\n#define CLAN_RL {}\n",
            self.pm, self.pn, self.pk, self.rm, self.rl
        )
    }
}

/// `matvec_rows` and `matvec_columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub group: usize,
    pub unroll: usize,
    /// Work-groups that fill the device.
    pub groups: usize,
    /// Work-items side by side in `matvec_columns`.
    pub columns: usize,
}

impl Stream {
    pub fn of(device: &ClDevice, by_columns: bool, gemm: &Gemm<'_>) -> Stream {
        let space = if by_columns { &tuning::COLUMNS } else { &tuning::ROWS };
        match find(&gemm.out.device, space, gemm.dtype, Class::ALL) {
            Some(f) => Stream {
                group: f.values[0] as usize,
                unroll: f.values[1] as usize,
                groups: f.values[2] as usize * device.info.compute_units.max(1),
                columns: f.values[3] as usize,
            },
            None => Stream::default_of(device, by_columns),
        }
    }

    /// H200, a vector times a matrix of n × n, f32, GB/s with groups of 256, 32 columns and 4 loads
    /// unrolled, and with 32, 16 and 8: n 8192 3694 and 4040, 16384 4343 and 4469, 32768 4528 and
    /// 4599; 100,000 × 1000 3062 and 3534, 1000 × 100,000 4057 and 3961.
    pub fn default_of(device: &ClDevice, by_columns: bool) -> Stream {
        if by_columns && device.maker == Maker::Nvidia && !is_cpu(device) {
            let groups = 16 * device.info.compute_units.max(1);
            return Stream { group: 32, unroll: 8, groups, columns: 16 };
        }
        let point = device.reduce_point();
        match is_cpu(device) {
            true => Stream {
                group: 1,
                unroll: if by_columns { 1 } else { 4 },
                groups: point.groups,
                columns: 1,
            },
            false => Stream {
                group: point.group,
                unroll: 4,
                groups: point.groups,
                columns: 32.min(point.group),
            },
        }
    }

    /// Work-items for a row of `matvec_rows`: all of a group where there are few rows, else about
    /// as many as a row has vectors.
    pub fn lanes(&self, rows: usize, len: usize) -> usize {
        if rows < self.groups && len >= self.group {
            return self.group;
        }
        (len / 16).max(1).next_power_of_two().min(self.group)
    }
}
