// scatter: elements to places that indices name: put, added with atomics, added exactly.
//
// private: CLAN_UNROLL x CLAN_VEC indices and values a work-item, all loaded before the first is
// stored; global: indices and values, coalesced and in vectors, and the places, anywhere: that
// additions of neighbours meet in one line is left to the cache where atomics happen; local: not
// used, for nothing is known about how many places there are and how near they lie; constant: not used.
//
// CLAN_ACT says what is done with value i and its place p = BASE(i) + key * step:
//   1 claims[p] = 0;  2 claims[p] = max(claims[p], i + 1);  3 out[p] = value where claims[p] is i + 1:
//     in this order, of several values for one place the last stays;
//   4 out[p] += value, by the means CLAN_ADD;
//   5 the value is added to the words of p, exactly: see below;
//   6, 7 out[p] = value, or += value, by lone work-items that share the places: for CPUs.
//   0 none of these: `settle` makes the words to floats.
//
// What the generated input (see src/opencl/codegen.rs) and cl/index.cl define comes before this file;
// without them it compiles as a sum of words by `uint`.
#ifndef CLAN_ACT
#define CLAN_ACT 4
#define CLAN_ADD 1
typedef uint clan_t;
typedef uint clan_key;
typedef uint clan_item;
#define CLAN_VEC 1
#define CLAN_PARAMS , __global const uint* restrict a0
#define CLAN_ARGS , a0
static inline uint clan_at(const clan_ix i CLAN_PARAMS) { return a0[i]; }
static inline clan_key clan_key_of(const clan_t v, const clan_key len) { return v; }
#define CLAN_NOTE(first, at) (note[0] = (at))
#define CLAN_BASE_PARAMS , const clan_off oo
#define CLAN_BASE_AT(i) oo
#endif

// The means: 1 atomics of 32-bit integers; 2 of 64-bit integers; 3 of their halves, the carry is what
// makes the lower one wrap, so nothing is lost whatever the order; 4, 5 compare and exchange of floats
// and doubles; 6, 7 the instructions of NVIDIA's for these.
#ifdef CLAN_ADD
#if CLAN_ADD == 2 || CLAN_ADD == 5
#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable
#endif
static inline void clan_add(volatile __global clan_item* p, const clan_item v) {
#if CLAN_ADD == 1
  atomic_add(p, v);
#elif CLAN_ADD == 2
  atom_add(p, v);
#elif CLAN_ADD == 3
  volatile __global uint* half_of = (volatile __global uint*)p;
  const uint low = (uint)v;
  const uint carry = low != 0u && atomic_add(half_of + CLAN_LOW, low) > ~low ? 1u : 0u;
  const uint high = (uint)(v >> 32) + carry;
  if (high != 0u) atomic_add(half_of + (1 - CLAN_LOW), high);
#elif CLAN_ADD == 4
  volatile __global uint* word = (volatile __global uint*)p;
  for (uint old = *word;;) {
    const uint had = atomic_cmpxchg(word, old, as_uint(as_float(old) + v));
    if (had == old) return;
    old = had;
  }
#elif CLAN_ADD == 5
  volatile __global ulong* word = (volatile __global ulong*)p;
  for (ulong old = *word;;) {
    const ulong had = atom_cmpxchg(word, old, as_ulong(as_double(old) + v));
    if (had == old) return;
    old = had;
  }
#elif CLAN_ADD == 6
  asm volatile("red.global.add.f32 [%0], %1;" ::"l"(p), "f"(v) : "memory");
#else
  asm volatile("red.global.add.f64 [%0], %1;" ::"l"(p), "d"(v) : "memory");
#endif
}

// Every work-item adds 1: does the device have the means?
__kernel void means(__global clan_item* out) { clan_add(out + get_global_id(0) % 2, 1); }
#endif

