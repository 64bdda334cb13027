#pragma once
// The schedules of a space that there are for pp ranks and so many micro-batches.
#include <cstdint>
#include <utility>
#include <vector>

#include "planner/layouts/score.hpp"
#include "planner/layouts/space.hpp"

namespace orrery {

struct Choice {
  ScheduleChoice schedule;
  std::int64_t number = 0;  // in the space
  bool mirrored = false;    // each stage lies on two ranks
};

struct Choices {
  std::vector<Choice> there;
  std::vector<std::pair<const char*, ScheduleChoice>> not_there;  // and why
};

Choices schedule_choices(const LayoutSpace& space, const Model& model, const Setting& setting);

}  // namespace orrery
