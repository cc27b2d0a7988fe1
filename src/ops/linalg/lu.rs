//! LU with partial pivoting: halves of the columns. The left half is factored with its pivots, rows
//! are exchanged everywhere, the top of the right half is solved for, the product taken from the
//! rest, and that factored.

use super::block::{Work, cut};
use super::leaf::{Place, run};
use super::panel::{Exchange, LuPanel};
use super::shape::{self, PANEL};
use super::status::{Status, filled, owned};
use super::triangular::{self, Triangular};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::error::Result;
use crate::ops::copy;
use std::sync::Arc;
#[cfg(feature = "opencl")]
use {
    super::{panel::Mail, shape::Shape},
    crate::device::{Backing, DeviceKind},
    crate::element::DType,
    crate::opencl::{ClDevice, Verdict},
};

/// Reads of the mail before a group gives up: a tenth of a second or so, where a word takes a
/// microsecond.
#[cfg(feature = "opencl")]
const SPINS: u32 = 1 << 17;

/// How panels too tall for one group's registers are factored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Together {
    /// By several groups where the device was seen to run them at a time.
    IfProven,
    /// By one group.
    Never,
    /// By several groups, which give up after so many reads.
    #[cfg(all(test, feature = "opencl"))]
    Spins(u32),
}

/// The factors of one array of matrices.
pub(super) struct Factors {
    /// L below the diagonal, U on and above it; row-major.
    pub lu: RawArray,
    /// Of each matrix, which row of it came where.
    pub orders: Vec<Vec<u32>>,
    /// Of each matrix, the first column whose pivot is zero.
    pub singular: Vec<Option<usize>>,
}

/// Factors every matrix of `a`.
pub(super) fn factor(op: &'static str, a: &RawArray, together: Together) -> Result<Factors> {
    let shape = &a.layout.shape;
    let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let count = shape[..shape.len() - 2].iter().product();
    let lu = copy::contiguous_copy(a)?;
    let mut made =
        Factors { orders: vec![(0..m as u32).collect(); count], singular: vec![None; count], lu };
    if m == 0 || n == 0 || count == 0 {
        return Ok(made);
    }
    let device = a.device().clone();
    let mut matrices = Vec::with_capacity(count);
    let mut run =
        Some(Work { op, buffer: made.lu.buffer.clone(), dtype: a.dtype, offset: 0, row: n });
    // The buffer is the work's alone meanwhile.
    drop(std::mem::replace(&mut made.lu.buffer, filled(&device, 0, 0u8)?));
    let mut given_up = false;
    if let Some(w) = &mut run {
        for t in 0..count {
            w.offset = t * m * n;
            let mut pivoting = Pivoting::new(op, &device, w, m, together)?;
            pivoting.matrix(w, [m, n])?;
            matrices.push(pivoting);
        }
        for (t, pivoting) in matrices.iter().enumerate() {
            let (singular, lost) = pivoting.status.read()?;
            given_up |= lost;
            made.singular[t] = singular;
            made.orders[t] = pivoting.rows(m)?;
        }
    }
    if given_up {
        log::warn!("{op}: work-groups of {device} did not run at a time; one group does it again");
        return factor(op, a, Together::Never);
    }
    if let Some(w) = run {
        made.lu.buffer = w.buffer;
    }
    Ok(made)
}

/// What the factorisation of one matrix needs beside it.
struct Pivoting {
    op: &'static str,
    status: Status,
    moves: Arc<Buffer>,
    order: Arc<Buffer>,
    leaf: usize,
    #[cfg(feature = "opencl")]
    mail: Option<Arc<Buffer>>,
    #[cfg(feature = "opencl")]
    spins: u32,
    #[cfg(feature = "opencl")]
    tag: u32,
    #[cfg(feature = "opencl")]
    redux: bool,
}

