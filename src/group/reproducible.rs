//! The same bits whatever members, links and algorithms carry a call out.

use super::schedule::Algorithm;
use super::{Group, Operator, ReduceOp, Settings};
use crate::element::{DType, Element};
use crate::error::{Error, Result};
use crate::ops::combine::Combine;
use std::sync::Arc;

impl Group {
    /// The same group, whose calls give the same bits on any devices and links: floats are combined in the
    /// order of the members, ((a0 ∘ a1) ∘ a2) ∘ …, every NaN is the same one, and of zeros the negative
    /// one is less. For sums, products, least and greatest elements of floats; elements of other types
    /// need no order. Reductions of a [`ShardedArray`](super::ShardedArray) of such a group depend
    /// neither on the number of members nor on their shares.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Group, ReduceOp};
    /// let group = Group::new(vec![Device::host(); 3])?.reproducible();
    /// let parts = [1e8f32, 1.0, -1e8].map(|v| DeviceArray::full(&Device::host(), 1, v));
    /// let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// let sums = group.all_reduce(&parts, ReduceOp::Sum)?.wait()?;
    /// assert_eq!(sums[0].item()?, (1e8f32 + 1.0) - 1e8);
    /// # Ok::<(), clan::Error>(())
    /// ```
    pub fn reproducible(&self) -> Group {
        let settings = Settings { reproducible: true, ..self.settings.clone() };
        Group { shared: self.shared.clone(), settings }
    }

    /// Whether [`Group::reproducible`] made it.
    pub fn is_reproducible(&self) -> bool {
        self.settings.reproducible
    }

    /// The operator and the algorithm of a call that combines, with an order where one was asked for.
    pub(super) fn in_one_order<T: Element>(
        &self,
        op: &'static str,
        operator: &Operator<T>,
        combine: Arc<Combine>,
        algorithm: Option<Algorithm>,
    ) -> Result<(Arc<Combine>, Option<Algorithm>)> {
        if !self.settings.reproducible || !T::DTYPE.is_float() {
            return Ok((combine, algorithm));
        }
        let settled = match operator {
            Operator::Own(own) => Combine::settled(*own, T::DTYPE),
            Operator::User(_) => None,
        };
        let Some(settled) = settled else {
            let text = format!(
                "{} of {} may differ between devices; a reproducible group takes {}, {}, {} and {} of floats",
                combine.name,
                T::DTYPE,
                ReduceOp::Sum.name(),
                ReduceOp::Product.name(),
                ReduceOp::Min.name(),
                ReduceOp::Max.name()
            );
            return Err(Error::argument(op, text));
        };
        let exact = self.members().iter().all(|d| d.info().denormals);
        // Members that reach each other's memory round half floats once, the host after every step.
        let peers = exact && matches!(T::DTYPE, DType::F32 | DType::F64) && self.has_peers();
        match algorithm {
            None if peers => Ok((Arc::new(settled), Some(Algorithm::Peer))),
            None | Some(Algorithm::Hub) => Ok((Arc::new(settled), Some(Algorithm::Hub))),
            Some(Algorithm::Peer) if peers => Ok((Arc::new(settled), algorithm)),
            Some(other) => {
                let text = format!(
                    "{other:?} does not combine in the order of the members here; leave the algorithm to a reproducible group, or take Hub"
                );
                Err(Error::argument(op, text))
            }
        }
    }
}
