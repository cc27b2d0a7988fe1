// sorted: where values belong in a sorted vector, and two sorted vectors made one.
//
// `searchsorted` halves the vector once a round for several values at a time, so that their loads are in
// flight together. `merge`: the first d elements of the result are the first i of one vector and the
// first d - i of the other, and i is found by halving, so every work-group knows what it merges without
// asking others: `merge_cuts` finds i for every tile, a work-item finds it once more inside its tile and
// merges CLAN_EACH elements from there on. Neither needs to trust that vectors are sorted: places stay
// inside them whatever the comparisons say.
//
// private: the values that a work-item looks for, the elements that it merges; local: both vectors' parts
// of a tile, then the tile in order, so that loads and stores are coalesced, and with a payload where
// each element came from; global: vectors and payloads; constant: not used.
//
// Keys are kept as they are. CLAN_ORDER gives the unsigned integer by which they are compared.
#ifndef CLAN_ORDER
typedef uint clan_key;
#define CLAN_ORDER(bits) (bits)
#define CLAN_PAYLOAD 1 // whether there are values that go with keys
typedef uint clan_load;
#endif
#ifndef CLAN_EACH
#define CLAN_EACH 7 // elements that a work-item merges; odd, so that neighbours use different banks
#endif
#ifndef CLAN_SEARCHES
#define CLAN_SEARCHES 4 // values that a work-item looks for at a time
#endif
#ifndef CLAN_ROUNDS
#define CLAN_ROUNDS 1 // how often it does so
#endif
#define CLAN_TILE (CLAN_GROUP * CLAN_EACH)

// How many keys are less than each value or, with `upto`, equal to it.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void searchsorted(__global ulong* restrict out, __global const clan_key* restrict keys, const ulong keys_at,
                  const clan_ix n, __global const clan_key* restrict values, const ulong values_at,
                  const clan_ix count, const uint upto) {
  keys += keys_at;
  values += values_at;
  for (uint round = 0; round < CLAN_ROUNDS; round++) {
    const clan_ix from =
        ((clan_ix)get_group_id(0) * CLAN_ROUNDS + round) * (CLAN_GROUP * CLAN_SEARCHES) + get_local_id(0);
    clan_key value[CLAN_SEARCHES];
    clan_ix low[CLAN_SEARCHES];
#pragma unroll
    for (uint k = 0; k < CLAN_SEARCHES; k++) {
      const clan_ix i = from + k * CLAN_GROUP;
      value[k] = i < count ? (clan_key)CLAN_ORDER(values[i]) : (clan_key)0;
      low[k] = 0;
    }
    // The answer lies in low .. low + len, both included.
    for (clan_ix len = n, step; len > 0; len -= step) {
      step = max(len / 2, (clan_ix)1);
#pragma unroll
      for (uint k = 0; k < CLAN_SEARCHES; k++) {
        const clan_key key = CLAN_ORDER(keys[low[k] + step - 1]);
        low[k] += (key < value[k]) | ((upto != 0) & (key == value[k])) ? step : 0;
      }
    }
#pragma unroll
    for (uint k = 0; k < CLAN_SEARCHES; k++) {
      const clan_ix i = from + k * CLAN_GROUP;
      if (i < count) out[i] = low[k];
    }
  }
}

// How many of the first `d` elements come from `a`, which goes before `b` among equals.
#define CLAN_CUT(name, space)                                                                      \
  static inline clan_ix name(space const clan_key* a, const clan_ix an, space const clan_key* b,   \
                             const clan_ix bn, const clan_ix d) {                                  \
    clan_ix low = d > bn ? d - bn : 0, high = min(d, an);                                          \
    while (low < high) {                                                                           \
      const clan_ix middle = low + (high - low) / 2;                                               \
      if (CLAN_ORDER(b[d - 1 - middle]) < CLAN_ORDER(a[middle])) high = middle;                    \
      else low = middle + 1;                                                                       \
    }                                                                                              \
    return low;                                                                                    \
  }
CLAN_CUT(clan_cut, __global)

#if CLAN_PAYLOAD
#define CLAN_LOADS                                                                                 \
  , __global clan_load* restrict loads, __global const clan_load* restrict a_loads, const ulong a_loads_at, \
      __global const clan_load* restrict b_loads, const ulong b_loads_at
#else
#define CLAN_LOADS
#endif

