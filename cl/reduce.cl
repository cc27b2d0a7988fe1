// reduce: whole arrays, rows and columns to one value each.
//
// private: the accumulator of a work-item, and CLAN_UNROLL vectors of input in flight;
// local: one accumulator a work-item, for the tree that joins a work-group;
// global: the input, read once and coalesced; partial accumulators when one row is shared by
// several groups; constant: not used.
//
// The input is a matrix of `rows` results by `len` elements each, either row by row
// (element r of result k is clan_at(k * len + r)) or column by column (clan_at(r * rows + k)).
//
// Float sums carry the rounding errors of their additions in a second word (Knuth's TwoSum, as in
// Ogita, Rump and Oishi, "Accurate sum and dot product", 2005); only the few additions that join
// the values loaded together are plain.
#ifndef CLAN_PARAMS
typedef float clan_t;
typedef float clan_out_t;
#define CLAN_VEC 1
#define CLAN_PARAMS , __global const float* restrict a0
#define CLAN_ARGS , a0
static inline float clan_at(const clan_ix i CLAN_PARAMS) { return a0[i]; }
#define CLAN_PUT(out, i, v) ((out)[i] = (v))
#define CLAN_OP 0
#define CLAN_IS_FLOAT 1
typedef float clan_word;
#define CLAN_LEAST (-INFINITY)
#define CLAN_GREATEST INFINITY
#endif

#define CLAN_SUM 0
#define CLAN_PROD 1
#define CLAN_MIN 2
#define CLAN_MAX 3
#define CLAN_ARGMIN 4
#define CLAN_ARGMAX 5
#define CLAN_ANY 6
#define CLAN_ALL 7

// Compilers warn of integers that are compared with themselves, and of constants as conditions.
#if CLAN_IS_FLOAT
#define CLAN_IS_NAN(x) ((x) != (x))
#else
static inline int clan_no(void) { return 0; }
#define CLAN_IS_NAN(x) clan_no()
#endif

// ---- The operators: identity, push one element, join two accumulators, give the result. --------
// `clan_word` is the type that values are accumulated in.

#if CLAN_OP == CLAN_SUM && CLAN_IS_FLOAT
#define CLAN_HAS_BLOCK 1
typedef struct { clan_word s, c; } clan_acc;
static inline clan_acc clan_identity(void) { const clan_acc a = {0, 0}; return a; }
static inline void clan_push(clan_acc* a, const clan_word x, const clan_ix r) {
  const clan_word t = a->s + x;
  const clan_word b = t - a->s;
  a->c += (a->s - (t - b)) + (x - b);
  a->s = t;
}
static inline clan_acc clan_join(clan_acc a, const clan_acc b) {
  clan_push(&a, b.s, 0);
  a.c += b.c;
  return a;
}
// The error word of an infinite sum is NaN; the sum itself is right.
static inline clan_word clan_finish(const clan_acc a, const clan_word divisor) {
  return (isnan(a.c) ? a.s : a.s + a.c) / divisor;
}

#elif CLAN_OP == CLAN_SUM || CLAN_OP == CLAN_PROD
typedef clan_word clan_acc;
#if CLAN_OP == CLAN_SUM
#define CLAN_HAS_BLOCK 1
#define CLAN_JOIN(a, b) ((a) + (b))
#else
#define CLAN_JOIN(a, b) ((a) * (b))
#endif
static inline clan_acc clan_identity(void) { return CLAN_OP == CLAN_SUM ? 0 : 1; }
// Integers wrap: signed ones are joined as unsigned by their type.
static inline clan_acc clan_join(const clan_acc a, const clan_acc b) { return CLAN_JOIN(a, b); }
static inline void clan_push(clan_acc* a, const clan_word x, const clan_ix r) { *a = CLAN_JOIN(*a, x); }
static inline clan_word clan_finish(const clan_acc a, const clan_word divisor) { return a; }

#elif CLAN_OP == CLAN_MIN || CLAN_OP == CLAN_MAX
typedef clan_word clan_acc;
#if CLAN_OP == CLAN_MIN
#define CLAN_BEFORE(a, b) ((a) < (b))
static inline clan_acc clan_identity(void) { return CLAN_GREATEST; }
#else
#define CLAN_BEFORE(a, b) ((a) > (b))
static inline clan_acc clan_identity(void) { return CLAN_LEAST; }
#endif
// NaN wins over everything.
static inline clan_acc clan_join(const clan_acc a, const clan_acc b) {
  return (CLAN_BEFORE(a, b) || CLAN_IS_NAN(a)) ? a : b;
}
static inline void clan_push(clan_acc* a, const clan_word x, const clan_ix r) { *a = clan_join(*a, x); }
static inline clan_word clan_finish(const clan_acc a, const clan_word divisor) { return a; }

