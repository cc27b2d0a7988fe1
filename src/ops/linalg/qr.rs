//! QR by Householder reflections, in panels: I − V·T·Vᵀ is the product of a panel's reflections, and
//! goes to the other columns in three products.

use super::block::{Work, transposed};
use super::leaf::{Keep, Place, Scale, Side, run};
use super::panel::QrPanel;
use super::shape::PANEL;
use super::status::{filled, owned};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::layout::Layout;
use crate::ops::{copy, matmul};
use std::sync::Arc;

fn zeros(device: &Device, n: usize, dtype: DType) -> Result<Arc<Buffer>> {
    match dtype {
        DType::F64 => filled(device, n, 0f64),
        _ => filled(device, n, 0f32),
    }
}

/// Q and R, in reduced form, of every matrix of `a`.
pub(super) fn factor(op: &'static str, a: &RawArray) -> Result<(RawArray, RawArray)> {
    let shape = &a.layout.shape;
    let lead = shape.len() - 2;
    let (m, n) = (shape[lead], shape[lead + 1]);
    let k = m.min(n);
    let count: usize = shape[..lead].iter().product();
    let (device, dtype) = (a.device().clone(), a.dtype);
    let result = |rows: usize, columns: usize| -> Result<(Arc<Buffer>, Layout)> {
        let mut shape = shape.clone();
        (shape[lead], shape[lead + 1]) = (rows, columns);
        let layout = Layout::contiguous(&shape);
        Ok((zeros(&device, layout.len(), dtype)?, layout))
    };
    let (q_buffer, q_layout) = result(m, k)?;
    let (mut r_buffer, r_layout) = result(k, n)?;
    let mut q = Work { op, buffer: q_buffer, dtype, offset: 0, row: k };
    if k > 0 && count > 0 {
        let copied = copy::contiguous_copy(a)?;
        let mut w = Work { op, buffer: copied.buffer, dtype, offset: 0, row: n };
        // What a panel leaves beside the matrix; panels and matrices follow each other.
        let vectors = zeros(&device, m * k, dtype)?;
        let mut v = Work { op, buffer: vectors, dtype, offset: 0, row: k };
        let mut t = zeros(&device, k * PANEL, dtype)?;
        let mut scale = zeros(&device, n, dtype)?;
        for matrix in 0..count {
            w.offset = matrix * m * n;
            q.offset = matrix * m * k;
            let (at, scale_at) = (w.offset, 0);
            let (out, factors) = (w.owned()?, owned(op, &mut scale)?);
            let size = Scale { op, dtype, out, at, rows: m, columns: n, scale: factors, scale_at };
            run(size, &device)?;
            reflect(&mut w, &mut v, &mut t, [m, n])?;
            let from = Some((&*w.buffer, Place { at, row: n }));
            let out = owned(op, &mut r_buffer)?;
            let side = Side {
                op,
                dtype,
                out,
                at: matrix * k * n,
                rows: k,
                columns: n,
                from,
                keep: Keep::Upper,
                scale: Some((&scale, 0)),
            };
            run(side, &device)?;
            form(&mut q, &v, &t, [m, k])?;
        }
    }
    let q = RawArray { buffer: q.buffer, layout: q_layout, dtype };
    Ok((q, RawArray { buffer: r_buffer, layout: r_layout, dtype }))
}

/// The triangle of the panel at column `j`.
fn triangle(t: &Arc<Buffer>, j: usize, width: usize, dtype: DType) -> RawArray {
    let mut layout = Layout::contiguous(&[width, width]);
    layout.offset = j * PANEL;
    RawArray { buffer: t.clone(), layout, dtype }
}

/// Makes R of the matrix, and the panels' vectors and triangles.
fn reflect(w: &mut Work, v: &mut Work, t: &mut Arc<Buffer>, [m, n]: [usize; 2]) -> Result<()> {
    let device = w.device().clone();
    let (op, dtype) = (w.op, w.dtype);
    let k = m.min(n);
    for j in (0..k).step_by(PANEL) {
        let width = PANEL.min(k - j);
        let panel = QrPanel {
            op,
            dtype,
            place: Place { at: w.at(j, j), row: w.row },
            out: w.owned()?,
            rows: m - j,
            width,
            v_place: Place { at: v.at(j, j), row: v.row },
            v: v.owned()?,
            t: owned(op, t)?,
            t_at: j * PANEL,
        };
        run(panel, &device)?;
        let next = j + width;
        if next < n {
            let rest = [j, next, m - j, n - next];
            let t = transposed(triangle(t, j, width, dtype));
            apply(w, rest, v.part([j, j, m - j, width]), t)?;
        }
    }
    Ok(())
}

/// `part −= V · (T · (Vᵀ · part))`.
fn apply(w: &mut Work, part: [usize; 4], v: RawArray, t: RawArray) -> Result<()> {
    let inner = matmul::multiply(w.op, transposed(v.clone()), w.part(part))?;
    let inner = matmul::multiply(w.op, t, inner)?;
    w.subtract(part, v, inner)
}

/// Makes Q of them, from the last panel to the first, in a matrix of zeros.
fn form(q: &mut Work, v: &Work, t: &Arc<Buffer>, [m, k]: [usize; 2]) -> Result<()> {
    let device = q.device().clone();
    let (op, dtype, at) = (q.op, q.dtype, q.offset);
    let keep = Keep::UnitLower;
    let out = q.owned()?;
    run(Side { op, dtype, out, at, rows: m, columns: k, from: None, keep, scale: None }, &device)?;
    for j in (0..k).step_by(PANEL).rev() {
        let width = PANEL.min(k - j);
        let t = triangle(t, j, width, dtype);
        apply(q, [j, j, m - j, k - j], v.part([j, j, m - j, width]), t)?;
    }
    Ok(())
}
