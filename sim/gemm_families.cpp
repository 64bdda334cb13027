#include "sim/gemm_families.hpp"

#include <cmath>
#include <string>
#include <vector>

namespace orrery {
namespace {

constexpr KernelClass kProducts[] = {KernelClass::kGemm, KernelClass::kGroupedGemm};
constexpr KernelClass kGradients[] = {KernelClass::kWgrad, KernelClass::kGroupedWgrad};

// The one BF16 weight gradient measured, the router's gate, has 256 columns and does 220 FLOP a
// byte, where tensor cores and HBM are in balance near 290 (865 TFLOPS, 3 TB/s): it waits for
// memory. Four times as wide a matrix does not.
const double kRowReach = std::log(4.0);

// Seconds an element of a weight gradient costs beyond a product stored in BF16: FP32 read and
// written, 8 bytes in the place of 2, at the bandwidth of a large elementwise kernel.
Seconds accumulating_a_result(const StreamTable& elementwise) {
  constexpr double kMoreBytes = 6;
  const auto& [bytes, time] = elementwise.points.back();
  return time * (kMoreBytes / bytes);
}

// Of weight gradients m counts all groups, as the law does.
std::vector<GemmRow> with_all_groups(std::vector<GemmRow> rows) {
  for (GemmRow& row : rows) row.m *= row.groups;
  return rows;
}

class Families {
 public:
  Families(const Calibration& calibration, GemmEvidence evidence)
      : calibration_(calibration), training_(evidence == GemmEvidence::kTraining) {}

  GemmFamilies make() {
    constexpr double kFp8 = 1;
    const std::vector<TileLaw> fp8 = laws(calibration_.fp8_laws, kFp8);
    const std::vector<TileLaw> bf16 = laws(calibration_.bf16_laws, calibration_.bf16_k_scale);
    const std::vector<TileLaw> tensor = laws(calibration_.bf16_laws, kFp8);
    for (const KernelClass kernel : kProducts) {
      add(kernel, DataType::kFp8, GemmModel(fp8, corrections(kernel, DataType::kFp8)));
      add(kernel, DataType::kBf16, GemmModel(bf16, corrections(kernel, DataType::kBf16)));
      add(kernel, DataType::kFp8Tensor, GemmModel(tensor, {}));
    }
    const auto elementwise = calibration_.stream_rows.find(KernelClass::kElementwise);
    if (elementwise != calibration_.stream_rows.end() && !elementwise->second.points.empty())
      accumulated(bf16, tensor, accumulating_a_result(elementwise->second));
    scaled_gradients();
    return std::move(families_);
  }

 private:
  void accumulated(std::vector<TileLaw> bf16, std::vector<TileLaw> tensor, Seconds per_result) {
    for (TileLaw& law : bf16) law.per_result = per_result;
    for (TileLaw& law : tensor) law.per_result = per_result;
    for (const KernelClass kernel : kGradients) {
      const std::vector<GemmRow> rows = with_all_groups(corrections(kernel, DataType::kBf16));
      add(kernel, DataType::kBf16, GemmModel(bf16, rows, kRowReach));
      add(kernel, DataType::kFp8Tensor, GemmModel(tensor, {}));
    }
  }

  // Dense and grouped together.
  void scaled_gradients() {
    std::vector<GemmRow> all;
    for (const KernelClass kernel : kGradients) {
      for (const GemmRow& row : with_all_groups(rows(kernel, DataType::kFp8))) all.push_back(row);
    }
    if (all.empty()) return;
    const TileLaw law = fit_tile_law(128, 128, all);
    for (const KernelClass kernel : kGradients) {
      add(kernel, DataType::kFp8, GemmModel({law}, with_all_groups(rows(kernel, DataType::kFp8))));
    }
  }

  std::vector<TileLaw> laws(const std::vector<std::string>& names, double k_scale) const {
    std::vector<TileLaw> out;
    for (const std::string& name : names) {
      const GemmLawTable& table = calibration_.gemm_laws.at(name);
      out.push_back(fit_tile_law(table.tile_m, table.tile_n, table.rows));
      out.back().k_scale = k_scale;
    }
    return out;
  }

  std::vector<GemmRow> rows(KernelClass kernel, DataType type) const {
    const auto found = calibration_.gemm_rows.find({kernel, type});
    return found == calibration_.gemm_rows.end() ? std::vector<GemmRow>{} : found->second;
  }
  std::vector<GemmRow> corrections(KernelClass kernel, DataType type) const {
    return training_ ? rows(kernel, type) : std::vector<GemmRow>{};
  }

  void add(KernelClass kernel, DataType type, GemmModel model) {
    families_.emplace(std::pair{kernel, type}, std::move(model));
  }

  const Calibration& calibration_;
  bool training_;
  GemmFamilies families_;
};

}  // namespace

GemmFamilies gemm_families(const Calibration& calibration, GemmEvidence evidence) {
  return Families(calibration, evidence).make();
}

}  // namespace orrery
