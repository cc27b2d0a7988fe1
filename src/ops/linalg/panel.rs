//! Panels of LU and QR, and the exchanges of rows that follow the first, for both backends. Kernels:
//! `cl/linalg.cl`. The loops of the host are in `plain.rs` and `plain_qr.rs`.

use super::leaf::{Leaf, Place, pointer, reader, with_real};
#[cfg(feature = "opencl")]
use super::shape::{Arg, Kernel, PANEL, Shape};
use super::{plain, plain_qr};
use crate::backend::Buffer;
use crate::element::DType;
#[cfg(feature = "opencl")]
use crate::{error::Result, opencl::ClDevice};

/// How groups that share a panel of LU talk to each other.
#[cfg(feature = "opencl")]
pub(super) struct Mail<'a> {
    pub buffer: &'a mut Buffer,
    /// Another one for every panel of a factorisation.
    pub tag: u32,
    /// Reads before a group gives up.
    pub spins: u32,
    /// Whether work-items compare by one instruction.
    pub redux: bool,
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

impl Leaf for LuPanel<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let (a, status, moves) = (pointer(self.out), pointer(self.status), pointer(self.moves));
        // SAFETY: the panel lies inside its buffer; status and moves have their words.
        with_real!(self.dtype, T => unsafe {
            plain::lu_panel::<T>(a, self.place, [self.rows, self.width], moves, status, self.base);
        });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
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
        let shares = shape.shares(self.rows).filter(|s| s.groups == 1 || self.mail.is_some());
        let Some(shares) = shares else {
            let kernel = Kernel::new(3, "lu_panel_one");
            // SAFETY: the arguments are those of `lu_panel_one`, which stays inside the panel.
            return unsafe { shape.launch(device, self.op, kernel, &args, [1, 1], shape.group) };
        };
        let (buffer, tag, spins, redux) = match &self.mail {
            Some(mail) => (&*mail.buffer, mail.tag, mail.spins, mail.redux),
            // One group writes no letters; any buffer will do.
            None => (&*self.moves, 1, 0, false),
        };
        let quad = 16 / self.dtype.size();
        let lines = self.width == PANEL
            && self.place.at.is_multiple_of(quad)
            && self.place.row.is_multiple_of(quad);
        args.extend([Arg::Out(buffer), Arg::Uint(tag), Arg::Uint(spins)]);
        args.push(Arg::Uint(u32::from(lines)));
        let kernel = shares.kernel(redux);
        // SAFETY: the arguments are those of `lu_panel`, which stays inside the panel; the mail has
        // room for as many groups.
        unsafe { shape.launch(device, self.op, kernel, &args, [shares.groups, 1], shares.team()) }
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

impl Leaf for Exchange<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let (a, order, moves) = (pointer(self.out), pointer(self.order), reader(self.moves));
        let (columns, skip, width) = (self.columns, self.skip, self.width);
        // SAFETY: rows that moves name lie inside the matrix and the list.
        with_real!(self.dtype, T => unsafe {
            plain::exchange::<T>(a, self.place, [columns, skip, width], moves, order, self.order_at);
        });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
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
        let kernel = Kernel::new(4, "exchange_rows");
        // SAFETY: the arguments are those of `exchange_rows`; the moves name rows of the panel.
        unsafe { shape.launch(device, self.op, kernel, &args, [groups, 1], group) }
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

impl Leaf for QrPanel<'_> {
    fn about(&self) -> (&'static str, DType) {
        (self.op, self.dtype)
    }

    fn host(self) {
        let (a, v, t) = (pointer(self.out), pointer(self.v), pointer(self.t));
        let size = [self.rows, self.width];
        // SAFETY: panel, vectors and triangle lie inside their buffers.
        with_real!(self.dtype, T => unsafe {
            plain_qr::qr_panel::<T>(a, self.place, size, v, self.v_place, t, self.t_at);
        });
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice, shape: &Shape) -> Result<()> {
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
            true => shape.group,
            false => 1 << device.info.max_work_group.clamp(1, 1024).ilog2(),
        };
        // SAFETY: as above, and the arguments are those of `qr_panel`.
        unsafe { shape.launch(device, self.op, Kernel::new(6, "qr_panel"), &args, [1, 1], group) }
    }
}
