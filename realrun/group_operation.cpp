#include "realrun/group_operation.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"

namespace orrery {
namespace {

constexpr std::int64_t kTagsPerOperation = 8;
constexpr std::int64_t kMaxBase = (std::int64_t{1} << 57) - 1;

std::size_t index(int member) {
  return static_cast<std::size_t>(member);
}

}  // namespace

Group group_of(std::vector<int> ranks, int rank) {
  const auto place = std::find(ranks.begin(), ranks.end(), rank);
  ORRERY_CHECK(place != ranks.end(), "rank {} is none of {} members", rank, ranks.size());
  const int member = static_cast<int>(place - ranks.begin());
  return {std::move(ranks), member};
}

GroupOperation::GroupOperation(Transport& transport, Group group, OperationName name,
                               std::string_view kind)
    : transport_(transport),
      group_(std::move(group)),
      first_tag_(kGroupTags + kTagsPerOperation * name.base),
      label_(fmt::format("{}, {} ranks: {}", kind, group_.ranks.size(), name.name)),
      created_(transport.posting_time()) {
  ORRERY_CHECK(name.base >= 0 && name.base <= kMaxBase, "base {}", name.base);
  ORRERY_CHECK(group_.place >= 0 && group_.place < group_.size() &&
                   group_.ranks[index(group_.place)] == transport.rank(),
               "place {} of {} members is not rank {}", group_.place, group_.size(),
               transport.rank());
  for (std::vector<Posted>& receives : receives_) receives.resize(group_.ranks.size());
}

void GroupOperation::send(int member, int phase, std::span<const std::byte> data) {
  sends_.push_back(
      {transport_.post_send(group_.ranks[index(member)], first_tag_ + phase, data, label_),
       std::nullopt});
}

void GroupOperation::receive(int member, int phase, std::span<std::byte> room) {
  receives_[phase][index(member)].ticket =
      transport_.post_receive(group_.ranks[index(member)], first_tag_ + phase, room, label_);
}

bool GroupOperation::poll(Posted& posted) {
  if (!posted.ticket) return true;
  if (!transport_.done(*posted.ticket)) return false;
  posted.matched_at = transport_.matched_at(*posted.ticket);
  transport_.release(*posted.ticket);
  posted.ticket.reset();
  return true;
}

bool GroupOperation::sent() {
  while (!sends_.empty() && poll(sends_.back())) sends_.pop_back();
  return sends_.empty();
}

bool GroupOperation::received(int phase, int member) {
  return poll(receives_[phase][index(member)]);
}

bool GroupOperation::received(int phase) {
  return std::all_of(receives_[phase].begin(), receives_[phase].end(),
                     [&](Posted& posted) { return poll(posted); });
}

void GroupOperation::agree() {
  for (int member = 0; member < group_.size(); ++member) {
    if (is_own(member)) continue;
    receive(member, 0, {});
    send(member, 0, {});
  }
}

bool GroupOperation::carry_out(GroupCall::Kind kind, ElementType element,
                               std::span<const std::byte> in, std::span<std::byte> out) {
  if (!called_ && !received(0)) return false;
  GroupCall call;
  call.kind = kind;
  call.element = element;
  call.in = in;
  call.out = out;
  return carry_out(std::move(call));
}

bool GroupOperation::carry_out(GroupCall call) {
  if (!called_) {
    call.ranks = group_.ranks;
    call.label = label_;
    call_.ticket = transport_.post_group(call);
    called_ = true;
  }
  return poll(call_) && sent();
}

bool GroupOperation::advance() {
  if (!finished_) finished_ = step();
  return finished_;
}

std::optional<Seconds> GroupOperation::started() {
  if (started_) return started_;
  Seconds latest = created_;
  for (int member = 0; member < group_.size(); ++member) {
    if (is_own(member)) continue;
    const Posted& posted = receives_[0][index(member)];
    const std::optional<Seconds> matched_at =
        posted.ticket ? transport_.matched_at(*posted.ticket) : posted.matched_at;
    if (!matched_at) return std::nullopt;
    latest = std::max(latest, *matched_at);
  }
  started_ = latest;
  return started_;
}

}  // namespace orrery
