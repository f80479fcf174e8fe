// GELU of x + bias, there and back, for training in bf16: what `filbert/model/native_training.py` calls. torch adds the
// bias by writing it out in full before the product, and sums its gradient up in a pass of its own. F.gelu of a linear
// layer, in encoder.py, is the definition; a test holds both together.

#include <cstdint>

#if defined(__x86_64__) && defined(__AVX512BF16__) && defined(_OPENMP)

#include "columns.h"
#include "simd.h"

namespace {

// The slope of GELU: Φ(x) + x φ(x), with Φ and φ those of the normal distribution.
inline __m512 slope(__m512 x) {
  const __m512 half = _mm512_set1_ps(0.5f), area = _mm512_fmadd_ps(error_function(x), half, half);
  const __m512 density = exp2_of(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.5f * LOG2_E)));
  return _mm512_fmadd_ps(_mm512_mul_ps(x, _mm512_set1_ps(0.39894228f)), density, area);
}

}  // namespace

extern "C" {

// out_TF = GELU(x_TF + bias_F). `width` is a multiple of 16. Returns 1.
int filbert_gelu(const uint16_t* x, const uint16_t* bias, int64_t rows, int64_t width, int threads, uint16_t* out) {
  #pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < width; i += 16)
      store(out + row * width + i, gelu(_mm512_add_ps(load(x + row * width + i), load(bias + i))));
  return 1;
}

// grad_TF of the result → grad_x_TF, and added to grad_bias_F its sum over the rows. Returns whether there was memory.
int filbert_gelu_back(const uint16_t* x, const uint16_t* bias, const uint16_t* grad, int64_t rows, int64_t width,
                      int threads, uint16_t* grad_x, float* grad_bias) {
  return with_columns(rows, width, threads, grad_bias, [&](int64_t row, float* sums) {
    for (int64_t i = 0; i < width; i += 16) {
      const int64_t at = row * width + i;
      const __m512 back = _mm512_mul_ps(load(grad + at), slope(_mm512_add_ps(load(x + at), load(bias + i))));
      _mm512_storeu_ps(sums + i, _mm512_add_ps(_mm512_loadu_ps(sums + i), back));
      store(grad_x + at, back);
    }
  });
}

}  // extern "C"

#endif
