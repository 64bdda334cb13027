#include "planner/layout_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <thread>
#include <type_traits>

#include "core/error.hpp"
#include "planner/forked.hpp"
#include "planner/plan_builder.hpp"
#include "planner/prediction.hpp"
#include "planner/schedules/families.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

// Rows beyond those to report, in the place of finalists whose Program needs more memory than was
// counted for their cells.
constexpr int kSpare = 6;

Plan plan_of(const SearchRequest& request, const Layout& layout, const std::string& schedule,
             const DeviceModel& device) {
  return build_plan({request.model, request.cluster, request.training, layout, schedule,
                     std::nullopt, request.calibration},
                    device.costs());
}

// Sets the memory of the fullest rank.
void measure_memory(ScoredPlan& scored, const Program& program, const Timeline& timeline,
                    const DeviceModel& device) {
  for (int rank = 0; rank < scored.plan.layout.pp; ++rank) {
    const MemoryTable memory =
        rank_memory(scored.plan, device.device(), program, timeline, Rank(rank));
    if (rank == 0 || memory.total() > scored.memory.total()) {
      scored.memory = memory;
      scored.fullest = Rank(rank);
    }
  }
}

void simulate(ScoredPlan& scored, const DeviceModel& device) {
  const Program program = lower(scored.plan);
  Timeline timeline;
  try {
    timeline = predict(scored.plan, program, device, {}).timeline;
  } catch (const TooManyInstructions&) {
    timeline = predict(scored.plan, program, device, {.fidelity = Fidelity::kAnalytic}).timeline;
  }
  scored.step = timeline.step;
  scored.fidelity = timeline.source;
  measure_memory(scored, program, timeline, device);
}

void sort_by_step(std::vector<ScoredPlan>::iterator begin, std::vector<ScoredPlan>::iterator end) {
  std::stable_sort(begin, end,
                   [](const ScoredPlan& a, const ScoredPlan& b) { return a.step < b.step; });
}

class HostSearch {
 public:
  HostSearch(const SearchRequest& request, const DeviceModel& device)
      : request_(request), device_(device) {}

  SearchResult run(const ProgressCallback& progress) {
    const LayoutSpace& space = request_.space;
    for (const std::string& name : space.schedule) schedule_family(name);
    for (std::int64_t number = 0; number < space.settings(); ++number) {
      if (progress) progress(number, space.settings());
      Setting setting = setting_at(space, number);
      if (const auto why =
              rule_out(request_.model, request_.cluster, request_.training, true, setting)) {
        reject(*why, space.points_a_setting(), setting.layout, "", {});
        continue;
      }
      for (const int vpp : space.vpp) {
        for (const std::string& schedule : space.schedule) look_at(setting, schedule, vpp);
      }
    }
    if (progress) progress(space.settings(), space.settings());
    return std::move(result_);
  }

 private:
  void look_at(const Setting& setting, const std::string& schedule, int vpp) {
    Layout layout = setting.layout;
    layout.vpp = vpp;
    const std::vector<StateChoice> states = request_.space.states();
    const auto points = static_cast<std::int64_t>(request_.space.comm_sms.size() * states.size());
    if (const auto why = rule_out(request_.model, setting, schedule, vpp))
      return reject(*why, points, layout, schedule, {});
    for (const int comm_sms : request_.space.comm_sms) {
      for (const StateChoice& state : states) {
        layout.comm_sms = comm_sms;
        apply(state, layout);
        ScoredPlan scored;
        scored.schedule = schedule;
        scored.plan = plan_of(request_, layout, schedule, device_);
        simulate(scored, device_);
        scored.score = scored.step;
        if (!scored.memory.fits()) {
          reject(kExceedsMemory, 1, scored.plan.layout, schedule,
                 memory_arithmetic(scored.memory, scored.fullest));
          continue;
        }
        ++result_.scored;
        ++result_.simulated;
        ++result_.finalists;
        result_.plans.push_back(std::move(scored));
      }
    }
  }
  void reject(const char* reason, std::int64_t points, const Layout& layout,
              const std::string& schedule, std::string arithmetic) {
    result_.rejected[reason] += points;
    result_.examples.try_emplace(reason, RejectedPoint{layout, schedule, std::move(arithmetic)});
  }

  const SearchRequest& request_;
  const DeviceModel& device_;
  SearchResult result_;
};

// What a simulation came to, as it goes from one process to another.
struct Simulated {
  Seconds step;
  MemoryTable memory;
  Rank fullest;
  bool contended = false;
};
static_assert(std::is_trivially_copyable_v<Simulated>);

