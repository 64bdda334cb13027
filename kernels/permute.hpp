#pragma once
// The rows that a GPU's local experts see: received tokens, once per local expert that they chose,
// sorted by expert. The maps are built once a micro-batch; the copies use them in both passes.
//
//   experts_of_token  [tokens][slots]        expert number in the whole model, or -1: slot not used
//   offsets           [local_experts + 1]    expert e's rows are offsets[e] up to offsets[e + 1]
//   row_of            [tokens][slots]        row of that choice, -1 where the expert is not local
//   token_of_row, slot_of_row  [rows]        the map read backwards; rows = offsets[local_experts]
//
// Rows are sorted by expert and, within an expert, by token (then slot), so every order of
// summation is fixed by the map. expand_rows and reduce_rows are linear and each other's adjoint:
// the gradient of one is the other applied to the gradient. So are gather_row_weights and
// scatter_row_weights.
//
// Example: 2 local experts (4 and 5), tokens choosing {5, 4}, {4, -1}: offsets 0 2 3, row_of
// {2, 0}, {1, -1}, token_of_row 0 1 0, slot_of_row 1 0 0.
// The copies are instantiated for float, double and Dual.
#include <cstdint>

namespace orrery::kernels {

struct PermuteShape {
  std::int64_t tokens = 0;        // received
  std::int64_t slots = 0;         // choices a token, used or not
  std::int32_t first_expert = 0;  // number of the first local expert
  std::int64_t local_experts = 0;
};

// Writes offsets.
void count_expert_rows(const PermuteShape& shape, const std::int32_t* experts_of_token,
                       std::int64_t* offsets);

// Writes the three maps. Bug: more than 2^31 - 1 rows.
void map_rows(const PermuteShape& shape, const std::int32_t* experts_of_token,
              const std::int64_t* offsets, std::int32_t* row_of, std::int32_t* token_of_row,
              std::int32_t* slot_of_row);

// out[row] = x[token_of_row[row]]; x [tokens][hidden], out [rows][hidden].
template <class T>
void expand_rows(std::int64_t rows, std::int64_t hidden, const std::int32_t* token_of_row,
                 const T* x, T* out);

// out[token] = sum over its rows of y[row], in order of the slots, zero where it has none;
// y [rows][hidden], out [tokens][hidden].
template <class T>
void reduce_rows(const PermuteShape& shape, std::int64_t hidden, const std::int32_t* row_of,
                 const T* y, T* out);

// out[row] = weights[token][slot] of that row; weights [tokens][slots], out [rows].
template <class T>
void gather_row_weights(std::int64_t rows, std::int64_t slots, const std::int32_t* token_of_row,
                        const std::int32_t* slot_of_row, const T* weights, T* out);

// out[token][slot] = row_weights[row of that choice], zero where the expert is not local.
template <class T>
void scatter_row_weights(const PermuteShape& shape, const std::int32_t* row_of,
                         const T* row_weights, T* out);

}  // namespace orrery::kernels
