#include "planner/schedules/rendezvous.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace orrery {
namespace {

class Rendezvous {
 public:
  Rendezvous(const Schedule& schedule, const P2pOrder& order, const CellTimes& times)
      : schedule_(schedule), order_(order), times_(times), next_(schedule.ranks.size()) {
    result_.timing.busy.resize(schedule.ranks.size());
    for (const auto& cells : schedule.ranks) result_.timing.cells.emplace_back(cells.size());
  }

  RendezvousTiming run() {
    for (std::size_t rank = 0; rank < next_.size(); ++rank) post(rank, Seconds{});
    bool progress = true;
    while (progress) {
      progress = false;
      for (std::size_t rank = 0; rank < next_.size(); ++rank) {
        while (advance(rank)) progress = true;
      }
    }
    for (std::size_t rank = 0; rank < next_.size(); ++rank) {
      if (next_[rank] < batches(rank).size()) {
        result_.deadlock = stuck();
        return std::move(result_);
      }
    }
    summarise_spans(schedule_, times_, result_.timing);
    // The last batch counts: a rank is not through before it.
    for (std::size_t rank = 0; rank < end_.size(); ++rank)
      result_.timing.makespan = std::max(result_.timing.makespan, end_[rank]);
    return std::move(result_);
  }

 private:
  const std::vector<std::vector<P2pOperation>>& batches(std::size_t rank) const {
    return order_.batches[rank];
  }

  void post(std::size_t rank, Seconds at) {
    for (const P2pOperation& operation : batches(rank)[next_[rank]])
      (operation.send ? sent_ : received_).try_emplace(operation.message, at);
    posted_at_[rank] = at;
  }

  // The batch that the rank waits for, and the cell behind it. False where it cannot go through
  // yet.
  bool advance(std::size_t rank) {
    const std::size_t batch = next_[rank];
    if (batch >= batches(rank).size()) return false;
    Seconds through = posted_at_[rank];
    for (const P2pOperation& operation : batches(rank)[batch]) {
      const auto send = sent_.find(operation.message);
      const auto receive = received_.find(operation.message);
      if (send == sent_.end() || receive == received_.end()) return false;
      through =
          std::max(through, std::max(send->second, receive->second) + latency(operation.message));
    }
    ++next_[rank];
    if (batch == schedule_.ranks[rank].size()) {
      end_.resize(schedule_.ranks.size());
      end_[rank] = through;
      return true;
    }
    const Seconds duration = cell_duration(schedule_, Rank{static_cast<int>(rank)},
                                           schedule_.ranks[rank][batch], times_);
    result_.timing.cells[rank][batch] = {through, through + duration};
    result_.timing.busy[rank] += duration;
    post(rank, through + duration);
    return true;
  }

  Seconds latency(const Message& message) const {
    const int direction = message.microbatch.value < schedule_.microbatches_of(0).last ? 0 : 1;
    return times_.latency({message.from, direction}, message.kind == MessageKind::kGradient);
  }

  // "rank 1 waits before F 3 (...) to receive the activation of ..., which rank 0 has not sent".
  std::string stuck() const {
    std::string text = "deadlock with rendezvous:";
    for (std::size_t rank = 0; rank < next_.size(); ++rank) {
      if (next_[rank] >= batches(rank).size()) continue;
      for (const P2pOperation& operation : batches(rank)[next_[rank]]) {
        const bool there = operation.send ? received_.contains(operation.message)
                                          : sent_.contains(operation.message);
        if (there) continue;
        text += fmt::format("\n  rank {} (before cell {}) waits to {} the {}", rank, next_[rank],
                            operation.send ? "send" : "receive",
                            describe(schedule_, operation.message));
        break;
      }
    }
    return text;
  }

  const Schedule& schedule_;
  const P2pOrder& order_;
  const CellTimes& times_;
  std::vector<std::size_t> next_;  // [rank] batch that it waits for
  std::map<std::size_t, Seconds> posted_at_;
  std::map<Message, Seconds> sent_, received_;  // when posted
  std::vector<Seconds> end_;
  RendezvousTiming result_;
};

}  // namespace

RendezvousTiming time_rendezvous(const Schedule& schedule, const P2pOrder& order,
                                 const CellTimes& times) {
  return Rendezvous(schedule, order, times).run();
}

}  // namespace orrery
