//! How fast members are, measured, and shares that follow it.

use super::{DEADLINE, Group, Settings};
use crate::array::DeviceArray;
use crate::device::Device;
use crate::error::Result;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds that a device takes, by its position in the list of devices and the name of the work.
static MEASURED: Mutex<Option<HashMap<(usize, String), f64>>> = Mutex::new(None);

/// How long a measurement repeats the work, and how often at most.
const TIME: Duration = Duration::from_millis(30);
const ROUNDS: usize = 100;

/// Elements of the streaming measurement: beyond the caches of most processors.
const STREAMED: usize = 1 << 24;

/// Shares of members that are not equally fast.
impl Group {
    /// The same group, whose [`Group::shard`] and
    /// [`ShardedArray::reshard`](crate::ShardedArray::reshard) give every member as much of an axis as
    /// its weight says.
    ///
    /// ```
    /// # use clan::{Device, DeviceArray, Group, ndarray::Axis};
    /// let group = Group::new(vec![Device::host(); 2])?.with_weights(&[3.0, 1.0])?;
    /// let x = DeviceArray::<f32>::zeros(&Device::host(), 8)?;
    /// assert_eq!(group.shard(&x, Axis(0))?.ranges(), [0..6, 6..8]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Not one weight a member; weights that are negative, not finite or all 0.
    pub fn with_weights(&self, weights: &[f64]) -> Result<Group> {
        self.check_weights("with_weights", weights)?;
        let weights = Some(Arc::from(weights));
        let settings = Settings { weights, ..self.settings.clone() };
        Ok(Group { shared: self.shared.clone(), settings })
    }

    /// The same group with weights by how fast its members stream through their memory, which is what
    /// element-wise expressions and reductions wait for. Measured as in [`Group::balance`].
    ///
    /// # Errors
    /// Out of memory; a failure of a device.
    pub fn balanced(&self) -> Result<Group> {
        let weights = self.balance("stream", |device| {
            let room = device.memory().max_alloc_bytes / 16;
            let n = STREAMED.min(usize::try_from(room).unwrap_or(STREAMED)).max(1);
            let x = DeviceArray::<f32>::ones(device, n)?;
            (x * 2.0 + 1.0).eval().map(drop)
        })?;
        self.with_weights(&weights)
    }

    /// How fast the members are at some work, in rounds a second: weights for
    /// [`Group::shard_by`] and [`Group::with_weights`].
    ///
    /// `work` does the same for every device, in the manner of what the shares are for: the same
    /// kernels, on a few milliseconds' worth of elements. Each device runs it once to get ready and
    /// then until 30 ms have passed; the best round counts. A device that is several members is as fast
    /// as all of them together.
    ///
    /// What was measured under a name holds until the process ends, for every group: another name
    /// measures again.
    ///
    /// ```
    /// # use clan::{Device, DeviceArray, Group, ndarray::Axis};
    /// let group = Group::new(vec![Device::host(); 2])?;
    /// let weights = group.balance("hypot of 4096", |device| {
    ///     let x = DeviceArray::<f32>::ones(device, 4096)?;
    ///     x.hypot(3.0f32).eval().map(drop)
    /// })?;
    /// // Both are the same device.
    /// assert_eq!(weights[0], weights[1]);
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// What `work` returns, or its device, with the member's number.
    pub fn balance(&self, op: &str, work: impl Fn(&Device) -> Result<()>) -> Result<Vec<f64>> {
        let members = self.members();
        let mut weights = Vec::with_capacity(members.len());
        for (m, device) in members.iter().enumerate() {
            let key = (device.index(), op.to_string());
            let known = locked(|all| all.get(&key).copied());
            let seconds = match known {
                Some(seconds) => seconds,
                None => {
                    // Without the lock: `work` is the user's and may take long, or balance itself.
                    let seconds = measure(device, &work)
                        .map_err(|e| e.of_member("balance", m, &device.to_string()))?;
                    log::debug!("{op} on {device}: {seconds:.3e} s");
                    locked(|all| *all.entry(key).or_insert(seconds))
                }
            };
            let sharing = members.iter().filter(|d| *d == device).count();
            weights.push(1.0 / (seconds * sharing as f64));
        }
        Ok(weights)
    }
}

fn locked<R>(f: impl FnOnce(&mut HashMap<(usize, String), f64>) -> R) -> R {
    let mut all = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    f(all.get_or_insert_default())
}

fn measure(device: &Device, work: &impl Fn(&Device) -> Result<()>) -> Result<f64> {
    work(device)?;
    device.wait()?;
    let begin = Instant::now();
    let mut best = DEADLINE.as_secs_f64();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work(device)?;
        device.wait()?;
        best = best.min(start.elapsed().as_secs_f64());
        if begin.elapsed() >= TIME {
            break;
        }
    }
    // A clock may not see work that does nothing.
    Ok(best.max(1e-9))
}
