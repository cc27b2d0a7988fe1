//! Filters with weights: correlation and convolution over one to three axes.

use crate::array::DeviceArray;
use crate::element::Number;
use crate::error::{Error, Result};
use crate::ops::conv2d::{Border, slide};
use ndarray::{Axis, SliceInfoElem};

/// Which part of a one-dimensional convolution [`DeviceArray::conv1d`] gives, by the names of NumPy's
/// `convolve`. Of n elements and k weights:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvMode {
    /// All n + k − 1 results that an element has a part in.
    Full,
    /// n results, centred.
    Same,
    /// The n − k + 1 results that see k elements; none where there are fewer.
    Valid,
}

/// Filters.
impl<T: Number> DeviceArray<T> {
    /// Slides weights of one to three axes over the last axes of the array; leading axes number arrays.
    /// Element i of the result is Σⱼ `weights[j]` · `self[i + j − k/2]` for k weights along an axis (halves
    /// rounded down), as SciPy's `correlate` for odd k. The result has the shape of the input. Types behave as in
    /// [`DeviceArray::conv2d`], which is the same for two axes.
    ///
    /// ```
    /// use clan::{Border, Device, DeviceArray};
    /// let host = Device::host();
    /// let x = DeviceArray::from_slice(&host, &[1, 2, 4, 8])?;
    /// let w = DeviceArray::from_slice(&host, &[-1, 0, 1])?;
    /// assert_eq!(x.correlate(&w, Border::Zero)?.to_vec()?, [2, 3, 6, -4]);
    /// assert_eq!(x.convolve(&w, Border::Zero)?.to_vec()?, [-2, -3, -6, 4]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Weights that have other than one to three axes, more than the array, or none at all along one; arrays
    /// of two devices; an element type that the device does not compute in; out of memory.
    pub fn correlate(&self, weights: &DeviceArray<T>, border: Border) -> Result<DeviceArray<T>> {
        slide_any("correlate", self, weights, border)
    }

    /// The same with the weights in reverse order along every axis: the convolution of mathematics, and
    /// SciPy's `convolve` for odd numbers of weights.
    ///
    /// # Errors
    /// As [`DeviceArray::correlate`].
    pub fn convolve(&self, weights: &DeviceArray<T>, border: Border) -> Result<DeviceArray<T>> {
        let reverse = SliceInfoElem::Slice { start: 0, end: None, step: -1 };
        let weights = weights.slice(vec![reverse; weights.ndim()])?;
        slide_any("convolve", self, &weights, border)
    }

    /// Slides a line of weights along one axis, as [`DeviceArray::correlate`] along the last.
    ///
    /// # Errors
    /// An axis that the array has not; weights that have not one axis, or none at all; else as
    /// [`DeviceArray::correlate`].
    pub fn correlate_axis(
        &self,
        axis: Axis,
        weights: &DeviceArray<T>,
        border: Border,
    ) -> Result<DeviceArray<T>> {
        along("correlate_axis", self, axis, weights, border)
    }

    /// A filter that is a product of lines, one for each of the last axes: the first line slides along the
    /// first of these axes. Costs as much as the lengths of the lines together, not multiplied.
    ///
    /// ```
    /// use clan::{Border, Device, DeviceArray};
    /// let host = Device::host();
    /// let x = DeviceArray::<f32>::ones(&host, (4, 5))?;
    /// let w = DeviceArray::from_slice(&host, &[0.25, 0.5, 0.25])?;
    /// let soft = x.separable(&[&w, &w], Border::Zero)?;
    /// assert_eq!(soft.to_vec()?[..3], [0.5625, 0.75, 0.75]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// More lines than axes; else as [`DeviceArray::correlate_axis`].
    pub fn separable(&self, lines: &[&DeviceArray<T>], border: Border) -> Result<DeviceArray<T>> {
        const OP: &str = "separable";
        let Some(first) = self.ndim().checked_sub(lines.len()) else {
            let text = format!("{} lines for an array of shape {:?}", lines.len(), self.shape());
            return Err(Error::shape(OP, format!("{text}; there is at most one for each axis")));
        };
        self.raw()?;
        lines
            .iter()
            .enumerate()
            .try_fold(self.clone(), |x, (k, line)| along(OP, &x, Axis(first + k), line, border))
    }

