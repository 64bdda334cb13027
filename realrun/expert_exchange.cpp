#include "realrun/expert_exchange.hpp"

#include <cstring>

#include "kernels/exchange_map.hpp"
#include "realrun/host_ops.hpp"
#include "realrun/host_tables.hpp"

namespace orrery {
namespace {

using Payloads = std::vector<std::vector<std::byte>>;

// Appends and reads arrays of plain values.
class Packer {
 public:
  explicit Packer(std::vector<std::byte>& out) : out_(out) {}
  template <class V>
  void add(const V* values, std::int64_t count) {
    const auto* bytes = reinterpret_cast<const std::byte*>(values);
    out_.insert(out_.end(), bytes, bytes + static_cast<std::size_t>(count) * sizeof(V));
  }

 private:
  std::vector<std::byte>& out_;
};

class Unpacker {
 public:
  explicit Unpacker(const std::vector<std::byte>& in) : in_(in) {}
  template <class V>
  void take(V* values, std::int64_t count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(V);
    if (at_ + bytes > in_.size())
      throw ProgramError(fmt::format("{} B received, more are due", in_.size()));
    if (bytes > 0) std::memcpy(values, in_.data() + at_, bytes);  // no row: nothing to point to
    at_ += bytes;
  }
  void finish() const {
    if (at_ != in_.size())
      throw ProgramError(fmt::format("{} B received, {} B are due", in_.size(), at_));
  }
  std::size_t size() const { return in_.size(); }

 private:
  const std::vector<std::byte>& in_;
  std::size_t at_ = 0;
};

// ---------------------------------------------------------------------------------------------------------------------
// Dispatch

template <class T>
Payloads pack_dispatch(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int32_t* choice = frame.choice.get();
  const kernels::ExchangeShape shape{.tokens = s.local,
                                     .slots = static_cast<std::int32_t>(s.top_k),
                                     .destinations = static_cast<std::int32_t>(rank.plan.layout.ep),
                                     .experts_each = static_cast<std::int32_t>(s.local_experts)};
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(shape.destinations) + 1);
  kernels::count_sent(shape, choice, offsets.data());
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(offsets.back()));
  kernels::list_sent(shape, choice, offsets.data(), tokens.data());
  frame.exchange.sent.clear();
  for (std::size_t member = 0; member + 1 < offsets.size(); ++member)
    frame.exchange.sent.emplace_back(tokens.begin() + offsets[member],
                                     tokens.begin() + offsets[member + 1]);
  Payloads payloads;
  for (const auto& sent : frame.exchange.sent) {
    Packer packer(payloads.emplace_back());
    for (std::int32_t token : sent) {
      packer.add(frame.mlp_normed.get() + token * s.hidden, s.hidden);
      packer.add(frame.weights.get() + token * s.top_k, s.top_k);
      packer.add(choice + token * s.top_k, s.top_k);
    }
  }
  return payloads;
}

