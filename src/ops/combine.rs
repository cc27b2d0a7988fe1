//! `combine`: what members of a group do with elements that come to their own. Kernels:
//! `cl/combine.cl`.

use super::reproducible::{Join, Real};
use super::{Op, run};
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::{DType, Element};
use crate::error::Result;
#[cfg(feature = "opencl")]
use crate::expr::node::Binary;
use crate::group::ReduceOp;
use crate::host::eval::{SharedOut, for_each_piece};
use crate::host::{maximum, minimum};
#[cfg(feature = "opencl")]
use crate::opencl::{ClDevice, Launch, codegen, program::Program};
use half::{bf16, f16};
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// The kernels' text.
#[cfg(feature = "opencl")]
pub(crate) const SOURCE: &str = include_str!("../../cl/combine.cl");

/// `n` elements from `a` and `b` to `out`, which may be `a` or `b` itself but overlaps them in no
/// other way.
type Pair = dyn Fn(*const u8, *const u8, *mut u8, usize) + Send + Sync;
/// `n` elements of four arrays, the first two first, to `out`, which overlaps none of them.
type Four = dyn Fn([*const u8; 4], *mut u8, usize) + Send + Sync;

/// An operator's loops on the host.
#[derive(Clone)]
struct HostLoop {
    pair: Arc<Pair>,
    four: Arc<Four>,
}

/// An associative operator over elements of one type, for both backends.
#[derive(Clone)]
pub(crate) struct Combine {
    pub name: String,
    pub dtype: DType,
    /// A user's: the body of a function of `a` and `b` in OpenCL C.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    pub body: Option<String>,
    /// The crate's own.
    pub own: Option<ReduceOp>,
    pub commutes: bool,
    host: HostLoop,
}

impl Combine {
    /// As [`Combining`], of host memory and on this thread.
    pub fn block(&self, a: SharedOut, b: SharedOut, out: SharedOut, n: usize) {
        (self.host.pair)(a.0, b.0, out.0, n);
    }

    /// As [`Combine::block`], for four arrays at once: memory is faster when all are read together.
    pub fn block_of_four(&self, from: [SharedOut; 4], out: SharedOut, n: usize) {
        (self.host.four)(from.map(|p| p.0.cast_const()), out.0, n);
    }

    /// The same operator, applied in the order of the members.
    pub fn in_order(&self) -> Combine {
        Combine { commutes: false, ..self.clone() }
    }
}

impl fmt::Debug for Combine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Combine({} of {})", self.name, self.dtype)
    }
}

/// One element; whatever bytes a device left for a `bool` are made one.
///
/// # Safety
/// `from` is one of `T`.
unsafe fn load<T: Element>(from: *const u8) -> T {
    // SAFETY: the caller's promise; a `bool` is read as the byte that it is, and 0 and 1 are `bool`s.
    unsafe {
        if T::DTYPE == DType::Bool {
            let byte = u8::from(from.read() != 0);
            return (&raw const byte).cast::<T>().read();
        }
        from.cast::<T>().read()
    }
}

/// # Safety
/// As [`Pair`] says.
unsafe fn each<T: Element>(
    f: &impl Fn(T, T) -> T,
    a: *const u8,
    b: *const u8,
    out: *mut u8,
    n: usize,
) {
    let size = size_of::<T>();
    // SAFETY: element i is read before it is written and no other is touched; all three have n.
    unsafe {
        if T::DTYPE == DType::Bool || (out.cast_const() != a && out.cast_const() != b) {
            for i in 0..n {
                let v = f(load(a.add(i * size)), load(b.add(i * size)));
                out.add(i * size).cast::<T>().write(v);
            }
            return;
        }
        // Said with slices, for compilers do not vectorise over memory that may overlap.
        let own = std::slice::from_raw_parts_mut(out.cast::<T>(), n);
        if out.cast_const() == a {
            let other = std::slice::from_raw_parts(b.cast::<T>(), n);
            own.iter_mut().zip(other).for_each(|(own, &v)| *own = f(*own, v));
        } else {
            let other = std::slice::from_raw_parts(a.cast::<T>(), n);
            own.iter_mut().zip(other).for_each(|(own, &v)| *own = f(v, *own));
        }
    }
}

