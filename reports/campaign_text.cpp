#include "reports/campaign_text.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/campaign/campaign_parts.hpp"
#include "reports/number.hpp"
#include "reports/table.hpp"

namespace orrery {
namespace {

std::string hours_text(double hours) {
  return hours < 100 ? fmt::format("{:.1f}", hours) : grouped(hours);
}

// "2,664,000", or "1,180 (295 to 4,720)".
std::string hours_text(const CostRange& hours) {
  if (hours.exact()) return hours_text(hours.middle);
  return fmt::format("{} ({} to {})", hours_text(hours.middle), hours_text(hours.low),
                     hours_text(hours.high));
}

// A line of the table: a piece of a phase, or something it does beside training.
struct Row {
  std::string name;
  const PricedPhase* phase = nullptr;
  const PricedPiece* piece = nullptr;  // null: nothing is trained
  CostRange tokens, gpu_hours;
};

std::vector<Row> rows_of(const Campaign& campaign) {
  std::vector<Row> rows;
  for (const PricedPhase& phase : campaign.phases) {
    const std::string& name = phase.phase.name;
    if (phase.phase.rl) {
      CostRange scored = phase.phase.tokens * phase.phase.rl->forward_passes;
      rows.push_back(
          {name + ", rollouts", &phase, nullptr, phase.phase.rl->written, phase.rollout_gpu_hours});
      rows.push_back({name + ", scoring", &phase, nullptr, scored, phase.forward_gpu_hours});
    }
    for (const PricedPiece& piece : phase.pieces) {
      rows.push_back({phase.phase.rl ? name + ", training" : name, &phase, &piece, piece.tokens,
                      piece.gpu_hours()});
    }
  }
  return rows;
}

std::string phases_table(const Campaign& campaign) {
  const std::vector<Row> rows = rows_of(campaign);
  std::vector<Column> columns;
  const auto add = [&](std::string title, bool left, auto cell, std::string absent = "") {
    Column& column = columns.emplace_back(Column{std::move(title), std::move(absent), left, {}});
    for (const Row& row : rows) column.cells.push_back(cell(row));
  };
  const auto trained = [&](std::string title, bool left, auto cell, std::string absent = "") {
    add(
        std::move(title), left,
        [&](const Row& row) {
          return row.piece == nullptr || !row.piece->best ? std::string("-")
                                                          : cell(*row.piece->best);
        },
        std::move(absent));
  };
  const auto number = [&](const char* title, int Layout::*of, const char* absent = "") {
    trained(
        title, false, [of](const ScoredPlan& plan) { return std::to_string(plan.plan.layout.*of); },
        absent);
  };
  add("phase", true, [](const Row& row) { return row.name; });
  add("GPUs", false, [](const Row& row) { return std::to_string(row.phase->cluster.gpus()); });
  add("sequence", false,
      [](const Row& row) { return row.piece ? std::to_string(row.phase->phase.sequence) : "-"; });
  add("batch", false, [](const Row& row) {
    return row.piece ? std::to_string(row.piece->training.global_batch) : "-";
  });
  add("tokens", false, [](const Row& row) { return compact_count(row.tokens.middle); });
  trained("step, s", false,
          [](const ScoredPlan& plan) { return fmt::format("{:.3f}", plan.step.value()); });
  const auto cost = [&](std::string title, auto cell) {
    add(std::move(title), false, [&](const Row& row) {
      return row.phase->feasible() ? cell(row, row.gpu_hours.middle) : std::string("-");
    });
  };
  cost("GPU-hours", [](const Row&, double hours) { return hours_text(hours); });
  cost("days", [](const Row& row, double hours) {
    return fmt::format("{:.2f}", hours / row.phase->cluster.gpus() / 24);
  });
  cost("cost", [&](const Row&, double hours) {
    return money(campaign.cluster.price_per_gpu_hour * hours);
  });
  number("pp", &Layout::pp);
  number("tp", &Layout::tp);
  number("cp", &Layout::cp);
  number("ep", &Layout::ep, campaign.model.moe.experts > 0 ? "" : "1");
  number("dp", &Layout::dp);
  trained("schedule", true, [](const ScoredPlan& plan) { return plan.schedule; });
  trained("memory, GiB", false, [](const ScoredPlan& plan) {
    return fmt::format("{:.1f}", in_gibibytes(plan.memory.total()));
  });
  trained("fidelity", true, [](const ScoredPlan& plan) { return plan.fidelity; });
  return table_text(columns, rows.size());
}

double days_of(const Campaign& campaign) {
  double days = 0;
  for (const PricedPhase& phase : campaign.phases)
    days += phase.gpu_hours().middle / phase.cluster.gpus() / 24;
  return days;
}

std::string published_table(const Campaign& campaign) {
  const std::vector<CampaignPart> parts = campaign_parts(campaign);
  if (parts.empty()) return "";
  const bool laid_out = std::any_of(
      parts.begin(), parts.end(), [](const CampaignPart& part) { return part.as_run.has_value(); });
  std::vector<Column> columns;
  const auto add = [&](std::string title, bool left, auto cell) {
    Column& column = columns.emplace_back(Column{std::move(title), "", left, {}});
    for (const CampaignPart& part : parts) column.cells.push_back(cell(part));
  };
  const auto error = [](const CostRange& hours, double published) {
    if (hours.exact()) return signed_percent(hours.middle / published - 1);
    return std::string(published < hours.low || published > hours.high ? "outside" : "inside");
  };
  add("GPU-hours", true, [](const CampaignPart& part) { return part.name; });
  add("published", false, [](const CampaignPart& part) { return hours_text(part.published); });
  if (laid_out) {
    add("as it was laid out", false, [](const CampaignPart& part) {
      return part.as_run ? hours_text(*part.as_run) : "not known";
    });
    add("error", false, [&](const CampaignPart& part) {
      return part.as_run ? error(*part.as_run, part.published) : "-";
    });
  }
  add("best layouts", false, [](const CampaignPart& part) { return hours_text(part.best); });
  add("error", false, [&](const CampaignPart& part) { return error(part.best, part.published); });
  add("source", true, [](const CampaignPart& part) { return part.source; });
  return "Beside what was published (no input of the above; without failures)\n" +
         table_text(columns, parts.size()) + "\n";
}

std::string duration(Seconds time) {
  if (time >= Seconds{2 * 86400}) return fmt::format("{:.1f} days", time.value() / 86400);
  if (time >= Seconds{2 * 3600}) return fmt::format("{:.1f} h", time.value() / 3600);
  if (time >= Seconds{120}) return fmt::format("{:.1f} min", time.value() / 60);
  return fmt::format("{:.1f} s", time.value());
}

std::string goodput_text(const Campaign& campaign, const CampaignGoodput* goodput) {
  if (goodput == nullptr)
    return fmt::format("Failures: not counted, {} has no [reliability]\n", campaign.cluster.name);
  // The phase that takes the longest stands for the others.
  const auto longest = std::max_element(
      goodput->phases.begin(), goodput->phases.end(),
      [](const PhaseGoodput& a, const PhaseGoodput& b) { return a.work < b.work; });
  const PhaseGoodput& own = *longest;
  const PricedPhase& phase =
      campaign.phases[static_cast<std::size_t>(longest - goodput->phases.begin())];
  std::string text = fmt::format(
      "With failures ({})\n"
      "  a failure        every {} on {} GPUs in {} nodes; {} to start again\n"
      "  checkpoints      {:.2f} TB in {}, every {} of work (Daly: {}; Young: {})\n",
      campaign.cluster.reliability->basis, duration(own.recovery.mtbf), phase.cluster.gpus(),
      phase.cluster.nodes, duration(own.recovery.restart), goodput->checkpoint.value() / 1e12,
      duration(own.recovery.save), duration(own.interval), duration(daly_interval(own.recovery)),
      duration(young_interval(own.recovery)));
  text += fmt::format(
      "  GPU-hours        {} expected (closed form, {}); runs drawn: {}, mean {}, p10 {}, p50 {}, "
      "p90 {}\n"
      "  goodput          {} of the GPU-hours train; {:.1f} failures a run\n\n",
      grouped(goodput->gpu_hours),
      signed_percent(goodput->gpu_hours / campaign.gpu_hours().middle - 1), goodput->runs,
      grouped(goodput->mean), grouped(goodput->p10), grouped(goodput->p50), grouped(goodput->p90),
      percent(goodput->goodput(campaign)), goodput->failures);
  return text;
}

}  // namespace

std::string campaign_text(const Campaign& campaign, const CampaignGoodput* goodput) {
  std::string text = fmt::format(
      "{}: {} on {} ({} GPUs at ${:g} an hour)\n\n", campaign.recipe.name, campaign.model.name,
      campaign.cluster.name, campaign.cluster.gpus(), campaign.cluster.price_per_gpu_hour.value());
  text += phases_table(campaign);
  for (const PricedPhase& phase : campaign.phases) {
    for (const PricedPiece& piece : phase.pieces) {
      if (!piece.best)
        text += fmt::format("\n{}, batch {}: no layout is feasible\n  {}\n", phase.phase.name,
                            grouped(piece.training.global_batch), piece.why_not);
    }
  }
  if (!campaign.feasible()) return text;
  const CostRange hours = campaign.gpu_hours();
  text += fmt::format("\n  in all {} GPU-hours, {:.1f} days, {}\n\n", hours_text(hours),
                      days_of(campaign), money(campaign.cluster.price_per_gpu_hour * hours.middle));
  text += published_table(campaign);
  text += goodput_text(campaign, goodput);
  std::string assumed;
  for (const PricedPhase& phase : campaign.phases) {
    for (const std::string& assumption : phase.phase.assumptions)
      assumed += fmt::format("  {}: {}\n", phase.phase.name, assumption);
  }
  if (!assumed.empty()) text += "The recipe assumes\n" + assumed;
  return text;
}

}  // namespace orrery
