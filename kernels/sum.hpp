#pragma once
// A sum over an index, in an order that compilers can vectorise: eight partial sums, each over
// every eighth term, added up in pairs at the end. A plain loop would be held to one addition after
// the other, because addition of floating-point numbers is not associative. The order depends on
// the number of terms alone. The pairwise end and the short partial sums also round less.
#include <cstdint>

namespace orrery::kernels {

// term(i) for i in [0, n); 0 for n = 0.
template <class T, class Term>
T sum_of(std::int64_t n, const Term& term) {
  T sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (std::int64_t lane = 0; lane < 8; ++lane) sums[lane] += term(i + lane);
  for (std::int64_t lane = 0; i + lane < n; ++lane) sums[lane] += term(i + lane);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace orrery::kernels
