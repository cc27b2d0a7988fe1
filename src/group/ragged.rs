//! Collectives whose shares differ: the caller says how many rows each member has.

use super::start::rows;
use super::{Call, Group, Operator};
use crate::array::DeviceArray;
use crate::element::Element;
use crate::error::{Error, Result};

/// Collectives with shares of given sizes, in rows: elements along axis 0.
///
/// [`Group::gather`] and [`Group::all_gather`] take arrays with any numbers of rows as they are.
impl Group {
    /// As [`Group::reduce_scatter`]: member `i` gets `counts[i]` rows.
    ///
    /// # Errors
    /// As [`Group::reduce_scatter`]; counts that are not one a member, or do not add up to the rows.
    pub fn reduce_scatter_v<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        counts: &[usize],
        operator: impl Into<Operator<T>>,
    ) -> Result<Call<T>> {
        const OP: &str = "reduce_scatter_v";
        self.fits(OP, parts)?;
        self.counts(OP, counts, parts[0].shape())?;
        self.reduce_scatter_as(OP, parts, counts, operator.into())
    }

    /// As [`Group::scatter`]: member `i` gets `counts[i]` rows.
    ///
    /// # Errors
    /// As [`Group::scatter`]; counts that are not one a member, or do not add up to the rows.
    pub fn scatter_v<T: Element>(
        &self,
        array: &DeviceArray<T>,
        counts: &[usize],
        root: usize,
    ) -> Result<Call<T>> {
        self.counts("scatter_v", counts, array.shape())?;
        self.scatter_as("scatter_v", array, counts, root)
    }

    /// As [`Group::all_to_all`]: member `j` gets `counts[i][j]` rows from member `i`.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Group};
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let a = DeviceArray::from_slice(&Device::host(), &[1, 2, 3])?;
    /// let b = DeviceArray::from_slice(&Device::host(), &[4])?;
    /// let got = group.all_to_all_v(&[a, b], &[vec![1, 2], vec![1, 0]])?.wait()?;
    /// assert_eq!(got[0].to_vec()?, [1, 4]);
    /// assert_eq!(got[1].to_vec()?, [2, 3]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Group::all_to_all`]; counts that are not one a pair of members, or do not add up to a
    /// member's rows.
    pub fn all_to_all_v<T: Element>(
        &self,
        parts: &[DeviceArray<T>],
        counts: &[Vec<usize>],
    ) -> Result<Call<T>> {
        const OP: &str = "all_to_all_v";
        self.fits(OP, parts)?;
        self.one_row(OP, parts)?;
        if counts.len() != self.len() {
            let text = format!("{} lists of counts for {} members", counts.len(), self.len());
            return Err(Error::argument(OP, text));
        }
        for (m, part) in parts.iter().enumerate() {
            let of = |e: Error| e.of_member(OP, m, &self.members()[m].to_string());
            self.counts(OP, &counts[m], part.shape()).map_err(of)?;
        }
        self.all_to_all_as(OP, parts, counts)
    }

    fn counts(&self, op: &'static str, counts: &[usize], shape: &[usize]) -> Result<()> {
        if counts.len() != self.len() {
            let text = format!("{} counts for {} members", counts.len(), self.len());
            return Err(Error::argument(op, text));
        }
        let sum = counts.iter().try_fold(0usize, |sum, &c| sum.checked_add(c));
        if sum != Some(rows(shape)) {
            let text = format!(
                "the counts {counts:?} do not add up to the {} rows of shape {shape:?}",
                rows(shape)
            );
            return Err(Error::shape(op, text));
        }
        Ok(())
    }
}
