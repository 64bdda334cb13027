#pragma once
// What one micro-batch has in one entry of the stage map: the tensors of its way through a layer
// and back. Which of them live how long is that of workload/lifetimes.hpp; shapes below with
//   l   tokens of this GPU under sequence parallelism (tokens / tp)    t   tokens of the
//   micro-batch u   tokens received from the expert-parallel group                 r   rows of the
//   local experts h   hidden   hd heads of this GPU   dq, dv widths of a head   rq, rkv, dr latent
//   and rope widths i, s, d   inner widths of an expert, the shared expert, the dense MLP on this
//   GPU
#include <cstdint>
#include <vector>

#include "core/layout.hpp"
#include "core/program.hpp"
#include "realrun/tensor.hpp"

namespace orrery {

// How the tokens of this GPU went to the experts of its group, as needed to send anything back.
struct ExchangeLayout {
  // By member of the expert-parallel group: which of this GPU's tokens went there, in order.
  std::vector<std::vector<std::int32_t>> sent;
  std::vector<std::int32_t> received;  // by member: tokens that came from it, in member order
};

template <class T>
struct Frame {
  explicit Frame(MemoryMeter& meter)
      : until_input(to_string(BufferKind::kActivation).data(), meter),
        until_weight(to_string(BufferKind::kActivationForWeights).data(), meter),
        operands(to_string(BufferKind::kWeightGradientInput).data(), meter),
        transient("transient", meter, true),
        passing("passing", meter, true) {}

  LayerKind kind = LayerKind::kMoe;
  Stage stage;
  int direction = 0;
  int layer = 0;  // entry of the stage map
  Microbatch microbatch;
  bool backward = false;  // its input gradient has begun: what is recomputed may be kept for W

  // Transient: within the way through the layer; passing: handed to a neighbouring layer or stage,
  // or from one end of the layer's backward to the other.
  Lifetime until_input, until_weight, operands, transient, passing;
  Lifetime& of(BufferKind buffer) {
    switch (buffer) {
      case BufferKind::kActivationForWeights: return until_weight;
      case BufferKind::kWeightGradientInput: return operands;
      default: return until_input;
    }
  }

  using Floats = Tensor<T>;
  using Ints = Tensor<std::int32_t>;

