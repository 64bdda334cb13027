#pragma once
// A Program with the experts' measured rows instead of even ones: the works of routed experts are
// told apart by micro-batch, layer and GPU, and their ops scaled to the rows that were counted.
// Ids, order and dependencies stay.
//
// In a world (workload/world.hpp) every GPU has its own rows. In a Plan's Program, where one GPU
// stands for a pipeline rank, it takes the most loaded GPU's: the exchanges behind the experts wait
// for that one.
#include "core/plan.hpp"
#include "core/program.hpp"
#include "workload/loads.hpp"

namespace orrery {

// `gpus_per_rank`: 1 for a Plan's Program, that of the world otherwise. Throws InputError where the
// loads are of another model or layout, or lack a micro-batch or layer.
Program with_loads(const Program& program, const Plan& plan, const Loads& loads, int gpus_per_rank);

// The loads fit the plan. Throws InputError.
void check_loads(const Plan& plan, const Loads& loads);

// Rows that the routed experts' ops of a work were made for; 0 where it has none.
double routed_rows(const Work& work);
// The same with so many times the rows: every op that handles them, one by one.
Work with_rows(const Work& work, double ratio);

// Place of an entry of the stage map among the model's layers, MTP modules after the last.
int model_layer(const Layout& layout, const Model& model, Stage stage, int entry);

}  // namespace orrery
