// random: numbers from Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", 2011), a function of 128 bits of counter and 64 bits of key.
//
// A block of four words makes four elements, or two of the wide ones (CLAN_WIDE_WORDS). Its counter is
// the block's number (two words), the stream, and what the words are for; an element's bits depend on
// nothing else. Floats are made of exactly defined operations: fma, and square roots that are rounded
// correctly where the device says so.
//
// private: CLAN_BLOCKS blocks a work-item, one after the other, or, with CLAN_LANES on CPUs, so many side by side
// that the compiler makes vectors of them; constant: the coefficients, immediate operands; global: the result,
// written once, four elements at a time where a group's blocks begin at a vector; local: not used.
#ifndef CLAN_DRAW
typedef float clan_t;
typedef float clan_out_t;
#define CLAN_PUT(out, i, v) ((out)[i] = (v))
#define CLAN_DRAW 0
#define CLAN_SHIFT 8
#define CLAN_SCALE 0x1p-24f
#define CLAN_ROUND(x) (x)
#define CLAN_OF(bits) as_float((uint)(bits))
#endif

#ifndef CLAN_BLOCKS
#define CLAN_BLOCKS 4 // blocks a work-item
#endif

// What is drawn.
#define CLAN_UNIFORM 0   // [0, 1)
#define CLAN_BETWEEN 1   // [p, q) of floats
#define CLAN_NORMAL 2    // mean p, standard deviation q
#define CLAN_INTEGERS 3  // p + [0, q), 0 for all; r: lower halves of products below it are drawn again
#define CLAN_BERNOULLI 4 // words below p

// What words are for: the last byte of the counter.
#define CLAN_FOR_WIDE 1
#define CLAN_FOR_NORMALS 2

// The keys of the ten rounds. Arguments, for they are the same for all, and each would cost every
// work-item an addition; of 32 bits, for with wider ones compilers make products of 64 by 64 bits.
#define CLAN_KEYS_PARAM                                                                            \
  const uint k0, const uint l0, const uint k1, const uint l1, const uint k2, const uint l2,        \
      const uint k3, const uint l3, const uint k4, const uint l4, const uint k5, const uint l5,    \
      const uint k6, const uint l6, const uint k7, const uint l7, const uint k8, const uint l8,    \
      const uint k9, const uint l9
#define CLAN_KEYS k0, l0, k1, l1, k2, l2, k3, l3, k4, l4, k5, l5, k6, l6, k7, l7, k8, l8, k9, l9

static inline uint4 clan_round(const uint4 c, const uint k, const uint l) {
  const ulong a = (ulong)c.x * 0xd2511f53u, b = (ulong)c.z * 0xcd9e8d57u;
  return (uint4)((uint)(b >> 32) ^ c.y ^ k, (uint)b, (uint)(a >> 32) ^ c.w ^ l, (uint)a);
}

// The words of block low + 2^32 high.
static inline uint4 clan_philox(const uint low, const uint high, const uint stream, const uint purpose,
                                CLAN_KEYS_PARAM) {
  uint4 c = (uint4)(low, high, stream, purpose);
  c = clan_round(clan_round(c, k0, l0), k1, l1);
  c = clan_round(clan_round(c, k2, l2), k3, l3);
  c = clan_round(clan_round(c, k4, l4), k5, l5);
  c = clan_round(clan_round(c, k6, l6), k7, l7);
  return clan_round(clan_round(c, k8, l8), k9, l9);
}

#ifdef CLAN_WIDE_WORDS
#define CLAN_EACH 2
typedef ulong clan_word;
#define CLAN_FIRST(w) ((ulong)(w).x | (ulong)(w).y << 32)
#define CLAN_SECOND(w) ((ulong)(w).z | (ulong)(w).w << 32)
#define CLAN_WIDTH CLAN_FOR_WIDE
#else
#define CLAN_EACH 4
typedef uint clan_word;
#define CLAN_WIDTH 0
#endif
#if CLAN_DRAW == CLAN_NORMAL
#define CLAN_PURPOSE (CLAN_FOR_NORMALS + CLAN_WIDTH)
#else
#define CLAN_PURPOSE CLAN_WIDTH
#endif

