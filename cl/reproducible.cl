// reproducible: rows of floats to one value each, in an order that depends on their number alone.
//
// A row is cut into blocks of CLAN_LANES * CLAN_EACH elements, the last one shorter. Lane l of a block
// joins elements l, l + CLAN_LANES, ... from the first on; then lanes l and l + 16 are joined, l and
// l + 8, and so on, where both have an element. Every launch makes the blocks of all rows to one
// value each; the host repeats it with these until one is left. No operation is contracted, and any
// NaN is the same one.
//
// private: the accumulator of a lane, or of all lanes where one work-item has a block (CLAN_FLAT: CPUs);
// local: one accumulator a lane; global: the input, read once and coalesced; constant: not used.
#ifndef CLAN_OP
typedef float clan_t;
typedef uint clan_bits;
#define CLAN_AS(x) as_float(x)
#define CLAN_NAN 0x7fc00000u
#define CLAN_OP 0
#endif
#ifndef CLAN_EACH
#define CLAN_EACH 128
#endif
#define CLAN_LANES 32
#define CLAN_BLOCK (CLAN_LANES * CLAN_EACH)

static inline clan_t clan_join(const clan_t a, const clan_t b) {
#if CLAN_OP == 0
  return a + b;
#elif CLAN_OP == 1
  return a * b;
#else
  // Of zeros the negative one is less.
  const clan_t nan = CLAN_AS((clan_bits)CLAN_NAN);
  const bool first = CLAN_OP == 2 ? a < b || (a == b && signbit(a)) : a > b || (a == b && !signbit(a));
  return isnan(a) || isnan(b) ? nan : first ? a : b;
#endif
}

// Task t is block t % blocks of row t / blocks.
#ifdef CLAN_FLAT
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void reproducible(__global clan_t* restrict out, __global const clan_t* restrict in, const ulong first,
                  const ulong len, const ulong blocks, const ulong tasks) {
  const ulong task = get_global_id(0);
  if (task >= tasks) return;
  const ulong block = task % blocks;
  __global const clan_t* x = in + first + task / blocks * len + block * CLAN_BLOCK;
  const uint n = (uint)min((ulong)CLAN_BLOCK, len - block * CLAN_BLOCK), lanes = min(n, (uint)CLAN_LANES);
  clan_t acc[CLAN_LANES];
  for (uint l = 0; l < lanes; l++) acc[l] = x[l];
  uint at = CLAN_LANES;
  for (; at + CLAN_LANES <= n; at += CLAN_LANES)
    for (uint l = 0; l < CLAN_LANES; l++) acc[l] = clan_join(acc[l], x[at + l]);
  for (uint l = 0; at + l < n; l++) acc[l] = clan_join(acc[l], x[at + l]);
  for (uint apart = CLAN_LANES / 2; apart > 0; apart /= 2)
    for (uint l = 0; l < apart && l + apart < lanes; l++) acc[l] = clan_join(acc[l], acc[l + apart]);
  out[task] = isnan(acc[0]) ? CLAN_AS((clan_bits)CLAN_NAN) : acc[0];
}
#else
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void reproducible(__global clan_t* restrict out, __global const clan_t* restrict in, const ulong first,
                  const ulong len, const ulong blocks, const ulong tasks) {
  __local clan_t all[CLAN_GROUP];
  const uint me = get_local_id(0), l = me % CLAN_LANES;
  const ulong task = (ulong)get_group_id(0) * (CLAN_GROUP / CLAN_LANES) + me / CLAN_LANES;
  const ulong block = task % blocks, before = block * CLAN_BLOCK;
  const uint n = task < tasks ? (uint)min((ulong)CLAN_BLOCK, len - before) : 0;
  __global const clan_t* x = in + first + task / blocks * len + before;
  clan_t acc = l < n ? x[l] : 0;
#pragma unroll 8
  for (uint at = l + CLAN_LANES; at < n; at += CLAN_LANES) acc = clan_join(acc, x[at]);
  all[me] = acc;
  for (uint apart = CLAN_LANES / 2; apart > 0; apart /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (l < apart && l + apart < n) all[me] = clan_join(all[me], all[me + apart]);
  }
  if (l == 0 && n > 0) out[task] = isnan(all[me]) ? CLAN_AS((clan_bits)CLAN_NAN) : all[me];
}
#endif
