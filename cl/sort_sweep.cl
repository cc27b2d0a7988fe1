// sort_sweep: radix sort on NVIDIA, where 32 work-items go together: one pass over the keys a digit of
// eight bits (Adinets and Merrill, "Onesweep: A Faster Least Significant Digit Radix Sort for GPUs",
// 2022). Keys, their order and payload are defined as for sort.cl. Comes after `warp.cl`.
//
// `sort_digits` counts all digits of all keys at once. In `sort_sweep` a group takes a tile, ranks its
// keys, posts how many it has of each digit, adds up what the tiles before it posted, and stores its keys
// where they belong. Which tile it takes is decided when it starts, so those before have started; one that
// does not post in time is counted by whoever waits for it.
//
// private: the keys of a work-item; local: a counter for each digit and 32 work-items, then the tile in
// order; global: keys and payload, read and written once a pass, coalesced; constant: not used.
#define CLAN_TILE (CLAN_GROUP * CLAN_EACH)
#define CLAN_ALL 256u // digits
#define CLAN_COUNT (1u << 30)     // a word has a tile's count,
#define CLAN_UPTO (2u << 30)      // or that of all tiles up to it
#define CLAN_NUMBER ((1u << 30) - 1)
#ifndef CLAN_POSTS
#define CLAN_POSTS(tile) true // which tiles' groups post anything: all, but in a test
#endif

static inline uint clan_byte(const clan_key bits, const uint shift) {
  return (uint)(CLAN_ORDER(bits) >> shift) & 255u;
}

#define CLAN_COPIES 8 // of the counters, so that equal keys do not all meet

