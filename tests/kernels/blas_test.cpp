#include "kernels/blas.hpp"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "core/error.hpp"

namespace orrery::kernels {
namespace {

TEST_CASE("The BLAS library says who it is, or that there is none") {
  const std::string name = blas_name();
  CAPTURE(name);
  if (have_blas()) {
    CHECK_FALSE(name.empty());
    CHECK(name != "none (plain C++)");
    if (name.starts_with("OpenBLAS")) CHECK(name.find(" (") != std::string::npos);
  } else {
    CHECK(name == "none (plain C++)");
    CHECK_THROWS_AS(
        sgemm(Transpose::kNo, Transpose::kNo, {1, 1, 1}, nullptr, 1, nullptr, 1, nullptr, 1, false),
        Bug);
  }
}

TEST_CASE("Ranks on threads may multiply at the same time") {
  // A = 1, B = rank: every element of C is k * rank.
  const std::int64_t size = 96;
  std::vector<std::vector<float>> results(4);
  {
    std::vector<std::jthread> ranks;
    for (std::size_t rank = 0; rank < results.size(); ++rank)
      ranks.emplace_back([&results, rank] {
        const std::vector<float> a(size * size, 1), b(size * size, static_cast<float>(rank));
        results[rank].assign(size * size, -1);
        for (int repetition = 0; repetition < 5; ++repetition)
          gemm_nt({size, size, size}, a.data(), size, b.data(), size, results[rank].data(), size,
                  false);
      });
  }
  for (std::size_t rank = 0; rank < results.size(); ++rank)
    CHECK(results[rank] == std::vector<float>(size * size, static_cast<float>(size * rank)));
}

}  // namespace
}  // namespace orrery::kernels
