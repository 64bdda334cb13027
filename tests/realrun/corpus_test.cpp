#include "realrun/corpus.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <unordered_map>
#include <vector>

#include "core/error.hpp"
#include "core/hash.hpp"

namespace orrery {
namespace {

// A file that disappears with the test.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& text) {
    std::string folder =
        (std::filesystem::temp_directory_path() / "orrery-corpus-test-XXXXXX").string();
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    std::ofstream(path(), std::ios::binary) << text;
  }
  ~ScratchFile() { std::filesystem::remove_all(folder_); }
  std::string path() const { return (folder_ / "text").string(); }

 private:
  std::filesystem::path folder_;
};

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

std::vector<std::string> sentences_of(const std::string& text) {
  std::vector<std::string> sentences;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '.') continue;
    sentences.push_back(text.substr(begin, at + 1 - begin));
    begin = std::min(at + 2, text.size());
  }
  return sentences;
}

// The part of the sentences of `least` bytes or more that `known` has too. Gear ratios and sums are
// left out: there are only some hundred of each, and to know them all is what is asked.
double repeated(const std::string& text, std::size_t least, const std::set<std::string>& known) {
  int all = 0;
  int found = 0;
  for (const std::string& sentence : sentences_of(text)) {
    if (sentence.size() < least || sentence.find("pinion of") != std::string::npos ||
        sentence.find("what is") != std::string::npos)
      continue;
    ++all;
    found += known.contains(sentence) ? 1 : 0;
  }
  return static_cast<double>(found) / all;
}

// Predicts a byte from the 0 to `order` bytes before it, each order leaning on the one below:
//   P_k(x) = (n(context x) + t(context) P_{k-1}(x)) / (n(context) + t(context)),  P_{-1} = 1/256,
// with t the number of distinct bytes seen after the context (Witten and Bell, IEEE Transactions on
// Information Theory 37(4), 1991, method C). Its loss on text it has not seen is one that a model
// can reach.
class BackOffModel {
 public:
  BackOffModel(const std::string& text, int order) : order_(order) {
    for (std::size_t at = 6; at < text.size(); ++at) {
      for (int length = 0; length <= order_; ++length) {
        Context& context = contexts_[key(text, at, length)];
        ++context.total;
        ++context.counts[text[at]];
      }
    }
  }
  // Nats per byte.
  double loss(const std::string& text) const {
    double sum = 0;
    for (std::size_t at = 6; at < text.size(); ++at) {
      double probability = 1.0 / 256;
      for (int length = 0; length <= order_; ++length) {
        const auto found = contexts_.find(key(text, at, length));
        if (found == contexts_.end()) break;
        const Context& context = found->second;
        const auto distinct = static_cast<double>(context.counts.size());
        const auto count = context.counts.find(text[at]);
        const double seen = count == context.counts.end() ? 0 : count->second;
        probability = (seen + distinct * probability) / (context.total + distinct);
      }
      sum -= std::log(probability);
    }
    return sum / static_cast<double>(text.size() - 6);
  }

 private:
  struct Context {
    double total = 0;
    std::map<char, double> counts;
  };
  static std::uint64_t key(const std::string& text, std::size_t at, int length) {
    auto key = static_cast<std::uint64_t>(length);
    for (int back = length; back > 0; --back)
      key = key << 8 | static_cast<unsigned char>(text[at - static_cast<std::size_t>(back)]);
    return key;
  }

  int order_;
  std::unordered_map<std::uint64_t, Context> contexts_;
};

constexpr std::array kOnes = {"zero",    "one",     "two",       "three",    "four",
                              "five",    "six",     "seven",     "eight",    "nine",
                              "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                              "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr std::array kTens = {"twenty", "thirty",  "forty",  "fifty",
                              "sixty",  "seventy", "eighty", "ninety"};

// "forty-one" is 41; -1 for what is no number below 100.
int value_of(std::string word) {
  word[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(word[0])));
  if (std::isdigit(static_cast<unsigned char>(word[0])) != 0) return std::stoi(word);
  const auto one = std::find(kOnes.begin(), kOnes.end(), word);
  if (one != kOnes.end()) return static_cast<int>(one - kOnes.begin());
  const std::size_t dash = std::min(word.find('-'), word.size());
  const auto ten = std::find(kTens.begin(), kTens.end(), word.substr(0, dash));
  if (ten == kTens.end()) return -1;
  const int tens = 20 + 10 * static_cast<int>(ten - kTens.begin());
  return dash == word.size() ? tens : tens + value_of(word.substr(dash + 1));
}

// What stands between blanks, without the punctuation behind it; "Answer:" keeps its colon.
std::vector<std::string> tokens_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> tokens;
  for (std::string token; stream >> token;) {
    token.erase(token.find_last_not_of(".,?") + 1);
    tokens.push_back(std::move(token));
  }
  // The text is cut anywhere: its last sentence is left out.
  tokens.resize(tokens.size() - 20);
  return tokens;
}

}  // namespace

