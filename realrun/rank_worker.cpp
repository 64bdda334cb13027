#include "realrun/rank_worker.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "realrun/cpu_clock.hpp"
#include "realrun/thread_sleep.hpp"
#include "sim/dependency_tracker.hpp"

namespace orrery {
namespace {

Seconds thread_cpu() {
  return Seconds{thread_cpu_seconds()};
}

constexpr std::array<Stream, kStreams - 1> kLaneStreams = {
    Stream::kComm, Stream::kSendNext, Stream::kSendPrev, Stream::kRecvNext, Stream::kRecvPrev};

}  // namespace

template <class T>
RankWorker<T>::RankWorker(const Program& program, RankState<T>& rank, Transport& transport,
                          CoreGate& gate, RunControl& control, const InstructionTimes* pace,
                          Measurement& measurement, std::vector<OpSample>* samples, OpTimer* timer)
    : program_(program),
      rank_(rank),
      transport_(transport),
      gate_(gate),
      control_(control),
      pace_(pace),
      measurement_(measurement),
      communication_(program, rank, transport),
      ops_(program, rank, list(Stream::kCompute), samples, timer),
      done_(program.instructions.size(), 0),
      ended_at_(program.instructions.size()),
      activation_(program.buffers.size(), 0) {
  for (Stream stream : kLaneStreams) {
    Lane& lane = lanes_.emplace_back();
    lane.stream = stream;
  }
}

template <class T>
std::span<const InstructionId> RankWorker<T>::list(Stream stream) const {
  return program_
      .streams[static_cast<std::size_t>(transport_.rank())][static_cast<std::size_t>(stream)];
}

// ---------------------------------------------------------------------------------------------------------------------
// What both workers do

template <class T>
bool RankWorker<T>::dependencies_ended(const Instruction& instruction) const {
  const auto before = program_.deps_of(instruction);
  return std::all_of(before.begin(), before.end(),
                     [&](InstructionId id) { return done_[id.index()] != 0; });
}

template <class T>
void RankWorker<T>::allocate(const Instruction& instruction) {
  for (const BufferEvent& event : program_.events_of(instruction)) {
    if (!event.alloc) continue;
    const auto number = static_cast<std::size_t>(event.buffer);
    const Buffer& buffer = program_.buffers[number];
    if (buffer.kind == BufferKind::kCommunication)
      activation_[number] = communication_.is_activation(instruction);
    rank_.lifetime(buffer, activation_[number] != 0).allocate();
    if (buffer.kind == BufferKind::kWeightGradientInput) {
      rank_.frame(buffer.stage, buffer.direction, buffer.layer, buffer.microbatch).backward = true;
    }
  }
}

template <class T>
void RankWorker<T>::release(const Instruction& instruction) {
  for (const BufferEvent& event : program_.events_of(instruction)) {
    if (event.alloc) continue;
    const auto number = static_cast<std::size_t>(event.buffer);
    rank_.lifetime(program_.buffers[number], activation_[number] != 0).release();
  }
}

// When all that it waits for had ended; `before`: the end of its predecessor on the stream. Under
// the lock.
template <class T>
Seconds RankWorker<T>::ready_since(const Instruction& instruction, Seconds before) const {
  Seconds ready = before;
  for (InstructionId id : program_.deps_of(instruction))
    ready = std::max(ready, ended_at_[id.index()]);
  return ready > Seconds{} ? ready : transport_.now();
}

template <class T>
void RankWorker<T>::ended(const Instruction& instruction, Span span) {
  measurement_.spans[instruction.id.index()] = span;
  // The other worker is woken only for what it waits for: waking it for nothing would cost the CPU
  // time of somebody's kernel.
  bool compute_ready = false;
  bool lane_ready = false;
  {
    const std::lock_guard lock(mutex_);
    done_[instruction.id.index()] = 1;
    ended_at_[instruction.id.index()] = span.end;
    order_[static_cast<std::size_t>(instruction.stream)].push_back(instruction.id);
    if (instruction.stream == Stream::kCompute) {
      lane_ready = std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) {
        return lane.waits_for_ranks_own.valid() && dependencies_ended(at(lane.waits_for_ranks_own));
      });
    } else {
      compute_ready = compute_at_.valid() && dependencies_ended(at(compute_at_));
    }
  }
  if (lane_ready) transport_.ring();
  if (compute_ready) changed_.notify_one();
}

