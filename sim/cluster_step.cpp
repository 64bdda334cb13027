#include "sim/cluster_step.hpp"

#include "sim/simgrid_engine.hpp"

namespace orrery {
namespace {

// Spans of the largest class of each pipeline rank, the first of equals.
std::vector<Span> typical_spans(const FoldedStep& folding, const Timeline& classes,
                                std::size_t instructions) {
  std::vector<int> typical;
  for (std::size_t rank = 0; rank + 1 < folding.first_class.size(); ++rank) {
    int best = folding.first_class[rank];
    for (int other = best; other < folding.first_class[rank + 1]; ++other) {
      if (folding.classes[static_cast<std::size_t>(other)].size >
          folding.classes[static_cast<std::size_t>(best)].size) {
        best = other;
      }
    }
    typical.push_back(best);
  }
  std::vector<Span> spans(instructions);
  for (const Instruction& instruction : folding.expanded.program.instructions) {
    const int own = instruction.rank.value;
    const Rank rank = folding.classes[static_cast<std::size_t>(own)].pipeline_rank;
    if (typical[rank.index()] != own) continue;
    spans[folding.expanded.origin[instruction.id.index()].index()] = classes.at(instruction.id);
  }
  return spans;
}

}  // namespace

ClusterStep run_cluster(const Plan& plan, const Program& program, const CostSource& costs,
                        Grouping grouping, const Faults& faults, const Skew& skew,
                        bool with_links) {
  ClusterStep step;
  const bool all_links = with_links && grouping == Grouping::kFolded;
  step.folding = fold(plan, program, faults, all_links ? Grouping::kFoldedLinks : grouping);
  std::vector<double> speeds;
  for (const RankClass& each : step.folding.classes) speeds.push_back(each.speed);
  std::unique_ptr<StepSkew> uneven;
  if (skew.kind != SkewKind::kNone)
    uneven = make_step_skew(plan, step.folding, grouping, skew, costs);
  std::vector<FlowRecord> records;
  Timeline& classes = step.classes;
  classes = run_simgrid({step.folding.expanded.program, step.folding.exchange_of,
                         step.folding.flows, speeds, uneven.get(), with_links ? &records : nullptr},
                        costs);
  classes.source = grouping == Grouping::kFolded ? "folded" : "full";
  classes.rank_classes = static_cast<int>(step.folding.classes.size());
  classes.gpus = plan.layout.gpus();
  if (uneven) step.straggler_wait = uneven->straggler_wait(classes);
  if (with_links) step.links = link_use(step.folding.flows, records, classes.step);
  step.timeline = classes;
  step.timeline.spans = typical_spans(step.folding, classes, program.instructions.size());
  return step;
}

Timeline run_folded(const Plan& plan, const Program& program, const CostSource& costs) {
  return run_cluster(plan, program, costs).timeline;
}

}  // namespace orrery
