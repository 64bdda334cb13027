#include "sim/measured_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

namespace orrery {
namespace {

constexpr int kExchangeSms = 20;   // that the benchmark's exchange holds
constexpr int kExchangeGbps = 50;  // a 400 Gb/s NIC's, one direction

// Streaming kernels: which measurements an op of the class is, one after the other.
struct Streaming {
  KernelClass kernel;
  std::vector<std::string_view> parts;
  bool of_fp8 = false;  // there is nothing to measure where FP8 is not
  double op_bytes = 1;  // bytes that the op counts for one that the benchmark counts
  std::vector<KernelClass> holds = {};  // what else the measured kernels do
  std::optional<int> launches = {};     // where other than the op says
  const char* note = "";
};

std::vector<Streaming> streaming_kernels(bool fp8) {
  using enum KernelClass;
  return {
      {kNorm, {"RMSNorm"}},
      {kNormBackward,
       {"RMSNorm input gradient", "RMSNorm weight gradient"},
       false,
       1,
       {kNormFinalize},
       2,
       "input and weight gradient, two kernels"},
      {kCast, {"quantise rows"}, true},
      {kCastTranspose, {"quantise columns, transposing"}, true},
      {kSwiglu, {fp8 ? "SwiGLU to E4M3" : "SwiGLU"}},
      {kSwigluBackward, {"SwiGLU gradient"}},
      {kExpand, {"expand rows"}, false, 1, {}, {}, "BF16 rows, each token read for eight of them"},
      {kReduce, {"reduce rows"}},
      {kRope, {"RoPE"}},
      {kRouterSmall,
       {"router"},
       false,
       1,
       {kRouterTopk},
       1,
       "scores, groups and choice, one kernel"},
      // The op counts 6 bytes a logit (read twice, overwritten), the benchmark each once.
      {kCrossEntropy, {"cross-entropy and gradient"}, false, 1.5},
      {kOptimizer, {"AdamW, BF16 moments"}},
      {kCopy, {"copy"}},
  };
}

std::string told(const KernelMeasurement& measured) {
  return fmt::format(
      "{}, {}{}{}", measured.kernel, measured.shape,
      measured.beside_gbps > 0 ? fmt::format(", beside {} GB/s", measured.beside_gbps) : "",
      measured.sms > 0 ? fmt::format(", told {} SMs", measured.sms) : "");
}

std::string spread(const KernelMeasurement& measured) {
  return fmt::format("p10 {:.1f}, p90 {:.1f}, {} samples", in_microseconds(measured.p10),
                     in_microseconds(measured.p90), measured.samples);
}

bool is_attention(const KernelMeasurement& measured) {
  return measured.kernel.starts_with("attention ");
}

class Sorter {
 public:
  Sorter(const KernelMeasurements& measurements, bool fp8, Diagnostics& diagnostics)
      : all_(measurements), fp8_(fp8), diagnostics_(diagnostics) {}

  MeasuredTables sort() {
    for (const KernelMeasurement& each : all_.results) {
      if (each.ceiling != "copy") add_product_or_attention(each);
    }
    require_products();
    for (const Streaming& each : streaming_kernels(fp8_)) {
      if (fp8_ || !each.of_fp8) add_streaming(each);
    }
    for (const KernelMeasurement& each : all_.results) {
      if (each.ceiling == "copy" && !used_.contains(&each))
        leave_out(each, "no op of a training step is this kernel");
    }
    return std::move(out_);
  }

 private:
  void leave_out(const KernelMeasurement& each, std::string why) {
    out_.unused.push_back({told(each), std::move(why)});
  }

  // SMs that it had, or nothing where it says nothing of a training step.
  std::optional<int> sms_of(const KernelMeasurement& each) {
    if (each.beside_gbps > 0 && each.beside_gbps != kExchangeGbps) {
      leave_out(each, "beside an exchange at another rate than a NIC's");
      return std::nullopt;
    }
    if (each.sms > 0 && !(each.beside_gbps > 0 && each.sms == all_.sms)) {
      leave_out(each, "told to use fewer SMs, which makes it slower");
      return std::nullopt;
    }
    return each.beside_gbps > 0 ? all_.sms - kExchangeSms : all_.sms;
  }

  MeasuredTable& table(KernelClass kernel, DataType type, int sms) {
    for (MeasuredTable& each : out_.tables) {
      if (each.kernel == kernel && each.type == type && each.sms == sms) return each;
    }
    MeasuredTable made;
    made.kernel = kernel;
    made.type = type;
    made.sms = sms;
    made.note = sms == all_.sms ? "alone"
                                : fmt::format(
                                      "beside an exchange that holds {} SMs and moves {} "
                                      "GB/s",
                                      kExchangeSms, kExchangeGbps);
    return out_.tables.emplace_back(std::move(made));
  }

  static std::string what(const KernelMeasurement& each) {
    return fmt::format("{}, {}; {}", each.kernel, each.shape, spread(each));
  }