template <class T>
void unpack_dispatch(RankState<T>& rank, Frame<T>& frame, const Payloads& payloads) {
  const Sizes& s = rank.sizes;
  const std::size_t row = static_cast<std::size_t>(s.hidden + s.top_k) * sizeof(T) +
                          static_cast<std::size_t>(s.top_k) * sizeof(std::int32_t);
  std::int64_t total = 0;
  frame.exchange.received.clear();
  for (const auto& payload : payloads) {
    frame.exchange.received.push_back(static_cast<std::int32_t>(payload.size() / row));
    total += frame.exchange.received.back();
  }
  Lifetime& kept = rank.kept_for_weights(frame);
  T* x = frame.received.make(kept, total * s.hidden);
  T* weights = frame.received_weights.make(kept, total * s.top_k);
  std::int32_t* experts = frame.received_experts.make(kept, total * s.top_k);
  for (const auto& payload : payloads) {
    Unpacker unpacker(payload);
    const auto tokens = static_cast<std::int64_t>(payload.size() / row);
    for (std::int64_t token = 0; token < tokens; ++token) {
      unpacker.take(x, s.hidden);
      unpacker.take(weights, s.top_k);
      unpacker.take(experts, s.top_k);
      x += s.hidden;
      weights += s.top_k;
      experts += s.top_k;
    }
    unpacker.finish();
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Along a known layout

// Rows of this GPU's tokens, one list a member.
template <class T>
Payloads pack_sent(const Frame<T>& frame, const T* rows, std::int64_t columns) {
  Payloads payloads;
  for (const auto& sent : frame.exchange.sent) {
    Packer packer(payloads.emplace_back());
    for (std::int32_t token : sent) packer.add(rows + token * columns, columns);
  }
  return payloads;
}

// Rows of received tokens back to where they came from; several arrays side by side.
template <class T>
Payloads pack_received(const Frame<T>& frame,
                       std::initializer_list<std::pair<const T*, std::int64_t>> arrays) {
  Payloads payloads;
  std::int64_t first = 0;
  for (std::int32_t count : frame.exchange.received) {
    Packer packer(payloads.emplace_back());
    for (std::int64_t token = first; token < first + count; ++token) {
      for (const auto& [rows, columns] : arrays) packer.add(rows + token * columns, columns);
    }
    first += count;
  }
  return payloads;
}

template <class T>
void unpack_received(const Payloads& payloads, T* rows, std::int64_t columns,
                     const Frame<T>& frame) {
  for (std::size_t member = 0; member < payloads.size(); ++member) {
    Unpacker unpacker(payloads[member]);
    const std::int64_t count = frame.exchange.received[member];
    unpacker.take(rows, count * columns);
    unpacker.finish();
    rows += count * columns;
  }
}

// Adds what came back to this GPU's tokens, member after member.
template <class T>
void add_returned(const Frame<T>& frame, const Payloads& payloads,
                  std::initializer_list<std::pair<T*, std::int64_t>> arrays) {
  std::vector<T> row;
  for (std::size_t member = 0; member < payloads.size(); ++member) {
    Unpacker unpacker(payloads[member]);
    for (std::int32_t token : frame.exchange.sent[member]) {
      for (const auto& [rows, columns] : arrays) {
        row.resize(static_cast<std::size_t>(columns));
        unpacker.take(row.data(), columns);
        T* into = rows + token * columns;
        for (std::int64_t column = 0; column < columns; ++column)
          into[column] += row[static_cast<std::size_t>(column)];
      }
    }
    unpacker.finish();
  }
}

template <class T>
class Exchange : public RankOperation {
 public:
  Exchange(RankState<T>& rank, Frame<T>& frame, Pattern pattern, Transport& transport,
           const Group& group, OperationName name)
      : rank_(rank), frame_(frame), pattern_(pattern), operation_(transport, group, name, pack()) {}

  bool advance() override { return operation_.advance(); }
  std::size_t pending_work() override { return operation_.pending_work(); }
  std::optional<Seconds> started() override { return operation_.started(); }
  void finish() override {
    const Payloads received = operation_.take_received();
    const Sizes& s = rank_.sizes;
    switch (pattern_) {
      case Pattern::kDispatch: return unpack_dispatch(rank_, frame_, received);
      case Pattern::kCombine:
        add_returned<T>(
            frame_, received,
            {{frame_.combined.make_zero(frame_.transient, s.local * s.hidden), s.hidden}});
        frame_.reduced.drop();
        return finish_forward(rank_, frame_);
      case Pattern::kDispatchCached:
        return unpack_received(received,
                               frame_.received_gradient.make(frame_.operands, tokens() * s.hidden),
                               s.hidden, frame_);
      default:
        add_returned<T>(
            frame_, received,
            {{frame_.routed_gradient.make_zero(frame_.transient, s.local * s.hidden), s.hidden},
             {frame_.weights_gradient.make_zero(frame_.transient, s.local * s.top_k), s.top_k}});
        frame_.reduced_gradient.drop();
        frame_.received_weights_gradient.drop();
    }
  }

 private:
  std::int64_t tokens() const {
    std::int64_t sum = 0;
    for (std::int32_t count : frame_.exchange.received) sum += count;
    return sum;
  }
  Payloads pack() {
    const Sizes& s = rank_.sizes;
    switch (pattern_) {
      case Pattern::kDispatch: return pack_dispatch(rank_, frame_);
      case Pattern::kCombine: return pack_received<T>(frame_, {{frame_.reduced.get(), s.hidden}});
      case Pattern::kDispatchCached:
        host::take_gradient(rank_, frame_);
        return pack_sent<T>(frame_, frame_.out_gradient.get(), s.hidden);
      default:
        return pack_received<T>(frame_, {{frame_.reduced_gradient.get(), s.hidden},
                                         {frame_.received_weights_gradient.get(), s.top_k}});
    }
  }

  RankState<T>& rank_;
  Frame<T>& frame_;
  Pattern pattern_;
  AllToAllBytes operation_;
};

}  // namespace

template <class T>
std::unique_ptr<RankOperation> start_expert_exchange(RankState<T>& rank, Frame<T>& frame,
                                                     const Work& work, Transport& transport,
                                                     const Group& group, OperationName name) {
  return std::make_unique<Exchange<T>>(rank, frame, work.wire.pattern, transport, group, name);
}

template std::unique_ptr<RankOperation> start_expert_exchange<float>(RankState<float>&,
                                                                     Frame<float>&, const Work&,
                                                                     Transport&, const Group&,
                                                                     OperationName);
template std::unique_ptr<RankOperation> start_expert_exchange<double>(RankState<double>&,
                                                                      Frame<double>&, const Work&,
                                                                      Transport&, const Group&,
                                                                      OperationName);

}  // namespace orrery
