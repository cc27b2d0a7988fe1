//! Products of `f32` and `f64`.
//!
//! On x86-64 with AVX2 or AVX-512 by `private-gemm-x86`, the kernels behind `faer`, whose assembly
//! reaches AVX-512 from any compiler; elsewhere, and for strides that it is not made for, by `gemm`.
//! Both run on one thread here: the result is cut into parts for rayon, so that calls nest and
//! share threads with everything else.

use super::{Block, for_parts, vector};
use crate::error::Result;
use crate::ops::matmul::gemm::Gemm;

pub(super) trait Float: vector::Lanes {
    const ONE: Self;
    const MINUS_ONE: Self;
    #[cfg(target_arch = "x86_64")]
    const TYPE: private_gemm_x86::DType;
}

impl Float for f32 {
    const ONE: f32 = 1.0;
    const MINUS_ONE: f32 = -1.0;
    #[cfg(target_arch = "x86_64")]
    const TYPE: private_gemm_x86::DType = private_gemm_x86::DType::F32;
}

impl Float for f64 {
    const ONE: f64 = 1.0;
    const MINUS_ONE: f64 = -1.0;
    #[cfg(target_arch = "x86_64")]
    const TYPE: private_gemm_x86::DType = private_gemm_x86::DType::F64;
}

pub(super) fn run<T: Float>(mut gemm: Gemm<'_>) -> Result<()> {
    if (gemm.m == 1 || gemm.n == 1) && !gemm.subtract {
        return vector::run::<T>(gemm);
    }
    // SAFETY: `for_parts` gives parts that lie inside the operands and the result.
    for_parts::<T>(&mut gemm, (192, 256), |block| unsafe { product(block) });
    Ok(())
}

/// # Safety
/// The block lies inside its operands and its result, which nobody else uses.
unsafe fn product<T: Float>(p: Block<T>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(instructions) = x86::instructions() {
        // Positive strides alone are what its callers use.
        if p.a_row > 0 && p.a_column > 0 && p.b_row > 0 && p.b_column > 0 {
            let (accumulate, factor) = match p.subtract {
                true => (private_gemm_x86::Accum::Add, T::MINUS_ONE),
                false => (private_gemm_x86::Accum::Replace, T::ONE),
            };
            // SAFETY: the caller's promise; the processor has the instructions.
            unsafe {
                private_gemm_x86::gemm(
                    T::TYPE,
                    private_gemm_x86::IType::U64,
                    instructions,
                    p.m,
                    p.n,
                    p.k,
                    p.out.cast(),
                    p.out_row,
                    1,
                    std::ptr::null(),
                    std::ptr::null(),
                    private_gemm_x86::DstKind::Full,
                    accumulate,
                    p.a.cast(),
                    p.a_row,
                    p.a_column,
                    false,
                    std::ptr::null(),
                    0,
                    p.b.cast(),
                    p.b_row,
                    p.b_column,
                    false,
                    (&raw const factor).cast(),
                    1,
                );
            }
            return;
        }
    }
    // SAFETY: the caller's promise; the result is read where something is taken from it.
    unsafe {
        gemm::gemm(
            p.m,
            p.n,
            p.k,
            p.out,
            1,
            p.out_row,
            p.subtract,
            p.a,
            p.a_column,
            p.a_row,
            p.b,
            p.b_column,
            p.b_row,
            if p.subtract { T::ONE } else { T::ZERO },
            if p.subtract { T::MINUS_ONE } else { T::ONE },
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use private_gemm_x86::InstrSet;
    use std::sync::OnceLock;

    /// What the processor has; asked once.
    pub fn instructions() -> Option<InstrSet> {
        static FOUND: OnceLock<Option<InstrSet>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if wide {
                Some(InstrSet::Avx512)
            } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                Some(InstrSet::Avx256)
            } else {
                None
            }
        })
    }
}