template <class T>
Seconds RankWorker<T>::least_length(const Instruction& instruction) const {
  return pace_ == nullptr ? Seconds{} : pace_->at(instruction).lasts;
}

// Runs `action`; an error fails the run, named after the instruction.
template <class T>
template <class Action>
void RankWorker<T>::guarded(InstructionId id, Action action) {
  try {
    action();
  } catch (const Aborted&) {
    control_.fail("another rank has failed");
  } catch (const std::exception& error) {
    control_.fail(id.valid() ? describe(program_, id) + ": " + error.what() : error.what());
  }
}

template <class T>
void RankWorker<T>::stop() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

template <class T>
std::string RankWorker<T>::describe_wait() {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    if (compute_at_.valid()) {
      text += "\n  " + describe(program_, compute_at_);
      for (InstructionId before : program_.deps_of(at(compute_at_))) {
        if (done_[before.index()] == 0) text += ", waits for " + describe(program_, before);
      }
    }
  }
  const std::string pending = transport_.pending();
  if (!pending.empty()) text += fmt::format("\n  rank {}: {}", transport_.rank(), pending);
  return text;
}

// ---------------------------------------------------------------------------------------------------------------------
// Computation

template <class T>
void RankWorker<T>::carry_out_compute(InstructionId id) {
  const Instruction& instruction = at(id);
  Seconds ready;
  {
    std::unique_lock lock(mutex_);
    compute_at_ = id;
    changed_.wait(lock, [&] { return dependencies_ended(instruction) || control_.failed(); });
    if (control_.failed()) return;
    ready = ready_since(instruction, compute_end_);
  }
  Span span;
  {
    const CoreGate::Hold core(gate_, transport_.rank() % gate_.cores());
    const RunControl::Busy busy(control_);
    // In paced runs it lasts from when it is ready, as on a device of its own.
    span.start = least_length(instruction) > Seconds{} ? ready : transport_.now();
    allocate(instruction);
    ops_.run(instruction);
    release(instruction);
    // With what the worker did since its last instruction: looking, waiting, taking the core.
    const Seconds now = thread_cpu();
    measurement_.work[id.index()] = now - compute_counted_;
    compute_counted_ = now;
  }
  span.end = transport_.now();
  if (const Seconds due = ready + least_length(instruction); due > span.end) {
    sleep_for(due - transport_.now());
    span.end = due;
  }
  compute_end_ = span.end;
  ended(instruction, span);
}

template <class T>
void RankWorker<T>::compute() {
  wake_on_time();
  compute_counted_ = thread_cpu();
  for (InstructionId id : list(Stream::kCompute)) {
    guarded(id, [&] { carry_out_compute(id); });
    if (control_.failed()) return;
  }
  const std::lock_guard lock(mutex_);
  compute_at_ = InstructionId();
}

// ---------------------------------------------------------------------------------------------------------------------
// Communication

template <class T>
void RankWorker<T>::begin_lane(Lane& lane) {
  const InstructionId id = list(lane.stream)[lane.next];
  const Instruction& instruction = at(id);
  {
    const std::lock_guard lock(mutex_);
    lane.waits_for_ranks_own = dependencies_ended(instruction) ? InstructionId() : id;
    if (lane.waits_for_ranks_own.valid()) return;
    lane.ready = ready_since(instruction, lane.previous_end);
  }
  guarded(id, [&] {
    const RunControl::Busy busy(control_);
    const Seconds before = thread_cpu();
    allocate(instruction);
    if (least_length(instruction) > Seconds{}) transport_.post_as_of(lane.ready);
    lane.running = communication_.start(instruction);
    transport_.post_as_of({});
    count(id, thread_cpu() - before);
  });
}

