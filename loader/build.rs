//! Leaves an empty `OpenCL` library where the linker looks first.
//!
//! `cl-sys` asks for `-lOpenCL` without a condition. The entry points are defined by this package
//! itself, so an archive with nothing in it satisfies the request, and neither a libOpenCL nor a C
//! compiler is needed to build.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");

    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "macos" {
        // The framework is part of the system, and `-framework` would not look here.
        return;
    }

    let out = env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR for build scripts");
    let out = Path::new(&out);
    let (name, archive): (&str, Vec<u8>) = match env::var("CARGO_CFG_TARGET_ENV").as_deref() {
        Ok("msvc") => ("OpenCL.lib", coff_archive()),
        _ => ("libOpenCL.a", MAGIC.to_vec()),
    };
    fs::write(out.join(name), archive).expect("OUT_DIR can be written");
    println!("cargo::rustc-link-search=native={}", out.display());
}

/// The whole of an empty archive for Unix linkers and for MinGW.
const MAGIC: &[u8] = b"!<arch>\n";

/// The same for MSVC, whose archives begin with two linker members: symbol tables of no symbols and
/// no members.
fn coff_archive() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for content in [&[0_u8; 4][..], &[0_u8; 8][..]] {
        let header =
            format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "/", 0, "", "", 0, content.len());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}
