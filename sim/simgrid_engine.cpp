#include "sim/simgrid_engine.hpp"

#include <bit>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <simgrid/kernel/Timer.hpp>
#include <simgrid/s4u.hpp>
#include <unordered_map>

#include "core/error.hpp"
#include "sim/dependency_tracker.hpp"

// clang-format off: this header is not self-contained and must come last
#include <simgrid/version.h>
// clang-format on
static_assert(SIMGRID_VERSION >= 33200, "the adapter was written for SimGrid 3.32");

namespace orrery {
namespace {

namespace s4u = simgrid::s4u;

// SimGrid reads its options from a command line; they hold from the first engine to the end of the
// process.
class EngineOwner {
 public:
  EngineOwner() {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
    int count = static_cast<int>(words_.size());
    engine_ = std::make_unique<s4u::Engine>(&count, pointers_.data());
  }
  void run() { engine_->run(); }

 private:
  std::vector<std::string> words_ = {"orrery",
                                     "--cfg=network/model:CM02",
                                     "--cfg=network/crosstraffic:0",
                                     "--cfg=network/TCP-gamma:0",
                                     "--cfg=surf/precision:1e-12",
                                     "--log=root.thres:error"};
  std::vector<char*> pointers_;
  std::unique_ptr<s4u::Engine> engine_;
};

// The resources of a flow plan, and one endpoint pair for each flow at each limit. A flow's own
// limit is a link that only its endpoint pair uses.
class Platform {
 public:
  explicit Platform(const FlowPlan& plan) : plan_(plan) {
    zone_ = s4u::create_full_zone("cluster");
    for (std::size_t number = 0; number < plan.resources.size(); ++number)
      links_.push_back(link("r" + std::to_string(number), plan.resources[number].capacity));
  }

  struct Endpoints {
    s4u::Host* source = nullptr;
    s4u::Host* sink = nullptr;
  };
  // Before seal().
  Endpoints endpoints(int flow, BytesPerSecond limit) {
    const auto [entry, fresh] = endpoints_.try_emplace({flow, limit.value()});
    if (!fresh) return entry->second;
    const std::string name = "flow" + std::to_string(endpoints_.size());
    Endpoints& pair = entry->second;
    pair = {zone_->create_host(name + ".from", 1.0), zone_->create_host(name + ".to", 1.0)};
    std::vector<s4u::LinkInRoute> route{s4u::LinkInRoute(link(name + ".limit", limit))};
    for (const Crossing& crossing : plan_.flows[static_cast<std::size_t>(flow)].route) {
      // A link listed several times weighs as often in the sharing.
      for (int time = 0; time < crossing.times; ++time)
        route.emplace_back(links_[static_cast<std::size_t>(crossing.resource)]);
    }
    zone_->add_route(pair.source->get_netpoint(), pair.sink->get_netpoint(), nullptr, nullptr,
                     route, false);
    return pair;
  }
  void seal() { zone_->seal(); }

 private:
  s4u::Link* link(const std::string& name, BytesPerSecond bandwidth) {
    return zone_->create_link(name, bandwidth.value())->set_latency(0)->seal();
  }

  const FlowPlan& plan_;
  s4u::NetZone* zone_ = nullptr;
  std::vector<s4u::Link*> links_;
  std::map<std::pair<int, double>, Endpoints> endpoints_;
};

// One simulation: starts what is ready, records when it ends.
class Simulation {
 public:
  Simulation(const NetworkStep& step, const CostSource& costs)
      : program_(step.program), step_(step), platform_(step.flows), tracker_(step.program) {
    timeline_.spans.resize(program_.instructions.size());
    pending_.resize(program_.instructions.size(), 0);
    action_of_.reserve(program_.instructions.size());
    for (const Instruction& instruction : program_.instructions)
      action_of_.push_back(declare(instruction, costs));
    platform_.seal();
    origin_ = s4u::Engine::get_clock();
  }

  void start_initial() {
    for (InstructionId id : tracker_.initial()) start(id);
  }