// Whether anything came of it.
template <class T>
bool RankWorker<T>::advance_lane(Lane& lane) {
  const InstructionId id = list(lane.stream)[lane.next];
  bool finished = false;
  guarded(id, [&] {
    const Seconds before = thread_cpu();
    finished = lane.running->advance();
    if (finished) {
      const RunControl::Busy busy(control_);
      lane.running->finish();
      lane.start = std::max(lane.ready, lane.running->started().value_or(lane.ready));
      lane.work_end = transport_.now();
      lane.over = true;
      release(at(id));
    }
    count(id, thread_cpu() - before);
  });
  return finished;
}

template <class T>
bool RankWorker<T>::end_lane(Lane& lane) {
  const InstructionId id = list(lane.stream)[lane.next];
  const Seconds end = std::max(lane.work_end, lane.start + least_length(at(id)));
  if (transport_.now() < end) return false;
  lane.running.reset();
  lane.over = false;
  lane.previous_end = end;
  ++lane.next;
  ended(at(id), {lane.start, end});
  // What the worker did for no exchange in particular (waking, looking) goes to the next to end.
  count(id, thread_cpu() - communication_counted_);
  return true;
}

template <class T>
void RankWorker<T>::count(InstructionId id, Seconds time) {
  measurement_.work[id.index()] += time;
  communication_counted_ += time;
}

// The transport moves what has come for all that is under way at once.
template <class T>
void RankWorker<T>::share_move(Seconds time) {
  std::vector<InstructionId> under_way;
  for (const Lane& lane : lanes_) {
    const bool sends = lane.stream == Stream::kSendNext || lane.stream == Stream::kSendPrev;
    if (lane.running && !lane.over && !sends) under_way.push_back(list(lane.stream)[lane.next]);
  }
  for (InstructionId id : under_way) count(id, time / static_cast<double>(under_way.size()));
}

template <class T>
void RankWorker<T>::move_messages() {
  guarded(InstructionId(), [&] {
    const RunControl::Busy busy(control_);
    const Seconds before = thread_cpu();
    transport_.move();
    share_move(thread_cpu() - before);
  });
}

// One look at everything; whether anything came of it. `due`: when the first paced end is.
template <class T>
bool RankWorker<T>::look_at_lanes(std::optional<Seconds>& due, bool& all_through) {
  bool progress = false;
  for (Lane& lane : lanes_) {
    if (control_.failed()) return false;
    if (lane.next == list(lane.stream).size()) continue;
    all_through = false;
    if (!lane.running) {
      begin_lane(lane);
      progress = progress || lane.running != nullptr;
    }
    if (control_.failed()) return false;
    if (lane.running && !lane.over) progress = advance_lane(lane) || progress;
    if (control_.failed() || !lane.over) continue;
    const InstructionId id = list(lane.stream)[lane.next];
    if (end_lane(lane)) {
      progress = true;
    } else {
      const Seconds end = lane.start + least_length(at(id));
      due = due ? std::min(*due, end) : end;
    }
  }
  return progress;
}

template <class T>
void RankWorker<T>::communicate() {
  wake_on_time();
  run_soon_after_waking();
  gate_.confine();
  communication_counted_ = thread_cpu();
  while (!control_.failed()) {
    const std::uint64_t seen = transport_.events();
    bool progress = false;
    bool all_through = true;
    std::optional<Seconds> due;
    guarded(InstructionId(), [&] {
      if (transport_.movable_bytes() > 0) {
        move_messages();
        progress = true;
      }
      progress = look_at_lanes(due, all_through) || progress;
    });
    if (all_through || control_.failed()) return;
    if (progress) continue;
    guarded(InstructionId(), [&] {
      if (due) {
        transport_.wait_until(seen, *due);
      } else {
        transport_.wait(seen);
      }
    });
  }
}

template class RankWorker<float>;
template class RankWorker<double>;

}  // namespace orrery
