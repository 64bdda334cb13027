#include "planner/published_runs.hpp"

#include <algorithm>
#include <map>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/layout_check.hpp"
#include "core/reader.hpp"
#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"
#include "planner/prediction.hpp"
#include "planner/step_summary.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

constexpr std::pair<std::string_view, AttentionKind> kAttention[] = {{"mla", AttentionKind::kMla},
                                                                     {"gqa", AttentionKind::kGqa}};
constexpr std::pair<std::string_view, Recompute> kRecompute[] = {
    {"none", Recompute::kNone}, {"selective", Recompute::kSelective},
    {"full", Recompute::kFull}, {"attention", Recompute::kAttention},
    {"mlp", Recompute::kMlp},   {"experts", Recompute::kExperts}};
constexpr std::pair<std::string_view, AttentionKernels> kKernels[] = {
    {"fused", AttentionKernels::kFused}, {"unfused", AttentionKernels::kUnfused}};
constexpr std::pair<std::string_view, Precision> kPrecision[] = {
    {"fp8", Precision::kFp8}, {"bf16", Precision::kBf16}, {"fp8-tensor", Precision::kFp8Tensor}};
constexpr std::pair<std::string_view, MemoryFigure> kMemory[] = {
    {"allocated", MemoryFigure::kAllocated}, {"formula", MemoryFigure::kFormula}};
constexpr std::pair<std::string_view, ScalarType> kScalars[] = {{"fp32", ScalarType::kFp32},
                                                                {"bf16", ScalarType::kBf16}};
constexpr double kGib = 1 << 30;
constexpr int kMost = 1 << 20;

Model read_run_model(Reader& table) {
  Model model;
  model.name = table.required_string("name");
  model.layers = table.required_int("layers", {1, kMost});
  model.dense_layers = table.required_int("dense_layers", {0, model.layers});
  model.hidden = table.required_int("hidden", {1, kMost});
  model.dense_inter = table.required_int("dense_inter", {1, kMost});
  model.gated_mlp = table.optional_bool("gated_mlp", true);
  model.vocab = table.required_int("vocab", {1, kMost});
  Attention& attention = model.attention;
  attention.kind = table.required_enum<AttentionKind>("attention", kAttention);
  attention.heads = attention.kv_heads = table.required_int("heads", {1, kMost});
  if (attention.kind == AttentionKind::kMla) {
    attention.q_lora_rank = table.required_int("q_lora_rank", {0, kMost});
    attention.kv_lora_rank = table.required_int("kv_lora_rank", {1, kMost});
    attention.qk_nope_dim = table.required_int("qk_nope_dim", {0, kMost});
    attention.qk_rope_dim = table.required_int("qk_rope_dim", {1, kMost});
    attention.v_dim = table.required_int("v_dim", {1, kMost});
  } else {
    attention.kv_heads = table.required_int("kv_heads", {1, kMost});
    attention.qk_rope_dim = attention.v_dim = table.required_int("head_dim", {1, kMost});
  }
  if (table.has("experts")) {
    Moe& moe = model.moe;
    moe.experts = table.required_int("experts", {1, kMost});
    moe.top_k = table.required_int("top_k", {1, moe.experts});
    moe.inter = table.required_int("expert_inter", {1, kMost});
    const int shared = table.required_int("shared_inter", {0, kMost});
    if (moe.inter > 0 && shared % moe.inter != 0)
      table.error("shared_inter", "must be a multiple of expert_inter");
    moe.shared_experts = moe.inter > 0 ? shared / moe.inter : 0;
  }
  table.finish();
  return model;
}

