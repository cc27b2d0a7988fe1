//! The small parts of factorisations, each for both backends: what the blocked algorithms end in.
//! Kernels: `cl/linalg.cl`. The loops of the host are in `plain.rs`.

use super::plain;
#[cfg(feature = "opencl")]
use super::shape::{Arg, PANEL, Shape};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::host::eval::SharedOut;
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
use crate::ops::Op;

/// The first word of a status: the least index that failed, `NONE` where all is well. The second: not
/// `NONE` when a panel was given up.
pub(super) const NONE: i32 = i32::MAX;

/// What the host writes through; null for a buffer of another backend, which never comes here.
fn pointer(buffer: &mut Buffer) -> SharedOut {
    SharedOut(buffer.host_mut().map_or(std::ptr::null_mut(), |b| b.ptr_mut()))
}

fn reader(buffer: &Buffer) -> SharedOut {
    SharedOut(buffer.host().map_or(std::ptr::null_mut(), |b| b.ptr().cast_mut()))
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

impl Op for Substitute<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let t = self.t.buffer.map_or_else(|| reader(self.out), reader);
        let (x, status) = (pointer(self.out), pointer(self.status));
        // SAFETY: the vectors and the triangle lie inside their buffers and beside each other; the
        // status has its two words.
        with_real!(self.dtype, T => unsafe {
            plain::substitute::<T>(x, &self.x, t, &self.t, self.size, status);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
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
        unsafe { shape.launch(device, self.op, (0, "substitute"), &args, groups, group) }
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

impl Op for CholeskyLeaf<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let (a, status) = (pointer(self.out), pointer(self.status));
        // SAFETY: the leaf lies inside its buffer; the status has its two words.
        with_real!(self.dtype, T => unsafe {
            plain::cholesky::<T>(a, self.place, self.size, status, self.base);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
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
        unsafe { shape.launch(device, self.op, (1, "cholesky_leaf"), &args, [1, 1], group) }
    }
}

/// How groups that share a panel of LU talk to each other.
#[cfg(feature = "opencl")]
pub(super) struct Mail<'a> {
    pub buffer: &'a mut Buffer,
    /// Another one for every panel of a factorisation.
    pub tag: u32,
    /// Reads before a group gives up.
    pub spins: u32,
}

/// LU of a panel with partial pivoting.
pub(super) struct LuPanel<'a> {
    pub op: &'static str,
    pub dtype: DType,
    pub out: &'a mut Buffer,
    pub place: Place,
    pub rows: usize,
    /// `PANEL` at most, and not more than rows.
    pub width: usize,
    /// Gets what was done to the rows: `2 * PANEL` words.
    pub moves: &'a mut Buffer,
    pub status: &'a mut Buffer,
    pub base: usize,
    /// Absent: one group does it.
    #[cfg(feature = "opencl")]
    pub mail: Option<Mail<'a>>,
}

impl Op for LuPanel<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let (a, status, moves) = (pointer(self.out), pointer(self.status), pointer(self.moves));
        // SAFETY: the panel lies inside its buffer; status and moves have their words.
        with_real!(self.dtype, T => unsafe {
            plain::lu_panel::<T>(a, self.place, [self.rows, self.width], moves, status, self.base);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
        let mut args = vec![
            Arg::Out(self.out),
            Arg::Long(self.place.at as i64),
            Arg::Long(self.place.row as i64),
            Arg::Uint(self.rows as u32),
            Arg::Uint(self.width as u32),
            Arg::Out(self.moves),
            Arg::Out(self.status),
            Arg::Int(self.base as i32),
        ];
        let groups = shape.groups(self.rows);
        let held = groups.filter(|&g| g == 1 || self.mail.is_some());
        let Some(groups) = held else {
            let kernel = (3, "lu_panel_one");
            // SAFETY: the arguments are those of `lu_panel_one`, which stays inside the panel.
            return unsafe { shape.launch(device, self.op, kernel, &args, [1, 1], shape.group) };
        };
        let (buffer, tag, spins) = match &self.mail {
            Some(mail) => (&*mail.buffer, mail.tag, mail.spins),
            // One group writes no letters; any buffer will do.
            None => (&*self.moves, 1, 0),
        };
        let quad = 16 / self.dtype.size();
        let lines = self.width == PANEL
            && self.place.at.is_multiple_of(quad)
            && self.place.row.is_multiple_of(quad);
        args.extend([Arg::Out(buffer), Arg::Uint(tag), Arg::Uint(spins)]);
        args.push(Arg::Uint(u32::from(lines)));
        // SAFETY: the arguments are those of `lu_panel`, which stays inside the panel; the mail has
        // room for as many groups.
        unsafe { shape.launch(device, self.op, (2, "lu_panel"), &args, [groups, 1], shape.group) }
    }
}

/// Moves the rows of all other columns as a panel moved its own.
pub(super) struct Exchange<'a> {
    pub op: &'static str,
    pub dtype: DType,
    pub out: &'a mut Buffer,
    /// The panel's first row, in column 0.
    pub place: Place,
    pub columns: usize,
    /// The panel's first column.
    pub skip: usize,
    pub width: usize,
    pub moves: &'a Buffer,
    /// The list of rows, words of 32 bits, and the place of the panel's first.
    pub order: &'a mut Buffer,
    pub order_at: usize,
}

