#include <fmt/format.h>

#include "core/json_writer.hpp"
#include "core/plan_json.hpp"
#include "core/schedule_json.hpp"
#include "core/stage_map.hpp"
#include "core/units.hpp"

namespace orrery {
namespace {

std::string_view word(ScalarType type) {
  switch (type) {
    case ScalarType::kFp32: return "fp32";
    case ScalarType::kBf16: return "bf16";
    case ScalarType::kFp8: return "fp8";
  }
  return "?";
}

void write_assumed(JsonWriter& writer, const AssumedFigures& figures) {
  if (figures.empty()) return;
  std::vector<std::string> lines;
  for (const AssumedFigure& figure : figures) {
    lines.push_back(fmt::format("{{\"name\": {}, \"reason\": {}}}", json_string(figure.name),
                                json_string(figure.reason)));
  }
  writer.lines("assumed", lines);
}

void write_model(JsonWriter& writer, const Model& model) {
  writer.begin("model");
  writer.field("name", std::string_view(model.name));
  writer.field("layers", model.layers);
  writer.field("dense_layers", model.dense_layers);
  writer.field("hidden", model.hidden);
  writer.field("dense_inter", model.dense_inter);
  if (!model.gated_mlp) writer.field("gated_mlp", model.gated_mlp);
  writer.field("vocab", model.vocab);
  writer.field("mtp_depth", model.mtp_depth);
  writer.field("tied_embeddings", model.tied_embeddings);
  if (model.stage_map) {
    writer.field("stage_map", std::string_view(*model.stage_map));
    writer.field("stage_map_pp", model.stage_map_pp);
  }
  const Attention& attention = model.attention;
  writer.begin("attention");
  const bool mla = attention.kind == AttentionKind::kMla;
  writer.field("kind", std::string_view(mla ? "mla" : "gqa"));
  writer.field("heads", attention.heads);
  if (mla) {
    writer.field("q_lora_rank", attention.q_lora_rank);
    writer.field("kv_lora_rank", attention.kv_lora_rank);
    writer.field("qk_nope_dim", attention.qk_nope_dim);
    writer.field("qk_rope_dim", attention.qk_rope_dim);
  } else {
    writer.field("kv_heads", attention.kv_heads);
    writer.field("head_dim", attention.qk_rope_dim);
  }
  writer.field("v_dim", attention.v_dim);
  writer.end();
  if (model.moe.experts > 0) {
    writer.begin("moe");
    writer.field("experts", model.moe.experts);
    writer.field("shared_experts", model.moe.shared_experts);
    writer.field("top_k", model.moe.top_k);
    writer.field("inter", model.moe.inter);
    writer.field("groups", model.moe.groups);
    writer.field("groups_per_token", model.moe.groups_per_token);
    writer.end();
  }
  write_assumed(writer, model.assumed);
  writer.end();
}

void write_edges(JsonWriter& writer, const Fabric& fabric) {
  std::vector<std::string> names;
  for (const std::string& name : fabric.switches) names.push_back(json_string(name));
  writer.raw("switches", fmt::format("[{}]", fmt::join(names, ", ")));
  std::vector<std::string> lines;
  for (const Cable& cable : fabric.cables) {
    lines.push_back(fmt::format("{{\"from\": {}, \"to\": {}, \"bandwidth\": {}, \"count\": {}}}",
                                json_string(cable.from), json_string(cable.to),
                                json_string(write_quantity(cable.bandwidth)), cable.count));
  }
  writer.lines("cables", lines);
}

void write_cluster(JsonWriter& writer, const Cluster& cluster) {
  writer.begin("cluster");
  writer.field("name", std::string_view(cluster.name));
  writer.field("device", std::string_view(cluster.device));
  writer.field("nodes", cluster.nodes);
  writer.field("gpus_per_node", cluster.gpus_per_node);
  writer.field("price_per_gpu_hour", cluster.price_per_gpu_hour);
  if (cluster.fabric.kind == FabricKind::kHost) {  // has no links
    writer.begin("fabric");
    writer.field("kind", to_string(cluster.fabric.kind));
    writer.end();
    write_assumed(writer, cluster.assumed);
    writer.end();
    return;
  }
  if (cluster.host) {
    writer.begin("host");
    writer.field("pcie", cluster.host->pcie);
    writer.field("memory_bandwidth", cluster.host->memory);
    writer.end();
  }
  if (cluster.reliability) {
    const Reliability& reliability = *cluster.reliability;
    writer.begin("reliability");
    writer.field("gpu_mtbf", reliability.gpu_mtbf);
    writer.field("node_mtbf", reliability.node_mtbf);
    writer.field("restart", reliability.restart);
    writer.field("checkpoint_bandwidth", reliability.checkpoint);
    writer.field("basis", std::string_view(reliability.basis));
    writer.end();
  }
  writer.begin(cluster.nvlink.pcie ? "pcie" : "nvlink");
  writer.field("bandwidth", cluster.nvlink.bandwidth);
  writer.field("latency", cluster.nvlink.latency);
  writer.end();
  writer.begin("nic");
  writer.field("per_node", cluster.nic.per_node);
  writer.field("bandwidth", cluster.nic.bandwidth);
  if (!cluster.nic.serves.empty()) {
    std::vector<std::string> lists;
    for (const std::vector<int>& gpus : cluster.nic.serves)
      lists.push_back(fmt::format("[{}]", fmt::join(gpus, ", ")));
    writer.raw("serves", fmt::format("[{}]", fmt::join(lists, ", ")));
  }
  writer.end();
  const Fabric& fabric = cluster.fabric;
  writer.begin("fabric");
  writer.field("kind", to_string(fabric.kind));
  if (fabric.kind == FabricKind::kCustom) {
    write_edges(writer, fabric);
  } else {
    writer.field("planes", fabric.planes);
    writer.field("switch_layers", fabric.switch_layers);
  }
  writer.field("switch_radix", fabric.switch_radix);
  if (fabric.kind != FabricKind::kCustom)
    writer.raw("oversubscription", shortest(fabric.oversubscription));
  writer.field("same_leaf_latency", fabric.same_leaf_latency);
  writer.field("cross_leaf_latency", fabric.cross_leaf_latency);
  if (fabric.routing != Routing::kAdaptive) writer.field("routing", to_string(fabric.routing));
  if (fabric.switch_usd > 0) writer.raw("switch_usd", shortest(fabric.switch_usd));
  if (fabric.cable_usd > 0) writer.raw("cable_usd", shortest(fabric.cable_usd));
  writer.end();
  write_assumed(writer, cluster.assumed);
  writer.end();
}

void write_layout(JsonWriter& writer, const Layout& layout) {
  writer.begin("layout");
  writer.field("pp", layout.pp);
  writer.field("tp", layout.tp);
  writer.field("cp", layout.cp);
  writer.field("ep", layout.ep);
  writer.field("etp", layout.etp);
  writer.field("dp", layout.dp);
  writer.field("vpp", layout.vpp);
  writer.field("zero", layout.zero_stage);
  writer.field("mbs", layout.micro_batch);
  writer.field("comm_sms", layout.comm_sms);
  writer.field("precision", to_string(layout.precision));
  writer.field("recompute", to_string(layout.recompute));
  if (layout.attention != AttentionKernels::kFused)
    writer.field("attention", to_string(layout.attention));
  if (layout.exchange != ExchangeKernels::kDeepEp)
    writer.field("exchange", to_string(layout.exchange));
  if (layout.weights != WeightGradients::kBeside)
    writer.field("weights", to_string(layout.weights));
  writer.field("optimizer", to_string(layout.optimizer));
  writer.field("ema", to_string(layout.ema));
  writer.field("stage_map", std::string_view(format_stage_map(layout.stage_map)));
  writer.end();
}

void write_training(JsonWriter& writer, const Training& training) {
  writer.begin("training");
  writer.field("sequence", training.sequence);
  writer.field("global_batch", training.global_batch);
  writer.raw("tokens", shortest(training.tokens));
  writer.field("gradient", word(training.gradient));
  writer.field("master", word(training.master));
  writer.field("moments", word(training.moments));
  writer.raw("seed", std::to_string(training.seed));
  writer.end();
}

}  // namespace

std::string to_json(const Plan& plan) {
  JsonWriter writer;
  writer.begin();
  writer.field("format_version", std::string_view("1.0"));
  write_model(writer, plan.model);
  write_cluster(writer, plan.cluster);
  write_layout(writer, plan.layout);
  write_training(writer, plan.training);
  writer.begin("calibration");
  writer.field("name", std::string_view(plan.calibration.name));
  writer.field("hash", std::string_view(plan.calibration.hash));
  writer.end();
  write_schedule(writer, plan.schedule);
  writer.end();
  return writer.take();
}

}  // namespace orrery
