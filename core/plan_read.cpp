#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/cluster_reader.hpp"
#include "core/layout_check.hpp"
#include "core/model_reader.hpp"
#include "core/plan_json.hpp"
#include "core/schedule_json.hpp"
#include "core/stage_map.hpp"

namespace orrery {
namespace {

constexpr std::pair<std::string_view, Precision> kPrecisions[] = {
    {"fp8", Precision::kFp8}, {"bf16", Precision::kBf16}, {"fp8-tensor", Precision::kFp8Tensor}};
constexpr std::pair<std::string_view, AttentionKernels> kAttention[] = {
    {"fused", AttentionKernels::kFused}, {"unfused", AttentionKernels::kUnfused}};
constexpr std::pair<std::string_view, ExchangeKernels> kExchange[] = {
    {"deepep", ExchangeKernels::kDeepEp}, {"nccl", ExchangeKernels::kNccl}};
constexpr std::pair<std::string_view, WeightGradients> kWeights[] = {
    {"beside", WeightGradients::kBeside}, {"inline", WeightGradients::kInline}};
constexpr std::pair<std::string_view, Recompute> kRecomputes[] = {
    {"none", Recompute::kNone}, {"selective", Recompute::kSelective},
    {"full", Recompute::kFull}, {"attention", Recompute::kAttention},
    {"mlp", Recompute::kMlp},   {"experts", Recompute::kExperts}};
constexpr std::pair<std::string_view, Keep> kKeeps[] = {{"gpu", Keep::kGpu}, {"cpu", Keep::kCpu}};
constexpr std::pair<std::string_view, ScalarType> kScalars[] = {
    {"fp32", ScalarType::kFp32}, {"bf16", ScalarType::kBf16}, {"fp8", ScalarType::kFp8}};

constexpr IntRange kDegree{1, 1000000};

AssumedFigures decode_assumed(Reader& reader) {
  AssumedFigures figures;
  for (Reader& figure : reader.tables("assumed")) {
    figures.push_back({figure.required_string("name"), figure.required_string("reason")});
    figure.finish();
  }
  return figures;
}

Layout decode_layout(Reader& reader) {
  Layout layout;
  layout.pp = reader.required_int("pp", kDegree);
  layout.tp = reader.optional_int("tp", 1, kDegree);
  layout.cp = reader.optional_int("cp", 1, kDegree);
  layout.ep = reader.required_int("ep", kDegree);
  layout.etp = reader.optional_int("etp", 1, kDegree);
  layout.dp = reader.optional_int("dp", 0, kDegree);  // 0: it follows from the others
  layout.vpp = reader.optional_int("vpp", 1, {1, 1000});
  layout.zero_stage = reader.optional_int("zero", 1, {0, 3});
  layout.micro_batch = reader.optional_int("mbs", 1, {1, 100000});
  layout.comm_sms = reader.optional_int("comm_sms", layout.comm_sms, {0, 1000});
  layout.precision = reader.optional_enum<Precision>("precision", layout.precision, kPrecisions);
  layout.recompute = reader.optional_enum<Recompute>("recompute", layout.recompute, kRecomputes);
  layout.attention =
      reader.optional_enum<AttentionKernels>("attention", layout.attention, kAttention);
  layout.weights = reader.optional_enum<WeightGradients>("weights", layout.weights, kWeights);
  layout.exchange = reader.optional_enum<ExchangeKernels>("exchange", layout.exchange, kExchange);
  layout.optimizer = reader.optional_enum<Keep>("optimizer", layout.optimizer, kKeeps);
  layout.ema = reader.optional_enum<Keep>("ema", layout.ema, kKeeps);
  const std::string map = reader.required_string("stage_map");
  Place place = reader.place("stage_map");
  ++place.col;  // the quotes
  place.length = std::max(1, place.length - 2);
  if (reader.has("stage_map"))
    layout.stage_map = parse_stage_map(map, reader.context().diagnostics, place);
  reader.finish();
  return layout;
}

Training decode_training(Reader& reader) {
  Training training;
  training.sequence = reader.required_int("sequence", {1, 1 << 24});
  training.global_batch = reader.required_int("global_batch", {1, 1 << 24});
  training.tokens = reader.optional_double("tokens", 0, 0, 1e18);
  training.gradient = reader.optional_enum<ScalarType>("gradient", training.gradient, kScalars);
  training.master = reader.optional_enum<ScalarType>("master", training.master, kScalars);
  training.moments = reader.optional_enum<ScalarType>("moments", training.moments, kScalars);
  training.seed = reader.optional_uint64("seed", 0);
  reader.finish();
  return training;
}

}  // namespace

Plan read_plan(const Document& document, Diagnostics& diagnostics) {
  ReadContext context{document.file, name_from_path(document.file), diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  Plan plan;
  if (auto model = root.required_table("model")) {
    AssumedFigures assumed = decode_assumed(*model);
    plan.model = decode_model(*model);
    plan.model.assumed = std::move(assumed);
  }
  if (auto cluster = root.required_table("cluster")) {
    AssumedFigures assumed = decode_assumed(*cluster);
    plan.cluster = decode_cluster(*cluster);
    plan.cluster.assumed = std::move(assumed);
  }
  std::optional<Reader> layout = root.required_table("layout");
  if (layout) plan.layout = decode_layout(*layout);
  std::optional<Reader> training = root.required_table("training");
  if (training) plan.training = decode_training(*training);
  if (auto calibration = root.optional_table("calibration")) {
    plan.calibration.name = calibration->required_string("name");
    plan.calibration.hash = calibration->required_string("hash");
    calibration->finish();
  }
  std::optional<Reader> schedule = root.required_table("schedule");
  root.finish();
  if (layout && training && !diagnostics.has_errors()) {
    const auto locate = [&](std::string_view key) {
      if (key == "sequence" || key == "global_batch") return training->place(key);
      return layout->place(key == "comm-sms" ? "comm_sms" : key);
    };
    check_layout(plan.model, plan.cluster, plan.training, plan.layout, diagnostics, locate);
  }
  if (schedule) {
    ScheduleFacts facts;
    // Stages and micro-batches are checked against a layout, so that has to be right first.
    facts.unsound = diagnostics.has_errors();
    if (!facts.unsound) {
      facts.pp = plan.layout.pp;
      facts.stages = static_cast<int>(plan.layout.stage_map.size());
      facts.microbatches = plan.microbatches();
      facts.why_microbatches =
          fmt::format("global_batch / (dp*mbs) = {} / ({}*{})", plan.training.global_batch,
                      plan.layout.dp, plan.layout.micro_batch);
    }
    plan.schedule = decode_schedule(*schedule, facts);
  }
  diagnostics.throw_if_errors();
  return plan;
}

Plan read_plan(const std::string& path) {
  Diagnostics diagnostics;
  return read_plan(parse_file(path, diagnostics), diagnostics);
}

}  // namespace orrery
