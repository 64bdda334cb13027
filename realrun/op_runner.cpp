#include "realrun/op_runner.hpp"

#include "realrun/cpu_clock.hpp"
#include "realrun/optimizer.hpp"

namespace orrery {

template <class T>
OpRunner<T>::OpRunner(const Program& program, RankState<T>& rank,
                      std::span<const InstructionId> computations, std::vector<OpSample>* samples,
                      OpTimer* timer)
    : program_(program), rank_(rank), samples_(samples), timer_(timer), ops_(program.works.size()) {
  for (InstructionId id : computations) {
    const WorkId work = program.instructions[id.index()].work;
    if (!ops_[work.index()].empty()) continue;
    const Work& own = program.works[work.index()];
    for (const Op& op : own.ops) {
      const bool optimizer = own.component == Component::kOptimizer;
      ops_[work.index()].push_back(optimizer ? nullptr : host_op<T>(own.component, own.pass, op));
    }
  }
}

template <class T>
void OpRunner<T>::add_sample(const Instruction& instruction, std::size_t op, const Frame<T>* frame,
                             Seconds time) {
  const bool routed = frame != nullptr && !frame->offsets.empty() &&
                      program_.work(instruction).component == Component::kMlp;
  const auto slots = static_cast<double>(rank_.sizes.top_k);
  samples_->push_back({instruction.id, instruction.work, static_cast<std::int32_t>(op),
                       routed ? static_cast<double>(frame->offsets.back()) : 0,
                       routed ? static_cast<double>(frame->received_experts.size()) / slots : 0,
                       time});
}

template <class T>
void OpRunner<T>::run_optimizer(const Instruction& instruction) {
  const Op& op = program_.work(instruction).ops.front();
  const auto run = [&] {
    if (op.name == "gradient norm") {
      check_reduced(rank_);
      rank_.own_squares = squared_norm(rank_);
    } else {
      update_parameters(rank_, op.m);
    }
  };
  if (timer_ == nullptr) return run();
  const Seconds time = timer_->time(instruction, op, run);
  if (samples_ != nullptr) add_sample(instruction, 0, nullptr, time);
}

template <class T>
void OpRunner<T>::run_with_timer(const Instruction& instruction, Frame<T>& frame) {
  const std::vector<HostOp<T>>& ops = ops_[instruction.work.index()];
  for (std::size_t number = 0; number < ops.size(); ++number) {
    const Seconds time = timer_->time(instruction, program_.work(instruction).ops[number], [&] {
      if (ops[number] != nullptr) ops[number](rank_, frame);
    });
    if (samples_ != nullptr) add_sample(instruction, number, &frame, time);
  }
}

template <class T>
void OpRunner<T>::run_with_clock(const Instruction& instruction, Frame<T>& frame) {
  const std::vector<HostOp<T>>& ops = ops_[instruction.work.index()];
  Seconds before{thread_cpu_seconds()};
  for (std::size_t number = 0; number < ops.size(); ++number) {
    if (ops[number] == nullptr) continue;
    ops[number](rank_, frame);
    const Seconds now{thread_cpu_seconds()};
    add_sample(instruction, number, &frame, now - before);
    before = now;
  }
}

template <class T>
void OpRunner<T>::run(const Instruction& instruction) {
  if (program_.work(instruction).component == Component::kOptimizer)
    return run_optimizer(instruction);
  Frame<T>& frame = rank_.frame(instruction.stage, instruction.direction, instruction.layer,
                                instruction.microbatch);
  if (timer_ != nullptr) return run_with_timer(instruction, frame);
  if (samples_ != nullptr) return run_with_clock(instruction, frame);
  for (const HostOp<T> op : ops_[instruction.work.index()]) {
    if (op != nullptr) op(rank_, frame);
  }
}

template class OpRunner<float>;
template class OpRunner<double>;

}  // namespace orrery
