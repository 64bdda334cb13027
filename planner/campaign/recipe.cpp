#include "planner/campaign/recipe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/model_reader.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

constexpr double kMost = 1e18;
constexpr IntRange kCounts{1, 1000000000};

std::vector<std::string> strings(Reader& table, std::string_view key) {
  std::vector<std::string> words;
  const Node* node = table.node(key);
  if (node == nullptr) return words;
  if (node->kind != NodeKind::kArray) {
    table.error(key, fmt::format("'{}' must be a list of sentences", key));
    return words;
  }
  for (const Node& each : node->children) {
    if (each.kind != NodeKind::kString) {
      table.error(key, fmt::format("'{}' must be a list of sentences", key));
      return words;
    }
    words.push_back(each.text);
  }
  return words;
}

// A number, or [low, middle, high].
CostRange range(Reader& table, std::string_view key) {
  const Node* node = table.node(key);
  if (node == nullptr || node->kind != NodeKind::kArray)
    return CostRange::exactly(table.required_double(key, 1e-9, kMost));
  std::vector<double> numbers;
  for (const Node& each : node->children) {
    if (each.kind == NodeKind::kInteger || each.kind == NodeKind::kFloat)
      numbers.push_back(each.number);
  }
  if (numbers.size() != 3 || node->children.size() != 3 || numbers[0] <= 0 || numbers[2] > kMost ||
      !std::is_sorted(numbers.begin(), numbers.end())) {
    table.error(key, fmt::format("'{}' must be a number or a range of three rising ones", key),
                "such as [500, 1000, 4000]: low, middle, high");
    return CostRange::exactly(1);
  }
  return {numbers[0], numbers[1], numbers[2]};
}

Reinforcement reinforcement(Reader& table) {
  Reinforcement rl;
  const CostRange samples = range(table, "steps") * table.required_int("samples", kCounts);
  rl.written = samples * range(table, "tokens_per_sample");
  rl.prompted = samples.middle * table.required_int("prompt_tokens", {0, 1000000000});
  rl.forward_passes = table.required_int("forward_passes", {0, 100});
  const CostRange rate = range(table, "rollout_rate");
  rl.rollout_gpu_seconds = {1 / rate.high, 1 / rate.middle, 1 / rate.low};
  table.finish();
  return rl;
}

BatchRamp batch_ramp(Reader& table, const Phase& phase) {
  BatchRamp ramp;
  ramp.from = table.required_int("from", kCounts);
  ramp.by = table.required_int("by", kCounts);
  ramp.tokens = table.required_double("tokens", 1, kMost);
  table.finish();
  if (ramp.from == 0 || ramp.by == 0 || phase.batch == 0) return ramp;
  if (ramp.from >= phase.batch) {
    table.error("from", fmt::format("the ramp starts at {} sequences, and the batch is {}",
                                    ramp.from, phase.batch));
  } else if ((phase.batch - ramp.from) % ramp.by != 0) {
    table.error("by", fmt::format("from {} by {} the batch never becomes {}", ramp.from, ramp.by,
                                  phase.batch));
  }
  if (ramp.tokens > phase.tokens.low)
    table.error("tokens", "the ramp has more tokens than its phase");
  return ramp;
}

Phase phase(Reader& table) {
  Phase phase;
  phase.name = table.required_string("name");
  phase.part = table.optional_string("part").value_or(phase.name);
  phase.sequence = table.required_int("sequence", kCounts);
  phase.batch = table.required_int("batch", kCounts);
  phase.gpus = table.optional_int("gpus", 0, kCounts);
  constexpr const char* kHowMuch[] = {"tokens", "steps", "samples", "rl"};
  const auto given = std::count_if(std::begin(kHowMuch), std::end(kHowMuch),
                                   [&](const char* key) { return table.node(key) != nullptr; });
  if (given != 1) {
    table.error("name",
                fmt::format("phase '{}' says {} how much it trains", phase.name,
                            given == 0 ? "nowhere" : "more than once"),
                "give one of tokens, steps, samples and [phases.rl]");
  }
  if (table.has("tokens")) {
    phase.tokens = CostRange::exactly(table.required_double("tokens", 1, kMost));
  } else if (table.has("steps")) {
    phase.tokens = CostRange::exactly(static_cast<double>(table.required_int("steps", kCounts)) *
                                      phase.batch * phase.sequence);
  } else if (table.has("samples")) {
    const CostRange samples = range(table, "samples");
    phase.tokens =
        samples * range(table, "tokens_per_sample") * table.optional_double("epochs", 1, 1e-3, 1e6);
  } else if (auto rl = table.optional_table("rl")) {
    phase.rl = reinforcement(*rl);
    phase.tokens = phase.rl->written;
    phase.tokens += CostRange::exactly(phase.rl->prompted);
  }
  if (auto ramp = table.optional_table("ramp")) phase.ramp = batch_ramp(*ramp, phase);
  if (auto run = table.optional_table("as_run")) {
    phase.as_run = {run->required_string("layout"), run->required_string("schedule")};
    run->finish();
  }
  phase.assumptions = strings(table, "assumptions");
  table.finish();
  return phase;
}

CampaignRecipe decode(Reader& root) {
  CampaignRecipe recipe;
  root.format_version(1, 0);
  recipe.name = root.required_string("name");
  recipe.model = root.required_string("model");
  recipe.cluster = root.required_string("cluster");
  for (Reader& table : root.tables("phases")) recipe.phases.push_back(phase(table));
  for (Reader& table : root.tables("published")) {
    PublishedPart part{table.required_string("part"), table.required_double("gpu_hours", 0, kMost),
                       table.required_string("source")};
    table.finish();
    const bool known = std::any_of(recipe.phases.begin(), recipe.phases.end(),
                                   [&](const Phase& phase) { return phase.part == part.part; });
    if (!known) table.error("part", fmt::format("no phase is part of '{}'", part.part));
    recipe.published.push_back(std::move(part));
  }
  root.finish();
  if (recipe.phases.empty() && !root.context().diagnostics.has_errors())
    root.error("phases", "the recipe has no phases", "add [[phases]] tables");
  return recipe;
}

}  // namespace

CampaignRecipe read_campaign_recipe(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, name_from_path(path), diagnostics};
  Reader root(document.root, context);
  CampaignRecipe recipe = decode(root);
  diagnostics.throw_if_errors();
  return recipe;
}

}  // namespace orrery
