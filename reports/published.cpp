#include "reports/published.hpp"

#include <filesystem>

#include "core/catalog.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

constexpr double kMost = 1e12;

void read_setup(Reader& table, PublishedRun& run) {
  run.model = table.required_string("model");
  run.schedule = table.required_string("schedule");
  run.gpus = table.required_int("gpus", {1, 1 << 24});
  run.pp = table.required_int("pp", {1, 4096});
  run.ep = table.required_int("ep", {1, 65536});
  run.sequence = table.required_int("sequence", {1, 1 << 24});
  run.global_batch = table.required_int("global_batch", {1, 1 << 24});
  table.finish();
}

void read_step(Reader& table, PublishedStep& step) {
  const auto read = [&](std::string_view key, double& value) {
    value = table.required_double(key, 0, kMost);
  };
  read("F_s", step.F_s);
  read("bubble_s", step.bubble_s);
  read("I_s", step.I_s);
  read("W_s", step.W_s);
  read("FB_s", step.FB_s);
  read("optimizer_s", step.optimizer_s);
  read("step_s", step.step_s);
  read("tokens_per_day_b", step.tokens_per_day_b);
  read("tflops_causal", step.tflops_causal);
  read("tflops_noncausal", step.tflops_noncausal);
  read("mfu_causal_pct", step.mfu_causal_pct);
  read("mfu_noncausal_pct", step.mfu_noncausal_pct);
  read("gpu_hours_per_t_k", step.gpu_hours_per_t_k);
  table.finish();
}

void read_pair(Reader& table, PublishedPair& pair) {
  pair.wall_ms = table.required_double("wall_ms", 0, kMost);
  pair.compute_busy_ms = table.required_double("compute_busy_ms", 0, kMost);
  pair.compute_idle_ms = table.required_double("compute_idle_ms", 0, kMost);
  pair.notify_ms = table.required_double("notify_ms", 0, kMost);
  if (const Node* slots = table.required_array("slots_ms")) {
    for (const Node& slot : slots->children) pair.slots_ms.push_back(slot.number);
  }
  table.finish();
}

}  // namespace

PublishedRun read_published(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "published", diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  PublishedRun run;
  if (auto setup = root.required_table("setup")) read_setup(*setup, run);
  if (auto step = root.required_table("step")) read_step(*step, run.step);
  if (auto pair = root.required_table("pair")) read_pair(*pair, run.pair);
  root.finish();
  diagnostics.throw_if_errors();
  return run;
}

std::optional<PublishedRun> published_for(const Plan& plan) {
  const std::string path =
      (std::filesystem::path(data_root()) / "reports/published/deepseek-v3.toml").string();
  if (!std::filesystem::exists(path)) return std::nullopt;
  PublishedRun run = read_published(path);
  const Layout& layout = plan.layout;
  const bool same =
      plan.model.name == run.model && layout.gpus() == run.gpus && layout.pp == run.pp &&
      layout.ep == run.ep && layout.tp == 1 && layout.cp == 1 &&
      plan.training.sequence == run.sequence && plan.training.global_batch == run.global_batch &&
      plan.schedule.family == run.schedule && layout.vpp == 1 && layout.etp == 1 &&
      layout.micro_batch == 1 && layout.zero_stage == 1 && layout.comm_sms == 20 &&
      layout.precision == Precision::kFp8 && layout.recompute == Recompute::kSelective;
  if (!same) return std::nullopt;
  return run;
}

}  // namespace orrery
