#pragma once
// Carries out the instructions of one rank: a compute worker runs the kernels, a communication
// worker everything else, each in the order of its streams, with the semantics of core/program.hpp.
//
// An instruction starts when its predecessor on the stream and its dependencies have ended; a
// computation takes a core while it uses CPU time (realrun/core_gate.hpp). Buffers are allocated
// when it starts and freed when it ends. Spans: computation from taking the core to the end;
// communication from the moment all sides were there.
//
// With a pace an instruction lasts from when what it waited for had ended, on all its sides, and
// ends no earlier than the given time after that: the worker gives the core back and sleeps; a
// transfer ends late without keeping the communication worker from its other streams. Where the
// work was done by then, that moment is its end, though a worker may have woken later: what depends
// on it counts from there, so that the operating system's delays do not add up.
//
// Errors (a tensor used after it was freed, a size that does not fit, a gradient that is missing)
// fail the run with rank, instruction and micro-batch.
#include <condition_variable>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/timeline.hpp"
#include "realrun/core_gate.hpp"
#include "realrun/op_runner.hpp"
#include "realrun/rank_operation.hpp"
#include "realrun/run_control.hpp"
#include "sim/host_engine.hpp"

namespace orrery {

// What was measured, by instruction of the world's Program; every rank writes its own entries.
struct Measurement {
  explicit Measurement(std::size_t instructions) : spans(instructions), work(instructions) {}
  std::vector<Span> spans;  // seconds of the transport's clock
  // CPU time of the rank's worker that the instruction took, all that it did since the last one
  // included; of a transfer sender and receiver each have their own.
  std::vector<Seconds> work;
};

template <class T>
class RankWorker {
 public:
  // `pace` may be null: nothing is paced. `samples` and `timer` as in OpRunner.
  RankWorker(const Program& program, RankState<T>& rank, Transport& transport, CoreGate& gate,
             RunControl& control, const InstructionTimes* pace, Measurement& measurement,
             std::vector<OpSample>* samples, OpTimer* timer);

  // The two loops, each for a thread of its own; they return when the step is over or has failed.
  void compute();
  void communicate();
  // Ends sleeps after a failure; any thread.
  void stop();
  // What the rank waits for, for the watchdog; any thread.
  std::string describe_wait();
  // Instructions in the order in which this rank carried them out, by stream.
  const std::array<std::vector<InstructionId>, kStreams>& carried_out() const { return order_; }

 private:
  struct Lane {
    Stream stream = Stream::kComm;
    std::size_t next = 0;
    std::unique_ptr<RankOperation> running;
    Seconds previous_end;  // of the one before; 0 before the first
    Seconds ready, start;
    Seconds work_end;                   // once it is over
    bool over = false;                  // but for its pace
    InstructionId waits_for_ranks_own;  // the next one, while other instructions of this rank are
                                        // to end before it; guarded by mutex_
  };

  std::span<const InstructionId> list(Stream stream) const;
  const Instruction& at(InstructionId id) const { return program_.instructions[id.index()]; }
  bool dependencies_ended(const Instruction& instruction) const;
  void allocate(const Instruction& instruction);
  void release(const Instruction& instruction);
  Seconds ready_since(const Instruction& instruction, Seconds before) const;
  void ended(const Instruction& instruction, Span span);
  void carry_out_compute(InstructionId id);
  bool advance_lane(Lane& lane);
  void begin_lane(Lane& lane);
  bool end_lane(Lane& lane);
  void share_move(Seconds time);
  void count(InstructionId id, Seconds time);
  void move_messages();
  bool look_at_lanes(std::optional<Seconds>& due, bool& all_through);
  Seconds least_length(const Instruction& instruction) const;
  template <class Action>
  void guarded(InstructionId id, Action action);

  const Program& program_;
  RankState<T>& rank_;
  Transport& transport_;
  CoreGate& gate_;
  RunControl& control_;
  const InstructionTimes* pace_;
  Measurement& measurement_;
  RankCommunication<T> communication_;
  OpRunner<T> ops_;
  std::vector<Lane> lanes_;
  // CPU time of the two threads that some instruction has been given.
  Seconds compute_counted_, communication_counted_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<char> done_;  // by instruction
  std::vector<Seconds> ended_at_;
  std::vector<char> activation_;  // by buffer: an inbox of an activation
  std::array<std::vector<InstructionId>, kStreams> order_;
  Seconds compute_end_;       // of the compute worker's last instruction; 0 before the first
  InstructionId compute_at_;  // what the compute worker is at; invalid when it is through
};

extern template class RankWorker<float>;
extern template class RankWorker<double>;

}  // namespace orrery