// Simulates `plans`, shared among the processes of the crew.
void simulate_all(std::span<ScoredPlan> plans, Crew* crew, const DeviceModel& device) {
  const bool alone = crew == nullptr || crew->size() == 1;
  std::vector<std::size_t> own;
  for (std::size_t at = 0; at < plans.size(); ++at) {
    if (alone || crew->mine(at)) own.push_back(at);
  }
  const std::size_t at_once = alone ? std::max(1U, std::thread::hardware_concurrency()) : 1;
  const std::vector<std::string> results =
      in_children(own.size(), at_once, [&](std::size_t number) {
        ScoredPlan& scored = plans[own[number]];
        simulate(scored, device);
        const Simulated result{scored.step, scored.memory, scored.fullest,
                               scored.fidelity != kScored};
        return std::string(reinterpret_cast<const char*>(&result), sizeof result);
      });
  std::string packed;
  for (const std::string& result : results) packed += result;
  const std::vector<std::string> all = crew == nullptr ? std::vector{packed} : crew->share(packed);
  std::vector<std::size_t> taken(all.size(), 0);
  for (std::size_t at = 0; at < plans.size(); ++at) {
    const std::size_t owner = alone ? 0 : crew->owner(at);
    Simulated result;
    ORRERY_CHECK(all[owner].size() >= (taken[owner] + 1) * sizeof result, "a finalist is missing");
    std::memcpy(&result, all[owner].data() + taken[owner]++ * sizeof result, sizeof result);
    plans[at].step = result.step;
    plans[at].memory = result.memory;
    plans[at].fullest = result.fullest;
    plans[at].fidelity = result.contended ? kSimulated : kScored;
  }
}

SearchResult search_gpus(const SearchRequest& request, const DeviceModel& device,
                         const ProgressCallback& progress) {
  const LayoutProblem problem{request.model, request.cluster,      request.training,
                              request.space, request.top + kSpare, request.effort,
                              true,          request.crew,         request.front};
  LayoutsFound found = find_layouts(problem, device, progress);
  SearchResult result;
  result.rejected = std::move(found.rejected);
  result.examples = std::move(found.examples);
  result.pruned = found.pruned;
  result.scored = found.scored;
  result.truncated = found.truncated;
  std::size_t next = 0;
  const auto take = [&](int count) {
    std::vector<ScoredPlan> taken;
    for (; next < found.rows.size() && static_cast<int>(taken.size()) < count; ++next) {
      const FoundLayout& row = found.rows[next];
      taken.push_back({row.schedule, plan_of(request, row.layout, row.schedule, device), row.score,
                       row.score, 0, row.memory, row.fullest, "analytic"});
    }
    return taken;
  };
  // In the place of finalists that do not fit others are taken.
  const int top = request.front ? static_cast<int>(found.rows.size()) : request.top;
  const int finalists = std::min(request.finalists, top);
  while (result.finalists < finalists) {
    std::vector<ScoredPlan> plans = take(finalists - result.finalists);
    if (plans.empty()) break;
    simulate_all(plans, request.crew, device);
    for (ScoredPlan& scored : plans) {
      if (scored.memory.fits()) {
        ++result.finalists;
        result.simulated += scored.fidelity != kScored;
        result.plans.push_back(std::move(scored));
        continue;
      }
      --result.scored;
      ++result.rejected[kExceedsMemory];
      result.examples[kExceedsMemory] = {scored.plan.layout, scored.schedule,
                                         memory_arithmetic(scored.memory, scored.fullest)};
    }
  }
  for (ScoredPlan& scored : take(top - static_cast<int>(result.plans.size())))
    result.plans.push_back(std::move(scored));
  return result;
}

}  // namespace

SearchResult search_layouts(const SearchRequest& request, const DeviceModel& device,
                            const ProgressCallback& progress) {
  SearchResult result = device.host() != nullptr ? HostSearch(request, device).run(progress)
                                                 : search_gpus(request, device, progress);
  result.space = request.space.size();
  sort_by_step(result.plans.begin(), result.plans.begin() + result.finalists);
  if (!request.front && static_cast<int>(result.plans.size()) > request.top) {
    result.plans.erase(result.plans.begin() + request.top, result.plans.end());
  }
  const double steps = request.training.tokens > 0
                           ? request.training.tokens / request.training.tokens_per_step()
                           : 1;
  // All plans use the whole cluster, so GPU-hours and step time order them alike.
  for (ScoredPlan& plan : result.plans)
    plan.gpu_hours = plan.step.value() / 3600 * steps * request.cluster.gpus();
  for (auto& [reason, point] : result.examples) {
    if (point.arithmetic.empty()) {
      point.arithmetic =
          rejection_arithmetic(request.model, request.cluster, request.training, reason, point);
    }
  }
  return result;
}

}  // namespace orrery
