#include "kernels/permute.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.hpp"
#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// Number of the expert among the local ones, or -1.
std::int64_t local_expert(const PermuteShape& shape, std::int32_t expert) {
  const std::int64_t local = std::int64_t{expert} - shape.first_expert;
  return expert >= 0 && local >= 0 && local < shape.local_experts ? local : -1;
}

}  // namespace

void count_expert_rows(const PermuteShape& shape, const std::int32_t* experts_of_token,
                       std::int64_t* offsets) {
  std::fill_n(offsets, shape.local_experts + 1, 0);
  for (std::int64_t choice = 0; choice < shape.tokens * shape.slots; ++choice) {
    const std::int64_t local = local_expert(shape, experts_of_token[choice]);
    if (local >= 0) ++offsets[local + 1];
  }
  std::partial_sum(offsets, offsets + shape.local_experts + 1, offsets);
}

void map_rows(const PermuteShape& shape, const std::int32_t* experts_of_token,
              const std::int64_t* offsets, std::int32_t* row_of, std::int32_t* token_of_row,
              std::int32_t* slot_of_row) {
  const std::int64_t rows = offsets[shape.local_experts];
  ORRERY_CHECK(rows <= std::numeric_limits<std::int32_t>::max(), "rows {}", rows);
  std::vector<std::int64_t> next(offsets, offsets + shape.local_experts);
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    for (std::int64_t slot = 0; slot < shape.slots; ++slot) {
      const std::int64_t choice = token * shape.slots + slot;
      const std::int64_t local = local_expert(shape, experts_of_token[choice]);
      row_of[choice] = -1;
      if (local < 0) continue;
      const std::int64_t row = next[local]++;
      ORRERY_CHECK(row < offsets[local + 1], "expert {} has more rows than its {}",
                   shape.first_expert + local, offsets[local + 1] - offsets[local]);
      row_of[choice] = static_cast<std::int32_t>(row);
      token_of_row[row] = static_cast<std::int32_t>(token);
      slot_of_row[row] = static_cast<std::int32_t>(slot);
    }
  }
}

template <class T>
void expand_rows(std::int64_t rows, std::int64_t hidden, const std::int32_t* token_of_row,
                 const T* x, T* out) {
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(x + token_of_row[row] * hidden, hidden, out + row * hidden);
  }
}

template <class T>
void reduce_rows(const PermuteShape& shape, std::int64_t hidden, const std::int32_t* row_of,
                 const T* y, T* out) {
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    T* sum = out + token * hidden;
    std::fill_n(sum, hidden, T(0));
    for (std::int64_t slot = 0; slot < shape.slots; ++slot) {
      const std::int64_t row = row_of[token * shape.slots + slot];
      if (row < 0) continue;
      const T* from = y + row * hidden;
      for (std::int64_t column = 0; column < hidden; ++column) sum[column] += from[column];
    }
  }
}

template <class T>
void gather_row_weights(std::int64_t rows, std::int64_t slots, const std::int32_t* token_of_row,
                        const std::int32_t* slot_of_row, const T* weights, T* out) {
  for (std::int64_t row = 0; row < rows; ++row) {
    out[row] = weights[token_of_row[row] * slots + slot_of_row[row]];
  }
}

template <class T>
void scatter_row_weights(const PermuteShape& shape, const std::int32_t* row_of,
                         const T* row_weights, T* out) {
  for (std::int64_t choice = 0; choice < shape.tokens * shape.slots; ++choice) {
    out[choice] = row_of[choice] < 0 ? T(0) : row_weights[row_of[choice]];
  }
}

template decltype(expand_rows<float>) expand_rows<float>;
template decltype(expand_rows<double>) expand_rows<double>;
template decltype(expand_rows<Dual>) expand_rows<Dual>;
template decltype(reduce_rows<float>) reduce_rows<float>;
template decltype(reduce_rows<double>) reduce_rows<double>;
template decltype(reduce_rows<Dual>) reduce_rows<Dual>;
template decltype(gather_row_weights<float>) gather_row_weights<float>;
template decltype(gather_row_weights<double>) gather_row_weights<double>;
template decltype(gather_row_weights<Dual>) gather_row_weights<Dual>;
template decltype(scatter_row_weights<float>) scatter_row_weights<float>;
template decltype(scatter_row_weights<double>) scatter_row_weights<double>;
template decltype(scatter_row_weights<Dual>) scatter_row_weights<Dual>;

}  // namespace orrery::kernels
