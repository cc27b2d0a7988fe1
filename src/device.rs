//! Devices: what this machine can compute on, and what each of them offers.

use crate::backend::{Backend, MemoryUsage};
use crate::element::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
#[cfg(feature = "opencl")]
use crate::opencl::ClDevice;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
#[cfg(feature = "opencl")]
use std::sync::Arc;
use std::sync::OnceLock;

/// One OpenCL device, or the host (this process's CPU through rayon).
///
/// Cheap to clone; equal when it is the same device. OpenCL is looked up once a process, at the
/// first call that needs it; [`Device::host`] never does.
#[derive(Clone)]
pub struct Device(Handle);

/// Every array holds one: that of a listed device is copied without counting, which threads would do in turns.
#[derive(Clone)]
enum Handle {
    Listed(&'static Inner),
    #[cfg(feature = "opencl")]
    Part(Arc<Inner>),
}

impl Deref for Handle {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        match self {
            Handle::Listed(inner) => inner,
            #[cfg(feature = "opencl")]
            Handle::Part(inner) => inner,
        }
    }
}

struct Inner {
    index: usize,
    info: DeviceInfo,
    backing: Backing,
}

#[allow(clippy::large_enum_variant, reason = "one a device, which is never moved")]
pub(crate) enum Backing {
    Host(Host),
    #[cfg(feature = "opencl")]
    OpenCl(Box<ClDevice>),
}

/// What kind of processor a device is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// This process's CPU through rayon, without OpenCL.
    Host,
    /// A CPU through OpenCL.
    Cpu,
    /// A GPU.
    Gpu,
    /// Another processor.
    Accelerator,
}

impl DeviceKind {
    /// `"host"`, `"cpu"`, `"gpu"` or `"accelerator"`.
    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Host => "host",
            DeviceKind::Cpu => "cpu",
            DeviceKind::Gpu => "gpu",
            DeviceKind::Accelerator => "accelerator",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a device is and can do. Sizes are in bytes.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The device's own name.
    pub name: String,
    /// The OpenCL platform (driver) it belongs to, `"host"` for the host.
    pub platform: String,
    /// Who makes it.
    pub vendor: String,
    /// Version of the driver.
    pub driver: String,
    /// What kind of processor it is.
    pub kind: DeviceKind,
    /// Compute units: multiprocessors of a GPU, threads of a CPU.
    pub compute_units: usize,
    /// Most work-items in one work-group.
    pub max_work_group: usize,
    /// Room for the arguments of one kernel.
    pub argument_bytes: usize,
    /// The four memory spaces.
    pub memory: MemorySpaces,
    /// Whether it computes in `f64`.
    pub fp64: bool,
    /// Whether it computes in half precision. Arrays of `f16` and `bf16` work everywhere: they
    /// are computed in `f32`.
    pub fp16: bool,
    /// Whether `f32` keeps subnormal numbers.
    pub denormals: bool,
    /// Whether it has atomic operations on 64-bit integers.
    pub atomics64: bool,
    /// Whether `f32` division and square root are rounded correctly.
    pub exact_division: bool,
}

impl DeviceInfo {
    /// Whether a lower-case text that is not an index names the device. The host is named by
    /// `"host"` alone: its processor's name and vendor would fit what is meant for a GPU.
    fn fits(&self, name: &str) -> bool {
        let kinds = [DeviceKind::Host, DeviceKind::Cpu, DeviceKind::Gpu, DeviceKind::Accelerator];
        if name.is_empty() || self.kind == DeviceKind::Host {
            return name == self.kind.name();
        }
        if kinds.iter().any(|k| k.name() == name) {
            return name == self.kind.name();
        }
        let alias = match self.platform.as_str() {
            "Portable Computing Language" => "pocl",
            _ => "",
        };
        alias == name
            || [&self.name, &self.platform, &self.vendor]
                .iter()
                .any(|s| s.to_lowercase().contains(name))
    }
}

/// The sizes of a device's memory spaces in bytes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct MemorySpaces {
    /// Global memory: where arrays live.
    pub global_bytes: u64,
    /// The largest single buffer, and so the largest array.
    pub max_alloc_bytes: u64,
    /// Constant memory that one kernel may read.
    pub constant_bytes: u64,
    /// Local memory of one work-group; 0 on the host.
    pub local_bytes: u64,
    /// Whether local memory is memory of its own (on a CPU it is a part of global memory).
    pub local_dedicated: bool,
}

/// Whether OpenCL was found, and in words why not.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct OpenClStatus {
    /// The library that was loaded.
    pub loader: Option<PathBuf>,
    /// Why there are no OpenCL devices; `None` when there are.
    pub reason: Option<String>,
}

/// A device and the reason why it was chosen.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Choice {
    /// The chosen device.
    pub device: Device,
    /// Why, in words.
    pub reason: String,
}

