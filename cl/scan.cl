// scan: every element joined with all before it, along rows or down columns, between heads of segments.
//
// Elements lie in `chains`: one chain of all elements, or, with CLAN_COLS columns side by side, one for
// every strip of columns. A chain is cut into tiles of CLAN_GROUP * CLAN_EACH elements. Within a tile
// every work-item joins CLAN_EACH neighbours along the axis, the group joins these, and the carry from
// the tiles before is joined in.
//
// private: the elements of a work-item; local: a tile on its way from the order of memory to that of
// work-items and back, and one word a work-item; global: input and output, touched once, coalesced; the
// mail between groups; constant: not used.
//
// `scan` passes the carry from group to group by mail (decoupled look-back: Merrill and Garland,
// "Single-pass Parallel Prefix Scan with Decoupled Look-back", 2016). A group posts its tile's total
// (slot A), then adds up the totals since the nearest tile whose carry is known (slot P), and posts its
// own carry. Carries are made from left to right only, so that there is one value for each, whoever
// makes it and when: results are the same in every run, and nobody need be waited for. After `spins`
// polls a group makes what is missing itself. A tag in every word says that it has come, so words need
// no order among each other.
//
// `scan_sums` and `scan_spans` do without: the first makes the total of every span of tiles, the second
// starts each span with the totals before it.
#ifndef CLAN_PARAMS
typedef float clan_t;
typedef float clan_out_t;
#define CLAN_PARAMS , __global const float* restrict a0
#define CLAN_ARGS , a0
static inline float clan_at(const clan_ix i CLAN_PARAMS) { return a0[i]; }
#define CLAN_PUT(out, i, v) ((out)[i] = (v))
typedef float clan_word;
#define CLAN_BITS(x) ((ulong)as_uint(x))
#define CLAN_OF_BITS(u) as_float((uint)(u))
#define CLAN_HALVES 1
#define CLAN_JOIN(a, b) ((a) + (b))
#define CLAN_PAIR
#endif
#ifndef CLAN_EACH
#define CLAN_EACH 15 // elements of a work-item; odd, so that neighbours find different banks
#endif
#ifndef CLAN_COLS
#define CLAN_COLS 1 // columns side by side in a tile; a power of two
#endif
#ifndef CLAN_HEADS
#define CLAN_HEADS 0 // where segments start: 0 nowhere, 1 every `len` elements, 2 at flags, 3 at both
#endif
#ifndef CLAN_DEPTH
#define CLAN_DEPTH 1 // tiles that a work-item looks at when it looks back
#endif
#ifndef CLAN_POSTS
#define CLAN_POSTS(tile) true // which tiles' groups post anything: all, but in a test
#endif
// CPUs' compilers take minutes for loops that are not loops any more.
#ifdef CLAN_ROLLED
#define CLAN_UNROLLED _Pragma("unroll 1")
#else
#define CLAN_UNROLLED _Pragma("unroll")
#endif
#define CLAN_DOWN (CLAN_GROUP / CLAN_COLS) // work-items that share a column
#define CLAN_TILE (CLAN_DOWN * CLAN_EACH)  // elements of a tile along the axis
#define CLAN_WINDOW (CLAN_DOWN * CLAN_DEPTH)
#define CLAN_AT_ONCE 8
#if CLAN_COLS == 1
#define CLAN_BUFFER (CLAN_GROUP * CLAN_EACH)
#else
#define CLAN_BUFFER (CLAN_GROUP * CLAN_DEPTH)
#endif

static inline clan_word clan_join(const clan_word a, const clan_word b) { return CLAN_JOIN(a, b); }

