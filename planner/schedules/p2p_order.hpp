#pragma once
// In which order the ranks of a schedule post their sends and receives, for runtimes whose messages
// are rendezvous: sends and receives are queued, and before every cell all that is queued is posted
// as one batch and waited for (the public code of DualPipe: batch_isend_irecv, wait, compute). A
// message goes through when both sides have posted it.
//
// By default the batch before a cell holds the sends of the outputs of the cell before it, then the
// receives of its own inputs. A generator may queue some of them earlier or later.
#include <string>
#include <vector>

#include "core/schedule.hpp"

namespace orrery {

enum class MessageKind { kActivation, kGradient };

struct Message {
  MessageKind kind = MessageKind::kActivation;
  Microbatch microbatch;
  Stage from;  // of the micro-batch's direction; the other end is the next stage, or the previous
  bool operator==(const Message&) const = default;
  auto operator<=>(const Message&) const = default;
};

struct P2pOperation {
  bool send = false;
  Message message;
  bool operator==(const P2pOperation&) const = default;
};

struct P2pOrder {
  // [rank][cell]: posted before that cell; one batch more than cells, after the last one.
  std::vector<std::vector<std::vector<P2pOperation>>> batches;
};

// For a schedule that has passed check_schedule().
P2pOrder default_p2p_order(const Schedule& schedule);

// What a cell of `rank` needs from other ranks, and what it gives to them.
std::vector<Message> messages_in(const Schedule& schedule, Rank rank, const Cell& cell);
std::vector<Message> messages_out(const Schedule& schedule, Rank rank, const Cell& cell);

// The rank at the other end of `message`, for the one at `stage`.
Rank sender(const Schedule& schedule, const Message& message);
Rank receiver(const Schedule& schedule, const Message& message);

// "activation of micro-batch 3 from stage 2 (rank 2) to stage 3 (rank 3)"
std::string describe(const Schedule& schedule, const Message& message);

}  // namespace orrery
