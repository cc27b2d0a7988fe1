//! Writes the OpenCL C that feeds an expression's elements to a family's kernel.
//!
//! A family's file in `cl/` reads its input through what is generated here:
//!
//! - `CLAN_PARAMS`, `CLAN_ARGS`: the expression's kernel parameters, and the same as arguments;
//! - `clan_at(i CLAN_ARGS)`: element `i` in the order of the nest, in the compute type `clan_t`;
//! - for those who ask, `clan_row_at(row, j CLAN_ARGS)`: the same by its row and its place there;
//! - for an epilogue `clan_at(i, p CLAN_ARGS)`, where `p` is the element computed so far;
//! - `clan_vec(i, v CLAN_ARGS)`: elements `i .. i + CLAN_VEC` where the leaves are contiguous;
//! - for those who ask, `clan_fetch(i CLAN_ARGS)`: their memory into the cache.
//!
//! The text depends on the expression's form and the class of its layouts (strides 0, 1 or any),
//! never on lengths, strides or constants: those are arguments.

mod arithmetic;
mod places;

pub(crate) use arithmetic::binary;
pub(crate) use places::{
    bind_output, coordinates, output_args, output_params, position, row_coordinates, stride_key,
};

use super::launch::Launch;
use super::{ClDevice, Point};
use crate::device::DeviceKind;
use crate::element::{DType, Scalar};
use crate::error::Result;
use crate::expr::fused::{Fused, Nest, Op};
use crate::expr::node::Ternary;
use arithmetic::{cast, unary};
use places::{Class, class};
use std::fmt::Write;

/// Text of `cl/prelude.cl`.
pub(crate) const PRELUDE: &str = include_str!("../../cl/prelude.cl");

/// Text of `cl/warp.cl`, for devices that take NVIDIA's assembly.
pub(crate) const WARP: &str = include_str!("../../cl/warp.cl");

/// OpenCL C's name of the type that values are stored in.
pub(crate) fn storage(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool | DType::U8 => "uchar",
        DType::I8 => "char",
        DType::I16 => "short",
        DType::I32 => "int",
        DType::I64 => "long",
        DType::U16 | DType::BF16 => "ushort",
        DType::U32 => "uint",
        DType::U64 => "ulong",
        DType::F16 => "half",
        DType::F32 => "float",
        DType::F64 => "double",
    }
}

/// OpenCL C's name of the type that elements of a size in bytes are moved as.
pub(crate) fn word(size: usize) -> &'static str {
    match size {
        1 => "uchar",
        2 => "ushort",
        4 => "uint",
        8 => "ulong",
        _ => "uint4",
    }
}

/// OpenCL C's name of the type that values are computed in.
pub(crate) fn compute(dtype: DType) -> &'static str {
    storage(dtype.compute())
}

/// `#define`s that every program starts with: which device, which index width, which group size.
pub(crate) fn defines(device: &ClDevice, wide: bool, point: Point) -> String {
    let mut text = String::new();
    if device.info.fp64 {
        text.push_str("#define CLAN_FP64 1\n");
    }
    if wide {
        text.push_str("#define CLAN_WIDE 1\n");
    }
    let _ =
        writeln!(text, "#define CLAN_GROUP {}\n#define CLAN_UNROLL {}", point.group, point.unroll);
    text
}

/// The defines for an element type stored in an output: `clan_out_t`, and how to put values.
pub(crate) fn output_type(dtype: DType, vec: usize) -> String {
    let mut text = format!("typedef {} clan_out_t;\n", storage(dtype));
    let store = match dtype {
        DType::F16 => "vstore_half_rte((v), (i), (out))",
        DType::BF16 => "((out)[i] = clan_bf16_bits(v))",
        _ => "((out)[i] = (v))",
    };
    let _ = writeln!(text, "#define CLAN_PUT(out, i, v) {store}");
    if vec > 1 {
        let list = (0..vec).map(|k| format!("(v)[{k}]")).collect::<Vec<_>>().join(", ");
        let at = "(out) + (i)";
        let store = match dtype {
            DType::F16 => format!("vstorea_half{vec}_rte((float{vec})({list}), 0, {at})"),
            DType::BF16 => {
                let list = (0..vec)
                    .map(|k| format!("clan_bf16_bits((v)[{k}])"))
                    .collect::<Vec<_>>()
                    .join(", ");
                format!("(*(__global ushort{vec}*)({at}) = (ushort{vec})({list}))")
            }
            _ => {
                let t = storage(dtype);
                format!("(*(__global {t}{vec}*)({at}) = ({t}{vec})({list}))")
            }
        };
        let _ = writeln!(text, "#define CLAN_PUTV(out, i, v) {store}");
    }
    text
}

