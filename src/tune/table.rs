//! The tuned points of a device while the program runs: what the store held at first use, and what
//! was found since.

use super::space::{Class, Depth, Space, Values};
use super::store::{Entry, Store};
use super::trial::{self, On};
use super::{check, spaces};
use crate::device::{Backing, Device};
use crate::element::DType;
use crate::opencl::ClDevice;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a space is tuned for.
pub(super) type Key = (&'static str, DType, Class);

/// The tuned points of one device.
pub(crate) struct Table {
    entries: Mutex<HashMap<Key, Entry>>,
    /// `None`: nothing is kept on disk.
    store: Option<Store>,
    /// The common case costs a load.
    empty: AtomicBool,
}

/// A point to use.
#[derive(Clone)]
pub(crate) struct Found {
    pub values: Values,
    /// For spaces with a model: the point's cost in its terms.
    pub cost: f64,
    /// Whether it is on trial, and so comes before every other.
    pub on_trial: bool,
}

/// The point for a call: the one on trial, else the one in the store; `None` for the default.
pub(crate) fn find(
    device: &Device,
    space: &'static Space,
    dtype: DType,
    class: Class,
) -> Option<Found> {
    match trial::of(space) {
        On::Point(values) => return Some(Found { values, cost: 1.0, on_trial: true }),
        On::Default => return None,
        On::Nothing => {}
    }
    let Backing::OpenCl(cl) = device.backing() else { return None };
    let table = cl.tuned.get_or_init(|| Table::load(cl));
    if table.empty.load(Ordering::Acquire) {
        return None;
    }
    table.find(device, cl, space, (space.name, dtype, class))
}

impl Table {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(cl: &ClDevice) -> Table {
        let store = Store::of(cl).unwrap_or_else(|e| {
            log::warn!("{}: tuned points are not used: {e}", cl.info.name);
            None
        });
        Table::with(cl, store)
    }

    /// From the store; empty where that is absent, not to be read, or another's.
    pub(super) fn with(cl: &ClDevice, store: Option<Store>) -> Table {
        let entries = store.as_ref().map_or_else(|| Ok(HashMap::new()), |s| read(s, cl));
        let entries = entries.unwrap_or_else(|why| {
            log::warn!("{}: tuned points are not used: {why}", cl.info.name);
            HashMap::new()
        });
        let empty = AtomicBool::new(entries.is_empty());
        Table { entries: Mutex::new(entries), store, empty }
    }

    pub(super) fn find(
        &self,
        device: &Device,
        cl: &ClDevice,
        space: &'static Space,
        key: Key,
    ) -> Option<Found> {
        let entry = self.entries().get(&key).cloned()?;
        let found = Found { values: entry.values.clone(), cost: entry.cost, on_trial: false };
        if entry.driver == cl.driver() {
            return Some(found);
        }
        // Measured under another driver: right results come before speed. No lock is held meanwhile;
        // calls that the check makes have the point on trial and do not come here.
        let (_, dtype, class) = key;
        let right = check(device, cl, space, dtype, class, Some(entry.values.clone()), Depth::All);
        match &right {
            Ok(Ok(())) => {
                log::info!(
                    "{}: {} tuned under another driver is still right",
                    cl.info.name,
                    space.name
                );
                self.put(cl, key, Some(Entry { driver: cl.driver(), ..entry }));
                Some(found)
            }
            Ok(Err(what)) => {
                log::warn!(
                    "{}: {} as tuned under another driver is wrong now and dropped: {what}",
                    cl.info.name,
                    space.name
                );
                self.put(cl, key, None);
                None
            }
            Err(e) => {
                log::warn!(
                    "{}: {} as tuned under another driver does not run now and is dropped: {e}",
                    cl.info.name,
                    space.name
                );
                self.put(cl, key, None);
                None
            }
        }
    }

    /// Keeps or drops an entry, here and in the store.
    fn put(&self, cl: &ClDevice, key: Key, entry: Option<Entry>) {
        if let Err(e) = self.change(cl, key, entry) {
            log::debug!("{}: the store of tuned points: {e}", cl.info.name);
        }
    }

    /// As `put`; an error when the store cannot be written. The change holds for this process all
    /// the same.
    pub(super) fn change(
        &self,
        cl: &ClDevice,
        key: Key,
        entry: Option<Entry>,
    ) -> std::result::Result<(), String> {
        {
            let mut entries = self.entries();
            match &entry {
                Some(e) => entries.insert(key, e.clone()),
                None => entries.remove(&key),
            };
            self.empty.store(entries.is_empty(), Ordering::Release);
        }
        let Some(store) = &self.store else {
            return Err("CLAN_CACHE=off: there is no place to keep it".into());
        };
        // What another process stored meanwhile stays.
        let mut all = read(store, cl).unwrap_or_default();
        match entry {
            Some(e) => all.insert(key, e),
            None => all.remove(&key),
        };
        store.write(&all).map_err(|e| format!("{}: {e}", store.path.display()))
    }

    /// What is stored for a key now.
    pub(super) fn current(&self, key: &Key) -> Option<Entry> {
        self.entries().get(key).cloned()
    }

    pub(super) fn of(cl: &ClDevice) -> &Table {
        cl.tuned.get_or_init(|| Table::load(cl))
    }
}

fn read(store: &Store, cl: &ClDevice) -> std::result::Result<HashMap<Key, Entry>, String> {
    store.read(&|space, dtype, values| (space.fits)(cl, dtype, values))
}

/// The space of this name.
pub(super) fn space_named(name: &str) -> Option<&'static Space> {
    spaces().iter().copied().find(|s| s.name == name)
}
