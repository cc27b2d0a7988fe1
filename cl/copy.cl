// copy: transposes, the copies in which input and output are contiguous along different axes.
//
// local: a CLAN_TILE x CLAN_TILE tile, one column wider than it needs so that reading it along
// either axis touches different banks; private: the elements that a work-item carries, all loaded
// before the first is stored; global: both sides coalesced; constant: not used.
//
// Other copies go through cl/map.cl. Elements are moved as unsigned integers of their size.
#ifndef CLAN_BATCH_PARAMS
typedef uint clan_t;
#define CLAN_BATCH_PARAMS
#define CLAN_BATCH_OFFSETS(b, from, to)
#endif
#ifndef CLAN_TILE
#define CLAN_TILE 32 // side of the tile; a multiple of it divides into work-items evenly
#endif
#define CLAN_LINES (CLAN_GROUP / CLAN_TILE)

// Output element (y, x) at y * out_step + x is input element (y, x) at y + x * in_step, for
// `height` by `width` elements and for every index of the other axes.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void transpose(__global clan_t* restrict out, __global const clan_t* restrict in, const clan_off offset,
               const clan_ix height, const clan_ix width, const clan_off in_step,
               const clan_off out_step, const clan_ix tiles_y, const clan_ix tiles_x CLAN_BATCH_PARAMS) {
  __local clan_t tile[CLAN_TILE][CLAN_TILE + 1];
  const uint fast = get_local_id(0) % CLAN_TILE, slow = get_local_id(0) / CLAN_TILE;
  clan_ix g = get_group_id(0);
  const clan_ix x0 = g % tiles_x * CLAN_TILE;
  g /= tiles_x;
  const clan_ix y0 = g % tiles_y * CLAN_TILE;
  clan_ix b = g / tiles_y;
  clan_off from = offset, to = 0;
  CLAN_BATCH_OFFSETS(b, from, to)
  from += (clan_off)(y0 + fast) + (clan_off)(x0 + slow) * in_step;
  to += (clan_off)(y0 + slow) * out_step + (clan_off)(x0 + fast);
  const bool whole = y0 + CLAN_TILE <= height && x0 + CLAN_TILE <= width;
  clan_t v[CLAN_TILE / CLAN_LINES];
  if (whole) {
#pragma unroll
    for (int k = 0; k < CLAN_TILE / CLAN_LINES; k++) v[k] = in[from + (clan_off)(k * CLAN_LINES) * in_step];
#pragma unroll
    for (int k = 0; k < CLAN_TILE / CLAN_LINES; k++) tile[slow + k * CLAN_LINES][fast] = v[k];
  } else if (y0 + fast < height) {
    for (uint x = slow; x < CLAN_TILE && x0 + x < width; x += CLAN_LINES)
      tile[x][fast] = in[from + (clan_off)(x - slow) * in_step];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  if (whole) {
#pragma unroll
    for (int k = 0; k < CLAN_TILE / CLAN_LINES; k++)
      out[to + (clan_off)(k * CLAN_LINES) * out_step] = tile[fast][slow + k * CLAN_LINES];
  } else if (x0 + fast < width) {
    for (uint y = slow; y < CLAN_TILE && y0 + y < height; y += CLAN_LINES)
      out[to + (clan_off)(y - slow) * out_step] = tile[fast][y];
  }
}
