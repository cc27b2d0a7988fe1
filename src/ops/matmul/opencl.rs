//! The OpenCL half: chooses a kernel of `cl/matmul.cl` for a [`Gemm`], writes what its text needs,
//! and launches it.

use super::gemm::{Gemm, Matrix};
use super::point::{Direct, Panel, Stream, Tile, chunk, is_cpu};
use super::shapes::Shapes;
use super::units::{self, Unit};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::DeviceKind;
use crate::element::DType;
use crate::error::Result;
use crate::expr::fused::Nest;
use crate::opencl::program::Program;
use crate::opencl::{ClDevice, Launch, codegen};
use std::fmt::Write;
use std::sync::Arc;

/// The text of the portable kernels.
pub(super) const SOURCE: &str = include_str!("../../../cl/matmul.cl");
/// The text of the kernel for NVIDIA's units, which follows it.
pub(super) const UNITS_SOURCE: &str = include_str!("../../../cl/matmul_mma.cl");

/// The kernels, each with the point that shapes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernel {
    Tiled(Tile),
    Direct(Direct),
    Panel(Panel),
    /// A matrix with a vector, the matrix's rows contiguous.
    Rows(Stream),
    /// A matrix with a vector, the matrix's columns contiguous.
    Columns(Stream),
    /// Matrix units.
    Unit(Unit),
}

/// Which kernel computes a product, and into how many parts it cuts k.
pub(super) struct Choice {
    pub kernel: Kernel,
    pub splits: usize,
}

/// The one place that decides. Further kernels (matrix units) come before the portable ones here,
/// by type, precision and what the device was found to have.
pub(super) fn choose(gemm: &Gemm<'_>, device: &ClDevice) -> Choice {
    if let Some(unit) = gemm.unit {
        let units = device.info.compute_units.max(1);
        let (splits, _) = unit.plan([gemm.m, gemm.n, gemm.k, gemm.batches()], units);
        return Choice { kernel: Kernel::Unit(unit), splits };
    }
    let cpu = is_cpu(device);
    if gemm.n == 1 {
        let by_columns = gemm.m > 1 && gemm.a.row.unsigned_abs() < gemm.a.column.unsigned_abs();
        let stream = Stream::of(device, by_columns, gemm);
        let vec = 16 / gemm.dtype.size();
        let (groups, rounds) = match by_columns {
            true => (gemm.m.div_ceil(stream.columns * vec), stream.group / stream.columns),
            false => {
                let lanes = stream.lanes(gemm.m * gemm.batches(), gemm.k);
                (gemm.m.div_ceil(stream.group / lanes), lanes * vec)
            }
        };
        let wanted = (stream.groups / (groups * gemm.batches())).max(1);
        // Every part has a few rounds of work.
        let splits = wanted.min(gemm.k / (rounds * stream.unroll * 4)).max(1);
        let most = device.loop_rounds().saturating_mul(rounds) / vec;
        let splits = splits.max(gemm.k.div_ceil(most));
        let kernel = if by_columns { Kernel::Columns(stream) } else { Kernel::Rows(stream) };
        return Choice { kernel, splits };
    }
    let tiny = gemm.m * gemm.n <= 256 && gemm.batches() > 1 && gemm.k <= device.loop_rounds();
    if cpu && !tiny {
        let panel = Panel::of(device, gemm);
        let groups = gemm.m.div_ceil(panel.pm) * gemm.n.div_ceil(panel.pn) * gemm.batches();
        let wanted = device.point.groups.div_ceil(groups);
        let splits = if groups * 2 > device.info.compute_units { 1 } else { wanted };
        let splits = splits.min(gemm.k / (4 * panel.pk)).max(1);
        // For each element along k: packing both operands, and a step of every register tile.
        let strips = panel.pn / (panel.rl * 64 / sum_bytes(gemm.dtype)).max(1);
        let rounds = panel.pm + strips * (1 + panel.pm / panel.rm);
        let splits = splits.max(gemm.k.saturating_mul(rounds).div_ceil(device.loop_rounds()));
        return Choice { kernel: Kernel::Panel(panel), splits };
    }
    match Tile::of(device, gemm) {
        Some((tile, splits)) if !tiny => Choice { kernel: Kernel::Tiled(tile), splits },
        _ => Choice { kernel: Kernel::Direct(Direct::of(device, gemm)), splits: 1 },
    }
}

