// Shared by the C++ libraries: vectors of fp32 values, 16 with AVX-512 and 8 with AVX2, memory, tiles. For files that are
// compiled for one of the two; operators such as a * b + c work on all lanes.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

namespace {

// ---- one vector -----------------------------------------------------------------------------------------------------

#ifdef __AVX512F__

using Floats = __m512;
using Words = __m512i;  // of four bytes
using Mask = __mmask16;
constexpr int LANES = 16;

inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Words all(int32_t x) { return _mm512_set1_epi32(x); }
inline Floats load(const float* x) { return _mm512_loadu_ps(x); }
inline void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
inline Words load_words(const void* x) { return _mm512_loadu_si512(x); }
inline void store_words(void* to, Words x) { _mm512_storeu_si512(to, x); }

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }       // a b + c
inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm512_fmsub_ps(a, b, c); }  // a b - c
inline Floats subtract_product(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b

// If either is NaN, the second is returned.
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline float sum_of(Floats x) { return _mm512_reduce_add_ps(x); }
inline float largest_of(Floats x) { return _mm512_reduce_max_ps(x); }

inline Floats whole(Floats x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats times_power_of_2(Floats x, Floats whole) { return _mm512_scalef_ps(x, whole); }

inline Mask first_lanes(int n) { return static_cast<Mask>((1u << n) - 1); }
inline Mask at_least(const uint8_t* bytes, int least) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  return _mm_cmpge_epu8_mask(x, _mm_set1_epi8(static_cast<char>(least)));
}
inline Floats where(Mask some, Floats x, float other = 0) { return _mm512_mask_mov_ps(all(other), some, x); }
inline Floats load_some(Mask some, const float* x) { return _mm512_maskz_loadu_ps(some, x); }
inline void store_some(Mask some, float* to, Floats x) { _mm512_mask_storeu_ps(to, some, x); }

#else

using Floats = __m256;
using Words = __m256i;
using Mask = __m256i;
constexpr int LANES = 8;

inline Floats all(float x) { return _mm256_set1_ps(x); }
inline Words all(int32_t x) { return _mm256_set1_epi32(x); }
inline Floats load(const float* x) { return _mm256_loadu_ps(x); }
inline void store(float* to, Floats x) { _mm256_storeu_ps(to, x); }
inline Words load_words(const void* x) { return _mm256_loadu_si256(static_cast<const Words*>(x)); }
inline void store_words(void* to, Words x) { _mm256_storeu_si256(static_cast<Words*>(to), x); }

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm256_fmsub_ps(a, b, c); }
inline Floats subtract_product(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }

inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline float sum_of(Floats x) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float largest_of(Floats x) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

inline Floats whole(Floats x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats times_power_of_2(Floats x, Floats whole) {  // -126 to 127
  const Words exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), all(127));
  return x * _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}

