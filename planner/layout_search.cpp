#include "planner/layout_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "core/error.hpp"
#include "planner/prediction.hpp"
#include "planner/schedules/families.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

std::vector<int> powers_of_two(int most) {
  std::vector<int> out;
  for (int value = 1; value <= most; value *= 2) out.push_back(value);
  return out;
}

std::vector<Candidate> enumerate(const SearchRequest& request) {
  std::vector<Candidate> space;
  const std::vector<int> pps =
      request.fixed_pp ? std::vector{*request.fixed_pp}
                       : powers_of_two(std::min(request.model.layers, request.cluster.gpus()));
  const std::vector<int> eps = request.fixed_ep
                                   ? std::vector{*request.fixed_ep}
                                   : powers_of_two(std::max(1, request.model.moe.experts));
  for (int pp : pps) {
    for (int ep : eps) {
      for (const ScheduleFamily& family : schedule_families()) {
        const bool wanted =
            request.schedule ? *request.schedule == family.name : family.in_layout_search;
        if (!wanted) continue;
        space.push_back({pp, ep, std::string(family.name)});
      }
    }
  }
  return space;
}

Rejection reject(const Candidate& candidate, std::string reason, std::string arithmetic) {
  return {candidate, std::move(reason), std::move(arithmetic)};
}

std::string gib(Bytes bytes) {
  return fmt::format("{:.1f}", in_gibibytes(bytes));
}

std::string memory_arithmetic(const MemoryTable& memory, Rank rank, bool with_activations) {
  std::string text = fmt::format("rank {}: weights {} + gradients {} + optimizer {}", rank.value,
                                 gib(memory.weights), gib(memory.gradients), gib(memory.optimizer));
  if (with_activations) text += fmt::format(" + activations {}", gib(memory.activations));
  return text + fmt::format(" + buffers {} + reserve {} = {} GiB{}, the GPU has {} GiB",
                            gib(memory.buffers), gib(memory.reserve), gib(memory.total()),
                            with_activations ? "" : " before any activation", gib(memory.capacity));
}

// What can be said without building a plan.
std::optional<Rejection> rule_out(const SearchRequest& request, const Candidate& candidate) {
  const auto [pp, ep, schedule] = candidate;
  const int per_pipeline = pp * request.base.tp * request.base.cp;
  const int gpus = request.cluster.gpus();
  if (gpus % per_pipeline != 0) {
    return reject(candidate, "GPUs not divisible",
                  fmt::format("{} GPUs / (pp*tp*cp = {})", gpus, per_pipeline));
  }
  const int dp = gpus / per_pipeline;
  const int experts = request.model.moe.experts;
  if (experts > 0 && experts % ep != 0) {
    return reject(candidate, "experts not divisible",
                  fmt::format("{} experts / ep={}", experts, ep));
  }
  const int replicas = dp * request.base.cp;
  if (replicas % ep != 0) {
    return reject(candidate, "expert groups do not fit the replicas",
                  fmt::format("dp*cp = {} is not a multiple of ep={}", replicas, ep));
  }
  const int at_once = dp * request.base.micro_batch;
  if (request.training.global_batch % at_once != 0) {
    return reject(
        candidate, "batch not divisible",
        fmt::format("{} sequences / (dp*mbs = {})", request.training.global_batch, at_once));
  }
  if (pp > request.model.layers) {
    return reject(candidate, "more stages than layers",
                  fmt::format("pp={}, {} layers", pp, request.model.layers));
  }
  const int microbatches = request.training.global_batch / at_once;
  if (const auto why =
          schedule_family(schedule).why_not({.pp = pp, .microbatches = microbatches})) {
    return reject(candidate, "no such schedule", *why);
  }
  return std::nullopt;
}

