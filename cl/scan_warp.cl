// scan_warp: the first 32 work-items of a group look back, over blocks of 32 tiles. Comes after `warp.cl` and
// `scan_mail.cl`. For NVIDIA, along rows.
//
// A tile posts its total. The last tile of a block posts the block's total when it has those of the other tiles,
// and the carry after the block when it has the carry before. So a tile needs the totals of the tiles before it in
// its block, joined as a tree of one form, and the carry before its block, to which blocks are joined from left to
// right: what comes late delays all tiles in flight by three letters, however many they are.
//
// While a group waits, the tile that comes `ahead` of its own is fetched into the cache.
//
// private: a letter a work-item; local: the carry; global: the mail; constant: not used.
#define CLAN_BLOCK 32
#define CLAN_NONE (~(clan_ix)0)

// What the first 32 tell the others: the carry, or the tile whose total is missing.
typedef struct { clan_carry carry; clan_ix missing; } clan_desk;

// The mail: totals of tiles; of blocks; carries before blocks; and the launch's number.
typedef struct { clan_letter *totals, *blocks, *carries; clan_ix tiles, apart; uint launch; } clan_mail;

// The 32 totals of a block's tiles, joined up to each. Gives which are missing, of which nothing is joined.
static inline uint clan_take_block(const clan_mail mail, const clan_ix block, const uint count, clan_word* v, uint* cut) {
  const uint lane = get_local_id(0);
  uint tag = CLAN_TAG(mail.launch, *cut);
  if (lane < count) tag = clan_take_word(mail.totals + block * CLAN_BLOCK + lane, mail.tiles, v);
  const uint missing = clan_who(CLAN_NUMBER(tag) != mail.launch);
  if (missing) return missing;
  *cut = CLAN_HEAD(tag);
  clan_join_warp(v, cut, true);
  return 0;
}

static inline clan_carry clan_carry_from(const clan_carry a, const uint lane) {
#ifdef CLAN_PAIR
  const clan_carry b = {clan_word_from(a.s, lane), clan_word_from(a.c, lane)};
#else
  const clan_carry b = {clan_word_from(a.s, lane)};
#endif
  return b;
}

// The carry before a block that is not the first. Gives false where a tile is missing, after `spins` polls.
static inline bool clan_before_block(const clan_mail mail, const clan_ix block, const uint spins, clan_carry* carry,
                                     clan_ix* missing, volatile __global uint* late) {
  const uint lane = get_local_id(0);
  // Work-item k looks at the k-th block before `top`, and at the carry after it.
  clan_ix top = block;
  uint left = spins;
  while (true) {
    clan_word total = 0;
    clan_carry after = clan_first(0);
    bool come = false, known = false;
    if (lane < top) {
      const uint tag = clan_take_word(mail.blocks + (top - 1 - lane), mail.apart, &total);
      come = CLAN_NUMBER(tag) == mail.launch;
      known = clan_take_carry(mail.carries + (top - lane), mail.apart, &after, mail.launch);
      if (!known && come && CLAN_HEAD(tag)) {
        known = true;
        after = clan_first(total);
      }
    }
    const uint who = clan_who(known);
    // The nearest that is known: blocks after it are needed.
    const uint near = clan_first_of(who);
    const uint lacking = clan_who(!come) & (near < CLAN_BLOCK ? (1u << near) - 1 : ~0u);
    if (lacking == 0 && who) {
      clan_carry a = clan_carry_from(after, near);
      // Few as a rule: unrolled it would take registers from all.
#pragma unroll 1
      for (uint k = near; k > 0; k--) a = clan_push(a, clan_word_from(total, k - 1));
      if (top == block) {
        *carry = a;
        return true;
      }
      if (lane == 0) clan_post_carry(mail.carries + top, mail.apart, a, mail.launch);
      top = min(block, top + CLAN_BLOCK - 1);
      left = spins;
    } else if (left > 0) {
      left--;
    } else if (lacking == 0) {
      top -= CLAN_BLOCK;
      left = spins;
    } else {
      const clan_ix other = top - 1 - clan_first_of(lacking);
      clan_word v = 0;
      uint cut = 0;
      const uint which = clan_take_block(mail, other, CLAN_BLOCK, &v, &cut);
      if (which) {
        *missing = other * CLAN_BLOCK + clan_first_of(which);
        return false;
      }
      if (lane == CLAN_BLOCK - 1) clan_post_word(mail.blocks + other, mail.apart, v, CLAN_TAG(mail.launch, cut));
      if (lane == 0) atomic_inc(late);
      left = spins;
    }
  }
}

