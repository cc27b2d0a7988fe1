//! N-dimensional arrays that compute on any OpenCL device, and on the CPU where there is none.
//!
//! A [`Device`] is an OpenCL device or the host, this process's cores through rayon. A
//! [`DeviceArray`] lives on one device. Arithmetic on arrays builds an [`Expr`], which is computed
//! in one pass when [`Expr::eval`] or a reduction asks for it.
//!
//! # A tour
//!
//! ```
//! use clan::{Device, DeviceArray, ndarray::{Axis, array, s}};
//!
//! // Every call has the same meaning on every device; this page uses the one that is always there.
//! let device = Device::host();
//!
//! // Arrays come from ndarrays, slices, constants and ranges, and go back the same way.
//! let a = DeviceArray::from_ndarray(&device, &array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]])?;
//! let b = DeviceArray::<f32>::ones(&device, 3)?;
//! assert_eq!(a.t().to_ndarray()?, array![[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]].into_dyn());
//!
//! // Views share memory; a write copies first when somebody else sees it.
//! let mut c = a.clone();
//! c.slice_mut(s![.., ..;2])?.fill(0.0)?;
//! assert_eq!(c.to_vec()?, [0.0, 2.0, 0.0, 0.0, 5.0, 0.0]);
//! assert_eq!(a.slice(s![1, ..;-1])?.to_vec()?, [6.0, 5.0, 4.0]);
//!
//! // Operands broadcast as in NumPy; types are cast on request only.
//! let e = (&a * 2.0 + &b).sqrt();
//! let near = e.lt(3.0f32).if_else(&e, 0.0f32).cast::<i32>();
//! assert_eq!(near.eval()?.to_vec()?, [1, 2, 2, 0, 0, 0]);
//!
//! // Reductions take an expression in without computing it first.
//! assert_eq!((&a * &a).sum()?.item()?, 91.0);
//! assert_eq!(a.max_axis(Axis(0))?.to_vec()?, [4.0, 5.0, 6.0]);
//! let centred = (&a - a.over(&[Axis(1)]).keepdims().mean()?).eval()?;
//! assert_eq!(centred.to_vec()?, [-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]);
//!
//! // Arrays of indices read, write and add; `scatter_add` counts every value.
//! let i = DeviceArray::from_slice(&device, &[2i32, 0, -1])?;
//! assert_eq!(a.take_axis(Axis(1), &i)?.to_vec()?, [3.0, 1.0, 3.0, 6.0, 4.0, 6.0]);
//! let mut sums = DeviceArray::<f32>::zeros(&device, 3)?;
//! sums.scatter_add(&i, 1.5)?;
//! assert_eq!(sums.to_vec()?, [1.5, 0.0, 3.0]);
//!
//! // Mistakes are values: operators keep them until somebody asks for the result.
//! let wrong = (&a + &centred.slice(s![.., 1..])?).eval();
//! assert!(wrong.is_err_and(|e| e.is_shape()));
//! # Ok::<(), clan::Error>(())
//! ```
//!
//! # Random numbers and histograms
//!
//! [`Random`] draws numbers that are the same for a seed on every device. [`Expr::histogram`],
//! [`Expr::histogram_edges`] and [`Expr::bincount`] count where elements lie,
//! [`Expr::group_by`] adds up those that have the same key, [`Expr::group_by_key`] also where keys are no
//! small numbers.
//!
//! # Sorting
//!
//! [`DeviceArray::sorted`] sorts along an axis, [`DeviceArray::top_k`] finds the greatest without sorting
//! the rest, [`DeviceArray::searchsorted`] and [`DeviceArray::merge`] work on sorted vectors,
//! [`DeviceArray::unique`] finds distinct elements.
//!
//! # Devices
//!
//! [`Device::all`] lists the host and every OpenCL device, [`Device::best`] chooses (the GPU with the
//! most memory, else the host, unless the environment variable `CLAN_DEVICE` names another),
//! [`Device::select`] finds one by name. Nothing is needed to be installed: without an OpenCL library,
//! without drivers, without devices the list is the host alone, and [`Device::opencl_status`] says
//! which of these it is. OpenCL is looked up at the first call that needs it, once a process.
//!
//! # Order
//!
//! On an OpenCL device a call that computes returns when the work has been handed over. Calls that
//! read ([`DeviceArray::item`], [`DeviceArray::to_vec`], [`DeviceArray::to_ndarray`]) wait for what
//! they read; [`Device::wait`] waits for everything. Whatever one call writes and another uses is
//! ordered, on one thread or on several; a failure that a device reports late is returned by the
//! next read of what it spoiled, under the name of the operation that failed. On the host every
//! call has finished when it returns.
//!
//! # Groups
//!
//! A [`Group`] of devices broadcasts, gathers and combines arrays, one a member, whatever the members are:
//! GPUs of several makers, the host, one device twice. Its calls return at once, and their results
//! can be used right away.
//!
//! # Memory
//!
//! Freed arrays stay in a pool of their device, which the next arrays are made from;
//! [`Device::usage`] tells how much that is and [`Device::trim`] gives it back. Before a device is
//! said to be out of memory its pool has been emptied. [`Device::memory`] has the sizes:
//!
//! | OpenCL | CUDA | seen by | used for |
//! |---|---|---|---|
//! | `private` | registers | one work-item | accumulators, elements in flight |
//! | `local` | shared | one work-group | tiles, joining the parts of a reduction |
//! | `constant` | constant | all, read only | filter coefficients, small tables |
//! | `global` | global | all | arrays |
//!
//! What each of them is worth, step by step and measured, is on the page [`memory_spaces`].
//!
//! # Elements
//!
//! [`DType`] lists the types. Integers wrap, and divided by zero give 0; casts are Rust's `as`; NaN
//! wins in minima and maxima; `f16` and `bf16` are stored as such and computed in `f32`; `f64` is
//! computed where the device has it. Integer sums have 64 bits ([`Number::Sum`]), means are floats
//! ([`Number::Mean`]), positions are `u64`. The README has the whole list.
//!
//! # Features
//!
//! `opencl` and `loader` are on by default. Without `loader` the program is linked to libOpenCL in the
//! ordinary way; without `opencl` there is the host alone, behind the same API. `cli` adds the
//! command-line program `clan`.
//!
//! # Environment
//!
//! `CLAN_DEVICE` names the device of [`Device::best`]. `CLAN_CACHE_DIR` is where compiled kernels are
//! kept between processes, `CLAN_CACHE=off` keeps none. `CLAN_OPENCL_LIBRARY` names the OpenCL library
//! to load.
//!
//! How it is made, and why so, is on the page [`architecture`].
#![warn(missing_docs)]

