// What every program starts with: index types, guarded arithmetic, half floats.
//
// Values are computed in the types of OpenCL C 1.2: `bool` is a `uchar` of 0 or 1, half floats
// are loaded into `float`. Contraction is off, so that + - * / give the same bits as on the host.

#ifdef CLAN_FP64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#pragma OPENCL FP_CONTRACT OFF

#ifndef CLAN_GROUP
#define CLAN_GROUP 256 // work-items in a work-group
#endif
#ifndef CLAN_UNROLL
#define CLAN_UNROLL 1 // loads in flight a work-item
#endif

// Before loops over neighbours in the kernels that lone work-items run on CPUs. PoCL 5 makes vectors only where it
// is asked to: 1024 x 1024 f32 by 9 taps take 2 cores 3.8 ms without, and 1.1 with. Not for sums of floats, which it
// would put in another order.
#if defined(__clang__) && !defined(__NV_CL_C_VERSION)
#pragma clang diagnostic ignored "-Wpass-failed" // where it makes none in spite of that
#define CLAN_VECTORIZED _Pragma("clang loop vectorize(enable)")
#else
#define CLAN_VECTORIZED
#endif

// Positions and memory offsets: 32 bits while they suffice.
#ifdef CLAN_WIDE
typedef ulong clan_ix;
typedef long clan_off;
#define CLAN_DIV(n, d, m, s) ((n) / (d))
#else
typedef uint clan_ix;
typedef int clan_off;
// Division by multiplication; the host computes m and s from d.
#define CLAN_DIV(n, d, m, s) ((mul_hi((n), (m)) + (n)) >> (s))
#endif

// Integer division: by zero gives 0, and the least value by -1 wraps. The guards matter: a CPU
// dies of either.
#define CLAN_DIVISION_U(T)                                                                         \
  static inline T clan_div_##T(T a, T b) { return b == 0 ? (T)0 : (T)(a / (b == 0 ? (T)1 : b)); }  \
  static inline T clan_rem_##T(T a, T b) { return b == 0 ? (T)0 : (T)(a % (b == 0 ? (T)1 : b)); }
#define CLAN_DIVISION_S(T, U)                                                                      \
  static inline T clan_div_##T(T a, T b) {                                                         \
    const T d = (b == 0 || b == (T)-1) ? (T)1 : b;                                                 \
    return b == 0 ? (T)0 : b == (T)-1 ? (T)(0 - (U)a) : (T)(a / d);                                \
  }                                                                                                \
  static inline T clan_rem_##T(T a, T b) {                                                         \
    const T d = (b == 0 || b == (T)-1) ? (T)1 : b;                                                 \
    return (T)(a % d);                                                                             \
  }
CLAN_DIVISION_U(uchar)
CLAN_DIVISION_U(ushort)
CLAN_DIVISION_U(uint)
CLAN_DIVISION_U(ulong)
CLAN_DIVISION_S(char, uint)
CLAN_DIVISION_S(short, uint)
CLAN_DIVISION_S(int, uint)
CLAN_DIVISION_S(long, ulong)

// Float to integer as Rust's `as`: towards zero, saturating, NaN gives 0. `low` and `high` are the
// bounds as floats; `high` itself is already outside when the type has more bits than the float.
// The value is chosen in W and cut to T last: llvmpipe (Mesa 22.3 with LLVM 15) crashes when it
// compiles the choice between a `char` from a float and others.
#define CLAN_SATURATE(T, W, F, low, high, least, greatest)                                         \
  static inline T clan_sat_##T##_##F(F x) {                                                        \
    return (T)(isnan(x)        ? (W)0                                                              \
               : x <= (F)(low)  ? (W)(least)                                                       \
               : x >= (F)(high) ? (W)(greatest)                                                    \
                                : (W)x);                                                           \
  }
#define CLAN_SATURATE_ALL(F)                                                                       \
  CLAN_SATURATE(char, int, F, -128, 127, (char)-128, (char)127)                                    \
  CLAN_SATURATE(uchar, int, F, 0, 255, (uchar)0, (uchar)255)                                       \
  CLAN_SATURATE(short, int, F, -32768, 32767, (short)-32768, (short)32767)                         \
  CLAN_SATURATE(ushort, int, F, 0, 65535, (ushort)0, (ushort)65535)                                \
  CLAN_SATURATE(int, int, F, -2147483648.0f, 2147483648.0f, INT_MIN, INT_MAX)                      \
  CLAN_SATURATE(uint, uint, F, 0, 4294967296.0f, 0u, UINT_MAX)                                     \
  CLAN_SATURATE(long, long, F, -9223372036854775808.0f, 9223372036854775808.0f, LONG_MIN, LONG_MAX) \
  CLAN_SATURATE(ulong, ulong, F, 0, 18446744073709551616.0f, 0ul, ULONG_MAX)
CLAN_SATURATE_ALL(float)
#ifdef CLAN_FP64
CLAN_SATURATE_ALL(double)
#endif

// bfloat16 is the upper half of a float; storing rounds to nearest even and keeps NaN quiet.
static inline float clan_bf16(ushort bits) { return as_float((uint)bits << 16); }
static inline ushort clan_bf16_bits(float x) {
  const uint u = as_uint(x);
  return isnan(x) ? (ushort)((u >> 16) | 0x40u) : (ushort)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
static inline float clan_round_bf16(float x) { return clan_bf16(clan_bf16_bits(x)); }

// Rounds through IEEE half precision without needing its arithmetic.
static inline float clan_round_f16(float x) {
  ushort bits;
  vstore_half_rte(x, 0, (half*)&bits);
  return vload_half(0, (half*)&bits);
}

#ifdef CLAN_FP64
// double to float, inexact results to the odd neighbour: a second rounding to a shorter type is
// then the same as one rounding (Boldo and Melquiond, "Emulation of FMA", 2008).
static inline float clan_to_odd(double x) {
  const float near = (float)x;
  const double back = (double)near;
  if (back == x || isnan(x)) return near;
  uint u = as_uint(near);
  if (u & 1u) return near;
  return as_float(fabs(back) < fabs(x) ? u + 1u : u - 1u);
}
#endif
