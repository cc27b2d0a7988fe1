// top_k: what comes before a threshold, unordered.
//
// A key is kept when it comes before the threshold in the order of CLAN_ORDER, or is equal to it and lies
// before a position. Few are: a group asks once for places for what its tile keeps, and keys that there
// is no place for are only counted, so that the host sees that the threshold was too high.
//
// private: what a work-item keeps, as a number; it reads its keys again where that is not 0, from the
// cache; local: the numbers of the group, and where its places begin; global: keys, read once; places,
// keys and positions, of those that are kept, and three counters; constant: not used.
#ifndef CLAN_ORDER
typedef uint clan_key;
#define CLAN_ORDER(bits) (bits)
#endif
#ifndef CLAN_EACH
#define CLAN_EACH 16 // keys of a work-item
#endif

// `counts`: kept, before the threshold, equal to it.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void top_k(__global clan_key* restrict out, __global uint* restrict positions,
           __global uint* restrict counts, __global const clan_key* restrict keys, const ulong keys_at,
           const uint n, const ulong threshold, const uint end, const uint room) {
  const uint lid = get_local_id(0), first = get_group_id(0) * (CLAN_GROUP * CLAN_EACH) + lid;
  __global const clan_key* x = keys + keys_at;
  const clan_key limit = (clan_key)threshold;
  uint before = 0, equal = 0, kept = 0;
#if CLAN_GROUP > 1
#pragma unroll
  for (uint e = 0; e < CLAN_EACH; e++) {
    const uint i = first + e * CLAN_GROUP;
    if (i >= n) continue;
#else
  const uint last = min(n, first + CLAN_EACH);
  CLAN_VECTORIZED for (uint i = first; i < last; i++) {
#endif
    const clan_key order = CLAN_ORDER(x[i]);
    before += order < limit;
    equal += order == limit;
    kept += order == limit && i < end;
  }
  kept += before;
#if CLAN_GROUP > 1
  __local uint sums[3], start;
  if (lid == 0) sums[0] = sums[1] = sums[2] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  uint at = 0;
  if (kept) at = atomic_add(&sums[0], kept);
  if (before) atomic_add(&sums[1], before);
  if (equal) atomic_add(&sums[2], equal);
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lid == 0) {
    start = sums[0] ? atomic_add(&counts[0], sums[0]) : 0;
    if (sums[1]) atomic_add(&counts[1], sums[1]);
    if (sums[2]) atomic_add(&counts[2], sums[2]);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  at += start;
#else
  uint at = kept ? atomic_add(&counts[0], kept) : 0;
  if (before) atomic_add(&counts[1], before);
  if (equal) atomic_add(&counts[2], equal);
#endif
  if (kept == 0 || at >= room) return;
  for (uint e = 0; e < CLAN_EACH; e++) {
    const uint i = first + e * CLAN_GROUP;
    if (i >= n) break;
    const clan_key key = x[i], order = CLAN_ORDER(key);
    if (!(order < limit || (order == limit && i < end))) continue;
    if (at < room) {
      out[at] = key;
      positions[at] = i;
    }
    at++;
  }
}