struct Registry {
    devices: Vec<Device>,
    status: OpenClStatus,
}

/// Devices and their caches live as long as the process: OpenCL drivers do not survive being
/// taken down by destructors of statics, so nothing here is ever dropped.
static REGISTRY: OnceLock<Registry> = OnceLock::new();
static HOST: OnceLock<Device> = OnceLock::new();

fn registry() -> &'static Registry {
    REGISTRY.get_or_init(|| {
        #[cfg(feature = "opencl")]
        let (found, status) = crate::opencl::discover();
        #[cfg(not(feature = "opencl"))]
        let status = OpenClStatus {
            loader: None,
            reason: Some("clan was built without its feature `opencl`".to_string()),
        };
        #[allow(unused_mut)]
        let mut devices = vec![Device::host()];
        #[cfg(feature = "opencl")]
        for (info, device) in found {
            let index = devices.len();
            let backing = Backing::OpenCl(Box::new(device));
            devices.push(Device::listed(Inner { index, info, backing }));
        }
        for d in &devices {
            log::debug!("device {}: {d}", d.index());
        }
        Registry { devices, status }
    })
}

impl Device {
    fn listed(inner: Inner) -> Device {
        Device(Handle::Listed(Box::leak(Box::new(inner))))
    }

    /// Every device: the host first (index 0), then the OpenCL devices in the order in which their
    /// drivers list them. The list is made once; every thread sees the same.
    pub fn all() -> Vec<Device> {
        registry().devices.clone()
    }

    /// One device of each kind: those of one name and driver run the same kernels.
    #[cfg(test)]
    pub(crate) fn kinds() -> Vec<Device> {
        let mut seen = std::collections::HashSet::new();
        let mut devices = Device::all();
        devices.retain(|d| seen.insert((d.info().platform.clone(), d.info().name.clone())));
        devices
    }

    /// The host: this process's CPU through rayon. Never looks for OpenCL.
    pub fn host() -> Device {
        HOST.get_or_init(|| {
            Device::listed(Inner {
                index: 0,
                info: host_info(),
                backing: Backing::Host(Host::new()),
            })
        })
        .clone()
    }

    /// The device that programs use unless they say otherwise; see [`Device::choose`].
    ///
    /// # Errors
    /// When `CLAN_DEVICE` names no device of this machine.
    pub fn best() -> Result<Device> {
        Device::choose().map(|c| c.device)
    }

    /// The device of [`Device::best`] and why it was chosen: what the environment variable
    /// `CLAN_DEVICE` names (as in [`Device::select`]), else the GPU with the most memory (a GPU
    /// before another accelerator), else the host. A CPU through OpenCL is only taken by name: the
    /// host backend runs on the same cores and compiles nothing.
    ///
    /// # Errors
    /// When `CLAN_DEVICE` names no device of this machine.
    pub fn choose() -> Result<Choice> {
        if let Some(name) = crate::env::device()? {
            let device = Device::select(name.as_str())
                .map_err(|e| Error::new(e.kind(), "CLAN_DEVICE", e.to_string()))?;
            return Ok(Choice { device, reason: format!("CLAN_DEVICE={name}") });
        }
        let rank = |d: &Device| match d.kind() {
            DeviceKind::Gpu => 2,
            DeviceKind::Accelerator => 1,
            _ => 0,
        };
        let devices = &registry().devices;
        let best = devices
            .iter()
            .filter(|d| rank(d) > 0)
            .max_by_key(|d| (rank(d), d.memory().global_bytes, std::cmp::Reverse(d.index())));
        Ok(match best {
            Some(device) => Choice {
                device: device.clone(),
                reason: format!(
                    "the {} with the most memory ({} MiB)",
                    device.kind(),
                    device.memory().global_bytes >> 20
                ),
            },
            None => Choice {
                device: Device::host(),
                reason: match &registry().status.reason {
                    Some(why) => format!("no OpenCL device: {why}"),
                    None => "no GPU among the OpenCL devices".to_string(),
                },
            },
        })
    }

