#pragma once
// What a real training run reads: a text, one token a byte (256 tokens, no tokenizer to ship).
//
// Without a file of the user's the project makes its own text, from a stochastic grammar over a few
// hundred words on astronomy and clockwork: statements, sums and gear ratios that are right, dates,
// questions with their answers, dialogue. Words follow Zipf's law within their class and a
// paragraph keeps returning to its topic, so there is something to learn at every distance: the
// letters of a word, the order of words, agreement, copying, arithmetic.
//
// How low a loss is, only the text can tell. conditional_entropy() gives the marks: a model that
// knows nothing but letter frequencies reaches order 0, one that sees the two bytes before reaches
// order 2 (Shannon, A Mathematical Theory of Communication, 1948, sections 6 and 7).
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace orrery {

struct Corpus {
  std::string training;
  std::string held_out;  // never trained on
};

// Exactly `bytes` bytes of ASCII text with one paragraph a line, the last one cut where the bytes
// end. The same on every machine; another seed gives other sentences of the same language.
std::string make_corpus(std::uint64_t seed, std::size_t bytes);

// 1 MiB to train on and 64 KiB held out, from two seeds.
Corpus make_default_corpus();

// The bytes of a file as they are. The last 5 % are held out, but at least one sequence of
// `sequence_tokens` tokens, its targets included. Throws InputError when the file cannot be read,
// is empty or is too short for one sequence in either part.
Corpus read_corpus(const std::string& path, std::size_t sequence_tokens);

// Entropy of a byte given the `order` bytes before it, in nats per byte, from the text's own counts
// n (of `order` + 1 bytes in a row) and c (of the first `order` of them):
//   H = -(1/N) sum n ln(n / c)
// `order` is 0 to 3. The counts are those of the text itself, so at high orders and on short texts
// the figure is below what any model reaches on text it has not seen. Cost: one sort of the text's
// positions.
double conditional_entropy(std::string_view text, int order);

}  // namespace orrery
