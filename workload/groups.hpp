#pragma once
// Which GPUs communicate with which: the groups that the transfers of a Program form under a
// layout. A family holds the groups of one kind on the pipeline ranks that take part together, such
// as the expert-parallel groups of pipeline rank 3, or the replicas of dense parameters on the
// mirrored ranks 0 and 15. All its groups do the same at the same place of the Program.
//
// GPU numbers are those of workload/world.hpp: pipeline rank outermost.
#include <cstdint>
#include <span>
#include <vector>

#include "core/layout.hpp"
#include "core/program.hpp"

namespace orrery {

enum class GroupKind : std::uint8_t {
  kPair,          // the same place on two pipeline ranks: the first sends to the second
  kExpert,        // expert parallel
  kTensor,        // tensor parallel
  kExpertTensor,  // the GPUs that share an expert
  kContext,       // context parallel
  kExpertCopies,  // replicas of routed experts
  kSameTensor,    // replicas of what tensor parallelism divides
  kEveryone,      // all
};

// Of a transfer between GPUs of one pipeline rank or of several; pairs apart.
GroupKind group_kind(const Work& work, const Layout& layout);
// GPUs of these pipeline ranks with the same key are a group. `gpu` counts within a pipeline rank.
int group_key(GroupKind kind, const Layout& layout, int gpu);

struct GroupFamily {
  GroupKind kind = GroupKind::kEveryone;
  std::vector<Rank> ranks;
  std::vector<int> members;          // GPUs, group after group, ascending in each
  std::vector<std::uint32_t> first;  // by group, into members; one more at the end

  int groups() const { return static_cast<int>(first.size()) - 1; }
  std::span<const int> group(int number) const {
    const auto at = static_cast<std::size_t>(number);
    return std::span(members).subspan(first[at], first[at + 1] - first[at]);
  }
};

struct CommunicationGroups {
  int gpus_per_rank = 1;
  std::vector<GroupFamily> families;
  std::vector<std::int32_t> family_of;  // by instruction; -1: no transfer, or a receive
};

// Size: every GPU once per family it takes part in (about ten).
CommunicationGroups communication_groups(const Program& program, const Layout& layout);

}  // namespace orrery
