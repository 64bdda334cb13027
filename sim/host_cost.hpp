#pragma once
// Times of a host from its calibration (sim/host_calibration.hpp).
//
// Matrix products and attention. A law t = a + work / rate, the work being 2 m n k (times the
// groups where m or k counts one group's), is fitted by least squares of relative errors to the
// rows of the class. The ratio measured / law is interpolated between the rows, weighted by the
// inverse fourth power of the distance in (log m, log n, log k, log groups), so that every measured
// shape is reproduced exactly (as in sim/gemm_model.hpp).
//
// Streaming kernels. Between measured amounts linear in the logarithms; beyond them the line
// a + b amount, fitted likewise and scaled to meet the measured end.
//
// Transfers. A line a + b bytes for each pattern and group size; of the measured group sizes the
// nearest counts.
//
// An op has the rows that carry its name, and where there are none those of its whole class.
//
// A class or pattern without rows is an InputError that names what measures it. Rows of one shape
// are averaged.
#include <array>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/cost_source.hpp"
#include "sim/host_calibration.hpp"
#include "sim/host_engine.hpp"

namespace orrery {

// t = fixed + per_unit * amount, in seconds.
struct CostLine {
  double fixed = 0;
  double per_unit = 0;
  double at(double amount) const { return fixed + per_unit * amount; }
};

// Least squares of relative errors over (amount, seconds); through the origin where the points do
// not resolve a positive overhead and a positive rate.
CostLine fit_cost_line(std::span<const std::pair<double, double>> points);

class HostCost : public CostSource {
 public:
  explicit HostCost(HostCalibration calibration);

  // Nothing is lent; gaps are what an instruction takes beside its ops.
  ComputeCost compute(const Work& work, int lent_sms) const override;
  // The same beside computation: what cores cost each other is HostMachine::slowdown.
  TransferCost transfer(const Work& work, bool beside_compute, int lent_sms) const override;
  // A figure for each class and pattern that is used beyond twice, or below half, of what was
  // measured, and for each group size that another one stands for.
  AssumedFigures assumed(const Program& program) const override;

  Seconds op_time(const Op& op, Pass pass) const;
  HostMachine machine() const;
  const HostCalibration& calibration() const { return calibration_; }

 private:
  using Shape = std::array<double, 4>;  // m, n, k, groups
  struct ShapeModel {
    CostLine law;
    std::vector<std::pair<Shape, double>> ratios;  // at the logarithms of a measured shape
    Shape least{}, most{};                         // measured, of each coordinate
  };
  struct StreamModel {
    CostLine law;
    std::vector<std::pair<double, double>> points;  // by amount, ascending: seconds
  };
  struct TransferModel {
    CostLine law;
    double least = 0, most = 0;  // bytes measured
  };

  // An op by its name, or a class as a whole under an empty name.
  using Key = std::pair<KernelClass, std::string>;
  void add_rows(const Key& key);
  Key key_of(const Op& op, Pass pass) const;
  Seconds shape_time(const ShapeModel& model, const Op& op) const;
  Seconds stream_time(const StreamModel& model, const Op& op) const;
  // By ratio the nearest of the group sizes measured, and of the bytes measured with them.
  const std::pair<const int, TransferModel>& transfer_model(const Wire& wire) const;

  HostCalibration calibration_;
  std::map<Key, ShapeModel> shape_models_;
  std::map<Key, StreamModel> stream_models_;
  std::set<std::string> without_work_;
  std::map<Pattern, std::map<int, TransferModel>> transfer_models_;  // by group
};

// What the instructions of a Program take by a HostCost, each paced to `pace` times that.
class HostTimes : public InstructionTimes {
 public:
  // A pace of 0: none. `program` must outlive this.
  HostTimes(const Program& program, const HostCost& costs, double pace);
  HostTime at(const Instruction& instruction) const override;

 private:
  std::vector<HostTime> by_work_;
};

// Known times, or a measurement replayed: by InstructionId what each instruction worked and, in a
// paced run, at least lasted (empty: no pace). Of a transfer the receive's entry counts.
class RecordedTimes : public InstructionTimes {
 public:
  explicit RecordedTimes(std::vector<HostTime> times);
  explicit RecordedTimes(const std::vector<Seconds>& work, const std::vector<Seconds>& lasts = {});
  HostTime at(const Instruction& instruction) const override;

 private:
  std::vector<HostTime> times_;
};

}  // namespace orrery
