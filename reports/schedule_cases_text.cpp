#include "reports/schedule_cases_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/stage_map.hpp"
#include "reports/number.hpp"
#include "reports/schedule_change_text.hpp"

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
of a forward on s to its input gradient, rest(s) to the end of the micro-batch's last cell, drain(s) to that end from the
end of its input gradient on s, N the forwards of a rank d, A the activations that it may hold, T the length of a pair where
that is less than F + I + W:

    warm-up     min over k <= A of  max(G_d, head_d + k F) + (N - k) T + k (I + W)
                before G_d only forwards can run, alone; each of them leaves a backward without a partner
    cool-down   max(0, toB_d - (A-1)(I+W), rest_d - A(I+W), drain_d - A W), added (the middle two where N > A)
                after the last forward at most A micro-batches are left to work on, after the last input gradient at
                most A weight gradients
    latency     head_d + sum over the stages of d of N (F + toB + I + W) / A
                activations live from F to W, and at most A live at once (Little's law)

Where memory counts in bytes, A is what fits at the most, k forwards have to fit as they are, and activations are weighed by
the bytes that each keeps at the least. I + W is a full backward B where that is shorter. The largest over all ranks counts,
and the way of one micro-batch there and back. Uneven stages: every minimum is taken at its best for the schedule, so that
the bound holds and is weaker; of the pairs of two chunks the assignment that saves most, where every backward goes with one
forward. It is above none of the 2,191 makespans of the reference table and none of the searched schedules of a thousand
random problems (tests).
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

// The families, each on its own stages.
std::string families_text(const std::vector<PlanFamily>& families) {
  std::string text =
      "Every family by the times of its own cells, on the stage map that suits it; the bound is "
      "that of its stages and memory. Seconds.\n\n"
      "| family | cells | bound | gap | binds | fits 80 GB | step "
      "|\n|---|---|---|---|---|---|---|\n";
  std::string left_out;
  for (const PlanFamily& family : families) {
    if (family.why_not) {
      left_out += fmt::format("{}{}", left_out.empty() ? "" : ", ", family.name);
      continue;
    }
    text += fmt::format("| {} | {:.3f} | {:.3f} | {} | {} (rank {}) | {} | {:.3f} |\n", family.name,
                        family.cells, family.bound.makespan,
                        percent(gap_between(family.cells, family.bound.makespan)),
                        to_string(family.bound.binding), family.bound.rank,
                        family.fits ? "yes" : "no", family.step.value());
  }
  if (!left_out.empty()) text += fmt::format("\nNot of this size: {}.\n", left_out);
  return text;
}

std::string plan_section(const PlanScheduleRows& rows) {
  constexpr std::size_t kShown = 10;
  const JointSearch& joint = rows.joint;
  const JointTry& best = joint.tries[joint.best];
  const JointTry& family = joint.tries[joint.best_family];
  const std::string name = rows.plan.schedule.family;
  std::string text = fmt::format("\n## {}\n\n", rows.title);
  text += families_text(rows.families);
  text +=
      "\nStage map and schedule searched together. Cells: times of the plan's own simulation "
      "without "
      "contention (uneven stages, every\npair of the chunks of a rank, the moments at which "
      "outputs "
      "leave, messages), memory in bytes. Step: on SimGrid, with contention\nand optimizer. "
      "Seconds.\n\n";
  text += fmt::format(
      "| stage map | cells, {0} | searched | bound | of the gap closed | step, {0} | step, "
      "searched "
      "|\n|---|---|---|---|---|---|---|\n",
      name);
  for (std::size_t number = 0; number < std::min(kShown, joint.tries.size()); ++number) {
    const JointTry& tried = joint.tries[number];
    text += fmt::format("| {} | {:.3f} | ", escaped(format_stage_map(tried.map)), tried.family);
    if (tried.whole) {
      const PlanScheduleSearch& own = *tried.whole;
      text += fmt::format("**{:.3f}** | {:.3f}, {} (rank {}) | {} | {:.3f} | {} |\n",
                          own.search.makespan, own.search.bound.makespan,
                          to_string(own.search.bound.binding), own.search.bound.rank,
                          percent((own.cells_before - own.search.makespan) /
                                  (own.cells_before - own.search.bound.makespan)),
                          own.before.value(),
                          own.fits ? fmt::format("**{:.3f}** ({})", own.after.value(),
                                                 signed_percent(own.after / own.before - 1))
                                   : "none found fits");
    } else if (tried.searched > 0) {
      text += fmt::format("{:.3f}, briefly | {:.3f} | | | |\n", tried.searched, tried.bound);
    } else {
      text += fmt::format("not searched | {:.3f} | | | |\n", tried.bound);
    }
  }
  text += fmt::format(
      "\n{} stage maps near the plan's were looked at: all that come of moving one layer between "
      "neighbours or to an end, as long as\n{} gets shorter. A map is not searched where its bound "
      "is above what was found on another, or where it does not fit.\n\n"
      "**Gained:** {}'s best is {:.3f} s of cells (`{}`), the best found {:.3f} s (`{}`). ",
      joint.tries.size(), name, name, family.family, format_stage_map(family.map), best.searched,
      format_stage_map(best.map));
  const double least = std::min(rows.bound.least, best.searched);
  text += fmt::format(
      "No schedule whose activations fit is shorter than {:.3f} s on any stage map of all, however "
      "uneven: {} of that gap is closed.\n",
      least, percent((family.family - best.searched) / (family.family - least)));
  if (!rows.bound.maps.empty()) {
    text += fmt::format("That bound is of `{}`, where it takes each rank by itself.\n",
                        format_stage_map(rows.bound.maps.front().map));
  }
  if (best.whole && best.whole->better()) {
    text += fmt::format(
        "\n**Changed**, on the best map, from {} to the schedule with the shortest step of those "
        "found (of which the\nshortest by its cells was annealed from \"{}\"):\n\n",
        name, best.whole->search.start);
    text += schedule_change_text(rows.plan.schedule, best.whole->plan.schedule, best.whole->times);
  }
  return text;
}

std::string speed_section(const std::vector<EvaluationSpeed>& speeds) {
  std::string text =
      "\n## Reproduction and speed\n\n"
      "All 1,575 rows of the reference table that follow from the descriptions of their schedules "
      "are reproduced to 1e-9 (times) and\n1e-6 (fractions), and all 616 of the public "
      "zero-bubble scheduler are met or beaten with the activations that they hold: tests\n"
      "on every commit, `tests/planner/schedules/reference_test.cpp` and `search_test.cpp`. "
      "Schedules timed a second, on one core of the\nmachine that wrote this:\n\n"
      "| dualpipe, p x m | cell graph | arrays of the search | ZB-H1 proven optimal in |\n"
      "|---|---|---|---|\n";
  for (const EvaluationSpeed& speed : speeds) {
    text += fmt::format("| {} x {} | {} | {} | {:.3f} ms |\n", speed.pp, speed.microbatches,
                        grouped(std::round(speed.graphs)), grouped(std::round(speed.arrays)),
                        1e3 * speed.proof);
  }
  return text;
}

}  // namespace