/// The first operand as `matmul_tiled` reads it fastest where it is worth a copy: with neighbours
/// along m, which go to local memory in vectors.
///
/// H200, f32, TFLOP/s with neighbours along k and along m: 4096 × 4096 × 4096 43.9 and 45.9,
/// 32768 × 32768 × 64 32.7 and 40.4.
pub(super) fn arrange(a: RawArray, shapes: &Shapes) -> Result<RawArray> {
    let gpu = a.device().launch_kind() != DeviceKind::Cpu && !a.device().is_host();
    let large = shapes.m >= 1024 && shapes.n >= 1024 && shapes.k >= 32;
    match gpu && large && a.dtype == DType::F32 {
        true => units::in_lines(&a, a.dtype, true),
        false => Ok(a),
    }
}

/// Bytes of a sum.
pub(super) fn sum_bytes(dtype: DType) -> usize {
    if dtype.size() == 8 { 8 } else { 4 }
}

/// The type of sums: integers wrap in unsigned words and are cut to their type at the end.
fn sum_type(dtype: DType) -> &'static str {
    match dtype {
        d if d.is_float() => codegen::compute(d),
        d if d.size() == 8 => "ulong",
        _ => "uint",
    }
}

pub(super) fn run(mut gemm: Gemm<'_>, device: &ClDevice) -> Result<()> {
    if gemm.m == 1 && gemm.n != 1 {
        gemm = transposed(gemm);
    }
    let choice = choose(&gemm, device);
    log::trace!(
        "matmul: {} of {}×{}×{}, {}, by {choice}",
        gemm.batches(),
        gemm.m,
        gemm.n,
        gemm.k,
        gemm.dtype,
    );
    let nest = gemm.epilogue.map(|e| {
        let order: Vec<usize> = (0..e.fused.shape.len()).collect();
        e.fused.nest(&order, None)
    });
    // Cut into parts whose partial sums have memory of their own.
    let unit = match choice.kernel {
        Kernel::Tiled(t) => t.tk,
        Kernel::Panel(p) => p.pk,
        Kernel::Rows(_) | Kernel::Columns(_) => 16,
        Kernel::Direct(_) => 1,
        Kernel::Unit(u) => u.bk,
    };
    let part = gemm.k.div_ceil(choice.splits).next_multiple_of(unit);
    let splits = gemm.k.div_ceil(part);
    let total = gemm.m * gemm.n * gemm.batches();
    let partial = match splits {
        1 => None,
        _ => Some(Buffer::new(
            &gemm.out.device,
            total.saturating_mul(splits).saturating_mul(sum_bytes(gemm.dtype)),
        )?),
    };
    let call = Call { device, gemm: &gemm, nest, splits, part, total, partial: partial.as_ref() };
    call.run(choice.kernel)
}

/// A row times a matrix is the transposed matrix times a column.
fn transposed(gemm: Gemm<'_>) -> Gemm<'_> {
    let flip = |m: Matrix<'_>| -> (isize, isize) { (m.column, m.row) };
    let (a, b) = (flip(gemm.b), flip(gemm.a));
    let batch = gemm.batch.iter().map(|x| super::gemm::Batch { a: x.b, b: x.a, ..*x }).collect();
    Gemm {
        m: gemm.n,
        n: 1,
        a: Matrix { row: a.0, column: a.1, ..gemm.b },
        b: Matrix { row: b.0, column: b.1, ..gemm.a },
        batch,
        // Results are neighbours along what were columns.
        out_row: 1,
        ..gemm
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {} parts of k", self.kernel, self.splits)
    }
}

/// One call on its way to a launch.
pub(super) struct Call<'a> {
    pub device: &'a ClDevice,
    pub gemm: &'a Gemm<'a>,
    /// The loops of the epilogue.
    nest: Option<Nest>,
    splits: usize,
    /// Elements along k of each split.
    part: usize,
    /// Elements of the result.
    total: usize,
    partial: Option<&'a Buffer>,
}

