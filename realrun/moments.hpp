#pragma once
// The first and second moments of AdamW for the shards of a rank, in the type that the plan asks
// for: BF16 (DeepSeek-V3 report, section 3.3.3) or the parameters' own.
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "kernels/kernel_set.hpp"

namespace orrery {

template <class T>
class Moments {
 public:
  void reset(const std::vector<std::int64_t>& shard_elements, bool bf16) {
    if (bf16) {
      store_ = Store<kernels::Bf16>(shard_elements);
    } else {
      store_ = Store<T>(shard_elements);
    }
  }

  void update(kernels::KernelSet<T>& set, std::size_t group, std::int64_t first, std::int64_t count,
              const kernels::AdamwStep& step, const T* gradient, T* parameter) {
    std::visit(
        [&](auto& store) {
          set.adamw(count, step, gradient, parameter, store.first[group].data() + first,
                    store.second[group].data() + first);
        },
        store_);
  }

  // The bytes of one moment (0: first, 1: second) of a group, for checkpoints.
  std::span<std::byte> bytes(std::size_t group, int moment) {
    return std::visit(
        [&](auto& store) {
          auto& values = moment == 0 ? store.first[group] : store.second[group];
          return std::as_writable_bytes(std::span(values));
        },
        store_);
  }

 private:
  template <class M>
  struct Store {
    Store() = default;
    explicit Store(const std::vector<std::int64_t>& shard_elements) {
      for (std::int64_t elements : shard_elements) {
        first.emplace_back(static_cast<std::size_t>(elements), M{});
        second.emplace_back(static_cast<std::size_t>(elements), M{});
      }
    }
    std::vector<std::vector<M>> first, second;
  };
  std::variant<Store<T>, Store<kernels::Bf16>> store_;
};

}  // namespace orrery