bool all_met(const std::vector<ScheduleCaseRow>& rows) {
  return std::all_of(rows.begin(), rows.end(), is_met);
}

std::string schedule_cases_text(const std::vector<ScheduleCaseRow>& rows,
                                const PlanScheduleRows& plan,
                                const std::vector<EvaluationSpeed>& speeds, long effort) {
  std::string text = fmt::format(
      "# Schedules: searched next to published\n\nWritten by `orrery validate --suite schedules{} "
      "-o "
      "reports/schedules.md`;\nequal efforts give equal figures, but for seconds and speeds.\n",
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
            "the last 1.4; ramp, 0.8 to\n1.2; zigzag, 1.15 and 0.85 in turn. In brackets the gaps "
            "of the "
            "families that fit to the bound.\n\n";
        text +=
            "| stages | p x m | F, I, W | F&B | c | held | families | searched | bound | gap | "
            "binds "
            "| orders timed | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
      } else {
        text +=
            "| p x m | F, I, W | F&B | c | held | published | searched | | bound | gap | binds | "
            "orders timed | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
      }
    }
    const std::string problem = fmt::format(
        "{} x {} | {}, {}, {} | {} | {} | {}", of.pp, of.microbatches, figure(of.F), figure(of.I),
        figure(of.W), figure((of.F + of.I + of.W) * of.overlap), figure(of.hop), figure(of.memory));
    const std::string bound =
        fmt::format("{} | {} | {} (rank {}) | {} | {:.1f}", figure(search.bound.makespan),
                    verdict(row), to_string(search.bound.binding), search.bound.rank,
                    grouped(static_cast<double>(search.evaluations)), row.wall_s);
    if (uneven) {
      std::string families;
      for (const auto& [name, makespan] : row.result.families)
        families +=
            fmt::format("{}{} {} ({})", families.empty() ? "" : ", ", name, figure(makespan),
                        percent(gap_between(makespan, search.bound.makespan)));
      text += fmt::format("| {}, {} | {} | {} | **{}** | {} |\n", of.kind, of.uneven, problem,
                          families, figure(search.makespan), bound);
    } else {
      text += fmt::format("| {} | {} {} | **{}** | {}{} | {} |\n", problem, of.published,
                          figure(of.figure), figure(search.makespan),
                          signed_percent(search.makespan / of.figure - 1),
                          is_met(row) ? "" : ", not met", bound);
    }
  }
  return text + plan_section(plan) + speed_section(speeds) + std::string(kHow);
}

}  // namespace orrery
