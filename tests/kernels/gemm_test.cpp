#include "kernels/gemm.hpp"

#include "kernels/gemm_blocked.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

enum class Form { kNt, kNn, kTn };
constexpr Form kForms[] = {Form::kNt, Form::kNn, Form::kTn};

// A matrix product with operands as they are stored: leading dimensions wider than the matrices by
// `slack`, elements between the rows poisoned.
struct Case {
  Form form;
  GemmShape shape;
  std::int64_t slack = 0;

  bool a_transposed() const { return form == Form::kTn; }
  bool b_transposed() const { return form == Form::kNt; }
  std::int64_t lda() const { return (a_transposed() ? shape.m : shape.k) + slack; }
  std::int64_t ldb() const { return (b_transposed() ? shape.k : shape.n) + slack; }
  std::int64_t ldc() const { return shape.n + slack; }
  std::int64_t a_size() const { return (a_transposed() ? shape.k : shape.m) * lda(); }
  std::int64_t b_size() const { return (b_transposed() ? shape.n : shape.k) * ldb(); }
  std::int64_t c_size() const { return shape.m * ldc(); }
  std::int64_t a_index(std::int64_t row, std::int64_t term) const {
    return a_transposed() ? term * lda() + row : row * lda() + term;
  }
  std::int64_t b_index(std::int64_t term, std::int64_t column) const {
    return b_transposed() ? column * ldb() + term : term * ldb() + column;
  }
};

template <class T>
void run(const Case& c, const T* a, const T* b, T* result, bool accumulate) {
  const auto gemm = c.form == Form::kNt   ? gemm_nt<T>
                    : c.form == Form::kNn ? gemm_nn<T>
                                          : gemm_tn<T>;
  gemm(c.shape, a, c.lda(), b, c.ldb(), result, c.ldc(), accumulate);
}

template <class T>
void run_plain(const Case& c, const T* a, const T* b, T* result, bool accumulate,
               Instructions instructions) {
  const MatrixView<T> view_a =
      c.a_transposed() ? MatrixView<T>{a, 1, c.lda()} : MatrixView<T>{a, c.lda(), 1};
  const MatrixView<T> view_b =
      c.b_transposed() ? MatrixView<T>{b, 1, c.ldb()} : MatrixView<T>{b, c.ldb(), 1};
  gemm_blocked(c.shape, view_a, view_b, result, c.ldc(), accumulate, instructions);
}

// Small integers: every product and sum is exact in each T, whatever the order.
template <class T>
std::vector<T> integers(std::int64_t n, std::uint64_t seed) {
  std::vector<T> values;
  for (const double value : random_vector(n, seed)) values.push_back(T(std::round(4 * value)));
  return values;
}

// gemm(a, b, c, accumulate) against the definition, on poisoned outputs, and with what lies between
// the rows of C left alone.
template <class T, class Gemm>
void check_exact(const Case& c, const Gemm& gemm) {
  const std::vector<T> a = integers<T>(c.a_size(), 1), b = integers<T>(c.b_size(), 2);
  for (const bool accumulate : {false, true}) {
    CAPTURE(c.form, c.shape.m, c.shape.n, c.shape.k, c.slack, accumulate);
    std::vector<T> result = accumulate ? integers<T>(c.c_size(), 3) : poisoned<T>(c.c_size());
    const std::vector<T> before = result;
    gemm(a.data(), b.data(), result.data(), accumulate);
    std::int64_t wrong = 0;
    for (std::int64_t row = 0; row < c.shape.m; ++row)
      for (std::int64_t column = 0; column < c.ldc(); ++column) {
        const auto at = static_cast<std::size_t>(row * c.ldc() + column);
        T expected = accumulate || column >= c.shape.n ? before[at] : T(0);
        for (std::int64_t term = 0; column < c.shape.n && term < c.shape.k; ++term)
          expected += a[static_cast<std::size_t>(c.a_index(row, term))] *
                      b[static_cast<std::size_t>(c.b_index(term, column))];
        const bool both_poisoned = !(expected == expected) && !(result[at] == result[at]);
        wrong += !(result[at] == expected || both_poisoned);
      }
    CHECK(wrong == 0);
  }
}

