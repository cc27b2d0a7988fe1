// scan_lanes: `scan_sums` and `scan_spans` of rows for a CPU, whose groups are one work-item. Comes after `scan.cl`.
//
// One element after the other would wait for the sum before it every time. So CLAN_LANES neighbours are joined by
// themselves first, which several processors' pipes do for several such runs at a time, and only their totals one
// after the other.
//
// private: a run, and what came before it; global: input and output; local and constant: not used.

// Unrolled, so that a run is in registers.
#define CLAN_EACH_LANE(from) _Pragma("unroll") for (int c = from; c < CLAN_LANES; c++)

// A run from `at` on: what its elements come to, each with those before it.
static inline void clan_run(clan_word* v, const clan_ix at CLAN_PARAMS) {
  v[0] = (clan_word)clan_at(at CLAN_ARGS);
  CLAN_EACH_LANE(1) v[c] = clan_join(v[c - 1], (clan_word)clan_at(at + c CLAN_ARGS));
}

// Group g has span g / chains of row g % chains: tiles from `each * span` on. `sums` has the total of every
// span, but for tiles that are not whole: nothing comes after them.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scan_sums(__global clan_carry* sums, __global uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains,
               const clan_ix tiles, const clan_ix each CLAN_PARAMS) {
  const clan_ix span = get_group_id(0) / chains, row = get_group_id(0) % chains;
  clan_carry carry = clan_first(0);
  bool has = false;
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    if ((tile + 1) * CLAN_TILE > len) break;
    const clan_ix from = row * len + tile * CLAN_TILE;
    clan_word v[CLAN_LANES];
    clan_run(v, from CLAN_ARGS);
    clan_word total = v[CLAN_LANES - 1];
    for (clan_ix r = CLAN_LANES; r < CLAN_TILE; r += CLAN_LANES) {
      clan_run(v, from + r CLAN_ARGS);
      total = clan_join(total, v[CLAN_LANES - 1]);
    }
    carry = has ? clan_push(carry, total) : clan_first(total);
    has = true;
  }
  sums[get_group_id(0)] = carry;
}

// Tiles of one row, from `each * span` on.
static inline void clan_span(__global clan_out_t* restrict out, __global const clan_carry* sums,
                             const clan_ix row, const clan_ix span, CLAN_SIZE_PARAMS, const clan_ix chains,
                             const clan_ix tiles, const clan_ix each, const clan_word identity CLAN_PARAMS) {
  clan_carry carry = clan_first(identity);
  bool has = false;
  for (clan_ix s = 0; s < span; s++) {
    const clan_carry a = sums[s * chains + row];
    carry = has ? clan_merge(carry, a) : a;
    has = true;
  }
  const clan_ix begin = row * len;
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    const clan_ix from = begin + tile * CLAN_TILE, to = min(begin + len, from + CLAN_TILE);
    // Everything before a run, from the tile's beginning as one sum; what the tile alone comes to.
    clan_word so_far = clan_whole(carry), total = 0;
    bool begun = has;
    clan_ix i = from;
    for (; i + CLAN_LANES <= to; i += CLAN_LANES) {
      clan_word v[CLAN_LANES];
      clan_run(v, i CLAN_ARGS);
      total = i > from ? clan_join(total, v[CLAN_LANES - 1]) : v[CLAN_LANES - 1];
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
    }
    for (; i < to; i++) {
      const clan_word x = (clan_word)clan_at(i CLAN_ARGS);
      const clan_word whole = begun ? clan_join(so_far, x) : x;
#ifdef CLAN_EXCLUSIVE
      CLAN_PUT(out, i, begun ? so_far : identity);
#else
      CLAN_PUT(out, i, whole);
#endif
      so_far = whole;
      begun = true;
    }
    carry = has ? clan_push(carry, total) : clan_first(total);
    has = true;
  }
}

// Group g has span g / parts of rows from `rows * (g % parts)` on, where there are `parts` times `rows` rows or
// fewer.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scan_spans(__global clan_out_t* restrict out, __global const clan_carry* sums,
                __global const uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains, const clan_ix tiles,
                const clan_ix each, const clan_word identity, const clan_ix rows CLAN_PARAMS) {
  const clan_ix parts = (chains + rows - 1) / rows;
  const clan_ix span = get_group_id(0) / parts, first = get_group_id(0) % parts * rows;
  for (clan_ix row = first; row < min(chains, first + rows); row++) {
    clan_span(out, sums, row, span, CLAN_SIZES, chains, tiles, each, identity CLAN_ARGS);
  }
}
