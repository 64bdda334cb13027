#include "realrun/batches.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

std::size_t window_size(std::string_view text, int sequence, int extra) {
  ORRERY_CHECK(sequence >= 1 && extra >= 0, "sequence {} extra {}", sequence, extra);
  const auto window = static_cast<std::size_t>(sequence) + static_cast<std::size_t>(extra);
  if (text.size() < window) {
    throw InputError(
        fmt::format("error: the text has {} bytes, a sequence of {} tokens needs {} with its "
                    "targets",
                    text.size(), sequence, window));
  }
  return window;
}

void copy_tokens(std::string_view window, std::span<std::int32_t> tokens) {
  ORRERY_CHECK(tokens.size() == window.size(), "room for {} of {} tokens", tokens.size(),
               window.size());
  std::transform(window.begin(), window.end(), tokens.begin(),
                 [](char byte) { return static_cast<unsigned char>(byte); });
}

// Each stage maps 64 bits one to one, so the sequences of a step never share a draw, nor do the
// steps of a sequence share their starting points.
Random generator(std::uint64_t seed, std::int64_t step, std::int64_t sequence_index) {
  const std::uint64_t of_seed = Random(seed).next();
  const std::uint64_t of_step = Random(of_seed ^ static_cast<std::uint64_t>(step)).next();
  return Random(of_step ^ static_cast<std::uint64_t>(sequence_index));
}

}  // namespace

Batches::Batches(std::string_view text, int sequence, int extra, std::uint64_t seed)
    : text_(text), window_(window_size(text, sequence, extra)), seed_(seed) {}

void Batches::fill(std::int64_t step, std::int64_t sequence_index,
                   std::span<std::int32_t> tokens) const {
  ORRERY_CHECK(step >= 0 && sequence_index >= 0, "step {} sequence {}", step, sequence_index);
  // The remainder favours small offsets by less than text size / 2^64.
  const std::uint64_t offsets = text_.size() - window_ + 1;
  const std::uint64_t offset = generator(seed_, step, sequence_index).next() % offsets;
  copy_tokens(text_.substr(offset, window_), tokens);
}

HeldOutWindows::HeldOutWindows(std::string_view text, int sequence, int extra)
    : text_(text),
      sequence_(static_cast<std::size_t>(sequence)),
      window_(window_size(text, sequence, extra)) {}

std::int64_t HeldOutWindows::size() const {
  return static_cast<std::int64_t>((text_.size() - window_) / sequence_) + 1;
}

void HeldOutWindows::fill(std::int64_t index, std::span<std::int32_t> tokens) const {
  ORRERY_CHECK(index >= 0 && index < size(), "window {} of {}", index, size());
  copy_tokens(text_.substr(static_cast<std::size_t>(index) * sequence_, window_), tokens);
}

}  // namespace orrery
