//! How the kernels of `cl/linalg.cl` are shaped for a device, and their programs.

use crate::device::Device;
use crate::element::DType;
#[cfg(feature = "opencl")]
use crate::{
    backend::Buffer,
    device::{Backing, DeviceKind},
    error::Result,
    opencl::{ClDevice, Launch, codegen, program::Program},
};
#[cfg(feature = "opencl")]
use std::sync::Arc;

/// Rows of the blocks that are not cut any more on the host: below it the products of a crate gain
/// nothing.
const HOST_LEAF: usize = 64;

/// Columns of a panel of LU and QR. On a GPU they are registers of a work-item.
pub(super) const PANEL: usize = 32;

/// Most groups that share a panel of LU: their letters lie in local memory.
#[cfg(feature = "opencl")]
const MOST_GROUPS: usize = 64;

/// The shape of the kernels for one type on one device.
#[derive(Clone, Copy, Debug)]
#[cfg(feature = "opencl")]
pub(super) struct Shape {
    pub dtype: DType,
    /// A group is one work-item, and loops stay loops.
    pub flat: bool,
    pub leaf: usize,
    /// Loops stay loops, though groups are groups: a CPU whose compiler would take minutes.
    pub rolled: bool,
    /// Right-hand sides of a group in `substitute`.
    pub vectors: usize,
    /// Rows of a panel that a work-item holds.
    pub rows: usize,
    /// Work-items of the groups of panels.
    pub group: usize,
    /// Work-items of groups whose work-items have nothing to do with each other.
    pub wide: usize,
}

/// Rows of the blocks that are not cut any more.
#[cfg_attr(not(feature = "opencl"), allow(unused_variables, reason = "the host has one size"))]
pub(super) fn leaf(device: &Device, dtype: DType) -> usize {
    #[cfg(feature = "opencl")]
    if let Backing::OpenCl(cl) = device.backing() {
        return Shape::of(cl, dtype).leaf;
    }
    HOST_LEAF
}

/// An argument of a kernel.
#[cfg(feature = "opencl")]
#[derive(Clone, Copy)]
pub(super) enum Arg<'a> {
    Out(&'a Buffer),
    In(&'a Buffer),
    Long(i64),
    Uint(u32),
    Int(i32),
}

#[cfg(feature = "opencl")]
impl Shape {
    pub fn of(device: &ClDevice, dtype: DType) -> Shape {
        let local = device.local_bytes() as usize;
        let most = device.info.max_work_group;
        // The triangle of `substitute` and a group of four work-items a row set the size of a leaf.
        let fits = |leaf: usize| leaf * (leaf + 6) * dtype.size() <= local && leaf * 4 <= most;
        let leaf = [64, 32, 16].into_iter().find(|&l| fits(l));
        let flat = device.launch_kind == DeviceKind::Cpu || leaf.is_none();
        Shape {
            dtype,
            flat,
            rolled: device.info.kind == DeviceKind::Cpu,
            leaf: if flat { 64 } else { leaf.unwrap_or(16) },
            // llvmpipe (Mesa 22.3) leaves every loop of a work-item after 65,536 rounds in all: 16
            // vectors of 64 unknowns are half of them.
            vectors: if flat { 16 } else { 64.min(most) },
            // Registers: 32 columns of 2 rows. H200, f32, LU of 8192, ms, groups of 256: 2 rows 39.9,
            // 4 rows 40.8; 2 rows in groups of 512 45.2, 1 row in groups of 1024 55.1.
            rows: 2,
            // Where loops have to be short, a panel is shared by work-items, for it has more rounds.
            group: match flat {
                true if device.short_loops() => device.point.group.min(64),
                true => 1,
                false => device.point.group,
            },
            wide: device.point.group,
        }
    }

    /// Whether `lu_panel` runs, and in how many groups it holds a panel of `rows`.
    pub fn groups(&self, rows: usize) -> Option<usize> {
        let groups = rows.div_ceil(self.group * self.rows);
        // The candidates of a group are compared as 16 times 16.
        (!self.flat && self.group == 256 && groups <= MOST_GROUPS).then_some(groups)
    }

    /// Words of the mail that `groups` groups need.
    pub fn mail(&self, groups: usize) -> usize {
        PANEL * groups * (PANEL * self.dtype.size() / 4 + 1)
    }

    /// The program with one kernel, in groups of `group`.
    pub fn program(
        &self,
        device: &ClDevice,
        op: &'static str,
        kernel: u8,
        group: usize,
    ) -> Result<Arc<Program>> {
        let (panel, rows, leaf) = (PANEL, self.rows, self.leaf);
        let mut text = format!(
            "#define CLAN_KERNEL {kernel}\n#define CLAN_PANEL {panel}\n#define CLAN_ROWS {rows}\n#define CLAN_LEAF {leaf}\n#define CLAN_VECTORS {}\n#define CLAN_MOST {MOST_GROUPS}\n{}{}",
            self.vectors,
            match (self.flat, self.rolled) {
                (true, _) => "#define CLAN_FLAT\n",
                (false, true) => "#define CLAN_ROLLED\n",
                (false, false) => "",
            },
            types(self.dtype),
        );
        let point = crate::opencl::Point { group, unroll: 1, ..device.point };
        text.insert_str(0, &codegen::defines(device, false, point));
        let key = text.clone().into_bytes();
        device.programs.get(device, op, ("linalg", key), || {
            // The types come first: the head of the file asks whether they are there.
            text + codegen::PRELUDE + include_str!("../../../cl/linalg.cl")
        })
    }

    /// Launches a kernel of [`Shape::program`].
    ///
    /// # Safety
    /// As `Launch::run`.
    pub unsafe fn launch(
        &self,
        device: &ClDevice,
        op: &'static str,
        (kernel, name): (u8, &'static str),
        args: &[Arg<'_>],
        groups: [usize; 2],
        group: usize,
    ) -> Result<()> {
        let program = self.program(device, op, kernel, group)?;
        let mut launch = Launch::new(device, &program, op, name)?;
        for &arg in args {
            match arg {
                Arg::Out(buffer) => launch.output(buffer)?,
                Arg::In(buffer) => launch.input(buffer)?,
                Arg::Long(v) => launch.value(v)?,
                Arg::Uint(v) => launch.value(v)?,
                Arg::Int(v) => launch.value(v)?,
            }
        }
        // SAFETY: the caller's promise.
        unsafe { launch.run([groups[0], groups[1], 1], [group, 1, 1]) }
    }
}

/// The defines for an element type.
#[cfg(feature = "opencl")]
pub(crate) fn types(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => {
            "#define clan_t double\n#define clan_quad double2\n#define CLAN_QUAD 2\n#define CLAN_WORDS 2\n#define CLAN_BITS(x, w) ((uint)(as_ulong(x) >> (32 * (w))))\n#define CLAN_OF_BITS(p) as_double((ulong)(p)[0] | (ulong)(p)[1] << 32)\n#define CLAN_DROP 1e-280\n"
        }
        _ => {
            "#define clan_t float\n#define clan_quad float4\n#define CLAN_QUAD 4\n#define CLAN_WORDS 1\n#define CLAN_BITS(x, w) as_uint(x)\n#define CLAN_OF_BITS(p) as_float((p)[0])\n#define CLAN_DROP 1e-30f\n"
        }
    }
}
