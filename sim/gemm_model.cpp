#include "sim/gemm_model.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace orrery {

double TileLaw::tiles(double m, double n, int groups) const {
  return groups * std::ceil(m / groups / tile_m) * std::ceil(n / tile_n);
}

Seconds TileLaw::time(double m, double n, double k, int groups, int sms) const {
  const double waves = std::ceil(tiles(m, n, groups) / sms);
  return waves * (fixed + k * k_scale * per_k) + m * n * per_result;
}

TileLaw fit_tile_law(double tile_m, double tile_n, std::span<const GemmRow> rows) {
  ORRERY_CHECK(!rows.empty(), "a tile law needs measurements");
  TileLaw law;
  law.tile_m = tile_m;
  law.tile_n = tile_n;
  // Minimise sum ((a + b K) / y - 1)^2 with y the time of one wave: normal equations with weights 1
  // / y^2.
  double w = 0, wk = 0, wkk = 0, wy = 0, wky = 0;
  for (const GemmRow& row : rows) {
    const double waves = std::ceil(law.tiles(row.m, row.n, row.groups) / row.sms);
    const double y = row.time.value() / waves;
    const double weight = 1 / (y * y);
    w += weight;
    wk += weight * row.k;
    wkk += weight * row.k * row.k;
    wy += weight * y;
    wky += weight * row.k * y;
  }
  const double determinant = w * wkk - wk * wk;
  const bool one_k = determinant <= 1e-12 * w * wkk;
  double slope = one_k ? wky / wkk : (w * wky - wk * wy) / determinant;
  double offset = one_k ? 0 : (wy - slope * wk) / w;
  if (offset < 0) {  // a negative prologue means the rows do not resolve it
    offset = 0;
    slope = wky / wkk;
  }
  law.fixed = Seconds{offset};
  law.per_k = Seconds{slope};
  return law;
}

GemmModel::GemmModel(std::vector<TileLaw> laws, std::span<const GemmRow> rows, double reach)
    : laws_(std::move(laws)), law_weight_(1 / std::pow(reach, 4)) {
  ORRERY_CHECK(!laws_.empty(), "a GEMM model needs a tile law");
  for (const GemmRow& row : rows) {
    points_.push_back({std::log(row.m), std::log(row.n), std::log(row.k),
                       row.time / law_time(row.m, row.n, row.k, row.groups, row.sms)});
  }
}

Seconds GemmModel::law_time(double m, double n, double k, int groups, int sms) const {
  Seconds best = laws_.front().time(m, n, k, groups, sms);
  for (const TileLaw& law : laws_) best = std::min(best, law.time(m, n, k, groups, sms));
  return best;
}

Seconds GemmModel::time(double m, double n, double k, int groups, int sms) const {
  const Seconds law = law_time(m, n, k, groups, sms);
  if (points_.empty()) return law;
  const double log_m = std::log(m), log_n = std::log(n), log_k = std::log(k);
  constexpr double kSamePoint = 1e-18;  // squared distance: rows of one shape are averaged
  double weights = law_weight_, sum = law_weight_, exact_count = 0, exact_sum = 0;
  for (const Point& point : points_) {
    const double dm = point.log_m - log_m, dn = point.log_n - log_n, dk = point.log_k - log_k;
    const double squared = dm * dm + dn * dn + dk * dk;
    if (squared < kSamePoint) {
      exact_count += 1;
      exact_sum += point.ratio;
    } else {
      const double weight = 1 / (squared * squared);
      weights += weight;
      sum += weight * point.ratio;
    }
  }
  return law * (exact_count > 0 ? exact_sum / exact_count : sum / weights);
}

}  // namespace orrery
