// scan_lanes: `scan_sums` and `scan_spans` for a CPU, whose groups are one work-item; down columns without flags that
// start segments. Comes after `scan.cl`.
//
// Along rows, one element after the other would wait for the sum before it every time. So CLAN_LANES neighbours are
// joined by themselves first, which several processors' pipes do for several such runs at a time, and only their
// totals one after the other; but for runs in which a segment starts. Down columns, CLAN_COLS of them side by side are
// a few vectors.
//
// private: a run or a strip's sums, and what came before; global: input and output; local and
// constant: not used.

// Unrolled, so that a run is in registers.
#define CLAN_EACH_LANE(from) _Pragma("unroll") for (int c = from; c < CLAN_LANES; c++)

#if CLAN_COLS == 1
// A run from `at` on: what its elements come to, each with those before it.
static inline void clan_run(clan_word* v, const clan_ix at CLAN_PARAMS) {
  v[0] = (clan_word)clan_at(at CLAN_ARGS);
  CLAN_EACH_LANE(1) v[c] = clan_join(v[c - 1], (clan_word)clan_at(at + c CLAN_ARGS));
}

// Whether an element starts a segment, and whether one of the run from there on does.
static inline bool clan_head(__global const uchar* restrict flags, const clan_ix at) {
#if CLAN_HEADS & 2
  return flags[at] != 0;
#else
  return false;
#endif
}

static inline bool clan_any_head(__global const uchar* restrict flags, const clan_ix at) {
  uint any = 0;
#if CLAN_HEADS & 2
  CLAN_EACH_LANE(0) any |= flags[at + c];
#endif
  return any != 0;
}

// What the elements of a tile come to since its last head, whether there are any yet, and whether it has a head.
typedef struct { clan_word total; bool has, cut; } clan_so_far;

static inline void clan_add(clan_so_far* t, const clan_word x, const bool head) {
  t->total = t->has && !head ? clan_join(t->total, x) : x;
  t->has = true;
  t->cut |= head;
}

// Group g has span g / chains of row g % chains: tiles from `each * span` on. `sums` has the total of every
// span since its last head, and `cuts` whether it has one; but for tiles that are not whole: nothing comes after them.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scan_sums(__global clan_carry* sums, __global uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains,
               const clan_ix tiles, const clan_ix each CLAN_PARAMS) {
  const clan_ix span = get_group_id(0) / chains, row = get_group_id(0) % chains;
  clan_carry carry = clan_first(0);
  bool has = false, cut = false;
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    if ((tile + 1) * CLAN_TILE > len) break;
    const clan_ix from = row * len + tile * CLAN_TILE;
    clan_so_far t = {0, false, false};
    for (clan_ix i = from; i < from + CLAN_TILE; i += CLAN_LANES) {
      if (clan_any_head(flags, flags_at + i)) {
        for (int c = 0; c < CLAN_LANES; c++) clan_add(&t, (clan_word)clan_at(i + c CLAN_ARGS), clan_head(flags, flags_at + i + c));
      } else {
        clan_word v[CLAN_LANES];
        clan_run(v, i CLAN_ARGS);
        clan_add(&t, v[CLAN_LANES - 1], false);
      }
    }
    carry = has && !t.cut ? clan_push(carry, t.total) : clan_first(t.total);
    has = true;
    cut |= t.cut;
  }
  sums[get_group_id(0)] = carry;
  cuts[get_group_id(0)] = cut;
}

