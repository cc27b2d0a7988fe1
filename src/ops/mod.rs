//! Operations: a file a family, each with its check, its host half and its OpenCL half.

pub(crate) mod combine;
pub(crate) mod conv2d;
pub(crate) mod copy;
pub(crate) mod gather;
pub(crate) mod groupby;
pub(crate) mod histogram;
pub mod limits;
pub(crate) mod linalg;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod random;
pub(crate) mod reduce;
pub(crate) mod reduction;
pub(crate) mod reproducible;
pub(crate) mod scan;
pub(crate) mod select;
#[cfg(test)]
mod shared_tests;
pub(crate) mod sort;
pub(crate) mod sorted;
pub(crate) mod sparse;
pub(crate) mod stencil;

use crate::device::{Backing, Device};
use crate::error::Result;
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;

/// One call of a family. Leave a half out and it does not compile.
pub(crate) trait Op: Sized {
    type Output;

    /// Refuses what neither half could do: shapes, types, limits. Runs once, before both.
    fn check(&self, device: &Device) -> Result<()>;

    fn host(self) -> Result<Self::Output>;

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<Self::Output>;
}

/// Checks, then runs the half that belongs to the device.
pub(crate) fn run<O: Op>(op: O, device: &Device) -> Result<O::Output> {
    op.check(device)?;
    match device.backing() {
        Backing::Host(_) => op.host(),
        #[cfg(feature = "opencl")]
        Backing::OpenCl(cl) => op.opencl(cl),
    }
}
