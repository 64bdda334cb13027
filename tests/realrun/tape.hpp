#pragma once
// Derivatives of any scalar of a computation with respect to all that went into it: reverse-mode
// automatic differentiation on a tape (Griewank & Walther, "Evaluating Derivatives", 2nd edition,
// 2008, section 3.2). For tests: a formula written once, forward, gives the gradients that the
// hand-written backward passes are compared with.
//
//   Tape tape;
//   Var x = tape.leaf(3), y = tape.leaf(4);
//   Var z = log(x * y) + 1;
//   tape.backward(z);
//   tape.adjoint(x);  // dz/dx = 1/3
//
// A Var is a value and its node; one made from a number is a constant and has no node. An operation
// adds a node with an edge to each operand, which carries the partial derivative:
//
//   node k:  value v_k, edges (j, dv_k/dv_j) with j < k        backward: a_j += a_k dv_k/dv_j
//
// Memory: 8 bytes a node and 12 an edge. A dot product of n pairs is one node with 2n edges.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/error.hpp"

namespace orrery {

class Tape;

struct Var {
  Var(double constant = 0) : value(constant) {}
  Var(Tape* owner, std::int32_t node, double result) : tape(owner), index(node), value(result) {}

  Tape* tape = nullptr;  // none: a constant
  std::int32_t index = -1;
  double value = 0;
};

class Tape {
 public:
  // What derivatives are wanted of.
  Var leaf(double value) { return node(value); }

  // An operation: the edges to its operands, then its node.
  void edge(const Var& operand, double partial) {
    if (operand.tape == nullptr) return;
    ORRERY_CHECK(operand.tape == this, "node {} is of another tape", operand.index);
    operands_.push_back(operand.index);
    partials_.push_back(partial);
  }
  Var node(double value) {
    edges_end_.push_back(operands_.size());
    return {this, static_cast<std::int32_t>(edges_end_.size() - 1), value};
  }

  // Makes adjoint(x) the derivative of `result` with respect to x, for every x on the tape.
  void backward(const Var& result) {
    ORRERY_CHECK(result.tape == this, "node {} is not of this tape", result.index);
    adjoints_.assign(edges_end_.size(), 0);
    adjoints_[static_cast<std::size_t>(result.index)] = 1;
    for (std::size_t at = static_cast<std::size_t>(result.index) + 1; at-- > 0;) {
      const std::size_t first = at == 0 ? 0 : edges_end_[at - 1];
      for (std::size_t edge = first; edge < edges_end_[at]; ++edge)
        adjoints_[static_cast<std::size_t>(operands_[edge])] += adjoints_[at] * partials_[edge];
    }
  }
  double adjoint(const Var& var) const {
    return var.tape == nullptr ? 0 : adjoints_.at(static_cast<std::size_t>(var.index));
  }

  std::size_t nodes() const { return edges_end_.size(); }
  std::size_t edges() const { return operands_.size(); }
  // Every Var of the tape ends here; the memory stays for the next computation.
  void clear() {
    edges_end_.clear();
    operands_.clear();
    partials_.clear();
    adjoints_.clear();
  }

 private:
  std::vector<std::size_t> edges_end_;  // by node
  std::vector<std::int32_t> operands_;  // by edge
  std::vector<double> partials_;        // by edge
  std::vector<double> adjoints_;        // by node
};

inline Var unary(double value, const Var& x, double partial) {
  if (x.tape == nullptr) return value;
  x.tape->edge(x, partial);
  return x.tape->node(value);
}

inline Var binary(double value, const Var& a, double partial_a, const Var& b, double partial_b) {
  Tape* tape = a.tape != nullptr ? a.tape : b.tape;
  if (tape == nullptr) return value;
  tape->edge(a, partial_a);
  tape->edge(b, partial_b);
  return tape->node(value);
}

inline Var operator+(const Var& a, const Var& b) {
  return binary(a.value + b.value, a, 1, b, 1);
}
inline Var operator-(const Var& a, const Var& b) {
  return binary(a.value - b.value, a, 1, b, -1);
}
inline Var operator*(const Var& a, const Var& b) {
  return binary(a.value * b.value, a, b.value, b, a.value);
}
inline Var operator/(const Var& a, const Var& b) {
  const double quotient = a.value / b.value;
  return binary(quotient, a, 1 / b.value, b, -quotient / b.value);
}
inline Var operator-(const Var& a) {
  return unary(-a.value, a, -1);
}
inline Var exp(const Var& x) {
  const double value = std::exp(x.value);
  return unary(value, x, value);
}
inline Var log(const Var& x) {
  return unary(std::log(x.value), x, 1 / x.value);
}
inline Var sqrt(const Var& x) {
  const double value = std::sqrt(x.value);
  return unary(value, x, 0.5 / value);
}

// sum_i x_i
inline Var sum(std::span<const Var> x) {
  Tape* tape = nullptr;
  double total = 0;
  for (const Var& term : x) {
    total += term.value;
    if (term.tape == nullptr) continue;
    tape = term.tape;
    tape->edge(term, 1);
  }
  return tape == nullptr ? Var(total) : tape->node(total);
}

// sum_i a_i b_i, of equally many.
inline Var dot(std::span<const Var> a, std::span<const Var> b) {
  ORRERY_CHECK(a.size() == b.size(), "{} and {} elements", a.size(), b.size());
  Tape* tape = nullptr;
  double total = 0;
  for (std::size_t at = 0; at < a.size(); ++at) {
    total += a[at].value * b[at].value;
    Tape* own = a[at].tape != nullptr ? a[at].tape : b[at].tape;
    if (own == nullptr) continue;
    tape = own;
    tape->edge(a[at], b[at].value);
    tape->edge(b[at], a[at].value);
  }
  return tape == nullptr ? Var(total) : tape->node(total);
}

}  // namespace orrery