  // Through the layer.
  Floats out{"layer output"};              // [l, h]
  Floats out_gradient{"output gradient"};  // [l, h]
  Floats in_gradient{"input gradient"};    // [l, h]
  // Multi-token prediction.
  Floats mtp_hidden{"MTP hidden state"};                            // [l, h]
  Floats mtp_embedding{"MTP token embedding"};                      // [l, h]
  Floats mtp_joined{"MTP projection input"};                        // [l, 2h]
  Floats mtp_output_gradient{"MTP projection output gradient"};     // [l, h]
  Floats mtp_pass_gradient{"gradient that passes the MTP module"};  // [l, h]
  Floats embedding_gradient{"embedding gradient"};                  // [t, h]
  // Attention.
  Floats x{"layer input"};                        // [l, h]
  Floats normed{"normed attention input"};        // [l, h]
  Floats normed_all{"gathered attention input"};  // [t, h]
  Floats normed_rms{"inverse RMS of the attention input"};
  Floats query_latent{"query latent"};                     // [l, rq]
  Floats key_latent{"key and value latent"};               // [l, rkv + dr]
  Floats query_latent_all{"gathered query latent"};        // [t, rq]
  Floats key_latent_all{"gathered key and value latent"};  // [t, rkv + dr]
  Floats query_normed{"normed query latent"};              // [t, rq]
  Floats query_rms{"inverse RMS of the query latent"};
  Floats key_normed{"normed key and value latent"};  // [t, rkv]
  Floats key_rms{"inverse RMS of the key and value latent"};
  Floats rope_key{"rope key"};                          // [t, dr]
  Floats q{"queries"};                                  // [t, hd, dq]
  Floats up{"keys and values"};                         // [t, hd, dn + dv]
  Floats k{"keys"};                                     // [t, hd, dq]
  Floats v{"values"};                                   // [t, hd, dv]
  Floats attended{"attention output"};                  // [t, hd, dv]
  Floats attended_kept{"stored attention output"};      // the same in E5M6, where FP8 trains
  Floats lse{"log-sum-exp of the scores"};              // [t, hd]
  Floats projected{"output projection"};                // [t, h], then [l, h]
  Floats middle{"residual between attention and MLP"};  // [l, h]
  Floats delta{"delta of the attention backward"};      // [t, hd]
  Floats middle_gradient{"gradient between attention and MLP"};  // [l, h]
  Floats projected_gradient{"output projection gradient"};       // [t, h]
  Floats projected_operand{"operand: output projection gradient"};
  Floats attended_gradient{"attention output gradient"};
  Floats attended_operand{"operand: attention output"};
  Floats q_gradient{"query gradient"}, k_gradient{"key gradient"}, v_gradient{"value gradient"};
  Floats q_operand{"operand: query gradient"};
  Floats up_gradient{"key and value gradient"};
  Floats up_operand{"operand: key and value gradient"};
  Floats query_normed_gradient{"normed query latent gradient"};
  Floats key_normed_gradient{"normed key and value latent gradient"};
  Floats rope_key_gradient{"rope key gradient"};
  Floats query_latent_gradient{"query latent gradient"};
  Floats key_latent_gradient{"key and value latent gradient"};
  Floats query_latent_operand{"operand: query latent gradient"};
  Floats key_latent_operand{"operand: key and value latent gradient"};
  Floats query_normed_operand{"operand: normed query latent"};
  Floats key_normed_operand{"operand: normed key and value latent"};
  Floats normed_operand{"operand: normed attention input"};
  Floats normed_all_operand{"operand: gathered attention input"};
  Floats normed_gradient{"normed attention input gradient"};
  // Dense MLP and shared expert (fc1 [t, 2d], act [t, d]); their input is mlp_input.
  Floats mlp_normed{"normed MLP input"};  // [l, h]
  Floats mlp_rms{"inverse RMS of the MLP input"};
  Floats mlp_gathered{"gathered MLP input"};  // [t, h]
  Floats fc1{"fc1 output"}, act{"SwiGLU output"}, fc2{"fc2 output"};
  Floats fc1_gradient{"fc1 output gradient"}, act_gradient{"SwiGLU output gradient"};
  Floats gathered_gradient{"gathered output gradient"};  // [t, h]
  Floats mlp_input_gradient{"MLP input gradient"};       // [t, h], then [l, h]
  Floats fc1_operand{"operand: fc1 output gradient"}, act_operand{"operand: SwiGLU output"};
  Floats gathered_operand{"operand: output gradient"};
  Floats mlp_operand{"operand: MLP input"};
  // Router.
  Floats logits{"router logits"};     // [l, E]
  Floats scores{"router scores"};     // [l, E]
  Ints groups{"expert groups"};       // [l, groups]
  Ints choice{"chosen experts"};      // [l, k]
  Floats weights{"routing weights"};  // [l, k]
  Floats weights_gradient{"routing weight gradient"};
  Floats logits_gradient{"router logits gradient"};
  std::vector<std::int64_t> sequence_counts;  // [sequences, E], of all tensor-parallel GPUs
  std::vector<std::int64_t> expert_counts;    // [E], of this GPU's tokens
  double balance_loss = 0;
  // Routed experts.
  Floats received{"received tokens"};           // [u, h]
  Ints received_experts{"received choices"};    // [u, k]
  Floats received_weights{"received weights"};  // [u, k]
  ExchangeLayout exchange;
  std::vector<std::int64_t> offsets;  // [local experts + 1]
  Ints row_of{"rows of tokens"}, token_of_row{"tokens of rows"}, slot_of_row{"slots of rows"};
  Floats rows_in{"expanded rows"};                 // [r, h]
  Floats row_weights{"row weights"};               // [r]
  Floats rows_fc1{"routed fc1 output"};            // [r, 2i]
  Floats rows_act{"routed SwiGLU output"};         // [r, i]
  Floats rows_out{"routed fc2 output"};            // [r, h]
  Floats reduced{"reduced rows"};                  // [u, h]
  Floats combined{"combined expert output"};       // [l, h]
  Floats received_gradient{"received gradients"};  // [u, h]
  Floats rows_gradient{"expanded gradients"};      // [r, h]
  Floats rows_act_gradient{"routed SwiGLU output gradient"};
  Floats rows_fc1_operand{"operand: routed fc1 output gradient"};
  Floats rows_fc1_gradient{"routed fc1 output gradient"};
  Floats rows_act_operand{"operand: routed SwiGLU output"};
  Floats row_weights_gradient{"row weight gradient"};
  Floats received_weights_gradient{"received weight gradient"};  // [u, k]
  Floats rows_in_gradient{"expanded input gradient"};
  Floats reduced_gradient{"reduced input gradient"};  // [u, h]
  Floats routed_gradient{"routed input gradient"};    // [l, h]
  // Output head.
  Floats head_input{"head input"};          // [l, h]
  Floats head_normed{"normed head input"};  // [t, h]
  Floats head_rms{"inverse RMS of the head input"};
  Floats head_gradient{"normed head input gradient"};
  Floats vocabulary{"logits"};                        // [t, V], then their gradient
  Floats statistics{"logit statistics"};              // [3, t] of this part, gathered [tp, 3, t]
  Floats head_input_gradient{"head input gradient"};  // [l, h]
  double loss = 0;                                    // summed over tokens

  void reset() {
    for (Lifetime* lifetime : {&until_input, &until_weight, &operands, &transient, &passing})
      lifetime->reset();
    backward = false;
  }
};

}  // namespace orrery