impl Call<'_> {
    /// How a matrix lies in memory, as `CLAN_A_MAJOR` and `CLAN_B_MAJOR` say it: `inner` is the
    /// stride along k.
    fn major(inner: isize, other: isize) -> u8 {
        match (inner, other) {
            (1, _) => 1,
            (_, 1) => 2,
            _ => 0,
        }
    }

    /// Whether vectors of `vec` elements of a matrix start aligned.
    fn aligned(
        matrix: &Matrix<'_>,
        ld: isize,
        batch: impl Iterator<Item = isize>,
        vec: usize,
    ) -> bool {
        matrix.offset.is_multiple_of(vec)
            && ld % vec as isize == 0
            && batch.into_iter().all(|s| s % vec as isize == 0)
    }

    /// The vector widths for both operands and the result: as wide as alignment allows.
    fn vectors(&self, a_most: usize, b_most: usize) -> (usize, usize) {
        let g = self.gemm;
        let full = 16 / g.dtype.size();
        let fit = |m: &Matrix<'_>, inner: isize, other: isize, most: usize, s: Vec<isize>| {
            let ld = match Self::major(inner, other) {
                1 => other,
                2 => inner,
                _ => return 1,
            };
            if most >= full && Self::aligned(m, ld, s.into_iter(), full) { full } else { 1 }
        };
        let a = g.batch.iter().map(|x| x.a).collect();
        let b = g.batch.iter().map(|x| x.b).collect();
        (fit(&g.a, g.a.column, g.a.row, a_most, a), fit(&g.b, g.b.row, g.b.column, b_most, b))
    }

    /// Whether positions need 64 bits.
    fn wide(&self) -> bool {
        let g = self.gemm;
        let reach = |offset: usize,
                     parts: [(usize, isize); 2],
                     batch: &mut dyn Iterator<Item = (usize, isize)>| {
            // Tiles overhang the edges.
            let far = |(n, s): (usize, isize)| (n as u128 + 512) * s.unsigned_abs() as u128;
            offset as u128
                + parts.into_iter().map(far).sum::<u128>()
                + batch.map(|(n, s)| n as u128 * s.unsigned_abs() as u128).sum::<u128>()
        };
        let a = reach(
            g.a.offset,
            [(g.m, g.a.row), (g.k, g.a.column)],
            &mut g.batch.iter().map(|x| (x.len, x.a)),
        );
        let b = reach(
            g.b.offset,
            [(g.k, g.b.row), (g.n, g.b.column)],
            &mut g.batch.iter().map(|x| (x.len, x.b)),
        );
        let out = reach(
            g.out_offset,
            [(g.m, g.out_row), (g.n, 1)],
            &mut g.batch.iter().map(|x| (x.len, x.out)),
        );
        let partial = self.total as u128 * self.splits as u128 + 512;
        let epilogue = match (&g.epilogue, &self.nest) {
            (Some(e), Some(nest)) => codegen::is_wide(e.fused, nest),
            _ => false,
        };
        [a, b, out, partial].into_iter().any(|r| r > i32::MAX as u128) || epilogue
    }

    fn input(&self, wide: bool) -> Option<codegen::Input<'_>> {
        let (epilogue, nest) = self.gemm.epilogue.as_ref().zip(self.nest.as_ref())?;
        Some(codegen::Input { fused: epilogue.fused, nest, vec: 1, wide })
    }

    /// The program with kernel number `kernel`, shaped by `defines`; `appended` is the text of a
    /// kernel that has a file of its own.
    pub fn program(
        &self,
        kernel: u8,
        group: usize,
        unroll: usize,
        defines: &str,
        appended: &'static str,
    ) -> Result<Arc<Program>> {
        let g = self.gemm;
        let wide = self.wide();
        let input = self.input(wide);
        let mut point = self.device.point;
        (point.group, point.unroll) = (group, unroll);
        let mut head = codegen::defines(self.device, wide, point);
        let _ = write!(
            head,
            "#define CLAN_KERNEL {kernel}\n#define CLAN_A_MAJOR {}\n#define CLAN_B_MAJOR {}\n{defines}",
            Self::major(g.a.column, g.a.row),
            Self::major(g.b.row, g.b.column),
        );
        // A GPU multiplies and adds in one instruction; on other processors `fma` may be slow.
        let fma = g.dtype.is_float() && !is_cpu(self.device);
        head.push_str(&types(g.dtype, fma));
        if g.subtract {
            head.push_str("#define CLAN_SUBTRACT\n");
        }
        head.push_str(&self.batch());
        // What shapes the text is its own key.
        let mut key = head.clone().into_bytes();
        key.extend([g.dtype as u8, g.out_dtype as u8]);
        if let Some(input) = &input {
            key.push(1);
            input.key(&mut key);
        }
        self.device.programs.get(self.device, g.op, ("matmul", key), || {
            let mut text = head;
            text.push_str(codegen::PRELUDE);
            text.push_str(&codegen::output_type(
                g.out_dtype,
                if appended.is_empty() { chunk(g.dtype) } else { 2 },
            ));
            if g.subtract {
                text.push_str(&subtracting(g.out_dtype));
            }
            text.push_str(&format!("typedef {} clan_result;\n", codegen::compute(g.out_dtype)));
            if let Some(input) = &input {
                text.push_str(&input.text());
                text.push_str(&format!(
                    "#define CLAN_RESULT(i, s) clan_at((i), ({})(s) CLAN_ARGS)\n",
                    codegen::compute(g.dtype)
                ));
            }
            text.push_str(SOURCE);
            text.push_str(appended);
            text
        })
    }

    /// The macros that walk the batch.
    fn batch(&self) -> String {
        let mut params = String::new();
        let mut offsets = String::new();
        for k in (0..self.gemm.batch.len()).rev() {
            let _ = write!(
                params,
                ", const clan_ix n{k}, const clan_off ba{k}, const clan_off bb{k}, const clan_off bo{k}"
            );
            let _ = write!(
                offsets,
                " {{ const clan_off q = (clan_off)((t) % n{k}); (a) += q * ba{k}; (b) += q * bb{k}; (o) += q * bo{k}; (t) /= n{k}; }}"
            );
        }
        format!("#define CLAN_BATCH_PARAMS {params}\n#define CLAN_BATCH(t, a, b, o) {offsets}\n")
    }

    /// Sets what `CLAN_PRODUCT_PARAMS` declares.
    pub fn bind_product<'l>(&'l self, launch: &mut Launch<'l>, wide: bool) -> Result<()> {
        let g = self.gemm;
        // With one split the partial sums are not touched, but need an argument, and so does the
        // result with several.
        launch.output(g.out)?;
        launch.output(self.partial.unwrap_or(g.out))?;
        for m in [&g.a, &g.b] {
            launch.input(m.buffer.unwrap_or(g.out))?;
            codegen::bind_offset(launch, m.offset as isize, wide)?;
            codegen::bind_offset(launch, m.row, wide)?;
            codegen::bind_offset(launch, m.column, wide)?;
        }
        codegen::bind_offset(launch, g.out_offset as isize, wide)?;
        codegen::bind_offset(launch, g.out_row, wide)?;
        for v in [g.m, g.n, g.k, self.splits, self.part] {
            codegen::bind_index(launch, v, wide)?;
        }
        Ok(())
    }

    /// Sets the arguments of the batch and the epilogue, which come last.
    pub fn bind_rest<'l>(
        &'l self,
        launch: &mut Launch<'l>,
        input: &'l Option<codegen::Input<'l>>,
        wide: bool,
    ) -> Result<()> {
        for x in self.gemm.batch.iter().rev() {
            codegen::bind_index(launch, x.len, wide)?;
            for s in [x.a, x.b, x.out] {
                codegen::bind_offset(launch, s, wide)?;
            }
        }
        match input {
            Some(input) => input.bind(launch),
            None => Ok(()),
        }
    }

    fn run(&self, kernel: Kernel) -> Result<()> {
        let g = self.gemm;
        let (device, batches, splits) = (self.device, g.batches(), self.splits);
        let wide = self.wide();
        let input = self.input(wide);
        // Number, name, group, the kernel's own arguments, groups.
        let (program, name, group, own, groups): (_, _, _, Vec<Own>, usize) = match kernel {
            Kernel::Tiled(t) => {
                let (a, b) = self.vectors(
                    (t.tm * t.tk / t.group()).min(t.tk),
                    (t.tn * t.tk / t.group()).min(t.tk),
                );
                let exact = g.m.is_multiple_of(t.tm)
                    && g.n.is_multiple_of(t.tn)
                    && g.k.is_multiple_of(self.part)
                    && self.part.is_multiple_of(t.tk);
                let c = chunk(g.dtype);
                let out = [g.out_offset as isize, g.out_row, g.n as isize];
                let aligned = out.into_iter().chain(g.batch.iter().map(|x| x.out));
                let out = if aligned.into_iter().all(|s| s % c as isize == 0) { c } else { 1 };
                let defines = format!(
                    "{}#define CLAN_A_VEC {a}\n#define CLAN_B_VEC {b}\n#define CLAN_OUT_VEC {out}\n#define CLAN_EXACT {}\n",
                    t.defines(),
                    u8::from(exact)
                );
                let (tiles_m, tiles_n) = (g.m.div_ceil(t.tm), g.n.div_ceil(t.tn));
                (
                    self.program(0, t.group(), 1, &defines, "")?,
                    "matmul_tiled",
                    t.group(),
                    vec![Own::Index(tiles_m), Own::Index(tiles_n), Own::Index(self.total)],
                    tiles_m * tiles_n * splits * batches,
                )
            }
            Kernel::Unit(u) => {
                let out = [g.out_offset as isize, g.out_row, g.n as isize];
                let mut aligned = out.into_iter().chain(g.batch.iter().map(|x| x.out));
                let out = if aligned.all(|s| s % 2 == 0) { 2 } else { 1 };
                let defines = format!("{}#define CLAN_OUT_VEC {out}\n", u.defines(g, self.part));
                let (tiles_m, tiles_n) = (g.m.div_ceil(u.bm), g.n.div_ceil(u.bn));
                (
                    self.program(5, u.group(), 1, &defines, UNITS_SOURCE)?,
                    "matmul_mma",
                    u.group(),
                    [tiles_m, tiles_n, self.total].map(Own::Index).to_vec(),
                    tiles_m * tiles_n * splits * batches,
                )
            }
            Kernel::Direct(d) => {
                let (tiles_m, tiles_n) = (g.m.div_ceil(d.rm), g.n.div_ceil(d.rn));
                let count = tiles_m * tiles_n * splits * batches;
                (
                    self.program(1, d.group, 1, &d.defines(), "")?,
                    "matmul_direct",
                    d.group,
                    [tiles_m, tiles_n, self.total, count].map(Own::Index).to_vec(),
                    count.div_ceil(d.group),
                )
            }
            Kernel::Panel(p) => {
                let (tiles_m, tiles_n) = (g.m.div_ceil(p.pm), g.n.div_ceil(p.pn));
                // Single elements of halves are slow to convert, and of columns far apart.
                let pack = g.dtype.compute() != g.dtype || Self::major(g.a.column, g.a.row) != 1;
                let defines = format!("{}#define CLAN_PACK_A {}\n", p.defines(), u8::from(pack));
                (
                    self.program(2, 1, 1, &defines, "")?,
                    "matmul_panel",
                    1,
                    [tiles_m, tiles_n, self.total].map(Own::Index).to_vec(),
                    tiles_m * tiles_n * splits * batches,
                )
            }
            Kernel::Rows(s) => {
                let lanes = s.lanes(g.m * batches, g.k);
                let groups = g.m.div_ceil(s.group / lanes);
                // Both the matrix and the vector are loaded in vectors, or neither.
                let (a, _) = self.vectors(16, 1);
                let (_, b) = self.vectors(1, 16);
                let contiguous = g.b.row == 1 && g.a.column == 1;
                let vec = if contiguous { a.min(b) } else { 1 };
                let defines = format!("#define CLAN_A_VEC {vec}\n");
                (
                    self.program(3, s.group, s.unroll, &defines, "")?,
                    "matvec_rows",
                    s.group,
                    vec![Own::Word(lanes as u32), Own::Index(groups), Own::Index(self.total)],
                    groups * splits * batches,
                )
            }
            Kernel::Columns(s) => {
                let (a, _) = self.vectors(16, 1);
                let vec = if g.a.row == 1 { a } else { 1 };
                let groups = g.m.div_ceil(s.columns * vec);
                let defines =
                    format!("#define CLAN_A_VEC {vec}\n#define CLAN_COLS {}\n", s.columns);
                (
                    self.program(4, s.group, s.unroll, &defines, "")?,
                    "matvec_columns",
                    s.group,
                    vec![Own::Index(groups), Own::Index(self.total)],
                    groups * splits * batches,
                )
            }
        };
        let mut launch = Launch::new(device, &program, g.op, name)?;
        self.bind_product(&mut launch, wide)?;
        for arg in own {
            match arg {
                Own::Index(v) => codegen::bind_index(&mut launch, v, wide)?,
                Own::Word(v) => launch.value(v)?,
            }
        }
        self.bind_rest(&mut launch, &input, wide)?;
        // SAFETY: the arguments follow the kernel's parameters; it guards the edges of the operands
        // and of the result, which lie inside their buffers (see `Gemm`), and the partial sums have
        // room for every split.
        unsafe { launch.run([groups, 1, 1], [group, 1, 1])? };
        self.join(&program, group, &input, wide)
    }

    /// The second pass, where k was cut.
    pub fn join(
        &self,
        program: &Arc<Program>,
        group: usize,
        input: &Option<codegen::Input<'_>>,
        wide: bool,
    ) -> Result<()> {
        let Some(partial) = self.partial else { return Ok(()) };
        let g = self.gemm;
        let mut launch = Launch::new(self.device, program, g.op, "matmul_join")?;
        launch.output(g.out)?;
        launch.input(partial)?;
        codegen::bind_index(&mut launch, self.total, wide)?;
        codegen::bind_index(&mut launch, self.splits, wide)?;
        codegen::bind_offset(&mut launch, g.out_offset as isize, wide)?;
        codegen::bind_offset(&mut launch, g.out_row, wide)?;
        codegen::bind_index(&mut launch, g.m, wide)?;
        codegen::bind_index(&mut launch, g.n, wide)?;
        self.bind_rest(&mut launch, input, wide)?;
        // SAFETY: as above; the kernel stops at the number of results.
        unsafe { launch.run([self.total.div_ceil(group), 1, 1], [group, 1, 1]) }
    }
}

