//! Groups by keys of any type: `group_by_key` and `group_by_runs`.

use super::order::heads;
use super::{unique, vector};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::element::{Element, Number};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::{Expr, IntoExpr};
use crate::layout::count;
use crate::ops::groupby::GroupBy;
use crate::ops::map;
use ndarray::Axis;

impl<T: Number> Expr<T> {
    /// The distinct keys in ascending order, and the elements grouped by them: group `i` has the
    /// elements whose key is the `i`-th. Keys are of any type and broadcast to the shape of the
    /// elements; NaNs are one key, and so are −0 and 0. Waits for the number of keys. Where keys are the
    /// numbers of few groups already, [`Expr::group_by`] is faster.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let device = Device::host();
    /// let pay = DeviceArray::from_slice(&device, &[3.0f32, 5.0, 4.0, 8.0])?;
    /// let year = DeviceArray::from_slice(&device, &[2024i16, 1999, 2024, 1999])?;
    /// let (years, groups) = pay.group_by_key(&year)?;
    /// assert_eq!(years.to_vec()?, [1999, 2024]);
    /// assert_eq!(groups.sum()?.to_vec()?, [13.0, 7.0]);
    /// assert_eq!(groups.count()?.to_vec()?, [2, 2]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Keys that do not broadcast to the shape, or live on another device; more than 2³² distinct keys;
    /// mistakes kept in the expressions; out of memory.
    pub fn group_by_key<K: Element>(
        &self,
        keys: impl IntoExpr<K>,
    ) -> Result<(DeviceArray<K>, GroupBy<T>)> {
        let op = "group_by_key";
        let device = device_of(self)?;
        let keys = keys.into_expr();
        // Asked for before anything is sorted.
        let shape = self.shape()?;
        map::as_shape(keys.node()?, op, shape, &device)?;
        let keys = map::array(&keys.node()?.with(K::DTYPE, keys.shape()?, Some(&device)))?;
        let distinct = unique::distinct::<K>(op, &keys)?;
        let numbers = unique::inverse(op, &distinct, &keys)?;
        let groups = grouped(op, self, &numbers, distinct.len(), &device)?;
        Ok((distinct, groups))
    }

    /// The elements of a vector grouped by runs of equal neighbours in a vector of keys, and the key of
    /// each run: what [`DeviceArray::run_length_encode`] tells apart, but that NaNs are equal. Nothing is
    /// sorted, and a key that comes back later is another group. Waits for the number of runs.
    ///
    /// ```
    /// use clan::{Device, DeviceArray};
    /// let device = Device::host();
    /// let x = DeviceArray::from_slice(&device, &[1i32, 2, 3, 4])?;
    /// let keys = DeviceArray::from_slice(&device, b"bbab")?;
    /// let (runs, groups) = x.group_by_runs(&keys)?;
    /// assert_eq!(runs.to_vec()?, *b"bab");
    /// assert_eq!(groups.sum()?.to_vec()?, [3, 3, 4]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Keys of other than one axis, or of another length than the elements; else as
    /// [`Expr::group_by_key`].
    pub fn group_by_runs<K: Element>(
        &self,
        keys: &DeviceArray<K>,
    ) -> Result<(DeviceArray<K>, GroupBy<T>)> {
        let op = "group_by_runs";
        let device = device_of(self)?;
        let raw = vector(op, "the array of keys", keys)?;
        if self.shape()? != keys.shape() {
            return Err(Error::shape(
                op,
                format!(
                    "elements of shape {:?} and keys of {:?}; each element needs one key",
                    self.shape()?,
                    keys.shape()
                ),
            ));
        }
        device.require_same(op, "the elements live", keys.device(), "the keys")?;
        let flags = heads(&raw)?;
        let runs = DeviceArray::from_raw(raw).masked_select(&flags)?;
        let numbers = flags.expr().cast::<u8>().cumsum(Axis(0))?.expr() - 1;
        let groups = grouped(op, self, &numbers, runs.len(), &device)?;
        Ok((runs, groups))
    }
}

fn device_of<T: Element>(values: &Expr<T>) -> Result<Device> {
    values.device()?.cloned().map_or_else(Device::best, Ok)
}

/// Groups by numbers that are below `groups`.
fn grouped<T: Number>(
    op: &'static str,
    values: &Expr<T>,
    numbers: &Expr<u64>,
    groups: usize,
    device: &Device,
) -> Result<GroupBy<T>> {
    count(op, values.shape()?)?;
    if groups > u32::MAX as usize {
        let text = format!("{groups} distinct keys are more than {}", u32::MAX);
        return Err(Error::new(ErrorKind::TooLarge, op, text));
    }
    let numbers = numbers.cast::<u32>().eval()?;
    GroupBy::of(op, values.node()?, numbers.expr().node()?, groups, device)
}

impl<T: Number> DeviceArray<T> {
    /// The distinct keys, and the elements grouped by them; see [`Expr::group_by_key`].
    ///
    /// # Errors
    /// As [`Expr::group_by_key`].
    pub fn group_by_key<K: Element>(
        &self,
        keys: impl IntoExpr<K>,
    ) -> Result<(DeviceArray<K>, GroupBy<T>)> {
        self.expr().group_by_key(keys)
    }

    /// The elements grouped by runs of equal keys; see [`Expr::group_by_runs`].
    ///
    /// # Errors
    /// As [`Expr::group_by_runs`].
    pub fn group_by_runs<K: Element>(
        &self,
        keys: &DeviceArray<K>,
    ) -> Result<(DeviceArray<K>, GroupBy<T>)> {
        self.expr().group_by_runs(keys)
    }
}
