#include "core/suggest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

namespace orrery {
namespace {

// Words longer than this are not typos of ours, and the table of distances would grow with their
// length.
constexpr std::size_t kLongestWord = 64;

std::string lower(std::string_view word) {
  std::string text(word);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

int edit_distance(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<int> before(width), previous(width), current(width);
  for (std::size_t column = 0; column < width; ++column)
    previous[column] = static_cast<int>(column);
  for (std::size_t row = 1; row <= a.size(); ++row) {
    current[0] = static_cast<int>(row);
    for (std::size_t column = 1; column < width; ++column) {
      const int substitute = previous[column - 1] + (a[row - 1] != b[column - 1]);
      current[column] = std::min({previous[column] + 1, current[column - 1] + 1, substitute});
      if (row > 1 && column > 1 && a[row - 1] == b[column - 2] && a[row - 2] == b[column - 1]) {
        current[column] = std::min(current[column], before[column - 2] + 1);
      }
    }
    before.swap(previous);
    previous.swap(current);
  }
  return previous[b.size()];
}

std::string suggest(std::string_view word, std::span<const std::string> candidates) {
  if (word.empty() || word.size() > kLongestWord) return "";
  std::string best;
  int best_distance = 0;
  for (const std::string& candidate : candidates) {
    const bool same_but_case = lower(word) == lower(candidate);
    const int distance = same_but_case ? 0 : edit_distance(word, candidate);
    const int limit = std::max(1, static_cast<int>(std::max(word.size(), candidate.size())) / 3);
    // One edit turns any single letter into any other: that is no likeness.
    const bool near =
        same_but_case || (distance <= limit && distance < static_cast<int>(word.size()));
    if (near && (best.empty() || distance < best_distance)) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::string nearest = suggest(word, candidates);
  return nearest.empty() ? "" : fmt::format("did you mean '{}'?", nearest);
}

}  // namespace orrery
