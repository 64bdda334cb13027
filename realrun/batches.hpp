#pragma once
// Which tokens a step trains on, and which it is judged by. A token is one byte of the text, 0 to
// 255.
//
// A sequence is a window of `sequence` tokens and the `extra` tokens after it: the targets of the
// last position lie there, one for the next token and one more for each multi-token-prediction
// module (1 + mtp_depth). With s tokens t[0..s) and MTP depth d, position i of the main head is to
// predict t[i + 1], that of module m (1 to d) t[i + 1 + m].
//
// Training windows begin at random offsets, drawn by a counter-based generator: the offset is a
// pure function of (seed, step, sequence). Nothing is remembered between steps, so every rank can
// make any sequence, whatever the layout, and a resumed run goes on as if it had never stopped.
#include <cstdint>
#include <span>
#include <string_view>

namespace orrery {

class Batches {
 public:
  // Does not own `text`. Throws InputError when it is shorter than one window.
  Batches(std::string_view text, int sequence, int extra, std::uint64_t seed);

  // Sequence number `sequence_index` of the step's global batch, both from 0; `tokens` has room for
  // sequence + extra. Safe to call from many threads.
  void fill(std::int64_t step, std::int64_t sequence_index, std::span<std::int32_t> tokens) const;

 private:
  std::string_view text_;
  std::size_t window_;
  std::uint64_t seed_;
};

// Held-out text from its beginning to its end: window k begins at byte k x sequence, so that each
// position is predicted once. What is left over at the end is not used.
class HeldOutWindows {
 public:
  // Does not own `text`. Throws InputError when it is shorter than one window.
  HeldOutWindows(std::string_view text, int sequence, int extra);

  std::int64_t size() const;  // how many, at least 1
  void fill(std::int64_t index, std::span<std::int32_t> tokens) const;

 private:
  std::string_view text_;
  std::size_t sequence_;
  std::size_t window_;
};

}  // namespace orrery
