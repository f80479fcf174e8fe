// Attention within one text and head in int8: attention.h with integer products, twice as many per cycle.
//
//   query, key ≈ scale · q, one scale per token;   value ≈ scale · v, one per column and text;
//   weight, 255 where it is largest, ≈ p, an integer
//
//   context = Σ p v + (Σ weight - Σ p) · mean of v,   times scale, divided by Σ weight
//
// In a long text many weights may be rounded to 0: the second term distributes what rounding removed over all tokens
// equally. `attend_int8` in quantized.py is the definition.

#pragma once

#include "../shared/attention.h"

namespace {

// A thread's buffers: queries, keys and values of a text as words of four bytes, their scales, the initial sum of each
// query's scores, and weights and scores of six queries.
struct Int8Attention {
  Buffer<uint32_t> pairs, queries, keys, values;
  Buffer<float> query_scale, key_scale, value_scale, value_mean, scores;
  Buffer<int32_t> begin;
  Buffer<uint8_t> weights;

  void reserve(int slots, int width) {
    const size_t all = static_cast<size_t>(slots) * width;
    pairs.get(all / 2);
    for (auto* words : {&queries, &keys, &values}) words->get(all / 4);
    for (auto* scale : {&query_scale, &key_scale}) scale->get(slots);
    for (auto* column : {&value_scale, &value_mean}) column->get(width);
    begin.get(slots);
    scores.get(static_cast<size_t>(ROWS) * slots);
    weights.get(static_cast<size_t>(ROWS) * slots);
  }
};

// The first and the second bf16 number of each word.
inline __m512 first_of(__m512i pair) { return _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)); }
inline __m512 second_of(__m512i pair) {
  return _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

// The larger magnitude of each of 32 bf16 values: without sign bits they are ordered as integers are.
inline __m512i larger(__m512i most, __m512i numbers) {
  return _mm512_max_epu16(most, _mm512_and_si512(numbers, _mm512_set1_epi16(0x7fff)));
}

// The largest magnitudes of 16 rows → their scales and the inverses.
struct Scale {
  __m512 scale, inverse;
  explicit Scale(__m512 largest) {
    largest = _mm512_max_ps(_mm512_set1_ps(1e-20f), largest);  // in this order, so that NaN stays NaN
    scale = _mm512_mul_ps(largest, _mm512_set1_ps(1.0f / 127.0f));
    inverse = _mm512_div_ps(_mm512_set1_ps(127.0f), largest);
  }
};

// x · inverse, rounded to the nearest integer, in the last byte of the word.
inline __m512i rounded(__m512 x, __m512 inverse) {
  return _mm512_castps_si512(_mm512_fmadd_ps(x, inverse, _mm512_set1_ps(12582912.0f)));  // 1.5 · 2^23
}

// Pack the last bytes of four words into one word.
inline __m512i join(__m512i a, __m512i b, __m512i c, __m512i d) {
  a = _mm512_mask_mov_epi8(a, 0x2222222222222222, _mm512_slli_epi32(b, 8));
  a = _mm512_mask_mov_epi8(a, 0x4444444444444444, _mm512_slli_epi32(c, 16));
  return _mm512_mask_mov_epi8(a, 0x8888888888888888, _mm512_slli_epi32(d, 24));
}

// Pairs [E / 2][slots] → words [E / 4][slots], with a scale per token. 128 is added to keys, to make them unsigned; the
// initial sum of a query's scores subtracts its effect.
void round_columns(const uint32_t* pairs, int slots, int width, bool keys, uint32_t* words, float* scales,
                   int32_t* begin) {
  const __m512i more = _mm512_set1_epi8(static_cast<char>(keys ? 0x80 : 0)), ones = _mm512_set1_epi8(1);
  for (int j = 0; j < slots; j += 16) {
    const uint32_t* pair = pairs + j;
    __m512i most = _mm512_setzero_si512();
    for (int e = 0; e < width / 2; ++e) most = larger(most, _mm512_loadu_si512(pair + static_cast<size_t>(e) * slots));
    const Scale by(_mm512_max_ps(first_of(most), second_of(most)));
    _mm512_storeu_ps(scales + j, by.scale);
    Ints sum = {};
    for (int e = 0; e < width / 4; ++e, pair += static_cast<size_t>(2) * slots) {
      const __m512i one = _mm512_loadu_si512(pair), two = _mm512_loadu_si512(pair + slots);
      const __m512i word = join(rounded(first_of(one), by.inverse), rounded(second_of(one), by.inverse),
                                rounded(first_of(two), by.inverse), rounded(second_of(two), by.inverse));
      _mm512_storeu_si512(words + static_cast<size_t>(e) * slots + j, _mm512_xor_si512(word, more));
      sum = add_bytes(sum, ones, word);
    }
    if (begin) _mm512_storeu_si512(begin + j, _mm512_mullo_epi32((__m512i)sum, _mm512_set1_epi32(-128)));
  }
}

// Rows of values → words [slots / 4][E] of four tokens each, a scale per column, and the mean of the rounded values.
void round_values(const bf16* rows, int stride, int length, int slots, int width, uint32_t* words, float* scales,
                  float* means) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8)), ones = _mm512_set1_epi8(1);
  const __m512 share = _mm512_set1_ps(1.0f / static_cast<float>(length));
  for (int e = 0; e < width; e += 32) {
    const auto row = [&](int j) {
      return j < length ? _mm512_loadu_si512(rows + static_cast<size_t>(j) * stride + e) : _mm512_setzero_si512();
    };
    __m512i most = _mm512_setzero_si512();
    for (int j = 0; j < length; ++j) most = larger(most, row(j));
    const Scale first(first_of(most)), second(second_of(most));
    Ints sum[2] = {};
    for (int j = 0; j < slots; j += 4) {
      const __m512i four[4] = {row(j), row(j + 1), row(j + 2), row(j + 3)};
      const auto each = [&](int r, bool odd) {
        return odd ? rounded(second_of(four[r]), second.inverse) : rounded(first_of(four[r]), first.inverse);
      };
      const __m512i even = join(each(0, false), each(1, false), each(2, false), each(3, false));
      const __m512i odd = join(each(0, true), each(1, true), each(2, true), each(3, true));
      const __m512i word[2] = {_mm512_permutex2var_epi32(even, low, odd), _mm512_permutex2var_epi32(even, high, odd)};
      for (int c = 0; c < 2; ++c) {
        _mm512_storeu_si512(words + static_cast<size_t>(j / 4) * width + e + 16 * c, word[c]);
        sum[c] = add_bytes(sum[c], ones, word[c]);
      }
    }
    _mm512_storeu_ps(scales + e, _mm512_permutex2var_ps(first.scale, low, second.scale));
    _mm512_storeu_ps(scales + e + 16, _mm512_permutex2var_ps(first.scale, high, second.scale));
    for (int c = 0; c < 2; ++c) {
      _mm512_storeu_ps(means + e + 16 * c, _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)sum[c]), share));
    }
  }
}

