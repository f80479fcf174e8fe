// Shared by the C++ libraries for bf16 and int8, on processors with AVX-512 and its instructions for both. For files that
// are compiled for these instructions.

#pragma once

#include "lanes.h"

namespace {

using bf16 = uint16_t;

// Whether this processor has the instructions.
inline bool able() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}

constexpr float LOG2_255 = 7.99435344f;

// 2^x, relative error 1e-4, for values that are rounded next.
inline __m512 exp2_rough(__m512 x) {
  constexpr float coefficients[] = {5.5171494e-2f, 2.4261094e-1f, 6.9326099e-1f, 9.9992808e-1f};
  return exp2_by(x, coefficients);
}

inline __m512 widened(__m256i half) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16)); }
inline __m256i narrowed(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

inline __m512 load(const bf16* x) { return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x))); }
inline void store(bf16* to, __m512 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrowed(x)); }
inline __m512 load_some(Mask some, const bf16* x) { return widened(_mm256_maskz_loadu_epi16(some, x)); }
inline void store_some(Mask some, bf16* to, __m512 x) { _mm256_mask_storeu_epi16(to, some, narrowed(x)); }

// Multiply-add of words of four bytes. In bf16: two values per word, sums in fp32.
struct Bf16 {
  using Sum = __m512;
  using Number = bf16;
  static Sum add(Sum sum, __m512i input, __m512i column) {
    return _mm512_dpbf16_ps(sum, (__m512bh)column, (__m512bh)input);
  }
  static __m512 exp2(__m512 x) { return exp2_rough(x); }
};

typedef int Ints __attribute__((vector_size(64)));  // gcc 12 writes an array of __m512i to memory at every step

// Integer sums of four unsigned bytes times four signed bytes.
inline Ints add_bytes(Ints sum, __m512i without, __m512i with) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, without, with);
}

}  // namespace
