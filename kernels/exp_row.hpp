#pragma once
// Exponentials of a row of scores, the inner loop of softmax: row[i] = exp(factor row[i] - offset).
//
// For float this is our own exp, in vector instructions: the library's, called once an element,
// takes longer than attention's products at small head widths. Relative error below 1.2e-7 of
// exp(x), x = factor row[i] - offset as rounded; x is held within [-80, 80], so a far smaller
// probability becomes exp(-80) = 1.8e-35, which no sum of probabilities feels. NaN stays NaN.
// For double and Dual it is the library's exp.
#include <cstdint>

#include "kernels/gemm_blocked.hpp"

namespace orrery::kernels {

// For double and Dual, `instructions` makes no difference.
template <class T>
void exp_row(T* row, std::int64_t size, T factor, T offset,
             Instructions instructions = best_instructions());

}  // namespace orrery::kernels
