// linalg: the small dense parts of matrix factorisations. What is large is left to matmul.cl.
//
// A program has one of these kernels, chosen by CLAN_KERNEL, or all of them when it is not defined:
//
//   0 substitute      triangular systems of up to CLAN_LEAF unknowns, one right-hand side a work-item
//   1 cholesky_leaf   Cholesky of up to CLAN_LEAF rows, in one work-group
//   2 lu_panel        LU of up to CLAN_PANEL columns; small groups that hold the panel in registers
//                     and wait for each other
//   3 lu_panel_one    the same in one group, from global memory
//   4 exchange_rows   what a panel did to its rows, done to the other columns
//   5 triangle, gather_rows, column_scales
//   6 qr_panel        Householder QR of up to CLAN_PANEL columns, in one group
//
// private: the right-hand side (substitute), the rows of a panel (lu_panel), a strip of the block
//   (cholesky_leaf). Loops over them are unrolled, so that they are registers; loops over the columns
//   are not, for a kernel longer than the instruction cache waits for its own text (H200: 25 us for
//   64 unknowns). So registers rotate: what is next is always in the first;
// local: the triangle, which all work-items read in step (substitute); the column that every
//   work-item needs next (cholesky_leaf); the pivot's row, and rows that are finished (lu_panel);
// global: the matrix; the mail between groups (lu_panel). constant: not used.
//
// With CLAN_FLAT the loops stay loops and a group is one work-item: CPUs. With CLAN_ROLLED groups are
// groups, but loops stay loops: CPUs that stand in for GPUs in tests.

#ifndef CLAN_KERNEL
#define CLAN_ALL 1
#else
#define CLAN_ALL 0
#endif
#ifndef CLAN_LEAF
#define CLAN_LEAF 16 // rows of the blocks that are not cut any more; a multiple of 4
#endif
#ifndef CLAN_PANEL
#define CLAN_PANEL 8 // columns of a panel
#endif
#ifndef CLAN_ROWS
#define CLAN_ROWS 2 // rows of a panel that a work-item holds
#endif
#ifndef CLAN_QUAD
typedef float clan_t;
typedef float4 clan_quad;
#define CLAN_QUAD 4 // elements in 16 bytes
#define CLAN_WORDS 1 // words of 32 bits in an element
#define CLAN_DROP 1e-30f // sums of squares below it, beside elements near 1, count as zero
#endif
#ifndef CLAN_VECTORS
#define CLAN_VECTORS 64 // right-hand sides of a group in `substitute`
#endif
#if defined(CLAN_FLAT) || defined(CLAN_ROLLED)
#define CLAN_UNROLLED
#else
#define CLAN_UNROLLED _Pragma("unroll")
#endif
#define CLAN_ONE_BY_ONE _Pragma("unroll 1")
#if defined(CLAN_FLAT) || defined(CLAN_ROLLED)
#define CLAN_FEW
#else
#define CLAN_FEW _Pragma("unroll 4")
#endif
#pragma OPENCL FP_CONTRACT ON

// The reciprocal of x where `usual`, to all bits but the last few: a guess and Newton's steps, for a
// division is many times as long. Divisions by it are corrected or need no more.
static inline bool clan_usual(const clan_t x) { return fabs(x) > (clan_t)1e-25f && fabs(x) < (clan_t)1e25f; }
static inline clan_t clan_reciprocal(const clan_t x) {
  clan_t y = (clan_t)native_recip((float)x);
  y = fma(y, fma(-x, y, (clan_t)1), y);
#if CLAN_WORDS == 2
  y = fma(y, fma(-x, y, (clan_t)1), y);
  y = fma(y, fma(-x, y, (clan_t)1), y);
#endif
  return y;
}