#if CLAN_DRAW == CLAN_NORMAL
#ifdef CLAN_PTX
// The correctly rounded root of a number within 2^-100 and 2^100: the driver's own goes by the same steps
// (Markstein, "IA-64 and Elementary Functions", 2000), and asks before whether it may.
static inline float clan_root(const float x) {
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  const float s = x * r;
  return fma(fma(-s, s, x), 0.5f * r, s);
}
// One instruction where the compiler makes two, for it takes one of the constants for an operand only.
static inline uint clan_mantissa(const uint bits) {
  uint m;
  asm("lop3.b32 %0, %1, 0x007fffff, %2, 0xea;" : "=r"(m) : "r"(bits), "r"(0x3f000000));
  return m;
}
#define CLAN_MANTISSA(bits) clan_mantissa(bits)
static inline float clan_towards_0(const int x) {
  float f;
  asm("cvt.rz.f32.s32 %0, %1;" : "=f"(f) : "r"(x));
  return f;
}
#define CLAN_TOWARDS_0(x) clan_towards_0(x)
#else
static inline float clan_root(const float x) { return sqrt(x); }
#if defined(CLAN_LANES) && defined(CLAN_FP64)
// PoCL's conversion takes longer than all the rest. The digits that a float has no room for are dropped.
#define CLAN_TOWARDS_0(x) ((float)as_double(as_ulong((double)(x)) & ~0x1ffffffful))
#else
#define CLAN_TOWARDS_0(x) convert_float_rtz(x)
#endif
#define CLAN_MANTISSA(bits) (((bits) & 0x007fffffu) | 0x3f000000u) // between 1/2 and 1
#endif

#ifdef CLAN_STANDARD
#define CLAN_MOVED(z) (z) // of mean 0 and deviation 1
#else
#define CLAN_MOVED(z) fma((z), deviation, mean)
#endif

