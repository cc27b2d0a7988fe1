// scan: every element joined with all before it, along rows or down columns, between heads of segments.
//
// Elements lie in `chains`: one chain of all elements, or, with CLAN_COLS columns side by side, one for
// every strip of columns. A chain is cut into tiles of CLAN_GROUP * CLAN_EACH elements. Within a tile
// every work-item joins CLAN_EACH neighbours along the axis, the group joins these, and the carry from
// the tiles before is joined in.
//
// private: the elements of a work-item, where its column is its own; local: else the tile, from its loading
// until the carry has come, so that many groups can wait at a time, and one word a work-item; global: input
// and output, touched once, coalesced, and the totals of spans; constant: not used.
//
// `scan_sums` makes the total of every span of tiles, `scan_spans` starts each span with the totals before
// it; `scan_lanes.cl` has the same for CPUs. `scan_mail.cl` and what comes after it have the way by which groups
// hear of each other.
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
#define CLAN_VEC 1
#endif
#ifndef CLAN_EACH
#define CLAN_EACH 15 // elements of a work-item; odd, so that neighbours find different banks
#endif
#ifndef CLAN_COLS
#define CLAN_COLS 1 // columns side by side in a tile; a power of two
#endif
#ifndef CLAN_LANES
#define CLAN_LANES 0 // from 1 on for lone work-items, CLAN_EACH runs of so many elements a tile: scan_lanes.cl
#endif
#ifndef CLAN_HEADS
#define CLAN_HEADS 0 // where segments start: 0 nowhere, 1 every `len` elements, 2 at flags, 3 at both
#endif
// Words that a group joins its totals by: one a work-item, or one for 32 that go together.
#ifdef CLAN_WARPS
#define CLAN_WORDS_OF_GROUP CLAN_WARPS
#else
#define CLAN_WORDS_OF_GROUP CLAN_GROUP
#endif
// A flag with each, where there are heads.
#if CLAN_HEADS
#define CLAN_CUTS CLAN_WORDS_OF_GROUP
#define CLAN_CUT(at) cut[at]
#else
#define CLAN_CUTS 1
#define CLAN_CUT(at) 0
#endif
// What all tiles lie in: flags of heads; elements in all, along the axis, and beside it; strips of columns.
#define CLAN_SIZE_PARAMS                                                                           \
  __global const uchar *restrict flags, const clan_ix flags_at, const clan_ix n,                    \
      const clan_ix len, const clan_ix inner, const clan_ix strips
