// gather: elements that indices name.
//
// private: CLAN_UNROLL x CLAN_VEC indices and as many elements a work-item, all indices loaded before
// the first element and all elements before the first is stored, because what such a kernel waits
// for is the latency of reads that share no lines; global: indices and result, coalesced and in
// vectors, and the elements, anywhere; local, constant: not used, nothing is known to be read twice.
//
// Elements are moved as unsigned integers of their size, rows as integers of up to 16 bytes. What the
// generated input (see src/opencl/codegen.rs) and cl/index.cl define comes before this file; without
// them it compiles as a gather of words by `uint`.
#ifndef CLAN_PARAMS
typedef uint clan_t;
typedef uint clan_key;
typedef uint clan_word;
#define CLAN_VEC 1
#define CLAN_PARAMS , __global const uint* restrict a0
#define CLAN_ARGS , a0
static inline uint clan_at(const clan_ix i CLAN_PARAMS) { return a0[i]; }
static inline clan_key clan_key_of(const clan_t v, const clan_key len) { return v; }
#define CLAN_NOTE(first, at) (note[0] = (at))
#define CLAN_BASE_PARAMS , const clan_off oo
#define CLAN_BASE_AT(i) oo
#endif

#ifdef CLAN_ROW
// Indices that name whole rows of CLAN_ROW neighbours, by lone work-items of a CPU, in one launch from element 0.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void gather(__global clan_word* restrict out, __global const clan_word* restrict in, const clan_ix first,
            const clan_ix n, const clan_key len, const clan_off step, volatile __global uint* note,
            const uint slot CLAN_BASE_PARAMS CLAN_PARAMS) {
  const clan_ix rows = n / CLAN_ROW;
  const clan_ix each = (rows + get_num_groups(0) - 1) / get_num_groups(0);
  const clan_ix begin = get_group_id(0) * each;
  const clan_ix end = min(rows, begin + each);
  uint outside = 0xffffffffu;
  for (clan_ix row = begin; row < end; row++) {
    const clan_key key = clan_key_of(clan_row_at(row, 0 CLAN_ARGS), len);
    const clan_off from = CLAN_BASE_ROW_AT(row, 0) + (clan_off)(key < len ? key : 0) * step;
    CLAN_VECTORIZED for (clan_ix j = 0; j < CLAN_ROW; j++) out[row * CLAN_ROW + j] = in[from + j];
    if (key >= len) outside = min(outside, (uint)(row * CLAN_ROW));
  }
  if (outside != 0xffffffffu) CLAN_NOTE(first, outside);
}
#else
// Result element i is input element BASE(i) + key * step, where index i names `key` of an axis of
// `len` elements. This launch does elements `first` to `n`, 2^31 at most.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void gather(__global clan_word* restrict out, __global const clan_word* restrict in, const clan_ix first,
            const clan_ix n, const clan_key len, const clan_off step, volatile __global uint* note,
            const uint slot CLAN_BASE_PARAMS CLAN_PARAMS) {
  const clan_ix stride = CLAN_GROUP * CLAN_VEC;
  const clan_ix start = first + (clan_ix)get_group_id(0) * (stride * CLAN_UNROLL);
  const clan_ix begin = start + get_local_id(0) * CLAN_VEC;
  const bool whole = start + stride * CLAN_UNROLL <= n;
  bool inside = true;
  if (whole) {
    clan_t v[CLAN_UNROLL][CLAN_VEC];
    clan_word w[CLAN_UNROLL][CLAN_VEC];
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) {
#if CLAN_VEC > 1
      clan_vec(begin + u * stride, v[u] CLAN_ARGS);
#else
      v[u][0] = clan_at(begin + u * stride CLAN_ARGS);
#endif
    }
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) {
#pragma unroll
      for (int k = 0; k < CLAN_VEC; k++) {
        const clan_key key = clan_key_of(v[u][k], len);
        inside = inside && key < len;
        w[u][k] = in[CLAN_BASE_AT(begin + u * stride + k) + (clan_off)(key < len ? key : 0) * step];
      }
    }
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) {
#if CLAN_VEC > 1
      CLAN_STORE(out, begin + u * stride, w[u]);
#else
      out[begin + u * stride] = w[u][0];
#endif
    }
  }
  // The last ones, or the search for the first index outside.
  if (!whole || !inside) {
    uint outside = 0xffffffffu;
    for (uint r = 0; r < CLAN_UNROLL * CLAN_VEC; r++) {
      const clan_ix i = begin + r / CLAN_VEC * stride + r % CLAN_VEC;
      if (i < n) {
        const clan_key key = clan_key_of(clan_at(i CLAN_ARGS), len);
        if (!whole) out[i] = in[CLAN_BASE_AT(i) + (clan_off)(key < len ? key : 0) * step];
        if (key >= len) outside = min(outside, (uint)(i - first));
      }
    }
    if (outside != 0xffffffffu) CLAN_NOTE(first, outside);
  }
}
#endif
