//! Element types: what an array can hold, what it is computed in, and what its reductions give.

use half::{bf16, f16};
use std::fmt;

mod sealed {
    pub trait Sealed {}
}

/// The element types, as values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// `bool`, one byte of 0 or 1 on a device.
    Bool,
    /// `i8`
    I8,
    /// `i16`
    I16,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// IEEE half precision: a storage type, computed in `f32`.
    F16,
    /// bfloat16: a storage type, computed in `f32`.
    BF16,
    /// `f32`
    F32,
    /// `f64`
    F64,
}

impl DType {
    /// Every element type.
    pub const ALL: [DType; 13] = [
        DType::Bool,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// The size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::I8 | DType::U8 => 1,
            DType::I16 | DType::U16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::U32 | DType::F32 => 4,
            DType::I64 | DType::U64 | DType::F64 => 8,
        }
    }

    /// The name as Rust writes it.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }

    /// True for `f16`, `bf16`, `f32` and `f64`.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// True for the signed integers.
    pub const fn is_signed(self) -> bool {
        matches!(self, DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// True for the unsigned integers.
    pub const fn is_unsigned(self) -> bool {
        matches!(self, DType::U8 | DType::U16 | DType::U32 | DType::U64)
    }

    /// The type that values of this type are computed in: `f32` for the half floats, else itself.
    pub(crate) const fn compute(self) -> DType {
        match self {
            DType::F16 | DType::BF16 => DType::F32,
            other => other,
        }
    }

    /// The type of sums and products: `i64`, `u64`, `f32` or `f64`.
    pub(crate) const fn sum(self) -> DType {
        match self {
            DType::Bool => DType::U64,
            DType::F64 => DType::F64,
            DType::F16 | DType::BF16 | DType::F32 => DType::F32,
            d if d.is_signed() => DType::I64,
            _ => DType::U64,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value of any element type. The half floats are kept as the `f32` they are computed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
}

impl Scalar {
    /// Zero of a type that values are computed in.
    #[cfg(feature = "opencl")]
    pub fn zero(dtype: DType) -> Scalar {
        match dtype {
            DType::Bool => Scalar::Bool(false),
            DType::I8 => Scalar::I8(0),
            DType::I16 => Scalar::I16(0),
            DType::I32 => Scalar::I32(0),
            DType::I64 => Scalar::I64(0),
            DType::U8 => Scalar::U8(0),
            DType::U16 => Scalar::U16(0),
            DType::U32 => Scalar::U32(0),
            DType::U64 => Scalar::U64(0),
            DType::F64 => Scalar::F64(0.0),
            DType::F16 | DType::BF16 | DType::F32 => Scalar::F32(0.0),
        }
    }
}

/// A type that arrays can hold. Sealed: the list of implementors is [`DType`].
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// This type as a value.
    const DTYPE: DType;

    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn to_scalar(self) -> Scalar;
}

/// Every element type but `bool`.
pub trait Number: Element + PartialOrd {
    /// The type of sums, products and dot products: `i64`, `u64`, `f32` or `f64`. The half
    /// floats give `f32`, in which they are computed; integers wrap.
    type Sum: Number;
    /// The type of means and variances: `f64` for integers, else [`Number::Sum`].
    type Mean: Float;
}

/// The integer types.
pub trait Integer: Number + Eq + Ord {}

/// The floating-point types.
pub trait Float: Number {}

macro_rules! element {
    ($($t:ty, $dtype:ident, $variant:ident, $conv:expr;)*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[allow(private_interfaces)]
            fn to_scalar(self) -> Scalar { Scalar::$variant($conv(self)) }
        }
    )*};
}
element! {
    bool, Bool, Bool, |x| x;
    i8, I8, I8, |x| x;
    i16, I16, I16, |x| x;
    i32, I32, I32, |x| x;
    i64, I64, I64, |x| x;
    u8, U8, U8, |x| x;
    u16, U16, U16, |x| x;
    u32, U32, U32, |x| x;
    u64, U64, U64, |x| x;
    f16, F16, F32, f16::to_f32;
    bf16, BF16, F32, bf16::to_f32;
    f32, F32, F32, |x| x;
    f64, F64, F64, |x| x;
}

macro_rules! number {
    ($($t:ty => $sum:ty, $mean:ty;)*) => {$(
        impl Number for $t { type Sum = $sum; type Mean = $mean; }
    )*};
}
number! {
    i8 => i64, f64; i16 => i64, f64; i32 => i64, f64; i64 => i64, f64;
    u8 => u64, f64; u16 => u64, f64; u32 => u64, f64; u64 => u64, f64;
    f16 => f32, f32; bf16 => f32, f32; f32 => f32, f32; f64 => f64, f64;
}

macro_rules! marker {
    ($marker:ident: $($t:ty)*) => {$(impl $marker for $t {})*};
}
marker!(Integer: i8 i16 i32 i64 u8 u16 u32 u64);
marker!(Float: f16 bf16 f32 f64);

/// Calls a generic function with the compute type of a `DType`; `bool` is computed as `u8`.
macro_rules! with_compute {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.compute() {
            $crate::element::DType::Bool | $crate::element::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::element::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::element::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::element::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::element::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::element::DType::U16 => {
                type $T = u16;
                $body
            }
            $crate::element::DType::U32 => {
                type $T = u32;
                $body
            }
            $crate::element::DType::U64 => {
                type $T = u64;
                $body
            }
            $crate::element::DType::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
pub(crate) use with_compute;

/// Calls a generic function with the unsigned integer of as many bytes as a `DType` has: where bits are
/// moved, whatever they mean.
macro_rules! with_bits {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}
pub(crate) use with_bits;
