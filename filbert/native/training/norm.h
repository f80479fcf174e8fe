// Dropout, and LayerNorm of residual + output, forward and backward, for training. Called by
// `filbert/model/native_training.py`. torch takes a pass each for bias, mask, scale, sum and norm, and for the
// gradient of each. `Dropout` and `add_norm` in encoder.py are the definitions; tests compare them.

#pragma once

#include "columns.h"

namespace {

// Dropout's mask: values whose random byte is at least `dropped` are kept. Without bytes, all are.
struct Kept {
  const uint8_t* drawn;
  int dropped;
  float scale;

  Floats of(Floats x, int64_t at) const { return drawn ? where(at_least(drawn + at, dropped), x * all(scale)) : x; }
};

// Call work(i) for the index of every vector of a row.
template <class Work>
inline void by_lanes(int64_t width, const Work& work) {
  for (int64_t i = 0; i < width; i += LANES) work(i);
}

inline void add_to(float* sums, Floats x) { store(sums, load(sums) + x); }

}  // namespace

extern "C" {

// out = x · scale where the random byte is at least `dropped`, 0 elsewhere. `count` is a multiple of 16.
void filbert_drop(const Number* x, const uint8_t* drawn, int dropped, float scale, int64_t count, int threads,
                  Number* out) {
  const Kept kept = {drawn, dropped, scale};
  #pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count; i += LANES) store(out + i, kept.of(load(x + i), i));
}

// sum_TD = residual_TD + dropout(x_TD + bias_D); out_TD = (sum - mean) · rstd · weight_D + shift_D of each row; `moments`
// gets mean and rstd of each row. `width` is a multiple of 16. Returns 1.
int filbert_add_norm(const Number* x, const Number* bias, const Number* residual, const Number* weight,
                     const Number* shift, const uint8_t* drawn, int64_t rows, int64_t width, int threads, int dropped,
                     float scale, float eps, Number* sum, Number* out, float* moments) {
  const Kept kept = {drawn, dropped, scale};
  #pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = row * width;
    Floats total = {}, squares = {};
    by_lanes(width, [&](int64_t i) {
      const Floats made = kept.of(load(x + at + i) + load(bias + i), at + i);
      store(sum + at + i, load(residual + at + i) + made);
      total = total + load(sum + at + i);  // the rounded value, as in the backward pass
    });
    const float mean = sum_of(total) / width;
    by_lanes(width, [&](int64_t i) {
      const Floats away = load(sum + at + i) - all(mean);
      squares = multiply_add(away, away, squares);
    });
    const float rstd = 1.0f / std::sqrt(sum_of(squares) / width + eps);
    by_lanes(width, [&](int64_t i) {
      const Floats normed = (load(sum + at + i) - all(mean)) * all(rstd);
      store(out + at + i, multiply_add(normed, load(weight + i), load(shift + i)));
    });
    moments[2 * row] = mean;
    moments[2 * row + 1] = rstd;
  }
  return 1;
}

// Compute the gradients of residual and x from grad_TD (`grad_x` null: both are equal, as nothing was dropped), and add to
// `grads` those of bias, weight and shift, one after the other. Returns 0 where memory runs out.
int filbert_add_norm_back(const Number* sum, const Number* weight, const float* moments, const uint8_t* drawn,
                          const Number* grad, int64_t rows, int64_t width, int threads, int dropped, float scale,
                          Number* grad_residual, Number* grad_x, float* grads) {
  const Kept kept = {drawn, dropped, scale};
  return with_columns(rows, 3 * width, threads, grads, [&](int64_t row, float* sums) {
    const int64_t at = row * width;
    const Floats mean = all(moments[2 * row]), rstd = all(moments[2 * row + 1]);
    const auto normed = [&](int64_t i) { return (load(sum + at + i) - mean) * rstd; };
    Floats total = {}, along = {};
    by_lanes(width, [&](int64_t i) {
      const Floats y = normed(i), here = load(grad + at + i), scaled = here * load(weight + i);
      total = total + scaled;
      along = multiply_add(scaled, y, along);
      add_to(sums + width + i, here * y);
      add_to(sums + 2 * width + i, here);
    });
    const Floats mean_grad = all(sum_of(total) / width), mean_along = all(sum_of(along) / width);
    by_lanes(width, [&](int64_t i) {
      const Floats scaled = multiply_subtract(load(grad + at + i), load(weight + i), mean_grad);
      const Floats back = subtract_product(normed(i), mean_along, scaled) * rstd;
      const Floats made = kept.of(back, at + i);
      store(grad_residual + at + i, back);
      if (grad_x) store(grad_x + at + i, made);
      add_to(sums + i, made);
    });
  });
}

}  // extern "C"