#elif CLAN_OP == CLAN_ARGMIN || CLAN_OP == CLAN_ARGMAX
typedef struct { clan_word v; clan_ix i; } clan_acc;
#if CLAN_OP == CLAN_ARGMIN
#define CLAN_BEFORE(a, b) ((a) < (b))
#define CLAN_WORST CLAN_GREATEST
#else
#define CLAN_BEFORE(a, b) ((a) > (b))
#define CLAN_WORST CLAN_LEAST
#endif
#define CLAN_NOWHERE (~(clan_ix)0)
static inline clan_acc clan_identity(void) { const clan_acc a = {CLAN_WORST, CLAN_NOWHERE}; return a; }
// A work-item sees positions in rising order, so the first of equals and the first NaN stay.
static inline void clan_push(clan_acc* a, const clan_word x, const clan_ix r) {
  if ((CLAN_BEFORE(x, a->v) || CLAN_IS_NAN(x)) && !CLAN_IS_NAN(a->v)) {
    a->v = x;
    a->i = r;
  }
}
static inline clan_acc clan_join(const clan_acc a, const clan_acc b) {
  const int an = CLAN_IS_NAN(a.v), bn = CLAN_IS_NAN(b.v);
  if (an || bn) return (an && (!bn || a.i < b.i)) ? a : b;
  return (CLAN_BEFORE(a.v, b.v) || (a.v == b.v && a.i < b.i)) ? a : b;
}
// Nowhere: every element equals the identity, and the first of them is the answer.
static inline ulong clan_finish(const clan_acc a, const clan_word divisor) {
  return a.i == CLAN_NOWHERE ? 0 : (ulong)a.i;
}

#else
typedef uchar clan_acc;
#if CLAN_OP == CLAN_ANY
static inline clan_acc clan_identity(void) { return 0; }
static inline clan_acc clan_join(const clan_acc a, const clan_acc b) { return a | b; }
#else
static inline clan_acc clan_identity(void) { return 1; }
static inline clan_acc clan_join(const clan_acc a, const clan_acc b) { return a & b; }
#endif
static inline void clan_push(clan_acc* a, const clan_word x, const clan_ix r) {
  *a = clan_join(*a, (uchar)(x != 0));
}
static inline uchar clan_finish(const clan_acc a, const clan_word divisor) { return a; }
#endif

// ---- Rows ---------------------------------------------------------------------------------------

#if CLAN_VEC > 1
// Pushes CLAN_VEC loaded values that start at position r of their row.
static inline void clan_push_vec(clan_acc* a, const clan_t* v, const clan_ix r) {
#ifdef CLAN_HAS_BLOCK
  clan_word t[CLAN_VEC];
#pragma unroll
  for (int k = 0; k < CLAN_VEC; k++) t[k] = (clan_word)v[k];
#pragma unroll
  for (int w = CLAN_VEC / 2; w > 0; w /= 2) {
#pragma unroll
    for (int k = 0; k < w; k++) t[k] += t[k + w];
  }
  clan_push(a, t[0], r);
#else
#pragma unroll
  for (int k = 0; k < CLAN_VEC; k++) clan_push(a, (clan_word)v[k], r + k);
#endif
}
#endif

// Joins the accumulators of `lanes` neighbouring work-items (a power of two) into the first.
static inline clan_acc clan_tree(clan_acc a, __local clan_acc* shared, const uint lane, const uint lanes) {
#if CLAN_GROUP > 1
  const uint me = get_local_id(0);
  for (uint w = lanes / 2; w > 0; w /= 2) {
    shared[me] = a;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < w) a = clan_join(a, shared[me + w]);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
#endif
  return a;
}

