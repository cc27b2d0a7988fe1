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

// Result element i is input element BASE(i) + key * step, where index i names `key` of an axis of
// `len` elements. This launch does elements `first` to `n`, 2^31 at most.
#if CLAN_VEC > 1
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void gather(__global clan_word* restrict out, __global const clan_word* restrict in, const clan_ix first,
            const clan_ix n, const clan_key len, const clan_off step, volatile __global uint* note,
            const uint slot CLAN_BASE_PARAMS CLAN_PARAMS) {
  const clan_ix begin =
      first + ((clan_ix)get_group_id(0) * (CLAN_GROUP * CLAN_UNROLL) + get_local_id(0)) * CLAN_VEC;
  const clan_ix stride = CLAN_GROUP * CLAN_VEC;
  bool inside = true;
  if (begin + (CLAN_UNROLL - 1) * stride + CLAN_VEC <= n) {
    clan_t v[CLAN_UNROLL][CLAN_VEC];
    clan_word w[CLAN_UNROLL][CLAN_VEC];
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) clan_vec(begin + u * stride, v[u] CLAN_ARGS);
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
    for (int u = 0; u < CLAN_UNROLL; u++) CLAN_STORE(out, begin + u * stride, w[u]);
  } else {
    for (int u = 0; u < CLAN_UNROLL; u++) {
      const clan_ix from = begin + u * stride;
      for (clan_ix i = from; i < n && i < from + CLAN_VEC; i++) {
        const clan_key key = clan_key_of(clan_at(i CLAN_ARGS), len);
        inside = inside && key < len;
        out[i] = in[CLAN_BASE_AT(i) + (clan_off)(key < len ? key : 0) * step];
      }
    }
  }
  if (inside) return;
  for (int u = 0; u < CLAN_UNROLL; u++) {
    const clan_ix from = begin + u * stride;
    for (clan_ix i = from; i < n && i < from + CLAN_VEC; i++) {
      if (clan_key_of(clan_at(i CLAN_ARGS), len) >= len) {
        CLAN_NOTE(first, (uint)(i - first));
        return;
      }
    }
  }
}
#else
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void gather(__global clan_word* restrict out, __global const clan_word* restrict in, const clan_ix first,
            const clan_ix n, const clan_key len, const clan_off step, volatile __global uint* note,
            const uint slot CLAN_BASE_PARAMS CLAN_PARAMS) {
  const clan_ix begin = first + (clan_ix)get_group_id(0) * (CLAN_GROUP * CLAN_UNROLL) + get_local_id(0);
  bool inside = true;
  if (begin + (CLAN_UNROLL - 1) * CLAN_GROUP < n) {
    clan_key key[CLAN_UNROLL];
    clan_word w[CLAN_UNROLL];
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) key[u] = clan_key_of(clan_at(begin + u * CLAN_GROUP CLAN_ARGS), len);
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) {
      inside = inside && key[u] < len;
      w[u] = in[CLAN_BASE_AT(begin + u * CLAN_GROUP) + (clan_off)(key[u] < len ? key[u] : 0) * step];
    }
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) out[begin + u * CLAN_GROUP] = w[u];
  } else {
    for (clan_ix i = begin; i < n; i += CLAN_GROUP) {
      const clan_key key = clan_key_of(clan_at(i CLAN_ARGS), len);
      inside = inside && key < len;
      out[i] = in[CLAN_BASE_AT(i) + (clan_off)(key < len ? key : 0) * step];
    }
  }
  if (inside) return;
  for (clan_ix i = begin, u = 0; u < CLAN_UNROLL && i < n; i += CLAN_GROUP, u++) {
    if (clan_key_of(clan_at(i CLAN_ARGS), len) >= len) {
      CLAN_NOTE(first, (uint)(i - first));
      return;
    }
  }
}
#endif
