#include "realrun/whole_tensors.hpp"

#include <cmath>
#include <limits>

#include "realrun/optimizer.hpp"

namespace orrery {
namespace {

// Adds the elements of a block that lie in `own` of its group's array.
template <class T>
void add_owned(const ParameterBlock& block, const IndexRange& own, const std::vector<T>& values,
               std::vector<double>& tensor) {
  std::int64_t at = block.offset;
  for (const IndexRange& rows : block.rows_held) {
    for (std::int64_t row = rows.begin; row < rows.begin + rows.count; ++row) {
      const IndexRange& columns = block.columns_held;
      for (std::int64_t column = columns.begin; column < columns.begin + columns.count;
           ++column, ++at) {
        if (at < own.begin || at >= own.begin + own.count) continue;
        tensor[static_cast<std::size_t>(row * block.columns + column)] =
            static_cast<double>(values[static_cast<std::size_t>(at)]);
      }
    }
  }
}

template <class T, class Select>
WholeTensors whole(HostRun<T>& run, Select select) {
  WholeTensors tensors;
  for (const auto& rank : run.ranks()) {
    for (const ParameterBlock& block : rank->parameters.blocks) {
      std::vector<double>& tensor = tensors[block.name];
      tensor.resize(static_cast<std::size_t>(block.rows * block.columns),
                    std::numeric_limits<double>::quiet_NaN());
      const auto group = static_cast<std::size_t>(block.group);
      add_owned(block, own_shard(*rank, group), select(*rank, group), tensor);
    }
  }
  return tensors;
}

}  // namespace

template <class T>
WholeTensors whole_gradients(HostRun<T>& run) {
  return whole(run, [](const RankState<T>& rank, std::size_t group) -> const std::vector<T>& {
    return rank.gradients[group];
  });
}

template <class T>
WholeTensors whole_values(HostRun<T>& run) {
  return whole(run, [](const RankState<T>& rank, std::size_t group) -> const std::vector<T>& {
    return rank.values[group];
  });
}

double frobenius_error(const std::vector<double>& a, const std::vector<double>& b) {
  double error = 0, scale = 0;
  for (std::size_t at = 0; at < b.size(); ++at) {
    error += (a[at] - b[at]) * (a[at] - b[at]);
    scale += b[at] * b[at];
  }
  if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
  return scale > 0 ? std::sqrt(error / scale) : std::sqrt(error);
}

template WholeTensors whole_gradients<float>(HostRun<float>&);
template WholeTensors whole_gradients<double>(HostRun<double>&);
template WholeTensors whole_values<float>(HostRun<float>&);
template WholeTensors whole_values<double>(HostRun<double>&);

}  // namespace orrery
