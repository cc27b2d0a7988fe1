//! Every file in `cl/` belongs to one family, compiles alone with its defaults, and compiles for
//! every element type that the family takes.

use super::notes;
use super::{ClDevice, codegen};
use crate::device::{Backing, Device};
use crate::element::DType;
use crate::group::ReduceOp;
use crate::group::link::peer::text as peer;
use crate::ops::combine;
use crate::ops::gather::store_cl as scatter;
use crate::ops::groupby;
use crate::ops::linalg::shape as linalg;
use crate::ops::matmul::opencl as matmul;
use crate::ops::random::draw;
use crate::ops::reproducible;
use crate::ops::scan::{self, opencl as scans};
use crate::ops::sort::{self, opencl as sorts};
use crate::ops::sorted;
use crate::ops::sparse;
use crate::ops::stencil;
use crate::ops::{combine::Combine, select};
use std::collections::BTreeMap;
use std::path::Path;

/// A family: its file is `cl/NAME.cl`.
struct Family {
    name: &'static str,
    /// The only source that embeds the file, below `src/ops`, or below `src` after a slash.
    by: &'static str,
    kernels: &'static [&'static str],
    /// What comes between the prelude and the file for one element type; `None` for types that it
    /// does not take.
    types: fn(DType) -> Option<String>,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "combine",
        by: "combine.rs",
        kernels: &["combine", "share"],
        types: |dtype| {
            let vec = (16 / dtype.size()).max(2);
            Some(combine::types(dtype, vec, "return (a < b) ? a : b;"))
        },
    },
    Family {
        name: "conv2d",
        by: "conv2d/mod.rs",
        kernels: &["conv2d_tiled"],
        types: |dtype| (dtype != DType::Bool).then(|| images(dtype)),
    },
    Family {
        name: "copy",
        by: "copy.rs",
        kernels: &["transpose"],
        types: |dtype| {
            // Bits are moved: a type a size.
            let bits = [DType::U8, DType::U16, DType::U32, DType::U64].contains(&dtype);
            let no_batch = "#define CLAN_BATCH_PARAMS\n#define CLAN_BATCH_OFFSETS(b, from, to)\n";
            bits.then(|| format!("typedef {} clan_t;\n{no_batch}", codegen::storage(dtype)))
        },
    },
    Family {
        name: "groupby",
        by: "groupby.rs",
        kernels: &["groupby"],
        // Every operator meets some types.
        types: |dtype| match dtype {
            DType::Bool => None,
            DType::F16 => Some(groupby::types(dtype, DType::F32, 0)),
            d if d.is_unsigned() => Some(groupby::types(d, DType::U64, 0)),
            d => Some(groupby::types(d, d.compute(), 2 + d as u8 % 2)),
        },
    },
    Family {
        name: "histogram",
        by: "histogram/count.rs",
        kernels: &["histogram_local", "histogram_flat"],
        // Every kind of bins meets some types.
        types: |dtype| {
            let kind = match dtype {
                DType::Bool => return None,
                DType::F32 | DType::F64 => 0,
                DType::U32 | DType::I16 => 1,
                DType::I64 => 2,
                DType::I32 | DType::U64 => 4,
                d if d.size() == 1 => 5,
                _ => 3,
            };
            let shifted = crate::ops::histogram::count::shifted(dtype);
            Some(format!("{}{shifted}#define CLAN_BIN {kind}\n", leaf(dtype)))
        },
    },
    Family {
        name: "gather",
        by: "gather/take.rs",
        kernels: &["gather"],
        types: |dtype| {
            let word = format!("typedef {} clan_word;\n", codegen::word(dtype.size()));
            Some(word + &indices(dtype))
        },
    },
    Family {
        name: "linalg",
        by: "linalg/shape.rs",
        kernels: &[
            "substitute",
            "cholesky_leaf",
            "lu_panel",
            "lu_panel_one",
            "exchange_rows",
            "triangle",
            "gather_rows",
            "column_scales",
            "qr_panel",
        ],
        // Loops stay loops: compilers of CPUs take minutes to unroll all of them.
        types: |dtype| {
            let real = dtype == DType::F32 || dtype == DType::F64;
            real.then(|| format!("#define CLAN_ROLLED\n{}", linalg::types(dtype)))
        },
    },
    Family { name: "limits", by: "limits.rs", kernels: &["fma_chains"], types: |_| None },
    Family {
        name: "map",
        by: "map.rs",
        kernels: &["map"],
        types: |dtype| {
            let output = codegen::output_type(dtype, 1);
            Some(format!(
                "{output}{}#define CLAN_OUT_PARAMS\n#define CLAN_OUT_AT(i) (i)\n",
                leaf(dtype)
            ))
        },
    },
    Family {
        name: "matmul",
        by: "matmul/opencl.rs",
        kernels: &["matmul_join"],
        types: |dtype| {
            // Tiles of the default size are for sums of four bytes: types meet the kernel that has
            // none.
            let types = matmul::types(dtype, false);
            let output = codegen::output_type(dtype, 1);
            let result = codegen::compute(dtype);
            (dtype != DType::Bool).then(|| {
                format!("#define CLAN_KERNEL 1\n{types}{output}typedef {result} clan_result;\n")
            })
        },
    },
    Family {
        name: "peer",
        by: "/group/link/peer/text.rs",
        kernels: &["peer_combine", "peer_spread", "peer_exchange", "peer_combine_short"],
        // The others are but another word for integers, and CPUs' compilers take seconds for each.
        types: |dtype| {
            use DType::{BF16, Bool, F16, F32, F64, I64};
            [Bool, I64, F16, BF16, F32, F64].contains(&dtype).then(|| peer::samples(dtype))
        },
    },
    Family {
        name: "random",
        by: "random/draw.rs",
        kernels: &["random", "permutation"],
        // Every draw meets some types.
        types: |dtype| {
            let kind = match dtype {
                DType::Bool => 4,
                d if d.is_float() => d as u8 % 3,
                _ => 3,
            };
            Some(draw::types(dtype, kind))
        },
    },
    Family {
        name: "reduce",
        by: "reduce.rs",
        kernels: &["reduce_rows", "reduce_columns", "reduce_partials"],
        types: |dtype| Some(reduction(dtype)),
    },
    Family {
        name: "reproducible",
        by: "reproducible.rs",
        kernels: &["reproducible"],
        types: |dtype| {
            let real = dtype == DType::F32 || dtype == DType::F64;
            real.then(|| reproducible::types(dtype, reproducible::Join::Min))
        },
    },
    Family {
        name: "scan",
        by: "scan/opencl.rs",
        kernels: &["scan_sums", "scan_spans"],
        // Sums have the four types that sums have; the others meet the least element.
        types: |dtype| {
            let (join, op) = match dtype {
                DType::Bool => return None,
                d if d.sum() == d => (scan::Join::Sum, ReduceOp::Sum),
                _ => (scan::Join::Min, ReduceOp::Min),
            };
            let types = scans::types(&join, dtype, &Combine::own(op, dtype), 1);
            Some(format!(
                "#define CLAN_ROLLED\n{}{}{types}",
                codegen::output_type(dtype, 1),
                leaf(dtype)
            ))
        },
    },
    Family {
        name: "select",
        by: "select.rs",
        kernels: &["select_count", "select_write", "select_runs"],
        types: |dtype| {
            // Bits are moved: a type a size.
            let bits = [DType::U8, DType::U16, DType::U32, DType::U64].contains(&dtype);
            bits.then(|| select::types(dtype.size(), false))
        },
    },
    Family {
        name: "sort",
        by: "sort/opencl.rs",
        kernels: &["sort_count", "sort_scatter"],
        types: |dtype| {
            let order = sort::Order { dtype, descending: dtype.is_signed() };
            Some(sorts::types(order, dtype as u8 % 3, dtype.size()))
        },
    },
    Family {
        name: "sorted",
        by: "sorted/mod.rs",
        kernels: &["searchsorted", "merge"],
        types: |dtype| Some(sorted::types(dtype, dtype.is_signed().then_some(dtype.size()))),
    },
    Family {
        name: "sparse",
        by: "sparse/product.rs",
        kernels: &["csr_vector", "csr_join", "csr_matrix", "csr_dense"],
        types: |dtype| {
            let real = dtype == DType::F32 || dtype == DType::F64;
            real.then(|| sparse::types(dtype, dtype == DType::F64, 2048))
        },
    },
    Family {
        name: "stencil",
        by: "stencil/opencl.rs",
        kernels: &["stencil_tiled"],
        types: |dtype| {
            let rule = "#define CLAN_RANK 1\n#define CLAN_RZ 0\n#define CLAN_RY 0\n#define CLAN_RX 2\n#define CLAN_RULE return at(-1) * at(2);\n";
            (dtype != DType::Bool).then(|| stencil::types(dtype) + rule)
        },
    },
    Family {
        name: "top_k",
        by: "sort/top_k/opencl.rs",
        kernels: &["top_k"],
        types: |dtype| {
            let order = sort::Order { dtype, descending: dtype.is_signed() };
            Some(sorts::types(order, 0, 4))
        },
    },
    Family {
        name: "scatter",
        by: "gather/store_cl.rs",
        kernels: &["scatter"],
        types: |dtype| {
            // Steps, types of values, means and words of exact sums meet some types.
            let types = match dtype {
                DType::Bool => scatter::types(1, "", 0, 0, false),
                DType::I8 => scatter::types(2, "", 0, 0, false),
                DType::U8 | DType::U16 | DType::I64 => {
                    scatter::types(3, codegen::word(dtype.size()), 0, 0, dtype == DType::U8)
                }
                DType::U32 => scatter::types(4, "uint", 1, 0, false),
                DType::U64 => scatter::types(4, "ulong", 3, 0, true),
                DType::F16 => scatter::types(4, "float", 4, 0, false),
                DType::F32 => scatter::types(5, "float", 0, 10, false),
                DType::F64 => scatter::types(5, "double", 0, 67, false),
                _ => return None,
            };
            Some(types + &indices(dtype))
        },
    },
];

