#pragma once
// The ends of a model and of a step without a twin of their own beside them: embedding,
// cross-entropy of a divided vocabulary, AdamW in float, the norm of gradients. Activations in
// BF16, the rest in float.
#include <cstdint>

#include "kernels/adamw.hpp"
#include "kernels/cross_entropy.hpp"
#include "kernels/cuda/types.hpp"
#include "kernels/embedding.hpp"

namespace orrery::cuda {

// kernels/embedding.hpp; gradients are added in no fixed order.
void embedding_lookup(const kernels::EmbeddingShape& shape, const std::int32_t* ids,
                      const float* table, Bf16* out, Stream stream);
void embedding_gradient(const kernels::EmbeddingShape& shape, const std::int32_t* ids,
                        const Bf16* dout, float* dtable, Stream stream);

// kernels/cross_entropy.hpp, of a part of the vocabulary: a block a token.
void cross_entropy_statistics(const kernels::CrossEntropyShape& shape, const Bf16* logits,
                              const std::int32_t* targets, float* max, float* sum_exp,
                              float* target_logit, Stream stream);
void cross_entropy_gradient(const kernels::CrossEntropyShape& shape, const std::int32_t* targets,
                            const float* max, const float* sum_exp, float scale, Bf16* logits,
                            Stream stream);

// kernels/adamw.hpp with moments in float.
void adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient, float* parameter,
           float* first_moment, float* second_moment, Stream stream);
// *sum += the sum of squares, in no fixed order.
void squared_sum(std::int64_t n, const float* x, double* sum, Stream stream);

}  // namespace orrery::cuda
