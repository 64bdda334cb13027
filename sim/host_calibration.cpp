#include "sim/host_calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <variant>

#include "core/reader.hpp"
#include "core/suggest.hpp"

namespace orrery {
namespace {

constexpr int kMostCores = 4096;
constexpr double kLargest = 1e18;  // size or amount of a measurement

// A word of the file stands for itself.
constexpr std::pair<std::string_view, std::string_view> kScalars[] = {{"float", "float"},
                                                                      {"double", "double"}};
constexpr std::pair<std::string_view, Pattern> kPatterns[] = {
    {"dispatch", Pattern::kDispatch},
    {"dispatch-cached", Pattern::kDispatchCached},
    {"combine", Pattern::kCombine},
    {"combine-gradient", Pattern::kCombineGradient},
    {"send", Pattern::kSend},
    {"reduce-scatter", Pattern::kReduceScatter},
    {"all-gather", Pattern::kAllGather},
    {"all-reduce", Pattern::kAllReduce}};

// The quantity in `unit`, with the fewest digits that are read back to the last bit, unless
// another unit is shorter.
template <class Q>
std::string readable(Q quantity, std::string_view unit) {
  const std::string usual = write_quantity(quantity);
  const Q one = std::get<Q>(read_quantity<Q>(fmt::format("1 {}", unit)));
  for (int digits = 1; digits <= std::numeric_limits<double>::max_digits10; ++digits) {
    const std::string text = fmt::format("{:.{}g} {}", quantity / one, digits, unit);
    const auto back = read_quantity<Q>(text);
    if (std::holds_alternative<Q>(back) && std::get<Q>(back) == quantity)
      return text.size() <= usual.size() ? text : usual;
  }
  return usual;
}

class HostCalibrationReader {
 public:
  HostCalibrationReader(const Document& document, ReadContext& context)
      : context_(context), root_(document.root, context) {}

  HostCalibration read() {
    check_kind();
    root_.format_version(1, 0);
    result_.name = root_.required_string("name");
    if (auto device = root_.required_table("device")) read_device(*device);
    for (Reader& table : root_.tables("kernel")) read_kernel(table);
    for (Reader& table : root_.tables("transfer")) read_transfer(table);
    root_.finish();
    if (!root_.has("kernel")) root_.error("kernel", "no [[kernel]] has been measured");
    return std::move(result_);
  }

 private:
  // The keys of another kind of file would all be unknown: one message says more.
  void check_kind() {
    const Node* kind = root_.node("kind");
    if (kind != nullptr && kind->kind == NodeKind::kString && kind->text == "host") return;
    root_.error("kind", "this is not the calibration of a host: it has no kind = \"host\"",
                "`orrery calibrate host` writes one");
    context_.diagnostics.throw_if_errors();
  }

  void read_device(Reader& device) {
    HostDevice& out = result_.device;
    out.cores = device.required_int("cores", {1, kMostCores});
    out.memory = device.required_quantity<Bytes>("memory", Zero::kForbidden);
    out.machine = device.required_string("machine");
    out.scalar = device.required_enum<std::string_view>("scalar", kScalars);
    out.hand_over = device.required_quantity<Seconds>("hand_over", Zero::kAllowed);
    out.wake = device.required_quantity<Seconds>("wake", Zero::kAllowed);
    out.peak = device.required_quantity<FlopsPerSecond>("peak", Zero::kForbidden);
    out.meter = device.optional_quantity("meter", Seconds{}, Zero::kForbidden);
    out.instruction = device.required_quantity<Seconds>("instruction", Zero::kAllowed);
    if (const Node* list = device.required_array("without_work")) read_names(*list);
    if (const Node* list = device.required_array("slowdown")) read_slowdown(device, *list);
    device.finish();
  }

  void read_names(const Node& list) {
    for (const Node& value : list.children) {
      if (value.kind == NodeKind::kString) {
        result_.device.without_work.push_back(value.text);
      } else {
        context_.diagnostics.error(value.place(context_.file), "expected the name of an op");
      }
    }
  }