/// Files that are no family's: who embeds them. Kernels for one vendor's units compile nowhere else,
/// and the example compiles its own.
const SHARED: &[(&str, &str)] = &[
    ("prelude", "src/opencl/codegen.rs"),
    ("index", "src/opencl/notes.rs"),
    ("warp", "src/opencl/codegen.rs"),
    ("matmul_mma", "src/ops/matmul/opencl.rs"),
    ("scan_lanes", "src/ops/scan/opencl.rs"),
    ("scan_mail", "src/ops/scan/opencl.rs"),
    ("scan_group", "src/ops/scan/opencl.rs"),
    ("scan_warp", "src/ops/scan/opencl.rs"),
    ("peer_windows", "src/group/link/peer/text.rs"),
    ("sort_sweep", "src/ops/sort/sweep.rs"),
    ("ladder", "examples/05_memory_spaces.rs"),
];

/// An expression that consists of one contiguous array.
fn leaf(dtype: DType) -> String {
    format!(
        "typedef {} clan_t;\n#define CLAN_VEC 1\n#define CLAN_PARAMS , __global const {}* restrict a0\n#define CLAN_ARGS , a0\nstatic inline clan_t clan_at(const clan_ix i CLAN_PARAMS) {{ return {}; }}\n",
        codegen::compute(dtype),
        codegen::storage(dtype),
        codegen::load(dtype, "a0", "i"),
    )
}