mod array;
mod backend;
mod device;
mod element;
mod env;
mod error;
mod expr;
pub mod group;
mod host;
mod layout;
#[cfg(feature = "opencl")]
mod opencl;
mod ops;
mod pool;
mod split;
#[cfg(feature = "opencl")]
pub mod tune;
pub mod verify;

pub use array::{DeviceArray, DeviceArrayViewMut};
pub use backend::MemoryUsage;
pub use device::{Choice, Device, DeviceInfo, DeviceKind, MemorySpaces, OpenClStatus, Select};
pub use element::{DType, Element, Float, Integer, Number};
pub use error::{Error, ErrorKind, Result};
pub use expr::{Expr, IntoExpr, Logic, Signed};
pub use group::{
    Boundary, Call, Chunks, Explanation, Group, Halo, IntoSharded, Operator, ReduceOp, Reduced,
    Replicated, ShardedArray, ShardedExpr, ShardedReduction, UserOp, Work,
};
pub use ops::conv2d::Border;
pub use ops::gather::{IndexElement, Pad, Scatter};
pub use ops::groupby::GroupBy;
#[doc(hidden)]
pub use ops::limits;
pub use ops::linalg::{Diagonal, Lu, Real, Triangle};
pub use ops::matmul::{Precision, Product};
pub use ops::random::Random;
pub use ops::reduction::Reduction;
pub use ops::scan::Scan;
pub use ops::sort::Sort;
pub use ops::sorted::Side;
pub use ops::sparse::SparseMatrix;
pub use ops::stencil::{Around, ConvMode, Stencil};
pub use {half, ndarray};

/// The README's programs, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(doc)]
#[doc = include_str!("README.md")]
pub mod architecture {}

#[cfg(doc)]
#[doc = include_str!("memory_spaces.md")]
pub mod memory_spaces {}
