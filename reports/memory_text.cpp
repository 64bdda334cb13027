#include "reports/memory_text.hpp"

#include <fmt/format.h>

#include <vector>

#include "planner/memory_details.hpp"
#include "reports/number.hpp"
#include "reports/table.hpp"

namespace orrery {
namespace {

std::string stages_of(const Plan& plan, std::size_t rank) {
  std::vector<int> stages;
  for (const ChunkPlace& chunk : plan.schedule.chunks[rank]) stages.push_back(chunk.stage.value);
  return fmt::format("{}", fmt::join(stages, ","));
}

}  // namespace

std::string memory_text(const Plan& plan, const DeviceModel& device, const MemoryDetails& details) {
  const std::vector<MemoryTable>& tables = details.tables;
  const std::size_t full = fullest_of(tables);
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
    const MemoryDetails::Peak& peak = details.peaks[rank];
    if (peak.at.empty()) return std::string();
    const TimeUnit time = time_unit(peak.when);
    return fmt::format("{}, {:.2f} {}", peak.at, peak.when / time.time, time.name);
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
    const std::size_t own = fullest_of(then);
    const Bytes change = then[own].total() - tables[full].total();
    what_if[0].cells.push_back(std::move(what));
    what_if[1].cells.push_back(std::to_string(own));
    what_if[2].cells.push_back(fmt::format("{:.2f}", then[own].total() / unit.bytes));
    what_if[3].cells.push_back(
        fmt::format("{:+.2f}{}", change / unit.bytes, then[own].fits() ? "" : ", does not fit"));
  };
  row("as it is", tables);
  for (const MemoryWhatIf& what_if_so : details.what_ifs) row(what_if_so.what, what_if_so.tables);
  text += table_text(what_if, what_if.front().cells.size());
  return text;
}

}  // namespace orrery