impl Op for Exchange<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let (a, order, moves) = (pointer(self.out), pointer(self.order), reader(self.moves));
        let (columns, skip, width) = (self.columns, self.skip, self.width);
        // SAFETY: rows that moves name lie inside the matrix and the list.
        with_real!(self.dtype, T => unsafe {
            plain::exchange::<T>(a, self.place, [columns, skip, width], moves, order, self.order_at);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
        let args = [
            Arg::Out(self.out),
            Arg::Long(self.place.at as i64),
            Arg::Long(self.place.row as i64),
            Arg::Uint(self.columns as u32),
            Arg::Uint(self.skip as u32),
            Arg::In(self.moves),
            Arg::Uint(self.width as u32),
            Arg::Out(self.order),
            Arg::Long(self.order_at as i64),
        ];
        // Small groups: a work-item has many rows in flight, and there are few columns.
        let group = if shape.flat { shape.wide } else { shape.vectors };
        let groups = (self.columns - self.width + 1).div_ceil(group);
        let kernel = (4, "exchange_rows");
        // SAFETY: the arguments are those of `exchange_rows`; the moves name rows of the panel.
        unsafe { shape.launch(device, self.op, kernel, &args, [groups, 1], group) }
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

impl Op for Side<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let from = self.from.map(|(buffer, place)| (reader(buffer), place));
        let scale = self.scale.map(|(buffer, at)| (reader(buffer), at));
        let size = [self.rows, self.columns];
        // SAFETY: all parts lie inside their buffers.
        with_real!(self.dtype, T => unsafe {
            plain::side::<T>(pointer(self.out), self.at, size, from, self.keep, scale);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
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
        unsafe { shape.launch(device, self.op, (5, "triangle"), &args, groups, shape.wide) }
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

impl Op for Gather<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let (from, order) = (reader(self.from), reader(self.order));
        // SAFETY: the list has `rows` rows of the matrix, which lies inside its buffer.
        with_real!(self.dtype, T => unsafe { plain::gather::<T>(self, from, order) });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
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
        unsafe { shape.launch(device, self.op, (5, "gather_rows"), &args, groups, shape.wide) }
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

impl Op for Scale<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let (a, scale) = (pointer(self.out), pointer(self.scale));
        let size = [self.rows, self.columns];
        // SAFETY: the matrix and its factors lie inside their buffers.
        with_real!(self.dtype, T => unsafe {
            plain::scale_columns::<T>(a, self.at, size, scale, self.scale_at);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
        let args = [
            Arg::Out(self.out),
            Arg::Long(self.at as i64),
            Arg::Uint(self.rows as u32),
            Arg::Uint(self.columns as u32),
            Arg::Out(self.scale),
            Arg::Long(self.scale_at as i64),
        ];
        let groups = [self.columns.div_ceil(shape.wide), 1];
        let kernel = (5, "column_scales");
        // SAFETY: as above, and the arguments are those of `column_scales`.
        unsafe { shape.launch(device, self.op, kernel, &args, groups, shape.wide) }
    }
}

/// QR of a panel whose columns have been scaled.
pub(super) struct QrPanel<'a> {
    pub op: &'static str,
    pub dtype: DType,
    pub out: &'a mut Buffer,
    pub place: Place,
    pub rows: usize,
    /// `PANEL` at most, and not more than rows.
    pub width: usize,
    /// Gets the vectors, with ones and zeros.
    pub v: &'a mut Buffer,
    pub v_place: Place,
    /// Gets the triangle, `width` squared elements from `t_at`.
    pub t: &'a mut Buffer,
    pub t_at: usize,
}

impl Op for QrPanel<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)
    }

    fn host(self) -> Result<()> {
        let (a, v, t) = (pointer(self.out), pointer(self.v), pointer(self.t));
        let size = [self.rows, self.width];
        // SAFETY: panel, vectors and triangle lie inside their buffers.
        with_real!(self.dtype, T => unsafe {
            plain::qr_panel::<T>(a, self.place, size, v, self.v_place, t, self.t_at);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let shape = Shape::of(device, self.dtype);
        let args = [
            Arg::Out(self.out),
            Arg::Long(self.place.at as i64),
            Arg::Long(self.place.row as i64),
            Arg::Uint(self.rows as u32),
            Arg::Uint(self.width as u32),
            Arg::Out(self.v),
            Arg::Long(self.v_place.at as i64),
            Arg::Long(self.v_place.row as i64),
            Arg::Out(self.t),
            Arg::Long(self.t_at as i64),
        ];
        // As many slices of the rows as a group has room for: one group does it all.
        let group = match shape.flat {
            true => 1,
            false => 1 << device.info.max_work_group.clamp(1, 1024).ilog2(),
        };
        // SAFETY: as above, and the arguments are those of `qr_panel`.
        unsafe { shape.launch(device, self.op, (6, "qr_panel"), &args, [1, 1], group) }
    }
}
