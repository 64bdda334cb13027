#include "kernels/mla_layout.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

// All five widths differ, so that a mistaken stride cannot go unseen.
constexpr MlaLayout kLayout{.tokens = 5, .heads = 3, .nope = 4, .rope = 2, .v_dim = 7};
constexpr std::int64_t kUp = kLayout.nope + kLayout.v_dim;
constexpr std::int64_t kQk = kLayout.nope + kLayout.rope;
constexpr std::int64_t kRows = kLayout.tokens * kLayout.heads;

// k followed by v.
template <class T>
std::vector<T> assemble(const std::vector<T>& kv_up, const std::vector<T>& k_rope) {
  std::vector<T> k = poisoned<T>(kRows * kQk);
  std::vector<T> v = poisoned<T>(kRows * kLayout.v_dim);
  place_keys_and_values(kLayout, kv_up.data(), k.data(), v.data());
  broadcast_rope_key(kLayout, k_rope.data(), k.data());
  k.insert(k.end(), v.begin(), v.end());
  return k;
}

TEST_CASE("every head's key is its own part and then the shared rotated part") {
  const auto kv_up = random_vector(kRows * kUp, 1);
  const auto k_rope = random_vector(kLayout.tokens * kLayout.rope, 2);
  const auto assembled = assemble(kv_up, k_rope);
  const auto at = [](const std::vector<double>& from, std::int64_t index) {
    return from[static_cast<std::size_t>(index)];
  };
  for (std::int64_t token = 0; token < kLayout.tokens; ++token) {
    for (std::int64_t head = 0; head < kLayout.heads; ++head) {
      CAPTURE(token, head);
      const std::int64_t row = token * kLayout.heads + head;
      for (std::int64_t column = 0; column < kLayout.nope; ++column) {
        CHECK(at(assembled, row * kQk + column) == at(kv_up, row * kUp + column));
      }
      for (std::int64_t column = 0; column < kLayout.rope; ++column) {
        CHECK(at(assembled, row * kQk + kLayout.nope + column) ==
              at(k_rope, token * kLayout.rope + column));
      }
      for (std::int64_t column = 0; column < kLayout.v_dim; ++column) {
        CHECK(at(assembled, kRows * kQk + row * kLayout.v_dim + column) ==
              at(kv_up, row * kUp + kLayout.nope + column));
      }
    }
  }
}

TEST_CASE("the gradients of the assembled keys and values are their adjoints") {
  const auto kv_up = random_vector(kRows * kUp, 1);
  const auto k_rope = random_vector(kLayout.tokens * kLayout.rope, 2);
  SECTION("with respect to the up-projection") {
    check_derivative(
        kv_up, [&]<class T>(const std::vector<T>& x) { return assemble(x, converted<T>(k_rope)); },
        [](const std::vector<double>&, const std::vector<double>& dy) {
          auto dkv_up = poisoned(kRows * kUp);
          take_key_gradient(kLayout, dy.data(), dkv_up.data());
          take_value_gradient(kLayout, dy.data() + kRows * kQk, dkv_up.data());
          return dkv_up;
        });
  }
  SECTION("with respect to the rotated key") {
    check_derivative(
        k_rope, [&]<class T>(const std::vector<T>& x) { return assemble(converted<T>(kv_up), x); },
        [](const std::vector<double>&, const std::vector<double>& dy) {
          auto dk_rope = poisoned(kLayout.tokens * kLayout.rope);
          reduce_rope_key_gradient(kLayout, dy.data(), dk_rope.data());
          return dk_rope;
        });
  }
}

// Integers add exactly, so the order of the sum does not matter here.
TEST_CASE("the rotated key's gradient is the sum over the shards of its heads") {
  std::vector<double> dk(kRows * kQk);
  for (std::size_t at = 0; at < dk.size(); ++at) dk[at] = static_cast<double>(at * at % 97);
  auto whole = poisoned(kLayout.tokens * kLayout.rope);
  reduce_rope_key_gradient(kLayout, dk.data(), whole.data());

  std::vector<double> sum(whole.size(), 0.0);
  for (std::int64_t head = 0; head < kLayout.heads; ++head) {
    MlaLayout shard = kLayout;
    shard.heads = 1;
    std::vector<double> of_head;
    for (std::int64_t token = 0; token < kLayout.tokens; ++token) {
      const auto row = dk.begin() + (token * kLayout.heads + head) * kQk;
      of_head.insert(of_head.end(), row, row + kQk);
    }
    auto part = poisoned(kLayout.tokens * kLayout.rope);
    reduce_rope_key_gradient(shard, of_head.data(), part.data());
    for (std::size_t at = 0; at < sum.size(); ++at) sum[at] += part[at];
  }
  CHECK(sum == whole);
}

TEST_CASE("a layout without tokens copies nothing") {
  MlaLayout none = kLayout;
  none.tokens = 0;
  double untouched = 1;
  place_keys_and_values<double>(none, nullptr, &untouched, &untouched);
  broadcast_rope_key<double>(none, nullptr, &untouched);
  reduce_rope_key_gradient<double>(none, nullptr, &untouched);
  take_key_gradient<double>(none, nullptr, &untouched);
  take_value_gradient<double>(none, nullptr, &untouched);
  CHECK(untouched == 1);
}

}  // namespace
}  // namespace orrery::kernels
