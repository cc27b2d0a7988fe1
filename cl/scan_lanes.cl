// scan_lanes: `scan_sums` and `scan_spans` of one row for a CPU, whose groups are one work-item. Comes after `scan.cl`.
//
// One element after the other would wait for the sum before it every time. So a work-item follows CLAN_LANES runs
// side by side: first their totals, from which each run's beginning follows, then the elements, which are in the
// cache by then.
//
// private: what each run has come to; global: input and output; local and constant: not used.

// The tile's runs from `from` on: their totals.
static inline void clan_lane_totals(clan_word* total, const clan_ix from CLAN_PARAMS) {
  for (uint l = 0; l < CLAN_LANES; l++) total[l] = (clan_word)clan_at(from + l * CLAN_EACH CLAN_ARGS);
  for (uint k = 1; k < CLAN_EACH; k++) {
    for (uint l = 0; l < CLAN_LANES; l++) {
      total[l] = clan_join(total[l], (clan_word)clan_at(from + l * CLAN_EACH + k CLAN_ARGS));
    }
  }
}

// The carry after a tile, from the totals of its runs and, if it has one, the carry before it.
static inline clan_carry clan_lane_carry(clan_carry carry, const bool has, const clan_word* total) {
  clan_word all = total[0];
  for (uint l = 1; l < CLAN_LANES; l++) all = clan_join(all, total[l]);
  return has ? clan_push(carry, all) : clan_first(all);
}

// Span g: tiles from `each * g` on. `sums` has the total of every span; no segment starts in one.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scan_sums(__global clan_carry* sums, __global uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains,
               const clan_ix tiles, const clan_ix each CLAN_PARAMS) {
  const clan_ix span = get_group_id(0);
  clan_carry carry = clan_first(0);
  bool has = false;
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    const clan_ix from = tile * CLAN_TILE;
    if (from + CLAN_TILE > n) break;
    clan_word total[CLAN_LANES];
    clan_lane_totals(total, from CLAN_ARGS);
    carry = clan_lane_carry(carry, has, total);
    has = true;
  }
  sums[span] = carry;
  cuts[span] = 0;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void scan_spans(__global clan_out_t* restrict out, __global const clan_carry* sums,
                __global const uchar* cuts, CLAN_SIZE_PARAMS, const clan_ix chains, const clan_ix tiles,
                const clan_ix each, const clan_word identity CLAN_PARAMS) {
  const clan_ix span = get_group_id(0);
  clan_carry carry = clan_first(identity);
  bool has = false;
  for (clan_ix s = 0; s < span; s++) {
    const clan_carry a = sums[s];
    carry = has ? clan_merge(carry, a) : a;
    has = true;
  }
  for (clan_ix tile = span * each; tile < min(tiles, (span + 1) * each); tile++) {
    const clan_ix from = tile * CLAN_TILE;
    clan_word so_far[CLAN_LANES];
    uint lanes = CLAN_LANES, count = CLAN_EACH;
    clan_carry after = carry;
    if (from + CLAN_TILE <= n) {
      clan_word total[CLAN_LANES];
      clan_lane_totals(total, from CLAN_ARGS);
      clan_word before = total[0];
      // What comes before each run; before the first of all nothing does.
      for (uint l = 0; l < CLAN_LANES; l++) {
        so_far[l] = l == 0 ? clan_whole(carry) : has ? clan_after(carry, before) : before;
        before = l == 0 ? total[0] : clan_join(before, total[l]);
      }
      after = clan_lane_carry(carry, has, total);
    } else {
      // The last elements in one run.
      lanes = 1;
      count = (uint)(n - from);
      so_far[0] = clan_whole(carry);
    }
    uint k = 0;
    if (!has) {
      // The first element of all.
      for (uint l = 0; l < lanes; l++) {
        const clan_word x = (clan_word)clan_at(from + l * CLAN_EACH CLAN_ARGS);
        const clan_word whole = l == 0 ? x : clan_join(so_far[l], x);
#ifdef CLAN_EXCLUSIVE
        CLAN_PUT(out, from + l * CLAN_EACH, l == 0 ? identity : so_far[l]);
#else
        CLAN_PUT(out, from + l * CLAN_EACH, whole);
#endif
        so_far[l] = whole;
      }
      k = 1;
    }
    if (lanes == CLAN_LANES) {
      for (; k < CLAN_EACH; k++) {
        for (uint l = 0; l < CLAN_LANES; l++) {
          const clan_ix i = from + l * CLAN_EACH + k;
          const clan_word whole = clan_join(so_far[l], (clan_word)clan_at(i CLAN_ARGS));
#ifdef CLAN_EXCLUSIVE
          CLAN_PUT(out, i, so_far[l]);
#else
          CLAN_PUT(out, i, whole);
#endif
          so_far[l] = whole;
        }
      }
    } else {
      for (; k < count; k++) {
        const clan_word whole = clan_join(so_far[0], (clan_word)clan_at(from + k CLAN_ARGS));
#ifdef CLAN_EXCLUSIVE
        CLAN_PUT(out, from + k, so_far[0]);
#else
        CLAN_PUT(out, from + k, whole);
#endif
        so_far[0] = whole;
      }
    }
    carry = after;
    has = true;
  }
}
