#include "planner/schedules/families.hpp"

#include <fmt/format.h>

#include <array>
#include <vector>

#include "core/suggest.hpp"
#include "planner/reject_input.hpp"
#include "planner/schedules/chimera.hpp"
#include "planner/schedules/dualpipe.hpp"
#include "planner/schedules/gpipe.hpp"
#include "planner/schedules/interleaved.hpp"
#include "planner/schedules/one_f_one_b.hpp"
#include "planner/schedules/rank_cells.hpp"
#include "planner/schedules/v_blocks.hpp"
#include "planner/schedules/zb_v.hpp"
#include "planner/schedules/zero_bubble.hpp"
#include "planner/schedules/zero_bubble_auto.hpp"

namespace orrery {
namespace {

constexpr CellForms kFull = {.full_backwards = true};
constexpr CellForms kSplit = {.split_backwards = true};
constexpr CellForms kPairsAndFull = {.pairs = true, .full_backwards = true};
constexpr CellForms kAll = {.pairs = true, .full_backwards = true, .split_backwards = true};

constexpr std::array kFamilies = {
    ScheduleFamily{"gpipe", "all forwards, then all backwards", StagePlacement::kOneChunk, kFull,
                   "any pp and m", gpipe, gpipe_why_not},
    ScheduleFamily{"1f1b", "one forward, one backward in turn; the fewest activations",
                   StagePlacement::kOneChunk, kFull, "pp at least 1; m at least 1", one_f_one_b,
                   one_f_one_b_why_not},
    ScheduleFamily{"1f1b-eager", "1f1b that takes in twice as many forwards, to hide latency",
                   StagePlacement::kOneChunk, kFull, "any pp and m", eager_one_f_one_b,
                   eager_one_f_one_b_why_not},
    ScheduleFamily{"interleaved", "1f1b with several chunks a rank: a bubble of one chunk's time",
                   StagePlacement::kWave, kFull, "m a multiple of pp; chunks at least 2",
                   interleaved, interleaved_why_not},
    ScheduleFamily{"interleaved-overlap",
                   "interleaved with forwards and backwards overlapped in pairs",
                   StagePlacement::kWave, kPairsAndFull,
                   "m a multiple of pp and more than pp; chunks at least 2", interleaved_overlap,
                   interleaved_overlap_why_not},
    ScheduleFamily{"zb-h1", "weight gradients split off to fill waits; activations as 1f1b",
                   StagePlacement::kOneChunk, kSplit, "any pp and m", zb_h1, zb_h1_why_not},
    ScheduleFamily{"zb-h2", "the same with twice the activations: no wait but for the barrier",
                   StagePlacement::kOneChunk, kSplit, "any pp and m", zb_h2, zb_h2_why_not},
    ScheduleFamily{"zb-auto", "zero-bubble schedule for given times and memory, by rules",
                   StagePlacement::kOneChunk, kSplit, "any pp and m", zb_auto, zb_auto_why_not},
    ScheduleFamily{"zb-2p", "the same, on every rank as many forwards as fit in twice the memory",
                   StagePlacement::kOneChunk, kSplit, "any pp and m", zb_2p, zb_2p_why_not},
    ScheduleFamily{"zb-v", "zero bubble on two chunks a rank placed as a V; memory as 1f1b",
                   StagePlacement::kV, kSplit, "any pp and m", zb_v, zb_v_why_not},
    ScheduleFamily{"v-half", "a repeated block on a V that holds half of 1f1b's activations",
                   StagePlacement::kV, kSplit, "any pp and m", v_half, v_half_why_not},
    ScheduleFamily{"v-min", "a repeated block on a V that holds a third of 1f1b's activations",
                   StagePlacement::kV, kSplit, "any pp and m", v_min, v_min_why_not},
    ScheduleFamily{"chimera", "1f1b from both ends, merged slot by slot; parameters twice",
                   StagePlacement::kBidirectional, kFull, "pp even; m a multiple of pp", chimera,
                   chimera_why_not},
    ScheduleFamily{
        "dualpipe",
        "micro-batches from both ends, forwards overlapped with backwards; parameters twice",
        StagePlacement::kBidirectional, kAll, "pp even; m even and at least 2 pp", dualpipe,
        dualpipe_why_not, dualpipe_p2p},
    ScheduleFamily{"dualpipev", "dualpipe cut in half and folded to a V: parameters once",
                   StagePlacement::kV, kAll, "m at least 2 pp", dualpipe_v, dualpipe_v_why_not,
                   dualpipe_v_p2p},
};

}  // namespace

Schedule place_stages(const ScheduleFamily& family, const ScheduleRequest& request) {
  switch (family.placement) {
    case StagePlacement::kOneChunk: return one_chunk_schedule(family.name, request);
    case StagePlacement::kWave: return wave_schedule(family.name, request, request.chunks);
    case StagePlacement::kV: return v_schedule(family.name, request);
    case StagePlacement::kBidirectional: return bidirectional_schedule(family.name, request);
  }
  return {};
}

std::span<const ScheduleFamily> schedule_families() {
  return kFamilies;
}

const ScheduleFamily& schedule_family(std::string_view name) {
  std::vector<std::string> names;
  for (const ScheduleFamily& family : kFamilies) {
    if (family.name == name) return family;
    names.emplace_back(family.name);
  }
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) hint = fmt::format("there are: {}", fmt::join(names, ", "));
  reject_input(fmt::format("unknown schedule '{}'", name), hint);
}

Schedule make_schedule(std::string_view name, const ScheduleRequest& request) {
  return schedule_family(name).generate(request);
}

Schedule make_schedule(std::string_view name, int pp, int microbatches) {
  return make_schedule(name, ScheduleRequest{.pp = pp, .microbatches = microbatches});
}

std::string_view to_string(StagePlacement placement) {
  switch (placement) {
    case StagePlacement::kOneChunk: return "one chunk a rank";
    case StagePlacement::kWave: return "several chunks a rank, in waves";
    case StagePlacement::kV: return "two chunks a rank, as a V";
    case StagePlacement::kBidirectional: return "two stages a rank, one a direction";
  }
  return "?";
}

std::vector<Schedule> schedules_on_placement_of(std::string_view name,
                                                const ScheduleRequest& request) {
  std::vector<Schedule> schedules;
  const ScheduleFamily& own = schedule_family(name);
  if (!own.why_not(request)) schedules.push_back(own.generate(request));
  for (const ScheduleFamily& family : kFamilies) {
    if (family.placement != own.placement || family.name == own.name || family.why_not(request))
      continue;
    schedules.push_back(family.generate(request));
  }
  return schedules;
}

P2pOrder p2p_order(const Schedule& schedule) {
  for (const ScheduleFamily& family : kFamilies) {
    if (family.p2p == nullptr || family.name != schedule.family) continue;
    const ScheduleRequest request{.pp = schedule.pp(), .microbatches = schedule.microbatches};
    if (!family.why_not(request) && family.generate(request) == schedule)
      return family.p2p(request);
  }
  return default_p2p_order(schedule);
}

}  // namespace orrery