  void read_slowdown(Reader& device, const Node& list) {
    std::vector<double>& out = result_.device.slowdown;
    out.clear();
    for (const Node& value : list.children) {
      const bool number = value.kind == NodeKind::kInteger || value.kind == NodeKind::kFloat;
      constexpr double kMost = 1e6;
      if (!number || !(value.number >= 1 && value.number <= kMost)) {
        return context_.diagnostics.error(
            value.place(context_.file),
            fmt::format("a slowdown is a number from 1 to {}: how many times longer work takes",
                        kMost));
      }
      out.push_back(value.number);
    }
    if (out.size() != static_cast<std::size_t>(result_.device.cores)) {
      device.error("slowdown", fmt::format("expected a slowdown for each of {} cores, found {}",
                                           result_.device.cores, out.size()));
    } else if (out.front() != 1) {
      device.error("slowdown",
                   fmt::format("one busy core is not slowed down, found {}", out.front()),
                   "the first slowdown is 1");
    }
  }

  std::optional<KernelClass> read_class(Reader& table) {
    const std::string name = table.required_string("class");
    if (const std::optional<KernelClass> kernel = kernel_class(name)) return kernel;
    if (!name.empty()) {
      std::vector<std::string> known;
      for (int kernel = 0; kernel < static_cast<int>(KernelClass::kCount); ++kernel) {
        known.emplace_back(to_string(static_cast<KernelClass>(kernel)));
      }
      table.error("class", fmt::format("unknown kernel class '{}'", name),
                  did_you_mean(name, known));
    }
    return std::nullopt;
  }

  MeasuredTime read_time(Reader& table) {
    MeasuredTime time;
    time.median = table.required_quantity<Seconds>("median", Zero::kForbidden);
    time.p10 = table.required_quantity<Seconds>("p10", Zero::kForbidden);
    time.p90 = table.required_quantity<Seconds>("p90", Zero::kForbidden);
    time.samples = table.required_int("samples", {1});
    time.mean = table.optional_quantity("mean", Seconds{}, Zero::kForbidden);
    const bool all_read = std::min({time.p10, time.median, time.p90}) > Seconds{};
    if (all_read && !(time.p10 <= time.median && time.median <= time.p90)) {
      table.error("median", fmt::format("expected p10 <= median <= p90, found {}, {}, {}",
                                        readable(time.p10, "us"), readable(time.median, "us"),
                                        readable(time.p90, "us")));
    }
    return time;
  }

  void read_kernel(Reader& table) {
    HostKernelRow row;
    row.op = table.optional_string("op").value_or("");
    const std::optional<KernelClass> kernel = read_class(table);
    row.kernel = kernel.value_or(row.kernel);
    const bool streams = kernel && kernel_kind(*kernel) == KernelKind::kStreaming;
    const bool has_shape = kernel && !streams;
    const auto size = [&](std::string_view key, bool required) {
      return required ? table.required_double(key, 1, kLargest)
                      : table.optional_double(key, 0, 0, kLargest);
    };
    row.m = size("m", has_shape);
    row.n = size("n", has_shape);
    row.k = size("k", has_shape);
    row.groups = table.optional_int("groups", 1, {1});
    row.amount = size("amount", streams);
    row.time = read_time(table);
    table.finish();
    result_.kernels.push_back(row);
  }

  void read_transfer(Reader& table) {
    HostTransferRow row;
    row.pattern = table.required_enum<Pattern>("pattern", kPatterns);
    row.group = table.required_int("group", {1});
    row.bytes = Bytes{table.required_double("bytes", 1, kLargest)};
    row.time = read_time(table);
    table.finish();
    result_.transfers.push_back(row);
  }

