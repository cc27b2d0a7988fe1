// peer: collectives of GPUs that load from and store to each other's memory.
//
// Each member runs one kernel a call in its own queue, and no host waits in between. The kernels
// meet through the members' control blocks: at the start each tells the others that its elements are
// there, at the end that it will touch nothing of theirs any more. So what a queue does before and
// after is ordered as if the members' kernels were one.
//
// private: a line of 16 bytes from every member, CLAN_UNROLL times, so that enough is under way to
// hide the microseconds that another GPU's memory is away;
// local: a word a group that says whether to go on;
// global: the elements of all members, and each member's control block, in it slots for calls so short
// that data and flag travel in one word;
// constant: not used, every line is read once.
//
// Lines are combined in the order of the members by one work-item, which gives the result to all who
// want it: they all have the same bits.
#ifndef CLAN_MEMBERS
#define CLAN_MEMBERS 2
#endif
#ifndef CLAN_PTX
#define CLAN_PTX 0 // 1: the compiler takes NVIDIA's assembly, which has what OpenCL C 1.2 lacks
#endif
#ifndef CLAN_STORED
#define CLAN_STORED float
#define CLAN_COMPUTED float
#define CLAN_GET(a, k) ((a)[k])
#define CLAN_SET(a, k, v) ((a)[k] = (v))
#endif
#ifndef CLAN_COMBINED
#define CLAN_COMBINED return a + b; // the body of a function of a and b
#endif
#ifndef CLAN_LINE
#define CLAN_LINE uint4 // what one access moves: less where elements are not aligned for 16 bytes
#endif
#ifndef CLAN_KERNEL
#define CLAN_KERNEL 0 // which of the kernels below is wanted, counted from 1; 0: all
#endif
#define CLAN_WANTS(k) (CLAN_KERNEL == 0 || CLAN_KERNEL == (k))
#ifndef CLAN_TAKES
#define CLAN_TAKES 0 // who gets what of a line: 0 all elements combined, 1 those of the members up
#endif               // to and including itself, 2 those of the members before it

#define CLAN_EACH_2(M) M(0) M(1)
#define CLAN_EACH_3(M) CLAN_EACH_2(M) M(2)
#define CLAN_EACH_4(M) CLAN_EACH_3(M) M(3)
#define CLAN_EACH_5(M) CLAN_EACH_4(M) M(4)
#define CLAN_EACH_6(M) CLAN_EACH_5(M) M(5)
#define CLAN_EACH_7(M) CLAN_EACH_6(M) M(6)
#define CLAN_EACH_8(M) CLAN_EACH_7(M) M(7)
#define CLAN_EACH_9(M) CLAN_EACH_8(M) M(8)
#define CLAN_EACH_10(M) CLAN_EACH_9(M) M(9)
#define CLAN_EACH_11(M) CLAN_EACH_10(M) M(10)
#define CLAN_EACH_12(M) CLAN_EACH_11(M) M(11)
#define CLAN_EACH_13(M) CLAN_EACH_12(M) M(12)
#define CLAN_EACH_14(M) CLAN_EACH_13(M) M(13)
#define CLAN_EACH_15(M) CLAN_EACH_14(M) M(14)
#define CLAN_EACH_16(M) CLAN_EACH_15(M) M(15)
#define CLAN_GLUE_(a, b) a##b
#define CLAN_GLUE(a, b) CLAN_GLUE_(a, b)
#define CLAN_EACH CLAN_GLUE(CLAN_EACH_, CLAN_MEMBERS)

typedef CLAN_STORED clan_t;
typedef CLAN_COMPUTED clan_c;
typedef volatile __global ulong* clan_flag;

static inline clan_c clan_combine(const clan_c a, const clan_c b) { CLAN_COMBINED }

// A line and its elements.
typedef union {
  CLAN_LINE whole;
  clan_t part[sizeof(CLAN_LINE) / sizeof(clan_t)];
} clan_line;
#define CLAN_PARTS (sizeof(CLAN_LINE) / sizeof(clan_t))