/// # Safety
/// As [`Four`] says.
unsafe fn each_of_four<T: Element>(
    f: &impl Fn(T, T) -> T,
    from: [*const u8; 4],
    out: *mut u8,
    n: usize,
) {
    let [a, b, c, d] = from;
    // SAFETY: all have n elements, and `out` is apart from the others.
    unsafe {
        if T::DTYPE == DType::Bool {
            each(f, a, b, out, n);
            each(f, out, c, out, n);
            return each(f, out, d, out, n);
        }
        let array = |p: *const u8| std::slice::from_raw_parts(p.cast::<T>(), n);
        let out = std::slice::from_raw_parts_mut(out.cast::<MaybeUninit<T>>(), n);
        let rest = array(b).iter().zip(array(c)).zip(array(d));
        for ((out, &a), ((&b, &c), &d)) in out.iter_mut().zip(array(a)).zip(rest) {
            out.write(f(f(f(a, b), c), d));
        }
    }
}

fn host_loop<T: Element>(f: impl Fn(T, T) -> T + Send + Sync + 'static) -> HostLoop {
    let f = Arc::new(f);
    let four = f.clone();
    HostLoop {
        // SAFETY: the promise of `Pair`, which callers keep.
        pair: Arc::new(move |a, b, out, n| unsafe { each(&*f, a, b, out, n) }),
        // SAFETY: that of `Four`.
        four: Arc::new(move |from, out, n| unsafe { each_of_four(&*four, from, out, n) }),
    }
}

/// The loops of the crate's operators: `$wrap` computes in another type.
macro_rules! own_loops {
    ($op:expr, $T:ty, $add:expr, $mul:expr) => {
        match $op {
            ReduceOp::Sum | ReduceOp::Average => host_loop::<$T>($add),
            ReduceOp::Product => host_loop::<$T>($mul),
            ReduceOp::Min => host_loop::<$T>(minimum),
            _ => host_loop::<$T>(maximum),
        }
    };
}
macro_rules! integer_loops {
    ($op:expr, $T:ty) => {
        match $op {
            ReduceOp::And => host_loop::<$T>(|a, b| a & b),
            ReduceOp::Or => host_loop::<$T>(|a, b| a | b),
            ReduceOp::Xor => host_loop::<$T>(|a, b| a ^ b),
            op => own_loops!(op, $T, |a, b| a.wrapping_add(b), |a, b| a.wrapping_mul(b)),
        }
    };
}
macro_rules! half_loops {
    ($op:expr, $T:ty) => {{
        // Which of two is least shows in f32 as well: every half float is one.
        fn wide(f: impl Fn(f32, f32) -> f32) -> impl Fn($T, $T) -> $T {
            move |a, b| <$T>::from_f32(f(a.to_f32(), b.to_f32()))
        }
        match $op {
            ReduceOp::Sum | ReduceOp::Average => host_loop::<$T>(wide(|a, b| a + b)),
            ReduceOp::Product => host_loop::<$T>(wide(|a, b| a * b)),
            ReduceOp::Min => host_loop::<$T>(wide(minimum)),
            _ => host_loop::<$T>(wide(maximum)),
        }
    }};
}

fn own_host(op: ReduceOp, dtype: DType) -> HostLoop {
    match dtype {
        DType::Bool => match op {
            ReduceOp::Min | ReduceOp::And => host_loop::<bool>(|a, b| a & b),
            ReduceOp::Xor => host_loop::<bool>(|a, b| a ^ b),
            _ => host_loop::<bool>(|a, b| a | b),
        },
        DType::I8 => integer_loops!(op, i8),
        DType::I16 => integer_loops!(op, i16),
        DType::I32 => integer_loops!(op, i32),
        DType::I64 => integer_loops!(op, i64),
        DType::U8 => integer_loops!(op, u8),
        DType::U16 => integer_loops!(op, u16),
        DType::U32 => integer_loops!(op, u32),
        DType::U64 => integer_loops!(op, u64),
        DType::F16 => half_loops!(op, f16),
        DType::BF16 => half_loops!(op, bf16),
        DType::F32 => own_loops!(op, f32, |a, b| a + b, |a, b| a * b),
        DType::F64 => own_loops!(op, f64, |a, b| a + b, |a, b| a * b),
    }
}