#if CLAN_ALL || CLAN_KERNEL == 0
#ifdef CLAN_FLAT
// Each group of one work-item takes CLAN_VECTORS right-hand sides.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void substitute(__global clan_t* x, const long x_at, const long x_step, const long x_next, const uint count,
                __global const clan_t* t, const long t_at, const long t_row, const long t_column,
                const uint size, const uint unit, __global int* status, const int base,
                const int direction, const uint lines) {
  const uint from = (uint)get_group_id(0) * CLAN_VECTORS, to = min(count, from + CLAN_VECTORS);
  for (uint j = 0; j < size; j++) {
    for (uint k = 0; k < j; k++) {
      const clan_t f = t[t_at + j * t_row + k * t_column];
      for (uint v = from; v < to; v++)
        x[x_at + j * x_step + v * x_next] -= f * x[x_at + k * x_step + v * x_next];
    }
    if (unit) continue;
    const clan_t d = t[t_at + j * t_row + j * t_column];
    if (d == 0) atomic_min(status, base + direction * (int)j);
    for (uint v = from; v < to; v++) x[x_at + j * x_step + v * x_next] /= d;
  }
}
#else
#define CLAN_LINE (CLAN_LEAF + 4)
#define CLAN_SHARES (CLAN_LEAF * CLAN_LEAF / CLAN_VECTORS)
#define CLAN_SHARE (CLAN_SHARES < 32 ? CLAN_SHARES : 32)
// x = T^-1 x for each of `count` vectors of `size` elements that are `x_step` apart; the vectors are
// `x_next` apart. T is lower triangular, by strides that may be negative: an upper triangle read
// backwards is a lower one. Unknown j is `base + direction * j` in messages. With `lines` the
// vectors are whole, contiguous and start on 16 bytes.
__kernel __attribute__((reqd_work_group_size(CLAN_VECTORS, 1, 1)))
void substitute(__global clan_t* x, const long x_at, const long x_step, const long x_next, const uint count,
                __global const clan_t* t, const long t_at, const long t_row, const long t_column,
                const uint size, const uint unit, __global int* status, const int base,
                const int direction, const uint lines) {
  // Line k has column k of the triangle from the diagonal on, then zeros.
  __local __attribute__((aligned(16))) clan_t tri[CLAN_LEAF * CLAN_LINE];
  __local clan_t inverse[CLAN_LEAF];
  __local int plain;
  const uint me = get_local_id(0);
  const bool by_rows = t_column == 1 || t_column == -1;
  // Loads of a share are in flight together: nothing that other memory could depend on lies between.
  CLAN_ONE_BY_ONE for (uint share = 0; share < CLAN_SHARES; share += CLAN_SHARE) {
    clan_t part[CLAN_SHARE];
CLAN_UNROLLED
    for (uint s = 0; s < CLAN_SHARE; s++) {
      const uint e = (share + s) * CLAN_VECTORS + me, slow = e / CLAN_LEAF, fast = e % CLAN_LEAF;
      const uint j = by_rows ? slow : fast, k = by_rows ? fast : slow;
      const bool read = j < size && (k < j || (k == j && !unit));
      part[s] = read ? t[t_at + j * t_row + k * t_column] : j == k ? 1 : 0;
    }
CLAN_UNROLLED
    for (uint s = 0; s < CLAN_SHARE; s++) {
      const uint e = (share + s) * CLAN_VECTORS + me, slow = e / CLAN_LEAF, fast = e % CLAN_LEAF;
      const uint j = by_rows ? slow : fast, k = by_rows ? fast : slow;
      tri[k * CLAN_LINE + (j >= k ? j - k : CLAN_LEAF + j - k)] = part[s];
    }
  }
  const uint vector = (uint)get_group_id(0) * CLAN_VECTORS + me;
  const bool mine = vector < count;
  __global clan_t* at = x + x_at + (mine ? (long)vector : 0) * x_next;
  clan_t v[CLAN_LEAF];
  if (lines) {
CLAN_UNROLLED
    for (uint i = 0; i < CLAN_LEAF; i += CLAN_QUAD) {
      const clan_quad q = *(__global const clan_quad*)(at + i);
      v[i] = q.s0, v[i + 1] = q.s1;
#if CLAN_QUAD == 4
      v[i + 2] = q.s2, v[i + 3] = q.s3;
#endif
    }
  } else {
CLAN_UNROLLED
    for (uint i = 0; i < CLAN_LEAF; i++) v[i] = i < size ? at[i * x_step] : 0;
  }
  if (me == 0) plain = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  // One division for all vectors: a quotient by a reciprocal, corrected by what remains, is as exact
  // as dividing. Not at the ends of the range, where the reciprocal has no bits left.
  for (uint k = me; k < CLAN_LEAF; k += CLAN_VECTORS) {
    const clan_t d = tri[k * CLAN_LINE];
    if (d == 0) atomic_min(status, base + direction * (int)k);
    if (!clan_usual(d)) plain = 1;
    inverse[k] = 1 / d;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const bool divide = plain;
  // A solved unknown goes to the end of the registers that rotate, where it meets zeros: all of them
  // while the first half is solved, then the first half alone.
#define CLAN_SOLVE(from, to, count)                                                                \
  CLAN_FEW for (uint k = from; k < to; k++) {                                                      \
    __local const clan_t* line = tri + k * CLAN_LINE;                                              \
    clan_t solved = v[0] * inverse[k];                                                             \
    solved = fma(fma(-solved, line[0], v[0]), inverse[k], solved);                                 \
    if (divide || !isfinite(solved)) solved = v[0] / line[0];                                      \
    CLAN_UNROLLED for (uint e = 0; e < count; e += CLAN_QUAD) {                                    \
      const clan_quad q = *(__local const clan_quad*)(line + e);                                   \
      if (e > 0) v[e - 1] = v[e] - q.s0 * solved;                                                  \
      v[e] = v[e + 1] - q.s1 * solved;                                                             \
      CLAN_SOLVE_REST(e, q)                                                                        \
    }                                                                                              \
    v[count - 1] = solved;                                                                         \
  }
#if CLAN_QUAD == 4
#define CLAN_SOLVE_REST(e, q) v[e + 1] = v[e + 2] - q.s2 * solved, v[e + 2] = v[e + 3] - q.s3 * solved;
#else
#define CLAN_SOLVE_REST(e, q)
#endif
  CLAN_SOLVE(0, CLAN_LEAF / 2, CLAN_LEAF)
  CLAN_SOLVE(CLAN_LEAF / 2, CLAN_LEAF, (CLAN_LEAF / 2))
// Where unknown i is now.
#define CLAN_AT(i) ((i) < CLAN_LEAF / 2 ? (i) + CLAN_LEAF / 2 : (i) - CLAN_LEAF / 2)
  if (!mine) return;
  if (lines) {
CLAN_UNROLLED
    for (uint i = 0; i < CLAN_LEAF; i += CLAN_QUAD) {
#if CLAN_QUAD == 4
      *(__global clan_quad*)(at + i) = 
          (clan_quad)(v[CLAN_AT(i)], v[CLAN_AT(i + 1)], v[CLAN_AT(i + 2)], v[CLAN_AT(i + 3)]);
#else
      *(__global clan_quad*)(at + i) = (clan_quad)(v[CLAN_AT(i)], v[CLAN_AT(i + 1)]);
#endif
    }
  } else {
CLAN_UNROLLED
    for (uint i = 0; i < CLAN_LEAF; i++) {
      if (i < size) at[i * x_step] = v[CLAN_AT(i)];
    }
  }
}
#endif
#endif

#if CLAN_ALL || CLAN_KERNEL == 1
// The lower triangle of `size` rows becomes its Cholesky factor; what is above the diagonal is
// neither read nor written. A pivot that is not positive is noted in status[0], and NaN follow.
#ifdef CLAN_FLAT
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void cholesky_leaf(__global clan_t* a, const long at, const long row, const uint size,
                   __global int* status, const int base) {
  __global clan_t* b = a + at;
  for (uint j = 0; j < size; j++) {
    const clan_t d = b[j * row + j];
    if (!(d > 0)) atomic_min(status, base + (int)j);
    const clan_t root = sqrt(d);
    b[j * row + j] = root;
    for (uint i = j + 1; i < size; i++) b[i * row + j] /= root;
    for (uint i = j + 1; i < size; i++) {
      const clan_t f = b[i * row + j];
      for (uint k = j + 1; k <= i; k++) b[i * row + k] -= f * b[k * row + j];
    }
  }
}
#else
#define CLAN_STRIP (CLAN_LEAF / 4)
__kernel __attribute__((reqd_work_group_size(CLAN_LEAF * 4, 1, 1)))
void cholesky_leaf(__global clan_t* a, const long at, const long row, const uint size,
                   __global int* status, const int base) {
  // Two, so that one barrier a column suffices; each with zeros behind.
  __local clan_t columns[4 * CLAN_LEAF];
  // A work-item has every fourth element of a row.
  const uint r = get_local_id(0) % CLAN_LEAF, q = get_local_id(0) / CLAN_LEAF;
  clan_t v[CLAN_STRIP];
CLAN_UNROLLED
  for (uint k = 0; k < CLAN_STRIP; k++) {
    const uint c = 4 * k + q;
    v[k] = r < size && c <= r ? a[at + r * row + c] : r == c ? 1 : 0;
  }
  if (q < 2) columns[(2 * q + 1) * CLAN_LEAF + r] = 0;
  CLAN_ONE_BY_ONE for (uint b = 0; b < CLAN_LEAF; b += 4) {
    // Roots wait until four columns are done, when all work-items have one to take.
    clan_t own = 0, pivot = 1;
CLAN_UNROLLED
    for (uint j = 0; j < 4; j++) {
      __local clan_t* column = columns + (j & 1) * (2 * CLAN_LEAF);
      if (q == j) column[r] = v[0];
      barrier(CLK_LOCAL_MEM_FENCE);
      const clan_t d = column[b + j], mine = column[r];
      if (!(d > 0) && get_local_id(0) == 0) atomic_min(status, base + (int)(b + j));
      const clan_t f = clan_usual(d) ? mine * clan_reciprocal(d) : mine / d;
      if (q > j) v[0] -= f * column[b + q];
CLAN_UNROLLED
      for (uint k = 1; k < CLAN_STRIP; k++) v[k] -= f * column[b + 4 * k + q];
      if (q == j) own = mine, pivot = d;
    }
    const clan_t root = sqrt(pivot);
    if (r < size && b + q <= r) a[at + r * row + b + q] = r == b + q ? root : own / root;
CLAN_UNROLLED
    for (uint k = 1; k < CLAN_STRIP; k++) v[k - 1] = v[k];
    v[CLAN_STRIP - 1] = 0;
  }
}
#endif
#endif

// What a panel did to its rows: moves[c] is the row that is now row c < width, and
// moves[CLAN_PANEL + i] is where row i < width went.

#if CLAN_ALL || CLAN_KERNEL == 2
// LU of `rows` by `width` elements, the pivot of a column the first of its greatest magnitudes (NaN
// are chosen last). A group, a few work-items that run in step on most devices, holds CLAN_GROUP *
// CLAN_ROWS rows; rows do not move until the end, but know the position that exchanges have brought
// them to. status[0]: the first column whose pivot is zero. status[1]: a group waited in vain, and
// the matrix is spoilt. With `lines` rows are whole and start on 16 bytes.
//
// Each group writes into the mail the key of the best row it has, and the row; reads the keys of all
// others, and then the row of the best. Every word has the panel's `tag` in bits 16 to 31, and is whole
// or not there: no order between words is needed. Nobody waits for more than `spins` reads, for
// nothing says that the groups run at a time.
//
// A key is the bits of a magnitude, more by one so that NaN can be 0, then what is missing to the
// last position, of 16 bits. A key of zeros is nobody's.
#define CLAN_ROW_WORDS (CLAN_PANEL * CLAN_WORDS)
#define CLAN_LETTER (CLAN_ROW_WORDS + CLAN_WORDS)
#define CLAN_NOWHERE 0xffffu
#if CLAN_WORDS == 1
typedef uint clan_size;
#define CLAN_SIZE(x) (isnan(x) ? 0u : as_uint(fabs(x)) + 1u)
#else
typedef ulong clan_size;
#define CLAN_SIZE(x) (isnan(x) ? 0ul : as_ulong(fabs(x)) + 1ul)
#endif
// The greatest of a group's. CLAN_REDUX: by one instruction for 32 work-items (NVIDIA from compute
// capability 8.0 on).
static inline uint clan_most(const uint x, __local uint* all) {
#ifdef CLAN_REDUX
  uint y;
  asm volatile("redux.sync.max.u32 %0, %1, 0xffffffff;" : "=r"(y) : "r"(x));
#else
  uint y = 0;
  all[get_local_id(0)] = x;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint i = 0; i < CLAN_GROUP; i++) y = max(y, all[i]);
  barrier(CLK_LOCAL_MEM_FENCE);
#endif
  return y;
}
static inline clan_size clan_most_size(const clan_size x, __local uint* all) {
#if CLAN_WORDS == 1
  return clan_most(x, all);
#else
  const uint high = clan_most((uint)(x >> 32), all);
  return (ulong)high << 32 | clan_most((uint)(x >> 32) == high ? (uint)x : 0, all);
#endif
}
// A row by 16 bytes.
#if CLAN_QUAD == 4
#define CLAN_SPLIT(v, e, q) v[e] = (q).s0, v[(e) + 1] = (q).s1, v[(e) + 2] = (q).s2, v[(e) + 3] = (q).s3;
#define CLAN_JOIN(v, e) (clan_quad)(v[e], v[(e) + 1], v[(e) + 2], v[(e) + 3])
#else
#define CLAN_SPLIT(v, e, q) v[e] = (q).s0, v[(e) + 1] = (q).s1;
#define CLAN_JOIN(v, e) (clan_quad)(v[e], v[(e) + 1])
#endif
// Reads of a work-item that are in flight together.
#define CLAN_FLIGHT 4

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void lu_panel(__global clan_t* a, const long at, const long row, const uint rows, const uint width,
              __global uint* moves, __global volatile int* status, const int base,
              __global volatile ulong* mail, const uint tag, const uint spins, const uint lines) {
  // The best row of this group, and of all; both meet zeros behind column `width`.
  __local __attribute__((aligned(16))) clan_t best[CLAN_PANEL], pivot[CLAN_PANEL];
  // The rows of this group that are pivots, each as it was when it was chosen.
  __local clan_t done[CLAN_PANEL * CLAN_PANEL];
  __local uint all[CLAN_GROUP];
  __local int lost;
  const uint me = get_local_id(0), group = get_group_id(0), groups = get_num_groups(0);
  const uint first = group * (CLAN_GROUP * CLAN_ROWS) + me;
  if (me == 0) lost = groups > 1 && status[1] != INT_MAX;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lost) return;
  // Element e of a row is that of column c + e while column c is worked on, round and round.
  clan_t v[CLAN_ROWS][CLAN_PANEL];
  uint position[CLAN_ROWS];
