#include "sim/simgrid_engine.hpp"

#include <array>
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

enum class Medium { kNic, kNvlink };

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

// Ports of the representatives, and one endpoint pair for each kind of flow. A flow's own limit is
// a link that only its endpoint pair uses.
class Platform {
 public:
  Platform(int ranks, const Cluster& cluster) {
    zone_ = s4u::create_full_zone("cluster");
    for (int rank = 0; rank < ranks; ++rank) {
      const std::string name = std::to_string(rank);
      gpus_.push_back(zone_->create_host(name + ".gpu", 1.0));
      ports_.push_back({port(name + ".nic.out", cluster.nic_bandwidth_per_gpu()),
                        port(name + ".nic.in", cluster.nic_bandwidth_per_gpu()),
                        port(name + ".nvlink.out", cluster.nvlink.bandwidth),
                        port(name + ".nvlink.in", cluster.nvlink.bandwidth)});
    }
  }

  s4u::Host* gpu(Rank rank) const { return gpus_[rank.index()]; }

  struct Endpoints {
    s4u::Host* source = nullptr;
    s4u::Host* sink = nullptr;
  };
  // Before seal(): declares; later: finds.
  Endpoints endpoints(Rank from, Rank to, Medium medium, BytesPerSecond limit) {
    const Key key{from, to, medium, limit.value()};
    const auto found = endpoints_.find(key);
    if (found != endpoints_.end()) return found->second;
    const std::string name = "flow" + std::to_string(endpoints_.size());
    Endpoints pair{zone_->create_host(name + ".from", 1.0), zone_->create_host(name + ".to", 1.0)};
    const std::size_t out = medium == Medium::kNic ? 0 : 2;
    const s4u::LinkInRoute limited(port(name + ".limit", limit));
    const s4u::LinkInRoute sender(ports_[from.index()][out]);
    const s4u::LinkInRoute receiver(ports_[to.index()][out + 1]);
    zone_->add_route(pair.source->get_netpoint(), pair.sink->get_netpoint(), nullptr, nullptr,
                     {limited, sender, receiver}, false);
    endpoints_.emplace(key, pair);
    return pair;
  }
  void seal() { zone_->seal(); }

 private:
  using Key = std::tuple<Rank, Rank, Medium, double>;

  s4u::Link* port(const std::string& name, BytesPerSecond bandwidth) {
    // A node without NICs has a port that nothing may be sent through.
    constexpr double kNever = 1;
    return zone_->create_link(name, std::max(bandwidth.value(), kNever))->set_latency(0)->seal();
  }

  s4u::NetZone* zone_ = nullptr;
  std::vector<s4u::Host*> gpus_;
  std::vector<std::array<s4u::Link*, 4>> ports_;
  std::map<Key, Endpoints> endpoints_;
};

// One simulation: starts what is ready, records when it ends.
class Simulation {
 public:
  Simulation(const Program& program, const Cluster& cluster, const CostSource& costs)
      : program_(program), platform_(program.pp, cluster), tracker_(program) {
    timeline_.spans.resize(program.instructions.size());
    pending_.resize(program.instructions.size(), 0);
    for (const Instruction& instruction : program.instructions) declare(instruction, costs);
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
    // SimGrid still uses the activity after this callback: it is let go some completions later.
    recent_.push_back(std::move(found->second.keep));
    if (recent_.size() > kKeptCompletions) recent_.pop_front();
    running_.erase(found);
    ended(id);
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
  };
  // What one kind of instruction does: (work, SMs lent, ranks) decides it.
  struct Action {
    double compute_s = 0;
    double fixed_s = 0;
    std::vector<Flow> flows;
  };
  struct Running {
    InstructionId id;
    s4u::ActivityPtr keep;
  };
  using ActionKey = std::tuple<WorkId, std::int16_t, bool, Rank, Rank>;

  ActionKey key(const Instruction& instruction) const {
    const Rank to = instruction.partner.valid()
                        ? program_.instructions[instruction.partner.index()].rank
                        : instruction.rank;
    return {instruction.work, instruction.lent_sms, instruction.overlapped, instruction.rank, to};
  }

