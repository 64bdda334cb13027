#include "planner/layouts/fix.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include "core/diagnostic.hpp"
#include "core/layout_check.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {
namespace {

constexpr const char* kSchedule = "schedule";

// The text without its schedule=..., which is no key of a layout; parse_layout reports the rest.
std::string without_schedule(const std::string& text, Diagnostics& diagnostics) {
  std::string rest;
  int found = 0;
  std::stringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    std::string trimmed = item;
    std::erase(trimmed, ' ');
    if (trimmed.empty()) {
      diagnostics.error({}, "there is nothing between two commas of '" + text + "'");
    } else if (trimmed.starts_with(std::string(kSchedule) + "=")) {
      if (++found > 1) diagnostics.error({}, "'schedule' is given twice");
      if (trimmed.size() == std::string(kSchedule).size() + 1)
        diagnostics.error({}, "'schedule' has no value", "such as schedule=1f1b");
    } else {
      rest += (rest.empty() ? "" : ",") + item;
    }
  }
  return rest;
}

// "pp=16, ep=64" -> {pp: "16", ep: "64"}; what is malformed is left for parse_layout to report.
std::map<std::string, std::string> keys_of(const std::string& text) {
  std::map<std::string, std::string> keys;
  std::stringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    std::erase(item, ' ');
    const std::size_t equals = item.find('=');
    keys[item.substr(0, equals)] = equals == std::string::npos ? "" : item.substr(equals + 1);
  }
  return keys;
}

}  // namespace

void fix_dimensions(LayoutSpace& space, const std::string& text, const std::string& over) {
  Diagnostics diagnostics;
  for (const std::string& given : {text, over}) {
    if (!given.empty()) parse_layout(without_schedule(given, diagnostics), diagnostics);
  }
  diagnostics.throw_if_errors();
  std::map<std::string, std::string> keys = keys_of(over);
  keys.merge(keys_of(text));
  if (keys.contains("dp")) {
    diagnostics.error({}, "dp follows: GPUs / (pp*tp*cp)", "fix pp, tp and cp, and leave dp out");
  }
  diagnostics.throw_if_errors();
  std::string merged;
  for (const auto& [key, value] : keys) {
    if (!key.empty() && key != kSchedule) merged += (merged.empty() ? "" : ",") + key + "=" + value;
  }
  const Layout fixed = parse_layout(merged, diagnostics);
  if (fixed.attention != AttentionKernels::kFused)
    diagnostics.error({}, "the search takes fused attention", "`orrery simulate` takes the other");
  if (fixed.exchange != ExchangeKernels::kDeepEp)
    diagnostics.error({}, "the search takes exchange=deepep", "`orrery simulate` takes the other");
  if (fixed.weights != WeightGradients::kBeside)
    diagnostics.error({}, "the search takes weights=beside", "`orrery simulate` takes the other");
  if (keys.contains("comm-sms") && fixed.comm_sms == 0) {
    diagnostics.error({}, "comm-sms=0 is an exchange that needs no SM, which no calibration has",
                      "`orrery simulate` takes it as a what-if and names the assumption");
  }
  diagnostics.throw_if_errors();
  const auto one = [&](const char* key, auto& list, auto value) {
    if (keys.contains(key)) list = {value};
  };
  if (const auto schedule = keys.find(kSchedule); schedule != keys.end()) {
    schedule_family(schedule->second);
    const bool given = space.schedule.size() == 1 && !keys_of(over).contains(kSchedule);
    if (given && space.schedule.front() != schedule->second) {
      diagnostics.error({}, "the schedule is given twice: " + space.schedule.front() + " and " +
                                schedule->second);
      diagnostics.throw_if_errors();
    }
    space.schedule = {schedule->second};
  }
  one("pp", space.pp, fixed.pp);
  one("tp", space.tp, fixed.tp);
  one("cp", space.cp, fixed.cp);
  one("ep", space.ep, fixed.ep);
  one("etp", space.etp, fixed.etp);
  one("vpp", space.vpp, fixed.vpp);
  one("zero", space.zero, fixed.zero_stage);
  one("mbs", space.micro_batch, fixed.micro_batch);
  one("comm-sms", space.comm_sms, fixed.comm_sms);
  one("precision", space.precision, fixed.precision);
  one("recompute", space.recompute, fixed.recompute);
  one("optimizer", space.optimizer, fixed.optimizer);
  one("ema", space.ema, fixed.ema);
}

}  // namespace orrery
