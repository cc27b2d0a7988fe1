//! The small parts of factorisations, each for both backends: what the blocked algorithms end in.
//! Kernels: `cl/linalg.cl`. The loops of the host are in `plain.rs` and `plain_qr.rs`.

#[cfg(feature = "opencl")]
use super::shape::{Arg, Kernel, Shape};
use super::{plain, plain_qr};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::host::eval::SharedOut;
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
use crate::ops::{self, Op};

/// The first word of a status: the least index that failed, `NONE` where all is well. The second: not
/// `NONE` when a panel was given up.
pub(super) const NONE: i32 = i32::MAX;

/// What the host writes through; null for a buffer of another backend, which never comes here.
pub(super) fn pointer(buffer: &mut Buffer) -> SharedOut {
    SharedOut(buffer.host_mut().map_or(std::ptr::null_mut(), |b| b.ptr_mut()))
}

pub(super) fn reader(buffer: &Buffer) -> SharedOut {
    SharedOut(buffer.host().map_or(std::ptr::null_mut(), |b| b.ptr().cast_mut()))
}

/// A small part of a factorisation, in both halves. What calls it has checked the shapes.
pub(super) trait Leaf: Sized {
    /// What errors name, and the type of the elements.
    fn about(&self) -> (&'static str, DType);

    fn host(self);

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()>;
}

/// Runs the half that belongs to the device.
pub(super) fn run<L: Leaf>(leaf: L, device: &Device) -> Result<()> {
    ops::run(Call(leaf), device)
}

struct Call<L>(L);

impl<L: Leaf> Op for Call<L> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        let (op, dtype) = self.0.about();
        device.require(op, dtype)
    }

    fn host(self) -> Result<()> {
        self.0.host();
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.0.about().1);
        self.0.opencl(device, &shape)
    }
}

/// Calls a function of the element type.
macro_rules! with_real {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}

pub(super) use with_real;

/// A leaf or a panel: where it starts, and the elements from one row to the next.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub at: usize,
    pub row: usize,
}

/// A triangle to solve with: lower, by strides that may be negative.
#[derive(Clone, Copy)]
pub(super) struct Lower<'a> {
    /// `None`: the buffer of the right-hand sides, beside which it lies.
    pub buffer: Option<&'a Buffer>,
    pub at: usize,
    pub row: isize,
    pub column: isize,
    pub unit: bool,
    /// What unknown 0 is called in messages, and the step to the next.
    pub base: usize,
    pub direction: i32,
}

/// Right-hand sides, which become the solutions.
#[derive(Clone, Copy)]
pub(super) struct Vectors {
    pub at: usize,
    /// From one element of a vector to the next.
    pub step: isize,
    /// From one vector to the next.
    pub next: isize,
    pub count: usize,
}

/// Solves with a triangle of `size` rows, a leaf at most. Notes the first zero on its diagonal.
pub(super) struct Substitute<'a> {
    pub op: &'static str,
    pub dtype: DType,
    pub out: &'a mut Buffer,
    pub x: Vectors,
    pub t: Lower<'a>,
    pub size: usize,
    pub status: &'a mut Buffer,
}

impl Leaf for Substitute<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let t = self.t.buffer.map_or_else(|| reader(self.out), reader);
        let (x, status) = (pointer(self.out), pointer(self.status));
        // SAFETY: the vectors and the triangle lie inside their buffers and beside each other; the
        // status has its two words.
        with_real!(self.dtype, T => unsafe {
            plain::substitute::<T>(x, &self.x, t, &self.t, self.size, status);
        });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
        let (x, t) = (self.x, self.t);
        let quad = 16 / self.dtype.size();
        let lines = x.step == 1
            && self.size == shape.leaf
            && x.at.is_multiple_of(quad)
            && x.next % quad as isize == 0;
        let args = [
            Arg::Out(self.out),
            Arg::Long(x.at as i64),
            Arg::Long(x.step as i64),
            Arg::Long(x.next as i64),
            Arg::Uint(x.count as u32),
            Arg::In(t.buffer.unwrap_or(self.out)),
            Arg::Long(t.at as i64),
            Arg::Long(t.row as i64),
            Arg::Long(t.column as i64),
            Arg::Uint(self.size as u32),
            Arg::Uint(u32::from(t.unit)),
            Arg::Out(self.status),
            Arg::Int(t.base as i32),
            Arg::Int(t.direction),
            Arg::Uint(u32::from(lines)),
        ];
        let groups = [x.count.div_ceil(shape.vectors), 1];
        let group = if shape.flat { 1 } else { shape.vectors };
        // SAFETY: the arguments are those of `substitute`, which touches `size` elements of `count`
        // vectors and the triangle, all inside their buffers.
        unsafe { shape.launch(device, self.op, Kernel::new(0, "substitute"), &args, groups, group) }
    }
}

/// Cholesky of a leaf.
pub(super) struct CholeskyLeaf<'a> {
    pub op: &'static str,
    pub dtype: DType,
    pub out: &'a mut Buffer,
    pub place: Place,
    pub size: usize,
    pub status: &'a mut Buffer,
    /// What row 0 is called in messages.
    pub base: usize,
}

