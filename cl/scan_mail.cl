// scan_mail: the carry goes from group to group by mail (decoupled look-back: Merrill and Garland,
// "Single-pass Parallel Prefix Scan with Decoupled Look-back", 2016). Comes after `scan.cl`.
//
// A group posts its tile's total, then joins the totals since the nearest tile after which the carry is known.
// The launch's number in every word says that it has come, so words need no order among each other, and what
// other launches left there does not matter. After `spins` polls a group makes what is missing itself: nobody
// need be waited for.
//
// Every carry is made in one order, so that there is one value for it, whoever makes it and when: results are
// the same in every run.
//
// `scan_group.cl` and `scan_warp.cl` have the ways to look back; this file the letters.
//
// private: a letter; local: what a late tile is joined by; global: the mail; constant: not used.
#ifndef CLAN_POSTS
#define CLAN_POSTS(tile) true // which tiles' groups post anything: all, but in a test
#endif
typedef volatile __global ulong clan_letter;
// What comes with a word: the launch's number, which is not 0, and whether a segment starts in what the total is of.
#define CLAN_TAG(number, head) ((number) << 1 | (uint)(head))
#define CLAN_NUMBER(tag) ((tag) >> 1)
#define CLAN_HEAD(tag) ((tag) & 1u)

// The halves of a word lie `apart`.
static inline void clan_post_word(clan_letter* to, const clan_ix apart, const clan_word x, const uint tag) {
  const ulong bits = CLAN_BITS(x), high = (ulong)tag << 32;
  to[0] = high | (bits & 0xfffffffful);
#if CLAN_HALVES == 2
  to[apart] = high | bits >> 32;
#endif
}

// Gives the tag; 0 of a word of which only half has come.
static inline uint clan_take_word(clan_letter* from, const clan_ix apart, clan_word* x) {
  const ulong low = from[0];
#if CLAN_HALVES == 2
  const ulong high = from[apart];
  *x = CLAN_OF_BITS((low & 0xfffffffful) | high << 32);
  return low >> 32 == high >> 32 ? (uint)(low >> 32) : 0;
#else
  *x = CLAN_OF_BITS(low & 0xfffffffful);
  return (uint)(low >> 32);
#endif
}

static inline void clan_post_carry(clan_letter* to, const clan_ix apart, const clan_carry a, const uint number) {
  clan_post_word(to, apart, a.s, CLAN_TAG(number, 0));
#ifdef CLAN_PAIR
  clan_post_word(to + CLAN_HALVES * apart, apart, a.c, CLAN_TAG(number, 0));
#endif
}

// Whether it has come.
static inline bool clan_take_carry(clan_letter* from, const clan_ix apart, clan_carry* a, const uint number) {
  bool come = CLAN_NUMBER(clan_take_word(from, apart, &a->s)) == number;
#ifdef CLAN_PAIR
  come &= CLAN_NUMBER(clan_take_word(from + CLAN_HALVES * apart, apart, &a->c)) == number;
#endif
  return come;
}

// The total of a tile that nobody posted; for the first there is nothing before.
static inline clan_joined_t clan_help(const clan_ix tile, const clan_ix chain, CLAN_SIZE_PARAMS,
                                      volatile __global uint* late, __local clan_word* word,
                                      __local uchar* cut CLAN_PARAMS) {
  const clan_part part = clan_find(tile, chain, n, len, inner, strips);
  const uint heads = clan_heads(part, flags, flags_at, len);
  clan_joined_t j = clan_join_group(clan_fold(part, heads CLAN_ARGS), heads != 0, word, cut);
  j.cut |= tile == 0;
  if (get_local_id(0) == 0) atomic_inc(late);
  return j;
}
