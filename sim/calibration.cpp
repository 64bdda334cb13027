#include "sim/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/catalog.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "core/hash.hpp"
#include "core/reader.hpp"
#include "sim/derived_calibration.hpp"

namespace orrery {
namespace {

constexpr std::pair<std::string_view, DataType> kDataTypes[] = {{"fp8", DataType::kFp8},
                                                                {"bf16", DataType::kBf16}};
constexpr std::pair<std::string_view, Pattern> kExchanges[] = {
    {"dispatch", Pattern::kDispatch},
    {"dispatch-cached", Pattern::kDispatchCached},
    {"combine", Pattern::kCombine},
    {"combine-gradient", Pattern::kCombineGradient}};

class CalibrationReader {
 public:
  CalibrationReader(const Document& document, ReadContext& context)
      : context_(context), root_(document.root, context) {}

  Calibration read() {
    root_.format_version(1, 0);
    const std::string name = root_.required_string("name");
    if (root_.has("base")) return read_derived(name);
    result_.device.name = name;
    if (auto device = root_.required_table("device")) read_device(*device);
    for (Reader& table : root_.tables("gemm_laws")) read_law(table);
    if (auto gemm = root_.required_table("gemm")) {
      result_.fp8_laws = law_names(*gemm, "fp8");
      result_.bf16_laws = law_names(*gemm, "bf16");
      result_.bf16_k_scale = gemm->required_double("bf16_k_scale", 0.1, 10);
      gemm->finish();
    }
    read_kernel_rows();
    for (Reader& table : root_.tables("exchanges")) read_exchange(table);
    if (auto attention = root_.required_table("attention")) {
      result_.attention_qk = attention->required_int("qk_dim", {1, 65536});
      attention->finish();
    }
    if (auto transport = root_.required_table("transport")) read_transport(*transport);
    read_uncertainty();
    root_.finish();
    return std::move(result_);
  }

 private:
  // Device and transport are the file's own, and the rows of the kernels that it has; all else the
  // base's.
  Calibration read_derived(const std::string& name) {
    const std::string base = root_.required_string("base");
    DeviceScale scale;
    Calibration of_base;
    if (auto table = root_.required_table("scale")) {
      constexpr double kLeast = 0.01, kMost = 100;
      scale.tensor = table->required_double("tensor", kLeast, kMost);
      scale.memory = table->required_double("memory", kLeast, kMost);
      table->finish();
    }
    try {
      of_base = scaled(read_calibration(resolve(base, CatalogKind::kCalibration)), scale);
    } catch (const InputError& error) {
      root_.error("base", fmt::format("cannot be read:\n{}", error.what()));
    }
    if (!of_base.base.empty())
      root_.error("base", fmt::format("'{}' has a base itself", base),
                  "name that one: '" + of_base.base + "'");
    // What the base assumes of its own device does not concern this one.
    std::erase_if(of_base.assumed, [](const AssumedFigure& figure) {
      return figure.name.find(": device.") != std::string::npos;
    });
    context_.assumed.insert(context_.assumed.begin(), of_base.assumed.begin(),
                            of_base.assumed.end());
    result_.base = base;
    result_.device.name = name;
    if (auto device = root_.required_table("device")) read_device(*device);
    if (auto transport = root_.required_table("transport")) read_transport(*transport);
    result_.device.uncertainty = of_base.device.uncertainty;
    read_uncertainty();
    read_kernel_rows();
    root_.finish();
    return completed(std::move(result_), std::move(of_base));
  }

  void read_kernel_rows() {
    for (Reader& table : root_.tables("gemm_rows")) read_gemm_rows(table);
    for (Reader& table : root_.tables("attention_rows")) read_attention_rows(table);
    for (Reader& table : root_.tables("stream_rows")) read_stream_rows(table);
  }