/// The bytes of the value that changes nothing.
pub(crate) fn identity(op: ReduceOp, dtype: DType) -> [u8; 8] {
    use ReduceOp as R;
    let integer = |least: u64, greatest: u64| match op {
        R::Sum | R::Average | R::Or | R::Xor => 0,
        R::Product => 1,
        R::Min => greatest,
        R::Max => least,
        R::And => u64::MAX,
    };
    let float = |zero: u64, one: u64, infinity: u64, negative: u64| match op {
        R::Product => one,
        R::Min => infinity,
        R::Max => negative,
        _ => zero,
    };
    let bits = match dtype {
        DType::Bool => u64::from(matches!(op, R::Min | R::And)),
        DType::F16 => float(0, 0x3c00, 0x7c00, 0xfc00),
        DType::BF16 => float(0, 0x3f80, 0x7f80, 0xff80),
        DType::F32 => {
            let bits = |v: f32| u64::from(v.to_bits());
            float(0, bits(1.0), bits(f32::INFINITY), bits(f32::NEG_INFINITY))
        }
        DType::F64 => {
            let bits = |v: f64| v.to_bits();
            float(0, bits(1.0), bits(f64::INFINITY), bits(f64::NEG_INFINITY))
        }
        d if d.is_signed() => {
            let sign = 1u64 << (d.size() * 8 - 1);
            integer(sign, sign - 1)
        }
        _ => integer(0, u64::MAX),
    };
    // The least significant bytes first, which are the value whatever its size...
    let little = bits.to_le_bytes();
    let mut bytes = [0; 8];
    let size = dtype.size();
    bytes[..size].copy_from_slice(&little[..size]);
    // ... and the other way round where the machine has it so.
    if cfg!(target_endian = "big") {
        bytes[..size].reverse();
    }
    bytes
}

impl Combine {
    pub fn own(op: ReduceOp, dtype: DType) -> Combine {
        Combine {
            name: op.name().to_string(),
            dtype,
            body: None,
            own: Some(op),
            commutes: true,
            host: own_host(op, dtype),
        }
    }

    /// Sum, product, least or greatest of floats with the same bits everywhere; `None` for others.
    pub fn settled(op: ReduceOp, dtype: DType) -> Option<Combine> {
        fn wide<T: Real>(by: Join) -> impl Fn(T, T) -> T {
            move |a, b| T::join(by, a, b).settle()
        }
        let by = Join::of(op)?;
        let text = match by {
            Join::Sum => "clan_t v = a + b;",
            Join::Prod => "clan_t v = a * b;",
            Join::Min => "clan_t v = a != a || a < b || (a == b && signbit(a)) ? a : b;",
            Join::Max => "clan_t v = a != a || a > b || (a == b && !signbit(a)) ? a : b;",
        };
        let half = move |a: f32, b: f32| wide::<f32>(by)(a, b);
        let (host, nan) = match dtype {
            DType::F32 => (host_loop(wide::<f32>(by)), "as_float(0x7fc00000u)"),
            DType::F64 => (host_loop(wide::<f64>(by)), "as_double(0x7ff8000000000000ul)"),
            DType::F16 => {
                let f = move |a: f16, b: f16| f16::from_f32(half(a.to_f32(), b.to_f32()));
                (host_loop(f), "as_float(0x7fc00000u)")
            }
            DType::BF16 => {
                let f = move |a: bf16, b: bf16| bf16::from_f32(half(a.to_f32(), b.to_f32()));
                (host_loop(f), "as_float(0x7fc00000u)")
            }
            _ => return None,
        };
        let body = Some(format!("{text} return v != v ? {nan} : v;"));
        let name = format!("{}, in one order", op.name());
        Some(Combine { name, dtype, body, own: None, commutes: false, host })
    }

    pub fn user<T: Element>(
        name: String,
        body: String,
        host: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) -> Combine {
        let host = host_loop(host);
        Combine { name, dtype: T::DTYPE, body: Some(body), own: None, commutes: true, host }
    }

    /// The body of the function in OpenCL C.
    #[cfg(feature = "opencl")]
    pub fn text(&self) -> String {
        let binary = match self.own {
            None => return self.body.clone().unwrap_or_default(),
            // Of `bool`s, which are 0 and 1.
            Some(ReduceOp::Min) if self.dtype == DType::Bool => Binary::And,
            Some(ReduceOp::Max) if self.dtype == DType::Bool => Binary::Or,
            Some(ReduceOp::Sum | ReduceOp::Average) => Binary::Add,
            Some(ReduceOp::Product) => Binary::Mul,
            Some(ReduceOp::Min) => Binary::Min,
            Some(ReduceOp::Max) => Binary::Max,
            Some(ReduceOp::And) => Binary::And,
            Some(ReduceOp::Or) => Binary::Or,
            Some(ReduceOp::Xor) => Binary::Xor,
        };
        format!("return {};", codegen::binary(binary, self.dtype.compute(), "a", "b"))
    }

