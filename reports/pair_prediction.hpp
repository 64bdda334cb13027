#pragma once
// The chunk pair of DeepSeek-V3 on a device that nobody has trained it on: predicted of kernel
// benchmarks alone, kept in reports/ before anything larger is measured there, so that what is
// measured can be held against it.
#include <string>

#include "core/plan.hpp"
#include "reports/published.hpp"
#include "sim/calibration.hpp"

namespace orrery {

// A plan, whose layers and expert groups the pair has, and the kernels of its device.
struct PairSetting {
  Plan plan;
  Calibration calibration;
};

// Markdown: the pair on the published device and on the other, and which kernels make the
// difference. Deterministic.
std::string pair_prediction(const PublishedRun& published, const PairSetting& known,
                            const PairSetting& predicted);

}  // namespace orrery
