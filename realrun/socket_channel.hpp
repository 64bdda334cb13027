#pragma once
// Sockets as a channel, for runs that no MPI has started, and for one process alone.
//
// A connection carries frames: short messages, and payloads with their tag, which the receiver has
// given room for before the sender may send (realrun/channel_transport.hpp). The last frame says
// goodbye; a connection that ends without it is a rank that has failed, an EnvironmentError.
#include <chrono>
#include <memory>

#include "realrun/launch.hpp"
#include "realrun/message_channel.hpp"

namespace orrery {

// Connects all ranks of the launch (realrun/socket_mesh.hpp). `patience`: for them to come and, in
// the destructor, to go. Throws EnvironmentError.
std::unique_ptr<MessageChannel> socket_channel(
    const Launch& launch, std::chrono::milliseconds patience = std::chrono::seconds(120));

}  // namespace orrery
