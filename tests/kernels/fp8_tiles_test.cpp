#include "kernels/fp8_tiles.hpp"

#include <limits>

#include "kernels/fp8.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

// The three tilings, by the height and width of a tile.
template <class T>
struct Tiling {
  const char* name;
  std::int64_t height, width;
  void (*quantise)(TileShape, const T*, std::uint8_t*, float*);
  void (*dequantise)(TileShape, const std::uint8_t*, const float*, T*);
  void (*fake_quantise)(TileShape, const T*, T*);

  std::int64_t across(TileShape shape) const { return (shape.columns + width - 1) / width; }
  std::int64_t scales(TileShape shape) const {
    return (shape.rows + height - 1) / height * across(shape);
  }
};

template <class T>
std::vector<Tiling<T>> tilings() {
  return {{"rows", 1, 128, quantise_rows<T>, dequantise_rows<T>, fake_quantise_rows<T>},
          {"columns", 128, 1, quantise_columns<T>, dequantise_columns<T>, fake_quantise_columns<T>},
          {"blocks", 128, 128, quantise_blocks<T>, dequantise_blocks<T>, fake_quantise_blocks<T>}};
}

const std::vector<TileShape> kShapes = {{0, 0},   {0, 5},   {5, 0},     {1, 1},     {1, 127},
                                        {127, 1}, {3, 128}, {129, 129}, {256, 130}, {130, 257}};

TEMPLATE_TEST_CASE("Codes and scales of a tile follow from its largest magnitude", "", float,
                   double) {
  using T = TestType;
  for (const Tiling<T>& tiling : tilings<T>())
    for (const TileShape& shape : kShapes) {
      CAPTURE(tiling.name, shape.rows, shape.columns);
      const std::int64_t size = shape.rows * shape.columns;
      std::vector<T> x = random_vector<T>(size, 1);
      // Magnitudes differ from tile to tile, so that a wrong tile shows.
      for (std::int64_t element = 0; element < size; ++element)
        x[static_cast<std::size_t>(element)] *=
            static_cast<T>(1 + element % shape.columns + element / shape.columns);
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(size), 0x7f);
      std::vector<float> scales = poisoned<float>(tiling.scales(shape));
      tiling.quantise(shape, x.data(), codes.data(), scales.data());
      std::vector<T> back = poisoned<T>(size), fake = poisoned<T>(size);
      tiling.dequantise(shape, codes.data(), scales.data(), back.data());
      tiling.fake_quantise(shape, x.data(), fake.data());

      std::vector<float> largest(scales.size(), 1e-4f);
      const auto tile_of = [&](std::int64_t element) {
        return static_cast<std::size_t>(element / shape.columns / tiling.height *
                                            tiling.across(shape) +
                                        element % shape.columns / tiling.width);
      };
      for (std::int64_t element = 0; element < size; ++element) {
        float& of_tile = largest[tile_of(element)];
        of_tile =
            std::max(of_tile, std::abs(static_cast<float>(x[static_cast<std::size_t>(element)])));
      }
      std::int64_t wrong = 0;
      for (std::int64_t element = 0; element < size; ++element) {
        const auto at = static_cast<std::size_t>(element);
        const float scale = largest[tile_of(element)] / 448;
        const std::uint8_t code = encode_e4m3(static_cast<float>(x[at]) / scale);
        wrong += !(scales[tile_of(element)] == scale && codes[at] == code &&
                   back[at] == static_cast<T>(decode_e4m3(code) * scale) && fake[at] == back[at]);
        // Relative 2^-4 where normal, and half a subnormal step of the tile elsewhere.
        wrong += !(std::abs(static_cast<double>(back[at] - x[at])) <=
                   std::max(std::abs(static_cast<double>(x[at])) / 16, 0x1p-10 * scale) * 1.000001);
      }
      CHECK(wrong == 0);
      tiling.fake_quantise(shape, x.data(), x.data());
      CHECK(x == fake);
    }
}

TEST_CASE("The largest element of a tile keeps its value, and a tile of zeros stays zero") {
  std::vector<double> x(256, 0);
  x[3] = -7;
  std::vector<std::uint8_t> codes(256, 0x7f);
  std::vector<float> scales = poisoned<float>(2);
  quantise_rows({1, 256}, x.data(), codes.data(), scales.data());
  CHECK(scales[0] == 7.0f / 448);
  CHECK(scales[1] == 1e-4f / 448);
  CHECK(codes[3] == 0xfe);
  fake_quantise_rows({1, 256}, x.data(), x.data());
  CHECK(x[3] == -7);
  x[3] = 0;
  CHECK(x == std::vector<double>(256, 0));
}

TEST_CASE("A NaN stays where it is and leaves its tile alone; an infinity does not pass unseen") {
  std::vector<float> x = {1, std::numeric_limits<float>::quiet_NaN(), 0.5f, -1};
  fake_quantise_rows({1, 4}, x.data(), x.data());
  CHECK(x[0] == 1);
  CHECK(std::isnan(x[1]));
  CHECK(x[2] == 0.5f);
  CHECK(x[3] == -1);
  x = {1, std::numeric_limits<float>::infinity()};
  fake_quantise_rows({1, 2}, x.data(), x.data());
  CHECK(std::isnan(x[1]));
}

TEST_CASE("Emulated rounding keeps the slope: straight through") {
  const std::vector<double> x = random_vector(300, 1);
  std::vector<Dual> dual;
  for (std::size_t element = 0; element < x.size(); ++element)
    dual.emplace_back(x[element], static_cast<double>(element) + 0.1);
  for (std::size_t kind = 0; kind < 4; ++kind) {
    CAPTURE(kind);
    std::vector<double> expected = poisoned(300);
    std::vector<Dual> result = poisoned<Dual>(300);
    if (kind < 3) {
      tilings<double>()[kind].fake_quantise({3, 100}, x.data(), expected.data());
      const auto fake = kind == 0   ? fake_quantise_rows<Dual>
                        : kind == 1 ? fake_quantise_columns<Dual>
                                    : fake_quantise_blocks<Dual>;
      fake({3, 100}, dual.data(), result.data());
    } else {
      fake_quantise_e5m6(300, x.data(), expected.data());
      fake_quantise_e5m6(300, dual.data(), result.data());
      CHECK(expected[0] == round_e5m6(static_cast<float>(x[0])));
    }
    CHECK(expected != x);
    for (std::size_t element = 0; element < x.size(); ++element) {
      CHECK(result[element].value == expected[element]);
      CHECK(result[element].slope == dual[element].slope);
    }
  }
}

}  // namespace
}  // namespace orrery::kernels