#if CLAN_GROUP == 1
// A work-item merges `span` elements.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void merge(__global clan_key* restrict out, __global const clan_key* restrict a, const ulong a_at,
           const clan_ix an, __global const clan_key* restrict b, const ulong b_at, const clan_ix bn,
           const clan_ix span CLAN_LOADS) {
  a += a_at;
  b += b_at;
#if CLAN_PAYLOAD
  a_loads += a_loads_at;
  b_loads += b_loads_at;
#endif
  const clan_ix from = (clan_ix)get_global_id(0) * span, to = min(an + bn, from + span);
  clan_ix i = clan_cut(a, an, b, bn, from), j = from - i, at = from;
  for (; at < to && i < an && j < bn; at++) {
    const clan_key x = a[i], y = b[j];
    const bool second = CLAN_ORDER(y) < CLAN_ORDER(x);
    out[at] = second ? y : x;
#if CLAN_PAYLOAD
    const clan_load p = a_loads[i], q = b_loads[j];
    loads[at] = second ? q : p;
#endif
    i += !second;
    j += second;
  }
  // One of them is at its end.
  for (; at < to; at++) {
    const bool second = i >= an;
    out[at] = second ? b[j] : a[i];
#if CLAN_PAYLOAD
    loads[at] = second ? b_loads[j] : a_loads[i];
#endif
    i += !second;
    j += second;
  }
}
#else
CLAN_CUT(clan_cut_local, __local)

// How many elements before each tile, and in all, come from `a`.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void merge_cuts(__global ulong* restrict cuts, __global const clan_key* restrict a, const ulong a_at,
                const clan_ix an, __global const clan_key* restrict b, const ulong b_at, const clan_ix bn,
                const clan_ix tiles) {
  const clan_ix tile = get_global_id(0);
  if (tile <= tiles) cuts[tile] = clan_cut(a + a_at, an, b + b_at, bn, min(an + bn, tile * CLAN_TILE));
}

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void merge(__global clan_key* restrict out, __global const clan_key* restrict a, const ulong a_at,
           const clan_ix an, __global const clan_key* restrict b, const ulong b_at, const clan_ix bn,
           __global const ulong* restrict cuts CLAN_LOADS) {
  __local clan_key keys[CLAN_TILE];
#if CLAN_PAYLOAD
  __local ushort source[CLAN_TILE];
#endif
  const uint me = get_local_id(0);
  const clan_ix from = (clan_ix)get_group_id(0) * CLAN_TILE;
  const uint n = (uint)min((clan_ix)CLAN_TILE, an + bn - from);
  const clan_ix i0 = (clan_ix)cuts[get_group_id(0)], j0 = from - i0;
  // Cuts of vectors that are not sorted may lie too near or too far.
  const clan_ix i1 = max(i0, min((clan_ix)cuts[get_group_id(0) + 1], i0 + n));
  const uint na = (uint)(i1 - i0), nb = n - na;
  a += a_at + i0;
  b += b_at + j0;
  for (uint i = me; i < n; i += CLAN_GROUP) keys[i] = i < na ? a[i] : b[i - na];
  barrier(CLK_LOCAL_MEM_FENCE);
  const uint first = min(me * CLAN_EACH, n);
  uint i = (uint)clan_cut_local(keys, na, keys + na, nb, first), j = first - i;
  clan_key mine[CLAN_EACH];
  ushort place[CLAN_EACH];
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    bool second = j < nb;
    if (second && i < na) second = CLAN_ORDER(keys[na + j]) < CLAN_ORDER(keys[i]);
    // Beyond the end of the tile nothing is kept.
    place[k] = (ushort)min(second ? na + j : i, (uint)CLAN_TILE - 1);
    mine[k] = keys[place[k]];
    i += !second;
    j += second;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    keys[me * CLAN_EACH + k] = mine[k];
#if CLAN_PAYLOAD
    source[me * CLAN_EACH + k] = place[k];
#endif
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#if CLAN_PAYLOAD
  a_loads += a_loads_at + i0;
  b_loads += b_loads_at + j0;
#endif
  for (uint k = me; k < n; k += CLAN_GROUP) {
    out[from + k] = keys[k];
#if CLAN_PAYLOAD
    const uint s = source[k];
    loads[from + k] = s < na ? a_loads[s] : b_loads[s - na];
#endif
  }
}
#endif