impl Pivoting {
    #[cfg_attr(
        not(feature = "opencl"),
        allow(unused_variables, unused_mut, reason = "the host has one group")
    )]
    fn new(
        op: &'static str,
        device: &Device,
        w: &Work,
        m: usize,
        together: Together,
    ) -> Result<Pivoting> {
        let order = crate::Expr::<u64>::positions(device, &[m]).cast::<u32>().eval()?;
        let mut made = Pivoting {
            op,
            status: Status::new(op, device)?,
            moves: filled(device, 2 * PANEL, 0u32)?,
            order: order.raw()?.buffer.clone(),
            leaf: shape::leaf(device, w.dtype),
            #[cfg(feature = "opencl")]
            mail: None,
            #[cfg(feature = "opencl")]
            spins: SPINS,
            #[cfg(feature = "opencl")]
            tag: 0,
            #[cfg(feature = "opencl")]
            redux: false,
        };
        drop(order);
        #[cfg(feature = "opencl")]
        if let Backing::OpenCl(cl) = device.backing() {
            let shape = Shape::of(cl, w.dtype);
            let several = shape.shares(m).is_some_and(|s| s.groups > 1);
            let redux = match together {
                Together::IfProven if several => proven(device, cl, w.dtype),
                Together::IfProven | Together::Never => None,
                #[cfg(test)]
                Together::Spins(spins) => {
                    made.spins = spins;
                    several.then_some(false)
                }
            };
            if let Some(redux) = redux {
                made.share(device, &shape, m, redux)?;
            }
        }
        Ok(made)
    }

    /// Panels of up to `m` rows are shared from now on.
    #[cfg(feature = "opencl")]
    fn share(&mut self, device: &Device, shape: &Shape, m: usize, redux: bool) -> Result<()> {
        // Old letters must not have a tag that comes again.
        self.mail = Some(filled(device, shape.mail(m), 0u64)?);
        self.redux = redux;
        Ok(())
    }

    /// Which of the `m` rows came where. Waits.
    fn rows(&self, m: usize) -> Result<Vec<u32>> {
        let mut bytes = vec![0u8; m * 4];
        self.order.download(0, &mut bytes)?;
        let word = |w: &[u8]| u32::from_ne_bytes([w[0], w[1], w[2], w[3]]);
        Ok(bytes.chunks_exact(4).map(word).collect())
    }

    fn matrix(&mut self, w: &mut Work, [m, n]: [usize; 2]) -> Result<()> {
        let k = m.min(n);
        self.columns(w, [0, k], [m, n])?;
        let rest = [0, k, k, n - k];
        triangular::solve(w, rest, Self::left(w, 0), &mut self.status, self.leaf)
    }

    /// The triangle of L whose first element is (j, j).
    fn left(w: &Work, j: usize) -> Triangular<'static> {
        Triangular {
            array: None,
            at: w.at(j, j) as isize,
            row: w.row as isize,
            column: 1,
            lower: true,
            unit: true,
            base: j,
        }
    }

    /// Factors columns `j .. j + width`, from which those before have been taken.
    fn columns(&mut self, w: &mut Work, [j, width]: [usize; 2], [m, n]: [usize; 2]) -> Result<()> {
        if width <= PANEL {
            return self.panel(w, [j, width], [m, n]);
        }
        let half = cut(width, PANEL);
        self.columns(w, [j, half], [m, n])?;
        let next = j + half;
        let top = [j, next, half, width - half];
        triangular::solve(w, top, Self::left(w, j), &mut self.status, self.leaf)?;
        if next < m {
            let (a, b) = (w.part([next, j, m - next, half]), w.part(top));
            w.subtract([next, next, m - next, width - half], a, b)?;
        }
        self.columns(w, [next, width - half], [m, n])
    }

    fn panel(&mut self, w: &mut Work, [j, width]: [usize; 2], [m, n]: [usize; 2]) -> Result<()> {
        let device = w.device().clone();
        let (op, dtype, row) = (self.op, w.dtype, w.row);
        let place = Place { at: w.at(j, j), row };
        #[cfg(feature = "opencl")]
        let mail = {
            self.tag += 1;
            let (tag, spins, redux) = (self.tag, self.spins, self.redux);
            let letters = self.mail.as_mut().map(|m| owned(op, m)).transpose()?;
            letters.map(|buffer| Mail { buffer, tag, spins, redux })
        };
        let moves = owned(op, &mut self.moves)?;
        let panel = LuPanel {
            op,
            dtype,
            out: w.owned()?,
            place,
            rows: m - j,
            width,
            moves,
            status: self.status.owned()?,
            base: j,
            #[cfg(feature = "opencl")]
            mail,
        };
        run(panel, &device)?;
        let exchange = Exchange {
            op,
            dtype,
            place: Place { at: w.at(j, 0), row },
            out: w.owned()?,
            columns: n,
            skip: j,
            width,
            moves: &self.moves,
            order: owned(op, &mut self.order)?,
            order_at: j,
        };
        run(exchange, &device)
    }
}

