#pragma once
// Rows of a host's calibration in seconds, and ops that ask for them.
#include "sim/host_cost.hpp"

namespace orrery {

inline MeasuredTime measured(double seconds) {
  return {Seconds{seconds}, Seconds{seconds}, Seconds{seconds}, 1};
}

inline HostKernelRow shape_row(KernelClass kernel, double m, double n, double k, int groups,
                               double seconds) {
  return {"", kernel, m, n, k, groups, 0, measured(seconds)};
}
inline HostKernelRow stream_row(KernelClass kernel, double amount, double seconds) {
  return {"", kernel, 0, 0, 0, 1, amount, measured(seconds)};
}

inline Op shape_op(KernelClass kernel, double m, double n, double k, int groups = 1) {
  Op op;
  op.kernel = kernel;
  op.m = m;
  op.n = n;
  op.k = k;
  op.groups = groups;
  return op;
}
inline Op stream_op(KernelClass kernel, double bytes) {
  Op op;
  op.kernel = kernel;
  op.bytes = Bytes{bytes};
  return op;
}

inline HostTransferRow transfer_row(Pattern pattern, int group, double bytes, double seconds) {
  return {pattern, group, Bytes{bytes}, measured(seconds)};
}

}  // namespace orrery
