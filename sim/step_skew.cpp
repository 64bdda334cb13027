#include "sim/step_skew.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "core/error.hpp"
#include "workload/expert_rows.hpp"
#include "workload/groups.hpp"
#include "workload/loaded_program.hpp"
#include "workload/placement.hpp"

namespace orrery {
namespace {

// Where a GPU stands in its expert-parallel group.
struct ExpertPlace {
  int group = 0;     // number over the whole cluster
  int position = 0;  // 0 to ep - 1
};

ExpertPlace expert_place(const Layout& layout, int gpu) {
  const int per_rank = layout.tp * layout.cp * layout.dp;
  const GpuPlace place = gpu_place(layout, gpu % per_rank);
  const int groups = per_rank / layout.ep;
  return {gpu / per_rank * groups + group_key(GroupKind::kExpert, layout, gpu % per_rank),
          place.expert};
}

bool towards_experts(Pattern pattern) {
  return pattern == Pattern::kDispatch || pattern == Pattern::kDispatchCached;
}
bool is_exchange(const Work& work) {
  return work.component == Component::kDispatch || work.component == Component::kCombine;
}

// Rows of a group of one micro-batch in one layer, and what they are in the worst place.
struct GroupRows {
  std::vector<double> gpus;
  std::vector<double> nodes;  // mean over the group's GPUs in a node
  double most = 1, most_in_node = 1;
};

// What both levels need: drawn rows, and what they cost.
class Rows {
 public:
  Rows(const Plan& plan, const FoldedStep& folding, const Skew& skew, const CostSource& costs)
      : plan_(plan),
        folding_(folding),
        program_(folding.expanded.program),
        costs_(costs),
        drawn_(make_expert_rows(plan, skew)),
        node_gpus_(
            orrery::place(plan.cluster, plan.layout).expert_group_gpus_per_node(plan.layout.ep)) {}

  const Program& program() const { return program_; }
  int gpu_of(Rank copy) const { return folding_.classes[copy.index()].representative; }
  ExpertPlace place(int gpu) const { return expert_place(plan_.layout, gpu); }
  int node_of(int position) const { return position / node_gpus_; }

  // Null for an instruction of no MoE layer.
  const GroupRows* rows(const Instruction& instruction, int group) const {
    if (instruction.layer < 0 || !instruction.microbatch.valid() || plan_.layout.ep <= 1)
      return nullptr;
    const int layer = layer_of(instruction);
    if (layer < 0) return nullptr;
    const auto [entry, fresh] = known_.try_emplace({instruction.microbatch.value, layer, group});
    GroupRows& rows = entry->second;
    if (fresh) {
      rows.gpus = drawn_->rows(instruction.microbatch.value, layer, group);
      for (std::size_t first = 0; first < rows.gpus.size();
           first += static_cast<std::size_t>(node_gpus_)) {
        const std::size_t last =
            std::min(rows.gpus.size(), first + static_cast<std::size_t>(node_gpus_));
        double sum = 0;
        for (std::size_t at = first; at < last; ++at) sum += rows.gpus[at];
        rows.nodes.push_back(sum / static_cast<double>(last - first));
      }
      rows.most = *std::max_element(rows.gpus.begin(), rows.gpus.end());
      rows.most_in_node = *std::max_element(rows.nodes.begin(), rows.nodes.end());
    }
    return &rows;
  }

  // Longer (or shorter) than with even rows, by GPU of the representative's speed.
  double stretch_s(const Instruction& instruction, double rows) const {
    const Work& work = program_.work(instruction);
    if (!work.is_compute()) return 0;
    const double speed = folding_.classes[instruction.rank.index()].speed;
    return (busy_s(instruction, work, rows) - busy_s(instruction, work, 1)) / speed;
  }

 private:
  int layer_of(const Instruction& instruction) const {
    const auto [entry, fresh] =
        layers_.try_emplace({instruction.stage.value, instruction.layer}, -1);
    if (fresh)
      entry->second = model_layer(plan_.layout, plan_.model, instruction.stage, instruction.layer);
    return entry->second;
  }

