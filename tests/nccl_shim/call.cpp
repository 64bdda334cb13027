#include "tests/nccl_shim/call.hpp"

namespace orrery_shim {
namespace {

const char* function_name(Function function) {
  switch (function) {
    case Function::kSend: return "ncclSend";
    case Function::kRecv: return "ncclRecv";
    case Function::kAllReduce: return "ncclAllReduce";
    case Function::kReduceScatter: return "ncclReduceScatter";
    case Function::kAllGather: return "ncclAllGather";
  }
  return "an unknown call";
}

const char* type_name(int type) {
  switch (type) {
    case 1: return "uint8";
    case 4: return "int64";
    case 7: return "float32";
    case 8: return "float64";
    default: return "elements of an unknown type";
  }
}

}  // namespace

std::size_t type_bytes(int type) {
  switch (type) {
    case 1: return 1;
    case 4:
    case 8: return 8;
    case 7: return 4;
    default: return 0;
  }
}

std::string call_text(const Call& call) {
  return "rank " + std::to_string(call.rank) + "'s call " + std::to_string(call.number) + ": " +
         function_name(call.function) + " of " + std::to_string(call.count) + " " +
         type_name(call.type);
}

std::string disagreement(const Call& theirs, const Call& ours) {
  const bool point_to_point =
      theirs.function == Function::kSend && ours.function == Function::kRecv;
  std::string what;
  if (!point_to_point && theirs.function != ours.function) {
    what = "calls";
  } else if (theirs.type != ours.type) {
    what = "types";
  } else if (theirs.count != ours.count) {
    what = "sizes";
  } else if (theirs.reduction != ours.reduction) {
    what = "reductions";
  }
  if (what.empty()) return "";
  return "mismatched " + what + ": " + call_text(theirs) + ", but " + call_text(ours);
}

}  // namespace orrery_shim
