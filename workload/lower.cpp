#include "workload/lower.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.hpp"
#include "workload/cell_emitter.hpp"
#include "workload/edge_ops.hpp"
#include "workload/placement.hpp"
#include "workload/stage_parameters.hpp"

namespace orrery {
namespace {

WorkId add_work(Program& program, Work work) {
  program.works.push_back(std::move(work));
  return WorkId(static_cast<std::int64_t>(program.works.size()) - 1);
}

LoweringContext make_context(const Plan& plan, Program& program) {
  LoweringContext context{plan, place(plan.cluster, plan.layout), {}, {}, {}, {}, {}, {}};
  const int in_node = context.placement.expert_group_gpus_per_node(plan.layout.ep);
  const RoutingSpread spread = RoutingSample(plan.model.moe, plan.training.seed + 1)
                                   .spread(std::max(1, plan.layout.ep), in_node);
  const Shard shard = make_shard(plan.model, plan.layout, plan.training.sequence, spread);
  std::set<LayerKind> kinds;
  for (const auto& stage : plan.layout.stage_map) kinds.insert(stage.begin(), stage.end());
  for (LayerKind kind : kinds)
    context.units.emplace(kind, make_unit(program.works, shard, kind, in_node));
  // What does not fit into a node goes over the NICs. Context-parallel neighbours are tp GPUs
  // apart.
  for (Work& work : program.works) {
    const bool context_parallel = work.component == Component::kContextParallel;
    if (!context_parallel && work.component != Component::kTensorParallel) continue;
    const int group = work.wire.group;
    const int apart = context_parallel ? plan.layout.tp : 1;
    const int beside = std::clamp(plan.cluster.gpus_per_node / apart, 1, group);
    if (beside == group) continue;
    const double passes = work.wire.pattern == Pattern::kAllReduce ? 2 : 1;
    const Bytes payload = work.wire.logical * (group / (passes * (group - 1)));
    work.wire = collective_wire(work.wire.pattern, payload, group, beside);
  }
  // Activations and their gradients travel in BF16.
  context.boundary_bytes = Bytes{shard.local_tokens() * plan.model.hidden * 2};
  const auto transfer = [&](Bytes nic, Bytes nvlink) {
    return add_work(program, {Component::kPipeline,
                              Pass::kF,
                              "pipeline transfer",
                              {},
                              {Pattern::kSend, 2, context.boundary_bytes, nic, nvlink}});
  };
  context.send_between_nodes = transfer(context.boundary_bytes, Bytes{});
  context.send_inside_node = transfer(Bytes{}, context.boundary_bytes);
  return context;
}

// Sends and receives find each other, and each receive stream takes the order of its sender.
void match_transfers(Program& program, const LoweringContext& context) {
  for (const auto& [message, recv] : context.recvs) {
    const auto send = context.sends.find(message);
    ORRERY_CHECK(send != context.sends.end(), "no send from stage {} to {}", message.from.value,
                 message.to.value);
    program.instructions[recv.index()].partner = send->second;
    program.instructions[send->second.index()].partner = recv;
  }
  for (auto& streams : program.streams) {
    for (Stream stream : {Stream::kRecvNext, Stream::kRecvPrev}) {
      auto& list = streams[static_cast<std::size_t>(stream)];
      std::sort(list.begin(), list.end(), [&](InstructionId a, InstructionId b) {
        return program.instructions[a.index()].partner < program.instructions[b.index()].partner;
      });
    }
  }
}

void lay_out_events(Program& program, std::vector<std::pair<InstructionId, BufferEvent>> events) {
  std::stable_sort(events.begin(), events.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::size_t next = 0;
  for (Instruction& instruction : program.instructions) {
    instruction.first_event = static_cast<std::uint32_t>(program.buffer_events.size());
    for (; next < events.size() && events[next].first == instruction.id; ++next) {
      program.buffer_events.push_back(events[next].second);
    }
    instruction.last_event = static_cast<std::uint32_t>(program.buffer_events.size());
  }
  ORRERY_CHECK(next == events.size(), "{} of {} buffer events placed", next, events.size());
}

// Gradient reduction, optimizer and parameter gathering of all ranks.
class OptimizerStep {
 public:
  OptimizerStep(const Plan& plan, Program& program, std::vector<RankEmitter>& ranks)
      : plan_(plan), program_(program), ranks_(ranks) {}

  void emit(const Placement& placement) {
    const std::vector<ParameterGroup> groups =
        parameter_groups(plan_.model, plan_.layout, plan_.schedule);
    const bool sharded = plan_.layout.zero_stage >= 1;
    const Pattern reduce = sharded ? Pattern::kReduceScatter : Pattern::kAllReduce;
    for (const ParameterGroup& group : groups) {
      exchange(group, placement, Component::kGradientReduce, "gradient reduction", reduce,
               bytes_of(plan_.training.gradient));
    }
    expert_counts(placement);
    // Global gradient norm: every GPU squares what it owns, and though only one number is
    // exchanged, every rank waits for every other.
    for (int rank = 0; rank < plan_.layout.pp; ++rank) {
      compute(Rank(rank), "gradient norm",
              gradient_norm(plan_.training, optimizer_shard(groups, Rank(rank), true)));
    }
    const Wire norm = collective_wire(Pattern::kAllReduce, Bytes{8}, plan_.cluster.gpus(),
                                      plan_.cluster.gpus_per_node);
    std::vector<Rank> everyone;
    for (int rank = 0; rank < plan_.layout.pp; ++rank) everyone.push_back(Rank(rank));
    collective(everyone, {Component::kGradientReduce,
                          Pass::kW,
                          "gradient norm all-reduce",
                          {},
                          norm,
                          "gradient norm"});
    for (int rank = 0; rank < plan_.layout.pp; ++rank) {
      const double shard = optimizer_shard(groups, Rank(rank), sharded);
      compute(Rank(rank), "optimizer", optimizer_update(plan_.training, shard));
    }
    if (!sharded) return;
    for (const ParameterGroup& group : groups) {
      exchange(group, placement, Component::kParameterGather, "parameter gather",
               Pattern::kAllGather, 2);
    }
  }

 private:
  RankEmitter& emitter(Rank rank) { return ranks_[rank.index()]; }

  void compute(Rank rank, const std::string& name, const Op& op) {
    const WorkId work = add_work(program_, {Component::kOptimizer, Pass::kW, name, {op}, {}});
    emitter(rank).emit_closing(work, Stream::kCompute);
  }

  void exchange(const ParameterGroup& group, const Placement& placement, Component component,
                const std::string& name, Pattern pattern, double bytes_per_parameter) {
    if (group.replicas == 1) return;
    // An expert-parallel group takes every tp-th GPU, so tp / etp neighbours hold the same experts,
    // and so does the next group, ep * tp GPUs on. Replicas of divided parameters are tp apart,
    // those of whole ones are neighbours.
    const Layout& layout = plan_.layout;
    const int node = std::min(placement.gpus_per_node, placement.gpus_per_rank);
    int in_node = std::max(1, node / layout.tp);
    if (group.set == ParameterSet::kReplicated) in_node = node;
    if (group.set == ParameterSet::kExpert) {
      in_node = std::max(1, std::min(layout.tp, node) / layout.etp) *
                std::max(1, node / (layout.ep * layout.tp));
    }
    in_node *= placement.ranks_in_node(group.ranks);
    const Wire wire = collective_wire(pattern, Bytes{group.parameters * bytes_per_parameter},
                                      group.replicas, std::min(in_node, group.replicas));
    collective(group.ranks, {component,
                             Pass::kW,
                             fmt::format("{}, {}", name, to_string(group.set)),
                             {},
                             wire,
                             "",
                             group.set});
  }

  // The correction bias of the router follows the loads of the whole batch (DeepSeek-V3 report,
  // section 2.1.2): the counts of all GPUs that hold a layer are summed.
  void expert_counts(const Placement& placement) {
    const Layout& layout = plan_.layout;
    const int replicas = layout.dp * layout.cp * layout.tp * plan_.schedule.directions;
    if (replicas == 1) return;
    for (const std::vector<Rank>& ranks : mirrored_ranks(plan_.schedule)) {
      double layers = 0;
      for (const ChunkPlace& chunk : plan_.schedule.chunks[ranks.front().index()]) {
        const std::vector<LayerKind>& entries = layout.stage_map[chunk.stage.index()];
        layers +=
            static_cast<double>(std::count_if(entries.begin(), entries.end(), [](LayerKind kind) {
              return kind == LayerKind::kMoe || kind == LayerKind::kMtp;
            }));
      }
      if (layers == 0) continue;
      const int in_node = std::min(placement.gpus_per_node, placement.gpus_per_rank) *
                          placement.ranks_in_node(ranks);
      const Wire wire =
          collective_wire(Pattern::kAllReduce, Bytes{layers * plan_.model.moe.experts * 4},
                          replicas, std::min(in_node, replicas));
      collective(ranks, {Component::kGradientReduce,
                         Pass::kW,
                         "expert count all-reduce",
                         {},
                         wire,
                         "expert counts"});
    }
  }

  void collective(const std::vector<Rank>& members, const Work& work) {
    std::vector<InstructionId> ids;
    const auto number = static_cast<std::int32_t>(program_.collectives.size());
    for (Rank rank : members) {
      const InstructionId id = emitter(rank).emit_closing(add_work(program_, work), Stream::kComm);
      program_.instructions[id.index()].collective = number;
      ids.push_back(id);
    }
    program_.collectives.push_back(std::move(ids));
  }

  const Plan& plan_;
  Program& program_;
  std::vector<RankEmitter>& ranks_;
};

}  // namespace

Program lower(const Plan& plan) {
  if (plan.layout.zero_stage > 1) {
    throw InputError("ZeRO stages 2 and 3 are not modelled: use zero=0 or zero=1");
  }
  ORRERY_CHECK(plan.schedule.pp() == plan.layout.pp, "schedule has {} ranks, layout pp={}",
               plan.schedule.pp(), plan.layout.pp);
  ORRERY_CHECK(plan.schedule.stages() == static_cast<int>(plan.layout.stage_map.size()),
               "schedule has {} stages, the stage map {}", plan.schedule.stages(),
               plan.layout.stage_map.size());
  Program program;
  program.pp = plan.layout.pp;
  program.streams.resize(static_cast<std::size_t>(plan.layout.pp));
  LoweringContext context = make_context(plan, program);
  std::vector<RankEmitter> ranks;
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    ranks.emplace_back(program, context, Rank(rank));
    const std::vector<Cell>& cells = plan.schedule.ranks[static_cast<std::size_t>(rank)];
    for (std::size_t cell = 0; cell < cells.size(); ++cell)
      ranks.back().emit(cells[cell], static_cast<int>(cell));
  }
  match_transfers(program, context);
  OptimizerStep(plan, program, ranks).emit(context.placement);
  std::vector<std::pair<InstructionId, BufferEvent>> events;
  for (const RankEmitter& rank : ranks)
    events.insert(events.end(), rank.events().begin(), rank.events().end());
  lay_out_events(program, std::move(events));
  return program;
}

}  // namespace orrery