// Box and Muller (1958): the radius is the root of -2 ln u, the angle is uniform. All coefficients are minimax
// fits, relative to the function.
//
// Of short words, u is the magnitude of the odd integer w in 2^-31, as a float that is rounded towards 0 and
// so below 1, and w's sign that of the cosine; v is the angle x within half a turn, from -1 to 1 in 2^-31.
// With u = 2^e m, 1/2 <= m < 1 and t = m - 1, the radius is sqrt(2 ln 2) times the root of -e + t Q(t): no digits
// are lost near u = 1, and e counts exactly. The factor is in the others' coefficients: with z = 1 - x^2,
// which is exact to a digit up to the quarter's end, sine and cosine of x pi / 2 are x S(z) and z C(z).
//
// Of long words, u = (w | 1) / 2^64 = 2^e (1 + t), 1 + t within [sqrt 1/2, sqrt 2): -2 ln u is -2 ln 2 e - 2 t +
// t^2 Q(t). The angle is a quarter turn at random, which v's two highest bits say, the sign of the cosine and
// whether sine and cosine change places, and the others between -pi/4 and pi/4.
static inline void clan_normals(const clan_word w, const clan_word v, const clan_t mean, const clan_t deviation,
                                clan_t* first, clan_t* second) {
#ifdef CLAN_WIDE_WORDS
  const double u = (double)(w | 1ul);
  const long bits = as_long(u), e = (bits - 0x3fe6a09e667f3bcdl) >> 52;
  const double t = as_double(bits - (e << 52)) - 1.0;
  double q = 0x1.cfad0837b05p-5;
  q = fma(q, t, -0x1.0313eb1f86233p-3);
  q = fma(q, t, 0x1.15ff9dee7af9ep-3);
  q = fma(q, t, -0x1.e959f6c7ec3ddp-4);
  q = fma(q, t, 0x1.eee3636f4af9dp-4);
  q = fma(q, t, -0x1.0f3895fc4fc4p-3);
  q = fma(q, t, 0x1.2548c844d8865p-3);
  q = fma(q, t, -0x1.3b4c58ebccc8p-3);
  q = fma(q, t, 0x1.554d23eebc1e9p-3);
  q = fma(q, t, -0x1.7459acb47448cp-3);
  q = fma(q, t, 0x1.9999ca6d8672bp-3);
  q = fma(q, t, -0x1.c71c8f0e7e0e5p-3);
  q = fma(q, t, 0x1.ffffff8afaf03p-3);
  q = fma(q, t, -0x1.249248e059bd3p-2);
  q = fma(q, t, 0x1.55555555323c9p-2);
  q = fma(q, t, -0x1.9999999a32ceep-2);
  q = fma(q, t, 0x1.00000000008b3p-1);
  q = fma(q, t, -0x1.55555555551a6p-1);
  q = fma(q, t, 0x1.ffffffffffffbp-1);
  const double radius = sqrt(fma((double)(e - 64), -0x1.62e42fefa39efp+0, fma(t * t, q, -2.0 * t)));
  const double x = (double)(long)(v << 2) * 0x1p-63, y = x * x;
  double s = -0x1.6c5b93983c0b1p-46;
  s = fma(s, y, 0x1.e8eed159ae936p-38);
  s = fma(s, y, -0x1.e3074b502de1fp-30);
  s = fma(s, y, 0x1.50783485cc006p-22);
  s = fma(s, y, -0x1.32d2cce62ac24p-15);
  s = fma(s, y, 0x1.466bc6775aad9p-9);
  s = fma(s, y, -0x1.4abbce625be53p-4);
  s = fma(s, y, 0x1.921fb54442d18p-1) * x;
  double c = 0x1.1e2f898f2de24p-50;
  c = fma(c, y, -0x1.b6dd82ab9e003p-42);
  c = fma(c, y, 0x1.f9d3856ddbce4p-34);
  c = fma(c, y, -0x1.a6d1f29f3f5f8p-26);
  c = fma(c, y, 0x1.e1f5068919cd3p-19);
  c = fma(c, y, -0x1.55d3c7e3cbfefp-12);
  c = fma(c, y, 0x1.03c1f081b5ac4p-6);
  c = fma(c, y, -0x1.3bd3cc9be45dep-2);
  c = fma(c, y, 1.0);
  c = as_double(as_ulong(c) ^ (v & 0x8000000000000000ul));
  const bool turned = (v & 0x4000000000000000ul) != 0;
#else
  const float u = CLAN_TOWARDS_0((int)(w | 1u));
  const uint bits = as_uint(u), e = bits & 0x7f800000u;
  const float t = as_float(CLAN_MANTISSA(bits)) - 1.0f;
  float q = -0x1.011c56p1f;
  q = fma(q, t, -0x1.262324p1f);
  q = fma(q, t, -0x1.af7e96p0f);
  q = fma(q, t, -0x1.e02beap-3f);
  q = fma(q, t, -0x1.7e8518p-2f);
  q = fma(q, t, 0x1.690464p-2f);
  q = fma(q, t, -0x1.eccdf2p-2f);
  q = fma(q, t, 0x1.7153ep-1f);
  q = fma(q, t, -0x1.715476p0f);
  // The exponent of u = 1 is 157 here.
  const float radius = clan_root(fma(q, t, fma((float)e, -0x1p-23f, 157.0f)));
  const float x = (float)(int)v, z = fma(x * -0x1p-62f, x, 1.0f);
  float s = 0x1.72295p-44f;
  s = fma(s, z, 0x1.3a23bap-39f);
  s = fma(s, z, 0x1.4111dep-35f);
  s = fma(s, z, 0x1.2d6ac6p-32f);
  s = fma(s, z, 0x1.2d6abep-31f);
  s *= x;
  float c = 0x1.c9f4c2p-16f;
  c = fma(c, z, 0x1.edd5dep-11f);
  c = fma(c, z, 0x1.5037ep-6f);
  c = fma(c, z, 0x1.d977p-3f);
  c = fma(c, z, 0x1.d976f4p-1f);
  c = as_float(as_uint(c * z) ^ (w & 0x80000000u));
#endif
#ifdef CLAN_WIDE_WORDS
  *first = CLAN_MOVED(radius * (turned ? s : c));
  *second = CLAN_MOVED(radius * (turned ? c : s));
#else
  *first = CLAN_MOVED(radius * c);
  *second = CLAN_MOVED(radius * s);
#endif
}
#endif

// Element `at` of a block's words.
static inline clan_word clan_pick(const uint4 w, const uint at) {
#ifdef CLAN_WIDE_WORDS
  return at == 0 ? CLAN_FIRST(w) : CLAN_SECOND(w);
#else
  return at == 0 ? w.x : at == 1 ? w.y : at == 2 ? w.z : w.w;
#endif
}

