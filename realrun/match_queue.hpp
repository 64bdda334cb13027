#pragma once
// What both transports share: which send belongs to which receive, and the words for messages.
//
// Each rank has one queue for what is addressed to it: sends that have been announced, and receives
// that it has posted. A send belongs to the oldest receive of its (source, tag) and the other way
// round, so at any time a (source, tag) has waiting sends or waiting receives, never both.
//
// Cost: O(log n) a message with n waiting.
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/quantity.hpp"
#include "realrun/transport.hpp"

namespace orrery {

// The label of a message, of fixed size so that it can be sent as it is and outlives the text it
// was made from.
class Label {
 public:
  Label() = default;
  explicit Label(std::string_view text);
  std::string_view text() const { return {text_, length_}; }
  bool operator==(const Label& other) const { return text() == other.text(); }

 private:
  static constexpr std::size_t kMaxLength = 63;
  std::uint8_t length_ = 0;
  char text_[kMaxLength] = {};
};

// One side of a message.
struct Posted {
  bool is_send = false;
  int rank = 0;  // that posted it
  int peer = 0;  // the other rank
  std::int64_t tag = 0;
  std::size_t bytes = 0;
  Label label;
  Ticket ticket = 0;  // of `rank`
  Seconds at;
};

// "tag 17"; "operation 5 phase 0" for the tags of group operations; "gather phase 1".
std::string tag_text(std::int64_t tag);
// "send to rank 3, tag 17, 4096 B, dispatch (posted 2.1 s ago)", with ", <state>" if given.
std::string posted_text(const Posted& posted, Seconds now, std::string_view state = "");
// Nothing if the two sides agree on size and label; else what a TransportError says.
std::optional<std::string> mismatch(const Posted& send, const Posted& receive);
// What Aborted says when that rank has called abort(why).
std::string abort_text(int rank, std::string_view why);

class MatchQueue {
 public:
  // The oldest waiting receive for this send, which is then taken out; without one the send waits.
  std::optional<Posted> add_send(const Posted& send);
  // The oldest waiting send for this receive, likewise.
  std::optional<Posted> add_receive(const Posted& receive);

 private:
  // By (source, tag); equal keys stay in the order of insertion.
  using Waiting = std::multimap<std::pair<int, std::int64_t>, Posted>;
  static std::optional<Posted> add(const Posted& posted, int source, Waiting& own, Waiting& others);

  Waiting sends_;
  Waiting receives_;
};

}  // namespace orrery
