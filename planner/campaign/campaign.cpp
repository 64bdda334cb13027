#include "planner/campaign/campaign.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/cluster_part.hpp"
#include "core/error.hpp"
#include "planner/layouts/fix.hpp"
#include "planner/plan_cells.hpp"
#include "planner/prediction.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

// GPU-hours of a token.
double hours_of_token(const ScoredPlan& plan) {
  const double tokens = plan.plan.training.tokens_per_step();
  return plan.step.value() / 3600 * plan.plan.cluster.gpus() / tokens;
}

// The cluster with the phase's GPUs only.
Cluster part_of(const Cluster& cluster, const Phase& phase) {
  if (phase.gpus == 0) return cluster;
  if (const auto why = why_no_part(cluster, phase.gpus))
    throw InputError(fmt::format("error: phase '{}' is to run on {} GPUs, but {}", phase.name,
                                 phase.gpus, *why));
  return cluster_part(cluster, phase.gpus);
}

bool same_batches(const Training& a, const Training& b) {
  return a.sequence == b.sequence && a.global_batch == b.global_batch;
}

class Pricer {
 public:
  Pricer(const CampaignRequest& request, const CampaignProgress& progress)
      : request_(request), progress_(progress) {}

  PricedPhase price(const Phase& phase) {
    PricedPhase priced{phase, part_of(request_.cluster, phase), pieces_of(phase), {}, {}};
    const DeviceModel device = request_.device(priced.cluster);
    for (PricedPiece& piece : priced.pieces) price(priced, piece, device);
    if (phase.rl && priced.feasible()) {
      const Plan& plan = priced.pieces.back().best->plan;
      const double passes = forward_time(plan, device.costs()).value() / 3600 *
                            priced.cluster.gpus() / plan.training.tokens_per_step() *
                            phase.rl->forward_passes;
      priced.forward_gpu_hours = phase.tokens * passes;
      priced.rollout_gpu_hours = phase.rl->written * phase.rl->rollout_gpu_seconds * (1.0 / 3600);
    }
    return priced;
  }

 private:
  void price(const PricedPhase& phase, PricedPiece& piece, const DeviceModel& device) {
    // Phases that train alike are searched for once.
    for (const auto& [known_phase, known] : known_) {
      if (known_phase.cluster == phase.cluster && same_batches(known.training, piece.training) &&
          known_phase.phase.as_run == phase.phase.as_run) {
        piece.best = known.best;
        piece.as_run = known.as_run;
        piece.why_not = known.why_not;
        return;
      }
    }
    search(phase, piece, device);
    known_.emplace_back(phase, piece);
  }

  void search(const PricedPhase& phase, PricedPiece& piece, const DeviceModel& device) {
    SearchRequest request;
    request.model = request_.model;
    request.cluster = phase.cluster;
    request.training = piece.training;
    request.calibration = device.reference();
    request.top = request.finalists = request_.finalists;
    request.space = whole_space(request_.model, phase.cluster);
    if (!request_.fix.empty()) fix_dimensions(request.space, request_.fix);
    ProgressCallback progress;
    if (progress_) {
      progress = [&](std::int64_t done, std::int64_t of) {
        progress_(phase.phase.name, piece.training.global_batch, done, of);
      };
    }
    const SearchResult found = search_layouts(request, device, progress);
    if (!found.plans.empty()) piece.best = found.plans.front();
    for (const auto& [reason, point] : found.examples) {
      if (found.plans.empty()) piece.why_not = fmt::format("{}: {}", reason, point.arithmetic);
    }
    if (const std::optional<AsRun>& run = phase.phase.as_run) {
      request.space = whole_space(request_.model, phase.cluster);
      fix_dimensions(request.space, run->layout);
      const std::vector<std::string> families = request.space.schedule;
      request.space.schedule = {run->schedule};
      SearchResult as_run = search_layouts(request, device);
      // A small batch may be too few micro-batches for the schedule, not for the layout.
      if (as_run.plans.empty()) {
        request.space.schedule = families;
        as_run = search_layouts(request, device);
      }
      if (!as_run.plans.empty()) piece.as_run = as_run.plans.front();
    }
  }

  const CampaignRequest& request_;
  const CampaignProgress& progress_;
  std::vector<std::pair<PricedPhase, PricedPiece>> known_;
};

}  // namespace

