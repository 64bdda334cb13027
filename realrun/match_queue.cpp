#include "realrun/match_queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace orrery {

Label::Label(std::string_view text)
    : length_(static_cast<std::uint8_t>(std::min(text.size(), kMaxLength))) {
  std::memcpy(text_, text.data(), length_);
}

std::string tag_text(std::int64_t tag) {
  if (tag < 0) return fmt::format("gather phase {}", -1 - tag);
  if (tag < kGroupTags) return fmt::format("tag {}", tag);
  return fmt::format("operation {} phase {}", (tag - kGroupTags) / 8, (tag - kGroupTags) % 8);
}

std::string posted_text(const Posted& posted, Seconds now, std::string_view state) {
  return fmt::format("{} rank {}, {}, {} B, {} (posted {:.1f} s ago{}{})",
                     posted.is_send ? "send to" : "receive from", posted.peer, tag_text(posted.tag),
                     posted.bytes, posted.label.text(), (now - posted.at).value(),
                     state.empty() ? "" : ", ", state);
}

std::optional<std::string> mismatch(const Posted& send, const Posted& receive) {
  if (send.bytes == receive.bytes && send.label == receive.label) return std::nullopt;
  return fmt::format("rank {} sends {} B ({}) to rank {}, which expects {} B ({}) from it, {}",
                     send.rank, send.bytes, send.label.text(), receive.rank, receive.bytes,
                     receive.label.text(), tag_text(send.tag));
}

std::string abort_text(int rank, std::string_view why) {
  return fmt::format("rank {} failed: {}", rank, why);
}

std::optional<Posted> MatchQueue::add_send(const Posted& send) {
  return add(send, send.rank, sends_, receives_);
}

std::optional<Posted> MatchQueue::add_receive(const Posted& receive) {
  return add(receive, receive.peer, receives_, sends_);
}

std::optional<Posted> MatchQueue::add(const Posted& posted, int source, Waiting& own,
                                      Waiting& others) {
  const std::pair key(source, posted.tag);
  const auto other = others.lower_bound(key);  // the oldest of its key
  if (other == others.end() || other->first != key) {
    own.emplace(key, posted);
    return std::nullopt;
  }
  const Posted matched = other->second;
  others.erase(other);
  return matched;
}

}  // namespace orrery
