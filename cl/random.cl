// random: numbers from Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", 2011), a function of 128 bits of counter and 64 bits of key.
//
// A block of four words makes four elements, or two of the wide ones (CLAN_WIDE_WORDS). Its counter is
// the block's number (two words), the stream, and what the words are for; an element's bits depend on
// nothing else. Floats are made of exactly defined operations: fma, and square roots that are rounded
// correctly where the device says so.
//
// private: CLAN_BLOCKS blocks a work-item, one after the other; constant: the coefficients, immediate operands; global: the result,
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

static inline uint4 clan_philox(const ulong block, const uint stream, const uint purpose, uint k0, uint k1) {
  uint4 c = (uint4)((uint)block, (uint)(block >> 32), stream, purpose);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const ulong a = (ulong)c.x * 0xd2511f53u, b = (ulong)c.z * 0xcd9e8d57u;
    c = (uint4)((uint)(b >> 32) ^ c.y ^ k0, (uint)b, (uint)(a >> 32) ^ c.w ^ k1, (uint)a);
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c;
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
#else
static inline float clan_root(const float x) { return sqrt(x); }
#endif

#ifdef CLAN_STANDARD
#define CLAN_MOVED(z) (z) // of mean 0 and deviation 1
#else
#define CLAN_MOVED(z) fma((z), deviation, mean)
#endif

// Box and Muller (1958). The radius is the root of -2 ln u for u = (w | 1) / 2^32 (or 2^64): with
// u = 2^e (1 + t), 1 + t within [sqrt 1/2, sqrt 2), that is -2 ln 2 e - 2 t + t^2 Q(t). The angle is
// a quarter turn at random, which two bits say, and the others between -pi/4 and pi/4: the sign of the
// cosine is v's highest bit, and whether sine and cosine change places v's next one, or w's lowest where
// words are short. All coefficients are minimax fits, relative to the function.
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
  // Of the word's lowest bit only this is made of it.
  const bool turned = (w & 1u) != 0;
  const float u = (float)(w | 1u);
  // The exponents of u / 2^32; 23 bits below them, so 2^-23 goes into the factor.
  const int bits = as_int(u), e = (bits - 0x4f3504f3) & (int)0xff800000;
  const float t = fma(as_float(bits - e), 0x1p-32f, -1.0f);
  float q = -0x1.65c77cp-3f;
  q = fma(q, t, 0x1.2504ap-2f);
  q = fma(q, t, -0x1.318526p-2f);
  q = fma(q, t, 0x1.535d3p-2f);
  q = fma(q, t, -0x1.98d2cp-2f);
  q = fma(q, t, 0x1.00049ap-1f);
  q = fma(q, t, -0x1.5556f4p-1f);
  q = fma(q, t, 0x1.fffffap-1f);
  q = fma(q, t, -2.0f);
  // 2^-60 counts where all else is 0: the root need not care for 0.
  const float radius = clan_root(fma(q, t, fma((float)e, -0x1.62e43p-23f, 0x1p-60f)));
  const float x = (float)(int)(v << 2) * 0x1p-31f, y = x * x;
  float s = -0x1.2d9bb8p-15f;
  s = fma(s, y, 0x1.465ec6p-9f);
  s = fma(s, y, -0x1.4abbbap-4f);
  s = fma(s, y, 0x1.921fb6p-1f) * x;
  float c = -0x1.4ea9e8p-12f;
  c = fma(c, y, 0x1.03b162p-6f);
  c = fma(c, y, -0x1.3bd3a2p-2f);
  c = fma(c, y, 1.0f);
  c = as_float(as_uint(c) ^ (v & 0x80000000u));
#endif
  *first = CLAN_MOVED(radius * (turned ? s : c));
  *second = CLAN_MOVED(radius * (turned ? c : s));
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
static inline clan_t clan_integer(clan_word w, const uint at, const ulong block, const uint stream,
                                  const uint k0, const uint k1, const ulong p, const ulong q, const ulong r) {
  if (q == 0) return (clan_t)(p + w);
#ifdef CLAN_WIDE_WORDS
  for (uint try = 1; w * q < r && try < 256; try++)
    w = clan_pick(clan_philox(block, stream, CLAN_PURPOSE | try << 8, k0, k1), at);
  return (clan_t)(p + mul_hi(w, q));
#else
  for (uint try = 1; (uint)(w * q) < (uint)r && try < 256; try++)
    w = clan_pick(clan_philox(block, stream, CLAN_PURPOSE | try << 8, k0, k1), at);
  return (clan_t)(p + (w * q >> 32));
#endif
}
#endif

// The elements of a block.
static inline void clan_draw(const ulong block, const uint stream, const uint k0, const uint k1, const ulong p,
                             const ulong q, const ulong r, clan_t* v) {
  const uint4 w = clan_philox(block, stream, CLAN_PURPOSE, k0, k1);
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
    v[k] = clan_integer(x, k, block, stream, k0, k1, p, q, r);
#else
    v[k] = (ulong)x < p;
#endif
  }
#endif
}

// Elements `n` of the stream from number `base * CLAN_EACH + skip` on, CLAN_BLOCKS blocks a work-item.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void random(__global clan_out_t* restrict out, const ulong n, const ulong base, const uint skip,
            const uint stream, const uint k0, const uint k1, const ulong p, const ulong q, const ulong r) {
  const ulong group = (ulong)get_group_id(0) * (CLAN_GROUP * CLAN_BLOCKS), first = group + get_local_id(0);
  clan_t v[CLAN_EACH];
#ifdef CLAN_PUTV
  if (skip == 0 && (group + CLAN_GROUP * CLAN_BLOCKS) * CLAN_EACH <= n) {
#pragma unroll
    for (uint u = 0; u < CLAN_BLOCKS; u++) {
      const ulong block = first + u * CLAN_GROUP;
      clan_draw(base + block, stream, k0, k1, p, q, r, v);
      CLAN_PUTV(out, block * CLAN_EACH, v);
    }
    return;
  }
#endif
  for (uint u = 0; u < CLAN_BLOCKS; u++) {
    // Where the block begins, among the skipped elements and those of the result.
    const ulong block = first + u * CLAN_GROUP, begin = block * CLAN_EACH;
    if (begin >= n + skip) return;
    clan_draw(base + block, stream, k0, k1, p, q, r, v);
#pragma unroll
    for (uint k = 0; k < CLAN_EACH; k++) {
      const ulong at = begin + k;
      if (at >= skip && at < n + skip) CLAN_PUT(out, at - skip, v[k]);
    }
  }
}

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