#if CLAN_DRAW == CLAN_INTEGERS
// Lemire ("Fast random integer generation in an interval", 2019): the upper half of word times q is
// uniform once the words are left out whose lower half is below 2^32 mod q. Such elements take the
// same word of the next try's block; after 255 tries, which nobody will see, any word will do.
static inline clan_t clan_integer(clan_word w, const uint at, const uint low, const uint high,
                                  const uint stream, CLAN_KEYS_PARAM, const ulong p, const ulong q,
                                  const ulong r) {
  if (q == 0) return (clan_t)(p + w);
#ifdef CLAN_WIDE_WORDS
  for (uint try = 1; w * q < r && try < 256; try++)
    w = clan_pick(clan_philox(low, high, stream, CLAN_PURPOSE | try << 8, CLAN_KEYS), at);
  return (clan_t)(p + mul_hi(w, q));
#else
  for (uint try = 1; (uint)(w * q) < (uint)r && try < 256; try++)
    w = clan_pick(clan_philox(low, high, stream, CLAN_PURPOSE | try << 8, CLAN_KEYS), at);
  return (clan_t)(p + (w * q >> 32));
#endif
}
#endif

// The elements of a block.
static inline void clan_draw(const uint low, const uint high, const uint stream, CLAN_KEYS_PARAM,
                             const ulong p, const ulong q, const ulong r, clan_t* v) {
  const uint4 w = clan_philox(low, high, stream, CLAN_PURPOSE, CLAN_KEYS);
#if CLAN_DRAW == CLAN_NORMAL
  const clan_t mean = CLAN_OF(p), deviation = CLAN_OF(q);
#ifdef CLAN_WIDE_WORDS
  clan_normals(CLAN_FIRST(w), CLAN_SECOND(w), mean, deviation, &v[0], &v[1]);
#else
  clan_normals(w.x, w.y, mean, deviation, &v[0], &v[1]);
  clan_normals(w.z, w.w, mean, deviation, &v[2], &v[3]);
#endif
#else
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const clan_word x = clan_pick(w, k);
#if CLAN_DRAW == CLAN_UNIFORM
    v[k] = (clan_t)(x >> CLAN_SHIFT) * CLAN_SCALE;
#elif CLAN_DRAW == CLAN_BETWEEN
    const clan_t low = CLAN_OF(p), high = CLAN_OF(q), y = (clan_t)(x >> CLAN_SHIFT) * CLAN_SCALE;
    const clan_t z = CLAN_ROUND(low + y * (high - low));
    // Rounding may reach the end, which is not a part of the range.
    v[k] = z < high ? z : low;
#elif CLAN_DRAW == CLAN_INTEGERS
    v[k] = clan_integer(x, k, low, high, stream, CLAN_KEYS, p, q, r);
#else
    v[k] = (ulong)x < p;
#endif
  }
#endif
}

// Elements `n` of the stream from number `base * CLAN_EACH + skip` on, CLAN_BLOCKS blocks a work-item.
#ifndef CLAN_LANES
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void random(__global clan_out_t* restrict out, const ulong n, const ulong base, const uint skip,
            const uint stream, CLAN_KEYS_PARAM, const ulong p, const ulong q, const ulong r) {
  const ulong group = (ulong)get_group_id(0) * (CLAN_GROUP * CLAN_BLOCKS), first = group + get_local_id(0);
  clan_t v[CLAN_EACH];
#ifdef CLAN_PUTV
  // The upper half of the number is the same for all, so what is made of it alone is made once.
  const uint low = (uint)(base + group), high = (uint)((base + group) >> 32);
  const bool near = low <= 0xffffffffu - CLAN_GROUP * CLAN_BLOCKS;
  if (near && skip == 0 && (group + CLAN_GROUP * CLAN_BLOCKS) * CLAN_EACH <= n) {
#pragma unroll
    for (uint u = 0; u < CLAN_BLOCKS; u++) {
      const uint at = u * CLAN_GROUP;
      clan_draw(low + (uint)get_local_id(0) + at, high, stream, CLAN_KEYS, p, q, r, v);
      CLAN_PUTV(out, (first + at) * CLAN_EACH, v);
    }
    return;
  }
#endif
  for (uint u = 0; u < CLAN_BLOCKS; u++) {
    // Where the block begins, among the skipped elements and those of the result.
    const ulong block = first + u * CLAN_GROUP, begin = block * CLAN_EACH;
    if (begin >= n + skip) return;
    const ulong number = base + block;
    clan_draw((uint)number, (uint)(number >> 32), stream, CLAN_KEYS, p, q, r, v);
#pragma unroll
    for (uint k = 0; k < CLAN_EACH; k++) {
      const ulong at = begin + k;
      if (at >= skip && at < n + skip) CLAN_PUT(out, at - skip, v[k]);
    }
  }
}

#else

