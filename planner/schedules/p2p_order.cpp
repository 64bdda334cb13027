#include "planner/schedules/p2p_order.hpp"

#include <fmt/format.h>

namespace orrery {
namespace {

int direction_of(const Schedule& schedule, Microbatch microbatch) {
  return microbatch.value < schedule.microbatches_of(0).last ? 0 : 1;
}

Stage target(const Message& message) {
  return Stage{message.from.value + (message.kind == MessageKind::kActivation ? 1 : -1)};
}

Stage stage_of(const Schedule& schedule, Rank rank, const Half& half) {
  return schedule.chunks[rank.index()][half.chunk.index()].stage;
}

bool between_ranks(const Schedule& schedule, const Message& message) {
  return sender(schedule, message) != receiver(schedule, message);
}

}  // namespace

Rank sender(const Schedule& schedule, const Message& message) {
  return schedule.host(message.from, direction_of(schedule, message.microbatch)).rank;
}

Rank receiver(const Schedule& schedule, const Message& message) {
  return schedule.host(target(message), direction_of(schedule, message.microbatch)).rank;
}

std::string describe(const Schedule& schedule, const Message& message) {
  return fmt::format("{} of micro-batch {} from stage {} (rank {}) to stage {} (rank {})",
                     message.kind == MessageKind::kActivation ? "activation" : "gradient",
                     message.microbatch.value, message.from.value, sender(schedule, message).value,
                     target(message).value, receiver(schedule, message).value);
}

std::vector<Message> messages_in(const Schedule& schedule, Rank rank, const Cell& cell) {
  std::vector<Message> messages;
  const auto add = [&](MessageKind kind, const Half& half, int from) {
    if (from < 0 || from >= schedule.stages()) return;
    const Message message{kind, half.microbatch, Stage{from}};
    if (between_ranks(schedule, message)) messages.push_back(message);
  };
  if (cell.has_forward()) {
    add(MessageKind::kActivation, cell.forward,
        static_cast<int>(stage_of(schedule, rank, cell.forward).value) - 1);
  }
  if (cell.has_input_gradient()) {
    add(MessageKind::kGradient, cell.backward,
        static_cast<int>(stage_of(schedule, rank, cell.backward).value) + 1);
  }
  return messages;
}

std::vector<Message> messages_out(const Schedule& schedule, Rank rank, const Cell& cell) {
  std::vector<Message> messages;
  const auto add = [&](MessageKind kind, const Half& half) {
    const Message message{kind, half.microbatch, stage_of(schedule, rank, half)};
    const auto to = target(message).value;
    if (to < 0 || to >= schedule.stages()) return;
    if (between_ranks(schedule, message)) messages.push_back(message);
  };
  if (cell.has_forward()) add(MessageKind::kActivation, cell.forward);
  if (cell.has_input_gradient()) add(MessageKind::kGradient, cell.backward);
  return messages;
}

P2pOrder default_p2p_order(const Schedule& schedule) {
  P2pOrder order;
  for (Rank rank{0}; rank.value < schedule.pp(); ++rank.value) {
    const std::vector<Cell>& cells = schedule.ranks[rank.index()];
    auto& batches = order.batches.emplace_back(cells.size() + 1);
    for (std::size_t cell = 0; cell < cells.size(); ++cell) {
      for (const Message& message : messages_in(schedule, rank, cells[cell]))
        batches[cell].push_back({false, message});
      for (const Message& message : messages_out(schedule, rank, cells[cell]))
        batches[cell + 1].push_back({true, message});
    }
  }
  return order;
}

}  // namespace orrery
