#pragma once
// DualPipe (DeepSeek-V3 technical report, arXiv 2412.19437, section 3.2.1 and table 2; the order of
// cells is that of the code published at github.com/deepseek-ai/DualPipe). Micro-batches enter at
// both ends of the pipeline, so that in the steady state each rank always has a forward of one
// direction and a backward of the other to overlap in one F&B cell.
//
//   rank r:  chunk 0 = stage r of direction 0 (enters at rank 0),
//            chunk 1 = stage pp-1-r of direction 1 (enters at rank pp-1): twice the parameters.
//   micro-batches [0, m/2) travel in direction 0, [m/2, m) in direction 1.
//
// Published bubble, with B the full backward: (pp/2 - 1)(F&B + B - 3W); at most pp + 1 activations
// on every rank. Example: pp = 8, m = 20 with F = I = W = 1, F&B = 3 takes 66, six of them idle.
//
// DualPipeV (the same repository, after "DualPipe could be better without the Dual", sail-sg): cut
// in half. The two chunks of rank r are stages r and 2pp-1-r of one direction, so that the streams
// that meet are the same micro-batches on their way there and back: once the parameters, 2pp + 1
// activations of half the size, bubble (pp-1)/2 (F&B + B - 3W).
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/p2p_order.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// pp even and >= 2, microbatches (over both directions) even and >= 2 pp; else InputError.
Schedule dualpipe(const ScheduleRequest& request);
Schedule dualpipe(int pp, int microbatches);
P2pOrder dualpipe_p2p(const ScheduleRequest& request);
// Why there is no DualPipe schedule of this size, as one sentence; nothing if there is one.
std::optional<std::string> dualpipe_why_not(const ScheduleRequest& request);

// microbatches >= 2 pp; else InputError.
Schedule dualpipe_v(const ScheduleRequest& request);
P2pOrder dualpipe_v_p2p(const ScheduleRequest& request);
std::optional<std::string> dualpipe_v_why_not(const ScheduleRequest& request);

}  // namespace orrery