  void read_uncertainty() {
    auto table = root_.optional_table("uncertainty");
    if (!table) return;
    Uncertainty uncertainty;
    for (std::size_t knob = 0; knob < kKnobs; ++knob)
      uncertainty.deviation[knob] =
          table->required_double(to_string(static_cast<Knob>(knob)), 0, 1);
    uncertainty.basis = table->required_string("basis");
    table->finish();
    result_.device.uncertainty = uncertainty;
  }

  void read_transport(Reader& transport) {
    result_.transport_nic = transport.required_quantity<BytesPerSecond>("nic", Zero::kForbidden);
    result_.transport_nvlink =
        transport.required_quantity<BytesPerSecond>("nvlink", Zero::kForbidden);
    if (transport.has("nvls")) {
      result_.transport_nvls =
          transport.required_quantity<BytesPerSecond>("nvls", Zero::kForbidden);
    }
    transport.finish();
  }

  void read_device(Reader& device) {
    Device& out = result_.device;
    out.sms = device.required_int("sms", {1, 4096});
    out.memory = device.required_quantity<Bytes>("memory", Zero::kForbidden);
    out.bf16_peak = device.required_quantity<FlopsPerSecond>("bf16_peak", Zero::kForbidden);
    out.fp8 = device.optional_bool("fp8", true);
    out.launch_gap = device.required_quantity<Seconds>("launch_gap", Zero::kAllowed);
    out.reserve = device.required_quantity<Bytes>("reserve", Zero::kAllowed);
    out.exchange_buffers = device.required_quantity<Bytes>("exchange_buffers", Zero::kAllowed);
    device.finish();
  }

  // The rows of a table, each with the columns asked for.
  std::vector<std::vector<double>> read_rows(Reader& table,
                                             const std::vector<std::string>& columns) {
    std::vector<std::vector<double>> rows;
    if (const Node* names = table.required_array("columns")) {
      std::vector<std::string> found;
      for (const Node& name : names->children) found.push_back(name.text);
      if (found != columns) {
        std::string wanted;
        for (const std::string& column : columns)
          wanted += (wanted.empty() ? "\"" : ", \"") + column + "\"";
        table.error("columns", "these columns are not known here",
                    "write columns = [" + wanted + "]");
      }
    }
    const Node* list = table.required_array("rows");
    if (list == nullptr) return rows;
    for (const Node& row : list->children) {
      std::vector<double> values;
      for (const Node& value : row.children) {
        const bool number = value.kind == NodeKind::kInteger || value.kind == NodeKind::kFloat;
        // An exchange inside a node sends nothing through the NIC.
        const bool may_be_zero = values.size() < columns.size() && columns[values.size()] == "nic";
        if (!number || !std::isfinite(value.number) || value.number < 0 ||
            (value.number == 0 && !may_be_zero)) {
          context_.diagnostics.error(value.place(context_.file), "expected a number above 0");
          return {};
        }
        values.push_back(value.number);
      }
      if (values.size() != columns.size()) {
        context_.diagnostics.error(
            row.place(context_.file),
            fmt::format("expected {} numbers, found {}", columns.size(), values.size()));
        return {};
      }
      rows.push_back(std::move(values));
    }
    if (rows.empty()) table.error("rows", "the table is empty");
    return rows;
  }

  // A count out of a row of numbers.
  int count(Reader& table, std::string_view column, double value) {
    constexpr double kMost = 1e6;
    if (value == std::floor(value) && value <= kMost) return static_cast<int>(value);
    table.error("rows", fmt::format("'{}' must be a whole number up to {}, found {}", column, kMost,
                                    value));
    return 1;
  }

  // Every table says where it is from, or why it is assumed.
  std::optional<std::string> read_origin(Reader& table) {
    const std::optional<std::string> source = table.optional_string("source");
    std::optional<std::string> assumed = table.optional_string("assumed");
    if (source.has_value() == assumed.has_value()) {
      table.error("source", "a table needs either a source or a reason why it is assumed",
                  "write source = \"...\" or assumed = \"...\"");
    }
    return assumed;
  }

