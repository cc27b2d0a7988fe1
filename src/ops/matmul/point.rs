//! The tunable parameters of the kernels in `cl/matmul.cl`, and what a device gets by default.

use super::gemm::Gemm;
use crate::device::DeviceKind;
use crate::opencl::ClDevice;

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
struct Rated {
    tile: Tile,
    cost: f64,
}

const fn tile(tm: usize, tn: usize, tk: usize, rm: usize, rn: usize, cost: f64) -> Rated {
    Rated { tile: Tile { tm, tn, tk, rm, rn, stages: 2, steps: 8, band: 8, pad: 0 }, cost }
}

/// Tiles for sums of 4 bytes. The costs are estimates from the loads of local memory that a
/// multiplication needs.
///
/// H200, f32, 4096 × 4096 × 4096, tile 128 × 128, TFLOP/s: 8 elements along k with lines padded by 4
/// 43.6, not padded 41.3; 16 elements 37.2 and 37.4, all 16 unrolled 29.6.
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

/// Tiles for sums of 8 bytes.
const EIGHT: &[Rated] = &[
    tile(64, 64, 16, 4, 4, 1.0),
    tile(64, 32, 16, 4, 2, 1.3),
    tile(32, 64, 16, 2, 4, 1.3),
    tile(32, 32, 16, 2, 2, 1.7),
];

/// What writing a partial sum and reading it again costs, in multiplications: 8 bytes at 4.2 TB/s
/// beside 22 T/s on an H200.
const JOIN: f64 = 45.0;

impl Tile {
    /// Work-items of a group.
    pub fn group(&self) -> usize {
        (self.tm / self.rm) * (self.tn / self.rn)
    }

    fn local_bytes(&self, sum_bytes: usize) -> u64 {
        (self.stages * self.tk * (self.tm + self.tn + 2 * self.pad) * sum_bytes) as u64
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
    pub fn of(device: &ClDevice, sum_bytes: usize, gemm: &Gemm<'_>) -> Option<(Tile, usize)> {
        let units = device.info.compute_units.max(1) as f64;
        let mut best: Option<(f64, Tile, usize)> = None;
        for rated in if sum_bytes == 8 { EIGHT } else { FOUR } {
            let t = rated.tile;
            if t.group() > device.point.group || t.local_bytes(sum_bytes) > device.local_bytes() {
                continue;
            }
            let tiles =
                (gemm.m.div_ceil(t.tm) * gemm.n.div_ceil(t.tn)) as f64 * gemm.batches() as f64;
            let mut splits = 1;
            while splits == 1 || splits * 8 * t.tk <= gemm.k && (splits as f64) < 4.0 * units {
                let part = gemm.k.div_ceil(splits).next_multiple_of(t.tk);
                // A unit runs two groups at a time and is idle in the last round of an uneven
                // number of them.
                let rounds = (tiles * splits as f64 / units).ceil().max(1.0);
                let product = rounds * (t.tm * t.tn * part) as f64 * rated.cost;
                let join = if splits == 1 {
                    0.0
                } else {
                    (gemm.m * gemm.n * splits) as f64 * gemm.batches() as f64 / units * JOIN
                };
                let time = product + join;
                if best.is_none_or(|(least, ..)| time < least) {
                    best = Some((time, t, splits));
                }
                splits *= 2;
            }
        }
        best.map(|(_, tile, splits)| (tile, splits))
    }
}

/// `matmul_direct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direct {
    pub group: usize,
    pub rm: usize,
    pub rn: usize,
}

impl Direct {
    pub fn of(device: &ClDevice) -> Direct {
        Direct { group: device.point.group.min(64), rm: 4, rn: 4 }
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
    pub fn of(device: &ClDevice, sum_bytes: usize, gemm: &Gemm<'_>) -> Panel {
        let lanes = 64 / sum_bytes;
        let roomy = device.local_bytes() >= 256 << 10;
        let mut p = match roomy {
            true => Panel { pm: 96, pn: 4 * lanes, pk: 256, rm: 6, rl: 2 },
            false => Panel { pm: 24, pn: 2 * lanes, pk: 64, rm: 6, rl: 2 },
        };
        if gemm.n <= lanes {
            (p.pn, p.rl) = (lanes, 1);
        }
        p
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
    pub fn of(device: &ClDevice, by_columns: bool) -> Stream {
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