  ReadContext& context_;
  Reader root_;
  HostCalibration result_;
};

// A TOML basic string.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string time_lines(const MeasuredTime& time) {
  const std::string mean =
      time.mean > Seconds{} ? fmt::format("mean = \"{}\"\n", readable(time.mean, "us")) : "";
  return mean + fmt::format("median = \"{}\"\np10 = \"{}\"\np90 = \"{}\"\nsamples = {}\n",
                            readable(time.median, "us"), readable(time.p10, "us"),
                            readable(time.p90, "us"), time.samples);
}

std::string lines_of(const HostDevice& device) {
  const std::string meter =
      device.meter > Seconds{}
          ? fmt::format("meter = \"{}\"  # a small GEMM meanwhile: the speed of all times\n",
                        readable(device.meter, "us"))
          : "";
  std::vector<std::string> names;
  for (const std::string& name : device.without_work) names.push_back(quoted(name));
  return fmt::format(
      "[device]\n"
      "cores = {}\n"
      "memory = \"{}\"\n"
      "machine = {}\n"
      "scalar = {}\n"
      "hand_over = \"{}\"  # least idle time of a core between the works of two workers\n"
      "wake = \"{}\"  # from the end of what a sleeping worker waits for until it is awake\n"
      "instruction = \"{}\"  # CPU time of an instruction beside its ops\n"
      "slowdown = [{}]  # how many times longer work takes with 1, 2, ... cores busy\n"
      "peak = \"{}\"  # best rate of a large GEMM on one core\n"
      "{}"
      "without_work = [{}]  # ops that a host has nothing to do for\n",
      device.cores, readable(device.memory, "GiB"), quoted(device.machine), quoted(device.scalar),
      readable(device.hand_over, "us"), readable(device.wake, "us"),
      readable(device.instruction, "us"), fmt::join(device.slowdown, ", "),
      readable(device.peak, "GFLOP/s"), meter, fmt::join(names, ", "));
}

std::string lines_of(const HostKernelRow& row) {
  std::string text = "\n[[kernel]]\n";
  if (!row.op.empty()) text += fmt::format("op = {}\n", quoted(row.op));
  text += fmt::format("class = \"{}\"\n", to_string(row.kernel));
  const auto add = [&](std::string_view key, double value, double absent) {
    if (value != absent) text += fmt::format("{} = {}\n", key, value);
  };
  add("m", row.m, 0);
  add("n", row.n, 0);
  add("k", row.k, 0);
  add("groups", row.groups, 1);
  add("amount", row.amount, 0);
  return text + time_lines(row.time);
}

std::string lines_of(const HostTransferRow& row) {
  return fmt::format("\n[[transfer]]\npattern = \"{}\"\ngroup = {}\nbytes = {}\n",
                     to_string(row.pattern), row.group, row.bytes.value()) +
         time_lines(row.time);
}

}  // namespace

std::string host_op_name(std::string_view op, Pass pass) {
  return fmt::format("{} ({})", op, to_string(pass));
}

bool is_host_calibration(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  const Node* kind = document.root.find("kind");
  return kind != nullptr && kind->text == "host";
}

HostCalibration read_host_calibration(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "", diagnostics};
  if (const Node* name = document.root.find("name")) context.name = name->text;
  HostCalibration calibration = HostCalibrationReader(document, context).read();
  diagnostics.throw_if_errors();
  return calibration;
}

std::string write_host_calibration(const HostCalibration& calibration) {
  std::string text = fmt::format(
      "# What the kernels and exchanges of a training step take on this host: CPU time in short "
      "runs\n"
      "# with all cores at work, by `orrery calibrate host`.\n"
      "#\n"
      "# [[kernel]]    a kernel at one shape: m, n, k, groups of matrix products and of "
      "attention;\n"
      "#               of all others the amount: bytes read and written, else rows or launches\n"
      "# [[transfer]]  an exchange among `group` ranks, of `bytes` for each of them\n"
      "# mean (without strays), median, p10 and p90 are of `samples` runs.\n"
      "\n"
      "format_version = \"1.0\"\n"
      "kind = \"host\"\n"
      "name = {}\n\n",
      quoted(calibration.name));
  text += lines_of(calibration.device);
  for (const HostKernelRow& row : calibration.kernels) text += lines_of(row);
  for (const HostTransferRow& row : calibration.transfers) text += lines_of(row);
  return text;
}

}  // namespace orrery