// Around the tiles (6 rows, 8 columns of double, 16 of float, 4 of Dual), the blocks (96 rows, 256
// terms, 512 columns), and nothing at all.
const std::vector<GemmShape> kShapes = {
    {0, 5, 7},  {5, 0, 7},    {5, 7, 0},    {1, 1, 1},      {1, 127, 129}, {129, 1, 127},
    {6, 16, 4}, {7, 17, 255}, {5, 15, 256}, {127, 33, 257}, {97, 9, 600},  {13, 513, 20},
};

TEMPLATE_TEST_CASE("A matrix product of whole numbers is exact in every form and shape", "", float,
                   double, Dual) {
  for (const Form form : kForms)
    for (const GemmShape& shape : kShapes)
      for (const std::int64_t slack : {0, 3}) {
        const Case c{form, shape, slack};
        check_exact<TestType>(c, [&](const TestType* a, const TestType* b, TestType* result,
                                     bool accumulate) { run(c, a, b, result, accumulate); });
      }
}

TEMPLATE_TEST_CASE("The plain product is exact with each set of instructions", "", float, double) {
  CHECK(is_available(Instructions::kBaseline));
  for (const Instructions instructions : {Instructions::kBaseline, Instructions::kAvx2}) {
    if (!is_available(instructions)) continue;
    for (const Form form : kForms)
      for (const GemmShape& shape : kShapes) {
        const Case c{form, shape, 3};
        CAPTURE(static_cast<int>(instructions));
        check_exact<TestType>(
            c, [&](const TestType* a, const TestType* b, TestType* result, bool accumulate) {
              run_plain(c, a, b, result, accumulate, instructions);
            });
      }
  }
}

TEST_CASE("A product of floats is as close to that of doubles as its number of terms allows") {
  for (const Form form : kForms) {
    const Case c{form, {65, 70, 300}};
    const std::vector<double> a = random_vector(c.a_size(), 1), b = random_vector(c.b_size(), 2);
    std::vector<double> expected = poisoned(c.c_size());
    run(c, a.data(), b.data(), expected.data(), false);
    const std::vector<float> a_float(a.begin(), a.end()), b_float(b.begin(), b.end());
    std::vector<float> result = poisoned<float>(c.c_size());
    run(c, a_float.data(), b_float.data(), result.data(), false);
    CHECK(close({result.begin(), result.end()}, expected, 1e-6));
  }
}

// What lets rows, columns and forms be chosen per rank: an element's bits do not depend on them.
TEST_CASE("An element of a product of doubles depends only on its row, its column and k") {
  for (const std::int64_t k : {1, 127, 256, 257, 700}) {
    const Case whole{Form::kNt, {131, 77, k}};
    const std::vector<double> a = random_vector(whole.a_size(), 1);
    const std::vector<double> b = random_vector(whole.b_size(), 2);
    const std::vector<double> start = random_vector(whole.c_size(), 3);
    for (const bool accumulate : {false, true}) {
      std::vector<double> expected = accumulate ? start : poisoned(whole.c_size());
      run(whole, a.data(), b.data(), expected.data(), accumulate);
      // Each part [row, row + m) x [column, column + n) of C by itself, operands in place.
      struct Part {
        std::int64_t row, column, m, n;
      };
      for (const auto& [row, column, m, n] :
           {Part{0, 0, 1, 1}, Part{130, 76, 1, 1}, Part{5, 3, 126, 1}, Part{64, 0, 67, 77},
            Part{1, 8, 99, 64}, Part{3, 31, 12, 46}}) {
        CAPTURE(k, accumulate, row, column, m, n);
        std::vector<double> part = accumulate ? start : poisoned(whole.c_size());
        const std::int64_t ldc = whole.ldc();
        gemm_nt<double>({m, n, k}, a.data() + row * k, k, b.data() + column * k, k,
                        part.data() + row * ldc + column, ldc, accumulate);
        std::int64_t different = 0;
        for (std::int64_t i = row; i < row + m; ++i)
          for (std::int64_t j = column; j < column + n; ++j) {
            const auto at = static_cast<std::size_t>(i * ldc + j);
            different += part[at] != expected[at];
          }
        CHECK(different == 0);
      }
      // The other two forms, on transposed copies.
      for (const Form form : {Form::kNn, Form::kTn}) {
        const Case other{form, whole.shape};
        std::vector<double> other_a = poisoned(other.a_size()), other_b = poisoned(other.b_size());
        for (std::int64_t term = 0; term < k; ++term) {
          for (std::int64_t row = 0; row < whole.shape.m; ++row)
            other_a[static_cast<std::size_t>(other.a_index(row, term))] =
                a[static_cast<std::size_t>(whole.a_index(row, term))];
          for (std::int64_t column = 0; column < whole.shape.n; ++column)
            other_b[static_cast<std::size_t>(other.b_index(term, column))] =
                b[static_cast<std::size_t>(whole.b_index(term, column))];
        }
        std::vector<double> result = accumulate ? start : poisoned(whole.c_size());
        run(other, other_a.data(), other_b.data(), result.data(), accumulate);
        CAPTURE(k, accumulate, form);
        CHECK(result == expected);
      }
    }
  }
}

