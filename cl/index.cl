// index: indices that users give: which place they name, and how the first one outside is told.
// Comes before a family's file that is given indices, behind the generated input, which computes them.
//
// private: one index; global: a note of three words, touched only when an index is outside; local,
// constant: not used. Only atomics of 32 bits, which every device has.
#ifdef CLAN_KEY_WIDE
typedef ulong clan_key;
#else
typedef uint clan_key;
#endif

// The place that an index names on an axis of `len`: from its end where it is negative. An index
// outside gives `len` or more, because `len` is below half of what a clan_key can hold.
static inline clan_key clan_key_of(const clan_t v, const clan_key len) {
#ifdef CLAN_SIGNED
  return v < 0 ? (clan_key)v + len : (clan_key)v;
#else
  return (clan_key)v;
#endif
}

// Notes that index `first + at` is outside, in the launch's own three words, which begin as zeros. Word
// 0 is the complement of its least position, so that 0 is none. Words 1 and 2 are the index: whoever
// lowers the position writes the index of the least one until it still is the least afterwards, so
// the last word is that of the position that stays. Nobody waits for anybody.
static inline void clan_note(volatile __global uint* note, const clan_ix first, const uint at CLAN_PARAMS) {
  uint best = ~at;
  if (note[0] >= best || atomic_max(note, best) >= best) return;
  for (;;) {
    const ulong v = (ulong)clan_at(first + (clan_ix)~best CLAN_ARGS);
    atomic_xchg(note + 1, (uint)v);
    atomic_xchg(note + 2, (uint)(v >> 32));
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    const uint now = atomic_or(note, 0u);
    if (now == best) return;
    best = now;
  }
}
#define CLAN_NOTE(first, at) clan_note(note + 4 * slot, first, at CLAN_ARGS)
