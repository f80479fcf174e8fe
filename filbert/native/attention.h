// Attention within one text and head, in bf16 or fp32: softmax(QKᵀ/√E)V, six queries at a time, keys and values laid out
// once in the order that the instructions take them.

#pragma once

#include "simd.h"

namespace {

// The code is the same for bf16 and fp32 (Kind): everything is laid out in words of four bytes, two numbers or one.
template <class Kind>
constexpr int PER_WORD = 4 / sizeof(typename Kind::Number);

// What a thread needs to attend: keys and values of a text in the order of the instruction, weights of six queries, as
// words; their scores.
struct Attention {
  Buffer<uint32_t> keys, values, weights;
  Buffer<float> scores;
};

// R queries × 16 · C keys, summed up in fp32.
template <class Kind, int R, int C>
inline void score_tile(const typename Kind::Number* q, int stride, const uint32_t* keys, int slots, int width,
                       float* scores) {
  __m512 sum[R][C];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = _mm512_setzero_ps();
  for (int e = 0; e < width; e += PER_WORD<Kind>, keys += slots) {
    __m512i key[C];
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) key[c] = _mm512_loadu_si512(keys + 16 * c);
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i query = four_bytes(q + static_cast<size_t>(r) * stride + e);
      #pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = Kind::add(sum[r][c], query, key[c]);
    }
  }
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) _mm512_storeu_ps(scores + static_cast<size_t>(r) * slots + 16 * c, sum[r][c]);
}

// What a query's weights are divided by: their sum, where the largest score was taken off before.
struct Normaliser {
  float sum, largest;
};

// The largest of each of R queries' scores. The queries go side by side: one by one, each would wait for its own.
template <int R>
inline void largest_scores(const float* scores, int length, int slots, float* most) {
  const __mmask16 last = static_cast<__mmask16>(0xffff >> (slots - length));
  __m512 largest[R];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const float* end = scores + static_cast<size_t>(r + 1) * slots - 16;
    largest[r] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), last, end);
  }
  for (int i = 0; i < slots - 16; i += 16) {
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      largest[r] = _mm512_max_ps(largest[r], _mm512_loadu_ps(scores + static_cast<size_t>(r) * slots + i));
    }
  }
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) most[r] = _mm512_reduce_max_ps(largest[r]);
}

// Scores of R queries → weights that are not yet divided by their sum.
template <class Kind, int R>
inline void softmax_rows(const float* scores, int length, int slots, float scale, typename Kind::Number* weights,
                         Normaliser* by) {
  const __mmask16 last = static_cast<__mmask16>(0xffff >> (slots - length));
  const __m512 factor = _mm512_set1_ps(scale);
  float most[R];
  largest_scores<R>(scores, length, slots, most);
  __m512 sum[R];
  for (int r = 0; r < R; ++r, scores += slots, weights += slots) {
    const __m512 largest = _mm512_set1_ps(most[r]);
    const auto weight = [&](int i) {
      return Kind::exp2(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + i), largest), factor));
    };
    const int end = slots - 16;
    __m512 all = _mm512_maskz_mov_ps(last, weight(end));  // in sum[r] itself it would go to memory at every step
    store(weights + end, all);
    for (int i = 0; i < end; i += 16) {
      const __m512 y = weight(i);
      all = _mm512_add_ps(all, y);
      store(weights + i, y);
    }
    sum[r] = all;
  }
  for (int r = 0; r < R; ++r) by[r] = {_mm512_reduce_add_ps(sum[r]), most[r]};
}

