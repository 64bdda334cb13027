#include "realrun/collectives.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "core/error.hpp"

namespace orrery {

namespace {

template <class T>
constexpr std::string_view kElementName = "";
template <>
constexpr std::string_view kElementName<float> = "float";
template <>
constexpr std::string_view kElementName<double> = "double";
template <>
constexpr std::string_view kElementName<std::int64_t> = "int64";

template <class T>
constexpr ElementType kElement = ElementType::kFloat;
template <>
constexpr ElementType kElement<double> = ElementType::kDouble;
template <>
constexpr ElementType kElement<std::int64_t> = ElementType::kInt64;

template <class T>
std::string kind_text(std::string_view operation, std::size_t elements) {
  return fmt::format("{} of {} {}", operation, elements, kElementName<T>);
}

std::size_t index(int member) {
  return static_cast<std::size_t>(member);
}

std::vector<Slice> equal_shards(std::size_t count, int members) {
  std::vector<Slice> shards;
  for (std::size_t member = 0; member < index(members); ++member)
    shards.push_back({member * count, count});
  return shards;
}

template <class T>
std::span<T> part(std::span<T> whole, Slice shard) {
  return whole.subspan(shard.begin, shard.count);
}

// Whether they are what one call can gather or scatter: as long as each other, without gaps.
bool are_equal_parts(std::span<const Slice> shards, std::size_t elements) {
  const std::size_t count = shards.front().count;
  for (std::size_t member = 0; member < shards.size(); ++member) {
    if (shards[member].count != count || shards[member].begin != member * count) return false;
  }
  return count > 0 && count * shards.size() == elements;
}

// Before anything is posted: a message in flight into a buffer that an exception frees is worse
// than a wrong shard.
void check_shards(std::span<const Slice> shards, std::size_t elements, const Group& group,
                  std::size_t own_count) {
  ORRERY_CHECK(shards.size() == group.ranks.size(), "{} shards for {} members", shards.size(),
               group.size());
  for (const Slice& shard : shards) {
    ORRERY_CHECK(shard.begin <= elements && shard.count <= elements - shard.begin,
                 "shard {} + {} of {} elements", shard.begin, shard.count, elements);
  }
  ORRERY_CHECK(shards[index(group.place)].count == own_count, "own {} elements, shard of {}",
               own_count, shards[index(group.place)].count);
}

// Where the contribution of another member lies in the buffer that holds those of all others.
template <class T>
std::span<T> slice_of(std::span<T> slices, const Group& group, int member) {
  const std::size_t count = slices.size() / index(group.size() - 1);
  return slices.subspan(index(member < group.place ? member : member - 1) * count, count);
}

// sum = v0 + v1 + ... in group order, own contribution at its place. Block by block, so that the
// running sum stays in the first-level cache. `sum` may be `own`.
template <class T>
void sum_in_group_order(std::span<const T> own, std::span<const T> slices, const Group& group,
                        std::span<T> sum) {
  std::array<T, 512> block;
  for (std::size_t begin = 0; begin < sum.size(); begin += block.size()) {
    const std::size_t count = std::min(block.size(), sum.size() - begin);
    for (int member = 0; member < group.size(); ++member) {
      const std::span<const T> values =
          (member == group.place ? own : slice_of(slices, group, member)).subspan(begin, count);
      if (member == 0) {
        std::copy(values.begin(), values.end(), block.begin());
      } else {
        std::transform(values.begin(), values.end(), block.begin(), block.begin(),
                       [](T value, T before) { return before + value; });
      }
    }
    std::copy_n(block.begin(), count, sum.begin() + static_cast<std::ptrdiff_t>(begin));
  }
}

}  // namespace

std::vector<Slice> even_shards(std::size_t elements, int members) {
  std::vector<Slice> shards;
  const std::size_t least = elements / index(members);
  const std::size_t longer = elements % index(members);
  std::size_t begin = 0;
  for (std::size_t member = 0; member < index(members); ++member) {
    const std::size_t count = least + (member < longer ? 1 : 0);
    shards.push_back({begin, count});
    begin += count;
  }
  return shards;
}

AllToAllBytes::AllToAllBytes(Transport& transport_of_rank, Group members, OperationName name,
                             std::vector<std::vector<std::byte>> to_each)
    : GroupOperation(transport_of_rank, std::move(members), name, "all-to-all"),
      to_each_(std::move(to_each)),
      received_(to_each_.size()),
      sizes_in_(to_each_.size()),
      has_room_(to_each_.size()),
      carried_(carried()) {
  ORRERY_CHECK(to_each_.size() == group().ranks.size(), "{} parts for {} members", to_each_.size(),
               group().size());
  for (const std::vector<std::byte>& bytes : to_each_) sizes_out_.push_back(std::ssize(bytes));
  for (int member = 0; member < group().size(); ++member) {
    if (is_own(member)) {
      received_[index(member)] = std::move(to_each_[index(member)]);
      has_room_[index(member)] = 1;
      continue;
    }
    receive(member, 0, std::as_writable_bytes(std::span(&sizes_in_[index(member)], 1)));
    send(member, 0, std::as_bytes(std::span(&sizes_out_[index(member)], 1)));
    if (!carried_ && !to_each_[index(member)].empty()) send(member, 1, to_each_[index(member)]);
  }
}

std::size_t AllToAllBytes::pending_work() {
  std::size_t bytes = 0;
  for (int member = 0; member < group().size(); ++member) {
    if (!has_room_[index(member)] && received(0, member))
      bytes += static_cast<std::size_t>(sizes_in_[index(member)]);
  }
  return bytes;
}

bool AllToAllBytes::step() {
  for (int member = 0; member < group().size(); ++member) {
    if (has_room_[index(member)] || !received(0, member)) continue;
    std::vector<std::byte>& bytes = received_[index(member)];
    bytes.resize(static_cast<std::size_t>(sizes_in_[index(member)]));
    if (!carried_ && !bytes.empty()) receive(member, 1, bytes);
    has_room_[index(member)] = 1;
  }
  if (carried_) {
    if (std::count(has_room_.begin(), has_room_.end(), 0) > 0) return false;
    GroupCall call;
    call.kind = GroupCall::Kind::kAllToAll;
    for (int member = 0; member < group().size(); ++member) {
      call.to_each.push_back(to_each_[index(member)]);
      call.from_each.push_back(is_own(member) ? std::span<std::byte>()
                                              : std::span(received_[index(member)]));
    }
    return carry_out(std::move(call));
  }
  return std::count(has_room_.begin(), has_room_.end(), 0) == 0 && received(1) && sent();
}

std::vector<std::vector<std::byte>> AllToAllBytes::take_received() {
  ORRERY_CHECK(advance(), "rank {}: all-to-all not finished", transport().rank());
  return std::move(received_);
}

template <class T>
AllGather<T>::AllGather(Transport& transport_of_rank, Group members, OperationName name,
                        std::span<const T> own, std::span<T> all)
    : AllGather(transport_of_rank, members, name, own, all,
                equal_shards(own.size(), members.size())) {}

template <class T>
AllGather<T>::AllGather(Transport& transport_of_rank, Group members, OperationName name,
                        std::span<const T> own, std::span<T> all, std::span<const Slice> shards)
    : GroupOperation(transport_of_rank, std::move(members), name,
                     kind_text<T>("all-gather", all.size())),
      own_(own) {
  check_shards(shards, all.size(), group(), own.size());
  if (carried() && are_equal_parts(shards, all.size())) {
    all_ = all;
    agree();
    return;
  }
  for (int member = 0; member < group().size(); ++member) {
    const std::span<T> place = part(all, shards[index(member)]);
    if (is_own(member)) {
      if (place.data() != own.data()) place_of_own_ = place;
    } else {
      receive(member, 0, std::as_writable_bytes(place));
      send(member, 0, std::as_bytes(own));
    }
  }
}

template <class T>
std::size_t AllGather<T>::pending_work() {
  return place_of_own_.size_bytes();
}

template <class T>
bool AllGather<T>::step() {
  if (!all_.empty()) {
    return carry_out(GroupCall::Kind::kAllGather, kElement<T>, std::as_bytes(own_),
                     std::as_writable_bytes(all_));
  }
  std::copy_n(own_.begin(), place_of_own_.size(), place_of_own_.begin());
  place_of_own_ = {};
  return received(0) && sent();
}

template <class T>
ReduceScatter<T>::ReduceScatter(Transport& transport_of_rank, Group members, OperationName name,
                                std::span<const T> full, std::span<const Slice> shards,
                                std::span<T> own)
    : GroupOperation(transport_of_rank, std::move(members), name,
                     kind_text<T>("reduce-scatter", full.size())),
      own_(own) {
  check_shards(shards, full.size(), group(), own.size());
  if (carried() && are_equal_parts(shards, full.size())) {
    full_ = full;
    agree();
    return;
  }
  slices_.resize(own.size() * (group().ranks.size() - 1));
  contribution_ = part(full, shards[index(group().place)]);
  for (int member = 0; member < group().size(); ++member) {
    if (is_own(member)) continue;
    receive(member, 0, std::as_writable_bytes(slice_of(std::span(slices_), group(), member)));
    send(member, 0, std::as_bytes(part(full, shards[index(member)])));
  }
}

template <class T>
std::size_t ReduceScatter<T>::pending_work() {
  if (!full_.empty()) return 0;
  return !summed_ && received(0) ? own_.size_bytes() * group().ranks.size() : 0;
}

template <class T>
bool ReduceScatter<T>::step() {
  if (!full_.empty()) {
    return carry_out(GroupCall::Kind::kReduceScatter, kElement<T>, std::as_bytes(full_),
                     std::as_writable_bytes(own_));
  }
  if (!summed_ && received(0)) {
    sum_in_group_order<T>(contribution_, slices_, group(), own_);
    summed_ = true;
  }
  return summed_ && sent();
}

template <class T>
AllReduce<T>::AllReduce(Transport& transport_of_rank, Group members, OperationName name,
                        std::span<T> values)
    : GroupOperation(transport_of_rank, std::move(members), name,
                     kind_text<T>("all-reduce", values.size())),
      values_(values),
      carried_(carried() && !values.empty()) {
  if (carried_) {
    agree();
    return;
  }
  if (values.size_bytes() > kGatherAllBytes) shards_ = even_shards(values.size(), group().size());
  slices_.resize(summed_part().size() * (group().ranks.size() - 1));
  for (int member = 0; member < group().size(); ++member) {
    if (is_own(member)) continue;
    receive(member, 0, std::as_writable_bytes(slice_of(std::span(slices_), group(), member)));
    send(member, 0, std::as_bytes(shards_.empty() ? values : part(values, shards_[index(member)])));
  }
}

template <class T>
std::span<T> AllReduce<T>::summed_part() {
  return shards_.empty() ? values_ : part(values_, shards_[index(group().place)]);
}

// The sum goes where the values were, and in the second phase other members' sums do: only once
// nobody reads these values any more.
template <class T>
std::size_t AllReduce<T>::pending_work() {
  if (carried_) return 0;
  return !summed_ && received(0) && sent() ? summed_part().size_bytes() * group().ranks.size() : 0;
}

template <class T>
bool AllReduce<T>::step() {
  if (carried_) {
    return carry_out(GroupCall::Kind::kAllReduce, kElement<T>, std::as_bytes(values_),
                     std::as_writable_bytes(values_));
  }
  if (!summed_) {
    if (!received(0) || !sent()) return false;
    sum_in_group_order<T>(summed_part(), slices_, group(), summed_part());
    summed_ = true;
    if (!shards_.empty()) {
      for (int member = 0; member < group().size(); ++member) {
        if (is_own(member)) continue;
        receive(member, 1, std::as_writable_bytes(part(values_, shards_[index(member)])));
        send(member, 1, std::as_bytes(summed_part()));
      }
    }
  }
  return received(1) && sent();
}

template class AllGather<float>;
template class AllGather<double>;
template class AllGather<std::int64_t>;
template class ReduceScatter<float>;
template class ReduceScatter<double>;
template class ReduceScatter<std::int64_t>;
template class AllReduce<float>;
template class AllReduce<double>;
template class AllReduce<std::int64_t>;

}  // namespace orrery