std::variant<Rejection, ScoredPlan> score(const SearchRequest& request, const Candidate& candidate,
                                          const DeviceModel& model) {
  PlanRequest wanted{request.model,      request.cluster, request.training,   request.base,
                     candidate.schedule, std::nullopt,    request.calibration};
  wanted.layout.pp = candidate.pp;
  wanted.layout.ep = candidate.ep;
  wanted.layout.dp = 0;
  ScoredPlan scored{candidate, build_plan(std::move(wanted), model.costs()), {}, 0, {}, Rank(0),
                    "analytic"};
  const auto fullest = [&](auto memory_of) {
    for (int rank = 0; rank < candidate.pp; ++rank) {
      const MemoryTable memory = memory_of(Rank(rank));
      if (rank == 0 || memory.total() > scored.memory.total()) {
        scored.memory = memory;
        scored.fullest = Rank(rank);
      }
    }
  };
  fullest([&](Rank rank) { return static_memory(scored.plan, model.device(), rank); });
  if (!scored.memory.fits()) {
    return reject(candidate, "exceeds GPU memory",
                  memory_arithmetic(scored.memory, scored.fullest, false));
  }
  const Program program = lower(scored.plan);
  const Timeline timeline =
      predict(scored.plan, program, model, {.fidelity = Fidelity::kAnalytic}).timeline;
  fullest(
      [&](Rank rank) { return rank_memory(scored.plan, model.device(), program, timeline, rank); });
  if (!scored.memory.fits()) {
    return reject(candidate, "exceeds GPU memory",
                  memory_arithmetic(scored.memory, scored.fullest, true));
  }
  scored.step = timeline.step;
  scored.fidelity = timeline.source;
  return scored;
}

}  // namespace

SearchResult search_layouts(const SearchRequest& request, const DeviceModel& model,
                            const ProgressCallback& progress) {
  if (request.schedule)
    schedule_family(*request.schedule);  // an unknown name is an error, not an empty space
  const std::vector<Candidate> space = enumerate(request);
  SearchResult result;
  result.space = static_cast<int>(space.size());
  const auto add_rejection = [&](Rejection rejection) {
    ++result.rejected[rejection.reason];
    result.rejections.push_back(std::move(rejection));
  };
  int done = 0;
  for (const Candidate& candidate : space) {
    if (progress) progress(done++, result.space);
    if (auto out = rule_out(request, candidate)) {
      add_rejection(std::move(*out));
      continue;
    }
    auto outcome = score(request, candidate, model);
    if (auto* out = std::get_if<Rejection>(&outcome)) {
      add_rejection(std::move(*out));
      continue;
    }
    result.plans.push_back(std::move(std::get<ScoredPlan>(outcome)));
    ++result.scored;
  }
  const double steps = request.training.tokens > 0
                           ? request.training.tokens / request.training.tokens_per_step()
                           : 1;
  // All candidates use the whole cluster, so GPU-hours and step time order them alike.
  const auto order = [](auto begin, auto end) {
    std::stable_sort(begin, end,
                     [](const ScoredPlan& a, const ScoredPlan& b) { return a.step < b.step; });
  };
  order(result.plans.begin(), result.plans.end());
  if (static_cast<int>(result.plans.size()) > request.top) {
    result.plans.erase(result.plans.begin() + request.top, result.plans.end());
  }
  const auto finalists =
      std::min<std::ptrdiff_t>(request.finalists, static_cast<std::ptrdiff_t>(result.plans.size()));
  for (auto plan = result.plans.begin(); plan != result.plans.begin() + finalists; ++plan) {
    const Timeline timeline = predict(plan->plan, lower(plan->plan), model, {}).timeline;
    plan->step = timeline.step;
    plan->fidelity = timeline.source;
    ++result.simulated;
  }
  order(result.plans.begin(), result.plans.begin() + finalists);
  for (ScoredPlan& plan : result.plans) {
    plan.gpu_hours = plan.step.value() / 3600 * steps * request.cluster.gpus();
  }
  if (progress) progress(result.space, result.space);
  return result;
}

}  // namespace orrery
