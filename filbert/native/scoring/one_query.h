// Attention from a text's first token only: keys and values need not be computed, because
//
//   q · (K x) = (Kᵀ q) · x   and   Σ w (V x) = V (Σ w x).
//
// The one query of a head is multiplied by K, and the weighted mean of the tokens by V. The keys' bias adds a constant to
// all scores, which softmax ignores. `attend_first` in quantized.py is the definition.
//
// Shapes: L tokens of a text, D hidden width, H heads, E width of a head.

#pragma once

#include <vector>

#include "linear.h"

namespace {

struct OneQuery {
  std::vector<Linear> keys;  // of each head: E → D
  Linear values;

  void set(const float* keys_DD, const float* values_DD, const float* values_D, int hidden, int heads, Precision wanted) {
    const int width = hidden / heads;
    const std::vector<float> no_bias(hidden);
    std::vector<float> turned(static_cast<size_t>(hidden) * width);
    keys.resize(heads);
    for (int head = 0; head < heads; ++head, keys_DD += static_cast<size_t>(width) * hidden) {
      for (int i = 0; i < hidden * width; ++i) turned[i] = keys_DD[static_cast<size_t>(i % width) * hidden + i / width];
      keys[head].set(turned.data(), no_bias.data(), hidden, width, wanted);
    }
    values.set(values_DD, values_D, hidden, hidden, wanted);
  }
};

inline float dot(const float* x, const float* y, int width) {
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < width; i += 16) sum = _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i), sum);
  return _mm512_reduce_add_ps(sum);
}

// y += a x.
inline void add(float a, const float* x, float* y, int width) {
  const __m512 factor = _mm512_set1_ps(a);
  for (int i = 0; i < width; i += 16) {
    _mm512_storeu_ps(y + i, _mm512_fmadd_ps(factor, _mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i)));
  }
}

// Softmax in base 2, in place; values beyond `length`, up to the next 16, are overwritten.
void softmax(float* scores, int length, float scale) {
  float most = scores[0], sum = 0;
  for (int j = 1; j < length; ++j) most = std::max(most, scores[j]);
  const __m512 factor = _mm512_set1_ps(scale), shift = _mm512_set1_ps(-most * scale);
  for (int j = 0; j < length; j += 16) {
    _mm512_storeu_ps(scores + j, exp2_of(_mm512_fmadd_ps(_mm512_loadu_ps(scores + j), factor, shift)));
  }
  for (int j = 0; j < length; ++j) sum += scores[j];
  for (int j = 0; j < length; ++j) scores[j] /= sum;
}

// Replace each head's query times K by the attention-weighted mean of the text's tokens. `scores` is a buffer, per head
// rounded up to 16.
void mean_tokens(const float* tokens_LD, int length, int hidden, int heads, float* asked_HD, float* scores) {
  const int slots = up_to(length, 16);
  for (int j = 0; j < length; ++j) {
    const float* token = tokens_LD + static_cast<size_t>(j) * hidden;
    for (int head = 0; head < heads; ++head) scores[head * slots + j] = dot(token, asked_HD + head * hidden, hidden);
  }
  const float scale = LOG2_E / std::sqrt(static_cast<float>(hidden / heads));
  for (int head = 0; head < heads; ++head) softmax(scores + head * slots, length, scale);
  std::fill_n(asked_HD, heads * hidden, 0.0f);
  for (int j = 0; j < length; ++j) {
    const float* token = tokens_LD + static_cast<size_t>(j) * hidden;
    for (int head = 0; head < heads; ++head) add(scores[head * slots + j], token, asked_HD + head * hidden, hidden);
  }
}

}  // namespace
