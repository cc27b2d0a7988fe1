// select: elements that a mask keeps, one after the other; their positions; runs spread out again.
//
// The mask is cut into tiles of CLAN_GROUP * CLAN_EACH flags. `select_count` counts what each keeps; the
// sums of these (`scan`) are the places where tiles write, so `select_write` has nobody to wait for. The
// mask is read twice, everything else once.
//
// private: a work-item's flags, a bit each; local: flags that do not come in vectors, then which elements of a
// tile are kept, so that results are stored coalesced; global: mask and values, of which whole lines that nothing
// is kept of are not read; constant: not used.
#ifndef CLAN_PARAMS
typedef uchar clan_t;
#define CLAN_PARAMS , __global const uchar* restrict a0
#define CLAN_ARGS , a0
static inline uchar clan_at(const clan_ix i CLAN_PARAMS) { return a0[i]; }
#ifndef CLAN_TYPED
typedef uint clan_item;
#endif
#endif
#ifndef CLAN_EACH
#define CLAN_EACH 16 // flags of a work-item: a multiple of 4, up to 32
#endif
#ifndef CLAN_VEC
#define CLAN_VEC 1
#endif
#ifndef CLAN_REST
#define CLAN_REST 0 // whether elements that are not kept follow those that are
#endif
#define CLAN_TILE (CLAN_GROUP * CLAN_EACH)

#if CLAN_GROUP > 1
#define CLAN_AT_ONCE 4 // values on their way to a work-item

// Flags that come in vectors need not be exchanged.
#if CLAN_VEC > 1
#define CLAN_FLAG_WORDS 1
#else
#define CLAN_FLAG_WORDS (CLAN_TILE / 4)
#endif

// The flags of a work-item's neighbouring elements.
static inline uint clan_flags(__local uint* words, const clan_ix from, const clan_ix n CLAN_PARAMS) {
  const uint me = get_local_id(0);
  uint mine = 0;
#if CLAN_VEC > 1
  const clan_ix first = from + me * CLAN_EACH;
  if (first + CLAN_EACH <= n) {
#pragma unroll
    for (uint k = 0; k < CLAN_EACH; k += CLAN_VEC) {
      clan_t v[CLAN_VEC];
      clan_vec(first + k, v CLAN_ARGS);
#pragma unroll
      for (uint l = 0; l < CLAN_VEC; l++) mine |= (uint)v[l] << (k + l);
    }
  } else {
    for (uint k = 0; first + k < n; k++) mine |= (uint)clan_at(first + k CLAN_ARGS) << k;
  }
#else
  // Words, so that the bytes in them are aligned like words.
  __local uchar* const flags = (__local uchar*)words;
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const clan_ix i = from + k * CLAN_GROUP + me;
    flags[k * CLAN_GROUP + me] = i < n ? clan_at(i CLAN_ARGS) : 0;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k += 4) {
    // Bits 0, 8, 16, 24 to bits 24 to 27; no two products meet.
    const uint four = words[(me * CLAN_EACH + k) / 4];
    mine |= ((four * 0x01020408u) >> 24 & 15u) << k;
  }
#endif
  return mine;
}

// The sum of all counts up to that of each work-item.
static inline uint clan_ranks(__local uint* sums, uint count) {
  const uint me = get_local_id(0);
  for (uint d = 1; d < CLAN_GROUP; d *= 2) {
    sums[me] = count;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (me >= d) count += sums[me - d];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  sums[me] = count;
  barrier(CLK_LOCAL_MEM_FENCE);
  return count;
}
#endif

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void select_count(__global ulong* counts, const clan_ix n CLAN_PARAMS) {
  const clan_ix from = (clan_ix)get_group_id(0) * CLAN_TILE;
#if CLAN_GROUP == 1
  uint count = 0;
  CLAN_VECTORIZED for (clan_ix i = from; i < min(n, from + CLAN_TILE); i++) count += clan_at(i CLAN_ARGS);
  counts[get_group_id(0)] = count;
#else
  __local uint sums[CLAN_GROUP];
  const uint me = get_local_id(0);
#if CLAN_VEC > 1
  uint count = popcount(clan_flags(sums, from, n CLAN_ARGS));
#else
  // In any order.
  uint count = 0;
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const clan_ix i = from + k * CLAN_GROUP + me;
    count += i < n ? clan_at(i CLAN_ARGS) : 0;
  }
#endif
  sums[me] = count;
  for (uint d = CLAN_GROUP / 2; d > 0; d /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (me < d) sums[me] += sums[me + d];
  }
  if (me == 0) counts[get_group_id(0)] = sums[0];
#endif
}

