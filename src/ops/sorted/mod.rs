//! `sorted`: what needs vectors in order or looks for order: searches, merges, distinct elements, groups
//! by any keys. Kernels: `cl/sorted.cl`.

pub(crate) mod group;
mod merge;
pub(crate) mod order;
mod search;
#[cfg(test)]
mod tests;
mod unique;

pub use search::Side;

use crate::array::{DeviceArray, RawArray};
use crate::element::{DType, Element};
use crate::error::{Error, Result};
use crate::ops::copy;
use crate::ops::sort::Order;
#[cfg(feature = "opencl")]
use crate::{
    device::DeviceKind,
    opencl::{ClDevice, Point, codegen, program::Program},
    ops::sort::opencl as sorts,
};
#[cfg(feature = "opencl")]
use std::sync::Arc;

/// The kernels' text.
#[cfg(feature = "opencl")]
const SOURCE: &str = include_str!("../../../cl/sorted.cl");

/// The elements of a vector without gaps.
fn vector<T: Element>(op: &'static str, name: &str, array: &DeviceArray<T>) -> Result<RawArray> {
    match array.ndim() {
        1 => copy::contiguous(array.raw()?),
        _ => Err(Error::shape(
            op,
            format!("{name} has shape {:?} and must have one axis; use `reshape`", array.shape()),
        )),
    }
}

/// The order of keys that are searched and merged.
fn ascending(dtype: DType) -> Order {
    Order { dtype, descending: false }
}

/// How elements are shared among work-items.
#[cfg(feature = "opencl")]
#[derive(Clone, Copy)]
struct Shape {
    group: usize,
    /// Elements that a work-item of a group merges.
    each: usize,
    /// Values that a work-item looks for at a time, and how often it does.
    searches: usize,
    rounds: usize,
}

#[cfg(feature = "opencl")]
impl Shape {
    fn of(device: &ClDevice, key: usize, load: Option<usize>) -> Shape {
        if device.launch_kind == DeviceKind::Cpu {
            return Shape { group: 1, each: 1, searches: 8, rounds: 16 };
        }
        let group = device.point.group;
        // Keys and, with a payload, where they came from: room for several groups a compute unit.
        let bytes = |each: usize| group * each * (key + 2 * usize::from(load.is_some()));
        let room = (device.local_bytes() as usize).min(24 << 10);
        let each = [15, 7, 3].into_iter().find(|&each| bytes(each) <= room).unwrap_or(1);
        Shape { group, each, searches: 4, rounds: 1 }
    }

    /// Whether places need 64 bits: the last tile may reach beyond the end.
    fn wide(n: usize) -> bool {
        n > i32::MAX as usize / 2
    }

    fn program(
        self,
        device: &ClDevice,
        op: &'static str,
        keys: DType,
        load: Option<usize>,
        wide: bool,
    ) -> Result<Arc<Program>> {
        let Shape { group, each, searches, rounds } = self;
        let size = load.unwrap_or(0);
        let mut key = vec![keys as u8, size as u8, each as u8, u8::from(wide)];
        key.extend((group as u16).to_le_bytes());
        device.programs.get(device, op, ("sorted", key), || {
            [
                codegen::defines(device, wide, Point { group, ..device.point }),
                codegen::PRELUDE.to_string(),
                types(keys, load),
                format!(
                    "#define CLAN_EACH {each}\n#define CLAN_SEARCHES {searches}\n#define CLAN_ROUNDS {rounds}\n"
                ),
                SOURCE.to_string(),
            ]
            .concat()
        })
    }
}

/// What comes between the prelude and the file, for keys of a type and a payload of so many bytes.
#[cfg(feature = "opencl")]
pub(crate) fn types(keys: DType, load: Option<usize>) -> String {
    sorts::types(ascending(keys), u8::from(load.is_some()), load.unwrap_or(4))
}