TrainingRun read_run(Reader& table, const std::map<std::string, Model>& models,
                     Diagnostics& diagnostics) {
  TrainingRun run;
  run.id = table.required_string("id");
  run.source = table.required_string("source");
  run.framework = table.required_string("framework");
  const std::string model = table.required_string("model");
  if (const auto found = models.find(model); found != models.end()) {
    run.model = found->second;
  } else {
    table.error("model", "no [[model]] is named '" + model + "'");
  }
  run.gpu = table.required_string("gpu");
  run.gpus = table.required_int("gpus", {1, kMost});
  run.layout = parse_layout(table.required_string("layout"), diagnostics);
  run.layout.vpp = table.optional_int("chunks", 1, {1, 1000});
  run.layout.recompute = table.required_enum<Recompute>("recompute", kRecompute);
  run.layout.attention =
      table.optional_enum<AttentionKernels>("attention", run.layout.attention, kKernels);
  run.layout.precision = table.required_enum<Precision>("precision", kPrecision);
  run.schedule = table.required_string("schedule");
  run.training.sequence = table.required_int("sequence", {1, kMost});
  run.training.global_batch = table.required_int("batch", {1, kMost});
  run.training.gradient = table.optional_enum<ScalarType>("gradient", ScalarType::kFp32, kScalars);
  run.training.moments = table.optional_enum<ScalarType>("moments", ScalarType::kFp32, kScalars);
  run.step = Seconds{table.required_double("step_s", 1e-6, 1e6)};
  run.derived = table.optional_string("basis").has_value();
  run.stage_map = table.optional_string("stage_map");
  if (table.has("memory_gb"))
    run.memory = Bytes{1e9 * table.required_double("memory_gb", 0.1, 1e4)};
  if (table.has("memory_gib"))
    run.memory = Bytes{kGib * table.required_double("memory_gib", 0.1, 1e4)};
  if (run.memory) run.memory_is = table.required_enum<MemoryFigure>("memory_is", kMemory);
  table.finish();
  return run;
}

// With as many nodes as the run had, and three layers of switches where two are too few.
Cluster cluster_of(const TrainingRun& run) {
  const std::string name = run.gpu == "a100" ? "a100-512" : "h100-1024";
  Cluster cluster = read_cluster(resolve(name, CatalogKind::kCluster));
  cluster.nodes = std::max(1, run.gpus / cluster.gpus_per_node);
  const int radix = cluster.fabric.switch_radix;
  if (run.gpus > radix * radix / 2) cluster.fabric.switch_layers = 3;
  return cluster;
}

Bytes compared(const MemoryTable& table, MemoryFigure figure) {
  if (figure == MemoryFigure::kFormula)
    return table.weights + table.gradients + table.optimizer + table.activations;
  return table.total() - table.reserve - table.exchange_buffers;
}

}  // namespace

std::vector<TrainingRun> read_training_runs(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "training-runs", diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  std::map<std::string, Model> models;
  for (Reader& table : root.tables("model")) {
    Model model = read_run_model(table);
    models.emplace(model.name, std::move(model));
  }
  std::vector<TrainingRun> runs;
  for (Reader& table : root.tables("run")) runs.push_back(read_run(table, models, diagnostics));
  root.finish();
  diagnostics.throw_if_errors();
  return runs;
}

RunPrediction predict_run(const TrainingRun& run) {
  RunPrediction out;
  try {
    PlanRequest request;
    request.model = run.model;
    request.cluster = cluster_of(run);
    request.training = run.training;
    request.layout = run.layout;
    request.schedule = run.schedule;
    request.stage_map = run.stage_map;
    const DeviceModel device =
        read_device_model(resolve(run.gpu, CatalogKind::kCalibration), request.cluster);
    request.calibration = device.reference();
    const Plan plan = build_plan(request, device.costs());
    const Program program = lower(plan);
    const Prediction prediction = predict(plan, program, device, {});
    const StepSummary summary =
        summarise(plan, device.device(), program, prediction.timeline, device.costs());
    out.step = summary.step;
    for (const RankSummary& rank : summary.ranks) {
      out.memory = std::max(out.memory, rank.memory.total());
      out.fits = out.fits && rank.memory.fits();
      out.compared = std::max(out.compared, compared(rank.memory, run.memory_is));
    }
  } catch (const InputError& error) {
    std::string why = error.what();
    why = why.substr(0, why.find('\n'));
    if (why.starts_with("error: ")) why = why.substr(7);
    out.why_not = why;
  }
  return out;
}

}  // namespace orrery