  // The same where all results rest on the table.
  void read_origin_for_all(Reader& table, std::string_view what) {
    if (const std::optional<std::string> reason = read_origin(table)) {
      context_.assumed.push_back({fmt::format("{}: {}", context_.name, what), *reason});
    }
  }

  // Two tables of the same thing would leave it open which of them counts.
  void check_first(Reader& table, std::string_view key, bool first, std::string_view what) {
    if (!first)
      table.error(key, fmt::format("there is another table for {} already", what), "join the two");
  }

  KernelClass read_kernel(Reader& table, KernelKind kind) {
    const std::string name = table.required_string("kernel");
    const std::optional<KernelClass> kernel = kernel_class(name);
    if (kernel && kernel_kind(*kernel) == kind) return *kernel;
    if (!name.empty()) {
      std::vector<std::string> known;
      for (int k = 0; k < static_cast<int>(KernelClass::kCount); ++k) {
        const auto candidate = static_cast<KernelClass>(k);
        if (kernel_kind(candidate) == kind) known.emplace_back(to_string(candidate));
      }
      table.error("kernel",
                  fmt::format("{} kernel class '{}'",
                              kernel ? "this table is not for the" : "unknown", name),
                  did_you_mean(name, known));
    }
    return KernelClass::kSmall;
  }

  std::vector<GemmRow> gemm_rows_of(Reader& table) {
    const int sms = table.required_int("sms", {1, 4096});
    std::vector<GemmRow> rows;
    for (const std::vector<double>& row : read_rows(table, {"m", "n", "k", "groups", "us"})) {
      rows.push_back(
          {row[0], row[1], row[2], count(table, "groups", row[3]), sms, microseconds(row[4])});
    }
    return rows;
  }

  void read_law(Reader& table) {
    GemmLawTable law;
    law.name = table.required_string("name");
    if (const Node* tile = table.required_array("tile")) {
      if (tile->children.size() == 2 && tile->children[0].integer > 0 &&
          tile->children[1].integer > 0) {
        law.tile_m = tile->children[0].number;
        law.tile_n = tile->children[1].number;
      } else {
        table.error("tile", "expected two sizes such as [128, 128]");
      }
    }
    read_origin_for_all(table, fmt::format("gemm_laws '{}'", law.name));
    law.rows = gemm_rows_of(table);
    table.finish();
    check_first(table, "name", !result_.gemm_laws.contains(law.name),
                fmt::format("'{}'", law.name));
    result_.gemm_laws[law.name] = std::move(law);
  }

  std::vector<std::string> law_names(Reader& gemm, std::string_view key) {
    std::vector<std::string> names;
    const Node* list = gemm.required_array(key);
    if (list == nullptr) return names;
    for (const Node& name : list->children) {
      if (!result_.gemm_laws.contains(name.text)) {
        context_.diagnostics.error(name.place(context_.file),
                                   "no [[gemm_laws]] is named '" + name.text + "'");
      }
      names.push_back(name.text);
    }
    if (names.empty()) gemm.error(key, "name at least one of the [[gemm_laws]]");
    return names;
  }

  void read_gemm_rows(Reader& table) {
    const KernelClass kernel = read_kernel(table, KernelKind::kGemm);
    const DataType type = table.required_enum<DataType>("dtype", kDataTypes);
    read_origin_for_all(table,
                        fmt::format("gemm_rows of {} in {}", to_string(kernel), to_string(type)));
    std::vector<GemmRow> rows = gemm_rows_of(table);
    table.finish();
    std::vector<GemmRow>& all = result_.gemm_rows[{kernel, type}];
    all.insert(all.end(), rows.begin(), rows.end());
  }

