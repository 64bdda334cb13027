#include "realrun/batches.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

using Tokens = std::vector<std::int32_t>;

// Random bytes: a few neighbours tell the place.
std::string random_text(int size) {
  Random random(99);
  std::string text;
  for (int at = 0; at < size; ++at) text += static_cast<char>(random.below(256));
  return text;
}

Tokens batch(const Batches& batches, std::int64_t step, std::int64_t sequence, std::size_t size) {
  Tokens tokens(size, -1);
  batches.fill(step, sequence, tokens);
  return tokens;
}

}  // namespace

TEST_CASE("a sequence is a window of the text with its targets, bytes as 0 to 255") {
  const std::string text = random_text(5000);
  const Batches batches(text, 16, 2, 1);
  for (std::int64_t step = 0; step < 200; ++step) {
    const Tokens tokens = batch(batches, step, step % 7, 18);
    std::string bytes;
    for (const std::int32_t token : tokens) {
      REQUIRE(token >= 0);
      REQUIRE(token <= 255);
      bytes += static_cast<char>(token);
    }
    CHECK(text.find(bytes) != std::string::npos);
  }
}

// What a run may depend on: the numbers themselves, on every machine.
TEST_CASE("the offsets of a seed stay what they are") {
  std::string text(256, ' ');
  std::iota(text.begin(), text.end(), '\0');
  const Batches batches(text, 1, 0, 42);
  Tokens offsets;
  for (std::int64_t step = 0; step < 2; ++step) {
    for (std::int64_t sequence = 0; sequence < 4; ++sequence)
      offsets.push_back(batch(batches, step, sequence, 1)[0]);
  }
  CHECK(offsets == Tokens{70, 158, 161, 188, 76, 34, 18, 228});
}

TEST_CASE("a sequence depends on seed, step and its index, and on nothing that happened before") {
  const std::string text = random_text(1 << 16);
  const Batches batches(text, 32, 1, 7);
  const Tokens once = batch(batches, 12, 3, 33);
  for (std::int64_t step = 0; step < 20; ++step) batch(batches, step, step, 33);
  CHECK(batch(batches, 12, 3, 33) == once);
  CHECK(batch(Batches(text, 32, 1, 7), 12, 3, 33) == once);
  CHECK(batch(Batches(text, 32, 1, 8), 12, 3, 33) != once);
  CHECK(batch(batches, 13, 3, 33) != once);
  CHECK(batch(batches, 12, 4, 33) != once);
  // Neither are step and index exchanged or added up.
  CHECK(batch(batches, 3, 12, 33) != once);
}

// 65536 - 33 + 1 = 65504 offsets; k = 4096 draws leave 65504 (1 - (1 - 1/65504)^4096) = 3971
// distinct ones, standard deviation about 11.
TEST_CASE("sequences of steps and batches begin at independent places") {
  const std::string text = random_text(1 << 16);
  const Batches batches(text, 32, 1, GENERATE(0, 1, 2, 0xffffffffffffffffULL));
  std::set<Tokens> distinct;
  for (std::int64_t step = 0; step < 64; ++step) {
    for (std::int64_t sequence = 0; sequence < 64; ++sequence)
      distinct.insert(batch(batches, step, sequence, 33));
  }
  const double expected = 65504 * (1 - std::pow(1 - 1.0 / 65504, 4096));
  CHECK(static_cast<double>(distinct.size()) == Approx(expected).margin(55));
}

// Chi-squared of 40 000 draws over 8 offsets, 7 degrees of freedom: above 24.3 in one case of a
// thousand.
TEST_CASE("every offset is drawn equally often, the last one too") {
  const std::string text = "abcdefghij";
  const Batches batches(text, 2, 1, 5);
  std::map<Tokens, int> counts;
  for (std::int64_t step = 0; step < 200; ++step) {
    for (std::int64_t sequence = 0; sequence < 200; ++sequence)
      ++counts[batch(batches, step, sequence, 3)];
  }
  CHECK(counts.size() == 8);
  CHECK(counts.contains(Tokens{'a', 'b', 'c'}));
  CHECK(counts.contains(Tokens{'h', 'i', 'j'}));
  double chi_squared = 0;
  for (const auto& [tokens, count] : counts)
    chi_squared += (count - 5000.0) * (count - 5000.0) / 5000.0;
  CHECK(chi_squared < 24.3);
}

TEST_CASE("a text shorter than one sequence with its targets is refused") {
  CHECK_THROWS_AS(Batches("0123456789", 10, 1, 0), InputError);
  CHECK_THROWS_WITH(Batches("0123456789", 10, 1, 0),
                    "error: the text has 10 bytes, a sequence of 10 tokens needs 11 with its "
                    "targets");
  CHECK_THROWS_AS(HeldOutWindows("0123456789", 10, 1), InputError);
  CHECK(batch(Batches("0123456789", 9, 1, 0), 5, 5, 10)[9] == '9');
}

TEST_CASE("wrong calls are bugs") {
  const Batches batches("0123456789", 3, 1, 0);
  Tokens short_by_one(3);
  CHECK_THROWS_AS(batches.fill(0, 0, short_by_one), Bug);
  Tokens tokens(4);
  CHECK_THROWS_AS(batches.fill(-1, 0, tokens), Bug);
  CHECK_THROWS_AS(batches.fill(0, -1, tokens), Bug);
  CHECK_THROWS_AS(HeldOutWindows("0123456789", 3, 1).fill(3, tokens), Bug);
  CHECK_THROWS_AS(Batches("0123456789", 0, 1, 0), Bug);
}

// Window k predicts positions 3 k + 1 to 3 k + 3 (k from 0): with 10 to 14 bytes and two extra
// tokens there are floor((n - 5) / 3) + 1 windows.
TEST_CASE("the held-out windows walk through the text and predict each position once") {
  const int bytes = GENERATE(5, 7, 8, 10, 11, 12, 13, 14);
  CAPTURE(bytes);
  std::string text(static_cast<std::size_t>(bytes), ' ');
  std::iota(text.begin(), text.end(), 'a');
  const HeldOutWindows windows(text, 3, 2);
  CHECK(windows.size() == (bytes - 5) / 3 + 1);
  std::vector<std::int32_t> predicted;
  for (std::int64_t index = 0; index < windows.size(); ++index) {
    Tokens tokens(5);
    windows.fill(index, tokens);
    predicted.insert(predicted.end(), tokens.begin() + 1, tokens.begin() + 4);
  }
  REQUIRE(predicted.size() == static_cast<std::size_t>(3 * windows.size()));
  for (std::size_t at = 0; at < predicted.size(); ++at)
    CHECK(predicted[at] == 'a' + 1 + static_cast<int>(at));
  // What is left over is shorter than one more window.
  CHECK(3 * windows.size() + 5 > bytes);
}

}  // namespace orrery
