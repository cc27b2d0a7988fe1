// groupby: elements joined by their keys.
//
// Every task has a row of accumulators in global memory, one a group, and nobody else touches it: so
// the result does not depend on timing, and any type can be joined. Rows are joined afterwards by an
// ordinary reduction. On GPUs neighbouring tasks take neighbouring elements, and their accumulators of
// a group lie side by side; on CPUs a task has a stretch of elements and a stretch of accumulators.
//
// private: an element in flight; global: keys and elements, read once, and the accumulators, which
// caches hold where groups are few; local, constant: not used.
#ifndef CLAN_JOIN
typedef float clan_acc;
typedef float clan_in_t;
#define CLAN_LOAD(a, i) ((a)[i])
#define CLAN_JOIN(a, x) ((a) + (x))
#endif

// Element j of task t is number t * stride + j * step; there are `each` of them, and `n` in all.
// Accumulators of group k: at k * across + t * along.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void groupby(__global clan_acc* restrict acc, __global const uint* restrict keys, const ulong first_key,
             __global const clan_in_t* restrict x, const ulong first, const ulong n, const ulong tasks,
             const ulong each, const ulong stride, const ulong step, const ulong across, const ulong along) {
  const ulong task = (ulong)get_group_id(0) * CLAN_GROUP + get_local_id(0);
  if (task >= tasks) return;
  __global clan_acc* mine = acc + task * along;
  ulong i = task * stride;
  for (ulong j = 0; j < each && i < n; j++, i += step) {
    const ulong at = keys[first_key + i] * across;
    const clan_acc v = (clan_acc)CLAN_LOAD(x, first + i);
    mine[at] = CLAN_JOIN(mine[at], v);
  }
}
