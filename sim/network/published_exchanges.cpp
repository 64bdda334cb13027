#include "sim/network/published_exchanges.hpp"

#include <algorithm>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/reader.hpp"
#include "sim/calibrated_cost.hpp"
#include "sim/cluster_step.hpp"
#include "sim/network/single_exchange.hpp"
#include "workload/routing.hpp"

namespace orrery {
namespace {

constexpr double kTokens = 4096, kHidden = 7168;
constexpr int kFromNvlink = 16, kFromNic = 64;  // group sizes that set the two rates

// Copies of a token under the gate of the test: at most four of the group's nodes.
RoutingSpread spread_of(int group) {
  const int nodes = group / 8;
  const Moe moe = {
      .experts = 256, .top_k = 8, .groups = nodes, .groups_per_token = std::min(4, nodes)};
  return RoutingSample(moe).spread(group, 8);
}

ExchangeRow measured(const ExchangeSeries::Row& row, bool dispatch) {
  const RoutingSpread spread = spread_of(row.group);
  return {row.group, dispatch ? row.dispatch : row.combine, spread.nodes_per_token,
          spread.remote_nodes_per_token, spread.gpus_per_token * 7 / 8};
}

Work exchange_of(const ExchangeRow& row, bool dispatch) {
  const Bytes copy{kTokens * (dispatch ? kHidden + kHidden / 128 * 4 : 2 * kHidden)};
  Work work;
  work.component = dispatch ? Component::kDispatch : Component::kCombine;
  work.name = dispatch ? "dispatch" : "combine";
  work.wire = {dispatch ? Pattern::kDispatch : Pattern::kCombine, row.group, copy * row.copies,
               copy * row.nic, copy * row.nvlink};
  return work;
}

}  // namespace

std::vector<ExchangeSeries> read_exchange_series(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "ep-kernels", diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  std::vector<ExchangeSeries> all;
  for (Reader& table : root.tables("series")) {
    ExchangeSeries series;
    series.name = table.required_string("name");
    series.source = table.required_string("source");
    table.node("columns");
    if (const Node* rows = table.required_array("rows")) {
      for (const Node& row : rows->children) {
        if (row.children.size() != 3) {
          diagnostics.error(row.place(path), "expected group, dispatch and combine");
          continue;
        }
        series.rows.push_back({static_cast<int>(row.children[0].integer),
                               gigabytes_per_second(row.children[1].number),
                               gigabytes_per_second(row.children[2].number)});
      }
    }
    table.finish();
    all.push_back(std::move(series));
  }
  root.finish();
  diagnostics.throw_if_errors();
  return all;
}

std::vector<ExchangePrediction> predict_exchanges(const ExchangeSeries& series) {
  Cluster cluster = read_cluster(resolve("h800-2048", CatalogKind::kCluster));
  std::vector<ExchangePrediction> predictions;
  for (const bool dispatch : {true, false}) {
    ExchangeTable table;
    for (const ExchangeSeries::Row& row : series.rows) {
      if (row.group == kFromNvlink || row.group == kFromNic)
        table.rows.push_back(measured(row, dispatch));
    }
    ORRERY_CHECK(table.rows.size() == 2, "series '{}' lacks a size that sets a rate", series.name);
    const ExchangeLimits limits = limits_of(table, true);
    for (const ExchangeSeries::Row& row : series.rows) {
      const ExchangeRow own = measured(row, dispatch);
      cluster.nodes = row.group / 8;
      const Work work = exchange_of(own, dispatch);
      const ClusterStep step =
          run_cluster(exchange_plan(cluster, row.group), exchange_program(work),
                      FixedRates(limits.nic, limits.nvlink));
      predictions.push_back({row.group, dispatch, row.group == kFromNvlink || row.group == kFromNic,
                             own.rate, work.wire.logical / step.classes.step,
                             own.nic / limits.nic.value() >= own.nvlink / limits.nvlink.value()});
    }
  }
  return predictions;
}

}  // namespace orrery
