#include "core/run_record.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/document.hpp"
#include "core/json_column.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string to_json(const HostMachine& host) {
  std::vector<std::string> slowdown;
  for (double value : host.slowdown) slowdown.push_back(shortest(value));
  return fmt::format(R"({{"hand_over_s": {}, "wake_s": {}, "slowdown": [{}]}})",
                     shortest(host.hand_over.value()), shortest(host.wake.value()),
                     fmt::join(slowdown, ", "));
}

constexpr AmountLimit kMostBytes = {1e18, "1e18 B"}, kMostTimes = {1e6, "1e6"};

std::vector<double> read_list(Reader& from, std::string_view key, AmountLimit limit = {}) {
  std::vector<double> list;
  const Node* node = from.required_array(key);
  if (node == nullptr) return list;
  for (const Node& entry : node->children) {
    if (const auto value = read_amount(entry, key, from.context(), limit)) list.push_back(*value);
  }
  return list;
}

std::vector<Seconds> read_times(Reader& from, std::string_view key) {
  std::vector<Seconds> times;
  for (double value : read_list(from, key)) times.push_back(Seconds{value});
  return times;
}

HostMachine read_host(Reader& table, int cores) {
  HostMachine host;
  host.cores = cores;
  host.hand_over = Seconds{table.required_double("hand_over_s", 0, kMostSeconds)};
  host.wake = Seconds{table.required_double("wake_s", 0, kMostSeconds)};
  host.slowdown = read_list(table, "slowdown", kMostTimes);
  if (host.slowdown.size() != static_cast<std::size_t>(cores)) {
    table.error("slowdown",
                fmt::format("'slowdown' has {} entries for {} cores", host.slowdown.size(), cores));
  }
  table.finish();
  return host;
}

}  // namespace

std::string to_json(const RunRecord& record) {
  std::string out = fmt::format(
      "{{\"pace\": {}, \"cores\": {}, \"scalar\": {}, \"machine\": {}, \"cpu_s\": {},\n",
      shortest(record.pace), record.cores, quoted(record.scalar), quoted(record.machine),
      shortest(record.cpu.value()));
  if (record.meter > Seconds{})
    out += fmt::format("    \"meter_s\": {},\n", shortest(record.meter.value()));
  if (record.host) out += fmt::format("    \"host\": {},\n", to_json(*record.host));
  const auto times = [&out](std::string_view key, const std::vector<Seconds>& list) {
    write_column(out, key, list.size(),
                 [&](std::size_t entry) { return shortest(list[entry].value()); });
  };
  times("steps_s", record.steps);
  out += ",\n";
  write_column(out, "peak_bytes", record.peak_bytes.size(),
               [&](std::size_t entry) { return shortest(record.peak_bytes[entry]); });
  out += ",\n";
  times("work_s", record.work);
  out += ",\n";
  times("lasts_s", record.lasts);
  return out + "\n  }";
}

RunRecord read_run_record(Reader& run, std::size_t instructions) {
  RunRecord record;
  record.pace = run.required_double("pace", 0, 1e9);
  record.cores = run.required_int("cores", {1, 4096});
  record.scalar = run.required_string("scalar");
  record.machine = run.required_string("machine");
  record.cpu = Seconds{run.required_double("cpu_s", 0, kMostSeconds)};
  record.meter = Seconds{run.optional_double("meter_s", 0, 0, kMostSeconds)};
  if (auto host = run.optional_table("host")) record.host = read_host(*host, record.cores);
  record.steps = read_times(run, "steps_s");
  record.peak_bytes = read_list(run, "peak_bytes", kMostBytes);
  record.work = read_times(run, "work_s");
  record.lasts = read_times(run, "lasts_s");
  run.finish();
  const auto check = [&](std::string_view key, const std::vector<Seconds>& list) {
    if (list.empty() || list.size() == instructions) return;
    run.error(key, fmt::format("'{}' has {} entries for {} instructions", key, list.size(),
                               instructions));
  };
  check("work_s", record.work);
  check("lasts_s", record.lasts);
  return record;
}

std::optional<double> read_amount(const Node& node, std::string_view what,
                                  const ReadContext& context, AmountLimit limit) {
  const Place place = node.place(context.file);
  if (node.kind != NodeKind::kInteger && node.kind != NodeKind::kFloat) {
    context.diagnostics.error(
        place, fmt::format("expected {}, a number, found {}", what, with_article(node.kind)));
  } else if (!(node.number >= 0 && node.number <= limit.most)) {
    context.diagnostics.error(
        place, fmt::format("{} must be 0 to {}, found {}", what, limit.text, node.text));
  } else {
    return node.number;
  }
  return std::nullopt;
}

}  // namespace orrery
