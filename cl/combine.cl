// combine: out[i] = a[i] OP b[i], and the division that ends an average; for collectives.
//
// private: CLAN_VEC values of both operands a work-item, loaded as vectors where all three places are
// aligned; global: three streams, coalesced; local, constant: not used, no element is read twice.
//
// `out` may be `a` or `b` itself, element by element.
#ifndef CLAN_COMBINED
typedef float clan_t;
typedef float clan_out_t;
#define CLAN_LOAD(array, i) ((array)[i])
#define CLAN_PUT(out, i, v) ((out)[i] = (v))
#define CLAN_SHARE(v, n) ((v) / (n))
#define CLAN_VEC 1
static inline clan_t clan_combine(const clan_t a, const clan_t b) { return a + b; }
#endif

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void combine(__global clan_out_t* out, const clan_off oo, __global const clan_out_t* a, const clan_off oa,
             __global const clan_out_t* b, const clan_off ob, const clan_ix n) {
  const clan_ix i = ((clan_ix)get_group_id(0) * CLAN_GROUP + get_local_id(0)) * CLAN_VEC;
#if CLAN_VEC > 1
  if (i + CLAN_VEC <= n) {
    clan_t x[CLAN_VEC], y[CLAN_VEC];
    CLAN_LOADV(a, oa + (clan_off)i, x);
    CLAN_LOADV(b, ob + (clan_off)i, y);
#pragma unroll
    for (int k = 0; k < CLAN_VEC; k++) x[k] = clan_combine(x[k], y[k]);
    CLAN_PUTV(out, oo + (clan_off)i, x);
    return;
  }
#endif
  for (clan_ix k = i; k < n && k < i + CLAN_VEC; k++)
    CLAN_PUT(out, oo + (clan_off)k, clan_combine(CLAN_LOAD(a, oa + (clan_off)k), CLAN_LOAD(b, ob + (clan_off)k)));
}

// Divides every element by `count`, which is not 0.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void share(__global clan_out_t* out, const clan_off oo, const clan_ix n, const uint count) {
  const clan_ix i = (clan_ix)get_group_id(0) * CLAN_GROUP + get_local_id(0);
  if (i < n) {
    const clan_t v = CLAN_LOAD(out, oo + (clan_off)i);
    CLAN_PUT(out, oo + (clan_off)i, CLAN_SHARE(v, count));
  }
}
