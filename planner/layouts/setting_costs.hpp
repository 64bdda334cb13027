#pragma once
// What a micro-batch costs on one GPU under a setting, entry by entry of a stage map: sums that
// bound every schedule from below. Settings that differ in pp or in what no kernel sees share them.
#include <array>
#include <tuple>

#include "planner/chunk_times.hpp"
#include "planner/layouts/space.hpp"

namespace orrery {

// SMs that communication may hold beside computation.
struct CommSms {
  int least = 0, most = 0;
};

// Seconds of one entry and micro-batch. Transfers take as long as alone or beside computation,
// whichever is less, so that nothing is ever shorter.
struct EntrySums {
  double F = 0, I = 0, W = 0;       // computation with all SMs; what is recomputed counts in I
  double paired = 0;                // all of it beside communication
  double wire = 0;                  // transfers
  double F_waits = 0, I_waits = 0;  // of these, what a lone cell waits for at least
  double again = 0;                 // of I and its waits, what needs no gradient
  LayerBytes bytes;
};

constexpr std::size_t kLayerKinds = 5;
struct SettingSums {
  std::array<EntrySums, kLayerKinds> entries;  // by LayerKind
  const EntrySums& of(LayerKind kind) const { return entries[static_cast<std::size_t>(kind)]; }
  Bytes boundary;  // of what is sent to the next stage
};

// What ZeRO stages 2 and 3 add to an entry and micro-batch, in seconds: collectives, and kernels
// with all SMs.
struct ZeroEntrySums {
  double gather_F = 0, gather_I = 0, reduce = 0;
  double quantise_F = 0, quantise_I = 0;
};
struct ZeroSums {
  std::array<ZeroEntrySums, kLayerKinds> entries;  // by LayerKind
  const ZeroEntrySums& of(LayerKind kind) const { return entries[static_cast<std::size_t>(kind)]; }
};
ZeroSums sum_zero(const ZeroWorks& zero, const CostSource& costs);

SettingSums sum_setting(const UnitSet& set, Recompute recompute, CommSms sms,
                        const CostSource& costs);

// Two layouts with the same key have the same unit set on a cluster.
using SettingKey = std::tuple<int, int, int, int, int, int, int, int>;
SettingKey setting_key(const Cluster& cluster, const Layout& layout);

}  // namespace orrery
