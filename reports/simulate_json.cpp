#include "reports/simulate_json.hpp"

#include <nlohmann/json.hpp>

#include "core/stage_map.hpp"
#include "planner/campaign/campaign_parts.hpp"
#include "planner/plan_schedule_search.hpp"

namespace orrery {
namespace {

using Json = nlohmann::ordered_json;

Json breakdown(const Breakdown& time) {
  return {{"F_s", time.F.value()},
          {"I_s", time.I.value()},
          {"W_s", time.W.value()},
          {"FB_s", time.FB.value()},
          {"bubble_s", time.bubble.value()},
          {"optimizer_s", time.optimizer.value()},
          {"exposed_comm_s", time.exposed_comm.value()},
          {"wait_s", time.wait.value()}};
}

Json memory(const MemoryTable& table) {
  return {{"weights", in_gibibytes(table.weights)},
          {"gradients", in_gibibytes(table.gradients)},
          {"optimizer", in_gibibytes(table.optimizer)},
          {"ema", in_gibibytes(table.ema)},
          {"activations", in_gibibytes(table.activations)},
          {"buffers", in_gibibytes(table.buffers)},
          {"reserve", in_gibibytes(table.reserve)},
          {"total", in_gibibytes(table.total())},
          {"capacity", in_gibibytes(table.capacity)}};
}

Json layout_json(const Layout& layout) {
  return {{"pp", layout.pp},
          {"tp", layout.tp},
          {"cp", layout.cp},
          {"ep", layout.ep},
          {"etp", layout.etp},
          {"dp", layout.dp},
          {"vpp", layout.vpp},
          {"zero", layout.zero_stage},
          {"mbs", layout.micro_batch},
          {"comm_sms", layout.comm_sms},
          {"precision", std::string(to_string(layout.precision))},
          {"recompute", std::string(to_string(layout.recompute))},
          {"optimizer", std::string(to_string(layout.optimizer))},
          {"ema", std::string(to_string(layout.ema))},
          {"stage_map", format_stage_map(layout.stage_map)}};
}

Json assumed(const AssumedFigures& figures) {
  Json list = Json::array();
  for (const AssumedFigure& figure : figures)
    list.push_back({{"name", figure.name}, {"reason", figure.reason}});
  return list;
}

Json schedule_search_json(const PlanScheduleSearch& searched) {
  const ScheduleSearchResult& search = searched.search;
  return {{"cells_before_s", searched.cells_before},
          {"cells_s", search.makespan},
          {"lower_bound_s", search.bound.makespan},
          {"binding", std::string(to_string(search.bound.binding))},
          {"gap", search.gap},
          {"evaluations", search.evaluations},
          {"step_before_s", searched.before.value()},
          {"step_time_s", searched.after.value()},
          {"memory_before_bytes", searched.memory_before.total().value()},
          {"memory_bytes", searched.memory_after.total().value()},
          {"taken", searched.better()}};
}

Json scored_json(const SearchRequest& request, const ScoredPlan& plan) {
  Json entry = {{"layout", layout_json(plan.plan.layout)},
                {"schedule", plan.schedule},
                {"score_s", plan.score.value()},
                {"step_time_s", plan.step.value()}};
  entry["gpus"] = plan.plan.cluster.gpus();
  if (request.training.tokens > 0) entry["gpu_hours"] = plan.gpu_hours;
  entry["memory_gib"] = memory(plan.memory);
  entry["fidelity"] = plan.fidelity;
  if (plan.searched != nullptr) entry["schedule_search"] = schedule_search_json(*plan.searched);
  return entry;
}

// What became of the points of a space.
Json counts_json(const SearchResult& result) {
  Json rejected = Json::object();
  for (const auto& [reason, count] : result.rejected) rejected[reason] = count;
  return {{"space", result.space},         {"rejected", std::move(rejected)},
          {"pruned", result.pruned},       {"scored", result.scored},
          {"simulated", result.simulated}, {"truncated", result.truncated}};
}

Json links_json(const std::vector<LinkUse>& links) {
  Json list = Json::array();
  for (const LinkUse& link : links) {
    list.push_back({{"like", link.name},
                    {"links", link.count},
                    {"capacity_bytes_per_s", link.capacity.value()},
                    {"bytes", link.bytes},
                    {"load_mean", link.mean()},
                    {"load", link.load}});
  }
  return list;
}

Json collectives_json(const std::vector<CollectiveUse>& collectives) {
  Json list = Json::array();
  for (const CollectiveUse& use : collectives) {
    list.push_back({{"name", use.name},
                    {"pattern", to_string(use.wire.pattern)},
                    {"gpus", use.wire.group},
                    {"gpus_per_node", use.wire.in_node},
                    {"bytes_sent", use.wire.logical.value()},
                    {"method", use.method},
                    {"alone_s", use.alone.value()}});
  }
  return list;
}

Json timing_json(const RunTiming& timing) {
  return {{"wall_s", timing.wall_s}, {"cpu_s", timing.cpu_s}};
}

Json sensitivity_json(const Sensitivity& sensitivity) {
  Json inputs = Json::array();
  for (const KnobEffect& effect : sensitivity.effects) {
    inputs.push_back({{"input", std::string(to_string(effect.knob))},
                      {"deviation", effect.deviation},
                      {"elasticity", effect.elasticity},
                      {"faster_s", effect.faster.value()},
                      {"slower_s", effect.slower.value()}});
  }
  return {{"step_time_s", sensitivity.step.value()}, {"samples", sensitivity.samples},
          {"p10_s", sensitivity.p10.value()},        {"p50_s", sensitivity.p50.value()},
          {"p90_s", sensitivity.p90.value()},        {"inputs", std::move(inputs)}};
}

}  // namespace

std::string simulate_json(const Plan& plan, const StepSummary& summary, const ClusterStep* cluster,
                          const Skew& skew, const Sensitivity* sensitivity,
                          const MemoryDetails* details, const RunTiming& timing) {
  Json ranks = Json::array();
  for (const RankSummary& rank : summary.ranks) {
    Json stages = Json::array();
    for (Stage stage : rank.stages) stages.push_back(stage.value);
    Json entry = {{"pipeline_rank", rank.rank.value}, {"stages", std::move(stages)}};
    entry.update(breakdown(rank.time));
    entry.update(Json{{"n_F", rank.n_F},
                      {"n_I", rank.n_I},
                      {"n_B", rank.n_B},
                      {"n_W", rank.n_W},
                      {"n_FB", rank.n_FB}});
    entry["memory_gib"] = memory(rank.memory);
    ranks.push_back(std::move(entry));
  }
  Json out = {{"format_version", "1.0"},
              {"model", plan.model.name},
              {"cluster", plan.cluster.name},
              {"gpus", summary.gpus},
              {"layout", layout_json(plan.layout)},
              {"schedule", plan.schedule.family},
              {"microbatches", plan.microbatches()},
              {"calibration", {{"name", plan.calibration.name}, {"hash", plan.calibration.hash}}},
              {"step_time_s", summary.step.value()},
              {"tokens_per_day", summary.tokens_per_day}};
  if (plan.training.tokens > 0) {
    out.update(Json{{"tokens", plan.training.tokens},
                    {"gpu_hours", summary.gpu_hours},
                    {"days", summary.days},
                    {"cost_usd", summary.cost.value()}});
  }
  out.update(Json{{"tflops_per_gpu_causal", in_teraflops(summary.causal)},
                  {"tflops_per_gpu_noncausal", in_teraflops(summary.noncausal)},
                  {"mfu_causal", summary.mfu_causal},
                  {"mfu_noncausal", summary.mfu_noncausal},
                  {"bubble_s", summary.mean.bubble.value()},
                  {"exposed_comm_s", summary.mean.exposed_comm.value()},
                  {"wait_s", summary.mean.wait.value()},
                  {"fidelity", summary.fidelity},
                  {"activities", summary.activities},
                  {"rank_classes", summary.rank_classes},
                  {"assumed_figures", assumed(summary.assumed)},
                  {"breakdown_mean", breakdown(summary.mean)},
                  {"pipeline_ranks", std::move(ranks)}});
  if (details != nullptr) {
    Json peaks = Json::array(), list = Json::array();
    for (const MemoryDetails::Peak& peak : details->peaks)
      peaks.push_back({{"at", peak.at}, {"when_s", peak.when.value()}});
    out["memory_peaks"] = std::move(peaks);
    for (const MemoryWhatIf& what_if : details->what_ifs) {
      const std::size_t full = fullest_of(what_if.tables);
      list.push_back({{"what_if", what_if.what},
                      {"pipeline_rank", full},
                      {"memory_gib", memory(what_if.tables[full])},
                      {"fits", what_if.tables[full].fits()}});
    }
    out["memory_what_ifs"] = std::move(list);
  }
  if (!summary.collectives.empty()) out["collectives"] = collectives_json(summary.collectives);
  if (skew.kind != SkewKind::kNone) {
    out["expert_loads"] = {{"loads", describe(skew)}};
    if (skew.measured == nullptr) out["expert_loads"]["seed"] = skew.seed;
    if (cluster != nullptr) out["straggler_wait_s"] = cluster->straggler_wait.value();
  }
  if (cluster != nullptr && !cluster->links.empty()) out["links"] = links_json(cluster->links);
  if (sensitivity != nullptr) out["sensitivity"] = sensitivity_json(*sensitivity);
  out["timing"] = timing_json(timing);
  return out.dump(2) + "\n";
}

std::string front_json(const std::vector<SizeSearched>& sizes, const std::vector<ScoredPlan>& front,
                       const RunTiming& timing) {
  const SearchRequest& request = sizes.front().request;
  Json searched = Json::array(), plans = Json::array();
  for (const SizeSearched& size : sizes) {
    Json entry = {{"gpus", size.request.cluster.gpus()}};
    entry.update(counts_json(size.result));
    searched.push_back(std::move(entry));
  }
  for (const ScoredPlan& plan : front) {
    Json entry = scored_json(request, plan);
    entry["free_gib"] = in_gibibytes(plan.memory.free());
    plans.push_back(std::move(entry));
  }
  const Json out = {{"format_version", "1.0"},
                    {"model", request.model.name},
                    {"cluster", request.cluster.name},
                    {"searched", std::move(searched)},
                    {"headroom_class_gib", in_gibibytes(request.front->headroom)},
                    {"slowest", request.front->slowest},
                    {"front", std::move(plans)},
                    {"timing", timing_json(timing)}};
  return out.dump(2) + "\n";
}

std::string plan_search_json(const SearchRequest& request, const SearchResult& result,
                             const SearchResult* asked, const RunTiming& timing) {
  Json plans = Json::array();
  for (const ScoredPlan& plan : result.plans) plans.push_back(scored_json(request, plan));
  Json out = {
      {"format_version", "1.0"}, {"model", request.model.name}, {"cluster", request.cluster.name}};
  out.update(counts_json(result));
  out["plans"] = std::move(plans);
  if (asked != nullptr) {
    Json why = Json::array();
    for (const auto& [reason, point] : asked->examples) {
      why.push_back({{"feasible", false},
                     {"reason", reason},
                     {"points", asked->rejected.at(reason)},
                     {"layout", layout_json(point.layout)},
                     {"schedule", point.schedule},
                     {"arithmetic", point.arithmetic}});
    }
    for (const ScoredPlan& plan : asked->plans) {
      Json entry = scored_json(request, plan);
      entry["feasible"] = true;
      why.push_back(std::move(entry));
    }
    out["why"] = std::move(why);
  }
  out["timing"] = timing_json(timing);
  return out.dump(2) + "\n";
}

std::string campaign_json(const Campaign& campaign, const CampaignGoodput* goodput,
                          const RunTiming& timing) {
  const auto range = [](const CostRange& hours) {
    return Json{{"low", hours.low}, {"middle", hours.middle}, {"high", hours.high}};
  };
  const double price = campaign.cluster.price_per_gpu_hour.value();
  Json phases = Json::array();
  double days = 0;
  for (const PricedPhase& phase : campaign.phases) {
    Json pieces = Json::array();
    for (const PricedPiece& piece : phase.pieces) {
      Json entry = {{"global_batch", piece.training.global_batch},
                    {"tokens", range(piece.tokens)},
                    {"feasible", piece.best.has_value()}};
      if (!piece.best) entry["reason"] = piece.why_not;
      const auto plan = [&](const char* key, const std::optional<ScoredPlan>& scored, bool as_run) {
        if (!scored) return;
        entry[key] = {{"layout", layout_json(scored->plan.layout)},
                      {"schedule", scored->schedule},
                      {"step_time_s", scored->step.value()},
                      {"fidelity", scored->fidelity},
                      {"memory_gib", memory(scored->memory)},
                      {"gpu_hours", range(piece.gpu_hours(as_run))}};
      };
      plan("best", piece.best, false);
      plan("as_run", piece.as_run, true);
      pieces.push_back(std::move(entry));
    }
    const double own_days = phase.gpu_hours().middle / phase.cluster.gpus() / 24;
    days += own_days;
    phases.push_back({{"name", phase.phase.name},
                      {"part", phase.phase.part},
                      {"gpus", phase.cluster.gpus()},
                      {"sequence", phase.phase.sequence},
                      {"gpu_hours", range(phase.gpu_hours())},
                      {"rollout_gpu_hours", range(phase.rollout_gpu_hours)},
                      {"forward_gpu_hours", range(phase.forward_gpu_hours)},
                      {"days", own_days},
                      {"pieces", std::move(pieces)},
                      {"assumptions", phase.phase.assumptions}});
  }
  const CostRange hours = campaign.gpu_hours();
  Json out = {{"format_version", "1.0"},
              {"recipe", campaign.recipe.name},
              {"model", campaign.model.name},
              {"cluster", campaign.cluster.name},
              {"feasible", campaign.feasible()},
              {"gpu_hours", range(hours)},
              {"days", days},
              {"cost_usd", range(hours * price)},
              {"phases", std::move(phases)}};
  Json published = Json::array();
  for (const CampaignPart& part : campaign_parts(campaign)) {
    Json entry = {{"part", part.name},
                  {"published_gpu_hours", part.published},
                  {"gpu_hours", range(part.best)},
                  {"source", part.source}};
    if (part.as_run) entry["as_run_gpu_hours"] = range(*part.as_run);
    published.push_back(std::move(entry));
  }
  out["published"] = std::move(published);
  if (goodput != nullptr) {
    Json of_phases = Json::array();
    for (const PhaseGoodput& own : goodput->phases) {
      of_phases.push_back({{"mtbf_s", own.recovery.mtbf.value()},
                           {"save_s", own.recovery.save.value()},
                           {"restart_s", own.recovery.restart.value()},
                           {"interval_s", own.interval.value()},
                           {"work_s", own.work.value()},
                           {"expected_s", own.expected.value()}});
    }
    out["failures"] = {{"basis", campaign.cluster.reliability->basis},
                       {"checkpoint_bytes", goodput->checkpoint.value()},
                       {"gpu_hours", goodput->gpu_hours},
                       {"goodput", goodput->goodput(campaign)},
                       {"runs", goodput->runs},
                       {"mean", goodput->mean},
                       {"p10", goodput->p10},
                       {"p50", goodput->p50},
                       {"p90", goodput->p90},
                       {"failures_a_run", goodput->failures},
                       {"phases", std::move(of_phases)}};
  }
  out["timing"] = timing_json(timing);
  return out.dump(2) + "\n";
}

}  // namespace orrery