// `ends`: how many are kept up to the end of each tile; `total` of all. Without values positions are
// written.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
#ifdef CLAN_POSITIONS
#define CLAN_VALUE(i) ((ulong)(i))
#define CLAN_ITEM ulong
void select_write(__global ulong* restrict out, __global const ulong* ends, const ulong total,
                  const clan_ix n CLAN_PARAMS) {
#else
#define CLAN_VALUE(i) (values[values_at + (i)])
#define CLAN_ITEM clan_item
void select_write(__global clan_item* restrict out, __global const ulong* ends, const ulong total,
                  const clan_ix n, __global const clan_item* restrict values,
                  const clan_ix values_at CLAN_PARAMS) {
#endif
  const clan_ix group = get_group_id(0), from = group * CLAN_TILE;
  const clan_ix to = group > 0 ? (clan_ix)ends[group - 1] : 0;
#if CLAN_REST
  // Where the first that is not kept goes.
  const clan_ix rest = (clan_ix)total + from - to;
#endif
#if CLAN_GROUP == 1
  // Every element is written where the next that is kept belongs, and stays if it is one: no jump depends on a
  // flag. That place is the tile's own as long as not all of its have come.
  const clan_ix end = min(n, from + CLAN_TILE), count = (clan_ix)ends[group] - to;
  clan_ix i = from, kept = 0;
#if CLAN_REST
  const clan_ix others = end - from - count;
  clan_ix left = 0;
  for (; i < end && kept < count && left < others; i++) {
    const uint flag = clan_at(i CLAN_ARGS);
    const CLAN_ITEM item = CLAN_VALUE(i);
    out[to + kept] = item;
    out[rest + left] = item;
    kept += flag;
    left += 1 - flag;
  }
  for (; i < end && left < others; i++) out[rest + left++] = CLAN_VALUE(i);
#endif
  for (; i < end && kept < count; i++) {
    out[to + kept] = CLAN_VALUE(i);
    kept += clan_at(i CLAN_ARGS);
  }
#else
  __local uint words[CLAN_FLAG_WORDS];
  __local ushort kept[CLAN_TILE];
  __local uint sums[CLAN_GROUP];
  const uint me = get_local_id(0);
  const uint flags = clan_flags(words, from, n CLAN_ARGS), mine = popcount(flags);
  uint rank = clan_ranks(sums, mine) - mine;
  const uint count = sums[CLAN_GROUP - 1];
  // Kept ones from the front, others from the back.
  uint other = me * CLAN_EACH - rank;
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint i = me * CLAN_EACH + k;
    if (flags >> k & 1u) kept[rank++] = i;
#if CLAN_REST
    else kept[count + other++] = i;
#endif
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint start = me; start < count; start += CLAN_AT_ONCE * CLAN_GROUP) {
    CLAN_ITEM item[CLAN_AT_ONCE];
#pragma unroll
    for (uint k = 0; k < CLAN_AT_ONCE; k++) {
      // Beyond the end the first again: one that is there.
      const uint r = start + k * CLAN_GROUP;
      item[k] = CLAN_VALUE(from + kept[r < count ? r : start]);
    }
#pragma unroll
    for (uint k = 0; k < CLAN_AT_ONCE; k++) {
      const uint r = start + k * CLAN_GROUP;
      if (r < count) out[to + r] = item[k];
    }
  }
#if CLAN_REST
  const uint most = (uint)min((clan_ix)CLAN_TILE, n - from);
  for (uint r = count + me; r < most; r += CLAN_GROUP) out[rest + r - count] = CLAN_VALUE(from + kept[r]);
#endif
#endif
}

#ifndef CLAN_POSITIONS
// Element i becomes that value whose run ends first after i.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void select_runs(__global clan_item* restrict out, __global const ulong* restrict ends, const clan_ix runs,
                 const clan_ix n, __global const clan_item* restrict values, const clan_ix values_at) {
  const clan_ix i = get_global_id(0);
  if (i >= n) return;
  clan_ix low = 0, high = runs - 1;
  while (low < high) {
    const clan_ix middle = low + (high - low) / 2;
    if (ends[middle] > i) high = middle;
    else low = middle + 1;
  }
  out[i] = values[values_at + low];
}
#endif
