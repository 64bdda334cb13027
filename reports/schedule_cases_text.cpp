#include "reports/schedule_cases_text.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "reports/number.hpp"

namespace orrery {
namespace {

std::string figure(double value) {
  return fmt::format("{:.6g}", value);
}

bool is_met(const ScheduleCaseRow& row) {
  return row.of.figure == 0 || row.result.search.makespan <= row.of.figure * (1 + 1e-9);
}

std::string verdict(const ScheduleCaseRow& row) {
  if (row.result.search.proven()) return "optimal";
  return percent(row.result.search.gap);
}

constexpr std::string_view kIntroduction =
    R"(
Every row is one problem: ranks x micro-batches, times of a rank's share (F forward, I input gradient, W weight gradient,
F&B a co-scheduled pair, c the latency of a message between ranks) and the activations that a rank may hold, in shares of
1/p of the model. The searched schedule has the same stages and holds no more. "Bound" is proven: no schedule of these
stages and activations is shorter; "gap" is the distance to it, and what binds it is named.

Published figures: makespans of the public orders of each family, and of a throw-away search (parametrised list scheduling
with local search), by an independent simulator (`tests/data/published/schedule-reference.csv`).
)";

constexpr std::string_view kHow = R"(
## The bound

With head(s) the earliest start of a forward on stage s, G(s) that of an input gradient, toB(s) the least time from the end
of a forward on s to its input gradient, rest(s) to the end of the micro-batch's last cell, N the forwards of a rank d, A
the activations that it may hold, T the length of a pair where that is less than F + I + W:

    warm-up     min over k <= A of  max(G_d, head_d + k F) + (N - k) T + k (I + W)
                before G_d only forwards can run, alone; each of them leaves a backward without a partner
    cool-down   max(0, toB_d - (A-1)(I+W), rest_d - A(I+W)), added where N > A
                after the last forward at most A micro-batches are left to work on
    latency     head_d + sum over the stages of d of N (F + toB + I + W) / A
                activations live from F to W, and at most A live at once (Little's law)

The largest over all ranks counts, and the way of one micro-batch there and back. Uneven stages: every minimum and every
saving is taken at its best for the schedule, so that the bound holds and is weaker. It is above none of the 2,191
makespans of the reference table and none of the searched schedules of a thousand random problems (tests).
)";

// A bar would end the cell of a table.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char letter : text) {
    if (letter == '|') out += '\\';
    out += letter;
  }
  return out;
}

std::string plan_section(const PlanScheduleRows& plan) {
  std::string text = fmt::format("\n## {}\n\n", plan.title);
  text +=
      "Cell times of the plan's own simulation without contention: uneven stages, pairs with the "
      "moments at which their outputs\nleave, messages. \"Step\" is the whole step on SimGrid with "
      "contention, optimizer included; \"none found fits\": weight gradients that\nwait keep their "
      "operands, which the count of activations leaves out. All in seconds.\n\n"
      "| stage map | held | DualPipe | searched | bound | of the gap closed | binds | step, "
      "DualPipe | "
      "step, searched |\n|---|---|---|---|---|---|---|---|---|\n";
  for (const PlanScheduleRow& row : plan.rows) {
    text += fmt::format("| {} | {} | {:.3f} | ", escaped(row.stage_map), row.held, row.family);
    if (row.search) {
      const PlanScheduleSearch& own = *row.search;
      const std::string after = own.fits ? fmt::format("**{:.3f}** ({})", own.after.value(),
                                                       signed_percent(own.after / own.before - 1))
                                         : "none found fits";
      text += fmt::format(
          "**{:.3f}** | {:.3f} | {} | {} (rank {}) | {:.3f} | {} |\n", own.search.makespan,
          row.bound, percent((row.family - own.search.makespan) / (row.family - row.bound)),
          to_string(own.search.bound.binding), own.search.bound.rank, own.before.value(), after);
    } else {
      text += fmt::format("not searched | {:.3f} | | | | |\n", row.bound);
    }
  }
  text += fmt::format(
      "\n{} stage maps were looked at: all that come of moving one layer between neighbours or to "
      "an "
      "end, as long as DualPipe\ngets shorter. On none of them any schedule with DualPipe's "
      "activations is shorter than {:.3f} s.\n",
      plan.maps, plan.least_bound);
  return text;
}

}  // namespace

bool all_met(const std::vector<ScheduleCaseRow>& rows) {
  return std::all_of(rows.begin(), rows.end(), is_met);
}

std::string schedule_cases_text(const std::vector<ScheduleCaseRow>& rows,
                                const PlanScheduleRows& plan, long effort) {
  std::string text = fmt::format(
      "# Schedules: searched next to published\n\nWritten by `orrery validate --suite schedules{} "
      "-o "
      "reports/schedules.md`; equal efforts give equal figures.\n",
      effort > 0 ? fmt::format(" --effort {}", effort) : "");
  text += kIntroduction;
  std::string_view group;
  for (const ScheduleCaseRow& row : rows) {
    const ScheduleCase& of = row.of;
    const ScheduleSearchResult& search = row.result.search;
    const bool uneven = !of.uneven.empty();
    if (of.group != group) {
      group = of.group;
      text += fmt::format("\n## {}\n\n", group);
      if (uneven) {
        text +=
            "Nobody has published figures for these. Factors of the stages: ends, the first 1.3 "
            "and "
            "the last 1.4; ramp, 0.8 to\n1.2; zigzag, 1.15 and 0.85 in turn.\n\n";
        text +=
            "| stages | p x m | F, I, W | F&B | c | held | families | searched | bound | gap | "
            "binds "
            "| orders timed |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
      } else {
        text +=
            "| p x m | F, I, W | F&B | c | held | published | searched | | bound | gap | binds | "
            "orders timed |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
      }
    }
    const std::string problem = fmt::format(
        "{} x {} | {}, {}, {} | {} | {} | {}", of.pp, of.microbatches, figure(of.F), figure(of.I),
        figure(of.W), figure((of.F + of.I + of.W) * of.overlap), figure(of.hop), figure(of.memory));
    const std::string bound =
        fmt::format("{} | {} | {} (rank {}) | {}", figure(search.bound.makespan), verdict(row),
                    to_string(search.bound.binding), search.bound.rank,
                    grouped(static_cast<double>(search.evaluations)));
    if (uneven) {
      std::string families;
      for (const auto& [name, makespan] : row.result.families)
        families += fmt::format("{}{} {}", families.empty() ? "" : ", ", name, figure(makespan));
      text += fmt::format("| {}, {} | {} | {} | **{}** | {} |\n", of.kind, of.uneven, problem,
                          families, figure(search.makespan), bound);
    } else {
      text += fmt::format("| {} | {} {} | **{}** | {}{} | {} |\n", problem, of.published,
                          figure(of.figure), figure(search.makespan),
                          signed_percent(search.makespan / of.figure - 1),
                          is_met(row) ? "" : ", not met", bound);
    }
  }
  return text + plan_section(plan) + std::string(kHow);
}

}  // namespace orrery
