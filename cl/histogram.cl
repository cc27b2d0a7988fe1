// histogram: how many elements lie in each bin.
//
// Three kernels, by the number of bins and the device:
// - histogram_local (GPUs): the counts of a group, in local memory. There are up to 32 copies, which
//   neighbouring work-items take in turn, so that equal neighbours neither wait for each other nor meet in a
//   bank; each group writes its sums, which are added afterwards;
// - histogram_flat (CPUs): one work-item walks a stretch, with counts of its own in global memory, of few bins
//   in several copies so that equal neighbours do not wait for each other's stores;
// - histogram_atomic: more bins than fit; atomic additions to global memory, some copies as well.
//
// private: the elements in flight; local: counts; constant: not used; global: the input, read once and
// coalesced, edges, and counts.
//
// Elements of 8 bits are counted by their 256 values, whatever the bins are, and the values that belong
// to a bin, which are neighbours, are added at the end.
#ifndef CLAN_PARAMS
typedef float clan_t;
#define CLAN_VEC 1
#define CLAN_PARAMS , __global const float* restrict a0
#define CLAN_ARGS , a0
static inline float clan_at(const clan_ix i CLAN_PARAMS) { return a0[i]; }
#endif
#ifndef CLAN_BIN
#define CLAN_BIN 0
#endif
// A float whose last digit is that of one, and its digits as an integer.
#ifndef CLAN_SHIFTED
#define CLAN_SHIFTED 0x1p+23f
#define CLAN_LAST_DIGITS(x) (as_uint(x) & 0x7fffffu)
#endif
// Which kernel the program is for: only that one is compiled.
#ifdef CLAN_WAY
#define CLAN_HAS(way) (CLAN_WAY == (way))
#else
#define CLAN_HAS(way) 1
#endif
#ifndef CLAN_SLOTS
#define CLAN_SLOTS 8192 // counters in local memory
#endif

#define CLAN_EVEN 0       // floats between low and high, at equal distances
#define CLAN_EVEN_INT 1   // integers of at most 32 bits
#define CLAN_EVEN_LONG 2  // of 64 bits
#define CLAN_EDGES 3      // given edges, ascending
#define CLAN_INDEX 4      // the element is the bin
#define CLAN_BYTES 5      // 256 values first, of which a bin has some that are neighbours
#define CLAN_EVEN_CLOSE 6 // as CLAN_EVEN, of bins so narrow that both edges beside a guess are asked

#if CLAN_BIN == CLAN_EVEN || CLAN_BIN == CLAN_EVEN_CLOSE
#define CLAN_BIN_PARAMS , const clan_t low, const clan_t high, const clan_t scale, const clan_t width
#define CLAN_BIN_ARGS , low, high, scale, width
#elif CLAN_BIN == CLAN_EVEN_INT || CLAN_BIN == CLAN_EVEN_LONG
#define CLAN_BIN_PARAMS , const ulong low, const ulong span, const ulong whole, const ulong rest, const ulong factor
#define CLAN_BIN_ARGS , low, span, whole, rest, factor
#elif CLAN_BIN == CLAN_EDGES
#define CLAN_BIN_PARAMS , __global const clan_t* restrict edges, const uint top
#define CLAN_BIN_ARGS , edges, top
#elif CLAN_BIN == CLAN_INDEX
#define CLAN_BIN_PARAMS
#define CLAN_BIN_ARGS
#else
// The first value of every bin, or, where each bin has one, of the first bin.
#ifdef CLAN_ONE_EACH
#define CLAN_BIN_PARAMS , const uint start, const uint flip
#define CLAN_BIN_ARGS , start, flip
#define CLAN_VALUES_OF(b, k) uint k = start + (b); k <= start + (b); k++
#else
#define CLAN_BIN_PARAMS , __global const uint* restrict starts, const uint flip
#define CLAN_BIN_ARGS , starts, flip
#define CLAN_VALUES_OF(b, k) uint k = starts[b]; k < starts[(b) + 1]; k++
#endif
#endif

