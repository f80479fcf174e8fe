// Attention within one text and head, in bf16 or fp32: softmax(QKᵀ/√E)V, six queries at a time; keys and values are
// rearranged once into the order of the instructions.

#pragma once

#ifdef __AVX512BF16__
#include "simd.h"
#else
#include "lanes.h"
#endif

namespace {

// The code is the same for bf16 and fp32 (Kind): data are words of four bytes, two values or one.
template <class Kind>
constexpr int PER_WORD = 4 / sizeof(typename Kind::Number);

// A thread's buffers: keys and values of a text in the order of the instructions, and weights and scores of six
// queries.
struct Attention {
  Buffer<uint32_t> keys, values, weights;
  Buffer<float> scores;
};

// Products of R queries and LANES · C keys, summed in fp32.
template <class Kind, int R, int C>
inline void score_tile(const typename Kind::Number* q, int stride, const uint32_t* keys, int slots, int width,
                       float* scores) {
  Floats sum[R][C];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = Floats{};
  for (int e = 0; e < width; e += PER_WORD<Kind>, keys += slots) {
    Words key[C];
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) key[c] = load_words(keys + LANES * c);
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Words query = four_bytes(q + static_cast<size_t>(r) * stride + e);
      #pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = Kind::add(sum[r][c], query, key[c]);
    }
  }
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < C; ++c) store(scores + static_cast<size_t>(r) * slots + LANES * c, sum[r][c]);
}

// The divisor of a query's weights: the sum of exponentials of its scores minus the largest.
struct Normaliser {
  float sum, largest;
};

// The lanes of the last vector of slots that belong to the text.
inline Mask last_lanes(int length, int slots) { return first_lanes(LANES - (slots - length)); }

// The largest score of each of R queries, computed in parallel to hide latency.
template <int R>
inline void largest_scores(const float* scores, int length, int slots, float* most) {
  const Mask last = last_lanes(length, slots);
  Floats largest[R];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const float* end = scores + static_cast<size_t>(r + 1) * slots - LANES;
    largest[r] = where(last, load(end), -INFINITY);
  }
  for (int i = 0; i < slots - LANES; i += LANES) {
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) largest[r] = larger(largest[r], load(scores + static_cast<size_t>(r) * slots + i));
  }
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) most[r] = largest_of(largest[r]);
}

// Turn scores of R queries into weights, not yet divided by their sum.
template <class Kind, int R>
inline void softmax_rows(const float* scores, int length, int slots, float scale, typename Kind::Number* weights,
                         Normaliser* by) {
  const Mask last = last_lanes(length, slots);
  float most[R];
  largest_scores<R>(scores, length, slots, most);
  Floats sum[R];
  for (int r = 0; r < R; ++r, scores += slots, weights += slots) {
    const auto weight = [&](int i) { return Kind::exp2((load(scores + i) - all(most[r])) * all(scale)); };
    const int end = slots - LANES;
    Floats total = where(last, weight(end));  // sum[r] itself would be stored at every step
    store(weights + end, total);
    for (int i = 0; i < end; i += LANES) {
      const Floats y = weight(i);
      total = total + y;
      store(weights + i, y);
    }
    sum[r] = total;
  }
  for (int r = 0; r < R; ++r) by[r] = {sum_of(sum[r]), most[r]};
}

// R queries' weights × two vectors of columns of the values, divided by the sums of the weights if given.
template <class Kind, int R, class Out>
inline void context_tile(const uint32_t* weights, int steps, const uint32_t* values, int width, const Normaliser* by,
                         Out* out, int stride) {
  Floats sum[R][2];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Floats{};
  for (int j = 0; j < steps; ++j, values += width) {
    const Words value[2] = {load_words(values), load_words(values + LANES)};
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Words weight = four_bytes(weights + static_cast<size_t>(r) * steps + j);
      #pragma GCC unroll 8
      for (int c = 0; c < 2; ++c) sum[r][c] = Kind::add(sum[r][c], weight, value[c]);
    }
  }
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const Floats share = all(by ? 1.0f / by[r].sum : 1.0f);
    #pragma GCC unroll 8
    for (int c = 0; c < 2; ++c) store(out + static_cast<size_t>(r) * stride + LANES * c, sum[r][c] * share);
  }
}

