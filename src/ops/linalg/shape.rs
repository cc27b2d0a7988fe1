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

/// Work-items of a group that shares a panel of LU with others: as many as compare by one instruction
/// on NVIDIA. Such a group has nobody to wait for but other groups.
///
/// H200, f32, panels of 1,024 / 8,192 rows, us: groups of 256, of which each sends one letter, 73 / 92;
/// of 32 58 / 59.
#[cfg(feature = "opencl")]
const TEAM: usize = 32;

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
    /// Work-items of the one group of a panel that is not shared.
    pub group: usize,
    /// Compute units of the device.
    units: usize,
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

/// How a panel is shared.
#[cfg(feature = "opencl")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// Rows of a work-item.
    pub each: usize,
    pub groups: usize,
}

#[cfg(feature = "opencl")]
impl Shares {
    /// The kernel for it; with `redux` work-items compare by one instruction.
    pub fn kernel(self, redux: bool) -> Kernel {
        Kernel {
            number: 2,
            name: "lu_panel",
            defines: match (self.each, redux) {
                (2, false) => "#define CLAN_ROWS 2\n",
                (2, true) => "#define CLAN_ROWS 2\n#define CLAN_REDUX\n",
                (_, false) => "#define CLAN_ROWS 4\n",
                (_, true) => "#define CLAN_ROWS 4\n#define CLAN_REDUX\n",
            },
        }
    }

    /// Work-items of a group.
    pub fn team(self) -> usize {
        TEAM
    }
}

/// A kernel of `cl/linalg.cl`: its program's number, and what that is told beside the shape.
#[cfg(feature = "opencl")]
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub number: u8,
    pub name: &'static str,
    pub defines: &'static str,
}

#[cfg(feature = "opencl")]
impl Kernel {
    pub const fn new(number: u8, name: &'static str) -> Kernel {
        Kernel { number, name, defines: "" }
    }
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
            // Where loops have to be short, a panel is shared by work-items, for it has more rounds.
            group: match flat {
                true if device.short_loops() => device.point.group.min(64),
                true => 1,
                false => device.point.group,
            },
            wide: device.point.group,
            units: device.info.compute_units,
        }
    }

    /// How `lu_panel` shares a panel of `rows`, if it can: each work-item's part are registers.
    ///
    /// H200, f32, panels of 512 / 8,192 / 16,384 rows, us: 2 rows a work-item 55 / 59 / 100, where 256
    /// groups are more than compute units, 4 rows 63 / 66 / 69, 1 row 54 / 104 / 165.
    pub fn shares(&self, rows: usize) -> Option<Shares> {
        let of = |each: usize| Shares { each, groups: rows.div_ceil(TEAM * each) };
        let few = [of(2), of(4)].into_iter().find(|s| s.groups <= self.units);
        // Positions have 16 bits. Small groups fit several times into a unit.
        let shares = few.unwrap_or(of(4));
        let fits = rows < 1 << 16 && shares.groups <= 4 * self.units;
        (!self.flat && fits).then_some(shares)
    }

    /// Words of the mail for panels of up to `rows`.
    pub fn mail(&self, rows: usize) -> usize {
        let most = self.shares(rows).map_or(0, |s| s.groups.max(self.units));
        PANEL * most * (PANEL + 1) * self.dtype.size() / 4
    }

    /// The program with one kernel, in groups of `group`.
    pub fn program(
        &self,
        device: &ClDevice,
        op: &'static str,
        kernel: Kernel,
        group: usize,
    ) -> Result<Arc<Program>> {
        let Shape { vectors, leaf, .. } = self;
        let mut text = format!(
            "#define CLAN_KERNEL {}\n#define CLAN_PANEL {PANEL}\n#define CLAN_LEAF {leaf}\n#define CLAN_VECTORS {vectors}\n{}{}{}",
            kernel.number,
            kernel.defines,
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
        kernel: Kernel,
        args: &[Arg<'_>],
        groups: [usize; 2],
        group: usize,
    ) -> Result<()> {
        let program = self.program(device, op, kernel, group)?;
        let mut launch = Launch::new(device, &program, op, kernel.name)?;
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
            "#define clan_t double\n#define clan_quad double2\n#define CLAN_QUAD 2\n#define CLAN_WORDS 2\n#define CLAN_DROP 1e-280\n"
        }
        _ => {
            "#define clan_t float\n#define clan_quad float4\n#define CLAN_QUAD 4\n#define CLAN_WORDS 1\n#define CLAN_DROP 1e-30f\n"
        }
    }
}
