#include "kernels/embedding.hpp"

#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

// Ids over a vocabulary of 10, some more than once.
std::vector<std::int32_t> example_ids(std::int64_t tokens) {
  std::vector<std::int32_t> ids;
  for (std::int64_t token = 0; token < tokens; ++token)
    ids.push_back(static_cast<std::int32_t>(token * 7 % 10));
  return ids;
}

TEST_CASE("The lookups of all shards add up to that of the whole table") {
  const std::int64_t columns = 3;
  const std::vector<double> table = random_vector(10 * columns, 1);
  for (const std::int64_t tokens : {0, 1, 127, 129}) {
    const std::vector<std::int32_t> ids = example_ids(tokens);
    const auto lookup = [&](std::int64_t first, std::int64_t rows) {
      std::vector<double> out = poisoned(tokens * columns);
      embedding_lookup({tokens, first, rows, columns}, ids.data(), table.data() + first * columns,
                       out.data());
      return out;
    };
    const std::vector<double> whole = lookup(0, 10);
    const std::vector<double> left = lookup(0, 4), right = lookup(4, 6), none = lookup(10, 0);
    for (std::size_t element = 0; element < whole.size(); ++element) {
      const auto id = static_cast<std::size_t>(ids[element / columns]);
      CHECK(whole[element] == table[id * columns + element % columns]);
      CHECK(left[element] == (id < 4 ? whole[element] : 0));
      CHECK(right[element] == (id < 4 ? 0 : whole[element]));
      CHECK(none[element] == 0);
    }
  }
}

TEST_CASE("The gradient of a lookup adds the tokens of each id") {
  for (const std::int64_t tokens : {0, 1, 127, 129})
    for (const std::int64_t first : {0, 4}) {
      const EmbeddingShape shape{tokens, first, 5, 3};
      const std::vector<std::int32_t> ids = example_ids(tokens);
      check_derivative(
          random_vector(15, 1),
          [&]<class T>(const std::vector<T>& table) {
            std::vector<T> out = poisoned<T>(tokens * 3);
            embedding_lookup(shape, ids.data(), table.data(), out.data());
            return out;
          },
          [&](const std::vector<double>&, const std::vector<double>& dout) {
            std::vector<double> dtable(15, 0);
            embedding_gradient(shape, ids.data(), dout.data(), dtable.data());
            return dtable;
          });
    }
}

TEST_CASE("The gradient of a lookup is added to what is there") {
  const std::int32_t ids[] = {6, 5, 6, 9};
  const std::vector<double> dout = {1, 2, 4, 8};
  std::vector<double> dtable = {100, 200};
  embedding_gradient({4, 5, 2, 1}, ids, dout.data(), dtable.data());
  CHECK(dtable == std::vector<double>{102, 205});
}

}  // namespace
}  // namespace orrery::kernels
