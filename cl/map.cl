// map: a whole element-wise expression in one pass.
//
// private: CLAN_UNROLL x CLAN_VEC values a work-item, so that several 16-byte loads are in flight;
// global: the leaves, each read once, and the result, written once, both coalesced;
// local, constant: not used, no element is read twice.
//
// The generated input (see src/opencl/codegen.rs) comes before this file; without it the file
// compiles as a copy of floats.
#ifndef CLAN_PARAMS
typedef float clan_t;
typedef float clan_out_t;
#define CLAN_VEC 1
#define CLAN_PARAMS , __global const float* restrict a0
#define CLAN_ARGS , a0
static inline float clan_at(const clan_ix i CLAN_PARAMS) { return a0[i]; }
#define CLAN_PUT(out, i, v) ((out)[i] = (v))
#define CLAN_OUT_PARAMS
#define CLAN_OUT_AT(i) (i)
#endif

#if CLAN_VEC > 1
// Result and leaves are contiguous; a group covers CLAN_GROUP * CLAN_UNROLL vectors.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void map(__global clan_out_t* out, const clan_ix n CLAN_OUT_PARAMS CLAN_PARAMS) {
  const clan_ix first = ((clan_ix)get_group_id(0) * (CLAN_GROUP * CLAN_UNROLL) + get_local_id(0)) * CLAN_VEC;
  const clan_ix step = CLAN_GROUP * CLAN_VEC;
  if (first + (CLAN_UNROLL - 1) * step + CLAN_VEC <= n) {
    clan_t v[CLAN_UNROLL][CLAN_VEC];
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) clan_vec(first + u * step, v[u] CLAN_ARGS);
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) CLAN_PUTV(out, oo + first + u * step, v[u]);
    return;
  }
  for (int u = 0; u < CLAN_UNROLL; u++) {
    const clan_ix from = first + u * step;
    for (clan_ix i = from; i < n && i < from + CLAN_VEC; i++) CLAN_PUT(out, oo + i, clan_at(i CLAN_ARGS));
  }
}
#elif defined(CLAN_ROW)
// Lone work-items of a CPU: whole rows of CLAN_ROW elements, whose coordinates on other axes are found once a row.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void map(__global clan_out_t* out, const clan_ix n CLAN_OUT_PARAMS CLAN_PARAMS) {
  const clan_ix rows = n / CLAN_ROW;
  const clan_ix each = (rows + get_num_groups(0) - 1) / get_num_groups(0);
  const clan_ix first = get_group_id(0) * each;
  const clan_ix last = min(rows, first + each);
  for (clan_ix row = first; row < last; row++) {
    CLAN_VECTORIZED for (clan_ix j = 0; j < CLAN_ROW; j++) CLAN_PUT(out, CLAN_OUT_ROW_AT(row, j), clan_row_at(row, j CLAN_ARGS));
  }
}
#else
// Neighbouring work-items take neighbouring elements.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void map(__global clan_out_t* out, const clan_ix n CLAN_OUT_PARAMS CLAN_PARAMS) {
  const clan_ix first = (clan_ix)get_group_id(0) * (CLAN_GROUP * CLAN_UNROLL) + get_local_id(0);
  if (first + (CLAN_UNROLL - 1) * CLAN_GROUP < n) {
    clan_t v[CLAN_UNROLL];
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) v[u] = clan_at(first + u * CLAN_GROUP CLAN_ARGS);
#pragma unroll
    for (int u = 0; u < CLAN_UNROLL; u++) {
      const clan_ix i = first + u * CLAN_GROUP;
      CLAN_PUT(out, CLAN_OUT_AT(i), v[u]);
    }
    return;
  }
  for (clan_ix i = first; i < n; i += CLAN_GROUP) CLAN_PUT(out, CLAN_OUT_AT(i), clan_at(i CLAN_ARGS));
}
#endif
