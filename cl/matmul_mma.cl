// matmul_mma: products of matrices on NVIDIA's matrix units, through PTX (`mma.sync`).
//
// Appended to matmul.cl, which defines what a call takes and how results are stored, with
//
//   CLAN_MMA 1  f32, operands cut to TensorFloat-32
//   CLAN_MMA 2  f32 as exact as f32: every operand is split into a high and a low part of 11 bits,
//               and high x high + high x low + low x high is summed
//   CLAN_MMA 3  bf16 operands, 4 f16 operands, summed in f32
//   CLAN_MMA 5  f64
//
// private: fragments of a warp's tile, loaded one step ahead, and its sums;
// local: a ring of CLAN_STAGES tiles of both operands, filled by `cp.async` behind the arithmetic.
//   Chunks of 16 bytes are exchanged within a row so that neither `cp.async` nor `ldmatrix` meets a
//   bank twice;
// global: operands in rows of aligned chunks of 16 bytes, result; constant: not used.
//
// The units add to f32 sums with truncation, whose error grows with k. CLAN_MMA 2 therefore sums
// CLAN_BK products from zero and adds them to the sum in an ordinary addition (Ootomo and Yokota,
// "Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical
// peak performance", 2022). A result that is not finite is computed again by fused multiply-adds:
// splitting infinity gives NaN, and rounding up may give infinity.
//
// Not for other devices: without CLAN_MMA the file is empty.
#ifdef CLAN_MMA

#ifndef CLAN_BM
#define CLAN_BM 128 // rows of a group's tile
#define CLAN_BN 128 // columns of it
#define CLAN_BK 16  // elements along k in one stage
#define CLAN_WM 64  // rows of a warp's tile
#define CLAN_WN 64  // columns of it
#define CLAN_STAGES 3
#define CLAN_BAND 8 // rows of tiles that groups walk together
#endif
#ifndef CLAN_EDGE
#define CLAN_EDGE 1 // 0: tiles cover the result, and parts of k, exactly
#endif
#ifndef CLAN_ROUND
#define CLAN_ROUND 1 // CLAN_MMA 2: the high part is the nearest, not the next below
#endif

// When the stage that was left last is filled again. Late: after the barrier, and the fragments that
// are waited for first. Early: a step later, before the fragments of that step. H200, 8192, TFLOP/s
// late and early: f32 in three products 71.1 and 75.7, tf32 212 and 199, bf16 393 and 371.
#define CLAN_EARLY (CLAN_MMA == 2)

#if CLAN_MMA == 5
#define CLAN_SIZE 8
#elif CLAN_MMA >= 3
#define CLAN_SIZE 2
#else
#define CLAN_SIZE 4
#endif
#define CLAN_EPC (16 / CLAN_SIZE)         // elements of a chunk
#define CLAN_CK (CLAN_BK / CLAN_EPC)      // chunks along k
#define CLAN_CN (CLAN_BN / CLAN_EPC)      // chunks along n
#define CLAN_MI (CLAN_WM / 16)            // fragments of a warp's tile
#define CLAN_NI (CLAN_WN / 8)
#define CLAN_B_ROWS (CLAN_B_MAJOR == 2)   // k is the slower axis of the second operand

static inline void clan_copy(const uint to, __global const void* from, const int bytes) {
#if CLAN_EDGE
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
#endif
}
#define CLAN_COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
// The oldest stage in flight has arrived, for all work-items.
#if CLAN_STAGES == 2
#define CLAN_ARRIVE { asm volatile("cp.async.wait_group 0;" ::: "memory"); barrier(CLK_LOCAL_MEM_FENCE); }
#elif CLAN_STAGES == 3
#define CLAN_ARRIVE { asm volatile("cp.async.wait_group 1;" ::: "memory"); barrier(CLK_LOCAL_MEM_FENCE); }
#else
#define CLAN_ARRIVE { asm volatile("cp.async.wait_group 2;" ::: "memory"); barrier(CLK_LOCAL_MEM_FENCE); }
#endif

