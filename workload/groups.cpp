#include "workload/groups.hpp"

#include <algorithm>
#include <map>

#include "workload/world.hpp"

namespace orrery {
namespace {

GroupFamily make_family(GroupKind kind, const std::vector<Rank>& ranks, const Layout& layout,
                        int gpus_per_rank) {
  GroupFamily family{kind, ranks, {}, {}};
  const auto gpu_of = [&](Rank rank, int gpu) { return rank.value * gpus_per_rank + gpu; };
  if (kind == GroupKind::kPair) {
    for (int gpu = 0; gpu < gpus_per_rank; ++gpu) {
      family.first.push_back(static_cast<std::uint32_t>(family.members.size()));
      for (Rank rank : ranks) family.members.push_back(gpu_of(rank, gpu));
    }
    family.first.push_back(static_cast<std::uint32_t>(family.members.size()));
    return family;
  }
  // Counting sort by key; keys are below the number of GPUs of a rank.
  std::vector<int> keys(static_cast<std::size_t>(gpus_per_rank));
  std::vector<std::uint32_t> count(static_cast<std::size_t>(gpus_per_rank) + 1, 0);
  for (int gpu = 0; gpu < gpus_per_rank; ++gpu) {
    const int key = group_key(kind, layout, gpu);
    keys[static_cast<std::size_t>(gpu)] = key;
    count[static_cast<std::size_t>(key) + 1] += static_cast<std::uint32_t>(ranks.size());
  }
  for (std::size_t key = 1; key < count.size(); ++key) count[key] += count[key - 1];
  family.members.resize(count.back());
  std::vector<std::uint32_t> next(count.begin(), count.end() - 1);
  for (Rank rank : ranks) {
    for (int gpu = 0; gpu < gpus_per_rank; ++gpu)
      family.members[next[static_cast<std::size_t>(keys[static_cast<std::size_t>(gpu)])]++] =
          gpu_of(rank, gpu);
  }
  family.first = std::move(count);
  family.first.erase(std::unique(family.first.begin(), family.first.end()), family.first.end());
  return family;
}

}  // namespace

GroupKind group_kind(const Work& work, const Layout& layout) {
  switch (work.component) {
    case Component::kDispatch:
    case Component::kCombine: return GroupKind::kExpert;
    case Component::kTensorParallel:
      // A group of etp GPUs lies inside one of tp; where both are equal they are the same.
      return work.wire.group == layout.tp ? GroupKind::kTensor : GroupKind::kExpertTensor;
    case Component::kContextParallel: return GroupKind::kContext;
    default: break;
  }
  switch (work.parameters) {
    case ParameterSet::kExpert: return GroupKind::kExpertCopies;
    case ParameterSet::kDense:
    case ParameterSet::kEmbedding:
    case ParameterSet::kHead: return GroupKind::kSameTensor;
    case ParameterSet::kReplicated:
    case ParameterSet::kNone: break;
  }
  return GroupKind::kEveryone;
}

int group_key(GroupKind kind, const Layout& layout, int gpu) {
  const GpuPlace place = gpu_place(layout, gpu);
  switch (kind) {
    case GroupKind::kPair: return gpu;
    case GroupKind::kExpert: {
      const int fold = expert_fold(layout);
      const int blocks = layout.tp / layout.etp / fold;
      return place.expert_tensor + layout.etp * (place.tensor / layout.etp / fold +
                                                 blocks * (place.replica / (layout.ep / fold)));
    }
    case GroupKind::kTensor: return place.replica;
    case GroupKind::kExpertTensor: return place.tensor / layout.etp + layout.tp * place.replica;
    case GroupKind::kContext: return place.tensor + layout.tp * place.data;
    case GroupKind::kExpertCopies: return place.expert * layout.etp + place.expert_tensor;
    case GroupKind::kSameTensor: return place.tensor;
    case GroupKind::kEveryone: return 0;
  }
  return 0;
}

CommunicationGroups communication_groups(const Program& program, const Layout& layout) {
  CommunicationGroups groups;
  groups.gpus_per_rank = layout.tp * layout.cp * layout.dp;
  groups.family_of.assign(program.instructions.size(), -1);
  std::map<std::pair<GroupKind, std::vector<Rank>>, std::int32_t> known;
  const auto family = [&](GroupKind kind, std::vector<Rank> ranks) {
    const auto [entry, fresh] =
        known.try_emplace({kind, ranks}, static_cast<std::int32_t>(groups.families.size()));
    if (fresh) groups.families.push_back(make_family(kind, ranks, layout, groups.gpus_per_rank));
    return entry->second;
  };
  // Most instructions repeat a work on a rank.
  std::map<std::pair<WorkId, Rank>, std::int32_t> repeated;
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    if (work.is_compute()) continue;
    std::int32_t& own = groups.family_of[instruction.id.index()];
    if (instruction.partner.valid()) {
      const bool sends =
          instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
      if (sends) {
        const Rank to = program.instructions[instruction.partner.index()].rank;
        own = family(GroupKind::kPair, {instruction.rank, to});
      }
    } else if (instruction.collective >= 0) {
      std::vector<Rank> ranks;
      for (InstructionId member :
           program.collectives[static_cast<std::size_t>(instruction.collective)]) {
        ranks.push_back(program.instructions[member.index()].rank);
      }
      own = family(group_kind(work, layout), std::move(ranks));
    } else {
      const auto [entry, fresh] = repeated.try_emplace({instruction.work, instruction.rank}, -1);
      if (fresh) entry->second = family(group_kind(work, layout), {instruction.rank});
      own = entry->second;
    }
  }
  return groups;
}

}  // namespace orrery