// Products of R queries and 16 · C keys, not yet multiplied by the query's scale.
template <int R, int C>
inline void score_tile(const uint32_t* queries, const int32_t* begin, const uint32_t* keys,
                       const float* scale, int slots, int width, float* scores) {
  Ints sum[R][C];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = (Ints)_mm512_set1_epi32(begin[r]);
  for (int e = 0; e < width; e += 4, keys += slots, queries += slots) {
    __m512i key[C];
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) key[c] = _mm512_loadu_si512(keys + 16 * c);
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i query = four_bytes(queries + r);
      #pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = add_bytes(sum[r][c], key[c], query);
    }
  }
  #pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
    const __m512 by = _mm512_loadu_ps(scale + 16 * c);
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)sum[r][c]), by);
      _mm512_storeu_ps(scores + static_cast<size_t>(r) * slots + 16 * c, score);
    }
  }
}

// The sum of a query's weights, and the part of it that rounding removed.
struct Rounded {
  float sum, rest;
};

// Turn scores of R queries, each with its scale, into weights: integers up to 255.
template <int R>
inline void softmax_rows(const float* scores, int length, int slots, float scale, const float* scales, uint8_t* weights,
                         Rounded* by) {
  const __mmask16 last = static_cast<__mmask16>(0xffff >> (slots - length));
  float most[R];
  largest_scores<R>(scores, length, slots, most);
  __m512 sum[R];
  __m512i whole[R];
  for (int r = 0; r < R; ++r, scores += slots, weights += slots) {
    const float own = scale * scales[r];
    const __m512 factor = _mm512_set1_ps(own), shift = _mm512_set1_ps(LOG2_255 - own * most[r]);
    const auto weight = [&](int i) { return exp2_rough(_mm512_fmadd_ps(_mm512_loadu_ps(scores + i), factor, shift)); };
    const auto take = [&](int i, __m512 y) {
      const __m512i n = _mm512_cvtps_epi32(y);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(weights + i), _mm512_cvtepi32_epi8(n));
      return n;
    };
    const int end = slots - 16;
    __m512 all = _mm512_maskz_mov_ps(last, weight(end));  // sum[r] itself would be stored at every step
    __m512i taken = take(end, all);
    for (int i = 0; i < end; i += 16) {
      const __m512 y = weight(i);
      all = _mm512_add_ps(all, y);
      taken = _mm512_add_epi32(taken, take(i, y));
    }
    sum[r] = all;
    whole[r] = taken;
  }
  for (int r = 0; r < R; ++r) {
    const float all = _mm512_reduce_add_ps(sum[r]);
    by[r] = {all, all - static_cast<float>(_mm512_reduce_add_epi32(whole[r]))};
  }
}