  void add_product_or_attention(const KernelMeasurement& each) {
    if (each.kernel.starts_with("tiny "))
      return leave_out(each, "at a small model's shape, which is to be compared with");
    const std::size_t dimensions = is_attention(each) ? 4 : 3;
    if (each.sizes.size() != dimensions) {
      return diagnostics_.error(each.place, fmt::format("'{}' needs {} sizes, its shape is \"{}\"",
                                                        each.kernel, dimensions, each.shape));
    }
    const std::optional<int> sms = sms_of(each);
    if (!sms) return;
    if (is_attention(each)) return add_attention(each, *sms);
    const std::string_view name =
        std::string_view(each.kernel).substr(0, each.kernel.find(" (BF16)"));
    const bool weight = name.ends_with(" W"), grouped = each.groups > 1;
    const KernelClass kernel = weight ? (grouped ? KernelClass::kGroupedWgrad : KernelClass::kWgrad)
                                      : (grouped ? KernelClass::kGroupedGemm : KernelClass::kGemm);
    // Rows of all groups, but of a weight gradient those of the weight.
    const double m = each.sizes[0] * (weight ? 1 : each.groups);
    table(kernel, each.ceiling == "fp8" ? DataType::kFp8 : DataType::kBf16, *sms)
        .rows.push_back({{m, each.sizes[1], each.sizes[2], static_cast<double>(each.groups),
                          in_microseconds(each.median)},
                         what(each)});
  }

  void add_attention(const KernelMeasurement& each, int sms) {
    const bool backward = each.kernel.starts_with("attention backward");
    table(backward ? KernelClass::kAttentionBackward : KernelClass::kAttentionForward,
          DataType::kNone, sms)
        .rows.push_back(
            {{each.sizes[0], each.flops.value() * 1e-9, in_microseconds(each.median)}, what(each)});
  }

  bool has(KernelClass kernel, DataType type) const {
    return std::any_of(out_.tables.begin(), out_.tables.end(), [&](const MeasuredTable& each) {
      return each.kernel == kernel && each.type == type;
    });
  }

  void require_products() {
    using enum KernelClass;
    for (const KernelClass kernel : {kGemm, kGroupedGemm, kWgrad, kGroupedWgrad}) {
      if (fp8_ && !has(kernel, DataType::kFp8))
        missing(fmt::format("no product of class '{}' in FP8 that ran alone", to_string(kernel)));
    }
    if (!has(kGemm, DataType::kBf16)) missing("no product in BF16 that ran alone");
    for (const KernelClass kernel : {kAttentionForward, kAttentionBackward}) {
      if (!has(kernel, DataType::kNone))
        missing(fmt::format("no '{}' that ran alone", to_string(kernel)));
    }
    if (has(kAttentionBackward, DataType::kNone)) {
      for (const KernelClass part : {kAttentionBackwardPre, kAttentionBackwardPost})
        add_within(part, kAttentionBackward);
    }
  }

  void add_within(KernelClass part, KernelClass whole) {
    MeasuredTable made;
    made.kernel = part;
    made.within = whole;
    out_.tables.push_back(std::move(made));
  }

  void missing(std::string what) {
    std::string hint = "scripts/measure_cuda.sh, run to its end, measures all";
    if (!all_.failed.empty())
      hint = fmt::format("'{}' failed there: {}", all_.failed[0].first, all_.failed[0].second);
    diagnostics_.error(all_.results_place, std::move(what), std::move(hint));
  }

  // The measurement of that kernel at that shape; any shape where that is empty.
  std::vector<const KernelMeasurement*> find(std::string_view kernel,
                                             std::string_view shape = "") const {
    std::vector<const KernelMeasurement*> found;
    for (const KernelMeasurement& each : all_.results) {
      if (each.kernel == kernel && (shape.empty() || each.shape == shape)) found.push_back(&each);
    }
    return found;
  }

  void add_streaming(const Streaming& stream) {
    MeasuredTable made;
    made.kernel = stream.kernel;
    made.launches = stream.launches;
    made.note = stream.note;
    const bool by_rows = stream.kernel == KernelClass::kRouterSmall;
    if (by_rows) made.amount = "rows";
    for (const KernelMeasurement* first : find(stream.parts[0])) {
      Seconds time;
      std::string what = fmt::format("{}, {}", first->kernel, first->shape);
      bool whole = true;
      for (const std::string_view part : stream.parts) {
        const auto found = find(part, first->shape);
        if (found.empty()) {
          missing(fmt::format("no measurement of '{}' at {}", part, first->shape));
          whole = false;
          break;
        }
        time += found[0]->median;
        used_.insert(found[0]);
        if (part != stream.parts[0]) what += fmt::format(" + {}", part);
      }
      if (!whole) continue;
      if (stream.parts.size() == 1) what += "; " + spread(*first);
      made.rows.push_back({{by_rows ? first->sizes.at(0) : first->bytes.value() * stream.op_bytes,
                            in_microseconds(time)},
                           std::move(what)});
    }
    if (made.rows.empty()) {
      if (find(stream.parts[0]).empty())
        missing(fmt::format("no measurement of '{}'", stream.parts[0]));
      return;
    }
    std::sort(made.rows.begin(), made.rows.end(), [](const MeasuredRow& a, const MeasuredRow& b) {
      return a.numbers[0] < b.numbers[0];
    });
    out_.tables.push_back(std::move(made));
    for (const KernelClass part : stream.holds) add_within(part, stream.kernel);
  }

  const KernelMeasurements& all_;
  bool fp8_;
  Diagnostics& diagnostics_;
  MeasuredTables out_;
  std::set<const KernelMeasurement*> used_;
};

}  // namespace

MeasuredTables measured_tables(const KernelMeasurements& measurements, bool fp8,
                               Diagnostics& diagnostics) {
  return Sorter(measurements, fp8, diagnostics).sort();
}

}  // namespace orrery