// Bytes of a chunk that lie before the end, where `left` elements do.
#define CLAN_BYTES(at, end) ((at) < (end) ? (int)min((clan_ix)16, ((end) - (at)) * CLAN_SIZE) : 0)

#if CLAN_MMA == 5
// Rows are two elements longer than their chunks: work-items read single elements.
#define CLAN_LINE_K (CLAN_BK + 2)
#define CLAN_LINE_N (CLAN_BN + 2)
#define CLAN_PLACE_K(r, c) (((r) * CLAN_LINE_K + (c) * 2) * 8)
#define CLAN_PLACE_N(r, c) (((r) * CLAN_LINE_N + (c) * 2) * 8)
#define CLAN_STAGE_A (CLAN_BM * CLAN_LINE_K * 8)
#define CLAN_STAGE_B (CLAN_B_ROWS ? CLAN_BK * CLAN_LINE_N * 8 : CLAN_BN * CLAN_LINE_K * 8)
#else
#if CLAN_CK == 4
#define CLAN_PLACE_K(r, c) (((r) * 4 + ((c) ^ (((r) >> 1) & 3))) * 16)
#else
#define CLAN_PLACE_K(r, c) (((r) * CLAN_CK + ((c) ^ ((r) & 7))) * 16)
#endif
#define CLAN_PLACE_N(r, c) (((r) * CLAN_CN + ((c) ^ ((r) & 7))) * 16)
#define CLAN_STAGE_A (CLAN_BM * CLAN_BK * CLAN_SIZE)
#define CLAN_STAGE_B (CLAN_BN * CLAN_BK * CLAN_SIZE)
#endif

// A work-item brings the same chunk of every CLAN_DOWN-th line of a tile: `from_*` points to the
// first of them and moves along k, `skip_*` counts the elements to the others. CLAN_DOWN lines are
// a multiple of 8, so that the exchange of chunks is the same in all of them.
#define CLAN_DOWN_K (CLAN_GROUP / CLAN_CK)
#define CLAN_DOWN_N (CLAN_GROUP / CLAN_CN)
#define CLAN_SHARE_A (CLAN_BM / CLAN_DOWN_K)
#if CLAN_B_ROWS
#define CLAN_SHARE_B (CLAN_BK / CLAN_DOWN_N)
#define CLAN_BEYOND_B (CLAN_PLACE_N(CLAN_DOWN_N, 0) - CLAN_PLACE_N(0, 0))
#else
#define CLAN_SHARE_B (CLAN_BN / CLAN_DOWN_K)
#define CLAN_BEYOND_B (CLAN_PLACE_K(CLAN_DOWN_K, 0) - CLAN_PLACE_K(0, 0))
#endif
#define CLAN_BEYOND_A (CLAN_PLACE_K(CLAN_DOWN_K, 0) - CLAN_PLACE_K(0, 0))

// The tiles that start at `l`, on their way to stage `next`. What lies beyond the end of k, or beyond
// the last column, is zero.
#define CLAN_BRING(l)                                                                              \
  {                                                                                                \
    if ((l) < to) {                                                                                \
      const uint at_a = local_a + next * CLAN_STAGE_A + place_a;                                   \
      const uint at_b = local_b + next * CLAN_STAGE_B + place_b;                                   \
      const int bytes_a = CLAN_BYTES((l) + along_a, to);                                           \
      _Pragma("unroll") for (uint v = 0; v < CLAN_SHARE_A; v++)                                    \
          clan_copy(at_a + v * CLAN_BEYOND_A, from_a + skip_a[v], bytes_a);                        \
      _Pragma("unroll") for (uint v = 0; v < CLAN_SHARE_B; v++) {                                  \
        const int bytes_b = !CLAN_B_ROWS ? CLAN_BYTES((l) + along_b, to)                           \
                            : (l) + along_b + v * CLAN_DOWN_N < to ? across_b : 0;                 \
        clan_copy(at_b + v * CLAN_BEYOND_B, from_b + skip_b[v], bytes_b);                          \
      }                                                                                            \
      from_a += CLAN_BK;                                                                           \
      from_b += CLAN_B_ROWS ? (clan_off)CLAN_BK * b_row : (clan_off)CLAN_BK;                       \
    }                                                                                              \
    CLAN_COMMIT;                                                                                   \
    next = next + 1 == CLAN_STAGES ? 0 : next + 1;                                                 \
  }

