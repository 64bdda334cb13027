#include "sim/host_engine.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <queue>

#include "core/error.hpp"
#include "core/program.hpp"
#include "sim/dependency_tracker.hpp"

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

class HostRun {
 public:
  HostRun(const Program& program, const HostMachine& machine, const InstructionTimes& times,
          const SpeedTrace& trace)
      : program_(program),
        machine_(machine),
        times_(times),
        trace_(trace),
        stretches_(trace.size()),
        tracker_(program),
        workers_(2 * program.streams.size()),
        cores_(static_cast<std::size_t>(machine.cores)),
        computing_(static_cast<std::size_t>(machine.cores)),
        progress_(program.instructions.size()) {
    for (const auto& members : program.collectives) missing_.push_back(members.size());
    timeline_.source = "host";
    timeline_.spans.resize(program.instructions.size());
    timeline_.rank_classes = timeline_.gpus = program.pp;
  }

  Timeline run() {
    for (InstructionId id : tracker_.initial()) arrive(id, carrier(id));
    for (;;) {
      give_slots();
      adjust_speed();
      const double next = next_time();
      if (next == kNever) break;
      now_ = next;
      end_works();
      while (!events_.empty() && events_.top().time <= now_) {
        const Event event = events_.top();
        events_.pop();
        handle(event);
      }
    }
    if (!tracker_.finished()) {
      throw InputError("the program deadlocks:" + tracker_.describe_deadlock());
    }
    return std::move(timeline_);
  }

 private:
  using WorkerIndex = std::size_t;
  using CoreIndex = std::size_t;

