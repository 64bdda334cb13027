#pragma once
// Expert loads measured in a run: how many rows (copies of tokens) the experts of each rank
// computed, per micro-batch and MoE layer. A real run writes them (loads.json), the simulator reads
// them in the place of its routing model.
//
//   {"format_version": "1.0", "model": "tiny-moe", "pp": 2, "ep": 2, "dp": 2, "step": 12,
//    "microbatches": 2, "layers": [1, 2], "ranks": 2,
//    "rows": [[[30, 34], [31, 33]], [[40, 24], [32, 32]]],       [micro-batch][layer][rank]
//    "experts": [[17, 20, 23, 68], [30, 33, 32, 33]]}            [layer][expert], optional
//
// Numbers need not add up to the same total: what a layer received may differ from micro-batch to
// micro-batch. A file holds microbatches x layers x ranks numbers of about 200 bytes each while it
// is read.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/document.hpp"

namespace orrery {

struct Loads {
  std::string model;
  int pp = 1;
  int ep = 1;
  int dp = 1;
  int step = 0;  // the training step they were counted in
  int microbatches = 0;
  std::vector<int> layers;                   // of the model, from 0, rising; MTP layers count last
  int ranks = 0;                             // that share a layer
  std::vector<double> row_counts;            // [micro-batch][layer][rank]
  std::vector<std::vector<double>> experts;  // rows [layer][expert] of the whole step, or empty
  bool operator==(const Loads&) const = default;

  // `layer` is a place in `layers`, from 0.
  double rows(int microbatch, int layer, int rank) const;
  // Of all ranks.
  std::span<const double> rows(int microbatch, int layer) const;
};

// Rows of the busiest rank over the mean, 1 (even) to the number of ranks (all on one); 1 where
// there are no rows. The busiest rank ends last, so it is the factor by which the experts' time
// exceeds that of an even load.
double max_over_mean(std::span<const double> rows);

struct Evenness {
  double mean = 1;   // of max_over_mean over all micro-batches and layers
  double worst = 1;  // the largest of them
};
Evenness evenness(const Loads& loads);

// Mean over layers of max_over_mean of the experts' rows of the whole step; 1 where there are none.
double expert_evenness(const Loads& loads);

// Ends with a newline; the same for equal loads, and read_loads gives the same numbers back to the
// last bit.
std::string to_json(const Loads& loads);

// Throws InputError with all that is wrong, each at its place: a missing or unknown key, another
// version, a list whose length is not what the counts say, a number of rows that is negative or not
// a number.
Loads read_loads(const Document& document, Diagnostics& diagnostics);
Loads read_loads(const std::string& path);

}  // namespace orrery
