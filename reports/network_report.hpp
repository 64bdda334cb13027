#pragma once
// The network model next to published figures: reports/network.md.
#include <string>
#include <vector>

#include "core/plan.hpp"
#include "planner/device_model.hpp"
#include "reports/published.hpp"
#include "sim/network/published_exchanges.hpp"
#include "sim/published_collectives.hpp"

namespace orrery {

// Group sizes of expert-parallel kernels that set no constant; DeepSeek-V3's published step with
// even and with uneven experts; its two fabrics. Markdown, deterministic.
std::string network_report(const std::vector<ExchangeSeries>& exchanges,
                           const std::vector<CollectiveSeries>& collectives,
                           const PublishedRun& published, const Plan& plan,
                           const DeviceModel& model);

}  // namespace orrery