// The bin of x; `bins` or more when it has none.
static inline uint clan_bin(const clan_t x, const uint bins CLAN_BIN_PARAMS) {
#if CLAN_BIN == CLAN_EVEN
  // The nearest integer is the bin or the one above: its edge decides. The digits below that of one
  // are rounded away by the addition, which is cheaper than conversions.
  if (!(x >= low && x <= high)) return bins;
  const clan_t shifted = fmin((x - low) * scale, (clan_t)(bins - 1)) + CLAN_SHIFTED;
  const uint k = CLAN_LAST_DIGITS(shifted);
  return x < low + (shifted - CLAN_SHIFTED) * width ? k - 1 : k;
#elif CLAN_BIN == CLAN_EVEN_CLOSE
  if (!(x >= low && x <= high)) return bins;
  uint k = min((uint)((x - low) * scale), bins - 1);
  // The product may be off by one beside an edge; what counts is the edge itself.
  if (x < low + (clan_t)k * width) k--;
  else if (k + 1 < bins && x >= low + (clan_t)(k + 1) * width) k++;
  return k;
#elif CLAN_BIN == CLAN_EVEN_INT
  // floor(d * bins / span), where bins = whole * span + rest and factor is the next number above
  // 2^64 * rest / span: exact while d and span have 32 bits.
  const uint d = (uint)x - (uint)low;
  if (d > (uint)span) return bins;
  return min(d * (uint)whole + (uint)mul_hi((ulong)d, factor), bins - 1);
#elif CLAN_BIN == CLAN_EVEN_LONG
  // The same with the number below, which may give one too little.
  const ulong d = (ulong)x - low;
  if (d > span) return bins;
  ulong k = mul_hi(d, factor);
  const ulong above = mul_hi(k + 1, span), below = mul_hi(d, rest);
  if (above < below || (above == below && (k + 1) * span <= d * rest)) k++;
  return (uint)min(d * whole + k, (ulong)bins - 1);
#elif CLAN_BIN == CLAN_EDGES
  if (!(x >= edges[0] && x <= edges[bins])) return bins;
  // The last edge but the very last that is not above x; `top` is a power of two below bins.
  uint k = 0;
  for (uint step = top; step > 0; step /= 2) {
    if (k + step < bins && edges[k + step] <= x) k += step;
  }
  return k;
#elif CLAN_BIN == CLAN_INDEX
  return (uint)x;
#else
  return (uint)(uchar)((uchar)x ^ (uchar)flip);
#endif
}

#if CLAN_BIN == CLAN_BYTES
#define CLAN_VALUES(bins) 256u
#else
#define CLAN_VALUES(bins) (bins)
#endif

// Calls CLAN_COUNT for the bin of each element that a work-item takes: vectors `step` apart from
// `first` on, up to `to`, then single elements `single` apart. Vectors start at multiples of CLAN_VEC.
#if CLAN_VEC > 1
#define CLAN_WALK(first, step, to, tail, single)                                                   \
  {                                                                                                \
    clan_ix i = first;                                                                             \
    for (; i + (CLAN_UNROLL - 1) * (step) + CLAN_VEC <= (to); i += CLAN_UNROLL * (step)) {         \
      clan_t v[CLAN_UNROLL][CLAN_VEC];                                                             \
      _Pragma("unroll") for (int u = 0; u < CLAN_UNROLL; u++)                                      \
          clan_vec(i + u * (step), v[u] CLAN_ARGS);                                                \
      _Pragma("unroll") for (int u = 0; u < CLAN_UNROLL; u++) {                                    \
        _Pragma("unroll") for (int k = 0; k < CLAN_VEC; k++)                                       \
            CLAN_COUNT(clan_bin(v[u][k], bins CLAN_BIN_ARGS), k);                                  \
      }                                                                                            \
    }                                                                                              \
    for (; i + CLAN_VEC <= (to); i += (step)) {                                                    \
      clan_t v[CLAN_VEC];                                                                          \
      clan_vec(i, v CLAN_ARGS);                                                                    \
      _Pragma("unroll") for (int k = 0; k < CLAN_VEC; k++)                                         \
          CLAN_COUNT(clan_bin(v[k], bins CLAN_BIN_ARGS), k);                                       \
    }                                                                                              \
    for (clan_ix j = (to) / CLAN_VEC * CLAN_VEC + (tail); j < (to); j += (single))                 \
      CLAN_COUNT(clan_bin(clan_at(j CLAN_ARGS), bins CLAN_BIN_ARGS), 0);                           \
  }
