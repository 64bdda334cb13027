#include "sim/measured_calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/error.hpp"
#include "core/file.hpp"
#include "sim/calibration.hpp"

namespace orrery {
namespace {

// Microseconds to the hundredth, of which medians are good; all else as it is.
std::string line_of(const MeasuredRow& row) {
  std::string text = "  [";
  for (std::size_t at = 0; at + 1 < row.numbers.size(); ++at)
    text += fmt::format("{:.10g}, ", row.numbers[at]);
  return text + fmt::format("{:.2f}],  # {}\n", row.numbers.back(), row.what);
}

std::string lines_of(const MeasuredTable& table, const std::string& source) {
  const KernelKind kind = kernel_kind(table.kernel);
  std::string text = kind == KernelKind::kGemm        ? "[[gemm_rows]]\n"
                     : kind == KernelKind::kAttention ? "[[attention_rows]]\n"
                                                      : "[[stream_rows]]\n";
  text += fmt::format("kernel = \"{}\"\n", to_string(table.kernel));
  if (kind == KernelKind::kGemm) text += fmt::format("dtype = \"{}\"\n", to_string(table.type));
  if (kind != KernelKind::kStreaming) text += fmt::format("sms = {}\n", table.sms);
  if (table.launches) text += fmt::format("launches = {}\n", *table.launches);
  if (table.within) {
    return text + fmt::format("within = \"{}\"\nsource = \"{}; measured in one with it\"\n\n",
                              to_string(*table.within), source);
  }
  text += fmt::format("source = \"{}{}{}\"\n", source, table.note.empty() ? "" : "; ", table.note);
  text += kind == KernelKind::kGemm ? "columns = [\"m\", \"n\", \"k\", \"groups\", \"us\"]\n"
          : kind == KernelKind::kAttention
              ? "columns = [\"sequence\", \"gflop\", \"us\"]\n"
              : fmt::format("columns = [\"{}\", \"us\"]\n", table.amount);
  text += "rows = [\n";
  for (const MeasuredRow& row : table.rows) text += line_of(row);
  return text + "]\n\n";
}

// What is above the mark.
std::string written_by_hand(std::string text) {
  const std::size_t mark = text.find(kMeasuredMark);
  if (mark != std::string::npos) text.resize(mark);
  while (text.ends_with("\n")) text.pop_back();
  return text + "\n\n";
}

// Heads as wide as those that the device's attention rows are taken to have.
void check_heads(const KernelMeasurements& measurements, int qk_dim, Diagnostics& diagnostics) {
  for (const KernelMeasurement& each : measurements.results) {
    if (!each.kernel.starts_with("attention ") || each.sizes.size() != 4 || each.sizes[2] == qk_dim)
      continue;
    diagnostics.error(each.place,
                      fmt::format("attention with a d_qk of {}, where the calibration's is {}",
                                  each.sizes[2], qk_dim));
  }
}

// A string in quotes must not end early.
void check_text(const KernelMeasurements& measurements, Diagnostics& diagnostics) {
  const std::string source = measurements.source();
  if (source.find_first_of("\"\\\n") != std::string::npos)
    diagnostics.error(measurements.device_place,
                      "names of files and devices may have no quotes "
                      "and backslashes here");
}

}  // namespace

std::string calibration_name(std::string_view device) {
  constexpr std::string_view kMaker = "NVIDIA ";
  if (device.starts_with(kMaker)) device.remove_prefix(kMaker.size());
  std::string name(device.substr(0, device.find(' ')));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return name;
}

MeasuredCalibration measured_calibration(const std::string& device_file,
                                         const KernelMeasurements& measurements,
                                         Diagnostics& diagnostics) {
  const Calibration device = read_calibration(device_file);
  if (device.base.empty()) {
    Place whole;
    whole.file = device_file;
    diagnostics.error(whole,
                      "this calibration has no base, so that nothing says what was not measured",
                      "write one with base, [scale], [device] and [transport], as "
                      "calibration/h100.toml is");
  }
  if (device.device.sms != measurements.sms) {
    diagnostics.error(measurements.sms_place,
                      fmt::format("measured on a device of {} SMs, where {} has {}",
                                  measurements.sms, device_file, device.device.sms),
                      "--device names the calibration of the device that was measured");
  }
  check_heads(measurements, device.attention_qk, diagnostics);
  check_text(measurements, diagnostics);
  MeasuredCalibration out;
  out.tables = measured_tables(measurements, device.device.fp8, diagnostics);
  diagnostics.throw_if_errors();
  out.text = written_by_hand(read_file(device_file));
  out.text += kMeasuredMark;
  out.text +=
      "# Times are medians. Products and attention: of the SMs given. Bytes, and rows: as the ops "
      "of a "
      "training step count them.\n\n";
  for (const MeasuredTable& table : out.tables.tables)
    out.text += lines_of(table, measurements.source());
  out.text.pop_back();
  return out;
}

}  // namespace orrery
