// Cross-entropy over the vocabulary, with its gradient written over the logits, for training. Called by
// `filbert/model/native_training.py`. Two passes over a row while it is in the cache, and a third for the gradient; torch
// takes seven passes over rows in fp32. `vocabulary_loss_readable` in pretraining/network.py is the definition; a test
// compares them.

#pragma once

#include "columns.h"

namespace {

// In place of a mask: all lanes.
struct Every {};
template <class T>
inline Floats load_some(Every, const T* x) { return load(x); }
template <class T>
inline void store_some(Every, T* to, Floats x) { store(to, x); }
inline Floats where(Every, Floats x, float = 0) { return x; }

// Call work(i, lanes) for the index of every vector of a row, from `i` on; the last vector may be incomplete.
template <class Work>
inline void by_lanes_and_rest(int64_t i, int64_t width, const Work& work) {
  for (; i + LANES <= width; i += LANES) work(i, Every());
  if (i < width) work(i, first_lanes(static_cast<int>(width - i)));
}

// A row of products and the vocabulary's biases: their sums are the logits.
struct Row {
  Number* products;
  const Number* bias;
  int64_t width;

  template <class Some>
  Floats logits(Some some, int64_t i) const { return load_some(some, products + i) + load_some(some, bias + i); }
  float logit(int64_t i) const { return logits(first_lanes(1), i)[0]; }
};

// A NaN may be lost here, but not in the sum of exponentials.
inline float largest(const Row& row) {
  Floats most = all(-INFINITY);
  by_lanes_and_rest(0, row.width, [&](int64_t i, auto some) {
    most = larger(most, where(some, row.logits(some, i), -INFINITY));
  });
  return largest_of(most);
}

// e^(x - most).
inline Floats exponential(Floats x, float most) { return exp2_of((x - all(most)) * all(LOG2_E)); }

// The sum of e^(logit - most), in four independent sums.
inline float sum_of_exponentials(const Row& row, float most) {
  const auto some_of_it = [&](int64_t i, auto some) { return where(some, exponential(row.logits(some, i), most)); };
  Floats sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * LANES <= row.width; i += 4 * LANES)
    #pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[k] = sum[k] + some_of_it(i + LANES * k, Every());
  by_lanes_and_rest(i, row.width, [&](int64_t rest, auto some) { sum[0] = sum[0] + some_of_it(rest, some); });
  return sum_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// Write the softmax over the products, and add it to `total`.
inline void become_softmax(const Row& row, float most, float sum, float* total) {
  by_lanes_and_rest(0, row.width, [&](int64_t i, auto some) {
    const Floats probability = exponential(row.logits(some, i), most) * all(1.0f / sum);
    store_some(some, total + i, load_some(some, total + i) + probability);
    store_some(some, row.products + i, probability);
  });
}

}  // namespace

extern "C" {

// losses_R = log-sum-exp of a row's logits minus the target's logit. With grad_bias_V, the gradient (softmax minus one-hot
// target) is written over products_RV, and its sum over the rows is added to grad_bias_V. Returns 0 where memory runs
// out.
int filbert_cross_entropy(Number* products_RV, const Number* bias_V, const int64_t* targets_R, int64_t rows,
                          int64_t width, int threads, float* losses_R, float* grad_bias_V) {
  return with_columns(rows, grad_bias_V ? width : 0, threads, grad_bias_V, [&](int64_t r, float* sums) {
    const Row row = {products_RV + r * width, bias_V, width};
    const float most = largest(row), sum = sum_of_exponentials(row, most);
    const float target = row.logit(targets_R[r]) - most;
    losses_R[r] = std::log(sum) - target;
    if (!grad_bias_V) return;
    become_softmax(row, most, sum, sums);
    sums[targets_R[r]] -= 1.0f;
    store_some(first_lanes(1), row.products + targets_R[r], all(std::exp(target) / sum - 1.0f));
  });
}

}  // extern "C"