    /// The device that `which` names: an index into [`Device::all`], or a text.
    ///
    /// A text is an index in digits, `"host"`, a kind of OpenCL device (`"gpu"`, `"cpu"`,
    /// `"accelerator"`), or a part of an OpenCL device's, platform's or vendor's name in any case;
    /// `":1"` after it takes the second that fits, as in `"pocl:1"`. GPUs come before other
    /// devices that fit (`"amd"` means the graphics card, also beside an AMD processor that
    /// computes through OpenCL), else the order is that of [`Device::all`]. `"pocl"` stands for
    /// "Portable Computing Language". Only `"host"` and index 0 name the host.
    ///
    /// ```
    /// # use clan::Device;
    /// assert_eq!(Device::select("host")?, Device::host());
    /// assert_eq!(Device::select(0)?, Device::host());
    /// assert!(Device::select("no such device").is_err());
    /// # Ok::<(), clan::Error>(())
    /// ```
    ///
    /// # Errors
    /// When nothing fits; the message lists the devices.
    pub fn select<'a>(which: impl Into<Select<'a>>) -> Result<Device> {
        let (name, position) = match which.into() {
            Select::Index(i) => return by_index(i),
            Select::Name(text) => {
                let text = text.trim();
                if let Ok(i) = text.parse::<usize>() {
                    return by_index(i);
                }
                match text.rsplit_once(':') {
                    Some((name, n)) if !name.is_empty() => match n.parse::<usize>() {
                        Ok(n) => (name.to_lowercase(), n),
                        Err(_) => (text.to_lowercase(), 0),
                    },
                    _ => (text.to_lowercase(), 0),
                }
            }
        };
        if name == "host" && position == 0 {
            return Ok(Device::host());
        }
        let mut fitting: Vec<&Device> =
            registry().devices.iter().filter(|d| d.0.info.fits(&name)).collect();
        // Stable, so devices of one kind keep their order.
        fitting.sort_by_key(|d| d.kind() != DeviceKind::Gpu);
        fitting.get(position).map(|&d| d.clone()).ok_or_else(|| {
            none_such(format!(
                "no device fits {name:?}{}",
                if position > 0 { format!(" number {position}") } else { String::new() }
            ))
        })
    }

    /// Parts of an OpenCL device with `units` compute units each, which work side by side and can be
    /// members of a group (`clCreateSubDevices`). Mostly CPUs can be divided. A part has the
    /// device's index, and its own memory pool and programs; it lasts as long as the process.
    ///
    /// # Errors
    /// The host, whose members share its threads anyway; a device that cannot be divided so.
    pub fn partition(&self, units: usize) -> Result<Vec<Device>> {
        match self.backing() {
            #[cfg(feature = "opencl")]
            Backing::OpenCl(cl) => {
                let whole = |(info, part)| {
                    let backing = Backing::OpenCl(Box::new(part));
                    Device(Handle::Part(Arc::new(Inner { index: self.index(), info, backing })))
                };
                Ok(cl.partition(units)?.into_iter().map(whole).collect())
            }
            Backing::Host(_) => {
                let text = format!(
                    "the host has no parts of {units} units: make it several members of a group as it is"
                );
                Err(Error::argument("partition", text))
            }
        }
    }

    /// Position in [`Device::all`].
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Everything known about it.
    pub fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    /// The device's own name.
    pub fn name(&self) -> &str {
        &self.0.info.name
    }

    /// What kind of processor it is.
    pub fn kind(&self) -> DeviceKind {
        self.0.info.kind
    }

    /// True for the host.
    pub fn is_host(&self) -> bool {
        self.kind() == DeviceKind::Host
    }

    /// The sizes of its memory spaces.
    pub fn memory(&self) -> MemorySpaces {
        self.0.info.memory
    }

    /// Whether arrays of this type can be computed on. Arrays of every type can be stored and
    /// copied everywhere.
    pub fn supports(&self, dtype: DType) -> bool {
        dtype != DType::F64 || self.0.info.fp64
    }

    /// What its memory pool holds.
    pub fn usage(&self) -> MemoryUsage {
        self.backend().usage()
    }

    /// Gives the pool's cached memory back to the system.
    pub fn trim(&self) {
        self.backend().trim();
    }

    /// Waits until everything started on the device has finished.
    ///
    /// # Errors
    /// When the device failed in the meantime.
    pub fn wait(&self) -> Result<()> {
        self.backend().wait()
    }

    /// Whether OpenCL was found, and why not.
    pub fn opencl_status() -> OpenClStatus {
        registry().status.clone()
    }

    /// How often this process has compiled an OpenCL program on the device, loads from the disk
    /// cache not counted.
    pub fn compiles(&self) -> usize {
        match &self.0.backing {
            Backing::Host(_) => 0,
            #[cfg(feature = "opencl")]
            Backing::OpenCl(cl) => cl.programs.compiles(),
        }
    }

    /// The kind of processor that kernels are chosen and shaped for.
    pub(crate) fn launch_kind(&self) -> DeviceKind {
        match &self.0.backing {
            Backing::Host(_) => DeviceKind::Host,
            #[cfg(feature = "opencl")]
            Backing::OpenCl(cl) => cl.launch_kind,
        }
    }

    pub(crate) fn backing(&self) -> &Backing {
        &self.0.backing
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        match &self.0.backing {
            Backing::Host(host) => host,
            #[cfg(feature = "opencl")]
            Backing::OpenCl(cl) => &**cl,
        }
    }

    /// Refuses an operand on another device. `mine` and `theirs` say what lives on each, as in "the
    /// matrix lives".
    pub(crate) fn require_same(
        &self,
        op: &'static str,
        mine: &str,
        other: &Device,
        theirs: &str,
    ) -> Result<()> {
        if self == other {
            return Ok(());
        }
        let text =
            format!("{mine} on {self} and {theirs} on {other}; copy one with `to_device` first");
        Err(Error::new(ErrorKind::DeviceMismatch, op, text))
    }

    /// The error for an element type that the device cannot compute in.
    pub(crate) fn require(&self, op: &'static str, dtype: DType) -> Result<()> {
        if self.supports(dtype) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Type,
            op,
            format!("{self} does not compute in {dtype}; cast to f32, or use Device::host()"),
        ))
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        std::ptr::eq(&*self.0, &*other.0)
    }
}

