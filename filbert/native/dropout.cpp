// Dropout and the sum with what went around it, in one pass through memory there and one back, for training in bf16: what
// `filbert/model/native_training.py` calls. torch takes five passes there and three back, and keeps a mask of two bytes a
// number where the drawn byte is enough. Dropout in encoder.py is the definition; a test holds both together.

#include <cstdint>

#if defined(__x86_64__) && defined(__AVX512BF16__) && defined(_OPENMP)

#include "simd.h"

namespace {

inline __m512 widened(const bf16* x) {
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

// Call work(i) for i = 0, 16, 32, …
template <class Work>
void by_sixteen(int64_t count, int threads, const Work& work) {
  #pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count / 16; ++i) work(i * 16);
}

inline __m512 dropped_out(const bf16* x, const uint8_t* drawn, int dropped, __m512 scale) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(drawn));
  const __mmask16 kept = _mm_cmpge_epu8_mask(bytes, _mm_set1_epi8(static_cast<char>(dropped)));
  return _mm512_maskz_mul_ps(kept, widened(x), scale);
}

}  // namespace

extern "C" {

// out = residual + x · scale where the drawn byte is at least `dropped`, residual elsewhere; `residual` null stands for 0.
// `count` is a multiple of 16.
void filbert_drop(const uint16_t* x, const uint16_t* residual, const uint8_t* drawn, int dropped, float scale,
                  int64_t count, int threads, uint16_t* out) {
  const __m512 by = _mm512_set1_ps(scale);
  by_sixteen(count, threads, [&](int64_t i) {
    const __m512 kept = dropped_out(x + i, drawn + i, dropped, by);
    store(out + i, residual ? _mm512_add_ps(widened(residual + i), kept) : kept);
  });
}

}  // extern "C"

#endif
