#pragma once
// Upper bounds of a model's sizes, for both file formats: far above any model, low enough that no
// count of parameters, FLOPs or bytes overflows 64 bits or loses integers in a double.
#include "core/reader.hpp"

namespace orrery::limits {

inline constexpr IntRange kLayers{1, 10000};
inline constexpr IntRange kSomeLayers{0, 10000};
inline constexpr IntRange kHidden{1, 1 << 20};
inline constexpr IntRange kInter{1, 1 << 22};
inline constexpr IntRange kVocab{1, 1 << 24};
inline constexpr IntRange kMtp{0, 64};
inline constexpr IntRange kHeads{1, 1 << 14};
inline constexpr IntRange kHeadDim{1, 1 << 14};
inline constexpr IntRange kRank{1, 1 << 18};
inline constexpr IntRange kExperts{1, 1 << 16};
inline constexpr IntRange kSharedExperts{0, 1 << 10};

}  // namespace orrery::limits
