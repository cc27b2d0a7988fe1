// ladder: one matrix product, C = A * B of n x n floats in row-major order, four times over, each time
// with one more memory in use. For reading and for the example 05_memory_spaces; the library computes
// products with matmul.cl, whose kernels take any shape, stride and type.
//
//   ladder_global    nothing is kept: 2 n reads of global memory a result
//   ladder_constant  A in constant memory, slab by slab: one read serves all items of a warp
//   ladder_local     tiles of A and B in local memory: a read of global memory serves CLAN_SIDE items
//   ladder_private   tiles in local memory and 8 x 8 sums in registers: a read of
//                    global memory serves CLAN_TILE results, one of local memory 8
//
// n is a multiple of CLAN_TILE, CLAN_SLAB and 32, so that no kernel has code for edges.
#ifndef CLAN_SIDE
#define CLAN_SIDE 16 // rows and columns of a tile in ladder_local
#endif
#ifndef CLAN_TILE
#define CLAN_TILE 128 // rows and columns of the results of a group in ladder_private
#endif
#ifndef CLAN_DEPTH
#define CLAN_DEPTH 16 // columns of A, and rows of B, in local memory in ladder_private
#endif
#ifndef CLAN_SLAB
#define CLAN_SLAB 128 // columns of a slab in ladder_constant
#endif
#ifndef CLAN_ROWS
#define CLAN_ROWS 128 // rows of a slab: CLAN_ROWS * CLAN_SLAB floats are 64 KiB, all there is to be sure of
#endif

#pragma OPENCL FP_CONTRACT ON

// One work-item a result. Neighbouring items have neighbouring columns: what they read of B lies side
// by side, and what they read of A is the same element. Only caches keep anything.
__kernel void ladder_global(const uint n, __global const float* restrict a,
                            __global const float* restrict b, __global float* restrict c) {
  const size_t column = get_global_id(0), row = get_global_id(1);
  float sum = 0;
  for (uint k = 0; k < n; k++) sum += a[row * n + k] * b[k * (size_t)n + column];
  c[row * n + column] = sum;
}

// Copies A so that each slab lies in one piece, slabs of the same rows one after the other.
__kernel void ladder_slabs(const uint n, __global const float* restrict a,
                           __global float* restrict slabs) {
  const size_t column = get_global_id(0), row = get_global_id(1);
  const size_t slab = row / CLAN_ROWS * (n / CLAN_SLAB) + column / CLAN_SLAB;
  slabs[(slab * CLAN_ROWS + row % CLAN_ROWS) * CLAN_SLAB + column % CLAN_SLAB] = a[row * n + column];
}

// The same with a slab of A in constant memory: CLAN_ROWS rows from `row0`, CLAN_SLAB columns from
// `k0`. Constant memory has a cache of its own that hands one element to a whole warp at once, which is
// how A is read here. It is small: the product takes n * n / (CLAN_ROWS * CLAN_SLAB) launches, and
// between them the sums wait in C.
__kernel void ladder_constant(const uint n, const uint row0, const uint k0,
                              __constant float* slab, __global const float* restrict b,
                              __global float* restrict c) {
  const size_t column = get_global_id(0);
  const uint row = (uint)get_global_id(1);
  __global float* at = c + (row0 + row) * (size_t)n + column;
  float sum = k0 == 0 ? 0.0f : *at;
  for (uint k = 0; k < CLAN_SLAB; k++)
    sum += slab[row * CLAN_SLAB + k] * b[(k0 + k) * (size_t)n + column];
  *at = sum;
}

