#include "kernels/mla_layout.hpp"

#include <algorithm>

#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// Copies `width` elements from each of `rows` rows to another matrix with another row length.
template <class T>
void copy_columns(std::int64_t rows, std::int64_t width, const T* from, std::int64_t from_stride,
                  T* to, std::int64_t to_stride) {
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(from + row * from_stride, width, to + row * to_stride);
  }
}

}  // namespace

template <class T>
void place_keys_and_values(const MlaLayout& layout, const T* kv_up, T* k, T* v) {
  const std::int64_t rows = layout.tokens * layout.heads;
  const std::int64_t up = layout.nope + layout.v_dim;
  copy_columns(rows, layout.nope, kv_up, up, k, layout.nope + layout.rope);
  copy_columns(rows, layout.v_dim, kv_up + layout.nope, up, v, layout.v_dim);
}

template <class T>
void broadcast_rope_key(const MlaLayout& layout, const T* k_rope, T* k) {
  const std::int64_t qk_dim = layout.nope + layout.rope;
  for (std::int64_t token = 0; token < layout.tokens; ++token) {
    const T* shared = k_rope + token * layout.rope;
    T* heads = k + token * layout.heads * qk_dim + layout.nope;
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      std::copy_n(shared, layout.rope, heads + head * qk_dim);
    }
  }
}

template <class T>
void reduce_rope_key_gradient(const MlaLayout& layout, const T* dk, T* dk_rope) {
  const std::int64_t qk_dim = layout.nope + layout.rope;
  for (std::int64_t token = 0; token < layout.tokens; ++token) {
    const T* heads = dk + token * layout.heads * qk_dim + layout.nope;
    T* sum = dk_rope + token * layout.rope;
    std::fill_n(sum, layout.rope, T(0));
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      for (std::int64_t column = 0; column < layout.rope; ++column) {
        sum[column] += heads[head * qk_dim + column];
      }
    }
  }
}

template <class T>
void take_key_gradient(const MlaLayout& layout, const T* dk, T* dkv_up) {
  copy_columns(layout.tokens * layout.heads, layout.nope, dk, layout.nope + layout.rope, dkv_up,
               layout.nope + layout.v_dim);
}

template <class T>
void take_value_gradient(const MlaLayout& layout, const T* dv, T* dkv_up) {
  copy_columns(layout.tokens * layout.heads, layout.v_dim, dv, layout.v_dim, dkv_up + layout.nope,
               layout.nope + layout.v_dim);
}

template decltype(place_keys_and_values<float>) place_keys_and_values<float>;
template decltype(place_keys_and_values<double>) place_keys_and_values<double>;
template decltype(place_keys_and_values<Dual>) place_keys_and_values<Dual>;
template decltype(broadcast_rope_key<float>) broadcast_rope_key<float>;
template decltype(broadcast_rope_key<double>) broadcast_rope_key<double>;
template decltype(broadcast_rope_key<Dual>) broadcast_rope_key<Dual>;
template decltype(reduce_rope_key_gradient<float>) reduce_rope_key_gradient<float>;
template decltype(reduce_rope_key_gradient<double>) reduce_rope_key_gradient<double>;
template decltype(reduce_rope_key_gradient<Dual>) reduce_rope_key_gradient<Dual>;
template decltype(take_key_gradient<float>) take_key_gradient<float>;
template decltype(take_key_gradient<double>) take_key_gradient<double>;
template decltype(take_key_gradient<Dual>) take_key_gradient<Dual>;
template decltype(take_value_gradient<float>) take_value_gradient<float>;
template decltype(take_value_gradient<double>) take_value_gradient<double>;
template decltype(take_value_gradient<Dual>) take_value_gradient<Dual>;

}  // namespace orrery::kernels
