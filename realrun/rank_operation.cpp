#include "realrun/rank_operation.hpp"

#include <cmath>
#include <cstring>

#include "core/error.hpp"
#include "realrun/expert_exchange.hpp"
#include "realrun/host_ops.hpp"
#include "realrun/optimizer.hpp"

namespace orrery {
namespace {

class PointToPoint : public RankOperation {
 public:
  PointToPoint(Transport& transport, Ticket ticket, std::function<void()> finish)
      : transport_(transport), ticket_(ticket), finish_(std::move(finish)) {}
  bool advance() override {
    if (!transport_.done(ticket_)) return false;
    started_ = transport_.matched_at(ticket_);
    transport_.release(ticket_);
    return true;
  }
  std::size_t pending_work() override { return 0; }
  void finish() override { finish_(); }
  std::optional<Seconds> started() override { return started_; }

 private:
  Transport& transport_;
  Ticket ticket_;
  std::function<void()> finish_;
  std::optional<Seconds> started_;
};

// A group operation with the arrays it works on.
template <class T>
class GroupedOperation : public RankOperation {
 public:
  bool advance() override { return operation->advance(); }
  std::size_t pending_work() override { return operation->pending_work(); }
  void finish() override { done(); }
  std::optional<Seconds> started() override { return operation->started(); }

