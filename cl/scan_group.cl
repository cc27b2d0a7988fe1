// scan_group: a group looks back over its window of tiles together, with barriers. Comes after `scan_mail.cl`.
//
// A tile has slot A for its total and slot P for the carry after it, where that is known. Carries are made from
// left to right.
//
// private: what a work-item looks at; local: the letters of a window of tiles; global: the mail; constant:
// not used.
#ifndef CLAN_DEPTH
#define CLAN_DEPTH 1 // tiles that a work-item looks at when it looks back down columns
#endif
#define CLAN_LAUNCH 1u // the memory is of this launch alone
#define CLAN_SLOT_P CLAN_HALVES

// Posts a tile's total: as its carry, where nothing before it matters.
static inline void clan_post_total(clan_letter* box, const clan_ix apart, const clan_word total,
                                   const bool alone) {
  if (alone) clan_post_carry(box + CLAN_SLOT_P * apart, apart, clan_first(total), CLAN_LAUNCH);
  else clan_post_word(box, apart, total, CLAN_TAG(CLAN_LAUNCH, 0));
}

// Totals that are fetched at a time: everybody waits for their sum.
#define CLAN_AT_ONCE 8

// Tiles that a group looks back over at a time. Letters that nobody needs keep others from their ways.
#define CLAN_WINDOW (CLAN_DOWN * CLAN_DEPTH < 128 ? CLAN_DOWN * CLAN_DEPTH : 128)

// What a group has seen of a window, for each of its columns.
typedef struct {
  clan_word seen[CLAN_WINDOW * CLAN_COLS];
  clan_carry known[CLAN_COLS];
  uint near_p[CLAN_COLS], near_none[CLAN_COLS], waiting;
} clan_desk;

