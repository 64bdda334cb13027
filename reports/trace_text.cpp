#include "reports/trace_text.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace orrery {

Nanoseconds to_nanoseconds(Seconds time) {
  constexpr double kMost = 9e9;  // what 64 bits of nanoseconds hold
  ORRERY_CHECK(time.value() >= 0 && time.value() <= kMost, "time {} s", time.value());
  return std::llround(time.value() * 1e9);
}

// Perfetto multiplies the number by 1000 and truncates; where that gives a nanosecond too little,
// spans that touch would overlap and one would be dropped: a tenth of a nanosecond more keeps it
// right for readers that truncate and for those that round.
std::string microseconds_text(Nanoseconds time) {
  const Nanoseconds whole = time / 1000;
  const Nanoseconds rest = time % 1000;
  if (rest == 0) return fmt::format("{}", whole);
  const double nearest = static_cast<double>(time) / 1000.0;
  const double summed = static_cast<double>(whole) + static_cast<double>(rest) / 1000.0;
  const bool right = static_cast<Nanoseconds>(nearest * 1000.0) == time &&
                     static_cast<Nanoseconds>(summed * 1000.0) == time;
  return fmt::format("{}.{:03}{}", whole, rest, right ? "" : "1");
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

WorkText describe_work(const Work& work) {
  WorkText text;
  text.head = fmt::format(R"("name":{},"cat":{})", json_string(work.name),
                          json_string(to_string(work.component)));
  if (work.is_compute()) return text;
  const auto megabytes = [](Bytes amount) { return amount.value() / 1e6; };
  text.sizes = fmt::format(R"(,"MB":{:.6g})", megabytes(work.wire.logical));
  if (work.wire.nic.value() > 0)
    text.sizes += fmt::format(R"(,"nic_MB":{:.6g})", megabytes(work.wire.nic));
  if (work.wire.nvlink.value() > 0)
    text.sizes += fmt::format(R"(,"nvlink_MB":{:.6g})", megabytes(work.wire.nvlink));
  return text;
}

std::string cell_name(const Cell& cell) {
  const auto kind = to_string(cell.kind);
  const bool is_pair = cell.has_forward() && cell.has_input_gradient();
  if (is_pair) {
    return fmt::format("{} {}|{}", kind, cell.forward.microbatch.value,
                       cell.backward.microbatch.value);
  }
  const Half& half = cell.has_forward() ? cell.forward : cell.backward;
  return fmt::format("{} {}", kind, half.microbatch.value);
}

}  // namespace orrery