// Exact sums: a place has CLAN_WORDS words of 32 bits, the lowest first, as one integer in two's
// complement whose lowest bit is the least subnormal number, and one word of flags: 1 NaN, 2 infinity,
// 4 minus infinity. Integers wrap and do not round, so the order of additions does not show. A word
// that wraps carries into the next: by whoever made it wrap, whenever that is.
#ifdef CLAN_WORDS
#if CLAN_WORDS > 16
#define CLAN_DIGITS 52 // after the point
typedef ulong clan_bits;
#define CLAN_BITS_OF(x) as_ulong(x)
#define CLAN_OF_BITS(x) as_double(x)
#define CLAN_EXPONENTS 0x7fful
#else
#define CLAN_DIGITS 23
typedef uint clan_bits;
#define CLAN_BITS_OF(x) as_uint(x)
#define CLAN_OF_BITS(x) as_float(x)
#define CLAN_EXPONENTS 0xffu
#endif

// A finite float as up to three digits from one word on; returns whether it is negative.
static inline bool clan_digits(const clan_item x, uint* word, uint digit[3]) {
  const clan_bits bits = CLAN_BITS_OF(x);
  const uint e = (uint)((bits >> CLAN_DIGITS) & CLAN_EXPONENTS);
  const clan_bits hidden = (clan_bits)1 << CLAN_DIGITS;
  const ulong m = (bits & (hidden - 1)) | (e > 0u ? hidden : (clan_bits)0);
  const uint shift = e > 0u ? e - 1u : 0u, s = shift & 31u;
  const ulong low = m << s;
  *word = shift >> 5;
  digit[0] = (uint)low;
  digit[1] = (uint)(low >> 32);
  digit[2] = s > 0u ? (uint)(m >> (64u - s)) : 0u;
  return (bits >> (sizeof(clan_bits) * 8 - 1)) != 0;
}

static inline uint clan_flags(const clan_item x) { return isnan(x) ? 1u : x > 0 ? 2u : 4u; }

#if CLAN_ACT == 5
static inline void clan_add_exactly(volatile __global uint* words, const clan_item x) {
  if (isnan(x) || isinf(x)) {
    atomic_or(words + CLAN_WORDS, clan_flags(x));
    return;
  }
  uint word, digit[3];
  const bool minus = clan_digits(x, &word, digit);
  uint carry = 0;
  for (uint k = 0; word + k < CLAN_WORDS; k++) {
    const ulong sum = (ulong)(k < 3u ? digit[k < 3u ? k : 0u] : 0u) + carry;
    if (k >= 3u && sum == 0) return;
    const uint part = (uint)sum;
    carry = (uint)(sum >> 32);
    if (part == 0u) continue;
    if (minus) carry += atomic_sub(words + word + k, part) < part ? 1u : 0u;
    else carry += atomic_add(words + word + k, part) > ~part ? 1u : 0u;
  }
}
#endif

