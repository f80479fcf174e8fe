// Dropout, and layer norm of the sum of what a layer was given and what it made, there and back, for training in bf16: what
// `filbert/model/native_training.py` calls. torch takes a pass each for bias, mask, scale, sum and norm, and for the
// gradient of each. `Dropout` and `added` in encoder.py are the definitions; tests hold both together.

#include <cstdint>

#if defined(__x86_64__) && defined(__AVX512BF16__) && defined(_OPENMP)

#include "columns.h"
#include "simd.h"

namespace {

// Which numbers dropout keeps: those whose drawn byte is at least `dropped`. Without drawn bytes, all.
struct Kept {
  const uint8_t* drawn;
  int dropped;
  float scale;

  __m512 of(__m512 x, int64_t at) const {
    if (!drawn) return x;
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(drawn + at));
    const __mmask16 kept = _mm_cmpge_epu8_mask(bytes, _mm_set1_epi8(static_cast<char>(dropped)));
    return _mm512_maskz_mul_ps(kept, x, _mm512_set1_ps(scale));
  }
};

// Call work(i) for i = 0, 16, 32, … of a row.
template <class Work>
inline void by_sixteen(int64_t width, const Work& work) {
  for (int64_t i = 0; i < width; i += 16) work(i);
}

inline void add_to(float* sums, __m512 x) { _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), x)); }

}  // namespace

extern "C" {

// out = x · scale where the drawn byte is at least `dropped`, 0 elsewhere. `count` is a multiple of 16.
void filbert_drop(const uint16_t* x, const uint8_t* drawn, int dropped, float scale, int64_t count, int threads,
                  uint16_t* out) {
  const Kept kept = {drawn, dropped, scale};
  #pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count / 16; ++i) store(out + 16 * i, kept.of(load(x + 16 * i), 16 * i));
}

// sum_TD = residual_TD + kept(x_TD + bias_D); out_TD = (sum - mean) · rstd · weight_D + shift_D of each row, and mean and
// rstd go to `moments`, two numbers a row. `width` is a multiple of 16. Returns 1.
int filbert_add_norm(const uint16_t* x, const uint16_t* bias, const uint16_t* residual, const uint16_t* weight,
                     const uint16_t* shift, const uint8_t* drawn, int64_t rows, int64_t width, int threads, int dropped,
                     float scale, float eps, uint16_t* sum, uint16_t* out, float* moments) {
  const Kept kept = {drawn, dropped, scale};
  #pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = row * width;
    __m512 total = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    by_sixteen(width, [&](int64_t i) {
      const __m512 made = kept.of(_mm512_add_ps(load(x + at + i), load(bias + i)), at + i);
      store(sum + at + i, _mm512_add_ps(load(residual + at + i), made));
      total = _mm512_add_ps(total, load(sum + at + i));  // what was rounded, as on the way back
    });
    const float mean = _mm512_reduce_add_ps(total) / width;
    const __m512 means = _mm512_set1_ps(mean);
    by_sixteen(width, [&](int64_t i) {
      const __m512 away = _mm512_sub_ps(load(sum + at + i), means);
      squares = _mm512_fmadd_ps(away, away, squares);
    });
    const float rstd = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / width + eps);
    const __m512 by = _mm512_set1_ps(rstd);
    by_sixteen(width, [&](int64_t i) {
      const __m512 normed = _mm512_mul_ps(_mm512_sub_ps(load(sum + at + i), means), by);
      store(out + at + i, _mm512_fmadd_ps(normed, load(weight + i), load(shift + i)));
    });
    moments[2 * row] = mean;
    moments[2 * row + 1] = rstd;
  }
  return 1;
}

// grad_TD of `out` → those of the residual and of x, in one where nothing was dropped (`grad_x` null); to `grads` are added
// sums over the rows, grad_D of bias, weight and shift, one after the other. Returns whether there was memory.
int filbert_add_norm_back(const uint16_t* sum, const uint16_t* weight, const float* moments, const uint8_t* drawn,
                          const uint16_t* grad, int64_t rows, int64_t width, int threads, int dropped, float scale,
                          uint16_t* grad_residual, uint16_t* grad_x, float* grads) {
  const Kept kept = {drawn, dropped, scale};
  return with_columns(rows, 3 * width, threads, grads, [&](int64_t row, float* sums) {
    const int64_t at = row * width;
    const __m512 mean = _mm512_set1_ps(moments[2 * row]), rstd = _mm512_set1_ps(moments[2 * row + 1]);
    const auto normed = [&](int64_t i) { return _mm512_mul_ps(_mm512_sub_ps(load(sum + at + i), mean), rstd); };
    __m512 total = _mm512_setzero_ps(), along = _mm512_setzero_ps();
    by_sixteen(width, [&](int64_t i) {
      const __m512 y = normed(i), here = load(grad + at + i), scaled = _mm512_mul_ps(here, load(weight + i));
      total = _mm512_add_ps(total, scaled);
      along = _mm512_fmadd_ps(scaled, y, along);
      add_to(sums + width + i, _mm512_mul_ps(here, y));
      add_to(sums + 2 * width + i, here);
    });
    const __m512 mean_grad = _mm512_set1_ps(_mm512_reduce_add_ps(total) / width);
    const __m512 mean_along = _mm512_set1_ps(_mm512_reduce_add_ps(along) / width);
    by_sixteen(width, [&](int64_t i) {
      const __m512 scaled = _mm512_sub_ps(_mm512_mul_ps(load(grad + at + i), load(weight + i)), mean_grad);
      const __m512 back = _mm512_mul_ps(_mm512_fnmadd_ps(normed(i), mean_along, scaled), rstd);
      const __m512 made = kept.of(back, at + i);
      store(grad_residual + at + i, back);
      if (grad_x) store(grad_x + at + i, made);
      add_to(sums + i, made);
    });
  });
}

}  // extern "C"

#endif