// The carry before `tile`, which is not the first.
static inline clan_carry clan_look_back(clan_letter* boxes, const clan_ix apart, const clan_ix tile, const bool last_tile,
                                        const clan_word total, const bool alone, const uint spins,
                                        const clan_ix chain, CLAN_SIZE_PARAMS, volatile __global uint* late,
                                        __local clan_desk* desk, __local clan_word* word,
                                        __local uchar* cut CLAN_PARAMS) {
  const uint me = get_local_id(0), column = me % CLAN_COLS, y = me / CLAN_COLS;
  clan_ix base = tile;
  uint left = spins;
  // Tiles of the window, after which `known` is the carry; while that is not known, more than all.
  uint reach = CLAN_WINDOW + 1;
  while (true) {
    // Who is near: the nearest carry, and the nearest tile of which nothing has come.
    barrier(CLK_LOCAL_MEM_FENCE);
    if (y == 0) {
      desk->near_p[column] = reach;
      desk->near_none[column] = CLAN_WINDOW;
    }
    if (me == 0) desk->waiting = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    clan_carry nearest = clan_first(0);
    uint nearest_at = CLAN_WINDOW;
CLAN_UNROLLED
    for (uint k = 0; k < CLAN_DEPTH; k++) {
      const uint depth = k * CLAN_DOWN + y;
      if (depth < base && depth < reach && depth < CLAN_WINDOW) {
        clan_letter* const box = boxes + (base - 1 - depth) * CLAN_COLS;
        clan_carry p;
        clan_word a;
        const bool has_p = clan_take_carry(box + CLAN_SLOT_P * apart, apart, &p, CLAN_LAUNCH);
        const bool has_a = clan_take_word(box, apart, &a) != 0;
        if (has_p && depth < nearest_at) {
          nearest = p;
          nearest_at = depth;
        }
        if (!has_p && !has_a) atomic_min(&desk->near_none[column], depth);
        desk->seen[depth * CLAN_COLS + column] = a;
      }
    }
    if (nearest_at < CLAN_WINDOW) atomic_min(&desk->near_p[column], nearest_at);
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint p = desk->near_p[column], none = desk->near_none[column];
    // Columns beyond the end are computed like the others, and have letters too.
    if (p > none) desk->waiting = 1;
    if (p == nearest_at && p < CLAN_WINDOW) desk->known[column] = nearest;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (!desk->waiting) {
      if (y == 0) {
        clan_carry a = desk->known[column];
        // Everybody waits for this: totals are fetched some at a time.
        uint d = p;
        for (; d >= CLAN_AT_ONCE; d -= CLAN_AT_ONCE) {
          clan_word x[CLAN_AT_ONCE];
CLAN_UNROLLED
          for (uint k = 0; k < CLAN_AT_ONCE; k++) x[k] = desk->seen[(d - 1 - k) * CLAN_COLS + column];
CLAN_UNROLLED
          for (uint k = 0; k < CLAN_AT_ONCE; k++) a = clan_push(a, x[k]);
        }
        for (; d > 0; d--) a = clan_push(a, desk->seen[(d - 1) * CLAN_COLS + column]);
        desk->known[column] = a;
        if (base < tile) clan_post_carry(boxes + CLAN_SLOT_P * apart + (base - 1) * CLAN_COLS, apart, a, CLAN_LAUNCH);
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
      if (me == 0) desk->waiting = CLAN_WINDOW;
      barrier(CLK_LOCAL_MEM_FENCE);
      if (p > none) atomic_min(&desk->waiting, none);
      barrier(CLK_LOCAL_MEM_FENCE);
      const uint depth = desk->waiting;
      if (depth < CLAN_WINDOW) {
        const clan_ix other = base - 1 - depth;
        const clan_joined_t j = clan_help(other, chain, CLAN_SIZES, late, word, cut CLAN_ARGS);
        if (y == 0) clan_post_total(boxes + other * CLAN_COLS, apart, j.total, j.cut);
        // PoCL 3.1 crashes in the kernel without this one, where columns help themselves.
        barrier(CLK_LOCAL_MEM_FENCE);
      } else {
        base -= CLAN_WINDOW;
        reach = CLAN_WINDOW + 1;
      }
      left = spins;
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const clan_carry carry = desk->known[column];
  if (y == 0 && !alone && !last_tile && CLAN_POSTS(tile)) {
    clan_post_carry(boxes + CLAN_SLOT_P * apart + tile * CLAN_COLS, apart, clan_push(carry, total), CLAN_LAUNCH);
  }
  return carry;
}

// `mail`: the number of groups that have started, the number of tiles made for others, then slots of
// `tiles * chains * CLAN_COLS` words. It was zero before.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void scan(__global clan_out_t* restrict out, clan_letter* mail, CLAN_SIZE_PARAMS, const clan_ix chains,
          const clan_ix tiles, const uint spins, const clan_word identity CLAN_PARAMS) {
  __local clan_word buffer[CLAN_BUFFER] CLAN_ALIGNED;
  __local clan_word word[CLAN_WORDS_OF_GROUP];
  __local uchar cut[CLAN_CUTS];
  __local clan_desk desk;
  __local uint ticket;
  const uint me = get_local_id(0), column = me % CLAN_COLS;
  // Tiles in the order in which groups start: those before have started.
  if (me == 0) ticket = atomic_inc((volatile __global uint*)mail);
  barrier(CLK_LOCAL_MEM_FENCE);
  const clan_ix tile = ticket / chains, chain = ticket % chains;
  const clan_ix apart = tiles * chains * CLAN_COLS;
  clan_letter* const boxes = mail + 2 + chain * tiles * CLAN_COLS + column;
  clan_mine m;
  m.part = clan_find(tile, chain, n, len, inner, strips);
  const clan_joined_t j = clan_load(&m, tile, n, len, flags, flags_at, buffer, word, cut CLAN_ARGS);
  const bool alone = tile == 0 || j.cut;
  const bool last_tile = tile + 1 == tiles;
  if (me < CLAN_COLS && !last_tile && CLAN_POSTS(tile)) clan_post_total(boxes + tile * CLAN_COLS, apart, j.total, alone);
  clan_carry carry = clan_first(identity);
  if (tile > 0) {
    carry = clan_look_back(boxes, apart, tile, last_tile, j.total, alone, spins, chain, CLAN_SIZES,
                           (volatile __global uint*)(mail + 1), &desk, word, cut CLAN_ARGS);
  }
  clan_store(out, &m, j, tile, n, tile > 0, carry, identity, buffer);
}
