#include "sim/host_cost.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include "core/error.hpp"

namespace orrery {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

// Of an Op or a row: what the time of a matrix product or an attention is proportional to. Only
// ratios within one class count, so the number of products of an attention is left out.
template <class T>
double work_of(const T& thing) {
  // Rows of a grouped GEMM are those of all groups; heads of an attention have the same m and n.
  const bool per_group = thing.kernel != KernelClass::kGroupedGemm;
  return 2 * thing.m * thing.n * thing.k * (per_group ? thing.groups : 1);
}

template <class T>
std::array<double, 4> shape_of(const T& thing) {
  return {thing.m, thing.n, thing.k, static_cast<double>(thing.groups)};
}

std::array<double, 4> logarithms(std::array<double, 4> shape) {
  for (double& size : shape) size = std::log(size);
  return shape;
}

// The points in rising order of their keys, those of one key averaged.
std::vector<std::pair<double, double>> averaged(std::vector<std::pair<double, double>> points) {
  std::sort(points.begin(), points.end());
  std::vector<std::pair<double, double>> out;
  for (std::size_t first = 0; first < points.size();) {
    std::size_t last = first;
    double sum = 0;
    for (; last < points.size() && points[last].first == points[first].first; ++last)
      sum += points[last].second;
    out.emplace_back(points[first].first, sum / static_cast<double>(last - first));
    first = last;
  }
  return out;
}

InputError not_measured(const HostCalibration& calibration, std::string_view what,
                        std::string_view name) {
  return InputError(fmt::format(
      "error: calibration '{}' has no {} '{}'\n  hosts are calibrated in BF16 (precision=bf16 in "
      "the layout), for the models of `orrery calibrate host --models`",
      calibration.name, what, name));
}

// How far a value lies outside what was measured: 1 inside, 3 at a third or three times of it.
struct Excess {
  std::string_view what;
  double value = 0, least = 0, most = 0;
  double factor() const {
    if (value <= 0) return 1;  // nothing to do takes the fixed part
    return std::max({1.0, value / most, least / value});
  }
};

// Within this factor of a measurement the models are trusted.
constexpr double kTrusted = 2;

}  // namespace

CostLine fit_cost_line(std::span<const std::pair<double, double>> points) {
  ORRERY_CHECK(!points.empty(), "a line needs points");
  // Minimise sum ((a + b x) / y - 1)^2: normal equations with weights 1 / y^2. Amounts are scaled
  // to the largest, so that no power overflows.
  double scale = 0;
  for (const auto& [amount, seconds] : points) {
    ORRERY_CHECK(amount > 0 && seconds > 0, "{} s at {}", seconds, amount);
    scale = std::max(scale, amount);
  }
  double w = 0, wx = 0, wxx = 0, wy = 0, wxy = 0;
  for (const auto& [amount, seconds] : points) {
    const double x = amount / scale, weight = 1 / (seconds * seconds);
    w += weight;
    wx += weight * x;
    wxx += weight * x * x;
    wy += weight * seconds;
    wxy += weight * x * seconds;
  }
  const double determinant = w * wxx - wx * wx;
  if (determinant > 1e-12 * w * wxx) {
    const double slope = (w * wxy - wx * wy) / determinant;
    const double offset = (wy - slope * wx) / w;
    if (slope > 0 && offset >= 0) return {offset, slope / scale};
  }
  return {0, wxy / wxx / scale};
}

// ---------------------------------------------------------------------------------------------------------------------
// Models

HostCost::HostCost(HostCalibration calibration) : calibration_(std::move(calibration)) {
  for (const HostKernelRow& row : calibration_.kernels) {
    add_rows({row.kernel, row.op});
    add_rows({row.kernel, ""});
  }
  without_work_ = {calibration_.device.without_work.begin(),
                   calibration_.device.without_work.end()};
  std::map<std::pair<Pattern, int>, std::vector<std::pair<double, double>>> transfers;
  for (const HostTransferRow& row : calibration_.transfers) {
    transfers[{row.pattern, row.group}].emplace_back(row.bytes.value(),
                                                     row.time.expected().value());
  }
  for (const auto& [key, points] : transfers) {
    const auto [least, most] = std::minmax_element(points.begin(), points.end());
    transfer_models_[key.first][key.second] = {fit_cost_line(points), least->first, most->first};
  }
}

