// sort: radix sort of rows, least significant digit first; stable.
//
// Every pass moves keys, and what goes with them, to the place of their digit: `sort_count` counts the
// digits of each tile, a scan of the counts says where each tile's keys of each digit go, `sort_scatter`
// puts them there. Rows that fit into one tile stay in local memory for all passes (`sort_rows`).
//
// private: the keys of a work-item; local: a counter for every digit and work-item, then the tile in
// order, so that it is stored in stretches; global: keys and payload, read and written once a pass;
// constant: not used.
//
// Keys are kept as they are. CLAN_ORDER gives the unsigned integer by which they are sorted.
#ifndef CLAN_ORDER
typedef uint clan_key;
#define CLAN_ORDER(bits) (bits)
#define CLAN_PAYLOAD 1 // what goes with keys: 0 nothing, 1 values, 2 positions, made in the first pass
typedef uint clan_load;
#endif
#ifndef CLAN_DIGIT
#define CLAN_DIGIT 4 // bits of a digit
#endif
#ifndef CLAN_EACH
#define CLAN_EACH 16 // keys of a work-item
#endif
#define CLAN_DIGITS (1u << CLAN_DIGIT)
#define CLAN_TILE (CLAN_GROUP * CLAN_EACH)

static inline uint clan_digit(const clan_key bits, const uint shift) {
  return (uint)(CLAN_ORDER(bits) >> shift) & (CLAN_DIGITS - 1);
}