// Four 8 x 8 matrices of 16-bit, or 8 x 4 of 32-bit, elements; `trans` turns 16-bit ones.
#define CLAN_LDSM(r0, r1, r2, r3, p)                                                               \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"                  \
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3) : "r"(p) : "memory")
#define CLAN_LDSM_T(r0, r1, r2, r3, p)                                                             \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"            \
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3) : "r"(p) : "memory")

#if CLAN_MMA == 5
#define CLAN_SHAPE "m16n8k4.row.col.f64.f64.f64.f64"
#define CLAN_STEP 4
#elif CLAN_MMA == 4
#define CLAN_SHAPE "m16n8k16.row.col.f32.f16.f16.f32"
#define CLAN_STEP 16
#elif CLAN_MMA == 3
#define CLAN_SHAPE "m16n8k16.row.col.f32.bf16.bf16.f32"
#define CLAN_STEP 16
#else
#define CLAN_SHAPE "m16n8k8.row.col.f32.tf32.tf32.f32"
#define CLAN_STEP 8
#endif
#define CLAN_STEPS (CLAN_BK / CLAN_STEP)
#if CLAN_MMA == 5
#define CLAN_MULTIPLY(s, x, y)                                                                     \
  asm("mma.sync.aligned." CLAN_SHAPE " {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"        \
      : "+d"((s)[0]), "+d"((s)[1]), "+d"((s)[2]), "+d"((s)[3])                                     \
      : "d"((x)[0]), "d"((x)[1]), "d"((y)[0]))
#else
#define CLAN_MULTIPLY(s, x, y)                                                                     \
  asm("mma.sync.aligned." CLAN_SHAPE " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"((s)[0]), "+f"((s)[1]), "+f"((s)[2]), "+f"((s)[3])                                     \
      : "r"((x)[0]), "r"((x)[1]), "r"((x)[2]), "r"((x)[3]), "r"((y)[0]), "r"((y)[1]))
// The same on a sum of zero.
#define CLAN_MULTIPLY_0(s, x, y)                                                                   \
  asm("mma.sync.aligned." CLAN_SHAPE " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};" \
      : "=f"((s)[0]), "=f"((s)[1]), "=f"((s)[2]), "=f"((s)[3])                                     \
      : "r"((x)[0]), "r"((x)[1]), "r"((x)[2]), "r"((x)[3]), "r"((y)[0]), "r"((y)[1]), "f"(0.0f))
#endif

// The parts of an operand; the units ignore the 13 low bits of a part.
#if CLAN_ROUND
#define CLAN_HIGH(x) ((x) + 0x1000u)
#else
#define CLAN_HIGH(x) (x)
#endif
#define CLAN_LOW(x) as_uint(as_float(x) - as_float(CLAN_HIGH(x) & 0xffffe000u))