void HostCost::add_rows(const Key& key) {
  if (shape_models_.contains(key) || stream_models_.contains(key)) return;
  const auto& [kernel, name] = key;
  const bool streams = kernel_kind(kernel) == KernelKind::kStreaming;
  std::vector<const HostKernelRow*> rows;
  std::vector<std::pair<double, double>> points;
  for (const HostKernelRow& row : calibration_.kernels) {
    if (row.kernel != kernel || (!name.empty() && row.op != name)) continue;
    rows.push_back(&row);
    points.emplace_back(streams ? row.amount : work_of(row), row.time.expected().value());
  }
  const CostLine law = fit_cost_line(points);
  if (streams) {
    stream_models_[key] = {law, averaged(std::move(points))};
    return;
  }
  ShapeModel& model = shape_models_[key];
  model.law = law;
  model.least.fill(kUnlimited);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const Shape shape = shape_of(*rows[row]);
    model.ratios.emplace_back(logarithms(shape), points[row].second / law.at(points[row].first));
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      model.least[axis] = std::min(model.least[axis], shape[axis]);
      model.most[axis] = std::max(model.most[axis], shape[axis]);
    }
  }
}

HostCost::Key HostCost::key_of(const Op& op, Pass pass) const {
  Key key{op.kernel, host_op_name(op.name, pass)};
  if (!shape_models_.contains(key) && !stream_models_.contains(key)) key.second.clear();
  return key;
}

Seconds HostCost::shape_time(const ShapeModel& model, const Op& op) const {
  const double work = work_of(op);
  const double law = model.law.at(work);
  if (work <= 0) return Seconds{law};  // an expert without a token
  const Shape place = logarithms(shape_of(op));
  constexpr double kSamePlace = 1e-18;  // squared distance
  double weights = 0, sum = 0, same = 0, same_sum = 0;
  for (const auto& [measured, ratio] : model.ratios) {
    double squared = 0;
    for (std::size_t axis = 0; axis < place.size(); ++axis)
      squared += (place[axis] - measured[axis]) * (place[axis] - measured[axis]);
    if (squared < kSamePlace) {
      same += 1;
      same_sum += ratio;
    } else {
      weights += 1 / (squared * squared);
      sum += ratio / (squared * squared);
    }
  }
  return Seconds{law * (same > 0 ? same_sum / same : sum / weights)};
}

Seconds HostCost::stream_time(const StreamModel& model, const Op& op) const {
  const auto& [law, points] = model;
  const double amount = op.amount();
  const auto beyond = [&law = law, amount](const std::pair<double, double>& end) {
    return Seconds{end.second * law.at(amount) / law.at(end.first)};
  };
  const auto above =
      std::lower_bound(points.begin(), points.end(), amount,
                       [](const auto& point, double wanted) { return point.first < wanted; });
  if (above == points.end()) return beyond(points.back());
  if (above->first == amount) return Seconds{above->second};
  if (above == points.begin()) return beyond(points.front());
  const auto below = std::prev(above);
  const double place = std::log(amount / below->first) / std::log(above->first / below->first);
  return Seconds{below->second * std::pow(above->second / below->second, place)};
}

Seconds HostCost::op_time(const Op& op, Pass pass) const {
  if (without_work_.contains(host_op_name(op.name, pass))) return Seconds{};
  const Key key = key_of(op, pass);
  if (const auto found = shape_models_.find(key); found != shape_models_.end())
    return shape_time(found->second, op);
  if (const auto found = stream_models_.find(key); found != stream_models_.end())
    return stream_time(found->second, op);
  throw not_measured(calibration_, "kernel", to_string(op.kernel));
}

// ---------------------------------------------------------------------------------------------------------------------
// As a source of costs

ComputeCost HostCost::compute(const Work& work, int) const {
  ComputeCost cost;
  for (const Op& op : work.ops) cost.busy += op_time(op, work.pass);
  cost.gaps = calibration_.device.instruction;
  return cost;
}