/// Puts vectors in NVIDIA's assembly, so that they leave the cache first: nothing that is soon read is lost for them.
pub(crate) fn streaming(dtype: DType, vec: usize) -> String {
    let (word, letter) = match (dtype.size(), vec) {
        (4, 4) => ("uint", 'r'),
        (8, 2) => ("ulong", 'l'),
        _ => return String::new(),
    };
    let list = |f: &dyn Fn(usize) -> String| (0..vec).map(f).collect::<Vec<_>>().join(", ");
    format!(
        "#undef CLAN_PUTV
#define CLAN_PUTV(out, i, v) clan_stream((out) + (i), (v))
static inline void clan_stream(__global clan_out_t* to, const clan_out_t* v) {{
  asm volatile(\"st.global.cs.v{vec}.b{} [%0], {{{}}};\" :: \"l\"(to), {} : \"memory\");
}}
",
        dtype.size() * 8,
        list(&|k| format!("%{}", k + 1)),
        list(&|k| format!("\"{letter}\"(as_{word}(v[{k}]))")),
    )
}

/// How an expression is read: what the text depends on beside the expression itself.
pub(crate) struct Input<'a> {
    pub fused: &'a Fused,
    pub nest: &'a Nest,
    /// Elements at once, 1 when the layouts do not allow more.
    pub vec: usize,
    /// Whether positions need 64 bits.
    pub wide: bool,
}