// `lanes` work-items a row (a power of two up to CLAN_GROUP); a row is cut into `splits` parts of
// `part` elements, each of its own group when there are several. A lone work-item walks over neighbouring rows,
// for starting a group costs as much as a short row.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void reduce_rows(__global clan_out_t* out, __global clan_acc* partial, const clan_ix rows,
                 const clan_ix len, const uint splits, const clan_ix part, const uint lanes,
                 const clan_word divisor CLAN_PARAMS) {
  __local clan_acc shared[CLAN_GROUP];
  const uint lane = get_local_id(0) & (lanes - 1);
  const uint split = get_group_id(0) % splits;
#if CLAN_GROUP == 1
  const clan_ix groups = (clan_ix)get_num_groups(0) / splits, each = (rows + groups - 1) / groups;
  const clan_ix first = (clan_ix)(get_group_id(0) / splits) * each;
  for (clan_ix row = first; row < min(rows, first + each); row++) {
#else
  const clan_ix row = (clan_ix)(get_group_id(0) / splits) * (CLAN_GROUP / lanes) + get_local_id(0) / lanes;
  {
#endif
    clan_acc a = clan_identity();
    if (row < rows) {
      const clan_ix base = row * len;
      const clan_ix from = split * part;
      const clan_ix to = min(len, from + part);
      clan_ix r = from;
#if CLAN_VEC > 1
      // Up to the first aligned position, then vectors.
      const clan_ix head = min(to, from + (CLAN_VEC - 1 - (base + from + CLAN_VEC - 1) % CLAN_VEC));
      for (r = from + lane; r < head; r += lanes) clan_push(&a, (clan_word)clan_at(base + r CLAN_ARGS), r);
      const clan_ix step = (clan_ix)lanes * CLAN_VEC;
      const clan_ix tail = head + (to - head) / CLAN_VEC * CLAN_VEC;
      r = head + lane * CLAN_VEC;
      for (; r + (CLAN_UNROLL - 1) * step < tail; r += CLAN_UNROLL * step) {
        clan_t v[CLAN_UNROLL][CLAN_VEC];
#pragma unroll
        for (int u = 0; u < CLAN_UNROLL; u++) clan_vec(base + r + u * step, v[u] CLAN_ARGS);
#pragma unroll
        for (int u = 0; u < CLAN_UNROLL; u++) clan_push_vec(&a, v[u], r + u * step);
      }
      for (; r < tail; r += step) {
        clan_t v[CLAN_VEC];
        clan_vec(base + r, v CLAN_ARGS);
        clan_push_vec(&a, v, r);
      }
      r = tail;
#endif
      r += lane;
      for (; r + (CLAN_UNROLL - 1) * lanes < to; r += CLAN_UNROLL * lanes) {
        clan_t v[CLAN_UNROLL];
#pragma unroll
        for (int u = 0; u < CLAN_UNROLL; u++) v[u] = clan_at(base + r + u * lanes CLAN_ARGS);
#pragma unroll
        for (int u = 0; u < CLAN_UNROLL; u++) clan_push(&a, (clan_word)v[u], r + u * lanes);
      }
      for (; r < to; r += lanes) clan_push(&a, (clan_word)clan_at(base + r CLAN_ARGS), r);
    }
    a = clan_tree(a, shared, lane, lanes);
    if (lane == 0 && row < rows) {
      if (splits == 1) CLAN_PUT(out, row, clan_finish(a, divisor));
      else partial[row * splits + split] = a;
    }
  }
}

// ---- Columns ------------------------------------------------------------------------------------

#ifndef CLAN_COLS
#define CLAN_COLS 32 // work-items side by side in a group; the others share their columns
#endif
#define CLAN_ROWS (CLAN_GROUP / CLAN_COLS)

// Joins the accumulators of the work-items that share a column into those of the first row.
static inline clan_acc clan_tree_down(clan_acc a, __local clan_acc* shared) {
  const uint me = get_local_id(0), y = me / CLAN_COLS;
  for (uint w = CLAN_ROWS / 2; w > 0; w /= 2) {
    shared[me] = a;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (y < w) a = clan_join(a, shared[me + w * CLAN_COLS]);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  return a;
}

// One column a work-item along x; CLAN_ROWS work-items and `splits` groups share a column.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void reduce_columns(__global clan_out_t* out, __global clan_acc* partial, const clan_ix rows,
                    const clan_ix len, const uint splits, const clan_ix part,
                    const clan_word divisor CLAN_PARAMS) {
  __local clan_acc shared[CLAN_GROUP];
  const uint x = get_local_id(0) % CLAN_COLS, y = get_local_id(0) / CLAN_COLS;
  const uint split = get_group_id(0) % splits;
  const clan_ix k = (clan_ix)(get_group_id(0) / splits) * CLAN_COLS + x;
  clan_acc a = clan_identity();
  if (k < rows) {
    const clan_ix to = min(len, (split + 1) * part);
    clan_ix r = split * part + y;
    for (; r + (CLAN_UNROLL - 1) * CLAN_ROWS < to; r += CLAN_UNROLL * CLAN_ROWS) {
      clan_t v[CLAN_UNROLL];
#pragma unroll
      for (int u = 0; u < CLAN_UNROLL; u++) v[u] = clan_at((r + u * CLAN_ROWS) * rows + k CLAN_ARGS);
#pragma unroll
      for (int u = 0; u < CLAN_UNROLL; u++) clan_push(&a, (clan_word)v[u], r + u * CLAN_ROWS);
    }
    for (; r < to; r += CLAN_ROWS) clan_push(&a, (clan_word)clan_at(r * rows + k CLAN_ARGS), r);
  }
  a = clan_tree_down(a, shared);
  if (y == 0 && k < rows) {
    if (splits == 1) CLAN_PUT(out, k, clan_finish(a, divisor));
    else partial[(clan_ix)split * rows + k] = a;
  }
}

#if CLAN_VEC > 1
// The same with CLAN_VEC neighbouring columns a work-item; `rows` is a multiple of CLAN_VEC.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void reduce_columns_vec(__global clan_out_t* out, __global clan_acc* partial, const clan_ix rows,
                        const clan_ix len, const uint splits, const clan_ix part,
                        const clan_word divisor CLAN_PARAMS) {
  __local clan_acc shared[CLAN_GROUP];
  const uint x = get_local_id(0) % CLAN_COLS, y = get_local_id(0) / CLAN_COLS;
  const uint split = get_group_id(0) % splits;
  const clan_ix k = ((clan_ix)(get_group_id(0) / splits) * CLAN_COLS + x) * CLAN_VEC;
  clan_acc a[CLAN_VEC];
#pragma unroll
  for (int j = 0; j < CLAN_VEC; j++) a[j] = clan_identity();
  if (k < rows) {
    const clan_ix to = min(len, (split + 1) * part);
    clan_ix r = split * part + y;
    for (; r + (CLAN_UNROLL - 1) * CLAN_ROWS < to; r += CLAN_UNROLL * CLAN_ROWS) {
      clan_t v[CLAN_UNROLL][CLAN_VEC];
#pragma unroll
      for (int u = 0; u < CLAN_UNROLL; u++) clan_vec((r + u * CLAN_ROWS) * rows + k, v[u] CLAN_ARGS);
#pragma unroll
      for (int u = 0; u < CLAN_UNROLL; u++) {
#pragma unroll
        for (int j = 0; j < CLAN_VEC; j++) clan_push(&a[j], (clan_word)v[u][j], r + u * CLAN_ROWS);
      }
    }
    for (; r < to; r += CLAN_ROWS) {
      clan_t v[CLAN_VEC];
      clan_vec(r * rows + k, v CLAN_ARGS);
#pragma unroll
      for (int j = 0; j < CLAN_VEC; j++) clan_push(&a[j], (clan_word)v[j], r);
    }
  }
#pragma unroll
  for (int j = 0; j < CLAN_VEC; j++) {
    a[j] = clan_tree_down(a[j], shared);
    if (y == 0 && k < rows) {
      if (splits == 1) CLAN_PUT(out, k + j, clan_finish(a[j], divisor));
      else partial[(clan_ix)split * rows + k + j] = a[j];
    }
  }
}
#endif

// ---- Second pass ----------------------------------------------------------------------------------

// Joins the `splits` partial accumulators of every row in their order; they lie `across` apart
// from row to row and `along` from split to split.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void reduce_partials(__global clan_out_t* out, __global const clan_acc* partial, const clan_ix rows,
                     const uint splits, const clan_ix across, const clan_ix along, const uint lanes,
                     const clan_word divisor) {
  __local clan_acc shared[CLAN_GROUP];
  const uint lane = get_local_id(0) & (lanes - 1);
  const clan_ix row = (clan_ix)get_group_id(0) * (CLAN_GROUP / lanes) + get_local_id(0) / lanes;
  clan_acc a = clan_identity();
  if (row < rows) {
    for (uint s = lane; s < splits; s += lanes) a = clan_join(a, partial[row * across + s * along]);
  }
  a = clan_tree(a, shared, lane, lanes);
  if (lane == 0 && row < rows) CLAN_PUT(out, row, clan_finish(a, divisor));
}