// Positions in a control block, in words of 64 bits. Flags lie a cache line apart: each has another
// writer.
#define CLAN_ARRIVED(j) (16 * (j))      // call in which member j last arrived
#define CLAN_LEFT(j) (16 * (16 + (j)))  // and last left
#define CLAN_DONE 512                   // groups of this call that are done; 32 bits
#define CLAN_STATUS 528                 // 0, or a call in which somebody gave up, and from bit 56 on
                                        // the number, counted from 1, of a member who had not come
#define CLAN_MET(j, g) (1024 + 256 * (j) + (g)) // round that group g of member j has handed over
#define CLAN_SLOTS 5120                 // from here on slots for short calls

#if CLAN_PTX
static inline ulong clan_now(void) {
  ulong t;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
  return t;
}
static inline ulong clan_observe(clan_flag f) {
  ulong v;
  asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(f) : "memory");
  return v;
}
static inline void clan_publish(clan_flag f, const ulong v) {
  asm volatile("st.release.sys.global.u64 [%0], %1;" : : "l"(f), "l"(v) : "memory");
}
static inline void clan_fence(void) { asm volatile("fence.acq_rel.sys;" : : : "memory"); }
static inline void clan_send(clan_flag f, const ulong a, const ulong b) {
  asm volatile("st.relaxed.sys.global.v2.u64 [%0], {%1, %2};" : : "l"(f), "l"(a), "l"(b) : "memory");
}
static inline ulong clan_receive(clan_flag f) {
  ulong v;
  asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(f) : "memory");
  return v;
}
#define CLAN_TICK(start) (clan_now() - (start))
#define CLAN_START() clan_now()
#else
static inline ulong clan_observe(clan_flag f) {
  const ulong v = *f;
  mem_fence(CLK_GLOBAL_MEM_FENCE);
  return v;
}
static inline void clan_publish(clan_flag f, const ulong v) {
  mem_fence(CLK_GLOBAL_MEM_FENCE);
  *f = v;
}
static inline void clan_fence(void) { mem_fence(CLK_GLOBAL_MEM_FENCE); }
static inline void clan_send(clan_flag f, const ulong a, const ulong b) {
  f[0] = a;
  f[1] = b;
}
static inline ulong clan_receive(clan_flag f) { return *f; }
// No clock: looks are counted instead of nanoseconds.
#define CLAN_TICK(start) (++(start))
#define CLAN_START() 0
#endif

// Waits until the flag, one of this member's, has reached `call`: for `patience` nanoseconds at most,
// and not when somebody has given up.
static inline int clan_wait(clan_flag mine, const uint flag, const ulong call,
                            const ulong patience) {
  ulong start = CLAN_START();
  while (clan_observe(mine + flag) < call) {
    if (CLAN_TICK(start) > patience || mine[CLAN_STATUS] != 0) return 0;
  }
  return 1;
}

// Gives up, and with it all later calls of all members: a member that comes late must not touch what
// others have stopped to keep for it.
static inline void clan_give_up(clan_flag const* control, clan_flag mine, const ulong call,
                                const uint missing) {
  if (mine[CLAN_STATUS] != 0) return;
#pragma unroll
  for (uint j = 0; j < CLAN_MEMBERS; j++) {
    control[j][CLAN_STATUS] = call | (ulong)(missing + 1) << 56;
  }
}

#define CLAN_IN_PARAM(j) __global clan_t *in##j, const ulong in##j##_at,
#define CLAN_OUT_PARAM(j) __global clan_t *out##j, const ulong out##j##_at,
#define CLAN_CONTROL_PARAM(j) __global ulong *control##j,
#define CLAN_IN_VALUE(j) in##j + in##j##_at,
#define CLAN_OUT_VALUE(j) out##j + out##j##_at,
#define CLAN_CONTROL_VALUE(j) control##j,
#define CLAN_IF_MINE(j) (me == j) ? control##j:
#define CLAN_MINE (CLAN_EACH(CLAN_IF_MINE) control0)