// A carry from tile to tile. Sums of floats carry their rounding errors along (Knuth's TwoSum).
#ifdef CLAN_PAIR
#define CLAN_PARTS 2
typedef struct { clan_word s, c; } clan_carry;
static inline clan_carry clan_first(const clan_word x) { const clan_carry a = {x, 0}; return a; }
static inline clan_carry clan_push(clan_carry a, const clan_word x) {
  const clan_word t = a.s + x, b = t - a.s;
  a.c += (a.s - (t - b)) + (x - b);
  a.s = t;
  return a;
}
// Of an infinite sum the error is NaN.
static inline clan_word clan_error(const clan_carry a) { return isnan(a.c) ? 0 : a.c; }
static inline clan_word clan_after(const clan_carry a, const clan_word x) { return a.s + (clan_error(a) + x); }
static inline clan_word clan_whole(const clan_carry a) { return a.s + clan_error(a); }
#else
#define CLAN_PARTS 1
typedef struct { clan_word s; } clan_carry;
static inline clan_carry clan_first(const clan_word x) { const clan_carry a = {x}; return a; }
static inline clan_carry clan_push(clan_carry a, const clan_word x) {
  a.s = clan_join(a.s, x);
  return a;
}
static inline clan_word clan_after(const clan_carry a, const clan_word x) { return clan_join(a.s, x); }
static inline clan_word clan_whole(const clan_carry a) { return a.s; }
#endif

// Where the elements of a work-item are: `count` of them from `first` on, `step` apart. Of none the
// first is some element of the input.
typedef struct { clan_ix first, step; uint count; } clan_part;

// Tile `tile` of chain `chain`. Along the axis there are `len` elements, or `n` in all for rows.
static inline clan_part clan_find(const clan_ix tile, const clan_ix chain, const clan_ix n,
                                  const clan_ix len, const clan_ix inner, const clan_ix strips) {
  const uint me = get_local_id(0);
  clan_part p;
  const clan_ix at = tile * CLAN_TILE + (clan_ix)(me / CLAN_COLS) * CLAN_EACH;
#if CLAN_COLS == 1
  p.first = min(at, n - 1);
  p.step = 1;
  p.count = at < n ? (uint)min((clan_ix)CLAN_EACH, n - at) : 0;
#else
  const clan_ix column = chain % strips * CLAN_COLS + me % CLAN_COLS;
  p.first = (chain / strips * len + min(at, len - 1)) * inner + min(column, inner - 1);
  p.step = inner;
  p.count = column < inner && at < len ? (uint)min((clan_ix)CLAN_EACH, len - at) : 0;
#endif
  return p;
}

// Bit k: element k starts a segment.
static inline uint clan_heads(const clan_part p, __global const uchar* restrict flags,
                              const clan_ix flags_at, const clan_ix len) {
  uint heads = 0;
#if CLAN_HEADS & 1
  clan_ix r = p.first % len;
  for (uint k = 0; k < p.count; k++) {
    if (r == 0) heads |= 1u << k;
    r = r + 1 == len ? 0 : r + 1;
  }
#endif
#if CLAN_HEADS & 2
  for (uint k = 0; k < p.count; k++) heads |= (uint)(flags[flags_at + p.first + k * p.step] != 0) << k;
#endif
  return heads;
}

// The total of a work-item's elements since its last head.
static inline clan_word clan_fold(const clan_part p, const uint heads CLAN_PARAMS) {
  clan_word total = (clan_word)clan_at(p.first CLAN_ARGS);
  for (uint k = 1; k < p.count; k++) {
    const clan_word x = (clan_word)clan_at(p.first + k * p.step CLAN_ARGS);
    total = heads >> k & 1u ? x : clan_join(total, x);
  }
  return total;
}