TEST_CASE("the corpus is the same on every machine") {
  CHECK(hash_text(make_corpus(1, 20000)) == "ea1cc6dc2af33ff3");
  CHECK(make_corpus(1, 20000).starts_with(make_corpus(1, 777)));
  CHECK(make_corpus(1, 777).size() == 777);
  CHECK(make_corpus(1, 0).empty());
  CHECK(make_corpus(1, 777) != make_corpus(2, 777));
}

TEST_CASE("the corpus is printable ASCII") {
  const std::string text = make_corpus(3, 100000);
  CHECK(std::all_of(text.begin(), text.end(),
                    [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
}

// Zipf's law: the frequency of the word of rank r falls as r^-s with s near 1. Slope of a line
// through the logarithms of the ranks 5 to 100; grammar words and the classes' own laws overlay.
TEST_CASE("a few hundred words follow Zipf's law") {
  std::map<std::string, int> counts;
  for (const std::string& word : words_of(make_corpus(1, 1 << 20))) ++counts[word];
  CHECK(counts.size() > 300);
  CHECK(counts.size() < 600);
  std::vector<int> sorted;
  for (const auto& [word, count] : counts) sorted.push_back(count);
  std::sort(sorted.rbegin(), sorted.rend());
  double n = 0, x_sum = 0, y_sum = 0, xx_sum = 0, xy_sum = 0;
  for (std::size_t rank = 5; rank <= 100; ++rank) {
    const double x = std::log(static_cast<double>(rank));
    const double y = std::log(sorted[rank - 1]);
    n += 1, x_sum += x, y_sum += y, xx_sum += x * x, xy_sum += x * y;
  }
  const double slope = (n * xy_sum - x_sum * y_sum) / (n * xx_sum - x_sum * x_sum);
  CAPTURE(counts.size(), slope);
  CHECK(slope < -0.7);
  CHECK(slope > -1.3);
}

TEST_CASE("every sum in the corpus is right, in words and in digits") {
  std::map<std::string, int> checked;
  const std::vector<std::string> tokens = tokens_of(make_corpus(4, 400000));
  for (std::size_t at = 0; at + 4 < tokens.size(); ++at) {
    const std::string& sign = tokens[at + 1];
    const bool plus = sign == "plus" || sign == "+";
    const bool minus = sign == "minus" || sign == "-";
    if (!plus && !minus && sign != "times" && sign != "*") continue;
    const std::string& equals = tokens[at + 3];  // "is", "=", or "Answer:" after a question
    const int left = value_of(tokens[at]);
    const int right = value_of(tokens[at + 2]);
    const int result = value_of(tokens[at + 4]);
    CAPTURE(tokens[at], sign, tokens[at + 2], equals, tokens[at + 4]);
    CHECK(std::min({left, right, result}) >= 0);
    CHECK(result == (plus ? left + right : minus ? left - right : left * right));
    ++checked[equals];
  }
  CHECK(checked.size() == 3);
  for (const auto& [equals, count] : checked) CHECK(count > 100);
}

TEST_CASE("every gear ratio and every following day in the corpus is right") {
  int ratios = 0;
  int days = 0;
  const std::vector<std::string> tokens = tokens_of(make_corpus(4, 200000));
  for (std::size_t at = 0; at + 11 < tokens.size(); ++at) {
    // A pinion of 10 teeth drives a wheel of 60 teeth, so six turns ...
    if (tokens[at] == "pinion" && tokens[at + 1] == "of") {
      CAPTURE(tokens[at + 2], tokens[at + 8], tokens[at + 11]);
      CHECK(value_of(tokens[at + 2]) * value_of(tokens[at + 11]) == value_of(tokens[at + 8]));
      ++ratios;
    }
    // The day after 14 March is 15 March.
    if (tokens[at] == "day" && tokens[at + 1] == "after") {
      CAPTURE(tokens[at + 2], tokens[at + 5]);
      CHECK(value_of(tokens[at + 5]) == value_of(tokens[at + 2]) + 1);
      CHECK(tokens[at + 6] == tokens[at + 3]);
      ++days;
    }
  }
  CHECK(ratios > 50);
  CHECK(days > 50);
}

TEST_CASE("every question about teeth is answered with the wheel that has more") {
  int questions = 0;
  const std::vector<std::string> tokens = tokens_of(make_corpus(5, 200000));
  for (std::size_t at = 0; at + 16 < tokens.size(); ++at) {
    // Question: the map has ten teeth and the wheel has nine, which has more? Answer: the map.
    if (tokens[at] != "Question:" || tokens[at + 1] != "the") continue;
    const int first = value_of(tokens[at + 4]);
    const int second = value_of(tokens[at + 10]);
    CAPTURE(tokens[at + 2], first, tokens[at + 8], second);
    CHECK(std::min(first, second) > 0);
    CHECK(tokens[at + 16] == (first > second ? tokens[at + 2] : tokens[at + 8]));
    ++questions;
  }
  CHECK(questions > 50);
}

// The marks for a loss, in nats per byte. What order 0 to 2 can reach at best on their own text is
// above what contexts of six bytes reach on text they have not seen: there is structure beyond
// letters and pairs of letters.
TEST_CASE("the held-out text can be predicted far better than from two bytes") {
  const Corpus corpus = make_default_corpus();
  CHECK(corpus.training.size() == 1 << 20);
  CHECK(corpus.held_out.size() == 64 << 10);
  const double order_0 = conditional_entropy(corpus.held_out, 0);
  const double order_1 = conditional_entropy(corpus.held_out, 1);
  const double order_2 = conditional_entropy(corpus.held_out, 2);
  const BackOffModel model(corpus.training.substr(0, 400000), 6);
  const double loss = model.loss(corpus.held_out);
  WARN(
      fmt::format("held-out text, nats per byte: order 0 {:.3f}, order 1 {:.3f}, order 2 {:.3f}; a "
                  "back-off model of order 6 {:.3f}",
                  order_0, order_1, order_2, loss));
  CHECK(order_1 < 0.8 * order_0);
  CHECK(order_2 < 0.7 * order_1);
  CHECK(loss < 0.7 * order_2);
  CHECK(loss < 0.3 * order_0);
  // Both texts are of one language.
  CHECK(conditional_entropy(corpus.training, 0) == Approx(order_0).margin(0.02));
  CHECK(conditional_entropy(corpus.training, 1) == Approx(order_1).margin(0.02));
}

// By chance: as much as a text of another seed shares with the training text.
TEST_CASE("held-out sentences are in the training text no more than by chance") {
  const Corpus corpus = make_default_corpus();
  const std::vector<std::string> trained = sentences_of(corpus.training);
  const std::set<std::string> known(trained.begin(), trained.end());
  const double share = repeated(corpus.held_out, 40, known);
  const double by_chance = repeated(make_corpus(77, corpus.held_out.size()), 40, known);
  CAPTURE(share, by_chance);
  CHECK(share < 0.05);
  CHECK(share == Approx(by_chance).margin(0.02));
  CHECK(repeated(corpus.held_out, 60, known) == 0);
  CHECK(repeated(corpus.training, 40, known) == 1);
}

TEST_CASE("conditional entropy of texts that can be done by hand") {
  const double two = std::log(2.0);
  CHECK(conditional_entropy("", 0) == 0);
  CHECK(conditional_entropy("a", 1) == 0);
  CHECK(conditional_entropy("aaaa", 0) == Approx(0).margin(1e-15));
  CHECK(conditional_entropy("abababab", 0) == Approx(two));
  CHECK(conditional_entropy("abababab", 1) == Approx(0).margin(1e-15));
  // Pairs aa, ab: after a, either with probability 1/2.
  CHECK(conditional_entropy("aab", 1) == Approx(two));
  // Pairs aa, ab, bb, ba: 1/2 after either byte. Triples aab, abb, bba: certain.
  CHECK(conditional_entropy("aabba", 1) == Approx(two));
  CHECK(conditional_entropy("aabba", 2) == Approx(0).margin(1e-15));
  // Triples aba, bab, abc, bca: only ab leaves a choice, in two of four cases.
  CHECK(conditional_entropy("ababca", 2) == Approx(two / 2));
  // Quadruples aaab, aaba, abaa, baaa, aaac: aaa leaves a choice in two of five.
  CHECK(conditional_entropy("aaabaaac", 3) == Approx(two * 2 / 5));
  // Bytes above 127 are bytes like others.
  CHECK(conditional_entropy("\xff\x80\x01\x7f", 0) == Approx(2 * two));
  CHECK_THROWS_AS(conditional_entropy("abc", 4), Bug);
}

TEST_CASE("the last twentieth of a file is held out, but at least one sequence") {
  const std::string text = make_corpus(9, 1000) + std::string("\0\xff", 2);
  const ScratchFile file(text);
  const auto [sequence, held_out] =
      GENERATE(table<std::size_t, std::size_t>({{1, 50}, {50, 50}, {51, 51}, {501, 501}}));
  CAPTURE(sequence);
  const Corpus corpus = read_corpus(file.path(), sequence);
  CHECK(corpus.held_out.size() == held_out);
  CHECK(corpus.training + corpus.held_out == text);
}

TEST_CASE("a corpus that cannot be used is refused with the path and the reason") {
  CHECK_THROWS_WITH(read_corpus("no/such.txt", 10), "error: cannot read no/such.txt: no such file");
  const ScratchFile empty("");
  CHECK_THROWS_AS(read_corpus(empty.path(), 10), InputError);
  CHECK_THROWS_WITH(read_corpus(empty.path(), 10),
                    fmt::format("error: cannot train on {}: it is empty", empty.path()));
  const ScratchFile small(std::string(19, 'x'));
  CHECK_THROWS_AS(read_corpus(small.path(), 10), InputError);
  CHECK_THROWS_WITH(
      read_corpus(small.path(), 10),
      fmt::format("error: cannot train on {}: it has 19 bytes, at least 20 are needed: a sequence "
                  "of 10 to train on and one held out",
                  small.path()));
  CHECK(read_corpus(small.path(), 9).held_out.size() == 9);
}

}  // namespace orrery
