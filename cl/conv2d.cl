// conv2d: cross-correlation of images with a small filter, and of solids, layer by layer.
//
// constant: the filter's coefficients, which every work-item reads at the same time;
// local: the tile of the image that a work-group needs, with its halo, read from global memory
// once; private: a column of CLAN_PATCH results a work-item, so that a value from local memory is
// used for several of them; global: image and result, coalesced. Large filters, and CPUs, whose local memory is
// global memory, have kernels without tiles.
//
// Products and sums may be contracted here: a filter is no place for bit equality, and it halves
// the arithmetic.
#pragma OPENCL FP_CONTRACT ON

#ifndef CLAN_FH
#define CLAN_FH 3 // filter height and width; arguments in `conv2d_direct` for large filters
#define CLAN_FW 3
#endif
#ifndef CLAN_FD
#define CLAN_FD 1 // filter depth; images have depth 1
#endif
#ifndef CLAN_STORED
#define CLAN_STORED float // type in memory
#define CLAN_LOAD(a, i) ((a)[i])
typedef float clan_sum; // type of products and sums; integers wrap
typedef float clan_out_c;
typedef float clan_out_t;
#define CLAN_PUT(out, i, v) ((out)[i] = (v))
#endif
#ifndef CLAN_BORDER
#define CLAN_BORDER 0 // 0 zero, 1 nearest, 2 reflect, 3 wrap
#endif
#ifndef CLAN_FILTER_SPACE
#define CLAN_FILTER_SPACE __constant
#endif
#ifndef CLAN_MAD
#define CLAN_MAD(a, b, c) ((a) * (b) + (c))
#endif
#ifndef CLAN_TILE_X
#define CLAN_TILE_X 64 // results of a group along x, one a work-item
#endif
#ifndef CLAN_PATCH
#define CLAN_PATCH 8 // results of a work-item along y
#endif

// The position that stands for i on an axis of n; -1 where the border is zero.
static inline clan_off clan_border(clan_off i, const clan_off n) {
#if CLAN_BORDER == 0
  return (i < 0 || i >= n) ? -1 : i;
#elif CLAN_BORDER == 1
  return clamp(i, (clan_off)0, n - 1);
#elif CLAN_BORDER == 2
  const clan_off period = 2 * (n - 1);
  if (period == 0) return 0;
  i = (i < 0 ? -i : i) % period;
  return i < n ? i : period - i;
#else
  i %= n;
  return i < 0 ? i + n : i;
#endif
}

#if !defined(CLAN_DIRECT) && !defined(CLAN_LANES)
#define CLAN_TILE_Y (CLAN_GROUP / CLAN_TILE_X * CLAN_PATCH)
#define CLAN_LOCAL_X (CLAN_TILE_X + CLAN_FW - 1)
#define CLAN_LOCAL_Y (CLAN_TILE_Y + CLAN_FH - 1)