  // Between multiples of a 32nd of the mean rows; kernels are not asked for none.
  double busy_s(const Instruction& instruction, const Work& work, double rows) const {
    constexpr double kStep = 1.0 / 32;
    const auto at = [&](int steps) {
      const auto [entry, fresh] =
          busy_.try_emplace({instruction.work, instruction.lent_sms, steps}, 0.0);
      if (fresh)
        entry->second =
            costs_.compute(with_rows(work, steps * kStep), instruction.lent_sms).busy.value();
      return entry->second;
    };
    if (routed_rows(work) <= 0) return at(32);
    const double place = std::max(1.0, rows / kStep);
    const int below = static_cast<int>(place);
    const double share = place - below;
    return share == 0 ? at(below) : at(below) * (1 - share) + at(below + 1) * share;
  }

  const Plan& plan_;
  const FoldedStep& folding_;
  const Program& program_;
  const CostSource& costs_;
  std::unique_ptr<ExpertRows> drawn_;
  int node_gpus_;                                                 // of a group, in one node
  mutable std::map<std::tuple<int, int, int>, GroupRows> known_;  // micro-batch, layer, group
  mutable std::map<std::pair<int, int>, int> layers_;             // stage, entry
  mutable std::map<std::tuple<WorkId, std::int16_t, int>, double> busy_;
};

class FullSkew : public StepSkew {
 public:
  explicit FullSkew(Rows rows) : rows_(std::move(rows)) {}

  double stretch_s(InstructionId id) const override {
    const Instruction& instruction = rows_.program().instructions[id.index()];
    if (routed_rows(rows_.program().work(instruction)) <= 0) return 0;
    const ExpertPlace place = rows_.place(rows_.gpu_of(instruction.rank));
    const GroupRows* rows = rows_.rows(instruction, place.group);
    if (rows == nullptr) return 0;
    return rows_.stretch_s(instruction, rows->gpus[static_cast<std::size_t>(place.position)]);
  }

  double bytes(InstructionId id, const PlannedFlow& flow) const override {
    const Instruction& instruction = rows_.program().instructions[id.index()];
    const Work& work = rows_.program().work(instruction);
    if (!is_exchange(work) || flow.from < 0) return 1;
    const ExpertPlace place = rows_.place(towards_experts(work.wire.pattern) ? flow.to : flow.from);
    const GroupRows* rows = rows_.rows(instruction, place.group);
    if (rows == nullptr) return 1;
    return flow.nic ? rows->nodes[static_cast<std::size_t>(rows_.node_of(place.position))]
                    : rows->gpus[static_cast<std::size_t>(place.position)];
  }

  double longer(InstructionId, const PlannedFlow&) const override { return 1; }
  double wait_s(InstructionId, double, const Timeline&) override { return 0; }
  void ended(InstructionId, const Timeline&) override {}

  Seconds straggler_wait(const Timeline& timeline) const override {
    const Program& program = rows_.program();
    Seconds sum;
    for (const auto& streams : program.streams) {
      for (const auto& list : streams) {
        for (std::size_t place = 0; place < list.size(); ++place) {
          const Instruction& instruction = program.instructions[list[place].index()];
          if (instruction.cell < 0 || !is_exchange(program.work(instruction))) continue;
          Seconds ready = place == 0 ? Seconds{} : timeline.at(list[place - 1]).end;
          for (InstructionId before : program.deps_of(instruction))
            ready = std::max(ready, timeline.at(before).end);
          sum += timeline.at(instruction.id).start - ready;
        }
      }
    }
    return sum / static_cast<double>(program.pp);
  }

 private:
  Rows rows_;
};

class MeanSkew : public StepSkew {
 public:
  MeanSkew(Rows rows, const Layout& layout, const FoldedStep& folding)
      : rows_(std::move(rows)), program_(rows_.program()), layout_(layout) {
    for (const RankClass& each : folding.classes) {
      members_.push_back(members_of(each, layout, folding));
      sizes_.push_back(each.size);
    }
    std::size_t next = 0;
    before_.resize(program_.instructions.size());
    for (const Instruction& instruction : program_.instructions) {
      first_.push_back(next);
      next += members_[instruction.rank.index()].size();
    }
    late_.assign(next, 0);
    for (const auto& streams : program_.streams) {
      for (const auto& list : streams) {
        for (std::size_t place = 1; place < list.size(); ++place)
          before_[list[place].index()] = list[place - 1];
      }
    }
  }

