#include "kernels/elementwise.hpp"

#include "kernels/scalar.hpp"

namespace orrery::kernels {

template <class T>
void add(std::int64_t n, const T* a, const T* b, T* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

template <class T>
void accumulate(std::int64_t n, const T* x, T* into) {
  for (std::int64_t i = 0; i < n; ++i) into[i] += x[i];
}

template <class T>
void scale(std::int64_t n, T factor, T* x) {
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

#define ORRERY_INSTANTIATE(T)                              \
  template void add(std::int64_t, const T*, const T*, T*); \
  template void accumulate(std::int64_t, const T*, T*);    \
  template void scale(std::int64_t, T, T*);
ORRERY_INSTANTIATE(float)
ORRERY_INSTANTIATE(double)
ORRERY_INSTANTIATE(Dual)
#undef ORRERY_INSTANTIATE

}  // namespace orrery::kernels
