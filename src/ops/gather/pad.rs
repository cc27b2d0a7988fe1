//! `pad`: an array with more elements around it.

use super::join::Pieces;
use crate::array::{DeviceArray, RawArray};
use crate::element::{Element, Scalar};
use crate::error::{Error, Result};
use crate::expr::node::Node;
use crate::layout::{Dims, Layout, count};
use ndarray::Axis;
use std::sync::Arc;

/// What [`DeviceArray::pad`] puts around an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pad<T> {
    /// One value.
    Constant(T),
    /// The element at the edge: `1 1 | 1 2 3 | 3 3`.
    Edge,
    /// The elements mirrored at the edge, without the edge itself: `3 2 | 1 2 3 | 2 1`.
    Reflect,
    /// The elements from the other end: `2 3 | 1 2 3 | 1 2`.
    Wrap,
}

impl<T: Element> DeviceArray<T> {
    /// The array with `widths[k]` = (before, after) more elements along axis `k`. Widths may be
    /// greater than the array, as in NumPy.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Pad};
    /// let x = DeviceArray::from_slice(&Device::host(), &[1, 2, 3])?;
    /// assert_eq!(x.pad(&[(2, 1)], Pad::Reflect)?.to_vec()?, [3, 2, 1, 2, 3, 2]);
    /// assert_eq!(x.pad(&[(0, 2)], Pad::Constant(9))?.to_vec()?, [1, 2, 3, 9, 9]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another number of widths than axes; an axis without elements to continue, unless with a
    /// constant; a shape beyond the address space; out of memory.
    pub fn pad(&self, widths: &[(usize, usize)], with: Pad<T>) -> Result<Self> {
        let op = "pad";
        let shape = self.shape();
        if widths.len() != shape.len() {
            let text = format!(
                "{} widths for the {} axes of shape {shape:?}; give (before, after) for each",
                widths.len(),
                shape.len()
            );
            return Err(Error::shape(op, text));
        }
        let wide: Dims = shape
            .iter()
            .zip(widths)
            .map(|(&d, &(before, after))| d.saturating_add(before).saturating_add(after))
            .collect();
        count(op, &wide)?;
        let constant = if let Pad::Constant(value) = with { Some(value.to_scalar()) } else { None };
        let empty = (0..shape.len()).find(|&k| shape[k] == 0 && wide[k] > 0);
        if let Some(axis) = empty.filter(|_| constant.is_none()) {
            let text = format!(
                "axis {axis} of shape {shape:?} has no elements to continue; use Pad::Constant"
            );
            return Err(Error::argument(op, text));
        }
        if widths.iter().all(|&w| w == (0, 0)) {
            return Ok(self.clone());
        }
        let runs: Vec<Vec<Run>> =
            (0..shape.len()).map(|k| runs(shape[k], widths[k], &with)).collect();
        // Each piece is a launch: where an axis has many, its elements are gathered instead.
        if let Some(axis) = runs.iter().position(|runs| runs.len() > MANY) {
            let mut only = vec![(0, 0); shape.len()];
            let mut rest = widths.to_vec();
            std::mem::swap(&mut only[axis], &mut rest[axis]);
            let places: Vec<u64> = runs[axis].iter().flat_map(Run::places).collect();
            let places = DeviceArray::from_slice(self.device(), &places)?;
            return self.take_axis(Axis(axis), &places)?.pad(&rest, with);
        }
        let raw = self.raw()?;
        let mut out = Pieces::new(op, self.device(), &wide, T::DTYPE)?;
        let value = Node::scalar(constant.unwrap_or(Scalar::U8(0)), T::DTYPE);
        let target = out.layout().clone();
        let mut filling = Filling { runs: &runs, raw, value, out: &mut out };
        filling.axis(0, raw.layout.clone(), target)?;
        Ok(out.done())
    }
}

/// Pieces of an axis that are copied one by one.
const MANY: usize = 5;

/// A part of an axis of the result.
struct Run {
    /// Where it starts in the array, and the step; `None` is the constant.
    from: Option<(usize, isize)>,
    len: usize,
}

impl Run {
    fn places(&self) -> impl Iterator<Item = u64> + use<> {
        let (from, step) = self.from.unwrap_or_default();
        (0..self.len).map(move |j| (from as isize + j as isize * step) as u64)
    }
}

/// The parts of an axis of `n` elements. Every place of the result goes on as the one before it until
/// the array's end: so the number of runs is the number of ends that are met.
fn runs<T>(n: usize, (before, after): (usize, usize), with: &Pad<T>) -> Vec<Run> {
    let middle = Run { from: Some((0, 1)), len: n };
    let list = match with {
        Pad::Constant(_) => {
            vec![Run { from: None, len: before }, middle, Run { from: None, len: after }]
        }
        Pad::Edge => vec![
            Run { from: Some((0, 0)), len: before },
            middle,
            Run { from: Some((n.saturating_sub(1), 0)), len: after },
        ],
        Pad::Wrap => {
            let period = n.max(1);
            let mut list = Vec::new();
            let mut at = (period - before % period) % period;
            let mut left = before + n + after;
            while left > 0 {
                let len = (n - at).min(left);
                list.push(Run { from: Some((at, 1)), len });
                (at, left) = (0, left - len);
            }
            list
        }
        Pad::Reflect if n <= 1 => vec![Run { from: Some((0, 0)), len: before + n + after }],
        Pad::Reflect => {
            let period = 2 * (n - 1);
            let mut list = Vec::new();
            // Places 0 to n - 1 go up, those from there on come down again.
            let mut at = (period - before % period) % period;
            let mut left = before + n + after;
            while left > 0 {
                let (from, step, most) =
                    if at < n { (at, 1, n - at) } else { (period - at, -1, period - at) };
                let len = most.min(left);
                list.push(Run { from: Some((from, step)), len });
                (at, left) = ((at + len) % period, left - len);
            }
            list
        }
    };
    list.into_iter().filter(|run| run.len > 0).collect()
}

struct Filling<'a> {
    runs: &'a [Vec<Run>],
    raw: &'a RawArray,
    value: Arc<Node>,
    out: &'a mut Pieces,
}

impl Filling<'_> {
    /// Fills `target` from `source`, in which the axes before `axis` have been cut to one run each.
    fn axis(&mut self, axis: usize, source: Layout, target: Layout) -> Result<()> {
        let runs = self.runs;
        let Some(runs) = runs.get(axis) else {
            let array = RawArray { layout: source, ..self.raw.clone() };
            return self.out.put(&Node::leaf(array), &target);
        };
        let mut at = 0;
        for run in runs {
            let mut target = target.clone();
            target.offset += at * target.strides[axis].unsigned_abs();
            target.shape[axis] = run.len;
            at += run.len;
            let Some((from, step)) = run.from else {
                // All of the axes behind, whatever they would be made of.
                self.out.put(&self.value.clone(), &target)?;
                continue;
            };
            let mut source = source.clone();
            source.offset =
                (source.offset as isize + from as isize * source.strides[axis]) as usize;
            source.strides[axis] *= step;
            source.shape[axis] = run.len;
            self.axis(axis + 1, source, target)?;
        }
        Ok(())
    }
}
