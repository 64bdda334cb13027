#pragma once
// The transport between ranks that are MPI processes, on one node or many.
//
// The protocol is our own, because MPI alone offers too little: its tags have 31 bits at most and
// may have 15, only the receiver learns of a message that is too long, a send cannot be cancelled,
// and nothing tells a sender that the receiver has failed.
//
//   sender                                receiver, which matches (realrun/match_queue.hpp)
//   post_send: announces tag, size, label ->
//                                         both sides there and agreed: posts the payload's receive
//                                      <- accepts, with the payload's MPI tag and the matching time
//                                      <- or refuses, with the text of the TransportError
//   sends the payload                  -> straight into the receiver's buffer
//
// So 64-bit tags travel whole and are compared whole; MPI's own tags only number the payloads,
// modulo 32768, the range every MPI has. A payload moves only between two posted sides of equal
// size.
//
// The end: each rank sends every other one a last message, when its transport is destroyed or, with
// the reason, on abort(). It accepts nothing after that, so once all last messages are in, each
// rank knows exactly which payloads are still under way and lets them arrive before Aborted leaves:
// no buffer is freed under a transfer. Ranks that do not answer an abort within the answer time are
// given up, MPI_Finalize is skipped and the launcher reports the failure. A message posted to or
// expected from a rank that has ended is a TransportError.
//
// Cost: three MPI messages each; wait() polls, at intervals that grow from nothing to 0.5 ms.
#include <chrono>
#include <memory>

#include "realrun/mpi_channel.hpp"
#include "realrun/transport.hpp"

namespace orrery {

// This process as a rank; to be called once. Destroying the transport waits for all ranks to do so
// and finalises MPI. Throws EnvironmentError as mpi_channel() does.
std::unique_ptr<Transport> mpi_transport(int* argc, char*** argv);

// The protocol over any channel.
std::unique_ptr<Transport> channel_transport(
    std::unique_ptr<MessageChannel> channel,
    std::chrono::milliseconds answer_time = std::chrono::seconds(30));

}  // namespace orrery
