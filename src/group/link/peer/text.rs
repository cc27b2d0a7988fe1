//! The text of `cl/peer.cl` and `cl/peer_windows.cl` for a form of a call.

use super::call::Takes;
use crate::element::DType;
use crate::error::Result;
use crate::opencl::program::{self, Key, Program};
use crate::opencl::{ClDevice, Maker, Point, codegen};
use std::fmt::Write;
use std::sync::Arc;

const SOURCE: &str = include_str!("../../../../cl/peer.cl");
/// What goes through windows; comes after the first.
const WINDOWS: &str = include_str!("../../../../cl/peer_windows.cl");

/// Most members that the kernels are written for.
pub(super) const MOST: usize = 16;

/// The kernels, numbered as in the files.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    Combine = 1,
    Spread = 2,
    Exchange = 3,
    Pass = 4,
    CombineShort = 5,
    CombineLong = 6,
}

impl Kernel {
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Combine => "peer_combine",
            Kernel::Spread => "peer_spread",
            Kernel::Exchange => "peer_exchange",
            Kernel::Pass => "peer_pass",
            Kernel::CombineShort => "peer_combine_short",
            Kernel::CombineLong => "peer_combine_long",
        }
    }
}

/// Memory that others fill for a member.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    /// Lines of 16 bytes that a group sends to a member in a round.
    pub lines: usize,
    /// Groups of a launch, at most.
    pub groups: usize,
    /// Whether two groups shall fit into a compute unit, so that one sends while the other waits.
    pub close: bool,
}

/// Registers of a work-item where two groups of 512 fit into a compute unit.
const CLOSE_REGISTERS: usize = 64;

/// What a program's text depends on.
pub(super) struct Form<'a> {
    pub kernel: Kernel,
    pub members: usize,
    pub dtype: DType,
    /// The body of a function of `a` and `b` in OpenCL C; absent where nothing is combined.
    pub body: Option<&'a str>,
    pub takes: Takes,
    /// Whether lines of 16 bytes are aligned everywhere; else a line is an element.
    pub wide: bool,
    /// Where it goes through windows.
    pub windows: Option<Windows>,
    pub point: Point,
}

impl Form<'_> {
    fn key(&self) -> Key {
        let mut key = vec![
            self.kernel as u8,
            self.members as u8,
            self.dtype as u8,
            self.takes as u8,
            u8::from(self.wide),
            u8::from(self.body.is_some()),
        ];
        key.extend((self.windows.map_or(0, |w| w.lines) as u32).to_le_bytes());
        key.push(u8::from(self.windows.is_some_and(|w| w.close)));
        self.point.key(&mut key);
        key.extend(self.body.unwrap_or_default().bytes());
        ("peer", key)
    }

    /// The program on every device. `op` is what errors name.
    ///
    /// One after the other: like devices find what the first one compiled on disk.
    pub fn programs(&self, devices: &[&ClDevice], op: &'static str) -> Result<Vec<Arc<Program>>> {
        let key = self.key();
        let build = |d: &&ClDevice| d.programs.get(d, op, key.clone(), || self.text(d));
        devices.iter().map(build).collect()
    }

    fn text(&self, device: &ClDevice) -> String {
        let mut text = String::new();
        if self.windows.is_some_and(|w| w.close) {
            text.push_str(&program::registers(CLOSE_REGISTERS));
            text.push_str("#define CLAN_CLOSE\n");
        }
        text.push_str(&codegen::defines(device, false, self.point));
        text.push_str(codegen::PRELUDE);
        if device.maker == Maker::Nvidia {
            text.push_str("#define CLAN_PTX 1\n");
        }
        text.push_str(&parameters(self.members, self.dtype, self.takes, self.wide));
        let _ = writeln!(text, "#define CLAN_KERNEL {}", self.kernel as u8);
        if let Some(body) = self.body {
            let _ = writeln!(text, "#define CLAN_COMBINED {}", body.replace('\n', " "));
        }
        text.push_str(SOURCE);
        if let Some(windows) = self.windows {
            let _ = writeln!(text, "#define CLAN_WINDOW {}", windows.lines);
            text.push_str(WINDOWS);
        }
        text
    }
}

/// What comes before the file.
fn parameters(members: usize, dtype: DType, takes: Takes, wide: bool) -> String {
    let plain = ("((a)[k])", "((a)[k] = (v))");
    let (stored, (get, set)) = match dtype {
        DType::F16 => ("ushort", ("clan_f16((a)[k])", "((a)[k] = clan_f16_bits(v))")),
        DType::BF16 => ("ushort", ("clan_bf16((a)[k])", "((a)[k] = clan_bf16_bits(v))")),
        _ => (codegen::storage(dtype), plain),
    };
    let line = if wide { "uint4" } else { stored };
    let computed = codegen::compute(dtype);
    let half = match dtype {
        // Through private memory, so that lines of any memory are read alike.
        DType::F16 => concat!(
            "static inline float clan_f16(ushort bits) { return vload_half(0, (const half*)&bits); }\n",
            "static inline ushort clan_f16_bits(const float x) {\n",
            "  ushort bits;\n",
            "  vstore_half_rte(x, 0, (half*)&bits);\n",
            "  return bits;\n",
            "}\n"
        ),
        _ => "",
    };
    format!(
        "{half}#define CLAN_MEMBERS {members}\n#define CLAN_TAKES {}\n#define CLAN_LINE {line}\n#define CLAN_STORED {stored}\n#define CLAN_COMPUTED {computed}\n#define CLAN_GET(a, k) {get}\n#define CLAN_SET(a, k, v) {set}\n",
        takes as u8,
    )
}

/// For the test that compiles every file: every variant meets some type.
#[cfg(test)]
pub(crate) fn samples(dtype: DType) -> String {
    let n = dtype as usize;
    let takes = [Takes::All, Takes::UpToItself, Takes::Before][n % 3];
    parameters(2 + n % 3, dtype, takes, n % 4 != 1)
}
