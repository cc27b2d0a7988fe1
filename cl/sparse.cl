// sparse: matrices in compressed rows (CSR) times a vector, times a dense matrix, and written out.
//
// The host cuts a matrix into blocks when it is made: consecutive rows with at most CLAN_TILE
// elements, or a part of one row that has more. So no work-group has more to do than another, however
// uneven the rows are. A block is four numbers: first row, end of the rows, first element, end of
// the elements; where the first two are equal it is a part of a row, and they say where its
// sum goes among the partial sums, which `csr_join` adds up.
//
// `csr_vector`: local: the products of a block, so that elements are read coalesced whatever the
// lengths of the rows are; private: elements in flight; global: matrix, vector (gathered; neighbouring
// rows meet in the caches) and result; constant: not used. On CPUs (CLAN_FLAT) a work-item walks over
// a block and there is no local memory.
// `csr_matrix`: private: CLAN_COLS sums a work-item; local: joins the sums of a part of a row; global:
// all else, rows of the dense matrix coalesced.
//
// Every sum is made in an order that depends on the matrix and the kernel alone.
#ifndef CLAN_TILE
typedef float clan_t;
typedef float4 clan_t4;
typedef uint clan_start; // positions of elements
typedef uint4 clan_start4;
#define CLAN_TILE 2048
#endif
#ifndef CLAN_LANES
#define CLAN_LANES 32 // work-items side by side along a row of the dense matrix
#define CLAN_COLS 1   // columns a work-item, CLAN_LANES apart
#endif
#define CLAN_SUBS (CLAN_GROUP / CLAN_LANES)

// The vector from its first element on.
#ifdef CLAN_NO_OFFSET
#define CLAN_VECTOR vector
#else
#define CLAN_VECTOR (vector + offset)
#endif

#ifdef CLAN_FLAT
// Four sums hide the latency of additions where a row is long enough.
static inline clan_t clan_row(__global const uint* restrict columns, __global const clan_t* restrict values,
                              __global const clan_t* restrict x, clan_start k, const clan_start end) {
  clan_t sum = 0;
  if (end - k >= 16) {
    clan_t s1 = 0, s2 = 0, s3 = 0;
    for (; k + 4 <= end; k += 4) {
      sum += values[k] * x[columns[k]];
      s1 += values[k + 1] * x[columns[k + 1]];
      s2 += values[k + 2] * x[columns[k + 2]];
      s3 += values[k + 3] * x[columns[k + 3]];
    }
    sum = (sum + s2) + (s1 + s3);
  }
  for (; k < end; k++) sum += values[k] * x[columns[k]];
  return sum;
}

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void csr_vector(__global clan_t* restrict y, __global clan_t* restrict partials, __global const clan_start4* restrict blocks,
                __global const clan_start* restrict starts, __global const uint* restrict columns,
                __global const clan_t* restrict values, __global const clan_t* restrict vector, const clan_off offset,
                const clan_ix count) {
  const clan_ix b = get_global_id(0);
  if (b >= count) return;
  const clan_start4 block = blocks[b];
  __global const clan_t* x = CLAN_VECTOR;
  const clan_start first = block.x, end = block.y;
  if (first == end) partials[first] = clan_row(columns, values, x, block.z, block.w);
  clan_start k = block.z;
  for (clan_start r = first; r < end; r++) {
    const clan_start next = starts[r + 1];
    y[r] = clan_row(columns, values, x, k, next);
    k = next;
  }
}
#elif defined(CLAN_ONE_LANE)

