#include "sim/kernel_measurements.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "core/reader.hpp"

namespace orrery {
namespace {

// cublasLtGetVersion: 130100 is 13.1.0. cudnnGetVersion: 91400 is 9.14.0.
std::string version(int number) {
  return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

// A whole number above 0 at the start of `text`, which is cut off.
std::optional<double> take_number(std::string_view& text) {
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < 1) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return static_cast<double>(value);
}

// "8192x4096x7168 x 4"; false where it is none.
bool parse_shape(std::string_view text, KernelMeasurement& out) {
  for (bool first = true; first || text.starts_with("x"); first = false) {
    if (!first) text.remove_prefix(1);
    const std::optional<double> size = take_number(text);
    if (!size) return false;
    out.sizes.push_back(*size);
  }
  if (text.empty()) return true;
  if (!text.starts_with(" x ")) return false;
  text.remove_prefix(3);
  const std::optional<double> groups = take_number(text);
  if (!groups || !text.empty() || *groups > 65536) return false;
  out.groups = static_cast<int>(*groups);
  return true;
}

// "o_proj F, beside 50 GB/s" is o_proj F.
void cut_off_beside(KernelMeasurement& out) {
  constexpr std::string_view kBeside = ", beside ", kUnit = " GB/s";
  const std::size_t at = out.kernel.find(kBeside);
  if (at == std::string::npos) return;
  std::string_view rest = std::string_view(out.kernel).substr(at + kBeside.size());
  const std::optional<double> rate = take_number(rest);
  if (!rate || rest != kUnit) return;
  out.beside_gbps = static_cast<int>(*rate);
  out.kernel.resize(at);
}

KernelMeasurement read_result(Reader& reader) {
  constexpr double kLeastUs = 0.1, kMostUs = 1e9, kMost = 1e30;
  KernelMeasurement out;
  out.place = reader.place();
  out.kernel = reader.required_string("kernel");
  out.shape = reader.required_string("shape");
  out.sms = reader.required_int("sms", {0, 4096});
  out.median = microseconds(reader.required_double("median_us", kLeastUs, kMostUs));
  out.p10 = microseconds(reader.required_double("p10_us", kLeastUs, kMostUs));
  out.p90 = microseconds(reader.required_double("p90_us", kLeastUs, kMostUs));
  out.samples = reader.required_int("samples", {1, 1000000});
  out.flops = Flops{reader.required_double("flops", 0, kMost)};
  out.bytes = Bytes{reader.required_double("bytes", 0, kMost)};
  constexpr std::pair<std::string_view, int> kCeilings[] = {{"copy", 0}, {"bf16", 1}, {"fp8", 2}};
  out.ceiling = kCeilings[reader.required_enum<int>("ceiling", kCeilings)].first;
  for (const char* follows : {"tflops", "tbps", "fraction_of_ceiling"}) reader.node(follows);
  reader.finish();
  if (!out.shape.empty() && !parse_shape(out.shape, out))
    reader.error("shape", "expected sizes such as \"8192x4096x7168\", or \"8192x4096x7168 x 4\"");
  cut_off_beside(out);
  return out;
}

}  // namespace

std::string KernelMeasurements::source() const {
  return fmt::format("{}: {}, driver {}, cuBLASLt {}, cuDNN {}, {}", file, device, driver, cublaslt,
                     cudnn, date);
}

KernelMeasurements read_kernel_measurements(const std::string& path, Diagnostics& diagnostics) {
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "", diagnostics};
  Reader root(document.root, context);
  const Node* kind = root.node("kind");
  if (kind == nullptr || kind->text != "cuda-kernels") {
    root.error("kind", "these are no measured kernels: the file has no kind = \"cuda-kernels\"",
               "scripts/measure_cuda.sh -o FILE writes one");
    diagnostics.throw_if_errors();
  }
  root.format_version(1, 0);
  KernelMeasurements out;
  out.file = path;
  out.device = root.required_string("device");
  out.driver = root.required_string("driver");
  root.required_string("cuda");
  out.cublaslt = version(root.required_int("cublaslt", {1, 9999999}));
  out.cudnn = version(root.required_int("cudnn", {1, 9999999}));
  out.date = root.required_string("date").substr(0, std::string_view("2026-11-27").size());
  out.sms = root.required_int("sms", {1, 4096});
  root.node("ceilings");
  for (Reader& result : root.tables("results")) out.results.push_back(read_result(result));
  for (Reader& failure : root.tables("failed")) {
    const std::string kernel = failure.required_string("kernel");
    out.failed.emplace_back(kernel, failure.required_string("why"));
    failure.finish();
  }
  out.device_place = root.place("device");
  out.sms_place = root.place("sms");
  out.results_place = root.place("results");
  root.finish();
  return out;
}

}  // namespace orrery
