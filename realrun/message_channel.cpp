#include "realrun/message_channel.hpp"

#include "core/error.hpp"

namespace orrery {

MessageChannel::Transfer MessageChannel::start_group(const GroupCall& call) {
  ORRERY_CHECK(false, "no calls of groups on this channel: {}", call.label);
}

}  // namespace orrery
