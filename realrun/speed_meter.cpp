#include "realrun/speed_meter.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

#include "kernels/gemm.hpp"
#include "realrun/cpu_clock.hpp"
#include "realrun/processors.hpp"
#include "realrun/thread_sleep.hpp"

namespace orrery {
namespace {

// The product fits into the nearest cache and takes a few microseconds.
constexpr std::int64_t kSize = 48;

// Where matrices lie to each other matters for so small a product: always the same.
struct alignas(4096) Matrices {
  std::array<float, kSize * kSize> a{}, b{}, c{};
};
constexpr Seconds kPause{0.005};
// Long enough to hold several readings, short against the time for which a core keeps its speed.
constexpr Seconds kWindow{0.02};
constexpr double kStray = 3;

}  // namespace

SpeedReadings::SpeedReadings(std::vector<std::vector<SpeedReading>> readings)
    : readings_(std::move(readings)) {
  std::vector<double> all;
  for (const auto& core : readings_) {
    for (const SpeedReading& reading : core) all.push_back(reading.took.value());
  }
  if (!all.empty()) {
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
    std::nth_element(all.begin(), middle, all.end());
    const Seconds limit{kStray * *middle};
    for (auto& core : readings_)
      std::erase_if(core, [limit](const SpeedReading& each) { return each.took > limit; });
  }
  double sum = 0;
  std::size_t count = 0;
  for (const auto& core : readings_) {
    std::vector<double>& sums = sums_.emplace_back(1, 0.0);
    for (const SpeedReading& reading : core) sums.push_back(sums.back() + reading.took.value());
    sum += sums.back();
    count += core.size();
  }
  if (count > 0) typical_ = Seconds{sum / static_cast<double>(count)};
}

Seconds SpeedReadings::around(int core, Seconds from, Seconds to) const {
  const std::vector<SpeedReading>& own = readings_[static_cast<std::size_t>(core)];
  if (own.empty()) return typical_;
  const auto place = [&](Seconds time) {
    const auto first = std::partition_point(
        own.begin(), own.end(), [time](const SpeedReading& each) { return each.at < time; });
    return static_cast<std::size_t>(first - own.begin());
  };
  const std::size_t begin = place(from - 0.5 * kWindow), end = place(to + 0.5 * kWindow);
  if (begin < end) {
    const std::vector<double>& sums = sums_[static_cast<std::size_t>(core)];
    return Seconds{(sums[end] - sums[begin]) / static_cast<double>(end - begin)};
  }
  const SpeedReading& before = own[begin == 0 ? 0 : begin - 1];
  const SpeedReading& after = own[std::min(begin, own.size() - 1)];
  return from - before.at < after.at - to ? before.took : after.took;
}

SpeedTrace SpeedReadings::trace(Seconds from, Seconds to, Seconds reference) const {
  SpeedTrace trace;
  for (int core = 0; core < cores(); ++core) {
    std::vector<SpeedStretch>& stretches = trace.emplace_back();
    for (Seconds at = from; at < to; at += kPause)
      stretches.push_back({at - from, around(core, at, at + kPause) / reference});
  }
  return trace;
}

Seconds SpeedMeter::now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return Seconds{std::chrono::duration<double>(since).count()};
}

SpeedMeter::SpeedMeter(int cores) : readings_(static_cast<std::size_t>(cores)) {
  const std::vector<int> processors = allowed_processors();
  const bool binds = processors.size() >= readings_.size();
  for (int core = 0; core < cores; ++core) {
    const int processor = binds ? processors[static_cast<std::size_t>(core)] : -1;
    threads_.emplace_back([this, core, processor] { measure(core, processor); });
  }
}

SpeedMeter::~SpeedMeter() {
  over_ = true;
  for (std::thread& thread : threads_) thread.join();
}

void SpeedMeter::measure(int core, int processor) {
  if (processor >= 0) bind_to_processor(processor);
  wake_on_time();
  run_soon_after_waking();
  const auto matrices = std::make_unique<Matrices>();
  matrices->a.fill(1);
  matrices->b.fill(1);
  const auto product = [&] {
    kernels::gemm_nt<float>({kSize, kSize, kSize}, matrices->a.data(), kSize, matrices->b.data(),
                            kSize, matrices->c.data(), kSize, false);
  };
  while (!over_) {
    product();  // brings code and matrices back into the cache
    const double before = thread_cpu_seconds();
    product();
    const SpeedReading reading{now(), Seconds{thread_cpu_seconds() - before}};
    {
      const std::lock_guard lock(mutex_);
      readings_[static_cast<std::size_t>(core)].push_back(reading);
    }
    sleep_for(kPause);
  }
}

SpeedReadings SpeedMeter::readings() const {
  const std::lock_guard lock(mutex_);
  return SpeedReadings(readings_);
}

SpeedReadings SpeedMeter::take() {
  std::vector<std::vector<SpeedReading>> taken(readings_.size());
  {
    const std::lock_guard lock(mutex_);
    taken.swap(readings_);
  }
  return SpeedReadings(std::move(taken));
}

}  // namespace orrery
