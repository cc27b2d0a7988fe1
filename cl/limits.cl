// limits: how fast a device multiplies and adds, for `clan bench` to hold everything else against.
//
// private: CLAN_CHAINS independent chains of CLAN_LANES floats a work-item, so that neither the
// latency of one operation nor the width of the vector unit is what is measured;
// global: one float a work-item, written once, so that the work cannot be dropped;
// local, constant: not used.
#ifndef CLAN_LANES
#define CLAN_LANES 4 // floats in a vector: 16 fill a CPU's registers, 4 suit a GPU
#endif
#ifndef CLAN_CHAINS
#define CLAN_CHAINS 4 // vectors a work-item
#endif
#define CLAN_JOIN_(name, lanes) name##lanes
#define CLAN_JOIN(name, lanes) CLAN_JOIN_(name, lanes)
typedef CLAN_JOIN(float, CLAN_LANES) clan_floats;

// Where fma is a call of a software routine, mad is what the hardware has.
#ifdef FP_FAST_FMAF
#define CLAN_FMA fma
#else
#define CLAN_FMA mad
#endif

// Every lane of every chain becomes b + a * itself, 8 * rounds times; out is the first of each
// work-item's sums. With a = -1 the lanes take two values in turn, so the result is known exactly.
__kernel __attribute__((reqd_work_group_size(CLAN_GROUP, 1, 1)))
void fma_chains(__global float* out, const uint rounds, const float a, const float b) {
  clan_floats x[CLAN_CHAINS];
  const clan_floats va = (clan_floats)(a), vb = (clan_floats)(b);
#pragma unroll
  for (int c = 0; c < CLAN_CHAINS; c++) x[c] = (clan_floats)((float)c);
  for (uint r = 0; r < rounds; r++) {
#pragma unroll
    for (int k = 0; k < 8; k++) {
#pragma unroll
      for (int c = 0; c < CLAN_CHAINS; c++) x[c] = CLAN_FMA(x[c], va, vb);
    }
  }
  clan_floats sum = x[0];
#pragma unroll
  for (int c = 1; c < CLAN_CHAINS; c++) sum += x[c];
  float lanes[CLAN_LANES];
  CLAN_JOIN(vstore, CLAN_LANES)(sum, 0, lanes);
  float total = 0;
#pragma unroll
  for (int l = 0; l < CLAN_LANES; l++) total += lanes[l];
  out[get_global_id(0)] = total;
}
