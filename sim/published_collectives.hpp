#pragma once
// Published times of NCCL collectives, next to what sim/nccl_model.hpp gives for them.
#include <string>
#include <vector>

#include "sim/nccl_model.hpp"

namespace orrery {

struct CollectiveSeries {
  struct Row {
    Bytes payload;
    Seconds time;
    std::string method;  // "tree, LL" where NCCL said what it chose; else empty
  };
  std::string name, source;
  NcclGroup group;  // its payload is each row's
  std::vector<Row> rows;
};

// Throws InputError with the places in the file.
std::vector<CollectiveSeries> read_collective_series(const std::string& path);

// The choice for one row.
NcclChoice predict_collective(const CollectiveSeries& series, const CollectiveSeries::Row& row);

}  // namespace orrery