/// Whether groups of the device run at a time, as far as trying can tell, for nothing in OpenCL says
/// so, and if they do, whether their work-items compare by one instruction. A factorisation that finds
/// out otherwise is made again by one group.
#[cfg(feature = "opencl")]
fn proven(device: &Device, cl: &ClDevice, dtype: DType) -> Option<bool> {
    let [plain, by_redux] = match dtype {
        DType::F64 => ["lu panels by groups, f64", "lu panels by groups with redux.sync, f64"],
        _ => ["lu panels by groups, f32", "lu panels by groups with redux.sync, f32"],
    };
    let works = |name, redux| cl.probe(name, || try_it(device, cl, dtype, redux).map(Verdict::of));
    if cl.info.kind != DeviceKind::Gpu {
        return None;
    }
    // Elsewhere the instruction does not compile, so it is not tried.
    if cl.takes_ptx() && works(by_redux, true) {
        return Some(true);
    }
    works(plain, false).then_some(false)
}

/// Factors a panel of some groups and looks at the product of the factors.
#[cfg(feature = "opencl")]
fn try_it(device: &Device, cl: &ClDevice, dtype: DType, redux: bool) -> Result<bool> {
    use crate::array::DeviceArray;
    use crate::expr::node::Node;
    use crate::ops::map;
    let shape = Shape::of(cl, dtype);
    let (m, n) = (1000, PANEL);
    if shape.shares(m).is_none() {
        return Ok(false);
    }
    // No two equal magnitudes in a column.
    let value = |i: usize, j: usize| {
        let x = (i * 7919 + j * 104_729 + 1) as u64;
        (x.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..m * n).map(|at| value(at / n, at % n)).collect();
    let a = DeviceArray::from_shape_slice(device, (m, n), &values)?;
    let a = map::eval(&Node::cast(Node::leaf(a.raw()?.clone()), dtype))?;
    let mut w = Work { op: "lu", buffer: a.buffer, dtype, offset: 0, row: n };
    let mut pivoting = Pivoting::new("lu", device, &w, m, Together::Never)?;
    pivoting.share(device, &shape, m, redux)?;
    pivoting.matrix(&mut w, [m, n])?;
    if pivoting.status.read()?.1 {
        return Ok(false);
    }
    let lu = map::eval(&Node::cast(Node::leaf(w.part([0, 0, m, n])), DType::F32))?;
    let lu = DeviceArray::<f32>::from_raw(lu).to_vec()?;
    let mut seen = vec![false; m];
    for (i, from) in pivoting.rows(m)?.into_iter().enumerate() {
        let from = from as usize;
        if from >= m || std::mem::replace(&mut seen[from], true) {
            return Ok(false);
        }
        for j in 0..n {
            let product: f32 = (0..n.min(i + 1).min(j + 1))
                .map(|l| (if l == i { 1.0 } else { lu[i * n + l] }) * lu[l * n + j])
                .sum();
            let off = (product - value(from, j)).abs();
            let outside = i > j && lu[i * n + j].abs() > 1.0;
            if off.is_nan() || off > 1e-4 || outside {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