  std::vector<T> own, result;
  std::vector<Slice> shards;
  std::unique_ptr<GroupOperation> operation;
  std::function<void()> done;
};

template <class T>
std::span<const std::byte> bytes_of_tensor(Tensor<T>& tensor) {
  return std::as_bytes(std::span<const T>(tensor.get(), static_cast<std::size_t>(tensor.size())));
}

}  // namespace

template <class T>
Frame<T>& RankCommunication<T>::frame_of(const Instruction& instruction) {
  return rank_.frame(instruction.stage, instruction.direction, instruction.layer,
                     instruction.microbatch);
}

template <class T>
bool RankCommunication<T>::is_activation(const Instruction& instruction) const {
  ORRERY_CHECK(instruction.partner.valid(), "{} has no partner", program_.work(instruction).name);
  const Stage other = program_.instructions[instruction.partner.index()].stage;
  const bool sends =
      instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
  return sends ? other > instruction.stage : other < instruction.stage;
}

template <class T>
std::int64_t RankCommunication<T>::message_tag(const Instruction& instruction, Stage to) const {
  const std::int64_t stages = rank_.plan.schedule.stages();
  const std::int64_t kind = instruction.direction * 2 + (is_activation(instruction) ? 1 : 0);
  return (kind * stages + to.value) * rank_.plan.schedule.microbatches +
         instruction.microbatch.value;
}

template <class T>
std::unique_ptr<RankOperation> RankCommunication<T>::start(const Instruction& instruction) {
  const Work& work = program_.work(instruction);
  switch (instruction.stream) {
    case Stream::kSendNext:
    case Stream::kSendPrev: return start_send(instruction);
    case Stream::kRecvNext:
    case Stream::kRecvPrev: return start_receive(instruction);
    default: break;
  }
  if (instruction.collective < 0)
    throw ProgramError(fmt::format("'{}' belongs to no group", work.name));
  std::vector<int> members;
  for (InstructionId id : program_.collectives[static_cast<std::size_t>(instruction.collective)])
    members.push_back(program_.instructions[id.index()].rank.value);
  const Group group = group_of(std::move(members), transport_.rank());
  if (group.size() != work.wire.group) {
    throw ProgramError(fmt::format("'{}' is of {} GPUs, its group has {}", work.name,
                                   work.wire.group, group.size()));
  }
  const OperationName name{instruction.collective, work.name};
  switch (work.component) {
    case Component::kDispatch:
    case Component::kCombine: return start_exchange(instruction, group, name);
    case Component::kTensorParallel: return start_layer_collective(instruction, group, name);
    default: return start_parameters(instruction, group, name);
  }
}

template <class T>
std::unique_ptr<RankOperation> RankCommunication<T>::start_send(const Instruction& instruction) {
  const bool activation = is_activation(instruction);
  const auto& entries = rank_.plan.layout.stage_map[instruction.stage.index()];
  Frame<T>& frame =
      rank_.frame(instruction.stage, instruction.direction,
                  activation ? static_cast<int>(entries.size()) - 1 : 0, instruction.microbatch);
  if (activation) finish_forward(rank_, frame);
  Tensor<T>& tensor = activation ? frame.out : frame.in_gradient;
  const double expected = rank_.sizes.local * static_cast<double>(rank_.sizes.hidden) * 2;
  const Work& work = program_.work(instruction);
  if (std::abs(work.wire.logical.value() - expected) > 0.5) {
    throw ProgramError(fmt::format("'{}' moves {:.0f} B, the tensor has {:.0f} B in BF16",
                                   work.name, work.wire.logical.value(), expected));
  }
  const Instruction& receive = program_.instructions[instruction.partner.index()];
  const Stage to(instruction.stage.value + (activation ? 1 : -1));
  const Ticket ticket =
      transport_.post_send(receive.rank.value, message_tag(instruction, to),
                           bytes_of_tensor(tensor), activation ? "activation" : "gradient");
  return std::make_unique<PointToPoint>(transport_, ticket, [&tensor] { tensor.drop(); });
}

template <class T>
std::unique_ptr<RankOperation> RankCommunication<T>::start_receive(const Instruction& instruction) {
  const bool activation = is_activation(instruction);
  auto& inbox =
      rank_.inbox(instruction.stage, instruction.direction, instruction.microbatch, activation);
  const std::int64_t elements = rank_.sizes.local * rank_.sizes.hidden;
  T* room = inbox.tensor.make(inbox.lifetime, elements);
  const Instruction& send = program_.instructions[instruction.partner.index()];
  const Ticket ticket = transport_.post_receive(
      send.rank.value, message_tag(instruction, instruction.stage),
      std::as_writable_bytes(std::span<T>(room, static_cast<std::size_t>(elements))),
      activation ? "activation" : "gradient");
  return std::make_unique<PointToPoint>(transport_, ticket, [] {});
}

template <class T>
std::unique_ptr<RankOperation> RankCommunication<T>::start_exchange(const Instruction& instruction,
                                                                    const Group& group,
                                                                    OperationName name) {
  return start_expert_exchange(rank_, frame_of(instruction), program_.work(instruction), transport_,
                               group, name);
}

template <class T>
std::unique_ptr<RankOperation> RankCommunication<T>::start_layer_collective(
    const Instruction& instruction, const Group& group, OperationName name) {
  const Work& work = program_.work(instruction);
  Frame<T>& frame = frame_of(instruction);
  const HostCollective<T> collective = host_collective<T>(work.pass, frame.kind, work.tensor);
  auto running = std::make_unique<GroupedOperation<T>>();
  collective.begin(rank_, frame, running->own);
  const auto members = static_cast<std::size_t>(group.size());
  switch (work.wire.pattern) {
    case Pattern::kAllGather:
      running->result.resize(running->own.size() * members);
      running->operation = std::make_unique<AllGather<T>>(
          transport_, group, name, std::span<const T>(running->own), std::span<T>(running->result));
      break;
    case Pattern::kReduceScatter:
      running->shards = even_shards(running->own.size(), group.size());
      running->result.resize(running->own.size() / members);
      running->operation = std::make_unique<ReduceScatter<T>>(
          transport_, group, name, std::span<const T>(running->own), running->shards,
          std::span<T>(running->result));
      break;
    case Pattern::kAllReduce:
      running->result = running->own;
      running->operation =
          std::make_unique<AllReduce<T>>(transport_, group, name, std::span<T>(running->result));
      break;
    default: throw ProgramError(fmt::format("'{}' is no collective of a layer", work.name));
  }
  GroupedOperation<T>* whole = running.get();
  running->done = [this, &frame, collective, whole] {
    collective.end(rank_, frame, whole->result);
  };
  return running;
}

template <class T>
std::unique_ptr<RankOperation> RankCommunication<T>::start_parameters(
    const Instruction& instruction, const Group& group, OperationName name) {
  const Work& work = program_.work(instruction);
  if (work.tensor == "gradient norm") {
    auto running = std::make_unique<GroupedOperation<double>>();
    running->result = {rank_.own_squares};
    running->operation = std::make_unique<AllReduce<double>>(transport_, group, name,
                                                             std::span<double>(running->result));
    GroupedOperation<double>* whole = running.get();
    running->done = [this, whole] {
      rank_.gradient_norm = std::sqrt(whole->result.front());
      rank_.step_end.normed = true;
    };
    return running;
  }
  if (work.tensor == "expert counts") {
    auto running = std::make_unique<GroupedOperation<std::int64_t>>();
    running->result = expert_counts(rank_);
    running->operation = std::make_unique<AllReduce<std::int64_t>>(
        transport_, group, name, std::span<std::int64_t>(running->result));
    GroupedOperation<std::int64_t>* whole = running.get();
    running->done = [this, whole] {
      rank_.step_expert_counts = whole->result;
      rank_.step_end.counted = true;
    };
    return running;
  }
  const std::size_t number = held_group(rank_, work.parameters, work.name);
  auto running = std::make_unique<GroupedOperation<T>>();
  const bool gather = work.component == Component::kParameterGather;
  std::vector<T>& whole = gather ? rank_.values[number] : rank_.gradients[number];
  running->shards = even_shards(whole.size(), group.size());
  const Slice own = running->shards[static_cast<std::size_t>(group.place)];
  check_parameter_bytes(rank_, work, number);
  if (!gather) check_contributions(rank_, number);
  auto& end = rank_.step_end;
  if (work.wire.pattern == Pattern::kAllReduce) {
    running->operation =
        std::make_unique<AllReduce<T>>(transport_, group, name, std::span<T>(whole));
    running->done = [&end, number] { end.reduced[number] = 1; };
  } else if (gather) {
    running->operation = std::make_unique<AllGather<T>>(
        transport_, group, name, std::span<const T>(whole).subspan(own.begin, own.count),
        std::span<T>(whole), running->shards);
    running->done = [&end, number] { end.gathered[number] = 1; };
  } else {
    running->result.resize(own.count);
    running->operation =
        std::make_unique<ReduceScatter<T>>(transport_, group, name, std::span<const T>(whole),
                                           running->shards, std::span<T>(running->result));
    GroupedOperation<T>* operation = running.get();
    running->done = [&whole, &end, number, own, operation] {
      std::copy(operation->result.begin(), operation->result.end(),
                whole.begin() + static_cast<std::ptrdiff_t>(own.begin));
      end.reduced[number] = 1;
    };
  }
  return running;
}

template class RankCommunication<float>;
template class RankCommunication<double>;

}  // namespace orrery
