// peer_windows: collectives of GPUs through windows, for memory that others do not reach and for long
// reductions. Comes after peer.cl, whose flags and types it uses.
//
// All of it in rounds: a group fills its windows at the other members, tells them, waits for theirs, and
// empties its own. Two sets of windows are used in turn. Nobody can fill a window that is still being
// emptied: it has seen the owner hand over the next round, and that comes after emptying.
//
// private: a line of 16 bytes, CLAN_PASS_UNROLL times; local: a word a group; global: elements, windows
// and control blocks; constant: not used.
//
// The arguments of the members begin with this one, so that each first sends to another one.
//
// A group's windows lie at the same place whatever a line is: the next call may begin with another type
// while a member still empties those of this one.
#ifndef CLAN_WINDOW
#define CLAN_WINDOW 4096 // lines that a group sends to a member in a round
#endif
#ifndef CLAN_PASS_UNROLL
#define CLAN_PASS_UNROLL 4
#endif
// Where registers are limited, for then NVIDIA's compiler wants no group size.
#ifdef CLAN_CLOSE
#define CLAN_SIZED
#else
#define CLAN_SIZED __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
#endif
#define CLAN_STRIDE (CLAN_WINDOW * (16 / sizeof(CLAN_LINE)))
#define CLAN_WINDOW_VALUE(k) window##k,
#define CLAN_FROM_VALUE(k) from##k,
#define CLAN_SENT_VALUE(k) sent##k,

// Lines `from .. from + n` to `to .. to + n`, by one group.
static inline void clan_lines(__global CLAN_LINE* to, __global CLAN_LINE* from, const ulong n) {
  ulong i = get_local_id(0);
  for (; i + (CLAN_PASS_UNROLL - 1) * CLAN_GROUP < n; i += CLAN_PASS_UNROLL * CLAN_GROUP) {
    CLAN_LINE v[CLAN_PASS_UNROLL];
#pragma unroll
    for (uint u = 0; u < CLAN_PASS_UNROLL; u++) v[u] = from[i + u * CLAN_GROUP];
#pragma unroll
    for (uint u = 0; u < CLAN_PASS_UNROLL; u++) to[i + u * CLAN_GROUP] = v[u];
  }
  for (; i < n; i += CLAN_GROUP) to[i] = from[i];
}

// The part of a block of n lines that a group sends or gets in a round: where it begins, and
// `*count`.
static inline ulong clan_part(const ulong n, const uint round, ulong* count) {
  const ulong groups = get_num_groups(0), g = get_group_id(0);
  const ulong lo = n / groups * g + min(n % groups, g);
  const ulong len = n / groups + (g < n % groups ? 1 : 0);
  const ulong skip = (ulong)round * CLAN_WINDOW;
  *count = skip < len ? min(len - skip, (ulong)CLAN_WINDOW) : 0;
  return lo + skip;
}

// Sends a round's part of every other member's block.
static inline void clan_fill(__global CLAN_LINE* const* window, const ulong set, const uint me,
                             __global clan_t* in, const ulong* from, const ulong* sent,
                             const uint round) {
  ulong count;
#pragma unroll
  for (uint k = 1; k < CLAN_MEMBERS; k++) {
    const ulong at = clan_part(sent[k] / CLAN_PARTS, round, &count);
    clan_lines(window[k] + (set + me) * CLAN_STRIDE, (__global CLAN_LINE*)(in + from[k]) + at,
               count);
  }
}

