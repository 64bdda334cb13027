#include "kernels/fp8_tiles.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "kernels/fp8.hpp"
#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

constexpr float kSmallestMaximum = 1e-4f;

template <class T>
float rounded_to_float(T x) {
  if constexpr (std::is_same_v<T, Dual>)
    return static_cast<float>(x.value);
  else
    return static_cast<float>(x);
}

// x with another value: the slope of a Dual stays.
template <class T>
T with_value(T x, float value) {
  if constexpr (std::is_same_v<T, Dual>)
    x.value = value;
  else
    x = static_cast<T>(value);
  return x;
}

constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// A band is one row of tiles: as many rows of the tensor as a tile is high.
template <std::int64_t kRows, std::int64_t kColumns>
struct Tiling {
  TileShape shape;

  std::int64_t bands() const { return ceil_divide(shape.rows, kRows); }
  std::int64_t tiles() const { return ceil_divide(shape.columns, kColumns); }  // in a band

  // visit(element, tile): every element of a band in memory order, with its tile in the band.
  template <class Visit>
  void for_each(std::int64_t band, const Visit& visit) const {
    const std::int64_t end = std::min(shape.rows, (band + 1) * kRows);
    for (std::int64_t row = band * kRows; row < end; ++row)
      for (std::int64_t column = 0; column < shape.columns; ++column)
        visit(row * shape.columns + column, column / kColumns);
  }

  // scales [tiles()] of a band.
  template <class T>
  void find_scales(std::int64_t band, const T* x, float* scales) const {
    std::fill_n(scales, tiles(), kSmallestMaximum);
    for_each(band, [=](std::int64_t element, std::int64_t tile) {
      scales[tile] = std::max(scales[tile], std::abs(rounded_to_float(x[element])));
    });
    for (std::int64_t tile = 0; tile < tiles(); ++tile) scales[tile] /= kE4m3Max;
  }
};

using Rows = Tiling<1, kTileLength>;
using Columns = Tiling<kTileLength, 1>;
using Blocks = Tiling<kTileLength, kTileLength>;

template <class Tiles, class T>
void quantise(TileShape shape, const T* x, std::uint8_t* codes, float* scales) {
  const Tiles tiles{shape};
  for (std::int64_t band = 0; band < tiles.bands(); ++band, scales += tiles.tiles()) {
    tiles.find_scales(band, x, scales);
    tiles.for_each(band, [=](std::int64_t element, std::int64_t tile) {
      codes[element] = encode_e4m3(rounded_to_float(x[element]) / scales[tile]);
    });
  }
}

template <class Tiles, class T>
void dequantise(TileShape shape, const std::uint8_t* codes, const float* scales, T* x) {
  const Tiles tiles{shape};
  for (std::int64_t band = 0; band < tiles.bands(); ++band, scales += tiles.tiles())
    tiles.for_each(band, [=](std::int64_t element, std::int64_t tile) {
      x[element] = static_cast<T>(decode_e4m3(codes[element]) * scales[tile]);
    });
}

template <class Tiles, class T>
void fake_quantise(TileShape shape, const T* x, T* y) {
  const Tiles tiles{shape};
  std::vector<float> storage(static_cast<std::size_t>(tiles.tiles()));
  float* scales = storage.data();
  for (std::int64_t band = 0; band < tiles.bands(); ++band) {
    tiles.find_scales(band, x, scales);
    tiles.for_each(band, [=](std::int64_t element, std::int64_t tile) {
      const float scaled = rounded_to_float(x[element]) / scales[tile];
      y[element] = with_value(x[element], decode_e4m3(encode_e4m3(scaled)) * scales[tile]);
    });
  }
}

}  // namespace

template <class T>
void quantise_rows(TileShape shape, const T* x, std::uint8_t* codes, float* scales) {
  quantise<Rows>(shape, x, codes, scales);
}
template <class T>
void quantise_columns(TileShape shape, const T* x, std::uint8_t* codes, float* scales) {
  quantise<Columns>(shape, x, codes, scales);
}
template <class T>
void quantise_blocks(TileShape shape, const T* x, std::uint8_t* codes, float* scales) {
  quantise<Blocks>(shape, x, codes, scales);
}

template <class T>
void dequantise_rows(TileShape shape, const std::uint8_t* codes, const float* scales, T* x) {
  dequantise<Rows>(shape, codes, scales, x);
}
template <class T>
void dequantise_columns(TileShape shape, const std::uint8_t* codes, const float* scales, T* x) {
  dequantise<Columns>(shape, codes, scales, x);
}
template <class T>
void dequantise_blocks(TileShape shape, const std::uint8_t* codes, const float* scales, T* x) {
  dequantise<Blocks>(shape, codes, scales, x);
}

template <class T>
void fake_quantise_rows(TileShape shape, const T* x, T* y) {
  fake_quantise<Rows>(shape, x, y);
}
template <class T>
void fake_quantise_columns(TileShape shape, const T* x, T* y) {
  fake_quantise<Columns>(shape, x, y);
}
template <class T>
void fake_quantise_blocks(TileShape shape, const T* x, T* y) {
  fake_quantise<Blocks>(shape, x, y);
}

template <class T>
void fake_quantise_e5m6(std::int64_t n, const T* x, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = with_value(x[i], round_e5m6(rounded_to_float(x[i])));
}

#define ORRERY_INSTANTIATE_CODES(T, tiles)                                    \
  template void quantise_##tiles(TileShape, const T*, std::uint8_t*, float*); \
  template void dequantise_##tiles(TileShape, const std::uint8_t*, const float*, T*);
ORRERY_INSTANTIATE_CODES(float, rows)
ORRERY_INSTANTIATE_CODES(float, columns)
ORRERY_INSTANTIATE_CODES(float, blocks)
ORRERY_INSTANTIATE_CODES(double, rows)
ORRERY_INSTANTIATE_CODES(double, columns)
ORRERY_INSTANTIATE_CODES(double, blocks)
#undef ORRERY_INSTANTIATE_CODES

#define ORRERY_INSTANTIATE_FAKE(T)                              \
  template void fake_quantise_rows(TileShape, const T*, T*);    \
  template void fake_quantise_columns(TileShape, const T*, T*); \
  template void fake_quantise_blocks(TileShape, const T*, T*);  \
  template void fake_quantise_e5m6(std::int64_t, const T*, T*);
ORRERY_INSTANTIATE_FAKE(float)
ORRERY_INSTANTIATE_FAKE(double)
ORRERY_INSTANTIATE_FAKE(Dual)
#undef ORRERY_INSTANTIATE_FAKE

}  // namespace orrery::kernels