  double stretch_s(InstructionId) const override { return 0; }
  double bytes(InstructionId, const PlannedFlow&) const override { return 1; }

  // The busiest of the GPUs with the experts at this end of the message, in the mean over groups.
  double longer(InstructionId id, const PlannedFlow& flow) const override {
    const Instruction& instruction = program_.instructions[id.index()];
    const Work& work = program_.work(instruction);
    if (!is_exchange(work)) return 1;
    const int end = towards_experts(work.wire.pattern) ? flow.to_class : flow.from_class;
    const std::size_t copy = end >= 0 ? static_cast<std::size_t>(end) : instruction.rank.index();
    double sum = 0;
    int groups = 0;
    const std::vector<Member>& members = members_[copy];
    for (std::size_t first = 0; first < members.size();) {
      const int group = members[first].place.group;
      const GroupRows* rows = rows_.rows(instruction, group);
      if (rows == nullptr) return 1;
      double most = 0;
      std::size_t at = first;
      for (; at < members.size() && members[at].place.group == group; ++at) {
        const int position = members[at].place.position;
        most =
            std::max(most, flow.nic ? rows->nodes[static_cast<std::size_t>(rows_.node_of(position))]
                                    : rows->gpus[static_cast<std::size_t>(position)]);
      }
      // A message that stands for all of the group ends with the busiest of all.
      if (end < 0) most = flow.nic ? rows->most_in_node : rows->most;
      sum += most;
      ++groups;
      first = at;
    }
    return sum / groups;
  }

  double wait_s(InstructionId id, double now, const Timeline& timeline) override {
    const Instruction& instruction = program_.instructions[id.index()];
    if (!synchronises(instruction)) return 0;
    // When the last GPU of each group is ready, and by how much the others were sooner.
    const GroupKind kind = group_kind(program_.work(instruction), layout_);
    last_.clear();
    double gpu_starts = 0;
    double gpus = 0;
    const auto& collective = program_.collectives[static_cast<std::size_t>(instruction.collective)];
    for (InstructionId each : collective) {
      const Rank copy = program_.instructions[each.index()].rank;
      const std::vector<double>& start = starts(each, timeline);
      double sum = 0;
      for (std::size_t place = 0; place < start.size(); ++place) {
        double& last =
            last_.try_emplace(key(instruction, kind, members_[copy.index()][place]), now - kLongAgo)
                .first->second;
        last = std::max(last, start[place]);
        sum += start[place];
      }
      gpus += sizes_[copy.index()];
      gpu_starts += sum / static_cast<double>(start.size()) * sizes_[copy.index()];
    }
    // Groups of a pipeline rank go on by themselves, until what follows the cells joins them.
    double begin = 0;
    for (const auto& [group, last] : last_) begin += last / static_cast<double>(last_.size());
    if (instruction.cell >= 0 && is_exchange(program_.work(instruction)))
      waited_ += begin * gpus - gpu_starts;
    begin = std::max(begin, now);
    for (InstructionId each : collective) {
      const Rank copy = program_.instructions[each.index()].rank;
      const std::vector<Member>& members = members_[copy.index()];
      for (std::size_t place = 0; place < members.size(); ++place) {
        late_[first_[each.index()] + place] =
            static_cast<float>(last_.at(key(instruction, kind, members[place])) - begin);
      }
    }
    return begin - now;
  }

  void ended(InstructionId id, const Timeline& timeline) override {
    const Instruction& instruction = program_.instructions[id.index()];
    if (instruction.partner.valid()) return transferred(id, instruction.partner, timeline);
    if (synchronises(instruction)) return;  // known since it began
    const std::vector<double>& start = starts(id, timeline);
    const double own = timeline.at(id).start.value();
    const bool routed = routed_rows(program_.work(instruction)) > 0;
    const std::vector<Member>& members = members_[instruction.rank.index()];
    for (std::size_t place = 0; place < members.size(); ++place) {
      double late = start[place] - own;
      const GroupRows* rows =
          routed ? rows_.rows(instruction, members[place].place.group) : nullptr;
      if (rows != nullptr) {
        const auto position = static_cast<std::size_t>(members[place].place.position);
        late += rows_.stretch_s(instruction, rows->gpus[position]);
      }
      late_[first_[id.index()] + place] = static_cast<float>(late);
    }
  }

