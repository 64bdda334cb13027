#pragma once
// The op table of one DeepSeek-V3 MoE layer (tests/data/published/op_table_v3.csv) and the op lists
// that must reproduce it: DeepSeek-V3, FP8, selective recompute, one micro-batch of 4096 tokens on
// a GPU of EP64. The padded expert rows R and the received tokens U are the means over the four
// layer slots of the profiled rank, forward R = 32512 and U = 30278, backward R = 32128 and U =
// 29836; 4096 x 8 = 32768 rows would be the balanced case.
#include <fstream>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/model_reader.hpp"
#include "workload/attention_ops.hpp"
#include "workload/moe_ops.hpp"

namespace orrery {

struct OpTableRow {
  int row = 0;
  std::string component, kind, op;
  bool recompute = false;
  bool profiling_only = false;
  double launches = 0;
  std::optional<double> groups, m, n, k, flops, bytes;
  double us = 0;  // busy time a layer, mean of the four slots

  bool is_communication() const {
    return component.starts_with("dispatch") || component.starts_with("combine");
  }
};

// The fields of a line; a field in double quotes may hold commas.
inline std::vector<std::string> quoted_csv_fields(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (const char character : line) {
    if (character == '"') {
      quoted = !quoted;
    } else if (character == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += character;
    }
  }
  return fields;
}

inline std::vector<OpTableRow> read_op_table() {
  std::ifstream file(ORRERY_TEST_DATA "/published/op_table_v3.csv");
  if (!file) throw std::runtime_error("cannot read op_table_v3.csv");
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> columns = quoted_csv_fields(line);
  std::vector<OpTableRow> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = quoted_csv_fields(line);
    if (fields.size() != columns.size()) throw std::runtime_error("op_table_v3.csv: " + line);
    std::map<std::string, std::string> field;
    for (std::size_t column = 0; column < columns.size(); ++column) {
      field[columns[column]] = fields[column];
    }
    const auto number = [&](const char* column) -> std::optional<double> {
      const std::string& text = field.at(column);
      return text.empty() ? std::nullopt : std::optional(std::stod(text));
    };
    OpTableRow row;
    row.row = std::stoi(field.at("row"));
    row.component = field.at("component");
    row.kind = field.at("kind");
    row.op = field.at("op");
    row.recompute = field.at("recompute") == "1";
    row.profiling_only = field.at("profiling_only") == "1";
    row.launches = *number("launches");
    row.groups = number("groups");
    row.m = number("M");
    row.n = number("N");
    row.k = number("K");
    row.flops = number("flops");
    row.bytes = number("bytes");
    row.us = *number("us");
    rows.push_back(std::move(row));
  }
  return rows;
}

// The compute rows of `component` that training has too, in execution order.
inline std::vector<OpTableRow> compute_rows(const std::string& component) {
  std::vector<OpTableRow> rows;
  for (OpTableRow& row : read_op_table()) {
    if (row.component == component && !row.profiling_only) rows.push_back(std::move(row));
  }
  return rows;
}

inline Shard trace_shard() {
  Layout layout;
  layout.ep = 64;
  layout.precision = Precision::kFp8;
  layout.recompute = Recompute::kSelective;
  Shard shard = make_shard(read_model("models/deepseek-v3.toml"), layout, 4096, RoutingSpread{});
  shard.forward_rows = {32512, 30278};
  shard.backward_rows = {32128, 29836};
  return shard;
}

inline std::vector<Op> ops_of(const Steps& steps) {
  std::vector<Op> ops;
  for (const Step& step : steps) ops.insert(ops.end(), step.ops.begin(), step.ops.end());
  return ops;
}

struct TraceComponent {
  std::string name;  // as in the table
  Pass pass = Pass::kF;
  std::vector<Op> ops;
};

// The six compute components of a layer. What the table calls attn(B) begins with the router's
// backward.
inline std::vector<TraceComponent> trace_components() {
  const Shard shard = trace_shard();
  const auto both = [](const Steps& first, const Steps& second) {
    std::vector<Op> ops = ops_of(first);
    const std::vector<Op> more = ops_of(second);
    ops.insert(ops.end(), more.begin(), more.end());
    return ops;
  };
  return {
      {"attn(F)", Pass::kF, both(attention_forward(shard), router_forward(shard))},
      {"mlp(F)", Pass::kF, ops_of(experts_forward(shard))},
      {"mlp(B)", Pass::kI, ops_of(experts_input_gradient(shard))},
      {"attn(B)", Pass::kI, both(router_input_gradient(shard), attention_input_gradient(shard))},
      {"mlp(W)", Pass::kW, ops_of(experts_weight_gradient(shard))},
      {"attn(W)", Pass::kW, ops_of(attention_weight_gradient(shard))},
  };
}

}  // namespace orrery