// `counts`: 256 for each digit from the lowest on; they were zero.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void sort_digits(__global uint* counts, __global const clan_key* restrict keys, const ulong keys_at, const uint n) {
  __local uint all[CLAN_ALL * CLAN_COPIES * CLAN_PASSES_AT_ONCE];
  const uint me = get_local_id(0), copy = me % CLAN_COPIES;
  for (uint pass = 0; pass < sizeof(clan_key); pass += CLAN_PASSES_AT_ONCE) {
    for (uint i = me; i < CLAN_ALL * CLAN_COPIES * CLAN_PASSES_AT_ONCE; i += CLAN_GROUP) all[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint step = get_global_size(0);
    for (uint i = get_global_id(0); i < n; i += 4 * step) {
      clan_key key[4];
#pragma unroll
      for (uint k = 0; k < 4; k++) key[k] = i + k * step < n ? keys[keys_at + i + k * step] : 0;
#pragma unroll
      for (uint k = 0; k < 4; k++) {
        if (i + k * step < n) {
#pragma unroll
          for (uint p = 0; p < CLAN_PASSES_AT_ONCE; p++)
            atomic_inc(&all[(p * CLAN_ALL + clan_byte(key[k], (pass + p) * 8)) * CLAN_COPIES + copy]);
        }
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = me; i < CLAN_ALL * CLAN_PASSES_AT_ONCE; i += CLAN_GROUP) {
      uint sum = 0;
      for (uint c = 0; c < CLAN_COPIES; c++) sum += all[i * CLAN_COPIES + c];
      if (sum) atomic_add(&counts[pass * CLAN_ALL + i], sum);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
}

// Which of the 32 have the same digit.
static inline uint clan_peers(const uint digit) {
  uint peers = ~0u;
#pragma unroll
  for (uint b = 0; b < 8; b++) {
    uint same;
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; vote.sync.ballot.b32 %0, p, 0xffffffff; @!p not.b32 %0, %0; }"
                 : "=r"(same) : "r"((digit >> b) & 1u));
    peers &= same;
  }
  return peers;
}
// `starts`: where each of 256 digits starts, from one on. `mail`: the number of groups that have started, the number of
// tiles counted for others, then a word for each tile and digit; it was zero before.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void sort_sweep(__global clan_key* restrict out, __global const ulong* restrict starts, const uint starts_at,
                __global const clan_key* restrict keys, const ulong keys_at, volatile __global uint* mail,
                const uint n, const uint shift, const uint spins
#if CLAN_PAYLOAD
                , __global clan_load* restrict loads_out, __global const clan_load* restrict loads, const ulong loads_at
#endif
) {
  __local uint count[CLAN_WARPS * CLAN_ALL];
  __local uint first[CLAN_ALL], to[CLAN_ALL], ends[CLAN_ALL / 32];
  __local ulong buffer[CLAN_TILE * CLAN_WIDEST / 8];
  __local clan_key* const by_key = (__local clan_key*)buffer;
  __local uint ticket, stuck;
  const uint me = get_local_id(0), lane = me % 32, warp = me / 32;
  if (me == 0) ticket = atomic_inc(mail);
  for (uint i = me; i < CLAN_WARPS * CLAN_ALL; i += CLAN_GROUP) count[i] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  const uint tile = ticket, from = tile * CLAN_TILE, m = min((uint)CLAN_TILE, n - from);
  volatile __global uint* const boxes = mail + 2;
  // Neighbours lie side by side in memory; a work-item's keys are 32 apart.
  const uint mine = warp * 32 * CLAN_EACH + lane;
  clan_key key[CLAN_EACH];
  ushort rank[CLAN_EACH];
  __global const clan_key* const my_keys = keys + keys_at + from + mine;
  if (m == CLAN_TILE) {
#pragma unroll
    for (uint k = 0; k < CLAN_EACH; k++) key[k] = my_keys[k * 32];
  } else {
#pragma unroll
    for (uint k = 0; k < CLAN_EACH; k++) key[k] = mine + k * 32 < m ? my_keys[k * 32] : 0;
  }
  const uint below = clan_below();
  __local uint* const own = count + warp * CLAN_ALL;
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    // What is not there comes last.
    const uint digit = mine + k * 32 < m ? clan_byte(key[k], shift) : 255u;
    const uint peers = clan_peers(digit), leader = 31 - clz(peers);
    uint before = 0;
    if (lane == leader) {
      before = own[digit];
      own[digit] = before + popcount(peers);
    }
    rank[k] = (ushort)(clan_from(before, leader) + popcount(peers & below));
    clan_together();
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  // From here on work-item d sees to digit d.
  uint total = 0, upto = 0;
  if (me < CLAN_ALL) {
    for (uint w = 0; w < CLAN_WARPS; w++) {
      const uint c = count[w * CLAN_ALL + me];
      count[w * CLAN_ALL + me] = total;
      total += c;
    }
    // Those that are not there count too: nothing comes after the last tile.
    if (CLAN_POSTS(tile)) boxes[tile * CLAN_ALL + me] = total | (tile == 0 ? CLAN_UPTO : CLAN_COUNT);
    upto = total;
#pragma unroll
    for (uint d = 1; d < 32; d *= 2) {
      const uint y = clan_up(upto, d);
      if (lane >= d) upto += y;
    }
    if (lane == 31) ends[warp] = upto;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  if (me < CLAN_ALL) {
    for (uint w = 0; w < warp; w++) upto += ends[w];
    first[me] = upto - total;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint digit = mine + k * 32 < m ? clan_byte(key[k], shift) : 255u;
    rank[k] += (ushort)(first[digit] + own[digit]);
    by_key[rank[k]] = key[k];
  }
#if CLAN_PAYLOAD == 1
  // Loaded before the wait, which hides it.
  clan_load load[CLAN_EACH];
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) load[k] = loads[loads_at + from + min(mine + k * 32, m - 1)];
#endif
  uint sum = 0, next = tile; // tiles before `next` are not in the sum
  bool done = tile == 0 || me >= CLAN_ALL;
  while (true) {
    for (uint polls = 0; !done && polls <= spins;) {
      const uint word = boxes[(next - 1) * CLAN_ALL + me];
      if (word == 0) {
        polls++;
      } else {
        sum += word & CLAN_NUMBER;
        next--;
        done = (word & CLAN_UPTO) != 0;
      }
    }
    if (!clan_any(!done)) break;
    if (me == 0) stuck = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (!done) atomic_max(&stuck, next);
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint other = stuck;
    // The tile before `other` is late.
    if (me < CLAN_ALL) to[me] = 0;
    if (me == 0) atomic_inc(mail + 1);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = me; i < CLAN_TILE; i += CLAN_GROUP)
      atomic_inc(&to[clan_byte(keys[keys_at + (other - 1) * CLAN_TILE + i], shift)]);
    barrier(CLK_LOCAL_MEM_FENCE);
    // What has come meanwhile stays.
    if (me < CLAN_ALL)
      atomic_cmpxchg(&boxes[(other - 1) * CLAN_ALL + me], 0, to[me] | (other == 1 ? CLAN_UPTO : CLAN_COUNT));
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (me < CLAN_ALL) {
    if (tile > 0 && CLAN_POSTS(tile)) boxes[tile * CLAN_ALL + me] = (sum + total) | CLAN_UPTO;
    // From a place in the tile to one in the result; differences wrap.
    to[me] = (uint)starts[starts_at + me] + sum - first[me];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#if CLAN_PAYLOAD
  uint at[CLAN_EACH];
#endif
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint i = k * CLAN_GROUP + me;
    if (i < m) {
      const clan_key x = by_key[i];
      const uint place = to[clan_byte(x, shift)] + i;
      out[place] = x;
#if CLAN_PAYLOAD
      at[k] = place;
#endif
    }
  }
#if CLAN_PAYLOAD
  barrier(CLK_LOCAL_MEM_FENCE);
  __local clan_load* const by_load = (__local clan_load*)buffer;
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint i = mine + k * 32;
#if CLAN_PAYLOAD == 2
    by_load[rank[k]] = (clan_load)(from + i);
#else
    by_load[rank[k]] = load[k];
#endif
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint i = k * CLAN_GROUP + me;
    if (i < m) loads_out[at[k]] = by_load[i];
  }
#endif
}
