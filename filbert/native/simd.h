// What the C++ parts share that multiply on processors with AVX-512 and bf16: 16 numbers at a time, memory, tiles.
// For files that are compiled for these instructions.

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

using bf16 = uint16_t;

// Whether this processor has the instructions.
inline bool able() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}

constexpr int ROWS = 6;  // of a tile of a product: 6 × 4 sums, 4 columns and one row's numbers fill 29 registers

inline int up_to(int n, int step) { return (n + step - 1) / step * step; }

// Memory on a cache line. It grows, which discards what was in it, and is never cleared.
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

// ---- 16 numbers at a time -------------------------------------------------------------------------------------------

// The first coefficient belongs to the highest power.
template <int N>
inline __m512 polynomial(__m512 x, const float (&coefficients)[N]) {
  __m512 y = _mm512_set1_ps(coefficients[0]);
  #pragma GCC unroll 14
  for (int i = 1; i < N; ++i) y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(coefficients[i]));
  return y;
}

// 2^x: the whole part goes into the exponent, a polynomial does the rest.
template <int N>
inline __m512 exp2_by(__m512 x, const float (&coefficients)[N]) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_scalef_ps(polynomial(_mm512_sub_ps(x, whole), coefficients), whole);
}

// 2^x to 2e-7. Below -126 it stays 2^-126.
inline __m512 exp2_of(__m512 x) {
  constexpr float coefficients[] = {1.5403530e-4f, 1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f,
                                    2.4022651e-1f, 6.9314718e-1f, 1.0f};
  return exp2_by(_mm512_max_ps(_mm512_set1_ps(-126.0f), x), coefficients);  // in this order, so that NaN stays NaN
}

// 2^x to 1e-4, for what is rounded next.
inline __m512 exp2_rough(__m512 x) {
  constexpr float coefficients[] = {5.5171494e-2f, 2.4261094e-1f, 6.9326099e-1f, 9.9992808e-1f};
  return exp2_by(x, coefficients);
}

// erf(x / √2), as x times a polynomial of u = 2 (x / limit)² - 1; beyond the limit it is taken as it is there.
template <int N>
inline __m512 error_function(__m512 x, float limit, const float (&coefficients)[N]) {
  const __m512 inside = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-limit)), _mm512_set1_ps(limit));
  const __m512 factor = _mm512_set1_ps(2.0f / (limit * limit));
  const __m512 u = _mm512_fmsub_ps(_mm512_mul_ps(inside, inside), factor, _mm512_set1_ps(1.0f));
  return _mm512_mul_ps(inside, polynomial(u, coefficients));
}

// To 1e-6, fitted at Chebyshev's points.
inline __m512 error_function(__m512 x) {
  constexpr float coefficients[] = {
      1.31247329e-03f, -2.85608161e-03f, 1.27981301e-03f, -2.10354618e-03f, 9.44713924e-03f,
      -1.57563876e-02f, 2.03284240e-02f, -2.91207172e-02f, 4.07696138e-02f, -5.22832124e-02f,
      6.41344464e-02f, -7.75680591e-02f, 9.54755918e-02f, -1.28345152e-01f, 2.57103859e-01f};
  return error_function(x, 5.5f, coefficients);
}

// GELU(x) = x (1 + erf(x / √2)) / 2.
inline __m512 gelu_by(__m512 x, __m512 erf) {
  const __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5f));
  return _mm512_fmadd_ps(half, erf, half);
}

inline __m512 gelu(__m512 x) { return gelu_by(x, error_function(x)); }

constexpr float LOG2_E = 1.44269504f, LOG2_255 = 7.99435344f;

inline void store_bf16(bf16* to, __m512 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
}

// Four bytes, 16 times over: a token's next four inputs of int8, two of bf16, or one of fp32.
inline __m512i four_bytes(const void* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

inline __m512 load(const bf16* x) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline void store(bf16* to, __m512 x) { store_bf16(to, x); }
inline void store(float* to, __m512 x) { _mm512_storeu_ps(to, x); }

// How numbers are multiplied, four bytes at a step. In bf16: two of them, sums in fp32.
struct Bf16 {
  using Sum = __m512;
  using Number = bf16;
  static Sum add(Sum sum, __m512i input, __m512i column) {
    return _mm512_dpbf16_ps(sum, (__m512bh)column, (__m512bh)input);
  }
  static __m512 exp2(__m512 x) { return exp2_rough(x); }
};

// In fp32.
struct Fp32 {
  using Sum = __m512;
  using Number = float;
  static Sum add(Sum sum, __m512i input, __m512i column) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(column), _mm512_castsi512_ps(input), sum);
  }
  static __m512 exp2(__m512 x) { return exp2_of(x); }
};

typedef int Ints __attribute__((vector_size(64)));  // gcc 12 writes an array of __m512i to memory at every step

// Sums of whole numbers: four bytes without a sign times four with one.
inline Ints add_bytes(Ints sum, __m512i without, __m512i with) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, without, with);
}

// ---- tiles ----------------------------------------------------------------------------------------------------------

template <int R>
using Count = std::integral_constant<int, R>;

// Cut `rows` into tiles: work(first row, Count<R>) for six at a time, and for those left over.
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
