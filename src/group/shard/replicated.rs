//! Arrays that every member of a group has.

use super::super::Group;
use crate::array::DeviceArray;
use crate::element::{Element, Number};
use crate::error::{Error, Result};
use crate::expr::Expr;
use ndarray::ArrayD;
use std::fmt;

/// An array of which every member of a [`Group`] has a copy: made by [`Group::replicate`], by
/// reductions and by products, and an operand beside [`ShardedArray`](super::ShardedArray)s.
///
/// ```
/// use clan::{Device, DeviceArray, Group};
/// let group = Group::new(vec![Device::host(); 2])?;
/// let w = group.replicate(&DeviceArray::from_slice(&Device::host(), &[1.0f32, 2.0])?)?;
/// let step = w.zip_with(&w, |w, gradient| w - gradient * 0.5)?;
/// assert_eq!(step.to_vec()?, [0.5, 1.0]);
/// assert_eq!(step.parts()[1].to_vec()?, [0.5, 1.0]);
/// # Ok::<(), clan::Error>(())
/// ```
pub struct Replicated<T> {
    group: Group,
    parts: Vec<DeviceArray<T>>,
}

impl<T> Clone for Replicated<T> {
    fn clone(&self) -> Self {
        Replicated { group: self.group.clone(), parts: self.parts.clone() }
    }
}

impl<T: Element> fmt::Debug for Replicated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replicated<{}>{:?}", T::DTYPE, self.shape())
    }
}

impl Group {
    /// Gives every member an array, which may be on any device.
    ///
    /// # Errors
    /// Out of memory; a failure of the array's device.
    pub fn replicate<T: Element>(&self, array: &DeviceArray<T>) -> Result<Replicated<T>> {
        const OP: &str = "replicate";
        array.raw()?;
        let home = array.device();
        let root = self.members().iter().position(|d| d == home);
        let parts = match root {
            Some(root) if self.members().iter().any(|d| d != home) => {
                self.mover().broadcast(array, root)?.into_results()
            }
            _ => self.each(OP, |m| array.to_device(&self.members()[m]))?,
        };
        Ok(Replicated { group: self.clone(), parts })
    }
}

impl<T: Element> Replicated<T> {
    /// One array a member, all the same.
    pub(super) fn new(group: &Group, parts: Vec<DeviceArray<T>>) -> Replicated<T> {
        Replicated { group: group.clone(), parts }
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        self.parts[0].shape()
    }

    /// What every member has.
    pub fn parts(&self) -> &[DeviceArray<T>] {
        &self.parts
    }

    /// The group whose members have it.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The only element. Waits for the first member.
    ///
    /// # Errors
    /// As [`DeviceArray::item`].
    pub fn item(&self) -> Result<T> {
        self.parts[0].item()
    }

    /// The elements in row-major order. Waits for the first member.
    ///
    /// # Errors
    /// As [`DeviceArray::to_vec`].
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.parts[0].to_vec()
    }

    /// The array as an ndarray. Waits for the first member.
    ///
    /// # Errors
    /// As [`DeviceArray::to_vec`].
    pub fn to_ndarray(&self) -> Result<ArrayD<T>> {
        self.parts[0].to_ndarray()
    }

    /// The axes in reverse order.
    pub fn t(&self) -> Replicated<T> {
        Replicated::new(&self.group, self.parts.iter().map(DeviceArray::t).collect())
    }

    /// An element-wise expression, computed by every member.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn map<U: Element>(&self, f: impl Fn(Expr<T>) -> Expr<U>) -> Result<Replicated<U>> {
        let parts = self.group.each("map", |m| f(self.parts[m].expr()).eval())?;
        Ok(Replicated::new(&self.group, parts))
    }

    /// An element-wise expression of two arrays, computed by every member.
    ///
    /// # Errors
    /// Arrays of two groups; as [`Expr::eval`].
    pub fn zip_with<U: Element, V: Element>(
        &self,
        other: &Replicated<U>,
        f: impl Fn(Expr<T>, Expr<U>) -> Expr<V>,
    ) -> Result<Replicated<V>> {
        const OP: &str = "zip_with";
        same_members(OP, &self.group, &other.group)?;
        let part = |m: usize| f(self.parts[m].expr(), other.parts[m].expr()).eval();
        Ok(Replicated::new(&self.group, self.group.each(OP, part)?))
    }
}

impl<T: Number> Replicated<T> {
    /// The matrix product, computed by every member; see [`DeviceArray::matmul`].
    ///
    /// # Errors
    /// Arrays of two groups; as [`DeviceArray::matmul`].
    pub fn matmul(&self, other: &Replicated<T>) -> Result<Replicated<T>> {
        const OP: &str = "matmul";
        same_members(OP, &self.group, &other.group)?;
        let part = |m: usize| self.parts[m].matmul(&other.parts[m]);
        Ok(Replicated::new(&self.group, self.group.each(OP, part)?))
    }
}

pub(super) fn same_members(op: &'static str, a: &Group, b: &Group) -> Result<()> {
    if a.members() == b.members() {
        return Ok(());
    }
    let text = format!(
        "one operand belongs to the group {a:?}, the other to {b:?}; replicate or shard both over one"
    );
    Err(Error::new(crate::ErrorKind::DeviceMismatch, op, text))
}