impl<'a> Input<'a> {
    /// Chooses the vector width: one device word of the widest type, where every leaf is
    /// contiguous or constant and starts aligned.
    pub fn new(fused: &'a Fused, nest: &'a Nest, point: Point) -> Input<'a> {
        let widest =
            fused.leaves.iter().map(|l| l.dtype.size()).chain([fused.dtype().size()]).max();
        let mut vec = (point.vector_bytes / widest.unwrap_or(8)).clamp(1, 16);
        let flat = nest.dims.len() == 1;
        let aligned = fused.leaves.iter().zip(&nest.strides).all(|(leaf, s)| match s.as_slice() {
            [0] => true,
            [1] => leaf.array.is_none() || leaf.layout.offset % vec == 0,
            _ => false,
        });
        if !(flat && aligned) {
            vec = 1;
        }
        Input { fused, nest, vec, wide: is_wide(fused, nest) }
    }

    /// For kernels whose lone work-items walk from neighbour to neighbour on CPUs. There places that cannot wrap,
    /// being of 64 bits, are added to a pointer for nothing; but strides want divisions, cheaper in 32 bits.
    pub fn walked(mut self, device: &ClDevice) -> Input<'a> {
        let cpu = device.launch_kind == DeviceKind::Cpu && !device.short_loops();
        self.wide |= cpu && self.nest.dims.len() == 1;
        self
    }

    /// Everything that the text depends on, for the program's key.
    pub fn key(&self, key: &mut Vec<u8>) {
        key.extend([self.vec as u8, u8::from(self.wide), self.nest.dims.len() as u8]);
        for inst in &self.fused.insts {
            key.push(inst.dtype as u8);
            let mut put = |tag: u8, code: u8, args: &[u32]| {
                key.extend([tag, code]);
                for a in args {
                    key.extend((*a as u16).to_le_bytes());
                }
            };
            match inst.op {
                Op::Leaf(k) => put(0, 0, &[k]),
                Op::Scalar(k) => put(1, 0, &[k]),
                // Whose result it is does not show in the text.
                Op::Result(_) => put(6, 0, &[]),
                Op::Unary(op, a) => put(2, op as u8, &[a]),
                Op::Binary(op, ab) => put(3, op as u8, &ab),
                Op::Ternary(op, abc) => put(4, op as u8, &abc),
                Op::Cast(a) => put(5, 0, &[a]),
            }
        }
        for (leaf, strides) in self.fused.leaves.iter().zip(&self.nest.strides) {
            key.push(if leaf.array.is_none() { 255 } else { leaf.dtype as u8 });
            key.extend(strides.iter().map(|&s| class(s) as u8));
        }
    }

    /// The text: parameters, `clan_value`, `clan_at` and, with vectors, `clan_vec`.
    pub fn text(&self) -> String {
        let mut params = String::new();
        let mut args = String::new();
        let mut param = |ty: &str, name: String| {
            let _ = write!(params, ", {ty} {name}");
            let _ = write!(args, ", {name}");
        };
        let dims = self.nest.dims.len();
        for d in 1..dims {
            for name in ["d", "m", "s"] {
                param("const clan_ix", format!("{name}{d}"));
            }
        }
        for (k, leaf) in self.fused.leaves.iter().enumerate() {
            if leaf.array.is_some() {
                param(
                    &format!("__global const {}* restrict", storage(leaf.dtype)),
                    format!("a{k}"),
                );
            }
            param("const clan_off", format!("o{k}"));
            for (d, &s) in self.nest.strides[k].iter().enumerate() {
                if class(s) == Class::Any {
                    param("const clan_off", format!("s{k}_{d}"));
                }
            }
        }
        let types = self.scalar_types();
        for (k, t) in types.iter().enumerate() {
            param(&format!("const {}", compute(*t)), format!("c{k}"));
        }
        let out = compute(self.fused.dtype());
        let mut text = format!("typedef {out} clan_t;\n#define CLAN_VEC {}\n", self.vec);
        let _ = writeln!(text, "#define CLAN_PARAMS {params}\n#define CLAN_ARGS {args}");

        let _ = writeln!(text, "static inline clan_t clan_value({}) {{", self.operands(true));
        for (k, inst) in self.fused.insts.iter().enumerate() {
            let _ = writeln!(text, "  const {} t{k} = {};", compute(inst.dtype), self.emit(k));
        }
        let _ = writeln!(text, "  return t{};\n}}", self.fused.insts.len() - 1);

        text.push_str(&self.element("clan_at", "const clan_ix i", &coordinates("i", dims)));
        if self.vec > 1 {
            self.vector(&mut text, self.operands(false));
        }
        text
    }

    /// What `clan_row_at` needs beside that text: an element by its row and its place there.
    pub fn row_text(&self) -> String {
        let of = "const clan_ix row, const clan_ix j";
        self.element("clan_row_at", of, &row_coordinates(self.nest.dims.len()))
    }

    /// What `clan_value` starts from: loaded leaves and constants, with their types or by their names.
    fn operands(&self, typed: bool) -> String {
        let mut parts = Vec::new();
        let mut part = |dtype: DType, name: String| {
            let t = if typed { format!("const {} ", compute(dtype)) } else { String::new() };
            parts.push(format!("{t}{name}"));
        };
        if let Some(dtype) = self.result() {
            part(dtype, "p".into());
        }
        for (k, leaf) in self.fused.leaves.iter().enumerate() {
            part(leaf.dtype, format!("x{k}"));
        }
        for (k, &dtype) in self.scalar_types().iter().enumerate() {
            part(dtype, format!("c{k}"));
        }
        match parts.is_empty() && typed {
            true => "void".into(),
            false => parts.join(", "),
        }
    }

    /// Type of what an epilogue starts from.
    fn result(&self) -> Option<DType> {
        self.fused.insts.iter().find(|i| matches!(i.op, Op::Result(_))).map(|i| i.dtype)
    }

    /// A function that gives an element, found `of` some numbers that `coordinates` are computed from.
    fn element(&self, name: &str, of: &str, coordinates: &str) -> String {
        let p =
            self.result().map_or(String::new(), |dtype| format!(", const {} p", compute(dtype)));
        let mut text =
            format!("static inline clan_t {name}({of}{p} CLAN_PARAMS) {{\n{coordinates}");
        for (k, leaf) in self.fused.leaves.iter().enumerate() {
            let at = position(&format!("o{k}"), &format!("s{k}_"), &self.nest.strides[k]);
            let load = match leaf.array {
                Some(_) => load(leaf.dtype, &format!("a{k}"), &at),
                None => format!("(ulong)({at})"),
            };
            let _ = writeln!(text, "  const {} x{k} = {load};", compute(leaf.dtype));
        }
        let _ = writeln!(text, "  return clan_value({});\n}}", self.operands(false));
        text
    }

    /// The leaves that `clan_vec` reads in vectors.
    fn contiguous(&self) -> Vec<usize> {
        let unit = |k: &usize| {
            self.fused.leaves[*k].array.is_some() && self.nest.strides[*k].as_slice() == [1]
        };
        if self.vec > 1 { (0..self.fused.leaves.len()).filter(unit).collect() } else { vec![] }
    }

    /// Bytes of an element in all arrays that `clan_fetch` fetches.
    pub fn fetched_bytes(&self) -> usize {
        self.contiguous().iter().map(|&k| self.fused.leaves[k].dtype.size()).sum()
    }

    /// `clan_fetch(i CLAN_ARGS)` brings the lines of memory that have element `i` into the device's cache, and
    /// after `CLAN_LINE` elements come other lines. In NVIDIA's assembly; nothing where no array is contiguous.
    pub fn fetches(&self) -> String {
        const LINE_BYTES: usize = 128;
        let arrays = self.contiguous();
        let widest = arrays.iter().map(|&k| self.fused.leaves[k].dtype.size()).max();
        let Some(widest) = widest else { return String::new() };
        let mut text = format!(
            "#define CLAN_LINE {}\nstatic inline void clan_fetch(const clan_ix i CLAN_PARAMS) {{\n",
            LINE_BYTES / widest
        );
        for k in arrays {
            let _ = writeln!(
                text,
                "  asm volatile(\"prefetch.global.L2 [%0];\" :: \"l\"(a{k} + o{k} + i));"
            );
        }
        text + "}\n"
    }

    fn vector(&self, text: &mut String, list: String) {
        let v = self.vec;
        text.push_str("static inline void clan_vec(const clan_ix i, clan_t* v CLAN_PARAMS) {\n");
        for (k, leaf) in self.fused.leaves.iter().enumerate() {
            let c = compute(leaf.dtype);
            let s = storage(leaf.dtype);
            let unit = self.nest.strides[k].as_slice() == [1];
            let _ = match (leaf.array.is_some(), unit) {
                (false, _) => Ok(()),
                (true, false) => writeln!(
                    text,
                    "  const {c} x{k} = {};",
                    load(leaf.dtype, &format!("a{k}"), &format!("o{k}"))
                ),
                (true, true) if leaf.dtype == DType::F16 => {
                    writeln!(text, "  const float{v} w{k} = vloada_half{v}(0, a{k} + o{k} + i);")
                }
                (true, true) => {
                    writeln!(
                        text,
                        "  const {s}{v} w{k} = *(__global const {s}{v}*)(a{k} + o{k} + i);"
                    )
                }
            };
        }
        for lane in 0..v {
            text.push_str("  {\n");
            for (k, leaf) in self.fused.leaves.iter().enumerate() {
                let c = compute(leaf.dtype);
                let unit = self.nest.strides[k].as_slice() == [1];
                let _ = match (leaf.array.is_some(), unit) {
                    (false, true) => {
                        writeln!(text, "  const ulong x{k} = (ulong)(o{k} + (clan_off)i + {lane});")
                    }
                    (false, false) => writeln!(text, "  const ulong x{k} = (ulong)o{k};"),
                    (true, false) => Ok(()),
                    (true, true) if leaf.dtype == DType::BF16 => {
                        writeln!(text, "  const float x{k} = clan_bf16(w{k}.s{lane:x});")
                    }
                    (true, true) => writeln!(text, "  const {c} x{k} = w{k}.s{lane:x};"),
                };
            }
            let _ = writeln!(text, "  v[{lane}] = clan_value({list});\n  }}");
        }
        text.push_str("}\n");
    }

    fn scalar_types(&self) -> Vec<DType> {
        let mut types = vec![DType::F32; self.fused.scalars.len()];
        for inst in &self.fused.insts {
            if let Op::Scalar(k) = inst.op {
                types[k as usize] = inst.dtype;
            }
        }
        types
    }

    /// Sets the arguments that `CLAN_PARAMS` declares, in the same order.
    pub fn bind<'l>(&'l self, launch: &mut Launch<'l>) -> Result<()> {
        for &d in self.nest.dims.iter().skip(1) {
            bind_divisor(launch, d, self.wide)?;
        }
        for (k, leaf) in self.fused.leaves.iter().enumerate() {
            if let Some(array) = &leaf.array {
                launch.input(&array.buffer)?;
            }
            bind_offset(launch, leaf.layout.offset as isize, self.wide)?;
            for &s in &self.nest.strides[k] {
                if class(s) == Class::Any {
                    bind_offset(launch, s, self.wide)?;
                }
            }
        }
        self.fused.scalars.iter().try_for_each(|s| bind_scalar(launch, *s))
    }

    /// The right-hand side of one instruction.
    fn emit(&self, k: usize) -> String {
        let inst = &self.fused.insts[k];
        let c = compute(inst.dtype);
        let ty = |a: u32| self.fused.insts[a as usize].dtype;
        match inst.op {
            Op::Leaf(leaf) => format!("x{leaf}"),
            Op::Scalar(s) => format!("c{s}"),
            Op::Result(_) => "p".to_string(),
            Op::Unary(op, a) => unary(op, ty(a), &format!("t{a}")),
            Op::Binary(op, [a, b]) => binary(op, ty(a), &format!("t{a}"), &format!("t{b}")),
            Op::Ternary(Ternary::Select, [a, b, d]) => format!("t{a} ? t{b} : t{d}"),
            Op::Ternary(Ternary::MulAdd, [a, b, d]) => format!("fma(t{a}, t{b}, t{d})"),
            Op::Cast(a) => cast(ty(a), inst.dtype, &format!("t{a}"), c),
        }
    }
}