CLAN_UNROLLED
  for (uint r = 0; r < CLAN_ROWS; r++) {
    const uint i = first + r * CLAN_GROUP;
    position[r] = i < rows ? i : CLAN_NOWHERE;
    __global const clan_t* from = a + at + (long)(i < rows ? i : 0) * row;
    if (lines) {
CLAN_UNROLLED
      for (uint c = 0; c < CLAN_PANEL; c += CLAN_QUAD) {
        const clan_quad q = *(__global const clan_quad*)(from + c);
        CLAN_SPLIT(v[r], c, q)
      }
    } else {
CLAN_UNROLLED
      for (uint c = 0; c < CLAN_PANEL; c++) v[r][c] = c < width ? from[c] : 0;
    }
  }
  CLAN_ONE_BY_ONE for (uint c = 0; c < width; c++) {
    // The keys of a column, then the rows.
    __global volatile ulong* box = mail + (ulong)c * groups * CLAN_LETTER;
    const uint words = (CLAN_PANEL - c) * CLAN_WORDS;
    clan_size most = 0, size = 0;
    uint near = 0;
CLAN_UNROLLED
    for (uint r = 0; r < CLAN_ROWS; r++) {
      const clan_size s = CLAN_SIZE(v[r][0]);
      const uint n = position[r] < c ? 0 : CLAN_NOWHERE - position[r];
      const bool greater = n != 0 && (near == 0 || s > size || (s == size && n > near));
      size = greater ? s : size;
      near = greater ? n : near;
    }
    most = clan_most_size(size, all);
    uint nearest = clan_most(size == most ? near : 0, all);
    const ulong seal = (ulong)tag << 16;
    if (groups > 1 && me < CLAN_WORDS)
      box[group * CLAN_WORDS + me] = (ulong)(uint)(most >> (32 * (CLAN_WORDS - 1 - me))) << 32 | seal | nearest;
    uint p = CLAN_NOWHERE - nearest;
CLAN_UNROLLED
    for (uint r = 0; r < CLAN_ROWS; r++) {
      if (nearest != 0 && position[r] == p) {
CLAN_UNROLLED
        for (uint e = 0; e < CLAN_PANEL; e++) best[e] = v[r][e];
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    uint winner = group;
    if (groups > 1) {
      __global volatile ulong* letters = box + groups * CLAN_WORDS;
CLAN_UNROLLED
      for (uint s = 0; s < CLAN_ROW_WORDS; s += CLAN_GROUP) {
        const uint e = s + me;
        if (e < words) letters[group * CLAN_ROW_WORDS + e] = (ulong)((__local uint*)best)[e] << 32 | seal;
      }
      size = 0;
      near = 0;
      for (uint from = me; from < groups; from += CLAN_FLIGHT * CLAN_GROUP) {
        ulong word[CLAN_FLIGHT][CLAN_WORDS];
        uint waits = 1;
CLAN_UNROLLED
        for (uint s = 0; s < CLAN_FLIGHT * CLAN_WORDS; s++) word[s / CLAN_WORDS][s % CLAN_WORDS] = 0;
        for (uint spin = 0; waits && spin <= spins; spin++) {
CLAN_UNROLLED
          for (uint s = 0; s < CLAN_FLIGHT; s++) {
            const uint k = from + s * CLAN_GROUP;
            if (k < groups) {
CLAN_UNROLLED
              for (uint w = 0; w < CLAN_WORDS; w++) word[s][w] = box[k * CLAN_WORDS + w];
            }
          }
          waits = 0;
CLAN_UNROLLED
          for (uint s = 0; s < CLAN_FLIGHT; s++) {
CLAN_UNROLLED
            for (uint w = 0; w < CLAN_WORDS; w++)
              waits |= from + s * CLAN_GROUP < groups && ((uint)word[s][w] ^ (uint)seal) >> 16;
          }
        }
        if (waits) lost = 1;
CLAN_UNROLLED
        for (uint s = 0; s < CLAN_FLIGHT; s++) {
          clan_size other = word[s][0] >> 32;
#if CLAN_WORDS == 2
          other = other << 32 | word[s][1] >> 32;
#endif
          const uint n = (uint)word[s][0] & 0xffff;
          const bool greater = n != 0 && (near == 0 || other > size || (other == size && n > near));
          size = greater ? other : size;
          near = greater ? n : near;
          winner = greater ? from + s * CLAN_GROUP : winner;
        }
      }
      most = clan_most_size(size, all);
      nearest = clan_most(size == most ? near : 0, all);
      winner = clan_most(size == most && near == nearest ? winner : 0, all);
      p = CLAN_NOWHERE - nearest;
      letters += winner * CLAN_ROW_WORDS;
CLAN_UNROLLED
      for (uint s = 0; s < CLAN_ROW_WORDS; s += CLAN_GROUP) {
        const uint e = s + me;
        if (CLAN_ROW_WORDS % CLAN_GROUP != 0 && e >= CLAN_ROW_WORDS) continue;
        ulong word = e < words ? letters[e] : seal;
        for (uint spin = 0; (((uint)word ^ (uint)seal) >> 16) != 0 && spin < spins; spin++) word = letters[e];
        if ((((uint)word ^ (uint)seal) >> 16) != 0) lost = 1;
        ((__local uint*)pivot)[e] = word >> 32;
      }
    } else {
CLAN_UNROLLED
      for (uint s = 0; s < CLAN_PANEL; s += CLAN_GROUP) {
        const uint e = s + me;
        if (e < CLAN_PANEL) pivot[e] = e < CLAN_PANEL - c ? best[e] : (clan_t)0;
      }
    }
    if (winner == group) {
CLAN_UNROLLED
      for (uint s = 0; s < CLAN_PANEL; s += CLAN_GROUP) {
        if (s + me < CLAN_PANEL) done[c * CLAN_PANEL + s + me] = best[s + me];
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lost) {
      if (me == 0) status[1] = 0;
      return;
    }
    clan_t u[CLAN_PANEL];
CLAN_UNROLLED
    for (uint e = 0; e < CLAN_PANEL; e += CLAN_QUAD) {
      const clan_quad q = *(__local const clan_quad*)(pivot + e);
      CLAN_SPLIT(u, e, q)
    }
    const bool usual = clan_usual(u[0]);
    const clan_t inverse = usual ? clan_reciprocal(u[0]) : 0;
    if (u[0] == 0 && group == 0 && me == 0) atomic_min((__global int*)status, base + (int)c);
CLAN_UNROLLED
    for (uint r = 0; r < CLAN_ROWS; r++) {
      // What is done to the registers of a row that is a pivot, or not there, is of no account.
      position[r] = position[r] == p ? c : position[r] == c ? p : position[r];
      clan_t f = v[r][0];
      const clan_t guess = f * inverse;
      const clan_t quotient = fma(fma(-guess, u[0], f), inverse, guess);
      // No more than 1, as the quotient of what is not greater.
      if (usual && isfinite(quotient))
        f = clamp(quotient, (clan_t)-1, (clan_t)1);
      else if (u[0] != 0)
        f = f / u[0];
CLAN_UNROLLED
      for (uint e = 1; e < CLAN_PANEL; e++) v[r][e - 1] = fma(-f, u[e], v[r][e]);
      v[r][CLAN_PANEL - 1] = f;
    }
  }
  CLAN_ONE_BY_ONE for (uint c = width; c < CLAN_PANEL; c++) {
CLAN_UNROLLED
    for (uint r = 0; r < CLAN_ROWS; r++) {
      const clan_t f = v[r][0];
CLAN_UNROLLED
      for (uint e = 1; e < CLAN_PANEL; e++) v[r][e - 1] = v[r][e];
      v[r][CLAN_PANEL - 1] = f;
    }
  }
CLAN_UNROLLED
  for (uint r = 0; r < CLAN_ROWS; r++) {
    const uint i = first + r * CLAN_GROUP;
    if (i >= rows) continue;
    // All groups have read their rows: else the first pivot would not have been found.
    const uint p = position[r];
    __global clan_t* to = a + at + (long)p * row;
    if (p < width) {
      for (uint c = 0; c < width; c++) to[c] = done[p * CLAN_PANEL + (c + CLAN_PANEL - p) % CLAN_PANEL];
      moves[p] = i;
    } else if (lines) {
CLAN_UNROLLED
      for (uint c = 0; c < CLAN_PANEL; c += CLAN_QUAD) *(__global clan_quad*)(to + c) = CLAN_JOIN(v[r], c);
    } else {
CLAN_UNROLLED
      for (uint c = 0; c < CLAN_PANEL; c++) {
        if (c < width) to[c] = v[r][c];
      }
    }
    if (i < width) moves[CLAN_PANEL + i] = p;
  }
}
#endif

#if CLAN_ALL || CLAN_KERNEL == 3
// As lu_panel, in one group of any size.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void lu_panel_one(__global clan_t* a, const long at, const long row, const uint rows, const uint width,
                  __global uint* moves, __global int* status, const int base) {
  __local clan_t value[CLAN_GROUP];
  __local uint where[CLAN_GROUP];
  __local uint pivots[CLAN_PANEL];
  const uint me = get_local_id(0);
  __global clan_t* b = a + at;
  for (uint c = 0; c < width; c++) {
    clan_t best = -2;
    uint p = UINT_MAX;
    for (uint i = c + me; i < rows; i += CLAN_GROUP) {
      clan_t x = fabs(b[(long)i * row + c]);
      x = isnan(x) ? -1 : x;
      if (x > best) best = x, p = i;
    }
    value[me] = best;
    where[me] = p;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_of = CLAN_GROUP / 2; half_of > 0; half_of /= 2) {
      if (me < half_of) {
        const clan_t x = value[me + half_of];
        const uint y = where[me + half_of];
        if (x > value[me] || (x == value[me] && y < where[me])) value[me] = x, where[me] = y;
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    p = where[0];
    if (me == 0) pivots[c] = p;
    for (uint e = me; e < width && p != c; e += CLAN_GROUP) {
      const clan_t x = b[(long)c * row + e];
      b[(long)c * row + e] = b[(long)p * row + e];
      b[(long)p * row + e] = x;
    }
    barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
    const clan_t d = b[(long)c * row + c];
    if (d == 0 && me == 0) atomic_min(status, base + (int)c);
    for (uint i = c + 1 + me; i < rows; i += CLAN_GROUP) {
      __global clan_t* line = b + (long)i * row;
      const clan_t f = d == 0 ? line[c] : line[c] / d;
      line[c] = f;
      for (uint e = c + 1; e < width; e++) line[e] -= f * b[(long)c * row + e];
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
  }
  if (me > 0) return;
  // Below row `width` there are, beside rows that never moved, only rows from above it: whoever
  // comes up is a pivot, and stays.
  uint top[CLAN_PANEL], outside[CLAN_PANEL], moved[CLAN_PANEL], count = 0;
  for (uint c = 0; c < width; c++) top[c] = c;
  for (uint c = 0; c < width; c++) {
    const uint p = pivots[c], was = top[c];
    if (p < width) {
      top[c] = top[p];
      top[p] = was;
      continue;
    }
    uint k = 0;
    while (k < count && outside[k] != p) k++;
    top[c] = k < count ? moved[k] : p;
    outside[k] = p;
    moved[k] = was;
    if (k == count) count++;
  }
  for (uint c = 0; c < width; c++) {
    moves[c] = top[c];
    if (top[c] < width) moves[CLAN_PANEL + top[c]] = c;
  }
  for (uint k = 0; k < count; k++) moves[CLAN_PANEL + moved[k]] = outside[k];
}
#endif

#if CLAN_ALL || CLAN_KERNEL == 4
// Moves the rows of `columns` columns, but for the `width` from `skip` on, and of `order`, the list
// of rows. A column is a work-item's.
#define CLAN_MOVE(T, p, step)                                                                      \
  {                                                                                                \
    T up[CLAN_PANEL], down[CLAN_PANEL];                                                            \
    CLAN_UNROLLED for (uint i = 0; i < CLAN_PANEL; i++) {                                          \
      if (i < width) up[i] = (p)[(long)moves[i] * (step)], down[i] = (p)[(long)i * (step)];        \
    }                                                                                              \
    CLAN_UNROLLED for (uint i = 0; i < CLAN_PANEL; i++) {                                          \
      if (i < width) {                                                                             \
        (p)[(long)i * (step)] = up[i];                                                             \
        const uint to = moves[CLAN_PANEL + i];                                                     \
        if (to >= width) (p)[(long)to * (step)] = down[i];                                         \
      }                                                                                            \
    }                                                                                              \
  }
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void exchange_rows(__global clan_t* a, const long at, const long row, const uint columns, const uint skip,
                   __global const uint* restrict moves, const uint width, __global uint* order,
                   const long order_at) {
  const uint g = get_global_id(0);
  if (g + width < columns) {
    __global clan_t* p = a + at + (g < skip ? g : g + width);
    CLAN_MOVE(clan_t, p, row)
  } else if (g + width == columns) {
    __global uint* p = order + order_at;
    CLAN_MOVE(uint, p, 1)
  }
}
#endif

#if CLAN_ALL || CLAN_KERNEL == 5
// The part of a matrix on one side of the diagonal, zeros elsewhere: `keep` 0 below and on it, 1
// above and on it, 2 below it with ones on it. Columns are divided by `scale` where it is used.
// In place (`in_place`) only what changes is written.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void triangle(__global clan_t* out, const long out_at, const uint columns, __global const clan_t* in,
              const long in_at, const long in_row, const uint keep, const uint in_place,
              __global const clan_t* scale, const long scale_at, const uint scaled) {
  const uint c = get_global_id(0), r = get_global_id(1);
  if (c >= columns) return;
  __global clan_t* to = out + out_at + (long)r * columns + c;
  const bool one = keep == 2 && r == c, kept = keep == 1 ? c >= r : c <= r;
  if (one) {
    *to = 1;
  } else if (!kept) {
    *to = 0;
  } else if (!in_place) {
    const clan_t x = in[in_at + (long)r * in_row + c];
    *to = scaled ? x / scale[scale_at + c] : x;
  }
}

// Rows of a matrix in the order of a list.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void gather_rows(__global clan_t* restrict out, const long out_at, const uint columns,
                 __global const clan_t* restrict in, const long in_at, const long in_row,
                 const long in_column, __global const ulong* restrict order, const long order_at) {
  const uint c = get_global_id(0), r = get_global_id(1);
  if (c >= columns) return;
  out[out_at + (long)r * columns + c] = in[in_at + (long)order[order_at + r] * in_row + (long)c * in_column];
}

// Multiplies every column by a power of two that brings its greatest magnitude near 1, and notes it.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void column_scales(__global clan_t* a, const long at, const uint rows, const uint columns,
                   __global clan_t* scale, const long scale_at) {
  const uint c = get_global_id(0);
  if (c >= columns) return;
  __global clan_t* p = a + at + c;
  clan_t most = 0;
  for (uint r = 0; r < rows; r++) most = fmax(most, fabs(p[(long)r * columns]));
  const bool usable = most > 0 && isfinite(most);
  const clan_t s = usable ? ldexp((clan_t)1, clamp(-ilogb(most), -126, 126)) : (clan_t)1;
  scale[scale_at + c] = s;
  for (uint r = 0; r < rows; r++) p[(long)r * columns] *= s;
}
#endif