// Joins the totals of the work-items of each column: afterwards word[me] and cut[me] have that of all
// up to `me` since the last head, and whether there was one.
static inline void clan_join_group(clan_word v, uint h, __local clan_word* word, __local uchar* cut) {
  const uint me = get_local_id(0);
  for (uint d = CLAN_COLS; d < CLAN_GROUP; d *= 2) {
    word[me] = v;
#if CLAN_HEADS
    cut[me] = h;
#endif
    barrier(CLK_LOCAL_MEM_FENCE);
    if (me >= d) {
#if CLAN_HEADS
      if (!h) v = clan_join(word[me - d], v);
      h |= cut[me - d];
#else
      v = clan_join(word[me - d], v);
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  word[me] = v;
#if CLAN_HEADS
  cut[me] = h;
#endif
  barrier(CLK_LOCAL_MEM_FENCE);
}

// A work-item's elements, and what they are joined to.
typedef struct {
  clan_part part;
  uint heads;
  clan_word x[CLAN_EACH];
} clan_mine;

// Loads a tile and joins every work-item's elements, and those of the group. In place of elements
// beyond the end come others of the input, for users' operators may not bear all values. They are last:
// what they are joined to is not used.
static inline void clan_load(clan_mine* m, const clan_ix tile, const clan_ix n, const clan_ix len,
                             __global const uchar* restrict flags, const clan_ix flags_at, __local clan_word* buffer,
                             __local clan_word* word, __local uchar* cut CLAN_PARAMS) {
  m->heads = clan_heads(m->part, flags, flags_at, len);
#if CLAN_COLS == 1 && CLAN_GROUP > 1
  const uint me = get_local_id(0);
  const clan_ix from = tile * CLAN_TILE + me;
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    const clan_ix i = from + k * CLAN_GROUP;
    m->x[k] = (clan_word)clan_at(min(i, n - 1) CLAN_ARGS);
  }
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) buffer[k * CLAN_GROUP + me] = m->x[k];
  barrier(CLK_LOCAL_MEM_FENCE);
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) m->x[k] = buffer[me * CLAN_EACH + k];
#else
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    m->x[k] = (clan_word)clan_at(m->part.first + (k < m->part.count ? k : 0) * m->part.step CLAN_ARGS);
  }
#endif
CLAN_UNROLLED
  for (uint k = 1; k < CLAN_EACH; k++) {
    if (!(m->heads >> k & 1u)) m->x[k] = clan_join(m->x[k - 1], m->x[k]);
  }
  clan_join_group(m->x[CLAN_EACH - 1], m->heads != 0, word, cut);
}

// Joins in what comes before, and stores. `has` says whether there is a carry.
static inline void clan_store(__global clan_out_t* out, clan_mine* m, const clan_ix tile, const clan_ix n,
                              const bool has, const clan_carry carry, const clan_word identity,
                              __local clan_word* buffer, __local clan_word* word, __local uchar* cut) {
  const uint me = get_local_id(0);
  clan_word before = identity;
  bool known = has;
  if (me >= CLAN_COLS) {
    before = word[me - CLAN_COLS];
#if CLAN_HEADS
    if (has && !cut[me - CLAN_COLS]) before = clan_after(carry, before);
#else
    if (has) before = clan_after(carry, before);
#endif
    known = true;
  } else if (has) {
    before = clan_whole(carry);
  }
  uint open = 1; // no head yet
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    open &= ~(m->heads >> k) & 1u;
    if (open && known) m->x[k] = clan_join(before, m->x[k]);
  }
#ifdef CLAN_EXCLUSIVE
CLAN_UNROLLED
  for (uint k = CLAN_EACH - 1; k > 0; k--) m->x[k] = m->heads >> k & 1u ? identity : m->x[k - 1];
  m->x[0] = m->heads & 1u ? identity : before;
#endif
#if CLAN_COLS == 1 && CLAN_GROUP > 1
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) buffer[me * CLAN_EACH + k] = m->x[k];
  barrier(CLK_LOCAL_MEM_FENCE);
  const clan_ix from = tile * CLAN_TILE + me;
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    const clan_ix i = from + k * CLAN_GROUP;
    if (i < n) CLAN_PUT(out, i, buffer[k * CLAN_GROUP + me]);
  }
#else
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    if (k < m->part.count) CLAN_PUT(out, m->part.first + k * m->part.step, m->x[k]);
  }
#endif
}

// ---- With mail ------------------------------------------------------------------------------------

#ifdef CLAN_MAIL
typedef volatile __global ulong clan_letter;
#define CLAN_TAG (1ul << 32)
#define CLAN_SLOT_P CLAN_HALVES
#define CLAN_SLOTS (CLAN_HALVES * (1 + CLAN_PARTS))