    /// Builds what a device needs, so that nothing is left that can be wrong with the operator.
    #[cfg(feature = "opencl")]
    pub fn build(&self, op: &'static str, device: &ClDevice) -> Result<()> {
        self.program(op, device, device.point.vector_bytes / self.dtype.size(), false).map(drop)
    }

    #[cfg(feature = "opencl")]
    fn program(
        &self,
        op: &'static str,
        device: &ClDevice,
        vec: usize,
        wide: bool,
    ) -> Result<Arc<Program>> {
        let (text, point, vec) = (self.text(), device.point, vec.max(1));
        let mut key = vec![self.dtype as u8, vec as u8, u8::from(wide)];
        point.key(&mut key);
        key.extend(text.as_bytes());
        device.programs.get(device, op, ("combine", key), || {
            let head = codegen::defines(device, wide, point);
            [&head, codegen::PRELUDE, &types(self.dtype, vec, &text), SOURCE].concat()
        })
    }
}

/// What comes between the prelude and the file.
#[cfg(feature = "opencl")]
pub(crate) fn types(dtype: DType, vec: usize, body: &str) -> String {
    // Whatever a user's text computes of `bool`s is made 0 or 1.
    let checked = if dtype == DType::Bool { "(clan_t)(v != 0)" } else { "v" };
    let body = codegen::output_type(dtype, vec)
        + &format!(
            "#define CLAN_COMBINED
static inline clan_t clan_combined(const clan_t a, const clan_t b) {{
{body}
}}
static inline clan_t clan_combine(const clan_t a, const clan_t b) {{
  const clan_t v = clan_combined(a, b);
  return {checked};
}}
"
        );
    let share = match dtype {
        d if d.is_float() => "((v) / (clan_t)(n))",
        // The count may be more than the type holds.
        d if d.is_signed() => "((clan_t)((long)(v) / (long)(n)))",
        _ => "((clan_t)((ulong)(v) / (ulong)(n)))",
    };
    let load = codegen::load(dtype, "(array)", "(i)");
    let mut loads = String::new();
    if vec > 1 {
        let at = "(array) + (i)";
        let whole = match dtype {
            DType::F16 => format!("const float{vec} w = vloada_half{vec}(0, {at});"),
            _ => format!(
                "const {t}{vec} w = *(__global const {t}{vec}*)({at});",
                t = codegen::storage(dtype)
            ),
        };
        for k in 0..vec {
            let part = format!("w.s{k:x}");
            let part = if dtype == DType::BF16 { format!("clan_bf16({part})") } else { part };
            loads += &format!(" (v)[{k}] = {part};");
        }
        loads = format!("#define CLAN_LOADV(array, i, v) {{ {whole}{loads} }}\n");
    }
    format!(
        "typedef {} clan_t;\n#define CLAN_VEC {vec}\n#define CLAN_LOAD(array, i) {load}\n#define CLAN_SHARE(v, n) {share}\n{loads}{body}",
        codegen::compute(dtype),
    )
}

/// Elements of a buffer from one on.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub buffer: &'a Buffer,
    pub offset: usize,
}

impl Part<'_> {
    /// The first byte, of host memory.
    pub fn host(&self, size: usize) -> SharedOut {
        let start = self.buffer.host().map_or(std::ptr::null(), |block| block.ptr());
        SharedOut(start.wrapping_add(self.offset * size).cast_mut())
    }
}

/// `out = a ∘ b` for `n` elements. `out` may be one of the operands.
///
/// The caller sees to it that nobody else writes `a` or `b` or touches `out` meanwhile: buffers that
/// a group fills are shared by its workers, each of which has its own part.
pub(crate) struct Combining<'a> {
    pub op: &'static str,
    pub combine: &'a Combine,
    pub out: Part<'a>,
    pub a: Part<'a>,
    pub b: Part<'a>,
    pub n: usize,
}

impl Combining<'_> {
    pub fn run(self) -> Result<()> {
        let device = self.out.buffer.device.clone();
        run(self, &device)
    }
}