  void on_completion(const s4u::Activity& activity) {
    const auto found = running_.find(&activity);
    if (found == running_.end()) return;
    const InstructionId id = found->second.id;
    const double began = found->second.began;
    const PlannedFlow* planned = found->second.planned;
    if (step_.records != nullptr)
      step_.records->push_back({static_cast<int>(planned - step_.flows.flows.data()),
                                found->second.bytes, Seconds{began}, Seconds{now()}});
    // SimGrid still uses the activity after this callback: it is let go some completions later.
    recent_.push_back(std::move(found->second.keep));
    if (recent_.size() > kKeptCompletions) recent_.pop_front();
    running_.erase(found);
    if (step_.skew == nullptr) return ended(id);
    // Where the busiest end carries more than the mean, its messages take longer.
    const double rest = (step_.skew->longer(id, *planned) - 1) * (now() - began);
    if (rest <= 0) return ended(id);
    simgrid::kernel::timer::Timer::set(s4u::Engine::get_clock() + rest, [this, id] { ended(id); });
  }

  Timeline finish() {
    if (!tracker_.finished())
      throw InputError("the program deadlocks:" + tracker_.describe_deadlock());
    return std::move(timeline_);
  }

 private:
  struct Flow {
    Platform::Endpoints endpoints;
    double bytes = 0;
    const PlannedFlow* planned = nullptr;
  };
  // What one kind of instruction does: the work, the SMs lent, and who is meant decide it.
  struct Action {
    double fixed_s = 0;  // of a computation all, of a transfer before its flows start
    std::vector<Flow> flows;
  };
  struct Running {
    InstructionId id;
    const PlannedFlow* planned = nullptr;
    double bytes = 0;
    double began = 0;
    s4u::ActivityPtr keep;
  };
  // What does not matter is 0.
  struct ActionKey {
    WorkId work;
    std::int16_t lent_sms = 0;
    bool overlapped = false;
    std::int32_t exchange = 0;
    double speed = 1;
    bool operator==(const ActionKey&) const = default;
  };
  struct ActionHash {
    std::size_t operator()(const ActionKey& key) const {
      std::uint64_t hash = static_cast<std::uint64_t>(key.work.value);
      for (std::uint64_t part :
           {static_cast<std::uint64_t>(static_cast<std::uint32_t>(key.exchange)),
            static_cast<std::uint64_t>(key.lent_sms) * 2 + (key.overlapped ? 1 : 0),
            std::bit_cast<std::uint64_t>(key.speed)}) {
        hash = (hash ^ part) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
      }
      return static_cast<std::size_t>(hash);
    }
  };

  int declare(const Instruction& instruction, const CostSource& costs) {
    if (instruction.stream == Stream::kRecvNext || instruction.stream == Stream::kRecvPrev)
      return -1;
    const Work& work = program_.work(instruction);
    const double speed =
        work.is_compute() && !step_.speeds.empty() ? step_.speeds[instruction.rank.index()] : 1.0;
    const std::int32_t exchange = work.is_compute() ? 0 : step_.exchange_of[instruction.id.index()];
    const ActionKey key{instruction.work, instruction.lent_sms, instruction.overlapped, exchange,
                        speed};
    const auto [entry, fresh] = known_.try_emplace(key, static_cast<int>(actions_.size()));
    if (!fresh) return entry->second;
    Action& action = actions_.emplace_back();
    if (work.is_compute()) {
      // Kernels of a slow GPU last longer; launching them does not.
      const ComputeCost cost = costs.compute(work, instruction.lent_sms);
      action.fixed_s = cost.busy.value() / speed + cost.gaps.value();
      return entry->second;
    }
    const TransferCost cost = costs.transfer(work, instruction.overlapped, instruction.lent_sms);
    action.fixed_s = cost.fixed.value();
    if (exchange < 0) return entry->second;
    for (int number : step_.flows.exchanges[static_cast<std::size_t>(exchange)]) {
      const PlannedFlow& flow = step_.flows.flows[static_cast<std::size_t>(number)];
      // SimGrid counts whole bytes.
      const Bytes sent = flow.nic ? work.wire.nic : work.wire.nvlink * cost.nvlink_share;
      const double bytes = std::round(sent.value() * flow.share);
      if (bytes < 1) continue;
      const BytesPerSecond limit = (flow.nic ? cost.nic_limit : cost.nvlink_limit) * flow.share;
      ORRERY_CHECK(limit.value() > 0, "{} of {} B over a port without bandwidth", work.name, bytes);
      action.flows.push_back({platform_.endpoints(number, limit), bytes, &flow});
    }
    return entry->second;
  }

  const Action& action(InstructionId id) const {
    return actions_[static_cast<std::size_t>(action_of_[id.index()])];
  }

  double now() const { return s4u::Engine::get_clock() - origin_; }