  Seconds straggler_wait(const Timeline&) const override {
    double gpus = 0;
    for (int size : sizes_) gpus += size;
    // What is left of sums of opposite sign is no wait.
    return Seconds{std::max(0.0, waited_ / gpus)};
  }

 private:
  static constexpr double kLongAgo = 1e9;
  // Groups of a pipeline rank that are followed one by one: more tell nothing new.
  static constexpr int kMostGroups = 8;

  // A GPU that a representative stands for.
  struct Member {
    ExpertPlace place;
    int gpu = 0;  // within the pipeline rank
  };

  // The members of a class in the first groups that have any, group by group. Classes that meet in
  // an exchange meet in the same groups.
  std::vector<Member> members_of(const RankClass& own, const Layout& layout,
                                 const FoldedStep& folding) const {
    const int per_rank = layout.tp * layout.cp * layout.dp;
    const int first = own.pipeline_rank.value * per_rank;
    const int number = folding.class_of[static_cast<std::size_t>(own.representative)];
    std::map<int, std::vector<Member>> by_group;
    for (int gpu = first; gpu < first + per_rank; ++gpu) {
      if (folding.class_of[static_cast<std::size_t>(gpu)] != number) continue;
      const ExpertPlace place = rows_.place(gpu);
      by_group[place.group].push_back({place, gpu - first});
    }
    std::vector<Member> members;
    int groups = 0;
    for (const auto& [group, own_members] : by_group) {
      if (groups++ == kMostGroups) break;
      members.insert(members.end(), own_members.begin(), own_members.end());
    }
    return members;
  }

  static bool synchronises(const Instruction& instruction) { return instruction.collective >= 0; }

  // The same for GPUs that wait for each other; all do in what follows the cells.
  int key(const Instruction& instruction, GroupKind kind, const Member& member) const {
    return instruction.cell < 0 ? 0 : group_key(kind, layout_, member.gpu);
  }

  // When each GPU of a class could start `id`: all it waits for on its own rank has ended there.
  const std::vector<double>& starts(InstructionId id, const Timeline& timeline) {
    const Instruction& instruction = program_.instructions[id.index()];
    start_.assign(members_[instruction.rank.index()].size(), 0);
    const auto after = [&](InstructionId before) {
      const double end = timeline.at(before).end.value();
      const std::size_t first = first_[before.index()];
      for (std::size_t place = 0; place < start_.size(); ++place)
        start_[place] = std::max(start_[place], end + static_cast<double>(late_[first + place]));
    };
    if (before_[id.index()].valid()) after(before_[id.index()]);
    for (InstructionId before : program_.deps_of(instruction)) after(before);
    return start_;
  }

  // Each GPU sends to the one in its place: both have to be ready.
  void transferred(InstructionId send, InstructionId recv, const Timeline& timeline) {
    const double own = timeline.at(send).start.value();
    const std::vector<double> sender = starts(send, timeline);
    const std::vector<double>& receiver = starts(recv, timeline);
    for (std::size_t place = 0; place < std::min(sender.size(), receiver.size()); ++place) {
      const auto late = static_cast<float>(std::max(sender[place], receiver[place]) - own);
      late_[first_[send.index()] + place] = late;
      late_[first_[recv.index()] + place] = late;
    }
  }

  Rows rows_;
  const Program& program_;
  const Layout& layout_;
  std::vector<std::vector<Member>> members_;  // by class
  std::vector<int> sizes_;                    // by class, GPUs of the cluster
  double waited_ = 0;                         // GPU-seconds before exchanges of cells
  std::vector<InstructionId> before_;         // by instruction, on its stream
  std::vector<std::size_t> first_;            // by instruction, into late_
  std::vector<float> late_;  // seconds after the representative that each GPU ends an instruction
  std::vector<double> start_;
  std::map<int, double> last_;
};

}  // namespace

std::unique_ptr<StepSkew> make_step_skew(const Plan& plan, const FoldedStep& folding,
                                         Grouping grouping, const Skew& skew,
                                         const CostSource& costs) {
  Rows rows(plan, folding, skew, costs);
  if (grouping == Grouping::kNone) return std::make_unique<FullSkew>(std::move(rows));
  return std::make_unique<MeanSkew>(std::move(rows), plan.layout, folding);
}

}  // namespace orrery