#define CLAN_SIZES flags, flags_at, n, len, inner, strips
// CPUs' compilers take minutes for loops that are not loops any more.
#ifdef CLAN_ROLLED
#define CLAN_UNROLLED _Pragma("unroll 1")
#else
#define CLAN_UNROLLED _Pragma("unroll")
#endif
#define CLAN_DOWN (CLAN_GROUP / CLAN_COLS) // work-items that share a column
// Elements of a tile along the axis.
#if CLAN_LANES
#define CLAN_TILE (CLAN_EACH * CLAN_LANES)
#else
#define CLAN_TILE (CLAN_DOWN * CLAN_EACH)
#endif
#if CLAN_COLS == 1 && CLAN_GROUP > 1
#define CLAN_PARKED // the tile is in local memory, the elements of a work-item side by side
#define CLAN_BUFFER CLAN_TILE
#else
#define CLAN_BUFFER 1
#endif
#if CLAN_VEC > 1
#define CLAN_ALIGNED __attribute__((aligned(16)))
#else
#define CLAN_ALIGNED
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
static inline clan_carry clan_merge(clan_carry a, const clan_carry b) {
  a = clan_push(a, b.s);
  a.c += b.c;
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
static inline clan_carry clan_merge(const clan_carry a, const clan_carry b) { return clan_push(a, b.s); }
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

// Totals since the last head, and whether there is one: of the work-items before in the column (for the first,
// any), and of all the column.
typedef struct { clan_word before, total; uint cut_before, cut; } clan_joined_t;

#ifdef CLAN_WARPS
static inline clan_word clan_word_from(const clan_word x, const uint lane) {
  const ulong bits = CLAN_BITS(x);
#if CLAN_HALVES == 2
  return CLAN_OF_BITS((ulong)clan_from((uint)(bits >> 32), lane) << 32 | clan_from((uint)bits, lane));
#else
  return CLAN_OF_BITS((ulong)clan_from((uint)bits, lane));
#endif
}

static inline clan_word clan_word_up(const clan_word x, const uint by) {
  const ulong bits = CLAN_BITS(x);
#if CLAN_HALVES == 2
  return CLAN_OF_BITS((ulong)clan_up((uint)(bits >> 32), by) << 32 | clan_up((uint)bits, by));
#else
  return CLAN_OF_BITS((ulong)clan_up((uint)bits, by));
#endif
}

// Joins to the total of each of 32 work-items those of the ones before it; `heads`: whether any can have one.
static inline void clan_join_warp(clan_word* v, uint* h, const bool heads) {
  const uint lane = get_local_id(0) % 32;
#pragma unroll
  for (uint d = 1; d < 32; d *= 2) {
    const clan_word w = clan_word_up(*v, d);
    const uint g = heads ? clan_up(*h, d) : 0;
    if (lane >= d) {
      if (!*h) *v = clan_join(w, *v);
      *h |= g;
    }
  }
}

// Joins the totals of the work-items.
static inline clan_joined_t clan_join_group(clan_word v, uint h, __local clan_word* word, __local uchar* cut) {
  const uint me = get_local_id(0), lane = me % 32, warp = me / 32;
  clan_join_warp(&v, &h, CLAN_HEADS != 0);
  if (lane == 31) {
    word[warp] = v;
#if CLAN_HEADS
    cut[warp] = h;
#endif
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  clan_joined_t j = {clan_word_up(v, 1), word[0], CLAN_HEADS ? clan_up(h, 1) : 0, CLAN_CUT(0)};
#pragma unroll
  for (uint w = 0; w < CLAN_WARPS; w++) {
    if (w > 0) {
      if (w == warp) {
        // The first of a warp has none before it there.
        if (lane == 0) {
          j.before = j.total;
          j.cut_before = j.cut;
        } else {
          if (!j.cut_before) j.before = clan_join(j.total, j.before);
          j.cut_before |= j.cut;
        }
      }
      j.total = CLAN_CUT(w) ? word[w] : clan_join(j.total, word[w]);
      j.cut |= CLAN_CUT(w);
    }
  }
  return j;
}
#else
// Joins the totals of the work-items of each column.
static inline clan_joined_t clan_join_group(clan_word v, uint h, __local clan_word* word, __local uchar* cut) {
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
  const uint at = me >= CLAN_COLS ? me - CLAN_COLS : me, last = (CLAN_DOWN - 1) * CLAN_COLS + me % CLAN_COLS;
  const clan_joined_t j = {word[at], word[last], CLAN_CUT(at), CLAN_CUT(last)};
  return j;
}
#endif

// A work-item's part of a tile.
typedef struct {
  clan_part part;
  uint heads;
#ifndef CLAN_PARKED
  clan_word x[CLAN_EACH];
#endif
} clan_mine;

// Loads a tile and joins every work-item's elements, and those of the group. In place of elements beyond the
// end come others of the input, for users' operators may not bear all values. They are last: what they are
// joined to is not used.
static inline clan_joined_t clan_load(clan_mine* m, const clan_ix tile, const clan_ix n, const clan_ix len,
                             __global const uchar* restrict flags, const clan_ix flags_at, __local clan_word* buffer,
                             __local clan_word* word, __local uchar* cut CLAN_PARAMS) {
  const uint me = get_local_id(0);
  m->heads = clan_heads(m->part, flags, flags_at, len);
#ifdef CLAN_PARKED
  const clan_ix from = tile * CLAN_TILE;
#if CLAN_VEC > 1
  if (n - from >= CLAN_TILE) {
CLAN_UNROLLED
    for (uint k = 0; k < CLAN_TILE; k += CLAN_GROUP * CLAN_VEC) {
      const uint i = k + me * CLAN_VEC;
      if (i < CLAN_TILE) {
        clan_t v[CLAN_VEC];
        clan_vec(from + i, v CLAN_ARGS);
        clan_word w[CLAN_VEC];
CLAN_UNROLLED
        for (uint l = 0; l < CLAN_VEC; l++) w[l] = (clan_word)v[l];
        *(__local clan_words*)(buffer + i) = CLAN_WORDS(w);
      }
    }
  } else
#endif
  {
CLAN_UNROLLED
    for (uint i = me; i < CLAN_TILE; i += CLAN_GROUP) buffer[i] = (clan_word)clan_at(min(from + i, n - 1) CLAN_ARGS);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  __local const clan_word* const x = buffer + me * CLAN_EACH;
  clan_word total = x[0];
CLAN_UNROLLED
  for (uint k = 1; k < CLAN_EACH; k++) total = m->heads >> k & 1u ? x[k] : clan_join(total, x[k]);
#else
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    m->x[k] = (clan_word)clan_at(m->part.first + (k < m->part.count ? k : 0) * m->part.step CLAN_ARGS);
  }
CLAN_UNROLLED
  for (uint k = 1; k < CLAN_EACH; k++) {
    if (!(m->heads >> k & 1u)) m->x[k] = clan_join(m->x[k - 1], m->x[k]);
  }
  const clan_word total = m->x[CLAN_EACH - 1];
#endif
  return clan_join_group(total, m->heads != 0, word, cut);
}

// Joins in what comes before, and stores. `has` says whether there is a carry.
static inline void clan_store(__global clan_out_t* out, clan_mine* m, const clan_joined_t joined, const clan_ix tile,
                              const clan_ix n, const bool has, const clan_carry carry, const clan_word identity,
                              __local clan_word* buffer) {
  const uint me = get_local_id(0);
  clan_word before = identity;
  bool known = has;
  if (me >= CLAN_COLS) {
    before = has && !joined.cut_before ? clan_after(carry, joined.before) : joined.before;
    known = true;
  } else if (has) {
    before = clan_whole(carry);
  }
  uint open = 1; // no head yet
#ifdef CLAN_PARKED
  __local clan_word* const x = buffer + me * CLAN_EACH;
  clan_word so_far = x[0];
#ifdef CLAN_EXCLUSIVE
  clan_word last = before;
#endif
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    const uint head = m->heads >> k & 1u;
    if (k > 0) so_far = head ? x[k] : clan_join(so_far, x[k]);
    open &= !head;
    const clan_word whole = open && known ? clan_join(before, so_far) : so_far;
#ifdef CLAN_EXCLUSIVE
    x[k] = head ? identity : last;
    last = whole;
#else
    x[k] = whole;
#endif
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const clan_ix from = tile * CLAN_TILE;
#if CLAN_VEC > 1
  if (n - from >= CLAN_TILE) {
CLAN_UNROLLED
    for (uint k = 0; k < CLAN_TILE; k += CLAN_GROUP * CLAN_VEC) {
      const uint i = k + me * CLAN_VEC;
      if (i < CLAN_TILE) {
        const clan_words w = *(__local const clan_words*)(buffer + i);
        const clan_word v[CLAN_VEC] = CLAN_SPREAD(w);
        CLAN_PUTV(out, from + i, v);
      }
    }
    return;
  }
#endif
CLAN_UNROLLED
  for (uint i = me; i < CLAN_TILE; i += CLAN_GROUP) {
    if (i < n - from) CLAN_PUT(out, from + i, buffer[i]);
  }
#else
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
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_EACH; k++) {
    if (k < m->part.count) CLAN_PUT(out, m->part.first + k * m->part.step, m->x[k]);
  }
#endif
}

#if CLAN_LANES == 0
// Group g has span g / chains of chain g % chains: tiles from `each * span` on. `sums` and `cuts` have
// the total of every span since its last head, and whether it has one.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void scan_sums(__global clan_carry* sums, __global uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains,
               const clan_ix tiles, const clan_ix each CLAN_PARAMS) {
  __local clan_word buffer[CLAN_BUFFER] CLAN_ALIGNED;
  __local clan_word word[CLAN_WORDS_OF_GROUP];
  __local uchar cut[CLAN_CUTS];
  const uint me = get_local_id(0), column = me % CLAN_COLS;
  const clan_ix span = get_group_id(0) / chains, chain = get_group_id(0) % chains;
  clan_carry carry = clan_first(0);
  bool any = false, has = false;
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    clan_mine m;
    m.part = clan_find(tile, chain, n, len, inner, strips);
    const clan_joined_t j = clan_load(&m, tile, n, len, flags, flags_at, buffer, word, cut CLAN_ARGS);
    if (j.cut) {
      any = true;
      has = false;
    }
    carry = has ? clan_push(carry, j.total) : clan_first(j.total);
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
                __global const uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains, const clan_ix tiles,
                const clan_ix each, const clan_word identity CLAN_PARAMS) {
  __local clan_word buffer[CLAN_BUFFER] CLAN_ALIGNED;
  __local clan_word word[CLAN_WORDS_OF_GROUP];
  __local uchar cut[CLAN_CUTS];
  const uint me = get_local_id(0), column = me % CLAN_COLS;
  const clan_ix span = get_group_id(0) / chains, chain = get_group_id(0) % chains;
  clan_carry carry = clan_first(identity);
  bool has = false;
  for (clan_ix s = 0; s < span; s++) {
    const clan_ix at = (s * chains + chain) * CLAN_COLS + column;
    const clan_carry a = sums[at];
    carry = has && !cuts[at] ? clan_merge(carry, a) : a;
    has = true;
  }
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    clan_mine m;
    m.part = clan_find(tile, chain, n, len, inner, strips);
    const clan_joined_t j = clan_load(&m, tile, n, len, flags, flags_at, buffer, word, cut CLAN_ARGS);
    clan_store(out, &m, j, tile, n, has, carry, identity, buffer);
    carry = !has || j.cut ? clan_first(j.total) : clan_push(carry, j.total);
    has = true;
    barrier(CLK_LOCAL_MEM_FENCE);
  }
}
#endif