  void read_attention_rows(Reader& table) {
    const KernelClass kernel = read_kernel(table, KernelKind::kAttention);
    const int sms = table.required_int("sms", {1, 4096});
    read_origin_for_all(table, fmt::format("attention_rows of {}", to_string(kernel)));
    for (const std::vector<double>& row : read_rows(table, {"sequence", "gflop", "us"})) {
      result_.attention_rows[kernel].push_back(
          {row[0], sms, Flops{row[1] * 1e9} / microseconds(row[2])});
    }
    table.finish();
  }

  void read_stream_rows(Reader& table) {
    const KernelClass kernel = read_kernel(table, KernelKind::kStreaming);
    StreamTable out;
    out.assumed = read_origin(table);
    if (table.has("within")) {
      out.within = read_within(table);
      out.launches = 0;
    } else {
      read_points(table, out);
    }
    table.finish();
    check_first(table, "kernel", !result_.stream_rows.contains(kernel),
                fmt::format("'{}'", to_string(kernel)));
    result_.stream_rows[kernel] = std::move(out);
  }

  // What a kernel that is part of another one is part of.
  KernelClass read_within(Reader& table) {
    const std::string name = table.required_string("within");
    const std::optional<KernelClass> kernel = kernel_class(name);
    const bool has_rows =
        kernel &&
        (result_.attention_rows.contains(*kernel) ||
         (result_.stream_rows.contains(*kernel) && !result_.stream_rows.at(*kernel).within));
    if (!has_rows && !name.empty()) {
      table.error("within", fmt::format("no table above this one has rows of '{}'", name),
                  "name a kernel of [[attention_rows]] or of an earlier one of [[stream_rows]]");
    }
    return kernel.value_or(KernelClass::kSmall);
  }

  void read_points(Reader& table, StreamTable& out) {
    if (table.has("launches")) out.launches = table.required_int("launches", {1, 1000});
    std::string unit = "bytes";
    if (const Node* names = table.node("columns"); names != nullptr && !names->children.empty()) {
      for (const char* other : {"rows", "launches"}) {
        if (names->children[0].text == other) unit = other;
      }
    }
    for (const std::vector<double>& row : read_rows(table, {unit, "us"})) {
      out.points.emplace_back(row[0], microseconds(row[1]));
    }
    std::sort(out.points.begin(), out.points.end());
  }

  void read_exchange(Reader& table) {
    const Pattern pattern = table.required_enum<Pattern>("pattern", kExchanges);
    const bool beside = table.optional_bool("beside_compute", false);
    const int sms = table.required_int("sms", {0, 4096});
    read_origin_for_all(table, fmt::format("exchanges of {}{}", to_string(pattern),
                                           beside ? " beside compute" : ""));
    ExchangeTable out;
    out.sms = sms;
    out.overhead = table.required_quantity<Seconds>("overhead", Zero::kAllowed);
    for (const std::vector<double>& row :
         read_rows(table, {"group", "gbps", "copies", "nic", "nvlink"})) {
      out.rows.push_back(
          {count(table, "group", row[0]), gigabytes_per_second(row[1]), row[2], row[3], row[4]});
    }
    table.finish();
    std::sort(out.rows.begin(), out.rows.end(),
              [](const ExchangeRow& a, const ExchangeRow& b) { return a.group < b.group; });
    const std::string what =
        fmt::format("'{}' {} compute", to_string(pattern), beside ? "beside" : "without");
    check_first(table, "pattern", !result_.exchanges.contains({pattern, beside}), what);
    result_.exchanges[{pattern, beside}] = std::move(out);
  }

  ReadContext& context_;
  Reader root_;
  Calibration result_;
};

}  // namespace

Calibration read_calibration(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "", diagnostics};
  if (const Node* name = document.root.find("name")) context.name = name->text;
  Calibration calibration = CalibrationReader(document, context).read();
  diagnostics.throw_if_errors();
  // Of the base too: a change of it changes the times.
  calibration.hash = hash_text(read_file(path) + calibration.hash);
  calibration.assumed = std::move(context.assumed);
  return calibration;
}

}  // namespace orrery