// R queries' weights × 32 columns of the values.
template <int R>
inline void context_tile(const uint8_t* weights, int slots, const Int8Attention& at, int e, int width,
                         const Rounded* by, float* out, int stride) {
  Ints sum[R][2];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Ints{};
  const uint32_t* values = at.values.data() + e;
  for (int j = 0; j < slots; j += 4, values += width) {
    const __m512i value[2] = {_mm512_loadu_si512(values), _mm512_loadu_si512(values + 16)};
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i weight = four_bytes(weights + static_cast<size_t>(r) * slots + j);
      #pragma GCC unroll 8
      for (int c = 0; c < 2; ++c) sum[r][c] = add_bytes(sum[r][c], weight, value[c]);
    }
  }
  #pragma GCC unroll 8
  for (int c = 0; c < 2; ++c) {
    const __m512 mean = _mm512_loadu_ps(at.value_mean.data() + e + 16 * c);
    const __m512 scale = _mm512_loadu_ps(at.value_scale.data() + e + 16 * c);
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512 all = _mm512_fmadd_ps(_mm512_set1_ps(by[r].rest), mean, _mm512_cvtepi32_ps((__m512i)sum[r][c]));
      const __m512 share = _mm512_mul_ps(scale, _mm512_set1_ps(1.0f / by[r].sum));
      _mm512_storeu_ps(out + static_cast<size_t>(r) * stride + 16 * c, _mm512_mul_ps(all, share));
    }
  }
}

// The context of R queries from index `first` on.
template <int R>
void attend_rows(const Head<Bf16, float>& head, int first, Int8Attention& at) {
  const int slots = head.slots, width = head.width;
  float* scores = at.scores.data();
  slot_tiles(slots, [&](int j, auto count) {
    score_tile<R, decltype(count)::value>(at.queries.data() + first, at.begin.data() + first, at.keys.data() + j,
                                          at.key_scale.data() + j, slots, width, scores + j);
  });
  Rounded by[R];
  uint8_t* weights = at.weights.data();
  softmax_rows<R>(scores, head.length, slots, head.scale(), at.query_scale.data() + first, weights, by);
  float* out = head.out + static_cast<size_t>(first) * head.out_stride;
  for (int e = 0; e < width; e += 32) context_tile<R>(weights, slots, at, e, width, by, out + e, head.out_stride);
}

// The context of a text's tokens, for one head.
void attend_int8(const Head<Bf16, float>& head, Int8Attention& at) {
  const int slots = head.slots, width = head.width;
  uint32_t* pairs = at.pairs.data();
  lay_out_columns<Bf16>(head.k, head.stride, head.length, slots, width, pairs);
  round_columns(pairs, slots, width, true, at.keys.data(), at.key_scale.data(), nullptr);
  lay_out_columns<Bf16>(head.q, head.q_stride, head.length, slots, width, pairs);
  round_columns(pairs, slots, width, false, at.queries.data(), at.query_scale.data(), at.begin.data());
  round_values(head.v, head.stride, head.length, slots, width, at.values.data(), at.value_scale.data(),
               at.value_mean.data());
  tiles(head.length, [&](int first, auto count) { attend_rows<decltype(count)::value>(head, first, at); });
}

}  // namespace