#if CLAN_DRAW == CLAN_INTEGERS && !defined(CLAN_WIDE_WORDS)
#define CLAN_REFUSES
// As clan_draw, of the first words alone; returns whether one of them has to be drawn again.
static inline uint clan_draw_once(const ulong number, const uint stream, CLAN_KEYS_PARAM, const uint p,
                                  const uint q, const uint r, clan_t* v) {
  const uint4 w = clan_philox((uint)number, (uint)(number >> 32), stream, CLAN_PURPOSE, CLAN_KEYS);
  const uint all = q == 0 ? 0xffffffffu : 0u;
  const ulong a = (ulong)w.x * q, b = (ulong)w.y * q, c = (ulong)w.z * q, d = (ulong)w.w * q;
  v[0] = (clan_t)(p + ((uint)(a >> 32) | (w.x & all)));
  v[1] = (clan_t)(p + ((uint)(b >> 32) | (w.y & all)));
  v[2] = (clan_t)(p + ((uint)(c >> 32) | (w.z & all)));
  v[3] = (clan_t)(p + ((uint)(d >> 32) | (w.w & all)));
  return ((uint)a < r) | ((uint)b < r) | ((uint)c < r) | ((uint)d < r);
}
#endif

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void random(__global clan_out_t* restrict out, const ulong n, const ulong base, const uint skip,
            const uint stream, CLAN_KEYS_PARAM, const ulong p, const ulong q, const ulong r) {
  for (uint u = 0; u < CLAN_BLOCKS; u += CLAN_LANES) {
    const ulong block = (ulong)get_global_id(0) * CLAN_BLOCKS + u, begin = block * CLAN_EACH;
    if (begin >= n + skip) return;
    const ulong number = base + block;
    clan_t v[CLAN_LANES * CLAN_EACH];
    bool again = true;
#ifdef CLAN_REFUSES
    uint refused = 0;
    CLAN_VECTORIZED for (uint l = 0; l < CLAN_LANES; l++)
      refused |= clan_draw_once(number + l, stream, CLAN_KEYS, (uint)p, (uint)q, (uint)r, v + l * CLAN_EACH);
    again = refused != 0;
#endif
    if (again) {
      CLAN_VECTORIZED for (uint l = 0; l < CLAN_LANES; l++) {
        const ulong of = number + l;
        clan_draw((uint)of, (uint)(of >> 32), stream, CLAN_KEYS, p, q, r, v + l * CLAN_EACH);
      }
    }
    if (begin >= skip && begin + CLAN_LANES * CLAN_EACH <= n + skip) {
      CLAN_VECTORIZED for (uint k = 0; k < CLAN_LANES * CLAN_EACH; k++) CLAN_PUT(out, begin - skip + k, v[k]);
    } else {
      for (uint k = 0; k < CLAN_LANES * CLAN_EACH; k++) {
        const ulong at = begin + k;
        if (at >= skip && at < n + skip) CLAN_PUT(out, at - skip, v[k]);
      }
    }
  }
}
#endif

#define CLAN_MIX(half, key, mask)                                                                  \
  {                                                                                                \
    uint h = (half) ^ (key);                                                                       \
    h = (h ^ h >> 16) * 0x85ebca6bu;                                                               \
    h = (h ^ h >> 13) * 0xc2b2ae35u;                                                               \
    mixed = (h ^ h >> 16) & (mask);                                                                \
  }

// Where position i goes in a permutation of 0 .. n: a Feistel network of eight rounds over the numbers
// below 2^bits, the first power of two that is not below n, followed until it is back below n
// (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). Rounds mix by the last steps
// of MurmurHash3, each with a key of its own.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void permutation(__global ulong* restrict out, const ulong n, const uint bits, const uint k0, const uint k1,
                 const uint k2, const uint k3, const uint k4, const uint k5, const uint k6, const uint k7) {
  const ulong i = (ulong)get_group_id(0) * CLAN_GROUP + get_local_id(0);
  if (i >= n) return;
  const uint low = bits / 2, high = bits - low;
  const uint low_mask = (uint)((1ul << low) - 1), high_mask = (uint)((1ul << high) - 1);
  const uint key[8] = {k0, k1, k2, k3, k4, k5, k6, k7};
  ulong x = i;
  do {
    uint a = (uint)(x >> low), b = (uint)x & low_mask, mixed;
#pragma unroll
    for (int round = 0; round < 8; round += 2) {
      CLAN_MIX(b, key[round], high_mask)
      a ^= mixed;
      CLAN_MIX(a, key[round + 1], low_mask)
      b ^= mixed;
    }
    x = (ulong)a << low | b;
  } while (x >= n);
  out[i] = x;
}
