#include "kernels/embedding.hpp"

#include <algorithm>

#include "kernels/scalar.hpp"

namespace orrery::kernels {

template <class T>
void embedding_lookup(const EmbeddingShape& shape, const std::int32_t* ids, const T* table,
                      T* out) {
  for (std::int64_t token = 0; token < shape.tokens; ++token, out += shape.columns) {
    const std::int64_t row = ids[token] - shape.first;
    if (row >= 0 && row < shape.rows)
      std::copy_n(table + row * shape.columns, shape.columns, out);
    else
      std::fill_n(out, shape.columns, T(0));
  }
}

template <class T>
void embedding_gradient(const EmbeddingShape& shape, const std::int32_t* ids, const T* dout,
                        T* dtable) {
  for (std::int64_t token = 0; token < shape.tokens; ++token, dout += shape.columns) {
    const std::int64_t row = ids[token] - shape.first;
    if (row < 0 || row >= shape.rows) continue;
    for (std::int64_t j = 0; j < shape.columns; ++j) dtable[row * shape.columns + j] += dout[j];
  }
}

template void embedding_lookup(const EmbeddingShape&, const std::int32_t*, const float*, float*);
template void embedding_lookup(const EmbeddingShape&, const std::int32_t*, const double*, double*);
template void embedding_lookup(const EmbeddingShape&, const std::int32_t*, const Dual*, Dual*);
template void embedding_gradient(const EmbeddingShape&, const std::int32_t*, const float*, float*);
template void embedding_gradient(const EmbeddingShape&, const std::int32_t*, const double*,
                                 double*);

}  // namespace orrery::kernels