// R queries' weights × 32 columns of the values, divided by the sums of the weights where these are given.
template <class Kind, int R, class Out>
inline void context_tile(const uint32_t* weights, int steps, const uint32_t* values, int width, const Normaliser* by,
                         Out* out, int stride) {
  __m512 sum[R][2];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
  for (int j = 0; j < steps; ++j, values += width) {
    const __m512i value[2] = {_mm512_loadu_si512(values), _mm512_loadu_si512(values + 16)};
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i weight = four_bytes(weights + static_cast<size_t>(r) * steps + j);
      #pragma GCC unroll 8
      for (int c = 0; c < 2; ++c) sum[r][c] = Kind::add(sum[r][c], weight, value[c]);
    }
  }
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512 share = _mm512_set1_ps(by ? 1.0f / by[r].sum : 1.0f);
    #pragma GCC unroll 8
    for (int c = 0; c < 2; ++c) {
      store(out + static_cast<size_t>(r) * stride + 16 * c, _mm512_mul_ps(sum[r][c], share));
    }
  }
}

// 16 rows of 16 words become 16 columns.
inline void transpose(const __m512i (&row)[16], uint32_t* words, int stride) {
  __m512i pair[16], four[16];
  #pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    pair[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    pair[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  #pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {  // four[i + n]: of four rows the words n, n + 4, n + 8, n + 12
    four[i] = _mm512_unpacklo_epi64(pair[i], pair[i + 2]);
    four[i + 1] = _mm512_unpackhi_epi64(pair[i], pair[i + 2]);
    four[i + 2] = _mm512_unpacklo_epi64(pair[i + 1], pair[i + 3]);
    four[i + 3] = _mm512_unpackhi_epi64(pair[i + 1], pair[i + 3]);
  }
  #pragma GCC unroll 16
  for (int n = 0; n < 4; ++n) {
    const __m512i a = _mm512_shuffle_i32x4(four[n], four[n + 4], 0x88);        // words n, n + 8 of eight rows
    const __m512i b = _mm512_shuffle_i32x4(four[n], four[n + 4], 0xdd);        // words n + 4, n + 12
    const __m512i c = _mm512_shuffle_i32x4(four[n + 8], four[n + 12], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(four[n + 8], four[n + 12], 0xdd);
    uint32_t* to = words + static_cast<size_t>(n) * stride;
    _mm512_storeu_si512(to, _mm512_shuffle_i32x4(a, c, 0x88));
    _mm512_storeu_si512(to + static_cast<size_t>(4) * stride, _mm512_shuffle_i32x4(b, d, 0x88));
    _mm512_storeu_si512(to + static_cast<size_t>(8) * stride, _mm512_shuffle_i32x4(a, c, 0xdd));
    _mm512_storeu_si512(to + static_cast<size_t>(12) * stride, _mm512_shuffle_i32x4(b, d, 0xdd));
  }
}

// Lay out rows as words [E / PER_WORD][slots], so that a product takes 16 of them at a time; slots beyond the text are 0.
template <class Kind>
void lay_out_columns(const typename Kind::Number* rows, int stride, int length, int slots, int width, uint32_t* words) {
  constexpr int step = 16 * PER_WORD<Kind>;
  for (int j = 0; j < slots; j += 16) {
    for (int e = 0; e < width; e += step) {
      __m512i row[16];
      #pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        row[r] = j + r < length ? _mm512_loadu_si512(rows + static_cast<size_t>(j + r) * stride + e)
                                : _mm512_setzero_si512();
      }
      transpose(row, words + static_cast<size_t>(e / PER_WORD<Kind>) * slots + j, slots);
    }
  }
}

// Lay out rows as words [slots][E].
inline void lay_out_rows(const float* rows, int stride, int length, int slots, int width, uint32_t* words) {
  const size_t row = width * sizeof(float);
  for (int j = 0; j < slots; ++j, words += width) {
    j < length ? std::memcpy(words, rows + static_cast<size_t>(j) * stride, row) : std::memset(words, 0, row);
  }
}

// 32 numbers of one row and 32 of the next → two vectors of words, a number of each in a word.
inline void interleave(__m512i one, __m512i next, uint32_t* words) {
  alignas(64) static const uint16_t order[64] = {
      0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42, 11, 43, 12, 44, 13, 45,
      14, 46, 15, 47, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59,
      28, 60, 29, 61, 30, 62, 31, 63};
  _mm512_storeu_si512(words, _mm512_permutex2var_epi16(one, _mm512_load_si512(order), next));
  _mm512_storeu_si512(words + 16, _mm512_permutex2var_epi16(one, _mm512_load_si512(order + 32), next));
}

