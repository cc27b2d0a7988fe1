//! The handle of a call in the background.

use super::completion::Completion;
use crate::array::DeviceArray;
use crate::element::Element;
use crate::error::Result;
use std::fmt;
use std::sync::Arc;

/// A collective that was started.
///
/// The results can be used at once: whatever reads them waits for them. A handle that is dropped
/// leaves the call running.
#[must_use = "a failure is told by `wait` or `finish`, or by whoever reads the results"]
pub struct Call<T> {
    pub(crate) completion: Arc<Completion>,
    pub(crate) route: Route,
    pub(crate) results: Vec<DeviceArray<T>>,
    pub(crate) inputs: Vec<DeviceArray<T>>,
}

/// The way that a call's elements take.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub schedule: String,
    pub link: String,
}

impl<T: Element> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_done(), self.completion.failed()) {
            (false, _) => "running",
            (true, false) => "done",
            (true, true) => "failed",
        };
        write!(f, "Call<{}>({}, {state})", T::DTYPE, self.completion.op())
    }
}

impl<T: Element> Call<T> {
    /// Whether it has ended, with or without success.
    pub fn is_done(&self) -> bool {
        self.completion.is_done()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When a member failed, or the group's deadline passed; [`Error::member`](crate::Error::member) says
    /// whose fault it was.
    pub fn finish(&self) -> Result<()> {
        self.completion.verified()
    }

    /// Waits for the end and gives the results; none for a call in place, whose results the caller
    /// has.
    ///
    /// # Errors
    /// As [`Call::finish`].
    pub fn wait(self) -> Result<Vec<DeviceArray<T>>> {
        self.completion.verified()?;
        Ok(self.results)
    }

    /// The results, which may still be on their way.
    pub fn results(&self) -> &[DeviceArray<T>] {
        &self.results
    }

    /// The results without waiting for them. Those of a call that fails return its error when they are
    /// read.
    pub fn into_results(self) -> Vec<DeviceArray<T>> {
        self.results
    }

    /// The arrays that were passed, as they were: what a call in place that failed gives back.
    pub fn into_inputs(self) -> Vec<DeviceArray<T>> {
        self.inputs
    }

    /// How long it took from the call to its end, once it has succeeded.
    pub fn seconds(&self) -> Option<f64> {
        self.completion.seconds()
    }

    /// The schedule that it follows, as in `"tree of radix 2"`; `"whole"` where a link carries out the
    /// collective as one.
    ///
    /// ```
    /// use clan::{Device, DeviceArray, Group, group::schedule::Algorithm};
    /// let group = Group::new(vec![Device::host(); 3])?.with_algorithm(Algorithm::Tree { radix: 2 });
    /// let call = group.broadcast(&DeviceArray::full(&Device::host(), 5, 1.5f32)?, 0)?;
    /// assert_eq!((call.schedule(), call.link()), ("tree of radix 2", "host"));
    /// # call.finish()?;
    /// # Ok::<(), clan::Error>(())
    /// ```
    pub fn schedule(&self) -> &str {
        &self.route.schedule
    }

    /// The kinds of links that its elements take, as in `"host+staged"`.
    ///
    /// `"host"`: from or into the host's memory; `"device"`: within a device that is several members;
    /// `"staged"`: from device to device through pinned memory of the host; `"peer"`: from device to device;
    /// `"none"`: nothing moves between members.
    pub fn link(&self) -> &str {
        &self.route.link
    }
}
