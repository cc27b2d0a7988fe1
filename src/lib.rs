//! clan
#![warn(missing_docs)]

mod array;
mod backend;
mod device;
mod element;
mod env;
mod error;
mod expr;
mod host;
mod layout;
#[cfg(feature = "opencl")]
mod opencl;
mod ops;
mod pool;
pub mod verify;

pub use array::{DeviceArray, DeviceArrayViewMut};
pub use backend::MemoryUsage;
pub use device::{Choice, Device, DeviceInfo, DeviceKind, MemorySpaces, OpenClStatus, Select};
pub use element::{DType, Element, Float, Integer, Number};
pub use error::{Error, ErrorKind, Result};
pub use expr::{Expr, IntoExpr, Logic, Signed};
pub use ops::reduce::Reduction;
pub use {half, ndarray};
