//! What one call of a backend computes: a batch of products, with everything a kernel is chosen by.

use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::expr::fused::Fused;
use crate::ops::Op;

#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;

/// Room in bytes for the arguments of a kernel beside those of its epilogue.
pub(super) const ARGUMENT_BYTES: usize = 320;

/// `out[t] = epilogue(a[t] · b[t])` for every index `t` of the batch, with `a[t]` of m × k and
/// `b[t]` of k × n elements.
///
/// With `subtract` it is `out[t] −= a[t] · b[t]`, without an epilogue.
///
/// Invariants, set up by `Plan::gemm` and `update`: no length is zero; every element that lengths and strides
/// reach lies inside its buffer; `out` is written at different places for different indices, and
/// overlaps an operand only where the caller knows that no product reads what another writes.
#[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "the host needs less"))]
pub(crate) struct Gemm<'a> {
    /// What errors name.
    pub op: &'static str,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Axes of the batch, outermost first, merged where possible; none for one product.
    pub batch: Vec<Batch>,
    pub a: Matrix<'a>,
    pub b: Matrix<'a>,
    /// Type of both operands.
    pub dtype: DType,
    pub out: &'a mut Buffer,
    pub out_offset: usize,
    /// Elements from one row of the result to the next; columns are neighbours.
    pub out_row: isize,
    /// Type that is stored: that of the operands, or the type that they are computed in.
    pub out_dtype: DType,
    /// The matrix unit that computes it, for which the operands have been prepared.
    #[cfg(feature = "opencl")]
    pub unit: Option<super::units::Unit>,
    pub epilogue: Option<Epilogue<'a>>,
    /// Takes the product from what the result holds, which has the type of the sums.
    pub subtract: bool,
}

/// Where a matrix lies, in elements.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    /// `None`: the buffer of the result, whose other elements the product then leaves alone.
    pub buffer: Option<&'a Buffer>,
    pub offset: usize,
    /// From one row to the next.
    pub row: isize,
    /// From one column to the next.
    pub column: isize,
}

/// One axis of a batch: its length, and the strides of operands and result along it. An operand
/// that broadcasts has stride 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub len: usize,
    pub a: isize,
    pub b: isize,
    pub out: isize,
}

/// What is stored in place of the product. Element `i` of the expression, in row-major order, is
/// that of batch index, row and column `i` of the result.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    pub fused: &'a Fused,
    /// The number of the result in `fused`.
    pub id: u64,
}

impl Gemm<'_> {
    /// How many products there are.
    pub fn batches(&self) -> usize {
        self.batch.iter().map(|b| b.len).product()
    }

    /// Offsets of operands and result at position `t` of the batch.
    pub fn origin(&self, mut t: usize) -> [isize; 3] {
        let mut at = [self.a.offset as isize, self.b.offset as isize, self.out_offset as isize];
        for b in self.batch.iter().rev() {
            let q = (t % b.len) as isize;
            t /= b.len;
            at = [at[0] + q * b.a, at[1] + q * b.b, at[2] + q * b.out];
        }
        at
    }

    /// Makes rows of batches that share their second operand, and gives strides along axes of
    /// length 1, which are never walked, the value that suits kernels best.
    pub fn simplify(&mut self) {
        while let Some(last) = self.batch.last().copied() {
            let joins = |row: isize, step: isize| self.m == 1 || row * self.m as isize == step;
            if last.b != 0 || !joins(self.a.row, last.a) || !joins(self.out_row, last.out) {
                break;
            }
            if self.m == 1 {
                self.a.row = last.a;
                self.out_row = last.out;
            }
            self.m *= last.len;
            self.batch.pop();
        }
        let unused = |length: usize, stride: &mut isize, other: isize, value: isize| {
            if length == 1 {
                *stride = if other == 1 { value } else { 1 };
            }
        };
        let (m, n, k) = (self.m, self.n, self.k);
        unused(k, &mut self.a.column, self.a.row, m as isize);
        unused(m, &mut self.a.row, self.a.column, k as isize);
        unused(n, &mut self.b.column, self.b.row, k as isize);
        unused(k, &mut self.b.row, self.b.column, n as isize);
        if self.m == 1 {
            self.out_row = n as isize;
        }
    }
}

impl Op for Gemm<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.dtype)?;
        match &self.epilogue {
            Some(e) => e.fused.check_epilogue(self.op, device, Some(e.id)),
            None => Ok(()),
        }
    }

    fn host(self) -> Result<()> {
        super::host::run(self)
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        super::opencl::run(self, device)
    }
}
