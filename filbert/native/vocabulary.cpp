// Cross-entropy over a whole vocabulary, and its gradient in place of the logits, for training in bf16: what
// `filbert/model/native_training.py` calls. A row lies in the cache while it is gone through, twice, and once more for
// the gradient; torch takes seven passes through rows in fp32. `vocabulary_loss_readable` in tasks/pretrain.py is the
// definition; a test holds both together.

#include <cstdint>

#if defined(__x86_64__) && defined(__AVX512BF16__) && defined(_OPENMP)

#include "columns.h"
#include "simd.h"

namespace {

// The rest of a row of `width` numbers from `i`: 16, or what is left.
inline __mmask16 left(int64_t width, int64_t i) {
  return width - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (width - i)) - 1);
}

inline __m512 load_some(__mmask16 some, const bf16* x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, x)), 16));
}

// Products of a row and the biases of the vocabulary: their sums are its logits.
struct Row {
  bf16* products;
  const bf16* bias;
  int64_t width;

  __m512 logits(__mmask16 some, int64_t i) const {
    return _mm512_add_ps(load_some(some, products + i), load_some(some, bias + i));
  }

  float logit(int64_t i) const { return _mm512_cvtss_f32(logits(1, i)); }
};

// A logit that is no number may be passed over here; the sum of exponentials keeps it.
inline float largest(const Row& row) {
  __m512 most = _mm512_set1_ps(-INFINITY);
  for (int64_t i = 0; i < row.width; i += 16) {
    const __mmask16 some = left(row.width, i);
    most = _mm512_mask_max_ps(most, some, most, row.logits(some, i));
  }
  return _mm512_reduce_max_ps(most);
}

// The sum of e^(logit - most), as four sums side by side.
inline float sum_of_exponentials(const Row& row, float most) {
  const __m512 scale = _mm512_set1_ps(LOG2_E), shift = _mm512_set1_ps(-most * LOG2_E);
  __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  for (int64_t i = 0; i < row.width; i += 64)
    for (int k = 0; k < 4 && i + 16 * k < row.width; ++k) {
      const __mmask16 some = left(row.width, i + 16 * k);
      const __m512 exponential = exp2_of(_mm512_fmadd_ps(row.logits(some, i + 16 * k), scale, shift));
      sum[k] = _mm512_mask_add_ps(sum[k], some, sum[k], exponential);
    }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

// The softmax takes the place of the products, and is added to `total`, too.
inline void become_softmax(const Row& row, float log_sum, float* total) {
  const __m512 scale = _mm512_set1_ps(LOG2_E), shift = _mm512_set1_ps(-log_sum * LOG2_E);
  for (int64_t i = 0; i < row.width; i += 16) {
    const __mmask16 some = left(row.width, i);
    const __m512 probability = exp2_of(_mm512_fmadd_ps(row.logits(some, i), scale, shift));
    _mm512_mask_storeu_ps(total + i, some, _mm512_add_ps(_mm512_maskz_loadu_ps(some, total + i), probability));
    _mm256_mask_storeu_epi16(row.products + i, some, (__m256i)_mm512_cvtneps_pbh(probability));
  }
}

}  // namespace

extern "C" {

// losses_R = log-sum-exp of a row's logits less its target's. With grad_bias_V, the gradient, softmax less 1 at the
// target, takes the place of products_RV, and its sum over the rows is added to grad_bias_V. Returns whether there was
// memory.
int filbert_cross_entropy(uint16_t* products_RV, const uint16_t* bias_V, const int64_t* targets_R, int64_t rows,
                          int64_t width, int threads, float* losses_R, float* grad_bias_V) {
  return with_columns(rows, grad_bias_V ? width : 0, threads, grad_bias_V, [&](int64_t r, float* sums) {
    const Row row = {products_RV + r * width, bias_V, width};
    const float most = largest(row), log_sum = most + std::log(sum_of_exponentials(row, most));
    const float target = row.logit(targets_R[r]);
    losses_R[r] = log_sum - target;
    if (!grad_bias_V) return;
    become_softmax(row, log_sum, sums);
    sums[targets_R[r]] -= 1.0f;
    const __m512 gradient = _mm512_set1_ps(std::exp(target - log_sum) - 1.0f);
    _mm256_mask_storeu_epi16(row.products + targets_R[r], 1, (__m256i)_mm512_cvtneps_pbh(gradient));
  });
}

}  // extern "C"

#endif
