#pragma once
// The validation report of DeepSeek-V3's training step: predicted next to published, kept in
// reports/ and written anew by `orrery validate`.
#include <string>

#include "core/plan.hpp"
#include "planner/device_model.hpp"
#include "reports/published.hpp"

namespace orrery {

// Simulates the published plan, three other stage maps and the chunk pair; Markdown. Deterministic.
std::string validation_report(const PublishedRun& published, const Plan& plan,
                              const DeviceModel& model);

}  // namespace orrery
