#include "kernels/grouped_gemm.hpp"

#include "core/error.hpp"
#include "kernels/gemm.hpp"
#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// Calls run(group, first row, rows) for every group that has rows.
template <class Run>
void for_each_group(const GroupedShape& shape, const Run& run) {
  for (std::int64_t group = 0; group < shape.groups; ++group) {
    const std::int64_t first = shape.offsets[group];
    const std::int64_t rows = shape.offsets[group + 1] - first;
    ORRERY_CHECK(rows >= 0, "group {} has {} rows", group, rows);
    if (rows > 0) run(group, first, rows);
  }
}

}  // namespace

template <class T>
void grouped_forward(const GroupedShape& shape, const T* x, const T* weights, T* y) {
  const std::int64_t n = shape.n;
  const std::int64_t k = shape.k;
  for_each_group(shape, [=](std::int64_t group, std::int64_t first, std::int64_t rows) {
    gemm_nt<T>({rows, n, k}, x + first * k, k, weights + group * n * k, k, y + first * n, n, false);
  });
}

template <class T>
void grouped_input_gradient(const GroupedShape& shape, const T* dy, const T* weights, T* dx) {
  const std::int64_t n = shape.n;
  const std::int64_t k = shape.k;
  for_each_group(shape, [=](std::int64_t group, std::int64_t first, std::int64_t rows) {
    gemm_nn<T>({rows, k, n}, dy + first * n, n, weights + group * n * k, k, dx + first * k, k,
               false);
  });
}

template <class T>
void grouped_weight_gradient(const GroupedShape& shape, const T* x, const T* dy, T* dweights) {
  const std::int64_t n = shape.n;
  const std::int64_t k = shape.k;
  for_each_group(shape, [=](std::int64_t group, std::int64_t first, std::int64_t rows) {
    gemm_tn<T>({n, k, rows}, dy + first * n, n, x + first * k, k, dweights + group * n * k, k,
               true);
  });
}

template decltype(grouped_forward<float>) grouped_forward<float>;
template decltype(grouped_forward<double>) grouped_forward<double>;
template decltype(grouped_forward<Dual>) grouped_forward<Dual>;
template decltype(grouped_input_gradient<float>) grouped_input_gradient<float>;
template decltype(grouped_input_gradient<double>) grouped_input_gradient<double>;
template decltype(grouped_input_gradient<Dual>) grouped_input_gradient<Dual>;
template decltype(grouped_weight_gradient<float>) grouped_weight_gradient<float>;
template decltype(grouped_weight_gradient<double>) grouped_weight_gradient<double>;
template decltype(grouped_weight_gradient<Dual>) grouped_weight_gradient<Dual>;

}  // namespace orrery::kernels