  void declare(const Instruction& instruction, const CostSource& costs) {
    if (instruction.stream == Stream::kRecvNext || instruction.stream == Stream::kRecvPrev) return;
    const auto [entry, fresh] = actions_.try_emplace(key(instruction));
    if (!fresh) return;
    Action& action = entry->second;
    const Work& work = program_.work(instruction);
    if (work.is_compute()) {
      action.compute_s = costs.compute(work, instruction.lent_sms).total().value();
      return;
    }
    const TransferCost cost = costs.transfer(work, instruction.overlapped);
    action.fixed_s = cost.fixed.value();
    const Rank from = instruction.rank;
    const Rank to = std::get<4>(entry->first);
    const auto add = [&](Medium medium, Bytes bytes, BytesPerSecond limit) {
      // SimGrid counts whole bytes.
      if (std::round(bytes.value()) >= 1) {
        ORRERY_CHECK(limit.value() > 0, "{} of {} B over a port without bandwidth", work.name,
                     bytes.value());
        action.flows.push_back(
            {platform_.endpoints(from, to, medium, limit), std::round(bytes.value())});
      }
    };
    add(Medium::kNic, work.wire.nic, cost.nic_limit);
    add(Medium::kNvlink, work.wire.nvlink, cost.nvlink_limit);
  }

  double now() const { return s4u::Engine::get_clock() - origin_; }

  void start(InstructionId id) {
    const Instruction& instruction = program_.instructions[id.index()];
    const Action& action = actions_.at(key(instruction));
    timeline_.spans[id.index()].start = Seconds{now()};
    if (program_.work(instruction).is_compute()) {
      pending_[id.index()] = 1;
      if (action.compute_s <= 0) return after(0, id);
      s4u::ExecPtr exec = s4u::Exec::init()
                              ->set_flops_amount(action.compute_s)
                              ->set_host(platform_.gpu(instruction.rank));
      launch(id, exec);
      return;
    }
    pending_[id.index()] = 1;
    after(action.fixed_s, id);
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
    const Action& action = actions_.at(key(program_.instructions[id.index()]));
    pending_[id.index()] += static_cast<std::int32_t>(action.flows.size());
    for (const Flow& flow : action.flows) {
      s4u::CommPtr comm = s4u::Comm::sendto_init(flow.endpoints.source, flow.endpoints.sink);
      comm->set_payload_size(static_cast<std::uint64_t>(flow.bytes));
      launch(id, comm);
    }
    ended(id);
  }

  template <class Activity>
  void launch(InstructionId id, const boost::intrusive_ptr<Activity>& activity) {
    ++timeline_.activities;
    running_.emplace(activity.get(), Running{id, activity});
    activity->start();
  }

  // One of the parts of `id` has ended.
  void ended(InstructionId id) {
    if (--pending_[id.index()] > 0) return;
    const Seconds end{now()};
    Span& span = timeline_.spans[id.index()];
    span.end = end;
    const InstructionId partner = program_.instructions[id.index()].partner;
    if (partner.valid()) timeline_.spans[partner.index()] = span;
    timeline_.step = std::max(timeline_.step, end);
    std::vector<InstructionId> startable;
    tracker_.complete(id, startable);
    for (InstructionId next : startable) start(next);
  }

  const Program& program_;
  Platform platform_;
  DependencyTracker tracker_;
  Timeline timeline_;
  std::vector<std::int32_t> pending_;  // by instruction: parts that have not ended
  std::map<ActionKey, Action> actions_;
  std::unordered_map<const s4u::Activity*, Running> running_;
  static constexpr std::size_t kKeptCompletions = 1024;
  std::deque<s4u::ActivityPtr> recent_;
  double origin_ = 0;
};

// The simulation that completion callbacks belong to; SimGrid cannot unregister a callback.
Simulation* current = nullptr;

}  // namespace

Timeline run_folded(const Program& program, const Cluster& cluster, const CostSource& costs,
                    int gpus) {
  EngineOwner engine;
  static const bool listening = [] {
    s4u::Activity::on_completion_cb([](const s4u::Activity& activity) {
      if (current != nullptr) current->on_completion(activity);
    });
    return true;
  }();
  ORRERY_CHECK(listening && current == nullptr, "SimGrid runs one simulation at a time");
  Simulation simulation(program, cluster, costs);
  current = &simulation;
  simulation.start_initial();
  engine.run();
  current = nullptr;
  Timeline timeline = simulation.finish();
  timeline.source = "folded";
  timeline.rank_classes = program.pp;
  timeline.gpus = gpus;
  return timeline;
}

}  // namespace orrery
