#include "planner/schedules/families.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "core/error.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

CellForms forms_of(const Schedule& schedule) {
  CellForms forms;
  for (const auto& cells : schedule.ranks) {
    for (const Cell& cell : cells) {
      forms.pairs = forms.pairs || cell.kind == CellKind::kFB;
      forms.full_backwards = forms.full_backwards || cell.kind == CellKind::kB;
      forms.split_backwards =
          forms.split_backwards || cell.kind == CellKind::kI || cell.kind == CellKind::kW;
    }
  }
  return forms;
}

// Whether everything of `part` is in `whole`.
bool within(const CellForms& part, const CellForms& whole) {
  return part.pairs <= whole.pairs && part.full_backwards <= whole.full_backwards &&
         part.split_backwards <= whole.split_backwards;
}

TEST_CASE("every schedule family generates a valid schedule of its name wherever it says it can") {
  for (const ScheduleFamily& family : schedule_families()) {
    int generated = 0;
    for (const int pp : {0, 1, 2, 3, 4, 6, 8}) {
      for (int microbatches = 0; microbatches <= 24; microbatches += microbatches < 9 ? 1 : 3) {
        CAPTURE(std::string(family.name), pp, microbatches);
        if (const auto reason = family.why_not({.pp = pp, .microbatches = microbatches})) {
          CHECK_FALSE(reason->empty());
          CHECK_THROWS_AS(make_schedule(family.name, pp, microbatches), InputError);
          continue;
        }
        ++generated;
        const Schedule schedule = make_schedule(family.name, pp, microbatches);
        CHECK(schedule.family == family.name);
        CHECK(schedule.pp() == pp);
        CHECK(schedule.microbatches == microbatches);
        CHECK(check_schedule(schedule).empty());
        CHECK(within(forms_of(schedule), family.forms));
      }
    }
    CHECK(generated > 0);
  }
}

// What the layout search takes its bounds from, before there is an order.
TEST_CASE("a family's stages and forms of cells are those of its schedules") {
  for (const ScheduleFamily& family : schedule_families()) {
    const int chunks = family.placement == StagePlacement::kWave ? 3 : 0;
    const ScheduleRequest request{.pp = 4, .microbatches = 24, .chunks = chunks};
    CAPTURE(std::string(family.name));
    Schedule schedule = make_schedule(family.name, request);
    CHECK(within(family.forms, forms_of(schedule)));
    for (auto& cells : schedule.ranks) cells.clear();
    CHECK(place_stages(family, request) == schedule);
  }
}

TEST_CASE("schedule families have distinct names and say what they are and need") {
  std::set<std::string_view> names;
  for (const ScheduleFamily& family : schedule_families()) {
    CHECK(names.insert(family.name).second);
    CHECK_FALSE(family.description.empty());
    CHECK_FALSE(family.requirement.empty());
  }
  CHECK(names.contains("1f1b"));
  CHECK(names.contains("dualpipe"));
}

TEST_CASE("an unknown schedule is answered with the nearest name or with all of them") {
  CHECK_THROWS_AS(make_schedule("dualpip", 8, 32), InputError);
  CHECK_THROWS_WITH(
      make_schedule("dualpip", 8, 32),
      Catch::Contains("unknown schedule 'dualpip'") && Catch::Contains("did you mean 'dualpipe'?"));
  CHECK_THROWS_WITH(make_schedule("1b1f", 8, 32), Catch::Contains("1f1b"));
  CHECK_THROWS_WITH(make_schedule("zzz", 8, 32), Catch::Contains("gpipe, 1f1b, "));
}

}  // namespace
}  // namespace orrery
