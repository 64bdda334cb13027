#pragma once
// Why points of the space cannot be: a reason in a few words that can be counted, and the numbers
// behind it for one point.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/layout.hpp"
#include "core/model.hpp"
#include "core/plan.hpp"

namespace orrery {

namespace rejections {
inline constexpr const char* kGpus = "pp*tp*cp does not divide the GPUs";
inline constexpr const char* kStages = "more stages than layers, embedding and head";
inline constexpr const char* kTensor = "tp does not divide the model";
inline constexpr const char* kContext = "2*cp does not divide the sequence";
inline constexpr const char* kExpertTensor = "etp does not divide tp or the experts' width";
inline constexpr const char* kNoExperts = "ep without experts";
inline constexpr const char* kExperts = "ep does not divide the experts";
inline constexpr const char* kExpertGroups = "ep does not divide the GPUs it is spread over";
inline constexpr const char* kBatch = "dp*mbs does not divide the batch";
inline constexpr const char* kNoFp8 = "no FP8 on this GPU";
inline constexpr const char* kChunks = "vpp does not suit the schedule";
inline constexpr const char* kNoSchedule = "no schedule of this size";
// ZeRO 2 and 3 need schedules that hold each stage on one rank: mirrored ranks have the gradients
// of a micro-batch at different times.
inline constexpr const char* kStagesOnTwoRanks = "ZeRO 2 or 3 with each stage on two ranks";
}  // namespace rejections

// Reasons in the order in which a planner wants them: the memory, which can be had elsewhere, and
// then as the rules are applied.
std::vector<std::string> in_order(const std::map<std::string, std::int64_t>& rejected);

// A point that was rejected: of all with its reason the first, of those beyond the memory the one
// that lacks least.
struct RejectedPoint {
  Layout layout;
  std::string schedule;    // empty: whatever the schedule
  std::string arithmetic;  // of memory; else empty until rejection_arithmetic() is asked
};

// The numbers of a point that was rejected for one of the reasons above (dp may be open).
std::string rejection_arithmetic(const Model& model, const Cluster& cluster,
                                 const Training& training, const std::string& reason,
                                 const RejectedPoint& point);

}  // namespace orrery
