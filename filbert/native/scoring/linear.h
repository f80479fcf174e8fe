// Products of rows and a weight, in int8, bf16 or fp32: `Linear` is the weight, `Rows` are the inputs.
//
// In int8 each row and each column of a weight has a scale, and both factors are rotated ("mixed") by a Hadamard matrix, 64
// values at a time, before rounding, which spreads outliers. `linear_readable` in quantized.py is the definition.
//
// Shapes: K × N a weight's inputs × outputs.

#pragma once

#include <vector>

#include "../shared/simd.h"

namespace {

constexpr int PANEL = 64;        // columns of a tile
constexpr int STEP = 4 * PANEL;  // bytes of a panel per step: four inputs of int8, two of bf16, one of fp32

// The precision of a layer's products; the values are those of PRECISIONS in native_encoder.py.
enum Precision { INT8 = 0, BF16 = 1, FP32 = 2 };

int bytes_of(Precision precision) { return 1 << precision; }

// Replace lanes whose indices differ in this bit by their sum and, where the bit is set, their difference.
template <int BIT>
inline __m512 butterfly(__m512 x) {
  static_assert(BIT == 1 || BIT == 2 || BIT == 4 || BIT == 8, "a bit of the number of a lane");
  constexpr __mmask16 with = BIT == 1 ? 0xaaaa : BIT == 2 ? 0xcccc : BIT == 4 ? 0xf0f0 : 0xff00;
  const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_mask_sub_ps(one, with, _mm512_setzero_ps(), one);
  const __m512 other = BIT == 1   ? _mm512_permute_ps(x, 0xb1)
                       : BIT == 2 ? _mm512_permute_ps(x, 0x4e)
                       : BIT == 4 ? _mm512_shuffle_f32x4(x, x, 0xb1)
                                  : _mm512_shuffle_f32x4(x, x, 0x4e);
  return _mm512_fmadd_ps(x, sign, other);
}

// Multiply 64 values, the last 16 negated, by the Hadamard matrix (entries ±1, orthogonal rows); negating keeps a common
// mean from ending in one value. A product of two mixed factors is 64 times as large.
inline void mix(const float* x, __m512 (&y)[4]) {
  const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
  const __m512 c = _mm512_loadu_ps(x + 32), d = _mm512_loadu_ps(x + 48);
  const __m512 first[4] = {_mm512_add_ps(a, c), _mm512_sub_ps(b, d), _mm512_sub_ps(a, c), _mm512_add_ps(b, d)};
  y[0] = _mm512_add_ps(first[0], first[1]);
  y[1] = _mm512_sub_ps(first[0], first[1]);
  y[2] = _mm512_add_ps(first[2], first[3]);
  y[3] = _mm512_sub_ps(first[2], first[3]);
  #pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) y[i] = butterfly<1>(butterfly<2>(butterfly<4>(butterfly<8>(y[i]))));
}

// The inputs of a product: fp32 or bf16 values, or q from 0 to 255, and row i, mixed, is scale[i] · q[i] + low[i]; `mixed`
// is a buffer for one row.
struct Rows {
  uint8_t* bytes;
  int width;
  float *scale, *low, *mixed;

  template <class Number>
  Number* at(int row) const {
    return reinterpret_cast<Number*>(bytes) + static_cast<size_t>(row) * width;
  }
};

void round_row(const float* x, const Rows& to, int row, Precision precision) {
  if (precision == FP32) {
    std::memcpy(to.at<float>(row), x, sizeof(float) * to.width);
    return;
  }
  if (precision == BF16) {
    for (int i = 0; i < to.width; i += 16) store(to.at<bf16>(row) + i, _mm512_loadu_ps(x + i));
    return;
  }
  __m512 most = _mm512_set1_ps(-INFINITY), least = _mm512_set1_ps(INFINITY);
  for (int i = 0; i < to.width; i += 64) {
    __m512 four[4];
    mix(x + i, four);
    #pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      most = _mm512_max_ps(most, four[j]);
      least = _mm512_min_ps(least, four[j]);
      _mm512_storeu_ps(to.mixed + i + 16 * j, four[j]);
    }
  }
  const float low = _mm512_reduce_min_ps(least), range = _mm512_reduce_max_ps(most) - low;
  const __m512 inverse = _mm512_set1_ps(range > 0 ? 255.0f / range : 0.0f), from = _mm512_set1_ps(low);
  for (int i = 0; i < to.width; i += 16) {
    const __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(to.mixed + i), from), inverse);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.at<uint8_t>(row) + i), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v)));
  }
  to.scale[row] = range / 255.0f;
  to.low[row] = low;
}

// A weight N × K, whose rows are the columns of the product, in panels of 64. In a panel four inputs (int8) or two (bf16)
// of a column are adjacent, as the instructions need. In int8 column n, mixed and divided by 64, is scale[n] · q[n], q from
// -127 to 127, and total[n] is the sum over its inputs.
struct Linear {
  int in = 0;
  Precision precision = INT8;
  Buffer<uint8_t> weight;
  Buffer<float> scale, total, bias;