// y = x W^T with W [out, in]: dx = dy W, dW = dy^T x.
TEST_CASE("The three forms are the forward and the two gradients of a linear layer") {
  for (const std::int64_t rows : {0, 1, 127, 129})
    for (const std::int64_t in : {1, 20}) {
      const std::int64_t out = 11;
      const std::vector<double> x = random_vector(rows * in, 1), w = random_vector(out * in, 2);
      const auto layer = [=]<class T>(const std::vector<T>& input, const std::vector<T>& weight) {
        std::vector<T> y = poisoned<T>(rows * out);
        gemm_nt({rows, out, in}, input.data(), in, weight.data(), in, y.data(), out, false);
        return y;
      };
      check_derivative(
          x, [&]<class T>(const std::vector<T>& input) { return layer(input, converted<T>(w)); },
          [&](const std::vector<double>&, const std::vector<double>& dy) {
            std::vector<double> dx = poisoned(rows * in);
            gemm_nn({rows, in, out}, dy.data(), out, w.data(), in, dx.data(), in, false);
            return dx;
          });
      check_derivative(
          w, [&]<class T>(const std::vector<T>& weight) { return layer(converted<T>(x), weight); },
          [&](const std::vector<double>&, const std::vector<double>& dy) {
            std::vector<double> dw = poisoned(out * in);
            gemm_tn({out, in, rows}, dy.data(), out, x.data(), in, dw.data(), in, false);
            return dw;
          });
    }
}

// With products in the other forms as forwards, every argument of every form is differentiated:
// C = A B: dA = dC B^T, dB = A^T dC.  C = A^T B: dA = B dC^T, dB = A dC.
TEST_CASE(
    "Products without a transpose, or with the first one's, have gradients in both arguments") {
  const std::int64_t m = 7, n = 9, k = 5;
  const std::vector<double> a = random_vector(m * k, 1), b = random_vector(k * n, 2);
  const auto nn = [=]<class T>(const std::vector<T>& left, const std::vector<T>& right) {
    std::vector<T> c = poisoned<T>(m * n);
    gemm_nn({m, n, k}, left.data(), k, right.data(), n, c.data(), n, false);
    return c;
  };
  const auto tn = [=]<class T>(const std::vector<T>& left, const std::vector<T>& right) {
    std::vector<T> c = poisoned<T>(m * n);
    gemm_tn({m, n, k}, left.data(), m, right.data(), n, c.data(), n, false);
    return c;
  };
  using Vector = std::vector<double>;
  check_derivative(
      a, [&]<class T>(const std::vector<T>& x) { return nn(x, converted<T>(b)); },
      [&](const Vector&, const Vector& dc) {
        Vector da = poisoned(m * k);
        gemm_nt({m, k, n}, dc.data(), n, b.data(), n, da.data(), k, false);
        return da;
      });
  check_derivative(
      b, [&]<class T>(const std::vector<T>& x) { return nn(converted<T>(a), x); },
      [&](const Vector&, const Vector& dc) {
        Vector db = poisoned(k * n);
        gemm_tn({k, n, m}, a.data(), k, dc.data(), n, db.data(), n, false);
        return db;
      });
  check_derivative(
      a, [&]<class T>(const std::vector<T>& x) { return tn(x, converted<T>(b)); },
      [&](const Vector&, const Vector& dc) {
        Vector da = poisoned(k * m);
        gemm_nt({k, m, n}, b.data(), n, dc.data(), n, da.data(), m, false);
        return da;
      });
  check_derivative(
      b, [&]<class T>(const std::vector<T>& x) { return tn(converted<T>(a), x); },
      [&](const Vector&, const Vector& dc) {
        Vector db = poisoned(k * n);
        gemm_nn({k, n, m}, a.data(), m, dc.data(), n, db.data(), n, false);
        return db;
      });
}

}  // namespace
}  // namespace orrery::kernels