impl Op for Combining<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.combine.dtype)
    }

    fn host(self) -> Result<()> {
        let size = self.combine.dtype.size();
        let (a, b, out) = (self.a.host(size), self.b.host(size), self.out.host(size));
        host_combine(self.combine, a, b, out, self.n);
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let (size, parts) = (self.combine.dtype.size(), [self.out, self.a, self.b]);
        let mut vec = (device.point.vector_bytes / size).max(1);
        if parts.iter().any(|p| p.offset % vec != 0) {
            vec = 1;
        }
        let wide = parts.iter().any(|p| p.offset + self.n > i32::MAX as usize);
        let program = self.combine.program(self.op, device, vec, wide)?;
        let mut launch = Launch::new(device, &program, self.op, "combine")?;
        launch.output(self.out.buffer)?;
        codegen::bind_offset(&mut launch, self.out.offset as isize, wide)?;
        for part in [self.a, self.b] {
            launch.input(part.buffer)?;
            codegen::bind_offset(&mut launch, part.offset as isize, wide)?;
        }
        codegen::bind_index(&mut launch, self.n, wide)?;
        let group = device.point.group;
        // SAFETY: the arguments follow the kernel's parameters; it stops at `n`, and all three parts
        // have as many elements.
        unsafe { launch.run([self.n.div_ceil(group * vec), 1, 1], [group, 1, 1]) }
    }
}

/// As [`Combining`], of host memory.
pub(crate) fn host_combine(
    combine: &Combine,
    a: SharedOut,
    b: SharedOut,
    out: SharedOut,
    n: usize,
) {
    let size = combine.dtype.size();
    for_each_piece(n, |start, end| {
        let at = start * size;
        // SAFETY: pieces are apart, and inside what the caller gave.
        let (a, b, out) = unsafe { (a.add(at), b.add(at), out.add(at)) };
        (combine.host.pair)(a, b, out, end - start);
    });
}

/// Divides elements by a number, towards zero for integers: the end of an average.
pub(crate) struct Share<'a> {
    pub op: &'static str,
    pub combine: &'a Combine,
    pub part: Part<'a>,
    pub n: usize,
    pub count: usize,
}

impl Share<'_> {
    pub fn run(self) -> Result<()> {
        let device = self.part.buffer.device.clone();
        run(self, &device)
    }
}

impl Op for Share<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        device.require(self.op, self.combine.dtype)
    }

    fn host(self) -> Result<()> {
        let (dtype, count) = (self.combine.dtype, self.count);
        let out = self.part.host(dtype.size());
        for_each_piece(self.n, |start, end| {
            // SAFETY: pieces are apart, and inside the part.
            let piece = SharedOut(unsafe { out.add(start * dtype.size()) });
            host_share(self.combine, piece, end - start, count);
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(self, device: &ClDevice) -> Result<()> {
        let wide = self.part.offset + self.n > i32::MAX as usize;
        let program = self.combine.program(self.op, device, 1, wide)?;
        let mut launch = Launch::new(device, &program, self.op, "share")?;
        launch.output(self.part.buffer)?;
        codegen::bind_offset(&mut launch, self.part.offset as isize, wide)?;
        codegen::bind_index(&mut launch, self.n, wide)?;
        launch.value(self.count as u32)?;
        let group = device.point.group;
        // SAFETY: the arguments follow the kernel's parameters; it stops at `n`.
        unsafe { launch.run([self.n.div_ceil(group), 1, 1], [group, 1, 1]) }
    }
}

/// As [`Share`], of host memory and on this thread.
pub(crate) fn host_share(combine: &Combine, out: SharedOut, n: usize, count: usize) {
    macro_rules! divide {
        ($T:ty, $f:expr) => {{
            // SAFETY: the caller's, who has `n` of them there.
            let v = unsafe { std::slice::from_raw_parts_mut(out.0.cast::<$T>(), n) };
            v.iter_mut().for_each(|v| *v = $f(*v));
        }};
    }
    match combine.dtype {
        // A count that the type does not hold is above all its values, but then the sum has
        // wrapped: the division is made in a type that holds both.
        DType::I8 => divide!(i8, |v| (i64::from(v) / count as i64) as i8),
        DType::I16 => divide!(i16, |v| (i64::from(v) / count as i64) as i16),
        DType::I32 => divide!(i32, |v| (i64::from(v) / count as i64) as i32),
        DType::I64 => divide!(i64, |v| v / count as i64),
        DType::U8 | DType::Bool => divide!(u8, |v| (u64::from(v) / count as u64) as u8),
        DType::U16 => divide!(u16, |v| (u64::from(v) / count as u64) as u16),
        DType::U32 => divide!(u32, |v| (u64::from(v) / count as u64) as u32),
        DType::U64 => divide!(u64, |v| v / count as u64),
        DType::F16 => divide!(f16, |v: f16| f16::from_f32(v.to_f32() / count as f32)),
        DType::BF16 => divide!(bf16, |v: bf16| bf16::from_f32(v.to_f32() / count as f32)),
        DType::F32 => divide!(f32, |v| v / count as f32),
        DType::F64 => divide!(f64, |v| v / count as f64),
    }
}