// Tiles of one row, from `each * span` on.
static inline void clan_span(__global clan_out_t* restrict out, __global const clan_carry* sums,
                             __global const uchar* cuts, const clan_ix row, const clan_ix span, CLAN_SIZE_PARAMS,
                             const clan_ix chains, const clan_ix tiles, const clan_ix each,
                             const clan_word identity CLAN_PARAMS) {
  clan_carry carry = clan_first(identity);
  bool has = false;
  for (clan_ix s = 0; s < span; s++) {
    const clan_carry a = sums[s * chains + row];
    carry = has && !cuts[s * chains + row] ? clan_merge(carry, a) : a;
    has = true;
  }
  const clan_ix begin = row * len;
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    const clan_ix from = begin + tile * CLAN_TILE, to = min(begin + len, from + CLAN_TILE);
    // Everything before an element since the last head, as one sum; what the tile alone comes to.
    clan_word so_far = clan_whole(carry);
    clan_so_far t = {0, false, false};
    bool begun = has;
    for (clan_ix i = from; i < to; i += CLAN_LANES) {
      if (i + CLAN_LANES <= to && !clan_any_head(flags, flags_at + i)) {
        clan_word v[CLAN_LANES];
        clan_run(v, i CLAN_ARGS);
        clan_add(&t, v[CLAN_LANES - 1], false);
        // Only the first of all has nothing before it.
        if (begun) {
          CLAN_EACH_LANE(0) v[c] = clan_join(so_far, v[c]);
        }
#ifdef CLAN_EXCLUSIVE
        CLAN_PUT(out, i, begun ? so_far : identity);
        CLAN_EACH_LANE(1) CLAN_PUT(out, i + c, v[c - 1]);
#else
        CLAN_EACH_LANE(0) CLAN_PUT(out, i + c, v[c]);
#endif
        so_far = v[CLAN_LANES - 1];
        begun = true;
        continue;
      }
      for (clan_ix k = i; k < min(to, i + CLAN_LANES); k++) {
        const clan_word x = (clan_word)clan_at(k CLAN_ARGS);
        const bool head = clan_head(flags, flags_at + k);
        const clan_word whole = begun && !head ? clan_join(so_far, x) : x;
#ifdef CLAN_EXCLUSIVE
        CLAN_PUT(out, k, begun && !head ? so_far : identity);
#else
        CLAN_PUT(out, k, whole);
#endif
        clan_add(&t, x, head);
        so_far = whole;
        begun = true;
      }
    }
    carry = has && !t.cut ? clan_push(carry, t.total) : clan_first(t.total);
    has = true;
  }
}
#else
// Columns of strip `chain`, from `at` on in its first row; `cols` of them, which is CLAN_COLS for all but the last.
static inline clan_ix clan_strip(const clan_ix chain, const clan_ix len, const clan_ix inner, const clan_ix strips,
                                 uint* cols) {
  const clan_ix first = chain % strips * CLAN_COLS;
  *cols = (uint)min((clan_ix)CLAN_COLS, inner - first);
  return chain / strips * len * inner + first;
}

// A loop that compilers make vectors of: several cache lines of a row on their way at a time, which unrolled would
// be thousands of instructions.
#define CLAN_EACH_COLUMN CLAN_VECTORIZED for (uint c = 0; c < cols; c++)

// What `rows` rows from `at` on come to, into t.
static inline void clan_rows(clan_word* t, clan_ix at, const clan_ix rows, const clan_ix inner,
                             const uint cols CLAN_PARAMS) {
  CLAN_EACH_COLUMN t[c] = (clan_word)clan_at(at + c CLAN_ARGS);
  for (clan_ix r = 1; r < rows; r++) {
    at += inner;
    CLAN_EACH_COLUMN t[c] = clan_join(t[c], (clan_word)clan_at(at + c CLAN_ARGS));
  }
}

static inline void clan_strip_sums(__global clan_carry* sums, const clan_ix begin, const clan_ix from,
                                   const clan_ix to, const clan_ix inner, const uint cols CLAN_PARAMS) {
  clan_carry carry[CLAN_COLS];
  for (clan_ix r = from; r < to; r += CLAN_TILE) {
    clan_word t[CLAN_COLS];
    clan_rows(t, begin + r * inner, min(to - r, (clan_ix)CLAN_TILE), inner, cols CLAN_ARGS);
    CLAN_EACH_COLUMN carry[c] = r > from ? clan_push(carry[c], t[c]) : clan_first(t[c]);
  }
  CLAN_EACH_COLUMN sums[c] = carry[c];
}