    /// Slides a line of weights along the last axis, with zeros beyond its ends; leading axes number signals.
    /// As [`DeviceArray::conv2d`] it does not reverse the weights: NumPy's `convolve(x, w)` is this with
    /// `w.slice(s![..;-1])`.
    ///
    /// ```
    /// use clan::{ConvMode, Device, DeviceArray};
    /// let host = Device::host();
    /// let x = DeviceArray::from_slice(&host, &[1, 2, 4, 8])?;
    /// let w = DeviceArray::from_slice(&host, &[1, 10, 100])?;
    /// assert_eq!(x.conv1d(&w, ConvMode::Full)?.to_vec()?, [100, 210, 421, 842, 84, 8]);
    /// assert_eq!(x.conv1d(&w, ConvMode::Same)?.to_vec()?, [210, 421, 842, 84]);
    /// assert_eq!(x.conv1d(&w, ConvMode::Valid)?.to_vec()?, [421, 842]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`DeviceArray::correlate_axis`].
    pub fn conv1d(&self, weights: &DeviceArray<T>, mode: ConvMode) -> Result<DeviceArray<T>> {
        const OP: &str = "conv1d";
        let Some(last) = self.ndim().checked_sub(1) else {
            return Err(Error::shape(OP, "an array without axes; `insert_axis` gives it one"));
        };
        let (n, k) = (self.shape()[last], weights.len());
        let same = |x: &DeviceArray<T>| along(OP, x, Axis(last), weights, Border::Zero);
        let part = |x: &DeviceArray<T>, from: usize, len: usize| {
            let all = SliceInfoElem::Slice { start: 0, end: None, step: 1 };
            let mut parts = vec![all; last];
            let (start, end) = (from as isize, Some((from + len) as isize));
            parts.push(SliceInfoElem::Slice { start, end, step: 1 });
            x.slice(parts)
        };
        match mode {
            ConvMode::Same => same(self),
            // In the middle of the others.
            ConvMode::Valid => {
                let len = (n + 1).saturating_sub(k.max(1));
                part(&same(self)?, if len == 0 { 0 } else { k / 2 }, len)
            }
            ConvMode::Full if k <= 1 => same(self),
            ConvMode::Full => {
                let mut shape = self.shape().to_vec();
                shape[last] = n + k - 1;
                let mut wide = DeviceArray::<T>::zeros(self.device(), shape)?;
                let mut parts = vec![SliceInfoElem::Slice { start: 0, end: None, step: 1 }; last];
                let start = (k - 1 - k / 2) as isize;
                let end = Some(start + n as isize);
                parts.push(SliceInfoElem::Slice { start, end, step: 1 });
                wide.slice_mut(parts)?.assign(self)?;
                same(&wide)
            }
        }
    }
}

fn slide_any<T: Number>(
    op: &'static str,
    x: &DeviceArray<T>,
    weights: &DeviceArray<T>,
    border: Border,
) -> Result<DeviceArray<T>> {
    match weights.ndim() {
        1 if x.ndim() > 0 => along(op, x, Axis(x.ndim() - 1), weights, border),
        rank @ 1..=3 => slide(op, x, weights, rank.max(2), border),
        _ => {
            let text =
                format!("weights of shape {:?}; they have one to three axes", weights.shape());
            Err(Error::shape(op, text))
        }
    }
}

/// A line is a filter of images: as wide as it is long along the last axis, as high along others.
fn along<T: Number>(
    op: &'static str,
    x: &DeviceArray<T>,
    axis: Axis,
    weights: &DeviceArray<T>,
    border: Border,
) -> Result<DeviceArray<T>> {
    let shape = x.shape();
    if axis.0 >= shape.len() {
        let text = format!("axis {} of an array of shape {shape:?}", axis.0);
        return Err(Error::index(op, format!("{text}; axes are numbered from 0")));
    }
    let &[k] = weights.shape() else {
        let text = format!("weights of shape {:?}; they lie along one axis", weights.shape());
        return Err(Error::shape(op, text));
    };
    if k == 0 {
        return Err(Error::shape(op, "no weights at all; there is one at least"));
    }
    let n = shape[axis.0];
    let outer: usize = shape[..axis.0].iter().product();
    let inner: usize = shape[axis.0 + 1..].iter().product();
    let (images, filter) = match inner {
        1 => ([1, outer, n], [1, k]),
        _ => ([outer, n, inner], [k, 1]),
    };
    let slid = slide(op, &x.reshape(images)?, &weights.reshape(filter)?, 2, border)?;
    slid.reshape(shape)
}