  void set(const float* weight_NK, const float* bias_N, int n, int k, Precision wanted) {
    in = k;
    precision = wanted;
    weight.get(static_cast<size_t>(n) * k * bytes_of(precision));
    std::memcpy(bias.get(n), bias_N, sizeof(float) * n);
    if (precision == INT8) {
      scale.get(n);
      total.get(n);
    }
    for (int column = 0; column < n; ++column) {
      const float* row = weight_NK + static_cast<size_t>(column) * k;
      if (precision == INT8) set_int8(row, column);
      if (precision == BF16) set_bf16(row, column);
      if (precision == FP32) set_fp32(row, column);
    }
  }

  const uint8_t* panel(int number) const {
    return weight.data() + static_cast<size_t>(number) * PANEL * in * bytes_of(precision);
  }

 private:
  void set_int8(const float* plain, int column) {
    std::vector<float> row(in);
    for (int i = 0; i < in; i += 64) {
      __m512 four[4];
      mix(plain + i, four);
      for (int j = 0; j < 4; ++j) _mm512_storeu_ps(&row[i + 16 * j], _mm512_mul_ps(four[j], _mm512_set1_ps(1.0f / 64)));
    }
    float largest = 0;
    for (int i = 0; i < in; ++i) largest = std::max(largest, std::fabs(row[i]));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    int8_t* to = reinterpret_cast<int8_t*>(weight.data()) + static_cast<size_t>(column / PANEL) * PANEL * in;
    to += column % PANEL * 4;
    int sum = 0;
    for (int i = 0; i < in; ++i) {
      const int q = static_cast<int>(std::nearbyint(row[i] * inverse));
      to[i / 4 * PANEL * 4 + i % 4] = static_cast<int8_t>(q);
      sum += q;
    }
    scale.data()[column] = largest / 127.0f;
    total.data()[column] = largest / 127.0f * static_cast<float>(sum);
  }

  void set_bf16(const float* row, int column) {
    bf16* to = reinterpret_cast<bf16*>(weight.data()) + static_cast<size_t>(column / PANEL) * PANEL * in;
    to += column % PANEL * 2;
    bf16 rounded[16];
    for (int i = 0; i < in; ++i) {
      if (i % 16 == 0) store(rounded, _mm512_loadu_ps(row + i));
      to[i / 2 * PANEL * 2 + i % 2] = rounded[i % 16];
    }
  }

  void set_fp32(const float* row, int column) {
    float* to = reinterpret_cast<float*>(weight.data()) + static_cast<size_t>(column / PANEL) * PANEL * in;
    for (int i = 0; i < in; ++i) to[i * PANEL + column % PANEL] = row[i];
  }
};

// In int8 a tile takes four inputs per step and sums integers; the scales are applied at the end.
struct Int8 {
  using Sum = Ints;
  using Number = uint8_t;
  static Sum add(Sum sum, __m512i input, __m512i column) { return add_bytes(sum, input, column); }
};

inline __m512 result(Ints sum, const Linear& w, int n, const Rows& x, int row) {
  const __m512 scale = _mm512_mul_ps(_mm512_load_ps(w.scale.data() + n), _mm512_set1_ps(x.scale[row]));
  const __m512 total = _mm512_load_ps(w.total.data() + n), bias = _mm512_load_ps(w.bias.data() + n);
  const __m512 rest = _mm512_fmadd_ps(total, _mm512_set1_ps(x.low[row]), bias);
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)sum), scale, rest);
}

inline __m512 result(__m512 sum, const Linear& w, int n, const Rows&, int) {
  return _mm512_add_ps(sum, _mm512_load_ps(w.bias.data() + n));
}

// One tile of a product: R tokens × 64 columns. `take(row, column, 16 numbers)` gets them.
template <class Kind, int R, class Store>
inline void tile(const Linear& w, int panel, const Rows& x, int first, const Store& take) {
  typename Kind::Sum sum[R][4];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < 4; ++c) sum[r][c] = typename Kind::Sum{};
  const uint8_t* weight = w.panel(panel);
  const auto* token = x.at<typename Kind::Number>(first);
  constexpr int inputs = 4 / sizeof(typename Kind::Number);
  for (int k = 0; k < w.in; k += inputs, weight += STEP) {
    __m512i column[4];
    #pragma GCC unroll 8
    for (int c = 0; c < 4; ++c) column[c] = _mm512_load_si512(weight + 64 * c);
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i input = four_bytes(token + static_cast<size_t>(r) * x.width + k);
      #pragma GCC unroll 8
      for (int c = 0; c < 4; ++c) sum[r][c] = Kind::add(sum[r][c], input, column[c]);
    }
  }
  #pragma GCC unroll 8
  for (int c = 0; c < 4; ++c)
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const int n = panel * PANEL + 16 * c;
      take(first + r, n, result(sum[r][c], w, n, x, first + r));
    }
}

// Rows [0, rows) of x times the panels [from, to) of w.
template <class Store>
void product(const Linear& w, int from, int to, const Rows& x, int rows, const Store& take) {
  for (int panel = from; panel < to; ++panel) {
    tiles(rows, [&](int first, auto count) {
      constexpr int R = decltype(count)::value;
      if (w.precision == INT8) tile<Int8, R>(w, panel, x, first, take);
      if (w.precision == BF16) tile<Bf16, R>(w, panel, x, first, take);
      if (w.precision == FP32) tile<Fp32, R>(w, panel, x, first, take);
    });
  }
}

}  // namespace