/// Indices from one contiguous array, of one of the types that they may have.
fn indices(dtype: DType) -> String {
    let own = match dtype {
        DType::I32 | DType::I64 | DType::U64 => dtype,
        _ => DType::U32,
    };
    let places = "#define CLAN_BASE_PARAMS , const clan_off oo\n#define CLAN_BASE_AT(i) oo\n";
    [&leaf(own), &notes::text(own, false), places].concat()
}

/// Every operator meets some types.
fn reduction(dtype: DType) -> String {
    let op = match dtype {
        DType::Bool => 6,
        _ => dtype as u8 % 8,
    };
    let out = match op {
        4 | 5 => DType::U64,
        6 | 7 => DType::Bool,
        _ => dtype.compute(),
    };
    let (least, greatest) = match dtype.is_float() {
        true => ("(-INFINITY)", "INFINITY"),
        false => ("0", "1"),
    };
    format!(
        "{}{}#define CLAN_OP {op}\n#define CLAN_IS_FLOAT {}\ntypedef {} clan_word;\n#define CLAN_LEAST {least}\n#define CLAN_GREATEST {greatest}\n",
        codegen::output_type(out, 1),
        leaf(dtype),
        u8::from(dtype.is_float()),
        codegen::compute(dtype),
    )
}

fn images(dtype: DType) -> String {
    let sum = match dtype {
        d if d.is_float() => codegen::compute(d),
        d if d.size() == 8 => "ulong",
        _ => "uint",
    };
    format!(
        "{}#define CLAN_STORED {}\n#define CLAN_LOAD(a, i) {}\ntypedef {sum} clan_sum;\ntypedef {} clan_out_c;\n",
        codegen::output_type(dtype, 1),
        codegen::storage(dtype),
        codegen::load(dtype, "(a)", "(i)"),
        codegen::compute(dtype),
    )
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(format!("cl/{name}.cl"))).unwrap()
}