inline Mask first_lanes(int n) { return _mm256_cmpgt_epi32(all(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
inline Mask at_least(const uint8_t* bytes, int least) {
  const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  return _mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(x), all(least - 1));
}
inline Floats where(Mask some, Floats x, float other = 0) {
  return _mm256_blendv_ps(all(other), x, _mm256_castsi256_ps(some));
}
inline Floats load_some(Mask some, const float* x) { return _mm256_maskload_ps(x, some); }
inline void store_some(Mask some, float* to, Floats x) { _mm256_maskstore_ps(to, some, x); }

#endif

// Four bytes in every lane: a token's next four inputs of int8, two of bf16, or one of fp32.
inline Words four_bytes(const void* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return all(four);
}

// ---- functions ------------------------------------------------------------------------------------------------------

constexpr float LOG2_E = 1.44269504f;

// Coefficients from the highest power down.
template <int N>
inline Floats polynomial(Floats x, const float (&coefficients)[N]) {
  Floats y = all(coefficients[0]);
  #pragma GCC unroll 14
  for (int i = 1; i < N; ++i) y = multiply_add(y, x, all(coefficients[i]));
  return y;
}

// 2^x: the integer part becomes the exponent, a polynomial approximates the rest.
template <int N>
inline Floats exp2_by(Floats x, const float (&coefficients)[N]) {
  const Floats exponent = whole(x);
  return times_power_of_2(polynomial(x - exponent, coefficients), exponent);
}

// 2^x, relative error 2e-7. Below -126 it is 2^-126.
inline Floats exp2_of(Floats x) {
  constexpr float coefficients[] = {1.5403530e-4f, 1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f,
                                    2.4022651e-1f, 6.9314718e-1f, 1.0f};
  return exp2_by(larger(all(-126.0f), x), coefficients);  // in this order, so that NaN stays NaN
}

// erf(x / √2), as x times a polynomial of u = 2 (x / limit)² - 1; constant beyond the limit.
template <int N>
inline Floats error_function(Floats x, float limit, const float (&coefficients)[N]) {
  const Floats inside = smaller(larger(x, all(-limit)), all(limit));
  const Floats u = multiply_subtract(inside * inside, all(2.0f / (limit * limit)), all(1.0f));
  return inside * polynomial(u, coefficients);
}

// Error 1e-6, fitted at Chebyshev nodes.
inline Floats error_function(Floats x) {
  constexpr float coefficients[] = {
      1.31247329e-03f, -2.85608161e-03f, 1.27981301e-03f, -2.10354618e-03f, 9.44713924e-03f,
      -1.57563876e-02f, 2.03284240e-02f, -2.91207172e-02f, 4.07696138e-02f, -5.22832124e-02f,
      6.41344464e-02f, -7.75680591e-02f, 9.54755918e-02f, -1.28345152e-01f, 2.57103859e-01f};
  return error_function(x, 5.5f, coefficients);
}

// GELU(x) = x (1 + erf(x / √2)) / 2.
inline Floats gelu_by(Floats x, Floats erf) {
  const Floats half = x * all(0.5f);
  return multiply_add(half, erf, half);
}

inline Floats gelu(Floats x) { return gelu_by(x, error_function(x)); }

// ---- numbers --------------------------------------------------------------------------------------------------------

// Multiply-add of words of four bytes. In fp32: one value per word.
struct Fp32 {
  using Sum = Floats;
  using Number = float;
#ifdef __AVX512F__
  static Sum add(Sum sum, Words input, Words column) {
    return multiply_add(_mm512_castsi512_ps(column), _mm512_castsi512_ps(input), sum);
  }
#else
  static Sum add(Sum sum, Words input, Words column) {
    return multiply_add(_mm256_castsi256_ps(column), _mm256_castsi256_ps(input), sum);
  }
#endif
  static Floats exp2(Floats x) { return exp2_of(x); }
};

// ---- memory and tiles -----------------------------------------------------------------------------------------------

inline int up_to(int n, int step) { return (n + step - 1) / step * step; }

// Memory aligned to a cache line. Growing it discards its content; it is not cleared.
template <class T>
class Buffer {
 public:
  T* get(size_t n) {
    if (n > size_) {
      size_ = 0;
      data_.reset(static_cast<T*>(std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64)));
      if (!data_) throw std::bad_alloc();
      size_ = n;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

// A tile of a product: with AVX-512 6 × 4 sums, 4 columns and one value of a row take 29 of 32 registers; with AVX2 6 × 2
// sums, 2 and one 15 of 16.
constexpr int ROWS = 6, COLUMNS = LANES == 16 ? 4 : 2;

template <int R>
using Count = std::integral_constant<int, R>;

// Split `rows` into tiles: call work(first row, Count<R>) for six at a time, and for the rest.
template <class Work>
inline void tiles(int rows, const Work& work) {
  int first = 0;
  for (; first + ROWS <= rows; first += ROWS) work(first, Count<ROWS>());
  switch (rows - first) {
    case 5: work(first, Count<5>()); break;
    case 4: work(first, Count<4>()); break;
    case 3: work(first, Count<3>()); break;
    case 2: work(first, Count<2>()); break;
    case 1: work(first, Count<1>()); break;
    default: break;
  }
}

}  // namespace
