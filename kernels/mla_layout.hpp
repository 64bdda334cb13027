#pragma once
// The copies of multi-head latent attention between its projections and the attention kernel
// (DeepSeek-V2 report, sections 2.1.2 and 2.1.3: k_i = [k_i^C; k^R]).
//
// The up-projection of the latent gives every head a key part without position ("nope") and a
// value, side by side; one rotated key part ("rope") is shared by all heads. Attention wants whole
// keys, [nope | rope] per head, and values on their own.
//
//   kv_up   [tokens][heads][nope + v_dim]      the up-projection: key part, then value
//   k_rope  [tokens][rope]                     shared by the heads, already rotated
//   k       [tokens][heads][nope + rope]
//   v       [tokens][heads][v_dim]
//
// Forward: place_keys_and_values and broadcast_rope_key together write every element of k and v.
// Backward: take_key_gradient and take_value_gradient together write every element of dkv_up;
// reduce_rope_key_gradient sums over the heads given, in order of the heads, so where heads are
// sharded its results are summed over the shards.
// Instantiated for float, double and Dual.
#include <cstdint>

namespace orrery::kernels {

struct MlaLayout {
  std::int64_t tokens = 0;
  std::int64_t heads = 0;  // of this shard
  std::int64_t nope = 0;   // width of a key without position
  std::int64_t rope = 0;   // width of the rotated key
  std::int64_t v_dim = 0;
};

// Writes v and the nope part of k; leaves the rope part of k alone.
template <class T>
void place_keys_and_values(const MlaLayout& layout, const T* kv_up, T* k, T* v);

// Writes the rope part of k; leaves the nope part alone.
template <class T>
void broadcast_rope_key(const MlaLayout& layout, const T* k_rope, T* k);

// Writes dk_rope: the sum over heads of the rope part of dk.
template <class T>
void reduce_rope_key_gradient(const MlaLayout& layout, const T* dk, T* dk_rope);

// Writes the key part of dkv_up; leaves the value part alone.
template <class T>
void take_key_gradient(const MlaLayout& layout, const T* dk, T* dkv_up);

// Writes the value part of dkv_up; leaves the key part alone.
template <class T>
void take_value_gradient(const MlaLayout& layout, const T* dv, T* dkv_up);

}  // namespace orrery::kernels