// Groups run over splits of k, then over tiles in bands, then over the batch, as in matmul_tiled.
// Each split takes `part` elements along k, a multiple of CLAN_BK.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void matmul_mma(CLAN_PRODUCT_PARAMS, const clan_ix tiles_m, const clan_ix tiles_n,
                const clan_ix total CLAN_BATCH_PARAMS CLAN_PARAMS) {
  __local __attribute__((aligned(128))) uchar memory[CLAN_STAGES * (CLAN_STAGE_A + CLAN_STAGE_B)];
  const uint local_a = (uint)(size_t)memory, local_b = local_a + CLAN_STAGES * CLAN_STAGE_A;
  clan_ix g = (clan_ix)get_group_id(0);
  const clan_ix split = g % splits;
  g /= splits;
  const clan_ix t = g / (tiles_m * tiles_n);
  g -= t * (tiles_m * tiles_n);
  const clan_ix band = g / (CLAN_BAND * tiles_n);
  g -= band * (CLAN_BAND * tiles_n);
  const clan_ix tall = min((clan_ix)CLAN_BAND, tiles_m - band * CLAN_BAND);
  const clan_ix i0 = (band * CLAN_BAND + g % tall) * CLAN_BM;
  const clan_ix j0 = g / tall * CLAN_BN;
  clan_off pa = a_offset, pb = b_offset, po = out_offset;
  {
    clan_ix rest = t;
    CLAN_BATCH(rest, pa, pb, po)
  }
  const clan_ix from = split * part, to = min(k, from + part);

  const uint me = get_local_id(0), warp = me / 32, lane = me % 32;
  const uint wi = warp % (CLAN_BM / CLAN_WM) * CLAN_WM, wj = warp / (CLAN_BM / CLAN_WM) * CLAN_WN;
  // The place of a work-item in a fragment: row or column `q`, element `r` along k.
  const uint q = lane / 4, r = lane % 4;
  clan_sum sums[CLAN_MI][CLAN_NI][4];
#pragma unroll
  for (uint i = 0; i < CLAN_MI; i++) {
#pragma unroll
    for (uint j = 0; j < CLAN_NI; j++) {
#pragma unroll
      for (uint e = 0; e < 4; e++) sums[i][j][e] = 0;
    }
  }

  // This work-item's share of the tiles. Rows beyond the last repeat it and are not stored.
  const uint line_a = me / CLAN_CK, chunk_a = me % CLAN_CK;
  const uint along_a = chunk_a * CLAN_EPC, place_a = CLAN_PLACE_K(line_a, chunk_a);
  __global const CLAN_STORED* from_a =
      a + pa + ((clan_off)i0 * a_row + (clan_off)(from + along_a));
  clan_off skip_a[CLAN_SHARE_A], skip_b[CLAN_SHARE_B];
#pragma unroll
  for (uint v = 0; v < CLAN_SHARE_A; v++) {
    const clan_ix line = line_a + v * CLAN_DOWN_K;
    skip_a[v] = (clan_off)(CLAN_EDGE ? min(line, m - 1 - i0) : line) * a_row;
  }
#if CLAN_B_ROWS
  const uint along_b = me / CLAN_CN, chunk_b = me % CLAN_CN;
  const uint place_b = CLAN_PLACE_N(along_b, chunk_b);
  const clan_ix column_b = j0 + chunk_b * CLAN_EPC;
  const int across_b = CLAN_BYTES(column_b, n);
  __global const CLAN_STORED* from_b = b + pb + ((clan_off)(from + along_b) * b_row + (clan_off)column_b);
#pragma unroll
  for (uint v = 0; v < CLAN_SHARE_B; v++) skip_b[v] = (clan_off)(v * CLAN_DOWN_N) * b_row;
#else
  const uint line_b = me / CLAN_CK, along_b = along_a, place_b = CLAN_PLACE_K(line_b, chunk_a);
  const int across_b = 0;
  __global const CLAN_STORED* from_b =
      b + pb + ((clan_off)j0 * b_column + (clan_off)(from + along_b));
#pragma unroll
  for (uint v = 0; v < CLAN_SHARE_B; v++) {
    const clan_ix line = line_b + v * CLAN_DOWN_K;
    skip_b[v] = (clan_off)(CLAN_EDGE ? min(line, n - 1 - j0) : line) * b_column;
  }
#endif
  uint now = 0, next = 0;
#pragma unroll
  for (uint s = 0; s < CLAN_STAGES - CLAN_EARLY; s++) CLAN_BRING(from + s * CLAN_BK)
  CLAN_ARRIVE

#if CLAN_MMA == 5
  for (clan_ix l = from; l < to; l += CLAN_BK) {
    __local const double* x_at = (__local const double*)(memory + now * CLAN_STAGE_A) + (wi + q) * CLAN_LINE_K + r;
    __local const double* y_at = (__local const double*)(memory + CLAN_STAGES * CLAN_STAGE_A + now * CLAN_STAGE_B);
#pragma unroll
    for (uint s = 0; s < CLAN_STEPS; s++) {
      double x[CLAN_MI][2], y[CLAN_NI][1];
#pragma unroll
      for (uint i = 0; i < CLAN_MI; i++) {
        x[i][0] = x_at[i * 16 * CLAN_LINE_K + s * 4];
        x[i][1] = x_at[(i * 16 + 8) * CLAN_LINE_K + s * 4];
      }
#pragma unroll
      for (uint j = 0; j < CLAN_NI; j++)
        y[j][0] = CLAN_B_ROWS ? y_at[(s * 4 + r) * CLAN_LINE_N + wj + j * 8 + q]
                              : y_at[(wj + j * 8 + q) * CLAN_LINE_K + s * 4 + r];
#pragma unroll
      for (uint i = 0; i < CLAN_MI; i++) {
#pragma unroll
        for (uint j = 0; j < CLAN_NI; j++) CLAN_MULTIPLY(sums[i][j], x[i], y[j]);
      }
    }
    now = now + 1 == CLAN_STAGES ? 0 : now + 1;
    CLAN_ARRIVE
    CLAN_BRING(l + CLAN_STAGES * CLAN_BK)
  }
#else
  // Fragments of the step that is multiplied and of the one that is loaded.
  uint x[2][CLAN_MI][4], y[2][CLAN_NI][2];
  // Which row and chunk of an 8 x 8 matrix a work-item points `ldmatrix` at.
  const uint xr = lane % 16, xc = lane / 16, yr = lane % 8 + lane / 16 * 8, yc = lane / 8 % 2;
#if CLAN_B_ROWS
#define CLAN_FETCH_Y(p, s)                                                                         \
  _Pragma("unroll") for (uint j = 0; j < CLAN_NI; j += 2)                                          \
      CLAN_LDSM_T(y[p][j][0], y[p][j][1], y[p][j + 1][0], y[p][j + 1][1],                          \
                  local_b + now * CLAN_STAGE_B + CLAN_PLACE_N((s) * 16 + xr, (wj + j * 8) / 8 + xc));
#else
#define CLAN_FETCH_Y(p, s)                                                                         \
  _Pragma("unroll") for (uint j = 0; j < CLAN_NI; j += 2)                                          \
      CLAN_LDSM(y[p][j][0], y[p][j][1], y[p][j + 1][0], y[p][j + 1][1],                            \
                local_b + now * CLAN_STAGE_B + CLAN_PLACE_K(wj + j * 8 + yr, (s) * 2 + yc));
#endif
#define CLAN_FRAGMENTS(p, s)                                                                       \
  {                                                                                                \
    _Pragma("unroll") for (uint i = 0; i < CLAN_MI; i++)                                           \
        CLAN_LDSM(x[p][i][0], x[p][i][1], x[p][i][2], x[p][i][3],                                  \
                  local_a + now * CLAN_STAGE_A + CLAN_PLACE_K(wi + i * 16 + xr, (s) * 2 + xc));    \
    CLAN_FETCH_Y(p, s)                                                                             \
  }
  CLAN_FRAGMENTS(0, 0)
#if CLAN_MMA == 2
  float d[CLAN_MI][CLAN_NI][4];
#endif
  for (clan_ix l = from; l < to; l += CLAN_BK) {
#pragma unroll
    for (uint s = 0; s < CLAN_STEPS; s++) {
      const uint p = s % 2;
      if (s == CLAN_STEPS - 1) {
        // All have read the last fragments of this stage, so it may be filled again.
        now = now + 1 == CLAN_STAGES ? 0 : now + 1;
        CLAN_ARRIVE
      }
      if (CLAN_EARLY && s == 0) CLAN_BRING(l + (CLAN_STAGES - 1) * CLAN_BK)
      CLAN_FRAGMENTS(p ^ 1, (s + 1) % CLAN_STEPS)
      if (!CLAN_EARLY && s == CLAN_STEPS - 1) CLAN_BRING(l + CLAN_STAGES * CLAN_BK)
#if CLAN_MMA == 2
      uint xh[CLAN_MI][4], xl[CLAN_MI][4];
#pragma unroll
      for (uint i = 0; i < CLAN_MI; i++) {
#pragma unroll
        for (uint e = 0; e < 4; e++) xh[i][e] = CLAN_HIGH(x[p][i][e]), xl[i][e] = CLAN_LOW(x[p][i][e]);
      }
#pragma unroll
      for (uint j = 0; j < CLAN_NI; j++) {
        uint yh[2], yl[2];
#pragma unroll
        for (uint e = 0; e < 2; e++) yh[e] = CLAN_HIGH(y[p][j][e]), yl[e] = CLAN_LOW(y[p][j][e]);
        // Independent sums one after another: each waits for the units on its own.
#pragma unroll
        for (uint i = 0; i < CLAN_MI; i++) {
          if (s == 0)
            CLAN_MULTIPLY_0(d[i][j], xl[i], yh);
          else
            CLAN_MULTIPLY(d[i][j], xl[i], yh);
        }
#pragma unroll
        for (uint i = 0; i < CLAN_MI; i++) CLAN_MULTIPLY(d[i][j], xh[i], yl);
#pragma unroll
        for (uint i = 0; i < CLAN_MI; i++) CLAN_MULTIPLY(d[i][j], xh[i], yh);
        if (s == CLAN_STEPS - 1) {
#pragma unroll
          for (uint i = 0; i < CLAN_MI; i++) {
#pragma unroll
            for (uint e = 0; e < 4; e++) sums[i][j][e] += d[i][j][e];
          }
        }
      }
#else
#pragma unroll
      for (uint i = 0; i < CLAN_MI; i++) {
        // There and back, so that one fragment in two is at hand already.
#pragma unroll
        for (uint z = 0; z < CLAN_NI; z++) {
          const uint j = i % 2 ? CLAN_NI - 1 - z : z;
          CLAN_MULTIPLY(sums[i][j], x[p][i], y[p][j]);
        }
      }
#endif
    }
  }
#endif

#pragma unroll
  for (uint i = 0; i < CLAN_MI; i++) {
#pragma unroll
    for (uint h = 0; h < 2; h++) {
      const clan_ix row = i0 + wi + i * 16 + h * 8 + q;
      if (CLAN_EDGE && row >= m) continue;
#pragma unroll
      for (uint j = 0; j < CLAN_NI; j++) {
        const clan_ix column = j0 + wj + j * 8 + r * 2;
        clan_sum s[2] = {sums[i][j][h * 2], sums[i][j][h * 2 + 1]};
#if CLAN_MMA == 2
#pragma unroll
        for (uint e = 0; e < 2; e++) {
          if (!isfinite(s[e]) && column + e < n) {
            s[e] = 0;
            for (clan_ix l = from; l < to; l++) {
              const clan_off ay = (clan_off)(column + e) * b_column + (clan_off)l;
              s[e] = fma(a[pa + (clan_off)row * a_row + (clan_off)l], b[pb + ay], s[e]);
            }
          }
        }
#endif
#if CLAN_OUT_VEC == 2
        if (splits == 1) {
          if (!CLAN_EDGE || column < n) {
            const clan_ix at = (t * m + row) * n + column;
            const clan_result v[2] = {CLAN_RESULT(at, s[0]), CLAN_RESULT(at + 1, s[1])};
            CLAN_PUTV(out, po + (clan_off)row * out_row + (clan_off)column, v);
          }
          continue;
        }
#endif
#pragma unroll
        for (uint e = 0; e < 2; e++) {
          if (!CLAN_EDGE || column + e < n) CLAN_STORE(t, row, column + e, s[e])
        }
      }
    }
  }
}
#endif