// Group g has span g / chains of strip g % chains: tiles from `each * span` on.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scan_sums(__global clan_carry* sums, __global uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains,
               const clan_ix tiles, const clan_ix each CLAN_PARAMS) {
  const clan_ix span = get_group_id(0) / chains;
  uint cols;
  const clan_ix begin = clan_strip(get_group_id(0) % chains, len, inner, strips, &cols);
  const clan_ix from = span * each * CLAN_TILE, to = min(len, (span + 1) * each * CLAN_TILE);
  __global clan_carry* const own = sums + get_group_id(0) * CLAN_COLS;
  clan_strip_sums(own, begin, from, to, inner, cols CLAN_ARGS);
}

static inline void clan_strip_spans(__global clan_out_t* restrict out, __global const clan_carry* sums,
                                    const clan_ix before, const clan_ix apart, const clan_ix begin,
                                    const clan_ix from, const clan_ix to, const clan_ix inner,
                                    const clan_word identity, const uint cols CLAN_PARAMS) {
  clan_carry carry[CLAN_COLS];
  CLAN_EACH_COLUMN carry[c] = before > 0 ? sums[c] : clan_first(identity);
  for (clan_ix s = 1; s < before; s++) {
    CLAN_EACH_COLUMN carry[c] = clan_merge(carry[c], sums[s * apart + c]);
  }
  for (clan_ix tile = from; tile < to; tile += CLAN_TILE) {
    // Only the first tile of all has nothing before it.
    const bool has = before > 0 || tile > from;
    const clan_ix end = min(to, tile + CLAN_TILE);
    clan_word t[CLAN_COLS], so_far[CLAN_COLS];
    CLAN_EACH_COLUMN so_far[c] = clan_whole(carry[c]);
    clan_ix at = begin + tile * inner;
    CLAN_EACH_COLUMN {
      t[c] = (clan_word)clan_at(at + c CLAN_ARGS);
#ifdef CLAN_EXCLUSIVE
      CLAN_PUT(out, at + c, has ? so_far[c] : identity);
#else
      CLAN_PUT(out, at + c, has ? clan_join(so_far[c], t[c]) : t[c]);
#endif
    }
    for (clan_ix r = tile + 1; r < end; r++) {
      at += inner;
      CLAN_EACH_COLUMN {
        const clan_word x = (clan_word)clan_at(at + c CLAN_ARGS);
#ifdef CLAN_EXCLUSIVE
        CLAN_PUT(out, at + c, has ? clan_join(so_far[c], t[c]) : t[c]);
        t[c] = clan_join(t[c], x);
#else
        t[c] = clan_join(t[c], x);
        CLAN_PUT(out, at + c, has ? clan_join(so_far[c], t[c]) : t[c]);
#endif
      }
    }
    CLAN_EACH_COLUMN carry[c] = has ? clan_push(carry[c], t[c]) : clan_first(t[c]);
  }
}

// The same tiles of a strip.
static inline void clan_span(__global clan_out_t* restrict out, __global const clan_carry* sums,
                             __global const uchar* cuts, const clan_ix chain, const clan_ix span, CLAN_SIZE_PARAMS,
                             const clan_ix chains, const clan_ix tiles, const clan_ix each,
                             const clan_word identity CLAN_PARAMS) {
  uint cols;
  const clan_ix begin = clan_strip(chain, len, inner, strips, &cols), apart = chains * CLAN_COLS;
  const clan_ix from = span * each * CLAN_TILE, to = min(len, (span + 1) * each * CLAN_TILE);
  __global const clan_carry* const before = sums + chain * CLAN_COLS;
  clan_strip_spans(out, before, span, apart, begin, from, to, inner, identity, cols CLAN_ARGS);
}
#endif

// Group g has span g / parts of chains from `rows * (g % parts)` on, where there are `parts` times `rows` chains
// or fewer.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scan_spans(__global clan_out_t* restrict out, __global const clan_carry* sums,
                __global const uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains, const clan_ix tiles,
                const clan_ix each, const clan_word identity, const clan_ix rows CLAN_PARAMS) {
  const clan_ix parts = (chains + rows - 1) / rows;
  const clan_ix span = get_group_id(0) / parts, first = get_group_id(0) % parts * rows;
  for (clan_ix chain = first; chain < min(chains, first + rows); chain++) {
    clan_span(out, sums, cuts, chain, span, CLAN_SIZES, chains, tiles, each, identity CLAN_ARGS);
  }
}
