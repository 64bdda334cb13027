#include "planner/schedule_families.hpp"

#include <fmt/format.h>

#include <array>
#include <vector>

#include "core/suggest.hpp"
#include "planner/dualpipe.hpp"
#include "planner/one_f_one_b.hpp"
#include "planner/reject_input.hpp"

namespace orrery {
namespace {

constexpr std::array kFamilies = {
    ScheduleFamily{"1f1b", "one forward, one backward in turn; the fewest activations",
                   "pp at least 1; m at least 1", one_f_one_b, one_f_one_b_why_not},
    ScheduleFamily{
        "dualpipe",
        "micro-batches from both ends, forwards overlapped with backwards; parameters twice",
        "pp even; m even and at least 2 pp", dualpipe, dualpipe_why_not},
};

}  // namespace

std::span<const ScheduleFamily> schedule_families() {
  return kFamilies;
}

const ScheduleFamily& schedule_family(std::string_view name) {
  std::vector<std::string> names;
  for (const ScheduleFamily& family : kFamilies) {
    if (family.name == name) return family;
    names.emplace_back(family.name);
  }
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) hint = fmt::format("there are: {}", fmt::join(names, ", "));
  reject_input(fmt::format("unknown schedule '{}'", name), hint);
}

Schedule make_schedule(std::string_view name, int pp, int microbatches) {
  return schedule_family(name).generate(pp, microbatches);
}

}  // namespace orrery