  void start(InstructionId id) {
    const Instruction& instruction = program_.instructions[id.index()];
    // Of a collective the first member carries the flows.
    if (instruction.collective >= 0 && members(instruction).front() != id) return;
    const double wait = step_.skew == nullptr ? 0 : step_.skew->wait_s(id, now(), timeline_);
    const Seconds begin{now() + wait};
    timeline_.spans[id.index()].start = begin;
    if (instruction.collective >= 0) {
      for (InstructionId member : members(instruction))
        timeline_.spans[member.index()].start = begin;
    }
    pending_[id.index()] = 1;
    double fixed = action(id).fixed_s;
    if (program_.work(instruction).is_compute()) {
      ++timeline_.activities;
      if (step_.skew != nullptr) fixed += step_.skew->stretch_s(id);
    }
    after(wait + fixed, id);
  }

  const std::vector<InstructionId>& members(const Instruction& instruction) const {
    return program_.collectives[static_cast<std::size_t>(instruction.collective)];
  }

  // Ends the fixed part of an instruction after `delay`; its flows follow.
  void after(double delay, InstructionId id) {
    if (delay > 0) {
      simgrid::kernel::timer::Timer::set(s4u::Engine::get_clock() + delay,
                                         [this, id] { fixed_part_ended(id); });
    } else {
      fixed_part_ended(id);
    }
  }

  void fixed_part_ended(InstructionId id) {
    const Action& own = action(id);
    pending_[id.index()] += static_cast<std::int32_t>(own.flows.size());
    for (const Flow& flow : own.flows) {
      double bytes = flow.bytes;
      if (step_.skew != nullptr)
        bytes = std::max(1.0, std::round(bytes * step_.skew->bytes(id, *flow.planned)));
      s4u::CommPtr comm = s4u::Comm::sendto_init(flow.endpoints.source, flow.endpoints.sink);
      comm->set_payload_size(static_cast<std::uint64_t>(bytes));
      ++timeline_.activities;
      running_.emplace(comm.get(), Running{id, flow.planned, bytes, now(), comm});
      comm->start();
    }
    ended(id);
  }

  // One of the parts of `id` has ended.
  void ended(InstructionId id) {
    if (--pending_[id.index()] > 0) return;
    const Instruction& instruction = program_.instructions[id.index()];
    const Seconds end{now()};
    timeline_.step = std::max(timeline_.step, end);
    std::vector<InstructionId> startable;
    if (instruction.collective >= 0) {
      for (InstructionId member : members(instruction)) timeline_.spans[member.index()].end = end;
      if (step_.skew != nullptr) {
        for (InstructionId member : members(instruction)) step_.skew->ended(member, timeline_);
      }
      for (InstructionId member : members(instruction)) tracker_.complete(member, startable);
    } else {
      Span& span = timeline_.spans[id.index()];
      span.end = end;
      if (instruction.partner.valid()) timeline_.spans[instruction.partner.index()] = span;
      if (step_.skew != nullptr) step_.skew->ended(id, timeline_);
      tracker_.complete(id, startable);
    }
    for (InstructionId next : startable) start(next);
  }

  const Program& program_;
  const NetworkStep& step_;
  Platform platform_;
  DependencyTracker tracker_;
  Timeline timeline_;
  std::vector<std::int32_t> pending_;  // by instruction: parts that have not ended
  std::unordered_map<ActionKey, int, ActionHash> known_;
  std::vector<Action> actions_;
  std::vector<std::int32_t> action_of_;  // by instruction; -1: receives
  std::unordered_map<const s4u::Activity*, Running> running_;
  static constexpr std::size_t kKeptCompletions = 1024;
  std::deque<s4u::ActivityPtr> recent_;
  double origin_ = 0;
};

// The simulation that completion callbacks belong to; SimGrid cannot unregister a callback.
Simulation* current = nullptr;

}  // namespace

Timeline run_simgrid(const NetworkStep& step, const CostSource& costs) {
  EngineOwner engine;
  static const bool listening = [] {
    s4u::Activity::on_completion_cb([](const s4u::Activity& activity) {
      if (current != nullptr) current->on_completion(activity);
    });
    return true;
  }();
  ORRERY_CHECK(listening && current == nullptr, "SimGrid runs one simulation at a time");
  Simulation simulation(step, costs);
  current = &simulation;
  simulation.start_initial();
  engine.run();
  current = nullptr;
  return simulation.finish();
}

}  // namespace orrery
