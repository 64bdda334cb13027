#pragma once
// Tensors in E4M3 (kernels/fp8.hpp) with a scale a tile, as in DeepSeek-V3's training (DeepSeek-AI,
// "DeepSeek-V3 Technical Report", 2024, section 3.3.2): 1 x 128 tiles for activations, 128 x 1 for
// the same tensors as operands of a weight gradient, 128 x 128 for weights.
//
//   scale = max(largest |x| of the tile, 1e-4) / 448      codes = E4M3(x / scale)
//   dequantised x = code * scale
//
// in float, for T = double too, which is first rounded to float. The floor of 1e-4 keeps the scale
// of a tile of zeros above 0 (DeepSeek-AI, DeepGEMM, per_token_cast_to_fp8).
//
//              tile          scales (float)                             used for
//   rows       1 x 128       [rows][ceil(columns / 128)]                forward, input gradient
//   columns    128 x 1       [ceil(rows / 128)][columns]                weight gradient
//   blocks     128 x 128     [ceil(rows / 128)][ceil(columns / 128)]    weights
//
//   x, codes [rows][columns]; tiles at the ends may be short.
//
// A NaN becomes a NaN code and does not touch the scale; an infinity makes the scale infinite and
// the tile NaN where it stands, so neither passes unseen.
//
// fake_quantise: x -> dequantised x, to train with the rounding of FP8 in any arithmetic. Its
// derivative is taken as 1 (straight-through: Bengio et al., 2013, arXiv:1308.3432), so the
// backward is the identity, and a Dual keeps its slope.
#include <cstdint>

namespace orrery::kernels {

struct TileShape {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

inline constexpr std::int64_t kTileLength = 128;

// Write codes and scales. For float and double, as dequantise.
template <class T>
void quantise_rows(TileShape shape, const T* x, std::uint8_t* codes, float* scales);
template <class T>
void quantise_columns(TileShape shape, const T* x, std::uint8_t* codes, float* scales);
template <class T>
void quantise_blocks(TileShape shape, const T* x, std::uint8_t* codes, float* scales);

// Write x.
template <class T>
void dequantise_rows(TileShape shape, const std::uint8_t* codes, const float* scales, T* x);
template <class T>
void dequantise_columns(TileShape shape, const std::uint8_t* codes, const float* scales, T* x);
template <class T>
void dequantise_blocks(TileShape shape, const std::uint8_t* codes, const float* scales, T* x);

// Write y, which may be x. For float, double and Dual.
template <class T>
void fake_quantise_rows(TileShape shape, const T* x, T* y);
template <class T>
void fake_quantise_columns(TileShape shape, const T* x, T* y);
template <class T>
void fake_quantise_blocks(TileShape shape, const T* x, T* y);

// y = x rounded to E5M6, without scales; y may be x. For float, double and Dual.
template <class T>
void fake_quantise_e5m6(std::int64_t n, const T* x, T* y);

}  // namespace orrery::kernels