#if CLAN_ALL || CLAN_KERNEL == 6
// Householder QR of `rows` by `width` elements whose columns have norms near 1: R on and above the
// diagonal; the vectors, with ones on the diagonal and zeros above, in `v`, which has the rows of the
// matrix; and the upper triangle t with H1 H2 ... = I - v t v^T (Schreiber and Van Loan, 1989).
//
// Work-items are lanes, one a column, times slices of the rows. What is below the diagonal stays as
// it was before the vector was scaled until all columns are done.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void qr_panel(__global clan_t* a, const long at, const long row, const uint rows, const uint width,
              __global clan_t* v, const long v_at, const long v_row, __global clan_t* t, const long t_at) {
#define CLAN_LANES (CLAN_GROUP < CLAN_PANEL ? CLAN_GROUP : CLAN_PANEL)
#define CLAN_SLICES (CLAN_GROUP / CLAN_LANES)
  __local clan_t sums[CLAN_PANEL * CLAN_SLICES];
  __local clan_t factor[CLAN_PANEL], scale[CLAN_PANEL], gram[CLAN_PANEL];
  __local clan_t tt[CLAN_PANEL * CLAN_PANEL];
  const uint me = get_local_id(0), lane = me % CLAN_LANES, slice = me / CLAN_LANES;
  const bool works = slice < CLAN_SLICES;
  __global clan_t* b = a + at;
  for (uint e = me; e < CLAN_PANEL * CLAN_PANEL; e += CLAN_GROUP) tt[e] = 0;
  for (uint c = 0; c < width; c++) {
    for (uint e = lane; works && e < width; e += CLAN_LANES) {
      clan_t s = 0;
#pragma unroll 4
      for (uint i = c + 1 + slice; i < rows; i += CLAN_SLICES) s += b[i * row + c] * b[i * row + e];
      sums[e * CLAN_SLICES + slice] = s;
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    clan_t square = 0;
    for (uint k = 0; k < CLAN_SLICES; k++) square += sums[c * CLAN_SLICES + k];
    const clan_t alpha = b[c * row + c];
    // No vector: what is below the diagonal is lost in the rounding of the column.
    const bool none = !(square > (clan_t)CLAN_DROP) && !isnan(square);
    const clan_t norm = sqrt(alpha * alpha + square), beta = alpha < 0 ? norm : -norm;
    const clan_t tau = none ? 0 : (beta - alpha) / beta, inverse = none ? 0 : 1 / (alpha - beta);
    for (uint e = me; e < width; e += CLAN_GROUP) {
      clan_t z = 0;
      for (uint k = 0; k < CLAN_SLICES; k++) z += sums[e * CLAN_SLICES + k];
      const clan_t x = b[c * row + e];
      if (e > c) {
        const clan_t w = tau * (x + inverse * z);
        factor[e] = w * inverse;
        b[c * row + e] = x - w;
      } else if (e < c) {
        gram[e] = scale[e] * (x + inverse * z);
      } else {
        scale[c] = inverse;
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    if (me == 0 && !none) b[c * row + c] = beta;
    for (uint e = me; e <= c; e += CLAN_GROUP) {
      clan_t s = 0;
      for (uint f = e; f < c; f++) s += tt[e * CLAN_PANEL + f] * gram[f];
      tt[e * CLAN_PANEL + c] = e == c ? tau : -tau * s;
    }
    for (uint e = lane; works && e < width; e += CLAN_LANES) {
      if (e > c) {
#pragma unroll 4
        for (uint i = c + 1 + slice; i < rows; i += CLAN_SLICES) b[i * row + e] -= factor[e] * b[i * row + c];
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  }
  for (uint e = lane; works && e < width; e += CLAN_LANES) {
    for (uint i = slice; i < rows; i += CLAN_SLICES)
      v[v_at + i * v_row + e] = i == e ? 1 : i < e ? 0 : b[i * row + e] * scale[e];
  }
  for (uint e = me; e < width * width; e += CLAN_GROUP)
    t[t_at + e] = tt[e / width * CLAN_PANEL + e % width];
}
#endif
