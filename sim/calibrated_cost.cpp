#include "sim/calibrated_cost.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.hpp"

namespace orrery {
namespace {

bool is_exchange(Pattern pattern) {
  return pattern == Pattern::kDispatch || pattern == Pattern::kDispatchCached ||
         pattern == Pattern::kCombine || pattern == Pattern::kCombineGradient;
}

bool is_collective(Pattern pattern) {
  return pattern == Pattern::kAllReduce || pattern == Pattern::kReduceScatter ||
         pattern == Pattern::kAllGather;
}

// The vector that a collective works on: each GPU sends (n-1)/n of it in one pass.
Bytes payload_of(const Wire& wire) {
  const double passes = wire.pattern == Pattern::kAllReduce ? 2 : 1;
  return wire.logical * (wire.group / (passes * (wire.group - 1)));
}

// Interpolates between points sorted by a positive key, linearly in the logarithms; outside, the
// rate (key over value) of the end point holds.
double interpolate(std::span<const std::pair<double, Seconds>> points, double key) {
  const auto above =
      std::lower_bound(points.begin(), points.end(), key,
                       [](const auto& point, double wanted) { return point.first < wanted; });
  if (above == points.end()) return points.back().second.value() * key / points.back().first;
  const double there = above->second.value();
  if (above->first == key || above == points.begin()) return there * key / above->first;
  const auto below = std::prev(above);
  const double before = below->second.value();
  const double place = std::log(key / below->first) / std::log(above->first / below->first);
  return before * std::pow(there / before, place);
}

// The row whose group is nearest to `group` by ratio.
const ExchangeRow& nearest(const ExchangeTable& table, int group) {
  const auto distance = [&](const ExchangeRow& row) {
    return std::abs(std::log(static_cast<double>(row.group) / group));
  };
  return *std::min_element(table.rows.begin(), table.rows.end(),
                           [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
}

}  // namespace

// What the rows show each medium to carry: in the row where it was the narrow one it ran at this
// rate, in all others it was no faster.
ExchangeLimits limits_of(const ExchangeTable& table, bool across_nodes) {
  ExchangeLimits limits;
  for (const ExchangeRow& row : table.rows) {
    if ((row.nic > 0) != across_nodes) continue;
    limits.nic = std::max(limits.nic, row.rate * (row.nic / row.copies));
    limits.nvlink = std::max(limits.nvlink, row.rate * (row.nvlink / row.copies));
  }
  return limits;
}

BytesPerSecond logical_rate(const ExchangeLimits& limits, double copies, double nic,
                            double nvlink) {
  double seconds_a_byte = nvlink > 0 ? nvlink / limits.nvlink.value() : 0;
  if (nic > 0) seconds_a_byte = std::max(seconds_a_byte, nic / limits.nic.value());
  return BytesPerSecond{copies / seconds_a_byte};
}

CalibratedCost::CalibratedCost(const Calibration& calibration, const Cluster& cluster,
                               GemmEvidence evidence)
    : calibration_(calibration),
      cluster_(cluster),
      gemm_models_(gemm_families(calibration, evidence)) {}

const GemmModel& CalibratedCost::gemm_model(const Op& op) const {
  const bool fp8 = op.in == DataType::kFp8 || op.in == DataType::kFp8Tensor;
  if (fp8 && !calibration_.device.fp8) {
    throw InputError(
        fmt::format("error: '{}' has no FP8 tensor cores\n  = take precision=bf16 in the layout",
                    calibration_.device.name));
  }
  const auto found = gemm_models_.find({op.kernel, op.in});
  if (found == gemm_models_.end()) {
    throw InputError(fmt::format("calibration '{}' has no rows for kernel '{}' in {}",
                                 calibration_.device.name, to_string(op.kernel), to_string(op.in)));
  }
  return found->second;
}

Seconds CalibratedCost::attention_time(const Op& op, int sms) const {
  const auto found = calibration_.attention_rows.find(op.kernel);
  if (found == calibration_.attention_rows.end()) {
    throw InputError(fmt::format("calibration '{}' has no attention_rows for kernel '{}'",
                                 calibration_.device.name, to_string(op.kernel)));
  }
  // FLOP/s of one SM, interpolated over sequence length and number of SMs like the ratio of a GEMM.
  double weights = 0, sum = 0;
  for (const AttentionRow& row : found->second) {
    const double rate = row.rate.value() / row.sms;
    // SMs differ by tens of percent, sequences by factors: a measurement at the same SMs is nearer.
    const double length = std::log(op.n / row.sequence);
    const double width = 8 * std::log(static_cast<double>(sms) / row.sms);
    const double squared = length * length + width * width;
    if (squared < 1e-18) return op.flops / FlopsPerSecond{rate * sms};
    weights += 1 / (squared * squared);
    sum += rate / (squared * squared);
  }
  return op.flops / FlopsPerSecond{sum / weights * sms};
}

Seconds CalibratedCost::stream_time(const Op& op) const {
  const auto found = calibration_.stream_rows.find(op.kernel);
  if (found == calibration_.stream_rows.end()) {
    throw InputError(fmt::format("calibration '{}' has no stream_rows for kernel '{}'",
                                 calibration_.device.name, to_string(op.kernel)));
  }
  if (found->second.within) return {};
  // A kernel of next to no work still has to be launched and drained.
  return std::max(Seconds{interpolate(found->second.points, op.amount())},
                  calibration_.device.launch_gap);
}

Seconds CalibratedCost::op_time(const Op& op, int sms) const {
  if (op.kernel == KernelClass::kHostCopy || op.kernel == KernelClass::kHostUpdate)
    return host_time(op);
  const KernelKind kind = kernel_kind(op.kernel);
  if (kind == KernelKind::kAttention) return attention_time(op, sms);
  if (kind == KernelKind::kStreaming) return stream_time(op);
  const bool grouped_wgrad = op.kernel == KernelClass::kGroupedWgrad;
  return gemm_model(op).time(grouped_wgrad ? op.m * op.groups : op.m, op.n, op.k, op.groups, sms);
}

int CalibratedCost::launches(const Op& op) const {
  const auto found = calibration_.stream_rows.find(op.kernel);
  return found == calibration_.stream_rows.end() ? op.launches
                                                 : found->second.launches.value_or(op.launches);
}

Seconds CalibratedCost::host_time(const Op& op) const {
  if (!cluster_.host) {
    throw InputError(
        fmt::format("error: cluster '{}' does not say how fast its hosts are\n  = give pcie and "
                    "memory_bandwidth in [host] of the cluster file",
                    cluster_.name));
  }
  // All GPUs of a node copy and update at the same time.
  const BytesPerSecond rate = op.kernel == KernelClass::kHostCopy
                                  ? cluster_.host->pcie
                                  : cluster_.host->memory / cluster_.gpus_per_node;
  return Bytes{op.amount()} / rate;
}

ComputeCost CalibratedCost::compute(const Work& work, int lent_sms) const {
  const int sms = calibration_.device.sms - lent_sms;
  if (sms <= 0) {
    throw InputError(fmt::format("comm_sms={} leaves no SM of the {} of '{}' for computation",
                                 lent_sms, calibration_.device.sms, calibration_.device.name));
  }
  ComputeCost cost;
  for (const Op& op : work.ops) {
    cost.busy += op_time(op, sms);
    cost.gaps += launches(op) * calibration_.device.launch_gap;
  }
  return cost;
}

TransferCost CalibratedCost::transfer(const Work& work, bool beside_compute, int lent_sms) const {
  const Wire& wire = work.wire;
  if (is_exchange(wire.pattern) && !wire.all_to_all)
    return exchange(wire, beside_compute, lent_sms);
  if (is_collective(wire.pattern) && wire.group > 1) return collective(wire);
  const Seconds hop =
      wire.nic.value() > 0 ? cluster_.fabric.cross_leaf_latency : cluster_.nvlink.latency;
  return {hop, nic_rate(), nvlink_rate()};
}

std::string CalibratedCost::method(const Work& work) const {
  if (!is_collective(work.wire.pattern) || work.wire.group < 2) return {};
  return describe(collective_choice(work.wire));
}

BytesPerSecond CalibratedCost::nic_rate() const {
  return std::min(calibration_.transport_nic, cluster_.nic_bandwidth_per_gpu());
}

BytesPerSecond CalibratedCost::nvlink_rate() const {
  return std::min(calibration_.transport_nvlink, cluster_.nvlink.bandwidth);
}

NcclChoice CalibratedCost::collective_choice(const Wire& wire) const {
  NcclGroup group{wire.pattern, payload_of(wire), wire.group, wire.in_node, nvlink_rate(), {}};
  if (group.nodes() > 1) {
    // A ring leaves a node through one NIC a GPU; of its hops inside, each GPU has all but one.
    group.ring = nic_rate() * group.in_node;
    if (group.in_node > 1) {
      group.ring = std::min(
          group.ring, nvlink_rate() * (static_cast<double>(group.in_node) / (group.in_node - 1)));
    }
  }
  // In-switch reduction needs a switch, and is as much slower as its links are.
  if (calibration_.transport_nvls && !cluster_.nvlink.pcie)
    group.nvls = *calibration_.transport_nvls * (nvlink_rate() / calibration_.transport_nvlink);
  return nccl_choice(group);
}

// Bytes move through a collective in step on both media, however fast one of them might be.
TransferCost CalibratedCost::collective(const Wire& wire) const {
  const NcclChoice choice = collective_choice(wire);
  const Seconds moving = payload_of(wire) / choice.rate;
  if (moving.value() <= 0) return {choice.latency, nic_rate(), nvlink_rate()};
  // Where the switch sums, a GPU sends its vector once and its share of the sum, not almost twice
  // the vector.
  const bool in_switch =
      choice.algorithm == NcclAlgorithm::kNvls || choice.algorithm == NcclAlgorithm::kNvlsTree;
  const double share = in_switch ? (wire.in_node + 1) / (2.0 * (wire.in_node - 1)) : 1;
  return {choice.latency, std::min(wire.nic / moving, cluster_.nic_bandwidth_per_gpu()),
          std::min(wire.nvlink * share / moving, cluster_.nvlink.bandwidth), share};
}

TransferCost CalibratedCost::exchange(const Wire& wire, bool beside_compute, int lent_sms) const {
  const auto alone = calibration_.exchanges.find({wire.pattern, false});
  const auto beside = calibration_.exchanges.find({wire.pattern, true});
  if (alone == calibration_.exchanges.end()) {
    throw InputError(fmt::format("calibration '{}' has no exchange '{}'", calibration_.device.name,
                                 to_string(wire.pattern)));
  }
  ExchangeLimits limits = exchange_limits(wire.pattern, wire.nic.value() > 0);
  Seconds overhead = alone->second.overhead;
  if (beside_compute && beside != calibration_.exchanges.end()) {
    // Few group sizes are measured beside compute: what it costs at the nearest of them, against
    // running alone there, is taken for both media.
    const ExchangeRow& row = nearest(beside->second, wire.group);
    const ExchangeLimits own = exchange_limits(wire.pattern, row.nic > 0);
    double slower = row.rate / logical_rate(own, row.copies, row.nic, row.nvlink);
    // Every SM of the kernel drives its own share of the channels: fewer move that much less. More
    // than were measured are not taken to help, and none means that no SM is needed.
    if (lent_sms > 0 && lent_sms < beside->second.sms)
      slower *= static_cast<double>(lent_sms) / beside->second.sms;
    limits = {limits.nic * slower, limits.nvlink * slower};
    overhead = beside->second.overhead;
  }
  return {overhead, std::min(limits.nic, cluster_.nic_bandwidth_per_gpu()),
          std::min(limits.nvlink, cluster_.nvlink.bandwidth)};
}

// Where exchanges were measured only across nodes, or only inside one, NVLink ran as fast there.
ExchangeLimits CalibratedCost::exchange_limits(Pattern pattern, bool across_nodes) const {
  const ExchangeTable& table = calibration_.exchanges.at({pattern, false});
  ExchangeLimits limits = limits_of(table, across_nodes);
  if (limits.nvlink.value() <= 0) {
    const ExchangeLimits other = limits_of(table, !across_nodes);
    limits = {other.nic.value() > 0 ? other.nic : other.nvlink, other.nvlink};
  }
  return limits;
}

AssumedFigures CalibratedCost::assumed(const Program& program) const {
  std::set<AssumedFigure> used(calibration_.assumed.begin(), calibration_.assumed.end());
  const auto add = [&](std::string_view what, std::string reason) {
    used.insert({fmt::format("{}: {}", calibration_.device.name, what), std::move(reason)});
  };
  for (const Work& work : program.works) {
    for (const Op& op : work.ops) {
      const auto found = calibration_.stream_rows.find(op.kernel);
      if (found != calibration_.stream_rows.end() && found->second.assumed) {
        add(to_string(op.kernel), *found->second.assumed);
      }
      if (op.kernel == KernelClass::kHostCopy) {
        used.insert({cluster_.name + ": host",
                     "PCIe and host memory by data sheets, copies at 87 % of the wire"});
      }
      if (kernel_kind(op.kernel) == KernelKind::kGemm && op.in == DataType::kFp8Tensor) {
        add("GEMMs with one scale a tensor",
            "by the laws of FP8 kernels with 1x128 scales, best of three tilings");
      }
      if (kernel_kind(op.kernel) == KernelKind::kAttention && op.k != calibration_.attention_qk) {
        add(to_string(op.kernel),
            fmt::format("rate of d_qk {} taken for d_qk {:.0f}", calibration_.attention_qk, op.k));
      }
    }
  }
  for (const Instruction& instruction : program.instructions) {
    const Wire& wire = program.work(instruction).wire;
    if (wire.all_to_all)
      add("all-to-all", "reaches what NCCL's transports reach, however small its messages");
    if (!is_exchange(wire.pattern) || wire.all_to_all) continue;
    const auto found = calibration_.exchanges.find({wire.pattern, instruction.overlapped});
    if (found == calibration_.exchanges.end()) continue;
    const ExchangeTable& table = found->second;
    const std::string name = fmt::format("exchange {}{}", to_string(wire.pattern),
                                         instruction.overlapped ? " beside compute" : "");
    const int group = nearest(table, wire.group).group;
    if (group != wire.group) {
      add(name, fmt::format("the rates of NIC and NVLink measured with groups of {}, used for {}",
                            group, wire.group));
    }
    if (instruction.overlapped && wire.nic.value() <= 0) {
      add(name + " in a node", "measured across nodes, used inside one");
    }
    if (instruction.overlapped && instruction.lent_sms != table.sms) {
      const bool fewer = instruction.lent_sms > 0 && instruction.lent_sms < table.sms;
      add(name + " SMs",
          fmt::format("measured with {} SMs, used with {}: {}", table.sms, instruction.lent_sms,
                      fewer ? "slower in proportion" : "the same rate"));
    }
  }
  return {used.begin(), used.end()};
}

}  // namespace orrery