// `depth` layers of `height` by `width`, solid after solid; groups run over tiles of x, then of y, then
// over layers.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void conv2d_tiled(__global clan_out_t* restrict out, __global const CLAN_STORED* restrict in, const clan_off offset,
                  __constant CLAN_STORED* filter, const clan_off filter_offset, const clan_ix depth, const clan_ix height,
                  const clan_ix width, const clan_ix tiles_y, const clan_ix tiles_x) {
  __local clan_sum tile[CLAN_LOCAL_Y * CLAN_LOCAL_X];
  const uint me = get_local_id(0);
  clan_ix g = get_group_id(0);
  const clan_off x0 = (clan_off)(g % tiles_x) * CLAN_TILE_X;
  g /= tiles_x;
  const clan_off y0 = (clan_off)(g % tiles_y) * CLAN_TILE_Y;
  const clan_off layer = (clan_off)(g / tiles_y);
  const clan_off area = (clan_off)(height * width), image = layer * area;
  const clan_off left = x0 - CLAN_FW / 2, top = y0 - CLAN_FH / 2;
  const bool inside = left >= 0 && top >= 0 && left + CLAN_LOCAL_X <= (clan_off)width && top + CLAN_LOCAL_Y <= (clan_off)height;
  const uint tx = me % CLAN_TILE_X, ty = me / CLAN_TILE_X * CLAN_PATCH;
  clan_sum sum[CLAN_PATCH];
#pragma unroll
  for (int i = 0; i < CLAN_PATCH; i++) sum[i] = 0;
#if CLAN_FD > 1
  const clan_off z = layer % (clan_off)depth;
#pragma unroll 1
  for (int d = 0; d < CLAN_FD; d++) {
    const clan_off zz = clan_border(z + d - CLAN_FD / 2, (clan_off)depth);
    const clan_off from = offset + (layer - z + zz) * area;
    // The last layer has been read by all.
    barrier(CLK_LOCAL_MEM_FENCE);
#else
  {
    const int d = 0;
    const clan_off zz = 0, from = offset + image;
#endif
    if (inside && zz >= 0) {
      const clan_off corner = from + top * (clan_off)width + left;
#pragma unroll 4
      for (uint k = me; k < CLAN_LOCAL_Y * CLAN_LOCAL_X; k += CLAN_GROUP)
        tile[k] = (clan_sum)CLAN_LOAD(in, corner + (clan_off)(k / CLAN_LOCAL_X) * (clan_off)width + (clan_off)(k % CLAN_LOCAL_X));
    } else {
      for (uint k = me; k < CLAN_LOCAL_Y * CLAN_LOCAL_X; k += CLAN_GROUP) {
        const clan_off y = clan_border(top + (clan_off)(k / CLAN_LOCAL_X), (clan_off)height);
        const clan_off x = clan_border(left + (clan_off)(k % CLAN_LOCAL_X), (clan_off)width);
        tile[k] = (zz < 0 || y < 0 || x < 0) ? (clan_sum)0 : (clan_sum)CLAN_LOAD(in, from + y * (clan_off)width + x);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int r = 0; r < CLAN_PATCH + CLAN_FH - 1; r++) {
#pragma unroll
      for (int j = 0; j < CLAN_FW; j++) {
        const clan_sum v = tile[(ty + r) * CLAN_LOCAL_X + tx + j];
#pragma unroll
        for (int i = 0; i < CLAN_PATCH; i++) {
          // Row r of the column meets row r - i of the filter in result i.
          if (r - i >= 0 && r - i < CLAN_FH)
            sum[i] = CLAN_MAD((clan_sum)CLAN_LOAD(filter, filter_offset + (d * CLAN_FH + r - i) * CLAN_FW + j), v, sum[i]);
        }
      }
    }
  }
  const clan_off x = x0 + tx;
  if (x < (clan_off)width) {
#pragma unroll
    for (int i = 0; i < CLAN_PATCH; i++) {
      const clan_off y = y0 + ty + i;
      if (y < (clan_off)height) CLAN_PUT(out, image + y * (clan_off)width + x, (clan_out_c)sum[i]);
    }
  }
}
#elif defined(CLAN_DIRECT)

// One result a work-item, straight from global memory, for large filters, and for CPUs whose drivers limit the rounds
// of loops. The filter is read from constant memory where it fits.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void conv2d_direct(__global clan_out_t* restrict out, __global const CLAN_STORED* restrict in, const clan_off offset,
                   CLAN_FILTER_SPACE const CLAN_STORED* filter, const clan_off filter_offset, const clan_ix depth,
                   const clan_ix height, const clan_ix width, const clan_ix rows, const clan_ix groups_x,
                   const clan_off filter_depth, const clan_off filter_height, const clan_off filter_width) {
  const clan_ix row = get_group_id(0) / groups_x;
  const clan_off x = (clan_off)(get_group_id(0) % groups_x) * CLAN_GROUP + (clan_off)get_local_id(0);
  if (row >= rows || x >= (clan_off)width) return;
  const clan_off y = (clan_off)(row % height), layer = (clan_off)(row / height);
  const clan_off z = layer % (clan_off)depth, area = (clan_off)(height * width);
  const clan_off left = x - CLAN_FW / 2, top = y - CLAN_FH / 2;
  const bool inside = left >= 0 && left + CLAN_FW <= (clan_off)width;
  clan_sum sum = 0;
  for (clan_off d = 0; d < CLAN_FD; d++) {
    const clan_off zz = CLAN_FD == 1 ? z : clan_border(z + d - CLAN_FD / 2, (clan_off)depth);
    if (zz < 0) continue;
    const clan_off from = offset + (layer - z + zz) * area, taps = filter_offset + d * CLAN_FH * CLAN_FW;
    for (clan_off i = 0; i < CLAN_FH; i++) {
      const clan_off yy = clan_border(top + i, (clan_off)height);
      if (yy < 0) continue;
      const clan_off line = from + yy * (clan_off)width;
      if (inside) {
        for (clan_off j = 0; j < CLAN_FW; j++)
          sum += (clan_sum)CLAN_LOAD(filter, taps + i * CLAN_FW + j) * (clan_sum)CLAN_LOAD(in, line + left + j);
      } else {
        for (clan_off j = 0; j < CLAN_FW; j++) {
          const clan_off xx = clan_border(left + j, (clan_off)width);
          if (xx >= 0)
            sum += (clan_sum)CLAN_LOAD(filter, taps + i * CLAN_FW + j) * (clan_sum)CLAN_LOAD(in, line + xx);
        }
      }
    }
  }
  CLAN_PUT(out, (clan_off)row * (clan_off)width + x, (clan_out_c)sum);
}
#else

// For CPUs: lone work-items, CLAN_TILE_X results of a row each, straight from global memory. Each coefficient meets
// CLAN_LANES neighbours before the next one comes, so that the compiler makes vectors of them.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void conv2d_lanes(__global clan_out_t* restrict out, __global const CLAN_STORED* restrict in, const clan_off offset,
                  CLAN_FILTER_SPACE const CLAN_STORED* filter, const clan_off filter_offset, const clan_ix depth,
                  const clan_ix height, const clan_ix width, const clan_ix rows, const clan_ix groups_x,
                  const clan_off filter_depth, const clan_off filter_height, const clan_off filter_width) {
  const clan_ix row = get_group_id(0) / groups_x, begin = get_group_id(0) % groups_x * CLAN_TILE_X;
  const clan_off y = (clan_off)(row % height), layer = (clan_off)(row / height);
  const clan_off z = layer % (clan_off)depth, area = (clan_off)(height * width), top = y - CLAN_FH / 2;
  for (clan_ix x = begin; x < min(width, begin + CLAN_TILE_X); x += CLAN_LANES) {
    const uint count = (uint)min((clan_ix)CLAN_LANES, width - x);
    const clan_off left = (clan_off)x - CLAN_FW / 2;
    const bool inside = left >= 0 && left + CLAN_LANES + CLAN_FW - 1 <= (clan_off)width;
    clan_sum sum[CLAN_LANES];
    CLAN_VECTORIZED for (uint l = 0; l < CLAN_LANES; l++) sum[l] = 0;
    for (clan_off d = 0; d < CLAN_FD; d++) {
      const clan_off zz = CLAN_FD == 1 ? z : clan_border(z + d - CLAN_FD / 2, (clan_off)depth);
      if (zz < 0) continue;
      const clan_off from = offset + (layer - z + zz) * area;
      for (clan_off i = 0; i < CLAN_FH; i++) {
        const clan_off yy = clan_border(top + i, (clan_off)height);
        if (yy < 0) continue;
        const clan_off line = from + yy * (clan_off)width, taps = filter_offset + (d * CLAN_FH + i) * CLAN_FW;
        if (inside) {
          __global const CLAN_STORED* const at = in + line + left;
          for (clan_off j = 0; j < CLAN_FW; j++) {
            const clan_sum f = (clan_sum)CLAN_LOAD(filter, taps + j);
            CLAN_VECTORIZED for (uint l = 0; l < CLAN_LANES; l++) sum[l] += f * (clan_sum)CLAN_LOAD(at, j + l);
          }
        } else {
          for (clan_off j = 0; j < CLAN_FW; j++) {
            const clan_sum f = (clan_sum)CLAN_LOAD(filter, taps + j);
            for (uint l = 0; l < count; l++) {
              const clan_off xx = clan_border(left + j + (clan_off)l, (clan_off)width);
              if (xx >= 0) sum[l] += f * (clan_sum)CLAN_LOAD(in, line + xx);
            }
          }
        }
      }
    }
    const clan_off to = (clan_off)row * (clan_off)width + (clan_off)x;
    CLAN_VECTORIZED for (uint l = 0; l < count; l++) CLAN_PUT(out, to + l, (clan_out_c)sum[l]);
  }
}
#endif
