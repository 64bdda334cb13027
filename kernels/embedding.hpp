#pragma once
// Lookup of token embeddings in a shard of the vocabulary: this rank holds the rows of ids
// [first, first + rows).
//
//   out_t = table[id_t - first]      or zeros for an id of another shard, so that the sum of all
//                                    shards' results is the lookup in the whole table
//   dtable[id_t - first] += dout_t   for ids of this shard, tokens in order
//
//   ids [tokens], global    table, dtable [rows][columns]    out, dout [tokens][columns]
//
// (Vocabulary parallelism: Shoeybi et al., "Megatron-LM", 2019, section 3.)
#include <cstdint>

namespace orrery::kernels {

struct EmbeddingShape {
  std::int64_t tokens = 0;
  std::int64_t first = 0;    // id of the shard's first row
  std::int64_t rows = 0;     // ids in the shard
  std::int64_t columns = 0;  // hidden size
};

// Writes out. For float, double and Dual.
template <class T>
void embedding_lookup(const EmbeddingShape& shape, const std::int32_t* ids, const T* table, T* out);

// Adds to dtable. For float and double.
template <class T>
void embedding_gradient(const EmbeddingShape& shape, const std::int32_t* ids, const T* dout,
                        T* dtable);

}  // namespace orrery::kernels