// A group of CLAN_SIDE x CLAN_SIDE items first copies a tile of each operand into local memory, an
// element an item, and then all of them read all of it from there.
__kernel __attribute__((reqd_work_group_size(CLAN_SIDE, CLAN_SIDE, 1)))
void ladder_local(const uint n, __global const float* restrict a, __global const float* restrict b,
                  __global float* restrict c) {
  __local float ta[CLAN_SIDE][CLAN_SIDE], tb[CLAN_SIDE][CLAN_SIDE];
  const uint x = get_local_id(0), y = get_local_id(1);
  const size_t column = get_global_id(0), row = get_global_id(1);
  float sum = 0;
  for (uint k0 = 0; k0 < n; k0 += CLAN_SIDE) {
    ta[y][x] = a[row * n + k0 + x];
    tb[y][x] = b[(k0 + y) * (size_t)n + column];
    barrier(CLK_LOCAL_MEM_FENCE); // the tiles are there
    for (uint k = 0; k < CLAN_SIDE; k++) sum += ta[y][k] * tb[k][x];
    barrier(CLK_LOCAL_MEM_FENCE); // and may be overwritten
  }
  c[row * n + column] = sum;
}

// An item computes 8 x 8 results, whose sums stay in its registers: two quarters of four rows and two
// of four columns, half a tile apart, so that neighbouring items read neighbouring vectors of local
// memory. For 16 floats from there it does 64 multiplications. The tile of A is stored column by column,
// and those of four more floats than needed, so that the columns start in different banks.
#define CLAN_REG 8
#define CLAN_ITEMS (CLAN_TILE / CLAN_REG)
#define CLAN_GROUP (CLAN_ITEMS * CLAN_ITEMS)
#define CLAN_QUADS (CLAN_TILE * CLAN_DEPTH / 4 / CLAN_GROUP) // vectors an item copies of each operand

__kernel __attribute__((reqd_work_group_size(CLAN_ITEMS, CLAN_ITEMS, 1)))
void ladder_private(const uint n, __global const float* restrict a, __global const float* restrict b,
                    __global float* restrict c) {
  __local float ta[CLAN_DEPTH][CLAN_TILE + 4] __attribute__((aligned(16)));
  __local float tb[CLAN_DEPTH][CLAN_TILE] __attribute__((aligned(16)));
  const uint x = get_local_id(0), y = get_local_id(1), item = y * CLAN_ITEMS + x;
  const size_t column0 = get_group_id(0) * CLAN_TILE, row0 = get_group_id(1) * CLAN_TILE;
  float4 sum[8][2];
#pragma unroll
  for (int r = 0; r < 8; r++) sum[r][0] = sum[r][1] = (float4)(0.0f);
  for (uint k0 = 0; k0 < n; k0 += CLAN_DEPTH) {
#pragma unroll
    for (uint q = 0; q < CLAN_QUADS; q++) {
      const uint f = item + q * CLAN_GROUP;
      const uint row = f / (CLAN_DEPTH / 4), ka = f % (CLAN_DEPTH / 4) * 4;
      const float4 va = vload4(0, a + (row0 + row) * n + k0 + ka);
      ta[ka][row] = va.s0, ta[ka + 1][row] = va.s1;
      ta[ka + 2][row] = va.s2, ta[ka + 3][row] = va.s3;
      const uint kb = f / (CLAN_TILE / 4), column = f % (CLAN_TILE / 4) * 4;
      vstore4(vload4(0, b + (k0 + kb) * (size_t)n + column0 + column), 0, &tb[kb][column]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (uint k = 0; k < CLAN_DEPTH; k++) {
      const float4 a0 = vload4(y, ta[k]), a1 = vload4(y, ta[k] + CLAN_TILE / 2);
      const float4 b0 = vload4(x, tb[k]), b1 = vload4(x, tb[k] + CLAN_TILE / 2);
#define CLAN_ROW(r, s) sum[r][0] += s * b0, sum[r][1] += s * b1
      CLAN_ROW(0, a0.s0), CLAN_ROW(1, a0.s1), CLAN_ROW(2, a0.s2), CLAN_ROW(3, a0.s3);
      CLAN_ROW(4, a1.s0), CLAN_ROW(5, a1.s1), CLAN_ROW(6, a1.s2), CLAN_ROW(7, a1.s3);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
#pragma unroll
  for (int r = 0; r < 8; r++) {
    const size_t row = row0 + r / 4 * (CLAN_TILE / 2) + y * 4 + r % 4;
    __global float* at = c + row * n + column0;
    vstore4(sum[r][0], x, at);
    vstore4(sum[r][1], x, at + CLAN_TILE / 2);
  }
}