// Rows are short, and none is cut: a row a work-item.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void csr_vector(__global clan_t* restrict y, __global clan_t* restrict partials, __global const clan_start4* restrict blocks,
                __global const clan_start* restrict starts, __global const uint* restrict columns,
                __global const clan_t* restrict values, __global const clan_t* restrict vector, const clan_off offset,
                const clan_ix count) {
  // Four elements more at both ends: they are read from a multiple of four on, to a multiple of four.
  __local clan_t4 products[CLAN_TILE / 4 + 2];
  __local clan_t* product = (__local clan_t*)products;
  const uint me = get_local_id(0);
  const clan_start4 block = blocks[get_group_id(0)];
  const clan_start first = block.x, k0 = block.z & ~(clan_start)3;
  const uint rows = (uint)(block.y - first), quads = (uint)(block.w - k0 + 3) / 4;
  // Asked for before the products are waited for.
  uint from = 0, to = 0;
  if (me < rows) {
    from = (uint)(starts[first + me] - k0);
    to = (uint)(starts[first + me + 1] - k0);
  }
  // Columns and values end with zeros up to a multiple of four.
  __global const uint4* columns4 = (__global const uint4*)(columns + k0);
  __global const clan_t4* values4 = (__global const clan_t4*)(values + k0);
#pragma unroll
  for (uint j = 0; j <= CLAN_TILE / 4; j += CLAN_GROUP) {
    const uint at = j + me;
    if (at < quads) {
      const uint4 c = columns4[at];
      const clan_t4 v = values4[at];
      products[at] = (clan_t4)(v.x * CLAN_VECTOR[c.x], v.y * CLAN_VECTOR[c.y], v.z * CLAN_VECTOR[c.z], v.w * CLAN_VECTOR[c.w]);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  clan_t sum = 0;
  for (uint k = from; k < to; k++) sum += product[k];
  if (me < rows) y[first + me] = sum;
}
#else

__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void csr_vector(__global clan_t* restrict y, __global clan_t* restrict partials, __global const clan_start4* restrict blocks,
                __global const clan_start* restrict starts, __global const uint* restrict columns,
                __global const clan_t* restrict values, __global const clan_t* restrict vector, const clan_off offset,
                const clan_ix count) {
  // Four elements more at both ends: they are read from a multiple of four on, to a multiple of four.
  __local clan_t4 products[CLAN_TILE / 4 + 2];
  __local clan_t* product = (__local clan_t*)products;
  const uint me = get_local_id(0);
  const clan_start4 block = blocks[get_group_id(0)];
  __global const clan_t* x = CLAN_VECTOR;
  const clan_start first = block.x, end = block.y, k0 = block.z & ~(clan_start)3;
  const uint n = (uint)(block.w - k0), quads = (n + 3) / 4, rows = max((uint)(end - first), 1u);
  // Work-items that share a row: a power of two, so nothing is divided. Rows are no more than work-items.
  const uint shift = (31 - clz((uint)CLAN_GROUP)) - (32 - clz(rows - 1)), lanes = 1u << shift;
  const uint row = me >> shift, lane = me & (lanes - 1);
  // Asked for before the products are waited for.
  uint from = 0, to = 0;
  if (first == end) {
    from = (uint)(block.z - k0);
    to = row == 0 ? n : from;
  } else if (row < rows) {
    from = (uint)(starts[first + row] - k0);
    to = (uint)(starts[first + row + 1] - k0);
  }
  // Columns and values end with zeros up to a multiple of four.
  __global const uint4* columns4 = (__global const uint4*)(columns + k0);
  __global const clan_t4* values4 = (__global const clan_t4*)(values + k0);
#pragma unroll
  for (uint j = 0; j <= CLAN_TILE / 4; j += CLAN_GROUP) {
    const uint at = j + me;
    if (at < quads) {
      const uint4 c = columns4[at];
      const clan_t4 v = values4[at];
      products[at] = (clan_t4)(v.x * x[c.x], v.y * x[c.y], v.z * x[c.z], v.w * x[c.w]);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  clan_t sum = 0;
  if (shift == 0) {
    for (uint k = from; k < to; k++) sum += product[k];
  } else {
    for (uint k = from + lane; k < to; k += lanes) sum += product[k];
  }
  // No barrier is in a branch: PoCL 3.1 makes endless loops of those.
  for (uint apart = lanes / 2; apart > 0; apart /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    product[me] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < apart) sum += product[me + apart];
  }
  if (lane == 0 && row < rows) {
    if (first == end) partials[first] = sum;
    else y[first + row] = sum;
  }
}
#endif

// Group g adds the partial sums of one row: `joins` says of each its row, the first sum and the end.
// Sums are `width` apart, one for each column of the result; groups run over columns first.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void csr_join(__global clan_t* restrict y, __global const clan_t* restrict partials,
              __global const clan_start* restrict joins, const clan_ix width) {
  __local clan_t part[CLAN_GROUP];
  const uint me = get_local_id(0);
  const clan_ix column = get_group_id(0) % width;
  __global const clan_start* join = joins + 3 * (size_t)(get_group_id(0) / width);
  clan_t sum = 0;
  for (clan_start s = join[1] + me; s < join[2]; s += CLAN_GROUP) sum += partials[(clan_ix)s * width + column];
  part[me] = sum;
  for (uint apart = CLAN_GROUP / 2; apart > 0; apart /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (me < apart) part[me] += part[me + apart];
  }
  if (me == 0) y[(clan_ix)join[0] * width + column] = part[0];
}

// Adds the elements from k to `end`, `step` apart, times the rows of the dense matrix, of which x is
// the column of this work-item.
static inline void clan_columns(clan_t* sum, __global const uint* restrict columns, __global const clan_t* restrict values,
                                __global const clan_t* restrict x, const clan_off stride, const clan_ix left,
                                clan_start k, const clan_start end, const uint step) {
  if ((CLAN_COLS - 1) * CLAN_LANES < left) {
    for (; k < end; k += step) {
      const clan_t v = values[k];
      __global const clan_t* line = x + (clan_off)columns[k] * stride;
#pragma unroll
      for (uint i = 0; i < CLAN_COLS; i++) sum[i] += v * line[i * CLAN_LANES];
    }
  } else {
    for (; k < end; k += step) {
      const clan_t v = values[k];
      __global const clan_t* line = x + (clan_off)columns[k] * stride;
#pragma unroll
      for (uint i = 0; i < CLAN_COLS; i++) {
        if (i * CLAN_LANES < left) sum[i] += v * line[i * CLAN_LANES];
      }
    }
  }
}

// A group has one block and CLAN_LANES * CLAN_COLS columns; groups run over columns first.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void csr_matrix(__global clan_t* restrict y, __global clan_t* restrict partials, __global const clan_start4* restrict blocks,
                __global const clan_start* restrict starts, __global const uint* restrict columns,
                __global const clan_t* restrict values, __global const clan_t* restrict dense, const clan_off offset,
                const clan_off stride, const clan_ix width, const clan_ix strips) {
  __local clan_t part[CLAN_GROUP * CLAN_COLS];
  const uint me = get_local_id(0), lane = me % CLAN_LANES, sub = me / CLAN_LANES;
  const clan_ix column = get_group_id(0) % strips * (CLAN_LANES * CLAN_COLS) + lane;
  const clan_start4 block = blocks[get_group_id(0) / strips];
  const clan_start first = block.x, end = block.y;
  // Columns from this one on; none for work-items beyond the last.
  const clan_ix left = column < width ? width - column : 0;
  __global const clan_t* x = dense + (offset + (clan_off)column);
  clan_t sum[CLAN_COLS];
#pragma unroll
  for (uint i = 0; i < CLAN_COLS; i++) sum[i] = 0;
  if (first == end && left > 0) clan_columns(sum, columns, values, x, stride, left, block.z + sub, block.w, CLAN_SUBS);
  // Nothing to join where the block has whole rows; no barrier is in a branch.
  for (uint apart = first == end ? CLAN_SUBS / 2 : 0; apart > 0; apart /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (uint i = 0; i < CLAN_COLS; i++) part[i * CLAN_GROUP + me] = sum[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    if (sub < apart) {
#pragma unroll
      for (uint i = 0; i < CLAN_COLS; i++) sum[i] += part[i * CLAN_GROUP + me + apart * CLAN_LANES];
    }
  }
  if (first == end && sub == 0) {
#pragma unroll
    for (uint i = 0; i < CLAN_COLS; i++) {
      if (i * CLAN_LANES < left) partials[(clan_ix)first * width + column + i * CLAN_LANES] = sum[i];
    }
  }
  for (clan_start r = first + sub; r < end && left > 0; r += CLAN_SUBS) {
#pragma unroll
    for (uint i = 0; i < CLAN_COLS; i++) sum[i] = 0;
    clan_columns(sum, columns, values, x, stride, left, starts[r], starts[r + 1], 1);
#pragma unroll
    for (uint i = 0; i < CLAN_COLS; i++) {
      if (i * CLAN_LANES < left) y[(clan_ix)r * width + column + i * CLAN_LANES] = sum[i];
    }
  }
}

// Element k to its place in a dense matrix of zeros.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void csr_dense(__global clan_t* restrict out, __global const clan_start* restrict starts, __global const uint* restrict columns,
               __global const clan_t* restrict values, const clan_ix rows, const clan_ix width, const clan_ix count) {
  const clan_ix k = get_global_id(0);
  if (k >= count) return;
  // The last row that does not start behind it.
  clan_ix low = 0, high = rows;
  while (high - low > 1) {
    const clan_ix middle = low + (high - low) / 2;
    if (starts[middle] <= k) low = middle;
    else high = middle;
  }
  out[low * width + columns[k]] = values[k];
}