#else
#define CLAN_WALK(first, step, to, tail, single)                                                   \
  {                                                                                                \
    clan_ix i = first;                                                                             \
    for (; i + (CLAN_UNROLL - 1) * (step) < (to); i += CLAN_UNROLL * (step)) {                     \
      clan_t v[CLAN_UNROLL];                                                                       \
      _Pragma("unroll") for (int u = 0; u < CLAN_UNROLL; u++) v[u] = clan_at(i + u * (step) CLAN_ARGS); \
      _Pragma("unroll") for (int u = 0; u < CLAN_UNROLL; u++)                                      \
          CLAN_COUNT(clan_bin(v[u], bins CLAN_BIN_ARGS), u);                                       \
    }                                                                                              \
    for (; i < (to); i += (step)) CLAN_COUNT(clan_bin(clan_at(i CLAN_ARGS), bins CLAN_BIN_ARGS), 0); \
  }
#endif

#if CLAN_HAS(0)
// Group g counts into partial[b * groups + g] for every bin b. There are 1 << shift copies.
#define CLAN_COUNT(k, lane)                                                                        \
  {                                                                                                \
    const uint at = (k);                                                                           \
    if (at < values) atomic_inc(&counts[(at << shift) + copy]);                                    \
  }
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void histogram_local(__global uint* restrict partial, const clan_ix n, const uint bins, const uint shift
                     CLAN_BIN_PARAMS CLAN_PARAMS) {
  __local uint counts[CLAN_SLOTS];
  const uint me = get_local_id(0), copy = me & ((1u << shift) - 1), values = CLAN_VALUES(bins);
  const uint group = get_group_id(0), groups = get_num_groups(0);
  for (uint k = me; k < values << shift; k += CLAN_GROUP) counts[k] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  const clan_ix id = (clan_ix)group * CLAN_GROUP + me, all = (clan_ix)groups * CLAN_GROUP;
  CLAN_WALK(id * CLAN_VEC, all * CLAN_VEC, n, id, all)
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint b = me; b < values; b += CLAN_GROUP) {
    uint sum = 0;
    // Neighbours begin at different copies, and so in different banks.
    for (uint c = 0; c < 1u << shift; c++) sum += counts[(b << shift) + ((c + me) & ((1u << shift) - 1))];
#if CLAN_BIN == CLAN_BYTES
    counts[b << shift] = sum;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint b = me; b < bins; b += CLAN_GROUP) {
    uint sum = 0;
    for (CLAN_VALUES_OF(b, k)) sum += counts[k << shift];
#endif
    partial[b * (size_t)groups + group] = sum;
  }
}
#undef CLAN_COUNT
#endif

#if CLAN_HAS(1)
#ifndef CLAN_COPIES
#define CLAN_COPIES 4
#endif
#define CLAN_SOME 64 // elements whose bins are found before they are counted, in vectors

// The bins of CLAN_SOME elements.
static inline void clan_places(const clan_ix from, uint* place, const uint bins CLAN_BIN_PARAMS CLAN_PARAMS) {
#if CLAN_BIN == CLAN_EDGES
  // All elements go one step of the search at a time.
  clan_t x[CLAN_SOME];
  CLAN_VECTORIZED for (uint k = 0; k < CLAN_SOME; k++) {
    x[k] = clan_at(from + k CLAN_ARGS);
    place[k] = 0;
  }
  for (uint step = top; step > 0; step /= 2) {
    CLAN_VECTORIZED for (uint k = 0; k < CLAN_SOME; k++) {
      const uint at = place[k] + step;
      const bool above = (at < bins) & (edges[min(at, bins)] <= x[k]);
      place[k] = above ? at : place[k];
    }
  }
  CLAN_VECTORIZED for (uint k = 0; k < CLAN_SOME; k++) {
    const bool inside = (x[k] >= edges[0]) & (x[k] <= edges[bins]);
    place[k] = inside ? place[k] : bins;
  }
#else
  CLAN_VECTORIZED for (uint k = 0; k < CLAN_SOME; k++) place[k] = clan_bin(clan_at(from + k CLAN_ARGS), bins CLAN_BIN_ARGS);
#endif
}