// Adds the words of every place to its element, and rounds once, to nearest and ties to even.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void settle(__global clan_item* out, const ulong offset, __global const uint* words, const ulong n) {
  const ulong p = get_global_id(0);
  if (p >= n) return;
  uint w[CLAN_WORDS];
  uint any = 0;
  for (uint k = 0; k < CLAN_WORDS; k++) any |= w[k] = words[p * (CLAN_WORDS + 1) + k];
  uint flags = words[p * (CLAN_WORDS + 1) + CLAN_WORDS];
  if (any == 0u && flags == 0u) return;
  const clan_item before = out[offset + p];
  if (isnan(before) || isinf(before)) flags |= clan_flags(before);
  const clan_bits infinity = (clan_bits)CLAN_EXPONENTS << CLAN_DIGITS;
  const clan_bits sign = (clan_bits)1 << (sizeof(clan_bits) * 8 - 1);
  clan_bits bits = 0;
  if (flags != 0u) {
    bits = flags == 2u ? infinity : flags == 4u ? (infinity | sign) : (infinity | (infinity >> 1));
  } else {
    uint word, digit[3];
    const bool minus = clan_digits(before, &word, digit);
    ulong carry = minus ? 1 : 0;
    for (uint k = 0; k < CLAN_WORDS; k++) {
      const uint d = k >= word && k - word < 3u ? digit[k - word < 3u ? k - word : 0u] : 0u;
      carry += (ulong)w[k] + (minus ? ~d : d);
      w[k] = (uint)carry;
      carry >>= 32;
    }
    const bool negative = (w[CLAN_WORDS - 1] >> 31) != 0u;
    uint top = 0;
    carry = negative ? 1 : 0;
    for (uint k = 0; k < CLAN_WORDS; k++) {
      carry += negative ? ~w[k] : w[k];
      w[k] = (uint)carry;
      carry >>= 32;
      if (w[k] != 0u) top = k;
    }
    if (w[top] != 0u) {
      const uint high = top * 32u + 31u - clz(w[top]);
      // Bits from `low` on are kept; those of the exponent are what lies above the hidden one.
      const uint low = high > CLAN_DIGITS ? high - CLAN_DIGITS : 0u;
      const uint at = low >> 5, s = low & 31u;
      ulong kept = w[at];
      if (at + 1u < CLAN_WORDS) kept |= (ulong)w[at + 1u] << 32;
      kept >>= s;
      if (s > 0u && at + 2u < CLAN_WORDS) kept |= (ulong)w[at + 2u] << (64u - s);
      bits = (clan_bits)kept & (((clan_bits)1 << (CLAN_DIGITS + 1)) - 1);
      if (low > 0u) {
        const uint half_at = (low - 1u) >> 5, half_bit = 1u << ((low - 1u) & 31u);
        uint below = w[half_at] & (half_bit - 1u);
        for (uint k = 0; k < half_at; k++) below |= w[k];
        const bool up = (w[half_at] & half_bit) != 0u && (below != 0u || (bits & 1) != 0);
        bits += (clan_bits)low << CLAN_DIGITS;
        if (up) bits += 1;
        if (low >= (uint)CLAN_EXPONENTS - 1u || bits > infinity) bits = infinity;
      }
    }
    if (negative) bits |= sign;
  }
  out[offset + p] = CLAN_OF_BITS(bits);
}
#endif

#if CLAN_ACT > 0
#if CLAN_ACT == 1 || CLAN_ACT == 2
#define CLAN_OUT_PARAM __global uint* claims, const clan_off origin
#elif CLAN_ACT == 3
#define CLAN_OUT_PARAM __global clan_item* out, __global const uint* claims, const clan_off origin
#elif CLAN_ACT == 4
#define CLAN_OUT_PARAM __global clan_item* out
#elif CLAN_ACT == 5
#define CLAN_OUT_PARAM __global uint* words, const clan_off origin
#endif
#if CLAN_ACT > 2
#define CLAN_VALUE_PARAMS , __global const clan_item* restrict values, const clan_off from
#ifdef CLAN_ONE_VALUE
#define CLAN_LOAD(i) values[from]
#else
#define CLAN_LOAD(i) values[from + (clan_off)(i)]
#endif
#else
#define CLAN_VALUE_PARAMS
#define CLAN_LOAD(i) 0
typedef uint clan_item;
#endif

// What is done with the value of element i, at the place `p`.
#if CLAN_ACT == 1
#define CLAN_DO(i, p, v) claims[(p) - origin] = 0u
#elif CLAN_ACT == 2
#define CLAN_DO(i, p, v) atomic_max(claims + ((p) - origin), (uint)((i) - first) + 1u)
#elif CLAN_ACT == 3
#define CLAN_DO(i, p, v) do { if (claims[(p) - origin] == (uint)((i) - first) + 1u) out[p] = (v); } while (0)
#elif CLAN_ACT == 4
#define CLAN_DO(i, p, v) clan_add(out + (p), v)
#elif CLAN_ACT == 5
#define CLAN_DO(i, p, v) clan_add_exactly(words + (ulong)((p) - origin) * (CLAN_WORDS + 1), v)
#endif

#if CLAN_ACT > 5
#define CLAN_SOME 64 // elements whose places are known before they are stored
#define CLAN_SPARE (256 / sizeof(clan_item)) // apart, for processors load neighbouring lines together

