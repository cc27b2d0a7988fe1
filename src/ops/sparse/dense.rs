//! Sparse matrices with all their zeros.

#[cfg(feature = "opencl")]
use super::product::{SOURCE, types};
use super::{SparseMatrix, on_host, run};
use crate::array::{DeviceArray, RawArray};
use crate::backend::Buffer;
use crate::device::Device;
use crate::error::Result;
use crate::host::eval::SharedOut;
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen};
use crate::ops::Op;
use crate::ops::linalg::Real;
use std::sync::Arc;

const OP: &str = "to_dense";

pub(super) fn to_dense<T: Real>(matrix: &SparseMatrix<T>) -> Result<DeviceArray<T>> {
    let zeros = DeviceArray::<T>::zeros(matrix.device(), matrix.shape)?;
    let mut raw: RawArray = zeros.raw()?.clone();
    drop(zeros);
    if matrix.nnz() > 0
        && let Some(out) = Arc::get_mut(&mut raw.buffer)
    {
        run(Dense { matrix, out }, matrix.device())?;
    }
    Ok(DeviceArray::from_raw(raw))
}

struct Dense<'a, T> {
    matrix: &'a SparseMatrix<T>,
    /// Zeros in row-major order, owned alone by the caller.
    out: &'a mut Buffer,
}

impl<T: Real> Op for Dense<'_, T> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(OP, T::DTYPE)
    }

    fn host(self) -> Result<()> {
        match self.matrix.wide {
            true => self.in_memory(|&n: &u64| n as usize),
            false => self.in_memory(|&n: &u32| n as usize),
        }
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let m = self.matrix;
        let (rows, width) = m.shape;
        let wide = m.wide || rows as u128 * width as u128 > i32::MAX as u128;
        let group = device.point.group;
        let key = vec![u8::MAX, T::DTYPE as u8, u8::from(m.wide), u8::from(wide)];
        let program = device.programs.get(device, OP, ("sparse", key), || {
            let mut point = device.point;
            point.unroll = 1;
            let types = types(T::DTYPE, m.wide, group);
            [&codegen::defines(device, wide, point), codegen::PRELUDE, &types, SOURCE].concat()
        })?;
        let mut launch = Launch::new(device, &program, OP, "csr_dense")?;
        launch.output(self.out)?;
        launch.input(&m.starts.buffer)?;
        launch.input(&m.columns.raw()?.buffer)?;
        launch.input(&m.values.raw()?.buffer)?;
        for v in [rows, width, m.nnz()] {
            codegen::bind_index(&mut launch, v, wide)?;
        }
        // SAFETY: the arguments follow the kernel's parameters; starts and columns were checked or made
        // when the matrix was, so every place lies inside the result.
        unsafe { launch.run([m.nnz().div_ceil(group), 1, 1], [group, 1, 1]) }
    }
}

impl<T: Real> Dense<'_, T> {
    fn in_memory<N: Sync>(self, number: impl Fn(&N) -> usize) -> Result<()> {
        let (m, width) = (self.matrix, self.matrix.shape.1);
        let (columns, values) = (m.columns.raw()?, m.values.raw()?);
        // SAFETY: of these types, made without gaps, and never written again.
        let (starts, columns, values) =
            unsafe { (on_host::<N>(&m.starts), on_host::<u32>(columns), on_host::<T>(values)) };
        let out = self.out.host_mut().map_or(std::ptr::null_mut(), |block| block.ptr_mut());
        let out = SharedOut(out);
        for (r, w) in starts.windows(2).enumerate() {
            for k in number(&w[0])..number(&w[1]) {
                // SAFETY: columns lie inside the shape, so places lie inside the result.
                unsafe { out.at::<T>((r * width + columns[k] as usize) as isize).write(values[k]) };
            }
        }
        Ok(())
    }
}