static inline void clan_post_word(clan_letter* to, const clan_ix apart, const clan_word x) {
  const ulong bits = CLAN_BITS(x);
  to[0] = CLAN_TAG | (bits & 0xfffffffful);
#if CLAN_HALVES == 2
  to[apart] = CLAN_TAG | bits >> 32;
#endif
}

static inline bool clan_take_word(clan_letter* from, const clan_ix apart, clan_word* x) {
  const ulong low = from[0];
#if CLAN_HALVES == 2
  const ulong high = from[apart];
  *x = CLAN_OF_BITS((low & 0xfffffffful) | high << 32);
  return (low & high & CLAN_TAG) != 0;
#else
  *x = CLAN_OF_BITS(low & 0xfffffffful);
  return (low & CLAN_TAG) != 0;
#endif
}

static inline void clan_post_carry(clan_letter* box, const clan_ix apart, const clan_carry a) {
  clan_post_word(box + CLAN_SLOT_P * apart, apart, a.s);
#ifdef CLAN_PAIR
  clan_post_word(box + (CLAN_SLOT_P + CLAN_HALVES) * apart, apart, a.c);
#endif
}

static inline bool clan_take_carry(clan_letter* box, const clan_ix apart, clan_carry* a) {
  bool come = clan_take_word(box + CLAN_SLOT_P * apart, apart, &a->s);
#ifdef CLAN_PAIR
  come &= clan_take_word(box + (CLAN_SLOT_P + CLAN_HALVES) * apart, apart, &a->c);
#endif
  return come;
}

// Posts a tile's total: as its carry, where nothing before it matters.
static inline void clan_post_total(clan_letter* box, const clan_ix apart, const clan_word total,
                                   const bool alone) {
  if (alone) clan_post_carry(box, apart, clan_first(total));
  else clan_post_word(box, apart, total);
}