/// An argument that only one kernel has.
#[derive(Clone, Copy)]
enum Own {
    Index(usize),
    Word(u32),
}

/// The defines for the element types; with `fma` products are added by that function.
pub(crate) fn types(dtype: DType, fma: bool) -> String {
    let (stored, sum) = (codegen::storage(dtype), sum_type(dtype));
    let vec = 16 / dtype.size();
    let lanes = 64 / sum_bytes(dtype);
    let mut text = format!(
        "#define CLAN_STORED {stored}\n#define CLAN_LOAD(a, i) {}\n\
         typedef {sum} clan_sum;\ntypedef {sum}{c} clan_chunk;\n#define CLAN_CHUNK {c}\n\
         typedef {sum}{lanes} clan_lanes;\n#define CLAN_LANES {lanes}\n",
        codegen::load(dtype, "(a)", "(i)"),
        c = chunk(dtype),
    );
    let (load, part) = match dtype {
        DType::F16 => (format!("const float{vec} w = vloada_half{vec}(0, (p))"), ""),
        _ => (format!("const {stored}{vec} w = *(__global const {stored}{vec}*)(p)"), ""),
    };
    let _ = write!(text, "#define CLAN_LOADV(r, p) {{ {load};{part}");
    for k in 0..vec {
        let lane = format!("w.s{k:x}");
        let value = match dtype {
            DType::BF16 => format!("clan_bf16({lane})"),
            _ => format!("(clan_sum){lane}"),
        };
        let _ = write!(text, " (r)[{k}] = {value};");
    }
    text.push_str(" }\n");
    if fma {
        text.push_str("#define CLAN_MAD(a, b, c) fma(a, b, c)\n");
    }
    text
}

/// The stores of a result that is taken from what is there: those of `codegen::output_type`, once
/// more. Only types that are stored as they are computed.
fn subtracting(dtype: DType) -> String {
    let t = codegen::storage(dtype);
    let lanes = |vec: usize| {
        let list: Vec<String> = (0..vec).map(|k| format!("(v)[{k}]")).collect();
        format!("(*(__global {t}{vec}*)((out) + (i)) -= ({t}{vec})({}))", list.join(", "))
    };
    format!(
        "#undef CLAN_PUT\n#define CLAN_PUT(out, i, v) ((out)[i] -= (v))\n#ifdef CLAN_PUTV\n#undef CLAN_PUTV\n#if CLAN_KERNEL == 5\n#define CLAN_PUTV(out, i, v) {}\n#else\n#define CLAN_PUTV(out, i, v) {}\n#endif\n#endif\n",
        lanes(2),
        lanes(chunk(dtype)),
    )
}
