#include "planner/layouts/fix.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include "core/diagnostic.hpp"
#include "core/layout_check.hpp"

namespace orrery {
namespace {

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
    if (!given.empty()) parse_layout(given, diagnostics);
  }
  diagnostics.throw_if_errors();
  std::map<std::string, std::string> keys = keys_of(over);
  keys.merge(keys_of(text));
  if (keys.contains("dp")) {
    diagnostics.error({}, "dp follows from pp, tp, cp and the number of GPUs", "leave dp out");
  }
  diagnostics.throw_if_errors();
  std::string merged;
  for (const auto& [key, value] : keys) {
    if (!key.empty()) merged += (merged.empty() ? "" : ",") + key + "=" + value;
  }
  const Layout fixed = parse_layout(merged, diagnostics);
  if (fixed.attention != AttentionKernels::kFused)
    diagnostics.error({}, "the search takes fused attention", "`orrery simulate` takes the other");
  if (fixed.exchange != ExchangeKernels::kDeepEp)
    diagnostics.error({}, "the search takes exchange=deepep", "`orrery simulate` takes the other");
  if (fixed.weights != WeightGradients::kBeside)
    diagnostics.error({}, "the search takes weights=beside", "`orrery simulate` takes the other");
  diagnostics.throw_if_errors();
  const auto one = [&](const char* key, auto& list, auto value) {
    if (keys.contains(key)) list = {value};
  };
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