const std::pair<const int, HostCost::TransferModel>& HostCost::transfer_model(
    const Wire& wire) const {
  const auto found = transfer_models_.find(wire.pattern);
  if (found == transfer_models_.end()) {
    throw not_measured(calibration_, "transfer", to_string(wire.pattern));
  }
  // Ratios multiply: half the group at these bytes is nearer than the group at a third of them.
  const auto distance = [&](const auto& model) {
    const Excess bytes{"bytes", wire.logical.value(), model.second.least, model.second.most};
    return std::abs(std::log(static_cast<double>(model.first) / wire.group)) +
           std::log(bytes.factor());
  };
  return *std::min_element(found->second.begin(), found->second.end(),
                           [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
}

TransferCost HostCost::transfer(const Work& work, bool, int) const {
  const Wire& wire = work.wire;
  const CostLine& law = transfer_model(wire).second.law;
  const double moving = law.per_unit * wire.logical.value();
  // A host has one medium. Bytes for another one are among the logical bytes already.
  const bool moves = wire.nvlink.value() > 0 || wire.nic.value() > 0;
  const auto limit = [&](Bytes bytes) {
    return moving > 0 && bytes.value() > 0 ? bytes / Seconds{moving} : BytesPerSecond{kUnlimited};
  };
  return {Seconds{moves ? law.fixed : law.fixed + moving}, limit(wire.nic), limit(wire.nvlink)};
}

AssumedFigures HostCost::assumed(const Program& program) const {
  std::map<std::string, Excess> worst;
  const auto note = [&](std::string_view name, const Excess& excess) {
    if (excess.factor() <= kTrusted) return;
    Excess& known = worst.try_emplace(std::string(name), excess).first->second;
    if (excess.factor() > known.factor()) known = excess;
  };
  std::set<AssumedFigure> used;
  for (const Work& work : program.works) {
    for (const Op& op : work.ops) {
      const std::string_view name = to_string(op.kernel);
      if (without_work_.contains(host_op_name(op.name, work.pass))) continue;
      const Key key = key_of(op, work.pass);
      if (const auto found = stream_models_.find(key); found != stream_models_.end()) {
        const auto& points = found->second.points;
        note(name, {"amount", op.amount(), points.front().first, points.back().first});
      }
      const auto found = shape_models_.find(key);
      if (found == shape_models_.end()) continue;
      constexpr std::string_view kAxes[] = {"m", "n", "k", "groups"};
      const Shape shape = shape_of(op);
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        note(name, {kAxes[axis], shape[axis], found->second.least[axis], found->second.most[axis]});
      }
    }
    const Wire& wire = work.wire;
    if (work.is_compute() || !transfer_models_.contains(wire.pattern)) continue;
    const auto& [group, model] = transfer_model(wire);
    note(to_string(wire.pattern), {"bytes", wire.logical.value(), model.least, model.most});
    if (group != wire.group) {
      used.insert({fmt::format("{}: {} group", calibration_.name, to_string(wire.pattern)),
                   fmt::format("measured with groups of {}, used for {}", group, wire.group)});
    }
  }
  for (const auto& [name, excess] : worst) {
    used.insert({fmt::format("{}: {}", calibration_.name, name),
                 fmt::format("{} measured from {:.6g} to {:.6g}, used at {:.6g}", excess.what,
                             excess.least, excess.most, excess.value)});
  }
  return {used.begin(), used.end()};
}

HostMachine HostCost::machine() const {
  const HostDevice& device = calibration_.device;
  std::vector<double> slowdown = device.slowdown;  // against the calibrated times
  for (double& factor : slowdown) factor /= device.slowdown.back();
  return {device.cores, std::move(slowdown), device.hand_over, device.wake};
}

// ---------------------------------------------------------------------------------------------------------------------
// Times of instructions

HostTimes::HostTimes(const Program& program, const HostCost& costs, double pace)
    : by_work_(program.works.size()) {
  std::vector<char> known(program.works.size(), 0);
  for (const Instruction& instruction : program.instructions) {
    const std::size_t index = instruction.work.index();
    if (known[index]) continue;
    known[index] = 1;
    const Work& work = program.works[index];
    const Seconds time = work.is_compute() ? costs.compute(work, 0).total()
                                           : uncontended(work.wire, costs.transfer(work, false, 0));
    by_work_[index] = {time, time * pace};
  }
}

HostTime HostTimes::at(const Instruction& instruction) const {
  return by_work_[instruction.work.index()];
}

RecordedTimes::RecordedTimes(std::vector<HostTime> times) : times_(std::move(times)) {}

RecordedTimes::RecordedTimes(const std::vector<Seconds>& work, const std::vector<Seconds>& lasts) {
  ORRERY_CHECK(lasts.empty() || lasts.size() == work.size(), "{} works, {} paces", work.size(),
               lasts.size());
  for (std::size_t index = 0; index < work.size(); ++index)
    times_.push_back({work[index], lasts.empty() ? Seconds{} : lasts[index]});
}

HostTime RecordedTimes::at(const Instruction& instruction) const {
  const std::size_t index = instruction.id.index();
  ORRERY_CHECK(index < times_.size(), "instruction {} of {}", index, times_.size());
  return times_[index];
}

}  // namespace orrery
