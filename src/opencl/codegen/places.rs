//! Where elements lie: the text that goes from positions of a nest to places in memory, and its arguments.

use super::bind_offset;
use crate::error::Result;
use crate::opencl::Launch;
use std::fmt::Write;

/// Strides as the text sees them.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Class {
    Zero,
    One,
    Any,
}

pub(super) fn class(stride: isize) -> Class {
    match stride {
        0 => Class::Zero,
        1 => Class::One,
        _ => Class::Any,
    }
}

/// Declares `q0 …`: the coordinates of position `of` in a nest of `dims` axes.
pub(crate) fn coordinates(of: &str, dims: usize) -> String {
    let mut text = String::new();
    let mut rest = of.to_string();
    for d in (1..dims).rev() {
        let _ = writeln!(text, "  const clan_ix r{d} = CLAN_DIV({rest}, d{d}, m{d}, s{d});");
        let _ = writeln!(text, "  const clan_off q{d} = (clan_off)({rest} - r{d} * d{d});");
        rest = format!("r{d}");
    }
    if dims > 0 {
        let _ = writeln!(text, "  const clan_off q0 = (clan_off){rest};");
    }
    text
}

/// The same of place `j` along the last axis in `row`, an index of all others.
pub(crate) fn row_coordinates(dims: usize) -> String {
    format!("{}  const clan_off q{} = (clan_off)j;\n", coordinates("row", dims - 1), dims - 1)
}

/// The memory position of the coordinates: `offset + Σ q·stride`.
pub(crate) fn position(offset: &str, stride: &str, strides: &[isize]) -> String {
    let mut text = offset.to_string();
    for (d, &s) in strides.iter().enumerate() {
        match class(s) {
            Class::Zero => {}
            Class::One => {
                let _ = write!(text, " + q{d}");
            }
            Class::Any => {
                let _ = write!(text, " + q{d} * {stride}{d}");
            }
        }
    }
    text
}

/// Declares the strides of an output as parameters in the order that [`bind_output`] sets.
pub(crate) fn output_params(strides: &[isize]) -> String {
    let mut text = ", const clan_off oo".to_string();
    for (d, &s) in strides.iter().enumerate() {
        if class(s) == Class::Any {
            let _ = write!(text, ", const clan_off so_{d}");
        }
    }
    text
}

/// The same as arguments.
pub(crate) fn output_args(strides: &[isize]) -> String {
    let mut text = ", oo".to_string();
    for (d, &s) in strides.iter().enumerate() {
        if class(s) == Class::Any {
            let _ = write!(text, ", so_{d}");
        }
    }
    text
}

pub(crate) fn bind_output(
    launch: &mut Launch<'_>,
    offset: usize,
    strides: &[isize],
    wide: bool,
) -> Result<()> {
    bind_offset(launch, offset as isize, wide)?;
    for &s in strides {
        if class(s) == Class::Any {
            bind_offset(launch, s, wide)?;
        }
    }
    Ok(())
}

/// Adds the classes of strides to a program's key.
pub(crate) fn stride_key(key: &mut Vec<u8>, strides: &[isize]) {
    key.extend(strides.iter().map(|&s| class(s) as u8));
}
