#pragma once
// Times from calibration tables. GEMMs by sim/gemm_families.hpp; attention by its measured rate at
// the nearest sequence lengths, per SM; everything else by its measured time at the nearest
// amounts, whatever the SMs (112 of 132 SMs already saturate HBM in the training trace).
//
// Expert-parallel exchanges run at one rate on the NIC and another on NVLink, both at once, so
// their time follows from where the copies of the tokens go: small groups of nodes are held up by
// NVLink, large ones by the NICs.
#include <memory>

#include "core/cluster.hpp"
#include "sim/calibration.hpp"
#include "sim/cost_source.hpp"
#include "sim/gemm_families.hpp"
#include "sim/nccl_model.hpp"

namespace orrery {

// What an expert-parallel kernel reaches on the two media of a GPU.
struct ExchangeLimits {
  BytesPerSecond nic, nvlink;
};

// Logical bytes a second of an exchange that sends `nic` and `nvlink` of a token's `copies` over
// the two media at once.
BytesPerSecond logical_rate(const ExchangeLimits& limits, double copies, double nic, double nvlink);
// From the measured rows across nodes, or inside one.
ExchangeLimits limits_of(const ExchangeTable& table, bool across_nodes);

class CalibratedCost : public CostSource {
 public:
  // Link limits come from the cluster where its links are slower than what transports reach.
  CalibratedCost(const Calibration& calibration, const Cluster& cluster,
                 GemmEvidence evidence = GemmEvidence::kTraining);

  ComputeCost compute(const Work& work, int lent_sms) const override;
  TransferCost transfer(const Work& work, bool beside_compute, int lent_sms) const override;
  std::string method(const Work& work) const override;
  AssumedFigures assumed(const Program& program) const override;

  // How NCCL would carry out the collective of this wire (sim/nccl_model.hpp), on the links that
  // the group has.
  NcclChoice collective_choice(const Wire& wire) const;

  // Busy time of one op on `sms` SMs, launch gaps not counted.
  Seconds op_time(const Op& op, int sms) const;
  const Device& device() const { return calibration_.device; }

 private:
  const GemmModel& gemm_model(const Op& op) const;
  TransferCost exchange(const Wire& wire, bool beside_compute, int lent_sms) const;
  TransferCost collective(const Wire& wire) const;
  BytesPerSecond nic_rate() const;  // of transports other than exchanges
  BytesPerSecond nvlink_rate() const;
  ExchangeLimits exchange_limits(Pattern pattern, bool across_nodes) const;
  Seconds attention_time(const Op& op, int sms) const;
  Seconds stream_time(const Op& op) const;
  int launches(const Op& op) const;  // kernels that carry it out
  Seconds host_time(const Op& op) const;

  Calibration calibration_;
  Cluster cluster_;
  GemmFamilies gemm_models_;
};

}  // namespace orrery
