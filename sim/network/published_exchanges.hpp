#pragma once
// Published rates of expert-parallel kernels, and those of group sizes that were not used predicted
// from those that were: NVLink's rate from 16 GPUs, the NIC's from 64 (sim/calibrated_cost.hpp).
#include <string>
#include <vector>

#include "core/quantity.hpp"

namespace orrery {

struct ExchangeSeries {
  struct Row {
    int group = 0;
    BytesPerSecond dispatch, combine;
  };
  std::string name, source;
  std::vector<Row> rows;
};

std::vector<ExchangeSeries> read_exchange_series(const std::string& path);

struct ExchangePrediction {
  int group = 0;
  bool dispatch = true;
  bool calibrated = false;  // its own measurement set a rate
  BytesPerSecond published, predicted;
  bool nic_bound = true;  // else NVLink

  double error() const { return predicted / published - 1; }
};

// One exchange of 4096 tokens a GPU simulated on as many nodes of the published cluster as the
// group fills, for every row.
std::vector<ExchangePrediction> predict_exchanges(const ExchangeSeries& series);

}  // namespace orrery
