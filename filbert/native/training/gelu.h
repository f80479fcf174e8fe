// GELU(x + bias), forward and backward, for training. Called by `filbert/model/native_training.py`. In bf16 torch writes the
// bias to the whole output before the product, and sums its gradient in a separate pass. `linear_gelu` in encoder.py is the
// definition; a test compares them.

#pragma once

#include "columns.h"

namespace {

// The derivative of GELU: Φ(x) + x φ(x), of the normal distribution.
inline Floats slope(Floats x) {
  const Floats half = all(0.5f), area = multiply_add(error_function(x), half, half);
  const Floats density = exp2_of(x * x * all(-0.5f * LOG2_E));
  return multiply_add(x * all(0.39894228f), density, area);
}

}  // namespace

extern "C" {

// out_TF = GELU(x_TF + bias_F). `width` is a multiple of 16. Returns 1.
int filbert_gelu(const Number* x, const Number* bias, int64_t rows, int64_t width, int threads, Number* out) {
  #pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < width; i += LANES)
      store(out + row * width + i, gelu(load(x + row * width + i) + load(bias + i)));
  return 1;
}

// Compute grad_x_TF from grad_TF, and add its sum over the rows to grad_bias_F. Returns 0 where memory runs out.
int filbert_gelu_back(const Number* x, const Number* bias, const Number* grad, int64_t rows, int64_t width, int threads,
                      Number* grad_x, float* grad_bias) {
  return with_columns(rows, width, threads, grad_bias, [&](int64_t row, float* sums) {
    for (int64_t i = 0; i < width; i += LANES) {
      const int64_t at = row * width + i;
      const Floats back = load(grad + at) * slope(load(x + at) + load(bias + i));
      store(sums + i, load(sums + i) + back);
      store(grad_x + at, back);
    }
  });
}

}  // extern "C"