impl Leaf for CholeskyLeaf<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let (a, status) = (pointer(self.out), pointer(self.status));
        // SAFETY: the leaf lies inside its buffer; the status has its two words.
        with_real!(self.dtype, T => unsafe {
            plain::cholesky::<T>(a, self.place, self.size, status, self.base);
        });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
        let args = [
            Arg::Out(self.out),
            Arg::Long(self.place.at as i64),
            Arg::Long(self.place.row as i64),
            Arg::Uint(self.size as u32),
            Arg::Out(self.status),
            Arg::Int(self.base as i32),
        ];
        let group = if shape.flat { 1 } else { shape.leaf * 4 };
        // SAFETY: the arguments are those of `cholesky_leaf`, which stays inside the leaf.
        unsafe {
            shape.launch(device, self.op, Kernel::new(1, "cholesky_leaf"), &args, [1, 1], group)
        }
    }
}

/// Which side of the diagonal stays, as `triangle` counts them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Lower = 0,
    Upper = 1,
    UnitLower = 2,
}

/// One side of a matrix, zeros on the other.
pub(super) struct Side<'a> {
    pub op: &'static str,
    pub dtype: DType,
    /// Row-major, `columns` elements a row, from `at`.
    pub out: &'a mut Buffer,
    pub at: usize,
    pub rows: usize,
    pub columns: usize,
    /// `None`: `out` itself.
    pub from: Option<(&'a Buffer, Place)>,
    pub keep: Keep,
    /// Divides columns, from a place on.
    pub scale: Option<(&'a Buffer, usize)>,
}

impl Leaf for Side<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let from = self.from.map(|(buffer, place)| (reader(buffer), place));
        let scale = self.scale.map(|(buffer, at)| (reader(buffer), at));
        let size = [self.rows, self.columns];
        // SAFETY: all parts lie inside their buffers.
        with_real!(self.dtype, T => unsafe {
            plain::side::<T>(pointer(self.out), self.at, size, from, self.keep, scale);
        });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
        let in_place = (&*self.out, Place { at: self.at, row: self.columns });
        let (from, place) = self.from.unwrap_or(in_place);
        let (scale, scale_at) = self.scale.unwrap_or((from, 0));
        let args = [
            Arg::Out(self.out),
            Arg::Long(self.at as i64),
            Arg::Uint(self.columns as u32),
            Arg::In(from),
            Arg::Long(place.at as i64),
            Arg::Long(place.row as i64),
            Arg::Uint(self.keep as u32),
            Arg::Uint(u32::from(self.from.is_none())),
            Arg::In(scale),
            Arg::Long(scale_at as i64),
            Arg::Uint(u32::from(self.scale.is_some())),
        ];
        let groups = [self.columns.div_ceil(shape.wide), self.rows];
        // SAFETY: the arguments are those of `triangle`, and all parts lie inside their buffers.
        unsafe {
            shape.launch(device, self.op, Kernel::new(5, "triangle"), &args, groups, shape.wide)
        }
    }
}

/// Rows of a matrix in the order of a list of `u64`.
pub(super) struct Gather<'a> {
    pub op: &'static str,
    pub dtype: DType,
    /// Row-major, `columns` elements a row, from `at`.
    pub out: &'a mut Buffer,
    pub at: usize,
    pub rows: usize,
    pub columns: usize,
    pub from: &'a Buffer,
    pub from_at: usize,
    pub from_row: isize,
    pub from_column: isize,
    pub order: &'a Buffer,
    pub order_at: usize,
}

impl Leaf for Gather<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let (from, order) = (reader(self.from), reader(self.order));
        // SAFETY: the list has `rows` rows of the matrix, which lies inside its buffer.
        with_real!(self.dtype, T => unsafe { plain::gather::<T>(self, from, order) });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
        let args = [
            Arg::Out(self.out),
            Arg::Long(self.at as i64),
            Arg::Uint(self.columns as u32),
            Arg::In(self.from),
            Arg::Long(self.from_at as i64),
            Arg::Long(self.from_row as i64),
            Arg::Long(self.from_column as i64),
            Arg::In(self.order),
            Arg::Long(self.order_at as i64),
        ];
        let groups = [self.columns.div_ceil(shape.wide), self.rows];
        // SAFETY: as above, and the arguments are those of `gather_rows`.
        unsafe {
            shape.launch(device, self.op, Kernel::new(5, "gather_rows"), &args, groups, shape.wide)
        }
    }
}

impl Gather<'_> {
    /// Where the host writes.
    pub fn target(&mut self) -> SharedOut {
        pointer(self.out)
    }
}

/// Brings the greatest magnitude of every column near 1 and notes the factors, powers of two.
pub(super) struct Scale<'a> {
    pub op: &'static str,
    pub dtype: DType,
    /// Row-major, `columns` elements a row, from `at`.
    pub out: &'a mut Buffer,
    pub at: usize,
    pub rows: usize,
    pub columns: usize,
    pub scale: &'a mut Buffer,
    pub scale_at: usize,
}

impl Leaf for Scale<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let (a, scale) = (pointer(self.out), pointer(self.scale));
        let size = [self.rows, self.columns];
        // SAFETY: the matrix and its factors lie inside their buffers.
        with_real!(self.dtype, T => unsafe {
            plain_qr::scale_columns::<T>(a, self.at, size, scale, self.scale_at);
        });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
        let args = [
            Arg::Out(self.out),
            Arg::Long(self.at as i64),
            Arg::Uint(self.rows as u32),
            Arg::Uint(self.columns as u32),
            Arg::Out(self.scale),
            Arg::Long(self.scale_at as i64),
        ];
        let groups = [self.columns.div_ceil(shape.wide), 1];
        let kernel = Kernel::new(5, "column_scales");
        // SAFETY: as above, and the arguments are those of `column_scales`.
        unsafe { shape.launch(device, self.op, kernel, &args, groups, shape.wide) }
    }
}