#if CLAN_GROUP == 1
// A work-item has a tile of `tile` keys. Counts lie row by row, in a row digit by digit.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sort_count(__global ulong* counts, __global const clan_key* restrict keys, const ulong keys_at,
                const clan_ix len, const clan_ix tiles, const clan_ix tile, const uint shift) {
  const clan_ix task = get_global_id(0), row = task / tiles, from = task % tiles * tile;
  const clan_ix n = min(tile, len - from);
  __global const clan_key* x = keys + keys_at + (ulong)row * len + from;
  uint count[CLAN_DIGITS];
  for (uint d = 0; d < CLAN_DIGITS; d++) count[d] = 0;
  for (clan_ix i = 0; i < n; i++) count[clan_digit(x[i], shift)]++;
  for (uint d = 0; d < CLAN_DIGITS; d++)
    counts[((ulong)row * CLAN_DIGITS + d) * tiles + task % tiles] = count[d];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sort_scatter(__global clan_key* restrict out, __global const ulong* restrict starts,
                  __global const clan_key* restrict keys, const ulong keys_at, const clan_ix len,
                  const clan_ix tiles, const clan_ix tile, const uint shift
#if CLAN_PAYLOAD
                  , __global clan_load* restrict loads_out, __global const clan_load* restrict loads, const ulong loads_at
#endif
) {
  const clan_ix task = get_global_id(0), row = task / tiles, from = task % tiles * tile;
  const clan_ix n = min(tile, len - from);
  const ulong first = (ulong)row * len;
  __global const clan_key* x = keys + keys_at + first + from;
  ulong to[CLAN_DIGITS];
  for (uint d = 0; d < CLAN_DIGITS; d++)
    to[d] = first + starts[((ulong)row * CLAN_DIGITS + d) * tiles + task % tiles];
  for (clan_ix i = 0; i < n; i++) {
    const clan_key key = x[i];
    const ulong at = to[clan_digit(key, shift)]++;
    out[at] = key;
#if CLAN_PAYLOAD == 1
    loads_out[at] = loads[loads_at + first + from + i];
#elif CLAN_PAYLOAD == 2
    loads_out[at] = (clan_load)(from + i);
#endif
  }
}
#else
// Where the keys of a work-item go within their tile; afterwards count[d * CLAN_GROUP] is where those of
// digit d start. `order` has the neighbouring keys of a work-item as they are sorted.
static inline void clan_ranks(const clan_key* order, ushort* rank, const uint shift, __local ushort* count,
                              __local ushort* sums) {
  const uint me = get_local_id(0);
  for (uint d = 0; d < CLAN_DIGITS; d++) count[d * CLAN_GROUP + me] = 0;
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint d = (uint)(order[k] >> shift) & (CLAN_DIGITS - 1);
    rank[k] = count[d * CLAN_GROUP + me]++;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  // The sums of all counters before each, digit by digit.
  ushort sum = 0;
  for (uint d = 0; d < CLAN_DIGITS; d++) sum += count[me * CLAN_DIGITS + d];
  ushort upto = sum;
  for (uint w = 1; w < CLAN_GROUP; w *= 2) {
    sums[me] = upto;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (me >= w) upto += sums[me - w];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  upto -= sum;
  for (uint d = 0; d < CLAN_DIGITS; d++) {
    const ushort c = count[me * CLAN_DIGITS + d];
    count[me * CLAN_DIGITS + d] = upto;
    upto += c;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint d = (uint)(order[k] >> shift) & (CLAN_DIGITS - 1);
    rank[k] += count[d * CLAN_GROUP + me];
  }
}

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void sort_count(__global ulong* counts, __global const clan_key* restrict keys, const ulong keys_at,
                const clan_ix len, const clan_ix tiles, const clan_ix tile, const uint shift) {
  __local ushort count[CLAN_DIGITS * CLAN_GROUP];
  const uint me = get_local_id(0);
  const clan_ix task = get_group_id(0), row = task / tiles, from = task % tiles * CLAN_TILE;
  __global const clan_key* x = keys + keys_at + (ulong)row * len;
  for (uint d = 0; d < CLAN_DIGITS; d++) count[d * CLAN_GROUP + me] = 0;
  for (uint k = 0; k < CLAN_EACH; k++) {
    const clan_ix i = from + k * CLAN_GROUP + me;
    if (i < len) count[clan_digit(x[i], shift) * CLAN_GROUP + me]++;
  }
  // All digits' counters at a time, in halves.
  for (uint w = CLAN_GROUP / 2; w > 0; w /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = me; i < CLAN_DIGITS * w; i += CLAN_GROUP) {
      const uint at = i / w * CLAN_GROUP + i % w;
      count[at] += count[at + w];
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  if (me < CLAN_DIGITS)
    counts[((ulong)row * CLAN_DIGITS + me) * tiles + task % tiles] = count[me * CLAN_GROUP];
}

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void sort_scatter(__global clan_key* restrict out, __global const ulong* restrict starts,
                  __global const clan_key* restrict keys, const ulong keys_at, const clan_ix len,
                  const clan_ix tiles, const clan_ix tile, const uint shift
#if CLAN_PAYLOAD
                  , __global clan_load* restrict loads_out, __global const clan_load* restrict loads, const ulong loads_at
#endif
) {
  __local clan_key buffer[CLAN_TILE];
  __local ushort count[CLAN_DIGITS * CLAN_GROUP], sums[CLAN_GROUP];
  __local ulong to[CLAN_DIGITS];
#if CLAN_PAYLOAD
  __local ushort source[CLAN_TILE];
#endif
  const uint me = get_local_id(0);
  const clan_ix task = get_group_id(0), row = task / tiles, from = task % tiles * CLAN_TILE;
  const ulong first = (ulong)row * len;
  __global const clan_key* x = keys + keys_at + first;
  const uint n = (uint)min((clan_ix)CLAN_TILE, len - from);
  for (uint i = me; i < n; i += CLAN_GROUP) buffer[i] = x[from + i];
  barrier(CLK_LOCAL_MEM_FENCE);
  clan_key key[CLAN_EACH], order[CLAN_EACH];
  ushort rank[CLAN_EACH];
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint i = me * CLAN_EACH + k;
    key[k] = i < n ? buffer[i] : 0;
    // What is not there comes last.
    order[k] = i < n ? (clan_key)CLAN_ORDER(key[k]) : (clan_key)~(clan_key)0;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  clan_ranks(order, rank, shift, count, sums);
  for (uint k = 0; k < CLAN_EACH; k++) {
    buffer[rank[k]] = key[k];
#if CLAN_PAYLOAD
    source[rank[k]] = me * CLAN_EACH + k;
#endif
  }
  // From a place in the tile to one in the row.
  if (me < CLAN_DIGITS) {
    to[me] = first + starts[((ulong)row * CLAN_DIGITS + me) * tiles + task % tiles] - count[me * CLAN_GROUP];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint i = me; i < n; i += CLAN_GROUP) {
    const clan_key k = buffer[i];
    const ulong at = to[clan_digit(k, shift)] + i;
    out[at] = k;
#if CLAN_PAYLOAD == 1
    loads_out[at] = loads[loads_at + first + from + source[i]];
#elif CLAN_PAYLOAD == 2
    loads_out[at] = (clan_load)(from + source[i]);
#endif
  }
}

// Rows of at most a tile, one a group.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void sort_rows(__global clan_key* restrict out, __global const clan_key* restrict keys, const ulong keys_at,
               const clan_ix len, const uint bits
#if CLAN_PAYLOAD
               , __global clan_load* restrict loads_out, __global const clan_load* restrict loads, const ulong loads_at
#endif
) {
  __local clan_key buffer[CLAN_TILE];
  __local ushort count[CLAN_DIGITS * CLAN_GROUP], sums[CLAN_GROUP];
#if CLAN_PAYLOAD
  __local ushort source[CLAN_TILE];
#endif
  const uint me = get_local_id(0), n = (uint)len;
  const ulong first = (ulong)get_group_id(0) * len;
  for (uint i = me; i < n; i += CLAN_GROUP) buffer[i] = keys[keys_at + first + i];
  barrier(CLK_LOCAL_MEM_FENCE);
  clan_key key[CLAN_EACH], order[CLAN_EACH];
  ushort rank[CLAN_EACH], at[CLAN_EACH];
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint i = me * CLAN_EACH + k;
    key[k] = i < n ? buffer[i] : 0;
    at[k] = i;
  }
  for (uint shift = 0; shift < bits; shift += CLAN_DIGIT) {
    for (uint k = 0; k < CLAN_EACH; k++)
      order[k] = me * CLAN_EACH + k < n ? (clan_key)CLAN_ORDER(key[k]) : (clan_key)~(clan_key)0;
    barrier(CLK_LOCAL_MEM_FENCE);
    clan_ranks(order, rank, shift, count, sums);
    // What is not there was last, and still is: it has the greatest digit.
    for (uint k = 0; k < CLAN_EACH; k++) {
      buffer[rank[k]] = key[k];
#if CLAN_PAYLOAD
      source[rank[k]] = at[k];
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint k = 0; k < CLAN_EACH; k++) {
      key[k] = buffer[me * CLAN_EACH + k];
#if CLAN_PAYLOAD
      at[k] = source[me * CLAN_EACH + k];
#endif
    }
  }
  for (uint i = me; i < n; i += CLAN_GROUP) {
    out[first + i] = buffer[i];
#if CLAN_PAYLOAD == 1
    loads_out[first + i] = loads[loads_at + first + source[i]];
#elif CLAN_PAYLOAD == 2
    loads_out[first + i] = (clan_load)source[i];
#endif
  }
}
#endif