/// Sets a value in the type that it is computed in.
pub(crate) fn bind_scalar(launch: &mut Launch<'_>, s: Scalar) -> Result<()> {
    match s {
        Scalar::Bool(v) => launch.value(u8::from(v)),
        Scalar::I8(v) => launch.value(v),
        Scalar::I16(v) => launch.value(v),
        Scalar::I32(v) => launch.value(v),
        Scalar::I64(v) => launch.value(v),
        Scalar::U8(v) => launch.value(v),
        Scalar::U16(v) => launch.value(v),
        Scalar::U32(v) => launch.value(v),
        Scalar::U64(v) => launch.value(v),
        Scalar::F32(v) => launch.value(v),
        Scalar::F64(v) => launch.value(v),
    }
}

/// Sets a `clan_off`.
pub(crate) fn bind_offset(launch: &mut Launch<'_>, v: isize, wide: bool) -> Result<()> {
    if wide { launch.value(v as i64) } else { launch.value(v as i32) }
}

/// Sets a `clan_ix`.
pub(crate) fn bind_index(launch: &mut Launch<'_>, v: usize, wide: bool) -> Result<()> {
    if wide { launch.value(v as u64) } else { launch.value(v as u32) }
}

/// Sets a divisor with the multiplier and shift that replace the division (`CLAN_DIV`).
///
/// For n < 2³¹ and 0 < d < 2³¹, with s = ⌈log₂ d⌉ and m = ⌊2³²(2ˢ − d)/d⌋ + 1,
/// n / d = (⌊n·m / 2³²⌋ + n) >> s (Granlund and Montgomery, "Division by invariant integers using
/// multiplication", 1994). With 64-bit positions the kernel divides.
pub(crate) fn bind_divisor(launch: &mut Launch<'_>, d: usize, wide: bool) -> Result<()> {
    let (m, s) = if wide { (0, 0) } else { magic(d as u32) };
    bind_index(launch, d, wide)?;
    bind_index(launch, m as usize, wide)?;
    bind_index(launch, s as usize, wide)
}