// Tells the others that their windows are full, and waits until all own ones are. False for the whole
// group when one did not come.
static inline int clan_meet(clan_flag const* control, const uint me, const ulong number,
                            const ulong patience, __local uint* go) {
  clan_flag const mine = control[0];
  const uint w = get_local_id(0), g = get_group_id(0);
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
#pragma unroll
  for (uint k = 1; k < CLAN_MEMBERS; k++) {
    const uint j = (me + k) % CLAN_MEMBERS;
    if (w == k) {
      clan_fence();
      clan_publish(control[k] + CLAN_MET(me, g), number);
      if (!clan_wait(mine, CLAN_MET(j, g), number, patience)) {
        clan_give_up(control, mine, number, j);
        *go = 0;
      }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  return *go != 0;
}

// A line of this member and what the others sent to go with it, combined.
static inline CLAN_LINE clan_fold(__global CLAN_LINE* kept, __global CLAN_LINE* window,
                                  const ulong set, const uint me, const ulong i) {
  clan_line v[CLAN_MEMBERS], r;
#pragma unroll
  for (uint j = 0; j < CLAN_MEMBERS; j++) {
    v[j].whole = j == me ? kept[i] : window[(set + j) * CLAN_STRIDE + i];
  }
#pragma unroll
  for (uint p = 0; p < CLAN_PARTS; p++) {
    clan_c sum = CLAN_GET(v[0].part, p);
#pragma unroll
    for (uint j = 1; j < CLAN_MEMBERS; j++) {
      const clan_c next = CLAN_GET(v[j].part, p);
      sum = clan_combine(sum, next);
    }
    CLAN_SET(r.part, p, sum);
  }
  return r.whole;
}

#if CLAN_WANTS(4)
// Blocks for each other through windows: member j is sent sent_j elements from in + from_j, and the
// got_j elements that come from it go to out + to_j. With `fold`, what comes is combined with the own
// block instead, into out + to of this member.
#define CLAN_PASS_PARAM(k)                                                                         \
  __global ulong *control##k, __global CLAN_LINE *window##k, const ulong from##k,                  \
      const ulong sent##k, const ulong to##k, const ulong got##k,
#define CLAN_TO_VALUE(k) to##k,
#define CLAN_GOT_VALUE(k) got##k,

__kernel CLAN_SIZED
void peer_pass(__global clan_t* in0, const ulong in0_at, __global clan_t* out0, const ulong out0_at,
               CLAN_EACH(CLAN_PASS_PARAM) const uint me, const uint fold, const uint rounds,
               const ulong first, const ulong patience) {
  __local uint go;
  __global clan_t* const in = in0 + in0_at;
  __global clan_t* const out = out0 + out0_at;
  clan_flag const control[CLAN_MEMBERS] = {CLAN_EACH(CLAN_CONTROL_VALUE)};
  __global CLAN_LINE* const window[CLAN_MEMBERS] = {CLAN_EACH(CLAN_WINDOW_VALUE)};
  const ulong from[CLAN_MEMBERS] = {CLAN_EACH(CLAN_FROM_VALUE)};
  const ulong sent[CLAN_MEMBERS] = {CLAN_EACH(CLAN_SENT_VALUE)};
  const ulong to[CLAN_MEMBERS] = {CLAN_EACH(CLAN_TO_VALUE)};
  const ulong got[CLAN_MEMBERS] = {CLAN_EACH(CLAN_GOT_VALUE)};
  const uint w = get_local_id(0);
  if (w == 0) go = control0[CLAN_STATUS] == 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (go == 0) return;
  barrier(CLK_LOCAL_MEM_FENCE);
  ulong count;
  for (uint round = 0; round < rounds; round++) {
    const ulong number = first + round;
    const ulong set = ((ulong)get_group_id(0) * 2 + (number & 1)) * CLAN_MEMBERS;
    clan_fill(window, set, me, in, from, sent, round);
    if (!clan_meet(control, me, number, patience, &go)) return;
    const ulong own = clan_part(got[0] / CLAN_PARTS, round, &count);
    __global CLAN_LINE* const kept = (__global CLAN_LINE*)(in + from[0]) + own;
    __global CLAN_LINE* const result = (__global CLAN_LINE*)(out + to[0]) + own;
    if (fold) {
      for (ulong i = w; i < count; i += CLAN_GROUP) {
        result[i] = clan_fold(kept, window[0], set, me, i);
      }
    } else {
      if (kept != result) clan_lines(result, kept, count);
#pragma unroll
      for (uint k = 1; k < CLAN_MEMBERS; k++) {
        const uint j = (me + k) % CLAN_MEMBERS;
        const ulong at = clan_part(got[k] / CLAN_PARTS, round, &count);
        clan_lines((__global CLAN_LINE*)(out + to[k]) + at,
                   window[0] + (set + j) * CLAN_STRIDE, count);
      }
    }
    // Everybody has read before the next round is handed over: see the barrier there.
  }
}
#endif

#if CLAN_WANTS(6)
// A long all_reduce in arrays that all members reach, in one: of every share, `sent` elements from
// `from` on, others send what they have through windows to its owner, who combines it and stores the
// result with all. Stores alone are faster than loads beside stores, and since groups are in
// different rounds, wires are busy all the time. A line is stored with a member after it has sent its own
// of the same place: so `in` may be `out`.
#define CLAN_WHOLE_PARAM(k)                                                                        \
  __global ulong *control##k, __global CLAN_LINE *window##k, __global clan_t *out##k,              \
      const ulong out##k##_at, const ulong from##k, const ulong sent##k,

__kernel CLAN_SIZED
void peer_combine_long(__global clan_t* in0, const ulong in0_at, CLAN_EACH(CLAN_WHOLE_PARAM)
                       const uint me, const uint rounds, const ulong first, const ulong call,
                       const ulong patience) {
  __local uint go;
  __global clan_t* const in = in0 + in0_at;
  clan_flag const control[CLAN_MEMBERS] = {CLAN_EACH(CLAN_CONTROL_VALUE)};
  __global CLAN_LINE* const window[CLAN_MEMBERS] = {CLAN_EACH(CLAN_WINDOW_VALUE)};
  __global clan_t* const out[CLAN_MEMBERS] = {CLAN_EACH(CLAN_OUT_VALUE)};
  const ulong from[CLAN_MEMBERS] = {CLAN_EACH(CLAN_FROM_VALUE)};
  const ulong sent[CLAN_MEMBERS] = {CLAN_EACH(CLAN_SENT_VALUE)};
  const uint w = get_local_id(0);
  if (w == 0) go = control0[CLAN_STATUS] == 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (go == 0) return;
  barrier(CLK_LOCAL_MEM_FENCE);
  ulong count;
  for (uint round = 0; round < rounds; round++) {
    const ulong number = first + round;
    const ulong set = ((ulong)get_group_id(0) * 2 + (number & 1)) * CLAN_MEMBERS;
    clan_fill(window, set, me, in, from, sent, round);
    if (!clan_meet(control, me, number, patience, &go)) return;
    const ulong own = clan_part(sent[0] / CLAN_PARTS, round, &count);
    __global CLAN_LINE* const kept = (__global CLAN_LINE*)(in + from[0]) + own;
    for (ulong i = w; i < count; i += CLAN_GROUP) {
      const CLAN_LINE sum = clan_fold(kept, window[0], set, me, i);
#pragma unroll
      for (uint k = 0; k < CLAN_MEMBERS; k++) {
        ((__global CLAN_LINE*)(out[k] + from[0]))[own + i] = sum;
      }
    }
  }
  if (!clan_is_last(control0, &go)) return;
#pragma unroll
  for (uint k = 1; k < CLAN_MEMBERS; k++) {
    const uint j = (me + k) % CLAN_MEMBERS;
    if (w == k) clan_part_from(control, control[k], control0, me, j, call, patience);
  }
}
#endif
