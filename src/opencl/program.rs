//! Programs: built once a device and process, and kept as binaries on disk between processes.

use super::{ClDevice, failure};
use crate::error::{Error, ErrorKind, Result};
use ocl::core::{
    self, Kernel, ProgramBuildInfo, ProgramBuildInfoResult, ProgramInfo, ProgramInfoResult,
};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What tells programs apart before their text is made: the family's name and whatever varies its
/// text. Two variants with one key would be one program, so everything must be in it.
pub(crate) type Key = (&'static str, Vec<u8>);

type Built = Arc<OnceLock<Result<Arc<Program>>>>;

/// The programs of one device.
#[derive(Default)]
pub(crate) struct Programs {
    by_key: Mutex<HashMap<Key, Built>>,
    compiles: AtomicUsize,
}

pub(crate) struct Program {
    program: core::Program,
    /// Kernel objects that no launch uses. They are not safe to share but cheap to lend.
    idle: Mutex<HashMap<&'static str, Vec<Kernel>>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Programs {
    /// How many programs were compiled from source.
    pub fn compiles(&self) -> usize {
        self.compiles.load(Ordering::Relaxed)
    }

    /// The program for `key`, from memory, from disk, or compiled from `source`. Threads that ask
    /// for one program at the same time build it once.
    pub fn get(
        &self,
        device: &ClDevice,
        op: &'static str,
        key: Key,
        source: impl FnOnce() -> String,
    ) -> Result<Arc<Program>> {
        let slot = lock(&self.by_key).entry(key).or_default().clone();
        // Programs on trial are many, and most are never used again.
        slot.get_or_init(|| self.build(device, op, &source(), !crate::tune::on_trial())).clone()
    }

    /// A program that is kept nowhere. Who asks a driver for the binary of a program, to keep it, has all
    /// its kernels made ready to run, which takes longer than to see that they compile.
    #[cfg(test)]
    pub fn compile(
        &self,
        device: &ClDevice,
        op: &'static str,
        source: &str,
    ) -> Result<Arc<Program>> {
        self.build(device, op, source, false)
    }

    /// Forgets the programs made by `f`. Kernels in flight keep theirs.
    pub fn forgetting<R>(&self, f: impl FnOnce() -> R) -> R {
        let before: HashSet<Key> = lock(&self.by_key).keys().cloned().collect();
        let result = f();
        lock(&self.by_key).retain(|key, _| before.contains(key));
        result
    }

    /// With `keep` from disk, or else to disk for the next process.
    fn build(
        &self,
        device: &ClDevice,
        op: &'static str,
        source: &str,
        keep: bool,
    ) -> Result<Arc<Program>> {
        let runtime = device.runtime()?;
        let options = options(device, source);
        let identity = format!(
            "clan {}\0{}\0{}\0{}\0{}\0{options}\0{source}",
            env!("CARGO_PKG_VERSION"),
            device.info.platform,
            device.platform_version,
            device.info.name,
            device.info.driver,
        );
        let cache = match keep {
            true => crate::env::cache_dir()?.map(|dir| CacheFile::new(&dir, identity)),
            false => None,
        };
        let options = CString::new(options).unwrap_or_default();
        if let Some(binary) = cache.as_ref().and_then(CacheFile::read) {
            let loaded =
                core::create_program_with_binary(&runtime.context, &[device.id], &[&binary])
                    .and_then(|p| {
                        core::build_program(&p, Some(&[device.id]), &options, None, None)
                            .map(|()| p)
                    });
            match loaded {
                Ok(program) => return Ok(Program::new(program)),
                // A driver may refuse what another build of it made: compile as if nothing was there.
                Err(e) => log::debug!("{op}: the cached binary is refused: {e}"),
            }
        }
        self.compiles.fetch_add(1, Ordering::Relaxed);
        let text = CString::new(source).map_err(|_| {
            Error::new(ErrorKind::Build, op, "the kernel source contains a zero byte")
        })?;
        let program = core::create_program_with_source(&runtime.context, &[text])
            .map_err(|e| failure(op, "clCreateProgramWithSource", &e))?;
        let built = core::build_program(&program, Some(&[device.id]), &options, None, None);
        let said = || match core::get_program_build_info(
            &program,
            device.id,
            ProgramBuildInfo::BuildLog,
        ) {
            Ok(ProgramBuildInfoResult::BuildLog(log)) => Some(log),
            _ => None,
        };
        if let Err(e) = built {
            let log = said().unwrap_or_else(|| e.to_string());
            return Err(build_error(op, &device.info.name, &log, source));
        }
        if log::log_enabled!(log::Level::Debug)
            && let Some(log) = said().filter(|log| log.contains("warning"))
        {
            log::debug!("{op}: the compiler of {} says: {log}", device.info.name);
        }
        if let Some(cache) = cache {
            match core::get_program_info(&program, ProgramInfo::Binaries) {
                Ok(ProgramInfoResult::Binaries(list))
                    if list.first().is_some_and(|b| !b.is_empty()) =>
                {
                    if let Err(e) = cache.write(&list[0]) {
                        log::debug!("{op}: {} cannot be written: {e}", cache.path.display());
                    }
                }
                _ => log::debug!("{op}: {} gives no binary", device.info.name),
            }
        }
        Ok(Program::new(program))
    }
}

/// What a text begins with that says how many registers a work-item may have, so that more groups fit into a
/// compute unit. NVIDIA's compiler heeds it for kernels whose group size is not required.
const REGISTERS: &str = "// registers: ";

/// The line that says so.
pub(crate) fn registers(most: usize) -> String {
    format!("{REGISTERS}{most}\n")
}

/// Compiler options: the language that every driver knows, exact division where it exists, and what the text says.
fn options(device: &ClDevice, source: &str) -> String {
    let exact =
        if device.info.exact_division { " -cl-fp32-correctly-rounded-divide-sqrt" } else { "" };
    let twin = match device.twin {
        0 => String::new(),
        k => format!(" -DCLAN_TWIN={k}"),
    };
    let registers = source.strip_prefix(REGISTERS).filter(|_| device.takes_ptx());
    let registers = registers.and_then(|text| text.lines().next());
    let registers = registers.map_or(String::new(), |n| format!(" -cl-nv-maxrregcount={n}"));
    format!("-cl-std=CL1.2{exact}{twin}{registers}")
}

impl Program {
    fn new(program: core::Program) -> Arc<Program> {
        Arc::new(Program { program, idle: Mutex::default() })
    }

    /// A kernel object for one launch; [`Program::give_back`] takes it again.
    pub fn kernel(&self, op: &'static str, name: &'static str) -> Result<Kernel> {
        if let Some(kernel) = lock(&self.idle).get_mut(name).and_then(Vec::pop) {
            return Ok(kernel);
        }
        core::create_kernel(&self.program, name).map_err(|e| failure(op, "clCreateKernel", &e))
    }

    pub fn give_back(&self, name: &'static str, kernel: Kernel) {
        lock(&self.idle).entry(name).or_default().push(kernel);
    }
}

/// The compiler's log with the source lines that it speaks of.
fn build_error(op: &'static str, device: &str, log: &str, source: &str) -> Error {
    let lines: Vec<&str> = source.lines().collect();
    let mut message = format!("the compiler of {device} refused the kernel:");
    for text in log.lines().filter(|l| !l.trim().is_empty()).take(40) {
        message.push_str("\n  ");
        message.push_str(text);
        // Compilers write FILE:LINE:COLUMN.
        let number = text.split(':').nth(1).and_then(|n| n.trim().parse::<usize>().ok());
        if let Some(line) = number.and_then(|n| lines.get(n.checked_sub(1)?)) {
            message.push_str("\n    | ");
            message.push_str(line.trim_end());
        }
    }
    Error::new(ErrorKind::Build, op, message)
}

/// One program's binary on disk. The file holds the whole identity, so a name that two programs
/// share, a truncated or a foreign file is noticed and ignored.
struct CacheFile {
    path: PathBuf,
    identity: String,
}

const MAGIC: &[u8; 8] = b"clanprg1";

impl CacheFile {
    fn new(dir: &Path, identity: String) -> CacheFile {
        // Two halves, because one 64-bit hash of many programs may collide.
        let name = format!(
            "{:016x}{:016x}.bin",
            fnv(identity.as_bytes(), 0),
            fnv(identity.as_bytes(), 0x9e37_79b9)
        );
        CacheFile { path: dir.join(name), identity }
    }

    fn read(&self) -> Option<Vec<u8>> {
        let file = std::fs::read(&self.path).ok()?;
        let (body, sum) = file.split_last_chunk::<8>()?;
        let rest = body.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (identity, binary) = rest.split_at_checked(length)?;
        let sound =
            fnv(body, 0) == u64::from_le_bytes(*sum) && identity == self.identity.as_bytes();
        (sound && !binary.is_empty()).then(|| binary.to_vec())
    }

    fn write(&self, binary: &[u8]) -> std::io::Result<()> {
        let mut body = Vec::with_capacity(self.identity.len() + binary.len() + 24);
        body.extend_from_slice(MAGIC);
        body.extend_from_slice(&(self.identity.len() as u64).to_le_bytes());
        body.extend_from_slice(self.identity.as_bytes());
        body.extend_from_slice(binary);
        body.extend_from_slice(&fnv(&body, 0).to_le_bytes());
        replace(&self.path, &body)
    }
}

/// Replaces a file. It is written beside and renamed, so that readers see all of it or nothing.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{unique}.tmp", std::process::id()));
    let written = std::fs::File::create(&beside)
        .and_then(|mut f| f.write_all(bytes))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
pub(crate) fn fnv(bytes: &[u8], seed: u64) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_file_is_believed_only_when_whole_and_ours() {
        let dir = std::env::temp_dir().join(format!("clan-cache-{}", std::process::id()));
        let file = CacheFile::new(&dir, "one".into());
        assert_eq!(file.read(), None);
        file.write(b"binary").unwrap();
        assert_eq!(file.read().unwrap(), b"binary");
        let whole = std::fs::read(&file.path).unwrap();
        for n in 0..whole.len() {
            std::fs::write(&file.path, &whole[..n]).unwrap();
            assert_eq!(file.read(), None, "truncated to {n}");
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            std::fs::write(&file.path, &bad).unwrap();
            assert_eq!(file.read(), None, "byte {at} flipped");
        }
        let other = CacheFile { path: file.path.clone(), identity: "two".into() };
        std::fs::write(&file.path, &whole).unwrap();
        assert_eq!(other.read(), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn build_errors_show_the_line() {
        let e = build_error("map", "gpu", "<source>:2:5: error: no\n", "int a;\nint b c;\n");
        assert!(e.to_string().contains("| int b c;"), "{e}");
    }
}