fn magic(d: u32) -> (u32, u32) {
    let s = 32 - d.max(1).saturating_sub(1).leading_zeros();
    let m = ((1u64 << 32) * ((1u64 << s) - u64::from(d)) / u64::from(d.max(1))) + 1;
    (m as u32, s)
}

/// Whether any position in the nest needs more than 31 bits.
pub(crate) fn is_wide(fused: &Fused, nest: &Nest) -> bool {
    const LIMIT: u128 = i32::MAX as u128;
    let count: u128 = nest.dims.iter().map(|&d| d as u128).product();
    count > LIMIT
        || nest.strides.iter().enumerate().any(|(k, strides)| {
            let offset = fused.leaves.get(k).map_or(0, |l| l.layout.offset as u128);
            let reach: u128 = nest
                .dims
                .iter()
                .zip(strides)
                .map(|(&d, &s)| d as u128 * s.unsigned_abs() as u128)
                .sum();
            offset + reach > LIMIT
        })
}

/// Loads one element in the compute type.
pub(crate) fn load(dtype: DType, array: &str, at: &str) -> String {
    match dtype {
        DType::F16 => format!("vload_half({at}, {array})"),
        DType::BF16 => format!("clan_bf16({array}[{at}])"),
        _ => format!("{array}[{at}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplication_replaces_division() {
        let mut d = 1u32;
        while d < 1 << 31 {
            for d in [d, d.saturating_sub(1).max(1), d + 1, d + d / 3] {
                let (m, s) = magic(d);
                for n in [
                    0,
                    1,
                    d - 1,
                    d,
                    d + 1,
                    2 * d.min(1 << 30) - 1,
                    i32::MAX as u32,
                    12_345_678,
                    2_000_000_011,
                ] {
                    let n = n & 0x7fff_ffff;
                    let q = (((u64::from(n) * u64::from(m)) >> 32) as u32).wrapping_add(n) >> s;
                    assert_eq!(q, n / d, "{n} / {d}");
                }
            }
            d *= 2;
        }
    }
}