// Transpose LANES rows of LANES words.
#ifdef __AVX512F__

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

#else

inline void transpose(const __m256i (&row)[8], uint32_t* words, int stride) {
  __m256i pair[8], four[8];
  #pragma GCC unroll 8
  for (int i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_epi32(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_epi32(row[i], row[i + 1]);
  }
  #pragma GCC unroll 8
  for (int i = 0; i < 8; i += 4) {  // four[i + n]: of four rows the words n, n + 4
    four[i] = _mm256_unpacklo_epi64(pair[i], pair[i + 2]);
    four[i + 1] = _mm256_unpackhi_epi64(pair[i], pair[i + 2]);
    four[i + 2] = _mm256_unpacklo_epi64(pair[i + 1], pair[i + 3]);
    four[i + 3] = _mm256_unpackhi_epi64(pair[i + 1], pair[i + 3]);
  }
  #pragma GCC unroll 8
  for (int n = 0; n < 4; ++n) {
    store_words(words + static_cast<size_t>(n) * stride, _mm256_permute2x128_si256(four[n], four[n + 4], 0x20));
    store_words(words + static_cast<size_t>(n + 4) * stride, _mm256_permute2x128_si256(four[n], four[n + 4], 0x31));
  }
}

#endif

// Lay out rows as words [E / PER_WORD][slots] for products of LANES rows at a time; slots beyond the text are 0.
template <class Kind>
void lay_out_columns(const typename Kind::Number* rows, int stride, int length, int slots, int width, uint32_t* words) {
  constexpr int step = LANES * PER_WORD<Kind>;
  for (int j = 0; j < slots; j += LANES) {
    for (int e = 0; e < width; e += step) {
      Words row[LANES];
      #pragma GCC unroll 16
      for (int r = 0; r < LANES; ++r) {
        row[r] = j + r < length ? load_words(rows + static_cast<size_t>(j + r) * stride + e) : Words{};
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

#ifdef __AVX512BF16__

// Interleave 32 values of two rows → two vectors of words, each with a value of either row.
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

#endif

// Queries, keys and values of one head, with the strides between tokens, and the outputs.
template <class Kind, class Out>
struct Head {
  const typename Kind::Number *q, *k, *v;
  int q_stride, stride;               // `stride` of keys and values
  int queries, length, slots, width;  // slots: the text's length rounded up to LANES
  Out* out;
  int out_stride;
  float* lse;  // output of each query's log-sum-exp of base 2, or null; `lse_stride` numbers from token to token
  int lse_stride;

  float scale() const { return LOG2_E / std::sqrt(static_cast<float>(width)); }
};

// Split slots into tiles of LANES · C: call work(first slot, Count<C>).
template <class Work>
inline void slot_tiles(int slots, const Work& work) {
  int j = 0;
  for (; j + COLUMNS * LANES <= slots; j += COLUMNS * LANES) work(j, Count<COLUMNS>());
  switch ((slots - j) / LANES) {
    case 3: work(j, Count<3>()); break;
    case 2: work(j, Count<2>()); break;
    case 1: work(j, Count<1>()); break;
    default: break;
  }
}

// R rows × the output of `lay_out_columns` → [R][slots].
template <class Kind, int R>
void score_rows(const typename Kind::Number* rows, int stride, const uint32_t* columns, int slots, int width,
                float* scores) {
  slot_tiles(slots, [&](int j, auto count) {
    score_tile<Kind, R, decltype(count)::value>(rows, stride, columns + j, slots, width, scores + j);
  });
}

// The context of R queries from index `first` on.
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
  for (int e = 0; e < head.width; e += 2 * LANES) {
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
