//! Stencils on OpenCL devices.

use super::Apply;
use crate::device::DeviceKind;
use crate::element::{DType, Number};
use crate::error::Result;
use crate::opencl::{ClDevice, Launch, Point, codegen};

/// The kernels' text.
const SOURCE: &str = include_str!("../../../cl/stencil.cl");

/// `CLAN_ITEMS_X` of two and three axes.
const ITEMS_X: [usize; 2] = [64, 32];

/// `CLAN_PATCH` of each number of axes: the best first, then what needs less local memory.
///
/// H200, f32, a step of heat, GB/s read and written, patch 4 / 8 / 16: 2^28 3864 / 4106 / 4057,
/// 16384² patch 8 / 16 / 32 3223 / 3483 / 2954, 645³ patch 8 / 12 / 16 2322 / 2422 / 2332. Straight from
/// global memory 1631, 1505, 1016.
const PATCHES: [&[usize]; 3] = [&[8, 4, 2, 1], &[16, 8, 4, 2, 1], &[8, 4, 2, 1]];

/// Results of a work-item on a CPU.
const RUN: usize = 2048;

/// Which kernel.
#[derive(Clone, Copy)]
enum Way {
    Tiled { patch: usize },
    Direct,
    Lines,
}

impl<T: Number, const N: usize> Apply<'_, T, N> {
    pub(super) fn on_opencl(self, device: &ClDevice) -> Result<()> {
        const OP: &str = "stencil";
        let (arrays, lengths) = self.sizes();
        let rule = &*self.stencil.rule;
        let radius = last_three(self.stencil.radius, 0);
        let [depth, height, width] = last_three(lengths, 1);
        let point = Point { unroll: 1, ..device.walking_point() };
        let group = point.group;
        let items_x = if N == 1 { group } else { ITEMS_X[N - 2].min(group) };
        let tile = |patch: usize| match N {
            1 => [1, 1, group * patch],
            2 => [1, group / items_x * patch, items_x],
            _ => [patch, group / items_x, items_x],
        };
        let size = T::DTYPE.compute().size();
        let bytes = |patch: usize| {
            let halo = |(n, r): (usize, usize)| (n + 2 * r) as u64;
            tile(patch).into_iter().zip(radius).map(halo).product::<u64>() * size as u64
        };
        let fits = |&p: &usize| bytes(p) <= device.local_bytes();
        let way = match device.launch_kind {
            DeviceKind::Cpu => Way::Lines,
            _ => match PATCHES[N - 1].iter().copied().find(fits) {
                Some(patch) => Way::Tiled { patch },
                None => Way::Direct,
            },
        };
        // Positions are inside the arrays; along an axis tiles reach beyond.
        let beyond = |(n, r): (usize, usize)| (n + 2 * r + (1 << 14)) as u128;
        let reach = self.input.layout.offset as u128
            + arrays as u128 * lengths.into_iter().map(|n| n as u128).product::<u128>()
            + [depth, height, width].into_iter().zip(radius).map(beyond).sum::<u128>();
        let wide = self.wide || reach > i32::MAX as u128;
        let (name, patch, ways) = match way {
            Way::Tiled { patch } => (
                "stencil_tiled",
                patch as u8,
                format!("#define CLAN_ITEMS_X {items_x}\n#define CLAN_PATCH {patch}\n"),
            ),
            Way::Direct => ("stencil_direct", 0, "#define CLAN_DIRECT\n".to_string()),
            Way::Lines => {
                ("stencil_lines", 0, format!("#define CLAN_DIRECT\n#define CLAN_RUN {RUN}\n"))
            }
        };
        let mut key = vec![N as u8, T::DTYPE as u8, self.border as u8, u8::from(wide), patch];
        for r in radius {
            key.extend((r as u32).to_le_bytes());
        }
        key.extend(rule.as_bytes());
        let program = device.programs.get(device, OP, ("stencil", key), || {
            let [rz, ry, rx] = radius;
            let mut text = codegen::defines(device, wide, point);
            text.push_str(codegen::PRELUDE);
            text.push_str(&types(T::DTYPE));
            text.push_str(&format!(
                "#define CLAN_RANK {N}\n#define CLAN_RZ {rz}\n#define CLAN_RY {ry}\n#define CLAN_RX {rx}\n#define CLAN_BORDER {}\n",
                self.border as u8
            ));
            text.push_str(&ways);
            // No macro, for the rule may have comments to the ends of its lines.
            text.push_str(&SOURCE.replace("  CLAN_RULE\n", &format!("{rule}\n")));
            text
        })?;
        let mut launch = Launch::new(device, &program, OP, name)?;
        launch.output(self.out)?;
        launch.input(&self.input.buffer)?;
        codegen::bind_offset(&mut launch, self.input.layout.offset as isize, wide)?;
        for n in [depth, height, width] {
            codegen::bind_offset(&mut launch, n as isize, wide)?;
        }
        let groups = match way {
            Way::Tiled { patch } => {
                let [tz, ty, tx] = tile(patch);
                let tiles = [depth.div_ceil(tz), height.div_ceil(ty), width.div_ceil(tx)];
                for n in tiles {
                    codegen::bind_index(&mut launch, n, wide)?;
                }
                arrays * tiles.into_iter().product::<usize>()
            }
            Way::Direct => {
                let across = width.div_ceil(group);
                codegen::bind_index(&mut launch, across, wide)?;
                arrays * depth * height * across
            }
            Way::Lines => {
                let n = arrays * depth * height * width;
                codegen::bind_offset(&mut launch, n as isize, wide)?;
                n.div_ceil(RUN)
            }
        };
        // SAFETY: the arguments follow the kernel's parameters. The rule reads by `at`, whose offsets are cut
        // to the radius, which the tile holds and positions are kept inside the array for; what else
        // a user's text does is the user's.
        unsafe { launch.run([groups, 1, 1], [group, 1, 1]) }
    }
}

/// The values of an array's last three axes, `none` for those that it has not.
fn last_three<const N: usize>(of: [usize; N], none: usize) -> [usize; 3] {
    let mut all = [none; 3];
    all[3 - N..].copy_from_slice(&of);
    all
}

/// The element type's part of what comes between the prelude and the file.
pub(crate) fn types(dtype: DType) -> String {
    format!(
        "{}typedef {} clan_t;\n#define CLAN_STORED {}\n#define CLAN_LOAD(a, i) {}\n",
        codegen::output_type(dtype, 1),
        codegen::compute(dtype),
        codegen::storage(dtype),
        codegen::load(dtype, "(a)", "(i)"),
    )
}