// This launch does elements `first` to `n`, 2^31 at most, all of them in every work-item: of places from `origin` on
// it has `part`. What is not its own goes to spare items, for jumps that nobody can foresee cost more.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scatter_alone(__global clan_item* out, __global clan_item* spares, const clan_off origin, const clan_off part
                   CLAN_VALUE_PARAMS, const clan_ix first, const clan_ix n, const clan_key len, const clan_off step,
                   volatile __global uint* note, const uint slot CLAN_BASE_PARAMS CLAN_PARAMS) {
  const clan_off low = origin + (clan_off)get_global_id(0) * part;
  __global clan_item* const spare = spares + get_global_id(0) * CLAN_SPARE;
  uint outside = 0xffffffffu;
  for (clan_ix i = first; i < n; i += CLAN_SOME) {
    const uint count = (uint)min((clan_ix)CLAN_SOME, n - i);
    clan_off place[CLAN_SOME];
    CLAN_VECTORIZED for (uint k = 0; k < count; k++) {
      const clan_key key = clan_key_of(clan_at(i + k CLAN_ARGS), len);
      const bool inside = key < len;
      // No place is below 0.
      place[k] = inside ? CLAN_BASE_AT(i + k) + (clan_off)key * step : (clan_off)-1;
      outside = inside ? outside : min(outside, (uint)(i - first) + k);
    }
    for (uint k = 0; k < count; k++) {
      // The end of the part may be beyond what an offset can say.
      const bool own = (place[k] >= low) & (place[k] - low < part);
      __global clan_item* const p = own ? out + place[k] : spare + k % 16;
#if CLAN_ACT == 6
      *p = CLAN_LOAD(i + k);
#else
      *p += CLAN_LOAD(i + k);
#endif
    }
  }
  if (outside != 0xffffffffu) CLAN_NOTE(first, outside);
}
#else
// This launch does elements `first` to `n`, 2^31 at most. A group is whole or not, all of it: llvmpipe
// (Mesa 22.3) does atomics in a branch also for work-items that did not take it.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void scatter(CLAN_OUT_PARAM CLAN_VALUE_PARAMS, const clan_ix first, const clan_ix n, const clan_key len,
             const clan_off step, volatile __global uint* note, const uint slot CLAN_BASE_PARAMS CLAN_PARAMS) {
  const clan_ix stride = CLAN_GROUP * CLAN_VEC;
  const clan_ix start = first + (clan_ix)get_group_id(0) * (stride * CLAN_UNROLL);
  const clan_ix begin = start + get_local_id(0) * CLAN_VEC;
  const bool whole = start + stride * CLAN_UNROLL <= n;
  bool inside = true;
  if (whole) {
    clan_t x[CLAN_UNROLL][CLAN_VEC];
    clan_item v[CLAN_UNROLL][CLAN_VEC];
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) {
      const clan_ix from_i = begin + u * stride;
#if CLAN_VEC > 1
      clan_vec(from_i, x[u] CLAN_ARGS);
#else
      x[u][0] = clan_at(from_i CLAN_ARGS);
#endif
#if CLAN_ACT > 2 && CLAN_VEC > 1 && !defined(CLAN_ONE_VALUE)
      CLAN_LOADS(from_i, v[u]);
#else
#pragma unroll
      for (int k = 0; k < CLAN_VEC; k++) v[u][k] = CLAN_LOAD(from_i + k);
#endif
    }
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) {
#pragma unroll
      for (int k = 0; k < CLAN_VEC; k++) {
        const clan_ix i = begin + u * stride + k;
        const clan_key key = clan_key_of(x[u][k], len);
        inside = inside && key < len;
        if (key < len) CLAN_DO(i, CLAN_BASE_AT(i) + (clan_off)key * step, v[u][k]);
      }
    }
  }
  // The last ones, or the search for the first index outside.
  if (!whole || !inside) {
    uint outside = 0xffffffffu;
    for (uint r = 0; r < CLAN_UNROLL * CLAN_VEC; r++) {
      const clan_ix i = begin + r / CLAN_VEC * stride + r % CLAN_VEC;
      if (i < n) {
        const clan_key key = clan_key_of(clan_at(i CLAN_ARGS), len);
        if (key >= len) {
          outside = min(outside, (uint)(i - first));
        } else if (!whole) {
          CLAN_DO(i, CLAN_BASE_AT(i) + (clan_off)key * step, CLAN_LOAD(i));
        }
      }
    }
    if (outside != 0xffffffffu) CLAN_NOTE(first, outside);
  }
}
#endif
#endif
