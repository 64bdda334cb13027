#include "planner/schedules/dualpipe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/schedules/dual_phases.hpp"
#include "planner/schedules/rank_cells.hpp"

namespace orrery {
namespace {

struct Dual {
  Schedule schedule;
  P2pOrder p2p;
};

Dual make_dualpipe(const ScheduleRequest& request) {
  const int p = request.pp;
  const int half = request.microbatches / 2;
  Dual dual{bidirectional_schedule("dualpipe", request), {}};
  for (int rank = 0; rank < p; ++rank) {
    const int near = rank < p / 2 ? 0 : 1;  // direction
    const int far = 1 - near;
    DualCells made = dual_phases(dual.schedule, Rank{rank},
                                 {std::min(rank, p - 1 - rank),
                                  p / 2,
                                  half,
                                  {ChunkId{near}, ChunkId{far}},
                                  {near * half, far * half}});
    dual.schedule.ranks[static_cast<std::size_t>(rank)] = std::move(made.cells);
    dual.p2p.batches.push_back(std::move(made.batches));
  }
  return dual;
}

Dual make_dualpipe_v(const ScheduleRequest& request) {
  Dual dual{v_schedule("dualpipev", request), {}};
  for (int rank = 0; rank < request.pp; ++rank) {
    DualCells made =
        dual_phases(dual.schedule, Rank{rank},
                    {rank, request.pp, request.microbatches, {ChunkId{0}, ChunkId{1}}, {0, 0}});
    dual.schedule.ranks[static_cast<std::size_t>(rank)] = std::move(made.cells);
    dual.p2p.batches.push_back(std::move(made.batches));
  }
  return dual;
}

void refuse_dualpipe(const ScheduleRequest& request) {
  refuse(dualpipe_why_not(request),
         request.pp < 2 || request.pp % 2 != 0
             ? "choose an even pp, or a schedule of one direction such as 1f1b"
             : "choose a smaller pp or more micro-batches (a larger global batch or a "
               "smaller dp), or a schedule such as 1f1b");
}

void refuse_dualpipe_v(const ScheduleRequest& request) {
  refuse(dualpipe_v_why_not(request),
         "choose a smaller pp or more micro-batches (a larger global batch or a smaller dp), or a "
         "schedule such as 1f1b");
}

}  // namespace

std::optional<std::string> dualpipe_why_not(const ScheduleRequest& request) {
  const int pp = request.pp;
  const int microbatches = request.microbatches;
  if (pp < 2 || pp % 2 != 0) {
    return fmt::format("dualpipe needs an even number of pipeline ranks, at least 2, not pp={}",
                       pp);
  }
  if (microbatches / 2 < pp || microbatches % 2 != 0) {
    return fmt::format(
        "dualpipe needs an even number of micro-batches, at least 2*pp = {} for pp={}, not {}",
        2LL * pp, pp, microbatches);
  }
  return std::nullopt;
}

Schedule dualpipe(const ScheduleRequest& request) {
  refuse_dualpipe(request);
  return make_dualpipe(request).schedule;
}

Schedule dualpipe(int pp, int microbatches) {
  return dualpipe({.pp = pp, .microbatches = microbatches});
}

P2pOrder dualpipe_p2p(const ScheduleRequest& request) {
  refuse_dualpipe(request);
  return make_dualpipe(request).p2p;
}

std::optional<std::string> dualpipe_v_why_not(const ScheduleRequest& request) {
  if (auto reason = no_room("dualpipev", request)) return reason;
  if (request.microbatches / 2 < request.pp) {
    return fmt::format("dualpipev needs at least 2*pp = {} micro-batches for pp={}, not {}",
                       2LL * request.pp, request.pp, request.microbatches);
  }
  return std::nullopt;
}

Schedule dualpipe_v(const ScheduleRequest& request) {
  refuse_dualpipe_v(request);
  return make_dualpipe_v(request).schedule;
}

P2pOrder dualpipe_v_p2p(const ScheduleRequest& request) {
  refuse_dualpipe_v(request);
  return make_dualpipe_v(request).p2p;
}

}  // namespace orrery