// Task t counts elements t * part and up into partial[t * bins + b]; where there are copies, first into those
// of its own in scratch. They have a place more, for elements without a bin.
#if CLAN_COPIES > 1
#define CLAN_SCRATCH __global uint *restrict scratch,
#define CLAN_COUNT(k, lane) mine[(lane) % CLAN_COPIES * row + min((k), values)]++
#else
#define CLAN_SCRATCH
#define CLAN_COUNT(k, lane)                                                                        \
  {                                                                                                \
    const uint at = (k);                                                                           \
    if (at < bins) mine[at]++;                                                                     \
  }
#endif
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void histogram_flat(__global uint* restrict partial, CLAN_SCRATCH const clan_ix n, const clan_ix part,
                    const uint tasks, const uint bins CLAN_BIN_PARAMS CLAN_PARAMS) {
  const uint task = get_global_id(0), values = CLAN_VALUES(bins);
  if (task >= tasks) return;
  __global uint* const result = partial + (size_t)task * bins;
#if CLAN_COPIES > 1
  const size_t row = values + 1, counters = row * CLAN_COPIES;
  __global uint* const mine = scratch + task * counters;
#else
  const size_t counters = bins;
  __global uint* const mine = result;
#endif
  CLAN_VECTORIZED for (size_t k = 0; k < counters; k++) mine[k] = 0;
  clan_ix i = task * part;
  const clan_ix to = min(n, i + part);
  for (; i + CLAN_SOME <= to; i += CLAN_SOME) {
#if CLAN_BIN == CLAN_BYTES
    _Pragma("unroll 16") for (uint k = 0; k < CLAN_SOME; k++)
        CLAN_COUNT(clan_bin(clan_at(i + k CLAN_ARGS), bins CLAN_BIN_ARGS), k);
#else
    uint place[CLAN_SOME];
    clan_places(i, place, bins CLAN_BIN_ARGS CLAN_ARGS);
    _Pragma("unroll 16") for (uint k = 0; k < CLAN_SOME; k++) CLAN_COUNT(place[k], k);
#endif
  }
  for (; i < to; i++) CLAN_COUNT(clan_bin(clan_at(i CLAN_ARGS), bins CLAN_BIN_ARGS), 0);
#if CLAN_COPIES > 1
  for (uint b = 0; b < values; b++) {
    uint sum = 0;
    for (uint c = 0; c < CLAN_COPIES; c++) sum += mine[c * row + b];
#if CLAN_BIN == CLAN_BYTES
    mine[b] = sum;
  }
  for (uint b = 0; b < bins; b++) {
    uint sum = 0;
    for (CLAN_VALUES_OF(b, k)) sum += mine[k];
#endif
    result[b] = sum;
  }
#endif
}
#undef CLAN_COUNT
#endif

#if CLAN_HAS(2) && CLAN_BIN != CLAN_BYTES
// Adds elements `from` to `to` to counts[copy * bins + b]; the counts were set to zero. Less than 2^32
// elements in one launch, so that no counter overflows.
#define CLAN_COUNT(k, lane)                                                                        \
  {                                                                                                \
    const uint at = (k);                                                                           \
    if (at < bins) atomic_inc(&counts[at]);                                                        \
  }
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void histogram_atomic(__global uint* restrict all_counts, const clan_ix from, const clan_ix to, const uint bins,
                      const uint row, const uint copies CLAN_BIN_PARAMS CLAN_PARAMS) {
  const clan_ix id = (clan_ix)get_group_id(0) * CLAN_GROUP + get_local_id(0);
  const clan_ix all = (clan_ix)get_num_groups(0) * CLAN_GROUP;
  __global uint* counts = all_counts + (size_t)(row + get_group_id(0) % copies) * bins;
  CLAN_WALK(from + id * CLAN_VEC, all * CLAN_VEC, to, id, all)
}
#endif