  // In the order in which events of one time are taken.
  enum class EventKind : std::uint8_t { kPaceEnd, kAwake, kBegin };
  struct Event {
    double time = 0;
    EventKind kind = EventKind::kPaceEnd;
    std::uint64_t sequence = 0;
    std::size_t subject = 0;  // instruction, worker or core
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      if (a.time != b.time) return a.time > b.time;
      if (a.kind != b.kind) return a.kind > b.kind;
      return a.sequence > b.sequence;
    }
  };

  enum class WorkerState : std::uint8_t { kAsleep, kWaking, kActive };
  struct Worker {
    WorkerState state = WorkerState::kAsleep;
    std::uint64_t waking = 0;         // sequence of the event that wakes it
    InstructionId current;            // what it wants a slot for, or holds one for
    std::deque<InstructionId> queue;  // what else may start
  };
  struct Core {
    bool taken = false;
    WorkerIndex worker = 0;       // its last one
    double free_since = -kNever;  // -infinity: no one has used it yet
  };
  static constexpr CoreIndex kNoSlot = std::numeric_limits<CoreIndex>::max();
  // A work in progress: `remaining` at time `since`, counted in seconds of a core without slowdown.
  struct Running {
    CoreIndex core = kNoSlot;  // computation: the slot it holds
    WorkerIndex worker = 0;
    double remaining = 0;
    double since = 0;
    double speed = 0;
    double end = kNever;  // at this speed
  };
  struct Progress {
    double ready = 0;
    double end = 0;  // of a collective's member: its own end
    HostTime time;
  };

  // -------------------------------------------------------------------------------------------------------------------
  // Who does an instruction

  const Instruction& at(InstructionId id) const { return program_.instructions[id.index()]; }

  // The tracker represents a transfer by its send; the receiver does the work.
  const Instruction& working_side(InstructionId id) const {
    const Instruction& instruction = at(id);
    return instruction.partner.valid() ? at(instruction.partner) : instruction;
  }
  WorkerIndex carrier(InstructionId id) const {
    const Instruction& instruction = working_side(id);
    return 2 * instruction.rank.index() + (instruction.stream == Stream::kCompute ? 0 : 1);
  }
  bool has_other_sides(InstructionId id) const {
    return at(id).partner.valid() || at(id).collective >= 0;
  }

  // In paced runs an instruction lasts from then on, whenever a core is free for its work.
  bool begins_when_ready(InstructionId id) const {
    return has_other_sides(id) || progress_[id.index()].time.lasts.value() > 0;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Workers

  // `id` may start because `ender` has ended something.
  void arrive(InstructionId id, WorkerIndex ender) {
    ++timeline_.activities;
    Progress& progress = progress_[id.index()];
    progress.ready = now_;
    progress.time = times_.at(working_side(id));
    ORRERY_CHECK(progress.time.work.value() >= 0 && std::isfinite(progress.time.work.value()),
                 "work {}", progress.time.work.value());
    if (begins_when_ready(id)) set_start(id);
    const WorkerIndex index = carrier(id);
    Worker& worker = workers_[index];
    worker.queue.push_back(id);
    if (worker.state == WorkerState::kActive) return;
    if (index == ender) {
      wake_up(index);
    } else if (worker.state == WorkerState::kAsleep) {
      worker.state = WorkerState::kWaking;
      worker.waking = schedule(now_ + machine_.wake.value(), EventKind::kAwake, index);
    }
  }

  void wake_up(WorkerIndex index) {
    workers_[index].state = WorkerState::kActive;
    ask_for_slot(index);
  }

  // For the first of its queue; a worker without one falls asleep.
  void ask_for_slot(WorkerIndex index) {
    Worker& worker = workers_[index];
    if (worker.queue.empty()) {
      worker.state = WorkerState::kAsleep;
      return;
    }
    worker.current = worker.queue.front();
    worker.queue.pop_front();
    if (at(worker.current).stream == Stream::kCompute) {
      computing_[core_of(index)].push_back(index);
    } else {
      begin_work(kNoSlot, index);
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Cores

  CoreIndex core_of(WorkerIndex worker) const { return worker / 2 % cores_.size(); }

  void give_slots() {
    for (CoreIndex index = 0; index < cores_.size(); ++index) {
      Core& core = cores_[index];
      if (core.taken || computing_[index].empty()) continue;
      const WorkerIndex worker = computing_[index].front();
      computing_[index].pop_front();
      const bool handed_over = core.worker != worker;
      core.taken = true;
      core.worker = worker;
      const double begin = core.free_since + machine_.hand_over.value();
      if (handed_over && begin > now_) {
        schedule(begin, EventKind::kBegin, index);
      } else {
        begin_work(index, worker);
      }
    }
  }

  void begin_work(CoreIndex core, WorkerIndex worker) {
    const InstructionId id = workers_[worker].current;
    if (!begins_when_ready(id)) set_start(id);
    const double work = progress_[id.index()].time.work.value();
    ++(core == kNoSlot ? copying_now_ : computing_now_);
    running_.push_back({core, worker, work, now_, 0, kNever});
    changed_ = true;
  }

  // The speed of communication and of computation where so many works of each go on. Communication
  // comes first; each kind shares what cores it has evenly.
  struct Speeds {
    double communication = 1, computation = 1;
    bool operator==(const Speeds&) const = default;
  };
  Speeds speeds() const {
    const double cores = machine_.cores;
    const double copying = static_cast<double>(copying_now_);
    const double computing = static_cast<double>(computing_now_);
    const auto busy = static_cast<std::size_t>(std::min(cores, copying + computing));
    const double alone = 1 / machine_.slowdown[std::max<std::size_t>(busy, 1) - 1];
    const double left = std::max(0.0, cores - copying);
    return {alone * std::min(1.0, cores / std::max(copying, 1.0)),
            alone * std::min(1.0, left / std::max(computing, 1.0))};
  }

  // Of a core at this time, by the trace.
  double own_speed(CoreIndex core) const {
    return core >= trace_.size() || trace_[core].empty()
               ? 1
               : 1 / trace_[core][stretches_[core]].factor;
  }
  double mean_speed() const {
    double sum = 0;
    for (CoreIndex core = 0; core < cores_.size(); ++core) sum += own_speed(core);
    return sum / static_cast<double>(cores_.size());
  }
  void follow_trace() {
    for (CoreIndex core = 0; core < trace_.size(); ++core) {
      std::size_t& stretch = stretches_[core];
      while (stretch + 1 < trace_[core].size() && trace_[core][stretch + 1].from.value() <= now_) {
        ++stretch;
        changed_ = true;
      }
    }
  }
  double next_stretch() const {
    double next = kNever;
    for (CoreIndex core = 0; core < trace_.size(); ++core) {
      if (stretches_[core] + 1 < trace_[core].size())
        next = std::min(next, trace_[core][stretches_[core] + 1].from.value());
    }
    return next;
  }

  // After works may have begun or ended, or a core may have changed its speed.
  void adjust_speed() {
    follow_trace();
    const Speeds now = speeds();
    if (now == speeds_ && !changed_) return;
    const double mean = trace_.empty() ? 1 : mean_speed();
    for (Running& work : running_) {
      const double speed =
          work.core == kNoSlot ? now.communication * mean : now.computation * own_speed(work.core);
      if (work.speed == speed && work.end != kNever) continue;
      work.remaining = std::max(0.0, work.remaining - (now_ - work.since) * work.speed);
      work.since = now_;
      work.speed = speed;
      work.end = speed > 0 ? now_ + work.remaining / speed : kNever;
    }
    speeds_ = now;
    changed_ = false;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Ends

  void end_works() {
    ended_.clear();
    std::erase_if(running_, [&](const Running& work) {
      if (work.end > now_) return false;
      ended_.push_back(work);
      return true;
    });
    for (const Running& work : ended_) {
      --(work.core == kNoSlot ? copying_now_ : computing_now_);
      if (work.core != kNoSlot) {
        Core& core = cores_[work.core];
        core.taken = false;
        core.free_since = now_;
      }
      const InstructionId id = workers_[work.worker].current;
      const Progress& progress = progress_[id.index()];
      const double pace_end = progress.ready + progress.time.lasts.value();
      if (pace_end > now_) {
        schedule(pace_end, EventKind::kPaceEnd, id.index());
      } else {
        end_side(id);
      }
      ask_for_slot(work.worker);
    }
  }

  // One member of a collective has ended its part, or a single instruction has ended.
  void end_side(InstructionId id) {
    progress_[id.index()].end = now_;
    if (at(id).collective < 0) return end(id, carrier(id));
    const auto collective = static_cast<std::size_t>(at(id).collective);
    if (--missing_[collective] > 0) return;
    for (InstructionId member : program_.collectives[collective]) {
      const bool own_end = progress_[member.index()].end == now_;
      end(member, carrier(own_end ? member : id));
    }
  }

  void end(InstructionId id, WorkerIndex ender) {
    timeline_.step = Seconds{now_};
    timeline_.spans[id.index()].end = Seconds{now_};
    if (at(id).partner.valid()) timeline_.spans[at(id).partner.index()].end = Seconds{now_};
    startable_.clear();
    tracker_.complete(id, startable_);
    for (InstructionId next : startable_) arrive(next, ender);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Time

  std::uint64_t schedule(double time, EventKind kind, std::size_t subject) {
    events_.push({time, kind, ++sequence_, subject});
    return sequence_;
  }

  void handle(const Event& event) {
    switch (event.kind) {
      case EventKind::kPaceEnd: {
        const InstructionId id(static_cast<std::int64_t>(event.subject));
        // Its own timer may be earlier than another's wake-up.
        if (workers_[carrier(id)].state == WorkerState::kWaking) wake_up(carrier(id));
        end_side(id);
        break;
      }
      case EventKind::kAwake: {
        // The end of a pace may have woken it before.
        const Worker& worker = workers_[event.subject];
        if (worker.state == WorkerState::kWaking && worker.waking == event.sequence) {
          wake_up(event.subject);
        }
        break;
      }
      case EventKind::kBegin: begin_work(event.subject, cores_[event.subject].worker); break;
    }
  }

  double next_time() const {
    double next = events_.empty() ? kNever : events_.top().time;
    for (const Running& work : running_) next = std::min(next, work.end);
    return running_.empty() ? next : std::min(next, next_stretch());
  }

  void set_start(InstructionId id) {
    timeline_.spans[id.index()].start = Seconds{now_};
    if (at(id).partner.valid()) timeline_.spans[at(id).partner.index()].start = Seconds{now_};
  }

  const Program& program_;
  const HostMachine& machine_;
  const InstructionTimes& times_;
  const SpeedTrace& trace_;
  std::vector<std::size_t> stretches_;  // of the trace at this time, by core
  DependencyTracker tracker_;
  std::vector<Worker> workers_;  // [2 rank]: computation, [2 rank + 1]: communication
  std::vector<Core> cores_;
  std::vector<std::deque<WorkerIndex>> computing_;   // that wait for a slot, by core
  std::vector<Running> running_;                     // in the order in which they began
  std::size_t copying_now_ = 0, computing_now_ = 0;  // of running_
  Speeds speeds_;                                    // that the ends in running_ count with
  bool changed_ = false;  // running_ has one whose end is not known, or a core another speed
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  std::uint64_t sequence_ = 0;
  double now_ = 0;
  std::vector<Progress> progress_;    // by instruction; a transfer's under its send
  std::vector<std::size_t> missing_;  // by collective: members that have not ended
  std::vector<Running> ended_;
  std::vector<InstructionId> startable_;
  Timeline timeline_;
};

}  // namespace

Timeline run_host(const Program& program, const HostMachine& machine, const InstructionTimes& times,
                  const SpeedTrace& speeds) {
  ORRERY_CHECK(machine.cores >= 1, "{} cores", machine.cores);
  ORRERY_CHECK(machine.slowdown.size() == static_cast<std::size_t>(machine.cores),
               "{} slowdowns for {} cores", machine.slowdown.size(), machine.cores);
  for (const auto& core : speeds) {
    for (const SpeedStretch& stretch : core)
      ORRERY_CHECK(stretch.factor > 0 && std::isfinite(stretch.factor), "factor {}",
                   stretch.factor);
  }
  return HostRun(program, machine, times, speeds).run();
}

}  // namespace orrery