// Lay out rows as words [slots / 2][E], two rows in a word.
inline void lay_out_rows(const bf16* rows, int stride, int length, int slots, int width, uint32_t* words) {
  const auto row = [&](int j, int e) {
    return j < length ? _mm512_loadu_si512(rows + static_cast<size_t>(j) * stride + e) : _mm512_setzero_si512();
  };
  for (int j = 0; j < slots; j += 2, words += width) {
    for (int e = 0; e < width; e += 32) interleave(row(j, e), row(j + 1, e), words + e);
  }
}

// What attention reads: queries, keys and values of one head, so many numbers from token to token, and where it writes.
template <class Kind, class Out>
struct Head {
  const typename Kind::Number *q, *k, *v;
  int q_stride, stride;               // of keys and values the same
  int queries, length, slots, width;  // slots: the length, of the text, rounded up to 16
  Out* out;
  int out_stride;
  float* lse;  // where each query's log-sum-exp of base 2 goes, if anywhere, `lse_stride` numbers from token to token
  int lse_stride;

  float scale() const { return LOG2_E / std::sqrt(static_cast<float>(width)); }
};

// Cut slots into tiles: work(first slot, Count<C>), 16 · C slots of them.
template <class Work>
inline void slot_tiles(int slots, const Work& work) {
  int j = 0;
  for (; j + 64 <= slots; j += 64) work(j, Count<4>());
  switch ((slots - j) / 16) {
    case 3: work(j, Count<3>()); break;
    case 2: work(j, Count<2>()); break;
    case 1: work(j, Count<1>()); break;
    default: break;
  }
}

// R rows times all that `lay_out_columns` laid out → [R][slots].
template <class Kind, int R>
void score_rows(const typename Kind::Number* rows, int stride, const uint32_t* columns, int slots, int width,
                float* scores) {
  slot_tiles(slots, [&](int j, auto count) {
    score_tile<Kind, R, decltype(count)::value>(rows, stride, columns + j, slots, width, scores + j);
  });
}

// The context of R queries from number `first` on.
template <class Kind, int R, class Out>
void attend_rows(const Head<Kind, Out>& head, int first, Attention& at) {
  const int slots = head.slots, steps = slots / PER_WORD<Kind>;
  const auto* q = head.q + static_cast<size_t>(first) * head.q_stride;
  float* scores = at.scores.data();
  score_rows<Kind, R>(q, head.q_stride, at.keys.data(), slots, head.width, scores);
  Normaliser by[R];
  uint32_t* weights = at.weights.data();
  softmax_rows<Kind, R>(scores, head.length, slots, head.scale(), reinterpret_cast<typename Kind::Number*>(weights), by);
  for (int r = 0; r < R && head.lse; ++r) {
    head.lse[static_cast<size_t>(first + r) * head.lse_stride] = by[r].largest * head.scale() + std::log2(by[r].sum);
  }
  Out* out = head.out + static_cast<size_t>(first) * head.out_stride;
  for (int e = 0; e < head.width; e += 32) {
    context_tile<Kind, R>(weights, steps, at.values.data() + e, head.width, by, out + e, head.out_stride);
  }
}

// The context of a text's queries, for one head.
template <class Kind, class Out>
void attend(const Head<Kind, Out>& head, Attention& at) {
  lay_out_columns<Kind>(head.k, head.stride, head.length, head.slots, head.width, at.keys.data());
  lay_out_rows(head.v, head.stride, head.length, head.slots, head.width, at.values.data());
  tiles(head.queries, [&](int first, auto count) { attend_rows<Kind, decltype(count)::value>(head, first, at); });
}

}  // namespace
