// stencil: every element from its neighbourhood, by a rule that the user gives as a piece of OpenCL C.
//
// local: the part of the array that a work-group needs, with its halo, read from global memory once, the border
// filled in; private: a few results a work-item, along the axis that moves slowest, so that compilers keep
// what neighbouring results share; global: array and result, coalesced; constant: not used.
//
// `stencil_direct` reads straight from global memory: for neighbourhoods that no tile holds. `stencil_lines` does so on
// CPUs, whose local memory is global memory: lone work-items walk along lines, in loops that compilers make vectors of.
//
// Arrays have one to three axes here, CLAN_RANK, and as many as there are of them one after the other; missing axes have
// length 1 and radius 0. In the user's text `at` takes as many offsets, which end at the radius: nothing else
// is ever read.
#ifndef CLAN_RANK
typedef float clan_t; // the type that values are computed in
#define CLAN_STORED float
#define CLAN_LOAD(a, i) ((a)[i])
typedef float clan_out_t;
#define CLAN_PUT(out, i, v) ((out)[i] = (v))
#define CLAN_RANK 2
#define CLAN_RZ 0 // radii
#define CLAN_RY 1
#define CLAN_RX 1
#define CLAN_RULE return at(-1, 0) + at(1, 0) + at(0, -1) + at(0, 1) - 4 * at(0, 0);
#endif
#ifndef CLAN_BORDER
#define CLAN_BORDER 0 // 0 zero, 1 nearest, 2 reflect, 3 wrap
#endif
#ifndef CLAN_ITEMS_X
#define CLAN_ITEMS_X 64 // work-items along x; the others of a group are along y
#endif
#ifndef CLAN_PATCH
#define CLAN_PATCH 4 // results a work-item, along the first axis
#endif

#define CLAN_WITHIN(v, r) clamp((int)(v), -(r), (int)(r))
#if CLAN_RANK == 1
#define at(x) CLAN_AT(0, 0, CLAN_WITHIN(x, CLAN_RX))
#elif CLAN_RANK == 2
#define at(y, x) CLAN_AT(0, CLAN_WITHIN(y, CLAN_RY), CLAN_WITHIN(x, CLAN_RX))
#else
#define at(z, y, x) CLAN_AT(CLAN_WITHIN(z, CLAN_RZ), CLAN_WITHIN(y, CLAN_RY), CLAN_WITHIN(x, CLAN_RX))
#endif