impl Eq for Device {}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            DeviceKind::Host => write!(f, "host ({})", self.name()),
            _ => write!(f, "{} [{}]", self.name(), self.info().platform),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({}: {self})", self.index())
    }
}

/// What names a device: its index or a text; see [`Device::select`].
#[derive(Clone, Copy, Debug)]
pub enum Select<'a> {
    /// Position in [`Device::all`].
    Index(usize),
    /// Part of a name.
    Name(&'a str),
}

impl From<usize> for Select<'_> {
    fn from(i: usize) -> Self {
        Select::Index(i)
    }
}

impl<'a> From<&'a str> for Select<'a> {
    fn from(s: &'a str) -> Self {
        Select::Name(s)
    }
}

impl<'a> From<&'a String> for Select<'a> {
    fn from(s: &'a String) -> Self {
        Select::Name(s)
    }
}

fn by_index(i: usize) -> Result<Device> {
    if i == 0 {
        return Ok(Device::host());
    }
    registry().devices.get(i).cloned().ok_or_else(|| none_such(format!("there is no device {i}")))
}

fn none_such(what: String) -> Error {
    let devices: Vec<String> =
        registry().devices.iter().map(|d| format!("{}: {d}", d.index())).collect();
    let mut message = format!("{what}; the devices are {}", devices.join(", "));
    if let Some(reason) = &registry().status.reason {
        message.push_str(&format!(" (no OpenCL: {reason})"));
    }
    Error::new(ErrorKind::NoDevice, "select", message)
}

fn host_info() -> DeviceInfo {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read_field("/proc/meminfo", "MemTotal:")
        .and_then(|v| v.trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib << 10);
    DeviceInfo {
        name: read_field("/proc/cpuinfo", "model name").map_or_else(
            || std::env::consts::ARCH.to_string(),
            |v| v.trim_start_matches(':').trim().to_string(),
        ),
        platform: "host".to_string(),
        vendor: read_field("/proc/cpuinfo", "vendor_id").map_or_else(
            || "unknown".to_string(),
            |v| v.trim_start_matches(':').trim().to_string(),
        ),
        driver: format!("clan {}", env!("CARGO_PKG_VERSION")),
        kind: DeviceKind::Host,
        compute_units: threads,
        max_work_group: 1,
        argument_bytes: usize::MAX,
        memory: MemorySpaces {
            global_bytes: memory,
            max_alloc_bytes: isize::MAX as u64,
            ..MemorySpaces::default()
        },
        fp64: true,
        fp16: false,
        denormals: true,
        atomics64: cfg!(target_has_atomic = "64"),
        exact_division: true,
    }
}

/// The value of the first line of a Linux `/proc` file that starts with `key`.
fn read_field(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    Some(line[key.len()..].trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit() {
        let host = DeviceInfo {
            name: "Intel(R) Xeon(R) CPU".into(),
            vendor: "GenuineIntel".into(),
            ..host_info()
        };
        let gpu = DeviceInfo {
            kind: DeviceKind::Gpu,
            name: "Intel(R) Arc(TM) A770".into(),
            platform: "Intel(R) OpenCL Graphics".into(),
            vendor: "Intel(R) Corporation".into(),
            ..host_info()
        };
        let pocl = DeviceInfo {
            kind: DeviceKind::Cpu,
            name: "cpu-haswell-gpu-like".into(),
            platform: "Portable Computing Language".into(),
            vendor: "AuthenticAMD".into(),
            ..host_info()
        };
        let fits = |name: &str| [&host, &gpu, &pocl].map(|i| i.fits(name));
        assert_eq!(fits("host"), [true, false, false]);
        assert_eq!(fits("intel"), [false, true, false]);
        assert_eq!(fits("cpu"), [false, false, true]);
        assert_eq!(fits("gpu"), [false, true, false]);
        assert_eq!(fits("pocl"), [false, false, true]);
        assert_eq!(fits(""), [false, false, false]);
    }
}