bool PricedPhase::feasible() const {
  return std::all_of(pieces.begin(), pieces.end(),
                     [](const PricedPiece& piece) { return piece.best.has_value(); });
}

bool PricedPhase::has_as_run() const {
  return std::all_of(pieces.begin(), pieces.end(),
                     [](const PricedPiece& piece) { return piece.as_run.has_value(); });
}

CostRange PricedPiece::gpu_hours(bool laid_out) const {
  const std::optional<ScoredPlan>& plan = laid_out ? as_run : best;
  return plan ? tokens * hours_of_token(*plan) : CostRange{};
}

CostRange PricedPhase::gpu_hours(bool as_run) const {
  CostRange sum;
  for (const PricedPiece& piece : pieces) sum += piece.gpu_hours(as_run);
  sum += forward_gpu_hours;
  sum += rollout_gpu_hours;
  return sum;
}

bool Campaign::feasible() const {
  return std::all_of(phases.begin(), phases.end(),
                     [](const PricedPhase& phase) { return phase.feasible(); });
}

CostRange Campaign::gpu_hours() const {
  CostRange sum;
  for (const PricedPhase& phase : phases) sum += phase.gpu_hours();
  return sum;
}

std::vector<PricedPiece> pieces_of(const Phase& phase) {
  std::vector<PricedPiece> pieces;
  const auto add = [&](int batch, const CostRange& tokens) {
    Training training;
    training.sequence = phase.sequence;
    training.global_batch = batch;
    training.tokens = tokens.middle;
    pieces.push_back({training, tokens, std::nullopt, std::nullopt, ""});
  };
  CostRange left = phase.tokens;
  if (phase.ramp) {
    const int sizes = (phase.batch - phase.ramp->from) / phase.ramp->by;
    const double each = phase.ramp->tokens / sizes;
    for (int size = 0; size < sizes; ++size)
      add(phase.ramp->from + size * phase.ramp->by, CostRange::exactly(each));
    left += CostRange::exactly(-phase.ramp->tokens);
  }
  add(phase.batch, left);
  return pieces;
}

Campaign price_campaign(const CampaignRequest& request, const CampaignProgress& progress) {
  Campaign campaign{request.recipe, request.model, request.cluster, {}};
  for (const Phase& phase : request.recipe.phases) part_of(request.cluster, phase);
  Pricer pricer(request, progress);
  for (const Phase& phase : request.recipe.phases) campaign.phases.push_back(pricer.price(phase));
  return campaign;
}

Campaign price_plan(const Plan& plan, const DeviceModel& device) {
  ScoredPlan scored;
  scored.schedule = plan.schedule.family;
  scored.plan = plan;
  const Program program = lower(plan);
  const Timeline timeline = predict(plan, program, device, {}).timeline;
  scored.step = scored.score = timeline.step;
  scored.fidelity = timeline.source;
  const std::vector<MemoryTable> memory = memory_tables(plan, device.device(), program, timeline);
  for (std::size_t rank = 0; rank < memory.size(); ++rank) {
    if (rank > 0 && memory[rank].total() <= scored.memory.total()) continue;
    scored.memory = memory[rank];
    scored.fullest = Rank(static_cast<int>(rank));
  }
  Phase phase;
  phase.name = phase.part = "training";
  phase.sequence = plan.training.sequence;
  phase.batch = plan.training.global_batch;
  phase.tokens = CostRange::exactly(plan.training.tokens);
  std::vector<PricedPiece> pieces = pieces_of(phase);
  pieces.front().best = std::move(scored);
  CampaignRecipe recipe{"the plan's own run", plan.model.name, plan.cluster.name, {phase}, {}};
  return {std::move(recipe),
          plan.model,
          plan.cluster,
          {{phase, plan.cluster, std::move(pieces), {}, {}}}};
}

Seconds forward_time(const Plan& plan, const CostSource& costs) {
  const CellTimes times = plan_cell_times(plan, costs);
  Seconds path, slowest;
  for (const std::vector<ChunkPlace>& chunks : plan.schedule.chunks) {
    Seconds own;
    for (const ChunkPlace& chunk : chunks) {
      if (chunk.direction != 0) continue;
      own += times.at(chunk).F;
      path += times.at(chunk).F + times.latency(chunk, false);
    }
    slowest = std::max(slowest, own);
  }
  return path + slowest * (plan.microbatches() - 1);
}

}  // namespace orrery