// The position that stands for i on an axis of n; -1 where the border is zero.
static inline clan_off clan_border(clan_off i, const clan_off n) {
  if (i >= 0 && i < n) return i;
#if CLAN_BORDER == 0
  return -1;
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

// An element of an array that begins at `in`, or what the border says.
static inline clan_t clan_look(__global const CLAN_STORED* restrict in, clan_off z, clan_off y, clan_off x,
                               const clan_off depth, const clan_off height, const clan_off width) {
  z = clan_border(z, depth);
  y = clan_border(y, height);
  x = clan_border(x, width);
  if (z < 0 || y < 0 || x < 0) return 0;
  const clan_off from = (z * height + y) * width + x;
  return CLAN_LOAD(in, from);
}

#ifndef CLAN_DIRECT
#define CLAN_ITEMS_Y (CLAN_GROUP / CLAN_ITEMS_X)
#define CLAN_TILE_X (CLAN_RANK == 1 ? CLAN_GROUP * CLAN_PATCH : CLAN_ITEMS_X)
#define CLAN_TILE_Y (CLAN_RANK == 1 ? 1 : CLAN_RANK == 2 ? CLAN_ITEMS_Y * CLAN_PATCH : CLAN_ITEMS_Y)
#define CLAN_TILE_Z (CLAN_RANK == 3 ? CLAN_PATCH : 1)
#define CLAN_LOCAL_X (CLAN_TILE_X + 2 * CLAN_RX)
#define CLAN_LOCAL_Y (CLAN_TILE_Y + 2 * CLAN_RY)
#define CLAN_LOCAL_Z (CLAN_TILE_Z + 2 * CLAN_RZ)
#define CLAN_LOCAL (CLAN_LOCAL_X * CLAN_LOCAL_Y * CLAN_LOCAL_Z)

#define CLAN_AT(z, y, x) clan_here[((z) * CLAN_LOCAL_Y + (y)) * CLAN_LOCAL_X + (x)]
static inline clan_t clan_rule(__local const clan_t* clan_here) {
  CLAN_RULE
}
#undef CLAN_AT

// Groups run over tiles of x, then of y, of z, then over arrays.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void stencil_tiled(__global clan_out_t* restrict out, __global const CLAN_STORED* restrict in, const clan_off offset,
                   const clan_off depth, const clan_off height, const clan_off width, const clan_ix tiles_z,
                   const clan_ix tiles_y, const clan_ix tiles_x) {
  __local clan_t tile[CLAN_LOCAL];
  const uint me = get_local_id(0);
  clan_ix g = get_group_id(0);
  const clan_off x0 = (clan_off)(g % tiles_x) * CLAN_TILE_X;
  g /= tiles_x;
  const clan_off y0 = (clan_off)(g % tiles_y) * CLAN_TILE_Y;
  g /= tiles_y;
  const clan_off z0 = (clan_off)(g % tiles_z) * CLAN_TILE_Z;
  const clan_off array = (clan_off)(g / tiles_z) * depth * height * width;
  __global const CLAN_STORED* from = in + (offset + array);
  const clan_off left = x0 - CLAN_RX, top = y0 - CLAN_RY, front = z0 - CLAN_RZ;
  if (left >= 0 && top >= 0 && front >= 0 && left + CLAN_LOCAL_X <= width && top + CLAN_LOCAL_Y <= height &&
      front + CLAN_LOCAL_Z <= depth) {
    const clan_off corner = (front * height + top) * width + left;
#pragma unroll 4
    for (uint line = me / CLAN_ITEMS_X; line < CLAN_LOCAL_Y * CLAN_LOCAL_Z; line += CLAN_ITEMS_Y) {
      const clan_off at_line = (clan_off)(line / CLAN_LOCAL_Y) * height + (clan_off)(line % CLAN_LOCAL_Y);
      const clan_off begin = corner + at_line * width;
#pragma unroll
      for (uint x = 0; x < CLAN_LOCAL_X; x += CLAN_ITEMS_X) {
        const uint lx = x + me % CLAN_ITEMS_X;
        const clan_off position = begin + (clan_off)lx;
        if (lx < CLAN_LOCAL_X) tile[line * CLAN_LOCAL_X + lx] = CLAN_LOAD(from, position);
      }
    }
  } else {
    for (uint k = me; k < CLAN_LOCAL; k += CLAN_GROUP) {
      const uint line = k / CLAN_LOCAL_X;
      tile[k] = clan_look(from, front + (clan_off)(line / CLAN_LOCAL_Y), top + (clan_off)(line % CLAN_LOCAL_Y),
                          left + (clan_off)(k % CLAN_LOCAL_X), depth, height, width);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#if CLAN_RANK == 1
#pragma unroll
  for (uint p = 0; p < CLAN_PATCH; p++) {
    const uint tx = me + p * CLAN_GROUP;
    const clan_t value = clan_rule(tile + CLAN_RX + tx);
    if (x0 + (clan_off)tx < width) CLAN_PUT(out, array + x0 + (clan_off)tx, value);
  }
#else
  const uint tx = me % CLAN_ITEMS_X;
#pragma unroll
  for (uint p = 0; p < CLAN_PATCH; p++) {
    const uint ty = CLAN_RANK == 2 ? me / CLAN_ITEMS_X * CLAN_PATCH + p : me / CLAN_ITEMS_X;
    const uint tz = CLAN_RANK == 2 ? 0 : p;
    const clan_t value = clan_rule(tile + ((tz + CLAN_RZ) * CLAN_LOCAL_Y + ty + CLAN_RY) * CLAN_LOCAL_X + tx + CLAN_RX);
    const clan_off x = x0 + (clan_off)tx, y = y0 + (clan_off)ty, z = z0 + (clan_off)tz;
    if (x < width && y < height && z < depth) CLAN_PUT(out, array + (z * height + y) * width + x, value);
  }
#endif
}
#else

#define CLAN_AT(z, y, x) CLAN_LOAD(clan_here, (clan_off)(z) * clan_slab + (clan_off)(y) * clan_line + (clan_off)(x))
static inline clan_t clan_rule_inside(__global const CLAN_STORED* restrict clan_here, const clan_off clan_line,
                                      const clan_off clan_slab) {
  CLAN_RULE
}
#undef CLAN_AT
#define CLAN_AT(z, y, x) clan_look(clan_in, clan_z + (z), clan_y + (y), clan_x + (x), clan_depth, clan_height, clan_width)
static inline clan_t clan_rule_edge(__global const CLAN_STORED* restrict clan_in, const clan_off clan_z, const clan_off clan_y,
                                    const clan_off clan_x, const clan_off clan_depth, const clan_off clan_height,
                                    const clan_off clan_width) {
  CLAN_RULE
}
#undef CLAN_AT

#ifdef CLAN_RUN
// Results `from` on, CLAN_RUN a work-item, of all `n`, as they lie one after the other.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void stencil_lines(__global clan_out_t* restrict out, __global const CLAN_STORED* restrict in, const clan_off offset,
                   const clan_off depth, const clan_off height, const clan_off width, const clan_off n) {
  clan_off i = (clan_off)get_global_id(0) * CLAN_RUN;
  const clan_off to = min(n, i + CLAN_RUN);
  while (i < to) {
    const clan_off line = i / width;
    const clan_off y = line % height, z = line / height % depth;
    __global const CLAN_STORED* from = in + (offset + line / height / depth * depth * height * width);
    const clan_off start = (z * height + y) * width;
    // Where the line of the array that this one is begins in the result.
    __global clan_out_t* to_line = out + line * width;
    const clan_off begin = i - line * width, end = min(width, begin + (to - i));
    const bool inside = y >= CLAN_RY && y + CLAN_RY < height && z >= CLAN_RZ && z + CLAN_RZ < depth;
    const clan_off first = inside ? clamp((clan_off)CLAN_RX, begin, end) : end;
    const clan_off last = clamp(width - CLAN_RX, first, end);
    for (clan_off x = begin; x < first; x++)
      CLAN_PUT(to_line, x, clan_rule_edge(from, z, y, x, depth, height, width));
    CLAN_VECTORIZED for (clan_off x = first; x < last; x++)
      CLAN_PUT(to_line, x, clan_rule_inside(from + (start + x), width, height * width));
    for (clan_off x = last; x < end; x++)
      CLAN_PUT(to_line, x, clan_rule_edge(from, z, y, x, depth, height, width));
    i += end - begin;
  }
}
#else
// Groups run over parts of a line, then over the lines of all arrays.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void stencil_direct(__global clan_out_t* restrict out, __global const CLAN_STORED* restrict in, const clan_off offset,
                    const clan_off depth, const clan_off height, const clan_off width, const clan_ix groups_x) {
  const clan_off line = (clan_off)(get_group_id(0) / groups_x);
  const clan_off x0 = (clan_off)(get_group_id(0) % groups_x) * CLAN_GROUP;
  const clan_off x = x0 + (clan_off)get_local_id(0);
  if (x >= width) return;
  const clan_off y = line % height, z = line / height % depth;
  const clan_off array = line / height / depth * depth * height * width;
  __global const CLAN_STORED* from = in + (offset + array);
  const clan_off here = (z * height + y) * width + x;
  // The same for the whole group, so that its loop is one of plain loads.
  const bool inside = x0 >= CLAN_RX && x0 + CLAN_GROUP + CLAN_RX <= width && y >= CLAN_RY && y + CLAN_RY < height &&
                      z >= CLAN_RZ && z + CLAN_RZ < depth;
  clan_t value;
  if (inside) value = clan_rule_inside(from + here, width, height * width);
  else value = clan_rule_edge(from, z, y, x, depth, height, width);
  CLAN_PUT(out, array + here, value);
}
#endif
#endif
