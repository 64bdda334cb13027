#include "planner/layouts/schedule_choices.hpp"

#include "planner/schedules/families.hpp"

namespace orrery {

Choices schedule_choices(const LayoutSpace& space, const Model& model, const Setting& setting) {
  Choices choices;
  std::int64_t number = 0;
  for (const int vpp : space.vpp) {
    for (const std::string& family : space.schedule) {
      const ScheduleChoice choice{family, vpp};
      if (const auto why = rule_out(model, setting, family, vpp)) {
        choices.not_there.emplace_back(*why, choice);
      } else {
        const bool mirrored = schedule_family(family).placement == StagePlacement::kBidirectional;
        choices.there.push_back({choice, number, mirrored});
      }
      ++number;
    }
  }
  return choices;
}

}  // namespace orrery
