#include "reports/memory_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "planner/memory.hpp"
#include "planner/prediction.hpp"
#include "reports/number.hpp"
#include "reports/table.hpp"
#include "workload/lower.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

std::size_t fullest(const std::vector<MemoryTable>& tables) {
  const auto most = std::max_element(
      tables.begin(), tables.end(),
      [](const MemoryTable& a, const MemoryTable& b) { return a.total() < b.total(); });
  return static_cast<std::size_t>(most - tables.begin());
}

std::string stages_of(const Plan& plan, std::size_t rank) {
  std::vector<int> stages;
  for (const ChunkPlace& chunk : plan.schedule.chunks[rank]) stages.push_back(chunk.stage.value);
  return fmt::format("{}", fmt::join(stages, ","));
}

// "F&B 31 of 240, mlp(I) of stage 7, layer 2, at 9.3 s"
std::string moment(const Plan& plan, const Program& program, const MemoryPeak& peak, Rank rank) {
  if (!peak.at.valid()) return "";
  const Instruction& instruction = program.instructions[peak.at.index()];
  const std::string what = program.work(instruction).name;
  const TimeUnit unit = time_unit(peak.when);
  if (instruction.cell < 0)
    return fmt::format("{}, {:.2f} {}", what, peak.when / unit.time, unit.name);
  const std::vector<Cell>& cells = plan.schedule.ranks[rank.index()];
  return fmt::format("{} {} of {}: {} of stage {}, {:.2f} {}",
                     to_string(cells[static_cast<std::size_t>(instruction.cell)].kind),
                     instruction.cell + 1, cells.size(), what, instruction.stage.value,
                     peak.when / unit.time, unit.name);
}

std::vector<MemoryTable> carried_out(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline =
      predict(plan, program, device, {.fidelity = Fidelity::kAnalytic}).timeline;
  return memory_tables(plan, device.device(), program, timeline);
}

// Every MTP module with an embedding and a head of its own.
std::vector<MemoryTable> unshared(std::vector<MemoryTable> tables, const Plan& plan) {
  const double matrix = parameter_counts(plan.model).embedding / plan.layout.tp;
  const int replicas = plan.layout.dp * plan.layout.cp * plan.schedule.directions;
  const auto shards = [&](int from_stage) {
    return plan.layout.zero_stage >= from_stage ? replicas : 1;
  };
  const double state = plan.layout.optimizer == Keep::kGpu
                           ? bytes_of(plan.training.master) + 2 * bytes_of(plan.training.moments)
                           : 0;
  for (std::size_t rank = 0; rank < tables.size(); ++rank) {
    int embeddings = 0, heads = 0;
    for (const ChunkPlace& chunk : plan.schedule.chunks[rank]) {
      for (const LayerKind kind : plan.layout.stage_map[chunk.stage.index()]) {
        embeddings += kind == LayerKind::kEmbedding || kind == LayerKind::kMtp;
        heads += kind == LayerKind::kHead || kind == LayerKind::kMtp;
      }
    }
    const double more = matrix * (std::max(0, embeddings - 1) + std::max(0, heads - 1));
    tables[rank].weights += Bytes{more / shards(3) * bytes_of(ScalarType::kBf16)};
    tables[rank].gradients += Bytes{more / shards(2) * bytes_of(plan.training.gradient)};
    tables[rank].optimizer += Bytes{more / shards(1) * state};
  }
  return tables;
}

}  // namespace

std::string memory_text(const Plan& plan, const DeviceModel& device, const Program& program,
                        const Timeline& timeline) {
  const std::vector<MemoryTable> tables = memory_tables(plan, device.device(), program, timeline);
  const std::size_t full = fullest(tables);
  const MemoryUnit unit = memory_unit(tables[full].total());
  std::vector<Column> columns;
  const auto add = [&](std::string title, std::string absent, bool left, auto cell) {
    Column& column = columns.emplace_back(Column{std::move(title), std::move(absent), left, {}});
    for (std::size_t rank = 0; rank < tables.size(); ++rank) column.cells.push_back(cell(rank));
  };
  const auto bytes = [&](const char* title, auto of) {
    add(title, "0.00", false,
        [&](std::size_t rank) { return fmt::format("{:.2f}", of(tables[rank]) / unit.bytes); });
  };
  using Table = MemoryTable;
  add("rank", "", false, [](std::size_t rank) { return std::to_string(rank); });
  add("stages", "", true, [&](std::size_t rank) { return stages_of(plan, rank); });
  bytes("weights", [](const Table& of) { return of.weights - of.fp8_copies; });
  bytes("FP8 copies", [](const Table& of) { return of.fp8_copies; });
  bytes("gradients", [](const Table& of) { return of.gradients; });
  bytes("optimizer", [](const Table& of) { return of.optimizer; });
  bytes("EMA", [](const Table& of) { return of.ema; });
  bytes("activations", [](const Table& of) { return of.activations; });
  bytes("workspace", [](const Table& of) { return of.workspace(); });
  bytes("EP buffers", [](const Table& of) { return of.exchange_buffers; });
  bytes("received", [](const Table& of) { return of.received; });
  bytes("reserve", [](const Table& of) { return of.reserve; });
  bytes("total", [](const Table& of) { return of.total(); });
  add("free", "", false,
      [&](std::size_t rank) { return fmt::format("{:.2f}", tables[rank].free() / unit.bytes); });
  add("most at", "", true, [&](std::size_t rank) {
    const Rank own{static_cast<int>(rank)};
    return moment(plan, program, memory_peak(program, timeline, own), own);
  });
  std::string text = fmt::format("Memory of one {} by pipeline rank, {}, of {:.2f} {} ({} bytes)\n",
                                 device.host() != nullptr ? "rank" : "GPU", unit.name,
                                 tables[full].capacity / unit.bytes, unit.name,
                                 grouped(tables[full].capacity.value()));
  text += table_text(columns, tables.size());

  text += "What if: the rank that is fullest then, and against the one that is now\n";
  std::vector<Column> what_if = {
      {"", "", true}, {"rank", "", false}, {unit.name, "", false}, {"", "", false}};
  const auto row = [&](std::string what, const std::vector<MemoryTable>& then) {
    const std::size_t own = fullest(then);
    const Bytes change = then[own].total() - tables[full].total();
    what_if[0].cells.push_back(std::move(what));
    what_if[1].cells.push_back(std::to_string(own));
    what_if[2].cells.push_back(fmt::format("{:.2f}", then[own].total() / unit.bytes));
    what_if[3].cells.push_back(
        fmt::format("{:+.2f}{}", change / unit.bytes, then[own].fits() ? "" : ", does not fit"));
  };
  row("as it is", tables);
  Plan other = plan;
  other.layout.ema = plan.layout.ema == Keep::kCpu ? Keep::kGpu : Keep::kCpu;
  std::vector<MemoryTable> averaged = tables;
  const std::vector<MemoryTable> then = static_memory(other, device.device());
  for (std::size_t rank = 0; rank < tables.size(); ++rank) averaged[rank].ema = then[rank].ema;
  row(fmt::format("moving average of the weights on the {}",
                  other.layout.ema == Keep::kGpu ? "GPU, FP32" : "CPU"),
      averaged);
  if (plan.layout.recompute != Recompute::kNone) {
    Plan stored = plan;
    stored.layout.recompute = Recompute::kNone;
    row("nothing recomputed", carried_out(stored, device));
  }
  if (plan.model.mtp_depth > 0)
    row("MTP with an embedding and a head of its own", unshared(tables, plan));
  text += table_text(what_if, what_if.front().cells.size());
  return text;
}

}  // namespace orrery