// `mail`: the number of groups that have started, the number of tiles made for others, then slots of
// `tiles * chains * CLAN_COLS` words. It was zero before.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void scan(__global clan_out_t* restrict out, clan_letter* mail, __global const uchar* restrict flags,
          const clan_ix flags_at, const clan_ix n, const clan_ix len, const clan_ix inner, const clan_ix strips,
          const clan_ix chains, const clan_ix tiles, const uint spins, const clan_word identity CLAN_PARAMS) {
  __local clan_word buffer[CLAN_BUFFER];
  __local clan_word word[CLAN_GROUP];
#if CLAN_HEADS
  __local uchar cut[CLAN_GROUP];
#else
  __local uchar cut[1];
#endif
  __local clan_carry known[CLAN_COLS];
  __local uint near_p[CLAN_COLS], near_none[CLAN_COLS];
  __local uint ticket, waiting;
  const uint me = get_local_id(0), column = me % CLAN_COLS, y = me / CLAN_COLS;
  // Tiles in the order in which groups start: those before have started.
  if (me == 0) ticket = atomic_inc((volatile __global uint*)mail);
  barrier(CLK_LOCAL_MEM_FENCE);
  const clan_ix tile = ticket / chains, chain = ticket % chains;
  const clan_ix apart = tiles * chains * CLAN_COLS;
  clan_letter* const boxes = mail + 2 + chain * tiles * CLAN_COLS + column;
  clan_mine m;
  m.part = clan_find(tile, chain, n, len, inner, strips);
  clan_load(&m, tile, n, len, flags, flags_at, buffer, word, cut CLAN_ARGS);

  const uint last = (CLAN_DOWN - 1) * CLAN_COLS + column;
  const clan_word total = word[last];
#if CLAN_HEADS
  const bool alone = tile == 0 || cut[last];
#else
  const bool alone = tile == 0;
#endif
  if (y == 0 && tile + 1 < tiles && CLAN_POSTS(tile)) clan_post_total(boxes + tile * CLAN_COLS, apart, total, alone);
  const clan_word mine = word[me];
#if CLAN_HEADS
  const uchar mine_cut = cut[me];
#endif

  clan_carry carry = clan_first(identity);
  clan_ix base = tile;
  uint left = spins;
  bool disturbed = false;
  // Tiles of the window, after which `known` is the carry; while that is not known, more than all.
  uint reach = CLAN_WINDOW + 1;
  while (tile > 0) {
    // Who is near: the nearest carry, and the nearest tile of which nothing has come.
    barrier(CLK_LOCAL_MEM_FENCE);
    if (y == 0) {
      near_p[column] = reach;
      near_none[column] = CLAN_WINDOW;
    }
    if (me == 0) waiting = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    clan_carry nearest = clan_first(identity);
    uint nearest_at = CLAN_WINDOW;
CLAN_UNROLLED
    for (uint k = 0; k < CLAN_DEPTH; k++) {
      const uint depth = k * CLAN_DOWN + y;
      if (depth < base && depth < reach) {
        clan_letter* const box = boxes + (base - 1 - depth) * CLAN_COLS;
        clan_carry p;
        clan_word a;
        const bool has_p = clan_take_carry(box, apart, &p), has_a = clan_take_word(box, apart, &a);
        if (has_p && depth < nearest_at) {
          nearest = p;
          nearest_at = depth;
        }
        if (!has_p && !has_a) atomic_min(&near_none[column], depth);
        buffer[depth * CLAN_COLS + column] = a;
      }
    }
    if (nearest_at < CLAN_WINDOW) atomic_min(&near_p[column], nearest_at);
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint p = near_p[column], none = near_none[column];
    // Columns beyond the end are computed like the others, and have letters too.
    if (p > none) waiting = 1;
    if (p == nearest_at && p < CLAN_WINDOW) known[column] = nearest;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (!waiting) {
      if (y == 0) {
        clan_carry a = known[column];
        // Everybody waits for this: totals are fetched some at a time.
        uint d = p;
        for (; d >= CLAN_AT_ONCE; d -= CLAN_AT_ONCE) {
          clan_word x[CLAN_AT_ONCE];
CLAN_UNROLLED
          for (uint k = 0; k < CLAN_AT_ONCE; k++) x[k] = buffer[(d - 1 - k) * CLAN_COLS + column];
CLAN_UNROLLED
          for (uint k = 0; k < CLAN_AT_ONCE; k++) a = clan_push(a, x[k]);
        }
        for (; d > 0; d--) a = clan_push(a, buffer[(d - 1) * CLAN_COLS + column]);
        known[column] = a;
        if (base < tile) clan_post_carry(boxes + (base - 1) * CLAN_COLS, apart, a);
      }
      if (base == tile) break;
      reach = (uint)min((clan_ix)CLAN_WINDOW, tile - base);
      base += reach;
      left = spins;
    } else if (left > 0) {
      left--;
    } else {
      // The nearest tile that any column lacks, if one does; else further back.
      barrier(CLK_LOCAL_MEM_FENCE);
      if (me == 0) waiting = CLAN_WINDOW;
      barrier(CLK_LOCAL_MEM_FENCE);
      if (p > none) atomic_min(&waiting, none);
      barrier(CLK_LOCAL_MEM_FENCE);
      const uint depth = waiting;
      if (depth < CLAN_WINDOW) {
        const clan_ix other = base - 1 - depth;
        const clan_part part = clan_find(other, chain, n, len, inner, strips);
        const uint heads = clan_heads(part, flags, flags_at, len);
        clan_join_group(clan_fold(part, heads CLAN_ARGS), heads != 0, word, cut);
#if CLAN_HEADS
        const bool free = other == 0 || cut[last];
#else
        const bool free = other == 0;
#endif
        if (y == 0) clan_post_total(boxes + other * CLAN_COLS, apart, word[last], free);
        if (me == 0) atomic_inc((volatile __global uint*)(mail + 1));
        disturbed = true;
      } else {
        base -= CLAN_WINDOW;
        reach = CLAN_WINDOW + 1;
      }
      left = spins;
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  if (tile > 0) {
    carry = known[column];
    if (y == 0 && !alone && tile + 1 < tiles && CLAN_POSTS(tile)) {
      clan_post_carry(boxes + tile * CLAN_COLS, apart, clan_push(carry, total));
    }
  }
  if (disturbed) {
    word[me] = mine;
#if CLAN_HEADS
    cut[me] = mine_cut;
#endif
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  clan_store(out, &m, tile, n, tile > 0, carry, identity, buffer, word, cut);
}
#endif

// ---- Without mail ---------------------------------------------------------------------------------

// Group g has span g / chains of chain g % chains: tiles from `each * span` on. `sums` and `cuts` have
// the total of every span since its last head, and whether it has one.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void scan_sums(__global clan_carry* sums, __global uchar* cuts, __global const uchar* restrict flags,
               const clan_ix flags_at, const clan_ix n, const clan_ix len, const clan_ix inner, const clan_ix strips,
               const clan_ix chains, const clan_ix tiles, const clan_ix each CLAN_PARAMS) {
  __local clan_word buffer[CLAN_BUFFER];
  __local clan_word word[CLAN_GROUP];
#if CLAN_HEADS
  __local uchar cut[CLAN_GROUP];
#else
  __local uchar cut[1];
#endif
  const uint me = get_local_id(0), column = me % CLAN_COLS, last = (CLAN_DOWN - 1) * CLAN_COLS + column;
  const clan_ix span = get_group_id(0) / chains, chain = get_group_id(0) % chains;
  clan_carry carry = clan_first(0);
  bool any = false, has = false;
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    clan_mine m;
    m.part = clan_find(tile, chain, n, len, inner, strips);
    clan_load(&m, tile, n, len, flags, flags_at, buffer, word, cut CLAN_ARGS);
    const clan_word total = word[last];
#if CLAN_HEADS
    if (cut[last]) {
      any = true;
      has = false;
    }
#endif
    carry = has ? clan_push(carry, total) : clan_first(total);
    has = true;
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (me < CLAN_COLS) {
    const clan_ix at = get_group_id(0) * CLAN_COLS + column;
    sums[at] = carry;
    cuts[at] = any;
  }
}

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void scan_spans(__global clan_out_t* restrict out, __global const clan_carry* sums,
                __global const uchar* cuts, __global const uchar* restrict flags, const clan_ix flags_at,
                const clan_ix n, const clan_ix len, const clan_ix inner, const clan_ix strips, const clan_ix chains,
                const clan_ix tiles, const clan_ix each, const clan_word identity CLAN_PARAMS) {
  __local clan_word buffer[CLAN_BUFFER];
  __local clan_word word[CLAN_GROUP];
#if CLAN_HEADS
  __local uchar cut[CLAN_GROUP];
#else
  __local uchar cut[1];
#endif
  const uint me = get_local_id(0), column = me % CLAN_COLS, last = (CLAN_DOWN - 1) * CLAN_COLS + column;
  const clan_ix span = get_group_id(0) / chains, chain = get_group_id(0) % chains;
  clan_carry carry = clan_first(identity);
  bool has = false;
  for (clan_ix s = 0; s < span; s++) {
    const clan_ix at = (s * chains + chain) * CLAN_COLS + column;
    const clan_carry a = sums[at];
#ifdef CLAN_PAIR
    const clan_carry both = clan_push(carry, a.s);
    carry = has && !cuts[at] ? both : a;
    if (has && !cuts[at]) carry.c += a.c;
#else
    carry = has && !cuts[at] ? clan_push(carry, a.s) : a;
#endif
    has = true;
  }
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    clan_mine m;
    m.part = clan_find(tile, chain, n, len, inner, strips);
    clan_load(&m, tile, n, len, flags, flags_at, buffer, word, cut CLAN_ARGS);
    const clan_word total = word[last];
#if CLAN_HEADS
    const bool fresh = !has || cut[last];
#else
    const bool fresh = !has;
#endif
    clan_store(out, &m, tile, n, has, carry, identity, buffer, word, cut);
    carry = fresh ? clan_first(total) : clan_push(carry, total);
    has = true;
    barrier(CLK_LOCAL_MEM_FENCE);
  }
}
