#include "sim/published_collectives.hpp"

#include <fmt/format.h>

#include "core/reader.hpp"

namespace orrery {
namespace {

constexpr std::pair<std::string_view, Pattern> kCollectives[] = {
    {"all-reduce", Pattern::kAllReduce},
    {"reduce-scatter", Pattern::kReduceScatter},
    {"all-gather", Pattern::kAllGather}};

}  // namespace

std::vector<CollectiveSeries> read_collective_series(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "collectives", diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  std::vector<CollectiveSeries> all;
  for (Reader& table : root.tables("series")) {
    CollectiveSeries series;
    series.name = table.required_string("name");
    series.source = table.required_string("source");
    series.group.pattern = table.required_enum<Pattern>("pattern", kCollectives);
    series.group.gpus = table.required_int("gpus", {2, 1 << 20});
    series.group.in_node = table.required_int("gpus_per_node", {1, series.group.gpus});
    series.group.ring = table.required_quantity<BytesPerSecond>("ring", Zero::kForbidden);
    if (table.has("nvls"))
      series.group.nvls = table.required_quantity<BytesPerSecond>("nvls", Zero::kForbidden);
    table.node("columns");
    if (const Node* rows = table.required_array("rows")) {
      for (const Node& row : rows->children) {
        if (row.children.size() != 3 || row.children[0].number <= 0 ||
            row.children[1].number <= 0) {
          diagnostics.error(row.place(path), "expected bytes, microseconds and a method");
          continue;
        }
        series.rows.push_back({Bytes{row.children[0].number}, microseconds(row.children[1].number),
                               row.children[2].text});
      }
    }
    table.finish();
    all.push_back(std::move(series));
  }
  root.finish();
  diagnostics.throw_if_errors();
  return all;
}

NcclChoice predict_collective(const CollectiveSeries& series, const CollectiveSeries::Row& row) {
  NcclGroup group = series.group;
  group.payload = row.payload;
  return nccl_choice(group);
}

}  // namespace orrery