// Returns once all members have arrived: their elements may be read and their results written. False
// for the whole group when one did not come.
static inline int clan_arrive(clan_flag const* control, clan_flag mine, const uint me,
                              const ulong call, const ulong patience, __local uint* go) {
  const uint w = get_local_id(0);
  if (w == 0) *go = mine[CLAN_STATUS] == 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (*go == 0) return 0;
  barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
  for (uint j = 0; j < CLAN_MEMBERS; j++) {
    if (w == j && j != me) {
      if (get_group_id(0) == 0) clan_publish(control[j] + CLAN_ARRIVED(me), call);
      if (!clan_wait(mine, CLAN_ARRIVED(j), call, patience)) {
        clan_give_up(control, mine, call, j);
        *go = 0;
      }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  return *go != 0;
}

// Whether this group is the last one of the kernel to be done, in a call that a member does not end
// before the others have left.
static inline int clan_is_last(clan_flag mine, __local uint* go) {
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  if (get_local_id(0) == 0) {
    clan_fence();
    const uint before = atomic_inc((volatile __global uint*)(mine + CLAN_DONE));
    *go = before + 1 == get_num_groups(0);
    if (*go) {
      mine[CLAN_DONE] = 0;
      clan_fence();
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  return *go != 0;
}

// Tells a member that this one is done, and stays until it is.
static inline void clan_part_from(clan_flag const* control, clan_flag theirs, clan_flag mine,
                                  const uint me, const uint j, const ulong call,
                                  const ulong patience) {
  clan_publish(theirs + CLAN_LEFT(me), call);
  if (!clan_wait(mine, CLAN_LEFT(j), call, patience)) clan_give_up(control, mine, call, j);
}

// Tells the others that this member is done, and stays until they are: the queue goes on when nobody
// touches this member's memory any more. The last group does it for all.
static inline void clan_leave(clan_flag const* control, clan_flag mine, const uint me,
                              const ulong call, const ulong patience, __local uint* go) {
  if (!clan_is_last(mine, go)) return;
#pragma unroll
  for (uint j = 0; j < CLAN_MEMBERS; j++) {
    if (get_local_id(0) == j && j != me) {
      clan_part_from(control, control[j], mine, me, j, call, patience);
    }
  }
}

#if CLAN_WANTS(1)
// One line: what member j had is v[j], what it gets is stored.
static inline void clan_share_out(const clan_line* v, __global clan_t* const* out, const ulong i,
                                  const uint to) {
  clan_line r;
#if CLAN_TAKES == 0
#pragma unroll
  for (uint k = 0; k < CLAN_PARTS; k++) {
    clan_c sum = CLAN_GET(v[0].part, k);
#pragma unroll
    for (uint j = 1; j < CLAN_MEMBERS; j++) {
      const clan_c next = CLAN_GET(v[j].part, k);
      sum = clan_combine(sum, next);
    }
    CLAN_SET(r.part, k, sum);
  }
#pragma unroll
  for (uint j = 0; j < CLAN_MEMBERS; j++) {
    if (to >> j & 1) ((__global CLAN_LINE*)out[j])[i] = r.whole;
  }
#else
  clan_c sum[CLAN_PARTS];
#pragma unroll
  for (uint k = 0; k < CLAN_PARTS; k++) sum[k] = CLAN_GET(v[0].part, k);
  if (CLAN_TAKES == 1 && (to & 1)) ((__global CLAN_LINE*)out[0])[i] = v[0].whole;
#pragma unroll
  for (uint j = 1; j < CLAN_MEMBERS; j++) {
#pragma unroll
    for (uint k = 0; k < CLAN_PARTS; k++) {
      if (CLAN_TAKES == 2) CLAN_SET(r.part, k, sum[k]);
      const clan_c next = CLAN_GET(v[j].part, k);
      sum[k] = clan_combine(sum[k], next);
      if (CLAN_TAKES == 1) CLAN_SET(r.part, k, sum[k]);
    }
    if (to >> j & 1) ((__global CLAN_LINE*)out[j])[i] = r.whole;
  }
#endif
}

// Combines lines lo .. hi of all members and stores the results with the members in the mask `to`.
// After them come fewer elements than a line has, for whoever has the last line: `rest` of them.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void peer_combine(CLAN_EACH(CLAN_IN_PARAM) CLAN_EACH(CLAN_OUT_PARAM) CLAN_EACH(CLAN_CONTROL_PARAM)
                  const uint me, const uint to, const ulong lo, const ulong hi, const uint rest,
                  const ulong call, const ulong patience) {
  __local uint go;
  __global clan_t* const in[CLAN_MEMBERS] = {CLAN_EACH(CLAN_IN_VALUE)};
  __global clan_t* const out[CLAN_MEMBERS] = {CLAN_EACH(CLAN_OUT_VALUE)};
  clan_flag const control[CLAN_MEMBERS] = {CLAN_EACH(CLAN_CONTROL_VALUE)};
  clan_flag const mine = CLAN_MINE;
  if (!clan_arrive(control, mine, me, call, patience, &go)) return;
  const ulong step = get_global_size(0);
  ulong i = lo + get_global_id(0);
  for (; i + (CLAN_UNROLL - 1) * step < hi; i += CLAN_UNROLL * step) {
    clan_line v[CLAN_UNROLL][CLAN_MEMBERS];
#pragma unroll
    for (uint u = 0; u < CLAN_UNROLL; u++) {
#pragma unroll
      for (uint j = 0; j < CLAN_MEMBERS; j++) {
        v[u][j].whole = ((__global CLAN_LINE*)in[j])[i + u * step];
      }
    }
#pragma unroll
    for (uint u = 0; u < CLAN_UNROLL; u++) clan_share_out(v[u], out, i + u * step, to);
  }
  for (; i < hi; i += step) {
    clan_line v[CLAN_MEMBERS];
#pragma unroll
    for (uint j = 0; j < CLAN_MEMBERS; j++) v[j].whole = ((__global CLAN_LINE*)in[j])[i];
    clan_share_out(v, out, i, to);
  }
  if (get_global_id(0) < rest) {
    const ulong e = hi * CLAN_PARTS + get_global_id(0);
    clan_c sum = CLAN_GET(in[0], e);
    if (CLAN_TAKES == 1 && (to & 1)) CLAN_SET(out[0], e, sum);
#pragma unroll
    for (uint j = 1; j < CLAN_MEMBERS; j++) {
      const clan_c before = sum, next = CLAN_GET(in[j], e);
      sum = clan_combine(sum, next);
      if (CLAN_TAKES != 0 && (to >> j & 1)) CLAN_SET(out[j], e, CLAN_TAKES == 1 ? sum : before);
    }
#pragma unroll
    for (uint j = 0; j < CLAN_MEMBERS; j++) {
      if (CLAN_TAKES == 0 && (to >> j & 1)) CLAN_SET(out[j], e, sum);
    }
  }
  clan_leave(control, mine, me, call, patience, &go);
}
#endif

#if CLAN_WANTS(2)
// Loads lines lo .. hi of one buffer and stores them with the members in the mask `to`; then `rest`
// elements.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void peer_spread(__global clan_t* in0, const ulong in0_at, CLAN_EACH(CLAN_OUT_PARAM)
                 CLAN_EACH(CLAN_CONTROL_PARAM) const uint me, const uint to, const ulong lo,
                 const ulong hi, const uint rest, const ulong call, const ulong patience) {
  __local uint go;
  __global clan_t* const in = in0 + in0_at;
  __global clan_t* const out[CLAN_MEMBERS] = {CLAN_EACH(CLAN_OUT_VALUE)};
  clan_flag const control[CLAN_MEMBERS] = {CLAN_EACH(CLAN_CONTROL_VALUE)};
  clan_flag const mine = CLAN_MINE;
  if (!clan_arrive(control, mine, me, call, patience, &go)) return;
  const ulong step = get_global_size(0);
  ulong i = lo + get_global_id(0);
  for (; i + (CLAN_UNROLL - 1) * step < hi; i += CLAN_UNROLL * step) {
    CLAN_LINE v[CLAN_UNROLL];
#pragma unroll
    for (uint u = 0; u < CLAN_UNROLL; u++) v[u] = ((__global CLAN_LINE*)in)[i + u * step];
#pragma unroll
    for (uint u = 0; u < CLAN_UNROLL; u++) {
#pragma unroll
      for (uint j = 0; j < CLAN_MEMBERS; j++) {
        if (to >> j & 1) ((__global CLAN_LINE*)out[j])[i + u * step] = v[u];
      }
    }
  }
  for (; i < hi; i += step) {
    const CLAN_LINE v = ((__global CLAN_LINE*)in)[i];
#pragma unroll
    for (uint j = 0; j < CLAN_MEMBERS; j++) {
      if (to >> j & 1) ((__global CLAN_LINE*)out[j])[i] = v;
    }
  }
  if (get_global_id(0) < rest) {
    const ulong e = hi * CLAN_PARTS + get_global_id(0);
#pragma unroll
    for (uint j = 0; j < CLAN_MEMBERS; j++) {
      if (to >> j & 1) out[j][e] = in[e];
    }
  }
  clan_leave(control, mine, me, call, patience, &go);
}
#endif

#if CLAN_WANTS(3)
// Stores with each member its own block of `lines` lines and `rest` elements, and with this one too if
// `own`; blocks follow each other at distances of `stride` elements, or are all the same one where that
// is 0. The arguments of the members begin with this one.
//
// One member after the other, and everybody begins with its next, so that each GPU gets from one other
// at a time, in the order in which its memory lies. An all_gather of 256 MiB on four H200: 361 GB/s into
// each; 350 a megabyte to each in turn, 345 every line to all at once.
#define CLAN_IF_NEXT(m) (k == m) ? out##m + out##m##_at:

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void peer_exchange(__global clan_t* in0, const ulong in0_at, CLAN_EACH(CLAN_OUT_PARAM)
                   CLAN_EACH(CLAN_CONTROL_PARAM) const uint me, const uint own, const ulong lines,
                   const uint rest, const ulong stride, const ulong call, const ulong patience) {
  __local uint go;
  __global clan_t* const in = in0 + in0_at;
  clan_flag const control[CLAN_MEMBERS] = {CLAN_EACH(CLAN_CONTROL_VALUE)};
  clan_flag const mine = CLAN_MINE;
  if (!clan_arrive(control, mine, me, call, patience, &go)) return;
  const ulong step = get_global_size(0);
  __global CLAN_LINE* const kept = (__global CLAN_LINE*)(in + me * stride);
  __global CLAN_LINE* const result = (__global CLAN_LINE*)(out0 + out0_at);
  for (uint k = 1; k < CLAN_MEMBERS; k++) {
    __global clan_t* const out = CLAN_EACH(CLAN_IF_NEXT) out0;
    __global clan_t* const block = in + (me + k) % CLAN_MEMBERS * stride;
    __global CLAN_LINE* const from = (__global CLAN_LINE*)block;
    __global CLAN_LINE* const to = (__global CLAN_LINE*)out;
    // The own copy beside the first one, while the wires are the narrow place.
    const uint both = own && k == 1;
    ulong i = get_global_id(0);
    for (; i + (CLAN_UNROLL - 1) * step < lines; i += CLAN_UNROLL * step) {
      CLAN_LINE v[CLAN_UNROLL];
#pragma unroll
      for (uint u = 0; u < CLAN_UNROLL; u++) v[u] = from[i + u * step];
#pragma unroll
      for (uint u = 0; u < CLAN_UNROLL; u++) to[i + u * step] = v[u];
      if (both) {
#pragma unroll
        for (uint u = 0; u < CLAN_UNROLL; u++) v[u] = kept[i + u * step];
#pragma unroll
        for (uint u = 0; u < CLAN_UNROLL; u++) result[i + u * step] = v[u];
      }
    }
    for (; i < lines; i += step) {
      to[i] = from[i];
      if (both) result[i] = kept[i];
    }
    if (get_global_id(0) < rest) {
      const ulong e = lines * CLAN_PARTS + get_global_id(0);
      out[e] = block[e];
      if (both) out0[out0_at + e] = in[me * stride + e];
    }
  }
  clan_leave(control, mine, me, call, patience, &go);
}
#endif

#if CLAN_WANTS(5)
// All members' n elements combined, for so few that time is distance: everyone sends all it has to
// everyone. 64-bit words carry 32 bits of data and the number of the call, so they are whole or not
// there, and no fence is needed. `slots` is the number of units of 8 bytes that a slot has room for;
// calls use two sets of slots in turn. Nobody can be two calls ahead of a member that still reads,
// for it needs that member's elements of the call between, and queues run in order.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void peer_combine_short(__global clan_t* in0, const ulong in0_at, __global clan_t* out0,
                        const ulong out0_at, CLAN_EACH(CLAN_CONTROL_PARAM) const uint me,
                        const uint n, const uint slots, const uint call, const ulong patience) {
  const uint parts = 8 / sizeof(clan_t);
  typedef union {
    uint2 whole;
    clan_t part[8 / sizeof(clan_t)];
  } clan_unit;
  __global clan_t* const in = in0 + in0_at;
  __global clan_t* const out = out0 + out0_at;
  clan_flag const control[CLAN_MEMBERS] = {CLAN_EACH(CLAN_CONTROL_VALUE)};
  clan_flag const mine = CLAN_MINE;
  if (mine[CLAN_STATUS] != 0) return;
  const uint units = (n + parts - 1) / parts;
  const ulong set = CLAN_SLOTS + (ulong)(call & 1u) * CLAN_MEMBERS * slots * 2;
  const ulong flag = (ulong)call << 32;
  for (uint i = get_global_id(0); i < units; i += get_global_size(0)) {
    clan_unit v[CLAN_MEMBERS];
    clan_unit own;
    own.whole = (uint2)(0);
#pragma unroll
    for (uint k = 0; k < parts; k++) {
      if (i * parts + k < n) own.part[k] = in[i * parts + k];
    }
#pragma unroll
    for (uint j = 0; j < CLAN_MEMBERS; j++) {
      v[j] = own;
      if (j != me) {
        clan_send(control[j] + set + 2 * ((ulong)me * slots + i), flag | own.whole.x,
                  flag | own.whole.y);
      }
    }
    ulong start = CLAN_START();
#pragma unroll
    for (uint j = 0; j < CLAN_MEMBERS; j++) {
      if (j != me) {
        const clan_flag from = mine + set + 2 * ((ulong)j * slots + i);
        ulong a = clan_receive(from), b = clan_receive(from + 1);
        while ((uint)(a >> 32) != call || (uint)(b >> 32) != call) {
          if (CLAN_TICK(start) > patience || mine[CLAN_STATUS] != 0) {
            clan_give_up(control, mine, call, j);
            return;
          }
          a = clan_receive(from);
          b = clan_receive(from + 1);
        }
        v[j].whole = (uint2)((uint)a, (uint)b);
      }
    }
#pragma unroll
    for (uint k = 0; k < parts; k++) {
      if (i * parts + k < n) {
        clan_c sum = CLAN_GET(v[0].part, k);
#pragma unroll
        for (uint j = 1; j < CLAN_MEMBERS; j++) {
          const clan_c next = CLAN_GET(v[j].part, k);
          sum = clan_combine(sum, next);
        }
        CLAN_SET(out, i * parts + k, sum);
      }
    }
  }
}
#endif
