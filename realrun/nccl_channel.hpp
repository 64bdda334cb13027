#pragma once
// A channel whose data moves by NCCL, from GPU to GPU, and whose short messages go by another one:
// MPI's (realrun/mpi_channel.hpp) or sockets (realrun/socket_channel.hpp). The protocol on top
// (realrun/channel_transport.hpp) is the same: sizes and labels are compared before anyone calls
// NCCL, so what would hang or overwrite memory there is a TransportError that names both sides.
//
//   pipeline transfers        ncclSend, ncclRecv on a communicator for each sender and receiver
//   expert-parallel exchange  ncclSend and ncclRecv of all members in one group
//   collectives               ncclAllReduce, ncclAllGather, ncclReduceScatter
//   anything else             the other channel: sizes of messages, results, last messages
//
// Cost: a transfer begins one message of the other channel later than its second side; transfers
// copy between host and device as long as kernels compute on the host (realrun/nccl_device.hpp).
#include <chrono>
#include <memory>

#include "realrun/communicators.hpp"
#include "realrun/message_channel.hpp"
#include "realrun/nccl_library.hpp"

namespace orrery {

// Makes this rank's communicators; all ranks call it with equal `communicators`. `device`: the GPU
// of this process, below library.devices. `patience`: for all that waits for other ranks, and for
// NCCL. Throws EnvironmentError.
std::unique_ptr<MessageChannel> nccl_channel(
    std::unique_ptr<MessageChannel> messages, const NcclLibrary& library, int device,
    const Communicators& communicators,
    std::chrono::milliseconds patience = std::chrono::seconds(120));

}  // namespace orrery
