// The first layer's query, key and value from cached products. Its input is the LayerNorm of a sum of three rows,
//
//   x = (e - mean(e)) / σ · γ + β,   e = token + position + segment,
//
// and the product is linear: W x = (token' + position' + segment') / σ + W β, where r' = (W γ) (r - mean(r)). r' of a row of
// the tables is computed and cached when a text first has it: 24,000 tokens of SST-2 are 5,066 distinct ones.
// `first_queries` in quantized.py is the definition.
//
// Shapes: D hidden width, N = 3 D.

#pragma once

#include <vector>

#include "linear.h"

namespace {

// The cached r' of one table, in bf16, in order of first use.
class Summands {
 public:
  // Row i is `rows_D + i * hidden`; not copied.
  void set(const float* rows_D, int count, int hidden) {
    rows_ = rows_D;
    hidden_ = hidden;
    slot_.assign(count, -1);
    chunks_.clear();
    made_ = 0;
  }

  // Return the distinct `ids` that are not cached, and reserve memory for them. A cache that grows too large is cleared.
  const std::vector<int32_t>& missing(const int32_t* ids, int count) {
    missing_.clear();
    for (int i = 0; i < count; ++i) {
      if (slot_[ids[i]] < 0) missing_.push_back(ids[i]);
    }
    std::sort(missing_.begin(), missing_.end());
    missing_.erase(std::unique(missing_.begin(), missing_.end()), missing_.end());
    if (made_ && made_ + missing_.size() > MOST) {
      std::fill(slot_.begin(), slot_.end(), -1);
      made_ = 0;
      return missing(ids, count);
    }
    while (chunks_.size() * CHUNK < made_ + missing_.size()) {
      Buffer<bf16> chunk;
      chunk.get(static_cast<size_t>(CHUNK) * 3 * hidden_);
      chunks_.push_back(std::move(chunk));
    }
    return missing_;
  }

  // Compute `rows` of the missing, from index `first` on; x is a buffer for them.
  void make(const Linear& weight, int first, int rows, const Rows& x, float* centred) {
    for (int r = 0; r < rows; ++r) {
      const float* row = rows_ + static_cast<size_t>(missing_[first + r]) * hidden_;
      float sum = 0;
      for (int i = 0; i < hidden_; ++i) sum += row[i];
      for (int i = 0; i < hidden_; ++i) centred[i] = row[i] - sum / static_cast<float>(hidden_);
      round_row(centred, x, r, BF16);
    }
    product(weight, 0, 3 * hidden_ / PANEL, x, rows,
            [&](int row, int n, __m512 y) { store(at(made_ + first + row) + n, y); });
  }

  // To be called when all missing are computed: then `of` returns them.
  void keep() {
    for (const int32_t id : missing_) slot_[id] = static_cast<int32_t>(made_++);
  }

  const bf16* of(int32_t id) const { return at(slot_[id]); }

 private:
  static constexpr size_t CHUNK = 1024, MOST = 32 * CHUNK;  // rows; at 768 wide, 151 MB at most

  bf16* at(size_t slot) const { return chunks_[slot / CHUNK].data() + slot % CHUNK * 3 * hidden_; }

  const float* rows_ = nullptr;
  int hidden_ = 0;
  size_t made_ = 0;
  std::vector<int32_t> slot_, missing_;
  std::vector<Buffer<bf16>> chunks_;
};

struct FirstLayer {
  Linear weight;  // W γ
  Buffer<float> rest;  // W β and the bias
  Summands token, position, segment;

  void set(const float* weight_ND, const float* bias_N, const float* scale_D, const float* shift_D, int hidden) {
    const int n = 3 * hidden;
    std::vector<float> scaled(static_cast<size_t>(n) * hidden);
    const std::vector<float> no_bias(n);
    rest.get(n);
    for (int column = 0; column < n; ++column, weight_ND += hidden) {
      float sum = bias_N[column];
      for (int i = 0; i < hidden; ++i) {
        scaled[static_cast<size_t>(column) * hidden + i] = weight_ND[i] * scale_D[i];
        sum += weight_ND[i] * shift_D[i];
      }
      rest.data()[column] = sum;
    }
    weight.set(scaled.data(), no_bias.data(), n, hidden, BF16);
  }

  // Query, key and value of one token, from 1 / σ.
  void add_up(int32_t token_id, int32_t position_id, int32_t segment_id, float inverse, int width, bf16* out) const {
    const bf16 *a = token.of(token_id), *b = position.of(position_id), *c = segment.of(segment_id);
    const __m512 factor = _mm512_set1_ps(inverse);
    for (int n = 0; n < width; n += 16) {
      const __m512 sum = _mm512_add_ps(_mm512_add_ps(load(a + n), load(b + n)), load(c + n));
      store(out + n, _mm512_fmadd_ps(sum, factor, _mm512_load_ps(rest.data() + n)));
    }
  }

  // Prefetch a token.
  void fetch(int32_t id, int width) const {
    const char* line = reinterpret_cast<const char*>(token.of(id));
    for (size_t i = 0; i < width * sizeof(bf16); i += 64) _mm_prefetch(line + i, _MM_HINT_T0);
  }
};

}  // namespace