// The first 32 look for the carry before `tile`, which is not the first.
static inline void clan_look_back(const clan_mail mail, const clan_ix tile, const clan_joined_t j, const uint spins,
                                  __local clan_desk* desk, volatile __global uint* late) {
  const uint lane = get_local_id(0), place = tile % CLAN_BLOCK;
  const clan_ix block = tile / CLAN_BLOCK;
  // Those of the tiles before, then the own one; what comes after is not used.
  clan_word v;
  uint cut, which;
  for (uint left = spins;; left--) {
    v = j.total;
    cut = j.cut;
    which = clan_take_block(mail, block, place, &v, &cut);
    if (which == 0 || left == 0) break;
  }
  clan_carry carry = clan_first(0);
  clan_ix missing = which ? block * CLAN_BLOCK + clan_first_of(which) : CLAN_NONE;
  if (which == 0) {
    const bool posts = place == CLAN_BLOCK - 1 && CLAN_POSTS(tile);
    const clan_word whole = clan_word_from(v, CLAN_BLOCK - 1), own = clan_word_from(v, (place - 1) % 32);
    const uint whole_cut = clan_from(cut, CLAN_BLOCK - 1), own_cut = place > 0 ? clan_from(cut, place - 1) : 0;
    if (posts && lane == 0) {
      clan_post_word(mail.blocks + block, mail.apart, whole, CLAN_TAG(mail.launch, whole_cut));
      if (whole_cut) clan_post_carry(mail.carries + block + 1, mail.apart, clan_first(whole), mail.launch);
    }
    if (own_cut) {
      carry = clan_first(own);
    } else if (clan_before_block(mail, block, spins, &carry, &missing, late)) {
      if (posts && !whole_cut && lane == 0) {
        clan_post_carry(mail.carries + block + 1, mail.apart, clan_push(carry, whole), mail.launch);
      }
      if (place > 0) carry = clan_push(carry, own);
    }
  }
  if (lane == 0) {
    desk->carry = carry;
    desk->missing = missing;
  }
}

// `letters`: nothing, the number of tiles made for others, then the mail, in which nobody wrote `launch` before.
// The group's size is not required: a limit of registers would not count.
__kernel void scan(__global clan_out_t* restrict out, clan_letter* letters, CLAN_SIZE_PARAMS, const clan_ix chains,
                   const clan_ix tiles, const uint spins, const clan_word identity, const uint launch, const clan_ix ahead
          CLAN_PARAMS) {
  __local clan_word buffer[CLAN_BUFFER] CLAN_ALIGNED;
  __local clan_word word[CLAN_WORDS_OF_GROUP];
  __local uchar cut[CLAN_CUTS];
  __local clan_desk desk;
  const uint me = get_local_id(0);
  volatile __global uint* const late = (volatile __global uint*)(letters + 1);
  // Groups start in their order. If they did not, they would make what they lack.
  const clan_ix tile = get_group_id(0);
  clan_mail mail;
  mail.launch = launch;
  mail.tiles = tiles;
  mail.apart = tiles / CLAN_BLOCK + 1;
  mail.totals = letters + 2;
  mail.blocks = mail.totals + CLAN_HALVES * tiles;
  mail.carries = mail.blocks + CLAN_HALVES * mail.apart;
  clan_mine m;
  m.part = clan_find(tile, 0, n, len, inner, strips);
  clan_joined_t j = clan_load(&m, tile, n, len, flags, flags_at, buffer, word, cut CLAN_ARGS);
  j.cut |= tile == 0;
  if (me == 0 && tile + 1 < tiles && CLAN_POSTS(tile)) {
    clan_post_word(mail.totals + tile, tiles, j.total, CLAN_TAG(launch, j.cut));
  }
#ifdef CLAN_LINE
  if (ahead > 0 && tile + ahead < n / CLAN_TILE) {
    for (uint i = me * CLAN_LINE; i < CLAN_TILE; i += CLAN_GROUP * CLAN_LINE) {
      clan_fetch((tile + ahead) * CLAN_TILE + i CLAN_ARGS);
    }
  }
#endif
  clan_carry carry = clan_first(identity);
  while (tile > 0) {
    if (me < 32) clan_look_back(mail, tile, j, spins, &desk, late);
    barrier(CLK_LOCAL_MEM_FENCE);
    const clan_ix other = desk.missing;
    carry = desk.carry;
    if (other == CLAN_NONE) break;
    const clan_joined_t o = clan_help(other, 0, CLAN_SIZES, late, word, cut CLAN_ARGS);
    if (me == 0) clan_post_word(mail.totals + other, tiles, o.total, CLAN_TAG(launch, o.cut));
    // Before the others are told of the next.
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  clan_store(out, &m, j, tile, n, tile > 0, carry, identity, buffer);
}