/// Which files below `directory` embed which files of `cl`.
fn embedded(directory: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            embedded(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            for part in source.split("include_str!(\"").skip(1) {
                let Some(file) = part.split('"').next().and_then(|f| f.strip_suffix(".cl")) else {
                    continue;
                };
                let name = file.rsplit('/').next().unwrap_or(file).to_string();
                let by = path.strip_prefix(root()).unwrap().display().to_string();
                found.entry(name).or_default().push(by.replace('\\', "/"));
            }
        }
    }
}

#[test]
fn every_file_belongs_to_one_family() {
    let mut found = BTreeMap::new();
    embedded(&root().join("src"), &mut found);
    embedded(&root().join("examples"), &mut found);
    let by = |by: &str| match by.strip_prefix('/') {
        Some(path) => format!("src/{path}"),
        None => format!("src/ops/{by}"),
    };
    let families = FAMILIES.iter().map(|f| (f.name, by(f.by)));
    let shared = SHARED.iter().map(|(name, by)| (*name, by.to_string()));
    let want: BTreeMap<String, Vec<String>> =
        families.chain(shared).map(|(name, by)| (name.to_string(), vec![by])).collect();
    assert_eq!(found, want, "who embeds what, and who should");
    let mut files: Vec<String> = std::fs::read_dir(root().join("cl"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let names: Vec<String> = want.keys().map(|name| format!("{name}.cl")).collect();
    assert_eq!(files, names, "files in cl/, and the families that have them");
}

#[test]
fn every_file_compiles_alone_and_for_every_type() {
    let devices = Device::kinds();
    // Every driver compiles for minutes, and one program at a time.
    std::thread::scope(|scope| {
        for device in &devices {
            if let Backing::OpenCl(cl) = device.backing() {
                scope.spawn(move || compile_every_file(device, cl));
            }
        }
    });
    if devices.len() == 1 {
        let required = std::env::var("CLAN_TEST_REQUIRE").is_ok_and(|v| v.contains("opencl"));
        assert!(!required, "CLAN_TEST_REQUIRE asks for an OpenCL device");
        println!("skipped: no OpenCL device");
    }
}

fn compile_every_file(device: &Device, cl: &ClDevice) {
    for family in FAMILIES {
        let build = |between: &str| {
            let mut text = codegen::defines(cl, false, cl.point);
            for part in [codegen::PRELUDE, between, &read(family.name)] {
                text.push_str(part);
            }
            let program = cl.programs.compile(cl, family.name, &text);
            let program = program.unwrap_or_else(|e| panic!("on {device}: {e}"));
            for name in family.kernels {
                let kernel = program.kernel(family.name, name);
                program.give_back(name, kernel.unwrap_or_else(|e| panic!("{name}: {e}")));
            }
        };
        build("");
        for dtype in DType::ALL.into_iter().filter(|&d| device.supports(d)) {
            if let Some(types) = (family.types)(dtype) {
                build(&types);
            }
        }
    }
}
