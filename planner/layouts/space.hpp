#pragma once
// The space of layouts and schedules that a plan is looked for in: a product of listed dimensions,
// so that its size can be stated and every point of it accounted for. dp follows from the GPUs; the
// stage map is solved for, and where ranks lie follows from the fabric: neither is a dimension.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/plan.hpp"
#include "planner/layouts/rejections.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {

// How the states of the optimizer are kept.
struct StateChoice {
  int zero = 1;
  Keep optimizer = Keep::kGpu;
  Keep ema = Keep::kCpu;
  auto operator<=>(const StateChoice&) const = default;
};
void apply(const StateChoice& choice, Layout& layout);

struct LayoutSpace {
  std::vector<int> pp, tp, cp, ep, etp, micro_batch;
  std::vector<Precision> precision;
  std::vector<Recompute> recompute;
  std::vector<int> vpp;
  std::vector<std::string> schedule;  // names of families
  std::vector<int> comm_sms, zero;
  std::vector<Keep> optimizer, ema;

  std::int64_t size() const { return settings() * points_a_setting(); }
  // Combinations of all but the schedule, its chunks, SMs and the optimizer's states.
  std::int64_t settings() const;
  std::int64_t points_a_setting() const;
  std::int64_t schedules() const;           // with their chunks
  std::vector<StateChoice> states() const;  // every combination, the last list varying fastest
};

// Powers of two: pp up to the layers, embedding and head included, tp and cp up to the GPUs of a
// node, ep up to the experts, etp up to tp, up to 8 sequences a micro-batch, up to 8 chunks a rank;
// every precision and recompute set; 8 to 32 SMs for communication; every ZeRO stage; optimizer and
// moving average on GPU and CPU, where the cluster says how fast its hosts are; every schedule
// family. What makes no
// difference is taken as the first of its list. On a host, whose threads are the ranks: pp, ep,
// 1F1B and DualPipe.
LayoutSpace whole_space(const Model& model, const Cluster& cluster);

// A point without its schedule, chunks, SMs and optimizer states: what decides the kernels of a
// micro-batch and the number of micro-batches. Everything in `layout` but these is set.
struct Setting {
  Layout layout;
  int microbatches = 0;
};

// The setting with this number, the last dimension varying fastest; dp and the micro-batches are
// left open, the rest of the layout has the first value of its list.
Setting setting_at(const LayoutSpace& space, std::int64_t number);

// Why no point of the setting can be, one of `rejections`; sets layout.dp and the number of
// micro-batches otherwise. The same rules as check_layout (core/layout_check.hpp).
std::optional<const char*> rule_out(const Model& model, const Cluster& cluster,
                                    const Training& training, bool has_fp8, Setting& setting);

// Why there is no such schedule; nothing if there is one.
std::optional<const char*> rule_out(const Model& model, const Setting& setting,
                                    const std::string& schedule, int vpp);

}  // namespace orrery
