// warp: what 32 work-items that go together can tell each other, in NVIDIA's assembly. Comes before a family's file.
//
// All 32 have to come to what they tell each other by; to `clan_any` the whole group.
//
// private: what they tell each other; local, global and constant: not used.
#define CLAN_WARPS (CLAN_GROUP / 32)

// Which of them come before this one.
static inline uint clan_below(void) {
  uint mask;
  asm("mov.u32 %0, %%lanemask_lt;" : "=r"(mask));
  return mask;
}

// A barrier for the 32, and for what they keep in local memory.
static inline void clan_together(void) { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

// Which of them say so, a bit each.
static inline uint clan_who(const bool mine) {
  uint who;
  asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; vote.sync.ballot.b32 %0, p, 0xffffffff; }"
               : "=r"(who) : "r"((uint)mine));
  return who;
}

// The first of them; of none 32.
static inline uint clan_first_of(const uint who) { return popcount((who & -who) - 1); }

// What work-item `lane` of the 32 has.
static inline uint clan_from(const uint x, const uint lane) {
  uint y;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(y) : "r"(x), "r"(lane));
  return y;
}

// What the work-item has that comes so many before.
static inline uint clan_up(const uint x, const uint by) {
  uint y;
  asm volatile("shfl.sync.up.b32 %0, %1, %2, 0, 0xffffffff;" : "=r"(y) : "r"(x), "r"(by));
  return y;
}

// Whether a work-item of the whole group says so: a barrier, and one for local memory too.
static inline bool clan_any(const bool mine) {
  uint any;
  asm volatile("{ .reg .pred p, q; setp.ne.u32 p, %1, 0; bar.red.or.pred q, 0, p; selp.u32 %0, 1, 0, q; }"
               : "=r"(any) : "r"((uint)mine) : "memory");
  return any != 0;
}
